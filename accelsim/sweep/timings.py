"""What uncertain times do to a run: simulated again with a key at either end of its range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from accelsim.config.machinefile import toml
from accelsim.errors import InputError
from accelsim.frontend import load_workload
from accelsim.graph.master import with_master_weights
from accelsim.graph.store import content_hash
from accelsim.resolve import load_machine
from accelsim.sweep.corners import described
from accelsim.sweep.evaluate import Job, Work, evaluate, packed
from accelsim.sweep.figures import Figures
from accelsim.sweep.prices import Ranges
from accelsim.trace.runs import Run


@dataclass(frozen=True, slots=True)
class TimeSwing:
    """A run's time in ps and energy in pJ with a key at its low and at its high end."""

    key: str
    time_ps: tuple[float, float]
    energy_pj: tuple[float, float]


def time_swings(run: Run, ranges: Ranges) -> list[TimeSwing]:
    """Return what each range of ``ranges.timings`` does to the run.

    Raises:
        InputError: The run does not say how it was made, or a key or value is at fault.
    """
    if not ranges.timings:
        return []
    own = {"mapping_from", "mapping_file"} & set(run.manifest["decides"])
    if own:
        raise InputError(f"{run.path}: has its own mapping; [timings] are of runs that the mapper mapped")
    base, settings = described(run)
    return [
        TimeSwing(key, *_ends([_simulated(run, base, [*settings, f"{key}={toml(end)}"]) for end in ends]))
        for key, *ends in ranges.timings
    ]


def _ends(figures: Sequence[Figures]) -> tuple[tuple[float, float], tuple[float, float]]:
    low, high = figures
    return (low["time_ps"], high["time_ps"]), (low["energy_pj.total"], high["energy_pj.total"])


def _simulated(run: Run, base: str, settings: list[str]) -> Figures:
    machine, summary = load_machine(base, settings), run.summary
    batch = None if str(run.manifest["workload"].get("topology", "")) else summary["batch"]
    parts = summary.get("accumulate", 1)
    name = run.manifest["command"][3]
    captured = load_workload(name, batch=batch, accumulate=parts, phase=summary["phase"])
    graph = with_master_weights(captured.graph, machine.formats)
    if content_hash(graph) != run.manifest["graph"]:
        raise InputError(f"{run.path}: its workload {name} has changed since; run it again")
    options = (("accumulate", parts), ("cold", summary["cold"]), ("phase", summary["phase"]))
    (outcome,) = evaluate([Job("", machine, Work(graph.name, "", packed(graph), options))])
    if outcome.figures is None:
        raise InputError(outcome.error)
    return outcome.figures
