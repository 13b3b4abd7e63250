"""A part of the training data that no training sees, to judge it by while it runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import torch

from accelsim.train.data.sets import Data, Split

EVERY: Final = 10  # one sample of so many


def held_out(data: Data) -> tuple[Data, Split]:
    """Return the data without every tenth training sample, and these."""
    split = data.train
    number = torch.arange(len(split))
    ours, theirs = number % EVERY == EVERY - 1, number % EVERY != EVERY - 1
    return replace(data, train=Split(split.x[theirs], split.y[theirs])), Split(split.x[ours], split.y[ours])
