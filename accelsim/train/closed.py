"""The closed loop: a training that changes the machine it is on when its errors cost accuracy."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from accelsim.errors import InputError
from accelsim.resolve.stored import stored_machine
from accelsim.train.apart import outside
from accelsim.train.files import DECISIONS, MACHINE, Log
from accelsim.train.harms import ByFlips, ByProbe, BySensitivity, Harms
from accelsim.train.loop import (
    Decision,
    Easing,
    Limits,
    Offer,
    State,
    choices,
    decide,
    wants_easings,
    wants_offers,
)
from accelsim.train.machines import Machines, Step
from accelsim.train.probe import STEPS, Probe
from accelsim.train.trainer import Case, Check, Setup, Trainer

CLOSED: Final = "closed loop"
LOST: Final = 1.0  # drift beyond which errors have destroyed what was learnt
_GUESSES: Final = 0.1  # of the way from guessing to knowing: who has not come so far has learnt nothing
_KNOWS: Final = 0.3  # and who has come so far has
_KEPT: Final = ("state", "_changed", "_good", "_wasted", "_number")  # in a checkpoint
_LEAST: Final = 1e-12  # of a loss to divide by


def drift_of(check: Check, reference: Sequence[Check]) -> tuple[float, dict[str, float]]:
    """Return how far a training has drifted from the reference, and of what.

    The larger of two: the accuracy that is missing, and the loss that is too much, as a share of the
    reference's loss over its first interval, so that it does not blow up as losses vanish. Minus infinity
    where the reference has diverged: there is nothing to be held against.
    """
    clean = next((r for r in reference if r.step == check.step), None)
    if clean is None:
        return -math.inf, {"loss": check.loss, "accuracy": check.accuracy}
    accuracy = clean.accuracy - check.accuracy
    loss = (check.loss - clean.loss) / max(reference[0].loss, _LEAST)
    told = {
        "loss": check.loss,
        "accuracy": check.accuracy,
        "clean_loss": clean.loss,
        "clean_accuracy": clean.accuracy,
        "drift_loss": loss,
        "drift_accuracy": accuracy,
    }
    return (max(accuracy, loss) if math.isfinite(loss) else math.inf), told


def is_destroyed(drift: float, of: Mapping[str, float], classes: int) -> bool:
    """Return whether errors have destroyed what was learnt.

    That is, the loss has risen by more than the reference's first one, or the training guesses where the
    reference knows.

    >>> told = {"accuracy": 0.1, "clean_accuracy": 0.8}
    >>> is_destroyed(0.7, told, 10), is_destroyed(0.7, {**told, "clean_accuracy": 0.2}, 10)
    (True, False)
    """
    guess = 1 / classes
    learnt, clean = ((of.get(name, 1.0) - guess) / (1 - guess) for name in ("accuracy", "clean_accuracy"))
    return drift > LOST or (learnt < _GUESSES and clean > _KNOWS)


def _price(step: Step, now: Step) -> float:
    """Return the relative rise of energy plus that of time, of a step."""
    return step.energy_pj / now.energy_pj - 1 + step.time_ps / now.time_ps - 1


class ClosedLoop(Trainer):
    """Trains with the errors of a machine, and changes the machine.

    Args:
        reference: The checks of the error-free training of the same seed.
        log: Of decisions; a row that is there already, from before a resume, is not written twice.
    """

    def __init__(
        self,
        setup: Setup,
        seed: int,
        path: Path | None,
        machines: Machines,
        reference: Sequence[Check],
        tolerance: float,
        log: Log,
        told: Callable[[dict[str, Any]], None],
    ) -> None:
        self._machines, self._reference, self._log, self._told = machines, reference, log, told
        self._limits = Limits(tolerance, machines.remedies.most)
        self.state = State()
        self._changed: dict[str, Any] | None = None  # the change whose effect the next check tells
        self._good: dict[str, Any] | None = None  # a copy of the training where all was well
        self._wasted: list[dict[str, Any]] = []  # steps that were taken back, and their price
        self._number = 0  # of decisions
        self._step_now = machines.step({})
        super().__init__(setup, Case(CLOSED, self._step_now.profile()), seed, path)

    @property
    def spent(self) -> tuple[int, float]:
        """Simulated time in ps and energy in pJ, the steps that were lost included."""
        time_ps, energy_pj = super().spent
        time_ps += sum(w["steps"] * w["step_ps"] for w in self._wasted)
        return time_ps, math.fsum([energy_pj, *(w["steps"] * w["step_pj"] for w in self._wasted)])

    @property
    def parts(self) -> list[dict[str, Any]]:
        """The parts of the training, each on one machine."""
        ends = [since for since, _, _ in self._at.prices[1:]] + [self._at.step]
        return [
            {"from_step": since, "to_step": end, "step_ps": ps, "step_pj": pj}
            for end, (since, ps, pj) in zip(ends, self._at.prices, strict=True)
            if since < end or end == self._at.step
        ]

    @property
    def lost(self) -> list[dict[str, Any]]:
        """The steps that were taken back, and what each cost."""
        return list(self._wasted)

    def write_machine(self, path: Path) -> None:
        """Write the machine that the loop has settled on."""
        self._machines.remedies.write(self.state.levels, path, "Where a closed loop of training settled.")

    def _begin(self) -> None:
        self._good = self._good or self._snapshot()

    def _epoch_ended(self) -> None:
        self._good = self._snapshot()  # what lies before a row that has been shown is not done again

    def _snapshot(self) -> dict[str, Any]:
        with outside():  # to copy a weight is no read of it
            return copy.deepcopy(self._state())

    def _after(self, check: Check) -> None:
        drift, of = drift_of(check, self._reference)
        measured = {"drift": drift, **of}
        if is_destroyed(drift, of, self._setup.task.classes) and self._taken_back(check.step, measured):
            return
        more: dict[str, Any] = {}
        if check.step == self.steps:  # nothing comes after it
            decision = Decision("hold", (), self.state, "the training ends")
        elif drift == -math.inf:
            decision = Decision("hold", (), self.state, "the error-free training has diverged")
        else:
            decision, more = self._decided(drift)
        self._act(check.step, check.step, measured, decision, more)
        self._good = self._snapshot()

    def _diverging(self) -> None:
        if any(clean.step >= self._at.step for clean in self._reference):  # else errors are not to blame
            self._taken_back(self._at.step, {"drift": math.inf})

    def _taken_back(self, step: int, measured: Mapping[str, float]) -> bool:
        """Go on from where all was well, on a safer machine; if there is none, leave all as it is."""
        assert self._good is not None
        broken, price = self._snapshot(), self._step_now
        with outside():
            good = copy.deepcopy(self._good)
        self._load(good)
        decision, more = self._decided(math.inf)
        if decision.kind != "tighten":
            self._load(broken)
            return False
        decision = replace(decision, reason="errors have destroyed what was learnt")
        steps = step - self._at.step
        self._wasted.append({"steps": steps, "step_ps": price.time_ps, "step_pj": price.energy_pj})
        self._act(step, self._at.step, measured, decision, {**more, "lost_steps": steps})
        return True

    def _act(
        self,
        step: int,
        at: int,
        measured: Mapping[str, float],
        decision: Decision,
        more: Mapping[str, Any],
    ) -> None:
        """Do what was decided at ``step``, from the step ``at`` on, and log it."""
        drift = measured["drift"] if math.isfinite(measured["drift"]) else None
        effect = self._changed and {**self._changed, "drift_after": drift}
        before, self.state, self._changed = self._step_now, decision.state, None
        if decision.remedies:
            self._move(at)
            self._changed = {"of_step": step, "drift_before": drift}
        self._number += 1
        row = {
            "case": CLOSED,
            "seed": self._seed,
            "number": self._number,
            "step": step,
            "decision": decision.kind,
            "remedies": list(decision.remedies),
            "reason": decision.reason,
            "cause": {k: v if math.isfinite(v) else None for k, v in measured.items()},
            "cost": {"before": before.json(), "after": self._step_now.json()},
            "effect": effect or None,
            "state": self.state.json(),
            "lost_steps": 0,
            **more,
        }
        self._log.add(row)
        self._told(row)

    def _decided(self, drift: float) -> tuple[Decision, dict[str, Any]]:
        """Return the decision, and what the offers rest on."""
        state, limits = self.state, self._limits
        if wants_easings(state, drift, limits):
            with outside():
                easings, told = self._easings()
            return self._possible(decide(state, drift, (), easings, limits)), {"offers": told}
        if not wants_offers(drift, limits):
            return decide(state, drift, (), (), limits), {}
        with outside():
            harms = self._harms()
            offers, told = self._offers(harms)
        more = {"harms": harms.now, "harms_from": harms.source, "offers": told}
        return self._possible(decide(state, drift, offers, (), limits)), more

    def _possible(self, decision: Decision) -> Decision:
        """Return the decision, or as much of it as gives a machine that there can be."""
        if not decision.remedies:
            return decision
        with outside():
            try:
                self._machines.step(decision.state.levels)
            except InputError as fault:
                if len(decision.remedies) == 1:
                    return Decision("hold", (), replace(self.state, slack=0), f"impossible: {fault}")
            else:
                return decision
        first, *others = decision.remedies  # alone it has been simulated
        levels = {**decision.state.levels, **{n: decision.state.levels[n] - 1 for n in others}}
        state = replace(
            decision.state,
            levels={n: level for n, level in levels.items() if level},
        )
        return replace(decision, remedies=(first,), state=state)

    def _harms(self) -> Harms:
        """Return what harms now, by the machine's file, a probe, or, if that finds nothing, the flips."""
        step = self._step_now
        sensitivity = stored_machine(step.run.manifest["machine"], str(step.run.path)).sensitivity
        if sensitivity is not None:
            return BySensitivity(sensitivity, step)
        probed = ByProbe(self._probe(), step)
        return probed if any(probed.now.values()) else ByFlips(step)

    def _probe(self) -> Probe:
        at, count = self._at, len(self._batches)
        assert self.injector is not None
        assert self._setup.validation is not None
        places = [divmod(at.epoch * count + at.number + i, count) for i in range(STEPS)]
        return Probe(
            setup=self._setup,
            seed=self._seed,
            model=self.model.state_dict(),
            optimizer=self.optimizer.state_dict(),
            injector=self.injector.state_dict(),
            batches=[self._batches.of(epoch, number) for epoch, number in places],
            validation=self._setup.validation,
        )

    def _offers(self, harms: Harms) -> tuple[list[Offer], list[dict[str, Any]]]:
        """Simulate what may be offered; return the offers, and, for the log, those refused too."""
        now = self._step_now
        offers: list[Offer] = []
        told: list[dict[str, Any]] = []
        for names in choices(self.state, self._limits):
            levels = {**self.state.levels, **{n: self.state.levels.get(n, 0) + 1 for n in names}}
            try:
                step = self._machines.step(levels)
            except InputError as fault:
                told.append({"remedies": list(names), "refused": str(fault)})
                continue
            price = _price(step, now)
            gone = math.fsum(harms.now.values()) - math.fsum(harms.on(step).values())
            offers.append(Offer(names, price, gone))
            told.append({"remedies": list(names), "price": price, "removed": gone, **step.json()})
        return offers, told

    def _easings(self) -> tuple[list[Easing], list[dict[str, Any]]]:
        """Simulate every remedy lowered by a level, and try those that save; told twice: once for the log."""
        now, probe = self._step_now, self._probe()
        easings: list[Easing] = []
        told: list[dict[str, Any]] = []
        for name in self.state.levels:
            levels = {**self.state.levels, name: self.state.levels[name] - 1}
            try:
                step = self._machines.step(levels)
            except InputError as fault:
                told.append({"remedies": [name], "refused": str(fault)})
                continue
            price = _price(step, now)
            risk = probe.harm(step.profile()) / self._reference[0].loss if price < 0 else math.inf
            easings.append(Easing(name, price, risk))
            risk_told = risk if math.isfinite(risk) else None
            told.append({"remedies": [name], "price": price, "risk": risk_told, **step.json()})
        return easings, told

    def _move(self, step: int) -> None:
        """Go on with the machine of the state."""
        with outside():
            self._step_now = self._machines.step(self.state.levels)
            profile = self._step_now.profile()
        assert self.injector is not None
        self.injector.use(profile)
        self._at.prices.append((step, self._step_now.time_ps, self._step_now.energy_pj))

    def _more(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _KEPT}

    def _restore(self, more: dict[str, Any]) -> None:
        for name in _KEPT:
            setattr(self, name, more[name])
        with outside():
            self._step_now = self._machines.step(self.state.levels)
            profile = self._step_now.profile()
        assert self.injector is not None
        self.injector.use(profile, rewritten=False)


