"""HTML: one file with the drawing, its details and a small script; no network, no framework.

The script is made of ES modules (``page_*.js``) that use named exports and one-line imports only, so that joining them
in import order and dropping those lines makes one inline script.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from graphviz_nets.config import Options
from graphviz_nets.drawing.scene import Curve, Polygon, Rect, Scene, Shape, Sheet, Text
from graphviz_nets.drawing.text import roboto, visible
from graphviz_nets.drawing.theme import RAMP, Palette, ink, mix
from graphviz_nets.plugins import Renderer

from .pixels import png_url
from .plain import strict
from .svg import escape, family_of, rules, svg

MODULES = (
    "page_view.js",
    "page_panel.js",
    "page_shapes.js",
    "page_weights.js",
    "page_warp.js",
    "page_sheets.js",
    "page_map.js",
    "page_trace.js",
    "page_find.js",
    "page_table.js",
    "page_colour.js",
    "page_save.js",
    "page.js",
)
HERE = Path(__file__).resolve().parent
CLASSES = ("convolution", "pooling", "activation", "merge", "normalization", "shape")
"""Kinds whose hues stand for data types."""
KEYS = "".join(
    f"<tr><th scope=row>{key}<td>{what}"
    for key, what in {
        "Double click, Enter": "open or close a group",
        "Click, Enter": "show what is known of a box",
        "Drag, wheel, + &minus; 0": "move, zoom, fit",
        "Arrows, n, p": "next and previous box; with Shift, arrows move the view",
        "/": "find; Enter and Shift+Enter: next and previous hit",
        "i, o": "highlight all that leads to the box, all that comes from it",
        "Shift+click, Shift+Enter": "highlight what lies between two boxes",
        "t": "cost table",
        "c": "colour by",
        "r": "next direction",
        "Escape": "let go of the box and the highlight",
    }.items()
)
"""What the page explains of itself."""
MOST = 5000
"""Items of a picture that a page holds as elements, for readers without scripts."""

LARGEST = 4 << 20
"""Characters of data for another phase."""


def write(scene: Scene, options: Options) -> bytes:
    """Write a page to open from a file: pan, zoom, search, and all that is known of a layer on hover and click."""
    return page(scene, options.phase).encode("utf-8", "backslashreplace")


renderer = Renderer("html", "Interactive page (one file, works offline)", (".html", ".htm"), "page", write)


def script() -> str:
    """Return the modules as one script."""
    lines = []
    for name in MODULES:
        for line in (HERE / name).read_text("utf-8").splitlines():
            if not line.startswith("import "):
                lines.append(re.sub(r"^export (?=function|const|class|let)", "", line))
    return '"use strict";\n(() => {\n' + "\n".join(lines) + "\n})();\n"


def data_text(value: object) -> str:
    """Return JSON that is safe inside a script element.

    Examples
    --------
    >>> data_text({"name": "</script>"})
    '{"name":"\\\\u003c/script>"}'
    """
    text = json.dumps(strict(value), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def sum256(text: str) -> str:
    """Return the hash of an inline element as a content security policy names it."""
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def boxes(scene: Scene) -> dict[str, dict[str, Any]]:
    """Return what is known of each box, by id as the drawing writes it."""
    found = {}
    for name, about in scene.details.items():
        entry = dict(about)
        entry["rows"] = [visible(row) for row in entry.get("rows", ())]
        for key in ("name", "row_of", "stub_of"):
            if key in entry:
                entry[key] = visible(entry[key])
        found[visible(name)] = entry
    return found


def weights(scene: Scene) -> dict[str, Any]:
    """Return what is known of weights: those of each box by number, and each of them once."""
    places: dict[int, int] = {}
    listed: list[list[Any]] = []
    for weight in (weight for some in scene.weights.values() for weight in some):
        if id(weight) not in places:
            places[id(weight)] = len(listed)
            about = [f"{number:.4g}" for number in weight.figures.values()] or weight.why
            tiles = weight.tiles
            image = tiles and [
                png_url(tiles.width, tiles.height, tiles.channels, tiles.pixels),
                *(tiles.width, tiles.height, tiles.shown, tiles.filters),
            ]
            listed.append([visible(weight.name), weight.dtype, weight.shape, about, weight.bars, image])
    return {
        "list": listed,
        "of": {visible(name): [places[id(weight)] for weight in some] for name, some in scene.weights.items()},
    }


def shapes(scene: Scene) -> Iterator[Shape]:
    """Yield every shape that the page may come to show."""
    for item in scene.items:
        yield from item.shapes
    for sheet in scene.sheets[scene.rankdir].values():
        yield from sheet.title
        for item in (*sheet.boxes, *sheet.rows):
            yield from item.shapes
        for strand in sheet.strands:
            if strand.label is not None:
                yield strand.label
                yield Rect(0, 0, 0, 0, "halo")
                yield Rect(0, 0, 0, 0, "halo-group")
            yield from (Curve(()), Polygon(()))
    for other in scene.phases.values():
        yield from shapes(other)


def sheets(scene: Scene) -> dict[str, Any]:
    """Return the sheets as compact data: lists in a fixed order, as ``page_sheets.js`` reads them."""
    found = {}
    for name, sheet in scene.sheets[scene.rankdir].items():
        rows: dict[str, list[Any]] = {}
        for row in sheet.rows:
            rows.setdefault(row.parent, []).append(row)
        boxes = []
        for item in sheet.boxes:
            inside = [
                [visible(row.id), short(row.y - item.y), visible(row.label), [drawn(s) for s in row.shapes]]
                for row in rows.get(item.id, ())
            ]
            own = [drawn(shape) for shape in item.shapes]
            size = [short(value) for value in item.box]
            boxes.append([visible(item.id), item.kind, *size, visible(item.label), own, inside])
        strands = [
            [
                strand.source,
                strand.target,
                [list(pair) for pair in strand.ports],
                0 if strand.label is None else drawn(strand.label),
                strand.width,
                int(strand.dashed),
                visible(strand.values),
            ]
            for strand in sheet.strands
        ]
        found[visible(name)] = {
            "title": [drawn(shape) for shape in sheet.title],
            "boxes": boxes,
            "strands": strands,
            "lays": [lay(sheets[name]) for sheets in scene.sheets.values()],
        }
    return found


def lay(sheet: Sheet) -> list[Any]:
    """Return where all is on a sheet: what differs between a drawing and the same one turned."""
    return [
        flat([sheet.size]),
        flat((item.x, item.y) for item in sheet.boxes),
        [flat(strand.points) for strand in sheet.strands],
        [0 if strand.label is None else flat([(strand.label.x, strand.label.y)]) for strand in sheet.strands],
        flat(sheet.ins),
        flat(sheet.outs),
        short(sheet.title[1].x) if sheet.title and isinstance(sheet.title[1], Text) else 0,
    ]


def flat(points: Iterable[tuple[float, float]]) -> list[float]:
    """Return the coordinates of points in one list."""
    return [short(value) for point in points for value in point]


def short(value: float) -> float:
    """Return a coordinate with one decimal."""
    rounded = round(value, 1)
    return int(rounded) if rounded == int(rounded) else rounded


def drawn(shape: Shape) -> list[Any]:
    """Return a rectangle or a text as ``page_shapes.js`` reads it; the page itself colours by an overlay."""
    if isinstance(shape, Rect):
        sizes = [short(value) for value in (shape.x, shape.y, shape.width, shape.height, shape.radius)]
        return ["r", shape.style, *sizes]
    assert isinstance(shape, Text)
    place = [short(value) for value in (shape.x, shape.y, shape.size, shape.width)]
    return [
        "t",
        shape.style,
        *place,
        int(shape.bold),
        shape.anchor,
        visible(shape.text),
        visible(shape.whole),
    ]


def style(scene: Scene) -> str:
    """Return the page's stylesheet: the font, our rules, and both palettes."""
    styles = dict.fromkeys(shape.style for shape in shapes(scene))
    light = rules(styles, scene.theme.light, "")
    dark = rules(styles, scene.theme.dark, "[data-theme=dark] ")
    follow = rules(styles, scene.theme.dark, ":root:not([data-theme=light]) ")
    faces = "".join(face(scene, bold) for bold in (False, True))
    own = (HERE / "page.css").read_text("utf-8")
    bright = steps(scene.theme.light, "")
    dim = steps(scene.theme.dark, "[data-theme=dark] ")
    follow += steps(scene.theme.dark, ":root:not([data-theme=light]) ")
    dark = f"@media screen{{{dark}{dim}}}@media screen and (prefers-color-scheme:dark){{{follow}}}"
    return f"{light}{faces}{own}{bright}{dark}"


