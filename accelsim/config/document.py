"""A TOML file, what it extends and what the command line overrides, to one validated spec.

``extends`` names one or several base files; tables merge deep, everything else replaces; later bases win
over earlier ones, the file over its bases, ``--set`` over all. Every fault is found at once and placed in
the file that holds the key.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import tomli
from pydantic import BaseModel, ValidationError

from accelsim.config.faults import faults_of
from accelsim.config.origins import Origins, Place, error
from accelsim.config.positions import KeyPath, Position, positions
from accelsim.errors import ConfigError, InputError

Spec = TypeVar("Spec", bound=BaseModel)
ResolveName = Callable[[str], Path]
Table = dict[str, Any]


def load_spec(
    path: Path,
    spec: type[Spec],
    *,
    overrides: Sequence[str] = (),
    option: str = "--set ",
    resolve_name: ResolveName,
) -> tuple[Spec, Origins]:
    """Load the description at ``path`` as a ``spec``, and where each of its keys stands.

    Args:
        path: The TOML file.
        spec: The pydantic model that it must satisfy.
        overrides: Texts ``key.path=value``, applied in order.
        option: What the user typed before the key of an override.
        resolve_name: From a bare name in ``extends`` to a file; may raise InputError.

    Raises:
        InputError: The file cannot be read.
        ConfigError: All faults, a line each: ``file:line:column: key: what is wrong``.
    """
    merged = _Merge(resolve_name, path, spec)
    merged.file(path, ())
    unread: list[str] = []
    for text in overrides:
        try:
            merged.override(text, option)
        except ConfigError as exc:
            unread += exc.faults
    if unread:
        raise ConfigError(unread)
    try:
        return spec.model_validate(merged.data), merged.origins
    except ValidationError as exc:
        raise error(faults_of(exc, spec, merged.origins)) from None


def shown(path: Path) -> str:
    """Return ``path`` as the user would type it: relative where it lies below the working folder."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


