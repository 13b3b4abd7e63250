"""Ops to kernels: which elementwise ops ride on the drain of which leader, and what is written at all."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from accelsim.geometry import DimMap, Operand
from accelsim.graph.ir import Graph, Op, Pass
from accelsim.graph.master import CAST
from accelsim.mapping.depthwise import placed
from accelsim.resolve.machine import MappingChoices

NORMS = (
    "aten.native_batch_norm",
    "aten._native_batch_norm",
    "aten.native_layer_norm",
    "aten.native_group_norm",
)


@dataclass(slots=True)
class Draft:
    """A kernel before its operands have places.

    ``reads`` and ``writes`` pair an operand, in the kernel's axes, with the op it belongs to.
    ``rider_reads`` index into ``reads``; ``pass_reads`` and ``pass_writes`` those of each pass. The first
    pass of the leader, if it has ``ridden``, left these of its inputs to the kernel before; ``sums`` are the
    ops whose first pass rides here.
    """

    index: int
    ops: list[Op]
    reads: list[tuple[Operand, str]] = field(default_factory=list)
    writes: list[tuple[Operand, str]] = field(default_factory=list)
    rider_reads: list[int] = field(default_factory=list)
    pass_reads: list[tuple[int, ...]] = field(default_factory=list)
    pass_writes: list[tuple[int, ...]] = field(default_factory=list)
    ridden: tuple[int, ...] = ()
    sums: list[Op] = field(default_factory=list)

    @property
    def leader(self) -> Op:
        """The op that the others ride on."""
        return self.ops[0]

    @property
    def walks(self) -> tuple[Pass, ...]:
        """The passes of a vector leader that this kernel walks itself."""
        return self.leader.vector.passes[1 if self.ridden else 0 :] if self.leader.vector else ()

    @property
    def riding(self) -> list[tuple[str, int]]:
        """The vector functions, with their counts, of what rides on the drain."""
        passes = [p for op in self.ops[1:] if op.vector is not None for p in op.vector.passes]
        passes += [op.vector.passes[0] for op in self.sums if op.vector is not None]
        return [f for p in passes for f in p.functions]


@dataclass(slots=True)
class _Group:
    """A leader, its riders, and the operands of what it produces point by point, in its axes."""

    ops: list[Op]
    points: dict[str, Operand]
    rider_inputs: list[tuple[Operand, str]] = field(default_factory=list)
    rider_outputs: list[tuple[Operand, str]] = field(default_factory=list)
    ridden: tuple[int, ...] = ()
    sums: list[Op] = field(default_factory=list)


def drafts(graph: Graph, choices: MappingChoices) -> list[Draft]:
    """Return the kernels of ``graph`` in execution order."""
    groups: list[_Group] = []
    made_by: dict[str, int] = {}
    fuses = choices.fusion != "none" and not graph.independent
    for op in (placed(one, choices) for one in graph.ops):
        home = _ride(op, groups, made_by) if fuses else None
        if home is None:
            home = len(groups)
            sums = fuses and choices.fusion == "epilogue+stats"
            ridden = _sum_up(op, groups, made_by) if sums else ()
            groups.append(_Group([op], _points(op), ridden=ridden))
        for out in op.outputs:
            made_by[out.tensor] = home
    consumers = _consumers(graph)
    return [_draft(i, g, graph, consumers) for i, g in enumerate(groups)]


def _points(op: Op) -> dict[str, Operand]:
    """Return the outputs that an op produces along its nest, one element per point."""
    if op.gemm is not None:
        return {op.gemm.c.tensor: op.gemm.c}
    assert op.vector is not None
    last = op.vector.passes[-1]
    sized = {a.name for a in op.vector.axes if a.size > 1}
    return {
        op.outputs[w].tensor: op.outputs[w]
        for w in last.writes
        if sized <= {d.axis for d in op.outputs[w].dims if d.kind == "direct"}
    }


def _ride(op: Op, groups: list[_Group], made_by: dict[str, int]) -> int | None:
    """Let ``op`` ride on the kernel that made one of its inputs, if it can; return that kernel."""
    if op.vector is None or not op.vector.elementwise or (op.phase == "update" and op.aten != CAST):
        return None  # an update may still need the old weights; the cast of a master weight needs none
    homes = [made_by.get(i.tensor, -1) for i in op.inputs]
    home = max(homes, default=-1)
    if home < 0 or groups[home].ops[0].phase != op.phase:
        return None
    group = groups[home]
    tails = [i for i in op.inputs if made_by.get(i.tensor, -1) == home]
    if any(t.tensor not in group.points for t in tails):
        return None
    axes = _axis_maps(op, tails[0], group.points[tails[0].tensor])
    if axes is None:
        return None
    inputs = [_compose(i, axes) for i in op.inputs]
    outputs = [_compose(o, axes) for o in op.outputs]
    if any(o is None for o in inputs + outputs):
        return None
    if any(i != group.points[i.tensor] for i in inputs if i is not None and i.tensor in group.points):
        return None
    _board(group, op, [i for i in inputs if i], [o for o in outputs if o])
    return home


def _sum_up(op: Op, groups: list[_Group], made_by: dict[str, int]) -> tuple[int, ...]:
    """Let the first pass of a normalisation, its sums, ride on the kernel that makes what is summed.

    Return the inputs of ``op`` that the sums take there; none: they cannot. The vector unit keeps the sums
    until ``op`` runs, so that no kernel between may sum anything up. What else the sums take point by point
    is read as results drain; running statistics, which only the finished sums meet, wait for the
    normalisation's own kernel.
    """
    if op.vector is None or len(op.vector.passes) < 2 or not op.aten.startswith(NORMS):
        return ()
    summed = op.vector.passes[0].reads
    reads = [op.inputs[i] for i in summed]
    home = max(made_by.get(r.tensor, -1) for r in reads)
    if home < 0 or any(_sums(g) for g in groups[home + 1 :]) or groups[home].sums:
        return ()
    group = groups[home]
    tails = [r for r in reads if made_by.get(r.tensor, -1) == home]
    if group.ops[0].phase != op.phase or not tails or any(t.tensor not in group.points for t in tails):
        return ()
    axes = _axis_maps(op, tails[0], group.points[tails[0].tensor])
    if axes is None or any(_compose(t, axes) != group.points[t.tensor] for t in tails):
        return ()
    others = [r for r in reads if r not in tails]
    composed = [_compose(r, axes) for r in others]
    sized = {a.name for a in op.vector.axes if a.size > 1}
    if not any(sized <= {d.axis for d in r.dims} for r in others):
        group.sums.append(op)
        return tuple(i for i in summed if op.inputs[i] in tails)
    if any(c is None for c in composed):
        return ()
    group.sums.append(op)
    known = {o for o, _ in group.rider_inputs}
    group.rider_inputs += [(c, op.name) for c in composed if c is not None and c not in known]
    return summed


def _sums(group: _Group) -> bool:
    """Return whether a kernel needs the places where sums are kept."""
    vector = group.ops[0].vector
    return bool(group.sums or group.ridden or (vector is not None and not vector.elementwise))


def _board(group: _Group, op: Op, inputs: list[Operand], outputs: list[Operand]) -> None:
    known = {o for o, _ in group.rider_inputs}
    for operand in inputs:
        if operand.tensor not in group.points and operand not in known:
            group.rider_inputs.append((operand, op.name))
    for operand in outputs:
        group.points[operand.tensor] = operand
        group.rider_outputs.append((operand, op.name))
    group.ops.append(op)


def _axis_maps(op: Op, tail: Operand, point: Operand) -> dict[str, DimMap] | None:
    """Return the leader's map for every axis of ``op``, read off the operand that they share."""
    assert op.vector is not None
    if tail.shape != point.shape:
        return None
    maps: dict[str, DimMap] = {}
    for dim, there in zip(tail.dims, point.dims, strict=True):
        if dim.kind == "direct":
            maps[dim.axis] = there
    if any(a.size > 1 and a.name not in maps for a in op.vector.axes):
        return None
    return maps


