"""Reads of stored copies: what each draws, and what it delivers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from accelsim.train.activity import Activity
from accelsim.train.cells import Layout, layout
from accelsim.train.copies import Copy, Words
from accelsim.train.counts import Counts
from accelsim.train.draws import NONE, Positions, Stream
from accelsim.train.formats import StorageFormat, decode, encode, rounded
from accelsim.train.laws import FieldLaw, Law, Profile, Read
from accelsim.train.nonfinite import Policy, settle, settle_all
from accelsim.train.weak import WeakCells

TOGGLE = 0.5  # share of bits that a write changes, where old content is not known


@dataclass(frozen=True, slots=True)
class Settings:
    """How tensors are stored and read, beside the laws.

    Attributes:
        formats: Storage format by role; a role that is absent is stored as it is computed.
        changed_only: Rates are those of a write that changes the bit; other bits cannot fail.
    """

    formats: Mapping[str, StorageFormat] = field(default_factory=dict)
    protect: tuple[str, ...] = ()
    secded: bool = False
    policy: Policy = "raw"
    changed_only: bool = False
    weak: WeakCells | None = None


class Memory:
    """Delivers stored copies to their readers, with errors.

    Attributes:
        step: Counts updates; part of every draw's name.
        ranges: Largest magnitude by (role, layer), learnt while ``learning``; the bounds of ``clamp``.
        learning: Nothing is drawn, ranges are learnt.
    """

    def __init__(self, profile: Profile, settings: Settings, seed: int, activity: Activity | None) -> None:
        self.counts = Counts()
        self.step = 0
        self.ranges: dict[tuple[str, str], float] = {}
        self.learning = False
        self._profile = profile
        self._settings = settings
        self._stream = Stream(seed)
        self._activity = activity
        self._laws: dict[Read, Sequence[Law]] = {}
        # where nothing is to be done at a copy's first read but to draw
        self._plain = settings.policy == "raw" and settings.weak is None and activity is None

    def use(self, profile: Profile) -> None:
        """Take the laws of ``profile`` from here on."""
        self._profile = profile
        self._laws.clear()

    def read(self, copy: Copy, value: torch.Tensor, read: Read) -> Positions | None:
        """Let ``read`` draw, and put what it finds into the storage of ``value``.

        Returns:
            The wrong bits that stay, if others were sensed that ``unsense`` has to take back; else None.
        """
        laws = self._laws.get(read)
        if laws is None:
            laws = self._laws[read] = self._profile.laws(read)
        first = "read" not in copy.seen
        if first and self.alters(copy.role):
            self._first(copy, Words(value, copy.form, copy.elements))
        copy.seen.add("read")
        if not laws or self.learning:
            return None
        return self._draw(copy, value, read, laws)

    def alters(self, role: str) -> bool:
        """Return whether a read of ``role`` may write into its storage even if no bit flips."""
        return not self._plain or role in self._settings.formats

    def unsense(self, copy: Copy, value: torch.Tensor, wrong: Positions) -> None:
        """Take back what was sensed wrong: ``wrong`` alone stays."""
        self._show(copy, Words(value, copy.form, copy.elements), wrong, again=True)

    def before_write(self, copy: Copy, value: torch.Tensor) -> None:
        """Keep the content that is about to be replaced, if errors or measurements depend on it."""
        if self._settings.changed_only:
            copy.before = Words(value, copy.form, copy.elements).all()

    def settled(self, copy: Copy, value: torch.Tensor) -> None:
        """Put what was written back into the place of all wrong bits."""
        copy.wrong = NONE
        copy.show(Words(value, copy.form, copy.elements), NONE, np.empty(0, copy.form.unsigned))

    def _first(self, copy: Copy, words: Words) -> None:
        """Do what a copy's first read since its write brings, before bits flip."""
        bound = self._bound(copy)
        if self.learning:
            key = (copy.role, copy.layer)
            largest = float(torch.nan_to_num(words.values.abs().max(), nan=0.0, posinf=0.0))
            self.ranges[key] = max(self.ranges.get(key, 0.0), largest)
        else:
            bad = settle_all(words.values, self._settings.policy, bound)
            self.counts.not_finite(copy.role, bad, self.step + 1)
        if self._stored(copy) is not copy.form:
            values, copy.scale = rounded(words.values, self._stored(copy))
            words.values.copy_(values)
        if self._activity is not None:
            self._activity.see(copy, words, self.step)
        if self._settings.weak is not None and not self.learning:
            self._stick(copy, words, self._settings.weak)

    def _stick(self, copy: Copy, words: Words, weak: WeakCells) -> None:
        """Add the bits that are not what their cells are stuck at."""
        stored = self._stored(copy)
        at, stuck = weak.of(copy.name, copy.elements * stored.width)
        element, bit = np.divmod(at, stored.width)
        content = encode(copy.content(words, element), copy.form, stored, copy.scale)
        differs = ((content >> bit.astype(content.dtype)) & 1).astype(bool) != stuck
        copy.wrong = np.union1d(copy.wrong, self._layout(copy).place(element[differs], bit[differs]))
        self.counts.flip(copy.role, "weak", int(differs.sum()))
        self._show(copy, words, copy.wrong)

    def _draw(self, copy: Copy, value: torch.Tensor, read: Read, laws: Sequence[Law]) -> Positions | None:
        wrong, sensed = copy.wrong, NONE
        for law in laws:
            if law.stage not in copy.seen:
                copy.seen.add(law.stage)
                wrong = NONE if law.fresh else wrong
                wrong = self._stage(copy, value, wrong, law)
            if law.senses:
                place = (copy.name, self.step, copy.number, law.stage, "sense", read)
                sensed = self._sensed(copy, law, self._stream.at(*place), sensed)
        if wrong is not copy.wrong or sensed.size:
            copy.wrong = wrong
            words = Words(value, copy.form, copy.elements)
            self._show(copy, words, np.setxor1d(wrong, sensed, True) if sensed.size else wrong)
        return wrong if sensed.size else None

    def _stage(self, copy: Copy, value: torch.Tensor, wrong: Positions, law: Law) -> Positions:
        """Return the wrong bits after the stage, those before it being ``wrong``."""
        place = (copy.name, self.step, copy.number, law.stage)
        if (
            len(law.fields) == 1
            and not self._settings.changed_only
            and not (law.fields[0].p_back and wrong.size)
        ):
            (only,) = law.fields
            expected = self._layout(copy).expected(copy.elements, only.field, only.p_new)
            if expected is not None:
                some = self._stream.unless_none(expected, *place)
                return wrong if some is None else self._grown(copy, value, wrong, only, some, True)
        generator = self._stream.at(*place)
        for each in law.fields:
            wrong = self._grown(copy, value, wrong, each, generator)
        return wrong

    def _grown(
        self,
        copy: Copy,
        value: torch.Tensor,
        wrong: Positions,
        law: FieldLaw,
        generator: np.random.Generator,
        some: bool = False,
    ) -> Positions:
        """Return the wrong bits after right ones of the field went wrong, and wrong ones right."""
        cells = self._layout(copy)
        p_any, p_changed = self._parts(law)
        new = cells.draw(generator, copy.elements, law.field, p_any, some)
        if p_changed:
            tried = cells.draw(generator, copy.elements, law.field, p_changed)
            new = np.union1d(new, self._changed(copy, value, tried, generator))
        kept = wrong
        if law.p_back and wrong.size:
            back = (generator.random(wrong.size) < law.p_back) & cells.in_field(wrong, law.field)
            kept = wrong[~back]
        new = np.setdiff1d(new, wrong, assume_unique=True) if wrong.size and new.size else new
        if new.size:
            self._count(copy, law, new.size, generator)
            kept = np.union1d(kept, new) if kept.size else new
        return kept

    def _parts(self, law: FieldLaw) -> tuple[float, float]:
        """Return the probability of any bit's flip, and of a changed bit's being written wrong."""
        if not self._settings.changed_only:
            return law.p_new, 0.0
        causes = dict(law.causes)
        written = law.p_new * causes.get("rate", 0.0) + law.p_new * causes.get("write", 0.0) / TOGGLE
        return law.p_new * (1 - causes.get("rate", 0.0) - causes.get("write", 0.0)), written

    def _changed(
        self, copy: Copy, value: torch.Tensor, tried: Positions, generator: np.random.Generator
    ) -> Positions:
        """Return those of ``tried`` that the last write changed; half of them where that is not known."""
        stored = self._stored(copy)
        if copy.before is None or self._settings.secded or stored is not copy.form:
            return tried[generator.random(tried.size) < TOGGLE]
        element, bit = np.divmod(tried, stored.width)
        words = Words(value, copy.form, copy.elements)
        change = copy.before[element] ^ copy.content(words, element)
        changed: Positions = tried[((change >> bit.astype(change.dtype)) & 1).astype(bool)]
        return changed

    def _sensed(self, copy: Copy, law: Law, generator: np.random.Generator, so_far: Positions) -> Positions:
        for each in law.fields:
            drawn = self._layout(copy).draw(generator, copy.elements, each.field, each.p_sense)
            self.counts.flip(copy.role, "sense", drawn.size)
            so_far = np.setxor1d(so_far, drawn, True)
        return so_far

    def _count(self, copy: Copy, law: FieldLaw, new: int, generator: np.random.Generator) -> None:
        if len(law.causes) == 1:
            self.counts.flip(copy.role, law.causes[0][0], new)
            return
        shares = generator.multinomial(new, [share for _, share in law.causes])
        for (cause, _), count in zip(law.causes, shares, strict=True):
            self.counts.flip(copy.role, cause, int(count))

    def _show(self, copy: Copy, words: Words, wrong: Positions, again: bool = False) -> None:
        """Put what a reader finds, the bits ``wrong`` being wrong, into the storage; ``again``: uncounted."""
        stored = self._stored(copy)
        element, masks = self._layout(copy).masks(wrong, copy.elements)
        shown: NDArray[Any] = np.empty(0, copy.form.unsigned)
        if element.size:
            content = copy.content(words, element)
            flipped = encode(content, copy.form, stored, copy.scale) ^ masks
            shown = decode(flipped, copy.form, stored, copy.scale)
            shown, bad = settle(shown, copy.form, self._settings.policy, self._bound(copy))
            self.counts.not_finite(copy.role, 0 if again else bad, self.step + 1)
        copy.show(words, element, shown)

    def _stored(self, copy: Copy) -> StorageFormat:
        return self._settings.formats.get(copy.role, copy.form)

    def _layout(self, copy: Copy) -> Layout:
        return layout(self._stored(copy), self._settings.protect, self._settings.secded)

    def _bound(self, copy: Copy) -> float:
        return self.ranges.get((copy.role, copy.layer), float("inf"))
