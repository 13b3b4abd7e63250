"""The workloads of a sweep as data: captured once, shipped to workers."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from accelsim.config.document import shown
from accelsim.errors import GraphError
from accelsim.frontend import Captured, load_workload
from accelsim.graph.ir import Graph
from accelsim.graph.master import with_master_weights
from accelsim.graph.store import content_hash
from accelsim.resolve.machine import Machine
from accelsim.sweep.evaluate import Work, packed
from accelsim.sweep.plan import Faults, Sweep, beside
from accelsim.sweep.training import Training, prepared

Options = tuple[tuple[str, Any], ...]


@dataclass
class Works:
    """The captured graphs, and what a machine makes of them: master weights are its own choice."""

    captured: list[tuple[Graph, Options, Training | None]]
    _made: dict[Any, list[Work]] = field(default_factory=dict)
    _graphs: dict[str, Graph] = field(default_factory=dict)

    def of(self, machine: Machine) -> list[Work]:
        """Return the workloads for ``machine``."""
        key = tuple(sorted((role, str(fmt)) for role, fmt in machine.formats.items()))
        if key not in self._made:
            self._made[key] = [self._work(*one, machine) for one in self.captured]
        return self._made[key]

    def graph(self, work: Work) -> Graph:
        """Return the graph of a workload that ``of`` gave."""
        return self._graphs[work.graph_hash]

    @property
    def trains(self) -> bool:
        """Whether points are trained after their simulation."""
        return self.epoch_steps is not None

    @property
    def epoch_steps(self) -> int | None:
        """The fewest steps that an epoch of a workload has; None: nothing is trained."""
        return min((t.epoch_steps for _, _, t in self.captured if t is not None), default=None)

    def _work(self, graph: Graph, options: Options, training: Training | None, machine: Machine) -> Work:
        graph = with_master_weights(graph, machine.formats)
        digest = content_hash(graph)
        self._graphs[digest] = graph
        return Work(graph.name, digest, packed(graph), options, training)


def capture(sweep: Sweep) -> Works:
    """Return the workloads of a sweep; only here torch may be needed.

    Raises:
        InputError: A workload is at fault.
    """
    spec, captured = sweep.spec, []
    faults = Faults(sweep.origins)
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
        training = (
            faults.of(("training",), partial(_training, sweep, name, found)) if sweep.training else None
        )
        captured.append((found.graph, tuple(sorted(told.items())), training))
    faults.raise_any()
    return Works(captured)


def _training(sweep: Sweep, name: str, found: Captured) -> Training:
    assert sweep.training is not None
    files = hashlib.sha256(json.dumps([found.spec, sorted(d for _, d in found.files)]).encode()).hexdigest()
    batch, parts = sweep.spec.batch, sweep.spec.accumulate
    return prepared(sweep.training, beside(name, sweep.path), files, sweep.path.parent, batch, parts)
