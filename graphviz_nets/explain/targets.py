"""What of a detector or of a segmentation is explained.

Detectors say it in many ways. `KINDS` turns their outputs into boxes, vectors of classes and objectness, and tells
which element of which output is a box's score, so that methods with gradients have something to go back from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from graphviz_nets.errors import ConfigError
from graphviz_nets.explain.explainer import SQUASHERS, Explainer
from graphviz_nets.graph.builder import Builder
from graphviz_nets.graph.ir import Graph, Model, Shape

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

PROBABILITY = ("Softmax", "Sigmoid")
SAME_ORDER = ("Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze")
"""Operations that keep the elements in their order."""


@dataclass(frozen=True)
class Detections:
    """What a detector proposes for one image.

    Attributes
    ----------
    boxes : array
        (n, 4): left, top, right, bottom in pixels of the model's input.
    classes : array
        (n, classes) of scores or probabilities.
    objectness : array
        (n,), 1 where the detector has none.
    background : int or None
        The class that is none.
    """

    boxes: Array
    classes: Array
    objectness: Array
    background: int | None = None

    @property
    def scores(self) -> Array:
        """Objectness times the probability of each class, that of the background 0: (n, classes)."""
        found = self.classes * self.objectness[:, None]
        if self.background is not None:
            found[:, self.background] = 0
        return found


class Kind(NamedTuple):
    """A way in which detectors say what they have found.

    Attributes
    ----------
    values : int
        How many say it.
    fits : function
        From their shapes to whether they are of this kind.
    read : function
        From their arrays of one batch, its number of images, and the input's (height, width), to what is found in each.
    scores : int
        Which of the values holds the scores.
    factors : function
        From the number of a detection, its class, and how many there are of both, to the places of its class and, where
        there is one, of its objectness among the elements that the value has for an image; None where detections have
        no places of their own.
    """

    values: int
    fits: Callable[..., bool]
    read: Callable[..., list[Detections]]
    scores: int = 0
    factors: Callable[[int, int, int, int], tuple[int, ...]] | None = None


def _pairs(boxes: Array, scores: Array, images: int, size: tuple[int, int]) -> list[Detections]:
    import numpy as np

    scale = np.array([size[1], size[0]] * 2)
    ones = np.ones(scores.shape[1])
    return [Detections(boxes[k] * scale, scores[k].astype("f8"), ones, 0) for k in range(images)]


def _corners(boxes: Array, scores: Array, images: int, size: tuple[int, int]) -> list[Detections]:
    if (boxes[..., 2:] > boxes[..., :2]).all(-1).mean() < 0.5:
        raise ConfigError("most boxes have their right or lower side first, so they are no corners",
                          hint="locations, such as SSD's, need the priors that they are relative to")  # fmt: skip
    return _pairs(boxes, scores, images, size)


def _priors(loc: Array, conf: Array, priors: Array, images: int, size: tuple[int, int]) -> list[Detections]:
    """Read SSD's locations: distances from prior boxes, in units of their sides and the variances (CENTER_SIZE)."""
    import numpy as np

    corners, spread = priors.reshape(2, -1, 4).astype("f8")
    middle, side = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
    shift = loc.reshape(images, -1, 4) * spread
    at, half = middle + shift[..., :2] * side, side * np.exp(shift[..., 2:]) / 2
    boxes = np.concatenate([at - half, at + half], 2)
    return _pairs(boxes, conf.reshape(images, len(corners), -1), images, size)


def _rows(rows: Array, images: int, size: tuple[int, int]) -> list[Detections]:
    """Read Caffe's DetectionOutput: image, class, score, corners; where there is nothing, a row of -1."""
    import numpy as np

    rows, scale = rows.reshape(-1, 7).astype("f8"), np.array([size[1], size[0]] * 2)
    found = []
    for k in range(images):
        mine = rows[rows[:, 0] == k]
        mine = mine[mine[:, 1] >= 0]
        labels = mine[:, 1].astype(int)
        classes = np.zeros((len(mine), int(labels.max(initial=0)) + 1))
        classes[np.arange(len(mine)), labels] = 1
        found.append(Detections(mine[:, 3:] * scale, classes, mine[:, 2]))
    return found


def _middles(places: Array, classes: Array, objectness: Array | None, images: int) -> list[Detections]:
    """Read boxes as their middles and sides in pixels."""
    import numpy as np

    at, half = places[..., :2], places[..., 2:] / 2
    boxes = np.concatenate([at - half, at + half], 2)
    ones = np.ones(classes.shape[:2]) if objectness is None else objectness
    return [Detections(boxes[k], classes[k], ones[k]) for k in range(images)]


