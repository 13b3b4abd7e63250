"""Views as arithmetic: which piece of its storage each dimension of a tensor walks.

A storage is row-major in its canonical shape. A view dimension is a list of *pieces* of the storage,
outermost first; none for a broadcast dimension. Every view that torch makes without copying is one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any


class Irregular(Exception):
    """The view is no product of pieces: it has to be copied. Caught by the lowering."""


@dataclass(frozen=True, slots=True)
class Piece:
    """``length`` indices ``start, start + step, ...`` of a storage factor of ``size`` at ``stride``."""

    stride: int
    size: int
    start: int
    length: int
    step: int = 1

    @property
    def whole(self) -> bool:
        """Whether it walks every index in order."""
        return self.start == 0 and self.length == self.size and self.step == 1

    def split(self, inner: int) -> tuple[Piece, Piece]:
        """Return the outer piece and the inner one, which is ``inner`` long and whole."""
        if self.step != 1 or self.start % inner or self.size % inner or self.length % inner:
            raise Irregular
        outer = Piece(self.stride * inner, self.size // inner, self.start // inner, self.length // inner)
        return outer, Piece(self.stride, inner, 0, inner)


def merge(pieces: Sequence[Piece]) -> list[Piece]:
    """Return ``pieces`` with neighbours in storage joined; pieces of size one vanish beside others."""
    merged: list[Piece] = []
    for piece in pieces:
        last = merged[-1] if merged else None
        if last and piece.size == 1:
            continue
        if last and last.size == 1:
            merged[-1] = piece
        elif last and piece.whole and last.step == 1 and last.stride == piece.stride * piece.size:
            merged[-1] = Piece(
                piece.stride, last.size * piece.size, last.start * piece.size, last.length * piece.size
            )
        else:
            merged.append(piece)
    return merged


@dataclass(frozen=True, slots=True)
class View:
    """A tensor as a node sees it.

    Attributes:
        base: Key of the storage.
        canonical: The storage's shape.
        sizes: Elements per dimension of the view.
        dims: Pieces per dimension.
        pinned: Pieces that are narrowed to one index and are no dimension any more.
        chain: The calls that make the view from the tensor in its canonical shape.
    """

    base: str
    canonical: tuple[int, ...]
    sizes: tuple[int, ...]
    dims: tuple[tuple[Piece, ...], ...]
    pinned: tuple[Piece, ...] = ()
    chain: tuple[tuple[str, tuple[Any, ...]], ...] = ()

    @property
    def whole(self) -> bool:
        """Whether it covers every element of its storage once."""
        pieces = [p for dim in self.dims for p in dim]
        elements = math.prod(p.length for p in pieces)
        return elements == math.prod(self.sizes) == math.prod(self.canonical)

    def permute(self, order: Sequence[int]) -> View:
        """Return the view with its dimensions in another order."""
        rank = len(self.sizes)
        order = [i % rank for i in order]
        return self._with([self.sizes[i] for i in order], [self.dims[i] for i in order], "permute", order)

    def unsqueeze(self, dim: int) -> View:
        """Return the view with a new dimension of one element at ``dim``."""
        dim %= len(self.sizes) + 1
        sizes, dims = list(self.sizes), list(self.dims)
        sizes.insert(dim, 1)
        dims.insert(dim, ())
        return self._with(sizes, dims, "unsqueeze", dim)

    def squeeze(self, at: Sequence[int] | None) -> View:
        """Return the view without those dimensions ``at`` (None: all) that have one element."""
        rank = len(self.sizes)
        drop = [i for i in range(rank) if self.sizes[i] == 1 and (at is None or i in [d % rank for d in at])]
        keep = [i for i in range(rank) if i not in drop]
        pinned = self.pinned + tuple(p for i in drop for p in self.dims[i])
        return self._with(
            [self.sizes[i] for i in keep],
            [self.dims[i] for i in keep],
            "view",
            [self.sizes[i] for i in keep],
            pinned=pinned,
        )

    def expand(self, sizes: Sequence[int]) -> View:
        """Return the view repeated along dimensions of one element, and along new leading ones."""
        new = len(sizes) - len(self.sizes)
        old_sizes = (1,) * new + self.sizes
        dims = ((),) * new + self.dims
        full = [old if size == -1 else size for size, old in zip(sizes, old_sizes, strict=True)]
        pinned = self.pinned + tuple(
            p for d, old, size in zip(dims, old_sizes, full, strict=True) if old != size for p in d
        )
        kept = [d if old == size else () for d, old, size in zip(dims, old_sizes, full, strict=True)]
        return self._with(full, kept, "expand", full, pinned=pinned)

    def slice(self, dim: int, start: int | None, end: int | None, step: int) -> View:
        """Return the view narrowed to ``start:end:step`` of ``dim``."""
        size = self.sizes[dim]
        start, end, step = slice(start, end, step).indices(size)
        length = max(0, -(-(end - start) // step))
        if (start, length, step) == (0, size, 1):
            return self
        pieces = merge(self.dims[dim])
        if len(pieces) != 1 or pieces[0].step != 1 or not length:
            raise Irregular
        piece = replace(pieces[0], start=pieces[0].start + start, length=length, step=step)
        dims, sizes = list(self.dims), list(self.sizes)
        dims[dim], sizes[dim] = (piece,), length
        return self._with(sizes, dims, "slice", dim, start, end, step)

    def select(self, dim: int, index: int) -> View:
        """Return the view at ``index`` of ``dim``, which goes away."""
        dim %= len(self.sizes)
        index %= self.sizes[dim]
        one = self.slice(dim, index, index + 1, 1)
        out = one.squeeze([dim])
        return replace(out, chain=(*self.chain, ("select", (dim, index))))

    def reshape(self, sizes: Sequence[int]) -> View:
        """Return the view in another shape of as many elements, in the same order."""
        full = list(sizes)
        if -1 in full:
            known = -math.prod(full)
            full[full.index(-1)] = math.prod(self.sizes) // known if known else 0
        if tuple(full) == self.sizes:
            return self
        dims: list[tuple[Piece, ...]] = []
        old = 0
        new = 0
        while new < len(full):
            taken, old_count, wanted, first = [], 1, full[new], new
            new += 1
            while old_count != wanted:
                if old_count < wanted:
                    old_count *= self.sizes[old]
                    taken.append(old)
                    old += 1
                else:
                    wanted *= full[new]
                    new += 1
            dims += self._regroup(taken, full[first:new])
        rest = tuple(p for i in range(old, len(self.sizes)) for p in self.dims[i])  # of size one
        return self._with(full, dims, "view", full, pinned=self.pinned + rest)

    def _regroup(self, taken: list[int], sizes: list[int]) -> list[tuple[Piece, ...]]:
        """Return the pieces of the dimensions ``taken``, dealt out to dimensions of ``sizes``."""
        if len(sizes) == 1 and len(taken) == 1:
            return [self.dims[taken[0]]]
        if any(self.sizes[i] > 1 and not self.dims[i] for i in taken):
            if [self.sizes[i] for i in taken if self.sizes[i] > 1] == [s for s in sizes if s > 1]:
                rest = iter([self.dims[i] for i in taken if self.sizes[i] > 1])
                return [next(rest) if s > 1 else () for s in sizes]
            raise Irregular
        todo = merge([p for i in taken for p in self.dims[i]])
        if todo and math.prod(p.length for p in todo) == 1:  # one element: its pieces go to the first
            return [tuple(todo) if i == 0 else () for i in range(len(sizes))]
        return [self._deal(todo, size) for size in sizes]

    @staticmethod
    def _deal(todo: list[Piece], size: int) -> tuple[Piece, ...]:
        """Take pieces of ``size`` elements in all from the front of ``todo``."""
        got: list[Piece] = []
        while size > 1:
            piece = todo.pop(0)
            if size % piece.length and piece.length % size:
                raise Irregular
            if piece.length > size:
                piece, inner = piece.split(piece.length // size)
                todo.insert(0, inner)
            got.append(piece)
            size //= piece.length
        return tuple(got)

    def _with(
        self,
        sizes: Sequence[int],
        dims: Sequence[tuple[Piece, ...]],
        name: str,
        *args: Any,
        pinned: tuple[Piece, ...] | None = None,
    ) -> View:
        call = (name, tuple(list(a) if isinstance(a, list | tuple) else a for a in args))
        return replace(
            self,
            sizes=tuple(sizes),
            dims=tuple(dims),
            pinned=self.pinned if pinned is None else pinned,
            chain=(*self.chain, call),
        )


def whole_view(base: str, canonical: tuple[int, ...], sizes: tuple[int, ...]) -> View:
    """Return the view of a whole storage, seen in the shape ``sizes``."""
    stride, dims = math.prod(canonical), []
    for size in canonical:
        stride //= size
        dims.append((Piece(stride, size, 0, size),))
    return View(base, canonical, canonical, tuple(dims)).reshape(sizes)


def factors(view: View, dim: int) -> list[Piece]:
    """Return the pieces of a dimension, cut where the canonical shape has a border."""
    strides = _strides(view.canonical)
    cut: list[Piece] = []
    for piece in merge(view.dims[dim]):
        rest = piece
        for stride in strides:
            if rest.stride < stride < rest.stride * rest.size:
                try:
                    outer, rest = rest.split(stride // rest.stride)
                except Irregular:
                    break
                cut.append(outer)
        cut.append(rest)
    return cut


def unit(view: View, dim: int) -> int:
    """Return the step at which a cut of the dimension falls between whole rows of the canonical shape."""
    (piece,) = merge(view.dims[dim])
    inside = [s for s in _strides(view.canonical) if piece.stride < s < piece.stride * piece.size]
    return max(inside, default=piece.stride) // piece.stride


def _strides(shape: tuple[int, ...]) -> list[int]:
    """Return the strides of a row-major shape, without those of dimensions of one element."""
    strides, stride = [], 1
    for size in reversed(shape):
        if size > 1:
            strides.append(stride)
            stride *= size
    return strides[::-1]
