"""Shape rules against ONNX's own inference, cost rules against counting by hand; every rule has a case."""

from __future__ import annotations

from typing import Any

import pytest

from graphviz_nets.errors import NoRule
from graphviz_nets.graph import cost, shapes
from graphviz_nets.graph.builder import Builder
from graphviz_nets.graph.ir import Graph, Model, Tensor
from graphviz_nets.graph.rules import Table

Case = tuple[list[Any], dict[str, Any], int]
IMAGE = (2, 6, 7, 9)


def unary(**attributes: Any) -> Case:
    return [IMAGE], attributes, 1


def reduce(**attributes: Any) -> Case:
    return [IMAGE, [2, 3]], attributes, 1


def pair() -> Case:
    return [IMAGE, (6, 1, 9)], {}, 1


def step() -> Graph:
    """Return the body of a Scan: a state of (2, 3), to which a product with (3, 3) adds each step."""
    op = Builder("step")
    h, x = op.input("h", "float32", (2, 3)), op.input("x_t", "float32", (2, 3))
    y = op.Add(op.Gemm(h, op.weight("r", (3, 3), bytes(36))), x)
    return op.graph([y, op.Identity(y)])


# Inputs (a tuple is a shape, a list a constant of int64 or float32, None an omitted input), attributes, outputs.
CASES: dict[str, list[Case]] = {
    **{name: [unary()] for name in (
        "Abs Ceil Celu Clip Elu Erf Exp Floor Gelu HardSigmoid HardSwish Identity LeakyRelu Log LogSoftmax "
        "LpNormalization Mish Neg Reciprocal Relu Selu Sigmoid Softmax Softplus Softsign Sqrt Tanh ThresholdedRelu "
        "Acos Acosh Asin Asinh Atan Atanh Cos Cosh Sin Sinh Tan Sign Round "
        "MeanVarianceNormalization GlobalAveragePool GlobalMaxPool GlobalLpPool").split()},
    **{name: [pair()] for name in "Add Sub Mul Div Pow Max Min Sum Mean Mod Greater GreaterOrEqual Less LessOrEqual Equal".split()},  # noqa: E501
    **{name: [reduce(), reduce(keepdims=0), ([IMAGE], {}, 1), ([IMAGE], {"noop_with_empty_axes": 1}, 1)] for name in
       "ReduceMean ReduceSum ReduceL1 ReduceL2 ReduceSumSquare ReduceMax ReduceMin ReduceProd ReduceLogSum "
       "ReduceLogSumExp".split()},
    "And": [([("bool", 3, 1), ("bool", 4)], {}, 1)],
    "Or": [([("bool", 3, 1), ("bool", 4)], {}, 1)],
    "Xor": [([("bool", 3, 1), ("bool", 4)], {}, 1)],
    "Not": [([("bool", 3, 1)], {}, 1)],
    "LayerNormalization": [([IMAGE, (9,)], {}, 1), ([IMAGE, (7, 9)], {"axis": 2}, 3)],
    "GroupNormalization": [([IMAGE, (2,), (2,)], {"num_groups": 2}, 1)],
    "ReverseSequence": [([(4, 3), [2, 4, 1]], {"time_axis": 0, "batch_axis": 1}, 1)],
    "CenterCropPad": [([IMAGE, [3, 8]], {"axes": (-2, 3)}, 1)],
    "CastLike": [([IMAGE, ("int64", 1)], {}, 1)],
    "Shape": [unary(), unary(start=1, end=-1)],
    "Where": [([("bool", 3, 1), (4,), (2, 1, 1)], {}, 1)],
    "Constant": [([], {"value_ints": (1, 2)}, 1), ([], {"value_float": 1.0}, 1),
                 ([], {"value": Tensor.of("t", "int64", [1, 2, 3])}, 1)],
    "ConstantOfShape": [([[2, 3]], {}, 1), ([[2]], {"value": Tensor.of("t", "int64", [1])}, 1)],
    "Expand": [([(3, 1), [2, 1, 4]], {}, 1)],
    "LRN": [unary(size=3)],
    "PRelu": [([IMAGE, (6, 1, 1)], {}, 1)],
    "CumSum": [([IMAGE, [1]], {}, 1)],
    "InstanceNormalization": [([IMAGE, (6,), (6,)], {}, 1)],
    "Cast": [unary(to=7), unary(to=9)],
    "Dropout": [([IMAGE], {}, 2)],
    "BatchNormalization": [([IMAGE, (6,), (6,), (6,), (6,)], {}, 1)],
    "Conv": [
        ([IMAGE, (8, 3, 3, 2)], {"group": 2, "pads": (1, 0, 2, 1), "strides": (2, 1), "dilations": (1, 2)}, 1),
        ([IMAGE, (8, 6, 3, 3), (8,)], {"auto_pad": "SAME_UPPER", "strides": (2, 2)}, 1),
        ([(1, 4, 11), (5, 4, 3)], {"auto_pad": "VALID"}, 1),
    ],
    "ConvTranspose": [
        ([IMAGE, (6, 4, 3, 3)], {"strides": (2, 2), "pads": (1, 1, 0, 1), "output_padding": (1, 0), "group": 2}, 1),
        ([IMAGE, (6, 4, 3, 3)], {"output_shape": (14, 18), "strides": (2, 2)}, 1),
    ],
    **{name: [
        unary(kernel_shape=(3, 2), strides=(2, 1), pads=(1, 0, 1, 1)),
        unary(kernel_shape=(3, 3), strides=(2, 2), ceil_mode=1),
        unary(kernel_shape=(3, 3), auto_pad="SAME_LOWER", strides=(2, 2)),
    ] for name in ("MaxPool", "AveragePool")},
    "LpPool": [unary(kernel_shape=(3, 2), strides=(2, 1))],
    "MaxRoiPool": [([IMAGE, (4, 5)], {"pooled_shape": (3, 3)}, 1)],
    "MaxUnpool": [([IMAGE, ("int64", *IMAGE)], {"kernel_shape": (2, 2), "strides": (2, 2)}, 1)],
    "Gemm": [([(3, 4), (5, 4), (5,)], {"transB": 1}, 1), ([(4, 3), (4, 5)], {"transA": 1}, 1)],
    "MatMul": [([(2, 1, 3, 4), (5, 4, 6)], {}, 1), ([(4,), (4, 6)], {}, 1), ([(3, 4), (4,)], {}, 1)],
    "Flatten": [unary(axis=2), unary(axis=0), unary(axis=-1)],
    "Reshape": [([IMAGE, [0, -1, 9]], {}, 1), ([IMAGE, [2, 42, 9]], {}, 1)],
    "Transpose": [unary(perm=(0, 2, 3, 1)), unary()],
    "Concat": [([IMAGE, (2, 4, 7, 9)], {"axis": 1}, 1), ([IMAGE, IMAGE], {"axis": -1}, 1)],
    "Split": [([IMAGE, [1, 5]], {"axis": 1}, 2), ([IMAGE], {"axis": 1, "num_outputs": 4}, 4)],
    "Slice": [([IMAGE, [1, 0], [5, -1], [1, 3], [2, 1]], {}, 1), ([IMAGE, [-3], [100], [2]], {}, 1)],
    "Pad": [([IMAGE, [0, 0, 1, 2, 0, 0, 3, 4]], {}, 1), ([IMAGE, [1, 2, 0, 3], None, [1, -1]], {}, 1)],
    "Tile": [([IMAGE, [1, 2, 1, 3]], {}, 1)],
    "Gather": [([IMAGE, ("int64", 3, 5)], {"axis": 2}, 1)],
    "Compress": [([IMAGE, ("bool", 6)], {"axis": 1}, 1), ([IMAGE, ("bool", 6)], {}, 1)],
    "Squeeze": [([(2, 1, 3, 1), [1, -1]], {}, 1), ([(2, 1, 3, 1)], {}, 1)],
    "Unsqueeze": [([(2, 3), [0, -1]], {}, 1)],
    "Resize": [
        ([IMAGE, None, [1.0, 1.0, 2.0, 1.5]], {"mode": "nearest"}, 1),
        ([IMAGE, None, None, [2, 6, 11, 5]], {"mode": "linear"}, 1),
    ],
    "DepthToSpace": [([(1, 8, 3, 5)], {"blocksize": 2}, 1)],
    "SpaceToDepth": [([(1, 2, 6, 10)], {"blocksize": 2}, 1)],
    "ArgMax": [unary(axis=1), unary(axis=-1, keepdims=0)],
    "ArgMin": [unary(axis=1)],
    "TopK": [([IMAGE, [3]], {"axis": 1}, 2)],
    "LSTM": [([(5, 2, 4), (1, 12, 4), (1, 12, 3)], {"hidden_size": 3}, 3)],
    "GRU": [([(5, 2, 4), (2, 9, 4), (2, 9, 3)], {"hidden_size": 3, "direction": "bidirectional"}, 2)],
    "RNN": [([(5, 2, 4), (1, 3, 4), (1, 3, 3)], {"hidden_size": 3}, 2)],
    "GatherND": [([IMAGE, ("int64", 5, 2)], {}, 1), ([IMAGE, ("int64", 2, 5, 1)], {"batch_dims": 1}, 1)],
    "NonMaxSuppression": [([(1, 6, 4), (1, 2, 6)], {}, 1)],
    "ScatterElements": [([IMAGE, ("int64", *IMAGE), IMAGE], {}, 1)],
    "ScatterND": [([IMAGE, ("int64", 5, 1), (5, 6, 7, 9)], {}, 1)],
    "Scan": [([(2, 3), (5, 2, 3)], {"num_scan_inputs": 1, "body": step()}, 2)],
}  # fmt: skip

