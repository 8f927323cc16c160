"""Live PyTorch modules: through the ONNX exporter, else torch.export, else a run with every operation recorded."""

from __future__ import annotations

import inspect
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from typing import Any

from graphviz_nets.errors import ConfigError, ConvertError, MissingExtra
from graphviz_nets.graph import notes, proto
from graphviz_nets.graph.functions import flat
from graphviz_nets.graph.ir import Model, Node, Tensor

from .pytorch_program import by_export
from .pytorch_record import record
from .pytorch_scopes import Calls, watched, with_modules
from .pytorch_tensors import aliases, settings_of, torch_tensor, weights_of

SCOPES = "pkg.torch.onnx.name_scopes"


def from_module(module: Any, args: Sequence[Any], kwargs: Mapping[str, Any], shapes: Mapping[str, Any]) -> Model:
    """Return a module as a Model.

    Parameters
    ----------
    module : torch.nn.Module
        In the state (training or not) that it is to be drawn in; nothing about it changes. On the meta device its
        structure is drawn.
    args, kwargs
        What its ``forward`` is called with.
    shapes : mapping of str to (dtype, shape)
        Inputs to make instead, by parameter of ``forward`` or by position.

    Raises
    ------
    ConfigError
        When neither arguments nor shapes are given, or they name no parameter.
    ConvertError
        When the module cannot even be run.
    """
    args, kwargs, dynamic = arguments(module, tuple(args), dict(kwargs), shapes)
    problems = []
    with _as_it_was(module):
        for name, route in ROUTES.items():
            try:
                model = route(module, args, kwargs, dynamic)
            except Exception as fault:  # exporters and the module's own code raise anything
                problems.append(f"{name} cannot take this module ({_reason(fault)})")
                continue
            name = type(module).__name__
            graph = replace(model.graph, name=name, doc="")
            found = replace(model, graph=graph, framework="pytorch", problems=(*problems, *model.problems))
            return replace(found, problems=(*found.problems, *_fixed(found, dynamic)))
    raise ConvertError(f"{type(module).__name__} does not run: {problems[-1]}", hint="check its arguments")


def _reason(fault: Exception) -> str:
    """Return the first telling line of an error, without the exporter's report."""
    while fault.__cause__ is not None and isinstance(fault.__cause__, Exception):
        fault = fault.__cause__
    lines = [line.strip() for line in str(fault).splitlines() if line.strip()]
    return f"{type(fault).__name__}: {lines[0] if lines else 'no message'}"[:300]


def _fixed(model: Model, dynamic: Mapping[str, Mapping[int, str]]) -> Iterator[str]:
    """Yield a line for each dimension that was to stay open and did not."""
    open_dims = {dim for name in model.graph.inputs for dim in model.graph.value(name).shape or ()}
    for name, dims in dynamic.items():
        for axis, symbol in dims.items():
            if symbol not in open_dims:
                yield f"dimension {axis} of {name!r} was to be {symbol!r}, but the module fixes its size"


@contextmanager
def _as_it_was(module: Any) -> Iterator[None]:
    """Keep quiet what exporters say, and leave training flags, buffers' values and the fast path as they were."""
    import torch

    modes = [(part, part.training) for part in module.modules()]
    kept = [(buffer, buffer.clone()) for buffer in module.buffers() if module.training and not buffer.is_meta]
    fast = torch.backends.mha.get_fastpath_enabled()
    loud = logging.root.manager.disable
    said = io.StringIO()
    try:
        torch.backends.mha.set_fastpath_enabled(False)  # its one fused operation hides what is inside
        logging.disable(logging.CRITICAL)
        with warnings.catch_warnings(), redirect_stdout(said), redirect_stderr(said), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(loud)
        torch.backends.mha.set_fastpath_enabled(fast)
        for part, training in modes:
            part.training = training
        with torch.no_grad():
            for buffer, value in kept:
                buffer.copy_(value)


def arguments(
    module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], shapes: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], dict[str, dict[int, str]]]:
    """Return arguments for ``forward``, made from shapes where those are given, and open dimensions by parameter."""
    if not shapes:
        if not args and not kwargs and _wanted(module):
            raise ConfigError("the module's inputs are not known", key="--input-shape", hint=_usage(module))
        return args, kwargs, {}
    names = [name for name in inspect.signature(module.forward).parameters if name not in kwargs]
    dynamic: dict[str, dict[int, str]] = {}
    for key, (dtype, shape) in shapes.items():
        name = names[int(key)] if key.isdecimal() and int(key) < len(names) else key
        if name not in names:
            raise ConfigError(f"forward has no parameter {key!r}", key="--input-shape", hint=_usage(module))
        kwargs[name] = _input(module, dtype or "float32", shape)
        open_dims = {axis: str(dim) for axis, dim in enumerate(shape) if not isinstance(dim, int) and dim is not None}
        if open_dims:
            dynamic[name] = open_dims
    placed = []
    for name in names[len(args) :]:
        if name not in kwargs:
            break
        placed.append(kwargs.pop(name))
    return (*args, *placed), kwargs, dynamic


def _wanted(module: Any) -> list[str]:
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(module.forward).parameters.values()
    return [p.name for p in parameters if p.default is p.empty and p.kind not in kinds]


