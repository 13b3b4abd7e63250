"""What a worker does: a machine and a graph to figures. It writes no file; only training imports torch.

Mapping and simulation are made for the machine without its prices, so that by construction they are the same
for machines that differ in prices only; points of one such machine are simulated once and priced each.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
import traceback
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final

from accelsim import MODEL_VERSION
from accelsim.errors import AccelsimError
from accelsim.graph.ir import Graph
from accelsim.graph.store import dumps, loads
from accelsim.program.program import Program
from accelsim.resolve.machine import Machine
from accelsim.sweep.figures import Figures, of_machine, of_summary
from accelsim.sweep.training import Training, errors_key, trained
from accelsim.trace.recorder import Recorder

if TYPE_CHECKING:
    from accelsim.mapping import Grounds

SEED: Final = 0  # nothing random decides a run yet
KEPT: Final = 4  # simulations and graphs that a worker remembers
_PRICES: Final = {  # of a machine: what decides energy, area or text, and neither times nor places
    "": ("static_mw", "temperature_k", "node_nm"),
    "accumulator": ("rmw_pj",),
    "noc": ("pj_per_bit",),
    "dma": ("pj_per_bit",),
    "dram": ("read_pj_per_bit", "write_pj_per_bit", "background_mw"),
}
_BANK_PRICES: Final = (
    *("read_pj", "write_pj", "leakage_mw", "area_mm2", "cell_current_a", "cell_pulse_s", "write_cell_pj"),
    *("unchanged_cost", "changed_cost", "falling_cost", "write_retries", "gated_leakage", "drowsy_leakage"),
)


@dataclass(frozen=True, slots=True)
class Work:
    """A workload as data: the stored graph, packed, and what of the step was asked for."""

    name: str
    graph_hash: str
    packed: bytes
    options: tuple[tuple[str, Any], ...]
    training: Training | None = None  # after the simulation, with the errors of the point

    @property
    def cold(self) -> bool:
        """Whether the first step is simulated."""
        return bool(dict(self.options)["cold"])


@dataclass(frozen=True, slots=True)
class Job:
    """One point: a machine, a workload, and their id."""

    id: str
    machine: Machine
    work: Work
    estimate: bool = False  # map only


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a point: its figures, or why it has none."""

    id: str
    figures: Figures | None
    error: str
    wall_s: float


def packed(graph: Graph) -> bytes:
    """Return ``graph`` as small data, to be sent to workers."""
    return zlib.compress(dumps(graph).encode(), 6)


def point_id(machine: Machine, work: Work) -> str:
    """Return the hash of all that decides a point's figures; names and sources do not."""
    what = replace(machine, name="", sources=())
    decides = {
        "machine": asdict(what),
        "banks": list(machine.banks),
        "graph": work.graph_hash,
        "options": dict(work.options),
        "model_version": MODEL_VERSION,
        "seed": SEED,
    }
    decides |= {"training": work.training.decides} if work.training is not None else {}
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def as_mapped(machine: Machine) -> Machine:
    """Return the machine as mapping and simulation see it: without prices, where these decide no mapping."""
    return replace(machine, name="", sources=()) if machine.mapping.priced else without_prices(machine)


def without_prices(machine: Machine) -> Machine:
    """Return the machine without what decides neither times nor, but for energies as objective, places."""
    parts: dict[str, Any] = {
        part: replace(getattr(machine, part), **dict.fromkeys(names, 0.0))
        for part, names in _PRICES.items()
        if part
    }
    nothing = dict.fromkeys(machine.pe_array.mac_pj, 0.0)
    array = replace(machine.pe_array, mac_pj=nothing, clock_pj={}, register_pj_per_bit=0.0, zero_gating=False)
    standing: dict[str, Any] = dict.fromkeys(_PRICES[""], 0)
    banks = {name: replace(bank, **_unpriced(bank)) for name, bank in machine.banks.items()}
    return replace(
        machine,
        name="",
        sources=(),
        toggle={},
        banks=banks,
        content={},
        pe_array=array,
        vector=replace(machine.vector, pj=dict.fromkeys(machine.vector.pj, 0.0)),
        **standing,
        **parts,
    )


def _unpriced(bank: Any) -> dict[str, Any]:
    """Return the fields of a bank group to be reset; names that it has not are passed over."""
    names = {field.name for field in dataclasses.fields(bank)}
    reset: dict[str, Any] = {name: type(getattr(bank, name))(0) for name in _BANK_PRICES if name in names}
    if bank.buffer is not None:
        reset["buffer"] = replace(bank.buffer, access_pj=0.0, area_mm2=0.0)
    gating = bank.power_gating if bank.power_gating == "drowsy" else "none"  # waking takes time
    return reset | {"device": None, "cell": "", "power_gating": gating, "refresh_model": "physical"}


def timing_key(machine: Machine, work: Work) -> str:
    """Return what two points share that need one simulation and, if they are trained, one training."""
    bare = as_mapped(machine)
    what = [asdict(bare), list(bare.banks), work.graph_hash, work.cold]
    what += [work.training.decides, errors_key(machine)] if work.training is not None else []
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def evaluate(jobs: Sequence[Job]) -> list[Outcome]:
    """Return the outcome of every job; a fault of one is its outcome."""
    return [_outcome(job) for job in jobs]


