"""Caffe: prototxt and solver files, V0, V1 and V2, to the IR."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from graphviz_nets.errors import ConfigError, ConvertError, ParseError
from graphviz_nets.graph.builder import Builder
from graphviz_nets.graph.ir import Model, Value
from graphviz_nets.graph.preprocess import Preprocess
from graphviz_nets.graph.scopes import Scope, layer_paths
from graphviz_nets.graph.shapes import Impossible

from .caffe_call import Call, foreign, layer
from .caffe_defaults import without_defaults
from .caffe_layers import deployed, graph_input, possible
from .caffe_net import Layer, Net, State, is_net, is_solver, read_net, read_text, solver_net
from .caffe_preprocess import mean_of, preprocess
from .caffe_weights import Weights, read_structure, read_weights, write_weights
from .prototxt import Message, decode, parse

_SIGNS = re.compile(
    rb"^\s*(?:layers?|input|input_dim|input_shape|name|net|train_net|test_net|net_param|base_lr|force_backward|state)\s*[:{<]",
    re.MULTILINE,
)


BINARY = (".caffemodel", ".caffemodel.h5", ".binaryproto", ".solverstate", ".solverstate.h5")


@dataclass(frozen=True)
class Converter:
    """Opens Caffe's files."""

    name: str = "caffe"
    title: str = "Caffe prototxt, solver and caffemodel files"
    suffixes: tuple[str, ...] = (".prototxt", ".pt", ".solver", ".txt", ".caffemodel")

    def match(self, path: Path, head: bytes) -> int:
        """Return how sure it is that the file is Caffe's."""
        suffix = path.suffix.lower()
        if suffix in (".prototxt", ".solver") or path.name.lower().endswith(BINARY):
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
            `phase`, `stages`, `level`, `net`, `input_shapes`, `weights`, `random_weights` and `deploy` matter.
        """
        weights = read_weights(options.weights) if options.weights is not None else None
        if path.name.lower().endswith(BINARY):
            if data is not None:
                raise ConvertError("a binary file is not read from standard input", path=str(path))
            message, phase = read_structure(path)
            weights = weights or read_weights(path)
            net = read_net(message, str(path), State(phase))
            return to_model(net, path, options, weights)
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
        return to_model(net, path, options, weights)

    def judge(
        self, model: Model, path: Path, weights: Path | None, inputs: Mapping[str, Any]
    ) -> tuple[str, Mapping[str, Any]] | None:
        """Return OpenCV's name and outputs for a net, None where it cannot judge."""
        from .caffe_opencv import judge

        return judge(model, path, weights, inputs)

    def engines(self) -> Mapping[str, Callable[[Path, Path], Model]]:
        """Return other programs' converters: each takes a prototxt and a ``.caffemodel``."""
        from .caffe_engine import convert

        return {"caffe2onnx": convert}

    def save_weights(self, model: Model, path: Path) -> None:
        """Write a model's weights as a ``.caffemodel``."""
        from .caffe_opencv import layers_of

        write_weights(path, layers_of(model))

    def mean(self, path: Path) -> Preprocess:
        """Return the preprocessing that a mean image (``.binaryproto``) stands for: BGR minus it."""
        return Preprocess(channels="bgr", **mean_of(path))


converter = Converter()


def to_model(net: Net, path: Path, options: Any, weights: Weights | None = None, *, alone: bool = False) -> Model:
    """Translate a net's layers to ONNX nodes, each layer a scope.

    Parameters
    ----------
    net : Net
        After upgrade and filter.
    path : Path
        Its file.
    options : Options
        `phase`, `input_shapes`, `random_weights` and `deploy` matter.
    weights : Weights, optional
        What a weight file holds, matched by the layers' names.
    alone : bool
        Open no other file, such as the mean image that the net names.

    Returns
    -------
    Model
        Structure and shapes; weights without data where there is no file. What cannot be translated is a node of the
        domain ``caffe``, and a line in `problems`.

    Raises
    ------
    ConvertError
        When a layer's blobs in the file have other shapes or another number than the layer wants.
    """
    phase, shapes = options.phase.upper(), options.input_shapes
    op = Builder(net.name or path.stem)
    problems = list(net.problems)
    given = dict(weights.layers) if weights is not None else {}
    shared: dict[str, str] = {}
    divided, spent = set[str](), set[str]()
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
    targets: set[str] = set()
    for k, (item, place) in enumerate(zip(net.layers, layer_paths(item.name for item in net.layers), strict=True)):
        inputs = []
        for blob in item.bottoms:
            if blob not in latest:
                problems.append((_line(item, "bottom", blob), f"{item.name}: nothing makes the bottom {blob!r}"))
                latest[blob] = op.fresh(blob)
                op.values[latest[blob]] = Value(latest[blob])
                blobs[latest[blob]] = blob
            inputs.append(latest[blob])
        if options.deploy:
            type_ = deployed(item.type)
            if type_ != item.type:
                targets.update(inputs[1:])
                used.update(inputs if item.type == "Silence" else ())
                if type_ is None:
                    continue
                item = replace(item, type=type_, bottoms=item.bottoms[:1], tops=(_prediction(net, k, last),))
                inputs = inputs[:1]
                last.setdefault(item.tops[0], k)
        used.update(inputs)
        for blob in item.tops:
            if blob in latest and blob not in item.bottoms:
                problems.append((_line(item, "top", blob), f"{item.name}: the top {blob!r} is made twice"))
        op.scope = place
        wanted = tuple(blob if last[blob] == k else f"{blob}@{item.name}" for blob in item.tops)
        call = Call(item, tuple(inputs), op, wanted, phase, str(path), shared, shapes, blobs=given.pop(item.name, ()),
                    seed=options.random_weights, divided=divided, spent=spent)  # fmt: skip
        first, before = len(op.nodes), len(op.problems)
        outputs = _translate(call, first)
        if weights is not None:
            _all_used(call, first, weights.path)
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
    if given and weights is not None:
        names = ", ".join(list(given)[:5]) + (f" and {len(given) - 5} more" if len(given) > 5 else "")
        problems.append((1, f"{Path(weights.path).name} has weights for layers that the net does not have: {names}"))
    for value, blob in blobs.items():
        if blob != value:
            old = op.values[value]
            op.values[value] = Value(value, old.dtype, old.shape, metadata={"gvn.blob": blob})
    for name in spent:
        del op.initializers[name]
    made = {name for node in op.nodes for name in node.outputs}
    eaten = used | {name for node in op.nodes for name in node.inputs}
    results = list(dict.fromkeys(name for s in scopes for name in s.outputs if name in made and name not in eaten))
    if options.deploy:
        results = _pruned(op, scopes, results, targets)
    kept = {*op.inputs, *op.initializers, *(name for node in op.nodes for name in node.outputs)}
    if spent or options.deploy:
        scopes = [
            replace(
                scope,
                outputs=tuple(name for name in scope.outputs if name in kept),
                weights=tuple(name for name in scope.weights if name in kept),
            )
            for scope in scopes
        ]
    found = None if alone else _preprocess(net, path, op, weights, problems)
    return op.model(
        results,
        scopes,
        framework="caffe",
        problems=tuple(f"{path.name}:{line}: {text}" for line, text in dict.fromkeys(problems)),
        metadata={"gvn.preprocess": found.to_json()} if found is not None else {},
    )


