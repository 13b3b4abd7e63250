"""Data sets: real files in their own formats, the bundled digits, the teacher's, the user's own."""

from __future__ import annotations

import gzip
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from accelsim.errors import InputError
from accelsim.train.data.batches import Batches
from accelsim.train.data.digits import digits
from accelsim.train.data.named import load_data
from accelsim.train.data.sets import Data, Split
from accelsim.train.data.teacher import teacher
from accelsim.train.task import Task, loss_of, right, task_of
from tests.train_models import small


def _task(shape: tuple[int, ...] = (1, 32, 32), **given: Any) -> Task:
    return Task(
        **{"dtype": torch.float32, "below": None, "classes": 10, "places": 1, "loss": "mse", **given},
        shape=shape,
    )


def _idx(path: Path, array: np.ndarray) -> None:
    head = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    raw = head + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)


def _mnist(folder: Path, suffix: str = "") -> np.ndarray:
    images = np.random.default_rng(0).integers(0, 256, (20, 28, 28))
    for part, n in (("train", 20), ("t10k", 10)):
        _idx(folder / f"{part}-images-idx3-ubyte{suffix}", images[:n])
        _idx(folder / f"{part}-labels-idx1-ubyte{suffix}", np.arange(n) % 10)
    return images


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_idx_files_are_read(name: str, suffix: str, tmp_path: Path) -> None:
    """Padded by two pixels to 32 x 32, 0 to -1 and 255 to 1, labels in order."""
    images = _mnist(tmp_path, suffix)
    data = load_data(f"{name}:{tmp_path}", _task())
    assert (len(data.train), len(data.test)) == (20, 10)
    assert np.allclose(data.train.x[3, 0, 2:30, 2:30], images[3] / 127.5 - 1, atol=1e-6)
    assert (data.train.x[:, :, :2] == -1).all()
    assert data.train.y.tolist() == [i % 10 for i in range(20)]
    assert load_data(f"{name}:{tmp_path}", _task((784,))).train.x.shape == (20, 784)


def _cifar(folder: Path, form: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 4, 3, 32, 32)).astype(np.uint8)
    labels = rng.integers(0, 10, (6, 4))
    for n, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        flat = images[n].reshape(4, -1)
        if form == "python":
            batch = {
                b"batch_label": b"x",
                b"labels": labels[n].tolist(),
                b"data": flat,
                b"filenames": [b"a"] * 4,
            }
            (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
        else:
            rows = np.concatenate((labels[n][:, None].astype(np.uint8), flat), axis=1)
            (folder / f"{name}.bin").write_bytes(rows.tobytes())
    return images


@pytest.mark.parametrize("form", ["python", "binary"])
def test_cifar_files_are_read(form: str, tmp_path: Path) -> None:
    """Five batches for training, one for testing; channels first."""
    folder = tmp_path / ("cifar-10-batches-py" if form == "python" else "cifar-10-batches-bin")
    folder.mkdir()
    images = _cifar(folder, form)
    data = load_data(f"cifar10:{tmp_path}", _task((3, 32, 32)))
    assert (len(data.train), len(data.test), data.augment) == (20, 4, True)
    assert np.allclose(data.train.x[5], images[1, 1] / 127.5 - 1, atol=1e-6)
    assert np.allclose(data.test.x[3], images[5, 3] / 127.5 - 1, atol=1e-6)


class _Evil:
    def __reduce__(self) -> Any:
        return print, ("run",)


def test_a_pickle_that_runs_something_is_refused(tmp_path: Path) -> None:
    """Batches hold arrays and plain values."""
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps({b"data": _Evil()}))
    for i in range(2, 6):
        (tmp_path / f"data_batch_{i}").write_bytes(b"")
    with pytest.raises(InputError, match=r"data_batch_1: not a python batch of CIFAR-10 \(builtins\.print"):
        load_data(f"cifar10:{tmp_path}", _task((3, 32, 32)))


def test_digits_are_real_and_enlarged() -> None:
    """1,437 and 360 images of 24 x 24 in the middle of 32 x 32, all ten classes in both."""
    data = digits((1, 32, 32))
    assert (len(data.train), len(data.test)) == (1437, 360)
    assert (data.train.x[:, :, :4] == -1).all()
    assert float(data.train.x.max()) == 1.0
    assert set(data.train.y.tolist()) == set(data.test.y.tolist()) == set(range(10))
    assert digits((64,)).train.x.shape == (1437, 64)
    assert digits((3, 32, 32)).train.x.shape == (1437, 3, 32, 32)


def test_the_teacher_labels_what_can_be_learnt() -> None:
    """All classes occur, of numbers and of tokens; sizes are as asked for."""
    data = teacher((3, 8, 8), 4, train=6000, test=5000)
    assert (len(data.train), len(data.test)) == (6000, 5000)
    assert len(torch.bincount(data.train.y, minlength=4).nonzero()) == 4
    tokens = teacher((6,), 50, below=40, places=6)
    assert tokens.train.y.shape == (20_000, 6)
    first = tokens.train.x == 7
    assert tokens.train.y[first].unique().numel() == 1


