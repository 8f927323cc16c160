"""Cost table: parameters, multiply-accumulates, operations and bytes, by layer, scope or node.

A rule is ``rule(node, inputs, outputs) -> (macs, flops)`` at the file's own batch, each None where a needed size is
unknown. Multiply-accumulates (MACs) count convolutions, transposed convolutions, matrix products and recurrent cells;
FLOPs are two per MAC plus the rest: one per output element of an element-wise operation, one per window element of a
pooling, two per element of a normalisation with fixed statistics, five per element of a softmax, none for moving data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, TypeAlias

from graphviz_nets.graph.ir import ITEM_BITS, Graph, Model, Node, Shape, Tensor, Value, count
from graphviz_nets.graph.rules import Table
from graphviz_nets.graph.scopes import Path, Scope

Typed: TypeAlias = "Value | Tensor | None"
Rule: TypeAlias = "Callable[[Node, Sequence[Typed], Sequence[Value]], tuple[int | None, int | None]]"

cost: Table[Rule] = Table("cost", foreign="cost")


@dataclass(frozen=True)
class Row:
    """One line of the table. Sizes are None where unknown; `macs` and `flops` are per sample."""

    name: str
    scope: str
    type: str
    inputs: tuple[tuple[str, Shape | None], ...]
    outputs: tuple[tuple[str, Shape | None], ...]
    parameters: int | None
    buffers: int | None
    macs: int | None
    flops: int | None
    weight_bytes: int | None
    activation_bytes: int | None
    attributes: Mapping[str, Any]
    source: str
    id: str = ""

    @property
    def level(self) -> int:
        """How many groups hold the row."""
        return self.scope.count("/") + 1 if self.scope else 0

    def document(self) -> dict[str, Any]:
        """Return the row as plain data, as reports and pages give it."""
        return {
            "name": self.name,
            "scope": self.scope,
            "type": self.type,
            "inputs": [[name, None if shape is None else list(shape)] for name, shape in self.inputs],
            "outputs": [[name, None if shape is None else list(shape)] for name, shape in self.outputs],
            "parameters": self.parameters,
            "buffers": self.buffers,
            "macs": self.macs,
            "flops": self.flops,
            "weight_bytes": self.weight_bytes,
            "activation_bytes": self.activation_bytes,
            "attributes": {key: _plain(value) for key, value in self.attributes.items()},
            "source": self.source,
            "id": self.id,
        }


def _plain(value: Any) -> Any:
    """Return an attribute as reports show it: a few numbers as they are, of what is large what it is.

    Examples
    --------
    >>> _plain(Tensor.of("v", "float32", [0.5], ())), _plain(Tensor("w", "float32", (64, 3))), _plain("SAME")
    (0.5, 'float32[64,3]', 'SAME')
    """
    if isinstance(value, Tensor):
        numbers = value.numbers() if (value.count or 0) <= 16 else None
        if numbers is None or len(value.shape) > 1:
            return f"{value.dtype}[{','.join('?' if dim is None else str(dim) for dim in value.shape)}]"
        return numbers if value.shape else numbers[0]
    if isinstance(value, Graph):
        return f"graph of {len(value.nodes)} nodes"
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


@dataclass(frozen=True)
class Summary:
    """Rows and their totals; a weight shared by two rows counts in both rows and once in the totals."""

    rows: tuple[Row, ...]
    layers: int | None
    nodes: int
    parameters: int | None
    buffers: int | None
    macs: int | None
    flops: int | None
    weight_bytes: int | None
    activation_bytes: int | None

    @property
    def totals(self) -> dict[str, int | None]:
        """The totals by name, in the order reports print them."""
        names = "layers nodes parameters buffers macs flops weight_bytes activation_bytes".split()
        return {name: getattr(self, name) for name in names}


def total(numbers: Iterable[int | None]) -> int | None:
    """Add numbers; None as soon as one is unknown.

    Examples
    --------
    >>> total([1, 2]), total([1, None])
    (3, None)
    """
    result = 0
    for number in numbers:
        if number is None:
            return None
        result += number
    return result


def batch_size(model: Model) -> int:
    """Return the first dimension of the first graph input that has one, 1 where it is no number."""
    for name in model.graph.inputs:
        shape = model.graph.value(name).shape
        if shape:
            return shape[0] if isinstance(shape[0], int) and shape[0] > 0 else 1
    return 1


class Costs:
    """What every part of one model costs; rows are made when asked for."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.batch = batch_size(model)
        self.roles = tensor_roles(model)
        single = of_one_sample(model)
        self.per_node = {node.id: node_cost(single, node) for node in model.graph.nodes}
        self.results = frozenset(model.graph.outputs)

    def repeat(self, times: Mapping[str, int | None]) -> None:
        """Count the nodes of a loop's body as often as they are run, by id; None where that is not known."""
        for name, number in times.items():
            self.per_node[name] = (0, 0) if number == 0 else tuple_times(self.per_node[name], number)

    def sample(self, number: int | None) -> int | None:
        """Return a count with the file's batch divided out."""
        if number is None:
            return None
        return number // self.batch if number % self.batch == 0 else round(number / self.batch)

    def row(
        self, scope: Path, name: str, type_: str, nodes: Sequence[Node], about: Scope | None = None, id_: str = ""
    ) -> Row:
        """Return what some nodes cost together.

        Parameters
        ----------
        scope, name, type_
            As the row shows them.
        nodes : sequence of Node
            A weight that several of them use counts once.
        about : Scope, optional
            A layer states its inputs, outputs and weights itself.
        id_ : str, optional
            The row's id; the scope's or the first node's by default.
        """
        values, roles, per_node = self.model.graph.value, self.roles, self.per_node
        layer = about is not None and about.kind == "layer"
        ins, outs = (list(about.inputs), list(about.outputs)) if layer and about else self._border(nodes)
        weights = list(about.weights) if layer and about else []
        weights += [name for node in nodes for name in node.inputs if name in roles]
        weights = [name for name in dict.fromkeys(weights) if roles.get(name) in ("parameter", "buffer")]
        tensors = [(roles[name], self.model.graph.tensors[name]) for name in weights]
        into = {values(n).source_name for n in ins}
        fresh = [name for name in outs if values(name).source_name not in into]
        source = f"{about.file}:{about.line}" if about is not None and about.line else about.file if about else ""
        return Row(
            name,
            "/".join(scope),
            type_,
            tuple((values(n).source_name, values(n).shape) for n in ins),
            tuple((values(n).source_name, values(n).shape) for n in outs),
            total(t.count for role, t in tensors if role == "parameter"),
            total(t.count for role, t in tensors if role == "buffer"),
            self.sample(total(per_node[node.id][0] for node in nodes)),
            self.sample(total(per_node[node.id][1] for node in nodes)),
            total(t.nbytes for _, t in tensors),
            total(value_bytes(values(n)) for n in fresh),
            attributes(about) if about is not None else dict(nodes[0].attributes) if len(nodes) == 1 else {},
            source,
            id_ or (about.id if about is not None else nodes[0].id),
        )

    def _border(self, nodes: Sequence[Node]) -> tuple[list[str], list[str]]:
        """Return the values that enter and leave a set of nodes."""
        graph = self.model.graph
        made = {name for node in nodes for name in node.outputs if name}
        ids = {node.id for node in nodes}
        ins = [n for node in nodes for n in node.inputs if n and n not in made and n not in graph.initializers]
        outs = [
            name
            for node in nodes
            for name in node.outputs
            if name and (name in self.results or any(user.id not in ids for user, _ in graph.consumers.get(name, ())))
        ]
        return list(dict.fromkeys(ins)), list(dict.fromkeys(outs))

    def summary(self, rows: Iterable[Row] = ()) -> Summary:
        """Return the model's totals over some rows."""
        graph, roles, layers = self.model.graph, self.roles, self.model.layers
        used = [(roles[name], t) for name, t in graph.tensors.items() if roles.get(name) in ("parameter", "buffer")]
        return Summary(
            tuple(rows),
            len(layers) if layers else None,
            len(graph.nodes),
            total(t.count for role, t in used if role == "parameter"),
            total(t.count for role, t in used if role == "buffer"),
            self.sample(total(macs for macs, _ in self.per_node.values())),
            self.sample(total(flops for _, flops in self.per_node.values())),
            total(t.nbytes for _, t in used),
            total(value_bytes(graph.value(name)) for name in _activations(self.model)),
        )


