"""Mapped programs on disk, found again by all that decides them: a warm run maps nothing.

Entries lie beside the captured graphs. An entry is named by the hash of the resolved machine, the graph,
whether the step is the first one, numpy's version, and the source of whatever turns these into a program.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from accelsim.frontend.cache import default_folder
from accelsim.graph.ir import Graph
from accelsim.program import store
from accelsim.program.program import Program
from accelsim.resolve.machine import Machine

PACKAGE = Path(__file__).resolve().parents[1]
SOURCES = ("mapping", "program", "graph", "resolve", "geometry.py", "words.py")  # what decides a program
SUFFIX = ".program"


def program_of(
    graph: Graph,
    graph_hash: str,
    machine: Machine,
    *,
    cold: bool = False,
    progress: Callable[[int, int], None] | None = None,
    folder: Path | None = None,
) -> Program:
    """Return the program of ``graph`` on ``machine``, mapped now or before.

    Args:
        graph_hash: ``graph.store.content_hash`` of the graph.
        folder: Where entries are; ``programs`` in the user's cache folder if None.

    Raises:
        MappingError: if the scratchpad cannot hold a kernel's smallest tile.
    """
    folder = folder or default_folder() / "programs"
    path = folder / (key_of(graph_hash, machine, cold) + SUFFIX)
    found = _load(path)
    if found is None:
        from accelsim.mapping import map_graph

        found = map_graph(graph, machine, cold=cold, progress=progress)
        _save(path, found)
    return found


def key_of(graph_hash: str, machine: Machine, cold: bool) -> str:
    """Return the name of the entry. The order of a machine's banks counts, that of other keys does not."""
    order = list(machine.banks)
    what = [graph_hash, order, asdict(machine), cold, version("numpy"), _source_hash(PACKAGE)]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def _source_hash(package: Path) -> str:
    """Return a hash of the code that makes programs, so that an edit of it is noticed."""
    digest = hashlib.sha256()
    for name in SOURCES:
        source = package / name
        for path in sorted(source.rglob("*.py")) if source.is_dir() else [source]:
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _load(path: Path) -> Program | None:
    try:
        return store.loads(path.read_bytes())
    except (OSError, ValueError):
        return None  # absent, broken or outdated: mapped anew


def _save(path: Path, program: Program) -> None:
    """Write an entry in one piece; a folder that cannot be written is no error."""
    data = store.dumps(program)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
