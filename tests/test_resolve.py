"""From a description to a machine: defaults, the array table, sources, iso-area, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from accelsim.config.locate import names, shipped
from accelsim.errors import ConfigError
from accelsim.resolve import Machine, load_machine
from accelsim.resolve.summary import array_demand, assumed_keys, sources_used, summarize
from accelsim.words import FORMATS, ROLES

SMALL = '[pe_array]\nrows = 4\ncols = 8\n[bank.a]\ntechnology = "sram"\ncapacity = "64 KiB"\n'
EXPLICIT = """
[bank.x]
technology = "stt-mram"
capacity = "3 KiB"
count = 3
word = "64 bit"
read_latency = "2 ns"
write_cycle = "5.3 ns"
read_energy = "1 pJ"
write_energy = "2 pJ"
leakage = "3 mW"
area = "0.25 mm2"
"""

Arch = Callable[..., Path]


@pytest.fixture
def arch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Arch:
    monkeypatch.chdir(tmp_path)

    def write(text: str, name: str = "m.toml") -> Path:
        (tmp_path / name).write_text(text)
        return Path(name)

    return write


def load(path: Path, *overrides: str) -> Machine:
    return load_machine(str(path), overrides)


def faults(path: Path | str, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_machine(str(path), overrides)
    return caught.value.faults


# --- shipped machines ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", names("arch"))
def test_shipped_machines_have_no_silly_bottleneck(name: str) -> None:
    """Every group keeps up with the array, both ways; the balance is nowhere absurd."""
    machine = load_machine(name)
    summary, demand = summarize(machine), array_demand(machine)
    for group in summary.groups:
        assert group.read_bytes_per_s >= demand.read_bytes_per_s
        assert group.write_bytes_per_s >= demand.write_bytes_per_s
        assert group.leakage_mw > 0
    assert (machine.node_nm, machine.temperature_k) == (22, 350.0)
    assert 10 < summary.ridge_macs_per_byte < 100
    total = 512 * 1024 if name.startswith("edge") else 8 * 1024**2
    assert summary.capacity_bytes >= total
    assert name.endswith("iso-area") or summary.capacity_bytes == total


def test_the_shipped_machines() -> None:
    """The names, and what the groups are called."""
    variants = ["hybrid", "hybrid-iso-area", "mram", "mram-iso-area", "sram"]
    assert names("arch") == [f"{family}-{v}" for family in ("edge", "tpu-like") for v in variants]
    for name in names("arch"):
        groups = {"hybrid": ["sram", "mram"], "mram": ["mram"], "sram": ["sram"]}
        kind = name.removeprefix("edge-").removeprefix("tpu-like-").removesuffix("-iso-area")
        assert list(load_machine(name).banks) == groups[kind]


@pytest.mark.parametrize("family", ["edge", "tpu-like"])
@pytest.mark.parametrize("kind", ["mram", "hybrid"])
def test_iso_area_fills_the_area_and_no_more(family: str, kind: str) -> None:
    """One KiB more per macro would not fit; SRAM groups stay; the capacity is larger."""
    sram, before = load_machine(f"{family}-sram"), load_machine(f"{family}-{kind}")
    after = load_machine(f"{family}-{kind}-iso-area")
    group = after.banks["mram"]
    assert group.capacity_bytes > before.banks["mram"].capacity_bytes
    assert group.lanes == before.banks["mram"].lanes
    assert (group.capacity_bytes // group.lanes) % 1024 == 0
    if kind == "hybrid":
        assert after.banks["sram"] == before.banks["sram"]
    more = group.capacity_bytes + 1024 * group.lanes
    larger = load_machine(f"{family}-{kind}", [f"bank.mram.capacity={more} B"])
    assert after.area_mm2 <= sram.area_mm2 < larger.area_mm2


def test_every_source_is_in_the_docs() -> None:
    """A source of a shipped machine is a heading of docs/sources.md."""
    text = (shipped("arch").parent / "docs" / "sources.md").read_text()
    headings = {line[3:] for line in text.splitlines() if line.startswith("## ")}
    for name in names("arch"):
        assert {s.source for s in load_machine(name).sources} <= headings


def test_placement_of_hybrids_and_formats() -> None:
    """Read-mostly data go to MRAM first; 16-bit floats but for the optimizer."""
    machine = load_machine("tpu-like-hybrid")
    assert machine.placement["weight"] == ("mram", "sram")
    assert machine.placement["error"] == ("sram", "mram")
    assert machine.formats["activation"] == "bf16"
    assert machine.formats["optimizer_state"] == "fp32"
    assert list(machine.formats) == list(machine.placement) == list(ROLES)


# --- defaults, explicit numbers, the table ---------------------------------------------------------------


def test_a_small_machine_and_its_defaults(arch: Arch) -> None:
    """Two tables make a machine; the rest is documented defaults."""
    machine = load(arch(SMALL))
    assert (machine.name, machine.clock_hz, machine.granularity_bytes) == ("m", 10**9, 4096)
    assert machine.placement == dict.fromkeys(ROLES, ("a",))
    assert machine.formats == dict.fromkeys(ROLES)
    assert list(machine.pe_array.mac_pj) == list(FORMATS)
    assert machine.noc.pj_per_bit == pytest.approx(0.08 * math.sqrt(machine.area_mm2) / 2)
    assert machine.vector.cycles["gelu"] == 12
    bank = machine.banks["a"]
    assert (bank.word_bytes, bank.lanes, bank.read_cycle_ps, bank.write_cycle_ps) == (32, 1, 1000, 1000)
    assert (bank.leakage_mw, bank.area_mm2) == (1.49495, 0.044876)


def test_explicit_banks_need_no_table(arch: Arch) -> None:
    """Whole groups by hand: any node of the compute table, temperature, word and capacity."""
    text = 'node = "28 nm"\ntemperature = "450 K"\n[pe_array]\nrows = 1\ncols = 1\n' + EXPLICIT
    bank = load(arch(text)).banks["x"]
    assert (bank.read_latency_ps, bank.read_cycle_ps, bank.write_cycle_ps) == (2000, 2000, 5300)
    assert (bank.read_pj, bank.write_pj, bank.leakage_mw, bank.area_mm2) == (1.0, 2.0, 3.0, 0.25)


def test_explicit_numbers_override_those_of_the_table(arch: Arch) -> None:
    """One by one; count x subbanks macros share the group's capacity."""
    path = arch(SMALL)
    plain = load(path, "bank.a.count=2", "bank.a.subbanks=4").banks["a"]
    other = load(path, "bank.a.count=2", "bank.a.subbanks=4", "bank.a.read_latency=3 cycles").banks["a"]
    assert plain.area_mm2 == pytest.approx(8 * 0.00506492)
    assert plain.read_latency_ps < 1000
    assert (other.read_latency_ps, other.read_cycle_ps) == (3000, 3000)
    assert (other.write_cycle_ps, other.area_mm2) == (plain.write_cycle_ps, plain.area_mm2)


