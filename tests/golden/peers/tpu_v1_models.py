"""Networks with the published totals of MLP0 and CNN0 of the TPU v1 paper; their layers are assumed."""

from __future__ import annotations

import torch
from torch import nn


class Mlp0(nn.Module):
    """Five layers of 2000 x 2000: 20 M weights."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.ModuleList(nn.Linear(2000, 2000) for _ in range(5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return values of shape ``(batch, 2000)``."""
        for layer in self.fc:
            x = torch.relu(layer(x))
        return x


class Cnn0(nn.Module):
    """Thirteen 3 x 3 and three 1 x 1 convolutions of 256 channels on 19 x 19: 7.86 M weights."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (*(3,) * 13, *(1,) * 3)
        self.conv = nn.ModuleList(nn.Conv2d(256, 256, s, padding=s // 2) for s in sizes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return one number, so that nothing large has to leave: the mean of all maps."""
        for layer in self.conv:
            x = torch.relu(layer(x))
        return x.mean()
