"""Python's collector of cycles, called less often: a run makes very many objects and few cycles."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

NEW_OBJECTS = 200_000  # that are made before Python looks among them; by itself it does so after 700


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Let Python look for cycles seldom; else it takes up to four fifths of the time to read a graph."""
    before = gc.get_threshold()
    gc.set_threshold(max(NEW_OBJECTS, before[0]) if before[0] else 0, *before[1:])  # 0: it is off
    try:
        yield
    finally:
        gc.set_threshold(*before)
