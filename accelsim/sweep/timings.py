"""What uncertain times do to a run: simulated again with a key at either end of its range."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial, reduce

from accelsim.config.arch import ArchSpec
from accelsim.config.document import load_spec, parse_override
from accelsim.config.faults import did_you_mean
from accelsim.config.locate import find
from accelsim.config.machinefile import toml
from accelsim.config.origins import Fault, error
from accelsim.errors import ConfigError, InputError
from accelsim.frontend import load_workload
from accelsim.graph.ir import Graph
from accelsim.graph.master import with_master_weights
from accelsim.graph.store import content_hash
from accelsim.resolve import load_machine
from accelsim.resolve.machine import Machine
from accelsim.sweep.corners import described, machine_at, measured
from accelsim.sweep.evaluate import Job, Work, evaluate, packed
from accelsim.sweep.figures import Figures
from accelsim.sweep.prices import Ranges
from accelsim.trace.runs import Run
from accelsim.units import Duration


@dataclass(frozen=True, slots=True)
class TimeSwing:
    """A run's time in ps and energy in pJ with a key at its low and at its high end."""

    key: str
    time_ps: tuple[float, float]
    energy_pj: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Timed:
    """A run that can be simulated again.

    Attributes:
        graph: Of its workload, without the machine's master weights.
        ends: Its machine at the low and at the high end of each range.
        absent: The keys of bank groups that its machine does not have.
    """

    run: Run
    graph: Graph
    ends: tuple[tuple[str, Machine, Machine], ...]
    absent: tuple[str, ...]


def timed(runs: Sequence[Run], ranges: Ranges) -> list[Timed]:
    """Return the runs with what ``ranges.timings`` makes of their machines; nothing is simulated.

    Raises:
        ConfigError: Every key or value of the ranges that is at fault, a line each.
        InputError: A run does not say how it was made, or its machine or workload has changed.
    """
    if not ranges.timings:
        return []
    machines = [_machine_of(run) for run in runs]
    there = list(dict.fromkeys(name for machine in machines for name in machine.banks))
    faults = [
        ranges.fault(
            ("timings", key),
            f"no run's machine has a bank group {group}"
            + (did_you_mean(group, there) or f"; there are {', '.join(there)}"),
        )
        for key, *_ in ranges.timings
        if (group := _group(key)) is not None and group not in there
    ]
    found: list[Timed] = []
    for run, machine in zip(runs, machines, strict=True):
        ends, absent = [], []
        for key, low, high in ranges.timings:
            if (group := _group(key)) is not None and group not in machine.banks:
                absent.append(key)
                continue
            one = _Key(run, key, (low, high))
            faults += one.faults(ranges)
            if not faults:
                ends.append((key, *one.machines()))
        if not faults:
            found.append(Timed(run, _graph_of(run, machine), tuple(ends), tuple(absent)))
    if faults:
        raise error(faults)
    return found


def time_swings(timed: Timed) -> list[TimeSwing]:
    """Return what each range does to the run: two simulations each."""
    found = []
    for key, *machines in timed.ends:
        low, high = (_simulated(timed, machine) for machine in machines)
        times, energies = ((low[name], high[name]) for name in ("time_ps", "energy_pj.total"))
        found.append(TimeSwing(key, times, energies))
    return found


class _Key:
    """A key of a run's machine, and what both ends of its range make of the machine's description."""

    def __init__(self, run: Run, key: str, ends: tuple[str, str]) -> None:
        self.run, self.key, self.ends = run, key, ends
        self.base, self.settings = described(run)

    def faults(self, ranges: Ranges) -> Iterator[Fault]:
        """Yield what is wrong with the key, where both ends say the same, or else with an end."""
        low, high = (self._wrong(end) for end in self.ends)
        if low == high:
            yield from (ranges.fault(("timings", self.key), what) for what in low)
        else:
            yield from (ranges.fault(("timings", self.key, "low"), what) for what in low)
            yield from (ranges.fault(("timings", self.key, "high"), what) for what in high)
        if not low and not high:
            amounts = [self._amount(end) for end in self.ends]
            if None not in amounts and amounts[0] > amounts[1]:  # type: ignore[operator]
                told = "expected low <= high, got " + ", ".join(map(toml, self.ends))
                yield ranges.fault(("timings", self.key), told)

    def machines(self) -> tuple[Machine, Machine]:
        """Return the machine at both ends."""
        stored = self.run.manifest["machine"]
        low, high = (measured(load_machine(self.base, self._set(end)), stored) for end in self.ends)
        return low, high

    def _set(self, end: str) -> list[str]:
        return [*self.settings, f"{self.key}={toml(end)}"]

    def _wrong(self, end: str) -> list[str]:
        try:
            load_machine(self.base, self._set(end))
        except ConfigError as exc:
            key, text = ".".join(_keys(self.key)) or self.key.strip(), self._set(end)[-1]
            options = f"--set {key}: ", f"--set {text}: "  # which nobody typed
            return [fault.removeprefix(options[0]).removeprefix(options[1]) for fault in exc.faults]
        except InputError as exc:
            return [str(exc)]
        return []

    def _amount(self, end: str) -> float | None:
        """Return what the machine's description has there in its base unit; None: it is no quantity."""
        path, resolve = find("arch", self.base), partial(find, "arch")
        spec, _ = load_spec(path, ArchSpec, overrides=self._set(end), resolve_name=resolve)
        value = reduce(lambda at, k: at[k] if isinstance(at, dict) else getattr(at, k), _keys(self.key), spec)
        if isinstance(value, Duration):
            return value.ps(spec.clock)
        return value if isinstance(value, int | float) else None


def _keys(key: str) -> list[str]:
    """Return the parts of a key of the machine; none if it is not one."""
    try:
        return parse_override(f"{key}=0")[0]
    except ConfigError:
        return []


def _group(key: str) -> str | None:
    """Return the bank group that a key is of."""
    keys = _keys(key)
    return keys[1] if len(keys) > 1 and keys[0] == "bank" else None


def _machine_of(run: Run) -> Machine:
    if {"mapping_from", "mapping_file"} & set(run.manifest["decides"]):
        raise InputError(f"{run.path}: has its own mapping; [timings] are of runs that the mapper mapped")
    return machine_at(run, None)


def _graph_of(run: Run, machine: Machine) -> Graph:
    summary = run.summary
    batch = None if str(run.manifest["workload"].get("topology", "")) else summary["batch"]
    name = run.manifest["command"][3]
    parts = summary.get("accumulate", 1)
    graph = load_workload(name, batch=batch, accumulate=parts, phase=summary["phase"]).graph
    if content_hash(with_master_weights(graph, machine.formats)) != run.manifest["graph"]:
        raise InputError(f"{run.path}: its workload {name} has changed since; run it again")
    return graph


def _simulated(timed: Timed, machine: Machine) -> Figures:
    summary = timed.run.summary
    graph = with_master_weights(timed.graph, machine.formats)
    options = (
        ("accumulate", summary.get("accumulate", 1)),
        ("cold", summary["cold"]),
        ("phase", summary["phase"]),
    )
    (outcome,) = evaluate([Job("", machine, Work(graph.name, "", packed(graph), options))])
    if outcome.figures is None:
        raise InputError(outcome.error)
    return outcome.figures
