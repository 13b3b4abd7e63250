"""Transactions per second of a run beside those of bare SimPy, in one process.

    python benchmarks/transactions.py [ARCH] [WORKLOAD] [BATCH]

A transaction is one request of a bank or DRAM port; every tile is simulated. Bare SimPy does for each what
a naive simulator would: request, timeout, release of one Resource. Only the ratio means something:
machines differ.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Generator

import simpy

from accelsim.frontend import load_workload
from accelsim.machine import run_program
from accelsim.mapping import map_graph
from accelsim.resolve import load_machine

BARE = 100_000
ROUNDS = 3


def bare_simpy(count: int) -> float:
    """Return the seconds that ``count`` request, timeout, release take."""
    env = simpy.Environment()
    port = simpy.Resource(env, capacity=1)

    def client() -> Generator[simpy.Event, None, None]:
        for _ in range(count):
            with port.request() as granted:
                yield granted
                yield env.timeout(1)

    env.process(client())
    began = time.process_time()
    env.run()
    return time.process_time() - began


def main(arch: str = "tpu-like-hybrid", workload: str = "resnet18-cifar", batch: str = "") -> None:
    """Print the medians of a few rounds."""
    machine = load_machine(arch)
    graph = load_workload(workload, batch=int(batch) if batch else None).graph
    began = time.process_time()
    program = map_graph(graph, machine)
    mapped = time.process_time() - began
    bare, ours, count = [], [], 0
    for _ in range(ROUNDS):
        bare.append(bare_simpy(BARE) / BARE)
        began = time.process_time()
        recorder = run_program(machine, program, exact=True)
        ours.append(time.process_time() - began)
        count = recorder.transactions
    each, alone = sorted(ours)[ROUNDS // 2] / count, sorted(bare)[ROUNDS // 2]
    print(f"{arch} {workload}, batch {graph.batch}: {count:,} transactions, {recorder.tiles:,} tiles")
    print(f"mapping            {mapped:8.2f} s")
    print(f"simulation         {sorted(ours)[ROUNDS // 2]:8.2f} s, {1 / each:,.0f} transactions/s")
    print(f"bare SimPy         {1 / alone:,.0f} request+timeout+release/s")
    print(f"per transaction    {each / alone:.2f} times bare SimPy")


if __name__ == "__main__":
    main(*sys.argv[1:])
