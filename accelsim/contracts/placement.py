"""Laws of placement policies."""

from __future__ import annotations

from accelsim.mapping.policy import Policy, TensorFacts, faults_of
from accelsim.resolve import load_machine
from accelsim.resolve.machine import Machine
from accelsim.words import ROLES

Case = tuple[tuple[TensorFacts, ...], Machine]
MACHINES = ("edge-sram", "edge-hybrid", "edge-mram")


def placement_cases() -> list[Case]:
    """Return machines of one and of two groups, each with tensors of every role, and with none."""
    facts = tuple(_fact(i) for i in range(2 * len(ROLES)))
    machines = [load_machine(name) for name in MACHINES]
    return [(tensors, machine) for machine in machines for tensors in (facts, ())]


def _fact(i: int) -> TensorFacts:
    made = i - 1  # the first is there from the start
    reads, size = tuple(range(i, i + i % 3)), 64 * (i + 1) ** 3
    role = ROLES[i % len(ROLES)]
    return TensorFacts(f"t{i}", role, "fc", "forward" if made >= 0 else None, size, made, reads, ("fc",), "")


def only_what_is_there_is_named(policy: Policy) -> None:
    """Tensors of the step, groups of the machine, none of them twice."""
    for facts, machine in placement_cases():
        faults = faults_of(policy(facts, machine), facts, machine)
        assert not faults, f"{machine.name}: {'; '.join(faults)}"


def the_same_facts_have_the_same_lists(policy: Policy) -> None:
    """Nothing is drawn or remembered."""
    for facts, machine in placement_cases():
        first, second = ({t: tuple(groups) for t, groups in policy(facts, machine).items()} for _ in range(2))
        assert first == second, machine.name


PLACEMENT_LAWS = (only_what_is_there_is_named, the_same_facts_have_the_same_lists)
