"""A bank group of the resolved machine, its cells and its techniques, in the units of ``machine``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from accelsim.words import Technology


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """The magnetic tunnel junction of a group's cells. The parallel state stores 0, the antiparallel 1.

    Attributes:
        law: Name of the device laws that judge it (docs/physics.md).
        temperature_k: Temperature at which it works: the machine's.
        delta: Mean thermal stability factor at ``reference_k``, of the mean of both states.
        state_asymmetry: The parallel state has ``delta (1 + a)``, the antiparallel ``delta (1 - a)``.
        delta_cv: Static spread of delta over cells, standard deviation / mean.
        overdrive: Write current / critical current of the harder direction, 0 -> 1.
        write_asymmetry: Critical current of 0 -> 1 over that of 1 -> 0.
        overdrive_sigma: Spread of the overdrive over cells, absolute.
        read_overdrive: Read current / critical current.
        read_disturbs: The stored bit that the read current may flip.
        sense_error: Probability that a read delivers a right bit wrong, once.
        cell_ohm: Resistance of the write path that ``cell_write_pj`` assumes.
        endurance: Writes that a cell bears.
    """

    name: str
    law: str
    temperature_k: float
    reference_k: float
    delta: float
    state_asymmetry: float
    delta_cv: float
    tau0_s: float
    intrinsic_time_s: float
    overdrive: float
    write_asymmetry: float
    overdrive_sigma: float
    pulse_s: float
    write_current_a: float
    cell_ohm: float
    read_overdrive: float
    read_s: float
    read_disturbs: Literal[0, 1]
    sense_error: float
    endurance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ecc:
    """Single error correction, double error detection over words of ``data_bits``."""

    data_bits: int
    check_bits: int
    latency_ps: int

    @property
    def code_bits(self) -> int:
        """Bits of a code word."""
        return self.data_bits + self.check_bits


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteBuffer:
    """A buffer of words before the cells of each bank.

    Attributes:
        entries: Words that it holds, per bank.
        high, low: Levels in words: from ``high`` on the cells are written before anything is read, down to
            ``low``.
        coalescing: A write of a word that is in the buffer takes no other entry.
        forwarding: A read of a word that is in the buffer is served from there.
        cycle_ps: Of a beat's way in, or out to a reader.
        access_pj: Of a word written to an entry, or read from it.
    """

    entries: int
    high: int
    low: int
    coalescing: bool
    forwarding: bool
    cycle_ps: int
    access_pj: float
    area_mm2: float = 0.0  # of all buffers of the group; in its ``area_mm2``, too


@dataclass(frozen=True, slots=True, kw_only=True)
class BankGroup:
    """``count`` equal banks of ``subbanks`` macros each. Word energies and cycles are one macro's.

    Times and energies are those of a whole access, whatever techniques it takes part in: check bits,
    the read of a differential write, verification and the retries to be expected.

    Attributes:
        capacity_bytes: Of data in the whole group; check bits take the rest of the cells.
        write_pj: A word's write with ``write_cell_pj`` for its cells, as if every bit were written.
        write_cell_pj: The part of ``write_pj`` that is spent in cells.
        unchanged_cost, changed_cost, falling_cost: What a bit that keeps its value, goes from 0 to 1, or from
            1 to 0, costs of its share of ``write_cell_pj``; 1 unless early termination or differential writes
            save it.
        scrub_ps: Every word is read, corrected and written back once in this time; 0: never.
        refresh_ps: Every word is read and written back, uncorrected, once in this time; 0: never.
        refresh_model: Whether errors know of refresh: ``literature`` lets it reset the dwell.
        write_retries: Times that a failed write is tried again.
        max_dwell_ps: Data that would lie longer are not kept here by the mapping; 0: no limit.
        gated_leakage: Share of the leakage that remains where power is gated.
        drowsy_leakage: Share of the leakage that remains of words that are drowsy.
        wakeup_ps: What the first access waits after an op has begun for which drowsy words wake.
    """

    name: str
    technology: Technology
    count: int
    subbanks: int
    capacity_bytes: int  # of the whole group
    word_bytes: int
    ports: Literal["1rw", "1r1w"]
    read_latency_ps: int
    read_cycle_ps: int
    write_cycle_ps: int
    read_pj: float  # per word
    write_pj: float
    leakage_mw: float  # of the whole group
    area_mm2: float
    cell: str = ""  # of the array table
    cell_current_a: float = 0.0  # that its access transistor gives; 0: of no STT-MRAM cell, or unknown
    cell_pulse_s: float = 0.0  # the macro's own
    write_cell_pj: float = 0.0
    unchanged_cost: float = 1.0
    changed_cost: float = 1.0
    falling_cost: float = 1.0
    device: Device | None = None
    ecc: Ecc | None = None
    scrub_ps: int = 0
    refresh_ps: int = 0
    refresh_model: Literal["physical", "literature"] = "physical"
    write_retries: int = 0
    max_dwell_ps: int = 0
    power_gating: Literal["none", "empty", "idle", "drowsy"] = "none"
    gated_leakage: float = 0.0
    drowsy_leakage: float = 1.0
    wakeup_ps: int = 0
    model: str = ""  # plug-in that times it
    model_identity: str = ""  # with the distribution and its version
    buffer: WriteBuffer | None = None

    @property
    def lanes(self) -> int:
        """Macros that serve words at the same time."""
        return self.count * self.subbanks

    def chunk_of(self, most: int) -> int:
        """Return how many bytes, up to ``most``, fill whole beats of all macros; a beat at least."""
        beat = self.lanes * self.word_bytes
        return max(1, most // beat) * beat
