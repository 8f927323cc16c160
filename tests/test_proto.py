"""The IR as ONNX: nothing is lost, the checker accepts it, and no file reaches further than it may."""

from __future__ import annotations

import gzip
import math
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from graphviz_nets.config import options
from graphviz_nets.converters.onnx import converter, reshape
from graphviz_nets.errors import ConfigError, ConvertError, GraphError, GraphvizNetsError, LimitError, ParseError
from graphviz_nets.graph import decode, notes, proto
from graphviz_nets.graph.ir import ITEM_BITS, Function, Graph, Model, Node, Ref, Tensor, Value, sort
from graphviz_nets.graph.scopes import KINDS, Scope

MODELS = Path(__file__).resolve().parents[2] / "shared" / "models"


def back(model: Model) -> Model:
    """Return the model after a way through bytes that the checker has seen."""
    message = proto.to_proto(model)
    onnx.checker.check_model(message)
    return proto.from_proto(proto.parse(message.SerializeToString()))


def same(model: Model) -> None:
    """Compare field by field, for a readable failure."""
    found = back(model)
    for name in model.__dataclass_fields__:
        assert getattr(found, name) == getattr(model, name), name
    assert found == model


# Any model --------------------------------------------------------------------------------------------------------

TEXT = st.text(max_size=6) | st.sampled_from(
    ["a/b", "a.b", "\0", "\N{SNOWMAN}", "gvn.cut/x", "gvn.name", '"', "x" * 300]
)
NAMES = st.sampled_from(["x", "y", "z", "a/b", "a.b", "w", "gvn.cut/x", "gvn.again/x", "gvn.done/n", "é", "x:2"]) | TEXT
FULL = NAMES.filter(bool)
PATHS = st.lists(FULL, min_size=1, max_size=3).map(tuple)
METADATA = st.dictionaries(TEXT | st.sampled_from(["gvn.id", "gvn.=gvn.id", "gvn.blob", "gvn.ir"]), TEXT, max_size=2)
KNOWN = sorted(name for name in ITEM_BITS if not name.startswith("float6") or hasattr(TensorProto, name.upper()))
DTYPES = st.sampled_from(KNOWN)
INTS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(width=32, allow_nan=False) | st.just(math.nan)
DIMS = st.none() | st.integers(0, 2**62) | st.sampled_from([-1, "", "?", "n"]) | TEXT
SHAPES = st.lists(DIMS, max_size=3).map(tuple)
CONTAINERS = st.sampled_from(
    [
        (),
        ("sequence",),
        ("optional", "sequence"),
        ("map:int64",),
        ("sparse",),
        ("sequence", "sparse"),
        ("sparse", "map:q"),
    ]
)
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.just(math.nan)
    | st.just(math.inf)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def value(name: str) -> st.SearchStrategy[Value]:
    kinds = st.none() | DTYPES | st.just("resource")
    return st.builds(Value, st.just(name), kinds, st.none() | SHAPES, CONTAINERS, METADATA)


@st.composite
def tensors(draw: Any, name: str) -> Tensor:
    dtype, role = draw(DTYPES), draw(st.sampled_from([None, "parameter", "constant"]))
    if draw(st.booleans()):
        return Tensor(name, dtype, draw(SHAPES), None, role, draw(METADATA))
    empty = Tensor(name, dtype, tuple(draw(st.lists(st.integers(0, 3), max_size=3))), None, role, draw(METADATA))
    if dtype == "string":
        size = empty.count or 0
        return replace(empty, data=tuple(draw(st.lists(st.binary(max_size=2), min_size=size, max_size=size))))
    size = empty.nbytes or 0
    data = draw(st.binary(min_size=size, max_size=size))
    if dtype.startswith("float6"):
        data = bytes(size)  # padding bits have to be 0
    return replace(empty, data=draw(st.sampled_from([data, lambda: data])))


def attributes(depth: int) -> st.SearchStrategy[Any]:
    one = [INTS, FLOATS, TEXT, st.binary(max_size=4), TEXT.flatmap(tensors), TEXT.flatmap(value)]
    if depth:
        one.append(graphs(depth - 1))
    many = [st.lists(item, max_size=3).map(tuple) for item in one]
    return st.one_of(*one, *many, st.builds(Ref, FULL, st.sampled_from(["FLOAT", "INTS", "GRAPH"])))


