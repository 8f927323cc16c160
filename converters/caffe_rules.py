"""Shapes and costs of the domain ``caffe``: layers that ONNX has no operation for, and Caffe's pooling arithmetic.

The rules read a node's attributes and input shapes only, so an ``.onnx`` with ``caffe::PSROIPooling`` in it keeps its
shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from graphviz_nets.graph.cost import Rule as CostRule
from graphviz_nets.graph.cost import Typed
from graphviz_nets.graph.ir import Node, Shape, Value, count
from graphviz_nets.graph.rules import Table
from graphviz_nets.graph.shapes import Impossible, Type
from graphviz_nets.graph.shapes import Rule as ShapeRule

shape: Table[ShapeRule] = Table("shape")
cost: Table[CostRule] = Table("cost")


def pooled(size: int, kernel: int, stride: int, pad: int, ceil: bool = True, clip: bool = False) -> int:
    """Return Caffe's output size of a pooling along one axis.

    Parameters
    ----------
    size, kernel, stride, pad : int
        Along this axis.
    ceil : bool
        Round up, as Caffe does by default.
    clip : bool
        Whether any axis is padded: the last window must then start inside the input or its left padding.

    Examples
    --------
    >>> pooled(112, 3, 2, 0), pooled(3, 2, 2, 1, clip=True)
    (56, 2)
    """
    room = size + 2 * pad - kernel
    steps = (-(-room // stride) if ceil else room // stride) + 1
    return steps - 1 if clip and (steps - 1) * stride >= size + pad else steps


def _dims(value: Typed) -> Shape | None:
    return None if value is None else value.shape


def _dim(value: Typed, axis: int) -> int | str | None:
    dims = _dims(value)
    return dims[axis] if dims is not None and -len(dims) <= axis < len(dims) else None


def _like(value: Typed) -> Type:
    return ("float32", _dims(value))


def _number(node: Node, name: str, default: int) -> int:
    """Return a whole-number attribute, the default where it is absent or something else."""
    value = node.attributes.get(name, default)
    return value if isinstance(value, int) else default


def _first(inputs: Sequence[Typed]) -> Typed:
    return inputs[0] if inputs else None


# Losses and measures ----------------------------------------------------------------------------------------------


@shape(
    "SoftmaxWithLoss", "EuclideanLoss", "HingeLoss", "InfogainLoss", "MultinomialLogisticLoss", "SmoothL1Loss",
    "SigmoidCrossEntropyLoss", "ContrastiveLoss", "MultiBoxLoss",
)  # fmt: skip
def loss(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """A scalar; the optional second top is like the first bottom (the probabilities)."""
    return [("float32", ()), _like(_first(inputs))]


@shape("Accuracy")
def accuracy(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """A scalar; the optional second top holds one number per class."""
    return [("float32", ()), ("float32", (_dim(_first(inputs), _number(node, "axis", 1)),))]


@shape("DetectionEvaluate")
def detection_evaluate(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """Rows of five numbers."""
    return [("float32", (1, 1, None, 5))]


# Detection --------------------------------------------------------------------------------------------------------


@shape("DetectionOutput")
def detection_output(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """Rows of image, label, score and four coordinates."""
    return [("float32", (1, 1, None, 7))]


@shape("Proposal")
def proposal(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """Regions (image and four coordinates) and, optionally, their scores."""
    return [("float32", (None, 5)), ("float32", (None, 1))]


@shape("PSROIPooling")
def psroi_pooling(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """(R, output_dim, group_size, group_size) for R regions."""
    side = _number(node, "group_size", 0) or None
    regions = _dim(inputs[1] if len(inputs) > 1 else None, 0)
    return [("float32", (regions, _number(node, "output_dim", 0) or None, side, side))]


# Windows ----------------------------------------------------------------------------------------------------------


@shape("StochasticPool")
def stochastic_pool(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """Like every Caffe pooling; ``kernel_shape``, ``strides``, ``pads`` (one an axis) and ``ceil_mode``."""
    x = _dims(_first(inputs))
    kernel = node.attributes.get("kernel_shape", ())
    strides, pads = node.attributes.get("strides", ()), node.attributes.get("pads", ())
    if x is None or not len(x) - 2 == len(kernel) == len(strides) == len(pads):
        return [("float32", None)]
    sizes: list[int | None] = []
    for k, size in enumerate(x[2:]):
        if not isinstance(size, int):
            sizes.append(None)
            continue
        sizes.append(pooled(size, kernel[k], strides[k], pads[k], bool(node.attributes.get("ceil_mode", 1)), any(pads)))
        if (sizes[-1] or 0) < 1:
            raise Impossible(f"kernel {kernel[k]} is larger than the padded input {size + 2 * pads[k]}")
    return [("float32", (*x[:2], *sizes))]


@shape("Correlation")
def correlation(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """FlowNet's: one channel per displacement."""
    x = _dims(_first(inputs))
    reach = _number(node, "max_displacement", 0)
    step, skip = _number(node, "stride_1", 1), _number(node, "stride_2", 1)
    if x is None or len(x) != 4 or step < 1 or skip < 1:
        return [("float32", None)]
    border = reach + (_number(node, "kernel_size", 1) - 1) // 2
    room = 2 * _number(node, "pad", 0) - 2 * border
    sizes = tuple(-(-(size + room) // step) if isinstance(size, int) else None for size in x[2:])
    if any(size is not None and size < 1 for size in sizes):
        raise Impossible("the displacement is larger than the padded input")
    return [("float32", (x[0], (2 * (reach // skip) + 1) ** 2, *sizes))]


# Recurrent layers -------------------------------------------------------------------------------------------------


@shape("LSTM", "RNN")
def recurrent(node: Node, inputs: Sequence[Typed]) -> Sequence[Type]:
    """(T, N, ...) gives (T, N, num_output); exposed states are (1, N, num_output)."""
    first = _first(inputs)
    steps, batch, size = _dim(first, 0), _dim(first, 1), _number(node, "num_output", 0) or None
    return [("float32", (steps, batch, size)), *[("float32", (1, batch, size))] * (len(node.outputs) - 1)]


# Costs ------------------------------------------------------------------------------------------------------------


def _elements(values: Sequence[Typed]) -> int | None:
    sizes = [count(value.shape) for value in values if value is not None]
    return None if any(size is None for size in sizes) else sum(size for size in sizes if size is not None)


def per_input(flops: int) -> CostRule:
    """Return a rule of so many operations per element of the first input."""

    def rule(node: Node, inputs: Sequence[Typed], outputs: Sequence[Value]) -> tuple[int | None, int | None]:
        elements = _elements(inputs[:1])
        return 0, None if elements is None else flops * elements

    return rule


cost("SoftmaxWithLoss", "InfogainLoss", "SigmoidCrossEntropyLoss")(per_input(5))
cost("EuclideanLoss", "HingeLoss", "MultinomialLogisticLoss", "SmoothL1Loss", "ContrastiveLoss")(per_input(3))
cost("Accuracy")(per_input(1))
cost("Silence", "HDF5Output")(per_input(0))


@cost("StochasticPool")
def pool_cost(node: Node, inputs: Sequence[Typed], outputs: Sequence[Value]) -> tuple[int | None, int | None]:
    """Two operations per window element: the square and the sum."""
    elements = _elements(outputs[:1])
    return 0, None if elements is None else 2 * elements * prod(node.attributes.get("kernel_shape", ()))


@cost("Correlation")
def correlation_cost(node: Node, inputs: Sequence[Typed], outputs: Sequence[Value]) -> tuple[int | None, int | None]:
    """A product over channels and kernel for every output."""
    elements, channels = _elements(outputs[:1]), _dim(_first(inputs), 1)
    if elements is None or not isinstance(channels, int):
        return None, None
    macs = elements * channels * _number(node, "kernel_size", 1) ** 2
    return macs, 2 * macs


@cost("LSTM", "RNN")
def recurrent_cost(node: Node, inputs: Sequence[Typed], outputs: Sequence[Value]) -> tuple[int | None, int | None]:
    """Steps times batch times the sizes of the weight matrices; a static input is multiplied once a sequence."""
    lstm = node.op_type == "LSTM"
    exposed = (2 if lstm else 1) if node.attributes.get("expose_hidden") else 0
    x, size, batch = _dims(_first(inputs)), _number(node, "num_output", 0), _dim(_first(inputs), 1)
    static = _dims(inputs[2]) if len(inputs) - exposed > 2 else (0, 0)
    inner, outer, still = (count(x[2:]), count(x[:2]), count((static or (None,))[1:])) if x else (None, None, None)
    if inner is None or outer is None or still is None or not size or not isinstance(batch, int):
        return None, None
    gates = 4 * size if lstm else size
    macs = outer * (gates * (inner + size) + (0 if lstm else size * size)) + batch * gates * still
    return macs, 2 * macs
