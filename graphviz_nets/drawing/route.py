"""Wires and boxes: which wires pass through a box, and a way around."""

from __future__ import annotations

import heapq
import itertools
from bisect import bisect_left, insort
from collections.abc import Sequence
from statistics import median
from typing import TypeAlias

from graphviz_nets.drawing.engine import Point, Problem, Solution, straight

Rectangle: TypeAlias = tuple[float, float, float, float]
"""Left, top, right, bottom."""

CLEAR = 0.75
"""How deep a wire may graze a box, in pixels, before it counts as passing through."""

MARGIN = 6.0
"""Distance that a re-routed wire keeps from boxes where there is room."""

CELL = 256.0
"""Side of a square of boxes that are looked at together, in pixels."""

ROOM = 12.0
"""Room beside the outermost boxes in which wires may be led, in pixels."""

SHORT = 260.0
"""Length along the flow up to which a wire is drawn as one swing, in pixels."""

ARRIVAL = 9.0
"""Room for an arrow head, in pixels."""

BEND = 40.0
"""What one bend costs a re-routed wire, in pixels of length."""


def flatten(curve: Sequence[Point], steps: int = 12) -> list[Point]:
    """Return points along a Bezier curve (1 + 3n control points), ends included.

    Examples
    --------
    >>> flatten([(0, 0), (0, 1), (0, 2), (0, 3)], steps=2)
    [(0, 0), (0.0, 1.5), (0.0, 3.0)]
    """
    points = [curve[0]]
    for k in range(0, len(curve) - 1, 3):
        (ax, ay), (bx, by), (cx, cy), (dx, dy) = curve[k : k + 4]
        for step in range(1, steps + 1):
            t = step / steps
            u = 1 - t
            points.append(
                (
                    u**3 * ax + 3 * u * u * t * bx + 3 * u * t * t * cx + t**3 * dx,
                    u**3 * ay + 3 * u * u * t * by + 3 * u * t * t * cy + t**3 * dy,
                )
            )
    return points


def upto(curve: Sequence[Point], y: float) -> tuple[Point, ...]:
    """Return the part of a falling curve above a height, at least its first point (de Casteljau's subdivision).

    Examples
    --------
    >>> upto([(0, 0), (0, 1), (0, 2), (0, 3)], 1.5)[-1]
    (0.0, 1.5)
    """
    kept = [curve[0]]
    for k in range(0, len(curve) - 1, 3):
        part = list(curve[k : k + 4])
        if part[-1][1] <= y:
            kept += part[1:]
            continue
        if part[0][1] >= y:
            break
        low, high = 0.0, 1.0
        for _ in range(30):
            t = (low + high) / 2
            piece = _head(part, t)
            low, high = (t, high) if piece[-1][1] < y else (low, t)
        kept += _head(part, high)[1:]
        break
    return tuple(kept)


def _head(part: Sequence[Point], t: float) -> list[Point]:
    """Return the control points of a cubic's part from 0 to t."""
    result = [part[0]]
    row = list(part)
    while len(row) > 1:
        row = [(a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t) for a, b in itertools.pairwise(row)]
        result.append(row[0])
    return result


def parted(part: Sequence[Point], y: float) -> tuple[list[Point], list[Point]]:
    """Return the two parts of a cubic whose ends lie on different sides of a height.

    Examples
    --------
    >>> parted([(0, 0), (0, 1), (0, 2), (0, 3)], 1.5)[1][-1]
    (0, 3)
    """
    low, high = 0.0, 1.0
    rising = part[0][1] > part[-1][1]
    for _ in range(30):
        t = (low + high) / 2
        end = _head(part, t)[-1][1]
        low, high = (t, high) if (end > y if rising else end < y) else (low, t)
    one = _head(part, high)
    two = _head(part[::-1], 1 - high)[::-1]
    joint = (one[-1][0], y)
    return [*one[:-1], joint], [joint, *two[1:]]


def crosses(start: Point, end: Point, box: Rectangle, clear: float = CLEAR) -> bool:
    """Say whether a segment enters the inside of a box by more than `clear` (Liang and Barsky's clipping).

    Examples
    --------
    >>> crosses((0, 5), (10, 5), (4, 0, 6, 10)), crosses((0, 5), (10, 5), (4, 5, 6, 10))
    (True, False)
    """
    left, top, right, bottom = box[0] + clear, box[1] + clear, box[2] - clear, box[3] - clear
    if left >= right or top >= bottom:
        return False
    dx, dy = end[0] - start[0], end[1] - start[1]
    enter, leave = 0.0, 1.0
    for delta, low, high in ((dx, left - start[0], right - start[0]), (dy, top - start[1], bottom - start[1])):
        if abs(delta) < 1e-9:
            if low > 0 or high < 0:
                return False
            continue
        one, two = low / delta, high / delta
        enter, leave = max(enter, min(one, two)), min(leave, max(one, two))
    return enter < leave


