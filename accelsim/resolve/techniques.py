"""What a device, check bits, verification and differential writes make of a bank's times and energies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Literal

import numpy as np

from accelsim.config.arch import ArchSpec
from accelsim.config.bank import BankSpec
from accelsim.device.laws import laws, time_to_flip, write_failure
from accelsim.resolve.bank_group import BankGroup, Device, Ecc
from accelsim.resolve.device import share_of
from accelsim.resolve.ledger import ASSUMED, Ledger
from accelsim.units import LIFETIME, real
from accelsim.words import ROLES

TOGGLE: Final = 0.5  # share of a written word's bits that change, unless the machine says otherwise

STOPS_AFTER: Final = 0.1  # of the pulse: when a driver knows that its bit need not switch (assumed)
MOST_UPKEEP: Final = 0.9  # of a port's time
COMPARATORS: Final = 0.0068  # of a macro's area: what tells whether a bit is to be, or has been, written
_STEPS: Final = 65  # of the pulse, for the mean time to switch


def area_factor(bank: BankSpec) -> float:
    """Return the area of a group with its techniques' circuits over that without."""
    circuits = (bank.differential_write, bank.early_termination, bank.write_retries > 0)
    return 1 + COMPARATORS * sum(circuits)


def max_dwell_ps(bank: BankSpec, device: Device | None) -> int:
    """Return a group's limit of dwells; 0: none."""
    if not bank.max_dwell:
        return 0
    share = share_of(bank.max_dwell)
    if share is not None and device is not None:
        seconds = time_to_flip(laws(device.law), device, share)
    else:
        seconds = real(bank.max_dwell, LIFETIME)
    return max(1, int(seconds * 1e12))


