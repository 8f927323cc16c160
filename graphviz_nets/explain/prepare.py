"""A model made ready for gradients: one size, no shape arithmetic, only operations that have rules."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from graphviz_nets.errors import RunError
from graphviz_nets.explain.rules import VJP
from graphviz_nets.explain.runner import must_run, onnxruntime, said
from graphviz_nets.graph import functions, proto, shapes
from graphviz_nets.graph.ir import Graph, Model, Node, Tensor, Value, count

LOOPS = ("Range", "SequenceMap", "Bernoulli")
"""Operations whose function bodies are loops or dice: nothing to differentiate, and harder to fold."""
OPSET = 18
"""The least opset of a prepared model: reductions take their axes as inputs from here on."""


def prepare(model: Model, sizes: Mapping[str, Sequence[int]] | None = None, keep: Sequence[str] = ()) -> Model:
    """Return a runnable model at fixed sizes, simplified by onnxruntime's basic optimisations.

    Local functions and operations that have no rule but a function body are expanded, constants and the arithmetic of
    shapes are folded, BatchNormalization goes into convolutions; only ONNX's own operations are left.

    Parameters
    ----------
    model : Model
        A runnable one.
    sizes : mapping of str to sequence of int, optional
        Shapes of inputs, which win over the model's own. What stays unknown becomes 1.
    keep : sequence of str
        Values beside the outputs that must still be there.

    Returns
    -------
    Model
        At opset 18 or the model's own, if that is higher. Its outputs are the model's and `keep`.

    Raises
    ------
    RunError
        When the model cannot run, or cannot be raised to opset 18.
    LimitError
        When its local functions stand for too many nodes.

    Examples
    --------
    >>> from graphviz_nets.graph.builder import Builder
    >>> op = Builder("net")
    >>> x = op.input("x", "float32", ("n", 2))
    >>> y = op.Reshape(x, op.Concat(op.Shape(x), op.constant([1]), axis=0))
    >>> [node.op_type for node in prepare(op.model([y]), {"x": (3, 2)}).graph.nodes]
    ['Reshape']
    """
    import onnx

    must_run(model)
    model = functions.flat(model, grouped=False)
    graph = sized(model, sizes or {}).graph
    # Other shapes may speak of other sizes.
    inputs = {name: graph.value(name) for name in graph.inputs}
    known = {name: Value(name, value.dtype) for name, value in graph.values.items()} | inputs
    outputs = tuple(dict.fromkeys((*graph.outputs, *keep)))
    message = proto.to_proto(model.with_graph(replace(graph, values=known, outputs=outputs)), strict=False)
    named = {info.name for info in message.graph.output}
    message.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs if name not in named)
    message = _raised(_expanded(message))
    return _optimized(message, model)


def sized(model: Model, sizes: Mapping[str, Sequence[int]]) -> Model:
    """Return a model whose inputs have the sizes that are given; what stays unknown becomes 1.

    Examples
    --------
    >>> from graphviz_nets.graph.builder import Builder
    >>> op = Builder("net")
    >>> model = op.model([op.Relu(op.input("x", "float32", ("n", 2)))])
    >>> sized(model, {}).graph.value("x").shape, sized(model, {"x": (3, 2)}).graph.value("x").shape
    ((1, 2), (3, 2))
    """
    graph = model.graph
    values = dict(graph.values)
    for name in graph.inputs:
        value = graph.value(name)
        shape = tuple(sizes[name]) if name in sizes else value.shape
        if shape is not None:
            values[name] = replace(value, shape=tuple(dim if isinstance(dim, int) else 1 for dim in shape))
    return model.with_graph(replace(graph, values=values))


def _expanded(message: Any) -> Any:
    """Inline the bodies of operations that have no rule."""
    import onnx.inliner

    # onnxruntime folds what hangs on a CastLike only when that is expanded already.
    expandable = {
        (node.domain, node.op_type)
        for node in message.graph.node
        if node.domain in ("", "ai.onnx")
        and (node.op_type not in VJP or node.op_type == "CastLike")
        and node.op_type not in LOOPS
        and _has_body(node.op_type, message)
    }
    if expandable:
        # Some bodies depend on the types of what goes in, which the inliner does not look up in initializers.
        known = {info.name for info in (*message.graph.value_info, *message.graph.input)}
        message.graph.value_info.extend(
            onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            for tensor in message.graph.initializer if tensor.name not in known
        )  # fmt: skip
        message = onnx.inliner.inline_selected_functions(message, sorted(expandable), inline_schema_functions=True)
    return message


def _has_body(op_type: str, message: Any) -> bool:
    from onnx import defs

    version = next((o.version for o in message.opset_import if o.domain in ("", "ai.onnx")), OPSET)
    try:
        schema: Any = defs.get_schema(op_type, version)
    except defs.SchemaError:
        return False
    return bool(schema.has_function or schema.has_context_dependent_function)


def _raised(message: Any) -> Any:
    """Return the model at opset 18 at least."""
    from onnx import version_converter

    version = next((o.version for o in message.opset_import if o.domain in ("", "ai.onnx")), OPSET)
    if version >= OPSET:
        return message
    try:
        return version_converter.convert_version(message, OPSET)
    except Exception as fault:  # the C++ code raises RuntimeError and classes of its own
        raise RunError(f"the model's opset {version} cannot be raised to {OPSET}: {fault}"[:500]) from None


def _optimized(message: Any, model: Model) -> Model:
    """Run onnxruntime's basic optimisations, which leave only ONNX's own operations."""
    import onnx

    ort = onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory(prefix="graphviz_nets-") as folder:
        source, target = Path(folder) / "model.onnx", Path(folder) / "basic.onnx"
        onnx.save_model(message, str(source), save_as_external_data=True, location="weights", size_threshold=1 << 20)
        options.optimized_model_filepath = str(target)
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "basic.weights")
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_min_size_in_bytes", str(1 << 20)
        )
        try:
            ort.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
        except Exception as fault:  # onnxruntime raises its own classes, which share no base but this one
            raise RunError(said(fault)) from None
        found = _loaded(proto.read(target))
    metadata = {key: text for key, text in model.metadata.items() if key == "gvn.preprocess"}
    used = {node.domain for node in found.graph.nodes} | {""}
    opsets = {domain: version for domain, version in found.opset_imports.items() if domain in used}
    found = shapes.infer(
        replace(found, opset_imports=opsets, framework=model.framework, metadata=metadata, problems=())
    )
    graph = _taken_apart(_without_sequences(found.graph))
    whole = {name: value for name, value in graph.values.items() if count(value.shape) is not None}
    if graph is not found.graph:
        found = shapes.infer(found.with_graph(replace(graph, values=whole)))
        graph = found.graph
        whole = {name: value for name, value in graph.values.items() if count(value.shape) is not None}
    if all(name in whole for node in graph.nodes for name in node.outputs if name):
        return found
    # What our own table tells in part, onnx may tell whole.
    known = proto.infer_shapes(found.with_graph(replace(graph, values=whole)))
    return found.with_graph(replace(graph, values={**graph.values, **known, **whole}))


def _loaded(model: Model) -> Model:
    """Return the model with its data in memory: the files that it lies in are about to go."""
    tensors = {
        name: replace(tensor, data=tensor.bytes()) if callable(tensor.data) else tensor
        for name, tensor in model.graph.initializers.items()
    }
    return model.with_graph(replace(model.graph, initializers=tensors))


def _without_sequences(graph: Graph) -> Graph:
    """Replace sequences that are split and taken apart again, as torch's chunk is exported, by Split."""
    if not any(node.op_type == "SplitToSequence" for node in graph.nodes):
        return graph
    parts: dict[str, tuple[str, ...]] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        users = graph.consumers.get(node.outputs[0], ()) if node.outputs else ()
        if node.op_type == "SplitToSequence" and all(user.op_type == "SequenceAt" for user, _ in users):
            sizes = _split_sizes(graph, node)
            if sizes is not None and node.attributes.get("keepdims", 1):
                name = f"{node.id}/sizes"
                graph = replace(graph, initializers={**graph.initializers, name: Tensor.of(name, "int64", sizes)})
                parts[node.outputs[0]] = tuple(f"{node.outputs[0]}/{k}" for k in range(len(sizes)))
                attributes = {"axis": node.attributes.get("axis", 0)}
                nodes.append(replace(node, op_type="Split", inputs=(node.inputs[0], name),
                                     outputs=parts[node.outputs[0]], attributes=attributes))  # fmt: skip
                continue
        if node.op_type == "SequenceAt" and node.inputs[0] in parts:
            index = graph.initializers[node.inputs[1]].integers() if node.inputs[1] in graph.initializers else None
            if index is None:
                raise RunError("it takes a part of a sequence that is not known before it runs", node=node.id)
            nodes.append(replace(node, op_type="Identity", inputs=(parts[node.inputs[0]][index[0]],)))
            continue
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes))