def tuple_times(costs: tuple[int | None, int | None], number: int | None) -> tuple[int | None, int | None]:
    """Return costs so many times; nothing stays nothing however often.

    Examples
    --------
    >>> tuple_times((0, 3), 4), tuple_times((0, 3), None)
    ((0, 12), (0, None))
    """
    macs, flops = (0 if one == 0 else _times(one, number) for one in costs)
    return macs, flops


def summary(model: Model, by: str = "layer") -> Summary:
    """Return the cost table of a model.

    Parameters
    ----------
    model : Model
        With shapes; see :func:`graphviz_nets.graph.shapes.infer`.
    by : {"layer", "scope", "node"}
        What a row is. Layers where the source has them, else nodes; ``scope`` gives a row to every group of layers.

    Returns
    -------
    Summary
        `macs` and `flops` per sample (the file's own batch divided out), bytes at the file's own batch.
    """
    costs, nodes, layers = Costs(model), model.graph.nodes, model.layers
    if by == "scope":
        below: dict[Path, list[Node]] = {}
        for node in nodes:
            for size in range(1, len(node.scope) + 1):
                below.setdefault(node.scope[:size], []).append(node)
        scopes = {**model.scopes, **{path: Scope(path) for path in below if path not in model.scopes}}
        return costs.summary(
            costs.row(path[:-1], scope.name, scope.type or scope.kind, below.get(path, []), scope)
            for path, scope in scopes.items()
        )
    inside: dict[Path, list[Node]] = {}
    held = {scope.path for scope in layers} if by == "layer" else set()
    for node in nodes:
        inside.setdefault(node.scope, []).append(node)
    rows = [costs.row(s.path[:-1], s.name, s.type, inside.get(s.path, []), s) for s in layers if s.path in held]
    rows += [costs.row(n.scope, n.name or n.id, n.label, [n]) for n in nodes if n.scope not in held]
    return costs.summary(rows)


