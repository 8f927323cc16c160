"""Model, Graph, Node, Value, Tensor: ONNX's own words as frozen dataclasses.

Values are connected by name, as in ONNX. An edit makes a new object (``dataclasses.replace``). A cycle is data: the
graph lists the inputs that are cut for ordering in ``back_edges``.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from graphviz_nets import plugins
from graphviz_nets.errors import GraphError
from graphviz_nets.graph.scopes import Path, Scope

if TYPE_CHECKING:
    import networkx

Shape: TypeAlias = tuple["int | str | None", ...]
"""Dimensions: a number, a symbol's name, or None where nothing is known. An unknown rank is a Shape of None."""

NOTHING: Mapping[str, Any] = MappingProxyType({})


def nothing() -> Mapping[str, Any]:
    """Return the one empty mapping that all objects without entries share."""
    return NOTHING


ITEM_BITS: Mapping[str, int] = {
    "float32": 32, "uint8": 8, "int8": 8, "uint16": 16, "int16": 16, "int32": 32, "int64": 64, "string": 0, "bool": 8,
    "float16": 16, "float64": 64, "uint32": 32, "uint64": 64, "complex64": 64, "complex128": 128, "bfloat16": 16,
    "float8e4m3fn": 8, "float8e4m3fnuz": 8, "float8e5m2": 8, "float8e5m2fnuz": 8, "uint4": 4, "int4": 4,
    "float4e2m1": 4, "float8e8m0": 8, "uint2": 2, "int2": 2, "float6e2m3": 6, "float6e3m2": 6,
}  # fmt: skip
"""Bits of one element for every dtype the IR knows, by its name (ONNX's, with numpy's spelling)."""


def freeze(mapping: Mapping[Any, Any] | None) -> Mapping[Any, Any]:
    """Return an immutable mapping with the same items.

    Examples
    --------
    >>> freeze({"axis": 1})["axis"]
    1
    """
    if not mapping:
        return NOTHING
    return mapping if isinstance(mapping, MappingProxyType) else MappingProxyType(dict(mapping))


def float32(value: float) -> float:
    """Round to the nearest single-precision number, which is what an ONNX float attribute can hold.

    Examples
    --------
    >>> float32(0.1)
    0.10000000149011612
    """
    if math.isnan(value):
        return math.nan  # one object, so that attributes which hold it compare equal
    try:
        return float(struct.unpack("f", struct.pack("f", value))[0])
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


@dataclass(frozen=True)
class Ref:
    """An attribute's value inside a function body that stands for the call's attribute `name` of ONNX type `kind`."""

    name: str
    kind: str


@dataclass(frozen=True)
class Value:
    """A named edge of the graph: its element type and shape, as far as known.

    Attributes
    ----------
    name : str
        The value's unique name in its graph.
    dtype : str or None
        Element type, such as ``"float32"``; None where unknown.
    shape : tuple or None
        Dimensions; None where not even the rank is known.
    container : tuple of str
        What wraps the tensor, outermost first: ``"sequence"``, ``"optional"``, ``"map:int64"``, ``"sparse"``.
    metadata : mapping of str to str
        ``gvn.blob`` holds the name the source gives it, where that differs from `name`.
    """

    name: str
    dtype: str | None = None
    shape: Shape | None = None
    container: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=nothing)

    def __post_init__(self) -> None:
        if self.metadata is not NOTHING:
            object.__setattr__(self, "metadata", freeze(self.metadata))

    @property
    def source_name(self) -> str:
        """The name that the source file uses for this value."""
        return self.metadata.get("gvn.blob", self.name)


_CODES = {"int64": "q", "int32": "i", "float32": "f", "float64": "d", "bool": "?"}
"""How Python packs the numbers of small constants."""


