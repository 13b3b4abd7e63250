"""Array tables of one's own: results of NVSim, CACTI and plain CSV, and machines made of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from accelsim.cli.app import main
from accelsim.config.locate import shipped
from accelsim.device.imports.files import import_file, kind_of
from accelsim.device.imports.given import Given
from accelsim.device.macros import load_table, series
from accelsim.errors import ConfigError, InputError
from accelsim.resolve import load_machine
from accelsim.resolve.summary import sources_used, summarize

GOLDEN = Path(__file__).parent / "golden" / "macros"
KIB = 1024
NODE = {"node_nm": "22", "roadmap": "LOP", "temperature_K": "350"}


def rows(name: str, **options: str) -> list[dict[str, float]]:
    """Return the numbers of a golden file's macros."""
    read = import_file(GOLDEN / name, "auto", Given(options=options))
    return [{**row.numbers, "bytes": row.capacity_bytes, "word": row.word_bits} for row in read.rows]


def run(*args: str) -> int:
    with pytest.raises(SystemExit) as done:
        main(list(args))
    return int(done.value.code or 0)


# -- what the files say ------------------------------------------------------------------------------


def test_nvsim_prints_the_row_of_the_table() -> None:
    """Both results of a log are the shipped table's rows, to the three decimals that NVSim prints."""
    found = rows("nvsim_stt.log")
    assert [r["bytes"] for r in found] == [64 * KIB, 128 * KIB]
    for row in found:
        macro = series("stt34", 22, "LOP", 256).macro(int(row["bytes"]))
        for column, value in (
            ("area_mm2", macro.area_mm2),
            ("read_pJ", macro.read_pj),
            ("write_pJ", macro.write_pj),
            ("leak_mW", macro.leak_350_mw),
        ):
            assert row[column] == pytest.approx(value, rel=1e-3), column
        assert row["write_ns"] == pytest.approx(macro.write_ns, rel=2e-3)  # pooled in the fit
        assert row["read_cycle_ns"] == pytest.approx(macro.read_cycle_ns, rel=2e-3)
    cell = import_file(GOLDEN / "nvsim_stt.log", "nvsim", Given()).rows[0].mram_cell
    assert cell is not None
    own = load_table("nvsim-min64").cells["stt34"]
    assert cell.path_ohm == pytest.approx(own.path_ohm)
    assert (cell.area_f2, cell.access_width_f) == (34.5, 4.5)


def test_what_nvsim_does_not_print_has_to_be_said() -> None:
    """Without its configuration beside it, node, transistors and temperature are options."""
    with pytest.raises(InputError, match=r"elsewhere.cfg is not beside .*; give --node, --flavour, --temp"):
        rows("nvsim_sram.log")
    assert rows("nvsim_sram.log", **NODE)[0]["read_ns"] == 0.52516


def test_cacti_in_both_forms() -> None:
    """The line and the print of one run are the same macro: leakage with gate leakage, one cycle for both."""
    line = rows("cacti_out.csv", roadmap="LOP", temperature_K="350")[1]
    printed = rows("cacti_print.txt", word_bits="256")[0]
    for name, value in line.items():
        assert printed[name] == pytest.approx(value, rel=1e-6), name
    assert printed["leak_mW"] == pytest.approx(5.6121 + 0.1005)
    assert printed["write_ns"] == printed["read_cycle_ns"] == 0.2344
    assert printed["read_pJ"] == 13.81


