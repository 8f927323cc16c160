"""Scene: shapes with coordinates. SVG, PNG, PDF, HTML and JSON are made from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from graphviz_nets.config import Options
from graphviz_nets.drawing import theme as themes
from graphviz_nets.drawing.captions import TIMES
from graphviz_nets.drawing.diagram import Box, Diagram, Group, Wire, boxes
from graphviz_nets.drawing.engine import Point
from graphviz_nets.drawing.layout import Placement, Size, Task, layouts
from graphviz_nets.drawing.text import Font, font, visible
from graphviz_nets.drawing.theme import PLAIN, thickness
from graphviz_nets.drawing.weights import Weight

SCHEMA = 1
"""Version of the JSON form."""

WIDEST = 230.0
"""Width that a box's text may take, in pixels."""

NARROWEST = 74.0
LINE = 15.0
ROW = 18.0
SIDE = 9.0
ARROW = 7.0
SIGN = 22.0
MARGIN = 16.0


@dataclass(frozen=True)
class Rect:
    """A rectangle with rounded corners; `style` names its colours, `fill` overrides them."""

    x: float
    y: float
    width: float
    height: float
    style: str
    radius: float = 0.0
    fill: str | None = None


@dataclass(frozen=True)
class Text:
    """A line of text with its baseline's start (or middle, or end) at (x, y), `width` pixels wide."""

    x: float
    y: float
    text: str
    size: float
    width: float
    style: str = "text"
    bold: bool = False
    anchor: str = "start"
    whole: str = ""  # the text before it was cut
    fill: str | None = None


@dataclass(frozen=True)
class Curve:
    """Bezier control points (1 + 3n)."""

    points: tuple[Point, ...]
    style: str = "wire"
    dashed: bool = False
    width: float = 1.25


@dataclass(frozen=True)
class Polygon:
    """A filled area."""

    points: tuple[Point, ...]
    style: str = "arrow"


Shape: TypeAlias = "Rect | Text | Curve | Polygon"


@dataclass(frozen=True)
class Item:
    """Shapes that belong to one box, wire or legend, at an offset.

    Attributes
    ----------
    kind : {"node", "scope", "fold", "stub", "row", "wire", "label", "title", "legend"}
        ``data-kind``; a wire has `source` and `target` in place of an id.
    box : (width, height)
        Of a box; (0, 0) for a wire.
    can_open, is_open : bool
        For groups.
    """

    id: str
    kind: str
    x: float
    y: float
    box: Size
    shapes: tuple[Shape, ...]
    label: str = ""
    category: str = ""
    source: str = ""
    target: str = ""
    control: bool = False
    can_open: bool = False
    is_open: bool = False
    parent: str = ""
    rows: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Scene:
    """A picture: items from back to front.

    Attributes
    ----------
    width, height : float
        Of the picture, in pixels.
    details : mapping of id to mapping
        What is known of every box and folded row.
    text_lacks : bool
        Whether some text needs glyphs that the font has not.
    sheets : mapping of direction to mapping of group id to Sheet
        For a page that opens, closes and turns groups; its own direction comes first, the outermost group is ``""``.
    overlay : str or None
        What the boxes' values are called, where they have any.
    weights : mapping of id to tuple of Weight
        What the weights of boxes are like, for a page.
    phases : mapping of str to Scene
        The same net in other phases, for a page.
    """

    width: float
    height: float
    items: tuple[Item, ...]
    title: str
    rankdir: str
    theme: themes.Theme
    details: Mapping[str, Mapping[str, Any]]
    description: str = ""
    framework: str = ""
    totals: Mapping[str, int | None] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    background: str | None = None
    font: Path | None = None
    text_lacks: bool = False
    sheets: Mapping[str, Mapping[str, Sheet]] = field(default_factory=dict)
    overlay: str | None = None
    weights: Mapping[str, tuple[Weight, ...]] = field(default_factory=dict)
    phases: Mapping[str, Scene] = field(default_factory=dict)


@dataclass(frozen=True)
class Strand:
    """A wire of a sheet: from a box (by number, or -1 for the border) to another, as a polyline.

    `ports` are the (place among the source's outs or the sheet's ins, place among the target's ins or the sheet's
    outs) pairs of the wires that it stands for, -1 for the middle.
    """

    source: int
    target: int
    ports: tuple[tuple[int, int], ...]
    points: tuple[Point, ...]
    label: Text | None
    width: float
    dashed: bool
    values: str


