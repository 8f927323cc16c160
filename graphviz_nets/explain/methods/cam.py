"""Class activation maps: the places of a layer, each weighed by what its channels say for the target.

Most differ only in the weights. Those that stand on gradients are functions that append ONNX nodes to the model and its
gradient: the layer's activations ``a`` and what comes back to them, ``g``, both (N, C, *grid), to weights that
multiply ``a``. Weights, sum, ReLU and the enlarging to the image's size run in one session, and only the map leaves it.
The others try out what the layer's channels or places do, on the part of the model behind the layer where that is
enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from graphviz_nets.errors import ConfigError
from graphviz_nets.explain.backward import Backward, constant
from graphviz_nets.explain.explainer import Explainer
from graphviz_nets.explain.layers import FIRST, Layer, between
from graphviz_nets.explain.methods.gradients import guided_backprop
from graphviz_nets.explain.methods.table import method
from graphviz_nets.graph.builder import Builder
from graphviz_nets.graph.ir import Model, Node
from graphviz_nets.graph.rules import Table

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

Weights: TypeAlias = "Callable[[Builder, str, str], str]"


class Weighing(NamedTuple):
    """How a map is made of a layer: its weights, whether it keeps its signs, and what refuses models it is not for."""

    weigh: Weights
    signed: bool
    check: Callable[[Explainer], None]


weights: dict[str, Weighing] = {}

CHUNK = 32
"""Masked copies that are held at a time."""


# What a CAM is defined for -----------------------------------------------------------------------------------------


LINEAR = frozenset({
    "Add", "Conv", "Dropout", "Flatten", "Gemm", "Identity", "MatMul", "Reshape", "Squeeze", "Sub", "Transpose",
    "Unsqueeze",
})  # fmt: skip
"""Operations that a CAM allows behind the pooling."""
POINTWISE = frozenset({"Conv", "Dropout", "Identity", "Transpose"})
"""And before it, where convolutions take one place at a time."""
MEANS = frozenset({"AveragePool", "GlobalAveragePool", "ReduceMean"})


def _check_head(e: Explainer) -> None:
    """Raise a ConfigError unless a CAM is defined behind every layer."""
    for layer in e.layers:
        head = between(e.model.graph, [layer.value], e.target)
        pool = next((k for k, node in enumerate(head) if node.op_type in MEANS), len(head))
        odd = next((node for k, node in enumerate(head) if not _linear(e, node, k - pool)), None)
        if odd is not None or pool == len(head):
            what = "no average pooling" if odd is None else f"{odd.label} ({odd.id})"
            raise ConfigError(
                f"cam needs a global average pooling and a linear head behind {layer.value!r}; there is {what}",
                key="--method", hint="grad-cam and hirescam equal it where it is defined, and work everywhere",
            )  # fmt: skip


def _linear(e: Explainer, node: Node, after: int) -> bool:
    """Say whether an operation may stand this far after the pooling of a CAM (before it: below 0)."""
    if after == 0:
        return e.layer(node.outputs[0]) is None  # no places are left
    if after > 0:
        return node.op_type in LINEAR
    kernel = e.model.graph.value(node.inputs[1]).shape if node.op_type == "Conv" else ()
    return node.op_type in POINTWISE and set((kernel or ())[2:]) <= {1}


# Weights from gradients --------------------------------------------------------------------------------------------


def _over_places(op: Builder, value: str, mean: bool = False) -> str:
    """Add up a value (N, C, *grid), or take its mean, over its places."""
    axes = op.constant(list(range(2, len(op.shape(value) or ()))))
    return op.ReduceMean(value, axes, keepdims=1) if mean else op.ReduceSum(value, axes, keepdims=1)


def mapped(
    name: str, signed: bool = False, check: Callable[[Explainer], None] = lambda e: None
) -> Callable[[Weights], Weights]:
    """Register weights, and the method that makes a map with them and says what they say; see :class:`Weighing`."""

    def register(rule: Weights) -> Weights:
        def found(e: Explainer, x: Array, seed: Array, signed: bool = signed, enlarge: bool = True) -> Array:
            return _map(name, e, x, seed, signed, enlarge)

        found.__doc__ = rule.__doc__
        method(name)(found)
        weights[name] = Weighing(rule, signed, check)
        return rule

    return register


@mapped("grad-cam")
def grad_cam(op: Builder, a: str, g: str) -> str:
    """Channels of a layer, weighed by their mean gradient: where is what speaks for the class (Selvaraju 2016)."""
    return _over_places(op, g, mean=True)


@mapped("cam", signed=True, check=_check_head)
def cam(op: Builder, a: str, g: str) -> str:
    """The class's own weights on the layer before a global average pooling (Zhou et al. 2015)."""
    return _over_places(op, g)  # behind such a head the gradient is weight / places, wherever and whatever the image


