"""LeNet-5: the usual form for 28x28 digits, and the one that tiny-dnn's MNIST example trains."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

# Which of the 6 maps each of the 16 second-stage maps reads (LeCun et al. 1998, table I); recalled.
# One row per input map, one column per output map.
CONNECTIONS = (
    "O...OOO..OOOO.OO",
    "OO...OOO..OOOO.O",
    "OOO...OOO..O.OOO",
    ".OOO..OOOO..O.OO",
    "..OOO..OOOO.OO.O",
    "...OOO..OOOO.OOO",
)


class LeNet5(nn.Module):
    """Two 5x5 convolutions with average pools and three linear layers; tanh between."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.tanh1 = nn.Tanh()
        self.pool1 = nn.AvgPool2d(2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.tanh2 = nn.Tanh()
        self.pool2 = nn.AvgPool2d(2)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(400, 120)
        self.tanh3 = nn.Tanh()
        self.fc2 = nn.Linear(120, 84)
        self.tanh4 = nn.Tanh()
        self.fc3 = nn.Linear(84, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits of shape ``(batch, classes)`` for ``x`` of shape ``(batch, 1, 28, 28)``."""
        x = self.pool1(self.tanh1(self.conv1(x)))
        x = self.pool2(self.tanh2(self.conv2(x)))
        x = self.tanh4(self.fc2(self.tanh3(self.fc1(self.flatten(x)))))
        out: torch.Tensor = self.fc3(x)
        return out


class ScaledPool(nn.Module):
    """Average pool 2x2 with a trainable scale and bias per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``scale * mean + bias`` of each 2x2 block of ``x`` (batch, channels, h, w)."""
        mean = functional.avg_pool2d(x, 2)
        return mean * self.scale[:, None, None] + self.bias[:, None, None]


class TableConv(nn.Conv2d):
    """A convolution whose output maps see only the input maps that a connection table names."""

    def __init__(self, table: tuple[str, ...], kernel: int) -> None:
        super().__init__(len(table), len(table[0]), kernel)
        mask = torch.tensor([[float(row[o] == "O") for row in table] for o in range(len(table[0]))])
        self.register_buffer("mask", mask[:, :, None, None])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the convolution of ``x`` with the masked weight."""
        return functional.conv2d(x, self.weight * self.get_buffer("mask"), self.bias)


class LeNetTinyDnn(nn.Module):
    """The LeNet-5 of tiny-dnn's ``examples/mnist/train.cpp``: layers 0..11, tanh after each stage."""

    def __init__(self) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(1, 6, 5)
        self.tanh1 = nn.Tanh()
        self.pool2 = ScaledPool(6)
        self.tanh3 = nn.Tanh()
        self.conv4 = TableConv(CONNECTIONS, 5)
        self.tanh5 = nn.Tanh()
        self.pool6 = ScaledPool(16)
        self.tanh7 = nn.Tanh()
        self.conv8 = nn.Conv2d(16, 120, 5)
        self.tanh9 = nn.Tanh()
        self.flatten = nn.Flatten()
        self.fc10 = nn.Linear(120, 10)
        self.tanh11 = nn.Tanh()
        self._initialize()

    def _initialize(self) -> None:
        """Set weights as tiny-dnn does: Glorot's uniform ones; biases are 0.

        Its pool is a layer with four inputs and one output per weight.
        """
        for module in self.children():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
            elif isinstance(module, ScaledPool):
                bound = math.sqrt(6 / (4 + 1))
                nn.init.uniform_(module.scale, -bound, bound)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return scores in (-1, 1) of shape ``(batch, 10)`` for ``x`` of shape ``(batch, 1, 32, 32)``."""
        x = self.tanh3(self.pool2(self.tanh1(self.conv0(x))))
        x = self.tanh7(self.pool6(self.tanh5(self.conv4(x))))
        x = self.flatten(self.tanh9(self.conv8(x)))
        out: torch.Tensor = self.tanh11(self.fc10(x))
        return out
