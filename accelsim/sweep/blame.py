"""Why a candidate is no machine, told by the parameters of the sweep."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from accelsim.errors import ConfigError, InputError
from accelsim.sweep.space import Candidate
from accelsim.sweep.values import value_text

_PLACE: Final = re.compile(r"(?:\S.*?:\d+:\d+: |--set )?(?:([\w.-]+): )?(.*)", re.S)


class Blame:
    """Names the parameters without which a fault would not be; all, if it would whichever is left out.

    What a fault was blamed on is remembered, so that others of its kind cost nothing.
    """

    def __init__(self, machine_of: Callable[[dict[str, Any]], Any]) -> None:
        self._machine_of = machine_of
        self._known: dict[str, list[str]] = {}

    def why(self, candidate: Candidate, fault: InputError) -> str:
        """Return ``fault``, which resolving the candidate raised, as one line that names parameters."""
        names = self._known.get(str(fault))
        if names is None:
            names = self._known[str(fault)] = self._guilty(candidate, str(fault))
        faults = fault.faults if isinstance(fault, ConfigError) else str(fault).splitlines()[:1]
        values = ", ".join(f"{n} = {value_text(candidate.params.get(n))}" for n in names)
        return f"{values}: {'; '.join(dict.fromkeys(_without_place(line, names) for line in faults))}"

    def _guilty(self, candidate: Candidate, fault: str) -> list[str]:
        chosen = [name for name in candidate.params if name in candidate.settings]
        found = [name for name in chosen if self._fault(candidate, name) != fault]
        return found or list(candidate.params)

    def _fault(self, candidate: Candidate, without: str) -> str:
        try:
            self._machine_of({k: v for k, v in candidate.settings.items() if k != without})
        except InputError as fault:
            return str(fault)
        return ""


def _without_place(fault: str, names: list[str]) -> str:
    """Return a fault without its place in the base, and without its key where that is one of ``names``."""
    found = _PLACE.fullmatch(fault)
    if found is None:
        return fault
    key, text = found.groups()
    return text if key is None or key in names else f"{key}: {text}"
