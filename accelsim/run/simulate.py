"""One run from names to folder."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatchcase
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from accelsim import MODEL_VERSION, __version__, plugins
from accelsim.config.mappingfile import load_mapping
from accelsim.errors import GraphError, InputError
from accelsim.frontend import Captured, load_workload
from accelsim.graph.ir import Graph
from accelsim.graph.master import with_master_weights
from accelsim.graph.store import content_hash
from accelsim.machine import run_program
from accelsim.program.program import Program
from accelsim.resolve import load_machine
from accelsim.resolve.activity import load_activity, with_activity
from accelsim.resolve.load import load_prices, load_unused
from accelsim.resolve.machine import Machine
from accelsim.resolve.prices import gated_shares
from accelsim.run.collector import seldom_collected
from accelsim.run.columns import (
    energy_columns,
    op_rows,
    ops_columns,
    residency_columns,
    span_columns,
)
from accelsim.run.copies import copy_columns
from accelsim.run.energy import energy_rows
from accelsim.run.errors import write_errors
from accelsim.run.frozen import frozen_program
from accelsim.run.gating import powered_shares
from accelsim.run.placement import told_fields, told_placement
from accelsim.run.plans import key_of, mapped_of
from accelsim.run.summary import JSON_KEYS, summarize_run
from accelsim.trace.folder import MAPPING, RunFolder
from accelsim.trace.recorder import Part, Recorder
from accelsim.trace.runs import open_run
from accelsim.trace.schema import COPIES, ENERGY, OPS, RESIDENCIES, SPANS

Progress = Callable[[str, int, int], None]
SEED = 0  # nothing random decides a run yet; named random streams will


@dataclass(frozen=True, slots=True)
class Result:
    """A finished run: its figures, its folder, and how long its stages took."""

    summary: dict[str, Any]
    skip: dict[str, Any]
    run_dir: Path
    wall_s: dict[str, float]

    def json(self) -> dict[str, Any]:
        """Return the object that ``accelsim run --json`` prints."""
        return {
            **{key: self.summary[key] for key in JSON_KEYS},
            "skip": self.skip,
            "run_dir": str(self.run_dir),
            "wall_s": self.wall_s,
        }


@dataclass(slots=True)
class _Stages:
    """Times the stages and reports their progress."""

    progress: Progress | None
    wall_s: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[int, int], None]]:
        """Time the stage ``name``; yields what reports (done, total)."""
        began = time.perf_counter()

        def report(done: int, total: int) -> None:
            if self.progress is not None:
                self.progress(name, done, total)

        report(0, 1)
        yield report
        report(1, 1)
        self.wall_s[name] = round(time.perf_counter() - began, 6)


@seldom_collected()
def simulate(
    arch: str,
    workload: str,
    *,
    batch: int | None = None,
    accumulate: int | None = None,
    phase: str = "all",
    cold: bool = False,
    allow_unsupported: bool = False,
    overrides: Sequence[str] = (),
    out: Path | str | None = None,
    force: bool = False,
    trace_tensors: Sequence[str] = (),
    exact: bool = False,
    mapping_from: str | Path | None = None,
    mapping: Path | None = None,
    activity: Path | None = None,
    command: Sequence[str] = (),
    progress: Progress | None = None,
) -> Result:
    """Simulate one training step and keep it in a run folder.

    Args:
        arch: A machine: a shipped name or a TOML file.
        workload: A network: a shipped name, a TOML file, or a SCALE-Sim topology (.csv).
        batch: Samples per step, instead of the workload's.
        accumulate: Micro-batches that a step's batch is split into, instead of the workload's.
        phase: ``all`` or ``forward``.
        cold: The first step, everything from DRAM, instead of the steady one.
        allow_unsupported: Cost ops without a lowering as elementwise ones, and say so everywhere.
        overrides: ``key.path=value`` settings of the machine.
        out: The run folder; else ``runs/<machine>_<workload>-<id>``.
        force: Replace another run at ``out``.
        trace_tensors: Globs of tensors whose single copies are kept in ``copies.parquet``.
        mapping_from: A run, by name or folder, whose tiles, order and placement are taken.
        mapping: A mapping file: tiles, orders, places of tensors; what it leaves out is the mapper's choice.
        activity: A table of what data look like, measured in training (``activity.parquet``).
        exact: Simulate every tile, also those of a steady state; the same results, later.
        command: What the user typed, for the manifest.
        progress: Called with (stage, done, total).

    Raises:
        InputError: if machine, workload or options are at fault; nothing is written.
        RunError: if the run cannot finish.
    """
    stages = _Stages(progress)
    if mapping is not None and mapping_from is not None:
        raise InputError("--mapping FILE and --mapping-from RUN exclude each other: give one")
    by_hand = load_mapping(Path(mapping)) if mapping is not None else None
    measured = load_activity(Path(activity)) if activity is not None else None
    machine = load_machine(arch, tuple(overrides))
    machine = machine if measured is None else with_activity(machine, measured)
    with stages.stage("capture"):
        captured = load_workload(workload, batch=batch, accumulate=accumulate, phase=phase)
        captured = replace(captured, graph=with_master_weights(captured.graph, machine.formats))
    if not allow_unsupported:
        _refuse_unsupported(captured.graph)
    _check_globs(captured.graph, trace_tensors)
    if measured is not None:
        measured.check([op.layer for op in captured.graph.ops])
    options: dict[str, Any] = {"phase": str(captured.spec.get("phase", phase)), "cold": cold}
    graph_hash = content_hash(captured.graph)
    frozen = None
    if mapping_from is not None:
        source = open_run(mapping_from)
        frozen = frozen_program(source, captured.graph, graph_hash, machine, cold)
        options["mapping_from"] = source.manifest["id"]
    given: dict[str, Any] = {}
    if by_hand is not None and mapping is not None:
        given = {"name": Path(mapping).name, "sha256": by_hand[0].sha256}
        options["mapping_file"] = given
    decides = {**options, "trace_tensors": list(trace_tensors), "model_version": MODEL_VERSION, "seed": SEED}
    run_id = _run_id(machine, graph_hash, decides)
    name = f"{machine.name}_{captured.graph.name}"
    target = Path(out) if out is not None else None
    with RunFolder.create(target, name, run_id, force) as folder:
        with stages.stage("map") as report:
            mapped = frozen or mapped_of(
                captured.graph, graph_hash, machine, cold=cold, progress=report, by_hand=by_hand
            )
            program = mapped.program
        with stages.stage("simulate") as report:
            recorder = run_program(machine, program, trace_tensors, report, exact=exact)
        with stages.stage("write"):
            told = {**options, "accumulate": int(captured.spec.get("accumulate", 1))}
            folder.write_text(MAPPING, mapped.record)
            summary = _write(folder, machine, captured.graph, program, recorder, told)
            skip = _skip(recorder)
            manifest = _manifest(machine, captured, graph_hash, skip, command, decides)
            manifest |= _beside_the_id(arch, overrides, measured is not None)
            if frozen is None:
                manifest["program"] = key_of(graph_hash, machine, cold, given.get("sha256", ""))
                manifest["bank_order"] = list(machine.banks)
            if by_hand is not None:
                manifest["mapping_file"] = {**given, "given": by_hand[0].plain}
            folder.write_manifest({**manifest, "wall_s": dict(stages.wall_s)})
    return Result(summary, skip, folder.path, dict(stages.wall_s))


def _refuse_unsupported(graph: Graph) -> None:
    if graph.unsupported:
        lines = [f"  {u.count} x {u.aten} in {u.layer or 'the step'} ({u.phase})" for u in graph.unsupported]
        total = sum(u.count for u in graph.unsupported)
        offered = dict.fromkeys(plugins.names(plugins.LOWERING))
        fits = [op for op in offered if any(u.aten.rpartition(".")[0] == op for u in graph.unsupported)]
        if fits:
            lines.append(f"installed plug-ins lower them: lowering = {json.dumps(fits)} in the workload")
        raise GraphError(
            f"{graph.name}: {total} ops have no lowering; --allow-unsupported costs them as elementwise:\n"
            + "\n".join(lines)
        )


def _check_globs(graph: Graph, globs: Sequence[str]) -> None:
    for glob in globs:
        if not any(fnmatchcase(name, glob) for name in graph.tensors):
            some = ", ".join(list(graph.tensors)[:5])
            raise InputError(f"--trace-tensor {glob}: no tensor has such a name; there are {some}, ...")


def _run_id(machine: Machine, graph_hash: str, decides: dict[str, Any]) -> str:
    """Return the hash of all that decides the result."""
    everything = {"machine": asdict(machine), "graph": graph_hash, **decides}
    text = json.dumps(everything, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _write(
    folder: RunFolder,
    machine: Machine,
    graph: Graph,
    program: Program,
    recorder: Recorder,
    options: dict[str, Any],
) -> dict[str, Any]:
    """Write the tables and the summary; return the summary."""
    rows = op_rows(graph, program, recorder)
    parts = [Part(op.name, op.layer, op.phase) for op in graph.ops]
    shares, gated = powered_shares(machine, program, recorder), gated_shares(machine, graph)
    energy = energy_rows(machine, recorder, parts, shares, gated)
    folder.write_table("ops", ops_columns(rows, machine, OPS))
    folder.write_table("spans", span_columns(recorder, SPANS))
    folder.write_table("energy", energy_columns(energy, ENERGY))
    residencies = residency_columns(recorder, RESIDENCIES)
    folder.write_table("residencies", residencies)
    if recorder.histogram.traced:
        folder.write_extra("copies", copy_columns(recorder, COPIES))
    errors = write_errors(folder, machine, residencies, program, recorder.counts)
    summary = summarize_run(machine, graph, program, recorder, rows, energy, options) | errors
    summary |= told_fields(program, recorder)
    if not {"mapping_from", "mapping_file"} & set(options):
        summary |= told_placement(machine, graph, program)
    folder.write_summary(summary)
    return summary


def _manifest(
    machine: Machine,
    captured: Captured,
    graph_hash: str,
    skip: dict[str, Any],
    command: Sequence[str],
    decides: dict[str, Any],
) -> dict[str, Any]:
    return {
        "machine": asdict(machine),
        "workload": captured.spec,
        "workload_files": [list(f) for f in captured.files],
        "graph": graph_hash,
        "decides": decides,
        "versions": _versions(),
        "command": list(command),
        "skip": skip,
    }


def _beside_the_id(arch: str, overrides: Sequence[str], measured: bool) -> dict[str, Any]:
    """Return what the machine's files say beside what decides: prices with bounds, keys without effect."""
    found = {
        "prices": load_prices(arch, tuple(overrides)),
        "unused_keys": load_unused(arch, tuple(overrides), measured=measured),
    }
    return {key: value for key, value in found.items() if value}


def _skip(recorder: Recorder) -> dict[str, Any]:
    """Return what was simulated and what was accounted at once, and why not where nothing was."""
    return {
        "tiles_simulated": recorder.tiles,
        "tiles_skipped": recorder.tiles_skipped,
        "folds_skipped": recorder.folds_skipped,
        "kernels_skipped": recorder.kernels_skipped,
        "no_period": dict(sorted(recorder.no_period.items())),
    }


def _versions() -> dict[str, str]:
    found = {"accelsim": __version__, "python": platform.python_version()}
    for package in ("torch", "simpy", "numpy", "pyarrow"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found