@st.composite
def graphs(draw: Any, depth: int = 1) -> Graph:
    nodes = []
    for number in range(draw(st.integers(0, 4))):
        ordinary = draw(st.booleans())
        inputs = (draw(FULL),) if ordinary else tuple(draw(st.lists(NAMES, max_size=3)))
        outputs = (draw(FULL),) if ordinary else tuple(draw(st.lists(NAMES, max_size=2)))
        name = draw(TEXT)
        nodes.append(
            Node(
                "Relu" if ordinary else draw(TEXT),
                inputs,
                outputs,
                draw(st.sampled_from(["", "Relu", "n"])) + str(number),
                name,
                draw(st.sampled_from(["", "ai.onnx"])) if ordinary else draw(st.sampled_from(["caffe", "tf", "a b"])),
                {} if ordinary else draw(st.dictionaries(FULL, attributes(depth), max_size=2)),
                tuple(draw(st.lists(TEXT, max_size=2))),
                draw(st.just(()) | PATHS),
                draw(TEXT),
                draw(TEXT),
                draw(METADATA),
            )
        )
    ordered, cut = sort(nodes) if draw(st.integers(0, 3)) else (tuple(nodes), draw(st.just((("n0", 0), ("?", 7)))))
    return Graph(
        draw(TEXT),
        ordered,
        tuple(draw(st.lists(NAMES, max_size=3))),
        tuple(draw(st.lists(NAMES, max_size=3))),
        {name: draw(value(name)) for name in draw(st.sets(NAMES, max_size=4))},
        {name: draw(tensors(name)) for name in draw(st.sets(NAMES, max_size=2))},
        cut,
        draw(TEXT),
        draw(METADATA),
    )


SCOPES = st.builds(
    Scope,
    PATHS,
    st.sampled_from(KINDS),
    TEXT,
    TEXT,
    st.dictionaries(TEXT, PLAIN, max_size=3),
    *(st.lists(TEXT, max_size=2).map(tuple) for _ in range(3)),
    TEXT,
    st.integers(0, 9),
)
IMPORTS = st.sampled_from([{}, {"": 18}, {"ai.onnx": 18}, {"": 18, "caffe": 3}, {"tf": 2}])
FUNCTIONS = st.builds(
    Function,
    TEXT,
    st.sampled_from(["local", "other"]),
    graphs(0),
    st.lists(FULL, max_size=3).map(tuple),
    st.dictionaries(FULL, attributes(0), max_size=1),
    st.sampled_from([{}, {"": 18}, {"": 18, "caffe": 3}]),
    st.sampled_from(["", "o"]),
)
ANY = st.builds(
    Model,
    graphs(),
    TEXT,
    st.lists(SCOPES, max_size=3).map(lambda listed: {scope.path: scope for scope in listed}),
    IMPORTS,
    st.lists(FUNCTIONS, max_size=2).map(tuple),
    st.lists(TEXT, max_size=2, unique=True).map(tuple),
    METADATA,
    TEXT,
)


@settings(max_examples=300, suppress_health_check=list(HealthCheck), deadline=None)
@given(ANY)
def test_nothing_is_lost(model: Model) -> None:
    same(model)


@settings(max_examples=60, suppress_health_check=list(HealthCheck), deadline=None)
@given(ANY)
def test_nothing_is_lost_without_stand_ins(model: Model) -> None:
    message = proto.to_proto(model, strict=False)
    assert proto.from_proto(proto.parse(message.SerializeToString())) == model


@settings(max_examples=200, suppress_health_check=list(HealthCheck), deadline=None)
@given(st.binary(max_size=200) | ANY.map(lambda model: proto.to_proto(model).SerializeToString()), st.data())
def test_only_our_errors_escape(content: bytes, data: Any) -> None:
    if content:
        place = data.draw(st.integers(0, len(content) - 1))
        content = content[:place] + bytes([data.draw(st.integers(0, 255))]) + content[place + 1 :]
    with suppress(GraphvizNetsError):
        proto.from_proto(proto.parse(content))


# One case for every rule of the encoding --------------------------------------------------------------------------


def x(**more: Any) -> Graph:
    """Return a small graph with a typed input."""
    graph = Graph("net", (Node("Relu", ("x",), ("y",)),), ("x",), ("y",), {"x": Value("x", "float32", (1, "n"))})
    return replace(graph, **more)


def input_marks(message: Any) -> dict[str, set[str]]:
    return {info.name: {entry.key for entry in info.metadata_props} for info in message.graph.input}


