"""TensorFlow's graphs: real files, scopes, loops, functions, machinery, event files, hostile bytes, runs."""

from __future__ import annotations

import importlib
import json
import lzma
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from graphviz_nets.api import load, render, save, summary
from graphviz_nets.cli import run
from graphviz_nets.config import Options
from graphviz_nets.converters import tensorflow_files, tensorflow_graph
from graphviz_nets.converters.tensorflow_files import kind_of, records
from graphviz_nets.converters.tensorflow_graph import parts
from graphviz_nets.converters.tensorflow_names import plain, renamed
from graphviz_nets.drawing.diagram import Plan, boxes, diagram
from graphviz_nets.errors import (
    ConfigError,
    ConvertError,
    GraphvizNetsError,
    LimitError,
    MissingExtra,
    ParseError,
    UnknownFormat,
)
from graphviz_nets.explain.runner import Runner
from graphviz_nets.graph.builder import Builder
from graphviz_nets.graph.ir import Graph, Model, Node
from graphviz_nets.graph.scopes import Scope
from graphviz_nets.verify import difference

from .conftest import ALL

TOLERANCE = 1e-4


@pytest.fixture
def folder(shared: Path, need: Any) -> Path:
    """Return the folder of TensorFlow's files."""
    need("tensorboard")
    return shared / "tensorflow"


