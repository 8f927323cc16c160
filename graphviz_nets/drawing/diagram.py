"""Diagram: what is shown, without coordinates. Boxes nest in groups, wires join boxes, small layers fold into rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from graphviz_nets.config import Options
from graphviz_nets.drawing.bodies import Opened, with_bodies
from graphviz_nets.drawing.captions import between, caption, shape_text, short
from graphviz_nets.drawing.leaves import Edge, Leaf, edges, leaves
from graphviz_nets.drawing.theme import kind_of
from graphviz_nets.drawing.tree import Fold, Item, Place, Tree
from graphviz_nets.drawing.weights import Weight, weights_of
from graphviz_nets.graph import cost, regions
from graphviz_nets.graph.ir import Model, Node, count
from graphviz_nets.graph.scopes import Path


@dataclass(frozen=True)
class Row:
    """A layer that is drawn as an extra row of the box whose output it changes."""

    id: str
    title: str
    type: str
    kind: str
    caption: tuple[str, ...]
    details: Mapping[str, Any]


@dataclass(frozen=True)
class Box:
    """A thing that is drawn as one rectangle.

    Attributes
    ----------
    id : str
        ``data-id`` of the page: scope path or node name.
    shown_as : {"node", "scope", "fold", "stub"}
        ``data-kind`` of the page.
    title, type : str
        The name as shown, and the source's type.
    kind : str
        Family of operations, which gives the colour.
    caption : tuple of str
        Words on size and settings, to be wrapped.
    rows : tuple of Row
        Layers folded into this box.
    group : Group or None
        What is inside, where the box is open.
    members : int
        How many boxes it would hold if it opened; 0 for a leaf.
    details : mapping
        All that is known, for a panel or tooltip; JSON-able.
    value : float or None
        Overlay value.
    times : int
        How many equal ones it stands for.
    look : int
        Boxes with one number are equal but for names and weights; -1 for none.
    closed : Box or None
        How an open box looks when it is closed, where a page is to do that.
    """

    id: str
    shown_as: str
    title: str
    type: str
    kind: str
    caption: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    group: Group | None = None
    members: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)
    value: float | None = None
    times: int = 1
    look: int = -1
    closed: Box | None = None


@dataclass(frozen=True)
class Link:
    """A connection between two shown boxes, wherever they are.

    Attributes
    ----------
    source, target : str
        Box ids.
    values : tuple of str
        Names of the values that flow, as the source calls them.
    label : str
        What the wire says.
    control : bool
        An order, not a value.
    key : str
        Links with one key share their way through the borders of groups.
    size : int
        Elements of the (largest) value; 0 where unknown.
    """

    source: str
    target: str
    values: tuple[str, ...]
    label: str = ""
    control: bool = False
    key: str = ""
    size: int = 0


@dataclass(frozen=True)
class Wire:
    """The part of a link inside one group: from a box, or the group's border (``""``), to another.

    `source_port` and `target_port` name the place on an open box's border, or on the group's own.
    """

    source: str
    target: str
    source_port: str = ""
    target_port: str = ""
    label: str = ""
    control: bool = False
    values: tuple[str, ...] = ()
    size: int = 0


@dataclass(frozen=True)
class Group:
    """Boxes side by side and the wires between them; `ins` and `outs` are the ports on its border."""

    boxes: tuple[Box, ...]
    wires: tuple[Wire, ...] = ()
    ins: tuple[str, ...] = ()
    outs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Diagram:
    """What a picture shows.

    Attributes
    ----------
    root : Group
        The outermost group.
    links : tuple of Link
        All connections between shown boxes, whole.
    rankdir : str
        TB, BT, LR or RL.
    overlay : (str, float, float) or None
        What the overlay shows and its range.
    """

    root: Group
    links: tuple[Link, ...]
    title: str
    rankdir: str
    framework: str
    totals: Mapping[str, int | None]
    overlay: tuple[str, float, float] | None = None
    problems: tuple[str, ...] = ()


MOST = 6000
"""Boxes that a page can open."""
APART = 300
"""Boxes of an auxiliary group that a page can open: the gradients of a large net take longer than the net itself."""


def boxes(group: Group) -> Iterator[Box]:
    """Yield every box of a group and of the open groups inside, outer ones first, in order."""
    waiting = list(reversed(group.boxes))
    while waiting:
        box = waiting.pop()
        yield box
        if box.group is not None:
            waiting += reversed(box.group.boxes)


# From the model to boxes ------------------------------------------------------------------------------------------


def diagram(model: Model, options: Options | None = None) -> Diagram:
    """Decide what a picture of the model shows.

    Parameters
    ----------
    model : Model
        With shapes where they are to be shown.
    options : Options, optional
        All but those on the picture's look (`theme`, `scale`, `background`, `font`, `aspect`) matter here.

    Examples
    --------
    >>> from graphviz_nets.graph.builder import Builder
    >>> op = Builder("two")
    >>> y = op.Neg(op.Sigmoid(op.Relu(op.input("x", "float32", (1, 8)))))
    >>> [(box.title, len(box.rows)) for box in boxes(diagram(op.model([y])).root)]
    [('x', 0), ('Relu', 1), ('Neg', 0)]
    """
    return Plan(model, options or Options()).diagram()


class Plan:
    """A model made ready to be drawn, more or less open."""

    def __init__(self, model: Model, options: Options) -> None:
        self.totals = cost.Costs(model).summary().totals
        opened = with_bodies(model) if options.group != "none" else Opened(model)
        model = opened.model
        self.model = model
        self.options = options
        self.costs = cost.Costs(model)
        self.costs.repeat(opened.times)
        self.leaves = leaves(model, options)
        self.wiring = list(edges(model, self.leaves))
        self.tree = Tree(model, [leaf for leaf in self.leaves if leaf.into is None], self.wiring, options)

    def diagram(self) -> Diagram:
        """Return what a picture shows."""
        return self._drawn(False)

    def whole(self) -> Diagram:
        """Return all that a page can show: everything open, as far as `MOST` boxes go, runs by their first members.

        Each open box has its closed form beside it.
        """
        tree = self.tree
        before = tree.opened, tree.known
        tree.opened = tree.opened | tree.within(MOST, layers=True, auxiliary=APART)
        tree.known = {}
        try:
            return self._drawn(True)
        finally:
            tree.opened, tree.known = before

    def weights(self, ids: Container[str]) -> dict[str, tuple[Weight, ...]]:
        """Return what the numbers of the weights are like in those of the boxes and rows that are told of."""
        return weights_of(self.model, [leaf for leaf in self.leaves if leaf.id in ids], self.costs.roles)

    def _drawn(self, both: bool) -> Diagram:
        model, options = self.model, self.options
        root = _Maker(model, self.tree, self.costs, options, both).root()
        links = _links(model, self.wiring, self.tree, options)
        links, apart = _apart(links, self.tree)
        if options.hubs or options.stubs or apart:
            root, links = _with_stubs(root, links, options, apart)
        root = _with_wires(root, links)
        seen = [box.value for box in boxes(root) if box.value is not None]
        return Diagram(
            root,
            links,
            model.name if options.title is None else options.title,
            options.rankdir,
            model.framework,
            self.totals,
            (options.overlay_title, min(seen), max(seen)) if seen else None,
            model.problems,
        )


class _Maker:
    """Makes the boxes of a diagram from its tree; with `both`, open ones with their closed form."""

    def __init__(self, model: Model, tree: Tree, costs: cost.Costs, options: Options, both: bool) -> None:
        self.model = model
        self.tree = tree
        self.costs = costs
        self.options = options
        self.both = both
        items: list[Item] = [*tree.groups.values(), *tree.leaves.values()]
        looks = Counter(item.look for item in items)
        self.repeated = {look for look, count in looks.items() if count > 1 and look >= 0}

    def root(self) -> Group:
        """Return all boxes, without wires."""
        tree = self.tree
        order: list[Place] = []
        waiting = [tree.root]
        while waiting:
            place = waiting.pop()
            order.append(place)
            waiting += [child for child in tree.shown(place) if isinstance(child, Place) and child in tree.opened]
        made: dict[Place, Group] = {}
        for place in reversed(order):
            inside = [
                self.leaf(child, place) if isinstance(child, Leaf) else self.group(child, made.get(child))
                for child in tree.shown(place)
            ]
            made[place] = Group(tuple(inside))
        return made[tree.root]

    def leaf(self, leaf: Leaf, above: Place) -> Box:
        """Return the box of a leaf, which may stand for a run of equal ones."""
        fold, options = self.tree.folded(leaf), self.options
        title = _title(leaf.name, above.path)
        row = self.row(leaf)
        details = self.details(leaf, row)
        if fold is not None:
            last = fold.members[-1]
            title = between(title, _title(last.name if isinstance(last, Leaf) else last.title, above.path))
            details |= _fold_details(fold)
        return Box(
            leaf.id,
            "node" if fold is None and leaf.shown_as == "node" else "stub" if fold is None else "fold",
            title,
            leaf.type,
            kind_of(leaf.type),
            self.words(leaf, row) + _figures(row, options) + _said(fold),
            tuple(self.inner(inner, above) for inner in leaf.rows),
            members=0 if fold is None else len(fold.members),
            times=1 if fold is None else len(fold.members),
            look=leaf.look,
            details=details,
            value=self.value(leaf),
        )

    def inner(self, leaf: Leaf, above: Place) -> Row:
        """Return a leaf as a row of another's box."""
        row = self.row(leaf)
        title = _title(leaf.name, above.path)
        return Row(leaf.id, title, leaf.type, kind_of(leaf.type), self.words(leaf, row), self.details(leaf, row))

    def group(self, place: Place, group: Group | None) -> Box:
        """Return the box of a group, which may stand for a run of equal ones."""
        fold, tree = self.tree.folded(place), self.tree
        leaves = list(tree.members(place))
        layers = [item for leaf in leaves for item in (leaf, *leaf.rows)]
        nodes = [node for item in layers for part in (item, *item.hidden) for node in part.nodes]
        row = self.costs.row(place.path[:-1], place.title, "", nodes, place.scope, place.id) if nodes else None
        if place.layer:
            return self.layer(place, group, row, nodes)
        number = len({id(_layer(item) or item) for item in layers})
        words = f"{number} layers" if self.model.layers else f"{len(nodes)} nodes"
        kinds = {kind_of(leaf.type) for leaf in leaves}
        kinds = set() if place.auxiliary else kinds
        main = next((kind for kind in ("convolution", "recurrent", "linear") if kind in kinds), "other")
        details = _details(row, "group", ()) | {"layers": [item.name for item in layers]}
        details |= self.classes(layers) | self.alike(place)
        title = place.title
        if fold is not None:
            last = fold.members[-1]
            assert isinstance(last, Place)
            title = title if place.inferred and " … " in title else between(title, last.title)
            details |= _fold_details(fold)
        closed = Box(
            place.id,
            "scope" if fold is None else "fold",
            title,
            place.scope.type if place.scope is not None else "",
            main,
            (words, *(() if place.auxiliary else _figures(row, self.options)), *_said(fold)),
            members=len(tree.shown(place)),
            times=1 if fold is None else len(fold.members),
            look=place.look,
            details=details,
            value=self.value(place),
        )
        return self.opened(closed, place, group)

    def layer(self, place: Place, group: Group | None, row: cost.Row | None, nodes: Sequence[Node]) -> Box:
        """Return the box of a layer that opens to its operations; closed, it looks as any layer."""
        fold, type_ = self.tree.folded(place), place.scope.type if place.scope is not None else ""
        words = caption(type_, row.attributes) if row is not None and "attrs" in self.options.show else ()
        title, details = place.title, _details(row, type_, nodes) | self.alike(place)
        if fold is not None:
            title = between(title, _title(_name(fold.members[-1]), place.path[:-1]))
            details |= _fold_details(fold)
        closed = Box(
            place.id,
            "node" if fold is None else "fold",
            title,
            type_,
            kind_of(type_),
            (*words, *_figures(row, self.options), *_said(fold)),
            members=len(self.tree.shown(place)),
            times=1 if fold is None else len(fold.members),
            look=place.look,
            details=details,
            value=self.value(place),
        )
        return self.opened(closed, place, group)

    def opened(self, closed: Box, place: Place, group: Group | None) -> Box:
        """Return the closed box of a place, or, around what it holds, the open one."""
        if group is None:
            return closed
        own = self.options.overlay.get(place.id)
        return replace(closed, kind="", caption=(), group=group, value=own, closed=closed if self.both else None)

    def row(self, leaf: Leaf) -> cost.Row | None:
        """Return what a leaf costs; None for an input."""
        if leaf.scope is None and not leaf.nodes:
            return None
        path = leaf.scope.path[:-1] if leaf.scope is not None else leaf.nodes[0].scope
        found = self.costs.row(path, leaf.name, leaf.type, leaf.nodes, leaf.scope)
        if leaf.scope is not None or not leaf.hidden:
            return found
        # Weights may come through operations that only read them.
        whole = self.costs.row(path, "", "", [*leaf.nodes, *(node for item in leaf.hidden for node in item.nodes)])
        return replace(found, parameters=whole.parameters, buffers=whole.buffers, weight_bytes=whole.weight_bytes)

    def words(self, leaf: Leaf, row: cost.Row | None) -> tuple[str, ...]:
        """Return a leaf's settings as words."""
        if "attrs" not in self.options.show or row is None:
            return ()
        shape = self.model.graph.value(leaf.outputs[0]).shape if leaf.outputs else None
        return caption(leaf.type, row.attributes, max(len(shape) - 2, 1) if shape is not None and len(shape) > 2 else 2)

    def details(self, leaf: Leaf, row: cost.Row | None) -> dict[str, Any]:
        """Return all that is known of a leaf."""
        found = _details(row, leaf.type, leaf.nodes) if row is not None else _input_details(self.model, leaf)
        if leaf.outputs:
            found["dtype"] = self.model.graph.value(leaf.outputs[0]).dtype
        found |= _one_or_more("device", _devices([leaf])) | self.alike(leaf)
        return found | ({"folded": [item.id for item in leaf.hidden]} if leaf.hidden else {})

    def classes(self, leaves: Sequence[Leaf]) -> dict[str, Any]:
        """Return the element type and the device of what some leaves make, or a list where they are several."""
        types = (self.model.graph.value(leaf.outputs[0]).dtype for leaf in leaves if leaf.outputs)
        return _one_or_more("dtype", types) | _one_or_more("device", _devices(leaves))

    def alike(self, item: Item) -> dict[str, Any]:
        """Return the number that an item shares with those that are equal to it, nothing where none is."""
        return {"look": item.look} if item.look in self.repeated else {}

    def value(self, item: Item) -> float | None:
        """Return the overlay's value of a closed box: its own, else the sum over what it stands for."""
        given = self.options.overlay
        if not given:
            return None
        if item.id in given:
            return given[item.id]
        parts = [given[part.id] for leaf in self.tree.members(item) for part in (leaf, *leaf.rows) if part.id in given]
        return sum(parts) if parts else None


