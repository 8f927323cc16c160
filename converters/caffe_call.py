"""One Caffe layer while it is translated: its settings, its bottoms' shapes, its weights; and the table of layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, TypeAlias

from graphviz_nets.errors import ConvertError, ParseError
from graphviz_nets.graph.builder import Builder
from graphviz_nets.graph.ir import Shape, count, float32
from graphviz_nets.graph.rules import Table
from graphviz_nets.graph.shapes import Impossible

from .caffe_fillers import filled, filler
from .caffe_net import Layer
from .caffe_weights import Blob
from .prototxt import Message

BIGGEST = 1 << 31
"""Settings beyond this are refused."""


@dataclass
class Call:
    """One layer that is being translated.

    Attributes
    ----------
    layer : Layer
        The source.
    inputs, tops : tuple of str
        Value names of its bottoms, and those that its tops are to have.
    op : Builder
        Where nodes go.
    shared : mapping of str to str
        Initializers by the name that ``param { name }`` gives them, over the whole net.
    weights : list of str
        Initializers in blob order.
    blobs : sequence of Blob
        What a weight file has for the layer.
    seed : int or None
        Fill what the file does not have with random numbers; None leaves it without data.
    divided, spent : set of str
        Over the whole net: statistics that were divided by their weight already, and those weights.
    """

    layer: Layer
    inputs: tuple[str, ...]
    op: Builder
    tops: tuple[str, ...] = ()
    phase: str = "TEST"
    path: str = ""
    shared: dict[str, str] = field(default_factory=dict)
    shapes: Mapping[str, tuple[str | None, Shape]] = field(default_factory=dict)
    weights: list[str] = field(default_factory=list)
    problems: list[tuple[int, str]] = field(default_factory=list)
    blobs: Sequence[Blob] = ()
    seed: int | None = None
    divided: set[str] = field(default_factory=set)
    spent: set[str] = field(default_factory=set)

    def param(self, name: str) -> Message:
        """Return a message of the layer, empty where it is absent."""
        return self.layer.own_param(name)

    def need(self, least: int) -> None:
        """Check that there are enough bottoms."""
        if len(self.inputs) < least:
            raise Impossible(f"{self.layer.type} needs {least} bottom{'s' * (least > 1)}, not {len(self.inputs)}")

    def shape(self, k: int = 0) -> Shape | None:
        """Return the shape of a bottom, None where unknown."""
        self.need(k + 1)
        return self.op.shape(self.inputs[k])

    def known(self, k: int = 0) -> tuple[int, ...]:
        """Return the shape of a bottom, which must be all numbers."""
        shape = self.shape(k)
        if shape is None or not all(isinstance(dim, int) for dim in shape):
            raise Impossible(f"the shape of {self.layer.bottoms[k]!r} must be known; give it with --input-shape")
        return tuple(dim for dim in shape if isinstance(dim, int))

    def dim(self, axis: int, k: int = 0) -> int | None:
        """Return one dimension of a bottom, None where unknown."""
        shape = self.shape(k)
        if shape is None or not -len(shape) <= axis < len(shape):
            return None
        size = shape[axis]
        return size if isinstance(size, int) else None

    def axis(self, value: int, k: int = 0) -> int:
        """Return an axis counted from the front."""
        shape = self.shape(k)
        if shape is None:
            if value < 0:
                raise Impossible("an axis from the end needs a known shape")
            return value
        if not -len(shape) <= value < max(len(shape), 1):
            raise Impossible(f"axis {value} is outside a blob of {len(shape)} dimensions")
        return value % len(shape) if shape else 0

    def weight(
        self, role: str, shape: Shape, kind: str = "parameter", *, filler: str = "", start: str | float | None = None
    ) -> str:
        """Declare the next blob and return its initializer's name.

        Parameters
        ----------
        role : str
            Its name within the layer.
        shape : tuple
            In Caffe's order; a size that is not known is taken from the weight file.
        kind : {"parameter", "buffer"}
            Whether it is learnt.
        filler : str
            The layer's setting that fills it, where that does not follow from the role.
        start : str or float, optional
            What it is filled with where the file names no filler.
        """
        for dim in shape:
            if isinstance(dim, int) and not 0 <= dim < BIGGEST:
                raise Impossible(f"a weight of size {dim} is not possible")
        index, key = len(self.weights), f"{self.layer.name}.{role}"
        blob = self.blobs[index] if index < len(self.blobs) else None
        data: Callable[[], Any] | None = None
        if blob is not None:
            shape, data = self.fitted(index, role, shape, blob), blob.read
        elif self.seed is not None and count(shape) is not None:
            data = self.filled(role, shape, key, filler, start)
        specs = self.layer.message.all("param")
        named = specs[index] if index < len(specs) else None
        shared = str(named.get("name", "")) if isinstance(named, Message) else ""
        if shared and shared in self.shared:
            name = self.shared[shared]
            old = self.op.initializers[name]
            if old.data is None and data is not None and old.count in (None, count(shape)):
                self.op.initializers[name] = old = replace(old, data=data, shape=shape)
            if old.shape != shape and old.count is not None and old.count == count(shape):
                self.weights.append(name)
                return self.op.Reshape(name, self.op.constant([int(dim or 0) for dim in shape]))
            if old.shape != shape and old.count != count(shape):
                self.problems.append((self.layer.line, f"{self.layer.name}: shared weight {shared!r} has another size"))
                name = self.op.weight(key, shape, data, role=kind)
        else:
            name = self.op.weight(shared or key, shape, data, role=kind)
            if shared:
                self.shared[shared] = name
        self.weights.append(name)
        return name

    def settle(self, axis: int, size: int | str | None, factor: int = 1) -> None:
        """Take a size of a graph input that the file does not state from the weights that it meets."""
        name, shape = self.inputs[0], self.shape()
        if isinstance(size, int) and name in self.op.inputs and shape is not None and shape[axis] is None:
            whole = (*shape[:axis], size * factor, *shape[axis + 1 :])
            self.op.values[name] = replace(self.op.values[name], shape=whole)

    def fitted(self, index: int, role: str, shape: Shape, blob: Blob) -> Shape:
        """Return the shape of a blob of the weight file as the layer wants it, or raise an error.

        Ones do not count: old files state four dimensions for everything, ``(1, 1, 1, 96)`` for a bias.
        """
        if shape.count(None) == 1:  # the file knows more than the net
            rest = prod(dim for dim in shape if isinstance(dim, int))
            shape = tuple(prod(blob.shape) // max(rest, 1) if dim is None else dim for dim in shape)
        elif None in shape:
            shape = tuple(real if dim is None else dim for dim, real in zip(shape, blob.shape, strict=False))
        if [dim for dim in shape if dim != 1] == [dim for dim in blob.shape if dim != 1]:
            return shape
        raise ConvertError(
            f"layer {self.layer.name!r}: blob {index} ({role}) is {blob.shape} in the weights and {shape} in the net",
            path=f"{self.path}:{self.layer.line}",
            hint="the weights are another net's; a layer that was changed needs another name to go without",
        )

    def filled(self, role: str, shape: Shape, key: str, name: str, start: str | float | None) -> Callable[[], Any]:
        """Return what fills a blob at random: the layer's filler, else what keeps signals at their size."""
        own, otherwise = STARTS.get(role.partition("_")[0], ("", 0.0))
        messages = [item.value for item in self.layer.message if isinstance(item.value, Message)]
        for message in messages:
            settings = message.get(name or own)
            if isinstance(settings, Message):
                type_ = str(settings.get("type", "constant"))
                if type_ not in filler.rules:
                    raise self.fail(settings, "type", f"filler {type_!r} is not one of {', '.join(filler)}")
                for number in ("value", "min", "max", "mean", "std", "sparse"):
                    self.number(settings, number, 0.0)
                return filled(settings, 0.0, shape, self.seed or 0, key)
        return filled(Message(), otherwise if start is None else start, shape, self.seed or 0, key)

    def fail(self, message: Message, name: str, text: str) -> ParseError:
        """Return an error at a field of the layer."""
        at = message.field(name)
        line, column = (at.line, at.column) if at is not None else (self.layer.line, None)
        return ParseError(f"layer {self.layer.name!r}: {text}", path=self.path, line=line, column=column)

    def number(self, message: Message, name: str, default: float) -> float:
        """Return a numeric setting."""
        value = message.get(name, default)
        if isinstance(value, (str, Message)):
            raise self.fail(message, name, f"{name} is to be a number")
        return float32(float(value))

    def whole(self, message: Message, name: str, default: int | None, least: int = 0) -> int:
        """Return an integer setting, at least `least`."""
        value = message.get(name, default)
        if value is None:
            raise self.fail(message, name, f"{name} is missing")
        return self.checked(message, name, value, least)

    def checked(self, message: Message, name: str, value: Any, least: int = 0) -> int:
        """Return an integer or raise an error at its field."""
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value < BIGGEST:
            raise self.fail(message, name, f"{name} is to be a whole number from {least}, not {value!r}")
        return value

    def checked_float(self, message: Message, value: Any) -> float:
        """Return a number of a repeated field."""
        if isinstance(value, (str, Message)):
            raise ParseError(f"layer {self.layer.name!r}: {value!r} is no number", path=self.path, line=message.line)
        return float32(float(value))

    def flag(self, message: Message, name: str, default: bool) -> bool:
        """Return a boolean setting."""
        value = message.get(name, default)
        return value not in (False, 0, "0", "f", "False", "false") if not isinstance(value, bool) else value

    def choice(self, message: Message, name: str, allowed: Sequence[str]) -> str:
        """Return an enum setting, the first allowed by default; numbers stand for the enum's order."""
        value = message.get(name, allowed[0])
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(allowed):
            return allowed[value]
        if value not in allowed:
            raise self.fail(message, name, f"{name} {str(value)!r} is not one of {', '.join(allowed)}")
        return str(value)