@pytest.fixture
def tf(need: Any) -> ModuleType:
    """Return TensorFlow, where onnxruntime and tf2onnx are too."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    module: ModuleType = need("tensorflow")
    need("tf2onnx")
    need("onnxruntime")
    return module


def text_graph(text: str) -> Model:
    return load("graph.pbtxt", data=text.encode())


def node(name: str, op: str, *inputs: str, attributes: str = "") -> str:
    given = " ".join(f'input: "{item}"' for item in inputs)
    return f'node {{ name: "{name}" op: "{op}" {given} {attributes} }}\n'


def written(net: Any, route: str, folder: Path, tf: ModuleType) -> Any:
    """Return a Keras model as `load` takes it: itself, or a file as Keras or TensorFlow writes it."""
    place = folder / ("net.keras" if route == "keras" else "net")
    if route == "memory":
        return net
    if route == "keras":
        net.save(place)
    elif route == "exported":
        net.export(place, verbose=False)
    else:
        tf.saved_model.save(net, str(place))
    return place


ROUTES = ("memory", "keras", "exported", "saved")


# Real files -------------------------------------------------------------------------------------------------------

COUNTS = {  # nodes of the GraphDef, as the manifest of the files counts them
    "graphdef/ESPCN_x2.pb": 19, "graphdef/FSRCNN_x2.pb": 92, "graphdef/arm_yeahworld_mnet.pb": 677,
    "graphdef/lucid_graphdef_fixture.pb": 4, "graphdef/tf-mtcnn_mtcnn.pb": 894,
    "graphdef/tf2onnx_lstm_frozen.pb": 529, "graphdef/tf2onnx_regression_frozen.pb": 8,
    "meta/FSRCNN_x3_ckpt.meta": 1159, "meta/session_bundle_half_plus_two_export.meta": 57,
    "meta/tf2onnx_regression_model.meta": 128, "pbtxt/model_explorer_graphdef_foo.pbtxt": 1,
    "pbtxt/ssd_mobilenet_v2_opencv_graph.pbtxt": 292, "pbtxt/tensorboard_graph_demo_run1.pbtxt": 118,
    "pbtxt/tensorflow.cr_graph.pbtxt": 10, "pbtxt/zhacmsra_large_graph.pbtxt.xz": 461,
}  # fmt: skip


def opened(path: Path) -> Model:
    if path.suffix != ".xz":
        return load(path)
    return load(path.with_suffix("").name, data=lzma.decompress(path.read_bytes()))


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_every_node_of_a_graph_is_there(name: str, folder: Path, tmp_path: Path) -> None:
    model = opened(folder / name)
    graph = model.graph
    graph.check()
    found = len(graph.nodes) + len(graph.initializers) + len(graph.inputs)
    if "zhacmsra" in name:  # its calls are opened
        assert found > COUNTS[name] and not any(node.op_type.startswith("softmax_cross") for node in graph.nodes)
    else:
        assert found == COUNTS[name]
    save(model, tmp_path / "model.onnx")
    assert load(tmp_path / "model.onnx") == model
    assert b"<svg" in render(model, tmp_path / "model.svg").read_bytes()[:200]


@pytest.mark.parametrize(
    ("name", "parameters", "outputs"),
    [
        ("basic_pitch_nmp", None, 3),
        ("mlperftiny_kws_ref_model", 23756, 1),
        ("serving_saved_model_counter/00000123", 1, 1),
        ("serving_saved_model_half_plus_two_cpu/00000123", 2, 1),
        ("serving_saved_model_half_plus_two_tf2_cpu/00000123", 2, 1),
        ("tf2onnx_regression", 2, 1),
    ],
)
def test_saved_models_open(name: str, parameters: int | None, outputs: int, folder: Path, tmp_path: Path) -> None:
    model = load(folder / "savedmodel" / name)
    model.graph.check()
    assert model == load(folder / "savedmodel" / name / "saved_model.pb")
    assert len(model.graph.outputs) == outputs
    assert not any("PartitionedCall" in node.op_type for node in model.graph.nodes)
    if parameters is not None:
        assert summary(model).parameters == parameters
    save(model, tmp_path / "model.onnx")
    assert load(tmp_path / "model.onnx") == model


def test_cost_of_a_saved_model(folder: Path) -> None:
    """MLPerf Tiny gives its keyword spotter 2.66 million multiply-accumulates."""
    assert summary(load(folder / "savedmodel" / "mlperftiny_kws_ref_model")).macs == 2_656_768


def test_signatures_are_chosen_and_listed(folder: Path) -> None:
    path = folder / "savedmodel" / "serving_saved_model_half_plus_two_tf2_cpu" / "00000123"
    assert load(path).graph.inputs == ("serving_default_x",)
    assert load(path, signature="regress_x_to_y").graph.inputs == ("regress_x_to_y_inputs",)
    with pytest.raises(ConfigError, match="regress_x_to_y2"):
        load(path, signature="no_such")
    with pytest.raises(ConfigError, match="serve"):
        load(path, tag="no_such")


def test_loops_and_control_edges_survive(folder: Path, tmp_path: Path) -> None:
    model = load(folder / "graphdef" / "tf-mtcnn_mtcnn.pb")
    graph = model.graph
    assert len(graph.back_edges) == 5
    assert all(graph.by_id[name].op_type == "Merge" for name, _ in graph.back_edges)
    assert model.scopes["pnet", "while"].kind == "loop"
    controls = sum(len(node.control_inputs) for node in graph.nodes)
    assert controls > 50
    save(model, tmp_path / "mtcnn.onnx")
    again = load(tmp_path / "mtcnn.onnx").graph
    assert again.back_edges == graph.back_edges and sum(len(node.control_inputs) for node in again.nodes) == controls


def test_event_files_and_log_folders(shared: Path, need: Any) -> None:
    need("tensorboard")
    events = shared / "events"
    model = load(events / "guild_model_proxies")
    same = load(next((events / "guild_model_proxies").iterdir()))
    assert len(model.graph.nodes) > 400 and model.graph.nodes == same.graph.nodes
    assert summary(load(events / "wandb_cvp")).parameters is not None
    with pytest.raises(ConvertError, match="cut off"):
        load(next((events / "truncated").iterdir()))
    with pytest.raises(ConvertError, match="no event file in the folder holds a graph"):
        load(events / "reducer_strict")


def test_what_is_written_beside_an_event_file_is_not_one(shared: Path, need: Any, tmp_path: Path) -> None:
    need("tensorboard")
    need("onnx")
    model = load(shared / "events" / "wandb_cvp")
    assert load(save(model, tmp_path / "events.out.tfevents.1585769947.cvp.onnx")) == model
    with pytest.raises(ConvertError, match="no whole graph"):
        load("events.out.tfevents.1", data=b"")


@pytest.mark.parametrize("by", ["layer", "node", "scope"])
def test_summaries_of_every_graph_are_json(by: str, folder: Path, shared: Path, capsys: Any) -> None:
    """Constants in loops are nodes, with tensors among their attributes."""
    for file in (folder / "graphdef" / "tf-mtcnn_mtcnn.pb", shared / "events" / "wandb_cvp"):
        assert run(["summary", str(file), "--by", by, "--format", "json"]) == 0
        rows = json.loads(capsys.readouterr().out)["rows"]
    values = [row["attributes"].get("value") for row in rows if row["type"] == "tf::Const"]
    assert by == "scope" or (1 in values and [1, 1] in values and "string[]" in values)


def test_a_folder_of_cut_files_says_so(shared: Path, need: Any) -> None:
    need("tensorboard")
    with pytest.raises(ConvertError, match="the record at byte 40 is cut off"):
        load(shared / "events" / "truncated")


def test_a_folder_is_a_log_folder_by_what_is_near(tmp_path: Path) -> None:
    run_ = tmp_path / "experiment" / "run" / "train"
    run_.mkdir(parents=True)
    (run_ / "events.out.tfevents.1").touch()
    (tmp_path / "itself").symlink_to(tmp_path)
    assert kind_of(tmp_path, b"") == ("logs", 60)
    deep = run_ / "too" / "deep"
    deep.mkdir(parents=True)
    (run_ / "events.out.tfevents.1").rename(deep / "events.out.tfevents.1")
    assert kind_of(tmp_path, b"")[1] == 0
    assert kind_of(run_, b"") == ("logs", 60)


def test_a_large_folder_is_not_searched_to_its_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tensorflow_files, "MOST_FILES", 5)
    for k in range(5):
        (tmp_path / f"a{k}").touch()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "events.out.tfevents.1").touch()
    assert kind_of(tmp_path, b"")[1] == 0


def test_a_broken_file_is_refused(folder: Path) -> None:
    with pytest.raises(ParseError, match="truncated"):
        load(folder / "malformed" / "truncated_ESPCN_x2.pb")


def test_structure_needs_no_tensorflow(folder: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from graphviz_nets.api import load, render\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('tensorflow', 'keras', 'tf2onnx'): raise ImportError(name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        f"render(load({str(folder / 'savedmodel' / 'basic_pitch_nmp')!r}), {str(tmp_path / 'a.svg')!r})\n"
        f"model = load({str(folder / 'graphdef' / 'ESPCN_x2.pb')!r}, deploy=True)\n"
        "assert not model.runnable and 'tensorflow' in model.problems[-1], model.problems\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# Reading ----------------------------------------------------------------------------------------------------------


def test_a_name_that_is_also_a_scope_stands_in_it(need: Any) -> None:
    need("tensorboard")
    model = text_graph(node("x", "Placeholder") + node("a/b", "Relu", "x") + node("a/b/c", "Neg", "a/b"))
    assert [(n.id, n.scope) for n in model.graph.nodes] == [("a/b", ("a", "b")), ("a/b/c", ("a", "b"))]
    drawn = {box.id for box in boxes(diagram(model, Options(fold=False, depth="all")).root)}
    assert {"a/b/(b)", "a/b/c"} <= drawn


def series(text: str, **given: Any) -> list[tuple[str, int]]:
    """Return the series in the picture of a graph: title and number of members."""
    groups = Plan(text_graph(text), Options(**given)).tree.groups.values()
    return [
        (place.title, len(place.children))
        for place in groups
        if place.scope is not None and place.scope.kind == "series"
    ]


def test_numbered_operations_are_series(need: Any) -> None:
    need("tensorboard")
    x = node("x", "Placeholder")
    fan = [node(f"a/cut{f'_{k}' * (k > 0)}", "Slice", "x") for k in range(6)]
    together = node("a/all", "ConcatV2", *(f"a/cut{f'_{k}' * (k > 0)}" for k in range(6)))
    assert series(x + "".join(fan) + together) == [("cut … cut_5", 6)]
    assert series(x + "".join(fan[:4]) + together) == []  # four
    assert series(x + "".join(fan[:3] + fan[4:]) + together) == []  # a gap
    assert series(x + "".join(fan) + together, group="scopes") == []
    mixed = x + "".join(fan[:5]) + node("a/cut_5", "Pad", "x") + together
    assert series(mixed) == [("cut … cut_4", 5)]


def test_series_are_linked_or_side_by_side_and_turn_no_wire_round(need: Any) -> None:
    need("tensorboard")
    x = node("x", "Placeholder")
    line = "".join(node(f"step_{k}", "MatMul", "x" if k == 1 else f"step_{k - 1}") for k in range(1, 7))
    assert series(x + line) == [("step_1–6", 6)]
    woven = "".join(
        node(f"step_{k}", "MatMul", "x" if k == 1 else f"norm_{k - 1}") + node(f"norm_{k}", "LRN", f"step_{k}")
        for k in range(1, 7)
    )
    assert series(x + woven) == []
    apart = "".join(node(f"in_{k}", "Placeholder") + node(f"end_{k}", "Softmax", f"in_{k}") for k in range(1, 7))
    assert series(apart) == []
    late = "".join(node(f"cut_{k}", "Slice", "x") for k in range(5)) + node(
        "all", "Pack", *(f"cut_{k}" for k in range(5))
    )
    assert series(x + late + node("cut_5", "Slice", "all")) == [("cut_0–4", 5)]
    many = "".join(node(f"cut_{k}", "Slice", "x") + node(f"pad_{k}", "Pad", f"cut_{(k + 1) % 6}") for k in range(6))
    assert series(x + many + node("all", "Pack", *(f"pad_{k}" for k in range(6)))) == [("cut_0–5", 6), ("pad_0–5", 6)]


def test_real_graphs_have_series(folder: Path) -> None:
    model = opened(folder / "meta" / "FSRCNN_x3_ckpt.meta")
    group = Plan(model, Options()).tree.groups["save/Assign…save/Assign_70"]
    assert group.scope is not None and (group.scope.type, len(group.children)) == ("Assign", 71)
    saved = diagram(load(folder / "savedmodel" / "basic_pitch_nmp"), Options(expand=("model_1/harmonic_stacking",)))
    titles = {box.title for box in boxes(saved.root)}
    assert {"strided_slice … strided_slice_6", "Pad … Pad_6"} <= titles


def test_functions_stand_in_the_place_of_their_calls(need: Any) -> None:
    need("tensorboard")
    text = node("x", "Placeholder") + node("net/call", "Twice", "x") + node("y", "Neg", "net/call:0")
    text += """library { function {
      signature { name: "Twice" input_arg { name: "v" type: DT_FLOAT } output_arg { name: "r" type: DT_FLOAT } }
      node_def { name: "inner/sum" op: "AddV2" input: "v" input: "v" }
      ret { key: "r" value: "inner/sum:z:0" } } }"""
    model = text_graph(text)
    assert [(n.id, n.op_type, n.inputs) for n in model.graph.nodes] == [
        ("net/call/inner/sum", "AddV2", ("x", "x")),
        ("y", "Neg", ("net/call/inner/sum",)),
    ]


def test_a_function_that_calls_itself_is_not_opened_for_ever(need: Any) -> None:
    need("tensorboard")
    text = node("x", "Placeholder") + node("f", "Again", "x")
    text += """library { function {
      signature { name: "Again" input_arg { name: "v" type: DT_FLOAT } output_arg { name: "r" type: DT_FLOAT } }
      node_def { name: "once" op: "Again" input: "v" }
      ret { key: "r" value: "once:r:0" } } }"""
    model = text_graph(text)
    assert any("calls itself" in problem for problem in model.problems)
    assert [n.op_type for n in model.graph.nodes] == ["Again"]


def test_nodes_without_names_are_drawn(need: Any, tmp_path: Path) -> None:
    need("tensorboard")
    model = text_graph(node("x", "Placeholder") + node("", "Neg", "x") + node("", "Abs", "x"))
    assert [item.id for item in model.graph.nodes] == ["Neg", "Abs"]
    assert render(model, tmp_path / "a.svg").exists()


@pytest.mark.parametrize("inner", ["", 'node_def { name: "q" op: "Neg" input: "v" }'])
def test_functions_that_ask_for_any_number_of_nodes_hit_a_limit(need: Any, monkeypatch: Any, inner: str) -> None:
    """Each of 20 functions calls the one before ten times; those of the first may do nothing at all."""
    need("tensorboard")
    monkeypatch.setattr(tensorflow_graph, "MOST_NODES", 5000)
    functions = ""
    for k in range(20):
        body = "".join(f'node_def {{ name: "n{j}" op: "f{k - 1}" input: "v" }}' for j in range(10)) if k else inner
        functions += f"""function {{
          signature {{ name: "f{k}" input_arg {{ name: "v" type: DT_FLOAT }}
                      output_arg {{ name: "r" type: DT_FLOAT }} }}
          {body} ret {{ key: "r" value: "v" }} }}"""
    with pytest.raises(LimitError, match="all calls inlined is over the limit of 5000"):
        text_graph(node("x", "Placeholder") + node("y", "f19", "x") + f"library {{ {functions} }}")


def test_a_result_of_any_number_hits_a_limit(need: Any) -> None:
    need("tensorboard")
    with pytest.raises(LimitError, match="results of all nodes"):
        text_graph(node("x", "Placeholder") + node("s", "Unheard", "x") + node("y", "Neg", "s:9999999"))


def test_unknown_attributes_and_fields_are_read(need: Any) -> None:
    need("tensorboard")
    extra = 'attr { key: "odd" value { s: "yes" } } unheard_of { a: 1 }'
    model = text_graph(node("x", "Placeholder") + node("y", "FancyOp", "x", attributes=extra))
    assert model.graph.nodes[0].attributes["odd"] == "yes"


def test_text_with_a_fault_names_its_place(need: Any) -> None:
    need("tensorboard")
    with pytest.raises(ParseError) as caught:
        text_graph('node {\n  name: "x"\n  op: 5 }')
    assert (caught.value.line, caught.value.path) == (3, "graph.pbtxt")


def test_names_of_any_depth() -> None:
    assert len(parts("/".join("a" * 10_000))) == 64


def test_calls_that_return_what_they_are_given(need: Any) -> None:
    need("tensorboard")
    text = node("x", "Placeholder") + node("f0", "Same", "x")
    text += "".join(node(f"f{k}", "Same", f"f{k - 1}") for k in range(1, 300)) + node("y", "Neg", "f299", "^f299")
    text += """library { function { ret { key: "r" value: "v" }
      signature { name: "Same" input_arg { name: "v" type: DT_FLOAT } output_arg { name: "r" type: DT_FLOAT } } } }"""
    assert [(n.id, n.inputs) for n in text_graph(text).graph.nodes] == [("y", ("x",))]


def test_deep_text_is_our_error(need: Any) -> None:
    need("tensorboard")
    with pytest.raises(GraphvizNetsError):
        text_graph("node { " + "attr { value { func { " * 20_000)
    with pytest.raises(GraphvizNetsError):
        text_graph("node { " + "unheard_of { " * 100_000)


LOOP = """library {
  function {
    signature { name: "more" input_arg { name: "i" type: DT_INT32 } input_arg { name: "v" type: DT_FLOAT }
                input_arg { name: "w" type: DT_RESOURCE } output_arg { name: "yes" type: DT_BOOL } }
    node_def { name: "net/loop/Less" op: "Less" input: "i" input: "i" }
    ret { key: "yes" value: "net/loop/Less:z:0" } }
  function {
    signature { name: "step" input_arg { name: "i" type: DT_INT32 } input_arg { name: "v" type: DT_FLOAT }
                input_arg { name: "w" type: DT_RESOURCE } output_arg { name: "o" type: DT_INT32 }
                output_arg { name: "p" type: DT_FLOAT } output_arg { name: "q" type: DT_RESOURCE } }
    node_def { name: "net/loop/add" op: "AddV2" input: "i" input: "i" }
    node_def { name: "net/loop/read" op: "ReadVariableOp" input: "w" }
    node_def { name: "net/loop/mm" op: "MatMul" input: "v" input: "net/loop/read:value:0" }
    ret { key: "o" value: "net/loop/add:z:0" } ret { key: "p" value: "net/loop/mm:product:0" }
    ret { key: "q" value: "w" } }
  function {
    signature { name: "yes" input_arg { name: "v" type: DT_FLOAT } output_arg { name: "r" type: DT_FLOAT } }
    node_def { name: "pos" op: "Relu" input: "v" } ret { key: "r" value: "pos:activations:0" } }
  function {
    signature { name: "no" input_arg { name: "v" type: DT_FLOAT } output_arg { name: "r" type: DT_FLOAT } }
    node_def { name: "again" op: "If" input: "v" input: "v" attr { key: "then_branch" value { func { name: "no" } } }
               attr { key: "else_branch" value { func { name: "yes" } } } }
    ret { key: "r" value: "again:output:0" } } }
