"""Labels on the nodes of a step while it is traced: phase, layer, and the forward node of a backward one.

Nodes are appended to the live graph in the order of execution. At every event (a module entered or left,
an autograd node starting or ending) the nodes made since the last event get the labels of the context
that ends.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.fx import Node
from torch.fx.experimental.proxy_tensor import get_proxy_mode

from accelsim.words import Phase


class Labeler:
    """Writes ``phase``, ``layer``, ``micro_batch``, ``fwd_op`` and ``param`` into ``node.meta``.

    ``layer`` is None for gradient accumulation, which belongs to no layer. ``failed_in`` is the path of
    the innermost module that raised, None so far.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.failed_in: str | None = None
        self._model = model
        self._paths: dict[torch.nn.Module, str] = {}
        for name, module in model.named_modules():
            self._paths.setdefault(module, name)
        self._stack: list[str] = []
        self._phase: Phase = "forward"
        self._outside = ""  # the layer of nodes outside of every module
        self._grad_fn: int | None = None
        self._micro_batch = 0
        self._param = ""
        self._mark: Node | None = None
        self._forward: dict[int, Node] = {}  # by sequence number

    def flush(self) -> None:
        """Label the nodes made since the last call."""
        mode = get_proxy_mode()
        assert mode is not None, "labels are written while tracing"
        root = mode.tracer.graph._root
        node, new = root.prev, []
        while node is not self._mark and node is not root:
            new.append(node)
            node = node.prev
        for node in reversed(new):
            if node.op != "placeholder":
                self._label(node.meta)
                self._remember(node)
        self._mark = root.prev

    def _label(self, meta: dict[str, Any]) -> None:
        meta["phase"], meta["micro_batch"] = self._phase, self._micro_batch
        if self._phase == "update":
            meta["layer"], meta["param"] = self._param.rpartition(".")[0], self._param
        elif self._phase == "forward":
            meta["layer"] = self._stack[-1] if self._stack else self._outside
        elif self._stack:  # activation checkpointing: forward again, inside backward
            meta["layer"], meta["phase"] = self._stack[-1], "recompute"
        else:
            forward = self._forward.get(self._grad_fn) if self._grad_fn is not None else None
            meta["layer"] = forward.meta["layer"] if forward else None
            meta["fwd_op"] = forward.name if forward else None

    def _remember(self, node: Node) -> None:
        number = node.meta.get("seq_nr")
        if self._phase == "forward" and number is not None and "getitem" not in str(node.target):
            self._forward.setdefault(number, node)

    @contextlib.contextmanager
    def hooks(self) -> Iterator[None]:
        """Follow the model's modules while they run."""
        handles = []
        for module in self._model.modules():
            handles.append(module.register_forward_pre_hook(self._enter))
            handles.append(module.register_forward_hook(self._leave, always_call=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, module: torch.nn.Module, _args: object) -> None:
        self.flush()
        self._stack.append(self._paths.get(module, "?"))

    def _leave(self, _module: torch.nn.Module, _args: object, result: object) -> None:
        self.flush()
        path = self._stack.pop()
        failed = result is None and sys.exc_info()[0] is not None
        if failed and self.failed_in is None and self._phase == "forward":  # recomputation stops so
            self.failed_in = path

    def forward(self, micro_batch: int) -> None:
        """From here on the phase is forward, of micro-batch number ``micro_batch``."""
        self.flush()
        self._phase, self._outside, self._micro_batch = "forward", "", micro_batch

    def outside(self, layer: str) -> None:
        """From here on, nodes outside of every module belong to ``layer``."""
        self.flush()
        self._outside = layer

    def backward(self, loss: torch.Tensor) -> None:
        """From here on the phase is backward; follow every autograd node that ``loss`` reaches."""
        self.flush()
        self._phase = "backward"
        seen: set[Any] = set()
        todo: list[Any] = [loss.grad_fn]
        while todo:
            fn = todo.pop()
            if fn is None or fn in seen:
                continue
            seen.add(fn)
            fn.register_prehook(self._before(fn._sequence_nr()))
            fn.register_hook(self._after)
            todo.extend(following for following, _ in fn.next_functions)

    def _before(self, number: int) -> Any:
        def hook(_grads: object) -> None:
            self.flush()
            self._grad_fn = number

        return hook

    def _after(self, _inputs: object, _outputs: object) -> None:
        self.flush()
        self._grad_fn = None

    def again(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``function`` as backward is to call it again: inside the modules that are open now."""
        inside = list(self._stack)

        def run(*args: Any, **kwargs: Any) -> Any:
            self.flush()
            before, self._stack = self._stack, [*inside]
            try:
                return function(*args, **kwargs)
            finally:  # torch leaves it by an exception as soon as it has what was not saved
                self.flush()
                self._stack = before

        return run

    def update(self, param: str) -> None:
        """From here on the phase is update, of the parameter ``param``."""
        self.flush()
        self._phase, self._param, self._micro_batch = "update", param, 0
