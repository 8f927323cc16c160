"""What drawings open of ONNX files: local functions and the bodies of If, Loop and Scan; names and traces."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from graphviz_nets import api
from graphviz_nets.config import Options
from graphviz_nets.drawing.bodies import with_bodies
from graphviz_nets.drawing.diagram import Diagram, boxes, diagram
from graphviz_nets.errors import LimitError
from graphviz_nets.explain.runner import reference
from graphviz_nets.graph import functions
from graphviz_nets.graph.functions import flat
from graphviz_nets.graph.ir import Function, Graph, Model, Node
from graphviz_nets.graph.proto import to_proto
from graphviz_nets.verify import difference

FLOW = """<ir_version: 8, opset_import: ["": 17, "my": 1]>
net (float[1,4] x, bool c, int64 n, float[5,4] s) => (float[1,4] z, float[1,4] w, float[4] st, float[5,4] sc) {
 y = Relu(x)
 z = If <then_branch = tb () => (float[1,4] a) { a0 = Add(y, x)
 a = Neg(a0) }, else_branch = eb () => (float[1,4] b) { b = Mul(y, y) }> (c)
 w = Loop <body = lb (int64 i, bool cc, float[1,4] v) => (bool co, float[1,4] vo) { co = Identity(cc)
 vv = my.twice <rate = 3.0> (v)
 vo = Add(vv, y) }> (n, c, z)
 h = Constant <value = float[4] {0.0,0.0,0.0,0.0}> ()
 st, sc = Scan <body = sb (float[4] hs, float[4] e) => (float[4] ho, float[4] eo) { ho = Add(hs, e)
 eo = Tanh(ho) }, num_scan_inputs = 1> (h, s)
}
<opset_import: ["": 17], domain: "my"> twice <rate: float> (a) => (b) { k = Constant <value_float: float = @rate> ()
 q = Mul(a, k)
 b = Sigmoid(q) }
