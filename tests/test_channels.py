"""Layouts at the border: the same numbers from turned images, pairs of Transposes taken out, names and records kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from graphviz_nets.api import load, with_layout
from graphviz_nets.cli import run
from graphviz_nets.drawing.diagram import boxes, diagram
from graphviz_nets.errors import ConfigError
from graphviz_nets.explain.images import record_of
from graphviz_nets.explain.runner import Runner
from graphviz_nets.graph.builder import Builder
from graphviz_nets.graph.channels import layout_of
from graphviz_nets.graph.ir import Graph, Model, Node, Value

TO = {"nchw": (0, 3, 1, 2), "nhwc": (0, 2, 3, 1)}
IMAGE = (2, 3, 8, 9)


def turned_alike(model: Model, layout: str) -> Model:
    """Return the model in another layout, once it gives the same numbers for turned inputs, and turned back, too."""
    import numpy as np

    other = with_layout(model, layout)
    other.graph.check()
    old = layout_of(model)
    rng = np.random.default_rng(0)
    runner = Runner(model, provider="cpu")
    shapes = {v.name: [dim if isinstance(dim, int) else 2 for dim in v.shape or ()] for v in runner.inputs}
    given = {name: rng.normal(0, 1, shape).astype("f4") for name, shape in shapes.items()}
    turned = {name: x.transpose(TO[layout]) if x.ndim == 4 else x for name, x in given.items()}
    wanted = runner(given)
    for found in (Runner(other, provider="cpu")(turned), Runner(with_layout(other, old), provider="cpu")(given)):
        for name, theirs in wanted.items():
            if found[name].shape != theirs.shape:
                found[name] = found[name].transpose(TO[old])
            assert np.array_equal(found[name], theirs)
    return other


def types(model: Model) -> list[str]:
    return [node.op_type for node in model.graph.nodes]


def test_a_convolution_gets_a_transpose_on_both_sides(need: Any) -> None:
    need("onnxruntime")
    np = need("numpy")
    op = Builder("net")
    weight = op.weight("w", (5, 3, 3, 3), np.random.default_rng(1).normal(0, 1, (5, 3, 3, 3)).astype("f4").tobytes())
    model = op.model([op.Conv(op.input("x", "float32", IMAGE), weight, kernel_shape=(3, 3))])
    other = turned_alike(model, "nhwc")
    assert types(other) == ["Transpose", "Conv", "Transpose"]
    assert other.graph.inputs == ("x",) and other.graph.outputs == model.graph.outputs
    assert other.graph.value("x").shape == (2, 8, 9, 3) and other.graph.value("Conv").shape == (2, 6, 7, 5)
    assert types(with_layout(other, "nchw")) == ["Conv"]
    assert with_layout(model, "nchw").graph == model.graph


def test_a_value_that_is_used_in_both_layouts_is_turned_once(need: Any) -> None:
    need("onnxruntime")
    op = Builder("net")
    x = op.input("x", "float32", (2, 8, 9, 3))
    there = op.Transpose(x, perm=TO["nchw"])
    back = op.Transpose(op.Relu(there), perm=TO["nhwc"])
    model = op.model([op.Add(x, back), back])
    other = turned_alike(model, "nchw")
    assert types(other) == ["Transpose", "Relu", "Transpose", "Add", "Transpose"]


def test_what_is_not_of_four_axes_stays(need: Any) -> None:
    need("onnxruntime")
    op = Builder("net")
    x, y = op.input("x", "float32", IMAGE), op.input("y", "float32", (2, 3))
    model = op.model([op.Flatten(x), op.Neg(y)])
    other = turned_alike(model, "nhwc")
    assert other.graph.value("y").shape == (2, 3) and types(other) == ["Transpose", "Flatten", "Neg"]
    flat = Builder("net")
    with pytest.raises(ConfigError, match="no input of the model has four axes"):
        with_layout(flat.model([flat.Neg(flat.input("y", "float32", (2, 3)))]), "nhwc")


def test_bodies_find_the_image_under_its_inner_name(need: Any) -> None:
    need("onnxruntime")
    branch = Graph("b", (Node("Neg", ("x",), ("n",)),), outputs=("n",), values={"n": Value("n", "float32", IMAGE)})
    op = Builder("net")
    op.input("x", "float32", IMAGE)
    yes = op.constant([1], "bool", ())
    model = op.model([op.If(yes, then_branch=branch, else_branch=replace(branch, name="c"))])
    known = {**model.graph.values, "If": Value("If", "float32", IMAGE)}
    model = model.with_graph(replace(model.graph, values=known))
    other = turned_alike(model, "nhwc")
    assert types(other) == ["Transpose", "If", "Transpose"]


def test_names_of_new_nodes_are_nobodys(need: Any) -> None:
    need("onnxruntime")
    op = Builder("net")
    x = op.input("x", "float32", (2, 8, 9, 3))
    op.scope = ("y",)
    op.rename(op.Relu(op.Transpose(op.Transpose(x, perm=TO["nchw"]), perm=TO["nhwc"])), "y")
    other = turned_alike(op.model(["y"]), "nchw")
    assert types(other) == ["Transpose", "Relu", "Transpose"]


def test_an_output_that_is_an_input_stays_one() -> None:
    model = Model(Graph(inputs=("x",), outputs=("x",), values={"x": Value("x", "float32", IMAGE)}))
    other = with_layout(model, "nhwc")
    assert other.graph.outputs == ("x",) and not other.graph.nodes and other.graph.value("x").shape == (2, 8, 9, 3)


@pytest.mark.parametrize(
    ("shape", "framework", "layout"),
    [
        ((1, 3, 224, 224), "tensorflow", "nchw"),
        ((1, 224, 224, 3), "caffe", "nhwc"),
        ((1, 64, 7, 7), "onnx", "nchw"),
        ((1, 7, 7, 64), "tensorflow", "nhwc"),
        ((None, None, None, 1), "onnx", "nhwc"),
    ],
)
def test_the_layout_of_a_file_is_told_by_shapes_then_framework(shape: Any, framework: str, layout: str) -> None:
    graph = Graph(inputs=("x",), values={"x": Value("x", "float32", shape)})
    assert layout_of(Model(graph, framework)) == layout


def test_caffes_record_follows_and_a_picture_has_the_wire(fixtures: Path) -> None:
    model = load(fixtures / "caffe" / "lenet.prototxt", layout="nhwc")
    plain = load(fixtures / "caffe" / "lenet.prototxt")
    assert len(model.layers) == len(plain.layers) and model.graph.value("data").shape == (64, 28, 28, 1)
    wires = {(link.source, link.target) for link in diagram(model).links}
    (turn,) = (box.id for box in boxes(diagram(model).root) if box.type == "Transpose")
    assert (turn, "conv1") in wires and any(target == turn for _, target in wires)
    recorded = load(fixtures / "caffe" / "tiny_train.prototxt", phase="train")
    record = record_of(recorded)
    assert record is not None and record.layout == "nchw"
    turned = record_of(with_layout(recorded, "nhwc"))
    assert turned == replace(record, layout="nhwc")


def test_keras_files_lose_their_own_transposes(shared: Path, need: Any) -> None:
    need("h5py")
    need("onnxruntime")
    model = load(shared / "tensorflow" / "keras" / "mlperftiny_cifar10_resnet8.h5")
    other = turned_alike(model, "nchw")
    assert types(other).count("Transpose") == types(model).count("Transpose") - 1
    assert other.graph.value(other.graph.inputs[0]).shape == ("batch", 3, 32, 32)
    assert [scope.path for scope in other.layers] == [scope.path for scope in model.layers]


def test_the_command_takes_a_layout(fixtures: Path, tmp_path: Path, need: Any, capsys: Any) -> None:
    need("onnxruntime")
    need("onnx")
    net, out = str(fixtures / "caffe" / "lenet.prototxt"), tmp_path / "net.onnx"
    assert run(["convert", net, "--random-weights", "1", "--layout", "nhwc", "--verify", "-o", str(out)]) == 0
    model = load(out)
    assert model.runnable and model.graph.value("data").shape == (64, 28, 28, 1)
    assert layout_of(model) == "nhwc" and load(out, layout="nchw").graph.value("data").shape == (64, 1, 28, 28)
    assert run(["convert", net, "--layout", "cubes", "-o", str(out)]) == 2
    svg = tmp_path / "net.svg"
    assert run(["render", net, "--layout", "nhwc", "-o", str(svg)]) == 0
    assert b"Transpose" in svg.read_bytes()
    capsys.readouterr()
