"""Plug-ins: what other installed packages offer under an entry-point group of accelsim.

A plug-in is used where a description names it, never because it is installed. Finding it imports nothing;
loading it imports its package.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from accelsim.errors import AccelsimError, PluginError

BANKS: Final = "accelsim.banks"  # (bank group, Sim, granularity in bytes) -> machine.memory.BankModel
PLACEMENT: Final = "accelsim.placement"  # (facts of the tensors, Machine) -> bank groups per tensor
LOWERING: Final = "accelsim.lowering"  # (Lowering, fx node) -> View; its name is the op's


@dataclass(frozen=True, slots=True)
class Plugin:
    """One entry point and the distribution that it comes from."""

    group: str
    name: str
    distribution: str
    version: str
    target: str  # module:object

    def __str__(self) -> str:
        return f"{self.name} of {self.distribution} {self.version}"

    @property
    def identity(self) -> str:
        """What a result that rests on it says, and is told apart by."""
        return f"{self.group}:{self.name} {self.distribution} {self.version}"

    def load(self) -> Any:
        """Import and return what the entry point names.

        Raises:
            PluginError: It cannot be imported, or is nothing to be called.
        """
        with self.guarded("loading it"):
            found = EntryPoint(self.name, self.target, self.group).load()
        if not callable(found):
            raise self.fault(f"{self.target} is no function or class, but {type(found).__name__}")
        return found

    def fault(self, what: str) -> PluginError:
        """Return an error that names the plug-in and its distribution."""
        return PluginError(f"plug-in {self} ({self.group}): {what}")

    @contextmanager
    def guarded(self, doing: str) -> Iterator[None]:
        """Let whatever the plug-in's code raises be an error that names it.

        Raises:
            PluginError: In place of any other exception; errors of accelsim pass.
        """
        try:
            yield
        except AccelsimError:
            raise
        except Exception as exc:
            raise self.fault(f"{doing} raised {type(exc).__name__}: {exc}") from exc


def names(group: str) -> list[str]:
    """Return the names of the installed plug-ins of a group, sorted."""
    return sorted({e.name for e in entry_points(group=group)})


def find(group: str, name: str) -> Plugin | None:
    """Return the installed plug-in ``name``; None: there is none.

    Raises:
        PluginError: Several distributions offer it.
    """
    found = dict.fromkeys(_plugin(e) for e in entry_points(group=group, name=name))
    if len(found) > 1:
        who = " and ".join(sorted(f"{p.distribution} {p.version}" for p in found))
        raise PluginError(f"plug-in {name} ({group}) is offered by {who}; uninstall all but one")
    return next(iter(found), None)


def demand(group: str, name: str, identity: str = "") -> Plugin:
    """Return the installed plug-in ``name``, which was there when the description was read.

    Raises:
        PluginError: It is gone, offered twice, or another one than ``identity``, if that is given.
    """
    found = find(group, name)
    if found is None:
        raise PluginError(f"no plug-in {name} ({group}) is installed; there are: {listed(group)}")
    if identity and found.identity != identity:
        raise found.fault(f"the machine was described with {identity}; install that, or run it anew")
    return found


def listed(group: str) -> str:
    """Return the names of the installed plug-ins of a group as a text."""
    return ", ".join(names(group)) or "none"


def _plugin(entry: EntryPoint) -> Plugin:
    dist = entry.dist
    name, version = (dist.name, dist.version) if dist is not None else ("an unknown distribution", "0")
    return Plugin(entry.group, entry.name, name, version, entry.value)
