"""Pydantic's errors in the words of this project: what is wrong, where, and what was meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from accelsim.config.origins import Fault, Origins
from accelsim.config.positions import KeyPath

TAGS = frozenset(  # of a value that may be either: no keys of the file
    {"[list]", "[fields]", "[points]", "[step]", "[text]", "[number]"}
)
_KEY = "[key]"  # pydantic's word for the name of an entry
_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "a string",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "dict_type": "a table",
    "list_type": "a list",
    "tuple_type": "a list",
}
_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}


def faults_of(exc: ValidationError, spec: type[BaseModel], origins: Origins) -> list[Fault]:
    """Return the faults behind ``exc``, raised by ``spec``, at their places."""
    errors = exc.errors(include_url=False)
    unknown = {
        err["loc"][:-1] for err in errors if err["loc"][-1:] == (_KEY,)
    }  # what stands there is no matter
    return [_fault(err, spec, origins) for err in errors if err["loc"] not in unknown]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``, did you mean x?`` for the nearest known word, or nothing.

    >>> did_you_mean("wrod", ["word", "count"]), did_you_mean("xyz", ["word"])
    (', did you mean word?', '')
    """
    near = difflib.get_close_matches(word, list(known), n=3)
    return f", did you mean {min(near, key=lambda name: _edits(word, name))}?" if near else ""


def _edits(a: str, b: str) -> int:
    """Return how many letters have to be put in, taken away or replaced to make ``b`` of ``a``.

    >>> _edits("mram-2s", "mram-1s"), _edits("mram-2s", "mram-26us")
    (1, 2)
    """
    costs = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, costs[0] = costs[0], i
        for j, y in enumerate(b, 1):
            before, costs[j] = costs[j], min(costs[j] + 1, costs[j - 1] + 1, before + (x != y))
    return costs[-1]


def listed(names: Iterable[str], most: int = 12, by: str = ", ") -> str:
    """Return names for a message, and how many more there are.

    >>> listed("abcd"), listed("abcd", most=2)
    ('a, b, c, d', 'a, b, ... and 2 more')
    """
    all_ = list(names)
    more = len(all_) - most
    return by.join(all_) if more <= 0 else f"{by.join(all_[:most])}{by}... and {more} more"


def toml_text(value: object) -> str:
    """Return ``value`` as a TOML author would write it, shortened; a table or list by its kind."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= 60 else f'"{value[:57]}..."'
    if isinstance(value, dict):
        return "a table"
    return "a list" if isinstance(value, list | tuple) else str(value)


def _fault(err: ErrorDetails, spec: type[BaseModel], origins: Origins) -> Fault:
    keys = tuple(key for key in err["loc"] if key not in TAGS)
    kind = err["type"]
    if kind == "missing" and isinstance(keys[-1], int):
        return origins.fault(keys[:-1], f"missing entry {keys[-1] + 1} of the list")
    if kind == "missing":
        return origins.fault(keys[:-1], f"missing key {keys[-1]}", at_key=True)
    if kind == "extra_forbidden":
        return origins.fault(keys, _unknown(keys, spec), at_key=True)
    if keys and keys[-1] == _KEY:  # the name of an entry of a table with a closed list of names
        keys = keys[:-1]
        return origins.fault(keys, _unknown_of(str(keys[-1]), _choices(err)), at_key=True)
    return origins.fault(keys, what_is_wrong(err))


def what_is_wrong(err: ErrorDetails) -> str:
    """Return what is wrong with a value, without its key."""
    kind, got = err["type"], err["input"]
    if kind in ("too_long", "too_short"):
        words, bound = ("at most", "max_length") if kind == "too_long" else ("at least", "min_length")
        n, ctx = int(err["ctx"][bound]), err["ctx"]
        return f"expected {words} {n} {'entry' if n == 1 else 'entries'}, got {ctx['actual_length']}"
    if kind == "literal_error":
        names = _choices(err)
        if not names:  # of numbers, which stand without quotes
            return f"expected {err['ctx']['expected']}, got {toml_text(got)}"
        hint = did_you_mean(got, names) if isinstance(got, str) else ""
        return f"expected {either(names)}, got {toml_text(got)}{hint}"
    if kind in ("list_type", "tuple_type") and isinstance(got, str):
        return f"expected a list such as [{toml_text(got)}], got {toml_text(got)}"
    if kind in _EXPECTED:
        return f"expected {_EXPECTED[kind]}, got {toml_text(got)}"
    if kind in _BOUNDS:
        words, bound = _BOUNDS[kind]
        return f"expected {words} {err['ctx'][bound]}, got {toml_text(got)}"
    if kind == "value_error":
        return err["msg"].removeprefix("Value error, ")
    return f"{err['msg'][:1].lower()}{err['msg'][1:]}, got {toml_text(got)}"


def _choices(err: ErrorDetails) -> list[str]:
    return re.findall(r"'([^']*)'", str(err.get("ctx", {}).get("expected", "")))


def either(names: Sequence[str]) -> str:
    """Return names for a message, of which one is expected.

    >>> either(["a", "b", "c"])
    '"a", "b" or "c"'
    """
    quoted = [f'"{name}"' for name in names]
    return quoted[0] if len(quoted) == 1 else ", ".join(quoted[:-1]) + f" or {quoted[-1]}"


def _unknown(keys: KeyPath, spec: type[BaseModel]) -> str:
    model = _model_at(spec, keys[:-1])
    known = [f.alias or name for name, f in model.model_fields.items()] if model else []
    return _unknown_of(str(keys[-1]), known)


def _unknown_of(word: str, known: list[str]) -> str:
    return "unknown key" + (did_you_mean(word, known) or f"; known: {', '.join(known)}")


def _model_at(spec: type[BaseModel], keys: KeyPath) -> type[BaseModel] | None:
    """Return the model that holds the keys below ``keys``."""
    kind: Any = spec
    for key in keys:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            by_key = {f.alias or name: f.annotation for name, f in kind.model_fields.items()}
            kind = _model_in(by_key.get(str(key)))
        else:
            inside = [a for a in get_args(kind) if a is not Ellipsis]
            kind = _model_in(inside[-1] if inside else None)
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _model_in(annotation: Any) -> Any:
    """Return the model among the choices of an annotation, or the container; else the annotation."""
    if get_origin(annotation) in (dict, list, tuple) or isinstance(annotation, type):
        return annotation
    inner = [found for a in get_args(annotation) if _holds(found := _model_in(a))]
    return inner[0] if inner else annotation


def _holds(annotation: Any) -> bool:
    """Return whether an annotation is a model, or a container that may hold one."""
    of_models = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return of_models or get_origin(annotation) in (dict, list, tuple)
