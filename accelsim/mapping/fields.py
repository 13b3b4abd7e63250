"""Tensors that are split by bit fields: each has a life of its own; a tensor lies on chip with all of them.

A field's life is named by its data's ``key``; that of a tensor that is not split is the tensor's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from accelsim.errors import MappingError
from accelsim.mapping.storage import Life
from accelsim.resolve.machine import Machine

MOST = 126  # homes that a byte tells apart, see ``codes``


class Fields:
    """The lives of all bit fields, by key, the keys of every tensor, and its life as a ``whole``."""

    def __init__(self, lives: Mapping[str, Life], machine: Machine) -> None:
        self.whole = dict(lives)
        self.lives: dict[str, Life] = {}
        self.keys: dict[str, tuple[str, ...]] = {}
        for name, life in lives.items():
            own = _split(life, machine)
            self.lives |= {part.data.key: part for part in own}
            self.keys[name] = tuple(part.data.key for part in own)

    @property
    def split(self) -> list[tuple[str, ...]]:
        """The keys of every tensor that is split."""
        return [keys for keys in self.keys.values() if len(keys) > 1]

    def of(self, tensor: str) -> list[Life]:
        """Return the lives of a tensor's fields, or its own."""
        return [self.lives[key] for key in self.keys[tensor]]

    def bits(self, tensor: str) -> tuple[int, ...]:
        """Return the bits of a tensor's fields; (): it is not split."""
        return tuple(life.data.bits for life in self.of(tensor) if life.data.bits)


def _split(life: Life, machine: Machine) -> list[Life]:
    """Return the lives of a tensor's fields; labels and masks, in a format of their own, are not split."""
    data = life.data
    if machine.formats.get(data.role) != data.element_format:
        return [life]
    found = []
    for field in machine.fields_of(data.role):
        own = replace(data, bit_field=field.name, bit_places=field.places)
        successor = life.successor and replace(own, tensor=life.successor).key
        predecessor = life.predecessor and replace(own, tensor=life.predecessor).key
        found.append(
            replace(life, data=own, groups=field.groups, successor=successor, predecessor=predecessor)
        )
    return found or [life]


class Homes:
    """Bank groups by number; beyond them lists of groups, one for each field of a tensor that is split."""

    def __init__(self, banks: Iterable[str]) -> None:
        self.groups: list[tuple[str, ...]] = [(name,) for name in banks]
        self._number = {groups: i for i, groups in enumerate(self.groups)}

    def number(self, groups: tuple[str, ...]) -> int:
        """Return the number of a group, or of the groups of fields.

        Raises:
            MappingError: if there are too many combinations of groups.
        """
        found = self._number.get(groups)
        if found is None:
            found = self._number[groups] = len(self.groups)
            self.groups.append(groups)
            if found >= MOST:
                raise MappingError(
                    f"[placement] lets bit fields lie in more than {MOST} combinations of bank groups; "
                    "shorten the lists of their groups"
                )
        return found
