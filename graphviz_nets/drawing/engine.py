"""The layout engine: Graphviz dot on boxes, ports and edges that are nothing but numbers.

One direction only (top to bottom, y grows downwards); callers swap and mirror. A small scope runs in process; a large
one runs in a child process that can be timed out and killed, for the C code holds the interpreter lock. What dot
cannot do in time is placed by :func:`simple`.
"""

from __future__ import annotations

import atexit
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

Point: TypeAlias = tuple[float, float]

SMALL = 400
"""Boxes plus edges up to which dot runs in process."""

SECONDS = 5.0
"""Time after which a layout by dot is given up."""

SLOW = 0.5
BUDGET = 20.0
"""Time for layouts by dot that take longer than `SLOW`; after it dot is only given what is sure to be quick."""

PARALLEL = 1500
"""Boxes plus edges from which on small problems are shared out among child processes, too."""

MEMORY = 2 << 30
"""Bytes of address space that the child may use."""

LARGEST = 60_000.0
"""Side of the largest box that dot is given, in pixels: its tables hold no more than 65,535."""

PORT = 12.0
"""Room that a port on the border takes, in pixels."""


@dataclass(frozen=True)
class Problem:
    """A scope to lay out, in pixels.

    Attributes
    ----------
    boxes : tuple of (width, height, in_offsets, out_offsets)
        Offsets are places of ports on the upper and lower side, from the left corner; with none, wires meet at the
        middle.
    ins, outs : int
        Ports on the scope's own upper and lower border.
    edges : tuple of (tail, tail_port, head, head_port, label_width, label_height)
        A tail or head below 0 is border port ``-1 - k``; a port of -1 is the middle; a label of width 0 is none.
    ordered : bool
        The ports of the upper border are to stand in their order.
    """

    boxes: tuple[tuple[float, float, tuple[float, ...], tuple[float, ...]], ...]
    ins: int
    outs: int
    edges: tuple[tuple[int, int, int, int, float, float], ...]
    nodesep: float = 22.0
    ranksep: float = 26.0
    ordered: bool = False


@dataclass(frozen=True)
class Solution:
    """Where everything is: boxes by their upper left corner, ports by x, edges as Bezier control points (1 + 3n)."""

    width: float
    height: float
    boxes: tuple[Point, ...]
    ins: tuple[float, ...]
    outs: tuple[float, ...]
    edges: tuple[tuple[Point, ...], ...]
    labels: tuple[Point | None, ...]
    engine: str = "dot"


_solved: dict[Problem, Solution] = {}
KEPT = 4096
"""Solutions that are remembered."""


def solve(problem: Problem) -> Solution:
    """Lay out a scope; equal scopes are laid out once.

    Examples
    --------
    >>> solution = solve(Problem(((60, 20, (), ()), (60, 20, (), ())), 0, 0, ((0, -1, 1, -1, 0, 0),)))
    >>> solution.boxes[0][1] < solution.boxes[1][1]
    True
    """
    return solve_all([problem])[0]


def solve_all(problems: Sequence[Problem]) -> list[Solution]:
    """Lay out several scopes, on all cores where that pays.

    Every problem is answered, whatever it costs: what dot cannot do in `SECONDS`, or at all once `BUDGET` is used up,
    is placed by :func:`simple`.
    """
    if len(_solved) > KEPT:
        _solved.clear()
    new = [problem for problem in dict.fromkeys(problems) if problem not in _solved]
    far = [problem for problem in new if not _near(problem)]
    if len(far) < len(new) and sum(map(_weight, new)) > PARALLEL:
        far = new
    apart = set(far)
    for problem in (problem for problem in new if problem not in apart):
        _solved[problem] = (_placed(problem) if problem.boxes else None) or simple(problem)
    if far:
        far.sort(key=_weight, reverse=True)
        with ThreadPoolExecutor(_cores()) as pool:
            _solved.update(zip(far, pool.map(_remote, far), strict=True))
    return [_solved[problem] for problem in problems]


