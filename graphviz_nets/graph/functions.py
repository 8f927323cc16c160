"""Local functions: calls replaced by the nodes that they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from graphviz_nets.errors import LimitError
from graphviz_nets.graph.decode import NODES
from graphviz_nets.graph.ir import Function, Graph, Model, Node, Ref
from graphviz_nets.graph.scopes import Path, Scope

NESTED = 64
"""Local functions that call each other."""

Key: TypeAlias = "tuple[str, str, str]"


def flat(model: Model, grouped: bool = True) -> Model:
    """Return the model with each call of a local function replaced by the function's nodes.

    Parameters
    ----------
    model : Model
        Whose nodes stand in their scopes.
    grouped : bool
        Make a scope of kind ``function`` of each call in the main graph; else its nodes stand where the call stood.

    Raises
    ------
    LimitError
        When that takes more than a million nodes and calls.

    Examples
    --------
    >>> import onnx
    >>> from graphviz_nets.graph.proto import from_proto
    >>> text = '''<ir_version: 8, opset_import: ["": 17, "my": 1]> net (float[2] x) => (float[2] y) { y = my.twice(x) }
    ... <opset_import: ["": 17], domain: "my"> twice (a) => (b) { b = Add(a, a) }'''
    >>> model = flat(from_proto(onnx.parser.parse_model(text)))
    >>> [(node.op_type, node.inputs, node.scope) for node in model.graph.nodes]
    [('Add', ('x', 'x'), ('twice',))]
    """
    table: dict[Key, Function] = {}
    left: list[Function] = []
    problems = list(model.problems)
    for function in model.functions:
        other = [
            domain for domain, version in function.opset_imports.items()
            if model.opset_imports.get(domain, version) != version
        ]  # fmt: skip
        if other:  # its operations mean what another version of ONNX says
            problems.append(f"function {function.name!r} stays closed: it uses another version of {other[0] or 'ONNX'}")
            left.append(function)
        else:
            table[function.domain, function.name, function.overload] = function
    if not table:
        return replace(model, problems=tuple(problems))
    scopes: dict[Path, Scope] = dict(model.scopes)
    inliner = _Inliner(table, scopes if grouped else None, {*model.graph.producers, *model.graph.by_id})
    graph = inliner.graph(model.graph)
    imports = {**{k: v for f in table.values() for k, v in f.opset_imports.items()}, **model.opset_imports}
    found = replace(model, graph=graph, scopes=scopes, functions=tuple(left), opset_imports=imports)
    return replace(found, problems=(*problems, *inliner.problems))


class _Inliner:
    """Replaces calls; names inside are prefixed with the call's id."""

    def __init__(self, table: Mapping[Key, Function], scopes: dict[Path, Scope] | None, taken: set[str]) -> None:
        self.table, self.scopes, self.taken = table, scopes, taken
        self.problems: dict[str, None] = {}
        self.count = 0

    def graph(self, graph: Graph, inner: bool = False) -> Graph:
        result: list[Node] = []
        values, tensors = dict(graph.values), dict(graph.initializers)
        waiting: list[tuple[Node, tuple[Key, ...]]] = [(node, ()) for node in reversed(graph.nodes)]
        while waiting:
            node, chain = waiting.pop()
            key = (node.domain, node.op_type, node.overload)
            function = self.table.get(key)
            if function is not None and (key in chain or len(chain) >= NESTED):
                self.problems[f"function {function.name!r} calls itself"] = None
                function = None
            self.count += 1  # of calls, too: what they stand for may be nothing
            if self.count > NODES:
                raise LimitError("the number of nodes with all calls replaced", NODES)
            if function is None:
                inside = {
                    name: tuple(self.graph(item, True) for item in value)
                    if isinstance(value, tuple)
                    else self.graph(value, True)
                    for name, value in node.attributes.items()
                    if isinstance(value, Graph) or (isinstance(value, tuple) and value and isinstance(value[0], Graph))
                }
                result.append(replace(node, attributes={**node.attributes, **inside}) if inside else node)
                continue
            body = self.body(node, function, inner)
            values.update(body.values)
            tensors.update(body.initializers)
            waiting += [(made, (*chain, key)) for made in reversed(body.nodes)]
        return replace(graph, nodes=tuple(result), values=values, initializers=tensors)

    def body(self, call: Node, function: Function, inner: bool) -> Graph:
        """Return the nodes that a call stands for, under the names that its surroundings know."""
        prefix, number = call.id, 2
        while f"{prefix}/" in self.taken:
            prefix, number = f"{call.id}#{number}", number + 1
        self.taken.add(f"{prefix}/")
        body = function.body
        names = {name: (call.inputs[k] if k < len(call.inputs) else "") for k, name in enumerate(body.inputs)}
        passed = []
        for k, name in enumerate(body.outputs):
            wanted = call.outputs[k] if k < len(call.outputs) else ""
            if not wanted:
                continue
            if name in names:  # an input, or an output twice, handed through
                passed.append((name, wanted))
            else:
                names[name] = wanted
        given = {**function.defaults, **{key: call.attributes[key] for key in call.attributes}}
        path = call.scope
        if self.scopes is not None and not inner:
            path, number = (*call.scope, call.name.rpartition("/")[2] or function.name), 2
            while path in self.scopes:
                path, number = (*path[:-1], f"{path[-1].partition('#')[0]}#{number}"), number + 1
            self.scopes[path] = Scope(path, "function", type=function.name)
        renamed = _renamed(body, names, f"{prefix}/", given)
        nodes = [node.moved(path) for node in renamed.nodes]
        nodes += [
            Node("Identity", (names[name],), (wanted,), f"{prefix}/{wanted}", scope=path) for name, wanted in passed
        ]
        values = {n: v for n, v in renamed.values.items() if n not in call.inputs and n not in call.outputs}
        return replace(renamed, nodes=tuple(nodes), values=values)


