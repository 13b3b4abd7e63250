"""The one door from torch models and topology files to the training graph.

Importing this package imports no torch; capturing a model that is not in the cache does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from accelsim import plugins
from accelsim.config.document import shown
from accelsim.config.faults import did_you_mean
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
    name_or_path: str,
    *,
    batch: int | None = None,
    accumulate: int | None = None,
    phase: str = "all",
    cache: Path | None = None,
) -> Captured:
    """Return the graph of a shipped workload's name, of a ``.toml``, or of a SCALE-Sim ``.csv``.

    Args:
        name_or_path: As on the command line.
        batch: Replaces the file's batch, the samples of a whole step.
        accumulate: Replaces the file's number of micro-batches that a step's batch is split into.
        phase: ``all``, or ``forward`` for forward and loss alone.
        cache: Folder of captured graphs; the user's cache folder if None.

    Raises:
        InputError: Whatever is wrong with the description, the topology or the model.
    """
    if phase not in PHASES:
        raise InputError(f'phase: expected "all" or "forward", got "{phase}"')
    for key, number in (("batch", batch), ("accumulate", accumulate)):
        if number is not None and number < 1:
            raise InputError(f"{key}: expected a whole number above 0, got {number}")
    path = find("workloads", name_or_path)
    if path.suffix == ".csv":
        return _topology(path, batch, accumulate, phase)
    return _model(specs.load(path, batch, accumulate), phase, cache or stored.default_folder())


def _topology(path: Path, batch: int | None, accumulate: int | None, phase: str) -> Captured:
    if accumulate not in (None, 1):
        raise InputError(
            f"{shown(path)}: a topology file has no gradients to accumulate, got {accumulate} micro-batches; "
            "leave out accumulate"
        )
    if batch not in (None, 1):
        raise InputError(f"{shown(path)}: a topology file has batch 1, got {batch}; leave out the batch")
    spec = {"topology": path.name, "batch": 1, "phase": "forward"}
    del phase  # a topology has no other phase than forward
    files = ((str(path.resolve()), stored.file_hash(path)),)
    return Captured(topology.load(path), spec, files, False)


def _model(workload: specs.Workload, phase: str, folder: Path) -> Captured:
    spec = {**workload.spec.model_dump(mode="json"), "name": workload.name, "phase": phase}
    lowered_by = _plugins(workload)
    made_with = {**spec, "plugins": [p.identity for p in lowered_by.values()]}
    key = stored.key_of(made_with, str(workload.path.resolve()), phase)
    found = stored.load(folder, key)
    if found is not None:
        return Captured(found[0], spec, found[1], True)
    graph, files = _capture(workload, phase, lowered_by)
    stored.save(folder, key, graph, files)
    return Captured(graph, spec, files, False)


def _plugins(workload: specs.Workload) -> dict[str, plugins.Plugin]:
    """Return the plug-ins that the workload names, by the op that each lowers."""
    found = {}
    for name in workload.spec.lowering:
        plugin = plugins.find(plugins.LOWERING, name)
        if plugin is None:
            hint = did_you_mean(name, plugins.names(plugins.LOWERING))
            hint = hint or f"; there are: {plugins.listed(plugins.LOWERING)}"
            what = f'no installed plug-in ({plugins.LOWERING}) lowers "{name}"{hint}'
            raise workload.fault("lowering", what)
        found[name] = plugin
    return found


def _capture(
    workload: specs.Workload, phase: str, lowered_by: Mapping[str, plugins.Plugin]
) -> tuple[Graph, stored.Files]:
    from accelsim.frontend.capture import capture  # torch comes with these two
    from accelsim.frontend.lower.walk import lower

    imports = stored.Imports()
    step = capture(workload, phase)
    graph = lower(step, workload.name, workload.spec.batch, lowered_by)
    graph = replace(graph, notes=(*graph.notes, *_notes(workload.spec, phase)))
    own = [workload.path, *map(Path, workload.labels)]
    if workload.model_file:
        own.append(workload.model_file)
    return graph, imports.files(workload.module_name, own)


def _notes(spec: specs.WorkloadSpec, phase: str) -> list[str]:
    """Return what a reader of the figures has to know of how the step is run."""
    notes = []
    if spec.accumulate > 1:
        summed = "" if phase == "forward" else ", whose gradients are summed before one update"
        notes.append(
            f"the batch goes through in {spec.accumulate} micro-batches of {spec.micro_batch}{summed}"
        )
    if spec.checkpoint.modules and phase != "forward":
        globs = ", ".join(spec.checkpoint.modules)
        notes.append(f"activation checkpointing: backward computes the forward of {globs} again (recompute)")
    return notes
