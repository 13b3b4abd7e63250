"""The bit errors of a run: judged by its own devices, or by others, from its residencies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Group, RenderableType
from rich.text import Text

from accelsim.errors import InputError, writing
from accelsim.reliability import error_profile
from accelsim.reliability.reads import Reads
from accelsim.reliability.sums import Unit, distance_histogram, error_sums, overall
from accelsim.reliability.wear import LEFT_OUT, Wear, wear
from accelsim.report.layers import STEP
from accelsim.report.layout import grid
from accelsim.report.si import lifetime
from accelsim.resolve.bank_group import BankGroup, Device
from accelsim.resolve.stored import stored_banks, stored_changes
from accelsim.trace import human
from accelsim.trace.runs import Run
from accelsim.trace.schema import RESIDENCIES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BAR: Final = 40  # columns of the longest bar
COLUMNS: Final = ("write", "retention", "read_disturb", "sense", "inherited", "total")
SPARE: Final = (
    "sense",
    "inherited",
    "read_disturb",
    "write",
)  # left out where a screen is narrow, zeros first


@dataclass(frozen=True, slots=True, kw_only=True)
class RunErrors:
    """What a run's copies suffer.

    Attributes:
        run: Name of the run.
        per: What a probability is of: a bit, or a larger unit.
        devices: By group with a device: its name, its temperature, and whether the run was simulated with it.
        all, by_role, by_phase, by_layer: See ``reliability.sums.error_sums``.
        distance_histogram: See ``reliability.sums.distance_histogram``.
        wear: By group with a device: how often its words are written, and how long they last.
        notes: What the numbers rest on.
    """

    run: str
    per: str
    devices: Mapping[str, Mapping[str, Any]]
    all: Mapping[str, float]
    by_role: Mapping[str, Mapping[str, float]]
    by_phase: Mapping[str, Mapping[str, float]]
    by_layer: Mapping[str, Mapping[str, float]]
    distance_histogram: Mapping[str, Any]
    wear: Mapping[str, Wear]
    notes: tuple[str, ...]
    by_field: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # of split tensors

    def json(self) -> dict[str, Any]:
        """Return what ``accelsim errors --json`` prints."""
        told = {**asdict(self), "notes": list(self.notes)}
        return told if self.by_field else {k: v for k, v in told.items() if k != "by_field"}


def banks_of(run: Run) -> dict[str, BankGroup]:
    """Return the bank groups that ``run`` was simulated with.

    Raises:
        InputError: Another version of accelsim wrote them.
    """
    return stored_banks(run.manifest["machine"], str(run.path))


def _check(run: Run) -> None:
    """Refuse a folder that lacks what is judged.

    Raises:
        InputError: columns or figures are missing: it was damaged, or another version wrote it.
    """
    columns = run.table("residencies").column_names
    missing = [c for c in RESIDENCIES if c not in columns]
    missing += [f"{key} in summary.json" for key in ("time_ps", "host_gap_ps") if key not in run.summary]
    if missing:
        raise InputError(f"{run.path}: lacks {', '.join(missing)}; run it again")


def errors_of(
    run: Run, unit: Unit, others: Mapping[str, Device] | None = None, temperature_k: float | None = None
) -> RunErrors:
    """Judge the copies of ``run``.

    Args:
        unit: What a probability is of.
        others: Devices by group that take the place of the run's; its timing stays.
        temperature_k: Of all devices, instead of the machine's.
    """
    _check(run)
    simulated, others = banks_of(run), others or {}
    banks = {name: _judged(bank, others.get(name), temperature_k) for name, bank in simulated.items()}
    reads = Reads.of(run.table("residencies"))
    profile = error_profile(banks, stored_changes(run.manifest["machine"]), reads)
    step_ps = run.summary["time_ps"] + run.summary["host_gap_ps"]
    return RunErrors(
        run=run.name,
        per=unit.name,
        devices={
            name: {
                "name": bank.device.name,
                "temperature_k": bank.device.temperature_k,
                "simulated": bank.device == simulated[name].device,
            }
            for name, bank in banks.items()
            if bank.device is not None
        },
        all=overall(profile, unit),
        **error_sums(profile, unit),
        distance_histogram=distance_histogram(reads),
        wear=wear(banks, run.table("energy"), step_ps, run.summary.get("errors", {}).get("hottest_writes")),
        notes=_notes(banks, simulated),
    )


def _judged(bank: BankGroup, other: Device | None, temperature_k: float | None) -> BankGroup:
    device = other or bank.device
    if device is not None and temperature_k is not None:
        device = replace(device, temperature_k=temperature_k)
    return replace(bank, device=device)


def _notes(banks: Mapping[str, BankGroup], simulated: Mapping[str, BankGroup]) -> tuple[str, ...]:
    notes = []
    for name, bank in banks.items():
        if bank.device is None:
            continue
        if bank.device != simulated[name].device:
            before = simulated[name].device
            was = f"{before.name} at {before.temperature_k:g} K" if before else "no device"
            notes.append(
                f"{name} was simulated with {was} and is judged as {bank.device.name} at "
                f"{bank.device.temperature_k:g} K: the timing is the run's, not that of this device"
            )
        if bank.refresh_ps and bank.refresh_model == "literature":
            notes.append(
                f'{name}: refresh_model = "literature": a refresh resets the dwell, as papers on '
                "low-retention caches assume; thermal flips are stored, and rewriting them changes nothing"
            )
    if any(bank.device and bank.ecc for bank in banks.values()):
        notes.append("where a group corrects, causes are before, inherited errors and totals after it")
    if any(bank.device and bank.scrub_ps for bank in banks.values()):
        notes.append("where a group is scrubbed, causes count from the last scrub; the total has all")
    if any(bank.device for bank in banks.values()):
        notes.append(f"lifetimes: {LEFT_OUT}")
    else:
        notes.append("no bank group has a device, so that nothing errs; --device GROUP=NAME gives one")
    return tuple(notes)


def error_tables(found: RunErrors, top: int = 10) -> RenderableType:
    """Return the tables of ``found``; ``top`` is the number of layers shown."""
    per = "bit" if found.per == "bit" else f"unit ({found.per})"
    flips = "flips" if found.per == "bit" else "bit flips"  # these are of bits in any unit
    parts: list[RenderableType] = [_devices(found)]
    layers = sorted(found.by_layer.items(), key=lambda item: (-item[1]["expected_flips"], item[0]))
    shown = "by layer of the read" + (f" (top {top} of {len(layers)})" if len(layers) > top else "")
    for title, kind, rows in (
        ("by role", "role", {**found.by_role, "all": found.all}),
        *([("by bit field", "role, field", found.by_field)] if found.by_field else []),
        ("by phase of the read", "phase", found.by_phase),
        (shown, "layer", dict(layers[:top])),
    ):
        parts.append(error_grid(f"Errors per {per} read, {title}", kind, rows, flips))
    parts += [_distances(found.distance_histogram), *([_wear(found)] if found.wear else [])]
    return Group(*parts, *(Text(f"Note: {note}") for note in found.notes))


def error_grid(title: str, kind: str, rows: Mapping[str, Mapping[str, float]], flips: str = "flips") -> Group:
    """Return a table of error probabilities by cause, a row for each entry of ``rows``.

    ``flips`` is what the last column, which counts them, calls them.
    """
    names = {c: c.replace("_", " ") for c in COLUMNS}
    empty = [c for c in SPARE if not any(v[c] for v in rows.values())]
    spare = [names[c] for c in (*empty, *(c for c in SPARE if c not in empty))]
    columns = (kind, *names.values(), f"expected {flips}")
    cells = [
        (name or STEP, *(probability(v[c]) for c in COLUMNS), f"{v['expected_flips']:.4g}")
        for name, v in rows.items()
    ]
    return grid(title, columns, cells, spare=spare, whole_in_files=True)


def probability(p: float) -> str:
    """Return a probability as text.

    >>> probability(0.0), probability(1.234e-7)
    ('0', '1.23e-07')
    """
    return f"{p:.2e}" if p else "0"


def _devices(found: RunErrors) -> Group:
    rows = [
        (
            name,
            d["name"],
            f"{d['temperature_k']:g} K",
            "simulated with it" if d["simulated"] else "judged as it; the timing is the run's",
        )
        for name, d in found.devices.items()
    ]
    return grid(f"Devices of {found.run}", ("bank group", "device", "temperature", ""), rows, text_columns=4)


def _distances(histogram: Mapping[str, Any]) -> RenderableType:
    """Return bars of the bytes read, by the time since their write."""
    parts: list[RenderableType] = []
    for name in (n for n in histogram if n != "edges_ps"):
        bars = _thirds(histogram["edges_ps"], histogram[name]["bytes"])
        most = max((n for _, n in bars), default=0)
        if not most:
            continue
        rows = [(human.time(low), "#" * round(BAR * n / most), human.traffic(n)) for low, n in bars]
        title = f"Time from write to read, {name} (bytes read, all bank groups)"
        parts.append(grid(title, ("from", "", "read"), rows, text_columns=2))
    return Group(*parts)


def _thirds(edges: list[int], values: list[int]) -> list[tuple[int, int]]:
    """Return (lower edge, sum) of bins of about a third of a decade, without empty ends."""
    sums: dict[int, list[int]] = {}
    for edge, n in zip(edges, values, strict=True):
        decade = len(str(edge)) - 1
        third = 3 * decade + sum(edge >= step * 10**decade for step in (2, 5))
        sums.setdefault(third, [edge, 0])[1] += n
    bars = [(edge, n) for edge, n in sums.values()]
    used = [i for i, (_, n) in enumerate(bars) if n]
    return bars[used[0] : used[-1] + 1] if used else []


def _wear(found: RunErrors) -> Group:
    rows = [
        (
            name,
            f"{w.writes_per_step:.4g}",
            f"{w.hottest_per_step:.4g}" if w.hottest_per_step is not None else "not known",
            f"{w.writes_per_s:.4g}",
            f"{w.endurance:.0e}",
            lifetime(w.lifetime_s) if w.lifetime_s is not None else "never written",
        )
        for name, w in found.wear.items()
    ]
    columns = (
        "bank group",
        "writes of a word per step",
        "of the hottest",
        "per second",
        "endurance",
        "lifetime",
    )
    return grid("Wear of the words written most often", columns, rows)


def plot_errors(found: RunErrors, path: Path) -> None:
    """Draw the write-to-read distances, and the errors by role, to ``path`` (.png, .svg or .pdf)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4), layout="constrained")
    FigureCanvasAgg(figure)
    distances, roles = figure.subplots(1, 2)
    _draw_distances(distances, found.distance_histogram)
    _draw_roles(roles, found)
    for axes in (distances, roles):
        if axes.get_legend_handles_labels()[0]:  # beside the bars, which it would hide
            axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
        axes.grid(alpha=0.3)
    judged = [
        f"{group}: {d['name']} at {d['temperature_k']:g} K{'' if d['simulated'] else ' (judged)'}"
        for group, d in found.devices.items()
    ]
    figure.suptitle(f"{found.run} ({', '.join(judged) or 'no device'})")
    with writing(path, "--plot"):
        figure.savefig(path, dpi=120)


