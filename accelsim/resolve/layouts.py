"""What goes with ``[scratchpad] layout = "modelled"`` and what does not."""

from __future__ import annotations

from collections.abc import Iterator

from accelsim.config.arch import ArchSpec
from accelsim.config.origins import Fault, Origins
from accelsim.config.positions import KeyPath

FIX = 'set scratchpad.layout = "along"'


def layout_faults(spec: ArchSpec, origins: Origins) -> list[Fault]:
    """Return what is wrong with the layout of words."""
    if spec.scratchpad.layout != "modelled":
        return []
    return [
        origins.fault(keys, f'does not go with scratchpad.layout = "modelled": {what}; {FIX}, or {other}')
        for keys, what, other in _misfits(spec)
    ]


def _misfits(spec: ArchSpec) -> Iterator[tuple[KeyPath, str, str]]:
    """Yield the keys that a modelled layout does not go with, why, and what else to set."""
    if spec.scratchpad.interleave != "word":
        what = "where words lie that are used in part is not known"
        yield ("scratchpad", "interleave"), what, 'interleave = "word"'
    for name, bank in spec.bank.items():
        if bank.write_buffer is not None and bank.write_buffer.entries:
            what = "words that are filled in part are not merged in it"
            yield ("bank", name, "write_buffer", "entries"), what, "entries = 0"
    for role in spec.placement.fields:
        what = "words of bit fields hold other neighbours"
        yield ("placement", role), what, f"one list of bank groups for {role}"
    if spec.mapping.dgrad == "decomposed":
        what = "a phase takes elements that lie strides apart"
        yield ("mapping", "dgrad"), what, 'dgrad = "zero-insert"'
    if spec.mapping.depthwise == "diagonal":
        what = "channels side by side take elements that lie apart"
        yield ("mapping", "depthwise"), what, 'depthwise = "vector"'
