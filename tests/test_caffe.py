"""The Caffe converter against Caffe's own numbers, published sizes, ONNX's shape inference and broken files."""

from __future__ import annotations

import gzip
import itertools
import math
import random
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from graphviz_nets.api import load
from graphviz_nets.config import options
from graphviz_nets.converters.caffe import converter
from graphviz_nets.converters.caffe_layers import layer
from graphviz_nets.errors import ConfigError, ConvertError, GraphvizNetsError, LimitError, ParseError
from graphviz_nets.graph import cost, proto
from graphviz_nets.graph.ir import Model, Tensor

from .cases.caffe import CASES, Case

MODELS = Path(__file__).resolve().parents[2] / "shared" / "models" / "caffe"
GOLDEN = sorted(path.stem for path in (MODELS / "layer_cases").glob("*.prototxt"))
CORPUS: list[Any] = sorted(
    path.relative_to(MODELS).as_posix()
    for pattern in ("*.prototxt", "*.pt")
    for path in MODELS.rglob(pattern)
    if path.parent.name not in ("malformed", "layer_cases") and "solver" not in path.name
) or [pytest.param("", marks=pytest.mark.skip(reason="needs the real models in ../shared/models"))]
needs_models = pytest.mark.skipif(not MODELS.is_dir(), reason="needs the real models in ../shared/models")


def read(text: str, **given: Any) -> Model:
    """Convert the text of a net."""
    return converter.open(Path("net.prototxt"), text.encode(), options(**given))


def opened(path: Path, **given: Any) -> Model:
    """Convert a file."""
    return converter.open(path, None, options(**given))


# Every layer type -------------------------------------------------------------------------------------------------


def test_every_layer_type_has_a_case() -> None:
    assert set(layer) == {case.type for case in CASES}


def test_every_layer_says_what_it_becomes() -> None:
    assert all((rule.__doc__ or "").strip() for rule in layer.rules.values())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.type}-{'-'.join(case.tops)}")
def test_layer_has_caffes_shapes_and_weights(case: Case) -> None:
    model = read(case.text())
    model.graph.check()
    made = {model.graph.value(name).source_name: model.graph.value(name).shape for name in model.layers[-1].outputs}
    assert made == case.tops
    inside = [node for node in model.graph.nodes if node.scope == model.layers[-1].path]
    if case.ops:
        assert tuple(node.label for node in inside) == case.ops
    if case.weights:
        assert tuple(model.graph.initializers[name].shape for name in model.layers[-1].weights) == case.weights
    assert not [text for text in model.problems if "net.prototxt" not in text]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.type}-{'-'.join(case.tops)}")
def test_layer_of_an_unknown_input_is_drawn(case: Case) -> None:
    text = "\n".join(line for line in case.text().splitlines() if 'type: "Input"' not in line or not case.bottoms)
    if not case.bottoms:
        return
    model = read(text)
    model.graph.check()
    assert model.layers[-1].type == case.type and model.problems


# Numbers of Caffe itself ------------------------------------------------------------------------------------------


def bound(model: Model, blobs: dict[str, Any]) -> Any:
    """Return a ModelProto whose absent initializers hold these arrays (by initializer name)."""
    import numpy as np

    from graphviz_nets.graph import proto

    tensors = dict(model.graph.initializers)
    for name, array in blobs.items():
        old = tensors[name]
        data = np.ascontiguousarray(array, "<f4").reshape([int(dim or 0) for dim in old.shape]).tobytes()
        tensors[name] = Tensor(name, "float32", old.shape, data, old.role)
    graph = type(model.graph)(
        model.graph.name, model.graph.nodes, model.graph.inputs, model.graph.outputs, model.graph.values, tensors
    )
    filled = model.with_graph(graph)
    assert filled.runnable, filled.obstacles
    return proto.to_proto(filled)


def run(ort: ModuleType, proto: Any, feeds: dict[str, Any], wanted: list[str]) -> list[Any]:
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    known = {item.name for item in session.get_inputs()}
    return list(session.run(wanted, {name: value for name, value in feeds.items() if name in known}))


