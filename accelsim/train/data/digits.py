"""The handwritten digits that scikit-learn ships: 1,797 real images of 8 x 8 pixels with 17 grey levels."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from sklearn.datasets import load_digits  # type: ignore[import-untyped]
from torch.nn import functional

from accelsim.train.data.sets import Data, image_shape, image_split

TEST: Final = 360  # images; a fifth
_SHUFFLE: Final = 0  # of the one split that there is


def digits(shape: tuple[int, ...]) -> Data:
    """Return the digits, enlarged three times where there is room, padded to ``shape``, from -1 to 1."""
    bunch = load_digits()
    images = np.round(bunch.images / 16 * 255).astype(np.uint8)[:, None]
    _, rows, columns = image_shape(shape, "digits")
    if min(rows, columns) >= 24:
        larger = functional.interpolate(torch.from_numpy(images).float(), scale_factor=3, mode="bilinear")
        images = larger.round().to(torch.uint8).numpy()
    order = np.random.Generator(np.random.Philox(_SHUFFLE)).permutation(len(images))
    images, labels = images[order], bunch.target[order]
    return Data(
        "digits",
        image_split(images[TEST:], labels[TEST:], shape, "digits"),
        image_split(images[:TEST], labels[:TEST], shape, "digits"),
    )
