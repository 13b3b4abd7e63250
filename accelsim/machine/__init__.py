"""The machine: SimPy processes that run a program."""

from accelsim.machine.run import run_program

__all__ = ["run_program"]
