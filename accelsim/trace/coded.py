"""Columns of words that occur many times each: numbers into a list of the words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Coded:
    """A column of words as numbers into ``words``, which are in the order of their first occurrence."""

    codes: NDArray[np.int32]
    words: list[str]

    def __len__(self) -> int:
        return len(self.codes)

    @classmethod
    def of(cls, values: Iterable[str]) -> Coded:
        """Return the column of these words."""
        import numpy as np

        listed = list(values)
        number = {word: i for i, word in enumerate(dict.fromkeys(listed))}
        return cls(np.fromiter(map(number.__getitem__, listed), np.int32, len(listed)), list(number))

    def take(self, order: NDArray[np.intp]) -> Coded:
        """Return the column in another order of rows."""
        import numpy as np

        codes = self.codes[order]
        used, first = np.unique(codes, return_index=True)
        used = used[np.argsort(first)]
        number = np.zeros(len(self.words), dtype=np.int32)
        number[used] = np.arange(used.size, dtype=np.int32)
        return Coded(number[codes], [self.words[i] for i in used])
