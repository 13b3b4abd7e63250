"""Commands in processes of their own, forked from one that has imported everything: seconds less for each.

Run as a script it is that process: it reads a line of JSON per command and answers with one.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any, NamedTuple

import accelsim as package
from accelsim.cli.app import main

PRELOADED = (
    "torch._dynamo",
    "torch.fx.experimental.proxy_tensor",
    "scipy.stats",
    "sklearn.datasets",
    "matplotlib.pyplot",
)


class Done(NamedTuple):
    """What a command left: its exit code and what it printed."""

    code: int
    stdout: str
    stderr: str


def accelsim(arguments: Sequence[str], folder: Path, env: Mapping[str, str] = os.environ) -> Done:
    """Run ``accelsim ARGUMENTS`` in ``folder``."""
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(json.dumps([list(arguments), str(folder), dict(env)]) + "\n")
    server.stdin.flush()
    return Done(*json.loads(server.stdout.readline()))


@cache
def _server() -> subprocess.Popen[str]:
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    server = subprocess.Popen([sys.executable, __file__], **pipes)
    atexit.register(server.kill)
    return server


def _serve() -> None:
    for name in (*PRELOADED, *(m.name for m in walk_packages(package.__path__, "accelsim."))):
        if not name.endswith("__main__"):
            import_module(name)
    for line in sys.stdin:
        arguments, folder, env = json.loads(line)
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            child = os.fork()
            if not child:
                os.environ.clear()
                os.environ.update(env)
                _become(arguments, folder, out.fileno(), err.fileno())
            _, status = os.waitpid(child, 0)
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read())
        sys.stdout.write(json.dumps([os.waitstatus_to_exitcode(status), *texts]) + "\n")
        sys.stdout.flush()


def _become(arguments: list[str], folder: str, out: int, err: int) -> None:
    """Be the command, and never return."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.chdir(folder)
    sys.argv = ["accelsim", *arguments]
    code = 1
    try:
        main()
    except SystemExit as done:
        code = done.code if isinstance(done.code, int) else 1
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