def _outcome(job: Job) -> Outcome:
    began = time.perf_counter()
    try:
        figures, error = (estimated if job.estimate else simulated)(job), ""
    except AccelsimError as fault:
        figures, error = None, str(fault)
    except MemoryError:
        raise
    except Exception as fault:
        figures, error = None, f"internal error: {fault!r}\n{traceback.format_exc(limit=-3)}"
    return Outcome(job.id, figures, error, time.perf_counter() - began)


def simulated(job: Job) -> Figures:
    """Return the figures of a point: the summary's of ``accelsim run``, and training's if it is trained."""
    from accelsim.resolve.prices import gated_shares
    from accelsim.run.columns import op_rows, residency_columns
    from accelsim.run.energy import energy_rows
    from accelsim.run.errors import judged
    from accelsim.run.gating import powered_shares
    from accelsim.run.summary import summarize_run
    from accelsim.trace.recorder import Part
    from accelsim.trace.schema import RESIDENCIES

    machine, graph = job.machine, graph_of(job.work)
    program, recorder = _simulation(job)
    rows = op_rows(graph, program, recorder)
    parts = [Part(op.name, op.layer, op.phase) for op in graph.ops]
    shares, gated = powered_shares(machine, program, recorder), gated_shares(machine, graph)
    energy = energy_rows(machine, recorder, parts, shares, gated)
    summary = summarize_run(machine, graph, program, recorder, rows, energy, dict(job.work.options))
    errors, profile = judged(machine, residency_columns(recorder, RESIDENCIES), program, recorder.counts)
    found = of_summary(summary | errors) | of_machine(machine)
    if errors:
        found |= _lifetime(machine, energy, recorder, errors["errors"]["hottest_writes"])
    if job.work.training is not None:
        step_ps = summary["time_ps"] + summary["host_gap_ps"]
        found |= trained(job.work.training, machine, profile, step_ps, summary["energy_pj"]["total"])
    return found


def _lifetime(machine: Machine, energy: Any, recorder: Recorder, hottest: Mapping[str, Any]) -> Figures:
    """Return after how long the first bank group is worn out, if one wears."""
    from accelsim.reliability.wear import wear
    from accelsim.run.columns import energy_columns

    columns: dict[str, Any] = dict(energy_columns(energy, ("component", "action", "count")))
    worn = wear(machine.banks, columns, recorder.end_ps + machine.host_gap_ps, hottest)
    lives = [w.lifetime_s for w in worn.values() if w.lifetime_s]
    return {"lifetime_s": min(lives)} if lives else {}


def estimated(job: Job) -> Figures:
    """Return what the mapping alone estimates: time and DRAM traffic, and the energy that these cause."""
    from accelsim.mapping import map_graph
    from accelsim.sweep.bounds import standing_mw

    machine = job.machine
    program = map_graph(graph_of(job.work), as_mapped(machine), cold=job.work.cold, grounds=_grounds())
    time_ps, dram = program.estimate_ps, program.estimate_dram_bytes
    wire = (machine.dram.read_pj_per_bit + machine.dram.write_pj_per_bit) / 2 + machine.dma.pj_per_bit
    energy = dram * 8 * wire + standing_mw(machine) * 1e-3 * time_ps + mac_energy(job)
    known = {"time_ps": time_ps, "cycles": time_ps * machine.clock_hz / 1e12, "energy_pj.total": energy}
    return known | {"dram_bytes.read": dram, "dram_bytes.write": 0} | of_machine(machine)


def mac_energy(job: Job) -> float:
    """Return the energy of the graph's multiply-accumulates."""
    from accelsim.sweep.bounds import mac_pj

    return mac_pj(job.machine, graph_of(job.work))


def _simulation(job: Job) -> tuple[Program, Recorder]:
    """Return the program and the records of a job, made now or for a point with the same times."""
    key = timing_key(job.machine, replace(job.work, training=None))
    found = _done.pop(key, None)
    if found is None:
        found = _simulate(job)
        while len(_done) >= KEPT:
            del _done[next(iter(_done))]
    _done[key] = found
    return found


_done: dict[str, tuple[Program, Recorder]] = {}


def _simulate(job: Job) -> tuple[Program, Recorder]:
    from accelsim.machine import run_program
    from accelsim.mapping import map_graph
    from accelsim.run.collector import seldom_collected

    bare = as_mapped(job.machine)
    with seldom_collected():
        program = map_graph(graph_of(job.work), bare, cold=job.work.cold, grounds=_grounds())
        recorder = run_program(bare, program)
    recorder.spans.clear()  # no figure needs them
    return program, recorder


@cache
def _grounds() -> Grounds:
    """Return what mapping keeps from one point to the next."""
    from accelsim.mapping import Grounds

    return Grounds(KEPT)


def graph_of(work: Work) -> Graph:
    """Return the graph of a workload."""
    return _graph(work.graph_hash, work.packed)


@lru_cache(maxsize=KEPT)
def _graph(_: str, data: bytes) -> Graph:
    return loads(zlib.decompress(data).decode())


def key_sorted(figures: Mapping[str, float]) -> str:
    """Return figures as one line of JSON."""
    return json.dumps(figures, sort_keys=True, separators=(",", ":"))
