"""How every table looks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text


def grid(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], text_columns: int = 1) -> Group:
    """Return a titled table; the first ``text_columns`` are flush left, the numbers after them flush right.

    Cells are plain text, never markup: layers are called ``blocks[0]``. Without column names: no header.
    """
    named = any(columns)
    table = Table(box=box.SIMPLE_HEAD if named else None, show_header=named, pad_edge=False)
    for i, column in enumerate(columns):
        left = i < text_columns
        table.add_column(column, justify="left" if left else "right", no_wrap=not left, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return Group(Text(title, style="bold"), table)  # a table's own title would wrap at the table's width


def paragraph(title: str, text: str) -> Padding:
    """Return a titled paragraph, wrapped to the width of the screen."""
    return Padding(Text.assemble((f"{title}: ", "bold"), text), (0, 0, 1, 0))