# Versions in which an operation appeared, where that is later than ours.
OPSETS = {"Gelu": 20}


def model_of(op_type: str, case: Case) -> Model:
    inputs, attributes, outputs = case
    op = Builder("case", opset=OPSETS.get(op_type, 18))
    names = []
    for k, given in enumerate(inputs):
        if given is None:
            names.append("")
        elif isinstance(given, list):
            names.append(op.constant(given, "float32" if isinstance(given[0], float) else "int64"))
        else:
            dtype, dims = (given[0], given[1:]) if isinstance(given[0], str) else ("float32", given)
            names.append(op.input(f"in{k}", dtype, dims))
    return op.model(op.node(op_type, names, outputs, attributes=attributes))


def test_every_shape_rule_has_a_case() -> None:
    assert set(CASES) == set(shapes.shape)


@pytest.mark.parametrize(("op_type", "case"), [(name, case) for name, cases in CASES.items() for case in cases])
def test_shapes_are_onnxs(op_type: str, case: Case) -> None:
    import onnx

    from graphviz_nets.graph import proto

    model = model_of(op_type, case)
    stated = proto.to_proto(model)
    for output in stated.graph.output:
        output.type.tensor_type.ClearField("shape")
        output.type.tensor_type.ClearField("elem_type")
    # ONNX's own function body of this one does not pass its strict inference.
    strict = op_type != "MeanVarianceNormalization"
    inferred = onnx.shape_inference.infer_shapes(stated, strict_mode=strict, data_prop=True)
    for output in inferred.graph.output:
        mine = model.graph.value(output.name)
        real = output.type.tensor_type
        dims = tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in real.shape.dim)
        if not real.HasField("shape"):
            continue
        assert mine.shape is not None and len(mine.shape) == len(dims), (mine.shape, dims)
        # Where ONNX knows less than we do, ours stands; it must never contradict.
        assert all(a == b for a, b in zip(mine.shape, dims, strict=True) if b is not None), (mine.shape, dims)
        assert mine.dtype in (None, {1: "float32", 7: "int64", 9: "bool"}[real.elem_type])


