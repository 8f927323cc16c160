"""Caffe's layers as ONNX nodes: one function a layer, the first line of its docstring says what it becomes.

A function takes the Builder and the call, appends nodes and returns one value a top. Weights are declared in Caffe's
blob order, as shapes without data; ``Scale`` and the like declare them in the shape that broadcasts.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import ceil, prod
from typing import Any

from graphviz_nets.graph.builder import Builder
from graphviz_nets.graph.ir import Shape, Tensor, count
from graphviz_nets.graph.shapes import Impossible

from . import caffe_detection, caffe_recurrent  # noqa: F401  they enter their layers in the table
from .caffe_call import BIGGEST, Call, foreign, images, layer
from .caffe_net import dims
from .caffe_rules import pooled
from .prototxt import Message

# Sources ----------------------------------------------------------------------------------------------------------


def source(call: Call, shapes: Sequence[Shape | None]) -> tuple[str, ...]:
    """Make graph inputs of the tops."""
    names = []
    for k, (blob, name) in enumerate(zip(call.layer.tops, call.tops, strict=True)):
        shape = shapes[k] if k < len(shapes) else None
        if not possible(shape):
            call.problems.append((call.layer.line, f"{call.layer.name}: no blob can have the shape {str(shape)[:80]}"))
            shape = None
        names.append(graph_input(call.op, blob, shape, call.shapes, name))
    return tuple(names)


def possible(shape: Shape | None) -> bool:
    """Say whether a blob can have a shape: every dimension at least 1, and not too large.

    Examples
    --------
    >>> possible((1, None)), possible((0, 3)), possible((1 << 30, 1 << 30))
    (True, False, False)
    """
    sizes = [dim for dim in shape or () if isinstance(dim, int)]
    return all(dim > 0 for dim in sizes) and prod(sizes) <= 1 << 40


def graph_input(
    op: Builder, blob: str, shape: Shape | None, given: Mapping[str, tuple[str | None, Shape]], name: str = ""
) -> str:
    """Add a graph input, called like its blob by default; a shape that the user gives wins."""
    dtype, wanted = given.get(blob) or given.get(str(len(op.inputs))) or (None, None)
    return op.input(name or blob, dtype or "float32", wanted if wanted is not None else shape)


@layer("Input")
def input_(op: Builder, call: Call) -> tuple[str, ...]:
    """graph input"""
    shapes: list[Shape | None] = [
        dims(item) for item in call.param("input_param").all("shape") if isinstance(item, Message)
    ]
    return source(call, shapes * len(call.layer.tops) if len(shapes) == 1 else shapes)


@layer("Data", "ImageData", "WindowData", "AnnotatedData", "VideoData")
def data(op: Builder, call: Call) -> tuple[str, ...]:
    """graph input, as far as batch_size and crop_size tell its shape"""
    batch, channels, height, width = None, None, None, None
    transform = call.param("transform_param")
    for name in ("data_param", "image_data_param", "window_data_param", "video_data_param"):
        message = call.param(name)
        batch = message.get("batch_size", batch)
        height, width = message.get("new_height", height) or height, message.get("new_width", width) or width
        if name == "image_data_param" and call.layer.type == "ImageData":
            channels = 3 if call.flag(message, "is_color", True) else 1
    crop = transform.get("crop_size")
    height, width = (crop, crop) if crop else (height, width)
    resize = transform.message("resize_param")
    height, width = resize.get("height", height), resize.get("width", width)
    if len(transform.all("mean_value")) > 1:
        channels = len(transform.all("mean_value"))
    elif call.flag(transform, "force_color", False) or call.layer.type == "WindowData":
        channels = 3
    elif call.flag(transform, "force_gray", False):
        channels = 1
    whole = tuple(dim if isinstance(dim, int) and dim > 0 else None for dim in (batch, channels, height, width))
    label: Shape = (1, 1, None, 8) if call.layer.type == "AnnotatedData" else whole[:1]
    return source(call, [whole, label])


@layer("MemoryData")
def memory_data(op: Builder, call: Call) -> tuple[str, ...]:
    """graph input"""
    message = call.param("memory_data_param")
    shape = tuple(call.whole(message, name, None, 1) for name in ("batch_size", "channels", "height", "width"))
    return source(call, [shape, shape[:1]])


@layer("HDF5Data")
def hdf5_data(op: Builder, call: Call) -> tuple[str, ...]:
    """graph input of unknown rank"""
    return source(call, [])


@layer("DummyData")
def dummy_data(op: Builder, call: Call) -> tuple[str, ...]:
    """graph input"""
    message = call.param("dummy_data_param")
    shapes: list[Shape | None] = [dims(item) for item in message.all("shape") if isinstance(item, Message)]
    if not shapes:
        lists = [message.all(name) for name in ("num", "channels", "height", "width")]
        shapes = [
            tuple(values[min(k, len(values) - 1)] for values in lists if values) for k in range(len(call.layer.tops))
        ]
    return source(call, shapes * len(call.layer.tops) if len(shapes) == 1 else shapes)


@layer("Parameter")
def parameter(op: Builder, call: Call) -> tuple[str, ...]:
    """initializer through Identity"""
    shape = dims(call.param("parameter_param").message("shape"))
    return (op.Identity(call.weight("value", shape)),)


# Convolutions and products ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Window:
    """A window's settings, one number a spatial axis."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    dilation: tuple[int, ...]

    def attributes(self) -> dict[str, Any]:
        """Return ONNX's attributes; those at their default are left out."""
        plain = {"strides": self.stride, "dilations": self.dilation, "pads": self.pad * 2}
        ones = {"strides": 1, "dilations": 1, "pads": 0}
        return {"kernel_shape": self.kernel} | {k: v for k, v in plain.items() if any(part != ones[k] for part in v)}


def window(call: Call, message: Message, rank: int) -> Window:
    """Read kernel, stride, pad and dilation; ``kernel_h`` and ``kernel_w`` beat ``kernel_size``."""

    def sides(name: str, short: str, default: int | None, least: int) -> tuple[int, ...]:
        pair = f"{short}_h", f"{short}_w"
        if any(key in message for key in pair):
            return tuple(call.whole(message, key, default if default is not None else None, least) for key in pair)
        values = [call.checked(message, name, value, least) for value in message.all(name)]
        if not values:
            if default is None:
                raise call.fail(message, name, f"{name} is missing")
            values = [default]
        if len(values) == 1:
            values *= rank
        if len(values) != rank:
            raise call.fail(message, name, f"{name} is given {len(values)} times for {rank} spatial axes")
        return tuple(values)

    return Window(
        sides("kernel_size", "kernel", None, 1),
        sides("stride", "stride", 1, 1),
        sides("pad", "pad", 0, 0),
        sides("dilation", "dilation", 1, 1),
    )


