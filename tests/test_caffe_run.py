"""Caffe models that run: whole nets and single layers against OpenCV, formulas and what the models are known to say."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from graphviz_nets import verify as checks
from graphviz_nets.api import load, preprocess_of, save, summary
from graphviz_nets.config import Options
from graphviz_nets.converters.caffe import converter
from graphviz_nets.converters.caffe_opencv import WRONG, layers_of
from graphviz_nets.converters.caffe_weights import write_weights
from graphviz_nets.errors import ConfigError, ConvertError, MissingExtra, RunError
from graphviz_nets.explain import images
from graphviz_nets.explain.runner import Runner
from graphviz_nets.graph.builder import Builder
from graphviz_nets.graph.ir import Model
from graphviz_nets.graph.preprocess import Preprocess
from graphviz_nets.verify import difference, verify

from .cases import judges
from .cases.caffe import Case

SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "models"
MODELS = SHARED / "caffe"
FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "caffe"
needs_models = pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real models in ../shared/models")
Need = Callable[[str], Any]


def read(text: str, **given: Any) -> Model:
    return converter.open(Path("net.prototxt"), text.encode(), Options(**given))


@pytest.fixture
def squeezenet(tmp_path: Path, shared: Path) -> Path:
    path = tmp_path / "squeezenet.caffemodel"
    with gzip.open(shared / "caffe" / "squeezenet" / "squeezenet_v1.0_dc.caffemodel.gz") as file:
        path.write_bytes(file.read())
    return path


# Whole nets -------------------------------------------------------------------------------------------------------

REAL = {
    "weights/lenet/lenet": "lenet_iter_10000.caffemodel",
    "weights/mtcnn/det1": "det1.caffemodel",
    "weights/mtcnn/det2": "det2.caffemodel",
    "weights/mtcnn/det3": "det3.caffemodel",
    "weights/ultraface/RFB-320": "RFB-320.caffemodel",
    "weights/cifar10_quick/cifar10_quick": "cifar10_quick_iter_5000.caffemodel.h5",
}
RANDOM = [
    "bvlc/bvlc_alexnet/deploy", "bvlc/bvlc_googlenet/deploy", "resnet/ResNet-50-deploy", "mobilenet/mobilenet_deploy",
    "soeaver/deploy_densenet121", "ssd/MobileNetSSD_deploy",
]  # fmt: skip


@needs_models
@pytest.mark.parametrize("name", [*REAL, *RANDOM])
def test_nets_give_opencvs_numbers(name: str, need: Need) -> None:
    need("cv2"), need("onnxruntime")
    path = MODELS / f"{name}.prototxt"
    weights = path.with_name(REAL[name]) if name in REAL else None
    if weights is not None and weights.suffix == ".h5":
        need("h5py")
    model = load(path, weights=weights, random_weights=None if weights else 1, deploy=True)
    judge, verdicts = verify(model, path, weights)
    assert judge.startswith("OpenCV") and [v.output for v in verdicts] == list(model.graph.outputs)
    assert all(verdict.equal for verdict in verdicts), verdicts


@needs_models
def test_squeezenet_gives_opencvs_numbers(squeezenet: Path, need: Need) -> None:
    need("cv2")
    path = MODELS / "squeezenet" / "dc_squeezenet_v1.0_deploy.prototxt"
    judge, verdicts = verify(load(path, weights=squeezenet), path, squeezenet)
    assert judge.startswith("OpenCV") and all(verdict.equal for verdict in verdicts)


@needs_models
def test_se_resnet_gives_opencvs_numbers(tmp_path: Path, need: Need) -> None:
    """OpenCV's Axpy computes a y + x, where SENet's own is a x + y: it is given the bottoms the other way round."""
    cv2, np = need("cv2"), need("numpy")
    path = MODELS / "senet" / "SE-ResNet-50.prototxt"
    model = load(path, random_weights=1)
    swap = r'(type: "Axpy"\s+bottom: "[^"]*"\s+)(bottom: "[^"]*")(\s+)(bottom: "[^"]*")'
    swapped, number = re.subn(swap, r"\1\4\3\2", path.read_text())
    assert number == 16
    (tmp_path / "net.prototxt").write_text(swapped)
    write_weights(tmp_path / "net.caffemodel", layers_of(model))
    net = cv2.dnn.readNetFromCaffe(str(tmp_path / "net.prototxt"), str(tmp_path / "net.caffemodel"))
    x = np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype("f4")
    net.setInput(x)
    theirs = net.forward(["conv2_1", "conv3_4/relu", "prob"])
    mine = Runner(model, ["conv2_1@conv2_1", "conv3_4", "prob"])(x)
    for a, b in zip(mine.values(), theirs, strict=True):
        assert (difference(a.reshape(-1), b.reshape(-1)) or 0) <= 1e-4


@needs_models
def test_squeezenet_knows_the_goldfish_and_the_mastiff(squeezenet: Path, need: Need) -> None:
    need("PIL")
    path = MODELS / "squeezenet" / "dc_squeezenet_v1.0_deploy.prototxt"
    model = load(path, weights=squeezenet)
    shape = model.graph.value(model.graph.inputs[0]).shape
    assert shape == (1, 3, 227, 227)
    files = [SHARED / "images" / name for name in ("goldfish.jpg", "both_dog_cat.png")]
    (scores,) = Runner(model)(images.batch(files, preprocess_of("caffe"), shape)).values()
    labels = (SHARED / "labels" / "synset_words.txt").read_text().splitlines()
    assert ["goldfish" in labels[k] for k in scores.reshape(2, -1).argmax(1)] == [True, False]
    assert "bull mastiff" in labels[int(scores.reshape(2, -1)[1].argmax())]


@needs_models
def test_lenet_reads_99_percent_of_the_digits(need: Need) -> None:
    np = need("numpy")
    folder = MODELS / "weights" / "lenet"
    model = load(folder / "lenet.prototxt", weights=folder / "lenet_iter_10000.caffemodel")
    record = images.record_of(model)
    assert record is not None and record.scale == 1 / 256

    def idx(name: str, head: int) -> Any:
        with gzip.open(SHARED / "images" / "mnist" / f"t10k-first1000-{name}-ubyte.gz") as file:
            return np.frombuffer(file.read()[head:], "u1")

    digits = idx("images-idx3", 16).reshape(-1, 1, 28, 28) * np.float32(record.scale)
    # The net's batch is 64: 1,000 digits are 15 goes and a part of one.
    (scores,) = Runner(model)(digits).values()
    assert scores.shape == (1000, 10) and (scores.argmax(1) == idx("labels-idx1", 8)).sum() == 990


@needs_models
def test_rfb_equals_its_onnx_twin(need: Need) -> None:
    np, ort = need("numpy"), need("onnxruntime")
    folder = MODELS / "weights" / "ultraface"
    model = load(folder / "RFB-320.prototxt", weights=folder / "RFB-320.caffemodel")
    (twin,) = [path for path in SHARED.rglob("*.onnx") if "RFB-320" in path.name and "int8" not in path.name]
    session = ort.InferenceSession(str(twin), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).standard_normal((1, 3, 240, 320)).astype("f4")
    theirs = session.run(["scores", "boxes"], {session.get_inputs()[0].name: x})
    mine = Runner(model, ["scores", "boxes"])(x)
    # Its converter dropped the last decoding of the boxes or kept it; the scores are the same numbers.
    assert np.abs(mine["scores"] - theirs[0]).max() <= 2e-5
    assert mine["boxes"].shape == theirs[1].shape and np.abs(mine["boxes"] - theirs[1]).max() <= 2e-5


# Nets for training become nets that run ---------------------------------------------------------------------------


@needs_models
@pytest.mark.parametrize(("path", "outputs", "inputs"), [
    ("bvlc/mnist/lenet_train_test", {"prob": (100, 10)}, ("data",)),
    ("bvlc/bvlc_googlenet/train_val", {"prob": (50, 1000), "loss1/loss/prob": (50, 1000)}, ("data",)),
    ("squeezenet/v1.1_train_val", {"prob": (25, 1000, 1, 1)}, ("data",)),
    ("bvlc/mnist/mnist_autoencoder", {"prob": (100, 784), "decode1neuron": (100, 784)}, ("data",)),
])  # fmt: skip
def test_losses_and_labels_go(path: str, outputs: dict[str, Any], inputs: tuple[str, ...]) -> None:
    file = MODELS / f"{path}.prototxt"
    given: dict[str, Any] = {"stages": ("test-on-test",)}
    if "mnist" in path:
        given["input_shapes"] = {"0": (None, (100, 1, 28, 28))}
    model = load(file, random_weights=0, deploy=True, **given)
    assert model.runnable and model.graph.inputs == inputs, model.obstacles
    assert outputs.items() <= {name: model.graph.value(name).shape for name in model.graph.outputs}.items()
    assert not [s.type for s in model.layers if s.type.endswith("Loss") or s.type == "Accuracy"]
    model.graph.check()
    # Drawn, everything stays.
    assert [s for s in load(file, **given).layers if s.type.endswith("Loss")]


def test_two_predictions_that_are_compared_are_both_results() -> None:
    text = 'layer { name: "x" type: "Input" top: "a" top: "b" top: "sim" input_param { shape { dim: 2 dim: 3 } } }'
    for k in "ab":
        text += f'layer {{ name: "f{k}" type: "InnerProduct" bottom: "{k}" top: "f{k}" '
        text += "inner_product_param { num_output: 2 } }"
    text += 'layer { name: "l" type: "ContrastiveLoss" bottom: "fa" bottom: "fb" bottom: "sim" top: "l" }'
    text += 'layer { name: "shh" type: "Silence" bottom: "sim" }'
    model = read(text, random_weights=0, deploy=True)
    assert model.graph.outputs == ("fa", "fb") and model.graph.inputs == ("a", "b")
    assert model.layers[0].outputs == ("a", "b")


def test_what_gives_only_a_size_stays_an_input_and_what_led_to_a_label_goes() -> None:
    text = 'layer { name: "x" type: "Input" top: "x" top: "z" input_param { shape { dim: 1 dim: 2 dim: 5 dim: 5 } } }'
    text += 'layer { name: "crop" type: "Crop" bottom: "x" bottom: "z" top: "y" crop_param { offset: 0 } }'
    text += 'layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 1 } } }'
    text += 'layer { name: "both" type: "Split" bottom: "label" top: "one" top: "two" }'
    text += 'layer { name: "ip" type: "InnerProduct" bottom: "y" top: "ip" inner_product_param { num_output: 3 } }'
    text += 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "one" top: "loss" }'
    text += 'layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "two" top: "accuracy" }'
    model = read(text, random_weights=0, deploy=True)
    assert model.graph.inputs == ("x", "z") and model.graph.outputs == ("prob",)
    assert [scope.name for scope in model.layers] == ["x", "crop", "ip", "loss"]
    assert model.scopes[("loss",)].type == "Softmax"


# Layers against OpenCV --------------------------------------------------------------------------------------------

IMAGE = {"x": (1, 6, 7, 9)}
JUDGED = [
    Case("ReLU6", IMAGE, "", {"y": None}),
    Case("Permute", IMAGE, "permute_param { order: 0 order: 2 order: 3 order: 1 }", {"y": None}),
    Case("Normalize", IMAGE, "norm_param { across_spatial: false channel_shared: false }", {"y": None}),
    Case("Normalize", IMAGE, "norm_param { across_spatial: true channel_shared: true }", {"y": None}),
    Case("ShuffleChannel", IMAGE, "shuffle_channel_param { group: 3 }", {"y": None}),
    Case("Interp", IMAGE, "interp_param { zoom_factor: 2 }", {"y": None}),
    Case("Interp", IMAGE, "interp_param { height: 12 width: 5 }", {"y": None}),
    Case("ConvolutionDepthwise", IMAGE, "convolution_param { num_output: 6 kernel_size: 3 group: 6 }", {"y": None}),
    Case("Convolution", IMAGE, "convolution_param { num_output: 4 kernel_size: 3 dilation: 2 pad: 2 group: 2 }",
         {"y": None}),
    Case("Deconvolution", IMAGE, "convolution_param { num_output: 6 kernel_size: 4 stride: 2 pad: 1 group: 6 "
         "bias_term: false weight_filler { type: 'bilinear' } }", {"y": None}),
    Case("PReLU", IMAGE, "", {"y": None}),
    Case("Scale", IMAGE, "scale_param { bias_term: true filler { type: 'uniform' } }", {"y": None}),
    Case("Eltwise", {"x": (1, 2, 3, 4), "z": (1, 2, 3, 4)}, "eltwise_param { coeff: 2 coeff: -1 }", {"y": None}),
    Case("Reorg", {"x": (1, 4, 4, 6)}, "reorg_param { stride: 2 }", {"y": None}),
    Case("ROIPooling", {"x": (1, 2, 14, 14), "r": (3, 5)}, "roi_pooling_param { pooled_h: 3 pooled_w: 2 "
         "spatial_scale: 0.5 }", {"y": None}),
    Case("PriorBox", {"x": (1, 6, 3, 2), "data": (1, 3, 30, 20)}, "prior_box_param { min_size: 6 max_size: 9 "
         "aspect_ratio: 2 flip: true clip: false variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2 }",
         {"y": None}),
]  # fmt: skip


@pytest.mark.parametrize("case", JUDGED, ids=lambda case: f"{case.type} {case.param}"[:60])
def test_layers_give_opencvs_numbers(case: Case, tmp_path: Path, need: Need) -> None:
    cv2, np = need("cv2"), need("numpy")
    path = tmp_path / "net.prototxt"
    path.write_text(case.text())
    model = load(path, random_weights=1)
    assert case.type not in WRONG and model.runnable, model.problems
    rng = np.random.default_rng(0)
    feeds = {name: rng.standard_normal(shape).astype("f4") for name, shape in case.bottoms.items()}
    if "r" in feeds:
        feeds["r"] = np.array([[0, 0, 0, 13, 20], [0, 4, 6, 20, 26], [0, 9, 9, 9, 9]], "f4")
    write_weights(tmp_path / "net.caffemodel", layers_of(model))
    net = cv2.dnn.readNetFromCaffe(str(path), str(tmp_path / "net.caffemodel"))
    for name, array in feeds.items():
        net.setInput(array, name)
    (mine,) = Runner(model)(feeds).values()
    assert (difference(mine.reshape(-1), net.forward().reshape(-1)) or 0) <= 2e-5


# Layers against their formulas ------------------------------------------------------------------------------------


def convolved(x: Any, w: Any, group: int, stride: int, pad: int, dilation: int) -> Any:
    """A convolution of any number of axes, output by output in float64."""
    import numpy as np

    rank = x.ndim - 2
    x = np.pad(x.astype("f8"), [(0, 0), (0, 0), *[(pad, pad)] * rank])
    reach = [dilation * (size - 1) + 1 for size in w.shape[2:]]
    sizes = [(x.shape[2 + k] - reach[k]) // stride + 1 for k in range(rank)]
    out = np.zeros((x.shape[0], w.shape[0], *sizes))
    inner, outer = w.shape[1], w.shape[0] // group
    for n, c, *at in np.ndindex(*out.shape):
        channels = slice(c // outer * inner, (c // outer + 1) * inner)
        cut = [slice(at[k] * stride, at[k] * stride + reach[k], dilation) for k in range(rank)]
        out[(n, c, *at)] = (x[(n, channels, *cut)] * w[c]).sum()
    return out


def formulas() -> list[tuple[Case, Callable[..., Any]]]:
    """Return cases, and what they compute from the bottoms, then the blobs."""
    import numpy as np

    x = {"x": (2, 6, 5, 4)}
    conv = "convolution_param {{ num_output: {} kernel_size: {} stride: 2 pad: 1 dilation: {} group: {} "
    conv += "bias_term: false }}"
    wide = (..., None, None)
    return [
        (Case("Convolution", x, conv.format(4, 2, 1, 2), {"y": None}), lambda x, w: convolved(x, w, 2, 2, 1, 1)),
        (Case("Convolution", {"x": (2, 3, 9)}, conv.format(4, 3, 2, 1), {"y": None}),
         lambda x, w: convolved(x, w, 1, 2, 1, 2)),
        (Case("Convolution", {"x": (1, 2, 5, 4, 3)}, conv.format(2, 2, 1, 1), {"y": None}),
         lambda x, w: convolved(x, w, 1, 2, 1, 1)),
        (Case("DepthwiseConvolution", x, "convolution_param { num_output: 6 kernel_size: 3 }", {"y": None}),
         lambda x, w, b: convolved(x, w, 6, 1, 0, 1) + b[wide]),
        (Case("Dropout", x, "dropout_param { dropout_ratio: 0.7 }", {"y": None}), lambda x: x),
        (Case("BatchReindex", {"x": (3, 2), "i": (5,)}, "", {"y": None}), lambda x, i: x[i.astype(int)]),
        (Case("Reduction", x, "reduction_param { operation: ASUM axis: 1 coeff: 0.5 }", {"y": None}),
         lambda x: np.abs(x).sum((1, 2, 3)) / 2),
        (Case("Reduction", x, "reduction_param { operation: SUMSQ axis: -2 }", {"y": None}),
         lambda x: (x**2).sum((2, 3))),
        (Case("Reduction", x, "reduction_param { operation: MEAN }", {"y": None}), lambda x: x.mean()),
        (Case("ArgMax", x, "argmax_param { axis: 1 }", {"y": None}), lambda x: x.argmax(1)[:, None]),
        (Case("ArgMax", x, "argmax_param { axis: -1 top_k: 2 }", {"y": None}), lambda x: (-x).argsort(-1)[..., :2]),
        (Case("ArgMax", {"x": (3, 7)}, "argmax_param { out_max_val: true }", {"y": None}),
         lambda x: np.stack([x.argmax(1), x.max(1)], 1)[..., None]),
        (Case("Softmax", x, "softmax_param { axis: 2 }", {"y": None}),
         lambda x: np.exp(x) / np.exp(x).sum(2, keepdims=True)),
        (Case("Exp", x, "exp_param { base: 2 scale: 0.5 shift: 1 }", {"y": None}), lambda x: 2 ** (1 + 0.5 * x)),
        (Case("Power", x, "power_param { power: 3 scale: 2 shift: -1 }", {"y": None}), lambda x: (2 * x - 1) ** 3),
        (Case("Tile", x, "tile_param { axis: -1 tiles: 3 }", {"y": None}), lambda x: np.tile(x, (1, 1, 1, 3))),
        (Case("Reshape", x, "reshape_param { shape { dim: 3 dim: -1 } axis: 1 num_axes: 2 }", {"y": None}),
         lambda x: x.reshape(2, 3, 10, 4)),
        (Case("Concat", {"x": (2, 3), "z": (4, 3)}, "concat_param { axis: 0 }", {"y": None}),
         lambda x, z: np.concatenate([x, z])),
        (Case("Slice", x, "slice_param { axis: -1 slice_point: 1 slice_point: 3 }", {"y": None, "u": None, "v": None}),
         lambda x: x[..., :1]),
        (Case("Crop", {"x": (2, 6, 5, 4), "z": (2, 4, 3, 2)}, "crop_param { axis: 1 offset: 1 offset: 2 offset: 0 }",
              {"y": None}), lambda x, z: x[:, 1:5, 2:5, :2]),
        (Case("InnerProduct", x, "inner_product_param { num_output: 3 axis: -1 transpose: true }", {"y": None}),
         lambda x, w, b: x @ w + b),
        (Case("Eltwise", {"x": (2, 3), "z": (2, 3)}, "eltwise_param { operation: PROD }", {"y": None}),
         lambda x, z: x * z),
        (Case("BatchNorm", {"x": (3, 4)}, "batch_norm_param { eps: 0.1 }", {"y": None}),
         lambda x, mean, var: (x - mean) / np.sqrt(var + 0.1)),
        (Case("Bias", x, "bias_param { axis: 2 num_axes: 2 }", {"y": None}), lambda x, b: x + b),
        (Case("Scale", x, "scale_param { axis: 2 num_axes: 1 bias_term: true }", {"y": None}),
         lambda x, w, b: x * w + b),
        (Case("MVN", x, "mvn_param { across_channels: true }", {"y": None}),
         lambda x: (x - x.mean((1, 2, 3), keepdims=True)) / x.std((1, 2, 3), keepdims=True)),
        (Case("BNLL", x, "", {"y": None}), lambda x: np.log1p(np.exp(x))),
        (Case("LRN", x, "lrn_param { local_size: 3 alpha: 2 beta: 0.5 k: 3 }", {"y": None}),
         lambda x: x / np.sqrt(3 + 2 / 3 * sum(np.pad(x**2, [(0, 0), (1, 1), (0, 0), (0, 0)])[:, k : k + 6]
                                               for k in range(3)))),
    ]  # fmt: skip


@pytest.mark.parametrize("k", range(28))
def test_layers_follow_their_formulas(k: int, need: Need) -> None:
    np = need("numpy")
    need("onnxruntime")
    cases = formulas()
    assert len(cases) == 28
    case, formula = cases[k]
    model = read(case.text(), random_weights=k)
    rng = np.random.default_rng(k)
    feeds = {name: rng.standard_normal(shape).astype("f4") for name, shape in case.bottoms.items()}
    if "i" in feeds:
        feeds["i"] = np.array([2, 0, 1, 1, 2], "f4")
    blobs = []
    for name in model.layers[-1].weights:
        tensor = model.graph.initializers[name]
        blobs.append(np.frombuffer(tensor.bytes(), "<f4").reshape(tensor.shape).astype("f8"))
    found = next(iter(Runner(model)(feeds).values()))
    real = np.asarray(formula(*(array.astype("f8") for array in feeds.values()), *blobs))
    assert found.shape == real.shape and (difference(found, real) or 0) <= 2e-5, case


# Detection --------------------------------------------------------------------------------------------------------


def detected(loc: Any, conf: Any, prior: Any, settings: dict[str, Any]) -> Any:
    """SSD's DetectionOutput, box by box in float64: detection_output_layer.cpp and bbox_util.cpp."""
    import numpy as np

    batch, classes = loc.shape[0], settings["num_classes"]
    priors = prior.shape[-1] // 4
    corner, spread = prior[0].astype("f8").reshape(2, priors, 4)
    size, centre = corner[:, 2:] - corner[:, :2], (corner[:, :2] + corner[:, 2:]) / 2
    places = 1 if settings.get("share_location", True) else classes
    rows = []
    for n in range(batch):
        scores, found = conf[n].reshape(priors, classes), []
        for label in range(classes):
            if label == settings.get("background_label_id", 0):
                continue
            shift = loc[n].astype("f8").reshape(priors, places, 4)[:, label % places]
            shift = shift if settings.get("variance_encoded_in_target") else shift * spread
            if settings.get("code_type", "CORNER") == "CENTER_SIZE":
                middle, reach = shift[:, :2] * size + centre, np.exp(shift[:, 2:]) * size / 2
                boxes = np.concatenate([middle - reach, middle + reach], 1)
            elif settings["code_type"] == "CORNER_SIZE":
                boxes = corner + shift * np.concatenate([size, size], 1)
            else:
                boxes = corner + shift
            order = [k for k in range(priors) if scores[k, label] > settings.get("confidence_threshold", -1e38)]
            order.sort(key=lambda k, label=label: -scores[k, label])  # type: ignore[misc]
            top = settings.get("top_k", -1)
            kept: list[int] = []
            for k in order[: top if top >= 0 else None]:
                if all(_overlap(boxes[k], boxes[j]) <= settings.get("nms_threshold", 0.3) for j in kept):
                    kept.append(k)
            found += [(label, -scores[k, label], k, boxes[k]) for k in kept]
        keep = settings.get("keep_top_k", -1)
        if 0 <= keep < len(found):
            found = sorted(found, key=lambda one: one[1])[:keep]
        rows += [[n, label, -score, *box] for label, score, _, box in sorted(found, key=lambda one: one[:2])]
    return np.array(rows or [[n, *[-1] * 6] for n in range(batch)], "f8")[None, None]


