"""From the name of a machine or workload to its file: shipped ones by name, own ones by path."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from accelsim.config.faults import did_you_mean
from accelsim.errors import InputError

Kind = Literal["arch", "workloads", "devices", "sweeps"]

_PACKAGE: Final = Path(__file__).resolve().parents[1]
_NOUN: Final[dict[Kind, str]] = {
    "arch": "machine",
    "workloads": "workload",
    "devices": "device",
    "sweeps": "sweep",
}
_FOLDER: Final[dict[Kind, str]] = {
    "arch": "arch",
    "workloads": "workloads",
    "devices": "arch/devices",
    "sweeps": "arch/sweeps",
}


def shipped(kind: Kind) -> Path:
    """Return the folder of the shipped files: inside the wheel, or beside the package in a checkout."""
    inside = _PACKAGE / "_data" / _FOLDER[kind]
    return inside if inside.is_dir() else _PACKAGE.parent / _FOLDER[kind]


def names(kind: Kind) -> list[str]:
    """Return the names of the shipped machines or workloads, sorted."""
    return sorted(path.stem for path in shipped(kind).glob("*.toml"))


def find(kind: Kind, name: str) -> Path:
    """Return the file that ``name`` means: a path if it has a slash or a suffix, else a shipped file.

    Raises:
        InputError: No such file, or no such name.
    """
    if "/" in name or name.endswith((".toml", ".csv")):
        path = Path(name)
        if path.is_file():
            return path
        raise InputError(f"{name}: no such file" if not path.exists() else f"{name}: not a file")
    path = shipped(kind) / f"{name}.toml"
    if path.is_file():
        return path
    known = names(kind)
    hint = did_you_mean(name, known) or ";"
    raise InputError(
        f'unknown {_NOUN[kind]} "{name}"{hint} shipped: {", ".join(known)}; a path ends in .toml'
    )
