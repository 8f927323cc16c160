"""Normalizations and softmax: the gradient through the statistics as well."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from graphviz_nets.explain.backward import Step, array, constant, over, unbroadcast, vjp
from graphviz_nets.graph.builder import Builder


def _channels(op: Builder, s: Step, name: str) -> str:
    """Return a value of shape (C) ready to meet (N, C, ...)."""
    return op.Reshape(name, op.constant([1, -1, *(1,) * (len(s.shape(s.x())) - 2)]))


@vjp("BatchNormalization")
def batch_normalization(op: Builder, s: Step) -> Sequence[str | None]:
    """g scale / sqrt(variance + epsilon), with the stored statistics"""
    import numpy as np

    if s.attribute("training_mode", 0):
        raise s.refused("training_mode")
    scale, variance, eps = constant(op, s.x(1)), constant(op, s.x(4)), s.attribute("epsilon", 1e-5)
    if scale is not None and variance is not None:
        factor = array(op, f"{s.node.id}/factor", scale.astype("f8") / np.sqrt(variance.astype("f8") + eps))
    else:
        factor = op.Div(s.x(1), op.Sqrt(op.Add(s.x(4), op.scalar(eps))))
    centred = op.Sub(s.x(), _channels(op, s, s.x(3)))
    axes = op.constant([0, *range(2, len(s.shape(s.x())))])
    inner = op.Sqrt(op.Add(s.x(4), op.scalar(eps)))
    return [
        op.Mul(s.g, _channels(op, s, factor)) if s.wanted[0] else None,
        op.Div(op.ReduceSum(op.Mul(s.g, centred), axes, keepdims=0), inner) if s.wanted[1] else None,
        op.ReduceSum(s.g, axes, keepdims=0) if s.wanted[2] else None,
        None,
        None,
    ]


def _normalized(op: Builder, g: str, x: str, axes: Sequence[int], eps: float, mean: bool = True) -> str:
    """Return the gradient through (x - mean) / sqrt(variance + eps): r (g - mean g - x^ mean(g x^))."""
    over_axes = op.constant(list(axes))
    centred = op.Sub(x, op.ReduceMean(x, over_axes)) if mean else x
    variance = op.ReduceMean(op.Mul(centred, centred), over_axes)
    r = op.Reciprocal(op.Sqrt(op.Add(variance, op.scalar(eps))))
    unit = op.Mul(centred, r)
    inner = op.Mul(unit, op.ReduceMean(op.Mul(g, unit), over_axes))
    rest = op.Sub(g, inner)
    return op.Mul(r, op.Sub(rest, op.ReduceMean(g, over_axes)) if mean else rest)


@vjp("InstanceNormalization")
def instance_normalization(op: Builder, s: Step) -> Sequence[str | None]:
    """r (g' - mean g' - x^ mean(g' x^)) over space, with g' = g scale"""
    axes = list(range(2, len(s.shape(s.x()))))
    g = op.Mul(s.g, _channels(op, s, s.x(1)))
    return [_normalized(op, g, s.x(), axes, s.attribute("epsilon", 1e-5)), None, None]


@vjp("GroupNormalization")
def group_normalization(op: Builder, s: Step) -> Sequence[str | None]:
    """the same over the channels of a group and space; the scale is one a channel (opset 21) or a group (18)"""
    x = s.shape(s.x())
    groups = int(s.attribute("num_groups"))
    scale = s.x(1)
    if s.shape(scale) == (groups,) and groups != x[1]:
        scale = op.Reshape(op.Expand(op.Unsqueeze(scale, op.constant([1])), op.constant([groups, x[1] // groups])),
                           op.constant([-1]))  # fmt: skip
    g = op.Mul(s.g, _channels(op, s, scale))
    split = op.constant([x[0], groups, prod(x[1:]) // groups])
    found = _normalized(op, op.Reshape(g, split), op.Reshape(s.x(), split), [2], s.attribute("epsilon", 1e-5))
    return [op.Reshape(found, op.constant(x)), None, None]


@vjp("LayerNormalization")
def layer_normalization(op: Builder, s: Step) -> Sequence[str | None]:
    """the same over the last axes, with the statistics that the node tells; g x^ and g for scale and bias"""
    rank = len(s.shape(s.x()))
    axes = op.constant(list(range(s.attribute("axis", -1) % rank, rank)))
    unit = op.Mul(op.Sub(s.x(), s.output(1)), s.output(2))
    g = op.Mul(s.g, s.x(1)) if s.given(1) else s.g
    rest = op.Sub(op.Sub(g, op.ReduceMean(g, axes)), op.Mul(unit, op.ReduceMean(op.Mul(g, unit), axes)))
    return [
        op.Mul(s.output(2), rest),
        unbroadcast(op, op.Mul(s.g, unit), s.shape(s.x(1))) if s.wanted[1:2] == (True,) else None,
        unbroadcast(op, s.g, s.shape(s.x(2))) if s.wanted[2:3] == (True,) else None,
    ]


@vjp("RMSNormalization")
def rms_normalization(op: Builder, s: Step) -> Sequence[str | None]:
    """r (g' - x^ mean(g' x^)), with g' = g scale"""
    rank = len(s.shape(s.x()))
    axes = range(s.attribute("axis", -1) % rank, rank)
    return [_normalized(op, op.Mul(s.g, s.x(1)), s.x(), axes, s.attribute("epsilon", 1e-5), mean=False), None]


@vjp("MeanVarianceNormalization")
def mean_variance_normalization(op: Builder, s: Step) -> Sequence[str | None]:
    """as an InstanceNormalization without scale, over `axes`"""
    return [_normalized(op, s.g, s.x(), s.attribute("axes", (0, 2, 3)), 1e-18)]


@vjp("LpNormalization")
def lp_normalization(op: Builder, s: Step) -> Sequence[str | None]:
    """(g - d sum(g y)) / |x|, with d = y or sign(x)"""
    x, axes, p = s.x(), op.constant([s.attribute("axis", -1)]), s.attribute("p", 2)
    length = op.ReduceL1(x, axes) if p == 1 else op.ReduceL2(x, axes)
    direction = op.Sign(x) if p == 1 else s.y
    inner = op.ReduceSum(op.Mul(s.g, s.y), axes)
    return [over(op, op.Sub(s.g, op.Mul(direction, inner)), length)]


@vjp("LRN")
def lrn(op: Builder, s: Step) -> Sequence[str | None]:
    """g S^-beta - 2 alpha beta / size x Conv(g y / S) over the window's channels, S = bias + alpha / size Conv(x^2)"""
    import numpy as np

    x, size = s.shape(s.x()), int(s.attribute("size"))
    alpha, beta, bias = s.attribute("alpha", 1e-4), s.attribute("beta", 0.75), s.attribute("bias", 1.0)
    # Channel c is normalized by those from c - floor((size - 1) / 2) to c + ceil((size - 1) / 2).
    reach = np.arange(x[1])[None] - np.arange(x[1])[:, None]
    band = ((reach >= -((size - 1) // 2)) & (reach <= size // 2)).astype("f4")
    ones = (1,) * (len(x) - 2)
    there = array(op, f"{s.node.id}/band", band.reshape(x[1], x[1], *ones))
    home = array(op, f"{s.node.id}/band_back", band.T.reshape(x[1], x[1], *ones))
    total = op.Conv(op.Mul(s.x(), s.x()), there)
    root = op.Add(op.Mul(total, op.scalar(alpha / size)), op.scalar(bias))
    direct = op.Mul(s.g, op.Pow(root, op.scalar(-beta)))
    around = op.Conv(op.Div(op.Mul(s.g, s.y), root), home)
    return [op.Sub(direct, op.Mul(op.Mul(s.x(), around), op.scalar(2 * alpha * beta / size)))]


@vjp("Softmax")
def softmax(op: Builder, s: Step) -> Sequence[str | None]:
    """y (g - sum(g y))"""
    inner = op.ReduceSum(op.Mul(s.g, s.y), op.constant([s.attribute("axis", -1)]))
    return [op.Mul(s.y, op.Sub(s.g, inner))]


@vjp("LogSoftmax")
def log_softmax(op: Builder, s: Step) -> Sequence[str | None]:
    """g - exp(y) sum(g)"""
    total = op.ReduceSum(s.g, op.constant([s.attribute("axis", -1)]))
    return [op.Sub(s.g, op.Mul(op.Exp(s.y), total))]
