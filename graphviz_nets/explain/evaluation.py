"""Methods compared by the metrics: a report, its table, and its curves."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from html import escape
from math import ceil, floor, log10
from typing import TYPE_CHECKING, Any, TypeAlias

from graphviz_nets.errors import ConfigError
from graphviz_nets.explain.explainer import Explainer
from graphviz_nets.explain.metrics import BETTER, Measure, metric

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

Report: TypeAlias = "dict[str, Any]"

STYLE = """
table.measures { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; margin: 0 0 1rem }
.measures th, .measures td { padding: .2rem .7rem; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap }
.measures th:first-child { text-align: left; font-weight: normal }
.measures thead th { color: var(--soft); font-weight: normal }
.measures .best { font-weight: bold }
figure.curves { width: 26rem; max-width: 100% }
"""
"""What the section needs of a page's style, beside the gallery's colours."""


def evaluate(
    e: Explainer,
    x: Array,
    seed: Array,
    maps: Mapping[str, Array],
    rerun: Callable[[str, Explainer, Array], Array] | None = None,
    boxes: Sequence[Sequence[float]] | None = None,
    metrics: Sequence[str] = (),
    **options: Any,
) -> Report:
    """Return what the metrics say of methods' maps.

    Parameters
    ----------
    e : Explainer
        The model.
    x, seed : array
        The images and what is explained of them.
    maps : mapping of str to array
        (images, *places) by method.
    rerun : function, optional
        From a method's name, an explainer and images to maps, for the same seed: sanity and max-sensitivity need it.
    boxes : sequence, optional
        One an image, for the pointing game.
    metrics : sequence of str
        Of the table `metric`; by default all that what is given allows.
    **options
        Of the metrics that know them: ``steps``, ``stages``, ``samples``, ``random``.

    Returns
    -------
    dict
        ``images``, their number; ``metrics``, by name which is ``better`` and what it is ``about``; ``methods``, by
        method and metric the ``mean``, the ``values`` of each image, and the mean ``curve`` with its places ``at``;
        ``left_out``, why metrics that were not named cannot be taken here. All of it is plain data for JSON.

    Raises
    ------
    ConfigError
        For an unknown metric, or one that lacks what it needs.
    """
    given = {"again": rerun, "boxes": boxes}
    known = {name: set(inspect.signature(rule).parameters) for name, rule in metric.rules.items()}
    lacking = {name: [need for need in given if need in known[name] and given[need] is None] for name in metric}
    for name in metrics:
        if name not in metric.rules:
            raise ConfigError(f"no metric {name!r}", hint=f"one of {', '.join(metric)}")
        if lacking[name]:
            raise ConfigError(f"{name} lacks what it needs", hint=" and ".join(NEEDS[need] for need in lacking[name]))
    found: dict[str, dict[str, Any]] = {method: {} for method in maps}
    about, left_out = {}, {}
    for name in metrics or [name for name in metric if not lacking[name]]:
        chosen = {key: value for key, value in {**options, "boxes": boxes}.items() if key in known[name]}
        try:
            for method, values in maps.items():
                if "again" in known[name] and rerun is not None:
                    chosen["again"] = lambda other, images, method=method: rerun(method, other, images)
                found[method][name] = _plain(metric.rules[name](e, x, seed, values, **chosen))
        except ConfigError as fault:  # there is nothing of its kind to measure here
            if metrics:
                raise
            left_out[name] = str(fault)
            continue
        about[name] = {"better": BETTER[name], "about": (metric.rules[name].__doc__ or "").partition("\n")[0]}
    return {"images": len(x), "metrics": about, "methods": found, "left_out": left_out}


NEEDS = {"again": "it runs the method again", "boxes": "a box of what is explained: --box L,T,R,B"}
"""What a metric may need, beside the maps."""


def _plain(one: Measure) -> dict[str, Any]:
    """Return what a metric finds as data for JSON."""
    found = {"mean": float(one.values.mean()), "values": one.values.tolist()}
    if one.curves is not None and one.at is not None:
        found |= {"at": one.at.tolist(), "curve": one.curves.mean(0).tolist()}
    return found


def best(report: Report, name: str) -> set[str]:
    """Return the methods that a metric puts first, as the numbers are printed; none where all are alike."""
    shown = {method: float(f"{found[name]['mean']:.3g}") for method, found in report["methods"].items()}
    first = (max if report["metrics"][name]["better"] == "more" else min)(shown.values())
    return {method for method, value in shown.items() if value == first and len(set(shown.values())) > 1}


def table(report: Report) -> str:
    """Return a report as text: a row a method, a column a metric, the best of each with a star.

    Examples
    --------
    >>> about = {"insertion": {"better": "more", "about": ""}}
    >>> methods = {"saliency": {"insertion": {"mean": 0.25}}, "lrp": {"insertion": {"mean": 0.5}}}
    >>> print(table({"images": 1, "metrics": about, "methods": methods}))
              insertion ↑
    saliency         0.25
    lrp              0.5*
    """
    firsts = {name: best(report, name) for name in report["metrics"]}
    heads = [f"{name} {ARROWS[about['better']]}" for name, about in report["metrics"].items()]
    rows = [["", *heads]]
    for method, found in report["methods"].items():
        rows.append([method, *(_shown(found[name]["mean"], method in firsts[name]) for name in report["metrics"])])
    wide = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = [
        "  ".join([row[0].ljust(wide[0]), *(cell.rjust(n) for cell, n in zip(row[1:], wide[1:], strict=True))])
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


ARROWS = {"more": "↑", "less": "↓"}


def _shown(value: float, first: bool) -> str:
    return f"{value:.3g}{'*' if first else ''}"


def page_section(report: Report) -> str:
    """Return a report as a section of the gallery's page: the table and the curves."""
    firsts = {name: best(report, name) for name in report["metrics"]}
    heads = "".join(
        f'<th title="{escape(about["about"])}">{escape(name)} {ARROWS[about["better"]]}</th>'
        for name, about in report["metrics"].items()
    )
    rows = ""
    for method, found in report["methods"].items():
        rows += f"<tr><th>{escape(method)}</th>"
        for name in report["metrics"]:
            look = ' class="best"' if method in firsts[name] else ""
            rows += f"<td{look}>{found[name]['mean']:.3g}</td>"
        rows += "</tr>"
    figures = "".join(f'<figure class="curves">{svg}</figure>' for svg in plots(report).values())
    images = f"{report['images']} image{'s' if report['images'] != 1 else ''}"
    return (
        f"<section><h2>How true the maps are, over {images}</h2>"
        f'<table class="measures"><thead><tr><th></th>{heads}</tr></thead><tbody>{rows}</tbody></table>'
        f'<div class="row">{figures}</div></section>\n'
    )


