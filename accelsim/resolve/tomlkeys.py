"""From a field of the resolved machine back to the key of a machine's file that decides it."""

from __future__ import annotations

from typing import Final

_WHOLE: Final = {  # fields of the machine that are called otherwise in its file
    "clock_hz": "clock",
    "node_nm": "node",
    "temperature_k": "temperature",
    "granularity_bytes": "scratchpad.granularity",
    "interleave": "scratchpad.interleave",
    "line_bytes": "scratchpad.line",
    "skew": "scratchpad.skew",
    "layout": "scratchpad.layout",
    "im2col_line_buffer_bytes": "im2col.line_buffer",
    "im2col_pj_per_byte": "im2col.energy",
    "transpose": "transpose.rate",  # of no unit
    "static_mw": "static.power",
    "host_gap_ps": "host.gap",
    "policy": "placement.policy",
    "policy_identity": "placement.policy",
}
_TABLES: Final = {"formats": "format", "toggle": "toggle_rate"}
_INSIDE: Final = {  # last parts within a table
    "pe_array": {
        "mac_pj": "mac_energy",
        "accumulate_bits": "accumulate",
        "register_pj_per_bit": "register_energy",
        "clock_pj": "clock_energy",
    },
    "accumulator": {"capacity_bytes": "capacity", "element_bytes": "format", "rmw_pj": "energy"},
    "vector": {"cycles": "rates", "pj": "energies"},
    "noc": {"pj_per_bit": "energy", "latency_ps": "latency"},
    "dma": {
        "descriptor_latency_ps": "descriptor_latency",
        "burst_bytes": "burst",
        "pj_per_bit": "energy",
    },
    "dram": {
        "bandwidth_bytes_per_s": "bandwidth",
        "latency_ps": "latency",
        "read_pj_per_bit": "read_energy",
        "write_pj_per_bit": "write_energy",
        "background_mw": "background",
    },
    "transpose": {
        "rate_bytes": "rate",
        "latency_ps": "latency",
        "pj_per_bit": "energy",
        "area_mm2": "area",
    },
}
_BY_FORMAT: Final = ("mac_energy", "rates", "energies")  # tables in the file, too
_BANK: Final = {
    "capacity_bytes": "capacity",
    "word_bytes": "word",
    "read_latency_ps": "read_latency",
    "read_cycle_ps": "read_cycle",
    "write_cycle_ps": "write_cycle",
    "read_pj": "read_energy",
    "write_pj": "write_energy",
    "leakage_mw": "leakage",
    "area_mm2": "area",
    "cell": "macro",
    "cell_current_a": "access_width_scale",
    "cell_pulse_s": "macro",
    "write_cell_pj": "write_energy",
    "unchanged_cost": "early_termination",
    "changed_cost": "early_termination",
    "falling_cost": "early_termination",
    "scrub_ps": "scrub_interval",
    "refresh_ps": "refresh_interval",
    "max_dwell_ps": "max_dwell",
    "wakeup_ps": "wakeup_latency",
    "model_identity": "model",
    "ecc.data_bits": "ecc_word",
    "ecc.check_bits": "ecc_word",
    "ecc.latency_ps": "ecc_latency",
    "buffer": "write_buffer",
    "buffer.access_pj": "write_buffer.access_energy",
    "buffer.area_mm2": "write_buffer.area",
    "buffer.cycle_ps": "write_buffer",
}


def toml_key(field: str) -> str:
    """Return the key that decides a field of ``asdict(machine)``; what several decide has the nearest one.

    >>> toml_key("banks.mram.write_cycle_ps"), toml_key("vector.cycles.exp"), toml_key("skew")
    ('bank.mram.write_cycle', 'vector.rates.exp', 'scratchpad.skew')
    """
    table, _, rest = field.partition(".")
    if field in _WHOLE:
        return _WHOLE[field]
    if table == "banks":
        return _bank_key(rest)
    if table == "sensitivity":
        return "placement.sensitivity"
    if table == "placement":
        return f"{table}.{rest.replace(' ', '.')}"
    if table == "content":  # by role, or by role and layer
        what, _, value = rest.rpartition(".")
        return f"{'zero_rate' if value == 'zeros' else 'toggle_rate'}.{what.partition(' ')[0] or rest}"
    if table in _TABLES:
        return _joined(_TABLES[table], rest)
    name, _, below = rest.partition(".")
    name = _INSIDE.get(table, {}).get(name, name)
    return _joined(table, name, below if name in _BY_FORMAT else "")


def _bank_key(rest: str) -> str:
    name, _, field = rest.partition(".")
    if field.startswith("device."):
        is_heat = field == "device.temperature_k"
        return "temperature" if is_heat else _joined("bank", name, "device")
    if field.startswith("buffer.") and field not in _BANK:
        return _joined("bank", name, "write_buffer", field.removeprefix("buffer."))
    return _joined("bank", name, _BANK.get(field, field))


def _joined(*parts: str) -> str:
    return ".".join(part for part in parts if part)