def _near(problem: Problem) -> bool:
    """Say whether dot is sure to be quick, so that it may run in this process."""
    return _weight(problem) <= SMALL and len(problem.edges) <= 2 * len(problem.boxes) + 40


def _weight(problem: Problem) -> int:
    return len(problem.boxes) + len(problem.edges) + problem.ins + problem.outs


def _cores() -> int:
    return max(1, min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1))


def _remote(problem: Problem) -> Solution:
    answer = _ask(problem) if problem.boxes else None
    return simple(problem) if answer is None else answer


def _placed(problem: Problem) -> Solution | None:
    """Have dot lay out a scope in this process; None where it fails."""
    size = max((side for box in problem.boxes for side in box[:2]), default=0.0)
    if size <= LARGEST:
        return _parse(problem, _dot(_text(problem)))
    small = _scaled(problem, LARGEST / size)
    found = _parse(small, _dot(_text(small)))
    return None if found is None else _grown(found, problem, size / LARGEST)


def _scaled(problem: Problem, by: float) -> Problem:
    def all_of(numbers: Sequence[float]) -> tuple[float, ...]:
        return tuple(number * by for number in numbers)

    return replace(
        problem,
        boxes=tuple((w * by, h * by, all_of(ins), all_of(outs)) for w, h, ins, outs in problem.boxes),
        edges=tuple((*edge[:4], edge[4] * by, edge[5] * by) for edge in problem.edges),
    )


def _grown(found: Solution, problem: Problem, by: float) -> Solution:
    def points(items: Sequence[Point]) -> tuple[Point, ...]:
        return tuple((x * by, y * by) for x, y in items)

    return replace(
        found,
        width=found.width * by,
        height=found.height * by,
        boxes=points(found.boxes),
        ins=tuple(x * by for x in found.ins),
        outs=tuple(x * by for x in found.outs),
        edges=tuple(points(curve) for curve in found.edges),
        labels=tuple(None if label is None else (label[0] * by, label[1] * by) for label in found.labels),
    )


def _text(problem: Problem) -> str:
    """Write the scope in DOT: boxes of fixed size without text, ports as spacer cells."""
    lines = [
        "digraph {",
        f"graph [nodesep={problem.nodesep / 72:.4f} ranksep={problem.ranksep / 72:.4f} splines=true "
        f"nslimit={_effort(problem)} nslimit1={_effort(problem)} outputorder=nodesfirst]",
        'node [shape=box fixedsize=true label="" margin=0]',
        "edge [dir=none]",
    ]
    for side, number, rank in (("i", problem.ins, "source"), ("o", problem.outs, "sink")):
        if number:
            ports = " ".join(f"{side}{k} [width={PORT / 72:.4f} height=0.0139]" for k in range(number))
            lines.append(f"{{rank={rank}; {ports}}}")
    if problem.ordered and problem.ins > 1:
        lines.append(" -> ".join(f"i{k}" for k in range(problem.ins)) + " [style=invis comment=-1]")
    for k, (width, height, ins, outs) in enumerate(problem.boxes):
        if ins or outs:
            lines.append(
                f"n{k} [shape=none fixedsize=false width=0 height=0 label=<{_table(width, height, ins, outs)}>]"
            )
        else:
            lines.append(f"n{k} [width={width / 72:.4f} height={height / 72:.4f}]")
    for k, (tail, tail_port, head, head_port, label_width, label_height) in enumerate(problem.edges):
        start = f"i{-1 - tail}:s" if tail < 0 else f"n{tail}:o{tail_port}:s" if tail_port >= 0 else f"n{tail}:s"
        end = f"o{-1 - head}:n" if head < 0 else f"n{head}:i{head_port}:n" if head_port >= 0 else f"n{head}:n"
        label = ""
        if label_width:
            wide, high = max(label_width, 1.0), max(label_height, 1.0)
            plain = 'BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0" FIXEDSIZE="TRUE"'
            cell = f'<TABLE {plain} WIDTH="{wide:.0f}" HEIGHT="{high:.0f}">'
            label = f" label=<{cell}<TR><TD></TD></TR></TABLE>>"
        lines.append(f"{start} -> {end} [comment={k}{label}]")
    return "\n".join([*lines, "}"])


