"""ZigZag's ``gemm_l1``: accesses of its L1 and energies, at the mapping that it chose."""

from __future__ import annotations

import json
from typing import Any

from tests.validation.counts import PEERS, Imposed, Line
from tests.validation.imposed import Tile

ARRAY = 8  # MACs along each of M, N and K
SUM_BYTES = 4
GOLDEN = json.loads((PEERS / "zigzag_gemm_l1.json").read_text())
POINTS: list[dict[str, Any]] = GOLDEN["points"]
VARIANTS = {  # of the machine, by the design's name
    "gemm_l1": (),
    "gemm_l1:l1_latency100": ("bank.l1.read_latency=100 ns", "bank.sums.read_latency=100 ns"),
    "gemm_l1:l1_wcost_x10": ("bank.sums.write_energy=520.1 pJ",),
    "gemm_l1:l1_outport_256b": ("bank.sums.word=256 bit",),
}
ZEROS = "zeros read before a sum's first addition"


def lines(point: dict[str, Any]) -> list[Line]:
    """Return every access of the L1, and the MACs.

    ZigZag's innermost loop goes over N (its D1): an 8 x 8 tile of I stays while 8 x 8 tiles of W and of O
    pass. That is input-stationary, with a tile as long in N as that loop.
    """
    m, n, k = (int(point[x]) for x in "mnk")
    name, _, factor = point["loops_innermost_first"][0].strip("()").partition(", ")
    assert name == "D1"
    streamed = ARRAY * int(factor)
    tile = Tile(m, streamed, k, ("n", "m", "k"), spilled=streamed * ARRAY)
    run = Imposed("zigzag_gemm_l1", f"{m},{n},{k}", tile, overrides=VARIANTS[point["design"]])
    theirs, energy = point["l1_words"], point["energy_pj"]
    price = GOLDEN["energy_per_access_pj"]
    word = run.machine.banks["sums"].word_bytes
    written_back = run.moved("write", "activation", word)  # ours has a DRAM behind it, theirs has not
    reads = run.count("spad.sums", "read", "activation") - written_back
    writes = run.count("spad.sums", "write", "activation")
    read_pj, write_pj = (run.price("spad.sums", a, "activation") for a in ("read", "write"))
    their_reads_pj = theirs["O read"] * price["l1 read"]
    return [
        _operand(run, "I", "input", theirs, energy),
        _operand(run, "W", "weight", theirs, energy),
        Line(
            "L1, O, read", theirs["O read"], reads, their_reads_pj, read_pj, m * n * SUM_BYTES // word, ZEROS
        ),
        Line("L1, O, write", theirs["O write"], writes, energy["O"] - their_reads_pj, write_pj),
        Line(
            "MAC",
            m * n * k,
            run.count("pe_array", "mac.int8"),
            energy["mac"],
            run.price("pe_array", "mac.int8"),
        ),
    ]


def _operand(run: Imposed, name: str, role: str, theirs: dict[str, int], energy: dict[str, float]) -> Line:
    return Line(
        f"L1, {name}, read",
        theirs[f"{name} read"],
        run.count("spad.l1", "read", role),
        energy[name],
        run.price("spad.l1", "read", role),
    )
