"""Layers whose places are an image's: where a value has its channels, which layer maps are made of, and its names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod, sqrt
from typing import TYPE_CHECKING, Any, TypeAlias

from graphviz_nets.errors import ConfigError, meant
from graphviz_nets.graph.builder import Builder
from graphviz_nets.graph.ir import Graph, Model, Node
from graphviz_nets.graph.scopes import Scope

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

FIRST = frozenset({
    "AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "DepthToSpace", "GlobalAveragePool", "GlobalMaxPool",
    "GroupNormalization", "InstanceNormalization", "LRN", "LpPool", "MaxPool", "SpaceToDepth",
})  # fmt: skip
"""Operations whose channels stand behind the batch."""
LAST = frozenset({"Gemm", "LayerNormalization", "MatMul", "RMSNormalization"})
"""Operations that work along the last axis, which holds the channels."""
POOLS = frozenset({"AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool", "MaxPool"})
ATTENTION = frozenset({"Attention", "Softmax"})
PREFIXES = (0, 1, 2, 5)
"""Tokens before those of the patches: none, a class token, one of distillation as well, four registers as well."""


@dataclass(frozen=True)
class Layer:
    """A value that holds, for each place of an image, a vector of channels.

    Attributes
    ----------
    value : str
        Its name.
    axis : int
        The axis of the channels; the batch is the first one.
    grid : tuple of int
        The places: (height, width), (length,) or (depth, height, width).
    tokens : bool
        Whether the places are one axis.
    prefix : int
        Tokens before those of the places.

    Examples
    --------
    >>> import numpy as np
    >>> layer = Layer("tokens", 2, (2, 2), True, 1)
    >>> layer.first(np.arange(10).reshape(1, 5, 2))[0, 1].tolist()
    [[3, 5], [7, 9]]
    """

    value: str
    axis: int
    grid: tuple[int, ...]
    tokens: bool = False
    prefix: int = 0

    def channels_first(self, op: Builder, name: str) -> str:
        """Append what turns a value of this layer's shape to (N, C, *grid)."""
        shape = [int(dim or 1) for dim in op.shape(name) or ()]
        if self.axis != 1:
            name = op.Transpose(name, perm=[0, self.axis, *(k for k in range(1, len(shape)) if k != self.axis)])
            shape = [shape[0], shape[self.axis], *(shape[k] for k in range(1, len(shape)) if k != self.axis)]
        if self.prefix:
            name = op.Slice(name, op.constant([self.prefix]), op.constant([shape[2]]), op.constant([2]))
        return op.Reshape(name, op.constant([*shape[:2], *self.grid])) if self.tokens else name

    def first(self, values: Array) -> Array:
        """Return values of this layer as (N, C, *grid)."""
        import numpy as np

        values = np.moveaxis(values, self.axis, 1)
        return values[:, :, self.prefix :].reshape(*values.shape[:2], *self.grid) if self.tokens else values

    def spread(self, weights: Array, rest: float = 1.0) -> Array:
        """Return weights (n, C or 1, *grid or ones) such that they multiply values of this layer.

        `rest` is the weight of what is no place, a class token.
        """
        import numpy as np

        if self.tokens:
            flat = np.broadcast_to(weights, (*weights.shape[:2], *self.grid)).reshape(*weights.shape[:2], -1)
            before = np.full((*weights.shape[:2], self.prefix), rest, flat.dtype)
            weights = np.concatenate([before, flat], 2)
        return np.moveaxis(weights, 1, self.axis)


def channels(graph: Graph, image: str) -> dict[str, int]:
    """Return the axis of the channels of every value that has one, by the operations on the way from an input.

    Examples
    --------
    >>> op = Builder("net")
    >>> x = op.input("x", "float32", (1, 8, 8, 3))
    >>> y = op.Conv(op.Transpose(x, perm=[0, 3, 1, 2]), op.weight("w", (4, 3, 3, 3)), kernel_shape=(3, 3))
    >>> channels(op.graph([op.Transpose(op.Relu(y), perm=[0, 2, 3, 1])]), x)
    {'x': 3, 'Transpose': 1, 'Conv': 1, 'Relu': 1, 'Transpose:2': 3}
    """
    found = {image: _of_input(graph, image)}
    for node in graph.nodes:
        for name in node.outputs:
            shape = graph.value(name).shape
            axis = None if shape is None or len(shape) < 3 else _passed(graph, node, shape, found)
            if axis is not None:
                found[name] = axis
    return found


def _of_input(graph: Graph, image: str) -> int:
    """Return the axis of an input's channels: what its first user expects, or else that of the few."""
    shape = graph.value(image).shape or ()
    last = len(shape) - 1
    for guess in (1, last):
        found = {image: guess}
        for node in graph.nodes:
            one = next((name for name in node.inputs if name in found), None)
            if one is None:
                continue
            if node.op_type in FIRST or node.op_type in LAST:
                if found[one] == _expected(node, len(graph.value(one).shape or ())):
                    return guess
                break
            for name in node.outputs:
                axis = _passed(graph, node, graph.value(name).shape or (), found)
                if axis is not None:
                    found[name] = axis
    few = (1, 3, 4)
    return last if last > 1 and shape[last] in few and shape[1] not in few else 1