@dataclass(frozen=True, eq=False)
class Tensor:
    """A constant: weights, or a small array of numbers. Its data may be absent or read on demand.

    Attributes
    ----------
    name, dtype, shape
        As in ONNX; `shape` is all numbers, or holds None where an absent tensor's size is unknown.
    data : bytes, callable or None
        Little-endian C-order bytes as in ONNX ``raw_data``; a callable makes or reads them when first asked (through
        :meth:`bytes`); None where only the structure is known.
    role : {"parameter", "buffer", "constant"} or None
        What it is for: learnt, running statistics, or part of the computation. None: decided by its use.
    metadata : mapping of str to str
        Anything else, such as ``gvn.blob``.
    """

    name: str
    dtype: str
    shape: Shape
    data: bytes | tuple[bytes, ...] | Callable[[], bytes] | None = None
    role: str | None = None
    metadata: Mapping[str, str] = field(default_factory=nothing)

    def __post_init__(self) -> None:
        if self.metadata is not NOTHING:
            object.__setattr__(self, "metadata", freeze(self.metadata))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tensor):
            return NotImplemented
        return (
            (self.name, self.dtype, self.shape, self.role) == (other.name, other.dtype, other.shape, other.role)
            and self.metadata == other.metadata
            and (self.data is None) == (other.data is None)
            and (self.data is other.data or self.bytes() == other.bytes())
        )

    def __hash__(self) -> int:
        return hash((self.name, self.dtype, self.shape))

    def bytes(self) -> Any:
        """Return the data: bytes, or a tuple of bytes for strings.

        Raises
        ------
        GraphError
            When only the structure of the tensor is known.
        """
        if self.data is None:
            raise GraphError("the tensor has no data", node=self.name, hint="give the weights with --weights")
        return self.data() if callable(self.data) else self.data

    @property
    def count(self) -> int | None:
        """Number of elements, None where a dimension is unknown."""
        return count(self.shape)

    @property
    def nbytes(self) -> int | None:
        """Size of the data in bytes, None where unknown."""
        return None if self.count is None else (self.count * ITEM_BITS[self.dtype] + 7) // 8

    @classmethod
    def of(cls, name: str, dtype: str, values: Iterable[int | float], shape: Shape | None = None) -> Tensor:
        """Make a small constant from Python numbers (``int64``, ``float32``, ``bool``).

        Examples
        --------
        >>> Tensor.of("axes", "int64", [1, 2]).shape
        (2,)
        """
        numbers = tuple(values)
        data = struct.pack(f"<{len(numbers)}{_CODES[dtype]}", *numbers)
        return cls(name, dtype, (len(numbers),) if shape is None else shape, data, "constant")

    def numbers(self) -> tuple[Any, ...] | None:
        """Return the elements of a small tensor that has data and Python's numbers, else None.

        Examples
        --------
        >>> Tensor.of("scales", "float32", [1, 2.5]).numbers()
        (1.0, 2.5)
        """
        code = _CODES.get(self.dtype)
        if code is None or self.data is None or self.count is None or self.count > 1024:
            return None
        return struct.unpack(f"<{self.count}{code}", self.bytes())

    def integers(self) -> tuple[int, ...] | None:
        """Return the elements of a small int64 or int32 tensor that has data, else None."""
        return self.numbers() if self.dtype in ("int64", "int32") else None


def count(shape: Shape | None) -> int | None:
    """Return the number of elements of a shape, None where a dimension is not a number.

    Examples
    --------
    >>> count((2, 3)), count(()), count((2, "n"))
    (6, 1, None)
    """
    if shape is None:
        return None
    total = 1
    for dim in shape:
        if not isinstance(dim, int):
            return None
        total *= dim
    return total


Attribute: TypeAlias = (
    "int | float | str | bytes | Tensor | Graph | Value | Ref | tuple[int, ...] | tuple[float, ...] | "
    "tuple[str, ...] | tuple[bytes, ...] | tuple[Tensor, ...] | tuple[Graph, ...] | tuple[Value, ...]"
)


