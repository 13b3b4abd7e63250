"""Mapping: (graph, resolved machine) -> program, as a pure function."""

from accelsim.mapping.mapper import map_graph, mapped

__all__ = ["map_graph", "mapped"]