def steps(palette: Palette, prefix: str) -> str:
    """Return the colours of the steps of a number (``v0`` ...) and of the data types (``c0`` ...), with their inks."""
    # The least is nearest to the paper.
    ramp = RAMP if ink(palette.background) != "#ffffff" else RAMP[::-1]
    tints = [mix(palette.accents[kind], palette.background, 0.55) for kind in CLASSES]
    named = [*((f"v{k}", colour) for k, colour in enumerate(ramp)), *((f"c{k}", tint) for k, tint in enumerate(tints))]
    return "".join(f"{prefix}.{name}{{--fill:{colour};--on:{ink(colour)}}}" for name, colour in named)


def face(scene: Scene, bold: bool) -> str:
    """Return the font with the characters that the page uses (and ASCII), as an @font-face rule."""
    from fontTools import subset
    from fontTools.ttLib import TTFont

    used = {char for shape in shapes(scene) if isinstance(shape, Text) for char in shape.text}
    options = subset.Options(flavor="woff", hinting=False, desubroutinize=True, layout_features=["kern"])
    options.notdef_outline = True
    options.recalc_timestamp = False
    logging.getLogger("fontTools.subset").setLevel(logging.ERROR)  # it tells of every table that a font need not keep
    maker = subset.Subsetter(options)
    maker.populate(text="".join(sorted(used | set(map(chr, range(32, 127))) | set("×…–·≤"))))
    with TTFont(scene.font or roboto(bold), recalcTimestamp=False, fontNumber=0) as font:
        maker.subset(font)
        out = io.BytesIO()
        font.flavor = "woff"
        font.save(out)
    url = base64.b64encode(out.getvalue()).decode()
    weight = "bold" if bold else "normal"
    family = family_of(scene)
    return f"@font-face{{font-family:'{family}';font-weight:{weight};src:url(data:font/woff;base64,{url})}}"


