"""The error profile: laws of each cause, chains of copies, binning, and bounds over random devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.device.laws import laws
from accelsim.device.mtj import read_disturb_probability, retention_flip_probability
from accelsim.errors import InputError
from accelsim.reliability import columns_of, error_columns, error_profile
from accelsim.reliability.chain import drift, then
from accelsim.reliability.profile import Profile
from accelsim.reliability.sums import BIT, distance_histogram, error_sums, overall, unit_of
from accelsim.reliability.wear import wear
from accelsim.resolve.bank_group import BankGroup, Device, Ecc
from accelsim.resolve.device import load_device
from accelsim.trace.copies import EDGES_PS, bin_of
from accelsim.trace.schema import ERRORS, RESIDENCIES
from accelsim.trace.tables import table
from tests.strategies import bank

US = 10**6
SECDED = Ecc(data_bits=64, check_bits=8, latency_ps=0)
DEVICE = replace(
    load_device("mram-10ms", 300.0), delta=16.0, delta_cv=0.0, state_asymmetry=0.0, read_overdrive=0.0
)


def group(device: Device | None = DEVICE, **techniques: Any) -> BankGroup:
    """Return a bank group of ``device``."""
    return replace(bank("mram", capacity=4096, technology="stt-mram"), device=device, **techniques)


def rows(*given: dict[str, Any]) -> dict[str, list[Any]]:
    """Return residency columns; a row without more is one read of 8 bytes, 1 us after the write."""
    columns: dict[str, list[Any]] = {name: [] for name in RESIDENCIES}
    for row in given:
        nbytes, dwell = row.get("bytes", 8), row.get("dwell", US)
        whole = {
            "bank_group": "mram",
            "tensor": "t",
            "role": "weight",
            "copy_class": "t@mram",
            "parent_class": "",
            "origin": "produced",
            "fate": "dropped",
            "phase_written": "forward",
            "phase_read": "forward",
            "layer": "l",
            "reader_layer": "l",
            "read_index": 0,
            "bin": int(bin_of(np.array([dwell]))[0]),
            "count": 1,
            "reads": 1,
            "bytes": nbytes,
            "dwell_byte_ps": nbytes * dwell,
            "gap_byte_ps": nbytes * row.get("gap", dwell),
        } | {k: v for k, v in row.items() if k not in ("dwell", "gap")}
        for name in RESIDENCIES:
            columns[name].append(whole[name])
    return columns


def told(on: BankGroup, *given: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of ``errors.parquet``."""
    return table(ERRORS, error_columns({"mram": on}, {}, rows(*given))).to_pylist()


def profile(on: BankGroup, *given: dict[str, Any]) -> Profile:
    """Return the profile, row by row."""
    return error_profile({"mram": on}, {}, rows(*given))


def reads(*dwells: int) -> list[dict[str, Any]]:
    """Return the reads of one copy at these times after its write."""
    before = [0, *dwells[:-1]]
    return [
        {"read_index": i, "dwell": t, "gap": t - b}
        for i, (t, b) in enumerate(zip(dwells, before, strict=True))
    ]


SPREAD = replace(DEVICE, delta_cv=0.08)
NO_WRITE_ERRORS = {"pulse_s": 1e-6}


@pytest.mark.parametrize("cv", [0.0, 0.05, 0.08])
@pytest.mark.parametrize("delta", [9.0, 16.0, 25.0, 50.0])
def test_written_once_and_read_once_it_is_the_law_of_retention(cv: float, delta: float) -> None:
    """P(t) of the device law to 1e-12, as cause, stored and delivered."""
    device = replace(DEVICE, delta=delta, delta_cv=cv, overdrive=3.0, **NO_WRITE_ERRORS)
    for dwell in (1_000, 37 * US, 5 * 10**12):
        (row,) = told(group(device), {"dwell": dwell})
        wanted = float(retention_flip_probability(dwell * 1e-12, delta, cv=cv))
        assert row["p_retention"] == pytest.approx(wanted, rel=1e-12)
        wrong = row["p_total"] - row["p_write"]
        assert row["p_stored"] == row["p_total"] == row["p_new"]
        assert row["p_write"] < 1e-13
        assert wrong == pytest.approx(wanted, rel=1e-12, abs=1e-13)
        assert row["expected_flips"] == 64 * row["p_total"]


