"""The screen: where results go, and how wide it is when it is none."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH: Final = 110  # columns, into a file or a pipe
TABLE_WIDTH: Final = 104  # columns that the widest table needs


def results(tables: bool = True) -> Console:
    """Return the console of results, on stdout. NO_COLOR, FORCE_COLOR and COLUMNS are honoured."""
    from rich.console import Console

    if not sys.stdout.isatty() and "COLUMNS" not in os.environ:
        return Console(width=PIPE_WIDTH, highlight=False, soft_wrap=False)
    screen = Console(highlight=False, soft_wrap=False)
    if tables and screen.width < TABLE_WIDTH:  # rather a line too long than a name or a unit cut off
        return Console(width=TABLE_WIDTH, highlight=False, soft_wrap=False)
    return screen


def has_color(console: Console) -> bool:
    """Return whether ``console`` shows colours."""
    return console.color_system is not None and not console.no_color
