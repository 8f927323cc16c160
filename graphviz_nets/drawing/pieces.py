"""Pieces: a scope too large for one layout is cut across the flow; a chain too long for its page is wrapped."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from statistics import median
from typing import TypeAlias

from graphviz_nets.drawing import engine, route
from graphviz_nets.drawing.engine import PORT, Point, Problem, Solution, straight
from graphviz_nets.graph.regions import latest, ranks

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
"""Wires that may cross a cut of the outermost group; inside others only one."""
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


Name: TypeAlias = "tuple[int, int]"
"""What comes from one port of one box (or of the border) is one wire until it parts, in its last piece."""
Part: TypeAlias = "tuple[int, int, int, int, float, float]"
"""An edge of a piece, as :class:`Problem` has it."""


@dataclass
class _Piece:
    """Some rows of a large scope: its boxes, the edges that pass, their parts by wire (by number in the last piece)."""

    members: list[int] = field(default_factory=list)
    passing: list[int] = field(default_factory=list)
    edges: dict[Name | int, Part] = field(default_factory=dict)
    ins: list[Name] = field(default_factory=list)
    outs: dict[Name, int] = field(default_factory=dict)


def _stacked(problem: Problem) -> Solution:
    """Lay out pieces of a large scope one below the other; each keeps the order in which wires come from above."""
    count = len(problem.boxes)
    inner = [(edge[0], edge[2]) for edge in problem.edges if edge[0] >= 0 and edge[2] >= 0 and edge[0] != edge[2]]
    place = _pieces(latest(ranks(count, inner), inner))
    if any(place[tail] > place[head] for tail, head in inner):
        return engine.simple(problem)  # a cycle: nothing leads upwards between pieces
    pieces = [_Piece() for _ in range(max(place) + 1)]
    last = len(pieces) - 1
    index = [0] * count
    for k, piece in enumerate(place):
        index[k] = len(pieces[piece].members)
        pieces[piece].members.append(k)
    for k, (tail, tail_port, head, _, _, _) in enumerate(problem.edges):
        final = place[head] if head >= 0 else last
        for piece in range(place[tail] if tail >= 0 else 0, final + 1):
            pieces[piece].passing.append(k)
            if piece < final:
                pieces[piece].outs.setdefault((tail, tail_port), len(pieces[piece].outs))
    if any(len(piece.outs) > CROSSING for piece in pieces):
        return engine.simple(problem)
    solutions: list[Solution] = []
    shifts: list[Point] = []
    for number, here in enumerate(pieces):
        if number:
            above, (dx, dy) = pieces[number - 1], shifts[-1]
            xs = {name: solutions[-1].outs[k] + dx for name, k in above.outs.items()}
            here.ins = sorted(xs, key=lambda name: xs[name])
        _wire(problem, pieces, place, index, number)
        asked = Problem(
            tuple(problem.boxes[k] for k in here.members),
            len(here.ins) if number else problem.ins,
            len(here.outs) if number < last else problem.outs,
            tuple(here.edges.values()),
            problem.nodesep,
            problem.ranksep,
            ordered=number > 0,
        )
        # A row of very many boxes is past what dot can improve on.
        placed = engine.simple(asked) if len(here.members) > 2 * WHOLE else engine.solve_all([asked])[0]
        found = route.clear(asked, placed, align=False)
        shift = 0.0, 0.0
        if number:
            gap = 24.0 + 3.0 * len(here.ins)
            across = median(xs[name] - found.ins[k] for k, name in enumerate(here.ins)) if here.ins else 0.0
            shift = across, dy + solutions[-1].height + gap
        solutions.append(found)
        shifts.append(shift)
    return _joined(problem, pieces, place, index, solutions, shifts)


def _wire(problem: Problem, pieces: Sequence[_Piece], place: Sequence[int], index: Sequence[int], number: int) -> None:
    """Give a piece the parts of the edges that it holds."""
    here, last = pieces[number], len(pieces) - 1
    upper = {name: -1 - k for k, name in enumerate(here.ins)}
    for k in here.passing:
        tail, tail_port, head, head_port, wide, high = problem.edges[k]
        first, final = place[tail] if tail >= 0 else 0, place[head] if head >= 0 else last
        name = tail, tail_port
        start = (index[tail] if tail >= 0 else tail, tail_port) if number == first else (upper[name], -1)
        if number == final:
            here.edges[k] = (*start, index[head] if head >= 0 else head, head_port, wide, high)
        else:
            here.edges[name] = (*start, -1 - here.outs[name], -1, 0.0, 0.0)


def _joined(
    problem: Problem,
    pieces: Sequence[_Piece],
    place: Sequence[int],
    index: Sequence[int],
    solutions: Sequence[Solution],
    shifts: Sequence[Point],
) -> Solution:
    """Put the pieces' layouts together and join the parts of each wire between them."""
    count, last = len(problem.boxes), len(pieces) - 1

    def moved(piece: int, point: Point) -> Point:
        return (point[0] + shifts[piece][0], point[1] + shifts[piece][1])

    at = [{key: k for k, key in enumerate(piece.edges)} for piece in pieces]
    curves: list[tuple[Point, ...]] = []
    labels: list[Point | None] = []
    for number, (tail, tail_port, head, _, _, _) in enumerate(problem.edges):
        first, final = place[tail] if tail >= 0 else 0, place[head] if head >= 0 else last
        points: list[Point] = []
        for piece in range(first, final + 1):
            k = at[piece][number if piece == final else (tail, tail_port)]
            part = [moved(piece, point) for point in solutions[piece].edges[k]]
            if points:  # a swing through the gap
                (x1, y1), (x2, y2) = points[-1], part[0]
                points += [(x1, (y1 + y2) / 2), (x2, (y1 + y2) / 2)]
            points += part
        label = solutions[final].labels[at[final][number]]
        curves.append(tuple(points))
        labels.append(None if label is None else moved(final, label))
    corners = [moved(place[k], solutions[place[k]].boxes[index[k]]) for k in range(count)]
    left = min([x for x, _ in corners] + [x for curve in curves for x, _ in curve])

    def settled(points: Iterable[Point]) -> tuple[Point, ...]:
        return tuple((x - left, y) for x, y in points)

    return Solution(
        max(x + box[0] for (x, _), box in zip(corners, problem.boxes, strict=True)) - left,
        shifts[last][1] + solutions[last].height,
        settled(corners),
        tuple(x + shifts[0][0] - left for x in solutions[0].ins),
        tuple(x + shifts[last][0] - left for x in solutions[last].outs),
        tuple(map(settled, curves)),
        tuple(None if label is None else (label[0] - left, label[1]) for label in labels),
        "pieces",
    )


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


