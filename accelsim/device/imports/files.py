"""Files of array models to rows of a table: which kind each is, and what of it is remembered."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from accelsim.device.imports.cacti import cacti_rows, is_cacti
from accelsim.device.imports.given import Given
from accelsim.device.imports.nvsim import is_nvsim, nvsim_rows
from accelsim.device.rows import Row, read_rows
from accelsim.errors import InputError

FORMATS: Final = ("auto", "nvsim", "cacti", "csv")


@dataclass(frozen=True, slots=True)
class Imported:
    """The macros of one file."""

    path: Path
    kind: str
    sha256: str
    rows: tuple[Row, ...]


def import_file(path: Path, kind: str, given: Given) -> Imported:
    """Return the macros in ``path``, a result of NVSim or CACTI, or a table of our own columns.

    Raises:
        InputError: It cannot be read, is of no known kind, or lacks something.
    """
    try:
        data = path.read_bytes()
        text = data.decode()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as exc:
        raise InputError(f"{path}: cannot be read: {exc.strerror}") from None
    except UnicodeDecodeError as exc:
        raise InputError(f"{path}: not a text file in UTF-8 (byte {exc.start})") from None
    kind = kind_of(text, str(path)) if kind == "auto" else kind
    if kind == "nvsim":
        rows = nvsim_rows(text, str(path), given, lambda name: _beside(path, name))
    elif kind == "cacti":
        rows = cacti_rows(text, str(path), given)
    else:
        rows = read_rows(text, str(path), given.options)
    return Imported(path, kind, hashlib.sha256(data).hexdigest(), tuple(rows))


def kind_of(text: str, label: str) -> str:
    """Return ``nvsim``, ``cacti`` or ``csv``, as the text looks."""
    first = next((x for x in text.splitlines() if x.strip() and not x.startswith("#")), "")
    if "capacity_KiB" in first:
        return "csv"
    if is_nvsim(text):
        return "nvsim"
    if is_cacti(text):
        return "cacti"
    raise InputError(
        f"{label}: neither what NVSim or CACTI print, nor a CSV table with a column capacity_KiB; "
        "--format says which it is"
    )


def comments(name: str, files: Sequence[Imported], given: Given) -> list[str]:
    """Return the lines that say where a table comes from."""
    lines = [f"Array table {name}, made by accelsim macros import: outputs of the models below, not silicon."]
    for f in files:
        number = f"{len(f.rows)} macro{'s' * (len(f.rows) > 1)}"
        lines.append(f"from {f.path.name} ({f.kind}, {number}, sha256 {f.sha256})")
    if given.options:
        told = ", ".join(f"{column} = {text}" for column, text in sorted(given.options.items()))
        lines.append(f"as the user said: {told}")
    if any(f.kind == "cacti" for f in files):
        lines.append(
            "CACTI: its random cycle time is the cycle of reads and of writes; leakage with gate leakage."
        )
    if any(f.kind == "nvsim" for f in files):
        lines.append("NVSim: read cycle = word / read bandwidth, the H-tree taken as pipelined.")
    return lines


def _beside(path: Path, name: str) -> str | None:
    beside = path.parent / Path(name).name
    return beside.read_text(encoding="utf-8", errors="replace") if name and beside.is_file() else None
