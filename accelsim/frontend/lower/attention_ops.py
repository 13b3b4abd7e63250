"""The walks of fused attention as ops of torch, so that a graph's ops can be carried out by their names.

The scores are ``scale`` times the products, plus ``mask`` if there is one; ``causal`` hides the keys that
come after a query.
"""

from __future__ import annotations

import torch
from torch import Tensor

SOFTMAX = "accelsim.attention_softmax"
PROBABILITIES = "accelsim.attention_probabilities"
ERROR = "accelsim.attention_error"


def _scores(products: Tensor, mask: Tensor | None, scale: float, causal: bool) -> Tensor:
    scores = products * scale if mask is None else products * scale + mask
    return scores.masked_fill(_later(scores), float("-inf")) if causal else scores


def _later(scores: Tensor) -> Tensor:
    """Return which keys come after which queries."""
    return torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)


@torch.library.custom_op("accelsim::attention_softmax", mutates_args=())
def softmax(products: Tensor, mask: Tensor | None, scale: float, causal: bool) -> tuple[Tensor, Tensor]:
    """Return the rows' probabilities, and the logarithms of their sums of exponentials."""
    scores = _scores(products, mask, scale, causal)
    logs = scores.logsumexp(-1)
    return (scores - logs[..., None]).exp(), logs


@torch.library.custom_op("accelsim::attention_probabilities", mutates_args=())
def probabilities(products: Tensor, logs: Tensor, mask: Tensor | None, scale: float, causal: bool) -> Tensor:
    """Return the probabilities from the products and the saved logarithms, element by element."""
    return (_scores(products, mask, scale, causal) - logs[..., None]).exp()


@torch.library.custom_op("accelsim::attention_error", mutates_args=())
def error(weights: Tensor, gradient: Tensor, delta: Tensor, scale: float) -> Tensor:
    """Return the error of the products from probabilities, their error, and the rows' sums of both."""
    return weights * (gradient - delta[..., None]) * scale