def _yolo(found: Array, images: int, size: tuple[int, int]) -> list[Detections]:
    found = found.astype("f8")
    return _middles(found[..., :4], found[..., 5:], found[..., 4], images)


def _yolo8(found: Array, images: int, size: tuple[int, int]) -> list[Detections]:
    found = found.astype("f8").transpose(0, 2, 1)
    return _middles(found[..., :4], found[..., 4:], None, images)


def _wide(shape: Shape, axis: int) -> int:
    dim = shape[axis]
    return dim if isinstance(dim, int) else 0


def _each(shape: Shape) -> int:
    """Return how many elements there are for an image."""
    return prod(_wide(shape, axis) for axis in range(1, len(shape)))


KINDS: Mapping[str, Kind] = {
    "rows": Kind(
        1, lambda rows: len(rows) == 4 and tuple(rows[:2]) == (1, 1) and (rows[3] == 7 or not _wide(rows, 3)), _rows
    ),
    "priors": Kind(
        3, lambda loc, conf, priors: len(priors) == 3 and priors[1] == 2 and _each(loc) == priors[2] != _each(conf),
        _priors, 1, lambda number, label, total, classes: (number * classes + label,),
    ),
    "pairs": Kind(
        2, lambda boxes, scores: len(boxes) == len(scores) == 3 and boxes[2] == 4 and boxes[1] == scores[1],
        _corners, 1, lambda number, label, total, classes: (number * classes + label,),
    ),
    "yolo": Kind(
        1, lambda found: len(found) == 3 and 6 <= _wide(found, 2) < _wide(found, 1),
        _yolo, 0, lambda number, label, total, classes: tuple(number * (5 + classes) + k for k in (5 + label, 4)),
    ),
    "yolo8": Kind(
        1, lambda found: len(found) == 3 and 5 <= _wide(found, 1) < _wide(found, 2),
        _yolo8, 0, lambda number, label, total, classes: ((4 + label) * total + number,),
    ),
}  # fmt: skip
"""SSD's results (Caffe's DetectionOutput); its locations, confidences and priors; boxes as shares of the image and
scores, as RFB and UltraFace say them; YOLO's middles, sides, objectness and classes; and its later form, channels first
and without objectness."""


@dataclass(frozen=True)
class Detector:
    """How a model's outputs are read: as a `kind`, these `outputs` and what is `fixed`, in its order."""

    kind: str
    outputs: tuple[str, ...]
    fixed: tuple[Array, ...] = ()


def detector(e: Explainer, kind: str = "", outputs: Sequence[str] = (), priors: Array | None = None) -> Detector:
    """Return how a model's outputs are read, by their shapes where it is not said.

    Parameters
    ----------
    e : Explainer
        The model.
    kind : str
        Of `KINDS`.
    outputs : sequence of str
        Outputs of the model in the kind's order.
    priors : array, optional
        SSD's, where the model does not hold them: (1, 2, 4 n), the corners of n boxes as shares of the image, and their
        variances.

    Raises
    ------
    ConfigError
        When no kind fits.

    Examples
    --------
    >>> from graphviz_nets.graph.builder import Builder
    >>> op = Builder("net")
    >>> x = op.input("x", "float32", (1, 3, 8, 8))
    >>> scores, boxes = op.input("s", "float32", (1, 9, 2)), op.input("b", "float32", (1, 9, 4))
    >>> found = detector(Explainer(op.model([op.Relu(scores), op.Relu(boxes)])))
    >>> found.kind, found.outputs
    ('pairs', ('Relu:2', 'Relu'))
    """
    graph = e.model.graph
    if kind and kind not in KINDS:
        raise ConfigError(f"{kind!r} is no kind of detector", hint=f"one of {', '.join(KINDS)}")
    names, fixed = tuple(outputs or graph.outputs), () if priors is None else (priors,)
    for name in [kind] if kind else KINDS:
        number = KINDS[name].values - len(fixed)
        for order in [names] if outputs else permutations(names, number):
            shapes = [*(graph.value(one).shape or () for one in order), *(one.shape for one in fixed)]
            if len(order) == number and KINDS[name].fits(*shapes):
                return Detector(name, tuple(order), fixed)
    found = ", ".join(f"{one} {graph.value(one).shape}" for one in names)
    raise ConfigError(f"nothing here is known as the result of a detector: {found}",
                      hint=f"kinds are {', '.join(KINDS)}; --detector, or kind and outputs, say which")  # fmt: skip


