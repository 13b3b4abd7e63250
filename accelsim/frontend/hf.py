"""Models of Hugging Face transformers by class name and configuration: no weights, no downloads.

``model = "accelsim.frontend.hf:model"`` in a workload; needs the extra ``accelsim[hf]``.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import torch

from accelsim.config.faults import did_you_mean

INSTALL = "transformers is not installed; pip install 'accelsim[hf]'"
WANTED = ("loss", "logits", "last_hidden_state")
BESIDE = ("attn_implementation", "experts_implementation", "num_labels")  # beside a configuration's fields


def model(architecture: str, config: Mapping[str, Any] | None = None) -> torch.nn.Module:
    """Return a model of transformers with random weights.

    Its ``forward`` returns one tensor: the model's own loss if its inputs hold labels, else the logits
    (a row per token, if there are several), else the last hidden state.

    Args:
        architecture: A class of transformers, such as ``GPT2LMHeadModel``.
        config: Keys of its configuration that differ from the default. ``use_cache`` is off unless given:
            training keeps no keys and values of earlier tokens.

    Raises:
        ImportError: transformers is not installed.
        ValueError: No such class, no such key, or a value that the configuration refuses.
    """
    made = _class(_transformers(), architecture)
    given = dict(config or {})
    if unknown := list(_unknown(made.config_class, given)):
        raise ValueError("; ".join(unknown))
    if "use_cache" in _keys(made.config_class):
        given = {"use_cache": False, **given}
    try:
        built: torch.nn.Module = made(made.config_class(**given))
    except Exception as exc:  # its checks say what is wrong below the first line
        raise ValueError(f"{architecture}: {' '.join(str(exc).split())}") from exc
    built.register_forward_hook(_one_tensor)
    return built


def _transformers() -> ModuleType:
    try:
        return importlib.import_module("transformers")
    except ModuleNotFoundError as exc:
        if exc.name != "transformers":
            raise
        raise ImportError(INSTALL) from None


def _class(library: ModuleType, name: str) -> Any:
    """Return the class of models ``name``."""
    found: Any = getattr(library, name, None)
    is_model = isinstance(found, type) and issubclass(found, library.PreTrainedModel)
    if is_model and found.config_class:
        return found
    version = f"transformers {library.__version__}"
    if found is not None:
        raise ValueError(f'architecture: "{name}" of {version} is no class of models')
    models = [k for k in dir(library) if k.endswith("Model") or "For" in k]
    raise ValueError(f'architecture: no "{name}" in {version}{did_you_mean(name, models)}')


def _unknown(config_class: Any, given: Mapping[str, Any], path: str = "config") -> Iterator[str]:
    """Yield a fault per key that the configuration does not have: transformers itself takes any."""
    keys = _keys(config_class)
    for key, value in given.items():
        part = config_class.sub_configs.get(key)
        if key not in keys:
            yield f'{path}: no key "{key}" in {config_class.__name__}{did_you_mean(key, keys)}'
        elif isinstance(value, Mapping) and part is not None and dataclasses.is_dataclass(part):
            yield from _unknown(part, value, f"{path}.{key}")


def _keys(config_class: Any) -> list[str]:
    return [f.name for f in dataclasses.fields(config_class)] + [*config_class.attribute_map, *BESIDE]


def _one_tensor(_model: torch.nn.Module, _args: object, result: object) -> object:
    """Return what the training loss needs of a ModelOutput; a hook, so that no path gets a prefix."""
    if not isinstance(result, Mapping):
        return result
    name = next((k for k in WANTED if result.get(k) is not None), None)
    if name is None:
        raise ValueError(f"forward returns {', '.join(result)}, but none of {', '.join(WANTED)}")
    value: torch.Tensor = result[name]
    return value.flatten(0, 1) if name == "logits" and value.dim() == 3 else value
