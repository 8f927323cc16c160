"""Linear operations: convolutions and products. The weights are used as they are, by the opposite operation."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_letters
from typing import TypeAlias

from graphviz_nets.explain.backward import Step, filled, unbroadcast, vjp
from graphviz_nets.graph.builder import Builder

Window: TypeAlias = "tuple[list[int], list[int], list[int], list[int]]"


def window(s: Step, rank: int) -> Window:
    """Return the strides, dilations and pads (begin, end) of a convolution or pooling; auto_pad is worked out."""
    strides = list(s.attribute("strides", (1,) * rank))
    dilations = list(s.attribute("dilations", (1,) * rank))
    pads = list(s.attribute("pads", (0,) * 2 * rank))
    auto = s.attribute("auto_pad", "NOTSET")
    auto = auto.decode() if isinstance(auto, bytes) else auto
    if auto == "VALID":
        pads = [0] * 2 * rank
    elif auto.startswith("SAME"):
        x, y = s.shape(s.x())[2:], s.shape(s.y)[2:]
        kernel = list(s.attribute("kernel_shape", ())) or list(s.shape(s.x(1))[2:])
        for k in range(rank):
            total = max(0, (y[k] - 1) * strides[k] + (kernel[k] - 1) * dilations[k] + 1 - x[k])
            less, more = total // 2, total - total // 2
            pads[k], pads[rank + k] = (less, more) if auto == "SAME_UPPER" else (more, less)
    return strides, dilations, pads[:rank], pads[rank:]


@vjp("Conv")
def conv(op: Builder, s: Step) -> Sequence[str | None]:
    """ConvTranspose with the same weights; Conv with flipped ones where the stride is 1, which is quicker"""
    if s.wanted[1]:
        raise s.refused("its weights depend on what is differentiated by")
    x, back = s.shape(s.x()), None
    if s.wanted[0]:
        back = sent_back(op, s.g, s.x(1), x, window(s, len(x) - 2), s.attribute("group", 1))
    return [back, None, _bias(op, s)]


def _bias(op: Builder, s: Step) -> str | None:
    """Return the gradient of a convolution's bias where it is wanted."""
    if s.wanted[2:] != (True,):
        return None
    return op.ReduceSum(s.g, op.constant([0, *range(2, len(s.shape(s.y)))]), keepdims=0)


def sent_back(op: Builder, g: str, weights: str, x: Sequence[int], window: Window, group: int) -> str:
    """Return the gradient of the input, of shape `x`, of a convolution with these weights."""
    strides, dilations, begin, end = window
    rank = len(x) - 2
    y, w = ([int(dim or 1) for dim in op.shape(name) or ()] for name in (g, weights))
    reach = [(w[2 + k] - 1) * dilations[k] + 1 for k in range(rank)]
    extra = {"group": group} if group > 1 else {}
    plain = set(strides) == {1} and all(begin[k] < reach[k] > end[k] for k in range(rank))
    if plain and (group == 1 or group == x[1] == y[1]):
        flipped = _flipped(op, weights, rank, group)
        pads = [*(reach[k] - 1 - begin[k] for k in range(rank)), *(reach[k] - 1 - end[k] for k in range(rank))]
        return op.Conv(g, flipped, kernel_shape=w[2:], dilations=dilations, pads=pads, **extra)
    rest = [x[2 + k] - ((y[2 + k] - 1) * strides[k] - begin[k] - end[k] + reach[k]) for k in range(rank)]
    return op.node(
        "ConvTranspose", [g, weights],
        attributes={"kernel_shape": w[2:], "strides": strides, "dilations": dilations, "pads": [*begin, *end],
                    "output_padding": rest, **extra},
        known=[("float32", tuple(x))],
    )[0]  # fmt: skip


def _flipped(op: Builder, weights: str, rank: int, group: int) -> str:
    """Return weights with every kernel turned round, and inputs and outputs exchanged; it is folded to a constant."""
    name = f"{weights}/{'exchanged' if group == 1 else 'flipped'}"
    if name in op.initializers or name in op.values:
        return name
    exchanged = op.Transpose(weights, perm=[1, 0, *range(2, 2 + rank)]) if group == 1 else weights
    ends, axes = op.constant([-(1 << 31)] * rank), op.constant(list(range(2, 2 + rank)))
    minus = op.constant([-1] * rank)
    return op.node("Slice", [exchanged, minus, ends, axes, minus], [name], known=[("float32", op.shape(exchanged))])[0]


@vjp("ConvTranspose")
def conv_transpose(op: Builder, s: Step) -> Sequence[str | None]:
    """Conv with the same weights"""
    if s.wanted[1]:
        raise s.refused("its weights depend on what is differentiated by")
    x, y, w = s.shape(s.x()), s.shape(s.y), s.shape(s.x(1))
    rank = len(x) - 2
    strides, dilations = (list(s.attribute(name, (1,) * rank)) for name in ("strides", "dilations"))
    begin = list(s.attribute("pads", (0,) * 2 * rank))[:rank]
    auto = s.attribute("auto_pad", "NOTSET")
    if s.attribute("output_shape") is not None or auto not in ("NOTSET", b"NOTSET"):
        more = list(s.attribute("output_padding", (0,) * rank))
        for k in range(rank):
            whole = (x[2 + k] - 1) * strides[k] + more[k] + (w[2 + k] - 1) * dilations[k] + 1 - y[2 + k]
            begin[k] = whole - whole // 2 if auto in ("SAME_LOWER", b"SAME_LOWER") else whole // 2
    # The forward pass drops what the output padding adds: the end is whatever makes the sizes meet.
    end = [(x[2 + k] - 1) * strides[k] + (w[2 + k] - 1) * dilations[k] + 1 - begin[k] - y[2 + k] for k in range(rank)]
    g = s.g
    cut = [max(0, -one) for one in end]
    if any(cut):
        sizes = [y[2 + k] - cut[k] for k in range(rank)]
        g = op.Slice(g, op.constant([0] * rank), op.constant(sizes), op.constant(list(range(2, 2 + rank))))
    group = s.attribute("group", 1)
    found = op.node(
        "Conv", [g, s.x(1)],
        attributes={"kernel_shape": w[2:], "strides": strides, "dilations": dilations,
                    "pads": [*begin, *(max(0, one) for one in end)], **({"group": group} if group > 1 else {})},
        known=[("float32", x)],
    )[0]  # fmt: skip
    return [found, None, _bias(op, s)]


