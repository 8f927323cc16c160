"""A GraphDef as IR: names become scopes, calls are inlined, constants become tensors, machinery is set apart.

Every node of the GraphDef is one node, one initializer (constants and variables) or one graph input (placeholders).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any

from graphviz_nets.errors import ConfigError, LimitError
from graphviz_nets.graph import shapes
from graphviz_nets.graph.ir import ITEM_BITS, Graph, Model, Node, Shape, Tensor, Value, sort
from graphviz_nets.graph.scopes import Path as ScopePath
from graphviz_nets.graph.scopes import Scope, parents

from .tensorflow_files import MOST_NODES, Signature, Source

DTYPES: Mapping[int, str] = {
    1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 7: "string", 8: "complex64", 9: "int64",
    10: "bool", 11: "int8", 12: "uint8", 13: "int32", 14: "bfloat16", 15: "int16", 16: "uint16", 17: "uint16",
    18: "complex128", 19: "float16", 20: "resource", 21: "variant", 22: "uint32", 23: "uint64", 24: "float8e5m2",
    25: "float8e4m3fn", 29: "int4", 30: "uint4",
}  # fmt: skip
"""TensorFlow's DataType numbers; a reference type is 100 more."""

CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall", "RemoteCall"})
LOOPS = frozenset({"While", "StatelessWhile"})
BODIES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(LOOPS, ("cond", "body")),
    **dict.fromkeys(("If", "StatelessIf"), ("then_branch", "else_branch")),
    **dict.fromkeys(("Case", "StatelessCase"), ("branches",)),
}
"""Operations that run functions of the library, and the attributes that name them."""
VARIABLES = frozenset({"Variable", "VariableV2", "VarHandleOp"})
SILENT = frozenset(
    "NoOp Assert SaveV2 Save SaveSlices AssignVariableOp AssignAddVariableOp AssignSubVariableOp ControlTrigger Abort "
    "QueueEnqueueV2 QueueEnqueue QueueCloseV2 QueueClose QueueEnqueueManyV2 PrintV2 CloseSummaryWriter DeleteIterator "
    "FlushSummaryWriter WriteSummary WriteScalarSummary WriteHistogramSummary WriteImageSummary WriteGraphSummary "
    "DestroyResourceOp InitializeTableV2 InitializeTableFromTextFileV2 LookupTableImportV2 MakeIterator".split()
)
"""Operations that make nothing."""
RESULTS: Mapping[str, tuple[str, ...]] = {
    "FusedBatchNorm": ("y", "batch_mean", "batch_variance", "reserve_space_1", "reserve_space_2"),
    "FusedBatchNormV2": ("y", "batch_mean", "batch_variance", "reserve_space_1", "reserve_space_2"),
    "FusedBatchNormV3": ("y", "batch_mean", "batch_variance", "reserve_space_1", "reserve_space_2", "reserve_space_3"),
    "Switch": ("output_false", "output_true"), "Merge": ("output", "value_index"), "TopKV2": ("values", "indices"),
    "Unique": ("y", "idx"), "MaxPoolWithArgmax": ("output", "argmax"), "NonMaxSuppressionV4": (
        "selected_indices", "valid_outputs"), "NonMaxSuppressionV5": (
        "selected_indices", "selected_scores", "valid_outputs"), "CombinedNonMaxSuppression": (
        "nmsed_boxes", "nmsed_scores", "nmsed_classes", "valid_detections"),
    "SparseSoftmaxCrossEntropyWithLogits": ("loss", "backprop"),
    "SoftmaxCrossEntropyWithLogits": ("loss", "backprop"), "BlockLSTM": ("i", "cs", "f", "o", "ci", "co", "h"),
    "BlockLSTMV2": ("i", "cs", "f", "o", "ci", "co", "h"), "TensorArrayV3": ("handle", "flow"),
    "CudnnRNN": ("output", "output_h", "output_c", "reserve_space"), "Moments": ("mean", "variance"),
}  # fmt: skip
"""Names of the results of operations that have several; a function's body refers to them by name."""
DEEPEST = 64
"""Calls inside calls, and parts of a name that become scopes."""
LONGEST = 1024
"""Bytes of an attribute's text that are kept, as TensorBoard keeps them."""
LARGEST = 2 << 30
MOST_RESULTS = 2 * MOST_NODES
BATCH = "batch"
"""The name of an unknown first dimension."""


@dataclass
class Op:
    """A NodeDef on its way into the IR: its inputs are names of values, its place is known."""

    id: str
    type: str
    path: ScopePath
    inputs: list[str]
    controls: list[str]
    attributes: Any
    device: str = ""
    outputs: int = 0


