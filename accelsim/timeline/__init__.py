"""The timeline in the terminal: spans in, text out."""

from accelsim.timeline.render import render
from accelsim.timeline.window import layer_windows

__all__ = ["layer_windows", "render"]
