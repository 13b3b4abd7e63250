"""From names to what all trainings of an experiment share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accelsim.config.document import shown
from accelsim.config.locate import find
from accelsim.errors import InputError
from accelsim.frontend.spec import load
from accelsim.train.data.named import load_data
from accelsim.train.task import task_of
from accelsim.train.trainer import Setup


def setup_of(
    workload: str,
    data: str | None,
    *,
    epochs: int,
    batch: int | None,
    options: Mapping[str, Any],
    checkpoint_steps: int,
) -> Setup:
    """Return the setup of ``workload`` on ``data``, as they are named on the command line.

    Raises:
        InputError: No such workload or data, or they do not fit each other.
    """
    path = find("workloads", workload)
    if path.suffix == ".csv":
        raise InputError(f"{shown(path)}: a topology file has no model to train; give a workload .toml")
    loaded = load(path, batch=batch)
    task = task_of(loaded)
    samples = load_data(data, task)
    if len(samples.train) < loaded.spec.batch:
        raise InputError(
            f"--batch {loaded.spec.batch}: {samples.name} has {len(samples.train)} training samples"
        )
    return Setup(loaded, task, samples, epochs, options=options, checkpoint_steps=checkpoint_steps)