def test_default_data_fits_every_shipped_model() -> None:
    """Images get digits; tokens get the teacher's, with an answer per place where the model gives one."""
    tiny = {"width": 16, "layers": 1, "heads": 2, "vocabulary": 40, "context": 8, "shapes": {"tokens": (6,)}}
    for name, keys, wanted in (
        ("lenet-tinydnn", {}, "digits"),
        ("lenet5", {}, "digits"),
        ("mlp", {}, "digits"),
        ("gpt2-small", tiny, "teacher"),
        ("bert-base", tiny, "teacher"),
    ):
        workload = small(name, **keys)
        workload.spec.inputs.update(
            {k: v.model_copy(update={"below": 40}) for k, v in workload.spec.inputs.items()}
        )
        task = task_of(workload)
        data = load_data(None, task)
        assert data.name == wanted
        out = torch.zeros(4 * task.places, task.classes)
        assert loss_of(task, out, data.train.y[:4]).isfinite()
        assert 0 <= right(out, data.train.y[:4]) <= 4 * task.places


def test_batches_come_in_the_same_order_from_wherever_one_starts() -> None:
    """A permutation per epoch; every sample once, but for the last few."""
    data = Data(
        "d", Split(torch.arange(50)[:, None].float(), torch.arange(50)), Split(torch.zeros(1), torch.zeros(1))
    )
    batches = Batches(data, 8, seed=1)
    epoch = [batches.of(0, i)[1] for i in range(len(batches))]
    later = batches.of(1, 2)[1]
    assert torch.cat(epoch).unique().numel() == 48
    assert torch.equal(Batches(data, 8, seed=1).of(1, 2)[1], later)
    assert not torch.equal(Batches(data, 8, seed=2).of(1, 2)[1], later)


def test_augmented_images_are_moved_and_mirrored() -> None:
    """Each is a window of its padded image, up to four pixels off, or that window's mirror image."""
    x = torch.rand(32, 3, 8, 8)
    data = Data("d", Split(x, torch.zeros(32, dtype=torch.int64)), Split(x, torch.zeros(32)), augment=True)
    batches = Batches(data, 32, seed=0)
    state = torch.get_rng_state()
    moved, _ = batches.of(0, 0)
    assert torch.equal(torch.get_rng_state(), state)
    order = batches._order[1]
    padded = torch.nn.functional.pad(x, (4,) * 4, value=-1.0)
    for image, source in zip(moved, order.tolist(), strict=True):
        windows = [padded[source, :, r : r + 8, c : c + 8] for r in range(9) for c in range(9)]
        assert any(torch.equal(image, w) or torch.equal(image, w.flip(2)) for w in windows)


def own(shape: tuple[int, ...]) -> Any:
    """Return data as a user's callable does."""
    return np.zeros((5, *shape), np.float32), np.arange(5), np.zeros((2, *shape), np.float32), np.arange(2)


def test_a_callable_of_the_users_is_called(tmp_path: Path) -> None:
    """By module or by file."""
    lines = (
        "import torch",
        "def data(s):",
        " x, y = torch.zeros(3, *s), torch.arange(3)",
        " return x, y, x, y",
    )
    (tmp_path / "mine.py").write_text("\n".join(lines))
    assert len(load_data(f"{tmp_path}/mine.py:data", _task()).train) == 3
    assert len(load_data("tests.test_train_data:own", _task()).train) == 5


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("digit", '--data: no data set "digit", did you mean digits?'),
        ("mnist", "--data mnist: say where its files lie: mnist:FOLDER"),
        ("mnist:nowhere", "--data mnist: no such folder nowhere"),
        ("mnist:{}", "no train-images-idx3-ubyte (or .gz); mnist needs its four IDX files there"),
        ("cifar10:{}", "no data_batch_1 (python) and no data_batch_1.bin (binary) of CIFAR-10"),
        ("teacher:test=100", "teacher: expected train >= 1 and test >= 5,000, got train=20000, test=100"),
        ("teacher:size=3", '--data teacher: expected train=N,test=N,seed=N, got "size=3"'),
        ("no_such_module:data", '--data: no module "no_such_module"'),
        ("tests.test_train_data:none", '--data: no callable "none" in tests.test_train_data'),
        ("tests.test_train_data:_idx", "expected four arrays (train x, train y, test x, test y)"),
    ],
)
def test_missing_data_are_named(given: str, message: str, tmp_path: Path) -> None:
    """One clear error."""
    with pytest.raises(InputError) as fault:
        load_data(given.format(tmp_path), _task())
    assert message in str(fault.value)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    """Cut short, of another kind, of other sizes."""
    _mnist(tmp_path)
    labels = tmp_path / "train-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-3])
    with pytest.raises(InputError, match="train-labels-idx1-ubyte: cut short: 17 bytes of 20"):
        load_data(f"mnist:{tmp_path}", _task())
    labels.write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"not an IDX file of bytes in 1 dimension"):
        load_data(f"mnist:{tmp_path}", _task())
    _idx(labels, np.arange(19))
    with pytest.raises(InputError, match="20 train images, but 19 labels"):
        load_data(f"mnist:{tmp_path}", _task())
    _mnist(tmp_path)
    with pytest.raises(InputError, match=r"images of 1 x 28 x 28 do not fit the model's input \[1, 16, 16\]"):
        load_data(f"mnist:{tmp_path}", _task((1, 16, 16)))
    with pytest.raises(InputError, match=r"labels must be integers from 0 to 4, as the model has 5 outputs"):
        load_data(f"mnist:{tmp_path}", _task(classes=5))
