"""One training step after the other, through the mapped program, on what the banks hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from accelsim.graph.ir import Graph
from accelsim.machine import Touch, run_program
from accelsim.program.kernel_jobs import jobs_of
from accelsim.program.program import Copy, Data, Program
from accelsim.resolve.machine import Machine
from accelsim.resolve.shape import array_shape
from accelsim.train.bittrue.banks import Bank, Books, Dram
from accelsim.train.bittrue.cells import Cells, Physics
from accelsim.train.bittrue.coded import CodedCells
from accelsim.train.bittrue.kernels import kernel_run
from accelsim.train.bittrue.script import Event, Script
from accelsim.train.bittrue.words import Places, Spot, Words, decoded, encoded, is_number, repacked
from accelsim.train.draws import Stream
from accelsim.train.formats import format_of

Progress = Callable[[int, int], None]


class Plan:
    """A mapped step, simulated once: what happens when. Shared by all trainings of an experiment.

    Attributes:
        period_ps: From one step's beginning to the next one's.
        events: The step's, in order of time.
    """

    def __init__(
        self, machine: Machine, graph: Graph, program: Program, progress: Progress | None = None
    ) -> None:
        self.machine = machine
        self.graph = graph
        self.program = program
        self.places = Places(program)
        array, vector = array_shape(machine), machine.vector
        ops = {op.name: op for op in graph.ops}
        self.runs = [kernel_run(graph, k, ops) for k in program.kernels]
        jobs = {k.index: jobs_of(k, array, vector.cycles, vector.lanes) for k in program.kernels}
        touches: list[Touch] = []
        recorder = run_program(machine, program, progress=progress, exact=True, observe=touches.append)
        self.period_ps = recorder.end_ps + machine.host_gap_ps
        self.loss = 0.0
        last = [op for op in graph.ops if op.layer == "loss" and op.phase == "forward"][-1]
        where = next(k.index for k in program.kernels if any(p.op == last.name for p in k.parts))
        name = last.outputs[0].tensor

        def note() -> None:
            self.runs[where].evaluate()
            self.loss = float(self.runs[where].results[name][0])

        script = Script(program, array, jobs, self.runs, self.places)
        self.events: list[Event] = script.events(touches, {where: note})
        self.after = {t.next_of: n for n, t in graph.tensors.items() if t.next_of}
        self.data = _data_of(program)
        self.carried: dict[str, Copy] = {
            c.data.tensor: c for c in program.copies if c.carried_from is not None
        }

    def left_over(self, name: str) -> Spot:
        """Return where a tensor lies that the step before has left in its bank."""
        copy = self.carried[name]
        return self.places.whole(copy.data, copy.region)


def _data_of(program: Program) -> dict[str, Data]:
    found = {b.data.tensor: b.data for k in program.kernels for b in (*k.reads, *k.writes)}
    return found | {c.data.tensor: c.data for c in program.copies}


class Steps:
    """The memories of one training, and the steps that it takes."""

    def __init__(
        self, plan: Plan, seed: int, *, errs: bool, protect: Sequence[str] = (), zero: bool = False
    ) -> None:
        """Make empty memories.

        Args:
            seed: Of the cells and of what befalls them.
            errs: Whether cells of a device err; else all keep what is written.
            protect: Bit fields that cannot go wrong, as of ``ErrorInjector``.
            zero: Whether units read 0 for what is stored wrong and no finite number.
        """
        self.plan = plan
        self._zero = zero
        self.books = Books()
        self.dram = Dram()
        self.number = 0  # steps taken
        stream = Stream(seed)
        self.banks: dict[str, Bank] = {}
        for group, bank in plan.machine.banks.items():
            nbytes, word = plan.places.used[group], plan.places.bytes[group]
            if errs and bank.device is not None:
                physics, books = Physics.of(bank), self.books
                if bank.ecc is None:
                    self.banks[group] = Cells(group, nbytes, word, books, physics, stream, protect)
                else:
                    self.banks[group] = CodedCells(
                        group, nbytes, word, books, physics, stream, scrub_ps=bank.scrub_ps
                    )
            else:
                self.banks[group] = Bank(group, nbytes, word, self.books)

    def start(self, values: Mapping[str, torch.Tensor]) -> None:
        """Begin with ``values`` by tensor, flat; they lie there as after an update without errors."""
        for name, numbers in values.items():
            if name in self.plan.data:
                self._put(name, numbers)
        for event in self.plan.events:  # when everything was touched last in the step before
            if event.spot is not None:
                self.banks[event.spot.group].passed(event.spot, event.at_ps - self.plan.period_ps)

    def _put(self, name: str, numbers: torch.Tensor) -> None:
        stored = self.plan.data[name].element_format
        if name in self.plan.carried:
            spot = self.plan.left_over(name)
            bank = self.banks[spot.group]
            bank.put(spot, encoded(numbers, stored, bank.word))
        else:
            self.dram.put(name, encoded(numbers, stored, self.plan.data[name].element_bytes))

    def step(self, batch: Mapping[str, torch.Tensor]) -> float:
        """Take one step on ``batch``, flat tensors by name; return the loss as it was computed."""
        plan, begun = self.plan, self.number * self.plan.period_ps
        for name, numbers in batch.items():
            if name in plan.data:
                self._put(name, numbers)
        for run in plan.runs:
            run.begin()
        for number, event in enumerate(plan.events):
            self._carry_out(event, begun + event.at_ps, (self.number, number))
        self._hand_over()
        self.number += 1
        return plan.loss

    def _carry_out(self, event: Event, at_ps: int, place: tuple[int, int]) -> None:
        spot = event.spot
        if spot is None:
            assert event.work is not None
            event.work()
            return
        bank = self.banks[spot.group]
        run = self.plan.runs[event.kernel]
        if event.kind == "read":
            run.take(event.index, spot, self._settled(spot, *bank.read(spot, at_ps, place)))
        elif event.kind == "write":
            made = run.result(spot.data.tensor, spot.elements)
            bank.write(spot, encoded(made, spot.data.element_format, bank.word), None, at_ps, place)
        elif event.kind == "fill":
            words, wrong = self.dram.read(spot, bank.word)
            bank.write(spot, words, wrong, at_ps, place)
        else:
            self.dram.write(spot, *bank.read(spot, at_ps, place))

    def _settled(self, spot: Spot, words: Words, wrong: Words) -> Words:
        """Return what a unit reads: of wrong words that are no finite numbers 0, if that is the policy."""
        if not wrong.any() or not is_number(spot.data.element_format):
            return words
        form = format_of(spot.data.element_format)
        whole = repacked(words, form.width // 8)
        bad = form.non_finite(whole) & (repacked(wrong, form.width // 8) != 0)
        count = int(bad.sum())
        self.books.counts.not_finite(spot.role, count, self.number + 1)
        if not count or not self._zero:
            return words
        return repacked(np.where(bad, form.unsigned.type(0), whole), self.plan.places.bytes[spot.group])

    def _hand_over(self) -> None:
        """Let the next step find what this one has made in the places of what it began with."""
        for old, new in self.plan.after.items():
            if old not in self.plan.carried:
                self.dram.rename(new, old)
        given = {n for n, t in self.plan.graph.tensors.items() if t.phase is None}
        self.dram.keep(given)

    def value(self, name: str) -> torch.Tensor:
        """Return a tensor that the next step begins with as it is stored now, flat."""
        stored = self.plan.data[name].element_format
        if name not in self.plan.carried:
            return decoded(self.dram.whole(name), stored)
        spot = self.plan.left_over(name)
        return decoded(self.banks[spot.group].get(spot), stored)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""
        banks = {name: bank.state() for name, bank in self.banks.items()}
        return {
            "number": self.number,
            "banks": banks,
            "dram": self.dram.state(),
            "books": self.books.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state``."""
        self.number = state["number"]
        for name, bank in self.banks.items():
            bank.restore(state["banks"][name])
        self.dram.restore(state["dram"])
        self.books.restore(state["books"])