def attributes(scope: Scope) -> dict[str, Any]:
    """Return a layer's parameters with its own ``x_param`` message opened.

    Examples
    --------
    >>> attributes(Scope(("ip",), "layer", type="InnerProduct",
    ...     parameters={"inner_product_param": {"num_output": 10}, "param": {"lr_mult": 2}}))
    {'num_output': 10, 'param': {'lr_mult': 2}}
    """
    own = {key for key, value in scope.parameters.items() if key.endswith("_param") and isinstance(value, Mapping)}
    own -= {"transform_param", "loss_param"}
    result: dict[str, Any] = {}
    for key, value in scope.parameters.items():
        if key in own and len(own) == 1:
            result.update(value)
        else:
            result[key] = value
    return result


TABLES = frozenset({"cos_cache", "sin_cache", "cos_cached", "sin_cached", "inv_freq", "running_mean", "running_var"})
"""Last parts of the names that frameworks give to what is not learnt."""
WEIGHTED = frozenset(
    "Conv ConvTranspose Gemm MatMul BatchNormalization InstanceNormalization LayerNormalization PRelu LSTM GRU RNN"
    .split()
)  # fmt: skip
"""Operations whose inputs after the first are weights."""


def of_one_sample(model: Model) -> Model:
    """Return the model at batch 1 where its batch is a symbol: all inputs begin with it and it stands nowhere else."""
    graph = model.graph
    shapes = [shape for name in graph.inputs if (shape := graph.value(name).shape)]
    batch = {shape[0] for shape in shapes}
    symbol = batch.pop() if len(batch) == 1 else None
    if not isinstance(symbol, str) or any(symbol in shape[1:] for shape in shapes):
        return model
    values = {
        name: replace(value, shape=tuple(1 if dim == symbol else dim for dim in value.shape))
        for name, value in graph.values.items()
        if value.shape is not None and symbol in value.shape
    }
    return model.with_graph(replace(graph, values={**graph.values, **values}))


