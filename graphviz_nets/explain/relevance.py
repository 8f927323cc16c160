"""Relevance of layers: how much of a target passes through each, for an overlay over the drawing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from graphviz_nets.errors import ConfigError
from graphviz_nets.explain.explainer import Explainer
from graphviz_nets.explain.layers import between, find
from graphviz_nets.explain.methods.gradients import WAYS
from graphviz_nets.graph.ir import Model

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]


def values_by_id(model: Model) -> dict[str, str]:
    """Return the value that each layer makes, by its id in drawings; of a model without layers, that of each operation.

    Examples
    --------
    >>> from graphviz_nets import load
    >>> list(values_by_id(load("fixtures/caffe/lenet.prototxt")))[:3]
    ['conv1', 'pool1', 'conv2']
    """
    if model.layers:
        made = {layer.id for layer in model.layers if any(one in model.graph.producers for one in layer.outputs)}
        inside = {"/".join(node.scope) for node in model.graph.nodes}
        return {layer.id: find(model, layer.id) for layer in model.layers if layer.id in made | inside}
    return {node.id: node.outputs[0] for node in model.graph.nodes if node.outputs and node.outputs[0]}


def relevance(e: Explainer, x: Array, seed: Array, values: dict[str, str], name: str) -> dict[str, float]:
    """Return how much of the target passes through each layer.

    That is the sum of |what it holds times what comes back to it|, and for LRP of the relevance itself, in the mean
    over the images; where a layer holds both, what speaks for the target and what speaks against it count alike.

    Parameters
    ----------
    e : Explainer
        One that keeps the values: ``Explainer(model, layers=list(values.values()))``.
    x, seed : array
        Images, and the weights of the target's elements.
    values : dict of str to str
        See :func:`values_by_id`.
    name : str
        A method that goes back through the net.

    Raises
    ------
    ConfigError
        For any other method.
    """
    import numpy as np

    way = WAYS.get(name)
    if way is None or way == "rescale":
        known = [one for one, there in WAYS.items() if there != "rescale"]
        raise ConfigError(f"{name} gives no relevance of layers", key="--method", hint=f"one of {', '.join(known)}")
    reached = {one for node in between(e.model.graph, [e.input], e.target) for one in node.outputs}
    chosen = {id_: value for id_, value in values.items() if value in reached}
    wanted = list(dict.fromkeys(chosen.values()))
    handed = way.startswith("lrp")
    seed = seed * e.scores(x) if handed else seed
    back = e.gradients(x, seed, wanted, way)
    held = {} if handed else e.forward(wanted)({e.input: x})
    amount = {one: np.abs(back[one] if handed else back[one] * held[one]).sum() / len(x) for one in wanted}
    return {id_: float(amount[value]) for id_, value in chosen.items()}
