"""OpenCV's reader of Caffe models as a second judge: another program's numbers for the same net and weights."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from graphviz_nets.graph.ir import Model
from graphviz_nets.graph.scopes import Scope

from .caffe_weights import write_weights

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

# What OpenCV 4.14 gets wrong or does not know, as compared with Caffe 1.0: reasons not to ask it.
WRONG = frozenset({
    "Bias", "BNLL", "BatchReindex", "Clip", "Threshold", "ArgMax", "Reduction", "Embed", "SPP", "Filter", "Tile", "RNN",
    "LSTM", "Log", "Swish", "Im2col", "Axpy", "CReLU",
})  # fmt: skip


def judge(
    model: Model, path: Path, weights: Path | None, inputs: Mapping[str, Array]
) -> tuple[str, dict[str, Array]] | None:
    """Return OpenCV's name and outputs, None where it is not installed or cannot be trusted with the net.

    Parameters
    ----------
    model : Model
        Converted and runnable.
    path : Path
        Its prototxt.
    weights : Path or None
        Its ``.caffemodel``; without one the model's weights are written to one.
    inputs : mapping of str to array
        By input name.
    """
    try:
        import cv2
    except ImportError:
        return None
    if not hasattr(cv2.dnn, "readNetFromCaffe") or any(map(_doubtful, model.layers)):
        return None
    with tempfile.TemporaryDirectory(prefix="graphviz_nets-") as folder:
        if weights is None or not weights.name.endswith(".caffemodel"):
            weights = Path(folder) / "net.caffemodel"
            write_weights(weights, layers_of(model))
        try:
            net = cv2.dnn.readNetFromCaffe(str(path), str(weights))
            for name, array in inputs.items():
                net.setInput(array, name)
            makers = {scope.outputs[k]: f"{scope.name}.{k}" if k else scope.name
                      for scope in model.layers for k in range(len(scope.outputs))}  # fmt: skip
            wanted = [makers[name] for name in model.graph.outputs]
            found = net.forward(wanted)
        except (cv2.error, KeyError):
            return None
    types = {name: scope.type for scope in model.layers for name in scope.outputs}
    shapes = [model.graph.value(name).shape for name in model.graph.outputs]
    return f"OpenCV {cv2.__version__}", {
        name: _found(array) if types[name] == "DetectionOutput" else _shaped(array, shape)
        for name, array, shape in zip(model.graph.outputs, found, shapes, strict=True)
    }


def _found(rows: Array) -> Array:
    """Return detections as Caffe lists them: OpenCV orders them by score alone, and fills up with zeros."""
    import numpy as np

    found = rows.reshape(-1, 7)
    found = found[found[:, 2] > 0]
    return found[np.lexsort((-found[:, 2], found[:, 1], found[:, 0]))][None, None]


def _shaped(array: Array, shape: Any) -> Array:
    """Give an output the shape it is known to have: OpenCV drops and adds axes of one."""
    sizes = [dim for dim in shape or () if isinstance(dim, int)]
    return (
        array.reshape(sizes) if shape is not None and len(sizes) == len(shape) and prod(sizes) == array.size else array
    )


def _doubtful(scope: Scope) -> bool:
    parameters = scope.parameters
    settings = {key: value for part in parameters.values() if isinstance(part, Mapping) for key, value in part.items()}
    return (
        scope.type in WRONG
        or (scope.type == "LRN" and (settings.get("k", 1) != 1 or settings.get("norm_region") is not None))
        or (scope.type == "InnerProduct" and settings.get("transpose", False) is not False)
        or (scope.type == "Concat" and "concat_dim" in settings)
        or (scope.type == "Pooling" and "round_mode" in settings)
        or (scope.type == "Slice" and "slice_point" not in settings)
    )


def layers_of(model: Model) -> Iterator[tuple[str, str, Sequence[tuple[tuple[int, ...], bytes]]]]:
    """Yield the layers that have weights as :func:`write_weights` takes them, in Caffe's shapes.

    The statistics of a BatchNorm are divided by their weight already, so that is 1.
    """
    one = ((1,), b"\0\0\x80?")
    for scope in model.layers:
        blobs = []
        for name in scope.weights:
            tensor = model.graph.initializers[name]
            shape = tuple(int(dim or 0) for dim in tensor.shape)
            blobs.append((_stripped(shape) if scope.type in _WIDENED else shape, bytes(tensor.bytes())))
        if scope.type == "BatchNorm" and len(blobs) == 2:
            blobs.append(one)
        if blobs:
            yield scope.name, scope.type, blobs


# Layers whose weights are declared in the shape that broadcasts.
_WIDENED = frozenset({"Scale", "Bias", "PReLU", "Normalize", "BN"})


def _stripped(shape: tuple[int, ...]) -> tuple[int, ...]:
    while len(shape) > 1 and shape[-1] == 1:
        shape = shape[:-1]
    return shape
