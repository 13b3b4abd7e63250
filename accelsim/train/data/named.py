"""From ``--data`` to a data set: a name, a name with a folder, or the user's own callable."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any, Final

import torch

from accelsim.config.faults import did_you_mean
from accelsim.errors import InputError
from accelsim.train.data.digits import digits
from accelsim.train.data.files import cifar10, mnist
from accelsim.train.data.sets import Data, Split
from accelsim.train.data.teacher import teacher
from accelsim.train.task import Task

NAMES: Final = (
    "digits",
    "mnist:FOLDER",
    "fashion-mnist:FOLDER",
    "cifar10:FOLDER",
    "teacher",
    "module:callable",
)


def load_data(given: str | None, task: Task) -> Data:
    """Return the data set that ``given`` means for what ``task`` takes and gives.

    Without ``given``: digits for images, the teacher's for all else.

    Raises:
        InputError: No such name, folder or file, or samples that do not fit.
    """
    name, _, rest = (given or _default(task)).partition(":")
    if name == "digits" and not rest:
        return _fitting(digits(task.shape), task)
    if name in ("mnist", "fashion-mnist"):
        return _fitting(mnist(_folder(name, rest), task.shape, name), task)
    if name == "cifar10":
        return _fitting(cifar10(_folder(name, rest), task.shape), task)
    if name == "teacher":
        sizes = _sizes(rest)
        return teacher(task.shape, task.classes, below=task.below, places=task.places, **sizes)
    if rest:
        return _fitting(_own(name, rest, task), task)
    hint = did_you_mean(name, [n.partition(":")[0] for n in NAMES]) or f"; there are {', '.join(NAMES)}"
    raise InputError(f'--data: no data set "{name}"{hint}')


def _default(task: Task) -> str:
    square = len(task.shape) == 3 and task.shape[0] in (1, 3) and min(task.shape[1:]) >= 8
    flat = len(task.shape) == 1 and int(task.shape[0] ** 0.5) ** 2 == task.shape[0] >= 64
    return "digits" if task.below is None and task.classes >= 10 and (square or flat) else "teacher"


def _folder(name: str, given: str) -> Path:
    if not given:
        raise InputError(f"--data {name}: say where its files lie: {name}:FOLDER")
    if not Path(given).is_dir():
        raise InputError(f"--data {name}: no such folder {given}")
    return Path(given)


def _sizes(given: str) -> dict[str, int]:
    """Return ``train=30000,test=5000`` as numbers."""
    sizes: dict[str, int] = {}
    for part in filter(None, given.split(",")):
        key, _, value = part.partition("=")
        if key not in ("train", "test", "seed") or not value.isdigit():
            raise InputError(f'--data teacher: expected train=N,test=N,seed=N, got "{part}"')
        sizes[key] = int(value)
    return sizes


def _own(module: str, name: str, task: Task) -> Data:
    """Return what the user's callable gives for the shape: x and y for training, x and y for testing."""
    make = getattr(_module(module), name, None)
    if not callable(make):
        raise InputError(f'--data: no callable "{name}" in {module}')
    try:
        parts: Any = make(task.shape)
        train_x, train_y, test_x, test_y = (torch.as_tensor(part) for part in parts)
    except Exception as fault:
        raise InputError(
            f"--data {module}:{name}: expected four arrays (train x, train y, test x, test y) of a call with "
            f"the input's shape, got {type(fault).__name__}: {fault}"
        ) from fault
    return Data(f"{module}:{name}", Split(train_x, train_y), Split(test_x, test_y))


def _module(name: str) -> Any:
    if name.endswith(".py"):
        path = Path(name)
        if not path.is_file():
            raise InputError(f"--data: no such file {name}")
        spec = importlib.util.spec_from_file_location(f"accelsim_data_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[module.__name__] = module
        spec.loader.exec_module(module)
        return module
    try:
        return importlib.import_module(name)
    except ImportError as fault:
        hint = did_you_mean(name, [n.partition(":")[0] for n in NAMES])
        raise InputError(f'--data: no module "{name}" ({fault}){hint}') from None


def _fitting(data: Data, task: Task) -> Data:
    for what, split in (("train", data.train), ("test", data.test)):
        if tuple(split.x.shape[1:]) != task.shape or len(split.x) != len(split.y) or not len(split):
            raise InputError(
                f"{data.name}: {what} samples {list(split.x.shape)} with {len(split.y)} labels do not fit "
                f"the model's input {list(task.shape)}"
            )
        if split.y.dtype != torch.int64 or int(split.y.max()) >= task.classes or int(split.y.min()) < 0:
            raise InputError(
                f"{data.name}: {what} labels must be integers from 0 to {task.classes - 1}, as the model has "
                f"{task.classes} outputs; got {split.y.dtype} from {split.y.min()} to {split.y.max()}"
            )
    return data
