"""From a mapping file to what it imposes on a graph's kernels and tensors; every fault of it at once."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any

from accelsim.config.faults import listed
from accelsim.config.mappingfile import MappingFileSpec, OpSpec, StepSpec, TensorSpec
from accelsim.config.origins import Fault, Origins, error
from accelsim.config.positions import KeyPath
from accelsim.config.ranges import letters
from accelsim.geometry import Axis
from accelsim.mapping.given import Given, Imposed, Lying
from accelsim.mapping.kernels import Draft
from accelsim.mapping.sizes import cut_of, points_of
from accelsim.mapping.storage import Life
from accelsim.program.program import Cut, Panel, Side
from accelsim.resolve.machine import Machine


def given_of(
    spec: MappingFileSpec,
    origins: Origins,
    machine: Machine,
    drafts: Sequence[Draft],
    lives: Mapping[str, Life],
    cyclic: bool,
) -> Given:
    """Return what a mapping file imposes.

    Raises:
        ConfigError: Every fault, a line each.
    """
    for role in machine.split:
        what = f"[placement] {role} splits its tensors by bit fields; a mapping file places whole ones"
        raise error([origins.fault((), what)])
    reading = _Reading(spec, origins, machine, drafts, lives, cyclic)
    given = reading.given()
    if reading.faults:
        raise error(reading.faults)
    return given


def closest(word: str, known: Iterable[str]) -> str:
    """Return the names nearest to a word, or some, for a message."""
    names = list(known)
    near = difflib.get_close_matches(word, names, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else f"there are {listed(names, most=4)}"


class _Reading:
    """One file read for one graph and machine."""

    def __init__(
        self,
        spec: MappingFileSpec,
        origins: Origins,
        machine: Machine,
        drafts: Sequence[Draft],
        lives: Mapping[str, Life],
        cyclic: bool,
    ) -> None:
        self.spec = spec
        self.origins = origins
        self.machine = machine
        self.drafts = {d.leader.name: d for d in drafts}
        self.home = {op.name: d.index for d in drafts for op in d.ops}
        self.leaders = list(self.drafts)
        self.lives = lives
        self.cyclic = cyclic
        self.faults: list[Fault] = []

    def given(self) -> Given:
        """Return what the file imposes, as far as it has no faults."""
        nests: dict[str, Imposed] = {}
        buffers: dict[tuple[str, str], str] = {}
        tensors: dict[str, Lying] = {}
        keys: dict[str, KeyPath] = {}
        self._check_globs()
        for name, draft in self.drafts.items():
            glob = _fitting(self.spec.op, name)
            if glob is not None:
                keys[name] = ("op", glob)
                nests[name] = self._nest(self.spec.op[glob], draft, ("op", glob))
                buffers |= self._buffers(self.spec.op[glob], draft, ("op", glob))
        for name, life in self.lives.items():
            glob = _fitting(self.spec.tensor, name)
            if glob is not None:
                keys[name] = ("tensor", glob)
                tensors[name] = self._lying(self.spec.tensor[glob], life, ("tensor", glob))
        for name, lying in list(tensors.items()):
            if lying.pinned:  # before and after the update it is one place
                for other in (self.lives[name].successor, self.lives[name].predecessor):
                    if other is not None:
                        tensors[other] = lying
        return Given(nests, buffers, tensors, keys)

    def _fault(self, keys: KeyPath, what: str, *, at_key: bool = False) -> None:
        self.faults.append(self.origins.fault(keys, what, at_key=at_key))

    def _check_globs(self) -> None:
        for glob in self.spec.op:
            if not any(fnmatchcase(name, glob) for name in self.leaders):
                riding = next((n for n in self.home if fnmatchcase(n, glob)), None)
                if riding is not None:
                    what = f"{riding} rides on {self.leaders[self.home[riding]]}; name that"
                else:
                    what = f"no op has such a name; {closest(glob, self.leaders)}"
                self._fault(("op", glob), what, at_key=True)
        for glob in self.spec.tensor:
            if not any(fnmatchcase(name, glob) for name in self.lives):
                self._fault(
                    ("tensor", glob), f"no tensor has such a name; {closest(glob, self.lives)}", at_key=True
                )

    # -- tiles -----------------------------------------------------------------------------------

    def _nest(self, spec: OpSpec, draft: Draft, keys: KeyPath) -> Imposed:
        axes = _axes(draft)
        cuts: list[tuple[Side, Cut]] = []
        for side, size in spec.tile.items():
            cut = self._cut(axes, side, size, draft, (*keys, "tile", side))
            if cut is not None:
                cuts.append((side, cut))
        order = self._order(spec, draft, keys)
        hold = None if spec.hold is None else self._hold(spec.hold, draft, (*keys, "hold"))
        panel = self._panel(spec, draft, dict(cuts), (*keys, "panel"))
        return Imposed(tuple(cuts), order, hold, panel)

    def _cut(
        self,
        axes: Mapping[Side, tuple[Axis, ...]],
        side: Side,
        size: int | StepSpec,
        draft: Draft,
        keys: KeyPath,
    ) -> Cut | None:
        op = draft.leader.name
        if side not in axes:
            self._fault(keys, f"{op} is a vector op, whose nest has one side, m", at_key=True)
            return None
        if isinstance(size, StepSpec):
            return self._stepped(axes[side], size, op, keys)
        whole = math.prod(a.size for a in axes[side])
        if size > whole:
            self._fault(keys, f"larger than the side: {side} of {op} has {whole} points")
            return None
        if not axes[side]:
            return Cut(axis=0, step=1)
        cut = cut_of(axes[side], size)
        least = points_of(axes[side], cut)
        if least > size:
            self._fault(keys, f"{op} cannot be cut so fine; the smallest tile has {least} points")
            return None
        if draft.leader.vector is not None and cut.axis >= max(1, draft.leader.vector.separable):
            self._fault(keys, f"{op} cannot be cut so fine; give more points, or leave it to the mapper")
            return None
        return cut

    def _stepped(self, axes: tuple[Axis, ...], size: StepSpec, op: str, keys: KeyPath) -> Cut | None:
        names = [a.name for a in axes]
        if size.axis not in names:
            self._fault((*keys, "axis"), f"{op} has no such axis here; there are {', '.join(names)}")
            return None
        axis = axes[names.index(size.axis)]
        if size.step > axis.size or (size.step % axis.unit and size.step != axis.size):
            unit = f" and is cut at multiples of {axis.unit}" if axis.unit > 1 else ""
            self._fault((*keys, "step"), f"axis {axis.name} of {op} has {axis.size} points{unit}")
            return None
        return Cut(axis=names.index(size.axis), step=size.step)

    def _order(self, spec: OpSpec, draft: Draft, keys: KeyPath) -> tuple[Side, ...]:
        if not spec.order:
            return ()
        if draft.leader.gemm is None:
            self._fault((*keys, "order"), f"{draft.leader.name} is a vector op, whose nest has one side")
            return ()
        if sorted(spec.order) != ["k", "m", "n"]:
            self._fault((*keys, "order"), f'expected m, n and k once each, such as "mnk", got "{spec.order}"')
            return ()
        if spec.panel and spec.order[-1] != "k":
            self._fault((*keys, "order"), "with panels k goes last: mnk or nmk")
            return ()
        return tuple(spec.order)  # type: ignore[arg-type]

    def _hold(self, hold: tuple[str, ...], draft: Draft, keys: KeyPath) -> tuple[int, ...]:
        gemm = draft.leader.gemm
        own = {"a": 0, "b": 1} if gemm else {o.tensor: i for i, (o, _) in enumerate(draft.reads)}
        found = []
        for i, name in enumerate(hold):
            if name not in own:
                what = "a and b" if gemm else f"what it reads: {listed(own)}"
                self._fault((*keys, i), f"{draft.leader.name} can hold {what}")
            elif gemm and math.prod(a.size for a in gemm.batch) > 1:
                self._fault((*keys, i), f"{draft.leader.name} is several GEMMs; none holds an operand whole")
            else:
                found.append(own[name])
        return tuple(found)

    def _panel(self, spec: OpSpec, draft: Draft, cuts: Mapping[Side, Cut], keys: KeyPath) -> Panel | None:
        if not spec.panel:
            return None
        op, axes = draft.leader.name, _axes(draft)
        if draft.leader.gemm is None or len(spec.panel) > 1:
            self._fault(keys, f"{op}: one side of a GEMM may have panels")
            return None
        if spec.hold:
            self._fault(keys, f"{op}: a nest with panels holds no operand whole")
            return None
        ((side, size),) = spec.panel.items()
        cut = self._cut(axes, side, size, draft, (*keys, side))
        tile = cuts.get(side)
        if cut is None:
            return None
        if tile is None:
            self._fault((*keys, side), f"needs the tiles inside: give tile.{side} of {op} too")
            return None
        if tile.axis < cut.axis or (tile.axis == cut.axis and tile.step > cut.step):
            self._fault((*keys, side), f"smaller than the tile along {side} of {op}")
            return None
        if tile.axis == cut.axis and cut.step % tile.step and cut.step != axes[side][cut.axis].size:
            self._fault((*keys, side), f"a panel is of whole tiles of {op}, {tile.step} along its axis")
            return None
        return Panel(side=side, cut=cut)

    # -- places ----------------------------------------------------------------------------------

    def _buffers(self, spec: OpSpec, draft: Draft, keys: KeyPath) -> dict[tuple[str, str], str]:
        found: dict[tuple[str, str], str] = {}
        names = list(dict.fromkeys(o.tensor for o, _ in (*draft.reads, *draft.writes)))
        for glob in spec.buffers:
            if not any(fnmatchcase(n, glob) for n in names):
                what = f"{draft.leader.name} has no such operand; {closest(glob, names)}"
                self._fault((*keys, "buffers", glob), what, at_key=True)
        for name in names:
            fits = _fitting(spec.buffers, name)
            if fits is not None and self._is_group(spec.buffers[fits], name, (*keys, "buffers", fits)):
                found[draft.leader.name, name] = spec.buffers[fits]
        return found

    def _is_group(self, group: str, tensor: str, keys: KeyPath, also: tuple[str, ...] = ()) -> bool:
        banks = list(self.machine.banks)
        if group not in banks:
            near = closest(group, [*banks, *also])
            self._fault(keys, f"no such bank group; {near}")
            return False
        role = self.lives[tensor].data.role
        allowed = self.machine.placement.get(role, tuple(banks))
        if allowed and group not in allowed:
            named = f"[placement] {role} of {self.machine.name} is {', '.join(allowed)}"
            self._fault(keys, f"{named}: {tensor} may not lie here")
            return False
        return True

    def _lying(self, spec: TensorSpec, life: Life, keys: KeyPath) -> Lying:
        name = life.data.tensor
        if spec.place == "dram":
            for key in ("kept", "pinned"):
                if getattr(spec, key):
                    self._fault((*keys, key), "what lies in DRAM is not kept")
            return Lying(None)
        if not self._is_group(spec.place, name, (*keys, "place"), ("dram",)):
            return Lying(None)
        if not life.groups:
            self._fault((*keys, "place"), f"[placement] of {self.machine.name} keeps {name} in DRAM")
            return Lying(None)
        if spec.pinned:
            return self._pinned(spec, life, keys)
        events = life.events()
        if not spec.kept:
            stretches: tuple[tuple[int, int], ...] = ((events[0], events[-1]),) if len(events) > 1 else ()
        else:
            pairs = [self._pair(pair, life, (*keys, "kept", i)) for i, pair in enumerate(spec.kept)]
            stretches = tuple(p for p in pairs if p is not None)
            if any(a[1] > b[0] for a, b in pairwise(stretches)):
                self._fault((*keys, "kept"), "pairs must come one after the other")
        for first, _ in stretches:
            if first != life.made and first not in life.whole:
                op = self.leaders[first]
                self._fault(keys, f"{op} reads a part of {name}: nothing would fill the rest of the copy")
        return Lying(spec.place, stretches)

    def _pinned(self, spec: TensorSpec, life: Life, keys: KeyPath) -> Lying:
        if life.successor is None and life.predecessor is None:
            what = f"{life.data.tensor} does not survive the update"
            self._fault((*keys, "pinned"), what)
        elif not self.cyclic:
            self._fault((*keys, "pinned"), "the first step, from DRAM, pins nothing")
        elif spec.kept:
            self._fault((*keys, "kept"), "what is pinned is kept over the whole step")
        return Lying(spec.place, (), True)

    def _pair(self, pair: tuple[str, str], life: Life, keys: KeyPath) -> tuple[int, int] | None:
        events, ends = life.events(), []
        for i, op in enumerate(pair):
            kernel = self.home.get(op, -1)
            if kernel not in events:
                those = listed(self.leaders[e] for e in events)
                what = "makes or reads" if op in self.home else "is no op; it is made or read by"
                told = f"{op} is none that {what} {life.data.tensor}" if op in self.home else f"{op} {what}"
                self._fault((*keys, i), f"{told}: {those}")
                return None
            ends.append(kernel)
        if ends[0] >= ends[1]:
            self._fault(keys, "the first op must come before the second")
            return None
        return ends[0], ends[1]


def _axes(draft: Draft) -> dict[Side, tuple[Axis, ...]]:
    gemm, vector = draft.leader.gemm, draft.leader.vector
    if gemm is not None:
        return {"m": gemm.m, "n": gemm.n, "k": gemm.k}
    assert vector is not None
    return {"m": vector.axes}


def _fitting(table: Mapping[str, Any], name: str) -> str | None:
    """Return the glob that counts for a name: the one with the most letters, of equal ones the first."""
    return max((g for g in table if fnmatchcase(name, g)), key=letters, default=None)
