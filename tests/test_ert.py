"""``accelsim reprice --ert``: counts priced by an energy reference table of Accelergy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from accelsim.cli.app import main
from accelsim.config.ert import find_component, load_ert
from accelsim.errors import ConfigError, InputError
from accelsim.run import simulate
from accelsim.run.ert import ert_prices, ert_totals
from accelsim.trace.runs import Run, open_run

GOLDEN = Path(__file__).parent / "golden" / "ert"
ERT = GOLDEN / "simple_weight_stationary.yaml"
MAP = GOLDEN / "map.toml"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("ert") / "run"
    simulate("edge-sram", "mlp", batch=4, overrides=("bank.sram.power_gating=empty",), out=out)
    return open_run(out)


def cli(*args: str) -> int:
    with pytest.raises(SystemExit) as done:
        main(list(args))
    return int(done.value.code or 0)


def test_counts_times_the_table(finished: Run) -> None:
    """By hand: words of 256 bit are four accesses of 64, leakage is by the cycle and as gated."""
    prices = {f"{p.component} {p.action}": p for p in ert_prices(finished, ERT, MAP)}
    rows = finished.table("energy").to_pylist()

    def total(component: str, action: str, column: str) -> float:
        return sum(r[column] for r in rows if (r["component"], r["action"]) == (component, action))

    assert prices["spad.sram read"].energy_pj == pytest.approx(
        total("spad.sram", "read", "count") * 4 * 32.377775
    )
    assert prices["spad.sram write"].price_pj == 26.156875
    assert prices["dram write"].energy_pj == pytest.approx(total("dram", "write", "count") / 64 * 512)
    assert prices["pe_array mac.bf16"].energy_pj == pytest.approx(
        total("pe_array", "mac.bf16", "count") * 0.315
    )
    leak = prices["spad.sram leakage"]
    full_w = finished.manifest["machine"]["banks"]["sram"]["leakage_mw"] * 1e-3
    assert leak.energy_pj == pytest.approx(
        total("spad.sram", "leakage", "energy_pj") / full_w / 1000 * 0.005353
    )
    assert leak.amount < finished.summary["time_ps"] / 1000  # what is gated does not leak there either
    assert prices["vector add"].energy_pj == 0
    assert prices["vector add"].own_pj > 0


def test_totals_are_the_run_s_own_beside(finished: Run) -> None:
    """The second column is the run's energy, component by component."""
    totals = ert_totals(ert_prices(finished, ERT, MAP))
    own = finished.summary["energy_pj"]["by_component"]
    assert {name: pytest.approx(pj) for name, (_, pj) in totals.items()} == own


def test_what_has_no_price_is_named(finished: Run) -> None:
    """Without a map only what has the same name is priced; the rest is listed at once, with what there is."""
    with pytest.raises(InputError) as fault:
        ert_prices(finished, ERT)
    lines = str(fault.value).splitlines()
    assert "no price for" in lines[0]
    assert "  spad.sram read" in lines
    assert "  dram read (counted in bits: say width)" in lines
    assert not any("mac." in line for line in lines[1:-1])
    assert lines[-1].startswith("the table has DRAM (write, read, leak, update); weight_reg (")


def test_the_same_name_is_the_same_thing(finished: Run, tmp_path: Path) -> None:
    """A component called as the bank group prices its words and its leakage, without a map."""
    ert = tmp_path / "ert.yaml"
    actions = "".join(
        f"    - {{name: {name}, energy: {pj}}}\n" for name, pj in (("read", 2), ("write", 3), ("leak", 4))
    )
    ert.write_text(f"ERT:\n  version: 0.4\n  tables:\n  - name: top.SRAM[0..1]\n    actions:\n{actions}")
    free = tmp_path / "free.toml"
    free.write_text('free = ["pe_array *", "accumulator *", "vector *", "noc *", "d*", "static *"]\n')
    prices = {p.action: p for p in ert_prices(finished, ert, free) if p.component == "spad.sram"}
    assert prices["read"].energy_pj == 2 * prices["read"].count
    assert prices["write"].energy_pj == 3 * prices["write"].count
    cycles = prices["leakage"].amount / 2  # of two instances
    assert 0 < cycles < finished.summary["time_ps"] * finished.manifest["machine"]["clock_hz"] / 1e12


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'action = "leak"',
            'action = "idle"',
            'shared_glb has no action "idle", only write, read, leak, update',
        ),
        (
            'action = "leak"',
            'action = "laek"',
            'price.spad.* leakage.action: shared_glb has no action "laek"',
        ),
        ('"spad.* read"', '"spad.sarm read"', 'called "spad.sarm read", did you mean spad.sram read?'),
        (
            '"dma *", ',
            '"dam *", ',
            ':3:87: free[5]: no price of this machine is called "dam *", did you mean',
        ),
        ('component = "DRAM"', 'component = "DRM"', 'no component "DRM", did you mean DRAM?'),
        ('width = "64 bit"', 'width = "64"', "expected a size"),
        ('action = "leak"', 'acton = "leak"', "unknown key, did you mean action?"),
        ('component = "weight_reg"', 'component = "weight_reg"\nwidth = "16 bit"', "width has no effect"),
    ],
)
def test_faults_of_a_map_have_a_line(finished: Run, tmp_path: Path, old: str, new: str, message: str) -> None:
    """A wrong name, unit or key is placed in the map."""
    path = tmp_path / "map.toml"
    text = MAP.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError) as fault:
        ert_prices(finished, ERT, path)
    assert message in str(fault.value)
    assert f"{path}:" in str(fault.value)