def _layer(leaf: Leaf) -> Place | None:
    """Return the open layer that a leaf is an operation of."""
    place = leaf.home.parent
    while place is not None and not place.layer:
        place = place.parent
    return place


def _name(item: Item) -> str:
    return item.name if isinstance(item, Leaf) else item.title


def _said(fold: Fold | None) -> tuple[str, ...]:
    """Return the words on a run of equal boxes."""
    return (f"{fold.weights} weights",) if fold is not None and fold.weights else ()


def _fold_details(fold: Fold) -> dict[str, Any]:
    names = [member.id for member in fold.members]
    return {"times": len(names), "members": names, "weights": fold.weights or "none", "chained": fold.chained}


def _title(name: str, above: Path) -> str:
    prefix = "/".join(above) + "/"
    return name[len(prefix) :] if above and name.startswith(prefix) and len(name) > len(prefix) else name


def _figures(row: cost.Row | None, options: Options) -> tuple[str, ...]:
    if row is None:
        return ()
    found = []
    if "params" in options.show and row.parameters:
        found.append(f"{short(row.parameters)} params")
    if "macs" in options.show and row.macs:
        found.append(f"{short(row.macs)} MACs")
    return tuple(found)


def _details(row: cost.Row | None, type_: str, nodes: Sequence[Node]) -> dict[str, Any]:
    if row is None:
        return {"type": type_}
    return {**row.document(), "type": type_, "ops": [node.label for node in nodes]}


