"""Costs of PyTorch's own operations (the domain ``aten``), by the shapes of their inputs and outputs."""

from __future__ import annotations

from collections.abc import Sequence

from graphviz_nets.graph.cost import Rule, Typed
from graphviz_nets.graph.ir import Node, Value, count
from graphviz_nets.graph.rules import Table

cost: Table[Rule] = Table("cost")


def _times(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else a * b


@cost("conv1d", "conv2d", "conv3d", "convolution", "_convolution")
def convolution(node: Node, inputs: Sequence[Typed], outputs: Sequence[Value]) -> tuple[int | None, int | None]:
    """Outputs times the weight's size per output channel; of a transposed one, inputs times that per input channel."""
    weight = inputs[1].shape if inputs[1] is not None else None
    side = inputs[0] if node.attributes.get("transposed") else outputs[0]
    macs = _times(count(side.shape) if side is not None else None, count(weight[1:]) if weight else None)
    return macs, None if macs is None else 2 * macs


@cost("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def transposed(node: Node, inputs: Sequence[Typed], outputs: Sequence[Value]) -> tuple[int | None, int | None]:
    """Inputs times the weight's size per input channel."""
    weight = inputs[1].shape if inputs[1] is not None else None
    macs = _times(count(inputs[0].shape) if inputs[0] is not None else None, count(weight[1:]) if weight else None)
    return macs, None if macs is None else 2 * macs


@cost("linear", "mm", "bmm", "matmul", "addmm", "baddbmm")
def product(node: Node, inputs: Sequence[Typed], outputs: Sequence[Value]) -> tuple[int | None, int | None]:
    """Outputs times the inner size, which is the last of the first factor."""
    first = inputs[1 if node.op_type in ("addmm", "baddbmm") else 0]
    inner = first.shape[-1] if first is not None and first.shape else None
    macs = _times(count(outputs[0].shape), inner if isinstance(inner, int) else None)
    return macs, None if macs is None else 2 * macs


@cost("scaled_dot_product_attention", "_scaled_dot_product_flash_attention_for_cpu")
def attention(node: Node, inputs: Sequence[Typed], outputs: Sequence[Value]) -> tuple[int | None, int | None]:
    """Queries times keys times the width, once for the scores and once for the sum."""
    query, key = (value.shape if value is not None else None for value in inputs[:2])
    macs = _times(count(query), key[-2] if key and len(key) > 1 and isinstance(key[-2], int) else None)
    macs = _times(macs, 2)
    return macs, None if macs is None else 2 * macs


@cost("lstm", "gru", "rnn_tanh", "rnn_relu", "_native_multi_head_attention", "einsum")
def unknown(node: Node, inputs: Sequence[Typed], outputs: Sequence[Value]) -> tuple[int | None, int | None]:
    """Products that the arguments at hand do not tell: not known, rather than none."""
    return None, None