def _attribute(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float):
        return float32(value)
    if isinstance(value, (list, tuple)):
        return tuple(_attribute(item) for item in value)
    return value


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes
    ----------
    op_type, domain
        The operation, in ONNX's vocabulary or in a domain named after its framework (``caffe``).
    inputs, outputs : tuple of str
        Value names; the empty string leaves an optional one out.
    id : str
        Unique in its graph; the name where that is unique.
    name : str
        As in the file; may be empty or repeated.
    attributes : mapping of str to Attribute
        Numbers, strings, tensors, graphs, or tuples of them. Floats are held in single precision.
    control_inputs : tuple of str
        Ids of nodes that must run before this one.
    scope : tuple of str
        Path of the scope that holds the node.
    """

    op_type: str
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    id: str = ""
    name: str = ""
    domain: str = ""
    attributes: Mapping[str, Any] = field(default_factory=nothing)
    control_inputs: tuple[str, ...] = ()
    scope: Path = ()
    overload: str = ""
    doc: str = ""
    metadata: Mapping[str, str] = field(default_factory=nothing)

    def __post_init__(self) -> None:
        if not self.id:
            object.__setattr__(self, "id", self.name or self.op_type)
        if self.attributes is not NOTHING:
            object.__setattr__(
                self, "attributes", freeze({key: _attribute(value) for key, value in self.attributes.items()})
            )
        if self.metadata is not NOTHING:
            object.__setattr__(self, "metadata", freeze(self.metadata))

    @property
    def label(self) -> str:
        """The operation as people write it: ``Conv``, ``caffe::Axpy``."""
        return f"{self.domain}::{self.op_type}" if self.domain else self.op_type

    def moved(self, scope: Path) -> Node:
        """Return the same node in another scope, without looking at its attributes again."""
        other = object.__new__(Node)
        other.__dict__.update(self.__dict__, scope=scope)
        return other

    def graphs(self) -> Iterator[tuple[str, Graph]]:
        """Yield the graphs among the attributes, each with a name: ``then_branch``, ``branches[0]``."""
        for key, value in self.attributes.items():
            if isinstance(value, Graph):
                yield key, value
            elif isinstance(value, tuple):
                for index, item in enumerate(value):
                    if isinstance(item, Graph):
                        yield f"{key}[{index}]", item


@dataclass(frozen=True)
class Graph:
    """Nodes in topological order once `back_edges` are cut, and what is known of their values.

    Attributes
    ----------
    inputs, outputs : tuple of str
        Value names.
    values : mapping of str to Value
        Types and shapes by value name, graph inputs and outputs included; a value without an entry is unknown.
    initializers : mapping of str to Tensor
        Constants by name, with or without data.
    back_edges : tuple of (str, int)
        (node id, input index) pairs that close a cycle.
    """

    name: str = ""
    nodes: tuple[Node, ...] = ()
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    values: Mapping[str, Value] = field(default_factory=nothing)
    initializers: Mapping[str, Tensor] = field(default_factory=nothing)
    back_edges: tuple[tuple[str, int], ...] = ()
    doc: str = ""
    metadata: Mapping[str, str] = field(default_factory=nothing)

    def __post_init__(self) -> None:
        for name in ("values", "initializers", "metadata"):
            object.__setattr__(self, name, freeze(getattr(self, name)))

    @cached_property
    def producers(self) -> Mapping[str, Node]:
        """The node that makes each value."""
        return {output: node for node in self.nodes for output in node.outputs if output}

    @cached_property
    def consumers(self) -> Mapping[str, tuple[tuple[Node, int], ...]]:
        """The (node, input index) pairs that use each value, in order."""
        found: dict[str, list[tuple[Node, int]]] = {}
        for node in self.nodes:
            for index, name in enumerate(node.inputs):
                if name:
                    found.setdefault(name, []).append((node, index))
        return {name: tuple(uses) for name, uses in found.items()}

    @cached_property
    def by_id(self) -> Mapping[str, Node]:
        """Nodes by id."""
        return {node.id: node for node in self.nodes}

    @cached_property
    def undefined(self) -> tuple[str, ...]:
        """Values that are used but made by nobody, in order of first use (a nested graph may find them outside)."""
        known = self.producers.keys() | self.initializers.keys() | set(self.inputs)
        used = (name for node in self.nodes for name in node.inputs if name)
        return tuple(dict.fromkeys(name for name in used if name not in known))

    @cached_property
    def tensors(self) -> Mapping[str, Tensor]:
        """The initializers, and the tensors that Constant nodes make."""
        made = {
            node.outputs[0]: node.attributes["value"]
            for node in self.nodes
            if node.op_type == "Constant" and node.outputs and isinstance(node.attributes.get("value"), Tensor)
        }
        return {**made, **self.initializers} if made else self.initializers

    def value(self, name: str) -> Value:
        """Return what is known of a value; an unknown one has neither dtype nor shape."""
        found = self.values.get(name)
        if found is not None:
            return found
        tensor = self.initializers.get(name)
        return Value(name, tensor.dtype, tensor.shape) if tensor is not None else Value(name)

    def check(self) -> None:
        """Raise GraphError unless ids are unique, each value has one producer and the order is topological."""
        seen: set[str] = set()
        made: set[str] = set()
        cut = set(self.back_edges)
        later = self.producers.keys()
        for node in self.nodes:
            if node.id in seen:
                raise GraphError("the node id is used twice", node=node.id)
            seen.add(node.id)
            for index, name in enumerate(node.inputs):
                if name in later and name not in made and (node.id, index) not in cut:
                    raise GraphError(f"input {name!r} is made later and is no back edge", node=node.id)
            for name in node.outputs:
                if name and name in made:
                    raise GraphError(f"value {name!r} has two producers", node=node.id)
                made.add(name)


def sort(nodes: Iterable[Node]) -> tuple[tuple[Node, ...], tuple[tuple[str, int], ...]]:
    """Return the nodes in a stable topological order, and the (node id, input index) pairs that had to be cut.

    The order is the given one wherever that is possible. Inputs that close a cycle are found by a depth-first walk.

    Examples
    --------
    >>> nodes, cut = sort([Node("B", ("a",), ("b",), "B"), Node("A", ("b",), ("a",), "A")])
    >>> [node.id for node in nodes], cut
    (['A', 'B'], (('A', 0),))
    """
    listed = tuple(nodes)
    position = {output: k for k, node in enumerate(listed) for output in node.outputs if output}
    state = [0] * len(listed)  # 0 new, 1 on the walk's path, 2 done
    order: list[Node] = []
    cut: list[tuple[str, int]] = []
    for root in range(len(listed)):
        if state[root]:
            continue
        stack = [(root, 0)]
        state[root] = 1
        while stack:
            here, index = stack.pop()
            node = listed[here]
            for index in range(index, len(node.inputs)):  # noqa: B020
                source = position.get(node.inputs[index])
                if source is None or state[source] == 2:
                    continue
                if state[source] == 1:
                    cut.append((node.id, index))
                    continue
                stack += [(here, index + 1), (source, 0)]
                state[source] = 1
                break
            else:
                state[here] = 2
                order.append(node)
    return tuple(order), tuple(cut)


@dataclass(frozen=True)
class Function:
    """A model-local function: its body is a graph whose inputs and outputs are the function's."""

    name: str
    domain: str
    body: Graph
    attributes: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=nothing)
    opset_imports: Mapping[str, int] = field(default_factory=nothing)
    overload: str = ""

    def __post_init__(self) -> None:
        defaults = {key: _attribute(value) for key, value in self.defaults.items()}
        object.__setattr__(self, "defaults", freeze(defaults))
        object.__setattr__(self, "opset_imports", freeze(self.opset_imports))


