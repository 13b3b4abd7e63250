"""The orders in which tensors are stored: as torch produces them, with another dimension innermost, or twice.

An order is found for tensors that vector ops take together, so that their lanes stay along one dimension.
What is weighed are the words that all readers and writers need if nothing is cut; the plans made of the
orders decide (``mapper``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from accelsim.geometry import Axis, DimMap, Operand
from accelsim.graph.ir import Graph, Op, Tensor
from accelsim.mapping.kernels import Draft, drafts
from accelsim.mapping.words import Weigher
from accelsim.program.grain import VECTORS, Which
from accelsim.resolve.machine import Machine
from accelsim.words import Dataflow

Order = tuple[int, ...]  # of a tensor's dimensions of more than one element: which of them, outermost first
SWEEPS = 2
TURNED = "{} (turned)"  # the name of a tensor's second copy


@dataclass(frozen=True, slots=True)
class Orders:
    """How tensors are stored that are not as torch has them, and of which there is a second copy, and how."""

    dataflow: Dataflow = "ws"
    of: Mapping[str, Order] = field(default_factory=dict)
    twins: Mapping[str, Order] = field(default_factory=dict)
    readers: frozenset[tuple[int, int]] = frozenset()  # (kernel, read) that take the second copy

    def draft(self, draft: Draft) -> Draft:
        """Return a kernel's draft with every operand as it is stored."""
        reads = [(self._read(draft.index, i, o), op) for i, (o, op) in enumerate(draft.reads)]
        writes = [(ordered(o, self.of.get(o.tensor)), op) for o, op in draft.writes]
        passes = list(draft.pass_writes)
        for i, (operand, op) in enumerate(draft.writes):
            if operand.tensor in self.twins:
                passes = [p + ((len(writes),) if i in p else ()) for p in passes]
                writes.append((self._twin(operand), op))
        stored = replace(draft, reads=reads, writes=writes, pass_writes=passes)
        moved = any(o.tensor in self.of or o.tensor in self.twins for o, _ in (*draft.reads, *draft.writes))
        if not moved:
            return stored
        leader = (
            _as_stored(stored, self.dataflow) if draft.leader.gemm is not None else _slabs_as_stored(stored)
        )
        return replace(stored, ops=[leader, *draft.ops[1:]])

    def _read(self, kernel: int, index: int, operand: Operand) -> Operand:
        if (kernel, index) in self.readers:
            return self._twin(operand)
        return ordered(operand, self.of.get(operand.tensor))

    def _twin(self, operand: Operand) -> Operand:
        return replace(ordered(operand, self.twins[operand.tensor]), tensor=TURNED.format(operand.tensor))

    def graph(self, graph: Graph) -> Graph:
        """Return the graph with every tensor in the shape in which it is stored, second copies beside."""
        tensors: dict[str, Tensor] = {}
        for name, tensor in graph.tensors.items():
            tensors[name] = replace(tensor, shape=_shape(tensor, self.of.get(name)))
            if name in self.twins:
                twin, before = TURNED.format(name), tensor.next_of
                renews = TURNED.format(before) if before in self.twins else None
                shape = _shape(tensor, self.twins[name])
                tensors[twin] = replace(tensor, name=twin, shape=shape, next_of=renews)
        return replace(graph, tensors=tensors)

    def stored(self, tensor: str) -> tuple[Order, str]:
        """Return the order of a stored tensor (none: torch's) and the tensor that it is a second copy of."""
        of = {TURNED.format(name): (order, name) for name, order in self.twins.items()}
        return of.get(tensor, (self.of.get(tensor, ()), ""))


PLAIN = Orders()


def _as_stored(draft: Draft, dataflow: Dataflow) -> Op:
    """Return a GEMM with the axes of each side as they are stored, where one operand has them all.

    Tiles are cut in the outer axes of a side, so that rows in DRAM stay long. Innermost of all goes the axis
    of the innermost dimension of an operand whose vectors lie along the side.
    """
    op, gemm = draft.leader, draft.leader.gemm
    assert gemm is not None
    operands = [o for o, _ in (*draft.writes[:1], *draft.reads[1::-1])]
    sides: dict[str, tuple[Axis, ...]] = {"m": gemm.m, "n": gemm.n, "k": gemm.k}
    for side, axes in sides.items():
        for operand in operands:
            places = {d.axis: i for i, d in enumerate(operand.dims) if d.kind == "direct"}
            if all(a.name in places for a in axes):
                sides[side] = tuple(sorted(axes, key=lambda a, p=places: p[a.name]))  # type: ignore[misc]
                break
    named: list[tuple[Which, Operand]] = [("b", draft.reads[1][0]), ("a", draft.reads[0][0])]
    named += [("c", o) for o, _ in draft.writes[:1]]
    for which, operand in named:
        side, inner = VECTORS[dataflow][which], _innermost(operand)
        if side in sides and inner in {a.name for a in sides[side]}:
            sides[side] = tuple(sorted(sides[side], key=lambda a, i=inner: a.name == i))  # type: ignore[misc]
    return replace(op, gemm=replace(gemm, m=sides["m"], n=sides["n"], k=sides["k"]))


