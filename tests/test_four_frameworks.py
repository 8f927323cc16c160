"""One net in four frameworks: the same scores, and the same maps of every method.

The net of fixtures/digits was trained once and written as each framework has it (fixtures/digits/make.py); Keras's has
its channels last. Twins that others published come from ../shared/models.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from graphviz_nets.api import load, summary
from graphviz_nets.errors import ConfigError
from graphviz_nets.explain.explainer import Explainer
from graphviz_nets.explain.layers import find
from graphviz_nets.explain.methods import MAPS, explain, method
from graphviz_nets.explain.runner import Runner
from graphviz_nets.explain.targets import detector
from graphviz_nets.graph.builder import Builder
from graphviz_nets.graph.ir import Model

from .test_perturb import ultraface

Need = Callable[[str], Any]
DIGITS = Path(__file__).resolve().parents[1] / "fixtures" / "digits"
SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "models"
needs_models = pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real models in ../shared/models")

NEEDED: Mapping[str, tuple[str, ...]] = {"onnx": (), "caffe": (), "keras": ("h5py",), "keras, nchw": ("h5py",),
                                         "h5": ("h5py",), "pytorch": ("torch", "onnxscript")}  # fmt: skip
"""What a form of the net needs to be opened; only PyTorch's needs the framework."""
OTHERS = [name for name in NEEDED if name != "onnx"]
REFUSED: Mapping[str, str] = {
    "d-rise": "nothing here is known as the result of a detector",
    "attention-rollout": "the model has none",
    "gradient-rollout": "the model has none",
}
"""Methods that this net has nothing for, and how they say so."""


@cache
def opened(framework: str) -> Model:
    if framework == "caffe":
        return load(DIGITS / "digits.prototxt", weights=DIGITS / "digits.caffemodel", deploy=True)
    if framework == "pytorch":
        import torch

        return load(module(), args=(torch.zeros(1, 1, 16, 12),), deploy=True)
    form, _, layout = framework.partition(", ")
    return load(DIGITS / f"digits.{form}", layout=layout or None, deploy=True)


def module() -> Any:
    """Return the net as a torch module, with its weights."""
    import torch

    from .cases.torch_modules import Digits

    net = Digits().eval()
    net.load_state_dict(torch.load(DIGITS / "digits.pt", weights_only=True))
    return net


@cache
def explainer(framework: str, layer: str = "") -> Explainer:
    model = opened(framework)
    return Explainer(model, layers=[find(model, layer)] if layer else [], provider="cpu")


@cache
def drawn() -> Any:
    """Return the digits 2, 4 and 7 as displays of seven segments show them, a bit blurred and noisy; (3, 1, 16, 12)."""
    import numpy as np

    flat, upper, lower, left, right = slice(2, 10), slice(1, 9), slice(7, 15), slice(1, 3), slice(9, 11)
    bars = {"top": (slice(1, 3), flat), "middle": (slice(7, 9), flat), "bottom": (slice(13, 15), flat),
            "1": (upper, left), "2": (upper, right), "3": (lower, left), "4": (lower, right)}  # fmt: skip
    lit = (("top", "2", "middle", "3", "bottom"), ("1", "middle", "2", "4"), ("top", "2", "4"))
    images = np.zeros((3, 1, 16, 12), "f4")
    for image, names in zip(images, lit, strict=True):
        for name in names:
            image[(0, *bars[name])] = 1
    blurred = sum(np.roll(images, (j, k), (2, 3)) for j in (-1, 0, 1) for k in (-1, 0, 1)) / 9
    noise = np.random.default_rng(0).random(images.shape, "f4")
    return (0.8 * images + 0.2 * blurred + 0.05 * noise).astype("f4")


def scores(framework: str, x: Any) -> Any:
    """Return the scores of images that have their channels first."""
    e = explainer(framework)
    assert e.image is not None
    import numpy as np

    return e.scores(np.moveaxis(x, 1, e.image.axis))


def found(framework: str, name: str, layer: str = "") -> Any:
    """Return a method's attribution of the drawn digits, with its channels first."""
    import numpy as np

    e = explainer(framework, layer)
    assert e.image is not None
    attribution = explain(e, np.moveaxis(drawn(), 1, e.image.axis), [2, 4, 7], name)
    return attribution if name in MAPS else e.image.first(attribution)


@cache
def of_onnx(name: str, layer: str = "") -> Any:
    return found("onnx", name, layer)


def prepared(need: Need, framework: str) -> None:
    need("onnxruntime")
    for package in NEEDED[framework]:
        need(package)


def same(mine: Any, theirs: Any) -> None:
    import numpy as np

    assert mine.shape == theirs.shape and np.abs(theirs).max() > 0
    assert np.abs(mine - theirs).max() <= 1e-4 * np.abs(theirs).max()


