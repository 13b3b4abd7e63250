"""GPT-2 (Radford et al. 2019) and BERT (Devlin et al. 2019), with attention as products or as one call."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel


class Attention(nn.Module):
    """Self-attention of several heads over ``x`` (batch, tokens, width).

    ``form`` is ``products`` (two batched products with a softmax between them: all probabilities are kept
    for backward) or ``fused`` (torch's fused call: backward computes them again; no dropout inside).
    """

    def __init__(self, width: int, heads: int, dropout: float, form: str, causal: bool) -> None:
        super().__init__()
        if form not in ("products", "fused"):
            raise ValueError(f'attention: expected "products" or "fused", got "{form}"')
        if form == "fused" and dropout:
            raise ValueError('attention = "fused" has no dropout inside; set dropout = 0.0')
        self.heads = heads
        self.causal = causal
        self.form = form
        self.qkv = nn.Linear(width, 3 * width)
        self.softmax = nn.Softmax(-1)
        self.drop = nn.Dropout(dropout)
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor, later: torch.Tensor | None = None) -> torch.Tensor:
        """Return what the tokens attend to, of the shape of ``x``; ``later`` says which places are hidden."""
        b, t, w = x.shape
        q, k, v = (p.view(b, t, self.heads, -1).transpose(1, 2) for p in self.qkv(x).split(w, -1))
        mixed = self._fused(q, k, v) if self.form == "fused" else self._products(q, k, v, later)
        out: torch.Tensor = self.out(mixed.transpose(1, 2).reshape(b, t, w))
        return out

    def _fused(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        with sdpa_kernel([SDPBackend.FLASH_ATTENTION]):
            return functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)

    def _products(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, later: torch.Tensor | None
    ) -> torch.Tensor:
        scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
        if later is not None:
            scores = scores.masked_fill(later, float("-inf"))
        out: torch.Tensor = self.drop(self.softmax(scores)) @ v
        return out


class Block(nn.Module):
    """Attention and a feed-forward layer, each with dropout, a shortcut and layer norm.

    ``first``: layer norm before each of the two, as in GPT-2; else after the shortcut's addition, as in BERT.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        dropout: float,
        form: str,
        *,
        first: bool,
        causal: bool,
        gelu: str,
        eps: float,
    ) -> None:
        super().__init__()
        self.first = first
        self.norm1 = nn.LayerNorm(width, eps)
        self.attention = Attention(width, heads, dropout, form, causal)
        self.drop1 = nn.Dropout(dropout)
        self.norm2 = nn.LayerNorm(width, eps)
        self.up = nn.Linear(width, 4 * width)
        self.gelu = nn.GELU(gelu)
        self.down = nn.Linear(4 * width, width)
        self.drop2 = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, later: torch.Tensor | None = None) -> torch.Tensor:
        """Return the block's output for ``x`` (batch, tokens, width)."""
        if self.first:
            x = x + self.drop1(self.attention(self.norm1(x), later))
            return x + self._feed_forward(self.norm2(x))
        x = self.norm1(x + self.drop1(self.attention(x, later)))
        out: torch.Tensor = self.norm2(x + self._feed_forward(x))
        return out

    def _feed_forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.drop2(self.down(self.gelu(self.up(x))))
        return out


class GPT2(nn.Module):
    """The decoder: logits of the next token at every place, by the embedding's own weights."""

    def __init__(
        self,
        vocabulary: int = 50257,
        context: int = 1024,
        width: int = 768,
        layers: int = 12,
        heads: int = 12,
        dropout: float = 0.1,
        attention: str = "products",
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.places = nn.Embedding(context, width)
        self.drop = nn.Dropout(dropout)
        self.fused = attention == "fused"
        self.blocks = nn.ModuleList(
            Block(width, heads, dropout, attention, first=True, causal=True, gelu="tanh", eps=1e-5)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return logits ``(batch * tokens, vocabulary)`` for ``tokens`` ``(batch, tokens)``.

        A row per place, in order: its target is the token that follows.
        """
        t = tokens.shape[1]
        later = None if self.fused else torch.ones(t, t, dtype=torch.bool, device=tokens.device).triu(1)
        x = self.drop(self.tokens(tokens) + self.places(torch.arange(t, device=tokens.device)))
        for block in self.blocks:
            x = block(x, later)
        out: torch.Tensor = self.head(self.norm(x).flatten(0, 1))
        return out


class Bert(nn.Module):
    """The encoder with its pooler and, on that, a classifier: fine-tuning on single sentences.

    Every token is of segment 0 and none is padding.
    """

    def __init__(
        self,
        vocabulary: int = 30522,
        context: int = 512,
        width: int = 768,
        layers: int = 12,
        heads: int = 12,
        dropout: float = 0.1,
        attention: str = "products",
        classes: int = 2,
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.places = nn.Embedding(context, width)
        self.segments = nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width, 1e-12)
        self.drop = nn.Dropout(dropout)
        self.blocks = nn.Sequential(
            *(
                Block(width, heads, dropout, attention, first=False, causal=False, gelu="none", eps=1e-12)
                for _ in range(layers)
            )
        )
        self.pooler = nn.Linear(width, width)
        self.tanh = nn.Tanh()
        self.drop_head = nn.Dropout(dropout)
        self.head = nn.Linear(width, classes)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return logits ``(batch, classes)`` for ``tokens`` ``(batch, tokens)``."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.tokens(tokens) + self.places(places) + self.segments(torch.zeros_like(tokens))
        x = self.blocks(self.drop(self.norm(x)))
        out: torch.Tensor = self.head(self.drop_head(self.tanh(self.pooler(x[:, 0]))))
        return out
