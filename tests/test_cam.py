"""Class activation maps against published values, naive formulas in float64, pytorch-grad-cam and Captum."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphviz_nets import api
from graphviz_nets.errors import ConfigError
from graphviz_nets.explain.explainer import Explainer
from graphviz_nets.explain.layers import Layer, find, laid
from graphviz_nets.explain.methods import MAPS, cam, explain, method, options_of, seeds
from graphviz_nets.explain.relevance import relevance, values_by_id
from graphviz_nets.explain.runner import Runner
from graphviz_nets.explain.together import together
from graphviz_nets.graph import proto
from graphviz_nets.graph.builder import Builder
from graphviz_nets.graph.ir import Model

from . import real_nets
from .conftest import ALL, needed
from .test_explain import FIXTURES, command, digit, exported, one_conv, vision  # noqa: F401

Need = Callable[[str], Any]
FAMILY = [*cam.MAPS, "guided-grad-cam"]


# Published values -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("layer", "rows"), [
    ("Conv", [[11.25, 13.5], [20.25, 22.5]]), ("Relu", [[0, 4], [28, 32.5]]),
])  # fmt: skip
def test_published_values_come_out_exactly(layer: str, rows: list[list[float]], need: Need) -> None:
    np = need("numpy")
    need("onnxruntime")
    x = np.arange(16, dtype="f4").reshape(1, 1, 4, 4)
    assert explain(Explainer(one_conv(), layers=[layer]), x, 0, "grad-cam", signed=True, enlarge=False).tolist() == [
        rows
    ]


# Naive formulas ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def net(need: Need) -> Any:
    """Return a net whose layer has both signs, its explainer there, images, and float64 torch's two halves of it."""
    torch = need("torch")
    need("onnxruntime")
    nn = torch.nn
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 5, 3, padding=1))
    head = nn.Sequential(
        nn.ReLU(), nn.Conv2d(5, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    module = nn.Sequential(body, head).eval()
    x = torch.randn(2, 3, 8, 8)
    model = exported(module, x)
    layer = next(node.outputs[0] for node in reversed(model.graph.nodes)
                 if node.op_type == "Conv" and model.graph.value(node.outputs[0]).shape == (2, 5, 4, 4))  # fmt: skip
    return Explainer(model, layers=[layer]), x, body.double(), head.double()


def taken(net: Any, target: int) -> tuple[Any, Any, Callable[[Any], Any]]:
    """Return activations, gradients, and the score behind the layer, all in float64 numpy."""
    import torch

    _, x, body, head = net
    a = body(x.double()).detach().requires_grad_(True)
    head(a)[:, target].sum().backward()

    def behind(values: Any) -> Any:
        with torch.no_grad():
            return head(torch.as_tensor(values))[:, target].numpy()

    return a.detach().numpy(), a.grad.numpy(), behind


def naive(name: str, net: Any, target: int) -> Any:
    """Return a method's map (N, h, w) before ReLU and enlarging, as its paper writes it."""
    import numpy as np
    import torch

    a, g, behind = taken(net, target)
    n, c, h, w = a.shape
    _, x, body, head = net

    def grad_cam(g: Any) -> Any:
        return np.einsum("nk,nkij->nij", g.mean((2, 3)), a)

    def xgrad() -> Any:
        weights = np.zeros((n, c))
        for s, k, i, j in np.ndindex(a.shape):
            weights[s, k] += g[s, k, i, j] * a[s, k, i, j] / (a[s, k].sum() + 1e-7)
        return np.einsum("nk,nkij->nij", weights, a)

    def plus_plus() -> Any:
        weights = np.zeros((n, c))
        for s, k, i, j in np.ndindex(a.shape):
            one = g[s, k, i, j]
            if one > 0:
                weights[s, k] += one * one**2 / (2 * one**2 + a[s, k].sum() * one**3 + 1e-6)
        return np.einsum("nk,nkij->nij", weights, a)

    def component(values: Any) -> Any:
        maps = []
        for one in values:
            flat = one.reshape(c, -1).T
            flat = flat - flat.mean(0)
            values, vectors = np.linalg.eigh(flat.T @ flat)
            place = (flat @ vectors[:, values.argmax()]).reshape(h, w)
            maps.append(-place if -place.min() > place.max() else place)
        return np.stack(maps)

    def score_cam(samples: int = 1, noise: float = 0.0) -> Any:
        maps = []
        for s in range(n):
            large = torch.nn.functional.interpolate(torch.as_tensor(a[s : s + 1]), (8, 8), mode="bilinear")[0]
            scores = np.zeros(c)
            for k in range(c):
                mask = (large[k] - large[k].min()) / (large[k].max() - large[k].min())
                for t in range(samples):
                    dice = np.random.default_rng((0, t, k)).standard_normal((8, 8), "f4")
                    with torch.no_grad():
                        shown = (x[s].double() * (mask + noise * torch.as_tensor(dice)))[None]
                        scores[k] += float(head(body(shown))[0, target]) / samples
            share = np.exp(scores) / np.exp(scores).sum()
            maps.append((share[:, None, None] * a[s]).sum(0))
        return np.stack(maps)

    def ablation() -> Any:
        weights = np.zeros((n, c))
        for k in range(c):
            without = a.copy()
            without[:, k] = 0
            weights[:, k] = (behind(a) - behind(without)) / np.abs(behind(a))
        return np.einsum("nk,nkij->nij", weights, a)

    def recipro() -> Any:
        found = np.zeros((n, h, w))
        for i, j in np.ndindex(h, w):
            alone = np.zeros_like(a)
            alone[:, :, i, j] = a[:, :, i, j]
            found[:, i, j] = behind(alone)
        return found - found.min((1, 2), keepdims=True)

    def finer() -> Any:
        value = torch.as_tensor(a).requires_grad_(True)
        scores = head(value)
        near = (scores - scores[:, target : target + 1]).abs().argsort(1)
        total = 0.0
        for s in range(n):
            others = [int(k) for k in near[s] if int(k) != target][:2]
            total = total + scores[s, target] - 0.5 * scores[s, others].mean()
        total.backward()
        return grad_cam(value.grad.numpy())

    table: dict[str, Callable[[], Any]] = {
        "grad-cam": lambda: grad_cam(g), "hirescam": lambda: (g * a).sum(1), "xgrad-cam": xgrad,
        "layer-cam": lambda: (np.maximum(g, 0) * a).sum(1), "grad-cam++": plus_plus,
        "eigen-cam": lambda: component(a), "eigengrad-cam": lambda: component(a * g), "score-cam": score_cam,
        "ss-cam": lambda: score_cam(3, 0.5), "ablation-cam": ablation, "recipro-cam": recipro, "finer-cam": finer,
    }  # fmt: skip
    return table[name]()


OPTIONS = {"ss-cam": {"samples": 3, "noise": 0.5}, "finer-cam": {"near": 2, "gamma": 0.5}}
ELSEWHERE = {"cam", "fullgrad", "guided-grad-cam"}  # have tests of their own below


@pytest.mark.parametrize("name", sorted({one for one in method if "cam" in one or one in FAMILY} - ELSEWHERE))
def test_maps_follow_their_formulas(name: str, net: Any) -> None:
    import numpy as np

    explainer, x, *_ = net
    signed = {"signed": True} if "signed" in options_of(name) else {}
    mine = explain(explainer, x.numpy(), 1, name, enlarge=False, **signed, **OPTIONS.get(name, {}))
    theirs = naive(name, net, 1)
    assert mine.shape == theirs.shape and np.abs(mine - theirs).max() <= 2e-5 * np.abs(theirs).max()
    # What is shown is that, rectified, at the size of the image.
    large = explain(explainer, x.numpy(), 1, name, **OPTIONS.get(name, {}))
    assert large.shape == (2, 8, 8) and large.min() >= 0
    assert np.abs(large - cam.enlarged(np.maximum(mine, 0), (8, 8))).max() <= 1e-5 * np.abs(mine).max()


def test_guided_grad_cam_is_the_product(net: Any) -> None:
    import numpy as np

    explainer, x, *_ = net
    one, two, both = (
        explain(explainer, x.numpy(), 1, name) for name in ("guided-backprop", "grad-cam", "guided-grad-cam")
    )
    assert both.any() and np.allclose(both, one * two[:, None])


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 30), st.integers(1, 30))
def test_enlarging_is_torchs(high: int, wide: int, rows: int, columns: int) -> None:
    np, torch = needed("numpy"), needed("torch")
    maps = np.random.default_rng(high * wide).standard_normal((2, high, wide))
    theirs = torch.nn.functional.interpolate(torch.as_tensor(maps)[:, None], (rows, columns), mode="bilinear")[:, 0]
    assert np.allclose(cam.enlarged(maps, (rows, columns)), theirs.numpy(), atol=1e-5)