def _effort(problem: Problem) -> str:
    """Bound network simplex on large scopes, where it costs nearly all the time."""
    return "1000" if len(problem.boxes) + len(problem.edges) < 300 else "2"


def _table(width: float, height: float, ins: Sequence[float], outs: Sequence[float]) -> str:
    """Return an HTML-like table of the box's size with a spacer cell centred at each port."""

    def row(side: str, offsets: Sequence[float]) -> str:
        cells, edge = [], 0.0
        for k in sorted(range(len(offsets)), key=offsets.__getitem__):
            half = min(offsets[k] - edge, PORT / 2) if offsets[k] > edge else 0.5
            if offsets[k] - half > edge + 0.5:
                cells.append(cell(offsets[k] - half - edge, 1, ""))
            cells.append(cell(2 * half, 1, f' PORT="{side}{k}"'))
            edge = offsets[k] + half
        if width > edge + 0.5:
            cells.append(cell(width - edge, 1, ""))
        return f"<TR><TD><TABLE {plain}><TR>{''.join(cells)}</TR></TABLE></TD></TR>"

    def cell(wide: float, high: float, port: str) -> str:
        return f'<TD FIXEDSIZE="TRUE" WIDTH="{max(wide, 1):.0f}" HEIGHT="{high:.0f}"{port}></TD>'

    plain = 'BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0"'
    upper = row("i", ins) if ins else ""
    lower = row("o", outs) if outs else ""
    middle = f"<TR>{cell(width, height - bool(ins) - bool(outs), '')}</TR>"
    return f"<TABLE {plain}>{upper}{middle}{lower}</TABLE>"


def _dot(text: str) -> str | None:
    """Run Graphviz in this process; None where it fails."""
    import warnings

    import pygraphviz

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = pygraphviz.AGraph(string=text)
        try:
            return bytes(graph.draw(format="json0", prog="dot")).decode()
        except (ValueError, OSError, MemoryError):
            return None
        finally:
            graph.close()


def _parse(problem: Problem, answer: str | None) -> Solution | None:
    """Read Graphviz's JSON; None where it does not hold every box and edge."""
    if not answer:
        return None
    found: dict[str, Any] = json.loads(answer)
    height = float(found["bb"].split(",")[3])
    centres: dict[str, Point] = {}
    for item in found.get("objects", ()):
        if "pos" in item:
            x, y = map(float, item["pos"].split(","))
            centres[item["name"]] = (x, height - y)
    curves: dict[int, tuple[Point, ...]] = {}
    labels: dict[int, Point] = {}
    for item in found.get("edges", ()):
        k = int(item["comment"])
        if k < 0:
            continue
        if "pos" in item:
            curves[k] = points(item["pos"], height)
        if "lp" in item:
            x, y = map(float, item["lp"].split(","))
            labels[k] = (x, height - y)
    if len(curves) != len(problem.edges) or any(f"n{k}" not in centres for k in range(len(problem.boxes))):
        return None
    corners = tuple(
        (centres[f"n{k}"][0] - width / 2, centres[f"n{k}"][1] - tall / 2)
        for k, (width, tall, _, _) in enumerate(problem.boxes)
    )
    return Solution(
        float(found["bb"].split(",")[2]),
        height,
        corners,
        tuple(centres[f"i{k}"][0] for k in range(problem.ins)),
        tuple(centres[f"o{k}"][0] for k in range(problem.outs)),
        tuple(curves[k] for k in range(len(problem.edges))),
        tuple(labels.get(k) for k in range(len(problem.edges))),
    )


def points(text: str, height: float) -> tuple[Point, ...]:
    """Return the control points of a spline; several pieces are joined by straight lines."""
    result: list[Point] = []
    for piece in text.split(";"):
        pairs = [pair.split(",") for pair in piece.split() if not pair.startswith(("e,", "s,"))]
        points = [(float(x), height - float(y)) for x, y in pairs]
        result += [result[-1], points[0], points[0]] if result else []
        result += points[bool(result) :] if result else points
    return tuple(result)