def _overlap(a: Any, b: Any) -> float:
    sides = [min(a[k + 2], b[k + 2]) - max(a[k], b[k]) for k in (0, 1)]
    inner = 0.0 if min(sides) <= 0 else sides[0] * sides[1]

    def area(box: Any) -> float:
        return 0.0 if box[2] < box[0] or box[3] < box[1] else (box[2] - box[0]) * (box[3] - box[1])

    return float(inner / (area(a) + area(b) - inner)) if inner else 0.0


DETECTIONS: list[dict[str, Any]] = [
    {"num_classes": 4, "nms_threshold": 0.45, "code_type": "CENTER_SIZE", "confidence_threshold": 0.3},
    {"num_classes": 4, "top_k": 5, "keep_top_k": 7, "code_type": "CENTER_SIZE", "confidence_threshold": 0.1},
    {"num_classes": 3, "top_k": 4, "keep_top_k": 3, "code_type": "CORNER"},
    {"num_classes": 3, "code_type": "CORNER_SIZE", "background_label_id": -1, "keep_top_k": 100},
    {"num_classes": 3, "code_type": "CENTER_SIZE", "share_location": False, "keep_top_k": 9, "top_k": 6},
    {"num_classes": 3, "code_type": "CENTER_SIZE", "variance_encoded_in_target": True, "background_label_id": 2},
    {"num_classes": 3, "code_type": "CENTER_SIZE", "confidence_threshold": 0.9999, "keep_top_k": 5},
]


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("settings", DETECTIONS, ids=lambda one: " ".join(f"{k}={v}" for k, v in one.items()))
def test_detections_are_ssds(settings: dict[str, Any], batch: int, need: Need) -> None:
    np = need("numpy")
    need("onnxruntime")
    rng = np.random.default_rng(batch)
    priors, classes = 24, settings["num_classes"]
    places = 1 if settings.get("share_location", True) else classes
    low = rng.random((priors, 2)) * 0.7
    prior = np.stack([np.concatenate([low, low + 0.2], 1), np.tile([0.1, 0.1, 0.2, 0.2], (priors, 1))])
    prior = prior.reshape(1, 2, -1).astype("f4")
    loc = rng.standard_normal((batch, priors * places * 4)).astype("f4")
    conf = rng.dirichlet([0.4] * classes, (batch, priors)).astype("f4").reshape(batch, -1)
    inner = {key: settings[key] for key in ("nms_threshold", "top_k") if key in settings}
    param = " ".join(
        f"{k}: {json.dumps(v) if isinstance(v, bool) else v}" for k, v in settings.items() if k not in inner
    )
    nms = " ".join(f"{k}: {v}" for k, v in inner.items())
    bottoms = {"l": loc.shape, "c": conf.shape, "p": prior.shape}
    case = Case("DetectionOutput", bottoms, f"detection_output_param {{ {param} nms_param {{ {nms} }} }}", {"y": None})
    (mine,) = Runner(read(case.text()))({"l": loc, "c": conf, "p": prior}).values()
    real = detected(loc, conf, prior, settings)
    assert mine.shape == real.shape and np.abs(mine - real).max() < 1e-5