@needs_models
@pytest.mark.parametrize("name", GOLDEN)
def test_layer_gives_caffes_numbers(name: str, need: Any) -> None:
    np, ort = need("numpy"), need("onnxruntime")
    folder = MODELS / "layer_cases"
    golden = np.load(folder / f"{name}.npz")
    model = load(folder / f"{name}.prototxt", weights=folder / f"{name}.caffemodel")
    scope = model.layers[-1]
    wanted = [str(blob) for blob in golden["outs"]]
    for blob in wanted:
        shape = model.graph.value(blob).shape
        assert shape is not None and len(shape) == golden[f"b_{blob}"].ndim
        assert all(mine in (None, real) for mine, real in zip(shape, golden[f"b_{blob}"].shape, strict=True))
        assert None not in shape or scope.type == "Filter"
    feeds = {key[3:]: golden[key] for key in golden if key.startswith("in_")}
    for blob, result in zip(wanted, run(ort, proto.to_proto(model), feeds, wanted), strict=True):
        real = golden[f"b_{blob}"]
        assert result.shape == real.shape
        assert np.abs(result - real).max() <= 2e-5 * max(1e-6, np.abs(real).max())


def naive_pool(x: Any, method: str, kernel: Any, stride: Any, pad: Any, ceil: bool) -> Any:
    """Caffe's PoolingLayer::Forward_cpu, loop by loop, in float64."""
    import numpy as np

    sizes = []
    for k in range(2):
        steps = (x.shape[2 + k] + 2 * pad[k] - kernel[k]) / stride[k]
        size = (math.ceil(steps) if ceil else math.floor(steps)) + 1
        if any(pad) and (size - 1) * stride[k] >= x.shape[2 + k] + pad[k]:
            size -= 1
        sizes.append(size)
    y = np.zeros((*x.shape[:2], *sizes))
    mask = np.zeros_like(y)
    for i, j in itertools.product(*map(range, sizes)):
        top, left = i * stride[0] - pad[0], j * stride[1] - pad[1]
        bottom, right = min(top + kernel[0], x.shape[2] + pad[0]), min(left + kernel[1], x.shape[3] + pad[1])
        area = (bottom - top) * (right - left)
        top, left, bottom, right = max(top, 0), max(left, 0), min(bottom, x.shape[2]), min(right, x.shape[3])
        part = x[:, :, top:bottom, left:right].reshape(*x.shape[:2], -1).astype(float)
        if method == "AVE":
            y[:, :, i, j] = part.sum(-1) / area
        else:
            y[:, :, i, j] = part.max(-1)
            best = part.argmax(-1)
            wide = right - left
            mask[:, :, i, j] = (top + best // wide) * x.shape[3] + left + best % wide
    return y, mask


def test_windows_past_the_input() -> None:
    """Rounding up places a window that is larger than its input; one wholly outside is undefined, and reported."""
    model = read(Case("Pooling", {"x": (1, 1, 2, 2)}, "pooling_param { kernel_size: 3 stride: 2 }", {"y": ()}).text())
    assert model.graph.value("y").shape == (1, 1, 1, 1) and not model.problems
    model = read(Case("Pooling", {"x": (1, 1, 4, 4)}, "pooling_param { kernel_size: 1 stride: 4 }", {"y": ()}).text())
    assert any("stride" in text for text in model.problems)


def test_pooling_is_caffes_for_any_window(need: Any) -> None:
    np, ort = need("numpy"), need("onnxruntime")
    source = random.Random(7)
    done = 0
    while done < 60:
        size = [source.randint(1, 11) for _ in range(2)]
        kernel = [source.randint(1, 5) for _ in range(2)]
        stride = [source.randint(1, side) for side in kernel]
        pad = [source.randint(0, side - 1) for side in kernel] if source.random() < 0.6 else [0, 0]
        ceil, method = source.random() < 0.7, source.choice(["MAX", "AVE"])
        if any(size[k] + 2 * pad[k] < kernel[k] - (stride[k] - 1 if ceil else 0) for k in range(2)):
            continue
        done += 1
        param = f"pooling_param {{ pool: {method} kernel_h: {kernel[0]} kernel_w: {kernel[1]} stride_h: {stride[0]} "
        param += f"stride_w: {stride[1]} pad_h: {pad[0]} pad_w: {pad[1]} round_mode: {'CEIL' if ceil else 'FLOOR'} }}"
        tops: dict[str, Any] = {"y": None, **({"m": None} if method == "MAX" else {})}
        model = read(Case("Pooling", {"x": (2, 3, *size)}, param, tops).text())
        x = np.random.default_rng(done).standard_normal((2, 3, *size)).astype("f")
        real, mask = naive_pool(x, method, kernel, stride, pad, ceil)
        assert model.graph.value("y").shape == real.shape, param
        results = run(ort, bound(model, {}), {"x": x}, list(tops))
        np.testing.assert_allclose(results[0], real, atol=1e-5, err_msg=param)
        if method == "MAX":
            np.testing.assert_array_equal(results[1], mask, err_msg=param)


def numbers(case: Case, feeds: dict[str, Any], blobs: list[Any], ort: ModuleType) -> Any:
    """Run a case's layer with these blobs; return its first top."""
    model = read(case.text())
    named = dict(zip(model.layers[-1].weights, blobs, strict=True))
    return run(ort, bound(model, named), feeds, [model.layers[-1].outputs[0]])[0]


def test_layers_without_golden_data_follow_their_formulas(need: Any) -> None:
    np, ort = need("numpy"), need("onnxruntime")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 6, 7, 9)).astype("f")
    whole: dict[str, Any] = {"y": None}

    def layer_of(type_: str, param: str = "", blobs: tuple[Any, ...] = (), **more: Any) -> Any:
        feeds = {"x": x, **more}
        return numbers(Case(type_, {k: v.shape for k, v in feeds.items()}, param, whole), feeds, list(blobs), ort)

    close = np.testing.assert_allclose
    close(layer_of("ReLU6"), x.clip(0, 6))
    close(layer_of("CReLU"), np.concatenate([x.clip(0), (-x).clip(0)], 1))
    close(layer_of("Threshold", "threshold_param { threshold: 0.5 }"), (x > 0.5).astype("f"))
    close(layer_of("Log", "log_param { base: 10 shift: 9 scale: 0.5 }"), np.log10(9 + 0.5 * x), rtol=1e-5)
    slope = rng.standard_normal(6).astype("f")
    close(layer_of("PReLU", "", (slope,)), np.where(x > 0, x, slope[:, None, None] * x), rtol=1e-6)
    close(layer_of("Permute", "permute_param { order: 0 order: 2 order: 3 order: 1 }"), x.transpose(0, 2, 3, 1))
    close(layer_of("ShuffleChannel", "shuffle_channel_param { group: 3 }"), x[:, [0, 2, 4, 1, 3, 5]])
    close(layer_of("Tile", "tile_param { tiles: 2 }"), np.tile(x, (1, 2, 1, 1)))
    close(layer_of("Upsample", "upsample_param { scale: 2 }"), x.repeat(2, 2).repeat(2, 3))
    close(layer_of("Softmax"), np.exp(x) / np.exp(x).sum(1, keepdims=True), rtol=1e-5)
    length = np.sqrt((x.astype(float) ** 2).sum(1, keepdims=True) + 1e-10)
    close(layer_of("Normalize", "norm_param { across_spatial: false channel_shared: false }", (slope,)),
          x / length * slope[:, None, None], rtol=1e-4)  # fmt: skip
    length = np.sqrt((x.astype(float) ** 2).sum((1, 2, 3), keepdims=True) + 1e-10)
    close(layer_of("Normalize", "", (np.array([20.0]),)), x / length * 20, rtol=1e-4)
    mean, variance = rng.standard_normal(6), rng.random(6) + 0.5
    bias = rng.standard_normal(6)
    wide = [v[:, None, None] for v in (slope, bias, mean, variance)]
    close(layer_of("BN", "bn_param { frozen: true slope_filler { value: 1 } }", (slope, bias, mean, variance)),
          (x - wide[2]) / np.sqrt(wide[3] + 1e-5) * wide[0] + wide[1], rtol=1e-3, atol=1e-5)  # fmt: skip
    close(layer_of("BN", "bn_param { bn_mode: INFERENCE scale_filler { value: 1 } }", (slope, bias)),
          x * wide[0] + wide[1], rtol=1e-5, atol=1e-6)  # fmt: skip
    s = rng.standard_normal((2, 6)).astype("f")
    close(layer_of("Scale", "scale_param { axis: 0 }", s=s), x * s[:, :, None, None], rtol=1e-6)
    close(layer_of("Scale", "scale_param { axis: 0 bias_term: true }", (slope[None].repeat(2, 0),), s=s),
          x * s[:, :, None, None] + slope[:, None, None], rtol=1e-5, atol=1e-6)  # fmt: skip
    a = rng.standard_normal((2, 6)).astype("f")
    z = rng.standard_normal(x.shape).astype("f")
    for shape in ((2, 6), (2, 6, 1, 1)):
        case = Case("Axpy", {"a": shape, "x": x.shape, "z": z.shape}, "", whole)
        found = numbers(case, {"a": a.reshape(shape), "x": x, "z": z}, [], ort)
        close(found, a[:, :, None, None] * x + z, rtol=1e-5, atol=1e-6)
    w, b = rng.standard_normal((6, 1, 3, 3)), rng.standard_normal(6)
    found = layer_of("ConvolutionDepthwise", "convolution_param { num_output: 6 kernel_size: 3 }", (w, b))
    real = sum(x[:, :, i : i + 5, j : j + 7] * w[:, 0, i, j, None, None] for i in range(3) for j in range(3))
    close(found, real + b[:, None, None], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("param", "sizes"), [("zoom_factor: 2", (13, 17)), ("shrink_factor: 2", (4, 5)), ("height: 5 width: 3", (5, 3))]
)
def test_interp_is_bilinear_with_aligned_corners(param: str, sizes: tuple[int, int], need: Any) -> None:
    np, ort = need("numpy"), need("onnxruntime")
    x = np.random.default_rng(1).standard_normal((2, 6, 7, 9)).astype("f")
    found = numbers(Case("Interp", {"x": x.shape}, f"interp_param {{ {param} }}", {"y": None}), {"x": x}, [], ort)
    real = x.astype(float)
    for axis, size in zip((2, 3), sizes, strict=True):
        place = np.arange(size) * ((real.shape[axis] - 1) / (size - 1))
        low = np.minimum(place.astype(int), real.shape[axis] - 2)
        part = (place - low).reshape([-1 if k == axis else 1 for k in range(4)])
        real = real.take(low, axis) * (1 - part) + real.take(low + 1, axis) * part
    np.testing.assert_allclose(found, real, atol=1e-5)