def known(scene: Scene) -> dict[str, Any]:
    """Return what the script knows of a scene."""
    data = {
        "boxes": boxes(scene),
        "problems": list(scene.problems),
        "totals": dict(scene.totals),
        "overlay": scene.overlay,
        "rankdirs": list(scene.sheets),
        "sheets": sheets(scene),
        "open": [visible(item.id) for item in scene.items if item.is_open],
    }
    return data | {"weights": weights(scene)} if scene.weights else data


def switched(scene: Scene, phase: str) -> tuple[str, str, list[str]]:
    """Return the phases that can be chosen as an element, their data as others, and what was left out, as remarks."""
    texts = {name: data_text(known(other)) for name, other in scene.phases.items()}
    small = {name: text for name, text in texts.items() if len(text) <= LARGEST}
    remarks = [
        f"too large for this page: the {name} phase; --phase {name} draws it" for name in texts if name not in small
    ]
    if not small:
        return "", "", remarks
    choices = "".join(f"<option>{name}</option>" for name in sorted({phase, *small}, reverse=True))
    blocks = "".join(
        f'<script type="application/json" data-phase="{name}">{text}</script>\n' for name, text in small.items()
    )
    return f'<select id="phase" title="Phase" aria-label="Phase">{choices}</select>\n', blocks, remarks