def _compose(operand: Operand, axes: dict[str, DimMap]) -> Operand | None:
    dims = []
    for dim, size in zip(operand.dims, operand.shape, strict=True):
        if dim.kind == "direct" and dim.axis in axes:
            dims.append(axes[dim.axis])
        elif dim.kind == "full" or size == 1:
            dims.append(DimMap())
        else:
            return None
    return Operand(operand.tensor, operand.shape, tuple(dims))


def _consumers(graph: Graph) -> dict[str, list[str]]:
    consumers: dict[str, list[str]] = defaultdict(list)
    for op in graph.ops:
        for operand in op.inputs:
            consumers[operand.tensor].append(op.name)
    return consumers


def _draft(index: int, group: _Group, graph: Graph, consumers: dict[str, list[str]]) -> Draft:
    leader = group.ops[0]
    draft = Draft(index, group.ops, ridden=group.ridden, sums=group.sums)
    inside = {op.name for op in group.ops}
    leaders = (leader.gemm.a, leader.gemm.b) if leader.gemm else leader.inputs
    draft.reads = [(o, leader.name) for o in leaders]
    draft.rider_reads = list(range(len(draft.reads), len(draft.reads) + len(group.rider_inputs)))
    draft.reads += group.rider_inputs
    outputs = [(leader.gemm.c, leader.name)] if leader.gemm else [(o, leader.name) for o in leader.outputs]
    used = any(consumers.get(o.tensor) for op in group.ops for o in op.outputs)
    kept: dict[int, int] = {}
    for i, (operand, op) in enumerate(outputs + group.rider_outputs):
        readers = consumers.get(operand.tensor, [])
        tensor = graph.tensors[operand.tensor]
        wanted = any(r not in inside for r in readers) or tensor.next_of is not None
        loss = tensor.elements == 1 and tensor.phase == "forward"
        if wanted or (not readers and (not used or loss or graph.independent)):
            kept[i] = len(draft.writes)
            draft.writes.append((operand, op))
    if leader.vector is not None:
        _pass_lists(draft, leader, kept, len(outputs))
    return draft


def _pass_lists(draft: Draft, leader: Op, kept: dict[int, int], own: int) -> None:
    assert leader.vector is not None
    riders = tuple(w for i, w in kept.items() if i >= own)
    before = leader.vector.passes[:1] if draft.ridden else ()  # whose results leave with the next pass
    summed = tuple(kept[w] for walk in before for w in walk.writes if w in kept)
    small = tuple(i for walk in before for i in walk.reads if i not in draft.ridden)
    for number, walk in enumerate(draft.walks):
        last = number == len(draft.walks) - 1
        writes = tuple(kept[w] for w in walk.writes if w in kept)
        more = () if number else tuple(i for i in small if i not in walk.reads)
        draft.pass_reads.append(walk.reads + more)
        draft.pass_writes.append((() if number else summed) + writes + (riders if last else ()))