# Child processes --------------------------------------------------------------------------------------------------

_idle: list[subprocess.Popen[str]] = []
_spent = 0.0


def _ask(problem: Problem) -> Solution | None:
    """Have a child process lay out a scope; None where it takes too long, dies or cannot be started."""
    global _spent  # noqa: PLW0603
    if _spent > BUDGET:
        return None
    try:
        child = _idle.pop() if _idle else _started()
        start = time.perf_counter()
        timer = threading.Timer(SECONDS, child.kill)
        timer.start()
        try:
            assert child.stdin is not None and child.stdout is not None
            child.stdin.write(json.dumps(asdict(problem)) + "\n")
            child.stdin.flush()
            line = child.stdout.readline()
        finally:
            timer.cancel()
    except (OSError, ValueError):
        return None
    took = time.perf_counter() - start
    if took > SLOW:
        _spent += took
    if not line.endswith("\n"):
        _stop(child)
        return None
    _idle.append(child)
    found: Any = json.loads(line)
    return None if found is None else _solution(found)


def _solution(found: Mapping[str, Any]) -> Solution:
    def pairs(items: Any) -> tuple[Any, ...]:
        return tuple(None if item is None else tuple(item) for item in items)

    return Solution(
        found["width"],
        found["height"],
        pairs(found["boxes"]),
        tuple(found["ins"]),
        tuple(found["outs"]),
        tuple(pairs(curve) for curve in found["edges"]),
        pairs(found["labels"]),
    )


def _started() -> subprocess.Popen[str]:
    """Start a child. It finds this package, and nothing in the folder where the program happens to run (``-P``)."""
    home = str(Path(__file__).resolve().parents[2])
    known = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "graphviz_nets.drawing.engine"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(known)},
    )
    atexit.register(_stop, child)
    return child


