"""A multi-layer perceptron: linear layers with ReLU between them."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn


class MLP(nn.Module):
    """Fully connected layers of the given widths, the first being the number of inputs."""

    def __init__(self, widths: tuple[int, ...] = (784, 256, 256, 10)) -> None:
        super().__init__()
        self.fc = nn.ModuleList(nn.Linear(i, o) for i, o in pairwise(widths))
        self.relu = nn.ModuleList(nn.ReLU() for _ in widths[2:])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits of shape ``(batch, widths[-1])`` for ``x`` of shape ``(batch, widths[0])``."""
        for layer, relu in zip(self.fc[:-1], self.relu, strict=True):
            x = relu(layer(x))
        out: torch.Tensor = self.fc[-1](x)
        return out