@dataclass(frozen=True)
class Sheet:
    """A group alone, its children closed: what a page needs to open it.

    Attributes
    ----------
    size : (width, height)
        With all children closed.
    title : tuple of Shape
        What its frame says, from its corner; nothing for the outermost.
    boxes, rows : tuple of Item
        Children, and the rows of their boxes.
    ins, outs : tuple of points
        Ports on its border.
    """

    size: Size
    title: tuple[Shape, ...]
    boxes: tuple[Item, ...]
    rows: tuple[Item, ...]
    strands: tuple[Strand, ...]
    ins: tuple[Point, ...]
    outs: tuple[Point, ...]


def scene(diagram: Diagram, options: Options | None = None) -> Scene:
    """Lay out a diagram and draw it.

    Parameters
    ----------
    diagram : Diagram
        What to show.
    options : Options, optional
        `theme`, `font`, `background` and `aspect` matter here.

    Examples
    --------
    >>> from graphviz_nets.graph.builder import Builder
    >>> from graphviz_nets.drawing.diagram import diagram
    >>> op = Builder("two")
    >>> picture = scene(diagram(op.model([op.Relu(op.input("x", "float32", (1, 8)))])))
    >>> [item.id for item in picture.items if item.kind == "node"]
    ['x', 'Relu']
    """
    options = options or Options()
    pen = Pen(diagram, options)
    aspect = None if options.aspect is None else options.aspect[0] / options.aspect[1]
    placed = _place(diagram, pen, aspect)
    items = _items(diagram, pen, placed)
    width, height = placed[""].size
    header, top, least = _header(diagram, pen)
    footer, more, wide = _legend(diagram, pen, top + height + MARGIN)
    items = [replace(item, x=item.x + MARGIN, y=item.y + top) for item in items]
    details: dict[str, Mapping[str, Any]] = {}
    for item in items:
        if item.details:
            details[item.id] = item.details
    totals = diagram.totals
    return Scene(
        max(width + 2 * MARGIN, least, wide),
        top + height + MARGIN + more,
        (*header, *items, *footer),
        diagram.title,
        diagram.rankdir,
        pen.look,
        details | pen.rows,
        f"{diagram.framework} network with {totals['layers'] or totals['nodes']} layers",
        diagram.framework,
        totals,
        diagram.problems,
        options.background,
        options.font,
        pen.lacks,
        overlay=None if diagram.overlay is None else diagram.overlay[0],
    )


@dataclass(frozen=True)
class Sketch:
    """A box drawn at the origin; rows are (id, y, shapes from the row's own corner)."""

    size: Size
    shapes: tuple[Shape, ...]
    rows: tuple[tuple[str, float, tuple[Shape, ...]], ...]


