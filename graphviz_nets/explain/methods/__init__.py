"""Methods: functions from (explainer, images, seed) to an attribution, a family a page.

``x`` is (images, ...) as the model takes it, ``seed`` weighs the elements of the target, one row an image. A method
returns float32 of the shape of ``x``, or one of `MAPS` a map (images, *places) without channels; signed where it has
signs.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from math import isfinite
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, TypeAlias

from graphviz_nets.errors import ConfigError
from graphviz_nets.explain.explainer import Explainer
from graphviz_nets.explain.methods import cam, gradients, perturb, rollout
from graphviz_nets.explain.methods.table import method, seeds

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

__all__ = ["DOCS", "LAYERED", "MAPS", "UNSIGNED", "explain", "heat", "method", "seeds"]

UNSIGNED = gradients.UNSIGNED | cam.UNSIGNED | rollout.UNSIGNED | perturb.UNSIGNED
"""Methods whose result has no sign."""
LAYERED = cam.MAPS | rollout.MAPS
"""Methods whose result is a map of what :attr:`Explainer.view` describes."""
MAPS = LAYERED | perturb.MAPS
"""Methods whose result has no channels."""
QUICK: Mapping[str, Mapping[str, Any]] = {
    "score-cam": {"channels": 64}, "ss-cam": {"channels": 16, "samples": 8}, "rise": {"samples": 500},
    "d-rise": {"samples": 500}, "kernel-shap": {"samples": 300}, "lime": {"samples": 300},
}  # fmt: skip
"""Options that keep a method short where all are run."""
DOCS: Mapping[str, str] = {name: (rule.__doc__ or "").partition("\n")[0] for name, rule in method.rules.items()}
"""What each method says, in a line."""


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
        float32 of the shape of `x`; of `MAPS` (images, *places).

    Raises
    ------
    ConfigError
        For an unknown method, option or target.
    """
    rule = method.find("", name)
    if rule is None:
        raise ConfigError(f"no method {name!r}", key="--method", hint=f"one of {', '.join(method)}")
    known = options_of(name)
    for option, value in options.items():
        if option not in known:
            raise ConfigError(f"{name} has no option {option!r}", hint=f"it has {', '.join(known) or 'none'}")
        check(known[option], value)
    e.notes.clear()
    found = rule(e, x, seeds(e.scores(x) if isinstance(target, str) else e.blank(x), target), **options)
    empty = sum(not one.any() for one in found)
    if empty:
        why = (
            "nothing at the layer speaks for the target; signed=true shows what speaks against it"
            if "signed" in known else "nothing comes back to it"
        )  # fmt: skip
        e.notes.append(f"{name}: the map of {'the image' if empty == 1 else f'{empty} images'} is empty, for {why}")
    return found


def options_of(name: str) -> dict[str, inspect.Parameter]:
    """Return a method's options.

    Examples
    --------
    >>> list(options_of("smoothgrad"))
    ['samples', 'noise', 'random']
    """
    return dict(list(inspect.signature(method.rules[name]).parameters.items())[3:])


def check(option: inspect.Parameter, value: Any) -> None:
    """Raise a ConfigError unless a value is of the types that an option is annotated with.

    Whole numbers are at least 1 where the default is, and 0 elsewhere; so are numbers that can be nothing else.

    Examples
    --------
    >>> check(options_of("smoothgrad")["samples"], 50)
    >>> check(options_of("smoothgrad")["samples"], 0)
    Traceback (most recent call last):
    graphviz_nets.errors.ConfigError: samples: 0 is no value (a whole number from 1)
    """
    kinds = str(option.annotation).split(" | ")
    least = 1 if isinstance(option.default, int) and option.default > 0 else 0
    truth = isinstance(value, bool)
    whole = isinstance(value, Integral) and not truth
    real = isinstance(value, Real) and not truth and isfinite(value)
    fits = {
        "int": whole and value >= least, "float": real and (len(kinds) > 1 or value >= 0),
        "bool": truth, "str": isinstance(value, str), "None": value is None,
    }  # fmt: skip
    others = not isinstance(value, (Real, str)) and value is not None
    if any(fits.get(kind, others) for kind in kinds):
        return
    said = {
        "int": f"a whole number from {least}",
        "float": "a number" + " from 0" * (len(kinds) == 1),
        "bool": "true or false",
        "str": "a word",
    }
    hint = ", ".join(said[kind] for kind in kinds if kind in said)
    raise ConfigError(f"{value!r} is no value", key=option.name, hint=hint)


def heat(name: str, attribution: Array, axis: int = 1) -> Array:
    """Return maps (images, *places) of an attribution: over the channels the largest, or with signs the sum.

    `axis` is that of the channels, as ``explainer.image.axis`` has it.

    Examples
    --------
    >>> import numpy as np
    >>> heat("saliency", np.array([[[[1.0]], [[3.0]]]])).tolist()
    [[[3.0]]]
    """
    if attribution.ndim < 3 or name in MAPS:
        return attribution
    maps: Array = attribution.max(axis) if name in UNSIGNED else attribution.sum(axis)
    return maps
