"""Where studies and their files may lie: refused before any work is done, not after it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from accelsim.errors import InputError

LONGEST: Final = 200  # of a name, in the database


def refuse_no_folder(path: Path, option: str = "") -> None:
    """Refuse a file whose folder is not there.

    Raises:
        InputError: It names the folder.
    """
    if not path.absolute().parent.is_dir():
        raise InputError(f"{option} {path}: there is no folder {path.absolute().parent}".strip())


def writable(path: Path, suffixes: Sequence[str] = ()) -> None:
    """Refuse a file that could not be written once all is computed.

    Raises:
        InputError: It has none of the suffixes, or there is no such folder.
    """
    if suffixes and path.suffix not in suffixes:
        raise InputError(f"{path}: expected a file that ends in {', '.join(suffixes)}")
    refuse_no_folder(path)


def plain(name: str) -> str:
    """Return the name of a study, which is that of its folder.

    Raises:
        InputError: It is a path, hidden, too long, or has characters that do not print.
    """
    fits = name == Path(name).name and "\\" not in name and not name.startswith((".", "-"))
    if not name.strip() or not fits or not name.isprintable() or len(name) > LONGEST:
        raise InputError(
            f"--study {name}: expected a plain name, such as my-sweep; it is that of a folder in runs/sweeps"
        )
    return name
