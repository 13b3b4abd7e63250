"""The error profile: from residencies and devices to the bit errors of every tensor at every read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from accelsim.reliability.cell import Cause, Cell, Toggles, cell_of
from accelsim.reliability.chain import Array
from accelsim.reliability.chains import Inherited, inherited
from accelsim.reliability.ecc import secded
from accelsim.reliability.history import History, Rows, alone, plain, restored
from accelsim.reliability.phases import PHASES
from accelsim.reliability.reads import Reads
from accelsim.reliability.scrub import alone_since_scrub, scrubbed
from accelsim.resolve.bank_group import BankGroup
from accelsim.trace.coded import Coded
from accelsim.trace.schema import ERRORS

if TYPE_CHECKING:
    from accelsim.reliability.reads import Residencies

CAUSES: Final[tuple[Cause, ...]] = ("write", "retention", "read_disturb", "sense")
_ELEMENTS: Final = 1 << 16  # rows x nodes at a time: what stays in a processor's cache


@dataclass(frozen=True, eq=False)
class Profile:
    """Bit errors row by row of ``reads``, all per bit, arrays of shape ``(n,)``.

    ``cause`` has the marginal probability of each cause alone. ``right`` is the probability that the bit
    was stored right at the copy's access before, ``right_wrong`` that it was so and is wrong now, and
    ``wrong_right`` the reverse. ``unit`` is the probability that a unit of ``unit_bits`` data bits (a
    word of the code, or one bit) gets an error in this bank that is delivered.
    """

    reads: Reads
    cause: Mapping[Cause, Array]
    inherited: Array
    stored: Array
    right: Array
    right_wrong: Array
    wrong_right: Array
    total: Array
    unit: Array
    unit_bits: NDArray[np.int64]

    def any_of(self, bits: int) -> Array:
        """Return the probability that one or more of ``bits`` neighbouring bits are delivered wrong.

        Bits err independently but for those of one code word; a unit smaller than a code word counts as
        its share of one. Errors that were inherited from a decoder lie together, which is not counted.
        """
        with np.errstate(divide="ignore"):
            own = bits / self.unit_bits * np.log1p(-np.minimum(self.unit, 1.0))
            before = bits * np.log1p(-self.inherited)
        return np.asarray(-np.expm1(own + before))


def error_profile(
    banks: Mapping[str, BankGroup], toggle: Toggles, residencies: Residencies | Reads
) -> Profile:
    """Return the bit errors of every row of the residencies.

    Args:
        banks: The machine's bank groups, by name. Those without a device make no errors of their own.
        toggle: Share of a written word's bits that change, or those that go to 0 and to 1, by role; a half
            where a role is absent.
        residencies: ``residencies.parquet`` or its columns.

    Raises:
        InputError: A device outside the range of its laws, or copies that come from each other in a ring.
    """
    reads = residencies if isinstance(residencies, Reads) else Reads.of(residencies)
    histories = _clean(len(reads))
    causes: dict[Cause, Array] = {name: np.zeros(len(reads)) for name in CAUSES}
    unit_bits = np.ones(len(reads), dtype=np.int64)
    for name, group in banks.items():
        rows = reads.where("bank_group", name)
        if group.device is None or not len(rows):
            continue
        phased = _is_phased(group)
        rows = rows[np.argsort(reads.index[rows] > 0, kind="stable")]  # first reads have less to them
        cell = cell_of(group, group.device, toggle, fine=not phased)
        unit_bits[rows] = group.ecc.data_bits if group.ecc else 1
        size = max(1, _ELEMENTS // len(cell.weights) // (PHASES if phased else 1))
        for first in range(0, len(rows), size):
            part = rows[first : first + size]
            _put(histories, part, _history(group, cell, _rows(cell, reads, part)))
            for cause, values in _alone(group, cell, reads, part).items():
                causes[cause][part] = values
    return _profile(reads, histories, inherited(reads, histories), causes, unit_bits)


def _is_phased(group: BankGroup) -> bool:
    """Return whether the errors of a copy depend on where an event of the bank meets it."""
    return bool((group.ecc and group.scrub_ps) or (group.refresh_ps and group.refresh_model == "literature"))


def _clean(n: int) -> History:
    two = {f.name: np.zeros((2, n)) for f in fields(History) if f.name != "word"}
    return History(**two, word=np.zeros(n))


def _put(into: History, rows: NDArray[np.intp], found: History) -> None:
    for f in fields(History):
        getattr(into, f.name)[..., rows] = getattr(found, f.name)


def _rows(cell: Cell, reads: Reads, part: NDArray[np.intp]) -> Rows:
    roles = reads.words["role"]
    by_role = np.stack([cell.writes[role] for role in roles.words], axis=1)
    writes = by_role[:, roles.codes[part]]
    return Rows(reads.dwell_ps[part], reads.gap_ps[part], reads.index[part], writes)


def _history(group: BankGroup, cell: Cell, rows: Rows) -> History:
    """Return what becomes of a bit in ``group``, by its techniques."""
    if group.ecc is not None and group.scrub_ps:
        return scrubbed(cell, rows, secded(group.ecc), group.scrub_ps)
    if group.refresh_ps and group.refresh_model == "literature":
        found = restored(cell, rows, group.refresh_ps)
    else:
        found = plain(cell, rows, group.refresh_ps)
    if group.ecc is None:
        return found
    code = secded(group.ecc)
    mean = found.raw.mean(axis=0)
    delivered = code.delivered(found.raw, mean)
    return replace(found, delivered=delivered, word=code.wrong.probability(mean))


def _alone(group: BankGroup, cell: Cell, reads: Reads, part: NDArray[np.intp]) -> dict[Cause, Array]:
    """Return the probability that each cause by itself makes a bit wrong, before a decoder."""
    rows = _rows(cell, reads, part)
    if group.ecc is not None and group.scrub_ps:
        return alone_since_scrub(cell, rows, group.scrub_ps)
    found = alone(cell, rows, group.refresh_ps if group.refresh_model == "physical" else 0)
    if _is_phased(group):
        only = cell.only("retention")
        found["retention"] = _history(group, only, _rows(only, reads, part)).stored.mean(axis=0)
    return found


def _profile(
    reads: Reads,
    own: History,
    before: Inherited,
    causes: Mapping[Cause, Array],
    unit_bits: NDArray[np.int64],
) -> Profile:
    """Return errors against the true value: what the bank did, and what was wrong as it was written."""
    return Profile(
        reads=reads,
        cause=causes,
        inherited=before.wrong.mean(axis=0),
        stored=(before.new + before.both).mean(axis=0),
        right=(1 - before.back - before.both).mean(axis=0),
        right_wrong=before.new.mean(axis=0),
        wrong_right=before.back.mean(axis=0),
        total=before.delivered.mean(axis=0),
        unit=own.word,
        unit_bits=unit_bits,
    )


def error_columns(
    banks: Mapping[str, BankGroup], toggle: Toggles, residencies: Residencies | Reads
) -> dict[str, Coded | NDArray[np.int64] | Array]:
    """Return the columns of ``errors.parquet``: the profile with the bins of a copy's dwells together.

    Args:
        banks, toggle, residencies: As for ``error_profile``.
    """
    return columns_of(error_profile(banks, toggle, residencies))


def columns_of(profile: Profile) -> dict[str, Coded | NDArray[np.int64] | Array]:
    """Return the columns of ``errors.parquet``."""
    reads = profile.reads
    group, first = _alike(reads)
    count = len(first)

    def total(values: Array | NDArray[np.int64]) -> Array:
        return np.bincount(group, weights=values, minlength=count).astype(np.float64)

    bits = total(reads.bits)
    weight = np.maximum(bits, 1)

    def mean(values: Array) -> Array:
        return total(reads.bits * values) / weight

    right, wrong = total(reads.bits * profile.right), total(reads.bits * (1 - profile.right))
    flips = total(reads.bits * profile.total)
    values: dict[str, Coded | NDArray[np.int64] | Array] = {
        name: coded.take(first) for name, coded in reads.words.items()
    }
    values |= {
        "read_index": reads.index[first],
        "reads": np.rint(total(reads.reads)).astype(np.int64),
        "bits": np.rint(bits).astype(np.int64),
        "dwell_ps": mean(reads.dwell_ps),
        "gap_ps": mean(reads.gap_ps),
        **{f"p_{cause}": mean(p) for cause, p in profile.cause.items()},
        "p_inherited": mean(profile.inherited),
        "p_stored": mean(profile.stored),
        "p_new": _share(total(reads.bits * profile.right_wrong), right),
        "p_back": _share(total(reads.bits * profile.wrong_right), wrong),
        "p_total": flips / weight,
        "expected_flips": flips,
    }
    return {name: values[name] for name in ERRORS}


def _share(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _alike(reads: Reads) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return which row of the profile each row belongs to, and the first row of each, in order."""
    columns: list[tuple[NDArray[Any], int]] = [(c.codes, len(c.words)) for c in reads.words.values()]
    columns.append((reads.index, int(reads.index.max(initial=0)) + 1))
    key: NDArray[np.intp] = np.zeros(len(reads), dtype=np.intp)
    for codes, size in columns:
        key = np.unique(key * size + codes, return_inverse=True)[1]
    _, first, group = np.unique(key, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return rank[group], first[order]