# The net ----------------------------------------------------------------------------------------------------------


def test_files_are_small_and_hold_one_net(need: Need) -> None:
    need("h5py")
    files = [path for path in DIGITS.iterdir() if path.suffix != ".py" and path.is_file()]
    assert {path.suffix for path in files} == {
        ".prototxt", ".caffemodel", ".keras", ".h5", ".pt", ".pt2", ".onnx"
    } and sum(path.stat().st_size for path in files) < 300_000  # fmt: skip
    held = {path.suffix: summary(load(path)).parameters for path in files if path.suffix in (".pt2", ".keras", ".h5")}
    assert set(held.values()) == {12 * 9 + 12 + 24 * 12 * 9 + 24 * 2 + 24 * 10 + 10} and len(held) == 3


def test_files_open_without_their_frameworks(need: Need) -> None:
    need("h5py")
    program = """
import sys
from pathlib import Path
for name in ("torch", "tensorflow", "keras", "caffe", "cv2"):
    sys.modules[name] = None  # to import it fails
from graphviz_nets import load
folder = Path(sys.argv[1])
for name in ("digits.prototxt", "digits.keras", "digits.h5", "digits.onnx"):
    weights = {"weights": folder / "digits.caffemodel"} if name == "digits.prototxt" else {}
    print(name, load(folder / name, deploy=True, **weights).runnable)
"""
    command = [sys.executable, "-c", program, str(DIGITS)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=DIGITS.parents[1])
    assert run.returncode == 0, run.stderr
    assert run.stdout.split()[1::2] == ["True"] * 4


@pytest.mark.parametrize("framework", OTHERS)
def test_scores_are_the_same(framework: str, need: Need) -> None:
    prepared(need, framework)
    import numpy as np

    assert np.abs(scores(framework, drawn()) - scores("onnx", drawn())).max() <= 1e-5


def test_scores_are_those_of_pytorch(need: Need) -> None:
    np, torch = need("numpy"), need("torch")
    need("onnxruntime")
    with torch.no_grad():
        theirs = module()(torch.tensor(drawn())).numpy()
    assert np.abs(scores("onnx", drawn()) - theirs).max() <= 1e-5


@pytest.mark.parametrize("form", ["keras", "h5"])
def test_scores_are_those_of_keras(form: str, need: Need) -> None:
    np, keras = need("numpy"), need("keras")
    need("tensorflow")
    need("onnxruntime")
    net = keras.models.load_model(DIGITS / f"digits.{form}", compile=False)
    theirs = net.predict(drawn().transpose(0, 2, 3, 1), verbose=0)
    assert np.abs(scores(form, drawn()) - theirs).max() <= 1e-5


def test_scores_are_those_of_opencv(need: Need) -> None:
    np, cv2 = need("numpy"), need("cv2")
    need("onnxruntime")
    net = cv2.dnn.readNetFromCaffe(str(DIGITS / "digits.prototxt"), str(DIGITS / "digits.caffemodel"))
    for image, mine in zip(drawn(), scores("caffe", drawn()), strict=True):
        net.setInput(image[None])
        assert np.abs(net.forward() - mine).max() <= 1e-5


def test_digits_that_it_was_not_trained_on_are_read(need: Need) -> None:
    need("sklearn")
    need("onnxruntime")
    from fixtures.digits.make import digits  # type: ignore[import-not-found, unused-ignore]

    _, _, x, labels = digits()
    assert len(x) == 360 and (scores("caffe", x).argmax(1) == labels).sum() >= 345


# Every method -----------------------------------------------------------------------------------------------------


def cuts_superpixels(name: str, need: Need) -> None:
    """Skip methods that need scikit-image where that is not installed."""
    if name in ("kernel-shap", "lime"):
        need("skimage")


@pytest.mark.parametrize("name", list(method))
@pytest.mark.parametrize("framework", OTHERS)
def test_maps_are_the_same(framework: str, name: str, need: Need) -> None:
    prepared(need, framework)
    import numpy as np

    cuts_superpixels(name, need)
    if name in REFUSED:
        for one in ("onnx", framework):
            with pytest.raises(ConfigError, match=REFUSED[name]):
                found(one, name)
        return
    mine, theirs = found(framework, name), of_onnx(name)
    assert mine.shape == theirs.shape == ((3, 16, 12) if name in MAPS else (3, 1, 16, 12))
    for one, other in zip(mine, theirs, strict=True):
        assert np.ptp(other) > 0
        assert np.abs(one - other).max() <= 1e-4 * np.abs(other).max()