def test_versions_and_imports() -> None:
    graph = x(nodes=(Node("Axpy", ("x",), ("y",), domain="caffe"),))
    message = proto.to_proto(Model(graph))
    assert message.ir_version == 10
    assert {entry.domain: entry.version for entry in message.opset_import} == {"": 18, "caffe": 1}
    assert back(Model(graph)).opset_imports == {"": 18}


def test_absent_tensor_is_a_marked_input() -> None:
    absent = {"w": Tensor("w", "float32", (3, None), None, "parameter", {"gvn.blob": "q"})}
    graph = x(nodes=(Node("Mul", ("x", "w"), ("y",)),), initializers=absent)
    message = proto.to_proto(Model(graph))
    assert input_marks(message) == {"x": set(), "w": {"gvn.absent", "gvn.role", "gvn.blob"}}
    assert not message.graph.initializer
    same(Model(graph))


def test_cycle_is_cut() -> None:
    nodes, cut = sort([Node("B", ("a",), ("b",), "B", domain="tf"), Node("A", ("b", "x"), ("a",), "A", domain="tf")])
    graph = Graph("loop", nodes, ("x",), ("b",), {"a": Value("a", "int32", (2,))}, back_edges=cut)
    message = proto.to_proto(Model(graph))
    assert input_marks(message)["gvn.cut/b"] == {"gvn.cut"}
    assert list(message.graph.node[0].input) == ["gvn.cut/b", "x"]
    assert [info.name for info in message.graph.output] == []
    same(Model(graph))


def test_self_loop_and_unsorted_nodes() -> None:
    same(Model(x(nodes=(Node("Loop", ("y", "x"), ("y",), domain="tf"),), back_edges=(("Loop", 0),))))
    same(Model(x(nodes=(Node("Relu", ("y",), ("z",), "1"), Node("Relu", ("x",), ("y",), "2")))))


def test_undefined_bottom_is_a_marked_input() -> None:
    graph = x(nodes=(Node("Add", ("x", "nobody"), ("y",)),))
    assert input_marks(proto.to_proto(Model(graph)))["nobody"] == {"gvn.undefined"}
    assert back(Model(graph)).graph.undefined == ("nobody",)
    same(Model(graph))


def test_nested_names_resolve_outward() -> None:
    inner = Graph("body", (Node("Add", ("x", "lost"), ("x",)), Node("Relu", ("x",), ("r",))), (), ("r", "x"))
    graph = x(nodes=(Node("Call", ("x",), ("y",), domain="tf", attributes={"body": inner, "more": (inner, Graph())}),))
    body = proto.to_proto(Model(graph)).graph.node[0].attribute[0].g
    assert [info.name for info in body.input] == ["lost"]
    assert list(body.node[0].output) == ["gvn.again/x"] and list(body.node[1].input) == ["gvn.again/x"]
    assert [info.name for info in body.output] == ["r", "gvn.again/x"]
    same(Model(graph))


def test_node_with_neither_inputs_nor_outputs() -> None:
    graph = x(nodes=(Node("NoOp", (), (), "init", domain="tf", control_inputs=("other",)),))
    node = proto.to_proto(Model(graph)).graph.node[0]
    assert list(node.output) == ["gvn.done/init"]
    assert {entry.key: entry.value for entry in node.metadata_props}["gvn.control"] == '["other"]'
    same(Model(graph))


def test_unknown_types_of_inputs_and_outputs() -> None:
    graph = x(values={"x": Value("x", "float32")})
    strict, plain = proto.to_proto(Model(graph)), proto.to_proto(Model(graph), strict=False)
    assert strict.graph.input[0].type.WhichOneof("value") == "opaque_type"
    assert not strict.graph.output
    assert {entry.key: entry.value for entry in strict.graph.metadata_props} == {"gvn.outputs": '["y"]'}
    assert plain.graph.input[0].type.tensor_type.elem_type == 1 and plain.graph.output[0].name == "y"
    same(Model(graph))


def test_input_that_is_also_an_initializer() -> None:
    weight = {"w": Tensor.of("w", "float32", [1.0])}
    same(Model(x(initializers=weight)))
    same(Model(x(inputs=("x", "w"), initializers=weight)))
    same(Model(x(inputs=("x", "w"), initializers={"w": replace(weight["w"], data=None)})))


