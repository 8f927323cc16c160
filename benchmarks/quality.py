"""Measure how good our drawings are, beside Graphviz's own of the same boxes, clusters and labels.

Run as ``python benchmarks/quality.py [FILE...]``; without files, the Caffe nets of the shared corpus that fold to 4 to
700 boxes. For each net, drawn fully open: crossings of wires, bends, area, aspect, longest wire, texts wider than
their boxes, boxes that overlap and wires through boxes, for us and for ``dot``; then the medians of the ratios.
Splines are counted as polylines (`STEPS` pieces a cubic).
"""

from __future__ import annotations

import itertools
import json
import math
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from graphviz_nets import api
from graphviz_nets.config import Options
from graphviz_nets.drawing import engine, route
from graphviz_nets.drawing.diagram import Diagram, Group, boxes, diagram
from graphviz_nets.drawing.scene import Curve, Rect, Scene, Text, scene
from graphviz_nets.errors import GraphvizNetsError

Point = tuple[float, float]
STEPS = 10
CELL = 60.0
SHARED = Path(__file__).resolve().parents[2] / "shared" / "models" / "caffe"


@dataclass
class Quality:
    """What one drawing is like; lengths in pixels."""

    boxes: int
    wires: int
    crossings: int
    bends: int
    area: float
    aspect: float
    longest: float
    overflow: int
    overlaps: int
    through: int


