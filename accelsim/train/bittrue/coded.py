"""Cells under a SECDED code: words of 64 bits with 8 check bits in cells of their own.

Every access takes whole code words: a read decodes them, a write of less is a read-modify-write. The
decoder sees what has changed since the word was encoded; what was wrong before looks right to it. A scrub
decodes each word once in its interval and writes back what it corrects, at an instant that goes with the
address; it senses without errors and its correction does not fail, as ``accelsim.reliability`` takes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from accelsim.reliability.ecc import secded
from accelsim.resolve.bank_group import Ecc
from accelsim.train.bittrue.banks import MISCORRECTED, SENSE, Books, ones
from accelsim.train.bittrue.cells import Cells, Int, Physics, indices
from accelsim.train.bittrue.words import Spot, Words, compact, is_number
from accelsim.train.draws import Stream, flips

CODE: Final = Ecc(data_bits=64, check_bits=8, latency_ps=0)  # what is modelled
_BYTES: Final = 8  # of data in a code word
Bytes = NDArray[np.uint8]


def _tables() -> tuple[Bytes, NDArray[np.int64]]:
    """Return the check byte of every value of every byte, and the bit that a syndrome names (-1: none)."""
    columns = np.array(secded(CODE).columns, dtype=np.uint8)
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    tables = np.zeros((_BYTES, 256), dtype=np.uint8)
    for byte in range(_BYTES):
        own = columns[8 * byte : 8 * byte + 8]
        tables[byte] = np.bitwise_xor.reduce(np.where(bits, own, 0).astype(np.uint8), axis=1)
    named = np.full(256, -1, dtype=np.int64)
    named[columns] = np.arange(columns.size)
    return tables, named


_CHECKS, _NAMED = _tables()


@dataclass(frozen=True, slots=True, eq=False)
class Whole:
    """The code words that an access touches.

    Attributes:
        words: All data words of them.
        checks: Their check bytes.
        codes: Their numbers.
        box: Where among ``words`` the access's own are.
    """

    words: Spot
    checks: Spot
    codes: Int
    box: slice | Int


class CodedCells(Cells):
    """The group of a device whose words are coded, and scrubbed every ``scrub_ps`` (0: never)."""

    def __init__(
        self,
        group: str,
        nbytes: int,
        word: int,
        books: Books,
        physics: Physics,
        stream: Stream,
        scrub_ps: int = 0,
    ) -> None:
        nbytes = -(-nbytes // _BYTES) * _BYTES
        super().__init__(group, nbytes, word, books, physics, stream)
        self.since_coded: Words = np.zeros_like(self.data)  # bits that have changed since they were encoded
        self.checks = Cells(f"{group}/check", nbytes // _BYTES, 1, Books(), physics, stream)
        self._scrub_ps = scrub_ps
        self._per = _BYTES // word
        self._known: dict[Spot, Whole] = {}
        self.by_cause[MISCORRECTED] = np.zeros_like(self.data)

    # -- accesses --------------------------------------------------------------------------------

    def read(self, spot: Spot, at_ps: int, place: tuple[int, ...]) -> tuple[Words, Words]:
        """Return what a read delivers, and its wrong bits; the cells have aged, and are disturbed by it."""
        if not is_number(spot.data.element_format):
            return self.data[spot.at].copy(), self.wrong[spot.at].copy()
        whole = self._whole(spot)
        generator = self._stream.at("read", self.group, *place)
        self._come_to(whole, at_ps, generator)
        words, wrong = self.data[spot.at].copy(), self.wrong[spot.at].copy()
        self._note(spot, indices(spot), words, wrong)
        sensed = self._sensed(whole.words.at, self._width, self.data.dtype, generator)
        check = self._sensed(whole.checks.at, 8, self.checks.data.dtype, generator)
        fix, _ = self._fixes(whole, sensed, check)
        self.books.counts.flip(spot.role, SENSE, ones(sensed[whole.box]))
        turned = sensed[whole.box] ^ fix[whole.box]
        self._strike(whole, generator)
        self._deliver(spot, wrong ^ turned)
        return words ^ turned, wrong ^ turned

    def write(
        self, spot: Spot, words: Words, wrong: Words | None, at_ps: int, place: tuple[int, ...]
    ) -> None:
        """Write ``words``, of which ``wrong`` is wrong already; cells that should change may not."""
        whole = self._whole(spot)
        generator = self._stream.at("write", self.group, *place)
        self._come_to(whole, at_ps, generator)
        at = whole.words.at
        before = self.data[at].copy()
        fix, _ = self._fixes(whole, None, None)
        rest = np.ones(before.size, dtype=bool)
        rest[whole.box] = False
        self._correct(whole.words, np.where(rest, fix, 0).astype(fix.dtype))
        intended = self.data[at].copy()
        intended[whole.box] = words
        changed = before ^ intended
        failed = np.zeros_like(intended)
        if is_number(spot.data.element_format):
            failed = self._failed(intended, changed, generator)
            self.books.written[spot.role] += self._width * words.size
            self.books.changed[spot.role] += ones(changed[whole.box])
        self._enter(spot, whole, intended, wrong, failed, rest)
        self.checks.write(whole.checks, _encoded(intended), None, at_ps, place)

    def _enter(
        self,
        spot: Spot,
        whole: Whole,
        intended: Words,
        wrong: Words | None,
        failed: Words,
        rest: NDArray[np.bool_],
    ) -> None:
        """Enter what was written: the access's own words, and the rest of their code words as it was."""
        own = failed[whole.box]
        self._count_write(spot, wrong, own)
        self._settle(spot, wrong, own)
        others = indices(whole.words)[rest]
        lost = failed[rest]
        for mask in self.by_cause.values():
            mask[others] &= ~lost
        self.by_cause["write"][others] |= lost & ~self.wrong[others]
        self.wrong[others] ^= lost
        self.data[whole.words.at] = intended ^ failed
        self.since_coded[whole.words.at] = failed

    def passed(self, spot: Spot, at_ps: int) -> None:
        whole = self._whole(spot)
        super().passed(whole.words, at_ps)
        self.checks.passed(whole.checks, at_ps)

    def put(self, spot: Spot, words: Words) -> None:
        super().put(spot, words)
        whole = self._whole(spot)
        self.since_coded[whole.words.at] = 0
        self.checks.put(whole.checks, _encoded(self.data[whole.words.at]))

    # -- code words ------------------------------------------------------------------------------

    def _whole(self, spot: Spot) -> Whole:
        """Return the code words of ``spot``, looked up once."""
        if spot not in self._known:
            own = indices(spot)
            codes = np.unique(own // self._per)
            words = (codes[:, None] * self._per + np.arange(self._per)).reshape(-1)
            box = np.searchsorted(codes, own // self._per) * self._per + own % self._per
            wide = replace(spot, at=compact(words))
            checks = replace(spot, at=compact(codes), count=codes.size)
            self._known[spot] = Whole(wide, checks, codes, compact(box))
        return self._known[spot]

    def _come_to(self, whole: Whole, at_ps: int, generator: np.random.Generator) -> None:
        """Let time pass up to ``at_ps``, by way of the scrubs before."""
        if self._scrub_ps:
            self._scrub(whole, at_ps, generator)
        self._age(whole.words, indices(whole.words), at_ps, generator, counted=True)
        self.checks.age(whole.checks, at_ps, generator)

    def _scrub(self, whole: Whole, at_ps: int, generator: np.random.Generator) -> None:
        total, codes = self.data.size // self._per, whole.codes
        while codes.size:
            phase = codes * self._scrub_ps // total
            since = self.since[codes * self._per]
            due = phase + (np.floor_divide(since - phase, self._scrub_ps) + 1) * self._scrub_ps
            codes, due = codes[due < at_ps], due[due < at_ps]
            if not codes.size:
                return
            words = (codes[:, None] * self._per + np.arange(self._per)).reshape(-1)
            some = Whole(replace(whole.words, at=words), replace(whole.checks, at=codes), codes, slice(None))
            self._age(some.words, words, np.repeat(due, self._per), generator, counted=True)
            self.checks.age(some.checks, due, generator)
            fix, check = self._fixes(some, None, None)
            self._correct(some.words, fix)
            self.checks.mend(some.checks, check)
            self._strike(some, generator)

    def _fixes(self, whole: Whole, sensed: Words | None, check: Words | None) -> tuple[Words, Bytes]:
        """Return the bits that the decoder turns, of the data and of the check bytes."""
        error = self.since_coded[whole.words.at]
        lost = self.checks.wrong[whole.checks.at]
        if sensed is not None and check is not None:
            error, lost = error ^ sensed, lost ^ check
        fix = np.zeros((whole.codes.size, _BYTES), dtype=np.uint8)
        mend = np.zeros(whole.codes.size, dtype=np.uint8)
        some = np.flatnonzero(error.reshape(-1, self._per).any(axis=1) | (lost != 0))
        if some.size:
            syndrome = _encoded(error.reshape(-1, self._per)[some]) ^ lost[some]
            bit = np.where(syndrome != 0, _NAMED[syndrome], -1)
            data = (bit >= 0) & (bit < 64)
            fix[some[data], bit[data] // 8] = 1 << (bit[data] % 8)
            mend[some[bit >= 64]] = 1 << (bit[bit >= 64] - 64)
        return fix.reshape(-1).view(self.data.dtype), mend

    def _correct(self, words: Spot, fix: Words) -> None:
        """Turn bits for good; a wrong one is right then, a right one miscorrected."""
        which = np.flatnonzero(fix)
        if which.size:
            self._flip(words, indices(words), which, fix[which], False, MISCORRECTED)

    def _flip(
        self, spot: Spot, where: Int, which: Int, masks: Words, counted: bool, cause: str = "retention"
    ) -> None:
        super()._flip(spot, where, which, masks, counted, cause)
        self.since_coded[where[which]] ^= masks

    def _strike(self, whole: Whole, generator: np.random.Generator) -> None:
        self._disturb(whole.words, indices(whole.words), generator)
        self.checks.strike(whole.checks, generator)

    def _sensed(self, at: Any, width: int, dtype: Any, generator: np.random.Generator) -> Words:
        count = at.stop - at.start if isinstance(at, slice) else at.size
        found = flips(generator, width * count, self.physics.sense)
        masks = np.zeros(count, dtype=dtype)
        word, bit = np.divmod(found, width)
        np.bitwise_or.at(masks, word, np.left_shift(np.array(1, dtype), bit.astype(dtype)))
        return masks

    def state(self) -> dict[str, Any]:
        return {**super().state(), "since_coded": self.since_coded, "checks": self.checks.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.checks.restore(state["checks"])
        super().restore({k: v for k, v in state.items() if k != "checks"})


def _encoded(words: Words) -> Bytes:
    """Return the check byte of each code word of ``words``."""
    data = np.ascontiguousarray(words).reshape(-1).view(np.uint8).reshape(-1, _BYTES)
    found = _CHECKS[0][data[:, 0]]
    for byte in range(1, _BYTES):
        found = found ^ _CHECKS[byte][data[:, byte]]
    return np.asarray(found, dtype=np.uint8)