def test_ids_names_scopes() -> None:
    nodes = (
        Node("Relu", ("x",), ("y",), "a", "n", scope=("a/b", "c.d")),
        Node("Relu", ("x",), ("z",), "b", "n"),
        Node("Relu", ("x",), ("q",), "c"),
        Node("Relu", ("x",), ("y",), "d"),
        Node("Relu", ("x",), ("x",), "e"),
    )
    same(Model(x(nodes=nodes, inputs=("x", "x", ""), outputs=("y", "y", "x", "", "nowhere"))))
    message = proto.to_proto(Model(x(nodes=nodes)))
    assert message.graph.node[0].metadata_props[1].value == '["a/b","c.d"]'


@pytest.mark.parametrize("dtype", KNOWN)
def test_every_element_type(dtype: str) -> None:
    tensor = Tensor("w", dtype, (3,))
    full = replace(tensor, data=(b"a", b"\xff", b"") if dtype == "string" else b"\1" * (tensor.nbytes or 0))
    same(Model(x(initializers={"w": full}, values={"w": Value("w", dtype, (3,))})))


ATTRIBUTES: list[Any] = [
    *(
        0,
        -(2**63),
        0.1,
        math.nan,
        -math.inf,
        "",
        "text",
        b"",
        b"text",
        b"\xff",
        (),
        (1, 2),
        (1, 2.5),
        ("a", ""),
        (b"a",),
    ),
    *((b"\xff", b"a"), Ref("other", "INTS"), Value("", "float32", (1,)), Value("v", "resource", None, ("sequence",))),
    *(
        (Value(""), Value("a")),
        Tensor("", "int8", (2,), b"ab"),
        Tensor("t", "int8", (None, "n")),
        Graph(),
        (Graph("a"),),
    ),
]


@pytest.mark.parametrize("attribute", ATTRIBUTES, ids=str)
def test_attributes(attribute: Any) -> None:
    node = Node("Any", ("x",), ("y",), domain="tf", attributes={"value": attribute})
    found = back(Model(x(nodes=(node,)))).graph.nodes[0].attributes["value"]
    assert type(found) is type(attribute)
    assert Model(x(nodes=(node,))) == back(Model(x(nodes=(node,))))


def test_attribute_kind_is_what_the_operation_declares() -> None:
    elu = Node("Elu", ("x",), ("y",), attributes={"alpha": 1})
    assert proto.to_proto(Model(x(nodes=(elu,)))).graph.node[0].attribute[0].f == 1
    empty = Node("Constant", (), ("y",), attributes={"value_floats": ()})
    assert proto.to_proto(Model(x(nodes=(empty,)))).graph.node[0].attribute[0].type == onnx.AttributeProto.FLOATS
    same(Model(x(nodes=(elu,))))
    same(Model(x(nodes=(empty,))))


def test_functions() -> None:
    body = Graph(
        "inside",
        tuple(Node("Add", (one, two), (made,), made) for one, two, made in ("awb", "bmc", "cud")),
        ("a",),
        ("d", "a", "nowhere"),
        {"a": Value("a", "float32", (1,)), "d": Value("d", metadata={"k": "v"})},
        {
            "w": Tensor.of("w", "float32", [2.0]),
            "m": Tensor("m", "float32", (None,)),
            "a": Tensor.of("a", "int64", [1]),
        },
    )
    one = Function("F", "local", body, ("alpha", "beta"), {"beta": 0.5}, {"": 18})
    call = Node("F", ("x",), ("y",), domain="local", attributes={"alpha": 1.0})
    same(Model(x(nodes=(call,)), functions=(one, replace(one, name=""), one)))


def test_too_deep() -> None:
    graph = Graph("g")
    for _ in range(notes.DEPTH):
        graph = Graph("g", (Node("Call", (), ("y",), domain="tf", attributes={"body": graph}),))
    same(Model(graph))
    deeper = Model(Graph("g", (Node("Call", (), ("y",), domain="tf", attributes={"body": graph}),)))
    with pytest.raises(LimitError, match="nested graphs"):
        proto.to_proto(deeper)
    message = onnx.ModelProto()
    here = message.graph
    for _ in range(1000):
        here = here.node.add().attribute.add(type=onnx.AttributeProto.GRAPH).g
        here.SetInParent()
    with pytest.raises(LimitError, match="nested graphs"):
        proto.from_proto(message)
    with pytest.raises((ParseError, LimitError)):
        proto.parse(b"\x3a" * 20_000)


