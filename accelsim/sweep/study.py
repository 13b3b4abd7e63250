"""Studies: a folder with the sweep's file, the ids of its points and the search's journal.

    runs/sweeps/<name>/  sweep.toml  study.json  points.txt  optuna.journal

Candidates and points lie in the database that ``study.json`` names.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from accelsim import MODEL_VERSION
from accelsim.config.faults import did_you_mean
from accelsim.errors import InputError
from accelsim.sweep.store import Store, StudyRow, is_url

STUDIES: Final = Path("runs") / "sweeps"
POINTS: Final = Path("runs") / "points.sqlite"
TOML, ABOUT, IDS, LOCK = "sweep.toml", "study.json", "points.txt", ".lock"


@dataclass(frozen=True, slots=True)
class About:
    """``study.json``: where the points are, and what the study was made by."""

    name: str
    points: str
    digest: str
    model_version: str
    source: str


@dataclass(frozen=True, slots=True)
class Study:
    """A study: its folder, and what it says of itself."""

    path: Path
    about: About

    @property
    def name(self) -> str:
        """Its name in the database."""
        return self.about.name

    @property
    def roots(self) -> tuple[Path, ...]:
        """The folders whose ``runs`` it lies in, by its path and with links followed: it was swept there."""
        paths = Path(os.path.abspath(self.path)), self.path.resolve()
        return tuple([path, *path.parents][:4][-1] for path in paths)

    @property
    def points(self) -> str:
        """The file or URL of its points; a relative file is read from ``roots``, wherever we are."""
        where = self.about.points
        if is_url(where) or Path(where).is_absolute() or self.roots[0] == Path.cwd():
            return where
        files = [root / where for root in self.roots]
        return str(next((file for file in (*files, Path(where)) if file.is_file()), files[0]))

    @property
    def sources(self) -> list[Path]:
        """Where the sweep's file may lie: as it was, or beside ``runs`` if it was moved with that."""
        source = Path(self.about.source)
        return [source, *(root / source.name for root in self.roots)]

    def store(self) -> Store:
        """Open the database of its points, to run the study."""
        return Store(self.points)

    def opened(self) -> Store:
        """Open the database of its points, to read.

        Raises:
            InputError: It is not where the study says.
        """
        if not is_url(self.points) and not Path(self.points).is_file():
            raise InputError(
                f"study {self.name}: its points lie in {self.points}, which is not there; "
                "a study is moved with the folder runs that it lies in"
            )
        return Store(self.points, read_only=True)


def open_study(name_or_path: str) -> Study:
    """Return a study by its folder, or its name in ``runs/sweeps``.

    Raises:
        InputError: There is none.
    """
    path = Path(name_or_path)
    if not (path / ABOUT).is_file():
        path = STUDIES / name_or_path
    if not (path / ABOUT).is_file():
        known = sorted(p.parent.name for p in STUDIES.glob(f"*/{ABOUT}"))
        there = f"; there are {', '.join(known)}" if known else "; `accelsim sweep FILE` makes one"
        raise InputError(f'no study "{name_or_path}"{did_you_mean(name_or_path, known) or there}')
    try:
        return Study(path, About(**json.loads((path / ABOUT).read_text(encoding="utf-8"))))
    except (ValueError, TypeError):
        raise InputError(
            f"{path / ABOUT}: is damaged; remove the folder, the points are kept elsewhere"
        ) from None


def started(name: str, points: str, digest: str, source: Path, resume: bool) -> Study:
    """Return the study ``name`` of the sweep at ``source``, made now or, to be resumed, before.

    Raises:
        InputError: It is there and not to be resumed, or was made of something else.
    """
    path = STUDIES / name
    fresh = Study(path, About(name, points, digest, MODEL_VERSION, str(source.resolve())))
    if (path / ABOUT).is_file():
        _check(open_study(str(path)), fresh, resume, points)
        return fresh if is_url(points) else replace(fresh, about=open_study(str(path)).about)
    path.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, path / TOML)
    _write(path / ABOUT, json.dumps(asdict(fresh.about), indent=1, sort_keys=True) + "\n")
    return fresh


def entered(study: Study, store: Store) -> None:
    """Enter the study into its database, where another controller may have done so before.

    Raises:
        InputError: Another study has this name there.
    """
    about = study.about
    if not (study.path / IDS).is_file() and not store.shared:
        store.forget(about.name)  # of a folder that was removed
        _write(study.path / IDS, "")
    toml = (study.path / TOML).read_text(encoding="utf-8")
    store.add_study(StudyRow(about.name, about.digest, about.model_version, toml))
    there = store.study(about.name)
    if there is not None and there.model_version != MODEL_VERSION:
        raise InputError(_other_version(about.name, there.model_version))
    if there is not None and there.digest != about.digest:
        raise InputError(f"{about.points}: has another study of the name {about.name}; use --study NEW")


def _check(there: Study, fresh: Study, resume: bool, points: str) -> None:
    name, about = fresh.name, there.about
    if about.model_version != MODEL_VERSION:
        raise InputError(_other_version(name, about.model_version))
    if about.digest != fresh.about.digest:
        raise InputError(
            f"study {name}: was made of another sweep: the file, its base or its workload has changed since; "
            f"use --study NEW to start another one"
        )
    if not resume:
        raise InputError(
            f"study {name}: is there already; --resume goes on with it, --study NEW starts another"
        )
    if Path(about.points) != Path(points) and about.points != points:
        raise InputError(f"study {name}: has its points in {about.points}; leave out --points, or give that")


def _other_version(name: str, version: str) -> str:
    return (
        f"study {name}: was made by model version {version}, this is {MODEL_VERSION}, and their figures do "
        "not go together; use --study NEW to start another one"
    )


def points_of(name: str) -> str | None:
    """Return where the study ``name`` has its points, if it is there."""
    path = STUDIES / name
    return open_study(str(path)).about.points if (path / ABOUT).is_file() else None


def there(name: str) -> bool:
    """Return whether there is a folder of that name."""
    return (STUDIES / name).exists()


@contextmanager
def undone_if_it_fails(study: Study, fresh: bool, store: Store | None = None) -> Iterator[None]:
    """Remove a ``fresh`` study that ends by an exception before any of its points was begun."""
    try:
        yield
    except BaseException:
        if fresh and (store is None or not store.begun(study.name)):
            if store is not None and not store.shared:
                store.forget(study.name)
            shutil.rmtree(study.path)
        raise


@contextmanager
def alone(study: Study) -> Iterator[None]:
    """Hold the study's lock: one controller for a folder; the system frees it however we end.

    Raises:
        InputError: Another controller has it.
    """
    with (study.path / LOCK).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"study {study.name}: another `accelsim sweep` is running it") from None
        yield


def write_ids(study: Study, store: Store) -> None:
    """Write ``points.txt``: the ids of the study's points, by candidate."""
    ids = dict.fromkeys(one for row in store.candidates(study.name) for one in row.ids)
    _write(study.path / IDS, "".join(f"{one}\n" for one in ids))


def _write(path: Path, text: str) -> None:
    """Write a file in one piece."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, encoding="utf-8")
    os.replace(new, path)


def plain(study: Study) -> dict[str, Any]:
    """Return what ``--json`` tells of a study itself."""
    return {"study": study.name, "folder": str(study.path), "points_in": study.about.points}