def test_reorg_is_darknets(need: Any) -> None:
    """reorg_cpu of darknet's blas.c with forward = 0, in flat indices."""
    np, ort = need("numpy"), need("onnxruntime")
    c, h, w, s = 8, 4, 6, 2
    x = np.arange(c * h * w, dtype="f").reshape(1, c, h, w)
    flat, out = x.ravel(), np.zeros(c * h * w, "f")
    inner = c // (s * s)
    for k, j, i in itertools.product(range(c), range(h), range(w)):
        c2, offset = k % inner, k // inner
        w2, h2 = i * s + offset % s, j * s + offset // s
        out[i + w * (j + h * k)] = flat[w2 + w * s * (h2 + h * s * c2)]
    found = numbers(Case("Reorg", {"x": x.shape}, "reorg_param { stride: 2 }", {"y": None}), {"x": x}, [], ort)
    np.testing.assert_array_equal(found, out.reshape(1, c * s * s, h // s, w // s))


def test_segnet_upsample_inverts_the_pooling_mask(need: Any) -> None:
    np, ort = need("numpy"), need("onnxruntime")
    x = np.random.default_rng(2).standard_normal((2, 3, 6, 8)).astype("f")
    text = Case("Pooling", {"x": x.shape}, "pooling_param { kernel_size: 2 stride: 2 }", {"y": None, "m": None}).text()
    text += '\nlayer { name: "u" type: "Upsample" bottom: "y" bottom: "m" top: "back" upsample_param { scale: 2 } }'
    model = read(text)
    assert model.graph.value("back").shape == x.shape
    (found,) = run(ort, bound(model, {}), {"x": x}, ["back"])
    blocks = x.reshape(2, 3, 3, 2, 4, 2).max((3, 5)).repeat(2, 2).repeat(2, 3)
    np.testing.assert_array_equal(found, np.where(blocks == x, x, 0))


def test_prior_boxes_follow_ssds_layer(need: Any) -> None:
    np, ort = need("numpy"), need("onnxruntime")
    h, w, image = 3, 2, (30, 20)
    case = Case("PriorBox", {"x": (1, 6, h, w), "data": (1, 3, *image)},
                "prior_box_param { min_size: 6 max_size: 9 aspect_ratio: 2 aspect_ratio: 1 aspect_ratio: 0.5 "
                "clip: true variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2 }", {"y": None})  # fmt: skip
    feeds = {"x": np.zeros((1, 6, h, w), "f"), "data": np.zeros((1, 3, *image), "f")}
    found = numbers(case, feeds, [], ort).reshape(2, h, w, 4, 4)
    sides = [(6, 6), (54**0.5, 54**0.5), (6 * 2**0.5, 6 / 2**0.5), (6 / 2**0.5, 6 * 2**0.5)]
    for i, j, (k, (bw, bh)) in itertools.product(range(h), range(w), enumerate(sides)):
        cx, cy = (j + 0.5) * 10, (i + 0.5) * 10
        box = np.array([(cx - bw / 2) / 20, (cy - bh / 2) / 30, (cx + bw / 2) / 20, (cy + bh / 2) / 30]).clip(0, 1)
        np.testing.assert_allclose(found[0, i, j, k], box, atol=1e-6)
    np.testing.assert_allclose(found[1], np.broadcast_to([0.1, 0.1, 0.2, 0.2], (h, w, 4, 4)), rtol=1e-6)


# Whole nets -------------------------------------------------------------------------------------------------------


TRUTH = [
    ("bvlc/bvlc_alexnet/deploy.prototxt", 24, 60965224, 724406816),
    ("bvlc/bvlc_reference_caffenet/deploy.prototxt", 24, 60965224, 724406816),
    ("bvlc/bvlc_googlenet/deploy.prototxt", 143, 6998552, 1582671872),
    ("netscope/vgg-16.prototxt", 40, 138357544, 15470264320),
    ("soeaver/deploy_vgg19-pytorch.prototxt", 45, 143667240, 19632062464),
    ("soeaver/deploy_resnet18-priv.prototxt", 89, 11689512, 1814073344),
    ("resnet/ResNet-50-deploy.prototxt", 228, 25557096, 3857973248),
    ("resnet/ResNet-101-deploy.prototxt", 449, 44549160, 7570194432),
    ("squeezenet/dc_squeezenet_v1.0_deploy.prototxt", 65, 1248424, 861339936),
    ("squeezenet/v1.1_deploy.prototxt", 67, 1235496, 387747520),
    ("mobilenet/mobilenet_deploy.prototxt", 111, 4231976, 568740352),
    ("soeaver/deploy_densenet121.prototxt", 549, 7978856, 2834161664),
    ("soeaver/deploy_resnext50-32x4d.prototxt", 228, 25028904, 4230479872),
    ("soeaver/deploy_inception-resnet-v2.prototxt", 987, 55843464, 13155794016),
    ("soeaver/deploy_xception.prototxt", 208, 22855952, 8357403496),
    ("senet/SE-ResNet-50.prototxt", 309, 28088024, 3860488192),
    ("senet/SENet-154.prototxt", 930, 115088984, 20688363520),
    ("bvlc/mnist/lenet.prototxt", 9, 431080, 2293000),
    ("weights/mtcnn/det1.prototxt", 10, 6632, 44760),
    ("weights/mtcnn/det2.prototxt", 13, 100178, 1530768),
    ("weights/mtcnn/det3.prototxt", 18, 389040, 12909952),
]  # fmt: skip


@needs_models
@pytest.mark.parametrize(("path", "layers", "parameters", "macs"), TRUTH, ids=[row[0] for row in TRUTH])
def test_published_sizes(path: str, layers: int, parameters: int, macs: int) -> None:
    found = cost.summary(opened(MODELS / path))
    assert (found.layers, found.parameters, found.macs) == (layers, parameters, macs)


@pytest.mark.parametrize("path", CORPUS)
def test_real_net_converts(path: str) -> None:
    for phase in ("test", "train"):
        model = opened(MODELS / path, phase=phase)
        model.graph.check()
        assert model.layers and model.framework == "caffe"
        assert all(text.startswith(f"{Path(path).name}:") for text in model.problems)
        known = {*model.graph.values, *model.graph.initializers}
        assert all({*scope.inputs, *scope.outputs, *scope.weights} <= known for scope in model.layers)


@pytest.mark.parametrize("path", CORPUS)
def test_shapes_agree_with_onnx(path: str, need: Any) -> None:
    onnx = need("onnx")
    from graphviz_nets.graph import proto

    model = opened(MODELS / path)
    stated = proto.to_proto(model)
    del stated.graph.value_info[:]
    inferred = onnx.shape_inference.infer_shapes(stated, strict_mode=False)
    compared = 0
    for item in inferred.graph.value_info:
        mine = model.graph.value(item.name).shape
        if mine is None or not item.type.tensor_type.HasField("shape"):
            continue
        dims = [dim.dim_value if dim.HasField("dim_value") else None for dim in item.type.tensor_type.shape.dim]
        assert len(dims) == len(mine), item.name
        assert all(a == b for a, b in zip(dims, mine, strict=True) if a is not None and isinstance(b, int)), item.name
        compared += 1
    whole = all(item.type.tensor_type.HasField("shape") for item in inferred.graph.value_info)
    assert compared == len(inferred.graph.value_info) or not whole or model.graph.undefined


def test_drawing_imports_neither_numpy_nor_onnx() -> None:
    import subprocess
    import sys

    code = (
        "import sys\nfrom pathlib import Path\nfrom graphviz_nets.config import Options\n"
        "from graphviz_nets.converters.caffe import converter\n"
        "converter.open(Path('fixtures/caffe/lenet.prototxt'), None, Options())\n"
        "assert not {'numpy', 'onnx', 'networkx'} & set(sys.modules), 'slow import'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).resolve().parents[1])


# In-place layers, phases, sharing, options ------------------------------------------------------------------------


CHAIN = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "bn" type: "BatchNorm" bottom: "c" top: "c" }
layer { name: "relu" type: "ReLU" bottom: "c" top: "c" }
layer { name: "ip" type: "InnerProduct" bottom: "c" top: "out" inner_product_param { num_output: 2 } }
"""


def test_the_last_writer_of_a_blob_has_its_name() -> None:
    model = read(CHAIN)
    assert [scope.outputs for scope in model.layers] == [("data",), ("c@conv",), ("c@bn",), ("c",), ("out",)]
    assert model.layers[4].inputs == ("c",) and model.layers[3].inputs == ("c@bn",)
    assert [model.graph.value(name).source_name for name in ("c@conv", "c@bn", "c")] == ["c", "c", "c"]
    assert model.graph.outputs == ("out",) and model.graph.inputs == ("data",)
    assert [node.id.partition("/")[0] for node in model.graph.nodes] == ["conv", "bn", "relu", "ip", "ip"]
    assert not model.problems


def test_slashes_in_names_make_the_hierarchy() -> None:
    model = read(CHAIN.replace('"bn"', '"block/bn"').replace('"relu"', '"block/relu"'))
    assert [scope.path for scope in model.layers][2:4] == [("block", "bn"), ("block", "relu")]
    assert ("block",) in model.scopes and model.scopes["block", "bn"].name == "block/bn"


def test_scope_keeps_type_parameters_and_place() -> None:
    scope = read(CHAIN).layers[1]
    assert (scope.kind, scope.type, scope.file, scope.line) == ("layer", "Convolution", "net.prototxt", 3)
    assert scope.parameters["convolution_param"] == {"num_output": 4, "kernel_size": 3}
    assert not {"name", "type", "bottom", "top"} & set(scope.parameters)


def test_shared_weights_are_one_tensor() -> None:
    head = 'layer { name: "x" type: "Input" top: "x" top: "z" input_param { shape { dim: 2 dim: 8 } } }'
    ip = 'layer {{ name: "{0}" type: "InnerProduct" bottom: "{1}" top: "{0}" param {{ name: "w" }} '
    ip += 'param {{ name: "b" }} '
    ip += "inner_product_param {{ num_output: {2} }} }}"
    model = read("\n".join((head, ip.format("a", "x", 4), ip.format("b", "z", 4))))
    assert model.layers[1].weights == model.layers[2].weights
    assert cost.summary(model).parameters == 8 * 4 + 4
    model = read("\n".join((head, ip.format("a", "x", 4), ip.format("b", "z", 5))))
    assert any("'w'" in text and text.startswith("net.prototxt:3:") for text in model.problems)


PHASES = """
layer { name: "tr" type: "DummyData" top: "x" include { phase: TRAIN } dummy_data_param { shape { dim: 64 dim: 3 } } }
layer { name: "te" type: "DummyData" top: "x" include { phase: TEST } dummy_data_param { shape { dim: 10 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 2 } }
layer { name: "extra" type: "ReLU" bottom: "y" top: "y" include { stage: "deploy" } }
layer { name: "deep" type: "Sigmoid" bottom: "y" top: "y" include { min_level: 2 } }
"""


@pytest.mark.parametrize(("given", "names", "shape"), [
    ({}, ["te", "ip"], (10, 2)),
    ({"phase": "train"}, ["tr", "ip"], (64, 2)),
    ({"stages": ("deploy",)}, ["te", "ip", "extra"], (10, 2)),
    ({"level": 2}, ["te", "ip", "deep"], (10, 2)),
])  # fmt: skip
def test_phase_stage_and_level_choose_layers(given: dict[str, Any], names: list[str], shape: tuple[int, int]) -> None:
    model = read(PHASES, **given)
    assert [scope.name for scope in model.layers] == names
    assert model.graph.value("y").shape == shape and not model.problems


def test_solver_opens_the_net_it_names(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(PHASES)
    (tmp_path / "solver.prototxt").write_text('net: "models/of/someone/net.prototxt"\nbase_lr: 0.1\n')
    assert [scope.name for scope in opened(tmp_path / "solver.prototxt").layers] == ["te", "ip"]
    (tmp_path / "net.prototxt").rename(tmp_path / "other.prototxt")
    with pytest.raises(ConvertError, match=r"models/of/someone/net\.prototxt"):
        opened(tmp_path / "solver.prototxt")
    assert len(opened(tmp_path / "solver.prototxt", net=tmp_path / "other.prototxt").layers) == 2


def test_input_shapes_win() -> None:
    model = read(CHAIN, input_shapes={"data": (None, (7, 3, 16, 16))})
    assert model.graph.value("out").shape == (7, 2) and model.graph.value("c").shape == (7, 4, 14, 14)
    model = read(CHAIN, input_shapes={"0": ("float32", (5, 3, 8, 8))})
    assert model.graph.value("out").shape == (5, 2)
    text = 'layer { name: "d" type: "HDF5Data" top: "data" top: "label" }' + CHAIN.split("\n", 2)[2]
    model = read(text, input_shapes={"data": (None, (2, 3, 8, 8))})
    assert model.graph.value("out").shape == (2, 2)


def test_a_shape_for_no_input_is_a_usage_error() -> None:
    with pytest.raises(ConfigError, match="dta") as fault:
        read(CHAIN, input_shapes={"dta": (None, (1, 3, 8, 8))})
    assert fault.value.exit_code == 2 and "data" in fault.value.hint


def test_net_level_inputs_and_in_place_on_an_input() -> None:
    text = 'input: "x" input_dim: 1 input_dim: 3 input_dim: 4 input_dim: 5 '
    text += 'layer { name: "r" type: "Power" bottom: "x" top: "x" power_param { shift: 1 } }'
    model = read(text)
    (name,) = model.graph.inputs
    assert model.graph.value(name).source_name == "x" and model.graph.outputs == ("x",)
    assert model.graph.value("x").shape == (1, 3, 4, 5)


def test_preprocessing_is_recorded() -> None:
    import json

    text = 'layer { name: "d" type: "Data" top: "data" transform_param { scale: 0.5 crop_size: 8 mean_value: 104 '
    text += "mean_value: 117 mean_value: 123 mirror: true } data_param { batch_size: 4 } }"
    found = json.loads(read(text).metadata["gvn.preprocess"])
    assert found == {"channels": "bgr", "layout": "nchw", "crop": [8, 8], "mean": [104, 117, 123], "scale": 0.5}


def test_old_syntax_gives_the_same_net() -> None:
    new = CHAIN.replace("layer {", "layer {")
    old = """
    input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8
    layers { name: "conv" type: CONVOLUTION bottom: "data" top: "c" blobs_lr: 1
             convolution_param { num_output: 4 kernel_size: 3 } }
    layers { name: "relu" type: RELU bottom: "c" top: "c" }
    layers { name: "ip" type: INNER_PRODUCT bottom: "c" top: "out" inner_product_param { num_output: 2 } }
    """
    assert read(old).graph.value("out").shape == read(new).graph.value("out").shape == (1, 2)
    assert cost.summary(read(old)).parameters == cost.summary(read(new)).parameters == 4 * 27 + 4 + 2 * 144 + 2


# Broken files -----------------------------------------------------------------------------------------------------


@needs_models
def test_malformed_files_that_are_refused() -> None:
    folder = MODELS / "malformed"
    with pytest.raises(ParseError) as fault:
        opened(folder / "bad_enum.prototxt")
    assert fault.value.line == 37 and "MEDIAN" in str(fault.value)
    for name in ("binary_garbage", "missing_closing_brace"):
        with pytest.raises(ParseError) as fault:
            opened(folder / f"{name}.prototxt")
        assert fault.value.line is not None
    with pytest.raises(GraphvizNetsError, match="empty"):
        load(folder / "empty.prototxt")
    with pytest.raises(ConvertError, match=r"layers|empty"):
        opened(folder / "only_comments.prototxt")
    with pytest.raises(ConvertError, match="truncated"):
        opened(folder / "truncated_det1.caffemodel")


@needs_models
@pytest.mark.parametrize(("name", "layers", "problem"), [
    ("comments_commas_semicolons", 9, None),
    ("crlf_bom", 9, None),
    ("duplicate_layer_names", 9, "42: a second layer is called 'conv1'"),
    ("kernel_larger_than_input", 9, "conv1: kernel 50 is larger"),
    ("undefined_bottom", 9, "conv2_typo"),
    ("unknown_field", 9, None),
    ("unknown_layer_type", 9, "not known"),
    # Cut between two layers, so that nothing shows it: a shorter net.
    ("truncated_lenet", 5, None),
])  # fmt: skip
def test_malformed_files_that_are_drawn(name: str, layers: int, problem: str | None) -> None:
    model = load(MODELS / "malformed" / f"{name}.prototxt")
    assert len(model.layers) == layers
    assert [text for text in model.problems if problem is not None and problem in text] or problem is None
    assert len(model.problems) == (problem is not None), model.problems
    sizes = [dim for value in model.graph.values.values() for dim in value.shape or () if isinstance(dim, int)]
    assert all(dim > 0 for dim in sizes)


def test_a_blob_made_twice_is_reported() -> None:
    text = CHAIN + 'layer { name: "again" type: "ReLU" bottom: "data" top: "c" }'
    model = read(text)
    model.graph.check()
    assert any("'c'" in line and line.startswith("net.prototxt:7:") for line in model.problems)


NUMBERS = [*"0 -1 -7 1.5 1e39 999999999 4294967296 's' true MAX nan inf".split(), "9" * 30, "{ a: 1 }"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.type}-{'-'.join(case.tops)}")
def test_bad_values_never_crash(case: Case) -> None:
    """Every number and word of every layer, replaced by something that does not belong there."""
    import re

    text = case.text()
    start = text.rindex("layer {")
    for match in re.finditer(r"(?<=: )[-\w.]+(?= )|(?<=: )\"\w+\"", text[start:]):
        for value in NUMBERS:
            broken = text[:start] + text[start:][: match.start()] + value + text[start:][match.end() :]
            broken = broken.replace(": {", " {")
            with suppress(ConvertError, LimitError):
                model = read(broken)
                model.graph.check()
                cost.summary(model)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.type}-{'-'.join(case.tops)}")
def test_missing_ends_never_crash(case: Case) -> None:
    """Bottoms and tops taken away one after the other, tops added, parameters removed."""
    for bottoms, tops in itertools.product(range(len(case.bottoms) + 1), range(len(case.tops) + 2)):
        names = dict(list(case.bottoms.items())[:bottoms])
        outs: dict[str, Any] = {
            **dict(list(case.tops.items())[:tops]),
            **({"more": None} if tops > len(case.tops) else {}),
        }
        for param in (case.param, ""):
            with suppress(ParseError):
                read(Case(case.type, names, param, outs).text()).graph.check()


def test_weights_file_is_recognised(shared: Path, tmp_path: Path) -> None:
    packed = shared / "caffe" / "squeezenet" / "squeezenet_v1.0_dc.caffemodel.gz"
    path = tmp_path / "weights.caffemodel"
    with gzip.open(packed) as file:
        path.write_bytes(file.read(20000))
    with pytest.raises(ConvertError, match="truncated"):
        load(path)
