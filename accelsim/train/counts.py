"""What was injected: flips by role and cause, values that were not finite, and the first step with one."""

from __future__ import annotations

from collections import Counter
from typing import Any


class Counts:
    """Running totals; ``take`` gives what has come since the last call."""

    def __init__(self) -> None:
        self.flips: Counter[tuple[str, str]] = Counter()
        self.non_finite: Counter[str] = Counter()
        self.first_non_finite_step: int | None = None
        self._taken: Counter[tuple[str, str]] = Counter()
        self._taken_non_finite = 0

    def flip(self, role: str, cause: str, count: int) -> None:
        """Count ``count`` new wrong bits."""
        self.flips[role, cause] += count

    def not_finite(self, role: str, count: int, step: int) -> None:
        """Count ``count`` values that a read in step ``step`` (1 is the first) found not finite."""
        if count:
            self.non_finite[role] += count
            if self.first_non_finite_step is None:
                self.first_non_finite_step = step

    def by_role(self) -> dict[str, int]:
        """Return all flips so far by role."""
        totals: Counter[str] = Counter()
        for (role, _), count in self.flips.items():
            totals[role] += count
        return dict(sorted(totals.items()))

    def take(self) -> dict[str, Any]:
        """Return what has come since the last call: flips by role and cause, non-finite values."""
        new = self.flips - self._taken
        by_role: dict[str, dict[str, int]] = {}
        for (role, cause), count in sorted(new.items()):
            by_role.setdefault(role, {})[cause] = count
        total = self.non_finite.total()
        events, self._taken_non_finite = total - self._taken_non_finite, total
        self._taken = self.flips.copy()
        return {
            "flips": by_role,
            "non_finite": events,
            "first_non_finite_step": self.first_non_finite_step,
        }

    def state(self) -> dict[str, Any]:
        """Return plain data from which ``restore`` goes on."""
        return {
            "flips": [[*key, n] for key, n in sorted(self.flips.items())],
            "taken": [[*key, n] for key, n in sorted(self._taken.items())],
            "non_finite": dict(self.non_finite),
            "taken_non_finite": self._taken_non_finite,
            "first": self.first_non_finite_step,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from ``state``."""
        self.flips = Counter({(r, c): n for r, c, n in state["flips"]})
        self._taken = Counter({(r, c): n for r, c, n in state["taken"]})
        self.non_finite = Counter(state["non_finite"])
        self._taken_non_finite = state["taken_non_finite"]
        self.first_non_finite_step = state["first"]
