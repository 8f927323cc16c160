"""The IR written as a ModelProto: every value made once, before it is used, and what ONNX lacks in `notes`.

The checker wants a type for every input of the main graph; where it is not known the input gets an opaque one
(``gvn.unknown``), and what is known stands in ``value_info``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from graphviz_nets.errors import GraphError, LimitError
from graphviz_nets.graph import notes
from graphviz_nets.graph.ir import NOTHING, ONNX_DOMAINS, Function, Graph, Model, Node, Ref, Tensor, Value
from graphviz_nets.graph.scopes import Path, Scope

if TYPE_CHECKING:
    import onnx

IR_VERSION = 10
"""The first that has metadata on nodes and types in functions; newer ones are refused by runtimes in use."""
CONTAINERS = 8
"""Sequences of optionals of sequences, and so on."""


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


class Writer:
    """Writes one model; `sink`, where given, may take over an initializer's data: it gets the message, the tensor and
    whether it is the main graph's."""

    def __init__(self, model: Model, strict: bool, sink: Callable[[Any, Tensor, bool], bool] | None = None) -> None:
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
            own["gvn.scopes"] = notes.dump([_scope(scope) for scope in source.scopes.values()])
        if source.problems:
            own["gvn.problems"] = notes.dump(source.problems)
        try:
            self.graph(source.graph, proto.graph, None, self.strict)
            main = self.domains | {function.domain for function in source.functions} | {""}
            self.imports(proto.opset_import, source.opset_imports, main, own)
            taken: set[tuple[str, str, str]] = set()
            for function in source.functions:
                self.function(function, proto.functions.add(), taken)
            notes.put(proto.metadata_props, own, source.metadata)
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
            own["gvn.opset_imports"] = notes.dump(dict(given))
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
        notes.exact(own, "gvn.attributes", source.attributes, names)
        for key, value in source.defaults.items():
            self.attribute(out.attribute_proto.add(), key, value, "", None)
        self.imports(out.opset_import, source.opset_imports, self.domains, own)
        self.opset = opset
        if body.name != source.name:
            own["gvn.name"] = notes.take(body.metadata_props)[0].get("gvn.name", body.name)
        _lower(body, out)
        for key, text in own.items():
            out.metadata_props.add(key=key, value=text)

    def graph(self, source: Graph, out: Any, outer: _Names | None, typed: bool) -> None:
        """Write a graph; where `typed`, every input and output needs a type that the checker accepts."""
        names = _Names(source, outer)
        if names.depth > notes.DEPTH:
            raise LimitError("the depth of nested graphs", notes.DEPTH)
        own: dict[str, str] = {}
        out.name, out.doc_string = source.name or "unnamed", source.doc
        if out.name != source.name:
            own["gvn.name"] = source.name
        if source.back_edges:
            own["gvn.back_edges"] = notes.dump(source.back_edges)
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
        notes.exact(own, "gvn.inputs", source.inputs, real)
        notes.exact(own, "gvn.outputs", source.outputs, written)
        for name, value in source.values.items():
            if name not in done:
                self.info(out.value_info.add(), names.visible.get(name, name), name, value, True, False)
        notes.put(out.metadata_props, own, source.metadata)

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
                if typed and tensor.dtype not in notes.CODES:
                    _stand_in(info.type)
            else:
                info = out.initializer.add()
                own = {}
                self.tensor(info, tensor, source is self.source.graph)
                info.name = label
            if label != tensor.name:
                own["gvn.name"] = tensor.name
            if tensor.role is not None:
                own["gvn.role"] = tensor.role
            notes.put(info.metadata_props, own, tensor.metadata)
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
            notes.put(info.metadata_props, own)

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
            text = self.paths.get(source.scope) or self.paths.setdefault(source.scope, notes.dump(source.scope))
            own["gvn.scope"] = text
        if source.control_inputs:
            own["gvn.control"] = notes.dump(source.control_inputs)
        if domain != source.domain:
            own["gvn.domain"] = source.domain
        if not source.op_type:
            own["gvn.op_type"] = ""
        notes.exact(own, "gvn.inputs", source.inputs, inputs)
        notes.exact(own, "gvn.outputs", source.outputs, outputs)
        if source.attributes:
            kinds = _kinds(source.op_type, domain, self.opset) if domain in ONNX_DOMAINS else NOTHING
            for key, value in source.attributes.items():
                self.attribute(out.attribute.add(), key, value, kinds.get(key, ""), names)
        if own or source.metadata:
            notes.put(out.metadata_props, own, source.metadata)

    def attribute(self, out: Any, key: str, value: Any, wanted: str, names: _Names | None) -> None:
        """Write an attribute; `wanted` is the kind that the operation asks for, where it is known."""
        out.name = key
        if isinstance(value, Ref):
            out.ref_attr_name, out.type = value.name, notes.KINDS[value.kind]
            return
        many = isinstance(value, tuple)
        items: tuple[Any, ...] = value if many else (value,)
        kind = _kind(items, wanted)
        out.type = notes.KINDS[kind + "S"] if many else notes.KINDS[kind]
        field = notes.FIELDS[kind + "S"] if many else notes.FIELDS[kind]
        extra: dict[str, Any] = {}
        about: list[list[Any]] = []
        if kind in ("INT", "FLOAT"):
            if many:
                getattr(out, field).extend(items)
            else:
                setattr(out, field, value)
        elif kind == "STRING":
            texts = [item.encode() if isinstance(item, str) else item for item in items]
            if any(isinstance(item, bytes) for item in items) and notes.text(texts) is not None:
                extra["bytes"] = True
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
                extra["values"] = about
        if extra:
            out.doc_string = f"gvn:{notes.dump(extra)}"

    def constant(self, out: Any, tensor: Tensor) -> None:
        """Write a tensor that stands in an attribute, where one without data has no elements and says its shape."""
        if tensor.data is None:
            own = {"gvn.absent": notes.dump(tensor.shape)}
            out.data_type = notes.CODES[tensor.dtype]
            out.dims.append(0)
        else:
            own = {}
            self.tensor(out, tensor)
        if tensor.name:
            out.name = tensor.name
        if tensor.role is not None:
            own["gvn.role"] = tensor.role
        notes.put(out.metadata_props, own, tensor.metadata)

    def tensor(self, out: Any, tensor: Tensor, main: bool = False) -> None:
        out.data_type = notes.CODES[tensor.dtype]
        out.dims.extend(tensor.shape)
        if tensor.dtype == "string":
            out.string_data.extend(tensor.bytes())
        elif self.sink is None or not self.sink(out, tensor, main):
            out.raw_data = bytes(tensor.bytes())

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
            if not listed and (out.HasField("type") or notes.FACTS & own.keys()):
                own["gvn.implied"] = "1"
        if own or (listed and value.metadata):
            notes.put(out.metadata_props, own, value.metadata if listed else NOTHING)
        return whole

    def type(self, out: Any, value: Value) -> dict[str, str]:
        """Write a TypeProto, nothing where ONNX lacks the element type; return what it cannot say."""
        own: dict[str, str] = {}
        code, container = notes.CODES.get(value.dtype or ""), value.container
        if code is None:
            facts = {"dtype": value.dtype, "shape": value.shape, "container": container or None}
            return {f"gvn.{key}": notes.dump(fact) for key, fact in facts.items() if fact is not None}
        if not _plain(container):
            own["gvn.container"] = notes.dump(container)
            container = ()
        for part in container:
            if part == "sequence":
                out = out.sequence_type.elem_type
            elif part == "optional":
                out = out.optional_type.elem_type
            elif part != "sparse":
                out.map_type.key_type = notes.CODES[part.removeprefix("map:")]
                out = out.map_type.value_type
        out = out.sparse_tensor_type if container[-1:] == ("sparse",) else out.tensor_type
        out.elem_type = code
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
    known = {"sequence", "optional", "sparse", *(f"map:{dtype}" for dtype in notes.CODES)}
    return known.issuperset(container)


def _complete(value: Value) -> bool:
    """Say whether the checker accepts the value's type for an input or output of the main graph."""
    if value.dtype not in notes.CODES or not _plain(value.container):
        return False
    return value.shape is not None or value.container[:1] not in ((), ("sparse",))


def _stand_in(out: Any) -> None:
    out.opaque_type.domain, out.opaque_type.name = "gvn", "unknown"


def _marked(info: Any) -> bool:
    return any(entry.key in ("gvn.absent", "gvn.cut", "gvn.undefined") for entry in info.metadata_props)


def _name(info: Any) -> str:
    return next((str(entry.value) for entry in info.metadata_props if entry.key == "gvn.name"), str(info.name))


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
        node.attribute.add(name="value", type=notes.KINDS["TENSOR"]).t.CopyFrom(tensor)
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
