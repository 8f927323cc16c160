"""Looks: numbers that equal leaves and equal groups share, whatever their names and weights."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from graphviz_nets.drawing.leaves import Edge, Leaf
from graphviz_nets.graph import cost
from graphviz_nets.graph.ir import Graph, Model, Node, Tensor
from graphviz_nets.graph.regions import Planner

if TYPE_CHECKING:
    from graphviz_nets.drawing.tree import Item, Place

EXACT = 4096
"""Bytes of a constant up to which its value, not only its shape, tells nodes apart."""

INDEXED = frozenset({"Equal", "Gather", "GatherElements", "GatherND", "ScatterElements", "ScatterND"})
"""Operations whose constants say which of several equal things is meant, as an expert's number does."""


class Looks:
    """Gives every leaf and every group a number, from the leaves up.

    The number stands for everything that makes up a leaf (operations, attributes, shapes, folded rows) or a group (the
    numbers of its children, the wires among them, and which ports its border has). Numbers are places in a table of
    these descriptions, which compares them exactly, so that no two different ones can share a number.

    Weights are compared by type and shape only; small constants that are no weights by their values.
    """

    def __init__(self, model: Model, shown: Sequence[Leaf], edges: Sequence[Edge]) -> None:
        self.model = model
        self.roles = cost.tensor_roles(model)
        self.table: dict[Hashable, int] = {}
        self.planner = Planner()
        self.source: dict[str, Leaf] = {}
        results = frozenset(model.graph.outputs)
        _rank(shown, edges)
        for leaf in shown:
            for name in (*leaf.outputs, *(name for part in (*leaf.rows, *leaf.hidden) for name in part.outputs)):
                self.source[name] = leaf
                if name in results:
                    leaf.outs[name] = 1
        for edge in edges:
            value = f"after {edge.value}" if edge.control else edge.value
            self.source.setdefault(value, edge.source)
            if edge.source is not edge.target:
                edge.target.ins[value] = edge.target.ins.get(value, 0) + 1
                edge.source.outs[value] = edge.source.outs.get(value, 0) + 1
        for leaf in shown:
            leaf.look = self._number(self._leaf(leaf))

    def _number(self, about: Hashable) -> int:
        return self.table.setdefault(about, len(self.table))

    def _leaf(self, leaf: Leaf) -> Hashable:
        values = self.model.graph.values
        shapes = tuple(
            None if value is None else (value.dtype, value.shape)
            for value in map(values.get, (*leaf.inputs, *leaf.outputs))
        )
        ports = {name: k for k, name in enumerate(dict.fromkeys(leaf.inputs))}
        nodes = leaf.nodes
        for part in (*leaf.rows, *leaf.hidden):
            nodes += part.nodes
        indexed = bool(leaf.nodes) and leaf.nodes[0].op_type in INDEXED
        made = {name: (k, port) for k, node in enumerate(nodes) for port, name in enumerate(node.outputs)}
        return (
            leaf.type,
            tuple(ports[name] for name in leaf.inputs),
            shapes,
            "" if leaf.scope is None else _plain(leaf.scope.parameters),
            tuple((row.type, "" if row.scope is None else _plain(row.scope.parameters)) for row in leaf.rows),
            tuple(self._node(node, made, indexed and node.op_type == "Constant") for node in nodes),
        )

    def _node(self, node: Node, made: dict[str, tuple[int, int]], blank: bool) -> Hashable:
        tensors = self.model.graph.initializers
        exact = node.op_type not in INDEXED
        inputs = tuple(
            made[name]
            if name in made
            else self._tensor(tensors[name], exact and self.roles[name] == "constant")
            if name in tensors
            else bool(name)
            for name in node.inputs
        )
        # TensorFlow's that begin with _ tell its placer which variables to stand beside, and the like.
        own = sorted((key, value) for key, value in node.attributes.items() if not key.startswith("_"))
        attributes = tuple((key, None if blank else _key(value)) for key, value in own)
        return node.domain, node.op_type, inputs, len(node.outputs), attributes

    def _tensor(self, tensor: Tensor, exact: bool) -> Hashable:
        small = exact and tensor.data is not None and (tensor.nbytes or 0) <= EXACT
        return tensor.dtype, tensor.shape, tensor.bytes() if small else None

    def group(self, place: Place) -> None:
        """Number a group whose children have numbers; find out what crosses its border."""
        children = place.order
        makers = {value: (k, port) for k, child in enumerate(children) for port, value in enumerate(child.outs)}
        ins: dict[str, int] = {}
        ports: dict[str, int] = {}
        used: dict[str, int] = {}
        wiring = []
        for child in children:
            ends: list[tuple[int, int]] = []
            for value, uses in child.ins.items():
                if value in makers:
                    used[value] = used.get(value, 0) + uses
                    ends.append(makers[value])
                else:
                    ins[value] = ins.get(value, 0) + uses
                    ends.append((-1, ports.setdefault(value, len(ports))))
            wiring.append(tuple(ends))
        outs = {
            value: uses - used.get(value, 0)
            for child in children
            for value, uses in child.outs.items()
            if uses > used.get(value, 0)
        }
        place.ins, place.outs = ins, outs
        type_ = place.scope.type if place.scope is not None else ""
        place.look = self._number(
            (
                "group",
                type_,
                tuple(child.look for child in children),
                tuple(wiring),
                tuple(makers[value] for value in outs),
            )
        )

    def outside(self, value: str) -> tuple[object, ...]:
        """Return what a value from outside a group is, in words that equal siblings share."""
        source = self.source.get(value)
        if source is not None and source.type == "Input":
            return ("input", source.look)
        return ("value", value)

    def weights(self, members: Sequence[Item]) -> str:
        """Say whether equal items share their weights."""
        sets = [frozenset(self._weights(item)) for item in members]
        if not any(sets):
            return ""
        if all(names == sets[0] for names in sets):
            return "shared"
        return "distinct" if sum(map(len, sets)) == len(frozenset().union(*sets)) else "partly shared"

    def _weights(self, item: Item) -> Iterable[str]:
        waiting = [item]
        while waiting:
            here = waiting.pop()
            if isinstance(here, Leaf):
                for part in (here, *here.rows, *here.hidden):
                    own = part.scope.weights if part.scope is not None else ()
                    names = (*own, *(name for node in part.nodes for name in node.inputs))
                    yield from (name for name in names if self.roles.get(name) in ("parameter", "buffer"))
            else:
                waiting += here.children