def test_a_published_line() -> None:
    """The line that Accelergy's repository has: 448 bytes of 16 bit at 65 nm."""
    found = rows("cacti_accelergy.csv", roadmap="HP", temperature_K="300")[0]
    assert (found["bytes"], found["word"], found["read_pJ"]) == (448, 16, 1.04792)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("nvsim_stt.log", "MRAM (Magnetoresistive)", "PCRAM (Phase-Change)", "only SRAM and MRAM"),
        ("nvsim_stt.log", "Random Access Memory", "Cache", "set -DesignTarget: RAM"),
        ("nvsim_stt.log", " - Leakage Power =", " - Heat =", 'no value in line "Leakage Power"'),
        ("cacti_out.csv", "22, 16384, 1,", "22, 16384, 4,", "out.csv:2: more than one bank"),
        (
            "cacti_out.csv",
            "22, 16384, 1, 1,",
            "22, 16384, 1, 4,",
            "out.csv:2: associativity 4: a cache",
        ),
        ("cacti_out.csv", "22, 65536, 1, 1,", "22, 65536, 1, 0,", "out.csv:3: fully associative: a cache"),
        ("cacti_out.csv", "66.18, N/A, N/A", "66.18, N/A, 2", "out.csv:3: a cache, with tags"),
        ("cacti_print.txt", "direct mapped", "8", "associativity 8: a cache"),
        ("cacti_print.txt", "direct mapped", "fully associative", "fully associative: a cache"),
        (
            "cacti_print.txt",
            "Associativity                 : 1",
            "Associativity      : 2",
            "associativity 2",
        ),
        ("cacti_print.txt", "Scratch RAM", "Cache", 'with -cache type "ram"'),
        ("cacti_print.txt", "SRAM Model", "Commodity DRAM Model", "not an SRAM"),
        ("cacti_print.txt", "peripheral type    : 2", "peripheral type    : 0", "give --flavour"),
    ],
)
def test_what_is_no_macro_is_refused(tmp_path: Path, name: str, old: str, new: str, message: str) -> None:
    """Caches, many banks, other memories, cut results: each with its line and what to do."""
    text = (GOLDEN / name).read_text()
    assert old in text
    path = tmp_path / name.replace("cacti_out", "out")
    path.write_text(text.replace(old, new))
    with pytest.raises(InputError) as fault:
        import_file(
            path,
            "auto",
            Given(options={**NODE, "word_bits": "256"} if "peri" not in old else {"word_bits": "256"}),
        )
    assert message in str(fault.value)


def test_other_files_are_refused() -> None:
    """A file of no known kind says what would be."""
    with pytest.raises(InputError, match="neither what NVSim or CACTI print, nor a CSV table"):
        kind_of("hello\n", "x.txt")


# -- tables and machines -----------------------------------------------------------------------------


def imported(folder: Path, *args: str) -> Path:
    """Return the table that the command makes of golden files."""
    out = folder / "own.csv"
    files = [str(GOLDEN / a) if (GOLDEN / a).is_file() else a for a in args]
    assert run("macros", "import", *files, "--name", "own", "--out", str(out)) == 0
    return out


