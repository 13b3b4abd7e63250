"""``accelsim mapping``."""

from __future__ import annotations

from typing import Annotated

import typer


def mapping(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run: its folder, or its name in runs/.")],
) -> None:
    """Print what RUN used as a mapping file: to be edited, and given to `accelsim run --mapping`."""
    from accelsim.report.mapping import mapping_file
    from accelsim.trace.runs import open_run

    typer.echo(mapping_file(open_run(run)), nl=False)
