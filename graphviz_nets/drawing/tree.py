"""The tree of groups: from the model's scopes, from names and structure where those are missing; equal ones fold."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TypeAlias

from graphviz_nets.config import Options
from graphviz_nets.drawing.captions import NUMBER, between
from graphviz_nets.drawing.leaves import Edge, Leaf
from graphviz_nets.drawing.looks import Looks
from graphviz_nets.errors import PictureWarning
from graphviz_nets.graph import regions
from graphviz_nets.graph.families import families
from graphviz_nets.graph.ir import Model
from graphviz_nets.graph.scopes import Path, Scope

BOXES = 60
"""Groups open by themselves, a whole level at a time, while no more boxes than this are shown."""

DEEPEST = 40
"""Path parts beyond this depth are one name."""

GROUPED = 24
"""Boxes side by side from which on names are searched for families."""
SMALL = 10
"""Boxes side by side that are not divided further."""
LEAVES = 40
"""Boxes side by side from which on a run of equal single boxes folds."""

SERIES = 5
"""Numbered operations of one kind, side by side, from which on they are a group, as in TensorBoard."""
LONGEST = 200
"""Numbered operations among which stretches are looked for, where they are no series all together."""

Item: TypeAlias = "Place | Leaf"
Pairs: TypeAlias = "list[tuple[Item, Item]]"


@dataclass(eq=False)
class Place:
    """A group: a scope of the model, or an inferred one.

    Attributes
    ----------
    id : str
        Unique among groups and leaves.
    title : str
        As shown below its parent.
    path : tuple of str
        Of the scope; that of the nearest scope around an inferred group.
    ins, outs : mapping of value name to number of uses
        What crosses the border.
    """

    id: str
    title: str
    path: Path
    scope: Scope | None = None
    inferred: bool = False
    parent: Place | None = None
    children: list[Item] = field(default_factory=list)
    folds: list[Fold] = field(default_factory=list)
    fold: Fold | None = None
    number: int = 0
    rank: int = 0
    look: int = -1
    ins: dict[str, int] = field(default_factory=dict)
    outs: dict[str, int] = field(default_factory=dict)

    @property
    def layer(self) -> bool:
        """Whether it is a layer of the source, which holds operations."""
        return self.scope is not None and self.scope.kind == "layer" and not self.inferred

    @property
    def auxiliary(self) -> bool:
        """Whether it only serves training and storing; such a group stands apart and opens when it is asked for."""
        return self.scope is not None and self.scope.kind == "auxiliary"

    @cached_property
    def order(self) -> list[Item]:
        """The children in an order that equal groups share."""
        return sorted(self.children, key=lambda child: child.rank)

    @cached_property
    def index(self) -> dict[int, int]:
        """Places in that order, by object id."""
        return {id(child): k for k, child in enumerate(self.order)}


@dataclass(eq=False)
class Fold:
    """A run of equal siblings that is shown as one box, its first member standing for all."""

    members: list[Item]
    chained: bool
    weights: str = ""  # "shared", "distinct" or "partly shared"; empty where there are none

    @property
    def first(self) -> Item:
        """The member that stands for the others."""
        return self.members[0]


class Tree:
    """The groups of a picture: which exist, which are open, and what stands for a leaf."""

    def __init__(self, model: Model, shown: Sequence[Leaf], edges: Sequence[Edge], options: Options) -> None:
        self.root = Place("", "", ())
        self.framework = model.framework
        self.leaves = {leaf.id: leaf for leaf in shown}
        self.taken = set(self.leaves) | {row.id for leaf in shown for row in leaf.rows}
        self.groups: dict[str, Place] = {}
        self.opened: set[Place] = set()
        self.unfolded: set[Fold] = set()
        self.known: dict[int, tuple[Item, Leaf, Item | None]] = {}
        _build(self, model, shown)
        looks = Looks(model, shown, self._wires(shown, edges)) if options.group != "none" else None
        if looks is not None:
            self._infer(looks, edges, options)
        if not options.repeats or options.overlay:  # a value of each member is to be seen
            self.unfolded = self.folds
        self._open(options)

    def add(self, place: Place, parent: Place) -> None:
        """Put a new group into the tree; its id is made unique."""
        base, number = place.id, 2
        while place.id in self.taken or place.id in self.groups:
            place.id, number = (f"{base}/" if number == 2 else f"{base}/#{number}"), number + 1
        self.groups[place.id] = place
        place.parent = parent

    def _infer(self, looks: Looks, edges: Sequence[Edge], options: Options) -> None:
        """Group what stands side by side in a crowd, inner groups first, and find out which groups are equal."""
        lifted = _lifted(edges)
        waiting: list[tuple[Place, bool]] = [(self.root, False)]
        while waiting:
            place, ready = waiting.pop()
            if not ready:
                waiting.append((place, True))
                waiting += [(child, False) for child in place.children if isinstance(child, Place)]
                continue
            if options.group == "auto" and self.framework == "tensorflow":
                lifted[place] = self._line_up(place, lifted.get(place, []), looks)
            folds = _folds(looks, place)
            if options.group == "auto" and len(place.children) - sum(len(f.members) - 1 for f in folds) > GROUPED:
                for child in place.children:
                    child.fold = None
                self._divide(place, lifted.get(place, []), looks)
                folds = _folds(looks, place)
            place.folds = folds
            looks.group(place)

    def _divide(self, place: Place, pairs: Pairs, looks: Looks) -> None:
        """Give a group of many children groups inside: by names, then by structure; auxiliary ones stay."""
        aside = [child for child in place.children if isinstance(child, Place) and child.auxiliary]
        if aside:
            place.children = [child for child in place.children if child not in aside]
            pairs = [(a, b) for a, b in pairs if a not in aside and b not in aside]
        waiting, made = [(place, pairs, GROUPED)], []
        while waiting:
            here, among, limit = waiting.pop()
            if len(here.children) > limit:
                found = [(name, [here.children[k] for k in members]) for name, members in _families(here, among)]
                groups = [self._group(here, name, members) for name, members in found]
                inside, among = _raised(groups, among)
                waiting += [(group, inside[group], SMALL) for group in groups]
            made.append((here, among))
        for here, among in reversed(made):
            if len(here.children) > GROUPED:
                self._regions(here, among, looks)
            if here is not place:
                here.folds = _folds(looks, here)
                looks.group(here)
        place.children += aside

    def _line_up(self, place: Place, pairs: Pairs, looks: Looks) -> Pairs:
        """Group series of numbered operations; return the edges between what is then side by side."""
        while members := _series(place, pairs):  # one by one, for two together may turn a wire round
            first, last = (_sibling(leaf.name, place) for leaf in (members[0], members[-1]))
            group = self._group(place, f"{members[0].id}…{members[-1].id}", list(members))
            group.title = between(first, last)
            group.scope = Scope((*place.path, group.title), "series", type=members[0].type)
            group.folds = _folds(looks, group)
            looks.group(group)
            pairs = _raised([group], pairs)[1]
        return pairs

    def _group(self, parent: Place, name: str, members: list[Item]) -> Place:
        """Put some children of a group into a new one, in the place of the first."""
        place = Place(name, name, parent.path, inferred=True, children=members)
        self.add(place, parent)
        own = {id(child) for child in members}
        at = next(k for k, child in enumerate(parent.children) if id(child) in own)
        parent.children = [child for child in parent.children if id(child) not in own]
        parent.children.insert(at, place)
        place.number = min(child.number for child in members)
        place.rank = min(child.rank for child in members)
        for child in members:
            child.parent = place
        return place

    def _regions(self, place: Place, pairs: Pairs, looks: Looks) -> None:
        local = _local(place.children, pairs)
        skip = set(regions.hubs(len(place.children), local))
        children = list(place.children)
        keys = [child.look for child in children]
        order, forward = regions.topological(len(children), [edge for edge in local if edge[0] not in skip])
        nested = looks.planner.plan(order, forward, keys)
        place.children = []
        waiting: list[tuple[Place, regions.Tree]] = [(place, nested)]
        made: list[Place] = []
        while waiting:
            here, tree = waiting.pop()
            for part in tree:
                if not isinstance(part, list):
                    here.children.append(children[part])
                    children[part].parent = here
                    continue
                first, last = (children[k].id for k in _ends(part))
                title = between(_sibling(first, place), _sibling(last, place))
                new = Place(f"{first}…{last}", title, place.path, inferred=True)
                self.add(new, here)
                here.children.append(new)
                made.append(new)
                waiting.append((new, part))
        for new in reversed(made):
            new.children.sort(key=lambda child: child.number)
            new.number = min(child.number for child in new.children)
            new.rank = min(child.rank for child in new.children)
            new.folds = _folds(looks, new)
            looks.group(new)
        place.children.sort(key=lambda child: child.number)

    # What is open ------------------------------------------------------------------------------------------------

    def shown(self, place: Place) -> list[Item]:
        """Return the children of a group without the members that a fold's first one stands for."""
        return [
            child
            for child in place.children
            if child.fold is None or child.fold in self.unfolded or child is child.fold.first
        ]

    @property
    def folds(self) -> set[Fold]:
        """All runs of equal siblings."""
        return {fold for place in (self.root, *self.groups.values()) for fold in place.folds}

    def folded(self, item: Item) -> Fold | None:
        """Return the fold that an item stands for as its first member."""
        fold = item.fold
        return fold if fold is not None and fold not in self.unfolded and item is fold.first else None

    def _open(self, options: Options) -> None:
        if options.depth == "all":
            self.opened = {place for place in self.groups.values() if not _within_layer(place)}
            self.unfolded = self.folds
        else:
            self.opened = self.within(BOXES) if options.depth is None else self.within(None, int(options.depth))
        self._expand(options.expand)
        for pattern in options.collapse:
            found = [place for place in self.groups.values() if fnmatchcase(place.id, pattern)]
            self.opened.difference_update(found)
            if not found:
                _unmatched(pattern)

    def within(
        self, most: int | None, depth: int | None = None, layers: bool = False, auxiliary: int = 0
    ) -> set[Place]:
        """Return the groups of the upper levels, as many levels as show no more boxes, or so many levels.

        Layers that hold operations are among them only if that is asked for; of the auxiliary groups, those of at most
        so many boxes.
        """
        found: set[Place] = set()

        def inside(items: Iterable[Item]) -> list[Place]:
            places = [item for item in items if isinstance(item, Place) and (layers or not item.layer)]
            return [p for p in places if not p.auxiliary or sum(1 for _ in self.members(p)) <= auxiliary]

        count, level, done = len(self.shown(self.root)), inside(self.shown(self.root)), 0
        while level:
            children = [self.shown(place) for place in level]
            count += sum(len(kids) - 1 for kids in children)
            if (most is not None and count > most) or (depth is not None and done >= depth):
                break
            found |= set(level)
            level = inside(child for kids in children for child in kids)
            done += 1
        return found

    def apart(self, name: str) -> Place | None:
        """Return the outermost auxiliary group that is or holds what has this id."""
        here: Item | None = self.groups.get(name) or self.leaves.get(name)
        found = None
        while here is not None:
            found = here if isinstance(here, Place) and here.auxiliary else found
            here = here.parent
        return found

    def _wires(self, shown: Sequence[Leaf], edges: Sequence[Edge]) -> Sequence[Edge]:
        """Return the edges that may be wires: those between the network and what only serves its training are none."""
        apart = {id(leaf) for leaf in shown if self.apart(leaf.id) is not None}
        return [edge for edge in edges if (id(edge.source) in apart) == (id(edge.target) in apart)] if apart else edges

    def _expand(self, patterns: Sequence[str]) -> None:
        """Open what the patterns name and all around it; runs unfold where they name another member than the first."""
        items: list[Item] = [*self.groups.values(), *self.leaves.values()]
        for pattern in patterns:
            found = [item for item in items if fnmatchcase(item.id, pattern)]
            if not found:
                _unmatched(pattern)
            self.opened.update(item for item in found if isinstance(item, Place))
            for item in found:
                here: Item | None = item
                while here is not None and here.parent is not None:
                    if here.fold is not None and here is not here.fold.first:
                        self.unfolded.add(here.fold)
                    here = here.parent
                    if here is not self.root:
                        self.opened.add(here)

    def stands(self, leaf: Leaf) -> tuple[Item, Leaf, Item | None]:
        """Return what is shown for a leaf.

        Returns
        -------
        (item, like, member)
            The leaf itself or the outermost closed group around it; the leaf that is drawn in its place where it is
            part of a folded run; and the outermost member of a run, other than the first, that holds it.
        """
        known = self.known.get(id(leaf))
        if known is None:
            known = self.known[id(leaf)] = self._stands(leaf)
        return known

    def _stands(self, leaf: Leaf) -> tuple[Item, Leaf, Item | None]:
        chain: list[Item] = [leaf]
        while (above := chain[-1].parent) is not None:
            chain.append(above)
        for item in reversed(chain[:-1]):
            fold = item.fold
            if fold is not None and fold not in self.unfolded and item is not fold.first:
                shown, like, _ = self.stands(counterpart(item, fold.first, leaf))
                return shown, like, item
            if isinstance(item, Place) and item not in self.opened:
                return item, leaf, None
        return leaf, leaf, None

    def members(self, item: Item) -> Iterator[Leaf]:
        """Yield every leaf below an item, in order."""
        waiting = [item]
        while waiting:
            here = waiting.pop()
            if isinstance(here, Leaf):
                yield here
            else:
                waiting += reversed(here.children)


