"""How a run's time changes when one number of its machine is made worse, its program being as it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from accelsim.machine import run_program
from accelsim.mapping import map_graph
from accelsim.resolve import load_machine
from accelsim.resolve.bank_group import BankGroup
from accelsim.resolve.machine import Machine
from tests.strategies import shipped_graph

FACTORS = (1.1, 1.5, 2.0)
Slower = Callable[[Machine, float], Machine]


def _bank(field: str, group: str | None = None) -> Slower:
    def slower(m: Machine, factor: float) -> Machine:
        def change(b: BankGroup) -> BankGroup:
            return replace(b, **{field: round(getattr(b, field) * factor)})

        return replace(m, banks={n: change(b) if group in (None, n) else b for n, b in m.banks.items()})

    return slower


def _part(part: str, field: str, more: int = 0, inverse: bool = False) -> Slower:
    def slower(m: Machine, factor: float) -> Machine:
        old = getattr(m, part)
        value = getattr(old, field) / factor if inverse else (getattr(old, field) + more) * factor - more
        return replace(
            m, **{part: replace(old, **{field: max(1, round(value)) if inverse else round(value)})}
        )

    return slower


SLOWER: dict[str, Slower] = {
    "bank read latency": _bank("read_latency_ps"),
    "bank read cycle": _bank("read_cycle_ps"),
    "bank write cycle": _bank("write_cycle_ps"),
    "noc latency": _part("noc", "latency_ps", more=1_000),
    "descriptor latency": _part("dma", "descriptor_latency_ps", more=10_000),
    "dram latency": _part("dram", "latency_ps"),
    "dram bandwidth": _part("dram", "bandwidth_bytes_per_s", inverse=True),
}


def changes(arch: str, workload: str, batch: int) -> dict[str, list[float]]:
    """Return by what share of it a step takes longer, by what is made worse, for each of ``FACTORS``."""
    on = load_machine(arch, ())
    program = map_graph(shipped_graph(workload, batch), on)
    before = run_program(on, program).end_ps
    return {
        what: [run_program(slower(on, factor), program).end_ps / before - 1 for factor in FACTORS]
        for what, slower in SLOWER.items()
    }
