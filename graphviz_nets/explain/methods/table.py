"""The table of methods, and what they share: the weights of a target's elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from graphviz_nets.errors import ConfigError
from graphviz_nets.graph.rules import Table

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

Method: TypeAlias = "Callable[..., Array]"

method: Table[Method] = Table("method")


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
    if isinstance(target, str):
        chosen = ranked(scores, target)
    else:
        against = target if isinstance(target, tuple) and len(target) == 2 else None
        chosen = np.broadcast_to(np.asarray(target if against is None else against[0], int), images)
        if against is not None:
            found[:, _class(against[1], classes)] -= 1
    for k, one in enumerate(chosen):
        found[k, _class(int(one), classes)] += 1
    return found


def ranked(scores: Array, target: str) -> Array:
    """Return each image's class of a rank, ``top1`` for the best.

    Examples
    --------
    >>> import numpy as np
    >>> ranked(np.array([[1.0, 3.0, 2.0]]), "top2").tolist()
    [2]
    """
    import numpy as np

    rank = target.removeprefix("top")
    if not target.startswith("top") or not rank.isdigit() or not 0 < int(rank) <= scores.shape[1]:
        raise ConfigError(f"{target!r} is no target", key="--target", hint="a class's number, its label, or top1")
    found: Array = np.argsort(-scores.reshape(*scores.shape[:2], -1).sum(2), 1, kind="stable")[:, int(rank) - 1]
    return found


def _class(number: int, classes: int) -> int:
    if not 0 <= number < classes:
        raise ConfigError(f"there is no class {number}", key="--target", hint=f"0 to {classes - 1}")
    return number
