"""accelsim: cycles and energy of one training step on accelerators with SRAM and STT-MRAM scratchpads.

Importing it is cheap: torch, pyarrow and simpy are loaded by the calls that need them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accelsim.run import simulate
    from accelsim.train.injector import ErrorInjector

__all__ = ["MODEL_VERSION", "ErrorInjector", "__version__", "simulate"]
__version__ = "0.1.0"
_LAZY = {"simulate": "accelsim.run", "ErrorInjector": "accelsim.train.injector"}
MODEL_VERSION = "7"  # raised by hand whenever the meaning of a number changes; part of every run's id


def __getattr__(name: str) -> Any:
    """Load ``simulate`` and ``ErrorInjector`` at their first use.

    By name rather than by an import statement: lower layers import this package for its versions.
    """
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
