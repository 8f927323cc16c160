"""Layout: coordinates for one group at a time, each from the sizes of its children."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from graphviz_nets.drawing import pieces, route
from graphviz_nets.drawing.diagram import Group
from graphviz_nets.drawing.engine import PORT, Point, Problem, Solution, straight

Size: TypeAlias = tuple[float, float]

PAD = 12.0
"""Room between a group's border and its boxes, in pixels."""

TITLE = 22.0
"""Height of the strip at the top of an open group that holds its title."""


@dataclass(frozen=True)
class Placement:
    """Where everything in a group is, from its upper left corner, in pixels, in the direction wanted.

    Attributes
    ----------
    size : (width, height)
        Of the whole group, title included.
    boxes : tuple of points
        Upper left corners, in the order of ``Group.boxes``.
    wires : tuple of tuples of points
        Bezier control points (1 + 3n), in the order of ``Group.wires``.
    labels : tuple of points or None
        Centres of the wires' labels.
    ins, outs : tuple of points
        Where wires cross the group's own border, in the order of ``Group.ins`` and ``Group.outs``.
    title : point
        Upper left corner of the title.
    """

    size: Size
    boxes: tuple[Point, ...]
    wires: tuple[tuple[Point, ...], ...]
    labels: tuple[Point | None, ...]
    ins: tuple[Point, ...]
    outs: tuple[Point, ...]
    title: Point


@dataclass(frozen=True)
class Task:
    """A group to lay out, see :func:`layout`."""

    group: Group
    sizes: Sequence[Size]
    inside: Mapping[str, Placement] = field(default_factory=dict)
    labels: Sequence[Size] = ()
    title: float | None = None


def layout(
    group: Group,
    sizes: Sequence[Size],
    rankdir: str = "TB",
    inside: Mapping[str, Placement] | None = None,
    labels: Sequence[Size] = (),
    title: float | None = None,
    aspect: float | None = None,
) -> Placement:
    """Place the boxes and wires of one group.

    Parameters
    ----------
    group : Group
        What to place; groups inside its open boxes are not looked at.
    sizes : sequence of (width, height)
        Of each box, as it is shown.
    rankdir : {"TB", "BT", "LR", "RL"}
        Direction of the flow.
    inside : mapping of box id to Placement
        Of the open boxes, whose border ports the wires are to meet.
    labels : sequence of (width, height)
        Of each wire's label; (0, 0) is none.
    title : float or None
        Width of the group's title; None for the outermost group, which has no frame.
    aspect : float or None
        Ratio of width to height towards which a long chain is wrapped into columns (rows in LR and RL).

    Returns
    -------
    Placement
        No two boxes overlap, and no wire passes through a box.

    Examples
    --------
    >>> from graphviz_nets.drawing.diagram import Box, Wire
    >>> two = Group((Box("a", "node", "a", "", ""), Box("b", "node", "b", "", "")), (Wire("a", "b"),))
    >>> (_, above), (_, below) = layout(two, [(60, 20), (60, 20)]).boxes
    >>> below - above > 20
    True
    """
    return layouts([Task(group, sizes, inside or {}, labels, title)], rankdir, aspect)[0]


def layouts(tasks: Sequence[Task], rankdir: str = "TB", aspect: float | None = None) -> list[Placement]:
    """Place several groups that do not hold each other; equal ones are placed once, different ones on all cores."""
    return layouts_in(tasks, [rankdir], aspect)[0]


def layouts_in(tasks: Sequence[Task], rankdirs: Sequence[str], aspect: float | None = None) -> list[list[Placement]]:
    """Place several groups in several directions; a direction and its mirror are one problem."""
    axes = [_Axis(rankdir) for rankdir in rankdirs]
    problems = [[_problem(task, axis) for task in tasks] for axis in axes]
    solutions = iter(pieces.solve_all([problem for several in problems for problem in several]))
    cleared: dict[Problem, Solution] = {}
    done: dict[tuple[Problem, float | None, _Axis], Placement] = {}
    result = []
    for axis, several in zip(axes, problems, strict=True):
        wanted = aspect if aspect is None or not axis.sideways else 1 / aspect
        placed = []
        for problem, task in zip(several, tasks, strict=True):
            solution, outermost, key = next(solutions), task.title is None, (problem, task.title, axis)
            if problem not in cleared:
                cleared[problem] = solution if wanted is None else pieces.wrapped(problem, solution, wanted, outermost)
            if key not in done:
                done[key] = _frame(problem, cleared[problem], axis, task.title)
            placed.append(done[key])
        result.append(placed)
    return result


def _problem(task: Task, axis: _Axis) -> Problem:
    """Return a group as numbers, in the engine's direction."""
    group = task.group
    index = {box.id: k for k, box in enumerate(group.boxes)}
    ports: list[tuple[dict[str, int], dict[str, int]]] = []
    flat: list[tuple[float, float, tuple[float, ...], tuple[float, ...]]] = []
    for box, size in zip(group.boxes, task.sizes, strict=True):
        placed = task.inside.get(box.id)
        wide, high = axis.size(size)
        if placed is None or box.group is None:
            ports.append(({}, {}))
            flat.append((wide, high, (), ()))
            continue
        ports.append(tuple({port: k for k, port in enumerate(side)} for side in (box.group.ins, box.group.outs)))  # type: ignore[arg-type]
        flat.append((wide, high, tuple(map(axis.cross, placed.ins)), tuple(map(axis.cross, placed.outs))))
    ins = {port: k for k, port in enumerate(group.ins)}
    outs = {port: k for k, port in enumerate(group.outs)}
    edges = []
    for k, wire in enumerate(group.wires):
        tail = index[wire.source] if wire.source else -1 - ins[wire.source_port]
        head = index[wire.target] if wire.target else -1 - outs[wire.target_port]
        tail_port = ports[tail][1].get(wire.source_port, -1) if tail >= 0 else -1
        head_port = ports[head][0].get(wire.target_port.split("\0")[0], -1) if head >= 0 else -1
        size = axis.size(task.labels[k]) if task.labels else (0.0, 0.0)
        edges.append((tail, tail_port, head, head_port, *size))
    return Problem(tuple(flat), len(ins), len(outs), tuple(edges), ranksep=24.0 if task.labels else 30.0)


