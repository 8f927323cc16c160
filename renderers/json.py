"""JSON: the Scene as data, with a schema version."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

from graphviz_nets.config import Options
from graphviz_nets.drawing.scene import SCHEMA, Item, Scene
from graphviz_nets.plugins import Renderer

from .plain import strict
from .svg import paint


def write(scene: Scene, options: Options) -> bytes:
    """Write the Scene as one JSON object."""
    return (dumps(document(scene)) + "\n").encode()


renderer = Renderer("json", "The drawing as JSON (boxes, wires, shapes, details)", (".json",), "scene", write)


def dumps(value: Any) -> str:
    """Return strict JSON: not-a-number and infinities become strings, unpaired surrogates become escapes."""
    text = json.dumps(strict(value), indent=1, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace").decode()


def document(scene: Scene) -> dict[str, Any]:
    """Return the scene as plain data: ``boxes``, ``wires`` and everything else that is drawn, each with its shapes."""
    boxes = [item for item in scene.items if item.id and item.kind != "row"]
    rows = [item for item in scene.items if item.kind == "row"]
    wires = [item for item in scene.items if item.kind == "wire"]
    others = [item for item in scene.items if not item.id and item.kind != "wire"]
    styles = dict.fromkeys(shape.style for item in scene.items for shape in item.shapes)
    return {
        "schema_version": SCHEMA,
        "title": scene.title,
        "framework": scene.framework,
        "rankdir": scene.rankdir,
        "width": scene.width,
        "height": scene.height,
        "totals": dict(scene.totals),
        "problems": list(scene.problems),
        "styles": {style: _colours(style, scene) for style in styles},
        "boxes": [_box(item, scene) for item in boxes],
        "wires": [
            {"from": item.source, "to": item.target, "control": item.control, "values": item.label,
             "x": item.x, "y": item.y, "shapes": _shapes(item)}
            for item in wires
        ],
        "rows": [_row(item) for item in rows],
        "decoration": [{"kind": item.kind, "x": item.x, "y": item.y, "shapes": _shapes(item)} for item in others],
    }  # fmt: skip


def _colours(style: str, scene: Scene) -> dict[str, str]:
    fill, stroke = paint(style, scene.theme.light)
    return {"fill": fill, "stroke": stroke}


def _row(item: Item) -> dict[str, Any]:
    return {"id": item.id, "row_of": item.parent, "x": item.x, "y": item.y, "shapes": _shapes(item)}


def _box(item: Item, scene: Scene) -> dict[str, Any]:
    return {
        "id": item.id,
        "kind": item.kind,
        "category": item.category,
        "parent": item.parent,
        "open": item.is_open,
        "can_open": item.can_open,
        "x": item.x,
        "y": item.y,
        "width": item.box[0],
        "height": item.box[1],
        "rows": list(item.rows),
        "details": {**item.details, "rows": {row: scene.details[row] for row in item.rows}},
        "shapes": _shapes(item),
    }


def _shapes(item: Item) -> list[dict[str, Any]]:
    result = []
    for shape in item.shapes:
        defaults = {f.name: f.default for f in fields(shape)}
        given = {key: value for key, value in asdict(shape).items() if value != defaults[key]}
        result.append({"shape": type(shape).__name__.lower(), **given})
    return result
