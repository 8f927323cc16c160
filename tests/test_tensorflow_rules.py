"""Shapes, types and costs of the domain ``tf`` against TensorFlow's own static shapes and operation counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from graphviz_nets.api import load
from graphviz_nets.converters import tensorflow_rules as rules
from graphviz_nets.converters.tensorflow_graph import DTYPES
from graphviz_nets.graph.cost import node_cost

from .cases.tensorflow import MAKES

CASES = [(name, k) for name, makes in MAKES.items() for k in range(len(makes))]


def test_every_rule_has_a_case() -> None:
    assert set(rules.shape) | set(rules.cost) == set(MAKES)


def test_every_rule_says_what_it_does() -> None:
    assert all((rule.__doc__ or "").strip() for rule in rules.shape.rules.values())


@pytest.mark.parametrize(("name", "k"), CASES, ids=[f"{name}-{k}" for name, k in CASES])
def test_rule_gives_tensorflows_shapes(name: str, k: int, need: Any) -> None:
    tf = need("tensorflow")
    need("tensorboard")
    ops = need("tensorflow.python.framework.ops")
    with tf.Graph().as_default() as graph:

        def x(*dims: int, dtype: str = "float32") -> Any:
            return tf.compat.v1.placeholder(dtype, dims)

        MAKES[name][k](tf, tf.raw_ops, x)
        (op,) = [op for op in graph.get_operations() if op.type == name]
        flops = ops.get_stats_for_node_def(graph, op.node_def, "flops").value if op.outputs else None
    model = load(Path("graph.pb"), data=graph.as_graph_def().SerializeToString())
    node = model.graph.by_id[op.name]
    for j, tensor in enumerate(op.outputs):
        value = model.graph.value(op.name if j == 0 else f"{op.name}:{j}")
        if j and value.shape is None:
            continue  # a result that nobody reads is not in the file
        if tensor.shape.rank is not None and not (name.startswith("FusedBatchNorm") and j > 2):
            assert value.shape == tuple(tensor.shape.as_list())
        assert value.dtype == DTYPES[tensor.dtype.as_datatype_enum]
    if name not in rules.cost:
        return
    macs, _ = node_cost(model, node)
    assert macs is not None
    wrong = name in ("Conv2DBackpropInput", "Conv3DBackpropInputV2") or node.attributes.get("adj_x")
    if macs and flops and not wrong:  # it counts these as if they were not transposed
        assert 2 * macs == flops  # TensorFlow counts a product and a sum as two


def test_costs_that_tensorflow_does_not_count() -> None:
    """By hand: a transposed convolution is its inputs times the kernel; an LSTM its steps times its weights."""
    from graphviz_nets.graph.ir import Node, Value

    x, w = Value("x", "float32", (2, 7, 9, 4)), Value("w", "float32", (3, 3, 5, 4))
    node = Node("Conv2DBackpropInput", domain="tf")
    assert rules.cost.rules["Conv2DBackpropInput"](node, [None, w, x], [])[0] == 2 * 7 * 9 * 4 * 3 * 3 * 5
    inputs = [None, Value("x", "float32", (7, 2, 3)), None, None, Value("w", "float32", (7, 16))]
    assert rules.cost.rules["BlockLSTM"](Node("BlockLSTM", domain="tf"), inputs, [])[0] == 7 * 2 * 7 * 16
