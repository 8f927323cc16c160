"""Builder: appends ONNX nodes and knows the shape of what it has appended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from graphviz_nets.graph import shapes
from graphviz_nets.graph.ir import Graph, Model, Node, Shape, Tensor, Value, freeze, sort
from graphviz_nets.graph.scopes import Path, Scope, parents


class Builder:
    """Collects nodes, then freezes them into a Graph or Model. The one mutable thing of the IR.

    ``op.Conv(x, w, strides=(2, 2))`` appends a node and returns the name of its output; shapes follow from the table
    in :mod:`graphviz_nets.graph.shapes` as nodes are appended.

    Parameters
    ----------
    name : str
        The graph's name.
    opset : int
        Version of ONNX's own operations.

    Examples
    --------
    >>> op = Builder("net")
    >>> x = op.input("x", "float32", (1, 3, 8, 8))
    >>> y = op.Relu(op.Conv(x, op.weight("w", (4, 3, 3, 3)), kernel_shape=(3, 3)))
    >>> op.shape(y)
    (1, 4, 6, 6)
    >>> [node.op_type for node in op.graph([y]).nodes]
    ['Conv', 'Relu']
    """

    def __init__(self, name: str = "", opset: int = 18) -> None:
        self.name = name
        self.opset = opset
        self.scope: Path = ()
        self.nodes: list[Node] = []
        self.inputs: list[str] = []
        self.values: dict[str, Value] = {}
        self.initializers: dict[str, Tensor] = {}
        self.problems: list[str] = []
        self._ids: set[str] = set()
        self._next: dict[str, int] = {}

    @classmethod
    def of(cls, graph: Graph, opset: int = 18) -> Builder:
        """Return a Builder that goes on where a graph ends.

        Examples
        --------
        >>> op = Builder("net")
        >>> y = op.Relu(op.input("x", "float32", (2,)))
        >>> more = Builder.of(op.graph([y]))
        >>> more.shape(more.Neg(y))
        (2,)
        """
        op = cls(graph.name, opset)
        op.nodes, op.inputs = list(graph.nodes), list(graph.inputs)
        op.values, op.initializers = dict(graph.values), dict(graph.initializers)
        for name in (*graph.inputs, *graph.producers):
            op.values.setdefault(name, Value(name))
        op._ids = {node.id for node in graph.nodes}
        return op

    def __getattr__(self, op_type: str) -> Callable[..., str]:
        if not op_type[:1].isupper():
            raise AttributeError(op_type)

        def append(*inputs: str, **attributes: Any) -> str:
            return self.node(op_type, inputs, attributes=attributes)[0]

        return append

    def fresh(self, base: str, taken: Any = None) -> str:
        """Return `base`, or `base` with the first free number, that is no value's (or none of `taken`'s) name."""
        used = taken if taken is not None else self.values
        if base not in used and base not in self.initializers:
            return base
        number = self._next.get(base, 1)
        while (name := f"{base}:{number}") in used or name in self.initializers:
            number += 1
        self._next[base] = number + 1
        return name

    def input(self, name: str, dtype: str | None = "float32", shape: Shape | None = None) -> str:
        """Add a graph input and return its name."""
        name = self.fresh(name)
        self.inputs.append(name)
        self.values[name] = Value(name, dtype, shape)
        return name

    def weight(
        self, name: str, shape: Shape, data: Any = None, dtype: str = "float32", role: str | None = "parameter"
    ) -> str:
        """Add an initializer, without data where none is given, and return its name."""
        name = self.fresh(name)
        self.initializers[name] = Tensor(name, dtype, shape, data, role)
        return name

    def constant(self, values: Sequence[int | float], dtype: str = "int64", shape: Shape | None = None) -> str:
        """Add a small constant and return its name; equal ones are shared."""
        key = f"const/{dtype}/{','.join(map(repr, values))}" + ("" if shape is None else f"/{shape}")
        if key not in self.initializers:
            self.initializers[key] = Tensor.of(key, dtype, values, shape)
        return key

    def scalar(self, value: float) -> str:
        """Add a float32 scalar."""
        return self.constant([float(value)], "float32", ())

    def node(
        self,
        op_type: str,
        inputs: Sequence[str],
        outputs: int | Sequence[str] = 1,
        *,
        name: str = "",
        domain: str = "",
        attributes: Mapping[str, Any] | None = None,
        control_inputs: Sequence[str] = (),
        known: Sequence[tuple[str | None, Shape | None]] | None = None,
    ) -> tuple[str, ...]:
        """Append a node and return the names of its outputs.

        Parameters
        ----------
        op_type, inputs, name, domain, attributes, control_inputs
            As in :class:`~graphviz_nets.graph.ir.Node`. The name defaults to the scope and the operation.
        outputs : int or sequence of str
            How many values to make, or their names.
        known : sequence of (dtype, shape), optional
            Types of the outputs where the caller knows better than the shape table.
        """
        base = name or "/".join((*self.scope, op_type))
        node_id = base
        while node_id in self._ids:
            self._next[base + "\0"] = self._next.get(base + "\0", 1) + 1
            node_id = f"{base}:{self._next[base + chr(0)]}"
        self._ids.add(node_id)
        if isinstance(outputs, int):
            names: tuple[str, ...] = ()
            for _ in range(outputs):
                names += (self.fresh(node_id, {*self.values, *names}) if names else self.fresh(node_id),)
        else:
            names = tuple(outputs)
        node = Node(
            op_type, tuple(inputs), names, node_id, node_id, domain, attributes or {}, tuple(control_inputs), self.scope
        )
        self.nodes.append(node)
        self.declare(node, known)
        return names

    def declare(self, node: Node, known: Sequence[tuple[str | None, Shape | None]] | None = None) -> None:
        """Enter the outputs of a node, with the types that the shape table gives them."""
        types = known if known is not None else shapes.infer_node(node, self.typed, self.problems, self.opset)
        for output, (dtype, shape) in zip(node.outputs, types, strict=False):
            if output:
                self.values[output] = Value(output, dtype, shape)
        for output in node.outputs:
            if output and output not in self.values:
                self.values[output] = Value(output)

    def typed(self, name: str) -> Value | Tensor | None:
        """Return the tensor or value called `name`, None for an omitted input."""
        if not name:
            return None
        return self.initializers.get(name) or self.values.get(name) or Value(name)

    def shape(self, name: str) -> Shape | None:
        """Return a value's shape, None where unknown."""
        found = self.typed(name)
        return None if found is None else found.shape

    def rename(self, old: str, new: str, since: int = 0) -> str:
        """Give a value another name in all nodes from the one at index `since` on; return the new name."""
        if old == new:
            return new

        def renamed(names: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(new if name == old else name for name in names)

        for k in range(since, len(self.nodes)):
            node = self.nodes[k]
            if old in node.outputs or old in node.inputs:
                self.nodes[k] = replace(node, inputs=renamed(node.inputs), outputs=renamed(node.outputs))
        value = self.values.pop(old)
        self.values[new] = Value(new, value.dtype, value.shape)
        return new

    def graph(self, outputs: Sequence[str]) -> Graph:
        """Freeze into a Graph with these outputs."""
        nodes, cut = sort(self.nodes)
        return Graph(self.name, nodes, tuple(self.inputs), tuple(outputs), self.values, self.initializers, cut)

    def model(self, outputs: Sequence[str], scopes: Sequence[Scope] = (), **fields: Any) -> Model:
        """Freeze into a Model; parents of the given scopes that are missing become name scopes."""
        declared = {scope.path: scope for scope in scopes}
        table: dict[Path, Scope] = {}
        for path, scope in declared.items():
            for above in parents([path]):
                table.setdefault(above, declared.get(above) or Scope(above))
            table[path] = scope
        for path in dict.fromkeys(node.scope for node in self.nodes):
            for above in (*parents([path]), path):
                if above:
                    table.setdefault(above, Scope(above))
        opsets = {"": self.opset, **{node.domain: 1 for node in self.nodes if node.domain}}
        fields.setdefault("problems", tuple(self.problems))
        return Model(self.graph(outputs), scopes=table, opset_imports=freeze(opsets), **fields)