def test_impossible_shapes_are_problems_that_name_the_scope() -> None:
    op = Builder("bad")
    op.scope = ("conv1",)
    y = op.Conv(op.input("x", "float32", (1, 1, 4, 4)), op.weight("w", (2, 1, 9, 9)))
    assert op.shape(y) is None
    assert op.problems == ["conv1: kernel 9 is larger than the padded input 4"]
    op.MatMul(op.input("a", "float32", (2, 3)), op.input("b", "float32", (2, 3)))
    assert "do not multiply" in op.problems[-1]


def test_a_rule_is_registered_once_and_a_foreign_one_is_found() -> None:
    with pytest.raises(ValueError, match="twice"):
        shapes.shape("Conv")(lambda node, inputs: [])
    assert shapes.shape.find("caffe", "SoftmaxWithLoss") is not None
    assert shapes.shape.find("nobody", "Conv") is None
    assert "@cost('Odd')" in str(NoRule("Odd", "cost"))


# MACs and FLOPs by hand, for the first case of each.
COUNTED: dict[str, tuple[int, int]] = {
    "Conv": (2 * 8 * 4 * 8 * (3 * 3 * 2), 2 * (2 * 8 * 4 * 8 * 18)),
    "ConvTranspose": (2 * 6 * 7 * 9 * (4 * 9), 2 * (2 * 6 * 7 * 9 * 36)),
    "Gemm": (3 * 5 * 4, 2 * 3 * 5 * 4 + 3 * 5),
    "MatMul": (2 * 5 * 3 * 6 * 4, 2 * 2 * 5 * 3 * 6 * 4),
    "LSTM": (5 * 2 * (12 * 4 + 12 * 3), 2 * 5 * 2 * 84 + 16 * 5 * 2 * 3),
    "GRU": (5 * 2 * 2 * (9 * 4 + 9 * 3), 2 * 5 * 2 * 126 + 12 * 5 * 2 * 2 * 3),
    "RNN": (5 * 2 * (3 * 4 + 3 * 3), 2 * 5 * 2 * 21 + 4 * 5 * 2 * 3),
    "Scan": (5 * 2 * 3 * 3, 5 * (2 * 2 * 3 * 3 + 2 * 3)),
    "MaxPool": (0, 2 * 6 * 4 * 9 * 6),
    "LRN": (0, 756 * 9),
    "Softmax": (0, 756 * 5),
    "BatchNormalization": (0, 756 * 2),
    "Relu": (0, 756),
    "ReduceMean": (0, 756),
    "Transpose": (0, 0),
}


