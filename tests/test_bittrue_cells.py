"""Cells that lose bits one by one, held against the error profile of the very same run, and against laws."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from accelsim.config.locate import shipped
from accelsim.frontend.spec import load
from accelsim.machine import run_program
from accelsim.program.program import Data
from accelsim.reliability import error_columns
from accelsim.resolve import load_machine
from accelsim.resolve.device import load_device
from accelsim.resolve.machine import Machine
from accelsim.run.columns import residency_columns
from accelsim.trace.schema import ERRORS, RESIDENCIES
from accelsim.trace.tables import table
from accelsim.train.bittrue import step as steps_of
from accelsim.train.bittrue.banks import Books
from accelsim.train.bittrue.cells import Cells, Physics
from accelsim.train.bittrue.coded import CODE, CodedCells
from accelsim.train.bittrue.step import Plan, Steps
from accelsim.train.bittrue.training import batch_of, initial, prepared
from accelsim.train.bittrue.words import Spot, Words
from accelsim.train.draws import Stream
from accelsim.train.task import new_model, task_of
from accelsim.words import ROLES

pytestmark = pytest.mark.usefixtures("one_thread")

US = 10**6
SEEDS, STEPS = 8, 3  # each seed has cells of its own; the first step begins without errors and is left out
# errors of 1e-5 to 1e-3 by every cause, so that causes hardly meet in one bit
FRAIL = replace(
    load_device("mram-26us", 300.0),
    delta=20.0,
    reference_k=300.0,
    delta_cv=0.03,
    state_asymmetry=0.0,
    overdrive=3.2,
    write_asymmetry=1.0,
    read_overdrive=0.22,
    read_s=3e-9,
    read_disturbs=0,
    sense_error=5e-5,
)


class Scrambled(Cells):
    """Cells behind a scrambler, as some memories have: what is stored is random, half of it ones.

    The profile knows no data: it takes half of the bits to be ones, and half of them to change.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.pad = np.zeros_like(self.data)
        self.random = np.random.default_rng(7)

    def _new_pad(self, spot: Spot, words: Words) -> Words:
        pad = self.random.integers(0, 1 << self._width, words.size).astype(words.dtype)
        self.pad[spot.at] = pad
        return pad

    def write(self, spot: Spot, words: Words, *rest: Any) -> None:
        super().write(spot, words ^ self._new_pad(spot, words), *rest)

    def put(self, spot: Spot, words: Words) -> None:
        super().put(spot, words ^ self._new_pad(spot, words))

    def read(self, spot: Spot, at_ps: int, place: tuple[int, ...]) -> tuple[Words, Words]:
        words, wrong = super().read(spot, at_ps, place)
        return words ^ self.pad[spot.at], wrong


def frail(**device: Any) -> Machine:
    machine = load_machine("edge-hybrid", ("bank.mram.device=mram-26us", "host.gap=2 us"))
    bank = replace(machine.banks["mram"], device=replace(FRAIL, **device))
    return replace(machine, banks={**machine.banks, "mram": bank})


