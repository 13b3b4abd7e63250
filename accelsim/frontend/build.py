"""A model from its workload file: found, imported, and built without memory."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from accelsim.config.faults import did_you_mean, listed
from accelsim.errors import AccelsimError
from accelsim.frontend.checkpoint import turn_on
from accelsim.frontend.spec import Workload
from accelsim.words import Format

DTYPES: dict[Format, torch.dtype] = {
    "fp64": torch.float64,
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "int64": torch.int64,
    "int32": torch.int32,
    "int16": torch.int16,
    "int8": torch.int8,
    "uint8": torch.uint8,
    "bool": torch.bool,
}
FORMATS: dict[str, Format] = {str(dtype).removeprefix("torch."): name for name, dtype in DTYPES.items()}


def build(workload: Workload, device: str) -> torch.nn.Module:
    """Return the workload's model in training mode on ``device`` (``meta``: without memory).

    Raises:
        ConfigError: No such file, module or callable; arguments it does not take; not a module; no
            module where one is to be checkpointed.
    """
    make = _callable(workload)
    with _located(workload, "args", "cannot be built with these arguments"), torch.device(device):
        model = make(**{k: tuple(v) if isinstance(v, list) else v for k, v in workload.spec.args.items()})
    if not isinstance(model, torch.nn.Module):
        kind = type(model).__name__
        raise workload.fault("model", f"expected a torch.nn.Module or what returns one, got {kind}")
    turn_on(workload, model)
    return model.to(DTYPES[workload.spec.dtype]).train()


def fake(model: torch.nn.Module, mode: FakeTensorMode) -> None:
    """Replace every parameter and buffer by a fake CPU tensor; tied ones stay tied."""
    memo: dict[int, Any] = {}
    for module in model.modules():
        for table in (module._parameters, module._buffers):
            for name, value in table.items():
                if value is not None:
                    if id(value) not in memo:
                        memo[id(value)] = (_fake(value, mode), value)  # kept alive, so that ids stay unique
                    table[name] = memo[id(value)][0]


def _fake(value: torch.Tensor, mode: FakeTensorMode) -> torch.Tensor:
    with mode:
        empty = torch.empty(value.shape, dtype=value.dtype)
    if isinstance(value, torch.nn.Parameter):
        return torch.nn.Parameter(empty, requires_grad=value.requires_grad)
    return empty


def _callable(workload: Workload) -> Callable[..., Any]:
    source, _, name = workload.spec.model.rpartition(":")
    file = workload.model_file
    module = _file(workload, source, file) if file else _module(workload, source)
    found = getattr(module, name, None)
    if not callable(found):
        kinds = inspect.isclass, inspect.isfunction
        own = [k for k, v in vars(module).items() if any(kind(v) for kind in kinds) and _is_of(v, module)]
        hint = did_you_mean(name, own) or (f"; there are {listed(own)}" if own else "; it defines none")
        raise workload.fault("model", f'no callable "{name}" in {source}{hint}')
    made: Callable[..., Any] = found
    return made


def _is_of(value: object, module: ModuleType) -> bool:
    return getattr(value, "__module__", "") == module.__name__


def _module(workload: Workload, name: str) -> ModuleType:
    if importlib.util.find_spec(name.split(".")[0]) is None:
        raise workload.fault("model", f'no module "{name}"; install it, or name a file: "{name}.py:..."')
    with _located(workload, "model", f"{name} cannot be imported"):
        return importlib.import_module(name)


def _file(workload: Workload, source: str, path: Path) -> ModuleType:
    if not path.is_file():
        raise workload.fault("model", f"no such file {source} beside the workload file")
    name = workload.module_name
    path = path.resolve()
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with _located(workload, "model", f"{source} cannot be imported"), _beside(path.parent):
        spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def _beside(folder: Path) -> Iterator[None]:
    """Let a model file import its neighbours, and leave no compiled files behind."""
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        sys.dont_write_bytecode = written


@contextlib.contextmanager
def _located(workload: Workload, key: str, what: str) -> Iterator[None]:
    """Turn whatever the user's code raises into a fault of ``key``."""
    try:
        yield
    except AccelsimError:
        raise
    except Exception as exc:
        raise workload.fault(key, f"{what}: {type(exc).__name__}: {first_line(exc)}") from exc


def first_line(exc: BaseException) -> str:
    """Return the first line of the text of ``exc``."""
    return (str(exc).strip().splitlines() or ["no message"])[0]