def _innermost(operand: Operand) -> str:
    return next((d.axis for d, s in reversed(_seen(operand)) if s > 1), "")


def _slabs_as_stored(draft: Draft) -> Op:
    """Return a vector op with the axes that may be cut in the order of its largest operand as stored."""
    op, vector = draft.leader, draft.leader.vector
    assert vector is not None
    operands = [o for o, _ in (*draft.reads, *draft.writes)]
    largest = max(operands, key=lambda o: math.prod(o.shape))
    places = {d.axis: i for i, d in enumerate(largest.dims) if d.axis}
    cut, whole = vector.axes[: vector.separable], vector.axes[vector.separable :]
    if not all(a.name in places for a in cut):
        return op
    axes = (*sorted(cut, key=lambda a: places[a.name]), *whole)
    return replace(op, vector=replace(vector, axes=axes))


def ordered(operand: Operand, order: Order | None) -> Operand:
    """Return an operand of a tensor that is stored in ``order``; dimensions of one element go outermost."""
    if not order:
        return operand
    places = _places(operand.shape, order)
    return Operand(
        operand.tensor, tuple(operand.shape[i] for i in places), tuple(operand.dims[i] for i in places)
    )


def _shape(tensor: Tensor, order: Order | None) -> tuple[int, ...]:
    return tuple(tensor.shape[i] for i in _places(tensor.shape, order)) if order else tensor.shape


def _places(shape: Sequence[int], order: Order) -> list[int]:
    wide = [i for i, size in enumerate(shape) if size > 1]
    return [i for i, size in enumerate(shape) if size == 1] + [wide[i] for i in order]


def orders_to_try(graph: Graph, machine: Machine) -> list[Orders]:
    """Return the orders of which plans are to be made, torch's own first."""
    if machine.layout == "along":
        return [PLAIN]
    search = _Search(graph, machine, drafts(graph, machine.mapping))
    plain = search.plain
    found = [plain, search.twins(plain)]
    single = search.single()
    found += [single, search.twins(single)]
    return [o for i, o in enumerate(found) if o not in found[:i]]