def _usage(module: Any) -> str:
    given = " ".join(f"--input-shape {name}=1,3,224,224" for name in _wanted(module))
    return f"its forward takes {', '.join(inspect.signature(module.forward).parameters)}: {given}"


def _input(module: Any, dtype: str, shape: Sequence[int | str | None]) -> Any:
    """Make an input on the module's device: normal numbers, zeros for integers; an open dimension is 2."""
    import torch

    kind = getattr(torch, dtype, None)
    if not isinstance(kind, torch.dtype):
        raise ConfigError(f"{dtype!r} is no element type", key="--input-shape", hint="float32, int64, bool, ...")
    size = [dim if isinstance(dim, int) else 2 for dim in shape]
    parameter = next(module.parameters(), None)
    device = "cpu" if parameter is None else parameter.device
    if not kind.is_floating_point or device == torch.device("meta"):
        return torch.zeros(size, dtype=kind, device=device)
    return torch.randn(size, generator=torch.Generator().manual_seed(0)).to(device, kind)


# The ONNX exporter ------------------------------------------------------------------------------------------------


def by_onnx(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], dynamic: Mapping[str, Any]) -> Model:
    """Export with ``torch.onnx.export(dynamo=True)``, without its optimiser, which removes modules.

    Weights are taken out before the graph is serialised and stay in the module: a Tensor reads them when asked.
    """
    import torch

    try:
        import onnxscript  # noqa: F401
    except ImportError:
        raise MissingExtra("onnxscript", extra="torch") from None
    names = list(inspect.signature(module.forward).parameters)
    given = [*names[: len(args)], *kwargs]
    open_dims = {name: dict(dynamic.get(name, {})) or None for name in given} if dynamic else None
    with watched(module) as (calls, _):
        program = torch.onnx.export(
            module, args, kwargs=kwargs, dynamo=True, optimize=False, verbose=False, dynamic_shapes=open_dims
        )
        called = dict(calls.modules)
    assert program is not None
    return _placed(module, program, called)


def _placed(module: Any, program: Any, called: Mapping[Any, tuple[str, str]]) -> Model:
    """Return an exported program as a Model, its nodes in the scopes of the module calls they come from."""
    import onnx_ir

    held = program.model.graph.initializers
    tensors = [(value.name, value.const_value) for value in held.values()]
    held.clear()
    model = flat(proto.from_proto(onnx_ir.serde.serialize_model(program.model)), grouped=False)
    calls = Calls()
    # The program's own nodes tell the calls of one module apart, which the metadata in the graph does not.
    paths = {
        node.name: calls.stack([(key, *about) for key, about in node.meta.get("nn_module_stack", {}).items()])
        for node in program.exported_program.graph.nodes
    }
    fx_names = [notes.load(node.metadata[SCOPES].replace("'", '"'))[-1] if SCOPES in node.metadata else ""
                for node in model.graph.nodes]  # fmt: skip
    nodes = [
        replace(node.moved(paths.get(name, ())), name="", metadata={})
        for node, name in zip(model.graph.nodes, fx_names, strict=True)
    ]
    for path, about in called.items():
        calls.modules.setdefault(path, about)
    alias = aliases(module)
    initializers = {}
    parameters, buffers = dict(module.named_parameters()), dict(module.named_buffers())
    for name, content in tensors:
        own = alias.get(name, name)
        known = parameters.get(own, buffers.get(own, getattr(content, "raw", content)))
        role = "parameter" if own in parameters else "buffer" if own in buffers else "constant"
        initializers[own] = torch_tensor(own, known, role)
    for name in [name for name in parameters if name not in initializers]:  # those that this run does not use
        initializers[name] = torch_tensor(name, parameters[name], "parameter")
    # The exporter shares constants between modules; as nodes they would stand in the first that uses them.
    numbers = {tensor.name: tensor for node in nodes if (tensor := _constant(node)) is not None}
    initializers |= {name: tensor for name, tensor in numbers.items() if name not in model.graph.outputs}
    nodes = [node for node in nodes if node.op_type != "Constant" or node.outputs[0] not in initializers]
    renamed = [replace(n, inputs=tuple(alias.get(i, i) for i in n.inputs)) for n in nodes]
    graph = replace(model.graph, nodes=tuple(renamed), initializers={**model.graph.initializers, **initializers})
    return with_modules(model.with_graph(graph), calls, weights_of(module), settings_of(module))


_NUMBERS: Mapping[str, str] = {
    "value_int": "int64", "value_ints": "int64", "value_float": "float32", "value_floats": "float32",
}  # fmt: skip


def _constant(node: Node) -> Tensor | None:
    """Return what a Constant node makes as a tensor, None for other nodes and for texts."""
    if node.op_type != "Constant" or node.domain:
        return None
    ((key, value),) = node.attributes.items()
    if isinstance(value, Tensor):
        return replace(value, name=node.outputs[0], role="constant")
    if key not in _NUMBERS:
        return None
    many = isinstance(value, tuple)
    return Tensor.of(node.outputs[0], _NUMBERS[key], value if many else (value,), None if many else ())


ROUTES: Mapping[str, Callable[..., Model]] = {
    "torch.onnx.export": by_onnx,
    "torch.export": by_export,
    "a recorded run": record,
}
"""Ways to take a module apart, the best first."""