@dataclass
class Flat:
    """All operations of a graph, those of called functions in the place of their calls."""

    library: Mapping[str, Any]
    ops: list[Op] = field(default_factory=list)
    alias: dict[str, str] = field(default_factory=dict)  # results of calls, and what they really are
    before: dict[str, list[str]] = field(default_factory=dict)  # calls, and the ids that they end in
    first: dict[str, int] = field(default_factory=dict)  # loops, and the number of values that they begin with
    kinds: dict[ScopePath, tuple[str, str]] = field(default_factory=dict)  # scopes of functions: kind and type
    ids: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)

    def unique(self, name: str) -> str:
        """Return an id that no other operation has."""
        found, number = name, 2
        while found in self.ids:
            found, number = f"{name}#{number}", number + 1
        self.ids.add(found)
        if len(self.ids) > MOST_NODES:  # functions that call each other ask for any number, and calls may do nothing
            raise LimitError("the number of nodes and calls with all calls inlined", MOST_NODES)
        return found

    def real(self, name: str) -> str:
        """Return the value that a name stands for."""
        seen = set()
        while name in self.alias and name not in seen:  # a call may return what it is given
            seen.add(name)
            name = self.alias[name]
        return name


def output(node_id: str, index: int) -> str:
    """Return the name of one of a node's results, as TensorFlow writes it."""
    return node_id if index == 0 else f"{node_id}:{index}"


def to_model(source: Source, path: Path, options: Any, signature: Signature | None) -> Model:
    """Return the graph as a model of operations in the domain ``tf``.

    Parameters
    ----------
    source : Source
        The GraphDef.
    path : Path
        Its file, whose name the model gets.
    options : Options
        `input_shapes` matter.
    signature : Signature, optional
        What is called: inputs and outputs are its own, and what it does not need is left out.
    """
    library = {function.signature.name: function for function in source.graph.library.function}
    nodes = list(source.graph.node)
    if signature is not None:
        nodes = needed(nodes, signature.inputs.values(), signature.outputs.values())
    flat = Flat(library)
    _graph(flat, nodes)
    if not nodes and library:
        _library(flat)
    ops = flat.ops
    for op in ops:
        op.inputs = [flat.real(name) for name in op.inputs]
        op.controls = list(
            dict.fromkeys(real for name in op.controls for real in _ends(flat, name) if real in flat.ids)
        )
    problems = [*source.problems, *flat.problems]
    return _built(ops, source, path, options, signature, flat, problems)


def _ends(flat: Flat, name: str) -> list[str]:
    """Return the nodes that a control edge from `name` really comes from."""
    waiting, seen = [name], {name}
    found = []
    while waiting:
        here = waiting.pop()
        if here not in flat.before:
            found.append(here)
        for end in flat.before.get(here, ()):
            if end not in seen:
                seen.add(end)
                waiting.append(end)
    return found


# Flattening -------------------------------------------------------------------------------------------------------


def needed(nodes: Sequence[Any], inputs: Iterable[str], outputs: Iterable[str]) -> list[Any]:
    """Return the nodes from some tensors to others, in the order of the file; those that are fed as placeholders.

    Parameters
    ----------
    nodes : sequence of NodeDef
        Of a graph; of TensorFlow's protos or of tensorboard's.
    inputs, outputs : iterable of str
        Tensors, as ``x:0``. What is fed may be any node's result: what led to it is left out.
    """
    by_name = {node.name: node for node in nodes}
    fed = {name.removesuffix(":0") for name in inputs}
    found: set[str] = set()
    waiting = [name.partition(":")[0] for name in outputs]
    while waiting:
        name = waiting.pop()
        if name not in found and name in by_name:
            found.add(name)
            if name not in fed:
                waiting += [ref.lstrip("^").partition(":")[0] for ref in by_name[name].input]
    return [_placeholder(node) if node.name in fed else node for node in nodes if node.name in found]


def _placeholder(node: Any) -> Any:
    """Return a placeholder of a node's name, type and shape."""
    if node.op == "Placeholder":
        return node
    made = node.__class__(name=node.name, op="Placeholder")
    kind = next((key for key in ("dtype", "T", "DstT") if key in node.attr), None)
    made.attr["dtype"].type = node.attr[kind].type if kind is not None else 1  # what is parsed is mostly float
    stated = list(node.attr["_output_shapes"].list.shape) if "_output_shapes" in node.attr else []
    if stated:
        made.attr["shape"].shape.CopyFrom(stated[0])
    elif "shape" in node.attr:
        made.attr["shape"].shape.CopyFrom(node.attr["shape"].shape)
    return made


def parts(name: str) -> ScopePath:
    """Return the parts of a name, at most `DEEPEST`.

    Examples
    --------
    >>> parts("a//b/c"), parts("/")
    (('a', 'b', 'c'), ('/',))
    """
    found = tuple(part for part in name.split("/") if part) or (name or "node",)
    return found if len(found) <= DEEPEST else (*found[: DEEPEST - 1], "/".join(found[DEEPEST - 1 :]))


def _graph(flat: Flat, nodes: Sequence[Any]) -> None:
    scopes = {own for node in nodes for own in parents([parts(node.name)])}
    for node in nodes:
        data = [_main(ref) for ref in node.input if not ref.startswith("^")]
        controls = [ref[1:] for ref in node.input if ref.startswith("^")]
        _add(flat, node, node.name, parts(node.name), (), scopes, data, controls, ())


