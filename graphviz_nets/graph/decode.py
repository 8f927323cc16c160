"""A ModelProto read as the IR: one of ours as it was, anybody else's as far as the IR goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

from graphviz_nets.errors import ConvertError, LimitError
from graphviz_nets.graph import notes
from graphviz_nets.graph.external import Beside
from graphviz_nets.graph.ir import ITEM_BITS, NOTHING, Function, Graph, Model, Node, Ref, Shape, Tensor, Value
from graphviz_nets.graph.scopes import Path, Scope

NODES = 1_000_000
"""Nodes of a model that are read."""
LAZY = 1 << 20
"""Bytes of a tensor from which on its data are copied out of the file only when asked for."""
_UNKNOWN = ("", "?", "-1", "None")


class Reader:
    """Reads one model; collects `problems` as reason to names."""

    def __init__(self, proto: Any, path: str) -> None:
        self.path = path
        self.ours = any(entry.key == "gvn.ir" for entry in proto.metadata_props)
        self.problems: dict[str, list[str]] = {}
        self.count = 0
        self.paths: dict[str, Path] = {}
        self.files = Beside(path) if path else None

    def model(self, proto: Any) -> Model:
        own, metadata = notes.take(proto.metadata_props)
        graph = self.graph(proto.graph)
        functions = tuple(self.function(function) for function in proto.functions)
        imports = self.imports(proto.opset_import, own)
        if not self.ours:
            producer = f"{proto.producer_name} {proto.producer_version}".strip()
            metadata |= {"gvn.producer": producer} if producer else {}
            imports = imports or {"": 1}
            if not proto.HasField("graph"):
                raise ValueError("it has no graph")
            if proto.training_info:
                self.problem("training information is left out", "")
        noticed = [_summary(text, names) for text, names in self.problems.items()]
        problems = dict.fromkeys((*notes.strings(notes.load(own.get("gvn.problems", "[]"))), *noticed))
        scopes = [_read_scope(entry) for entry in notes.load(own.get("gvn.scopes", "[]"))]
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
            given = notes.load(own["gvn.opset_imports"])
            if not isinstance(given, dict) or not all(isinstance(version, int) for version in given.values()):
                notes.wrong("should map domains to versions")
            return given
        return {self.domain(entry.domain): entry.version for entry in listed}

    def domain(self, name: str) -> str:
        return "" if name == "ai.onnx" and not self.ours else name

    def function(self, proto: Any) -> Function:
        own, _ = notes.take(proto.metadata_props)
        name = own.get("gvn.function", proto.name)
        body = self.graph(_raise(proto, own.get("gvn.name", name)))
        attributes = tuple(proto.attribute)
        if "gvn.attributes" in own:
            attributes = notes.strings(notes.load(own["gvn.attributes"]))
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
        if depth > notes.DEPTH:
            raise LimitError("the depth of nested graphs", notes.DEPTH)
        self.count += len(proto.node)
        if self.count > NODES:
            raise LimitError("the number of nodes", NODES)
        own, metadata = notes.take(proto.metadata_props)
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
                marks, given = notes.take(info.metadata_props)
                name = marks.get("gvn.name", info.name)
                value = self.value(name, info.type, marks, given)
                if "gvn.absent" in marks:
                    if value.dtype is None or value.shape is None:
                        raise ValueError(f"the tensor {name!r} has no type")
                    tensors[name] = Tensor(name, value.dtype, value.shape, None, marks.get("gvn.role"), given)
                    continue
                if "gvn.cut" in marks or "gvn.undefined" in marks:
                    continue
                if role is not None and (self.ours or role is not inputs or name not in tensors):
                    role.append(name)
                known = info.HasField("type") and info.type.WhichOneof("value") != "opaque_type"
                listed = bool(known or given or notes.FACTS & marks.keys()) or (role is None and self.ours)
                if listed and "gvn.implied" not in marks and (self.ours or name not in tensors):
                    values[name] = value
        nodes = self.nodes(proto.node, depth)
        exact = {key: notes.strings(notes.load(own[key])) for key in ("gvn.inputs", "gvn.outputs") if key in own}
        return Graph(
            own.get("gvn.name", proto.name),
            nodes,
            exact.get("gvn.inputs", tuple(inputs)),
            exact.get("gvn.outputs", tuple(outputs)),
            values,
            tensors,
            tuple(_edge(entry) for entry in notes.load(own["gvn.back_edges"])) if "gvn.back_edges" in own else (),
            proto.doc_string,
            metadata,
        )

    def nodes(self, protos: Any, depth: int) -> tuple[Node, ...]:
        result: list[Node] = []
        ids: set[str] = set()
        numbers: dict[str, int] = {}
        for proto in protos:
            own, metadata = notes.take(proto.metadata_props) if proto.metadata_props else ({}, NOTHING)
            inputs, outputs = tuple(proto.input), tuple(proto.output)
            scope: Path = ()
            control: tuple[str, ...] = ()
            if own:
                if "gvn.inputs" in own:
                    inputs = notes.strings(notes.load(own["gvn.inputs"]))
                if "gvn.outputs" in own:
                    outputs = notes.strings(notes.load(own["gvn.outputs"]))
                if "gvn.scope" in own:
                    text = own["gvn.scope"]
                    scope = self.paths.get(text) or self.paths.setdefault(text, notes.strings(notes.load(text)))
                if "gvn.control" in own:
                    control = notes.strings(notes.load(own["gvn.control"]))
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
        kind = notes.KIND_NAMES.get(proto.type) or _guess(proto)
        if proto.HasField("ref_attr_name"):
            return Ref(proto.ref_attr_name, kind)
        many = kind.endswith("S")
        field = getattr(proto, notes.FIELDS[kind])
        items = tuple(field) if many else (field,)
        about = notes.load(proto.doc_string[4:]) if proto.doc_string.startswith("gvn:") else {}
        single = kind.removesuffix("S")
        if single == "STRING":
            texts = None if about.get("bytes") else notes.text(items)
            items = items if texts is None else texts
        elif single == "TENSOR":
            items = tuple(self.tensor(item) for item in items)
        elif single == "GRAPH":
            items = tuple(self.graph(item, depth + 1) for item in items)
        elif single == "TYPE_PROTO":
            values = about.get("values") or [["", {}, {}]] * len(items)
            items = tuple(
                self.value(str(name), item, notes.texts(own), notes.texts(given))
                for item, (name, own, given) in zip(items, values, strict=True)
            )
        elif single == "SPARSE_TENSOR":
            self.problem("sparse tensors are shown without data", proto.name)
            items = tuple(
                Tensor(item.values.name, self.dtype(item.values.data_type), tuple(item.dims)) for item in items
            )
        return items if many else items[0]

    def dtype(self, code: int) -> str:
        if code not in notes.DTYPES:
            raise ValueError(f"the tensor element type {code} is unknown")
        return notes.DTYPES[code]

    def value(self, name: str, proto: Any, own: Mapping[str, str], metadata: Mapping[str, str]) -> Value:
        container: list[str] = []
        dtype: str | None = None
        shape: Shape | None = None
        while kind := proto.WhichOneof("value"):
            if kind in ("tensor_type", "sparse_tensor_type"):
                if kind == "sparse_tensor_type":
                    container.append("sparse")
                proto = getattr(proto, kind)
                dtype = notes.DTYPES.get(proto.elem_type)
                shape = tuple(self.dim(dim) for dim in proto.shape.dim) if proto.HasField("shape") else None
                break
            if kind == "opaque_type":
                break
            if kind == "map_type":
                container.append(f"map:{notes.DTYPES.get(proto.map_type.key_type, '')}")
                proto = proto.map_type.value_type
            else:
                container.append(kind.removesuffix("_type"))
                proto = getattr(proto, kind).elem_type
        whole = tuple(container)
        if own:
            dtype = str(notes.load(own["gvn.dtype"])) if "gvn.dtype" in own else dtype
            shape = notes.dims(notes.load(own["gvn.shape"])) if "gvn.shape" in own else shape
            whole = notes.strings(notes.load(own["gvn.container"])) if "gvn.container" in own else whole
        return Value(name, dtype, shape, whole, metadata or NOTHING)

    def dim(self, proto: Any) -> int | str | None:
        kind = proto.WhichOneof("value")
        if kind is None:
            return None
        found: int | str = getattr(proto, kind)
        if not self.ours and ((isinstance(found, int) and found < 0) or str(found).strip() in _UNKNOWN):
            return None
        return found

    def tensor(self, proto: Any) -> Tensor:
        own, metadata = notes.take(proto.metadata_props) if proto.metadata_props else ({}, {})
        name, role, dtype = own.get("gvn.name", proto.name), own.get("gvn.role"), self.dtype(proto.data_type)
        if "gvn.absent" in own:
            return Tensor(name, dtype, notes.dims(notes.load(own["gvn.absent"])), None, role, metadata)
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
        notes.wrong("should list back edges")
    return entry[0], entry[1]


def _read_scope(entry: Mapping[str, Any]) -> Scope:
    texts = {key: entry[key] for key in ("kind", "name", "type", "file") if key in entry}
    lists: dict[str, Any] = {key: notes.strings(entry[key]) for key in ("inputs", "outputs", "weights") if key in entry}
    fields: dict[str, Any] = {"parameters": entry.get("parameters", NOTHING), "line": entry.get("line", 0)}
    if not all(isinstance(text, str) for text in texts.values()) or not isinstance(fields["line"], int):
        notes.wrong("should describe a scope")
    return Scope(notes.strings(entry["path"]), **fields, **texts, **lists)


def _guess(proto: Any) -> str:
    """Return the kind of an attribute that does not say it (IR version 1)."""
    for kind, field in notes.FIELDS.items():
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
