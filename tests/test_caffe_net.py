"""Caffe's net-level rules against its own source, the manifest of the real files, and nets written both ways."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest

from graphviz_nets.converters.caffe_net import (
    V1_NUMBERS,
    V1_TYPES,
    Layer,
    Net,
    State,
    is_net,
    is_solver,
    read_net,
    read_text,
    solver_net,
)
from graphviz_nets.converters.prototxt import Message, parse
from graphviz_nets.errors import ConvertError, ParseError

MODELS = Path(__file__).resolve().parents[2] / "shared" / "models"
needs_models = pytest.mark.skipif(not MODELS.is_dir(), reason="needs the real models in ../shared/models")


def manifest() -> list[tuple[str, str]]:
    """Return path and content of the prototxt files of the manifest."""
    if not (MODELS / "MANIFEST.tsv").is_file():
        return []
    with (MODELS / "MANIFEST.tsv").open(encoding="utf-8", newline="") as file:
        rows = [
            (row["path"], row["content"] or "") for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        ]
    return [row for row in rows if row[0].startswith("caffe/") and row[0].endswith((".prototxt", ".pt", ".solver"))]


ROWS = manifest()
NETS: list[Any] = [
    (path, found[1] or "V1", int(found[2]))
    for path, content in ROWS
    if (found := re.match(r"(?:(V\d) )?layers (\d+)", content))
] or [pytest.param("", "", 0, marks=needs_models)]
SOLVERS: list[Any] = [path for path, content in ROWS if content.startswith("solver")] or [
    pytest.param("", marks=needs_models)
]


def read(text: str, phase: str = "TEST", stages: tuple[str, ...] = (), level: int = 0) -> Net:
    return read_net(parse(text), "net.prototxt", State(phase, frozenset(stages), level))


def only(text: str, **state: Any) -> Layer:
    """Read a net of one layer, without problems."""
    net = read(text, **state)
    assert not net.problems
    (layer,) = net.layers
    return layer


def names(text: str, **state: Any) -> str:
    return " ".join(layer.name for layer in read(text, **state).layers)


def params(layer: Layer) -> dict[str, Any]:
    return layer.message.without("name", "type", "bottom", "top").to_dict()


# Real files -------------------------------------------------------------------------------------------------------


@needs_models
def test_the_manifest_is_read() -> None:
    assert len(NETS) > 50 and len(SOLVERS) > 10


@pytest.mark.parametrize(("path", "version", "count"), NETS)
def test_real_net(path: str, version: str, count: int) -> None:
    message = read_text(MODELS / path)
    assert is_net(message) and not is_solver(message)
    entries = [item.value for item in message if item.name in ("layer", "layers")]
    assert len(entries) == count
    for phase in ("TRAIN", "TEST"):
        net = read_net(message, path, State(phase))
        # netscope's VGG has one `layer` before its `layers`; the manifest calls that V2, we go by the oldest.
        mixed = len({item.name for item in message if item.name in ("layer", "layers")}) == 2
        assert net.version == ("V1" if mixed else version)
        assert not [text for _, text in net.problems if not re.search("second layer is called|no layer is left", text)]
        assert all(layer.name and re.fullmatch(r"\w+", layer.type) for layer in net.layers)
        ruled = sum("include" in entry or "exclude" in entry for entry in entries)
        paddings = sum(entry.message("layer").get("type") == "padding" for entry in entries)
        assert count - ruled - paddings <= len(net.layers) <= count - paddings
        starts = {entry.line for entry in entries}
        assert {layer.line for layer in net.layers} <= starts


@needs_models
@pytest.mark.parametrize(("path", "train", "test"), [
    # Two Data layers, one for each phase; Accuracy only for TEST.
    ("bvlc/bvlc_alexnet/train_val", 24, 25),
    ("bvlc/bvlc_reference_caffenet/train_val", 24, 25),
    ("bvlc/mnist/lenet_train_test", 9, 10),
    # Two Data layers and six accuracies (two behind each of the three losses).
    ("bvlc/bvlc_googlenet/train_val", 166 - 1 - 6, 166 - 1),
])  # fmt: skip
def test_phases_of_real_nets(path: str, train: int, test: int) -> None:
    message = read_text(MODELS / "caffe" / f"{path}.prototxt")
    assert len(read_net(message, state=State("TRAIN")).layers) == train
    assert len(read_net(message, state=State("TEST")).layers) == test


@needs_models
def test_v0_imagenet_becomes_todays_caffenet() -> None:
    """The V0 file of 2013 holds the net that BVLC still ships in V2, paddings folded."""
    old = read_net(read_text(MODELS / "caffe/legacy/V0_imagenet_deploy.prototxt"))
    new = read_net(read_text(MODELS / "caffe/bvlc/bvlc_reference_caffenet/deploy.prototxt"))
    assert old.version == "V0" and old.inputs == (("data", (10, 3, 227, 227)),)
    kinds = ("Convolution", "InnerProduct", "Pooling", "LRN", "Dropout")
    keep = [[layer for layer in net.layers if layer.type in kinds] for net in (old, new)]
    assert len(keep[0]) == len(keep[1]) == 5 + 3 + 3 + 2 + 2
    for one, two in zip(*keep, strict=True):
        assert (one.type, one.name) == (two.type, two.name)
        own = {"Convolution": "convolution_param", "InnerProduct": "inner_product_param", "Pooling": "pooling_param",
               "LRN": "lrn_param", "Dropout": "dropout_param"}[one.type]  # fmt: skip
        left = one.own_param(own).without("weight_filler", "bias_filler").to_dict()
        assert left == two.own_param(own).without("weight_filler", "bias_filler").to_dict()
    assert not {"padding", "pad1"} & {layer.type for layer in old.layers}


@needs_models
@pytest.mark.parametrize(("name", "layers", "says"), [
    ("duplicate_layer_names", 9, "second layer is called 'conv1'"), ("unknown_field", 9, ""), ("crlf_bom", 9, ""),
    ("comments_commas_semicolons", 9, ""), ("unknown_layer_type", 9, ""), ("undefined_bottom", 9, ""),
    ("kernel_larger_than_input", 9, ""), ("bad_enum", 9, ""),
])  # fmt: skip
def test_malformed_nets_that_are_read(name: str, layers: int, says: str) -> None:
    net = read_net(read_text(MODELS / "caffe" / "malformed" / f"{name}.prototxt"))
    assert len(net.layers) == layers and len(net.problems) == bool(says)
    assert all(says in text and line > 1 for line, text in net.problems)
    if name == "unknown_field":
        assert any("squish_factor" in layer.own_param("convolution_param") for layer in net.layers)


@pytest.mark.parametrize("text", ["", "# only a comment\n", 'name: "n"', "layer: 3"])
def test_a_net_without_layers_is_refused(text: str) -> None:
    with pytest.raises(ParseError, match="no layers") as fault:
        read(text)
    assert str(fault.value).startswith("net.prototxt:1: ") and "layer {" in fault.value.hint


# Layers and inputs ------------------------------------------------------------------------------------------------


def test_layer_keeps_everything_and_its_line() -> None:
    layer = only(
        'name: "n"\nlayer {\n  name: "a" type: "Odd"\n bottom: "x" bottom: "y" top: "z"\n odd_param { k: [1, 2] }\n}'
    )
    assert (layer.name, layer.type, layer.bottoms, layer.tops, layer.line) == ("a", "Odd", ("x", "y"), ("z",), 2)
    assert layer.own_param("odd_param").to_dict() == {"k": [1, 2]} and not layer.own_param("else_param").fields
    field = layer.own_param("odd_param").field("k")
    assert field is not None and field.line == 5


def test_a_nameless_layer_is_called_after_its_top() -> None:
    assert names('layer { type: "ReLU" top: "t" } layer { type: "Silence" }') == "t Silence"


def test_layers_of_two_syntaxes_keep_the_files_order() -> None:
    net = read('layers { name: "a" type: RELU } layer { name: "b" type: "ReLU" } layers { name: "c" type: TANH }')
    assert [(layer.name, layer.type) for layer in net.layers] == [("a", "ReLU"), ("b", "ReLU"), ("c", "TanH")]


def test_equal_names_are_a_problem_with_both_lines() -> None:
    net = read('layer { name: "a" }\nlayer { name: "b" }\nlayer { name: "a" }')
    ((line, text),) = net.problems
    assert line == 3 and "'a'" in text and "line 1" in text and len(net.layers) == 3


@pytest.mark.parametrize(("text", "inputs", "problems"), [
    ("", (("a", None),), 0),
    ("input_dim: [1, 3, 4, 5]", (("a", (1, 3, 4, 5)),), 0),
    ("input_shape { dim: 2 dim: 7 }", (("a", (2, 7)),), 0),
    # Caffe takes shapes and leaves dims, where both are there.
    ("input_dim: [1, 3, 4, 5] input_shape { dim: [2, 7] }", (("a", (2, 7)),), 0),
    ("input_dim: [1, 2, 3, 4, 5, 6, 7, 8] input: 'b'", (("a", (1, 2, 3, 4)), ("b", (5, 6, 7, 8))), 0),
    ("input_shape { dim: 2 } input: 'b' input_shape { dim: [3, 4] }", (("a", (2,)), ("b", (3, 4))), 0),
    ("input_shape { dim: 2 } input: 'b'", (("a", (2,)), ("b", None)), 0),
    ("input_dim: [1, 2, 3, 4] input: 'b'", (("a", (1, 2, 3, 4)), ("b", None)), 1),
    ("input_dim: [1, 2, 3, 4, 5, 6] input: 'b'", (("a", (1, 2, 3, 4)), ("b", None)), 1),
    ("input_dim: [1, 2] input: 'b'", (("a", None), ("b", None)), 1),
    ("input_dim: [1, 2, 3]", (("a", (1, 2, 3)),), 1),
    ("input_dim: [1, 2, 3, 4, 5]", (("a", (1, 2, 3, 4)),), 1),
])  # fmt: skip
def test_net_level_inputs(text: str, inputs: object, problems: int) -> None:
    net = read(f"input: 'a'\n{text}")
    assert net.inputs == inputs and len(net.problems) == problems
    assert all(line == 2 and "input_dim" in text for line, text in net.problems)


# Phase, stage and level -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rules", "kept"), [
    # For TRAIN, TEST, TEST with stages s, s t, and TEST at levels 2 and -1.
    ("", "111111"),
    ("include { phase: TRAIN }", "100000"),
    ("include { phase: TEST }", "011111"),
    ("include { phase: 0 }", "100000"),
    ("include { phase: 1 }", "011111"),
    ("include: { phase: TRAIN } include: { phase: TEST }", "111111"),
    ("include {}", "111111"),
    ("exclude { phase: TRAIN }", "011111"),
    ("exclude { phase: TRAIN } exclude { stage: 's' }", "010011"),
    ("exclude {}", "000000"),
    ("include { stage: 's' }", "001100"),
    ("include { stage: 's' stage: 't' }", "000100"),
    ("include { stage: 's' } include { stage: 't' }", "001100"),
    ("include { not_stage: 's' }", "110011"),
    ("include { stage: 's' not_stage: 't' }", "001000"),
    ("include { phase: TRAIN stage: 's' }", "000000"),
    ("include { min_level: 1 }", "000010"),
    ("include { min_level: 0 max_level: 1 }", "111100"),
    ("include { max_level: -1 }", "000001"),
    ("exclude { min_level: 2 max_level: 2 }", "111101"),
    # A layer's own phase says how it runs, not whether: Caffe's FilterNet does not look at it.
    ("phase: TRAIN", "111111"),
])  # fmt: skip
@pytest.mark.parametrize("kind", ["layer { type: 'Data'", "layers { type: DATA", "layers { layer { type: 'data' }"])
def test_states_meet_rules(kind: str, rules: str, kept: str) -> None:
    text = f"{kind} name: 'a' top: 'x' {rules} }}"
    states: list[dict[str, Any]] = [
        {"phase": "TRAIN"}, {}, {"stages": ("s",)}, {"stages": ("s", "t")}, {"level": 2}, {"level": -1},
    ]  # fmt: skip
    assert "".join(str(len(read(text, **state).layers)) for state in states) == kept


def test_rules_of_both_kinds_are_refused_with_their_line() -> None:
    text = 'layer { name: "ok" }\nlayer { name: "a"\n include { phase: TEST }\n exclude { stage: "s" } }'
    with pytest.raises(ParseError, match="'a' has both include and exclude") as fault:
        read(text)
    assert fault.value.line == 4


def test_a_nets_own_state_adds_stages_and_level() -> None:
    text = 'state { phase: TRAIN level: 2 stage: "s" } layer { name: "s" include { stage: "s" } }'
    text += 'layer { name: "deep" include { min_level: 2 } } layer { name: "tr" include { phase: TRAIN } }'
    assert names(text) == "s deep" and names(text, level=1) == "s" and names(text, phase="TRAIN") == "s deep tr"
    assert names('state { level: "x" } layer { name: "a" }') == "a"


def test_a_phase_that_leaves_nothing_is_a_problem() -> None:
    net = read('layer { name: "a" include { phase: TRAIN } }')
    assert not net.layers and "no layer is left for phase TEST" in net.problems[0][1]


# V1 ---------------------------------------------------------------------------------------------------------------

# caffe.proto, V1LayerParameter.LayerType, by number from 1, and the names that UpgradeV1LayerType gives them.
CAFFES_V1 = """
    ACCURACY Accuracy BNLL BNLL CONCAT Concat CONVOLUTION Convolution DATA Data DROPOUT Dropout EUCLIDEAN_LOSS
    EuclideanLoss FLATTEN Flatten HDF5_DATA HDF5Data HDF5_OUTPUT HDF5Output IM2COL Im2col IMAGE_DATA ImageData
    INFOGAIN_LOSS InfogainLoss INNER_PRODUCT InnerProduct LRN LRN MULTINOMIAL_LOGISTIC_LOSS MultinomialLogisticLoss
    POOLING Pooling RELU ReLU SIGMOID Sigmoid SOFTMAX Softmax SOFTMAX_LOSS SoftmaxWithLoss SPLIT Split TANH TanH
    WINDOW_DATA WindowData ELTWISE Eltwise POWER Power SIGMOID_CROSS_ENTROPY_LOSS SigmoidCrossEntropyLoss HINGE_LOSS
    HingeLoss MEMORY_DATA MemoryData ARGMAX ArgMax THRESHOLD Threshold DUMMY_DATA DummyData SLICE Slice MVN MVN
    ABSVAL AbsVal SILENCE Silence CONTRASTIVE_LOSS ContrastiveLoss EXP Exp DECONVOLUTION Deconvolution
