"""The ladder of capacities on which candidate plans are made.

Rungs are 2^(k/2) KiB, every rung up to the capacity, and the capacity itself. A plan at a rung depends on
the rung only, so a larger machine can choose among all the plans of a smaller one: the estimated
objective never worsens with capacity along the ladder.
"""

from __future__ import annotations

from collections.abc import Mapping

KIB = 1024
LOWEST = 8 * KIB  # below it no plan is worth a try


def rungs(capacity_bytes: int) -> list[int]:
    """Return the rungs up to ``capacity_bytes``, lowest first, the capacity last.

    >>> [r // 1024 for r in rungs(64 * 1024)]
    [8, 11, 16, 22, 32, 45, 64]
    """
    result = []
    k = 0
    while (rung := round(KIB * 2 ** (k / 2))) <= capacity_bytes:
        if rung >= LOWEST:
            result.append(rung)
        k += 1
    if not result or result[-1] != capacity_bytes:
        result.append(capacity_bytes)
    return result


def scenarios(capacity: Mapping[str, int]) -> list[dict[str, int]]:
    """Return the capacities to plan for: all groups limited to a rung, and each group alone."""
    found: dict[tuple[int, ...], dict[str, int]] = {}

    def note(limits: dict[str, int]) -> None:
        found.setdefault(tuple(limits.values()), limits)

    note(dict(capacity))
    for rung in rungs(max(capacity.values())):
        note({g: min(c, rung) for g, c in capacity.items()})
    if len(capacity) > 1:
        for group, own in capacity.items():
            for rung in rungs(own):
                note({**capacity, group: rung})
    return list(found.values())
