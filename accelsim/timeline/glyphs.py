"""What a cell of the timeline looks like: a colour by what is done, or a letter where there is no colour."""

from __future__ import annotations

from typing import Final

from accelsim.words import STALL_REASONS

SHADES: Final = "░▒▓█"
FAINT: Final = "."  # the plain cell of less than an eighth: something, but hardly
_FAINT_BELOW: Final = 1 / 8
_FUZZ: Final = 1e-6  # shares are floats: half is half

# letter and colour of each kind; busy in capitals, stalls in small letters
GLYPHS: Final[dict[str, tuple[str, str]]] = {
    "compute": ("C", "green"),
    "vector": ("V", "bright_green"),
    "load": ("L", "cyan"),
    "read": ("R", "blue"),
    "write": ("W", "yellow"),
    "fill": ("F", "bright_blue"),
    "writeback": ("B", "bright_yellow"),
    "scrub": ("S", "light_salmon1"),
    "stall: operand_late": ("o", "red"),
    "stall: drain_blocked": ("d", "magenta"),
    "stall: port_busy": ("p", "bright_red"),
    "stall: write_pulse": ("w", "dark_orange"),
    "stall: write_buffer_full": ("b", "orange4"),
    "stall: dma_queue_full": ("q", "bright_magenta"),
    "stall: noc": ("n", "purple"),
    "stall: dram": ("m", "deep_pink2"),
    "stall: scrub": ("s", "light_salmon3"),
    "stall: wakeup": ("u", "plum3"),
    "stall: dependency": ("y", "grey62"),
}
OTHER: Final = ("?", "white")

assert all(f"stall: {reason}" in GLYPHS for reason in STALL_REASONS)


def cell(kind: str, share: float, color: bool) -> tuple[str, str]:
    """Return character and style of a cell that is busy for ``share`` (0 to 1), mostly with ``kind``.

    >>> cell("compute", 0.9, False), cell("compute", 0.05, False), cell("compute", 0.6, True)
    (('C', ''), ('.', ''), ('▓', 'green'))
    """
    letter, style = GLYPHS.get(kind, OTHER)
    if share <= 0:
        return " ", ""
    if color:
        return SHADES[min(int(share * len(SHADES) + _FUZZ), len(SHADES) - 1)], style
    return (letter if share >= _FAINT_BELOW else FAINT), ""


def key(kind: str, color: bool) -> tuple[str, str]:
    """Return character and style of ``kind`` in the legend."""
    letter, style = GLYPHS.get(kind, OTHER)
    return (SHADES[-1], style) if color else (letter, "")