def test_wrong_bits_at_reads_are_those_of_the_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    """By role and cause, over the steps of a training: 3 sigma, sigma from one set of cells to another."""
    monkeypatch.setattr(steps_of, "Cells", Scrambled)
    machine = frail()
    workload = load(shipped("workloads") / "lenet-tinydnn.toml", batch=8)
    graph, program = prepared(machine, workload, 8)
    residencies = residency_columns(run_program(machine, program), RESIDENCIES)
    columns = error_columns(machine.banks, dict.fromkeys(ROLES, 0.5), residencies)
    wanted: defaultdict[tuple[str, str], float] = defaultdict(float)
    bits: defaultdict[str, int] = defaultdict(int)
    for row in table(ERRORS, columns).to_pylist():
        bits[row["role"]] += row["bits"]
        for cause in ("write", "retention", "read_disturb", "sense", "inherited", "stored"):
            wanted[row["role"], cause] += row["bits"] * row[f"p_{cause}"]

    plan, task = Plan(machine, graph, program), task_of(workload)
    seen: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for seed in range(SEEDS):
        steps = Steps(plan, seed, errs=True)
        steps.start(initial(new_model(workload, seed)[0], graph))
        generator = torch.Generator().manual_seed(seed)
        for number in range(STEPS):
            x = torch.randn((8, *task.shape), generator=generator)
            steps.step(batch_of(workload, task, x, torch.randint(10, (8,), generator=generator)))
            if number == 0:
                steps.books = new_books(steps)
        told = steps.books.bits()
        assert {r: n // (STEPS - 1) for r, n in told["read"].items()} == bits
        for role, cause in wanted:
            wrong = told["wrong"].get(role, {})
            count = wrong.get(cause, 0)
            if cause == "stored":
                count = sum(n for c, n in wrong.items() if c != "sense")
            seen[role, cause].append(count / (STEPS - 1))

    compared, strange = 0, []
    for key, want in wanted.items():
        found = np.array(seen[key])
        if want * SEEDS * (STEPS - 1) < 20:
            assert found.sum() < 60, key
            continue
        sigma = max(found.std(ddof=1), np.sqrt(want / (STEPS - 1))) / np.sqrt(SEEDS)
        compared += 1
        strange.append((abs(found.mean() - want) / sigma, key, want, float(found.mean())))
    strange.sort(reverse=True)
    assert compared >= 20
    assert strange[0][0] < 4, strange[:3]
    assert sum(z > 3 for z, *_ in strange) <= 1, strange[:3]


def new_books(steps: Steps) -> Books:
    books = Books()
    for bank in steps.banks.values():
        bank.books = books
    return books


DATA = Data(
    tensor="t", role="weight", layer="", phase=None, shape=(4096,), element_bytes=2, element_format="bf16"
)
SPOT = Spot(DATA, "mram", slice(0, 4096), slice(0, 4096), 4096)


def cells(seed: int = 0, protect: tuple[str, ...] = (), **device: Any) -> Cells:
    physics = Physics.of(frail(**device).banks["mram"])
    return Cells("mram", 8192, 2, Books(), physics, Stream(seed), protect)


def test_a_flip_stays_until_the_next_write_and_goes_with_the_data() -> None:
    """Two reads at one time deliver the same; what a bank was given wrong is wrong in it, and counted so."""
    bank = cells(overdrive=6.0, read_overdrive=0.0, sense_error=0.0)
    data = np.random.default_rng(1).integers(0, 1 << 16, 4096).astype("u2")
    bank.put(SPOT, data)
    words, wrong = bank.read(SPOT, 300 * US, (0, 1))
    again, _ = bank.read(SPOT, 300 * US, (0, 2))
    assert wrong.any()
    assert np.array_equal(words ^ data, wrong)
    assert np.array_equal(words, again)
    elsewhere = cells(seed=1, overdrive=6.0)
    elsewhere.write(SPOT, words, wrong, 0, (0, 1))
    got, also = elsewhere.read(SPOT, 0, (0, 2))
    assert np.array_equal(got ^ data, also)
    count = int(np.bitwise_count(wrong).sum())
    assert abs(elsewhere.books.bits()["wrong"]["weight"]["inherited"] - count) <= 2
    bank.write(SPOT, data, None, 300 * US, (0, 3))
    assert not bank.read(SPOT, 300 * US, (0, 4))[1].any()


def test_time_may_be_cut_anywhere() -> None:
    """A dwell of 3 ms in twelve reads leaves as many bits wrong as in one; about half of the weakest."""
    data = np.random.default_rng(1).integers(0, 1 << 16, 4096).astype("u2")
    shares = []
    for reads in (1, 12):
        found = []
        for seed in range(8):
            bank = cells(seed, delta=14.0, delta_cv=0.1, read_overdrive=0.0, sense_error=0.0)
            bank.put(SPOT, data)
            for n in range(1, reads + 1):
                wrong = bank.read(SPOT, 3000 * US * n // reads, (seed, n))[1]
            found.append(np.bitwise_count(wrong).mean() / 16)
        shares.append((np.mean(found), np.std(found, ddof=1) / np.sqrt(8)))
    (once, sigma), (often, other) = shares
    assert 0.2 < once < 0.5
    assert abs(once - often) < 4 * np.hypot(sigma, other)


def test_weak_cells_stay_where_they_are() -> None:
    """The bits that one seed loses in two steps are the same ones far oftener than by chance."""
    data = np.random.default_rng(1).integers(0, 1 << 16, 4096).astype("u2")
    lost = []
    for seed, step in ((3, 0), (3, 1), (4, 2)):
        bank = cells(seed, delta=18.0, delta_cv=0.15, read_overdrive=0.0, sense_error=0.0)
        bank.put(SPOT, data)
        lost.append(bank.read(SPOT, 300 * US, (step, 0))[1])
    first, second, other = (np.unpackbits(words.view("u1")) for words in lost)
    chance = first.mean() * first.sum()
    assert (first & second).sum() > 4 * chance
    assert (first & other).sum() < 1.5 * chance


def test_protected_bits_never_flip() -> None:
    """Sign and exponent of bf16 are safe whatever happens to the mantissa."""
    bank = cells(protect=("sign", "exponent"), delta=14.0, overdrive=1.6, sense_error=0.01)
    data = np.random.default_rng(1).integers(0, 1 << 16, 4096).astype("u2")
    bank.write(SPOT, data, None, 0, (0, 0))
    wrong = bank.read(SPOT, 100 * US, (0, 1))[1] | bank.read(SPOT, 200 * US, (0, 2))[1]
    assert np.bitwise_or.reduce(wrong) == 0x7F


def test_equal_seeds_lose_equal_bits_and_only_changed_bits_fail() -> None:
    """What is drawn is named by seed, step and event; rewriting what lies there cannot fail."""
    data = np.random.default_rng(1).integers(0, 1 << 16, 4096).astype("u2")

    def lost(seed: int, place: int) -> Words:
        bank = cells(seed, overdrive=2.0, delta=60.0, delta_cv=0.0, read_overdrive=0.0)
        bank.write(SPOT, data, None, 0, (place, 0))
        before = bank.wrong.copy()
        bank.write(SPOT, bank.data.copy(), None, 0, (place, 1))
        assert not bank.wrong.any()
        return before

    assert lost(5, 0).any()
    assert np.array_equal(lost(5, 0), lost(5, 0))
    assert not np.array_equal(lost(5, 0), lost(5, 1))
    assert not np.array_equal(lost(5, 0), lost(6, 0))


# --- words of a code


def coded(seed: int = 0, scrub_ps: int = 0, **device: Any) -> CodedCells:
    physics = Physics.of(frail(**device).banks["mram"])
    return CodedCells("mram", 8192, 2, Books(), physics, Stream(seed), scrub_ps=scrub_ps)


QUIET: dict[str, Any] = {
    "overdrive": 6.0,
    "read_overdrive": 0.0,
    "sense_error": 0.0,
    "delta": 60.0,
    "delta_cv": 0.0,
}


def test_a_decoder_rights_one_wrong_bit_of_a_word_and_no_two() -> None:
    """Whatever bit it is; the cell stays wrong; two wrong bits are delivered as they are."""
    bank = coded(**QUIET)
    data = np.random.default_rng(1).integers(0, 1 << 16, 4096).astype("u2")
    bank.write(SPOT, data, None, 0, (0, 0))
    every = np.arange(64)  # bit n of code word n
    where, masks = every * 4 + every // 16, (1 << every % 16).astype("u2")
    bank._flip(SPOT, where, np.arange(64), masks, True)
    words, wrong = bank.read(SPOT, 0, (0, 1))
    assert np.array_equal(words, data)
    assert not wrong.any()
    assert int(np.bitwise_count(bank.wrong).sum()) == 64
    bank._flip(SPOT, where[:1] + 2, np.arange(1), masks[:1], True)  # a second one in the first word
    words, wrong = bank.read(SPOT, 0, (0, 2))
    assert np.flatnonzero(wrong).tolist() == [0, 2]
    assert np.array_equal(words ^ data, wrong)


def test_a_partial_write_rights_the_rest_of_its_word() -> None:
    """It reads, corrects, encodes and writes the whole; what it cannot correct looks right from then on."""
    bank = coded(**QUIET)
    data = np.random.default_rng(1).integers(0, 1 << 16, 4096).astype("u2")
    bank.write(SPOT, data, None, 0, (0, 0))
    bank._flip(SPOT, np.array([1, 5, 6]), np.arange(3), np.array([4, 4, 4], "u2"), True)
    for first in (0, 4):
        part = replace(SPOT, at=slice(first, first + 1), elements=slice(first, first + 1), count=1)
        bank.write(part, np.array([7], "u2"), None, 0, (0, 1 + first))
    words, wrong = bank.read(SPOT, 0, (0, 9))
    assert np.flatnonzero(wrong).tolist() == [5, 6]
    assert words[[0, 1, 4]].tolist() == [7, data[1], 7]
    assert not bank.since_coded.any()


@pytest.mark.parametrize("scrub_ps", [0, 100 * US])
def test_words_are_lost_as_often_as_the_profile_says(scrub_ps: int) -> None:
    """Delivered wrong bits after 400 us, from one set of cells to another: 4 sigma; scrub saves most."""
    device: dict[str, Any] = {**QUIET, "delta": 15.0}
    group = replace(frail(**device).banks["mram"], ecc=CODE, scrub_ps=scrub_ps)
    data = np.random.default_rng(1).integers(0, 1 << 16, 4096).astype("u2")
    found = []
    for seed in range(12):
        bank = coded(seed, scrub_ps, **device)
        bank.write(SPOT, data, None, 0, (seed, 0))
        wrong = bank.read(SPOT, 400 * US, (seed, 1))[1]
        found.append(np.bitwise_count(wrong).mean() / 16)
    row = {
        "bank_group": "mram",
        "tensor": "t",
        "role": "weight",
        "copy_class": "t",
        "parent_class": "",
        "origin": "produced",
        "fate": "dropped",
        "phase_written": "forward",
        "phase_read": "forward",
        "layer": "",
        "reader_layer": "",
        "read_index": 0,
        "bin": 0,
        "count": 1,
        "bytes": 8192,
        "reads": 1,
        "dwell_byte_ps": 8192 * 400 * US,
        "gap_byte_ps": 8192 * 400 * US,
    }
    columns = error_columns({"mram": group}, {}, {name: [value] for name, value in row.items()})
    (want,) = columns["p_total"]
    sigma = np.std(found, ddof=1) / np.sqrt(12)
    assert want > 5e-4
    assert abs(np.mean(found) - want) < 4 * sigma