def counterpart(item: Item, other: Item, leaf: Leaf) -> Leaf:
    """Return the leaf of an equal item that stands where `leaf` stands in this one."""
    if item is leaf:
        assert isinstance(other, Leaf)
        return other
    here: list[Item] = [leaf]
    while here[-1] is not item:
        above = here[-1].parent
        assert above is not None
        here.append(above)
    for child, place in zip(reversed(here[:-1]), reversed(here[1:]), strict=True):
        assert isinstance(place, Place) and isinstance(other, Place)
        other = other.order[place.index[id(child)]]
    assert isinstance(other, Leaf)
    return other


def _within_layer(place: Place | None) -> bool:
    while place is not None and not place.layer:
        place = place.parent
    return place is not None


def _unmatched(pattern: str) -> None:
    warnings.warn(f"no group matches {pattern!r}", PictureWarning, stacklevel=2)


# Building ---------------------------------------------------------------------------------------------------------


def _build(tree: Tree, model: Model, shown: Sequence[Leaf]) -> None:
    """Make a group of every scope that holds more than one thing."""
    places: dict[Path, Place] = {(): tree.root}
    for leaf in shown:
        path = leaf.path
        if len(path) >= DEEPEST:
            path = (*path[: DEEPEST - 1], "/".join(path[DEEPEST - 1 :]))
        for size in range(1, len(path) + 1):
            own = path[:size]
            if own not in places:
                places[own] = Place("/".join(own), "", own, model.scopes.get(own), number=leaf.number)
                places[path[: size - 1]].children.append(places[own])
        places[path].children.append(leaf)
    # A group of one is no group: its child takes its place.
    for path in sorted(places, key=len, reverse=True):
        if path and len(places[path].children) == 1 and not places[path].layer and not places[path].auxiliary:
            only = places.pop(path).children[0]
            above = places[path[:-1]].children
            above[next(k for k, child in enumerate(above) if isinstance(child, Place) and child.path == path)] = only
    for place in places.values():
        for child in place.children:
            child.parent = place
        if place.path:
            tree.groups[place.id] = place
    for place in tree.groups.values():
        above_place = place.parent
        assert above_place is not None
        place.title = "/".join(place.path[len(above_place.path) :])
    for place in sorted(places.values(), key=lambda place: -len(place.path)):
        place.rank = min((child.rank for child in place.children), default=0)