def wrapped(problem: Problem, solution: Solution, aspect: float, outermost: bool = False) -> Solution:
    """Cut a long layout between its rows and put the pieces side by side, as columns that are read one by one.

    Parameters
    ----------
    problem, solution
        A scope and its layout.
    aspect : float
        Ratio of width to height that is wanted.
    outermost : bool
        Wrap it even where it is small, or several wires cross the cuts.

    Returns
    -------
    Solution
        The same where it is wide enough, or where there is no place to cut.
    """
    width, height = max(solution.width, 1.0), max(solution.height, 1.0)
    if len(problem.boxes) < (4 if outermost else LONG) or width / height * SLACK >= aspect:
        return solution
    gaps = _gaps(problem, solution, WIRES if outermost else 1)
    best: tuple[float, list[float]] = (abs(math.log(width / height / aspect)), [])
    most = min(len(gaps) + 1, round(math.sqrt(aspect * height / width)) + 2)
    for columns in range(2, most + 1):
        found = _cuts(gaps, height, columns)
        edges = [0.0, *found, height]
        tallest = max(b - a for a, b in pairwise(edges))
        ratio = (width + COLUMN) * (len(found) + 1) / (tallest + COLUMN)
        off = abs(math.log(ratio / aspect))
        if found and off < best[0]:
            best = off, found
    return _columns(problem, solution, best[1]) if best[1] else solution


def _gaps(problem: Problem, solution: Solution, most: int) -> list[tuple[float, int]]:
    """Return the heights between rows of boxes that at most so many wires cross, each with their number."""
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
    return [(y, wires) for y, wires in counted if wires <= most]


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
        for (one, curve), (two, _) in pairwise(row):
            crossing[min(one, two)].append(curve[-1][0])
    tracks = [sorted(set(xs)) for xs in crossing]
    most = max(map(len, tracks), default=0)
    head = TRACK * (most + 1)
    tallest = max(b - a for a, b in pairwise(bounds))
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
