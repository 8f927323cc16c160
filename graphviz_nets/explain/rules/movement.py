"""Operations that only move elements: the gradient is moved back.

Any of them that has no rule of its own is run once on the numbers of its input's elements, which tells where each went.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Any, TypeAlias

from graphviz_nets.explain.backward import Step, array, constant, filled, reshaped, unbroadcast, vjp
from graphviz_nets.graph.builder import Builder
from graphviz_nets.graph.ir import Model

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]


@vjp("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshape(op: Builder, s: Step) -> Sequence[str | None]:
    """Reshape to the input's shape"""
    return [reshaped(op, s.g, s.shape(s.x())), None]


@vjp("Transpose")
def transpose(op: Builder, s: Step) -> Sequence[str | None]:
    """Transpose by the inverse permutation"""
    rank = len(s.shape(s.x()))
    perm = s.attribute("perm", tuple(reversed(range(rank))))
    return [op.Transpose(s.g, perm=[perm.index(k) for k in range(rank)])]


@vjp("Concat")
def concat(op: Builder, s: Step) -> Sequence[str | None]:
    """a slice to each"""
    axis = s.attribute("axis") % len(s.shape(s.y))
    ends = [0]
    for name in s.node.inputs:
        ends.append(ends[-1] + s.shape(name)[axis])
    return [
        op.Slice(s.g, op.constant([start]), op.constant([end]), op.constant([axis])) if s.wanted[k] else None
        for k, (start, end) in enumerate(pairwise(ends))
    ]


@vjp("Split")
def split(op: Builder, s: Step) -> Sequence[str | None]:
    """Concat, zeros where nothing came"""
    parts = [
        found if found is not None else filled(op, 0.0, s.shape(name))
        for found, name in zip(s.grads, s.node.outputs, strict=True)
    ]
    return [op.Concat(*parts, axis=s.attribute("axis", 0)), None]


@vjp("Expand")
def expand(op: Builder, s: Step) -> Sequence[str | None]:
    """ReduceSum"""
    return [unbroadcast(op, s.g, s.shape(s.x())), None]


