"""Random nests: kernels of mapped programs with other cuts, orders, panels, slots."""

from __future__ import annotations

from dataclasses import fields, replace

from hypothesis import assume
from hypothesis import strategies as st

from accelsim.geometry import Axis
from accelsim.graph.ir import Graph
from accelsim.program.kernel_jobs import jobs_of
from accelsim.program.phases import TAPS
from accelsim.program.program import Cut, Kernel, Panel, Program, Psum, Region, Side
from accelsim.resolve.machine import Machine
from accelsim.resolve.shape import array_shape
from tests.strategies import mapped

MANY_TILES = 150


@st.composite
def _cut(draw: st.DrawFn, axes: tuple[Axis, ...]) -> Cut:
    if not axes:
        return Cut(axis=0, step=1)
    index = draw(st.integers(0, len(axes) - 1))
    axis = axes[index]
    step = draw(st.one_of(st.integers(1, 6), st.integers(6, 40)))  # many tiles, or tiles of many folds
    return Cut(axis=index, step=min(axis.size, axis.unit * step))


@st.composite
def _panel(draw: st.DrawFn, kernel: Kernel, cuts: dict[Side, Cut]) -> Panel | None:
    """Return nothing, or panels of several tiles of one side."""
    side = draw(st.sampled_from([None, "m", "n"]))
    if side is None or not kernel.sides[side]:
        return None
    cut = cuts[side]
    size = kernel.sides[side][cut.axis].size
    return Panel(side=side, cut=replace(cut, step=min(size, cut.step * draw(st.integers(1, 5)))))


@st.composite
def _nest(draw: st.DrawFn, kernel: Kernel, on: Machine) -> Kernel:
    """Return the kernel with other cuts, another order, other slots; places need not fit their banks."""
    cuts = {side: draw(_cut(axes)) for side, axes in kernel.sides.items()}
    slots = draw(st.integers(1, 5))
    bindings = {
        name: tuple(replace(b, slots=(b.slots * 5)[:slots]) if b.slots else b for b in getattr(kernel, name))
        for name in ("reads", "writes")
    }
    if kernel.unit == "vector":
        first = kernel.sides["m"][: max(1, kernel.separable)]
        return replace(kernel, cuts={"m": draw(_cut(first))}, **bindings)
    cuts["batch"] = kernel.cuts["batch"]
    if kernel.decomposed:  # phases are of whole kernels
        before = [a for a in kernel.sides["k"] if a.name not in TAPS.values()]
        cuts["k"] = draw(_cut(tuple(before))) if before else Cut(axis=0, step=kernel.sides["k"][0].size)
    order = ("batch", *draw(st.permutations(["m", "n", "k"])))
    whole = Region(group=next(iter(on.banks)), extents=((0, 1 << 30),))
    roomy = on.accumulator.capacity_bytes >= 1 << 20  # else what does not fit needs a region
    psum = draw(st.sampled_from([Psum(region=whole), *([Psum(region=None)] if roomy else [])]))
    rows = draw(st.sampled_from([0, 0, 2, 5])) if kernel.result_blocks == 1 and not kernel.decomposed else 0
    panel = draw(_panel(kernel, cuts))
    return replace(kernel, cuts=cuts, order=order, panel=panel, psum=psum, result_rows=rows, **bindings)  # type: ignore[arg-type]


class Drawn(Program):
    """A program whose repr is short: hypothesis prints the examples that fail."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{[(k.order, k.cuts, k.panel) for k in self.kernels]}>"


@st.composite
def programs(draw: st.DrawFn, graph: Graph, on: Machine) -> Program:
    """Return a program of ``graph`` whose nests were drawn, of not too many tiles."""
    program = mapped(graph, on)
    kernels = tuple(draw(_nest(k, on)) for k in program.kernels)
    lanes, cycles = on.vector.lanes, on.vector.cycles
    most = max(len(jobs_of(k, array_shape(on), cycles, lanes)) for k in kernels)
    assume(most <= MANY_TILES)
    return Drawn(**{f.name: getattr(program, f.name) for f in fields(program)} | {"kernels": kernels})