def _spatial(call: Call) -> int:
    shape = call.shape()
    return max(len(shape) - 2, 0) if shape is not None else 2


def _convolved(call: Call, message: Message) -> int:
    """Return the number of spatial axes of a convolution."""
    rank = _spatial(call)
    if not rank:
        raise Impossible("a convolution needs axes behind the channels")
    axis = call.whole(message, "axis", 1, -BIGGEST)
    if axis not in (1, -rank - 1):
        raise Impossible(f"a convolution along axis {axis} has no ONNX form")
    return rank


@layer("Convolution", "ConvolutionDepthwise", "DepthwiseConvolution")
def convolution(op: Builder, call: Call) -> tuple[str, ...]:
    """Conv

    Along the channel axis (`axis: 1`) only.
    """
    call.need(1)
    message = call.param("convolution_param")
    side = window(call, message, _convolved(call, message))
    outputs = call.whole(message, "num_output", call.dim(1) if "Depthwise" in call.layer.type else None, 1)
    channels = call.dim(1)
    depthwise = channels if "Depthwise" in call.layer.type else None
    group = call.whole(message, "group", 1 if depthwise is None else depthwise, 1)
    if depthwise is not None and "group" not in message:
        group = depthwise
    if channels is not None and (channels % group or outputs % group):
        raise Impossible(f"{channels} inputs and {outputs} outputs do not divide into {group} groups")
    w = call.weight("weight", (outputs, None if channels is None else channels // group, *side.kernel))
    if channels is None:
        call.settle(1, op.initializers[w].shape[1], group)
    bias = (call.weight("bias", (outputs,)),) if call.flag(message, "bias_term", True) else ()
    extra = {"group": group} if group > 1 else {}
    return tuple(op.Conv(name, w, *bias, **side.attributes(), **extra) for name in call.inputs)[: len(call.layer.tops)]


@layer("Deconvolution")
def deconvolution(op: Builder, call: Call) -> tuple[str, ...]:
    """ConvTranspose

    Along the channel axis (`axis: 1`) only.
    """
    call.need(1)
    message = call.param("convolution_param")
    side = window(call, message, _convolved(call, message))
    outputs = call.whole(message, "num_output", None, 1)
    group = call.whole(message, "group", 1, 1)
    if outputs % group or (call.dim(1) or 0) % group:
        raise Impossible(f"{call.dim(1)} inputs and {outputs} outputs do not divide into {group} groups")
    w = call.weight("weight", (call.dim(1), outputs // group, *side.kernel))
    bias = (call.weight("bias", (outputs,)),) if call.flag(message, "bias_term", True) else ()
    extra = {"group": group} if group > 1 else {}
    return tuple(op.ConvTranspose(name, w, *bias, **side.attributes(), **extra) for name in call.inputs)


@layer("InnerProduct")
def inner_product(op: Builder, call: Call) -> tuple[str, ...]:
    """Flatten, Gemm; Reshape where axis > 1

    With axis > 1 the shape must be known but for one axis.
    """
    call.need(1)
    message = call.param("inner_product_param")
    outputs = call.whole(message, "num_output", None, 1)
    axis = call.axis(call.whole(message, "axis", 1, -BIGGEST))
    shape = call.shape()
    inner = None if shape is None else count(shape[axis:])
    transpose = call.flag(message, "transpose", False)
    w = call.weight("weight", (inner, outputs) if transpose else (outputs, inner))
    bias = (call.weight("bias", (outputs,)),) if call.flag(message, "bias_term", True) else ()
    x = call.inputs[0]
    if shape is None or len(shape) != 2 or axis != 1:
        x = op.Flatten(x, axis=axis)
    y = op.Gemm(x, w, *bias, **({} if transpose else {"transB": 1}))
    if axis != 1:
        outer = [dim if isinstance(dim, int) else -1 for dim in (shape or (None,))[:axis]]
        if outer.count(-1) > 1 or shape is None:
            raise Impossible("the shape of its input must be known; give it with --input-shape")
        y = op.Reshape(y, op.constant([*outer, outputs]))
    return (y,)


@layer("Embed")
def embed(op: Builder, call: Call) -> tuple[str, ...]:
    """Cast, Gather; Add"""
    call.need(1)
    message = call.param("embed_param")
    size, outputs = call.whole(message, "input_dim", None, 1), call.whole(message, "num_output", None, 1)
    y = op.Gather(call.weight("weight", (size, outputs)), op.Cast(call.inputs[0], to=7))
    return (op.Add(y, call.weight("bias", (outputs,))) if call.flag(message, "bias_term", True) else y,)


@layer("Im2col")
def im2col(op: Builder, call: Call) -> tuple[str, ...]:
    """Conv with a one-hot kernel

    The shape must be known.
    """
    message = call.param("convolution_param")
    side = window(call, message, _convolved(call, message))
    channels = call.known()[1]
    cells = count(side.kernel) or 1
    if channels * cells * cells > 1 << 24:
        raise Impossible("the one-hot kernel would be too large")

    def kernel() -> bytes:
        rows = (struct.pack(f"<{cells}f", *(float(k == j) for j in range(cells))) for k in range(cells))
        return b"".join(rows) * channels

    w = op.weight(f"{call.layer.name}.one_hot", (channels * cells, 1, *side.kernel), kernel, role="constant")
    return (op.Conv(call.inputs[0], w, group=channels, **side.attributes()),)


# Pooling ----------------------------------------------------------------------------------------------------------


@layer("Pooling")
def pooling(op: Builder, call: Call) -> tuple[str, ...]:
    """MaxPool or AveragePool with explicit pads, GlobalMaxPool, GlobalAveragePool; stochastic: Mul, AveragePool, Div

    4-D blobs; a stride over the kernel skips inputs, which is said.
    """
    call.need(1)
    message = call.param("pooling_param")
    method = call.choice(message, "pool", ("MAX", "AVE", "STOCHASTIC"))
    whole = call.flag(message, "global_pooling", False)
    if whole and len(call.layer.tops) < 2 and method != "STOCHASTIC":
        return (op.GlobalMaxPool(call.inputs[0]) if method == "MAX" else op.GlobalAveragePool(call.inputs[0]),)
    shape = call.shape()
    if shape is not None and len(shape) != 4:
        raise Impossible(f"pooling needs a blob of 4 dimensions, not {len(shape)}")
    sizes = shape[2:] if shape is not None else (None, None)
    side = Window(call.known()[2:], (1, 1), (0, 0), (1, 1)) if whole else window(call, message, 2)
    floor = call.choice(message, "round_mode", ("CEIL", "FLOOR")) == "FLOOR" or not call.flag(
        message, "ceil_mode", True
    )
    if any(pad >= kernel for pad, kernel in zip(side.pad, side.kernel, strict=True)):
        raise Impossible(f"pad {side.pad} is not smaller than the kernel {side.kernel}")
    if method == "STOCHASTIC" and call.phase == "TEST":
        squares, sums = (
            pool(op, call, x, "AVE", side, sizes, floor)[0] for x in (op.Mul(*call.inputs[:1] * 2), *call.inputs[:1])
        )
        return (op.Div(squares, op.Add(sums, op.scalar(SMALLEST))),)
    if method == "STOCHASTIC":
        given = {"kernel_shape": side.kernel, "strides": side.stride, "pads": side.pad, "ceil_mode": int(not floor)}
        return op.node("StochasticPool", call.inputs[:1], len(call.layer.tops), domain="caffe", attributes=given)
    return pool(op, call, call.inputs[0], method, side, sizes, floor)


def pool(op: Builder, call: Call, x: str, method: str, side: Window, sizes: Shape, floor: bool) -> tuple[str, ...]:
    """Append a pooling whose output has Caffe's size, by pads at the end where rounding up asks for them."""
    if not all(isinstance(size, int) for size in sizes):
        attributes = side.attributes() | ({} if floor else {"ceil_mode": 1})
        if method == "AVE":
            return (op.AveragePool(x, count_include_pad=1, **attributes),)
        return op.node("MaxPool", [x], max(1, len(call.layer.tops)), attributes=attributes)
    ins = [size for size in sizes if isinstance(size, int)]
    outs = [
        pooled(size, side.kernel[k], side.stride[k], side.pad[k], not floor, any(side.pad))
        for k, size in enumerate(ins)
    ]
    for k, size in enumerate(ins):
        if outs[k] < 1:
            raise Impossible(f"kernel {side.kernel[k]} is larger than the padded input {size + 2 * side.pad[k]}")
    if max(outs) > 1 << 24:
        raise Impossible("the pooled blob would be too large")
    ends = [max(0, (outs[k] - 1) * side.stride[k] + side.kernel[k] - ins[k] - side.pad[k]) for k in range(len(ins))]
    attributes = {"kernel_shape": side.kernel, "pads": (*side.pad, *ends)}
    if any(step != 1 for step in side.stride):
        attributes["strides"] = side.stride
    if not any(attributes["pads"]):
        del attributes["pads"]
    if any(step > kernel for step, kernel in zip(side.stride, side.kernel, strict=True)):
        call.problems.append((call.layer.line, f"{call.layer.name}: a stride larger than the kernel skips inputs"))
    if method == "MAX":
        tops = max(1, len(call.layer.tops))
        names = op.node("MaxPool", [x], tops, attributes=attributes)
        if tops == 1:
            return names
        # Caffe's mask holds the index in its own plane, as float; ONNX's counts through the whole tensor.
        plane = op.constant([ins[0] * ins[1]])
        return names[0], op.Cast(op.Mod(names[1], plane), to=1)
    if all(end <= side.pad[k] for k, end in enumerate(ends)):
        return (op.AveragePool(x, **({"count_include_pad": 1} if "pads" in attributes else {}), **attributes),)
    # A window that passes the padded border is divided by the part inside it.
    before = (0, 0, *side.pad, 0, 0, *ends)
    attributes.pop("pads", None)
    y = op.AveragePool(op.Pad(x, op.constant(before)), **attributes)

    def factors() -> bytes:
        shares = [
            [
                side.kernel[k]
                / (
                    min(i * side.stride[k] - side.pad[k] + side.kernel[k], ins[k] + side.pad[k])
                    - i * side.stride[k]
                    + side.pad[k]
                )
                for i in range(outs[k])
            ]
            for k in range(2)
        ]
        return b"".join(struct.pack(f"<{outs[1]}f", *(high * wide for wide in shares[1])) for high in shares[0])

    scale = op.weight(f"{call.layer.name}.divisor", (1, 1, outs[0], outs[1]), factors, role="constant")
    return (op.Mul(y, scale),)


SMALLEST = 1.1754943508222875e-38
"""The smallest normal float32, which Caffe adds lest it divides by zero."""


@layer("SPP")
def spp(op: Builder, call: Call) -> tuple[str, ...]:
    """a pyramid of poolings, Flatten, Concat

    The shape must be known; not stochastic.
    """
    message = call.param("spp_param")
    _, _, height, width = images(call)
    method = call.choice(message, "pool", ("MAX", "AVE", "STOCHASTIC"))
    if method == "STOCHASTIC":
        raise Impossible("a pyramid of stochastic poolings has no ONNX form")
    levels = []
    for level in range(min(call.whole(message, "pyramid_height", None, 1), 32)):
        bins = 2**level
        kernel = (ceil(height / bins), ceil(width / bins))
        rest = (kernel[0] * bins - height, kernel[1] * bins - width)
        pad = ((rest[0] + 1) // 2, (rest[1] + 1) // 2)
        if any(pad[k] >= kernel[k] for k in range(2)):
            raise Impossible(f"the padding of pyramid level {level} is not smaller than its kernel")
        side = Window(kernel, kernel, pad, (1, 1))
        (y,) = pool(op, call, call.inputs[0], method, side, (height, width), False)[:1]
        levels.append(op.Flatten(y, axis=1))
    return (op.Concat(*levels, axis=1) if len(levels) > 1 else levels[0],)


@layer("ROIPooling")
def roi_pooling(op: Builder, call: Call) -> tuple[str, ...]:
    """MaxRoiPool"""
    call.need(2)
    message = call.param("roi_pooling_param")
    size = tuple(call.whole(message, name, None, 1) for name in ("pooled_h", "pooled_w"))
    scale = call.number(message, "spatial_scale", 1.0)
    return (op.MaxRoiPool(*call.inputs[:2], pooled_shape=size, spatial_scale=scale),)


@layer("Upsample")
def upsample(op: Builder, call: Call) -> tuple[str, ...]:
    """Resize (nearest), or MaxUnpool where a mask comes as second bottom

    With a mask the shape must be known.
    """
    call.need(1)
    message = call.param("upsample_param")
    if len(call.inputs) < 2:
        images(call)
        both = call.whole(message, "scale", 2, 1)
        factors = [float(call.whole(message, name, both, 1)) for name in ("scale_h", "scale_w")]
        scales = op.constant([1.0, 1.0, *factors], "float32")
        return (op.Resize(call.inputs[0], "", scales, mode="nearest", coordinate_transformation_mode="asymmetric",
                          nearest_mode="floor"),)  # fmt: skip
    n, c, h, w = images(call)
    scale = call.whole(message, "scale", 2, 1)
    high, wide = call.whole(message, "upsample_h", h * scale, 1), call.whole(message, "upsample_w", w * scale, 1)

    def planes() -> bytes:
        return struct.pack(f"<{n * c}q", *(k * high * wide for k in range(n * c)))

    base = op.weight(f"{call.layer.name}.planes", (n, c, 1, 1), planes, "int64", role="constant")
    index = op.Add(op.Cast(call.inputs[1], to=7), base)
    return (op.MaxUnpool(call.inputs[0], index, op.constant([n, c, high, wide]), kernel_shape=(scale, scale),
                         strides=(scale, scale)),)  # fmt: skip


@layer("Interp")
def interp(op: Builder, call: Call) -> tuple[str, ...]:
    """Resize (linear, align_corners)

    The shape must be known; `pad_beg` and `pad_end` only cut.
    """
    message = call.param("interp_param")
    n, c, *sizes = images(call)
    begin, end = call.whole(message, "pad_beg", 0, -BIGGEST), call.whole(message, "pad_end", 0, -BIGGEST)
    if begin > 0 or end > 0:
        raise Impossible("pad_beg and pad_end can only cut")
    x = call.inputs[0]
    if begin or end:
        x = op.Slice(x, op.constant([-begin, -begin]), op.constant([s + end for s in sizes]), op.constant([2, 3]))
    sizes = [size + begin + end for size in sizes]
    if "shrink_factor" in message:
        factor = call.whole(message, "shrink_factor", None, 1)
        sizes = [(size - 1) // factor + 1 for size in sizes]
    if "zoom_factor" in message:
        factor = call.whole(message, "zoom_factor", None, 1)
        sizes = [size + (size - 1) * (factor - 1) for size in sizes]
    if len(call.inputs) > 1:
        sizes = list(images(call, 1)[2:])
    sizes = [call.whole(message, name, size, 1) for name, size in zip(("height", "width"), sizes, strict=True)]
    if min(sizes) < 1:
        raise Impossible("nothing is left of the input")
    target = op.constant([n, c, *sizes])
    return (op.Resize(x, "", "", target, mode="linear", coordinate_transformation_mode="align_corners"),)


# Normalization ----------------------------------------------------------------------------------------------------


@layer("LRN")
def lrn(op: Builder, call: Call) -> tuple[str, ...]:
    """LRN; within a channel Mul, AveragePool, Mul, Add, Pow, Mul

    `local_size` must be odd.
    """
    call.need(1)
    message = call.param("lrn_param")
    size = call.whole(message, "local_size", 5, 1)
    alpha, beta = call.number(message, "alpha", 1.0), call.number(message, "beta", 0.75)
    if size % 2 == 0:
        raise Impossible(f"local_size {size} is even")
    region = call.choice(message, "norm_region", ("ACROSS_CHANNELS", "WITHIN_CHANNEL"))
    x = call.inputs[0]
    if region == "ACROSS_CHANNELS":
        return (op.LRN(x, size=size, alpha=alpha, beta=beta, bias=call.number(message, "k", 1.0)),)
    pad = (size - 1) // 2
    mean = op.AveragePool(op.Mul(x, x), kernel_shape=(size, size), pads=(pad,) * 4, count_include_pad=1)
    scaled = op.Add(op.Mul(mean, op.scalar(alpha)), op.scalar(1.0))
    return (op.Mul(x, op.Pow(scaled, op.scalar(-beta))),)


@layer("BatchNorm")
def batch_norm(op: Builder, call: Call) -> tuple[str, ...]:
    """BatchNormalization with unit scale; ReduceMean, Sub, Mul, Sqrt, Div where batch statistics are asked for"""
    call.need(1)
    message = call.param("batch_norm_param")
    shape = call.shape()
    channels: int | str | None = 1 if shape is not None and len(shape) == 1 else call.dim(1)
    eps = call.number(message, "eps", 1e-5)
    mean, variance = (call.weight(role, (channels,), "buffer") for role in ("mean", "variance"))
    factor = call.weight("factor", (1,), "buffer")
    channels = op.initializers[mean].shape[0]
    x = call.inputs[0]
    if not call.flag(message, "use_global_stats", call.phase == "TEST"):
        call.spent.update(name for name in call.weights if op.initializers[name].data is not None)
        return (_batch_statistics(op, call, eps),)
    channels = op.initializers[mean].shape[0]
    _divide(op, call, (mean, variance), factor)
    one = _filled(op, call, "one", channels, 1.0)
    zero = _filled(op, call, "zero", channels, 0.0)
    return (op.BatchNormalization(x, one, zero, mean, variance, epsilon=eps),)


def _divide(op: Builder, call: Call, sums: Sequence[str], factor: str) -> None:
    """Divide the sums that Caffe stores by their weight, the third blob, once there are numbers; it is not kept."""
    weight = op.initializers[factor]
    if weight.data is None:
        return

    def divided(tensor: Tensor) -> Tensor:
        def read() -> bytes:
            import numpy as np

            (total,) = np.frombuffer(weight.bytes(), "<f4")
            values = np.frombuffer(tensor.bytes(), "<f4") * np.float32(0 if total == 0 else 1 / total)
            return bytes(values.astype("<f4").tobytes())

        return replace(tensor, data=read)

    for name in sums:
        if name not in call.divided:
            op.initializers[name] = divided(op.initializers[name])
            call.divided.add(name)
    call.spent.add(factor)


def _batch_statistics(op: Builder, call: Call, eps: float) -> str:
    x, shape = call.inputs[0], call.shape()
    if shape is None:
        raise Impossible("the number of its input's axes must be known; give the shape with --input-shape")
    axes = op.constant([k for k in range(len(shape)) if k != 1])
    centred = op.Sub(x, op.ReduceMean(x, axes))
    return op.Div(centred, op.Sqrt(op.Add(op.ReduceMean(op.Mul(centred, centred), axes), op.scalar(eps))))


def _filled(op: Builder, call: Call, role: str, size: int | str | None, value: float) -> str:
    """Add a constant vector, made when it is asked for."""
    fill = None if not isinstance(size, int) else lambda: struct.pack("<f", value) * size
    return op.weight(f"{call.layer.name}.{role}", (size,), fill, role="constant")


@layer("BN")
def bn(op: Builder, call: Call) -> tuple[str, ...]:
    """BatchNormalization (PSPNet's, 4 blobs), or Mul, Add (SegNet's, 2 blobs), in LEARN mode after batch statistics"""
    call.need(1)
    message = call.param("bn_param")
    channels = call.dim(1)
    few = any(name in message for name in ("bn_mode", "scale_filler", "shift_filler"))
    if len(call.blobs) == 2 or (few and not call.blobs):
        x, shape = call.inputs[0], (channels, *(1,) * _spatial(call))
        if call.choice(message, "bn_mode", ("LEARN", "INFERENCE")) == "LEARN":
            x = _batch_statistics(op, call, call.number(message, "var_eps", 1e-9))
        return (op.Add(op.Mul(x, call.weight("scale", shape)), call.weight("shift", shape)),)
    scale = call.weight("scale", (channels,), filler="slope_filler")
    shift = call.weight("shift", (channels,), filler="bias_filler")
    mean, variance = (call.weight(role, (channels,), "buffer") for role in ("mean", "variance"))
    eps = call.number(message, "eps", call.number(message, "epsilon", 1e-5))
    return (op.BatchNormalization(call.inputs[0], scale, shift, mean, variance, epsilon=eps),)


def _aligned(op: Builder, call: Call, message: Message) -> tuple[int, Shape, str]:
    """Return the axis and shape of the second operand of Scale or Bias, and the second bottom ready to broadcast."""
    shape = call.shape()
    axis = 0 if shape is not None and len(shape) == 1 else call.axis(call.whole(message, "axis", 1, -BIGGEST))
    if len(call.inputs) > 1:
        second = call.shape(1)
        if shape is None or second is None:
            raise Impossible("both shapes must be known")
        trailing = len(shape) - axis - len(second)
        if trailing < 0:
            raise Impossible("the second bottom has too many dimensions")
        wide = call.inputs[1]
        if trailing:
            wide = op.Unsqueeze(wide, op.constant(list(range(len(second), len(second) + trailing))))
        return axis, (*second, *(1,) * trailing), wide
    axes = call.whole(message, "num_axes", 1, -BIGGEST)
    if shape is None:
        return axis, (None, 1, 1) if axes == 1 and axis == 1 else (None,), ""
    axes = len(shape) - axis if axes < 0 else axes
    if axis + axes > len(shape):
        raise Impossible(f"{axes} axes from axis {axis} are outside a blob of {len(shape)} dimensions")
    return axis, (*shape[axis : axis + axes], *(1,) * (len(shape) - axis - axes)), ""


@layer("Scale")
def scale(op: Builder, call: Call) -> tuple[str, ...]:
    """Mul; Add with bias_term"""
    call.need(1)
    message = call.param("scale_param")
    _, shape, second = _aligned(op, call, message)
    y = op.Mul(call.inputs[0], second or call.weight("weight", shape, filler="filler", start=1.0))
    return (op.Add(y, call.weight("bias", shape)) if call.flag(message, "bias_term", False) else y,)


@layer("Bias")
def bias(op: Builder, call: Call) -> tuple[str, ...]:
    """Add"""
    call.need(1)
    _, shape, second = _aligned(op, call, call.param("bias_param"))
    return (op.Add(call.inputs[0], second or call.weight("bias", shape, filler="filler")),)


@layer("MVN")
def mvn(op: Builder, call: Call) -> tuple[str, ...]:
    """ReduceMean, Sub; Mul, ReduceMean, Sqrt, Add, Div"""
    call.need(1)
    message = call.param("mvn_param")
    rank = len(call.shape() or (0,) * 4)
    over = list(range(1 if call.flag(message, "across_channels", False) else 2, rank))
    if not over:
        raise Impossible("there are no axes to normalise over")
    axes = op.constant(over)
    x = call.inputs[0]
    centred = op.Sub(x, op.ReduceMean(x, axes))
    if not call.flag(message, "normalize_variance", True):
        return (centred,)
    # The epsilon is added after the root.
    deviation = op.Sqrt(op.ReduceMean(op.Mul(centred, centred), axes))
    return (op.Div(centred, op.Add(deviation, op.scalar(call.number(message, "eps", 1e-9)))),)


@layer("Normalize")
def normalize(op: Builder, call: Call) -> tuple[str, ...]:
    """Mul, ReduceSum, Add, Sqrt, Div, Mul"""
    call.need(1)
    message = call.param("norm_param")
    rank = len(call.shape() or (0,) * 4)
    axes = op.constant(list(range(1, rank)) if call.flag(message, "across_spatial", True) else [1])
    x = call.inputs[0]
    length = op.Sqrt(op.Add(op.ReduceSum(op.Mul(x, x), axes), op.scalar(call.number(message, "eps", 1e-10))))
    shared = call.flag(message, "channel_shared", True)
    w = call.weight("scale", (1,) if shared else (call.dim(1), *(1,) * (rank - 2)))
    return (op.Mul(op.Div(x, length), w),)


@layer("Dropout")
def dropout(op: Builder, call: Call) -> tuple[str, ...]:
    """Identity"""
    call.need(1)
    return (op.Identity(call.inputs[0]),)


# Element-wise layers ----------------------------------------------------------------------------------------------


@layer("ReLU")
def relu(op: Builder, call: Call) -> tuple[str, ...]:
    """Relu, or LeakyRelu with negative_slope"""
    call.need(1)
    slope = call.number(call.param("relu_param"), "negative_slope", 0.0)
    return (op.LeakyRelu(call.inputs[0], alpha=slope) if slope else op.Relu(call.inputs[0]),)


@layer("ReLU6")
def relu6(op: Builder, call: Call) -> tuple[str, ...]:
    """Clip"""
    call.need(1)
    return (op.Clip(call.inputs[0], op.scalar(0.0), op.scalar(6.0)),)


@layer("PReLU")
def prelu(op: Builder, call: Call) -> tuple[str, ...]:
    """PRelu"""
    call.need(1)
    shared = call.flag(call.param("prelu_param"), "channel_shared", False)
    shape: Shape = (1,) if shared else (call.dim(1), *(1,) * _spatial(call))
    return (op.PRelu(call.inputs[0], call.weight("slope", shape)),)


@layer("CReLU")
def crelu(op: Builder, call: Call) -> tuple[str, ...]:
    """Neg, Concat, Relu"""
    call.need(1)
    axis = call.whole(call.param("crelu_param"), "concat_axis", 1, -BIGGEST)
    return (op.Relu(op.Concat(call.inputs[0], op.Neg(call.inputs[0]), axis=axis)),)


@layer("ELU")
def elu(op: Builder, call: Call) -> tuple[str, ...]:
    """Elu"""
    call.need(1)
    return (op.Elu(call.inputs[0], alpha=call.number(call.param("elu_param"), "alpha", 1.0)),)


def _unary(type_: str, op_type: str) -> None:
    def rule(op: Builder, call: Call) -> tuple[str, ...]:
        call.need(1)
        return op.node(op_type, call.inputs[:1])

    rule.__doc__ = op_type
    layer(type_)(rule)


for _type, _op_type in (("Sigmoid", "Sigmoid"), ("TanH", "Tanh"), ("AbsVal", "Abs"), ("BNLL", "Softplus")):
    _unary(_type, _op_type)


@layer("Swish")
def swish(op: Builder, call: Call) -> tuple[str, ...]:
    """Sigmoid, Mul"""
    call.need(1)
    beta = call.number(call.param("swish_param"), "beta", 1.0)
    x = call.inputs[0]
    return (op.Mul(x, op.Sigmoid(x if beta == 1 else op.Mul(x, op.scalar(beta)))),)


@layer("Clip")
def clip(op: Builder, call: Call) -> tuple[str, ...]:
    """Clip"""
    call.need(1)
    message = call.param("clip_param")
    low, high = call.number(message, "min", -3.4e38), call.number(message, "max", 3.4e38)
    return (op.Clip(call.inputs[0], op.scalar(low), op.scalar(high)),)


@layer("Threshold")
def threshold(op: Builder, call: Call) -> tuple[str, ...]:
    """Greater, Cast"""
    call.need(1)
    limit = call.number(call.param("threshold_param"), "threshold", 0.0)
    return (op.Cast(op.Greater(call.inputs[0], op.scalar(limit)), to=1),)


def _affine(op: Builder, call: Call, message: Message) -> str:
    """Return shift + scale x."""
    call.need(1)
    y = call.inputs[0]
    factor, shift = call.number(message, "scale", 1.0), call.number(message, "shift", 0.0)
    y = y if factor == 1 else op.Mul(y, op.scalar(factor))
    return y if shift == 0 else op.Add(y, op.scalar(shift))


@layer("Power")
def power(op: Builder, call: Call) -> tuple[str, ...]:
    """Mul, Add, Pow"""
    message = call.param("power_param")
    y = _affine(op, call, message)
    exponent = call.number(message, "power", 1.0)
    return (y if exponent == 1 else op.Pow(y, op.scalar(exponent)),)


@layer("Exp")
def exp(op: Builder, call: Call) -> tuple[str, ...]:
    """Mul, Add, Exp or Pow"""
    message = call.param("exp_param")
    base = call.number(message, "base", -1.0)
    y = _affine(op, call, message)
    return (op.Exp(y) if base == -1 else op.Pow(op.scalar(base), y),)


@layer("Log")
def log(op: Builder, call: Call) -> tuple[str, ...]:
    """Mul, Add, Log; Mul with a base"""
    from math import log as ln

    message = call.param("log_param")
    base = call.number(message, "base", -1.0)
    y = op.Log(_affine(op, call, message))
    if base == -1:
        return (y,)
    if base <= 0 or base == 1:
        raise call.fail(message, "base", "the base of a logarithm is positive and not 1")
    return (op.Mul(y, op.scalar(1 / ln(base))),)


@layer("Eltwise")
def eltwise(op: Builder, call: Call) -> tuple[str, ...]:
    """Add (Mul by coeff), Mul or Max"""
    call.need(1)
    message = call.param("eltwise_param")
    # The enum counts PROD, SUM, MAX; the default is SUM.
    operation = call.choice(message, "operation", ("PROD", "SUM", "MAX")) if "operation" in message else "SUM"
    values = list(call.inputs)
    shapes = [shape for shape in map(op.shape, values) if shape is not None]
    for shape in shapes[1:]:
        if len(shape) != len(shapes[0]) or any(
            isinstance(a, int) and isinstance(b, int) and a != b for a, b in zip(shape, shapes[0], strict=True)
        ):
            raise Impossible(f"its bottoms have different shapes, {shapes[0]} and {shape}")
    if operation == "MAX":
        return (op.Max(*values),)
    if operation == "SUM":
        factors = [call.checked_float(message, value) for value in message.all("coeff")]
        if factors and len(factors) != len(values):
            raise call.fail(message, "coeff", f"{len(factors)} coefficients for {len(values)} bottoms")
        values = [
            name if not factors or factors[k] == 1 else op.Mul(name, op.scalar(factors[k]))
            for k, name in enumerate(values)
        ]
    y = values[0]
    for other in values[1:]:
        y = op.Add(y, other) if operation == "SUM" else op.Mul(y, other)
    return (y,)


@layer("Axpy")
def axpy(op: Builder, call: Call) -> tuple[str, ...]:
    """Mul, Add"""
    call.need(3)
    a, x, y = call.inputs[:3]
    narrow, wide = call.shape(0), call.shape(1)
    if narrow is not None and wide is not None and len(narrow) < len(wide):
        a = op.Unsqueeze(a, op.constant(list(range(len(narrow), len(wide)))))
    return (op.Add(op.Mul(x, a), y),)


@layer("Softmax")
def softmax(op: Builder, call: Call) -> tuple[str, ...]:
    """Softmax"""
    call.need(1)
    return (op.Softmax(call.inputs[0], axis=call.axis(call.whole(call.param("softmax_param"), "axis", 1, -BIGGEST))),)


# Shape and indexing -----------------------------------------------------------------------------------------------


@layer("Concat")
def concat(op: Builder, call: Call) -> tuple[str, ...]:
    """Concat"""
    call.need(1)
    message = call.param("concat_param")
    name = "concat_dim" if "concat_dim" in message else "axis"
    return (op.Concat(*call.inputs, axis=call.axis(call.whole(message, name, 1, -BIGGEST))),)


@layer("Slice")
def slice_(op: Builder, call: Call) -> tuple[str, ...]:
    """Split"""
    call.need(1)
    message = call.param("slice_param")
    name = "slice_dim" if "slice_dim" in message else "axis"
    axis = call.axis(call.whole(message, name, 1, -BIGGEST))
    cuts = [call.checked(message, "slice_point", value) for value in message.all("slice_point")]
    tops = len(call.layer.tops)
    size = call.dim(axis)
    if tops < 2:
        return (op.Identity(call.inputs[0]),)
    if cuts:
        if len(cuts) != tops - 1:
            raise call.fail(message, "slice_point", f"{len(cuts)} cuts make {len(cuts) + 1} parts, not {tops}")
        if size is None:
            raise Impossible("the size of the sliced axis must be known")
        ends = [0, *cuts, size]
        parts = [end - start for start, end in pairwise(ends)]
        if min(parts) < 1:
            raise call.fail(message, "slice_point", f"cuts {cuts} are outside a size of {size}")
        return op.node("Split", [call.inputs[0], op.constant(parts)], tops, attributes={"axis": axis})
    if size is not None and size % tops:
        raise Impossible(f"a size of {size} does not divide into {tops} equal parts")
    return op.node("Split", call.inputs[:1], tops, attributes={"axis": axis, "num_outputs": tops})


@layer("Split")
def split(op: Builder, call: Call) -> tuple[str, ...]:
    """Identity for each top"""
    call.need(1)
    return tuple(op.Identity(call.inputs[0]) for _ in call.layer.tops)


@layer("Silence")
def silence(op: Builder, call: Call) -> tuple[str, ...]:
    """caffe::Silence, which makes nothing"""
    return op.node("Silence", call.inputs, 0, domain="caffe")


@layer("Crop")
def crop(op: Builder, call: Call) -> tuple[str, ...]:
    """Slice to the size of the second bottom

    The second bottom's shape must be known.
    """
    call.need(2)
    message = call.param("crop_param")
    axis = call.axis(call.whole(message, "axis", 2, -BIGGEST))
    offsets = [call.checked(message, "offset", value) for value in message.all("offset")] or [0]
    target = call.shape(1)
    rank = len(call.shape() or ()) or 4
    if target is None or len(target) != rank or not all(isinstance(dim, int) for dim in target[axis:]):
        raise Impossible("the size of the second bottom must be known; give the input's with --input-shape")
    starts = offsets * (rank - axis) if len(offsets) == 1 else offsets
    if len(starts) != rank - axis:
        raise call.fail(message, "offset", f"{len(starts)} offsets for {rank - axis} axes")
    ends = [start + size for start, size in zip(starts, target[axis:], strict=True) if isinstance(size, int)]
    for k, end in enumerate(ends):
        size = call.dim(axis + k)
        if size is not None and end > size:
            raise Impossible(f"a crop to {end} is outside a size of {size}")
    return (op.Slice(call.inputs[0], op.constant(starts), op.constant(ends), op.constant(list(range(axis, rank)))),)


@layer("Flatten")
def flatten(op: Builder, call: Call) -> tuple[str, ...]:
    """Flatten, or Reshape where only some axes are joined

    With `end_axis` the shape must be known.
    """
    call.need(1)
    message = call.param("flatten_param")
    first, last = call.whole(message, "axis", 1, -BIGGEST), call.whole(message, "end_axis", -1, -BIGGEST)
    if first == 1 and last == -1:
        return (op.Flatten(call.inputs[0], axis=1),)
    shape = call.known()
    start, stop = call.axis(first), call.axis(last)
    return (op.Reshape(call.inputs[0], op.constant([*shape[:start], -1, *shape[stop + 1 :]])),)


@layer("Reshape")
def reshape(op: Builder, call: Call) -> tuple[str, ...]:
    """Reshape"""
    call.need(1)
    message = call.param("reshape_param")
    target = list(message.message("shape").all("dim"))
    for dim in target:
        call.checked(message, "shape", dim, -1)
    axis, axes = call.whole(message, "axis", 0, -BIGGEST), call.whole(message, "num_axes", -1, -BIGGEST)
    if axis == 0 and axes == -1:
        return (op.Reshape(call.inputs[0], op.constant(target)),)
    shape = call.known()
    start = axis if axis >= 0 else len(shape) + axis + 1
    stop = len(shape) if axes == -1 else start + axes
    if not 0 <= start <= stop <= len(shape):
        raise Impossible(f"axes {start} to {stop} are outside a blob of {len(shape)} dimensions")
    middle = [shape[start + k] if dim == 0 and start + k < len(shape) else dim for k, dim in enumerate(target)]
    return (op.Reshape(call.inputs[0], op.constant([*shape[:start], *middle, *shape[stop:]])),)


@layer("Permute")
def permute(op: Builder, call: Call) -> tuple[str, ...]:
    """Transpose"""
    call.need(1)
    message = call.param("permute_param")
    order = [call.checked(message, "order", value) for value in message.all("order")]
    rank = len(call.shape() or ()) or max(4, len(order))
    if len(set(order)) != len(order) or any(axis >= rank for axis in order):
        raise Impossible(f"order {order} does not permute {rank} axes")
    order += [axis for axis in range(rank) if axis not in order]
    return (op.Transpose(call.inputs[0], perm=order),)


@layer("ShuffleChannel")
def shuffle_channel(op: Builder, call: Call) -> tuple[str, ...]:
    """Reshape, Transpose, Reshape

    The shape must be known.
    """
    call.need(1)
    group = call.whole(call.param("shuffle_channel_param"), "group", 1, 1)
    n, c, h, w = images(call)
    if c % group:
        raise Impossible(f"{c} channels do not divide into {group} groups")
    y = op.Reshape(call.inputs[0], op.constant([n, group, c // group, h, w]))
    return (op.Reshape(op.Transpose(y, perm=(0, 2, 1, 3, 4)), op.constant([n, c, h, w])),)


@layer("Reorg")
def reorg(op: Builder, call: Call) -> tuple[str, ...]:
    """Reshape, SpaceToDepth, Reshape, for the order of darknet, whose layer this is

    Not reversed.
    """
    message = call.param("reorg_param")
    stride = call.whole(message, "stride", 2, 1)
    n, c, h, w = images(call)
    if call.flag(message, "reverse", False):
        raise Impossible("a reversed Reorg has no ONNX form")
    if stride > 1 << 15 or c % stride**2 or h % stride or w % stride:
        raise Impossible(f"stride {stride} does not divide the shape {(n, c, h, w)}")
    y = op.Reshape(call.inputs[0], op.constant([n, c // stride**2, h * stride, w * stride]))
    y = op.SpaceToDepth(y, blocksize=stride)
    return (op.Reshape(y, op.constant([n, c * stride**2, h // stride, w // stride])),)


@layer("ArgMax")
def arg_max(op: Builder, call: Call) -> tuple[str, ...]:
    """ArgMax or TopK, Cast; Flatten, Concat, Reshape without an axis"""
    call.need(1)
    message = call.param("argmax_param")
    top = call.whole(message, "top_k", 1, 1)
    values = call.flag(message, "out_max_val", False)
    if "axis" in message:
        axis = call.axis(call.whole(message, "axis", 0, -BIGGEST))
        if top == 1 and not values:
            return (op.Cast(op.ArgMax(call.inputs[0], axis=axis, select_last_index=1), to=1),)
        _enough(call, call.dim(axis), top)
        best, index = op.node("TopK", [call.inputs[0], op.constant([top])], 2, attributes={"axis": axis})
        return (best if values else op.Cast(index, to=1),)
    x = op.Flatten(call.inputs[0], axis=1)
    if top == 1 and not values:
        # Of equal values Caffe takes the last; TopK knows no such choice.
        y = op.Cast(op.ArgMax(x, axis=1, select_last_index=1), to=1)
    else:
        size = (op.shape(x) or (None, None))[1]
        _enough(call, size if isinstance(size, int) else None, top)
        best, index = op.node("TopK", [x, op.constant([top])], 2, attributes={"axis": 1})
        y = op.Cast(index, to=1)
    if values:
        y = op.Concat(y, best, axis=1)
    rank = max(len(call.shape() or ()) or 4, 3)
    return (op.Reshape(y, op.constant([0, 2 if values else 1, top, *(1,) * (rank - 3)])),)


def _enough(call: Call, size: int | None, top: int) -> None:
    if size is not None and top > size:
        raise Impossible(f"top_k {top} is more than the {size} values there are")


@layer("Reduction")
def reduction(op: Builder, call: Call) -> tuple[str, ...]:
    """ReduceSum, ReduceL1, ReduceSumSquare or ReduceMean; Mul by coeff

    The number of axes must be known.
    """
    call.need(1)
    message = call.param("reduction_param")
    # The enum counts from 1.
    names = {"SUM": "ReduceSum", "ASUM": "ReduceL1", "SUMSQ": "ReduceSumSquare", "MEAN": "ReduceMean"}
    operation = call.choice(message, "operation", ("", *names)) or "SUM"
    axis = call.axis(call.whole(message, "axis", 0, -BIGGEST))
    rank = len(call.shape() or ())
    if not rank:
        raise Impossible("the number of its input's axes must be known; give the shape with --input-shape")
    axes = op.constant(list(range(axis, rank)))
    (y,) = op.node(names[operation], [call.inputs[0], axes], attributes={"keepdims": 0})
    factor = call.number(message, "coeff", 1.0)
    return (y if factor == 1 else op.Mul(y, op.scalar(factor)),)


@layer("Tile")
def tile(op: Builder, call: Call) -> tuple[str, ...]:
    """Tile"""
    call.need(1)
    message = call.param("tile_param")
    axis = call.axis(call.whole(message, "axis", 1, -BIGGEST))
    repeats = [1] * (len(call.shape() or ()) or axis + 1)
    repeats[axis] = call.whole(message, "tiles", None, 1)
    return (op.Tile(call.inputs[0], op.constant(repeats)),)


@layer("BatchReindex")
def batch_reindex(op: Builder, call: Call) -> tuple[str, ...]:
    """Cast, Gather"""
    call.need(2)
    return (op.Gather(call.inputs[0], op.Cast(call.inputs[1], to=7)),)


@layer("Filter")
def filter_(op: Builder, call: Call) -> tuple[str, ...]:
    """Reshape, Cast, Compress"""
    call.need(2)
    chosen = op.Cast(op.Reshape(call.inputs[-1], op.constant([-1])), to=9)
    return tuple(op.Compress(name, chosen, axis=0) for name in call.inputs[:-1])


# Layers that only Caffe (or a fork) has: drawn and sized, not run.
def _foreign(op: Builder, call: Call) -> tuple[str, ...]:
    """caffe::TYPE"""
    return foreign(call)


FOREIGN = (
    "Accuracy", "ContrastiveLoss", "Correlation", "DetectionEvaluate", "EuclideanLoss",
    "HDF5Output", "HingeLoss", "InfogainLoss", "MultiBoxLoss", "MultinomialLogisticLoss", "PSROIPooling", "Proposal",
    "Python", "SigmoidCrossEntropyLoss", "SmoothL1Loss", "SoftmaxWithLoss",
)  # fmt: skip
layer(*FOREIGN)(_foreign)


TRAINING_ONLY = frozenset({"Accuracy", "DetectionEvaluate", "HDF5Output", "Silence"})


def deployed(type_: str) -> str | None:
    """Return the type that a layer has in a net that is to run: a loss becomes what it compares, or None.

    Examples
    --------
    >>> deployed("SoftmaxWithLoss"), deployed("EuclideanLoss"), deployed("Convolution")
    ('Softmax', None, 'Convolution')
    """
    if type_ in ("SoftmaxWithLoss", "InfogainLoss"):
        return "Softmax"
    if type_ == "SigmoidCrossEntropyLoss":
        return "Sigmoid"
    return None if type_ in TRAINING_ONLY or type_.endswith("Loss") else type_


def support() -> dict[str, tuple[str, str]]:
    """Return what every layer becomes and with which restriction, by type.

    Examples
    --------
    >>> support()["LRN"]
    ('LRN; within a channel Mul, AveragePool, Mul, Add, Pow, Mul', '`local_size` must be odd.')
    """
    found = {}
    for type_, rule in layer.rules.items():
        form, _, rest = (rule.__doc__ or "").partition("\n")
        found[type_] = (form.replace("TYPE", type_), " ".join(rest.split()))
    return found
