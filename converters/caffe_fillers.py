"""Caffe's fillers: the numbers that a layer starts from, as filler.hpp defines them, drawn by numpy's generator.

Each blob has a stream of its own, seeded by the user's seed and the names, so that neither order nor laziness matters.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, prod, sqrt
from typing import TYPE_CHECKING, Any, TypeAlias
from zlib import crc32

from graphviz_nets.graph.ir import Shape
from graphviz_nets.graph.rules import Table

from .prototxt import Message

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

Rule: TypeAlias = "Callable[[Any, tuple[int, ...], Message], Array]"

filler: Table[Rule] = Table("filler")


def filled(settings: Message, otherwise: str | float, shape: Shape, seed: int, name: str) -> Callable[[], memoryview]:
    """Return a function that fills a blob when it is asked to.

    Parameters
    ----------
    settings : Message
        The FillerParameter, empty where the file has none.
    otherwise : str or float
        What a blob without a filler gets: the type of one, or a constant.
    shape : tuple of int
        Of the blob.
    seed : int
        Any whole number.
    name : str
        The blob's, so that no two are equal.

    Returns
    -------
    callable
        Little-endian float32 bytes.

    Examples
    --------
    >>> import struct
    >>> struct.unpack("<2f", filled(Message(), 0.25, (2,), 0, "prelu.slope")())
    (0.25, 0.25)
    """
    sizes = tuple(dim for dim in shape if isinstance(dim, int))
    rule = filler.find("", str(settings.get("type", "constant")))
    if len(sizes) != len(shape) or rule is None:
        raise ValueError(f"{name} cannot be filled")

    def make() -> memoryview:
        import numpy as np

        rng = np.random.Generator(np.random.Philox(key=[seed & (1 << 64) - 1, crc32(name.encode())]))
        if settings.fields:
            values = rule(rng, sizes, settings)
        elif isinstance(otherwise, str):
            values = filler.rules[otherwise](rng, sizes, settings)
        else:
            values = np.full(sizes, otherwise)
        return np.ascontiguousarray(values, "<f4").reshape(-1).view("u1").data

    return make


def _fan(shape: tuple[int, ...], settings: Message) -> float:
    """Return what the spread is divided by: inputs of an output, outputs of an input, or their mean."""
    total, norm = prod(shape), settings.get("variance_norm", "FAN_IN")
    fan_in, fan_out = total / max(shape[0], 1), total / max(shape[1] if len(shape) > 1 else 1, 1)
    return max({"FAN_OUT": fan_out, 1: fan_out, "AVERAGE": (fan_in + fan_out) / 2, 2: (fan_in + fan_out) / 2}.get(
        norm, fan_in), 1e-9)  # fmt: skip


def _uniform(rng: Any, shape: tuple[int, ...], low: float, high: float) -> Array:
    values: Array = rng.random(shape, "f4")
    values *= high - low
    values += low
    return values


def _normal(rng: Any, shape: tuple[int, ...], mean: float, std: float) -> Array:
    values: Array = rng.standard_normal(shape, "f4")
    values *= std
    values += mean
    return values


@filler("constant")
def constant(rng: Any, shape: tuple[int, ...], settings: Message) -> Array:
    """`value` everywhere."""
    import numpy as np

    return np.full(shape, settings.get("value", 0.0), "f4")


@filler("uniform")
def uniform(rng: Any, shape: tuple[int, ...], settings: Message) -> Array:
    """Uniform from `min` to `max`."""
    return _uniform(rng, shape, settings.get("min", 0.0), settings.get("max", 1.0))


@filler("gaussian")
def gaussian(rng: Any, shape: tuple[int, ...], settings: Message) -> Array:
    """Normal with `mean` and `std`; `sparse` leaves so many inputs of an output on average and zeros the rest."""
    values = _normal(rng, shape, settings.get("mean", 0.0), settings.get("std", 1.0))
    sparse = settings.get("sparse", -1)
    if sparse >= 0:
        values *= rng.random(shape, "f4") < sparse / max(shape[0], 1)
    return values


@filler("positive_unitball")
def positive_unitball(rng: Any, shape: tuple[int, ...], settings: Message) -> Array:
    """Uniform from 0 to 1, divided so that what leads to one output adds up to 1."""
    values: Array = rng.random((shape[0], prod(shape[1:])), "f4")
    values /= values.sum(axis=1, keepdims=True)
    return values.reshape(shape)


@filler("xavier")
def xavier(rng: Any, shape: tuple[int, ...], settings: Message) -> Array:
    """Uniform with the variance 1 / fan (Glorot and Bengio 2010)."""
    reach = sqrt(3 / _fan(shape, settings))
    return _uniform(rng, shape, -reach, reach)


@filler("msra")
def msra(rng: Any, shape: tuple[int, ...], settings: Message) -> Array:
    """Normal with the variance 2 / fan (He et al. 2015)."""
    return _normal(rng, shape, 0.0, sqrt(2 / _fan(shape, settings)))


@filler("bilinear")
def bilinear(rng: Any, shape: tuple[int, ...], settings: Message) -> Array:
    """The kernel that makes a Deconvolution interpolate between neighbours: a pyramid in every channel.

    Caffe's definition, from the width alone: with f = ceil(w / 2) and c = (2 f - 1 - f % 2) / (2 f), the element
    (y, x) is (1 - |x / f - c|) (1 - |y / f - c|).
    """
    import numpy as np

    *_, high, wide = (1, 1, *shape)
    factor = ceil(wide / 2)
    centre = np.float32((2 * factor - 1 - factor % 2) / (2.0 * factor))
    one = 1 - np.abs(np.arange(max(high, wide), dtype="f4") / np.float32(factor) - centre)
    return np.broadcast_to(np.outer(one[:high], one[:wide]).astype("f4"), shape)