"""


def functional(op: str = "") -> str:
    def func(key: str, name: str) -> str:
        return f'attr {{ key: "{key}" value {{ func {{ name: "{name}" }} }} }}'

    kinds = 'attr { key: "T" value { list { type: [DT_INT32, DT_FLOAT, DT_RESOURCE] } } }'
    text = node("i", "Placeholder") + node("x", "Placeholder") + node("w", "VarHandleOp", attributes=WEIGHT)
    text += node(
        "net/loop", f"{op}While", "i", "x", "w", attributes=kinds + func("cond", "more") + func("body", "step")
    )
    branches = func("then_branch", "yes") + func("else_branch", "no")
    return text + node("net/which", f"{op}If", "net/loop", "net/loop:1", attributes=branches) + LOOP


WEIGHT = """attr { key: "dtype" value { type: DT_FLOAT } }
            attr { key: "shape" value { shape { dim { size: 4 } dim { size: 4 } } } }"""


@pytest.mark.parametrize("op", ["", "Stateless"])
def test_bodies_of_loops_and_choices_are_scopes(op: str, need: Any, tmp_path: Path) -> None:
    need("tensorboard")
    model = text_graph(functional(op))
    graph = model.graph
    graph.check()
    assert {n.id: n.inputs for n in graph.nodes if n.scope[:2] == ("net", "loop")} == {
        "net/loop": ("i", "x", "w", "net/loop/cond/Less", "net/loop/body/add", "net/loop/body/mm", ""),
        "net/loop/cond/Less": ("net/loop", "net/loop"),
        "net/loop/body/add": ("net/loop", "net/loop"),
        "net/loop/body/read": ("w",),  # what stays the same is read from outside
        "net/loop/body/mm": ("net/loop:1", "net/loop/body/read"),
    }
    assert graph.back_edges == (("net/loop", 3), ("net/loop", 4), ("net/loop", 5))
    assert graph.by_id["net/which"].inputs == (
        "net/loop", "net/loop:1", "net/which/then_branch/pos", "net/which/else_branch/again"
    )  # fmt: skip
    kinds = {scope.id: scope.kind for scope in model.scopes.values()}
    assert {
        "net/loop": "loop",
        "net/loop/body": "subgraph",
        "net/which/then_branch": "subgraph",
    }.items() <= kinds.items()
    assert "net/which/else_branch/again/then_branch" not in kinds  # it would call itself
    assert summary(model).parameters == 16
    save(model, tmp_path / "loop.onnx")
    assert load(tmp_path / "loop.onnx") == model
    drawn = diagram(model, Options(depth="all"))
    wires = {(link.source, link.target) for link in drawn.links}
    assert {("net/loop/(loop)", "net/loop/body/mm"), ("net/loop/body/mm", "net/loop/(loop)")} <= wires


def test_loops_and_choices_run(tf: ModuleType, tmp_path: Path) -> None:
    import numpy as np

    class Net(tf.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            self.w = tf.Variable(np.random.default_rng(0).normal(0, 0.3, (4, 4)).astype("f4"), name="w")

        @tf.function(input_signature=[tf.TensorSpec((2, 4), tf.float32, "x")])
        def call(self, x: Any) -> Any:
            with tf.name_scope("net"):
                step = lambda k, y: (k + 1, tf.tanh(tf.matmul(y, self.w)))  # noqa: E731
                _, y = tf.while_loop(lambda k, y: k < 3, step, (0, x), name="loop")
                return {"z": tf.cond(tf.reduce_sum(x) > 0, lambda: tf.nn.relu(y), lambda: tf.sigmoid(y), name="which")}

    net = Net()
    tf.saved_model.save(net, str(tmp_path / "net"), signatures=net.call)
    drawn = load(tmp_path / "net")
    assert drawn.scopes["net", "loop"].kind == "loop" and drawn.scopes["net", "which", "then_branch"].kind == "subgraph"
    for model in (load(tmp_path / "net", deploy=True), load(net.call)):
        assert {"Loop", "If"} <= {node.op_type for node in model.graph.nodes}, model.problems
        for sign in (1, -1):  # both branches
            x = sign * np.abs(np.random.default_rng(1).normal(0, 1, (2, 4))).astype("f4")
            (mine,) = Runner(model, provider="cpu")(x).values()
            error = difference(mine, np.asarray(net.call(tf.constant(x))["z"]))
            assert error is not None and error <= TOLERANCE


def test_normalization_by_the_batch_is_what_tensorflow_computes(tf: ModuleType, tmp_path: Path) -> None:
    """tf2onnx takes it for one by stored statistics, and says so on its log only."""
    import numpy as np

    rng = np.random.default_rng(3)
    mean, variance = tf.zeros(4), tf.ones(4)
    scale, shift = (tf.constant(rng.normal(1, 0.3, 4).astype("f4")) for _ in range(2))

    class Net(tf.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            self.seen = tf.Variable(0.0)

        @tf.function(input_signature=[tf.TensorSpec((None, 5, 5, 4), tf.float32, "x")])
        def call(self, x: Any) -> Any:
            self.seen.assign_add(1.0)  # as Keras does with running statistics
            y, *_ = tf.compat.v1.nn.fused_batch_norm(x, scale, shift, mean, variance, is_training=True, name="norm")
            return {"y": tf.nn.relu(y)}

    net = Net()
    tf.saved_model.save(net, str(tmp_path / "net"), signatures=net.call)
    x = rng.normal(2, 3, (3, 5, 5, 4)).astype("f4")
    model = load(tmp_path / "net", deploy=True)
    (mine,) = Runner(model, provider="cpu")(x).values()
    error = difference(mine, np.asarray(net.call(tf.constant(x))["y"]))
    assert error is not None and error <= TOLERANCE

    both = tf.function(lambda x: tf.raw_ops.FusedBatchNormV3(
        x=x, scale=scale, offset=shift, mean=mean, variance=variance, is_training=True)[:2])  # fmt: skip
    refused = load(both.get_concrete_function(tf.TensorSpec((None, 5, 5, 4), tf.float32)))
    assert not refused.runnable and "normalizes by its batch" in refused.problems[0]


def test_what_cannot_run_in_memory_is_drawn(tf: ModuleType, tmp_path: Path) -> None:
    count = tf.Variable(0.0)

    @tf.function(input_signature=[tf.TensorSpec((2, 3), tf.float32, "x")])
    def counted(x: Any) -> Any:
        return tf.nn.relu(x) * count.assign_add(1.0)

    @tf.function(input_signature=[tf.TensorSpec((2,), tf.string, "x")])
    def looked_up(x: Any) -> Any:
        with tf.name_scope("text"):
            return tf.strings.length(tf.strings.regex_replace(x, "a+", "b"))

    for thing, operation in ((counted, "Relu"), (looked_up, "RegexReplace")):
        model = load(thing)
        assert not model.runnable and "it is the structure only" in model.problems[-1]
        assert operation in {node.op_type.removeprefix("Static") for node in model.graph.nodes}
        assert render(model, tmp_path / "a.svg").stat().st_size > 1000


def test_a_saved_model_without_its_variables_says_so(folder: Path, tf: ModuleType) -> None:
    model = load(folder / "savedmodel" / "tf2onnx_regression", deploy=True)
    assert model.problems[-1].endswith("no variables/variables.index beside it; it is the structure only")


def test_what_tf2onnx_does_not_translate_is_named(tf: ModuleType) -> None:
    @tf.function(input_signature=[tf.TensorSpec((2,), tf.string, "x")])
    def replaced(x: Any) -> Any:
        with tf.name_scope("text"):
            return tf.strings.regex_replace(tf.strings.regex_replace(x, "a+", "b"), "b", "c")

    model = load(replaced)
    said = "does not translate StaticRegexReplace (text/StaticRegexReplace and 1 more); it is the structure only"
    assert model.problems[-1].endswith(said) and not model.runnable and boxes(diagram(model).root)


def test_a_detector_with_loops_and_choices_gives_tensorflows_boxes(folder: Path, shared: Path, tf: ModuleType) -> None:
    """P-Net runs in a loop whose steps find different numbers of faces; the other nets only where there are any."""
    import numpy as np

    image = need_image(shared / "images" / "faces" / "mtcnn_test1.jpg")
    model = load(folder / "graphdef" / "tf-mtcnn_mtcnn.pb", deploy=True)
    assert {"Loop", "If"} <= {node.op_type for node in model.graph.nodes}, model.problems
    runner = Runner(model, provider="cpu")
    for thresholds, count in (((0.6, 0.7, 0.8), 2), ((0.99, 0.999, 0.9999), 0)):
        feeds = {"input": image, "min_size": np.float32(40), "factor": np.float32(0.7),
                 "thresholds": np.array(thresholds, "f4")}  # fmt: skip
        mine = runner(feeds)
        tensors = [f"{name}:0" for name in mine]
        theirs = numbers(tf, folder / "graphdef" / "tf-mtcnn_mtcnn.pb", None,
                         {f"{name}:0": value for name, value in feeds.items()}, tensors)  # fmt: skip
        for one, other in zip(mine.values(), theirs, strict=True):
            assert one.shape == other.shape and one.shape[0] == count
            error = difference(one, other) if count else 0.0
            assert error is not None and error <= TOLERANCE


def need_image(path: Path) -> Any:
    """Return a picture as MTCNN takes it: BGR, 0 to 255."""
    import numpy as np
    from PIL import Image

    return np.asarray(Image.open(path).convert("RGB"))[:, :, ::-1].astype("f4")


def test_branches_of_a_choice_by_number_are_scopes(tf: ModuleType, tmp_path: Path) -> None:
    import numpy as np

    class Net(tf.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            self.w = tf.Variable(np.eye(4, dtype="f4"), name="w")

        @tf.function(input_signature=[tf.TensorSpec((), tf.int32, "k"), tf.TensorSpec((2, 4), tf.float32, "x")])
        def call(self, k: Any, x: Any) -> Any:
            ways = [lambda: tf.nn.relu(x), lambda: tf.matmul(x, self.w), lambda: tf.tanh(x)]
            with tf.name_scope("net"):
                return {"y": tf.switch_case(k, ways, name="pick")}

    net = Net()
    tf.saved_model.save(net, str(tmp_path / "net"), signatures=net.call)
    parse = importlib.import_module("tensorflow.python.saved_model.loader_impl").parse_saved_model
    library = parse(str(tmp_path / "net")).meta_graphs[0].graph_def.library
    bodies = [body for body in library.function if "_branch" in body.signature.name]
    model = load(tmp_path / "net")
    (case,) = (node for node in model.graph.nodes if node.op_type.endswith("Case"))
    for k, (body, last) in enumerate(
        zip(sorted(bodies, key=lambda body: body.signature.name), case.inputs[3:], strict=True)
    ):
        place = (*case.scope, f"branches_{k}")
        assert model.scopes[place].kind == "subgraph" and model.scopes[place].type == body.signature.name
        held = [node.op_type for node in model.graph.nodes if node.scope[: len(place)] == place]
        assert sorted(held) == sorted(n.op for n in body.node_def if n.op != "NoOp")
        maker = model.graph.producers[last]
        assert maker.scope[: len(place)] == place
    assert {model.graph.by_id[f"net/pick/indexed_case/branches_{k}/{op}"].inputs[0] for k, op in
            enumerate(("Relu", "MatMul", "Tanh"))} == {case.inputs[1]}  # fmt: skip
    save(model, tmp_path / "case.onnx")
    assert load(tmp_path / "case.onnx") == model


@pytest.mark.parametrize("route", ROUTES if ALL else ["memory"])
def test_recurrent_layers_of_keras_run(route: str, tf: ModuleType, need: Any, tmp_path: Path) -> None:
    import numpy as np

    keras = need("keras")
    keras.utils.set_random_seed(1)
    layers = keras.layers
    twice = layers.Bidirectional(layers.GRU(4, return_sequences=True), name="twice")
    net = keras.Sequential([keras.Input((7, 3)), twice, layers.LSTM(5, name="rec"), layers.Dense(2, name="out")])
    x = np.random.default_rng(1).normal(0, 1, (2, 7, 3)).astype("f4")
    model = load(written(net, route, tmp_path, tf), deploy=True)
    (mine,) = Runner(model, provider="cpu")(x).values()
    error = difference(mine, net.predict(x, verbose=0))
    assert error is not None and error <= TOLERANCE
    assert {"twice", "rec", "out"} <= {part for path in model.scopes for part in path}


def test_an_object_of_nobody_is_refused() -> None:
    with pytest.raises(UnknownFormat, match="no converter takes a object"):
        load(object())


def test_records_stop_at_the_cut() -> None:
    whole = (3).to_bytes(8, "little") + b"----abc----"
    for size in range(len(whole)):
        assert list(records(whole + whole[:size]))[1:] == ([(19, None)] if size else [])
    assert list(records((1 << 62).to_bytes(8, "little") + b"x" * 40)) == [(0, None)]


def test_any_flipped_or_cut_byte_is_our_error_or_a_model(folder: Path) -> None:
    data = (folder / "graphdef" / "lucid_graphdef_fixture.pb").read_bytes()
    for k in range(len(data)):
        for broken in (data[:k], data[:k] + bytes([data[k] ^ 0x41]) + data[k + 1 :]):
            try:
                model = load("graph.pb", data=broken, source="tensorflow")
            except GraphvizNetsError as fault:
                said = str(fault)
            else:
                said = model.name
            assert said


def test_other_formats_are_left_alone() -> None:
    for name, head in (("a.prototxt", b"layer {"), ("a.onnx", b"\x08\x07\x12\x04test"), ("a.zip", b"PK\x03\x04")):
        assert kind_of(Path(name), head)[1] == 0


def test_without_tensorflow_the_extra_is_named(need: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    need("tensorboard")
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    model = load("graph.pbtxt", data=node("x", "Placeholder").encode(), deploy=True)
    assert 'pip install "graphviz-nets[tensorflow]"' in model.problems[-1]


def test_without_tensorboard_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto", None)
    with pytest.raises(MissingExtra, match="graphviz-nets\\[tensorboard\\]"):
        text_graph(node("x", "Placeholder"))


# Training graphs --------------------------------------------------------------------------------------------------


def training(tf: Any, blocks: int) -> Any:
    """Return the GraphDef of a small ResNet with an optimizer, summaries and a saver."""
    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph:
        x = v1.placeholder(tf.float32, (None, 16, 16, 8), "images")
        labels = v1.placeholder(tf.int32, (None,), "labels")

        def conv(value: Any, name: str) -> Any:
            with v1.variable_scope(name):
                w = v1.get_variable("weights", (3, 3, 8, 8), use_resource=False)
                b = v1.get_variable("biases", (8,), initializer=v1.zeros_initializer(), use_resource=False)
                return tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(value, w, 1, "SAME"), b))

        y = x
        for k in range(blocks):
            with v1.variable_scope(f"block{k}"):
                y = y + conv(conv(y, "conv1"), "conv2")
                v1.summary.histogram("activations", y)
        with v1.variable_scope("head"):
            w = v1.get_variable("weights", (8, 10), use_resource=False)
            logits = tf.matmul(tf.reduce_mean(y, (1, 2)), w)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits), name="loss")
        v1.summary.scalar("loss", loss)
        v1.train.AdamOptimizer(1e-3).minimize(loss)
        v1.summary.merge_all()
        v1.global_variables_initializer()
        v1.train.Saver()
        return graph.as_graph_def(add_shapes=True)


def test_training_graphs_show_the_model_and_fold_the_machinery(tf: ModuleType, tmp_path: Path) -> None:
    model = load("graph.pb", data=training(tf, 2).SerializeToString())
    kinds = {scope.id: scope.type for scope in model.scopes.values() if scope.kind == "auxiliary"}
    assert {"gradients": "gradients", "Adam": "optimizer", "save": "saver", "init": "initialization",
            "summaries": "summaries"}.items() <= kinds.items()  # fmt: skip
    assert summary(model).parameters == 4 * (3 * 3 * 8 * 8 + 8) + 80
    drawn = diagram(model)
    top = {box.id: box for box in drawn.root.boxes}
    assert {"block0", "head"} <= top.keys() and top["block0"].title == "block0–1"  # whatever gradients read of them
    for name in ("gradients", "Adam", "save", "init", "summaries"):
        assert top[name].group is None and top[name].kind == "other"
        assert not any("block0" in (link.source, link.target) and name in (link.source, link.target)
                       for link in drawn.links)  # fmt: skip
    opened_ = diagram(model, Options(expand=("gradients",)))
    inside = next(box for box in opened_.root.boxes if box.id == "gradients")
    assert inside.group is not None and any(box.shown_as == "stub" for box in inside.group.boxes)


def test_optimizers_that_are_written_out_are_machinery(shared: Path, need: Any) -> None:
    """Keras's old optimizers write to variables by themselves: that is no initialization, and no network."""
    need("tensorboard")
    for name, optimizer in (("wandb_cvp", "SGD"), ("guild_model_proxies", "RMSprop")):
        model = load(shared / "events" / name)
        kinds = {scope.id: scope.type for scope in model.scopes.values() if scope.kind == "auxiliary"}
        assert kinds["training"] == "training" and kinds[f"training/{optimizer}"] == "optimizer"
        init = [node for node in model.graph.nodes if node.scope[:1] == ("init",)]
        made = {value for node in model.graph.nodes if "gradients" in node.scope for value in node.outputs}
        assert init and not any(value in made for node in init for value in node.inputs)
        top = {box.id: box for box in diagram(model).root.boxes}
        assert top["training"].group is None


