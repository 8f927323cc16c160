"""Sheets: every group laid out alone with its children closed, for a page that opens and closes them."""

from __future__ import annotations

from dataclasses import replace

from graphviz_nets.config import Options
from graphviz_nets.drawing import route
from graphviz_nets.drawing.diagram import Box, Diagram, Group, Wire
from graphviz_nets.drawing.layout import Placement, Task, layouts_in
from graphviz_nets.drawing.scene import SIGN, Item, Pen, Rect, Scene, Shape, Sheet, Strand, box_items
from graphviz_nets.drawing.theme import thickness

RANKDIRS = ("TB", "BT", "LR", "RL")

STEPS = 6
"""Pieces of a straight line that stand for a cubic."""


def with_sheets(scene: Scene, whole: Diagram, options: Options) -> Scene:
    """Return the scene with a sheet for each group of the whole diagram, and with the details of all boxes.

    Parameters
    ----------
    scene : Scene
        What is shown at first.
    whole : Diagram
        All that can be shown, from :meth:`Plan.whole`.
    options : Options
        As the scene was made with.
    """
    pen = Pen(whole, options, signs=True)
    open_boxes: list[tuple[Box | None, Group]] = [(None, whole.root)]
    for _, group in open_boxes:
        open_boxes += [(box, box.group) for box in group.boxes if box.group is not None]
    closed = [_closed(group) for _, group in open_boxes]
    tasks = []
    for (box, _), (group, _) in zip(open_boxes, closed, strict=True):
        labels = [pen.label(wire) for wire in group.wires]
        sizes = [pen.box(child).size for child in group.boxes]
        wide = None if box is None else pen.title_width(box) + SIGN
        tasks.append(Task(group, sizes, {}, labels if any(w for w, _ in labels) else (), wide))
    # Wrapped columns would be torn by a warp: only a picture in which nothing opens is wrapped.
    aspect = None if options.aspect is None or len(tasks) > 1 else options.aspect[0] / options.aspect[1]
    rankdirs = [whole.rankdir, *(other for other in RANKDIRS if other != whole.rankdir)]
    sheets = {
        rankdir: {
            "" if box is None else box.id: _sheet(box, group, ports, place, pen)
            for (box, _), (group, ports), place in zip(open_boxes, closed, places, strict=True)
        }
        for rankdir, places in zip(rankdirs, layouts_in(tasks, rankdirs, aspect), strict=True)
    }
    details = {item.id: item.details for sheet in sheets[whole.rankdir].values() for item in sheet.boxes}
    return replace(scene, sheets=sheets, details={**details, **pen.rows, **scene.details})


Ports = list[list[tuple[int, int]]]


def _closed(group: Group) -> tuple[Group, Ports]:
    """Return a group with its children closed, and for each wire the pairs of ports that it stands for."""
    known = {box.id: box for box in group.boxes}
    ins = {port: k for k, port in enumerate(group.ins)}
    outs = {port: k for k, port in enumerate(group.outs)}
    merged: dict[tuple[str, str, str, str], list[Wire]] = {}
    for wire in group.wires:
        # At the border each port stays; at a closed box all wires meet in the middle.
        key = (
            wire.source,
            wire.target,
            "" if wire.source else wire.source_port,
            "" if wire.target else wire.target_port,
        )
        merged.setdefault(key, []).append(wire)
    wires: list[Wire] = []
    ports: Ports = []
    for (source, target, source_port, target_port), several in merged.items():
        first = several[0]
        label = first.label if len(several) == 1 else f"{len(several)} tensors" if first.label else ""
        values = tuple(dict.fromkeys(value for wire in several for value in wire.values))
        size, control = max(wire.size for wire in several), all(wire.control for wire in several)
        wires.append(Wire(source, target, source_port, target_port, label, control, values, size))
        pairs = []
        for wire in several:
            start = known[wire.source].group if wire.source else None
            end = known[wire.target].group if wire.target else None
            tail = ins[wire.source_port] if not wire.source else _at(start.outs, wire.source_port) if start else -1
            head = outs[wire.target_port] if not wire.target else _at(end.ins, wire.target_port) if end else -1
            pairs.append((tail, head))
        ports.append(list(dict.fromkeys(pairs)))
    boxes = tuple(box.closed or box for box in group.boxes)
    return Group(boxes, tuple(wires), group.ins, group.outs), ports


def _at(ports: tuple[str, ...], name: str) -> int:
    plain = name.partition("\0")[0]
    return ports.index(plain) if plain in ports else -1


def _sheet(box: Box | None, group: Group, ports: Ports, place: Placement, pen: Pen) -> Sheet:
    name = "" if box is None else box.id
    boxes: list[Item] = []
    rows: list[Item] = []
    for child, (x, y) in zip(group.boxes, place.boxes, strict=True):
        first, *others = box_items(child, pen, x, y, name)
        boxes.append(first)
        rows += others
    index = {child.id: k for k, child in enumerate(group.boxes)}
    strands = []
    for wire, pairs, curve, label in zip(group.wires, ports, place.wires, place.labels, strict=True):
        text = None
        if label is not None and wire.label:
            size = pen.look.small - 1
            text = pen.text(label[0], label[1] + 3.5, wire.label, size=size, style="muted", anchor="middle")
        strands.append(
            Strand(
                index.get(wire.source, -1) if wire.source else -1,
                index.get(wire.target, -1) if wire.target else -1,
                tuple(pairs),
                tuple(route.flatten(curve, STEPS)),
                text,
                thickness(0 if wire.control else wire.size),
                wire.control,
                ", ".join(wire.values),
            )
        )
    frame: tuple[Shape, ...] = ()
    if box is not None:
        frame = (Rect(0, 0, *place.size, "group", 8.0), pen.title(box, place))
    return Sheet(place.size, frame, tuple(boxes), tuple(rows), tuple(strands), place.ins, place.outs)
