"""max_dwell: what is planned, fetched and simulated keeps to it; what cannot is named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from accelsim.mapping import map_graph
from accelsim.mapping.dwells import Dwells
from accelsim.mapping.fields import Fields
from accelsim.mapping.residency import ResidencyPlanner
from accelsim.mapping.storage import Life
from accelsim.program.program import Data
from accelsim.resolve import load_machine
from accelsim.resolve.machine import Machine
from accelsim.run import simulate
from accelsim.trace.recorder import Recorder
from tests.strategies import shipped_graph
from tests.test_steady_state import agree


def limited(arch: str, limit: str, *overrides: str) -> Machine:
    """Return a shipped machine whose STT-MRAM may hold data for ``limit``."""
    return load_machine(arch, (f"bank.mram.max_dwell={limit}", *overrides))


def longest(recorder: Recorder, group: str) -> dict[str, int]:
    """Return the longest dwell of a group's copies, by class, as the residencies have it."""
    found: dict[str, int] = {}
    for (key, *_), row in recorder.histogram.rows.items():
        if key.bank_group == group:
            dwell = row.dwell_byte_ps // max(1, row.nbytes)
            found[key.copy_class] = max(found.get(key.copy_class, 0), dwell)
    return found


@pytest.mark.parametrize(
    ("batch", "limit", "sram", "used"),
    [
        (4, "5 us", "128 KiB", True),
        (4, "1 us", "64 KiB", True),
        (4, "100 ns", "128 KiB", False),
        (16, "50 us", "128 KiB", True),
        (16, "400 us", "128 KiB", True),
    ],
)
def test_nothing_lies_longer_where_there_is_another_group(
    batch: int, limit: str, sram: str, used: bool
) -> None:
    """Whole tensors, buffers, and what is fetched kernels before it is used; also with the skip."""
    on = limited("edge-hybrid", limit, f"bank.sram.capacity={sram}")
    program = map_graph(shipped_graph("lenet5", batch), on)
    dwells = longest(agree(on, program), "mram")
    assert {name: ps for name, ps in dwells.items() if ps > on.banks["mram"].max_dwell_ps} == {}
    assert bool(dwells) == used


def test_a_limit_that_no_step_reaches_changes_nothing() -> None:
    """Not the plan, and not when anything is fetched."""
    graph = shipped_graph("lenet5", 4)
    assert map_graph(graph, limited("edge-hybrid", "1 s")) == map_graph(graph, load_machine("edge-hybrid"))


def test_the_gap_between_steps_is_part_of_a_step() -> None:
    """What survives the step lies through it: 79 us of work fit into 200 us, 1 ms of host more do not."""
    graph = shipped_graph("lenet5", 4)
    kept = [
        sum(c.carried_from is not None for c in map_graph(graph, on).copies if c.region.group == "mram")
        for on in (
            limited("edge-hybrid", "200 us"),
            limited("edge-hybrid", "200 us", "host.gap=1 ms"),
        )
    ]
    assert kept[0] > 0 == kept[1]


def test_what_cannot_keep_to_it_is_named(tmp_path: Path) -> None:
    """Where all groups are limited, buffers of a long kernel have nowhere else to lie: the run says which."""
    overrides = ("bank.mram.max_dwell=1 us",)
    run = simulate("edge-mram", "lenet5", batch=4, overrides=overrides, out=tmp_path / "run")
    (note,) = [n for n in run.summary["notes"] if "max_dwell" in n]
    rows = pq.read_table(run.run_dir / "residencies.parquet").to_pylist()
    dwells = {r["copy_class"]: 0.0 for r in rows}
    for r in rows:
        dwells[r["copy_class"]] = max(dwells[r["copy_class"]], int(r["dwell_byte_ps"]) / r["bytes"] / 1e6)
    name, longest_us = max(dwells.items(), key=lambda x: x[1])
    over = sum(us > 1 for us in dwells.values())
    assert note.startswith(
        f"mram: data lay longer than its max_dwell of 1 us: {name} for {longest_us:.4g} us"
    )
    assert f" us, and {over - 3} more; placement" in note


def life(name: str, made: int, reads: Sequence[int], nbytes: int) -> Life:
    """Return the life of a tensor of bytes that may lie in ``mram``, else in ``sram``."""
    data = Data(
        tensor=name,
        role="activation",
        layer="fc",
        phase="forward",
        shape=(nbytes,),
        element_bytes=1,
        element_format="int8",
    )
    return Life(data, ("mram", "sram"), made, list(reads), set(reads))


def test_gaps_of_different_lengths_lie_in_one_group() -> None:
    """A tensor whose late gap is too long for its first group lies in the next one through both gaps."""
    on = limited("edge-hybrid", "10 us")
    lives = {"long": life("long", 0, (1, 9), 640), "short": life("short", 0, (1, 2), 320)}
    planner = ResidencyPlanner(Fields(lives, on), on, Dwells(on, lives, [10**6] * 10), cyclic=False)
    plan = planner.plan({g: b.capacity_bytes for g, b in on.banks.items()})
    assert plan.group == {"long": "sram", "short": "mram"}
    assert {n: [(g.start, g.end) for g in gaps] for n, gaps in plan.kept.items()} == {
        "long": [(0, 1), (1, 9)],
        "short": [(0, 1), (1, 2)],
    }
    assert plan.usage == {"mram": [320] * 3 + [0] * 7, "sram": [640] * 10}
