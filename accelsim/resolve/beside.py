"""Files that a key names, relative to the file that holds the key."""

from __future__ import annotations

from pathlib import Path

from accelsim.config.origins import Origins
from accelsim.config.positions import KeyPath


def beside(name: str, origins: Origins, keys: KeyPath) -> str:
    """Return a shipped name as it is, or the path as seen from the file that names it."""
    if "/" not in name and not name.endswith((".toml", ".csv")):
        return name
    label = origins.source_label(keys) or ""
    path = Path(label).parent / name
    return str(path) if label.endswith(".toml") and path.is_file() else name
