"""What the mapper makes of layouts: its estimates, its objectives, mapping files, and what it refuses."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from accelsim.errors import ConfigError, InputError
from accelsim.machine import run_program
from accelsim.mapping import map_graph, mapped
from accelsim.mapping.mapper import _assembled, _found
from accelsim.report.mapping import mapping_file
from accelsim.resolve import load_machine
from accelsim.resolve.prices import gated_shares
from accelsim.run import simulate
from accelsim.run.energy import energy_rows, sums
from accelsim.run.gating import powered_shares
from accelsim.trace.recorder import Part
from accelsim.trace.runs import open_run
from tests.strategies import shipped_graph, step_graph
from tests.test_executable_program import Lab, lab
from tests.test_layout import MODELLED, UNIT, torchs_orders
from tests.test_steady_state import agree

assert lab  # fixtures
assert torchs_orders


@pytest.mark.parametrize(
    ("flow", "sets", "arch", "name", "batch"),
    [
        ("is", MODELLED, "edge-hybrid", "lenet-tinydnn", 4),
        ("os", UNIT, "tpu-like-hybrid", "mlp", 16),
    ],
)
def test_the_estimate_knows_of_layout(
    flow: str, sets: tuple[str, ...], arch: str, name: str, batch: int
) -> None:
    """Whole steps take what the mapping says within 15 %, and longer than if all lay along their grain."""
    graph = shipped_graph(name, batch)
    plain, on = (load_machine(arch, (f"pe_array.dataflow={flow}", *s)) for s in ((), sets))
    program = map_graph(graph, on)
    recorder = run_program(on, program)
    assert 0.85 <= program.estimate_ps / recorder.end_ps <= 1.15
    assert recorder.end_ps >= 0.98 * run_program(plain, map_graph(graph, plain)).end_ps


@pytest.mark.parametrize(("net", "flow", "size"), [("lenet5", "ws", 16), ("cnn", "os", 8)])
def test_a_slow_unit_is_left_alone(net: str, flow: str, size: int) -> None:
    """Results pass it with last folds only, and first blocks are awaited: none is hardly faster."""
    array = (f"pe_array.dataflow={flow}", f"pe_array.rows={size}", f"pe_array.cols={size}")
    graph, times = shipped_graph(net, 8) if net == "lenet5" else step_graph(net), []
    for rate in ("0 B", "1 B"):
        on = load_machine("edge-sram", (*array, "scratchpad.layout=modelled", f"transpose.rate={rate}"))
        times.append(run_program(on, map_graph(graph, on)).end_ps)
    assert times[1] <= 1.03 * times[0]


@pytest.mark.usefixtures("torchs_orders")
@pytest.mark.parametrize(("net", "flow"), [("lenet5", "ws"), ("encoder", "is")])
def test_the_mapper_counts_the_words_that_move(lab: Lab, net: str, flow: str) -> None:
    """Bytes through the ports by unit: of words used in part, through line buffers, and by the DMA.

    The mapper reads stationary tiles anew that stay in the array: up to 7 %.
    """
    graph = shipped_graph("lenet5", 5) if net == "lenet5" else lab.captured(net, "momentum").graph
    on = load_machine("edge-sram", (f"pe_array.dataflow={flow}", *MODELLED))
    found = _found(graph, on, cold=False, progress=None)
    program = _assembled(found, cold=False)
    counted, moved = Counter[str](), Counter[str]()
    unit = {part.op: kernel.unit for kernel in program.kernels for part in kernel.parts}
    for (component, action, part, _), n in run_program(on, program).counts.items():
        if component == "spad.sram":
            moved[f"{action} {unit[part.op]}"] += n * on.banks["sram"].word_bytes
    for kernel, cost in zip(program.kernels, found.planner.known_costs(found.trial) or (), strict=True):
        traffic = cost.slab.traffic if cost.slab else cost.table.traffic([cost.entry])  # type: ignore[union-attr]
        for action, nbytes in (("read", traffic.reads), ("write", traffic.writes)):
            counted[f"{action} {kernel.unit}"] += round(sum(float(np.sum(n)) for n in nbytes.values()))
    for what, nbytes in counted.items():
        assert nbytes == pytest.approx(moved[what], rel=0.07), what


@pytest.mark.usefixtures("torchs_orders")
def test_objectives_know_what_a_turn_costs() -> None:
    """The energy of a plan is what the ledger has."""
    sets = ("mapping.objective=energy", "pe_array.dataflow=is", *UNIT, "transpose.energy=5 pJ/bit")
    on, graph = load_machine("edge-mram", sets), shipped_graph("lenet5", 5)
    program, record = mapped(graph, on)
    recorder = agree(on, program)
    parts = [Part(op.name, op.layer, op.phase) for op in graph.ops]
    shares = powered_shares(on, program, recorder)
    rows = energy_rows(on, recorder, parts, shares, gated_shares(on, graph))
    assert record["plan"]["energy_pj"] == pytest.approx(sums(rows)["total"], rel=0.02)


def test_a_mapping_file_has_torchs_orders(tmp_path: Path) -> None:
    """What a run by hand used gives that run again; other orders are named, and make no mapping file."""
    sets = ("pe_array.dataflow=is", *UNIT)
    free = simulate("edge-sram", "mlp", batch=16, overrides=sets, out=tmp_path / "a").run_dir
    assert "batch/x" in json.loads((free / "mapping.json").read_text())["orders"]
    with pytest.raises(InputError, match=r"stored in other orders.*layout = \"modelled\".*--mapping-from"):
        mapping_file(open_run(free))
    file = tmp_path / "mine.toml"
    file.write_text('[op."fc.0:linear"]\norder = "knm"\n')
    base, again = tmp_path / "b", tmp_path / "c"
    simulate("edge-sram", "mlp", batch=16, overrides=sets, mapping=file, out=base)
    file.write_text(mapping_file(open_run(base)))
    simulate("edge-sram", "mlp", batch=16, overrides=sets, mapping=file, out=again)
    for table in ("ops", "spans", "energy", "residencies"):
        assert (again / f"{table}.parquet").read_bytes() == (base / f"{table}.parquet").read_bytes(), table


@pytest.mark.parametrize(
    "key",
    [
        "scratchpad.interleave=line",
        "scratchpad.interleave=tile",
        "bank.sram.write_buffer.entries=4",
        'placement.weight={"msb:6" = ["sram"], rest = ["sram"]}',
        "mapping.dgrad=decomposed",
        "mapping.depthwise=diagonal",
    ],
)
def test_what_no_layout_is_known_for_is_refused(key: str) -> None:
    """One error names both keys and the fix; alone, each of them is fine."""
    sets = ("format.weight=fp16", key)
    load_machine("edge-sram", sets)
    load_machine("edge-sram", (*sets, 'scratchpad.layout="along"'))
    name = re.escape(key.partition("=")[0])
    both = (
        rf'{name}: does not go with scratchpad\.layout = "modelled": .*; set scratchpad\.layout = "along", or'
    )
    with pytest.raises(ConfigError, match=both):
        load_machine("edge-sram", (*sets, *MODELLED))
