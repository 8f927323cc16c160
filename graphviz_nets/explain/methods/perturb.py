"""Methods that need no gradient: what the score does when parts of the input are taken away.

All of them run the model on masked copies of the input and share the scores out over the masks: any model that runs
will do. What is masked is a place with all its channels, or a feature where the input has no places. What stands there
instead is the `baseline`: 0, which is the mean where the preprocessing subtracts it, other numbers, or ``"blur"``, the
image blurred.

The same `random` gives the same masks for every image, whatever the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice, product
from math import ceil, comb, prod
from typing import TYPE_CHECKING, Any, TypeAlias

from graphviz_nets.errors import ConfigError, MissingExtra, RunError
from graphviz_nets.explain.explainer import Explainer
from graphviz_nets.explain.methods.table import method
from graphviz_nets.explain.targets import Detector, detections, detector, nearest, similarity, squashed, unsquashed

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

UNSIGNED = frozenset({"rise", "d-rise"})
MAPS = frozenset({"occlusion", "rise", "d-rise", "kernel-shap", "lime"})

HELD = 1 << 25
"""Bytes of masked copies that are held at a time; one batch at least."""


# What all share -----------------------------------------------------------------------------------------------------


def places(e: Explainer, x: Array) -> tuple[int, ...]:
    """Return the sizes of what can be masked: an image's places, or the features of what is no image."""
    return x.shape[1:] if e.image is None else e.image.grid


def over(e: Explainer, masks: Array) -> Array:
    """Return masks (n, *places) such that they multiply inputs; what is of an input's shape already stays."""
    return masks if e.image is None or masks.ndim > len(e.image.grid) + 1 else e.image.spread(masks[:, None])


def ground(e: Explainer, x: Array, baseline: Array | float | str) -> Array:
    """Return what stands where inputs are masked, of the shape of `x`."""
    import numpy as np

    if isinstance(baseline, str):
        if baseline != "blur":
            raise ConfigError(f"{baseline!r} is no baseline", hint="a number, an array, or blur")
        return blurred(e, x)
    return np.broadcast_to(np.asarray(baseline, "f4"), x.shape)