class Loop:
    """The closed loops of an experiment, one per seed.

    Attributes:
        settled: By seed: the file of the machine that it settled on, its levels, and the parts on the way.
    """

    def __init__(
        self,
        setup: Setup,
        folder: Path,
        machines: Machines,
        tolerance: float,
        told: Callable[[dict[str, Any]], None],
    ) -> None:
        self.settled: dict[str, Any] = {}
        self._setup, self._folder, self._machines = setup, folder, machines
        self._tolerance, self._told = tolerance, told
        self._log = Log(folder / DECISIONS, ("case", "seed", "number"))

    def trainer(self, seed: int, path: Path, reference: Sequence[Check]) -> ClosedLoop:
        """Return the training of ``seed``, beside the checks of the error-free one."""
        return ClosedLoop(
            self._setup, seed, path, self._machines, reference, self._tolerance, self._log, self._told
        )

    def settle(self, trainer: ClosedLoop, seed: int) -> None:
        """Write the machine of a training that has ended, and keep what it took."""
        name = MACHINE if seed == 0 else MACHINE.replace(".", f"-{seed}.")
        trainer.write_machine(self._folder / name)
        decisions = [row for row in self._log.rows if row["seed"] == seed]
        time_ps, energy_pj = trainer.spent
        self.settled[str(seed)] = {
            "machine": name,
            "levels": dict(trainer.state.levels),
            "last_drift": decisions[-1]["cause"]["drift"] if decisions else None,
            "changes": sum(row["decision"] != "hold" for row in decisions),
            "time_ps": time_ps,
            "energy_pj": energy_pj,
            "parts": trainer.parts,
            "lost": trainer.lost,
        }
