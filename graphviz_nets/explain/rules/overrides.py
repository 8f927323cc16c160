"""Tables that are laid over the exact rules: what methods propagate in place of the gradient."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import replace

from graphviz_nets.errors import NoRule
from graphviz_nets.explain.backward import Rule, Step, array, constant, mask, over, unbroadcast
from graphviz_nets.explain.rules import VJP
from graphviz_nets.explain.rules.pooling import unpooled
from graphviz_nets.graph.builder import Builder

ACTIVATIONS = (
    "Relu", "LeakyRelu", "PRelu", "Elu", "Celu", "Selu", "ThresholdedRelu", "Clip", "Sigmoid", "HardSigmoid",
    "HardSwish", "Swish", "Mish", "Gelu", "Tanh", "Softplus", "Softsign", "Erf", "Exp", "Log", "Sqrt", "Abs",
)  # fmt: skip
"""Operations on single elements that are no linear maps."""
RECTIFIERS = ("Relu", "Clip")
"""What guided backprop and deconvnets treat; of a Clip only one that rectifies, such as a Relu6."""

# Guided backprop and deconvnet --------------------------------------------------------------------------------------


def _rectifies(op: Builder, s: Step) -> bool:
    low = constant(op, s.x(1)) if s.node.op_type == "Clip" and s.given(1) else None
    return s.node.op_type == "Relu" or (low is not None and float(low.reshape(-1)[0]) == 0)


def guided_relu(op: Builder, s: Step) -> Sequence[str | None]:
    """g [y' > 0] [g > 0] (Springenberg et al. 2014)"""
    exact = VJP[s.node.op_type](op, s)
    return [op.Relu(exact[0]) if exact[0] else None, *exact[1:]] if _rectifies(op, s) else exact


def deconv_relu(op: Builder, s: Step) -> Sequence[str | None]:
    """g [g > 0], whatever the forward pass did (Zeiler and Fergus 2013)"""
    return [op.Relu(s.g), None, None] if _rectifies(op, s) else VJP[s.node.op_type](op, s)


GUIDED: Mapping[str, Rule] = ChainMap(dict.fromkeys(RECTIFIERS, guided_relu), VJP)
DECONV: Mapping[str, Rule] = ChainMap(dict.fromkeys(RECTIFIERS, deconv_relu), VJP)

# DeepLIFT, Rescale rule (Shrikumar et al. 2017) ------------------------------------------------------------------


def _twin(s: Step, name: str) -> str:
    """Return a value's counterpart at the baseline, itself where it does not depend on the input."""
    return s.twin.get(name, name)


def rescale(op: Builder, s: Step) -> Sequence[str | None]:
    """g dy / dx where x differs from the baseline's, else the derivative"""
    exact = VJP[s.node.op_type](op, s)
    rise, run = op.Sub(s.y, _twin(s, s.y)), op.Sub(s.x(), _twin(s, s.x()))
    moved = op.Greater(op.Abs(run), op.scalar(1e-10))
    slope = op.Div(rise, op.Where(moved, run, op.scalar(1.0)))
    return [op.Where(moved, op.Mul(s.g, slope), exact[0] or op.scalar(0.0)), *[None] * (len(s.node.inputs) - 1)]


def rescale_product(op: Builder, s: Step) -> Sequence[str | None]:
    """g times the mean of the other factor here and at the baseline, which splits the difference exactly"""
    first, second = s.x(0), s.x(1)
    both = [op.Mul(op.Add(name, _twin(s, name)), op.scalar(0.5)) for name in (first, second)]
    middle = replace(s, node=replace(s.node, inputs=tuple(both)))
    op.declare(middle.node)
    return VJP[s.node.op_type](op, middle)


def rescale_max_pool(op: Builder, s: Step) -> Sequence[str | None]:
    """g (max(y, y') - y') to the winners here and g (y - max(y, y')) to those at the baseline, over dx"""
    y, base = s.y, _twin(s, s.y)
    top = op.Max(y, base)
    other = next(node for node in op.nodes if base in node.outputs)
    there = replace(s, node=other)
    won = unpooled(op, s, op.Mul(s.g, op.Sub(top, base)))
    lost = unpooled(op, there, op.Mul(s.g, op.Sub(y, top)))
    run = op.Sub(s.x(), _twin(s, s.x()))
    moved = op.Greater(op.Abs(run), op.scalar(1e-7))
    ratio = op.Div(op.Add(won, lost), op.Where(moved, run, op.scalar(1.0)))
    return [op.Where(moved, ratio, unpooled(op, s, s.g))]


RESCALE: Mapping[str, Rule] = ChainMap(
    dict.fromkeys(ACTIVATIONS, rescale),
    {"MaxPool": rescale_max_pool, "Mul": rescale_product, "MatMul": rescale_product},
    VJP,
)

# Layer-wise relevance propagation (Bach et al. 2015) -----------------------------------------------------------------

EPSILON = 1e-6


def _stable(op: Builder, z: str, epsilon: float) -> str:
    """Return z moved away from 0 by epsilon."""
    sign = op.Sub(op.Mul(mask(op, op.GreaterOrEqual(z, op.scalar(0.0))), op.scalar(2.0)), op.scalar(1.0))
    return op.Add(z, op.Mul(sign, op.scalar(epsilon)))


def shared_out(op: Builder, s: Step) -> Sequence[str | None]:
    """x times the gradient of R / z: each input gets what it contributed; both factors of a product get half"""
    g = op.Mul(s.g, op.scalar(0.5)) if s.node.op_type in ("MatMul", "Gemm") and all(s.wanted[:2]) else s.g
    s = replace(s, grads=(op.Div(g, _stable(op, s.y, EPSILON)), *s.grads[1:]))
    found = VJP[s.node.op_type](op, s)
    return [
        unbroadcast(op, op.Mul(s.x(k), one), s.shape(s.x(k))) if one and s.wanted[k] else None
        for k, one in enumerate(found)
    ]


def passed(op: Builder, s: Step) -> Sequence[str | None]:
    """R as it is"""
    return [s.g, *[None] * (len(s.node.inputs) - 1)]


def product(op: Builder, s: Step) -> Sequence[str | None]:
    """R to the one factor that depends on the input, half to each of two"""
    both = all(s.wanted[:2])
    part = op.Mul(s.g, op.scalar(0.5)) if both else s.g
    return [unbroadcast(op, part, s.shape(s.x(k))) if s.wanted[k] else None for k in range(2)]


def _signed(op: Builder, name: str, sign: int) -> str:
    """Return the positive or the negative part of a constant."""
    import numpy as np

    values = constant(op, name)
    if values is None:
        raise NoRule(f"weights that are computed ({name})", "lrp")
    key = f"{name}/{'positive' if sign > 0 else 'negative'}"
    return (
        key if key in op.initializers else array(op, key, np.maximum(values, 0) if sign > 0 else np.minimum(values, 0))
    )


def _half(op: Builder, x: str, sign: int) -> str:
    return op.Relu(x) if sign > 0 else op.Min(x, op.scalar(0.0))


def _linear(s: Step) -> bool:
    """Say whether a node is a linear map of its first input with constant weights."""
    return s.wanted[0] and not any(s.wanted[1:])


def _parts(op: Builder, s: Step, sign: int) -> tuple[str, list[tuple[str, Step]]]:
    """Return what a linear map makes of the contributions of one sign, and the maps that make it."""
    weights, bias = s.x(1), s.x(2) if s.given(2) else ""
    total, maps = "", []
    for x_sign in (1, -1):
        x = _half(op, s.x(), x_sign)
        rest = [_signed(op, bias, sign)] if bias and x_sign == 1 else []
        (y,) = op.node(s.node.op_type, [x, _signed(op, weights, sign * x_sign), *rest], attributes=s.node.attributes,
                       known=[("float32", op.shape(s.y))])  # fmt: skip
        maps.append((x, replace(s, node=op.nodes[-1])))
        total = op.Add(total, y) if total else y
    return total, maps


def _sent(op: Builder, maps: list[tuple[str, Step]], ratio: str) -> str:
    total = ""
    for x, s in maps:
        (back, *_) = VJP[s.node.op_type](op, replace(s, grads=(ratio,), wanted=(True, *s.wanted[1:])))
        part = op.Mul(x, back or "")
        total = op.Add(total, part) if total else part
    return total


def alpha_beta(alpha: float, beta: float) -> Rule:
    """Return the rule that treats positive and negative contributions apart; (1, 0) is the z+ rule."""

    def rule(op: Builder, s: Step) -> Sequence[str | None]:
        if not _linear(s):
            return shared_out(op, s)
        total = ""
        for factor, sign in ((alpha, 1), (-beta, -1)):
            if factor:
                z, maps = _parts(op, s, sign)
                part = op.Mul(_sent(op, maps, over(op, s.g, z)), op.scalar(factor))
                total = op.Add(total, part) if total else part
        return [total, *[None] * (len(s.node.inputs) - 1)]

    return rule


def gamma(amount: float) -> Rule:
    """Return the rule that favours what agrees with the output: w + gamma w+ (Montavon et al. 2019).

    For negative inputs and outputs the favoured sign is the other one, as in zennit.
    """

    def favoured(op: Builder, name: str, sign: int) -> str:
        return op.Add(name, op.Mul(_signed(op, name, sign), op.scalar(amount)))

    def rule(op: Builder, s: Step) -> Sequence[str | None]:
        if not _linear(s):
            return shared_out(op, s)
        total = ""
        for sign in (1, -1):
            z, maps = "", []
            for x_sign in (1, -1):
                x = _half(op, s.x(), x_sign)
                rest = [favoured(op, s.x(2), sign)] if s.given(2) and x_sign == 1 else []
                (y,) = op.node(s.node.op_type, [x, favoured(op, s.x(1), sign * x_sign), *rest],
                               attributes=s.node.attributes, known=[("float32", op.shape(s.y))])  # fmt: skip
                maps.append((x, replace(s, node=op.nodes[-1])))
                z = op.Add(z, y) if z else y
            zero = op.scalar(0.0)
            here = mask(op, op.Greater(s.y, zero) if sign > 0 else op.Less(s.y, zero))
            part = _sent(op, maps, op.Mul(here, op.Div(s.g, _stable(op, z, EPSILON))))
            total = op.Add(total, part) if total else part
        return [total, *[None] * (len(s.node.inputs) - 1)]

    return rule


def flat(op: Builder, s: Step) -> Sequence[str | None]:
    """R in equal shares to all inputs of an output"""
    import numpy as np

    values = constant(op, s.x(1))
    if not _linear(s) or values is None:
        return shared_out(op, s)
    key = f"{s.x(1)}/ones"
    ones = key if key in op.initializers else array(op, key, np.ones(values.shape))
    x = op.Add(op.Mul(s.x(), op.scalar(0.0)), op.scalar(1.0))
    (z,) = op.node(s.node.op_type, [x, ones], attributes=s.node.attributes, known=[("float32", op.shape(s.y))])
    there = replace(s, node=op.nodes[-1])
    return [_sent(op, [(x, there)], over(op, s.g, z)), *[None] * (len(s.node.inputs) - 1)]


def first_layer(rule: Rule, others: Rule) -> Rule:
    """Return a rule for the layers that read an input, or a part of it, and another for the rest."""

    def read(op: Builder, name: str) -> bool:
        maker = next((node for node in op.nodes if name in node.outputs), None)
        return (
            name in op.inputs if maker is None else maker.op_type in ("Slice", "Reshape") and read(op, maker.inputs[0])
        )

    return lambda op, s: (rule if read(op, s.x()) else others)(op, s)


MOVES = (
    "Reshape Flatten Squeeze Unsqueeze Transpose Concat Split Expand Tile Slice Pad Gather GatherElements GatherND "
    "DepthToSpace SpaceToDepth MaxPool GlobalMaxPool ReduceMax MaxUnpool Identity Dropout Cast Sub Neg"
).split()


def lrp(convolutions: Rule, dense: Rule = shared_out) -> Mapping[str, Rule]:
    """Return a table for relevance in place of gradients; an operation that it does not have cannot be crossed."""
    table: dict[str, Rule] = {name: VJP[name] for name in MOVES}
    table |= dict.fromkeys((*ACTIVATIONS, "LRN", "InstanceNormalization", "LayerNormalization"), passed)
    sums = ("Add", "Sum", "Mean", "AveragePool", "GlobalAveragePool", "ReduceMean", "ReduceSum")
    table |= dict.fromkeys(sums, shared_out)
    table |= {"Resize": shared_out, "BatchNormalization": shared_out, "Mul": product, "Div": passed}
    return table | {"Conv": convolutions, "ConvTranspose": convolutions, "Gemm": dense, "MatMul": dense}


COMPOSITES: Mapping[str, Mapping[str, Rule]] = {
    "epsilon": lrp(shared_out),
    "epsilon-plus": lrp(alpha_beta(1, 0)),
    "epsilon-plus-flat": lrp(first_layer(flat, alpha_beta(1, 0))),
    "epsilon-gamma": lrp(gamma(0.25)),
    "epsilon-alpha2-beta1": lrp(alpha_beta(2, 1)),
    "epsilon-alpha2-beta1-flat": lrp(first_layer(flat, alpha_beta(2, 1))),
}
"""Rules for convolutions, then the epsilon rule for dense layers (Kohlbrenner et al. 2020)."""
