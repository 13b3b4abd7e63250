"""The arguments and results of a captured step, by kind and name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["parameter", "buffer", "state", "input", "loss"]


@dataclass(frozen=True, slots=True)
class Slot:
    """An argument or a result of the step. ``name`` is ``fc.weight``, ``fc.weight.momentum``, ``x``, ...

    The updated parameter has the parameter's slot, and so on.
    """

    kind: Kind
    name: str


def micro_batch(name: str, number: int) -> str:
    """Return what belongs to one micro-batch: the first one's names are those of a step without any.

    >>> micro_batch("x", 0), micro_batch("conv1:conv", 3)
    ('x', 'conv1:conv.mb3')
    """
    return f"{name}.mb{number}" if number else name
