"""How the operands of a planned kernel lie, and how the plan serves those that lie across their grain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from accelsim.geometry import Axis, run_length
from accelsim.mapping.planner import Planned
from accelsim.mapping.problem import Piece
from accelsim.mapping.ways import Fetch, Served, choices, gemm_runs, streams, vector_runs
from accelsim.program.grain import Which, is_transposed
from accelsim.program.program import Binding, Cut, Side
from accelsim.program.ranges import tiles_of
from accelsim.resolve.machine import Machine


class Lies:
    """How the operands of one kernel are served, reads first.

    ``expansion`` is what the array reads of the expanded operand of a convolution, as a fraction: where it is
    less than one, the operand comes through a line buffer, which takes whole words.
    """

    def __init__(
        self,
        planned: Planned,
        machine: Machine,
        sides: Mapping[Side, tuple[Axis, ...]],
        cuts: Mapping[Side, Cut],
        expansion: tuple[int, int],
    ) -> None:
        self.planned = planned
        self.machine = machine
        self.sides = sides
        self.cuts = cuts
        self.parts = (*planned.reads, *planned.writes)
        self.gemm = planned.draft.leader.gemm
        self.served = self._served()
        expanded = self.gemm.expanded if self.gemm is not None else None
        self.buffered = -1  # the operand that comes through a line buffer
        if expanded is not None and expansion[0] != expansion[1]:
            self.buffered = "ab".index(expanded)

    def served_as(self, binding: Binding, index: int) -> Binding:
        """Return the binding of operand ``index`` with how its stream is served."""
        if self.machine.layout == "along":
            return binding
        fetch = self.served[index]
        if index == self.buffered:
            return replace(binding, lie="im2col")
        lie = "twice" if binding.data.twin_of else self._lie(index, fetch)
        return replace(binding, way=fetch.way, fetch=self._fetch(index, fetch), lie=lie)

    def _served(self) -> Served:
        planned, machine = self.planned, self.machine
        if planned.tile is not None:
            runs, way = gemm_runs(planned.draft, machine), planned.tile.way
        else:
            assert planned.slab is not None
            runs, way = vector_runs(planned.draft, machine), planned.slab.way
        pieces = [Piece(p.operand, p.element_bytes) for p in self.parts]
        return choices(machine, streams(runs, pieces, [p.groups[0] for p in self.parts]))[way]

    def _lie(self, index: int, fetch: Fetch) -> str:
        """Return how operand ``index`` lies to the unit, or what is done about it, for reports.

        ``along``, ``absorbed`` (a GEMM's operand stored transposed, as the dataflow wants it), ``unit`` or
        ``word``.
        """
        gemm, draft = self.gemm, self.planned.draft
        if fetch.way != "along" or gemm is None:
            return fetch.way
        names: dict[int, Which] = {0: "a", 1: "b", len(self.planned.reads): "c"}
        which = names.get(index)
        if which is None:
            return "along"
        operand = (*draft.reads, *draft.writes)[index][0]
        sides = {"m": gemm.m, "n": gemm.n, "k": gemm.k}
        return "absorbed" if is_transposed(which, operand, sides) else "along"  # type: ignore[arg-type]

    def _fetch(self, index: int, fetch: Fetch) -> tuple[int, int] | None:
        """Return what comes with a word: of a tensor that is held whole no more than a tile has together."""
        part, tile = self.parts[index], self.planned.tile
        held_whole = tile is not None and index < 2 and tile.keep[index]
        if tile is None or (part.place == "buffered" and not held_whole):
            return fetch.of_words
        first = {
            name: r for s, axes in self.sides.items() for name, r in tiles_of(axes, self.cuts[s])[0].items()
        }
        together = run_length(part.operand.box(first), part.operand.shape)
        word = self.machine.banks[part.groups[0]].word_bytes
        taken = fetch.elements or max(1, word // part.element_bytes)
        return (together, word) if together < taken else fetch.of_words
