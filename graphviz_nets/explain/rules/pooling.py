"""Pooling: what a window gave goes back to where it came from."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from graphviz_nets.explain.backward import Step, array, filled, mask, over, reshaped, vjp
from graphviz_nets.explain.rules.linear import sent_back, window
from graphviz_nets.graph.builder import Builder


@vjp("MaxPool")
def max_pool(op: Builder, s: Step) -> Sequence[str | None]:
    """ScatterElements to the places of the winners, which the pooling tells; the first of equals wins"""
    return [unpooled(op, s, s.g)]


def unpooled(op: Builder, s: Step, g: str) -> str:
    """Return a value of the output's shape at the places of the winners, added up where windows overlap."""
    if s.attribute("storage_order", 0):
        raise s.refused("storage_order 1")
    flat, x = op.constant([-1]), s.shape(s.x())
    zeros = filled(op, 0.0, [prod(x)])
    found = op.ScatterElements(zeros, op.Reshape(s.output(1), flat), op.Reshape(g, flat), axis=0, reduction="add")
    return reshaped(op, found, x)


@vjp("AveragePool")
def average_pool(op: Builder, s: Step) -> Sequence[str | None]:
    """ConvTranspose of g / n with ones, n the size of each window"""
    return [spread(op, s, op.Div(s.g, divisors(op, s)))]


def _reach(s: Step) -> tuple[list[int], list[int], list[int], list[int], list[int]]:
    rank = len(s.shape(s.x())) - 2
    return list(s.attribute("kernel_shape")), *window(s, rank)


def divisors(op: Builder, s: Step) -> str:
    """Return what each window is divided by, (1, 1, ...) in the output's spatial shape."""
    import numpy as np

    kernel, strides, dilations, begin, end = _reach(s)
    x, y = s.shape(s.x())[2:], s.shape(s.y)[2:]
    padded = bool(s.attribute("count_include_pad", 0))
    total = np.ones((1,) * len(x))
    for k, size in enumerate(y):
        starts = np.arange(size)[:, None] * strides[k] - begin[k]
        places = starts + np.arange(kernel[k]) * dilations[k]
        low, high = (-begin[k], x[k] + end[k]) if padded else (0, x[k])
        inside = ((places >= low) & (places < high)).sum(1)
        total = total * inside.reshape([-1 if j == k else 1 for j in range(len(x))])
    return array(op, f"{s.node.id}/divisors", total[None, None])


def spread(op: Builder, s: Step, g: str) -> str:
    """Return a value of the output's shape added to all places of its windows."""
    kernel, strides, dilations, begin, end = _reach(s)
    x, y = s.shape(s.x()), s.shape(s.y)
    # Rounding up lets the last window hang over the end: that is more padding there.
    end = [
        max(end[k], (y[2 + k] - 1) * strides[k] + (kernel[k] - 1) * dilations[k] + 1 - begin[k] - x[2 + k])
        for k in range(len(kernel))
    ]
    ones = filled(op, 1.0, [x[1], 1, *kernel])
    return sent_back(op, g, ones, x, (strides, dilations, begin, end), x[1])


@vjp("LpPool")
def lp_pool(op: Builder, s: Step) -> Sequence[str | None]:
    """sign(x) |x|^(p - 1), times ConvTranspose of g y^(1 - p) with ones"""
    p = float(s.attribute("p", 2))
    back = spread(op, s, over(op, s.g, op.Pow(s.y, op.scalar(p - 1))))
    return [op.Mul(op.Mul(op.Sign(s.x()), op.Pow(op.Abs(s.x()), op.scalar(p - 1))), back)]


@vjp("GlobalAveragePool")
def global_average_pool(op: Builder, s: Step) -> Sequence[str | None]:
    """g / n everywhere"""
    x = s.shape(s.x())
    return [op.Expand(op.Mul(s.g, op.scalar(1 / prod(x[2:]))), op.constant(x))]


@vjp("GlobalMaxPool")
def global_max_pool(op: Builder, s: Step) -> Sequence[str | None]:
    """g to the winner, in equal shares to several"""
    won = mask(op, op.Equal(s.x(), s.y))
    total = op.ReduceSum(won, op.constant(list(range(2, len(s.shape(s.x()))))))
    return [op.Mul(won, op.Div(s.g, total))]


@vjp("GlobalLpPool")
def global_lp_pool(op: Builder, s: Step) -> Sequence[str | None]:
    """g sign(x) |x|^(p - 1) y^(1 - p)"""
    p = op.scalar(float(s.attribute("p", 2)) - 1)
    return [op.Mul(op.Mul(op.Sign(s.x()), op.Pow(op.Abs(s.x()), p)), over(op, s.g, op.Pow(s.y, p)))]


@vjp("MaxUnpool")
def max_unpool(op: Builder, s: Step) -> Sequence[str | None]:
    """Gather from the places"""
    flat = op.Reshape(s.g, op.constant([-1]))
    return [reshaped(op, op.Gather(flat, op.Reshape(s.x(1), op.constant([-1]))), s.shape(s.x())), None, None]
