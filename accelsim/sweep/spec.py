"""The keys of a sweep's TOML file. The docstring under a key is its line in ``docs/sweeps.md``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Strict, Tag

from accelsim.config.document import load_spec
from accelsim.config.locate import find
from accelsim.config.origins import Origins
from accelsim.config.spec import Count, CountOrZero, Flag, Spec, Text

Method = Literal["grid", "random", "sobol", "nsga2", "tpe"]
SEARCHES = ("nsga2", "tpe")


class MixSpec(Spec):
    """``[mix]``: a budget of banks or of area, split over technologies and devices."""

    budget: Text
    """`"area: 8 mm2"`, or `"banks: 16"`."""
    groups: dict[str, Text]
    """Bank groups and what they are made of: `sram`, a cell of the array table (`stt34`), or a device
    (`mram-1s`)."""
    step: Annotated[
        Annotated[Text, Tag("[text]")] | Annotated[int, Strict(), Tag("[number]")],
        Discriminator(lambda value: "[number]" if isinstance(value, int | float) else "[text]"),
    ]
    """What the budget is split in: `"0.5 mm2"`, or a number of banks."""


class FidelitySpec(Spec):
    """``[fidelity]``: what may keep a point from being simulated."""

    bounds: Flag = True
    """A point is ruled out where lower bounds of its time and energy, which cost nothing, already lose to a
    point that is done. That is safe: no such point is on the front."""
    rank: Literal["none", "estimate"] = "none"
    """`estimate`: points are mapped, not simulated, and only the best `keep` of them go on to simulation; a
    ranking, not a bound: it may drop points of the front."""
    keep: Annotated[float, Field(gt=0, le=1)] = 0.25
    """Share of the points that a ranking lets through."""


class TrainingSpec(Spec):
    """``[training]``: how points are trained, as by ``accelsim train``."""

    data: Text | None = None
    """Samples, as `accelsim train --data` takes them; folders and files are relative to the sweep's file.
    Left out: what `accelsim train` would take."""
    epochs: Count = 3
    """Of each training."""
    seeds: Count = 1
    """Trainings of each point, of seeds 0, 1, ...; figures are means over them."""
    nonfinite: Literal["raw", "zero", "clamp"] = "raw"
    """What infinities and NaN are read as."""
    protect: list[Text] = Field(default_factory=list)
    """Bits without errors: `sign`, `exponent`, `mantissa`, `msb:9`, ..."""
    storage_format: Literal["fp32", "bf16", "fp16", "int8"] | None = None
    """What numbers are stored in; left out: the machine's formats, of whose bits its errors are."""
    target_accuracy: Annotated[float, Strict(), Field(gt=0, le=1)] | None = None
    """Accuracy to which `time_to_accuracy` and `energy_to_accuracy` are counted."""


class SweepSpec(Spec):
    """A sweep: the keys above the first table, and the tables."""

    base: Text
    """The machine: a shipped name, or a `.toml` file."""
    workload: Annotated[
        Annotated[Text, Tag("[text]")] | Annotated[list[Text], Tag("[list]")],
        Discriminator(lambda value: "[list]" if isinstance(value, list) else "[text]"),
    ]
    """One or several; of several, a figure is the geometric mean."""
    method: Method = "grid"
    """`grid` takes all points; `random` and `sobol` spread `samples`; `nsga2` and `tpe` search (Optuna)."""
    objectives: Annotated[list[Text], Field(min_length=1)]
    """Figures to be made small; `"max NAME"` makes large."""
    constraints: list[Text] = Field(default_factory=list)
    """Conditions that points must meet."""
    samples: Count = 64
    """Points of all methods but `grid`."""
    population: Count = 24
    """Points of a generation of `nsga2`."""
    levels: Annotated[int, Strict(), Field(ge=2)] = 5
    """Values that `grid` takes of a range that gives neither `step` nor `levels`."""
    seed: CountOrZero = 0
    """Of `random`, `sobol` and the searches."""
    batch: Count | None = None
    """Samples per training step, instead of the workload's own."""
    accumulate: Count | None = None
    """Micro-batches of a step, instead of the workload's own."""
    phase: Literal["all", "forward"] = "all"
    """A whole training step, or its forward part."""
    cold: Flag = False
    """The first step, from DRAM, instead of the steady one."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Key paths of the machine, and their values."""
    mix: MixSpec | None = None
    """A budget, split over bank groups."""
    fidelity: FidelitySpec = FidelitySpec()
    """What may keep a point from being simulated."""
    training: TrainingSpec | None = None
    """How points are trained after their simulation; they are if this table is there, or if an objective or a
    constraint names a figure of training."""


def load_sweep_spec(name_or_path: str) -> tuple[SweepSpec, Origins, Path]:
    """Return the sweep of a shipped name or a ``.toml`` file, where its keys stand, and its file.

    Raises:
        InputError: No such name or file.
        ConfigError: Every fault of the description, a line each.
    """
    path = find("sweeps", name_or_path)
    spec, origins = load_spec(path, SweepSpec, resolve_name=partial(find, "sweeps"))
    return spec, origins, path
