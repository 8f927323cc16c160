"""DOT: the Diagram for people who ask for Graphviz's own drawing; open groups are clusters."""

from __future__ import annotations

from collections.abc import Iterator

from graphviz_nets.config import Options
from graphviz_nets.drawing.captions import TIMES
from graphviz_nets.drawing.diagram import Box, Diagram, Group, Row, boxes
from graphviz_nets.drawing.text import visible
from graphviz_nets.drawing.theme import Palette, ink, ramp, theme, thickness
from graphviz_nets.plugins import Renderer

from .svg import escape

LONGEST = 1000
"""Characters of a name or label that are kept; Graphviz refuses strings of 16 kB."""


def write(diagram: Diagram, options: Options) -> bytes:
    """Write DOT that every Graphviz accepts, whatever the names."""
    return dot(diagram, theme(options.theme, options.themes).light, options).encode()


renderer = Renderer("dot", "Graphviz DOT (clusters and ports, to be drawn by dot)", (".dot", ".gv"), "diagram", write)


def quoted(text: str) -> str:
    """Return a DOT string; a name is data, never an escape sequence.

    Examples
    --------
    >>> print(quoted('say "hi" N'))
    "say \\"hi\\" N"
    """
    clean = visible(text)
    clean = clean if len(clean) <= LONGEST else clean[: LONGEST - 1] + "…"
    return '"' + clean.replace("\\", "\\\\").replace('"', '\\"') + '"'


def dot(diagram: Diagram, palette: Palette, options: Options) -> str:
    """Return the diagram as DOT.

    Boxes are ``n0``, ``n1``, ... with their id in ``id`` and ``tooltip``. A box with folded rows or several wires is an
    HTML-like table whose rows are ports.
    """
    names = {box.id: f"n{k}" for k, box in enumerate(boxes(diagram.root))}
    lines = [
        f"digraph {quoted(diagram.title or 'network')} {{",
        f"  graph [rankdir={diagram.rankdir} label={quoted(diagram.title)} labelloc=t compound=true "
        f"fontname={quoted('Roboto,Helvetica,Arial')} bgcolor={quoted(options.background or palette.background)}]",
        f"  node [shape=none margin=0 fontname={quoted('Roboto,Helvetica,Arial')} fontsize=11]",
        f"  edge [fontname={quoted('Roboto,Helvetica,Arial')} fontsize=9 color={quoted(palette.wire)} "
        f"fontcolor={quoted(palette.muted)} arrowsize=0.7]",
    ]
    lines += _group(diagram.root, names, palette, diagram, 1)
    rows = {box.id: box.rows for box in boxes(diagram.root)}
    opened = {box.id for box in boxes(diagram.root) if box.group is not None}
    for link in diagram.links:
        if link.source in opened or link.target in opened:
            continue
        settings = [f"label={quoted(link.label)}"] if link.label else []
        settings += [f"tooltip={quoted(', '.join(link.values))}"]
        settings += ["style=dashed"] if link.control else [f"penwidth={thickness(link.size)}"]
        port = "out" if rows[link.source] else "in"
        lines.append(f"  {names[link.source]}:{port} -> {names[link.target]}:in [{' '.join(settings)}]")
    return "\n".join([*lines, "}", ""])


def _group(group: Group, names: dict[str, str], palette: Palette, diagram: Diagram, depth: int) -> Iterator[str]:
    """Write a group's boxes and the clusters inside it; clusters nest as deep as the diagram does (40 at most)."""
    margin = "  " * depth
    for box in group.boxes:
        if box.group is None:
            yield margin + _node(box, names[box.id], palette, diagram)
            continue
        yield f"{margin}subgraph cluster_{names[box.id]} {{"
        yield (
            f"{margin}  graph [label={quoted(_counted(box))} id={quoted(box.id)} tooltip={quoted(box.id)} labeljust=l "
            f"style={quoted('rounded,filled')} fillcolor={quoted(palette.group)} color={quoted(palette.group_line)}]"
        )
        yield from _group(box.group, names, palette, diagram, depth + 1)
        yield f"{margin}}}"


def _node(box: Box, name: str, palette: Palette, diagram: Diagram) -> str:
    fill, line, text = palette.fills[box.kind or "other"], palette.accents[box.kind or "other"], palette.text
    if diagram.overlay is not None:
        _, low, high = diagram.overlay
        value = box.value
        share = 0.5 if value is None or high == low else (value - low) / (high - low)
        fill = palette.background if value is None else ramp(share)
        text = ink(fill)
    rows = [f"<B>{_label(_counted(box))}</B>"]
    if box.type and box.type != box.title:
        rows.append(_label(box.type))
    rows += [_label(", ".join(box.caption))] if box.caption else []
    rows += [_label(f"{box.value:.6g}")] if box.value is not None else []
    cells = ["<BR/>".join(rows)]
    cells += [f"{_label(row.title)} {_label(_said(row))}" for row in box.rows]
    table = "".join(
        f'<TR><TD{_port(k, len(cells))} ALIGN="LEFT" BALIGN="LEFT"{_rule(box, k, palette)}>{cell}</TD></TR>'
        for k, cell in enumerate(cells)
    )
    shape = (
        f'<TABLE BORDER="1" CELLBORDER="0" CELLSPACING="0" CELLPADDING="4" STYLE="ROUNDED" '
        f'BGCOLOR="{fill}" COLOR="{line}">{table}</TABLE>'
    )
    return f"{name} [id={quoted(box.id)} tooltip={quoted(box.id)} fontcolor={quoted(text)} label=<{shape}>]"


def _counted(box: Box) -> str:
    """Return a box's title, with the number of equal ones that it stands for."""
    return (box.title or box.type) + (f" {TIMES}{box.times}" if box.times > 1 else "")


def _port(k: int, count: int) -> str:
    """Name the first cell ``in`` and the last ``out``; the only cell is ``in``."""
    return ' PORT="in"' if k == 0 else ' PORT="out"' if k == count - 1 else ""


def _rule(box: Box, k: int, palette: Palette) -> str:
    return f' BORDER="1" SIDES="T" COLOR="{palette.accents[box.rows[k - 1].kind]}"' if k else ""


def _said(row: Row) -> str:
    return f"({', '.join((row.type, *row.caption))})"


def _label(text: str) -> str:
    clean = visible(text)
    return escape(clean if len(clean) <= LONGEST else clean[: LONGEST - 1] + "…") or " "