# Identities -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def linear(need: Need) -> Any:
    """Return a net with global average pooling and one linear layer, its weights, an explainer and images."""
    torch = need("torch")
    need("onnxruntime")
    nn = torch.nn
    torch.manual_seed(1)
    module = nn.Sequential(
        nn.Conv2d(3, 7, 3, padding=1), nn.BatchNorm2d(7), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(7, 6, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4),
    ).eval()  # fmt: skip
    module[1].running_mean.uniform_(-1, 1)
    module[1].running_var.uniform_(0.5, 2)
    x = torch.randn(1, 3, 10, 10)
    return Explainer(exported(module, x)), module, x


def test_cam_hirescam_and_grad_cam_agree_on_a_linear_head(linear: Any) -> None:
    np = needed("numpy")
    explainer, module, x = linear
    a = module[:6](x).detach().numpy()
    paper = np.einsum("k,nkij->nij", module[8].weight.detach().numpy()[2], a)
    data = x.numpy()
    found = {n: explain(explainer, data, 2, n, signed=True, enlarge=False) for n in ("cam", "hirescam", "grad-cam")}
    places = found["cam"].shape[1] * found["cam"].shape[2]
    scale = np.abs(paper).max()
    assert found["cam"].shape == (1, 3, 3)
    assert np.abs(found["cam"] - paper).max() <= 1e-5 * scale
    assert np.abs(found["hirescam"] * places - paper).max() <= 1e-5 * scale
    assert np.abs(found["grad-cam"] * places - paper).max() <= 1e-5 * scale
    # The score without a channel is lower by its share, exactly.
    score = float(module(x)[0, 2].detach())
    shares = module[8].weight.detach().numpy()[2] * a.mean((2, 3))[0] / score
    mine = explain(explainer, data, 2, "ablation-cam", signed=True, enlarge=False)
    assert np.abs(mine - np.einsum("k,nkij->nij", shares, a)).max() <= 1e-5 * np.abs(mine).max()


def test_ablation_keeps_what_speaks_for_a_class_with_a_score_below_0(linear: Any) -> None:
    """A share of a negative score would have the other sign, and the map would show what speaks against."""
    np = needed("numpy")
    explainer, module, x = linear
    scores = module(x).detach().numpy()
    assert scores.min() < 0 < scores.max()
    a = module[:6](x).detach().numpy()
    for target in range(4):
        shares = module[8].weight.detach().numpy()[target] * a.mean((2, 3))[0] / abs(scores[0, target])
        found = explain(explainer, x.numpy(), target, "ablation-cam", signed=True, enlarge=False)
        assert np.abs(found - np.einsum("k,nkij->nij", shares, a)).max() <= 2e-5 * np.abs(found).max()


