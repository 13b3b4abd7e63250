"""From a sweep's file to everything that its study needs; every fault is placed in the file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from accelsim.config.arch import ArchSpec
from accelsim.config.document import load_spec
from accelsim.config.faults import did_you_mean
from accelsim.config.locate import find
from accelsim.config.origins import Fault, Origins, error
from accelsim.config.positions import KeyPath
from accelsim.errors import ConfigError, InputError
from accelsim.resolve import load_machine
from accelsim.resolve.machine import Machine
from accelsim.sweep.axes import FORMS, Axis, Linked, axis_of
from accelsim.sweep.evaluate import Work
from accelsim.sweep.expression import Expression, parse
from accelsim.sweep.figures import DERIVED, TO_ACCURACY, TRAINED, Objective, objective, of_machine
from accelsim.sweep.keys import key_of
from accelsim.sweep.mix import Mix, as_overrides, mix_of
from accelsim.sweep.space import Space, check_linked
from accelsim.sweep.spec import SEARCHES, SweepSpec, TrainingSpec, load_sweep_spec

T = TypeVar("T")
ROOTS: Final = (  # of figures that only a run has
    *("cycles", "time_ps", "macs", "pe_utilization", "host_gap_ps", "energy_pj", "dram_bytes", "stall_ps"),
    *("peak_occupancy_bytes", "capacity_bytes", "estimate", "errors", "expected_flips", "worst_ber"),
    *("lifetime_s", "unsupported_ops", *TRAINED),
)
_TRAINED_ROOTS: Final = frozenset(name.partition(".")[0] for name in TRAINED)
REACHED: Final = "reached >= 1"  # what reaching takes can be compared where all seeds reach it


@dataclass(frozen=True)
class Sweep:
    """A sweep, ready to be run."""

    path: Path
    spec: SweepSpec
    base: str
    machine: Machine
    space: Space
    objectives: tuple[Objective, ...]
    constraints: tuple[Expression, ...]
    training: TrainingSpec | None
    origins: Origins = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """The file's name without its suffix."""
        return self.path.stem

    @property
    def workloads(self) -> list[str]:
        """The names of the workloads."""
        given = self.spec.workload
        return list(given) if isinstance(given, list) else [given]

    def digest(self, works: Iterable[Work]) -> str:
        """Return the hash of all that decides the study's points."""
        left_out = {"samples"} if self.spec.method == "sobol" else set()
        left_out |= {"training"} if self.training is None else set()
        spec = self.spec.model_dump(mode="json", exclude=left_out)
        graphs = [w.graph_hash for w in works]
        what = [spec, asdict(replace(self.machine, sources=())), graphs]
        what += [w.training.decides for w in works if w.training is not None]
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()

    def machine_of(self, settings: dict[str, Any]) -> Machine:
        """Return the machine of a candidate."""
        return load_machine(self.base, as_overrides(settings))


def load_sweep(name_or_path: str) -> Sweep:
    """Return the sweep of a shipped name or a ``.toml`` file.

    Raises:
        InputError: No such name or file.
        ConfigError: Every fault of the description, a line each.
    """
    spec, origins, path = load_sweep_spec(name_or_path)
    faults = Faults(origins)
    base = _base(spec, path, faults)
    machine, arch = base
    numbers = {"bank": [*arch.bank, *(spec.mix.groups if spec.mix else [])]}
    axes, linked = _parameters(spec, numbers, faults)
    name = beside(spec.base, path)
    mix = faults.of(("mix",), lambda: mix_of(spec.mix, name, arch) if spec.mix else None)
    space = Space(tuple(axes), tuple(linked), mix, spec.levels, arch)
    known = _known(space, machine, mix)
    goals = [faults.of(("objectives", i), partial(objective, t)) for i, t in enumerate(spec.objectives)]
    bounds = [faults.of(("constraints", i), partial(parse, t)) for i, t in enumerate(spec.constraints)]
    for i, goal in enumerate(goals):
        if goal is not None:
            _check_names(("objectives", i), [goal.name], known, spec, faults)
    for i, bound in enumerate(bounds):
        if bound is not None:
            _check_names(("constraints", i), bound.names, known, spec, faults)
    if not axes and mix is None and not faults.found:
        faults.add(("parameters",), "an empty space: give [parameters] or a mix")
    if spec.fidelity.rank != "none" and spec.method in SEARCHES:
        faults.add(("fidelity", "rank"), f"{spec.method} has its own way to choose points; use bounds only")
    objectives = tuple(g for g in goals if g)
    constraints = tuple(b for b in bounds if b is not None)
    named = {goal.name for goal in objectives}.union(*(b.names for b in constraints))
    training = _training(spec, named, objectives, faults)
    faults.raise_any()
    if any(goal.name in TO_ACCURACY for goal in objectives):
        constraints = (*constraints, parse(REACHED))
    return Sweep(path, spec, name, machine, space, objectives, constraints, training, origins)


