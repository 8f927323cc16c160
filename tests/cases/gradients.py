"""One or more cases for every rule of reverse mode: how an operation is called.

An input is a shape (a float input that is differentiated by), a list (a constant of int64 or float32), a pair of a kind
and a shape or values, or None where it is omitted.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

IMAGE = (2, 4, 5, 6)


class Case(NamedTuple):
    """A call; `target` is the output that is differentiated, `span` what the inputs lie between."""

    inputs: list[Any]
    attributes: Mapping[str, Any] = MappingProxyType({})
    outputs: int = 1
    target: int = 0
    span: tuple[float, float] = (-1.5, 1.5)
    opset: int = 18


def of(*inputs: Any, **attributes: Any) -> Case:
    return Case(list(inputs), attributes)


def reduced(**attributes: Any) -> list[Case]:
    return [of(IMAGE, [1, -1], **attributes), of(IMAGE, [2], keepdims=0, **attributes), of(IMAGE, **attributes)]


POSITIVE = (0.1, 1.9)
PAIRS = [of(IMAGE, IMAGE), of(IMAGE, (4, 1, 6)), of((5, 1), IMAGE)]
WINDOWS: list[dict[str, Any]] = [
    {"kernel_shape": (2, 2), "strides": (2, 2)},
    {"kernel_shape": (3, 3), "strides": (1, 1), "pads": (1, 1, 1, 1)},
    {"kernel_shape": (3, 2), "strides": (2, 3), "pads": (1, 0, 0, 1)},
    {"kernel_shape": (2, 2), "strides": (1, 2), "dilations": (2, 2)},
    {"kernel_shape": (3, 3), "strides": (2, 2), "ceil_mode": 1},
    {"kernel_shape": (3, 3), "strides": (2, 2), "auto_pad": "SAME_UPPER"},
    {"kernel_shape": (4, 3), "strides": (2, 2), "auto_pad": "SAME_LOWER"},
]
PLAIN_WINDOWS = [window for window in WINDOWS if "dilations" not in window]

CASES: dict[str, list[Case]] = {
    **{name: [of(IMAGE)] for name in (
        "Identity Dropout Neg Relu Elu Celu Selu ThresholdedRelu Sigmoid HardSigmoid HardSwish Mish Tanh Softplus "
        "Softsign Erf Exp Abs Sin Cos Sinh Cosh Atan Asinh LeakyRelu").split()},
    "Swish": [Case([IMAGE], opset=24), Case([IMAGE], {"alpha": 1.5}, opset=24)],
    "Gelu": [Case([IMAGE], opset=20), Case([IMAGE], {"approximate": "tanh"}, opset=20)],
    **{name: [Case([IMAGE], span=span)] for name, span in {
        "Log": POSITIVE, "Reciprocal": POSITIVE, "Sqrt": POSITIVE, "Acosh": (1.1, 2.9), "Asin": (-0.9, 0.9),
        "Acos": (-0.9, 0.9), "Atanh": (-0.9, 0.9), "Tan": (-1.2, 1.2)}.items()},
    "Cast": [of(IMAGE, to=1)],
    "CastLike": [of(IMAGE, [1.0])],
    "Clip": [of(IMAGE, ("scalar", -0.5), ("scalar", 0.7)), of(IMAGE, ("scalar", 0.1)), of(IMAGE, None, ("scalar", 0.1)),
             of(IMAGE)],
    "PRelu": [of(IMAGE, (4, 1, 1))],
    **{name: [of(IMAGE)] for name in ("Sign", "Floor", "Ceil", "Round")},
    **dict.fromkeys(("Add", "Sub", "Mul"), PAIRS),
    "Div": [Case(case.inputs, span=POSITIVE) for case in PAIRS],
    "Pow": [of(IMAGE, ("scalar", 2.0)), Case([IMAGE, (4, 1, 6)], span=POSITIVE),
            Case([IMAGE, ("scalar", 0.5)], span=POSITIVE), of(IMAGE, ("int64 scalar", 3))],
    **{name: [of(IMAGE, IMAGE), of(IMAGE, (4, 1, 6), (1,)), of(IMAGE)] for name in ("Sum", "Mean", "Max", "Min")},
    "Where": [of(("bool", (2, 1, 5, 6)), IMAGE, (6,))],
    "Conv": [
        of((1, 4, 5, 6), ("weight", (4, 2, 3, 2)), ("weight", (4,)), group=2, pads=(1, 0, 2, 1), strides=(2, 1),
           dilations=(1, 2)),
        of(IMAGE, ("weight", (3, 4, 3, 3)), auto_pad="SAME_UPPER", strides=(2, 2)),
        of(IMAGE, ("weight", (4, 1, 3, 3)), group=4, pads=(1, 1, 1, 1)),
        of((2, 3, 9), ("weight", (2, 3, 4)), strides=(3,)),
        of((1, 2, 4, 5, 3), ("weight", (2, 2, 2, 2, 2)), pads=(0, 1, 0, 1, 0, 1)),
        of(IMAGE, ("weight", (2, 4, 3, 3)), (2,)),
    ],
    "ConvTranspose": [
        of((1, 4, 5, 6), ("weight", (4, 2, 3, 3)), ("weight", (4,)), group=2, strides=(2, 2), pads=(1, 1, 0, 1),
           output_padding=(1, 0)),
        of((2, 3, 7), ("weight", (3, 2, 4)), strides=(2,), dilations=(2,)),
        of(IMAGE, ("weight", (4, 2, 3, 3)), strides=(3, 3), output_padding=(2, 2)),
        of(IMAGE, ("weight", (4, 3, 2, 2)), (3,)),
    ],
    "Gemm": [of((3, 4), (4, 5), (5,)), of((4, 3), (4, 5), transA=1, alpha=0.5),
             of((3, 4), (5, 4), (3, 1), transB=1, beta=2.0), of((4, 3), (5, 4), transA=1, transB=1)],
    "MatMul": [of((2, 1, 3, 4), (5, 4, 6)), of((4,), (4, 6)), of((3, 4), (4,)), of((4,), (4,)), of((2, 3, 4), (4, 5))],
    "Einsum": [of((2, 3, 4), (2, 4, 5), equation="bij,bjk->bik"), of((3, 4), (4,), equation="ij,j->i"),
               of((3, 4), equation="ij->j"), of((2, 3, 4), (2, 3, 5), equation="...i,...j->...ij"),
               of((3, 4), (3, 4), equation="ij,ij")],
    "MaxPool": [of(IMAGE, **window) for window in WINDOWS] + [of((2, 3, 9), kernel_shape=(3,), strides=(2,))],
    "AveragePool": [of(IMAGE, count_include_pad=k, **window) for window in PLAIN_WINDOWS for k in (0, 1)]
    + [Case([IMAGE], WINDOWS[3], opset=22)],
    "LpPool": [Case([IMAGE], {**window, "p": 3}) for window in PLAIN_WINDOWS[:3]],
    "GlobalAveragePool": [of(IMAGE), of((2, 3, 7))],
    "GlobalMaxPool": [of(IMAGE)],
    "GlobalLpPool": [of(IMAGE, p=3)],
    "MaxUnpool": [of((1, 1, 2, 2), [[[[5, 7], [13, 15]]]], [1, 1, 4, 4], kernel_shape=(2, 2), strides=(2, 2))],
    **{name: reduced() for name in "ReduceSum ReduceMean ReduceMax ReduceMin ReduceL1 ReduceL2 ReduceSumSquare "
                                   "ReduceLogSumExp".split()},
    "ReduceLogSum": [Case(case.inputs, case.attributes, span=POSITIVE) for case in reduced()],
    "ReduceProd": [Case([(2, 3, 4), [1]], span=POSITIVE)],
    "CumSum": [of(IMAGE, ("int64 scalar", 1)), of(IMAGE, ("int64 scalar", -1), exclusive=1, reverse=1)],
    "BatchNormalization": [of(IMAGE, ("weight", (4,)), ("weight", (4,)), ("weight", (4,)), ("positive", (4,))),
                           of(IMAGE, (4,), (4,), ("weight", (4,)), ("positive", (4,)))],
    "InstanceNormalization": [of(IMAGE, ("weight", (4,)), ("weight", (4,)))],
    "GroupNormalization": [Case([IMAGE, ("weight", (4,)), ("weight", (4,))], {"num_groups": 2}, opset=21),
                           of(IMAGE, ("weight", (2,)), ("weight", (2,)), num_groups=2)],
    "LayerNormalization": [of(IMAGE, (6,), (6,)), of(IMAGE, ("weight", (5, 6)), axis=2)],
    "RMSNormalization": [Case([IMAGE, ("weight", (6,))], opset=23)],
    "MeanVarianceNormalization": [of(IMAGE), of(IMAGE, axes=(1, 2))],
    "LpNormalization": [of(IMAGE, axis=1), Case([IMAGE], {"p": 1, "axis": -1}, span=POSITIVE)],
    "LRN": [of((2, 7, 3, 2), size=3, alpha=0.5, beta=0.75, bias=2.0), of((2, 7, 3, 1), size=5, alpha=0.9)],
    "Softmax": [of(IMAGE, axis=1), of(IMAGE)],
    "LogSoftmax": [of(IMAGE, axis=2)],
    "Reshape": [of(IMAGE, [2, -1, 6])],
    "Flatten": [of(IMAGE, axis=2)],
    "Squeeze": [of((2, 1, 3, 1), [1, -1])],
    "Unsqueeze": [of((2, 3), [0, -1])],
    "Transpose": [of(IMAGE, perm=(1, 3, 0, 2)), of(IMAGE)],
    "Concat": [of(IMAGE, (2, 3, 5, 6), axis=1), of((2, 3), (2, 3), (2, 3), axis=-1)],
    "Split": [*(Case([IMAGE, [1, 3]], {"axis": 1}, 2, target) for target in (0, 1)),
              Case([IMAGE], {"num_outputs": 2}, 2)],
    "Expand": [of((4, 1, 6), [2, 4, 5, 6]), of((4, 1), [1])],
    "Tile": [of((2, 3), [2, 3])],
    "Slice": [of(IMAGE, [1, 0], [4, -1], [1, 3]), of(IMAGE, [-1], [-100], [2], [-2]), of(IMAGE, [0, 2], [1, 4])],
    "Pad": [of(IMAGE, [0, 0, 1, 2, 0, 0, 3, 0]), of(IMAGE, [0, 0, 1, 2, 0, 0, 3, 1], mode="reflect"),
            of(IMAGE, [0, 0, 1, 2, 0, 0, 3, 1], mode="edge"), of(IMAGE, [1, 2], None, [3], mode="constant"),
            of(IMAGE, [0, 0, -1, 1, 0, 0, 2, 0])],
    "Gather": [of(IMAGE, [[0, 2], [2, -1]], axis=1), of(IMAGE, ("int64 scalar", -2), axis=2),
               of(IMAGE, [1, 2], axis=1), of(IMAGE, [0, -1, 0], axis=1)],
    "GatherElements": [of((3, 4), [[0, 1], [1, 3], [2, -1]], axis=1)],
    "GatherND": [of(IMAGE, [[0, 1], [1, 3], [1, 3]])],
    "ScatterElements": [of((3, 4), [[0, 2], [1, 3], [3, 0]], (3, 2), axis=1),
                        of((3, 4), [[0, 0, 1, 2], [0, 1, 1, 0]], (2, 4), reduction="add")],
    "ScatterND": [of((3, 4), [[0], [2]], (2, 4)), of((3, 4), [[0], [0]], (2, 4), reduction="add")],
    "TopK": [Case([IMAGE, [2]], {"axis": 1}, 2)],
    "Trilu": [of((3, 4, 4), upper=0), of((4, 4), ("int64 scalar", 1))],
    "DepthToSpace": [of((1, 8, 3, 2), blocksize=2), of((1, 8, 3, 2), blocksize=2, mode="CRD")],
    "SpaceToDepth": [of((1, 2, 6, 4), blocksize=2)],
    "ReverseSequence": [of((4, 3), [2, 4, 1], time_axis=0, batch_axis=1)],
    "Compress": [of((3, 4), ("bool", [1, 0, 1, 1]), axis=1)],
    "CenterCropPad": [of((1, 5, 6), [3, 8], axes=(1, 2))],
    "Resize": [
        of(IMAGE, None, [1.0, 1.0, 2.0, 2.0], mode="nearest", coordinate_transformation_mode="asymmetric",
           nearest_mode="floor"),
        of(IMAGE, None, None, [2, 4, 11, 3], mode="linear"),
        of(IMAGE, None, None, [2, 4, 8, 9], mode="linear", coordinate_transformation_mode="align_corners"),
        of(IMAGE, None, [1.0, 1.0, 1.5, 2.0], mode="cubic"),
    ],
}  # fmt: skip
