"""The trainings of a search: each done once, logged when it is done, resumed where it stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from accelsim.errors import RunError
from accelsim.train.files import CHECKPOINTS, LOG, Log
from accelsim.train.sensitivity.decision import Verdict
from accelsim.train.sensitivity.targets import Target
from accelsim.train.table import TableProfile
from accelsim.train.trainer import Case, Row, Setup, Trainer, silent

KEY: Final = ("roles", "layer", "rate", "seed")  # what names a training


@dataclass(frozen=True, slots=True)
class Observer:
    """Who is told what happens.

    Attributes:
        plan: The largest number of trainings that there may be.
        step: Training, its steps in all, those done, the loss.
        trained: Training, its row of the log, and whether it comes from the log.
        decided: Target, rate, verdict.
    """

    plan: Callable[[int], None] = silent
    step: Callable[[str, int, int, float], None] = silent
    trained: Callable[[str, Row, bool], None] = silent
    decided: Callable[[Target, float, Verdict], None] = silent


class Trainings:
    """Trains what has not been trained yet; the log in ``folder`` tells what has."""

    def __init__(self, setup: Setup, folder: Path, observer: Observer) -> None:
        self._setup = setup
        self._folder = folder
        self._observer = observer
        self._log = Log(folder / LOG, KEY)
        self._done = {tuple(row[column] for column in KEY): row for row in self._log.rows}

    def clean(self, seed: int) -> Row:
        """Return the training without errors, stored in the same format as those with errors.

        Raises:
            RunError: Its loss is not finite: there is nothing to compare with.
        """
        stored = self._setup.options.get("storage_format") is not None
        case = Case("none", TableProfile({}) if stored else None)
        row = self._trained(f"no errors, seed {seed}", ("", "", 0.0, seed), case)
        if row["diverged_step"] is not None:
            raise RunError(
                f"the training without errors diverged at step {row['diverged_step']} with seed {seed}: "
                "there is nothing to compare with"
            )
        return row

    def of(self, target: Target, rate: float, seed: int) -> Row:
        """Return the training with errors of ``rate`` in ``target``."""
        name = f"{target} at {rate:g}, seed {seed}"
        key = (target.roles, target.layer, rate, seed)
        return self._trained(name, key, Case(str(target), target.profile(rate)))

    def _trained(self, name: str, key: tuple[str, str, float, int], case: Case) -> Row:
        checkpoint = self._folder / CHECKPOINTS / f"{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}.pt"
        known = self._done.get(key)
        if known is None:
            trainer = Trainer(self._setup, case, key[-1], checkpoint)
            rows = trainer.run(on_step=partial(self._observer.step, name, trainer.steps))
            known = self._done[key] = {**dict(zip(KEY, key, strict=True)), **_outcome(rows)}
            self._log.add(known)
            self._observer.trained(name, known, False)
        else:
            self._observer.trained(name, known, True)
        checkpoint.unlink(missing_ok=True)
        return known


def _outcome(rows: list[Row]) -> Row:
    """Return what counts of a training: its accuracy is that after the last epoch, 0 if it diverged."""
    last = rows[-1]
    return {
        "accuracy": last["accuracy"] if last["diverged_step"] is None else 0.0,
        "diverged_step": last["diverged_step"],
        "steps": last["steps"],
        "flips": sum(n for row in rows for causes in row["flips"].values() for n in causes.values()),
        "non_finite": sum(row["non_finite"] for row in rows),
    }
