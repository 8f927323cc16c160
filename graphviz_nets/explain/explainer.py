"""Explainer: a model with what explains it, one onnxruntime session for each way of going back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from graphviz_nets.errors import ConfigError, RunError
from graphviz_nets.explain.backward import FLOATING, Backward, Rule, grad
from graphviz_nets.explain.prepare import prepare
from graphviz_nets.explain.rules import VJP
from graphviz_nets.explain.rules.overrides import ACTIVATIONS, COMPOSITES, DECONV, GUIDED, RECTIFIERS, RESCALE
from graphviz_nets.explain.runner import Runner
from graphviz_nets.graph.ir import Graph, Model

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

TABLES: Mapping[str, Mapping[str, Rule]] = {
    "gradient": VJP, "guided": GUIDED, "deconv": DECONV, "rescale": RESCALE,
    **{f"lrp:{name}": table for name, table in COMPOSITES.items()},
}  # fmt: skip
"""Ways of going back, by name."""

SQUASHERS = ("Softmax", "Sigmoid", "LogSoftmax")
BASELINE = "@baseline"


class Explainer:
    """A model that can be asked why.

    Parameters
    ----------
    model : Model
        A runnable one.
    target : str, optional
        The value whose elements are explained; by default the first output, before its softmax or sigmoid.
    sizes : mapping of str to sequence of int, optional
        Shapes of inputs, the batch included; where neither they nor the model say, sizes are 1.
    wrt : str, optional
        The value that is explained; by default the first input of floating point. Of a language model, whose input are
        numbers of words, the value behind the embedding.
    provider : {"auto", "cpu", "cuda"}
        As of :class:`~graphviz_nets.explain.runner.Runner`.
    threads : int
        For each operation; 0 leaves it to onnxruntime.

    Attributes
    ----------
    input : str
        The input that ``x`` is.
    wrt : str
        The value that is explained.
    notes : list of str
        What the user should know of a result.

    Examples
    --------
    >>> import numpy as np
    >>> from graphviz_nets.graph.builder import Builder
    >>> op = Builder("net")
    >>> x = op.input("x", "float32", (1, 3))
    >>> y = op.MatMul(x, op.weight("w", (3, 2), np.arange(6, dtype="f4").tobytes()))
    >>> explainer = Explainer(op.model([op.Softmax(y, axis=1)]))
    >>> explainer.gradient(np.ones((1, 3), "f4"), np.array([[0, 1]], "f4")).tolist()
    [[1.0, 3.0, 5.0]]
    """

    def __init__(
        self,
        model: Model,
        target: str | None = None,
        sizes: Mapping[str, Sequence[int]] | None = None,
        provider: str = "auto",
        threads: int = 0,
        wrt: str | None = None,
    ) -> None:
        self.target = target or _logits(model)
        self.model = prepare(model, sizes, keep=[self.target, *([wrt] if wrt else [])])
        self.options: dict[str, Any] = {"provider": provider, "threads": threads}
        graph = self.model.graph
        floating = [name for name in graph.inputs if (graph.value(name).dtype or "float32") in FLOATING]
        if not floating and wrt is None:
            raise ConfigError("the model has no input of floating point, so there is nothing to differentiate by",
                              hint="name the value behind the embedding with wrt")  # fmt: skip
        self.input: str = floating[0] if floating else graph.inputs[0]
        self.wrt = wrt or self.input
        self.notes: list[str] = []
        self._runners: dict[str, tuple[Runner, Backward | None]] = {}

    @property
    def shape(self) -> tuple[int, ...]:
        """The input's shape, its batch first."""
        return tuple(dim for dim in self.model.graph.value(self.input).shape or () if isinstance(dim, int))

    @property
    def provider(self) -> str:
        """Where it runs."""
        return self._runner("forward")[0].provider

    def scores(self, x: Array, **others: Array) -> Array:
        """Return the target's value, (images, ...)."""
        runner, _ = self._runner("forward")
        return runner({self.input: x, **others})[self.target]

    def gradient(self, x: Array, seed: Array, way: str = "gradient", **others: Array) -> Array:
        """Return what comes back to the input.

        Parameters
        ----------
        x : array
            Images, any number of them.
        seed : array
            Weights of the target's elements, of the target's shape.
        way : str
            Of `TABLES`.
        **others : array
            The model's other inputs; for ``rescale`` also the baseline, as ``baseline``.

        Returns
        -------
        array
            Of the shape of `x`, or of the value that `wrt` names.
        """
        runner, backward = self._runner(way)
        assert backward is not None
        if way == "rescale":
            others[self.input + BASELINE] = others.pop("baseline")
        found = runner({self.input: x, backward.seed: seed, **others})
        return found[backward.gradients[self.wrt]]

    def model_with(self, way: str) -> tuple[Model, Backward]:
        """Return the model with the nodes that go back, as a model that can be saved."""
        graph, twin = self.model.graph, dict[str, str]()
        if way not in TABLES:
            raise ConfigError(f"{way!r} is not known", hint=f"one of {', '.join(TABLES)}")
        if way == "rescale":
            graph, twin = twinned(graph, self.input)
        opset = self.model.opset_imports.get("", 18)
        backward = grad(graph, self.target, [self.wrt], TABLES[way], twin=twin, opset=opset)
        return self.model.with_graph(backward.graph), backward

    def _runner(self, way: str) -> tuple[Runner, Backward | None]:
        if way not in self._runners:
            if way == "forward":
                self._runners[way] = Runner(self.model, [self.target], **self.options), None
            else:
                model, backward = self.model_with(way)
                self._runners[way] = Runner(model, [backward.gradients[self.wrt]], **self.options), backward
                self._warn(way)
        return self._runners[way]

    def _warn(self, way: str) -> None:
        """Say where a way of going back is not defined."""
        others = sorted({n.op_type for n in self.model.graph.nodes} & (set(ACTIVATIONS) - set(RECTIFIERS)))
        if way in ("guided", "deconv") and others:
            self.notes.append(f"{', '.join(others)} rectify nothing: their plain gradient is used")


def _logits(model: Model) -> str:
    """Return the first output, or what goes into the softmax or sigmoid that makes it."""
    if not model.graph.outputs:
        raise RunError("the model has no output to explain")
    name = model.graph.outputs[0]
    while (node := model.graph.producers.get(name)) is not None and node.op_type in (*SQUASHERS, "Identity"):
        name = node.inputs[0]
    return name


def twinned(graph: Graph, name: str) -> tuple[Graph, dict[str, str]]:
    """Return a graph with a second forward pass from another value of an input, and the pairs of values.

    Examples
    --------
    >>> from graphviz_nets.graph.builder import Builder
    >>> op = Builder("net")
    >>> y = op.Relu(op.input("x", "float32", (2,)))
    >>> twinned(op.graph([y]), "x")[1]
    {'x': 'x@baseline', 'Relu': 'Relu@baseline'}
    """
    pairs = {name: name + BASELINE}
    nodes = list(graph.nodes)
    for node in graph.nodes:
        if any(one in pairs for one in node.inputs):
            pairs.update((one, one + BASELINE) for one in node.outputs if one)
            inputs, outputs = (tuple(pairs.get(one, one) for one in names) for names in (node.inputs, node.outputs))
            twin = node.id + BASELINE
            nodes.append(replace(node, id=twin, name=twin, inputs=inputs, outputs=outputs))
    values = dict(graph.values)
    values.update((there, replace(graph.value(here), name=there)) for here, there in pairs.items())
    return replace(graph, nodes=tuple(nodes), values=values, inputs=(*graph.inputs, pairs[name])), pairs
