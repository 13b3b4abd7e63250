"""Placement by a plug-in: what it is told of the tensors, and the lists that it answers with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from accelsim import plugins
from accelsim.mapping.storage import Life
from accelsim.resolve.machine import Machine
from accelsim.words import ROLES, Phase, Role

Lists = Mapping[str, Sequence[str]]  # bank groups per tensor or role, the most wanted first; none: DRAM only


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """One tensor of a step as a placement policy sees it.

    Attributes:
        layer: Module path of its producer.
        phase: In which it is made; None: it is there from the start.
        made: Number of the kernel that makes it, in order of execution; -1: it is there from the start.
        reads: Numbers of the kernels that read it.
        readers: Layers that read it.
        succeeds: The tensor whose place it takes in the next step; empty: none.
    """

    tensor: str
    role: Role
    layer: str
    phase: Phase | None
    nbytes: int
    made: int
    reads: tuple[int, ...]
    readers: tuple[str, ...]
    succeeds: str


Policy = Callable[[Sequence[TensorFacts], Machine], Lists]


def facts_of(lives: Mapping[str, Life]) -> tuple[TensorFacts, ...]:
    """Return the facts of all tensors, in the order in which kernels first touch them."""
    return tuple(
        TensorFacts(
            name,
            life.data.role,
            life.data.layer,
            life.data.phase,
            life.data.nbytes,
            life.made,
            tuple(life.reads),
            tuple(life.readers),
            life.predecessor or "",
        )
        for name, life in lives.items()
    )


def by_role(facts: Sequence[TensorFacts], machine: Machine) -> Lists:
    """Return the lists of ``[placement]``: what a policy that says nothing leaves in force."""
    return {f.role: machine.placement.get(f.role, tuple(machine.banks)) for f in facts}


def faults_of(lists: object, facts: Sequence[TensorFacts], machine: Machine) -> list[str]:
    """Return what is wrong with the answer of a policy."""
    if not isinstance(lists, Mapping):
        return [f"expected a mapping of tensors or roles to bank groups, got {type(lists).__name__}"]
    known, found = {*ROLES, *(f.tensor for f in facts)}, []
    for tensor, groups in lists.items():
        if tensor not in known:
            found.append(f"there is no tensor or role {tensor!r}")
        elif isinstance(groups, str) or not isinstance(groups, Sequence) or not _are_names(groups):
            found.append(f"{tensor}: expected a list of names of bank groups, got {groups!r}")
        else:
            gone = [g for g in groups if g not in machine.banks]
            found += [f"{tensor}: no bank group {g!r}; there are {', '.join(machine.banks)}" for g in gone]
            if len(set(groups)) < len(groups):
                found.append(f"{tensor}: a bank group stands twice in {list(groups)}")
    return found


def _are_names(groups: Sequence[object]) -> bool:
    return all(isinstance(g, str) for g in groups)


def placed(lives: Mapping[str, Life], machine: Machine) -> dict[str, Life]:
    """Return the lives with their groups as the machine's policy says; it may leave tensors as they are.

    A tensor's own list counts before its role's. What takes the place of a tensor in the next step goes where
    that one goes, unless it is named itself.

    Raises:
        PluginError: The policy raised, or names what is not there.
    """
    if not machine.policy:
        return dict(lives)
    plugin = plugins.demand(plugins.PLACEMENT, machine.policy, machine.policy_identity)
    facts = facts_of(lives)
    policy: Policy = plugin.load()
    with plugin.guarded("placing the tensors"):
        lists = policy(facts, machine)
        faults = faults_of(lists, facts, machine)
    if faults:
        raise plugin.fault("; ".join(faults[:5]))
    found = {}
    for name, life in lives.items():
        names = (name, life.predecessor, life.data.role)
        groups = next((lists[n] for n in names if n is not None and n in lists), None)
        found[name] = life if groups is None else replace(life, groups=tuple(groups))
    return found
