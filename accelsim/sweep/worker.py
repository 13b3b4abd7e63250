"""What a worker process imports before its first point, so that no point pays for it."""

from __future__ import annotations

from accelsim import machine, mapping
from accelsim.run import columns, energy, gating, summary
from accelsim.sweep.evaluate import evaluate

__all__ = ["columns", "energy", "evaluate", "gating", "machine", "mapping", "summary"]
