"""What must hold of every drawing, as a list of the faults found in a Scene."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise

from graphviz_nets.drawing.route import crosses, flatten
from graphviz_nets.drawing.scene import Curve, Item, Polygon, Scene, Text

TOUCH = 1.0
"""Pixels by which a wire's end may miss a border: dot rounds to hundredths and HTML cells to whole points."""


def rectangle(item: Item) -> tuple[float, float, float, float]:
    return item.x, item.y, item.x + item.box[0], item.y + item.box[1]


def faults(scene: Scene) -> Iterator[str]:
    """Yield every fault: overlaps, boxes outside their group, loose wire ends, wires through boxes, text outside."""
    boxes = {item.id: item for item in scene.items if item.kind in ("node", "scope", "stub", "fold")}
    rooms: dict[str, list[Item]] = {}
    for item in boxes.values():
        rooms.setdefault(item.parent, []).append(item)
        left, top, right, bottom = rectangle(item)
        if item.parent:
            a, b, c, d = rectangle(boxes[item.parent])
            if left < a or top < b or right > c or bottom > d:
                yield f"{item.id} is outside {item.parent}"
        if left < 0 or top < 0 or right > scene.width or bottom > scene.height:
            yield f"{item.id} is outside the picture"
        for shape in item.shapes:
            if isinstance(shape, Text):
                inside = shape.x >= 0 and shape.x + shape.width <= item.box[0] + 0.01 and shape.size / 2 < shape.y
                if not inside or (not item.is_open and shape.y > item.box[1]):
                    yield f"text {shape.text!r} is outside {item.id}"
    for row in (item for item in scene.items if item.kind == "row"):
        a, b, c, d = rectangle(boxes[row.parent])
        left, top, right, bottom = rectangle(row)
        if left < a or top < b or right > c or bottom > d:
            yield f"row {row.id} is outside {row.parent}"
        if any(isinstance(shape, Text) and shape.x + shape.width > row.box[0] + 0.01 for shape in row.shapes):
            yield f"text of row {row.id} is outside"
    for siblings in rooms.values():
        for one, two in combinations(siblings, 2):
            a, b = rectangle(one), rectangle(two)
            if a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]:
                yield f"{one.id} overlaps {two.id}"
    solid = [item for item in boxes.values() if not item.is_open]
    for wire in scene.items:
        if wire.kind != "wire":
            continue
        curve = next(shape for shape in wire.shapes if isinstance(shape, Curve))
        tip = [shape for shape in wire.shapes if isinstance(shape, Polygon)]
        points = [(x + wire.x, y + wire.y) for x, y in flatten(curve.points)]
        end = (tip[0].points[0][0] + wire.x, tip[0].points[0][1] + wire.y) if tip else points[-1]
        for name, point in ((wire.source, points[0]), (wire.target, end)):
            if not on_border(point, rectangle(boxes[name])):
                yield f"the wire {wire.source} -> {wire.target} misses {name}"
        for item in solid:
            if any(crosses(a, b, rectangle(item), 1.0) for a, b in pairwise(points)):
                yield f"the wire {wire.source} -> {wire.target} passes through {item.id}"

    for label in scene.items:
        if label.kind == "label":
            text = next(shape for shape in label.shapes if isinstance(shape, Text))
            x, y = text.x + label.x, text.y + label.y
            room = (x - text.width / 2, y - text.size * 0.7, x + text.width / 2, y)
            for item in solid:
                a = rectangle(item)
                if a[0] < room[2] and room[0] < a[2] and a[1] < room[3] and room[1] < a[3]:
                    yield f"the label {text.text!r} lies on {item.id}"


def on_border(point: tuple[float, float], box: tuple[float, float, float, float]) -> bool:
    x, y = point
    left, top, right, bottom = box
    inside = left - TOUCH <= x <= right + TOUCH and top - TOUCH <= y <= bottom + TOUCH
    return inside and min(abs(x - left), abs(x - right), abs(y - top), abs(y - bottom)) <= TOUCH
