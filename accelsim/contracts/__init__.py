"""What accelsim promises of its banks, placement policies and lowerings, for authors of plug-ins too.

Every law is a function that takes the thing and raises AssertionError where it breaks the law. Nothing here
needs a test framework; ``docs/plugins.md`` shows them under pytest. Our own tests run them over everything
that is built in.
"""

from __future__ import annotations

from accelsim.contracts.banks import BANK_LAWS, MEMORY_LAWS, bank_groups
from accelsim.contracts.lowering import LOWERING_LAWS
from accelsim.contracts.placement import PLACEMENT_LAWS, placement_cases

__all__ = [
    "BANK_LAWS",
    "LOWERING_LAWS",
    "MEMORY_LAWS",
    "PLACEMENT_LAWS",
    "bank_groups",
    "placement_cases",
]