def test_what_is_computed_of_gradients_may_be_the_network(need: Any) -> None:
    need("tensorboard")
    weight = 'attr { key: "dtype" value { type: DT_FLOAT } } attr { key: "shape" value { shape { dim { size: 4 } } } }'
    text = node("x", "Placeholder") + node("net/w", "VarHandleOp", attributes=weight)
    text += (
        node("net/y", "Mul", "x", "net/w")
        + node("gradients/g", "Neg", "net/y")
        + node("net/penalty", "Abs", "gradients/g")
    )
    text += node("net/write", "AssignVariableOp", "net/w", "net/penalty")
    text += node("step/write", "AssignVariableOp", "net/w", "gradients/g")
    kinds = {scope.id: scope.type for scope in text_graph(text).scopes.values() if scope.kind == "auxiliary"}
    assert kinds == {"gradients": "gradients", "step": "optimizer"}


def test_a_training_graph_of_6000_nodes_is_a_page_in_three_seconds(tf: ModuleType, tmp_path: Path) -> None:
    graph = training(tf, 50)
    assert len(graph.node) >= 6000
    file = tmp_path / "graph.pb"
    file.write_bytes(graph.SerializeToString())
    start = time.process_time()  # others may share the machine
    render(load(file), tmp_path / "graph.html")
    seconds = time.process_time() - start
    assert seconds < 4, seconds  # 1.7 by the clock of an idle machine


