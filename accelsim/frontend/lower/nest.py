"""From views to operands: axes for an op's logical dimensions, and how each operand follows them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from accelsim.frontend.lower.views import Piece, View, factors, merge, unit
from accelsim.geometry import FULL, Axis, DimMap, Operand, direct

ONE = Axis("one", 1)  # the axis of an index that does not move, such as the first token's
Follow: TypeAlias = "str | DimMap | None"  # an axis, a window over an axis, or nothing


@dataclass(frozen=True, slots=True)
class Use:
    """A view that an op reads or writes, and what each of its dimensions follows."""

    tensor: str
    view: View
    follows: tuple[Follow, ...]


@dataclass(frozen=True, slots=True)
class Nest:
    """Axes by logical name (one, or several where every operand splits it alike), and operands."""

    axes: dict[str, tuple[Axis, ...]]
    operands: tuple[Operand, ...]

    def side(self, *names: str) -> tuple[Axis, ...]:
        """Return the axes of the logical ones ``names``, in this order."""
        return tuple(axis for name in names for axis in self.axes[name])

    def in_steps(self, units: Mapping[str, int]) -> Nest:
        """Return the nest with the axes of ``units`` to be cut at multiples of these, where they are one."""
        axes = dict(self.axes)
        for name, step in units.items():
            if len(axes[name]) == 1:
                (axis,) = axes[name]
                axes[name] = (replace(axis, unit=min(math.lcm(axis.unit, step), axis.size)),)
        return replace(self, axes=axes)

    def all(self, names: Sequence[str]) -> tuple[Axis, ...]:
        """Return the axes of ``names`` and, if an operand needs it, the axis of one step."""
        used = [d.axis for operand in self.operands for d in operand.dims]
        axes = self.side(*names)
        return (*axes, ONE) if "one" in used or not axes else axes


def fit(sizes: dict[str, int], uses: Sequence[Use]) -> Nest:
    """Return axes of ``sizes`` and the operands of ``uses`` over them."""
    axes = {name: _axes(name, size, uses) for name, size in sizes.items()}
    return Nest(axes, tuple(_operand(use, axes) for use in uses))


def _axes(name: str, size: int, uses: Sequence[Use]) -> tuple[Axis, ...]:
    shapes: list[tuple[int, ...]] = []
    units: list[int] = []
    for use in uses:
        for dim, follow in enumerate(use.follows):
            if follow == name and use.view.dims[dim]:
                pieces = factors(use.view, dim)
                shapes.append(tuple(p.length for p in pieces))
                if len(merge(use.view.dims[dim])) == 1:
                    units.append(unit(use.view, dim))
    alike = all(shape == shapes[0] for shape in shapes)
    if shapes and alike and len(shapes[0]) > 1:
        return tuple(Axis(f"{name}{i}", length) for i, length in enumerate(shapes[0]))
    step = math.lcm(*units) if units else 1
    return (Axis(name, size, min(step, size)),)


def _operand(use: Use, axes: dict[str, tuple[Axis, ...]]) -> Operand:
    entries: list[tuple[Piece, DimMap]] = []
    for dim, follow in enumerate(use.follows):
        entries += _dim(use.view, dim, follow, axes)
    for piece in use.view.pinned:
        at = DimMap("one", "window", 1, -piece.start, 1)
        entries.append((piece, FULL if piece.size == 1 else at))
    entries.sort(key=lambda entry: -entry[0].stride)
    shape = tuple(piece.size for piece, _ in entries)
    assert math.prod(shape) == math.prod(use.view.canonical), (use, shape)
    return Operand(use.tensor, shape, tuple(how for _, how in entries))


def _dim(
    view: View, dim: int, follow: Follow, axes: dict[str, tuple[Axis, ...]]
) -> list[tuple[Piece, DimMap]]:
    pieces = merge(view.dims[dim])
    if isinstance(follow, str):
        several = axes[follow]
        if len(several) > 1 and pieces:  # a broadcast dimension has none
            return [(p, _at(p, direct(a.name))) for p, a in zip(factors(view, dim), several, strict=True)]
        follow = direct(several[0].name)
    if len(pieces) != 1 or follow is None:  # pieces apart in storage: read whole
        return [(piece, FULL) for piece in pieces]
    return [(pieces[0], _at(pieces[0], follow))]


def _at(piece: Piece, how: DimMap) -> DimMap:
    """Return ``how`` moved to where ``piece`` starts in its storage factor."""
    if piece.whole or how.kind == "full":
        return how
    if how.kind == "direct":
        return DimMap(how.axis, "window", piece.step, -piece.start, 1)
    if how.kind == "window" and piece.step == 1:
        return replace(how, pad=how.pad - piece.start)
    return FULL
