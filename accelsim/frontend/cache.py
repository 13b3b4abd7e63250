"""Captured graphs on disk, found again by content: a warm run imports no torch.

An entry is named by the hash of the resolved workload, torch's version and ours; it lists every file that
the capture imported from outside of installed packages, with its hash, and holds if none has changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import sysconfig
import tempfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from accelsim.errors import GraphError
from accelsim.graph import store
from accelsim.graph.ir import Graph

VERSION = 1
Files = tuple[tuple[str, str], ...]


def default_folder() -> Path:
    """Return ``$ACCELSIM_CACHE``, or ``accelsim`` in the user's cache folder."""
    if own := os.environ.get("ACCELSIM_CACHE"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "accelsim"


def key_of(spec: dict[str, Any], source: str, phase: str) -> str:
    """Return the name of the entry for a resolved workload in the file ``source``."""
    makers = [version_of("torch"), version_of("transformers")]  # whose code decides what is captured
    what = [VERSION, store.FORMAT_VERSION, _own_hash(), makers, source, phase, spec]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def version_of(package: str) -> str:
    """Return the version of an installed package, without importing it; "none" if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"


def _own_hash() -> str:
    """Return a hash of the code that makes graphs, so that an edit of it is noticed."""
    here = Path(__file__).resolve().parent
    digest = hashlib.sha256()
    for path in sorted([*here.rglob("*.py"), *(here.parent / "graph").glob("*.py")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def load(folder: Path, key: str) -> tuple[Graph, Files] | None:
    """Return the entry ``key`` if it is there and its files are unchanged."""
    try:
        plain = json.loads((folder / f"{key}.json").read_bytes())
        files: Files = tuple((path, digest) for path, digest in plain["files"])
        if any(file_hash(Path(path)) != digest for path, digest in files):
            return None
        return store.from_plain(plain["graph"]), files
    except (OSError, ValueError, KeyError, TypeError, GraphError):
        return None  # absent, broken or outdated: captured anew


def save(folder: Path, key: str, graph: Graph, files: Files) -> None:
    """Write the entry ``key`` in one piece; a folder that cannot be written is no error."""
    text = json.dumps(
        {"files": files, "torch": version_of("torch"), "graph": store.to_plain(graph)},
        sort_keys=True,
        separators=(",", ":"),
    )
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=".new-")
        try:
            with os.fdopen(handle, "w") as file:
                file.write(text)
            os.replace(temporary, folder / f"{key}.json")
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, or an empty string if it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


class Imports:
    """Notes which of the user's files a capture imports.

    What an earlier capture imported is imported anew, so that it is noticed and an edit takes effect.
    """

    _earlier: ClassVar[dict[str, None]] = {}

    def __init__(self) -> None:
        for name in self._earlier:
            sys.modules.pop(name, None)
        self._before = dict.fromkeys(sys.modules)

    def files(self, module: str, also: Iterable[Path]) -> Files:
        """Return the user's files imported since, those that ``module`` refers to, and ``also``; sorted.

        Files of the standard library, of installed packages and of accelsim do not count: versions do.
        """
        new = [name for name in list(sys.modules) if name not in self._before]
        paths = {str(path.resolve()): None for path in also}
        for name in dict.fromkeys([*new, *_referred(module)]):
            source = getattr(sys.modules.get(name), "__file__", None)
            if source and not _foreign(Path(source).resolve()):
                paths[str(Path(source).resolve())] = None
                if name in new:
                    self._earlier[name] = None
        return tuple((path, file_hash(Path(path))) for path in sorted(paths))


def _referred(start: str) -> list[str]:
    """Return the modules of the user's that ``start`` and its objects come from, directly or not."""
    found: dict[str, None] = {}
    todo = [start]
    while todo:
        name = todo.pop()
        module = sys.modules.get(name)
        source = getattr(module, "__file__", None)
        if name in found or not source or _foreign(Path(source).resolve()):
            continue
        found[name] = None
        for value in vars(module).values():
            origin = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
            if isinstance(origin, str):
                todo.append(origin)
    return list(found)


def _foreign(path: Path) -> bool:
    installed = [sysconfig.get_path(k) for k in ("stdlib", "platstdlib", "purelib", "platlib")]
    own = str(Path(__file__).resolve().parents[1])
    folders = [*installed, own, sys.base_prefix + "/lib"]
    return any(str(path).startswith(str(Path(f).resolve()) + os.sep) for f in folders)
