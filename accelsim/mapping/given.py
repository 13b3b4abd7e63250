"""A mapping given by hand, resolved: what of every kernel's tiles and every tensor's place is no choice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from accelsim.config.positions import KeyPath
from accelsim.program.program import Cut, Panel, Side


@dataclass(frozen=True, slots=True)
class Imposed:
    """What is given of one nest's tiles.

    Attributes:
        cuts: By side, those that are given.
        order: Sides outermost first; (): the mapper's choice.
        hold: Which operands are held whole, by their numbers among the reads; None: the mapper's choice.
        panel: The side that is cut twice, and how.
    """

    cuts: tuple[tuple[Side, Cut], ...] = ()
    order: tuple[Side, ...] = ()
    hold: tuple[int, ...] | None = None
    panel: Panel | None = None

    def cut(self, side: Side) -> Cut | None:
        """Return the cut of a side, if it is given."""
        return dict(self.cuts).get(side)


@dataclass(frozen=True, slots=True)
class Lying:
    """Where a tensor lies: a group (None: DRAM), between which kernels, or pinned over the whole step."""

    group: str | None
    stretches: tuple[tuple[int, int], ...] = ()
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class Given:
    """A mapping file, of this graph on this machine. Empty where there is none.

    Attributes:
        nests: By leading op.
        buffers: Bank groups of slots, by leading op and tensor.
        tensors: By name.
        keys: Where the file says it, by leading op and by tensor.
    """

    nests: Mapping[str, Imposed] = field(default_factory=dict)
    buffers: Mapping[tuple[str, str], str] = field(default_factory=dict)
    tensors: Mapping[str, Lying] = field(default_factory=dict)
    keys: Mapping[str, KeyPath] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Return whether anything is given."""
        return bool(self.nests or self.buffers or self.tensors)
