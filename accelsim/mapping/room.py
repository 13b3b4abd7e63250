"""Whether what a mapping file gives fits the scratchpad: bytes needed, and bytes there are."""

from __future__ import annotations

from accelsim.config.origins import Fault, Origins, error
from accelsim.mapping.planner import Place, Planner, Trial


def check_room(planner: Planner, trial: Trial, origins: Origins) -> None:
    """Refuse tiles and places that do not fit.

    Args:
        trial: The plan that keeps nothing whole but what the file says.

    Raises:
        ConfigError: Every fault, a line each. What does not fit and is not given is not looked at.
    """
    faults = _crowded(planner, trial, origins)
    if not faults:
        for place in trial.kernels:
            keys = planner.given.keys.get(place[0].draft.leader.name)
            if keys is not None and place[0].cost(*place[1:]) is None:
                faults.append(origins.fault(keys, _why(planner, place)))
    if faults:
        raise error(faults)


def _crowded(planner: Planner, trial: Trial, origins: Origins) -> list[Fault]:
    """Return where tensors that are placed by hand take more than a group has."""
    faults = []
    for group, used in trial.residency.usage.items():
        capacity = planner.machine.banks[group].capacity_bytes
        most = max(used, default=0)
        if most <= capacity:
            continue
        kernel = used.index(most)
        lying = [n for n in planner.lives if n in planner.given.keys and _lies(trial, n, group, kernel)]
        lying.sort(key=lambda name: (-planner.lives[name].data.nbytes, name))
        op = planner.costs[kernel].draft.leader.name
        names = ", ".join(lying[:4])
        what = f"{most} bytes are placed in {group} during {op} ({names}, ...), which has {capacity}"
        faults.append(origins.fault(planner.given.keys[lying[0]], what))
    return faults


def _lies(trial: Trial, name: str, group: str, kernel: int) -> bool:
    """Return whether a tensor is kept in a group during a kernel."""
    residency = trial.residency
    if residency.pinned.get(name) == group:
        return True
    gaps = residency.kept.get(name, []) if residency.group.get(name) == group else []
    return any(g.start <= kernel <= g.end for g in gaps)


def _why(planner: Planner, place: Place) -> str:
    """Return why no tile of a kernel is left."""
    costs, codes, free, _ = place
    op = costs.draft.leader.name
    needed, imposed = costs.least_need(codes, free), planner.given.nests[op]
    if needed is None and imposed.panel is not None:
        return f"{op} has panels only where both operands come through slots; the file keeps one of them"
    if needed is None:
        return f"{op} cannot be cut so under [pe_array] convention {planner.array.convention}"
    short = max(needed, key=lambda group: needed[group] - dict(zip(costs.banks, free, strict=True))[group])
    left = dict(zip(costs.banks, free, strict=True))[short]
    capacity = planner.machine.banks[short].capacity_bytes
    return (
        f"{op} needs {needed[short]} bytes of {short} for its tiles, and {left} of {capacity} are available "
        "beside the tensors placed there"
    )