Cells: TypeAlias = "dict[tuple[int, int], list[Rectangle]]"


def cells(boxes: Sequence[Rectangle]) -> Cells:
    """Return the boxes by squares of `CELL` pixels, for :func:`near`."""
    found: Cells = {}
    for box in boxes:
        for cell in _touched(box):
            found.setdefault(cell, []).append(box)
    return found


def near(curve: Sequence[Point], found: Cells) -> list[Rectangle]:
    """Return the boxes in the squares that a curve's own rectangle touches; some may be there twice."""
    xs, ys = [p[0] for p in curve], [p[1] for p in curve]
    touched = _touched((min(xs), min(ys), max(xs), max(ys)))
    return [box for cell in touched for box in found.get(cell, ())]


def _touched(box: Rectangle) -> list[tuple[int, int]]:
    across = range(int(box[0] // CELL), int(box[2] // CELL) + 1)
    down = range(int(box[1] // CELL), int(box[3] // CELL) + 1)
    return [(x, y) for x in across for y in down]


def through(curve: Sequence[Point], boxes: Sequence[Rectangle]) -> bool:
    """Say whether a curve passes through one of the boxes."""
    low, high = [min(p[axis] for p in curve) for axis in (0, 1)], [max(p[axis] for p in curve) for axis in (0, 1)]
    close = [b for b in boxes if b[0] < high[0] and b[2] > low[0] and b[1] < high[1] and b[3] > low[1]]
    if not close:
        return False
    for a, b in itertools.pairwise(flatten(curve)):
        left, right = (a[0], b[0]) if a[0] < b[0] else (b[0], a[0])
        top, bottom = (a[1], b[1]) if a[1] < b[1] else (b[1], a[1])
        for box in close:
            if box[0] < right and box[2] > left and box[1] < bottom and box[3] > top and crosses(a, b, box):
                return True
    return False


def around(start: Point, end: Point, boxes: Sequence[Rectangle], room: Rectangle) -> tuple[Point, ...] | None:
    """Return a right-angled way from `start` (leaving downwards) to `end` (arriving from above) that avoids the boxes.

    Lines of the grid run beside the boxes at `MARGIN` or half way to the next box; A* weighs length and bends.

    Returns
    -------
    tuple of points or None
        Bezier control points with rounded corners, or None where there is no way.
    """
    xs = _lines([b[0] for b in boxes], [b[2] for b in boxes], start[0], end[0], room[0], room[2])
    ys = _lines([b[1] for b in boxes], [b[3] for b in boxes], start[1], end[1], room[1], room[3])
    goal = bisect_left(xs, end[0]), bisect_left(ys, end[1])
    first = bisect_left(xs, start[0]), bisect_left(ys, start[1])
    queue: list[tuple[float, float, tuple[int, int], tuple[int, int]]] = [(0.0, 0.0, first, (0, 1))]
    best: dict[tuple[tuple[int, int], tuple[int, int]], float] = {(first, (0, 1)): 0.0}
    came: dict[tuple[tuple[int, int], tuple[int, int]], tuple[tuple[int, int], tuple[int, int]]] = {}
    blocked: dict[tuple[int, int, int, int], bool] = {}
    while queue:
        _, cost, here, way = heapq.heappop(queue)
        if here == goal and way == (0, 1):
            steps = [(here, way)]
            while steps[-1] in came:
                steps.append(came[steps[-1]])
            return rounded([(xs[i], ys[j]) for (i, j), _ in reversed(steps)])
        if cost > best[here, way]:
            continue
        for turn in ((0, 1), (1, 0), (-1, 0), (0, -1)):
            nxt = here[0] + turn[0], here[1] + turn[1]
            if turn == (-way[0], -way[1]) or not (0 <= nxt[0] < len(xs) and 0 <= nxt[1] < len(ys)):
                continue
            side = (*min(here, nxt), *max(here, nxt))
            if side not in blocked:
                a, b = (xs[side[0]], ys[side[1]]), (xs[side[2]], ys[side[3]])
                blocked[side] = any(crosses(a, b, box) for box in boxes)
            if blocked[side]:
                continue
            step = abs(xs[nxt[0]] - xs[here[0]]) + abs(ys[nxt[1]] - ys[here[1]])
            total = cost + step + BEND * (turn != way)
            if total < best.get((nxt, turn), float("inf")):
                best[nxt, turn] = total
                came[nxt, turn] = here, way
                rest = abs(xs[nxt[0]] - end[0]) + abs(ys[nxt[1]] - end[1])
                heapq.heappush(queue, (total + rest, total, nxt, turn))
    return None


def _lines(lows: Sequence[float], highs: Sequence[float], a: float, b: float, first: float, last: float) -> list[float]:
    """Return grid lines beside every box, the two ends, and the room's borders, in order."""
    borders = sorted({*lows, *highs})
    result: list[float] = []
    wanted = {a, b, first, last}
    for low in lows:
        k = bisect_left(borders, low)
        wanted.add(low - min(MARGIN, (low - borders[k - 1]) / 2 if k else MARGIN))
    for high in highs:
        k = bisect_left(borders, high)
        wanted.add(high + min(MARGIN, (borders[k + 1] - high) / 2 if k + 1 < len(borders) else MARGIN))
    for line in wanted:
        insort(result, line)
    return result


def rounded(points: Sequence[Point], radius: float = 7.0) -> tuple[Point, ...]:
    """Return the Bezier control points of a right-angled way with rounded corners."""
    corners = [points[0]]
    for before, here, after in zip(points, points[1:], points[2:], strict=False):
        if (before[0] == here[0]) != (here[0] == after[0]):
            corners.append(here)
    corners.append(points[-1])
    result = list(straight(corners[:1] if len(corners) < 2 else [corners[0], corners[0]]))[:1]
    for k in range(1, len(corners)):
        (x0, y0), (x1, y1) = result[-1], corners[k]
        if k == len(corners) - 1:
            result += straight([(x0, y0), (x1, y1)])[1:]
            continue
        x2, y2 = corners[k + 1]
        xb, yb = corners[k - 1]
        came, goes = abs(x1 - xb) + abs(y1 - yb), abs(x2 - x1) + abs(y2 - y1)
        r = min(radius, came / 2, goes / 2)
        start = (x1 + (xb - x1) * r / came, y1 + (yb - y1) * r / came)
        stop = (x1 + (x2 - x1) * r / goes, y1 + (y2 - y1) * r / goes)
        result += straight([(x0, y0), start])[1:]
        # A control point at 0.55 of the radius from the corner's ends makes a quarter of a circle.
        bend = [(p[0] + (x1 - p[0]) * 0.55, p[1] + (y1 - p[1]) * 0.55) for p in (start, stop)]
        result += [bend[0], bend[1], stop]
    return tuple(result)


def clear(problem: Problem, solution: Solution, *, align: bool = True) -> Solution:
    """Move wire ends onto their ports and lead wires around boxes that they pass through.

    Parameters
    ----------
    problem, solution
        A scope and its layout.
    align : bool
        Move the ways out below the ways in.
    """
    rectangles = [(x, y, x + box[0], y + box[1]) for (x, y), box in zip(solution.boxes, problem.boxes, strict=True)]
    xs = [x for box in rectangles for x in (box[0], box[2])] + [p[0] for curve in solution.edges for p in curve]
    room = (min(xs, default=0.0) - ROOM, -1.0, max(xs, default=0.0) + ROOM, solution.height + 1.0)
    aligned = _aligned(solution.ins, solution.outs) if align else solution.outs
    lowest = max((box[3] for box in rectangles), default=0.0) + 2
    squares = cells(rectangles)
    curves = []
    labels = list(solution.labels)
    said = [_words(label, edge) for label, edge in zip(labels, problem.edges, strict=True)]
    words = cells([words for words in said if words is not None])
    for k, (edge, curve) in enumerate(zip(problem.edges, solution.edges, strict=True)):
        start, end = _ends(problem, solution, rectangles, edge)
        fixed = (start, *curve[1:-1], end)
        if edge[2] < 0 and aligned != solution.outs:
            fixed = _bent(fixed, lowest, aligned[-1 - edge[2]])
            end = fixed[-1]
        drawn = solution.engine == "dot"  # wires of the simple placement are clear of boxes as they are
        calm = _calm(fixed, edge, labels[k], squares, words) if drawn and edge[0] != edge[2] else None
        if calm is not None:
            fixed, moved = calm
            own, labels[k] = said[k], moved
            if own is not None and moved != solution.labels[k]:
                for cell in _touched(own):
                    words[cell].remove(own)
                if (new := _words(moved, edge)) is not None:
                    for cell in _touched(new):
                        words.setdefault(cell, []).append(new)
        elif drawn and through(fixed, near(fixed, squares)):
            fixed = around(start, end, rectangles, room) or fixed
        curves.append(fixed)
    return Solution(**{**solution.__dict__, "edges": tuple(curves), "labels": tuple(labels), "outs": aligned})


def _aligned(ins: Sequence[float], outs: Sequence[float]) -> tuple[float, ...]:
    """Return where the ways out are to be: below the ways in, for a chain of open groups is then straight.

    Examples
    --------
    >>> _aligned((10.0, 50.0), (90.0, 70.0)), _aligned((10.0,), (20.0, 60.0)), _aligned((), (5.0,))
    ((50.0, 10.0), (-10.0, 30.0), (5.0,))
    """
    if not ins or not outs:
        return tuple(outs)
    if len(ins) == len(outs):
        order = sorted(range(len(outs)), key=lambda k: outs[k])
        place = dict(zip(order, sorted(ins), strict=True))
        return tuple(place[k] for k in range(len(outs)))
    shift = median(ins) - median(outs)
    return tuple(x + shift for x in outs)


Ends: TypeAlias = "tuple[int, int, int, int, float, float]"


def _words(label: Point | None, edge: Ends) -> Rectangle | None:
    """Return the room of a label's text."""
    if label is None:
        return None
    half, high = edge[4] / 2 - 2, edge[5] / 2 - 2
    return (label[0] - half, label[1] - high, label[0] + half, label[1] + high)


def _calm(
    curve: Sequence[Point],
    edge: Ends,
    label: Point | None,
    squares: Cells,
    words: Cells,
) -> tuple[tuple[Point, ...], Point | None] | None:
    """Return one even swing from start to end for a short wire, where nothing is in its way, and its label's place.

    Such curves from or to one port part evenly, where dot's cross each other near it.
    """
    start, end = curve[0], curve[-1]
    (x1, y1), (x2, y2) = start, end
    xs = [x for x, _ in curve]
    if not 0 < y2 - y1 < SHORT or min(xs) < min(x1, x2) - SHORT or max(xs) > max(x1, x2) + SHORT:
        return None
    half = (y1 + y2) / 2
    swing = (start, (x1, half), (x2, half), end)
    inner = [box for box in near(swing, squares) if box[3] > y1 + 1 and box[1] < y2 - 1]
    wide = [(left - MARGIN, top - 2, right + MARGIN, bottom + 2) for left, top, right, bottom in inner]
    own = _words(label, edge)
    if through(swing, wide) or through(swing, [other for other in near(swing, words) if other != own]):
        return None
    if own is None or label is None or not through(swing, [own]):
        return swing, label
    # The text gives way: beside the wire where it leaves, or where it arrives.
    for x, y in ((x1, y1 + edge[5] / 2 + 2), (x2, y2 - edge[5] / 2 - ARRIVAL)):
        for side in (1, -1):
            place = (x + side * (edge[4] / 2 + 3), y)
            room = _words(place, edge)
            assert room is not None
            corners = [room[:2], room[2:]]
            others = [*near(corners, squares), *(other for other in near(corners, words) if other != own)]
            if not any(_meet(room, other) for other in others) and not through(swing, [room]):
                return swing, place
    return None


def _meet(one: Rectangle, two: Rectangle) -> bool:
    return one[0] < two[2] and two[0] < one[2] and one[1] < two[3] and two[1] < one[3]


def _bent(curve: tuple[Point, ...], lowest: float, x: float) -> tuple[Point, ...]:
    """Let a wire to the lower border end at another x, by a bend below the lowest box."""
    kept = upto(curve, lowest)
    (x0, y0), bottom = kept[-1], curve[-1][1]
    half = (y0 + bottom) / 2
    return (*kept, (x0, half), (x, half), (x, bottom))


def _ends(
    problem: Problem,
    solution: Solution,
    rectangles: Sequence[Rectangle],
    edge: tuple[int, int, int, int, float, float],
) -> tuple[Point, Point]:
    tail, tail_port, head, head_port = edge[:4]
    if tail < 0:
        start = (solution.ins[-1 - tail], 0.0)
    else:
        left, _, right, bottom = rectangles[tail]
        start = (left + problem.boxes[tail][3][tail_port] if tail_port >= 0 else (left + right) / 2, bottom)
    if head < 0:
        end = (solution.outs[-1 - head], solution.height)
    else:
        left, top, right, _ = rectangles[head]
        end = (left + problem.boxes[head][2][head_port] if head_port >= 0 else (left + right) / 2, top)
    return start, end
