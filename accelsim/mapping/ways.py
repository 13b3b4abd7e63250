"""How the streams of a kernel that lie across the grain of their words may be served, and what that costs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from accelsim.geometry import Axis
from accelsim.mapping.kernels import Draft
from accelsim.mapping.problem import Piece
from accelsim.program.grain import ALL, SPREAD, VECTORS, Which, lane_axis, run_along, run_on_lanes
from accelsim.program.program import Side, Way
from accelsim.resolve.bank_group import BankGroup
from accelsim.resolve.machine import Machine

WORTH = 0.02  # of the time that must be won before words are fetched for single elements
MOST_FREE = 4  # streams of a kernel whose ways are tried in all combinations; the others are turned


class Fetch(NamedTuple):
    """How a stream is served: ``elements`` that come with a word of ``word_bytes``; 0: whole words."""

    way: Way
    elements: int = 0
    word_bytes: int = 0

    def factor(self, element_bytes: int) -> float:
        """Return the bytes through the port over those of the elements."""
        return self.word_bytes / (self.elements * element_bytes) if self.elements else 1.0

    def reads_first(self, bank: BankGroup, element_bytes: int) -> bool:
        """Return whether a write of such pieces must read its code words first."""
        return bank.ecc is not None and self.elements * element_bytes * 8 % bank.ecc.data_bits != 0

    @property
    def of_words(self) -> tuple[int, int] | None:
        """The elements that come with a word, and its bytes; None: words are used whole."""
        return (self.elements, self.word_bytes) if self.elements else None


ALONG = Fetch("along")
Served = tuple[Fetch, ...]  # of every operand of a kernel, reads first


@dataclass(frozen=True, slots=True)
class Stream:
    """An operand of a kernel: how many neighbours it takes together, its element bytes, its bank group."""

    run: int
    element_bytes: int
    group: str


def gemm_runs(draft: Draft, machine: Machine) -> tuple[int, ...]:
    """Return how many neighbours each operand of a GEMM's kernel takes together, reads first.

    Of the operand that im2col expands, without a line buffer. Nothing, if the machine counts all streams as
    along the grain.
    """
    gemm = draft.leader.gemm
    if machine.layout == "along" or gemm is None:
        return ()
    axes: dict[Side, tuple[Axis, ...]] = {"m": gemm.m, "n": gemm.n, "k": gemm.k, "batch": gemm.batch}
    sizes = {a.name: a.size for those in axes.values() for a in those}
    vectors = VECTORS[machine.pe_array.dataflow]
    runs = []
    for i, (operand, _) in enumerate((*draft.reads, *draft.writes)):
        which: Which = "a" if i == 0 else "b" if i == 1 else "c"  # riders take what the results are
        lanes = getattr(machine.pe_array, SPREAD[machine.pe_array.dataflow][which])
        runs.append(run_along(operand, axes[vectors[which]], sizes, lanes))
    return tuple(runs)


def vector_runs(draft: Draft, machine: Machine) -> tuple[int, ...]:
    """Return how many neighbours each operand of a vector kernel takes together, reads first."""
    if machine.layout == "along":
        return ()
    operands = [o for o, _ in (*draft.reads, *draft.writes)]
    lanes = lane_axis(operands, [math.prod(o.shape) for o in operands])
    return tuple(run_on_lanes(o, lanes) for o in operands)


def streams(runs: Sequence[int], pieces: Sequence[Piece], groups: Sequence[str]) -> tuple[Stream, ...]:
    """Return the operands of a kernel in their places."""
    return tuple(
        Stream(run, piece.element_bytes, group)
        for run, piece, group in zip(runs or [ALL] * len(pieces), pieces, groups, strict=True)
    )


def choices(machine: Machine, those: Sequence[Stream]) -> list[Served]:
    """Return how the streams of a kernel may be served, those with the fewest words first."""
    each = [_ways(machine, s) for s in those]
    free = [i for i, ways in enumerate(each) if len(ways) > 1]
    for i in free[MOST_FREE:]:
        each[i] = each[i][:1]
    return sorted(itertools.product(*each), key=lambda served: sum(f.way == "word" for f in served))


def _ways(machine: Machine, stream: Stream) -> list[Fetch]:
    """Return how one stream may be served: along its grain, turned, or a word at a time."""
    word = machine.banks[stream.group].word_bytes
    held = word // stream.element_bytes
    if stream.run == ALL or stream.run >= held:
        return [ALONG]
    by_word = Fetch("word", stream.run, word)
    if machine.transpose is None:
        return [by_word]
    block = machine.transpose.block
    turned = Fetch("unit", block, word) if block < held else Fetch("unit")
    return [turned, by_word] if block > stream.run else [by_word]
