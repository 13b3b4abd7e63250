"""Laws of a magnetic tunnel junction: what it keeps, what a pulse writes, what a read disturbs.

Pure functions of numbers and arrays, which broadcast: numbers give a numpy scalar, arrays an array of the
broadcast shape. SI units, named in the arguments. A value outside a law's range raises ``OutOfRange``, an
``InputError`` that names it. Formulas, ranges and plots: docs/physics.md.
"""

from accelsim.device.mtj.currents import (
    DIRECTIONS,
    Direction,
    critical_current,
    intrinsic_time,
    write_current,
    write_energy,
)
from accelsim.device.mtj.disturb import attempt_time, read_disturb_probability
from accelsim.device.mtj.ranges import OutOfRange
from accelsim.device.mtj.retention import (
    delta_nodes,
    retention_flip_probability,
    retention_flip_probability_sum,
    retention_time,
    thermal_stability,
    thermal_stability_at,
    thermal_stability_from_geometry,
)
from accelsim.device.mtj.table import MIN_OVERDRIVE
from accelsim.device.mtj.write import (
    MAX_DELTA,
    MAX_OVERDRIVE,
    MIN_DELTA,
    Model,
    write_error_rate,
    write_pulse,
)

__all__ = [
    "DIRECTIONS",
    "MAX_DELTA",
    "MAX_OVERDRIVE",
    "MIN_DELTA",
    "MIN_OVERDRIVE",
    "Direction",
    "Model",
    "OutOfRange",
    "attempt_time",
    "critical_current",
    "delta_nodes",
    "intrinsic_time",
    "read_disturb_probability",
    "retention_flip_probability",
    "retention_flip_probability_sum",
    "retention_time",
    "thermal_stability",
    "thermal_stability_at",
    "thermal_stability_from_geometry",
    "write_current",
    "write_energy",
    "write_error_rate",
    "write_pulse",
]
