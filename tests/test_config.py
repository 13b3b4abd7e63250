"""Descriptions: positions, extends, overrides, and every fault at once in the file that holds the key."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import tomli
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from accelsim.config.document import load_spec
from accelsim.config.locate import find, names, shipped
from accelsim.config.origins import Origins
from accelsim.config.positions import positions
from accelsim.config.schema import arch_schema
from accelsim.config.spec import Bytes, Count, Hertz, Spec, Time, written
from accelsim.errors import ConfigError, InputError


class Bank(Spec):
    technology: Literal["sram", "stt-mram"]
    count: Count = 1
    capacity: Bytes
    word: Bytes = written("256 bit")
    latency: Time | None = None


class Machine(Spec):
    clock: Hertz = written("1 GHz")
    bank: dict[str, Bank]
    rates: dict[Literal["add", "mul"], Count] = Field(default_factory=dict)
    names: tuple[Annotated[str, Field(strict=True)], ...] = ()


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.chdir(tmp_path)

    def to_file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return to_file


def load(path: Path, *overrides: str) -> tuple[Machine, Origins]:
    def by_name(name: str) -> Path:
        if name == "shipped":
            return path.parent / "shipped.toml"
        raise InputError(f'unknown machine "{name}"')

    return load_spec(path, Machine, overrides=overrides, resolve_name=by_name)


def faults(path: Path, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, *overrides)
    assert caught.value.exit_code == 2
    assert str(caught.value) == "\n".join(caught.value.faults)
    return caught.value.faults


GOOD = '[bank.a]\ntechnology = "sram"\ncapacity = "1 KiB"\n'

# --- positions -------------------------------------------------------------------------------------------

bare = st.text("abcAZ09_-", min_size=1, max_size=5)
quoted = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=4).map(
    lambda t: '"' + t.replace("\\", "\\\\").replace('"', '\\"') + '"'
)
literal = st.text('ab #=[]{},."\\', max_size=5).map(lambda t: f"'{t}'")
long = st.text("ab\n#=[]'", max_size=6).map(lambda t: f'"""{t}"""')
key = st.one_of(bare, quoted, literal)
scalar = st.one_of(
    st.integers(-5, 5).map(str),
    st.sampled_from(["1.5e3", "true", "1979-05-27 07:32:00", "0x1F", "inf", "'''a\n'b'''"]),
    quoted,
    literal,
    long,
)
gap = st.sampled_from(["", " ", "\n", " # ] } comment\n"])


def arrays(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    items = st.lists(st.tuples(gap, inner, gap).map("".join), max_size=3)
    return st.tuples(items, gap).map(lambda p: "[" + ",".join(p[0]) + ("," if p[0] else "") + p[1] + "]")


def tables(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.lists(st.tuples(key, inner).map(" = ".join), max_size=3)
    return pairs.map(lambda p: "{ " + ", ".join(p) + " }")


value = st.recursive(scalar, lambda inner: arrays(inner) | tables(inner), max_leaves=6)
dotted_key = st.lists(key, min_size=1, max_size=3).map(" . ".join)
line = st.one_of(
    st.tuples(dotted_key, value).map(" = ".join),
    dotted_key.map(lambda k: f"[{k}]"),
    dotted_key.map(lambda k: f"[[ {k} ]]  # header"),
    st.just(""),
)


def paths_of(data: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [p for k, v in items for p in [(*path, k), *paths_of(v, (*path, k))]]


@settings(max_examples=400)
@given(st.lists(line, max_size=8), st.sampled_from(["\n", "\r\n"]))
def test_every_key_of_tomli_has_a_position_and_no_other(lines: list[str], newline: str) -> None:
    """The scanner finds exactly the paths that tomli parses, each at its own key."""
    text = newline.join(lines)
    try:
        data = tomli.loads(text)
    except tomli.TOMLDecodeError:
        return
    found = positions(text)
    assert set(found) == set(paths_of(data))
    rows = text.split("\n")
    for path, at in found.items():
        here = rows[at.line - 1][at.column - 1 :]
        if isinstance(path[-1], str) and re.fullmatch(r"[A-Za-z0-9_-]+", path[-1]):
            assert here.lstrip("[ ").lstrip("\"'").startswith(path[-1]) or here.startswith("[")


def test_values_are_where_they_stand() -> None:
    """Line and column of key and value, tables at their header."""
    found = positions('a = 1\n[bank.x]  # note\n  word = "8 B"\nlist = [ 1,\n 22 ]\n')
    assert found["a",] == (1, 1, 1, 5)
    assert found["bank", "x"] == (2, 1, 2, 1)
    assert found["bank", "x", "word"] == (3, 3, 3, 10)
    assert found["bank", "x", "list", 1][2:] == (5, 2)


# --- faults ----------------------------------------------------------------------------------------------


def test_all_faults_of_a_file_at_once(write: Write) -> None:
    """Wrong values, unknown, missing and misspelt keys: a line each, in the order of the file."""
    path = write(
        "bad.toml",
        'clock = "fast"\n'
        "names = 3\n"
        "[bank.act]\n"
        'technology = "sttmram"\n'
        "count = 0\n"
        'wrod = "8 B"\n'
        "latency = 3\n"
        "[bank.b]\n"
        "count = 1.5\n"
        'technology = "sram"\n'
        'capacity = "1 KiB"\n'
        "[rates]\n"
        "ad = 1\n"
        "[machine]\n",
    )
    assert faults(path) == [
        'bad.toml:1:9: clock: expected a frequency such as "1 GHz" (units: Hz, kHz, MHz, GHz, THz), '
        'got "fast"',
        "bad.toml:2:9: names: expected a list, got 3",
        "bad.toml:3:1: bank.act: missing key capacity",
        'bad.toml:4:14: bank.act.technology: expected "sram" or "stt-mram", got "sttmram", '
        "did you mean stt-mram?",
        "bad.toml:5:9: bank.act.count: expected at least 1, got 0",
        "bad.toml:6:1: bank.act.wrod: unknown key, did you mean word?",
        'bad.toml:7:11: bank.act.latency: expected a time such as "5.3 ns" (units: ps, ns, us, ms, s, '
        "cycle, cycles), got 3",
        "bad.toml:9:9: bank.b.count: expected a whole number, got 1.5",
        "bad.toml:13:1: rates.ad: unknown key, did you mean add?",
        "bad.toml:14:1: machine: unknown key; known: clock, bank, rates, names",
    ]


def test_missing_table_is_a_fault_of_the_file(write: Write) -> None:
    """A key missing at the top is placed at the start of the file."""
    assert faults(write("empty.toml", "")) == ["empty.toml:1:1: missing key bank"]


def test_a_value_where_a_table_belongs(write: Write) -> None:
    """Tables are asked for by that name."""
    assert faults(write("m.toml", "[bank]\na = 3\n")) == ["m.toml:2:5: bank.a: expected a table, got 3"]


def test_syntax_faults_have_line_and_column(write: Write) -> None:
    """What is not TOML says where."""
    assert faults(write("m.toml", "a = 1\nb = = 2\n")) == ["m.toml:2:5: not valid TOML: invalid value"]
    deep = write("deep.toml", "a = " + "[" * 5000 + "]" * 5000)
    assert faults(deep) == ["deep.toml:1:1: not valid TOML: nested too deep"]


def test_files_that_cannot_be_read(write: Write, tmp_path: Path) -> None:  # noqa: ARG001
    """Missing files, folders and bytes that are no text: one line each."""
    (tmp_path / "x.toml").write_bytes(b"a = '\xff'")
    for name, message in (
        ("none.toml", "none.toml: no such file"),
        ("x.toml", "x.toml: not a text file in UTF-8 (byte 5)"),
        ("", f"{tmp_path}: cannot be read: Is a directory"),
    ):
        with pytest.raises(InputError) as fault:
            load(tmp_path / name)
        assert str(fault.value).replace(".: ", f"{tmp_path}: ") == message


# --- extends ---------------------------------------------------------------------------------------------


def test_extends_merges_deep_and_the_file_wins(write: Write) -> None:
    """Later bases win over earlier ones, the file over all; untouched keys stay; lists replace."""
    write("sub/one.toml", GOOD + '[bank.b]\ntechnology = "sram"\ncapacity = "2 KiB"\ncount = 2\n')
    write("shipped.toml", 'names = ["x", "y"]\n[bank.b]\ncount = 3\nword = "8 B"\n')
    path = write("m.toml", 'extends = ["sub/one.toml", "shipped"]\nnames = ["z"]\n[bank.b]\nword = "16 B"\n')
    spec, origins = load(path)
    assert (spec.bank["b"].count, spec.bank["b"].word, spec.bank["b"].capacity) == (3, 16, 2048)
    assert spec.names == ("z",)
    assert list(spec.bank) == ["a", "b"]
    assert origins.source_label(("bank", "b", "capacity")) == "sub/one.toml"
    assert origins.source_label(("bank", "b", "count")) == "shipped.toml"
    assert origins.source_label(("bank", "b", "word")) == "m.toml"
    assert origins.source_label(("bank", "b", "latency")) is None
    assert ("names", 1) not in origins.places


def test_a_fault_is_placed_in_the_file_that_holds_the_key(write: Write) -> None:
    """The base's fault names the base, the file's fault the file, --set's the option."""
    write("base.toml", GOOD + "count = 0\n")
    path = write("m.toml", 'extends = "base.toml"\n[bank.a]\ntechnology = "rram"\n')
    assert faults(path, "bank.a.capacity=12 bit", "bank.a.foo=1", "bank.c.count=1") == [
        'm.toml:3:14: bank.a.technology: expected "sram" or "stt-mram", got "rram", did you mean sram?',
        "base.toml:4:9: bank.a.count: expected at least 1, got 0",
        '--set bank.a.capacity: expected a size of whole B, got "12 bit"',
        "--set bank.a.foo: unknown key; known: technology, count, capacity, word, latency",
        "--set bank.c.count: bank.c: missing key technology",
        "--set bank.c.count: bank.c: missing key capacity",
    ]


