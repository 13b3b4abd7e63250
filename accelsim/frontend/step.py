"""The training step as a function of flat tensors: forward, loss and backward per micro-batch, one update."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from accelsim.frontend import optim
from accelsim.frontend.labels import Labeler
from accelsim.frontend.slots import Slot, micro_batch
from accelsim.frontend.spec import Workload

Results = list[tuple[Slot, Tensor]]
Named = dict[str, Tensor]


def call(model: Callable[..., Any], batch: Named) -> Any:
    """Call ``model`` with its inputs: one alone by position, several by name."""
    return model(*batch.values()) if len(batch) == 1 else model(**batch)


class _Around(torch.nn.Module):
    """Runs a function while the model's parameters are the step's own.

    Backward is in it too, as it calls checkpointed modules again.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, run: Callable[[], Results]) -> Results:
        return run()


class TrainingStep:
    """One step of ``workload``, called with one tensor per slot; calling it fills ``outputs``.

    The loss of each of N micro-batches is divided by N, and gradients are summed as they arise, so that
    the update is that of the whole batch.
    """

    def __init__(
        self, workload: Workload, model: torch.nn.Module, slots: list[Slot], labeler: Labeler, phase: str
    ) -> None:
        self.outputs: list[Slot] = []
        self._spec = workload.spec
        self._model = model
        self._slots = slots
        self._labeler = labeler
        self._learns = phase != "forward"
        self._trained = [k for k, v in model.named_parameters() if v.requires_grad]

    def __call__(self, *values: Tensor) -> list[Tensor]:
        """Return the loss, the buffers, and the updated parameters and states."""
        of: dict[str, Named] = {k: {} for k in ("parameter", "buffer", "state", "input")}
        for slot, value in zip(self._slots, values, strict=True):
            of[slot.kind][slot.name] = value
        p = {k: v.detach().requires_grad_(k in self._trained) for k, v in of["parameter"].items()}
        b = {k: v.clone() for k, v in of["buffer"].items()}  # batch norm writes into them
        own = {f"model.{k}": v for k, v in {**p, **b}.items()}
        grads: Named = {}
        with self._labeler.hooks():
            passes = partial(self._passes, of["input"], p, grads)
            result = functional_call(_Around(self._model), own, (passes,), tie_weights=True)
        result += [(Slot("buffer", k), v) for k, v in b.items()]
        if self._learns:
            result += self._update(of["parameter"], grads, of["state"])
        self._labeler.flush()
        self.outputs = [slot for slot, _ in result]
        return [value for _, value in result]

    def _passes(self, inputs: Named, p: Named, grads: Named) -> Results:
        """Return the loss, summed over micro-batches; ``grads`` is filled."""
        total: Tensor | None = None
        for number in range(self._spec.accumulate):
            self._labeler.forward(number)
            loss = self._loss(inputs, number)
            total = loss.detach() if total is None else total + loss.detach()
            if self._learns:
                self._labeler.backward(loss)
                self._accumulate(loss, p, grads)
        assert total is not None
        return [(Slot("loss", "loss"), total)]

    def _loss(self, inputs: Named, number: int) -> Tensor:
        batch = {k: inputs[micro_batch(k, number)] for k in self._spec.inputs}
        out = call(self._model, batch)
        self._labeler.outside("loss")
        kind = self._spec.loss
        if kind == "output":
            loss: Tensor = out if isinstance(out, Tensor) else out.loss
            loss = loss if loss.dim() == 0 else loss.mean()
        else:
            of = functional.cross_entropy if kind == "cross_entropy" else functional.mse_loss
            loss = of(out, inputs[micro_batch("target", number)])
        return loss if self._spec.accumulate == 1 else loss / self._spec.accumulate

    def _accumulate(self, loss: Tensor, p: Named, grads: Named) -> None:
        """Add the gradients of ``loss`` to ``grads``, each as soon as it is there."""
        hooks: list[Any] = []
        for k, so_far in grads.items():
            hooks.append(p[k].register_hook(partial(torch.add, so_far)))  # type: ignore[no-untyped-call]
        found = torch.autograd.grad(loss, [p[k] for k in self._trained], allow_unused=True)
        for hook in hooks:
            hook.remove()
        grads |= {k: g for k, g in zip(self._trained, found, strict=True) if g is not None}

    def _update(self, old: Named, grads: Named, state: Named) -> Results:
        """Return the updated parameters and states."""
        result: Results = []
        rule, count = self._spec.optimizer, None
        with torch.no_grad():
            if "step" in state:
                self._labeler.update("")
                count = state["step"] + 1
                result.append((Slot("state", "step"), count))
            for name in self._trained:
                self._labeler.update(name)
                g = grads[name] if name in grads else torch.zeros_like(old[name])
                names = [f"{name}.{s}" for s in optim.STATE[rule.name]]
                new = optim.apply(rule, old[name], g, [state[n] for n in names], count)
                slots = [Slot("parameter", name), *(Slot("state", n) for n in names)]
                result += list(zip(slots, new, strict=True))
        return result