# Recurrent layers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("exposed", [False, True])
@pytest.mark.parametrize("type_", ["LSTM", "RNN"])
def test_recurrent_layers_follow_their_formulas(type_: str, exposed: bool, static: bool, need: Need) -> None:
    """lstm_layer.cpp, lstm_unit_layer.cpp and rnn_layer.cpp in float64, `cont` falling to 0 within the sequence."""
    np = need("numpy")
    need("onnxruntime")
    steps, batch, size, hidden = 6, 3, 4, 5
    states = 2 if type_ == "LSTM" else 1
    rng = np.random.default_rng(1)
    feeds = {"x": rng.standard_normal((steps, batch, size)), "c": (rng.random((steps, batch)) > 0.3) * 1.0}
    if static:
        feeds["s"] = rng.standard_normal((batch, 2, 3))
    if exposed:
        feeds |= {f"h{k}": rng.standard_normal((1, batch, hidden)) for k in range(states)}
    tops: dict[str, Any] = {"y": None, **({f"t{k}": None for k in range(states)} if exposed else {})}
    param = f"recurrent_param {{ num_output: {hidden} expose_hidden: {json.dumps(exposed)} }}"
    model = read(Case(type_, {k: v.shape for k, v in feeds.items()}, param, tops).text(), random_weights=5)
    bias = model.layers[-1].weights
    named = {}
    for name in bias:
        tensor = model.graph.initializers[name]
        named[name.rpartition(".")[2]] = rng.standard_normal([int(dim or 0) for dim in tensor.shape]).astype("f4") / 2
    tensors = {**model.graph.initializers}
    for name in bias:
        array = named[name.rpartition(".")[2]]
        tensors[name] = replace(tensors[name], data=array.tobytes())
    model = model.with_graph(replace(model.graph, initializers=tensors))
    found = list(Runner(model)({k: v.astype("f4") for k, v in feeds.items()}).values())

    def sigmoid(v: Any) -> Any:
        return 1 / (1 + np.exp(-v))

    state = [feeds[f"h{k}"][0] if exposed else np.zeros((batch, hidden)) for k in range(states)]
    real = []
    for t in range(steps):
        cont = feeds["c"][t][:, None]
        z = feeds["x"][t] @ named["weight_x"].T + named["bias"] + (cont * state[0]) @ named["weight_h"].T
        if static:
            z = z + feeds["s"].reshape(batch, -1) @ named["weight_static"].T
        if type_ == "LSTM":
            i, f, o, g = np.split(z, 4, 1)
            cell = cont * sigmoid(f) * state[1] + sigmoid(i) * np.tanh(g)
            state = [sigmoid(o) * np.tanh(cell), cell]
            real.append(state[0])
        else:
            state = [np.tanh(z)]
            real.append(np.tanh(state[0] @ named["weight_out"].T + named["bias_out"]))
    wanted = [np.stack(real), *([one[None] for one in state] if exposed else [])]
    assert [a.shape for a in found] == [a.shape for a in wanted]
    assert all(np.abs(a - b).max() < 2e-5 for a, b in zip(found, wanted, strict=True))


