"""Programs of ``torch.export``: the JSON inside a ``.pt2`` archive to the IR, without PyTorch."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from graphviz_nets.errors import LimitError, ParseError
from graphviz_nets.graph.builder import Builder
from graphviz_nets.graph.decode import NODES
from graphviz_nets.graph.ir import Graph, Model, Shape, Tensor

from .pytorch_archive import Archive, tensors
from .pytorch_pickle import Storage, Stored
from .pytorch_scopes import Calls, with_modules

DTYPES: Mapping[int, str] = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64",
    10: "complex64", 11: "complex128", 12: "bool", 13: "bfloat16", 28: "uint16", 29: "float8e4m3fn",
    30: "float8e5m2", 31: "float8e4m3fnuz", 32: "float8e5m2fnuz",
}  # fmt: skip
"""Element types by their number in torch's export schema."""
_SYMBOL = re.compile(r"Symbol\('(\w+)'[^()]*\)")
DEPTH = 24
"""Graphs inside graphs."""
STRUCTURE = "its operations are PyTorch's (aten), not ONNX's: it can be drawn, not run"


def is_program(archive: Archive) -> bool:
    """Say whether an archive holds a program."""
    return any(name in archive.members for name in ("models/model.json", "serialized_exported_program.json"))


def by_export(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], dynamic: Mapping[str, Any]) -> Model:
    """Export a live module with ``torch.export`` (non-strict, then strict), and read what that saves."""
    import torch

    dims = {name: dict.fromkeys(axes, torch.export.Dim.AUTO) for name, axes in dynamic.items()}
    shapes = tuple(dims.get(name) for name in _names(module, args, kwargs)) if dims and not kwargs else None
    try:
        program = torch.export.export(module, args, kwargs, dynamic_shapes=shapes, strict=False)
    except Exception:  # what the one way cannot trace the other may
        program = torch.export.export(module, args, kwargs, dynamic_shapes=shapes, strict=True)
    file = io.BytesIO()
    torch.export.save(program, file)
    return read_program(Archive.of(Path("module.pt2"), file.getvalue()))


