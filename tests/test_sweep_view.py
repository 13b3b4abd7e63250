"""What a study shows: fronts, tables, plots, pages; and its best machine, which gives the same figures."""

from __future__ import annotations

import csv
import itertools
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from accelsim.cli.app import app
from accelsim.cli.sweep_tables import spread
from accelsim.errors import InputError
from accelsim.sweep.analysis import slices
from accelsim.sweep.figures import figure, objective
from accelsim.sweep.importance import importance, shares
from accelsim.sweep.pareto import front, hypervolume, knee, ranks
from accelsim.sweep.plots import draw_front, grouped, new_figure
from accelsim.sweep.scales import scale_of
from accelsim.sweep.view import View, best_entry, full_name, view
from tests.servers import program
from tests.sweeps import swept, write_sweep

PARAMETERS = (
    '"bank.mram.macro" = ["stt34", "stt54"]\n"bank.mram.count" = [2, 4, 8]\n"clock" = ["500 MHz", "1 GHz"]'
)
costs_of = st.lists(st.tuples(*[st.integers(0, 9)] * 2), min_size=1, max_size=30)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which a study of twelve points is done."""
    made = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        write_sweep(made, PARAMETERS)
        swept("tiny.toml")
        yield made


@pytest.fixture
def study(folder: Path) -> View:
    """That study."""
    assert Path.cwd() == folder
    return view("tiny")


def said(*args: str, code: int = 0) -> str:
    """Run a command in this process and return what it prints."""
    done = CliRunner().invoke(app, args, env={"COLUMNS": "160"}, catch_exceptions=True)
    if code:
        assert isinstance(done.exception, InputError)
        return str(done.exception)
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


@given(costs_of)
def test_the_front_is_what_nothing_dominates(costs: list[tuple[int, int]]) -> None:
    """And all the rest is dominated by something on it."""
    on = {costs[i] for i in front(costs)}

    def dominated(a: tuple[int, int]) -> bool:
        return any(b != a and b[0] <= a[0] and b[1] <= a[1] for b in on)

    assert on
    assert all(dominated(c) != (c in on) for c in costs)
    assert [r == 0 for r in ranks(costs)] == [c in on for c in costs]


@given(st.lists(st.tuples(*[st.integers(0, 6)] * 3), min_size=2, max_size=12))
def test_the_hypervolume_is_the_volume_that_is_dominated(costs: list[tuple[int, int, int]]) -> None:
    """Counted cell by cell."""
    array = np.array(costs)
    low, high = array.min(axis=0), array.max(axis=0)
    axes = [range(a, b) for a, b in zip(low, high, strict=True) if b > a]
    flat = array[:, high > low]
    cells = list(itertools.product(*axes))
    wanted = sum(any((p <= c).all() for p in flat) for c in map(np.array, cells)) / max(1, len(cells))

    assert hypervolume(costs) == pytest.approx(wanted if axes else 1.0)


def test_the_knee_is_on_the_front() -> None:
    """Where a little of one buys most of the other."""
    assert knee([(0, 10), (1, 1), (10, 0), (5, 5)]) == 1
    assert knee([]) is None


def test_the_best_machine_gives_the_same_figures_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the commands that are printed and stand in the file, under the options of the sweep."""
    monkeypatch.chdir(tmp_path)
    keys = 'batch = 3\ncold = true\nphase = "forward"'
    path = write_sweep(tmp_path, '"clock" = ["500 MHz", "1 GHz"]', keys)
    path.write_text(path.read_text().replace("tiny.csv", "a net.toml"))
    Path("a net.toml").write_text('model = "net.py:build"\nbatch = 32\n[inputs.x]\nshape = [1, 64]\n')
    Path("net.py").write_text("from torch import nn\n\ndef build():\n    return nn.Linear(64, 10)\n")
    swept("tiny.toml", jobs=1)
    call = ("sweep", "best", "tiny", "--by", "energy_pj.total", "--write", "best.toml")
    (command,) = re.findall(r"^its figures again: accelsim (.*)$", said(*call), re.M)
    entry = best_entry(view("tiny"), "energy_pj.total")

    said(*shlex.split(command), "--out", "again", "--quiet")
    again = json.loads(Path("again/summary.json").read_text())

    assert f"# accelsim {command}\n" in Path("best.toml").read_text()
    assert again["batch"] == 3
    assert again["cycles"] == entry.figures["cycles"]
    assert again["energy_pj"]["total"] == entry.figures["energy_pj.total"]
    assert again["area_mm2"] == entry.figures["area_mm2"]
    before = Path("best.toml").read_text()
    assert "best.toml: is there already; give --force to replace it" in said(*call, code=2)
    said(*call[:3], "--number", "0", "--write", "best.toml", "--force")
    assert Path("best.toml").read_text() != before


