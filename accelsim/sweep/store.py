"""The points that are done, the studies, and which candidate of a study has which points: one database.

An SQLite file by default, PostgreSQL by URL for several controllers; the same statements for both. A point is
claimed before it is run, with a lease that its controller renews: what a killed one had claimed is taken over
at once where its process is known to be gone, else as the lease ends.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Engine

from accelsim import MODEL_VERSION
from accelsim.errors import InputError
from accelsim.sweep.evaluate import Outcome, key_sorted
from accelsim.sweep.places import refuse_no_folder

LEASE_S: Final = 60.0
MANY: Final = 500  # ids in one statement
_META: Final = sa.MetaData()
POINTS: Final = sa.Table(
    "points",
    _META,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("state", sa.String(8), nullable=False),  # running | done | failed
    sa.Column("figures", sa.Text),  # JSON
    sa.Column("error", sa.Text),
    sa.Column("wall_s", sa.Float),
    sa.Column("model_version", sa.String(16), nullable=False),
    sa.Column("owner", sa.String(200)),
    sa.Column("lease", sa.Float),
)
STUDIES: Final = sa.Table(
    "sweeps",  # Optuna has a table of studies
    _META,
    sa.Column("name", sa.String(200), primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("model_version", sa.String(16), nullable=False),
    sa.Column("toml", sa.Text, nullable=False),
)
CANDIDATES: Final = sa.Table(
    "candidates",
    _META,
    sa.Column("study", sa.String(200), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("state", sa.String(12), nullable=False),  # open | done | failed | infeasible | ...
    sa.Column("params", sa.Text, nullable=False),  # JSON, as are settings and ids
    sa.Column("settings", sa.Text, nullable=False),
    sa.Column("ids", sa.Text, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Row:
    """A candidate of a study, and the figures of its points."""

    number: int
    state: str
    params: dict[str, Any]
    settings: dict[str, Any]
    ids: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class StudyRow:
    """What a database knows of a study itself."""

    name: str
    digest: str
    model_version: str
    toml: str


class Store:
    """The database at a file or URL."""

    def __init__(self, where: str, *, read_only: bool = False) -> None:
        """Open it, and make its tables where there are none.

        Args:
            where: A file or URL.
            read_only: Make nothing: what is not there is an error.

        Raises:
            InputError: It cannot be opened.
        """
        self.where = where
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self.engine = _engine(where, read_only)
        try:
            if not read_only:
                with self.engine.begin() as connection:
                    _make_tables(connection)
            elif not sa.inspect(self.engine).has_table(CANDIDATES.name):
                raise InputError(f"{_shown(where)}: has no points of sweeps")
        except sa.exc.SQLAlchemyError as exc:
            raise InputError(f"--points {_shown(where)}: cannot be opened: {_reason(exc)}") from None

    @property
    def shared(self) -> bool:
        """Whether it is a database server, not a file."""
        return self.engine.dialect.name != "sqlite"

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self.engine.begin() as connection:
            yield connection

    def _insert(self, table: sa.Table) -> Any:
        return (postgresql if self.shared else sqlite).insert(table)

    # -- points ----------------------------------------------------------------------------------

    def claim(self, ids: Sequence[str], retry: bool = False) -> set[str]:
        """Return those of ``ids`` that are ours to run from now on; others are done, or being run.

        ``retry`` also takes those that failed.
        """
        now, ours = time.time(), set()
        mine = {
            "state": "running",
            "owner": self.owner,
            "lease": now + LEASE_S,
            "model_version": MODEL_VERSION,
        }
        with self._writing() as connection:
            for one in ids:
                new = self._insert(POINTS).values(id=one, **mine).on_conflict_do_nothing()
                taken = connection.execute(new.returning(POINTS.c.id)).first()
                if taken is None:
                    freed = self._takeover(one, now, retry).values(**mine, error=None).returning(POINTS.c.id)
                    taken = connection.execute(freed).first()
                if taken is not None:
                    ours.add(one)
        return ours

    def _takeover(self, one: str, now: float, retry: bool) -> Any:
        free = (
            (POINTS.c.state == "running")
            & (POINTS.c.owner != self.owner)
            & ((POINTS.c.lease < now) | POINTS.c.owner.in_(self._dead_owners()))
        )
        if retry:
            free |= POINTS.c.state == "failed"
        return sa.update(POINTS).where(POINTS.c.id == one, free)

    def _dead_owners(self) -> list[str]:
        """Return the owners of running points that were processes of this machine and are gone."""
        running = sa.select(POINTS.c.owner).where(POINTS.c.state == "running").distinct()
        with self.engine.connect() as connection:
            owners = [str(row[0]) for row in connection.execute(running)]
        here = socket.gethostname()
        return [o for o in owners if o.startswith(f"{here}:") and not _alive(int(o.split(":")[1]))]

    def renew(self) -> None:
        """Renew the lease of all that we have claimed."""
        mine = (POINTS.c.owner == self.owner) & (POINTS.c.state == "running")
        with self._writing() as connection:
            connection.execute(sa.update(POINTS).where(mine).values(lease=time.time() + LEASE_S))

    def release(self) -> None:
        """Give up all that we have claimed and not done."""
        mine = (POINTS.c.owner == self.owner) & (POINTS.c.state == "running")
        with self._writing() as connection:
            connection.execute(sa.delete(POINTS).where(mine))

    def finish(self, outcomes: Iterable[Outcome]) -> None:
        """Enter outcomes. What is done stays as it is."""
        with self._writing() as connection:
            for o in outcomes:
                values = {
                    "state": "failed" if o.figures is None else "done",
                    "figures": None if o.figures is None else key_sorted(o.figures),
                    "error": o.error or None,
                    "wall_s": round(o.wall_s, 6),
                    "owner": None,
                    "lease": None,
                }
                at = (POINTS.c.id == o.id) & (POINTS.c.state != "done")
                connection.execute(sa.update(POINTS).where(at).values(**values))

    def outcomes(self, ids: Iterable[str]) -> dict[str, Outcome]:
        """Return those of ``ids`` that are done or failed."""
        found, listed = {}, list(dict.fromkeys(ids))
        with self.engine.connect() as connection:
            for i in range(0, len(listed), MANY):
                wanted = POINTS.c.id.in_(listed[i : i + MANY]) & (POINTS.c.state != "running")
                for row in connection.execute(sa.select(POINTS).where(wanted)).mappings():
                    figures = json.loads(row["figures"]) if row["figures"] else None
                    found[row["id"]] = Outcome(row["id"], figures, row["error"] or "", row["wall_s"] or 0.0)
        return found

    # -- studies ---------------------------------------------------------------------------------

    def study(self, name: str) -> StudyRow | None:
        """Return the study ``name``, if there is one."""
        with self.engine.connect() as connection:
            row = connection.execute(sa.select(STUDIES).where(STUDIES.c.name == name)).mappings().first()
        return StudyRow(**dict(row)) if row else None

    def add_study(self, study: StudyRow) -> None:
        """Enter a study; one of that name that is there stays."""
        values = {f: getattr(study, f) for f in ("name", "digest", "model_version", "toml")}
        with self._writing() as connection:
            connection.execute(self._insert(STUDIES).values(**values).on_conflict_do_nothing())

    def begun(self, study: str) -> bool:
        """Return whether a point of a study was run, or is being run."""
        rows = self.candidates(study)
        if any(row.state in ("done", "failed", "open") for row in rows):
            return True
        return bool(self.outcomes(one for row in rows for one in row.ids))

    def forget(self, study: str) -> None:
        """Remove a study and its candidates; points stay."""
        with self._writing() as connection:
            connection.execute(sa.delete(STUDIES).where(STUDIES.c.name == study))
            connection.execute(sa.delete(CANDIDATES).where(CANDIDATES.c.study == study))

    def candidates(self, study: str) -> list[Row]:
        """Return the candidates of a study, by number."""
        wanted = sa.select(CANDIDATES).where(CANDIDATES.c.study == study).order_by(CANDIDATES.c.number)
        with self.engine.connect() as connection:
            return [_row(r) for r in connection.execute(wanted).mappings()]

    def put(self, study: str, rows: Iterable[Row]) -> None:
        """Enter candidates, or their new state."""
        with self._writing() as connection:
            for row in rows:
                values = {
                    "state": row.state,
                    "params": json.dumps(row.params),
                    "settings": json.dumps(row.settings),
                    "ids": json.dumps(row.ids),
                    "why": row.why,
                }
                new = self._insert(CANDIDATES).values(study=study, number=row.number, **values)
                connection.execute(new.on_conflict_do_update(index_elements=["study", "number"], set_=values))


def _row(found: Any) -> Row:
    return Row(
        found["number"],
        found["state"],
        json.loads(found["params"]),
        json.loads(found["settings"]),
        tuple(json.loads(found["ids"])),
        found["why"],
    )


def is_url(where: str) -> bool:
    """Return whether ``where`` is a database's URL and not a file."""
    return "://" in where


