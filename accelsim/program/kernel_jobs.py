"""The tile jobs of any kernel."""

from __future__ import annotations

from collections.abc import Mapping

from accelsim.program.array_shape import ArrayShape
from accelsim.program.gemm_jobs import GemmJobs
from accelsim.program.nests import Jobs
from accelsim.program.program import Kernel
from accelsim.program.vector_jobs import VectorJobs


def jobs_of(kernel: Kernel, array: ArrayShape, vector_cycles: Mapping[str, int], lanes: int) -> Jobs:
    """Return the tile jobs of ``kernel``."""
    if kernel.unit == "pe_array":
        return GemmJobs(kernel, array)
    return VectorJobs(kernel, vector_cycles, lanes)