def test_a_point_that_may_not_be_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Why it may not is told."""
    monkeypatch.chdir(tmp_path)
    write_sweep(tmp_path, '"clock" = ["500 MHz", "1 GHz"]', 'constraints = ["clock < 900 MHz"]')
    swept("tiny.toml", jobs=1)

    told = said("sweep", "best", "tiny", "--number", "1", "--write", "x.toml", code=2)

    assert "point 1 is infeasible, its machine is not written: clock < 900 MHz" in told
    assert not Path("x.toml").exists()
    assert "infeasible: 1 x clock < 900 MHz" in said("sweep", "best", "tiny", "--number", "1")


def test_points_are_sorted_chosen_and_counted(study: View) -> None:
    """By any figure or parameter, under any expression."""
    shown = said("sweep", "show", "tiny", "--sort", "-area_mm2", "--where", "clock >= 1 GHz", "--top", "3")

    assert "3 of 6 points" in shown
    areas = [float(row.split()[3]) for row in re.findall(r"^ \d.*$", shown, re.M)]
    assert areas == sorted(areas, reverse=True)
    assert len(areas) == 3
    assert len(study.done) == 12


@pytest.mark.usefixtures("study")
def test_a_table_fits_the_screen_without_its_last_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are told. A file gets them all, however wide."""
    done = CliRunner().invoke(app, ["sweep", "show", "tiny"], env={"COLUMNS": "50"})
    monkeypatch.setattr("accelsim.cli.console.PIPE_WIDTH", 50)
    monkeypatch.delenv("COLUMNS", raising=False)
    piped = CliRunner().invoke(app, ["sweep", "show", "tiny"])

    assert max(map(len, done.output.splitlines())) <= 50
    assert "A wider screen has more columns: clock" in done.output
    assert "wider" not in piped.output
    assert piped.output.splitlines()[2].split()[-1] == "clock"


def test_a_key_may_be_named_by_its_end(study: View) -> None:
    """As the heads of tables name it; not where several end so."""
    shown = said("sweep", "show", "tiny", "--sort", "-mram.count", "--where", "mram.count > 2")

    assert "8 of 8 points" in shown
    column = re.findall(r"^ point.*", shown, re.M)[0].split().index("mram.count")
    assert [row.split()[column] for row in re.findall(r"^ \d+ .*$", shown, re.M)] == ["8"] * 4 + ["4"] * 4
    assert full_name("macro", study.entries) == "bank.mram.macro"
    assert [len(g) for g in grouped(study, "macro").values()] == [6, 6]
    for option in ("--sort", "--where"):
        assert '"count" is ambiguous: bank.' in said("sweep", "show", "tiny", option, "count", code=2)
    assert "give --plot or --html" in said("pareto", "tiny", "--color", "clock", code=2)


def test_a_figure_that_no_point_has_is_refused_with_the_nearest(folder: Path) -> None:
    """In --sort, --where, --x, --color, and of studies."""
    del folder
    assert "did you mean cycles?" in said("sweep", "show", "tiny", "--sort", "cycels", code=2)
    listed = said("sweep", "show", "tiny", "--sort", "foo", code=2).partition("there are ")[2].split(", ")
    assert "edp" in listed
    assert len(set(listed)) == len(listed)
    assert "did you mean clock?" in said("sweep", "show", "tiny", "--where", "clok > 1", code=2)
    assert "did you mean cycles?" in said("pareto", "tiny", "--x", "cycels", code=2)
    assert "did you mean tiny?" in said("pareto", "tini", code=2)
    assert "needs training" in said("pareto", "tiny", "--x", "accuracy", code=2)


