"""The one door from torch models and topology files to the training graph.

Importing this package imports no torch; capturing a model that is not in the cache does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelsim.config.document import shown
from accelsim.config.locate import find
from accelsim.errors import InputError
from accelsim.frontend import cache as stored
from accelsim.frontend import spec as specs
from accelsim.frontend import topology
from accelsim.graph.ir import Graph

PHASES = ("all", "forward")


@dataclass(frozen=True, slots=True)
class Captured:
    """A workload's graph and what it was made of.

    Attributes:
        graph: The training graph.
        spec: The resolved description, as plain data.
        files: The files that decide the graph, each with its SHA-256: the description and, for a
            model, every file of the user's that it imports.
        cached: Whether the graph came from the cache.
    """

    graph: Graph
    spec: dict[str, Any]
    files: tuple[tuple[str, str], ...]
    cached: bool


def load_workload(
    name_or_path: str, *, batch: int | None = None, phase: str = "all", cache: Path | None = None
) -> Captured:
    """Return the graph of a shipped workload's name, of a ``.toml``, or of a SCALE-Sim ``.csv``.

    Args:
        name_or_path: As on the command line.
        batch: Replaces the file's batch.
        phase: ``all``, or ``forward`` for forward and loss alone.
        cache: Folder of captured graphs; the user's cache folder if None.

    Raises:
        InputError: Whatever is wrong with the description, the topology or the model.
    """
    if phase not in PHASES:
        raise InputError(f'phase: expected "all" or "forward", got "{phase}"')
    if batch is not None and batch < 1:
        raise InputError(f"batch: expected a whole number above 0, got {batch}")
    path = find("workloads", name_or_path)
    if path.suffix == ".csv":
        return _topology(path, batch, phase)
    return _model(specs.load(path, batch), phase, cache or stored.default_folder())


def _topology(path: Path, batch: int | None, phase: str) -> Captured:
    if batch not in (None, 1):
        raise InputError(f"{shown(path)}: a topology file has batch 1, got {batch}; leave out the batch")
    spec = {"topology": path.name, "batch": 1, "phase": "forward"}
    del phase  # a topology has no other phase than forward
    files = ((str(path.resolve()), stored.file_hash(path)),)
    return Captured(topology.load(path), spec, files, False)


def _model(workload: specs.Workload, phase: str, folder: Path) -> Captured:
    spec = {**workload.spec.model_dump(mode="json"), "name": workload.name, "phase": phase}
    key = stored.key_of(spec, str(workload.path.resolve()), phase)
    found = stored.load(folder, key)
    if found is not None:
        return Captured(found[0], spec, found[1], True)
    graph, files = _capture(workload, phase)
    stored.save(folder, key, graph, files)
    return Captured(graph, spec, files, False)


def _capture(workload: specs.Workload, phase: str) -> tuple[Graph, stored.Files]:
    from accelsim.frontend.capture import capture  # torch comes with these two
    from accelsim.frontend.lower.walk import lower

    imports = stored.Imports()
    step = capture(workload, phase)
    graph = lower(step, workload.name, workload.spec.batch)
    own = [workload.path, *map(Path, workload.labels)]
    if workload.model_file:
        own.append(workload.model_file)
    return graph, imports.files(workload.module_name, own)
