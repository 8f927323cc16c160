"""Gradients of real nets against float64: EfficientNet-Lite0 and Caffe nets by torch, Keras nets by TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graphviz_nets import api
from graphviz_nets.explain.explainer import Explainer
from graphviz_nets.explain.images import batch
from graphviz_nets.explain.methods import seeds
from graphviz_nets.graph.ir import Model
from graphviz_nets.graph.preprocess import Preprocess

from . import real_nets
from .conftest import ALL
from .test_explain import exported, near, torchs

Need = Callable[[str], Any]


@pytest.mark.parametrize(("picture", "number"), [("goldfish.jpg", 1), ("cat.jpg", 280)])
def test_efficientnet_lite0_with_real_weights(picture: str, number: int, shared: Path, need: Need) -> None:
    """At 96 pixels a side: at 224 one of 7 million activations is so near to its kink that float32 flips it."""
    np, torch = need("numpy"), need("torch")
    need("onnxruntime")
    module = real_nets.efficientnet_lite0()
    record = Preprocess(resize=(96,), mean=(127.0,), scale=1 / 128)
    x = batch([shared / "images" / picture], record, (1, 3, 96, 96))
    explainer = Explainer(exported(module, torch.tensor(x)))
    near(explainer.gradient(x, seeds(np.zeros((1, 1000)), number)), *torchs(module, torch.tensor(x), number))


# Caffe: every node played by torch's own functions -------------------------------------------------------------------


def _padded(F: Any, x: Any, a: Any, value: float = 0.0) -> Any:
    top, left, bottom, right = a.get("pads", (0, 0, 0, 0))
    return F.pad(x, (left, right, top, bottom), value=value)


def _convolved(F: Any, a: Any, x: Any, w: Any, b: Any = None) -> Any:
    steps = a.get("strides", (1, 1)), 0, a.get("dilations", (1, 1))
    return F.conv2d(_padded(F, x, a), w, b, *steps, a.get("group", 1))


def _normalized(F: Any, a: Any, x: Any, scale: Any, bias: Any, mean: Any, variance: Any) -> Any:
    return F.batch_norm(x, mean, variance, scale, bias, eps=a["epsilon"])


TORCH: dict[str, Callable[..., Any]] = {
    "Conv": _convolved,
    "BatchNormalization": _normalized,
    "Relu": lambda F, a, x: F.relu(x),
    "Sigmoid": lambda F, a, x: x.sigmoid(),
    "Identity": lambda F, a, x: x,
    "Add": lambda F, a, x, y: x + y,
    "Mul": lambda F, a, x, y: x * y,
    "Concat": lambda F, a, *xs: _joined(xs, a["axis"]),
    "LRN": lambda F, a, x: F.local_response_norm(x, a["size"], a["alpha"], a["beta"], a["bias"]),
    "MaxPool": lambda F, a, x: F.max_pool2d(_padded(F, x, a, -1e30), a["kernel_shape"], a["strides"]),
    "AveragePool": lambda F, a, x: F.avg_pool2d(x, a["kernel_shape"], a.get("strides", (1, 1))),
    "GlobalAveragePool": lambda F, a, x: x.mean((2, 3), keepdim=True),
    "Flatten": lambda F, a, x: x.flatten(a["axis"]),
    "Gemm": lambda F, a, x, w, b: F.linear(x, w, b),
}


def _joined(parts: Any, axis: int) -> Any:
    import torch

    return torch.cat(list(parts), axis)


def played(model: Model, target: str, x: Any) -> Any:
    """Return a value of a model, computed by torch in the precision of `x`."""
    import numpy as np
    import torch

    graph = model.graph
    found = {graph.inputs[0]: x}
    for name, tensor in graph.initializers.items():
        found[name] = torch.tensor(np.frombuffer(tensor.bytes(), "<f4").reshape(tensor.shape)).to(x.dtype)
    for node in graph.nodes:
        if node.op_type != "Softmax":
            rule = TORCH[node.op_type]
            found[node.outputs[0]] = rule(torch.nn.functional, node.attributes, *(found[name] for name in node.inputs))
    return found[target]


CAFFE = ["squeezenet/v1.1_deploy", *(["bvlc/bvlc_alexnet/deploy", "senet/SE-ResNet-50"] if ALL else [])]


@pytest.mark.parametrize("name", CAFFE)
def test_gradients_of_caffe_nets_equal_torchs(name: str, shared: Path, need: Need) -> None:
    np, torch = need("numpy"), need("torch")
    need("onnxruntime")
    side = 227 if name.startswith("bvlc") else 225 if name.startswith("senet") else 113
    shapes = {"0": (None, (1, 3, side, side))}
    model = api.load(shared / "caffe" / f"{name}.prototxt", random_weights=1, deploy=True, input_shapes=shapes)
    explainer = Explainer(model)
    x = (np.random.default_rng(0).standard_normal((1, 3, side, side)) / 10).astype("f4")
    seed = seeds(explainer.scores(x), "top1")

    found = []
    for dtype in (torch.float32, torch.float64):
        value = torch.tensor(x, dtype=dtype, requires_grad=True)
        (played(model, explainer.target, value) * torch.tensor(seed)).sum().backward()
        found.append(value.grad.double().numpy())
    near(explainer.gradient(x, seed), *found)


# Keras ---------------------------------------------------------------------------------------------------------------


def small(keras: Any) -> Any:
    """Return a net of what Keras nets are made of, its channels last."""
    layers = keras.layers
    start = x = keras.Input((19, 17, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    y = layers.DepthwiseConv2D(3, padding="same")(x)
    x = layers.Add()([x, layers.LeakyReLU()(layers.BatchNormalization()(y))])
    x = layers.MaxPooling2D(3, 2, padding="same")(x)
    x = layers.SeparableConv2D(12, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.Concatenate()([x, layers.AveragePooling2D(2, 1, padding="same")(x)])
    x = layers.Conv2DTranspose(6, 3, strides=2, padding="same", activation="tanh")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(start, layers.Dense(5, activation="softmax")(layers.Dense(16, activation="gelu")(x)))


def tapes(keras: Any, net: Any, x: Any, target: int, dtype: str) -> Any:
    """Return what TensorFlow's tape says of a net's score before its softmax, in a precision."""
    import tensorflow as tf

    def typed(layer: Any) -> Any:
        return layer.__class__.from_config({**layer.get_config(), "dtype": dtype})

    clone = keras.models.clone_model(net, clone_function=typed)
    clone.set_weights(net.get_weights())
    clone.layers[-1].activation = keras.activations.linear
    value = tf.constant(x, dtype)
    with tf.GradientTape() as tape:
        tape.watch(value)
        score = tf.reduce_sum(clone(value, training=False)[:, target])
    return tape.gradient(score, value).numpy()


@pytest.mark.parametrize("name", ["built", "mlperftiny_cifar10_resnet8.h5"])
def test_gradients_of_keras_nets_equal_the_tapes(name: str, request: Any, tmp_path: Path, need: Need) -> None:
    need("tensorflow")
    need("onnxruntime")
    np, keras = need("numpy"), need("keras")
    rng = np.random.default_rng(0)
    if name == "built":
        keras.utils.set_random_seed(0)
        net, path = small(keras), tmp_path / "net.keras"
        net.set_weights([rng.uniform(0.5, 1.5, w.shape) if w.ndim == 1 else w for w in net.get_weights()])
        net.save(path)
    else:
        path = request.getfixturevalue("shared") / "tensorflow" / "keras" / name
        net = keras.models.load_model(path, compile=False)
    x = rng.standard_normal((1, *net.input_shape[1:])).astype("f4")
    explainer = Explainer(api.load(path))
    mine = explainer.gradient(x, seeds(explainer.scores(x), 2))
    near(mine, tapes(keras, net, x, 2, "float32"), tapes(keras, net, x, 2, "float64"))