def test_a_single_macro_makes_a_bank_of_its_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exactly its numbers at its capacity; another one, word or temperature is refused with the place."""
    table = imported(tmp_path, "cacti_print.txt", "--word", "256 bit")
    assert f"array table: {table}" in capsys.readouterr().out
    assert "sha256" in table.read_text().splitlines()[1]
    machine = tmp_path / "m.toml"
    text = 'extends = "edge-sram"\nmacro_table = "own.csv"\n[bank.sram]\ncapacity = "1 MiB"\n'
    machine.write_text(text)
    found = load_machine(str(machine))
    bank = found.banks["sram"]
    assert bank.lanes == 16
    assert (bank.read_latency_ps, bank.read_pj, bank.write_pj) == (411, 13.81, 17.64)
    assert bank.leakage_mw == pytest.approx(16 * 5.7126)
    assert bank.area_mm2 == pytest.approx(16 * 0.05281)
    assert "own.csv" in sources_used(found)
    for setting, message in (
        ("bank.sram.capacity=256 KiB", "which has 64 KiB only"),
        ("bank.sram.word=128 bit", "has no 128 bit at 22 nm LOP, only 256 bit"),
        (
            "temperature=300 K",
            "only, and no law for other temperatures (macros may be imported at several); give another",
        ),
        ("bank.sram.flavour=HP", "has no HP at 22 nm, only LOP"),
    ):
        with pytest.raises(ConfigError) as fault:
            load_machine(str(machine), (setting,))
        assert message in str(fault.value)
        assert setting.partition("=")[0] in str(fault.value)
    warm = load_machine(str(machine), ("temperature=300 K", "bank.sram.leakage=3 mW"))
    assert warm.banks["sram"].leakage_mw == 3
    machine.write_text(text.replace("own.csv", "none.csv"))
    with pytest.raises(ConfigError, match=r"m.toml:2:15: macro_table: .*none.csv: no such file"):
        load_machine(str(machine))


@pytest.mark.parametrize("name", ["nvsim-min64", "../x", "a/b", "x.csv", ""])
def test_names_of_tables_are_plain_and_new(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A shipped table's name, or one that leads elsewhere, is refused with the fix; nothing is written."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    file = str(GOLDEN / "cacti_print.txt")
    assert run("macros", "import", file, "--name", name, "--word", "256 bit") == 2
    told = " ".join(capsys.readouterr().err.split())
    assert f"--name {name}: " in told
    assert "such as" in told
    assert [p.name for p in tmp_path.rglob("*")] == ["here"]


def test_leakage_between_two_temperatures(tmp_path: Path) -> None:
    """Log-linear between the temperatures of the table, never beyond; the bank alone may name the table."""
    text = (GOLDEN / "cacti_print.txt").read_text()
    cold = tmp_path / "cold.txt"
    cold.write_text(
        text.replace("Temperature                   : 350", "Temperature                   : 310").replace(
            "5.6121", "0.8995"
        )
    )
    imported(tmp_path, "cacti_print.txt", str(cold), "--word", "256 bit")
    machine = tmp_path / "m.toml"
    machine.write_text(
        'extends = "edge-sram"\n[bank.sram]\nmacro_table = "own.csv"\ncapacity = "64 KiB"\n'
        "count = 1\nsubbanks = 1\n"
    )
    leaks = {
        k: load_machine(str(machine), (f"temperature={k} K",)).banks["sram"].leakage_mw
        for k in (310, 330, 350)
    }
    assert leaks[310] == pytest.approx(1.0)
    assert leaks[330] == pytest.approx((leaks[310] * leaks[350]) ** 0.5)
    with pytest.raises(ConfigError, match=r"360 K: .* has leakage at 310 K to 350 K"):
        load_machine(str(machine), ("temperature=360 K",))


def test_an_own_cell_bears_a_device(tmp_path: Path) -> None:
    """With its write known a device takes its place, as in the shipped macro; without, the key is refused."""
    for name in ("nvsim_stt.log", "stt.cfg", "stt.cell"):
        shutil.copy(GOLDEN / name, tmp_path)
    machine = tmp_path / "m.toml"
    machine.write_text(
        'extends = "edge-hybrid"\n[bank.mram]\nmacro_table = "own.csv"\nmacro = "mram"\n'
        'capacity = "768 KiB"\ndevice = "mram-1s"\n'
    )
    log = str(tmp_path / "nvsim_stt.log")
    imported(tmp_path, log)
    ours = load_machine(str(machine))
    theirs = load_machine(str(machine), ("bank.mram.macro_table=nvsim-min64", "bank.mram.macro=stt34"))
    mine, shipped_one = ours.banks["mram"], theirs.banks["mram"]
    assert mine.write_cycle_ps == pytest.approx(shipped_one.write_cycle_ps, rel=2e-3)
    assert mine.write_pj == pytest.approx(shipped_one.write_pj, rel=1e-3)
    assert mine.cell_current_a == pytest.approx(shipped_one.cell_current_a)
    group = summarize(ours).groups[1]
    assert group.macro is not None
    assert group.macro.cell == "mram"
    (tmp_path / "stt.cell").unlink()
    assert run("macros", "import", log, "--name", "own", "--out", str(tmp_path / "own.csv"), "--force") == 0
    with pytest.raises(ConfigError, match=r"m.toml:6:10: bank.mram.device: needs the write of cell"):
        load_machine(str(machine))
    plain = load_machine(str(machine), ('bank.mram.device=""',))
    assert plain.banks["mram"].write_cell_pj == 0
    assert summarize(plain).groups[1].macro is None


def test_a_table_reads_back_as_it_was_written(tmp_path: Path) -> None:
    """A table of ours is a plain CSV again, with the same macros; nothing is replaced unasked."""
    table = imported(tmp_path, "cacti_out.csv", "--flavour", "LOP", "--temperature", "350 K")
    before = load_table(str(table)).series
    again = tmp_path / "again.csv"
    assert run("macros", "import", str(table), "--name", "again", "--out", str(again)) == 0
    assert {k: s.fits for k, s in load_table(str(again)).series.items()} == {
        k: s.fits for k, s in before.items()
    }
    assert run("macros", "import", str(table), "--name", "again", "--out", str(again)) == 2
    both = (str(table), str(again))
    assert run("macros", "import", *both, "--name", "twice", "--out", str(tmp_path / "twice.csv")) == 2
    assert not (tmp_path / "twice.csv").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("sram,22,LOP,350,256,64,0.05,0.4,0.2,0.3,12,x,5", "t.csv:3: write_pJ: expected a number, got 'x'"),
        ("sram,22,LOP,350,256,64,0,0.4,0.2,0.3,12,13,5", "t.csv:3: area_mm2: expected more than 0, got 0"),
        (
            "sram,22,FOO,350,256,64,1,0.4,0.2,0.3,12,13,5",
            "t.csv:3: roadmap: expected HP, LOP or LSTP, got FOO",
        ),
        (
            "sram,22,LOP,350,256,64,1,1e9,0.2,0.3,12,13,5",
            "t.csv:3: read_ns: expected at most 1,000,000 ns, got 1e9",
        ),
        ("sram,22,LOP,350,256,64,1,inf,0.2,0.3,12,13,5", "read_ns: expected a finite number, got inf"),
        ("sram,22,LOP,350,256,64,0.05,0.4", "t.csv:3: 8 values under 13 columns"),
        ("sram,22,LOP,350,256,0.3,0.05,0.4,0.2,0.3,12,13,5", "expected whole bytes, got 0.3 KiB"),
    ],
)
def test_faults_of_a_table_have_a_line(tmp_path: Path, line: str, message: str) -> None:
    """Every fault of a CSV names file, line and column."""
    path = tmp_path / "t.csv"
    header = (
        "cell,node_nm,roadmap,temperature_K,word_bits,capacity_KiB,area_mm2,read_ns,read_cycle_ns,write_ns,"
    )
    path.write_text(f"# mine\n{header}read_pJ,write_pJ,leak_mW\n{line}\n")
    with pytest.raises(InputError) as fault:
        load_table(str(path))
    assert message in str(fault.value)


def test_a_plain_csv_takes_what_options_say(tmp_path: Path) -> None:
    """Columns that a user's table lacks are options."""
    path = tmp_path / "t.csv"
    path.write_text(
        "capacity_KiB,area_mm2,read_ns,read_cycle_ns,write_ns,read_pJ,write_pJ,leak_mW\n64,1,1,1,1,2,3,4\n"
    )
    with pytest.raises(InputError, match="no column cell, roadmap, node_nm, word_bits, temperature_K"):
        import_file(path, "auto", Given())
    out = imported(
        tmp_path,
        str(path),
        *("--cell", "sram", "--node", "7 nm", "--flavour", "HP"),
        "--temperature",
        "85 C",
        "--word",
        "128 bit",
    )
    found = load_table(str(out)).series["sram", 7, "HP", 128]
    assert found.macro(64 * KIB).read_pj == 2
    assert list(found.at_kelvin or ()) == [358.15]