def test_faults_of_extends(write: Write) -> None:
    """Cycles, unknown names, missing files and other values are placed at extends."""
    write("a.toml", 'extends = "b.toml"\n')
    assert faults(write("b.toml", '\nextends = ["a.toml"]\n')) == [
        "a.toml:1:11: extends: cycle b.toml -> a.toml -> b.toml"
    ]
    assert faults(write("c.toml", 'extends = "nobody"\n')) == [
        'c.toml:1:11: extends: unknown machine "nobody"'
    ]
    assert faults(write("d.toml", 'extends = ["b/x.toml"]\n')) == [
        'd.toml:1:12: extends[0]: no such file "b/x.toml" beside d.toml'
    ]
    assert faults(write("e.toml", "extends = 3\n")) == [
        "e.toml:1:11: extends: expected a name or a path, or a list of them, got 3"
    ]


def test_one_base_may_be_reached_twice(write: Write) -> None:
    """A diamond is no cycle."""
    write("base.toml", GOOD)
    write("left.toml", 'extends = "base.toml"\n')
    write("right.toml", 'extends = "base.toml"\n')
    assert load(write("m.toml", 'extends = ["left.toml", "right.toml"]'))[0].bank["a"].capacity == 1024


# --- overrides -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ['clock="2 GHz"', "clock=2 GHz", "clock = '2GHz'", '"clock"=2 GHz'])
def test_values_of_set_are_toml_or_bare_words(write: Write, text: str) -> None:
    """What is no TOML value is a string."""
    assert load(write("m.toml", GOOD), text)[0].clock == 2_000_000_000