@vjp("Tile")
def tile(op: Builder, s: Step) -> Sequence[str | None]:
    """ReduceSum over the copies"""
    x, y = s.shape(s.x()), s.shape(s.y)
    parts = [number for k, dim in enumerate(x) for number in (y[k] // dim, dim)]
    total = op.ReduceSum(op.Reshape(s.g, op.constant(parts)), op.constant(list(range(0, 2 * len(x), 2))), keepdims=0)
    return [total, None]


@vjp("Slice")
def slice_(op: Builder, s: Step) -> Sequence[str | None]:
    """Pad; ScatterElements where steps are not 1"""
    x = s.shape(s.x())
    axes = s.numbers(3) if s.given(3) else list(range(len(s.numbers(1))))
    if s.given(4) and any(step != 1 for step in s.numbers(4)):
        return moved(op, s)
    sizes = [x[axis] for axis in axes]
    starts = zip(axes, s.numbers(1), sizes, strict=True)
    begin = {axis % len(x): min(max(start + size if start < 0 else start, 0), size) for axis, start, size in starts}
    return [_padded(op, s.g, x, begin), *[None] * 4]


@vjp("Pad")
def pad(op: Builder, s: Step) -> Sequence[str | None]:
    """Slice; ScatterElements where the padding repeats elements or cuts"""
    x = s.shape(s.x())
    mode = s.attribute("mode", "constant")
    given = s.numbers(1) if s.given(1) else list(s.attribute("pads", ()))
    axes = [axis % len(x) for axis in s.numbers(3)] if s.given(3) else list(range(len(x)))
    if mode not in ("constant", b"constant") or min(given, default=0) < 0:
        return moved(op, s)
    begin = given[: len(axes)]
    ends = [begin[k] + x[axis] for k, axis in enumerate(axes)]
    return [op.Slice(s.g, op.constant(begin), op.constant(ends), op.constant(axes)), None, None, None]


@vjp("Gather")
def gather(op: Builder, s: Step) -> Sequence[str | None]:
    """ScatterElements along the axis, added up; Pad where it takes one stretch, as of three things that were stacked"""
    x, indices = s.shape(s.x()), s.shape(s.x(1))
    axis = s.attribute("axis", 0) % len(x)
    stretch = _stretch(s.constant(1), x[axis])
    if stretch is not None:
        g = s.g if indices else op.Unsqueeze(s.g, op.constant([axis]))
        return [_padded(op, g, x, {axis: stretch[0]}), None]
    before, after, number = prod(x[:axis]), prod(x[axis + 1 :]), prod(indices)
    places = op.Expand(op.Reshape(op.Cast(s.x(1), to=7), op.constant([1, number, 1])),
                       op.constant([before, number, after]))  # fmt: skip
    g = op.Reshape(s.g, op.constant([before, number, after]))
    zeros = filled(op, 0.0, [before, x[axis], after])
    return [reshaped(op, op.ScatterElements(zeros, places, g, axis=1, reduction="add"), x), None]


def _stretch(indices: Array | None, size: int) -> tuple[int, int] | None:
    """Return where indices that go up by ones begin and end, None for any others."""
    import numpy as np

    if indices is None or indices.ndim > 1 or not indices.size:
        return None
    places = indices.reshape(-1) % size
    return (int(places[0]), int(places[-1]) + 1) if (np.diff(places) == 1).all() else None


def _padded(op: Builder, g: str, x: Sequence[int], begin: Mapping[int, int]) -> str:
    """Return a part that begins there, by axis, in zeros of shape `x`."""
    have = op.shape(g) or ()
    before = [begin.get(k, 0) for k in range(len(x))]
    after = [x[k] - int(have[k] or 1) - before[k] for k in range(len(x))]
    return op.node("Pad", [g, op.constant([*before, *after])], known=[("float32", tuple(x))])[0]


@vjp("GatherElements")
def gather_elements(op: Builder, s: Step) -> Sequence[str | None]:
    """ScatterElements, added up"""
    zeros = filled(op, 0.0, s.shape(s.x()))
    return [op.ScatterElements(zeros, s.x(1), s.g, axis=s.attribute("axis", 0), reduction="add"), None]


@vjp("GatherND")
def gather_nd(op: Builder, s: Step) -> Sequence[str | None]:
    """ScatterND, added up"""
    if s.attribute("batch_dims", 0):
        return moved(op, s)
    x = s.shape(s.x())
    found = op.node("ScatterND", [filled(op, 0.0, x), s.x(1), s.g], attributes={"reduction": "add"},
                    known=[("float32", x)])  # fmt: skip
    return [found[0], None]


@vjp("ScatterElements")
def scatter_elements(op: Builder, s: Step) -> Sequence[str | None]:
    """g to the data, but for what was replaced; GatherElements to the updates"""
    axis, reduction = s.attribute("axis", 0), s.attribute("reduction", "none")
    if reduction not in ("none", "add", b"none", b"add"):
        raise s.refused(f"reduction {reduction!r}")
    data = s.g
    if reduction in ("none", b"none"):
        zeros = filled(op, 0.0, s.shape(s.x(2)))
        data = op.ScatterElements(s.g, s.x(1), zeros, axis=axis)
    updates = op.node("GatherElements", [s.g, s.x(1)], attributes={"axis": axis}, known=[("float32", s.shape(s.x(2)))])
    return [data, None, updates[0]]


@vjp("ScatterND")
def scatter_nd(op: Builder, s: Step) -> Sequence[str | None]:
    """g to the data, but for what was replaced; GatherND to the updates"""
    reduction = s.attribute("reduction", "none")
    if reduction not in ("none", "add", b"none", b"add"):
        raise s.refused(f"reduction {reduction!r}")
    data = s.g
    if reduction in ("none", b"none"):
        data = op.ScatterND(s.g, s.x(1), filled(op, 0.0, s.shape(s.x(2))))
    return [data, None, op.GatherND(s.g, s.x(1))]


@vjp("TopK")
def top_k(op: Builder, s: Step) -> Sequence[str | None]:
    """ScatterElements to the places of the values"""
    zeros = filled(op, 0.0, s.shape(s.x()))
    return [op.ScatterElements(zeros, s.output(1), s.g, axis=s.attribute("axis", -1)), None]


@vjp("Trilu")
def trilu(op: Builder, s: Step) -> Sequence[str | None]:
    """Trilu"""
    more = [s.x(1)] if s.given(1) else []
    return [op.node("Trilu", [s.g, *more], attributes=s.node.attributes, known=[("float32", s.shape(s.x()))])[0], None]


@vjp("DepthToSpace", "SpaceToDepth", "ReverseSequence", "Compress", "CenterCropPad")
def moved(op: Builder, s: Step) -> Sequence[str | None]:
    """ScatterElements to where the elements came from, found by running the operation on their numbers"""
    x = s.shape(s.x())
    places = _origins(op, s)
    flat, inside = places.reshape(-1), places.reshape(-1) >= 0
    g = reshaped(op, s.g, [flat.size])
    if not inside.all():  # padding came from nowhere
        g = op.Gather(g, array(op, f"{s.node.id}/inside", inside.nonzero()[0].astype("i8")))
    index = array(op, f"{s.node.id}/origins", flat[inside].astype("i8"))
    found = op.ScatterElements(filled(op, 0.0, [prod(x)]), index, g, axis=0, reduction="add")
    return [reshaped(op, found, x), *[None] * (len(s.node.inputs) - 1)]


def _origins(op: Builder, s: Step) -> Array:
    """Return the flat index of the element that each output element is a copy of, -1 for none."""
    import numpy as np

    from graphviz_nets.explain.runner import Runner

    x = s.shape(s.x())
    for k in range(1, len(s.node.inputs)):
        if s.given(k) and constant(op, s.x(k)) is None:
            raise s.refused(f"its input {k} must be a constant")
    alone = Builder("move", op.opset)
    name = alone.input("x", "float64", x)
    rest = [alone.weight(f"c{k}", op.initializers[n].shape, op.initializers[n].bytes(), op.initializers[n].dtype) if n
            else "" for k, n in enumerate(s.node.inputs[1:], 1)]  # fmt: skip
    (y,) = alone.node(s.node.op_type, [name, *rest], attributes=s.node.attributes)
    model: Model = alone.model([y])
    numbers = np.arange(1, prod(x) + 1, dtype="f8").reshape(x)
    found = Runner(model, provider="cpu")(numbers)[y]
    return found.round().astype("i8") - 1


# Interpolation ----------------------------------------------------------------------------------------------------


@vjp("Resize")
def resize(op: Builder, s: Step) -> Sequence[str | None]:
    """a product with the matrix of each axis, which the operation makes of the identity"""
    x, y = s.shape(s.x()), s.shape(s.y)
    g = s.g
    rank = len(x)
    for axis in range(rank):
        matrix = _axis_matrix(op, s, axis) if x[axis] != y[axis] or _shifts(s) else None
        if matrix is None:
            continue
        name = array(op, f"{s.node.id}/axis_{axis}", matrix)  # (out, in)
        if axis == rank - 1:
            g = op.MatMul(g, name)
        elif axis == rank - 2:
            g = op.MatMul(array(op, f"{s.node.id}/axis_{axis}_back", matrix.T), g)
        else:
            perm = [k for k in range(rank) if k != axis] + [axis]
            g = op.Transpose(op.MatMul(op.Transpose(g, perm=perm), name), perm=[perm.index(k) for k in range(rank)])
    return [g, None, None, None]


def _shifts(s: Step) -> bool:
    """Say whether even an axis of the same size may change."""
    return s.attribute("coordinate_transformation_mode", "") in ("tf_crop_and_resize", b"tf_crop_and_resize")


def _axis_matrix(op: Builder, s: Step, axis: int) -> Array | None:
    """Return the (out, in) matrix of one axis: the operation on the identity, that axis last of four."""
    import numpy as np

    from graphviz_nets.explain.runner import Runner

    if _shifts(s):
        raise s.refused("tf_crop_and_resize")
    rank = len(s.shape(s.x()))
    axes = s.attribute("axes", tuple(range(rank)))
    size, wanted = s.shape(s.x())[axis], s.shape(s.y)[axis]
    place = [a % rank for a in axes].index(axis)
    alone = Builder("axis", op.opset)
    x = alone.input("x", "float32", (1, 1, size, size))
    scales = s.constant(2)
    keep = {k: v for k, v in s.node.attributes.items() if k not in ("axes", "keep_aspect_ratio_policy")}
    if scales is not None and scales.size:
        inputs = [x, "", alone.constant([1.0, 1.0, 1.0, float(scales.reshape(-1)[place])], "float32")]
    else:
        inputs = [x, "", "", alone.constant([1, 1, size, wanted])]
    (y,) = alone.node("Resize", inputs, attributes=keep, known=[("float32", (1, 1, size, wanted))])
    found = Runner(alone.model([y]), provider="cpu")(np.eye(size, dtype="f4")[None, None])[y]
    return np.ascontiguousarray(found[0, 0].T)