def detections(e: Explainer, x: Array, how: Detector) -> list[Detections]:
    """Return what a detector proposes for each image."""
    found: list[Detections] = []
    batch = e.shape[0]
    for start in range(0, len(x), batch):  # a chunk at a time, for the number of rows may differ
        chunk = x[start : start + batch]
        values = e.forward(how.outputs)({e.input: chunk})
        arrays = [values[name] for name in how.outputs]
        found += KINDS[how.kind].read(*arrays, *how.fixed, len(chunk), _size(e))
    return found


def _size(e: Explainer) -> tuple[int, int]:
    if e.image is None or len(e.image.grid) != 2:
        raise ConfigError("boxes need a model whose input is an image")
    high, wide = e.image.grid
    return high, wide


def overlap(box: Array, boxes: Array) -> Array:
    """Return the intersection over union of a box with others.

    Examples
    --------
    >>> import numpy as np
    >>> overlap(np.array([0, 0, 2, 2]), np.array([[0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6]])).round(2).tolist()
    [1.0, 0.33, 0.0]
    """
    import numpy as np

    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    shared = np.maximum(sides, 0).prod(1)
    union = _area(box[None]) + _area(boxes) - shared
    found: Array = np.where(union > 0, shared / np.where(union > 0, union, 1), 0)
    return found


def _area(boxes: Array) -> Array:
    import numpy as np

    found: Array = np.maximum(boxes[:, 2:] - boxes[:, :2], 0).prod(1)
    return found


def nearest(found: Detections, box: Sequence[float] | None = None, label: int | None = None) -> tuple[int, int]:
    """Return the number and the class of a detection: the best one, or that with the most overlap times score.

    Raises
    ------
    ConfigError
        When there is none.
    """
    import numpy as np

    scores = found.scores if label is None else found.scores[:, label : label + 1]
    if box is not None:
        scores = scores * overlap(np.asarray(box, "f8"), found.boxes)[:, None]
    if not scores.size or scores.max() <= 0:
        what = ("" if label is None else f" of class {label}") + ("" if box is None else " there")
        raise ConfigError(f"the model has found nothing{what}", key="--target")
    number, best = np.unravel_index(scores.argmax(), scores.shape)
    return int(number), int(best) if label is None else label


def similarity(box: Array, classes: Array, found: Detections) -> float:
    """Return how much of a detection is found again (Petsiuk et al. 2020, 2006.03204).

    For each detection: the overlap, times the cosine of the vectors of classes, times the objectness; the largest
    counts.
    """
    import numpy as np

    width = min(len(classes), found.classes.shape[1])  # what one of them lacks is 0
    norms = np.linalg.norm(classes) * np.linalg.norm(found.classes, axis=1)
    cosine = found.classes[:, :width] @ classes[:width] / np.where(norms > 0, norms, 1)
    return float((overlap(box, found.boxes) * cosine * found.objectness).max(initial=0))


def proposals(model: Model) -> Model:
    """Return a detector up to what it proposes: boxes and scores of which Caffe's DetectionOutput would make rows.

    Rows are chosen and sorted, so none has a place of its own that a score could be explained at; the boxes that go
    into the suppression have. Models that end otherwise, and those with boxes of their own for every class, are
    returned as they are.

    Parameters
    ----------
    model : Model
        As it was loaded, with its layers.

    Returns
    -------
    Model
        Its outputs are boxes (N, n, 4) as shares of the image, and scores (N, n, classes).
    """
    graph = model.graph
    for layer in model.layers:
        if layer.type != "DetectionOutput" or not set(layer.outputs) & set(graph.outputs):
            continue
        inside = [node for node in graph.nodes if node.scope[: len(layer.path)] == layer.path]
        boxes = next((node.inputs[0] for node in inside if node.op_type == "NonMaxSuppression"), "")
        batch, *_ = graph.value(layer.inputs[1]).shape or (None,)
        shape = graph.value(boxes).shape
        if boxes and shape and shape[0] == batch:
            op = Builder.of(graph, model.opset_imports.get("", 18))
            dims = [dim for dim in shape[:2] if isinstance(dim, int)]
            return model.with_graph(op.graph([boxes, op.Reshape(layer.inputs[1], op.constant([*dims, -1]))]))
    return model


