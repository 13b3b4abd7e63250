"""What any device laws must keep, as tests: a plug-in's author subclasses ``LawsContract``.

class TestMyLaws(LawsContract):
    laws = MyLaws()
    device = load_device("my.toml", 350.0)
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from accelsim.device.laws import Laws, flipped, mean_rate

TIMES_S = np.logspace(-9, 3, 25)
PULSES = np.linspace(0.2, 2.0, 19)  # of the device's own
KELVINS = (300.0, 330.0, 360.0)


class LawsContract:
    """Collected by pytest in subclasses, which give ``laws`` and a ``device`` that they judge."""

    laws: ClassVar[Laws]
    device: ClassVar[Any]  # a frozen dataclass with the fields of accelsim.resolve.bank_group.Device

    def test_weights_of_the_nodes_add_up_to_one(self) -> None:
        """Nodes stand for all cells, and without a spread there is one kind of cell."""
        nodes, weights = self.laws.nodes(self.device)
        assert nodes.shape == weights.shape
        assert np.all(weights >= 0)
        assert abs(weights.sum() - 1) < 1e-9
        assert np.ptp(self.laws.nodes(replace(self.device, delta_cv=0.0))[0]) < 1e-9

    def test_flips_grow_with_time_to_one_half(self) -> None:
        """From nothing to a coin toss."""
        found = np.array([flipped(self.laws, self.device, float(t)) for t in TIMES_S])
        assert np.all(np.diff(found) >= 0)
        assert np.all((found >= 0) & (found <= 0.5))
        assert flipped(self.laws, self.device, 0.0) == 0

    def test_hotter_and_less_stable_cells_flip_sooner(self) -> None:
        """Retention falls with temperature and grows with delta."""
        by_kelvin = [mean_rate(self.laws, replace(self.device, temperature_k=k)) for k in KELVINS]
        by_delta = [
            mean_rate(self.laws, replace(self.device, delta=self.device.delta * s)) for s in (1.2, 1.0, 0.9)
        ]
        assert by_kelvin == sorted(by_kelvin)
        assert by_delta == sorted(by_delta)

    def test_longer_pulses_fail_less(self) -> None:
        """In both directions, and as probabilities."""
        for old in (0, 1):
            found = [
                self.laws.write_error_rate(
                    replace(self.device, pulse_s=self.device.pulse_s * s), old, 1 - old
                )
                for s in PULSES.tolist()
            ]
            assert found == sorted(found, reverse=True)
            assert all(0 <= p <= 1 for p in found)

    def test_pulse_and_error_rate_are_inverse(self) -> None:
        """The pulse for an error rate has that error rate."""
        for wer in (1e-2, 1e-4, 1e-6):
            pulse = float(self.laws.write_pulse(self.device, wer))
            again = self.laws.write_error_rate(replace(self.device, pulse_s=pulse), 0, 1)
            assert abs(again / wer - 1) < 0.01

    def test_a_read_without_current_is_standing_still(self) -> None:
        """As the read current goes to nothing, the state that it disturbs flips as thermally as ever."""
        nodes, weights = self.laws.nodes(self.device)
        weak = replace(self.device, read_overdrive=1e-9)
        thermal = self.laws.rates_per_s(self.device, nodes)[self.device.read_disturbs] * weak.read_s
        found = self.laws.read_disturb_probability(weak, nodes)
        assert abs(float(weights @ found) / float(weights @ -np.expm1(-thermal)) - 1) < 1e-3

    def test_reads_disturb_with_a_probability(self) -> None:
        """More current disturbs more."""
        nodes, weights = self.laws.nodes(self.device)
        found = [
            float(weights @ self.laws.read_disturb_probability(replace(self.device, read_overdrive=i), nodes))
            for i in (0.01, 0.1, 0.2, 0.3)
        ]
        assert found == sorted(found)
        assert all(0 <= p <= 1 for p in found)
