"""A study as one HTML page that needs no network: a scatter with what a point is, as the pointer is on it."""

from __future__ import annotations

import html
import json
from typing import Any, Final

from accelsim.sweep.figures import figure
from accelsim.sweep.plots import PALETTE, front_of, grouped
from accelsim.sweep.scales import scale_of
from accelsim.sweep.scatter import needs_log
from accelsim.sweep.view import Entry, View

WIDTH, HEIGHT, MARGIN = 860, 520, 70


def page(found: View, x: str, y: str, color: str | None) -> str:
    """Return the page."""
    groups = grouped(found, color)
    on = front_of(found, x, y)
    numbers = {e.number for e in on}
    points = [
        _point(e, x, y, PALETTE[i % len(PALETTE)], e.number in numbers)
        for i, entries in enumerate(groups.values())
        for e in entries
    ]
    legend = [[name, PALETTE[i % len(PALETTE)]] for i, name in enumerate(groups)] if color else []
    data = {"x": x, "y": y, "points": points, "front": [e.number for e in on], "legend": legend}
    logs = {f"log_{k}": needs_log([p[k] for p in points]) for k in ("x", "y")}
    scales = {k: scale_of(name, [p[k] for p in points]) for k, name in (("x", x), ("y", y))}
    axes = {f"axis_{k}": {"step": s.step, "label": s.label} for k, s in scales.items()}
    size = {"width": WIDTH, "height": HEIGHT, "margin": MARGIN}
    text = json.dumps({**data, **logs, **axes, **size}).replace("</", "<\\/")
    return _PAGE.replace("@TITLE@", html.escape(f"{found.study.name}: {y} over {x}")).replace("@DATA@", text)


def _point(entry: Entry, x: str, y: str, color: str, on: bool) -> dict[str, Any]:
    told = [f"point {entry.number}", *(f"{k} = {v}" for k, v in entry.params.items())]
    return {
        "n": entry.number,
        "x": figure(entry.figures, x),
        "y": figure(entry.figures, y),
        "c": color,
        "on": on,
        "t": told,
    }


_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>@TITLE@</title>
<style>
body { font: 14px system-ui, sans-serif; margin: 2em; color: #222; }
svg text { font-size: 12px; fill: #444; }
#tip { position: absolute; display: none; background: #fff; border: 1px solid #999; padding: 6px 8px;
  white-space: pre; pointer-events: none; box-shadow: 0 1px 4px #0003; }
circle:hover { stroke: #000; stroke-width: 2; }
</style></head><body>
<h1 style="font-size: 18px">@TITLE@</h1>
<div id="plot"></div><div id="tip"></div>
<script>
"use strict";
const data = @DATA@;
const space = "http://www.w3.org/2000/svg";
function add(parent, name, attributes, text) {
  const made = document.createElementNS(space, name);
  for (const key in attributes) made.setAttribute(key, attributes[key]);
  if (text !== undefined) made.textContent = text;
  parent.appendChild(made);
  return made;
}
function round_steps(low, high) {
  const rough = (high - low) / 5, ten = 10 ** Math.floor(Math.log10(rough));
  const step = ten * [1, 2, 5, 10].find(n => n * ten >= rough * 0.999);
  const first = Math.ceil(low / step), count = Math.floor(high / step) - first + 1;
  return Array.from({length: count}, (_, i) => (first + i) * step);
}
function scale(values, from, to, log, unit) {
  const of = log ? Math.log10 : (v => v), back = log ? (v => 10 ** v) : (v => v);
  let low = of(Math.min(...values)), high = of(Math.max(...values));
  const room = (high - low || Math.abs(high) || 1) * 0.05;
  low -= room; high += room;
  const at = v => from + (of(v) - low) / (high - low) * (to - from);
  const ends = [low + room, high - room];
  at.ticks = log ? [0, 1, 2, 3, 4].map(i => back(ends[0] + (ends[1] - ends[0]) * i / 4))
    : round_steps(low / unit, high / unit).map(v => v * unit);
  return at;
}
function tick(value, axis) {
  return String(Number((value / axis.step).toPrecision(6)));
}
const m = data.margin, w = data.width, h = data.height;
const svg = add(document.getElementById("plot"), "svg", {width: w, height: h, role: "img"});
const px = scale(data.points.map(p => p.x), m, w - 20, data.log_x, data.axis_x.step);
const py = scale(data.points.map(p => p.y), h - m, 20, data.log_y, data.axis_y.step);
for (const v of px.ticks) {
  add(svg, "line", {x1: px(v), x2: px(v), y1: 20, y2: h - m, stroke: "#eee"});
  add(svg, "text", {x: px(v), y: h - m + 18, "text-anchor": "middle"}, tick(v, data.axis_x));
}
for (const v of py.ticks) {
  add(svg, "line", {x1: m, x2: w - 20, y1: py(v), y2: py(v), stroke: "#eee"});
  add(svg, "text", {x: m - 6, y: py(v) + 4, "text-anchor": "end"}, tick(v, data.axis_y));
}
add(svg, "text", {x: w / 2, y: h - 20, "text-anchor": "middle"}, data.axis_x.label);
add(svg, "text", {x: 14, y: h / 2, transform: `rotate(-90 14 ${h / 2})`, "text-anchor": "middle"},
    data.axis_y.label);
const byNumber = new Map(data.points.map(p => [p.n, p]));
const line = data.front.map(n => byNumber.get(n)).map(p => `${px(p.x)},${py(p.y)}`).join(" ");
add(svg, "polyline", {points: line, fill: "none", stroke: "#c43c2f", id: "front"});
const tip = document.getElementById("tip");
for (const p of data.points) {
  const dot = add(svg, "circle", {cx: px(p.x), cy: py(p.y), r: p.on ? 6 : 4, fill: p.c, "data-n": p.n});
  dot.addEventListener("mousemove", e => {
    tip.textContent = [...p.t, `${data.x} = ${p.x}`, `${data.y} = ${p.y}`].join("\\n");
    tip.style.display = "block";
    tip.style.left = e.pageX + 14 + "px";
    tip.style.top = e.pageY + 14 + "px";
  });
  dot.addEventListener("mouseleave", () => { tip.style.display = "none"; });
}
data.legend.forEach(([name, color], i) => {
  add(svg, "circle", {cx: w - 160, cy: 34 + 18 * i, r: 5, fill: color});
  add(svg, "text", {x: w - 148, y: 38 + 18 * i}, name);
});
document.body.dataset.drawn = data.points.length;
</script></body></html>
"""
