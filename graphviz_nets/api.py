"""The library's four functions: load a model, render it, sum it up, save it as ONNX."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from graphviz_nets import plugins
from graphviz_nets.config import Options, options
from graphviz_nets.errors import ConfigError, ConvertError, GraphvizNetsError, LimitError, UnknownFormat
from graphviz_nets.files import write
from graphviz_nets.graph.cost import Summary
from graphviz_nets.graph.ir import Model
from graphviz_nets.graph.preprocess import Preprocess

HEAD = 4096
LARGEST_TEXT = 64 << 20
"""Bytes of a model given on standard input."""
PACKED = {b"\x1f\x8b": "gunzip", b"\xfd7zXZ\0": "unxz", b"BZh": "bunzip2", b"\x28\xb5\x2f\xfd": "unzstd"}
"""How compressed files begin, and what unpacks them."""


def load(
    path: Any,
    given: Options | None = None,
    *,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] = MappingProxyType({}),
    data: bytes | None = None,
    **more: Any,
) -> Model:
    """Open a model file, or take a model in memory apart.

    Parameters
    ----------
    path : path-like or object
        The file or folder; with `data`, only its name. Or a model in memory: a PyTorch module, a Keras model, a
        ``tf.function``; or ``"package.module:attribute"``, which names a PyTorch module (or a class or factory of one)
        and is imported.
    given : Options, optional
        Input options (`source`, `phase`, `stages`, `level`, `net`, `input_shapes`, `weights`, `random_weights`,
        `layout`, `deploy`); or give them as keywords.
    args, kwargs
        What a live module's ``forward`` is called with; `input_shapes` makes them otherwise.
    data : bytes, optional
        The file's content, where there is no file.

    Returns
    -------
    Model
        With shapes, as far as they can be inferred.

    Raises
    ------
    ConvertError
        When the file cannot be read, is of no known format, or breaks its grammar (with line and column).

    Examples
    --------
    >>> model = load("fixtures/caffe/lenet.prototxt")
    >>> len(model.layers), model.graph.value("ip2").shape
    (9, (64, 10))
    """
    from graphviz_nets.graph import shapes

    chosen = replace(given, **more) if given is not None else options(**more)
    model = shapes.infer(_opened(path, chosen, args, kwargs, data))
    return model if chosen.layout is None else with_layout(model, chosen.layout)


def _opened(path: Any, chosen: Options, args: Sequence[Any], kwargs: Mapping[str, Any], data: bytes | None) -> Model:
    """Return what the converter makes of a file, or of a model in memory."""
    pytorch = plugins.resolve("converters", "pytorch")
    if not isinstance(path, (str, os.PathLike)):
        return _in_memory(path, args, kwargs, chosen)
    if pytorch.names_object(os.fspath(path)):
        found: Model = pytorch.of_module(path, args, kwargs, chosen)
        return found
    place = Path(path)
    converter = converter_of(place, chosen.source, data)
    if chosen.weights is not None and converter.name not in ("caffe", "pytorch"):
        raise ConfigError("a weight file goes with a Caffe net or a PyTorch model", key="--weights")
    if chosen.random_weights is not None and converter.name != "caffe":
        raise ConfigError("random weights go with a Caffe net", key="--random-weights", hint="leave it out")
    found = converter.open(place, data, chosen)
    return found


def _in_memory(thing: object, args: Sequence[Any], kwargs: Mapping[str, Any], chosen: Options) -> Model:
    """Return an object as a model, by whichever converter takes it."""
    for name in plugins.names("converters"):
        converter = plugins.resolve("converters", name)
        if getattr(converter, "takes", None) is not None and converter.takes(thing):
            model: Model = converter.open_object(thing, args, kwargs, chosen)
            return model
    raise UnknownFormat(f"no converter takes a {type(thing).__name__}", hint="give a file, or a model of a framework")


def converter_of(path: Path, source: str | None = None, data: bytes | None = None) -> Any:
    """Return what opens a file: the converter called `source`, or the one that is surest of the content.

    Raises
    ------
    UnknownFormat, ConvertError
        When there is none, or the file cannot be read.
    """
    return _converter(path, data[:HEAD] if data is not None else _head(path), source)


def other_phase(
    model: Model, path: str | os.PathLike[str], given: Options, *, data: bytes | None = None
) -> dict[str, Model]:
    """Open a Caffe net in its other phase, where that has other layers.

    Parameters
    ----------
    model : Model
        The net as :func:`load` opened it.
    path, given, data
        What it was opened with.

    Returns
    -------
    dict of str to Model
        Nothing, or the other phase's name and net, for :func:`render`.

    Examples
    --------
    >>> net = "fixtures/caffe/tiny_train.prototxt"
    >>> list(other_phase(load(net), net, options()))
    ['train']
    """
    if model.framework != "caffe":
        return {}
    name = "train" if given.phase == "test" else "test"
    try:
        other = load(path, given, data=data, phase=name)
    except GraphvizNetsError:
        return {}  # what cannot be opened is no other view of this net
    return {name: other} if other.layers and other.scopes != model.scopes else {}


def _head(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return b""
        if not stat.S_ISREG(mode):
            raise ConvertError("this is no regular file", path=str(path))
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError as fault:
        raise ConvertError(f"cannot be read: {fault.strerror}", path=str(path)) from None


def _converter(path: Path, head: bytes, source: str | None) -> Any:
    """Return the converter that is named, or the one that is surest of the content."""
    names = plugins.names("converters")
    if source is not None:
        found = plugins.resolve("converters", source)
        if found is None:
            raise UnknownFormat(f"no converter {source!r}", path=str(path), hint=f"one of {', '.join(names)}")
        return found
    best, sure = None, 0
    for name in names:
        converter = plugins.resolve("converters", name)
        score = converter.match(path, head)
        if score > sure:
            best, sure = converter, score
    if best is None:
        known = ", ".join(names)
        unpack = next((command for magic, command in PACKED.items() if head.startswith(magic)), None)
        if unpack is not None:
            raise UnknownFormat("the file is compressed", path=str(path), hint=f"unpack it first: {unpack}")
        what = "the file is empty" if not head and path.is_file() else "no converter recognises the file"
        raise UnknownFormat(what, path=str(path), hint=f"name its format with --from {known}")
    return best


def render(
    model: Model,
    path: str | os.PathLike[str],
    given: Options | None = None,
    *,
    phases: Mapping[str, Model] | None = None,
    **more: Any,
) -> Path:
    """Draw a model into a file whose suffix names the format.

    Parameters
    ----------
    model : Model
        What to draw.
    path : path-like
        ``.dot``, ``.svg``, ``.png``, ``.pdf``, ``.html`` or ``.json``; written whole or not at all.
    given : Options, optional
        Drawing options; or give them as keywords: ``rankdir="LR"``, ``depth=1``, ``overlay={"conv1": 0.5}``.
    phases : mapping of str to Model, optional
        The net in other phases, from :func:`other_phase`, for a page to switch to.

    Returns
    -------
    Path
        The file.

    Examples
    --------
    >>> import tempfile
    >>> model = load("fixtures/caffe/lenet.prototxt")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     render(model, folder + "/lenet.svg", rankdir="LR").suffix
    '.svg'
    """
    from graphviz_nets.renderers import by_suffix, draw

    chosen = replace(given, **more) if given is not None else options(**more)
    target = Path(path)
    (content,) = draw(model, [by_suffix(target)], chosen, phases)
    write(target, content)
    return target


def summary(model: Model, by: str = "layer") -> Summary:
    """Return the cost table of a model: parameters, MACs, FLOPs and bytes.

    Parameters
    ----------
    model : Model
        With shapes, as :func:`load` gives it.
    by : {"layer", "scope", "node"}
        What a row is.

    Examples
    --------
    >>> summary(load("fixtures/caffe/lenet.prototxt")).macs
    2293000
    """
    from graphviz_nets.graph import cost

    return cost.summary(model, by)


def save(model: Model, path: str | os.PathLike[str]) -> Path:
    """Write a model as ``.onnx``; a structure without weights is written as such.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(load("fixtures/caffe/lenet.prototxt"), folder + "/lenet.onnx").name
    'lenet.onnx'
    """
    from graphviz_nets.graph import proto

    target = Path(path)
    proto.write(model, target)
    return target


def with_layout(model: Model, layout: str) -> Model:
    """Return the model with its images in a layout, ``nchw`` or ``nhwc``, at its inputs and outputs of four axes.

    Raises
    ------
    ConfigError
        When no input has four axes.

    Examples
    --------
    >>> model = with_layout(load("fixtures/caffe/lenet.prototxt"), "nhwc")
    >>> model.graph.value("data").shape, model.graph.nodes[0].op_type
    ((64, 28, 28, 1), 'Transpose')
    """
    from graphviz_nets.graph import channels, shapes

    return shapes.infer(channels.with_layout(model, layout))


def export_attribution(model: Model, method: str = "saliency") -> tuple[Model, str, str]:
    """Return a model that computes an attribution as well, in ONNX's own operations, to be run anywhere.

    Parameters
    ----------
    model : Model
        A runnable one; unknown sizes of its inputs become 1.
    method : str
        Of ``explain --list-methods``: its way back is added. What a method does around it (noise, steps, a product
        with the input) is the caller's. Of Grad-CAM and its like the map is added, at the size of the image.

    Returns
    -------
    (model, seed, gradient)
        The model at opset 18 or more, the name of the extra input that weighs the target's elements, and of the output
        that holds what comes back to the first input, or the map.

    Examples
    --------
    >>> found, seed, gradient = export_attribution(load("fixtures/caffe/lenet.prototxt", random_weights=1))
    >>> seed, gradient, found.runnable
    ('ip2/seed', 'data/gradient', True)
    """
    from graphviz_nets.explain.explainer import Explainer
    from graphviz_nets.explain.methods.cam import weights, with_map
    from graphviz_nets.explain.methods.gradients import WAYS

    if method not in WAYS and method not in weights:
        raise ConfigError(
            f"no gradient of {method!r}", key="--with-gradient", hint=f"one of {', '.join([*WAYS, *weights])}"
        )
    explainer = Explainer(model)
    if method in weights:
        found, seed, result = with_map(explainer, method)
    else:
        found, backward = explainer.backward(WAYS[method])
        seed, result = backward.seed, backward.gradients[explainer.wrt]
    return replace(found, metadata=model.metadata), seed, result


def preprocess_of(text: str) -> Preprocess:
    """Return the preprocessing that a user names.

    Parameters
    ----------
    text : str
        A preset (``caffe``, ``imagenet``, ``inception``, ``unit``, ``raw``), a YAML file with the settings of
        :class:`~graphviz_nets.graph.preprocess.Preprocess`, or a Caffe mean image (``.binaryproto``).

    Raises
    ------
    ConfigError
        When there is no such preset or file, or a setting is wrong.

    Examples
    --------
    >>> preprocess_of("caffe").mean
    (104.0, 117.0, 123.0)
    """
    from graphviz_nets.config import load_yaml
    from graphviz_nets.explain.images import PRESETS

    if text in PRESETS:
        return PRESETS[text]
    path = Path(text)
    if not path.is_file():
        raise ConfigError(f"{text!r} is neither a file nor one of {', '.join(PRESETS)}", key="--preprocess")
    if path.suffix.lower() == ".binaryproto":
        found: Preprocess = plugins.resolve("converters", "caffe").mean(path)
        return found
    return Preprocess.of(load_yaml(path), str(path))


def read_overlay(path: Path) -> tuple[str, dict[str, float]]:
    """Read ``id,value`` lines; a first line that is no number names the value.

    Returns
    -------
    (title, values)
        The value's name (or an empty string) and a value by id.

    Raises
    ------
    ConvertError
        With the line at fault.
    """
    import csv

    title, values = "", {}
    try:
        if path.stat().st_size > LARGEST_TEXT:
            raise LimitError(f"{path}", "64 MB")
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, row in enumerate(csv.reader(file), 1):
                if not row or row[0].startswith("#"):
                    continue
                if len(row) < 2:
                    raise ConvertError("a line is id,value", path=f"{path}:{number}")
                try:
                    value = float(row[1])
                except ValueError:
                    if number > 1:
                        raise ConvertError(f"{row[1]!r} is no number", path=f"{path}:{number}") from None
                    title = row[1].strip()
                    continue
                if math.isfinite(value):
                    values[row[0]] = value
    except OSError as fault:
        raise ConvertError(f"cannot be read: {fault.strerror}", path=str(path)) from None
    except (UnicodeDecodeError, csv.Error) as fault:
        raise ConvertError(f"no readable CSV: {fault}", path=str(path)) from None
    return title, values


def known_ids(model: Model) -> set[str]:
    """Return every id that an overlay, ``--expand`` or ``--layer`` may name."""
    return (
        {scope.id for scope in model.scopes.values()}
        | {node.id for node in model.graph.nodes}
        | set(model.graph.inputs)
    )
