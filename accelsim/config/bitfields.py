"""Bit fields of stored numbers: which bits a name means, and whether names part a format.

Sign on top, then exponent, then mantissa; bit 0 is the lowest. int8 is two's complement: a sign and seven
bits of mantissa.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from accelsim.config.faults import did_you_mean
from accelsim.words import Format

Bits = tuple[int, ...]  # ascending

REST: Final = "rest"
SPLIT: Final[Mapping[Format, tuple[int, int]]] = {  # bits of a number, of which exponent
    "fp32": (32, 8),
    "bf16": (16, 8),
    "fp16": (16, 5),
    "int8": (8, 0),
}
_KNOWN: Final = ("sign", "exponent", "mantissa", "msb:K", REST)


def parts_of(width: int, exponent: int) -> dict[str, Bits]:
    """Return the bits of sign, exponent and mantissa.

    >>> parts_of(16, 5)["exponent"]
    (10, 11, 12, 13, 14)
    """
    mantissa = width - 1 - exponent
    return {
        "sign": (width - 1,),
        "exponent": tuple(range(mantissa, width - 1)),
        "mantissa": tuple(range(mantissa)),
    }


def split_fields(names: Sequence[str], form: Format) -> tuple[dict[str, Bits], list[tuple[str, str]]]:
    """Return the bits of every field, highest first, and what is wrong as (name, fault).

    A fault of the whole has an empty name. ``rest`` is given the name of what it comes to, so that a name
    says by itself which bits it means.

    >>> fields, faults = split_fields(["rest", "msb:9"], "bf16")
    >>> list(fields), fields["msb:9"][0], faults
    (['msb:9', 'mantissa'], 7, [])
    >>> split_fields(["sign", "mantissa"], "bf16")[1]
    [('', 'bits 7-14 of bf16 (exponent) are in no field; "rest" takes what is left')]
    """
    width, exponent = SPLIT[form]
    found: dict[str, Bits] = {}
    faults: list[tuple[str, str]] = []
    taken: dict[int, str] = {}
    for name in sorted(names, key=lambda n: n == REST):
        what = "" if name == REST else _fault_of(name, form)
        bits = () if what else _bits(name, form, taken)
        twice = [b for b in bits if b in taken]
        if twice:
            what = f'{_told(twice)} of {form} {_are(twice)} in "{taken[twice[0]]}" already'
        elif not bits and not what:
            what = f"no bit of {form} is left"
        if what:
            faults.append((name, what))
            continue
        taken |= dict.fromkeys(bits, name)
        found[name_of(bits, width, exponent) if name == REST else name] = bits
    missing = [b for b in range(width) if b not in taken]
    if missing and not faults:
        named = name_of(tuple(missing), width, exponent)
        of = form if named.startswith(REST) else f"{form} ({named})"
        faults.append(
            ("", f'{_told(missing)} of {of} {_are(missing)} in no field; "rest" takes what is left')
        )
    return dict(sorted(found.items(), key=lambda field: -max(field[1]))), faults


def bits_of(name: str, form: Format) -> Bits:
    """Return the bits of a field of ``split_fields``."""
    return _bits(name, form, {})


def name_of(bits: Bits, width: int, exponent: int) -> str:
    """Return a name of ``bits``, the rest: by sign, exponent and mantissa where they are made of these.

    >>> name_of((0, 1, 15), 16, 8), name_of(tuple(range(15)), 16, 8)
    ('rest(0-1,15)', 'exponent+mantissa')
    """
    left, names = set(bits), []
    for name, own in parts_of(width, exponent).items():
        if own and left.issuperset(own):
            names.append(name)
            left -= set(own)
    return "+".join(names) if not left else f"{REST}({_spans(bits, ',')})"


def rest_of(name: str) -> Bits:
    """Return the bits of a name such as ``name_of`` gives to a rest without one; (): it is none.

    >>> rest_of("rest(0-1,15)"), rest_of("rest")
    ((0, 1, 15), ())
    """
    found = re.fullmatch(rf"{REST}\((\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*)\)", name)
    spans = [span.split("-") for span in found[1].split(",")] if found else []
    return tuple(b for span in spans for b in range(int(span[0]), int(span[-1]) + 1))


def _fault_of(name: str, form: Format) -> str:
    width, exponent = SPLIT[form]
    for part in (p.strip() for p in name.split("+")):
        if found := re.fullmatch(r"msb:(\d+)", part):
            if not 1 <= int(found[1]) <= width:
                return f'"{part}": {form} has {width} bits'
        elif part == REST:
            return f'"{REST}" stands alone: it takes what no other field has'
        elif part not in parts_of(width, exponent):
            known = f"; there are {', '.join(_KNOWN)}; names may be joined by +"
            return f'no bit field "{part}"{did_you_mean(part, _KNOWN) or known}'
        elif not parts_of(width, exponent)[part]:
            return f"{form} has no {part}"
    return ""


def _bits(name: str, form: Format, taken: Iterable[int]) -> Bits:
    width, exponent = SPLIT[form]
    if name == REST:
        return tuple(b for b in range(width) if b not in taken)
    rest = rest_of(name)
    if rest:
        return rest
    bits: set[int] = set()
    for part in (p.strip() for p in name.split("+")):
        if found := re.fullmatch(r"msb:(\d+)", part):
            bits.update(range(width - int(found[1]), width))
        elif found := re.fullmatch(r"bits:(\d+)-(\d+)", part):  # of older runs
            bits.update(range(int(found[1]), int(found[2]) + 1))
        else:
            bits.update(parts_of(width, exponent)[part])
    return tuple(sorted(bits))


def _runs(bits: Iterable[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for bit in bits:
        if runs and runs[-1][1] == bit - 1:
            runs[-1] = (runs[-1][0], bit)
        else:
            runs.append((bit, bit))
    return runs


def _spans(bits: Sequence[int], by: str = ", ") -> str:
    return by.join(f"{a}" if a == b else f"{a}-{b}" for a, b in _runs(bits))


def _told(bits: Sequence[int]) -> str:
    return f"bit{'s' * (len(bits) > 1)} {_spans(bits)}"


def _are(bits: Sequence[int]) -> str:
    return "are" if len(bits) > 1 else "is"