def _rank(shown: Sequence[Leaf], edges: Sequence[Edge]) -> None:
    """Number the leaves by a walk against the wires, from the ends of the graph, whatever the order of the file."""
    before: dict[int, list[tuple[int, Leaf]]] = {}
    feeds: set[int] = set()
    for edge in edges:
        before.setdefault(id(edge.target), []).append((edge.port, edge.source))
        feeds.add(id(edge.source))
    for sources in before.values():
        sources.sort(key=lambda item: item[0])
    seen: set[int] = set()
    count = 0
    ends = [leaf for leaf in shown if id(leaf) not in feeds]
    for root in [*ends, *shown]:
        if id(root) in seen:
            continue
        seen.add(id(root))
        stack = [(root, 0)]
        while stack:
            leaf, k = stack.pop()
            sources = before.get(id(leaf), [])
            while k < len(sources) and id(sources[k][1]) in seen:
                k += 1
            if k == len(sources):
                leaf.rank = count
                count += 1
                continue
            stack += [(leaf, k + 1), (sources[k][1], 0)]
            seen.add(id(sources[k][1]))


def _plain(parameters: Any) -> str:
    return json.dumps(_thawed(parameters), sort_keys=True, default=repr) if parameters else ""


def _thawed(value: Any) -> Any:
    if hasattr(value, "items"):
        return {str(key): _thawed(item) for key, item in value.items() if key not in ("name", "top", "bottom")}
    if isinstance(value, (list, tuple)):
        return [_thawed(item) for item in value]
    return value


def _key(value: Any) -> Hashable:
    """Return an attribute's value as something that compares by content; names inside do not count."""
    if isinstance(value, Tensor):
        small = value.data is not None and (value.nbytes or 0) <= EXACT
        return value.dtype, value.shape, value.bytes() if small else None
    if isinstance(value, Graph):
        return tuple(
            (
                node.domain,
                node.op_type,
                node.inputs,
                node.outputs,
                tuple((k, _key(v)) for k, v in node.attributes.items()),
            )
            for node in value.nodes
        )
    if isinstance(value, tuple):
        return tuple(map(_key, value))
    return type(value).__name__, value