def _main(ref: str) -> str:
    """Return the value that an input of a graph's node names: ``x``, ``x:0`` and ``x:1``."""
    name, _, index = ref.partition(":")
    return output(name, int(index)) if index.isdecimal() and len(index) < 8 else name


def _add(
    flat: Flat, node: Any, name: str, own: ScopePath, above: ScopePath, scopes: set[ScopePath], data: list[str],
    controls: list[str], calls: tuple[str, ...],
) -> str:  # fmt: skip
    """Append a node, or the body of what it calls; return its id."""
    # A name that is also a scope's stands in that scope, as TensorBoard draws it.
    place = (*above, *(own if own in scopes else own[:-1]))
    called = node.attr["f"].func.name if node.op in CALLS else node.op
    function = flat.library.get(called)
    node_id = flat.unique(name or node.op or "node")
    if node.op in BODIES and len(calls) < DEEPEST:
        data = _opened(flat, node, node_id, (*above, *own), data, calls)
        place = (*above, *own)
    if function is None or called in calls or len(calls) >= DEEPEST:
        if called in calls:
            flat.problems.append(f"{node_id}: {called} calls itself; it is not opened")
        flat.ops.append(Op(node_id, node.op, place, data, controls, node.attr, node.device))
        return node_id
    generic = re.fullmatch(r"(?:Stateful|Remote)?(?:Partitioned)?Call(?:_\d+)?", own[-1]) is not None
    prefix = (*above, *(own[:-1] if generic else own))
    results, flat.before[node_id] = _body(flat, function, node, prefix, data, controls, (*calls, called))
    flat.alias.update((output(node_id, k), result) for k, result in enumerate(results) if result)
    return node_id


def _opened(flat: Flat, node: Any, node_id: str, path: ScopePath, data: list[str], calls: tuple[str, ...]) -> list[str]:
    """Append the bodies of a loop or a choice, each below a scope of its own; return what the node then reads.

    The bodies of a loop read what the loop makes, which reads what they make: a cycle, as the loop is one; but what
    stays the same, such as variables, they read from outside. Those of a choice read what it reads after the choice.
    """
    loop = node.op in LOOPS
    outer = data[1:]
    if loop:
        kept = _kept(flat.library.get(node.attr["body"].func.name))
        outer = [name if k in kept else output(node_id, k) for k, name in enumerate(data)]
        flat.first[node_id] = len(data)
        flat.kinds[path] = "loop", "while loop"
    reads = list(data)
    for key in BODIES[node.op]:
        value = node.attr[key]
        names = [func.name for func in value.list.func] or [value.func.name]
        for k, name in enumerate(names):
            function = flat.library.get(name)
            if function is None or name in calls:
                continue
            own = (*path, key if len(names) == 1 else f"{key}_{k}")
            flat.kinds[own] = "subgraph", name
            results, _ = _body(flat, function, node, own, outer, [], (*calls, name))
            reads += ["" if result in outer and loop else result for result in results]
    return reads


def _kept(body: Any) -> set[int]:
    """Return the arguments that a loop's body returns in their own places."""
    if body is None:
        return set()
    pairs = zip(body.signature.input_arg, body.signature.output_arg, strict=False)
    return {k for k, (given, made) in enumerate(pairs) if body.ret.get(made.name) == given.name}


def _body(
    flat: Flat, function: Any, call: Any, above: ScopePath, data: list[str], controls: list[str], calls: tuple[str, ...]
) -> tuple[list[str], list[str]]:
    """Append a function's nodes below a scope; return its results and the ids that end it."""
    args: dict[str, list[str]] = {}
    place = 0
    for arg in function.signature.input_arg:
        size = 1
        if arg.number_attr:
            size = int(call.attr[arg.number_attr].i)
        elif arg.type_list_attr:
            size = len(call.attr[arg.type_list_attr].list.type)
        args[arg.name] = data[place : place + size]
        place += size
    # The nodes of a loop's body are called as if they stood in the loop's scope.
    paths = {node.name: parts(node.name.removeprefix(f"{call.name}/")) for node in function.node_def}
    scopes = set(parents(paths.values()))
    ids: dict[str, str] = {}
    types = {node.name: node.op for node in function.node_def}
    names = {name: "/".join((*above, *path)) for name, path in paths.items()}
    # Ids are settled first, for a body may name a node before it is made.
    for name, wanted in names.items():
        ids[name], number = wanted, 2
        while ids[name] in flat.ids:
            ids[name], number = f"{wanted}#{number}", number + 1
    seen: dict[str, list[str]] = {}

    def value(ref: str) -> str:
        """Return the value that ``argument``, ``node:result:index`` or a shorter form of it names."""
        name, _, rest = ref.partition(":")
        result, _, index = rest.rpartition(":") if ":" in rest else ("", "", rest)
        if not result and rest and not rest.isdecimal():
            result, index = rest, "0"
        k = int(index) if index.isdecimal() and len(index) < 8 else 0
        if name in args:
            return args[name][k] if k < len(args[name]) else ""
        if name not in ids:
            return "/".join((*above, name))
        known = RESULTS.get(types[name])
        order = list(known) if known else seen.setdefault(name, [])
        if result and result not in order:
            order.append(result)
        return output(ids[name], k + (order.index(result) if result else 0))

    made: list[str] = []
    for node in function.node_def:
        inner = [value(ref) for ref in node.input if not ref.startswith("^")]
        before = [ids[ref[1:]] for ref in node.input if ref[1:] in ids and ref.startswith("^")]
        if not any(ref.partition(":")[0] in ids for ref in node.input) and node.op not in ("Const", *VARIABLES):
            before += controls  # what the call waits for, its first nodes wait for
        made.append(_add(flat, node, ids[node.name], paths[node.name], above, scopes, inner, before, calls))
    refs = [function.ret.get(arg.name, "") for arg in function.signature.output_arg]
    ends = [ids.get(ref.partition(":")[0], "") for ref in refs if ref]
    ends += [ids[name] for name in function.control_ret.values() if name in ids]
    results = [value(ref) if ref else "" for ref in refs]
    return results, [end for end in dict.fromkeys(ends) if end] or made[-1:]