def _expected(node: Node, rank: int) -> int | None:
    """Return the axis on which an operation has its channels, None where it has them on any."""
    return 1 if node.op_type in FIRST else rank - 1 if node.op_type in LAST else None


def _passed(graph: Graph, node: Node, shape: Sequence[Any], known: Mapping[str, int]) -> int | None:
    """Return the axis of the channels of an operation's output, of this shape."""
    axis = _expected(node, len(shape))
    if axis is not None:
        return axis
    for name in node.inputs:
        before = graph.value(name).shape
        if name not in known or before is None:
            continue
        axis = known[name]
        if node.op_type == "Transpose":
            perm = list(node.attributes.get("perm") or reversed(range(len(shape))))
            return perm.index(axis)
        if len(before) == len(shape) and (node.op_type != "Reshape" or before[axis] == shape[axis]):
            return axis
        if len(shape) < 2:
            continue
        # Places were joined to one axis, or one was laid out as places.
        if axis == 1 and before[1] == shape[1]:
            return 1
        if axis == len(before) - 1 and before[-1] == shape[-1]:
            return len(shape) - 1
    return None


def described(graph: Graph, name: str, image: str, axes: Mapping[str, int]) -> Layer | None:
    """Return where a value has its channels and places, None where it has no places.

    Parameters
    ----------
    graph : Graph
        With shapes.
    name : str
        A value.
    image : str
        The input that is explained: its height and width say how tokens lie.
    axes : mapping of str to int
        The result of :func:`channels`.

    Examples
    --------
    >>> op = Builder("net")
    >>> x = op.input("x", "float32", (1, 3, 8, 8))
    >>> y = op.Relu(op.Conv(x, op.weight("w", (4, 3, 3, 3)), kernel_shape=(3, 3)))
    >>> graph = op.graph([y])
    >>> described(graph, y, x, channels(graph, x))
    Layer(value='Relu', axis=1, grid=(6, 6), tokens=False, prefix=0)
    """
    shape = graph.value(name).shape
    axis = axes.get(name)
    if axis is None or shape is None or len(shape) > 5 or not all(isinstance(dim, int) for dim in shape):
        return None
    places = [int(dim or 1) for k, dim in enumerate(shape) if k not in (0, axis)]
    if prod(places) == 1:
        return None
    whole = graph.value(image).shape or ()
    if len(shape) == len(whole):
        return Layer(name, axis, tuple(places))
    if len(shape) != 3 or len(whole) != 4:
        return None
    sides = [int(dim or 1) for k, dim in enumerate(whole) if k not in (0, axes[image])]
    found = laid(places[0], sides)
    return None if found is None else Layer(name, axis, found[0], True, found[1])


