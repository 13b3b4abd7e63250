"""docs/validation.md says what the comparisons give."""

from __future__ import annotations

import re

from tests.validation.page import PAGE, whole


def test_the_figures_of_the_page_are_those_of_the_comparisons(regen: bool) -> None:
    """--regen-golden writes them, and so does ``python -m tests.validation.page``."""
    wanted = whole(PAGE.read_text(encoding="utf-8"))
    if regen:
        PAGE.write_text(wanted, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == wanted


def test_every_gate_that_the_page_names_is_there() -> None:
    """Test files, benchmarks and sections."""
    text = PAGE.read_text(encoding="utf-8")
    named = re.findall(r"`((?:tests|benchmarks)/\w+\.py)", text)
    assert named
    assert [name for name in named if not (PAGE.parents[1] / name).is_file()] == []
    heads = {
        h.lower().replace(" ", "-").replace(",", "") for h in re.findall(r"^## (.+)$", text, re.MULTILINE)
    }
    assert [a for a in re.findall(r"\]\(#([\w-]+)\)", text) if a not in heads] == []
