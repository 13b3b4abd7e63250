"""The machine: SimPy processes that run a program."""

from accelsim.machine.bookings import Touch
from accelsim.machine.run import run_program

__all__ = ["Touch", "run_program"]