@pytest.mark.parametrize("side", [1, 3])
def test_cam_passes_convolutions_of_one_place(side: int, need: Need) -> None:
    """Linear is not enough: a wider kernel before the pooling mixes places, and those at the border count less."""
    np = need("numpy")
    need("onnxruntime")
    dice = np.random.default_rng(0)
    op = Builder("head", 18)
    x = op.input("x", "float32", (1, 3, 6, 6))
    a = op.Relu(op.Conv(x, op.weight("a", (4, 3, 1, 1), dice.standard_normal((4, 3, 1, 1), "f4").tobytes())))
    kernel = dice.standard_normal((2, 4, side, side), "f4")
    y = op.Conv(a, op.weight("b", kernel.shape, kernel.tobytes()), pads=[side // 2] * 4, kernel_shape=(side, side))
    e = Explainer(op.model([op.Flatten(op.GlobalAveragePool(y))]), layers=[a])
    image = dice.standard_normal((1, 3, 6, 6), "f4")
    if side == 3:
        with pytest.raises(ConfigError, match="there is Conv"):
            explain(e, image, 1, "cam")
        return
    held = e.forward([e.layers[0].value])({"x": image})[e.layers[0].value]
    assert np.allclose(explain(e, image, 1, "cam"), np.einsum("k,nkij->nij", kernel[1, :, 0, 0], held), atol=1e-5)


def test_signed_maps_of_several_layers_count_by_their_amounts(net: Any) -> None:
    """Each is scaled by its largest amount, which may be one against the target."""
    import numpy as np

    one, x, *_ = net
    data, first = x.numpy(), next(node.outputs[0] for node in one.model.graph.nodes if node.op_type == "Relu")
    layers = [first, one.layers[0].value]
    for name in ("grad-cam", "recipro-cam", "hirescam", "eigen-cam"):
        more = {"signed": True} if "signed" in options_of(name) else {}
        for weights in (seeds(one.scores(data), 1), -seeds(one.scores(data), 1)):
            alone = [explain(Explainer(one.model, layers=[layer]), data, weights, name, **more) for layer in layers]
            scaled = [found / np.abs(found).max((1, 2), keepdims=True) for found in alone]
            both = explain(Explainer(one.model, layers=layers), data, weights, name, **more)
            assert np.abs(both - np.mean(scaled, 0)).max() <= 1e-5


def test_cam_says_where_it_is_not_defined(net: Any) -> None:
    explainer, x, *_ = net
    with pytest.raises(ConfigError, match=r"linear head.*there is Relu"):
        explain(explainer, x.numpy(), 1, "cam")


def test_fullgrad_adds_up_and_follows_its_formula(linear: Any) -> None:
    """Rescaled absolute values of input x gradient and bias x gradient, as the paper and its authors' code have it."""
    np, torch = needed("numpy"), needed("torch")
    explainer, module, x = linear
    mine = explain(explainer, x.numpy(), 2, "fullgrad")
    missed = float(explainer.notes[-1].split("by ")[1].split()[0])
    module = module.double()
    held: dict[int, Any] = {}
    value = x.double().requires_grad_(True)
    out = value
    for k, one in enumerate(module):
        out = one(out)
        if k in (1, 4):
            out.retain_grad()
            held[k] = out
    out[0, 2].backward()
    norm = module[1]
    bias = {4: module[4].bias}
    # The convolution before the normalization has a bias of its own; both together are one.
    factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    bias[1] = norm.bias + factor * (module[0].bias - norm.running_mean)

    def psi(part: Any) -> Any:
        part = part.abs()
        part = (part - part.min()) / (part.max() - part.min())
        return torch.nn.functional.interpolate(part.sum(1, keepdim=True), (10, 10), mode="bilinear")[:, 0]

    parts = [value * value.grad, *(bias[k].reshape(1, -1, 1, 1) * held[k].grad for k in (1, 4))]
    total = sum(float(part.sum().detach()) for part in parts) + float(module[8].bias[2].detach())
    theirs = sum(psi(part.detach()) for part in parts).numpy()
    module.float()
    assert missed <= 1e-5 and abs(total - float(out[0, 2].detach())) <= 1e-9 * abs(total)
    assert np.abs(mine - theirs).max() <= 1e-5 * theirs.max()


# Peers ------------------------------------------------------------------------------------------------------------


PEERS = {"grad-cam": "GradCAM", "grad-cam++": "GradCAMPlusPlus", "xgrad-cam": "XGradCAM", "hirescam": "HiResCAM",
         "layer-cam": "LayerCAM", "eigen-cam": "EigenCAM", "eigengrad-cam": "EigenGradCAM",
         "ablation-cam": "AblationCAM", "score-cam": "ScoreCAM"}  # fmt: skip


def theirs(name: str, module: Any, layer: Any, x: Any, target: int, peers: Any) -> Any:
    """Return pytorch-grad-cam's map at the layer's size, before it is rectified and scaled."""
    import torch
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    with warnings.catch_warnings(), getattr(peers, PEERS[name])(module, [layer]) as peer:
        warnings.simplefilter("ignore")
        targets = [ClassifierOutputTarget(target)] * len(x)
        with torch.enable_grad():
            peer(x, targets)
        taps = peer.activations_and_grads
        a = taps.activations[0].detach().numpy()
        g = taps.gradients[0].detach().numpy() if taps.gradients else None
        found = peer.get_cam_image(x, layer, targets, a if name != "ablation-cam" else taps.activations[0], g, False)
    return found


def agrees(mine: Any, other: Any, name: str) -> None:
    import numpy as np

    if name.startswith("eigen") and np.vdot(mine, other) < 0:
        other = -other  # a singular vector has no sign; pytorch-grad-cam takes what the library gives
    if name == "score-cam":  # its softmax counts channels that are 0 everywhere, which only scales the map
        mine, other = mine / mine.max(), other / other.max()
    scale = np.abs(other).max()
    assert mine.shape == other.shape
    assert np.corrcoef(mine.ravel(), other.ravel())[0, 1] >= 0.9999
    assert np.abs(mine - other).max() <= 1e-3 * scale


@pytest.mark.parametrize("name", sorted(PEERS))
def test_maps_agree_with_pytorch_grad_cam(name: str, linear: Any, vision: Any, need: Need) -> None:  # noqa: F811
    peers, torch = need("pytorch_grad_cam"), need("torch")
    explainer, module, x = linear
    if name == "score-cam":  # it enlarges between corners; ours, as everywhere else, between middles
        name_of = torch.nn.UpsamplingBilinear2d
        torch.nn.UpsamplingBilinear2d = lambda size: torch.nn.Upsample(size=size, mode="bilinear")
    try:
        other = theirs(name, module, module[5], x, 2, peers)
    finally:
        if name == "score-cam":
            torch.nn.UpsamplingBilinear2d = name_of
    agrees(explain(explainer, x.numpy(), 2, name, signed=True, enlarge=False), other, name)


def test_grad_cam_agrees_with_captum(linear: Any, need: Need) -> None:
    captum, np = need("captum.attr"), need("numpy")
    explainer, module, x = linear
    other = captum.LayerGradCam(module, module[5]).attribute(x, target=2).detach().numpy()[:, 0]
    mine = explain(explainer, x.numpy(), 2, "grad-cam", signed=True, enlarge=False)
    assert np.abs(mine - other).max() <= 1e-5 * np.abs(other).max()


@pytest.mark.skipif(not ALL, reason="a real net; --all runs it")
@pytest.mark.parametrize("net_name", ["mobilenet_v2", "efficientnet_lite0"])
def test_real_nets_agree_with_pytorch_grad_cam(net_name: str, vision: Any, need: Need) -> None:  # noqa: F811
    peers, torch = need("pytorch_grad_cam"), need("torch")
    module = real_nets.mobilenet_v2() if net_name == "mobilenet_v2" else real_nets.efficientnet_lite0()
    layer = module.features[-1] if net_name == "mobilenet_v2" else module._bn1
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    model = exported(module, x)
    explainer = Explainer(model)
    if net_name == "efficientnet_lite0":  # its activation is one module for all layers, so a hook cannot be put there
        last = explainer.model.graph.producers[explainer.layers[0].value]
        explainer = Explainer(model, layers=[last.inputs[0]])
    for name in sorted(set(PEERS) - {"ablation-cam", "score-cam"}):  # those two take a pass a channel there
        other = theirs(name, module, layer, x, 243, peers)
        agrees(explain(explainer, x.numpy(), 243, name, signed=True, enlarge=False), other, name)


# Layers -----------------------------------------------------------------------------------------------------------


LAST = {
    "resnet18": ((512, 7, 7), "Relu"), "alexnet": ((256, 13, 13), "Relu"), "vgg11": ((512, 14, 14), "Relu"),
    "googlenet": ((1024, 7, 7), "Concat"), "mobilenet_v3_small": ((576, 7, 7), "Mul"),
    "densenet121": ((1024, 7, 7), "Relu"), "squeezenet1_1": ((1000, 13, 13), "Relu"),
    "convnext_tiny": ((768, 7, 7), "Add"), "swin_t": ((768, 7, 7), "LayerNormalization"),
    "vit_b_32": ((768, 7, 7), "LayerNormalization"), "mobilenet_v2": ((1280, 7, 7), "Clip"),
}  # fmt: skip
QUICK = ("squeezenet1_1", "mobilenet_v3_small")


@pytest.mark.parametrize("name", [*QUICK, *(set(LAST) - set(QUICK) if ALL else ())])
def test_the_right_layer_is_found(name: str, vision: Any, need: Need) -> None:  # noqa: F811
    torch, np = need("torch"), need("numpy")
    module = getattr(vision.models, name)(
        weights=None, **({"init_weights": False} if name == "googlenet" else {})
    ).eval()
    if name == "vit_b_32":
        torch.nn.init.normal_(module.heads.head.weight)  # it begins with zeros
    x = torch.randn(1, 3, 224, 224)
    explainer = Explainer(exported(module, x))
    (layer,) = explainer.layers
    shape, op_type = LAST[name]
    maker = explainer.model.graph.producers[layer.value]
    assert layer.first(np.zeros(explainer.model.graph.value(layer.value).shape)).shape[1:] == shape
    assert maker.op_type == op_type and layer.prefix == (1 if name == "vit_b_32" else 0)
    found = explain(explainer, x.numpy(), 3, "hirescam", signed=True)
    assert found.shape == (1, 224, 224) and found.any()


def test_a_channels_last_net_gives_the_same_maps(linear: Any) -> None:
    np = needed("numpy")
    explainer, _, x = linear
    model = explainer.model
    graph = model.graph
    op = Builder("turned", 18)
    turned = op.Transpose(op.input("image", "float32", (1, 10, 10, 3)), perm=[0, 3, 1, 2])
    first = replace(op.nodes[0], outputs=(graph.inputs[0],))
    values = {**graph.values, "image": op.values[turned.replace("Transpose", "image")]}
    other = Explainer(model.with_graph(replace(graph, nodes=(first, *graph.nodes), inputs=("image",), values=values)))
    assert other.image is not None and other.image.axis == 3
    data = x.numpy()
    for name in FAMILY:
        mine = explain(explainer, data, 2, name)
        theirs = explain(other, np.ascontiguousarray(data.transpose(0, 2, 3, 1)), 2, name)
        if name not in MAPS:
            theirs = theirs.transpose(0, 3, 1, 2)
        assert np.abs(mine - theirs).max() <= 1e-5 * np.abs(mine).max(), name


def test_several_layers_are_averaged_at_one_scale(linear: Any) -> None:
    np = needed("numpy")
    explainer, _, x = linear
    model = explainer.model
    relus = [node.outputs[0] for node in model.graph.nodes if node.op_type == "Relu"]
    alone = [explain(Explainer(model, layers=[one]), x.numpy(), 2, "layer-cam") for one in relus]
    both = explain(Explainer(model, layers=relus), x.numpy(), 2, "layer-cam")
    assert len(relus) == 2 and np.allclose(both, np.mean([one / one.max() for one in alone], 0), atol=1e-5)


def test_an_empty_map_is_said() -> None:
    np = needed("numpy")
    needed("onnxruntime")
    op = Builder("against", 18)
    y = op.Relu(
        op.Conv(op.input("x", "float32", (1, 1, 4, 4)), op.weight("w", (1, 1, 1, 1), np.ones(1, "f4").tobytes()))
    )
    y = op.Flatten(op.GlobalAveragePool(y), axis=1)
    y = op.MatMul(y, op.weight("fc", (1, 2), np.array([-1, 1], "f4").tobytes()))
    explainer, x = Explainer(op.model([y])), np.ones((1, 1, 4, 4), "f4")
    assert not explain(explainer, x, 0, "grad-cam").any()
    assert "signed=true" in explainer.notes[0]
    assert explain(explainer, x, 0, "grad-cam", signed=True).max() < 0


def test_the_part_behind_a_layer_keeps_what_goes_around_it() -> None:
    np = needed("numpy")
    needed("onnxruntime")
    rng = np.random.default_rng(0)
    op = Builder("around", 18)
    x = op.input("x", "float32", (1, 4, 3, 3))
    w = op.weight("w", (4, 4, 3, 3), rng.standard_normal((4, 4, 3, 3)).astype("f4").tobytes())
    inner = op.Conv(x, w, kernel_shape=(3, 3), pads=(1, 1, 1, 1))
    y = op.Flatten(op.GlobalAveragePool(op.Relu(op.Add(inner, x))), axis=1)
    explainer = Explainer(op.model([y]), layers=[inner])
    image = rng.standard_normal((1, 4, 3, 3)).astype("f4")
    mask = np.array([1, 0, 1, 1], "f4").reshape(1, 4, 1, 1)
    held = explainer.forward([inner])({"x": image})[inner]
    expected = np.maximum(held * mask + image, 0).mean((2, 3))
    (found,) = cam._behind(explainer, explainer.layers[0], image[0], [mask])
    assert np.abs(found - expected).max() <= 1e-5


def test_tokens_are_laid_out() -> None:
    np = needed("numpy")
    layer = Layer("tokens", 2, (2, 3), True, 1)
    values = np.arange(14.0).reshape(1, 7, 2)
    assert layer.first(values)[0, 0].tolist() == [[2, 4, 6], [8, 10, 12]]
    places = np.arange(6.0).reshape(1, 1, 2, 3)
    spread = layer.spread(places, rest=9.0)
    assert spread[0, :, 0].tolist() == [9, 0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(("tokens", "found"), [
    (196, ((14, 14), 0)), (197, ((14, 14), 1)), (198, ((14, 14), 2)), (201, ((14, 14), 5)), (199, None),
])  # fmt: skip
def test_tokens_before_the_patches_are_counted(tokens: int, found: Any) -> None:
    """A class token, one of distillation, four registers."""
    assert laid(tokens, (224, 224)) == found


def test_names_of_layers() -> None:
    model = api.load(FIXTURES / "lenet.prototxt")
    assert find(model, "conv1") == "conv1" and find(model, "relu1") == "ip1"
    op = Builder("net", 18)
    x = op.input("x", "float32", (1, 2))
    op.scope = ("body", "1")
    y = op.Relu(x)
    op.scope = ()
    nested = op.model([op.Neg(y)])
    assert find(nested, "body/1") == find(nested, "body.1") == y  # PyTorch's own names have dots
    with pytest.raises(ConfigError, match="did you mean conv2, conv1"):
        find(model, "conv3")


def biased(name: str, op: Builder, x: str) -> str:
    """Append an operation that adds a bias, to a value (1, 2, 4, 4)."""
    import numpy as np

    dice = np.random.default_rng(0)

    def held(*shape: int, least: float | None = None) -> str:
        data = dice.standard_normal(shape, "f4") if least is None else dice.uniform(least, 2, shape).astype("f4")
        return op.weight(f"w{len(op.initializers)}", shape, data.tobytes())

    if name == "Conv":
        return op.Conv(x, held(3, 2, 2, 2), held(3), kernel_shape=(2, 2))
    if name == "ConvTranspose":
        return op.ConvTranspose(x, held(2, 3, 2, 2), held(3), kernel_shape=(2, 2))
    if name == "Gemm":
        return op.Gemm(op.Flatten(x), held(32, 5), held(5), beta=0.5)
    if name == "BatchNormalization":
        return op.BatchNormalization(x, held(2), held(2), held(2), held(2, least=0.5), epsilon=0.1)
    return op.Add(x, held(2, 1, 1)) if name == "Add" else op.Sub(held(2, 1, 1), op.Sub(x, held(2, 1, 1)))


@pytest.mark.parametrize("name", cam.biases.rules)
def test_every_bias_has_its_share_of_the_score(name: str, need: Need) -> None:
    """Of a ReLU net, gradients times input and biases are the score: what is left out, or wrong, is missed."""
    np = need("numpy")
    need("onnxruntime")
    op = Builder("biased", 18)
    y = op.Relu(biased(name, op, op.input("x", "float32", (1, 2, 4, 4))))
    flat = op.Flatten(y)
    wide = int((op.shape(flat) or (1, 1))[1] or 1)
    weights = np.random.default_rng(1).standard_normal((wide, 2), "f4")
    e = Explainer(op.model([op.MatMul(flat, op.weight("last", (wide, 2), weights.tobytes()))]))
    assert name in {node.op_type for node in e.model.graph.nodes}
    x = np.random.default_rng(2).standard_normal((1, 2, 4, 4), "f4")
    assert explain(e, x, 1, "fullgrad").any()
    (note,) = e.notes
    assert float(note.split("by ")[1].split()[0]) <= 1e-5
    # Without biases the sum is another: the case is one.
    assert abs(float((x * e.gradient(x, seeds(e.scores(x), 1))).sum()) - e.scores(x)[0, 1]) > 1e-2


ONE_OF_TWO = sorted(set(cam.MAPS) - {"cam", "fullgrad", "score-cam", "ss-cam"})


@pytest.mark.parametrize("last", [False, True], ids=["nchw", "nhwc"])
@pytest.mark.parametrize("name", ONE_OF_TWO)
def test_an_image_beside_a_vector_has_its_maps(name: str, last: bool, need: Need) -> None:
    """With the vector held still, the model is one of the image alone: its maps are those of that model."""
    np, torch = need("numpy"), need("torch")
    need("onnxruntime")
    nn = torch.nn
    torch.manual_seed(2)
    conv, mix, head = nn.Conv2d(3, 6, 3, padding=1), nn.Linear(4, 6), nn.Linear(6, 3)
    image, vector = torch.randn(1, 3, 8, 10), torch.randn(1, 4)

    class Both(nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, vector: Any, image: Any) -> Any:
            seen = torch.relu(conv(image.permute(0, 3, 1, 2) if last else image))
            return head(torch.tanh(seen.amax((2, 3)) * mix(vector) + seen.mean((2, 3))))

    class Alone(nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, image: Any) -> Any:
            return Both()(vector, image)

    image = image.permute(0, 2, 3, 1).contiguous() if last else image
    both = together(exported(Both().eval(), (vector, image)))
    named = dict(zip(both.shapes, (vector.numpy(), image.numpy()), strict=True))
    e = Explainer(both.model, seen=list(named)[1])
    alone = Explainer(exported(Alone().eval(), image))
    mine = explain(e, both.pack(named), 1, name)
    theirs = explain(alone, image.numpy(), 1, name)
    assert mine.shape == (1, 8, 10) and theirs.any()
    assert np.abs(mine - theirs).max() <= 1e-5 * np.abs(theirs).max()
    with pytest.raises(ConfigError, match="look at a layer only"):
        explain(e, both.pack(named), 1, "score-cam")


def test_a_layer_without_places_is_refused(linear: Any) -> None:
    explainer, _, x = linear
    flat = explainer.model.graph.outputs[0]
    with pytest.raises(ConfigError, match="no places"):
        explain(Explainer(explainer.model, layers=[flat]), x.numpy(), 2, "grad-cam")


# Exports and relevance --------------------------------------------------------------------------------------------


def test_a_map_is_a_model_of_its_own(linear: Any, tmp_path: Any) -> None:
    np = needed("numpy")
    explainer, _, x = linear
    model, seed, name = api.export_attribution(explainer.model, "grad-cam")
    proto.write(model, tmp_path / "cam.onnx")
    again: Model = proto.read(tmp_path / "cam.onnx")
    weights = seeds(explainer.scores(x.numpy()), 2)
    found = Runner(again, [name])({explainer.input: x.numpy(), seed: weights})[name]
    assert np.allclose(found, explain(explainer, x.numpy(), 2, "grad-cam"), atol=1e-6)


def test_a_saved_cam_keeps_its_signs(linear: Any) -> None:
    """As the method does: what speaks against the class is part of a CAM."""
    np = needed("numpy")
    explainer, _, x = linear
    model, seed, name = api.export_attribution(explainer.model, "cam")
    weights = -seeds(explainer.scores(x.numpy()), 2)
    found = Runner(model, [name])({explainer.input: x.numpy(), seed: weights})[name]
    assert found.min() < 0 and np.allclose(found, explain(explainer, x.numpy(), weights, "cam"), atol=1e-6)


def test_relevance_is_handed_from_layer_to_layer() -> None:
    np = needed("numpy")
    needed("onnxruntime")
    model = api.load(FIXTURES / "lenet.prototxt", random_weights=3, deploy=True)
    values = values_by_id(model)
    explainer = Explainer(model, layers=list(values.values()))
    x = np.random.default_rng(0).random((1, 1, 28, 28), "f4")
    seed = seeds(explainer.scores(x), "top1")
    found = relevance(explainer, x, seed, values, "input-x-gradient")
    assert list(found) == ["conv1", "pool1", "conv2", "pool2", "ip1", "relu1", "ip2"]
    score = float(explainer.scores(x).max())
    assert found["ip2"] == pytest.approx(abs(score), rel=1e-5)
    with pytest.raises(ConfigError, match="gives no relevance"):
        relevance(explainer, x, seed, values, "grad-cam")


# The command line -------------------------------------------------------------------------------------------------


def test_maps_on_the_command_line(digit: Any, tmp_path: Any) -> None:  # noqa: F811
    import numpy as np

    model, picture = digit
    (tmp_path / "grey.yaml").write_text("channels: grey\nscale: 0.00390625\n")
    common = ["explain", model, picture, "--preprocess", tmp_path / "grey.yaml"]

    def made(*more: Any) -> Any:
        done = command(*common, *more, "-o", tmp_path / "a.npy")
        assert done.returncode == 0, done.stderr
        return np.load(tmp_path / "a.npy")

    assert made("--method", "grad-cam").shape == (1, 28, 28)
    assert made("--method", "grad-cam", "--raw").shape == (1, 8, 8)  # conv2, before its pooling
    early = made("--method", "hirescam", "--layer", "conv1", "--raw", "--set", "signed=true")
    assert early.shape == (1, 24, 24) and early.min() < 0
    done = command(
        *common, "--method", "grad-cam", "--method", "saliency", "--layer", "conv1", "-o", tmp_path / "a.html"
    )
    assert done.returncode == 0 and "Grad-CAM" not in done.stderr and "grad-cam" in (tmp_path / "a.html").read_text()
    # A contrast is the difference of the two, and any value can be explained.
    saliency = ["--method", "input-x-gradient", "--target"]
    assert np.allclose(made(*saliency, "3", "--against", "5"), made(*saliency, "3") - made(*saliency, "5"), atol=1e-5)
    assert made(*saliency, "7", "--of", "conv2").any()
    done = command(*common, "--method", "lrp", "-o", tmp_path / "relevance.csv")
    lines = (tmp_path / "relevance.csv").read_text().splitlines()
    assert done.returncode == 0 and lines[0] == "id,relevance (lrp)" and len(lines) > 6
    done = command("render", model, "--overlay", tmp_path / "relevance.csv", "-o", tmp_path / "a.svg")
    assert (
        done.returncode == 0 and "warning" not in done.stderr and "relevance (lrp)" in (tmp_path / "a.svg").read_text()
    )


def test_all_methods_on_one_page(digit: Any, tmp_path: Any) -> None:  # noqa: F811
    model, picture = digit
    (tmp_path / "grey.yaml").write_text("channels: grey\n")
    done = command("explain", model, picture, "--preprocess", tmp_path / "grey.yaml", "--method", "all",
                   "-o", tmp_path / "all.html")  # fmt: skip
    page = (tmp_path / "all.html").read_text()
    assert done.returncode == 0, done.stderr
    left_out = {line.split()[1] for line in done.stderr.splitlines() if " is left out: " in line}
    assert "cam" in left_out  # its head is not linear
    assert {name for name in method if f"<strong>{name}</strong>" in page} == set(method) - left_out


@pytest.mark.parametrize(("more", "words"), [
    (["--method", "grad-cam", "--layer", "conv9"], "did you mean conv2, conv1"),
    (["--method", "saliency", "--set", "samples=3"], "sets no option of saliency"),
    (["--method", "smoothgrad", "--set", "samples"], "OPTION=VALUE"),
    (["--method", "cam"], "global average pooling"), (["--raw"], "--raw is for .npy"),
    (["--method", "smoothgrad", "--set", "samples=0"], "a whole number from 1"),
    (["--method", "smoothgrad", "--set", "samples=many"], "a whole number from 1"),
    (["--method", "smoothgrad", "--set", "noise=.nan"], "a number"),
    (["--method", "grad-cam", "--set", "signed=perhaps"], "true or false"),
    (["--method", "rise", "--set", "kept=1"], "between 0 and 1"), (["--method", "lime", "--set", "width=0"], "above 0"),
    (["--json"], "--evaluate"), (["--metric", "beauty"], "one of insertion"), (["--priors", "p.npy"], "--box"),
    (["--box", "1,2,nan,4"], "in pixels"), (["--box", "best", "--against", "1"], "without --against"),
    (["--of", "nothing"], "--of: the model has no layer or value"),
])  # fmt: skip
def test_what_is_wrong_is_said(digit: Any, tmp_path: Any, more: list[str], words: str) -> None:  # noqa: F811
    model, picture = digit
    (tmp_path / "grey.yaml").write_text("channels: grey\n")
    done = command("explain", model, picture, "--preprocess", tmp_path / "grey.yaml", *more, "-o", tmp_path / "a.png")
    assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_layers_are_completed_in_shells() -> None:
    from click.shell_completion import ShellComplete

    from graphviz_nets.cli import explaining

    words = ["--layer"]
    shell = ShellComplete(explaining.explain, {}, "explain", "_EXPLAIN_COMPLETE")
    found = shell.get_completions([str(FIXTURES / "lenet.prototxt"), *words], "con")
    assert [one.value for one in found][:2] == ["conv1", "conv2"]
    assert shell.get_completions(["missing.prototxt", *words], "con") == []


def test_a_detectors_layer_is_before_its_heads() -> None:
    """Both heads stand on it, so the score of any box comes back to it."""
    op = Builder("heads", 18)
    small = {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1)}
    x = op.input("x", "float32", (1, 3, 16, 16))
    trunk = op.Relu(op.Conv(x, op.weight("a", (4, 3, 3, 3), bytes(432)), strides=(2, 2), **small))
    deep = op.Relu(op.Conv(trunk, op.weight("b", (4, 4, 3, 3), bytes(576)), strides=(2, 2), **small))
    heads = [
        op.Conv(one, op.weight(f"head{k}", (2, 4, 3, 3), bytes(288)), **small) for k, one in enumerate((trunk, deep))
    ]
    flat = [op.Reshape(op.Transpose(one, perm=[0, 2, 3, 1]), op.constant([1, -1, 2])) for one in heads]
    needed("onnxruntime")
    (layer,) = Explainer(op.model([op.Concat(*flat, axis=1)])).layers
    assert layer.value == trunk and layer.grid == (8, 8)


def test_truth_is_measured_on_the_command_line(digit: Any, tmp_path: Any) -> None:  # noqa: F811
    needed("scipy")
    model, picture = digit
    (tmp_path / "grey.yaml").write_text("channels: grey\nscale: 0.00390625\n")
    common = ["explain", model, picture, "--preprocess", tmp_path / "grey.yaml", "--method", "saliency", "--method",
              "grad-cam", "--metric", "deletion", "--metric", "sanity"]  # fmt: skip
    done = command(*common, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert set(report["methods"]) == {"saliency", "grad-cam"} and set(report["metrics"]) == {"deletion", "sanity"}
    assert 0 <= report["methods"]["grad-cam"]["deletion"]["mean"] <= 1
    done = command(*common, "-o", tmp_path / "a.html")
    assert done.returncode == 0 and "deletion" in done.stdout and "<svg" in (tmp_path / "a.html").read_text()
    done = command(*common, "--metric", "beauty")
    assert done.returncode == 2 and "one of insertion" in done.stderr


def test_a_box_is_explained_on_the_command_line(shared: Any, tmp_path: Any, need: Need) -> None:
    np = need("numpy")
    need("onnxruntime")
    from .test_perturb import FACES, ultraface

    np.save(tmp_path / "priors.npy", ultraface())
    (tmp_path / "faces.yaml").write_text("resize: [240, 320]\nmean: [127]\nscale: 0.0078125\n")
    model = shared / "onnx" / "ultraface" / "version-RFB-320_without_postprocessing.onnx"
    for box in FACES:
        done = command("explain", model, shared / "images" / "faces" / "mtcnn_test1.jpg", "--preprocess",
                       tmp_path / "faces.yaml", "--priors", tmp_path / "priors.npy", "--method", "layer-cam",
                       "--box", ",".join(map(str, box)), "-o", tmp_path / "a.npy")  # fmt: skip
        assert done.returncode == 0, done.stderr
        down, across = np.unravel_index(np.load(tmp_path / "a.npy")[0].argmax(), (240, 320))
        left, top, right, bottom = box
        assert left <= across <= right and top <= down <= bottom
    done = command("explain", model, tmp_path / "priors.npy", "--preprocess", "raw", "--box", "1,2", "-o", "a.png")
    assert done.returncode != 0 and "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["fullgrad", "guided-grad-cam", "score-cam", "grad-cam"])
def test_an_input_without_places_is_refused(name: str) -> None:
    np = needed("numpy")
    needed("onnxruntime")
    op = Builder("flat", 18)
    y = op.Gemm(op.input("x", "float32", (1, 4)), op.weight("w", (4, 2), np.ones(8, "f4").tobytes()))
    with pytest.raises(ConfigError, match="places"):
        explain(Explainer(op.model([op.Relu(y)])), np.ones((1, 4), "f4"), 0, name)


def test_presets_fit_models_with_channels_last_and_grey_ones(shared: Any, tmp_path: Any, need: Need) -> None:
    np = need("numpy")
    need("onnxruntime"), need("h5py")
    for name, side in (("mlperftiny_cifar10_resnet8.h5", 32), ("fer2013_mini_XCEPTION.102-0.66.hdf5", 64)):
        files = [shared / "tensorflow" / "keras" / name, shared / "images" / "goldfish.jpg"]
        done = command("explain", *files, "--preprocess", "inception", "--method", "cam", "-o", tmp_path / "a.npy")
        assert done.returncode == 0, done.stderr
        assert np.load(tmp_path / "a.npy").shape == (1, side, side)


def test_channels_are_where_the_model_has_them(fixtures: Any, tmp_path: Any) -> None:
    """Arrays come without a record that would say it."""
    np = needed("numpy")
    needed("onnxruntime"), needed("h5py")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((2, 16, 12, 1), "f4"))
    for suffix in ("npy", "png", "html"):
        done = command(
            "explain", fixtures / "digits" / "digits.keras", tmp_path / "x.npy", "-o", tmp_path / f"a.{suffix}"
        )
        assert done.returncode == 0, done.stderr
    assert np.load(tmp_path / "a.npy").shape == (2, 16, 12)


def test_what_is_no_picture_is_not_drawn(tmp_path: Any) -> None:
    np = needed("numpy")
    needed("onnxruntime")
    op = Builder("signal", 18)
    w = op.weight("w", (4, 1, 3), np.arange(12, dtype="f4").tobytes())
    y = op.Relu(op.Conv(op.input("x", "float32", (1, 1, 8)), w, kernel_shape=(3,)))
    proto.write(op.model([op.ReduceMean(y, op.constant([1, 2]), keepdims=0)]), tmp_path / "signal.onnx")
    np.save(tmp_path / "x.npy", np.ones((1, 1, 8), "f4"))
    common = ["explain", tmp_path / "signal.onnx", tmp_path / "x.npy", "-o"]
    assert command(*common, tmp_path / "a.npy").returncode == 0
    done = command(*common, tmp_path / "a.png")
    assert done.returncode == 2 and "is no picture" in done.stderr
    done = command(*common, tmp_path / "a.npy", "--target", "3")
    assert done.returncode == 2 and "has no classes" in done.stderr


def test_labels_may_be_a_dictionary(tmp_path: Any) -> None:
    from graphviz_nets.cli.work import _labels

    path = tmp_path / "labels.txt"
    path.write_text("""{0: 'tench',\n 1: "jack-o'-lantern",\n 2: 'wolf'}\n""")
    assert _labels(path) == ["tench", "jack-o'-lantern", "wolf"]
    path.write_text("tench\n\n goldfish \n")
    assert _labels(path) == ["tench", "goldfish"]
