"""The own device laws keep the contract of device laws, and packages may bring others."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from accelsim.device.contract import LawsContract
from accelsim.device.laws import Macrospin, known_laws
from accelsim.resolve.device import load_device


class TestOwnLaws(LawsContract):
    """Of a device with a spread."""

    laws = Macrospin()
    device = load_device("mram-1s", 350.0)


class TestOwnLawsWithAsymmetry(LawsContract):
    """States and directions differ."""

    laws = Macrospin()
    device = replace(load_device("mram-l4", 330.0), state_asymmetry=0.1, write_asymmetry=1.5)


PLUGIN = """
from accelsim.device.laws import Macrospin

class Twice(Macrospin):
    def rates_per_s(self, device, nodes):
        up, down = super().rates_per_s(device, nodes)
        return 2 * up, 2 * down
"""
METADATA = "Metadata-Version: 2.1\nName: twice\nVersion: 1.0\n"
DEVICE = 'law = "twice"\ndelta = 30.0\npulse = "10 ns"\nwrite_overdrive = 2.0\n'


def test_a_package_brings_its_own_laws(tmp_path: Path) -> None:
    """Found by their entry point, named in the device's file."""
    info = tmp_path / "twice-1.0.dist-info"
    info.mkdir()
    (tmp_path / "twice_laws.py").write_text(PLUGIN)
    (info / "METADATA").write_text(METADATA)
    (info / "entry_points.txt").write_text("[accelsim.device_laws]\ntwice = twice_laws:Twice\n")
    (tmp_path / "d.toml").write_text(DEVICE)
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from accelsim.device.laws import known_laws, laws, mean_rate\n"
        "from accelsim.resolve.device import load_device\n"
        f"d = load_device({str(tmp_path / 'd.toml')!r})\n"
        "print(known_laws(), round(mean_rate(laws(d.law), d) / mean_rate(laws('macrospin'), d), 6))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "('macrospin', 'twice') 2.0"


def test_the_own_laws_come_first() -> None:
    """Whatever is installed."""
    assert known_laws()[0] == "macrospin"