@mapped("hirescam")
def hirescam(op: Builder, a: str, g: str) -> str:
    """Gradient times activation, place by place: only what the model used is lit (Draelos and Carin 2020)."""
    return g


@mapped("layer-cam")
def layer_cam(op: Builder, a: str, g: str) -> str:
    """Positive gradient times activation: works at early layers, too, with fine detail (Jiang et al. 2021)."""
    return op.Relu(g)


@mapped("xgrad-cam")
def xgrad_cam(op: Builder, a: str, g: str) -> str:
    """Grad-CAM with gradients weighed by the activations: its sum comes near the score (Fu et al. 2020)."""
    return op.Div(_over_places(op, op.Mul(g, a)), op.Add(_over_places(op, a), op.scalar(1e-7)))


@mapped("grad-cam++")
def grad_cam_plus_plus(op: Builder, a: str, g: str) -> str:
    """Grad-CAM that does not prefer large objects to small ones (Chattopadhay et al. 2017)."""
    p = op.Relu(g)
    square = op.Mul(p, p)
    below = op.Add(op.Mul(square, op.scalar(2.0)), op.Mul(_over_places(op, a), op.Mul(square, p)))
    share = op.Div(square, op.Add(below, op.scalar(1e-6)))
    return _over_places(op, op.Mul(p, share))


def with_map(e: Explainer, name: str, signed: bool | None = None, enlarge: bool = True) -> tuple[Model, str, str]:
    """Return the model with the map of one of `weights` as a further output.

    Parameters
    ----------
    e : Explainer
        The model and its layers. The map of several is the mean of theirs, each scaled to a largest amount of 1.
    name : str
        Of `weights`.
    signed : bool, optional
        Keep what speaks against the target; as the method does by default.
    enlarge : bool
        Make the map as large as the image; the first layer's grid otherwise.

    Returns
    -------
    (model, seed, map)
        A model that can be saved, the input that weighs the target's elements, and the map (N, *places).

    Raises
    ------
    ConfigError
        Of ``cam``, where the model's head is not a global average pooling and linear.
    """
    how = weights[name]
    how.check(e)
    signed = how.signed if signed is None else signed
    model, backward = e.backward("gradient", [layer.value for layer in e.layers])
    op = Builder.of(backward.graph, model.opset_imports.get("", 18))
    op.scope = ("map",)
    maps, size = [], places(e, enlarge)
    for layer in e.layers:
        a, g = (layer.channels_first(op, one) for one in (layer.value, backward.gradients[layer.value]))
        found = op.ReduceSum(op.Mul(how.weigh(op, a, g), a), op.constant([1]), keepdims=1)
        maps.append(_enlarged(op, found if signed else op.Relu(found), size))
    total = maps[0]
    if len(maps) > 1:
        axes = op.constant(list(range(1, 2 + len(size))))
        amounts = [op.ReduceMax(op.Abs(one), axes, keepdims=1) for one in maps]
        total = op.Mean(*(op.Div(one, op.Add(top, op.scalar(1e-12))) for one, top in zip(maps, amounts, strict=True)))
    total = op.node("Squeeze", [total, op.constant([1])], [op.fresh(f"{e.input}/{name}")])[0]
    return model.with_graph(op.graph([*e.model.graph.outputs, total])), backward.seed, total


def places(e: Explainer, enlarge: bool = True) -> tuple[int, ...]:
    """Return the size of the maps: that of what they show, or where it has no places the layer's."""
    return e.view.grid if enlarge and e.view is not None else e.layers[0].grid


def _image(e: Explainer) -> Layer:
    """Return where the input has its channels and places."""
    if e.image is None:
        hint = (
            "this is for images, signals and volumes" if e.view is None else "grad-cam and others look at a layer only"
        )
        raise ConfigError(f"the input {e.input!r} has no places", key="--method", hint=hint)
    return e.image


