"""Doing something else in the middle of a training that an injector watches, without a trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils._python_dispatch import _disable_current_modes


@contextmanager
def outside() -> Iterator[None]:
    """Leave the injector that is entered, and torch's random numbers, alone inside."""
    state = torch.get_rng_state()
    with _disable_current_modes():
        try:
            yield
        finally:
            torch.set_rng_state(state)