def _library(flat: Flat) -> None:
    """Draw the functions of a library that nothing calls, each in a scope of its own."""
    for name, function in flat.library.items():
        given = [flat.unique(f"{name}/{arg.name}") for arg in function.signature.input_arg]
        for arg, node_id in zip(function.signature.input_arg, given, strict=True):
            call = function.__class__().node_def.add(name=node_id, op="Placeholder")
            if arg.type:
                call.attr["dtype"].type = arg.type
            flat.ops.append(Op(node_id, "Placeholder", (name,), [], [], call.attr))
        flat.unique(name)
        _body(flat, function, function.__class__().node_def.add(), (name,), given, [], (name,))


# Building ---------------------------------------------------------------------------------------------------------


def _built(
    ops: list[Op], source: Source, path: Path, options: Any, signature: Signature | None, flat: Flat,
    problems: list[str],
) -> Model:  # fmt: skip
    waited = {name for op in ops for name in op.controls}
    for op in ops:
        op.outputs = _results(op)
    by_id = {op.id: op for op in ops}
    for name in (name for op in ops for name in op.inputs if name):
        base, _, index = name.rpartition(":")
        if base in by_id and name not in by_id:
            by_id[base].outputs = max(by_id[base].outputs, int(index) + 1)
        elif name in by_id:
            by_id[name].outputs = max(by_id[name].outputs, 1)
    if sum(op.outputs for op in ops) > MOST_RESULTS:  # a few bytes, ``x:9999999``, ask for as many
        raise LimitError("the number of results of all nodes", MOST_RESULTS)
    inputs: list[str] = []
    values: dict[str, Value] = {}
    tensors: dict[str, Tensor] = {}
    rest: list[Op] = []
    for op in ops:
        free = not op.controls and op.id not in waited and not op.inputs
        if op.type == "Const" and free and (tensor := constant(op, problems)) is not None:
            tensors[op.id] = tensor
        elif op.type in VARIABLES and free and _dtype(op.attributes["dtype"].type) in ITEM_BITS:
            tensors[op.id] = _variable(op, source.trainable)
        elif op.type.startswith("Placeholder") and free:
            inputs.append(op.id)
            dims = _input_shape(op)
            if dims is None and signature is not None and f"{op.id}:0" in signature.shapes:
                dims = dims_of(signature.shapes[f"{op.id}:0"])
            if dims and dims[0] is None and None not in dims[1:]:
                dims = (BATCH, *dims[1:])  # a name goes through operations where an unknown number would be lost
            values[op.id] = Value(op.id, _known(_dtype(op.attributes["dtype"].type)), dims)
        else:
            rest.append(op)
    if any(op.type in VARIABLES for op in ops):  # what is learnt is in these, then, and constants are constants
        tensors = {name: t if t.role is not None else replace(t, role="constant") for name, t in tensors.items()}
    _implied(rest, values, tensors)
    inputs = _given(inputs, values, signature, options, flat)
    groups = machinery(rest, frozenset(tensors))
    nodes, back = _sorted([_node(op, groups.moved.get(op.id, op.path), problems) for op in rest], flat.first)
    outer = Graph(_title(path), nodes, tuple(inputs), (), values, tensors, back)
    for node in nodes:
        stated = _stated(by_id[node.id])
        types = shapes.infer_node(node, lambda name: tensors.get(name) or values.get(name) or Value(name))
        for k, name in enumerate(node.outputs):
            dtype, dims = types[k]
            known = _joined(stated[k] if k < len(stated) else None, dims)
            if dtype is None and k == 0:
                dtype = _known(_dtype(_first_type(by_id[node.id])))
            if dtype is not None or known is not None:
                values[name] = Value(name, dtype, known)
    if signature is not None:
        outputs = [flat.real(_main(name)) for name in signature.outputs.values()]
    else:
        users = {name for node in nodes for name in node.inputs}
        outputs = [
            name
            for node in nodes
            if node.id not in waited and node.op_type not in ("Switch", "RefSwitch")
            for name in node.outputs[:1]
            if name not in users
        ]  # fmt: skip  a branch that is not taken leads nowhere
    made = {name for node in nodes for name in node.outputs} | tensors.keys() | set(inputs)
    graph = replace(outer, values=values, outputs=tuple(dict.fromkeys(name for name in outputs if name in made)))
    if graph.undefined:
        names = ", ".join(graph.undefined[:3])
        problems.append(f"{path.name}: the graph has no node {names}, so what reads it has unknown inputs"
                        f"{f' (and {len(graph.undefined) - 3} more)' if len(graph.undefined) > 3 else ''}")  # fmt: skip
    return Model(
        graph,
        "tensorflow",
        _scopes(nodes, rest, groups.scopes, flat.kinds),
        {"": 18, "tf": 1},
        problems=tuple(problems),
    )


