"""Attribution methods against published values, Captum, zennit, and float64 torch on whole nets."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graphviz_nets import api
from graphviz_nets.config import Options
from graphviz_nets.converters.caffe import converter
from graphviz_nets.errors import ConfigError, NoRule, RunError
from graphviz_nets.explain.backward import grad
from graphviz_nets.explain.explainer import Explainer
from graphviz_nets.explain.methods import explain, gradients, heat, method, seeds
from graphviz_nets.explain.prepare import prepare
from graphviz_nets.explain.runner import Runner, doubled, reference
from graphviz_nets.explain.together import together
from graphviz_nets.graph import proto
from graphviz_nets.graph.builder import Builder
from graphviz_nets.graph.ir import Model

from .conftest import ALL
from .torchvision_shim import torchvision

Need = Callable[[str], Any]
FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "caffe"


def exported(module: Any, x: Any, **options: Any) -> Model:
    """Return a torch module as our IR, by torch's own exporter."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module, x if isinstance(x, tuple) else (x,), dynamo=True, optimize=False, verbose=False, **options
        )
    return proto.from_proto(program.model_proto)


@pytest.fixture(scope="module")
def vision(need: Need) -> Any:
    """Return torchvision, whose own operations are not in this build of torch."""
    need("torch")
    try:
        return torchvision()
    except ModuleNotFoundError:
        return need("torchvision")


# Published values -------------------------------------------------------------------------------------------------


def one_conv() -> Model:
    """Captum's BasicModel_ConvNet_One_Conv, with its ReLU behind the scores."""
    import numpy as np

    op = Builder("one conv", 18)
    x = op.input("x", "float32", (1, 1, 4, 4))
    w = op.weight("w", (2, 1, 3, 3), np.ones((2, 1, 3, 3), "f4").tobytes())
    b = op.weight("b", (2,), np.array([-50, -75], "f4").tobytes())
    y = op.Flatten(op.Relu(op.Conv(x, w, b, kernel_shape=(3, 3))), axis=1)
    rows = np.tile(np.array([1, 1, 1, 1, 1, -1, -1, -1], "f4"), (4, 1))
    y = op.Gemm(y, op.weight("fc", (4, 8), rows.tobytes()), transB=1)
    return op.model([op.Relu(y)])


@pytest.mark.parametrize(("name", "rows"), [
    ("saliency", [[0, 1, 1, 1], [0, 1, 1, 1], [0, 1, 1, 1], [0, 0, 0, 0]]),
    ("guided-backprop", [[0, 1, 1, 1], [1, 3, 3, 2], [1, 3, 3, 2], [1, 2, 2, 1]]),
    ("deconvnet", [[2, 3, 3, 1], [3, 5, 5, 2], [3, 5, 5, 2], [1, 2, 2, 1]]),
])  # fmt: skip
def test_published_values_come_out_exactly(name: str, rows: list[list[int]], need: Need) -> None:
    np = need("numpy")
    need("onnxruntime")
    x = np.arange(16, dtype="f4").reshape(1, 1, 4, 4)
    assert explain(Explainer(one_conv()), x, 0, name).tolist() == [[rows]]


# Captum and zennit ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nets(need: Need) -> Any:
    """Return small torch nets by name, an input, and an explainer of each."""
    torch = need("torch")
    nn = torch.nn
    torch.manual_seed(0)

    def net(pool: Any) -> Any:
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), pool, nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2),
            nn.Flatten(), nn.Linear(12 * 16, 32), nn.ReLU(), nn.Linear(32, 5),
        ).eval()  # fmt: skip

    linear_pool = nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * 49, 5)).eval()
    x = torch.randn(2, 3, 16, 16)
    found = {"max": net(nn.MaxPool2d(2)), "average": net(nn.AvgPool2d(2)), "pool": linear_pool}
    return x, {name: (module, Explainer(exported(module, x))) for name, module in found.items()}


def close(a: Any, b: Any, limit: float = 1e-5) -> None:
    import numpy as np

    b = b.detach().numpy()
    assert a.shape == b.shape and np.abs(a - b).max() <= limit * np.abs(b).max()


def captums(peer: str, module: Any, x: Any, **options: Any) -> Any:
    """Return an attribution by Captum, which warns of what it does to its inputs."""
    import captum.attr

    x = tuple(one.clone() for one in x) if isinstance(x, tuple) else x.clone()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(captum.attr, peer)(module).attribute(x, **options)


@pytest.mark.parametrize(("name", "peer"), [
    ("saliency", "Saliency"), ("input-x-gradient", "InputXGradient"), ("integrated-gradients", "IntegratedGradients"),
    ("guided-backprop", "GuidedBackprop"), ("deconvnet", "Deconvolution"),
])  # fmt: skip
def test_methods_agree_with_captum(name: str, peer: str, nets: Any, need: Need) -> None:
    need("captum.attr")
    x, found = nets
    module, explainer = found["max"]
    close(explain(explainer, x.numpy(), 3, name), captums(peer, module, x, target=3))