# Curves -------------------------------------------------------------------------------------------------------------

COLOURS = ("#3f7fd4", "#c8642a", "#3a9463", "#a361b8", "#a98712", "#cf5674", "#3a93a8", "#7d7f86")
"""Of middling lightness, for white and black paper alike."""
DASHES = ("", "6 3", "2 2.5", "8 3 2 3", "12 3")
"""What tells lines apart in grey."""
ACROSS = {
    "insertion": "share of places put in", "deletion": "share of places taken away",
    "road": "share of places taken away", "sanity": "share of layers shuffled, from the last",
}  # fmt: skip
ALONG = {
    "insertion": "probability",
    "deletion": "probability",
    "road": "half the difference",
    "sanity": "rank correlation",
}
WIDE, HIGH, LEFT, TOP, RIGHT, BOTTOM, LINE = 420, 240, 46, 30, 12, 40, 16


def plots(report: Report) -> dict[str, str]:
    """Return the curves of each metric that has some, as SVG by its name; text has the colour of what is around."""
    found = {}
    for name in report["metrics"]:
        series = {m: (one[name]["at"], one[name]["curve"]) for m, one in report["methods"].items() if "at" in one[name]}
        if series:
            found[name] = chart(name, ACROSS[name], ALONG[name], series)
    return found


