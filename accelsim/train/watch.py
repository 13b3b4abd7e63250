"""The mode under which a model trains: every op's reads and writes of stored tensors go through the memory.

It sees aten ops below autograd, in forward, loss and backward alike. Wrong bits are flipped in place, so
what autograd saved for backward is the very copy that forward read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from accelsim.train.copies import Copy
from accelsim.train.draws import Positions
from accelsim.train.formats import COMPUTE
from accelsim.train.laws import Read
from accelsim.train.memory import Memory
from accelsim.train.places import Places
from accelsim.words import Role

# ops that look at no value though their schema does not say so, by name without overload
_NO_READ: Final = frozenset(
    (
        *("empty_like", "zeros_like", "ones_like", "full_like", "rand_like", "randn_like", "new_empty"),
        *("new_zeros", "new_ones", "new_full", "new_empty_strided"),
        *("_local_scalar_dense", "_record_function_enter_new", "_record_function_exit"),
    )
)
_MANY: Final = 4096  # copies that are kept before those that are gone are looked for
_VIEWS: Final = frozenset(("_unsafe_view", "lift_fresh", "set_", "resize_"))
_SUMS: Final = frozenset(("add", "add_"))
_OVERWRITES: Final = frozenset(("zero_", "fill_", "copy_", "normal_", "uniform_"))  # operand 0 is not read


@dataclass(frozen=True, slots=True)
class _Op:
    """What an op does to its operands."""

    is_view: bool
    is_sum: bool
    reads: bool
    first_read: int  # positional operands before this one are not read
    writes: tuple[int | str, ...]  # positions, or names of keyword arguments


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Keeps the stored copies of one model, and lets every op read and write them.

    Attributes:
        updating: The optimizer runs; its reads have been made before.
        paused: Nothing draws; writes are noted.
    """

    def __init__(self, memory: Memory, places: Places) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.updating = False
        self.paused = False
        self._memory = memory
        self._places = places
        self._constants: set[int] = set()
        self._copies: dict[int, Copy] = {}  # by address of the storage, which a weak reference keeps unique
        self._many = _MANY
        self._numbers: Counter[str] = Counter()
        self._ops: dict[Any, _Op] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return that torch need not wrap every op against its compiler: nothing here is compiled."""
        return False

    def copy_of(self, value: Tensor) -> Copy | None:
        """Return the copy that lies in the storage of ``value``, if it is known."""
        return self._copies.get(value.untyped_storage()._cdata)

    def ignore(self, values: Iterable[Tensor]) -> None:
        """Note that ``values`` are the model's buffers: no copies, and no data either."""
        self._constants.update(value.untyped_storage()._cdata for value in values)

    def know(self, value: Tensor, role: Role, layer: str, tensor: str = "", name: str = "") -> Copy | None:
        """Make the storage of ``value`` known as a copy; None if its format is none that we store."""
        form = COMPUTE.get(value.dtype)
        if form is None or value.layout is not torch.strided or not value.untyped_storage().nbytes():
            return None
        if len(self._copies) >= self._many:  # a loop without updates would collect them
            self._copies = {a: copy for a, copy in self._copies.items() if not copy.is_gone}
            self._many = 2 * len(self._copies) + _MANY
        name = name or self._numbered(f"{role}/{tensor or layer}")
        copy = Copy(value, form, role, layer, name, tensor)
        self._copies[value.untyped_storage()._cdata] = copy
        return copy

    def end_step(self, keep: Iterable[Tensor]) -> None:
        """Forget all copies but those of ``keep``."""
        addresses = [value.untyped_storage()._cdata for value in keep]
        self._copies = {a: self._copies[a] for a in addresses if a in self._copies}
        self._numbers.clear()
        self._places.forget()

    def read(self, copy: Copy, value: Tensor, read: Read) -> Positions | None:
        """Read ``copy`` outside of the ops that this mode sees."""
        return self._memory.read(copy, value, read)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one aten op."""
        kwargs = kwargs or {}
        if self.updating:
            return func(*args, **kwargs)
        op = self._ops.get(func) or self._describe(func)
        if self.paused or not self._places.training:
            out = func(*args, **kwargs)
            self._written(op, args, kwargs)
            return out
        phase, layer = self._places.here()
        known: list[tuple[Copy, Tensor]] = []
        data = False
        sensed: list[tuple[Copy, Tensor, Positions]] = []
        if op.reads and (phase != "forward" or self._places.inside or torch.is_grad_enabled()):
            known, data = self._known(args, op.first_read)
            if op.is_sum and phase == "backward" and [copy.role for copy, _ in known] == ["error", "error"]:
                layer = known[0][0].layer  # autograd sums the errors of several readers of one activation
            # a loss reads activations; whoever looks at weights is no part of the machine
            outside = phase == "forward" and not self._places.inside
            for copy, value in known:
                if not outside or copy.role == "activation":
                    self._deliver(copy, value, phase, layer, sensed)
        out = func(*args, **kwargs)
        written = self._written(op, args, kwargs)
        for copy, value, wrong in sensed:
            if copy not in written:
                self._memory.unsense(copy, value, wrong)
        if not op.is_view and (known or self._places.inside or phase == "backward"):
            self._keep(out, phase, layer or "", known if not data else [], _addresses(op, args, kwargs))
        return out

    def _describe(self, func: Any) -> _Op:
        name = func.__name__.split(".")[0]
        arguments = func._schema.arguments
        is_view = any(a.alias_info is not None and not a.alias_info.is_write for a in arguments)
        writes = tuple(
            a.name if a.kwarg_only else i
            for i, a in enumerate(arguments)
            if a.alias_info is not None and a.alias_info.is_write
        )
        is_view = is_view or name in _VIEWS
        reads = not is_view and name not in _NO_READ
        described = _Op(is_view, name in _SUMS, reads, int(name in _OVERWRITES), writes)
        self._ops[func] = described
        return described

    def _known(self, args: tuple[Any, ...], first: int) -> tuple[list[tuple[Copy, Tensor]], bool]:
        """Return the operands that are stored copies, each with its copy, and whether others hold data."""
        found, data = [], False
        for value in _tensors(args[first:]):
            address = value.untyped_storage()._cdata
            copy = self._copies.get(address)
            if copy is not None:
                found.append((copy, value))
            elif value.dtype.is_floating_point and address not in self._constants:
                data = True
        return found, data

    def _deliver(
        self,
        copy: Copy,
        value: Tensor,
        phase: Any,
        layer: str | None,
        sensed: list[tuple[Copy, Tensor, Positions]],
    ) -> None:
        reader = copy.layer if layer is None else layer
        own = copy.role in ("activation", "error") and copy.layer == reader
        inner = own and self._places.is_leaf(reader)
        read = Read(copy.role, copy.layer, reader, phase, copy.tensor, inner)
        wrong = self._memory.read(copy, value, read)
        if wrong is not None:
            sensed.append((copy, value, wrong))

    def _written(self, op: _Op, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Copy]:
        """Note what the op wrote in place; return the copies."""
        written = [self._copies[a] for a in _addresses(op, args, kwargs) if a in self._copies]
        for copy in written:
            copy.written()
        return written

    def _keep(
        self, out: Any, phase: Any, layer: str, known: list[tuple[Copy, Tensor]], written: set[int]
    ) -> None:
        """Make the op's new results known as copies: what depends on weights alone is one more weight."""
        role: Role = "error" if phase == "backward" else "activation"
        if role == "activation" and known and all(copy.role == "weight" for copy, _ in known):
            role = "weight"
        for value in _tensors(out if isinstance(out, (tuple, list)) else (out,)):
            address = value.untyped_storage()._cdata
            if value.dtype in COMPUTE and address not in self._copies and address not in written:
                self.know(value, role, layer)

    def _numbered(self, site: str) -> str:
        self._numbers[site] += 1
        return f"{site}#{self._numbers[site]}"


def _addresses(op: _Op, args: tuple[Any, ...], kwargs: dict[str, Any]) -> set[int]:
    """Return the addresses of the storages that the op writes in place."""
    if not op.writes:
        return set()
    values = [kwargs.get(a) if isinstance(a, str) else args[a] if a < len(args) else None for a in op.writes]
    return {value.untyped_storage()._cdata for value in _tensors(values)}


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    """Yield the dense tensors in ``values`` and in lists among them."""
    for value in values:
        if isinstance(value, Tensor):
            if value.layout is torch.strided:
                yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)