def _devices(leaves: Sequence[Leaf]) -> Iterator[str | None]:
    """Yield where the operations of leaves and of their rows run, as far as a TensorFlow graph says."""
    return (node.metadata.get("device") for leaf in leaves for part in (leaf, *leaf.rows) for node in part.nodes)


def _one_or_more(key: str, values: Iterable[str | None]) -> dict[str, Any]:
    """Return a property that is one, or all of them under its plural."""
    found = sorted({value for value in values if value})
    return {f"{key}s": found} if len(found) > 1 else {key: found[0]} if found else {}


def _listed(shape: Any) -> list[Any] | None:
    return None if shape is None else list(shape)


def _input_details(model: Model, leaf: Leaf) -> dict[str, Any]:
    value = model.graph.value(leaf.outputs[0])
    return {
        "name": leaf.name,
        "type": leaf.type,
        "inputs": [],
        "outputs": [[value.source_name, _listed(value.shape)]],
    }


# Links and wires --------------------------------------------------------------------------------------------------


def _links(model: Model, edges: Iterable[Edge], tree: Tree, options: Options) -> tuple[Link, ...]:
    """Return the edges between what is shown, several between two closed boxes as one."""
    graph = model.graph
    found: dict[tuple[str, str, bool], dict[str, int]] = {}
    for edge in edges:
        source, source_like, one = tree.stands(edge.source)
        target, _, two = tree.stands(edge.target)
        if (one is not None or two is not None) and _same_run(tree, edge):
            continue
        ends = source.id, target.id
        if source is target and (isinstance(source, Place) or edge.source is not edge.target):
            continue
        name = edge.value
        if one is not None and not edge.control and name in edge.source.outputs:
            name = source_like.outputs[edge.source.outputs.index(name)]
        uses = found.setdefault((*ends, edge.control), {})
        uses[name] = 1 if one is not None or two is not None else uses.get(name, 0) + 1

    result: list[Link] = []
    for (source_id, target_id, control), uses in found.items():
        closed = source_id not in tree.leaves or target_id not in tree.leaves
        if control or (closed and len(uses) > 1):
            label = "" if control else f"{len(uses)} tensors" if "shapes" in options.show else ""
            names = tuple(graph.value(name).source_name for name in uses)
            key = f"{'control' if control else 'bundle'} {source_id} {target_id}"
            size = max((count(graph.value(name).shape) or 0 for name in uses), default=0)
            result.append(Link(source_id, target_id, names, label, control, key, size))
            continue
        for name, times in uses.items():
            value = graph.value(name)
            label = shape_text(value.shape) if "shapes" in options.show else ""
            label = f"{label} ×{times}".strip() if times > 1 else label
            size = count(value.shape) or 0
            result.append(Link(source_id, target_id, (value.source_name,), label, False, name, size))
    return tuple(result)


