"""Tables of a run and of the difference between two: pure functions that return rich renderables."""

from accelsim.report.compare import comparison
from accelsim.report.listing import listing
from accelsim.report.run import report

__all__ = ["comparison", "listing", "report"]
