"""Pieces: a scope too large for one layout is cut across the flow; a chain too long for its page is wrapped."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from graphviz_nets.drawing import engine, route
from graphviz_nets.drawing.engine import PORT, Point, Problem, Solution, straight
from graphviz_nets.graph.regions import ranks

WHOLE = 300
"""Boxes that are laid out in one piece."""
PIECE = 120
"""Boxes of a piece."""
CROSSING = 100
"""Wires from one piece to the next that dot is asked to place."""
COLUMN = 36.0
"""Room between two columns of a wrapped chain, in pixels."""
TRACK = 9.0
"""Distance of wires that run side by side between columns."""
LONG = 8
"""Boxes of a group that is wrapped."""
WIRES = 4
"""Wires that may cross a cut."""
SLACK = 1.4
"""A picture is wrapped where its ratio is off by more than this factor."""


def solve_all(problems: Sequence[Problem]) -> list[Solution]:
    """Lay out scopes of any size, wires clear of boxes."""
    small = [problem for problem in problems if len(problem.boxes) <= WHOLE]
    known = dict(zip(small, engine.solve_all(small), strict=True))
    result: dict[Problem, Solution] = {}
    for problem in problems:
        if problem not in result:
            whole = known.get(problem)
            result[problem] = route.clear(problem, whole) if whole is not None else _stacked(problem)
    return [result[problem] for problem in problems]


# Cut across the flow ----------------------------------------------------------------------------------------------


def _stacked(problem: Problem) -> Solution:
    """Lay out pieces of a large scope one below the other; each keeps the order in which wires come from above."""
    count = len(problem.boxes)
    inner = [(edge[0], edge[2]) for edge in problem.edges if edge[0] >= 0 and edge[2] >= 0 and edge[0] != edge[2]]
    place = _pieces(_low(ranks(count, inner), inner))
    last = max(place)
    if any(tail >= 0 and head >= 0 and place[tail] > place[head] for tail, _, head, _, _, _ in problem.edges):
        return engine.simple(problem)  # a cycle: nothing leads upwards between pieces
    # Every edge is a row of parts, a part a piece. What comes from one port of one box runs as one until its last piece.
    borders: list[dict[object, int]] = [{} for _ in range(last + 1)]
    parts: list[list[tuple[int, object]]] = []
    edges: list[dict[object, tuple[object, int, object, int, float, float]]] = [{} for _ in range(last + 1)]
    for number, (tail, tail_port, head, head_port, wide, high) in enumerate(problem.edges):
        first, final = max(place[tail] if tail >= 0 else 0, 0), place[head] if head >= 0 else last
        name = tail, tail_port
        row: list[tuple[int, object]] = []
        for piece in range(first, final + 1):
            comes: object = ("port", name) if piece > first else tail if tail >= 0 else ("in", -1 - tail)
            goes: object = ("port", name) if piece < final else head if head >= 0 else ("out", -1 - head)
            key: object = number if piece == final else name
            label = (wide, high) if piece == final else (0.0, 0.0)
            ports = tail_port if piece == first else -1, head_port if piece == final else -1
            if piece < final:
                borders[piece].setdefault(name, len(borders[piece]))
            edges[piece].setdefault(key, (comes, ports[0], goes, ports[1], *label))
            row.append((piece, key))
        parts.append(row)
    if any(len(names) > CROSSING for names in borders):
        return engine.simple(problem)

    index = [0] * count
    members: list[list[int]] = [[] for _ in range(last + 1)]
    for k, piece in enumerate(place):
        index[k] = len(members[piece])
        members[piece].append(k)
    corners: list[Point] = [(0.0, 0.0)] * count
    curves: list[dict[object, tuple[tuple[Point, ...], Point | None]]] = []
    above: dict[object, float] = {}
    y = 0.0
    ins: tuple[float, ...] = ()
    outs: tuple[float, ...] = ()
    order: list[object] = []
    for piece in range(last + 1):
        gap = 24.0 + 3.0 * len(order) if piece else 0.0
        upper = {("port", name): k for k, name in enumerate(order)} if piece else {("in", k): k for k in range(problem.ins)}
        names = borders[piece] if piece < last else {}
        lower = {("port", name): k for name, k in names.items()} if piece < last else {("out", k): k for k in range(problem.outs)}
        rows = edges[piece]
        asked = Problem(
            tuple(problem.boxes[k] for k in members[piece]),
            len(upper),
            len(lower),
            tuple(
                (
                    -1 - upper[tail] if isinstance(tail, tuple) else index[tail],  # type: ignore[index]
                    tail_port,
                    -1 - lower[head] if isinstance(head, tuple) else index[head],  # type: ignore[index]
                    head_port,
                    wide,
                    high,
                )
                for tail, tail_port, head, head_port, wide, high in rows.values()
            ),
            problem.nodesep,
            problem.ranksep,
            ordered=piece > 0,
        )
        found = route.clear(asked, engine.solve_all([asked])[0])
        shift = median([above[name] - found.ins[k] for k, name in enumerate(order)]) if order else 0.0
        top = y + gap
        for k in members[piece]:
            x0, y0 = found.boxes[index[k]]
            corners[k] = (x0 + shift, y0 + top)
        moved = {}
        for key, curve, label in zip(rows, found.edges, found.labels, strict=True):
            moved[key] = (
                tuple((px + shift, py + top) for px, py in curve),
                None if label is None else (label[0] + shift, label[1] + top),
            )
        curves.append(moved)
        if piece == 0:
            ins = tuple(x + shift for x in found.ins)
        if piece == last:
            outs = tuple(x + shift for x in found.outs)
        above = {name: found.outs[k] + shift for name, k in names.items()}
        order = sorted(above, key=lambda name: above[name])
        y = top + found.height

    whole, labels = [], []
    for number, row in enumerate(parts):
        points: list[Point] = []
        centre: Point | None = None
        for piece, key in row:
            curve, label = curves[piece][key]
            centre = label or centre
            if points:
                (x1, y1), (x2, y2) = points[-1], curve[0]
                points += [(x1, (y1 + y2) / 2), (x2, (y1 + y2) / 2)]
            points += curve if not points or points[-1] != curve[0] else curve[1:]
        whole.append(tuple(points))
        labels.append(centre if problem.edges[number][4] else None)
    left = min([x for x, _ in corners] + [x for curve in whole for x, _ in curve])
    return Solution(
        max([corners[k][0] + problem.boxes[k][0] for k in range(count)]) - left,
        y,
        tuple((x - left, y0) for x, y0 in corners),
        tuple(x - left for x in ins),
        tuple(x - left for x in outs),
        tuple(tuple((x - left, y0) for x, y0 in curve) for curve in whole),
        tuple(None if label is None else (label[0] - left, label[1]) for label in labels),
        "pieces",
    )


def _low(rank: list[int], edges: Sequence[tuple[int, int]]) -> list[int]:
    """Move what needs nothing down to where it is used first."""
    fed = {head for _, head in edges}
    used: dict[int, int] = {}
    for tail, head in edges:
        if tail not in fed:
            used[tail] = min(used.get(tail, rank[head]), rank[head])
    return [used.get(k, level + 1) - 1 for k, level in enumerate(rank)]


def _pieces(rank: Sequence[int]) -> list[int]:
    """Return the piece of every box: whole ranks, about `PIECE` boxes each."""
    sizes: dict[int, int] = {}
    for level in rank:
        sizes[level] = sizes.get(level, 0) + 1
    piece, filled, of = 0, 0, {}
    for level in sorted(sizes):
        if filled and filled + sizes[level] > PIECE:
            piece, filled = piece + 1, 0
        of[level] = piece
        filled += sizes[level]
    return [of[level] for level in rank]


# Wrap into columns ------------------------------------------------------------------------------------------------


def wrapped(problem: Problem, solution: Solution, aspect: float, least: int = LONG) -> Solution:
    """Cut a long layout between its rows and put the pieces side by side, as columns that are read one by one.

    Parameters
    ----------
    problem, solution
        A scope and its layout.
    aspect : float
        Ratio of width to height that is wanted.
    least : int
        Boxes from which on it is worth it.

    Returns
    -------
    Solution
        The same where it is wide enough, or where there is no place to cut.
    """
    width, height = max(solution.width, 1.0), max(solution.height, 1.0)
    if len(problem.boxes) < least or width / height * SLACK >= aspect:
        return solution
    gaps = _gaps(problem, solution)
    best: tuple[float, list[float]] = (abs(math.log(width / height / aspect)), [])
    most = min(len(gaps) + 1, round(math.sqrt(aspect * height / width)) + 2)
    for columns in range(2, most + 1):
        found = _cuts(gaps, height, columns)
        edges = [0.0, *found, height]
        tallest = max(b - a for a, b in zip(edges, edges[1:], strict=False))
        ratio = (width + COLUMN) * (len(found) + 1) / (tallest + COLUMN)
        off = abs(math.log(ratio / aspect))
        if found and off < best[0]:
            best = off, found
    return _columns(problem, solution, best[1]) if best[1] else solution


def _gaps(problem: Problem, solution: Solution) -> list[tuple[float, int]]:
    """Return the heights between rows of boxes, each with the number of wires that cross it."""
    spans = [(y, y + box[1], True) for (_, y), box in zip(solution.boxes, problem.boxes, strict=True)]
    spans += [
        (label[1] - edge[5] / 2, label[1] + edge[5] / 2, False)
        for label, edge in zip(solution.labels, problem.edges, strict=True)
        if label is not None
    ]
    spans.sort()
    heights, reach, boxes = [], spans[0][1], spans[0][2]
    for top, bottom, is_box in spans[1:]:
        if top > reach + 4 and boxes:
            heights.append((reach + top) / 2)
            boxes = False
        reach, boxes = max(reach, bottom), boxes or is_box
    counted = [(y, sum((curve[0][1] < y) != (curve[-1][1] < y) for curve in solution.edges)) for y in heights]
    return [(y, wires) for y, wires in counted if wires <= WIRES]


def _cuts(gaps: Sequence[tuple[float, int]], height: float, columns: int) -> list[float]:
    """Return where to cut so that the tallest of so many columns is as low as can be, rather where few wires cross."""
    few = min((wires for _, wires in gaps), default=0)
    quiet = [y for y, wires in gaps if wires == few]
    places = quiet if len(quiet) >= columns - 1 else [y for y, _ in gaps]
    low, high = height / columns, height
    found: list[float] = []
    for _ in range(20):
        most = (low + high) / 2
        filled = _filled(places, height, most)
        if filled is not None and len(filled) < columns:
            high, found = most, filled
        else:
            low = most
    return found


def _filled(places: Sequence[float], height: float, most: float) -> list[float] | None:
    """Return the cuts that fill one column after the other up to a height, None where a piece is taller."""
    found: list[float] = []
    start = 0.0
    while height - start > most:
        k = bisect_right(places, start + most) - 1
        if k < 0 or places[k] <= start:
            return None
        start = places[k]
        found.append(start)
    return found


def _columns(problem: Problem, solution: Solution, cuts: Sequence[float]) -> Solution:
    """Put the parts between the cuts side by side and join the wires that were cut around the columns' ends."""
    bounds = [0.0, *cuts, solution.height]
    last = len(cuts)
    pieces = [_cut(curve, cuts) for curve in solution.edges]
    spans: list[list[float]] = [[] for _ in range(last + 1)]
    for (x, y), box in zip(solution.boxes, problem.boxes, strict=True):
        spans[bisect_right(cuts, y)] += [x, x + box[0]]
    for row in pieces:
        for piece, curve in row:
            spans[piece] += [x for x, _ in curve]
    for label, edge in zip(solution.labels, problem.edges, strict=True):
        if label is not None:
            spans[bisect_right(cuts, label[1])] += [label[0] - edge[4] / 2, label[0] + edge[4] / 2]
    spans[0] += [x + side for x in solution.ins for side in (-PORT / 2, PORT / 2)]
    spans[last] += [x + side for x in solution.outs for side in (-PORT / 2, PORT / 2)]
    # The wires at each cut, from left to right: the one on the left runs outermost.
    crossing: list[list[float]] = [[] for _ in cuts]
    for row in pieces:
        for (one, curve), (two, _) in zip(row, row[1:], strict=False):
            crossing[min(one, two)].append(curve[-1][0])
    tracks = [sorted(set(xs)) for xs in crossing]
    most = max(map(len, tracks), default=0)
    head = TRACK * (most + 1)
    tallest = max(b - a for a, b in zip(bounds, bounds[1:], strict=False))
    left, offsets = 0.0, []
    for piece in range(last + 1):
        low = min(spans[piece], default=0.0)
        offsets.append(left - low)
        room = COLUMN + TRACK * len(tracks[piece]) if piece < last else 0.0
        left += max(spans[piece], default=0.0) - low + room
    height = head + tallest + (TRACK * (most + 1) if last else 0.0)
    ends = [max(spans[piece], default=0.0) + offsets[piece] for piece in range(last + 1)]

    def moved(piece: int, point: Point) -> Point:
        return (point[0] + offsets[piece], point[1] - bounds[piece] + head)

    def between(cut: int, x: float) -> list[Point]:
        """Return the corners of the way from the end of one column to the start of the next."""
        number, total = tracks[cut].index(x), len(tracks[cut])
        under = head + bounds[cut + 1] - bounds[cut] + TRACK * (total - number)
        channel = ends[cut] + COLUMN / 2 + TRACK * (total - 1 - number)
        to = x + offsets[cut + 1]
        from_ = x + offsets[cut]
        over = head - TRACK * (number + 1)
        return [(from_, under), (channel, under), (channel, over), (to, over)]

    curves = []
    for row in pieces:
        points: list[Point] = []
        for k, (piece, curve) in enumerate(row):
            if k:
                before = row[k - 1][0]
                way = between(min(before, piece), curve[0][0])
                way = way if piece > before else way[::-1]
                points += route.rounded([points[-1], *way, moved(piece, curve[0])])[1:]
            part = [moved(piece, point) for point in curve]
            points += part if not points else part[1:]
        curves.append(points)
    ins, outs = (tuple(x + offsets[piece] for x in xs) for piece, xs in ((0, solution.ins), (last, solution.outs)))
    bottom = height + 3 * TRACK if len(ins) == len(outs) == 1 else height
    for curve, edge in zip(curves, problem.edges, strict=True):
        if edge[0] < 0:  # the border is above the room for the wires between columns
            curve[:0] = straight([(curve[0][0], 0.0), curve[0]])[:-1]
        if edge[2] < 0:
            x = curve[-1][0]
            back = [(x, height + TRACK), (ins[0], height + TRACK)] if bottom > height else []
            curve += route.rounded([curve[-1], *back, (ins[0] if back else x, bottom)])[1:]
    outs = ins if bottom > height else outs  # the way out below the way in keeps a chain of groups straight
    return replace(
        solution,
        width=left,
        height=bottom,
        boxes=tuple(moved(bisect_right(cuts, y), (x, y)) for x, y in solution.boxes),
        ins=ins,
        outs=outs,
        edges=tuple(map(tuple, curves)),
        labels=tuple(None if p is None else moved(bisect_right(cuts, p[1]), p) for p in solution.labels),
        engine="pieces",
    )


def _cut(curve: Sequence[Point], cuts: Sequence[float]) -> list[tuple[int, list[Point]]]:
    """Return the parts of a curve between the cuts, each with the number of its column."""
    row: list[tuple[int, list[Point]]] = [(bisect_right(cuts, curve[0][1]), [curve[0]])]
    for k in range(0, len(curve) - 1, 3):
        rest = list(curve[k : k + 4])
        end = bisect_right(cuts, rest[-1][1])
        while row[-1][0] != end:
            here = row[-1][0]
            down = end > here
            y = cuts[here] if down else cuts[here - 1]
            one, rest = route.parted(rest, y)
            row[-1][1].extend(one[1:])
            row.append((here + 1 if down else here - 1, [rest[0]]))
        row[-1][1].extend(rest[1:])
    return row
