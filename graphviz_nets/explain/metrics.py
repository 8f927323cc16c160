"""Whether maps tell the truth: what the model does when it is shown what they point at, and when it is spoiled.

A metric is a function from (explainer, images, seed, maps) to a `Measure`; maps are (images, *places), as
:func:`graphviz_nets.explain.methods.heat` makes them. `BETTER` says whether more or less of it is better. Some need the
method itself, as ``again``, a function from (explainer, images) to maps, or boxes of what is explained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from math import ceil, prod
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from graphviz_nets.errors import ConfigError, MissingExtra
from graphviz_nets.explain.backward import FLOATING
from graphviz_nets.explain.explainer import Explainer
from graphviz_nets.explain.methods.perturb import each, ground, measured, places, weighed
from graphviz_nets.graph.ir import Tensor, count
from graphviz_nets.graph.rules import Table

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

Again: TypeAlias = "Callable[[Explainer, Array], Array]"


class Measure(NamedTuple):
    """What a metric finds.

    Attributes
    ----------
    values : array
        (images,) of float64.
    curves : array, optional
        (images, points) that it is taken from.
    at : array, optional
        (points,), where they lie.
    """

    values: Array
    curves: Array | None = None
    at: Array | None = None


metric: Table[Callable[..., Measure]] = Table("metric")

BETTER: Mapping[str, str] = {
    "insertion": "more", "deletion": "less", "road": "more", "average-drop": "less", "increase": "more",
    "infidelity": "less", "max-sensitivity": "less", "pointing-game": "more", "sanity": "less",
}  # fmt: skip


# Taking places away and putting them in -----------------------------------------------------------------------------


@metric("insertion")
def insertion(
    e: Explainer, x: Array, seed: Array, maps: Array, steps: int = 224, baseline: Array | float | str = "blur"
) -> Measure:
    """The area under the probability while places come into a blurred image, the strongest first (Petsiuk 2018)."""
    return _area(_walks(e, x, seed, maps, steps, baseline, into=True))


@metric("deletion")
def deletion(
    e: Explainer, x: Array, seed: Array, maps: Array, steps: int = 224, baseline: Array | float | str = 0.0
) -> Measure:
    """The area under the probability while places are taken away, the strongest first (Petsiuk et al. 2018)."""
    return _area(_walks(e, x, seed, maps, steps, baseline, into=False))


def _walks(
    e: Explainer, x: Array, seed: Array, maps: Array, steps: int, baseline: Array | float | str, into: bool
) -> Array:
    """Return probabilities (images, points) on the way from none of the places to all, in so many steps at most."""
    import numpy as np

    sizes = places(e, x)
    step = ceil(prod(sizes) / steps)
    points = ceil(prod(sizes) / step) + 1
    found = []
    for (image, base, row), heat in zip(each(x, ground(e, x, baseline), seed), maps, strict=True):
        order = np.argsort(-heat.ravel(), kind="stable")

        def masks(order: Array = order) -> Iterator[Array]:
            mask = np.full(len(order), not into, "f4")
            for k in range(points):
                mask[order[max(k - 1, 0) * step : k * step]] = into
                yield mask.reshape(sizes).copy()

        value = partial(weighed, e, seed=row, probability=True)
        parts = measured(e, image, base, masks(), points, "insertion" if into else "deletion", value)
        found.append(np.concatenate([values for _, values in parts]))
    return np.stack(found)


def _area(curves: Array) -> Measure:
    """Return the areas under curves over 0 to 1, by trapezoids."""
    import numpy as np

    return Measure((curves[:, 1:] + curves[:, :-1]).mean(1) / 2, curves, np.linspace(0, 1, curves.shape[1]))


@metric("road")
def road(
    e: Explainer, x: Array, seed: Array, maps: Array, shares: Sequence[float] = tuple(k / 10 for k in range(1, 10)),
    noise: float = 0.01, random: int = 0,
) -> Measure:  # fmt: skip
    """Half of what more is lost of the probability with the strongest places than with the weakest (Rong et al. 2022).

    Places that are taken away are made up from those around them, with noise of this share of the image's standard
    deviation, so that their shapes do not show. The mean over the `shares` of the places that stay.
    """
    import numpy as np

    if e.image is None or len(e.image.grid) != 2:
        raise ConfigError("ROAD makes up pixels from those around them, and the input is no image")
    curves = []
    for (image, _, row), heat in zip(each(x, x, seed), maps, strict=True):
        rng = np.random.default_rng(random)

        def left(share: float, heat: Array, image: Array = image, rng: np.random.Generator = rng) -> Array:
            order = np.argsort(heat, axis=None, kind="stable")
            gone = np.zeros(heat.shape, bool)
            gone.flat[order[ceil((heat.size - 1) * share) :]] = True  # what reaches that quantile, ties broken
            return imputed(e, image, gone, noise * float(image.std()), rng)

        tried = [left(share, values) for share in shares for values in (-heat, heat)]
        weakest, strongest = weighed(e, np.concatenate(tried), row, probability=True).reshape(-1, 2).T
        curves.append((weakest - strongest) / 2)
    found = np.stack(curves)
    return Measure(found.mean(1), found, 1 - np.asarray(shares))


NEIGHBOURS = {(j, k): 1 / 12 if j and k else 1 / 6 for j in (-1, 0, 1) for k in (-1, 0, 1) if j or k}
"""What the pixels around another count: those at its corners half."""


def imputed(e: Explainer, image: Array, gone: Array, noise: float, rng: np.random.Generator) -> Array:
    """Return an image (1, ...) with what is gone (H, W) made up, each pixel as the weighted mean of those around it."""
    import numpy as np

    linalg, sparse = _scipy("sparse.linalg"), _scipy("sparse")
    assert e.image is not None
    pixels = np.moveaxis(image[0], e.image.axis - 1, -1).astype("f8")
    number = np.full(gone.shape, -1)
    number[gone] = np.arange(gone.sum())
    rows, columns = np.nonzero(gone)
    total, right = np.zeros(len(rows)), np.zeros((len(rows), pixels.shape[-1]))
    entries = []
    for (down, across), weight in NEIGHBOURS.items():
        j, k = rows + down, columns + across
        inside = np.flatnonzero((j >= 0) & (k >= 0) & (j < gone.shape[0]) & (k < gone.shape[1]))
        total[inside] += weight
        other = number[j[inside], k[inside]]
        known = inside[other < 0]
        right[known] += weight * pixels[j[known], k[known]]
        entries.append((inside[other >= 0], other[other >= 0], -weight))
    here, there = (np.concatenate([*(one[k] for one in entries), np.arange(len(rows))]) for k in (0, 1))
    weights = np.concatenate([*(np.full(len(one[0]), one[2]) for one in entries), total])
    system = sparse.csc_matrix((weights, (here, there)), (len(rows), len(rows)))
    if len(rows):
        # Without the symmetric mode, scattered pixels cost a thousand times as much.
        symmetric = {"permc_spec": "MMD_AT_PLUS_A", "diag_pivot_thresh": 0.0, "options": {"SymmetricMode": True}}
        found = linalg.splu(system, **symmetric).solve(right)
        pixels[gone] = found + noise * rng.standard_normal(found.shape)
    made: Array = np.moveaxis(pixels, -1, e.image.axis - 1).astype("f4")[None]
    return made


@metric("average-drop")
def average_drop(e: Explainer, x: Array, seed: Array, maps: Array, baseline: Array | float | str = 0.0) -> Measure:
    """The share of the probability that is lost where only the map's places stay (Chattopadhay et al. 2017)."""
    import numpy as np

    whole, left = _explained(e, x, seed, maps, baseline)
    return Measure(np.maximum(whole - left, 0) / np.maximum(whole, 1e-12))


