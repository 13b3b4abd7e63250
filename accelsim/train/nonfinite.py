"""What a reader makes of values that are no finite numbers: ``raw``, ``zero`` or ``clamp``."""

from __future__ import annotations

from typing import Final, Literal, get_args

import numpy as np
import torch

from accelsim.config.faults import did_you_mean
from accelsim.errors import InputError
from accelsim.train.formats import StorageFormat, Words, as_values, as_words

Policy = Literal["raw", "zero", "clamp"]
POLICIES: Final[tuple[Policy, ...]] = get_args(Policy)


def policy_of(name: str) -> Policy:
    """Return the policy called ``name``."""
    for policy in POLICIES:
        if policy == name:
            return policy
    hint = did_you_mean(name, POLICIES) or f"; there are {', '.join(POLICIES)}"
    raise InputError(f'unknown policy for non-finite values "{name}"{hint}')


def settle(words: Words, form: StorageFormat, policy: Policy, bound: float) -> tuple[Words, int]:
    """Return what is delivered of wrong ``words``, and how many of them are not finite.

    ``zero`` delivers 0 for those; ``clamp`` cuts every word to [-bound, bound] and delivers 0 for NaN.
    """
    bad = form.non_finite(words)
    count = int(bad.sum())
    if policy == "zero" and count:
        words = np.where(bad, form.unsigned.type(0), words)
    if policy == "clamp":
        values = torch.nan_to_num(as_values(words, form).double(), nan=0.0, posinf=bound, neginf=-bound)
        words = as_words(values.clamp(-bound, bound), form)
    return words, count


def settle_all(values: torch.Tensor, policy: Policy, bound: float) -> int:
    """Replace, in place, what is not finite in all of ``values``; return how many there were.

    One sum tells whether there is anything to do.
    """
    if policy == "raw" or bool(torch.isfinite(values.sum(dtype=torch.float32))):
        return 0
    count = int((~torch.isfinite(values)).sum())
    edge = 0.0 if policy == "zero" else bound
    torch.nan_to_num_(values, nan=0.0, posinf=edge, neginf=-edge)
    return count