def test_energies_by_arguments_are_chosen(tmp_path: Path) -> None:
    """Version 0.3 with several energies of an action: one is to be said; instances come from the name."""
    ert = tmp_path / "ert.yaml"
    rows = "".join(
        f"    - name: read\n      arguments:\n        address_delta: {a}\n        data_delta: {d}\n"
        f"      energy: {e}\n"
        for a, d, e in ((0, 0, 0.064), (0, 1, 2.807), (1, 0, 1.24), (1, 1, 3.982))
    )
    ert.write_text(f"ERT:\n  version: 0.3\n  tables:\n  - name: top.PE[0..3].GLB[0..1]\n    actions:\n{rows}")
    table = find_component(load_ert(ert), "GLB")
    assert (table.name, table.instances) == ("top.PE.GLB", 8)
    action = table.actions["read"]
    assert action.pj({"address_delta": 1, "data_delta": 1}, "GLB read") == 3.982
    with pytest.raises(
        InputError, match=r"has several energies; say arguments \(address_delta = 0, data_delta"
    ):
        action.pj({"address_delta": 1}, "GLB read")
    with pytest.raises(InputError, match="has no energy with these arguments"):
        action.pj({"address_delta": 2}, "GLB read")


def test_a_summary_is_read_and_other_files_are_not(tmp_path: Path) -> None:
    """The summary's energies count too; broken YAML has its line, another file says what is expected."""
    path = tmp_path / "x.yaml"
    path.write_text(
        "ERT_summary:\n  version: 0.3\n  table_summary:\n  - name: a.GLB\n    actions:\n"
        "    - name: fill\n      average_energy: 5.0\n      max_energy: 7\n"
    )
    assert load_ert(path)[0].actions["fill"].pj({}, "") == 5.0
    path.write_text("ERT: [1,\n")
    with pytest.raises(InputError, match=r"x.yaml:2:1: not valid YAML"):
        load_ert(path)
    path.write_text("a: 1\n")
    with pytest.raises(InputError, match="no energy reference table"):
        load_ert(path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{name: read, energy: -1}", "5:27: ERT.tables[0].actions[0].energy: expected at least 0, got -1"),
        ("{name: read, energy: .nan}", "energy: expected a finite number, got nan"),
        ("{name: read, energy: .inf}", "energy: expected a finite number, got inf"),
        ("{name: read, energy: lots}", 'energy: expected a number, got "lots"'),
        ("{name: read, energy: true}", "energy: expected a number, got true"),
        (
            "{name: read, energie: 1}",
            "5:6: ERT.tables[0].actions[0]: action read: missing key energy",
        ),
        ("{nam: read, energy: 1}", "5:6: ERT.tables[0].actions[0]: missing key name"),
        ("{name: read, energy: 1, arguments: {a: b}}", 'actions[0].arguments.a: expected a number, got "b"'),
        ("hello", '5:6: ERT.tables[0].actions[0]: expected a table, got "hello"'),
        (
            '{name: read, energy: 1}\n- {name: "b[3..0]", actions: []}',
            "instances such as [0..3], lowest first",
        ),
        ("{name: read, energy: 1}\n- {name: b}", "6:4: ERT.tables[1]: missing key actions"),
    ],
)
def test_faults_of_a_table_have_a_line(tmp_path: Path, row: str, message: str) -> None:
    """What is no energy of pJ is refused where it stands; no word of the parser's own."""
    path = tmp_path / "x.yaml"
    path.write_text(_table_of(row))
    with pytest.raises(ConfigError) as fault:
        load_ert(path)
    (only,) = fault.value.faults
    assert only.startswith(f"{path}:")
    assert message in only


def _table_of(row: str) -> str:
    return f"ERT:\n tables:\n - name: glb\n   actions:\n   - {row}".replace("\n- ", "\n - ")


def test_small_numbers_are_numbers(tmp_path: Path) -> None:
    """YAML takes 1e-3, without a point, for a text."""
    path = tmp_path / "x.yaml"
    path.write_text(_table_of("{name: read, energy: 1e-3}"))
    assert load_ert(path)[0].actions["read"].pj({}, "") == 1e-3


def test_write_buffers_have_prices(tmp_path: Path) -> None:
    """Their words are the bank's, also where a map says a width."""
    out = tmp_path / "run"
    simulate("edge-sram", "mlp", batch=4, overrides=("bank.sram.write_buffer.entries=8",), out=out)
    file = tmp_path / "map.toml"
    file.write_text(
        'free = ["pe_array *", "accumulator *", "vector *", "noc *", "d*", "static *", "spad.sram *"]\n'
        '[price."spad.sram.buffer *"]\ncomponent = "weight_reg"\naction = "read"\nwidth = "64 bit"\n'
    )
    prices = [p for p in ert_prices(open_run(out), ERT, file) if p.component == "spad.sram.buffer"]
    assert prices
    assert [p.amount for p in prices] == [4 * p.count for p in prices]


def test_the_command_prints_tables_and_json(finished: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Both have the same total; --arch and --ert exclude each other."""
    assert cli("reprice", str(finished.path), "--ert", str(ERT), "--map", str(MAP), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["total_pj"] == pytest.approx(sum(told["by_component"].values()))
    assert told["run_total_pj"] == pytest.approx(finished.summary["energy_pj"]["total"])
    assert cli("reprice", str(finished.path), "--ert", str(ERT), "--map", str(MAP)) == 0
    out = capsys.readouterr().out
    assert "shared_glb read" in out
    assert cli("reprice", str(finished.path)) == 2
    assert cli("reprice", str(finished.path), "--ert", str(ERT), "--arch", "edge-sram") == 2