def test_a_recurrent_layer_costs_its_products() -> None:
    case = Case("LSTM", {"x": (6, 3, 4), "c": (6, 3)}, "recurrent_param { num_output: 5 }", {"y": None})
    row = summary(read(case.text())).rows[-1]
    # Per sample (the file's batch is the first axis): 3 sequences' products with (20, 4) and (20, 5).
    assert (row.type, row.parameters, row.macs) == ("LSTM", 20 * 4 + 20 + 20 * 5, 3 * (20 * 4 + 20 * 5))


def test_stochastic_pooling_is_a_weighted_mean(need: Need) -> None:
    np = need("numpy")
    need("onnxruntime")
    x = np.abs(np.random.default_rng(0).standard_normal((1, 2, 6, 6))).astype("f4")
    x[0, 0, :2, :2] = 0
    param = "pooling_param { pool: STOCHASTIC kernel_size: 2 stride: 2 }"
    (found,) = Runner(read(Case("Pooling", {"x": x.shape}, param, {"y": None}).text()))(x).values()
    cells = x.astype("f8").reshape(1, 2, 3, 2, 3, 2)
    total = cells.sum((3, 5))
    real = np.divide((cells**2).sum((3, 5)), total, out=np.zeros_like(total), where=total > 0)
    assert np.abs(found - real).max() < 1e-6


