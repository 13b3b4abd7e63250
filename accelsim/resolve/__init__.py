"""From a description to the resolved machine: every number in base units, with its source."""

from accelsim.resolve.load import load_machine
from accelsim.resolve.machine import Machine

__all__ = ["Machine", "load_machine"]
