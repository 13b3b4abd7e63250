"""The description of a workload: a model, its inputs, batch, loss and optimizer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, field_validator

from accelsim.config.document import load_spec
from accelsim.config.locate import find
from accelsim.config.origins import Origins, error

FloatFormat = Literal["fp64", "fp32", "bf16", "fp16"]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


class Spec(BaseModel):
    """A frozen table of a workload file; unknown keys are faults."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class InputSpec(Spec):
    """One input of the model's ``forward``, ``[inputs.NAME]``."""

    shape: tuple[PositiveInt, ...]
    """Elements per dimension of one sample, without the batch dimension; ``[]`` for one number."""
    dtype: FloatFormat | Literal["int64", "int32", "bool"] | None = None
    """Element format; the workload's ``dtype`` if left out."""
    below: PositiveInt = 2
    """Integers are drawn from ``[0, below)`` where real data is needed (the size of a vocabulary)."""


class OptimizerSpec(Spec):
    """The update rule, ``[optimizer]``; the meaning of every key is that of ``torch.optim``."""

    name: Literal["sgd", "momentum", "adam", "adagrad"] = "sgd"
    lr: Positive = 0.01
    momentum: Fraction = 0.9
    nesterov: bool = False
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    eps: Positive | None = None
    """Added to the root; 1e-8 for adam and 1e-10 for adagrad if left out."""
    weight_decay: NotNegative = 0.0

    @property
    def epsilon(self) -> float:
        """``eps`` or the rule's default."""
        return self.eps if self.eps is not None else {"adagrad": 1e-10}.get(self.name, 1e-8)


class CheckpointSpec(Spec):
    """Activation checkpointing without touching the model, ``[checkpoint]``."""

    modules: tuple[str, ...] = ()
    """Globs of module paths, such as ``"layer1.*"`` (``*`` stops at a dot); backward computes the forward
    of each of these modules again instead of keeping its activations."""


class WorkloadSpec(Spec):
    """A workload file."""

    model: str
    """``package.module:callable``, or ``file.py:callable`` with the file beside this one."""
    args: dict[str, Any] = {}
    """Keyword arguments of the callable."""
    inputs: dict[str, InputSpec] = Field(min_length=1)
    """The model's inputs by the names of ``forward``'s parameters; one alone is passed by position."""
    batch: PositiveInt = 1
    """Samples per step."""
    accumulate: PositiveInt = 1
    """Micro-batches per step, of ``batch / accumulate`` samples each; their gradients are summed before
    the one update."""
    loss: Literal["cross_entropy", "mse", "output"] = "cross_entropy"
    """Of the model's output against a target of its shape; ``output``: the model returns the loss."""
    dtype: FloatFormat = "fp32"
    """What the model is built in."""
    lowering: tuple[str, ...] = ()
    """Ops that installed plug-ins lower, by their names (``"mylib.fused_gate"``)."""
    optimizer: OptimizerSpec = OptimizerSpec()
    checkpoint: CheckpointSpec = CheckpointSpec()

    @property
    def micro_batch(self) -> int:
        """Samples that go through the model at once."""
        return self.batch // self.accumulate

    @field_validator("model")
    @classmethod
    def _module_and_callable(cls, model: str) -> str:
        module, _, name = model.rpartition(":")
        if not (module and name):
            raise ValueError(f'expected "module:callable" or "file.py:callable", got "{model}"')
        return model


class Workload:
    """A loaded workload file: its name, its spec, and where its keys stand."""

    def __init__(self, path: Path, spec: WorkloadSpec, origins: Origins) -> None:
        self.path = path
        self.name = path.stem
        self.spec = spec
        self.origins = origins

    @property
    def model_file(self) -> Path | None:
        """The model's file, if the model is given as one: beside the file that names it."""
        source = self.spec.model.rpartition(":")[0]
        if not source.endswith(".py"):
            return None
        label = self.origins.source_label(("model",))
        return (Path(label) if label in self.labels else self.path).parent / source

    @property
    def labels(self) -> list[str]:
        """The description's file and those that it extends, as the user sees them, sorted."""
        given = [place.label for place in self.origins.places.values() if place.at is not None]
        return sorted(dict.fromkeys(given))

    @property
    def module_name(self) -> str:
        """The name under which the model's module is imported."""
        file = self.model_file
        return f"accelsim_model_{file.stem}" if file else self.spec.model.rpartition(":")[0]

    def fault(self, key: str, what: str) -> Exception:
        """Return the ConfigError ``file:line:column: key: what``."""
        return error([self.origins.fault(tuple(key.split(".")), what)])


def load(path: Path, batch: int | None = None, accumulate: int | None = None) -> Workload:
    """Load the workload file at ``path``; ``batch`` and ``accumulate`` replace the file's.

    Raises:
        InputError: The file cannot be read, or holds faults.
    """
    given = {"batch": batch, "accumulate": accumulate}
    spec, origins = load_spec(
        path,
        WorkloadSpec,
        overrides=[f"{key}={value}" for key, value in given.items() if value is not None],
        option="--",
        resolve_name=lambda name: find("workloads", name),
    )
    workload = Workload(path, spec, origins)
    if spec.batch % spec.accumulate:
        what = f"the step's batch of {spec.batch} cannot be split into {spec.accumulate} equal micro-batches"
        raise workload.fault("accumulate", f"{what}; choose a batch that is a multiple")
    return workload