def tensor_roles(model: Model) -> dict[str, str]:
    """Return parameter, buffer or constant for every initializer, judged by use where the tensor does not say.

    Floating-point tensors that feed a weight input are parameters, the statistics of a BatchNormalization and what
    frameworks name as tables are buffers, and integers and unused ones are constants. What a Constant node makes is a
    constant unless it is the weight of an operation that has weights.
    """
    roles: dict[str, str] = {}
    for name, tensor in model.graph.tensors.items():
        if tensor.role is not None:
            roles[name] = tensor.role
            continue
        uses = model.graph.consumers.get(name, ())
        floating = tensor.dtype.startswith(("float", "bfloat"))
        fixed = name not in model.graph.initializers and not any(
            node.op_type in WEIGHTED and index for node, index in uses
        )
        if not floating or not uses or fixed:
            roles[name] = "constant"
        elif name.rpartition(".")[2] in TABLES or all(
            node.op_type == "BatchNormalization" and index in (3, 4) for node, index in uses
        ):
            roles[name] = "buffer"
        else:
            roles[name] = "parameter" if tensor.count != 1 or tensor.shape else "constant"
    return roles


def node_cost(model: Model, node: Node) -> tuple[int | None, int | None]:
    """Return (macs, flops) of a node at the file's batch; an operation without a rule costs (0, None)."""
    graph = model.graph
    rule = cost.find(node.domain, node.op_type)
    if rule is None:
        return 0, None
    inputs = [graph.initializers.get(name) or graph.value(name) if name else None for name in node.inputs]
    try:
        return rule(node, inputs, [graph.value(name) for name in node.outputs])
    except (LookupError, ArithmeticError, TypeError, ValueError, AttributeError):
        # A file may leave out a needed attribute or input, or give it as another type.
        return None, None


def value_bytes(value: Value) -> int | None:
    """Return the size of a value in bytes, None where unknown."""
    elements = count(value.shape)
    return None if elements is None or value.dtype is None else (elements * ITEM_BITS[value.dtype] + 7) // 8


def _activations(model: Model) -> list[str]:
    """Return one value name per buffer that a run must hold: layer tops (in-place ones once), or node outputs."""
    if not model.layers:
        return [name for node in model.graph.nodes for name in node.outputs if name]
    tops: dict[str, str] = {}
    for layer in model.layers:
        for name in layer.outputs:
            tops[model.graph.value(name).source_name] = name
    return list(tops.values())


# Rules ------------------------------------------------------------------------------------------------------------


def _elements(value: Typed) -> int | None:
    return None if value is None else count(value.shape)


def _times(*factors: int | None) -> int | None:
    return (
        None if any(factor is None for factor in factors) else prod(factor for factor in factors if factor is not None)
    )


def _with_bias(macs: int | None, inputs: Sequence[Typed], outputs: Sequence[Value]) -> tuple[int | None, int | None]:
    bias = _elements(outputs[0]) if len(inputs) > 2 and inputs[2] is not None else 0
    return macs, None if macs is None or bias is None else 2 * macs + bias


@cost("Conv")
def conv(node: Node, inputs: Sequence[Typed], outputs: Sequence[Value]) -> tuple[int | None, int | None]:
    """Outputs times (channels of a group times kernel size), which is the weight's size per output channel."""
    w = inputs[1].shape if inputs[1] is not None else None
    return _with_bias(_times(_elements(outputs[0]), count(w[1:]) if w else None), inputs, outputs)


@cost("ConvTranspose")
def conv_transpose(node: Node, inputs: Sequence[Typed], outputs: Sequence[Value]) -> tuple[int | None, int | None]:
    """Inputs times the weight's size per input channel."""
    w = inputs[1].shape if inputs[1] is not None else None
    return _with_bias(_times(_elements(inputs[0]), count(w[1:]) if w else None), inputs, outputs)


@cost("Gemm")
def gemm(node: Node, inputs: Sequence[Typed], outputs: Sequence[Value]) -> tuple[int | None, int | None]:
    """Outputs times the inner size."""
    a = inputs[0].shape if inputs[0] is not None else None
    w = inputs[1].shape if inputs[1] is not None else None
    inner = a[0 if node.attributes.get("transA") else 1] if a and len(a) == 2 else None
    if not isinstance(inner, int):
        inner = w[1 if node.attributes.get("transB") else 0] if w and len(w) == 2 else None
    return _with_bias(_times(_elements(outputs[0]), inner if isinstance(inner, int) else None), inputs, outputs)


