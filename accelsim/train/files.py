"""The folder of a training: settings, a log that only grows, checkpoints that are whole."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import torch

from accelsim.errors import InputError, writing
from accelsim.trace.folder import canonical_json

SETTINGS: Final = "settings.json"
LOG: Final = "log.jsonl"
SUMMARY: Final = "training.json"
PLOT: Final = "accuracy.png"
CHECKPOINTS: Final = "checkpoints"
RUN: Final = "run"  # the simulated step
TRIED: Final = "loop"  # the steps of other machines that a closed loop looked at
DEVICES: Final = "devices"  # and what their cells are
DECISIONS: Final = "decisions.jsonl"
MACHINE: Final = "machine.toml"
EPOCH: Final = ("case", "seed", "epoch")  # what names a row of a training's log


def settings_id(settings: Mapping[str, Any]) -> str:
    """Return the hash by which a folder of these settings is called."""
    return hashlib.sha256(canonical_json(settings).encode()).hexdigest()[:8]


def write_whole(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path`` so that it is there whole or not at all, also if power fails."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Replace the checkpoint at ``path``."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        torch.save(dict(state), file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """Return the checkpoint at ``path``, which we wrote ourselves; None if there is none."""
    if not path.is_file():
        return None
    state: dict[str, Any] = torch.load(path, weights_only=False)
    return state


class Log:
    """Rows, one JSON object a line, each on disk before ``add`` returns; rows of one ``key`` are one row."""

    def __init__(self, path: Path, key: Sequence[str] = EPOCH) -> None:
        self._path = path
        self._key = key
        self.rows: list[dict[str, Any]] = []
        if path.is_file():
            whole = path.read_bytes().rpartition(b"\n")[0]  # a line cut short by a kill is written again
            self.rows = [json.loads(line) for line in whole.splitlines()]
            write_whole(path, whole + b"\n" if whole else b"")
        self._known = {self._name(row) for row in self.rows}

    def add(self, row: dict[str, Any]) -> bool:
        """Append ``row``; return False if it is there already, from before a resume."""
        if self._name(row) in self._known:
            return False
        self._known.add(self._name(row))
        self.rows.append(row)
        with self._path.open("ab") as file:
            file.write(json.dumps(row, sort_keys=True, allow_nan=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        return True

    def _name(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(row[column] for column in self._key)


@contextmanager
def training_folder(path: Path, settings: Mapping[str, Any], resume: bool) -> Iterator[Path]:
    """Open the folder of a training; bad input found before its first row leaves nothing behind.

    Raises:
        InputError: Something lies there that is not to be resumed, or is the training of other settings.
    """
    fresh = not (path / SETTINGS).is_file()
    if path.exists() and not path.is_dir():
        raise InputError(f"{path}: exists and is not a folder; give --out another name")
    if fresh and path.is_dir() and any(path.iterdir()):
        raise InputError(f"{path}: is not the folder of a training; give --out another name")
    if not fresh:
        _check_same(path, settings, resume)
    made = [p for p in (path, *path.absolute().parents) if not p.exists()]
    try:
        with writing(path):
            (path / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
            write_whole(path / SETTINGS, canonical_json(settings).encode())
        yield path
    except InputError:
        if fresh:
            _empty(path, made)
        raise


def _empty(path: Path, made: list[Path]) -> None:
    """Take away what was made: all that is in ``path``, and the folders ``made``."""
    for name in (CHECKPOINTS, RUN, TRIED, DEVICES):
        shutil.rmtree(path / name, ignore_errors=True)
    for take in ((path / SETTINGS).unlink, *(folder.rmdir for folder in made)):
        with suppress(OSError):  # it is not there, or others put something into it
            take()


def _check_same(path: Path, settings: Mapping[str, Any], resume: bool) -> None:
    if not resume:
        raise InputError(f"{path}: holds a training; --resume goes on with it, or give --out another name")
    before = json.loads((path / SETTINGS).read_text(encoding="utf-8"))
    now = json.loads(canonical_json(settings))
    differs = [k for k in sorted({*before, *now}) if before.get(k) != now.get(k)]
    if differs:
        pairs = ", ".join(f"{k}: {before.get(k)!r} there, {now.get(k)!r} now" for k in differs)
        raise InputError(f"{path}: the training of other settings ({pairs}); give --out another name")
