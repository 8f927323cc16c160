"""Caffe: prototxt and solver files, V0, V1 and V2, to the IR."""

from __future__ import annotations

import json
import mmap
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphviz_nets.errors import ConfigError, ConvertError, ParseError
from graphviz_nets.graph.builder import Builder
from graphviz_nets.graph.ir import Model, Shape, Value
from graphviz_nets.graph.scopes import Scope, layer_paths
from graphviz_nets.graph.shapes import Impossible

from .caffe_defaults import without_defaults
from .caffe_layers import Call, foreign, graph_input, layer, possible
from .caffe_net import Layer, Net, State, is_net, is_solver, read_net, read_text, solver_net
from .prototxt import Message, decode, parse

_SIGNS = re.compile(
    rb"^\s*(?:layers?|input|input_dim|input_shape|name|net|train_net|test_net|net_param|base_lr|force_backward|state)\s*[:{<]",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Converter:
    """Opens Caffe's text files."""

    name: str = "caffe"
    title: str = "Caffe prototxt and solver files"
    suffixes: tuple[str, ...] = (".prototxt", ".pt", ".solver", ".txt")

    def match(self, path: Path, head: bytes) -> int:
        """Return how sure it is that the file is Caffe's."""
        suffix = path.suffix.lower()
        if suffix in (".prototxt", ".caffemodel", ".solver"):
            return 90
        if suffix == ".onnx" or b"\0" in head:
            return 0
        text = head.decode("utf-16", "ignore").encode() if head[:2] in (b"\xff\xfe", b"\xfe\xff") else head
        if not _SIGNS.search(text):
            return 0
        return 60 if re.search(rb"\b(?:bottom|top|layers?)\b", text) else 30

    def open(self, path: Path, data: bytes | None, options: Any) -> Model:
        """Return the net of a file.

        Parameters
        ----------
        path : Path
            The file.
        data : bytes or None
            Its content, where there is no file.
        options : Options
            `phase`, `stages`, `level`, `net` and `input_shapes` matter.
        """
        if path.suffix.lower() == ".caffemodel":
            raise _weights_alone(path, data)
        message = read_text(path) if data is None else parse(decode(data, str(path)), str(path))
        state = State(options.phase.upper(), frozenset(options.stages), options.level)
        if is_solver(message):
            key = "train_state" if state.phase == "TRAIN" else "test_state"
            states = [item for item in message.all(key) if isinstance(item, Message)]
            if states:
                stages = frozenset(str(stage) for stage in states[0].all("stage"))
                state = State(state.phase, state.stages | stages, state.level or int(states[0].get("level", 0)))
            message, path = solver_net(message, path, state.phase, options.net)
        if not is_net(message) and message.fields:
            raise ParseError(
                "this is neither a net nor a solver", path=str(path), line=message.fields[0].line,
                hint="a net has layer { ... } entries",
            )  # fmt: skip
        net = read_net(message, str(path), state)
        return to_model(net, path, state.phase, options.input_shapes)


converter = Converter()


def _weights_alone(path: Path, data: bytes | None) -> ConvertError:
    """Return why a .caffemodel cannot be opened: cut short, or without its net."""
    if data is not None:
        return _walk(path, data)
    try:
        with path.open("rb") as file:
            if not path.stat().st_size:
                return ConvertError("the caffemodel is empty", path=str(path))
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return _walk(path, content)
    except (OSError, ValueError) as fault:
        return ConvertError(f"cannot be read: {getattr(fault, 'strerror', fault)}", path=str(path))


def _walk(path: Path, content: bytes | mmap.mmap) -> ConvertError:
    """Step over the fields of a NetParameter, of which only the heads are read."""
    place = 0
    while place < len(content):
        start = place
        key, place = _varint(content, place)
        kind = key & 7
        size, place = _varint(content, place) if kind in (0, 2) else ({1: 8, 5: 4}.get(kind, -1), place)
        if kind not in (0, 1, 2, 5) or not key >> 3:
            return ConvertError(f"this is no caffemodel: bad field at byte {start}", path=str(path))
        place += size if kind else 0
    if place != len(content) or not content:
        return ConvertError(f"the caffemodel is truncated: {place - len(content)} bytes are missing", path=str(path))
    return ConvertError("weights alone are not drawn", path=str(path), hint="give the net: net.prototxt")


def _varint(content: bytes | mmap.mmap, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(content) and shift < 70:
        byte = content[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if not byte & 0x80:
            break
    return value, place


def to_model(
    net: Net, path: Path, phase: str = "TEST", shapes: Mapping[str, tuple[str | None, Shape]] | None = None
) -> Model:
    """Translate a net's layers to ONNX nodes, each layer a scope.

    Parameters
    ----------
    net : Net
        After upgrade and filter.
    path : Path
        Its file.
    phase : {"TEST", "TRAIN"}
        What it was filtered for.
    shapes : mapping of str to (dtype, shape), optional
        Input shapes that the user gives.

    Returns
    -------
    Model
        Structure and shapes; weights are shapes without data. What cannot be translated is a node of the domain
        ``caffe``, and a line in `problems`.
    """
    op = Builder(net.name or path.stem)
    shapes = shapes or {}
    problems = list(net.problems)
    shared: dict[str, str] = {}
    latest: dict[str, str] = {}  # blob: value that holds it now
    blobs: dict[str, str] = {}  # value: blob
    last = {top: k for k, item in enumerate(net.layers) for top in item.tops}
    for name, shape in net.inputs:
        if not possible(shape):
            problems.append((1, f"input {name!r}: no blob can have the shape {str(shape)[:80]}"))
            shape = None
        value = graph_input(op, name, shape, shapes, f"{name}@input" if name in last else "")
        latest[name], blobs[value] = value, name
    scopes: list[Scope] = []
    used: set[str] = set()
    for k, (item, place) in enumerate(zip(net.layers, layer_paths(item.name for item in net.layers), strict=True)):
        inputs = []
        for blob in item.bottoms:
            if blob not in latest:
                problems.append((_line(item, "bottom", blob), f"{item.name}: nothing makes the bottom {blob!r}"))
                latest[blob] = op.fresh(blob)
                op.values[latest[blob]] = Value(latest[blob])
                blobs[latest[blob]] = blob
            inputs.append(latest[blob])
            used.add(latest[blob])
        for blob in item.tops:
            if blob in latest and blob not in item.bottoms:
                problems.append((_line(item, "top", blob), f"{item.name}: the top {blob!r} is made twice"))
        op.scope = place
        wanted = tuple(blob if last[blob] == k else f"{blob}@{item.name}" for blob in item.tops)
        call = Call(item, tuple(inputs), op, wanted, phase, str(path), shared, shapes)
        first, before = len(op.nodes), len(op.problems)
        outputs = _translate(call, first)
        problems += [(line or item.line, text) for line, text in call.problems]
        problems += [(item.line, f"{item.name}: {text.partition(': ')[2]}") for text in op.problems[before:]]
        tops = []
        for j, blob in enumerate(item.tops):
            value = outputs[j]
            if value in op.inputs and value not in inputs and value not in tops:
                pass  # a data layer's top is a graph input already
            elif value in inputs or value in tops or value in op.initializers:
                value = op.Identity(value)
            if value not in op.inputs:
                value = op.rename(value, op.fresh(wanted[j]), first)
            tops.append(value)
            blobs[value] = blob
        latest.update(zip(item.tops, tops, strict=True))
        scopes.append(
            Scope(place, "layer", item.name, item.type, _parameters(item), tuple(inputs), tuple(tops),
                  tuple(call.weights), path.name, item.line)
        )  # fmt: skip
    op.scope = ()
    _all_taken(shapes, [blobs[name] for name in op.inputs])
    for value, blob in blobs.items():
        if blob != value:
            old = op.values[value]
            op.values[value] = Value(value, old.dtype, old.shape, metadata={"gvn.blob": blob})
    made = {name for node in op.nodes for name in node.outputs}
    eaten = used | {name for node in op.nodes for name in node.inputs}
    results = [name for scope in scopes for name in scope.outputs if name in made and name not in eaten]
    metadata = {"gvn.preprocess": json.dumps(found)} if (found := _preprocess(net)) else {}
    return op.model(
        list(dict.fromkeys(results)),
        scopes,
        framework="caffe",
        problems=tuple(f"{path.name}:{line}: {text}" for line, text in dict.fromkeys(problems)),
        metadata=metadata,
    )


def _all_taken(shapes: Mapping[str, object], inputs: list[str]) -> None:
    """Raise ConfigError for a given shape that no input takes."""
    for name in shapes:
        if name not in inputs and not (name.isdigit() and int(name) < len(inputs)):
            hint = f"its inputs: {', '.join(inputs) or 'none'}"
            raise ConfigError(f"the net has no input {name!r}", key="--input-shape", hint=hint)


def _translate(call: Call, first: int) -> tuple[str, ...]:
    """Append a layer's nodes; where its rule cannot, a foreign node stands for it."""
    op, item = call.op, call.layer
    rule = layer.find("", item.type)
    if rule is None and not item.bottoms and "input_param" in item.message:
        # Some files write a type of their own, such as V0's "data", above the shapes of an Input layer.
        rule = layer.find("", "Input")
    if rule is None:
        call.problems.append((item.line, f"{item.name}: layer type {item.type!r} is not known; drawn as it is"))
        return foreign(call)
    try:
        outputs = rule(op, call)
    except (Impossible, OverflowError, struct.error) as fault:
        for node in op.nodes[first:]:
            for name in node.outputs:
                op.values.pop(name, None)
        del op.nodes[first:]
        call.problems.append((item.line, f"{item.name}: {fault}"))
        return foreign(call)
    if len(outputs) < len(item.tops):
        call.problems.append((item.line, f"{item.name}: {item.type} makes {len(outputs)} tops, not {len(item.tops)}"))
        outputs += op.node("Missing", call.inputs, len(item.tops) - len(outputs), domain="caffe")
    return outputs


def _line(item: Layer, name: str, value: str) -> int:
    return next((f.line for f in item.message if f.name == name and f.value == value), item.line)


def _parameters(item: Layer) -> dict[str, Any]:
    """Return a layer's settings without what the scope itself says, and without those at Caffe's default."""
    return without_defaults(item.message.without("name", "type", "bottom", "top").to_dict())


def _preprocess(net: Net) -> dict[str, Any]:
    """Return what ``transform_param`` says of the input."""
    for item in net.layers:
        message = item.message.message("transform_param")
        if message.fields and not item.bottoms:
            return {"layout": "nchw", "channels": "bgr", **message.to_dict()}
    return {}
