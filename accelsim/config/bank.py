"""The description of a bank group: the keys of ``[bank.NAME]``; see ``arch``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Strict

from accelsim.config.block import Block
from accelsim.config.spec import (
    Flag,
    Milliwatts,
    Parts,
    PartsOrNone,
    Picojoules,
    Share,
    SomeBytes,
    Spec,
    SquareMm,
    Text,
    Time,
    written,
)
from accelsim.words import Technology


class WriteBufferSpec(Spec):
    """``[bank.NAME.write_buffer]``: a buffer before the cells of each bank; its numbers have the bank's
    `source`."""

    entries: PartsOrNone
    """Words that it holds, per bank; 0: none. Macros that serve together (`interleave = "word"`) share one
    buffer of entries x count words; with `line` and `tile` every bank has its own."""
    high: Share = 0.75
    """Level, as a share of the entries, from which the cells are written before anything is read."""
    low: Share = 0.25
    """Level down to which they then are; below, they are written when nobody reads."""
    coalescing: Flag = True
    """A write of a word that is in the buffer takes no other entry."""
    forwarding: Flag = True
    """Partial sums that are in the buffer are read from there; else they wait until the cells have them."""
    access_energy: Picojoules | None = None
    """Of one word written to an entry, or read from it; default: its bits as those of a PE's register."""
    area: SquareMm | None = None
    """Of all buffers of the group; default: a flip-flop per bit (docs/sources.md)."""


class BankSpec(Block):
    """``[bank.NAME]``: a group of equal banks."""

    technology: Technology
    """What the cells are."""
    model: Text = ""
    """Name of an installed plug-in that times the group's ports ([plug-ins](plugins.md)); empty: the built-in
    banks."""
    capacity: SomeBytes
    """Of the whole group: count x subbanks macros share it evenly."""
    count: PartsOrNone = 1
    """Banks in the group; 0: there is no such group, and lists of placement pass over it."""
    subbanks: Parts = 1
    """Macros per bank; each serves one word at a time."""
    word: SomeBytes = written("256 bit")
    """Bits of one access of one macro."""
    ports: Literal["1rw", "1r1w"] = "1rw"
    """One port for both, or one for reads and one for writes, of each macro."""
    macro_table: Text = ""
    """Array table of this group; empty: the machine's."""
    macro: Text | None = None
    """Cell of the array table, at `node`: `sram`, `stt34`, `stt54`, or one of an own table (those of sram
    begin with `sram`); default `sram`, or `stt34` for stt-mram. Fills what the keys below leave out."""
    flavour: Literal["HP", "LOP", "LSTP"] = "LOP"
    """Transistors of the array table; the shipped ones have HP and LOP."""
    read_latency: Time | None = None
    """From the request to the data of a word; from the table: its read time."""
    read_cycle: Time | None = None
    """Between two reads of a macro; default: read_latency where that is given, else from the table, at
    least one clock period."""
    write_cycle: Time | None = None
    """How long a write holds a macro; from the table: its write time (an MRAM pulse included), at least
    one clock period."""
    read_energy: Picojoules | None = None
    """Of one word."""
    write_energy: Picojoules | None = None
    """Of one word with every bit written."""
    leakage: Milliwatts | None = None
    """Of the whole group, at the machine's temperature."""
    area: SquareMm | None = None
    """Of the whole group."""
    device: Text = ""
    """Magnetic tunnel junction of the cells: a shipped name (`mram-1s`) or a `.toml` file. Its pulse and cell
    energy take the place of the macro's; empty: the macro's own pulse, and no errors."""
    access_width_scale: Annotated[float, Strict(), Field(ge=1, le=8)] = 1.0
    """Width of the access transistors over that of `macro`: more write current, a larger cell."""
    ecc: Literal["none", "secded"] = "none"
    """Single error correction, double error detection; its check bits take a part of `capacity`."""
    ecc_word: SomeBytes = written("64 bit")
    """Data bits of a code word; a write of less is a read-modify-write."""
    ecc_latency: Time = written("0 ns")
    """Of decoding; added to every read."""
    scrub_interval: Time | None = None
    """Every word is read, corrected and written back once in this time; needs `ecc`."""
    refresh_interval: Time | None = None
    """Every word is read and written back, uncorrected, once in this time."""
    refresh_model: Literal["physical", "literature"] = "physical"
    """`physical`: thermal flips have no memory, so refresh alone saves nothing; `literature`: refresh resets
    the time since the write, as papers on low-retention caches assume."""
    early_termination: Flag = False
    """Drivers stop when a bit has switched, or need not."""
    differential_write: Flag = False
    """The old word is read first and only bits that change are driven."""
    mux_area: Share = 0.0
    """Area that each doubling of subbanks adds, for multiplexers and decoders, as a share of the macros'."""
    mux_energy: Share = 0.0
    """Energy that each doubling of subbanks adds, as a share of a word's without that of its cells."""
    mux_latency: Time = written("0 ns")
    """Latency that each doubling of subbanks adds to a read."""
    write_buffer: WriteBufferSpec | None = None
    """Table `[bank.NAME.write_buffer]`."""
    max_dwell: Text = ""
    """Time for which data may lie here, such as `"20 us"`; what is expected to lie longer is placed
    elsewhere, and nothing is fetched earlier than that allows. Estimates decide: a note of the run names
    what lay longer. Or `"ber:1e-6"`: the time after which the device has flipped that share of the bits."""
    write_retries: Annotated[int, Strict(), Field(ge=0, le=100)] = 0
    """Every write is verified by a read and tried again up to so many times."""
    power_gating: Literal["none", "empty", "idle", "drowsy"] = "none"
    """What is off: `empty` words of the group during each op, or also the whole group during ops that do not
    touch it (`idle`; stt-mram only, as sram would lose its content). `drowsy`, for sram: `empty`, and
    words that hold data but are not used keep them at a lower voltage."""
    gated_leakage: Share = 0.1
    """Share of the leakage that remains where power is off."""
    drowsy_leakage: Share = 0.15
    """Share of the leakage that remains of words that are drowsy."""
    wakeup_latency: Time = written("1 cycle")
    """What the first access of the group waits when an op begins for which drowsy words wake (stall reason
    `wakeup`)."""
    iso_area: Flag | None = None
    """Solve this group's capacity under `iso_area_with`; default: the stt-mram groups, if no group says
    true."""