# Runs -------------------------------------------------------------------------------------------------------------


def numbers(tf: Any, path: Path, tag: str | None, feeds: dict[str, Any], wanted: list[str]) -> list[Any]:
    """Return what TensorFlow itself computes."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        if tag is not None:
            v1.saved_model.load(session, [tag], str(path))
        else:
            graph = v1.GraphDef()
            graph.ParseFromString(path.read_bytes())
            tf.import_graph_def(graph, name="")
        return list(session.run(wanted, feeds))


@pytest.mark.parametrize(
    ("name", "shapes", "tag"),
    [
        ("graphdef/ESPCN_x2.pb", {}, None),  # they state no shape: that they take images, a convolution says
        ("graphdef/FSRCNN_x2.pb", {}, None),
        ("graphdef/FSRCNN_x2.pb", {"IteratorGetNext": ("float32", (1, 24, 24, 1))}, None),
        ("graphdef/arm_yeahworld_mnet.pb", {}, None),
        ("savedmodel/mlperftiny_kws_ref_model", {}, "serve"),
        ("savedmodel/basic_pitch_nmp", {}, "serve"),
    ],
)
def test_models_give_tensorflows_numbers(name: str, shapes: dict[str, Any], tag: str | None, folder: Path,
                                         tf: ModuleType) -> None:  # fmt: skip
    import numpy as np

    model = load(folder / name, deploy=True, input_shapes=shapes)
    assert model.runnable, model.problems
    runner = Runner(model, provider="cpu")
    rng = np.random.default_rng(0)
    feeds = {
        value.name: rng.uniform(-1, 1, [dim if isinstance(dim, int) else 13 for dim in value.shape or ()]).astype("f4")
        for value in runner.inputs
    }
    mine = runner(feeds)
    tensors = [name if ":" in name else f"{name}:0" for name in mine]
    theirs = numbers(tf, folder / name, tag, {f"{key}:0": array for key, array in feeds.items()}, tensors)
    for one, other in zip(mine.values(), theirs, strict=True):
        error = difference(one, other)
        assert error is not None and error <= TOLERANCE
    if tag is not None:  # the others have no scopes
        known = load(folder / name).scopes
        placed = [node for node in model.graph.nodes if node.scope in known]
        assert len(placed) >= 0.9 * len(model.graph.nodes)


def test_the_same_file_gives_the_same_bytes_in_every_process(folder: Path, tf: ModuleType, tmp_path: Path) -> None:
    """FSRCNN had 18 to 26 Transposes, by the seed of Python's hashes."""
    file, shapes = folder / "graphdef" / "FSRCNN_x2.pb", {"0": (None, (1, 24, 24, 1))}
    for name in "ab":  # another conversion before it changes nothing either
        save(load(file, deploy=True, input_shapes=shapes), tmp_path / name)
    code = f"save(load({str(file)!r}, deploy=True, input_shapes={shapes!r}), {str(tmp_path / 'c')!r})"
    subprocess.run(
        [sys.executable, "-c", f"from graphviz_nets.api import load, save; {code}"],
        check=True, capture_output=True, env={**os.environ, "PYTHONHASHSEED": "4321"},
    )  # fmt: skip
    assert len({(tmp_path / name).read_bytes() for name in "abc"}) == 1


