"""Discrete-event time: SimPy in whole picoseconds."""

from accelsim.sim.engine import Clock, Counter, Sim, Steps, Tag

__all__ = ["Clock", "Counter", "Sim", "Steps", "Tag"]
