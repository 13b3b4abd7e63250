"""Activation checkpointing: turned on for named modules, and followed wherever a model uses it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import torch
from torch.fx import Graph
from torch.utils import checkpoint as torch_checkpoint

from accelsim.config.faults import did_you_mean
from accelsim.config.origins import error
from accelsim.frontend.labels import Labeler
from accelsim.frontend.spec import Workload

_SELECTIVE = "selective checkpointing (context_fn) is not simulated, as torch keeps everything while tracing"
REFUSED = {  # what is wrong with the model, by words of torch's error
    "use_reentrant=True": "checkpoint(..., use_reentrant=True) cannot be traced; say use_reentrant=False",
    "selective activation checkpoint": _SELECTIVE,
}


def turn_on(workload: Workload, model: torch.nn.Module) -> None:
    """Let the modules that ``[checkpoint] modules`` names compute their forward again in backward.

    Raises:
        ConfigError: A glob that matches no module, or none that is called.
    """
    chosen: dict[str, torch.nn.Module] = {}
    faults = []
    for i, glob in enumerate(workload.spec.checkpoint.modules):
        found = {path: m for path, m in model.named_modules() if path and matches(path, glob)}
        called = {path: m for path, m in found.items() if _is_called(m)}
        if not called:
            what = _no_match(glob, found, model)
            faults.append(workload.origins.fault(("checkpoint", "modules", i), what))
        chosen |= called
    if faults:
        raise error(faults)
    for module in dict.fromkeys(chosen.values()):
        module.forward = partial(torch_checkpoint.checkpoint, module.forward, use_reentrant=False)


def matches(path: str, glob: str) -> bool:
    """Return whether the module path fits ``glob``, name by name: ``*`` stops at a dot.

    >>> matches("layer1.0", "layer1.*"), matches("layer1.0.conv1", "layer1.*"), matches("fc2", "fc?")
    (True, False, True)
    """
    names, globs = path.split("."), glob.split(".")
    return len(names) == len(globs) and all(map(fnmatchcase, names, globs))


def _is_called(module: torch.nn.Module) -> bool:
    """Return whether ``module`` has a forward of its own; a ModuleList has none."""
    return getattr(type(module).forward, "__name__", "") != "_forward_unimplemented"


def _no_match(glob: str, found: dict[str, torch.nn.Module], model: torch.nn.Module) -> str:
    if found:
        path, module = next(iter(found.items()))
        return f'"{path}" is a {type(module).__name__}, which is never called; name what is in it: "{glob}.*"'
    paths = [path for path, _ in model.named_modules() if path]
    families = dict.fromkeys(f"{path.rpartition('.')[0]}.*" for path in paths if "." in path)
    top = [path for path in paths if "." not in path]
    hint = did_you_mean(glob, [*families, *paths]) or f"; there are {', '.join(top)}"
    return f'no module fits "{glob}"{hint}'


@contextlib.contextmanager
def followed(labeler: Labeler) -> Iterator[None]:
    """Tell ``labeler`` of every recomputation: in which modules checkpoint had been called.

    Every call of ``torch.utils.checkpoint.checkpoint(use_reentrant=False)`` goes through this generator
    function, which takes the function that backward calls again.
    """
    private: Any = torch_checkpoint
    plain = private._checkpoint_without_reentrant_generator

    def marked(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return plain(labeler.again(function), *args, **kwargs)

    private._checkpoint_without_reentrant_generator = marked
    try:
        yield
    finally:
        private._checkpoint_without_reentrant_generator = plain


def refuse_selective(workload: Workload, graph: Graph) -> None:
    """Refuse a traced step in which torch has marked nodes with what to keep, instead of doing it.

    Raises:
        ConfigError: The model says with ``context_fn`` what is to be kept.
    """
    if any("recompute" in node.meta for node in graph.nodes):
        raise workload.fault("model", _SELECTIVE)