def _title(path: Path) -> str:
    """Return what a file's model is called; a SavedModel's folder may be no more than a version."""
    here = path.parent if path.name in ("saved_model.pb", "saved_model.pbtxt") else path
    return here.parent.name if here.name.isdecimal() and here.parent.name else here.stem


def _joined(stated: Shape | None, found: Shape | None) -> Shape | None:
    """Return what the file states of a shape, with what the rules know where it says nothing."""
    if stated is None or found is None or len(stated) != len(found):
        return found if stated is None else stated
    return tuple(b if a is None else a for a, b in zip(stated, found, strict=True))


def _implied(ops: Sequence[Op], values: dict[str, Value], tensors: Mapping[str, Tensor]) -> None:
    """Enter that an input of unknown rank holds images where a convolution reads it; old files state no shapes."""
    same = {op.id: op.inputs[0] for op in ops if op.type == "Identity" and op.inputs}
    for op in ops:
        if op.type != "Conv2D" or len(op.inputs) < 2 or op.attributes["data_format"].s == b"NCHW":
            continue
        x, w = (same.get(name, name) for name in op.inputs[:2])
        if x in values and values[x].shape is None and w in tensors and len(tensors[w].shape) == 4:
            values[x] = replace(values[x], shape=(BATCH, None, None, tensors[w].shape[2]))


def _given(
    inputs: list[str], values: dict[str, Value], signature: Signature | None, options: Any, flat: Flat
) -> list[str]:
    """Return the inputs with the shapes that the user gives, those of the signature first."""
    if signature is not None:
        first = [flat.real(_main(name)) for name in signature.inputs.values()]
        inputs = [*(name for name in first if name in inputs), *(name for name in inputs if name not in first)]
    for key, (dtype, dims) in (getattr(options, "input_shapes", None) or {}).items():
        name = inputs[int(key)] if key not in inputs and key.isdecimal() and int(key) < len(inputs) else key
        if name not in inputs:
            hint = f"its inputs: {', '.join(inputs) or 'none'}"
            raise ConfigError(f"the graph has no input {key!r}", key="--input-shape", hint=hint)
        values[name] = Value(name, dtype or values[name].dtype, dims)
    return inputs


def _results(op: Op) -> int:
    """Return how many results a node is known to have."""
    attributes = op.attributes
    if op.type in SILENT:
        return 0
    counts = [1]
    if "_output_shapes" in attributes:
        counts = [len(attributes["_output_shapes"].list.shape)]
    for key in ("num_split", "num"):
        if key in attributes and op.type in ("Split", "SplitV", "Unpack"):
            counts.append(min(int(attributes[key].i), 1 << 16))
    if op.type in LOOPS:
        counts.append(len(attributes["T"].list.type) if "T" in attributes else 0)
    for key in ("Tout", "output_types", "component_types", "dtypes"):
        if key in attributes and op.type not in ("FIFOQueueV2", "RandomShuffleQueueV2", "SaveV2"):
            counts.append(len(attributes[key].list.type))
    return max(counts)


def _dtype(number: int) -> str:
    return DTYPES.get(number % 100, "")


def _known(dtype: str) -> str | None:
    return dtype if dtype in ITEM_BITS else None


def _first_type(op: Op) -> int:
    for key in ("DstT", "dtype", "output_type", "out_type", "T"):
        if key in op.attributes and op.attributes[key].type:
            return int(op.attributes[key].type)
    return 0


def dims_of(proto: Any) -> Shape | None:
    """Return a TensorShapeProto as a shape; -1 is an unknown dimension."""
    if proto.unknown_rank:
        return None
    return tuple(int(dim.size) if dim.size >= 0 else None for dim in proto.dim[:64])


def _stated(op: Op) -> list[Shape | None]:
    found = op.attributes["_output_shapes"].list.shape if "_output_shapes" in op.attributes else ()
    return [dims_of(item) for item in found]


