"""Models with the ops of the networks to come; read as text by test_lowering."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel


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
        return torch.logcumsumexp(self.a(torch.logcumsumexp(x, 1)), 1)


class Cond(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(6, 6)

    def forward(self, x):
        return torch.cond(x.sum() > 0, lambda t: t.sin(), lambda t: t.cos(), (self.a(x),))


class Packed(nn.Module):
    """Torch's own attention, which packs its weights and splits them by select, with or without weights."""

    def __init__(self, weights=True):
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, dropout=0.1, batch_first=True)
        self.head, self.weights = nn.Linear(16, 5), weights

    def forward(self, x):
        mixed, _ = self.attention(x, x, x, need_weights=self.weights)
        return self.head(mixed[:, 0])


class Encoder(nn.Module):
    """Torch's own encoder layer and decoder layer."""

    def __init__(self, activation="relu", first=False):
        super().__init__()
        kind = {"activation": activation, "norm_first": first, "batch_first": True}
        self.encoder = nn.TransformerEncoderLayer(16, 4, 32, 0.1, **kind)
        self.decoder = nn.TransformerDecoderLayer(16, 4, 32, 0.1, **kind)
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        return self.head(self.decoder(x, self.encoder(x), tgt_mask=mask, tgt_is_causal=True).mean(1))


class Joined(nn.Module):
    """Rectifiers that end at 6, concatenation, pools of both kinds to a size, dropout of whole maps."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(2, 24)
        self.act, self.head = nn.PReLU(24), nn.Linear(24, 5)

    def forward(self, x):
        x = self.conv(x)
        x = torch.cat([F.relu6(x), F.hardtanh(x), F.dropout2d(F.dropout(x, 0.2), 0.2)], 1)
        x = self.act(self.norm(x)) + F.hardswish(x) + F.elu(x)
        x = F.adaptive_avg_pool2d(x, 3) + F.adaptive_max_pool2d(x, (3, 3))
        return self.head(F.interpolate(x, scale_factor=2)[:, :, ::2, 1:4].mean((2, 3)))


class Fused(nn.Module):
    """The fused call with a mask of its own, with more keys than queries, and a scale."""

    def __init__(self):
        super().__init__()
        self.q, self.kv, self.head = nn.Linear(16, 16), nn.Linear(16, 32), nn.Linear(16, 5)

    def forward(self, x):
        b, t, _ = x.shape
        q = self.q(x[:, : t // 2]).view(b, t // 2, 4, 4).transpose(1, 2)
        k, v = (p.view(b, t, 4, 4).transpose(1, 2) for p in self.kv(x).chunk(2, -1))
        # of the input's dtype, whatever the step is run in: torch reads another one's bytes as if it were
        mask = torch.linspace(-1.0, 1.0, t)[None, :].expand(t // 2, t) + 0 * x[0, : t // 2, :1]
        with sdpa_kernel([SDPBackend.FLASH_ATTENTION]):
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=0.3)
        return self.head(y.transpose(1, 2).flatten(2).mean(1))
