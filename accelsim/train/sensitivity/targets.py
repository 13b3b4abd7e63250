"""What can have errors in a training: the roles and layers of the reads that it makes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch

from accelsim.config.faults import did_you_mean
from accelsim.errors import InputError
from accelsim.train.cases import target_table
from accelsim.train.data.batches import Batches
from accelsim.train.injector import ErrorInjector
from accelsim.train.laws import Law, Read
from accelsim.train.places import LOSS
from accelsim.train.table import TableProfile, closest
from accelsim.train.task import loss_of, new_model
from accelsim.train.trainer import Setup
from accelsim.words import ROLES

ALL = "*"
_UNASKED = ("master_weight",)  # torch keeps one copy of a weight: only who asks for it has it
_STEPS = 2  # optimizer state that the first step makes is read in the second


@dataclass(frozen=True, slots=True)
class Target:
    """Tensors that have errors together.

    Attributes:
        role: As it was asked for.
        layer: Glob of the layers that read them; ``*``: all.
        drawn: The roles that errors are drawn for: of the input of a layer, activations and the step's input,
            as far as the layer reads them.
    """

    role: str
    layer: str
    drawn: tuple[str, ...]

    @property
    def roles(self) -> str:
        """``drawn`` in a word. Targets of the same roles and layer have the same trainings."""
        return "+".join(self.drawn)

    def __str__(self) -> str:
        return self.role if self.layer == ALL else f"{self.role}[{self.layer}]"

    def profile(self, rate: float) -> TableProfile:
        """Return the errors of ``rate`` in these tensors alone."""
        return TableProfile({role: {self.layer: rate} for role in self.drawn})


class _Noting:
    """A profile without errors that notes who asks."""

    description = "none"

    def __init__(self) -> None:
        self.reads: dict[Read, None] = {}

    def laws(self, read: Read) -> Sequence[Law]:
        self.reads[read] = None
        return ()

    def check(self, layers: Sequence[str]) -> None:
        del layers


def reads_of(setup: Setup) -> tuple[Read, ...]:
    """Return the reads of stored tensors that the training makes, in order, each once."""
    state = torch.get_rng_state()
    model, optimizer = new_model(setup.workload, 0)
    batches = Batches(setup.data, setup.workload.spec.batch, 0)
    noting = _Noting()
    model.train()
    # with a policy, inputs are looked at whatever the profile says
    with ErrorInjector(model, optimizer, noting, nonfinite="zero"):
        for step in range(_STEPS):
            x, y = batches.of(0, step % len(batches))
            optimizer.zero_grad()
            loss_of(setup.task, model(x), y).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    torch.set_rng_state(state)
    return tuple(noting.reads)


def targets_of(
    setup: Setup, roles: Sequence[str] = (), layers: Sequence[str] = (), *, by_layer: bool = False
) -> list[Target]:
    """Return what is to be searched: each role, as all layers read it, or for each of ``layers``.

    Pairs of a role and a layer that the training does not read are left out.

    Args:
        roles: Empty: all that the training reads.
        layers: Globs of reading layers; empty: all together.
        by_layer: Each layer by itself instead.

    Raises:
        InputError: Roles or layers that there are not, with the closest names.
    """
    reads = reads_of(setup)
    there = [role for role in ROLES if any(read.role == role for read in reads)]
    chosen = _roles(roles, there)
    globs = _globs(setup, reads, layers, by_layer)
    targets = [t for role in chosen for glob in globs if (t := _target(role, glob, reads)).drawn]
    for role in roles:
        if not any(t.role == role for t in targets):
            raise InputError(f'--roles {role}: no such tensors are read by "{", ".join(layers)}"')
    if not targets:
        raise InputError(f'--layers: "{", ".join(layers)}" read none of {", ".join(chosen)}')
    return targets


def _roles(given: Sequence[str], there: Sequence[str]) -> Sequence[str]:
    for role in given:
        if role not in ROLES:
            hint = did_you_mean(role, ROLES) or f"; there are {', '.join(ROLES)}"
            raise InputError(f'--roles: unknown role "{role}"{hint}')
        if role not in there:
            raise InputError(
                f"--roles {role}: this workload's training reads no such tensors; it reads {', '.join(there)}"
            )
    return tuple(dict.fromkeys(given)) or [role for role in there if role not in _UNASKED]


def _globs(setup: Setup, reads: Iterable[Read], given: Sequence[str], by_layer: bool) -> Sequence[str]:
    if by_layer and given:
        raise InputError("--layers and --by-layer: give one of them; globs are searched as they are given")
    if by_layer:  # what the model computes in its own forward has no layer of its own
        return [layer for layer in dict.fromkeys(read.reader for read in reads) if layer]
    known = [*_modules(setup), LOSS]
    for glob in given:
        if not glob or not any(fnmatchcase(layer, glob) for layer in known):
            raise InputError(f'--layers: no layer fits "{glob}"{closest(glob, known)}')
    return tuple(dict.fromkeys(given)) or (ALL,)


def _modules(setup: Setup) -> Iterator[str]:
    model, _ = new_model(setup.workload, 0)
    return (name for name, _ in model.named_modules())


def _target(role: str, layer: str, reads: Sequence[Read]) -> Target:
    table = target_table(0.5, role, None if layer == ALL else layer)
    drawn = [r for r, rates in table.items() if any(map(TableProfile({r: rates}).laws, reads))]
    return Target(role, layer, tuple(drawn))
