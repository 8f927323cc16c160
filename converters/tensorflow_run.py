"""TensorFlow models made runnable: TensorFlow freezes them, tf2onnx translates them, names join them to their scopes.

This runs TensorFlow on the model, which drawing never does.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from graphviz_nets.errors import ConvertError, GraphvizNetsError, MissingExtra
from graphviz_nets.graph import proto
from graphviz_nets.graph.ir import Model, Node, Shape, graphs

from .tensorflow_files import Signature, meta_of
from .tensorflow_graph import needed
from .tensorflow_names import joined
from .tensorflow_repairs import by_batch, grown, repaired

OPSET = 18
"""The newest that tf2onnx writes."""
LAYERS = frozenset({"Conv1D", "Conv2D", "Conv3D", "DepthwiseConv2dNative", "MatMul"})
"""Operations that TensorFlow's optimizer is to leave alone: it puts the scaling behind them into their weights."""
REWRITTEN = frozenset(
    "Const Enter Exit LoopCond Merge NextIteration Placeholder Switch TensorArrayGatherV3 TensorArrayReadV3 "
    "TensorArrayScatterV3 TensorArraySizeV3 TensorArrayV3 TensorArrayWriteV3".split()
)
"""Operations that tf2onnx translates by what is around them; the others stand in its table."""

WRITES = frozenset({"AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp"})


@dataclass(frozen=True)
class Frozen:
    """A GraphDef whose variables are constants, and the tensors (``x:0``) that go in and come out."""

    graph: Any
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def tensorflow() -> Any:
    """Return the module tensorflow; raise MissingExtra where it or tf2onnx is not installed."""
    # Else it writes of itself to standard error, where it has not been imported yet.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of its own imports
            import tensorflow
            import tf2onnx  # noqa: F401
    except ImportError:
        raise MissingExtra("tensorflow or tf2onnx", extra="tensorflow") from None
    tensorflow.get_logger().setLevel("ERROR")
    return tensorflow


def runnable(drawn: Model, path: Path, data: bytes | None, kind: str, signature: Signature | None, tag: str) -> Model:
    """Return a model that runs, of the file that `drawn` was read from.

    Parameters
    ----------
    drawn : Model
        The structure, whose scopes the runnable model gets.
    path, data, kind
        The file, its content where there is no file, and what it is.
    signature, tag
        What is run, of a SavedModel.

    Raises
    ------
    ConvertError
        When TensorFlow or tf2onnx cannot.
    MissingExtra
        Without them.
    """
    tf = tensorflow()
    with faults(str(path)):
        if kind == "saved_model" and data is None:
            if signature is None:
                raise ConvertError("the SavedModel has no signature to run", path=str(path))
            folder = path if path.is_dir() else path.parent
            if _unset(drawn) and not (folder / "variables" / "variables.index").is_file():
                raise ConvertError("it has no values: no variables/variables.index beside it", path=str(path))
            return _saved_model(tf, folder, signature, tag, drawn)
        if kind in ("meta", "checkpoint") and data is None:
            frozen = _checkpoint(tf, meta_of(path) if path.is_dir() else path, drawn, signature)
        elif kind in ("graph", "text"):
            frozen = _graph(tf, path, data, kind, drawn)
        else:
            raise ConvertError("it holds no weights", path=str(path))
        return joined(translated(frozen, drawn), drawn)


@contextmanager
def faults(path: str) -> Iterator[None]:
    """Keep TensorFlow's and tf2onnx's words about themselves off the terminal; make their errors ours."""
    import logging

    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except GraphvizNetsError:
            raise
        except Exception as fault:  # they raise all kinds
            raise ConvertError(f"TensorFlow cannot make it run: {_said(fault)}", path=path) from None