def upkeep_share(group: BankGroup) -> float:
    """Return the share of its time that a group's busiest port spends on scrub and refresh."""
    beats = -(-group.capacity_bytes // (group.word_bytes * group.lanes))
    cycles = (group.read_cycle_ps, group.write_cycle_ps)
    takes = beats * (sum(cycles) if group.ports == "1rw" else max(cycles))
    return sum(takes / interval for interval in (group.scrub_ps, group.refresh_ps) if interval)


def upkeep_fault(group: BankGroup) -> str:
    """Return what is wrong if scrub and refresh leave a port hardly any time; else nothing."""
    share = upkeep_share(group)
    if share <= MOST_UPKEEP:
        return ""
    what = "scrub and refresh together take" if group.scrub_ps and group.refresh_ps else "takes"
    most = 100 * MOST_UPKEEP
    return f"{what} {100 * share:.3g} % of the port's time (at most {most:g} %); give longer intervals"


def note_techniques(name: str, bank: BankSpec, ledger: Ledger) -> None:
    """Note the numbers that techniques rest on, where they are in use."""
    if bank.power_gating != "none":
        ledger.written(("bank", name, "gated_leakage"), bank.gated_leakage, "1")
    if bank.power_gating == "drowsy":
        _note_drowsy(name, bank, ledger)
    if bank.ecc != "none":
        ledger.written(("bank", name, "ecc_latency"), float(bank.ecc_latency.amount), "ps or cycles")
    if area_factor(bank) > 1:
        source = "bishnoi-2014" if bank.differential_write else ASSUMED
        ledger.note(("bank", name, "circuits", "area"), area_factor(bank) - 1, "1", source)
    if bank.early_termination:
        ledger.note(("bank", name, "early_termination", "stops_after"), STOPS_AFTER, "1", ASSUMED)


def _note_drowsy(name: str, bank: BankSpec, ledger: Ledger) -> None:
    """Note what drowsy words leak and how long they wake; the default leakage is a published one."""
    keys = ("bank", name, "drowsy_leakage")
    if "drowsy_leakage" in bank.model_fields_set:
        ledger.written(keys, bank.drowsy_leakage, "1")
    else:
        ledger.note(keys, bank.drowsy_leakage, "1", "drowsy-sram")
    ledger.written(("bank", name, "wakeup_latency"), float(bank.wakeup_latency.amount), "ps or cycles")


def check_bits(data_bits: int) -> int:
    """Return the check bits of an extended Hamming code: those of Hamming, and the parity of all.

    >>> [check_bits(n) for n in (32, 64, 128, 256)]
    [7, 8, 9, 10]
    """
    bits = 1
    while 2**bits < data_bits + bits + 1:
        bits += 1
    return bits + 1


def ecc_of(bank: BankSpec, clock_hz: int) -> Ecc | None:
    """Return the error correction of a bank group."""
    if bank.ecc == "none":
        return None
    data = bank.ecc_word * 8
    return Ecc(data_bits=data, check_bits=check_bits(data), latency_ps=bank.ecc_latency.ps(clock_hz))


def data_capacity(capacity: int, bank: BankSpec, ecc: Ecc | None) -> int:
    """Return the bytes of data in a group: whole words of every macro, without the check bits."""
    if ecc is None:
        return capacity
    row = bank.count * bank.subbanks * bank.word
    return capacity * ecc.data_bits // ecc.code_bits // row * row


def with_techniques(group: BankGroup, bank: BankSpec, spec: ArchSpec) -> BankGroup:
    """Return the bare group with all that its keys ask for, from the cells outwards."""
    drowsy = bank.power_gating == "drowsy"
    group = replace(
        group,
        scrub_ps=bank.scrub_interval.ps(spec.clock) if bank.scrub_interval else 0,
        refresh_ps=bank.refresh_interval.ps(spec.clock) if bank.refresh_interval else 0,
        refresh_model=bank.refresh_model,
        max_dwell_ps=max_dwell_ps(bank, group.device),
        power_gating=bank.power_gating,
        area_mm2=group.area_mm2 if bank.area is not None else group.area_mm2 * area_factor(bank),
        gated_leakage=bank.gated_leakage if bank.power_gating != "none" else 0.0,
        drowsy_leakage=bank.drowsy_leakage if drowsy else 1.0,
        wakeup_ps=bank.wakeup_latency.ps(spec.clock) if drowsy else 0,
    )
    if group.ecc is not None:
        group = with_check_bits(group, group.ecc)
    if bank.early_termination:
        group = with_early_termination(group)
    if bank.differential_write:
        group = with_differential_write(group)
    if bank.write_retries:
        toggle = max(spec.toggle_rate.get(role, TOGGLE) for role in ROLES)
        group = with_retries(group, bank.write_retries, toggle)
    return group


def with_check_bits(group: BankGroup, ecc: Ecc) -> BankGroup:
    """Return the group with every access of a word moving its check bits too, and decoded reads."""
    share = ecc.code_bits / ecc.data_bits
    return replace(
        group,
        read_latency_ps=group.read_latency_ps + ecc.latency_ps,
        read_pj=group.read_pj * share,
        write_pj=group.write_pj * share,
        write_cell_pj=group.write_cell_pj * share,
    )


def with_early_termination(group: BankGroup) -> BankGroup:
    """Return the group with drivers that stop as bits switch: energy only, a word still takes its pulse."""
    assert group.device is not None
    return replace(
        group,
        unchanged_cost=STOPS_AFTER,
        changed_cost=switching_share(group.device, 0),
        falling_cost=switching_share(group.device, 1),
    )


def switching_share(device: Device, old: Literal[0, 1] = 0) -> float:
    """Return the mean time for which a bit that changes from ``old`` is driven, over the pulse."""
    law = laws(device.law)
    times = np.linspace(0.0, device.pulse_s, _STEPS)[1:]
    failing = [law.write_error_rate(replace(device, pulse_s=float(t)), old, 1 - old) for t in times]
    return ((1.0 + failing[-1]) / 2 + sum(failing[:-1])) / (_STEPS - 1)


def with_differential_write(group: BankGroup) -> BankGroup:
    """Return the group with a read before every write and only changed bits driven."""
    return replace(
        group,
        unchanged_cost=0.0,
        write_cycle_ps=group.write_cycle_ps + group.read_cycle_ps,
        write_pj=group.write_pj + group.read_pj,
    )


def with_retries(group: BankGroup, retries: int, toggle: float) -> BankGroup:
    """Return the group with verified writes: a read after each, and the attempts to be expected.

    A beat of all macros lasts until every word of it is right, or ``retries`` are used up; a word's own
    attempts cost its energy, without the cells, as only failed bits are driven.
    """
    assert group.device is not None
    law, share = laws(group.device.law), 1.0
    failing = [write_failure(law, group.device, 0, n) for n in range(retries)]
    if group.ecc is not None:
        share = group.ecc.code_bits / group.ecc.data_bits
    bits = group.word_bytes * 8 * share * toggle
    word, beat = _attempts(failing, bits), _attempts(failing, bits * group.lanes)
    once = group.write_cycle_ps + group.read_cycle_ps
    periphery = group.write_pj - group.write_cell_pj + group.read_pj
    return replace(
        group,
        write_retries=retries,
        write_cycle_ps=math.ceil(once * (1 + beat)),
        write_pj=group.write_pj + group.read_pj + word * periphery,
    )


def _attempts(failing: Sequence[float], bits: float) -> float:
    """Return the further attempts to be expected of ``bits``; ``failing``: after one write, after two, ...

    >>> _attempts([0.0, 0.0], 256), round(_attempts([1e-3], 128), 4)
    (0.0, 0.1202)
    """
    return float(sum(-math.expm1(bits * math.log1p(-min(p, 1 - 1e-16))) for p in failing))