@pytest.mark.parametrize("name", ["average", "pool"])
def test_deeplift_agrees_with_captum(name: str, nets: Any, need: Need) -> None:
    need("captum.attr")
    torch = need("torch")
    x, found = nets
    module, explainer = found[name]
    base = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    theirs = captums("DeepLift", module, x, baselines=base.expand_as(x), target=3)
    close(explain(explainer, x.numpy(), 3, "deeplift", baseline=base.numpy()), theirs)


def test_deeplift_adds_up_where_captums_does_not(nets: Any, need: Need) -> None:
    """Behind a Relu, Captum's maximum pooling takes the first sample's gradient where nothing changes."""
    np, torch = need("numpy"), need("torch")
    x, found = nets
    module, explainer = found["max"]
    base = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    rise = (module(x)[:, 3] - module(base)[:, 3]).detach().numpy()
    mine = explain(explainer, x.numpy(), 3, "deeplift", baseline=base.numpy()).reshape(2, -1).sum(1)
    assert np.abs(mine - rise).max() <= 1e-5 * np.abs(rise).max()


COMPOSITES = ("epsilon", "epsilon-plus", "epsilon-plus-flat", "epsilon-gamma", "epsilon-alpha2-beta1",
              "epsilon-alpha2-beta1-flat")  # fmt: skip


@pytest.mark.parametrize("name", COMPOSITES)
def test_relevance_agrees_with_zennit(name: str, nets: Any, vision: Any, need: Need) -> None:
    torch, composites, rules = need("torch"), need("zennit.composites"), need("zennit.rules")
    gradient = need("zennit.attribution").Gradient
    nn, base = torch.nn, composites.layer_map_base()

    def mapped(rule: Any) -> Any:
        layers = [*base, (nn.Conv2d, rule), (nn.Linear, rules.Epsilon())]
        return composites.LayerMapComposite(layer_map=layers)

    theirs = {
        "epsilon": lambda: mapped(rules.Epsilon()), "epsilon-gamma": lambda: mapped(rules.Gamma(0.25)),
        "epsilon-plus": composites.EpsilonPlus, "epsilon-plus-flat": composites.EpsilonPlusFlat,
        "epsilon-alpha2-beta1": composites.EpsilonAlpha2Beta1,
        "epsilon-alpha2-beta1-flat": composites.EpsilonAlpha2Beta1Flat,
    }  # fmt: skip
    x, found = nets
    module, explainer = found["max"]
    with torch.no_grad():
        scores = module(x)
    seed = torch.zeros_like(scores)
    seed[:, 3] = scores[:, 3]
    with gradient(model=module, composite=theirs[name]()) as attribute:
        _, relevance = attribute(x.clone().requires_grad_(True), seed)
    close(explain(explainer, x.numpy(), 3, "lrp", composite=name), relevance, 5e-5)


def test_noise_methods_are_what_they_say(nets: Any, need: Need) -> None:
    np = need("numpy")
    x, found = nets
    explainer = found["max"][1]
    data = x.numpy()
    seed = seeds(explainer.scores(data), 3)
    samples = list(gradients._noisy(explainer, data, seed, 6, 0.2, 0))
    stack = np.stack(samples).astype("f8")
    options = {"samples": 6, "noise": 0.2}
    assert np.allclose(explain(explainer, data, 3, "smoothgrad", **options), stack.mean(0), atol=1e-6)
    assert np.allclose(explain(explainer, data, 3, "smoothgrad-squared", **options), (stack**2).mean(0), atol=1e-6)
    assert np.allclose(explain(explainer, data, 3, "vargrad", **options), stack.var(0), atol=1e-7)
    # An image's noise is its own: the batch around it does not matter, and a run can be repeated.
    one = explain(explainer, data[:1], 3, "smoothgrad", **options)
    assert np.allclose(one, explain(explainer, data, 3, "smoothgrad", **options)[:1], atol=1e-6)


def test_integrated_gradients_add_up_on_a_smooth_net(need: Need) -> None:
    np = need("numpy")
    need("onnxruntime")
    rng = np.random.default_rng(0)
    op = Builder("smooth")
    x = op.input("x", "float32", (2, 5))
    y = op.MatMul(op.Tanh(op.MatMul(x, op.weight("a", (5, 7), rng.standard_normal((5, 7)).astype("f4").tobytes()))),
                  op.weight("b", (7, 3), rng.standard_normal((7, 3)).astype("f4").tobytes()))  # fmt: skip
    explainer = Explainer(op.model([y]))
    data = rng.standard_normal((2, 5)).astype("f4")
    found = explain(explainer, data, 1, "integrated-gradients")
    rise = (explainer.scores(data) - explainer.scores(data * 0))[:, 1]
    assert np.abs(found.sum(1) - rise).max() <= 1e-5 * np.abs(rise).max() and "completeness" in explainer.notes[0]


# Peers' mistakes, not made here -----------------------------------------------------------------------------------


def dense(form: str) -> Any:
    """Return a net of dense layers whose activations are written in one of several ways."""
    from torch import nn, relu

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = (nn.Linear(i, o, bias=False) for i, o in ((4, 16), (16, 16), (16, 3)))
            self.act = nn.ReLU6() if form == "relu6" else nn.ReLU()

        def forward(self, x: Any) -> Any:
            if form == "reused":
                return self.c(self.act(self.b(self.act(self.a(x)))))
            if form == "residual":
                h = self.act(self.a(x))
                return self.c(relu(self.b(h)) + h)
            return self.c(relu(self.a(x)) if form == "functional" else self.act(self.a(x)))

    return Net().eval()


