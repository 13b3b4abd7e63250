"""What a macro's cell can write: the largest thermal stability at a current, a pulse and an error rate."""

from __future__ import annotations

from typing import Final

from accelsim.device.mtj import (
    MAX_DELTA,
    MAX_OVERDRIVE,
    MIN_DELTA,
    MIN_OVERDRIVE,
    critical_current,
    intrinsic_time,
    write_pulse,
)

DAMPING, EFFICIENCY, FIELD_T = 0.01, 0.5, 0.3  # of a junction that nothing else is said of
WER: Final = 1e-9
LEAST_WER: Final = 1e-15  # that the table knows


def largest_delta(
    current_a: float,
    pulse_s: float,
    wer: float = WER,
    *,
    ic0_per_delta_a: float | None = None,
    intrinsic_time_s: float | None = None,
    temperature_k: float = 300.0,
) -> float:
    """Return the largest delta that ``current_a`` for ``pulse_s`` writes with an error rate of ``wer``.

    Between 8 and 80, the range of the laws; 0 if not even 8. The critical current grows with delta, in
    amperes per unit ``ic0_per_delta_a``; by default of a junction with damping 0.01, efficiency 0.5 and
    0.3 T. Source: docs/sources.md#mtj-points.

    >>> round(largest_delta(40.82e-6, 5e-9), 1), round(largest_delta(80e-6, 10e-9), 0)
    (14.4, 47.0)
    """
    per_delta = ic0_per_delta_a or float(
        critical_current(1.0, alpha=DAMPING, efficiency=EFFICIENCY, temperature_k=temperature_k)
    )
    intrinsic = intrinsic_time_s or float(intrinsic_time(DAMPING, FIELD_T))

    def writes(delta: float) -> bool:
        overdrive = min(current_a / (per_delta * delta), MAX_OVERDRIVE)  # beyond the table it is easier still
        if overdrive < MIN_OVERDRIVE:
            return False
        return (
            float(write_pulse(max(wer, LEAST_WER), overdrive, delta, intrinsic_time_s=intrinsic)) <= pulse_s
        )

    if not writes(MIN_DELTA):
        return 0.0
    low, high = MIN_DELTA, MAX_DELTA
    if writes(high):
        return high
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (middle, high) if writes(middle) else (low, middle)
    return low
