"""Operations on every element: the gradient is the incoming one times the derivative, in closed form.

At a kink the derivative is that of the flatter side: 0 at the ends of a Clip and at 0 of a Relu, as torch has them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import pi, sqrt

from graphviz_nets.explain.backward import Step, constant, mask, over, unbroadcast, vjp
from graphviz_nets.graph.builder import Builder

STEEP = 1e38
"""A slope at which what is larger than 0 is 1, but for numbers that float32 hardly has."""
Derivative = Callable[[Builder, Step], str]


def unary(*op_types: str) -> Callable[[Derivative], Derivative]:
    """Register the derivative of an operation with one differentiable input."""

    def register(derivative: Derivative) -> Derivative:
        def rule(op: Builder, s: Step) -> Sequence[str | None]:
            return [op.Mul(s.g, derivative(op, s))]

        rule.__doc__ = derivative.__doc__
        vjp(*op_types)(rule)
        return derivative

    return register


def number(op: Builder, s: Step, name: str, default: float) -> str:
    """Return a float attribute as a value."""
    return op.scalar(float(s.attribute(name, default)))


@vjp("Identity", "Dropout")
def identity(op: Builder, s: Step) -> Sequence[str | None]:
    """g"""
    return [s.g]


@vjp("Cast", "CastLike")
def cast(op: Builder, s: Step) -> Sequence[str | None]:
    """g in the input's type; nothing through integers"""
    return [op.CastLike(s.g, s.x())]


@vjp("Neg")
def neg(op: Builder, s: Step) -> Sequence[str | None]:
    """-g"""
    return [op.Neg(s.g)]


@unary("Relu")
def relu(op: Builder, s: Step) -> str:
    """[y > 0], from the output, so that the forward pass keeps its fusions; as one operation, a line cut off at 1"""
    return op.HardSigmoid(s.y, alpha=STEEP, beta=0.0)


@vjp("Clip")
def clip(op: Builder, s: Step) -> Sequence[str | None]:
    """g [min < y < max], from the output as for Relu"""
    inside = [op.Greater(s.y, s.x(1))] if s.given(1) else []
    inside += [op.Less(s.y, s.x(2))] if s.given(2) else []
    if not inside:
        return [s.g]
    return [op.Mul(s.g, mask(op, op.And(*inside) if len(inside) > 1 else inside[0])), None, None]


def _sides(op: Builder, s: Step, below: str, above: str | None = None, at: float = 0.0) -> str:
    """Return one derivative where x > `at`, another elsewhere."""
    return op.Where(op.Greater(s.x(), op.scalar(at)), above or op.scalar(1.0), below)


@unary("LeakyRelu")
def leaky_relu(op: Builder, s: Step) -> str:
    """1 or alpha"""
    return _sides(op, s, number(op, s, "alpha", 0.01))


@vjp("PRelu")
def prelu(op: Builder, s: Step) -> Sequence[str | None]:
    """1 or the slope; for the slope g min(x, 0)"""
    slope = None
    if s.wanted[1]:
        slope = unbroadcast(op, op.Mul(s.g, op.Min(s.x(), op.scalar(0.0))), s.shape(s.x(1)))
    return [op.Mul(s.g, _sides(op, s, s.x(1))), slope]


@unary("Elu")
def elu(op: Builder, s: Step) -> str:
    """1 or y + alpha"""
    return _sides(op, s, op.Add(s.y, number(op, s, "alpha", 1.0)))


@unary("Celu")
def celu(op: Builder, s: Step) -> str:
    """1 or exp(x / alpha)"""
    return _sides(op, s, op.Exp(op.Div(op.Min(s.x(), op.scalar(0.0)), number(op, s, "alpha", 1.0))))


@unary("Selu")
def selu(op: Builder, s: Step) -> str:
    """gamma or y + gamma alpha"""
    alpha, gamma = s.attribute("alpha", 1.6732631921768188), s.attribute("gamma", 1.0507010221481323)
    return _sides(op, s, op.Add(s.y, op.scalar(alpha * gamma)), op.scalar(gamma))


@unary("ThresholdedRelu")
def thresholded_relu(op: Builder, s: Step) -> str:
    """[x > alpha]"""
    return mask(op, op.Greater(s.x(), number(op, s, "alpha", 1.0)))


@unary("Sigmoid")
def sigmoid(op: Builder, s: Step) -> str:
    """y (1 - y)"""
    return op.Mul(s.y, op.Sub(op.scalar(1.0), s.y))


@unary("HardSigmoid")
def hard_sigmoid(op: Builder, s: Step) -> str:
    """alpha [0 < y < 1]"""
    inside = op.And(op.Greater(s.y, op.scalar(0.0)), op.Less(s.y, op.scalar(1.0)))
    return op.Mul(mask(op, inside), number(op, s, "alpha", 0.2))