def test_a_changed_bit_fails_as_often_as_its_pulse() -> None:
    """Half of the bits change, and of those half in each direction."""
    device = replace(DEVICE, write_asymmetry=1.2, pulse_s=DEVICE.pulse_s / 3)
    law = laws(device.law)
    up, down = law.write_error_rate(device, 0, 1), law.write_error_rate(device, 1, 0)
    assert 1e-4 < down < up < 0.5
    for retries in (0, 1, 3):
        p = profile(group(device, write_retries=retries), {}).cause["write"][0]
        assert p == pytest.approx(0.5 * (up ** (retries + 1) + down ** (retries + 1)) / 2, rel=1e-9)
    all_change = error_profile({"mram": group(device)}, {"weight": 1.0}, rows({}, {"role": "error"}))
    assert all_change.cause["write"].tolist() == pytest.approx([(up + down) / 2, (up + down) / 4], rel=1e-9)


def test_a_cell_that_is_hard_to_write_fails_again() -> None:
    """With a spread of overdrives over cells, retries help less than if each write were another cell's."""
    device = replace(DEVICE, overdrive_sigma=0.15)
    law = laws(device.law)
    once = [law.write_error_rate(device, old, 1 - old) for old in (0, 1)]
    twice = profile(group(device, write_retries=1), {}).cause["write"][0]
    assert 2 * sum(p**2 for p in once) / 4 < twice < sum(once) / 4


def test_disturb_counts_the_reads_before() -> None:
    """The first read sees none; then one more each; one state only."""
    device = replace(DEVICE, read_overdrive=0.3, delta=12.0)
    p = profile(group(device), *reads(1, 2, 3, 1_000)).cause["read_disturb"]
    once = float(read_disturb_probability(device.read_s, 0.3, 12.0))
    assert p.tolist() == pytest.approx([0.5 * (1 - (1 - once) ** n) for n in range(4)], rel=1e-12)


def test_where_the_reads_were_does_not_tell_in_the_mean() -> None:
    """Disturbs and flips in any order: stored errors as with reads spread evenly, to 1e-12.

    By value they differ, which the increments of the next read see: below 2 % where disturb and flips
    are alike strong and the states as different as devices are.
    """
    device = replace(DEVICE, read_overdrive=0.35, delta=11.0, state_asymmetry=0.05, read_disturbs=0)
    device = replace(device, **NO_WRITE_ERRORS)
    law = laws(device.law)
    nodes, _ = law.nodes(device)
    up, down = (float(r[0]) * 1e-12 for r in law.rates_per_s(device, nodes))
    struck = np.array([float(law.read_disturb_probability(device, nodes)[0]), 0.0])
    worst = 0.0
    for times in ([1, 2, 3, 30 * US], [29 * US, 29 * US, 29 * US, 30 * US], [US, 2 * US, 28 * US, 30 * US]):
        state, now, right_before = np.zeros(2), 0, np.ones(2)
        for t in times[:-1]:
            state = then(state, drift(np.array([up, down]) * (t - now)))
            right_before, now = 1 - state, t
            state = then(state, struck)
        step = then(struck, drift(np.array([up, down]) * (times[-1] - now)))
        stored = then(1 - right_before, step)
        row = told(group(device), *reads(*times))[-1]
        assert row["p_stored"] == pytest.approx(stored.mean(), rel=1e-11)
        worst = max(worst, abs(row["p_new"] * right_before.sum() / (right_before * step).sum() - 1))
    assert 0 < worst < 0.02


def test_reads_of_one_copy_see_the_same_flips() -> None:
    """What is wrong stays wrong: the increments between reads make up the next read."""
    device = replace(SPREAD, delta=11.0, sense_error=0.01)
    first, second, third = told(group(device), *reads(20 * US, 60 * US, 61 * US))
    assert first["p_new"] == first["p_stored"]
    assert first["p_back"] == 0
    for before, now in ((first, second), (second, third)):
        right = 1 - before["p_stored"]
        wanted = right * now["p_new"] + before["p_stored"] * (1 - now["p_back"])
        assert now["p_stored"] == pytest.approx(wanted, rel=1e-3)  # disturbs: evenly spread anew each time
    assert third["p_new"] < 0.1 * third["p_stored"]
    assert third["p_total"] == pytest.approx(third["p_stored"] * 0.99 + (1 - third["p_stored"]) * 0.01)