class Pen:
    """Measures and draws boxes in one look."""

    def __init__(self, diagram: Diagram, options: Options, signs: bool = False) -> None:
        self.look = themes.theme(options.theme, options.themes)
        self.plain: Font = font(options.font)
        self.bold: Font = font(options.font, bold=True)
        self.overlay = diagram.overlay
        # Boxes that a page can open have room for the sign that does it.
        self.signs = {box.id for box in boxes(diagram.root) if box.closed is not None} if signs else set()
        self.lacks = False
        self.rows: dict[str, Mapping[str, Any]] = {}
        self.sketches: dict[str, Sketch] = {}
        self.widths: dict[tuple[int, str, int, int], float] = {}
        for drawn in boxes(diagram.root):  # equal boxes get equal sizes, so that equal groups are laid out alike
            box = drawn.closed or drawn
            if box.group is None and box.look >= 0:
                width = self.box(box).size[0]
                self.widths[self.alike(box)] = max(width, self.widths.get(self.alike(box), 0.0))
        self.sketches.clear()

    def text(
        self, x: float, y: float, text: str, *, size: float | None = None, width: float = WIDEST, **more: Any
    ) -> Text:
        """Return a line of text, cut to a width; control characters become visible."""
        size = self.look.size if size is None else size
        face = self.bold if more.get("bold") else self.plain
        clean = visible(text)
        self.lacks = self.lacks or face.lacks(clean)
        short = face.cut(clean, size, width)
        return Text(x, y, short, size, face.width(short, size), whole=clean if short != clean else "", **more)

    @staticmethod
    def alike(box: Box) -> tuple[int, str, int, int]:
        """Return what boxes of equal size share."""
        return box.look, box.shown_as, box.times, len(box.rows)

    def box(self, box: Box) -> Sketch:
        """Draw a box that is not open."""
        if box.id in self.sketches:
            return self.sketches[box.id]
        look = self.look
        fill = self._value_fill(box)
        ink = None if fill is None else themes.ink(fill)
        lines: list[Text] = [self.text(SIDE + 3, 0, box.title or box.type, bold=True, fill=ink)]
        badge = [self.text(lines[0].x + lines[0].width + 10, 0, f"{TIMES}{box.times}", bold=True, fill=ink)]
        badge = badge if box.times > 1 else []
        if box.type and box.type != box.title:
            lines.append(self.text(SIDE + 3, 0, box.type, size=look.small, style="muted", fill=ink))
        words = self.plain.wrap(tuple(map(visible, box.caption)), look.small, WIDEST - 40)
        lines += [self.text(SIDE + 3, 0, line, size=look.small, style="muted", fill=ink) for line in words]
        if fill is not None and box.value is not None:
            lines.append(self.text(SIDE + 3, 0, f"{box.value:.6g}", size=look.small, style="text", fill=ink))
        rows = [self._row(row.title, row.type, row.caption, ink) for row in box.rows]
        self.rows |= {row.id: dict(row.details) | {"row_of": box.id} for row in box.rows}
        edges = [*(line.x + line.width + SIDE for line in (*lines, *badge)), *(wide for wide, _ in rows)]
        # A second sheet behind says that there is more inside, a third that there are several.
        sheet = 0.0 if not box.members else 4.0 if box.times == 1 else 8.0
        sign = SIGN if box.id in self.signs else 0.0
        width = round(max(NARROWEST, *edges) + 0.5) + sheet + sign
        width = max(width, self.widths.get(self.alike(box), 0.0)) if box.look >= 0 else width
        body = 10 + LINE * len(lines)
        height = body + ROW * len(rows) + (2 if rows else 0)
        # A second sheet behind says that there is more inside, a third that there are several.
        sheet = 0.0 if not box.members else 4.0 if box.times == 1 else 8.0
        style = "stub" if box.shown_as == "stub" else f"box-{box.kind or 'other'}"
        height += sheet
        shapes: list[Shape] = [
            Rect(step, step, width - sheet, height - sheet, style, 5.0, fill) for step in (8.0, 4.0) if step <= sheet
        ]
        shapes.append(Rect(0, 0, width - sheet, height - sheet, style, 5.0, fill))
        if box.shown_as != "stub":
            shapes.append(Rect(0, 5, 4, body - (5 if rows else 10), f"accent-{box.kind or 'other'}"))
        shapes += [replace(line, y=5 + LINE * (k + 1) - 3.5) for k, line in enumerate(lines)]
        shapes += [replace(line, y=5 + LINE - 3.5) for line in badge]
        drawn: list[tuple[str, float, tuple[Shape, ...]]] = []
        for k, (row, (_, parts)) in enumerate(zip(box.rows, rows, strict=True)):
            mark = Rect(0, 0, 4, ROW - (3 if k == len(rows) - 1 else 0), f"accent-{row.kind}")
            texts = (replace(part, y=ROW - 5) for part in parts)
            drawn.append(
                (
                    row.id,
                    body + ROW * k,
                    (Rect(0, 0, width - sheet, ROW, "hit"), Rect(3, 0, width - sheet - 3, 0.75, "rule"), mark, *texts),
                )
            )
        sketch = Sketch((width, height), tuple(shapes), tuple(drawn))
        self.sketches[box.id] = sketch
        return sketch

    def _row(self, title: str, type_: str, words: Sequence[str], ink: str | None) -> tuple[float, list[Text]]:
        small = self.look.small
        name = self.text(SIDE + 3, 0, title, size=small, width=WIDEST * 0.5, fill=ink)
        said = ", ".join((type_, *words)) if type_.lower() != title.lower() else ", ".join(words)
        about = self.text(SIDE + 3 + name.width + 8, 0, said, size=small, width=WIDEST * 0.55, style="muted", fill=ink)
        parts = [name, about] if said else [name]
        return max(part.x + part.width for part in parts) + SIDE, parts

    def _value_fill(self, box: Box) -> str | None:
        if self.overlay is None:
            return None
        if box.value is None:
            return self.look.light.background
        _, low, high = self.overlay
        return themes.ramp((box.value - low) / (high - low) if high > low else 0.5)

    def title(self, box: Box, inner: Placement) -> Text:
        """Return the title of an open group."""
        size = self.look.small + 0.5
        found = self.text(*inner.title, frame_title(box), bold=True, size=size, width=1.6 * WIDEST, style="muted")
        return replace(found, y=found.y + self.look.small + 1)

    def title_width(self, box: Box) -> float:
        """Return the room that the title of an open group takes."""
        return self.text(0, 0, frame_title(box), bold=True, size=self.look.small + 0.5, width=1.6 * WIDEST).width

    def label(self, wire: Wire) -> Size:
        """Return the room that a wire's label takes."""
        if not wire.label:
            return (0.0, 0.0)
        return (self.text(0, 0, wire.label, size=self.look.small - 1).width + 8, LINE - 1)