# The runner and images --------------------------------------------------------------------------------------------


def test_runner_says_why_it_cannot(need: Need) -> None:
    np = need("numpy")
    need("onnxruntime")
    with pytest.raises(RunError, match=r"conv1\.weight: the tensor has no data \(and 7 more\)"):
        Runner(load(FIXTURES / "lenet.prototxt"))
    op = Builder("net")
    model = op.model([op.MatMul(op.input("x", "float32", (2, 3)), op.input("z", "float32", (3, "n")))])
    with pytest.raises(MissingExtra, match="CUDA") as fault:
        Runner(model, provider="cuda")
    assert fault.value.exit_code == 4
    with pytest.raises(ConfigError, match="tpu"):
        Runner(model, provider="tpu")
    with pytest.raises(ConfigError, match="'y'"):
        Runner(model, ["y"])
    runner = Runner(model)
    assert runner.provider == "cpu"
    with pytest.raises(RunError, match="z: this input is not given"):
        runner({"x": np.zeros((2, 3))})
    with pytest.raises(RunError, match=r"x: the input has the shape \(2, 4\), not \(2, 3\)"):
        runner({"x": np.zeros((2, 4)), "z": np.zeros((3, 1))})
    with pytest.raises(RunError, match="2 inputs"):
        runner(np.zeros((2, 3)))
    assert [a.shape for a in runner({"x": np.ones((2, 3)), "z": np.ones((3, 4))}).values()] == [(2, 4)]


