"""Shape inference: a table of rules for the operations our converters write, ONNX's own inference for the rest.

A rule is ``rule(node, inputs) -> [(dtype, shape), ...]``, one pair an output. `inputs` holds a Value, a Tensor or None
(an omitted input) for each of the node's inputs. A rule raises :class:`Impossible` where no output can exist, which
becomes a line in the model's problems; what it does not know it returns as None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any, TypeAlias

from graphviz_nets.graph.ir import ONNX_DOMAINS, Graph, Model, Node, Shape, Tensor, Value
from graphviz_nets.graph.rules import Table

Typed: TypeAlias = "Value | Tensor | None"
Type: TypeAlias = "tuple[str | None, Shape | None]"
Rule: TypeAlias = "Callable[[Node, Sequence[Typed]], Sequence[Type]]"

UNKNOWN: Type = (None, None)

shape: Table[Rule] = Table("shape", foreign="shape")


class Impossible(ValueError):
    """No output can exist, for example because a kernel is larger than its input."""


def infer_node(
    node: Node, typed: Callable[[str], Typed], problems: list[str] | None = None, opset: int = 18
) -> Sequence[Type]:
    """Return (dtype, shape) of each output of a node, ``(None, None)`` where unknown.

    Parameters
    ----------
    node : Node
        The node.
    typed : callable
        Gives the Value or Tensor of a name.
    problems : list of str, optional
        Gets a line when the shapes cannot be.
    """
    rule = shape.find(node.domain, node.op_type)
    unknown = [UNKNOWN] * len(node.outputs)
    if rule is None:
        return unknown
    try:
        found = list(rule(node, [typed(name) for name in node.inputs]))
    except Impossible as fault:
        if problems is not None:
            problems.append(f"{'/'.join(node.scope) or node.id}: {fault}")
        return unknown
    except (LookupError, ArithmeticError, TypeError, ValueError, AttributeError):
        # A file may leave out a needed attribute or input, or give it as another type.
        if problems is not None:
            problems.append(f"{'/'.join(node.scope) or node.id}: inputs or attributes do not suit {node.label}")
        return unknown
    return (found + unknown)[: len(node.outputs)]


def infer(model: Model) -> Model:
    """Return the model with every shape that can be inferred.

    Our own table is walked first; where operations of ONNX itself stay unknown, ONNX's inference is asked, and the
    table is walked again for what depends on its answers.

    Parameters
    ----------
    model : Model
        Any model; shapes that it already states are kept.
    """
    graph = model.graph
    values, problems = _walk(graph, dict(graph.values))
    if any(
        node.domain in ONNX_DOMAINS and any(name and _unknown(values.get(name)) for name in node.outputs)
        for node in graph.nodes
    ):
        from graphviz_nets.graph import proto

        known = proto.infer_shapes(replace(model, graph=replace(graph, values=values)))
        # ONNX's inference gives negative sizes where a kernel is larger than its input.
        sane = {name: value for name, value in known.items() if _sane(value)}
        merged = {**values, **{name: value for name, value in sane.items() if _unknown(values.get(name))}}
        values, problems = _walk(graph, merged)
    return replace(
        model,
        graph=replace(graph, values=values),
        # What a converter has said already, with file and line, is not said again.
        problems=(
            *model.problems,
            *(new for new in dict.fromkeys(problems) if not any(old.endswith(new) for old in model.problems)),
        ),
    )


def _sane(value: Value) -> bool:
    return all(not isinstance(dim, int) or dim >= 0 for dim in value.shape or ())


def _unknown(value: Value | None) -> bool:
    return value is None or value.shape is None


def _walk(graph: Graph, values: dict[str, Value]) -> tuple[dict[str, Value], list[str]]:
    problems: list[str] = []

    def typed(name: str) -> Typed:
        if not name:
            return None
        return graph.initializers.get(name) or values.get(name) or Value(name)

    for node in graph.nodes:
        if all(not name or (name in values and values[name].shape is not None) for name in node.outputs):
            continue
        for name, (dtype, dims) in zip(node.outputs, infer_node(node, typed, problems), strict=True):
            if name and (dtype is not None or dims is not None):
                old = values.get(name)
                if old is None:
                    values[name] = Value(name, dtype, dims)
                    continue
                values[name] = replace(
                    old,
                    dtype=old.dtype if old.dtype is not None else dtype,
                    shape=old.shape if old.shape is not None else dims,
                )
    return values, problems


# Helpers of the rules ---------------------------------------------------------------------------------------------


def _dtype(value: Typed) -> str | None:
    return None if value is None else value.dtype


def _dims(value: Typed) -> Shape | None:
    return None if value is None else value.shape


def _integers(value: Typed) -> tuple[int, ...] | None:
    return value.integers() if isinstance(value, Tensor) else None


def _axis(axis: int, rank: int) -> int:
    if not -rank <= axis < max(rank, 1):
        raise Impossible(f"axis {axis} is outside a tensor of {rank} dimensions")
    return axis % rank if rank else 0


def product(dims: Sequence[int | str | None]) -> int | None:
    """Multiply dimensions; None where one is not a number."""
    return prod(dim for dim in dims if isinstance(dim, int)) if all(isinstance(dim, int) for dim in dims) else None


def broadcast(shapes: Sequence[Shape]) -> Shape:
    """Return the shape of an element-wise operation by ONNX's (numpy's) rule.

    Examples
    --------
    >>> broadcast([(2, 3, 4), (3, 1), ()])
    (2, 3, 4)
    """
    rank = max(map(len, shapes))
    result: list[int | str | None] = []
    for column in zip(*((1,) * (rank - len(dims)) + tuple(dims) for dims in shapes), strict=True):
        others = list(dict.fromkeys(dim for dim in column if dim != 1))
        sizes = [dim for dim in others if isinstance(dim, int)]
        if len(sizes) > 1:
            raise Impossible(f"shapes {' and '.join(map(_show, shapes))} do not broadcast")
        result.append(sizes[0] if sizes else others[0] if len(others) == 1 else None if others else 1)
    return tuple(result)


def _show(dims: Sequence[int | str | None]) -> str:
    return "(" + ", ".join("?" if dim is None else str(dim) for dim in dims) + ")"


def _same(node: Node, inputs: Sequence[Typed]) -> list[Type]:
    return [(_dtype(inputs[0]), _dims(inputs[0]))]


# Element-wise operations ------------------------------------------------------------------------------------------

shape(
    "Abs", "Ceil", "Celu", "Clip", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity",
    "LRN", "LeakyRelu", "Log", "LogSoftmax", "LpNormalization", "Mish", "Neg", "PRelu", "Reciprocal", "Relu", "Selu",
    "Sigmoid", "Softmax", "Softplus", "Softsign", "Sqrt", "Tanh", "ThresholdedRelu", "InstanceNormalization",
    "MeanVarianceNormalization", "CumSum", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cos", "Cosh", "Sin",
    "Sinh", "Tan", "Sign", "Round", "Not", "ScatterElements", "ScatterND", "GroupNormalization",
    "ReverseSequence",
)(_same)  # fmt: skip


@shape("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "Mean", "Mod")
def elementwise(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """Broadcast all inputs; the element type is the first's."""
    shapes = [_dims(value) for value in inputs]
    known = [dims for dims in shapes if dims is not None]
    return [(_dtype(inputs[0]), broadcast(known) if len(known) == len(shapes) else None)]