def _names(module: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[str]:
    import inspect

    return list(inspect.signature(module.forward).parameters)[: len(args)] + list(kwargs)


def read_program(archive: Archive) -> Model:
    """Return the program of an archive as a Model: nodes in the domain ``aten``, weights read when asked.

    Raises
    ------
    ParseError
        When the JSON is broken or not of the schema.
    """
    new = "models/model.json" in archive.members
    text = archive.read("models/model.json" if new else "serialized_exported_program.json")
    try:
        whole = json.loads(text)
        module = whole["graph_module"]
        weights = dict(_weights(archive) if new else _older_weights(archive))
        return _Program(archive.path, module, weights).model(Path(archive.path).stem)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as fault:
        raise ParseError(f"the program is broken: {type(fault).__name__} {fault}", path=archive.path) from None


def _weights(archive: Archive) -> Iterator[tuple[str, Tensor]]:
    for kind in ("weights", "constants"):
        listed = f"data/{kind}/model_{kind}_config.json"
        if listed not in archive.members:
            continue
        for name, entry in json.loads(archive.read(listed))["config"].items():
            about = entry.get("tensor_meta")
            if not about:
                continue
            role = "parameter" if entry.get("is_param") else "buffer" if kind == "weights" else "constant"
            size, stride = (tuple(item["as_int"] for item in about[key]) for key in ("sizes", "strides"))
            storage = Storage(str(entry["path_name"]), DTYPES[about["dtype"]])
            stored = Stored(storage, about["storage_offset"]["as_int"], size, stride)
            if entry.get("use_pickle"):
                yield name, Tensor(name, storage.dtype, stored.size, None, role)
            else:
                yield name, archive.tensor(name, stored, role, f"data/{kind}")


def _older_weights(archive: Archive) -> Iterator[tuple[str, Tensor]]:
    for member, role in (("serialized_state_dict.pt", None), ("serialized_constants.pt", "constant")):
        if member in archive.members:
            inner = Archive.of(Path(archive.path), archive.read(member, 2 << 30))
            for name, stored in tensors(inner.pickle("data.pkl")):
                yield name, inner.tensor(name, stored, role or ("parameter" if stored.parameter else "buffer"))


class _Program:
    """Turns the JSON of one program into a graph."""

    def __init__(self, path: str, module: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
        self.path, self.module, self.weights = path, module, weights
        self.calls = Calls()
        self.count = 0
        self.bound: dict[str, str] = {}  # a graph input that is a weight, to the weight's name
        self.roles: dict[str, str] = {}

    def model(self, name: str) -> Model:
        for spec in self.module["signature"]["input_specs"]:
            for kind, key in (("parameter", "parameter_name"), ("buffer", "buffer_name"),
                              ("tensor_constant", "tensor_constant_name")):  # fmt: skip
                if kind in spec:
                    self.bound[spec[kind]["arg"]["name"]] = spec[kind][key]
                    self.roles[spec[kind][key]] = "constant" if kind == "tensor_constant" else kind
        op = Builder(name)
        types = self.module["graph"]["tensor_values"]
        for given, target in self.bound.items():
            found = self.weights.get(target)
            dtype, shape = _type(types[given])
            tensor = found or Tensor(target, dtype or "float32", shape or ())
            op.initializers[target] = replace(tensor, role=self.roles[target])
        for name_, found in self.weights.items():
            op.initializers.setdefault(name_, found)
        outputs = self.fill(op, self.module["graph"], dict(self.bound), 0)
        made = replace(op.model(outputs), framework="pytorch", problems=(STRUCTURE,))
        below: dict[str, list[str]] = {}
        for weight in op.initializers:
            parts = weight.split(".")
            for size in range(len(parts)):
                below.setdefault(".".join(parts[:size]), []).append(weight)
        return with_modules(made, self.calls, below)

    def fill(self, op: Builder, graph: Mapping[str, Any], names: dict[str, str], depth: int) -> list[str]:
        """Append a graph's nodes; return its outputs."""
        if depth > DEPTH:
            raise LimitError("the depth of nested graphs", DEPTH)
        types = graph["tensor_values"]
        for item in graph["inputs"]:
            for given in _values(item):
                if given not in names:
                    names[given] = op.input(given, *_type(types.get(given)))
        for node in graph["nodes"]:
            self.count += 1
            if self.count > NODES:
                raise LimitError("the number of nodes", NODES)
            self.node(op, node, names, types, depth)
        return list(dict.fromkeys(names[value] for item in graph["outputs"] for value in _values(item)))

    def node(self, op: Builder, node: Mapping[str, Any], names: dict[str, str], types: Any, depth: int) -> None:
        domain, op_type = _operation(node["target"])
        inputs: list[str] = []
        attributes: dict[str, Any] = {}
        for item in node["inputs"]:
            argument = item["arg"]
            values = list(_values(argument))
            if "as_graph" in argument:
                inner = Builder(argument["as_graph"]["name"])
                results = self.fill(inner, argument["as_graph"]["graph"], {}, depth + 1)
                whole: Graph = inner.graph(results)
                attributes[item["name"] or argument["as_graph"]["name"]] = whole
            elif values:
                inputs += [names.get(value, value) for value in values]
            else:
                value = _plain(argument)
                if value is not None and item["name"]:
                    attributes[item["name"]] = value
        made = [value for item in node["outputs"] for value in _values(item)]
        op.scope = self.calls.stack(_stack(node["metadata"].get("nn_module_stack", "")))
        outputs = [op.fresh(value) for value in made]
        op.node(op_type, inputs, outputs, domain=domain, name=node.get("name") or (made or [op_type])[0],
                attributes=attributes, known=[_type(types.get(value)) for value in made])  # fmt: skip
        names.update(zip(made, outputs, strict=True))


def _stack(text: str) -> list[tuple[object, str, str]]:
    """Read ``key,name,class;...``; older writers put more behind."""
    parts = [part.split(",") for part in text.split(";") if part]
    return [(part[0], part[1], part[2]) for part in parts if len(part) >= 3]


def _operation(target: str) -> tuple[str, str]:
    """Return domain and name of ``torch.ops.aten.conv2d.default`` or ``_operator.mul``.

    Examples
    --------
    >>> _operation("torch.ops.aten.add.Tensor"), _operation("_operator.getitem")
    (('aten', 'add'), ('prim', 'getitem'))
    """
    parts = target.split(".")
    if target.startswith("torch.ops.") and len(parts) > 3:
        return parts[2], parts[3]
    return "prim", parts[-1]


def _values(argument: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of the values in an argument."""
    kind: str
    content: Any
    ((kind, content),) = argument.items()
    if kind == "as_tensor":
        yield content["name"]
    elif kind in ("as_tensors", "as_optional_tensors"):
        for item in content:
            inner = item.get("as_tensor", item)
            if isinstance(inner, dict) and "name" in inner:
                yield inner["name"]
    elif kind in ("as_sym_int", "as_sym_float", "as_sym_bool"):
        if "as_name" in content:
            yield content["as_name"]
    elif kind == "as_sym_ints":
        for item in content:
            if "as_name" in item:
                yield item["as_name"]
    elif kind == "as_optional_tensor" and "as_tensor" in content:
        yield content["as_tensor"]["name"]


PLAIN = ("as_int", "as_ints", "as_float", "as_floats", "as_bool", "as_bools", "as_string", "as_strings")


def _plain(argument: Mapping[str, Any]) -> Any:
    """Return an argument that is a number, a text or a list of these."""
    for kind in PLAIN:
        if kind in argument:
            value = argument[kind]
            items = value if isinstance(value, list) else [value]
            if any(isinstance(item, int) and abs(item) >> 63 for item in items) or value == []:
                return None
            return value
    return None


def _type(about: Mapping[str, Any] | None) -> tuple[str | None, Shape | None]:
    if not about:
        return None, None
    dims: list[int | str | None] = []
    for item in about["sizes"]:
        number = item.get("as_int")
        expression = item.get("as_expr", {}).get("expr_str")
        dims.append(number if isinstance(number, int) else _SYMBOL.sub(r"\1", expression) if expression else None)
    return DTYPES.get(about["dtype"]), tuple(dims)
