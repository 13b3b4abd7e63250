"""The command line: what it prints where, its exit codes, and what it does not import."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from accelsim.cli import app
from accelsim.errors import ConfigError, InputError, RunError
from accelsim.trace import runs

MakeRun = Callable[..., Path]
COMMANDS = [
    *("run", "report", "mapping", "reprice", "ls", "timeline", "train", "sensitivity", "compare", "check"),
    *("device", "errors", "pareto", "uncertainty", "breakeven", "schema", "sweep", "macros"),
]
HEAVY = ["torch", "pyarrow", "numpy", "simpy", "networkx"]


@pytest.fixture(autouse=True)
def _showwarning(monkeypatch: pytest.MonkeyPatch) -> None:
    """main() replaces it for the whole process; undo that after each test."""
    import warnings

    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)


def _main(*args: str) -> int:
    with pytest.raises(SystemExit) as ended:
        app.main(list(args))
    assert isinstance(ended.value.code, int)
    return ended.value.code


def _process(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "accelsim", *args]
    keep = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    return subprocess.run(command, capture_output=True, text=True, env={**keep, **env}, check=False)


@pytest.mark.parametrize("module", ["accelsim", "accelsim.cli.app"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    """Else `accelsim --help` would take seconds."""
    code = f"import sys, {module}; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


def test_help_loads_nothing_heavy() -> None:
    """Nor does printing it."""
    code = (
        "import sys; from accelsim.cli import app\n"
        "try: app.main(['--help'])\n"
        f"except SystemExit: print([m for m in {HEAVY} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", [[], *([c] for c in COMMANDS)])
def test_every_help_has_an_example(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """One that begins with the command's own name."""
    assert _main(*command, "--help") == 0
    assert f"Example: {' '.join(['accelsim', *command])}" in capsys.readouterr().out


def test_all_commands_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    """In the order in which one needs them."""
    _main("--help")
    lines = capsys.readouterr().out.splitlines()

    assert [line.split()[1] for line in lines if line.startswith("│ ") and line[2].islower()] == COMMANDS