def _engine(where: str, read_only: bool) -> Engine:
    if is_url(where):
        url = where.replace("postgresql://", "postgresql+psycopg://", 1)
        try:
            return sa.create_engine(url, pool_pre_ping=True, connect_args=_timeout(url))
        except (sa.exc.SQLAlchemyError, ImportError) as exc:
            raise InputError(f"--points {_shown(where)}: {_reason(exc)}") from None
    refuse_no_folder(Path(where), "--points")
    if read_only:
        return sa.create_engine(f"sqlite:///{_to_read(Path(where))}", connect_args={"timeout": 30})
    engine = sa.create_engine(f"sqlite:///{where}", connect_args={"timeout": 30})
    sa.event.listen(engine, "connect", _set_up_sqlite)
    return engine


def _to_read(file: Path) -> str:
    """Return a file as SQLite opens it without making it.

    Where we may not write, its log can be read if it is there; if not, nobody is writing.
    """
    how = "mode=rw"
    if not (os.access(file.parent, os.W_OK) and os.access(file, os.W_OK)):
        how = "mode=ro" if file.with_name(f"{file.name}-wal").exists() else "mode=ro&immutable=1"
    return f"{file.absolute().as_uri()}?{how}&uri=true"


def _timeout(url: str) -> dict[str, Any]:
    return {"connect_timeout": 8} if url.startswith("postgresql") else {}


def _set_up_sqlite(connection: Any, _: Any) -> None:
    """A write-ahead log: readers do not wait, and a commit costs no wait for the disk."""
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL"):
        connection.execute(f"PRAGMA {pragma}")


def _make_tables(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":  # two controllers may start at the same time
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(20231947)"))
    _META.create_all(connection)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _reason(exc: Exception) -> str:
    lines = str(getattr(exc, "orig", None) or exc).strip().splitlines()
    return lines[0] if lines else type(exc).__name__


def _shown(where: str) -> str:
    """Return a URL without its password."""
    return sa.engine.make_url(where).render_as_string() if is_url(where) else where
