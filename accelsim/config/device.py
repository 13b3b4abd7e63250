"""The description of a magnetic tunnel junction: the keys of ``arch/devices/*.toml``, units and defaults.

The docstring under a key is its line in ``docs/device-reference.md``.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, Strict

from accelsim.config.block import Block
from accelsim.config.spec import (
    Amperes,
    AmperesPerMetre,
    Kelvin,
    Metres,
    Ohms,
    Positive,
    Probability,
    Seconds,
    Spec,
    Tesla,
    Text,
    up_to,
    written,
)
from accelsim.units import LIFETIME

Access = Annotated[Seconds, up_to("1 ms", LIFETIME)]


class GeometrySpec(Spec):
    """``[geometry]``: the free layer, from which the thermal stability follows."""

    diameter: Metres
    """Of the round pillar."""
    thickness: Metres
    """Of the free layer."""
    saturation: AmperesPerMetre
    """Saturation magnetisation."""


class DeviceSpec(Block):
    """A device: one of `delta`, `retention` and `[geometry]`, one of `pulse` and `target_wer`, one of
    `write_overdrive` and `write_current`."""

    ONE_OF: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("delta", "retention", "geometry"),
        ("pulse", "target_wer"),
        ("write_overdrive", "write_current"),
    )
    """Keys of which one is given: one of a later file, or of a file over its bases, replaces the others."""
    GOES_WITH: ClassVar[dict[str, str]] = {"retention": "retention_means", "target_wer": "pulse_temperature"}
    """What has no meaning without such a key, and goes where that is replaced."""

    assumed: tuple[Text, ...] = ()
    """Keys whose numbers `source` does not cover: they count as assumed."""
    law: Text = "macrospin"
    """Device laws that judge it: `macrospin`, or a name that an installed package offers."""
    delta: Positive | None = None
    """Thermal stability factor at `reference_temperature`."""
    retention: Seconds | None = None
    """Retention at `reference_temperature`, as `retention_means` says."""
    retention_means: Text = "mean"
    """`mean`: the mean time to a flip of the mean cell, tau0 exp(delta); `ber:1e-6`: the time by which that
    share of the bits reads wrong, the spread of delta and the asymmetry of states included."""
    geometry: GeometrySpec | None = None
    """The free layer."""
    state_asymmetry: Annotated[float, Strict(), Field(ge=-0.3, le=0.3)] = 0.0
    """a: the parallel state (0) has delta (1 + a), the antiparallel (1) delta (1 - a)."""
    delta_cv: Annotated[float, Strict(), Field(ge=0, le=0.2)] = 0.0
    """Static spread of delta over cells: standard deviation over mean."""
    reference_temperature: Kelvin = written("300 K")
    """At which `delta` or `retention` hold."""
    attempt_time: Seconds = written("1 ns")
    """Inverse attempt frequency of thermal flips."""
    damping: Positive = 0.01
    """Gilbert damping."""
    efficiency: Annotated[float, Strict(), Field(gt=0, le=1)] = 0.5
    """Spin-transfer efficiency, at most 1."""
    anisotropy_field: Tesla = written("0.3 T")
    """Effective perpendicular anisotropy field; with the damping it sets the intrinsic switching time."""
    write_overdrive: Positive | None = None
    """Write current over the critical current of the harder direction (0 -> 1)."""
    write_current: Amperes | None = None
    """Write current; its overdrive follows from the critical current."""
    write_asymmetry: Annotated[float, Strict(), Field(ge=1, le=4)] = 1.0
    """Critical current of 0 -> 1 over that of 1 -> 0."""
    overdrive_sigma: Annotated[float, Strict(), Field(ge=0, le=0.5)] = 0.0
    """Spread of the overdrive over cells and writes, absolute."""
    pulse: Access | None = None
    """Length of the write pulse, at most 1 ms."""
    target_wer: Annotated[float, Strict(), Field(gt=0, lt=1)] | None = None
    """Write error rate of the harder direction that the pulse is made for."""
    pulse_temperature: Kelvin | None = None
    """At which the pulse reaches `target_wer`; default: the machine's temperature, so that each machine has
    its own pulse."""
    resistance: Ohms = written("4.5 kohm")
    """Of the junction, for its own write energy; a bank's write path is its macro's."""
    read_overdrive: Annotated[float, Strict(), Field(ge=0, lt=1)] = 0.1
    """Read current over the critical current of the direction in which it disturbs."""
    read_time: Access = written("3 ns")
    """For how long a read drives it, at most 1 ms."""
    read_disturbs: Literal[0, 1] = 1
    """The stored bit that the read current may flip."""
    sense_error: Probability = 0.0
    """Probability that a read delivers a bit wrong, once."""
    endurance: Positive = 1e12
    """Writes that a cell bears."""
