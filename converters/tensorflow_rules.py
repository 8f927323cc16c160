"""Shapes and costs of the domain ``tf``: TensorFlow's operations, with their own names, attributes and NHWC layout.

The rules read a node's attributes and input types only, so an ``.onnx`` with ``tf::Conv2D`` in it keeps its shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from graphviz_nets.graph.cost import Rule as CostRule
from graphviz_nets.graph.cost import Typed, per_element
from graphviz_nets.graph.ir import Node, Shape, Tensor, Value, count
from graphviz_nets.graph.rules import Table
from graphviz_nets.graph.shapes import Impossible, Type, broadcast, product
from graphviz_nets.graph.shapes import Rule as ShapeRule

shape: Table[ShapeRule] = Table("shape")
cost: Table[CostRule] = Table("cost")

Dim = int | str | None


def dtype_of(node: Node) -> str | None:
    """Return the element type that a node's attributes state for what it makes, None where they do not."""
    for key in ("DstT", "dtype", "output_type", "out_type", "T"):
        found = node.attributes.get(key)
        if isinstance(found, str):
            return found if found not in ("resource", "variant") else None
    return None


def _dims(value: Typed) -> Shape | None:
    return None if value is None else value.shape


def _type(node: Node, value: Typed) -> str | None:
    return dtype_of(node) or (None if value is None else value.dtype)


def _numbers(value: Typed) -> tuple[int, ...] | None:
    return value.integers() if isinstance(value, Tensor) else None


