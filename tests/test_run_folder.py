"""The run folder: whole or absent, the same bytes for the same rows, refused when it is not a run."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from accelsim.errors import InputError
from accelsim.trace import tables
from accelsim.trace.folder import ResultsChanged, RunFolder
from accelsim.trace.runs import list_runs, open_run
from accelsim.trace.schema import TABLES

MakeRun = Callable[..., Path]
FILES = [
    "energy.parquet",
    "manifest.json",
    "ops.parquet",
    "residencies.parquet",
    "spans.parquet",
    "summary.json",
]


def _hidden(folder: Path) -> list[Path]:
    return [p for p in folder.iterdir() if p.name.startswith(".")]


def test_a_finished_run_is_whole_and_opens(make_run: MakeRun) -> None:
    """All files are there, nothing else is left, and rows come back as they were written."""
    path = make_run()

    assert sorted(p.name for p in path.iterdir()) == FILES
    assert [p.name for p in path.parent.iterdir()] == ["one"]
    run = open_run(path)
    assert run.summary["cycles"] == 100_000
    assert run.table("ops").column("op").to_pylist()[0] == "c1:conv"
    assert run.table("residencies").column("dwell_byte_ps").to_pylist() == [Decimal(10**30 + 1)]
    assert run.table("spans").schema == tables.arrow_schema(TABLES["spans"])


def test_the_manifest_holds_the_hash_of_every_other_file(make_run: MakeRun) -> None:
    """So that a folder can be checked against what was written."""
    manifest = json.loads((make_run() / "manifest.json").read_text())

    assert sorted(manifest["files"]) == [f for f in FILES if f != "manifest.json"]
    assert manifest["id"] == "m1-1".ljust(64, "0")


def test_the_same_rows_give_the_same_bytes(make_run: MakeRun) -> None:
    """No time, no host, no order of a set enters any file."""
    one, two = make_run("one"), make_run("two")

    assert [(one / f).read_bytes() for f in FILES] == [(two / f).read_bytes() for f in FILES]


def test_the_same_rows_give_the_same_bytes_under_another_hash_seed(tmp_path: Path) -> None:
    """The tables do not depend on the order of hashes either."""
    code = (
        "import sys; from pathlib import Path; from accelsim.trace.tables import write_table\n"
        "write_table(Path(sys.argv[1]), {'a': 'dict', 'b': 'decimal'}, {'a': list('cabac'), 'b': range(5)})"
    )
    for seed in ("1", "2"):
        command = [sys.executable, "-c", code, str(tmp_path / seed)]
        subprocess.run(command, check=True, env={"PYTHONHASHSEED": seed})

    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_a_run_that_stops_leaves_nothing(tmp_path: Path, fault: BaseException) -> None:
    """Neither the folder, nor a hidden one, nor the parents made for it."""
    target = tmp_path / "deep" / "down" / "run"

    def stop() -> None:
        with RunFolder.create(target, "x", "id") as folder:
            folder.write_summary({"a": 1})
            raise fault

    with pytest.raises(type(fault)):
        stop()

    assert list(tmp_path.iterdir()) == []


def test_a_stopped_run_leaves_the_earlier_one(make_run: MakeRun) -> None:
    """What was there stays until the new folder is whole."""
    path = make_run()
    before = (path / "summary.json").read_bytes()

    with pytest.raises(KeyboardInterrupt), RunFolder.create(path, "x", "other", force=True):
        raise KeyboardInterrupt

    assert (path / "summary.json").read_bytes() == before
    assert _hidden(path.parent) == []


def test_an_unfinished_folder_is_not_put_in_place(tmp_path: Path) -> None:
    """A missing file is a bug of the writer."""
    with pytest.raises(ValueError, match=r"lacks manifest\.json, ops\.parquet, "):  # noqa: SIM117
        with RunFolder.create(tmp_path / "run", "x", "id") as folder:
            folder.write_summary({})

    assert list(tmp_path.iterdir()) == []


def test_the_same_run_again_is_verified_and_replaced(make_run: MakeRun) -> None:
    """Equal results pass silently (warnings are errors here); others are said."""
    path = make_run()
    make_run()
    assert _hidden(path.parent) == []

    with pytest.warns(ResultsChanged, match=r"the same run gave other results before \(summary.json\);"):
        make_run(scale=3, run_id="m1-1".ljust(64, "0"))
    assert open_run(path).summary["cycles"] == 300_000

    (path / "ops.parquet").write_bytes(b"spoilt")
    with pytest.warns(ResultsChanged, match=r"had been changed since it was written \(ops.parquet\);"):
        make_run(scale=3, run_id="m1-1".ljust(64, "0"))
    assert open_run(path).table("ops").num_rows == 5


def test_another_run_in_the_way_is_refused_unless_forced(make_run: MakeRun) -> None:
    """The message says what lies there and what to do."""
    path = make_run()

    with pytest.raises(InputError) as refused:
        make_run(machine="m2")
    assert str(refused.value) == (
        f"{path}: holds another run (m1-10000); give --out another name, or --force to replace it"
    )
    make_run(machine="m2", force=True)
    assert open_run(path).summary["machine"] == "m2"


def test_what_is_not_a_run_is_in_the_way_too(tmp_path: Path) -> None:
    """A file never goes, a folder with subfolders never goes, an empty folder may."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("x")
    (tmp_path / "home" / "sub").mkdir(parents=True)

    def refusal(name: str, *, force: bool) -> str:
        with pytest.raises(InputError) as refused, RunFolder.create(tmp_path / name, "x", "id", force):
            raise AssertionError("not refused")
        return str(refused.value).removeprefix(f"{tmp_path / name}: ")

    assert refusal("file", force=True) == "exists and is not a folder; give --out another name"
    assert refusal("home", force=True) == ("is not a run folder (it has subfolders); give --out another name")
    assert refusal("notes", force=False) == (
        "is not a run folder; give --out another name, or --force to replace it"
    )