def _apart(links: Iterable[Link], tree: Tree) -> tuple[tuple[Link, ...], frozenset[Link]]:
    """Take out the links between the network and what only serves its training, which reads nearly everything.

    Returns
    -------
    (links, apart)
        Those that stay, and those among them that end in stubs: what an open auxiliary group reads, and what the
        network reads of one.
    """
    kept, apart = [], []
    for link in links:
        source, target = tree.apart(link.source), tree.apart(link.target)
        if source is target or (source is not None and target is not None):
            kept.append(link)
        elif not link.control and (target is None or target.id != link.target):
            kept.append(link)
            apart.append(link)
    return tuple(kept), frozenset(apart)


def _same_run(tree: Tree, edge: Edge) -> bool:
    """Say whether both ends of an edge are in members of one folded run, of which only the first is shown."""

    def runs(leaf: Leaf) -> list[Fold]:
        found = []
        here: Item | None = leaf
        while here is not None:
            if here.fold is not None and here.fold not in tree.unfolded:
                found.append(here.fold)
            here = here.parent
        return found

    others = runs(edge.target)
    return any(fold in others for fold in runs(edge.source))


def _chains(root: Group) -> tuple[dict[str, Group], dict[str, tuple[str, ...]]]:
    """Return the groups by the id of their box, and for each box the ids of the boxes around it and its own."""
    groups = {"": root} | {box.id: box.group for box in boxes(root) if box.group is not None}
    chains: dict[str, tuple[str, ...]] = {}
    for name, inside in groups.items():
        for box in inside.boxes:
            chains[box.id] = (*chains.get(name, ()), box.id)
    return groups, chains