@pytest.mark.parametrize("techniques", [{}, {"ecc": SECDED}, {"ecc": SECDED, "scrub_ps": 7 * US}])
def test_worse_cells_never_err_less(techniques: dict[str, Any]) -> None:
    """Hotter, smaller Delta, longer dwell, more reads, fewer retries, larger spread: no error gets rarer."""
    device = replace(
        DEVICE,
        delta=14.0,
        delta_cv=0.03,
        state_asymmetry=0.03,
        read_overdrive=0.2,
        pulse_s=DEVICE.pulse_s / 2,
    )
    plain = group(device, **techniques)
    base = told(plain, *reads(3 * US, 8 * US, 30 * US))
    worse = {
        "hotter": told(
            replace(plain, device=replace(device, temperature_k=330.0)), *reads(3 * US, 8 * US, 30 * US)
        ),
        "smaller": told(replace(plain, device=replace(device, delta=13.0)), *reads(3 * US, 8 * US, 30 * US)),
        "longer": told(plain, *reads(4 * US, 9 * US, 33 * US)),
        "disturbed": told(
            replace(plain, device=replace(device, read_overdrive=0.3)), *reads(3 * US, 8 * US, 30 * US)
        ),
        "spread": told(
            replace(plain, device=replace(device, delta_cv=0.06)), *reads(3 * US, 8 * US, 30 * US)
        ),
    }
    better = told(replace(plain, write_retries=2), *reads(3 * US, 8 * US, 30 * US))
    # nodes that stand for a spread, and phases of the scrubs
    slack, quadrature = {"spread": 1e-3}, 1e-6 if "scrub_ps" in techniques else 0.0
    for what, more in worse.items():
        for a, b in zip(base, more, strict=True):
            for name in ("p_retention", "p_read_disturb", "p_stored", "p_total"):
                if "scrub_ps" in techniques and (what, name) == ("longer", "p_read_disturb"):
                    continue  # as many reads in a longer time: fewer since the last scrub
                assert b[name] >= a[name] * (1 - slack.get(what, quadrature)), (what, name, a, b)
    for a, b in zip(base, better, strict=True):
        assert b["p_write"] < a["p_write"] or a["p_write"] == 0  # all is scrubbed
        assert b["p_total"] <= a["p_total"]


