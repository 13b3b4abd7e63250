"""The one exception family. The command line catches it, and nothing else."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class AccelsimError(Exception):
    """Anything that accelsim refuses or cannot finish, with a message for the user."""

    exit_code = 1


class InputError(AccelsimError):
    """The input is at fault: a file, a key, an option, a model. Nothing has been written."""

    exit_code = 2


class ConfigError(InputError):
    """A description is at fault; the message has one line ``file:line:column: key: ...`` per fault."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class GraphError(InputError):
    """A model cannot be captured or lowered."""


class PluginError(InputError):
    """A plug-in is missing, broken or at fault; the message names it and its distribution."""


class MappingError(InputError):
    """A program does not fit the machine."""


class RunError(AccelsimError):
    """A run started and could not finish."""


class DeadlockError(RunError):
    """Everything waits for everything; the message names who waits for what."""


@contextmanager
def writing(path: Path, option: str = "--out", what: str = "be written there") -> Iterator[None]:
    """Say where something cannot be written, and which option gives it another place.

    A full disk is no wrong place: its error goes on as it is.

    Raises:
        InputError: The system refuses; it names ``path``, why, and ``option``.
    """
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        told = error.strerror or error
        raise InputError(f"{path}: cannot {what} ({told}); give {option} another place") from error