def _lifted(edges: Iterable[Edge]) -> dict[Place, Pairs]:
    """Return the edges between the children of each group that the edges between leaves make."""
    depth: dict[Place, int] = {}

    def deep(place: Place) -> int:
        if place not in depth:
            depth[place] = 0 if place.parent is None else deep(place.parent) + 1
        return depth[place]

    found: dict[Place, dict[tuple[int, int], tuple[Item, Item]]] = {}
    for edge in edges:
        a: Item = edge.source
        b: Item = edge.target
        if a is b:
            continue
        over, under = a.parent, b.parent
        assert over is not None and under is not None
        while over is not under:
            if deep(over) >= deep(under):
                a, over = over, over.parent
            else:
                b, under = under, under.parent
            assert over is not None and under is not None
        if a is not b:
            found.setdefault(over, {})[id(a), id(b)] = a, b
    return {place: list(pairs.values()) for place, pairs in found.items()}


def _local(children: Sequence[Item], pairs: Pairs) -> list[tuple[int, int]]:
    index = {id(child): k for k, child in enumerate(children)}
    return sorted({(index[id(a)], index[id(b)]) for a, b in pairs})


def _raised(groups: Sequence[Place], pairs: Pairs) -> tuple[dict[Place, Pairs], Pairs]:
    """Return the edges inside each of some new groups, and those between the groups and what is beside them."""
    owner = {id(child): group for group in groups for child in group.children}
    inside: dict[Place, Pairs] = {group: [] for group in groups}
    raised: dict[tuple[int, int], tuple[Item, Item]] = {}
    for a, b in pairs:
        one, two = owner.get(id(a), a), owner.get(id(b), b)
        if one is not two:
            raised[id(one), id(two)] = one, two
        elif isinstance(one, Place):
            inside[one].append((a, b))
    return inside, list(raised.values())


