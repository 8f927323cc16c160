"""Diagram: what is shown, without coordinates. Boxes nest in groups, wires join boxes, small layers fold into rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from graphviz_nets.config import Options
from graphviz_nets.drawing.captions import caption, shape_text, short
from graphviz_nets.drawing.theme import kind_of
from graphviz_nets.graph import cost
from graphviz_nets.graph.ir import Model, Node
from graphviz_nets.graph.scopes import Path, Scope

BOXES = 60
"""Groups open by themselves, a whole level at a time, while no more boxes than this are shown."""

DEEPEST = 40
"""Path parts beyond this depth are one name."""


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
    shown_as : {"node", "scope", "stub"}
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
    """

    source: str
    target: str
    values: tuple[str, ...]
    label: str = ""
    control: bool = False
    key: str = ""


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


def boxes(group: Group) -> Iterator[Box]:
    """Yield every box of a group and of the open groups inside, outer ones first, in order."""
    waiting = list(reversed(group.boxes))
    while waiting:
        box = waiting.pop()
        yield box
        if box.group is not None:
            waiting += reversed(box.group.boxes)


# From the model to leaves -----------------------------------------------------------------------------------------


@dataclass
class _Leaf:
    """A layer, a node outside of layers, or a graph input, before folding."""

    id: str
    path: Path
    name: str
    type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    row: cost.Row | None = None
    nodes: tuple[Node, ...] = ()
    scope: Scope | None = None
    controls: tuple[str, ...] = ()
    shown_as: str = "node"
    into: _Leaf | None = None  # where it is folded
    rows: list[_Leaf] = field(default_factory=list)


def diagram(model: Model, options: Options | None = None) -> Diagram:
    """Decide what a picture of the model shows.

    Parameters
    ----------
    model : Model
        With shapes where they are to be shown.
    options : Options, optional
        `depth`, `expand`, `collapse`, `fold`, `group`, `show`, `overlay`, `rankdir` and `title` matter here.

    Examples
    --------
    >>> from graphviz_nets.graph.builder import Builder
    >>> op = Builder("two")
    >>> y = op.Neg(op.Sigmoid(op.Relu(op.input("x", "float32", (1, 8)))))
    >>> [(box.title, len(box.rows)) for box in boxes(diagram(op.model([y])).root)]
    [('x', 0), ('Relu', 1), ('Neg', 0)]
    """
    options = options or Options()
    summary = cost.summary(model)
    leaves = _leaves(model, summary, options.group == "none")
    if options.fold:
        _fold(model, leaves, frozenset(type_.lower() for type_ in options.fold_types))
    shown = [leaf for leaf in leaves if leaf.into is None]
    tree = _Tree(shown)
    tree.open(options)
    scopes = _scope_rows(model, tree) if tree.groups else {}
    values = _overlay(options.overlay, leaves, tree)
    root = tree.group((), model, options, scopes, values)
    links = _links(model, leaves, tree, options)
    root = _with_wires(root, links, tree)
    used = list(boxes(root))
    seen = [box.value for box in used if box.value is not None]
    return Diagram(
        root,
        links,
        model.name if options.title is None else options.title,
        options.rankdir,
        model.framework,
        summary.totals,
        (options.overlay_title, min(seen), max(seen)) if seen else None,
        model.problems,
    )


def _leaves(model: Model, summary: cost.Summary, flat: bool) -> list[_Leaf]:
    graph = model.graph
    rows = {row.id: row for row in summary.rows}
    layers = {scope.path: scope for scope in model.layers}
    inside: dict[Path, list[Node]] = {}
    loose: list[_Leaf] = []
    places = {scope.path for scope in model.scopes.values()} | {node.scope for node in graph.nodes}
    taken = {"/".join(path[:size]) for path in places for size in range(1, len(path) + 1)}

    def unique(name: str, path: Path) -> str:
        if name in taken and path not in layers:
            name = f"{name}/({name.rpartition('/')[2]})"
        base, number = name, 2
        while name in taken:
            name, number = f"{base}#{number}", number + 1
        taken.add(name)
        return name

    for node in graph.nodes:
        if node.scope in layers:
            inside.setdefault(node.scope, []).append(node)
    found: list[_Leaf] = []
    owned = {name for scope in layers.values() for name in scope.outputs}
    for name in graph.inputs:
        if name not in owned:
            found.append(_Leaf(unique(name, ()), (), graph.value(name).source_name, "Input", (), (name,)))
    for name in graph.undefined:
        title = graph.value(name).source_name
        found.append(_Leaf(unique(name, ()), (), title, "undefined", (), (name,), shown_as="stub"))
    for scope in layers.values():
        nodes = tuple(inside.get(scope.path, ()))
        made = {name for node in nodes for name in node.outputs}
        bottoms = [name for name in scope.inputs if name not in made]
        controls = tuple(dict.fromkeys(before for node in nodes for before in node.control_inputs))
        path = () if flat else scope.path[:-1]
        found.append(
            _Leaf(scope.id, path, scope.name, scope.type, tuple(bottoms), tuple(scope.outputs), rows.get(scope.id),
                  nodes, scope, controls)
        )  # fmt: skip
    for node in graph.nodes:
        if node.scope not in layers:
            data = tuple(name for name in node.inputs if name and name not in graph.initializers)
            path = () if flat else node.scope
            loose.append(
                _Leaf(unique(node.id, node.scope), path, node.name or node.op_type, node.label, data,
                      tuple(filter(None, node.outputs)), rows.get(node.id), (node,), None, node.control_inputs)
            )  # fmt: skip
    return found + loose