@pytest.mark.parametrize("name", ["serving_saved_model_half_plus_two_cpu", "serving_saved_model_half_plus_two_tf2_cpu"])
def test_half_plus_two(name: str, folder: Path, tf: ModuleType) -> None:
    import numpy as np

    model = load(folder / "savedmodel" / name / "00000123", deploy=True)
    x = np.array([1, 2, 5], "f4").reshape((3, 1)[: len(model.graph.value(model.graph.inputs[0]).shape or ())])
    (result,) = Runner(model, provider="cpu")(x).values()
    assert result.ravel().tolist() == [2.5, 3, 4.5]


@pytest.fixture
def twin(shared: Path) -> Path:
    """Return basic_pitch as Spotify publishes it for onnxruntime, made by way of TensorFlow Lite."""
    return shared / "onnx" / "basic_pitch_nmp.onnx"


def test_basic_pitch_is_its_onnx_twin(folder: Path, twin: Path, tf: ModuleType) -> None:
    import numpy as np

    x = np.random.default_rng(0).uniform(-1, 1, (2, 43844, 1)).astype("f4")
    ours = Runner(load(folder / "savedmodel" / "basic_pitch_nmp", deploy=True), provider="cpu")(x)
    theirs = list(Runner(load(twin), provider="cpu")(x).values())
    assert sorted(array.shape for array in ours.values()) == sorted(array.shape for array in theirs)
    for array in ours.values():  # two of the three have one shape, and their names differ
        errors = [difference(array, other) for other in theirs if other.shape == array.shape]
        assert min(error for error in errors if error is not None) <= 1e-5


