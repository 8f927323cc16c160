"""What the editor draws: the text of a net in, a picture and the lines of its boxes out; nothing here opens a file."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from graphviz_nets.config import Options
from graphviz_nets.drawing.captions import short
from graphviz_nets.drawing.diagram import Plan
from graphviz_nets.drawing.scene import scene
from graphviz_nets.drawing.text import visible
from graphviz_nets.drawing.tree import Item
from graphviz_nets.errors import GraphvizNetsError, ParseError, PictureWarning
from graphviz_nets.graph import shapes
from graphviz_nets.graph.ir import Model

EXPORTS: Mapping[str, str] = {
    "svg": "image/svg+xml",
    "png": "image/png",
    "pdf": "application/pdf",
    "dot": "text/vnd.graphviz",
    "html": "text/html",
}
"""Formats that a drawing is saved in, with their media types."""


def draw(text: str, name: str, options: Options) -> dict[str, Any]:
    """Return the drawing of a prototxt, or what is wrong with it.

    Parameters
    ----------
    text : str
        A net; a solver is refused, for it would name another file.
    name : str
        The file's name, for its title and messages.
    options : Options
        Drawing options, and Caffe's phase.

    Returns
    -------
    dict
        ``error`` (`line` and `column`, or None, and `text`); or ``svg``, ``boxes`` (what is known of each, by id),
        ``lines`` (first and last by id), ``groups`` (whether open, by id), ``remarks`` (`line` or None, and `text`),
        ``totals`` (a line of text) and ``rankdir``.

    Examples
    --------
    >>> found = draw('layer {\\n name: "a" type: "Input" top: "a"\\n}', "net.prototxt", Options())
    >>> found["lines"]
    {'a': [1, 3]}
    >>> draw('layer {', "net.prototxt", Options())["error"]["line"]
    1
    """
    from graphviz_nets.renderers.html import boxes
    from graphviz_nets.renderers.svg import svg

    try:
        model, places = _read(text, name, options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PictureWarning)  # of groups that the text no longer has
            plan = Plan(model, options)
            picture = scene(plan.diagram(), options)
    except GraphvizNetsError as fault:
        return {"error": told(fault)}
    lines = {visible(key): place for key, place in _lines(plan, places)}
    tree = plan.tree
    return {
        "svg": svg(picture, styled=False),
        "boxes": boxes(picture),
        "lines": lines,
        "groups": {visible(place.id): place in tree.opened for place in tree.groups.values()},
        "remarks": [_remark(problem, name, lines) for problem in model.problems],
        "totals": _totals(picture.totals),
        "rankdir": picture.rankdir,
    }


def export(text: str, name: str, options: Options, form: str) -> bytes:
    """Return the drawing of a prototxt as a file.

    Examples
    --------
    >>> export('layer { name: "a" type: "Input" top: "a" }', "net.prototxt", Options(), "dot")[:7]
    b'digraph'
    """
    from graphviz_nets import renderers

    model, _ = _read(text, name, options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PictureWarning)
        (content,) = renderers.draw(model, [form], options)
    return content


def _read(text: str, name: str, options: Options) -> tuple[Model, dict[int | str, list[int]]]:
    """Return a net, and the first and last lines of its layers (by the line of the bracket) and inputs (by name)."""
    from graphviz_nets.converters.caffe import to_model
    from graphviz_nets.converters.caffe_net import State, is_solver, read_net
    from graphviz_nets.converters.prototxt import Message, parse

    message = parse(text, name)
    if is_solver(message):
        hint = "edit the net that it names"
        raise ParseError("this is a solver, not a net", path=name, line=message.fields[0].line, hint=hint)
    phase = options.phase.upper()
    model = shapes.infer(to_model(read_net(message, name, State(phase)), Path(name), options, alone=True))
    places: dict[int | str, list[int]] = {}
    for field in message:
        if isinstance(field.value, Message):
            places[field.value.line] = [field.line, field.value.end]
        elif field.name == "input":
            places[str(field.value)] = [field.line, field.line]
    return model, places


def told(fault: GraphvizNetsError) -> dict[str, Any]:
    """Return an error as the page shows it."""
    hint = f" ({fault.hint})" if fault.hint else ""
    return {
        "line": getattr(fault, "line", None),
        "column": getattr(fault, "column", None),
        "text": visible(f"{fault.message}{hint}"),
    }


def _lines(plan: Plan, places: Mapping[int | str, list[int]]) -> Iterator[tuple[str, list[int]]]:
    """Yield the first and the last line of every box that can be drawn; a run has those of all its members."""
    tree = plan.tree
    items: list[Item] = [*tree.groups.values(), *tree.leaves.values()]
    for item in items:
        fold = tree.folded(item)
        boxes = [leaf for member in (fold.members if fold else [item]) for leaf in tree.members(member)]
        found = {
            leaf.id: places[key]
            for box in boxes
            for leaf in (box, *box.rows)
            if (key := leaf.name if leaf.scope is None else leaf.scope.line) in places
        }
        if found:
            yield item.id, [min(first for first, _ in found.values()), max(last for _, last in found.values())]
        yield from ((row.id, found[row.id]) for box in boxes for row in box.rows if item is box and row.id in found)


def _remark(problem: str, name: str, lines: Mapping[str, list[int]]) -> dict[str, Any]:
    """Return a model's problem with its line: ``net.prototxt:12: text``, or ``layer: text``."""
    head, _, text = problem.removeprefix(f"{name}:").partition(": ")
    if head.isdigit() and problem.startswith(f"{name}:"):
        return {"line": int(head), "text": visible(text)}
    return {"line": lines[visible(head)][0] if visible(head) in lines else None, "text": visible(problem)}


def _totals(totals: Mapping[str, int | None]) -> str:
    return f"{totals['layers']} layers · {short(totals['parameters'])} parameters · {short(totals['macs'])} MACs"
