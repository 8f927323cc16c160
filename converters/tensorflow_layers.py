"""Keras's layers as ONNX nodes: one function a layer, the first line of its docstring says what it becomes.

A function takes the Builder and the call, appends nodes and returns a value (or one a result). Weights are declared in
Keras's order. Channels stay last between layers; a layer that needs them first turns its input and turns it back, which
runtimes take out where two meet.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from math import prod, sqrt
from typing import Any

from graphviz_nets.graph.builder import Builder
from graphviz_nets.graph.shapes import Impossible

from .tensorflow_call import Blob, Call, inner, layer, order

# Activations ------------------------------------------------------------------------------------------------------


def _clip(op: Builder, x: str, low: float, high: float) -> str:
    return op.Clip(x, op.scalar(low), op.scalar(high))


def _hard_sigmoid(op: Builder, x: str, keras: int) -> str:
    return op.HardSigmoid(x, alpha=0.2 if keras < 3 else 1 / 6, beta=0.5)


def gelu(op: Builder, x: str, approximate: bool) -> str:
    """Append x Φ(x), or its approximation by tanh."""
    half = op.Mul(x, op.scalar(0.5))
    if approximate:
        cube = op.Mul(op.Mul(x, op.Mul(x, x)), op.scalar(0.044715))
        return op.Mul(half, op.Add(op.Tanh(op.Mul(op.Add(x, cube), op.scalar(0.7978845608028654))), op.scalar(1)))
    return op.Mul(half, op.Add(op.Erf(op.Mul(x, op.scalar(1 / sqrt(2)))), op.scalar(1)))


ACTIVATIONS: Mapping[str, Callable[[Builder, str, int], str]] = {
    "linear": lambda op, x, keras: x,
    "relu": lambda op, x, keras: op.Relu(x),
    "relu6": lambda op, x, keras: _clip(op, x, 0, 6),
    "leaky_relu": lambda op, x, keras: op.LeakyRelu(x, alpha=0.2),
    "sigmoid": lambda op, x, keras: op.Sigmoid(x),
    "tanh": lambda op, x, keras: op.Tanh(x),
    "softmax": lambda op, x, keras: op.Softmax(x, axis=-1),
    "log_softmax": lambda op, x, keras: op.LogSoftmax(x, axis=-1),
    "softplus": lambda op, x, keras: op.Softplus(x),
    "softsign": lambda op, x, keras: op.Softsign(x),
    "elu": lambda op, x, keras: op.Elu(x),
    "selu": lambda op, x, keras: op.Selu(x),
    "gelu": lambda op, x, keras: gelu(op, x, False),
    "exponential": lambda op, x, keras: op.Exp(x),
    "swish": lambda op, x, keras: op.Mul(x, op.Sigmoid(x)),
    "silu": lambda op, x, keras: op.Mul(x, op.Sigmoid(x)),
    "mish": lambda op, x, keras: op.Mul(x, op.Tanh(op.Softplus(x))),
    "hard_sigmoid": _hard_sigmoid,
    "hard_silu": lambda op, x, keras: op.Mul(x, _hard_sigmoid(op, x, 3)),
    "hard_swish": lambda op, x, keras: op.Mul(x, _hard_sigmoid(op, x, 3)),
}
"""Keras's activation functions by name."""


def activation_name(given: Any) -> str:
    """Return an activation's name, as versions of Keras write it: a word, or an object around it.

    Examples
    --------
    >>> activation_name(None), activation_name({"class_name": "function", "config": "relu"})
    ('linear', 'relu')
    """
    if given is None:
        return "linear"
    if isinstance(given, Mapping):
        inner = given.get("config")
        given = inner if isinstance(inner, str) else inner.get("name") if isinstance(inner, Mapping) else None
        return given if isinstance(given, str) else "?"
    return str(given)


def activated(call: Call, x: str, key: str = "activation") -> str:
    """Append the activation that a layer names."""
    name = activation_name(call.config.get(key))
    if name not in ACTIVATIONS:
        raise Impossible(f"its activation {name[:60]!r} is not known")
    return ACTIVATIONS[name](call.op, x, call.keras)


@layer("Activation")
def activation(op: Builder, call: Call) -> str:
    """the activation that it names"""
    return activated(call, call.x)


@layer("ReLU")
def relu(op: Builder, call: Call) -> str:
    """Relu, Clip or LeakyRelu"""
    slope, threshold = call.number("negative_slope", 0), call.number("threshold", 0)
    most = call.number("max_value", float("inf"))
    if threshold:
        raise Impossible("a threshold other than 0 has no simple form")
    x = op.LeakyRelu(call.x, alpha=slope) if slope else op.Relu(call.x)
    return op.Min(x, op.scalar(most)) if most != float("inf") else x


