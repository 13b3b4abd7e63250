"""Placement by bit field, from the key to the trained bit: what is refused, what runs say, what flips."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from accelsim import simulate
from accelsim.config.bitfields import bits_of, split_fields
from accelsim.errors import ConfigError, InputError
from accelsim.reliability.sums import BIT
from accelsim.report.errors import errors_of
from accelsim.report.mapping import mapping_file
from accelsim.resolve import load_machine
from accelsim.resolve.machine import Machine
from accelsim.resolve.stored import stored_machine
from accelsim.sweep.mix import as_overrides
from accelsim.trace.runs import Run, open_run
from accelsim.train.bittrue.check import check_machine
from accelsim.train.experiment import Wish, train
from accelsim.train.formats import FORMATS, field_bits
from accelsim.train.laws import Read
from accelsim.train.profile import RunProfile
from accelsim.train.remedies import Remedies
from tests.test_train_profile import activation

ONE = '{ "sign+exponent" = ["sram"], mantissa = ["mram"] }'
FORM = '[format]\nweight = "bf16"\nactivation = "bf16"\n'
HEAD = f'extends = "edge-hybrid"\n{FORM}[placement]\n'


def machine(folder: Path, text: str, *overrides: str) -> Machine:
    """Return the machine of ``text``."""
    (folder / "m.toml").write_text(text)
    return load_machine(str(folder / "m.toml"), overrides)


def faults(folder: Path, text: str, *overrides: str) -> list[str]:
    """Return what is wrong with ``text``, without the folder."""
    with pytest.raises(ConfigError) as caught:
        machine(folder, text, *overrides)
    return [fault.replace(f"{folder}/", "") for fault in caught.value.faults]


# -- the key


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (ONE, {"sign+exponent": (9, "sram"), "mantissa": (7, "mram")}),
        ('{ rest = ["mram"], "msb:9" = ["sram"] }', {"msb:9": (9, "sram"), "mantissa": (7, "mram")}),
        ('{ exponent = ["sram"], rest = ["mram"] }', {"sign+mantissa": (8, "mram"), "exponent": (8, "sram")}),
        ('{ "msb:3" = ["sram"], rest = ["mram"] }', {"msb:3": (3, "sram"), "rest(0-12)": (13, "mram")}),
    ],
)
def test_fields_part_the_format(tmp_path: Path, fields: str, told: dict[str, tuple[int, str]]) -> None:
    """Highest bits first; ``rest`` is named by what it is, as training reads the names."""
    on = machine(tmp_path, f"{HEAD}weight = {fields}\n")
    found = on.fields_of("weight")
    assert {f.name: (f.bits, *f.groups) for f in found} == told
    assert [max(f.places) for f in found] == sorted((max(f.places) for f in found), reverse=True)
    assert all(field_bits(f.name, FORMATS["bf16"]) == f.places for f in found)
    assert on.fields_of("activation") == ()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            'weight = { "sign+exponent" = ["sram"] }',
            "m.toml:6:10: placement.weight: bits 0-6 of bf16 (mantissa) are in no field; "
            '"rest" takes what is left',
        ),
        (
            'weight = { "msb:9" = ["sram"], exponent = ["mram"], rest = ["mram"] }',
            'm.toml:6:32: placement.weight.exponent: bits 7-14 of bf16 are in "msb:9" already',
        ),
        (
            'weight = { sign = ["sram"], mantisa = ["mram"], rest = ["mram"] }',
            'm.toml:6:29: placement.weight.mantisa: no bit field "mantisa", did you mean mantissa?',
        ),
        (
            'weight = { "msb:17" = ["sram"] }',
            'm.toml:6:12: placement.weight.msb:17: "msb:17": bf16 has 16 bits',
        ),
        (
            'weight = { "sign+rest" = ["sram"] }',
            'm.toml:6:12: placement.weight.sign+rest: "rest" stands alone: it takes what no other field has',
        ),
        (
            'weight = { "msb:16" = ["sram"], rest = ["mram"] }',
            "m.toml:6:33: placement.weight.rest: no bit of bf16 is left",
        ),
        (
            'weight = { sign = ["sram"], rest = ["dram"] }',
            'm.toml:6:37: placement.weight.rest[0]: no bank group "dram", did you mean sram?',
        ),
        ("weight = { sign = [], rest = ['mram'] }", "m.toml:6:19: placement.weight.sign: an empty list: "),
        (
            "weight = { sign = 'sram', rest = ['mram'] }",
            "m.toml:6:19: placement.weight.sign: expected a list",
        ),
        ('weight = "sram"', 'm.toml:6:10: placement.weight: expected a list such as ["sram"], got "sram"'),
    ],
)
def test_what_does_not_part_the_format_is_refused(tmp_path: Path, line: str, told: str) -> None:
    """Where it stands, what is wrong, and of which format."""
    (fault, *_) = faults(tmp_path, f"{HEAD}{line}\n")
    assert fault.startswith(told)


def test_fields_need_a_format(tmp_path: Path) -> None:
    """What the workload brings along is not known where a machine is described."""
    text = '[pe_array]\nrows = 4\ncols = 8\n[bank.sram]\ntechnology = "sram"\ncapacity = "64 KiB"\n'
    text += '[placement]\nerror = { sign = ["sram"], rest = ["sram"] }\n'
    told = "m.toml:8:9: placement.error: bit fields need [format] error, one of fp32, bf16, fp16, int8"
    assert [fault.partition(", which")[0] for fault in faults(tmp_path, text)] == [told]
    (fault,) = faults(tmp_path, f'{text}[format]\nerror = "int32"\n')
    assert fault.endswith("; it is int32")


def test_int8_has_no_exponent() -> None:
    """A sign and seven bits."""
    assert split_fields(["sign", "mantissa"], "int8") == ({"sign": (7,), "mantissa": tuple(range(7))}, [])
    assert split_fields(["exponent", "rest"], "int8")[1] == [("exponent", "int8 has no exponent")]
    assert bits_of("msb:2", "int8") == (6, 7)


def test_fields_and_sensitivity_do_not_go_together(tmp_path: Path) -> None:
    """The policy says so at the role."""
    (tmp_path / "s.toml").write_text('workload = "mlp"\ntolerance = 0.1\nclean_accuracy = 0.9\n')
    text = f'{HEAD}policy = "sensitivity"\nsensitivity = "s.toml"\nweight = {ONE}\n'
    assert any("takes lists of bank groups, no bit fields" in fault for fault in faults(tmp_path, text))


def test_a_table_of_fields_takes_the_place_of_another(tmp_path: Path) -> None:
    """In a file that extends, in --set as a whole; a single field of it can be set alone."""
    (tmp_path / "base.toml").write_text(f"{HEAD}weight = {ONE}\n")
    head = 'extends = "./base.toml"\n[placement]\n'
    over = machine(tmp_path, head + 'weight = { "msb:2" = ["sram"], rest = ["mram"] }\n')
    assert [f.name for f in over.fields_of("weight")] == ["msb:2", "rest(0-13)"]
    assert machine(tmp_path, head + 'weight = ["mram"]\n').fields_of("weight") == ()
    (override,) = as_overrides({"placement.weight": {"msb:1": ["mram"], "rest": ["sram"]}})
    found = machine(tmp_path, head, override)
    assert [f.name for f in found.fields_of("weight")] == ["msb:1", "exponent+mantissa"]
    alone = machine(tmp_path, head, 'placement.weight.mantissa=["sram"]')
    assert [f.groups for f in alone.fields_of("weight")] == [("sram",), ("sram",)]


# -- runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """A split machine with frail cells, and another's run under its mapping."""
    folder = tmp_path_factory.mktemp("runs")
    text = f'{HEAD}weight = {ONE}\nactivation = {ONE}\n[bank.mram]\ndevice = "mram-26us"\n'
    (folder / "split.toml").write_text(text)
    (folder / "slow.toml").write_text('extends = "./split.toml"\n[bank.mram]\nwrite_cycle = "40 ns"\n')
    for name, more in {"split": {}, "slow": {"mapping_from": folder / "split"}}.items():
        simulate(str(folder / f"{name}.toml"), "lenet5", batch=4, out=folder / name, **more)  # type: ignore[arg-type]
    return {name: open_run(folder / name) for name in ("split", "slow")}