def _parting(start: Sequence[str], end: Sequence[str]) -> int:
    """Return how many boxes are around both ends of a link."""
    common = 0
    while common < min(len(start), len(end)) - 1 and start[common] == end[common]:
        common += 1
    return common


def _with_stubs(
    root: Group, links: tuple[Link, ...], options: Options, apart: frozenset[Link]
) -> tuple[Group, tuple[Link, ...]]:
    """Replace the wires of a box that is used far and wide, and those in `apart`, by a stub at each use."""
    groups, chains = _chains(root)
    meeting = [_parting(chains[link.source], chains[link.target]) for link in links]
    by_group: dict[str, list[tuple[str, str]]] = {}
    for link, common in zip(links, meeting, strict=True):
        start, end = chains[link.source], chains[link.target]
        by_group.setdefault(start[common - 1] if common else "", []).append((start[common], end[common]))
    hubs: set[str] = set()
    for name, pairs in by_group.items():
        members = [box.id for box in groups[name].boxes]
        index = {box: k for k, box in enumerate(members)}
        if options.hubs:
            local = sorted({(index[a], index[b]) for a, b in pairs if a != b})
            hubs.update(members[k] for k in regions.hubs(len(members), local))

    def wanted(link: Link, common: int) -> bool:
        names = {link.source, chains[link.source][common]}
        if link in apart:
            return True
        if any(fnmatchcase(name, pattern) for name in names for pattern in options.stubs):
            return True
        kept = any(fnmatchcase(name, pattern) for name in names for pattern in options.wires)
        return not kept and chains[link.source][common] in hubs

    known = {box.id: box for box in boxes(root)}
    before: dict[str, list[Box]] = {}  # stubs by the box that uses them
    uses: dict[str, int] = {}
    result = []
    for link, common in zip(links, meeting, strict=True):
        if link.source == link.target or not wanted(link, common):
            result.append(link)
            continue
        source = known[link.source]
        uses[source.id] = uses.get(source.id, 0) + 1
        base = name = f"{link.source} → {link.target}"
        while name in known:
            name = f"{base}#{uses[source.id]}"
        stub = Box(name, "stub", source.title, "", source.kind, details={"type": "stub", "stub_of": source.id})
        known[name] = stub
        before.setdefault(link.target, []).append(stub)
        result.append(replace(link, source=name, key=f"stub {name}"))
    if not uses:
        return root, links
    done: dict[str, Group] = {}
    for name in sorted(groups, key=lambda name: -len(chains.get(name, ()))):
        inside: list[Box] = []
        for box in groups[name].boxes:
            inside += before.get(box.id, [])
            times = uses.get(box.id)
            where = "1 place" if times == 1 else f"{times} places"
            said = (f"used in {where}",) if times is not None and box.group is None else ()
            changed = replace(box, caption=box.caption + said) if said else box
            inside.append(replace(changed, group=done[box.id]) if box.group is not None else changed)
        done[name] = Group(tuple(inside))
    return done[""], tuple(result)


