"""How long cells last: writes per line and the lifetime at a run's rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from accelsim.resolve.bank_group import BankGroup

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True, kw_only=True)
class Wear:
    """How often a group's words are written: in the mean over the group, and those written most often.

    Attributes:
        writes_per_step: Of a word, in the mean, by the step's own writes.
        hottest_per_step: Of the words written most often; not known of runs that did not note it.
        writes_per_s: Of the hottest words (else of the mean one), those of scrub or refresh included.
        endurance: Writes that a cell bears.
        lifetime_s: Seconds until then at this rate; None if nothing is written.
    """

    writes_per_step: float
    hottest_per_step: float | None
    writes_per_s: float
    endurance: float
    lifetime_s: float | None


LEFT_OUT = (
    "of the words that are written most often, if addresses stay the same in every step (wear levelling "
    "would come near the mean); a region's writes are spread evenly over its words; cells are taken to wear "
    "by every write, also of an unchanged bit, and retries, the spread of endurance over cells, and what "
    "replaces worn words are left out"
)


def wear(
    banks: Mapping[str, BankGroup],
    energy: pa.Table | Mapping[str, Sequence[Any]],
    step_ps: int,
    hottest: Mapping[str, float] | None = None,
) -> dict[str, Wear]:
    """Return the wear of every group that has a device. What it leaves out: ``LEFT_OUT``.

    Args:
        banks: The machine's bank groups, by name.
        energy: ``energy.parquet`` or its columns, of which the counts of words written are taken.
        step_ps: From one step to the next, the host's gap included.
        hottest: Writes of the most written words per step, by group, where they are known.
    """
    written = _writes(energy)
    found = {}
    for name, group in banks.items():
        if group.device is None:
            continue
        words = group.capacity_bytes / group.word_bytes
        per_step = written.get(f"spad.{name}", 0) / words
        most = (hottest or {}).get(name)
        per_s = (per_step if most is None else most) / (step_ps * 1e-12) if step_ps else 0.0
        per_s += sum(1e12 / period for period in (group.scrub_ps, group.refresh_ps) if period)
        found[name] = Wear(
            writes_per_step=per_step,
            hottest_per_step=most,
            writes_per_s=per_s,
            endurance=group.device.endurance,
            lifetime_s=group.device.endurance / per_s if per_s else None,
        )
    return found


def _writes(energy: pa.Table | Mapping[str, Sequence[Any]]) -> dict[str, int]:
    """Return the words written, by component."""
    columns = [energy[name] for name in ("component", "action", "count")]
    component, action, count = (c.to_pylist() if hasattr(c, "to_pylist") else list(c) for c in columns)
    totals: dict[str, int] = {}
    for name, what, n in zip(component, action, count, strict=True):
        if what == "write":
            totals[name] = totals.get(name, 0) + n
    return totals
