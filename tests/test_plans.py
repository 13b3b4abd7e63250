"""Mapped programs: as bytes and back, and their cache, found again by all that decides them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from accelsim.errors import MappingError
from accelsim.graph.ir import Graph
from accelsim.graph.store import content_hash
from accelsim.mapping import map_graph, mapped
from accelsim.program import store
from accelsim.program.program import Program
from accelsim.resolve import load_machine
from accelsim.resolve.machine import Machine
from accelsim.run import plans
from accelsim.run.plans import program_of
from tests.strategies import gemms, shipped_graph

CASES = [
    ("edge-hybrid", "lenet5", 4, False),
    ("tpu-like-sram", "mlp", 16, False),
    ("edge-sram", "mlp", 8, True),
]


@pytest.fixture
def mappings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the graphs that are mapped."""
    names: list[str] = []

    def noting(graph: Graph, machine: Machine, **options: object) -> tuple[Program, dict[str, object]]:
        names.append(graph.name)
        return mapped(graph, machine, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("accelsim.mapping.mapped", noting)
    return names


def planned(graph: Graph, machine: Machine, folder: Path, cold: bool = False) -> Program:
    return program_of(graph, content_hash(graph), machine, cold=cold, folder=folder)


@pytest.mark.parametrize(("arch", "workload", "batch", "cold"), CASES)
def test_a_program_comes_back_equal(arch: str, workload: str, batch: int, cold: bool) -> None:
    """Equal, of the same types, and of the same bytes again."""
    program = map_graph(shipped_graph(workload, batch), load_machine(arch), cold=cold)
    data = store.dumps(program)
    again = store.loads(data)
    assert again == program
    assert repr(again) == repr(program)  # where equal is not enough: 1 is True, and order of keys
    assert store.dumps(again) == data


def test_the_second_time_nothing_is_mapped(tmp_path: Path, mappings: list[str]) -> None:
    """The warm program equals the cold one."""
    graph, machine = shipped_graph("lenet5", 4), load_machine("edge-hybrid")
    first = planned(graph, machine, tmp_path)
    assert planned(graph, machine, tmp_path) == first
    assert len(mappings) == 1


def test_whatever_decides_the_program_is_asked_for(
    tmp_path: Path, mappings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mapped anew: another key of the machine, order of banks, graph, first step, or source of the mapper."""
    graph, machine = shipped_graph("mlp", 8), load_machine("edge-hybrid")
    turned = replace(machine, banks=dict(reversed(machine.banks.items())))
    planned(graph, machine, tmp_path)
    planned(graph, load_machine("edge-hybrid", ("dram.latency=90 ns",)), tmp_path)
    planned(graph, turned, tmp_path)
    planned(shipped_graph("mlp", 4), machine, tmp_path)
    planned(graph, machine, tmp_path, cold=True)
    monkeypatch.setattr(plans, "_source_hash", lambda _: "edited")
    planned(graph, machine, tmp_path)
    assert len(mappings) == 6


def test_an_edit_of_any_source_is_noticed(tmp_path: Path) -> None:
    """The hash changes with a file of the mapper, of programs, of the graph; not with one of the report."""
    for name in ("mapping", "program", "graph", "resolve", "report"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "some.py").write_text("x = 1\n")
    for name in ("geometry.py", "words.py"):
        (tmp_path / name).write_text("x = 1\n")
    seen = {plans._source_hash(tmp_path)}
    for name in ("mapping", "program", "graph", "resolve"):
        (tmp_path / name / "some.py").write_text("x = 2\n")
        seen.add(plans._source_hash(tmp_path))
    assert len(seen) == 5
    (tmp_path / "report" / "some.py").write_text("x = 2\n")
    assert plans._source_hash(tmp_path) in seen


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other"])
def test_a_broken_entry_is_mapped_anew(tmp_path: Path, mappings: list[str], damage: str) -> None:
    """And written again: the third time nothing is mapped."""
    graph, machine = gemms((64, 64, 64)), load_machine("edge-sram")
    first = planned(graph, machine, tmp_path)
    (entry,) = tmp_path.iterdir()
    data = entry.read_bytes()
    middle = len(data) // 2
    flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    entry.write_bytes({"cut": data[:-9], "flipped": flipped, "empty": b"", "other": b"{}"}[damage])
    assert planned(graph, machine, tmp_path) == first
    assert planned(graph, machine, tmp_path) == first
    assert len(mappings) == 2
    assert [e.name for e in tmp_path.iterdir()] == [entry.name]


def test_an_unwritable_folder_is_no_error(tmp_path: Path) -> None:
    """A cache that is no folder is done without."""
    (tmp_path / "file").write_text("")
    graph, machine = gemms((64, 64, 64)), load_machine("edge-sram")
    assert planned(graph, machine, tmp_path / "file") == map_graph(graph, machine)


def test_a_refusal_is_not_kept(tmp_path: Path) -> None:
    """What does not fit is said each time."""
    machine = load_machine("edge-sram")
    tiny = {name: replace(bank, capacity_bytes=256) for name, bank in machine.banks.items()}
    machine = replace(machine, banks=tiny)
    for _ in range(2):
        with pytest.raises(MappingError, match="smallest tile"):
            planned(shipped_graph("lenet5", 64), machine, tmp_path)
    assert not list(tmp_path.iterdir())


def test_entries_lie_beside_the_graphs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the folder that ``$ACCELSIM_CACHE`` names."""
    monkeypatch.setenv("ACCELSIM_CACHE", str(tmp_path / "cache"))
    graph = gemms((64, 64, 64))
    program_of(graph, content_hash(graph), load_machine("edge-sram"))
    assert len(os.listdir(tmp_path / "cache" / "programs")) == 1


def test_nothing_but_programs_comes_out() -> None:
    """Bytes of another kind are refused, whatever they hold."""
    with pytest.raises(ValueError, match="not whole"):
        store.loads(b"cos\nsystem\n(S'false'\ntR.")
