"""Reverse mode on the IR: the gradient of a value as ONNX nodes beside the model's own.

Rules stand in tables by operation (:mod:`graphviz_nets.explain.rules`). A rule appends nodes with the Builder and
returns what reaches each input. Methods that change the backward pass (guided backprop, LRP...) lay a table of rules of
the same signature over the first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from graphviz_nets.errors import GraphError, NoRule
from graphviz_nets.graph.builder import Builder
from graphviz_nets.graph.ir import Graph, Node, Shape, count
from graphviz_nets.graph.rules import Table

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

Rule: TypeAlias = "Callable[[Builder, Step], Sequence[str | None]]"

vjp: Table[Rule] = Table("vjp")

FLOATING = ("float32", "float64", "float16", "bfloat16")
BLACK_BOX = "methods that need no gradient still work: occlusion, rise"


@dataclass
class Step:
    """One node on the way back.

    Attributes
    ----------
    op : Builder
        Where nodes go.
    node : Node
        The node of the forward pass.
    grads : tuple of (str or None)
        What has reached each of its outputs; at least one has.
    wanted : tuple of bool
        Whether anything is to reach each of its inputs.
    twin : mapping of str to str
        A value's counterpart in a second forward pass, for methods that compare two inputs.
    """

    op: Builder
    node: Node
    grads: tuple[str | None, ...]
    wanted: tuple[bool, ...]
    twin: Mapping[str, str] = field(default_factory=dict)

    @property
    def g(self) -> str:
        """What has reached the first output."""
        found = self.grads[0]
        if found is None:
            raise self.refused("a gradient reaches only its further outputs")
        return found

    @property
    def y(self) -> str:
        """The first output."""
        return self.node.outputs[0]

    def x(self, k: int = 0) -> str:
        """Return an input's name."""
        return self.node.inputs[k]

    def given(self, k: int) -> bool:
        """Say whether an optional input is there."""
        return k < len(self.node.inputs) and bool(self.node.inputs[k])

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a value, which must be all numbers."""
        shape = self.op.shape(name)
        if shape is None or count(shape) is None:
            raise GraphError(
                f"the shape of {name!r} must be known to differentiate {self.node.label}", node=self.node.id,
                hint="give the shape of the input with --input-shape",
            )  # fmt: skip
        return tuple(dim for dim in shape if isinstance(dim, int))

    def attribute(self, name: str, default: Any = None) -> Any:
        """Return an attribute."""
        return self.node.attributes.get(name, default)

    def constant(self, k: int) -> Array | None:
        """Return the numbers of an input that is a constant, None for any other."""
        return constant(self.op, self.node.inputs[k]) if self.given(k) else None

    def numbers(self, k: int) -> list[int]:
        """Return the numbers of an input that must be a constant."""
        found = self.constant(k)
        if found is None:
            raise self.refused(f"its input {k} must be a constant")
        return [int(value) for value in found.reshape(-1)]

    def output(self, k: int) -> str:
        """Return an output of the node, which it gets where it did not ask for it."""
        if k < len(self.node.outputs) and self.node.outputs[k]:
            return self.node.outputs[k]
        names = list(self.node.outputs) + [""] * (k + 1 - len(self.node.outputs))
        names[k] = self.op.fresh(f"{self.node.id}/output_{k}")
        index = next(i for i, node in enumerate(self.op.nodes) if node.id == self.node.id)
        self.node = self.op.nodes[index] = replace(self.op.nodes[index], outputs=tuple(names))
        self.op.declare(self.node)
        return names[k]

    def refused(self, why: str) -> NoRule:
        """Return the error of a rule that does not cover a case."""
        return NoRule(f"{self.node.label} ({self.node.id}): {why}", "vjp", hint=BLACK_BOX)


def constant(op: Builder, name: str) -> Array | None:
    """Return an initializer's numbers, None where there is none or it has no data."""
    import numpy as np

    tensor = op.initializers.get(name)
    if tensor is None or tensor.data is None or tensor.dtype == "string":
        return None
    dtype = "u2" if tensor.dtype == "bfloat16" else {"bool": "?"}.get(tensor.dtype, tensor.dtype)
    return np.frombuffer(tensor.bytes(), np.dtype(dtype).newbyteorder("<")).reshape([int(d or 0) for d in tensor.shape])


def array(op: Builder, name: str, values: Array) -> str:
    """Add a constant array and return its name; it becomes float32 unless it holds integers."""
    import numpy as np

    whole = values.dtype.kind in "iu"
    data = np.ascontiguousarray(values, "<i8" if whole else "<f4")
    return op.weight(name, values.shape, data.tobytes(), "int64" if whole else "float32", role="constant")


@dataclass(frozen=True)
class Backward:
    """A graph with gradients in it.

    Attributes
    ----------
    graph : Graph
        The model's nodes, and those of the gradient.
    seed : str
        The extra input that weighs the elements of the target: all results are gradients of sum(seed * target).
    gradients : mapping of str to str
        The value that holds the gradient, for every one asked for; it has that value's shape.
    """

    graph: Graph
    seed: str
    gradients: Mapping[str, str]


