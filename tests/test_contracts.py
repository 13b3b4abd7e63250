"""The contract suite of plug-ins, over everything that is built in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from accelsim.contracts import (
    BANK_LAWS,
    LOWERING_LAWS,
    MEMORY_LAWS,
    PLACEMENT_LAWS,
    bank_groups,
)
from accelsim.contracts.banks import MakeBank, MakeMemory
from accelsim.contracts.lowering import Load
from accelsim.frontend import load_workload
from accelsim.graph.ir import Graph
from accelsim.machine.layout import bank_map
from accelsim.machine.memory import Bank, FlatDram
from accelsim.machine.plugged import BankModel
from accelsim.mapping.policy import Policy, by_role
from accelsim.resolve import load_machine
from accelsim.resolve.bank_group import BankGroup, WriteBuffer
from accelsim.resolve.machine import Interleave
from accelsim.sim import Sim

BUFFER = WriteBuffer(
    entries=4, high=3, low=1, coalescing=True, forwarding=True, cycle_ps=500, access_pj=0.1, area_mm2=0.0
)


def _bank(spec: BankGroup, sim: Sim) -> BankModel:
    return Bank(sim, spec, 4096)


@pytest.mark.parametrize("law", BANK_LAWS)
@pytest.mark.parametrize("spec", bank_groups(), ids=lambda s: f"{s.technology}-{s.ports}-{s.lanes}")
def test_banks_keep_the_laws(spec: BankGroup, law: Callable[[MakeBank], None]) -> None:
    """All that a plug-in's bank must keep."""
    law(partial(_bank, spec))


def _buffered(spec: BankGroup, sim: Sim) -> Bank:
    return Bank(sim, replace(spec, buffer=BUFFER), 4096)


def _by_address(interleave: Interleave, spec: BankGroup, sim: Sim) -> Bank:
    return Bank(sim, spec, 4096, bank_map(interleave, 64, 1, spec))


@pytest.mark.parametrize("law", MEMORY_LAWS)
@pytest.mark.parametrize("front", ["buffer", "line", "tile"])
@pytest.mark.parametrize("spec", bank_groups(), ids=lambda s: f"{s.technology}-{s.ports}-{s.lanes}")
def test_banks_by_address_and_with_buffers_keep_the_laws_of_memories(
    spec: BankGroup, front: str, law: Callable[[MakeMemory], None]
) -> None:
    """Those of banks do not hold: several servers work at once, and a buffer writes on its own."""
    law(partial(_buffered, spec) if front == "buffer" else partial(_by_address, front, spec))  # type: ignore[arg-type]


@pytest.mark.parametrize("law", MEMORY_LAWS)
def test_flat_dram_keeps_the_laws(law: Callable[[MakeMemory], None]) -> None:
    """It is no bank, but a memory."""
    dram = load_machine("edge-sram").dram
    law(lambda sim: FlatDram(sim, dram, 4096))


@pytest.mark.parametrize("law", PLACEMENT_LAWS)
def test_placement_by_role_keeps_the_laws(law: Callable[[Policy], None]) -> None:
    """The lists of ``[placement]`` as a policy."""
    law(by_role)


@pytest.mark.parametrize("law", LOWERING_LAWS)
@pytest.mark.parametrize("workload", ["mlp", "lenet5", "lenet-tinydnn"])
def test_lowerings_keep_the_laws(
    workload: str, law: Callable[[Load], None], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whole steps of the small workloads, captured anew each time."""

    def load() -> Graph:
        return load_workload(workload, batch=2, cache=tmp_path_factory.mktemp("cache")).graph

    law(load)
