"""Local functions, and bodies of If, Loop and Scan, laid open for a drawing: their nodes stand in a group.

A call's nodes stand in place of the call, a body's beside the node that has it. The model stays as it is; what is drawn
is another graph. What a body is given comes over wires from where it is made, what it gives goes to the node, and the
node hands it on. The way back of a loop is not drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from graphviz_nets.graph import shapes
from graphviz_nets.graph.functions import flat
from graphviz_nets.graph.ir import Graph, Model, Node, Tensor, Value
from graphviz_nets.graph.scopes import Path, Scope

GIVEN: Mapping[str, int] = {"Loop": 0, "Scan": 0, "SequenceMap": 0}
"""The node's input that is the body's first; those of other operations are given nothing."""


@dataclass
class Opened:
    """A model with its bodies laid open.

    Attributes
    ----------
    model : Model
        What is to be drawn.
    times : mapping of str to int or None
        How often a node of a body is run, by its id; None where that is not known, 0 for the node that has the body.
    """

    model: Model
    times: dict[str, int | None] = field(default_factory=dict)


def with_bodies(model: Model) -> Opened:
    """Return a model in which the nodes of functions and bodies are the main graph's; layers keep theirs inside.

    Examples
    --------
    >>> body = Graph("body", (Node("Relu", ("x",), ("y",)),), (), ("y",))
    >>> net = Graph("net", (Node("If", ("c",), ("z",), attributes={"then_branch": body}),), ("c", "x"), ("z",))
    >>> [(node.op_type, node.inputs, node.scope) for node in with_bodies(Model(net)).model.graph.nodes]
    [('Relu', ('x',), ('If',)), ('If', ('c', 'If/then_branch/y'), ('If',))]
    """
    if model.functions:
        model = shapes.infer(flat(model))
    layers = {scope.path for scope in model.layers}
    if not any(node.attributes and node.scope not in layers and any(node.graphs()) for node in model.graph.nodes):
        return Opened(model)
    opener = _Opener(model, layers)
    nodes = tuple(opener.nodes(model.graph.nodes, 1))
    graph = replace(model.graph, nodes=nodes, values=opener.values, initializers=opener.initializers)
    return Opened(replace(model, graph=graph, scopes=opener.scopes), opener.times)


class _Opener:
    def __init__(self, model: Model, layers: set[Path]) -> None:
        self.layers = layers
        self.scopes: dict[Path, Scope] = dict(model.scopes)
        self.values: dict[str, Value] = dict(model.graph.values)
        self.initializers: dict[str, Tensor] = dict(model.graph.initializers)
        self.times: dict[str, int | None] = {}

    def nodes(self, nodes: tuple[Node, ...], times: int | None) -> Iterator[Node]:
        for node in nodes:
            bodies = list(node.graphs()) if node.attributes and node.scope not in self.layers else []
            if not bodies:
                yield node
                continue
            path = self.place((*node.scope, node.name.rpartition("/")[2] or node.op_type))
            self.scopes[path] = Scope(path, "subgraph" if node.op_type == "If" else "loop", type=node.op_type)
            each = times if node.op_type == "If" or times is None else self.trips(node, times)
            results: list[str] = []
            used: set[str] = set()
            for key, body in bodies:
                inner = (*path, key) if len(bodies) > 1 else path
                if inner != path:
                    self.scopes.setdefault(inner, Scope(inner, "subgraph", type=key))
                opened = self.renamed(node, body, f"{node.id}/{key}/", inner)
                for made in opened.nodes:
                    self.times[made.id] = each
                    used.update(made.inputs)
                yield from self.nodes(opened.nodes, each)
                results += opened.outputs
            handed = node.op_type in GIVEN
            inputs = [name for name in node.inputs if not handed or name not in used]
            plain = {k: v for k, v in node.attributes.items() if k not in {key.partition("[")[0] for key, _ in bodies}}
            self.times[node.id] = 0
            yield replace(node, inputs=(*inputs, *dict.fromkeys(results)), attributes=plain, scope=path)

    def place(self, wanted: Path) -> Path:
        """Return a path that is no scope's yet."""
        path, number = wanted, 2
        while path in self.scopes:
            path, number = (*wanted[:-1], f"{wanted[-1]}#{number}"), number + 1
        return path

    def renamed(self, node: Node, body: Graph, prefix: str, path: Path) -> Graph:
        """Return a body whose own values have names that nothing else has, and whose inputs those given to the node."""
        first = GIVEN.get(node.op_type, len(node.inputs))
        given = dict(zip(body.inputs, node.inputs[first:], strict=False))
        own = {*body.producers, *body.initializers}
        names = {**{name: given.get(name, "") for name in body.inputs}, **{name: f"{prefix}{name}" for name in own}}

        def new(name: str) -> str:
            return names.get(name, name)

        def inside(graph: Graph) -> Graph:
            """Rename what a graph further in takes from this one."""
            hidden = {*graph.producers, *graph.inputs, *graph.initializers}

            def outer(name: str) -> str:
                return name if name in hidden else new(name)

            nodes = tuple(
                replace(n, inputs=tuple(map(outer, n.inputs)), attributes=attributes(n, inside)) for n in graph.nodes
            )
            return replace(graph, nodes=nodes, outputs=tuple(map(outer, graph.outputs)))

        nodes = tuple(
            replace(
                n, inputs=tuple(map(new, n.inputs)), outputs=tuple(map(new, n.outputs)), id=f"{prefix}{n.id}",
                attributes=attributes(n, inside), scope=(*path, *n.scope), control_inputs=(),
            )
            for n in body.nodes
        )  # fmt: skip
        self.values.update({new(k): replace(v, name=new(k)) for k, v in body.values.items() if k in own})
        self.initializers.update({new(k): replace(t, name=new(k)) for k, t in body.initializers.items()})
        return replace(body, nodes=nodes, outputs=tuple(filter(None, map(new, body.outputs))))

    def trips(self, node: Node, times: int) -> int | None:
        """Return how often a body is run in all, None where only a run would tell."""
        if node.op_type == "Scan":
            number = node.attributes.get("num_scan_inputs")
            name = node.inputs[-number] if isinstance(number, int) and 0 < number <= len(node.inputs) else ""
            axes = node.attributes.get("scan_input_axes") or (0,)
            shape = self.values[name].shape if name in self.values else None
            found = shape[axes[0]] if shape and -len(shape) <= axes[0] < len(shape) else None
        else:
            tensor = self.initializers.get(node.inputs[0]) if node.inputs else None
            numbers = tensor.integers() if tensor is not None else None
            found = numbers[0] if numbers else None
        return found * times if isinstance(found, int) else None


def attributes(node: Node, change: Callable[[Graph], Graph]) -> dict[str, Any]:
    """Return a node's attributes with a change made to the graphs among them."""
    return {
        key: change(value)
        if isinstance(value, Graph)
        else tuple(change(item) if isinstance(item, Graph) else item for item in value)
        if isinstance(value, tuple)
        else value
        for key, value in node.attributes.items()
    }
