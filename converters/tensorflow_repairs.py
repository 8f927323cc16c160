"""What tf2onnx gets wrong, made right: by other nodes before it, and by other functions in it while it works."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from graphlib import TopologicalSorter
from typing import Any

from graphviz_nets.errors import ConvertError


@contextmanager
def repaired() -> Iterator[None]:
    """Let tf2onnx work with all of what follows."""
    with _in_order(), _layers_apart(), _branches_apart():
        yield


@contextmanager
def _in_order() -> Iterator[None]:
    """Have tf2onnx go over nodes in an order that only the graph decides, and number its own from 1 on.

    It goes over sets, in the order of hashes, so that what it optimizes, and how far, is another thing in each process.
    """
    from tf2onnx import tfonnx, utils
    from tf2onnx.graph import Graph

    consumers, needed_by = Graph.find_output_consumers, Graph.extract_sub_graph_nodes
    functions = tfonnx.resolve_functions

    def find_output_consumers(self: Any, name: str) -> list[Any]:
        return sorted(consumers(self, name), key=lambda node: str(node.name))

    def extract_sub_graph_nodes(self: Any, *given: Any, **named: Any) -> list[Any]:
        place = {id(node): k for k, node in enumerate(self.get_nodes())}  # it may list a node twice
        return sorted(needed_by(self, *given, **named), key=lambda node: place.get(id(node), len(place)))

    def resolve_functions(graph: Any) -> list[Any]:
        """Return functions, those that are called first."""
        known = {one.name: one for one in sorted(functions(graph), key=lambda one: str(one.name))}
        needs = {
            name: {item.func.name for node in one.as_graph_def().node for item in node.attr.values()} & known.keys()
            for name, one in known.items()
        }
        order = TopologicalSorter({name: sorted(before) for name, before in needs.items()})
        return [known[name] for name in order.static_order()]

    Graph.find_output_consumers, Graph.extract_sub_graph_nodes = find_output_consumers, extract_sub_graph_nodes
    tfonnx.resolve_functions = resolve_functions
    utils.INTERNAL_NAME = 1
    try:
        yield
    finally:
        Graph.find_output_consumers, Graph.extract_sub_graph_nodes = consumers, needed_by
        tfonnx.resolve_functions = functions


@contextmanager
def _layers_apart() -> Iterator[None]:
    """Keep tf2onnx from putting the scaling and shift behind a convolution, a layer of its own, into its weights.

    It does where nothing else reads the convolution, which is what it is told here never to be so.
    """
    from tf2onnx.optimizer.transpose_optimizer import TransposeOptimizer

    scale, shift = TransposeOptimizer._mul_handler, TransposeOptimizer._add_handler
    single = TransposeOptimizer._nodes_has_single_consumer_node

    def apart(handler: Callable[[Any, Any, Any], bool]) -> Callable[[Any, Any, Any], bool]:
        def handle(self: Any, turn: Any, node: Any) -> bool:
            self._nodes_has_single_consumer_node = lambda nodes: (
                not any(one.type in ("Conv", "ConvTranspose") for one in nodes) and single(self, nodes)
            )
            try:
                return handler(self, turn, node)
            finally:
                del self._nodes_has_single_consumer_node

        return handle

    TransposeOptimizer._mul_handler, TransposeOptimizer._add_handler = apart(scale), apart(shift)
    try:
        yield
    finally:
        TransposeOptimizer._mul_handler, TransposeOptimizer._add_handler = scale, shift


@contextmanager
def _branches_apart() -> Iterator[None]:
    """Keep tf2onnx from giving what comes of a choice the shape of one branch where that of the other is unknown.

    Of an empty result in one branch it concludes that there is never any, and folds what asks for it. Loops keep their
    shapes, except where they begin with nothing.
    """
    from tf2onnx import shape_inference

    infer = shape_inference.infer_shape_for_op

    def infer_shape_for_op(op: Any) -> Any:
        if op.type != "Merge":
            return infer(op)
        shapes = [x.shape for x in op.inputs]
        known = [tuple(shape) for shape in shapes if shape.rank is not None]
        if op.outputs[0].shape.rank is not None or len({len(dims) for dims in known}) != 1:
            return None
        if any(x.op.type == "NextIteration" for x in op.inputs):
            new = [
                next((dim for dim in column if dim is not None), None) or None for column in zip(*known, strict=True)
            ]
        else:
            same = len(known) == len(shapes)
            new = [column[0] if same and len(set(column)) == 1 else None for column in zip(*known, strict=True)]
        for x in (*op.inputs, op.outputs[0]):
            if x.shape.rank is None:
                x.set_shape(new)
        return True

    shape_inference.infer_shape_for_op = infer_shape_for_op
    try:
        yield
    finally:
        shape_inference.infer_shape_for_op = infer


# Nodes before it --------------------------------------------------------------------------------------------------


def grown(nodes: list[Any]) -> list[Any]:
    """Return NodeDefs in which an array that a loop fills and that is concatenated then is a tensor that grows.

    ONNX's loops stack what their steps make, so that it must have one shape; tf2onnx does not know the concatenation.
    What goes round the loop, the array's flow, is a float; so it may be what the array holds, where that are floats.
    """
    by_name = {node.name: node for node in nodes}
    found = []
    for node in nodes:
        array = by_name.get(node.input[0]) if node.op == "TensorArrayConcatV3" else None
        if array is None or array.op != "TensorArrayV3" or node.attr["dtype"].type != 1:
            continue
        handles = {array.name, *(one.name for one in nodes if one.op == "Enter" and one.input[0] == array.name)}
        users = [one for one in nodes if one.name not in handles and not handles.isdisjoint(one.input)]
        if any(one is not node and one.op != "TensorArrayWriteV3" for one in users) or f"{node.name}:1" in {
            ref for one in nodes for ref in one.input
        }:
            continue
        found.append((node, array, handles, [one for one in users if one is not node]))
    if not found:
        return nodes
    import tensorflow as tf

    def constant(name: str, value: Any, *before: str) -> Any:
        made = nodes[0].__class__(name=name, op="Const", input=before)
        made.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
        made.attr["dtype"].type = made.attr["value"].tensor.dtype
        return made

    made, gone, flows = [], set(), {}
    for node, array, handles, writes in found:
        rest = [max(dim.size, 0) for dim in node.attr["element_shape_except0"].shape.dim]
        made.append(constant(f"{array.name}/empty", tf.zeros([0, *rest])))
        flows[f"{array.name}:1"] = f"{array.name}/empty"
        gone |= {*handles, node.name, *(one.name for one in writes)}
        for write in writes:
            _, _, value, flow = write.input[:4]
            axis = constant(f"{write.name}/axis", 0, f"^{flow.partition(':')[0]}")  # in the loop, as its flow is
            joint = write.__class__(name=write.name, op="ConcatV2", input=[flow, value, axis.name])
            joint.attr["N"].i, joint.attr["T"].type, joint.attr["Tidx"].type = 2, 1, 3
            made += [axis, joint]
        made.append(node.__class__(name=node.name, op="Identity", input=node.input[1:2]))
        made[-1].attr["T"].type = 1
    result = [*(node for node in nodes if node.name not in gone), *made]
    for k, node in enumerate(result):
        if any(ref in flows for ref in node.input):
            result[k] = node = node.__class__.FromString(node.SerializeToString())
            node.input[:] = [flows.get(ref, ref) for ref in node.input]
    return result


def by_batch(graph: Any) -> Any:
    """Return a GraphDef in which normalizations by the batch's own statistics are written out.

    tf2onnx takes them for those by stored ones, and warns on its log only.

    Raises
    ------
    ConvertError
        Where one stands in a loop's body, or its statistics are used.
    """
    found = [node for node in graph.node if _in_training(node)]
    found += [node for function in graph.library.function for node in function.node_def if _in_training(node)]
    if not found:
        return graph
    used = {ref for node in graph.node for ref in node.input if ":" in ref}
    plain = {node.name for node in graph.node}
    for node in found:
        rest = any(f"{node.name}:{k}" in used for k in range(1, 6))
        if node.name not in plain or rest or node.attr["data_format"].s == b"NCHW":
            raise ConvertError(f"{node.name} normalizes by its batch, which is only translated outside of loops, with "
                               "channels last, and where nothing else reads the statistics")  # fmt: skip
    import tensorflow as tf

    nodes = [node for node in graph.node if not _in_training(node)]
    for node in found:
        x, scale, offset, *_ = node.input
        small = tf.Graph()
        with small.as_default():
            given = [
                tf.compat.v1.placeholder(tf.float32, (None,) * rank, name)
                for name, rank in zip("xab", (4, 1, 1), strict=True)
            ]
            mean, variance = tf.nn.moments(given[0], (0, 1, 2))
            y = (given[0] - mean) * tf.math.rsqrt(variance + node.attr["epsilon"].f) * given[1]
            tf.add(y, given[2], name="y")
        names = {"x": x, "a": scale, "b": offset, "y": node.name}
        for one in small.as_graph_def().node:
            if one.op == "Placeholder":
                continue
            one.name = names.get(one.name, f"{node.name}/{one.name}")
            one.input[:] = [names.get(ref, f"{node.name}/{ref}") for ref in one.input]
            nodes.append(one)
    del graph.node[:]
    graph.node.extend(nodes)
    return graph


def _in_training(node: Any) -> bool:
    """Say whether a NodeDef normalizes by its batch; the attribute is true where it is absent."""
    return node.op.startswith("FusedBatchNorm") and ("is_training" not in node.attr or node.attr["is_training"].b)