@layer("LeakyReLU")
def leaky_relu(op: Builder, call: Call) -> str:
    """LeakyRelu"""
    return op.LeakyRelu(call.x, alpha=call.number("negative_slope", call.number("alpha", 0.3)))


@layer("ELU")
def elu(op: Builder, call: Call) -> str:
    """Elu"""
    return op.Elu(call.x, alpha=call.number("alpha", 1))


@layer("PReLU")
def prelu(op: Builder, call: Call) -> str:
    """PRelu; slopes along shared axes are one"""
    rank = len(call.shape())
    shared = call.get("shared_axes", ())
    shape = [1 if k in shared else call.size(k) for k in range(1, rank)]
    return op.PRelu(call.x, call.weight("alpha", shape))


@layer("Softmax")
def softmax(op: Builder, call: Call) -> str:
    """Softmax"""
    axis = call.get("axis", -1)
    axes = axis if isinstance(axis, list) else [axis]
    if len(axes) != 1 or len(call.inputs) != 1:
        raise Impossible("a softmax over several axes, or with a mask, has no simple form")
    return op.Softmax(call.x, axis=int(axes[0]))


@layer("ThresholdedReLU")
def thresholded_relu(op: Builder, call: Call) -> str:
    """ThresholdedRelu"""
    return op.ThresholdedRelu(call.x, alpha=call.number("theta", 1))


# Products ---------------------------------------------------------------------------------------------------------


@layer("Dense")
def dense(op: Builder, call: Call) -> str:
    """Gemm, or MatMul and Add where there are more than two dimensions"""
    units = call.whole("units", least=1)
    kernel = call.weight("kernel", (call.size(-1), units))
    bias = (call.weight("bias", (units,)),) if call.get("use_bias", True) else ()
    if len(call.shape()) == 2:
        return activated(call, op.Gemm(call.x, kernel, *bias))
    y = op.MatMul(call.x, kernel)
    return activated(call, op.Add(y, *bias) if bias else y)


@layer("Embedding")
def embedding(op: Builder, call: Call) -> str:
    """Gather"""
    if call.get("mask_zero", False):
        raise Impossible("steps that layers behind it leave out, by a mask, have no simple form")
    table = call.weight("embeddings", (call.whole("input_dim", least=1), call.whole("output_dim", least=1)))
    return op.Gather(table, op.Cast(call.x, to=7))


# Windows ----------------------------------------------------------------------------------------------------------


