"""Which tiles of a kernel bring a binding from DRAM: the fills of one binding over all its visits.

A visit is a tile that reads the binding. Where the box is the one held already, nothing is filled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from accelsim.geometry import Axis, DimMap, Range, Tile
from accelsim.program.codes import Codes, Int
from accelsim.program.program import Binding, Side

AHEAD = 2  # tiles that a fill into a copy may run ahead of, as one into two slots may
NONE: Int = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class SideTiles:
    """The tiles of one side of a nest, and the index of the tile that every tile of the nest has on it."""

    side: Side
    axes: tuple[Axis, ...]
    tiles: Sequence[Tile]
    at: Int  # per tile of the nest
    _limits: dict[str, Int] = field(default_factory=dict, compare=False, repr=False)

    def limits(self, axis: str) -> Int:
        """Return the lower and upper ends of an axis's ranges, shape (2, tiles)."""
        found = self._limits.get(axis)
        if found is None:
            ends = [r for tile in self.tiles for r in tile[axis]]
            found = self._limits[axis] = np.array(ends, dtype=np.int64).reshape(-1, 2).T
        return found


@dataclass(frozen=True, slots=True)
class Fills:
    """The fills of one binding.

    Attributes:
        tiles: Tiles of the nest that begin with a fill, in order.
        before: Per tile of the nest and one more, the fills of the tiles before it.
        wait: Per fill, the tile that must be done first, or -1.
        held: Per fill of a kept binding with windows, where its new rows lie along their dimension.
    """

    tiles: Int
    before: Int
    wait: Int
    held: dict[int, Range]

    def ordinal(self, tile: int) -> int:
        """Return which fill holds what ``tile`` reads."""
        return int(self.before[tile + 1]) - 1


def fills_of(binding: Binding, sides: Sequence[SideTiles], visits: Int, count: int) -> Fills:
    """Return the fills of ``binding``, read by the tiles ``visits`` out of ``count``."""
    if binding.place == "resident":
        return Fills(NONE, np.zeros(count + 1, dtype=np.int64), NONE, {})
    box, there = _boxes(binding, sides, visits)
    held: dict[int, Range] = {}
    if binding.place == "kept" and any(d.kind in ("window", "inverse") for d in binding.operand.dims):
        places, held = _new_rows(binding, sides, visits)
    elif binding.place == "kept":
        _, first = np.unique(box, return_index=True)
        places = np.sort(first[there[first]])
    else:
        full = np.flatnonzero(there)
        ids = box[full]
        places = full[np.concatenate([[True], ids[1:] != ids[:-1]])] if full.size else full
    tiles = visits[places]
    mask = np.zeros(count + 1, dtype=np.int64)
    mask[tiles + 1] = 1
    wait = np.full(tiles.size, -1, dtype=np.int64)
    slots = len(binding.slots)
    if binding.place == "kept":
        wait = np.maximum(tiles - AHEAD, -1)
    elif tiles.size > slots:
        # the slot's last reader is the visit before the one that began to read the next slot
        wait[slots:] = visits[places[1 : tiles.size - slots + 1] - 1]
    return Fills(tiles, np.cumsum(mask), wait, held)


def _boxes(binding: Binding, sides: Sequence[SideTiles], visits: Int) -> tuple[Int, NDArray[np.bool_]]:
    """Return per visit a number that tells boxes apart, and whether the box holds anything."""
    box = np.zeros(visits.size, dtype=np.int64)
    there = np.ones(visits.size, dtype=bool)
    for side in sides:
        ids, full = _along(binding, side)
        if ids is None:
            continue
        at = side.at[visits]
        box = box * (int(ids.max()) + 1) + ids[at]
        there &= full[at]
    return box, there


def _along(binding: Binding, side: SideTiles) -> tuple[Int | None, NDArray[np.bool_]]:
    """Return per tile of one side a number that tells the box's ranges apart, and whether they are full."""
    names = {a.name for a in side.axes}
    operand = binding.operand
    followed = [(d, s) for d, s in zip(operand.dims, operand.shape, strict=True) if d.axis in names]
    if not followed:
        return None, np.ones(len(side.tiles), dtype=bool)
    code = Codes(len(side.tiles))
    full = np.ones(len(side.tiles), dtype=bool)
    for dim, size in followed:
        low, high = ranges(dim, side.limits(dim.axis), size)
        full &= high > low
        code.mix(low)
        code.mix(high)
    return code.numbers(), full


def ranges(dim: DimMap, limits: Int, size: int) -> tuple[Int, Int]:
    """Return what ``DimMap.range`` does, for all tiles of a side at once."""
    low, high = dim.over(*limits)
    low = np.maximum(low, 0)
    return low, np.maximum(np.minimum(high, size), low)


def _new_rows(binding: Binding, sides: Sequence[SideTiles], visits: Int) -> tuple[Int, dict[int, Range]]:
    """Return the visits that fill, and the new rows of each: what windows share is filled once."""
    operand = binding.operand
    shared = [i for i, d in enumerate(operand.dims) if d.kind in ("window", "inverse")]
    dim, size = operand.dims[shared[0]], operand.shape[shared[0]]
    own = next(s for s in sides if any(a.name == dim.axis for a in s.axes))
    last = next(a.size for a in own.axes if a.name == dim.axis)
    done: dict[tuple[Range, ...], int] = {}
    places: list[int] = []
    held: dict[int, Range] = {}
    known: dict[tuple[int, ...], tuple[tuple[Range, ...], int]] = {}
    relevant = [s for s in sides if any(a.name == d.axis for d in operand.dims for a in s.axes)]
    for place, visit in enumerate(visits.tolist()):
        at = tuple(int(s.at[visit]) for s in relevant)
        if at in known:
            continue  # seen before: nothing new
        tile = {name: r for s, i in zip(relevant, at, strict=True) for name, r in s.tiles[i].items()}
        box = [d.range(tile, s) for d, s in zip(operand.dims, operand.shape, strict=True)]
        for i in shared[1:]:
            box[i] = (0, operand.shape[i])
        end = size if tile[dim.axis][1] >= last else box[shared[0]][1]
        key = tuple(r for i, r in enumerate(box) if i != shared[0])
        known[at] = (key, end)
        begin = done.get(key, 0)
        if end > begin:
            done[key] = end
            held[len(places)] = (begin, end)
            places.append(place)
    return np.array(places, dtype=np.int64), held
