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
import zlib
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from accelsim.config.mappingfile import MappingFileSpec
from accelsim.config.origins import Origins
from accelsim.frontend.cache import default_folder
from accelsim.graph.ir import Graph
from accelsim.program import store
from accelsim.program.program import Program
from accelsim.resolve.machine import Machine
from accelsim.trace.folder import canonical_json

PACKAGE = Path(__file__).resolve().parents[1]
SOURCES = ("mapping", "program", "graph", "resolve", "geometry.py", "words.py")  # what decides a program
SUFFIX = ".program"


class Mapped(NamedTuple):
    """A program, and the text of ``mapping.json`` that says what else the mapper had."""

    program: Program
    record: str


def program_of(
    graph: Graph,
    graph_hash: str,
    machine: Machine,
    *,
    cold: bool = False,
    progress: Callable[[int, int], None] | None = None,
    folder: Path | None = None,
) -> Program:
    """Return the program of ``mapped_of``."""
    return mapped_of(graph, graph_hash, machine, cold=cold, progress=progress, folder=folder).program


def mapped_of(
    graph: Graph,
    graph_hash: str,
    machine: Machine,
    *,
    cold: bool = False,
    progress: Callable[[int, int], None] | None = None,
    folder: Path | None = None,
    by_hand: tuple[MappingFileSpec, Origins] | None = None,
) -> Mapped:
    """Return the program of ``graph`` on ``machine`` and its record, mapped now or before.

    Args:
        graph_hash: ``graph.store.content_hash`` of the graph.
        folder: Where entries are; ``programs`` in the user's cache folder if None.
        by_hand: A mapping file, and where its keys stand.

    Raises:
        ConfigError: if the mapping file does not fit.
        MappingError: if the scratchpad cannot hold a kernel's smallest tile.
    """
    folder = folder or default_folder() / "programs"
    path = folder / (key_of(graph_hash, machine, cold, by_hand[0].sha256 if by_hand else "") + SUFFIX)
    found = _load(path)
    if found is None:
        from accelsim.mapping import mapped

        program, record = mapped(graph, machine, cold=cold, progress=progress, by_hand=by_hand)
        found = Mapped(program, canonical_json(record))
        _save(path, found)
    return found


def key_of(graph_hash: str, machine: Machine, cold: bool, given_hash: str = "") -> str:
    """Return the name of the entry. The order of a machine's banks counts, that of other keys does not.

    ``given_hash`` is of a mapping file.
    """
    order = list(machine.banks)
    what = [graph_hash, order, asdict(machine), cold, version("numpy"), _source_hash(PACKAGE), given_hash]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def _source_hash(package: Path) -> str:
    """Return a hash of the code that makes programs, so that an edit of it is noticed."""
    digest = hashlib.sha256()
    for name in SOURCES:
        source = package / name
        for path in sorted(source.rglob("*.py")) if source.is_dir() else [source]:
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _load(path: Path) -> Mapped | None:
    try:
        size, _, rest = path.read_bytes().partition(b"\n")
        record, program = rest[: int(size)], rest[int(size) :]
        digest, _, packed = record.partition(b"\n")
        if hashlib.sha256(packed).hexdigest().encode() != digest:
            return None
        return Mapped(store.loads(program), zlib.decompress(packed).decode())
    except (OSError, ValueError, zlib.error):
        return None  # absent, broken or outdated: mapped anew


def _save(path: Path, found: Mapped) -> None:
    """Write an entry in one piece; a folder that cannot be written is no error.

    First the size of the packed record, then the record and the program, each after its checksum.
    """
    packed = zlib.compress(found.record.encode(), level=1)
    record = hashlib.sha256(packed).hexdigest().encode() + b"\n" + packed
    data = str(len(record)).encode() + b"\n" + record + store.dumps(found.program)
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
