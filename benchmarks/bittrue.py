"""Where the statistical error profile agrees with cells that lose actual bits: ``docs/bit-true.md``.

    python benchmarks/bittrue.py --device frail.toml [--workload lenet5] [--seeds 5] [--steps 10]

Trains WORKLOAD bit by bit, for a few steps per seed, and prints, per step: wrong bits at reads by role and
cause as the profile expects and as they were; the same expectation told the data; and what no profile
tells, which bits they are.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from accelsim.config.locate import find
from accelsim.frontend.spec import load
from accelsim.machine import run_program
from accelsim.reliability import error_columns
from accelsim.resolve import load_machine
from accelsim.resolve.machine import Machine
from accelsim.run.columns import residency_columns
from accelsim.trace.schema import ERRORS, RESIDENCIES
from accelsim.trace.tables import table
from accelsim.train.bittrue.banks import CAUSES
from accelsim.train.bittrue.script import Event
from accelsim.train.bittrue.step import Plan, Steps
from accelsim.train.bittrue.training import batch_of, initial, prepared
from accelsim.train.bittrue.words import Spot, Words
from accelsim.train.data.batches import Batches
from accelsim.train.data.named import load_data
from accelsim.train.task import new_model, task_of
from accelsim.words import ROLES

PROTECT = ("sign", "exponent")
Bits = NDArray[np.bool_]
Read = tuple[str, int]  # a tensor, and the kernel that reads it


@dataclass
class Seen:
    """What units read in one step: the wrong bits of every element, by tensor and reader."""

    wrong: dict[Read, Bits] = field(default_factory=dict)


class Watched(Steps):
    """Steps that remember which bits were read wrong."""

    seen = Seen()

    def _settled(self, spot: Spot, words: Words, wrong: Words) -> Words:
        self._last = spot, wrong
        return super()._settled(spot, words, wrong)

    def _carry_out(self, event: Event, at_ps: int, place: tuple[int, int]) -> None:
        super()._carry_out(event, at_ps, place)
        if event.kind != "read":
            return
        spot, wrong = self._last
        width = 8 * spot.data.element_bytes
        bits = np.unpackbits(np.ascontiguousarray(wrong).view("u1"), bitorder="little").astype(bool)
        elements = int(np.prod(spot.data.shape))
        key = (spot.data.tensor, event.kernel)
        whole = self.seen.wrong.setdefault(key, np.zeros((elements, width), dtype=bool))
        whole[spot.elements] = bits.reshape(-1, width)


def profile(machine: Machine, plan: Plan, toggle: dict[str, float]) -> Counter[tuple[str, str]]:
    """Return the wrong bits that the profile expects at the reads of a step, and the bits read."""
    residencies = residency_columns(run_program(machine, plan.program), RESIDENCIES)
    found: Counter[tuple[str, str]] = Counter()
    for row in table(ERRORS, error_columns(machine.banks, toggle, residencies)).to_pylist():
        found[row["role"], "bits"] += row["bits"]
        for cause in (*CAUSES, "stored"):
            found[row["role"], cause] += row["bits"] * row[f"p_{cause}"]
    return found


def mantissa_share(plan: Plan) -> dict[str, float]:
    """Return the share of a role's bits that are not protected."""
    width = {"bf16": (7, 16), "fp32": (23, 32), "fp16": (10, 16)}
    found = {}
    for data in plan.data.values():
        if data.element_format in width:
            low, all_bits = width[data.element_format]
            found[data.role] = low / all_bits
    return found


def main() -> None:
    """Run the study and print its tables."""
    args = arguments()
    machine = load_machine("edge-hybrid", (f"bank.mram.device={args.device}",))
    workload = load(find("workloads", args.workload))
    graph, program = prepared(machine, workload, None)
    plan, task = Plan(machine, graph, program), task_of(workload)
    counts: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    data: list[dict[str, Counter[str]]] = []
    by_step: list[list[Seen]] = []
    for seed in range(args.seeds):
        steps = Watched(plan, seed, errs=True, protect=PROTECT)
        model, _ = new_model(workload, seed)
        steps.start(initial(model, graph))
        batches = Batches(load_data(None, task), workload.spec.batch, seed)
        by_step.append([])
        for number in range(args.steps + 1):
            steps.seen = Seen()
            steps.step(batch_of(workload, task, *batches.of(0, number)))
            if number == 0:  # begins with weights without errors
                clean = {name: {} for name in TALLIES}
                steps.books.restore({**steps.books.state(), **clean})
                continue
            by_step[-1].append(steps.seen)
        bits = steps.books.bits()
        data.append({name: Counter(bits[name]) for name in ("exposed", "set_bits", "written", "changed")})
        for role in ROLES:
            wrong = bits["wrong"].get(role, {})
            for cause in CAUSES:
                counts[role, cause].append(wrong.get(cause, 0) / args.steps)
            counts[role, "stored"].append(sum(wrong.get(c, 0) for c in CAUSES) / args.steps)
    print_counts(machine, plan, counts, data)
    print_places(by_step)


