"""A YAML file as data, and where each of its keys stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accelsim.config.document import read_text, shown
from accelsim.config.origins import Origins, Place
from accelsim.config.positions import KeyPath, Position
from accelsim.errors import InputError


def load_yaml(path: Path) -> tuple[Any, Origins]:
    """Return what a YAML file says, and the places of its keys and list entries.

    Raises:
        InputError: It cannot be read, or is no YAML; with the line.
    """
    import yaml  # type: ignore[import-untyped]

    label, text = shown(path), read_text(path)
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        data = None if node is None else loader.construct_document(node)
    except RecursionError:
        raise InputError(f"{label}: not valid YAML: nested too deep") from None
    except (yaml.YAMLError, ValueError) as exc:  # ValueError: of a date that there is not
        at = getattr(exc, "problem_mark", None)
        line = f":{at.line + 1}:{at.column + 1}" if at is not None else ""
        raise InputError(f"{label}{line}: not valid YAML: {getattr(exc, 'problem', exc)}") from None
    origins = Origins(label)
    if node is not None:
        _walk(node, (), origins, set())
    return data, origins


def _walk(node: Any, path: KeyPath, origins: Origins, seen: set[int]) -> None:
    """Note the places of all that is in ``node``; of what aliases repeat, the first."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if node.id == "mapping":
        for key, value in node.value:
            origins.places[(*path, key.value)] = Place(1, origins.label, _position(key, value))
            _walk(value, (*path, key.value), origins, seen)
    elif node.id == "sequence":
        for i, value in enumerate(node.value):
            origins.places[(*path, i)] = Place(1, origins.label, _position(value, value))
            _walk(value, (*path, i), origins, seen)


def _position(key: Any, value: Any) -> Position:
    at, there = key.start_mark, value.start_mark
    return Position(at.line + 1, at.column + 1, there.line + 1, there.column + 1)
