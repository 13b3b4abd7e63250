"""How every table looks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

FOLD: Final = 16  # columns that are left to a value which is broken inside a word, such as a path
NAME: Final = 48  # and to a name, which is broken last
UNBOUNDED: Final = 1 << 20  # columns


def grid(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    text_columns: int = 1,
    spare: Sequence[str] = (),
    keys: int = 0,
    *,
    whole_in_files: bool = False,
) -> Group:
    """Return a titled table; the first ``text_columns`` are flush left, the numbers after them flush right.

    Cells are plain text, never markup: layers are called ``blocks[0]``. Without column names: no header.
    Where the screen is too narrow text is wrapped between words, then the names of number columns, then
    values inside words; then the ``spare`` columns are left out, in their order, which is told (but, where
    ``whole_in_files``, in a file or a pipe); then, where ``keys`` first columns name a row, the columns after
    them go into several tables, which all have the keys; what still does not fit is wider than the screen,
    as no number is cut.
    """
    table = _Fitting(columns, [tuple(row) for row in rows], text_columns, spare, keys, whole_in_files)
    return Group(Text(title, style="bold"), table)  # a table's own title would wrap at the table's width


class _Fitting:
    """A table whose columns are as wide as the screen allows."""

    def __init__(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        text_columns: int,
        spare: Sequence[str] = (),
        keys: int = 0,
        whole_in_files: bool = False,
    ) -> None:
        self.columns, self.rows, self.text_columns = columns, rows, text_columns
        self.spare, self.keys, self.whole_in_files = spare, keys, whole_in_files
        cells = [[row[i] for row in rows] for i in range(len(columns))]
        lines = [_longest(line for cell in of for line in cell.splitlines()) for of in cells]
        words = [_longest(word for cell in of for word in cell.split()) for of in cells]
        self.whole = [max(cell_len(c), n) for c, n in zip(columns, lines, strict=True)]
        least = words[:text_columns] + lines[text_columns:]
        self.least = [max(_longest(c.split()), n) for c, n in zip(columns, least, strict=True)]

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement.get(console, options, self._table(self.whole))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide, table, left_out = options.update(max_width=UNBOUNDED), self, list[str]()
        whole = self.whole_in_files and getattr(console, "piped", False)
        spare = () if whole else self.spare
        while not table._fits(console, options) and len(left_out) < len(spare):
            left_out.append(spare[len(left_out)])
            table = table._of([i for i, name in enumerate(table.columns) if name != left_out[-1]])
        for part in table._parts(console, options):
            yield from console.render(part._table(part._fitted(console, options)[0]), wide)
        if left_out:
            yield Text(f"A wider screen has more columns: {', '.join(left_out)}\n")

    def _fitted(self, console: Console, options: ConsoleOptions) -> tuple[list[int], int]:
        """Return the widths of the columns, and of the table."""
        wide = options.update(max_width=UNBOUNDED)
        frame = Measurement.get(console, wide, self._table(self.whole)).maximum - sum(self.whole)
        widths = self._widths(options.max_width - frame)
        return widths, sum(widths) + frame

    def _fits(self, console: Console, options: ConsoleOptions, *, whole: bool = False) -> bool:
        """Return whether the table has room; if ``whole``, without anything being wrapped."""
        widths, width = self._fitted(console, options)
        return width <= options.max_width and (not whole or widths == self.whole)

    def _of(self, kept: Sequence[int]) -> _Fitting:
        """Return the table of the columns ``kept``."""
        rows = [[row[i] for i in kept] for row in self.rows]
        texts = sum(i < self.text_columns for i in kept)
        return _Fitting([self.columns[i] for i in kept], rows, texts, keys=self.keys)

    def _parts(self, console: Console, options: ConsoleOptions) -> list[_Fitting]:
        """Return tables that fit, each with the keys and as many of the columns after them as have room."""
        if not self.keys or self._fits(console, options):
            return [self]
        parts: list[list[int]] = []
        for column in range(self.keys, len(self.columns)):
            longer = [*(parts[-1] if parts else range(self.keys)), column]
            if parts and self._of(longer)._fits(console, options, whole=True):
                parts[-1] = longer
            else:
                parts.append([*range(self.keys), column])
        return [self._of(part)._told() for part in parts]

    def _told(self) -> _Fitting:
        """Return the table without the rows of which nothing but the keys is left."""
        rows = [row for row in self.rows if any(row[self.keys :])]
        return _Fitting(self.columns, rows, self.text_columns, keys=self.keys)

    def _widths(self, room: int) -> list[int]:
        """Return the columns' widths: the widest is shortened, while it may be, until all is in ``room``."""
        widths, text = list(self.whole), self.text_columns
        values = [min(w, FOLD) if 0 < i < text else w for i, w in enumerate(self.least)]
        names = [min(w, NAME) if i < text else w for i, w in enumerate(values)]
        for least in (self.least[:text] + self.whole[text:], self.least, values, names):
            while sum(widths) > room and (left := [i for i, w in enumerate(widths) if w > least[i]]):
                widths[max(left, key=lambda i: widths[i])] -= 1
        return widths

    def _table(self, widths: Sequence[int]) -> Table:
        named = any(self.columns)
        table = Table(box=box.SIMPLE_HEAD if named else None, show_header=named, pad_edge=False)
        for i, (column, width) in enumerate(zip(self.columns, widths, strict=True)):
            left = i < self.text_columns
            head = Text(column, no_wrap=False)
            table.add_column(
                head, justify="left" if left else "right", no_wrap=not left, overflow="fold", width=width
            )
        for row in self.rows:
            table.add_row(*(Text(cell) for cell in row))
        return table


def _longest(texts: Iterable[str]) -> int:
    return max(map(cell_len, texts), default=0)


def paragraph(title: str, text: str) -> Padding:
    """Return a titled paragraph, wrapped to the width of the screen."""
    return Padding(Text.assemble((f"{title}: ", "bold"), text), (0, 0, 1, 0))