def _prediction(net: Net, k: int, taken: Mapping[str, int]) -> str:
    """Return the blob that a loss turned into a prediction makes: ``prob`` for the last one, the net's result."""
    later = any(deployed(item.type) not in (None, item.type) for item in net.layers[k + 1 :])
    return f"{net.layers[k].name}/prob" if later or "prob" in taken else "prob"


def _all_used(call: Call, first: int, path: str) -> None:
    """Check that a layer took all blobs that the file has for it; a foreign one takes what it is given."""
    op, item = call.op, call.layer
    if any(node.domain for node in op.nodes[first:]):
        for k in range(len(call.weights), len(call.blobs)):
            call.weight(f"blob_{k}", call.blobs[k].shape)
        return
    if not call.blobs:
        missing = [name for name in call.weights if op.initializers[name].data is None]
        if missing:
            call.problems.append((item.line, f"{item.name}: {Path(path).name} has no weights for this layer"))
    elif len(call.blobs) != len(call.weights):
        raise ConvertError(
            f"layer {item.name!r} has {len(call.blobs)} blobs in the weights and {len(call.weights)} in the net",
            path=f"{call.path}:{item.line}",
            hint="the weights are another net's; a layer that was changed needs another name to go without",
        )


def _pruned(op: Builder, scopes: list[Scope], results: list[str], targets: set[str]) -> list[str]:
    """Take out what only training needed: the labels that losses compared with, and what led to nothing but them.

    A value that a loss read second is a label where no weights have a part in it.
    """
    learnt: set[str] = set()
    parameters = {name for name, tensor in op.initializers.items() if tensor.role != "constant"}
    for node in op.nodes:
        if any(name in learnt or name in parameters for name in node.inputs):
            learnt.update(node.outputs)
    wanted = [name for name in results if name not in targets or name in learnt]
    results = wanted or results
    live = set(results)
    kept = []
    for node in reversed(op.nodes):
        if live & set(node.outputs):
            live.update(node.inputs)
            for _, graph in node.graphs():
                live.update(graph.undefined)
            kept.append(node)
    op.nodes[:] = reversed(kept)
    # An input that tells a layer no more than a size, as Crop's second, is an input still.
    alive = {node.scope for node in op.nodes}
    read = {name for scope in scopes if scope.path in alive for name in scope.inputs}
    op.inputs[:] = [name for name in op.inputs if name in live or name in read]
    scopes[:] = [scope for scope in scopes if scope.path in alive or set(scope.outputs) & set(op.inputs)]
    named = {name for node in op.nodes for name in (*node.outputs, *node.inputs)} | set(op.inputs)
    for name in [name for name in op.values if name not in named]:
        del op.values[name]
    for name in [name for name, tensor in op.initializers.items() if name not in live and tensor.role == "constant"]:
        del op.initializers[name]
    return results


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


def _preprocess(
    net: Net, path: Path, op: Builder, weights: Weights | None, problems: list[tuple[int, str]]
) -> Preprocess | None:
    """Return what the net says of its images, else what the net says that the weights were trained in."""
    shape = op.shape(op.inputs[0]) if op.inputs else None
    channels = shape[1] if shape is not None and len(shape) == 4 and isinstance(shape[1], int) else None
    found = preprocess(net, [path], channels, problems)
    if found is not None or weights is None or weights.path.lower().endswith(".h5"):
        return found
    trained, phase = read_structure(Path(weights.path))
    return preprocess(read_net(trained, weights.path, State(phase)), [path, Path(weights.path)], channels, [])