@pytest.mark.parametrize("layer", ["conv1", "pool1", "bn2"])
@pytest.mark.parametrize("name", ["grad-cam", "layer-cam", "eigen-cam", "ablation-cam"])
@pytest.mark.parametrize("framework", ["keras", "onnx", "pytorch"])
def test_maps_at_a_layer_of_one_name_are_the_same(framework: str, name: str, layer: str, need: Need) -> None:
    """Keras's channels are turned around each convolution, and back; Caffe's bn2 ends in scale2."""
    prepared(need, framework)
    import numpy as np

    caffe = explain(explainer("caffe", "scale2" if layer == "bn2" else layer), drawn(), [2, 4, 7], name)
    mine = found(framework, name, layer)
    assert caffe.any() and np.abs(mine - caffe).max() <= 1e-4 * np.abs(caffe).max()


@cache
def coloured(last: bool) -> Explainer:
    """Return a net for images of three colours, which are its input's last axis or stand before the places."""
    import numpy as np

    rng = np.random.default_rng(0)
    op = Builder("coloured", opset=18)
    x = op.input("x", "float32", (1, 10, 8, 3) if last else (1, 3, 10, 8))
    y = op.Transpose(x, perm=[0, 3, 1, 2]) if last else x
    for name, shape in (("a", (6, 3, 3, 3)), ("b", (8, 6, 3, 3))):
        w = op.weight(name, shape, rng.normal(0, 0.4, shape).astype("f4").tobytes())
        bias = op.weight(f"{name}/bias", shape[:1], rng.normal(0, 0.1, shape[:1]).astype("f4").tobytes())
        y = op.Relu(op.Conv(y, w, bias, kernel_shape=(3, 3)))
    head = op.weight("head", (8, 4), rng.normal(0, 1, (8, 4)).astype("f4").tobytes())
    return Explainer(op.model([op.Gemm(op.Flatten(op.GlobalAveragePool(y), axis=1), head)]), provider="cpu")


@pytest.mark.parametrize("name", [name for name in method if name not in REFUSED])
def test_colours_may_be_first_or_last(name: str, need: Need) -> None:
    """Noise included: it is drawn for the picture, not for its layout."""
    np = need("numpy")
    need("onnxruntime")
    cuts_superpixels(name, need)
    x = np.random.default_rng(1).random((2, 3, 10, 8), "f4")
    first = explain(coloured(False), x, [1, 2], name)
    last = explain(coloured(True), np.ascontiguousarray(x.transpose(0, 2, 3, 1)), [1, 2], name)
    same(last if name in MAPS else last.transpose(0, 3, 1, 2), first)


def test_bodies_of_operations_may_depend_on_the_types_of_weights(need: Need) -> None:
    """As CastLike's does, which torch writes for the bias that a convolution does not have."""
    np = need("numpy")
    need("onnxruntime")
    op = Builder("cast", opset=18)
    x = op.input("x", "float32", (1, 1, 2, 2))
    three = op.weight("three", (), np.int64(3).tobytes(), "int64", role="constant")
    e = Explainer(op.model([op.Flatten(op.Mul(x, op.CastLike(three, x)), axis=1)]), provider="cpu")
    assert explain(e, np.ones((1, 1, 2, 2), "f4"), 1, "saliency").tolist() == [[[[0, 3], [0, 0]]]]


def test_a_layer_that_leads_elsewhere_is_refused(need: Need) -> None:
    """Without its gradient a map would be empty, and nobody told why."""
    np = need("numpy")
    need("onnxruntime")
    op = Builder("two heads", opset=18)
    trunk = op.Relu(op.input("x", "float32", (1, 1, 4, 4)))
    other, head = op.Neg(trunk), op.Flatten(op.GlobalAveragePool(trunk), axis=1)
    e = Explainer(op.model([head, other]), layers=[other])
    for name in ("grad-cam", "ablation-cam"):
        with pytest.raises(ConfigError, match="'Neg' does not lead to 'Flatten'"):
            explain(e, np.ones((1, 1, 4, 4), "f4"), 0, name)


# Twins of others --------------------------------------------------------------------------------------------------

TRIED: Mapping[str, Mapping[str, Any]] = {
    "saliency": {}, "guided-backprop": {}, "grad-cam": {}, "layer-cam": {}, "integrated-gradients": {"steps": 4},
    "occlusion": {"window": 24, "stride": 24},
}  # fmt: skip
"""Methods that twins are compared by, with what keeps them quick."""


def face(high: int, wide: int) -> Any:
    """Return a photograph of faces, (1, 3, high, wide), as both detectors take it."""
    import numpy as np
    from PIL import Image

    with Image.open(SHARED / "images" / "faces" / "mtcnn_test1.jpg") as picture:
        pixels = np.asarray(picture.convert("RGB").resize((wide, high)), "f4")
    return np.ascontiguousarray((pixels.transpose(2, 0, 1)[None] - 127.5) / 128)


