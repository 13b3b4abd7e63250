"""A mapping written by hand: tiles, loop orders, and where tensors lie.

    [op]
    "fc1:linear" = { tile = { m = 16, n = 64, k = 400 }, order = "nmk", hold = ["a"] }
    "bwd/*" = { order = "kmn" }

    [tensor]
    "fc1.weight" = { place = "mram", pinned = true }
    "*" = { place = "dram" }

Keys are globs of names; of several that fit, the one with the most letters counts.
"""

from __future__ import annotations

import hashlib
import json
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from accelsim.config.document import load_spec
from accelsim.config.faults import toml_text
from accelsim.config.locate import find
from accelsim.config.origins import Origins, error
from accelsim.config.spec import Count, Flag, Spec, Text

Side = Literal["m", "n", "k"]


class StepSpec(Spec):
    """A cut of one axis: those before it go one by one, those after it are whole."""

    axis: Text
    """Name of the axis that is cut."""
    step: Count
    """Points of it per tile."""


Points = Annotated[
    Annotated[Count, Tag("[points]")] | Annotated[StepSpec, Tag("[step]")],
    Discriminator(lambda value: "[step]" if isinstance(value, dict | StepSpec) else "[points]"),
]


def _pair(value: object) -> object:
    if isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(op, str) for op in value):
        return value
    raise ValueError(f'expected two ops, ["FIRST", "LAST"], in a list of such pairs, got {toml_text(value)}')


class OpSpec(Spec):
    """`[op] "GLOB"`: how ops are tiled that lead a kernel (`op` of `mapping.json`)."""

    tile: dict[Side, Points] = Field(default_factory=dict)
    """Points of a tile along `m`, `n`, `k` (`m` alone for a vector op), at most; or the axis that is cut and
    the step along it: `m = { axis = "h", step = 4 }`. With any of them, panels are those of `panel` only."""
    order: Text = ""
    """Sides, outermost loop first: `"mnk"`. GEMMs only; with `panel`, `k` comes last."""
    hold: tuple[Text, ...] | None = None
    """Operands kept whole while the kernel runs, if they come from DRAM: `a`, `b` of a GEMM, or names of
    tensors that a vector op reads; `[]`: none."""
    panel: dict[Literal["m", "n"], Points] = Field(default_factory=dict)
    """The side that is cut twice, and the points of its panels. Both operands must come through slots."""
    buffers: dict[Text, Text] = Field(default_factory=dict)
    """Bank group of the slots of operands that are not kept anywhere, by glob of the tensor."""


class TensorSpec(Spec):
    """`[tensor] "GLOB"`: where tensors lie between their uses."""

    place: Text
    """A bank group, or `"dram"`."""
    kept: tuple[Annotated[tuple[Text, Text], BeforeValidator(_pair)], ...] = ()
    """From which op to which: pairs of ops that make or read it; default: from the first to the last."""
    pinned: Flag = False
    """Over the whole step and into the next: parameters and optimizer state, before and after the update."""


class MappingFileSpec(Spec):
    """A mapping file. What it leaves out is the mapper's choice."""

    op: dict[Text, OpSpec] = Field(default_factory=dict)
    """How ops are tiled."""
    tensor: dict[Text, TensorSpec] = Field(default_factory=dict)
    """Where tensors lie."""

    @property
    def sha256(self) -> str:
        """Hash of what it says."""
        return hashlib.sha256(json.dumps(self.plain, sort_keys=True).encode()).hexdigest()

    @property
    def plain(self) -> dict[str, Any]:
        """What it says, as JSON has it."""
        found: dict[str, Any] = json.loads(self.model_dump_json(exclude_unset=True))
        return found


def load_mapping(path: Path) -> tuple[MappingFileSpec, Origins]:
    """Return a mapping file, and where its keys stand.

    Raises:
        InputError: The file cannot be read.
        ConfigError: Every fault of it, a line each.
    """
    spec, origins = load_spec(path, MappingFileSpec, resolve_name=partial(find, "arch"))
    if not spec.op and not spec.tensor:
        raise error([origins.fault((), "neither ops nor tensors")])
    return spec, origins


def stored_mapping(plain: dict[str, Any], label: str) -> tuple[MappingFileSpec, Origins]:
    """Return a mapping file as ``plain`` gave it; faults are at ``label``."""
    return MappingFileSpec.model_validate(plain), Origins(label)