def _said(fault: Exception) -> str:
    """Return what an error says, without the places in code that TensorFlow names around it.

    Examples
    --------
    >>> _said(ValueError('in user code:\\n\\n    File "/a/b.py", line 3, in f  *\\n        g(x)\\n\\n    no such g'))
    'ValueError: no such g'
    """
    lines = [line.strip() for line in str(fault).split("\n")]
    places = [k for k, line in enumerate(lines) if line.startswith(('File "', "Detected at node", "in user code:"))]
    rest = lines[places[-1] + 1 :] if places else lines
    rest = rest[rest.index("") :] if places and "" in rest else rest  # behind the code that is quoted
    return f"{type(fault).__name__}: {' '.join(line for line in rest if line)}"[:300]


def _saved_model(tf: Any, folder: Path, signature: Signature, tag: str, drawn: Model) -> Model:
    """Translate a signature as the old loader reads it, which asks nothing of the Keras that wrote the file.

    Where that loses functions or values, as of what Keras 3 writes, or leaves loops that tf2onnx does not know, as the
    new one reads it.
    """
    v1 = tf.compat.v1
    inputs, outputs = tuple(signature.inputs.values()), tuple(signature.outputs.values())
    try:
        with tf.Graph().as_default(), v1.Session() as session:
            v1.saved_model.load(session, [tag], str(folder))
            graph = _constant(v1, session, outputs)
        return joined(translated(Frozen(graph, inputs, outputs), drawn), drawn)
    except Exception as fault:  # TensorFlow and tf2onnx raise all kinds
        first = fault
    try:
        whole = tf.saved_model.load(str(folder), tags=[tag])  # holds the variables while they are read
        found = constants(whole.signatures[signature.name])
        return joined(translated(replace(found, outputs=found.outputs[: len(outputs)]), drawn), drawn)
    except Exception as second:
        raise (first if isinstance(first, ConvertError) else second) from None


def _constant(v1: Any, session: Any, outputs: Iterable[str]) -> Any:
    names = list(dict.fromkeys(name.partition(":")[0] for name in outputs))
    return v1.graph_util.convert_variables_to_constants(session, _unwritten(session.graph_def), names)


def _unwritten(graph: Any) -> Any:
    """Take out of a GraphDef's functions what writes to variables, which are constants then.

    Running statistics and states of random numbers are written for the next run; what is read after it is written, in
    the same run, stays, and cannot be frozen.
    """
    for function in graph.library.function:
        writes = {node.name for node in function.node_def if node.op in WRITES}
        writes -= {ref[1:] for node in function.node_def if node.op == "ReadVariableOp" for ref in node.input}
        if not writes:
            continue
        kept = [node for node in function.node_def if node.name not in writes]
        for node in kept:
            node.input[:] = [ref for ref in node.input if not (ref.startswith("^") and ref[1:] in writes)]
        del function.node_def[:]
        function.node_def.extend(kept)
        for key in [key for key, name in function.control_ret.items() if name in writes]:
            del function.control_ret[key]
            function.signature.control_output.remove(key)
    return graph


def _checkpoint(tf: Any, meta: Path, drawn: Model, signature: Signature | None) -> Frozen:
    v1 = tf.compat.v1
    values = meta.with_suffix("")
    if not values.with_name(f"{values.name}.index").is_file() and not values.is_file():
        raise ConvertError(f"it has no values: no {values.name}.index beside it", path=str(meta))
    outputs = tuple(signature.outputs.values()) if signature is not None else _tensors(_results(drawn))
    with tf.Graph().as_default(), v1.Session() as session:
        v1.train.import_meta_graph(str(meta), clear_devices=True).restore(session, str(values))
        frozen = _constant(v1, session, outputs)
    return Frozen(frozen, _placeholders(frozen), outputs)


def _graph(tf: Any, path: Path, data: bytes | None, kind: str, drawn: Model) -> Frozen:
    if _unset(drawn):
        raise ConvertError("its variables have no values: it is not frozen", path=str(path))
    if drawn.graph.undefined:
        raise ConvertError(f"it lacks the node {drawn.graph.undefined[0]!r}", path=str(path))
    graph = tf.compat.v1.GraphDef()
    content = proto.load(str(path)) if data is None else data
    if kind == "text":
        from google.protobuf import text_format

        text_format.Parse(content.decode(), graph)
    else:
        graph.ParseFromString(content)
    return Frozen(graph, _tensors(drawn.graph.inputs), _tensors(_results(drawn)))


