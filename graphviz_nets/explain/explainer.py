"""Explainer: a model with what explains it, one onnxruntime session for each way of going back."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from graphviz_nets.errors import ConfigError, RunError
from graphviz_nets.explain.backward import FLOATING, Backward, Rule, grad
from graphviz_nets.explain.layers import Layer, automatic, channels, described, on_the_way
from graphviz_nets.explain.prepare import prepare, sized
from graphviz_nets.explain.rules import VJP
from graphviz_nets.explain.rules.overrides import ACTIVATIONS, COMPOSITES, DECONV, GUIDED, RECTIFIERS, RESCALE
from graphviz_nets.explain.runner import Runner, must_run
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
    seen : str, optional
        The value whose places maps of layers show; by default the input. Of inputs that were put together (see
        :func:`graphviz_nets.explain.together.together`) the one that is an image.
    layers : sequence of str
        Values whose maps weigh the places of an image (see :mod:`graphviz_nets.explain.methods.cam`); by default the
        last one before the pooling. :func:`graphviz_nets.explain.layers.find` gives the value of a layer's or module's
        name.
    provider : {"auto", "cpu", "cuda"}
        As of :class:`~graphviz_nets.explain.runner.Runner`.
    threads : int
        For each operation; 0 leaves it to onnxruntime.

    Attributes
    ----------
    model : Model
        The model at one size, ready for gradients; the given one where it cannot be made so. Methods that need no
        gradient work for that, too.
    input : str
        The input that ``x`` is.
    seen : str
        The value whose places maps of layers show.
    wrt : str
        The value that is explained.
    notes : list of str
        What the user should know of a result.
    exclusive : bool
        Whether the target's elements, where the model ends with scores, are classes of which one is true, so that a
        softmax makes probabilities of them. The scores of a detector's boxes are not.
    track : function
        Called as ``track(steps, label)`` on the steps of long work; returns them, and may show how far it is.

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
        layers: Sequence[str] = (),
        seen: str | None = None,
    ) -> None:
        self.target = target or _logits(model)
        self.options: dict[str, Any] = {"provider": provider, "threads": threads}
        self.notes: list[str] = []
        self.exclusive = True
        self.track: Callable[[Sequence[Any], str], Iterable[Any]] = lambda steps, label: steps
        self._layers = tuple(layers)
        self._sessions: dict[Hashable, Runner] = {}
        self._backward: dict[tuple[str, tuple[str, ...]], Backward] = {}
        self._fault: RunError | None = None
        try:
            self.model = prepare(model, sizes, keep=[self.target, *(one for one in (wrt, seen) if one), *layers])
        except RunError as fault:
            must_run(model)
            self.model, self._fault = sized(model, sizes or {}), fault
        graph = self.model.graph
        floating = [name for name in graph.inputs if (graph.value(name).dtype or "float32") in FLOATING]
        self.input: str = floating[0] if floating else graph.inputs[0]
        self.wrt = wrt or self.input
        self.seen = seen or self.input

    @property
    def shape(self) -> tuple[int, ...]:
        """The input's shape, its batch first."""
        return tuple(dim for dim in self.model.graph.value(self.input).shape or () if isinstance(dim, int))

    @property
    def provider(self) -> str:
        """Where it runs."""
        return self.forward([self.target]).provider

    @cached_property
    def _axes(self) -> dict[str, int]:
        return channels(self.model.graph, self.seen)

    @cached_property
    def image(self) -> Layer | None:
        """Where the input has its channels and places; None for one that is no image, signal or volume."""
        return self.layer(self.input)

    @cached_property
    def view(self) -> Layer | None:
        """Where what maps show has its channels and places: the input, or the part of it that is seen."""
        return self.layer(self.seen)

    def layer(self, value: str) -> Layer | None:
        """Return where a value has its channels and places, None where it has no places."""
        return described(self.model.graph, value, self.seen, self._axes)

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The layers that maps are made of.

        Raises
        ------
        ConfigError
            When a value has no places or does not lead to the target, or when there is none that does.
        """
        graph = self.model.graph
        if not self._layers:
            return (automatic(graph, self.target, self.seen, self._axes),)
        found = []
        for name in self._layers:
            place = on_the_way(graph, name, self.target)
            if place is None:
                raise ConfigError(f"{name!r} does not lead to {self.target!r}, which is explained", key="--layer")
            one = self.layer(place)
            if one is None:
                raise ConfigError(f"{name!r} has the shape {graph.value(name).shape}, and no places to weigh",
                                  key="--layer", hint="choose one before the pooling")  # fmt: skip
            found.append(one)
        return tuple(found)

    def forward(self, wanted: Sequence[str]) -> Runner:
        """Return the session that computes these values."""
        return self.session(("forward", *wanted), lambda: (self.model, wanted))

    def scores(self, x: Array, **others: Array) -> Array:
        """Return the target's value, (images, ...)."""
        return self.forward([self.target])({self.input: x, **others})[self.target]

    def blank(self, x: Array) -> Array:
        """Return zeros of the target's shape for these images; the model runs only where the shape is not known."""
        import numpy as np

        shape = self.model.graph.value(self.target).shape or ("?",)
        if shape[0] != self.shape[0] or not all(isinstance(dim, int) for dim in shape):
            return np.zeros_like(self.scores(x))
        return np.zeros((len(x), *(int(dim or 1) for dim in shape[1:])), "f4")

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
        return self.gradients(x, seed, [self.wrt], way, **others)[self.wrt]

    def gradients(
        self, x: Array, seed: Array, wrt: Sequence[str], way: str = "gradient", **others: Array
    ) -> dict[str, Array]:
        """Return what comes back to each of several values, from one session; see :meth:`gradient`."""
        return self._back(x, seed, wrt, way, **others)[1]

    def scored(self, x: Array, seed: Array) -> tuple[Array, Array]:
        """Return the target's value and the gradient, from one session: :meth:`scores` would hold the model again."""
        scores, found = self._back(x, seed, [self.wrt], "gradient")
        return scores, found[self.wrt]

    def _back(
        self, x: Array, seed: Array, wrt: Sequence[str], way: str, **others: Array
    ) -> tuple[Array, dict[str, Array]]:
        model, backward = self.backward(way, wrt)
        if way in ("guided", "deconv") and self._unruly:
            self.notes.append(f"{', '.join(self._unruly)} rectify nothing: their plain gradient is used")
        runner = self.session((way, *wrt), lambda: (model, [self.target, *backward.gradients.values()]))
        if way == "rescale":
            others[self.input + BASELINE] = others.pop("baseline")
        found = runner({self.input: x, backward.seed: seed, **others})
        return found[self.target], {name: found[backward.gradients[name]] for name in wrt}

    def backward(self, way: str, wrt: Sequence[str] = ()) -> tuple[Model, Backward]:
        """Return the model with the nodes that go back to these values (`wrt` by default), as one that can be saved.

        Raises
        ------
        NoRule
            When an operation on the way has no gradient.
        RunError
            When the model could not be made ready for gradients.
        ConfigError
            When there is no such way, or nothing to differentiate by.
        """
        if self._fault is not None:
            raise self._fault
        wanted = tuple(wrt or [self.wrt])
        graph, twin = self.model.graph, dict[str, str]()
        if way not in TABLES:
            raise ConfigError(f"{way!r} is not known", hint=f"one of {', '.join(TABLES)}")
        if any((graph.value(name).dtype or "float32") not in FLOATING for name in wanted):
            raise ConfigError("the model has no input of floating point, so there is nothing to differentiate by",
                              hint="name the value behind the embedding with wrt")  # fmt: skip
        if (way, wanted) not in self._backward:
            if way == "rescale":
                graph, twin = twinned(graph, self.input)
            opset = self.model.opset_imports.get("", 18)
            self._backward[way, wanted] = grad(graph, self.target, wanted, TABLES[way], twin=twin, opset=opset)
        found = self._backward[way, wanted]
        return self.model.with_graph(found.graph), found

    def of(self, model: Model) -> Explainer:
        """Return an explainer that asks the same of another model, such as this one with other weights."""
        sizes = {self.input: self.shape}
        found = Explainer(model, self.target, sizes, wrt=self.wrt, layers=self._layers, seen=self.seen, **self.options)
        found.exclusive = self.exclusive
        return found

    def session(self, key: Hashable, build: Callable[[], tuple[Model, Sequence[str]]]) -> Runner:
        """Return the session of a model made from this one and of the values wanted of it; it is built once a key."""
        if key not in self._sessions:
            model, wanted = build()
            self._sessions[key] = Runner(model, wanted, **self.options)
        return self._sessions[key]

    @cached_property
    def _unruly(self) -> list[str]:
        """The activations of the model for which guided backprop and deconvnets say nothing."""
        return sorted({n.op_type for n in self.model.graph.nodes} & (set(ACTIVATIONS) - set(RECTIFIERS)))


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