def _enlarged(op: Builder, value: str, size: Sequence[int]) -> str:
    """Append what enlarges maps (N, 1, *grid) to a size, between the middles of their places."""
    shape = op.shape(value) or ()
    if shape[2:] == tuple(size):
        return value
    attributes = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    sizes = op.constant([int(shape[0] or 1), 1, *size])
    known = [("float32", (shape[0], 1, *size))]
    return op.node("Resize", [value, "", "", sizes], attributes=attributes, known=known)[0]


def _map(name: str, e: Explainer, x: Array, seed: Array, signed: bool, enlarge: bool = True) -> Array:
    def build() -> tuple[Model, Sequence[str]]:
        model, _, found = with_map(e, name, signed, enlarge)
        return model, [found]

    _, backward = e.backward("gradient", [layer.value for layer in e.layers])
    runner = e.session(("map", name, signed, enlarge), build)
    (found,) = runner({e.input: x, backward.seed: seed}).values()
    return found


# What others stand on ----------------------------------------------------------------------------------------------


def _activations(e: Explainer, x: Array, seed: Array | None = None) -> list[tuple[Array, Array | None]]:
    """Return what each layer holds and, where a seed is given, what comes back to it, both (N, C, *grid)."""
    values = [layer.value for layer in e.layers]
    back = {} if seed is None else e.gradients(x, seed, values)
    found = e.forward(values)({e.input: x})
    return [(layer.first(found[layer.value]), layer.first(back[layer.value]) if back else None) for layer in e.layers]


def enlarged(maps: Array, size: Sequence[int]) -> Array:
    """Return maps (..., *grid) enlarged to a size, as ONNX's linear Resize between the middles of places does it.

    Examples
    --------
    >>> import numpy as np
    >>> enlarged(np.array([[0.0, 4.0]], "f4"), (4,)).tolist()
    [[0.0, 1.0, 3.0, 4.0]]
    """
    import numpy as np

    rank = len(size)
    for k, (here, there) in enumerate(zip(maps.shape[-rank:], size, strict=True)):
        at = np.clip((np.arange(there) + 0.5) * here / there - 0.5, 0, here - 1)
        low = np.minimum(at.astype(int), max(here - 2, 0))
        table = np.zeros((here, there), maps.dtype)
        table[low, np.arange(there)] = 1 - (at - low)
        table[np.minimum(low + 1, here - 1), np.arange(there)] += at - low
        maps = np.moveaxis(np.moveaxis(maps, k - rank, -1) @ table, -1, k - rank)
    return maps


def _averaged(e: Explainer, maps: Sequence[Array], signed: bool, enlarge: bool) -> Array:
    """Return the layers' maps (N, *grid) at the size of the image: of several the mean, each scaled to 1."""
    import numpy as np

    large = [enlarged(one if signed else np.maximum(one, 0), places(e, enlarge)) for one in maps]
    if len(large) > 1:
        axes = tuple(range(1, large[0].ndim))
        large = [one / (np.abs(one).max(axes, keepdims=True) + 1e-12) for one in large]
    found: Array = np.mean(large, 0, dtype="f4")
    return found


def score(values: Array, seed: Array) -> Array:
    """Return the target: each sample's sum of scores times seed."""
    found: Array = (values * seed).reshape(len(values), -1).sum(1)
    return found


# Principal components ----------------------------------------------------------------------------------------------


@method("eigen-cam")
def eigen_cam(e: Explainer, x: Array, seed: Array, signed: bool = False, enlarge: bool = True) -> Array:
    """The main component of what a layer holds: what stands out, of whatever class (Muhammad and Yeasin 2020)."""
    return _averaged(e, [_component(a) for a, _ in _activations(e, x)], signed, enlarge)


@method("eigengrad-cam")
def eigengrad_cam(e: Explainer, x: Array, seed: Array, signed: bool = False, enlarge: bool = True) -> Array:
    """The main component of gradient times activation: Eigen-CAM for a class."""
    return _averaged(e, [_component(a * g) for a, g in _activations(e, x, seed)], signed, enlarge)


def _component(values: Array) -> Array:
    """Return (N, *grid): each place's share in the first right singular vector of the centred (places, C) matrix.

    A singular vector has no sign: the larger end is taken for the positive one.
    """
    import numpy as np

    found = []
    for one in values:
        flat = one.reshape(len(one), -1).T.astype("f8")
        flat -= flat.mean(0)
        u, s, _ = np.linalg.svd(flat, full_matrices=False)
        place = u[:, 0] * s[0]
        found.append((-place if -place.min() > place.max() else place).reshape(one.shape[1:]))
    return np.stack(found).astype("f4")