class _Axis:
    """The engine knows one direction, from top to bottom; this turns sizes and points."""

    def __init__(self, rankdir: str) -> None:
        self.sideways = rankdir in ("LR", "RL")
        self.mirrored = rankdir in ("BT", "RL")

    def size(self, size: Size) -> Size:
        """Return a size as the engine sees it."""
        return (size[1], size[0]) if self.sideways else size

    def cross(self, point: Point) -> float:
        """Return a point's place along the border it lies on."""
        return point[1] if self.sideways else point[0]

    def point(self, x: float, y: float, length: float) -> Point:
        """Return the real place of an engine's point; `length` is the drawing's extent along the flow."""
        along = length - y if self.mirrored else y
        return (along, x) if self.sideways else (x, along)


def _frame(
    problem: Problem,
    solution: Solution,
    axis: _Axis,
    title: float | None,
) -> Placement:
    """Turn the engine's answer into the wanted direction and put a frame with a title around it."""
    length = solution.height

    def turned(points: Sequence[Point]) -> list[Point]:
        return [axis.point(x, y, length) for x, y in points]

    sizes = [axis.size((box[0], box[1])) for box in problem.boxes]
    corners = []
    for (x, y), box in zip(solution.boxes, problem.boxes, strict=True):
        one, two = axis.point(x, y, length), axis.point(x + box[0], y + box[1], length)
        corners.append((min(one[0], two[0]), min(one[1], two[1])))
    curves = [turned(curve) for curve in solution.edges]
    labels = [None if label is None else axis.point(*label, length) for label in solution.labels]
    ports_in = turned([(x, 0.0) for x in solution.ins])
    ports_out = turned([(x, length) for x in solution.outs])

    points = [p for curve in curves for p in route.flatten(curve, 6)] + ports_in + ports_out
    for (x, y), (width, height) in zip(corners, sizes, strict=True):
        points += [(x, y), (x + width, y + height)]
    for label, edge in zip(labels, problem.edges, strict=True):
        if label is not None:
            width, height = axis.size((edge[4], edge[5]))
            points += [(label[0] - width / 2, label[1] - height / 2), (label[0] + width / 2, label[1] + height / 2)]
    left, top = (min((p[k] for p in points), default=0.0) for k in (0, 1))
    right, bottom = (max((p[k] for p in points), default=0.0) for k in (0, 1))
    pads = [0.0] * 4 if title is None else [PAD, TITLE + PAD / 2, PAD, PAD]  # left, top, right, bottom
    dx, dy = pads[0] - left, pads[1] - top
    size = (right - left + pads[0] + pads[2], bottom - top + pads[1] + pads[3])

    def moved(points: Sequence[Point]) -> list[Point]:
        return [(x + dx, y + dy) for x, y in points]

    corners, curves = moved(corners), [moved(curve) for curve in curves]
    labels = [None if label is None else (label[0] + dx, label[1] + dy) for label in labels]
    ports_in, ports_out = moved(ports_in), moved(ports_out)
    place = (PAD, 4.0)
    if title is not None:
        across = [] if axis.sideways else [x for x, _ in (ports_out if axis.mirrored else ports_in)]
        start, width = _gap(across, title, size[0])
        place, size = (start, 4.0), (width, size[1])
    ends_in = [_border(p, axis, size, True) for p in ports_in]
    ends_out = [_border(p, axis, size, False) for p in ports_out]
    for k, edge in enumerate(problem.edges):
        if edge[0] < 0:
            curves[k] = [*straight([ends_in[-1 - edge[0]], curves[k][0]]), *curves[k][1:]]
        if edge[2] < 0:
            curves[k] = [*curves[k], *straight([curves[k][-1], ends_out[-1 - edge[2]]])[1:]]
    return Placement(
        size,
        tuple(corners),
        tuple(map(tuple, curves)),
        tuple(labels),
        tuple(ends_in),
        tuple(ends_out),
        place,
    )


def _border(point: Point, axis: _Axis, size: Size, entering: bool) -> Point:
    """Return the place on the group's border straight before (or after) a port."""
    at_start = entering != axis.mirrored
    if axis.sideways:
        return (0.0 if at_start else size[0], point[1])
    return (point[0], 0.0 if at_start else size[1])


def _gap(wires: Sequence[float], title: float, width: float) -> tuple[float, float]:
    """Return where a title of this width fits between wires that cross its strip, and the width the group then needs.

    Examples
    --------
    >>> _gap([20.0], 50.0, 100.0)
    (30.0, 100.0)
    >>> _gap([50.0], 60.0, 100.0)
    (60.0, 132.0)
    """
    places = [PAD - PORT + 2, *sorted(wires), width - PAD + PORT - 2]
    for before, after in itertools.pairwise(places):
        if after - before >= title + 20:
            return before + 10, width
    start = places[-2] + 10
    return start, max(width, start + title + PAD)