FOLDING = frozenset(
    "relu leakyrelu prelu relu6 elu selu sigmoid tanh bnll softplus swish hardswish hardsigmoid gelu clip mish dropout"
    .split()
)  # fmt: skip
"""Activations that fold into their producer where they are its only consumer."""


def _fold(model: Model, leaves: Sequence[_Leaf], types: frozenset[str]) -> None:
    """Mark in-place layers and lone activations as rows of their producer's box."""
    graph = model.graph
    maker = {name: leaf for leaf in leaves for name in leaf.outputs}
    users: dict[str, list[_Leaf]] = {}
    for leaf in leaves:
        for name in dict.fromkeys(leaf.inputs):
            users.setdefault(name, []).append(leaf)
    for leaf in leaves:
        if len(leaf.inputs) != 1 or len(leaf.outputs) != 1 or leaf.shown_as != "node":
            continue
        name = leaf.inputs[0]
        source = maker.get(name)
        if source is None or source is leaf or source.shown_as != "node" or len(users[name]) != 1:
            continue
        if len(source.outputs) != 1 or name in graph.outputs or leaf.controls:
            continue
        in_place = leaf.scope is not None and graph.value(name).source_name == graph.value(leaf.outputs[0]).source_name
        type_ = leaf.type.rpartition("::")[2].lower()
        lone = type_ in FOLDING and source.path == leaf.path and source.type != "Input"
        if in_place or lone or type_ in types:
            target = source.into or source
            if target is leaf:
                continue
            leaf.into = target
            target.rows.append(leaf)


