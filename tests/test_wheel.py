"""The wheel: machines, workloads and technology libraries are in it, and it works from an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel without network and unpack it, which is what installing does."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        str(ROOT),
        "--no-deps",
        "--no-build-isolation",
        "-w",
        folder,
    ]
    done = subprocess.run([*map(str, command), "-q"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


def _accelsim(installed: Path, empty: Path, *args: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-m", "accelsim", *args]
    return subprocess.run(command, capture_output=True, text=True, cwd=empty, env=env, check=False)


def test_all_shipped_files_are_in_the_wheel(installed: Path) -> None:
    """As they lie in the repository."""
    for kind in ("arch", "workloads"):
        shipped = sorted(p.relative_to(ROOT / kind) for p in (ROOT / kind).rglob("*") if p.is_file())
        shipped = [p for p in shipped if "__pycache__" not in p.parts]
        inside = installed / "accelsim" / "_data" / kind
        assert sorted(p.relative_to(inside) for p in inside.rglob("*") if p.is_file()) == shipped
    assert (installed / "accelsim" / "py.typed").is_file()


def test_shipped_names_resolve_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    """The unpacked wheel is what runs, not the checkout."""
    code = "import accelsim; print(accelsim.__file__)"
    env = {**os.environ, "PYTHONPATH": str(installed)}
    where = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=env, check=True
    )
    assert where.stdout.startswith(str(installed))

    done = _accelsim(installed, tmp_path, "check", "tpu-like-hybrid")
    assert (done.returncode, done.stderr) == (0, "")
    assert "tpu-like-hybrid" in done.stdout


def test_a_run_works_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    """A shipped machine with a shipped workload, to a run folder."""
    done = _accelsim(installed, tmp_path, "run", "edge-hybrid", "mlp", "--batch", "2", "--quiet")

    assert (done.returncode, done.stderr) == (0, "")
    assert [p.name.split("-")[0] for p in (tmp_path / "runs").iterdir()] == ["edge"]
