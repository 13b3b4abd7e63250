"""Numbers that tell tiles apart by several things at once, as arrays over all tiles."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Int = NDArray[np.int64]
MANY: Final = 1 << 40  # codes beyond are numbered anew, so that products stay whole


class Codes:
    """A number per tile that tells apart what was mixed in."""

    def __init__(self, count: int) -> None:
        self._code: Int = np.zeros(count, dtype=np.int64)
        self._size = 1

    def mix(self, values: Int) -> None:
        """Mix in a number per tile."""
        if not values.size:
            return
        low = int(values.min())
        size = int(values.max()) - low + 1
        if size == 1:
            return
        if self._size * size > MANY:
            self._code = self.numbers()
            self._size = int(self._code.max()) + 1
            _, values = np.unique(values, return_inverse=True)
            low, size = 0, int(values.max()) + 1
        self._code = self._code * size + (values - low)
        self._size *= size

    def numbers(self) -> Int:
        """Return small numbers that tell the same apart."""
        if self._size == 1:
            return np.zeros(self._code.size, dtype=np.int64)
        return np.unique(self._code, return_inverse=True)[1].astype(np.int64)
