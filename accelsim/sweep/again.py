"""A point as a machine's file, and the commands that give its figures once more."""

from __future__ import annotations

import shlex
from pathlib import Path

from accelsim.config.machinefile import machine_toml
from accelsim.errors import InputError, writing
from accelsim.sweep.places import writable
from accelsim.sweep.plan import Sweep, beside
from accelsim.sweep.view import Entry, View


def writable_machine(path: Path, force: bool) -> None:
    """Refuse a file to which no machine should be written.

    Raises:
        InputError: It is there already, does not end in .toml, or cannot be written.
    """
    writable(path, (".toml",))
    if path.exists() and not force:
        raise InputError(f"{path}: is there already; give --force to replace it, or another --write")


def write_machine(found: View, entry: Entry, path: Path) -> list[str]:
    """Write the machine of ``entry`` to ``path`` and return the commands that run it as the sweep did.

    Raises:
        InputError: The point has no figures, or is left out by a constraint.
    """
    if entry.row.state != "done":
        why = entry.row.why.splitlines()[0] if entry.row.why else "it was not run to its end"
        what = f"study {found.study.name}: point {entry.number} is {entry.row.state}"
        raise InputError(f"{what}, its machine is not written: {why}")
    commands = run_commands(found.sweep, path)
    comment = [f"Point {entry.number} of the sweep {found.study.name}. Its figures again:", *commands]
    text = machine_toml(found.sweep.base, entry.row.settings, "\n# ".join(comment), path)
    with writing(path, "--write"):
        path.write_text(text, encoding="utf-8")
    return commands


def run_commands(sweep: Sweep, machine: Path) -> list[str]:
    """Return the commands, one per workload, that run ``machine`` with the sweep's options."""
    spec = sweep.spec
    options = [
        *([f"--batch {spec.batch}"] if spec.batch is not None else []),
        *([f"--accumulate {spec.accumulate}"] if spec.accumulate is not None else []),
        *([f"--phase {spec.phase}"] if spec.phase != "all" else []),
        *(["--cold"] if spec.cold else []),
    ]
    names = [_from_here(beside(name, sweep.path)) for name in sweep.workloads]
    return [" ".join(["accelsim run", _quoted(machine), _quoted(name), *options]) for name in names]


def _from_here(name: str) -> str:
    """Return a path inside the working folder relative to it."""
    path, here = Path(name), Path.cwd()
    return str(path.relative_to(here)) if path.is_absolute() and path.is_relative_to(here) else name


def _quoted(name: str | Path) -> str:
    return shlex.quote(str(name))
