"""``accelsim train``: simulate the step, then train with and without errors, and keep it all in a folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from accelsim import MODEL_VERSION, __version__
from accelsim.errors import InputError
from accelsim.frontend.spec import Workload
from accelsim.graph.ir import Graph
from accelsim.program.program import Program
from accelsim.resolve import load_machine
from accelsim.resolve.machine import Machine
from accelsim.run import simulate
from accelsim.trace.folder import canonical_json
from accelsim.trace.runs import open_run
from accelsim.train.bittrue.training import NAME as BIT_TRUE
from accelsim.train.bittrue.training import (
    BitTrueTraining,
    check_options,
    planned,
    prepared,
    seconds_per_step,
)
from accelsim.train.cases import PROFILE, cases_of, check_wanted, wants_profile
from accelsim.train.closed import CLOSED, ClosedLoop, Loop
from accelsim.train.files import (
    CHECKPOINTS,
    LOG,
    PLOT,
    RUN,
    SUMMARY,
    TRIED,
    Log,
    settings_id,
    training_folder,
    write_whole,
)
from accelsim.train.machines import Machines
from accelsim.train.options import check_values, naming
from accelsim.train.plot import plot
from accelsim.train.prepare import setup_of
from accelsim.train.profile import FILE, RunProfile
from accelsim.train.remedies import Remedies
from accelsim.train.summary import CLEAN, summarize
from accelsim.train.table import TableProfile
from accelsim.train.threads import threads
from accelsim.train.trainer import Case, Check, Row, Setup, Trainer, Training, silent
from accelsim.train.validation import held_out

Maker = Callable[[Setup, Case, int, Path | None], Training]

ACTIVITY = "activity.parquet"  # of the first seed without errors


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopWish:
    """A closed loop beside: how often it checks (None: every epoch), and the drift that it takes."""

    every: int | None = None
    tolerance: float = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to be trained, as it was asked for."""

    arch: str
    workload: str
    data: str | None = None
    epochs: int = 10
    seeds: int = 3
    errors: str | None = None
    rates: tuple[float, ...] = ()
    target: str = "activation"
    layers: str | None = None
    batch: int | None = None
    options: Mapping[str, Any]
    overrides: tuple[str, ...] = ()
    target_accuracy: float | None = None
    checkpoint_steps: int = 200
    loop: LoopWish | None = None
    bit_true: bool = False
    threads: int = 1  # of torch; bit-true training has one


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who is told: stages of the simulation, (training, steps in all, done, loss), rows, decisions."""

    stage: Callable[[str, int, int], None] | None = None
    step: Callable[[str, int, int, float], None] = silent
    row: Callable[[Row], None] = silent
    decision: Callable[[Row], None] = silent
    note: Callable[[str], None] = silent


def train(
    wish: Wish, out: Path | None = None, *, resume: bool = False, watcher: Watcher | None = None
) -> Path:
    """Do what ``wish`` says and return the folder that holds it.

    Raises:
        InputError: Anything in it that cannot be; nothing is left behind.
    """
    if wish.bit_true and wish.threads != 1:
        raise InputError("--threads: has no effect with --bit-true, which uses one")
    with threads(wish.threads):
        return _train(wish, out, resume, watcher or Watcher())


def _train(wish: Wish, out: Path | None, resume: bool, watcher: Watcher) -> Path:
    check_values(wish.options)
    if not wish.bit_true:  # which refuses them itself
        check_wanted(wish.errors, wish.rates, wish.layers, wish.options)
    machine = load_machine(wish.arch, wish.overrides)
    setup = setup_of(
        wish.workload,
        wish.data,
        epochs=wish.epochs,
        batch=wish.batch,
        options=wish.options,
        checkpoint_steps=wish.checkpoint_steps,
    )
    if wish.loop is not None:
        setup = _with_checks(setup, wish, wish.loop)
    workload, data = setup.workload, setup.data
    _check(setup, cases_of(wish.errors, wish.rates, wish.target, wish.layers, None), wish.layers)
    mapped = _mapped(wish, machine, workload)
    _check_errs(wish, machine)
    _check_fields(wish, machine)
    settings = _settings(wish, workload, data.name)
    path = out or Path("runs") / f"train-{machine.name}_{workload.name}-{settings_id(settings)}"
    with training_folder(path, settings, resume) as folder:
        setup, profile = _simulated(wish, setup, folder, watcher)
        setup = _as_stored(setup, machine, profile)
        cases = cases_of(wish.errors, wish.rates, wish.target, wish.layers, profile)
        _check(setup, cases, wish.layers)
        make: Maker = Trainer
        if mapped is not None:
            cases, make = _bit_true(machine, mapped, setup, cases, watcher)
        loop = _loop(wish, setup, folder, watcher)
        if loop is not None:
            cases.append(Case(CLOSED, profile))
        log = _trained(setup, cases, wish.seeds, folder, watcher, make, loop)
    summary = {
        **settings,
        "order": [c.name for c in cases],
        "cases_by_name": {c.name: _described(c, setup, wish.bit_true) for c in cases},
    }
    summary |= {"step_ps": setup.step_ps, "step_pj": setup.step_pj}
    summary |= summarize(log.rows, wish.target_accuracy)
    if loop is not None:
        summary["closed_loop"] = {**summary["closed_loop"], "by_seed": loop.settled}
    write_whole(folder / SUMMARY, canonical_json(summary).encode())
    plot(folder / PLOT, log.rows, f"{workload.name} on {data.name}, {_policies(wish.options)}")
    return folder


def _policies(options: Mapping[str, Any]) -> str:
    """Return what protects a training from its errors, for outputs."""
    safe, code = ", ".join(options.get("protect", ())), options.get("ecc")
    told = [f"protected {safe}"] if safe else []
    told += [f"ecc {code}"] if code else []
    return ", ".join([*told, f"non-finite values {options.get('nonfinite', 'raw')}", *_clipped(options)])


def _clipped(options: Mapping[str, Any]) -> list[str]:
    """Return what the gradients of all trainings are cut to, if they are."""
    norm = options.get("clip_gradients")
    return [] if norm is None else [f"gradients clipped to a norm of {norm:g}"]


def _policy(wish: Wish) -> str:
    return str(wish.options.get("nonfinite", "raw"))


def _settings(wish: Wish, workload: Workload, data: str) -> dict[str, Any]:
    """Return all that decides the result."""
    return {
        "machine": wish.arch,
        "overrides": list(wish.overrides),
        "workload": workload.spec.model_dump(mode="json"),
        "workload_name": workload.name,
        "data": wish.data or data,
        "epochs": wish.epochs,
        "seeds": wish.seeds,
        "errors": wish.errors,
        "rates": list(wish.rates),
        "target": wish.target,
        "layers": wish.layers,
        **({"bit_true": True} if wish.bit_true else {}),
        "threads": wish.threads,
        "options": {k: list(v) if isinstance(v, tuple) else v for k, v in wish.options.items()},
        "nonfinite": _policy(wish),
        "closed_loop": asdict(wish.loop) if wish.loop is not None else None,
        "model_version": MODEL_VERSION,
        "version": __version__,
    }


def _check(setup: Setup, cases: Sequence[Case], layers: str | None) -> None:
    """Build every case once: whatever its profile or options lack shows before anything is written."""
    Trainer(setup, Case("options", TableProfile({})), 0)
    with naming("--layers") if layers is not None else nullcontext():
        for case in cases:
            Trainer(setup, case, 0)


def _simulated(wish: Wish, setup: Setup, folder: Path, watcher: Watcher) -> tuple[Setup, RunProfile | None]:
    """Simulate the step; return its time and energy, and its errors if they are wanted."""
    if not (folder / RUN).is_dir():
        simulate(
            wish.arch,
            str(setup.workload.path),
            batch=wish.batch,
            overrides=wish.overrides,
            out=folder / RUN,
            progress=watcher.stage,
        )
    summary = open_run(folder / RUN).summary
    setup = replace(
        setup,
        step_ps=summary["time_ps"] + summary["host_gap_ps"],
        step_pj=summary["energy_pj"]["total"],
    )
    return setup, RunProfile.load(folder / RUN) if _trains_on_profile(wish) else None


def _trains_on_profile(wish: Wish) -> bool:
    return wants_profile(wish.errors, wish.rates) and not (wish.bit_true and wish.errors != PROFILE)


def _check_errs(wish: Wish, machine: Machine) -> None:
    """Refuse a machine whose cells do not err where its own errors are asked for."""
    if not _trains_on_profile(wish) or any(bank.device is not None for bank in machine.banks.values()):
        return
    others = "" if wish.loop or wish.bit_true else ", or say --errors none, --errors role=rate,... or --rates"
    raise InputError(
        f"{wish.arch}: no bank group of this machine names a device, so that its run has no {FILE}; "
        f"--set bank.NAME.device=mram-1s gives it one{others}"
    )


def _check_fields(wish: Wish, machine: Machine) -> None:
    """Refuse to store in another format what the machine splits by the bits of its own."""
    given = wish.options.get("storage_format")
    for role in machine.split if given is not None and _trains_on_profile(wish) else ():
        form, stored = machine.formats[role], given.get(role) if isinstance(given, Mapping) else given
        if stored not in (None, form):
            raise InputError(
                f"--storage-format {stored}: {wish.arch} splits {role} by the bits of {form} "
                f"([placement] {role}); leave the option out, or set format.{role} too"
            )


def _with_checks(setup: Setup, wish: Wish, loop: LoopWish) -> Setup:
    """Return what all trainings share where one of them is judged beside the error-free one."""
    if wish.bit_true:
        raise InputError("--closed-loop: changes the machine, whose program --bit-true carries out; give one")
    if wish.rates or wish.errors not in (None, PROFILE):
        raise InputError(
            "--closed-loop: acts on the errors of the simulated machine; leave out --errors and --rates"
        )
    data, validation = held_out(setup.data)
    steps = len(data.train) // setup.workload.spec.batch
    if steps < 1:
        batch, left = setup.workload.spec.batch, len(data.train)
        raise InputError(f"--batch {batch}: {data.name} has {left} training samples beside those held out")
    every = loop.every or steps
    if every >= steps * setup.epochs:
        total = steps * setup.epochs
        raise InputError(f"--loop-every {every}: a training of {total} steps has no check that could act")
    return replace(setup, data=data, validation=validation, check_steps=every)


def _loop(wish: Wish, setup: Setup, folder: Path, watcher: Watcher) -> Loop | None:
    if wish.loop is None:
        return None
    workload = str(setup.workload.path)
    remedies = Remedies(wish.arch, wish.overrides, folder)
    machines = Machines(
        wish.arch, workload, wish.batch, remedies, folder / RUN, folder / TRIED, watcher.stage
    )
    return Loop(setup, folder, machines, wish.loop.tolerance, watcher.decision)


def _mapped(wish: Wish, machine: Machine, workload: Workload) -> tuple[Graph, Program] | None:
    """Return the step and its program if it is to be carried out bit by bit; refuse what cannot be."""
    if not wish.bit_true:
        return None
    if wish.rates or wish.layers or wish.errors not in (None, PROFILE, CLEAN):
        raise InputError(
            "--bit-true: errors are those of the machine's cells; --rates, --layers and role=rate are not "
            "for it (--errors profile adds a training with the statistical profile)"
        )
    check_options(wish.options)
    return prepared(machine, workload, wish.batch, wish.options.get("protect", ()))


def _as_stored(setup: Setup, machine: Machine, profile: RunProfile | None) -> Setup:
    """Return what trains with the profile of ``machine``: data stored in its formats, unless told otherwise.

    A profile's probabilities are those of the bits that the machine stores. Rates by hand are not; but what
    is measured is measured as the machine stores it.
    """
    stored = {role: form for role, form in machine.formats.items() if form is not None}
    if not stored or setup.options.get("storage_format") is not None:
        return setup
    key = "measured_as" if profile is None else "storage_format"
    return replace(setup, options={**setup.options, key: stored})


def _formats(setup: Setup) -> str:
    """Return in what is stored what errors are drawn in, for outputs."""
    given = setup.options.get("storage_format")
    if not isinstance(given, Mapping):
        return f"; stored as {given}" if given else ""
    kinds = sorted(set(given.values()))
    told = kinds[0] if len(kinds) == 1 else ", ".join(f"{role} {form}" for role, form in given.items())
    return f"; stored as {told}"


def _bit_true(
    machine: Machine,
    mapped: tuple[Graph, Program],
    setup: Setup,
    cases: list[Case],
    watcher: Watcher,
) -> tuple[list[Case], Maker]:
    """Return the cases with the bit-true one among them, and what makes the trainings of each."""

    def report(done: int, total: int) -> None:
        if watcher.stage is not None:
            watcher.stage("plan", done, total)

    plan = planned(machine, *mapped, report)
    seconds = seconds_per_step(setup, plan)
    watcher.note(f"bit-true: {len(plan.events):,} events and about {seconds:.2g} s a step")

    def make(setup: Setup, case: Case, seed: int, path: Path | None) -> Training:
        if case.profile is not None:
            return Trainer(setup, case, seed, path)
        return BitTrueTraining(setup, case, seed, plan, path, errs=case.name == BIT_TRUE)

    return [cases[0], Case(BIT_TRUE, None), *cases[1:]], make


def _trained(
    setup: Setup,
    cases: Sequence[Case],
    seeds: int,
    folder: Path,
    watcher: Watcher,
    make: Maker,
    loop: Loop | None,
) -> Log:
    log = Log(folder / LOG)

    def on_row(row: Row) -> None:
        log.add(row)
        watcher.row(row)

    for seed in range(seeds):
        reference: Sequence[Check] = ()
        for number, case in enumerate(cases):
            path = folder / CHECKPOINTS / f"{number}-{seed}.pt"
            if loop is not None and case.name == CLOSED:
                trainer: Training = loop.trainer(seed, path, reference)
            else:
                trainer = make(setup, case, seed, path)
            trainer.run(on_row, partial(watcher.step, f"errors {case.name}, seed {seed}", trainer.steps))
            if trainer.activity is not None and not number and not seed:
                trainer.activity.write(folder / ACTIVITY)
            reference = trainer.checks if case.profile is None else reference
            if isinstance(trainer, ClosedLoop) and loop is not None:
                loop.settle(trainer, seed)
    return log


def _described(case: Case, setup: Setup, bit_true: bool) -> str:
    policy = _policies(setup.options)
    if case.name == BIT_TRUE:
        return f"the mapped program on cells that lose bits; {policy}"
    if case.profile is None:
        told = "the mapped program on cells that keep them" if bit_true else "no errors"
        return "; ".join([told, *_clipped(setup.options)])
    if case.name == CLOSED:
        return f"begins with the profile, and changes the machine when accuracy or loss drift; {policy}"
    return f"{case.profile.description}{_formats(setup)}; {policy}"
