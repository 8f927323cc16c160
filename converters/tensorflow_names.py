"""Names: scopes of the TensorFlow graph for what tf2onnx makes of it, and layers called as their authors call them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from graphviz_nets.graph.ir import Model, Value
from graphviz_nets.graph.scopes import Path, Scope, parents

CALL = r"(?:Stateful)?PartitionedCall(?:_\d+)?"
"""Parts of names that are calls of functions."""


def layer_names(thing: Any) -> frozenset[str]:
    """Return the names of a Keras model's layers, those of models inside it too; of anything else, nothing."""
    found: set[str] = set()
    waiting = [thing]
    while waiting:
        for one in getattr(waiting.pop(), "layers", ()):
            if one.name not in found:
                found.add(one.name)
                waiting.append(one)
    return frozenset(found)


def variable_names(drawn: Model) -> frozenset[str]:
    """Return the names of the layers that have variables: the scopes of the variables."""
    variables = (name for name, tensor in drawn.graph.initializers.items() if tensor.role in ("parameter", "buffer"))
    return frozenset(part for name in variables for part in name.split("/")[:-1])


def plain(drawn: Model, layers: frozenset[str]) -> dict[Path, Path]:
    """Return what each scope is called without the number that TensorFlow gives to a layer's second call.

    Keras calls each layer once before the model is exported, so all of them are ``Conv1_1``, ``relu_1``, ... in the
    file. The number is TensorFlow's where a layer is known by the plain name, and no scope beside it is called so;
    then the other scopes beside it that bear the same number are layers, too.

    Parameters
    ----------
    drawn : Model
        The graph.
    layers : frozenset of str
        Names of layers, not necessarily of all.
    """
    beside: dict[Path, set[str]] = {}
    for path in drawn.scopes:
        beside.setdefault(path[:-1], set()).add(path[-1])
    names: dict[Path, str] = {}
    for above, parts in beside.items():
        split = {part: found for part in sorted(parts - layers) if (found := re.fullmatch(r"(.+)_(\d+)", part))}
        free = {part: found for part, found in split.items() if found[1] not in parts}
        called = {found[2] for found in free.values() if found[1] in layers}
        first = {found[1]: part for part, found in reversed(free.items()) if found[2] in called}
        names.update({(*above, part): name for name, part in first.items()})
    if not names:
        return {}
    return {path: tuple(names.get(path[: size + 1], part) for size, part in enumerate(path)) for path in drawn.scopes}


def renamed(model: Model, paths: Mapping[Path, Path]) -> Model:
    """Return the model with other paths for its scopes."""
    if not paths:
        return model
    nodes = tuple(node.moved(paths.get(node.scope, node.scope)) for node in model.graph.nodes)
    scopes = {
        (own := paths.get(path, path)): replace(scope, path=own, name="/".join(own))
        for path, scope in model.scopes.items()
    }
    return replace(model, graph=replace(model.graph, nodes=nodes), scopes=scopes)


def joined(model: Model, drawn: Model) -> Model:
    """Return tf2onnx's model with the scopes of the TensorFlow graph, by the names that it keeps in its nodes.

    tf2onnx numbers what it adds (``a/b/Conv2D__7``) and puts the calls before a name; a node without a name that the
    graph knows stands where its neighbours are.
    """
    known = {node.id: node.scope for node in drawn.graph.nodes} | {
        name: tuple(part for part in name.split("/")[:-1]) for name in drawn.graph.initializers
    }
    paths = {path[:size] for path in known.values() for size in range(1, len(path) + 1)}
    placed: dict[str, Path] = {}
    nodes = []
    for node in model.graph.nodes:
        own = _place(node.name or node.id, known, paths)
        if own is None:
            near = [placed[name] for name in node.inputs if name in placed]
            own = near[0] if near else ()
        placed.update(dict.fromkeys(node.outputs, own))
        nodes.append(replace(node, scope=own, name=_without_calls(node.name)))
    scopes = {
        own: drawn.scopes.get(own) or Scope(own)
        for own in dict.fromkeys(p for node in nodes for p in (*parents([node.scope]), node.scope) if p)
    }
    graph = replace(model.graph, name=drawn.name, nodes=tuple(nodes), values=_batched(model, drawn))
    return replace(model, graph=graph, framework="tensorflow", scopes=scopes, problems=drawn.problems)


def _own(name: str) -> str:
    """Return a name of tf2onnx's as the graph has it: without the calls before it and the number after it."""
    return re.sub(r"__\d+$", "", re.sub(r"(?:_quant|_dequant|_raw_output_\w*)$", "", _without_calls(name)))


def _without_calls(name: str) -> str:
    return "/".join(part for part in name.split("/") if not re.fullmatch(CALL, part))


def _place(name: str, known: dict[str, Path], paths: set[Path]) -> Path | None:
    """Return the scope of the longest beginning of a name that the graph knows."""
    whole = _own(name)
    if whole in known:
        return known[whole]
    own = tuple(whole.split("/"))
    while own and own not in paths:
        own = own[:-1]
    return own or None


def _batched(model: Model, drawn: Model) -> dict[str, Value]:
    """Return the values with the shapes of inputs as the TensorFlow graph has them, where tf2onnx made names up."""
    values = dict(model.graph.values)
    for name in model.graph.inputs:
        old, stated = values.get(name), drawn.graph.value(name).shape
        if old is not None and old.shape is not None and stated is not None and len(stated) == len(old.shape):
            values[name] = replace(old, shape=stated)
    return values
