"""Which layer an op belongs to: module hooks in forward, autograd's sequence numbers in backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch

from accelsim.words import Phase

LOSS: Final = "loss"  # the layer of what is computed outside of the model


class Places:
    """Follows the modules of a model.

    Attributes:
        paths: Paths of all modules, the model's own being empty.
        training: Whether the pass under way, or the last one, is one of training.
    """

    def __init__(self, model: torch.nn.Module, entered: Callable[[torch.nn.Module, Any, Any], Any]) -> None:
        self.paths: dict[torch.nn.Module, str] = {}
        for name, module in model.named_modules():
            self.paths.setdefault(module, name)
        self.training = True
        self._leaves = {path for module, path in self.paths.items() if path and not any(module.children())}
        self._entered = entered
        self._stack: list[str] = []
        self._layer_of: dict[int, str] = {}  # by sequence number of the autograd node
        self._handles: list[Any] = []

    @property
    def layers(self) -> list[str]:
        """Names of all layers that may read: modules, and ``loss``."""
        return [*self.paths.values(), LOSS]

    @property
    def inside(self) -> bool:
        """Whether a module runs."""
        return bool(self._stack)

    def is_leaf(self, layer: str) -> bool:
        """Return whether ``layer`` is a module without submodules."""
        return layer in self._leaves

    def attach(self) -> None:
        """Hook into every module; ``entered`` may replace the arguments of the outermost one."""
        for module in self.paths:
            before = module.register_forward_pre_hook(self._enter, with_kwargs=True)
            after = module.register_forward_hook(self._leave, always_call=True)
            self._handles += [before, after]

    def detach(self) -> None:
        """Take all hooks away."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._stack.clear()

    def here(self) -> tuple[Phase, str | None]:
        """Return phase and layer of the op that is about to run; None in backward, if autograd made it up."""
        node = torch._C._current_autograd_node()
        if node is None:
            layer = self._stack[-1] if self._stack else LOSS
            if torch.is_grad_enabled():
                self._layer_of.setdefault(_node_just_made(), layer)
            return "forward", layer
        if self._stack:  # activation checkpointing: forward again, inside backward
            self._layer_of.setdefault(_node_just_made(), self._stack[-1])
            return "recompute", self._stack[-1]
        return "backward", self._layer_of.get(node._sequence_nr())

    def forget(self) -> None:
        """Forget the autograd nodes of the step that ends."""
        self._layer_of.clear()

    def _enter(self, module: torch.nn.Module, args: Any, kwargs: Any) -> Any:
        outermost = not self._stack
        if outermost and torch._C._current_autograd_node() is None:
            self.training = module.training
        self._stack.append(self.paths[module])
        return self._entered(module, args, kwargs) if outermost else None

    def _leave(self, _module: torch.nn.Module, _args: object, _result: object) -> None:
        self._stack.pop()


def _node_just_made() -> int:
    """Return the number of the node that autograd makes for an op, before it runs the op itself."""
    number: int = torch.autograd._get_sequence_nr()  # type: ignore[attr-defined]
    return number - 1
