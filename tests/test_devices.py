"""Devices in machines: what the physics makes of a bank's times, energies, area, capacity and power."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from accelsim.config.locate import names
from accelsim.device.cells import cell
from accelsim.device.laws import flipped, laws
from accelsim.errors import ConfigError, InputError
from accelsim.machine import run_program
from accelsim.mapping import map_graph
from accelsim.resolve import load_machine
from accelsim.resolve.bank_group import BankGroup
from accelsim.resolve.device import load_device
from accelsim.resolve.drive import largest_delta
from accelsim.resolve.machine import Machine
from accelsim.resolve.prices import price_pj, upkeep_w, write_price_pj
from accelsim.resolve.summary import summarize
from accelsim.resolve.techniques import check_bits, switching_share
from accelsim.run.energy import energy_rows
from accelsim.run.gating import powered_shares
from accelsim.trace.recorder import Part, Recorder
from tests.strategies import shipped_graph

BITS = 256  # of a word of the shipped machines
WRITE = 'pulse = "5 ns"\nwrite_overdrive = 2.0\n'


def _mram(*settings: str, arch: str = "edge-hybrid", more: tuple[str, ...] = ()) -> BankGroup:
    return load_machine(arch, (*(f"bank.mram.{s}" for s in settings), *more)).banks["mram"]


def _device(folder: Path, text: str) -> Path:
    path = folder / "d.toml"
    path.write_text(text, encoding="utf-8")
    return path


# -- devices ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", names("devices"))
def test_shipped_devices_resolve(name: str) -> None:
    """At room temperature and at the machines' own, with errors that a training run would survive."""
    for kelvin in (300.0, 350.0):
        device = load_device(name, kelvin)
        assert device.delta * device.reference_k / kelvin > 8
        assert laws(device.law).write_error_rate(device, 0, 1) <= 1e-5


def test_retention_points() -> None:
    """The names are mean retentions at 300 K: ln(t / 1 ns)."""
    wanted = {"mram-10y": 40.29, "mram-1s": 20.72, "mram-10ms": 16.12, "mram-26us": 10.18}
    assert {n: round(load_device(n).delta, 2) for n in wanted} == wanted


def test_a_relaxed_device_is_written_faster_and_cheaper() -> None:
    """At equal current and error rate; the order holds in time, in energy and in the bank."""
    banks = [_mram(f"device={n}") for n in ("mram-10y", "mram-1s", "mram-10ms")]
    for what in ("write_cycle_ps", "write_pj", "write_cell_pj"):
        values = [getattr(b, what) for b in banks]
        assert values == sorted(values, reverse=True)
        assert values[-1] < values[0]


def test_retention_may_mean_a_bit_error_rate(tmp_path: Path) -> None:
    """`ber:1e-4` is the time by which that share of the bits reads wrong, spread included."""
    text = 'retention = "10 ms"\nretention_means = "ber:1e-4"\ndelta_cv = 0.05\n' + WRITE
    device = load_device(str(_device(tmp_path, text)))
    assert flipped(laws(device.law), device, 10e-3) == pytest.approx(1e-4, rel=1e-6)


def test_geometry_gives_delta(tmp_path: Path) -> None:
    """Saturation times field times volume over 2 kT: by hand."""
    text = (
        'anisotropy_field = "0.3 T"\npulse = "10 ns"\nwrite_overdrive = 2.0\n[geometry]\ndiameter = "40 nm"\n'
        'thickness = "1 nm"\nsaturation = "1000 kA/m"\n'
    )
    volume = math.pi / 4 * 40e-9**2 * 1e-9
    assert load_device(str(_device(tmp_path, text))).delta == pytest.approx(
        1e6 * 0.3 * volume / (2 * 1.380649e-23 * 300)
    )


def test_target_and_pulse_are_inverse(tmp_path: Path) -> None:
    """The pulse derived from a target has that error rate."""
    text = "delta = 30.0\ntarget_wer = 1e-6\nwrite_overdrive = 1.7\n"
    device = load_device(str(_device(tmp_path, text)), 330.0)
    assert laws(device.law).write_error_rate(device, 0, 1) == pytest.approx(1e-6, rel=1e-3)