def _pads(call: Call, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> dict[str, Any]:
    """Return ONNX's attributes of a window."""
    found: dict[str, Any] = {"kernel_shape": tuple(kernel), "strides": tuple(strides)}
    if any(dilation != 1 for dilation in dilations):
        found["dilations"] = tuple(dilations)
    padding = str(call.get("padding", "valid")).lower()
    reach = [dilation * (side - 1) for dilation, side in zip(dilations, kernel, strict=True)]
    if padding == "causal":
        found["pads"] = (*reach, *[0] * len(reach))
    elif padding == "same" and all(stride == 1 for stride in strides):
        found["pads"] = (*(room // 2 for room in reach), *(room - room // 2 for room in reach))
    elif padding == "same":
        found["auto_pad"] = "SAME_UPPER"
    elif padding != "valid":
        raise Impossible(f"its padding {padding[:40]!r} is not known")
    return found


def _biased(call: Call, channels: int) -> tuple[str, ...]:
    return (call.weight("bias", (channels,)),) if call.get("use_bias", True) else ()


def _rank(call: Call) -> int:
    """Return the number of spatial axes, which the class names."""
    rank = int(next(char for char in call.type if char.isdigit()))
    if len(call.shape()) != rank + 2:
        raise Impossible(f"its input has {len(call.shape())} dimensions, not {rank + 2}")
    return rank


def _channels(call: Call) -> int:
    return call.size(-1 if call.last else 1)


@layer("Conv1D", "Conv2D", "Conv3D", "Convolution1D", "Convolution2D", "Convolution3D")
def conv(op: Builder, call: Call) -> str:
    """Conv"""
    rank, filters, groups = _rank(call), call.whole("filters", least=1), call.whole("groups", 1, 1)
    side, inner = call.sides("kernel_size", rank), _channels(call) // groups
    kernel = call.weight("kernel", (*side, inner, filters), order(rank + 1, rank, *range(rank)),
                         (filters, inner, *side))  # fmt: skip
    pads = _pads(call, side, call.sides("strides", rank), call.sides("dilation_rate", rank))
    group = {"group": groups} if groups > 1 else {}
    y = op.Conv(call.into(call.x), kernel, *_biased(call, filters), **pads, **group)
    return activated(call, call.back(y))


def _depthwise(call: Call, x: str, channels: int, rank: int, bias: bool) -> str:
    """Append a convolution of each channel by itself."""
    side, each = call.sides("kernel_size", rank), call.whole("depth_multiplier", 1, 1)
    kernel = call.weight(
        "depthwise_kernel", (*side, channels, each),
        lambda array: array.transpose(rank, rank + 1, *range(rank)).reshape(channels * each, 1, *side),
        (channels * each, 1, *side),
    )  # fmt: skip
    pads = _pads(call, side, call.sides("strides", rank), call.sides("dilation_rate", rank))
    rest = _biased(call, channels * each) if bias else ()
    return call.op.Conv(x, kernel, *rest, group=channels, **pads)


@layer("DepthwiseConv1D", "DepthwiseConv2D")
def depthwise_conv(op: Builder, call: Call) -> str:
    """Conv with a group a channel"""
    y = _depthwise(call, call.into(call.x), _channels(call), _rank(call), True)
    return activated(call, call.back(y))


@layer("SeparableConv1D", "SeparableConv2D", "SeparableConvolution1D", "SeparableConvolution2D")
def separable_conv(op: Builder, call: Call) -> str:
    """Conv with a group a channel, then Conv with a kernel of 1"""
    rank, channels, filters = _rank(call), _channels(call), call.whole("filters", least=1)
    y = _depthwise(call, call.into(call.x), channels, rank, False)
    inner, ones = channels * call.whole("depth_multiplier", 1, 1), (1,) * rank
    kernel = call.weight("pointwise_kernel", (*ones, inner, filters), order(rank + 1, rank, *range(rank)),
                         (filters, inner, *ones))  # fmt: skip
    return activated(call, call.back(op.Conv(y, kernel, *_biased(call, filters), kernel_shape=ones)))


@layer("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose", "Deconvolution2D")
def conv_transpose(op: Builder, call: Call) -> str:
    """ConvTranspose, padded so that the output is the input times the stride"""
    rank, filters, inner = _rank(call), call.whole("filters", least=1), _channels(call)
    side, strides = call.sides("kernel_size", rank), call.sides("strides", rank)
    dilations = call.sides("dilation_rate", rank)
    if call.get("output_padding") is not None:
        raise Impossible("an output_padding has no simple form")
    kernel = call.weight("kernel", (*side, filters, inner), order(rank + 1, rank, *range(rank)),
                         (inner, filters, *side))  # fmt: skip
    over = [d * (k - 1) + 1 - s for d, k, s in zip(dilations, side, strides, strict=True)]
    more = {"output_padding": tuple(max(-room, 0) for room in over)} if any(room < 0 for room in over) else {}
    if str(call.get("padding", "valid")).lower() == "same":
        cut = [max(room, 0) for room in over]
        more["pads"] = (*(room // 2 for room in cut), *(room - room // 2 for room in cut))
    if any(dilation != 1 for dilation in dilations):
        more["dilations"] = dilations
    y = op.ConvTranspose(call.into(call.x), kernel, *_biased(call, filters), kernel_shape=side, strides=strides, **more)
    return activated(call, call.back(y))


def _pool(op: Builder, call: Call, kind: str) -> str:
    rank = _rank(call)
    side = call.sides("pool_size", rank, 2)
    strides = call.sides("strides", rank) if call.get("strides") is not None else side
    pads = _pads(call, side, strides, (1,) * rank)
    return call.back(op.node(kind, [call.into(call.x)], attributes=pads)[0])


@layer("MaxPooling1D", "MaxPooling2D", "MaxPooling3D", "MaxPool1D", "MaxPool2D", "MaxPool3D")
def max_pool(op: Builder, call: Call) -> str:
    """MaxPool"""
    return _pool(op, call, "MaxPool")


@layer("AveragePooling1D", "AveragePooling2D", "AveragePooling3D", "AvgPool1D", "AvgPool2D", "AvgPool3D")
def average_pool(op: Builder, call: Call) -> str:
    """AveragePool, over what is no padding"""
    return _pool(op, call, "AveragePool")


def _global(op: Builder, call: Call, kind: str) -> str:
    rank, first = _rank(call), 1 if call.last else 2
    if len(call.inputs) != 1:
        raise Impossible("a mask has no simple form")
    keep = int(bool(call.get("keepdims", False)))
    return op.node(kind, [call.x, op.constant(range(first, first + rank))], attributes={"keepdims": keep})[0]


@layer("GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalAveragePooling3D", "GlobalAvgPool2D")
def global_average(op: Builder, call: Call) -> str:
    """ReduceMean"""
    return _global(op, call, "ReduceMean")


@layer("GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalMaxPooling3D", "GlobalMaxPool2D")
def global_max(op: Builder, call: Call) -> str:
    """ReduceMax"""
    return _global(op, call, "ReduceMax")


def _borders(call: Call, key: str, rank: int) -> list[tuple[int, int]]:
    """Return what is put before and after each spatial axis: one number, one an axis, or two an axis."""
    given = call.get(key, 1)
    values = [given] * rank if isinstance(given, int) else given
    if rank == 1 and isinstance(given, (list, tuple)) and len(given) == 2:
        values = [given]
    if not isinstance(values, (list, tuple)) or len(values) != rank:
        raise call.fail(f"{key} is to have {rank} entries, not {str(given)[:60]!r}")
    pairs = [(value, value) if isinstance(value, int) else tuple(value) for value in values]
    if not all(len(pair) == 2 and all(isinstance(n, int) and 0 <= n < 1 << 31 for n in pair) for pair in pairs):
        raise call.fail(f"{key} is to have whole numbers, not {str(given)[:60]!r}")
    return [(int(before), int(after)) for before, after in pairs]


@layer("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D")
def zero_padding(op: Builder, call: Call) -> str:
    """Pad"""
    rank = _rank(call)
    pairs = _borders(call, "padding", rank)
    whole = [(0, 0), *pairs, (0, 0)] if call.last else [(0, 0), (0, 0), *pairs]
    return op.Pad(call.x, op.constant([a for a, _ in whole] + [b for _, b in whole]))


@layer("Cropping1D", "Cropping2D", "Cropping3D")
def cropping(op: Builder, call: Call) -> str:
    """Slice"""
    rank = _rank(call)
    pairs = _borders(call, "cropping", rank)
    first = 1 if call.last else 2
    ends = [-after if after else (1 << 31) - 1 for _, after in pairs]
    axes = op.constant(range(first, first + rank))
    return op.Slice(call.x, op.constant([before for before, _ in pairs]), op.constant(ends), axes)


@layer("UpSampling1D", "UpSampling2D", "UpSampling3D")
def upsampling(op: Builder, call: Call) -> str:
    """Resize"""
    rank = _rank(call)
    size = call.sides("size", rank, 2)
    method = str(call.get("interpolation", "nearest"))
    settings = {
        "nearest": {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
        "bilinear": {"mode": "linear", "coordinate_transformation_mode": "half_pixel"},
    }
    if method not in settings:
        raise Impossible(f"its interpolation {method[:40]!r} is not known")
    scales = op.constant([1.0, 1.0, *map(float, size)], "float32")
    return call.back(op.Resize(call.into(call.x), "", scales, **settings[method]))


@layer("Resizing")
def resizing(op: Builder, call: Call) -> str:
    """Resize to a size"""
    shape, method = call.shape(), str(call.get("interpolation", "bilinear"))
    settings = {
        "nearest": {"mode": "nearest", "nearest_mode": "round_prefer_ceil"},
        "bilinear": {"mode": "linear"},
    }
    odd = [key for key in ("crop_to_aspect_ratio", "pad_to_aspect_ratio", "antialias") if call.get(key)]
    if odd or method not in settings or len(shape) != 4:
        raise Impossible(f"{', '.join(odd) or f'{method[:40]!r} of {len(shape)} dimensions'} has no simple form")
    x, sizes = call.into(call.x), [call.whole("height", least=1), call.whole("width", least=1)]
    batch, channels = (op.shape(x) or ())[:2]
    whole = op.Concat(op.Slice(op.Shape(x), op.constant([0]), op.constant([2])), op.constant(sizes), axis=0)
    more = {**settings[method], "coordinate_transformation_mode": "half_pixel"}
    (y,) = op.node("Resize", (x, "", "", whole), attributes=more, known=[("float32", (batch, channels, *sizes))])
    return call.back(y)


# Normalization ----------------------------------------------------------------------------------------------------


def _axis(call: Call) -> int:
    """Return the one axis of a normalization, counted from the front."""
    given = call.get("axis", -1)
    axes = given if isinstance(given, (list, tuple)) else [given]
    if len(axes) != 1 or not isinstance(axes[0], int):
        raise Impossible("a normalization along several axes has no simple form")
    return int(axes[0]) % len(call.shape())


@layer("BatchNormalization", "BatchNormalizationV1", "SyncBatchNormalization")
def batch_normalization(op: Builder, call: Call) -> str:
    """BatchNormalization with the running statistics"""
    _not_in_training(call)
    axis, rank = _axis(call), len(call.shape())
    size = call.size(axis)
    ones, zeros = (op.constant([value] * size, "float32") for value in (1.0, 0.0))
    gamma = call.weight("gamma", (size,)) if call.get("scale", True) else ones
    beta = call.weight("beta", (size,)) if call.get("center", True) else zeros
    statistics = [call.weight(role, (size,), trained=False) for role in ("moving_mean", "moving_variance")]
    turned = axis != 1
    if turned:
        rest = [k for k in range(1, rank) if k != axis]
        x = op.Transpose(call.x, perm=(0, axis, *rest))
    else:
        x = call.x
    y = op.BatchNormalization(x, gamma, beta, *statistics, epsilon=call.number("epsilon", 1e-3))
    if not turned:
        return y
    there = (0, axis, *rest)
    return op.Transpose(y, perm=tuple(there.index(k) for k in range(rank)))


@layer("LayerNormalization")
def layer_normalization(op: Builder, call: Call) -> str:
    """LayerNormalization"""
    rank = len(call.shape())
    given = call.get("axis", -1)
    axes = sorted(int(axis) % rank for axis in (given if isinstance(given, (list, tuple)) else [given]))
    if axes != list(range(axes[0], rank)):
        raise Impossible("a normalization along axes other than the last has no simple form")
    shape = [call.size(axis) for axis in axes]
    count = prod(shape)
    gamma = call.weight("gamma", shape) if call.get("scale", True) else op.constant([1.0] * count, "float32", (*shape,))
    beta = (call.weight("beta", shape),) if call.get("center", True) else ()
    return op.LayerNormalization(call.x, gamma, *beta, axis=axes[0], epsilon=call.number("epsilon", 1e-3))


@layer("GroupNormalization")
def group_normalization(op: Builder, call: Call) -> str:
    """InstanceNormalization of groups of channels, then Mul and Add"""
    rank = len(call.shape())
    if _axis(call) != rank - 1:
        raise Impossible("groups along an axis other than the last have no simple form")
    channels, groups = call.size(-1), call.whole("groups", 32, least=-1)
    groups = channels if groups == -1 else groups
    if groups < 1 or channels % groups:
        raise call.fail(f"{channels} channels are no {groups} groups")
    x = call.into(call.x)
    ones, zeros = (op.constant([value] * groups, "float32") for value in (1.0, 0.0))
    grouped = op.Reshape(x, op.constant([0, groups, -1]))
    y = op.InstanceNormalization(grouped, ones, zeros, epsilon=call.number("epsilon", 1e-3))
    (y,) = op.node("Reshape", (y, op.Shape(x)), known=[("float32", op.shape(x))])
    y = call.back(y)
    y = op.Mul(y, call.weight("gamma", (channels,))) if call.get("scale", True) else y
    return op.Add(y, call.weight("beta", (channels,))) if call.get("center", True) else y


@layer("UnitNormalization")
def unit_normalization(op: Builder, call: Call) -> str:
    """Div by the length"""
    length = op.ReduceL2(call.x, op.constant([_axis(call)]))
    return op.Div(call.x, op.Max(length, op.scalar(1e-6)))


@layer("Rescaling")
def rescaling(op: Builder, call: Call) -> str:
    """Mul and Add"""

    def numbers(key: str, default: float) -> str:
        given = call.get(key, default)
        if isinstance(given, list) and all(isinstance(value, (int, float)) for value in given):
            return op.constant([float(value) for value in given], "float32")
        return op.scalar(call.number(key, default))

    return op.Add(op.Mul(call.x, numbers("scale", 1)), numbers("offset", 0))


@layer("Normalization")
def normalization(op: Builder, call: Call) -> str:
    """Sub and Div by what was seen in the data"""
    axis = _axis(call)
    if axis != len(call.shape()) - 1:
        raise Impossible("a normalization along axes other than the last has no simple form")
    size = call.size(axis)

    def statistic(key: str) -> str:
        given = call.get(key)
        if given is None:
            return call.weight(key, (size,), trained=False)
        values = given if isinstance(given, list) else [given]
        while values and isinstance(values[0], list):
            values = values[0]
        return op.constant([float(value) for value in values], "float32")

    mean, variance = statistic("mean"), statistic("variance")
    return op.Div(op.Sub(call.x, mean), op.Max(op.Sqrt(variance), op.scalar(1e-7)))


# Several inputs ---------------------------------------------------------------------------------------------------


def _merged(kind: str) -> Callable[[Builder, Call], str]:
    def rule(op: Builder, call: Call) -> str:
        if not call.inputs:
            raise call.fail("it has no inputs")
        ranks = {len(call.shape(k)) for k in range(len(call.inputs))}
        if len(ranks) > 1:
            raise Impossible("its inputs have different numbers of dimensions")
        y = call.inputs[0]
        for other in call.inputs[1:]:
            y = op.node(kind, [y, other])[0]
        return y

    rule.__doc__ = f"{kind} of all inputs"
    return rule


layer("Add")(_merged("Add"))
layer("Multiply")(_merged("Mul"))
layer("Maximum")(_merged("Max"))
layer("Minimum")(_merged("Min"))


@layer("Average")
def average(op: Builder, call: Call) -> str:
    """Add, then Mul"""
    return op.Mul(_merged("Add")(op, call), op.scalar(1 / max(len(call.inputs), 1)))


@layer("Subtract")
def subtract(op: Builder, call: Call) -> str:
    """Sub"""
    if len(call.inputs) != 2:
        raise call.fail(f"it has {len(call.inputs)} inputs, not 2")
    return op.Sub(*call.inputs)


@layer("Concatenate")
def concatenate(op: Builder, call: Call) -> str:
    """Concat"""
    axis = call.get("axis", -1)
    return op.Concat(*call.inputs, axis=int(axis) % len(call.shape()))


@layer("Dot")
def dot(op: Builder, call: Call) -> str:
    """Einsum over one axis of each input"""
    if len(call.inputs) != 2 or call.get("normalize", False):
        raise Impossible("a product of other than two inputs, or of normalized ones, has no simple form")
    given = call.get("axes", -1)
    ranks = [len(call.shape(k)) for k in range(2)]
    axes = [axis % rank for axis, rank in zip([given] * 2 if isinstance(given, int) else given, ranks, strict=True)]
    letters = "abcdefgh", "ijklmnop"
    names = [["z", *letters[k][1 : ranks[k]]] for k in range(2)]
    if max(ranks) > 8 or 0 in axes:
        raise Impossible("a product along the batch, or of more than eight dimensions, has no simple form")
    for k in range(2):
        names[k][axes[k]] = "s"
    out = [name for part in (names[0], names[1][1:]) for name in part if name != "s"]
    shapes = [call.shape(k) for k in range(2)]
    size = dict(zip(names[0] + names[1], shapes[0] + shapes[1], strict=True))
    equation = f"{''.join(names[0])},{''.join(names[1])}->{''.join(out)}"
    known = [("float32", tuple(size[name] for name in out))]
    (y,) = op.node("Einsum", call.inputs, attributes={"equation": equation}, known=known)
    return op.Unsqueeze(y, op.constant([1])) if len(out) == 1 else y


# Shapes -----------------------------------------------------------------------------------------------------------


@layer("Flatten")
def flatten(op: Builder, call: Call) -> str:
    """Flatten behind the batch"""
    rank = len(call.shape())
    if not call.last and rank > 2:  # Keras flattens in the order of channels last, whatever comes in
        return op.Flatten(op.Transpose(call.x, perm=(0, *range(2, rank), 1)), axis=1)
    return op.Flatten(call.x, axis=1)


@layer("Reshape")
def reshape(op: Builder, call: Call) -> str:
    """Reshape behind the batch"""
    target = call.get("target_shape", ())
    if not all(isinstance(dim, int) and -1 <= dim < 1 << 31 for dim in target):
        raise call.fail(f"target_shape is to have whole numbers, not {str(target)[:60]!r}")
    inner = call.shape()[1:]
    sizes = [dim for dim in inner if isinstance(dim, int)]
    known = prod(dim for dim in target if dim != -1)
    if len(sizes) == len(inner) and known and -1 in target:
        target = [prod(sizes) // known if dim == -1 else dim for dim in target]
    return op.Reshape(call.x, op.constant([0, *target]))


@layer("Permute")
def permute(op: Builder, call: Call) -> str:
    """Transpose behind the batch"""
    dims = call.get("dims", ())
    if sorted(dims) != list(range(1, len(call.shape()))):
        raise call.fail(f"dims is to name each axis once, not {str(dims)[:60]!r}")
    return op.Transpose(call.x, perm=(0, *dims))


@layer("RepeatVector")
def repeat_vector(op: Builder, call: Call) -> str:
    """Unsqueeze and Tile"""
    return op.Tile(op.Unsqueeze(call.x, op.constant([1])), op.constant([1, call.whole("n", least=1), 1]))


@layer(
    "Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "GaussianNoise", "GaussianDropout",
    "AlphaDropout", "ActivityRegularization", "Identity", "RandomFlip", "RandomRotation", "RandomZoom",
    "RandomTranslation", "RandomContrast",
)  # fmt: skip
def identity(op: Builder, call: Call) -> str:
    """Identity: it only matters while the net is trained"""
    _not_in_training(call)
    return op.Identity(call.x)


def _not_in_training(call: Call) -> None:
    """Refuse a layer that is always called as in training; Keras 3 writes that too, and goes by the whole model."""
    if call.keras < 3 and call.given.get("training"):
        raise Impossible("what it does in training, which the model always asks of it, has no simple form")


# Recurrent layers -------------------------------------------------------------------------------------------------

_RECURRENT = {"sigmoid": ("Sigmoid", 0.0, 0.0), "tanh": ("Tanh", 0.0, 0.0), "relu": ("Relu", 0.0, 0.0),
              "hard_sigmoid": ("HardSigmoid", 0.2, 0.5), "linear": ("Affine", 1.0, 0.0)}  # fmt: skip


def _gates(call: Call, keys: Sequence[str]) -> dict[str, Any]:
    """Return ONNX's attributes for the activations of the gates."""
    names = [activation_name(call.config.get(key)) for key in keys]
    if any(name not in _RECURRENT for name in names):
        raise Impossible(f"its activations {', '.join(names)[:80]} are not known")
    found: dict[str, Any] = {"activations": tuple(_RECURRENT[name][0] for name in names)}
    if any(name in ("hard_sigmoid", "linear") for name in names):
        found["activation_alpha"] = tuple(_RECURRENT[name][1] for name in names)
        found["activation_beta"] = tuple(_RECURRENT[name][2] for name in names)
    return found


def reversed_(op: Builder, x: str) -> str:
    """Return a sequence from its end to its beginning."""
    first, last = op.constant([-1]), op.constant([-(1 << 62)])
    return op.Slice(x, first, last, op.constant([1]), op.constant([-1]))


def _recurrent(op: Builder, call: Call, kind: str, gates: int, blocks: Sequence[int], more: dict[str, Any]) -> Any:
    """Append a recurrent layer; `blocks` is the order that ONNX has Keras's gates in."""
    units, size = call.whole("units", least=1), call.size(-1)
    states = [op.Unsqueeze(state, op.constant([0])) for state in call.inputs[1:]]
    if call.get("stateful", False) or "mask" in call.given or len(states) not in (0, 2 if kind == "LSTM" else 1):
        raise Impossible("a mask, and states kept from run to run, have no simple form")
    backwards = bool(call.get("go_backwards", False))
    if backwards:
        more = {**more, "direction": "reverse"}

    def blocked(array: Any) -> Any:
        import numpy as np

        parts = np.split(array, gates, axis=-1)
        return np.concatenate([parts[k] for k in blocks], axis=-1)

    def turned(array: Any) -> Any:
        return blocked(array).T[None]

    wide = gates * units
    w = call.weight("kernel", (size, wide), turned, (1, wide, size))
    r = call.weight("recurrent_kernel", (units, wide), turned, (1, wide, units))
    two = bool(more.get("linear_before_reset"))
    b = ""
    if call.get("use_bias", True):
        b = call.weight("bias", (2, wide) if two else (wide,), blocked, (1, 2 * wide) if two else (1, wide))
        if not two:  # Keras has one bias, ONNX one for each product
            b = op.Concat(b, op.constant([0.0] * wide, "float32", (1, wide)), axis=1)
    x = op.Transpose(call.x, perm=(1, 0, 2))
    inputs = [x, w, r, b, "", *states] if states else [x, w, r, b] if b else [x, w, r]
    results = op.node(kind, inputs, 3 if kind == "LSTM" else 2, attributes={"hidden_size": units, **more})
    if call.get("return_sequences", False):
        y = op.Transpose(op.Squeeze(results[0], op.constant([1])), perm=(1, 0, 2))
        y = reversed_(op, y) if backwards else y  # in the order of its steps; ONNX gives that of the input
    else:
        y = op.Squeeze(results[1], op.constant([0]))
    if not call.get("return_state", False):
        return y
    return y, *(op.Squeeze(state, op.constant([0])) for state in results[1:])


@layer("LSTM", "CuDNNLSTM")
def lstm(op: Builder, call: Call) -> Any:
    """LSTM"""
    keys = ("recurrent_activation", "activation", "activation")
    more = _gates(call, keys) if "activation" in call.config else {}
    return _recurrent(op, call, "LSTM", 4, (0, 3, 1, 2), more)


@layer("GRU")
def gru(op: Builder, call: Call) -> Any:
    """GRU"""
    more = _gates(call, ("recurrent_activation", "activation"))
    more["linear_before_reset"] = int(bool(call.get("reset_after", False)))
    return _recurrent(op, call, "GRU", 3, (0, 1, 2), more)


@layer("SimpleRNN")
def simple_rnn(op: Builder, call: Call) -> Any:
    """RNN"""
    return _recurrent(op, call, "RNN", 1, (0,), _gates(call, ("activation",)))


@layer("Bidirectional")
def bidirectional(op: Builder, call: Call) -> Any:
    """its layer, once forwards and once backwards"""
    one = call.config["layer"]
    settings = one["config"]
    if settings.get("return_state", False) or len(call.inputs) != 1:
        raise Impossible("states that are given or returned have no simple form")
    other = call.get("backward_layer") or {**one, "config": {**settings, "go_backwards": not settings["go_backwards"]}}
    call.blobs = sorted(call.blobs, key=lambda blob: "backward" in blob.name)  # a .keras file goes by the alphabet
    (ahead,), (back,) = inner(call, one, call.x), inner(call, other, call.x)
    if settings.get("return_sequences", False):
        back = reversed_(op, back)
    mode = call.config.get("merge_mode", "concat")
    if mode is None:
        return ahead, back
    if mode == "concat":
        return op.Concat(ahead, back, axis=-1 % len(op.shape(ahead) or ()))
    found = {"sum": op.Add, "ave": op.Add, "mul": op.Mul}[mode](ahead, back)
    return op.Mul(found, op.scalar(0.5)) if mode == "ave" else found


@layer("TimeDistributed")
def time_distributed(op: Builder, call: Call) -> str:
    """its layer, with the steps beside each other in the batch"""
    steps, sizes = call.size(1), [call.size(k) for k in range(2, len(call.shape()))]
    (y,) = inner(call, call.config["layer"], op.Reshape(call.x, op.constant([-1, *sizes])))
    shape = op.shape(y) or ()
    made = [dim for dim in shape[1:] if isinstance(dim, int)]
    if len(made) + 1 != len(shape):
        raise Impossible("the size of what its layer makes is not known")
    known = [("float32", (call.shape()[0], steps, *made))]
    (found,) = op.node("Reshape", (y, op.constant([-1, steps, *made])), known=known)
    return found


# Attention --------------------------------------------------------------------------------------------------------

_ROLES = ("query", "key", "value", "output")


def _role(blob: Blob) -> int:
    """Return the place of a projection's weight: ``query/kernel`` in HDF5, ``query_dense/vars/0`` in a .keras file."""
    found = re.search(r"(?:^|[/_])(query|key|value|output)(?:_dense/vars)?/[^/]+$", blob.name)
    return _ROLES.index(found[1]) if found is not None else 0


@layer("MultiHeadAttention")
def multi_head_attention(op: Builder, call: Call) -> Any:
    """MatMul, Softmax and MatMul, between projections of each head"""
    heads, width = call.whole("num_heads", least=1), call.whole("key_dim", least=1)
    deep = call.whole("value_dim", width, least=1)
    named = [name for name in call.given if name in _ROLES]
    order = [*("query", "value", "key")[: len(call.inputs) - len(named)], *named]
    odd = [key for key in ("output_shape", "use_gate", "sliding_window") if call.get(key)]
    odd += [key for key in call.given if key.endswith("mask") and key != "use_causal_mask"]
    if odd or len(order) != len(call.inputs) or call.get("attention_axes", [1]) not in ([1], 1):
        raise Impossible(f"{', '.join(odd) or 'what it is given'} has no simple form")
    given = {"key": call.inputs[order.index("value")], **dict(zip(order, call.inputs, strict=True))}
    if any(len(op.shape(x) or ()) != 3 for x in given.values()):
        raise Impossible("other inputs than sequences of vectors have no simple form")
    call.blobs = sorted(call.blobs, key=_role)  # a .keras file goes by the alphabet

    def projected(role: str, size: int) -> str:
        x = given[role]
        inputs = (op.shape(x) or ())[2]
        if not isinstance(inputs, int):
            raise Impossible("the size of its vectors is not known")
        y = op.MatMul(x, call.weight(f"{role}/kernel", (inputs, heads, size), shown=(inputs, heads * size)))
        if call.get("use_bias", True):
            y = op.Add(y, call.weight(f"{role}/bias", (heads, size), shown=(heads * size,)))
        return op.Transpose(op.Reshape(y, op.constant([0, 0, heads, size])), perm=(0, 2, 1, 3))

    query, key, value = projected("query", width), projected("key", width), projected("value", deep)
    scores = op.MatMul(op.Mul(query, op.scalar(width**-0.5)), op.Transpose(key, perm=(0, 1, 3, 2)))
    if call.given.get("use_causal_mask"):
        steps, others = ((op.shape(x) or ())[1] for x in (given["query"], given["value"]))
        if not isinstance(steps, int) or not isinstance(others, int):
            raise Impossible("a causal mask of unknown size has no simple form")
        mask = [0.0 if k <= j else -1e9 for j in range(steps) for k in range(others)]
        scores = op.Add(scores, op.constant(mask, "float32", (steps, others)))
    weights = op.Softmax(scores, axis=3)
    y = op.Reshape(op.Transpose(op.MatMul(weights, value), perm=(0, 2, 1, 3)), op.constant([0, 0, heads * deep]))
    size = (op.shape(given["query"]) or ())[2]
    assert isinstance(size, int)
    y = op.MatMul(y, call.weight("output/kernel", (heads, deep, size), shown=(heads * deep, size)))
    y = op.Add(y, call.weight("output/bias", (size,))) if call.get("use_bias", True) else y
    return (y, weights) if call.given.get("return_attention_scores") else y
