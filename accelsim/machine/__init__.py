"""The machine: SimPy processes that run a program."""

from accelsim.machine.run import run_program
from accelsim.machine.state import Touch

__all__ = ["Touch", "run_program"]
