"""MNIST and Fashion-MNIST (IDX files) and CIFAR-10 (pickled or binary batches), from a folder."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from accelsim.errors import InputError
from accelsim.train.data.sets import Data, Images, image_split

_CIFAR_FOLDERS: Final = (".", "cifar-10-batches-py", "cifar-10-batches-bin")
_ALLOWED: Final = {  # all that a pickled batch of arrays needs; a pickle may otherwise run anything
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.numeric", "_frombuffer"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


def mnist(folder: Path, shape: tuple[int, ...], name: str) -> Data:
    """Return the four IDX files of ``folder``, plain or gzipped.

    Raises:
        InputError: A file is missing, or holds something else; with its name.
    """
    splits = []
    for part in ("train", "t10k"):
        images = _idx(_found(folder, f"{part}-images-idx3-ubyte", name), 3)
        labels = _idx(_found(folder, f"{part}-labels-idx1-ubyte", name), 1)
        if len(images) != len(labels):
            raise InputError(f"{folder}: {len(images)} {part} images, but {len(labels)} labels")
        splits.append(image_split(images[:, None], labels, shape, name))
    return Data(name, splits[0], splits[1])


def _found(folder: Path, file: str, name: str) -> Path:
    dotted = file.replace("-idx", ".idx")
    for candidate in (file, dotted, f"{file}.gz", f"{dotted}.gz"):
        if (folder / candidate).is_file():
            return folder / candidate
    raise InputError(f"{folder}: no {file} (or .gz); {name} needs its four IDX files there")


def _idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Return the array of unsigned bytes in the IDX file ``path``."""
    raw = _bytes(path)
    if len(raw) < 4 + 4 * dimensions or raw[:4] != bytes((0, 0, 8, dimensions)):
        raise InputError(f"{path}: not an IDX file of bytes in {dimensions} dimension(s)")
    sizes = struct.unpack(f">{dimensions}I", raw[4 : 4 + 4 * dimensions])
    body = np.frombuffer(raw, np.uint8, offset=4 + 4 * dimensions)
    if body.size != np.prod(sizes):
        raise InputError(f"{path}: cut short: {body.size} bytes of {np.prod(sizes)}")
    return body.reshape(sizes)


def _bytes(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as fault:
        raise InputError(f"{path}: cannot be read ({fault})") from None


def cifar10(folder: Path, shape: tuple[int, ...], *, augment: bool = True) -> Data:
    """Return CIFAR-10 from the six files of either form, in ``folder`` or the archive's folder in it.

    Raises:
        InputError: A file is missing, or holds something else; with its name.
    """
    for place in (folder / sub for sub in _CIFAR_FOLDERS):
        for suffix, read in (("", _pickled), (".bin", _binary)):
            if (place / f"data_batch_1{suffix}").is_file():
                names = [f"data_batch_{i}{suffix}" for i in range(1, 6)]
                parts = [read(_present(place / n)) for n in names]
                images, labels = (np.concatenate(p) for p in zip(*parts, strict=True))
                train = image_split(images, labels, shape, "cifar10")
                test = image_split(*read(_present(place / f"test_batch{suffix}")), shape, "cifar10")
                return Data("cifar10", train, test, augment)
    raise InputError(f"{folder}: no data_batch_1 (python) and no data_batch_1.bin (binary) of CIFAR-10")


def _present(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"{path}: no such file; CIFAR-10 has data_batch_1 to 5 and test_batch")
    return path


class _Arrays(pickle.Unpickler):
    """Loads numpy arrays and plain values, and nothing that runs."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of a batch of images")
        return super().find_class(module, name)


def _pickled(path: Path) -> tuple[Images, NDArray[np.integer]]:
    try:
        batch = _Arrays(io.BytesIO(_bytes(path)), encoding="bytes").load()
        images = np.asarray(batch[b"data"], np.uint8).reshape(-1, 3, 32, 32)
        return images, np.asarray(batch[b"labels"], np.int64)
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError, IndexError) as fault:
        raise InputError(f"{path}: not a python batch of CIFAR-10 ({fault})") from None


def _binary(path: Path) -> tuple[Images, NDArray[np.integer]]:
    raw = np.frombuffer(_bytes(path), np.uint8)
    if raw.size % 3073 or not raw.size:
        raise InputError(f"{path}: not a binary batch of CIFAR-10: {raw.size} bytes are no multiple of 3073")
    rows = raw.reshape(-1, 3073)
    return rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0].astype(np.int64)
