"""Where writes fall: the words of a group that a step writes most often."""

from __future__ import annotations

import pytest

from accelsim.machine import run_program
from accelsim.mapping import map_graph
from accelsim.resolve import load_machine
from accelsim.run.wear import hottest_writes
from tests.strategies import gemms, shipped_graph


@pytest.mark.parametrize(("workload", "batch"), [("mlp", 4), ("lenet5", 8)])
def test_the_hottest_words_are_written_more_than_the_mean(workload: str, batch: int) -> None:
    """And less than all writes of the group on a single word."""
    on = load_machine("edge-mram")
    program = map_graph(shipped_graph(workload, batch), on)
    counts = run_program(on, program).counts
    bank = on.banks["mram"]
    writes = sum(n for (c, action, *_), n in counts.items() if (c, action) == ("spad.mram", "write"))
    hottest = hottest_writes(program, counts, "mram", bank.word_bytes)
    mean = writes * bank.word_bytes / bank.capacity_bytes
    assert mean < hottest < writes


def test_a_buffer_is_written_once_per_fill() -> None:
    """A GEMM whose operands go through slots: the bytes filled over the slots' bytes, by hand."""
    on = load_machine("edge-sram")
    program = map_graph(gemms((512, 512, 512)), on)
    counts = run_program(on, program).counts
    (kernel,) = program.kernels
    hottest = hottest_writes(program, counts, "sram", on.banks["sram"].word_bytes)
    written = dict.fromkeys(("input", "weight", "activation"), 0)
    for (component, action, _, role), n in counts.items():
        if (component, action) == ("spad.sram", "write"):
            written[role] += n * on.banks["sram"].word_bytes
    filled = [written[b.data.role] / sum(s.nbytes for s in b.slots) for b in kernel.reads]
    (out,) = kernel.writes
    results = written["activation"] / min(s.nbytes for s in out.slots)  # and the partial sums of that role
    assert max(filled) <= hottest <= max(filled) + results