@unary("HardSwish")
def hard_swish(op: Builder, s: Step) -> str:
    """h + x / 6 [0 < h < 1], with h = clip(x / 6 + 1 / 2, 0, 1)"""
    sixth = op.scalar(1 / 6)
    line = op.Add(op.Mul(s.x(), sixth), op.scalar(0.5))
    inside = mask(op, op.And(op.Greater(line, op.scalar(0.0)), op.Less(line, op.scalar(1.0))))
    return op.Add(op.Clip(line, op.scalar(0.0), op.scalar(1.0)), op.Mul(op.Mul(s.x(), sixth), inside))


@unary("Swish")
def swish(op: Builder, s: Step) -> str:
    """a y + p (1 - a y), with p = sigmoid(a x)"""
    alpha = number(op, s, "alpha", 1.0)
    p, ay = op.Sigmoid(op.Mul(s.x(), alpha)), op.Mul(s.y, alpha)
    return op.Add(ay, op.Mul(p, op.Sub(op.scalar(1.0), ay)))


@unary("Mish")
def mish(op: Builder, s: Step) -> str:
    """t + x p (1 - t^2), with t = tanh(softplus(x)), p = sigmoid(x)"""
    t = op.Tanh(op.Softplus(s.x()))
    rest = op.Sub(op.scalar(1.0), op.Mul(t, t))
    return op.Add(t, op.Mul(op.Mul(s.x(), op.Sigmoid(s.x())), rest))


@unary("Gelu")
def gelu(op: Builder, s: Step) -> str:
    """P(x) + x p(x), P and p the normal distribution; or the derivative of its tanh form"""
    x, half = s.x(), op.scalar(0.5)
    if s.attribute("approximate", "none") in ("tanh", b"tanh"):
        c = sqrt(2 / pi)
        square = op.Mul(x, x)
        inner = op.Mul(op.Mul(x, op.scalar(c)), op.Add(op.scalar(1.0), op.Mul(square, op.scalar(0.044715))))
        slope = op.Mul(op.scalar(c), op.Add(op.scalar(1.0), op.Mul(square, op.scalar(3 * 0.044715))))
        t = op.Tanh(inner)
        rest = op.Mul(op.Sub(op.scalar(1.0), op.Mul(t, t)), slope)
        return op.Mul(half, op.Add(op.Add(op.scalar(1.0), t), op.Mul(x, rest)))
    whole = op.Mul(half, op.Add(op.scalar(1.0), op.Erf(op.Mul(x, op.scalar(1 / sqrt(2))))))
    bell = op.Mul(op.Exp(op.Mul(op.Mul(x, x), op.scalar(-0.5))), op.scalar(1 / sqrt(2 * pi)))
    return op.Add(whole, op.Mul(x, bell))


@unary("Tanh")
def tanh(op: Builder, s: Step) -> str:
    """1 - y^2"""
    return op.Sub(op.scalar(1.0), op.Mul(s.y, s.y))


@unary("Softplus")
def softplus(op: Builder, s: Step) -> str:
    """sigmoid(x)"""
    return op.Sigmoid(s.x())


@unary("Softsign")
def softsign(op: Builder, s: Step) -> str:
    """(1 - |y|)^2"""
    rest = op.Sub(op.scalar(1.0), op.Abs(s.y))
    return op.Mul(rest, rest)


@unary("Erf")
def erf(op: Builder, s: Step) -> str:
    """2 / sqrt(pi) exp(-x^2)"""
    return op.Mul(op.Exp(op.Neg(op.Mul(s.x(), s.x()))), op.scalar(2 / sqrt(pi)))


@unary("Exp")
def exp(op: Builder, s: Step) -> str:
    """y"""
    return s.y


@unary("Log")
def log(op: Builder, s: Step) -> str:
    """1 / x"""
    return op.Reciprocal(s.x())


@unary("Sqrt")
def sqrt_(op: Builder, s: Step) -> str:
    """1 / (2 y), 0 at 0"""
    return over(op, op.scalar(0.5), s.y)


@unary("Reciprocal")
def reciprocal(op: Builder, s: Step) -> str:
    """-y^2"""
    return op.Neg(op.Mul(s.y, s.y))


@unary("Abs")
def abs_(op: Builder, s: Step) -> str:
    """sign(x)"""
    return op.Sign(s.x())


@unary("Sin")
def sin(op: Builder, s: Step) -> str:
    """cos(x)"""
    return op.Cos(s.x())


@unary("Cos")
def cos(op: Builder, s: Step) -> str:
    """-sin(x)"""
    return op.Neg(op.Sin(s.x()))


@unary("Tan")
def tan(op: Builder, s: Step) -> str:
    """1 + y^2"""
    return op.Add(op.scalar(1.0), op.Mul(s.y, s.y))


@unary("Sinh")
def sinh(op: Builder, s: Step) -> str:
    """cosh(x)"""
    return op.Cosh(s.x())


@unary("Cosh")
def cosh(op: Builder, s: Step) -> str:
    """sinh(x)"""
    return op.Sinh(s.x())