def test_a_study_is_found_by_its_folder_from_anywhere(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also once it was moved with its runs; what only looks makes nothing."""
    shutil.copytree(folder, tmp_path / "moved")
    here = tmp_path / "here"
    (here / "runs").mkdir(parents=True)
    monkeypatch.chdir(here)
    for root in (str(folder), "../moved"):
        assert "of 12 points" in said("sweep", "show", f"{root}/runs/sweeps/tiny")
        assert "Front: " in said("pareto", f"{root}/runs/sweeps/tiny")
    said("sweep", "best", f"{folder}/runs/sweeps/tiny", "--write", "best.toml")
    (tmp_path / "moved/runs/points.sqlite").unlink()
    for command in ("sweep show", "sweep best", "pareto"):
        told = said(*command.split(), "../moved/runs/sweeps/tiny", code=2)
        assert f"its points lie in {tmp_path}/moved/runs/points.sqlite, which is not there" in told
    assert sorted(map(str, Path().rglob("*"))) == ["best.toml", "runs"]
    assert not list((tmp_path / "moved/runs").glob("points*"))


def test_a_file_without_a_folder_is_refused_before_the_work(folder: Path) -> None:
    """Nothing is printed, nothing made."""
    calls = ["pareto tiny --plot no/x.png", "pareto tiny --html no/x.html", "sweep export tiny no/x.csv"]
    calls += ["sweep best tiny --write no/x.toml", "sweep show tiny --sensitivity no/x.png"]
    for call in calls:
        assert f"there is no folder {folder / 'no'}" in said(*call.split(), code=2)
    assert not (folder / "no").exists()
    (folder / "d.csv").mkdir(exist_ok=True)
    told = said("sweep", "export", "tiny", "d.csv", code=2)
    assert told == "d.csv: cannot be written there (Is a directory); give another place"


def test_an_export_has_a_row_per_candidate(folder: Path) -> None:
    """The same in parquet and CSV."""
    said("sweep", "export", "tiny", "points.parquet")
    said("sweep", "export", "tiny", "points.csv")
    table = pq.read_table(folder / "points.parquet")
    with (folder / "points.csv").open() as file:
        rows = list(csv.DictReader(file))

    assert table.num_rows == len(rows) == 12
    assert [float(r["cycles"]) for r in rows] == table["cycles"].to_pylist()
    assert [r["clock"] for r in rows] == table["clock"].to_pylist()


def test_importance_on_a_grid_is_the_variance_between_the_means(study: View) -> None:
    """Exactly: nothing of it is chance, and the rest is interaction."""
    assert importance(study, "clock_hz").shares["clock"] == pytest.approx(1.0)
    same = importance(study, "unsupported_ops")
    assert (set(same.shares.values()), same.rest) == ({0.0}, 0.0)
    cycles = {e.number: figure(e.figures, "cycles") for e in study.done}
    found = importance(study, "cycles")
    assert found.exact
    for param, share in found.shares.items():
        means = []
        for value in {e.params[param] for e in study.done}:
            of_value = [cycles[e.number] for e in study.done if e.params[param] == value]
            means += [np.mean(of_value)] * len(of_value)
        assert share == pytest.approx(np.var(means) / np.var(list(cycles.values())), abs=1e-9)
    assert found.rest == pytest.approx(1 - sum(s or 0 for s in found.shares.values()))


def test_importance_is_not_made_of_chance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Area follows the number of banks alone, however clock and latency fell; too few points say nothing."""
    monkeypatch.chdir(tmp_path)
    parameters = (
        '"bank.mram.count" = [2, 4, 8]\n"clock" = { range = ["400 MHz", "1 GHz"] }\n'
        '"dram.latency" = { range = ["20 ns", "200 ns"] }'
    )
    for name, samples in (("few", 12), ("some", 16)):
        write_sweep(tmp_path, parameters, f'method = "random"\nsamples = {samples}', name=name)
        swept(f"{name}.toml", jobs=1)

    found = importance(view("some"), "area_mm2")
    assert found.shares == {"bank.mram.count": pytest.approx(1.0), "clock": None, "dram.latency": None}
    assert (found.exact, found.rest) == (False, pytest.approx(0.0, abs=1e-9))
    assert importance(view("few"), "area_mm2").missing == 2
    shown = said("sweep", "show", "few", "--importance")
    assert "too few points: 12 done, at least 2 more needed" in shown
    assert "%" not in shown


def test_noise_is_explained_by_nothing_and_what_is_there_is_found() -> None:
    """Over many draws: a share has no bias, and of noise next to nothing is shown."""
    rng, noise, half = np.random.default_rng(3), [], []
    for _ in range(100):
        terms = [np.stack([x, x**2], axis=1) for x in rng.uniform(-1, 1, (3, 40))]
        noise += [s or 0.0 for s in shares(rng.normal(size=40), terms, exact=False)]
        y = terms[0][:, 0] / terms[0][:, 0].std() + rng.normal(size=40)
        half.append(shares(y, terms, exact=False)[0] or 0.0)

    assert np.mean(noise) < 0.02
    assert np.mean(half) == pytest.approx(0.5, abs=0.03)


def test_a_slice_varies_one_parameter(study: View) -> None:
    """Through one point, in order of the parameter's values."""
    around = study.entries[3]
    lines = slices(study, around)

    assert {name: len(entries) for name, entries in lines.items()} == {
        "bank.mram.macro": 2,
        "bank.mram.count": 3,
        "clock": 2,
    }
    assert [e.params["bank.mram.count"] for e in lines["bank.mram.count"]] == [2, 4, 8]


def test_plots_are_written_and_are_the_same_each_time(folder: Path) -> None:
    """PNG of the front, and of one-at-a-time slices."""
    for name in ("a.png", "b.png"):
        said("pareto", "tiny", "--color", "technology", "--plot", name)
    said("sweep", "show", "tiny", "--importance", "--sensitivity", "s.png")

    assert (folder / "a.png").read_bytes() == (folder / "b.png").read_bytes()
    assert (folder / "s.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_says_what_it_shows(study: View, tmp_path: Path) -> None:
    """Front and knee in a legend, units beside axes without offsets, and a bar for numbers of many values."""
    made, axes = new_figure(tmp_path / "x.png")
    draw_front(made, axes[0][0], study, "energy_pj.total", "cycles", "area_mm2")
    barred, others = new_figure(tmp_path / "x.png")
    draw_front(barred, others[0][0], study, "cycles", "area_mm2", "energy_pj")
    made.draw_without_rendering()

    knee = study.knee((objective("energy_pj.total"), objective("cycles"))).number
    assert [t.get_text() for t in made.legends[0].get_texts()] == ["front", f"knee: point {knee}"]
    assert axes[0][0].get_xlabel() == "energy.total (nJ)"
    assert axes[0][0].xaxis.get_offset_text().get_text() == ""
    assert len(made.axes) == 1  # few areas: a legend
    assert [a.get_ylabel() for a in barred.axes] == ["area_mm2 (mm2)", "energy (nJ)"]


def test_the_front_is_drawn_in_the_terminal(study: View) -> None:
    """With its hypervolume and its knee."""
    shown = said("pareto", "tiny", "--x", "energy_pj", "--y", "cycles")

    assert "hypervolume" in shown
    assert shown.count("K") >= 1
    assert f"knee         point {best_entry(study, None).number}" in shown


@given(st.integers(1, 200), st.integers(1, 40), st.data())
def test_of_a_long_front_as_many_are_shown_as_are_said(count: int, top: int, data: st.DataObject) -> None:
    """Each once, in order, with both ends and the knee."""
    at = data.draw(st.integers(0, count - 1))
    shown = spread(count, top, at)

    assert len(shown) == min(count, top)
    assert shown == sorted(set(shown))
    assert top < 3 or {0, at, count - 1} <= set(shown)
    assert spread(count, 0, at) == list(range(count))


def test_the_front_is_listed_whole_or_in_part(study: View) -> None:
    """--top counts; 0 is all."""
    goals = (objective("energy_pj"), objective("power_w"))
    front = [e.number for e in study.front(goals)]
    assert len(front) > 3
    call = ("pareto", "tiny", "--x", "energy_pj", "--y", "power_w", "--top")
    part = said(*call, "3")

    assert f"Front: {len(front)} of 12 points, 3 shown" in part
    rows = [int(n) for n in re.findall(r"^ (\d+) ", part, re.M)]
    assert len(rows) == 3
    assert {front[0], study.knee(goals).number, front[-1]} == set(rows)
    assert [int(n) for n in re.findall(r"^ (\d+) ", said(*call, "0"), re.M)] == front


HOVER = """<script>
const dots = document.querySelectorAll("circle[data-n]");
dots[3].dispatchEvent(new MouseEvent("mousemove", {clientX: 5, clientY: 5}));
document.body.dataset.tip = document.getElementById("tip").textContent;
document.body.dataset.dots = dots.length;
</script>"""


def test_the_page_works_in_a_browser_without_a_network(folder: Path, study: View) -> None:
    """All points are drawn, and the pointer on one tells its parameters."""
    browser = program("chromium", "chromium-browser", "google-chrome", package="chromium")
    said(
        "pareto",
        "tiny",
        "--x",
        "energy_pj",
        "--y",
        "cycles",
        "--color",
        "bank.mram.macro",
        "--html",
        "f.html",
    )
    text = (folder / "f.html").read_text()
    (folder / "hover.html").write_text(text.replace("</body>", HOVER + "</body>"))
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    )
    flags += " --disable-component-update --disable-sync"
    call = [browser, *flags.split(), f"--user-data-dir={folder / 'profile'}", "--dump-dom"]
    page = f"file://{folder / 'hover.html'}"
    done = subprocess.run([*call, page], capture_output=True, text=True, timeout=90, check=False)

    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in text
    assert 'data-drawn="12"' in done.stdout, done.stderr[-2000:]
    assert 'data-dots="12"' in done.stdout
    tip = re.search(r'data-tip="([^"]*)"', done.stdout)
    assert tip is not None
    assert "bank.mram.count = " in tip[1]
    label = scale_of("energy_pj", [figure(e.figures, "energy_pj") for e in study.entries]).label
    assert f">{label}</text>" in done.stdout
    assert f"cycles = {figure(study.entries[int(tip[1].split()[1])].figures, 'cycles')}" in tip[1]
