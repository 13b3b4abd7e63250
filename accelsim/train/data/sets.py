"""What a data set is, and how images take the shape that a model wants."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from accelsim.errors import InputError

Images = NDArray[np.uint8]  # (n, channels, rows, columns)


@dataclass(frozen=True, slots=True)
class Split:
    """Samples and their classes.

    Attributes:
        x: (n, *shape) of the model's input.
        y: (n,) classes, or (n, places) where a model answers at several places.
    """

    x: torch.Tensor
    y: torch.Tensor

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True, slots=True)
class Data:
    """A training and a test set.

    Attributes:
        augment: Images are cropped and mirrored at random in training.
    """

    name: str
    train: Split
    test: Split
    augment: bool = False

    def digest(self) -> str:
        """Return the hash of all samples and of whether they are augmented; names do not count."""
        found = hashlib.sha256(str(self.augment).encode())
        for part in (self.train.x, self.train.y, self.test.x, self.test.y):
            found.update(f"{part.dtype} {list(part.shape)}".encode())
            found.update(part.contiguous().numpy().data)
        return found.hexdigest()


def image_split(images: Images, labels: NDArray[np.integer], shape: tuple[int, ...], name: str) -> Split:
    """Return images of 0..255, padded to ``shape`` and scaled to [-1, 1]; 0 is -1, the padding too.

    ``shape`` is (channels, rows, columns) or (pixels,) of a square; one channel is repeated for more.
    """
    channels, rows, columns = image_shape(shape, name)
    _, given, high, wide = images.shape
    if high > rows or wide > columns or given not in (1, channels):
        raise InputError(
            f"{name}: images of {given} x {high} x {wide} do not fit the model's input {list(shape)}"
        )
    top, left = (rows - high) // 2, (columns - wide) // 2
    edges = ((0, 0), (0, 0), (top, rows - high - top), (left, columns - wide - left))
    padded = np.pad(images, edges).astype(np.float32) / 127.5 - 1.0
    full = np.broadcast_to(padded, (len(images), channels, rows, columns)).reshape(len(images), *shape)
    return Split(torch.from_numpy(full.copy()), torch.from_numpy(labels.astype(np.int64)))


def image_shape(shape: tuple[int, ...], name: str) -> tuple[int, int, int]:
    """Return ``shape`` as (channels, rows, columns).

    Raises:
        InputError: It is neither that nor a flat square.
    """
    if len(shape) == 3:
        return shape[0], shape[1], shape[2]
    side = round(shape[0] ** 0.5) if len(shape) == 1 else 0
    if side * side != (shape[0] if shape else -1):
        raise InputError(f"{name}: the model's input {list(shape)} is no image; try --data teacher")
    return 1, side, side