def _place(diagram: Diagram, pen: Pen, aspect: float | None) -> dict[str, Placement]:
    """Lay out every group, inner ones first."""
    order: list[tuple[str, Group, float | None]] = [("", diagram.root, None)]
    for _, group, _ in order:
        order += [(box.id, box.group, pen.title_width(box)) for box in group.boxes if box.group is not None]
    height: dict[str, int] = {}
    levels: dict[int, list[tuple[str, Group, float | None]]] = {}
    for entry in reversed(order):
        name, group, _ = entry
        height[name] = max((height[box.id] + 1 for box in group.boxes if box.group is not None), default=0)
        levels.setdefault(height[name], []).append(entry)
    placed: dict[str, Placement] = {}
    for level in sorted(levels):
        tasks = []
        for _, group, title in levels[level]:
            sizes = [placed[box.id].size if box.group is not None else pen.box(box).size for box in group.boxes]
            inside = {box.id: placed[box.id] for box in group.boxes if box.group is not None}
            labels = [pen.label(wire) for wire in group.wires]
            tasks.append(Task(group, sizes, inside, labels if any(w for w, _ in labels) else (), title))
        found = layouts(tasks, diagram.rankdir, aspect)
        placed.update((name, place) for (name, _, _), place in zip(levels[level], found, strict=True))
    return placed


def frame_title(box: Box) -> str:
    """Return what stands at the top of an open group."""
    if box.times == 1:
        return box.title
    weights = box.details.get("weights", "none")
    return f"{box.title}  {TIMES}{box.times}" + (f", {weights} weights" if weights != "none" else "")


def _items(diagram: Diagram, pen: Pen, placed: Mapping[str, Placement]) -> list[Item]:
    """Return frames of open groups, then wires, then boxes, then the wires' labels."""
    frames: list[Item] = []
    wires: list[Item] = []
    nodes: list[Item] = []
    labels: list[Item] = []
    waiting: list[tuple[str, Group, float, float]] = [("", diagram.root, 0.0, 0.0)]
    for name, group, x0, y0 in waiting:
        here = placed[name]
        for box, (x, y) in zip(group.boxes, here.boxes, strict=True):
            if box.group is not None:
                inner = placed[box.id]
                title = pen.title(box, inner)
                shapes: tuple[Shape, ...] = (Rect(0, 0, *inner.size, "group", 8.0), title)
                frames.append(
                    Item(box.id, box.shown_as, x0 + x, y0 + y, inner.size, shapes, can_open=True, is_open=True,
                         **_about(box, name))
                )  # fmt: skip
                waiting.append((box.id, box.group, x0 + x, y0 + y))
            else:
                nodes += box_items(box, pen, x0 + x, y0 + y, name)
        for wire, curve, label in zip(group.wires, here.wires, here.labels, strict=True):
            ends = {"source": wire.source or name, "target": wire.target or name, "control": wire.control}
            final = (bool(wire.target) and not wire.target_port.strip("\0")) or "\0" in wire.target_port
            wires.append(
                Item("", "wire", x0, y0, (0, 0), _wire(curve, wire, final), ", ".join(wire.values), **ends)  # type: ignore[arg-type]
            )
            if label is not None and wire.label:
                text = pen.text(
                    label[0], label[1] + 3.5, wire.label, size=pen.look.small - 1, style="muted", anchor="middle"
                )
                halo = Rect(
                    label[0] - text.width / 2 - 2,
                    label[1] - 6.5,
                    text.width + 4,
                    13,
                    "halo-group" if name else "halo",
                    3.0,
                )
                labels.append(Item("", "label", x0, y0, (0, 0), (halo, text), **ends))  # type: ignore[arg-type]
    return frames + wires + nodes + labels


