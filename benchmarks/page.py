"""Measure again and put the tables into README.md beside this file.

    python benchmarks/page.py [SECTION ...] [-- OPTION ...]

A section is what stands between ``<!-- SECTION -->`` and ``<!-- end of SECTION -->``: what the command of
that name below prints. All sections unless some are named; what stands after ``--`` is added to each command,
as in ``page.py networks -- --only lenet5``. A section whose command prints nothing stays as it is.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from measure import Others, circumstances, told

HERE = Path(__file__).parent
PAGE = HERE / "README.md"
COMMANDS = {
    "networks": ("networks.py",),
    "scalesim": ("scalesim.py", "--scalesim-cached"),
    "stages": ("stages.py",),
    "transactions": ("transactions.py",),
    "onnxim": ("onnxim.py",),
    "injection": ("injection.py",),
    "sweep": ("sweep.py",),
}
# seconds in plain text, which does not say where they were measured
PLAIN = {"stages", "transactions", "injection"}


def printed(section: str, options: list[str]) -> str:
    """Return what the section's command prints, with the command above it."""
    script, *fixed = COMMANDS[section]
    words = [*fixed, *options]
    call = [sys.executable, str(HERE / script), *words]
    with Others() as others:
        done = subprocess.run(call, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        print(f"{section}: exit code {done.returncode}", file=sys.stderr)
    text = done.stdout.strip()
    if not text:
        return ""
    if section in PLAIN:
        text = f"{told(circumstances(others.cores))}\n\n```text\n{text}\n```"
    return f"`python benchmarks/{' '.join([script, *words])}`\n\n{text}"


def replaced(page: str, section: str, text: str) -> str:
    """Return the page with the section's text replaced.

    Raises:
        ValueError: if the page has no such section.
    """
    begin, end = f"<!-- {section} -->", f"<!-- end of {section} -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"{PAGE.name} lacks {begin} ... {end}")
    return pattern.sub(lambda _: f"{begin}\n{text}\n{end}", page, count=1)


def main(words: list[str]) -> int:
    """Refresh the named sections; return 1 if one could not be."""
    cut = words.index("--") if "--" in words else len(words)
    sections, options = words[:cut] or list(COMMANDS), words[cut + 1 :]
    if unknown := [s for s in sections if s not in COMMANDS]:
        sys.exit(f"no such section: {', '.join(unknown)}; there are {', '.join(COMMANDS)}")
    missed = 0
    for section in sections:
        text = printed(section, options)
        missed += not text
        if text:
            page = PAGE.read_text(encoding="utf-8")
            PAGE.write_text(replaced(page, section, text), encoding="utf-8")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
