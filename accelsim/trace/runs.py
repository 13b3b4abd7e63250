"""Reading run folders: open one by name or path, list those in a folder."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelsim.errors import InputError
from accelsim.trace import tables
from accelsim.trace.folder import MANIFEST, RESULTS, SUMMARY
from accelsim.trace.schema import EXTRA_TABLES, SCHEMA_VERSION, TABLES

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, its model results and what they were made from."""

    path: Path
    summary: dict[str, Any]
    manifest: dict[str, Any]

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.absolute().name

    def table(self, name: str) -> pa.Table:
        """Read the table ``name``: ops, spans, energy, residencies, or one that only some runs have."""
        extra = [n for n in EXTRA_TABLES if (self.path / f"{n}.parquet").is_file()]
        if name not in TABLES and name not in extra:
            raise InputError(f"{self.path}: no table {name!r}; there are {', '.join([*TABLES, *extra])}")
        return tables.read_table(self.path / f"{name}.parquet")


def open_run(name_or_path: str | Path, runs: Path | None = None) -> Run:
    """Open a run by its path, or by its name (or a unique beginning of it) in ``runs``.

    Args:
        runs: Where names are looked up; ``runs/`` in the working folder if not given.

    Raises:
        InputError: If there is no such run, or it is incomplete, or written under another schema.
    """
    path = _find(str(name_or_path), runs or Path("runs"))
    if not (path / MANIFEST).is_file():
        raise InputError(f"{path}: not a run folder (no {MANIFEST})")
    missing = [n for n in RESULTS if not (path / n).is_file()]
    if missing:
        raise InputError(f"{path}: incomplete run folder, lacks {', '.join(missing)}; run it again")
    manifest = _object(path / MANIFEST)
    if manifest.get("schema") != SCHEMA_VERSION:
        raise InputError(
            f"{path}: written under schema {manifest.get('schema')}, this accelsim reads {SCHEMA_VERSION}; "
            "run it again"
        )
    summary = _object(path / SUMMARY)
    if "time_ps" not in summary:
        raise InputError(f"{path / SUMMARY}: not the results of a run; run it again")
    return Run(path, summary, manifest)


def list_runs(folder: Path) -> tuple[list[Run], list[str]]:
    """Return the runs that lie directly in ``folder``, and the names of those that cannot be opened.

    What has no manifest is no run and passed over.
    """
    found, broken = [], []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if not path.name.startswith(".") and (path / MANIFEST).is_file():
            try:
                found.append(open_run(path))
            except InputError:  # `report` says why
                broken.append(path.name)
    return found, broken


def _find(name: str, runs: Path) -> Path:
    if Path(name).exists():
        return Path(name)
    known = sorted(p.name for p in runs.iterdir() if not p.name.startswith(".")) if runs.is_dir() else []
    matches = [k for k in known if k == name] or [k for k in known if k.startswith(name)]
    if len(matches) == 1:
        return runs / matches[0]
    if matches:
        raise InputError(f"{name}: names several runs in {runs}: {', '.join(matches)}")
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}?" if near else "`accelsim ls` lists the runs here"
    raise InputError(f"{name}: no such run, neither as a path nor in {runs}; {hint}")


def _object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as fault:
        raise InputError(f"{path}: not valid JSON ({fault}); run it again") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected a JSON object; run it again")
    return value
