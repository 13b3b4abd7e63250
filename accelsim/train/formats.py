"""Storage formats: where sign, exponent and mantissa stand in a stored word, and words from values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from accelsim.config.bitfields import rest_of
from accelsim.config.faults import did_you_mean
from accelsim.errors import InputError

Words = NDArray[Any]  # unsigned integers of a format's width

_UNSIGNED: Final = {width: np.dtype(f"u{width // 8}") for width in (8, 16, 32, 64)}
_SIGNED: Final = {width: np.dtype(f"i{width // 8}") for width in (8, 16, 32, 64)}
_FIELDS: Final = ("all", "sign", "exponent", "mantissa", "msb:N", "lsb:N", "bits:LOW-HIGH")


@dataclass(frozen=True, slots=True)
class StorageFormat:
    """How a number is stored: sign bit on top, then exponent, then mantissa; bit 0 is the lowest.

    Attributes:
        exponent: Bits of the exponent; 0 for int8, which is two's complement with a scale per tensor.
    """

    name: str
    width: int
    exponent: int
    dtype: torch.dtype
    word: torch.dtype  # the signed integer of the same width: torch indexes and views those

    @property
    def mantissa(self) -> int:
        """Bits below the exponent."""
        return self.width - 1 - self.exponent

    @property
    def unsigned(self) -> np.dtype[Any]:
        """numpy's unsigned integer of this width."""
        return _UNSIGNED[self.width]

    @property
    def signed(self) -> np.dtype[Any]:
        """numpy's signed integer of this width."""
        return _SIGNED[self.width]

    def non_finite(self, words: Words) -> NDArray[np.bool_]:
        """Return which words are an infinity or no number: every bit of the exponent is set."""
        if not self.exponent:
            return np.zeros(words.shape, bool)
        mask = self.unsigned.type(((1 << self.exponent) - 1) << self.mantissa)
        return np.asarray((words & mask) == mask)


FORMATS: Final = {
    f.name: f
    for f in (
        StorageFormat("fp64", 64, 11, torch.float64, torch.int64),
        StorageFormat("fp32", 32, 8, torch.float32, torch.int32),
        StorageFormat("bf16", 16, 8, torch.bfloat16, torch.int16),
        StorageFormat("fp16", 16, 5, torch.float16, torch.int16),
        StorageFormat("int8", 8, 0, torch.int8, torch.int8),
    )
}
COMPUTE: Final = {f.dtype: f for f in FORMATS.values() if f.exponent}


def format_of(name: str) -> StorageFormat:
    """Return the format called ``name``.

    Raises:
        InputError: There is none of that name.
    """
    if name not in FORMATS:
        hint = did_you_mean(name, FORMATS) or f"; there are {', '.join(FORMATS)}"
        raise InputError(f'unknown storage format "{name}"{hint}')
    return FORMATS[name]


def field_bits(field: str, form: StorageFormat) -> tuple[int, ...]:
    """Return the bits that ``field`` names in ``form``, ascending; ``+`` joins fields.

    >>> field_bits("exponent", FORMATS["bf16"]), field_bits("sign+lsb:2", FORMATS["fp32"])
    ((7, 8, 9, 10, 11, 12, 13, 14), (0, 1, 31))

    Raises:
        InputError: No such field.
    """
    bits: set[int] = {bit for bit in rest_of(field) if bit < form.width}
    for part in () if bits else field.split("+"):
        bits.update(_bits(part.strip(), form))
    return tuple(sorted(bits))


def _bits(field: str, form: StorageFormat) -> range:
    width, mantissa = form.width, form.mantissa
    named = {
        "all": range(width),
        "sign": range(width - 1, width),
        "exponent": range(mantissa, width - 1),
        "mantissa": range(mantissa),
    }
    if field in named:
        return named[field]
    if found := re.fullmatch(r"(msb|lsb):(\d+)", field):
        count = min(int(found[2]), width)
        return range(width - count, width) if found[1] == "msb" else range(count)
    if found := re.fullmatch(r"bits:(\d+)-(\d+)", field):
        return range(int(found[1]), min(int(found[2]) + 1, width))
    hint = did_you_mean(field, _FIELDS) or f"; there are {', '.join(_FIELDS)}"
    raise InputError(f'unknown bit field "{field}"{hint}')


def rounded(values: torch.Tensor, form: StorageFormat) -> tuple[torch.Tensor, float]:
    """Return ``values`` as ``form`` would give them back, in their own dtype, and the scale (1 but for int8).

    int8 is symmetric: 127 steps of ``scale`` up to the largest finite magnitude of the tensor.
    """
    if form.exponent:
        return values.to(form.dtype).to(values.dtype), 1.0
    finite = torch.nan_to_num(values.float(), nan=0.0, posinf=0.0, neginf=0.0)
    largest = float(finite.abs().max()) if values.numel() else 0.0
    scale = largest / 127 or 1.0
    steps = torch.nan_to_num(values.float() / scale, nan=0.0).round().clamp(-127, 127)
    return ((steps + 0.0) * scale).to(values.dtype), scale  # no negative zeros


def encode(raw: Words, compute: StorageFormat, stored: StorageFormat, scale: float) -> Words:
    """Return the stored words of ``raw`` words of the compute format, which ``stored`` can represent."""
    if compute is stored:
        return raw
    values = as_values(raw, compute)
    if not stored.exponent:
        values = torch.nan_to_num(values.float() / scale, nan=0.0).round().clamp(-128, 127)
    words: Words = values.to(stored.dtype).view(stored.word).numpy().view(stored.unsigned)
    return words


def decode(words: Words, compute: StorageFormat, stored: StorageFormat, scale: float) -> Words:
    """Return the words of the compute format that ``words``, as stored, stand for."""
    if compute is stored:
        return words
    values = as_values(words, stored)
    if not stored.exponent:
        values = values.float() * scale
    return as_words(values, compute)


def as_values(words: Words, form: StorageFormat) -> torch.Tensor:
    """Return the numbers that ``words`` of ``form`` are."""
    return torch.from_numpy(np.ascontiguousarray(words).view(form.signed)).view(form.dtype)


def as_words(values: torch.Tensor, form: StorageFormat) -> Words:
    """Return ``values`` as words of ``form``."""
    words: Words = values.to(form.dtype).view(form.word).numpy().view(form.unsigned)
    return words