class _Tree:
    """Groups of shown leaves: which exist, which are open, and who stands for a leaf."""

    def __init__(self, shown: Sequence[_Leaf]) -> None:
        self.leaves = {leaf.id: leaf for leaf in shown}
        children: dict[Path, list[Path | str]] = {(): []}
        place: dict[str, Path] = {}
        for leaf in shown:
            path = leaf.path[: DEEPEST - 1] + (
                ("/".join(leaf.path[DEEPEST - 1 :]),) if len(leaf.path) >= DEEPEST else ()
            )
            for size in range(len(path)):
                above, own = path[:size], path[: size + 1]
                if own not in children:
                    children[own] = []
                    children[above].append(own)
            children[path].append(leaf.id)
            place[leaf.id] = path
        # A group of one is no group: its child takes its place.
        for path in sorted(children, key=len, reverse=True):
            if path and len(children[path]) == 1:
                only = children.pop(path)[0]
                siblings = children[path[:-1]]
                siblings[siblings.index(path)] = only
        self.children = children
        self.parent: dict[Path | str, Path] = {child: path for path, kids in children.items() for child in kids}
        self.groups = [path for path in children if path]
        self.opened: set[Path] = set()

    def id(self, path: Path) -> str:
        """Return the id of a group."""
        return "/".join(path)

    def open(self, options: Options) -> None:
        """Decide which groups are open."""
        levels = self.levels()
        if options.depth == "all":
            self.opened = set(self.groups)
        elif options.depth is not None:
            self.opened = {path for level in levels[: int(options.depth)] for path in level}
        else:
            shown = len(self.children[()])
            for level in levels:
                shown += sum(len(self.children[path]) - 1 for path in level)
                if shown > BOXES:
                    break
                self.opened |= set(level)
        for path in self.groups:
            name = self.id(path)
            if any(fnmatchcase(name, pattern) for pattern in options.expand):
                while path:
                    self.opened.add(path)
                    path = self.parent[path]
        self.opened -= {
            path for path in self.groups if any(fnmatchcase(self.id(path), pattern) for pattern in options.collapse)
        }

    def levels(self) -> list[list[Path]]:
        """Return the groups by their depth in the tree."""
        result: list[list[Path]] = []
        level = [child for child in self.children[()] if isinstance(child, tuple)]
        while level:
            result.append(level)
            level = [child for path in level for child in self.children[path] if isinstance(child, tuple)]
        return result

    def members(self, path: Path) -> Iterator[_Leaf]:
        """Yield every leaf below a group."""
        waiting: list[Path | str] = [path]
        while waiting:
            here = waiting.pop()
            if isinstance(here, tuple):
                waiting += self.children[here]
            else:
                yield self.leaves[here]

    def names(self, path: Path) -> list[str]:
        """Return the names of all layers below a group, folded ones after their producers."""
        leaves = reversed(list(self.members(path)))
        return [item.name for leaf in leaves for item in (leaf, *leaf.rows)]

    def chain(self, leaf: _Leaf) -> list[Path | str]:
        """Return what is shown around a leaf, outermost first: open groups, then a closed group or the leaf itself."""
        above: list[Path | str] = []
        path = self.parent[leaf.id]
        while path:
            above.append(path)
            path = self.parent[path]
        above.reverse()
        for index, group in enumerate(above):
            if group not in self.opened:
                return above[: index + 1]
        return [*above, leaf.id]

    def group(
        self,
        root: Path,
        model: Model,
        options: Options,
        scopes: Mapping[str, cost.Row],
        values: Mapping[str, float],
    ) -> Group:
        """Build the boxes of a group and of the open groups inside, without wires."""
        made: dict[Path, Group] = {}
        waiting = [root]
        order: list[Path] = []
        while waiting:
            path = waiting.pop()
            order.append(path)
            waiting += [child for child in self.children[path] if isinstance(child, tuple) and child in self.opened]
        for path in reversed(order):
            inside: list[Box] = []
            for child in self.children[path]:
                if isinstance(child, str):
                    inside.append(_leaf_box(self.leaves[child], path, model, options, values))
                else:
                    inside.append(self._group_box(child, path, made.get(child), model, options, scopes, values))
            made[path] = Group(tuple(inside))
        return made[root]

    def _group_box(
        self,
        path: Path,
        above: Path,
        group: Group | None,
        model: Model,
        options: Options,
        scopes: Mapping[str, cost.Row],
        values: Mapping[str, float],
    ) -> Box:
        name = self.id(path)
        members = len(self.children[path])
        row = scopes.get(name)
        scope = model.scopes.get(path)
        words: tuple[str, ...] = ()
        if group is None:
            count = sum(1 + len(leaf.rows) for leaf in self.members(path))
            words = (f"{count} layers" if model.layers else f"{count} nodes",)
            words += _figures(row, options)
        kinds = [kind_of(leaf.type) for leaf in self.members(path)]
        main = next((kind for kind in ("convolution", "recurrent", "linear") if kind in kinds), "other")
        return Box(
            name,
            "scope",
            "/".join(path[len(above) :]),
            scope.type if scope is not None else "",
            main if group is None else "",
            words,
            group=group,
            members=members,
            details=_details(row, "group", ()) | {"layers": self.names(path)},
            value=values.get(name),
        )


def _leaf_box(leaf: _Leaf, above: Path, model: Model, options: Options, values: Mapping[str, float]) -> Box:
    words = caption(leaf.type, leaf.row.attributes, _rank(model, leaf)) if "attrs" in options.show and leaf.row else ()
    return Box(
        leaf.id,
        leaf.shown_as,
        _title(leaf.name, above),
        leaf.type,
        kind_of(leaf.type),
        words + _figures(leaf.row, options),
        tuple(
            Row(
                row.id,
                _title(row.name, above),
                row.type,
                kind_of(row.type),
                caption(row.type, row.row.attributes, 2) if "attrs" in options.show and row.row else (),
                _details(row.row, row.type, row.nodes),
            )
            for row in leaf.rows
        ),
        details=_details(leaf.row, leaf.type, leaf.nodes) if leaf.row else _input_details(model, leaf),
        value=values.get(leaf.id),
    )


def _rank(model: Model, leaf: _Leaf) -> int:
    """Return how many spatial dimensions a leaf works on, 2 where unknown."""
    shape = model.graph.value(leaf.outputs[0]).shape if leaf.outputs else None
    return max(len(shape) - 2, 1) if shape is not None and len(shape) > 2 else 2


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


def _listed(shape: Any) -> list[Any] | None:
    return None if shape is None else list(shape)


def _input_details(model: Model, leaf: _Leaf) -> dict[str, Any]:
    value = model.graph.value(leaf.outputs[0])
    return {
        "name": leaf.name,
        "type": leaf.type,
        "inputs": [],
        "outputs": [[value.source_name, _listed(value.shape)]],
        "dtype": value.dtype,
    }