def _input_shape(op: Op) -> Shape | None:
    stated = _stated(op)
    if stated and stated[0] is not None:
        return stated[0]
    if "shape" not in op.attributes:
        return None
    dims = dims_of(op.attributes["shape"].shape)
    return dims if dims else stated[0] if stated else dims or None


_STATE = re.compile(
    r"(?:^|/)(?:Adam|Momentum|RMSProp|Adagrad|Ftrl|ExponentialMovingAverage|moving_\w+|beta\d_power|global_step|"
    r"iter(?:ations)?|m|v)(?:_\d+)?$"
)
"""Names of variables that are not learnt: slots of optimizers, running statistics, counters."""


def _variable(op: Op, trainable: frozenset[str]) -> Tensor:
    """Return a variable as a tensor without data: learnt, or a state of the training."""
    dtype = _dtype(op.attributes["dtype"].type)
    dims = dims_of(op.attributes["shape"].shape)
    if trainable:
        role = "parameter" if op.id in trainable else "buffer"
    else:
        state = _STATE.search(op.id)
        role = "parameter" if dtype.startswith(("float", "bfloat")) and state is None else "buffer"
    return Tensor(op.id, dtype, dims or (), None, role)


def constant(op: Op, problems: list[str]) -> Tensor | None:
    """Return a Const node's tensor, None where its type is none that the IR knows."""
    return tensor_of(op.attributes["value"].tensor, op.id, problems)


_FIELDS: Mapping[str, tuple[str, str]] = {
    "float32": ("float_val", "<f4"), "float64": ("double_val", "<f8"), "int32": ("int_val", "<i4"),
    "uint8": ("int_val", "u1"), "int16": ("int_val", "<i2"), "int8": ("int_val", "i1"), "int64": ("int64_val", "<i8"),
    "bool": ("bool_val", "?"), "uint16": ("int_val", "<u2"), "float16": ("half_val", "<u2"),
    "bfloat16": ("half_val", "<u2"), "uint32": ("uint32_val", "<u4"), "uint64": ("uint64_val", "<u8"),
}  # fmt: skip


def tensor_of(proto: Any, name: str, problems: list[str]) -> Tensor | None:
    """Return a TensorProto as a tensor: raw bytes, or numbers of which the last one fills what is left."""
    dtype, dims = _dtype(proto.dtype), dims_of(proto.tensor_shape)
    if dtype not in ITEM_BITS or dims is None or None in dims:
        return None
    total = prod(int(dim or 0) for dim in dims)
    if total * max(ITEM_BITS[dtype], 8) > LARGEST * 8:
        problems.append(f"{name}: a constant of {total} elements is over 2 GiB; it is drawn without data")
        return Tensor(name, dtype, dims)
    role = None if dtype.startswith(("float", "bfloat")) and total > 1 else "constant"
    if dtype == "string":
        texts = tuple(proto.string_val)
        texts += texts[-1:] * (total - len(texts)) if len(texts) < total <= 1 << 16 else ()
        return Tensor(name, dtype, dims, texts if len(texts) == total else None, "constant")
    content = proto.tensor_content
    if content:
        if len(content) * 8 != total * ITEM_BITS[dtype]:
            problems.append(f"{name}: the constant has {len(content)} bytes for the shape {dims}")
            return Tensor(name, dtype, dims)
        return Tensor(name, dtype, dims, content, role)
    if dtype not in _FIELDS:
        return Tensor(name, dtype, dims)
    key, code = _FIELDS[dtype]

    def numbers() -> bytes:
        import numpy as np

        given = getattr(proto, key)[:total]
        array = np.zeros(total, code)
        if len(given):
            array[: len(given)] = np.array(list(given)).astype(code)
            array[len(given) :] = array[len(given) - 1]
        return array.tobytes()

    return Tensor(name, dtype, dims, numbers, role)


def _node(op: Op, place: ScopePath, problems: list[str]) -> Node:
    attributes = {}
    for key in sorted(op.attributes):
        value = attribute(op.attributes[key], f"{op.id}/{key}", problems)
        if value is not None and key != "_output_shapes":
            attributes[key] = value
    outputs = tuple(output(op.id, k) for k in range(op.outputs))
    about = {"device": op.device} if op.device else {}
    return Node(op.type or "Unknown", tuple(op.inputs), outputs, op.id, op.id, "tf", attributes, tuple(op.controls),
                place, metadata=about)  # fmt: skip


def attribute(value: Any, name: str, problems: list[str]) -> Any:
    """Return an AttrValue as the IR holds it, None where there is nothing to hold."""
    kind = value.WhichOneof("value")
    if kind == "list":
        inner = value.list
        for field_, make in (("i", int), ("f", float), ("b", bool), ("type", _dtype)):
            if len(getattr(inner, field_)):
                return tuple(make(item) for item in getattr(inner, field_))
        if inner.s:
            return tuple(_text(item) for item in inner.s if len(item) <= LONGEST) or None
        if inner.shape:
            return tuple(_shape_text(item) for item in inner.shape)
        return tuple(item.name for item in inner.func) or None
    if kind == "tensor":
        return tensor_of(value.tensor, name, problems)
    if kind == "shape":
        return _shape_text(value.shape)
    if kind == "s":
        return _text(value.s) if len(value.s) <= LONGEST else None
    if kind == "type":
        return _dtype(value.type) or None
    if kind == "func":
        return value.func.name
    return None if kind in (None, "placeholder") else getattr(value, kind)


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