# -- the second shipped table ------------------------------------------------------------------------


def test_check_tells_what_another_table_changes(capsys: pytest.CaptureFixture[str]) -> None:
    """Ratios by bank group, as from the resolved machines; degenerate rows are told."""
    assert run("check", "edge-hybrid", "--macros-against", "nvsim-read-edp") == 0
    out = capsys.readouterr().out
    machines = [load_machine("edge-hybrid", o) for o in ((), ("macro_table=nvsim-read-edp",))]
    one, two = (m.banks["sram"] for m in machines)
    ratio = f"{two.leakage_mw / one.leakage_mw:.3f}"
    assert any(
        line.split()[:2] == ["leakage,", "mW"] and line.split()[-1] == ratio for line in out.splitlines()
    )
    assert "flagged tiny (16 KiB)" in " ".join(out.split())
    assert sources_used(machines[1]) == ("accelergy-cacti", "nvsim-macros-read-edp")
    assert run("check", "edge-hybrid", "--macros-against", "nvsim-read-edp", "--json") == 0
    told = json.loads(capsys.readouterr().out)["macros_against"]
    assert told["groups"][0]["tiny_rows"] == "16 KiB"
    assert run("check", "edge-hybrid", "--macros-against", "nvsim-edp") == 2
    assert capsys.readouterr().err.startswith('accelsim: --macros-against: no array table "nvsim-edp"')


def test_the_second_table_is_its_file() -> None:
    """Its 350 K rows, to the digit, where the column is monotone."""
    lines = (shipped("arch") / "macros" / "nvsim_macros_22nm_read_edp.csv").read_text().splitlines()
    row = next(x for x in lines if x.startswith("stt34,22,LOP,350,256,1024,")).split(",")
    macro = load_table("nvsim-read-edp").find("stt34", 22, "LOP", 256).macro(1024 * KIB)
    assert macro.read_pj == float(row[10])
    assert not macro.tiny