@unary("Atan")
def atan(op: Builder, s: Step) -> str:
    """1 / (1 + x^2)"""
    return op.Reciprocal(op.Add(op.scalar(1.0), op.Mul(s.x(), s.x())))


@unary("Asinh")
def asinh(op: Builder, s: Step) -> str:
    """1 / sqrt(1 + x^2)"""
    return op.Reciprocal(op.Sqrt(op.Add(op.scalar(1.0), op.Mul(s.x(), s.x()))))


@unary("Atanh")
def atanh(op: Builder, s: Step) -> str:
    """1 / (1 - x^2)"""
    return op.Reciprocal(op.Sub(op.scalar(1.0), op.Mul(s.x(), s.x())))


@unary("Asin")
def asin(op: Builder, s: Step) -> str:
    """1 / sqrt(1 - x^2)"""
    return op.Reciprocal(op.Sqrt(op.Sub(op.scalar(1.0), op.Mul(s.x(), s.x()))))


@unary("Acos")
def acos(op: Builder, s: Step) -> str:
    """-1 / sqrt(1 - x^2)"""
    return op.Neg(asin(op, s))


@unary("Acosh")
def acosh(op: Builder, s: Step) -> str:
    """1 / sqrt(x^2 - 1)"""
    return op.Reciprocal(op.Sqrt(op.Sub(op.Mul(s.x(), s.x()), op.scalar(1.0))))


@vjp("Sign", "Floor", "Ceil", "Round")
def steps(op: Builder, s: Step) -> Sequence[str | None]:
    """nothing: flat everywhere but at the steps"""
    return [None]


# Of several inputs ------------------------------------------------------------------------------------------------


def each(op: Builder, s: Step, parts: Sequence[Callable[[], str]]) -> list[str | None]:
    """Return the parts that are wanted, each in the shape of its input."""
    return [unbroadcast(op, part(), s.shape(s.x(k))) if s.wanted[k] else None for k, part in enumerate(parts)]


@vjp("Add", "Sum")
def add(op: Builder, s: Step) -> Sequence[str | None]:
    """g to each"""
    return each(op, s, [lambda: s.g] * len(s.node.inputs))


@vjp("Mean")
def mean(op: Builder, s: Step) -> Sequence[str | None]:
    """g / n to each"""
    return each(op, s, [lambda: op.Mul(s.g, op.scalar(1 / len(s.node.inputs)))] * len(s.node.inputs))


@vjp("Sub")
def sub(op: Builder, s: Step) -> Sequence[str | None]:
    """g, -g"""
    return each(op, s, [lambda: s.g, lambda: op.Neg(s.g)])


@vjp("Mul")
def mul(op: Builder, s: Step) -> Sequence[str | None]:
    """g b, g a"""
    return each(op, s, [lambda: op.Mul(s.g, s.x(1)), lambda: op.Mul(s.g, s.x(0))])


@vjp("Div")
def div(op: Builder, s: Step) -> Sequence[str | None]:
    """g / b, -g y / b"""
    return each(op, s, [lambda: op.Div(s.g, s.x(1)), lambda: op.Neg(op.Div(op.Mul(s.g, s.y), s.x(1)))])


@vjp("Pow")
def pow_(op: Builder, s: Step) -> Sequence[str | None]:
    """g p x^(p - 1), g y log(x)"""
    exponent = constant(op, s.x(1))

    def base() -> str:
        if exponent is not None and exponent.size == 1 and float(exponent.reshape(-1)[0]) == 2:
            return op.Mul(s.g, op.Mul(s.x(), op.scalar(2.0)))
        less = op.Sub(op.CastLike(s.x(1), s.x()), op.scalar(1.0))
        return op.Mul(op.Mul(s.g, op.CastLike(s.x(1), s.x())), op.Pow(s.x(), less))

    return each(op, s, [base, lambda: op.Mul(op.Mul(s.g, s.y), op.Log(s.x()))])


@vjp("Max", "Min")
def extreme(op: Builder, s: Step) -> Sequence[str | None]:
    """g to the winner, in equal shares to several"""
    if len(s.node.inputs) == 1:
        return [s.g]
    won = [mask(op, op.Equal(s.x(k), s.y)) for k in range(len(s.node.inputs))]
    total = won[0]
    for one in won[1:]:
        total = op.Add(total, one)
    share = op.Div(s.g, total)

    def part(k: int) -> Callable[[], str]:
        return lambda: op.Mul(share, won[k])

    return each(op, s, [part(k) for k in range(len(won))])


@vjp("Where")
def where(op: Builder, s: Step) -> Sequence[str | None]:
    """g where the condition holds, g where it does not"""
    zero = op.scalar(0.0)
    return each(op, s, [
        lambda: s.g, lambda: op.Where(s.x(0), s.g, zero), lambda: op.Where(s.x(0), zero, s.g),
    ])  # fmt: skip
