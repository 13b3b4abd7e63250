"""The base of every spec, and the types of its fields: counts, and quantities as strings with units.

A quantity type converts while it validates: a field annotated ``Bytes`` holds whole bytes and is written
``"256 KiB"``. Give a default as it would be written: ``written("4 KiB")``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict, WithJsonSchema

from accelsim import units
from accelsim.units import Dimension, Duration


class Spec(BaseModel):
    """A frozen table of a description; unknown keys are faults; attribute docstrings describe keys."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        use_attribute_docstrings=True,
        arbitrary_types_allowed=True,
    )


class Quantity:
    """The mark by which the reference and the schema know a field's dimension."""

    def __init__(self, dimension: Dimension) -> None:
        self.dimension = dimension


def _quantity(dimension: Dimension, parse: Callable[[object], object]) -> tuple[Any, ...]:
    schema = {"type": "string", "pattern": dimension.pattern, "examples": [dimension.example]}
    return Quantity(dimension), BeforeValidator(parse), WithJsonSchema(schema)


def _whole(dimension: Dimension) -> tuple[Any, ...]:
    return _quantity(dimension, lambda text: units.whole(text, dimension))


def _real(dimension: Dimension) -> tuple[Any, ...]:
    return _quantity(dimension, lambda text: units.real(text, dimension))


MOST: Final = 1_000_000  # of anything that is counted on a chip

Count = Annotated[int, Strict(), Field(ge=1)]
CountOrZero = Annotated[int, Strict(), Field(ge=0)]
Parts = Annotated[int, Strict(), Field(ge=1, le=MOST)]
PartsOrNone = Annotated[int, Strict(), Field(ge=0, le=MOST)]
Text = Annotated[str, Strict()]
Flag = Annotated[bool, Strict()]
Positive = Annotated[float, Strict(), Field(gt=0, allow_inf_nan=False)]
Probability = Annotated[float, Strict(), Field(ge=0, le=0.5)]
Share = Annotated[float, Strict(), Field(ge=0, le=1)]

Bytes = Annotated[int, *_whole(units.SIZE)]
SomeBytes = Annotated[int, *_whole(units.SIZE), Field(ge=1)]
Hertz = Annotated[int, *_whole(units.FREQUENCY)]
BytesPerSecond = Annotated[int, *_whole(units.BANDWIDTH)]
Nanometres = Annotated[int, *_whole(units.NODE)]
Time = Annotated[Duration, *_quantity(units.DURATION, units.duration)]
Picojoules = Annotated[float, *_real(units.ENERGY)]
PicojoulesPerBit = Annotated[float, *_real(units.ENERGY_PER_BIT)]
PicojoulesPerBitMm = Annotated[float, *_real(units.ENERGY_PER_BIT_MM)]
Milliwatts = Annotated[float, *_real(units.POWER)]
SquareMm = Annotated[float, *_real(units.AREA)]
Millimetres = Annotated[float, *_real(units.LENGTH)]
Seconds = Annotated[float, *_real(units.LIFETIME)]
Metres = Annotated[float, *_real(units.EXTENT)]
Tesla = Annotated[float, *_real(units.FIELD)]
AmperesPerMetre = Annotated[float, *_real(units.MAGNETISATION)]
Amperes = Annotated[float, *_real(units.CURRENT)]
Ohms = Annotated[float, *_real(units.RESISTANCE)]
Kelvin = Annotated[float, *_quantity(units.TEMPERATURE, units.kelvin)]


def later(*names: str, use: str) -> BeforeValidator:
    """Refuse, by name, choices that the design knows and this version does not have."""

    def check(value: object) -> object:
        if value in names:
            raise ValueError(f'"{value}" is not supported yet; use {use}')
        return value

    return BeforeValidator(check)


def up_to(text: str, dimension: Dimension) -> AfterValidator:
    """Refuse more than a quantity."""
    most = float(dimension.parse(text))

    def check(value: float) -> float:
        if value > most:
            raise ValueError(f"expected at most {text}")
        return value

    return AfterValidator(check)


def written(text: str) -> Any:
    """Return the default of a quantity, as an author would write it; it is converted like any other."""
    return Field(default=text)