def crossings(lines: Sequence[Sequence[Point]]) -> int:
    """Count the points where two lines cross, one another's ends left out."""
    cells: dict[tuple[int, int], list[tuple[int, Point, Point]]] = {}
    for number, line in enumerate(lines):
        for a, b in itertools.pairwise(line):
            if a == b:
                continue
            xs = range(int(min(a[0], b[0]) // CELL), int(max(a[0], b[0]) // CELL) + 1)
            ys = range(int(min(a[1], b[1]) // CELL), int(max(a[1], b[1]) // CELL) + 1)
            for cell in ((x, y) for x in xs for y in ys):
                cells.setdefault(cell, []).append((number, a, b))
    found = set()
    for cell in cells.values():
        for k, (one, a, b) in enumerate(cell):
            for two, c, d in cell[k + 1 :]:
                if one != two and _cross(a, b, c, d):
                    found.add((min(one, two), max(one, two), a, b, c, d))
    return len(found)


def _cross(a: Point, b: Point, c: Point, d: Point) -> bool:
    def side(p: Point, q: Point, r: Point) -> float:
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    e = 1e-3
    one, two, three, four = side(a, b, c), side(a, b, d), side(c, d, a), side(c, d, b)
    return ((one > e and two < -e) or (one < -e and two > e)) and (
        (three > e and four < -e) or (three < -e and four > e)
    )


def bends(line: Sequence[Point]) -> int:
    """Count the changes of direction by more than 20 degrees in all, one for each turn to one side."""
    total, turned = 0, 0.0
    for a, b, c in zip(line, line[1:], line[2:], strict=False):
        angle = math.atan2(c[1] - b[1], c[0] - b[0]) - math.atan2(b[1] - a[1], b[0] - a[0])
        angle = (angle + math.pi) % (2 * math.pi) - math.pi
        if turned * angle < 0:
            turned = 0.0
        before, turned = abs(turned), turned + angle
        total += before < math.radians(20) <= abs(turned)
    return total


def ours(picture: Scene) -> Quality:
    """Measure a scene."""
    leaves = [item for item in picture.items if item.kind in ("node", "stub", "fold") and not item.is_open]
    leaves += [item for item in picture.items if item.kind == "scope" and not item.is_open]
    rectangles = [(item.x, item.y, item.x + item.box[0], item.y + item.box[1]) for item in leaves]
    lines = []
    overflow = 0
    for item in picture.items:
        for shape in item.shapes:
            if isinstance(shape, Curve) and item.kind == "wire":
                lines.append([(x + item.x, y + item.y) for x, y in route.flatten(shape.points, STEPS)])
            if isinstance(shape, Text) and item.id and item.kind != "row":
                wide = max(s.width + s.x for s in item.shapes if isinstance(s, Rect))
                overflow += shape.x < 0 or shape.x + shape.width > wide + 0.5
    return _quality(rectangles, lines, overflow)


def _quality(rectangles: list[route.Rectangle], lines: list[list[Point]], overflow: int) -> Quality:
    xs = [x for box in rectangles for x in (box[0], box[2])] + [x for line in lines for x, _ in line]
    ys = [y for box in rectangles for y in (box[1], box[3])] + [y for line in lines for _, y in line]
    width, height = max(xs) - min(xs), max(ys) - min(ys)
    squares = route.cells(rectangles)
    through = sum(
        any(route.crosses(a, b, box) for box in route.near(line, squares) for a, b in itertools.pairwise(line))
        for line in lines
    )
    order = sorted(rectangles)
    overlaps = 0
    for k, one in enumerate(order):
        for two in order[k + 1 :]:
            if two[0] >= one[2] - 0.5:
                break
            overlaps += one[1] < two[3] - 0.5 and two[1] < one[3] - 0.5
    length = max((sum(math.dist(a, b) for a, b in itertools.pairwise(line)) for line in lines), default=0.0)
    return Quality(
        len(rectangles), len(lines), crossings(lines), sum(map(bends, lines)), width * height, width / height, length,
        overflow, overlaps, through,
    )  # fmt: skip


def theirs(plan: Diagram, picture: Scene, seconds: float = 120.0) -> Quality | None:
    """Have ``dot`` draw the same boxes in the same clusters; None where it takes too long."""
    sizes = {item.id: item.box for item in picture.items if item.id}
    names = {box.id: f"n{k}" for k, box in enumerate(boxes(plan.root))}

    def inside(group: Group) -> Iterator[str]:
        for box in group.boxes:
            if box.group is None:
                width, height = sizes[box.id]
                yield f"{names[box.id]} [width={width / 72:.4f} height={height / 72:.4f}]"
            else:
                yield f"subgraph cluster_{names[box.id]} {{"
                yield from inside(box.group)
                yield "}"

    lines = ["digraph {", "graph [nodesep=0.3056 ranksep=0.3333]", 'node [shape=box fixedsize=true label=""]']
    lines += ["edge [dir=none]", *inside(plan.root)]
    widths = {
        (item.source, item.target): shape.width + 8
        for item in picture.items
        if item.kind == "label"
        for shape in item.shapes
        if isinstance(shape, Text)
    }
    for link in plan.links:
        wide = widths.get((link.source, link.target)) if link.label else None
        cell = '<TABLE BORDER="0" FIXEDSIZE="TRUE" WIDTH="%d" HEIGHT="14"><TR><TD></TD></TR></TABLE>'
        label = f" [label=<{cell % wide}>]" if wide else ""
        lines.append(f"{names[link.source]} -> {names[link.target]}{label}")
    lines.append("}")
    try:
        run = subprocess.run(
            ["dot", "-Tjson0"], input="\n".join(lines).encode(), capture_output=True, check=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        return None
    found = json.loads(run.stdout)
    rectangles, curves = [], []
    for item in found.get("objects", []):
        if "pos" in item and "width" in item:
            x, y = map(float, item["pos"].split(","))
            wide, high = float(item["width"]) * 36, float(item["height"]) * 36
            rectangles.append((x - wide, -y - high, x + wide, high - y))
    for item in found.get("edges", []):
        curves.append(route.flatten(engine.points(item["pos"], 0.0), STEPS))
    return _quality(rectangles, curves, 0)


def nets() -> list[Path]:
    """Return the corpus's nets, one of each content."""
    seen, found = set(), []
    for path in sorted(SHARED.rglob("*.prototxt")):
        content = path.read_bytes()
        if "malformed" not in path.parts and "layer_cases" not in path.parts and content not in seen:
            seen.add(content)
            found.append(path)
    return found


def main(paths: Sequence[Path]) -> int:
    """Print a line a net and the medians; return 1 where a drawing of ours has a fault."""
    options = Options(depth="all", repeats=False)
    ratios: dict[str, list[float]] = {"crossings+1": [], "area": [], "bends+1": [], "longest": []}
    faults = 0
    print(f"{'net':44} boxes wires | crossings     dot | bends   dot | area Mpx   dot | aspect  dot | faults")
    for path in paths or nets():
        try:
            model = api.load(path)
        except GraphvizNetsError:
            continue
        plan = diagram(model, options)
        picture = scene(plan, options)
        us = ours(picture)
        if not paths and not 4 <= us.boxes <= 700:
            continue
        them = theirs(plan, picture)
        wrong = us.overflow + us.overlaps + us.through
        faults += wrong
        name = str(path)[-44:]
        if them is None:
            print(f"{name:44} {us.boxes:5} {us.wires:5} | {us.crossings:9}  (dot took too long)  faults {wrong}")
            continue
        for key, one, two in (
            ("crossings+1", us.crossings + 1, them.crossings + 1),
            ("area", us.area, them.area),
            ("bends+1", us.bends + 1, them.bends + 1),
            ("longest", us.longest, them.longest),
        ):
            ratios[key].append(one / max(two, 1e-9))
        counts = f"{us.crossings:9} {them.crossings:7} | {us.bends:5} {them.bends:5}"
        sizes = f"{us.area / 1e6:8.2f} {them.area / 1e6:5.2f} | {us.aspect:6.2f} {them.aspect:4.2f}"
        words = f"{name:44} {us.boxes:5} {us.wires:5} | {counts} | {sizes} | {wrong} (dot {them.through})"
        print(words, flush=True)
    for key, values in ratios.items():
        if values:
            print(f"median ratio of {key}, ours / dot: {statistics.median(values):.3f} over {len(values)} nets")
    print(f"faults of ours: {faults}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main([Path(name) for name in sys.argv[1:]]))