def _scope_rows(model: Model, tree: _Tree) -> dict[str, cost.Row]:
    return {row.id: row for row in cost.summary(model, by="scope").rows}


def _overlay(given: Mapping[str, float], leaves: Sequence[_Leaf], tree: _Tree) -> dict[str, float]:
    """Return the value of every box: its own, else the sum over what it stands for."""
    if not given:
        return {}
    values = dict(given)
    for leaf in tree.leaves.values():
        parts = [given[row.id] for row in leaf.rows if row.id in given]
        if leaf.id not in values and parts:
            values[leaf.id] = sum(parts)
    for path in tree.groups:
        name = tree.id(path)
        parts = [given[item.id] for leaf in tree.members(path) for item in (leaf, *leaf.rows) if item.id in given]
        if name not in values and parts and path not in tree.opened:
            values[name] = sum(parts)
    return values


# Links and wires --------------------------------------------------------------------------------------------------


def _links(model: Model, leaves: Sequence[_Leaf], tree: _Tree, options: Options) -> tuple[Link, ...]:
    graph = model.graph
    home = {leaf.id: leaf.into or leaf for leaf in leaves}
    maker = {name: home[leaf.id] for leaf in leaves for name in leaf.outputs}
    for leaf in leaves:
        for node in leaf.nodes:
            for name in node.outputs:
                maker.setdefault(name, home[leaf.id])
    by_node = {node.id: home[leaf.id] for leaf in leaves for node in leaf.nodes}
    shown: dict[str, str] = {}

    def stands(leaf: _Leaf) -> str:
        if leaf.id not in shown:
            last = tree.chain(leaf)[-1]
            shown[leaf.id] = tree.id(last) if isinstance(last, tuple) else last
        return shown[leaf.id]

    found: dict[tuple[str, str, bool], dict[str, int]] = {}
    for leaf in leaves:
        target = home[leaf.id]
        used = [(name, maker.get(name), False) for name in leaf.inputs]
        used += [(before, by_node.get(before), True) for before in leaf.controls]
        for name, source, control in used:
            if source is None or (source is target and leaf.into is not None):
                continue
            ends = stands(source), stands(target)
            if ends[0] == ends[1] and source is not target:
                continue
            uses = found.setdefault((*ends, control), {})
            uses[name] = uses.get(name, 0) + 1

    result: list[Link] = []
    for (source_id, target_id, control), uses in found.items():
        closed = source_id not in tree.leaves or target_id not in tree.leaves
        if control or (closed and len(uses) > 1):
            label = "" if control else f"{len(uses)} tensors" if "shapes" in options.show else ""
            names = tuple(graph.value(name).source_name for name in uses)
            key = f"{'control' if control else 'bundle'} {source_id} {target_id}"
            result.append(Link(source_id, target_id, names, label, control, key))
            continue
        for name, times in uses.items():
            label = shape_text(graph.value(name).shape) if "shapes" in options.show else ""
            label = f"{label} ×{times}".strip() if times > 1 else label
            result.append(Link(source_id, target_id, (graph.value(name).source_name,), label, False, name))
    return tuple(result)


def _with_wires(root: Group, links: Iterable[Link], tree: _Tree) -> Group:
    """Cut every link into one wire a group it passes, with ports where it crosses a border."""
    chains: dict[str, tuple[str, ...]] = {}
    groups = {"": root} | {box.id: box.group for box in boxes(root) if box.group is not None}
    for name, inside in groups.items():
        for box in inside.boxes:
            chains[box.id] = (*chains.get(name, ()), box.id)
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
        common = 0
        while common < min(len(start), len(end)) - 1 and start[common] == end[common]:
            common += 1
        label, control, values = link.label, link.control, link.values
        for level in range(len(start) - 1, common, -1):
            group = start[level - 1]
            outs[group][link.key] = None
            port = link.key if level < len(start) - 1 else ""
            add(group, Wire(start[level], "", port, link.key, "", control, values))
        for level in range(len(end) - 1, common, -1):
            group = end[level - 1]
            ins[group][link.key] = None
            port = link.key if level < len(end) - 1 else ""
            add(group, Wire("", end[level], link.key, port, "", control, values))
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
            ),
        )

    done: dict[str, Group] = {}
    for name in sorted(groups, key=lambda name: -len(chains.get(name, ()))):
        members = tuple(
            replace(box, group=done[box.id]) if box.group is not None else box for box in groups[name].boxes
        )
        done[name] = Group(members, tuple(wires[name].values()), tuple(ins[name]), tuple(outs[name]))
    return done[""]
