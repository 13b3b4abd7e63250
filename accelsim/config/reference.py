"""docs/arch-reference.md, made from the specs: every key with its type, units, default and meaning."""

from __future__ import annotations

from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from accelsim.config.arch import ArchSpec
from accelsim.config.device import DeviceSpec, GeometrySpec
from accelsim.config.faults import toml_text
from accelsim.config.spec import Quantity

_HEAD = """# Machine reference

Every key of a machine's TOML file. This page is made from the specs in `accelsim/config`.

- A quantity is a string, a number and a unit: `"256 KiB"`, `"5.3 ns"`, `"3 cycles"` (of `clock`).
  KiB MiB GiB are binary, kB MB GB decimal. Times are rounded up to whole picoseconds; sizes, frequencies
  and bandwidths have to come to whole bytes, Hz and bytes per second. A count is a bare number. What lies
  far outside of what can be built (a clock of 1e30 GHz, 2000 s, a million of anything) is refused.
- `extends = "name"`, `"path.toml"` (relative to the file) or a list of them: tables merge deep, everything
  else replaces, lists too; later bases win over earlier ones, the file over its bases, and
  `--set key.path=value` over all.
- `source = "key"` in a table is a key of [sources](sources.md); it stands for the numbers written in that
  table of that file. What another file or `--set` overrides, and every default, counts as `assumed`.
  Counts, sizes and clocks are choices and need no source. A source of your own may have any other name;
  `accelsim check` and the reports list such ones apart, as not in docs/sources.md.
- `capacity`, `leakage` and `area` of a bank group are of the whole group, which count x subbanks macros
  share evenly. What a bank leaves out comes from the array table for a macro of that capacity: a monotone
  fit over capacity in log-log, never beyond the table; `accelsim check` prints how far the fit is off.
- Names that are refused for now say so: `dram.model = "burst"`.
"""


_DEVICE_HEAD = """# Device reference

Every key of a device's TOML file (shipped ones are in `arch/devices/`). This page is made from the specs in
`accelsim/config/device.py`. A bank group uses a device with `device = "mram-1s"` (a name) or
`device = "mine.toml"` (a path, relative to the file that names it). Quantities are strings with units; ratios
and probabilities are bare numbers. What the keys mean in physics, and the laws: [physics](physics.md).

- One of `delta`, `retention` and `[geometry]` is given, one of `pulse` and `target_wer`, one of
  `write_overdrive` and `write_current`; what is not given is derived, at the machine's temperature. What
  a file gives replaces what its `extends` gives of the same three or two, and the `retention_means` or
  `pulse_temperature` that goes with that: `delta = 30` is enough to replace an inherited `retention`.
- `source` covers the numbers that the file writes, but for the keys that `assumed` lists. It is a key of
  [sources](sources.md), or a name of your own: `accelsim check` lists those that are not of that page apart.
- `law` names other laws that an installed package offers under the entry point group
  `accelsim.device_laws`: an object, or a class, with the methods of `accelsim.device.laws.Laws`. Its author
  subclasses `accelsim.device.contract.LawsContract` in a test file, the checks that any laws must pass.
"""


def device_reference() -> str:
    """Return the page of devices, in Markdown."""
    top = [(name, f) for name, f in DeviceSpec.model_fields.items() if name != "geometry"]
    geometry = list(GeometrySpec.model_fields.items())
    parts = [_DEVICE_HEAD, "## Above the first table\n", _table(top), "## `[geometry]`\n"]
    return "\n".join([*parts, "The free layer, from which delta follows.\n", _table(geometry)])


_TITLES = {"prices": '[prices] "COMPONENT ACTION"'}


def arch_reference() -> str:
    """Return the page, in Markdown."""
    top = [(name, f) for name, f in ArchSpec.model_fields.items() if _model(f.annotation) is None]
    parts = [_HEAD, "## Above the first table\n", _table(top)]
    for name, field in ArchSpec.model_fields.items():
        model = _model(field.annotation)
        if model is not None:
            doc = " ".join((model.__doc__ or "").split())
            title = f"[{name}.NAME]" if get_origin(field.annotation) is dict else f"[{name}]"
            title = _TITLES.get(name, title)
            meaning = doc.split(": ", 1)[1]
            parts += [f"## `{title}`\n", f"{meaning[0].upper()}{meaning[1:]}\n"]
            parts.append(_table(list(model.model_fields.items())))
            parts += _inner(title, model)
    return "\n".join(parts)


def _inner(title: str, model: type[BaseModel]) -> list[str]:
    """Return the sections of the tables inside a table."""
    parts = []
    for name, field in model.model_fields.items():
        inner = next((a for a in get_args(field.annotation) if _model(a) is a), None)
        if inner is not None:
            doc = " ".join((inner.__doc__ or "").split()).split(": ", 1)[1]
            parts += [f"## `{title[:-1]}.{name}]`\n", f"{doc[0].upper()}{doc[1:]}\n"]
            parts.append(_table(list(inner.model_fields.items())))
    return parts


def _table(fields: list[tuple[str, FieldInfo]]) -> str:
    lines = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for name, field in fields:
        meaning = " ".join((field.description or "").split())
        lines.append(f"| `{name}` | {_value(field)} | {_default(field)} | {meaning} |")
    return "\n".join(lines) + "\n"


def _model(annotation: Any) -> type[BaseModel] | None:
    """Return the spec of a table, or of the entries of a table of tables."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return _model(get_args(annotation)[1]) if get_origin(annotation) is dict else None


def _value(field: FieldInfo) -> str:
    for mark in field.metadata:
        if isinstance(mark, Quantity):
            return _units(mark)
    return _kind(field.annotation)


def _units(mark: Quantity) -> str:
    return f"{mark.dimension.noun}: {' '.join(mark.dimension.units)}"


def _kind(annotation: Any) -> str:
    marks = [m for m in getattr(annotation, "__metadata__", ()) if isinstance(m, Quantity)]
    if marks:
        return _units(marks[0])
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "a table"
    args = [a for a in get_args(annotation) if a is not type(None)]
    origin = get_origin(annotation)
    if origin is dict:
        return f"a table: {_kind(args[0])} = {_kind(args[1])}"
    if origin is tuple:
        return "a list of names"
    if origin in (Union, UnionType) and len(args) > 1 and all(hasattr(a, "__metadata__") for a in args):
        return " or ".join(map(_kind, args))
    if hasattr(annotation, "__metadata__") or type(None) in get_args(annotation):
        return _kind(args[0])
    if args:
        return " ".join(f"`{a}`" for a in args)
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a string"}[annotation]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default_factory is not None or field.default is None:
        return "-"
    return f"`{toml_text(field.default)}`"