def score_of(
    e: Explainer, x: Array, how: Detector, box: Sequence[float] | None = None, label: int | None = None
) -> tuple[str, Array]:
    """Return the value that holds a detection's score, and the seed that weighs its elements.

    They are the target and the seed of another explainer of the same model, whose methods can go back from them. Where
    the score is the softmax or sigmoid of something, that is the value; of a score that is objectness times class, the
    logits of both are added. Where the model makes probabilities that it does more with, those are the value, and the
    seed weighs each of both with the other: what comes back is the gradient of their product.

    Parameters
    ----------
    e : Explainer
        A detector.
    x : array
        Images.
    how : Detector
        How its outputs are read.
    box : sequence of float, optional
        Left, top, right, bottom in pixels: the detection nearest to it; the best one otherwise.
    label : int, optional
        Its class; otherwise the best one.

    Returns
    -------
    (str, array)
        A value's name, and weights of its elements, one row an image.

    Raises
    ------
    ConfigError
        When nothing is found there, or the outputs are rows of results: see :func:`proposals`.
    """
    import numpy as np

    kind = KINDS[how.kind]
    if kind.factors is None:
        raise ConfigError(f"{how.outputs[0]!r} has no place of its own for a detection", key="--target",
                          hint="proposals(model) may have; else name locations, confidences and priors")  # fmt: skip
    output = how.outputs[kind.scores]
    target = unsquashed(e.model.graph, output)
    shape = [dim if isinstance(dim, int) else 1 for dim in e.model.graph.value(target).shape or ()]
    seed = np.zeros((len(x), *shape[1:]), "f4")
    for row, found in zip(seed, detections(e, x, how), strict=True):
        number, best = nearest(found, box, label)
        objectness, probability = found.objectness[number], found.classes[number, best]
        weights = (objectness, probability) if target == output else (1, 1)
        for place, weight in zip(kind.factors(number, best, *found.classes.shape), weights, strict=False):
            row.flat[place] = weight
    return target, seed


def unsquashed(graph: Graph, name: str) -> str:
    """Return the value before the softmax or sigmoid that makes another, or that itself: its elements in their order.

    Examples
    --------
    >>> from graphviz_nets.graph.builder import Builder
    >>> op = Builder("net")
    >>> y = op.Softmax(op.Relu(op.input("x", "float32", (1, 2))))
    >>> unsquashed(op.graph([y]), y), squashed(op.graph([y]), "Relu")
    ('Relu', 'Softmax')
    """
    batch = (graph.value(name).shape or (None,))[0]
    passed, place = False, name
    while (node := graph.producers.get(place)) is not None and node.op_type in (*SQUASHERS, *SAME_ORDER):
        passed, place = passed or node.op_type in SQUASHERS, node.inputs[0]
        if passed and (graph.value(place).shape or (None,))[0] == batch:
            return place
    return name


def squashed(graph: Graph, name: str) -> str | None:
    """Return the value that a softmax or sigmoid makes of another, of its shape; None where there is none."""
    shape, passed, place = graph.value(name).shape, False, name
    while True:
        users = [user for user, _ in graph.consumers.get(place, ()) if user.op_type in (*PROBABILITY, *SAME_ORDER)]
        if not users:
            return None
        passed, place = passed or users[0].op_type in PROBABILITY, users[0].outputs[0]
        if passed and graph.value(place).shape == shape:
            return place


def predicted(scores: Array, seed: Array) -> Array:
    """Return a segmentation's seed only where its class is the one that is predicted.

    Parameters
    ----------
    scores : array
        (images, classes, ...); with one class, it is predicted where its score is above 0.
    seed : array
        Of the same shape, as :func:`graphviz_nets.explain.methods.seeds` makes it: every place of a class.

    Examples
    --------
    >>> import numpy as np
    >>> scores = np.array([[[1.0, 5.0], [2.0, 3.0]]])
    >>> predicted(scores, np.array([[[0.0, 0.0], [1.0, 1.0]]])).tolist()
    [[[0.0, 0.0], [1.0, 0.0]]]
    """
    import numpy as np

    if scores.shape[1] == 1:
        return seed * (scores > 0)
    wins = scores.argmax(1)[:, None] == np.arange(scores.shape[1]).reshape(1, -1, *(1,) * (scores.ndim - 2))
    found: Array = seed * wins
    return found
