"""Weights as a page shows them: what their numbers are like, and the filters of a first convolution as tiles."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from graphviz_nets.drawing.leaves import Leaf
from graphviz_nets.errors import GraphvizNetsError
from graphviz_nets.graph.ir import Graph, Model, Node, Shape, Tensor
from graphviz_nets.graph.preprocess import Preprocess

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

MOST = 200 << 20
"""Bytes of weights that one page reads."""
TENSORS = 4000
"""Weights that one page measures."""
BINS = 32
LEVELS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"
"""Heights of a histogram's bars, one character each."""
PIECE = 1 << 20
"""Elements that are turned into doubles at one time."""
PIXELS = 1 << 16
"""Numbers that are shown as tiles."""
NUMBERS = {
    "float16": "<f2", "bfloat16": "<u2", "float32": "<f4", "float64": "<f8", "bool": "?",
    "int8": "i1", "uint8": "u1", "int16": "<i2", "uint16": "<u2", "int32": "<i4", "uint32": "<u4", "int64": "<i8",
    "uint64": "<u8",
}  # fmt: skip
"""numpy's names of the element types that are measured."""
PASSING = frozenset(
    "Add Sub Mul Div Cast Pad Transpose Identity BatchNormalization QuantizeLinear DequantizeLinear".split()
)
"""Operations that an image may go through before it is convolved, pixels staying pixels."""


@dataclass(frozen=True)
class Tiles:
    """Filters side by side, a pixel apart.

    Attributes
    ----------
    width, height : int
        Of the whole picture.
    pixels : bytes
        Rows of grey and opacity, or of red, green, blue and opacity.
    channels : int
        Bytes of a pixel: 2 or 4.
    shown, filters : int
        How many of the filters are in the picture, and how many there are.
    """

    width: int
    height: int
    pixels: bytes
    channels: int
    shown: int
    filters: int


@dataclass(frozen=True)
class Weight:
    """A tensor and what its numbers are like.

    Attributes
    ----------
    figures : mapping of str to float
        ``min``, ``max``, ``mean``, ``std`` of the finite numbers, ``zeros`` (the share of exact zeros) and, where
        there are any, ``odd``: how many are not finite. Empty where they were not counted.
    bars : str
        A histogram of `BINS` equal steps from min to max, a character of `LEVELS` each; empty for a single value.
    why : str
        Why there are no figures.
    """

    name: str
    dtype: str
    shape: Shape
    figures: Mapping[str, float] = field(default_factory=dict)
    bars: str = ""
    tiles: Tiles | None = None
    why: str = ""


def weights_of(model: Model, found: Iterable[Leaf], roles: Mapping[str, str]) -> dict[str, tuple[Weight, ...]]:
    """Measure the weights of boxes, a tensor at a time; nothing is read where the model has no data.

    Parameters
    ----------
    model : Model
        With or without data.
    found : iterable of Leaf
        The boxes and rows to tell of, in the order in which the budget (`MOST`, `TENSORS`) is spent.
    roles : mapping of str to str
        What each initializer is for, from :func:`~graphviz_nets.graph.cost.tensor_roles`.

    Returns
    -------
    dict of id to tuple of Weight
        A tensor that several boxes use is one object in all of them.

    Examples
    --------
    >>> from graphviz_nets.graph.builder import Builder
    >>> op = Builder("one")
    >>> model = op.model([op.MatMul(op.input("x", "float32", (1, 2)), op.weight("w", (2, 1), bytes(8)))])
    >>> from graphviz_nets.config import Options
    >>> from graphviz_nets.drawing.leaves import leaves
    >>> weights_of(model, leaves(model, Options()), {"w": "parameter"})["MatMul"][0].figures["zeros"]
    1.0
    """
    graph = model.graph
    names = {leaf.id: [name for name in _names(leaf) if _shown(graph, name, roles)] for leaf in found}
    order = list(dict.fromkeys(name for some in names.values() for name in some))
    if all(graph.initializers[name].data is None for name in order):
        return {}
    first = _first(model)
    known: dict[str, Weight] = {}
    left = MOST
    for number, name in enumerate(order):
        tensor = graph.initializers[name]
        size = tensor.nbytes or 0
        fits = size <= left and number < TENSORS
        left -= size if fits and tensor.data is not None else 0
        known[name] = _weight(tensor, graph.value(name).source_name, fits, first.get(name))
    return {id_: tuple(known[name] for name in some) for id_, some in names.items() if some}