class _Merge:
    """The growing union of files and overrides."""

    def __init__(self, resolve_name: ResolveName, path: Path, spec: type[BaseModel]) -> None:
        self.data: Table = {}
        self.origins = Origins(shown(path))
        self._resolve_name = resolve_name
        self._whole: frozenset[str] = getattr(spec, "WHOLE", frozenset())  # whose tables replace one another
        self._one_of: tuple[tuple[str, ...], ...] = getattr(spec, "ONE_OF", ())  # keys that do
        self._goes_with: dict[str, str] = getattr(spec, "GOES_WITH", {})
        self._sources = 0

    def file(self, path: Path, above: tuple[Path, ...]) -> None:
        """Lay the bases of the file at ``path``, then the file, over what is there."""
        source, label = self._next_source(), shown(path)
        text = read_text(path)
        data = dict(_parse(text, label))
        here = {keys: Place(source, label, at) for keys, at in _positions(text).items()}
        line = (*above, path.resolve())
        extends = data.pop("extends", [])
        for keys, base in self._bases(path, extends, here):
            if base.resolve() in line:
                cycle = " -> ".join(p.name for p in (*line[line.index(base.resolve()) :], base))
                raise _at(here, keys, f"cycle {cycle}")
            self.file(base, line)
        self._replace(data)
        self._lay(self.data, data, ())
        self.origins.places.update(here)

    def _bases(self, path: Path, extends: object, here: dict[KeyPath, Place]) -> list[tuple[KeyPath, Path]]:
        names = extends if isinstance(extends, list) else [extends]
        bases: list[tuple[KeyPath, Path]] = []
        for i, name in enumerate(names):
            keys: KeyPath = ("extends", i) if isinstance(extends, list) else ("extends",)
            if not isinstance(name, str):
                raise _at(here, keys, f"expected a name or a path, or a list of them, got {name!r}")
            try:
                bases.append((keys, self._base(path, name)))
            except InputError as exc:
                raise _at(here, keys, str(exc)) from None
        return bases

    def _base(self, path: Path, name: str) -> Path:
        if "/" not in name and not name.endswith(".toml"):
            return self._resolve_name(name)
        base = path.parent / name
        if not base.is_file():
            raise InputError(f'no such file "{name}" beside {path.name}')
        return base

    def override(self, text: str, option: str) -> None:
        """Lay ``key.path=value`` over what is there."""
        keys, value = parse_override(text)
        place = Place(self._next_source(), f"{option}{'.'.join(keys)}", None)
        data: Any = value
        for key in reversed(keys):
            data = {key: data}
        self._lay(self.data, data, (), named=len(keys))
        for path, value in _paths(data).items():
            if isinstance(value, dict):  # a table that is there already keeps its place
                self.origins.places.setdefault(path, place)
            else:
                self.origins.places[path] = place

    def _next_source(self) -> int:
        self._sources += 1
        return self._sources

    def _lay(self, under: Table, over: Table, path: KeyPath, named: int = 0) -> None:
        """Lay a table over another; an override has ``named`` keys one by one."""
        for key, value in over.items():
            keys = (*path, key)
            whole = len(path) == 1 and path[0] in self._whole and named <= len(keys)
            if isinstance(value, dict) and isinstance(under.get(key), dict) and not whole:
                self._lay(under[key], value, keys, named)
            else:
                self._forget(keys)
                under[key] = copy.deepcopy(value)

    def _replace(self, over: Table) -> None:
        """Take away the keys that cannot be beside one that a file gives."""
        for group in self._one_of:
            if any(key in over for key in group):
                gone = [key for key in group if key in self.data and key not in over]
                for key in (*gone, *(self._goes_with[key] for key in gone if key in self._goes_with)):
                    self.data.pop(key, None)
                    self._forget((key,))

    def _forget(self, keys: KeyPath) -> None:
        places = self.origins.places
        self.origins.places = {p: at for p, at in places.items() if p[: len(keys)] != keys}


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        InputError: It is not there, cannot be read, or is no UTF-8.
    """
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as exc:
        raise InputError(f"{shown(path)}: not a text file in UTF-8 (byte {exc.start})") from None
    except FileNotFoundError:
        raise InputError(f"{shown(path)}: no such file") from None
    except OSError as exc:
        raise InputError(f"{shown(path)}: cannot be read: {exc.strerror}") from None


@lru_cache(maxsize=64)  # a sweep reads the same files for every candidate
def _positions(text: str) -> dict[KeyPath, Position]:
    return positions(text)


@lru_cache(maxsize=64)
def _parse(text: str, label: str) -> Table:
    """Return the table of a text, to be read only."""
    try:
        return tomli.loads(text)
    except tomli.TOMLDecodeError as exc:
        what = exc.msg[:1].lower() + exc.msg[1:]
        raise ConfigError([f"{label}:{exc.lineno}:{exc.colno}: not valid TOML: {what}"]) from None
    except RecursionError:
        raise ConfigError([f"{label}:1:1: not valid TOML: nested too deep"]) from None


def parse_override(text: str) -> tuple[list[str], Any]:
    """Return the keys and the value of a text ``key.path=value``, as after ``--set``.

    Raises:
        ConfigError: It is none.
    """
    key, equals, value = text.partition("=")
    key, value = key.strip(), value.strip()
    if not equals or not key or not value:
        raise ConfigError([f'--set {text}: expected key.path=value, such as clock="1 GHz"'])
    try:
        keys = [str(k) for k in max(_paths(tomli.loads(f"{key} = 0")), key=len)]
    except tomli.TOMLDecodeError:
        raise ConfigError([f"--set {key}: not a key; expected names joined by dots"]) from None
    if keys[0] == "extends":
        raise ConfigError(["--set extends: cannot be overridden; name another file instead"])
    return keys, _parse_value(key, value)


def _parse_value(key: str, value: str) -> Any:
    """Return ``value`` as TOML reads it; what is no TOML is a bare word, a string."""
    try:
        parsed = tomli.loads(f"value = {value}")
    except tomli.TOMLDecodeError:
        parsed = {}
    if list(parsed) == ["value"]:
        return parsed["value"]
    if re.match(r"[\[{\"']", value) or "\n" in value:
        raise ConfigError([f"--set {key}: not a TOML value: {value}"])
    return value


def _paths(data: object, path: KeyPath = ()) -> dict[KeyPath, Any]:
    """Return every path of ``data`` but the root, with what stands there."""
    items: list[tuple[str | int, Any]] = []
    if isinstance(data, dict):
        items = list(data.items())
    elif isinstance(data, list):
        items = list(enumerate(data))
    found: dict[KeyPath, Any] = {}
    for key, value in items:
        found[(*path, key)] = value
        found |= _paths(value, (*path, key))
    return found


def _at(here: dict[KeyPath, Place], keys: KeyPath, what: str) -> ConfigError:
    origins = Origins("")
    origins.places = here
    return error([origins.fault(keys, what)])
