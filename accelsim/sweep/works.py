"""The workloads of a sweep as data: captured once, shipped to workers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from accelsim.config.document import shown
from accelsim.errors import GraphError
from accelsim.graph.ir import Graph
from accelsim.graph.master import with_master_weights
from accelsim.graph.store import content_hash
from accelsim.resolve.machine import Machine
from accelsim.sweep.evaluate import Work, packed
from accelsim.sweep.plan import Sweep, beside

Options = tuple[tuple[str, Any], ...]


@dataclass
class Works:
    """The captured graphs, and what a machine makes of them: master weights are its own choice."""

    captured: list[tuple[Graph, Options]]
    _made: dict[Any, list[Work]] = field(default_factory=dict)
    _graphs: dict[str, Graph] = field(default_factory=dict)

    def of(self, machine: Machine) -> list[Work]:
        """Return the workloads for ``machine``."""
        key = tuple(sorted((role, str(fmt)) for role, fmt in machine.formats.items()))
        if key not in self._made:
            self._made[key] = [self._work(graph, options, machine) for graph, options in self.captured]
        return self._made[key]

    def graph(self, work: Work) -> Graph:
        """Return the graph of a workload that ``of`` gave."""
        return self._graphs[work.graph_hash]

    def _work(self, graph: Graph, options: Options, machine: Machine) -> Work:
        graph = with_master_weights(graph, machine.formats)
        digest = content_hash(graph)
        self._graphs[digest] = graph
        return Work(graph.name, digest, packed(graph), options)


def capture(sweep: Sweep) -> Works:
    """Return the workloads of a sweep; only here torch may be needed.

    Raises:
        InputError: A workload is at fault.
    """
    from accelsim.frontend import load_workload

    spec, captured = sweep.spec, []
    for name in sweep.workloads:
        found = load_workload(
            beside(name, sweep.path),
            batch=spec.batch,
            accumulate=spec.accumulate,
            phase=spec.phase,
        )
        if found.graph.unsupported:
            raise GraphError(
                f"{shown(sweep.path)}: {name} has ops without a lowering; `accelsim run` names them"
            )
        told = {"phase": str(found.spec.get("phase", spec.phase)), "cold": spec.cold}
        told["accumulate"] = int(found.spec.get("accumulate", 1))
        captured.append((found.graph, tuple(sorted(told.items()))))
    return Works(captured)