def test_refresh_without_correction_does_not_help() -> None:
    """Retention is the same to 1e-12, and the total never lower: its reads disturb, and sense wrong."""
    given = reads(3 * US, 40 * US, 41 * US, 900 * US)
    for device in (
        replace(SPREAD, delta=12.0),
        replace(SPREAD, delta=12.0, read_overdrive=0.3, sense_error=1e-3),
    ):
        without = told(group(device), *given)
        for period in (US // 3, 10 * US, 10**12):
            refreshed = told(group(device, refresh_ps=period), *given)
            for a, b in zip(without, refreshed, strict=True):
                assert b["p_retention"] == pytest.approx(a["p_retention"], rel=1e-12)
                assert b["p_total"] >= a["p_total"] * (1 - 1e-12)
    assert b["p_read_disturb"] > a["p_read_disturb"]


def test_the_literatures_refresh_resets_the_dwell() -> None:
    """Long dwells count as the mean over an interval; write errors stay."""
    device = replace(DEVICE, delta=18.0, pulse_s=DEVICE.pulse_s / 3)
    on = group(device, refresh_ps=10 * US, refresh_model="literature")
    short, long = told(on, {"dwell": 100}, {"dwell": 10_005 * US, "copy_class": "u"})
    assert long["p_retention"] == pytest.approx(float(retention_flip_probability(5e-6, 18.0)), rel=1e-3)
    assert long["p_write"] == pytest.approx(short["p_write"], rel=1e-12)
    assert long["p_stored"] == pytest.approx(long["p_write"] + long["p_retention"], rel=0.02)


def test_scrub_helps_only_with_correction() -> None:
    """Scrubbed words are as wrong as since the last scrub; a shorter interval leaves fewer errors."""
    device = replace(DEVICE, delta=17.0, **NO_WRITE_ERRORS)
    left = [
        told(group(device, ecc=SECDED, scrub_ps=t), {"dwell": 100 * US})[0]
        for t in (20 * US, 50 * US, 10**13)
    ]
    never = told(group(device, ecc=SECDED), {"dwell": 100 * US})[0]
    for name in ("p_stored", "p_total"):
        assert left[0][name] < left[1][name] < left[2][name]
        assert left[2][name] == pytest.approx(never[name], rel=1e-3)
    half = float(retention_flip_probability(10e-6, 17.0))
    stuck = 71 * float(retention_flip_probability(20e-6, 17.0)) ** 2 * 4.5  # pairs in the intervals before
    assert left[0]["p_stored"] == pytest.approx(half + stuck, rel=0.05)
    assert left[0]["p_total"] == pytest.approx(stuck + 71 * half**2 * 4 / 3, rel=0.1)
    assert told(group(device, scrub_ps=20 * US), {"dwell": 100 * US})[0]["p_stored"] == never["p_stored"]


# -- chains ------------------------------------------------------------------------------------------


def spilled(**more: Any) -> list[dict[str, Any]]:
    """Return a copy that is written back, the copy that is filled with it, and one of an original."""
    back = {"copy_class": "t@buffer", "fate": "written_back", "reader_layer": "dma", "dwell": 40 * US}
    again = {"copy_class": "t@again", "parent_class": "t@buffer", "origin": "filled", "dwell": 10 * US}
    return [back | more, again, {"copy_class": "x", "origin": "filled", "dwell": 10 * US}]


def test_a_refill_is_as_wrong_as_its_write_back_was() -> None:
    """Inherited: delivered to the DMA; the refill's own flips come on top; an original inherits nothing."""
    device = replace(DEVICE, delta=12.0, sense_error=1e-3)
    back, again, fresh = told(group(device), *spilled())
    assert fresh["p_inherited"] == back["p_inherited"] == 0
    assert again["p_inherited"] == pytest.approx(back["p_total"], rel=1e-12)
    own, before = fresh["p_stored"], back["p_total"]
    assert again["p_stored"] == pytest.approx(before * (1 - own) + (1 - before) * own, rel=1e-9)
    assert again["p_stored"] == again["p_new"]


def test_a_bank_without_a_device_hands_on_what_it_was_given() -> None:
    """Filled from an MRAM copy, an SRAM copy is as wrong at every read."""
    given = [row if i != 1 else row | {"bank_group": "sram"} for i, row in enumerate(spilled())]
    given.append(given[1] | {"read_index": 1, "dwell": 20 * US, "gap": 10 * US})
    banks = {"mram": group(replace(DEVICE, delta=12.0)), "sram": bank("sram", capacity=4096)}
    found = table(ERRORS, error_columns(banks, {}, rows(*given))).to_pylist()
    again = [r for r in found if r["copy_class"] == "t@again"]
    for row in again:
        assert row["p_total"] == row["p_inherited"] == row["p_stored"] > 0.05
        assert row["p_write"] == row["p_retention"] == 0
    assert [r["p_new"] for r in again] == [again[0]["p_stored"], 0]
    assert again[1]["p_back"] == 0


def test_correction_does_not_see_what_was_wrong_before() -> None:
    """A coding bank encodes what it is given, and corrects its own errors only."""
    device = replace(DEVICE, delta=17.0)
    banks = {"mram": group(device), "coded": group(device, ecc=SECDED)}
    given = [row if i != 1 else row | {"bank_group": "coded"} for i, row in enumerate(spilled())]
    back, again, _ = table(ERRORS, error_columns(banks, {}, rows(*given))).to_pylist()
    assert again["p_total"] == pytest.approx(back["p_total"], rel=0.02)
    assert again["p_total"] < again["p_stored"]
    _, coded, _ = told(group(device, ecc=SECDED), *spilled())
    assert coded["p_inherited"] < 0.2 * back["p_total"]


def test_chains_go_on_through_several_spills() -> None:
    """Each generation adds its own; the order of the rows does not matter."""
    names = ["a", "b", "c", "d"]
    given = [
        {
            "copy_class": name,
            "parent_class": parent,
            "origin": "filled" if parent else "produced",
            "reader_layer": "dma",
            "dwell": 10 * US,
        }
        for name, parent in zip(names, ["", *names], strict=False)
    ]
    device = replace(DEVICE, delta=13.0, **NO_WRITE_ERRORS)
    found = {r["copy_class"]: r["p_total"] for r in told(group(device), *reversed(given))}
    one = found["a"]
    assert [1 - 2 * found[n] for n in names] == pytest.approx([(1 - 2 * one) ** (i + 1) for i in range(4)])


def test_rings_and_lost_parents_are_refused() -> None:
    """No copy is the first of a ring; a parent must have been written back."""
    ring = [
        {"copy_class": a, "parent_class": b, "origin": "filled", "reader_layer": "dma"}
        for a, b in ("xy", "yx")
    ]
    with pytest.raises(InputError, match="are filled from each other; no copy is the first"):
        told(group(), *ring)
    with pytest.raises(InputError, match="t@again: filled with what t@buffer wrote back, but it never did"):
        told(group(), *spilled(reader_layer="l"))


def test_a_parameter_kept_from_step_to_step_is_a_product() -> None:
    """It names itself as parent, and is written anew by every update."""
    (row,) = told(group(), {"parent_class": "t@mram"})
    assert row["p_inherited"] == 0


# -- binning, bounds, speed -----------------------------------------------------------------------------


@pytest.mark.parametrize("techniques", [{}, {"ecc": SECDED}])
def test_bins_cost_less_than_a_percent(techniques: dict[str, Any]) -> None:
    """Against every copy by itself, over eight decades of dwells, from 1e-9 to saturation."""
    rng = np.random.default_rng(3)
    dwells = [int(t) for t in 10 ** rng.uniform(3, 11, 3_000)]
    on = group(replace(DEVICE, delta=14.0, delta_cv=0.05), **techniques)
    single = profile(on, *({"dwell": t, "copy_class": str(i)} for i, t in enumerate(dwells)))
    bins = bin_of(np.array(dwells))
    binned: list[dict[str, Any]] = []
    for number in np.unique(bins):
        inside = [t for t, b in zip(dwells, bins, strict=True) if b == number]
        row = {"bytes": 8 * len(inside), "dwell": 0, "copy_class": str(number)}
        binned.append(row | {"dwell_byte_ps": 8 * sum(inside), "gap_byte_ps": 8 * sum(inside)})
    together = profile(on, *binned)
    for i, number in enumerate(np.unique(bins)):
        exact = single.total[bins == number].mean()
        assert together.total[i] == pytest.approx(exact, rel=0.01)


devices = st.builds(
    lambda **drawn: replace(DEVICE, **drawn),
    delta=st.floats(8.5, 45),
    delta_cv=st.sampled_from([0.0, 0.03, 0.08]),
    state_asymmetry=st.floats(-0.1, 0.1),
    overdrive=st.floats(1.2, 4),
    pulse_s=st.floats(1e-9, 3e-8),
    read_overdrive=st.floats(0, 0.6),
    read_disturbs=st.sampled_from([0, 1]),
    sense_error=st.floats(0, 0.2),
)
kinds = st.fixed_dictionaries(
    {},
    optional={
        "ecc": st.just(SECDED),
        "scrub_ps": st.integers(1_000, 10**9),
        "refresh_ps": st.integers(1_000, 10**9),
        "refresh_model": st.sampled_from(["physical", "literature"]),
        "write_retries": st.integers(0, 3),
    },
)
dwell_lists = st.lists(st.integers(0, 10**11), min_size=1, max_size=4).map(sorted)


@settings(max_examples=60)
@given(devices, kinds, dwell_lists, st.floats(0, 1))
def test_probabilities_are_probabilities(
    device: Device, techniques: dict[str, Any], dwells: Sequence[int], toggle: float
) -> None:
    """In [0, 1] for any device, technique and dwells; what is stored comes from right and wrong bits."""
    given = [*reads(*dwells), *spilled()[1:2], spilled()[0]]
    banks = {"mram": group(device, **techniques)}
    found = error_profile(banks, {"weight": toggle}, rows(*given))
    for values in (
        *found.cause.values(),
        found.inherited,
        found.stored,
        found.right,
        found.total,
        found.unit,
    ):
        assert np.all((values >= -1e-15) & (values <= 1 + 1e-12))
    made = found.right_wrong + (1 - found.right - found.wrong_right)
    assert found.stored == pytest.approx(made, abs=1e-12)
    for unit in (64, 512):
        assert np.all(found.any_of(unit) <= 1)
    columns = columns_of(found)
    assert list(columns) == list(ERRORS)


def test_units_count_any_wrong_bit() -> None:
    """Bits err independently without a code; words of a code fail as a whole."""
    device = replace(DEVICE, delta=16.0)
    plain, coded = profile(group(device), {}), profile(group(device, ecc=SECDED), {})
    p = plain.total[0]
    assert plain.any_of(512)[0] == pytest.approx(1 - (1 - p) ** 512, rel=1e-9)
    assert coded.any_of(64)[0] == pytest.approx(2528 * p**2, rel=0.02)
    assert coded.any_of(512)[0] == pytest.approx(8 * 2528 * p**2, rel=0.02)
    assert overall(coded, unit_of("line:64B"))["total"] == coded.any_of(512)[0]
    for text in ("byte", "word:0b", "word:64", "line:-1B"):
        with pytest.raises(InputError, match="expected bit, or a unit such as"):
            unit_of(text)


def test_sums_weight_by_bits() -> None:
    """Means over all bits read, flips added up, by role, phase and reader."""
    given = [
        {"role": "weight", "bytes": 100, "dwell": US},
        {"role": "error", "bytes": 300, "dwell": 9 * US, "phase_read": "backward", "reader_layer": "m"},
        {"role": "weight", "bytes": 100, "dwell": 5 * US, "phase_read": "backward", "tensor": "u"},
    ]
    found = profile(group(), *given)
    sums = error_sums(found, BIT)
    assert sums["by_role"]["weight"]["total"] == pytest.approx((found.total[0] + found.total[2]) / 2)
    assert sums["by_phase"]["backward"]["retention"] == pytest.approx(
        (300 * found.cause["retention"][1] + 100 * found.cause["retention"][2]) / 400
    )
    assert sums["by_layer"]["m"]["expected_flips"] == pytest.approx(2400 * found.total[1])
    whole = overall(found)["expected_flips"]
    for part in sums.values():
        assert sum(v["expected_flips"] for v in part.values()) == pytest.approx(whole)


def test_distances_are_told_by_phase() -> None:
    """Bytes and reads in the bins of the residencies, forward and backward apart."""
    found = distance_histogram(
        profile(group(None), {"bytes": 5}, {"bytes": 7, "phase_read": "backward"}).reads
    )
    place = EDGES_PS.tolist().index(US)
    assert found["edges_ps"][place] == US
    assert found["forward"]["bytes"][place] == 5
    assert found["backward"]["bytes"][place] == 7
    assert sum(found["backward"]["reads"]) == 1


def test_without_devices_nothing_errs() -> None:
    """All zero is an answer; so is nothing at all."""
    found = profile(group(None), *spilled())
    assert overall(found)["total"] == overall(found)["expected_flips"] == 0
    empty = error_columns({"mram": group()}, {}, rows())
    assert table(ERRORS, empty).num_rows == 0


def test_wear_is_that_of_the_hottest_words() -> None:
    """Where they are known; else of the mean word. Scrub writes every word once an interval."""
    energy = {
        "component": ["spad.mram", "spad.mram", "dram"],
        "action": ["write", "read", "write"],
        "count": [2048, 5, 9],
    }
    (found,) = wear({"mram": group(), "s": bank("s", capacity=8)}, energy, 10 * US).values()
    assert found.writes_per_step == 2
    assert found.writes_per_s == pytest.approx(2e5)
    assert found.lifetime_s == pytest.approx(DEVICE.endurance / 2e5)
    (hot,) = wear({"mram": group()}, energy, 10 * US, {"mram": 40.0}).values()
    assert (hot.writes_per_step, hot.writes_per_s) == (2, pytest.approx(4e6))
    assert hot.lifetime_s == pytest.approx(DEVICE.endurance / 4e6)
    (scrubbed,) = wear({"mram": group(scrub_ps=US, ecc=SECDED)}, energy, 10 * US).values()
    assert scrubbed.writes_per_s == pytest.approx(2e5 + 1e6)
