"""The words that a kernel's streams need if nothing is cut: what orders of storage are weighed by."""

from __future__ import annotations

import math

from accelsim.geometry import ceil_div
from accelsim.graph.ir import Gemm, Graph
from accelsim.mapping.kernels import Draft
from accelsim.mapping.problem import Piece
from accelsim.mapping.questions import expansion
from accelsim.mapping.storage import stored_format
from accelsim.mapping.ways import gemm_runs, vector_runs
from accelsim.program.grain import ALL
from accelsim.resolve.machine import Machine
from accelsim.words import FORMAT_BYTES

TURN = 1.5  # words that a word counts as if it must be turned: it holds the unit as well


class Weigher:
    """Counts words on one machine."""

    def __init__(self, graph: Graph, machine: Machine) -> None:
        self.machine = machine
        self.sizes = {
            name: FORMAT_BYTES[stored_format(machine, t.role, t.dtype, graph.independent)]
            for name, t in graph.tensors.items()
        }
        first = next(iter(machine.banks))
        groups = {name: (machine.placement.get(t.role) or (first,))[0] for name, t in graph.tensors.items()}
        self.held = {
            name: max(1, machine.banks[groups[name]].word_bytes // size) for name, size in self.sizes.items()
        }

    def words(self, draft: Draft) -> list[float]:
        """Return the words of every operand of a kernel, reads first."""
        operands = [o for o, _ in (*draft.reads, *draft.writes)]
        if draft.leader.gemm is not None:
            pieces = [Piece(o, self._of(o.tensor, self.sizes)) for o in operands[:2]]
            expanded = expansion(draft.leader, self.machine, pieces)
            runs = gemm_runs(draft, self.machine, through_buffer=expanded != (1, 1))
            elements = self._streamed(draft.leader.gemm, len(operands), expanded)
        else:
            runs = vector_runs(draft, self.machine)
            walks = [sum(i in p for p in draft.pass_reads) for i in range(len(draft.reads))]
            walks += [1] * len(draft.writes)
            elements = [math.prod(o.shape) * n for o, n in zip(operands, walks, strict=True)]
        held = [self._of(o.tensor, self.held) for o in operands]
        return [self._words(n, r, h) for n, r, h in zip(elements, runs, held, strict=True)]

    def _of(self, tensor: str, known: dict[str, int]) -> int:
        """Return what is known of a tensor, or of the one that it is a second copy of."""
        return known[tensor] if tensor in known else known[tensor.rpartition(" ")[0]]

    def _words(self, elements: float, run: int, held: int) -> float:
        if run == ALL or run >= held:
            return elements / held
        unit = self.machine.transpose
        block = min(held, unit.block) if unit is not None else 1
        return TURN * elements / block if block > run else elements / run

    def _streamed(self, gemm: Gemm, operands: int, expanded: tuple[int, int]) -> list[float]:
        """Return the elements of every operand that pass an edge of the array."""
        pe = self.machine.pe_array
        m, n, k, batch = (gemm.extent(s) for s in ("m", "n", "k", "batch"))
        over_n, over_m = {
            "ws": (ceil_div(n, pe.cols), 1),
            "is": (1, ceil_div(m, pe.cols)),
            "os": (ceil_div(n, pe.cols), ceil_div(m, pe.rows)),
        }[pe.dataflow]
        found = [float(m * k * batch * over_n), float(k * n * batch * over_m)]
        if gemm.expanded is not None:
            found["ab".index(gemm.expanded)] *= expanded[0] / expanded[1]
        return found + [float(m * n * batch)] * (operands - 2)