def _about(box: Box, parent: str) -> dict[str, Any]:
    known: dict[str, Any] = {"id": box.id, "kind": box.kind, "type": box.type, "rows": [row.id for row in box.rows]}
    if box.value is not None:
        known["value"] = box.value
    return {"label": _spoken(box), "parent": parent, "details": {**box.details, **known}}


def box_items(box: Box, pen: Pen, x: float, y: float, parent: str) -> list[Item]:
    """Return a closed box and its rows as items."""
    sketch = pen.box(box)
    rows = tuple(row for row, _, _ in sketch.rows)
    found = [
        Item(box.id, box.shown_as, x, y, sketch.size, sketch.shapes, category=box.kind, can_open=box.members > 0,
             rows=rows, **_about(box, parent))
    ]  # fmt: skip
    for row, (name, down, drawn) in zip(box.rows, sketch.rows, strict=True):
        said = ", ".join(visible(part) for part in (row.title, row.type, *row.caption))
        found.append(Item(name, "row", x, y + down, (sketch.size[0], ROW), drawn, said, row.kind, parent=box.id))
    return found


def _wire(curve: Sequence[Point], wire: Wire, final: bool) -> tuple[Shape, ...]:
    """Return a wire as wide as its tensor is large, with an arrow head where it arrives at a box."""
    width = thickness(0 if wire.control else wire.size)
    if not final:
        return (Curve(tuple(curve), "wire", wire.control, width),)
    size = ARROW + 1.6 * (width - PLAIN)
    (x2, y2), before = curve[-1], next((p for p in reversed(curve[:-1]) if p != curve[-1]), curve[0])
    length = ((x2 - before[0]) ** 2 + (y2 - before[1]) ** 2) ** 0.5 or 1.0
    ux, uy = (x2 - before[0]) / length, (y2 - before[1]) / length
    base = (x2 - ux * size, y2 - uy * size)
    half = size * 0.42
    head = ((x2, y2), (base[0] - uy * half, base[1] + ux * half), (base[0] + uy * half, base[1] - ux * half))
    # The line ends inside the head, so that its blunt end does not show beside the tip.
    stop = (x2 - ux * size * 0.6, y2 - uy * size * 0.6)
    last = curve[-2] if length > size else stop
    return (Curve((*curve[:-2], last, stop), "wire", wire.control, width), Polygon(head, "arrow"))


def _spoken(box: Box) -> str:
    """Return what a screen reader says of a box."""
    times = f"{box.times} times" if box.times > 1 else ""
    parts = [box.title, times, box.type if box.type != box.title else "", *box.caption]
    return ", ".join(visible(part) for part in parts if part)


def _header(diagram: Diagram, pen: Pen) -> tuple[list[Item], float, float]:
    """Return the title and its totals, the height they take, and the least width of the picture."""
    if not diagram.title:
        return [], MARGIN, 0.0
    title = pen.text(MARGIN, MARGIN + 13, diagram.title, size=16, bold=True, width=900)
    return [Item("", "title", 0, 0, (0, 0), (title,), diagram.title)], MARGIN + 30, title.width + 2 * MARGIN


def _legend(diagram: Diagram, pen: Pen, y: float) -> tuple[list[Item], float, float]:
    """Return the overlay's legend, or nothing; the height and width it takes."""
    if diagram.overlay is None:
        return [], 0.0, 0.0
    title, low, high = diagram.overlay
    bar, cells = 200.0, 40
    shapes: list[Shape] = []
    above = pen.text(0, 11, title or "value", size=pen.look.small, style="muted")
    shapes.append(above)
    for k in range(cells):
        wide = bar / cells
        shapes.append(Rect(k * wide, 17, wide + 0.3, 10, "ramp", 0.0, themes.ramp(k / (cells - 1))))
    shapes.append(pen.text(0, 40, f"{low:.6g}", size=pen.look.small, style="text"))
    shapes.append(pen.text(bar, 40, f"{high:.6g}", size=pen.look.small, style="text", anchor="end"))
    item = Item("", "legend", MARGIN, y, (bar, 44.0), tuple(shapes), f"{title}: {low:.6g} to {high:.6g}")
    return [item], 44.0 + MARGIN, max(bar, above.width) + 2 * MARGIN