@vjp("Gemm")
def gemm(op: Builder, s: Step) -> Sequence[str | None]:
    """alpha g B^T, alpha A^T g, beta g"""
    flip_a, flip_b = bool(s.attribute("transA", 0)), bool(s.attribute("transB", 0))
    alpha = s.attribute("alpha", 1.0)
    a = b = c = None
    if s.wanted[0]:
        a = op.Gemm(s.x(1), s.g, transA=int(flip_b), transB=1, alpha=alpha) if flip_a else op.Gemm(
            s.g, s.x(1), transB=int(not flip_b), alpha=alpha)  # fmt: skip
    if s.wanted[1]:
        b = op.Gemm(s.g, s.x(), transA=1, transB=int(flip_a), alpha=alpha) if flip_b else op.Gemm(
            s.x(), s.g, transA=int(not flip_a), alpha=alpha)  # fmt: skip
    if s.wanted[2:] == (True,):
        c = unbroadcast(op, op.Mul(s.g, op.scalar(s.attribute("beta", 1.0))), s.shape(s.x(2)))
    return [a, b, c]


@vjp("MatMul")
def matmul(op: Builder, s: Step) -> Sequence[str | None]:
    """g B^T, A^T g"""
    a, b, g = s.x(), s.x(1), s.g
    high, wide = s.shape(a), s.shape(b)
    if len(high) == 1:
        a, g = op.Unsqueeze(a, op.constant([0])), op.Unsqueeze(g, op.constant([-2 if len(wide) > 1 else 0]))
    if len(wide) == 1:
        b, g = op.Unsqueeze(b, op.constant([1])), op.Unsqueeze(g, op.constant([-1]))
    first = unbroadcast(op, op.MatMul(g, swapped(op, b)), op.shape(a) or ()) if s.wanted[0] else None
    second = unbroadcast(op, op.MatMul(swapped(op, a), g), op.shape(b) or ()) if s.wanted[1] else None
    return [
        op.Squeeze(first, op.constant([0])) if first and len(high) == 1 else first,
        op.Squeeze(second, op.constant([1])) if second and len(wide) == 1 else second,
    ]


def swapped(op: Builder, value: str) -> str:
    """Return a value with its last two axes exchanged."""
    rank = len(op.shape(value) or ())
    return op.Transpose(value, perm=[*range(rank - 2), rank - 1, rank - 2])


@vjp("Einsum")
def einsum(op: Builder, s: Step) -> Sequence[str | None]:
    """Einsum with the operand's letters as the result's"""
    text = s.attribute("equation", "")
    text = (text.decode() if isinstance(text, bytes) else text).replace(" ", "")
    terms, arrow, result = text.partition("->")
    parts = terms.split(",")
    if "..." in text:
        parts, result = _without_dots(s, parts, result if arrow else None)
    elif not arrow:
        letters = "".join(parts)
        result = "".join(sorted(letter for letter in set(letters) if letters.count(letter) == 1))
    found: list[str | None] = []
    for k, part in enumerate(parts):
        if not s.wanted[k]:
            found.append(None)
            continue
        if len(set(part)) != len(part):
            raise s.refused(f"{part!r} repeats a letter")
        others = [(parts[j], s.x(j)) for j in range(len(parts)) if j != k]
        known = set(result).union(*(other for other, _ in others))
        missing = [letter for letter in part if letter not in known]
        sizes = dict(zip(part, s.shape(s.x(k)), strict=True))
        if missing:  # a letter that is only summed over: the gradient is the same along it
            others.append(("".join(missing), filled(op, 1.0, [sizes[letter] for letter in missing])))
        equation = f"{','.join([result, *(other for other, _ in others)])}->{part}"
        found.append(op.node("Einsum", [s.g, *(name for _, name in others)], attributes={"equation": equation},
                             known=[("float32", s.shape(s.x(k)))])[0])  # fmt: skip
    return found


def _without_dots(s: Step, parts: list[str], result: str | None) -> tuple[list[str], str]:
    """Spell out the axes that dots stand for; the operands must have the same ones."""
    if result is None:
        raise s.refused("dots without a result")
    free = [letter for letter in ascii_letters if not any(letter in part for part in parts)]
    sizes = {len(s.shape(s.x(k))) - len(part.replace("...", "")) for k, part in enumerate(parts) if "..." in part}
    if len(sizes) != 1:
        raise s.refused("its dots stand for different numbers of axes")
    spelt = "".join(free[: sizes.pop()])
    return [part.replace("...", spelt) for part in parts], result.replace("...", spelt)
