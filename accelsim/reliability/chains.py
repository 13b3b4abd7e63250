"""Chains of copies: what a copy is filled with was read from another one, and is as wrong as it was then.

A copy that is filled from DRAM with what a copy class wrote back there inherits the errors that the
write-back's read delivered, after correction; DRAM itself makes none. The mean over the class's
write-backs is taken, weighted by bits. A produced copy, and one filled from an original, inherit nothing.
A bank that corrects encodes what it is given: inherited errors look right to its decoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import InputError
from accelsim.reliability.chain import Array, flipped
from accelsim.reliability.history import History
from accelsim.reliability.reads import Reads
from accelsim.words import WRITE_BACK


@dataclass(frozen=True, eq=False)
class Inherited:
    """Errors against the true value of a bit, by that value; shape ``(2, n)`` each.

    ``wrong`` is the probability that the value written was wrong; the others as in ``History``.
    """

    wrong: Array
    new: Array
    back: Array
    both: Array
    delivered: Array


def inherited(reads: Reads, own: History) -> Inherited:
    """Return the errors of every row, those of its parents included.

    Raises:
        InputError: If copies are filled from each other in a ring, or from one that was never written back.
    """
    wrong = np.zeros((2, len(reads)))
    parents = _parents(reads)
    written_back = _write_backs(reads, set(parents))
    for parent in _ancestors_first(reads, parents):
        rows = written_back.get(parent)
        if rows is None:
            child = reads.text("copy_class")[parents[parent][0]]
            raise InputError(f"{child}: filled with what {parent} wrote back, but it never did")
        weight = np.maximum(reads.bits[rows], 1)
        delivered = through(wrong[:, rows], own.delivered[:, rows])
        wrong[:, parents[parent]] = ((weight * delivered).sum(axis=1) / weight.sum())[:, None]
    return _against_truth(reads, own, wrong)


def through(wrong: Array, own: Array) -> Array:
    """Return the probability of an error against the truth after a write that was ``wrong``."""
    return wrong * (1 - flipped(own)) + (1 - wrong) * own


def _against_truth(reads: Reads, own: History, wrong: Array) -> Inherited:
    """Return the joint probabilities with right and wrong told by the truth: a wrong value swaps them."""
    stay = 1 - own.new - own.back - own.both
    new = (1 - wrong) * own.new + wrong * flipped(own.back)
    back = (1 - wrong) * own.back + wrong * flipped(own.new)
    both = (1 - wrong) * own.both + wrong * flipped(stay)
    first = reads.index == 0  # nothing was read before: all that is wrong is new
    return Inherited(
        wrong=wrong,
        new=np.where(first, through(wrong, own.new), new),
        back=np.where(first, 0.0, back),
        both=np.where(first, 0.0, both),
        delivered=through(wrong, own.delivered),
    )


def _parents(reads: Reads) -> dict[str, NDArray[np.intp]]:
    """Return the rows of copies that were filled from copies, by what they were filled from."""
    origin, parent = reads.words["origin"], reads.words["parent_class"]
    produced = np.array([word == "produced" for word in origin.words], dtype=bool)
    copied = ~produced[origin.codes] if len(reads) else np.zeros(0, dtype=bool)
    found = {}
    for code, word in enumerate(parent.words):
        rows = np.flatnonzero((parent.codes == code) & copied)
        if word and len(rows):
            found[word] = rows
    return found


def _write_backs(reads: Reads, classes: set[str]) -> dict[str, NDArray[np.intp]]:
    rows = reads.where("reader_layer", WRITE_BACK)
    coded = reads.words["copy_class"]
    order = rows[np.argsort(coded.codes[rows], kind="stable")]
    codes, starts = np.unique(coded.codes[order], return_index=True)
    pieces = np.split(order, starts[1:])
    found = {coded.words[c]: piece for c, piece in zip(codes, pieces, strict=False)}
    return {word: piece for word, piece in found.items() if word in classes}


def _ancestors_first(reads: Reads, parents: Mapping[str, NDArray[np.intp]]) -> list[str]:
    """Return the parent classes, each after those that its own copies were filled from."""
    coded = reads.words["copy_class"]
    above: dict[str, list[str]] = {}
    for parent, rows in parents.items():
        for code in np.unique(coded.codes[rows]):
            above.setdefault(coded.words[code], []).append(parent)
    done: list[str] = []
    state: dict[str, str] = {}
    for start in parents:
        stack = [start]
        while stack:
            word = stack[-1]
            state[word] = "open"
            pending = [a for a in above.get(word, ()) if state.get(a) != "done"]
            ring = [a for a in pending if state.get(a) == "open"]
            if ring:
                raise InputError(f"{word} and {ring[0]} are filled from each other; no copy is the first")
            if pending:
                stack.append(pending[0])
                continue
            stack.pop()
            if state[word] != "done" and word in parents and word not in done:
                done.append(word)
            state[word] = "done"
    return done
