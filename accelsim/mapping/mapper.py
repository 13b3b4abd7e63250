"""From a graph and a resolved machine to a program: a pure function."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress

from accelsim.errors import MappingError
from accelsim.graph.ir import Graph
from accelsim.mapping.assemble import assemble
from accelsim.mapping.kernels import drafts
from accelsim.mapping.ladder import scenarios
from accelsim.mapping.planner import Key, Planner, Trial
from accelsim.mapping.storage import lives
from accelsim.mapping.tiling import MOST_BYTES, PATIENCE, TileSearch
from accelsim.program.program import Program
from accelsim.resolve.machine import Machine
from accelsim.resolve.shape import array_shape

_Found = tuple[Trial, Key]
NEVER = (1 << 62, 1 << 62)  # the key of no plan
SHARES = (0.5, 0.875)  # of a group that whole tensors may take; the rest is for tiles


def map_graph(
    graph: Graph,
    machine: Machine,
    *,
    cold: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Program:
    """Return the best program found for ``graph`` on ``machine``.

    ``cold`` maps the first step, whose parameters all come from DRAM, instead of the steady one.

    Raises:
        MappingError: if the scratchpad cannot hold a kernel's smallest tile.
    """
    planner = planner_of(graph, machine, cyclic=not cold and not graph.independent)
    capacity = {n: b.capacity_bytes for n, b in machine.banks.items()}
    pairs = [(limits, share) for limits in scenarios(capacity) for share in SHARES]
    report = progress or (lambda *_: None)
    report(0, len(pairs))
    trials = [planner.trial(number, *pair) for number, pair in enumerate(pairs)]
    first = trials[0], planner.cost(trials[0])  # what does not fit the whole machine is refused
    rest = sorted(trials[1:], key=lambda t: (t.bound, t.number))
    best = first
    for done, trial in enumerate(rest, start=1):
        report(done, len(trials))
        best = _better(planner, trial, best)
    best = _frugal(planner, [first[0], *rest], best)
    report(len(trials), len(trials))
    return assemble(graph, machine, planner, planner.plan(best[0]), capacity, cold)


def _better(planner: Planner, trial: Trial, than: _Found, most_bytes: float = math.inf) -> _Found:
    """Return the better of a trial, if it fits and moves no more than ``most_bytes``, and another."""
    with suppress(MappingError):
        key = planner.better(trial, (than[1], than[0].number), most_bytes)
        if key is not None:
            return trial, key
    return than


def _frugal(planner: Planner, trials: list[Trial], best: _Found) -> _Found:
    """Return ``best``, or if it moves many DRAM bytes the best plan that does not and is not much slower."""
    most = MOST_BYTES * planner.least_bytes()
    if planner.plan(best[0]).dram_bytes <= most:
        return best
    frugal = best[0], NEVER
    for trial in trials:
        frugal = _better(planner, trial, frugal, most)
    return frugal if frugal[1] < NEVER and frugal[1][0] <= PATIENCE * best[1][0] else best


def planner_of(graph: Graph, machine: Machine, cyclic: bool) -> Planner:
    """Return the planner of ``graph``; ``cyclic``: the step begins where the one before ended."""
    kernels = drafts(graph, machine.mapping.fusion)
    array = array_shape(machine)
    return Planner(
        graph, machine, kernels, lives(graph, machine, kernels), TileSearch(machine, array), cyclic
    )
