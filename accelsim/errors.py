"""The one exception family. The command line catches it, and nothing else."""

from __future__ import annotations


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
