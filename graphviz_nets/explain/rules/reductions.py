"""Reductions: what came from many goes back to all of them."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from graphviz_nets.explain.backward import Step, mask, over, vjp
from graphviz_nets.graph.builder import Builder


def axes_of(s: Step) -> list[int]:
    """Return the axes that are reduced, from the front."""
    rank = len(s.shape(s.x()))
    given = s.numbers(1) if s.given(1) else list(s.attribute("axes", ()))
    if not given:
        return [] if s.attribute("noop_with_empty_axes", 0) else list(range(rank))
    return sorted(axis % rank for axis in given)


def kept(op: Builder, s: Step, value: str) -> str:
    """Return a value of the output's shape with the reduced axes as ones."""
    axes = axes_of(s)
    return op.Unsqueeze(value, op.constant(axes)) if axes and not s.attribute("keepdims", 1) else value


def back(op: Builder, s: Step, value: str) -> str:
    """Return a value of the output's shape at the input's size."""
    return op.Expand(kept(op, s, value), op.constant(s.shape(s.x())))


def size(s: Step) -> int:
    """Return how many elements become one."""
    return prod(s.shape(s.x())[axis] for axis in axes_of(s))


@vjp("ReduceSum")
def reduce_sum(op: Builder, s: Step) -> Sequence[str | None]:
    """g everywhere"""
    return [back(op, s, s.g), None]


@vjp("ReduceMean")
def reduce_mean(op: Builder, s: Step) -> Sequence[str | None]:
    """g / n everywhere"""
    return [back(op, s, op.Mul(s.g, op.scalar(1 / size(s)))), None]


@vjp("ReduceMax", "ReduceMin")
def reduce_extreme(op: Builder, s: Step) -> Sequence[str | None]:
    """g to the winner, in equal shares to several"""
    won = mask(op, op.Equal(s.x(), kept(op, s, s.y)))
    axes = axes_of(s)
    total = op.ReduceSum(won, op.constant(axes)) if axes else won
    return [op.Mul(won, op.Div(kept(op, s, s.g), total)), None]


@vjp("ReduceL1")
def reduce_l1(op: Builder, s: Step) -> Sequence[str | None]:
    """g sign(x)"""
    return [op.Mul(op.Sign(s.x()), kept(op, s, s.g)), None]


@vjp("ReduceL2")
def reduce_l2(op: Builder, s: Step) -> Sequence[str | None]:
    """g x / y, 0 at 0"""
    return [op.Mul(s.x(), kept(op, s, over(op, s.g, s.y))), None]


@vjp("ReduceSumSquare")
def reduce_sum_square(op: Builder, s: Step) -> Sequence[str | None]:
    """2 g x"""
    return [op.Mul(s.x(), kept(op, s, op.Mul(s.g, op.scalar(2.0)))), None]


@vjp("ReduceLogSum")
def reduce_log_sum(op: Builder, s: Step) -> Sequence[str | None]:
    """g exp(-y) everywhere"""
    return [back(op, s, op.Mul(s.g, op.Exp(op.Neg(s.y)))), None]


@vjp("ReduceLogSumExp")
def reduce_log_sum_exp(op: Builder, s: Step) -> Sequence[str | None]:
    """g exp(x - y)"""
    return [op.Mul(op.Exp(op.Sub(s.x(), kept(op, s, s.y))), kept(op, s, s.g)), None]


@vjp("ReduceProd")
def reduce_prod(op: Builder, s: Step) -> Sequence[str | None]:
    """g y / x; the product of the others where x is 0 is not known, and taken as 0"""
    return [over(op, op.Mul(kept(op, s, s.g), kept(op, s, s.y)), s.x()), None]


@vjp("CumSum")
def cum_sum(op: Builder, s: Step) -> Sequence[str | None]:
    """CumSum from the other end"""
    return [
        op.CumSum(s.g, s.x(1), exclusive=s.attribute("exclusive", 0), reverse=1 - s.attribute("reverse", 0)), None,
    ]  # fmt: skip
