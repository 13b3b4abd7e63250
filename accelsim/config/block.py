"""What the tables of a description with numbers of hardware have in common."""

from __future__ import annotations

from accelsim.config.spec import Spec, Text


class Block(Spec):
    """A table of parameters that says where its numbers come from."""

    source: Text = "assumed"
    """Key of docs/sources.md for the numbers written in this table of this file; without it they count as
    `assumed`."""