def laid(tokens: int, sides: Sequence[int]) -> tuple[tuple[int, int], int] | None:
    """Return how tokens lie on an image of these sides, and how many come before them.

    Examples
    --------
    >>> laid(197, (224, 224)), laid(97, (64, 96)), laid(7, (64, 64))
    (((14, 14), 1), ((8, 12), 1), None)
    """
    high, wide = sides
    for prefix in PREFIXES:
        number = tokens - prefix
        if number < 2:
            break
        rows = round(sqrt(number * high / wide))
        if rows and number % rows == 0 and number // rows == round(sqrt(number * wide / high)):
            return (rows, number // rows), prefix
    return None


def automatic(graph: Graph, target: str, image: str, axes: Mapping[str, int]) -> Layer:
    """Return the layer that maps are made of where none is named.

    That is the last value with places before the pooling, and before the heads of a detector: everything that reaches
    the target has passed through it. Where a class token is read off, only that one counts behind the last attention:
    the layer is then what goes into that, behind its normalization.

    Raises
    ------
    ConfigError
        When there is none.
    """
    way = between(graph, [image], target)
    placed = [(node, layer) for node in way for name in node.outputs if (layer := described(graph, name, image, axes))]
    narrow = narrows(way, image)
    for node, layer in reversed([one for one in placed if one[1].value in narrow] or placed):
        if layer.prefix:
            return _before_attention(graph, way, image, axes) or layer
        maker: Node | None = node
        while maker is not None and maker.op_type in POOLS:
            layer = described(graph, maker.inputs[0], image, axes) or layer
            maker = graph.producers.get(maker.inputs[0])
        return layer
    raise ConfigError(f"no value between {image!r} and {target!r} has places", key="--layer",
                      hint="methods that weigh the input itself still work: saliency, occlusion, rise")  # fmt: skip


def narrows(way: Sequence[Node], start: str) -> set[str]:
    """Return the values that all ways from a value lead through, of nodes in order as :func:`between` gives them.

    Examples
    --------
    >>> op = Builder("net")
    >>> x = op.input("x", "float32", (2,))
    >>> y = op.Add(op.Relu(op.Neg(x)), x)
    >>> sorted(narrows(op.graph([op.Abs(y)]).nodes, x))
    ['Abs', 'Add']
    """
    last = {name: k for k, node in enumerate(way) for name in node.inputs}
    found, reach = set(), last.get(start, -1)
    for k, node in enumerate(way):
        used = [name for name in node.outputs if name in last] or list(node.outputs[:1])
        if reach <= k and len(used) == 1:  # nothing older is used behind this node
            found.update(used)
        reach = max([reach, *(last.get(name, k) for name in node.outputs)])
    return found


def _before_attention(graph: Graph, way: Sequence[Node], image: str, axes: Mapping[str, int]) -> Layer | None:
    """Return the normalized tokens that go into the last attention on the way."""
    last = next((node for node in reversed(way) if node.op_type in ATTENTION and _squares(graph, node)), None)
    if last is None:
        return None
    for node in reversed(between(graph, [image], last.outputs[0])):
        found = described(graph, node.outputs[0], image, axes)
        if found is not None and found.prefix and node.op_type not in LAST - {"LayerNormalization", "RMSNormalization"}:
            return found
    return None


def _squares(graph: Graph, node: Node) -> bool:
    """Say whether a softmax is one of tokens over tokens; an Attention always is."""
    shape = graph.value(node.outputs[0]).shape or ()
    return node.op_type == "Attention" or (len(shape) > 2 and shape[-1] == shape[-2] != 1)


def between(graph: Graph, starts: Sequence[str], end: str) -> tuple[Node, ...]:
    """Return the nodes on the ways from some values to another, in order.

    Examples
    --------
    >>> op = Builder("net")
    >>> y = op.Relu(op.input("x", "float32", (2,)))
    >>> z = op.Neg(y)
    >>> [node.op_type for node in between(op.graph([z, op.Abs(y)]), [y], z)]
    ['Neg']
    """
    reached = set(starts)
    forward = []
    for node in graph.nodes:
        if any(name in reached for name in node.inputs) and not any(name in reached for name in node.outputs):
            reached.update(node.outputs)
            forward.append(node)
    needed, found = {end}, []
    for node in reversed(forward):
        if any(name in needed for name in node.outputs):
            needed.update(node.inputs)
            found.append(node)
    return tuple(reversed(found))


def on_the_way(graph: Graph, name: str, target: str) -> str | None:
    """Return a value, or what it is a transposition of where only that leads to the target; None where neither does.

    Transpositions there and back are taken out when a model is prepared. A value between them that is asked for is then
    computed beside the way.

    Examples
    --------
    >>> op = Builder("net")
    >>> y = op.Relu(op.input("x", "float32", (1, 2, 3, 3)))
    >>> graph = op.graph([op.Neg(y), op.Transpose(y, perm=[0, 2, 3, 1])])
    >>> on_the_way(graph, "Transpose", "Neg"), on_the_way(graph, "Neg", "Transpose")
    ('Relu', None)
    """
    while name != target and not between(graph, [name], target):
        node = graph.producers.get(name)
        if node is None or node.op_type != "Transpose":
            return None
        name = node.inputs[0]
    return name


def find(model: Model, name: str, key: str = "--layer") -> str:
    """Return the value that a name stands for: the output of a layer, module, scope or operation, or that value.

    `key` is the option that an error names.

    Raises
    ------
    ConfigError
        When there is nothing of that name; what is called nearly so is named.

    Examples
    --------
    >>> op = Builder("net")
    >>> model = op.model([op.Relu(op.input("x", "float32", (2,)))])
    >>> find(model, "Relu")
    'Relu'
    """
    graph, scopes = model.graph, model.scopes.values()
    value = _made(graph, [scope for scope in scopes if name in (scope.id, scope.name)])
    if value is not None:
        return value
    if name in graph.by_id and graph.by_id[name].outputs:
        return graph.by_id[name].outputs[0]
    known = {*graph.producers, *graph.inputs}
    if name in known:
        return name
    sources = {graph.value(one).source_name: one for one in known}
    if name in sources:
        return sources[name]
    value = _made(graph, [scope for scope in scopes if name == ".".join(scope.path)])  # as PyTorch calls its modules
    if value is not None:
        return value
    hint = meant(name, names(model), "graphviz-nets summary lists them")
    raise ConfigError(f"the model has no layer or value {name!r}", key=key, hint=hint)


def _made(graph: Graph, scopes: Iterable[Scope]) -> str | None:
    """Return the last value that the first of some scopes makes which makes one."""
    for scope in scopes:
        value = next((one for one in reversed(scope.outputs) if one in graph.producers), None)
        value = value or _last_out(graph, scope.path)
        if value is not None:
            return value
    return None


def _last_out(graph: Graph, path: tuple[str, ...]) -> str | None:
    """Return the last value of a scope that is used outside of it."""
    size = len(path)
    for node in reversed(graph.nodes):
        if node.scope[:size] == path:
            for name in node.outputs:
                users = graph.consumers.get(name, ())
                if name in graph.outputs or any(user.scope[:size] != path for user, _ in users):
                    return name
    return None


def names(model: Model) -> list[str]:
    """Return what :func:`find` knows, layers and scopes first."""
    scopes = [scope.id for scope in model.scopes.values()]
    return list(dict.fromkeys([*scopes, *model.graph.by_id, *model.graph.producers]))
