"""One stored copy of a tensor: which of its bits are wrong, and what a reader finds in its place.

Wrong bits are written into the tensor's own storage, past autograd, and stay there for every reader until
the storage is written again, a fresh copy takes its place, or they flip back.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.multiprocessing.reductions import StorageWeakRef

from accelsim.train.draws import NONE, Positions
from accelsim.train.formats import StorageFormat
from accelsim.words import Role

_NO_WORDS: Final = np.empty(0, np.uint32)
_KEPT: Final = ("before", "clean", "number", "scale", "seen", "touched", "wrong")


class Copy:
    """The copy that lies in one torch storage.

    Attributes:
        name: Of the draws: the same in every step, and unique within one.
        number: How often the storage was written since it is known.
        wrong: Positions (``cells``) of the bits that are wrong now, sorted.
        touched: Elements whose words in the storage are not what was written, ascending.
        clean: What was written there, as words of the compute format.
        seen: Stages that have drawn since the last write.
        before: What lay there before the last write, if that is kept.
    """

    __slots__ = (
        "before",
        "clean",
        "elements",
        "form",
        "layer",
        "name",
        "number",
        "ref",
        "role",
        "scale",
        "seen",
        "tensor",
        "touched",
        "wrong",
    )

    def __init__(
        self, value: torch.Tensor, form: StorageFormat, role: Role, layer: str, name: str, tensor: str = ""
    ) -> None:
        storage = value.untyped_storage()
        self.ref = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
        self.form = form
        self.elements = storage.nbytes() // value.element_size()
        self.role: Role = role
        self.layer = layer
        self.name = name
        self.tensor = tensor
        self.number = 0
        self.before: NDArray[Any] | None = None
        self._forget()

    def _forget(self) -> None:
        self.wrong: Positions = NONE
        self.touched: Positions = NONE
        self.clean: NDArray[Any] = _NO_WORDS
        self.seen: set[str] = set()
        self.scale = 1.0

    @property
    def is_gone(self) -> bool:
        """Whether the storage has been freed."""
        return bool(self.ref.expired())  # type: ignore[no-untyped-call]

    def written(self) -> None:
        """Note that the storage holds new content."""
        self.number += 1
        self._forget()

    def state(self) -> dict[str, Any]:
        """Return what lies between two steps, as plain data and arrays."""
        return {key: getattr(self, key) for key in _KEPT} | {"seen": set(self.seen)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from ``state``."""
        for key in _KEPT:
            setattr(self, key, state[key])
        self.seen = set(self.seen)

    def show(self, storage: Words, touched: Positions, words: NDArray[Any]) -> None:
        """Put ``words`` at the elements ``touched`` and, everywhere else, what was written."""
        if self.touched.size:
            storage.put(self.touched, self.clean)
        self.touched = touched
        self.clean = storage.get(touched) if touched.size else _NO_WORDS
        if touched.size:
            storage.put(touched, words)

    def content(self, storage: Words, elements: Positions) -> NDArray[Any]:
        """Return what was written at ``elements``, ascending, whatever is shown there now."""
        words = storage.get(elements)
        if self.touched.size and elements.size:
            at = np.searchsorted(self.touched, elements).clip(max=self.touched.size - 1)
            shown = self.touched[at] == elements
            words[shown] = self.clean[at[shown]]
        return words


class Words:
    """A storage as unsigned words of its compute format, on whatever device it lies."""

    def __init__(self, value: torch.Tensor, form: StorageFormat, elements: int) -> None:
        flat = torch.empty(0, dtype=form.word, device=value.device)
        self._flat = flat.set_(value.untyped_storage(), 0, (elements,), (1,))
        self._form = form
        self._array = self._flat.numpy().view(form.unsigned) if value.device.type == "cpu" else None

    def get(self, elements: Positions) -> NDArray[Any]:
        """Return the words at ``elements``."""
        if self._array is not None:
            taken: NDArray[Any] = self._array[elements]
            return taken
        there = torch.from_numpy(elements).to(self._flat.device)
        return self._flat[there].cpu().numpy().view(self._form.unsigned)

    def put(self, elements: Positions, words: NDArray[Any]) -> None:
        """Write ``words`` at ``elements``."""
        if self._array is not None:
            self._array[elements] = words
            return
        there = torch.from_numpy(elements).to(self._flat.device)
        self._flat[there] = torch.from_numpy(words.view(self._form.signed)).to(self._flat.device)

    @property
    def values(self) -> torch.Tensor:
        """All of the storage as numbers, which may be written in place."""
        return self._flat.view(self._form.dtype)

    def all(self) -> NDArray[Any]:
        """Return a copy of all words."""
        return self._flat.cpu().numpy().view(self._form.unsigned).copy()
