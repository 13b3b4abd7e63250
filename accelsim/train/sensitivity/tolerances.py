"""``sensitivity.toml``: what was found, in the form that a placement reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from accelsim.config.machinefile import toml

FILE: Final = "sensitivity.toml"
_HEAD: Final = ("data", "epochs", "seeds", "tolerance", "nonfinite", "protect", "storage_format")


def tolerances_toml(summary: Mapping[str, Any]) -> str:
    """Return the text of the file, from the ``summary`` of a search."""
    keys = {
        "workload": summary["workload_name"],
        **{key: summary[key] for key in _HEAD},
        "batch": summary["workload"]["batch"],
        "clean_accuracy": summary["clean_accuracy"],
        "model_version": summary["model_version"],
    }
    lines = ["# written by accelsim sensitivity; columns documented in docs/training.md", *_lines(keys)]
    for row in summary["tolerated"]:
        columns = ("role", "layer", "rate", "refused", "tried")
        lines += ["", "[[tolerated]]", *_lines({c: row[c] for c in columns if row[c] is not None})]
    return "\n".join(lines) + "\n"


def _lines(keys: Mapping[str, Any]) -> Iterator[str]:
    for key, value in keys.items():
        yield f"{key} = {toml(value)}"