@pytest.mark.parametrize(
    "graph",
    [
        x(values={"x": Value("x", "float32", (2**64,))}),
        x(nodes=(Node("A", ("x",), ("\ud800",), domain="tf"),)),
        x(nodes=(Node("A", ("x",), ("y",), domain="tf", attributes={"a": 2**63}),)),
        x(nodes=(Node("A", ("x",), ("y",), domain="tf", attributes={"a": object()}),)),
        x(nodes=(Node("A", ("x",), ("y",), domain="tf", attributes={"a": Ref("a", "NUMBER")}),)),
        x(initializers={"w": Tensor("w", "resource", (), b"")}),
    ],
)
def test_what_protobuf_cannot_hold(graph: Graph) -> None:
    with pytest.raises(GraphError, match="cannot be written as ONNX"):
        proto.to_proto(Model(graph))


@pytest.mark.parametrize(
    "entry",
    [
        *(
            ("gvn.scopes", text)
            for text in ("", "{", "5", "[5]", '[{"path":5}]', '[{"path":["a"],"line":"x"}]', "[" * 99_999)
        ),
        *(("gvn.problems", text) for text in ("1", "[1]", "null")),
        *(("gvn.opset_imports", text) for text in ("[]", '{"a":"b"}')),
    ],
    ids=lambda entry: "=".join(entry)[:40],
)
def test_broken_metadata(entry: tuple[str, str]) -> None:
    message = proto.to_proto(Model(x()))
    message.metadata_props.add(key=entry[0], value=entry[1])
    with pytest.raises(ParseError):
        proto.from_proto(message)


def test_infer_shapes() -> None:
    nodes = (
        Node("Shape", ("x",), ("s",), "1"),
        Node("Reshape", ("u", "s"), ("y",), "2"),
        Node("Relu", ("q",), ("z",), "3"),
        Node("Odd", ("x",), ("o",), "4", domain="caffe"),
    )
    values = {"x": Value("x", "float32", (2, 3)), "u": Value("u", "float32", (6,)), "q": Value("q", "float16")}
    found = proto.infer_shapes(Model(x(nodes=nodes, inputs=("x", "u", "q", "p"), values=values)))
    assert found["y"].shape == (2, 3) and found["s"].dtype == "int64" and found["z"].dtype == "float16"
    assert proto.infer_shapes(Model(Graph("g", (Node("NoSuchOp", ("x",), ("y",)),)))) == {}


def test_a_hundred_thousand_nodes() -> None:
    nodes = tuple(
        Node("Relu", (f"v{k}",), (f"v{k + 1}",), f"n{k}", f"n{k}", scope=(f"s{k // 9}",)) for k in range(100_000)
    )
    weights = {f"w{k}": Tensor.of(f"w{k}", "float32", [1.0]) for k in range(60_000)}
    values = {f"v{k}": Value(f"v{k}", "float32", (1, 8)) for k in range(100_001)}
    model = Model(Graph("large", nodes, ("v0",), ("v100000",), values, weights))
    start = time.perf_counter()
    found = proto.from_proto(proto.parse(proto.to_proto(model).SerializeToString()))
    assert time.perf_counter() - start < 20
    assert found == model


# Files ------------------------------------------------------------------------------------------------------------