@metric("increase")
def increase(e: Explainer, x: Array, seed: Array, maps: Array, baseline: Array | float | str = 0.0) -> Measure:
    """Whether the probability rises where only the map's places stay (Chattopadhay et al. 2017)."""
    whole, left = _explained(e, x, seed, maps, baseline)
    return Measure((left > whole).astype("f8"))


def _explained(e: Explainer, x: Array, seed: Array, maps: Array, baseline: Array | float | str) -> tuple[Array, Array]:
    """Return probabilities of images, and of those that are left of them under their maps, scaled from 0 to 1."""
    import numpy as np

    left = []
    for (image, base, row), heat in zip(each(x, ground(e, x, baseline), seed), maps, strict=True):
        mask = ((heat - heat.min()) / (np.ptp(heat) or 1)).astype("f4")
        value = partial(weighed, e, seed=row, probability=True)
        left += [values for _, values in measured(e, image, base, iter([mask]), 1, "map", value)]
    return weighed(e, x, seed, probability=True), np.concatenate(left)


# Sums and small changes ---------------------------------------------------------------------------------------------


@metric("infidelity")
def infidelity(
    e: Explainer, x: Array, seed: Array, maps: Array, samples: int = 64, random: int = 0,
    baseline: Array | float | str = 0.0, scaled: bool = True,
) -> Measure:  # fmt: skip
    """How far the map's sum over a window misses the score's fall when it is covered, squared (Yeh et al. 2019).

    The mean over random windows; a map is `scaled` first to miss as little as it can.
    """
    import numpy as np

    found = []
    for (image, base, row), heat in zip(each(x, ground(e, x, baseline), seed), maps, strict=True):
        value = partial(weighed, e, seed=row)
        whole, sums, falls = value(image), [], []
        masks = windows(heat.shape, samples, random)
        for chunk, values in measured(e, image, base, masks, samples, "infidelity", value):
            sums.append(np.tensordot(1 - chunk.astype("f8"), heat, heat.ndim))
            falls.append(whole - values)
        total, fall = np.concatenate(sums), np.concatenate(falls)
        scale = (total * fall).sum() / max((total**2).sum(), 1e-300) if scaled else 1.0
        found.append(((scale * total - fall) ** 2).mean())
    return Measure(np.array(found))


