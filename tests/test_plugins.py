"""Plug-ins: the package of docs/plugins.md, really installed and really used; faults name who is at fault."""

from __future__ import annotations

import importlib
import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from accelsim import simulate
from accelsim.contracts import BANK_LAWS, LOWERING_LAWS, PLACEMENT_LAWS, bank_groups
from accelsim.errors import GraphError, InputError, PluginError
from accelsim.frontend import load_workload
from accelsim.machine.memory import Access, Bank
from accelsim.machine.plugged import Guarded, plugged_bank
from accelsim.plugins import Plugin
from accelsim.resolve import load_machine
from accelsim.resolve.bank_group import BankGroup
from accelsim.sim import Sim
from tests.test_docs import FILE, ROOT

PAGE = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
SHOWN = re.compile(r"^```text\n\$ accelsim (.*?)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's files, the package installed into ``site`` without network."""
    folder = tmp_path_factory.mktemp("drowsy")
    for name, text in FILE.findall(PAGE):
        (folder / name).write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "pip", "install", ".", "-q", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*command, "--target", "site"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (folder / "drowsy.py").unlink()  # what is installed is what runs
    return folder


def _python(package: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the installed package on its path."""
    path = os.pathsep.join([str(package / "site"), str(ROOT)])
    env = {**os.environ, "PYTHONPATH": path, "ACCELSIM_CACHE": str(package / "cache"), "COLUMNS": "110"}
    call = [sys.executable, *args]
    return subprocess.run(call, cwd=package, capture_output=True, text=True, check=False, env=env)


@contextmanager
def _installed(site: Path, package: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let this process see the package that is installed in ``site``."""
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(site))
        patch.setenv("ACCELSIM_CACHE", str(site / "cache"))
        patch.chdir(package)
        importlib.invalidate_caches()
        sys.modules.pop("drowsy", None)
        yield
    sys.modules.pop("drowsy", None)


def _changed(package: Path, site: Path, old: str, new: str, version: str = "1.0") -> Path:
    """Return ``site``, a copy of the installed package in which ``old`` is ``new``."""
    for path in (package / "site").rglob("*"):
        target = site / path.relative_to(package / "site")
        if path.is_file() and path.suffix in ("", ".py", ".txt"):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    text = (site / "drowsy.py").read_text()
    assert old in text
    (site / "drowsy.py").write_text(text.replace(old, new, 1))
    (info,) = site.glob("accelsim_drowsy-*.dist-info")
    meta = (info / "METADATA").read_text()
    (info / "METADATA").write_text(meta.replace("Version: 1.0", f"Version: {version}"))
    return site


def _run(out: Path, workload: str, batch: int, **how: Any) -> dict[str, Any]:
    """Run on the page's machine and return the manifest and, in it, the summary."""
    run = simulate("sleepy.toml", workload, batch=batch, out=out, **how)
    manifest: dict[str, Any] = json.loads((run.run_dir / "manifest.json").read_text())
    return manifest | {"summary": run.summary}


def test_the_page_shows_what_the_package_does(package: Path) -> None:
    """Its commands, with ``...`` for anything."""
    shown = SHOWN.findall(PAGE)
    assert len(shown) == 2
    for command, text in shown:
        done = _python(package, "-m", "accelsim", *command.split())
        pattern = r"[\s\S]*?".join(re.escape(piece) for piece in text.strip().split("..."))
        assert re.fullmatch(pattern, (done.stdout + done.stderr).strip()), done.stdout + done.stderr


def test_the_package_keeps_the_contract(
    package: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The author's test file of the page, every law of it."""
    with _installed(package / "site", package, monkeypatch):
        theirs = runpy.run_path("test_drowsy.py")
        for law in BANK_LAWS:
            for spec in bank_groups():
                theirs["test_bank"](spec, law)
        for law in PLACEMENT_LAWS:
            theirs["test_policy"](law)
        for law in LOWERING_LAWS:
            theirs["test_lowering"](law, tmp_path_factory)


def test_the_skip_is_exact_with_a_plug_in_s_bank(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steady states are found, and the result is that of all tiles; without ``standing`` none is sought."""
    (package / "layer.csv").write_text("Layer,M,N,K\nlayer,8000,64,64\n")
    lists = [f'placement.{role}=["sram"]' for role in ("input", "weight", "activation")]
    job: dict[str, Any] = {"overrides": ["placement.policy=roles", *lists]}
    with _installed(package / "site", package, monkeypatch):
        skipped = _run(tmp_path / "skipped", "layer.csv", 1, **job)
        exact = _run(tmp_path / "exact", "layer.csv", 1, exact=True, **job)
    assert skipped["skip"]["tiles_skipped"] + skipped["skip"]["folds_skipped"] > 0
    assert skipped["summary"] == exact["summary"]
    assert skipped["summary"]["stall_ps"]["wakeup"] > 0
    site = _changed(package, tmp_path / "mute", "def standing(self, now)", "def unsaid(self, now)")
    with _installed(site, package, monkeypatch):
        slow = _run(tmp_path / "slow", "layer.csv", 1, **job)
    assert slow["skip"]["tiles_skipped"] + slow["skip"]["folds_skipped"] == 0
    assert slow["summary"]["time_ps"] == exact["summary"]["time_ps"]
    why = "bank.sram: its model, drowsy of accelsim-drowsy 1.0, says nothing of its state"
    assert f"every tile is simulated: {why}" in slow["summary"]["notes"]
    assert set(slow["skip"]["no_period"].values()) == {why}


def test_the_version_is_part_of_the_identity(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another version: another run, another program, another captured graph; no other figure."""
    runs = []
    for version in ("1.0", "1.1"):
        site = _changed(package, tmp_path / version, "", "", version)
        with _installed(site, package, monkeypatch):
            if runs:  # the older run's mapping would have to be made by the older policy
                with pytest.raises(PluginError, match=r"with accelsim\.placement:by-lifetime \S+ 1\.0; "):
                    _run(tmp_path / "frozen", "mlp", 2, mapping_from=tmp_path / "mlp")
            else:
                _run(tmp_path / "mlp", "mlp", 2)
            runs.append(_run(tmp_path / f"run-{version}", "gated.toml", 8))
    now, later = runs
    assert [now[x] == later[x] for x in ("id", "graph", "program")] == [False] * 3
    assert now["summary"]["time_ps"] == later["summary"]["time_ps"]
    assert now["machine"]["banks"]["sram"]["model_identity"] == "accelsim.banks:drowsy accelsim-drowsy 1.0"
    assert later["machine"]["policy_identity"] == "accelsim.placement:by-lifetime accelsim-drowsy 1.1"


BANK = "plug-in drowsy of accelsim-drowsy 1.0 (accelsim.banks): "
POLICY = "plug-in by-lifetime of accelsim-drowsy 1.0 (accelsim.placement): "
GATE = "plug-in drowsy.gate of accelsim-drowsy 1.0 (accelsim.lowering): "
CLASS, ENDED, FAST = "class DrowsyBank(Bank):", "        return found\n", "    fast = "
BROKEN = {  # what stands in the package, what stands there instead, and what is said
    "raises": (ENDED, "        raise ValueError('no word')\n", f"{BANK}.*raised ValueError: no word"),
    "tuple": (
        ENDED,
        "        return tuple(found)\n",
        f'{BANK}access(".*.*) of bank.sram returned tuple (.*; expected an accelsim.machine.memory.Access',
    ),
    "times": (ENDED, "        return found._replace(done_ps=-1)\n", f"{BANK}.*expected whole picoseconds"),
    "no bank": (CLASS, "class DrowsyBank:", f"{BANK}making bank.sram raised TypeError"),
    "lacks": (
        CLASS,
        f"DrowsyBank = lambda *_: 1\n{CLASS[:6]}_(Bank):",
        f"{BANK}.*it lacks spec, chunk_bytes",
    ),
    "group": (FAST, "    return {facts[0].tensor: ['x']}\n    fast = ", f"{POLICY}.*no bank group 'x'"),
    "names": (
        FAST,
        "    return {facts[0].tensor: [['x']]}\n    fast = ",
        f"{POLICY}.*expected a list of names",
    ),
    "tensor": (FAST, "    return {'x': []}\n    fast = ", f"{POLICY}there is no tensor or role 'x'"),
    "policy": (FAST, "    fast = 1 / 0\n    fast = ", f"{POLICY}placing the tensors raised ZeroDivision"),
    "view": ("    return elementwise(", "    return None and (", f"{GATE}.*returned NoneType; expected a"),
    "storage": (
        "    return elementwise(",
        "    import dataclasses\n    return (lambda *a: dataclasses.replace(elementwise(*a), base='x'))(",
        f"{GATE}.*returned a view of 'x', a storage that nothing has written to",
    ),
    "function": (
        '(("sigmoid", 1),',
        '(("sigmoyd", 1),',
        f"{GATE}.*('sigmoyd', 1) among its functions; expected",
    ),
    "import": (
        '"""Plug',
        'import nowhere\n"""Plug',
        f"{POLICY}loading it raised ModuleNotFoundError.*nowhere",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_fault_names_the_plug_in(
    package: Path, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One message, no run folder."""
    old, new, expected = BROKEN[fault]
    workload = "gated.toml" if expected.startswith(GATE) else "mlp"
    site = _changed(package, tmp_path / "site", old, new)
    pattern = re.escape(expected).replace(r"\.\*", ".*")
    with _installed(site, package, monkeypatch), pytest.raises(PluginError, match=pattern) as caught:
        _run(tmp_path / "run", workload, 2)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


class Odd(Bank):
    """A bank that is right but for what a test sets."""

    def __init__(self, spec: BankGroup, sim: Sim, granularity_bytes: int) -> None:
        super().__init__(sim, spec, granularity_bytes)
        vars(self).update(ODD)


ODD: dict[str, Any] = {}
ODDITIES = {  # a member, what it is instead, and what is said
    "access": (
        lambda *_: Access(0, 0, 5, "tea"),
        "read of 64 bytes waits for 'tea': expected None or one of",
    ),
    "cost": (
        lambda *_: (900, None),
        'cost("read", 64) of bank.g returned tuple (900, None); expected (picoseconds,',
    ),
    "narrow": (
        lambda _: False,
        "narrow(64) of bank.g returned bool False; expected a whole number of code words",
    ),
    "standing": (lambda _: [], "standing() of bank.g returned list []; expected something hashable"),
    "ports": (
        list,
        "ports() of bank.g returned list []; expected its read_port and write_port as spad.g",
    ),
    "read_port": (3, "what it makes of bank.g is no bank: read_port is int 3, expected a Port"),
    "chunk_bytes": (
        "4",
        "what it makes of bank.g is no bank: chunk_bytes is str '4', expected a whole number",
    ),
    "code_bytes": (
        0,
        "what it makes of bank.g is no bank: code_bytes is int 0, expected a whole number above 0",
    ),
}


@pytest.mark.parametrize("member", ODDITIES)
def test_a_bank_s_answers_are_of_the_right_kind(member: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every method and member that the machine uses: what came, and what is wanted."""
    value, expected = ODDITIES[member]
    monkeypatch.setitem(ODD, member, value)
    plugin = Plugin("accelsim.banks", "odd", "accelsim-odd", "2.0", f"{__name__}:Odd")
    wanted = re.escape(f"plug-in odd of accelsim-odd 2.0 (accelsim.banks): {expected}")
    with pytest.raises(PluginError, match=wanted):
        _use(plugged_bank(plugin, Sim(), bank_groups()[0], 4096))


def _use(bank: Guarded) -> None:
    """Ask a bank for everything that a run asks for."""
    bank.serve("read", 64)
    bank.serve("write", 64)
    bank.standing(0)
    bank.ports()


def test_banks_by_address_take_no_plug_in(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told no addresses; without it the same machine is taken."""
    with _installed(package / "site", package, monkeypatch):
        for interleave in ("line", "tile"):
            key = f"scratchpad.interleave={interleave}"
            load_machine("sleepy.toml", ('bank.sram.model=""', key))
            with pytest.raises(
                InputError, match=r'told no addresses: bank\.sram\.model = "drowsy"; use interleave'
            ):
                load_machine("sleepy.toml", (key,))


def test_an_uninstalled_plug_in_is_asked_for_by_name(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine and a workload of others say what has to be installed."""
    monkeypatch.chdir(package)
    with pytest.raises(Exception, match=r"sleepy\.toml") as machine:
        load_machine("sleepy.toml")
    faults = str(machine.value).splitlines()
    assert faults[0].startswith(
        'sleepy.toml:4:9: bank.sram.model: "drowsy" is not the name of an installed plug-in (accelsim.banks)'
    )
    assert 'placement.policy: "by-lifetime" is neither roles, sensitivity nor the name of' in faults[1]
    with pytest.raises(Exception, match=r"gated\.toml") as workload:
        load_workload("gated.toml")
    assert 'gated.toml:3:12: lowering: no installed plug-in (accelsim.lowering) lowers "drowsy.gate"' in str(
        workload.value
    )


def test_an_op_that_a_plug_in_lowers_is_offered_it(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is used because it is installed: the message says what to write."""
    text = (package / "gated.toml").read_text().replace('lowering = ["drowsy.gate"]\n', "")
    (package / "without.toml").write_text(text)
    wanted = r'installed plug-ins lower them: lowering = \["drowsy.gate"\] in the workload'
    with _installed(package / "site", package, monkeypatch), pytest.raises(GraphError, match=wanted):
        _run(tmp_path / "run", "without.toml", 2)