# The setting that fills a blob, by the first word of its role, and what fills it where there is none. Caffe's zeros
# would stop every signal, and a variance of zero would multiply it by 300, so these are as trained nets have them.
STARTS: Mapping[str, tuple[str, str | float]] = {
    "weight": ("weight_filler", "msra"), "bias": ("bias_filler", 0.0), "slope": ("filler", 0.25),
    "scale": ("scale_filler", 1.0), "shift": ("shift_filler", 0.0), "variance": ("", 1.0), "factor": ("", 1.0),
}  # fmt: skip

Rule: TypeAlias = Callable[[Builder, Call], "tuple[str, ...]"]

layer: Table[Rule] = Table("layer")


def foreign(call: Call, type_: str | None = None) -> tuple[str, ...]:
    """Append a node of the domain ``caffe`` with the layer's simple settings as attributes."""
    own = [
        item.value for item in call.layer.message if item.name.endswith("_param") and isinstance(item.value, Message)
    ]
    attributes: dict[str, Any] = {}
    for message in own:
        for name in dict.fromkeys(item.name for item in message):
            value = _simple(message.all(name))
            if value is not None:
                attributes.setdefault(name, value)
    name = type_ or call.layer.type or "Unknown"
    return call.op.node(name, call.inputs, len(call.layer.tops), domain="caffe", attributes=attributes)


def _simple(values: list[Any]) -> Any:
    """Return what an ONNX attribute can hold, else None."""
    if any(isinstance(value, Message) for value in values):
        return None
    for kinds, make in (((bool, int), int), ((bool, int, float), float), ((str,), str)):
        if all(isinstance(value, kinds) for value in values):
            if make is int and any(not -(1 << 63) <= int(value) < 1 << 63 for value in values):
                return None
            flat = [make(value) for value in values]
            return flat[0] if len(flat) == 1 else flat
    return None


def images(call: Call, k: int = 0) -> tuple[int, int, int, int]:
    """Return the shape of a bottom that must be (N, C, H, W), all known."""
    shape = call.known(k)
    if len(shape) != 4:
        raise Impossible(f"four axes are needed, not {len(shape)}")
    return shape[0], shape[1], shape[2], shape[3]