def _training(
    spec: SweepSpec, named: set[str], objectives: tuple[Objective, ...], faults: Faults
) -> TrainingSpec | None:
    """Return how points are trained, if they are to be."""
    if spec.training is None and not named & set(TRAINED):
        return None
    given = [spec.workload] if isinstance(spec.workload, str) else spec.workload
    if any(name.endswith(".csv") for name in given):
        faults.add(("workload",), "a topology file has no model to train; give a workload .toml")
    if spec.phase != "all":
        faults.add(("phase",), "training takes whole steps")
    if spec.cold:
        faults.add(("cold",), "training takes steady steps")
    if spec.fidelity.rank != "none" and any(goal.name in TRAINED for goal in objectives):
        faults.add(("fidelity", "rank"), "an estimate knows nothing of what training gives; use bounds only")
    return spec.training or TrainingSpec()


class Faults:
    """Collects faults of the file."""

    def __init__(self, origins: Origins) -> None:
        self.origins = origins
        self.found: list[Fault] = []

    def add(self, keys: KeyPath, what: str, at_key: bool = False) -> None:
        """Note what is wrong at ``keys``."""
        self.found.append(self.origins.fault(keys, what, at_key=at_key))

    def of(self, keys: KeyPath, make: Callable[[], T]) -> T | None:
        """Return what ``make`` makes; its InputError is a fault at ``keys``."""
        try:
            return make()
        except InputError as exc:
            if len(exc.args) == 2:  # a key of the table, and what is wrong with it
                self.add((*keys, exc.args[0]), exc.args[1])
            else:
                self.add(keys, str(exc))
        return None

    def raise_any(self) -> None:
        """Raise the ConfigError of all faults, if there are some."""
        if self.found:
            raise error(self.found)


def beside(base: str, path: Path) -> str:
    """Return the base's name; a path is relative to the sweep's file."""
    is_path = "/" in base or base.endswith((".toml", ".csv"))
    return str(path.parent / base) if is_path else base


def _base(spec: SweepSpec, path: Path, faults: Faults) -> tuple[Machine, ArchSpec]:
    name = beside(spec.base, path)
    try:
        machine = load_machine(name)
        arch, _ = load_spec(find("arch", name), ArchSpec, resolve_name=partial(find, "arch"))
    except ConfigError:
        raise
    except InputError as exc:
        faults.add(("base",), str(exc))
        faults.raise_any()
        raise
    return machine, arch


def _parameters(
    spec: SweepSpec, bases: dict[str, list[str]], faults: Faults
) -> tuple[list[Axis], list[Linked]]:
    axes: list[Axis] = []
    linked: list[Linked] = []
    for keys, path, given in _flat(spec.parameters):
        key = None
        try:
            key = key_of(path, bases)
        except InputError as exc:
            faults.add(keys, str(exc), at_key=True)
        if key is None:
            continue
        found = faults.of(keys, partial(axis_of, key, given))
        if isinstance(found, Axis):
            axes.append(found)
        elif found is not None:
            linked.append(found)
    for path, what in check_linked(axes, linked).items():
        faults.add(("parameters", path), what)
    return axes, linked


def _flat(table: dict[str, Any], above: tuple[str, ...] = ()) -> list[tuple[KeyPath, str, Any]]:
    """Return (place in the file, key path, value) of every parameter, also of nested tables."""
    found: list[tuple[KeyPath, str, Any]] = []
    for name, value in table.items():
        here = (*above, name)
        if isinstance(value, dict) and value and not any(form in value for form in FORMS):
            found += _flat(value, here)
        else:
            found.append((("parameters", *here), ".".join(here), value))
    return found


def _known(space: Space, machine: Machine, mix: Mix | None) -> set[str]:
    groups = [*machine.banks, *(g.name for g in (mix.groups if mix else ()))]
    own = {
        f"bank.{g}.{k}" for g in groups for k in ("count", "subbanks", "capacity", "area_mm2", "leakage_mw")
    }
    return {*space.names, *of_machine(machine), *own, *DERIVED}


def _check_names(
    keys: KeyPath, names: Iterable[str], known: set[str], spec: SweepSpec, faults: Faults
) -> None:
    for name in names:
        root = name.partition(".")[0]
        if root in _TRAINED_ROOTS and name not in TRAINED:
            hint = did_you_mean(name, TRAINED) or f"; there are {', '.join(TRAINED)}"
            faults.add(keys, f'no figure "{name}"{hint}')
        elif name in TO_ACCURACY and (spec.training is None or spec.training.target_accuracy is None):
            faults.add(keys, f'the figure "{name}" needs an accuracy to be reached: training.target_accuracy')
        elif name not in known and root not in ROOTS:
            hint = did_you_mean(name, sorted({*known, *ROOTS}))
            faults.add(keys, f'no figure or key "{name}"{hint}')
