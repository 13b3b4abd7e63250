"""Key paths of a machine: whether they exist, what may stand there, and what that is as a number."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from accelsim.config.arch import ArchSpec
from accelsim.config.faults import did_you_mean, what_is_wrong
from accelsim.config.spec import Quantity
from accelsim.errors import InputError
from accelsim.units import SIZE, Dimension, Duration, size_text

_ANY = ConfigDict(arbitrary_types_allowed=True)  # goes with an optional type only, where that is a dataclass


@dataclass(frozen=True)
class Key:
    """A key of a machine: its dimension if it is a quantity, and the type that checks its values."""

    path: str
    dimension: Dimension | None
    adapter: TypeAdapter[Any]

    def number(self, value: Any) -> Any:
        """Return ``value``, as written in TOML, in base units; what is no number as it is.

        Raises:
            InputError: It may not stand at this key.
        """
        try:
            found = self.adapter.validate_python(tuple(value) if isinstance(value, list) else value)
        except ValidationError as exc:
            raise InputError(what_is_wrong(exc.errors(include_url=False)[0])) from None
        return float(found.amount) if isinstance(found, Duration) else found

    def written(self, number: float) -> Any:
        """Return a number in base units as it would be written in TOML."""
        if self.dimension is None:
            return number
        if not float(number).is_integer():
            return f"{float(number)!r} {self.dimension.base}"
        if self.dimension is SIZE:
            return size_text(int(number))
        return f"{int(number)} {self.dimension.base}"


def key_of(path: str, bases: Mapping[str, list[str]]) -> Key:
    """Return the key at ``path``.

    Args:
        path: Such as ``bank.mram.count``.
        bases: The names that free tables have in the base machine: ``{"bank": ["sram", "mram"]}``.

    Raises:
        InputError: There is no such key; the message names the nearest ones.
    """
    here: Any = ArchSpec
    parts = path.split(".")
    for i, part in enumerate(parts):
        model = _model(here) or _optional_model(here)
        if model is not None:
            field = model.model_fields.get(part)
            if field is None:
                raise InputError(_unknown(parts, i, list(model.model_fields)))
            here = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
            continue
        free = _free_table(here)
        if free is None:
            raise InputError(f"{'.'.join(parts[:i])} is no table")
        known = bases.get(".".join(parts[:i]), _closed_names(free[0]))
        if part not in known:
            raise InputError(_unknown(parts, i, known))
        here = free[1]
    if _model(here) is not None:
        raise InputError(f"is a table; name one of its keys, such as {path}.{_first(here)}")
    return Key(path, _dimension(here), TypeAdapter(here | None, config=_ANY))


def number_keys(bases: Mapping[str, list[str]]) -> list[str]:
    """Return all keys outside of free tables but ``bank``: what a misspelt path may have meant."""
    found = []
    for name, field in ArchSpec.model_fields.items():
        model = _model(field.annotation)
        if model is not None:
            found += [f"{name}.{key}" for key in model.model_fields]
        elif name == "bank":
            inner = _model(get_args(field.annotation)[1])
            assert inner is not None
            found += [f"bank.{bank}.{key}" for bank in bases.get("bank", []) for key in inner.model_fields]
        else:
            found.append(name)
    return found


def _unknown(parts: list[str], at: int, known: list[str]) -> str:
    where = ".".join(parts[:at])
    hint = did_you_mean(parts[at], known)
    if where == "bank":
        return f'no bank group "{parts[at]}"{hint or "; there are " + ", ".join(known)}'
    return f'no key "{parts[at]}"{f" in {where}" if where else ""}{hint or "; there are " + ", ".join(known)}'


def _model(kind: Any) -> type[BaseModel] | None:
    kind = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _optional_model(kind: Any) -> type[BaseModel] | None:
    """Return the model of a table that may be left out."""
    kind = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    found = [m for m in map(_model, get_args(kind)) if m is not None] if _is_choice(kind) else []
    return found[0] if len(found) == 1 else None


def _is_choice(kind: Any) -> bool:
    return get_origin(kind) in (Union, types.UnionType)


def _free_table(kind: Any) -> tuple[Any, Any] | None:
    kind = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if get_origin(kind) is dict:
        name, inner = get_args(kind)
        return name, inner
    return None


def _closed_names(kind: Any) -> list[str]:
    return [str(name) for name in get_args(kind)]


def _first(kind: Any) -> str:
    model = _model(kind)
    assert model is not None
    return next(iter(model.model_fields))


def _dimension(kind: Any) -> Dimension | None:
    """Return the dimension of a quantity, also of an optional one."""
    if isinstance(kind, FieldInfo):
        kind = Annotated[kind.annotation, *kind.metadata]
    if get_origin(kind) is Annotated:
        inner, *marks = get_args(kind)
        found = [m.dimension for m in marks if isinstance(m, Quantity)]
        return found[0] if found else _dimension(inner)
    if _is_choice(kind):
        return next((d for d in map(_dimension, get_args(kind)) if d is not None), None)
    return None