TALLIES = ("wrong", "read", "delivered", "exposed", "set_bits", "written", "changed")


def arguments() -> argparse.Namespace:
    """Return the command line's."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--device", type=Path, required=True)
    parser.add_argument("--workload", default="lenet5")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    return parser.parse_args()


def print_counts(
    machine: Machine,
    plan: Plan,
    counts: dict[tuple[str, str], list[float]],
    data: list[dict[str, Counter[str]]],
) -> None:
    """Print wrong bits at reads: expected, expected with the data's own toggles and ones, and seen."""
    summed: dict[str, Counter[str]] = {}
    for name in data[0]:
        summed[name] = sum((d[name] for d in data), Counter())
    toggle = {r: summed["changed"][r] / summed["written"][r] for r in summed["written"]}
    ones = {r: summed["set_bits"][r] / summed["exposed"][r] for r in summed["set_bits"]}
    share = mantissa_share(plan)
    blind = profile(machine, plan, dict.fromkeys(ROLES, 0.5))
    print("| role | bits changed by a write | bits read that are 1 |\n|---|---:|---:|")
    for role in toggle:
        print(f"| {role} | {toggle[role]:.2f} | {ones.get(role, 0):.2f} |")
    print("\n| role | cause | profile | told the data | bit-true | ratio |\n|---|---|---:|---:|---:|---:|")
    victim = next(b.device.read_disturbs for b in machine.banks.values() if b.device is not None)
    for role in ROLES:
        for cause in (*CAUSES, "stored"):
            expected = blind[role, cause] * share.get(role, 0)
            seen = np.array(counts[role, cause])
            if expected < 1 and seen.mean() < 1:
                continue
            told = expected
            if cause == "write":
                told *= toggle.get(role, 0.5) / 0.5
            if cause == "read_disturb":
                of_ones = ones.get(role, 0.5)
                told *= 2 * (of_ones if victim else 1 - of_ones)
            error = seen.std(ddof=1) / np.sqrt(seen.size) if seen.size > 1 else 0.0
            said = "" if cause in ("stored", "inherited") else f"{told:,.1f}"
            against = told if said else expected
            ratio = seen.mean() / against if against else float("nan")
            print(
                f"| {role} | {cause} | {expected:,.1f} | {said} | {seen.mean():,.1f} +- {error:.1f} "
                f"| {ratio:.2f} |"
            )


def print_places(by_step: list[list[Seen]]) -> None:
    """Print which bits are wrong: again in the next step, again after a refill, and where in a tensor."""
    print("\n| tensor, reader | wrong bits | again in the next step | by chance |\n|---|---:|---:|---:|")
    for key in sorted(by_step[0][0].wrong, key=str):
        pairs = [(a.wrong[key], b.wrong[key]) for s in by_step for a, b in pairwise(s)]
        wrong = sum(int(a.sum()) for a, _ in pairs)
        if wrong < 200 * len(pairs) ** 0.5:
            continue
        both = sum(int((a & b).sum()) for a, b in pairs)
        chance = sum(int(a.sum()) * int(b.sum()) / a.size for a, b in pairs)
        print(
            f"| {key[0]}, {key[1]} | {wrong / len(pairs):,.1f} | {both / wrong:.1%} | {chance / wrong:.2%} |"
        )
    print("\n| tensor, reader | later reader | wrong bits | of those of the first, again | by chance |")
    print("|---|---|---:|---:|---:|")
    steps = [seen for s in by_step for seen in s]
    for tensor in sorted({t for t, _ in steps[0].wrong}):
        readers = sorted(k for t, k in steps[0].wrong if t == tensor)
        for first, later in pairwise(readers):
            pairs = [(s.wrong[tensor, first], s.wrong[tensor, later]) for s in steps]
            wrong = sum(int(a.sum()) for a, _ in pairs)
            if wrong < 200:
                continue
            both = sum(int((a & b).sum()) for a, b in pairs)
            chance = sum(int(a.sum()) * int(b.sum()) / a.size for a, b in pairs)
            print(
                f"| {tensor}, {first} | {later} | {wrong / len(pairs):,.1f} | {both / wrong:.1%} "
                f"| {chance / wrong:.2%} |"
            )
    print("\n| tensor, reader | wrong bits by eighth of the tensor |\n|---|---|")
    for key in sorted(steps[0].wrong, key=str):
        total = sum(int(s.wrong[key].sum()) for s in steps)
        if total < 1500:
            continue
        parts = eighths(s.wrong[key] for s in steps)
        print(f"| {key[0]}, {key[1]} | {' '.join(f'{n:,.1f}' for n in parts / len(steps))} |")


def eighths(masks: Iterable[Bits]) -> NDArray[np.float64]:
    """Return the wrong bits in each eighth of a tensor, all ``masks`` together."""
    total = np.zeros(8)
    for mask in masks:
        total += [part.sum() for part in np.array_split(mask, 8)]
    return total


if __name__ == "__main__":
    main()