def test_runner_returns_any_value_in_as_many_goes_as_it_takes(need: Need) -> None:
    np = need("numpy")
    need("onnxruntime")
    op = Builder("net")
    y = op.Neg(op.input("x", "float32", (4, 2)))
    z = op.Relu(y)
    runner = Runner(op.model([z]), [y, z, "x"])
    x = np.arange(20, dtype="f4").reshape(10, 2) - 9
    found = runner(x)
    assert list(found) == [y, z, "x"]
    assert (found[y] == -x).all() and (found[z] == (-x).clip(0)).all() and (found["x"] == x).all()


def test_the_profile_names_the_models_nodes(need: Need) -> None:
    np = need("numpy")
    need("onnxruntime")
    model = load(FIXTURES / "lenet.prototxt", random_weights=1)
    times = Runner(model, threads=1).profile(np.zeros((64, 1, 28, 28), "f4"))
    assert all(ms >= 0 for ms in times.values()) and sum(times.values()) > 0
    assert {"conv1/Conv", "conv2/Conv", "prob/Softmax"} <= set(times)


def test_images_follow_the_record(tmp_path: Path, need: Need) -> None:
    np, pil = need("numpy"), need("PIL.Image")
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (8, 6, 3), "u1")
    path = tmp_path / "a.png"
    pil.fromarray(pixels).save(path)
    shape = (1, 3, 4, 2)
    found = images.image(path, Preprocess(resize=(8, 6)), shape)
    assert (found == pixels[2:6, 2:4].transpose(2, 0, 1)).all() and found.dtype == np.float32
    record = Preprocess(
        channels="bgr", layout="nhwc", resize=(8, 6), crop=(4, 2), mean=(1, 2, 3), std=(2.0,), scale=0.5
    )
    found = images.image(path, record, (1, None, None, 3))
    assert np.allclose(found, (pixels[2:6, 2:4, ::-1].astype("f4") - [1, 2, 3]) * 0.5 / 2)
    mean = rng.random((3, 8, 6)).astype("<f4")
    found = images.image(path, Preprocess(resize=(8, 6), mean_image=(mean.shape, mean.tobytes())), shape)
    assert np.allclose(found, (pixels.transpose(2, 0, 1) - mean)[:, 2:6, 2:4], atol=1e-5)
    assert images.image(path, Preprocess(channels="grey"), (1, 1, 8, 6)).shape == (1, 8, 6)
    assert images.batch([path, path], images.PRESETS["caffe"], (1, 3, 227, 227)).shape == (2, 3, 227, 227)
    clear = np.dstack([pixels, np.zeros((8, 6), "u1")])
    pil.fromarray(clear).save(tmp_path / "clear.png")
    assert (images.image(tmp_path / "clear.png", Preprocess(), (1, 3, 8, 6)) == 255).all()
    np.save(tmp_path / "x.npy", np.ones((2, 3, 8, 6)))
    assert images.batch([tmp_path / "x.npy"], Preprocess(), (1, 3, 8, 6)).shape == (2, 3, 8, 6)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n" + b"\0" * 30])