@pytest.mark.parametrize(
    "args",
    [
        ["run", "a", "b", "--sed", "1"],
        ["rnu"],
        ["run", "only-one"],
        ["run", "a", "b", "--batch", "none"],
        ["run", "a", "b", "--batch", "0"],
        ["run", "a", "b", "--phase", "sideways"],
    ],
)
def test_wrong_usage_is_exit_2(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr, without a traceback, nothing on stdout."""
    assert _main(*args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    assert err


def test_report_and_ls_and_compare(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    """Results on stdout, nothing on stderr, the run folder's name last."""
    one, two = make_run("one"), make_run("two", machine="m2", scale=2)

    assert _main("report", str(one)) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == f"run folder: {one}"
    assert err == ""
    assert _main("ls", str(one.parent)) == 0
    assert "two" in capsys.readouterr().out
    assert _main("compare", str(one), str(two)) == 0
    assert "Inputs that differ" in capsys.readouterr().out


def test_ls_names_what_it_cannot_list(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr; the others are listed."""
    one = make_run()
    (make_run("two") / "summary.json").write_text("{")

    assert _main("ls", str(one.parent)) == 0
    out, err = capsys.readouterr()
    assert "two" not in out
    assert err == "accelsim: not listed (accelsim report says why): two\n"


def test_ls_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Is no error."""
    assert _main("ls", str(tmp_path)) == 0
    assert capsys.readouterr().out == f"no runs in {tmp_path}\n"


def test_timeline_of_a_layer_is_one_picture_per_phase(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a title each; --from and --to cut."""
    run = str(make_run())

    assert _main("timeline", run, "--layer", "fc", "--width", "80") == 0
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if line.startswith("one")] == [
        "one, fc in forward: 40 us to 60 us of 100 us",
        "one, fc in backward: 60 us to 90 us of 100 us",
        "one, fc in update: 90 us to 100 us of 100 us",
    ]
    assert max(map(len, out.splitlines())) <= 80
    assert _main("timeline", run, "--layer", "fc", "--from", "50 us", "--to", "55000000") == 0
    assert "fc in forward: 50 us to 55 us of 100 us" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["--from", "9 us", "--to", "9 us"],
            "--from 9 us is not before --to 9 us",
        ),
        (["--from", "5ms"], "--from 5ms: the run ends at 100 us"),
        (
            ["--layer", "conv1", "--from", "90 us"],
            '--layer: "conv1" does not run between 90 us and 100 us',
        ),
        (["--layer", "fd"], '--layer: no layer matches "fd"; did you mean fc?'),
    ],
)
def test_a_window_without_anything_is_refused(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str], args: list[str], message: str
) -> None:
    """Naming the option."""
    assert _main("timeline", str(make_run()), *args) == 2
    assert capsys.readouterr().err == f"accelsim: {message}\n"


def test_color_only_where_it_is_wanted(make_run: MakeRun) -> None:
    """Plain letters into a pipe and under NO_COLOR, colours when forced."""
    run = str(make_run())

    for env in ({}, {"NO_COLOR": "1", "FORCE_COLOR": "1"}):
        plain = _process("timeline", run, **env).stdout
        assert "CCCC" in plain
        assert "\x1b[3" not in plain
    assert "\x1b[32m█" in _process("timeline", run, FORCE_COLOR="1", TERM="xterm-256color").stdout


def _open_run_raises(monkeypatch: pytest.MonkeyPatch, fault: BaseException) -> None:
    def raises(*_: object) -> None:
        raise fault

    monkeypatch.setattr(runs, "open_run", raises)


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        (InputError("no such machine"), 2, "no such machine"),
        (RunError("deadlock"), 1, "deadlock"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/x"),
            1,
            "the disk is full (/x); free some space, or give --out another disk",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 1, "Permission denied (/x)"),
        (
            ZeroDivisionError("division by zero"),
            1,
            "internal error: ZeroDivisionError: division by zero; --debug shows where. Please report it",
        ),
        (KeyboardInterrupt(), 130, "interrupted; no half-written run is left behind"),
    ],
)
def test_faults_become_a_message_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fault: BaseException,
    code: int,
    message: str,
) -> None:
    """One message on stderr and no traceback."""
    _open_run_raises(monkeypatch, fault)

    assert _main("report", "x") == code
    assert capsys.readouterr() == ("", f"accelsim: {message}\n")


def test_faults_of_a_file_begin_with_its_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line per fault, as compilers do, so that editors jump there."""
    faults = ["a.toml:1:2: clock: wrong", "a.toml:3:1: nod: unknown key, did you mean node?"]
    _open_run_raises(monkeypatch, ConfigError(faults))

    assert _main("report", "x") == 2
    assert capsys.readouterr().err.splitlines() == faults


def test_debug_shows_the_traceback_and_keeps_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With any command; also of a fault that has a message of its own."""
    _open_run_raises(monkeypatch, InputError("wrong"))

    assert _main("report", "x", "--debug") == 2
    told = capsys.readouterr().err
    assert told.startswith("Traceback (most recent call last):\n")
    assert told.endswith("InputError: wrong\naccelsim: wrong\n")


@pytest.mark.parametrize("command", [*COMMANDS, "sweep best", "macros import"])
def test_no_example_breaks_inside_quotes(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At 80 columns: what is copied from there works."""
    monkeypatch.setenv("COLUMNS", "80")
    _main(*command.split(), "--help")
    example = capsys.readouterr().out.partition("Example: ")[2]
    assert all(line.count(quote) % 2 == 0 for line in example.splitlines() for quote in "'\"")


@pytest.mark.parametrize("command", ["run", "report", "schema", "sweep run", "macros import"])
def test_every_command_lists_debug(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As the main help promises."""
    assert _main(*command.split(), "--help") == 0
    assert "--debug" in capsys.readouterr().out


def test_a_missing_run_is_exit_2_without_a_traceback(tmp_path: Path) -> None:
    """The whole way, as a user sees it."""
    done = _process("report", str(tmp_path / "none"))

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        f"accelsim: {tmp_path / 'none'}: no such run, neither as a path nor in runs;"
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_behind_stdout_is_one_message(make_run: MakeRun) -> None:
    """And not a second one as Python ends."""
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "accelsim", "report", str(make_run())]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr == "accelsim: the disk is full; free some space, or give --out another disk\n"


def test_a_reader_that_leaves_is_no_error_message(make_run: MakeRun) -> None:
    """`accelsim report RUN | head -1`."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "accelsim", "report", str(make_run())]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)

    assert done.stderr == ""


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """The model version too: it decides what numbers mean."""
    assert _main("--version") == 0
    assert capsys.readouterr().out == "accelsim 0.1.0 (model version 7)\n"


class _Simulator:
    """Stands for ``accelsim.run``: notes what it is called with and gives a finished folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.arguments: dict[str, Any] = {}

    def simulate(self, arch: str, workload: str, **arguments: Any) -> SimpleNamespace:
        self.arguments = {"arch": arch, "workload": workload, **arguments}
        for stage in ("capture", "map", "simulate", "write"):
            if arguments["progress"]:
                arguments["progress"](stage, 0, 2)
                arguments["progress"](stage, 2, 2)
        return SimpleNamespace(run_dir=self.folder, json=lambda: {"cycles": 7, "run_dir": str(self.folder)})


@pytest.fixture
def simulator(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> _Simulator:
    fake = _Simulator(make_run())
    module = ModuleType("accelsim.run")
    module.simulate = fake.simulate  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "accelsim.run", module)
    return fake


def test_run_passes_its_options_on(simulator: _Simulator) -> None:
    """Every option reaches the simulator under its own name."""
    options = "--batch 4 --accumulate 2 --phase forward --cold --allow-unsupported --out o --force --quiet"
    options += " --trace-tensor a* --mapping mine.toml"
    keys = ["--set", "clock=2 GHz", "--set", "dram.latency=80 ns"]

    assert _main("run", "m", "w", *options.split(), *keys) == 0
    del simulator.arguments["command"]
    assert simulator.arguments == {
        "arch": "m",
        "workload": "w",
        "batch": 4,
        "accumulate": 2,
        "exact": False,
        "mapping_from": None,
        "mapping": Path("mine.toml"),
        "activity": None,
        "phase": "forward",
        "cold": True,
        "allow_unsupported": True,
        "overrides": ["clock=2 GHz", "dram.latency=80 ns"],
        "out": Path("o"),
        "force": True,
        "trace_tensors": ["a*"],
        "progress": None,
    }


def test_run_prints_tables_on_stdout_and_progress_on_stderr(
    simulator: _Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run folder's name last; progress in lines, as stderr is no terminal."""
    assert _main("run", "m", "w") == 0
    out, err = capsys.readouterr()

    for title in ("Summary", "Time by phase", "Energy by component", "Energy by role", "Capacity use"):
        assert title in out
    assert out.splitlines()[-1] == f"run folder: {simulator.folder}"
    assert err.splitlines() == [
        "accelsim: capturing the training step",
        "accelsim: mapping",
        "accelsim: simulating",
        "accelsim: writing the run folder",
    ]


def test_run_json_is_one_object(simulator: _Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing else on stdout; quiet means nothing on stderr."""
    assert _main("run", "m", "w", "--json", "--quiet") == 0
    out, err = capsys.readouterr()

    assert json.loads(out) == {"cycles": 7, "run_dir": str(simulator.folder)}
    assert err == ""