def _shape_text(proto: Any) -> str:
    dims = dims_of(proto)
    return "?" if dims is None else "[" + ",".join("?" if dim is None else str(dim) for dim in dims) + "]"


def _sorted(nodes: list[Node], first: Mapping[str, int]) -> tuple[tuple[Node, ...], tuple[tuple[str, int], ...]]:
    """Sort topologically; a loop is cut where its NextIteration comes back, wherever that is enough.

    A While is cut where its bodies come back, behind the values that it begins with (`first`).
    """
    returns = {node.outputs[0] for node in nodes if node.op_type.endswith("NextIteration") and node.outputs}
    by_id = {node.id: node for node in nodes}
    cut = [(node.id, k) for node in nodes if node.op_type.endswith("Merge") for k, name in enumerate(node.inputs)
           if name in returns]  # fmt: skip
    cut += [(node.id, k) for node in nodes if node.id in first for k, name in enumerate(node.inputs)
            if name and k >= first[node.id]]  # fmt: skip
    closing: dict[str, set[int]] = {}
    for name, k in cut:
        closing.setdefault(name, set()).add(k)
    open_ = [
        replace(node, inputs=tuple("" if k in closing[node.id] else name for k, name in enumerate(node.inputs)))
        if node.id in closing else node for node in nodes
    ]  # fmt: skip
    order, more = sort(open_)
    return tuple(by_id[node.id] for node in order), (*cut, *more)


def _scopes(
    nodes: Sequence[Node], ops: Sequence[Op], groups: Mapping[ScopePath, str],
    kinds: Mapping[ScopePath, tuple[str, str]],
) -> dict[ScopePath, Scope]:  # fmt: skip
    frames: dict[str, list[ScopePath]] = {}
    for op in ops:
        if op.type in ("Enter", "RefEnter"):
            frames.setdefault(op.attributes["frame_name"].s.decode(errors="replace"), []).append(op.path)
    loops = {min(paths, key=len): name for name, paths in frames.items()}
    paths = dict.fromkeys(own for node in nodes for own in (*parents([node.scope]), node.scope) if own)
    found = {}
    for own in paths:
        if own in groups:
            found[own] = Scope(own, "auxiliary", type=groups[own])
        elif own in loops:
            found[own] = Scope(own, "loop", type="while loop", parameters={"frame": loops[own]})
        elif own in kinds:
            kind, type_ = kinds[own]
            found[own] = Scope(own, kind, type=type_)
        else:
            found[own] = Scope(own)
    return found


# Machinery --------------------------------------------------------------------------------------------------------


@dataclass
class Groups:
    """What only serves training and storing: its scopes with their kind, and the ops that stand in other places."""

    scopes: dict[ScopePath, str] = field(default_factory=dict)
    moved: dict[str, ScopePath] = field(default_factory=dict)

    def hold(self, path: ScopePath) -> str | None:
        """Return the kind of the scope that holds a path, None where there is none."""
        ways = (path[:size] for size in range(1, len(path) + 1))
        return next((self.scopes[way] for way in ways if way in self.scopes), None)


_ASSIGN = frozenset({"Assign", "AssignVariableOp"})
_WRITES = _ASSIGN | {"AssignAdd", "AssignSub", "AssignAddVariableOp", "AssignSubVariableOp"}
_ASKED = frozenset({"VarIsInitializedOp", "IsVariableInitialized"})
_READS = frozenset({"Identity", "ReadVariableOp"})
_APPLY = re.compile(r"(?:Resource)?(?:Sparse)?Apply[A-Z]")
_STORE = frozenset({"SaveV2", "RestoreV2", "Save", "Restore", "SaveSlices", "RestoreSlice", "ShardedFilename",
                    "MergeV2Checkpoints"})  # fmt: skip


