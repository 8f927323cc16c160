"""The IR as ONNX: to and from ModelProto, files and bytes, losslessly.

``from_proto(to_proto(model)) == model``, and ``onnx.checker`` accepts what is written (as long as ONNX's own operations
are used as ONNX defines them). What ONNX has no place for stands in metadata, under keys that begin with ``gvn.``:

================== ======================================================================================
model              ``gvn.ir`` (marks our files), ``gvn.framework``, ``gvn.scopes``, ``gvn.problems``
graph              ``gvn.back_edges``; ``gvn.inputs``, ``gvn.outputs`` where ONNX's own lists cannot say it
node               ``gvn.id``, ``gvn.scope``, ``gvn.control``; ``gvn.inputs``, ``gvn.outputs`` as for graphs
graph input        ``gvn.absent`` (a tensor without data), ``gvn.undefined``, ``gvn.cut`` (a back edge)
value, tensor      ``gvn.name`` where a name had to change, ``gvn.role``, ``gvn.dtype``, ``gvn.container``
function body      ``gvn.input``, ``gvn.output``, ``gvn.initializer`` mark what FunctionProto has no field for
================== ======================================================================================

The checker wants a type for every input of the main graph; where it is not known the input gets an opaque one
(``gvn.unknown``), and what is known stands in ``value_info``.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path as File
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from graphviz_nets.errors import ConvertError, GraphError, LimitError, ParseError
from graphviz_nets.graph.external import Beside
from graphviz_nets.graph.ir import (
    ITEM_BITS,
    NOTHING,
    ONNX_DOMAINS,
    Function,
    Graph,
    Model,
    Node,
    Ref,
    Shape,
    Tensor,
    Value,
)
from graphviz_nets.graph.scopes import Path, Scope

if TYPE_CHECKING:
    import onnx

IR_VERSION = 10
"""The first that has metadata on nodes and types in functions; newer ones are refused by runtimes in use."""
LARGEST = (2 << 30) - 1
"""Bytes of a file that protobuf can read."""
EMBED = 1_900_000_000
"""Bytes of weights from which on they are written to a file of their own."""
NODES = 1_000_000
"""Nodes of a model that are read."""
DEPTH = 24
"""Graphs inside graphs; protobuf stops at 100 messages inside each other, and a graph in a graph takes three."""
CONTAINERS = 8
"""Sequences of optionals of sequences, and so on."""
LAZY = 1 << 20
"""Bytes of a tensor from which on its data are copied out of the file only when asked for."""

_CODES: Mapping[str, int] = {
    name: code for code, name in enumerate(
        "float32 uint8 int8 uint16 int16 int32 int64 string bool float16 float64 uint32 uint64 complex64 complex128 "
        "bfloat16 float8e4m3fn float8e4m3fnuz float8e5m2 float8e5m2fnuz uint4 int4 float4e2m1 float8e8m0 uint2 int2 "
        "float6e2m3 float6e3m2".split(), 1,
    )
}  # fmt: skip
_DTYPES: Mapping[int, str] = {code: name for name, code in _CODES.items()}
_KINDS: Mapping[str, int] = {
    "FLOAT": 1, "INT": 2, "STRING": 3, "TENSOR": 4, "GRAPH": 5, "SPARSE_TENSOR": 11, "TYPE_PROTO": 13,
    "FLOATS": 6, "INTS": 7, "STRINGS": 8, "TENSORS": 9, "GRAPHS": 10, "SPARSE_TENSORS": 12, "TYPE_PROTOS": 14,
}  # fmt: skip
_KIND_NAMES: Mapping[int, str] = {number: name for name, number in _KINDS.items()}
_FIELDS: Mapping[str, str] = {
    "FLOAT": "f", "INT": "i", "STRING": "s", "TENSOR": "t", "GRAPH": "g", "SPARSE_TENSOR": "sparse_tensor",
    "TYPE_PROTO": "tp", "FLOATS": "floats", "INTS": "ints", "STRINGS": "strings", "TENSORS": "tensors",
    "GRAPHS": "graphs", "SPARSE_TENSORS": "sparse_tensors", "TYPE_PROTOS": "type_protos",
}  # fmt: skip
_OWN = frozenset(
    f"gvn.{key}" for key in (
        "absent attributes back_edges container control cut domain dtype framework function id implied initializer "
        "input inputs ir name op_type opset_imports output outputs overload problems role scope scopes sparse undefined"
    ).split()
)  # fmt: skip
_ESCAPE = "gvn.="
_UNKNOWN = ("", "?", "-1", "None")


# Metadata and JSON ------------------------------------------------------------------------------------------------


def _dump(data: Any) -> str:
    return json.dumps(data, separators=(",", ":"), default=dict)


def _load(text: str) -> Any:
    constants = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
    return json.loads(text, parse_constant=constants.__getitem__)


def _wrong(what: str) -> NoReturn:
    raise ValueError(f"the metadata {what}")


def _strings(data: Any) -> tuple[str, ...]:
    if not isinstance(data, list) or not all(isinstance(item, str) for item in data):
        _wrong("should list strings")
    return tuple(data)


def _dims(data: Any) -> Shape:
    if not isinstance(data, list) or not all(dim is None or isinstance(dim, (int, str)) for dim in data):
        _wrong("should be a shape")
    return tuple(data)


def _texts(data: Any) -> dict[str, str]:
    if not isinstance(data, dict) or not all(isinstance(text, str) for text in data.values()):
        _wrong("should map strings to strings")
    return data


def _put(props: Any, own: Mapping[str, str], given: Mapping[str, str] = NOTHING) -> None:
    """Append our own entries and the object's, whose keys are escaped where they look like ours."""
    for key, text in own.items():
        props.add(key=key, value=text)
    for key, text in given.items():
        props.add(key=_ESCAPE + key if key in _OWN or key.startswith(_ESCAPE) else key, value=text)


def _take(props: Iterable[Any]) -> tuple[dict[str, str], dict[str, str]]:
    """Return our own entries and the object's."""
    return _split({entry.key: entry.value for entry in props})