def renamed(graph: Graph, names: Mapping[str, str]) -> Graph:
    """Return the graph with some values called otherwise, in graphs inside it, too.

    Examples
    --------
    >>> renamed(Graph(nodes=(Node("Neg", ("x",), ("y",)),), inputs=("x",)), {"x": "z"}).nodes[0].inputs
    ('z',)
    """
    return _renamed(graph, names, "", {})


def _renamed(graph: Graph, known: Mapping[str, str], prefix: str, given: Mapping[str, Any]) -> Graph:
    """Return a graph with names replaced where they are known and prefixed where they are its own; refs are filled."""
    own = {*graph.producers, *graph.inputs, *graph.initializers}
    names = {**known, **{name: f"{prefix}{name}" for name in own if name not in known}}

    def new(name: str) -> str:
        return names.get(name, name)

    def attribute(value: Any) -> Any:
        if isinstance(value, Graph):
            inner = {k: v for k, v in names.items() if k not in {*value.producers, *value.inputs, *value.initializers}}
            return _renamed(value, inner, prefix, given)
        if isinstance(value, tuple) and value and isinstance(value[0], Graph):
            return tuple(attribute(item) for item in value)
        return value

    def filled(node: Node) -> dict[str, Any]:
        whole = {k: given.get(v.name) if isinstance(v, Ref) else attribute(v) for k, v in node.attributes.items()}
        return {k: v for k, v in whole.items() if v is not None}

    nodes = tuple(
        replace(
            node, inputs=tuple(map(new, node.inputs)), outputs=tuple(map(new, node.outputs)), id=f"{prefix}{node.id}",
            name=f"{prefix}{node.name}" if node.name else "", attributes=filled(node),
        )
        for node in graph.nodes
    )  # fmt: skip
    return replace(
        graph,
        nodes=nodes,
        inputs=tuple(map(new, graph.inputs)),
        outputs=tuple(map(new, graph.outputs)),
        values={new(k): replace(v, name=new(k)) for k, v in graph.values.items()},
        initializers={new(k): replace(t, name=new(k)) for k, t in graph.initializers.items()},
    )
