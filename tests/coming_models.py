"""Models with the ops of the networks to come; read as text by test_lowering."""

import torch
from torch import nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Token and position embedding, a block of attention both ways, layer norm, gelu, dropout, tied head."""

    def __init__(self, form="sdpa"):
        super().__init__()
        self.form = form
        self.tokens, self.places = nn.Embedding(50, 16), nn.Embedding(8, 16)
        self.norm, self.qkv, self.out = nn.LayerNorm(16), nn.Linear(16, 48), nn.Linear(16, 16)
        self.up, self.down, self.drop = nn.Linear(16, 64), nn.Linear(64, 16), nn.Dropout(0.1)
        self.head = nn.Linear(16, 50, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, ids):
        b, s = ids.shape
        x = self.drop(self.tokens(ids) + self.places(torch.arange(s)))
        q, k, v = (t.view(b, s, 4, 4).transpose(1, 2) for t in self.qkv(self.norm(x)).chunk(3, -1))
        if self.form == "sdpa":
            a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            scores = (q @ k.transpose(-2, -1)) * 0.5
            mask = torch.ones(s, s, dtype=torch.bool).tril()
            a = F.dropout(torch.softmax(scores.masked_fill(~mask, float("-inf")), -1), 0.1) @ v
        x = x + self.out(a.transpose(1, 2).reshape(b, s, 16))
        return self.head(x + self.down(F.gelu(self.up(x)))).transpose(1, 2)


class Mobile(nn.Module):
    """A depthwise-separable block, maximum pool, mean over the image, concatenation."""

    def __init__(self):
        super().__init__()
        self.pre = nn.Conv2d(3, 8, 3, 2, 1)
        self.depth = nn.Conv2d(8, 8, 3, 1, 1, groups=8, bias=False)
        self.bn, self.point = nn.BatchNorm2d(8), nn.Conv2d(8, 12, 1)
        self.pool, self.head = nn.MaxPool2d(3, 2, 1), nn.Linear(24, 5)

    def forward(self, x):
        x = self.pool(self.point(F.relu6(self.bn(self.depth(self.pre(x))))))
        return self.head(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1))


class Strange(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(6, 6)

    def forward(self, x):
        return torch.cumsum(self.a(torch.cumsum(x, 1)), 1)


class Cond(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(6, 6)

    def forward(self, x):
        return torch.cond(x.sum() > 0, lambda t: t.sin(), lambda t: t.cos(), (self.a(x),))