def machinery(ops: Sequence[Op], tensors: frozenset[str]) -> Groups:
    """Find gradients, optimizers, savers, summaries and initialization, by operations and by TensorFlow's names.

    Parameters
    ----------
    ops : sequence of Op
        All but constants, variables and placeholders.
    tensors : frozenset of str
        Constants and variables.
    """
    groups = Groups()
    for op in ops:
        names = op.path
        for k, part in enumerate(names):
            if re.fullmatch(r"gradients(?:_\d+)?|gradient_tape", part):
                groups.scopes.setdefault(names[: k + 1], "gradients")
                break
            if part == "summaries" or re.fullmatch(r"summaries_\d+", part):
                groups.scopes.setdefault(names[: k + 1], "summaries")
                break
        if op.type in _STORE and names:
            groups.scopes.setdefault(names[:1] if re.fullmatch(r"save(?:_\d+)?", names[0]) else names, "saver")
        if _APPLY.match(op.type) and names:
            at = next((k for k, part in enumerate(names) if part.startswith("update_")), len(names))
            groups.scopes.setdefault(names[:at] or names, "optimizer")

    sources = {op.id: [*map(_owner, op.inputs), *op.controls] for op in ops}
    users: dict[str, list[str]] = {}
    for name, read in sources.items():
        for one in read:
            users.setdefault(one, []).append(name)
    _updates(ops, sources, users, groups)
    _initialization([op for op in ops if not groups.hold(op.path)], sources, users, tensors, groups)
    free = [op for op in ops if not groups.hold(op.path)]
    for op in free:
        if op.id in groups.moved:
            continue
        if re.search(r"Summary(?:V2|V3)?$", op.type) and "Writer" not in op.type:
            groups.moved[op.id] = ("summaries", *op.path)
        elif op.type == "NoOp" and not op.inputs:
            groups.moved[op.id] = ("control", *op.path)
    kinds = {"init": "initialization", "summaries": "summaries", "control": "control"}
    for place in groups.moved.values():
        groups.scopes.setdefault(place[:1], kinds[place[0]])
    _whole(ops, groups)
    if all(groups.hold(groups.moved.get(op.id, op.path)) for op in ops):
        return Groups()  # a picture of nothing but machinery shows it
    return groups


def _updates(
    ops: Sequence[Op], sources: Mapping[str, Sequence[str]], users: Mapping[str, Sequence[str]], groups: Groups
) -> None:
    """Find optimizers that are written out: scopes where variables are written as gradients say, and no network is."""
    gradients = [op.id for op in ops if groups.hold(op.path) == "gradients"]
    behind, before = _reached(gradients, users), _reached(gradients, sources)
    busy = {
        op.path[:size] for op in ops if op.id in before and not groups.hold(op.path) for size in range(len(op.path) + 1)
    }
    for op in ops:
        if op.type in _WRITES and op.id in behind and op.path not in busy and not groups.hold(op.path):
            groups.scopes[op.path] = "optimizer"


def _reached(starts: Iterable[str], steps: Mapping[str, Sequence[str]]) -> set[str]:
    found = set(starts)
    waiting = list(found)
    while waiting:
        new = [name for name in steps.get(waiting.pop(), ()) if name not in found]
        found.update(new)
        waiting += new
    return found


def _initialization(
    ops: Sequence[Op], sources: Mapping[str, Sequence[str]], users: Mapping[str, Sequence[str]],
    tensors: frozenset[str], groups: Groups,
) -> None:  # fmt: skip
    """Move what gives variables their first values, and asks whether they have any, into a scope of its own.

    What an assignment writes depends on no input then, and on no gradient.
    """
    by_id = {op.id: op for op in ops}
    fed = [
        name for name, read in sources.items() if any(one not in sources and one not in tensors for one in read if one)
    ]
    late = _reached([*fed, *(name for name in sources if name not in by_id)], users)
    mine = {
        op.id for op in ops
        if op.type in _ASKED or (op.type in _ASSIGN and op.id not in late and op.inputs and op.inputs[0] in tensors)
    }  # fmt: skip
    if not mine:
        return
    # Reads that nobody uses, as those of an optimizer's slots.
    mine |= {op.id for op in ops if op.type in _READS and op.id not in users and set(op.inputs) <= tensors}
    waiting = [name for one in mine for name in map(_owner, by_id[one].inputs)]
    while waiting:  # what serves nothing else
        name = waiting.pop()
        if name in by_id and name not in mine and all(user in mine for user in users.get(name, ())):
            mine.add(name)
            waiting += sources[name]
    waiting = [user for one in mine for user in users.get(one, ())]
    while waiting:  # what comes of nothing else
        name = waiting.pop()
        if name not in mine and name in by_id and all(one in mine or one in tensors for one in sources[name]):
            mine.add(name)
            waiting += users.get(name, ())
    groups.moved.update((name, ("init", *by_id[name].path)) for name in mine)


def _owner(value: str) -> str:
    """Return the id of the node that makes a value."""
    base, _, index = value.rpartition(":")
    return base if base and index.isdecimal() else value


def _whole(ops: Sequence[Op], groups: Groups) -> None:
    """Make one group of a scope that holds nothing but machinery, such as ``train``."""
    plain: set[ScopePath] = set()
    mixed: dict[ScopePath, str] = {}
    for op in ops:
        if op.id in groups.moved:
            continue
        ways = [op.path[:size] for size in range(1, len(op.path) + 1)]
        inside = next((way for way in ways if way in groups.scopes), None)
        if inside is None:
            plain.update(ways)
        else:
            mixed.update((way, "training") for way in ways if len(way) < len(inside))
    for way, kind in mixed.items():
        if way not in plain:
            groups.scopes[way] = kind