def grad(
    graph: Graph,
    y: str,
    wrt: Sequence[str],
    rules: Mapping[str, Rule] | None = None,
    *,
    twin: Mapping[str, str] | None = None,
    opset: int = 18,
) -> Backward:
    """Return a graph that computes the gradient of a value with respect to others.

    Only nodes between these values and the target get a counterpart. Contributions of several uses are summed.

    Parameters
    ----------
    graph : Graph
        With shapes that are all numbers on the way (see :func:`graphviz_nets.explain.prepare.prepare`).
    y : str
        The target.
    wrt : sequence of str
        Values to differentiate by: inputs, weights or anything between.
    rules : mapping of str to rule, optional
        By operation; the exact ones by default.
    twin : mapping of str to str, optional
        See :class:`Step`.
    opset : int
        Of the graph, at least 18.

    Returns
    -------
    Backward
        Its graph has the model's inputs and the seed, and as outputs the model's and the gradients.

    Raises
    ------
    NoRule
        When an operation on the way has no rule.
    GraphError
        When there is no such value, or no way from one to the target.

    Examples
    --------
    >>> op = Builder("square")
    >>> x = op.input("x", "float32", (2,))
    >>> y = op.Mul(x, x)
    >>> found = grad(op.graph([y]), y, ["x"])
    >>> found.seed, [node.op_type for node in found.graph.nodes]
    ('Mul/seed', ['Mul', 'Mul', 'Mul', 'Add', 'Identity'])
    """
    from graphviz_nets.explain.rules import VJP

    table = VJP if rules is None else rules
    op = Builder.of(graph, opset)
    for name in (y, *wrt):
        if name not in op.values and name not in op.initializers:
            raise GraphError(f"there is no value {name!r}")
    op.values.setdefault(y, graph.value(y))
    reached = _reached(graph.nodes, wrt)
    if y not in reached:
        raise GraphError(f"{y!r} does not depend on {', '.join(map(repr, wrt))}")
    seed = op.input(f"{y}/seed", "float32", op.shape(y))
    pending: dict[str, list[str]] = {y: [seed]}
    kept: dict[str, str] = {}
    for node in reversed(graph.nodes):
        if not any(name in pending for name in node.outputs if name):
            continue
        grads = []
        for name in node.outputs:
            found = _summed(op, pending.pop(name)) if name in pending else None
            if found is not None and name in wrt:
                kept[name] = found
            grads.append(found)
        wanted = tuple(name in reached and _floating(op, name) for name in node.inputs)
        if not any(wanted):
            continue
        rule = table.get(node.op_type) if node.domain in ("", "ai.onnx", "com.microsoft") else None
        if rule is None:
            raise NoRule(
                f"{node.label} ({node.id})", "vjp", hint=f"{BLACK_BOX}; or add a rule with @vjp({node.op_type!r})"
            )
        op.scope = ("gradient", *node.scope)
        results = rule(op, Step(op, node, tuple(grads), wanted, twin or {}))
        for k, (name, found) in enumerate(zip(node.inputs, results, strict=False)):
            if found is not None and wanted[k]:
                if op.shape(found) is None and found in op.values:
                    op.values[found] = replace(op.values[found], dtype="float32", shape=op.shape(name))
                pending.setdefault(name, []).append(found)
    op.scope = ()
    for name in wrt:
        if name in pending:
            kept[name] = _summed(op, pending[name])
        if name not in kept:
            raise GraphError(f"no gradient reaches {name!r}: it acts through operations that have none")
    # Two values may have one gradient, and the seed may be one: each gets a name of its own.
    known = {name: [("float32", op.shape(name))] for name in wrt}
    gradients = {
        name: op.node("Identity", [kept[name]], [op.fresh(f"{name}/gradient")], known=known[name])[0] for name in wrt
    }
    return Backward(op.graph([*graph.outputs, *gradients.values()]), seed, gradients)


def _reached(nodes: Sequence[Node], wrt: Sequence[str]) -> set[str]:
    """Return all values that depend on some of these."""
    found = set(wrt)
    for node in nodes:
        captured = {name for _, inner in node.graphs() for name in inner.undefined}
        if any(name in found for name in node.inputs) or captured & found:
            found.update(name for name in node.outputs if name)
    return found


def _floating(op: Builder, name: str) -> bool:
    value = op.typed(name)
    return value is None or value.dtype is None or value.dtype in FLOATING


def _summed(op: Builder, parts: Sequence[str]) -> str:
    total = parts[0]
    for part in parts[1:]:
        total = op.Add(total, part)
    return total


# What rules share -------------------------------------------------------------------------------------------------


def reshaped(op: Builder, value: str, shape: Sequence[int]) -> str:
    """Return a value in a shape of numbers."""
    return value if op.shape(value) == tuple(shape) else op.Reshape(value, op.constant(list(shape)))


def unbroadcast(op: Builder, g: str, shape: Shape) -> str:
    """Add up what was broadcast: the gradient of a value of this shape that met larger ones."""
    have = op.shape(g)
    if have is None or have == tuple(shape):
        return g
    lead = len(have) - len(shape)
    axes = [*range(lead), *(lead + k for k, dim in enumerate(shape) if dim == 1 and have[lead + k] != 1)]
    total = op.ReduceSum(g, op.constant(axes), keepdims=0) if axes else g
    return reshaped(op, total, [int(dim or 1) for dim in shape])


def filled(op: Builder, value: float, shape: Sequence[int]) -> str:
    """Return a value that is the same number everywhere, without storing it."""
    return op.Expand(op.scalar(value), op.constant(list(shape))) if shape else op.scalar(value)


def mask(op: Builder, condition: str) -> str:
    """Return a truth as 0 and 1."""
    return op.Cast(condition, to=1)


def over(op: Builder, value: str, by: str) -> str:
    """Return value / by, 0 where `by` is 0."""
    zero = op.Equal(by, op.scalar(0.0))
    safe = op.Where(zero, op.scalar(1.0), by)
    return op.Mul(op.Div(value, safe), mask(op, op.Not(zero)))
