"""Where data lie while a program is interpreted: tensors in DRAM, one number per byte address in banks.

An element of a region is at the address of its first byte; the other bytes it covers are marked as no
number, so that regions that overlap destroy each other, however they are aligned.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from accelsim.geometry import Box, volume
from accelsim.program.program import Binding, Data, Region
from tests.interpreter.planes import ABSENT, BitCells, Carried, carried_by, joined

Numbers = NDArray[np.float64]
Places = NDArray[np.int64]


class Hazard(AssertionError):
    """Something is read that is not there: never written, or overwritten by something else."""


def flat(box: Box, shape: tuple[int, ...]) -> Places:
    """Return the row-major indices of the elements of ``box`` in a tensor of ``shape``, in order."""
    places: Places = np.zeros((), dtype=np.int64)
    for (low, high), size in zip(box, shape, strict=True):
        places = places[..., None] * size + np.arange(low, high)
    return places.ravel()


class Banks:
    """All bank groups; every address begins as not a number."""

    def __init__(self, capacity_bytes: Mapping[str, int]) -> None:
        self._cells = {group: np.full(n, np.nan) for group, n in capacity_bytes.items()}
        self._starts: dict[tuple[Region, int], Places] = {}
        self._bits = BitCells(dict(capacity_bytes))

    def _addresses(self, region: Region, element_bytes: int) -> Places:
        """Return the address of every element that fits into ``region``."""
        known = self._starts.get((region, element_bytes))
        if known is None:
            assert all(n % element_bytes == 0 for _, n in region.extents), region
            parts = [np.arange(at, at + n, element_bytes, dtype=np.int64) for at, n in region.extents]
            known = self._starts[region, element_bytes] = np.concatenate(parts)
        return known

    def write(self, region: Region, element_bytes: int, places: Places, values: Numbers) -> None:
        """Write elements to their ``places`` in ``region``."""
        at = self._addresses(region, element_bytes)[places]
        cells = self._cells[region.group]
        for byte in range(1, element_bytes):
            cells[at + byte] = np.nan
        cells[at] = values
        self._bits.lose(region.group, at, element_bytes)

    def write_field(self, region: Region, data: Data, places: Places, carried: Carried) -> None:
        """Write a bit field of elements to their ``places`` in ``region``, its bits packed."""
        at = self._bits.addresses(region, data, places)
        self._cells[region.group][at // 8] = np.nan
        self._bits.write(region.group, at, carried)

    def read_field(self, region: Region, data: Data, places: Places, what: str) -> Carried:
        """Return a bit field of the elements at ``places`` of ``region``.

        Raises:
            Hazard: as ``read``.
        """
        carried = self._bits.read(region.group, self._bits.addresses(region, data, places))
        lost = int((carried == ABSENT).any(axis=1).sum())
        if lost:
            raise Hazard(f"{what}: {data.bit_field} of {lost} elements are not in {region.group}")
        return carried

    def read(self, region: Region, element_bytes: int, places: Places, what: str) -> Numbers:
        """Return the elements at ``places`` of ``region``.

        Raises:
            Hazard: if one of them was never written or has been overwritten; ``what`` reads it.
        """
        values: Numbers = self._cells[region.group][self._addresses(region, element_bytes)[places]]
        lost = int(np.isnan(values).sum())
        if lost:
            raise Hazard(f"{what}: {lost} of {values.size} elements are not in {region.group}")
        return values

    def addresses(self, region: Region, element_bytes: int, places: Places) -> Places:
        """Return the address of the first byte of every element at ``places``."""
        return self._addresses(region, element_bytes)[places]

    def word(self, group: str, number: int, word_bytes: int) -> Numbers:
        """Return the bytes of one word, as cells: a number where an element begins."""
        return self._cells[group][number * word_bytes : (number + 1) * word_bytes]

    def forget_all_but(self, kept: list[Region]) -> None:
        """Lose everything outside of the regions ``kept``: what a step may carry into the next one."""
        for group, cells in self._cells.items():
            lost = np.ones(cells.size, dtype=bool)
            for region in kept:
                for at, n in region.extents if region.group == group else ():
                    lost[at : at + n] = False
            cells[lost] = np.nan
            self._bits.lose_where(group, lost)


class Dram:
    """Whole tensors by name, flat, split ones as ``fields`` by key; what was never written is no number."""

    def __init__(self, sizes: Mapping[str, int], fields: Mapping[str, Data]) -> None:
        self._tensors = {name: np.full(n, np.nan) for name, n in sizes.items()}
        self._data: dict[str, list[Data]] = {}
        for data in fields.values():
            self._data.setdefault(data.tensor, []).append(data)
        self._fields = {k: np.full((sizes[d.tensor], d.bits), ABSENT) for k, d in fields.items()}

    def write(self, tensor: str, places: Places, values: Numbers) -> None:
        """Write elements of ``tensor``."""
        self._tensors[tensor][places] = values

    def read(self, tensor: str, places: Places, what: str) -> Numbers:
        """Return elements of ``tensor``.

        Raises:
            Hazard: if one of them is not in DRAM; ``what`` reads it.
        """
        values = self._tensors[tensor][places]
        if np.isnan(values).any():
            raise Hazard(f"{what}: {int(np.isnan(values).sum())} elements of {tensor} are not in DRAM")
        return values

    def write_field(self, data: Data, places: Places, carried: Carried) -> None:
        """Write a bit field of elements of a tensor."""
        self._fields[data.key][places] = carried

    def read_field(self, data: Data, places: Places, what: str) -> Carried:
        """Return a bit field of elements of a tensor.

        Raises:
            Hazard: as ``read``.
        """
        carried = self._fields[data.key][places]
        if (carried == ABSENT).any():
            raise Hazard(f"{what}: elements of {data.key} are not in DRAM")
        return carried

    def put(self, tensor: str, values: Numbers) -> None:
        """Let ``tensor`` be ``values``, whole."""
        if tensor not in self._data:
            self._tensors[tensor][:] = values.ravel()
        for data in self._data.get(tensor, ()):
            self._fields[data.key][:] = carried_by(data, values.ravel().astype(np.float64))

    def forget_all(self) -> None:
        """Lose everything."""
        for values in self._tensors.values():
            values[:] = np.nan
        for carried in self._fields.values():
            carried[:] = ABSENT

    def whole(self, tensor: str) -> Numbers:
        """Return the tensor, with what is missing as not a number."""
        if tensor not in self._data:
            return self._tensors[tensor].copy()
        fields = [(data, self._fields[data.key]) for data in self._data[tensor]]
        lost = np.any([(carried == ABSENT).any(axis=1) for _, carried in fields], axis=0)
        return np.where(lost, np.nan, joined([(data, np.maximum(c, 0)) for data, c in fields]))


def torchs_places(data: Data) -> Places:
    """Return the place in torch's tensor of every element as it is stored, in order."""
    if not data.order:
        return np.arange(math.prod(data.shape))
    stored = [n for n in data.shape if n > 1]
    shape = [stored[data.order.index(i)] for i in range(len(stored))]
    places: Places = np.arange(math.prod(shape)).reshape(shape).transpose(data.order).ravel()
    return places


