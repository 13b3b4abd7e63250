"""The tiles of a kernel one by one, as loops: what jobs by index are held against."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from accelsim.geometry import Range
from accelsim.program.program import Kernel
from accelsim.program.ranges import tiles_of, tiles_per_panel


def nest(kernel: Kernel) -> Iterator[tuple[dict[str, Range], dict[str, int], dict[str, int]]]:
    """Yield every tile with the index and the count of tiles per side, in the order of the nest."""
    per_side = [list(enumerate(tiles_of(kernel.sides[s], kernel.cuts[s]))) for s in kernel.order]
    counts: dict[str, int] = {s: len(t) for s, t in zip(kernel.order, per_side, strict=True)}
    for chosen in _steps(kernel, per_side):
        tile: dict[str, Range] = {}
        for _, ranges in chosen:
            tile.update(ranges)
        yield tile, {s: i for s, (i, _) in zip(kernel.order, chosen, strict=True)}, counts


_Numbered = tuple[int, dict[str, Range]]  # a tile of a side and its number


def _steps(kernel: Kernel, per_side: list[list[_Numbered]]) -> Iterator[tuple[_Numbered, ...]]:
    """Yield the tiles of all sides, in the order of the nest: those of a panel innermost of all."""
    panel = kernel.panel
    if panel is None:
        yield from itertools.product(*per_side)
        return
    place = kernel.order.index(panel.side)
    tiles = iter(per_side[place])
    sizes = tiles_per_panel(kernel.sides[panel.side], kernel.cuts[panel.side], panel.cut)
    panels = [list(itertools.islice(tiles, n)) for n in sizes]
    before, after = per_side[:place], per_side[place + 1 :]
    for first in itertools.product(*before):
        for inside in panels:
            for last in itertools.product(*after):
                yield from ((*first, tile, *last) for tile in inside)
