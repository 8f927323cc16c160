"""Leaves: what can become a box of its own (layers, nodes, inputs), and which of them fold into others."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from graphviz_nets.config import Options
from graphviz_nets.drawing.captions import NUMBER
from graphviz_nets.graph.cost import tensor_roles
from graphviz_nets.graph.ir import Graph, Model, Node
from graphviz_nets.graph.regions import CROWD
from graphviz_nets.graph.scopes import Path, Scope

if TYPE_CHECKING:
    from graphviz_nets.drawing.tree import Fold, Place


@dataclass(eq=False)
class Leaf:
    """A layer, a node outside of layers, a graph input, or a weight where weights are drawn.

    Attributes
    ----------
    inputs, outputs : tuple of str
        Value names.
    into : Leaf or None
        Whose box it is part of.
    rows : list of Leaf
        Folded into this box and shown there as rows.
    hidden : list of Leaf
        Folded into this box and not shown: constants, the arithmetic of shapes, and what passes.
    passes : bool
        It gives on what it is given, so that wires go through it where it is hidden.
    """

    id: str
    path: Path
    name: str
    type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...] = ()
    scope: Scope | None = None
    controls: tuple[str, ...] = ()
    shown_as: str = "node"
    into: Leaf | None = None
    rows: list[Leaf] = field(default_factory=list)
    hidden: list[Leaf] = field(default_factory=list)
    passes: bool = False
    number: int = 0  # its place in the order of the file
    rank: int = 0  # its place in an order that only the structure decides
    look: int = -1  # leaves and groups of one number are equal but for names and weights
    parent: Place | None = None
    fold: Fold | None = None
    ins: dict[str, int] = field(default_factory=dict)
    outs: dict[str, int] = field(default_factory=dict)

    @property
    def home(self) -> Leaf:
        """The leaf whose box shows this one."""
        return self if self.into is None else self.into


@dataclass(frozen=True, slots=True)
class Edge:
    """A value, or an order, that goes from one box to another."""

    source: Leaf
    target: Leaf
    value: str
    port: int  # position among the target's inputs
    control: bool = False


CONTROLS = 4
"""Control edges of a box from which on none is drawn, as TensorBoard has it."""


def leaves(model: Model, options: Options) -> list[Leaf]:
    """Return every leaf of a model in the order of the file, folded as the options say."""
    found = _all(model, options.group == "none")
    if "weights" in options.keep:
        found = _with_weights(model, found)
    if options.group != "none":
        _settle(found)
    if options.fold:
        found = _folded(model, found, options)
    for number, leaf in enumerate(found):
        leaf.number = number
    return found


def edges(model: Model, found: Sequence[Leaf]) -> Iterator[Edge]:
    """Yield the connections between boxes; what only serves shapes and constants that are folded has none."""
    maker = {name: leaf for leaf in found for name in leaf.outputs}
    for leaf in found:
        for node in leaf.nodes:
            for name in node.outputs:
                maker.setdefault(name, leaf)
    by_node = {node.id: leaf for leaf in found for node in leaf.nodes}
    unseen = {id(leaf) for home in found for leaf in home.hidden if not leaf.passes}
    for leaf in found:
        if id(leaf) in unseen:
            continue
        target = leaf.home
        for port, name in enumerate(leaf.inputs):
            source = maker.get(name)
            if source is None or id(source) in unseen or (source.home is target and leaf.into is not None):
                continue
            yield Edge(source.home, target, name, port)
        for before in leaf.controls if len(leaf.controls) <= CONTROLS and not leaf.passes else ():
            source = by_node.get(before)
            if source is not None and id(source) not in unseen and source.home is not target:
                yield Edge(source.home, target, before, -1, True)


def _all(model: Model, flat: bool) -> list[Leaf]:
    graph = model.graph
    layers = {scope.path: scope for scope in model.layers}
    if model.framework in OPENING and not flat:
        for path in _several(model, layers.keys()):
            del layers[path]
    inside: dict[Path, list[Node]] = {}
    loose: list[Leaf] = []
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
    found: list[Leaf] = []
    owned = {name for scope in layers.values() for name in scope.outputs}
    for name in graph.inputs:
        if name not in owned:
            found.append(Leaf(unique(name, ()), (), graph.value(name).source_name, "Input", (), (name,)))
    for name in graph.undefined:
        title = graph.value(name).source_name
        found.append(Leaf(unique(name, ()), (), title, "undefined", (), (name,), shown_as="stub"))
    for scope in layers.values():
        nodes = tuple(inside.get(scope.path, ()))
        made = {name for node in nodes for name in node.outputs}
        bottoms = tuple(name for name in scope.inputs if name not in made)
        controls = tuple(dict.fromkeys(before for node in nodes for before in node.control_inputs))
        path = () if flat else scope.path[:-1]
        found.append(
            Leaf(scope.id, path, scope.name, scope.type, bottoms, tuple(scope.outputs), nodes, scope, controls)
        )
    for node in graph.nodes:
        if node.scope not in layers:
            data = tuple(name for name in node.inputs if name and name not in graph.initializers)
            path = () if flat else node.scope
            loose.append(
                Leaf(unique(node.id, node.scope), path, node.name or node.op_type,
                     node.op_type if node.domain == TENSORFLOW else node.label, data,
                     tuple(filter(None, node.outputs)), (node,), None, node.control_inputs)
            )  # fmt: skip
    return found + loose


OPENING = frozenset({"pytorch"})
"""Frameworks whose layers are wired as their operations are, and can open; Caffe's name bottoms that none reads."""


