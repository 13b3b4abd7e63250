"""The words that a kernel's streams need if nothing is cut: what orders of storage are weighed by."""

from __future__ import annotations

import math

import numpy as np

from accelsim.geometry import DimMap, ceil_div
from accelsim.graph.ir import Gemm, Graph
from accelsim.mapping.im2col import window_of
from accelsim.mapping.kernels import Draft
from accelsim.mapping.problem import Array
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
            runs, share = list(gemm_runs(draft, self.machine)), self._unbuffered(draft)
            elements = self._streamed(draft.leader.gemm, len(operands))
            if share < 1:
                index = "ab".index(draft.leader.gemm.expanded or "a")
                runs[index] = ALL
                elements[index] *= share
        else:
            runs = list(vector_runs(draft, self.machine))
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

    def _unbuffered(self, draft: Draft) -> float:
        """Return what the array reads of the expanded operand as a share of what it takes.

        A line buffer counts as if it held lines of one channel: how many are in a tile is up to its cuts.
        """
        gemm = draft.leader.gemm
        assert gemm is not None
        operand = draft.reads["ab".index(gemm.expanded or "a")][0]
        window = window_of(gemm, self._of(operand.tensor, self.sizes), self.machine)
        if window is None:
            return 1.0

        def widths(dim: DimMap, size: int) -> Array:
            return np.asarray(size if dim.axis == "x" else 1, dtype=np.float64)

        reads, of = window.reads(widths)
        return float(reads) / of

    def _streamed(self, gemm: Gemm, operands: int) -> list[float]:
        """Return the elements of every operand that pass an edge of the array."""
        pe = self.machine.pe_array
        m, n, k, batch = (gemm.extent(s) for s in ("m", "n", "k", "batch"))
        over_n, over_m = {
            "ws": (ceil_div(n, pe.cols), 1),
            "is": (1, ceil_div(m, pe.cols)),
            "os": (ceil_div(n, pe.cols), ceil_div(m, pe.rows)),
        }[pe.dataflow]
        found = [float(m * k * batch * over_n), float(k * n * batch * over_m)]
        return found + [float(m * n * batch)] * (operands - 2)
