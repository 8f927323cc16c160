"""Several inputs explained at once: a model whose inputs are the parts of a single one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, TypeAlias

from graphviz_nets.errors import ConfigError, RunError
from graphviz_nets.explain.backward import FLOATING
from graphviz_nets.graph.builder import Builder
from graphviz_nets.graph.ir import Model

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Together:
    """A model with one input for several, and the way there and back.

    Attributes
    ----------
    model : Model
        Its input is (samples, numbers of all parts).
    shapes : mapping of str to tuple of int
        Each part's shape without the samples, in order.
    """

    model: Model
    shapes: Mapping[str, tuple[int, ...]]

    def pack(self, arrays: Mapping[str, Array]) -> Array:
        """Return (samples, numbers) of one array for each part; all have as many samples.

        Raises
        ------
        RunError
            When an array is missing or does not fit.
        """
        import numpy as np

        for name, shape in self.shapes.items():
            if name not in arrays or arrays[name].shape[1:] != shape:
                have = f"has the shape {arrays[name].shape[1:]}, not {shape}" if name in arrays else "is not given"
                raise RunError(f"this input {have}", node=name)
        if len({len(arrays[name]) for name in self.shapes}) > 1:
            counts = ", ".join(f"{len(arrays[name])} of {name}" for name in self.shapes)
            raise RunError(f"the inputs have different numbers of samples: {counts}")
        return np.concatenate([arrays[name].reshape(len(arrays[name]), -1) for name in self.shapes], 1, dtype="f4")

    def unpack(self, array: Array) -> dict[str, Array]:
        """Return each part of (samples, numbers) in its own shape."""
        found, start = {}, 0
        for name, shape in self.shapes.items():
            end = start + prod(shape)
            found[name] = array[:, start:end].reshape(len(array), *shape)
            start = end
        return found


def together(model: Model, shapes: Mapping[str, Sequence[int]] | None = None) -> Together:
    """Return a model with one input in place of several, for methods that know of one.

    What they say of it, :meth:`Together.unpack` gives back as shares of each input: paths and baselines are those of
    all inputs at once, and shares add up over all of them. Maps of layers are of one of them:
    ``Explainer(both.model, seen="image")``.

    Parameters
    ----------
    model : Model
        Its inputs of floating point become parts, with samples along their first axis.
    shapes : mapping of str to sequence of int, optional
        Shapes without the samples of inputs whose own are not all numbers.

    Raises
    ------
    ConfigError
        When an input's shape is not known.

    Examples
    --------
    >>> import numpy as np
    >>> from graphviz_nets.explain.explainer import Explainer
    >>> from graphviz_nets.explain.methods import explain
    >>> op = Builder("product")
    >>> y = op.Mul(op.input("a", "float32", ("n", 1)), op.input("b", "float32", ("n", 1)))
    >>> both = together(op.model([y]))
    >>> x = both.pack({"a": np.array([[2.0]]), "b": np.array([[3.0]])})
    >>> shares = explain(Explainer(both.model), x, 0, "integrated-gradients")
    >>> {name: share.round(4).tolist() for name, share in both.unpack(shares).items()}
    {'a': [[3.0]], 'b': [[3.0]]}
    """
    graph = model.graph
    parts: dict[str, tuple[int, ...]] = {}
    batch: int | str = "samples"
    for name in graph.inputs:
        value = graph.value(name)
        if (value.dtype or "float32") not in FLOATING:
            continue
        first, *rest = value.shape or (None,)
        wanted = tuple((shapes or {}).get(name, [dim for dim in rest if isinstance(dim, int)]))
        if value.shape is None or len(wanted) != len(rest):
            raise ConfigError(f"the input {name} has the shape {value.shape}", hint="its sizes must be known")
        parts[name] = wanted
        batch = first if isinstance(first, int) else batch
    op = Builder.of(graph, model.opset_imports.get("", 18))
    packed = op.input("inputs", "float32", (batch, sum(map(prod, parts.values()))))
    op.inputs = [packed, *(name for name in graph.inputs if name not in parts)]
    start = 0
    for name, shape in parts.items():
        end = start + prod(shape)
        part = op.Slice(packed, op.constant([start]), op.constant([end]), op.constant([1]))
        op.node("Reshape", [part, op.constant([0, *shape])], [name])
        start = end
    return Together(model.with_graph(op.graph(graph.outputs)), parts)