def test_basic_pitch_looks_like_its_onnx_twin(folder: Path, twin: Path, tf: ModuleType) -> None:
    whole = Options(depth="all", repeats=False)
    saved = folder / "savedmodel" / "basic_pitch_nmp"
    models = [load(saved), load(saved, deploy=True), load(twin)]
    assert {tuple(box.type for box in diagram(model).root.boxes) for model in models} == {("Input", "")}
    for model in models[1:]:
        found = [box for box in boxes(diagram(model, whole).root) if box.type == "Transpose"]
        assert all(model.graph.by_id[box.id].attributes["perm"] in ((0, 2, 1), (0, 2, 1, 3)) for box in found)
    convolutions = [
        sorted(box.caption for box in boxes(diagram(model, whole).root) if box.type == "Conv") for model in models[1:]
    ]
    assert convolutions[0] == convolutions[1] and len(convolutions[0]) == 32
    unfolded = [box.type for box in boxes(diagram(models[1], replace(whole, keep=("layout",))).root)]
    assert unfolded.count("Transpose") > 10


def test_what_tf2onnx_adds_for_its_layout_is_no_box() -> None:
    op = Builder("net")
    x = op.input("x", "float32", (1, 8, 8, 3))
    turned = op.node("Transpose", [x], name="conv__1", attributes={"perm": (0, 3, 1, 2)})[0]
    y = op.Conv(turned, op.weight("w", (1, 3, 3, 3)), kernel_shape=(3, 3))
    one = op.node("Reshape", [y, op.constant([1, 6, 6, 1])], name="conv__2")[0]
    relu = op.Relu(one)
    back = op.node("Reshape", [relu, op.constant([1, 36, 1, 1])], name="flat__3")[0]
    last = op.node("Transpose", [back], name="by_hand", attributes={"perm": (0, 3, 1, 2)})[0]
    drawn = diagram(op.model([last]))
    assert {(link.source, link.target) for link in drawn.links} == {
        ("x", "Conv"), ("Conv", "flat__3"), ("flat__3", "by_hand")
    }  # fmt: skip
    conv = next(box for box in boxes(drawn.root) if box.id == "Conv")
    assert [row.id for row in conv.rows] == ["Relu"] and conv.details["folded"] == ["conv__2"]
    shown = {box.id for box in boxes(diagram(op.model([last]), Options(keep=("layout",))).root)}
    assert {"conv__1", "conv__2"} <= shown


def test_nameless_identities_and_idle_nodes_are_no_boxes(need: Any) -> None:
    need("tensorboard")
    text = node("x", "Placeholder") + node("a/y", "Neg", "x", "^wait") + node("a/Identity_1", "Identity", "a/y")
    text += node("result", "Identity", "a/Identity_1") + node("z", "Abs", "a/Identity_1") + node("wait", "NoOp")
    model = text_graph(text)
    drawn = diagram(model)
    assert {box.id for box in boxes(drawn.root)} == {"x", "a/y", "result", "z"}
    wires = {(link.source, link.target) for link in drawn.links}
    assert wires == {("x", "a/y"), ("a/y", "result"), ("a/y", "z")}
    kept = diagram(model, Options(keep=("identities",)))
    assert "a/Identity_1" in {box.id for box in boxes(kept.root)}