def windows(sizes: tuple[int, ...], number: int, random: int) -> Iterator[Array]:
    """Yield masks that are 0 in a random window, whose sides are an eighth to a half of the whole.

    Examples
    --------
    >>> [int((1 - mask).sum()) for mask in windows((8, 8), 3, 0)]
    [12, 2, 4]
    """
    import numpy as np

    rng = np.random.default_rng(random)
    for _ in range(number):
        sides = [int(rng.integers(max(size // 8, 1), max(size // 2, 1) + 1)) for size in sizes]
        starts = [int(rng.integers(size - side + 1)) for size, side in zip(sizes, sides, strict=True)]
        mask = np.ones(sizes, "f4")
        mask[tuple(slice(start, start + side) for start, side in zip(starts, sides, strict=True))] = 0
        yield mask


@metric("max-sensitivity")
def max_sensitivity(
    e: Explainer, x: Array, seed: Array, maps: Array, again: Again, samples: int = 10, radius: float = 0.02,
    random: int = 0,
) -> Measure:  # fmt: skip
    """How much of the map changes at most when the image is changed by 2 % of its range (Yeh et al. 2019)."""
    import numpy as np

    axes = tuple(range(1, x.ndim))
    reach = (radius * (x.max(axes, keepdims=True) - x.min(axes, keepdims=True))).astype("f4")
    rng, flat = np.random.default_rng(random), maps.reshape(len(x), -1).astype("f8")
    norms = np.linalg.norm(flat, axis=1)
    found = np.zeros(len(x))
    for _ in e.track(range(samples), "max-sensitivity"):
        noise = rng.uniform(-1, 1, x.shape[1:]).astype("f4")
        other = again(e, x + reach * noise).reshape(len(x), -1)
        found = np.maximum(found, np.linalg.norm(other - flat, axis=1) / np.where(norms > 0, norms, 1))
    return Measure(found)


@metric("pointing-game")
def pointing_game(
    e: Explainer, x: Array, seed: Array, maps: Array, boxes: Sequence[Sequence[float]], tolerance: float = 15.0
) -> Measure:
    """Whether the map's peak is in the box, or no more than 15 pixels beside it (Zhang et al. 2016).

    `boxes` are left, top, right, bottom in pixels, one an image. A map that is the same everywhere points at nothing.
    """
    import numpy as np

    hits = []
    for heat, (left, top, right, bottom) in zip(maps, boxes, strict=True):
        down, across = np.unravel_index(int(heat.argmax()), heat.shape)
        near = (left - tolerance <= across <= right + tolerance) and (top - tolerance <= down <= bottom + tolerance)
        hits.append(float(near and np.ptp(heat) > 0))
    return Measure(np.array(hits))


# Spoiled models -----------------------------------------------------------------------------------------------------


@metric("sanity")
def sanity(e: Explainer, x: Array, seed: Array, maps: Array, again: Again, stages: int = 8, random: int = 0) -> Measure:
    """The rank correlation of the map with those of models whose weights are shuffled (Adebayo et al. 2018).

    Layers are spoiled from the last one down, more at each stage; the mean of the amounts over the stages. A method
    whose map stays the same whatever the model has learned does not explain the model. An empty map has no correlation.
    """
    import numpy as np

    curves = [np.ones(len(x))]
    at = [0.0]
    for share, spoiled in cascade(e, stages, random):
        found = again(spoiled, x)
        curves.append(np.array([_rank_correlation(a, b) for a, b in zip(maps, found, strict=True)]))
        at.append(share)
    curve = np.stack(curves, 1)
    return Measure(np.abs(curve[:, 1:]).mean(1), curve, np.array(at))


def cascade(e: Explainer, stages: int, random: int) -> Iterator[tuple[float, Explainer]]:
    """Yield explainers of models whose last layers have their weights shuffled, more at each stage, and their share.

    A layer is an operation with weights: constants of floating point, or of bytes in more than one axis, that are no
    single number. Each keeps its values and thus their distribution; only their order is lost.

    Raises
    ------
    ConfigError
        When the model has no weights.
    """
    import numpy as np

    graph = e.model.graph
    layers: dict[str, list[Tensor]] = {}
    done: set[str] = set()
    for node in reversed(graph.nodes):
        for name in node.inputs:
            tensor = graph.initializers.get(name)
            if tensor is not None and name not in done and _weighs(tensor):
                done.add(name)
                layers.setdefault(node.id, []).append(tensor)
    tensors, order = dict(graph.initializers), list(layers.values())
    if not order:
        raise ConfigError("the model has no weights that could be shuffled")
    for stage in e.track(range(stages), "sanity"):
        first, last = (ceil(len(order) * k / stages) for k in (stage, stage + 1))
        for number, layer in enumerate(order[first:last], first):
            for k, tensor in enumerate(layer):
                data = tensor.bytes()
                items = np.frombuffer(data, f"V{len(data) // (count(tensor.shape) or 1)}")
                shuffled = np.random.default_rng((random, number, k)).permutation(items)
                tensors[tensor.name] = replace(tensor, data=shuffled.tobytes())
        yield last / len(order), e.of(e.model.with_graph(replace(graph, initializers=dict(tensors))))


def _weighs(tensor: Tensor) -> bool:
    quantized = tensor.dtype in ("int8", "uint8") and len(tensor.shape) > 1
    return (quantized or tensor.dtype in FLOATING) and (count(tensor.shape) or 0) > 1


def _rank_correlation(a: Array, b: Array) -> float:
    import numpy as np

    if not np.ptp(a) or not np.ptp(b):
        return 0.0
    return float(_scipy("stats").spearmanr(a.ravel(), b.ravel()).statistic)


def _scipy(name: str) -> Any:
    try:
        return import_module(f"scipy.{name}")
    except ModuleNotFoundError:
        raise MissingExtra("scipy", extra="explain") from None
