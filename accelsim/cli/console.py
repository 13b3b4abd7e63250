"""The screen: where results go, and how wide it is when it is none."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH: Final = 110  # columns, into a file or a pipe


def results(tables: bool = True) -> Console:
    """Return the console of results, on stdout. NO_COLOR, FORCE_COLOR and COLUMNS are honoured."""
    from rich.console import Console

    class Uncropped(Console):
        """Rather a line too long than a number or a unit cut off."""

        piped = False

        def print(self, *objects: Any, **how: Any) -> None:
            super().print(*objects, **{"crop": False, **how})

    class Piped(Uncropped):
        """A file has room for columns that a screen has not."""

        piped = True

    if not sys.stdout.isatty() and "COLUMNS" not in os.environ:
        return (Piped if tables else Console)(width=PIPE_WIDTH, highlight=False, soft_wrap=False)
    return (Uncropped if tables else Console)(highlight=False, soft_wrap=False)


def has_color(console: Console) -> bool:
    """Return whether ``console`` shows colours."""
    return console.color_system is not None and not console.no_color