def _names(leaf: Leaf) -> Iterator[str]:
    yield from leaf.scope.weights if leaf.scope is not None else ()
    for node in leaf.nodes:
        yield from node.inputs


def _shown(graph: Graph, name: str, roles: Mapping[str, str]) -> bool:
    """Say whether a value is a weight: learnt, a statistic, or one that was quantized."""
    tensor = graph.initializers.get(name)
    if tensor is None:
        return False
    return roles[name] != "constant" or (tensor.dtype in ("int8", "uint8") and len(tensor.shape) > 1)


def _weight(tensor: Tensor, name: str, fits: bool, order: str | None) -> Weight:
    why = ""
    if tensor.data is None:
        why = "the file has no numbers for it"
    elif tensor.dtype not in NUMBERS:
        why = "this type of number is not counted"
    elif not fits:
        why = f"not counted: a page reads {MOST >> 20} MB of weights"
    elif tensor.count:
        try:
            values = _array(tensor)
        except GraphvizNetsError as fault:
            why = fault.message
        except ValueError:
            why = "its numbers do not fit its shape"
        else:
            figures, bars = measured(values)
            tiles = tiled(values, order) if order is not None and figures else None
            return Weight(name, tensor.dtype, tensor.shape, figures, bars, tiles)
    return Weight(name, tensor.dtype, tensor.shape, why=why)


def _array(tensor: Tensor) -> npt.NDArray[Any]:
    import numpy as np

    values = np.frombuffer(tensor.bytes(), NUMBERS[tensor.dtype]).reshape([int(dim or 0) for dim in tensor.shape])
    # A bfloat16 is the upper half of a single-precision number.
    return (values.astype("u4") << 16).view("f4") if tensor.dtype == "bfloat16" else values


def measured(values: npt.NDArray[Any]) -> tuple[dict[str, float], str]:
    """Return the figures of an array's numbers and its histogram, as :class:`Weight` holds them.

    Examples
    --------
    >>> import numpy as np
    >>> figures, bars = measured(np.array([0, 0, 1, 3], "f4"))
    >>> figures
    {'min': 0.0, 'max': 3.0, 'mean': 1.0, 'std': 1.224744871391589, 'zeros': 0.5}
    >>> bars[0], bars[10], bars[31]
    ('_', 'W', 'W')
    """
    import numpy as np

    pieces = _Pieces(values)
    count, zeros, total, low, high = 0, 0, 0.0, math.inf, -math.inf
    for piece in pieces:
        if piece.size:
            count, zeros, total = count + piece.size, zeros + int((piece == 0).sum()), total + float(piece.sum())
            low, high = min(low, float(piece.min())), max(high, float(piece.max()))
    if not count:
        return {}, ""
    mean, squares, bins = total / count, 0.0, np.zeros(BINS, "i8")
    step = BINS / (high - low) if 0 < high - low < math.inf else 0.0
    for piece in pieces:
        squares += float(((piece - mean) ** 2).sum())
        if step:
            places = np.minimum(((piece - low) * step).astype("i8"), BINS - 1)
            bins += np.bincount(places, minlength=BINS)
    figures = {"min": low, "max": high, "mean": mean, "std": math.sqrt(squares / count), "zeros": zeros / count}
    if count < values.size:
        figures["odd"] = values.size - count
    return figures, _bars(bins.tolist()) if step else ""


