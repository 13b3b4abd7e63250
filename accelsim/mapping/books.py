"""The copies of a program before they have addresses, and what is known of every tensor in DRAM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from accelsim.mapping.allocate import Allocator
from accelsim.mapping.gaps import Gap
from accelsim.mapping.planner import Plan, Planner
from accelsim.mapping.storage import Life
from accelsim.program.program import Binding, Copy, Region


@dataclass(slots=True)
class CopyDraft:
    """A copy before it has a region."""

    life: Life
    group: str
    copy_class: str
    parent_class: str
    origin: str
    fate: str
    first: int
    last: int
    carried_from: int | None = None
    takes_over: int | None = None
    region: Region | None = None
    free_after: int = -1


@dataclass(slots=True)
class Books:
    """What is known of every tensor's copies and of its bytes in DRAM while kernels are assembled.

    Tensors are those of ``Fields``: of one that is split, its fields by their keys.
    """

    copies: list[CopyDraft] = field(default_factory=list)
    of_tensor: dict[str, list[int]] = field(default_factory=dict)
    begin: dict[int, list[CopyDraft]] = field(default_factory=dict)  # by kernel
    end: dict[int, list[CopyDraft]] = field(default_factory=dict)
    ready_after: dict[str, int] = field(default_factory=dict)
    dram_class: dict[str, str] = field(default_factory=dict)
    write_back: dict[int, list[int]] = field(default_factory=dict)

    def copy_at(self, tensor: str, kernel: int) -> int | None:
        """Return the copy that holds ``tensor`` during ``kernel``."""
        for index in self.of_tensor.get(tensor, []):
            if self.copies[index].first <= kernel <= self.copies[index].last:
                return index
        return None

    def last_of(self, binding: Binding, kernel: int) -> int:
        """Return the last kernel that needs what a read binding of ``kernel`` holds."""
        return kernel if binding.copy is None else max(kernel, self.copies[binding.copy].last)

    def add(self, copy: CopyDraft) -> int:
        """Enter a copy and return its index."""
        self.copies.append(copy)
        self.begin.setdefault(copy.first, []).append(copy)
        self.end.setdefault(copy.last, []).append(copy)
        self.of_tensor.setdefault(copy.life.data.key, []).append(len(self.copies) - 1)
        return len(self.copies) - 1


def make_books(planner: Planner, plan: Plan, cold: bool) -> Books:
    """Return the copies that the plan's residency asks for."""
    books = Books()
    last = len(plan.kernels) - 1
    lives = planner.fields.lives
    renewed = [x for x in lives.values() if x.predecessor is not None]
    others = [x for x in lives.values() if x.predecessor is None]
    for life in renewed:
        assert life.predecessor is not None
        if life.predecessor not in plan.residency.pinned:
            _enter(books, plan, life)
            if not cold:
                books.dram_class[life.predecessor] = books.dram_class.get(life.data.key, "")
    for life in others:
        group = plan.residency.pinned.get(life.data.key)
        if group is not None:
            _pin(books, planner, life, group, last)
        else:
            _enter(books, plan, life)
    return books


def _pin(books: Books, planner: Planner, life: Life, group: str, last: int) -> None:
    """Enter the two copies, before and after the update, that share one place over the whole step."""
    assert life.successor is not None
    new = planner.fields.lives[life.successor]
    name = f"{life.data.key}@{group}"
    old = books.add(CopyDraft(life, group, name, name, "produced", "dropped", 0, last))
    books.copies[old].carried_from = old + 1
    books.add(CopyDraft(new, group, name, "", "produced", "dropped", life.renewed, last, takes_over=old))


def _enter(books: Books, plan: Plan, life: Life) -> None:
    """Enter the copies of a tensor that is not pinned, and when its bytes are in DRAM."""
    name = life.data.key
    events = life.events()
    in_dram = life.made < 0
    books.ready_after[name] = -1
    chains = stretches(plan.residency.kept.get(name, []))
    if not in_dram and not any(first == life.made for first, _ in chains):
        in_dram = True
        books.ready_after[name] = life.made
        books.dram_class[name] = f"{name}@buffer"
    for number, (first, end) in enumerate(chains):
        produced = first == life.made
        parent = "" if produced else books.dram_class.get(name, "")
        group = plan.residency.group[name]
        copy = CopyDraft(
            life,
            group,
            f"{name}@{group}#{number}",
            parent,
            "produced" if produced else "filled",
            "dropped",
            first,
            end,
        )
        index = books.add(copy)
        survives = life.predecessor is not None  # the next step begins with it, from DRAM
        if not in_dram and (end != events[-1] or survives):
            in_dram = True
            copy.fate = "written_back"
            books.write_back.setdefault(end, []).append(index)
            books.ready_after[name] = end
            books.dram_class[name] = copy.copy_class


def stretches(gaps: Sequence[Gap]) -> list[tuple[int, int]]:
    """Return (first, last) kernels of the stretches that touching gaps make."""
    chains: list[tuple[int, int]] = []
    for gap in sorted(gaps, key=lambda g: g.start):
        if chains and chains[-1][1] == gap.start:
            chains[-1] = (chains[-1][0], gap.end)
        else:
            chains.append((gap.start, gap.end))
    return chains


def allocate_pinned(books: Books, space: dict[str, Allocator]) -> None:
    """Give every pinned tensor its place for the whole step."""
    for copy in books.copies:
        if copy.carried_from is not None:
            copy.region, copy.free_after = space[copy.group].take(copy.life.data.nbytes)
    for copy in books.copies:
        if copy.takes_over is not None:
            copy.region = books.copies[copy.takes_over].region


def finished(draft: CopyDraft) -> Copy:
    """Return the copy, its region known."""
    assert draft.region is not None
    return Copy(
        data=draft.life.data,
        region=draft.region,
        copy_class=draft.copy_class,
        parent_class=draft.parent_class,
        origin=draft.origin,  # type: ignore[arg-type]
        fate=draft.fate,  # type: ignore[arg-type]
        first=draft.first,
        last=draft.last,
        carried_from=draft.carried_from,
        takes_over=draft.takes_over,
    )
