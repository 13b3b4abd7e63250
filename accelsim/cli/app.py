"""The commands, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import _thread
import errno
import os
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Final

import typer

import accelsim
from accelsim.cli.check import check, schema
from accelsim.cli.device import device
from accelsim.cli.errors import errors
from accelsim.cli.macros import app as macros
from accelsim.cli.mapping import mapping
from accelsim.cli.pareto import pareto
from accelsim.cli.reports import compare, ls, report, reprice
from accelsim.cli.run import run
from accelsim.cli.sensitivity import sensitivity
from accelsim.cli.sweep import app as sweeps
from accelsim.cli.timeline import timeline
from accelsim.cli.train import train
from accelsim.cli.uncertainty import breakeven, uncertainty
from accelsim.errors import AccelsimError, ConfigError

INTERRUPTED: Final = 130
DEBUG: Final = "--debug"
_PREFIX: Final = "accelsim: "

app = typer.Typer(
    name="accelsim",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # tracebacks are for --debug
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: accelsim run edge-hybrid lenet5",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"accelsim {accelsim.__version__} (model version {accelsim.MODEL_VERSION})")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Cycles and energy of one training step on accelerators with SRAM and STT-MRAM scratchpads.

    Errors are one message; --debug, after any command, shows the traceback.
    """


def _example(line: str) -> dict[str, Any]:
    return {"epilog": f"Example: {line}"}


app.command(**_example("accelsim run tpu-like-hybrid resnet18-cifar --batch 32"))(run)
app.command(**_example("accelsim report tpu-like-hybrid_resnet18-cifar"))(report)
app.command(**_example("accelsim mapping runs/a > mine.toml"))(mapping)
app.command(**_example("accelsim reprice runs/a --arch edge-hybrid --set bank.sram.leakage=5mW"))(reprice)
app.command(**_example("accelsim ls"))(ls)
app.command(**_example('accelsim timeline tpu-like-hybrid_resnet18-cifar --layer "layer1.*"'))(timeline)
app.command(
    **_example("accelsim train edge-hybrid lenet-tinydnn --rates 1e-5 --layers conv0 --protect sign,exponent")
)(train)
app.command(**_example("accelsim sensitivity lenet5 --roles activation,weight --resolution 10"))(sensitivity)
app.command(**_example("accelsim compare runs/a runs/b"))(compare)
app.command(**_example('accelsim check tpu-like-hybrid --set "clock=1.2 GHz"'))(check)
app.command(**_example("accelsim device mram-1s --temperature 300K --temperature 350K"))(device)
app.command(**_example("accelsim errors runs/demo --device mram=mram-10ms --temperature 350K"))(errors)
app.add_typer(sweeps, name="sweep")
app.add_typer(macros, name="macros")
app.command(**_example("accelsim pareto equal-area --x energy_pj --y cycles --html front.html"))(pareto)
app.command(**_example("accelsim uncertainty runs/sram runs/mram --prices prices.toml"))(uncertainty)
app.command(**_example("accelsim breakeven runs/mram runs/sram --over leakage,write_energy"))(breakeven)
app.command(**_example("accelsim schema > accelsim.schema.json"))(schema)


def _takes_debug(
    debug: Annotated[bool, typer.Option(DEBUG, help="Show the traceback of an error.")] = False,
) -> None:
    """Have the option that every command lists."""


def _command() -> Any:
    """Return the command line, with --debug in the help of every command; main takes it out of the line."""
    whole: Any = typer.main.get_command(app)
    one = typer.Typer(add_completion=False)
    one.command()(_takes_debug)
    (option,) = typer.main.get_command(one).params
    option.expose_value = False
    left = [whole]
    while left:
        command = left.pop()
        below = getattr(command, "commands", None)
        left += (below or {}).values()
        if below is None:
            command.params.append(option)
    return whole


def _say(message: str, prefix: str = _PREFIX) -> None:
    """Print to stderr. Faults of a file begin with its name and line, which editors jump to."""
    print(prefix + message, file=sys.stderr)  # noqa: T201


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, UserWarning):  # those of libraries about themselves are no user's business
        _say(f"warning: {message}")


@contextmanager
def _interrupts_arrive() -> Iterator[None]:
    """Raise again an interrupt that came in a callback, where Python prints and forgets it.

    Weak references of torch and the collector of cycles have such callbacks. From another thread, a little
    later: what is raised in the hook itself would be forgotten as well.
    """
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            threading.Timer(0.02, _thread.interrupt_main).start()
        else:
            before(unraisable)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


def _abandon_stdout() -> None:
    """Send what is still buffered nowhere, so that Python does not fail on it again as it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit: 0 ok, 1 run failed, 2 bad input, 130 interrupted."""
    args = sys.argv[1:] if args is None else args
    debug = DEBUG in args
    args = [a for a in args if a != DEBUG]  # every command takes it
    if not debug:
        warnings.showwarning = _show_warning
    try:
        with _interrupts_arrive():
            code = _run(args)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:  # the reader of our output has seen enough; the run is whole
        code = 0
    except Exception as fault:
        _abandon_stdout()
        if debug:
            traceback.print_exception(fault)
        _say(_message(fault), prefix="" if isinstance(fault, ConfigError) else _PREFIX)
        code = fault.exit_code if isinstance(fault, AccelsimError) else 1
    if code == INTERRUPTED:
        _say("interrupted; no half-written run is left behind")
        exec("")  # else, if the interrupt came while another string was executed, Python ends by the signal
    _abandon_stdout()
    sys.exit(code)


def _run(args: list[str]) -> int:
    """Run one command and return its exit code. A full disk behind stdout shows here, not as Python ends."""
    try:
        _command()(args, prog_name="accelsim")
    except SystemExit as done:
        code = done.code
    sys.stdout.flush()
    return code if isinstance(code, int) else 0


def _message(fault: Exception) -> str:
    if isinstance(fault, AccelsimError):
        return str(fault)
    if isinstance(fault, OSError):
        where = f" ({fault.filename})" if fault.filename else ""
        if fault.errno == errno.ENOSPC:
            return f"the disk is full{where}; free some space, or give --out another disk"
        return f"{fault.strerror or fault}{where}"
    return f"internal error: {type(fault).__name__}: {fault}; {DEBUG} shows where. Please report it"