class _Search:
    """Weighs orders by the words that they need."""

    def __init__(self, graph: Graph, machine: Machine, drafts: list[Draft]) -> None:
        self.graph = graph
        self.drafts = drafts
        self.weigher = Weigher(graph, machine)
        self.plain = Orders(machine.pe_array.dataflow)
        self.touching: dict[str, list[int]] = {}
        self.ways: dict[str, list[Operand]] = {}  # of seeing a tensor
        for draft in drafts:
            for operand, _ in (*draft.reads, *draft.writes):
                self.touching.setdefault(operand.tensor, []).append(draft.index)
                self.ways.setdefault(operand.tensor, []).append(operand)
        picked = {o.tensor for d in drafts if "embedding" in d.leader.aten for o, _ in (*d.reads, *d.writes)}
        self.free = {name for name in self.ways if name not in picked and self._is_free(name)}

    def _is_free(self, name: str) -> bool:
        """Return whether a tensor may be stored in another order: nobody sees it in another shape."""
        wide = _wide(self.graph.tensors[name].shape)
        return len(wide) > 1 and all(_wide(o.shape) == wide for o in self.ways[name])

    # -- one order each --------------------------------------------------------------------------

    def single(self) -> Orders:
        """Return the orders that need the fewest words if every tensor is stored once."""
        chosen: dict[str, Order] = {}
        groups = self._groups()
        for _ in range(SWEEPS):
            before = dict(chosen)
            for names in groups:
                here = sorted({d for n in names for d in self.touching[n]})
                weighed = []
                for order in self._orders(names):
                    trial = {**chosen, **dict.fromkeys(names, order)}
                    weighed.append((self._weigh(replace(self.plain, of=trial), here), order))
                least = min(w for w, _ in weighed)
                order = next(o for w, o in weighed if w == least)
                chosen |= dict.fromkeys(names, order)
            if chosen == before:
                break
        return replace(self.plain, of={name: order for name, order in chosen.items() if order})

    def _groups(self) -> list[list[str]]:
        """Return the free tensors in groups that share an order: those that vector ops take alike."""
        home = {name: name for name in self.ways if name in self.free}

        def root(name: str) -> str:
            while home[name] != name:
                name = home[name]
            return name

        for draft in self.drafts:
            if draft.leader.vector is not None:
                alike: dict[tuple[str, ...], str] = {}
                for operand, _ in (*draft.reads, *draft.writes):
                    if operand.tensor in home:
                        axes = tuple(d.axis for d, s in _seen(operand) if s > 1)
                        first = alike.setdefault(axes, operand.tensor)
                        home[root(operand.tensor)] = root(first)
        for name in list(home):
            renewed = self.graph.tensors[name].next_of
            if renewed in home:
                home[root(name)] = root(renewed)
        groups: dict[str, list[str]] = {}
        for name in home:
            groups.setdefault(root(name), []).append(name)
        return list(groups.values())

    def _orders(self, names: Sequence[str]) -> Iterator[Order]:
        """Yield torch's order, then those with another dimension innermost.

        Rows and columns of an image keep their places: fills count on halos along them.
        """
        yield ()
        operands = [o for n in names for o in self.ways[n]]
        rank = min(len(_wide(o.shape)) for o in operands)
        if any(len(_wide(o.shape)) != rank for o in operands):
            return
        for last in range(rank - 1):
            kinds = {[d for d, s in _seen(o) if s > 1][last].kind for o in operands}
            if not kinds & {"window", "inverse"}:
                yield (*(i for i in range(rank) if i != last), last)

    def _weigh(self, orders: Orders, drafts: Sequence[int]) -> float:
        return sum(sum(self.weigher.words(orders.draft(self.drafts[i]))) for i in drafts)

    # -- two orders ------------------------------------------------------------------------------

    def twins(self, orders: Orders) -> Orders:
        """Return ``orders`` with second copies where they save more words than writing them takes."""
        twins: dict[str, Order] = {}
        readers: set[tuple[int, int]] = set()
        for name in self.ways:
            chain = self._chain(name)
            if name not in self.free or name in twins or not chain:
                continue
            best = 0.0
            found: tuple[Order, set[tuple[int, int]]] | None = None
            for order in self._orders([name]):
                trial = order or tuple(range(len(_wide(self.graph.tensors[name].shape))))
                saved, takers = self._saved(orders, chain, trial)
                if saved > best:
                    best, found = saved, (trial, takers)
            if found is not None:
                twins |= dict.fromkeys(chain, found[0])
                readers |= found[1]
        return replace(orders, twins=twins, readers=frozenset(readers))

    def _chain(self, name: str) -> list[str]:
        """Return a tensor that the step makes, or one that it renews and what renews it; else nothing."""
        tensor = self.graph.tensors[name]
        if tensor.phase is not None:
            return [] if tensor.next_of is not None else [name]
        return (
            [name, *(n for n, t in self.graph.tensors.items() if t.next_of == name)][:2]
            if any(t.next_of == name for t in self.graph.tensors.values())
            else []
        )

    def _saved(
        self, orders: Orders, chain: Sequence[str], order: Order
    ) -> tuple[float, set[tuple[int, int]]]:
        """Return the words that a second copy in ``order`` saves, and the reads that should take it."""
        saved, takers = 0.0, set()
        twins = dict.fromkeys(chain, order)
        for index in dict.fromkeys(i for n in chain for i in self.touching[n]):
            draft = self.drafts[index]
            plain = self.weigher.words(orders.draft(draft))
            reads = [i for i, (o, _) in enumerate(draft.reads) if o.tensor == chain[0]]
            every = replace(orders, twins=twins, readers=frozenset((index, i) for i in reads))
            turned = self.weigher.words(every.draft(draft))
            for i in reads:
                if turned[i] < plain[i]:
                    saved += plain[i] - turned[i]
                    takers.add((index, i))
            saved -= sum(turned) - sum(turned[: len(plain)])  # what is written more
        return saved, takers


def _wide(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(size for size in shape if size > 1)


def _seen(operand: Operand) -> list[tuple[DimMap, int]]:
    return list(zip(operand.dims, operand.shape, strict=True))