@dataclass(frozen=True)
class Model:
    """A network: its graph, its hierarchy and where it came from.

    Attributes
    ----------
    graph : Graph
        The main graph.
    framework : str
        ``caffe``, ``onnx``, ...
    scopes : mapping of path to Scope
        The hierarchy, parents before children, layers in source order.
    opset_imports : mapping of str to int
        Opset version by domain; ``""`` is ONNX itself.
    problems : tuple of str
        What the converter noticed, one line each; the model can be drawn all the same.

    Examples
    --------
    >>> Model(Graph("empty")).runnable
    True
    """

    graph: Graph
    framework: str = "onnx"
    scopes: Mapping[Path, Scope] = field(default_factory=dict)
    opset_imports: Mapping[str, int] = field(default_factory=lambda: freeze({"": 18}))
    functions: tuple[Function, ...] = ()
    problems: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=nothing)
    doc: str = ""

    def __post_init__(self) -> None:
        for name in ("scopes", "opset_imports", "metadata"):
            object.__setattr__(self, name, freeze(getattr(self, name)))

    @property
    def name(self) -> str:
        """The network's name."""
        return self.graph.name

    @cached_property
    def layers(self) -> tuple[Scope, ...]:
        """The scopes that the source calls layers, in source order."""
        return tuple(scope for scope in self.scopes.values() if scope.kind == "layer")

    @cached_property
    def obstacles(self) -> tuple[str, ...]:
        """Why the model cannot run, one line each; empty where it can."""
        found: list[str] = []
        local = {(function.domain, function.name) for function in self.functions}
        for graph in graphs(self.graph):
            for node in graph.nodes:
                if node.domain not in ONNX_DOMAINS and (node.domain, node.op_type) not in local:
                    found.append(f"{node.id}: {node.label} is not an ONNX operation")
            found += [f"{name}: the tensor has no data" for name, t in graph.initializers.items() if t.data is None]
            found += [f"{node}: input {index} closes a cycle" for node, index in graph.back_edges]
        found += [f"{name}: nothing makes this value" for name in self.graph.undefined]
        return tuple(found)

    @property
    def runnable(self) -> bool:
        """Whether every node is an ONNX operation, every tensor has data and there is no cycle."""
        return not self.obstacles

    def to_networkx(self) -> networkx.MultiDiGraph:
        """Return the main graph as a networkx multigraph: node ids to nodes, one edge a used value.

        Graph inputs are nodes of ``op_type`` "Input"; edges carry ``value``, ``output`` and ``input`` (positions),
        control edges carry ``control=True``.
        """
        import networkx

        result = networkx.MultiDiGraph(name=self.name)
        result.add_nodes_from((f"input:{name}", {"op_type": "Input", "value": name}) for name in self.graph.inputs)
        for node in self.graph.nodes:
            result.add_node(node.id, op_type=node.label, scope=node.scope, node=node)
        for node in self.graph.nodes:
            for index, name in enumerate(node.inputs):
                maker = self.graph.producers.get(name)
                if maker is not None:
                    result.add_edge(maker.id, node.id, value=name, output=maker.outputs.index(name), input=index)
                elif name in self.graph.inputs:
                    result.add_edge(f"input:{name}", node.id, value=name, output=0, input=index)
            result.add_edges_from((before, node.id, {"control": True}) for before in node.control_inputs)
        return result

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """Return SVG and HTML for a notebook."""
        return dict(plugins.resolve("notebook", "bundle")(self))

    def with_graph(self, graph: Graph) -> Model:
        """Return the same model around another graph."""
        return replace(self, graph=graph)


ONNX_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "ai.onnx.preview.training", "com.microsoft"})


def graphs(graph: Graph) -> Iterator[Graph]:
    """Yield a graph and every graph nested in its nodes' attributes, outer ones first."""
    waiting = [graph]
    while waiting:
        here = waiting.pop()
        yield here
        waiting += [inner for node in here.nodes if node.attributes for _, inner in node.graphs()]