@pytest.fixture(scope="module")
def detectors(need: Need) -> tuple[Any, ...]:
    """Return RFB-320 in Caffe and ONNX, an image, and the weights of its surest box's score for a face."""
    np = need("numpy")
    need("onnxruntime")
    need("PIL")
    folder = SHARED / "caffe" / "weights" / "ultraface"
    twins = (
        load(folder / "RFB-320.prototxt", weights=folder / "RFB-320.caffemodel", deploy=True),
        load(SHARED / "onnx" / "ultraface" / "version-RFB-320_without_postprocessing.onnx"),
    )
    x = face(240, 320)
    surest = Explainer(twins[1], target="scores", provider="cpu").scores(x)[0, :, 1].argmax()
    seed = np.zeros((1, 4420, 2), "f4")
    seed[0, surest, 1] = 1
    return twins, x, seed


@needs_models
@pytest.mark.parametrize("output", ["scores", "boxes"])
def test_rfb_of_caffe_and_onnx_give_the_same(output: str, detectors: tuple[Any, ...]) -> None:
    import numpy as np

    twins, x, _ = detectors
    mine, theirs = (Explainer(model, target=output, provider="cpu").scores(x) for model in twins)
    assert mine.shape == theirs.shape and np.abs(mine - theirs).max() <= 2e-5


@needs_models
@pytest.mark.parametrize("name", TRIED)
def test_rfb_of_caffe_and_onnx_is_explained_alike(name: str, detectors: tuple[Any, ...]) -> None:
    twins, x, seed = detectors
    for layer in ("314", "360") if name.endswith("-cam") else ("360",):
        askers = [Explainer(net, target="scores", layers=[find(net, layer)], provider="cpu") for net in twins]
        same(*(explain(one, x, seed, name, **TRIED[name]) for one in askers))


@needs_models
def test_rfbs_surest_face_has_the_same_map_in_caffe_and_onnx(detectors: tuple[Any, ...]) -> None:
    twins, x, seed = detectors
    maps = []
    for net in twins:
        e = Explainer(net, target="scores", provider="cpu")
        maps.append(explain(e, x, seed, "d-rise", how=detector(e, priors=ultraface()), samples=60))
    same(*maps)


@pytest.fixture(scope="module")
def proposers(need: Need) -> tuple[Any, ...]:
    """Return MTCNN's P-Net in Caffe and PyTorch, each with an image: Caffe's takes images that lie on their side."""
    np, torch = need("numpy"), need("torch")
    need("onnxruntime")
    need("PIL")
    from .cases.torch_modules import PNet

    folder = SHARED / "caffe" / "weights" / "mtcnn"
    x = face(48, 64)
    lying = np.ascontiguousarray(x.swapaxes(2, 3))
    caffe = load(folder / "det1.prototxt", weights=folder / "det1.caffemodel", deploy=True,
                 input_shapes={"data": (None, lying.shape)})  # fmt: skip
    net = PNet().eval()
    net.load_state_dict(torch.load(SHARED / "pytorch" / "facenet_pytorch" / "pnet.pt", weights_only=True))
    return (caffe, lying), (load(net, args=(torch.tensor(x),), deploy=True), x)


@needs_models
def test_p_net_of_caffe_and_pytorch_give_the_same(proposers: tuple[Any, ...]) -> None:
    import numpy as np

    (caffe, lying), (torch, x) = proposers
    mine = Runner(caffe, provider="cpu")(lying)
    for one, other in zip(("conv4-2", "prob1"), Runner(torch, provider="cpu")(x).values(), strict=True):
        assert mine[one].shape == other.swapaxes(2, 3).shape
        assert np.abs(mine[one].swapaxes(2, 3) - other).max() <= 1e-5


@needs_models
@pytest.mark.parametrize("name", TRIED)
def test_p_net_of_caffe_and_pytorch_is_explained_alike(name: str, proposers: tuple[Any, ...]) -> None:
    (caffe, lying), (torch, x) = proposers
    for one, other in (("PReLU3", "prelu3"), ("pool1", "pool1")) if name.endswith("-cam") else (("PReLU3", "prelu3"),):
        mine = Explainer(caffe, target="prob1", layers=[find(caffe, one)], provider="cpu")
        theirs = Explainer(torch, target=torch.graph.outputs[1], layers=[find(torch, other)], provider="cpu")
        maps = explain(mine, lying, 1, name, **TRIED[name]), explain(theirs, x, 1, name, **TRIED[name])
        same(maps[0].swapaxes(-1, -2), maps[1])
