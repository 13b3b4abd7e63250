"""One run from names to folder."""

from accelsim.run.simulate import Result, simulate

__all__ = ["Result", "simulate"]
