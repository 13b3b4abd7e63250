"""Programs as bytes: the same program is the same bytes, and comes back equal.

Under the checksum lies, compressed, one JSON object. It holds a table per dataclass, each with one row
per different value, its fields in order; a field that is a dataclass is the number of a row. Equal parts
of a program are stored, and made, once.
Nothing but the classes of ``Program`` can come out of it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import types
import typing
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from accelsim.program.program import Program

PLAIN = (str, int, float, bool, type(None))
Tables = dict[str, list[list[Any]]]
Rows = dict[str, dict[tuple[Any, ...], int]]
Made = dict[str, list[Any]]


def dumps(program: Program) -> bytes:
    """Return ``program`` as bytes, its checksum in the first line."""
    rows: Rows = {}
    _writer(Program)(program, rows)
    tables = {name: list(those) for name, those in rows.items()}
    packed = zlib.compress(json.dumps(tables, separators=(",", ":")).encode(), level=1)
    return hashlib.sha256(packed).hexdigest().encode() + b"\n" + packed


def loads(data: bytes) -> Program:
    """Return the program that ``dumps`` wrote.

    Raises:
        ValueError: ``data`` is no program, not whole, or of another version of its classes.
    """
    digest, _, packed = data.partition(b"\n")
    if hashlib.sha256(packed).hexdigest().encode() != digest:
        raise ValueError("not whole")
    try:
        tables: Tables = json.loads(zlib.decompress(packed))
        made: Made = {}
        for kind in _kinds(Program):
            make = _maker(kind)
            made[kind.__name__] = [make(row, made) for row in tables.get(kind.__name__, ())]
        (program,) = made["Program"]
    except (KeyError, TypeError, IndexError, AttributeError, zlib.error) as fault:
        raise ValueError(f"not a program of this version: {fault}") from None
    found: Program = program
    return found


@cache
def _hints(kind: type) -> tuple[tuple[str, Any], ...]:
    """Return the names and types of a dataclass's fields, in order."""
    hints = typing.get_type_hints(kind)
    return tuple((f.name, hints[f.name]) for f in dataclasses.fields(kind))


def _kinds(hint: Any) -> list[type]:
    """Return the dataclasses inside a type, those that others are made of first."""
    found: dict[type, None] = {}
    if dataclasses.is_dataclass(hint):
        for _, inner in _hints(hint):  # type: ignore[arg-type]
            found.update(dict.fromkeys(_kinds(inner)))
        found[hint] = None  # type: ignore[index]
    elif typing.get_origin(hint) is not typing.Literal:
        for inner in typing.get_args(hint):
            found.update(dict.fromkeys(_kinds(inner)))
    return list(found)


def _is_plain(hint: Any) -> bool:
    """Return whether JSON gives back a value of this type as it is."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return all(_is_plain(inner) for inner in typing.get_args(hint))
    return hint in PLAIN or typing.get_origin(hint) is typing.Literal


# -- writing -------------------------------------------------------------------------------------


@cache
def _writer(hint: Any) -> Callable[[Any, Rows], Any]:
    """Return the function from a value of a type to what JSON holds."""
    if _is_plain(hint):
        return lambda value, rows: value  # noqa: ARG005
    if dataclasses.is_dataclass(hint):
        return _row_writer(hint)  # type: ignore[arg-type]
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        write = _writer(_only(inner))
        return lambda value, rows: None if value is None else write(value, rows)
    if origin is Mapping:
        key, item = map(_writer, inner)
        return lambda value, rows: tuple((key(k, rows), item(v, rows)) for k, v in value.items())
    if origin is tuple and inner[-1] is Ellipsis:
        each = _writer(inner[0])
        if _is_plain(inner[0]):
            return lambda value, rows: value  # noqa: ARG005
        return lambda value, rows: tuple([each(v, rows) for v in value])
    if origin is tuple:
        several = tuple(map(_writer, inner))
        return lambda value, rows: tuple([w(v, rows) for w, v in zip(several, value, strict=True)])
    raise TypeError(f"no stored form of {hint}")


def _row_writer(kind: type) -> Callable[[Any, Rows], int]:
    fields = [(name, _is_plain(hint), _writer(hint)) for name, hint in _hints(kind)]

    def write(value: Any, rows: Rows) -> int:
        row = tuple([getattr(value, n) if plain else w(getattr(value, n), rows) for n, plain, w in fields])
        table = rows.setdefault(kind.__name__, {})
        return table.setdefault(row, len(table))

    return write


# -- reading -------------------------------------------------------------------------------------


@cache
def _reader(hint: Any) -> Callable[[Any, Made], Any] | None:
    """Return the function from what JSON holds to the value; None: it is the value."""
    if _is_plain(hint):
        return None
    if dataclasses.is_dataclass(hint):
        name = hint.__name__  # type: ignore[union-attr]
        return lambda value, made: made[name][value]
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        read = _read(_only(inner))
        return lambda value, made: None if value is None else read(value, made)
    if origin is Mapping:
        key, item = map(_read, inner)
        return lambda value, made: {key(k, made): item(v, made) for k, v in value}
    if origin is tuple and inner[-1] is Ellipsis:
        each = _reader(inner[0])
        if each is None:
            return lambda value, made: tuple(value)  # noqa: ARG005
        return lambda value, made: tuple([each(v, made) for v in value])
    if origin is tuple:
        if all(map(_is_plain, inner)):
            return lambda value, made: tuple(value)  # noqa: ARG005
        several = tuple(map(_read, inner))
        return lambda value, made: tuple([r(v, made) for r, v in zip(several, value, strict=True)])
    raise TypeError(f"no stored form of {hint}")


def _read(hint: Any) -> Callable[[Any, Made], Any]:
    return _reader(hint) or (lambda value, made: value)  # noqa: ARG005


def _maker(kind: type) -> Callable[[list[Any], Made], Any]:
    """Return the function from a row to the object."""
    names = tuple(name for name, _ in _hints(kind))
    readers = [(i, r) for i, r in enumerate(_reader(hint) for _, hint in _hints(kind)) if r is not None]

    def make(row: list[Any], made: Made) -> Any:
        for i, read in readers:
            row[i] = read(row[i], made)
        return kind(**dict(zip(names, row, strict=True)))

    return make


def _only(inner: tuple[Any, ...]) -> Any:
    """Return the one type beside None."""
    (one,) = (x for x in inner if x is not type(None))
    return one
