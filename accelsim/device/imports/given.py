"""What result files do not say and the user has to, and what of it a file may say instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from accelsim.errors import InputError

Beside = Callable[[str], str | None]  # text of a file beside the one that names it; None: there is none

_OPTIONS: Final = {  # column of a table -> the option that gives it
    "cell": "--cell",
    "node_nm": "--node",
    "roadmap": "--flavour",
    "temperature_K": "--temperature",
    "word_bits": "--word",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """Values by column of a table; those of ``options`` win over what a file says."""

    options: Mapping[str, str] = field(default_factory=dict)

    def over(self, said: Mapping[str, str | None], label: str, why: str) -> dict[str, str]:
        """Return the columns that a file says, with the options over them.

        Raises:
            InputError: A column that neither says: the options to give.
        """
        found = {name: text for name, text in said.items() if text} | dict(self.options)
        missing = [option for name, option in _OPTIONS.items() if not found.get(name)]
        if missing:
            raise InputError(f"{label}: {why}; give {', '.join(missing)}")
        return found


def plain(value: float) -> str:
    """Return a converted number without the noise of its conversion.

    >>> plain(123.456 * 1e-3), plain(64.0)
    ('0.123456', '64.0')
    """
    return repr(float(f"{value:.12g}"))