def _sibling(name: str, place: Place) -> str:
    """Return what something is called below a group."""
    return name.removeprefix(f"{'/'.join(place.path)}/")


def _series(place: Place, pairs: Pairs) -> list[Leaf]:
    """Return a series: operations of one type, numbered one after the other: ``conv``, ``conv_1``, ``conv_2``, ...

    They are linked, or have an input or an output in common, and no path leaves them and comes back: as one box they
    have no wire that turns round.
    """
    numbered: dict[tuple[str, str, str], dict[int, int]] = {}
    for k, child in enumerate(place.children):
        if isinstance(child, Leaf) and child.nodes and child.scope is None:
            own, _, rest = _sibling(child.name, place).partition("/")
            name = re.sub(r"_\d{1,6}$", "", own)
            number = int(own[len(name) + 1 :] or 0)
            numbered.setdefault((name, rest, child.type), {}).setdefault(number, k)
    runs = [run for by_number in numbered.values() for run in _consecutive(by_number) if len(run) >= SERIES]
    if not runs:
        return []
    count, local = len(place.children), _local(place.children, pairs)
    convex = regions.convex(local, count, together=False)
    ends: list[set[tuple[str, str | int]]] = [{("from", name) for name in child.ins} for child in place.children]
    for tail, head in local:
        ends[tail].add(("to", head))
        ends[head].add(("from", tail))

    def fits(members: list[int]) -> bool:
        shared = ends[members[0]].intersection(*(ends[k] for k in members))
        return convex(members) and (bool(shared) or len(regions.components(members, local)) == 1)

    for run in runs:
        part = run if fits(run) else _fitting(run, fits) if len(run) <= LONGEST else []
        if part:
            return [leaf for k in part if isinstance(leaf := place.children[k], Leaf)]
    return []