def _stop(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.wait()
    for stream in (child.stdin, child.stdout):
        if stream is not None:
            with suppress(OSError):  # what was not written to it is lost with it
                stream.close()


def serve() -> None:
    """Answer layout requests, one JSON object a line, until the input ends."""
    with suppress(ImportError, ValueError, OSError):  # not every system has such limits
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for line in sys.stdin:
        asked = json.loads(line)
        boxes = tuple((w, h, tuple(ins), tuple(outs)) for w, h, ins, outs in asked.pop("boxes"))
        problem = Problem(boxes, edges=tuple(map(tuple, asked.pop("edges"))), **asked)
        found = _placed(problem)
        sys.stdout.write(json.dumps(None if found is None else asdict(found)) + "\n")
        sys.stdout.flush()


# The fallback -----------------------------------------------------------------------------------------------------


def simple(problem: Problem) -> Solution:
    """Place boxes in rows by their longest path from the start, in linear time.

    Wires to the next row run straight through the gap between rows; all others leave to a channel at the right, so no
    wire passes through a box.
    """
    count = len(problem.boxes)
    inner = [(edge[0], edge[2]) for edge in problem.edges if edge[0] >= 0 and edge[2] >= 0 and edge[0] != edge[2]]
    after: list[list[int]] = [[] for _ in range(count)]
    for tail, head in inner:
        after[tail].append(head)
    rank = _ranks(after)
    rows: dict[int, list[int]] = {}
    for k in range(count):
        rows.setdefault(rank[k], []).append(k)
    gap = max(problem.ranksep, max((edge[5] + 10 for edge in problem.edges), default=0.0))
    corners: list[Point] = [(0.0, 0.0)] * count
    wide = max((sum(problem.boxes[k][0] + problem.nodesep for k in row) for row in rows.values()), default=PORT)
    wide = max(wide, PORT * 2 * max(problem.ins, problem.outs, 1))
    y = gap if problem.ins else 0.0
    top: dict[int, float] = {}
    bottom: dict[int, float] = {}
    for level in sorted(rows):
        row = rows[level]
        x = (wide - sum(problem.boxes[k][0] + problem.nodesep for k in row)) / 2
        top[level], bottom[level] = y, y + max(problem.boxes[k][1] for k in row)
        for k in row:
            corners[k] = (x + problem.nodesep / 2, y)
            x += problem.boxes[k][0] + problem.nodesep
        y = bottom[level] + gap
    if rows and not problem.outs:
        y -= gap
    ins = tuple(wide * (k + 0.5) / problem.ins for k in range(problem.ins))
    outs = tuple(wide * (k + 0.5) / problem.outs for k in range(problem.outs))
    last = max(rows, default=0)

    def tail_of(edge: Sequence[Any]) -> tuple[Point, float, int]:
        if edge[0] < 0:
            return (ins[-1 - edge[0]], 0.0), 0.0, -1
        width, height, _, ports = problem.boxes[edge[0]]
        left, upper = corners[edge[0]]
        place = left + (ports[edge[1]] if edge[1] >= 0 else width / 2)
        return (place, upper + height), bottom[rank[edge[0]]], rank[edge[0]]

    def head_of(edge: Sequence[Any]) -> tuple[Point, float, int]:
        if edge[2] < 0:
            return (outs[-1 - edge[2]], y), y, last + 1
        width, _, ports, _ = problem.boxes[edge[2]]
        left, upper = corners[edge[2]]
        return (left + (ports[edge[3]] if edge[3] >= 0 else width / 2), upper), top[rank[edge[2]]], rank[edge[2]]

    curves: list[tuple[Point, ...]] = []
    labels: list[Point | None] = []
    right = wide
    for edge in problem.edges:
        (x1, y1), row_end, from_rank = tail_of(edge)
        (x2, y2), row_start, to_rank = head_of(edge)
        if to_rank == from_rank + 1:
            points = [(x1, y1), (x1, row_end), (x2, row_start), (x2, y2)]
            middle = ((x1 + x2) / 2, (row_end + row_start) / 2)
        else:
            right += max(4.0, float(edge[4]) + 4)
            low, high = row_end + gap / 3, row_start - gap / 3
            points = [(x1, y1), (x1, low), (right, low), (right, high), (x2, high), (x2, y2)]
            middle = (right - edge[4] / 2, (low + high) / 2)
        curves.append(straight(points))
        labels.append(middle if edge[4] else None)
    return Solution(right, y, tuple(corners), ins, outs, tuple(curves), tuple(labels), "simple")


def _ranks(after: Sequence[Sequence[int]]) -> list[int]:
    """Return the longest path to each node; edges that close a cycle are left out."""
    state = [0] * len(after)
    order: list[int] = []
    forward: list[list[int]] = [[] for _ in after]
    for root in range(len(after)):
        stack = [(root, 0)] if not state[root] else []
        while stack:
            here, k = stack.pop()
            state[here] = 1
            if k < len(after[here]):
                stack.append((here, k + 1))
                nxt = after[here][k]
                if state[nxt] != 1:
                    forward[here].append(nxt)
                if not state[nxt]:
                    stack.append((nxt, 0))
            else:
                state[here] = 2
                order.append(here)
    rank = [0] * len(after)
    for here in reversed(order):
        for nxt in forward[here]:
            rank[nxt] = max(rank[nxt], rank[here] + 1)
    return rank


def straight(points: Sequence[Point]) -> tuple[Point, ...]:
    """Return the Bezier control points of a polyline.

    Examples
    --------
    >>> straight([(0, 0), (0, 3)])
    ((0, 0), (0.0, 1.0), (0.0, 2.0), (0, 3))
    """
    result = [points[0]]
    for (x1, y1), (x2, y2) in itertools.pairwise(points):
        result += [(x1 + (x2 - x1) / 3, y1 + (y2 - y1) / 3), (x1 + (x2 - x1) * 2 / 3, y1 + (y2 - y1) * 2 / 3), (x2, y2)]
    return tuple(result)


if __name__ == "__main__":
    serve()
