"""The error profile in a few numbers: by role, phase and layer, and how far reads are from writes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from accelsim.errors import InputError
from accelsim.reliability.chain import Array
from accelsim.reliability.profile import Profile
from accelsim.reliability.reads import FIELD, Reads
from accelsim.trace.coded import Coded
from accelsim.trace.copies import EDGES_PS

KEYS: Final = {"by_role": "role", "by_phase": "phase_read", "by_layer": "reader_layer"}
_UNIT: Final = re.compile(r"(word|line):([1-9]\d{0,6})(b|B)")


@dataclass(frozen=True, slots=True)
class Unit:
    """What a probability is of: that one or more of ``bits`` neighbouring bits are wrong."""

    name: str
    bits: int


BIT: Final = Unit("bit", 1)


def unit_of(text: str) -> Unit:
    """Return the unit ``bit``, ``word:64b`` (bits) or ``line:64B`` (bytes).

    Raises:
        InputError: It is none.

    >>> unit_of("word:64b").bits, unit_of("line:64B").bits
    (64, 512)
    """
    if text == "bit":
        return BIT
    found = _UNIT.fullmatch(text)
    if found is None:
        raise InputError(
            f'expected bit, or a unit such as word:64b or line:64B (b: bits, B: bytes), got "{text}"'
        )
    return Unit(text, int(found[2]) * (8 if found[3] == "B" else 1))


def error_sums(profile: Profile, unit: Unit = BIT) -> dict[str, dict[str, dict[str, float]]]:
    """Return ``by_role``, ``by_phase`` (of the read) and ``by_layer`` (of the reader).

    Where tensors are split by bits, also ``by_field``, named ``role field``.

    Each has, by name, the mean over bits read of the probability that each cause alone makes a unit wrong,
    that it was wrong as it was written (``inherited``) and that it is delivered wrong (``total``), and the
    ``expected_flips`` of bits. Reads of write-backs are of layer ``dma``; what they deliver wrong is
    inherited by the copies that are filled with it, and counts there again.
    """
    reads, shown, found = profile.reads, _shown(profile, unit), {}
    columns = {name: reads.words[column] for name, column in KEYS.items()}
    if any(word != "all" for word in reads.words[FIELD].words):
        columns["by_field"] = _pairs(reads.words["role"], reads.words[FIELD])
    for name, coded in columns.items():
        count = len(coded.words)
        bits = np.bincount(coded.codes, weights=reads.bits, minlength=count)
        means = {
            key: np.bincount(coded.codes, weights=reads.bits * p, minlength=count) / np.maximum(bits, 1)
            for key, p in shown.items()
        }
        flips = np.bincount(coded.codes, weights=reads.bits * profile.total, minlength=count)
        found[name] = {
            word: {**{key: float(p[i]) for key, p in means.items()}, "expected_flips": float(flips[i])}
            for i, word in sorted(enumerate(coded.words), key=lambda entry: entry[1])
        }
    return found


def _pairs(roles: Coded, fields: Coded) -> Coded:
    """Return the words ``role field`` of rows."""
    both = roles.codes * len(fields.words) + fields.codes
    words = [f"{role} {field}" for role in roles.words for field in fields.words]
    return Coded(both.astype(np.int32), words).take(np.arange(len(both)))


def overall(profile: Profile, unit: Unit = BIT) -> dict[str, float]:
    """Return the same for all reads together."""
    reads = profile.reads
    weight = max(int(reads.bits.sum()), 1)
    means = {key: float((reads.bits * p).sum() / weight) for key, p in _shown(profile, unit).items()}
    return {**means, "expected_flips": float((reads.bits * profile.total).sum())}


def worst_reads(columns: Mapping[str, Any]) -> dict[str, float]:
    """Return by role the largest ``p_total`` of any row of ``errors.parquet``.

    Args:
        columns: What ``columns_of`` returns.
    """
    roles, p = columns["role"], columns["p_total"]
    worst = {word: float(p[roles.codes == i].max()) for i, word in enumerate(roles.words)}
    return dict(sorted(worst.items()))


def _shown(profile: Profile, unit: Unit) -> dict[str, Array]:
    return {
        **{cause: _any(p, unit) for cause, p in profile.cause.items()},
        "inherited": _any(profile.inherited, unit),
        "total": profile.total if unit.bits == 1 else profile.any_of(unit.bits),
    }


def _any(p: Array, unit: Unit) -> Array:
    """Return the probability that one of the unit's bits is wrong if each is with ``p``."""
    with np.errstate(divide="ignore"):
        return p if unit.bits == 1 else np.asarray(-np.expm1(unit.bits * np.log1p(-p)))


def distance_histogram(reads: Reads) -> dict[str, Any]:
    """Return how much was read how long after it was written, by phase of the read.

    ``edges_ps`` are the bins' lower edges; the first bin begins at 0, the last has no end. Under each phase
    (``forward`` and ``backward`` always) ``bytes`` and ``reads`` have one entry per bin. Reads of groups
    without a device count too.
    """
    phases = reads.words["phase_read"]
    names = dict.fromkeys(["forward", "backward", *sorted(phases.words)])
    found: dict[str, Any] = {"edges_ps": EDGES_PS.tolist()}
    for name in names:
        rows = reads.where("phase_read", name)
        found[name] = {
            key: _exact_sums(reads.bins[rows].tolist(), counts[rows].tolist())
            for key, counts in (("bytes", reads.bits // 8), ("reads", reads.reads))
        }
    return found


def _exact_sums(bins: list[int], counts: list[int]) -> list[int]:
    sums = [0] * len(EDGES_PS)
    for place, n in zip(bins, counts, strict=True):
        sums[place] += n
    return sums
