"""README and docs: their examples run, their generated parts are up to date, their links lead somewhere."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from sybil import Document, Region, Sybil
from sybil.example import Example
from sybil.parsers.markdown import PythonCodeBlockParser

from accelsim.trace.columns import MEANING, markdown
from accelsim.trace.schema import EXTRA_TABLES, TABLES
from tests.warm import accelsim

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
CONSOLE = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^```(?:toml|python|text)\n# file: (\S+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
GENERATED = "<!-- from here on: generated"


def _runs_console(example: Example) -> str | None:
    """Run ``$ accelsim ...`` and compare what it prints; ``...`` stands for anything."""
    for part in re.split(r"^\$ ", example.parsed, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        program, *arguments = shlex.split(command)
        if program != "accelsim":
            return f"only accelsim is run in console blocks, not {command!r}; use sh"
        done = accelsim(arguments, example.namespace["folder"])
        pattern = r"[\s\S]*?".join(re.escape(piece) for piece in expected.strip().split("..."))
        printed = "\n".join(line.rstrip() for line in (done.stdout + done.stderr).splitlines()).strip()
        if not re.fullmatch(pattern, printed):
            return f"$ {command}\nexpected:\n{expected}\nprinted:\n{printed}"
    return None


def _write_file(example: Example) -> None:
    """Write a block that begins with ``# file: NAME`` into the folder in which the commands run."""
    name, text = example.parsed
    (example.namespace["folder"] / name).write_text(text, encoding="utf-8")


def _file_blocks(document: Document) -> list[Region]:
    found = FILE.finditer(document.text)
    return [Region(m.start(), m.end(), (m.group(1), m.group(2)), _write_file) for m in found]


def _console_blocks(document: Document) -> list[Region]:
    found = CONSOLE.finditer(document.text)
    return [Region(m.start(), m.end(), m.group(1), _runs_console) for m in found]


def _python_blocks(document: Document) -> list[Region]:
    """Return the python blocks that are not files."""
    regions = PythonCodeBlockParser()(document)
    return [r for r in regions if "# file: " not in document.text[r.start : r.end][:20]]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_examples_run(page: Path, tmp_path: Path) -> None:
    """Python blocks and console blocks give what they show; sh blocks are not run."""
    document = Sybil(parsers=[_python_blocks, _file_blocks, _console_blocks]).parse(page)
    document.namespace["folder"] = tmp_path
    for example in document.examples():
        example.evaluate()


def test_the_main_job_prints_what_the_readme_shows(tmp_path: Path) -> None:
    """The head of the report and the timeline; figures that changed are pasted anew, after a look."""
    shown = re.findall(r"^```text\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    job = "run tpu-like-hybrid resnet18-cifar --batch 32 --quiet --out demo"
    for command, text in zip((job, "timeline demo"), shown, strict=True):
        call = [sys.executable, "-m", "accelsim", *command.split()]
        env = {**os.environ, "COLUMNS": "110"}
        done = subprocess.run(call, capture_output=True, text=True, cwd=tmp_path, check=True, env=env)
        printed = "".join(line.rstrip() + "\n" for line in done.stdout.splitlines())
        assert printed.startswith(text)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_no_example_is_silently_left_out(page: Path) -> None:
    """A fence in a language that nothing runs would rot unseen."""
    fences = re.findall(r"^```(\w*)$", page.read_text(encoding="utf-8"), re.MULTILINE)

    assert set(fences) <= {"", "python", "console", "sh", "toml", "text"}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_to_files(page: Path) -> None:
    """Relative links only; anchors are not looked at."""
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))

    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_reference_of_columns_is_the_schema(regen: bool) -> None:
    """--regen-golden writes it from accelsim/trace/columns.py."""
    page = ROOT / "docs" / "run-folder.md"
    lines = page.read_text(encoding="utf-8").splitlines(keepends=True)
    head = "".join(lines[: next(i for i, line in enumerate(lines) if line.startswith(GENERATED)) + 1])
    wanted = head + "".join(f"\n## {name}.parquet\n\n{markdown(name)}" for name in (*TABLES, *EXTRA_TABLES))
    if regen:
        page.write_text(wanted, encoding="utf-8")
    assert page.read_text(encoding="utf-8") == wanted


def test_every_column_has_a_meaning_and_no_other() -> None:
    """So that a new column cannot be left undocumented."""
    assert {t: list(c) for t, c in MEANING.items()} == {
        t: list(c) for t, c in (TABLES | EXTRA_TABLES).items()
    }