@dataclass(frozen=True)
class _Pieces:
    """The finite numbers of an array in doubles, piece by piece."""

    values: npt.NDArray[Any]

    def __iter__(self) -> Iterator[npt.NDArray[np.float64]]:
        import numpy as np

        flat = self.values.reshape(-1)
        for start in range(0, flat.size, PIECE):
            with np.errstate(invalid="ignore"):  # NaNs that signal
                piece = flat[start : start + PIECE].astype("f8")
            fine = np.isfinite(piece)
            yield piece if fine.all() else piece[fine]


def _bars(bins: Sequence[int]) -> str:
    """Return the heights of bars; what is not empty can be seen."""
    top = max(bins)
    return "".join(LEVELS[math.ceil(number * (len(LEVELS) - 1) / top)] for number in bins)


# First convolutions -----------------------------------------------------------------------------------------------


def _first(model: Model) -> dict[str, str]:
    """Return the filters that see pixels, with the order of their channels: ``grey``, ``rgb`` or ``bgr``."""
    graph, text = model.graph, model.metadata.get("gvn.preprocess")
    order = Preprocess.from_json(text).channels if text is not None else "rgb"
    found = {}
    for node in graph.nodes:
        tensor = graph.initializers.get(node.inputs[1]) if node.op_type == "Conv" and len(node.inputs) > 1 else None
        if tensor is not None and len(tensor.shape) == 4 and tensor.shape[1] in (1, 3) and _sees_input(graph, node):
            found[tensor.name] = "grey" if tensor.shape[1] == 1 else order if order != "grey" else "rgb"
    return found


def _sees_input(graph: Graph, node: Node) -> bool:
    given = set(graph.inputs) - graph.initializers.keys()
    shape = graph.value(node.inputs[0]).shape
    if node.attributes.get("group", 1) != 1 or (shape is not None and len(shape) != 4):
        return False
    name: str = node.inputs[0]
    for _ in range(8):
        if name in given or name in graph.undefined:
            return True
        before = graph.producers.get(name)
        if before is None or before.op_type not in PASSING:
            return False
        name = next((given for given in before.inputs if given not in graph.initializers), "")
    return False


def tiled(filters: npt.NDArray[Any], order: str) -> Tiles | None:
    """Return filters as a picture in which the layer's least number is black and its greatest white.

    Parameters
    ----------
    filters : array of shape (count, 1 or 3, height, width)
        Of any type of number.
    order : {"grey", "rgb", "bgr"}
        What the channels are.

    Examples
    --------
    >>> import numpy as np
    >>> tiles = tiled(np.arange(20.0).reshape(5, 1, 2, 2), "grey")
    >>> tiles.width, tiles.height, tiles.channels, tiles.shown
    (8, 5, 2, 5)
    """
    import numpy as np

    count, channels, high, wide = filters.shape
    shown = min(count, PIXELS // max(channels * high * wide, 1))
    if not shown or high * wide == 1 or not np.isfinite(filters).all():
        return None
    low, top = float(filters.min()), float(filters.max())
    some = filters[:shown].astype("f8")
    scaled = np.zeros(some.shape) if low == top else (some - low) * (255 / (top - low))
    colours = scaled.round().astype("u1").transpose(0, 2, 3, 1)[..., :: -1 if order == "bgr" else 1]
    columns = math.ceil(math.sqrt(shown * high / wide))
    lines = math.ceil(shown / columns)
    picture = np.zeros((lines * (high + 1) - 1, columns * (wide + 1) - 1, channels + 1), "u1")
    for number, tile in enumerate(colours):
        y, x = number // columns * (high + 1), number % columns * (wide + 1)
        picture[y : y + high, x : x + wide, :channels] = tile
        picture[y : y + high, x : x + wide, channels] = 255
    return Tiles(picture.shape[1], picture.shape[0], picture.tobytes(), channels + 1, shown, count)
