"""What the rules of the domain ``tf`` are tried with: a call of ``tf.raw_ops`` for every operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from graphviz_nets.converters import tensorflow_rules as rules

Make = Callable[[Any, Any, Any], Any]
"""Makes an operation, given ``tf``, ``tf.raw_ops`` and a function ``x(*dims)`` that makes a placeholder."""

_GRADIENTS = {"ReluGrad": "features", "Relu6Grad": "features", "LeakyReluGrad": "features", "SoftplusGrad": "features",
              "EluGrad": "outputs", "SeluGrad": "outputs"}  # fmt: skip
_FIRST = {
    **dict.fromkeys(("Elu", "Relu", "Relu6", "Selu", "LeakyRelu", "Softplus", "Softsign"), "features"),
    **dict.fromkeys(("Softmax", "LogSoftmax"), "logits"),
    **dict.fromkeys(("Identity", "Snapshot", "StopGradient", "PreventGradient", "LRN"), "input"),
}


def _unary(name: str) -> Make:
    return lambda tf, raw, x: getattr(raw, name)(**{_FIRST.get(name, "x"): x(2, 5, 6, 3)})


def _gradient(name: str) -> Make:
    if name in _GRADIENTS:
        return lambda tf, raw, x: getattr(raw, name)(**{"gradients": x(2, 5), _GRADIENTS[name]: x(2, 5)})
    return lambda tf, raw, x: getattr(raw, name)(y=x(2, 5), dy=x(2, 5))


def _binary(name: str) -> Make:
    if name.startswith("Logical"):
        return lambda tf, raw, x: getattr(raw, name)(x=x(2, 1, 3, dtype="bool"), y=x(4, 1, dtype="bool"))
    return lambda tf, raw, x: getattr(raw, name)(x=x(2, 1, 3), y=x(4, 1))


def _reduce(name: str, dtype: str = "float32") -> Make:
    return lambda tf, raw, x: getattr(raw, name)(
        input=x(2, 5, 6, 3, dtype=dtype), axis=[1, -2], keep_dims=name == "Max"
    )


def _window(name: str, padding: str = "SAME") -> Make:
    return lambda tf, raw, x: getattr(raw, name)(
        **{"value" if name == "AvgPool" else "input": x(2, 7, 9, 3)}, ksize=[1, 3, 2, 1], strides=[1, 2, 2, 1],
        padding=padding,
    )  # fmt: skip


def _room(name: str) -> Make:
    return lambda tf, raw, x: getattr(raw, name)(
        input=x(2, 7, 9, 5, 3), ksize=[1, 2, 2, 2, 1], strides=[1, 2, 2, 1, 1], padding="VALID"
    )


def _norm(name: str) -> Make:
    return lambda tf, raw, x: getattr(raw, name)(
        x=x(2, 5, 6, 3), scale=x(3), offset=x(3), mean=x(3), variance=x(3), is_training=False
    )


def _sized(name: str) -> Make:
    return lambda tf, raw, x: getattr(raw, name)(images=x(2, 5, 6, 3), size=[10, 9])


def _lstm(name: str) -> Make:
    more = {"wci": (4,), "wcf": (4,), "wco": (4,)}
    return lambda tf, raw, x: getattr(raw, name)(
        seq_len_max=tf.constant(7, tf.int64), x=x(7, 2, 3), cs_prev=x(2, 4), h_prev=x(2, 4), w=x(7, 16), b=x(16),
        **{key: x(*dims) for key, dims in more.items()},
    )  # fmt: skip


def _variable(tf: Any, raw: Any, x: Any) -> Any:
    handle = raw.VarHandleOp(dtype=tf.float32, shape=[3, 4], shared_name="v")
    return raw.ReadVariableOp(resource=handle, dtype=tf.float32)


def _gathered(tf: Any, raw: Any, x: Any) -> Any:
    handle = raw.VarHandleOp(dtype=tf.float32, shape=[9, 4], shared_name="v")
    return raw.ResourceGather(resource=handle, indices=x(2, 5, dtype="int32"), dtype=tf.float32)


MAKES: Mapping[str, tuple[Make, ...]] = {
    **{name: (_unary(name),) for name in rules.SAME if not name.endswith("Grad")},
    **{name: (_gradient(name),) for name in rules.SAME if name.endswith("Grad")},
    "BiasAdd": (lambda tf, raw, x: raw.BiasAdd(value=x(2, 5, 3), bias=x(3)),),
    "Cast": (lambda tf, raw, x: raw.Cast(x=x(2, 5), DstT=tf.int64),),
    "CheckNumerics": (lambda tf, raw, x: raw.CheckNumerics(tensor=x(2, 5), message=""),),
    "Cumsum": (lambda tf, raw, x: raw.Cumsum(x=x(2, 5), axis=1),),
    "Cumprod": (lambda tf, raw, x: raw.Cumprod(x=x(2, 5), axis=1),),
    "Enter": (lambda tf, raw, x: raw.Enter(data=x(2, 5), frame_name="f"),),
    "Exit": (lambda tf, raw, x: raw.Exit(data=x(2, 5)),),
    "NextIteration": (lambda tf, raw, x: raw.NextIteration(data=x(2, 5)),),
    "FakeQuantWithMinMaxArgs": (lambda tf, raw, x: raw.FakeQuantWithMinMaxArgs(inputs=x(2, 5)),),
    "FakeQuantWithMinMaxVars": (lambda tf, raw, x: raw.FakeQuantWithMinMaxVars(inputs=x(2, 5), min=x(), max=x()),),
    "LogicalNot": (lambda tf, raw, x: raw.LogicalNot(x=x(2, 5, dtype="bool")),),
    "PlaceholderWithDefault": (lambda tf, raw, x: raw.PlaceholderWithDefault(input=x(2, 5), shape=[2, 5]),),
    "ReverseV2": (lambda tf, raw, x: raw.ReverseV2(tensor=x(2, 5), axis=[1]),),
    **{name: (_binary(name),) for name in (*rules.ARITHMETIC, *rules.COMPARISON)},
    "ReadVariableOp": (_variable,),
    "AddN": (lambda tf, raw, x: raw.AddN(inputs=[x(2, 5), x(2, 5)]),),
    "Select": (lambda tf, raw, x: raw.Select(condition=x(2, 5, dtype="bool"), x=x(2, 5), y=x(2, 5)),),
    "SelectV2": (lambda tf, raw, x: raw.SelectV2(condition=x(5, dtype="bool"), t=x(2, 5), e=x(2, 1)),),
    "Switch": (lambda tf, raw, x: raw.Switch(data=x(2, 5), pred=x(dtype="bool")),),
    "Merge": (lambda tf, raw, x: raw.Merge(inputs=[x(2, 5), x(3, 5)]),),
    "LoopCond": (lambda tf, raw, x: raw.LoopCond(input=x(dtype="bool")),),
    "Conv2D": (
        lambda tf, raw, x: raw.Conv2D(input=x(2, 7, 9, 3), filter=x(3, 2, 3, 5), strides=[1, 2, 1, 1], padding="SAME"),
        lambda tf, raw, x: raw.Conv2D(
            input=x(2, 9, 9, 3), filter=x(3, 3, 3, 5), strides=[1, 1, 1, 1], padding="VALID", dilations=[1, 2, 3, 1]
        ),
        lambda tf, raw, x: raw.Conv2D(
            input=x(2, 9, 9, 3), filter=x(3, 3, 3, 5), strides=[1, 2, 2, 1], padding="EXPLICIT",
            explicit_paddings=[0, 0, 1, 2, 0, 3, 0, 0],
        ),
        lambda tf, raw, x: raw.Conv2D(
            input=x(2, 3, 7, 9), filter=x(3, 2, 3, 5), strides=[1, 1, 2, 1], padding="VALID", data_format="NCHW"
        ),
    ),
    "Conv3D": (
        lambda tf, raw, x: raw.Conv3D(
            input=x(2, 5, 7, 9, 3), filter=x(2, 3, 2, 3, 4), strides=[1, 1, 2, 1, 1], padding="SAME"
        ),
    ),
    "DepthwiseConv2dNative": (
        lambda tf, raw, x: raw.DepthwiseConv2dNative(
            input=x(2, 7, 9, 3), filter=x(3, 2, 3, 4), strides=[1, 2, 2, 1], padding="SAME"
        ),
    ),
    "Conv2DBackpropInput": (
        lambda tf, raw, x: raw.Conv2DBackpropInput(
            input_sizes=[2, 14, 18, 5], filter=x(3, 3, 5, 4), out_backprop=x(2, 7, 9, 4), strides=[1, 2, 2, 1],
            padding="SAME",
        ),
    ),
    "Conv3DBackpropInputV2": (
        lambda tf, raw, x: raw.Conv3DBackpropInputV2(
            input_sizes=[2, 6, 14, 18, 5], filter=x(3, 3, 3, 5, 4), out_backprop=x(2, 3, 7, 9, 4),
            strides=[1, 2, 2, 2, 1], padding="SAME",
        ),
    ),
    "MaxPool": (_window("MaxPool"), _window("MaxPool", "VALID")),
    "AvgPool": (_window("AvgPool"),),
    "MaxPool3D": (_room("MaxPool3D"),),
    "AvgPool3D": (_room("AvgPool3D"),),
    **{name: (_norm(name),) for name in ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")},
    **{name: (_sized(name),) for name in (
        "ResizeBilinear", "ResizeNearestNeighbor", "ResizeBicubic", "ResizeArea")},
    "DepthToSpace": (lambda tf, raw, x: raw.DepthToSpace(input=x(2, 5, 6, 12), block_size=2),),
    "SpaceToDepth": (lambda tf, raw, x: raw.SpaceToDepth(input=x(2, 4, 6, 3), block_size=2),),
    "MatMul": (
        lambda tf, raw, x: raw.MatMul(a=x(2, 5), b=x(5, 3)),
        lambda tf, raw, x: raw.MatMul(a=x(5, 2), b=x(3, 5), transpose_a=True, transpose_b=True),
    ),
    "BatchMatMul": (lambda tf, raw, x: raw.BatchMatMul(x=x(4, 2, 5), y=x(4, 5, 3)),),
    "BatchMatMulV2": (lambda tf, raw, x: raw.BatchMatMulV2(x=x(4, 5, 2), y=x(5, 3), adj_x=True),),
    "BatchMatMulV3": (lambda tf, raw, x: raw.BatchMatMulV3(x=x(4, 2, 5), y=x(3, 5), adj_y=True, Tout=tf.float32),),
    "BlockLSTM": (_lstm("BlockLSTM"),),
    "BlockLSTMV2": (_lstm("BlockLSTMV2"),),
    "Reshape": (lambda tf, raw, x: raw.Reshape(tensor=x(2, 5, 6), shape=[-1, 15]),),
    "Shape": (lambda tf, raw, x: raw.Shape(input=x(2, 5, 6)),),
    "Rank": (lambda tf, raw, x: raw.Rank(input=x(2, 5, 6)),),
    "Size": (lambda tf, raw, x: raw.Size(input=x(2, 5, 6)),),
    "Squeeze": (
        lambda tf, raw, x: raw.Squeeze(input=x(2, 1, 6, 1), axis=[1]),
        lambda tf, raw, x: raw.Squeeze(input=x(2, 1, 6, 1)),
    ),
    "ExpandDims": (lambda tf, raw, x: raw.ExpandDims(input=x(2, 5), axis=-1),),
    "Transpose": (lambda tf, raw, x: raw.Transpose(x=x(2, 5, 6), perm=[2, 0, 1]),),
    "Pack": (lambda tf, raw, x: raw.Pack(values=[x(2, 5), x(2, 5), x(2, 5)], axis=1),),
    "Unpack": (lambda tf, raw, x: raw.Unpack(value=x(2, 3, 5), num=3, axis=1)[0],),
    "ConcatV2": (lambda tf, raw, x: raw.ConcatV2(values=[x(2, 5), x(2, 3)], axis=-1),),
    "Concat": (lambda tf, raw, x: raw.Concat(concat_dim=0, values=[x(2, 5), x(3, 5)]),),
    "Split": (lambda tf, raw, x: raw.Split(axis=1, value=x(2, 6), num_split=3)[0],),
    "SplitV": (lambda tf, raw, x: raw.SplitV(value=x(2, 6), size_splits=[1, -1, 2], axis=1, num_split=3)[0],),
    "Pad": (lambda tf, raw, x: raw.Pad(input=x(2, 5), paddings=[[0, 1], [2, 3]]),),
    "PadV2": (lambda tf, raw, x: raw.PadV2(input=x(2, 5), paddings=[[0, 1], [2, 3]], constant_values=1.0),),
    "MirrorPad": (lambda tf, raw, x: raw.MirrorPad(input=x(2, 5), paddings=[[0, 1], [2, 3]], mode="REFLECT"),),
    "Tile": (lambda tf, raw, x: raw.Tile(input=x(2, 5), multiples=[3, 1]),),
    "Fill": (lambda tf, raw, x: raw.Fill(dims=[2, 5], value=x()),),
    "RandomUniform": (lambda tf, raw, x: raw.RandomUniform(shape=[2, 5], dtype=tf.float32),),
    "RandomStandardNormal": (lambda tf, raw, x: raw.RandomStandardNormal(shape=[2, 5], dtype=tf.float32),),
    "TruncatedNormal": (lambda tf, raw, x: raw.TruncatedNormal(shape=[2, 5], dtype=tf.float32),),
    "Slice": (lambda tf, raw, x: raw.Slice(input=x(7, 5), begin=[2, 1], size=[3, -1]),),
    "StridedSlice": (
        lambda tf, raw, x: x(7, 5, 4)[1:6:2, ..., 0],
        lambda tf, raw, x: x(7, 5, 4)[:, tf.newaxis, 2, 1:],
        lambda tf, raw, x: x(7, 5)[::-1],
    ),
    "Gather": (lambda tf, raw, x: raw.Gather(params=x(9, 4), indices=x(2, 5, dtype="int32")),),
    "GatherV2": (lambda tf, raw, x: raw.GatherV2(params=x(3, 9, 4), indices=x(2, 5, dtype="int32"), axis=1),),
    "ResourceGather": (_gathered,),
    "OneHot": (lambda tf, raw, x: raw.OneHot(indices=x(2, 5, dtype="int32"), depth=7, on_value=1.0, off_value=0.0),),
    **{name: (_reduce(name),) for name in ("Mean", "Sum", "Max", "Min", "Prod")},
    **{name: (_reduce(name, "bool"),) for name in ("All", "Any")},
    "ArgMax": (lambda tf, raw, x: raw.ArgMax(input=x(2, 5, 6), dimension=1),),
    "ArgMin": (lambda tf, raw, x: raw.ArgMin(input=x(2, 5, 6), dimension=-1, output_type=tf.int32),),
    "SparseSoftmaxCrossEntropyWithLogits": (
        lambda tf, raw, x: raw.SparseSoftmaxCrossEntropyWithLogits(features=x(2, 5), labels=x(2, dtype="int32"))[0],
    ),
    "SoftmaxCrossEntropyWithLogits": (
        lambda tf, raw, x: raw.SoftmaxCrossEntropyWithLogits(features=x(2, 5), labels=x(2, 5))[0],
    ),
    "NoOp": (lambda tf, raw, x: raw.NoOp(),),
}  # fmt: skip