def external(location: str, offset: int = 0, length: int = 12) -> bytes:
    """Return a model whose one weight, three float32, lies in another file."""
    weight = TensorProto(name="w", data_type=1, dims=[3], data_location=TensorProto.EXTERNAL)
    for key, text in (("location", location), ("offset", offset), ("length", length)):
        weight.external_data.add(key=key, value=str(text))
    y = helper.make_tensor_value_info("y", 1, [3])
    graph = helper.make_graph([helper.make_node("Relu", ["w"], ["y"])], "net", [], [y], [weight])
    return bytes(helper.make_model(graph, ir_version=10).SerializeToString())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder for a model, beside a secret."""
    (tmp_path / "secret").write_bytes(b"S" * 100)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "secret").write_bytes(b"S" * 100)
    here = tmp_path / "model"
    here.mkdir()
    (here / "w.bin").write_bytes(b"0123456789abcdef")
    (here / "sub").mkdir()
    (here / "sub" / "w.bin").write_bytes(b"0123456789abcdef")
    return here


@pytest.mark.parametrize("location", ["w.bin", "sub/w.bin", "./w.bin", "link.bin"])
def test_external_data(folder: Path, location: str) -> None:
    (folder / "link.bin").symlink_to("sub/w.bin")
    (folder / "m.onnx").write_bytes(external(location, 2))
    model = proto.read(folder / "m.onnx")
    tensor = model.graph.initializers["w"]
    assert callable(tensor.data) and tensor.bytes() == b"23456789abcd" and model.problems == ()
    same(model)


def fifo(folder: Path) -> None:
    os.mkfifo(folder / "evil")


THREATS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "parent": ("../secret", lambda folder: None, "outside"),
    "parent inside": ("sub/../w.bin", lambda folder: None, "outside"),
    "windows parent": ("..\\secret", lambda folder: None, "outside"),
    "absolute": ("/etc/passwd", lambda folder: None, "outside"),
    "drive": ("C:\\secret", lambda folder: None, "outside"),
    "drive relative": ("C:secret", lambda folder: None, "outside"),
    "unc": ("\\\\host\\share\\secret", lambda folder: None, "outside"),
    "nul": ("w.bin\0", lambda folder: None, "outside"),
    "empty": ("", lambda folder: None, "outside"),
    "link": ("evil", lambda folder: (folder / "evil").symlink_to("../secret"), "outside"),
    "parent link": ("evil/secret", lambda folder: (folder / "evil").symlink_to("../out"), "outside"),
    "fifo": ("evil", fifo, "no regular file"),
    "device": ("evil", lambda folder: (folder / "evil").symlink_to("/dev/zero"), "outside"),
    "folder": ("sub", lambda folder: None, "no regular file"),
    "missing": ("gone.bin", lambda folder: None, "missing"),
    "loop": ("evil", lambda folder: (folder / "evil").symlink_to("evil"), "no regular file|missing"),
    "short": ("evil", lambda folder: (folder / "evil").write_bytes(b"S" * 11), "too early"),
}


@pytest.mark.parametrize("threat", THREATS)
def test_external_data_stays_in_its_folder(folder: Path, threat: str) -> None:
    location, prepare, reason = THREATS[threat]
    prepare(folder)
    (folder / "m.onnx").write_bytes(external(location))
    model = proto.read(folder / "m.onnx")
    assert model.graph.initializers["w"].data is None
    (problem,) = model.problems
    assert re.search(reason, problem) and problem.endswith(": w")
    assert not model.runnable and back(model) == model


@pytest.mark.parametrize(("offset", "length"), [(5, 12), (-1, 12), (0, 11), (2**70, 12), ("x", 12), (0, -12)])
def test_external_data_within_the_file(folder: Path, offset: Any, length: Any) -> None:
    (folder / "m.onnx").write_bytes(external("w.bin", offset, length))
    model = proto.read(folder / "m.onnx")
    assert model.graph.initializers["w"].data is None and len(model.problems) == 1


def test_hub_cache(folder: Path) -> None:
    """Model and data are links into a folder of blobs, as Hugging Face's cache has it."""
    blobs, snapshot = folder / "blobs", folder / "snapshots" / "1"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    (blobs / "aa").write_bytes(external("m.onnx_data"))
    (blobs / "bb").write_bytes(b"0123456789ab")
    (snapshot / "m.onnx").symlink_to("../../blobs/aa")
    (snapshot / "m.onnx_data").symlink_to("../../blobs/bb")
    assert proto.read(snapshot / "m.onnx").graph.initializers["w"].bytes() == b"0123456789ab"


def test_what_is_no_file(folder: Path) -> None:
    fifo(folder)
    for name, reason in (("evil", "no regular file"), ("sub", "no regular file"), ("gone", "No such file")):
        with pytest.raises(ConvertError, match=reason):
            proto.read(folder / name)


def test_external_data_that_changes(folder: Path) -> None:
    (folder / "m.onnx").write_bytes(external("w.bin"))
    tensor = proto.read(folder / "m.onnx").graph.initializers["w"]
    (folder / "w.bin").write_bytes(b"x" * 20)
    with pytest.raises(ConvertError, match="has changed"):
        tensor.bytes()
    (folder / "w.bin").unlink()
    (folder / "w.bin").symlink_to("../secret")
    with pytest.raises(ConvertError):
        tensor.bytes()


def test_write_is_whole_or_not_at_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = folder / "m.onnx"
    proto.write(Model(x()), place)
    before = place.read_bytes()

    def fail() -> bytes:
        raise ConvertError("no such weights")

    broken = Model(x(initializers={"w": Tensor("w", "float32", (2,), fail)}))
    for limit in (proto.EMBED, 4):
        monkeypatch.setattr(proto, "EMBED", limit)
        with pytest.raises(ConvertError, match="no such weights"):
            proto.write(broken, place)
        assert place.read_bytes() == before
        assert sorted(file.name for file in folder.iterdir()) == ["m.onnx", "sub", "w.bin"]
    with pytest.raises(ConvertError, match="cannot be written"):
        proto.write(Model(x()), folder / "none" / "m.onnx")