def _unset(drawn: Model) -> bool:
    """Say whether variables have no values in the file."""
    return any(tensor.data is None for tensor in drawn.graph.initializers.values())


def _results(drawn: Model) -> list[str]:
    """Return what a graph without signatures computes: the results that nothing of the network reads."""
    graph = drawn.graph
    apart = {path for path, scope in drawn.scopes.items() if scope.kind == "auxiliary"}

    def main(name: str) -> bool:
        maker = graph.producers.get(name)
        return maker is None or not any(maker.scope[:size] in apart for size in range(1, len(maker.scope) + 1))

    ends = [n for n in graph.outputs if main(n)]
    fed = _reached(drawn)
    return [name for name in ends if name in fed] or ends or list(graph.outputs)


def _reached(drawn: Model) -> set[str]:
    """Return the values that depend on an input."""
    found = set(drawn.graph.inputs)
    for node in drawn.graph.nodes:
        if any(name in found for name in node.inputs):
            found.update(node.outputs)
    return found


def _placeholders(graph: Any) -> tuple[str, ...]:
    return tuple(f"{node.name}:0" for node in graph.node if node.op == "Placeholder")


def _tensors(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(name if re.search(r":\d+$", name) else f"{name}:0" for name in values)


def translated(frozen: Frozen, drawn: Model) -> Model:
    """Return what tf2onnx makes of a frozen graph; values are called as in TensorFlow, without ``:0``.

    Inputs have the shapes that `drawn` has: old files write an unknown one as that of a scalar.
    """
    import tensorflow as tf
    from tf2onnx import optimizer, tf_loader, tfonnx

    nodes = needed(frozen.graph.node, frozen.inputs, frozen.outputs)
    for k, node in enumerate(nodes):
        if node.op == "Placeholder" and f"{node.name}:0" in frozen.inputs and node.name in drawn.graph.values:
            nodes[k] = node = node.__class__.FromString(node.SerializeToString())
            _shape(node.attr["shape"].shape, drawn.graph.value(node.name).shape)
    graph = frozen.graph.__class__()
    graph.CopyFrom(frozen.graph)
    del graph.node[:]
    graph.node.extend(grown(nodes))
    kept = {node.name for node in nodes}
    inputs = [tensor for tensor in frozen.inputs if tensor.partition(":")[0] in kept]
    inputs, outputs = list(inputs), list(frozen.outputs)
    # Not all of tf2onnx's optimizers: one of them lets every convolution vanish in the normalization after it.
    chosen = {name: make for name, make in optimizer._optimizers.items() if name != "remove_back_to_back"}
    with tf.Graph().as_default():
        whole_graph = _inlined(graph, [*inputs, *outputs])
        layers = [f"{node.name}:0" for node in whole_graph.node if node.op in LAYERS]
        small = by_batch(tf_loader.tf_optimize(inputs, [*outputs, *layers], whole_graph))
    with tf.Graph().as_default() as whole, repaired():
        tf.import_graph_def(small, name="")
        try:
            made = tfonnx.process_tf_graph(whole, opset=OPSET, input_names=inputs, output_names=outputs)
        except Exception as fault:  # it raises all kinds, and rarely says where
            known = _translations()
            raise _untranslated({node.name: node.op for node in small.node if node.op not in known}) or fault from None
        model = optimizer.optimize_graph(made, optimizers=chosen).make_model(drawn.name or "model")
    _shorten(model.graph)
    found = proto.from_proto(model)
    left = _untranslated({n.name: n.op_type for graph in graphs(found.graph) for n in graph.nodes if not _onnx(n)})
    if left is not None:
        raise left
    return found


def _inlined(graph: Any, ends: Sequence[str]) -> Any:
    """Return a GraphDef with the functions that it calls in the place of their calls; loops and choices stay."""
    import tensorflow as tf
    from tensorflow.python.grappler import tf_optimizer

    config = tf.compat.v1.ConfigProto()
    config.graph_options.rewrite_options.optimizers[:] = ["function"]
    meta = tf.compat.v1.train.export_meta_graph(graph_def=graph)
    meta.collection_def["train_op"].node_list.value.extend(ends)
    return tf_optimizer.OptimizeGraph(config, meta)


def _translations() -> frozenset[str]:
    """Return the operations that tf2onnx knows."""
    from tf2onnx import handler

    return REWRITTEN.union(*handler.tf_op.get_opsets()[""])


def _onnx(node: Node) -> bool:
    import onnx

    return bool(node.domain) or onnx.defs.has(node.op_type, OPSET)


def _untranslated(nodes: Mapping[str, str]) -> ConvertError | None:
    """Return what is said of operations, by the names of their nodes, that stay TensorFlow's own; None for none."""
    if not nodes:
        return None
    kinds: dict[str, list[str]] = {}
    for name, kind in nodes.items():
        kinds.setdefault(kind, []).append(name)
    said = [
        f"{kind} ({names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''})"
        for kind, names in sorted(kinds.items())
    ]
    return ConvertError(f"tf2onnx does not translate {', '.join(said[:5])}{', ...' if len(said) > 5 else ''}")


def _shorten(graph: Any) -> None:
    """Take ``:0`` off the names of values in a GraphProto, and in those inside it."""
    for item in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        item.name = item.name.removesuffix(":0")
    for node in graph.node:
        node.input[:] = [name.removesuffix(":0") for name in node.input]
        node.output[:] = [name.removesuffix(":0") for name in node.output]
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                _shorten(inner)


def _shape(out: Any, shape: Shape | None) -> None:
    """Write a shape into a TensorShapeProto."""
    out.Clear()
    out.unknown_rank = shape is None
    for dim in shape or ():
        out.dim.add(size=dim if isinstance(dim, int) else -1)


# In memory --------------------------------------------------------------------------------------------------------


def of_object(thing: Any) -> Any:
    """Return the concrete function of a Keras model or a ``tf.function``, a concrete function as it is.

    Raises
    ------
    ConvertError
        When a ``tf.function`` does not say what it takes.
    """
    tf = tensorflow()
    if hasattr(thing, "layers") and callable(thing):
        specs = _specs(tf, thing)
        called = tf.function(lambda *given: thing(given if len(given) > 1 else given[0], training=False))
        thing = called.get_concrete_function(*specs)
    elif hasattr(thing, "get_concrete_function"):
        if getattr(thing, "input_signature", None) is None:
            raise ConvertError("the tf.function has no input_signature", hint="give load() a concrete function of it")
        thing = thing.get_concrete_function()
    elif not hasattr(thing, "graph"):
        raise ConvertError(f"{type(thing).__name__} is neither a Keras model nor a tf.function")
    return thing


def _specs(tf: Any, model: Any) -> list[Any]:
    """Return what a Keras model takes: its inputs, or the shape that a model of an own class was built for."""
    given = getattr(model, "inputs", None)
    if given:
        return [tf.TensorSpec(x.shape, x.dtype, x.name) for x in given]
    built = (model.get_build_config() or {}) if getattr(model, "built", False) else {}
    shapes = list(built.get("shapes_dict", {}).values()) or [built.get("input_shape")]
    if not all(isinstance(shape, (list, tuple)) and shape for shape in shapes):
        raise ConvertError("the Keras model has not been built", hint="call it once, or model.build(input_shape)")
    return [tf.TensorSpec([None, *shape[1:]], tf.float32) for shape in shapes]


def graph_of(function: Any) -> Frozen:
    """Return the graph of a concrete function as it is, its variables among its inputs."""
    taken = len(function.inputs) - len(function.captured_inputs)
    names = tuple(x.name for x in function.inputs[:taken]), tuple(x.name for x in function.outputs)
    return Frozen(function.graph.as_graph_def(), *names)


def constants(function: Any) -> Frozen:
    """Freeze a concrete function."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    frozen = convert_variables_to_constants_v2(function, lower_control_flow=False)  # tf2onnx knows While best
    names = tuple(x.name for x in frozen.inputs), tuple(x.name for x in frozen.outputs)
    return Frozen(frozen.graph.as_graph_def(), *names)