class BoundOperand:
    """A kernel's operand at one tile: the region and the place in it of every element of a box.

    In a copy an element is at its row-major place in the tensor as stored, in a slot the box is packed.
    """

    def __init__(self, binding: Binding, box: Box, slot: int, regions: list[Region]) -> None:
        self.binding = binding
        self.box = box
        self.packed = binding.copy is None
        self.region = binding.slots[slot] if binding.copy is None else regions[binding.copy]

    @property
    def data(self) -> Data:
        """The tensor, or its bit field, as stored."""
        return self.binding.data

    def flat(self) -> Places:
        """Return the row-major indices in torch's tensor of all elements of the box."""
        stored = flat(self.box, self.binding.operand.shape)
        return torchs_places(self.binding.data)[stored] if self.binding.data.order else stored

    def places(self) -> Places:
        """Return the places in the region of all elements of the box."""
        return np.arange(volume(self.box)) if self.packed else flat(self.box, self.binding.operand.shape)

    def places_of(self, indices: list[Places]) -> Places:
        """Return the places in the region of elements by their index in every dimension."""
        places: Places = np.zeros((), dtype=np.int64)
        shape = self.binding.operand.shape
        for index, (low, high), size in zip(indices, self.box, shape, strict=True):
            places = places * (high - low) + (index - low) if self.packed else places * size + index
        return places
