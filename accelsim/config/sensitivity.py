"""What ``accelsim sensitivity`` writes: the bit error probability that a training tolerates, by tensor."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from accelsim.config.spec import CountOrZero, Probability, Share, Spec, Text
from accelsim.words import Role


class ToleratedSpec(Spec):
    """``[[tolerated]]``: one class of tensors."""

    role: Role
    """What the tensors are."""
    layer: Text = "*"
    """Glob of the layer that reads them; of the entries of a role the first that fits counts."""
    rate: Probability
    """Bit error probability of what is read with which training keeps its accuracy; 0: none was found."""
    refused: Probability | None = None
    """Lowest probability at which it did not."""
    tried: CountOrZero = 0
    """Trainings behind the entry."""


class SensitivitySpec(Spec):
    """The file; what only says how it was measured is taken as it is."""

    workload: Text
    tolerance: Annotated[float, Field(ge=0, le=1)]
    """Loss of accuracy that counts as tolerated."""
    clean_accuracy: Share
    tolerated: tuple[ToleratedSpec, ...]
    data: Any = None
    epochs: Any = None
    seeds: Any = None
    nonfinite: Any = None
    protect: Any = None
    storage_format: Any = None
    model_version: Any = None
    batch: Any = None
