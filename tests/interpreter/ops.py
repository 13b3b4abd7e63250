"""One op of the training graph on real numbers, by its name and its arguments alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from accelsim.frontend import optim
from accelsim.graph.ir import Graph, Op
from tests.interpreter.memory import Numbers

assert optim.STATE  # importing it registers accelsim.sgd and its like

NO_CLASS = -100  # the class that torch's losses leave out: what a missing label becomes
SCATTERS = "max_pool2d_with_indices_backward"  # where a missing index would be the first place
IGNORED = ("memory_format", "pin_memory", "device", "layout")
DTYPES: dict[str, torch.dtype] = {"int64": torch.int64, "bool": torch.bool} | dict.fromkeys(
    ("float16", "bfloat16", "float32", "float64"), torch.float64
)


def call(graph: Graph, op: Op, held: dict[str, Numbers]) -> list[Numbers]:
    """Return the outputs of ``op``, flat; ``held`` has whole inputs by name, NaN where not known."""
    seen: list[torch.Tensor] = []
    args = [_value(graph, op, a, held, seen) for a in op.args]
    kwargs = args.pop()["kwargs"] if args and isinstance(args[-1], dict) else {}
    kwargs = {k: v for k, v in kwargs.items() if k not in IGNORED}
    space, name, overload = (*op.aten.split("."), "default")[:3]
    function = getattr(getattr(getattr(torch.ops, space), name), overload)
    if SCATTERS in name:
        args = _without_missing(args)
    made = function(*args, **kwargs)
    results = [r for r in (made if isinstance(made, tuple | list) else [made]) if r is not None]
    if name == "native_batch_norm":
        results += seen[3:5]  # the running statistics, moved in place
    if len(op.outputs) < len(results):
        results = [r for r in results if r.numel()]
    return [r.detach().to(torch.float64).reshape(-1).numpy() for r in results[: len(op.outputs)]]


def _without_missing(args: list[Any]) -> list[Any]:
    """Return a maximum pool's error and indices with nothing where an index is not known."""
    missing = args[-1] < 0
    return [args[0].masked_fill(missing, 0.0), *args[1:-1], args[-1].masked_fill(missing, 0)]


def _value(graph: Graph, op: Op, arg: Any, held: dict[str, Numbers], seen: list[torch.Tensor]) -> Any:
    """Return an argument with tensors in place of their references."""
    if isinstance(arg, list):
        return [_value(graph, op, a, held, seen) for a in arg]
    if isinstance(arg, dict) and "t" in arg:
        seen.append(_tensor(graph, op, arg, held))
        return seen[-1]
    if isinstance(arg, dict) and "shape" in arg:
        return torch.zeros(arg["shape"], dtype=torch.float64)
    if isinstance(arg, dict) and "kwargs" in arg:
        return {"kwargs": {k: _value(graph, op, v, held, seen) for k, v in arg["kwargs"].items()}}
    return DTYPES.get(arg, arg) if isinstance(arg, str) else arg


def argument(graph: Graph, op: Op, arg: Any, held: dict[str, Numbers]) -> torch.Tensor:
    """Return one argument of ``op`` that is a tensor, as the op sees it."""
    return _tensor(graph, op, arg, held)


def _tensor(graph: Graph, op: Op, arg: dict[str, Any], held: dict[str, Numbers]) -> torch.Tensor:
    name = op.inputs[arg["t"]].tensor
    declared = graph.tensors[name]
    values = held.get(name)
    if values is None:
        values = np.full(declared.elements, np.nan)
    tensor = _typed(op, declared.dtype, values).reshape(declared.shape)
    for view, args in arg.get("views", []):
        tensor = torch.ops.aten.slice(tensor, *args) if view == "slice" else getattr(tensor, view)(*args)
    return tensor


def _typed(op: Op, dtype: str, values: Numbers) -> torch.Tensor:
    """Return numbers as torch wants them; what is missing of a label becomes no class at all."""
    if dtype == "bool":
        return torch.from_numpy(np.nan_to_num(values) != 0)
    if "int" in dtype:
        missing = NO_CLASS if "nll_loss" in op.aten or SCATTERS in op.aten else 0
        return torch.from_numpy(np.where(np.isnan(values), missing, values).astype(np.int64))
    return torch.from_numpy(values.copy())
