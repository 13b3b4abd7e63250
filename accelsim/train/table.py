"""Error rates given by hand: one rate, or a table by role, phase and layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from accelsim.config.faults import did_you_mean, listed
from accelsim.errors import InputError
from accelsim.train.laws import FieldLaw, Law, Read, checked_rate
from accelsim.words import PHASES, ROLES

Table = Mapping[str, float | Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class _Entry:
    role: str
    phase: str  # empty: the copy's first read in any phase
    glob: str
    rate: float


class TableProfile:
    """Rates by role, or ``role@phase``, and glob of the reading layer; the first glob that fits counts.

    A rate is that of the copy: it is drawn at the copy's first read that an entry fits, and all later reads
    see the same wrong bits. ``activation@backward`` is what is saved for backward, drawn when that reads it.
    A layer's own result is not its input: what a module without submodules reads of it on the way draws
    nothing, and what its backward reads of it belongs to the glob ``*`` alone.
    """

    def __init__(self, table: Table, field: str = "all") -> None:
        self._field = field
        self._entries = [e for key, rates in table.items() for e in _entries(key, rates)]

    @classmethod
    def uniform(cls, rate: float) -> TableProfile:
        """Return one rate for every role."""
        return cls({role: checked_rate(rate, "profile") for role in ROLES})

    def laws(self, read: Read) -> Sequence[Law]:
        """Return a law for ``read@phase`` and one for the role alone, where entries fit."""
        if read.inner and (read.role == "error" or read.phase in ("forward", "recompute")):
            return ()
        found: dict[str, Law] = {}
        for entry in self._entries:
            stage = f"{entry.role}@{entry.phase}"
            fits = entry.role == read.role and entry.phase in ("", read.phase)
            reads = entry.glob == "*" if read.inner else fnmatchcase(read.reader, entry.glob)
            if fits and reads and stage not in found:
                found[stage] = Law(stage, (FieldLaw(self._field, entry.rate),))
        return [law for law in found.values() if law.fields[0].p_new]

    def check(self, layers: Sequence[str]) -> None:
        """Refuse globs that fit no layer."""
        for entry in self._entries:
            if not any(fnmatchcase(layer, entry.glob) for layer in layers):
                raise InputError(f'{entry.role}: no layer fits "{entry.glob}"{closest(entry.glob, layers)}')

    @property
    def description(self) -> str:
        """``activation=1e-05 weight[conv*]=1e-06``."""
        return " ".join(_text(e) for e in self._entries if e.rate) or "none"


def closest(glob: str, layers: Sequence[str]) -> str:
    """Return, for a message, the layer that ``glob`` may have meant, or some of those that there are."""
    return did_you_mean(glob, layers) or f"; there are {listed(filter(None, layers), most=6)}"


def _text(entry: _Entry) -> str:
    phase = f"@{entry.phase}" if entry.phase else ""
    glob = "" if entry.glob == "*" else f"[{entry.glob}]"
    return f"{entry.role}{phase}{glob}={entry.rate:g}"


def _entries(key: str, rates: float | Mapping[str, float]) -> list[_Entry]:
    role, _, phase = key.partition("@")
    if role not in ROLES:
        hint = did_you_mean(role, ROLES) or f"; there are {', '.join(ROLES)}"
        raise InputError(f'unknown role "{role}"{hint}')
    if phase and phase not in PHASES:
        hint = did_you_mean(phase, PHASES) or f"; there are {', '.join(PHASES)}"
        raise InputError(f'{key}: unknown phase "{phase}"{hint}')
    globs = rates if isinstance(rates, Mapping) else {"*": rates}
    return [_Entry(role, phase, g, checked_rate(r, f"{key}[{g}]")) for g, r in globs.items()]