def _axis(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise Impossible(f"axis {axis} is outside a tensor of {rank} dimensions")
    return axis % rank


def _last(node: Node, rank: int) -> int:
    """Return the axis of the channels."""
    return 1 if str(node.attributes.get("data_format", "NHWC")).startswith("NC") else rank - 1


# What keeps the shape ---------------------------------------------------------------------------------------------

SAME = (
    "Abs Acos Acosh Asin Asinh Atan Atanh BiasAdd Cast Ceil CheckNumerics Cos Cosh Cumsum Cumprod Elu Enter Erf Erfc "
    "Exit Exp Expm1 FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars Floor Identity Inv IsFinite IsInf IsNan LRN "
    "LeakyRelu Lgamma Log Log1p LogSoftmax LogicalNot Neg NextIteration OnesLike PlaceholderWithDefault "
    "PreventGradient Reciprocal Relu Relu6 ReverseV2 Rint Round Rsqrt Selu Sigmoid Sign Sin Sinh Snapshot Softmax "
    "Softplus Softsign Sqrt Square StopGradient Tan Tanh ZerosLike ReluGrad Relu6Grad SigmoidGrad TanhGrad EluGrad "
    "SeluGrad SoftplusGrad SqrtGrad RsqrtGrad LeakyReluGrad"
).split()


@shape(*SAME)
def same(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """Like the first input; the element type is what the node states."""
    first = inputs[0] if inputs else None
    boolean = node.op_type in ("IsFinite", "IsInf", "IsNan", "LogicalNot")
    return [("bool" if boolean else _type(node, first), _dims(first))]


@shape("ReadVariableOp")
def read_variable(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """A variable's value."""
    return [(_type(node, inputs[0]), _dims(inputs[0]))]


@shape("AddN", "Select", "SelectV2")
def like_last(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """Like the last input: all summands are alike, and a condition stands first."""
    if node.op_type == "SelectV2":
        known = [dims for dims in map(_dims, inputs) if dims is not None]
        return [(_type(node, inputs[-1]), broadcast(known) if len(known) == len(inputs) else None)]
    return [(_type(node, inputs[-1]), next((dims for dims in map(_dims, inputs[::-1]) if dims is not None), None))]


@shape("Switch")
def switch(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """Two outputs like the first input; one of them is taken."""
    return [(_type(node, inputs[0]), _dims(inputs[0]))] * 2


@shape("Merge")
def merge(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """Whichever input comes: what is known alike of all; then its number."""
    found = [dims for dims in map(_dims, inputs) if dims is not None]
    if not found or any(len(dims) != len(found[0]) for dims in found):
        return [(_type(node, inputs[0]), None), ("int32", ())]
    dims = tuple(column[0] if len(set(column)) == 1 else None for column in zip(*found, strict=True))
    return [(_type(node, inputs[0]), dims), ("int32", ())]


@shape("LoopCond")
def loop_condition(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """A flag."""
    return [("bool", ())]


# Element by element -----------------------------------------------------------------------------------------------

ARITHMETIC = ("Add AddV2 Sub Mul Div RealDiv FloorDiv FloorMod Maximum Minimum Pow SquaredDifference Atan2").split()
COMPARISON = "Equal NotEqual Greater GreaterEqual Less LessEqual LogicalAnd LogicalOr".split()


@shape(*ARITHMETIC, *COMPARISON)
def elementwise(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """Broadcast both inputs."""
    known = [dims for dims in map(_dims, inputs) if dims is not None]
    dims = broadcast(known) if known and len(known) == len(inputs) else None
    return [("bool" if node.op_type in COMPARISON else _type(node, inputs[0]), dims)]


# Windows ----------------------------------------------------------------------------------------------------------


def window(
    node: Node, sizes: Sequence[Dim], kernel: Sequence[Dim], stride: Sequence[int], dilation: Sequence[int]
) -> Shape:
    """Return the spatial sizes after a window: SAME, VALID, or EXPLICIT with its paddings.

    Examples
    --------
    >>> node = Node("Conv2D", attributes={"padding": "VALID"})
    >>> window(node, (28, 28), (5, 5), (1, 2), (1, 1))
    (24, 12)
    """
    padding = node.attributes.get("padding", "VALID")
    pads = list(node.attributes.get("explicit_paddings", ()))
    if padding == "EXPLICIT" and len(pads) == 2 * len(sizes) + 4:
        pads = pads[2:-2] if _last(node, len(sizes) + 2) != 1 else pads[4:]
    result: list[Dim] = []
    for k, size in enumerate(sizes):
        side = kernel[k]
        if not isinstance(size, int):
            result.append(None)
        elif padding == "SAME":
            result.append(-(-size // stride[k]))
        elif not isinstance(side, int):
            result.append(None)
        else:
            extra = sum(pads[2 * k : 2 * k + 2]) if padding == "EXPLICIT" else 0
            room = size + extra - dilation[k] * (side - 1) - 1
            if room < 0:
                raise Impossible(f"kernel {side} is larger than its input {size}")
            result.append(room // stride[k] + 1)
    return tuple(result)


def _spatial(node: Node, values: Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """Return the spatial entries of a list with one entry an axis of the input; ones where there is none."""
    if not values or len(values) != rank:
        return (1,) * (rank - 2)
    channel = _last(node, rank)
    return tuple(value for axis, value in enumerate(values) if axis not in (0, channel))


def _convolved(node: Node, x: Shape, kernel: Sequence[Dim], channels: Dim) -> Shape:
    rank, channel = len(x), _last(node, len(x))
    if len(kernel) != rank - 2:
        raise Impossible(f"a {len(kernel)}-dimensional kernel does not fit {rank} dimensions")
    places = [axis for axis in range(1, rank) if axis != channel]
    strides = _spatial(node, node.attributes.get("strides"), rank)
    sizes = window(
        node, [x[k] for k in places], kernel, strides, _spatial(node, node.attributes.get("dilations"), rank)
    )
    result: list[Dim] = [x[0], *[None] * (rank - 1)]
    for place, size in zip(places, sizes, strict=True):
        result[place] = size
    result[channel] = channels
    return tuple(result)


@shape("Conv2D", "Conv3D")
def conv(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """Weights are (kernel..., inputs, outputs)."""
    x, w = _dims(inputs[0]), _dims(inputs[1])
    if x is None:
        return [(_type(node, inputs[0]), None)]
    kernel: Sequence[Dim] = w[:-2] if w else (None,) * (len(x) - 2)
    return [(_type(node, inputs[0]), _convolved(node, x, kernel, w[-1] if w else None))]


@shape("DepthwiseConv2dNative")
def depthwise(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """Weights are (kernel..., inputs, outputs an input)."""
    x, w = _dims(inputs[0]), _dims(inputs[1])
    if x is None:
        return [(_type(node, inputs[0]), None)]
    kernel: Sequence[Dim] = w[:-2] if w else (None,) * (len(x) - 2)
    return [(_type(node, inputs[0]), _convolved(node, x, kernel, product(w[-2:]) if w else None))]


@shape("Conv2DBackpropInput", "Conv3DBackpropInputV2")
def conv_transpose(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """The shape is given as a constant first input; its channels are those of the weights."""
    wanted, w = _numbers(inputs[0]), _dims(inputs[1])
    if wanted is not None:
        return [(_type(node, inputs[2]), wanted)]
    x = _dims(inputs[2]) if len(inputs) > 2 else None
    if x is None or w is None:
        return [(_type(node, inputs[1]), None)]
    dims: list[Dim] = [x[0], *[None] * (len(x) - 1)]
    dims[_last(node, len(x))] = w[-2]
    return [(_type(node, inputs[2]), tuple(dims))]


@shape("MaxPool", "AvgPool", "MaxPool3D", "AvgPool3D")
def pool(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """The window is the attribute ``ksize``."""
    x = _dims(inputs[0])
    if x is None:
        return [(_type(node, inputs[0]), None)]
    kernel = _spatial(node, node.attributes.get("ksize"), len(x))
    return [(_type(node, inputs[0]), _convolved(node, x, kernel, x[_last(node, len(x))]))]


@shape("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
def batch_norm(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """The first output is like the input, the others like the statistics."""
    rest = ("float32", _dims(inputs[1]))
    return [(_type(node, inputs[0]), _dims(inputs[0])), *[rest] * (len(node.outputs) - 1)]


@shape("ResizeBilinear", "ResizeNearestNeighbor", "ResizeBicubic", "ResizeArea")
def resize(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """To the constant height and width of the second input."""
    x, size = _dims(inputs[0]), _numbers(inputs[1])
    dtype = "float32" if node.op_type != "ResizeNearestNeighbor" else _type(node, inputs[0])
    return [(dtype, None if x is None or len(x) != 4 else (x[0], *(size or (None, None)), x[3]))]


@shape("DepthToSpace", "SpaceToDepth")
def depth_to_space(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """Blocks of channels become blocks of pixels, or the other way round."""
    x, block = _dims(inputs[0]), int(node.attributes["block_size"])
    if x is None or len(x) != 4:
        return [(_type(node, inputs[0]), None)]
    channel = _last(node, 4)
    grow = node.op_type == "DepthToSpace"
    dims = [
        None if not isinstance(dim, int) else dim // block**2 if grow and k == channel
        else dim * block**2 if k == channel else dim * block if grow else dim // block
        for k, dim in enumerate(x)
    ]  # fmt: skip
    return [(_type(node, inputs[0]), (x[0], *dims[1:]))]


# Products ---------------------------------------------------------------------------------------------------------


@shape("MatMul")
def matmul(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """(n, k) by (k, m); either may be transposed."""
    a, b = _dims(inputs[0]), _dims(inputs[1])
    rows = a[1 if node.attributes.get("transpose_a") else 0] if a and len(a) == 2 else None
    columns = b[0 if node.attributes.get("transpose_b") else 1] if b and len(b) == 2 else None
    return [(_type(node, inputs[0]), (rows, columns))]


@shape("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3")
def batch_matmul(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """Matrices in batches, which broadcast; ``adj_x`` and ``adj_y`` transpose."""
    a, b = _dims(inputs[0]), _dims(inputs[1])
    if a is None or b is None or min(len(a), len(b)) < 2:
        return [(_type(node, inputs[0]), None)]
    ends = a[-1 if node.attributes.get("adj_x") else -2], b[-2 if node.attributes.get("adj_y") else -1]
    return [(_type(node, inputs[0]), (*broadcast([a[:-2], b[:-2]]), *ends))]


@shape("BlockLSTM", "BlockLSTMV2")
def block_lstm(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """Seven outputs (i, cs, f, o, ci, co, h), each (time, batch, cells)."""
    x, state = _dims(inputs[1]), _dims(inputs[2])
    whole = (*x[:2], state[-1]) if x and state else None
    return [(_type(node, inputs[1]), whole)] * 7


# Shapes and places ------------------------------------------------------------------------------------------------


@shape("Reshape")
def reshape(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """To the constant second input, in which -1 is what is left."""
    wanted, total = _numbers(inputs[1]), count(_dims(inputs[0]))
    if wanted is None:
        rank = _dims(inputs[1])
        known = isinstance(rank, tuple) and len(rank) == 1 and isinstance(rank[0], int) and rank[0] <= 16
        return [(_type(node, inputs[0]), (None,) * int(rank[0] or 0) if known and rank else None)]
    rest = prod(dim for dim in wanted if dim != -1)
    x = _dims(inputs[0])
    if total is None and x and count(x[1:]) == rest:
        return [(_type(node, inputs[0]), tuple(x[0] if dim == -1 else dim for dim in wanted))]
    left = total // rest if total is not None and rest else None
    return [(_type(node, inputs[0]), tuple(left if dim == -1 else dim for dim in wanted))]


@shape("Shape")
def shape_of(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """One number a dimension."""
    x = _dims(inputs[0])
    return [(str(node.attributes.get("out_type", "int32")), None if x is None else (len(x),))]


@shape("Rank", "Size")
def scalar(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """One number."""
    return [(str(node.attributes.get("out_type", "int32")), ())]


@shape("Squeeze")
def squeeze(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """Without the named dimensions, or all that are 1."""
    x = _dims(inputs[0])
    axes = node.attributes.get("squeeze_dims") or node.attributes.get("axis") or ()
    if x is None or (not axes and None in x):
        return [(_type(node, inputs[0]), None)]
    gone = {_axis(axis, len(x)) for axis in axes} if axes else {k for k, dim in enumerate(x) if dim == 1}
    return [(_type(node, inputs[0]), tuple(dim for k, dim in enumerate(x) if k not in gone))]


@shape("ExpandDims")
def expand_dims(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """With a dimension of 1 more."""
    x, axis = _dims(inputs[0]), _numbers(inputs[1])
    if x is None or not axis:
        return [(_type(node, inputs[0]), None)]
    place = _axis(axis[0], len(x) + 1)
    return [(_type(node, inputs[0]), (*x[:place], 1, *x[place:]))]


@shape("Transpose")
def transpose(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """In the order of the constant second input."""
    x, order = _dims(inputs[0]), _numbers(inputs[1])
    if x is None or order is None:
        return [(_type(node, inputs[0]), None if x is None else (None,) * len(x))]
    return [(_type(node, inputs[0]), tuple(x[_axis(axis, len(x))] for axis in order))]


@shape("Pack")
def pack(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """Equal inputs side by side along a new axis."""
    x = next((dims for dims in map(_dims, inputs) if dims is not None), None)
    if x is None:
        return [(_type(node, inputs[0]), None)]
    place = _axis(node.attributes.get("axis", 0), len(x) + 1)
    return [(_type(node, inputs[0]), (*x[:place], len(inputs), *x[place:]))]


@shape("Unpack")
def unpack(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """One output an entry of an axis."""
    x = _dims(inputs[0])
    if x is None:
        return [(_type(node, inputs[0]), None)] * len(node.outputs)
    place = _axis(node.attributes.get("axis", 0), len(x))
    return [(_type(node, inputs[0]), (*x[:place], *x[place + 1 :]))] * len(node.outputs)


@shape("ConcatV2", "Concat")
def concat(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """One after the other along an axis, which is the last input (the first of ``Concat``)."""
    axis = _numbers(inputs[0] if node.op_type == "Concat" else inputs[-1])
    parts = [_dims(value) for value in (inputs[1:] if node.op_type == "Concat" else inputs[:-1])]
    first = next((dims for dims in parts if dims is not None), None)
    if not axis or first is None:
        return [(_type(node, inputs[1]), None if first is None else (None,) * len(first))]
    place = _axis(axis[0], len(first))
    sizes = [dims[place] if dims is not None and len(dims) == len(first) else None for dims in parts]
    total = sum(dim for dim in sizes if isinstance(dim, int)) if all(isinstance(d, int) for d in sizes) else None
    return [(_type(node, inputs[1]), (*first[:place], total, *first[place + 1 :]))]


@shape("Split", "SplitV")
def split(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """Equal parts, or parts of constant sizes, along an axis."""
    equal = node.op_type == "Split"
    value, axis = (inputs[1], _numbers(inputs[0])) if equal else (inputs[0], _numbers(inputs[2]))
    x, sizes, parts = _dims(value), None if equal else _numbers(inputs[1]), len(node.outputs)
    if x is None or not axis:
        return [(_type(node, value), None)] * parts
    place = _axis(axis[0], len(x))
    whole, number = x[place], node.attributes.get("num_split", parts)
    each = whole // number if isinstance(whole, int) else None
    if sizes is not None and -1 in sizes and isinstance(whole, int):
        sizes = tuple(whole - sum(sizes) - 1 if size == -1 else size for size in sizes)
    return [
        (_type(node, value), (*x[:place], each if equal else sizes[k] if sizes else None, *x[place + 1 :]))
        for k in range(parts)
    ]


@shape("Pad", "PadV2", "MirrorPad")
def pad(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """The constant second input holds what comes before and after each dimension."""
    x, pads = _dims(inputs[0]), _numbers(inputs[1])
    if x is None or pads is None:
        return [(_type(node, inputs[0]), None if x is None else (None,) * len(x))]
    more = [sum(pads[2 * k : 2 * k + 2]) for k in range(len(x))]
    dims = tuple(d + n if isinstance(d, int) else None if n else d for d, n in zip(x, more, strict=True))
    return [(_type(node, inputs[0]), dims)]


@shape("Tile")
def tile(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """Each dimension so many times."""
    x, times = _dims(inputs[0]), _numbers(inputs[1])
    if x is None or times is None:
        return [(_type(node, inputs[0]), None if x is None else (None,) * len(x))]
    dims = tuple(d * t if isinstance(d, int) else d if t == 1 else None for d, t in zip(x, times, strict=True))
    return [(_type(node, inputs[0]), dims)]


@shape("Fill")
def fill(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """The constant first input is the shape."""
    return [(_type(node, inputs[1]), _numbers(inputs[0]))]


@shape("RandomUniform", "RandomStandardNormal", "TruncatedNormal")
def random(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """The constant first input is the shape."""
    return [(dtype_of(node), _numbers(inputs[0]))]


@shape("Slice")
def slice_(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """From constant beginnings, in constant sizes; -1 is what is left."""
    x, begin, size = _dims(inputs[0]), _numbers(inputs[1]), _numbers(inputs[2])
    if x is None or size is None:
        return [(_type(node, inputs[0]), None if x is None else (None,) * len(x))]
    dims: list[Dim] = []
    for k, dim in enumerate(x):
        left = dim - begin[k] if isinstance(dim, int) and begin is not None else None
        dims.append(left if size[k] == -1 else size[k])
    return [(_type(node, inputs[0]), tuple(dims))]


@shape("StridedSlice")
def strided_slice(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """Python's slices with constant bounds: masks leave bounds out, add axes, take them away, or mean the rest."""
    x = _dims(inputs[0])
    bounds = [_numbers(value) for value in inputs[1:4]]
    if x is None or any(bound is None for bound in bounds):
        return [(_type(node, inputs[0]), None)]
    begin, end, stride = (bound or () for bound in bounds)
    masks = {
        name: int(node.attributes.get(f"{name}_mask", 0))
        for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    }
    used = sum(not (masks["new_axis"] | masks["ellipsis"]) >> k & 1 for k in range(len(begin)))
    result: list[Dim] = []
    axis = 0
    for k in range(len(begin)):
        if masks["ellipsis"] >> k & 1:
            result += x[axis : axis + len(x) - used]
            axis += len(x) - used
        elif masks["new_axis"] >> k & 1:
            result.append(1)
        elif masks["shrink_axis"] >> k & 1:
            axis += 1
        else:
            dim = x[axis]
            low = None if masks["begin"] >> k & 1 else begin[k]
            high = None if masks["end"] >> k & 1 else end[k]
            result.append(len(range(dim)[low : high : stride[k]]) if isinstance(dim, int) else None)
            axis += 1
    return [(_type(node, inputs[0]), (*result, *x[axis:]))]


@shape("Gather", "GatherV2", "ResourceGather")
def gather(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """Entries of an axis, the first by default."""
    x, indices = _dims(inputs[0]), _dims(inputs[1])
    axis = _numbers(inputs[2]) if len(inputs) > 2 else (0,)
    found = node.attributes.get("Tparams") or node.attributes.get("dtype")
    dtype = str(found) if found else inputs[0].dtype if inputs[0] is not None else None
    if x is None or indices is None or not axis:
        return [(dtype, None)]
    place = _axis(axis[0], len(x))
    return [(dtype, (*x[:place], *indices, *x[place + 1 :]))]


@shape("OneHot")
def one_hot(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """A new axis, the last by default, as deep as the constant second input."""
    x, depth = _dims(inputs[0]), _numbers(inputs[1])
    if x is None:
        return [(dtype_of(node), None)]
    axis = node.attributes.get("axis", -1)
    place = len(x) if axis == -1 else _axis(axis, len(x) + 1)
    return [(dtype_of(node), (*x[:place], depth[0] if depth else None, *x[place:]))]


@shape("Mean", "Sum", "Max", "Min", "Prod", "All", "Any")
def reduce(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """Over the axes of the constant second input; ``keep_dims`` leaves ones."""
    x, axes = _dims(inputs[0]), _numbers(inputs[1])
    dtype = "bool" if node.op_type in ("All", "Any") else _type(node, inputs[0])
    if x is None or axes is None:
        return [(dtype, None)]
    gone = {_axis(axis, len(x)) for axis in axes}
    if node.attributes.get("keep_dims"):
        return [(dtype, tuple(1 if k in gone else dim for k, dim in enumerate(x)))]
    return [(dtype, tuple(dim for k, dim in enumerate(x) if k not in gone))]


@shape("ArgMax", "ArgMin")
def arg_max(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """Without the axis of the constant second input."""
    x, axis = _dims(inputs[0]), _numbers(inputs[1])
    dtype = str(node.attributes.get("output_type", "int64"))
    if x is None or not axis:
        return [(dtype, None)]
    place = _axis(axis[0], len(x))
    return [(dtype, (*x[:place], *x[place + 1 :]))]


@shape("SparseSoftmaxCrossEntropyWithLogits", "SoftmaxCrossEntropyWithLogits")
def cross_entropy(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """A loss a sample, and its gradient."""
    x = _dims(inputs[0])
    return [(_type(node, inputs[0]), x[:1] if x else None), (_type(node, inputs[0]), x)]


# Costs ------------------------------------------------------------------------------------------------------------


def _product(*factors: int | None) -> tuple[int | None, int | None]:
    known = [factor for factor in factors if factor is not None]
    macs = prod(known) if len(known) == len(factors) else None
    return macs, None if macs is None else 2 * macs


@cost("Conv2D", "Conv3D")
def conv_cost(node: Node, inputs: Sequence[Typed], outputs: Sequence[Value]) -> tuple[int | None, int | None]:
    """Outputs times the weight's size per output channel."""
    w = _dims(inputs[1])
    return _product(count(outputs[0].shape), count(w[:-1]) if w else None)


@cost("DepthwiseConv2dNative")
def depthwise_cost(node: Node, inputs: Sequence[Typed], outputs: Sequence[Value]) -> tuple[int | None, int | None]:
    """Outputs times the kernel's size."""
    w = _dims(inputs[1])
    return _product(count(outputs[0].shape), count(w[:-2]) if w else None)


@cost("Conv2DBackpropInput", "Conv3DBackpropInputV2")
def conv_transpose_cost(node: Node, inputs: Sequence[Typed], outputs: Sequence[Value]) -> tuple[int | None, int | None]:
    """Inputs times the weight's size per input channel, which is its last."""
    w = _dims(inputs[1])
    return _product(count(_dims(inputs[2])), count(w[:-1]) if w else None)


@cost("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3")
def matmul_cost(node: Node, inputs: Sequence[Typed], outputs: Sequence[Value]) -> tuple[int | None, int | None]:
    """Outputs times the inner size."""
    a, b = _dims(inputs[0]), _dims(inputs[1])
    turned = node.attributes.get("transpose_a") or node.attributes.get("adj_x")
    inner = a[-2 if turned else -1] if a else None
    if not isinstance(inner, int) and b:
        inner = b[-1 if node.attributes.get("transpose_b") or node.attributes.get("adj_y") else -2]
    return _product(count(outputs[0].shape), inner if isinstance(inner, int) else None)


@cost("BlockLSTM", "BlockLSTMV2")
def lstm_cost(node: Node, inputs: Sequence[Typed], outputs: Sequence[Value]) -> tuple[int | None, int | None]:
    """Steps times batch times the size of the weights."""
    x = _dims(inputs[1])
    return _product(count(x[:2]) if x else None, count(_dims(inputs[4])))


@cost("MaxPool", "AvgPool", "MaxPool3D", "AvgPool3D")
def pool_cost(node: Node, inputs: Sequence[Typed], outputs: Sequence[Value]) -> tuple[int | None, int | None]:
    """One operation per window element."""
    return 0, _product(count(outputs[0].shape), prod(node.attributes.get("ksize", ())))[0]


cost(*ARITHMETIC, *COMPARISON)(per_element(1))
cost(
    "BiasAdd", "Relu", "Relu6", "LeakyRelu", "Elu", "Selu", "Sigmoid", "Tanh", "Exp", "Log", "Sqrt", "Rsqrt", "Square",
    "Neg", "Abs", "Softplus", "Softsign", "Mean", "Sum", "Max", "Min", "Prod", "ArgMax", "ArgMin", "AddN",
    "ResizeBilinear", "ResizeNearestNeighbor", "LRN",
)(per_element(1))  # fmt: skip
cost("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")(per_element(2))
cost("Softmax", "LogSoftmax")(per_element(5))
cost(
    "Identity", "ReadVariableOp", "Reshape", "Shape", "Squeeze", "ExpandDims", "Transpose", "Pack", "Unpack",
    "ConcatV2", "Concat", "Split", "SplitV", "Pad", "PadV2", "MirrorPad", "Tile", "Fill", "Slice", "StridedSlice",
    "Gather", "GatherV2", "ResourceGather", "OneHot", "Cast", "StopGradient", "NoOp", "Switch", "Merge", "Enter",
    "Exit", "NextIteration", "LoopCond", "DepthToSpace", "SpaceToDepth", "Rank", "Size",
)(per_element(0))  # fmt: skip
