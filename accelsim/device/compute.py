"""Energy of arithmetic by format and node, from two published tables.

Between the two nodes an energy is interpolated straight in log-log (energy against node). Sums and
stand-ins for formats that a table lacks are this project's own: every number counts as assumed.
Source: docs/sources.md#horowitz-2014 and #tpuv4i-2021, in arch/compute/energy.toml.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import tomli

from accelsim.config.locate import shipped
from accelsim.words import Accumulate, Format

FLOATS: Final = frozenset(("fp64", "fp32", "bf16", "fp16"))
CLOCK: Final = 0.5  # of a register bit's energy: what its clock costs in every cycle (assumed)
OLD_NM: Final = 45
FLIP_FLOP_F2: Final = 2233  # of a bit: 4.522 um2 at 45 nm (docs/sources.md#nangate-45)
NEW_NM: Final = 7

DEFAULT_RATES: Final[dict[str, int]] = {  # cycles of a lane per element; assumed
    "move": 1,
    "add": 1,
    "mul": 1,
    "max": 1,
    "compare": 1,
    "mask": 1,
    "div": 4,
    "sqrt": 4,
    "rsqrt": 4,
    "exp": 4,
    "log": 4,
    "tanh": 8,
    "sigmoid": 8,
    "gelu": 12,
}


def in_range(node_nm: int) -> bool:
    """Return whether the tables reach ``node_nm``."""
    return NEW_NM <= node_nm <= OLD_NM


def accumulate_format(fmt: Format) -> Accumulate:
    """Return what products of operands in ``fmt`` are added in, unless told: fp32, or int32 for integers."""
    return "fp32" if fmt in FLOATS else "int32"


def mac_pj(fmt: Format, node_nm: int, accumulate: Accumulate | None = None) -> float:
    """Return the energy in pJ of one multiply-accumulate of operands in ``fmt``.

    Args:
        accumulate: Format of the sum; default: fp32 for floats, int32 for integers.

    >>> round(mac_pj("bf16", 7), 3), round(mac_pj("fp32", 45), 3), round(mac_pj("fp16", 45, "fp16"), 3)
    (0.59, 4.6, 1.5)
    """
    into = accumulate or accumulate_format(fmt)
    return _between(node_nm, *(_mac(fmt, into, table) for table in _tables()))


def register_pj_per_bit(node_nm: int) -> float:
    """Return the energy in pJ of taking one bit into a register: that of a bit of an integer adder (assumed).

    >>> round(1e3 * register_pj_per_bit(45), 3)
    3.125
    """
    return _between(node_nm, *(table["int32_add"] / 32 for table in _tables()))


def register_mm2(node_nm: int) -> float:
    """Return the area in mm2 of a bit's flip-flop, scaled with the node squared (assumed).

    >>> round(1e6 * register_mm2(22), 2)
    1.08
    """
    return FLIP_FLOP_F2 * (node_nm * 1e-6) ** 2


def function_pj(function: str, node_nm: int) -> float:
    """Return the energy in pJ of one element of a vector function, in fp32.

    One-cycle functions cost their operation; the others a multiply and an add for each cycle of
    ``DEFAULT_RATES``, as iterations and polynomials do.
    """
    simple = {"move": "int32_add", "add": "fp32_add", "mul": "fp32_mul"}
    if DEFAULT_RATES[function] == 1:
        name = simple.get(function, "int32_add")
        return _between(node_nm, *(table[name] for table in _tables()))
    return DEFAULT_RATES[function] * mac_pj("fp32", node_nm)


def accumulate_pj(element_bytes: int, node_nm: int) -> float:
    """Return the energy in pJ of reading and writing one element of an 8 KB SRAM."""
    per_64_bit = _between(node_nm, *(table["sram_8KB_per_64b"] for table in _tables()))
    return 2 * per_64_bit * element_bytes / 8


def _mac(fmt: Format, into: Accumulate, table: dict[str, float]) -> float:
    """Return the energy at the node of ``table``: a multiply and the add that accumulates it."""
    mul = table["fp16_mul"]
    # bf16 is in the newer table only: its ratios to fp16 there hold for both
    new = _tables()[1]
    bf16 = mul * new["bf16_mul"] / new["fp16_mul"]
    adds = {
        "fp32": table["fp32_add"],
        "fp16": table["fp16_add"],
        "bf16": table["fp16_add"] * new["bf16_add"] / new["fp16_add"],
        "int32": table["int32_add"],
    }
    add = adds[into]
    # int16 lies between int8 and int32; 64 bits cost four multipliers and two adders of 32
    int16 = math.sqrt(table["int8_mul"] * table["int32_mul"])
    return {
        "fp64": 4 * table["fp32_mul"] + 2 * add,
        "fp32": table["fp32_mul"] + add,
        "bf16": bf16 + add,
        "fp16": mul + add,
        "int64": 4 * table["int32_mul"] + 2 * add,
        "int32": table["int32_mul"] + add,
        "int16": int16 + add,
        "int8": table["int8_mul"] + add,
        "uint8": table["int8_mul"] + add,
        "bool": table["int8_mul"] + add,
    }[fmt]


def _between(node_nm: int, old: float, new: float) -> float:
    share = math.log(node_nm / NEW_NM) / math.log(OLD_NM / NEW_NM)
    return math.exp(math.log(new) * (1 - share) + math.log(old) * share)


@lru_cache(maxsize=1)
def _tables() -> tuple[dict[str, float], dict[str, float]]:
    """Return the tables at 45 nm and at 7 nm."""
    data = tomli.loads((shipped("arch") / "compute" / "energy.toml").read_text())
    old, new = (
        {key: float(value) for key, value in data[name].items() if isinstance(value, float)}
        for name in ("horowitz_45nm", "tpuv4i_7nm")
    )
    return old, new
