"""Made-up data of any shape and size, labelled by a fixed random network, the teacher."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch

from accelsim.errors import InputError
from accelsim.train.data.sets import Data, Split

TRAIN: Final = 20_000
TEST: Final = 5_000  # the least, so that a point of accuracy is not noise
_HIDDEN: Final = 32


def teacher(
    shape: tuple[int, ...],
    classes: int,
    *,
    train: int = TRAIN,
    test: int = TEST,
    seed: int = 0,
    below: int | None = None,
    places: int = 1,
) -> Data:
    """Return normal inputs, or integers below ``below``, with the teacher's classes.

    Args:
        shape: Of one sample.
        places: Answers per sample: more than one where each of that many tokens has its own, which then
            is a fixed other token.

    Raises:
        InputError: Sizes that cannot be.
    """
    if train < 1 or test < TEST:
        raise InputError(f"teacher: expected train >= 1 and test >= {TEST:,}, got train={train}, test={test}")
    generator = np.random.Generator(np.random.Philox(seed))
    n = train + test
    if below is not None:
        x = torch.from_numpy(generator.integers(0, below, (n, *shape)))
        y = _of_tokens(x, below, classes, places, generator)
    else:
        x = torch.from_numpy(generator.standard_normal((n, *shape), np.float32))
        y = _of_numbers(x.reshape(n, -1), classes, generator)
    return Data("teacher", Split(x[:train], y[:train]), Split(x[train:], y[train:]))


def _of_numbers(x: torch.Tensor, classes: int, generator: np.random.Generator) -> torch.Tensor:
    """Return the classes that a perceptron with one hidden layer of tanh gives."""
    inputs = x.shape[1]
    first = torch.from_numpy(generator.standard_normal((inputs, _HIDDEN), np.float32)) / inputs**0.5
    second = torch.from_numpy(generator.standard_normal((_HIDDEN, classes), np.float32))
    return (torch.tanh(x @ first) @ second).argmax(1)


def _of_tokens(
    x: torch.Tensor, below: int, classes: int, places: int, generator: np.random.Generator
) -> torch.Tensor:
    if places > 1:
        return torch.from_numpy(generator.integers(0, classes, below))[x.reshape(len(x), -1)]
    scores = torch.from_numpy(generator.standard_normal((below, classes), np.float32))
    return scores[x.reshape(len(x), -1)].sum(1).argmax(1)
