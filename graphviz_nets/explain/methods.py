"""Methods: functions from (explainer, images, seed) to an attribution of the images' shape.

``x`` is (images, ...) as the model takes it, ``seed`` weighs the elements of the target, one row an image. A method
returns float32 of the shape of ``x``, signed where it has signs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from graphviz_nets.errors import ConfigError
from graphviz_nets.explain.explainer import Explainer
from graphviz_nets.graph.rules import Table

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

Method: TypeAlias = "Callable[..., Array]"

method: Table[Method] = Table("method")

WAYS: Mapping[str, str] = {
    "saliency": "gradient", "input-x-gradient": "gradient", "smoothgrad": "gradient", "smoothgrad-squared": "gradient",
    "vargrad": "gradient", "integrated-gradients": "gradient", "guided-backprop": "guided", "deconvnet": "deconv",
    "deeplift": "rescale", "lrp": "lrp:epsilon-plus",
}  # fmt: skip
"""The way back that a method takes."""

UNSIGNED = frozenset({"saliency", "smoothgrad-squared", "vargrad"})
"""Methods whose result has no sign."""


@method("saliency")
def saliency(e: Explainer, x: Array, seed: Array) -> Array:
    """|gradient|: which pixels would change the score most, if changed a little (Simonyan et al. 2013)."""
    import numpy as np

    return np.abs(e.gradient(x, seed))


@method("input-x-gradient")
def input_x_gradient(e: Explainer, x: Array, seed: Array) -> Array:
    """Input times gradient: the share of each pixel in a linear model of the score (Shrikumar et al. 2016)."""
    return x * e.gradient(x, seed)


def _noisy(e: Explainer, x: Array, seed: Array, samples: int, noise: float, random: int) -> Iterator[Array]:
    """Yield gradients at noisy copies; the noise is a share of each image's range, the same for every batch size."""
    import numpy as np

    axes = tuple(range(1, x.ndim))
    sigma = noise * (x.max(axes, keepdims=True) - x.min(axes, keepdims=True))
    rngs = [np.random.default_rng((random, k)) for k in range(len(x))]
    for _ in range(samples):
        noisy = np.stack([rng.standard_normal(x.shape[1:], "f4") for rng in rngs])
        yield e.gradient(x + sigma * noisy, seed)


@method("smoothgrad")
def smoothgrad(e: Explainer, x: Array, seed: Array, samples: int = 25, noise: float = 0.15, random: int = 0) -> Array:
    """Mean gradient at noisy copies: what of the gradient is more than its noise (Smilkov et al. 2017)."""
    import numpy as np

    return _mean(_noisy(e, x, seed, samples, noise, random), np.zeros_like(x), samples)


@method("smoothgrad-squared")
def smoothgrad_squared(
    e: Explainer, x: Array, seed: Array, samples: int = 25, noise: float = 0.15, random: int = 0
) -> Array:
    """Mean squared gradient at noisy copies (Hooker et al. 2018)."""
    import numpy as np

    return _mean((g * g for g in _noisy(e, x, seed, samples, noise, random)), np.zeros_like(x), samples)


@method("vargrad")
def vargrad(e: Explainer, x: Array, seed: Array, samples: int = 25, noise: float = 0.15, random: int = 0) -> Array:
    """Variance of the gradient at noisy copies (Adebayo et al. 2018)."""
    import numpy as np

    total, squares = np.zeros(x.shape), np.zeros(x.shape)
    for g in _noisy(e, x, seed, samples, noise, random):
        total += g
        squares += g.astype("f8") ** 2
    return np.maximum(squares / samples - (total / samples) ** 2, 0).astype("f4")


def _mean(parts: Iterator[Array], total: Array, number: int) -> Array:
    for part in parts:
        total += part
    total /= number
    return total


@method("integrated-gradients")
def integrated_gradients(e: Explainer, x: Array, seed: Array, steps: int = 50, baseline: Array | float = 0.0) -> Array:
    """Gradients on the way from a baseline, times the way: the shares add up to the score's rise (Sundararajan 2017).

    The integral is taken at Gauss-Legendre nodes; how far the shares miss the rise is a note of the explainer.
    """
    import numpy as np

    start = np.broadcast_to(np.asarray(baseline, "f4"), x.shape)
    way = x - start
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    total = np.zeros_like(x)
    for node, weight in zip(nodes, weights, strict=True):
        total += np.float32(weight / 2) * e.gradient(start + np.float32((node + 1) / 2) * way, seed)
    found: Array = way * total
    rise = ((e.scores(x) - e.scores(start.copy())) * seed).reshape(len(x), -1).sum(1)
    missed = np.abs(found.reshape(len(x), -1).sum(1) - rise) / np.maximum(np.abs(rise), 1e-12)
    e.notes.append(f"the shares miss the score's rise by {missed.max():.1e} of it (completeness)")
    return found


@method("guided-backprop")
def guided_backprop(e: Explainer, x: Array, seed: Array) -> Array:
    """Gradient that passes a Relu only where it is positive: sharp, but hardly of the class (Springenberg 2014)."""
    return e.gradient(x, seed, "guided")