def _several(model: Model, layers: Iterable[Path]) -> set[Path]:
    """Return the layers that hold more than one operation, not counting constants and what is made of weights alone."""
    fixed, wanted = set(model.graph.initializers), set(layers)
    number: dict[Path, int] = {}
    for node in model.graph.nodes:
        if node.scope in wanted:
            if fixed.issuperset(filter(None, node.inputs[:1] if node.op_type in BY_FIRST else node.inputs)):
                fixed.update(node.outputs)
            else:
                number[node.scope] = number.get(node.scope, 0) + 1
    return {path for path, count in number.items() if count > 1}


def _settle(found: Sequence[Leaf]) -> None:
    """Put each of a crowd of inputs that are called alike, such as a language model's cache, where it is used."""
    crowds: dict[str, list[Leaf]] = {}
    for leaf in found:
        if leaf.type == "Input":
            crowds.setdefault(NUMBER.sub("#", leaf.name), []).append(leaf)
    if all(len(crowd) < CROWD for crowd in crowds.values()):
        return
    users: dict[str, list[Leaf]] = {}
    for leaf in found:
        for name in leaf.inputs:
            users.setdefault(name, []).append(leaf)
    for leaf in (leaf for crowd in crowds.values() if len(crowd) >= CROWD for leaf in crowd):
        used = users.get(leaf.outputs[0], [])
        if len(used) == 1:
            leaf.path = used[0].path


def _with_weights(model: Model, found: list[Leaf]) -> list[Leaf]:
    """Give every learnt tensor of the file a box before its first use."""
    graph, roles = model.graph, tensor_roles(model)
    taken = {leaf.id for leaf in found}
    made: dict[str, Leaf] = {}
    result: list[Leaf] = []
    for leaf in found:
        own = leaf.scope.weights if leaf.scope is not None else ()
        used = [*own, *(name for node in leaf.nodes for name in node.inputs)]
        names = [n for n in dict.fromkeys(used) if roles.get(n) in ("parameter", "buffer") and n not in leaf.inputs]
        for name in names:
            if name not in made:
                base = f"{name}/(weight)" if name in taken else name
                made[name] = Leaf(base, leaf.path, graph.value(name).source_name, "Weight", (), (name,))
                result.append(made[name])
        leaf.inputs += tuple(names)
        result.append(leaf)
    return result


# Folding ----------------------------------------------------------------------------------------------------------

FOLDING = frozenset(
    "biasadd relu leakyrelu prelu relu6 elu selu sigmoid tanh bnll softplus swish hardswish hardsigmoid gelu clip mish "
    "dropout"
    .split()
)  # fmt: skip
"""Activations, and TensorFlow's bias, that fold into their producer where they are its only consumer."""

MEASURES = frozenset({"Shape", "Size"})
ARITHMETIC = frozenset(
    "Add Sub Mul Div Mod Min Max Neg Floor Ceil Sqrt Cast Gather GatherElements Unsqueeze Squeeze Concat Slice Split "
    "Reshape Identity ReduceProd ReduceSum Equal Where And Or Not Less Greater Abs Round Pow "
    "StridedSlice Pack ConcatV2 ExpandDims Prod Sum GatherV2 AddV2 FloorDiv RealDiv Maximum Minimum ReadVariableOp "
    "Enter Switch".split()
)
"""Operations that compute shapes from shapes."""
BY_FIRST = frozenset({"CastLike"})
"""Operations that take a value from their first input and only a type from the others."""
TENSORFLOW = "tf"
RANDOM = ("Random", "Bernoulli", "Multinomial")


