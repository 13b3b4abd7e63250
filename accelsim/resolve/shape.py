"""What of a resolved machine decides the folds of its PE array."""

from __future__ import annotations

from accelsim.program.array_shape import ArrayShape
from accelsim.resolve.machine import Machine


def array_shape(machine: Machine) -> ArrayShape:
    """Return the array's shape, conventions, and accumulator in elements."""
    pe, acc = machine.pe_array, machine.accumulator
    return ArrayShape(
        rows=pe.rows,
        cols=pe.cols,
        dataflow=pe.dataflow,
        convention=pe.convention,
        accumulator_elements=acc.capacity_bytes // acc.element_bytes,
        psum_bytes=acc.element_bytes,
    )
