"""accelsim: cycles and energy of one training step on accelerators with SRAM and STT-MRAM scratchpads.

Importing it is cheap: torch, pyarrow and simpy are loaded by the calls that need them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accelsim.run import simulate

__all__ = ["MODEL_VERSION", "__version__", "simulate"]
__version__ = "0.1.0"
MODEL_VERSION = "2"  # raised by hand whenever the meaning of a number changes; part of every run's id


def __getattr__(name: str) -> Any:
    """Load ``simulate`` at its first use.

    By name rather than by an import statement: lower layers import this package for its versions.
    """
    if name == "simulate":
        return import_module("accelsim.run").simulate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