# What happens without ----------------------------------------------------------------------------------------------


@method("score-cam")
def score_cam(
    e: Explainer, x: Array, seed: Array, signed: bool = False, channels: int = 0, enlarge: bool = True
) -> Array:
    """Channels, weighed by the score of the image that is masked with them; no gradient (Wang et al. 2019).

    `channels` is how many of a layer's channels are tried, those that vary most; 0 for all.
    """
    return _averaged(e, _masked(e, x, seed, channels, samples=1, noise=0.0, random=0), signed, enlarge)


@method("ss-cam")
def ss_cam(
    e: Explainer, x: Array, seed: Array, signed: bool = False, channels: int = 0, samples: int = 35, noise: float = 2.0,
    random: int = 0, enlarge: bool = True,
) -> Array:  # fmt: skip
    """Score-CAM, smoothed: each mask is tried with noise, several times (Wang, Naidu et al. 2020)."""
    return _averaged(e, _masked(e, x, seed, channels, samples, noise, random), signed, enlarge)


def _masked(e: Explainer, x: Array, seed: Array, channels: int, samples: int, noise: float, random: int) -> list[Array]:
    """Return each layer's maps (images, *grid): its channels, weighed by a softmax of what they let through."""
    import numpy as np

    found = []
    for layer, (a, _) in zip(e.layers, _activations(e, x), strict=True):
        maps = []
        for image, held, weigh in zip(x, a, seed, strict=True):
            spread = np.ptp(held.reshape(len(held), -1), 1)
            tried = np.flatnonzero(spread > 0)  # a channel that is the same everywhere masks nothing
            if channels:
                tried = np.sort(tried[np.argsort(-spread[tried], kind="stable")[:channels]])
            chunks = e.track(range(0, len(tried), CHUNK), f"{layer.value}, channels")
            parts = (tried[start : start + CHUNK] for start in chunks)
            scores = [np.mean([
                score(e.scores(shown), weigh) for shown in _shown(e, image, held[some], some, samples, noise, random)
            ], 0) for some in parts]  # fmt: skip
            total = np.concatenate([np.empty(0, "f4"), *scores])
            share = np.exp(total - total.max(initial=-np.inf))
            maps.append(np.tensordot((share / share.sum()).astype("f4"), held[tried], 1))
        found.append(np.stack(maps))
    return found


def _shown(
    e: Explainer, image: Array, held: Array, numbers: Array, samples: int, noise: float, random: int
) -> Iterator[Array]:
    """Yield an image masked with channels, `samples` times; the noise of a channel is its own."""
    import numpy as np

    axis, grid = _image(e).axis, _image(e).grid
    masks = _unit(enlarged(held, grid))
    for n in range(samples):
        noisy = masks
        if noise:
            dice = [np.random.default_rng((random, n, c)).standard_normal(grid, "f4") for c in numbers]
            noisy = masks + np.float32(noise) * np.stack(dice)
        yield image * np.expand_dims(noisy, axis)


def _unit(maps: Array) -> Array:
    """Return maps, each from 0 to 1."""
    axes = tuple(range(1, maps.ndim))
    low, high = maps.min(axes, keepdims=True), maps.max(axes, keepdims=True)
    found: Array = (maps - low) / (high - low)
    return found


@method("ablation-cam")
def ablation_cam(e: Explainer, x: Array, seed: Array, signed: bool = False, enlarge: bool = True) -> Array:
    """Channels, weighed by the share of the score that is lost without them; no gradient (Desai 2020)."""
    import numpy as np

    whole = score(e.scores(x), seed)[:, None]
    amount = np.where(whole == 0, 1, np.abs(whole))  # a share of a score below 0 would turn the map around
    found = []
    for layer, (a, _) in zip(e.layers, _activations(e, x), strict=True):
        channels = np.eye(a.shape[1], dtype="f4").reshape(a.shape[1], -1, *[1] * len(layer.grid))
        left = _tried(e, layer, x, seed, 1 - channels)
        found.append(np.einsum("nk,nk...->n...", (whole - left) / amount, a))
    return _averaged(e, found, signed, enlarge)


@method("recipro-cam")
def recipro_cam(e: Explainer, x: Array, seed: Array, enlarge: bool = True) -> Array:
    """The score that each place of a layer gets alone; no gradient (Byun and Lee 2022)."""
    import numpy as np

    found = []
    for layer in e.layers:
        number = prod(layer.grid)
        maps = _tried(e, layer, x, seed, np.eye(number, dtype="f4").reshape(number, 1, *layer.grid))
        found.append((maps - maps.min(1, keepdims=True)).reshape(len(x), *layer.grid))
    return _averaged(e, found, False, enlarge)