def test_large_weights_go_beside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proto, "EMBED", 1000)
    weights = {name: Tensor(name, "uint8", (size,), bytes(range(250)) * 8) for name, size in (("a", 2000), ("b", 2000))}
    model = Model(x(initializers={**weights, "s": Tensor.of("s", "float32", [1.0])}))
    proto.write(model, folder / "m.onnx")
    assert (folder / "m.onnx").stat().st_size < 1000
    assert (folder / "m.onnx.data").stat().st_size == 2048 - 48 + 2000 + 48
    found = proto.read(folder / "m.onnx")
    assert found == model
    onnx.checker.check_model(str(folder / "m.onnx"))
    proto.write(found, folder / "m.onnx")  # over the file that its own weights are read from
    assert proto.read(folder / "m.onnx") == model


# Other people's files ---------------------------------------------------------------------------------------------


def opened(content: bytes, **given: Any) -> Model:
    return converter.open(Path("net.onnx"), content, options(**given))


def test_ir_version_1_without_opset() -> None:
    message = onnx.ModelProto(ir_version=1)
    node = message.graph.node.add(op_type="Conv", input=["x", "w"], output=["y"])
    node.attribute.add(name="kernel_shape").ints.extend([3, 3])
    node.attribute.add(name="alpha").f = 0.5
    model = opened(message.SerializeToString())
    assert model.opset_imports == {"": 1}
    assert model.graph.nodes[0].attributes == {"kernel_shape": (3, 3), "alpha": 0.5}
    assert model.graph.undefined == ("x", "w")


def test_dims_ids_and_old_inputs() -> None:
    message = onnx.ModelProto(ir_version=3)
    for name in ("x", "w"):
        shape = message.graph.input.add(name=name).type.tensor_type.shape
        for symbol in ("?", "", "-1", "n"):
            shape.dim.add(dim_param=symbol)
        shape.dim.add(dim_value=-1)
        shape.dim.add(dim_value=3)
        shape.dim.add()
    message.graph.initializer.add(name="w", data_type=1, dims=[1], float_data=[0.5])
    for name in ("a", "a", "", ""):
        message.graph.node.add(
            op_type="Axpy", domain="caffe", name=name, input=["x"], output=[f"o{len(message.graph.node)}"]
        )
    message.graph.node.add(op_type="Relu", domain="ai.onnx", name="a:2", input=["x"], output=["r"])
    model = opened(message.SerializeToString())
    assert model.graph.inputs == ("x",) and "w" not in model.graph.values
    assert model.graph.value("x").shape == (None, None, None, "n", None, 3, None)
    assert [node.id for node in model.graph.nodes] == ["a", "a:2", "o2", "o3", "a:2:2"]
    assert model.graph.nodes[-1].domain == ""
    assert model.graph.initializers["w"].bytes() == b"\0\0\0?"
    same(replace(model, opset_imports={"": 18}))


@pytest.mark.parametrize(
    ("field", "code", "numbers", "expected"),
    [
        ("float_data", 1, [1.0], "0000803f"),
        ("float_data", 14, [1.0, 0.0], "0000803f00000000"),
        ("int32_data", 6, [-2], "feffffff"),
        ("int32_data", 2, [254], "fe"),
        ("int32_data", 3, [-2], "fe"),
        ("int32_data", 4, [65534], "feff"),
        ("int32_data", 9, [1], "01"),
        ("int32_data", 10, [0x3C00], "003c"),
        ("int32_data", 16, [0x3F80], "803f"),
        ("int32_data", 22, [0x21], "21"),
        ("int64_data", 7, [-2], "feffffffffffffff"),
        ("double_data", 11, [1.0], "000000000000f03f"),
        ("uint64_data", 12, [2**32 - 2], "feffffff"),
        ("uint64_data", 13, [2**64 - 2], "feffffffffffffff"),
    ],
)
def test_typed_data(field: str, code: int, numbers: list[Any], expected: str) -> None:
    message = onnx.ModelProto(ir_version=4)
    weight = message.graph.initializer.add(name="w", data_type=code, dims=[1])
    getattr(weight, field).extend(numbers)
    assert opened(message.SerializeToString()).graph.initializers["w"].bytes().hex() == expected


