"""Methods that stand on one way back through the net, to its input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from graphviz_nets.explain.explainer import Explainer
from graphviz_nets.explain.methods.table import method

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

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
    """Yield gradients at noisy copies; the noise is a share of each image's range.

    It is the same for every size of the batch, and wherever the model has its channels.
    """
    import numpy as np

    axis = 1 if e.image is None else e.image.axis
    first = np.moveaxis(x, axis, 1).shape[1:]
    axes = tuple(range(1, x.ndim))
    sigma = noise * (x.max(axes, keepdims=True) - x.min(axes, keepdims=True))
    rngs = [np.random.default_rng((random, k)) for k in range(len(x))]
    for _ in e.track(range(samples), "noisy copies"):
        noisy = np.stack([rng.standard_normal(first, "f4") for rng in rngs])
        yield e.gradient(x + sigma * np.moveaxis(noisy, 1, axis), seed)


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
    for k in e.track(range(steps), "steps"):
        node, weight = nodes[k], weights[k]
        total += np.float32(weight / 2) * e.gradient(start + np.float32((node + 1) / 2) * way, seed)
    found: Array = way * total
    rise = ((e.scored(x, seed)[0] - e.scored(start.copy(), seed)[0]) * seed).reshape(len(x), -1).sum(1)
    missed = np.abs(found.reshape(len(x), -1).sum(1) - rise) / np.maximum(np.abs(rise), 1e-12)
    more = "; more steps come nearer" if missed.max() > 0.05 else ""
    e.notes.append(
        f"integrated-gradients: the shares miss the score's rise by {missed.max():.1e} of it (completeness{more})"
    )
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