@pytest.fixture
def asked(need: Need) -> Callable[[str], tuple[Any, Any, Explainer]]:
    """Return a function that gives a net, inputs, and an explainer of the net."""
    torch = need("torch")
    need("onnxruntime")

    def made(form: str) -> tuple[Any, Any, Explainer]:
        torch.manual_seed(0)
        module, x = dense(form), 4 * torch.randn(3, 4)
        return module, x, Explainer(exported(module, x))

    return made


def test_integration_loses_nothing_of_a_linear_score(need: Need) -> None:
    """The weights of Captum's trapezoids sum to (n - 1) / n."""
    need("captum.attr")
    torch, np = need("torch"), need("numpy")
    torch.manual_seed(0)
    module, x = torch.nn.Linear(4, 3, bias=False).eval(), torch.randn(2, 4)
    score = module(x)[:, 1].detach().numpy()
    theirs = captums("IntegratedGradients", module, x, target=1, n_steps=5, method="riemann_trapezoid")
    assert np.allclose(theirs.sum(1).detach().numpy(), 0.8 * score, rtol=1e-5)
    mine = explain(Explainer(exported(module, x)), x.numpy(), 1, "integrated-gradients", steps=5)
    assert np.allclose(mine.sum(1), score, rtol=1e-5)


@pytest.mark.parametrize("form", ["functional", "relu6"])
def test_every_rectifier_is_guided(form: str, asked: Any, need: Need) -> None:
    """Captum hooks nn.ReLU alone: a functional one or a ReLU6 passes the plain gradient, and nobody is told."""
    need("captum.attr")
    np = need("numpy")
    module, x, explainer = asked(form)
    plain = captums("Saliency", module, x, target=1, abs=False).detach().numpy()
    theirs = captums("GuidedBackprop", module, x, target=1).detach().numpy()
    first, last = (layer.weight.detach().numpy() for layer in (module.a, module.c))
    h = x.numpy() @ first.T
    inside = (h > 0) & ((h < 6) | (form == "functional"))
    real = (np.maximum(last[1], 0) * inside) @ first
    mine = explain(explainer, x.numpy(), 1, "guided-backprop")
    assert np.allclose(theirs, plain) and not np.allclose(real, plain) and np.allclose(mine, real, atol=1e-5)


def test_an_activation_may_be_used_twice(asked: Any, need: Need) -> None:
    """Captum's DeepLIFT keeps what it needs on the module, and refuses."""
    need("captum.attr")
    np = need("numpy")
    module, x, explainer = asked("reused")
    with pytest.raises(RuntimeError, match="DeepLift"):
        captums("DeepLift", module, x, target=1)
    mine = explain(explainer, x.numpy(), 1, "deeplift")
    assert np.allclose(mine.sum(1), module(x)[:, 1].detach().numpy(), rtol=1e-4)


def test_relevance_is_kept_over_a_sum(asked: Any, need: Need) -> None:
    """Captum's LRP does not see an addition that is no module, so relevance is made of nothing there."""
    need("captum.attr")
    np = need("numpy")
    module, x, explainer = asked("residual")
    score = module(x)[:, 1].detach().numpy()
    theirs = captums("LRP", module, x, target=1).sum(1).detach().numpy()
    mine = explain(explainer, x.numpy(), 1, "lrp", composite="epsilon").sum(1)
    assert np.allclose(mine, score, rtol=1e-3) and np.abs(theirs / score - 1).max() > 0.1


# Whole nets against torch -----------------------------------------------------------------------------------------

NETS = ["resnet18", "mobilenet_v3_small"]
MORE = [
    "shufflenet_v2_x1_0", "googlenet", "convnext_tiny", "vit_b_32", "resnet50", "densenet121", "inception_v3", "swin_t",
]  # fmt: skip


def near(mine: Any, single: Any, real: Any) -> None:
    """Within 1e-5 of float64, or twice what the framework itself misses in float32: one Relu that flips moves a lot."""
    import numpy as np

    top = np.abs(real).max()
    assert top > 0 and mine.shape == real.shape
    assert np.abs(mine - real).max() / top <= max(1e-5, 2 * np.abs(single - real).max() / top)


def torchs(module: Any, x: Any, target: int) -> list[Any]:
    """Return torch's gradients of an image's score, in float32 and in float64."""
    import torch

    found = []
    for dtype in (torch.float32, torch.float64):
        value = x.detach().clone().to(dtype).requires_grad_(True)
        module.to(dtype)(value)[0, target].backward()
        found.append(value.grad.double().numpy())
    return found