def _consecutive(by_number: dict[int, int]) -> list[list[int]]:
    """Return what stands under numbers that follow each other.

    Examples
    --------
    >>> _consecutive({5: 50, 1: 10, 2: 20, 6: 60})
    [[10, 20], [50, 60]]
    """
    found: list[list[int]] = []
    for number in sorted(by_number):
        if number - 1 not in by_number:
            found.append([])
        found[-1].append(by_number[number])
    return found


def _fitting(run: list[int], fits: Callable[[list[int]], bool]) -> list[int]:
    """Return the first stretch of a run that fits, as long as it goes on fitting, if that makes a series."""
    found: list[int] = []
    for k in run:
        if not found or fits([*found, k]):
            found.append(k)
        elif len(found) >= SERIES:
            break
        else:
            found = [k]
    return found if len(found) >= SERIES else []


def _families(place: Place, pairs: Pairs) -> list[tuple[str, list[int]]]:
    count, local = len(place.children), _local(place.children, pairs)
    skip = set(regions.hubs(count, local))
    fits = regions.convex([edge for edge in local if edge[0] not in skip], count)
    names = [child.title if isinstance(child, Place) else _telling(child) for child in place.children]
    return families(names, lambda members: len(members) < count and fits(members))


def _telling(leaf: Leaf) -> str:
    """Return a leaf's name, or nothing where an exporter made it up from the operation: ``MatMul_17``."""
    last = leaf.name.rpartition("/")[2]
    made_up = bool(leaf.nodes) and leaf.scope is None and last.startswith((leaf.nodes[0].op_type, "node_"))
    return "" if made_up else leaf.name


