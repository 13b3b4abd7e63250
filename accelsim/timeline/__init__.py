"""The timeline in the terminal: spans in, text out."""

from accelsim.timeline.render import not_drawn, render
from accelsim.timeline.window import layer_windows

__all__ = ["layer_windows", "not_drawn", "render"]