@pytest.mark.parametrize("op_type", COUNTED)
def test_costs_are_those_counted_by_hand(op_type: str) -> None:
    model = model_of(op_type, CASES[op_type][0])
    assert cost.node_cost(model, model.graph.nodes[0]) == COUNTED[op_type]


def test_every_cost_rule_gives_numbers_where_shapes_are_known() -> None:
    shapeless = {"Not", "Cos", "Sin", "Round", "Sign", "Where", "Constant", "ConstantOfShape", "Expand", "OneHot",
                 "GatherElements", "NonZero", "Range", "Shape", "Size",
                 "LayerNormalization"}  # fmt: skip
    assert set(cost.cost) - shapeless <= set(CASES)
    for op_type in set(cost.cost) & set(CASES):
        model = model_of(op_type, CASES[op_type][0])
        if None not in (model.graph.value(model.graph.outputs[0]).shape or (None,)):
            assert None not in cost.node_cost(model, model.graph.nodes[0]), op_type


def test_unknown_figures_are_none_and_shared_weights_count_once() -> None:
    op = Builder("shared")
    w = op.weight("w", (4, 4))
    y = op.Gemm(op.Gemm(op.input("x", "float32", (2, 4)), w), w)
    summary = cost.summary(op.model([op.node("Odd", [y], domain="x")[0]]))
    assert summary.parameters == 16 and summary.macs == 32 and summary.flops is None
    assert [row.parameters for row in summary.rows] == [16, 16, 0]
    assert summary.activation_bytes is None and cost.total([1, None]) is None


def test_roles_are_judged_by_use() -> None:
    op = Builder("roles")
    x = op.input("x", "float32", (1, 4, 2))
    names = [op.weight(name, (4,), b"\0" * 16, role=None) for name in ("scale", "bias", "mean", "var")]
    y = op.BatchNormalization(x, *names)
    y = op.Reshape(y, op.constant([1, -1]))
    model = op.model([y])
    roles = cost.tensor_roles(model)
    assert [roles[name] for name in names] == ["parameter", "parameter", "buffer", "buffer"]
    assert cost.summary(model).parameters == 8 and cost.summary(model).buffers == 8


def test_table_finds_nothing_for_an_unknown_name() -> None:
    table: Table[Any] = Table("t")
    assert table.find("", "Conv") is None and list(table) == []
