"""SECDED(72, 64): what a decoder delivers of words with wrong bits.

The code is linear, so the result depends on the wrong bits only, not on the data: no data are encoded.
"""

from __future__ import annotations

from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from accelsim.train.draws import NONE, Positions, run_starts

DATA: Final = 64
CHECK: Final = 8
CODE: Final = DATA + CHECK


def _columns() -> NDArray[np.uint8]:
    """Return the code's 72 columns, distinct and of odd weight (Hsiao's choice); check bits are last."""
    odd = [sum(1 << b for b in c) for size in (3, 5) for c in combinations(range(CHECK), size)]
    return np.array([*odd[:DATA], *(1 << b for b in range(CHECK))], np.uint8)


COLUMNS: Final = _columns()
_BIT_OF: Final = np.full(256, -1, np.int64)  # by syndrome; -1: of no single bit, so detected only
_BIT_OF[COLUMNS] = np.arange(CODE)


def decode(wrong: Positions) -> Positions:
    """Return the wrong data bits, 64 a word, that a decoder delivers of the wrong code bits, 72 a word.

    One wrong bit is corrected. Two are detected and delivered as they are. Of three and more, a syndrome
    that is a column turns one bit more (a miscorrection) or goes unseen.
    """
    if not wrong.size:
        return NONE
    word, bit = np.divmod(wrong, CODE)
    start = run_starts(word)
    syndrome = np.bitwise_xor.reduceat(COLUMNS[bit], start)
    turned = np.where(syndrome > 0, _BIT_OF[syndrome], -1)
    turned = word[start][turned >= 0] * CODE + turned[turned >= 0]
    left = np.setxor1d(wrong, turned, assume_unique=True)
    word, bit = np.divmod(left, CODE)
    data = bit < DATA
    return word[data] * DATA + bit[data]


def miscorrected(wrong: Positions) -> int:
    """Return how many words the decoder makes worse: it turns a bit that was right."""
    before, after = set(wrong.tolist()), decode(wrong)
    word, bit = np.divmod(after, DATA)
    return len({int(w) for w, b in zip(word, bit, strict=True) if int(w * CODE + b) not in before})