def _folded(model: Model, found: Sequence[Leaf], options: Options) -> list[Leaf]:
    """Mark in-place layers and lone activations as rows of their producer's box, and hide what only makes shapes."""
    users: dict[str, list[Leaf]] = {}
    for leaf in found:
        for name in dict.fromkeys(leaf.inputs):
            users.setdefault(name, []).append(leaf)
    _hide(model, found, users, options)
    _mark_passing(model.graph, found, options)
    found = _without_idle(found)
    _rows(model, found, users, options)
    _let_pass(found)
    return found


def _rows(model: Model, found: Sequence[Leaf], users: dict[str, list[Leaf]], options: Options) -> None:
    graph = model.graph
    types = frozenset(type_.lower() for type_ in options.fold_types)
    maker = {name: leaf for leaf in found for name in leaf.outputs}
    results = frozenset(graph.outputs)
    unseen = {name for leaf in found for hidden in leaf.hidden for name in hidden.outputs}
    for leaf in found:
        data = [name for name in leaf.inputs if name not in unseen]
        if len(data) != 1 or len(leaf.outputs) != 1 or leaf.shown_as != "node" or leaf.into is not None or leaf.passes:
            continue
        name = data[0]
        source = maker.get(name)
        while source is not None and source.passes and len(users[name]) == 1 and name not in results:
            name = source.inputs[0]
            source = maker.get(name)
        if source is None or source is leaf or source.shown_as != "node" or source.passes or len(users[name]) != 1:
            continue
        used = [made for made in source.outputs if made in users or made in results]
        if len(used) != 1 or name in results or leaf.controls or source.type == "Weight":
            continue
        in_place = leaf.scope is not None and graph.value(name).source_name == graph.value(leaf.outputs[0]).source_name
        in_place = in_place and "in-place" not in options.keep
        type_ = leaf.type.rpartition("::")[2].lower()
        lone = type_ in FOLDING and _around(source) == _around(leaf) and source.type != "Input"
        lone = lone and "activations" not in options.keep
        if in_place or lone or type_ in types:
            target = source.into or source
            if target is leaf or any(source is hidden for hidden in target.hidden):
                continue
            leaf.into = target
            target.rows.append(leaf)


CHANNELS = frozenset({(0, 2, 1), (0, 2, 3, 1), (0, 3, 1, 2), (0, 2, 3, 4, 1), (0, 4, 1, 2, 3)})
"""Permutations that move the channels behind the other axes, or before them."""
ADDED = re.compile(r".__\d+$")
"""Ends the names of nodes that tf2onnx adds."""

NAMELESS = re.compile(r"(?:^|/)Identity(?:_\d+)?(?:#\d+)?$")
"""What TensorFlow calls an Identity that nobody has named."""


def _without_idle(found: Sequence[Leaf]) -> list[Leaf]:
    """Return all but TensorFlow's NoOps that order nothing which is drawn.

    They wait for nothing drawn, such as for reads of variables, or nothing drawn waits for them but other functions'
    ends: the results of a function, which pass, wait for its last NoOp.
    """
    drawn = {node.id for leaf in found if leaf.into is None and not leaf.passes for node in leaf.nodes}
    waiting: dict[str, list[Leaf]] = {}
    for leaf in found:
        for name in leaf.controls:
            waiting.setdefault(name, []).append(leaf)
    idle: set[int] = set()
    for leaf in (*found, *reversed(found)):  # who wait are behind in the file, or before
        if leaf.type == "NoOp" and len(leaf.nodes) == 1:
            later = waiting.get(leaf.nodes[0].id, [])
            ends = bool(later) and all(one.passes or id(one) in idle for one in later)
            if ends or drawn.isdisjoint(leaf.controls):
                idle.add(id(leaf))
                drawn.discard(leaf.nodes[0].id)
    return [leaf for leaf in found if id(leaf) not in idle] or list(found)