""".split()


def test_v1_types_are_caffes() -> None:
    assert len(CAFFES_V1) == 2 * 39 and len(V1_NUMBERS) == 40
    for number, (old, new) in enumerate(zip(CAFFES_V1[::2], CAFFES_V1[1::2], strict=True), 1):
        assert (
            only(f"layers {{ type: {old} top: 'x' }}").type == only(f"layers {{ type: {number} top: 'x' }}").type == new
        )
    assert set(V1_NUMBERS.values()) <= set(V1_TYPES)


@pytest.mark.parametrize(("written", "type_", "problem"), [
    ("CROP", "Crop", False), ("BN", "BN", False), ("'Convolution'", "Convolution", False), ("'odd'", "odd", False),
    ("FOO_BAR", "FooBar", True), ("77", "77", True), ("-1", "-1", True),
])  # fmt: skip
def test_v1_types_of_forks(written: str, type_: str, problem: bool) -> None:
    net = read(f"layers {{ name: 'a'\n type: {written} }}")
    assert net.version == "V1" and net.layers[0].type == type_
    assert [(line, written in text) for line, text in net.problems] == [(2, True)] * problem


def test_v1_blobs_become_params_with_their_lines() -> None:
    text = """layers { name: "a" type: CONVOLUTION include { phase: TEST }
    param: "w" param: "b" blob_share_mode: PERMISSIVE
    blobs_lr: 1 blobs_lr: 2
    weight_decay: 1 weight_decay: 0 weight_decay: 3
    convolution_param { num_output: 4 } odd: 5 }"""
    layer = only(text)
    assert params(layer) == {
        "include": {"phase": "TEST"}, "convolution_param": {"num_output": 4}, "odd": 5,
        "param": [{"name": "w", "share_mode": "PERMISSIVE", "lr_mult": 1, "decay_mult": 1},
                  {"name": "b", "lr_mult": 2, "decay_mult": 0}, {"decay_mult": 3}],
    }  # fmt: skip
    param = layer.message.all("param")[1]
    assert [(item.name, item.line) for item in param] == [("name", 2), ("lr_mult", 3), ("decay_mult", 4)]


def test_v2_params_in_a_v1_layer_stay() -> None:
    assert params(only("layers { type: RELU top: 'x' param { lr_mult: 3 } }")) == {"param": {"lr_mult": 3}}


@pytest.mark.parametrize("head", ["layer { type: 'Data'", "layers { type: DATA"])
def test_data_transformations_move(head: str) -> None:
    text = f"{head} top: 'x' transform_param {{ mean_value: 7 }}\n data_param {{ source: 's' scale: 0.5 mean_file: 'm'"
    layer = only(f"{text} crop_size: 8 mirror: true batch_size: 4 }} }}")
    assert layer.own_param("data_param").to_dict() == {"source": "s", "batch_size": 4}
    moved = layer.own_param("transform_param")
    assert moved.to_dict() == {"scale": 0.5, "mean_file": "m", "crop_size": 8, "mirror": True, "mean_value": 7}
    assert [item.line for item in moved] == [2, 2, 2, 2, 1]


# V0 ---------------------------------------------------------------------------------------------------------------

FILLERS = "weight_filler { type: 'xavier' } bias_filler { value: 1 }"
FILLED = {"weight_filler": {"type": "xavier"}, "bias_filler": {"value": 1}}


@pytest.mark.parametrize(("old", "type_", "wanted"), [
    (f"type: 'conv' num_output: 4 biasterm: false kernelsize: 3 pad: 1 stride: 2 group: 2 {FILLERS}", "Convolution",
     {"convolution_param": {"num_output": 4, "bias_term": False, "kernel_size": 3, "pad": 1, "stride": 2, "group": 2,
                            **FILLED}}),
    ("type: 'conv' blobs_lr: 1 blobs_lr: 2 weight_decay: 1 weight_decay: 0", "Convolution",
     {"param": [{"lr_mult": 1, "decay_mult": 1}, {"lr_mult": 2, "decay_mult": 0}]}),
    ("type: 'pool' pool: AVE kernelsize: 3 stride: 2 pad: 1", "Pooling",
     {"pooling_param": {"pool": "AVE", "kernel_size": 3, "stride": 2, "pad": 1}}),
    (f"type: 'innerproduct' num_output: 4 biasterm: true {FILLERS}", "InnerProduct",
     {"inner_product_param": {"num_output": 4, "bias_term": True, **FILLED}}),
    ("type: 'lrn' local_size: 5 alpha: 0.1 beta: 0.75 k: 2", "LRN",
     {"lrn_param": {"local_size": 5, "alpha": 0.1, "beta": 0.75, "k": 2}}),
    ("type: 'dropout' dropout_ratio: 0.4", "Dropout", {"dropout_param": {"dropout_ratio": 0.4}}),
    ("type: 'concat' concat_dim: 2", "Concat", {"concat_param": {"concat_dim": 2}}),
    ("type: 'data' source: 's' batchsize: 4 rand_skip: 3 scale: 0.5 meanfile: 'm' cropsize: 8 mirror: true", "Data",
     {"data_param": {"source": "s", "batch_size": 4, "rand_skip": 3},
      "transform_param": {"scale": 0.5, "mean_file": "m", "crop_size": 8, "mirror": True}}),
    ("type: 'images' source: 's' batchsize: 4 rand_skip: 3 shuffle_images: true new_height: 5 new_width: 6",
     "ImageData", {"image_data_param": {"source": "s", "batch_size": 4, "rand_skip": 3, "shuffle": True,
                                           "new_height": 5, "new_width": 6}}),
    ("type: 'hdf5_data' source: 's' batchsize: 4", "HDF5Data", {"hdf5_data_param": {"source": "s", "batch_size": 4}}),
    ("type: 'window_data' source: 's' batchsize: 4 det_fg_threshold: 0.5 det_bg_threshold: 0.4 det_fg_fraction: 0.2 "
     "det_context_pad: 16 det_crop_mode: 'warp'", "WindowData",
     {"window_data_param": {"source": "s", "batch_size": 4, "fg_threshold": 0.5, "bg_threshold": 0.4,
                            "fg_fraction": 0.2, "context_pad": 16, "crop_mode": "warp"}}),
    ("type: 'infogain_loss' source: 's'", "InfogainLoss", {"infogain_loss_param": {"source": "s"}}),
    ("type: 'hdf5_output' hdf5_output_param { file_name: 'f' }", "HDF5Output",
     {"hdf5_output_param": {"file_name": "f"}}),
    ("type: 'power' power: 2 scale: 3 shift: 1", "Power", {"power_param": {"power": 2, "scale": 3, "shift": 1}}),
    ("type: 'im2col' kernelsize: 3", "Im2col", {"convolution_param": {"kernel_size": 3}}),
    *((f"type: '{old}' odd: 1", new, {"odd": 1}) for old, new in (
        ("accuracy", "Accuracy"), ("bnll", "BNLL"), ("euclidean_loss", "EuclideanLoss"), ("flatten", "Flatten"),
        ("hinge_loss", "HingeLoss"), ("multinomial_logistic_loss", "MultinomialLogisticLoss"), ("relu", "ReLU"),
        ("sigmoid", "Sigmoid"), ("softmax", "Softmax"), ("softmax_loss", "SoftmaxWithLoss"), ("split", "Split"),
        ("tanh", "TanH"), ("fancy", "fancy"))),
])  # fmt: skip
def test_v0_layer(old: str, type_: str, wanted: dict[str, Any]) -> None:
    net = read(f"layers {{ layer {{ name: 'a' {old} }} bottom: 'x' top: 'y' }}")
    (layer,) = net.layers
    assert net.version == "V0" and not net.problems
    assert (layer.name, layer.type, layer.bottoms, layer.tops) == ("a", type_, ("x",), ("y",))
    assert params(layer) == wanted


def test_v0_fields_of_other_layers_are_problems() -> None:
    """Where Caffe logs ``Unknown parameter stride for layer type relu``."""
    net = read("layers { layer { name: 'r' type: 'relu'\n stride: 2 } top: 'y' }")
    ((line, text),) = net.problems
    assert line == 2 and "stride" in text and "relu" in text and params(net.layers[0]) == {"stride": 2}


def test_v0_lines_survive() -> None:
    layer = only(
        "layers {\n layer { name: 'a' type: 'conv'\n num_output: 4\n kernelsize: 3\n blobs_lr: 1 }\n top: 'y' }"
    )
    own = layer.own_param("convolution_param")
    assert layer.line == 1 and [(item.name, item.line) for item in own] == [("num_output", 3), ("kernel_size", 4)]
    assert [item.line for item in layer.message.message("param")] == [5]


def test_a_v0_net_with_a_bare_layer_is_refused() -> None:
    with pytest.raises(ParseError, match="mixes") as fault:
        read("layers { layer { type: 'relu' } }\nlayers { type: RELU }")
    assert fault.value.line == 2


def v0(*layers: str) -> list[tuple[str, tuple[str, ...], dict[str, Any]]]:
    """Read V0 layers written as ``bottom top fields``."""
    text = ""
    for k, layer in enumerate(layers):
        bottom, top, fields = layer.split(" ", 2)
        text += f"layers {{ layer {{ name: 'l{k}' type: {fields} }} bottom: '{bottom}' top: '{top}' }}\n"
    net = read(text)
    assert not net.problems
    return [(layer.name, layer.bottoms, params(layer)) for layer in net.layers]


def test_v0_padding_is_folded() -> None:
    pad = "'padding' pad: 2"
    assert v0(f"x p {pad}", "p y 'conv' kernelsize: 5 stride: 1") == [
        ("l1", ("x",), {"convolution_param": {"kernel_size": 5, "stride": 1, "pad": 2}})
    ]
    assert v0(f"x p {pad}", "p y 'pool' pool: MAX") == [("l1", ("x",), {"pooling_param": {"pool": "MAX", "pad": 2}})]
    # Nothing else is set; Caffe's set_pad also replaces a pad of the convolution's own.
    assert v0(f"x p {pad}", "p y 'conv'") == [("l1", ("x",), {"convolution_param": {"pad": 2}})]
    assert v0(f"x p {pad}", "p y 'conv' pad: 1") == [("l1", ("x",), {"convolution_param": {"pad": 2}})]


def test_v0_padding_ends_where_its_blob_is_made_anew() -> None:
    """Caffe asks which layer made a bottom *last*."""
    pad = "'padding' pad: 2"
    assert v0(f"x p {pad}", "p p 'conv'", "p y 'conv'", "p z 'relu'") == [
        ("l1", ("x",), {"convolution_param": {"pad": 2}}), ("l2", ("p",), {}), ("l3", ("p",), {}),
    ]  # fmt: skip
    # Two readers of one padding, and a second padding of the same name.
    assert v0(f"x p {pad}", "p a 'conv'", "p b 'conv'", "a p 'padding' pad: 3", "p c 'conv'") == [
        ("l1", ("x",), {"convolution_param": {"pad": 2}}), ("l2", ("x",), {"convolution_param": {"pad": 2}}),
        ("l4", ("a",), {"convolution_param": {"pad": 3}}),
    ]  # fmt: skip


def test_v0_padding_before_another_layer_is_a_problem() -> None:
    text = "layers { layer { name: 'p' type: 'padding' pad: 1 } bottom: 'x' top: 'p' }\n"
    net = read(text + "layers { layer { name: 'r' type: 'relu' } bottom: 'p' top: 'y' }")
    assert net.problems == ((2, "padding before a ReLU layer is not possible"),) and net.layers[0].bottoms == ("x",)


def test_three_syntaxes_of_one_net_are_equal() -> None:
    v0 = """input: "x" input_dim: [1, 1, 8, 8]
    layers { layer { name: "p" type: "padding" pad: 1 } bottom: "x" top: "p" }
    layers { layer { name: "c" type: "conv" num_output: 4 kernelsize: 3 blobs_lr: 1 weight_decay: 0 }
             bottom: "p" top: "c" }
    layers { layer { name: "s" type: "softmax_loss" } bottom: "c" bottom: "l" top: "s" }"""
    v1 = """input: "x" input_shape { dim: [1, 1, 8, 8] }
    layers { name: "c" type: CONVOLUTION bottom: "x" top: "c" blobs_lr: 1 weight_decay: 0
             convolution_param { num_output: 4 kernel_size: 3 pad: 1 } }
    layers { name: "s" type: SOFTMAX_LOSS bottom: "c" bottom: "l" top: "s" }"""
    v2 = """input: "x" input_shape { dim: [1, 1, 8, 8] }
    layer { name: "c" type: "Convolution" bottom: "x" top: "c" param { lr_mult: 1 decay_mult: 0 }
            convolution_param { num_output: 4 kernel_size: 3 pad: 1 } }
    layer { name: "s" type: "SoftmaxWithLoss" bottom: "c" bottom: "l" top: "s" }"""
    nets = [read(text) for text in (v0, v1, v2)]
    assert [net.version for net in nets] == ["V0", "V1", "V2"]
    plain = [
        [(layer.name, layer.type, layer.bottoms, layer.tops, params(layer)) for layer in net.layers] for net in nets
    ]
    assert plain[0] == plain[1] == plain[2] and nets[0].inputs == nets[1].inputs == nets[2].inputs


# Solvers ----------------------------------------------------------------------------------------------------------


def test_nets_and_solvers_are_told_apart() -> None:
    for text in ('layer { name: "a" }', "layers { type: RELU }", 'input: "x"'):
        assert is_net(parse(text)) and not is_solver(parse(text))
    for text in ('net: "n"', "base_lr: 0.1", 'net_param { layer { name: "a" } }', 'train_net: "n"'):
        assert is_solver(parse(text)) and not is_net(parse(text))
    assert not is_net(Message()) and not is_solver(Message()) and not is_solver(parse("odd: 1"))


@pytest.mark.parametrize("path", SOLVERS)
def test_real_solver(path: str) -> None:
    message = read_text(MODELS / path)
    assert is_solver(message) and not is_net(message)


@needs_models
@pytest.mark.parametrize(("solver", "net", "layers"), [
    ("bvlc/bvlc_alexnet/solver", "train_val", 26), ("bvlc/mnist/lenet_solver", "lenet_train_test", 11),
    ("bvlc/cifar10/cifar10_quick_solver", "cifar10_quick_train_test", 15), ("recurrent/lrcn_solver", "lrcn", None),
    ("squeezenet/v1.1_solver", None, None), ("bvlc/mnist/lenet_consolidated_solver", "lenet_consolidated_solver", None),
])  # fmt: skip
def test_nets_of_real_solvers(solver: str, net: str | None, layers: int | None) -> None:
    path = MODELS / "caffe" / f"{solver}.prototxt"
    if net is None:
        with pytest.raises(ConvertError, match="train_val"):
            solver_net(read_text(path), path, "TEST")
        return
    message, place = solver_net(read_text(path), path, "TEST")
    assert place == path.parent / f"{net}.prototxt" and is_net(message)
    assert layers in (None, len(message.all("layer")))


def test_phase_prefers_its_net(tmp_path: Path) -> None:
    for name in ("net", "train", "test"):
        (tmp_path / f"{name}.prototxt").write_text(f'name: "{name}" layer {{ name: "a" }}')

    def chosen(text: str, phase: str) -> object:
        return solver_net(parse(text), tmp_path / "solver.prototxt", phase)[0].get("name")

    net, train, test = (f'{key}: "{file}.prototxt" ' for key, file in
                        (("net", "net"), ("train_net", "train"), ("test_net", "test")))  # fmt: skip
    for phase, wanted in (("TRAIN", "train"), ("TEST", "test")):
        assert chosen(net + train + test, phase) == chosen(train + test, phase) == wanted
        assert chosen(net, phase) == "net" and chosen('net_param { name: "inline" layer {} }', phase) == "inline"
    assert chosen(net + train, "TEST") == "net" and chosen(train, "TEST") == "train" and chosen(test, "TRAIN") == "test"
    inline = 'train_net_param { name: "a" layer {} } test_net_param { name: "b" layer {} }'
    assert chosen(inline, "TRAIN") == "a" and chosen(inline, "TEST") == "b"


def test_where_a_solvers_net_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    message, path = parse('net: "m/net.prototxt"'), tmp_path / "s" / "solver.prototxt"
    with pytest.raises(ConvertError) as fault:
        solver_net(message, path, "TEST")
    tried = [Path("m/net.prototxt"), tmp_path / "s/m/net.prototxt", tmp_path / "s/net.prototxt"]
    assert all(str(place) in str(fault.value) for place in tried)
    assert fault.value.path == str(path) and "--net" in fault.value.hint
    for place in reversed(tried):  # each one wins over those that were there before
        place.parent.mkdir(exist_ok=True)
        place.write_text('layer { name: "a" }')
        assert solver_net(message, path, "TEST")[1] == place
    other = tmp_path / "other.prototxt"
    other.write_text('layer { name: "o" }')
    assert solver_net(message, path, "TEST", other)[1] == other
    with pytest.raises(ConvertError, match="absent"):
        solver_net(message, path, "TEST", tmp_path / "absent.prototxt")
    with pytest.raises(ConvertError, match="names no net"):
        solver_net(parse("base_lr: 0.1"), path, "TEST")
