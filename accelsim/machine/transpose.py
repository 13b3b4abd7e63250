"""The transpose unit: blocks of elements come in along one dimension and leave along the other."""

from __future__ import annotations

from accelsim.geometry import ceil_div
from accelsim.machine.memory import Access, Port
from accelsim.resolve.machine import Transpose
from accelsim.sim.engine import PS_PER_S

COMPONENT = "transpose"


class TransposeUnit:
    """One unit for all streams that are turned, in the order in which they are asked for.

    It has two blocks: one comes in while the one before leaves, so that only a stream's first adds latency.
    """

    def __init__(self, spec: Transpose, clock_hz: int) -> None:
        self.spec = spec
        self.port = Port()
        self._rate = spec.rate_bytes * clock_hz

    def hold_ps(self, nbytes: int) -> int:
        """Return for how long ``nbytes`` of elements take the unit."""
        return ceil_div(nbytes * PS_PER_S, self._rate)

    def first_ps(self, element_bytes: int) -> int:
        """Return for how long a stream's first element is under way: until its block has come together."""
        return self.hold_ps(self.spec.block**2 * element_bytes) + self.spec.latency_ps

    def turned(self, access: Access, nbytes: int, element_bytes: int) -> Access:
        """Return when ``nbytes`` of elements are through that ``access`` brings from a bank, or takes there.

        The unit works as the words pass; both are done when the slower one is.
        """
        start, cause = self.port.reserve(access.start_ps, self.hold_ps(nbytes), "port_busy")
        done = max(access.done_ps, start + self.hold_ps(nbytes)) + self.first_ps(element_bytes)
        return access._replace(done_ps=done, cause=access.cause or cause)