"""


def load(text: str) -> Model:
    return api.load("net.onnx", data=onnx.parser.parse_model(text).SerializeToString())


@pytest.fixture(scope="module")
def flow() -> Model:
    return load(FLOW)


def wired(picture: Diagram) -> set[tuple[str, str]]:
    return {(link.source, link.target) for link in picture.links}


def test_bodies_are_groups_with_wires_for_what_they_capture(flow: Model) -> None:
    picture = diagram(flow, Options(depth="all", fold=False))
    types = {box.id: box.type for box in boxes(picture.root)}
    of = {(types[a], types[b]) for a, b in wired(picture)}
    # The then branch takes x and the Relu from outside; its Neg and the else branch's Mul go to the If.
    assert {("Relu", "Add"), ("Input", "Add"), ("Neg", "If"), ("Mul", "If"), ("Relu", "Mul"), ("If", "Mul")} <= of
    # What the Loop carries comes from the If, the Scan's steps from its input.
    assert {("Sigmoid", "Add"), ("Add", "Loop"), ("Add", "Tanh"), ("Tanh", "Scan"), ("Input", "Loop")} <= of
    assert {box.type for box in boxes(picture.root) if box.group} >= {"If", "Loop", "Scan"}


def test_bodies_close(flow: Model) -> None:
    picture = diagram(flow, Options(depth=0))
    assert all(box.group is None for box in boxes(picture.root))
    assert {"If", "Loop", "Scan"} <= {box.type for box in boxes(picture.root)}


def test_the_model_itself_keeps_functions_and_bodies(flow: Model) -> None:
    assert [function.name for function in flow.functions] == ["twice"] and flow.runnable
    assert [node.op_type for node in flow.graph.nodes] == ["Relu", "If", "Loop", "Constant", "Scan"]


def test_functions_put_in_place_compute_the_same(flow: Model) -> None:
    given = {"x": np.array([[1, -2, 3, -4]], "f4"), "c": np.array(True), "n": np.array(3), "s": np.ones((5, 4), "f4")}
    whole = flat(flow)
    onnx.checker.check_model(to_proto(whole))
    assert not whole.functions
    one, two = reference(flow, given), reference(whole, given)
    assert one.keys() == two.keys()
    for name, value in one.items():
        error = difference(two[name], value)
        assert error is not None and error <= 1e-6


def test_calls_in_calls_are_scopes_in_scopes() -> None:
    model = load("""<ir_version: 8, opset_import: ["": 17, "my": 1]> net (float[2] x) => (float[2] y, float[2] z) {
     y = my.outer(x)
     z = my.outer(y) }
    <opset_import: ["": 17, "my": 1], domain: "my"> outer (a) => (b) { c = my.inner(a)
     b = my.inner(c) }
    <opset_import: ["": 17], domain: "my"> inner (a) => (b) { c = Neg(a)
     b = Abs(c) }""")
    opened = with_bodies(model).model
    kinds = {scope.path: (scope.kind, scope.type) for scope in opened.scopes.values()}
    assert kinds[("outer",)] == ("function", "outer") and kinds["outer", "inner#2"] == ("function", "inner")
    assert len(opened.graph.nodes) == 8
    opened.graph.check()


def test_functions_that_call_themselves_or_explode_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    itself = load("""<ir_version: 8, opset_import: ["": 17, "my": 1]> net (float[2] x) => (float[2] y) { y = my.f(x) }
    <opset_import: ["my": 1], domain: "my"> f (a) => (b) { b = my.f(a) }""")
    assert "calls itself" in "".join(flat(itself).problems)
    levels = "\n".join(
        f'<opset_import: ["my": 1], domain: "my"> f{k} (a) => (b) {{ c = my.f{k - 1}(a)\n b = my.f{k - 1}(c) }}'
        for k in range(1, 30)
    )
    many = load(f"""<ir_version: 8, opset_import: ["": 17, "my": 1]> net (float[2] x) => (float[2] y) {{
     y = my.f29(x) }}
    <opset_import: ["": 17], domain: "my"> f0 (a) => (b) {{ b = Neg(a) }}
    {levels}""")
    monkeypatch.setattr(functions, "NODES", 5_000)
    with pytest.raises(LimitError):
        flat(many)
    bodies = [
        Function(f"f{k}", "my", Graph(nodes=tuple(Node(f"f{k - 1}", domain="my", id=c) for c in "ab" if k)))
        for k in range(30)
    ]
    calls = Model(Graph(nodes=(Node("f29", domain="my", id="c"),)), functions=tuple(bodies))
    with pytest.raises(LimitError, match="calls replaced"):  # of functions that do nothing
        flat(calls)


def test_a_loops_layers_cost_as_often_as_they_run() -> None:
    model = load("""<ir_version: 8, opset_import: ["": 17]> net (float[5,4] s, float[4,4] m) => (float[5,4] o) {
     o = Scan <body = b (float[4] e) => (float[4] f) { f = MatMul(e, m) }, num_scan_inputs = 1> (s) }""")
    picture = diagram(model, Options(depth="all"))
    product = next(box for box in boxes(picture.root) if box.type == "MatMul")
    assert product.details["ops"] == ["MatMul"]
    assert with_bodies(model).times == {"o/body/f": 5, "o": 0}


def test_dotted_names_are_scopes_where_most_have_them() -> None:
    proto = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["": 17]> net (float[2] x) => (float[2] y) {
     a = Neg(x)
     b = Abs(a)
     y = Relu(b) }""")
    for node, name in zip(proto.graph.node, ("enc.layer.0.neg", "enc.layer.0.abs", "enc.act"), strict=True):
        node.name = name
    model = api.load("net.onnx", data=proto.SerializeToString())
    assert [node.scope for node in model.graph.nodes] == [("enc", "layer.0"), ("enc", "layer.0"), ("enc",)]


def test_stack_traces_do_not_stay() -> None:
    proto = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 17]> net (float[2] x) => (float[2] y) { y = Neg(x) }'
    )
    proto.graph.node[0].metadata_props.add(key="pkg.torch.onnx.stack_trace", value="/home/somebody/secret.py")
    model = api.load("net.onnx", data=proto.SerializeToString())
    assert b"somebody" not in to_proto(model).SerializeToString()


def test_weights_in_constant_nodes_count() -> None:
    model = load("""<ir_version: 8, opset_import: ["": 17]> net (float[1,2] x) => (float[1,3] y) {
     w = Constant <value = float[2,3] {1,2,3,4,5,6}> ()
     y = MatMul(x, w) }""")
    assert api.summary(model).parameters == 6
