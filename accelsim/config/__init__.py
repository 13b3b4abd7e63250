"""Descriptions in TOML: frozen, validated specs, and where in which file each key stands."""
