"""Where each key of a TOML text stands.

No Python TOML parser gives positions for valid files. The text has been accepted by tomli already, so
this scanner only finds things and judges nothing.
"""

from __future__ import annotations

import bisect
import re
from typing import NamedTuple

import tomli

KeyPath = tuple[str | int, ...]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"[ \t]*")
_GAP = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SCALAR = re.compile(r"[^,\]}#\n]*")


class Position(NamedTuple):
    """Line and column, from 1, of a key and of its value (of a table: of its header, twice)."""

    line: int
    column: int
    value_line: int
    value_column: int


def positions(text: str) -> dict[KeyPath, Position]:
    """Return the position of every key, table and array element of ``text``, a valid TOML document.

    An element of an array has its index in the path: ``("bank", 1, "word")``.
    """
    scanner = _Scanner(text)
    scanner.document()
    return scanner.found


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.found: dict[KeyPath, Position] = {}
        self._starts = [0] + [m.end() for m in re.finditer("\n", text)]
        self._elements: dict[KeyPath, int] = {}  # of each array of tables so far

    def document(self) -> None:
        """Go through the whole text."""
        at = self._skip(_GAP, 0)
        table: KeyPath = ()
        while at < len(self.text):
            at, table = self._header(at) if self.text[at] == "[" else (self._pair(at, table), table)
            at = self._skip(_GAP, at)

    def _header(self, start: int) -> tuple[int, KeyPath]:
        brackets = 2 if self.text.startswith("[[", start) else 1
        names, at = self._key(start + brackets)
        table: KeyPath = ()
        for name, name_at in names[:-1]:
            table = self._last((*table, name))
            self._put(table, name_at)
        table = (*table, names[-1][0])
        if brackets == 2:
            self._put(table, start)
            self._elements[table] = self._elements.get(table, 0) + 1
            table = self._last(table)
        self._put(table, start)
        return at + brackets, table

    def _last(self, path: KeyPath) -> KeyPath:
        """Return ``path``, or its last element where it is an array of tables."""
        return (*path, self._elements[path] - 1) if path in self._elements else path

    def _pair(self, at: int, table: KeyPath) -> int:
        names, at = self._key(at)
        at = self._skip(_BLANK, at + 1)
        for name, name_at in names:
            table = (*table, name)
            self._put(table, name_at, at if name_at == names[-1][1] else None)
        return self._value(at, table)

    def _key(self, at: int) -> tuple[list[tuple[str, int]], int]:
        """Return the parts of the dotted key at ``at`` with their offsets, and the offset after it."""
        parts: list[tuple[str, int]] = []
        while True:
            start = at = self._skip(_BLANK, at)
            if self.text[at] in "\"'":
                at = self._string(at)
                parts.append((tomli.loads("x=" + self.text[start:at])["x"], start))
            else:
                at = self._skip(_BARE, at)
                parts.append((self.text[start:at], start))
            at = self._skip(_BLANK, at)
            if not self.text.startswith(".", at):
                return parts, at
            at += 1

    def _value(self, at: int, path: KeyPath) -> int:
        opening = self.text[at]
        if opening in "\"'":
            return self._string(at)
        if opening not in "[{":
            return self._skip(_SCALAR, at)
        at, index = self._skip(_GAP, at + 1), 0
        while self.text[at] not in "]}":
            if opening == "[":
                self._put((*path, index), at, at)
                at = self._value(at, (*path, index))
                index += 1
            else:
                at = self._pair(at, path)
            at = self._skip(_GAP, at)
            if self.text[at] == ",":
                at = self._skip(_GAP, at + 1)
        return at + 1

    def _string(self, at: int) -> int:
        """Return the offset after the string at ``at``."""
        quote = self.text[at]
        end = quote * 3 if self.text.startswith(quote * 3, at) else quote
        at += len(end)
        while not self.text.startswith(end, at):
            at += 2 if self.text[at] == "\\" and quote == '"' else 1
        at += len(end)
        if len(end) == 3:  # up to two more quotes belong to the string
            while self.text.startswith(quote, at):
                at += 1
        return at

    def _skip(self, pattern: re.Pattern[str], at: int) -> int:
        found = pattern.match(self.text, at)
        return found.end() if found else at

    def _put(self, path: KeyPath, key: int, value: int | None = None) -> None:
        if path not in self.found:
            self.found[path] = Position(*self._line(key), *self._line(key if value is None else value))

    def _line(self, at: int) -> tuple[int, int]:
        line = bisect.bisect_right(self._starts, at)
        return line, at - self._starts[line - 1] + 1
