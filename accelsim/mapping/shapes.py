"""The shapes of all problems of one graph, each made once, and those of its nests with panels."""

from __future__ import annotations

from accelsim.mapping.problem import PANEL_ORDERS, SIDES, Places, Problem
from accelsim.mapping.tile_shape import Shape
from accelsim.program.array_shape import ArrayShape
from accelsim.program.program import Side
from accelsim.resolve.machine import Machine


class Shapes:
    """What holds of the tiles of every problem, wherever its operands are and however fast the banks."""

    def __init__(self, machine: Machine, array: ArrayShape) -> None:
        self.machine = machine
        self.array = array
        self._plain: dict[Problem, Shape] = {}
        self._panels: dict[int, list[Shape]] = {}

    def of(self, problem: Problem) -> Shape:
        """Return the shape of a problem, no side cut twice."""
        shape = self._plain.get(problem)
        if shape is None:
            shape = self._plain[problem] = Shape(self.machine, self.array, problem)
        return shape

    def with_panels(self, shape: Shape, places: Places) -> list[Shape]:
        """Return the shapes with a side cut twice: of use where both operands come through slots."""
        if places.a.place != "buffered" or places.b.place != "buffered":
            return []
        if shape.p.decomposed or shape.p.together > 1:
            return []
        found = self._panels.get(id(shape))
        if found is None:
            found = [Shape(self.machine, self.array, shape.p, s) for s in _panel_sides(shape)]
            self._panels[id(shape)] = found
        return found


def _panel_sides(shape: Shape) -> list[Side]:
    """Return the sides that may have panels."""
    imposed, sides = shape.p.imposed, [s for s in SIDES[:2] if shape.may_be_cut_twice(s)]
    if imposed is None:
        return sides
    if imposed.panel is not None:
        return [imposed.panel.side]
    return (
        [] if imposed.cuts or imposed.hold or (imposed.order and imposed.order not in PANEL_ORDERS) else sides
    )
