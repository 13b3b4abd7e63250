"""Where studies and their files may lie: refused before any work is done, not after it."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from accelsim.errors import InputError

LONGEST: Final = 200  # of a name, in the database
ELSEWHERE: Final = "a sweep keeps its study in runs/ of the folder that it is started in; start it in another"


def refuse_no_folder(path: Path, option: str = "") -> None:
    """Refuse a file whose folder is not there, or where we may not write.

    Raises:
        InputError: It names the folder.
    """
    folder, named = path.absolute().parent, f"{option} {path}".strip()
    if not folder.is_dir():
        raise InputError(f"{named}: there is no folder {folder}")
    if path.is_dir():
        raise _refused(named, errno.EISDIR)
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise _refused(named, errno.EACCES)


def refuse_no_place(folder: Path) -> None:
    """Refuse a folder that could not be made.

    Raises:
        InputError: It is a file, or below one, or we may not write there.
    """
    there = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists() or p.is_symlink())
    if not there.is_dir():
        raise InputError(f"{folder}: cannot be made ({there} is no folder); {ELSEWHERE}")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{folder}: cannot be made ({os.strerror(errno.EACCES)}: {there}); {ELSEWHERE}")


def _refused(named: str, code: int) -> InputError:
    return InputError(f"{named}: cannot be written there ({os.strerror(code)}); give another place")


def writable(path: Path, suffixes: Sequence[str] = ()) -> None:
    """Refuse a file that could not be written once all is computed.

    Raises:
        InputError: It has none of the suffixes, there is no such folder, or we may not write there.
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