def test_cycles_are_at_least_a_clock_period(arch: Arch) -> None:
    """A slow clock makes fast macros wait for its edge; a fast one shows the macro."""
    path = arch(SMALL)
    assert load(path, "clock=100 MHz").banks["a"].read_cycle_ps == 10_000
    fast = load(path, "clock=3.8 GHz").banks["a"]
    assert 264 <= fast.read_cycle_ps < fast.write_cycle_ps < 1000


def test_an_mram_write_holds_its_macro_for_the_pulse() -> None:
    """The write cycle of stt34 contains its 5 ns pulse, that of stt54 its 10 ns."""
    assert 5_000 < load_machine("edge-mram").banks["mram"].write_cycle_ps < 6_000
    other = load_machine("edge-mram", ["bank.mram.macro=stt54"])
    assert 10_000 < other.banks["mram"].write_cycle_ps < 11_000


def test_temperature_drives_leakage_only() -> None:
    """300 K: 0.481 of the SRAM's leakage at 350 K; nothing else changes."""
    hot, cold = load_machine("edge-sram"), load_machine("edge-sram", ["temperature=300 K"])
    assert cold.banks["sram"].leakage_mw == pytest.approx(0.481 * hot.banks["sram"].leakage_mw)
    assert cold.banks["sram"].read_pj == hot.banks["sram"].read_pj


def test_energies_by_hand(arch: Arch) -> None:
    """MAC, accumulator and vector energies, rates and distance are keys."""
    machine = load(
        arch(SMALL),
        "pe_array.mac_energy.bf16=1 pJ",
        "accumulator.energy=2 pJ",
        "vector.energies.exp=3 pJ",
        "vector.rates={exp=7}",
        "noc.distance=2 mm",
        "noc.energy=0.5 pJ/bit/mm",
    )
    assert machine.pe_array.mac_pj["bf16"] == 1.0
    assert machine.accumulator.rmw_pj == 2.0
    assert (machine.vector.pj["exp"], machine.vector.cycles["exp"]) == (3.0, 7)
    assert machine.noc.pj_per_bit == 1.0


