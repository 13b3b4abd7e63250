"""Small models for the interpreter: what LeNet and the perceptron leave out. Copied beside a workload."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts


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


class Blocks(nn.Module):
    """Two blocks that end in what backward keeps, to be checkpointed from outside or by the model itself."""

    def __init__(self, width: int = 12, again: bool = False) -> None:
        super().__init__()
        self.again = again
        self.stem = nn.Linear(10, width)
        self.blocks = nn.ModuleList([Block(width), Block(width)])
        self.head = nn.Linear(width, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, 4) for ``x`` (batch, 10)."""
        x = self.stem(x)
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if self.again else block(x)
        out: torch.Tensor = self.head(x)
        return out


class Block(nn.Module):
    """Two linear layers, each with a hyperbolic tangent."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, width) for ``x`` (batch, width)."""
        return torch.tanh(self.down(torch.tanh(self.up(x))))


class Inside(Blocks):
    """Checkpoints a function of its own that calls several modules."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, 4) for ``x`` (batch, 10)."""
        out: torch.Tensor = self.head(checkpoint(self._both, self.stem(x), use_reentrant=False))
        return out

    def _both(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(2 * self.blocks[1](torch.tanh(self.blocks[0](x))))


class Reentrant(Blocks):
    """Checkpoints in the form that cannot be traced."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, 4) for ``x`` (batch, 10)."""
        out: torch.Tensor = self.head(checkpoint(self.blocks[0], self.stem(x), use_reentrant=True))
        return out


class Encoder(nn.Module):
    """Torch's own encoder layer, whose attention packs its weights, and the first token's features."""

    def __init__(self, width: int = 8, heads: int = 2) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoderLayer(width, heads, 12, 0.0, "gelu", batch_first=True)
        self.head = nn.Linear(width, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, 4) for ``x`` (batch, tokens, width)."""
        out: torch.Tensor = self.head(self.encoder(x)[:, 0])
        return out


class Moves(nn.Module):
    """What moves elements: pad, cut with steps, shuffle, repeat, stack, join, resample; and some layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.depth = nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False)
        self.norm = nn.GroupNorm(2, 4)
        self.line = nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2)
        self.head = nn.Linear(13, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, 5) for ``x`` (batch, 2, 6, 6)."""
        x = functional.relu6(self.conv(x)) + functional.hardtanh(self.conv(x))
        y = functional.pad(self.norm(self.depth(x)), (1, 1, 0, 2))[:, :, ::2, 1:7]
        z = functional.interpolate(functional.adaptive_avg_pool2d(x, 2), (4, 6))
        y = torch.stack([y, torch.flip(z, (2,)), torch.roll(z, 1, 3)], 1).amax(1)
        w = functional.adaptive_max_pool2d(functional.pixel_shuffle(x, 2), 3)
        pooled = [y.mean((2, 3)), w.repeat(1, 3, 1, 1)[:, :, 1].max(2)[0]]
        pooled.append(self.line(x[:, :, 1]).mean(2))
        out: torch.Tensor = self.head(torch.cat(pooled, 1))
        return out


class Pools(nn.Module):
    """Pools of images that are larger than a scratchpad: their rows are cut, with halos."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1, bias=False)
        self.bn = nn.BatchNorm2d(2)
        self.head = nn.Linear(2, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, 5) for ``x`` (batch, 1, 28, 26)."""
        x = functional.max_pool2d(self.bn(self.conv(x)), 3, 2, 1)
        x = functional.max_pool2d(functional.avg_pool2d(x, 3, 2, 1), 2)
        out: torch.Tensor = self.head(x.mean((2, 3)))
        return out


def keep_products(_context: object, op: object, *_args: object, **_kwargs: object) -> CheckpointPolicy:
    """Keep what is costly to compute again."""
    products = (torch.ops.aten.mm.default, torch.ops.aten.addmm.default)
    return CheckpointPolicy.MUST_SAVE if op in products else CheckpointPolicy.PREFER_RECOMPUTE


class Selective(Blocks):
    """Says op by op what is kept."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, 4) for ``x`` (batch, 10)."""
        contexts = partial(create_selective_checkpoint_contexts, keep_products)
        x = checkpoint(self.blocks[0], self.stem(x), use_reentrant=False, context_fn=contexts)
        out: torch.Tensor = self.head(x)
        return out


class Strided(nn.Module):
    """One convolution of any shape behind one of 1x1, so that it has an input gradient, and a batch norm."""

    def __init__(
        self, kernel: list[int], stride: list[int], pad: int, dilation: int, groups: int, filters: int
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(4, 4, 1, bias=False)
        shape = {"stride": stride, "padding": pad, "dilation": dilation, "groups": groups}
        self.conv = nn.Conv2d(4, filters, kernel, bias=False, **shape)  # type: ignore[arg-type]
        self.norm = nn.BatchNorm2d(filters)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, channels) for ``x`` (batch, 4, h, w)."""
        return self.norm(self.conv(self.stem(x))).relu().mean((2, 3))
