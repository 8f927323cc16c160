"""Real nets on a picture of a dog and a cat: what speaks for a class lies where the animal is."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graphviz_nets import api
from graphviz_nets.explain.explainer import Explainer
from graphviz_nets.explain.images import batch
from graphviz_nets.explain.methods import cam, explain, heat

from . import real_nets
from .conftest import ALL

Need = Callable[[str], Any]
MASTIFF, TIGER_CAT = 243, 282
"""Of ImageNet's classes."""
DOG, CAT = (76, 12, 165, 148), (44, 119, 203, 224)
"""Left, top, right and bottom of both animals in both_dog_cat.png, whose sides are 224; marked by hand."""
OF_A_CLASS = ("ablation-cam", "cam", "finer-cam", "grad-cam", "hirescam", "recipro-cam", "score-cam", "xgrad-cam")
"""Methods that tell classes apart; others show what stands out as well, which here is the dog's face."""
QUICK = {"score-cam": {"channels": 64}, "ss-cam": {"channels": 32, "samples": 4}}

pytestmark = pytest.mark.skipif(not ALL, reason="real nets; --all runs them")


class Seen:
    """A net, and the picture as it takes it."""

    def __init__(self, model: Any, preset: str, size: int, picture: Path) -> None:
        record = api.preprocess_of(preset)
        self.explainer = Explainer(model, provider="cpu")
        self.x = batch([picture], record, (1, 3, size, size))
        # The shorter side becomes `resize`, and the middle is cut out.
        self.scale = record.resize[0] / 224
        self.cut = (record.resize[0] - size) // 2

    def peak(self, name: str, target: int) -> tuple[float, float]:
        """Return where a method's map is largest, (x, y) in the picture."""
        values = heat(name, explain(self.explainer, self.x, target, name, **QUICK.get(name, {})))[0]
        y, x = divmod(int(values.argmax()), values.shape[1])
        return (x + 0.5 + self.cut) / self.scale, (y + 0.5 + self.cut) / self.scale


def within(place: tuple[float, float], box: tuple[int, int, int, int]) -> bool:
    x, y = place
    left, top, right, bottom = box
    return left <= x <= right and top <= y <= bottom


@pytest.fixture(scope="module")
def nets(need: Need, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seen]:
    """Return nets by name."""
    need("torch")
    need("onnxruntime")
    picture = shared / "images" / "both_dog_cat.png"
    weights = tmp_path_factory.mktemp("squeezenet") / "squeezenet.caffemodel"
    folder = shared / "caffe" / "squeezenet"
    weights.write_bytes(gzip.decompress((folder / "squeezenet_v1.0_dc.caffemodel.gz").read_bytes()))
    squeezenet = api.load(folder / "dc_squeezenet_v1.0_deploy.prototxt", weights=weights, deploy=True)
    found = {"SqueezeNet, Caffe": Seen(squeezenet, "caffe", 227, picture)}
    for name, module in (
        ("MobileNetV2", real_nets.mobilenet_v2()), ("EfficientNet-Lite0", real_nets.efficientnet_lite0()),
    ):  # fmt: skip
        model = api.load(module, input_shapes={"0": (None, (1, 3, 224, 224))}, deploy=True)
        found[name] = Seen(model, "imagenet", 224, picture)
    return found


NETS = ("SqueezeNet, Caffe", "MobileNetV2", "EfficientNet-Lite0")


def test_the_picture_is_as_large_as_the_boxes_say(need: Need, shared: Path) -> None:
    images = need("PIL.Image")
    with images.open(shared / "images" / "both_dog_cat.png") as picture:
        assert picture.size == (224, 224)


@pytest.mark.parametrize("name", [*sorted(cam.MAPS), "guided-grad-cam"])
@pytest.mark.parametrize("net", NETS)
def test_for_bull_mastiff_the_peak_is_on_the_dog(net: str, name: str, nets: dict[str, Seen]) -> None:
    place = nets[net].peak(name, MASTIFF)
    assert within(place, DOG) and not within(place, CAT), place


@pytest.mark.parametrize("name", OF_A_CLASS)
@pytest.mark.parametrize("net", ["MobileNetV2", "EfficientNet-Lite0"])
def test_for_tiger_cat_the_peak_is_on_the_cat(net: str, name: str, nets: dict[str, Seen]) -> None:
    place = nets[net].peak(name, TIGER_CAT)
    assert within(place, CAT) and not within(place, DOG), place


@pytest.mark.parametrize("name", OF_A_CLASS)
def test_for_tiger_cat_squeezenet_looks_at_the_cats_face(name: str, nets: dict[str, Seen]) -> None:
    """Which lies before the dog's hind legs, within both boxes."""
    assert within(nets["SqueezeNet, Caffe"].peak(name, TIGER_CAT), (142, 119, 173, 163))


@pytest.mark.parametrize("net", NETS)
def test_a_method_of_no_class_shows_the_dog_for_both(net: str, nets: dict[str, Seen]) -> None:
    assert nets[net].peak("eigen-cam", MASTIFF) == nets[net].peak("eigen-cam", TIGER_CAT)