# --- sources ---------------------------------------------------------------------------------------------


def test_a_source_covers_its_table_in_its_file(arch: Arch) -> None:
    """What another file or --set overrides is assumed; so are defaults; table values name the table."""
    arch('[dram]\nsource = "paper"\nbandwidth = "10 GB/s"\nlatency = "50 ns"\n', "base.toml")
    path = arch('extends = "base.toml"\n' + SMALL + '[dram]\nlatency = "60 ns"\n')
    machine = load(path, "bank.a.area=1 mm2")
    found = {s.key: s.source for s in machine.sources}
    assert found["dram.bandwidth"] == "paper"
    assert found["dram.latency"] == found["dram.background"] == found["bank.a.area"] == "assumed"
    assert found["bank.a.leakage"] == "nvsim-macros"
    assert found["clock"] == "choice"
    assert sources_used(machine) == ("nvsim-macros", "paper")
    assert "dram.latency" in assumed_keys(machine)


def test_the_fit_is_reported_where_it_decides() -> None:
    """The SRAM's read time is pooled over a dip; a cycle that is the clock's period is not the fit's."""
    machine = load_machine("tpu-like-sram")
    residuals = {s.key: s.value for s in machine.sources if s.key.endswith(".fit_residual")}
    assert list(residuals) == ["bank.sram.read_latency.fit_residual"]
    assert summarize(machine).groups[0].fit_residual == residuals["bank.sram.read_latency.fit_residual"]


def test_same_description_same_machine() -> None:
    """Resolving is deterministic."""
    assert load_machine("tpu-like-hybrid-iso-area") == load_machine("tpu-like-hybrid-iso-area")


# --- what is refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("bank.a.capacity=4 KiB", "a macro of 4 KiB is outside the array table, which has 8 KiB to 8 MiB; "
         "change capacity, count or subbanks"),
        ("bank.a.count=3", "65536 B are not a whole number of 32 B words in each of 3 macros "
         "(count x subbanks); use a multiple of 96 B"),
        ("bank.a.word=128 B", "the array table has no 1024 bit at 22 nm LOP, only "
         "64 bit, 128 bit, 256 bit, 512 bit"),
        ("bank.a.macro=stt34", '"stt34" is not a cell of technology "sram"; use sram'),
        ("bank.a.read_cycle=0 ns", "a port cannot serve a word in no time; give more than 0"),
        ("node=28 nm", "bank a: the array table has no 28 nm, only 22 nm, 45 nm; "
         "give another, or the bank's values explicitly"),
        ("node=5 nm", "5 nm is outside the compute energy table, which has 7 nm to 45 nm"),
        ("temperature=299 K", "bank a: 299 K is outside the array table's leakage law, 300 K to 400 K; "
         "give another, or the bank's values explicitly"),
        ("accumulator.overflow=b", 'no bank group "b"; there are a'),
        ("scratchpad.interleave=bank", 'expected "word", "line" or "tile", got "bank"'),
        ("scratchpad.granularity=0 B", 'expected at least 1, got "0 B"'),
        ("mapping.depthwise=diagnoal", 'expected "array", "vector" or "diagonal", got "diagnoal", '
         "did you mean diagonal?"),
        ("dram.model=burst", '"burst" is not supported yet; use "flat"'),
        ("pe_array.dataflow=rs", 'expected "ws", "os" or "is", got "rs"'),
        ("iso_area_with=nobody", None),
        ("iso_area_with=m.toml", "cycle m -> m"),
        ("iso_area_with=edge-sram", "no bank group to solve: none is stt-mram and none has iso_area = true"),
    ],
)  # fmt: skip
def test_faults(arch: Arch, override: str, message: str | None) -> None:
    """Each is one line, placed at the key at fault."""
    key = override.split("=")[0]
    found = faults(arch(SMALL), override)
    if message is None:
        assert found[0].startswith(f'--set {key}: unknown machine "nobody"; shipped: edge-hybrid, ')
    elif key == "bank.a.count":
        assert found == [f"m.toml:6:12: bank.a.capacity: {message}"]
    else:
        assert found == [f"--set {key}: {message}"]


def test_hp_ends_at_350_kelvin(arch: Arch) -> None:
    """Above, the bank has to give its leakage."""
    path = arch('temperature = "360 K"\n' + SMALL + 'flavour = "HP"\n')
    assert faults(path) == [
        "m.toml:1:15: temperature: bank a: 360 K is above 350 K, where the leakage law of HP ends; "
        "give another, or the bank's values explicitly"
    ]
    assert load(path, "bank.a.leakage=9 mW").banks["a"].leakage_mw == 9.0
    assert load(path, "temperature=350 K").banks["a"].leakage_mw == pytest.approx(62.7962)