def _mark_passing(graph: Graph, found: Sequence[Leaf], options: Options) -> None:
    """Mark what only gives on the value of a box: TensorFlow's nameless Identities, and tf2onnx's changes of layout."""
    maker = {name: leaf for leaf in found for name in leaf.outputs}
    by_node = {node.id: leaf for leaf in found for node in leaf.nodes}
    before: set[int] = set()
    for leaf in found:
        source = maker.get(leaf.inputs[0]) if len(leaf.inputs) == 1 and leaf.into is None else None
        before.add(id(leaf))
        if source is None or source.into is not None or source.shown_as != "node" or source.type == "Weight":
            continue
        waits = (by_node[name] for name in leaf.controls if name in by_node)
        free = len(leaf.controls) > CONTROLS or all(one.type == "NoOp" or one.into is not None for one in waits)
        leaf.passes = free and id(source) in before and _passes(graph, leaf, options)


def _passes(graph: Graph, leaf: Leaf, options: Options) -> bool:
    if len(leaf.nodes) != 1 or leaf.scope is not None:
        return False
    node = leaf.nodes[0]
    if node.domain == TENSORFLOW and node.op_type == "Identity":
        return NAMELESS.search(node.name) is not None and "identities" not in options.keep
    return ADDED.search(node.name) is not None and "layout" not in options.keep and _moves_channels(graph, node)


def _moves_channels(graph: Graph, node: Node) -> bool:
    """Say whether a node is a Transpose of channels, or a Reshape that does the same, for there is only one."""
    if node.op_type != "Reshape":
        return node.op_type == "Transpose" and node.attributes.get("perm") in CHANNELS
    old, new = (graph.value(name).shape or () for name in (node.inputs[0], node.outputs[0]))
    for perm in CHANNELS:
        if len(old) == len(new) == len(perm) and tuple(old[k] for k in perm[1:]) == new[1:]:
            longer = [k for k in perm if old[k] != 1]
            if longer == sorted(longer):
                return True
    return False


def _let_pass(found: Sequence[Leaf]) -> None:
    """Hide what passes in the box that its value comes from."""
    maker = {name: leaf for leaf in found for name in leaf.outputs}
    for leaf in found:
        if leaf.passes:
            leaf.into = maker[leaf.inputs[0]].home
            leaf.into.hidden.append(leaf)


def _around(leaf: Leaf) -> Path:
    """Return the scope around a leaf; one called like the leaf itself holds what only the leaf uses."""
    return leaf.path[:-1] if leaf.path and "/".join(leaf.path) == leaf.name else leaf.path


def _hide(model: Model, found: Sequence[Leaf], users: dict[str, list[Leaf]], options: Options) -> None:
    """Fold constants, and arithmetic on nothing but shapes and constants, into whoever uses it first."""
    results = frozenset(model.graph.outputs)
    what: dict[str, str] = {}  # value to "constants" or "shapes"
    order: list[Leaf] = []
    for leaf in found:
        if len(leaf.nodes) != 1 or leaf.scope is not None or any(leaf.nodes[0].graphs()):
            continue
        if leaf.controls and leaf.nodes[0].op_type != "Const":
            continue
        node = leaf.nodes[0]
        op_type = node.op_type if node.domain in ("", TENSORFLOW) else ""
        inputs = {what.get(name, "") for name in (leaf.inputs[:1] if op_type in BY_FIRST else leaf.inputs)}
        kind = ""
        # TensorFlow has operations without inputs that are no constants, and such that read files.
        fixed = op_type in ("Const", *ARITHMETIC) and bool(node.inputs or op_type == "Const") and bool(node.outputs)
        if inputs <= {"constants"} and (fixed if node.domain else op_type) and not op_type.startswith(RANDOM):
            kind = "constants"
        elif op_type in MEASURES or (op_type in ARITHMETIC and inputs <= {"constants", "shapes"}):
            kind = "shapes"
        if kind:
            what.update(dict.fromkeys(leaf.outputs, kind))
            if kind not in options.keep:
                order.append(leaf)
    hidden = {id(leaf) for leaf in order}
    for leaf in reversed(order):
        used = [user for name in leaf.outputs for user in users.get(name, ())]
        if results.intersection(leaf.outputs):
            continue
        homes = [user.into if id(user) in hidden else user for user in used]
        home = next((user for user in homes if user is not None and user.into is None), None)
        if home is not None and home is not leaf:
            leaf.into = home
            home.hidden.append(leaf)