def page(scene: Scene, phase: str = "test") -> str:
    """Return the whole page; `phase` is what it shows first, where it knows several."""
    css, code = style(scene), script()
    chooser, others, remarks = switched(scene, phase)
    data = data_text(known(replace(scene, problems=(*scene.problems, *remarks))))
    of_phase = f' data-phase="{phase}"' if others else ""
    policy = f"default-src 'none'; script-src {sum256(code)}; style-src {sum256(css)}; img-src data:; font-src data:"
    title = escape(scene.title or "network")
    # A drawing too large to be held at once is made by the script alone.
    still = scene if len(scene.items) <= MOST else replace(scene, items=())
    drawing = svg(still, styled=False, root=f' id="drawing" data-rankdir="{scene.rankdir}"')
    described = escape(visible(f"{scene.title or 'network'}: {scene.description}"))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{css}</style>
</head>
<body>
<header>
<h1>{title}</h1>
<p id="totals"></p>
<input id="search" type="search" role="searchbox" placeholder="Find, or /regex/"
 aria-label="Find by name, type, setting or shape"
 title="Find a name, type, setting or shape (/). Enter: next hit, Shift+Enter: previous one">
<span id="hits" role="status"></span>
<span class="tools" role="toolbar" aria-label="View">
<button id="fit" title="Fit the drawing (0)">Fit</button>
<button id="in" title="Zoom in (+)" aria-label="Zoom in">+</button>
<button id="out" title="Zoom out (-)" aria-label="Zoom out">&minus;</button>
<button id="deeper" title="Open one more level of groups" hidden>Open</button>
<button id="shallower" title="Close the innermost level of groups" hidden>Close</button>
{chooser}<select id="rankdir" title="Direction: TB is top to bottom, LR left to right (r: next)"
 aria-label="Direction"></select>
<button id="table" title="What each layer costs (t)" aria-expanded="false" aria-controls="costs">Table</button>
<select id="colour" title="Colour by (c)" aria-label="Colour by"></select>
<details id="save"><summary title="Save as a file">Save</summary><div>
<button data-save="svg all">Whole drawing, SVG</button>
<button data-save="png all">Whole drawing, PNG</button>
<button data-save="svg view">What is in view, SVG</button>
<button data-save="png view">What is in view, PNG</button>
</div></details>
<button id="theme" title="Light or dark">Theme</button>
<button id="keys" title="Keys and gestures (?)" aria-label="Keys and gestures">?</button>
</span>
<details id="problems" hidden><summary></summary><ul></ul></details>
</header>
<div class="work">
<section id="costs" aria-label="Cost table" hidden></section>
<div class="view">
<main id="stage" tabindex="0" aria-label="{described}">
{drawing}</main>
<div id="map" class="needless" aria-hidden="true"></div>
</div>
<aside id="panel" role="complementary" aria-label="Details" hidden></aside>
</div>
<footer>
<nav aria-label="Groups around the chosen box"><ol id="crumbs"></ol></nav>
<div id="legend" hidden></div>
<div id="traced" aria-live="polite" hidden><span></span>
<button id="untrace" title="Show everything again (Escape)" aria-label="End the trace">×</button></div>
</footer>
<div id="card" role="tooltip" hidden></div>
<dialog id="help" aria-label="Keys and gestures"><table>{KEYS}</table>
<form method="dialog"><button>Close</button></form></dialog>
<noscript><p>Without scripts the drawing is shown, but not the layers' details.</p></noscript>
<script type="application/json" id="data"{of_phase}>{data}</script>
{others}<script>{code}</script>
</body>
</html>
"""