def test_fields_have_rows_of_their_own(runs: dict[str, Run]) -> None:
    """In residencies, errors and the summary; the safe field never errs, the other does."""
    run = runs["split"]
    rows = run.table("errors").to_pylist()
    found = {(r["role"], r["bit_field"]): 0.0 for r in rows}
    for r in rows:
        found[r["role"], r["bit_field"]] += r["expected_flips"]
    assert found["weight", "sign+exponent"] == found["activation", "sign+exponent"] == 0
    assert min(found["weight", "mantissa"], found["activation", "mantissa"]) > 0
    assert ("weight", "all") not in found
    told = {(f["role"], f["field"]): (f["group"], f["bits"]) for f in run.summary["fields"]}
    assert told["weight", "sign+exponent"] == ("sram", 9)
    assert told["activation", "mantissa"] == ("mram", 7)
    assert run.summary["errors"]["by_field"]["weight sign+exponent"]["total"] == 0
    judged = errors_of(run, BIT)
    assert judged.by_field.keys() == run.summary["errors"]["by_field"].keys()


def test_a_frozen_mapping_has_the_same_fields(runs: dict[str, Run]) -> None:
    """Counts are those of the run it comes from; the manifest gives the machine back, fields and all."""
    both = [run.table("residencies").to_pylist() for run in (runs["split"], runs["slow"])]
    read = [sorted((r["copy_class"], r["bit_field"], r["bits"]) for r in rows) for rows in both]
    totals = [{c: sum(b for d, _, b in rows if d == c) for c, *_ in rows} for rows in read]
    assert len(totals[0]) > 10
    assert totals[0] == totals[1]
    assert runs["slow"].summary["time_ps"] > runs["split"].summary["time_ps"]
    manifest = runs["split"].manifest
    names = [f.name for f in stored_machine(manifest["machine"], "m").fields_of("weight")]
    assert names == ["sign+exponent", "mantissa"]


