"""The generated part of ``docs/sweeps.md``: every key of a sweep's file and of a file of prices."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from accelsim.config.faults import toml_text
from accelsim.config.ranges import RangeSpec
from accelsim.sweep.prices import EndsSpec, PricesSpec
from accelsim.sweep.spec import FidelitySpec, MixSpec, SweepSpec, TrainingSpec

SECTIONS: Final[dict[str, type[BaseModel]]] = {
    "A sweep's file": SweepSpec,
    "`[mix]`": MixSpec,
    "`[fidelity]`": FidelitySpec,
    "`[training]`": TrainingSpec,
    "A file of prices": PricesSpec,
    '`[prices]` "COMPONENT ACTION"': RangeSpec,
    '`[timings]` "KEY"': EndsSpec,
}


def sweep_reference() -> str:
    """Return the sections, in Markdown."""
    return "\n".join(f"## {title}\n\n{_table(model)}" for title, model in SECTIONS.items())


def _table(model: type[BaseModel]) -> str:
    lines = ["| key | default | meaning |", "|---|---|---|"]
    for name, field in model.model_fields.items():
        meaning = " ".join((field.description or "").split())
        lines.append(f"| `{name}` | {_default(field)} | {meaning} |")
    return "\n".join(lines) + "\n"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default is None or field.default_factory is not None or isinstance(field.default, BaseModel):
        return "-"
    return f"`{toml_text(field.default)}`"