FAULTS = {
    f"delta = -3.0\n{WRITE}": "d.toml:1:9: delta: ",
    WRITE: "give one of delta, retention and geometry",
    f"delta = 30.0\nretention = '1 s'\n{WRITE}": (
        "d.toml:2:13: retention: contradicts delta: give one of delta, retention and geometry"
    ),
    f"delta = 30.0\ntarget_wer = 1e-6\n{WRITE}": "d.toml:2:14: target_wer: contradicts pulse",
    "delta = 30.0\npulse = '5 ns'\nwrite_overdrive = 0.9": "d.toml:3:19: write_overdrive: ",
    f"delta = 30.0\nreference_temperature = '0 K'\n{WRITE}": "above absolute zero",
    "delta = 30.0\npulse = 5\nwrite_overdrive = 2.0": "d.toml:2:9: pulse: expected a time",
    f"delta = 30.0\nlaw = 'macrspin'\n{WRITE}": "did you mean macrospin",
    f"retention = '1 s'\nretention_means = 'ber:2'\n{WRITE}": "below 0.5",
    f"delta = 30.0\nretention_means = 'mean'\n{WRITE}": "has no effect without retention",
    f"delta = 800.0\n{WRITE}": "d.toml:1:9: delta: ",
    f"delta = 30.0\ndamping = 2.0\n{WRITE}": "d.toml:2:11: damping: ",
    f"delta = 30.0\nreference_temperature = '2000 K'\n{WRITE}": "reference_temperature: ",
    f"delta = 30.0\nread_disturbs = 2\n{WRITE}": "d.toml:2:17: read_disturbs: expected 0 or 1, got 2",
    f"delta = '30'\n{WRITE}": "d.toml:1:9: delta: ",
    f"delta = true\n{WRITE}": "d.toml:1:9: delta: ",
    f"delta = 30.0\nassumed = ['dampng']\n{WRITE}": 'no key "dampng", did you mean damping',
    f"delta = 30.0\nefficiency = 2.0\n{WRITE}": "d.toml:2:14: efficiency: expected at most 1.0, got 2.0",
    "delta = 30.0\nwrite_overdrive = 2.0\npulse = '1 year'": "d.toml:3:9: pulse: expected at most 1 ms",
    f"delta = 30.0\nread_time = '2 ms'\n{WRITE}": "d.toml:2:13: read_time: expected at most 1 ms",
    f"retention = '1 ns'\n{WRITE}": (
        "d.toml:1:13: retention: expected more than attempt_time, 1 ns, got 1 ns"
    ),
    "extends = 'mram-1s'\ndelta = 30.0\nretention = '1 s'": "d.toml:3:13: retention: contradicts delta",
    f"deltas = 30.0\ndelta = 30.0\n{WRITE}": "unknown key, did you mean delta",
}


