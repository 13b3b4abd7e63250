"""JSON Schema of a machine's description, for editors."""

from __future__ import annotations

from typing import Any

from accelsim.config.arch import ArchSpec

_EXTENDS = {
    "description": "Base files: shipped names or paths relative to this file; this file wins.",
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
}


def arch_schema() -> dict[str, Any]:
    """Return the JSON Schema of ``arch/*.toml``.

    Quantities are strings with a pattern. Nothing is required: a file that extends another is partial.
    """
    schema = ArchSpec.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "accelsim machine"
    schema["properties"] = {"extends": _EXTENDS} | schema["properties"]
    _tidy(schema)
    return schema


def _tidy(schema: Any) -> None:
    """Drop what is wrong for a file or repeats in editors, in ``schema`` and all below it.

    That is the lists ``required``, titles made from keys, and defaults that are no TOML: of tables (in base
    units) and null.
    """
    if isinstance(schema, list):
        for value in schema:
            _tidy(value)
    if not isinstance(schema, dict):
        return
    if isinstance(schema.get("required"), list):
        del schema["required"]
    if isinstance(schema.get("description"), str):
        schema["description"] = " ".join(schema["description"].split())
    for entry in schema.get("properties", {}).values():
        entry.pop("title", None)
        if isinstance(entry.get("default"), dict) or entry.get("default", "") is None:
            del entry["default"]
    for value in schema.values():
        _tidy(value)