def test_the_default_place_is_runs_name_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the working folder, with the first eight characters of the id."""
    monkeypatch.chdir(tmp_path)
    folder = RunFolder.create(None, "edge_mlp", "0123456789abcdef")
    with pytest.raises(ValueError, match=r"run folder runs/edge_mlp-01234567 lacks"), folder:
        pass  # nothing written


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [1]}, "columns differ from the schema: missing ['b'], unknown []"),
        ({"a": [1], "b": ["x"], "c": []}, "columns differ from the schema: missing [], unknown ['c']"),
        ({"a": [1], "b": ["x", "y"]}, "columns differ in length: {'a': 1, 'b': 2}"),
        ({"a": [1], "b": [None]}, "null in b"),
    ],
)
def test_columns_that_do_not_fit_the_schema_are_refused(
    columns: dict[str, list[object]], message: str
) -> None:
    """A writer cannot leave a column out or invent one."""
    with pytest.raises(ValueError) as refused:  # noqa: PT011  the whole message is compared
        tables.table({"a": "int64", "b": "dict"}, columns)
    assert str(refused.value) == message


def test_a_run_opens_by_name_and_by_a_unique_beginning(make_run: MakeRun) -> None:
    """As shells complete names; two that fit are told."""
    runs = make_run("alpha").parent
    make_run("alps")

    assert open_run("alpha", runs).name == "alpha"
    assert open_run("alph", runs).name == "alpha"
    with pytest.raises(InputError, match=r"al: names several runs in .*: alpha, alps$"):
        open_run("al", runs)
    with pytest.raises(InputError, match=r"alhpa: no such run, neither as .*; did you mean alpha\?$"):
        open_run("alhpa", runs)
    with pytest.raises(InputError, match=r"zzz: .*; `accelsim ls` lists the runs here$"):
        open_run("zzz", runs)


def test_what_is_not_a_whole_run_does_not_open(make_run: MakeRun) -> None:
    """Not a run, incomplete, another schema, broken files: each with its own message."""
    path = make_run()
    manifest = json.loads((path / "manifest.json").read_text())

    (path / "manifest.json").write_text(json.dumps({**manifest, "schema": 99}))
    with pytest.raises(InputError) as refused:
        open_run(path)
    assert str(refused.value) == f"{path}: written under schema 99, this accelsim reads 1; run it again"

    (path / "spans.parquet").unlink()
    with pytest.raises(InputError) as refused:
        open_run(path)
    assert str(refused.value) == f"{path}: incomplete run folder, lacks spans.parquet; run it again"

    (path / "manifest.json").unlink()
    with pytest.raises(InputError) as refused:
        open_run(path)
    assert str(refused.value) == f"{path}: not a run folder (no manifest.json)"


def test_a_damaged_table_is_named(make_run: MakeRun) -> None:
    """The file, and what to do."""
    path = make_run()
    (path / "ops.parquet").write_bytes(b"no parquet at all")

    with pytest.raises(InputError, match=r"ops.parquet: not a readable parquet file .*; run it again$"):
        open_run(path).table("ops")
    with pytest.raises(InputError, match="no table 'op'; there are ops, spans, energy, residencies"):
        open_run(path).table("op")


def test_listing_passes_over_what_is_no_run(make_run: MakeRun, tmp_path: Path) -> None:
    """Hidden folders of runs being written, foreign folders, incomplete runs."""
    runs = make_run("b").parent
    make_run("a")
    (make_run("broken") / "ops.parquet").unlink()
    (make_run("empty") / "summary.json").write_text("{}\n")
    (make_run("cut") / "summary.json").write_text('{"time_ps"')
    (runs / "other").mkdir()

    found, broken = list_runs(runs)
    assert [r.name for r in found] == ["a", "b"]
    assert broken == ["broken", "cut", "empty"]
    assert list_runs(tmp_path / "absent") == ([], [])