def test_faults_of_several_banks_come_together(arch: Arch) -> None:
    """Every bank is looked at before anything is raised."""
    path = arch(SMALL + 'macro = "stt54"\n[bank.b]\ntechnology = "stt-mram"\ncapacity = "1 KiB"\n')
    assert faults(path) == [
        'm.toml:7:9: bank.a.macro: "stt54" is not a cell of technology "sram"; use sram',
        "m.toml:10:12: bank.b.capacity: a macro of 1 KiB is outside the array table, which has 8 KiB to "
        "8 MiB; change capacity, count or subbanks",
    ]


def test_faults_of_placement(arch: Arch) -> None:
    """Unknown groups with what was meant, groups that stand twice, unknown roles."""
    text = SMALL + '[placement]\nweight = ["a", "aa"]\nerror = ["a", "a"]\ninput = []\n'
    path = arch(text)
    assert faults(path) == [
        'm.toml:8:16: placement.weight[1]: no bank group "aa", did you mean a?',
        'm.toml:9:15: placement.error[1]: "a" stands twice',
    ]
    assert faults(arch(SMALL + '[placement]\nweights = ["a"]\n')) == [
        "m.toml:8:1: placement.weights: unknown key, did you mean weight?"
    ]
    assert load(arch(SMALL + "[placement]\ninput = []\n")).placement["input"] == ()


def test_a_machine_needs_a_bank(arch: Arch) -> None:
    """An empty table of banks is a fault as well as none."""
    assert faults(arch("[pe_array]\nrows = 1\ncols = 1\n[bank]\n")) == [
        "m.toml:4:1: bank: no bank group; a machine needs at least one table [bank.NAME]"
    ]
    assert faults(arch("")) == ["m.toml:1:1: missing key pe_array", "m.toml:1:1: missing key bank"]


# --- iso-area --------------------------------------------------------------------------------------------


def test_iso_area_of_named_groups(arch: Arch) -> None:
    """iso_area = true picks groups of any technology; several share one macro size."""
    two = SMALL + 'iso_area = true\n[bank.b]\ntechnology = "sram"\ncapacity = "64 KiB"\niso_area = true\n'
    machine = load(arch('iso_area_with = "edge-sram"\n' + two))
    sizes = [bank.capacity_bytes for bank in machine.banks.values()]
    assert sizes[0] == sizes[1]
    assert machine.area_mm2 <= load_machine("edge-sram").area_mm2 < machine.area_mm2 * 1.02


def test_faults_of_iso_area(arch: Arch) -> None:
    """Areas that no macro of the table gives, other nodes, and keys that would have no effect."""
    name = "tpu-like-mram-iso-area"
    area = load_machine("tpu-like-sram").area_mm2
    [fault] = faults(name, "bank.mram.count=1", "bank.mram.subbanks=1")
    assert fault.endswith(
        f":3:17: iso_area_with: macros of 8 MiB, the largest of the array table, take 1.286 mm2 where "
        f"tpu-like-sram leaves {area:.4g} mm2; change count or subbanks of mram"
    )
    [fault] = faults(name, "bank.mram.count=1000")
    assert "macros of 8 KiB, the smallest of the array table, take" in fault
    assert faults(name, "bank.mram.capacity=1 MiB") == [
        '--set bank.mram.capacity: has no effect: iso_area_with solves it; add --set iso_area_with=""'
    ]
    [fault] = faults(name, "node=45 nm")
    assert fault.endswith("iso_area_with: tpu-like-sram is at 22 nm, this machine at 45 nm")
    assert load_machine(name, ['iso_area_with=""', "bank.mram.capacity=4 MiB"]).banks["mram"].lanes == 128
    loop = arch('iso_area_with = "b.toml"\n' + SMALL)
    arch('iso_area_with = "m.toml"\n' + SMALL, "b.toml")
    assert faults(loop) == ["b.toml:1:17: iso_area_with: cycle m -> b -> m"]


def test_iso_area_without_its_machine_is_a_fault() -> None:
    """A key that would do nothing is refused, with the key that is missing."""
    with pytest.raises(ConfigError) as caught:
        load_machine("edge-hybrid", ["bank.mram.iso_area=true"])
    message = "has no effect without iso_area_with, the machine whose bank area is to be matched"
    assert caught.value.faults == [f"--set bank.mram.iso_area: {message}"]
