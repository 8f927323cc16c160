"""Regions: structure of a flat graph, from its edges alone.

All functions work on nodes 0 to n - 1 and lists of (tail, head) edges. What a dominator tree would say about the one
way from a start to an end is found by a sweep in topological order, in linear time.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeAlias

Edges: TypeAlias = "Sequence[tuple[int, int]]"

CROWD = 15
"""Nodes from which on hubs are looked for (TensorBoard's number)."""


def topological(count: int, edges: Edges) -> tuple[list[int], list[tuple[int, int]]]:
    """Return an order of the nodes, and the edges that agree with it (those that close a cycle are left out).

    Where the given order is topological, it is kept.

    Examples
    --------
    >>> topological(3, [(2, 0), (0, 1)])
    ([2, 0, 1], [(2, 0), (0, 1)])
    """
    if all(tail < head for tail, head in edges):
        return list(range(count)), list(edges)
    after: list[list[int]] = [[] for _ in range(count)]
    for tail, head in edges:
        after[tail].append(head)
    state = [0] * count
    order: list[int] = []
    for root in range(count - 1, -1, -1):
        stack = [(root, 0)] if not state[root] else []
        while stack:
            here, k = stack.pop()
            state[here] = 1
            if k == len(after[here]):
                state[here] = 2
                order.append(here)
                continue
            stack.append((here, k + 1))
            if not state[after[here][-1 - k]]:
                stack.append((after[here][-1 - k], 0))
    order.reverse()
    place = {node: k for k, node in enumerate(order)}
    return order, [(tail, head) for tail, head in edges if place[tail] < place[head]]


def ranks(count: int, edges: Edges) -> list[int]:
    """Return the length of the longest path to each node; edges that close a cycle do not count."""
    order, forward = topological(count, edges)
    after: list[list[int]] = [[] for _ in range(count)]
    for tail, head in forward:
        after[tail].append(head)
    rank = [0] * count
    for here in order:
        for head in after[here]:
            rank[head] = max(rank[head], rank[here] + 1)
    return rank


def hubs(count: int, edges: Edges, reach: int = 6) -> list[int]:
    """Return the nodes that are used so widely that their wires would hide everything else.

    TensorBoard's rule: in a crowd of 15 or more, a node with more than ``max(Q3 + 4 (Q3 - Q1), 4)`` users, Q1 and Q3
    being the quartiles of all nodes' numbers of users. Users that stand close together (parallel branches) are no
    reason: they must spread over more than `reach` ranks.

    Parameters
    ----------
    count : int
        Number of nodes.
    edges : sequence of (tail, head)
        Parallel edges count once.
    reach : int
        Ranks that the users of a node may spread over.

    References
    ----------
    Wongsuphasawat et al., "Visualizing Dataflow Graphs of Deep Learning Models in TensorFlow", TVCG 24(1), 2018.

    Examples
    --------
    >>> chain = [(k, k + 1) for k in range(19)]
    >>> hubs(21, chain + [(20, k) for k in range(20)])
    [20]
    """
    if count < CROWD:
        return []
    heads: list[set[int]] = [set() for _ in range(count)]
    for tail, head in edges:
        heads[tail].add(head)
    degrees = sorted(len(users) for users in heads)
    low, high = degrees[count // 4], degrees[(3 * count) // 4]
    limit = max(high + 4 * (high - low), 4)
    found = [k for k in range(count) if len(heads[k]) > limit]
    if not found:
        return []
    # The graph without these nodes: their own wires must not stretch it. A user may stand as early as its inputs allow,
    # or as late as its users do; what needs nothing else stands where it is used.
    chosen = set(found)
    rest = [edge for edge in edges if edge[0] not in chosen]
    early = ranks(count, rest)
    late = latest(early, rest)

    def spread(users: set[int]) -> int:
        return max(max(rank[k] for k in users) - min(rank[k] for k in users) for rank in (early, late))

    return [k for k in found if spread(heads[k]) > reach]


def latest(early: Sequence[int], edges: Edges) -> list[int]:
    """Return the latest rank of each node that keeps all its edges pointing down; ends stay at their earliest.

    Examples
    --------
    >>> latest([0, 1, 2, 0], [(0, 1), (1, 2), (3, 2)])
    [0, 1, 2, 1]
    """
    _, forward = topological(len(early), edges)
    after: list[list[int]] = [[] for _ in early]
    for tail, head in forward:
        after[tail].append(head)
    late = list(early)
    for node in sorted(range(len(early)), key=lambda k: -early[k]):
        late[node] = min((late[head] - 1 for head in after[node]), default=early[node])
    return late


def cuts(count: int, edges: Edges, start: int, end: int) -> list[int]:
    """Return the nodes that every path from `start` to `end` passes, in order, both included.

    These are the dominators of `end`. In a topological order of the nodes between the two, a node is passed by all
    paths exactly where no edge leads over it.

    Examples
    --------
    >>> cuts(5, [(0, 1), (0, 2), (1, 3), (2, 3), (3, 4)], 0, 4)
    [0, 3, 4]
    """
    order, forward = topological(count, edges)
    inside = _reached(count, forward, start) & _reached(count, [(h, t) for t, h in forward], end)
    if start not in inside or end not in inside:
        return []
    after: list[list[int]] = [[] for _ in range(count)]
    place = {node: k for k, node in enumerate(order)}
    for tail, head in forward:
        if tail in inside and head in inside:
            after[tail].append(place[head])
    found, furthest = [], place[start]
    for node in order:
        if node in inside:
            if furthest <= place[node]:
                found.append(node)
            furthest = max((furthest, *after[node]))
    return found


def _reached(count: int, edges: Edges, start: int) -> set[int]:
    after: list[list[int]] = [[] for _ in range(count)]
    for tail, head in edges:
        after[tail].append(head)
    seen, waiting = {start}, [start]
    while waiting:
        for head in after[waiting.pop()]:
            if head not in seen:
                seen.add(head)
                waiting.append(head)
    return seen


def segments(count: int, edges: Edges) -> list[list[int]]:
    """Cut a graph into the pieces that its main path passes one after the other.

    The main path leads along the longest path of all. Each piece ends with a node that the whole path passes; what
    only feeds a piece, or only hangs on it, belongs to it.

    Examples
    --------
    >>> segments(6, [(0, 1), (0, 2), (1, 3), (2, 3), (3, 4), (5, 4)])
    [[0], [1, 2, 3], [4, 5]]
    """
    order, forward = topological(count, edges)
    rank = ranks(count, forward)
    end = max(range(count), key=lambda k: (rank[k], -k))
    before: list[list[int]] = [[] for _ in range(count)]
    after: list[list[int]] = [[] for _ in range(count)]
    for tail, head in forward:
        before[head].append(tail)
        after[tail].append(head)
    start = end
    while before[start]:
        start = min(before[start], key=lambda k: (-rank[k], k))
    passed = cuts(count, forward, start, end)
    number = {node: k for k, node in enumerate(passed)}
    last = len(passed)
    piece: list[int] = [-1] * count
    for node in order:  # not before anything it needs
        earliest = max((piece[k] if k not in number else number[k] + 1 for k in before[node]), default=-1)
        piece[node] = number[node] if node in number else min(earliest, last) if earliest >= 0 else -1
    for node in reversed(order):  # what only feeds others stands where it is used first
        if piece[node] < 0:
            used = [piece[k] for k in after[node] if piece[k] >= 0]
            piece[node] = min(used) if used else 0
    found: list[list[int]] = [[] for _ in range(last + 1)]
    for node in range(count):
        found[piece[node]].append(node)
    return [members for members in found if members]


def components(members: Sequence[int], edges: Edges) -> list[list[int]]:
    """Return the members in groups that edges among them join, each in order.

    Examples
    --------
    >>> components([1, 2, 3, 4], [(1, 3), (0, 2), (0, 4)])
    [[1, 3], [2], [4]]
    """
    root = {k: k for k in members}

    def find(k: int) -> int:
        while root[k] != k:
            root[k] = root[root[k]]
            k = root[k]
        return k

    for tail, head in edges:
        if tail in root and head in root:
            a, b = find(tail), find(head)
            root[max(a, b)] = min(a, b)
    found: dict[int, list[int]] = {}
    for k in members:
        found.setdefault(find(k), []).append(k)
    return list(found.values())


def merkle(count: int, edges: Edges, keys: Sequence[Hashable]) -> list[int]:
    """Return a number for each node that tells its key and everything that leads to it inside the graph.

    Equal numbers mean equal trees of inputs, compared exactly: they are places in a table, not hashes.
    """
    order, forward = topological(count, edges)
    before: list[list[int]] = [[] for _ in range(count)]
    for tail, head in forward:
        before[head].append(tail)
    table: dict[Hashable, int] = {}
    found = [0] * count
    for node in order:
        entry = (keys[node], tuple(sorted(found[k] for k in before[node])))
        found[node] = table.setdefault(entry, len(table))
    return found


def tandem(keys: Sequence[Hashable], weights: Sequence[int], most: int = 24) -> tuple[int, int, int] | None:
    """Return (start, period, times) of the repeated stretch of a sequence that covers the most weight.

    Parameters
    ----------
    keys : sequence
        What the items are.
    weights : sequence of int
        What they count.
    most : int
        Periods that are tried, the most frequent distances between equal items first.

    Returns
    -------
    (start, period, times) or None
        With the shortest period that covers it, two times or more. Where the stretch may begin in several places, each
        repetition ends with its heaviest item, as a residual block ends with its sum.

    Examples
    --------
    >>> tandem("xababy", [1] * 6)
    (1, 2, 2)
    >>> tandem("abc", [1] * 3) is None
    True
    """
    last: dict[Hashable, int] = {}
    distance: dict[int, int] = {}
    for k, key in enumerate(keys):
        if key in last:
            distance[k - last[key]] = distance.get(k - last[key], 0) + weights[k]
        last[key] = k
    sums = [0]
    for weight in weights:
        sums.append(sums[-1] + weight)
    best: tuple[int, int, int, int] | None = None  # weight covered, minus period, start, length
    for period in sorted(sorted(distance, key=lambda p: -distance[p])[:most]):
        begin = None
        for k in range(len(keys) - period + 1):
            same = k < len(keys) - period and keys[k] == keys[k + period]
            if same and begin is None:
                begin = k
            if not same and begin is not None:
                length = (k - begin + period) // period * period
                if length >= 2 * period:
                    covered = sums[begin + length] - sums[begin]
                    if best is None or (covered, -period) > best[:2]:
                        best = covered, -period, begin, k - begin + period
                begin = None
    if best is None:
        return None
    period, start, length = -best[1], best[2], best[3]
    times = length // period
    spare = min(length - times * period, period - 1)
    shifts = range(spare + 1)
    shift = max(shifts, key=lambda s: (weights[start + s + period - 1], -s))
    return start + shift, period, times


def convex(edges: Edges, count: int, together: bool = True) -> Callable[[Sequence[int]], bool]:
    """Return a function that says whether some nodes hang together and no path leaves them and comes back.

    Such nodes can be drawn as one box without a wire that turns round. Without `together` they need not hang together.

    Examples
    --------
    >>> fits = convex([(0, 1), (1, 2), (0, 2), (3, 4)], 5)
    >>> fits([0, 1]), fits([0, 2]), fits([2, 3])
    (True, False, False)
    """
    order, forward = topological(count, edges)
    place = {node: k for k, node in enumerate(order)}
    after: list[list[int]] = [[] for _ in range(count)]
    near: list[list[int]] = [[] for _ in range(count)]
    for tail, head in forward:
        after[tail].append(head)
        near[tail].append(head)
        near[head].append(tail)

    def fits(members: Sequence[int]) -> bool:
        own = set(members)
        if together and len(_spread(members[:1], near, own)) < len(own):
            return False
        last = max(place[k] for k in own)
        left = [head for k in own for head in after[k] if head not in own and place[head] < last]
        seen: set[int] = set()
        while left:
            here = left.pop()
            if here in own:
                return False
            if here not in seen:
                seen.add(here)
                left += [head for head in after[here] if place[head] <= last]
        return True

    return fits


def _spread(start: Sequence[int], near: Sequence[Sequence[int]], own: set[int]) -> set[int]:
    seen, waiting = set(start), list(start)
    while waiting:
        for k in near[waiting.pop()]:
            if k in own and k not in seen:
                seen.add(k)
                waiting.append(k)
    return seen


# A whole tree of regions ------------------------------------------------------------------------------------------

Tree: TypeAlias = "list[int | Tree]"

MANY = 40
"""Nodes side by side from which on regions are looked for."""
FEW = 4
"""Nodes of the smallest region."""
WIDE = 120
"""Regions side by side that are too many."""
DEEP = 12
"""Levels of regions in regions."""
RUNS = 64
"""Repeated stretches that are looked for side by side."""


class Planner:
    """Finds regions in regions; equal parts are looked at once."""

    def __init__(self) -> None:
        self.known: dict[Hashable, Tree] = {}

    def plan(self, members: Sequence[int], edges: Edges, keys: Sequence[Hashable], depth: int = 0) -> Tree:
        """Return the members in nested groups, everything in order.

        Parameters
        ----------
        members : sequence of int
            Nodes to group.
        edges : sequence of (tail, head)
            Edges among them; hubs are left out.
        keys : sequence
            What each node (of all) is.
        """
        if len(members) <= MANY or depth > DEEP:
            return list(members)
        local = {node: k for k, node in enumerate(members)}
        inner = [(local[tail], local[head]) for tail, head in edges if tail in local and head in local]
        about = tuple(keys[node] for node in members)
        question = about, tuple(inner)
        if question not in self.known:
            self.known[question] = self._plan(len(members), inner, about, depth)
        return _named(self.known[question], members)

    def _plan(self, count: int, edges: Edges, keys: Sequence[Hashable], depth: int) -> Tree:
        pieces = segments(count, edges)
        owner = {node: k for k, piece in enumerate(pieces) for node in piece}
        inner: list[list[tuple[int, int]]] = [[] for _ in pieces]
        for tail, head in edges:
            if owner[tail] == owner[head]:
                inner[owner[tail]].append((tail, head))
        largest = max(range(len(pieces)), key=lambda k: len(pieces[k]))
        if len(pieces[largest]) > 0.8 * count:
            # One piece holds nearly all: what is parallel in it is all there is to tell apart.
            ends = {max(pieces[largest], key=lambda node: sum(edge[1] == node for edge in inner[largest]))}
            rest = [node for node in pieces[largest] if node not in ends]
            branches = components(rest, inner[largest])
            if len(branches) < 2:
                return _chunks([[[node]] for node in range(count)])
            result: Tree = [node for k, piece in enumerate(pieces) if k < largest for node in piece]
            for branch in branches:
                result += self._group(branch, inner[largest], keys, depth)
            return [*result, *sorted(ends), *(node for piece in pieces[largest + 1 :] for node in piece)]
        alike = merkle(count, [edge for part in inner for edge in part], keys)
        return self._row(pieces, inner, keys, [tuple(sorted(alike[n] for n in piece)) for piece in pieces], depth)

    def _group(self, members: Sequence[int], edges: Edges, keys: Sequence[Hashable], depth: int) -> Tree:
        """Return a group of its own, or the members where they are few."""
        if len(members) < FEW:
            return list(members)
        return [self.plan(members, edges, keys, depth + 1)]

    def _row(
        self,
        pieces: Sequence[Sequence[int]],
        inner: Sequence[Edges],
        keys: Sequence[Hashable],
        alike: Sequence[Hashable],
        depth: int,
    ) -> Tree:
        """Group pieces that follow each other: first what repeats, then each piece of some size."""
        units: list[list[Tree]] = []
        done = 0
        for start, period, times in _runs(alike, pieces):
            units += self._each(pieces[done:start], inner[done:start], keys, depth)
            done = start + period * times
            run: list[Tree] = []
            for k in range(start, done, period):
                members = [node for piece in pieces[k : k + period] for node in piece]
                if period == 1:
                    run.append(self._group(members, inner[k], keys, depth))
                    continue
                small = len(members) <= MANY
                each = self._each(pieces[k : k + period], inner[k : k + period], keys, depth)
                inside: Tree = [*members] if small else _flat(each)
                run.append([inside])
            units.append(run)
        return _chunks([*units, *self._each(pieces[done:], inner[done:], keys, depth)])

    def _each(
        self, pieces: Sequence[Sequence[int]], inner: Sequence[Edges], keys: Sequence[Hashable], depth: int
    ) -> list[list[Tree]]:
        return [[self._group(piece, among, keys, depth)] for piece, among in zip(pieces, inner, strict=True)]


def _runs(alike: Sequence[Hashable], pieces: Sequence[Sequence[int]]) -> list[tuple[int, int, int]]:
    """Return the stretches that repeat, as (start, period, times) in order, those that cover most first chosen."""
    sizes = [len(piece) for piece in pieces]
    waiting = [(0, len(pieces))]
    found: list[tuple[int, int, int]] = []
    while waiting and len(found) < RUNS:
        low, high = waiting.pop()
        run = tandem(alike[low:high], sizes[low:high]) if high - low > 1 else None
        if run is None or sum(sizes[low + run[0] : low + run[0] + run[1]]) < FEW:
            continue
        start, end = low + run[0], low + run[0] + run[1] * run[2]
        found.append((start, run[1], run[2]))
        waiting += [(low, start), (end, high)]
    return sorted(found)


def _chunks(units: list[list[Tree]]) -> Tree:
    """Return everything side by side, in groups of groups where that is too much; a unit counts as one thing."""
    while len(units) > WIDE:
        size = max(FEW, min(WIDE // 2, round(len(units) ** 0.5)))
        units = [[[_flat(units[k : k + size])]] for k in range(0, len(units), size)]
    return _flat(units)


def _flat(units: Sequence[Sequence[Tree]]) -> Tree:
    return [part for unit in units for tree in unit for part in tree]


def _named(tree: Tree, members: Sequence[int]) -> Tree:
    return [_named(part, members) if isinstance(part, list) else members[part] for part in tree]