@pytest.mark.parametrize("text", FAULTS)
def test_faults_of_a_device_are_located(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File, line, column, key and what is wrong."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as raised:
        load_device(str(_device(tmp_path, text.replace("'", '"'))))
    assert FAULTS[text] in str(raised.value)


def test_one_of_two_ways_replaces_the_inherited_other(tmp_path: Path) -> None:
    """With what goes with it; a longest pulse of 1 ms is one."""
    base = tmp_path / "base.toml"
    base.write_text(
        'retention = "1 s"\nretention_means = "ber:1e-6"\ntarget_wer = 1e-6\npulse_temperature = "300 K"\n'
        'write_current = "40 uA"\n'
    )
    text = 'extends = "base.toml"\ndelta = 30.0\npulse = "1 ms"\nwrite_overdrive = 2.0\n'
    device = load_device(str(_device(tmp_path, text)))
    assert (device.delta, device.pulse_s, device.overdrive) == (30.0, 1e-3, 2.0)
    means = load_device(str(_device(tmp_path, 'extends = "base.toml"\nretention_means = "mean"\n')))
    assert means.delta == pytest.approx(math.log(1e9))


def test_an_unknown_device_names_its_neighbours() -> None:
    """As for machines; the name with the fewest letters to change."""
    with pytest.raises(InputError, match='unknown device "mram-2s", did you mean mram-1s'):
        load_device("mram-2s")
    with pytest.raises(InputError, match='unknown device "mram-1sec", did you mean mram-1s'):
        load_device("mram-1sec")


# -- banks -------------------------------------------------------------------------------------------------


def test_pulse_and_cell_energy_take_the_macros_place() -> None:
    """write = macro - its pulse + the device's; energy likewise, through the macro's write path."""
    bare, own = _mram(), cell("stt34")
    bank = _mram("device=mram-1s")
    device = bank.device
    assert device is not None
    assert bank.write_cycle_ps - bare.write_cycle_ps == pytest.approx(
        (device.pulse_s - own.set_pulse_s) * 1e12, abs=1
    )
    bit = device.write_current_a**2 * own.path_ohm * device.pulse_s * 1e12
    assert bank.write_pj - bare.write_pj == pytest.approx(BITS * (bit - own.set_energy_pj))
    assert (bank.read_pj, bank.read_cycle_ps, bank.area_mm2) == (
        bare.read_pj,
        bare.read_cycle_ps,
        bare.area_mm2,
    )


def test_a_device_like_the_cell_changes_nothing(tmp_path: Path) -> None:
    """The macro's own current and pulse give back the macro's own time and energy."""
    path = _device(tmp_path, 'delta = 20.0\npulse = "5 ns"\nwrite_current = "40.82 uA"\n')
    bank, bare = _mram(f"device={path}"), _mram()
    assert bank.write_cycle_ps == bare.write_cycle_ps
    assert bank.write_pj == pytest.approx(bare.write_pj)


def test_a_device_that_needs_more_current_than_the_cell_gives(tmp_path: Path) -> None:
    """Both are named, and the width that would do; with that width it resolves, in a larger cell."""
    path = _device(tmp_path, 'delta = 40.0\npulse = "10 ns"\nwrite_overdrive = 3.0\n')
    with pytest.raises(
        ConfigError, match=r"d is written with 60\.\d+ uA, but the cell of macro stt34 gives 40\.82 uA"
    ):
        _mram(f"device={path}")
    wide, bits = _mram(f"device={path}", "access_width_scale=1.6"), 384 * 1024 * 8
    grown = 0.6 * 4.5 * (54 - 34.5) / (8 - 4.5) * bits * (22e-6) ** 2
    assert wide.area_mm2 == pytest.approx(_mram().area_mm2 + grown)
    assert wide.device is not None
    assert wide.device.cell_ohm == pytest.approx(cell("stt34").path_ohm / 1.6)


def test_a_widened_cell_is_the_other_cell() -> None:
    """The small cell with the large one's transistor has its area within 3 %, its path within 10 %."""
    small = _mram("device=mram-1s", f"access_width_scale={8 / 4.5:.6f}")
    large = _mram("device=mram-1s", "macro=stt54")
    assert small.area_mm2 == pytest.approx(large.area_mm2, rel=0.03)
    assert small.device is not None
    assert large.device is not None
    assert small.device.cell_ohm == pytest.approx(large.device.cell_ohm, rel=0.1)


def test_the_harder_direction_takes_more_current(tmp_path: Path) -> None:
    """An asymmetry of 1.5: 1.5 times the current for the same overdrive, and an easier way back."""
    text = 'delta = 20.0\npulse = "6 ns"\nwrite_overdrive = 2.0\n'
    even = load_device(str(_device(tmp_path, text)))
    uneven = load_device(str(_device(tmp_path, text + "write_asymmetry = 1.5\n")))
    assert uneven.write_current_a == pytest.approx(1.5 * even.write_current_a)
    law = laws("macrospin")
    assert law.write_error_rate(uneven, 0, 1) == law.write_error_rate(even, 0, 1)
    assert law.write_error_rate(uneven, 1, 0) < law.write_error_rate(uneven, 0, 1)


def test_an_asymmetry_beyond_the_table_is_no_worse_than_its_end(tmp_path: Path) -> None:
    """Overdrive 9 in the easier direction is taken as 8."""
    text = 'retention = "26.5 us"\ntarget_wer = 1e-9\nwrite_overdrive = 6.0\nwrite_asymmetry = 1.5\n'
    device = load_device(str(_device(tmp_path, text)))
    assert 0 < laws(device.law).write_error_rate(device, 1, 0) < 1e-9


def test_a_pulse_may_be_made_for_another_temperature(tmp_path: Path) -> None:
    """One pulse for a cold start; the error rate at work follows."""
    text = 'delta = 40.0\ntarget_wer = 1e-6\nwrite_overdrive = 1.5\npulse_temperature = "300 K"\n'
    path = str(_device(tmp_path, text))
    cold, hot = load_device(path, 300.0), load_device(path, 380.0)
    assert cold.pulse_s == hot.pulse_s
    assert laws("macrospin").write_error_rate(hot, 0, 1) != pytest.approx(1e-6, rel=0.01)


def test_the_largest_delta_that_a_macro_writes() -> None:
    """The 34.5 F2 cell (5 ns) writes delta 14.6 with 1e-9, the 54 F2 cell (10 ns) 47: within 2 %."""
    assert largest_delta(40.82e-6, 5e-9) == pytest.approx(14.6, rel=0.02)
    assert largest_delta(80e-6, 10e-9) == pytest.approx(47, rel=0.02)
    assert largest_delta(40.82e-6, 1e-6, 0.0) == largest_delta(40.82e-6, 1e-6, 1e-15)
    assert largest_delta(40e-6, 1e-6, 1e-9) == pytest.approx(40e-6 / 0.503e-6 / 1.05, rel=0.01)


def test_check_shows_the_device() -> None:
    """Resolved at the machine's temperature."""
    group = summarize(load_machine("edge-hybrid", ("bank.mram.device=mram-1s",))).groups[1]
    assert group.device is not None
    assert group.device.delta == pytest.approx(20.723 * 300 / 350, rel=1e-3)
    assert group.device.retention_s == pytest.approx(1e-9 * math.exp(group.device.delta), rel=1e-6)
    assert group.macro is not None
    assert group.device.write_current_a < group.macro.current_a
    assert summarize(load_machine("edge-hybrid")).groups[1].macro is not None


BANK_FAULTS = {
    ("bank.sram.device=mram-1s",): "bank.sram.device: is of stt-mram",
    ("bank.mram.access_width_scale=1.5",): "has no effect without a device",
    ("bank.mram.write_retries=1",): "has no effect without a device",
    ("bank.mram.scrub_interval=1ms",): "has nothing to correct with",
    ("bank.mram.ecc=secded", "bank.mram.ecc_word=80 bit"): "does not divide the word of 256 bit",
    ("bank.mram.refresh_model=literature",): "has no effect without refresh_interval",
    ("bank.mram.refresh_interval=2us",): "% of the port's time",
    (
        "bank.mram.device=mram-1s",
        "bank.mram.ecc=secded",
        "bank.mram.scrub_interval=15us",
        "bank.mram.refresh_interval=15us",
    ): "scrub and refresh together take",
    ("bank.mram.device=mram-1s", "bank.mram.write_energy=1pJ"): "is less than the cells of mram-1s take",
    ("bank.mram.device=mram-1s", "bank.mram.write_retries=1000"): "100, got 1000",
    ("bank.mram.power_gating=idle", "bank.mram.refresh_interval=1ms"): "need power at all times",
    ("bank.sram.power_gating=idle",): "loses its content",
    ("bank.mram.max_dwell=ber:1e-6",): "needs a device",
    ("bank.mram.device=mram-1s", "bank.mram.max_dwell=ber:0.6"): "a share between 0 and 0.5",
    ("bank.mram.max_dwell=3 parsecs",): "expected a time",
    ("bank.mram.device=mram-10y", "bank.mram.write_cycle=10ns"): "is shorter than the pulse of mram-10y",
    ("bank.mram.device=mram-1y",): 'unknown device "mram-1y"',
}


@pytest.mark.parametrize("settings", BANK_FAULTS)
def test_faults_of_techniques(settings: tuple[str, ...]) -> None:
    """What contradicts or has no effect is refused by name."""
    with pytest.raises(ConfigError) as raised:
        load_machine("edge-hybrid", settings)
    assert BANK_FAULTS[settings] in str(raised.value)


# -- techniques ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("data", "check"), [(64, 8), (128, 9), (256, 10)])
def test_check_bits_cost_capacity_and_energy(data: int, check: int) -> None:
    """SECDED(72,64) and wider words: data keep k of k + r bits, every access moves all of them."""
    bare = _mram("device=mram-1s")
    bank = _mram("device=mram-1s", "ecc=secded", f"ecc_word={data} bit")
    assert check_bits(data) == check
    row = bank.lanes * bank.word_bytes
    assert bank.capacity_bytes == bare.capacity_bytes * data // (data + check) // row * row
    assert bank.read_pj == pytest.approx(bare.read_pj * (data + check) / data)
    assert bank.area_mm2 == bare.area_mm2
    assert bank.read_cycle_ps == bare.read_cycle_ps


def test_differential_writes_drive_what_changes() -> None:
    """A read before every write; cells of a share toggle of the bits."""
    bare, bank = _mram("device=mram-1s"), _mram("device=mram-1s", "differential_write=true")
    assert bank.write_cycle_ps == bare.write_cycle_ps + bare.read_cycle_ps
    for toggle in (0.0, 0.25, 1.0):
        wanted = bare.write_pj + bare.read_pj - (1 - toggle) * bare.write_cell_pj
        assert write_price_pj(bank, toggle) == pytest.approx(wanted)


@pytest.mark.parametrize(
    "technique", ["differential_write=true", "early_termination=true", "write_retries=1"]
)
def test_comparators_take_area(technique: str) -> None:
    """0.68 % each; iso-area makes room for them."""
    bare, bank = _mram("device=mram-1s"), _mram("device=mram-1s", technique)
    assert bank.area_mm2 == pytest.approx(1.0068 * bare.area_mm2)
    settings = ("bank.mram.device=mram-1s", f"bank.mram.{technique}")
    solved = load_machine("edge-mram-iso-area", settings)
    assert solved.area_mm2 <= load_machine("edge-sram").area_mm2


def test_toggle_rates_are_by_role() -> None:
    """A role that changes fewer bits is written cheaper."""
    settings = ("bank.mram.device=mram-1s", "bank.mram.differential_write=true", "toggle_rate.weight=0.1")
    on = load_machine("edge-hybrid", settings)
    assert price_pj(on, "spad.mram", "write", "weight") < price_pj(on, "spad.mram", "write", "activation")


def test_early_termination_saves_energy_not_time() -> None:
    """A changing bit is driven for its mean switching time; the word still takes its pulse."""
    bare, bank = _mram("device=mram-1s"), _mram("device=mram-1s", "early_termination=true")
    assert bank.write_cycle_ps == bare.write_cycle_ps
    assert bank.device is not None
    assert 0.05 < switching_share(bank.device) < 0.6
    assert write_price_pj(bank, 0.5) < write_price_pj(bare, 0.5)


def test_retries_cost_what_they_are_expected_to() -> None:
    """Without errors a verified write is a write and a read; with many, further attempts come on top."""
    sure, bare = _mram("device=mram-1s", "write_retries=2"), _mram("device=mram-1s")
    once = bare.write_cycle_ps + bare.read_cycle_ps
    assert sure.write_cycle_ps == pytest.approx(once, rel=1e-3)
    assert sure.write_retries == 2
    device = bare.device
    assert device is not None
    poor = replace(bare, device=replace(device, pulse_s=device.pulse_s / 3))
    wer = laws("macrospin").write_error_rate(poor.device, 0, 1)  # type: ignore[arg-type]
    from accelsim.resolve.techniques import with_retries

    tried = with_retries(poor, 1, 0.5)
    failing = -math.expm1(BITS * 0.5 * poor.lanes * math.log1p(-wer))
    assert tried.write_cycle_ps == pytest.approx(once * (1 + failing), rel=1e-3)


# -- machines at work ----------------------------------------------------------------------------------------

ALL = (
    "bank.mram.device=mram-1s",
    "bank.mram.ecc=secded",
    "bank.mram.scrub_interval=150us",
    "bank.mram.write_retries=1",
    "bank.mram.differential_write=true",
    "bank.mram.power_gating=empty",
    "bank.sram.power_gating=empty",
    "bank.sram.refresh_interval=90us",
)


def _run(on: Machine, exact: bool = False) -> Recorder:
    return run_program(on, map_graph(shipped_graph("lenet5", 16), on), exact=exact)


def test_scrubbing_recurs_in_a_steady_state_exactly() -> None:
    """With scrub, refresh, check bits and retries, with and without --exact: the same books."""
    on = load_machine("edge-hybrid", ALL)
    quick, slow = _run(on), _run(on, exact=True)
    assert quick.tiles_skipped + quick.folds_skipped > 0
    assert quick.end_ps == slow.end_ps
    assert quick.counts == slow.counts
    assert quick.histogram.rows == slow.histogram.rows
    assert {n: asdict(t) for n, t in quick.ops.items()} == {n: asdict(t) for n, t in slow.ops.items()}
    assert any("scrub" in t.stall_ps for t in slow.ops.values())


def test_scrubbing_costs_time_and_power() -> None:
    """More often is slower and dearer; the power is every word read and written back per interval."""
    ends, watts = [], []
    for interval in ("2ms", "100us", "20us"):
        settings = (
            "bank.mram.device=mram-1s",
            "bank.mram.ecc=secded",
            f"bank.mram.scrub_interval={interval}",
        )
        on = load_machine("edge-hybrid", settings)
        ends.append(_run(on).end_ps)
        watts.append(upkeep_w(on.banks["mram"]))
    assert ends == sorted(ends)
    assert ends[-1] > ends[0]
    assert watts[1] == pytest.approx(20 * watts[0])
    bank = on.banks["mram"]
    words = bank.capacity_bytes // bank.word_bytes
    assert watts[2] == pytest.approx(words * (bank.read_pj + bank.write_pj) * 1e-12 / 20e-6)


def test_gating_saves_leakage_of_what_is_empty() -> None:
    """The share drawn lies between what remains and all; nothing is saved without gating."""
    on = load_machine("edge-hybrid", ("bank.mram.power_gating=idle", "bank.sram.power_gating=empty"))
    program = map_graph(shipped_graph("lenet5", 16), on)
    recorder = run_program(on, program)
    shares = powered_shares(on, program, recorder)
    assert {group for _, group in shares} == {"sram", "mram"}
    assert all(0.1 <= share <= 1 for share in shares.values())
    assert min(shares.values()) < 0.5
    parts = [Part(k.leader.op, k.leader.layer, k.leader.phase) for k in program.kernels]
    gated = sum(r.energy_pj for r in energy_rows(on, recorder, parts, shares) if r.action == "leakage")
    always = sum(r.energy_pj for r in energy_rows(on, recorder, parts) if r.action == "leakage")
    assert 0.1 * always < gated < always


def test_narrow_writes_are_read_first() -> None:
    """Under check bits a write that ends inside a code word counts a read-modify-write, and takes a read."""
    on = load_machine("edge-hybrid", ("bank.mram.device=mram-1s", "bank.mram.ecc=secded"))
    counts = _run(on).counts
    assert any(action == "rmw" and component == "spad.mram" for component, action, _, _ in counts)
    from accelsim.machine.memory import Bank
    from accelsim.sim import Sim

    bank = Bank(Sim(), on.banks["mram"], on.granularity_bytes)
    assert bank.hold_ps("write", 36) == bank.hold_ps("write", 32) + on.banks["mram"].read_cycle_ps


def test_what_lies_long_is_placed_elsewhere() -> None:
    """Data of a whole step leave a group of short dwells; without a limit they fill it."""
    short = ("bank.mram.device=mram-10ms", "bank.mram.max_dwell=ber:1e-6")
    free, brief = load_machine("edge-hybrid", short[:1]), load_machine("edge-hybrid", short)
    graph = shipped_graph("lenet5", 16)
    assert map_graph(graph, brief).peak_bytes["mram"] < map_graph(graph, free).peak_bytes["mram"] / 4
    assert brief.banks["mram"].max_dwell_ps == pytest.approx(
        1e-6 * 1e12 * 1e-9 * math.exp(16.118 * 300 / 350), rel=0.7
    )
