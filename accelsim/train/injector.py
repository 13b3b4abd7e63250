"""``ErrorInjector``: errors in what an unmodified torch model stores while it trains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch.utils._python_dispatch import _disable_current_modes

from accelsim.config.faults import did_you_mean
from accelsim.errors import InputError
from accelsim.train.activity import Activity
from accelsim.train.copies import Copy
from accelsim.train.counts import Counts
from accelsim.train.formats import StorageFormat, field_bits, format_of
from accelsim.train.laws import Profile, Read, checked_rate
from accelsim.train.memory import Memory, Settings
from accelsim.train.nonfinite import policy_of
from accelsim.train.options import checked_norm
from accelsim.train.places import Places
from accelsim.train.profile import RunProfile
from accelsim.train.table import Table, TableProfile
from accelsim.train.watch import Watch
from accelsim.train.weak import WeakCells
from accelsim.words import ROLES, Role

_STATE = {"momentum_buffer": "momentum", "exp_avg": "m", "exp_avg_sq": "v"}  # torch's names to the graph's

ProfileLike = float | Table | str | Path | Profile


class ErrorInjector:
    """While it is entered, ``model`` and ``optimizer`` train on what a memory with errors gives back.

    Args:
        model: Trains unmodified; passes in evaluation mode (``model.eval()``) draw no errors.
        optimizer: Its steps read weights, gradients and state, and write weights and state; None if
            there is none (then every training pass is a step).
        profile: One rate for all bits, a table such as ``{"activation": 1e-5, "weight": {"conv*": 1e-6}}``
            (roles, or ``role@phase``, with globs of reading layers), an ``errors.parquet`` or a run folder.
        seed: Of the flips; torch's own generators are not touched.
        storage_format: ``fp32``, ``bf16``, ``fp16`` or ``int8``, or a table of them by role; what is left
            out is stored as it is computed.
        nonfinite: What a reader makes of infinities and NaN: ``raw`` keeps them, ``zero`` reads 0,
            ``clamp`` cuts wrong values to the layer's range, learnt in the first step, which is clean.
        protect: Bit fields that cannot go wrong: ``sign``, ``exponent``, ``mantissa``, ``msb:9``, ...
        ecc: ``secded``: single errors in 64 bits vanish, double ones stay, more may be miscorrected.
        write_errors: ``all``: rates are those of any bit; ``changed``: of a bit that the write changes.
        weak_cells: Share of cells that are stuck at 0 or 1, the same in every step.
        clip_gradients: Largest norm of all gradients together, applied to what the update reads.
        restore_weights: On leaving, undo the wrong bits in what was last written to weights and state.
        measure: Look at what is stored in every so many steps; ``activity`` then holds sparsity, ones,
            toggle rates and ranges. 0: never.
        measured_as: Formats in which it looks at what is stored; default: ``storage_format``.

    Raises:
        InputError: Anything in the arguments that cannot be, with the closest names.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer | None,
        profile: ProfileLike,
        *,
        seed: int = 0,
        storage_format: str | Mapping[str, str] | None = None,
        nonfinite: str = "raw",
        protect: str | Sequence[str] = (),
        ecc: str | None = None,
        write_errors: str = "all",
        weak_cells: float = 0.0,
        clip_gradients: float | None = None,
        restore_weights: bool = False,
        measure: int = 0,
        measured_as: str | Mapping[str, str] | None = None,
    ) -> None:
        protect = (protect,) if isinstance(protect, str) else tuple(protect)
        for field in protect:
            field_bits(field, format_of("fp32"))
        _one_of("ecc", ecc, (None, "secded"))
        _one_of("write_errors", write_errors, ("all", "changed"))
        formats = _formats(storage_format)
        settings = Settings(
            formats=formats,
            protect=protect,
            secded=ecc is not None,
            policy=policy_of(nonfinite),
            changed_only=write_errors == "changed",
            weak=WeakCells(checked_rate(weak_cells, "weak_cells"), seed) if weak_cells else None,
        )
        self.profile = profile_of(profile)
        self.nonfinite = settings.policy
        self.protect = protect
        seen_as = formats if measured_as is None else _formats(measured_as)
        self.activity = Activity(seen_as, measure) if measure else None
        self._model = model
        self._optimizer = optimizer
        self._clip = None if clip_gradients is None else checked_norm("clip_gradients", clip_gradients)
        self._restore_weights = restore_weights
        self._memory = Memory(self.profile, settings, seed, self.activity)
        self._memory.learning = settings.policy == "clamp"
        self._places = Places(model, self._entered)
        self.profile.check(self._places.layers)
        self._watch = Watch(self._memory, self._places)
        self._names = {p: name for name, p in model.named_parameters()}
        self._handles: list[Any] = []
        self._copies_inputs: bool | None = None
        self._passed = False

    @property
    def counts(self) -> Counts:
        """Flips by role and cause, and non-finite values, so far."""
        return self._memory.counts

    @property
    def step(self) -> int:
        """Updates made so far."""
        return self._memory.step

    @property
    def description(self) -> str:
        """Profile and policies in a line, for outputs."""
        safe = f"; protected {', '.join(self.protect)}" if self.protect else ""
        return f"{self.profile.description}{safe}; non-finite values {self.nonfinite}"

    def __enter__(self) -> ErrorInjector:
        if self._handles:
            raise InputError("this ErrorInjector is entered already")
        self._places.attach()
        for parameter in self._names:
            if parameter.requires_grad:
                hook = parameter.register_post_accumulate_grad_hook(self._accumulated)  # type: ignore[no-untyped-call]
                self._handles.append(hook)
        if self._optimizer is not None:
            self._handles.append(self._optimizer.register_step_pre_hook(self._before_update))
            self._handles.append(self._optimizer.register_step_post_hook(self._after_update))
        for parameter, name in self._names.items():
            if self._watch.copy_of(parameter) is None:
                self._watch.know(parameter.data, "weight", name.rpartition(".")[0], name, name)
        self._watch.ignore(self._model.buffers())
        self._watch.__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.__exit__(kind, value, trace)  # type: ignore[no-untyped-call]
        self._places.detach()
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._watch.updating = False
        if self._restore_weights:
            for value_of, copy in self._persistent():
                self._memory.settled(copy, value_of)

    def use(self, profile: ProfileLike, *, rewritten: bool = True) -> None:
        """Draw from another profile from here on: between two steps, where the machine has changed.

        Weights and optimizer state keep the wrong bits that they have; if ``rewritten`` they count as written
        anew, so that their next reads draw by the new laws. All other copies end with their step anyway.

        Raises:
            InputError: As for ``profile`` when the injector is made.
        """
        new = profile_of(profile)
        new.check(self._places.layers)
        self.profile = new
        self._memory.use(new)
        self._copies_inputs = None
        for _, copy in self._persistent() if rewritten else ():
            copy.seen.clear()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Draw no errors inside; wrong bits that are stored stay."""
        before, self._watch.paused = self._watch.paused, True
        try:
            yield
        finally:
            self._watch.paused = before

    def state_dict(self) -> dict[str, Any]:
        """Return what an exact resume needs beside the model's and the optimizer's own state."""
        return {
            "step": self._memory.step,
            "learning": self._memory.learning,
            "ranges": dict(self._memory.ranges),
            "counts": self.counts.state(),
            "activity": self.activity.state() if self.activity is not None else None,
            "copies": {copy.name: copy.state() for _, copy in self._persistent()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state``, after the model's and the optimizer's have been loaded, when entered."""
        self._memory.step = state["step"]
        self._memory.learning = state["learning"]
        self._memory.ranges = dict(state["ranges"])
        self.counts.restore(state["counts"])
        if self.activity is not None:
            self.activity.restore(state["activity"])
        self._know_state()
        for _, copy in self._persistent():
            if copy.name in state["copies"]:
                copy.restore(state["copies"][copy.name])

    def _persistent(self) -> list[tuple[torch.Tensor, Copy]]:
        """Return weights and optimizer state that are known as copies."""
        values = [p.data for p in self._names] + [value for _, _, value in self._states()]
        found = [(value, self._watch.copy_of(value)) for value in values]
        return [(value, copy) for value, copy in found if copy is not None]

    def _states(self) -> Iterator[tuple[torch.nn.Parameter, str, torch.Tensor]]:
        """Yield the optimizer's tensors of more than one element, with their parameters and keys."""
        if self._optimizer is None:
            return
        for parameter in self._names:
            for key, value in self._optimizer.state.get(parameter, {}).items():
                if isinstance(value, torch.Tensor) and value.numel() > 1:
                    yield parameter, key, value

    def _know_state(self) -> None:
        for parameter, key, value in self._states():
            if self._watch.copy_of(value) is None:
                tensor = f"{self._names[parameter]}.{_STATE.get(key, key)}"
                self._owned(value, "optimizer_state", tensor, "state")

    def _owned(self, value: torch.Tensor, role: Role, tensor: str, prefix: str) -> Copy | None:
        parameter = tensor.rpartition(".")[0] if prefix == "state" else tensor
        return self._watch.know(value, role, parameter.rpartition(".")[0], tensor, f"{prefix}/{tensor}")

    def _entered(self, _module: torch.nn.Module, args: Any, kwargs: Any) -> Any:
        """Make the inputs of a training pass known as copies of our own: the caller's stay as they are."""
        if not self._places.training or torch._C._current_autograd_node() is not None:
            return None
        if self._optimizer is None and self._passed:
            self._end_step()
        self._passed = True
        if self._copies_inputs is None:
            self._copies_inputs = self._inputs_are_read()
        if not self._copies_inputs:
            return None
        return tuple(map(self._input, args)), {name: self._input(value) for name, value in kwargs.items()}

    def _inputs_are_read(self) -> bool:
        """Return whether anything can happen to an input, so that it has to be copied."""
        if self._memory.alters("input"):
            return True
        reads = (Read("input", "", layer, "forward") for layer in self._places.layers)
        return any(self.profile.laws(read) for read in reads)

    def _input(self, value: Any) -> Any:
        ours = isinstance(value, torch.Tensor) and value.dtype.is_floating_point and not value.requires_grad
        if not ours or self._watch.copy_of(value) is not None:
            return value
        copied = value.clone()
        self._watch.know(copied, "input", "")
        return copied

    def _accumulated(self, parameter: torch.Tensor) -> None:
        """Note that ``parameter.grad`` is a weight gradient, whatever it was computed as."""
        name = self._names[parameter]  # type: ignore[index]
        if parameter.grad is None or parameter.grad.layout is not torch.strided:
            return
        copy = self._watch.copy_of(parameter.grad)
        if copy is None:
            self._owned(parameter.grad, "weight_gradient", name, "grad")
        elif copy.role != "weight_gradient":
            copy.role, copy.layer, copy.tensor = "weight_gradient", name.rpartition(".")[0], name
            copy.name = f"grad/{name}"
            copy.seen.clear()

    def _before_update(self, _optimizer: object, _args: object, _kwargs: object) -> None:
        """Read weights, gradients and state as the update does; it sees what it was given."""
        self._know_state()
        self._watch.updating = True
        if not self._watch.paused:
            with _disable_current_modes():  # what the reads themselves do is not to be watched
                self._read_for_update()
        if self._clip is not None:
            torch.nn.utils.clip_grad_norm_(list(self._names), self._clip)
        for value, copy in self._persistent():
            self._memory.before_write(copy, value)

    def _read_for_update(self) -> None:
        for value, copy in self._gradients() + self._persistent():
            roles: tuple[Role, ...] = (copy.role,)
            if copy.role == "weight":
                roles = ("weight", "master_weight")  # torch has one storage for both
            for role in roles:
                self._watch.read(copy, value, Read(role, copy.layer, copy.layer, "update", copy.tensor))

    def _gradients(self) -> list[tuple[torch.Tensor, Copy]]:
        values = [p.grad for p in self._names if p.grad is not None and p.grad.layout is torch.strided]
        found = [(value, self._watch.copy_of(value)) for value in values]
        return [(value, copy) for value, copy in found if copy is not None]

    def _after_update(self, _optimizer: object, _args: object, _kwargs: object) -> None:
        """Note that weights with gradients, and state, hold new content; a step is over."""
        written = {p.data_ptr() for p in self._names if p.grad is not None}
        states = {value.data_ptr() for p, _, value in self._states() if p.grad is not None}
        for value, copy in self._persistent():
            if value.data_ptr() in written | states:
                copy.written()
        self._watch.updating = False
        self._end_step()

    def _end_step(self) -> None:
        self._memory.step += 1
        if self._memory.ranges:
            self._memory.learning = False
        self._watch.end_step([value for value, _ in self._persistent()])


def profile_of(given: ProfileLike) -> Profile:
    """Return ``given`` as a profile.

    Raises:
        InputError: Rates outside [0, 0.5], unknown roles, a file that is no profile.
    """
    if isinstance(given, bool):
        raise InputError(f"profile: expected a rate, a table, a file or a run folder, got {given!r}")
    if isinstance(given, int | float):
        return TableProfile.uniform(given)
    if isinstance(given, Mapping):
        return TableProfile(given)
    if isinstance(given, str | Path):
        return RunProfile.load(Path(given))
    return given


def _formats(given: str | Mapping[str, str] | None) -> dict[str, StorageFormat]:
    if given is None:
        return {}
    table = dict.fromkeys(ROLES, given) if isinstance(given, str) else dict(given)
    for role in table:
        if role not in ROLES:
            hint = did_you_mean(role, ROLES) or f"; there are {', '.join(ROLES)}"
            raise InputError(f'storage_format: unknown role "{role}"{hint}')
    return {role: format_of(name) for role, name in table.items()}


def _one_of(what: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        raise InputError(f"{what}: expected one of {', '.join(map(repr, allowed))}, got {value!r}")
