"""The machines of a closed loop: simulated when they are first asked for, and kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelsim.run import simulate
from accelsim.trace.folder import canonical_json
from accelsim.trace.runs import Run, open_run
from accelsim.train.profile import FILE, RunProfile
from accelsim.train.remedies import Remedies

Stage = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Step:
    """A simulated step on one machine: its price, its profile, and the flips to be expected by role."""

    run: Run

    @property
    def time_ps(self) -> int:
        """Of a step, the gap to the next one included."""
        return int(self.run.summary["time_ps"] + self.run.summary["host_gap_ps"])

    @property
    def energy_pj(self) -> float:
        """Of a step."""
        return float(self.run.summary["energy_pj"]["total"])

    @property
    def flips(self) -> dict[str, float]:
        """Bits that are expected to be read wrong in a step, by role."""
        by_role = self.run.summary.get("errors", {}).get("by_role", {})
        return {role: sums["expected_flips"] for role, sums in by_role.items()}

    def profile(self) -> RunProfile:
        """Return its errors; none where no group errs."""
        return RunProfile.load(self.run.path) if (self.run.path / FILE).is_file() else RunProfile([])

    def json(self) -> dict[str, Any]:
        """Return its price."""
        return {"time_ps": self.time_ps, "energy_pj": self.energy_pj}


class Machines:
    """The machines of a loop, simulated when they are first asked for.

    Args:
        base: The run of the base machine.
        folder: Where the others' runs are kept.
        stage: Told of the simulation's progress.
    """

    def __init__(
        self,
        arch: str,
        workload: str,
        batch: int | None,
        remedies: Remedies,
        base: Path,
        folder: Path,
        stage: Stage | None,
    ) -> None:
        self.remedies = remedies
        self._arch, self._workload, self._batch = arch, workload, batch
        self._base, self._folder, self._stage = base, folder, stage

    def step(self, levels: Mapping[str, int]) -> Step:
        """Return the step on the machine of these levels.

        Raises:
            InputError: There can be no such machine.
        """
        settings = self.remedies.settings(levels)
        if not settings:
            return Step(open_run(self._base))
        named = {k: Path(v).name if k.endswith(".device") else v for k, v in settings.items()}
        folder = self._folder / hashlib.sha256(canonical_json(named).encode()).hexdigest()[:12]
        if not folder.is_dir():
            simulate(
                self._arch,
                self._workload,
                batch=self._batch,
                overrides=self.remedies.overrides(levels),
                out=folder,
                progress=self._stage,
            )
        return Step(open_run(folder))
