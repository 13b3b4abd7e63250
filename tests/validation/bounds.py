"""What an eviction and a mapping are held between: LRU and Belady's minimum, AccelForge's optimum."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from accelsim.frontend.topology import parse
from accelsim.mapping import map_graph
from accelsim.mapping.dwells import Dwells
from accelsim.mapping.fields import Fields
from accelsim.mapping.residency import ResidencyPlanner
from accelsim.mapping.storage import Life
from accelsim.program.program import Data
from accelsim.resolve import load_machine
from accelsim.resolve.machine import Machine
from tests.validation.counts import PEERS

ACCELFORGE: dict[str, Any] = json.loads((PEERS / "accelforge.json").read_text())
GROUP = "sram"


def lru_fills(trace: Sequence[int], capacity: int) -> int:
    """Return the misses of a least-recently-used cache of ``capacity`` items."""
    held: list[int] = []  # the last used last
    misses = 0
    for item in trace:
        misses += item not in held
        held = [*(x for x in held if x != item), item][-capacity:]
    return misses


def belady_fills(trace: Sequence[int], capacity: int) -> int:
    """Return the least misses that any policy has which may also pass an item by, as a buffer does."""
    held: set[int] = set()
    misses = 0
    for at, item in enumerate(trace):
        misses += item not in held
        held.add(item)
        if len(held) > capacity:
            held.remove(max(held, key=lambda x: _next_use(trace, at, x)))
    return misses


def _next_use(trace: Sequence[int], at: int, item: int) -> int:
    return next((i for i in range(at + 1, len(trace)) if trace[i] == item), len(trace))


@cache
def _machine() -> Machine:
    return load_machine("edge-sram")


def our_fills(trace: Sequence[int], capacity: int) -> int:
    """Return the fills that the mapper plans: kernel i reads the tensor ``trace[i]``, all of one word."""
    machine = _machine()
    word = machine.banks[GROUP].word_bytes
    lives = {}
    for item in sorted(set(trace)):
        reads = [i for i, x in enumerate(trace) if x == item]
        data = Data(
            tensor=f"t{item}",
            role="activation",
            layer="",
            phase="forward",
            shape=(word,),
            element_bytes=1,
            element_format="int8",
        )
        lives[data.tensor] = Life(data, (GROUP,), reads=reads, whole=set(reads))
    dwells = Dwells(machine, lives, [1] * len(trace))
    planner = ResidencyPlanner(Fields(lives, machine), machine, dwells, cyclic=False)
    plan = planner.plan({GROUP: capacity * word})
    assert max(plan.usage[GROUP]) <= capacity * word
    return len(trace) - sum(map(len, plan.kept.values()))


def dram_bits(point: dict[str, int]) -> int:
    """Return the DRAM traffic of our mapping of one of AccelForge's GEMMs.

    A scratchpad of the size of their buffer and no accumulator, so that partial sums, of four bytes here and
    one there, lie in it too; traffic is minimised, a burst is a byte.
    """
    formats = tuple(f"format.{r}=int8" for r in ("input", "weight", "activation"))
    array = ("pe_array.rows=8", "pe_array.cols=8", "accumulator.format=int32", "accumulator.capacity=0 B")
    machine = load_machine("edge-sram", (*formats, *array, "mapping.objective=dram", "dma.burst=1 B"))
    buffer = replace(machine.banks[GROUP], capacity_bytes=ACCELFORGE["buffer_bits"] // 8, word_bytes=4)
    shape = ",".join(str(point[x]) for x in "MNK")
    graph = parse(f"Layer,M,N,K\nlayer,{shape}\n", "layer", "layer")
    return 8 * map_graph(graph, replace(machine, banks={GROUP: buffer})).estimate_dram_bytes
