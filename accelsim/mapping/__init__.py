"""Mapping: (graph, resolved machine) -> program, as a pure function."""

from accelsim.mapping.ground import Grounds
from accelsim.mapping.mapper import map_graph, mapped

__all__ = ["Grounds", "map_graph", "mapped"]