def _split(entries: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    own: dict[str, str] = {}
    given: dict[str, str] = {}
    for key, text in entries.items():
        if key in _OWN:
            own[key] = text
        else:
            given[key.removeprefix(_ESCAPE)] = text
    return own, given


def _exact(own: dict[str, str], key: str, wanted: Sequence[str], written: Sequence[str]) -> None:
    """Note the names that the IR has where ONNX had to be given others."""
    if list(wanted) != list(written):
        own[key] = _dump(list(wanted))


# Writing ----------------------------------------------------------------------------------------------------------


def to_proto(model: Model, *, strict: bool = True) -> onnx.ModelProto:
    """Return the model as a ModelProto (IR version 10).

    Parameters
    ----------
    model : Model
        Any model, runnable or not.
    strict : bool
        Write what ``onnx.checker`` accepts: inputs of unknown type get a stand-in, outputs of unknown type are only
        named in metadata. False writes both as they are, which runtimes and shape inference can use.

    Raises
    ------
    GraphError
        When the model holds what protobuf cannot: integers over 64 bits, names with lone surrogates.
    LimitError
        When graphs are nested deeper than `DEPTH`.

    Examples
    --------
    >>> graph = Graph("net", (Node("Relu", ("x",), ("y",)),), ("x",), ("y",), {"x": Value("x", "float32", (1, "n"))})
    >>> proto = to_proto(Model(graph))
    >>> proto.graph.input[0].type.tensor_type.shape.dim[1].dim_param
    'n'
    >>> from_proto(proto) == Model(graph)
    True
    """
    return _Writer(model, strict).model()


class _Names:
    """The names that are visible while a graph is written: IR names to ONNX names, outer graphs behind."""

    def __init__(self, graph: Graph, outer: _Names | None) -> None:
        self.outer = outer
        self.visible: dict[str, str] = {}
        self.taken: set[str] = set()
        self.depth: int = outer.depth + 1 if outer is not None else 0
        self._graph = graph
        self._reserved: set[str] | None = None
        self._next: dict[str, int] = {}

    def find(self, name: str) -> str | None:
        names: _Names | None = self
        while names is not None:
            found = names.visible.get(name)
            if found is not None:
                return found
            names = names.outer
        return None

    def clashes(self, name: str) -> bool:
        names: _Names | None = self
        while names is not None:
            if name in names.taken:
                return True
            names = names.outer
        return False

    def fresh(self, base: str) -> str:
        """Return a name that no value of this or an outer graph has, and take it."""
        if self._reserved is None:
            graph = self._graph
            self._reserved = {*graph.producers, *graph.inputs, *graph.initializers, *graph.undefined}
        name = base
        while name in self._reserved or self.clashes(name):
            self._next[base] = self._next.get(base, 1) + 1
            name = f"{base}:{self._next[base]}"
        self.taken.add(name)
        return name


class _Writer:
    def __init__(self, model: Model, strict: bool, sink: Callable[[Any, bytes], bool] | None = None) -> None:
        self.source = model
        self.strict = strict
        self.sink = sink
        self.opset = model.opset_imports.get("", model.opset_imports.get("ai.onnx", 18))
        self.domains: set[str] = set()
        self.paths: dict[Path, str] = {}

    def model(self) -> onnx.ModelProto:
        import onnx

        source = self.source
        proto = onnx.ModelProto(ir_version=IR_VERSION, producer_name="graphviz_nets", doc_string=source.doc)
        own = {"gvn.ir": "1", "gvn.framework": source.framework}
        if source.scopes:
            own["gvn.scopes"] = _dump([_scope(scope) for scope in source.scopes.values()])
        if source.problems:
            own["gvn.problems"] = _dump(source.problems)
        try:
            self.graph(source.graph, proto.graph, None, self.strict)
            main = self.domains | {function.domain for function in source.functions} | {""}
            self.imports(proto.opset_import, source.opset_imports, main, own)
            taken: set[tuple[str, str, str]] = set()
            for function in source.functions:
                self.function(function, proto.functions.add(), taken)
            _put(proto.metadata_props, own, source.metadata)
        except (ValueError, TypeError, KeyError) as fault:  # protobuf's: too large a number, no UTF-8, no such type
            raise GraphError(f"cannot be written as ONNX: {fault}") from None
        except RecursionError:
            raise LimitError("the depth of nested parameters", "Python's recursion") from None
        return proto

    def imports(self, out: Any, given: Mapping[str, int], domains: Iterable[str], own: dict[str, str]) -> None:
        """Write the opset versions, and 1 for every other domain that is used."""
        written = dict(given)
        for domain in sorted(domains):
            if domain or "ai.onnx" not in written:
                written.setdefault(domain, 1 if domain else self.opset)
        if written != given:
            own["gvn.opset_imports"] = _dump(dict(given))
        for domain, version in written.items():
            out.add(domain=domain, version=version)

    def function(self, source: Function, out: Any, taken: set[tuple[str, str, str]]) -> None:
        """Write a function: its body as a graph first, then moved into the fields that FunctionProto has."""
        import onnx

        body, own = onnx.GraphProto(), {}
        self.domains, opset = {""}, self.opset
        self.opset = source.opset_imports.get("", opset)
        self.graph(source.body, body, None, False)
        overload, number = source.overload, 1
        while (source.domain, source.name, overload) in taken:
            number += 1
            overload = f"{source.overload}:{number}"
        taken.add((source.domain, source.name, overload))
        if overload != source.overload:
            own["gvn.overload"] = source.overload
        out.name, out.domain, out.overload, out.doc_string = source.name or "unnamed", source.domain, overload, ""
        if out.name != source.name:
            own["gvn.function"] = source.name
        names = [name for name in dict.fromkeys(source.attributes) if name not in source.defaults]
        out.attribute.extend(names)
        _exact(own, "gvn.attributes", source.attributes, names)
        for key, value in source.defaults.items():
            self.attribute(out.attribute_proto.add(), key, value, "", None)
        self.imports(out.opset_import, source.opset_imports, self.domains, own)
        self.opset = opset
        if body.name != source.name:
            own["gvn.name"] = _take(body.metadata_props)[0].get("gvn.name", body.name)
        _lower(body, out)
        for key, text in own.items():
            out.metadata_props.add(key=key, value=text)

    def graph(self, source: Graph, out: Any, outer: _Names | None, typed: bool) -> None:
        """Write a graph; where `typed`, every input and output needs a type that the checker accepts."""
        names = _Names(source, outer)
        if names.depth > DEPTH:
            raise LimitError("the depth of nested graphs", DEPTH)
        own: dict[str, str] = {}
        out.name, out.doc_string = source.name or "unnamed", source.doc
        if out.name != source.name:
            own["gvn.name"] = source.name
        if source.back_edges:
            own["gvn.back_edges"] = _dump(source.back_edges)
        done = self.inputs(source, out, names, typed)
        plan = self.plan(source, out, names, typed)
        for node, (inputs, outputs) in zip(source.nodes, plan, strict=True):
            self.node(node, out.node.add(), inputs, outputs, names)
            names.visible.update(zip(node.outputs, outputs, strict=False) if node.outputs else ())
        written = []
        for name in dict.fromkeys(source.outputs):
            label, value = names.visible.get(name, ""), source.value(name)
            if label in names.taken and (not typed or _complete(value)):
                written.append(name)
                if self.info(out.output.add(), label, name, value, name in source.values, typed):
                    done.add(name)
        real = [_name(info) for info in out.input if not _marked(info)]
        _exact(own, "gvn.inputs", source.inputs, real)
        _exact(own, "gvn.outputs", source.outputs, written)
        for name, value in source.values.items():
            if name not in done:
                self.info(out.value_info.add(), names.visible.get(name, name), name, value, True, False)
        _put(out.metadata_props, own, source.metadata)

    def inputs(self, source: Graph, out: Any, names: _Names, typed: bool) -> set[str]:
        """Write inputs and tensors; return the names whose Value is written with them."""
        done: set[str] = set()
        for name in dict.fromkeys(source.inputs):
            tensor = source.initializers.get(name)
            if name and not (tensor is not None and tensor.data is None):
                names.visible[name] = name
                names.taken.add(name)
                value = source.value(name)
                if self.info(out.input.add(), name, name, value, name in source.values, typed):
                    done.add(name)
        for name, tensor in source.initializers.items():
            label = name or names.fresh("gvn.unnamed")
            if name:
                names.visible[name] = label
                names.taken.add(label)
            if tensor.data is None:
                info = out.input.add(name=label)
                own = {"gvn.absent": "1", **self.type(info.type, Value(name, tensor.dtype, tensor.shape))}
                if tensor.dtype not in _CODES:
                    _stand_in(info.type)
                    own["gvn.absent"] = _dump(tensor.shape)
            else:
                info = out.initializer.add()
                own = {}
                self.tensor(info, tensor)
                info.name = label
            if label != tensor.name:
                own["gvn.name"] = tensor.name
            if tensor.role is not None:
                own["gvn.role"] = tensor.role
            _put(info.metadata_props, own, tensor.metadata)
        return done

    def plan(self, source: Graph, out: Any, names: _Names, typed: bool) -> list[tuple[list[str], list[str]]]:
        """Choose the ONNX names of all inputs and outputs, so that each is made once, and before it is used."""
        cut, cuts = set(source.back_edges), dict[str, str]()
        makers, visible = source.producers, dict(names.visible)
        result = []

        def extra(label: str, name: str, mark: str) -> None:
            names.taken.add(label)
            info = out.input.add(name=label)
            value = source.value(name)
            own = {mark: "1", **self.type(info.type, value)}
            if typed and not _complete(value):
                _stand_in(info.type)
            _put(info.metadata_props, own)

        for node in source.nodes:
            inputs = []
            for index, name in enumerate(node.inputs):
                label: str | None = name
                if name and cut and (node.id, index) in cut:
                    label = None
                elif name:
                    label = visible.get(name)
                    if label is None and names.outer is not None:
                        label = names.outer.find(name)
                    if label is None and name not in makers:
                        label = visible[name] = names.visible[name] = name
                        extra(label, name, "gvn.undefined")
                if label is None:
                    label = cuts.get(name)
                    if label is None:
                        label = cuts[name] = names.fresh(f"gvn.cut/{name}")
                        extra(label, name, "gvn.cut")
                inputs.append(label)
            outputs = []
            for name in node.outputs:
                label = name
                if name:
                    label = names.fresh(f"gvn.again/{name}") if names.clashes(name) else name
                    names.taken.add(label)
                    visible[name] = label
                outputs.append(label)
            if not inputs and not outputs:
                outputs.append(names.fresh(f"gvn.done/{node.id}"))
            result.append((inputs, outputs))
        return result

    def node(self, source: Node, out: Any, inputs: list[str], outputs: list[str], names: _Names) -> None:
        own: dict[str, str] = {}
        out.input.extend(inputs)
        out.output.extend(outputs)
        out.op_type = source.op_type or "unnamed"
        domain = "" if source.domain == "ai.onnx" else source.domain
        if domain:
            out.domain = domain
            self.domains.add(domain)
        if source.name:
            out.name = source.name
        if source.overload:
            out.overload = source.overload
        if source.doc:
            out.doc_string = source.doc
        if source.id != source.name:
            own["gvn.id"] = source.id
        if source.scope:
            own["gvn.scope"] = self.paths.get(source.scope) or self.paths.setdefault(source.scope, _dump(source.scope))
        if source.control_inputs:
            own["gvn.control"] = _dump(source.control_inputs)
        if domain != source.domain:
            own["gvn.domain"] = source.domain
        if not source.op_type:
            own["gvn.op_type"] = ""
        _exact(own, "gvn.inputs", source.inputs, inputs)
        _exact(own, "gvn.outputs", source.outputs, outputs)
        if source.attributes:
            kinds = _kinds(source.op_type, domain, self.opset) if domain in ONNX_DOMAINS else NOTHING
            for key, value in source.attributes.items():
                self.attribute(out.attribute.add(), key, value, kinds.get(key, ""), names)
        if own or source.metadata:
            _put(out.metadata_props, own, source.metadata)

    def attribute(self, out: Any, key: str, value: Any, wanted: str, names: _Names | None) -> None:
        """Write an attribute; `wanted` is the kind that the operation asks for, where it is known."""
        out.name = key
        if isinstance(value, Ref):
            out.ref_attr_name, out.type = value.name, _KINDS[value.kind]
            return
        many = isinstance(value, tuple)
        items: tuple[Any, ...] = value if many else (value,)
        kind = _kind(items, wanted)
        out.type = _KINDS[kind + "S"] if many else _KINDS[kind]
        field = _FIELDS[kind + "S"] if many else _FIELDS[kind]
        notes: dict[str, Any] = {}
        about: list[list[Any]] = []
        if kind in ("INT", "FLOAT"):
            if many:
                getattr(out, field).extend(items)
            else:
                setattr(out, field, value)
        elif kind == "STRING":
            texts = [item.encode() if isinstance(item, str) else item for item in items]
            if any(isinstance(item, bytes) for item in items) and _text(texts) is not None:
                notes["bytes"] = True
            if many:
                out.strings.extend(texts)
            else:
                out.s = texts[0]
        else:
            for item in items:
                target = getattr(out, field).add() if many else getattr(out, field)
                target.SetInParent()
                if kind == "GRAPH":
                    self.graph(item, target, names, False)
                elif kind == "TENSOR":
                    self.constant(target, item)
                else:
                    about.append([item.name, self.type(target, item), item.metadata])
            if any(name or own or given for name, own, given in about):
                notes["values"] = about
        if notes:
            out.doc_string = f"gvn:{_dump(notes)}"

    def constant(self, out: Any, tensor: Tensor) -> None:
        """Write a tensor that stands in an attribute, where one without data has no elements and says its shape."""
        if tensor.data is None:
            own = {"gvn.absent": _dump(tensor.shape)}
            out.data_type = _CODES[tensor.dtype]
            out.dims.append(0)
        else:
            own = {}
            self.tensor(out, tensor)
        if tensor.name:
            out.name = tensor.name
        if tensor.role is not None:
            own["gvn.role"] = tensor.role
        _put(out.metadata_props, own, tensor.metadata)

    def tensor(self, out: Any, tensor: Tensor) -> None:
        out.data_type = _CODES[tensor.dtype]
        out.dims.extend(tensor.shape)
        data = tensor.bytes()
        if tensor.dtype == "string":
            out.string_data.extend(data)
        elif self.sink is None or not self.sink(out, data):
            out.raw_data = data

    def info(self, out: Any, label: str, name: str, value: Value, listed: bool, typed: bool) -> bool:
        """Write a ValueInfoProto; say whether it tells all that the graph's values say of the name."""
        out.name = label
        own = {} if label == name else {"gvn.name": name}
        whole = listed
        if typed and not _complete(value):
            _stand_in(out.type)
            listed, whole = False, False
        else:
            own |= self.type(out.type, value)
            whole = listed and bool(out.HasField("type") or own or value.metadata)
            if not listed and out.HasField("type"):
                own["gvn.implied"] = "1"
        if own or (listed and value.metadata):
            _put(out.metadata_props, own, value.metadata if listed else NOTHING)
        return whole

    def type(self, out: Any, value: Value) -> dict[str, str]:
        """Write a TypeProto, nothing for a value of which nothing is known; return what it cannot say."""
        own: dict[str, str] = {}
        if value.dtype is None and value.shape is None and not value.container:
            return own
        container = value.container
        if not _plain(container):
            own["gvn.container"] = _dump(container)
            container = ()
        for part in container:
            if part == "sequence":
                out = out.sequence_type.elem_type
            elif part == "optional":
                out = out.optional_type.elem_type
            elif part != "sparse":
                out.map_type.key_type = _CODES[part.removeprefix("map:")]
                out = out.map_type.value_type
        out = out.sparse_tensor_type if container[-1:] == ("sparse",) else out.tensor_type
        out.SetInParent()
        if value.dtype is not None and value.dtype in _CODES:
            out.elem_type = _CODES[value.dtype]
        elif value.dtype is not None:
            own["gvn.dtype"] = value.dtype
        if value.shape is not None:
            out.shape.SetInParent()
            for dim in value.shape:
                added = out.shape.dim.add()
                if isinstance(dim, str):
                    added.dim_param = dim
                elif dim is not None:
                    added.dim_value = dim
        return own


def _plain(container: tuple[str, ...]) -> bool:
    """Say whether ONNX has a type for it."""
    if len(container) > CONTAINERS or "sparse" in container[:-1]:
        return False
    return all(
        part in ("sequence", "optional", "sparse") or (part[:4] == "map:" and part[4:] in _CODES) for part in container
    )


def _complete(value: Value) -> bool:
    """Say whether the checker accepts the value's type for an input or output of the main graph."""
    if value.dtype not in _CODES or not _plain(value.container):
        return False
    return value.shape is not None or value.container[:1] not in ((), ("sparse",))


def _stand_in(out: Any) -> None:
    out.opaque_type.domain, out.opaque_type.name = "gvn", "unknown"


def _marked(info: Any) -> bool:
    return any(entry.key in ("gvn.absent", "gvn.cut", "gvn.undefined") for entry in info.metadata_props)


def _name(info: Any) -> str:
    return next((str(entry.value) for entry in info.metadata_props if entry.key == "gvn.name"), str(info.name))


def _text(texts: Iterable[bytes]) -> tuple[str, ...] | None:
    try:
        return tuple(text.decode() for text in texts)
    except UnicodeDecodeError:
        return None


def _kind(items: tuple[Any, ...], wanted: str) -> str:
    """Return the kind of an attribute's items; whole numbers become floats where the operation wants those."""
    if not items:
        return wanted[:-1] if wanted.endswith("S") else "INT"
    if all(isinstance(item, int) for item in items):
        exact = all(abs(item) <= 1 << 24 for item in items)
        return "FLOAT" if exact and wanted in ("FLOAT", "FLOATS") else "INT"
    for kind, types in (
        ("FLOAT", (int, float)), ("STRING", (str, bytes)), ("TENSOR", Tensor), ("GRAPH", Graph), ("TYPE_PROTO", Value),
    ):  # fmt: skip
        if all(isinstance(item, types) for item in items):
            return kind
    raise TypeError(f"an attribute cannot hold {type(items[0]).__name__}")


@lru_cache(maxsize=4096)
def _kinds(op_type: str, domain: str, opset: int) -> Mapping[str, str]:
    """Return the kinds of attributes that ONNX declares for an operation."""
    from onnx import defs

    try:
        schema = defs.get_schema(op_type, opset if not domain else defs.onnx_opset_version(), domain)
    except (defs.SchemaError, TypeError):
        return NOTHING
    declared: Mapping[str, Any] = schema.attributes
    return {name: str(attribute.type.name) for name, attribute in declared.items()}


def _scope(scope: Scope) -> dict[str, Any]:
    """Return a scope as JSON, without what is as by default."""
    plain: dict[str, Any] = {"path": scope.path, "kind": scope.kind}
    if scope.name != scope.id:
        plain["name"] = scope.name
    for key in ("type", "parameters", "inputs", "outputs", "weights", "file", "line"):
        if value := getattr(scope, key):
            plain[key] = value
    return plain


def _lower(body: Any, out: Any) -> None:
    """Move a graph into a FunctionProto, which has no tensors and no types of inputs and outputs."""
    inputs = {info.name for info in body.input}
    for tensor in body.initializer:
        label = f"gvn.initializer/{tensor.name}" if tensor.name in inputs else tensor.name
        node = out.node.add(op_type="Constant", output=[label])
        node.attribute.add(name="value", type=_KINDS["TENSOR"]).t.CopyFrom(tensor)
        node.metadata_props.add(key="gvn.initializer", value="1")
    out.node.extend(body.node)
    out.doc_string = body.doc_string
    for role in ("input", "output"):
        for info in getattr(body, role):
            getattr(out, role).append(info.name)
            if info.HasField("type") or info.metadata_props:
                added = out.value_info.add()
                added.CopyFrom(info)
                added.metadata_props.add(key=f"gvn.{role}", value="1")
    out.value_info.extend(body.value_info)
    out.metadata_props.extend(entry for entry in body.metadata_props if entry.key != "gvn.name")


def _raise(proto: Any, name: str) -> Any:
    """Undo `_lower`."""
    import onnx

    body = onnx.GraphProto(name=name, doc_string=proto.doc_string, metadata_props=proto.metadata_props)
    typed: dict[str, dict[str, Any]] = {"gvn.input": {}, "gvn.output": {}}
    for info in proto.value_info:
        role = next((entry.key for entry in info.metadata_props if entry.key in typed), None)
        if role is None:
            body.value_info.append(info)
        else:
            typed[role][info.name] = info
    for role, labels in (("input", proto.input), ("output", proto.output)):
        for label in labels:
            added = getattr(body, role).add(name=label)
            if label in typed[f"gvn.{role}"]:
                added.CopyFrom(typed[f"gvn.{role}"][label])
    for node in proto.node:
        if node.attribute and any(entry.key == "gvn.initializer" for entry in node.metadata_props):
            body.initializer.append(node.attribute[0].t)
        else:
            body.node.append(node)
    return body


# Reading ----------------------------------------------------------------------------------------------------------


def from_proto(proto: onnx.ModelProto, path: str | os.PathLike[str] = "") -> Model:
    """Return a ModelProto as a Model: one of ours as it was, anybody else's as far as the IR goes.

    In files that we did not write, dimensions called ``?``, ``-1`` or nothing are unknown, and an input that is also
    an initializer (as IR version 3 wants it) is no input.

    Parameters
    ----------
    proto : ModelProto
        Loaded without its external data.
    path : path-like
        Its file, beside which external data is looked for; without it there is none.

    Raises
    ------
    ParseError
        When our own metadata is broken, or an element type is unknown.
    LimitError
        Over `NODES` nodes or `DEPTH` nested graphs.

    Examples
    --------
    >>> import onnx
    >>> proto = onnx.parser.parse_model(
    ...     '<ir_version: 8, opset_import: ["": 17]> net (float[1, n] x) => (float[1, n] y) { y = Relu(x) }'
    ... )
    >>> model = from_proto(proto)
    >>> model.graph.nodes[0].label, model.graph.value("x").shape
    ('Relu', (1, 'n'))
    """
    reader = _Reader(proto, os.fspath(path))
    try:
        return reader.model(proto)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as fault:
        raise ParseError(f"the model is malformed: {fault}", path=os.fspath(path)) from None


class _Reader:
    def __init__(self, proto: Any, path: str) -> None:
        self.path = path
        self.ours = any(entry.key == "gvn.ir" for entry in proto.metadata_props)
        self.problems: dict[str, list[str]] = {}
        self.count = 0
        self.paths: dict[str, Path] = {}
        self.files = Beside(path) if path else None

    def model(self, proto: Any) -> Model:
        own, metadata = _take(proto.metadata_props)
        graph = self.graph(proto.graph)
        functions = tuple(self.function(function) for function in proto.functions)
        imports = self.imports(proto.opset_import, own)
        if not self.ours:
            producer = f"{proto.producer_name} {proto.producer_version}".strip()
            metadata |= {"gvn.producer": producer} if producer else {}
            imports = imports or {"": 1}
            if proto.HasField("graph") is False:
                raise ValueError("it has no graph")
            if proto.training_info:
                self.problem("training information is left out", "")
        noticed = [_summary(text, names) for text, names in self.problems.items()]
        problems = dict.fromkeys((*_strings(_load(own.get("gvn.problems", "[]"))), *noticed))
        scopes = [_read_scope(entry) for entry in _load(own.get("gvn.scopes", "[]"))]
        return Model(
            graph,
            own.get("gvn.framework", "onnx"),
            MappingProxyType({scope.path: scope for scope in scopes}),
            MappingProxyType(imports),
            functions,
            tuple(problems),
            metadata,
            proto.doc_string,
        )

    def problem(self, text: str, name: str) -> None:
        self.problems.setdefault(text, []).append(name)

    def imports(self, listed: Any, own: Mapping[str, str]) -> dict[str, int]:
        if "gvn.opset_imports" in own:
            given = _load(own["gvn.opset_imports"])
            if not isinstance(given, dict) or not all(isinstance(version, int) for version in given.values()):
                _wrong("should map domains to versions")
            return given
        return {self.domain(entry.domain): entry.version for entry in listed}

    def domain(self, name: str) -> str:
        return "" if name == "ai.onnx" and not self.ours else name

    def function(self, proto: Any) -> Function:
        own, _ = _take(proto.metadata_props)
        name = own.get("gvn.function", proto.name)
        body = self.graph(_raise(proto, own.get("gvn.name", name)))
        attributes = tuple(proto.attribute)
        if "gvn.attributes" in own:
            attributes = _strings(_load(own["gvn.attributes"]))
        return Function(
            name,
            self.domain(proto.domain),
            replace(body, name=own.get("gvn.name", name)),
            attributes,
            {item.name: self.attribute(item, 0) for item in proto.attribute_proto},
            self.imports(proto.opset_import, own),
            own.get("gvn.overload", proto.overload),
        )

    def graph(self, proto: Any, depth: int = 0) -> Graph:
        if depth > DEPTH:
            raise LimitError("the depth of nested graphs", DEPTH)
        self.count += len(proto.node)
        if self.count > NODES:
            raise LimitError("the number of nodes", NODES)
        own, metadata = _take(proto.metadata_props)
        tensors: dict[str, Tensor] = {}
        for item in proto.initializer:
            tensor = self.tensor(item)
            tensors[tensor.name] = tensor
        for item in proto.sparse_initializer:
            dtype, shape = self.dtype(item.values.data_type), tuple(item.dims)
            tensors[item.values.name] = Tensor(item.values.name, dtype, shape)
            self.problem("sparse tensors are shown without data", item.values.name)
        inputs: list[str] = []
        outputs: list[str] = []
        values: dict[str, Value] = {}
        for role, infos in ((inputs, proto.input), (outputs, proto.output), (None, proto.value_info)):
            for info in infos:
                marks, given = _take(info.metadata_props)
                name = marks.get("gvn.name", info.name)
                value = self.value(name, info.type, marks, given)
                if "gvn.absent" in marks:
                    shape = value.shape if value.shape is not None else _dims(_load(marks["gvn.absent"]))
                    if value.dtype is None:
                        raise ValueError(f"the tensor {name!r} has no element type")
                    tensors[name] = Tensor(name, value.dtype, shape, None, marks.get("gvn.role"), given)
                    continue
                if "gvn.cut" in marks or "gvn.undefined" in marks:
                    continue
                if role is not None and (self.ours or role is not inputs or name not in tensors):
                    role.append(name)
                known = info.HasField("type") and info.type.WhichOneof("value") != "opaque_type"
                listed = bool(known or given or {"gvn.dtype", "gvn.container"} & marks.keys()) or (
                    role is None and self.ours
                )
                if listed and "gvn.implied" not in marks and (self.ours or name not in tensors):
                    values[name] = value
        nodes = self.nodes(proto.node, depth)
        exact = {key: _strings(_load(own[key])) for key in ("gvn.inputs", "gvn.outputs") if key in own}
        return Graph(
            own.get("gvn.name", proto.name),
            nodes,
            exact.get("gvn.inputs", tuple(inputs)),
            exact.get("gvn.outputs", tuple(outputs)),
            values,
            tensors,
            tuple(_edge(entry) for entry in _load(own["gvn.back_edges"])) if "gvn.back_edges" in own else (),
            proto.doc_string,
            metadata,
        )

    def nodes(self, protos: Any, depth: int) -> tuple[Node, ...]:
        result: list[Node] = []
        ids: set[str] = set()
        numbers: dict[str, int] = {}
        for proto in protos:
            own, metadata = _take(proto.metadata_props) if proto.metadata_props else ({}, NOTHING)
            inputs, outputs = tuple(proto.input), tuple(proto.output)
            scope: Path = ()
            control: tuple[str, ...] = ()
            if own:
                if "gvn.inputs" in own:
                    inputs = _strings(_load(own["gvn.inputs"]))
                if "gvn.outputs" in own:
                    outputs = _strings(_load(own["gvn.outputs"]))
                if "gvn.scope" in own:
                    text = own["gvn.scope"]
                    scope = self.paths.get(text) or self.paths.setdefault(text, _strings(_load(text)))
                if "gvn.control" in own:
                    control = _strings(_load(own["gvn.control"]))
            base = own.get("gvn.id") or proto.name or next(filter(None, outputs), "") or proto.op_type
            node_id = base
            while node_id in ids:
                numbers[base] = numbers.get(base, 1) + 1
                node_id = f"{base}:{numbers[base]}"
            ids.add(node_id)
            attributes = {item.name: self.attribute(item, depth) for item in proto.attribute}
            result.append(
                Node(
                    own.get("gvn.op_type", proto.op_type),
                    inputs,
                    outputs,
                    node_id,
                    proto.name,
                    own.get("gvn.domain") or self.domain(proto.domain),
                    attributes or NOTHING,
                    control,
                    scope,
                    proto.overload,
                    proto.doc_string,
                    metadata or NOTHING,
                )
            )
        return tuple(result)

    def attribute(self, proto: Any, depth: int) -> Any:
        kind = _KIND_NAMES.get(proto.type) or _guess(proto)
        if proto.HasField("ref_attr_name"):
            return Ref(proto.ref_attr_name, kind)
        many = kind.endswith("S")
        field = getattr(proto, _FIELDS[kind])
        items = tuple(field) if many else (field,)
        notes = _load(proto.doc_string[4:]) if proto.doc_string.startswith("gvn:") else {}
        single = kind.removesuffix("S")
        if single == "STRING":
            texts = None if notes.get("bytes") else _text(items)
            items = items if texts is None else texts
        elif single == "TENSOR":
            items = tuple(self.tensor(item) for item in items)
        elif single == "GRAPH":
            items = tuple(self.graph(item, depth + 1) for item in items)
        elif single == "TYPE_PROTO":
            about = notes.get("values") or [["", {}, {}]] * len(items)
            items = tuple(
                self.value(str(name), item, _texts(own), _texts(given))
                for item, (name, own, given) in zip(items, about, strict=True)
            )
        elif single == "SPARSE_TENSOR":
            self.problem("sparse tensors are shown without data", proto.name)
            items = tuple(
                Tensor(item.values.name, self.dtype(item.values.data_type), tuple(item.dims)) for item in items
            )
        return items if many else items[0]

    def dtype(self, code: int) -> str:
        if code not in _DTYPES:
            raise ValueError(f"the tensor element type {code} is unknown")
        return _DTYPES[code]

    def value(self, name: str, proto: Any, own: Mapping[str, str], metadata: Mapping[str, str]) -> Value:
        container: list[str] = []
        dtype: str | None = None
        shape: Shape | None = None
        while kind := proto.WhichOneof("value"):
            if kind in ("tensor_type", "sparse_tensor_type"):
                if kind == "sparse_tensor_type":
                    container.append("sparse")
                proto = getattr(proto, kind)
                dtype = _DTYPES.get(proto.elem_type)
                shape = tuple(self.dim(dim) for dim in proto.shape.dim) if proto.HasField("shape") else None
                break
            if kind == "opaque_type":
                break
            if kind == "map_type":
                container.append(f"map:{_DTYPES.get(proto.map_type.key_type, '')}")
                proto = proto.map_type.value_type
            else:
                container.append(kind.removesuffix("_type"))
                proto = getattr(proto, kind).elem_type
        whole = tuple(container)
        if "gvn.container" in own:
            whole = _strings(_load(own["gvn.container"]))
        return Value(name, own.get("gvn.dtype", dtype), shape, whole, metadata or NOTHING)

    def dim(self, proto: Any) -> int | str | None:
        kind = proto.WhichOneof("value")
        if kind is None:
            return None
        found: int | str = getattr(proto, kind)
        if not self.ours and ((isinstance(found, int) and found < 0) or str(found).strip() in _UNKNOWN):
            return None
        return found

    def tensor(self, proto: Any) -> Tensor:
        own, metadata = _take(proto.metadata_props) if proto.metadata_props else ({}, {})
        name, role, dtype = own.get("gvn.name", proto.name), own.get("gvn.role"), self.dtype(proto.data_type)
        if "gvn.absent" in own:
            return Tensor(name, dtype, _dims(_load(own["gvn.absent"])), None, role, metadata)
        tensor = Tensor(name, dtype, tuple(proto.dims), None, role, metadata)
        try:
            return replace(tensor, data=self.data(proto, tensor))
        except ConvertError as fault:
            self.problem(fault.message, name)
            return tensor

    def data(self, proto: Any, tensor: Tensor) -> Any:
        """Return the data or how to get it; raise ConvertError where there is none."""
        size = tensor.nbytes
        if size is None or any(isinstance(dim, int) and dim < 0 for dim in tensor.shape):
            raise ConvertError("a tensor has a negative size")
        if proto.data_location == 1:
            if self.files is None:
                raise ConvertError("external data cannot be found without the model's file")
            return self.files.lazy({entry.key: entry.value for entry in proto.external_data}, size)
        if tensor.dtype == "string":
            if len(proto.string_data) != tensor.count:
                raise ConvertError("a tensor's data does not fit its shape")
            return tuple(proto.string_data)
        lazy = size > LAZY and proto.HasField("raw_data")
        data = _content(proto, tensor.dtype)
        if len(data) != size:
            raise ConvertError("a tensor has no data" if not data else "a tensor's data does not fit its shape")
        return partial(_content, proto, tensor.dtype) if lazy else data


def _summary(text: str, names: Sequence[str]) -> str:
    return text if names == [""] else f"{text}: {names[0]}" + (f" and {len(names) - 1} more" if names[1:] else "")


def _edge(entry: Any) -> tuple[str, int]:
    if not isinstance(entry, list) or len(entry) != 2 or not isinstance(entry[0], str) or not isinstance(entry[1], int):
        _wrong("should list back edges")
    return entry[0], entry[1]


def _read_scope(entry: Mapping[str, Any]) -> Scope:
    texts = {key: entry[key] for key in ("kind", "name", "type", "file") if key in entry}
    lists: dict[str, Any] = {key: _strings(entry[key]) for key in ("inputs", "outputs", "weights") if key in entry}
    fields: dict[str, Any] = {"parameters": entry.get("parameters", NOTHING), "line": entry.get("line", 0)}
    if not all(isinstance(text, str) for text in texts.values()) or not isinstance(fields["line"], int):
        _wrong("should describe a scope")
    return Scope(_strings(entry["path"]), **fields, **texts, **lists)


def _guess(proto: Any) -> str:
    """Return the kind of an attribute that does not say it (IR version 1)."""
    for kind, field in _FIELDS.items():
        if len(getattr(proto, field)) if kind.endswith("S") else proto.HasField(field):
            return kind
    return "INTS"


def _content(proto: Any, dtype: str) -> bytes:
    """Return a TensorProto's own data as raw bytes, from whichever field holds it."""
    if proto.HasField("raw_data"):
        return bytes(proto.raw_data)
    import numpy

    width = ITEM_BITS[dtype]
    if dtype in ("float32", "complex64"):
        return numpy.asarray(proto.float_data, "<f4").tobytes()
    if dtype in ("float64", "complex128"):
        return numpy.asarray(proto.double_data, "<f8").tobytes()
    if dtype == "int64":
        return numpy.asarray(proto.int64_data, "<i8").tobytes()
    if dtype in ("uint32", "uint64"):
        return numpy.asarray(proto.uint64_data, "<u8").astype(f"<u{width // 8}").tobytes()
    return numpy.asarray(proto.int32_data, "<i4").astype(f"<i{max(width // 8, 1)}").tobytes()


# Files ------------------------------------------------------------------------------------------------------------


def parse(data: bytes, path: str = "") -> onnx.ModelProto:
    """Parse bytes into a ModelProto.

    Raises
    ------
    ParseError
        When they are no whole ModelProto.
    """
    import onnx
    from google.protobuf.message import DecodeError

    if len(data) > LARGEST:
        raise LimitError(path or "the model", "2 GiB", hint="write its weights as external data")
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except (DecodeError, RuntimeError) as fault:
        what = (
            "is nested too deeply"
            if "recursion" in str(fault) or "Exceeded" in str(fault)
            else "is truncated or broken"
        )
        raise ParseError(f"the file {what}: it is no whole ONNX model", path=path) from None
    if not proto.HasField("graph"):
        raise ParseError("the file is no ONNX model: it has no graph", path=path)
    return proto


def read(path: str | os.PathLike[str]) -> Model:
    """Read an ``.onnx`` file; its external data is read when somebody asks for it.

    Raises
    ------
    ParseError, LimitError, ConvertError
        When it is no model, too large, or cannot be read.
    """
    place = os.fspath(path)
    return from_proto(parse(load(place), place), place)


def load(place: str) -> bytes:
    """Return the bytes of a regular file of at most 2 GiB."""
    try:
        with open(place, "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise ConvertError("this is no regular file", path=place)
            if found.st_size > LARGEST:
                raise LimitError(place, "2 GiB", hint="write its weights as external data")
            return file.read()
    except OSError as fault:
        raise ConvertError(f"cannot be read: {fault.strerror}", path=place) from None


def write(model: Model, path: str | os.PathLike[str]) -> None:
    """Write an ``.onnx`` file, whole or not at all; over `EMBED` bytes of weights go beside it into ``NAME.onnx.data``.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(Model(Graph("empty")), folder + "/empty.onnx")
    ...     read(folder + "/empty.onnx").name
    'empty'
    """
    place = File(path)
    try:
        if sum(_sizes(model)) <= EMBED:
            data = _serialize(to_proto(model))
            with _replacing(place) as file:
                file.write(data)
            return
        beside = place.with_name(f"{place.name}.data")
        with _replacing(beside) as weights:

            def sink(tensor: Any, content: bytes) -> bool:
                if len(content) < 1024:
                    return False
                weights.seek(-weights.tell() % 64, os.SEEK_CUR)  # as aligned as any runtime asks of mapped memory
                tensor.data_location = 1
                for key, text in (("location", beside.name), ("offset", weights.tell()), ("length", len(content))):
                    tensor.external_data.add(key=key, value=str(text))
                weights.write(content)
                return True

            data = _serialize(_Writer(model, True, sink).model())
        with _replacing(place) as file:
            file.write(data)
    except OSError as fault:
        raise ConvertError(f"cannot be written: {fault.strerror}", path=str(place)) from None


def _sizes(model: Model) -> Iterator[int]:
    from graphviz_nets.graph.ir import graphs

    for top in (model.graph, *(function.body for function in model.functions)):
        for graph in graphs(top):
            yield from (tensor.nbytes or 0 for tensor in graph.initializers.values() if tensor.data is not None)
            for node in graph.nodes:
                for value in node.attributes.values():
                    items = value if isinstance(value, tuple) else (value,)
                    yield from (item.nbytes or 0 for item in items if isinstance(item, Tensor))


def _serialize(proto: Any) -> bytes:
    from google.protobuf.message import EncodeError

    try:
        return bytes(proto.SerializeToString(deterministic=True))
    except (EncodeError, ValueError):
        raise LimitError("the model without its weights", "2 GiB") from None


@contextmanager
def _replacing(path: File) -> Iterator[BinaryIO]:
    """Open a file under a temporary name beside `path`, which it replaces when all went well."""
    if path.exists() and not path.is_file():
        with path.open("wb") as device:
            yield device
        return
    temporary = path.with_name(f".{path.name[:40]}.{uuid.uuid4().hex[:8]}")
    try:
        with temporary.open("xb") as file:
            yield file
        if path.exists():
            shutil.copymode(path, temporary)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


# ONNX's own shape inference ---------------------------------------------------------------------------------------


def infer_shapes(model: Model) -> Mapping[str, Value]:
    """Return what ONNX's own shape inference finds out about the main graph's values, nothing where it fails.

    Examples
    --------
    >>> graph = Graph("net", (Node("Relu", ("x",), ("y",)),), ("x",), ("y",), {"x": Value("x", "float32", (1, "n"))})
    >>> infer_shapes(Model(graph))["y"].shape
    (1, 'n')
    """
    import onnx

    graph = model.graph
    light = {
        name: replace(tensor, data=None) if (tensor.nbytes or 0) > 4096 or tensor.dtype == "string" else tensor
        for name, tensor in graph.initializers.items()
    }
    proto = to_proto(replace(model, graph=replace(graph, initializers=light), scopes={}), strict=False)
    try:
        inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True)
        found = _Reader(inferred, "").graph(inferred.graph).values
    except Exception:  # the C++ code raises its own errors, RuntimeError, ValueError and more
        return NOTHING
    return {name: value for name, value in found.items() if value.dtype is not None or value.shape is not None}