@cost("MatMul")
def matmul(node: Node, inputs: Sequence[Typed], outputs: Sequence[Value]) -> tuple[int | None, int | None]:
    """Outputs times the inner size."""
    a = inputs[0].shape if inputs[0] is not None else None
    macs = _times(_elements(outputs[0]), a[-1] if a and isinstance(a[-1], int) else None)
    return macs, None if macs is None else 2 * macs


@cost("LSTM", "GRU", "RNN")
def recurrent(node: Node, inputs: Sequence[Typed], outputs: Sequence[Value]) -> tuple[int | None, int | None]:
    """Steps times batch times the sizes of the input and recurrence weights."""
    x, w, r = (inputs[k].shape if inputs[k] is not None else None for k in range(3))  # type: ignore[union-attr]
    macs = _times(count(x[:2]) if x else None, total([count(w), count(r)]))
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[node.op_type]
    extra = _times(_elements(outputs[0]) if outputs else None, 4 * gates)
    return macs, None if macs is None or extra is None else 2 * macs + extra


@cost("Scan")
def scan(node: Node, inputs: Sequence[Typed], outputs: Sequence[Value]) -> tuple[int | None, int | None]:
    """Steps times what the body costs."""
    body, number = node.attributes["body"], node.attributes["num_scan_inputs"]
    axes = node.attributes.get("scan_input_axes", (0,))
    shape = inputs[-number].shape if inputs[-number] is not None else None
    steps = shape[axes[0]] if shape else None
    parts = [node_cost(Model(body), inner) for inner in body.nodes]
    macs, flops = (_times(steps if isinstance(steps, int) else None, total(part[k] for part in parts)) for k in (0, 1))
    return macs, flops


def per_element(flops: int) -> Rule:
    """Return a rule of so many operations per element of the first output (of the first input where it is larger)."""

    def rule(node: Node, inputs: Sequence[Typed], outputs: Sequence[Value]) -> tuple[int | None, int | None]:
        out = _elements(outputs[0]) if outputs else 0
        into = _elements(inputs[0]) if inputs and inputs[0] is not None else 0
        return 0, None if out is None or into is None else flops * max(out, into)

    return rule


cost(
    "Abs", "Add", "And", "Ceil", "Celu", "Clip", "Cos", "Div", "Elu", "Equal", "Erf", "Exp", "Floor", "Gelu",
    "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Mean",
    "Min", "Mish", "Mod", "Mul", "Neg", "Not", "Or", "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid",
    "Sign", "Sin", "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Tanh", "ThresholdedRelu", "Where", "Xor", "CumSum",
    "ArgMax", "ArgMin", "TopK", "ReduceMean", "ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceMax",
    "ReduceMin", "ReduceProd", "ReduceLogSum", "ReduceLogSumExp", "GlobalAveragePool", "GlobalMaxPool", "Resize",
    "MaxRoiPool",
)(per_element(1))  # fmt: skip
cost("BatchNormalization", "GroupNormalization", "InstanceNormalization")(per_element(2))
cost("Softmax", "LogSoftmax", "LayerNormalization", "LpNormalization", "MeanVarianceNormalization")(per_element(5))
cost(
    "Cast", "Compress", "Concat", "Constant", "ConstantOfShape", "DepthToSpace", "Dropout", "Expand", "Flatten",
    "Gather", "GatherElements", "GatherND", "Identity", "MaxUnpool", "NonZero", "OneHot", "Pad", "Range", "Reshape",
    "ScatterElements", "ScatterND", "Shape", "Size", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose",
    "Unsqueeze",
)(per_element(0))  # fmt: skip


@cost("MaxPool", "AveragePool", "LpPool")
def pool(node: Node, inputs: Sequence[Typed], outputs: Sequence[Value]) -> tuple[int | None, int | None]:
    """One operation per window element."""
    return 0, _times(_elements(outputs[0]), prod(node.attributes["kernel_shape"]))


@cost("LRN")
def lrn(node: Node, inputs: Sequence[Typed], outputs: Sequence[Value]) -> tuple[int | None, int | None]:
    """A square and a sum per window element, then a power, a scale and a division."""
    return 0, _times(_elements(outputs[0]), 2 * int(node.attributes["size"]) + 3)