def test_later_overrides_win_and_tables_merge(write: Write) -> None:
    """--set is applied in order, over the file."""
    path = write("m.toml", GOOD)
    spec, origins = load(path, "bank.a={count=4, word='8 B'}", "bank.a.count=5")
    assert (spec.bank["a"].count, spec.bank["a"].word, spec.bank["a"].capacity) == (5, 8, 1024)
    assert origins.is_set(("bank", "a", "count"))
    assert not origins.is_set(("bank", "a"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clock", '--set clock: expected key.path=value, such as clock="1 GHz"'),
        ("=3", '--set =3: expected key.path=value, such as clock="1 GHz"'),
        ("a b=3", "--set a b: not a key; expected names joined by dots"),
        ("names=[1", "--set names: not a TOML value: [1"),
        ("clock=1\nnames=2", "--set clock: not a TOML value: 1\nnames=2"),
        ("extends=x", "--set extends: cannot be overridden; name another file instead"),
        (
            "clock.x=1",
            '--set clock.x: clock: expected a frequency such as "1 GHz" (units: Hz, kHz, MHz, GHz, THz), '
            "got a table",
        ),
    ],
)
def test_faults_of_set(write: Write, text: str, message: str) -> None:
    """A broken override is named as the user typed it."""
    assert faults(write("m.toml", 'clock = "1 GHz"\n' + GOOD), text) == [message]