@pytest.mark.parametrize("name", [*NETS, *(MORE if ALL else ())])
def test_gradients_of_nets_equal_torchs(name: str, vision: Any, need: Need) -> None:
    np, torch = need("numpy"), need("torch")
    torch.manual_seed(0)
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    module = getattr(vision.models, name)(weights=None, **options).eval()
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 1.5)
    if name.startswith("vit"):
        torch.nn.init.normal_(module.heads.head.weight, 0, 0.02)
    side = 299 if name == "inception_v3" else 224 if name.startswith(("vit", "swin")) else 96
    x = torch.randn(1, 3, side, side)
    versions = {"opset_version": 23} if name == "vit_b_32" else {}
    model = exported(module, x, **versions)
    if versions:
        assert any(node.op_type == "Attention" for node in model.graph.nodes)
    near(Explainer(model).gradient(x.numpy(), seeds(np.zeros((1, 1000)), 7)), *torchs(module, x, 7))


def unet(torch: Any) -> Any:
    """Return a small U-Net: down, up by interpolation and by transposed convolution, skips, group norm."""
    nn = torch.nn

    def block(i: int, o: int) -> Any:
        return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.GroupNorm(2, o), nn.SiLU())

    class Net(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.three = block(3, 8), block(8, 16), block(16, 16)
            self.up, self.last = nn.ConvTranspose2d(16, 8, 2, 2), nn.Conv2d(24, 4, 1)

        def forward(self, x: Any) -> Any:
            a = self.one(x)
            b = self.two(nn.functional.max_pool2d(a, 2))
            c = nn.functional.interpolate(self.three(nn.functional.avg_pool2d(b, 2)), scale_factor=4, mode="bilinear")
            return self.last(torch.cat([self.up(b), c], 1))

    return Net().eval()


def language(torch: Any) -> Any:
    """Return a tiny encoder of words."""
    nn = torch.nn

    class Net(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(50, 16)
            layer = nn.TransformerEncoderLayer(16, 4, 32, activation="gelu", batch_first=True)
            self.body, self.head = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(16, 3)

        def forward(self, ids: Any) -> Any:
            return self.head(self.body(self.words(ids)).mean(1))

    return Net().eval()


def test_segmentation_and_language_nets(need: Need) -> None:
    np, torch = need("numpy"), need("torch")
    torch.manual_seed(0)
    module, x = unet(torch), torch.randn(1, 3, 32, 32)
    explainer = Explainer(exported(module, x))
    mine = explainer.gradient(x.numpy(), seeds(np.zeros((1, 4, 32, 32)), 2))
    value = x.double().requires_grad_(True)
    module.double()(value)[:, 2].sum().backward()
    assert np.abs(mine - value.grad.numpy()).max() <= 1e-5 * np.abs(value.grad.numpy()).max()

    module, ids = language(torch), torch.randint(0, 50, (1, 7))
    model = exported(module, ids)
    embedded = next(node.outputs[0] for node in model.graph.nodes if node.op_type == "Gather")
    with pytest.raises(ConfigError, match="embedding"):
        Explainer(model).gradient(ids.numpy(), seeds(np.zeros((1, 3)), 1))
    explainer = Explainer(model, wrt=embedded)
    mine = explainer.gradient(ids.numpy(), seeds(np.zeros((1, 3)), 1))
    words = module.double().words(ids).detach().requires_grad_(True)
    module.head(module.body(words).mean(1))[0, 1].backward()
    assert np.abs(mine - words.grad.numpy()).max() <= 1e-5 * np.abs(words.grad.numpy()).max()


def test_second_derivatives_follow_from_the_same_rules(need: Need) -> None:
    np = need("numpy")
    rng = np.random.default_rng(0)
    op = Builder("twice")
    x = op.input("x", "float32", (1, 2, 4, 4))
    w = op.weight("w", (3, 2, 3, 3), rng.standard_normal((3, 2, 3, 3)).astype("f4").tobytes())
    y = op.GlobalAveragePool(op.Tanh(op.Conv(x, w, kernel_shape=(3, 3), pads=(1, 1, 1, 1))))
    first = grad(op.graph([y]), y, ["x"])
    second = grad(first.graph, first.gradients["x"], ["x"])
    model = doubled(Model(second.graph))
    data, direction = rng.standard_normal((1, 2, 4, 4)), rng.standard_normal((1, 2, 4, 4))
    feeds = {"x": data, first.seed: np.ones((1, 3, 1, 1)), second.seed: direction}
    mine = reference(model, feeds)[second.gradients["x"]]
    once = doubled(Model(first.graph))

    def slope(at: Any) -> Any:
        return reference(once, {"x": at, first.seed: feeds[first.seed]})[first.gradients["x"]]

    real = (slope(data + 1e-5 * direction) - slope(data - 1e-5 * direction)) / 2e-5
    assert np.abs(mine - real).max() <= 1e-6 * max(1, np.abs(real).max())


def test_random_convolutions_agree_with_torch(need: Need) -> None:
    """512 configurations: one to three axes, groups, strides, dilations, pads that differ at both ends."""
    np, torch = need("numpy"), need("torch")
    need("onnxruntime")
    rng = np.random.default_rng(0)
    done = 0
    while done < (512 if ALL else 60):
        rank = int(rng.integers(1, 4))
        group = int(rng.choice([1, 1, 2, 3]))
        channels, outputs = group * int(rng.integers(1, 3)), group * int(rng.integers(1, 3))
        size = [int(rng.integers(4, 9 if rank < 3 else 6)) for _ in range(rank)]
        kernel = [int(rng.integers(1, 4)) for _ in range(rank)]
        stride, dilation = ([int(rng.integers(1, 4)) for _ in range(rank)] for _ in range(2))
        pads = [int(rng.integers(0, 3)) for _ in range(2 * rank)]
        if any(size[k] + pads[k] + pads[rank + k] < dilation[k] * (kernel[k] - 1) + 1 for k in range(rank)):
            continue
        op = Builder("conv")
        x = op.input("x", "float32", (2, channels, *size))
        weights = rng.standard_normal((outputs, channels // group, *kernel)).astype("f4")
        y = op.Conv(x, op.weight("w", weights.shape, weights.tobytes()), kernel_shape=kernel, strides=stride,
                    dilations=dilation, pads=pads, group=group)  # fmt: skip
        found = grad(op.graph([y]), y, ["x"])
        data = rng.standard_normal((2, channels, *size)).astype("f4")
        seed = rng.standard_normal(op.shape(y)).astype("f4")
        runner = Runner(Model(found.graph), [found.gradients["x"]], provider="cpu")
        mine = runner({"x": data, found.seed: seed})[found.gradients["x"]]
        value = torch.tensor(data.astype("f8"), requires_grad=True)
        wide = torch.nn.functional.pad(value, [p for k in reversed(range(rank)) for p in (pads[k], pads[rank + k])])
        convolve = (torch.nn.functional.conv1d, torch.nn.functional.conv2d, torch.nn.functional.conv3d)[rank - 1]
        out = convolve(wide, torch.tensor(weights.astype("f8")), None, stride, 0, dilation, group)
        (out * torch.tensor(seed.astype("f8"))).sum().backward()
        real = value.grad.numpy()
        assert np.abs(mine - real).max() <= 1e-5 * max(1, np.abs(real).max()), (
            size,
            kernel,
            stride,
            dilation,
            pads,
            group,
        )
        done += 1


# What cannot be differentiated, targets, several inputs ----------------------------------------------------------


def test_what_has_no_rule_says_what_to_do(need: Need) -> None:
    need("onnxruntime")
    text = 'layer { name: "x" type: "Input" top: "x" top: "c" input_param { shape { dim: 3 dim: 2 dim: 4 } } }'
    text = text.replace('top: "c" ', "") + (
        'layer { name: "c" type: "Input" top: "c" input_param { shape { dim: 3 dim: 2 } } }'
        'layer { name: "l" type: "LSTM" bottom: "x" bottom: "c" top: "y" recurrent_param { num_output: 5 } }'
    )
    model = converter.open(Path("net.prototxt"), text.encode(), Options(random_weights=1))
    explainer = Explainer(model)
    import numpy as np

    with pytest.raises(NoRule, match=r"Scan .*occlusion.*@vjp\('Scan'\)"):
        explainer.gradient(np.zeros((3, 2, 4), "f4"), np.zeros((3, 2, 5), "f4"))


def test_targets(need: Need) -> None:
    np = need("numpy")
    scores = np.array([[1.0, 5.0, 2.0], [7.0, 0.0, 3.0]])
    assert seeds(scores, "top1").tolist() == [[0, 1, 0], [1, 0, 0]]
    assert seeds(scores, "top2").tolist() == [[0, 0, 1], [0, 0, 1]]
    assert seeds(scores, 2).tolist() == [[0, 0, 1], [0, 0, 1]]
    assert seeds(scores, [0, 1]).tolist() == [[1, 0, 0], [0, 1, 0]]
    assert seeds(scores, (0, 1)).tolist() == [[1, -1, 0], [1, -1, 0]]
    assert seeds(scores, np.array([0.5, 0, 1], "f4")).tolist() == [[0.5, 0, 1], [0.5, 0, 1]]
    assert seeds(np.zeros((1, 2, 2, 2)), 1)[0, 1].tolist() == [[1, 1], [1, 1]]
    for bad in ("best", 3, -1, "top0", "top9"):
        with pytest.raises(ConfigError):
            seeds(scores, bad)
    with pytest.raises(ConfigError, match="one of saliency"):
        explain(Explainer(one_conv()), np.zeros((1, 1, 4, 4), "f4"), 0, "magic")


def test_maps_of_channels_last_and_first(need: Need) -> None:
    np = need("numpy")
    values = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    assert np.allclose(heat("lrp", values), values.sum(1)) and np.allclose(heat("saliency", values), values.max(1))
    assert np.allclose(heat("lrp", values.transpose(0, 2, 3, 1), 3), values.sum(1))


def test_a_second_input_is_given_by_name(need: Need) -> None:
    np = need("numpy")
    need("onnxruntime")
    op = Builder("two")
    x, z = op.input("x", "float32", (2, 3)), op.input("z", "float32", (2, 3))
    explainer = Explainer(op.model([op.Mul(x, z)]))
    data, other = np.ones((2, 3), "f4"), np.arange(6, dtype="f4").reshape(2, 3)
    assert (explainer.gradient(data, np.ones((2, 3), "f4"), z=other) == other).all()


def two_inputs() -> Any:
    """Return a net of an image and a vector, and one of each."""
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.see, self.know = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten()), nn.Linear(3, 8)
            self.act, self.last = nn.ReLU(), nn.Linear(4 * 9 + 8, 3)

        def forward(self, image: Any, vector: Any) -> Any:
            return self.last(torch.cat([self.see(image), self.act(self.know(vector))], 1))

    torch.manual_seed(0)
    return Net().eval(), (torch.randn(2, 2, 5, 5), torch.randn(2, 3))


@pytest.mark.parametrize(("name", "peer"), [
    ("saliency", "Saliency"), ("input-x-gradient", "InputXGradient"), ("integrated-gradients", "IntegratedGradients"),
    ("guided-backprop", "GuidedBackprop"), ("deeplift", "DeepLift"),
])  # fmt: skip
def test_several_inputs_are_explained_at_once(name: str, peer: str, need: Need) -> None:
    """As Captum explains a tuple: each on the way from its own baseline, all at the same time."""
    need("torch")
    need("captum.attr")
    need("onnxruntime")
    module, inputs = two_inputs()
    both = together(exported(module, inputs))
    mine = both.unpack(explain(Explainer(both.model), both.pack({
        part: x.numpy() for part, x in zip(both.shapes, inputs, strict=True)}), 1, name))  # fmt: skip
    for part, real in zip(mine.values(), captums(peer, module, inputs, target=1), strict=True):
        close(part, real)


def test_what_does_not_go_together_is_said(need: Need) -> None:
    np = need("numpy")
    op = Builder("two")
    model = op.model([op.Mul(op.input("a", "float32", ("n", 2)), op.input("b", "float32", ("n", "m")))])
    with pytest.raises(ConfigError, match="input b has the shape"):
        together(model)
    both = together(model, {"b": (2,)})
    a = np.ones((3, 2), "f4")
    for wrong, words in ({"a": a}, "not given"), ({"a": a, "b": a[:, :1]}, "shape"), ({"a": a, "b": a[:2]}, "3 of a"):
        with pytest.raises(RunError, match=words):
            both.pack(wrong)


@pytest.mark.parametrize("composite", COMPOSITES)
def test_relevance_of_parts_is_that_of_the_whole(composite: str, nets: Any, need: Need) -> None:
    """One input together is itself: the first layer's rule is found behind the parts, too."""
    np = need("numpy")
    x, found = nets
    whole = found["max"][1]
    both = together(exported(found["max"][0], x))
    (mine,) = both.unpack(
        explain(Explainer(both.model), both.pack({n: x.numpy() for n in both.shapes}), 3, "lrp", composite=composite)
    ).values()
    real = explain(whole, x.numpy(), 3, "lrp", composite=composite)
    assert np.abs(mine - real).max() <= 1e-5 * np.abs(real).max()


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_signals_grey_images_and_volumes(rank: int, tmp_path: Path, need: Need) -> None:
    """One channel and one to three axes, in the library and as a .npy file on the command line."""
    np, torch = need("numpy"), need("torch")
    need("onnxruntime")
    nn = torch.nn
    torch.manual_seed(0)
    conv, pool = getattr(nn, f"Conv{rank}d"), getattr(nn, f"MaxPool{rank}d")
    module = nn.Sequential(
        conv(1, 4, 3, padding=1), nn.ReLU(), pool(2), conv(4, 4, 3, stride=2), nn.Flatten(), nn.LazyLinear(3)
    ).eval()
    x = torch.randn(2, 1, *(9, 8, 7)[:rank])
    module(x)
    model = exported(module, x)
    value = x.double().requires_grad_(True)
    module.double()(value)[:, 2].sum().backward()
    close(Explainer(model).gradient(x.numpy(), seeds(np.zeros((2, 3)), 2)), value.grad)
    np.save(tmp_path / "x.npy", x.numpy())
    api.save(model, tmp_path / "net.onnx")
    done = command("explain", tmp_path / "net.onnx", tmp_path / "x.npy", "--target", "2", "-o", tmp_path / "map.npy")
    assert done.returncode == 0, done.stderr
    assert np.allclose(np.load(tmp_path / "map.npy"), value.grad[:, 0].abs().numpy(), rtol=1e-3, atol=1e-6)


def test_preparing_keeps_numbers_and_fixes_sizes(need: Need) -> None:
    np = need("numpy")
    need("onnxruntime")
    model = api.load(FIXTURES / "lenet.prototxt", random_weights=1)
    simple = prepare(model, {"data": (2, 1, 28, 28)}, keep=["pool1"])
    assert simple.graph.value("prob").shape == (2, 10) and simple.graph.outputs == ("prob", "pool1")
    x = np.random.default_rng(0).standard_normal((2, 1, 28, 28)).astype("f4")
    for name, array in Runner(simple)(x).items():
        whole = Runner(model, [name])(x)[name]
        assert np.abs(array - whole).max() <= 1e-5 * max(1, np.abs(whole).max())


def test_what_is_taken_apart_goes_back_as_one(need: Need) -> None:
    np = need("numpy")
    need("onnxruntime")
    data, factors = np.random.default_rng(0).standard_normal((2, 4, 3)).astype("f4"), (2.0, 3.0, 5.0, 7.0)
    for rows, split in (((0, 1, -1, 0), True), ((0, 1, 1, 0), False)):
        op = Builder("rows")
        x = op.input("x", "float32", (2, 4, 3))
        parts = [op.Mul(op.Gather(x, op.constant([k], "int64", ()), axis=2), op.scalar(f))
                 for k, f in zip(rows, factors, strict=True)]  # fmt: skip
        explainer = Explainer(op.model([op.Sum(*parts)]))
        assert ("Split" in {node.op_type for node in explainer.model.graph.nodes}) is split
        assert np.allclose(explainer.scores(data), sum(f * data[..., k] for k, f in zip(rows, factors, strict=True)))
        real = np.zeros(data.shape)
        for k, f in zip(rows, factors, strict=True):
            real[..., k] += f
        assert np.allclose(explainer.gradient(data, np.ones((2, 4), "f4")), real)


# The command ------------------------------------------------------------------------------------------------------


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "graphviz_nets", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


@pytest.fixture
def digit(tmp_path: Path, need: Need) -> tuple[Path, Path]:
    """Return LeNet with random weights as ONNX, and a picture of a stroke."""
    np, image = need("numpy"), need("PIL.Image")
    need("onnxruntime")
    pixels = np.zeros((28, 28), "u1")
    pixels[4:24, 12:16] = 255
    image.fromarray(pixels).save(tmp_path / "one.png")
    model = api.load(FIXTURES / "lenet.prototxt", random_weights=1, input_shapes={"data": (None, (1, 1, 28, 28))})
    return api.save(model, tmp_path / "lenet.onnx"), tmp_path / "one.png"


def test_explain_writes_every_kind_of_file(digit: tuple[Path, Path], tmp_path: Path) -> None:
    import numpy as np
    from PIL import Image

    model, picture = digit
    (tmp_path / "grey.yaml").write_text("channels: grey\nscale: 0.00390625\n")
    common = ["explain", model, picture, picture, "--preprocess", tmp_path / "grey.yaml"]
    done = command(*common, "--method", "integrated-gradients", "-o", tmp_path / "a.npy")
    assert done.returncode == 0 and "completeness" in done.stderr, done.stderr
    found = np.load(tmp_path / "a.npy")
    assert found.shape == (2, 28, 28) and found.dtype == np.float32 and (found[0] == found[1]).all() and found.any()
    assert command(*common, "--raw", "-o", tmp_path / "b.npy").returncode == 0
    assert np.load(tmp_path / "b.npy").shape == (2, 1, 28, 28)
    done = command(*common, "--method", "saliency", "--method", "lrp", "-o", tmp_path / "a.png", "--target", "3")
    assert done.returncode == 0
    with Image.open(tmp_path / "a.png") as sheet:
        assert sheet.size == (8 + 5 * 120, 8 + 2 * (22 + 120))  # enlarged four times, with titles
    (tmp_path / "labels.txt").write_text("\n".join(f"<b>digit {k}</b>" for k in range(10)))
    done = command(*common, "--labels", tmp_path / "labels.txt", "--target", "digit 3", "-o", tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text()
    assert done.returncode == 0 and "&lt;b&gt;digit" in page and "<b>" not in page and "default-src 'none'" in page
    first = page
    command(*common, "--labels", tmp_path / "labels.txt", "--target", "digit 3", "-o", tmp_path / "a.html")
    assert (tmp_path / "a.html").read_text() == first


@pytest.mark.parametrize(("more", "code", "words"), [
    (["-o", "x.npy"], 2, "--preprocess"), (["-o", "x.gif"], 2, "-o"), (["--preprocess", "raw"], 2, "-o"),
    (["--preprocess", "raw", "--method", "magic", "-o", "x.png"], 2, "one of saliency"),
    (["--preprocess", "imagenet", "-o", "x.png"], 2, "channels: the image has 3, the model takes 1"),
    (["--preprocess", "grey.yaml", "--target", "cat", "-o", "x.png"], 2, "--labels FILE"),
    (["--preprocess", "grey.yaml", "--target", "11", "-o", "x.png"], 2, "0 to 9"),
    (["--preprocess", "grey.yaml", "--provider", "cuda", "-o", "x.png"], 4, "graphviz-nets[gpu]"),
])  # fmt: skip
def test_explain_says_what_is_wrong(
    digit: tuple[Path, Path], tmp_path: Path, more: list[str], code: int, words: str
) -> None:
    model, picture = digit
    (tmp_path / "grey.yaml").write_text("channels: grey\n")
    done = command("explain", model, picture, *(tmp_path / one if one.endswith(".yaml") else one for one in more))
    assert done.returncode == code and words in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_files_of_several_inputs_are_named(tmp_path: Path, need: Need) -> None:
    np = need("numpy")
    need("onnxruntime")
    op = Builder("two")
    y = op.MatMul(op.Mul(op.input("a", "float32", ("n", 2)), op.input("b", "float32", ("n", 2))),
                  op.weight("w", (2, 1), np.array([1, 10], "f4").tobytes()))  # fmt: skip
    api.save(op.model([y]), tmp_path / "two.onnx")
    rows = {"a": np.array([[1, 2], [3, 4]], "f4"), "b": np.array([[5, 6], [7, 8]], "f4")}
    given = []
    for name, row in rows.items():
        np.save(tmp_path / f"{name}.npy", row)
        given.append(f"{name}={tmp_path / name}.npy")
    common = ["explain", tmp_path / "two.onnx", *given, "--target", "0"]
    out = tmp_path / "out.npz"
    assert command(*common, "-o", out).returncode == 0
    found = np.load(out)
    assert sorted(found) == ["a", "b"] and (found["a"] == rows["b"] * [1, 10]).all()
    first = out.read_bytes()
    assert command(*common, "-o", out).returncode == 0 and out.read_bytes() == first
    both = command(*common, "--method", "integrated-gradients", "--method", "input-x-gradient", "-o", out)
    assert both.returncode == 0 and "integrated-gradients/b" in np.load(out), both.stderr
    # The score is a product, so each input gets half of it where both are on their way.
    assert np.allclose(np.load(out)["integrated-gradients/a"], rows["a"] * rows["b"] * [0.5, 5], rtol=1e-5)
    for wrong, code, words in (
        ([given[0], tmp_path / "b.npy"], 2, "NAME=FILE for each"), ([given[0]], 3, "b: this input is not given"),
        ([tmp_path / "a.npy"], 3, "explain takes NAME=FILE for each input"),
    ):  # fmt: skip
        done = command("explain", tmp_path / "two.onnx", *wrong, "-o", out)
        assert done.returncode == code and words in done.stderr, done.stderr
    assert command(*common, "-o", tmp_path / "out.png").returncode == 2


def test_methods_are_listed(need: Need) -> None:
    done = command("explain", "--list-methods")
    assert done.returncode == 0 and [line.split()[0] for line in done.stdout.splitlines()] == list(method)
    assert {"saliency", "grad-cam"} <= set(method)


def test_an_attribution_is_a_model_of_its_own(digit: tuple[Path, Path], tmp_path: Path, need: Need) -> None:
    """It runs in a bare onnxruntime, without us."""
    np, ort, onnx = need("numpy"), need("onnxruntime"), need("onnx")
    model, _ = digit
    out = tmp_path / "saliency.onnx"
    done = command("convert", model, "-o", out, "--with-gradient", "guided-backprop")
    assert done.returncode == 0 and "'ip2/seed'" in done.stderr, done.stderr
    onnx.checker.check_model(onnx.load(out), full_check=True)
    assert {entry.domain for entry in onnx.load(out).opset_import} <= {"", "ai.onnx"}
    x = np.random.default_rng(0).standard_normal((1, 1, 28, 28)).astype("f4")
    seed = np.eye(10, dtype="f4")[3:4]
    session = ort.InferenceSession(out.read_bytes(), providers=["CPUExecutionProvider"])
    (found,) = session.run(["data/gradient"], {"data": x, "ip2/seed": seed})
    assert np.allclose(found, explain(Explainer(api.load(model)), x, 3, "guided-backprop"), atol=1e-6)
    assert command("convert", model, "-o", out, "--with-gradient", "magic").returncode == 2


def test_the_gallery_is_whole(digit: tuple[Path, Path]) -> None:
    import numpy as np

    from graphviz_nets.explain.gallery import Explained, Map, page

    maps = [Map("lrp", np.ones((2, 2)), True, "words <b>")]
    one = Explained("<script>", np.zeros((2, 2, 3), "u1"), [("a", 1.0), ("b", 0.5), ("c", -9.0)], maps, "<i>")
    text = page("</style>", "about", [one])
    assert re.findall(r'data-share="(.*?)"', text) == ["100", "50", "0"]
    assert (
        text.count("<script>") == 1
        and text.count("</style>") == 1
        and io.StringIO(text).readline() == "<!DOCTYPE html>\n"
    )


def test_a_net_without_weights_says_what_to_give(need: Need) -> None:
    need("onnxruntime")
    model = api.load(FIXTURES / "lenet.prototxt")
    for attempt in (Runner, prepare):
        with pytest.raises(RunError, match="no data") as fault:
            attempt(model)
        assert "--weights" in str(fault.value.hint)


def test_random_weights_are_for_caffe_nets_alone(tmp_path: Path) -> None:
    op = Builder("net")
    api.save(op.model([op.Relu(op.input("x", "float32", (1, 2)))]), tmp_path / "net.onnx")
    with pytest.raises(ConfigError, match="random weights go with a Caffe net"):
        api.load(tmp_path / "net.onnx", random_weights=1)


def test_an_array_of_another_size_is_refused(digit: tuple[Path, Path], tmp_path: Path) -> None:
    import numpy as np

    np.save(tmp_path / "small.npy", np.zeros((1, 1, 8, 8), "f4"))
    done = command("explain", digit[0], tmp_path / "small.npy", "-o", tmp_path / "a.npy")
    assert done.returncode == 3 and "(1, 1, 8, 8) does not fit the input" in done.stderr, done.stderr