def _with_wires(root: Group, links: Iterable[Link]) -> Group:
    """Cut every link into one wire a group it passes, with ports where it crosses a border."""
    groups, chains = _chains(root)
    wires: dict[str, dict[tuple[str, str, str, str], Wire]] = {name: {} for name in groups}
    ins: dict[str, dict[str, None]] = {name: {} for name in groups}
    outs: dict[str, dict[str, None]] = {name: {} for name in groups}

    def add(group: str, wire: Wire) -> None:
        place = wire.source, wire.source_port, wire.target, wire.target_port
        same = wires[group].get(place)
        # Parts that several links share say what they carry once.
        if same is None or not place[0] or place[1] or not place[2] or place[3]:
            wires[group].setdefault(place, wire)
        elif same != wire:
            wires[group][*place[:3], f"\0{len(wires[group])}"] = wire

    for link in links:
        start, end = chains[link.source], chains[link.target]
        common = _parting(start, end)
        label, control, values, size = link.label, link.control, link.values, link.size
        for level in range(len(start) - 1, common, -1):
            group = start[level - 1]
            outs[group][link.key] = None
            port = link.key if level < len(start) - 1 else ""
            add(group, Wire(start[level], "", port, link.key, "", control, values, size))
        for level in range(len(end) - 1, common, -1):
            group = end[level - 1]
            ins[group][link.key] = None
            port = link.key if level < len(end) - 1 else ""
            add(group, Wire("", end[level], link.key, port, "", control, values, size))
        group = start[common - 1] if common else ""
        add(
            group,
            Wire(
                start[common],
                end[common],
                link.key if len(start) - 1 > common else "",
                link.key if len(end) - 1 > common else "",
                label,
                control,
                values,
                size,
            ),
        )

    done: dict[str, Group] = {}
    for name in sorted(groups, key=lambda name: -len(chains.get(name, ()))):
        members = tuple(
            replace(box, group=done[box.id]) if box.group is not None else box for box in groups[name].boxes
        )
        done[name] = Group(members, tuple(wires[name].values()), tuple(ins[name]), tuple(outs[name]))
    return done[""]
