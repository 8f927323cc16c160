"""Attention followed back from layer to layer: from which patches of an image a vision transformer gathered its result.

The probabilities are found in the prepared graph by what they are: a Softmax of tokens over the same tokens that weighs
values. That is what every exporter makes of attention, with scales and masks of its own before it; ONNX's Attention is
expanded to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, TypeAlias

from graphviz_nets.errors import ConfigError
from graphviz_nets.explain.explainer import Explainer
from graphviz_nets.explain.layers import between, laid
from graphviz_nets.explain.methods.cam import enlarged, places
from graphviz_nets.explain.methods.table import method
from graphviz_nets.graph.ir import Graph, Node

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

HEADS: Mapping[str, Callable[[Array], Array]] = {
    "mean": lambda layer: layer.mean(1),
    "max": lambda layer: layer.max(1),
    "min": lambda layer: layer.min(1),
}
"""What heads become, (images, heads, T, T) to (images, T, T)."""
BETWEEN = frozenset({"Cast", "Dropout", "Identity", "Reshape", "Where"})
"""What may stand between the probabilities and their product with the values."""
PRODUCTS = frozenset({"Einsum", "MatMul"})
PROJECTIONS = frozenset({"Einsum", "Gemm", "MatMul"})


@method("attention-rollout")
def attention_rollout(e: Explainer, x: Array, seed: Array, heads: str = "mean", discard: float = 0.0) -> Array:
    """The attention of all layers, multiplied: where a ViT gathers its result, of any class (Abnar and Zuidema 2020).

    `heads` is how those of a layer become one: mean, max or min. `discard` is the share of a layer's attention, its
    least entries, that counts as none; the first token's to itself always counts.
    """
    if heads not in HEADS:
        raise ConfigError(f"{heads!r} is not known", key="heads", hint=f"one of {', '.join(HEADS)}")
    found = attention(e)
    layers = found.layers(e.forward(found.names)({e.input: x}), len(x))
    back = found.layers(e.gradients(x, seed, found.names[-1:]), len(x))
    return _rolled(e, found, [_without(HEADS[heads](one), discard) for one in layers], _read(e, found, back[-1]))


@method("gradient-rollout")
def gradient_rollout(e: Explainer, x: Array, seed: Array, discard: float = 0.0, chefer: bool = False) -> Array:
    """Attention times its gradient, where positive, multiplied over the layers: attention rollout for a class.

    `discard` as of attention-rollout. With `chefer` each head has its own positive part, and rows are not scaled
    (Chefer, Gur and Wolf 2021).
    """
    import numpy as np

    found = attention(e)
    layers = found.layers(e.forward(found.names)({e.input: x}), len(x))
    back = found.layers(e.gradients(x, seed, found.names), len(x))
    products = [a * g for a, g in zip(layers, back, strict=True)]
    fused = [np.maximum(one, 0).mean(1) if chefer else np.maximum(one.mean(1), 0) for one in products]
    return _rolled(e, found, [_without(one, discard) for one in fused], _read(e, found, back[-1]), scaled=not chefer)


@dataclass(frozen=True)
class Attention:
    """The attention of a vision transformer.

    Attributes
    ----------
    names : tuple of str
        The probabilities, layer by layer; each (images, heads, tokens, tokens), or the first two in one axis.
    heads : tuple of int
        Of each layer.
    tokens : int
        Of every layer.
    grid : tuple of int
        How patches lie on the image.
    prefix : int
        Tokens before those of the patches.
    """

    names: tuple[str, ...]
    heads: tuple[int, ...]
    tokens: int
    grid: tuple[int, int]
    prefix: int

    def layers(self, values: Mapping[str, Array], images: int) -> list[Array]:
        """Return those of the probabilities, or of what came back to them, that are given: (images, heads, T, T)."""
        # What was run in a batch filled up to the model's own is longer than the images.
        return [
            values[name].reshape(-1, heads, self.tokens, self.tokens)[:images]
            for name, heads in zip(self.names, self.heads, strict=True) if name in values
        ]  # fmt: skip


def attention(e: Explainer) -> Attention:
    """Return the attention on the way from an image to the target.

    Raises
    ------
    ConfigError
        When there is none, or when it is not of all patches of the image to the same patches.
    """
    if e.view is None or len(e.view.grid) != 2:
        raise _refused("rollout follows attention to the patches of an image, and the input is none", "saliency")
    graph, images = e.model.graph, e.shape[0]
    products = {node.outputs[0]: product for node in between(graph, [e.seen], e.target)
                if (product := _product(graph, node)) is not None}  # fmt: skip
    # Attention that asks with other tokens (a probe, a decoder) may come behind the last layer, not between.
    last = max((k for k, name in enumerate(products) if _square(graph, name)), default=-1)
    if last < 0:
        raise _refused("rollout follows attention from tokens to each other, and the model has none")
    products = dict(list(products.items())[: last + 1])
    for name, product in products.items():
        if not _square(graph, name):
            raise _refused(f"rollout follows tokens through all layers; at {name!r} {_shape(graph, name)[-2]} look at "
                           f"{_shape(graph, name)[-1]} others")  # fmt: skip
        if not _whole(graph, name, product, images):
            raise _refused(f"rollout follows attention over the whole image; {name!r} is within windows of "
                           f"{_shape(graph, name)[-1]} tokens, as in Swin")  # fmt: skip
    sizes = sorted({_shape(graph, name)[-1] for name in products}, reverse=True)
    if len(sizes) > 1:
        raise _refused(f"rollout follows tokens through all layers; here {' become '.join(map(str, sizes))}")
    grid = laid(sizes[0], e.view.grid)
    if grid is None:
        raise _refused(f"{sizes[0]} tokens are no grid of patches of the image")
    heads = tuple(prod(_shape(graph, name)) // (images * sizes[0] ** 2) for name in products)
    return Attention(tuple(products), heads, sizes[0], *grid)


def _refused(why: str, instead: str = "grad-cam") -> ConfigError:
    return ConfigError(why, key="--method", hint=f"{instead} works without attention")


def _shape(graph: Graph, name: str) -> tuple[int, ...]:
    return tuple(dim if isinstance(dim, int) else 0 for dim in graph.value(name).shape or ())


def _square(graph: Graph, name: str) -> bool:
    shape = _shape(graph, name)
    return shape[-1] == shape[-2] > 1


def _product(graph: Graph, node: Node) -> Node | None:
    """Return the product with the values that a softmax is the weights of, None for any other operation."""
    rank = len(_shape(graph, node.outputs[0]))
    if node.op_type != "Softmax" or rank < 3 or node.attributes.get("axis", -1) not in (-1, rank - 1):
        return None
    waiting = [node.outputs[0]]
    while waiting:
        for user, place in graph.consumers.get(waiting.pop(), ()):
            if user.op_type in PRODUCTS and place == 0:
                return user
            if user.op_type in BETWEEN:
                waiting.append(user.outputs[0])
    return None


def _whole(graph: Graph, name: str, product: Node, images: int) -> bool:
    """Say whether probabilities are (images, heads, T, T) or (images * heads, T, T), and not those of windows.

    Of three axes the first may hold windows as well: then the projection behind takes more tokens than an image has.
    """
    shape = _shape(graph, name)
    if len(shape) != 3:
        return len(shape) == 4 and shape[0] == images
    value = product.outputs[0]
    while (users := graph.consumers.get(value)) and users[0][0].op_type not in PROJECTIONS:
        value = users[0][0].outputs[0]
    taken = _shape(graph, value)
    return prod(taken[:-1]) == images * shape[-1]


def _without(layer: Array, share: float) -> Array:
    """Return attention (images, T, T) whose least entries, this share of them, are 0; never the very first."""
    import numpy as np

    if not 0 <= share < 1:
        raise ConfigError(f"{share} is no share", key="discard", hint="0 to below 1")
    flat = layer.reshape(len(layer), -1).copy()
    first = flat[:, :1].copy()
    np.put_along_axis(flat, np.argsort(flat, 1, kind="stable")[:, : int(flat.shape[1] * share)], 0, 1)
    flat[:, :1] = first
    return flat.reshape(layer.shape)


def _read(e: Explainer, found: Attention, back: Array) -> Array:
    """Return the share of each token in what the target reads, (images, 1, T): a class token alone, or a mean of all.

    Behind the last attention no token sees another, so those are read through which anything comes back to it.
    """
    import numpy as np

    read = (back != 0).any((1, 3))
    patches = read[:, found.prefix :]
    if (patches.any(1) & ~patches.all(1)).any():
        e.notes.append("only some of the patches are read; were they tokens of another kind, as YOLOS has behind its "
                       "patches, the map would be displaced")  # fmt: skip
    shares: Array = (read / np.maximum(read.sum(1, keepdims=True), 1))[:, None].astype("f4")
    return shares


def _rolled(e: Explainer, found: Attention, layers: Sequence[Array], read: Array, scaled: bool = True) -> Array:
    """Return maps (images, H, W): attention and the way around it, multiplied over the layers, to the tokens read."""
    import numpy as np

    for layer in reversed(layers):
        step = layer + np.eye(found.tokens, dtype="f4")
        read = read @ (step / step.sum(2, keepdims=True) if scaled else step)
    return enlarged(read[:, 0, found.prefix :].reshape(-1, *found.grid), places(e))


MAPS = UNSIGNED = frozenset({"attention-rollout", "gradient-rollout"})
"""Methods whose result has no channels, and no sign."""