@method("deconvnet")
def deconvnet(e: Explainer, x: Array, seed: Array) -> Array:
    """Signal that is rectified on the way back, with the pooling's switches (Zeiler and Fergus 2013)."""
    return e.gradient(x, seed, "deconv")


@method("deeplift")
def deeplift(e: Explainer, x: Array, seed: Array, baseline: Array | float = 0.0) -> Array:
    """Slopes between the input and a baseline in place of derivatives, times the difference (Shrikumar 2017)."""
    import numpy as np

    start = np.broadcast_to(np.asarray(baseline, "f4"), x.shape).copy()
    found: Array = (x - start) * e.gradient(x, seed, "rescale", baseline=start)
    return found


@method("lrp")
def lrp(e: Explainer, x: Array, seed: Array, composite: str = "epsilon-plus") -> Array:
    """Relevance handed down from layer to layer in proportion to what each input contributed (Bach et al. 2015).

    `composite` chooses the rules: epsilon, epsilon-plus, epsilon-plus-flat, epsilon-gamma, epsilon-alpha2-beta1,
    epsilon-alpha2-beta1-flat.
    """
    way = f"lrp:{composite}"
    return e.gradient(x, seed * e.scores(x), way)


def explain(e: Explainer, x: Array, target: Any = "top1", name: str = "saliency", **options: Any) -> Array:
    """Return a method's attribution of images.

    Parameters
    ----------
    e : Explainer
        The model.
    x : array
        (images, ...) as the model takes them.
    target : int, "top1", pair of int, sequence or array
        See :func:`seeds`.
    name : str
        Of the table `method`.
    **options
        Of the method.

    Returns
    -------
    array
        float32 of the shape of `x`.

    Raises
    ------
    ConfigError
        For an unknown method or target.
    """
    rule = method.find("", name)
    if rule is None:
        raise ConfigError(f"no method {name!r}", key="--method", hint=f"one of {', '.join(method)}")
    e.notes.clear()
    found = rule(e, x, seeds(e.scores(x), target), **options)
    empty = [k for k, one in enumerate(found) if not one.any()]
    if empty:
        e.notes.append(f"{name}: the map of {'image' if len(empty) == 1 else f'{len(empty)} images'} is empty, for "
                       "nothing comes back to it")  # fmt: skip
    return found


def seeds(scores: Array, target: Any) -> Array:
    """Return what weighs the target's elements.

    Parameters
    ----------
    scores : array
        (images, classes, ...); behind the classes all places count.
    target : int, "top1", (int, int), sequence of int, or array
        A class; each image's best; the first class against the second; one class for each image; or the weights
        themselves, such as a direction in an embedding.

    Examples
    --------
    >>> import numpy as np
    >>> seeds(np.array([[1.0, 3.0, 2.0]]), "top1").tolist(), seeds(np.zeros((1, 3)), (0, 2)).tolist()
    ([[0.0, 1.0, 0.0]], [[1.0, 0.0, -1.0]])
    """
    import numpy as np

    found = np.zeros(scores.shape, "f4")
    if isinstance(target, np.ndarray) and target.dtype.kind == "f":
        found[:] = target
        return found
    if scores.ndim < 2:
        found[:] = 1
        return found
    classes, images = scores.shape[1], len(scores)
    flat = scores.reshape(images, classes, -1)
    if isinstance(target, str):
        rank = target.removeprefix("top")
        if not target.startswith("top") or not rank.isdigit() or not 0 < int(rank) <= classes:
            raise ConfigError(f"{target!r} is no target", key="--target", hint="a class's number, its label, or top1")
        chosen = np.argsort(-flat.sum(2), 1, kind="stable")[:, int(rank) - 1]
    else:
        against = target if isinstance(target, tuple) and len(target) == 2 else None
        chosen = np.broadcast_to(np.asarray(target if against is None else against[0], int), images)
        if against is not None:
            found[:, _class(against[1], classes)] -= 1
    for k, one in enumerate(chosen):
        found[k, _class(int(one), classes)] += 1
    return found


def _class(number: int, classes: int) -> int:
    if not 0 <= number < classes:
        raise ConfigError(f"there is no class {number}", key="--target", hint=f"0 to {classes - 1}")
    return number


def heat(name: str, attribution: Array, layout: str = "nchw") -> Array:
    """Return maps (images, H, W) of an attribution of images: over the channels the largest, or with signs the sum.

    Examples
    --------
    >>> import numpy as np
    >>> heat("saliency", np.array([[[[1.0]], [[3.0]]]])).tolist()
    [[[3.0]]]
    """
    axis = 1 if layout == "nchw" else attribution.ndim - 1
    if attribution.ndim < 3:
        return attribution
    maps: Array = attribution.max(axis) if name in UNSIGNED else attribution.sum(axis)
    return maps


DOCS: Mapping[str, str] = {name: (rule.__doc__ or "").partition("\n")[0] for name, rule in method.rules.items()}
"""What each method says, in a line."""