def _ends(tree: regions.Tree) -> tuple[int, int]:
    first, last = tree[0], tree[-1]
    while isinstance(first, list):
        first = first[0]
    while isinstance(last, list):
        last = last[-1]
    return first, last


# Runs of equal siblings -------------------------------------------------------------------------------------------


def _folds(looks: Looks, place: Place) -> list[Fold]:
    """Find the runs of equal children: one after the other, or side by side between the same neighbours."""
    children = sorted(place.children, key=lambda child: child.rank)
    alike: dict[int, list[Item]] = {}
    for child in children:
        alike.setdefault(child.look, []).append(child)
    if all(len(items) < 2 for items in alike.values()):
        return []
    found: list[Fold] = []
    for _ in range(4):  # a run side by side may only show once a chain has folded, and the other way round
        crowd = bool(found) or len(children) > LEAVES
        new = [*_chains(looks, children, alike, 4 if crowd else len(children) + 1), *_parallel(looks, children, alike)]
        if not new:
            break
        found += new
    return found


def _maker(child: Item) -> int:
    """Return what stands for a child among its siblings: itself, or the first of its run."""
    return id(child.fold.first if child.fold is not None else child)


Makers: TypeAlias = "dict[str, Item]"
Users: TypeAlias = "dict[str, list[tuple[Item, int]]]"
Ways: TypeAlias = "frozenset[tuple[int, int]]"
Links: TypeAlias = "dict[int, tuple[Item, Ways]]"


def _wiring(children: Sequence[Item]) -> tuple[Makers, Users]:
    """Return who makes each value among siblings, and who uses it at which of its ports."""
    makers = {value: child for child in children for value in child.outs}
    users: Users = {}
    for child in children:
        for port, value in enumerate(child.ins):
            users.setdefault(value, []).append((child, port))
    return makers, users


def _sources(looks: Looks, child: Item, makers: Makers) -> list[tuple[object, ...]]:
    """Return where each input of a child comes from, in words that equal siblings share."""
    found: list[tuple[object, ...]] = []
    for value in child.ins:
        maker = makers.get(value)
        if maker is None:
            found.append(looks.outside(value))
        else:
            found.append((_maker(maker), list(maker.outs).index(value)))
    return found


def _uses(child: Item, users: Users) -> list[set[object]]:
    """Return who uses each output of a child."""
    found: list[set[object]] = []
    for value, uses in child.outs.items():
        here = users.get(value, [])
        inside = sum(user.ins[value] for user, _ in here)
        names: set[object] = {_maker(user) for user, _ in here}
        found.append(names | ({"outside"} if inside < uses else set()))
    return found


