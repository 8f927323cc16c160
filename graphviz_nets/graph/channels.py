"""Where the channels of images stand at the border of a model: behind the batch (``nchw``) or last (``nhwc``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from graphviz_nets.config import LAYOUTS
from graphviz_nets.errors import ConfigError
from graphviz_nets.graph.builder import Builder
from graphviz_nets.graph.functions import renamed
from graphviz_nets.graph.ir import Graph, Model, Node, Shape, graphs
from graphviz_nets.graph.preprocess import Preprocess
from graphviz_nets.graph.scopes import Scope

NOTE, RECORD = "gvn.layout", "gvn.preprocess"
AXES: Mapping[str, tuple[int, ...]] = {"nhwc": (0, 2, 3, 1), "nchw": (0, 3, 1, 2)}
"""The permutation that gives a layout, of the other one."""
FEW = range(1, 5)
"""Channels of an image."""


def layout_of(model: Model) -> str:
    """Return the layout of a model's images.

    What :func:`with_layout` has noted, else what the inputs' shapes tell, else the preprocessing record, else what the
    framework is used to.

    Examples
    --------
    >>> from graphviz_nets.graph.builder import Builder
    >>> op = Builder("net")
    >>> x = op.input("x", "float32", (1, 32, 32, 3))
    >>> layout_of(op.model([op.Relu(x)]))
    'nhwc'
    """
    if model.metadata.get(NOTE) in LAYOUTS:
        return model.metadata[NOTE]
    told = {_told(model.graph.value(name).shape) for name in images(model.graph)} - {""}
    if len(told) == 1:
        return told.pop()
    if RECORD in model.metadata:
        return Preprocess.from_json(model.metadata[RECORD], RECORD).layout
    return "nhwc" if model.framework == "tensorflow" else "nchw"


def _told(shape: Shape | None) -> str:
    """Return the layout that a shape tells of, by few channels on one side; an empty string where it does not."""
    if shape is None or len(shape) != 4 or (shape[1] in FEW) == (shape[3] in FEW):
        return ""
    return "nchw" if shape[1] in FEW else "nhwc"


def images(graph: Graph) -> list[str]:
    """Return the inputs of four axes."""
    return [name for name in graph.inputs if len(graph.value(name).shape or ()) == 4]


def with_layout(model: Model, layout: str) -> Model:
    """Return the model with its inputs and outputs of four axes in a layout; their names stay.

    A Transpose turns each at the border, and takes one behind it along that does the opposite.

    Parameters
    ----------
    model : Model
        Any, runnable or not.
    layout : {"nchw", "nhwc"}
        What its images are to be like. The preprocessing record follows.

    Raises
    ------
    ConfigError
        When there is no such layout, or no input has four axes.

    Examples
    --------
    >>> from graphviz_nets.graph.builder import Builder
    >>> op = Builder("net")
    >>> x = op.input("x", "float32", (1, 32, 32, 3))
    >>> turned = with_layout(op.model([op.Flatten(op.Transpose(x, perm=(0, 3, 1, 2)))]), "nchw")
    >>> turned.graph.value("x").shape, [node.op_type for node in turned.graph.nodes]
    ((1, 3, 32, 32), ['Flatten'])
    """
    if layout not in LAYOUTS:
        raise ConfigError(f"{layout!r} is no layout", key="--layout", hint=f"one of {', '.join(LAYOUTS)}")
    if not images(model.graph):
        raise ConfigError("no input of the model has four axes", key="--layout", hint="it is for images")
    metadata = {**model.metadata, NOTE: layout}
    if RECORD in metadata:
        record = Preprocess.from_json(metadata[RECORD], RECORD)
        metadata[RECORD] = replace(record, layout=layout).to_json()
    return replace(_turned(model, layout), metadata=metadata)


def _turned(model: Model, layout: str) -> Model:
    """Return the model with a layout for what is of the other one at its border."""
    graph, usual = model.graph, layout_of(model)
    old = next(other for other in LAYOUTS if other != layout)

    def other(name: str) -> bool:
        shape = graph.value(name).shape
        # A model may give in one layout what it takes in another; once turned, it does not.
        known = "" if NOTE in model.metadata else _told(shape)
        return len(shape or ()) == 4 and (known or usual) == old

    given = [name for name in graph.inputs if other(name)]
    made = [name for name in graph.outputs if name in graph.producers and other(name)]
    op = Builder.of(graph)
    inside = {name: op.fresh(f"{name}/{old}") for name in dict.fromkeys((*given, *made))}
    names, gone = dict(inside), set()  # what values are called inside, and Transposes that are no longer needed
    first = [_turn(name, new, AXES[old], new) for name, new in inside.items() if name in given]
    last = []
    for name in given:
        for node, _ in graph.consumers.get(name, ()):
            if _turns(node, AXES[layout]) and node.outputs[0] not in graph.outputs:
                names[node.outputs[0]] = name
                gone.add(node.id)
    for name in made:
        node = graph.producers[name]
        before = node.inputs[0] if _turns(node, AXES[old]) else ""
        if before in graph.producers and before not in graph.outputs and before not in names:
            names[before] = name
        else:
            last.append(_turn(inside[name], name, AXES[layout], inside[name]))
    kept = replace(graph, nodes=tuple(node for node in graph.nodes if node.id not in gone))
    inner = renamed(kept, names)
    nodes = (*first, *inner.nodes, *last)
    values = dict(inner.values)
    for name in inside:
        old_value = graph.value(name)
        values[name] = replace(old_value, shape=tuple((old_value.shape or ())[axis] for axis in AXES[layout]))
    whole = replace(inner, nodes=nodes, inputs=graph.inputs, outputs=graph.outputs, values=values)
    used = {name for each in graphs(whole) for node in each.nodes for name in node.inputs}
    used.update(name for each in graphs(whole) for name in each.outputs)
    nodes = tuple(node for node in nodes if used.issuperset(new for new in node.outputs if new in inside.values()))
    names.update((name, name) for name, new in inside.items() if new not in used)

    def scope(old: Scope) -> Scope:
        """Return a scope whose layer reads and makes what its nodes do; inputs that are layers make what comes in."""
        reads = tuple(names.get(name, name) for name in old.inputs)
        return replace(old, inputs=reads, outputs=tuple(n if n in given else names.get(n, n) for n in old.outputs))

    scopes = {path: scope(item) for path, item in model.scopes.items()}
    return replace(model, graph=replace(whole, nodes=nodes), scopes=scopes)


def _turn(source: str, target: str, perm: tuple[int, ...], name: str) -> Node:
    return Node("Transpose", (source,), (target,), f"{name}/Transpose", attributes={"perm": perm})


def _turns(node: Node, perm: tuple[int, ...]) -> bool:
    return node.op_type == "Transpose" and node.attributes.get("perm") == perm
