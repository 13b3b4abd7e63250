"""The order of samples and their augmentation: the same for a seed and an epoch, wherever training stands."""

from __future__ import annotations

import numpy as np
import torch

from accelsim.train.data.sets import Data
from accelsim.train.draws import Stream

_CROP = 4  # pixels of padding that the crop moves in


class Batches:
    """Full batches of the training set; what is left over in an epoch's order is left out of that epoch."""

    def __init__(self, data: Data, batch: int, seed: int) -> None:
        self._data = data
        self._batch = batch
        self._stream = Stream(seed)
        self._order: tuple[int, torch.Tensor] = (-1, torch.empty(0, dtype=torch.int64))

    def __len__(self) -> int:
        return len(self._data.train) // self._batch

    def of(self, epoch: int, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return batch ``number`` of ``epoch``: x (batch, *shape) and y."""
        if self._order[0] != epoch:
            shuffled = self._stream.at("order", epoch).permutation(len(self._data.train))
            self._order = (epoch, torch.from_numpy(shuffled))
        chosen = self._order[1][number * self._batch : (number + 1) * self._batch]
        x, y = self._data.train.x[chosen], self._data.train.y[chosen]
        return (self._augmented(x, epoch, number) if self._data.augment else x), y

    def _augmented(self, x: torch.Tensor, epoch: int, number: int) -> torch.Tensor:
        """Return images (n, c, h, w), each moved by up to four pixels and mirrored every other time."""
        generator = self._stream.at("augment", epoch, number)
        moves = generator.integers(0, 2 * _CROP + 1, (len(x), 2))
        mirrored = generator.random(len(x)) < 0.5
        rows, columns = x.shape[-2:]
        padded = torch.nn.functional.pad(x, (_CROP,) * 4, value=-1.0)
        r = torch.from_numpy(moves[:, :1] + np.arange(rows))[:, None, :, None]
        c = moves[:, 1:] + np.where(mirrored[:, None], np.arange(columns)[::-1], np.arange(columns))
        index = torch.arange(len(x))[:, None, None, None], torch.arange(x.shape[1])[:, None, None]
        return padded[index[0], index[1], r, torch.from_numpy(c)[:, None, None, :]]