def _chains(looks: Looks, children: Sequence[Item], alike: dict[int, list[Item]], leaves: int) -> list[Fold]:
    """Find the runs of equal children each of which feeds the next; single boxes from a number of them on."""
    makers, users = _wiring(children)
    found: list[Fold] = []
    for items in alike.values():
        free = [item for item in items if item.fold is None]
        least = 2 if isinstance(items[0], Place) else leaves
        if len(free) < least:
            continue
        same = {id(item) for item in free}
        link: Links = {}
        before: dict[int, int] = {}
        for item in free:
            ways = [
                (user, (k, port)) for k, value in enumerate(item.outs) for user, port in users.get(value, ())
                if id(user) in same and user is not item
            ]  # fmt: skip
            following = {id(user): user for user, _ in ways}
            if len(following) == 1:
                (nxt,) = following.values()
                link[id(item)] = nxt, frozenset(way for _, way in ways)
                before[id(nxt)] = before.get(id(nxt), 0) + 1
        starts = [item for item in free if before.get(id(item), 0) != 1]
        seen: set[int] = set()
        for start in [*starts, *free]:
            chain = [start]
            while id(chain[-1]) not in seen and id(chain[-1]) in link:
                nxt, _ = link[id(chain[-1])]
                seen.add(id(chain[-1]))
                if before[id(nxt)] != 1 or id(nxt) in seen:
                    break
                chain.append(nxt)
            seen.add(id(chain[-1]))
            found += _split(looks, chain, link, makers, users, least)
    return found


def _split(
    looks: Looks, chain: Sequence[Item], link: Links, makers: Makers, users: Users, least: int
) -> Iterator[Fold]:
    """Cut a chain where a member is wired to its surroundings otherwise than those before it."""

    def around(item: Item, ways: Ways) -> tuple[object, ...]:
        """Return what an item is wired to beside the members before and after it."""
        heads, tails = {port for _, port in ways}, {k for k, _ in ways}
        after = {_maker(link[id(item)][0])} if id(item) in link else set()
        sources = [source for port, source in enumerate(_sources(looks, item, makers)) if port not in heads]
        return sources, [use - after for k, use in enumerate(_uses(item, users)) if k not in tails]

    start = 0
    while start < len(chain) - 1:
        end, ways = start, link[id(chain[start])][1]
        about = around(chain[start], ways)
        tails = {k for k, _ in ways}
        while end < len(chain) - 1 and link[id(chain[end])][1] == ways and around(chain[end + 1], ways) == about:
            after = _maker(chain[end + 1])
            if any(use != {after} for k, use in enumerate(_uses(chain[end], users)) if k in tails):
                break
            end += 1
        if end - start + 1 >= least:
            yield _fold_of(looks, list(chain[start : end + 1]), True)
            start = end + 1
        else:
            start = max(end, start + 1)


def _parallel(looks: Looks, children: Sequence[Item], alike: dict[int, list[Item]]) -> list[Fold]:
    """Find the equal children, three or more, that stand between the same neighbours and are called alike."""
    makers, users = _wiring(children)
    found: list[Fold] = []
    for items in alike.values():
        free = [item for item in items if item.fold is None]
        if len(free) < 3:
            continue
        sides: dict[object, list[Item]] = {}
        for item in free:
            sources = tuple(_sources(looks, item, makers))
            uses = tuple(
                frozenset(
                    (user.look, _maker(user)) if user.fold else (user.look, 0) for user, _ in users.get(value, ())
                )
                for value in item.outs
            )
            sides.setdefault((sources, uses, _pattern(item)), []).append(item)
        for run in sides.values():
            # Three operations whose names say nothing may well be a query, a key and a value.
            named = isinstance(run[0], Place) or bool(_telling(run[0]))
            if len(run) >= (3 if named else 4):
                found.append(_fold_of(looks, run, False))
    return found


def _pattern(item: Item) -> str:
    """Return a name with its numbers left out; an inferred group has none."""
    if isinstance(item, Place):
        return "" if item.inferred else NUMBER.sub("#", item.title)
    return NUMBER.sub("#", item.name) if NUMBER.search(item.name) else item.id


def _fold_of(looks: Looks, members: list[Item], chained: bool) -> Fold:
    fold = Fold(sorted(members, key=lambda item: item.number), chained, looks.weights(members))
    for item in fold.members:
        item.fold = fold
    return fold
