"""One Keras layer while it is translated: its settings, its inputs, its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, TypeAlias

from graphviz_nets.errors import ConvertError
from graphviz_nets.graph.builder import Builder
from graphviz_nets.graph.ir import Shape
from graphviz_nets.graph.rules import Table
from graphviz_nets.graph.shapes import Impossible

Change: TypeAlias = Callable[[Any], Any]


@dataclass(frozen=True)
class Blob:
    """A layer's array in a file: its name there, its shape, and what reads it as float32 bytes."""

    name: str
    shape: tuple[int, ...]
    read: Callable[[], bytes]


@dataclass
class Call:
    """A call of a layer.

    Attributes
    ----------
    name, type : str
        The layer's name and Keras class.
    config : mapping
        Its settings as the file has them.
    inputs : tuple of str
        Value names.
    blobs : sequence of Blob
        Its arrays, in Keras's order.
    weights : list of str
        The initializers that it has declared.
    shared : dict
        Initializers of a layer that is called more than once.
    given : mapping
        What it is called with by name and not null; of a tensor, which is one of the inputs, only the name matters.
    keras : int
        Keras's major version, by which some defaults differ.
    """

    op: Builder
    name: str
    type: str
    config: Mapping[str, Any]
    inputs: tuple[str, ...]
    blobs: Sequence[Blob] = ()
    path: str = ""
    keras: int = 2
    results: int = 1
    weights: list[str] = field(default_factory=list)
    shared: dict[str, str] = field(default_factory=dict)
    taken: int = 0
    given: Mapping[str, Any] = field(default_factory=dict)

    def get(self, key: str, default: Any = None) -> Any:
        """Return a setting, the default where it is absent or null."""
        found = self.config.get(key)
        return default if found is None else found

    def whole(self, key: str, default: int | None = None, least: int = 0) -> int:
        """Return a whole-number setting."""
        found = self.get(key, default)
        if not isinstance(found, int) or isinstance(found, bool) or not least <= found < 1 << 31:
            raise self.fail(f"{key} is to be a whole number from {least}, not {str(found)[:60]!r}")
        return found

    def number(self, key: str, default: float) -> float:
        """Return a numeric setting; Keras writes some as one-element arrays."""
        found = self.get(key, default)
        if isinstance(found, Mapping):
            found = found.get("value", found.get("config", {}).get("value"))
        if isinstance(found, list) and len(found) == 1:
            found = found[0]
        if not isinstance(found, (int, float)):
            raise self.fail(f"{key} is to be a number, not {str(found)[:60]!r}")
        return float(found)

    def sides(self, key: str, rank: int, default: int = 1) -> tuple[int, ...]:
        """Return a setting with one number an axis; one number stands for all."""
        found = self.get(key, default)
        values = [found] * rank if isinstance(found, int) else found
        if not isinstance(values, (list, tuple)) or len(values) != rank:
            raise self.fail(f"{key} is to have {rank} numbers, not {str(found)[:60]!r}")
        if not all(isinstance(value, int) and 0 < value < 1 << 31 for value in values):
            raise self.fail(f"{key} is to have numbers from 1, not {str(found)[:60]!r}")
        return tuple(values)

    def fail(self, text: str) -> ConvertError:
        """Return an error about this layer."""
        return ConvertError(f"layer {self.name!r} ({self.type}): {text}", path=self.path)

    @property
    def x(self) -> str:
        """The first input."""
        if not self.inputs:
            raise self.fail("it has no input")
        return self.inputs[0]

    def shape(self, k: int = 0) -> Shape:
        """Return an input's shape, whose rank must be known."""
        found = self.op.shape(self.inputs[k]) if k < len(self.inputs) else None
        if found is None:
            raise Impossible("the shape of its input is not known")
        return found

    def size(self, axis: int, k: int = 0) -> int:
        """Return a dimension of an input, which must be known."""
        shape = self.shape(k)
        if not -len(shape) <= axis < len(shape):
            raise Impossible(f"its input has {len(shape)} dimensions, no axis {axis}")
        dim = shape[axis]
        if not isinstance(dim, int):
            raise Impossible(f"dimension {axis} of its input is not known")
        return dim

    @property
    def last(self) -> bool:
        """Whether channels come last."""
        return str(self.get("data_format", "channels_last")) != "channels_first"

    def into(self, x: str) -> str:
        """Return a value with the channels behind the batch, as ONNX's windows want them."""
        rank = len(self.op.shape(x) or ())
        return self.op.Transpose(x, perm=(0, rank - 1, *range(1, rank - 1))) if self.last and rank > 2 else x

    def back(self, x: str) -> str:
        """Undo `into`."""
        rank = len(self.op.shape(x) or ())
        return self.op.Transpose(x, perm=(0, *range(2, rank), 1)) if self.last and rank > 2 else x

    def weight(
        self, role: str, shape: Sequence[int], change: Change | None = None, shown: Sequence[int] | None = None,
        trained: bool = True,
    ) -> str:  # fmt: skip
        """Declare the next of the layer's weights and return its name.

        Parameters
        ----------
        role : str
            What Keras calls it.
        shape : sequence of int
            As Keras stores it; the file's array must have it.
        change, shown
            What turns Keras's array into ONNX's, and the shape that it then has.
        trained : bool
            False for running statistics.
        """
        key = f"{self.taken}"
        if key not in self.shared:
            self.shared[key] = self._declared(role, tuple(shape), change, tuple(shown or shape), trained)
        self.taken += 1
        self.weights.append(self.shared[key])
        return self.shared[key]

    def _declared(
        self, role: str, shape: tuple[int, ...], change: Change | None, shown: tuple[int, ...], trained: bool
    ) -> str:
        kind = "parameter" if trained else "buffer"
        name = "/".join((*self.op.scope, role))
        if not self.blobs:
            return self.op.weight(name, shown, None, role=kind)
        if self.taken >= len(self.blobs):
            raise self.fail(f"the file has {len(self.blobs)} of its weights and no {role!r}")
        blob = self.blobs[self.taken]
        if blob.shape != shape and prod(blob.shape) != prod(shape):
            raise self.fail(f"{role!r} has the shape {blob.shape} in the file and {shape} in the layer")
        return self.op.weight(name, shown, blob.read if change is None else _changed(blob, shape, change), role=kind)


def inner(call: Call, item: Any, x: str) -> tuple[str, ...]:
    """Append the layer that is a setting of another one, with the weights that come next; return its results.

    Parameters
    ----------
    call : Call
        Of the layer around it.
    item : mapping
        ``class_name`` and ``config``.
    x : str
        Its input.
    """
    type_ = str(item["class_name"])
    rule = layer.find("", type_)
    if rule is None:
        raise Impossible(f"{type_} inside it has no ONNX form here")
    own = replace(call, type=type_, config=item["config"], inputs=(x,), given={})
    found = rule(call.op, own)
    call.taken = own.taken
    return (found,) if isinstance(found, str) else tuple(found)


def _changed(blob: Blob, shape: tuple[int, ...], change: Change) -> Callable[[], bytes]:
    def read() -> bytes:
        import numpy as np

        array = np.frombuffer(blob.read(), "<f4").reshape(shape)
        return bytes(np.ascontiguousarray(change(array), "<f4").tobytes())

    return read


def order(*axes: int) -> Change:
    """Return what puts an array's axes in another order."""
    return lambda array: array.transpose(axes)


Rule: TypeAlias = Callable[[Builder, Call], "str | tuple[str, ...]"]

layer: Table[Rule] = Table("layer")
