"""What injected errors cost: a training step with them, by one without, in one run.

    python benchmarks/injection.py [WORKLOAD] [--batch N] [--rounds N] [--threads N] [--denormals] [--json]

Every round trains one step without the injector and one with it at each rate, one after another, so that
whatever else the machine does meets all alike; the ratio is that of the least CPU seconds. All roles have
errors; sign and exponent are protected, as a training that has diverged computes with other numbers.
Denormal numbers are flushed to zero in all cases unless --denormals is given: a wrong mantissa bit of a zero
makes one, and the CPU, not the injector, is slow with them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time

import torch
from torch import nn

from accelsim import ErrorInjector
from accelsim.config.locate import find
from accelsim.frontend.build import build
from accelsim.frontend.optim import torch_optimizer
from accelsim.frontend.spec import Workload, load

RATES = (0.0, 1e-5, 1e-3)
LIMITS = {0.0: 1.1, 1e-5: 1.1, 1e-3: 2.0}


class Case:
    """One model that trains at one rate; None: without the injector."""

    def __init__(self, workload: Workload, rate: float | None) -> None:
        torch.manual_seed(0)
        self.model = build(workload, "cpu")
        self.optimizer = torch_optimizer(workload.spec.optimizer, list(self.model.parameters()))
        self.injector = contextlib.nullcontext()
        if rate is not None:
            self.injector = ErrorInjector(self.model, self.optimizer, rate, protect="msb:9")

    def step(self, x: torch.Tensor, target: torch.Tensor) -> float:
        """Train one step and return its CPU seconds."""
        began = time.process_time()
        with self.injector:
            self.optimizer.zero_grad()
            nn.functional.cross_entropy(self.model(x), target).backward()
            self.optimizer.step()
        return time.process_time() - began


def measure(workload: Workload, rounds: int) -> dict[str, dict[str, float]]:
    """Return seconds and ratio by rate."""
    cases = {None: Case(workload, None), **{rate: Case(workload, rate) for rate in RATES}}
    taken: dict[float | None, list[float]] = {rate: [] for rate in cases}
    shape = next(iter(workload.spec.inputs.values())).shape
    for number in range(rounds + 1):
        x, target = torch.randn(workload.spec.batch, *shape), torch.randint(10, (workload.spec.batch,))
        for rate, case in cases.items():
            seconds = case.step(x, target)
            if number:  # the first warms up
                taken[rate].append(seconds)
    least = {rate: min(s) for rate, s in taken.items()}
    return {str(rate): {"s": s, "ratio": s / least[None]} for rate, s in least.items()}


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("workload", nargs="?", default="resnet18-cifar")
    options.add_argument("--batch", type=int, default=32)
    options.add_argument("--rounds", type=int, default=8)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--denormals", action="store_true", help="keep denormal numbers in all cases")
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.set_flush_denormal(not chosen.denormals)
    figures = measure(load(find("workloads", chosen.workload), batch=chosen.batch), chosen.rounds)
    if chosen.json:
        print(json.dumps(figures, indent=1))
        return
    print(f"{chosen.workload}, batch {chosen.batch}, {chosen.threads} thread(s)")
    print(f"{'rate':>8}  {'CPU s a step':>12}  {'ratio':>6}  limit")
    for rate, figure in figures.items():
        limit = LIMITS.get(float(rate), "") if rate != "None" else ""
        print(f"{rate:>8}  {figure['s']:12.3f}  {figure['ratio']:6.3f}  {limit}")


if __name__ == "__main__":
    main()
