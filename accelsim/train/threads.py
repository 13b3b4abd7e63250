"""How many threads torch computes with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch


def one_thread() -> AbstractContextManager[None]:
    """Have torch use one thread, so that sums do not depend on the number of cores; see ``threads``."""
    return threads(1)


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Have torch compute with ``number`` threads: the order of sums is theirs, and with it the last digits.

    No trace is left of it; torch's random generator is put back too.
    """
    before, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.set_rng_state(state)