@pytest.mark.parametrize("dims", [[2], [-1], [2**40, 2**40], []])
def test_data_that_does_not_fit(dims: list[int]) -> None:
    message = onnx.ModelProto(ir_version=4)
    message.graph.initializer.add(name="w", data_type=1, dims=dims, raw_data=b"12345")
    model = opened(message.SerializeToString())
    assert model.graph.initializers["w"].data is None and len(model.problems) == 1


def test_too_many_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"\x08\x0a\x3a\x08" + b"\x0a\x00" * 4
    assert len(opened(content).graph.nodes) == 4
    monkeypatch.setattr(decode, "NODES", 3)
    with pytest.raises(LimitError, match="nodes"):
        opened(content)


def test_input_shapes() -> None:
    values = {"x": Value("x", "float32", ("n", 3)), "y": Value("y", "float32", ("n", "m"))}
    model = Model(x(values=values))
    for key in ("x", "0"):
        found = reshape(model, {key: (None, (7, 3))}).graph
        assert found.value("x").shape == (7, 3) and found.value("y").shape == (7, "m")
    with pytest.raises(ConfigError, match="no input 'q'"):
        reshape(model, {"q": (None, (7, 3))})


def test_match() -> None:
    place = Path("model.onnx")
    content = proto.to_proto(Model(x())).SerializeToString()
    assert converter.match(Path("noname"), content) == 95
    for head in (
        b"",
        b'name: "net"\n',
        b"\x89PNG\r\n\x1a\n",
        b"\x89HDF\r\n",
        b"PK\3\4",
        b"\x80\2}q",
        b"\x0a\x05Conv1\x12\x02",
    ):
        assert converter.match(Path("noname"), head) == 0
    saved_model = b"\x08\x01\x12\x96\x8a\x01\x0a\x05\x0a\x00\x12\x01\x01" + b"\0" * 200
    assert converter.match(Path("saved_model.pb"), saved_model) == 0
    assert converter.match(place, b"garbage") == 10 and converter.match(place, b"") == 0


# Real files -------------------------------------------------------------------------------------------------------


def real() -> list[tuple[str, str]]:
    """Return (path, note) of every ONNX file in the manifest."""
    try:
        rows = [line.split("\t") for line in (MODELS / "MANIFEST.tsv").read_text("utf-8").splitlines()]
    except OSError:
        return []
    return [(row[0], row[-1]) for row in rows if row[0].startswith("onnx/") and ".onnx" in row[0]]


@pytest.mark.skipif(not MODELS.is_dir(), reason="needs the real models in ../shared/models")
@pytest.mark.parametrize(("name", "note"), real() or [("none", "")])
def test_real_files(name: str, note: str) -> None:
    place, content = MODELS / name, None
    if name.endswith(".gz"):
        content = gzip.decompress(place.read_bytes())
        place = Path(place.stem)
    head = (content or place.read_bytes())[:4096]
    assert converter.match(place, head) >= 50
    if note.startswith("refuse"):
        with pytest.raises(ParseError, match="LFS" if "LFS" in note else "truncated"):
            converter.open(place, content, options())
        return
    model = converter.open(place, content, options())
    model.graph.check()
    if note.startswith("nodes"):
        nodes, tensors = (int(word) for word in note.split()[1:4:2])
        assert (len(model.graph.nodes), len(model.graph.initializers)) == (nodes, tensors)
    else:
        assert note.startswith("draw") and not model.runnable and "missing" in model.problems[0]
    assert not set(model.graph.inputs) & model.graph.initializers.keys()
    same(model)


@pytest.mark.parametrize("name", ["mnist-8", "tract_qlstm", "basic_pitch_nmp", "light/light_resnet50"])
def test_what_is_written_runs_the_same(name: str, shared: Path, need: Callable[[str], Any]) -> None:
    runtime, numpy = need("onnxruntime"), need("numpy")
    place = shared / "onnx" / f"{name}.onnx"
    model = converter.open(place, None, options())
    feed = {}
    for number, key in enumerate(model.graph.inputs):
        shape = [dim if isinstance(dim, int) else 1 for dim in model.graph.value(key).shape or ()]
        feed[key] = numpy.random.default_rng(number).random(shape).astype(model.graph.value(key).dtype)
    sources = (
        place.read_bytes(),
        *(proto.to_proto(model, strict=strict).SerializeToString() for strict in (True, False)),
    )
    first, *others = (
        runtime.InferenceSession(source, providers=["CPUExecutionProvider"]).run(model.graph.outputs, feed)
        for source in sources
    )
    for other in others:
        for a, b in zip(first, other, strict=True):
            numpy.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