def test_mapping_files_place_whole_tensors(runs: dict[str, Run], tmp_path: Path) -> None:
    """None is read for a split machine, or written from its run; ``mapping.json`` names the fields."""
    run = runs["split"]
    with pytest.raises(InputError, match="splits its tensors by bit fields"):
        mapping_file(run)
    (tmp_path / "map.toml").write_text('[tensor."conv1.weight"]\nplace = "dram"\n')
    with pytest.raises(ConfigError, match=r"\[placement\] weight splits its tensors by bit fields"):
        simulate(
            str(run.path.parent / "split.toml"),
            "lenet5",
            batch=4,
            mapping=tmp_path / "map.toml",
            out=tmp_path / "no",
        )
    assert not (tmp_path / "no").exists()
    tensors = json.loads((run.path / "mapping.json").read_text())["tensors"]
    assert {"conv1.weight[sign+exponent]", "conv1.weight[mantissa]"} <= tensors.keys()


# -- training


def test_only_the_field_in_frail_cells_flips(runs: dict[str, Run]) -> None:
    """Laws of reads are by field."""
    profile = RunProfile.load(runs["split"].path)
    (law,) = profile.laws(Read("weight", "conv2", "conv2", "forward", "conv2.weight"))
    by_field = {each.field: each.p_new for each in law.fields}
    assert by_field.keys() == {"sign+exponent", "mantissa"}
    assert by_field["sign+exponent"] == 0 < by_field["mantissa"]


def test_masks_do_not_spread_over_the_bits_of_a_split_tensor() -> None:
    """A mask that lies whole in frail cells, of the same layer and role, is not drawn in the numbers."""
    mask = activation(copy_class="mask", tensor="0:mask", p_retention=0.25)
    top, low = (activation(bit_field=name, copy_class=name) for name in ("sign+exponent", "mantissa"))
    low = {**low, "p_retention": 0.125, "p_stored": 0.125, "p_total": 0.125}
    (law,) = RunProfile([mask, top, low]).laws(Read("activation", "0", "1", "forward"))
    assert {each.field: each.p_new for each in law.fields} == {"mantissa": 0.125, "sign+exponent": 0.0}
    (alone,) = RunProfile([mask]).laws(Read("activation", "0", "1", "forward"))
    assert [each.field for each in alone.fields] == ["all"]


def test_bit_true_training_refuses_a_split_machine(tmp_path: Path) -> None:
    """In one line that names the key."""
    on = machine(tmp_path, f'{HEAD}weight = {ONE}\n[bank.mram]\ndevice = "mram-26us"\n')
    with pytest.raises(InputError, match=r"--bit-true does not model tensors .* placement\.weight"):
        check_machine(on)


def test_the_closed_loop_moves_fields(tmp_path: Path) -> None:
    """A remedy takes the frail group out of every field's list, and the machine it writes can be read."""
    text = f'{HEAD}weight = {ONE}\n[bank.mram]\ndevice = "mram-26us"\n'
    machine(tmp_path, text)
    remedies = Remedies(str(tmp_path / "m.toml"), (), tmp_path)
    levels: dict[str, Any] = {"placement.weight": 1}
    assert remedies.settings(levels) == {
        "placement.weight": {"sign+exponent": ["sram"], "mantissa": ["sram"]}
    }
    remedies.write(levels, tmp_path / "out.toml", "moved")
    moved = load_machine(str(tmp_path / "out.toml"))
    assert moved.placement == load_machine(str(tmp_path / "m.toml"), remedies.overrides(levels)).placement
    assert [f.groups for f in moved.fields_of("weight")] == [("sram",), ("sram",)]


def test_another_storage_format_is_refused(tmp_path: Path) -> None:
    """The fields are bits of the machine's format; nothing is written."""
    machine(tmp_path, f'{HEAD}weight = {ONE}\n[bank.mram]\ndevice = "mram-26us"\n')
    wish = Wish(arch=str(tmp_path / "m.toml"), workload="lenet5", options={"storage_format": "fp32"})
    with pytest.raises(InputError, match=r"--storage-format fp32: .* splits weight by the bits of bf16"):
        train(wish, tmp_path / "out")
    assert not (tmp_path / "out").exists()
