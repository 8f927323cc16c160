"""A module taken apart by running it once: every operation that reaches PyTorch's dispatcher becomes a node.

This works for what no exporter can trace (numbers taken out of tensors, branches that depend on data, other libraries),
and shows what this one run did.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from graphviz_nets.graph.builder import Builder
from graphviz_nets.graph.ir import Model

from .pytorch_scopes import watched, with_modules
from .pytorch_tensors import aliases, dtype_name, settings_of, torch_tensor, weights_of

SILENT = frozenset({"detach", "alias", "lift_fresh", "lift_fresh_copy"})
"""Operations that give their input another handle."""


def record(module: Any, args: Sequence[Any], kwargs: Mapping[str, Any], dynamic: Mapping[str, Any]) -> Model:
    """Run a module and return what it did, in the domain of each operation (``aten``)."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    op = Builder(type(module).__name__)
    names: dict[int, str] = {}
    alive: list[Any] = []  # an id is only worth something while its object lives
    written: dict[int, tuple[str, str]] = {}  # storage: the value last written into it, and by which node
    seen: dict[str, str] = {}  # value: what was last written into its storage when it was made
    weights = dict(aliases(module))
    held = {**dict(module.named_buffers()), **dict(module.named_parameters())}
    kinds = {name: "parameter" for name, _ in module.named_parameters()}
    for name in dict.fromkeys(weights.values()):
        tensor = torch_tensor(name, held[name], kinds.get(name, "buffer"))
        op.initializers[name] = tensor
        names[id(held[name])] = name

    def tensors(tree: Any) -> Iterator[Any]:
        for item in torch.utils._pytree.tree_leaves(tree):
            if isinstance(item, torch.Tensor):
                yield item

    def storage(tensor: Any) -> int:
        try:
            return int(tensor.untyped_storage()._cdata)
        except (RuntimeError, NotImplementedError):  # sparse and fake tensors have none
            return id(tensor)

    def known(tensor: Any) -> str:
        if id(tensor) not in names:
            name = op.fresh("constant")
            op.initializers[name] = torch_tensor(name, tensor.detach().clone(), "constant")
            names[id(tensor)] = name
            alive.append(tensor)
        return names[id(tensor)]

    def typed(tensor: Any) -> tuple[str, tuple[int, ...]]:
        return dtype_name(tensor.dtype), tuple(map(int, tensor.shape))

    with watched(module) as (calls, stack):

        def noted(self: Any, func: Any, types: Any, given: Any = (), more: Any = None) -> Any:
            more = more or {}
            before = list(tensors((given, more)))
            inputs = [known(tensor) for tensor in before]
            result = func(*given, **more)
            after = list(tensors(result))
            domain, _, name = func._schema.name.partition("::")
            if name in SILENT and before:
                for tensor in after:
                    names[id(tensor)] = inputs[0]
                    alive.append(tensor)
                return result
            if not after:
                return result
            late = [
                written[storage(tensor)][1] for tensor, value in zip(before, inputs, strict=True)
                if storage(tensor) in written and written[storage(tensor)][0] not in (value, seen.get(value))
            ]  # fmt: skip
            op.scope = stack[-1][0]
            outputs = op.node(
                name, inputs, len(after), domain=domain, attributes=settings(func, given, more),
                control_inputs=tuple(dict.fromkeys(late)), known=[typed(tensor) for tensor in after],
            )  # fmt: skip
            made_by = op.nodes[-1].id
            changed = [
                value for argument, value in zip(func._schema.arguments, given, strict=False)
                if argument.alias_info is not None and argument.alias_info.is_write and isinstance(value, torch.Tensor)
            ]  # fmt: skip
            for tensor, value in zip(after, outputs, strict=True):
                names[id(tensor)] = value
                alive.append(tensor)
                if storage(tensor) in written:
                    seen[value] = written[storage(tensor)][0]
            for tensor in changed:
                names[id(tensor)] = outputs[0]
                written[storage(tensor)] = outputs[0], made_by
            return result

        recorder: Any = type("Recorder", (TorchDispatchMode,), {"__torch_dispatch__": noted})
        for place, tensor in enumerate(tensors((args, kwargs))):
            label = f"input_{place}"
            names[id(tensor)] = op.input(label, *typed(tensor))
        with recorder():
            result = module(*args, **kwargs)
        outputs = [known(tensor) for tensor in tensors(_plain(result))]
    made = op.model(list(dict.fromkeys(outputs)))
    text = "its operations are those of one run, not ONNX's: it can be drawn, not run"
    scoped = with_modules(replace(made, problems=()), calls, weights_of(module), settings_of(module))
    return replace(scoped, problems=(text,))


def settings(func: Any, given: Sequence[Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of an operation that are numbers, flags, texts or lists of numbers, by name."""
    named = {argument.name: value for argument, value in zip(func._schema.arguments, given, strict=False)} | dict(more)
    found: dict[str, Any] = {}
    for name, value in named.items():
        items = value if isinstance(value, (list, tuple)) else (value,)
        if not items or not all(isinstance(item, (bool, int, float, str)) for item in items):
            continue
        if len({isinstance(item, float) for item in items}) > 1 or any(
            isinstance(item, int) and abs(item) >> 63 for item in items
        ):
            continue
        found[name] = tuple(items) if isinstance(value, (list, tuple)) else value
    return found


def _plain(result: Any) -> Any:
    """Return a module's result as what holds tensors: transformers' outputs are mappings."""
    return dict(result) if hasattr(result, "keys") else result
