"""``convention = "scale-sim"`` end to end: from a topology file to ``ops.parquet``."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from accelsim import simulate
from accelsim.trace.runs import open_run

GOLDEN = Path(__file__).parent / "golden" / "scalesim_compute_cycles.csv"
GEMM = "Layer,M,N,K\nlayer,{m},{n},{k}\n"
CONV = (
    "Layer name,IFMAP Height,IFMAP Width,Filter Height,Filter Width,Channels,Num Filter,Strides\n"
    "layer,{h},{w},{p},{q},{c},{o},{s}\n"
)
AMPLE = [
    "bank.sram.capacity=64 MiB",
    "bank.sram.count=64",
    "bank.sram.read_latency=0 ns",
    "bank.sram.read_cycle=1 ps",
    "bank.sram.write_cycle=1 ps",
    "bank.sram.read_energy=1 pJ",
    "bank.sram.write_energy=1 pJ",
    "bank.sram.leakage=0 mW",
    "bank.sram.area=1 mm2",
    "accumulator.capacity=256 MiB",
    "dram.latency=0 ns",
    "dram.bandwidth=100 TB/s",
]
Case = dict[str, str]


def _cases() -> list[Case]:
    """Return the smallest GEMM and square-stride convolution of every dataflow and array."""
    with GOLDEN.open(newline="") as lines:
        rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    chosen: dict[tuple[str, ...], Case] = {}
    for case in sorted(rows, key=lambda c: (int(c["m"]) * int(c["n"]) * int(c["k"]), c["kind"])):
        strides = case["conv"].split("x")[-2:]
        if case["kind"] == "gemm" or strides[0] == strides[1]:
            key = tuple(case[c] for c in ("kind", "dataflow", "rows", "cols"))
            folds = int(case["reported"]) > 3 * (int(case["rows"]) + int(case["cols"]))  # more than one
            if folds:
                chosen.setdefault(key, case)
    return list(chosen.values())


def _topology(case: Case) -> str:
    if case["kind"] == "gemm":
        return GEMM.format(**case)
    h, w, p, q, c, o, s, _ = case["conv"].split("x")
    return CONV.format(h=h, w=w, p=p, q=q, c=c, o=o, s=s)


def _name(case: Case) -> str:
    return f"{case['kind']} {case['dataflow']} {case['rows']}x{case['cols']}"


@pytest.mark.parametrize("case", _cases(), ids=_name)
def test_a_run_reports_scalesims_cycles(case: Case, tmp_path: Path) -> None:
    """compute_cycles is SCALE-Sim's figure plus one; with ample memory the tiles take just as long."""
    topology = tmp_path / "layer.csv"
    topology.write_text(_topology(case))
    array = [f"pe_array.{key}={case[key]}" for key in ("rows", "cols", "dataflow")]
    overrides = [*array, "pe_array.convention=scale-sim", *AMPLE]

    result = simulate("edge-sram", str(topology), overrides=overrides, out=tmp_path / "run")

    (op,) = open_run(result.run_dir).table("ops").to_pylist()
    assert op["op"] == "layer"
    assert (op["m"], op["n"], op["k"]) == tuple(int(case[c]) for c in ("m", "n", "k"))
    assert op["compute_cycles"] == int(case["reported"]) + 1
    assert op["array_busy_cycles"] == op["compute_cycles"]
    assert op["macs"] == op["m"] * op["n"] * op["k"]


def test_there_is_a_case_of_each_kind() -> None:
    """GEMM and convolution, three dataflows, three arrays."""
    assert len(_cases()) == 18
