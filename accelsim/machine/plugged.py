"""Banks of plug-ins: what the machine asks of a bank, and the guard around one that is not built in."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from accelsim import plugins
from accelsim.errors import PluginError
from accelsim.machine.layout import At, BankMap
from accelsim.machine.memory import Access, Action, Bank, Memory, Port, Service
from accelsim.resolve.bank_group import BankGroup
from accelsim.sim import Sim
from accelsim.words import STALL_REASONS

MEMBERS = (
    *("spec", "chunk_bytes", "code_bytes", "read_port", "write_port"),
    *("access", "cost", "narrow", "ports"),
)


class BankModel(Memory, Protocol):
    """What the machine asks of a bank group.

    A bank that also has ``standing(now) -> Hashable`` supports the skip of steady states: all that decides
    its answers from ``now`` on besides its two ports, in times from ``now``. For a built-in bank that is
    nothing. Without it every tile is simulated.

    Attributes:
        chunk_bytes: The most bytes that one access is asked for.
        code_bytes: Transfers of the DMA are split at multiples of this; 1: anywhere.
        read_port, write_port: One object where both directions share a port.
    """

    spec: BankGroup
    code_bytes: int
    read_port: Port
    write_port: Port

    def cost(self, action: Action, nbytes: int) -> tuple[int, int]:
        """Return the picoseconds for which an access of ``nbytes`` holds its port, and its words."""

    def narrow(self, nbytes: int) -> int:
        """Return how many code words a write of ``nbytes`` fills in part: those are read first."""

    def ports(self) -> dict[str, Port]:
        """Return the ports by component name: ``spad.NAME``, or that with ``.read`` and with ``.write``."""


def bank_of(sim: Sim, spec: BankGroup, granularity_bytes: int, over: BankMap | None = None) -> Bank:
    """Return the bank of a group: the built-in one, or that of the plug-in which the machine names.

    Raises:
        PluginError: The plug-in is missing, or what it makes is no bank.

    The description has been checked: ``over`` is None for a plug-in's bank.
    """
    if not spec.model:
        return Bank(sim, spec, granularity_bytes, over)
    plugin = plugins.demand(plugins.BANKS, spec.model, spec.model_identity)
    return plugged_bank(plugin, sim, spec, granularity_bytes)


def plugged_bank(plugin: plugins.Plugin, sim: Sim, spec: BankGroup, granularity_bytes: int) -> Guarded:
    """Return the bank that ``plugin`` makes of a group.

    Raises:
        PluginError: It cannot be loaded, raises, or makes no bank.
    """
    factory = plugin.load()
    with plugin.guarded(f"making bank.{spec.name}"):
        made = factory(spec, sim, granularity_bytes)
        missing = [name for name in MEMBERS if not hasattr(made, name)]
        faults = [f"it lacks {', '.join(missing)}"] if missing else _faults_of(made)
    if faults:
        raise plugin.fault(f"what it makes of bank.{spec.name} is no bank: {'; '.join(faults)}")
    return Guarded(sim, granularity_bytes, made, plugin)


def _faults_of(made: Any) -> list[str]:
    """Return which members of what a plug-in made are not of the kind that ``BankModel`` says."""
    kinds: dict[str, tuple[bool, str]] = {
        "spec": (isinstance(made.spec, BankGroup), "the BankGroup that it was made of"),
        "read_port": (isinstance(made.read_port, Port), "a Port"),
        "write_port": (isinstance(made.write_port, Port), "a Port"),
    }
    kinds |= {
        n: (_is_whole(getattr(made, n), 1), "a whole number above 0") for n in ("chunk_bytes", "code_bytes")
    }
    kinds |= {n: (callable(getattr(made, n)), "a method") for n in ("access", "cost", "narrow", "ports")}
    standing = getattr(made, "standing", None)
    kinds["standing"] = standing is None or callable(standing), "a method, or none such"
    faulty = [(n, what) for n, (good, what) in kinds.items() if not good]
    return [f"{n} is {_said(getattr(made, n))}, expected {what}" for n, what in faulty]


def _is_whole(value: object, least: int = 0) -> bool:
    return type(value) is int and value >= least


def _said(value: object) -> str:
    """Return what came: its type, and the value where that is short."""
    text = repr(value)
    return f"{type(value).__name__} {text}" if len(text) <= 60 and value is not None else type(value).__name__


def unsteady(bank: Bank) -> str:
    """Return why no steady state can be told with ``bank``; empty if it can."""
    if isinstance(bank, Guarded) and not bank.steady:
        return f"bank.{bank.spec.name}: its model, {bank.plugin}, says nothing of its state"
    return ""


class Guarded(Bank):
    """A plug-in's bank whose exceptions and impossible answers are errors that name the plug-in."""

    def __init__(self, sim: Sim, granularity_bytes: int, bank: Any, plugin: plugins.Plugin) -> None:
        self._bank = bank
        super().__init__(sim, replace(bank.spec, buffer=None), granularity_bytes)
        self.spec = bank.spec
        self.plugin = plugin
        self.steady = callable(getattr(bank, "standing", None))
        self.code_bytes = bank.code_bytes
        self.read_port = bank.read_port
        self.write_port = bank.write_port
        self.servers[0].read_port, self.servers[0].write_port = bank.read_port, bank.write_port
        self._ports = self._named()

    def chunk_of(self, most: int) -> int:  # noqa: ARG002
        """Return the bytes of one access: what the plug-in says."""
        chunk: int = self._bank.chunk_bytes
        return chunk

    def serve(
        self,
        action: Action,
        nbytes: int,
        at: At | None = None,  # noqa: ARG002
        moved: int = 0,  # noqa: ARG002
        space: Hashable = None,  # noqa: ARG002
    ) -> Service:
        """Reserve a port for ``nbytes``, now; a plug-in's bank knows no addresses."""
        access = self.access(action, nbytes)
        narrow = self.narrow(nbytes) if action == "write" else 0
        return Service(access, *self.cost(action, nbytes), narrow)

    def access(self, action: Action, nbytes: int, at: At | None = None) -> Access:  # noqa: ARG002
        """Reserve a port for ``nbytes``, now; words that are to wake do so first."""
        if self.wakes:
            self._wake()
        with self.plugin.guarded(f"{action} of {nbytes} bytes"):
            access: Access = self._bank.access(action, nbytes)
        if not isinstance(access, Access):
            raise self._fault(f'access("{action}", {nbytes})', access, "an accelsim.machine.memory.Access")
        times = (access.queued_ps, access.start_ps, access.done_ps)
        if any(type(t) is not int for t in times) or not times[0] <= times[1] <= times[2]:
            what = "expected whole picoseconds with queued <= start <= done"
            raise self.plugin.fault(f"{action} of {nbytes} bytes is answered by {times}: {what}")
        if access.cause is not None and access.cause not in STALL_REASONS:
            what = f"expected None or one of {', '.join(STALL_REASONS)}"
            raise self.plugin.fault(f"{action} of {nbytes} bytes waits for {access.cause!r}: {what}")
        port = self.read_port if action == "read" else self.write_port
        wake = port.waking_ps(access.queued_ps, access.start_ps)
        return access._replace(wake_ps=wake) if wake else access

    def cost(self, action: Action, nbytes: int) -> tuple[int, int]:
        """Return for how long an access holds its port, and how many words it takes."""
        with self.plugin.guarded(f"cost of a {action} of {nbytes} bytes"):
            found = self._bank.cost(action, nbytes)
        if not (isinstance(found, tuple) and len(found) == 2 and all(_is_whole(n) for n in found)):
            wanted = "(picoseconds, words), two whole numbers"
            raise self._fault(f'cost("{action}", {nbytes})', found, wanted)
        hold, words = found
        return hold, words

    def narrow(self, nbytes: int) -> int:
        """Return how many code words a write of ``nbytes`` fills in part."""
        with self.plugin.guarded(f"narrow({nbytes})"):
            found = self._bank.narrow(nbytes)
        if not _is_whole(found):
            raise self._fault(f"narrow({nbytes})", found, "a whole number of code words")
        return int(found)

    def ports(self) -> dict[str, Port]:
        """Return the ports by component name, those that it was made with."""
        return self._ports

    def standing(self, now: int) -> Any:
        """Return what besides its ports decides the bank's answers from ``now`` on."""
        with self.plugin.guarded("standing()"):
            found = self._bank.standing(now)
        try:
            hash(found)
        except TypeError:
            raise self._fault("standing()", found, "something hashable, such as a tuple of numbers") from None
        return found

    def _named(self) -> dict[str, Port]:
        with self.plugin.guarded("ports()"):
            found = self._bank.ports()
        name, read, write = f"spad.{self.spec.name}", self.read_port, self.write_port
        expected = {name: read} if read is write else {f"{name}.read": read, f"{name}.write": write}
        if not isinstance(found, Mapping) or dict(found) != expected:
            wanted = f"its read_port and write_port as {', '.join(expected)}"
            raise self._fault("ports()", found, wanted)
        return expected

    def _fault(self, call: str, found: object, wanted: str) -> PluginError:
        return self.plugin.fault(
            f"{call} of bank.{self.spec.name} returned {_said(found)}; expected {wanted}"
        )
