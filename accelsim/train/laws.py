"""How probable it is that a stored bit is wrong, at one read of one tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from accelsim.errors import InputError
from accelsim.words import Phase, Role


class Read(NamedTuple):
    """A read of a stored tensor by a layer.

    Attributes:
        layer: Path of the module that produced the tensor; of a weight, that which owns it.
        reader: Path of the module that reads it; ``loss`` outside of the model.
        tensor: Name of the parameter that a weight, gradient or state belongs to (with the state's key);
            empty for activations and errors.
        inner: Whether a module without submodules reads an activation or error of its own.
    """

    role: Role
    layer: str
    reader: str
    phase: Phase
    tensor: str = ""
    inner: bool = False


@dataclass(frozen=True, slots=True)
class FieldLaw:
    """What happens to the bits of one field between the copy's access before and this read.

    Attributes:
        field: The bits, as in ``formats.field_bits``.
        p_new: Probability that a bit that was right is wrong now.
        p_back: Probability that a bit that was wrong is right again.
        p_sense: Probability that a bit is sensed wrong, this time only.
        causes: Shares of ``p_new`` by cause, which add up to 1.
    """

    field: str = "all"
    p_new: float = 0.0
    p_back: float = 0.0
    p_sense: float = 0.0
    causes: tuple[tuple[str, float], ...] = (("rate", 1.0),)


@dataclass(frozen=True, slots=True)
class Law:
    """What one read draws.

    Attributes:
        stage: A copy draws once in each stage; later reads in it see the same wrong bits.
        fresh: The stage reads a copy that was filled anew: what was wrong in the one before is gone.
    """

    stage: str
    fields: tuple[FieldLaw, ...]
    fresh: bool = False

    @property
    def senses(self) -> bool:
        """Whether bits are sensed wrong."""
        return any(each.p_sense for each in self.fields)


class Profile(Protocol):
    """Where the laws come from."""

    def laws(self, read: Read) -> Sequence[Law]:
        """Return what ``read`` draws, in order."""
        ...

    def check(self, layers: Sequence[str]) -> None:
        """Refuse a model that has no such layers.

        Raises:
            InputError: naming what differs, and the closest names.
        """
        ...

    @property
    def description(self) -> str:
        """In a few words, for outputs."""
        ...


def checked_rate(value: object, what: str) -> float:
    """Return ``value`` as a bit error probability.

    Raises:
        InputError: It is none: more than half of all bits cannot be wrong at random.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 0.5:
        raise InputError(f"{what}: expected a bit error probability from 0 to 0.5, got {value!r}")
    return float(value)
