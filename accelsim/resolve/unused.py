"""Keys that are given and change nothing, as another key stands.

They are no faults: a sweep over ``power_gating`` may well give ``wakeup_latency`` for all its points. So they
are told, by ``accelsim check`` and in the report of a run.
"""

from __future__ import annotations

from collections.abc import Iterator

from accelsim.config.arch import ArchSpec
from accelsim.config.bank import BankSpec
from accelsim.config.origins import Origins
from accelsim.config.positions import KeyPath

_NUMBERS = ("read_latency", "read_cycle", "write_cycle", "read_energy", "write_energy", "leakage", "area")
_MUX = ("mux_area", "mux_energy", "mux_latency")
_BUFFER = ("high", "low", "coalescing", "forwarding", "access_energy", "area")


def unused_keys(spec: ArchSpec, origins: Origins, *, measured: bool = False) -> list[str]:
    """Return a line for each key that is given without effect: where it stands, and what would make it count.

    Args:
        measured: Zeros and toggles come from a training, whatever the machine says.
    """
    found = [*_top(spec, measured)]
    for name, bank in spec.bank.items():
        if bank.count:
            found += [(("bank", name, *keys), what) for keys, what in _of_bank(bank)]
    given = [origins.fault(keys, what) for keys, what in found if origins.source_label(keys) is not None]
    return list(dict.fromkeys(fault.text for fault in sorted(given)))


def _top(spec: ArchSpec, measured: bool) -> Iterator[tuple[KeyPath, str]]:
    pad, banks = spec.scratchpad, spec.bank.values()
    if pad.interleave != "line":
        yield ("scratchpad", "line"), 'has no effect without interleave = "line"'
    if pad.interleave == "word":
        what = 'has no effect with interleave = "word", where all macros serve together; use "line" or "tile"'
        yield ("scratchpad", "skew"), what
    elif all(bank.count <= 1 for bank in banks):
        what = "has no effect where every group has count = 1: all addresses lie in the one bank"
        yield from ((("scratchpad", key), what) for key in ("interleave", "line", "skew"))
    if pad.layout != "modelled":
        what = 'has no effect without scratchpad.layout = "modelled"'
        yield from ((("transpose", key), what) for key in ("rate", "block", "latency", "energy", "area"))
    elif not spec.transpose.rate:
        what = "has no effect without transpose.rate: there is no such unit"
        yield from ((("transpose", key), what) for key in ("block", "latency", "energy", "area"))
    if not spec.im2col.line_buffer:
        yield ("im2col", "energy"), "has no effect without im2col.line_buffer"
    if not spec.pe_array.zero_gating:
        yield from ((("zero_rate", r), "has no effect without pe_array.zero_gating") for r in spec.zero_rate)
    elif not measured and not any(spec.zero_rate.values()):
        what = "has no effect without zero_rate, or zeros measured in training (accelsim run --activity)"
        yield ("pe_array", "zero_gating"), what
    drives = any(b.device or b.differential_write or b.early_termination for b in banks)
    if not drives:
        what = "has no effect without a bank group that has a device, differential_write or early_termination"
        yield from ((("toggle_rate", role), what) for role in spec.toggle_rate)


def _of_bank(bank: BankSpec) -> Iterator[tuple[KeyPath, str]]:
    if bank.power_gating == "none":
        yield ("gated_leakage",), 'has no effect without power_gating = "empty", "idle" or "drowsy"'
    if bank.technology == "stt-mram":
        what = "has no effect on stt-mram, which keeps its content without power"
        yield from (((key,), what) for key in ("drowsy_leakage", "wakeup_latency"))
    elif bank.power_gating != "drowsy":
        what = 'has no effect without power_gating = "drowsy"'
        yield from (((key,), what) for key in ("drowsy_leakage", "wakeup_latency"))
    if bank.subbanks == 1:
        yield from (
            ((key,), "has no effect with subbanks = 1: there is nothing to choose from") for key in _MUX
        )
    elif bank.area is not None:
        yield ("mux_area",), "has no effect on the area that is given"
    if bank.ecc == "none":
        yield from (((key,), 'has no effect without ecc = "secded"') for key in ("ecc_word", "ecc_latency"))
    if bank.write_buffer is not None and not bank.write_buffer.entries:
        yield from ((("write_buffer", key), "has no effect with entries = 0") for key in _BUFFER)
    if all(getattr(bank, key) is not None for key in _NUMBERS) and not bank.device:
        what = "has no effect: times, energies, leakage and area are all given"
        yield from (((key,), what) for key in ("macro_table", "flavour"))
