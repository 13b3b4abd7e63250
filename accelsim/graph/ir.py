"""The training graph: tensors with role, phase and layer; ops with their loop nests.

Built by ``accelsim.frontend``, read by ``accelsim.mapping``. Plain data: it pickles and has a canonical
JSON form (``graph.store``), so that a captured graph is cached and shipped without torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from accelsim.geometry import Axis, Operand
from accelsim.words import Format, Phase, Role

OpKind = Literal["gemm", "vector"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One storage of the step; views share their base's tensor.

    Attributes:
        name: Unique in the graph.
        layer: Module path of the producer; of the owner for a weight; empty for the step's batch.
        phase: Phase that produces it; None when it exists as the step begins.
        shape: Elements per dimension, row-major.
        dtype: What torch computes in; what is stored is the machine's matter.
        next_of: Name of the tensor whose place this one takes in the next step (the updated weight of
            the weight), or None.
    """

    name: str
    role: Role
    layer: str
    phase: Phase | None
    shape: tuple[int, ...]
    dtype: Format
    next_of: str | None = None

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gemm:
    """C[m, n] += A[m, k] B[k, n], once per point of the ``batch`` axes; each side a product of axes.

    ``m``, ``n``, ``k`` are ordered outermost first. A convolution is a GEMM whose A is expanded from the
    input's boxes on the way (im2col); ``window`` then is (kernel_h, kernel_w, stride_h, stride_w) and
    the kernel's axes are inside ``k`` (or ``n`` for a weight gradient).

    ``kind`` says which of the three GEMMs of a layer it is. ``useful_macs`` leaves out the zeros that
    zero-insertion feeds and counts padding as torch's flop counter does.
    """

    m: tuple[Axis, ...]
    n: tuple[Axis, ...]
    k: tuple[Axis, ...]
    batch: tuple[Axis, ...]
    a: Operand
    b: Operand
    c: Operand
    kind: Literal["forward", "input_gradient", "weight_gradient"]
    window: tuple[int, int, int, int] | None
    expanded: Literal["a", "b"] | None  # the operand that im2col expands
    useful_macs: int

    @property
    def depthwise(self) -> bool:
        """Whether it is of a convolution whose groups read one channel each."""
        channels = [a.size for a in (*self.n, *self.k) if a.name == "c"]
        return self.window is not None and bool(self.batch) and channels == [1]

    def extent(self, side: Literal["m", "n", "k", "batch"]) -> int:
        """Return the size of one side: the product of its axes."""
        axes: tuple[Axis, ...] = getattr(self, side)
        return math.prod(a.size for a in axes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One walk of the vector unit over the op's axes.

    Attributes:
        function: Key of the machine's rate table (``add mul max exp div sqrt tanh compare move ...``);
            several function names with counts when a pass computes more than one per element.
        reads: Indices into the op's ``inputs`` that this walk streams.
        writes: Indices into the op's ``outputs`` that this walk produces.
    """

    functions: tuple[tuple[str, int], ...]
    reads: tuple[int, ...]
    writes: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """A nest over ``axes`` walked once per pass; ``separable`` axes may be cut into slabs (a prefix).

    Operands that do not follow an axis are read whole with every slab (small ones: a scale, a mean).
    An output that misses a separable axis is a reduction: it leaves at the end of its pass.
    """

    axes: tuple[Axis, ...]
    separable: int  # the first so many axes may be cut
    passes: tuple[Pass, ...]
    elementwise: bool  # one pass, one output element per point, any order: may ride on a drain


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """One op of the step.

    Attributes:
        aten: What torch calls it, such as ``aten.convolution.default`` or ``accelsim.sgd``.
        args: The call's arguments with tensors as ``{"t": index into inputs}`` plus, where a view lies
            between, ``"views": [[view name, args], ...]``; enough to execute it (tests do).
        inputs, outputs: Operands in the order of reading; empty tensor names do not occur.
        forward_op: The forward op a backward op belongs to.
    """

    name: str
    kind: OpKind
    aten: str
    layer: str
    phase: Phase
    inputs: tuple[Operand, ...]
    outputs: tuple[Operand, ...]
    gemm: Gemm | None = None
    vector: Vector | None = None
    args: tuple[Any, ...] = ()
    forward_op: str | None = None

    @property
    def macs(self) -> int:
        """Multiply-accumulates that the op needs; zero unless it is a GEMM."""
        return self.gemm.useful_macs if self.gemm else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsupported:
    """An op without a lowering: counted, listed, and refused unless the user allows it."""

    aten: str
    layer: str
    phase: Phase
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A whole training step in execution order.

    ``independent`` is set for a topology file: layers do not feed each other, every operand starts and
    ends in DRAM.
    """

    name: str
    tensors: dict[str, Tensor]
    ops: tuple[Op, ...]
    unsupported: tuple[Unsupported, ...] = ()
    batch: int = 1
    parameters: int = 0
    independent: bool = False
    notes: tuple[str, ...] = field(default=())