# --- names, schema ---------------------------------------------------------------------------------------


def test_faults_within_set_come_at_once_and_name_the_key_once(write: Write) -> None:
    """Of every --set that is no assignment; of every key within a table, once, whatever stands there."""
    path = write("m.toml", GOOD)
    told = faults(path, "clock", "names=[1", "clock=fast")
    assert [fault.partition(":")[0] for fault in told] == ["--set clock", "--set names"]
    assert faults(path, "bank.a={count=0.5, wrod='8 B'}", "clock=fast") == [
        "--set bank.a.count: expected a whole number, got 0.5",
        "--set bank.a.wrod: unknown key, did you mean word?",
        '--set clock: expected a frequency such as "1 GHz" (units: Hz, kHz, MHz, GHz, THz), got "fast"',
    ]


def test_names_resolve_to_shipped_files_and_paths_to_files(write: Write) -> None:
    """A slash or a suffix makes a path."""
    assert find("arch", "tpu-like-hybrid") == shipped("arch") / "tpu-like-hybrid.toml"
    path = write("mine.toml", "")
    assert find("arch", "mine.toml") == Path("mine.toml")
    assert find("workloads", str(path)) == path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mine.toml", "mine.toml: no such file"),
        ("./", "./: not a file"),
        (
            "tpu-like-sarm",
            'unknown machine "tpu-like-sarm", did you mean tpu-like-sram? shipped: '
            f"{', '.join(names('arch'))}; a path ends in .toml",
        ),
        ("zzz", f'unknown machine "zzz"; shipped: {", ".join(names("arch"))}; a path ends in .toml'),
    ],
)
def test_faults_of_names(write: Write, name: str, message: str) -> None:  # noqa: ARG001  an empty folder
    """An unknown name lists the known ones."""
    with pytest.raises(InputError) as fault:
        find("arch", name)
    assert str(fault.value) == message


def test_schema_suits_partial_files() -> None:
    """Quantities are strings with a pattern, unknown keys are refused, nothing is required."""
    schema = arch_schema()
    assert '"required"' not in str(schema).replace("'", '"')
    assert schema["additionalProperties"] is False
    assert schema["properties"]["clock"]["type"] == "string"
    assert re.search(schema["properties"]["clock"]["pattern"], "1 GHz")
    assert schema["properties"]["clock"]["description"] == "Of array, banks and vector unit."
    assert schema["properties"]["extends"]["anyOf"][0] == {"type": "string"}
    assert schema["$defs"]["BankSpec"]["properties"]["technology"]["enum"] == ["sram", "stt-mram"]
    assert "default" not in schema["properties"]["dma"]
    assert schema["$defs"]["DmaSpec"]["properties"]["burst"]["default"] == "64 B"