def _step(span: float) -> float:
    """Return the round number that is between a tenth and a quarter of a span, or about that."""
    power = 10.0 ** floor(log10(span / 5)) if span else 0.1
    return next(power * k for k in (1, 2, 5, 10) if span / (power * k) <= 5)


def picture(report: Report) -> str:
    """Return all curves of a report as one SVG file on white, two side by side."""
    cells, place, tall = [], 0, 0
    for k, svg in enumerate(plots(report).values()):
        high = int(svg.partition(f'viewBox="0 0 {WIDE} ')[2].partition('"')[0])
        place, tall = (place, max(tall, high)) if k % 2 else (place + tall, high)
        cells.append(svg.replace("<svg ", f'<svg x="{WIDE * (k % 2)}" y="{place}" width="{WIDE}" height="{high}" ', 1))
    wide = WIDE * min(2, len(cells))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{place + tall}" color="#1b1f24">'
        f'<rect width="{wide}" height="{place + tall}" fill="#ffffff"/>{"".join(cells)}</svg>\n'
    )


def chart(title: str, across: str, along: str, series: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> str:
    """Return a diagram of lines over 0 to 1, with a legend below it.

    Parameters
    ----------
    title, across, along : str
        Its heading, and what is on both axes.
    series : mapping of str to (sequence, sequence)
        Places and values of each line, by its name.
    """
    values = [value for _, line in series.values() for value in line]
    step = _step(max(0.0, *values) - min(0.0, *values))
    low, high = step * floor(min(0.0, *values) / step), step * ceil(max(step, *values) / step)
    width, depth = WIDE - LEFT - RIGHT, HIGH - TOP - BOTTOM
    columns = 2 if max(map(len, series)) > 14 else 3
    rows = -(-len(series) // columns)

    def x(at: float) -> str:
        return f"{LEFT + width * at:.1f}"

    def y(value: float) -> str:
        return f"{TOP + depth * (high - value) / (high - low):.1f}"

    parts = [f'<text x="{LEFT}" y="16" font-size="13">{escape(title)}</text>']
    for k in range(round((high - low) / step) + 1):
        value = low + k * step
        strong = ' stroke-opacity=".6"' if abs(value) < step / 2 else ' stroke-opacity=".18"'
        parts.append(f'<path d="M{LEFT} {y(value)}H{WIDE - RIGHT}" stroke="currentColor"{strong}/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(value)}" dy=".35em" text-anchor="end">{value + 0.0:.2g}</text>')
    for at in (0, 0.25, 0.5, 0.75, 1):
        parts.append(f'<text x="{x(at)}" y="{HIGH - BOTTOM + 15}" text-anchor="middle">{at:g}</text>')
    parts.append(f'<text x="{x(0.5)}" y="{HIGH - 8}" text-anchor="middle">{escape(across)}</text>')
    parts.append(
        f'<text transform="translate(11 {TOP + depth / 2}) rotate(-90)" text-anchor="middle">{escape(along)}</text>'
    )
    for k, (name, (places, line)) in enumerate(series.items()):
        dash = DASHES[(k + k // len(COLOURS)) % len(DASHES)]
        look = f'stroke="{COLOURS[k % len(COLOURS)]}" stroke-width="1.8"' + (
            f' stroke-dasharray="{dash}"' if dash else ""
        )
        path = "L".join(f"{x(at)} {y(value)}" for at, value in zip(places, line, strict=True))
        parts.append(f'<path d="M{path}" {look} stroke-linejoin="round"/>')
        left, top = LEFT + (k % columns) * (width / columns), HIGH + LINE * (k // columns) + 8
        parts.append(f'<path d="M{left:.1f} {top}h24" {look}/>')
        parts.append(f'<text x="{left + 30:.1f}" y="{top}" dy=".35em">{escape(name)}</text>')
    tall = HIGH + LINE * rows + 8
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {tall}" role="img" '
        f'aria-label="{escape(title)}" font-family="system-ui, sans-serif" font-size="11" fill="none">'
        f'<g fill="currentColor">{"".join(p for p in parts if p.startswith("<text"))}</g>'
        f"{''.join(p for p in parts if not p.startswith('<text'))}</svg>"
    )