def test_a_name_scoped_net_and_its_checkpoint(tf: ModuleType, tmp_path: Path) -> None:
    import numpy as np

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        y = v1.placeholder(tf.float32, (None, 6), "x")
        for k in range(3):
            with tf.name_scope(f"layer{k}"):
                w = v1.Variable(v1.random_normal((6, 6), seed=k), name="weights")
                y = tf.tanh(tf.matmul(y, w), name="out")
        session.run(v1.global_variables_initializer())
        v1.train.Saver().save(session, str(tmp_path / "net"))
        x = np.random.default_rng(0).normal(0, 1, (4, 6)).astype("f4")
        wanted = session.run(y, {"x:0": x})
    assert summary(load(tmp_path)).parameters == 108
    model = load(tmp_path, deploy=True)
    (result,) = Runner(model, provider="cpu")(x).values()
    error = difference(result, wanted)
    assert error is not None and error <= TOLERANCE
    assert {("layer0",), ("layer1",), ("layer2",)} <= model.scopes.keys()


def test_objects_in_memory(tf: ModuleType, need: Any) -> None:
    import numpy as np

    keras = need("keras")

    @tf.function(input_signature=[tf.TensorSpec((2, 3), tf.float32)])
    def double(x: Any) -> Any:
        with tf.name_scope("twice"):
            return x + x

    class Own(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.dense = keras.layers.Dense(3)

        def call(self, x: Any) -> Any:
            return tf.nn.relu(self.dense(x))

    x = np.random.default_rng(0).normal(0, 1, (2, 3)).astype("f4")
    sequential = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, name="one"), keras.layers.Dense(2)])
    own = Own()
    with pytest.raises(ConvertError, match="not been built"):
        load(own)
    own(x)
    for thing in (double, double.get_concrete_function(), sequential, own):
        (mine,) = Runner(load(thing), provider="cpu")(x).values()
        error = difference(mine, np.asarray(thing(tf.constant(x))))
        assert error is not None and error <= TOLERANCE
    assert ("twice",) in load(double).scopes
    with pytest.raises(ConvertError, match="input_signature"):
        load(tf.function(lambda x: x))


NETS = {"MobileNetV2": (1.0, 1.0), "EfficientNetB0": (0.9, 127.0)}
"""Which part of the layers is there, for dropouts leave nothing; and the size of what comes in."""


@pytest.mark.parametrize("route", ROUTES if ALL else ROUTES[2:3])
@pytest.mark.parametrize("name", NETS if ALL else ["MobileNetV2"])
def test_layers_of_keras_are_scopes_of_the_model_that_runs(
    name: str, route: str, tf: ModuleType, need: Any, tmp_path: Path
) -> None:
    import numpy as np

    keras = need("keras")
    rng = np.random.default_rng(0)
    make = getattr(keras.applications, name)
    net = make(weights=None, input_shape=(96, 96, 3), classes=10, classifier_activation=None)
    for weight in net.weights:  # Keras's own let the signal fade: every answer would be the same
        shape, kind = tuple(weight.shape), weight.path.rpartition("/")[2]
        if kind in ("gamma", "moving_variance"):
            weight.assign(rng.uniform(0.5, 1.5, shape))
        elif kind == "kernel":  # a depthwise one sums over its window only
            weight.assign(rng.normal(0, (2 / np.prod(shape[:2] if shape[-1] == 1 else shape[:-1])) ** 0.5, shape))
        elif kind in ("bias", "beta", "moving_mean"):
            weight.assign(rng.normal(0, 0.1, shape))
    model = load(written(net, route, tmp_path, tf), deploy=True)
    part, size = NETS[name]
    x = np.kron(rng.uniform(-size, size, (2, 6, 6, 3)), np.ones((1, 16, 16, 1))).astype("f4")
    (mine,) = Runner(model, provider="cpu")(x).values()
    theirs = net.predict(x, verbose=0)
    assert np.abs(theirs[0] - theirs[1]).max() > 50 * TOLERANCE * np.abs(theirs).max()
    error = difference(mine, theirs)
    assert error is not None and error <= TOLERANCE
    found = {part for path in model.scopes for part in path}
    names = [item.name for item in net.layers if not isinstance(item, keras.layers.InputLayer)]
    assert sum(layer in found for layer in names) >= part * len(names)


def test_numbers_of_second_calls_go_where_layers_tell_them() -> None:
    def drawn(*paths: str) -> Model:
        nodes = tuple(Node("Relu", id=path, scope=parts(path)) for path in paths)
        return Model(Graph(nodes=nodes), scopes={parts(path): Scope(parts(path)) for path in paths})

    counted = drawn(
        "net",
        "net/conv_1",
        "net/relu_1",
        "net/add_2",
        "net/twice",
        "net/twice_1",
        "net/conv_1/Cast_1",
        "net/relu_2",
        "net/dense_2",
    )
    names = plain(counted, frozenset({"conv", "twice", "dense"}))
    assert [path[1:] for path in names.values()] == [
        (), ("conv",), ("relu",), ("add",), ("twice",), ("twice_1",), ("conv", "Cast_1"),
        ("relu_2",), ("dense",)
    ]  # fmt: skip
    called = renamed(counted, names)
    assert [node.scope for node in called.graph.nodes] == list(names.values()) == list(called.scopes)
    assert plain(drawn("conv_1", "conv_2"), frozenset({"conv_1", "conv_2"})) == {}


def test_the_command_converts_and_draws(folder: Path, tmp_path: Path, capsys: Any) -> None:
    saved = folder / "savedmodel" / "serving_saved_model_half_plus_two_cpu" / "00000123"
    svg, onnx = tmp_path / "a.svg", tmp_path / "a.onnx"
    assert run(["render", str(saved), "--signature", "regress_x_to_y2", "-o", str(svg)]) == 0
    assert b"regress" not in svg.read_bytes() and b"y2" in svg.read_bytes()
    assert run(["render", str(saved), "--signature", "nothing", "-o", str(svg)]) == 2
    assert run(["render", str(folder / "malformed" / "truncated_ESPCN_x2.pb"), "-o", str(svg)]) == 3
    assert run(["convert", str(folder / "graphdef" / "lucid_graphdef_fixture.pb"), "-o", str(onnx)]) == 0
    assert "structure only" in capsys.readouterr().err and not load(onnx).runnable


def test_the_command_converts_keras_files_without_tensorflow(folder: Path, tmp_path: Path, need: Any) -> None:
    need("onnxruntime")
    need("h5py")
    onnx = tmp_path / "a.onnx"
    assert run(["convert", str(folder / "keras" / "mlperftiny_cifar10_resnet8.h5"), "-o", str(onnx), "--verify"]) == 0
    assert load(onnx).runnable
