"""What the mapper took, and what else it had: plans, and tiles of every kernel, with their estimated costs.

Nothing is searched for it: other plans are those that the search costed in whole, other tiles the next ones
of the tables that it made.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from accelsim.geometry import Axis
from accelsim.mapping.books import stretches
from accelsim.mapping.codes import Codes
from accelsim.mapping.costs import Cost, Costs
from accelsim.mapping.goal import Key
from accelsim.mapping.planner import Place, Planner, Trial
from accelsim.mapping.problem import SIDES, Budget
from accelsim.mapping.sizes import points_of, size_of
from accelsim.mapping.storage import Life
from accelsim.mapping.tiling import Table
from accelsim.mapping.traffic import Traffic

OTHERS = 3  # plans, and tiles of a kernel, beside those taken
TRIED = 4  # plans that are costed for their own sake, at most
NAMED = 8  # tensors and ops in which a plan differs that are named

Entries = dict[Table, list[int]]
Record = dict[str, Any]


class Explanation:
    """The record of one search: ``mapping.json`` of a run."""

    def __init__(self, planner: Planner, taken: Trial, trials: Sequence[Trial]) -> None:
        self.planner = planner
        self.taken = taken
        self.costs = planner.known_costs(taken)
        assert self.costs is not None
        self.others = self._others(trials)
        self._next: dict[tuple[Table, Budget], list[int]] = {}
        self._traffic: dict[Table, tuple[dict[int, int], Traffic]] = {}
        self._count_traffic()

    def record(self) -> Record:
        """Return the record, of numbers, texts, lists and tables."""
        planner, kernels = self.planner, self.taken.kernels
        assert self.costs is not None
        return {
            "objective": planner.machine.mapping.objective,
            "machine": planner.machine.name,
            "workload": planner.graph.name,
            "plan": self._plan(self.taken, self.costs),
            "other_plans": [
                {**self._plan(trial, costs), "differs": self._differs(trial, costs)}
                for trial, costs in self.others
            ],
            "kernels": [self._kernel(p, c) for p, c in zip(kernels, self.costs, strict=True)],
            "tensors": {key: self._tensor(life) for key, life in planner.fields.lives.items()},
            **self._orders(),
        }

    def _orders(self) -> Record:
        """Return the tensors that are not stored as torch has them, if there are any."""
        data = [life.data for life in self.planner.fields.lives.values()]
        found = {d.tensor: {"dimensions": list(d.order), "second_of": d.twin_of} for d in data if d.order}
        return {"orders": found} if found else {}

    # -- plans -----------------------------------------------------------------------------------

    def _others(self, trials: Sequence[Trial]) -> list[tuple[Trial, list[Cost]]]:
        """Return the best plans that the search costed in whole and that are not the one taken.

        Where these are few, also some that take no new table of tiles.
        """
        planner, rest = self.planner, []
        assert self.costs is not None
        seen = [_identity(self.taken, self.costs)]
        found: list[tuple[Key, int, Trial, list[Cost]]] = []

        def note(trial: Trial, costs: list[Cost] | None) -> None:
            if costs is not None and (identity := _identity(trial, costs)) not in seen:
                seen.append(identity)
                found.append((planner.key(planner.total(trial, costs)), trial.number, trial, costs))

        for trial in trials:
            costs = planner.known_costs(trial)
            note(trial, costs)
            if costs is None:
                rest.append(trial)
        for trial in sorted(rest, key=lambda t: (t.bound, t.number))[:TRIED]:
            if len(found) < OTHERS:
                note(trial, planner.cheap_costs(trial))
        return [(trial, costs) for _, _, trial, costs in sorted(found, key=lambda f: f[:2])[:OTHERS]]

    def _plan(self, trial: Trial, costs: list[Cost]) -> Record:
        planner = self.planner
        amounts = [self._amounts(p[0], c) for p, c in zip(trial.kernels, costs, strict=True)]
        evicted_pj = planner.ground.evictions(trial.residency)[1]
        gap_pj = planner.machine.host_gap_ps * planner.prices.standing
        return {
            "planned_capacity_bytes": dict(trial.capacity),
            "ranked_by": trial.ranking,
            "time_ps": sum(a[0] for a in amounts),
            "compared_time_ps": planner.estimated_ps(trial, costs),  # of the plan taken: that of the report
            "dram_bytes": planner.total(trial, costs)[1],
            "energy_pj": sum(a[1] for a in amounts) + round(evicted_pj + gap_pj),
            "mram_written_bytes": sum(a[2] for a in amounts),
            "kept_tensors": len(trial.residency.kept) + len(trial.residency.pinned),
        }

    def _differs(self, trial: Trial, costs: list[Cost]) -> Record:
        """Return the tensors that another plan keeps elsewhere, and the ops that it cuts in another way."""
        mine, its = self.taken.residency, trial.residency
        tensors = [
            name
            for name in self.planner.fields.lives
            if (mine.group.get(name), mine.kept.get(name), mine.pinned.get(name))
            != (its.group.get(name), its.kept.get(name), its.pinned.get(name))
        ]
        assert self.costs is not None
        ops = [
            place[0].draft.leader.name
            for place, a, b in zip(trial.kernels, self.costs, costs, strict=True)
            if (a.table, a.entry, a.slab, a.where) != (b.table, b.entry, b.slab, b.where)
        ]
        return {"tensors": _named(tensors), "ops": _named(ops)}

    # -- kernels ---------------------------------------------------------------------------------

    def _kernel(self, place: Place, cost: Cost) -> Record:
        costs = place[0]
        ops = [op.name for op in costs.draft.ops]
        operands = [o.tensor for o, _ in (*costs.draft.reads, *costs.draft.writes)]
        buffers = {
            life.data.key: group
            for name, at in zip(operands, cost.where, strict=True)
            if at.place == "buffered"
            for life, (group, _) in zip(self.planner.fields.of(name), at.shares(), strict=True)
        }
        found = {
            "op": ops[0],
            "riders": ops[1:],
            "size": self._sizes(costs),
            **(self._gemm(costs, cost) if cost.table is not None else self._slab(costs, cost)),
            "buffers": buffers,
            **self._estimate(costs, cost),
        }
        if cost.table is not None:
            found["others"] = [
                {**self._tile(cost.table, entry), **self._estimate(costs, cost, entry)}
                for entry in self._next[cost.table, costs.budget(place[2])]
                if entry != cost.entry
            ][:OTHERS]
        return found

    def _sizes(self, costs: Costs) -> Record:
        gemm, vector = costs.draft.leader.gemm, costs.draft.leader.vector
        if gemm is not None:
            return {side: gemm.extent(side) for side in ("m", "n", "k", "batch")}
        assert vector is not None
        points = 1
        for axis in vector.axes:
            points *= axis.size
        return {"m": points}

    def _gemm(self, costs: Costs, cost: Cost) -> Record:
        gemm = costs.draft.leader.gemm
        assert gemm is not None
        assert cost.table is not None
        cuts, order, panel, keep = cost.table.shown(cost.entry)
        axes: dict[str, tuple[Axis, ...]] = dict(zip(SIDES, (gemm.m, gemm.n, gemm.k), strict=True))
        found: Record = {
            "tile": {s: size_of(axes[s], cut) for s, cut in zip(SIDES, cuts, strict=True)},
            "order": "".join(order),
            "hold": [name for name, whole in zip("ab", keep, strict=True) if whole],
        }
        if panel is not None:
            found["panel"] = {panel.side: size_of(axes[panel.side], panel.cut)}
        return found

    def _slab(self, costs: Costs, cost: Cost) -> Record:
        vector, slab = costs.draft.leader.vector, cost.slab
        assert vector is not None
        assert slab is not None
        hold = [costs.draft.reads[i][0].tensor for i in slab.keep]
        return {"tile": {"m": size_of(vector.axes, slab.cut)}, "hold": hold}

    def _tile(self, table: Table, entry: int) -> Record:
        cuts, order, panel, keep = table.shown(entry)
        problem = table.spaces[0].p
        found: Record = {
            "tile": {s: points_of(problem.axes(s), cut) for s, cut in zip(SIDES, cuts, strict=True)},
            "order": "".join(order),
            "hold": [name for name, whole in zip("ab", keep, strict=True) if whole],
        }
        if panel is not None:
            found["panel"] = {panel.side: points_of(problem.axes(panel.side), panel.cut)}
        return found

    def _estimate(self, costs: Costs, cost: Cost, entry: int = -1) -> Record:
        if entry >= 0 and cost.table is not None:
            cost = cost._replace(entry=entry, dram_bytes=cost.table.dram_bytes(entry), amounts=())
        time_ps, energy, mram = self._amounts(costs, cost)
        return {
            "time_ps": time_ps,
            "dram_bytes": cost.dram_bytes,
            "energy_pj": energy,
            "mram_written_bytes": mram,
        }

    # -- energies --------------------------------------------------------------------------------

    def _count_traffic(self) -> None:
        """Count what moves in all entries that are shown, table by table."""
        wanted: dict[Table, dict[int, int]] = defaultdict(dict)
        for trial, costs in [(self.taken, self.costs), *self.others]:
            assert costs is not None
            for cost in costs:
                if cost.table is not None:
                    wanted[cost.table].setdefault(cost.entry, len(wanted[cost.table]))
            if trial is self.taken:
                for place, cost in zip(trial.kernels, costs, strict=True):
                    if cost.table is not None:
                        for entry in self._next_of(place, cost.table):
                            wanted[cost.table].setdefault(entry, len(wanted[cost.table]))
        for table, entries in wanted.items():
            self._traffic[table] = entries, table.traffic(list(entries))

    def _next_of(self, place: Place, table: Table) -> list[int]:
        budget = place[0].budget(place[2])
        if (table, budget) not in self._next:
            self._next[table, budget] = table.first(budget, OTHERS + 1)
        return self._next[table, budget]

    def _amounts(self, costs: Costs, cost: Cost) -> tuple[int, int, int]:
        """Return unrounded time, energy in pJ, and bytes written into STT-MRAM."""
        if cost.amounts:
            return cost.amounts  # type: ignore[return-value]
        if cost.slab is not None:
            return costs.slab_amounts(cost.slab)
        assert cost.table is not None
        entries, traffic = self._traffic[cost.table]
        return costs.entry_amounts(cost.table, cost.entry, entries[cost.entry], traffic)

    # -- tensors ---------------------------------------------------------------------------------

    def _tensor(self, life: Life) -> Record:
        """Return where a tensor is kept, over which ops, and whether over the step's end."""
        residency, name = self.taken.residency, life.data.key
        if name in residency.pinned:
            return {"place": residency.pinned[name], "pinned": True}
        if life.predecessor in residency.pinned:
            return {"place": residency.pinned[life.predecessor], "pinned": True}
        kept = stretches(residency.kept.get(name, []))
        if not kept:
            return {"place": "dram"}
        found: Record = {"place": residency.group[name]}
        events = life.events()
        if kept != [(events[0], events[-1])]:
            ops = [costs.draft.leader.name for costs in self.planner.costs]
            found["kept"] = [[ops[first], ops[last]] for first, last in kept]
        return found


def _identity(trial: Trial, costs: list[Cost]) -> tuple[list[Codes], list[tuple[Any, ...]]]:
    chosen: list[tuple[Any, ...]] = [(c.table, c.entry, c.slab, c.where) for c in costs]
    return [place[1] for place in trial.kernels], chosen


def _named(names: Sequence[str]) -> Record:
    return {"count": len(names), "first": list(names[:NAMED])}