def _tried(e: Explainer, layer: Layer, x: Array, seed: Array, masks: Array) -> Array:
    """Return the scores (images, masks) with a layer's values multiplied by masks."""
    import numpy as np

    steps = range(0, len(masks), CHUNK)
    found = []
    for image, weigh in zip(x, seed, strict=True):
        chunks = (masks[start : start + CHUNK] for start in e.track(steps, f"behind {layer.value}"))
        found.append(np.concatenate([score(values, weigh) for values in _behind(e, layer, image, chunks)]))
    return np.stack(found)


def _behind(e: Explainer, layer: Layer, image: Array, masks: Iterable[Array]) -> Iterator[Array]:
    """Yield the target's values with a layer's own multiplied by masks (n, C or 1, *grid or ones).

    Only the part of the model behind the layer runs again, and what goes around it.
    """
    import numpy as np

    value = e.forward([layer.value])({e.input: image[None]})[layer.value]
    runner = e.session(("tail", layer.value), lambda: (tail(e.model, layer.value, e.target), [e.target]))
    for some in masks:
        given = {layer.value: value * layer.spread(some).astype(value.dtype)}
        if e.input in runner.model.graph.inputs:
            given[e.input] = np.repeat(image[None], len(some), 0)
        yield runner(given)[e.target]


def tail(model: Model, start: str, end: str) -> Model:
    """Return the part of a model from a value to another, with the first one as an input.

    Examples
    --------
    >>> op = Builder("net")
    >>> y = op.Relu(op.input("x", "float32", (1, 2)))
    >>> part = tail(op.model([op.Neg(y)]), y, "Neg")
    >>> part.graph.inputs, [node.op_type for node in part.graph.nodes]
    (('Relu',), ['Neg'])
    """
    graph = model.graph
    needed, nodes = {end}, []
    for node in reversed(graph.nodes):
        if start not in node.outputs and any(name in needed for name in node.outputs):
            needed.update(node.inputs)
            nodes.append(node)
    inputs = (start, *(name for name in graph.inputs if name in needed and name != start))
    kept = {name: tensor for name, tensor in graph.initializers.items() if name in needed}
    return model.with_graph(
        replace(graph, nodes=tuple(reversed(nodes)), inputs=inputs, outputs=(end,), initializers=kept)
    )


# Sums of others ----------------------------------------------------------------------------------------------------


@method("guided-grad-cam")
def guided_grad_cam(e: Explainer, x: Array, seed: Array) -> Array:
    """Guided backprop where Grad-CAM is: fine detail, for a class (Selvaraju et al. 2016)."""
    import numpy as np

    axis = _image(e).axis
    found: Array = guided_backprop(e, x, seed) * np.expand_dims(_map("grad-cam", e, x, seed, False), axis)
    return found


@method("finer-cam")
def finer_cam(
    e: Explainer,
    x: Array,
    seed: Array,
    signed: bool = False,
    near: int = 3,
    gamma: float = 1.0,
    base: str = "grad-cam",
    enlarge: bool = True,
) -> Array:
    """What speaks for the class and not for those that are nearly as likely (Zhang et al. 2025).

    The target is the score less `gamma` times the mean score of the `near` classes whose scores are closest; `base` is
    the method that explains it.
    """
    import numpy as np

    if base not in weights:
        raise ConfigError(f"{base!r} is no base", key="base", hint=f"one of {', '.join(weights)}")
    values = e.scores(x)
    if values.ndim < 2 or values.shape[1] < 2:
        raise ConfigError("finer-cam compares classes, and there is one", key="--method")
    flat = values.reshape(*values.shape[:2], -1).mean(2)
    against = seed.copy()
    for k, chosen in enumerate(seed.reshape(*values.shape[:2], -1).sum(2).argmax(1)):
        order = np.argsort(np.abs(flat[k] - flat[k, chosen]), kind="stable")
        others = order[order != chosen][:near]
        against[k, others] -= np.float32(gamma / len(others)) * seed[k, chosen]
    return _map(base, e, x, against, signed, enlarge)