@shape("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal", "And", "Or", "Xor")
def comparison(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """Broadcast; the result is bool."""
    return [("bool", elementwise(node, inputs)[0][1])]


@shape("LayerNormalization")
def layer_normalization(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """The input's shape; mean and deviation with ones from `axis` on."""
    x, dtype = _dims(inputs[0]), _dtype(inputs[0])
    if x is None:
        return [(dtype, None)] * 3
    axis = _axis(node.attributes.get("axis", -1), len(x))
    few = (*x[:axis], *(1,) * (len(x) - axis))
    return [(dtype, x), ("float32", few), ("float32", few)]


@shape("Cast")
def cast(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """Keep the shape, change the type."""
    return [(CAST_TYPES.get(node.attributes.get("to", 0)), _dims(inputs[0]))]


@shape("CastLike")
def cast_like(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """The first input's shape, the second's type."""
    return [(_dtype(inputs[1]), _dims(inputs[0]))]


CAST_TYPES: Mapping[int, str] = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16",
}  # fmt: skip
"""ONNX's TensorProto.DataType numbers, as the ``to`` attribute holds them."""


@shape("Shape")
def shape_of(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """One number for each dimension between ``start`` and ``end``."""
    dims = _dims(inputs[0])
    if dims is None:
        return [("int64", None)]
    return [("int64", (len(dims[node.attributes.get("start", 0) : node.attributes.get("end")]),))]


@shape("Where")
def where(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """Broadcast all three; the element type is the second's."""
    known = [dims for dims in map(_dims, inputs) if dims is not None]
    return [(_dtype(inputs[1]), broadcast(known) if len(known) == 3 else None)]


@shape("Constant")
def constant(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """The type of whichever attribute holds the value."""
    value = node.attributes.get("value")
    if isinstance(value, Tensor):
        return [(value.dtype, value.shape)]
    for kind, dtype in (("int", "int64"), ("float", "float32"), ("string", "string")):
        if f"value_{kind}" in node.attributes:
            return [(dtype, ())]
        if f"value_{kind}s" in node.attributes:
            return [(dtype, (len(node.attributes[f"value_{kind}s"]),))]
    return [UNKNOWN]


@shape("ConstantOfShape")
def constant_of_shape(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """The constant input; float32 where no value says otherwise."""
    value = node.attributes.get("value")
    return [(value.dtype if isinstance(value, Tensor) else "float32", _integers(inputs[0]))]


@shape("Expand")
def expand(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """Broadcast to the constant second input."""
    dims, wanted = _dims(inputs[0]), _integers(inputs[1])
    return [(_dtype(inputs[0]), None if dims is None or wanted is None else broadcast([dims, wanted]))]


@shape("Dropout")
def dropout(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """The output is like the input, and so is the mask, whose type depends on the opset."""
    return [(_dtype(inputs[0]), _dims(inputs[0])), (None, _dims(inputs[0]))]


@shape("BatchNormalization")
def batch_normalization(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """The output is like the input; running statistics are like the statistics."""
    return [(_dtype(value), _dims(value)) for value in (inputs[0], *inputs[3:5])]


# Windows ----------------------------------------------------------------------------------------------------------


def _window(node: Node, sizes: Shape, kernel: Sequence[int | str | None]) -> Shape:
    """Return the spatial sizes after a convolution or pooling window."""
    rank = len(sizes)
    strides = node.attributes.get("strides") or (1,) * rank
    dilations = node.attributes.get("dilations") or (1,) * rank
    pads = node.attributes.get("pads") or (0,) * 2 * rank
    auto = node.attributes.get("auto_pad", "NOTSET")
    result: list[int | str | None] = []
    for k, size in enumerate(sizes):
        side = kernel[k]
        if not isinstance(size, int) or not isinstance(side, int):
            result.append(None)
            continue
        reach = dilations[k] * (side - 1) + 1
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            result.append(-(-size // strides[k]))
            continue
        room = size + (pads[k] + pads[k + rank] if auto != "VALID" else 0) - reach
        if room < 0:
            raise Impossible(f"kernel {reach} is larger than the padded input {room + reach}")
        steps = -(-room // strides[k]) if node.attributes.get("ceil_mode") else room // strides[k]
        # A ceil_mode window must still start inside the input or its left padding.
        steps -= int(bool(node.attributes.get("ceil_mode")) and steps * strides[k] >= size + pads[k])
        result.append(steps + 1)
    return tuple(result)


@shape("Conv")
def conv(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """(N, C, ...) and weights (M, C/group, kernel...) give (N, M, ...)."""
    x, w = _dims(inputs[0]), _dims(inputs[1])
    if x is None:
        return [(_dtype(inputs[0]), None)]
    kernel = node.attributes.get("kernel_shape") or (w[2:] if w else (None,) * (len(x) - 2))
    if len(kernel) != len(x) - 2:
        raise Impossible(f"a {len(kernel)}-dimensional kernel does not fit an input of shape {_show(x)}")
    return [(_dtype(inputs[0]), (x[0], w[0] if w else None, *_window(node, x[2:], kernel)))]


@shape("ConvTranspose")
def conv_transpose(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """(N, C, ...) and weights (C, M/group, kernel...) give (N, M, ...)."""
    x, w = _dims(inputs[0]), _dims(inputs[1])
    if x is None:
        return [(_dtype(inputs[0]), None)]
    rank = len(x) - 2
    kernel = node.attributes.get("kernel_shape") or (w[2:] if w else (None,) * rank)
    if len(kernel) != rank:
        raise Impossible(f"a {len(kernel)}-dimensional kernel does not fit an input of shape {_show(x)}")
    channels = w[1] * node.attributes.get("group", 1) if w and isinstance(w[1], int) else None
    if node.attributes.get("output_shape"):
        return [(_dtype(inputs[0]), (x[0], channels, *node.attributes["output_shape"][-rank:]))]
    strides = node.attributes.get("strides") or (1,) * rank
    dilations = node.attributes.get("dilations") or (1,) * rank
    extra = node.attributes.get("output_padding") or (0,) * rank
    pads = node.attributes.get("pads") or (0,) * 2 * rank
    same = node.attributes.get("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER")
    sizes: list[int | None] = []
    for k, size in enumerate(x[2:]):
        if not isinstance(size, int) or not isinstance(kernel[k], int):
            sizes.append(None)
            continue
        side = kernel[k]
        assert isinstance(side, int)
        if same:
            sizes.append(size * strides[k])
        else:
            reach = dilations[k] * (side - 1) + 1
            sizes.append((size - 1) * strides[k] + extra[k] + reach - pads[k] - pads[k + rank])
    return [(_dtype(inputs[0]), (x[0], channels, *sizes))]


@shape("MaxPool", "AveragePool", "LpPool")
def pool(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """(N, C, ...) keeps N and C; a second output of MaxPool holds indices."""
    x = _dims(inputs[0])
    if x is None:
        return [(_dtype(inputs[0]), None), ("int64", None)]
    result = (*x[:2], *_window(node, x[2:], node.attributes["kernel_shape"]))
    return [(_dtype(inputs[0]), result), ("int64", result)]


@shape("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """(N, C, ...) gives (N, C, 1, ...)."""
    x = _dims(inputs[0])
    return [(_dtype(inputs[0]), None if x is None else (*x[:2], *(1,) * (len(x) - 2)))]


@shape("MaxRoiPool")
def max_roi_pool(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """(N, C, H, W) and regions (R, 5) give (R, C, *pooled_shape)."""
    x, rois = _dims(inputs[0]), _dims(inputs[1])
    channels = x[1] if x and len(x) > 1 else None
    return [(_dtype(inputs[0]), (rois[0] if rois else None, channels, *node.attributes["pooled_shape"]))]


@shape("MaxUnpool")
def max_unpool(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """The inverse of MaxPool; an explicit output shape wins."""
    wanted = _integers(inputs[2]) if len(inputs) > 2 else None
    x = _dims(inputs[0])
    if wanted is not None or x is None:
        return [(_dtype(inputs[0]), wanted)]
    rank = len(x) - 2
    kernel = node.attributes["kernel_shape"]
    strides = node.attributes.get("strides") or (1,) * rank
    pads = node.attributes.get("pads") or (0,) * 2 * rank
    sizes = [
        (size - 1) * strides[k] + kernel[k] - pads[k] - pads[k + rank] if isinstance(size, int) else None
        for k, size in enumerate(x[2:])
    ]
    return [(_dtype(inputs[0]), (*x[:2], *sizes))]


# Products ---------------------------------------------------------------------------------------------------------


@shape("Gemm")
def gemm(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """(M, K) times (K, N), either transposed, gives (M, N)."""
    a, b = _dims(inputs[0]), _dims(inputs[1])
    rows = a[1 if node.attributes.get("transA") else 0] if a and len(a) == 2 else None
    columns = b[0 if node.attributes.get("transB") else 1] if b and len(b) == 2 else None
    return [(_dtype(inputs[0]), (rows, columns))]


@shape("MatMul")
def matmul(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """Numpy's matmul: leading dimensions broadcast."""
    a, b = _dims(inputs[0]), _dims(inputs[1])
    if a is None or b is None or not a or not b:
        return [(_dtype(inputs[0]), None)]
    left = (1, *a) if len(a) == 1 else a
    right = (*b, 1) if len(b) == 1 else b
    if isinstance(left[-1], int) and isinstance(right[-2], int) and left[-1] != right[-2]:
        raise Impossible(f"shapes {_show(a)} and {_show(b)} do not multiply")
    result = (
        broadcast([left[:-2], right[:-2]]) + ((left[-2],) if len(a) > 1 else ()) + ((right[-1],) if len(b) > 1 else ())
    )
    return [(_dtype(inputs[0]), result)]


# Shapes and indices -----------------------------------------------------------------------------------------------


@shape("Flatten")
def flatten(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """Two dimensions, split at `axis`."""
    x = _dims(inputs[0])
    if x is None:
        return [(_dtype(inputs[0]), (None, None))]
    axis = node.attributes.get("axis", 1)
    axis = axis + len(x) if axis < 0 else axis
    halves = (x[0] if len(x) and axis == 1 else product(x[:axis]), product(x[axis:]))
    return [(_dtype(inputs[0]), halves)]


@shape("Reshape")
def reshape(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """The constant second input, with 0 for a copied and -1 for an inferred dimension."""
    x, target = _dims(inputs[0]), _integers(inputs[1])
    if target is None:
        return [(_dtype(inputs[0]), None)]
    copied: list[int | str | None] = []
    for k, dim in enumerate(target):
        if dim == 0 and not node.attributes.get("allowzero"):
            if x is not None and k >= len(x):
                raise Impossible(f"dimension {k} is to be copied from the shape {_show(x)}")
            copied.append(x[k] if x is not None else None)
        else:
            copied.append(dim)
    if -1 in copied:
        hole = copied.index(-1)
        rest = product(copied[:hole] + copied[hole + 1 :])
        total = product(x) if x is not None else None
        if rest and total is not None:
            if total % rest:
                raise Impossible(f"{total} elements do not reshape to {_show(target)}")
            copied[hole] = total // rest
        else:
            copied[hole] = None
    wanted, total = product(copied), product(x) if x is not None else None
    if wanted is not None and total is not None and wanted != total:
        raise Impossible(f"{total} elements do not reshape to {_show(copied)}")
    return [(_dtype(inputs[0]), tuple(copied))]


@shape("Transpose")
def transpose(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """Dimensions in the order of `perm`, reversed by default."""
    x = _dims(inputs[0])
    if x is None:
        return [(_dtype(inputs[0]), None)]
    perm = node.attributes.get("perm") or tuple(reversed(range(len(x))))
    if sorted(perm) != list(range(len(x))):
        raise Impossible(f"order {_show(perm)} does not permute {len(x)} dimensions")
    return [(_dtype(inputs[0]), tuple(x[k] for k in perm))]


@shape("Concat")
def concat(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """Sizes along `axis` add up; the others agree."""
    shapes = [_dims(value) for value in inputs]
    known = [dims for dims in shapes if dims is not None]
    if not known:
        return [(_dtype(inputs[0]), None)]
    axis = _axis(node.attributes["axis"], len(known[0]))
    result = list(known[0])
    for dims in known[1:]:
        if len(dims) != len(result):
            raise Impossible(f"shapes {' and '.join(map(_show, known))} do not concatenate")
        for k, dim in enumerate(dims):
            if k != axis and isinstance(dim, int):
                if isinstance(result[k], int) and result[k] != dim:
                    raise Impossible(f"shapes {' and '.join(map(_show, known))} do not concatenate along axis {axis}")
                result[k] = dim
    sizes = [dims[axis] for dims in known]
    whole = len(known) == len(shapes) and all(isinstance(size, int) for size in sizes)
    result[axis] = sum(size for size in sizes if isinstance(size, int)) if whole else None
    return [(_dtype(inputs[0]), tuple(result))]


@shape("Split")
def split(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """Parts along `axis`: the constant second input, or equal ones."""
    x = _dims(inputs[0])
    parts = len(node.outputs)
    if x is None:
        return [(_dtype(inputs[0]), None)] * parts
    axis = _axis(node.attributes.get("axis", 0), len(x))
    sizes: Sequence[int | None] | None = _integers(inputs[1]) if len(inputs) > 1 else node.attributes.get("split")
    found = x[axis]
    whole = found if isinstance(found, int) else None
    if sizes is None:
        # The last part of an even split takes what is left.
        size = -(-whole // parts) if isinstance(whole, int) else None
        sizes = [size] * parts
        if size is not None and isinstance(whole, int):
            sizes = [*[size] * (parts - 1), whole - size * (parts - 1)]
    elif isinstance(whole, int) and sum(size or 0 for size in sizes) != whole:
        raise Impossible(f"parts {_show(tuple(sizes))} do not add up to {whole}")
    return [(_dtype(inputs[0]), (*x[:axis], size, *x[axis + 1 :])) for size in sizes]


@shape("Slice")
def slice_(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """Constant starts, ends, axes and steps cut each axis."""
    x = _dims(inputs[0])
    starts, ends = (_integers(inputs[k]) if len(inputs) > k else None for k in (1, 2))
    if x is None:
        return [(_dtype(inputs[0]), None)]
    axes = _integers(inputs[3]) if len(inputs) > 3 and inputs[3] is not None else tuple(range(len(starts or ())))
    steps = _integers(inputs[4]) if len(inputs) > 4 else (1,) * len(starts or ())
    if starts is None or ends is None or axes is None or steps is None:
        return [(_dtype(inputs[0]), (None,) * len(x))]
    result = list(x)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = x[_axis(axis, len(x))]
        result[_axis(axis, len(x))] = len(range(size)[start:end:step]) if isinstance(size, int) else None
    return [(_dtype(inputs[0]), tuple(result))]


@shape("Pad")
def pad(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """Constant pads: all begins, then all ends."""
    x, pads = _dims(inputs[0]), _integers(inputs[1]) if len(inputs) > 1 else node.attributes.get("pads")
    if x is not None and pads is not None and len(inputs) > 3 and inputs[3] is not None:
        axes = _integers(inputs[3])
        whole = [0] * 2 * len(x)
        for k, axis in enumerate(axes or ()):
            whole[axis % len(x)], whole[axis % len(x) + len(x)] = pads[k], pads[k + len(axes or ())]
        pads = None if axes is None else tuple(whole)
    if x is None or pads is None or len(pads) != 2 * len(x):
        return [(_dtype(inputs[0]), None if x is None else (None,) * len(x))]
    more = [pads[k] + pads[k + len(x)] for k in range(len(x))]
    sizes = (d + n if isinstance(d, int) else None if n else d for d, n in zip(x, more, strict=True))
    return [(_dtype(inputs[0]), tuple(sizes))]


@shape("CenterCropPad")
def center_crop_pad(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """Constant sizes of some axes, of all by default."""
    x, sizes = _dims(inputs[0]), _integers(inputs[1])
    if x is None or sizes is None:
        return [(_dtype(inputs[0]), None if x is None else (None,) * len(x))]
    result = list(x)
    for axis, size in zip(node.attributes.get("axes", tuple(range(len(x)))), sizes, strict=True):
        result[axis] = size
    return [(_dtype(inputs[0]), tuple(result))]


@shape("Tile")
def tile(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """Each dimension times its constant repeat."""
    x, repeats = _dims(inputs[0]), _integers(inputs[1])
    if x is None or repeats is None:
        return [(_dtype(inputs[0]), None if x is None else (None,) * len(x))]
    return [(_dtype(inputs[0]), tuple(d * r if isinstance(d, int) else None for d, r in zip(x, repeats, strict=True)))]


@shape("Gather")
def gather(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """The gathered axis is replaced by the indices' shape."""
    x, indices = _dims(inputs[0]), _dims(inputs[1])
    if x is None or indices is None:
        return [(_dtype(inputs[0]), None)]
    axis = _axis(node.attributes.get("axis", 0), len(x))
    return [(_dtype(inputs[0]), (*x[:axis], *indices, *x[axis + 1 :]))]


@shape("GatherND")
def gather_nd(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """The indices' shape, its last axis replaced by what that axis does not choose from."""
    x, indices, batch = _dims(inputs[0]), _dims(inputs[1]), node.attributes.get("batch_dims", 0)
    if x is None or indices is None or not isinstance(indices[-1], int):
        return [(_dtype(inputs[0]), None)]
    return [(_dtype(inputs[0]), (*indices[:-1], *x[batch + indices[-1] :]))]


@shape("NonMaxSuppression")
def non_max_suppression(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """Image, class and box of as many boxes as the data decides."""
    return [("int64", (None, 3))]


@shape("Compress")
def compress(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """The size along `axis` depends on the data."""
    x = _dims(inputs[0])
    if x is None or "axis" not in node.attributes:
        return [(_dtype(inputs[0]), None if x is None else (None,))]
    axis = _axis(node.attributes["axis"], len(x))
    return [(_dtype(inputs[0]), (*x[:axis], None, *x[axis + 1 :]))]


@shape("Squeeze", "Unsqueeze")
def squeeze(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """Drop or add dimensions of size 1 at constant axes."""
    x = _dims(inputs[0])
    axes: Any = _integers(inputs[1]) if len(inputs) > 1 else node.attributes.get("axes")
    if x is None or (axes is None and len(inputs) > 1):
        return [(_dtype(inputs[0]), None)]
    if node.op_type == "Squeeze":
        if axes is None:
            axes = [k for k, dim in enumerate(x) if dim == 1]
        drop = {_axis(axis, len(x)) for axis in axes}
        return [(_dtype(inputs[0]), tuple(dim for k, dim in enumerate(x) if k not in drop))]
    if axes is None:
        return [(_dtype(inputs[0]), None)]
    rank = len(x) + len(axes)
    added = {_axis(axis, rank) for axis in axes}
    rest = iter(x)
    return [(_dtype(inputs[0]), tuple(1 if k in added else next(rest) for k in range(rank)))]


@shape("Resize")
def resize(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """Constant sizes win over constant scales."""
    x = _dims(inputs[0])
    sizes = _integers(inputs[3]) if len(inputs) > 3 else None
    if sizes is not None or x is None:
        return [(_dtype(inputs[0]), sizes)]
    scales = inputs[2] if len(inputs) > 2 else None
    if not isinstance(scales, Tensor) or scales.data is None:
        return [(_dtype(inputs[0]), (None,) * len(x))]
    import struct

    factors = struct.unpack(f"<{len(x)}f", scales.bytes())
    return [
        (_dtype(inputs[0]), tuple(int(d * f) if isinstance(d, int) else None for d, f in zip(x, factors, strict=True)))
    ]


@shape("DepthToSpace", "SpaceToDepth")
def depth_to_space(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """Blocks move between channels and space."""
    x = _dims(inputs[0])
    if x is None or len(x) != 4:
        return [(_dtype(inputs[0]), None)]
    block = node.attributes["blocksize"]
    if node.op_type == "DepthToSpace":
        sizes = [
            d // block**2 if k == 1 else d * block if isinstance(d, int) else None for k, d in enumerate(x[1:], 1) if d
        ]
    else:
        sizes = [
            d * block**2 if k == 1 else d // block if isinstance(d, int) else None for k, d in enumerate(x[1:], 1) if d
        ]
    return [(_dtype(inputs[0]), (x[0], *sizes) if len(sizes) == 3 else None)]


# Reductions -------------------------------------------------------------------------------------------------------


@shape(
    "ReduceMean", "ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceMax", "ReduceMin", "ReduceProd",
    "ReduceLogSum", "ReduceLogSumExp",
)  # fmt: skip
def reduce(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """Axes by attribute or constant input, all by default; kept as 1 unless ``keepdims`` is 0."""
    x = _dims(inputs[0])
    axes: Any = _integers(inputs[1]) if len(inputs) > 1 and inputs[1] is not None else node.attributes.get("axes")
    if x is None or (axes is None and len(inputs) > 1 and inputs[1] is not None):
        return [(_dtype(inputs[0]), None)]
    if not axes and node.attributes.get("noop_with_empty_axes"):
        return [(_dtype(inputs[0]), x)]
    gone = {_axis(axis, len(x)) for axis in axes} if axes else set(range(len(x)))
    keep = node.attributes.get("keepdims", 1)
    return [(_dtype(inputs[0]), tuple(1 if k in gone else dim for k, dim in enumerate(x) if keep or k not in gone))]


@shape("ArgMax", "ArgMin")
def arg_max(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """The axis is kept as 1 unless ``keepdims`` is 0."""
    x = _dims(inputs[0])
    if x is None:
        return [("int64", None)]
    axis = _axis(node.attributes.get("axis", 0), len(x))
    kept = (1,) if node.attributes.get("keepdims", 1) else ()
    return [("int64", (*x[:axis], *kept, *x[axis + 1 :]))]


@shape("TopK")
def top_k(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """K along `axis`: values, then indices."""
    x, k = _dims(inputs[0]), _integers(inputs[1])
    if x is None:
        return [(_dtype(inputs[0]), None), ("int64", None)]
    axis = _axis(node.attributes.get("axis", -1), len(x))
    result = (*x[:axis], k[0] if k else None, *x[axis + 1 :])
    return [(_dtype(inputs[0]), result), ("int64", result)]


@shape("Scan")
def scan(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """States as the body returns them, then what it returns at each step, with the steps in front."""
    body, number = node.attributes["body"], node.attributes["num_scan_inputs"]
    states = len(inputs) - number
    scanned = _dims(inputs[states])
    axis = node.attributes.get("scan_input_axes", (0,))[0]
    steps = scanned[axis] if scanned else None
    found: list[Type] = []
    for k, name in enumerate(body.outputs):
        value = body.value(name)
        if k >= states and value.shape is not None:
            place = node.attributes.get("scan_output_axes", (0,) * len(body.outputs))[k - states]
            place += (len(value.shape) + 1) * (place < 0)
            found.append((value.dtype, (*value.shape[:place], steps, *value.shape[place:])))
        else:
            found.append((value.dtype, value.shape))
    return found


# Recurrent layers -------------------------------------------------------------------------------------------------


@shape("LSTM", "GRU", "RNN")
def recurrent(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """(T, N, input) gives (T, directions, N, hidden) and the last states (directions, N, hidden)."""
    x, r = _dims(inputs[0]), _dims(inputs[2])
    directions = r[0] if r else None
    hidden = node.attributes.get("hidden_size", r[2] if r and len(r) == 3 else None)
    steps, batch = (x[0], x[1]) if x and len(x) == 3 else (None, None)
    last = (directions, batch, hidden)
    return [
        (_dtype(inputs[0]), (steps, directions, batch, hidden)),
        (_dtype(inputs[0]), last),
        (_dtype(inputs[0]), last),
    ]
