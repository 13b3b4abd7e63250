"""What the policy ``sensitivity`` keeps out of which bank group, and why: for reports."""

from __future__ import annotations

from accelsim.graph.ir import Graph
from accelsim.mapping.dwells import Dwells, Stay
from accelsim.mapping.kernels import drafts
from accelsim.mapping.storage import lives
from accelsim.mapping.times import unit_ps
from accelsim.resolve.machine import Machine


def refusals(graph: Graph, machine: Machine) -> list[Stay]:
    """Return every tensor and group in which it may not lie to its last use, in the order of the step."""
    if machine.sensitivity is None:
        return []
    kernels = drafts(graph, machine.mapping)
    living = lives(graph, machine, kernels)
    dwells = Dwells(machine, living, [unit_ps(machine, k) for k in kernels])
    return [stay for life in living.values() for stay in dwells.stays(life)]