def _draw_distances(axes: Axes, histogram: Mapping[str, Any]) -> None:
    edges = [edge * 1e-12 for edge in histogram["edges_ps"]]
    edges.append(10 * edges[-1])
    seen: list[int] = []
    for name in (n for n in histogram if n != "edges_ps"):
        nbytes = histogram[name]["bytes"]
        seen += [i for i, n in enumerate(nbytes) if n]
        if any(nbytes):
            axes.stairs(nbytes, edges, label=name)
    axes.set_xscale("log")
    if seen:
        axes.set_xlim(edges[max(0, min(seen) - 5)], edges[min(len(edges) - 1, max(seen) + 6)])
    axes.set_xlabel("time from write to read [s]")
    axes.set_ylabel("bytes read")


def _draw_roles(axes: Axes, found: RunErrors) -> None:
    roles = [role for role, errors in found.by_role.items() if errors["total"]] or list(found.by_role)
    causes = [c for c in COLUMNS if any(found.by_role[r][c] for r in roles)]
    width = 0.9 / max(1, len(causes))
    for place, cause in enumerate(causes):
        at = [i + (place - (len(causes) - 1) / 2) * width for i in range(len(roles))]
        axes.bar(at, [found.by_role[r][cause] for r in roles], width, label=cause)
    axes.set_yscale("log" if found.all["total"] > 0 else "linear")
    axes.set_xticks(range(len(roles)), roles, rotation=30, ha="right")
    axes.set_ylabel(f"probability of an error per {found.per}")
