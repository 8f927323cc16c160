"""PyTorch's module tree as scopes: which module called which, leaf modules as layers, repeated calls apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from graphviz_nets.graph.ir import Graph, Model
from graphviz_nets.graph.scopes import Path, Scope, parents


@dataclass
class Calls:
    """The calls of modules in a run: a path for each, and the module's own name and class.

    A path has the attribute names that lead to the module, as far as they were called; the second call of a module
    within one call of what holds it is ``NAME@1``.
    """

    modules: dict[Path, tuple[str, str]] = field(default_factory=dict)
    numbers: dict[tuple[Path, str], list[object]] = field(default_factory=dict)

    def enter(self, above: Path, outer: str, name: str, type_: str, call: object = None) -> Path:
        """Return the path of a call of the module `name` within a call of the module `outer`.

        Parameters
        ----------
        above : tuple of str
            Path of the outer call.
        outer, name : str
            Dotted names, as ``named_modules`` gives them.
        type_ : str
            The class, with or without its package.
        call : object
            What tells one call from another; without it each is a new one.

        Examples
        --------
        >>> calls = Calls()
        >>> calls.enter((), "", "body.0", "torch.nn.Linear"), calls.enter((), "", "body.0", "torch.nn.Linear")
        (('body.0',), ('body.0@1',))
        """
        own = name.removeprefix(f"{outer}.") if outer else name
        seen = self.numbers.setdefault((above, own), [])
        number = next((k for k, other in enumerate(seen) if call is not None and other == call), len(seen))
        if number == len(seen):
            seen.append(call)
        path = (*above, f"{own}@{number}" if number else own)
        self.modules.setdefault(path, (name, type_.rpartition(".")[2]))
        return path

    def stack(self, stack: Sequence[tuple[object, str, str]]) -> Path:
        """Return the path of (call, name, class) triples from the outside in; the outermost module has no name."""
        path: Path = ()
        outer = ""
        for call, name, type_ in stack:
            if name:
                path, outer = self.enter(path, outer, name, type_, call), name
        return path


@contextmanager
def watched(module: Any) -> Iterator[tuple[Calls, list[tuple[Path, str]]]]:
    """Record the calls of a module's parts while they run; give the record and the stack of open calls.

    Parameters
    ----------
    module : torch.nn.Module
        A run of it starts the record anew. It is left as it was.
    """
    from torch.nn.modules import module as hooks

    names = {id(part): (name, type(part).__name__) for name, part in module.named_modules()}
    calls = Calls()
    stack: list[tuple[Path, str]] = [((), "")]

    def enter(part: Any, args: Any) -> None:
        if part is module:
            calls.modules.clear()
            calls.numbers.clear()
            del stack[1:]
        found = names.get(id(part))
        above, outer = stack[-1]
        stack.append((calls.enter(above, outer, *found), found[0]) if found and found[0] else (above, outer))

    def leave(part: Any, args: Any, result: Any) -> None:
        if len(stack) > 1:
            stack.pop()

    before = hooks.register_module_forward_pre_hook(enter)
    after = hooks.register_module_forward_hook(leave, always_call=True)
    try:
        yield calls, stack
    finally:
        before.remove()
        after.remove()


def with_modules(
    model: Model,
    calls: Calls,
    weights: Mapping[str, Sequence[str]],
    settings: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> Model:
    """Return a model with a scope for each call; one that holds nodes and calls nothing is a layer.

    Parameters
    ----------
    model : Model
        Whose nodes stand in the scopes.
    calls : Calls
        The calls.
    weights : mapping of str to sequence of str
        Names of parameters and buffers by the name of the module that holds them, its parts included.
    settings : mapping of str to mapping
        What a module was made with, by its name.
    """
    graph = model.graph
    inside: dict[Path, list[int]] = {}
    for k, node in enumerate(graph.nodes):
        inside.setdefault(node.scope, []).append(k)
    holders = set(parents([*calls.modules, *inside]))
    scopes = {}
    for path in sorted(calls.modules, key=len):
        name, type_ = calls.modules[path]
        scope = Scope(path, "module", "/".join(path), type_)
        if path in inside and path not in holders:
            ins, outs = border(graph, inside[path])
            own = settings.get(name, {})
            scope = replace(
                scope, kind="layer", inputs=ins, outputs=outs, weights=tuple(weights.get(name, ())), parameters=own
            )
        scopes[path] = scope
    first = {path: nodes[0] for path, nodes in inside.items()}
    for path, at in list(first.items()):
        for above in parents([path]):
            first[above] = min(at, first.get(above, at))
    order = sorted(scopes, key=lambda path: (first.get(path, len(graph.nodes)), len(path)))
    return replace(model, scopes={path: scopes[path] for path in order})


def border(graph: Graph, nodes: Sequence[int]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the values that enter and leave some nodes, given by their places; constants do not count."""
    chosen = [graph.nodes[k] for k in nodes]
    ids = {node.id for node in chosen}
    made = {name for node in chosen for name in node.outputs if name}
    ins = (n for node in chosen for n in node.inputs if n and n not in made and n not in graph.initializers)
    outs = (
        name for node in chosen for name in node.outputs if name
        and (name in graph.outputs or any(user.id not in ids for user, _ in graph.consumers.get(name, ())))
    )  # fmt: skip
    return tuple(dict.fromkeys(ins)), tuple(dict.fromkeys(outs))
