"""Timeloop's ``simple_weight_stationary`` and ``simple_output_stationary`` at their published mappings."""

from __future__ import annotations

import json
from typing import Any

from tests.validation.counts import PEERS, Imposed, Line
from tests.validation.imposed import Tile

ELEMENT = 2  # bytes
GOLDEN = json.loads((PEERS / "timeloop.json").read_text())
FIRST = "a read with a sum's first addition, which is part of the accumulator's one price"
DESIGNS = ("simple_weight_stationary", "simple_output_stationary")


def lines(design: str) -> list[Line]:
    """Return every access of the levels that both have."""
    return weight_stationary() if design == DESIGNS[0] else output_stationary()


def weight_stationary() -> list[Line]:
    """Return the levels of the weight-stationary design.

    A weight stays for its innermost loops Q2 P2 P28 Q4, 448 outputs: a tile of 448 outputs (four rows of
    112, where theirs has eight of 56; the counts depend on the number), all 32 channels and all of K, in
    folds of C x M = 3 x 4. Inputs come once, as theirs keeps what windows share; weights stay.
    """
    run = Imposed(
        "timeloop_ws",
        "225,225,3,3,3,32,2",
        Tile(448, 32, 27, hold_a=True, hold_b=True, spilled=448 * 4),
    )
    glb, dram = _levels(DESIGNS[0], "shared_glb"), _levels(DESIGNS[0], "DRAM")
    sums = ("spad.sums", "activation")
    return [
        *_buffered(run, glb),
        _line(
            "buffer, sums, read", glb["Outputs"]["reads"], run.count(sums[0], "read", sums[1]), run, "read"
        ),
        _line(
            "buffer, sums, write",
            glb["Outputs"]["updates"],
            run.count(sums[0], "write", sums[1]) + run.count("spad.glb", "write", "activation"),
            run,
            "write",
        ),
        *_from_dram(run, dram),
        *_in_the_array(run, DESIGNS[0]),
    ]


def output_stationary() -> list[Line]:
    """Return the levels of the output-stationary design.

    Its loops over DRAM (P2 Q8) make 16 equal layers of 14 x 56 outputs; of each, inputs stay and weights
    come 16 channels at a time (M2). A weight stays for 14 outputs: a tile of 14 outputs, 16 channels and all
    of K, in folds of 1 x 16, whose sums meet in the accumulator as theirs do in the PE's scratchpad.
    """
    tile = Tile(14, 16, 27, ("n", "m", "k"), hold_a=True)
    run = Imposed("timeloop_os", "29,113,3,3,3,32,2", tile, times=16)
    return [
        *_buffered(run, _levels(DESIGNS[1], "shared_glb")),
        *_from_dram(run, _levels(DESIGNS[1], "DRAM")),
        *_accumulated(run),
        *_in_the_array(run, DESIGNS[1]),
    ]


def _accumulated(run: Imposed) -> list[Line]:
    """Return reads and writes of the PEs' scratchpads beside our accumulator's read-modify-writes."""
    spad = _levels(DESIGNS[1], "pe_spad")["Outputs"]
    price = GOLDEN["designs"][DESIGNS[1]]["energy_per_action_pj"]["pe_spad"]
    rmw, each = run.count("accumulator", "rmw"), spad["instances"]
    reads, updates = spad["reads"] * each, spad["updates"] * each
    write_pj = run.price("accumulator", "rmw") - price["read"]
    results = run.moved("write", "activation", ELEMENT)
    read = "PE's scratchpad, sums, read"
    return [
        Line(read, reads, rmw, reads * price["read"], price["read"], -results, FIRST),
        Line("PE's scratchpad, sums, write", updates, rmw, updates * price["update"], write_pj),
    ]


def _levels(design: str, level: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = GOLDEN["designs"][design]["levels"][level]
    return found


def _buffered(run: Imposed, glb: dict[str, dict[str, Any]]) -> list[Line]:
    """Return reads and fills of both operands in the global buffer."""
    return [
        _line(
            f"buffer, {name.lower()}, {ours}", glb[name][theirs], run.count("spad.glb", ours, role), run, ours
        )
        for name, role in (("Weights", "weight"), ("Inputs", "input"))
        for ours, theirs in (("read", "reads"), ("write", "fills"))
    ]


def _line(level: str, theirs: int, ours: int, run: Imposed, action: str) -> Line:
    """Return a line of the global buffer; their price is of a block of four elements."""
    table = GOLDEN["designs"][DESIGNS[0]]["energy_per_action_pj"]["shared_glb"]
    return Line(level, theirs, ours, theirs * table[action] / 4, run.price("spad.glb", action, "input"))


def _from_dram(run: Imposed, dram: dict[str, dict[str, Any]]) -> list[Line]:
    moves = (("Weights", "weight", "read"), ("Inputs", "input", "read"), ("Outputs", "activation", "write"))
    return [
        Line(
            f"DRAM, {name.lower()}, {action}",
            dram[name]["reads" if action == "read" else "updates"],
            run.moved(action, role, ELEMENT),
            dram[name]["energy_pj"],
            run.price("dram", action) * 8 * ELEMENT,
        )
        for name, role, action in moves
    ]


def _in_the_array(run: Imposed, design: str) -> list[Line]:
    """Return MACs, and the register that takes a streamed input for each of them."""
    known, macs = GOLDEN["designs"][design], run.count("pe_array", "mac.int16")
    register = known["levels"]["input_activation_reg"]["Inputs"]
    return [
        Line(
            "input register, read",
            register["reads"] * register["instances"],
            macs,
            register["energy_pj"],
            run.price("pe_array", "operand_register.int16"),
        ),
        Line(
            "MAC",
            known["computes"],
            macs,
            known["computes"] * known["energy_per_action_pj"]["mac"]["compute"],
            run.price("pe_array", "mac.int16"),
        ),
    ]
