"""What CACTI 6.5 and 7 print, and the line that they append to ``out.csv`` or ``CONFIG.out``.

Form: HewlettPackard/cacti, ``output_UCA``, ``output_data_csv`` and ``InputParameter::display_ip`` (io.cc).
CACTI knows one random cycle time: that of reads and of writes here. Its leakage is subthreshold and gate
leakage together, as in the line. Only memories of one bank and without tags are macros.
Source: docs/sources.md#cacti-output.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from typing import Final

from accelsim.device.imports.given import Given, plain
from accelsim.device.rows import Row, row_of
from accelsim.errors import InputError

FIRST: Final = "Tech node (nm)"  # column of a line
_TITLE: Final = re.compile(r"^-{5,} +CACTI.*$", re.M)
_FLAVOURS: Final = {"0": "HP", "1": "LSTP", "2": "LOP"}  # ITRS; 3 and 4 are DRAM
_ONE_BANK: Final = "more than one bank; a macro is one: run CACTI with -UCA bank count 1 and the bank's size"
_NO_CACHE: Final = 'a cache, with tags; a macro is a scratchpad: run CACTI with -cache type "ram"'
_TAGS: Final = ("Ntwl", "Ntbl", "Ntspd", "Ntcm", "Tag arrary area efficiency %")  # columns; sic


def is_cacti(text: str) -> bool:
    """Return whether ``text`` is what CACTI prints or appends."""
    return is_line(text) or _TITLE.search(text) is not None


def is_line(text: str) -> bool:
    """Return whether ``text`` is a file of lines, one for each run."""
    return text.lstrip().startswith(FIRST)


def cacti_rows(text: str, label: str, given: Given) -> list[Row]:
    """Return the macros of all runs in ``text``.

    Raises:
        InputError: No run, one that is no macro of SRAM, or what neither the file nor options say.
    """
    rows = list(_lines(text, label, given) if is_line(text) else _printed(text, label, given))
    if not rows:
        raise InputError(f"{label}: no result of CACTI in it")
    return rows


def _lines(text: str, label: str, given: Given) -> Iterator[Row]:
    header: list[str] = []
    for n, values in enumerate(csv.reader(text.splitlines()), 1):
        texts = [value.strip() for value in values]
        if not any(texts):
            continue
        if texts[0] == FIRST:
            header = texts
            continue
        where = f"{label}:{n}"
        run = dict(zip(header, texts, strict=False))
        if _of(run, "Number of banks", where) != 1:
            raise InputError(f"{where}: {_ONE_BANK}")
        _refuse_ways(run, where)
        if any(run.get(column, "") not in ("N/A", "") for column in _TAGS):
            raise InputError(f"{where}: {_NO_CACHE}")
        said = {
            "cell": "sram",
            "node_nm": plain(_of(run, FIRST, where)),
            "word_bits": plain(_of(run, "Output width (bits)", where)),
        }
        columns = given.over(said, where, "CACTI's line does not say all")
        yield row_of(columns | _figures(run, where), where)


def _refuse_ways(run: Mapping[str, str], where: str) -> None:
    """Refuse what has several ways, or compares tags with all of them (0): no scratchpad has."""
    ways = run.get("Associativity", "1")
    if ways in ("1", "direct mapped"):
        return
    told = "fully associative" if ways in ("0", "fully associative") else f"associativity {ways}"
    raise InputError(f"{where}: {told}: {_NO_CACHE} and -associativity 1")


def _figures(run: Mapping[str, str], where: str) -> dict[str, str]:
    cycle = plain(_of(run, "Random cycle time (ns)", where))
    return {
        "capacity_KiB": repr(_of(run, "Capacity (bytes)", where) / 1024),
        "area_mm2": plain(_of(run, "Area (mm2)", where)),
        "read_ns": plain(_of(run, "Access time (ns)", where)),
        "read_cycle_ns": cycle,
        "write_ns": cycle,
        "read_pJ": plain(_of(run, "Dynamic read energy (nJ)", where) * 1000),
        "write_pJ": plain(_of(run, "Dynamic write energy (nJ)", where) * 1000),
        "leak_mW": plain(_of(run, "Standby leakage per bank(mW)", where)),
    }


def _printed(text: str, label: str, given: Given) -> Iterator[Row]:
    titles = list(_TITLE.finditer(text))
    begins = [0, *(m.end() for m in titles)][
        : len(titles)
    ]  # what a run was given is printed before its title
    for begin, title, after in zip(begins, titles, [*titles[1:], None], strict=True):
        where = f"{label}:{text.count(chr(10), 0, title.start()) + 1}"
        if "SRAM Model" not in title.group(0):
            raise InputError(f"{where}: not an SRAM; only those are bank groups")
        before = text[begin : title.start()]
        settings = _pairs(before[before.rfind("Cache size  ") :] if "Cache size  " in before else "")
        run = _pairs(text[title.end() : after.start() if after else len(text)].partition("\nCache size  ")[0])
        yield _of_print(run, settings, where, given)


def _of_print(run: Mapping[str, str], settings: Mapping[str, str], where: str, given: Given) -> Row:
    if _of(run, "Number of banks", where) != 1:
        raise InputError(f"{where}: {_ONE_BANK}")
    _refuse_ways(run, where)
    _refuse_ways(settings, where)
    tags = any(name.startswith(("Best Nt", "Tag ")) for name in run)
    if settings.get("array type", "Scratch RAM") != "Scratch RAM" or tags:
        raise InputError(f"{where}: {_NO_CACHE}")
    kinds = {settings.get("Data array cell type", ""), settings.get("Data array peripheral type", "")}
    said = {
        "cell": "sram",
        "node_nm": plain(_of(run, "Technology size (nm)", where)),
        "temperature_K": settings.get("Temperature"),
        "roadmap": _FLAVOURS.get(kinds.pop(), "") if len(kinds) == 1 else None,
    }
    columns = given.over(said, where, "CACTI's print does not say all")
    height, _, width = run.get("Cache height x width (mm)", "").partition(" x ")
    sides = {"height": height, "width": width}
    leak = _of(run, "Total leakage power of a bank (mW)", where)
    gate = "Total gate leakage power of a bank (mW)"
    cycle = plain(_of(run, "Cycle time (ns)", where))
    columns |= {
        "capacity_KiB": repr(_of(run, "Total cache size (bytes)", where) / 1024),
        "area_mm2": plain(_of(sides, "height", where) * _of(sides, "width", where)),
        "read_ns": plain(_of(run, "Access time (ns)", where)),
        "read_cycle_ns": cycle,
        "write_ns": cycle,
        "read_pJ": plain(_of(run, "Total dynamic read energy per access (nJ)", where) * 1000),
        "write_pJ": plain(_of(run, "Total dynamic write energy per access (nJ)", where) * 1000),
        "leak_mW": plain(leak + (_of(run, gate, where) if gate in run else 0.0)),
    }
    return row_of(columns, where)


def _pairs(text: str) -> dict[str, str]:
    """Return lines ``name : value`` by name, each as it stands first."""
    pairs: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.rpartition(":")
        if colon:
            pairs.setdefault(name.strip(), value.strip())
    return pairs


def _of(run: Mapping[str, str], name: str, where: str) -> float:
    try:
        return float(run[name])
    except KeyError:
        raise InputError(f'{where}: no "{name}" in the result') from None
    except ValueError:
        raise InputError(f"{where}: {name}: expected a number, got {run[name]!r}") from None