def blurred(e: Explainer, x: Array, size: int = 11, sigma: float = 5.0) -> Array:
    """Return inputs under a Gaussian of this size at every place, borders mirrored; 0 where there are no places."""
    import numpy as np

    if e.image is None:
        return np.zeros_like(x)
    kernel = np.exp(-((np.arange(size) - size // 2) ** 2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).astype("f4")
    for axis in (axis for axis in range(1, x.ndim) if axis != e.image.axis):
        wide = np.pad(x, [(size // 2,) * 2 if k == axis else (0, 0) for k in range(x.ndim)], "reflect")
        x = sum(w * wide.take(range(k, k + x.shape[axis]), axis) for k, w in enumerate(kernel))
    return x


def weighed(e: Explainer, x: Array, seed: Array, probability: bool = False) -> Array:
    """Return the target of each input, its elements weighed by the seed, in float64.

    Parameters
    ----------
    e : Explainer
        The model.
    x : array
        Inputs, any number of them.
    seed : array
        A row for each of them, or one for all.
    probability : bool
        Whether scores are made probabilities first: by the softmax or sigmoid that the model has behind the target, or
        else, where they are `exclusive`, a softmax over the classes. What is a probability already stays.

    Raises
    ------
    RunError
        When the target has no row for each input.
    """
    import numpy as np

    name = squashed(e.model.graph, e.target) if probability else None
    scores = (e.scores(x) if name is None else e.forward([name])({e.input: x})[name]).astype("f8")
    if len(scores) != len(x):
        raise RunError(f"{len(x)} inputs give a result of the shape {scores.shape}: no row for each", node=e.target)
    raw = name is None and unsquashed(e.model.graph, e.target) == e.target
    if probability and raw and e.exclusive and scores[0].size > 1:
        scores = np.exp(scores - scores.max(1, keepdims=True))
        scores /= scores.sum(1, keepdims=True)
    found: Array = (scores * seed).reshape(len(x), -1).sum(1)
    return found


def measured(
    e: Explainer, x: Array, base: Array, masks: Iterator[Array], number: int, label: str,
    value: Callable[[Array], Array],
) -> Iterator[tuple[Array, Array]]:  # fmt: skip
    """Yield masks (n, *places) and values (n,) of ``x * mask + base * (1 - mask)``, a chunk at a time.

    Parameters
    ----------
    e : Explainer
        The model.
    x, base : array
        One input, and what stands where it is masked, both with a first axis of 1.
    masks : iterator of array
        (*places) or of the input's shape, float32, 1 where the input stays.
    number : int
        How many masks there are.
    label : str
        What is said of the progress.
    value : function
        From inputs to a number for each.
    """
    import numpy as np

    batch = e.shape[0] if e.shape else 1
    size = max(1, HELD // x.nbytes // batch) * batch
    for _ in e.track(range(0, number, size), label):
        chunk = np.stack(list(islice(masks, size)))
        spread = over(e, chunk)
        yield chunk, value(x * spread + base * (1 - spread))


def each(x: Array, base: Array, seed: Array) -> Iterator[tuple[Array, Array, Array]]:
    """Yield one input after the other, its baseline and its seed, each with a first axis of 1."""
    for k in range(len(x)):
        yield x[k : k + 1], base[k : k + 1], seed[k : k + 1]


# Windows ------------------------------------------------------------------------------------------------------------


@method("occlusion")
def occlusion(
    e: Explainer, x: Array, seed: Array, window: int | Sequence[int] = 0, stride: int | Sequence[int] = 0,
    baseline: Array | float | str = 0.0,
) -> Array:  # fmt: skip
    """The score's fall when a window is covered, the mean of the windows over a place (Zeiler and Fergus 2013).

    A window is an eighth of each side, and windows are half of one apart, where nothing else is said. The last ones may
    hang over the edge.
    """
    import numpy as np

    sizes = places(e, x)
    windows = _sides(window, [2 * ceil(size / 16) if e.image else 1 for size in sizes])
    strides = _sides(stride, [ceil(side / 2) for side in windows])
    starts = [range(0, max(n - w, 0) + s, s) for n, w, s in zip(sizes, windows, strides, strict=True)]

    def masks() -> Iterator[Array]:
        for corner in product(*starts):
            mask = np.ones(sizes, "f4")
            mask[tuple(slice(start, start + side) for start, side in zip(corner, windows, strict=True))] = 0
            yield mask

    found = []
    for image, base, row in each(x, ground(e, x, baseline), seed):
        value = partial(weighed, e, seed=row)
        whole, total, covers = value(image), np.zeros(sizes), np.zeros(sizes)
        for chunk, values in measured(e, image, base, masks(), prod(map(len, starts)), "occlusion", value):
            covered = 1 - chunk
            total += np.tensordot(whole - values, covered, 1)
            covers += covered.sum(0)
        found.append(total / np.maximum(covers, 1))
    return np.stack(found).astype("f4")


def _sides(given: int | Sequence[int], usual: list[int]) -> tuple[int, ...]:
    sides = (given,) * len(usual) if isinstance(given, int) else tuple(given)
    if len(sides) != len(usual) or min(sides) < 0:
        raise ConfigError(f"{given} are no sides of a window", hint=f"a number, or {len(usual)} of them")
    return tuple(side or other for side, other in zip(sides, usual, strict=True))


# Random masks -------------------------------------------------------------------------------------------------------


@method("rise")
def rise(
    e: Explainer, x: Array, seed: Array, samples: int = 2000, cells: int = 8, kept: float = 0.5, random: int = 0,
    baseline: Array | float | str = 0.0, probability: bool = True,
) -> Array:  # fmt: skip
    """The mean of random masks, each weighed by the probability that it leaves (Petsiuk, Das and Saenko 2018).

    Masks are grids of `cells` a side, of which a share `kept` is 1, enlarged and shifted. The map's least value is
    taken off: every place has the probability of an average mask, which says nothing of it.
    """
    import numpy as np

    found = []
    for image, base, row in each(x, ground(e, x, baseline), seed):
        value = partial(weighed, e, seed=row, probability=probability)
        masks = random_masks(places(e, x), samples, cells, kept, random)
        found.append(_mean_mask(e, image, base, masks, samples, "rise", value) / kept)
    return np.stack(found).astype("f4")


@method("d-rise")
def d_rise(
    e: Explainer, x: Array, seed: Array, box: Sequence[float] | None = None, label: int | None = None,
    how: Detector | None = None, samples: int = 2000, cells: int = 16, kept: float = 0.5, random: int = 0,
    baseline: Array | float | str = 0.0,
) -> Array:  # fmt: skip
    """The mean of random masks, each weighed by how much of a detection it leaves (Petsiuk et al. 2020).

    The detection is the model's best, or the one nearest to `box` (left, top, right, bottom in pixels) and of the class
    `label`, where those are given. What is left of it is its overlap, times the cosine of the classes, times the
    objectness. The seed plays no part.
    """
    import numpy as np

    how = how or detector(e)
    found = []
    for image, base, _ in each(x, ground(e, x, baseline), seed):
        (there,) = detections(e, image, how)
        number, _ = nearest(there, box, label)
        wanted = there.boxes[number], there.classes[number]

        def value(inputs: Array, wanted: tuple[Array, Array] = wanted) -> Array:
            return np.array([similarity(*wanted, one) for one in detections(e, inputs, how)])

        masks = random_masks(places(e, x), samples, cells, kept, random)
        found.append(_mean_mask(e, image, base, masks, samples, "d-rise", value) / kept)
    return np.stack(found).astype("f4")


def _mean_mask(
    e: Explainer, x: Array, base: Array, masks: Iterator[Array], number: int, label: str,
    value: Callable[[Array], Array],
) -> Array:  # fmt: skip
    """Return the mean of masks, weighed by a value of what they leave, less the least of it.

    The mean of the values is taken off first. It moves what is expected by a constant only, and takes most noise away:
    places that happened to be covered less often would stand out by as much as the mean is high.
    """
    import numpy as np

    total, covers, mean = np.zeros(places(e, x)), np.zeros(places(e, x)), 0.0
    for chunk, values in measured(e, x, base, masks, number, label, value):
        total += np.tensordot(values, chunk, 1)
        covers += chunk.sum(0)
        mean += values.sum() / number
    total -= mean * covers
    found: Array = (total - total.min()) / number
    return found


def random_masks(sizes: tuple[int, ...], number: int, cells: int, kept: float, random: int) -> Iterator[Array]:
    """Yield RISE's masks: grids of 0 and 1, enlarged linearly to one cell more than the sizes, and cut out at random.

    Examples
    --------
    >>> [mask.shape for mask in random_masks((4, 6), 2, 3, 0.5, 0)]
    [(4, 6), (4, 6)]
    """
    import numpy as np

    if not 0 < kept < 1:
        raise ConfigError(f"{kept} is no share", key="kept", hint="between 0 and 1")
    rng = np.random.default_rng(random)
    sides = [ceil(size / cells) for size in sizes]
    ways = [_enlarging(cells, (cells + 1) * side) for side in sides]
    for _ in range(number):
        mask = (rng.random((cells,) * len(sizes)) < kept).astype("f4")
        for axis, (way, side, size) in enumerate(zip(ways, sides, sizes, strict=True)):
            start = rng.integers(side)
            mask = np.moveaxis(np.tensordot(way[start : start + size], mask, (1, axis)), 0, axis)
        yield mask


def _enlarging(small: int, large: int) -> Array:
    """Return the matrix that enlarges linearly, (large, small): the middles of the outermost cells are the ends."""
    import numpy as np

    at = (np.arange(large) + 0.5) * small / large - 0.5
    return np.stack([np.interp(at, np.arange(small), row) for row in np.eye(small)], 1).astype("f4")


# Superpixels: models of the model -----------------------------------------------------------------------------------


@method("kernel-shap")
def kernel_shap(
    e: Explainer, x: Array, seed: Array, samples: int = 1000, segments: Array | int = 50, random: int = 0,
    baseline: Array | float | str = 0.0,
) -> Array:  # fmt: skip
    """Shapley values of superpixels: their shares add up to the score's rise from the baseline (Lundberg and Lee 2017).

    Where `samples` cover all coalitions, the values are exact; else coalitions and their complements are drawn as the
    Shapley kernel weighs them. A superpixel's share is spread over its places.
    """

    def draw(number: int) -> tuple[Array, Array]:
        return _coalitions(number, samples, random)

    return _by_segments(e, x, seed, segments, baseline, draw, _sharing, "kernel-shap")


def _coalitions(number: int, samples: int, random: int) -> tuple[Array, Array]:
    """Return coalitions (n, number) of bool but the empty and the whole one, and the weight of each."""
    import numpy as np

    if number < 20 and 2**number - 2 <= samples:
        every = (np.arange(1, 2**number - 1)[:, None] >> np.arange(number)) & 1 == 1
        sizes = every.sum(1)
        return every, np.array([(number - 1) / (comb(number, s) * s * (number - s)) for s in sizes])
    rng, sizes = np.random.default_rng(random), np.arange(1, number)
    kernel = 1 / (sizes * (number - sizes))
    drawn = rng.choice(sizes, (samples + 1) // 2, p=kernel / kernel.sum())
    half = rng.random((len(drawn), number)).argsort(1).argsort(1) < drawn[:, None]
    return np.stack([half, ~half], 1).reshape(-1, number), np.ones(2 * len(drawn))


def _sharing(there: Array, weights: Array, values: Array, ends: Array) -> Array:
    """Return the shares with the least weighted squares of what they miss, of those that add up to the rise."""
    import numpy as np

    z, (empty, full) = there.astype("f8"), ends
    number = z.shape[1]
    system, right = np.ones((number + 1, number + 1)), np.full(number + 1, full - empty)
    system[:number, :number] = z.T @ (weights[:, None] * z)
    system[number, number] = 0
    right[:number] = z.T @ (weights * (values - empty))
    found: Array = np.linalg.lstsq(system, right, rcond=None)[0][:number]
    return found


@method("lime")
def lime(
    e: Explainer, x: Array, seed: Array, samples: int = 1000, segments: Array | int = 50, random: int = 0,
    baseline: Array | float | str = 0.0, width: float = 0.25, ridge: float = 1.0,
) -> Array:  # fmt: skip
    """Coefficients of superpixels in a linear model of the score near the image (Ribeiro, Singh and Guestrin 2016).

    Superpixels are there or not with equal chances; a copy counts by its cosine distance from the whole image under an
    exponential kernel of this `width`. A superpixel's coefficient is spread over its places.
    """
    import numpy as np

    if width <= 0:
        raise ConfigError(f"{width} is no width", key="width", hint="a number above 0")

    def draw(number: int) -> tuple[Array, Array]:
        there = np.random.default_rng(random).random((samples, number)) < 0.5
        there[0] = True
        distance = 1 - np.sqrt(there.mean(1))
        return there, np.exp(-((distance / width) ** 2) / 2)

    def fit(there: Array, weights: Array, values: Array, ends: Array) -> Array:
        return _ridge(there, weights, values, ridge)

    return _by_segments(e, x, seed, segments, baseline, draw, fit, "lime")


def _ridge(there: Array, weights: Array, values: Array, strength: float) -> Array:
    """Return the coefficients of weighted ridge regression with a free constant.

    A system of as many equations as there are superpixels: scikit-learn would be a large package for one line.
    """
    import numpy as np

    share = weights / weights.sum()
    z, y = there - share @ there, values - share @ values
    found: Array = np.linalg.solve(z.T @ (weights[:, None] * z) + strength * np.eye(z.shape[1]), z.T @ (weights * y))
    return found


def _by_segments(
    e: Explainer, x: Array, seed: Array, segments: Array | int, baseline: Array | float | str,
    draw: Callable[[int], tuple[Array, Array]], fit: Callable[[Array, Array, Array, Array], Array], label: str,
) -> Array:  # fmt: skip
    """Return what a linear model gives each superpixel, spread over its places.

    `draw` returns, for a number of superpixels, rows of which are there, and weights of the rows; `fit` turns those,
    the target's values, and its values when none and all are there, into a number for each.
    """
    import numpy as np

    found = []
    for image, base, row in each(x, ground(e, x, baseline), seed):
        labels = superpixels(e, image, segments) if isinstance(segments, int) else np.asarray(segments)
        labels = np.unique(labels, return_inverse=True)[1].reshape(labels.shape)
        if labels.shape not in (places(e, x), x.shape[1:]):
            raise ConfigError(f"superpixels of the shape {labels.shape} do not fit places of {places(e, x)}")
        sizes = np.bincount(labels.ravel())
        there, weights = draw(len(sizes))
        masks = (one[labels] for one in there.astype("f4"))
        value = partial(weighed, e, seed=row)
        values = [np.zeros(0), *(part for _, part in measured(e, image, base, masks, len(there), label, value))]
        ends = value(np.concatenate([base, image]))
        spread = (fit(there, weights, np.concatenate(values), ends) / sizes)[labels]
        found.append(spread if e.image is None or labels.ndim < x.ndim - 1 else spread.sum(e.image.axis - 1))
    return np.stack(found).astype("f4")


def superpixels(e: Explainer, image: Array, number: int) -> Array:
    """Return about so many superpixels as numbers, of an image's places, or of its elements where it has no more.

    Images and volumes are cut by SLIC (Achanta et al. 2012), signals and features into equal stretches.

    Raises
    ------
    MissingExtra
        Without scikit-image.
    """
    import numpy as np

    sizes = places(e, image)
    if image.size <= number:
        return np.arange(image.size).reshape(image.shape[1:])
    if e.image is None or len(sizes) == 1:
        return (np.arange(prod(sizes)) * min(number, prod(sizes)) // prod(sizes)).reshape(sizes)
    try:
        from skimage.segmentation import slic
    except ImportError:
        raise MissingExtra("scikit-image", extra="explain") from None
    pixels = np.moveaxis(image[0], e.image.axis - 1, -1).astype("f8")
    pixels = (pixels - pixels.min()) / (np.ptp(pixels) or 1)
    colours = pixels.shape[-1] == 3 and len(sizes) == 2
    # In CIELAB, distances reach 100; elsewhere, 1.
    found: Array = slic(pixels, number, 10.0 if colours else 0.1, convert2lab=colours, channel_axis=-1)
    return found
