"""A program on a machine, from the first fill to the last write-back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from accelsim.machine.dma import FillEngine
from accelsim.machine.memory import Port
from accelsim.machine.state import State, Touch
from accelsim.machine.transpose import COMPONENT
from accelsim.machine.unit import Units
from accelsim.machine.upkeep import keep_up
from accelsim.machine.writeback import WriteBackEngine
from accelsim.program.program import Program
from accelsim.resolve.machine import Machine
from accelsim.sim import Sim
from accelsim.trace.recorder import Recorder


def run_program(
    machine: Machine,
    program: Program,
    trace_tensors: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
    *,
    exact: bool = False,
    steals: Sequence[Steal] = (),
    observe: Callable[[Touch], None] | None = None,
) -> Recorder:
    """Run ``program`` and return its records.

    Single reads of tensors that match a glob of ``trace_tensors`` are kept. ``progress`` is called with
    the kernels done and their number. ``exact`` simulates every tile; without it those of a steady state
    are accounted at once, with the same result. ``steals`` take bank ports at fixed intervals. ``observe`` is
    told every access of a copy as it is booked, of the tiles that are simulated: of all if ``exact``.

    Raises:
        DeadlockError: if nothing can go on, naming who waits for what.
        RunError: if something is read before it is written.
    """
    sim, recorder = Sim(), Recorder(tuple(trace_tensors))
    state = State(sim, machine, program, recorder, skips=not exact, observe=observe)
    if progress is not None:
        _report(state, progress)
    for steal in steals:
        sim.every(steal.period_ps, partial(_steal, state, steal))
    keep_up(state)
    fills, backs = FillEngine(state), WriteBackEngine(state)
    state.engines = (fills, backs)
    units = Units(state, (fills, backs))
    sim.process("drain", units.drain.run())
    sim.process("units", units.run())
    sim.process("dma.read", fills.run())
    sim.process("dma.write", backs.run())
    recorder.end_ps = sim.stamp(sim.run("units", "dma.read", "dma.write"))
    state.settle(recorder.end_ps + machine.host_gap_ps)
    recorder.finish()
    _component_times(state, fills, backs)
    return recorder


@dataclass(frozen=True, slots=True)
class Steal:
    """A periodic event of a bank group: its write port is taken for ``hold_ps`` every ``period_ps``."""

    group: str
    period_ps: int
    hold_ps: int


def _steal(state: State, steal: Steal) -> None:
    state.banks[steal.group].take(0, steal.hold_ps, "scrub")


def _within(port: Port, end_ps: int) -> int:
    """Return the busy time of a port up to ``end_ps``: its last service may outlast the run."""
    return port.busy_ps - max(0, port.free_ps - end_ps)


def _report(state: State, progress: Callable[[int, int], None]) -> None:
    total = len(state.program.kernels)

    def watch() -> object:
        done = 0
        while done < total:
            yield state.flushed.reached(done + 1)
            done = state.flushed.value
            progress(done, total)

    state.sim.process("progress", watch())  # type: ignore[arg-type]


def _component_times(state: State, fills: FillEngine, backs: WriteBackEngine) -> None:
    """Enter the busy times of ports and DRAM, and every component that exists."""
    for bank in state.banks.values():
        for name, port in bank.ports().items():
            state.recorder.component(name).busy_ps = _within(port, state.sim.now)
    ports = [p for bank in state.banks.values() for p in bank.ports().values()]
    state.recorder.transactions = sum(p.served for p in ports) + state.dram.port.served
    state.recorder.component("dram").busy_ps = _within(state.dram.port, state.sim.now)
    if state.transpose is not None:
        state.recorder.component(COMPONENT).busy_ps = _within(state.transpose.port, state.sim.now)
    for engine in (fills, backs):
        times = state.recorder.component(engine.name)
        times.busy_ps = engine.busy_ps
        if engine.stalled_ps:
            times.stall_ps["dependency"] = engine.stalled_ps
    for name in ("pe_array", "vector"):
        state.recorder.component(name)