@method("fullgrad")
def fullgrad(e: Explainer, x: Array, seed: Array) -> Array:
    """Input times gradient, and every layer's bias times its gradient: of ReLU nets the whole score (Srinivas 2019)."""
    import numpy as np

    inputs = Builder.of(e.model.graph)
    found = {node.outputs[0]: _bias(inputs, node) for node in between(e.model.graph, [e.input], e.target)}
    added = {name: bias for name, bias in found.items() if bias is not None}
    model, backward = e.backward("gradient", [e.input, *added])
    runner = e.session(("fullgrad",), lambda: _with_sum(e, model, backward, added))
    total, heat = runner({e.input: x, backward.seed: seed}).values()
    whole = score(e.scores(x), seed)
    missed = float((np.abs(total - whole) / np.maximum(np.abs(whole), 1e-12)).max())
    e.notes.append(f"fullgrad: its parts miss the score by {missed:.1e} of it (completeness, of ReLU nets)")
    return heat


def _with_sum(
    e: Explainer, model: Model, backward: Backward, added: Mapping[str, Array]
) -> tuple[Model, Sequence[str]]:
    """Return the model with the sum of all parts, and with their map."""
    op = Builder.of(backward.graph, model.opset_imports.get("", 18))
    op.scope = ("map",)
    parts: list[tuple[Layer | None, str]] = [(_image(e), op.Mul(e.input, backward.gradients[e.input]))]
    for name, bias in added.items():
        weight = op.weight(f"{name}/bias", bias.shape, bias.tobytes())
        parts.append((e.layer(name), op.Mul(weight, backward.gradients[name])))
    sums, maps = [], []
    for layer, part in parts:
        rank = len(op.shape(part) or ())
        inner = op.constant(list(range(1, rank)))
        sums.append(op.ReduceSum(part, inner, keepdims=0))
        if layer is None:
            continue  # what has no places adds the same everywhere
        amount = op.Abs(part)
        low, high = op.ReduceMin(amount, inner, keepdims=1), op.ReduceMax(amount, inner, keepdims=1)
        amount = op.Div(op.Sub(amount, low), op.Add(op.Sub(high, low), op.scalar(1e-12)))
        flat = op.ReduceSum(layer.channels_first(op, amount), op.constant([1]), keepdims=1)
        maps.append(_enlarged(op, flat, places(e)))
    total = op.Sum(*sums)
    heat = op.Squeeze(op.Sum(*maps), op.constant([1]))
    return model.with_graph(op.graph([total, heat])), [total, heat]


biases: Table[Callable[[Sequence[Array | None], Node], Array | None]] = Table("bias")
"""What an operation adds to its output whatever its input is, from its constant inputs; one number a channel."""


@biases("Conv", "ConvTranspose")
def _bias_of_conv(given: Sequence[Array | None], node: Node) -> Array | None:
    return given[2] if len(given) > 2 else None


@biases("Gemm")
def _bias_of_gemm(given: Sequence[Array | None], node: Node) -> Array | None:
    beta: float = node.attributes.get("beta", 1.0)
    return None if len(given) < 3 or given[2] is None else beta * given[2]


@biases("BatchNormalization")
def _bias_of_batch(given: Sequence[Array | None], node: Node) -> Array | None:
    import numpy as np

    _, scale, shift, mean, variance = given
    if scale is None or shift is None or mean is None or variance is None:
        return None
    found: Array = shift - mean * scale / np.sqrt(variance + node.attributes.get("epsilon", 1e-5))
    return found


@biases("Add", "Sub")
def _bias_of_sum(given: Sequence[Array | None], node: Node) -> Array | None:
    first, second = given
    if second is None:
        return first
    return second if node.op_type == "Add" else -second


def _bias(op: Builder, node: Node) -> Array | None:
    """Return an operation's bias in a shape that fits its output, None where it has none."""
    rule = biases.find(node.domain, node.op_type)
    found = None if rule is None else rule([constant(op, name) if name else None for name in node.inputs], node)
    if found is None:
        return None
    channels_first = node.op_type in FIRST
    return (
        found.reshape(1, -1, *[1] * (len(op.shape(node.outputs[0]) or ()) - 2)).astype("f4")
        if channels_first
        else (found.astype("f4"))
    )


MAPS = frozenset({*weights, "ablation-cam", "eigen-cam", "eigengrad-cam", "finer-cam", "fullgrad", "recipro-cam",
                  "score-cam", "ss-cam"})  # fmt: skip
"""Methods whose result has no channels."""
UNSIGNED = MAPS - {"cam"}
"""Methods whose result has no sign, unless it is asked for."""