def _taken_apart(graph: Graph) -> Graph:
    """Replace Gathers of all rows of a value, as torch's unbind is exported, by Split, which goes back as Concat."""
    rows: dict[tuple[str, int], dict[int, Node]] = {}
    for node in graph.nodes:
        index = graph.initializers.get(node.inputs[1]) if node.op_type == "Gather" else None
        number = index.integers() if index is not None and index.shape == () else None
        if number is not None and (shape := graph.value(node.inputs[0]).shape):
            axis = node.attributes.get("axis", 0) % len(shape)
            rows.setdefault((node.inputs[0], axis), {}).setdefault(number[0] % int(shape[axis] or 1), node)
    whole = {
        (x, axis): found for (x, axis), found in rows.items()
        if len(found) == (graph.value(x).shape or ())[axis] and len(found) > 1
    }  # fmt: skip
    if not whole:
        return graph
    split: dict[str, list[Node]] = {}
    constants: dict[str, Tensor] = {}
    for (x, axis), found in whole.items():
        name, members = f"{x}/rows {axis}", [found[k] for k in sorted(found)]
        for key, numbers in (("sizes", [1] * len(members)), ("axis", [axis])):
            constants[f"{name}/{key}"] = Tensor.of(f"{name}/{key}", "int64", numbers)
        parts = tuple(f"{name}/{k}" for k in range(len(members)))
        nodes = [Node("Split", (x, f"{name}/sizes"), parts, name, name, attributes={"axis": axis})]
        nodes += [replace(member, op_type="Squeeze", inputs=(part, f"{name}/axis"), attributes={})
                  for part, member in zip(parts, members, strict=True)]  # fmt: skip
        split |= {member.id: [] for member in members} | {next(iter(found.values())).id: nodes}
    made = [new for node in graph.nodes for new in split.get(node.id, [node])]
    return replace(graph, nodes=tuple(made), initializers={**graph.initializers, **constants})


def _split_sizes(graph: Graph, node: Node) -> tuple[int, ...] | None:
    """Return the sizes that a SplitToSequence makes, None where they are not known."""
    shape = graph.value(node.inputs[0]).shape
    axis = node.attributes.get("axis", 0)
    size = shape[axis] if shape is not None else None
    tensor = graph.initializers.get(node.inputs[1]) if len(node.inputs) > 1 and node.inputs[1] else None
    if not isinstance(size, int):
        return None
    if len(node.inputs) < 2 or not node.inputs[1]:
        return (1,) * size
    given = tensor.integers() if tensor is not None else None
    if given is None or tensor is None:
        return None
    if tensor.shape:
        return given
    return tuple(min(given[0], size - start) for start in range(0, size, given[0]))
