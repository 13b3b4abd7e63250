"""How much the errors of a machine harm a training, by role: by its file, by a probe, by flips alone."""

from __future__ import annotations

from typing import Final, Protocol

from accelsim.resolve.machine import Sensitivity
from accelsim.train.machines import Step
from accelsim.train.probe import WORST, Probe
from accelsim.train.profile import FILE
from accelsim.words import WRITE_BACK

_STRICT: Final = 1e-12  # of a tolerated rate of 0, to divide by


class Harms(Protocol):
    """Harm by role, in a unit of its own.

    Attributes:
        now: On the present machine.
    """

    @property
    def source(self) -> str:
        """Where it is from, for the log."""
        ...

    @property
    def now(self) -> dict[str, float]: ...

    def on(self, step: Step) -> dict[str, float]:
        """Return the harm to be expected on another machine."""
        ...


class BySensitivity:
    """The mean error rate of what is read, over the rate that the machine's file tolerates."""

    source = "sensitivity"

    def __init__(self, sensitivity: Sensitivity, step: Step) -> None:
        self._sensitivity = sensitivity
        self.now = self.on(step)

    def on(self, step: Step) -> dict[str, float]:
        """Return that of a machine's step."""
        if not (step.run.path / FILE).is_file():
            return {}
        found: dict[str, list[float]] = {}
        for row in step.run.table("errors").to_pylist():
            if row["reader_layer"] != WRITE_BACK:
                rate = max(self._sensitivity.of(row["role"], row["reader_layer"]).rate, _STRICT)
                into = found.setdefault(row["role"], [0.0, 0.0])
                into[0] += row["bits"] * row["p_total"] / rate
                into[1] += row["bits"]
        return {role: total / bits if bits else 0.0 for role, (total, bits) in sorted(found.items())}


class ByProbe:
    """The rise of the loss over a few steps with the errors of one role; elsewhere in proportion to flips.

    A role that does not err now, and would on another machine, is probed with that machine's errors.
    """

    source = "probe"

    def __init__(self, probe: Probe, step: Step) -> None:
        self._probe, self._flips = probe, step.flips
        erring = [role for role, flips in sorted(step.flips.items()) if flips > 0]
        self.now = probe.harms(step.profile(), erring)

    def on(self, step: Step) -> dict[str, float]:
        """Return that of another machine."""
        then = {role: flips for role, flips in sorted(step.flips.items()) if flips > 0}
        new = [role for role in then if role not in self.now]
        known = {
            role: min(WORST, self.now[role] * flips / self._flips[role])
            for role, flips in then.items()
            if role in self.now
        }
        return known | (self._probe.harms(step.profile(), new) if new else {})


class ByFlips:
    """The bits that are expected to be read wrong, each as harmful as any other."""

    source = "flips"

    def __init__(self, step: Step) -> None:
        self.now = self.on(step)

    def on(self, step: Step) -> dict[str, float]:
        """Return those of a machine's step."""
        return dict(sorted(step.flips.items()))