def test_what_is_no_image_is_refused(content: bytes, tmp_path: Path, need: Need) -> None:
    need("PIL")
    for name in ("a.png", "a.npy"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ConvertError):
            images.batch([tmp_path / name], Preprocess(), (1, 3, 4, 4))
    with pytest.raises(ConvertError, match="No such file"):
        images.open_image(tmp_path / "absent.png")


@pytest.mark.parametrize(("plain", "words"), [
    ({"meen": 1}, "meen"), ({"mean": "a"}, "mean"), ({"std": [1, 0]}, "division"), ({"channels": "cmyk"}, "cmyk"),
    ({"resize": 0}, "resize"), ({"crop": [1, 2, 3]}, "crop"), ({"mean_image": {"shape": [1, 1, 1], "data": "AA=="}},
    "mean_image"), ([1], "mapping"),
])  # fmt: skip
def test_bad_records_name_the_setting(plain: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Preprocess.of(plain)
    with pytest.raises(ConfigError, match=words):
        Preprocess.from_json(json.dumps(plain))


# The command ------------------------------------------------------------------------------------------------------


def convert(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "graphviz_nets", "convert", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_convert_with_random_weights_verifies(tmp_path: Path, need: Need) -> None:
    onnx = need("onnx")
    need("onnxruntime")
    out = tmp_path / "lenet.onnx"
    done = convert(FIXTURES / "lenet.prototxt", "-o", out, "--random-weights", "3", "--verify", "--preprocess", "caffe")
    assert done.returncode == 0 and re.search(r"prob: \d\.\de-\d\d \(within 0\.0001\) from", done.stdout), done.stderr
    model = onnx.load(out)
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version == 10 and model.opset_import[0].version >= 17
    props = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(props["gvn.preprocess"])["mean"] == [104, 117, 123]
    assert load(out).scopes[("conv1",)].type == "Convolution"
    first = out.read_bytes()
    assert (
        convert(FIXTURES / "lenet.prototxt", "-o", out, "--random-weights", "3", "--preprocess", "caffe").returncode
        == 0
    )
    assert out.read_bytes() == first
    assert convert(FIXTURES / "lenet.prototxt", "-o", out, "--preprocess", "nothing").returncode == 2


def test_structure_alone_is_written_with_a_warning(tmp_path: Path) -> None:
    done = convert(FIXTURES / "lenet.prototxt", "-o", tmp_path / "a.onnx")
    assert done.returncode == 0 and "structure only" in done.stderr
    done = convert(FIXTURES / "lenet.prototxt", "-o", tmp_path / "a.onnx", "--verify")
    assert done.returncode == 3 and "no data" in done.stderr


def test_a_difference_is_found(need: Need, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need("onnxruntime")
    model = load(FIXTURES / "lenet.prototxt", random_weights=1)
    other = load(FIXTURES / "lenet.prototxt", random_weights=2)
    (verdict,) = checks.compare(model, other)
    assert not verdict.equal and verdict.error is not None
    (verdict,) = checks.compare(model, model)
    assert verdict.error == 0
    monkeypatch.setattr(type(converter), "judge", lambda self, model, path, weights, inputs: None)
    judge, verdicts = verify(model, FIXTURES / "lenet.prototxt")
    assert "reference evaluator" in judge and all(verdict.equal for verdict in verdicts)
    # Of the evaluator's own LRN a channel is missing.
    case = Case("LRN", {"x": (1, 9, 2, 2)}, "lrn_param { local_size: 5 alpha: 1 }", {"y": None})
    assert all(verdict.equal for verdict in verify(read(case.text()), Path("net.prototxt"))[1])


def test_caffe2onnx_as_an_engine(tmp_path: Path, need: Need) -> None:
    need("caffe2onnx")
    out = tmp_path / "lenet.onnx"
    done = convert(FIXTURES / "lenet.prototxt", "-o", out, "--random-weights", "3", "--engine", "caffe2onnx")
    assert done.returncode == 0 and "prob: caffe2onnx differs by" in done.stdout, done.stderr
    model = load(out)
    assert model.runnable and [node.op_type for node in model.graph.nodes][:2] == ["Conv", "Pad"]
    assert convert(FIXTURES / "lenet.prototxt", "-o", out, "--engine", "caffe2onnx").returncode == 2
    net = tmp_path / "bad.prototxt"
    net.write_text(Case("ELU", {"x": (1, 3, 4, 4)}, "", {"y": None}).text())
    done = convert(net, "-o", out, "--random-weights", "3", "--engine", "caffe2onnx")
    assert done.returncode == 3 and "caffe2onnx gives up" in done.stderr and "Traceback" not in done.stderr


def test_saved_weights_come_back(tmp_path: Path) -> None:
    model = load(FIXTURES / "lenet.prototxt", random_weights=4)
    converter.save_weights(model, tmp_path / "lenet.caffemodel")
    again = load(FIXTURES / "lenet.prototxt", weights=tmp_path / "lenet.caffemodel")
    assert dict(again.graph.initializers) == dict(model.graph.initializers)
    save(model, tmp_path / "a.onnx")
    assert dict(load(tmp_path / "a.onnx").graph.initializers) == dict(model.graph.initializers)


# The table in the documentation -----------------------------------------------------------------------------------


def test_every_layer_is_judged_by_somebody() -> None:
    from graphviz_nets.converters.caffe_layers import layer

    assert set(layer) == judges.CAFFE | judges.OPENCV | judges.FORMULA | judges.SHAPES
    assert not judges.SHAPES & (judges.CAFFE | judges.OPENCV | judges.FORMULA)
    assert {case.type for case in JUDGED} == judges.OPENCV
    here = Path(__file__)
    text = here.read_text("utf-8") + here.with_name("test_caffe.py").read_text("utf-8")
    assert all(f'"{type_}"' in text for type_ in judges.FORMULA)


@needs_models
def test_golden_cases_are_those_that_the_table_names() -> None:
    paths = (MODELS / "layer_cases").glob("*.prototxt")
    assert {scope.type for path in paths for scope in load(path).layers} == judges.CAFFE


def test_the_tables_of_the_documentation_are_current() -> None:
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "docs/tables.py", "--check"], cwd=root, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
