"""The run folder: written whole or not at all, and read back with checks.

    runs/<name>-<id>/  manifest.json  summary.json  mapping.json
                       ops.parquet  spans.parquet  energy.parquet  residencies.parquet
                       copies.parquet  errors.parquet: only of some runs

Everything is written into a hidden folder beside the target, which takes the target's place by renaming when
it is complete. A run that fails, meets a full disk or is interrupted leaves nothing behind.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from accelsim.errors import InputError, writing
from accelsim.trace import tables
from accelsim.trace.schema import EXTRA_TABLES, SCHEMA_VERSION, SPLIT, TABLES

if TYPE_CHECKING:
    from accelsim.trace.tables import Column

MANIFEST: Final = "manifest.json"
SUMMARY: Final = "summary.json"
MAPPING: Final = "mapping.json"
RESULTS: Final = (SUMMARY, *(f"{name}.parquet" for name in TABLES))  # decided by the run's id


class ResultsChanged(UserWarning):
    """A run's folder is replaced by one with the same id and other results."""


def canonical_json(value: Any) -> str:
    """Return the one JSON text of ``value``: sorted keys, one item a line, a newline at the end.

    >>> canonical_json({"b": 1, "a": [2]})
    '{\\n "a": [\\n  2\\n ],\\n "b": 1\\n}\\n'
    """
    return json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class RunFolder:
    """A run folder being written. ``path`` is where it will lie.

    Used as ``with RunFolder.create(...) as folder: folder.write_table(...)``; it appears as the block ends.
    """

    def __init__(self, path: Path, run_id: str, partial: Path) -> None:
        self.path = path
        self.run_id = run_id
        self._partial = partial

    @classmethod
    @contextmanager
    def create(
        cls, out: Path | None, default_name: str, run_id: str, force: bool = False
    ) -> Iterator[RunFolder]:
        """Open a folder for the run ``run_id`` at ``out``, or at ``runs/<default_name>-<run_id[:8]>``.

        Args:
            force: Replace what lies there, even if it is not the same run.

        Raises:
            InputError: Before anything is written, if something else lies there.
        """
        path = out if out is not None else Path("runs") / f"{default_name}-{run_id[:8]}"
        check_target(path, run_id, force)
        made = _make_parents(path.absolute().parent)
        try:
            partial = _partial_folder(path)
            try:
                folder = cls(path, run_id, partial)
                yield folder
                folder._finish()
            finally:
                shutil.rmtree(partial, ignore_errors=True)
        finally:
            for parent in made:  # the innermost first; those that hold the finished run stay
                with suppress(OSError):
                    parent.rmdir()

    def write_json(self, name: str, value: Any) -> None:
        """Write ``value`` as canonical JSON to the file ``name``."""
        (self._partial / name).write_text(canonical_json(value), encoding="utf-8")

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write ``summary.json``."""
        self.write_json(SUMMARY, summary)

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Write ``manifest.json``; id, schema and the hashes of all files are added when the run is whole."""
        self.write_json(MANIFEST, manifest)

    def write_text(self, name: str, text: str) -> None:
        """Write the file ``name``."""
        (self._partial / name).write_text(text, encoding="utf-8")

    def write_table(self, name: str, columns: Mapping[str, Column]) -> None:
        """Write the table ``name`` of ``trace.schema.TABLES``, with the columns of split tensors if given."""
        split = {c: kind for c, kind in SPLIT.items() if name == "residencies" and c in columns}
        tables.write_table(self._partial / f"{name}.parquet", TABLES[name] | split, columns)

    def write_extra(self, name: str, columns: Mapping[str, Column]) -> None:
        """Write the table ``name`` of ``trace.schema.EXTRA_TABLES``, which only some runs have."""
        tables.write_table(self._partial / f"{name}.parquet", EXTRA_TABLES[name], columns)

    def copy_file(self, source: Path) -> None:
        """Copy a file of another run as it is."""
        shutil.copyfile(source, self._partial / source.name)

    def _finish(self) -> None:
        missing = [n for n in (MANIFEST, *RESULTS) if not (self._partial / n).is_file()]
        if missing:
            raise ValueError(f"run folder {self.path} lacks {', '.join(missing)}")
        manifest = json.loads((self._partial / MANIFEST).read_text(encoding="utf-8"))
        files = {f.name: _sha256(f) for f in sorted(self._partial.iterdir()) if f.name != MANIFEST}
        self.write_manifest({**manifest, "schema": SCHEMA_VERSION, "id": self.run_id, "files": files})
        self._warn_if_changed(files)
        self._partial.chmod(0o755)  # mkdtemp made it private
        _replace(self._partial, self.path)

    def _warn_if_changed(self, files: Mapping[str, str]) -> None:
        """Compare with the folder to be replaced, if it is the same run."""
        before = _manifest(self.path)
        if before is None or before.get("id") != self.run_id:
            return
        extra = [f"{n}.parquet" for n in EXTRA_TABLES]
        extra += [MAPPING] if MAPPING in before.get("files", {}) else []  # older runs have none
        changed = [n for n in (*RESULTS, *extra) if before.get("files", {}).get(n) != files.get(n)]
        damaged = [n for n, sha in before.get("files", {}).items() if not _has(self.path / n, sha)]
        if changed:
            text = f"the same run gave other results before ({', '.join(changed)}); replaced"
        elif damaged:
            text = f"had been changed since it was written ({', '.join(sorted(damaged))}); replaced"
        else:
            return
        warnings.warn(f"{self.path}: {text}", ResultsChanged, stacklevel=4)


def _has(path: Path, sha256: str) -> bool:
    return path.is_file() and _sha256(path) == sha256


def _partial_folder(path: Path) -> Path:
    with writing(path):
        return Path(tempfile.mkdtemp(".partial", f".{path.name}.", path.absolute().parent))


def _make_parents(folder: Path) -> list[Path]:
    """Make ``folder`` and return those that had to be made, the innermost first."""
    made = [p for p in (folder, *folder.parents) if not p.exists()]
    with writing(folder, what="be made"):
        folder.mkdir(parents=True, exist_ok=True)
    return made


def _replace(new: Path, target: Path) -> None:
    """Put ``new`` where ``target`` is. Both names are in one folder, so that renaming is enough."""
    if target.exists():
        old = Path(tempfile.mkdtemp(".old", f".{target.name}.", new.parent))
        target.rename(old)
        try:
            new.rename(target)
        except BaseException:
            old.rename(target)
            raise
        shutil.rmtree(old, ignore_errors=True)
    else:
        new.rename(target)


def check_target(path: Path, run_id: str, force: bool) -> None:
    """Refuse a target that holds something else than the run ``run_id``.

    With ``force`` any folder of plain files is replaced. One that has subfolders never is: it is no run
    folder, and ``--out ~ --force`` must not empty a home directory.
    """
    if not path.exists() and not path.is_symlink():
        return
    if path.is_symlink() or not path.is_dir():
        raise InputError(f"{path}: exists and is not a folder; give --out another name")
    inside = sorted(path.iterdir())
    found = _manifest(path)
    if not inside or (found is not None and found.get("id") == run_id):
        return
    if any(f.is_dir() for f in inside):
        raise InputError(f"{path}: is not a run folder (it has subfolders); give --out another name")
    if not force:
        what = (
            f"holds another run ({str(found.get('id'))[:8]})" if found is not None else "is not a run folder"
        )
        raise InputError(f"{path}: {what}; give --out another name, or --force to replace it")


def _manifest(path: Path) -> dict[str, Any] | None:
    """Return the manifest of the run folder ``path``, or None if it is none."""
    try:
        found = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "id" in found and "schema" in found else None
