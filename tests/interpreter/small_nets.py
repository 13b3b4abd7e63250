"""Small models for the interpreter: what LeNet and the perceptron leave out. Copied beside a workload."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class Residual(nn.Module):
    """Strided, dilated, grouped and 1x1 convolutions, batch norm, a shortcut, a maximum pool."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(6)
        self.down = nn.Conv2d(6, 8, 3, stride=2, padding=1, bias=False)
        self.side = nn.Conv2d(6, 8, 1, stride=2, bias=False)
        self.bn2 = nn.BatchNorm2d(8)
        self.wide = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=2)
        self.pool = nn.MaxPool2d(2, stride=1)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, 5) for ``x`` (batch, 3, 9, 9)."""
        x = torch.relu(self.bn1(self.stem(x)))
        x = torch.relu(self.bn2(self.down(x)) + self.side(x))
        x = self.pool(functional.silu(self.wide(x)))
        out: torch.Tensor = self.fc(functional.adaptive_avg_pool2d(x, 1).flatten(1))
        return out


class Attention(nn.Module):
    """A linear layer over a sequence, attention of two heads as products, layer norm, GELU."""

    def __init__(self, width: int = 8, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)
        self.head = nn.Linear(width, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, 4) for ``x`` (batch, tokens, width)."""
        b, t, w = x.shape
        q, k, v = self.qkv(self.norm(x)).view(b, t, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
        weights = torch.softmax(q @ k.transpose(-2, -1) / (w // self.heads) ** 0.5, dim=-1)
        x = x + self.out((weights @ v).transpose(1, 2).reshape(b, t, w))
        out: torch.Tensor = self.head(functional.gelu(x).mean(1))
        return out
