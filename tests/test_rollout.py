"""Rollout of attention against its definition, in float64 on what hooks in torch see, and what it cannot follow."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from fixtures.vit.make import SIDE, pictures
from graphviz_nets.api import load
from graphviz_nets.errors import ConfigError
from graphviz_nets.explain.explainer import Explainer
from graphviz_nets.explain.methods import explain, rollout
from graphviz_nets.explain.together import together
from graphviz_nets.graph.builder import Builder

from .test_explain import exported, vision  # noqa: F401

Need = Callable[[str], Any]


@dataclass(frozen=True)
class Net:
    """A module, how it is exported, what shows its attention, the tokens it reads, and its grid."""

    module: Any
    opset: int
    attended: Callable[[Any, Any], tuple[Any, list[Any]]]
    read: tuple[int, ...]
    grid: tuple[int, int]
    size: tuple[int, int]


def seen(modules: Callable[[Any], Any]) -> Callable[[Any, Any], tuple[Any, list[Any]]]:
    """Return a function that runs a model and returns the scores and the weights in its MultiheadAttentions."""

    def attended(model: Any, x: Any) -> tuple[Any, list[Any]]:
        import torch

        found: list[Any] = []

        def softmax(*args: Any, **options: Any) -> Any:
            found.append(kept(*args, **options))
            found[-1].retain_grad()
            return found[-1]

        kept = torch.nn.functional.softmax
        with ExitStack() as patches:
            patches.enter_context(patch("torch.nn.functional.softmax", softmax))
            for one in modules(model):  # asked for weights, torch computes them one step after the other
                patches.enter_context(patch.object(one, "forward", partial(asked, one.forward)))
            return model(x), found

    return attended


def asked(forward: Any, q: Any, k: Any, v: Any, **options: Any) -> Any:
    return forward(q, k, v, need_weights=True)


def of_torchvision(vision: Any, opset: int, **sizes: Any) -> Net:  # noqa: F811
    import torch

    torch.manual_seed(3)
    net = vision.models.vision_transformer.VisionTransformer(
        image_size=32, patch_size=8, num_layers=3, num_heads=4, hidden_dim=32, mlp_dim=48, num_classes=5
    ).eval()
    torch.nn.init.normal_(net.heads.head.weight)
    torch.nn.init.normal_(net.class_token)
    for block in net.encoder.layers:  # so that tokens differ in whom they attend to
        torch.nn.init.normal_(block.self_attention.in_proj_weight, std=0.5)
    return Net(net, opset, seen(lambda m: [b.self_attention for b in m.encoder.layers]), (0,), (4, 4), (32, 32))


def of_transformers(need: Need) -> Net:
    torch, transformers = need("torch"), need("transformers")
    torch.manual_seed(4)
    config = transformers.ViTConfig(
        hidden_size=24, num_hidden_layers=3, num_attention_heads=3, intermediate_size=32, image_size=[32, 48],
        patch_size=8, num_labels=5, attn_implementation="eager", initializer_range=0.4,
    )  # fmt: skip

    class Scores(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net = transformers.ViTForImageClassification(config)

        def forward(self, x: Any) -> Any:
            return self.net(x).logits

    def attended(model: Any, x: Any) -> tuple[Any, list[Any]]:
        found = model.net(x, output_attentions=True)
        for one in found.attentions:
            one.retain_grad()
        return found.logits, list(found.attentions)

    return Net(Scores().eval(), 18, attended, (0,), (4, 6), (32, 48))


def of_ours(need: Need, read: tuple[int, ...], before: int, opset: int = 18) -> Net:
    """Return a net of MultiheadAttentions that ask for weights (so torch exports heads in the batch's axis)."""
    torch = need("torch")
    nn = torch.nn
    torch.manual_seed(5)

    class Tokens(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, 16, 8, 8)
            self.first = nn.Parameter(torch.randn(1, before, 16))
            self.attention = nn.ModuleList(nn.MultiheadAttention(16, 2, batch_first=True) for _ in range(2))
            self.head = nn.Linear(16, 5)
            for one in self.attention:
                nn.init.normal_(one.in_proj_weight, std=0.6)

        def forward(self, x: Any) -> Any:
            t = self.patches(x).flatten(2).transpose(1, 2)
            t = torch.cat([self.first.expand(len(t), -1, -1), t], 1)
            for one in self.attention:
                t = t + one(t, t, t, need_weights=True)[0]
            return self.head(t[:, read[0] : read[-1] + 1].mean(1))

    return Net(Tokens().eval(), opset, seen(lambda m: m.attention), read, (4, 4), (32, 32))


NETS = ("torchvision", "torchvision, Attention", "transformers", "mean", "class token unread", "distilled")


@pytest.fixture(scope="module")
def nets(need: Need, vision: Any) -> dict[str, tuple[Net, Explainer, Any]]:  # noqa: F811
    """Return nets by name, each with an explainer and two images."""
    torch = need("torch")
    need("onnxruntime")
    found = {
        "torchvision": of_torchvision(vision, 18),
        "torchvision, Attention": of_torchvision(vision, 23),
        "transformers": of_transformers(need),
        "mean": of_ours(need, tuple(range(16)), 0),
        "class token unread": of_ours(need, tuple(range(1, 17)), 1),
        "distilled": of_ours(need, (0, 1), 2),
    }
    ready = {}
    for name, net in found.items():
        x = torch.randn(2, 3, *net.size, generator=torch.Generator().manual_seed(6))
        ready[name] = net, Explainer(exported(net.module, x, opset_version=net.opset)), x
    return ready


def naive(layers: Any, net: Net, scaled: bool = True) -> Any:
    """Return one image's map by the papers' formulas: layers (T, T), each (A + I) / 2 with rows that sum to 1."""
    import numpy as np

    tokens = len(layers[0])
    total = np.eye(tokens)
    for layer in layers:
        step = np.zeros((tokens, tokens))
        for i in range(tokens):
            for j in range(tokens):
                step[i, j] = (layer[i, j] + (i == j)) / 2 if scaled else layer[i, j] + (i == j)
            if scaled:
                step[i] /= step[i].sum()
        total = step @ total
    prefix = tokens - net.grid[0] * net.grid[1]
    return np.mean([total[i] for i in net.read], 0)[prefix:].reshape(net.grid)


def enlarged(grid: Any, size: tuple[int, int]) -> Any:
    import torch

    value = torch.tensor(grid)[None, None]
    return torch.nn.functional.interpolate(value, size, mode="bilinear", align_corners=False)[0, 0].numpy()


def hooked(net: Net, x: Any, target: int) -> tuple[list[Any], list[Any]]:
    """Return each layer's attention and its gradient in float64, (images, heads, T, T)."""
    import copy

    module = copy.deepcopy(net.module).double()
    scores, layers = net.attended(module, x.double())
    scores[:, target].sum().backward()
    assert layers
    shape = len(x), -1, *layers[0].shape[-2:]
    return [one.detach().reshape(shape).numpy() for one in layers], [one.grad.reshape(shape).numpy() for one in layers]


def least_dropped(layer: Any, share: float) -> Any:
    """Return attention without its least entries: those below which `share` of all lie, but for the first."""
    layer = layer.copy()
    order = sorted((value, i, j) for (i, j), value in dict_of(layer).items())
    for _, i, j in order[: int(layer.size * share)]:
        if (i, j) != (0, 0):
            layer[i, j] = 0
    return layer


def dict_of(layer: Any) -> dict[tuple[int, int], float]:
    return {(i, j): layer[i, j] for i in range(len(layer)) for j in range(len(layer))}


def agree(mine: Any, theirs: list[Any], net: Net) -> None:
    import numpy as np

    assert mine.shape == (2, *net.size) and mine.dtype == np.float32
    for one, other in zip(mine, theirs, strict=True):
        real = enlarged(other, net.size)
        assert np.ptp(other) > 0.05 * np.abs(other).max()  # it says something
        assert np.abs(one - real).max() <= 2e-5 * np.abs(real).max()


@pytest.mark.parametrize("name", NETS)
def test_attention_rollout_is_the_product_over_layers(name: str, nets: Any) -> None:
    net, explainer, x = nets[name]
    layers, _ = hooked(net, x, 2)
    mine = explain(explainer, x.numpy(), 2, "attention-rollout")
    agree(mine, [naive([layer[k].mean(0) for layer in layers], net) for k in range(2)], net)


@pytest.mark.parametrize("name", NETS)
def test_gradient_rollout_is_that_of_autograd(name: str, nets: Any) -> None:
    net, explainer, x = nets[name]
    layers, back = hooked(net, x, 2)
    mine = explain(explainer, x.numpy(), 2, "gradient-rollout")
    fused = [(a * g).mean(1).clip(0) for a, g in zip(layers, back, strict=True)]
    agree(mine, [naive([layer[k] for layer in fused], net) for k in range(2)], net)


@pytest.mark.parametrize("name", NETS)
def test_chefers_rule_rectifies_each_head_and_adds_layers_up(name: str, nets: Any) -> None:
    net, explainer, x = nets[name]
    layers, back = hooked(net, x, 2)
    mine = explain(explainer, x.numpy(), 2, "gradient-rollout", chefer=True)
    fused = [(a * g).clip(0).mean(1) for a, g in zip(layers, back, strict=True)]
    agree(mine, [naive([layer[k] for layer in fused], net, scaled=False) for k in range(2)], net)


@pytest.mark.parametrize("heads", rollout.HEADS)
def test_heads_become_one(heads: str, nets: Any) -> None:
    net, explainer, x = nets["transformers"]
    layers, _ = hooked(net, x, 2)
    mine = explain(explainer, x.numpy(), 2, "attention-rollout", heads=heads)
    agree(mine, [naive([getattr(layer[k], heads)(0) for layer in layers], net) for k in range(2)], net)


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_the_least_attention_is_left_out(share: float, nets: Any) -> None:
    net, explainer, x = nets["torchvision"]
    layers, back = hooked(net, x, 2)
    means = [[least_dropped(layer[k].mean(0), share) for layer in layers] for k in range(2)]
    agree(explain(explainer, x.numpy(), 2, "attention-rollout", discard=share), [naive(m, net) for m in means], net)
    fused = [(a * g).mean(1).clip(0) for a, g in zip(layers, back, strict=True)]
    kept = [[least_dropped(layer[k], share) for layer in fused] for k in range(2)]
    agree(explain(explainer, x.numpy(), 2, "gradient-rollout", discard=share), [naive(m, net) for m in kept], net)


@pytest.mark.parametrize("name", ["torchvision", "mean"])
def test_images_beside_a_fixed_batch(name: str, nets: Any) -> None:
    """The model takes two at a time; three are three maps, the same as alone."""
    import numpy as np

    _, explainer, x = nets[name]
    three = np.concatenate([x.numpy(), x.numpy()[:1] * 0.5])
    found = explain(explainer, three, 2, "gradient-rollout")
    assert len(found) == 3
    for k in range(3):
        assert np.allclose(found[k], explain(explainer, three[k : k + 1], 2, "gradient-rollout")[0], atol=1e-7)


@pytest.mark.parametrize("method", ["attention-rollout", "gradient-rollout"])
def test_an_image_beside_a_vector_has_the_map_of_the_image_alone(method: str, nets: Any) -> None:
    """Where the vector, held still, weighs the scores, the attention is the same and its gradient weighed."""
    import numpy as np
    import torch

    net, alone, x = nets["torchvision"]

    class Both(torch.nn.Module):
        def forward(self, record: Any, image: Any) -> Any:
            return net.module(image) * record

    record = torch.full((2, 5), 0.5)
    both = together(exported(Both().eval(), (record, x)))
    named = dict(zip(both.shapes, (record.numpy(), x.numpy()), strict=True))
    e = Explainer(both.model, seen=list(named)[1])
    mine, theirs = explain(e, both.pack(named), 1, method), explain(alone, x.numpy(), 1, method)
    assert mine.shape == theirs.shape == (2, 32, 32) and theirs.any()
    if method == "gradient-rollout":  # half the gradient is not half the map: rows are scaled to 1
        theirs = explain(alone, x.numpy(), np.eye(5, dtype="f4")[[1, 1]] / 2, method)
    assert np.abs(mine - theirs).max() <= 1e-5 * np.abs(theirs).max()


def test_attention_rollout_is_of_no_class_and_gradient_rollout_is(nets: Any) -> None:
    import numpy as np

    _, explainer, x = nets["torchvision"]
    maps = {name: [explain(explainer, x.numpy(), k, name) for k in (0, 1)] for name in rollout.MAPS}
    assert np.array_equal(maps["attention-rollout"][0], maps["attention-rollout"][1])
    assert np.abs(np.subtract(*maps["gradient-rollout"])).max() > 0.01 * maps["gradient-rollout"][0].max()


# What it says -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "options", "peaks", "share"), [
    ("attention-rollout", {}, 0.95, 0.45), ("attention-rollout", {"discard": 0.9}, 0.95, 0.7),
    ("gradient-rollout", {}, 0.6, 0.6), ("gradient-rollout", {"chefer": True}, 0.6, 0.6),
])  # fmt: skip
def test_a_trained_net_gathers_its_result_where_the_stripes_are(
    name: str, options: dict[str, Any], peaks: float, share: float, fixtures: Path, need: Need
) -> None:
    """They are in 15 % of a picture, and the rest is noise: most of a map lies on them, and mostly its peak."""
    np = need("numpy")
    need("onnxruntime")
    x, ways, corners = pictures(100, 2)
    explainer = Explainer(load(fixtures / "vit" / "stripes.onnx"))
    assert (explainer.scores(x).argmax(1) == ways).all()
    maps = explain(explainer, x, list(ways), name, **options)
    inside = np.zeros(maps.shape, bool)
    for one, (top, left) in zip(inside, corners, strict=True):
        one[top : top + SIDE, left : left + SIDE] = True
    flat = maps.reshape(len(maps), -1)
    assert inside.reshape(len(maps), -1)[np.arange(len(maps)), flat.argmax(1)].mean() >= peaks
    assert np.median((maps * inside).sum((1, 2)) / flat.sum(1)) >= share


# What it cannot follow --------------------------------------------------------------------------------------------


def refused(explainer: Explainer, match: str) -> None:
    import numpy as np

    for name in rollout.MAPS:
        with pytest.raises(ConfigError, match=match) as fault:
            explain(explainer, np.zeros(explainer.shape, "f4"), 0, name)
        assert fault.value.hint


def test_windows_are_refused(vision: Any, need: Need) -> None:  # noqa: F811
    torch = need("torch")
    need("onnxruntime")
    swin = vision.models.swin_transformer.SwinTransformer([4, 4], 8, [2], [2], [4, 4], num_classes=3).eval()
    explainer = Explainer(exported(swin, torch.zeros(1, 3, 32, 32), opset_version=18))
    refused(explainer, "within windows of 16 tokens, as in Swin")


def attending(tokens: tuple[int, ...], windows: int = 1, heads: int = 1, side: int = 8) -> Explainer:
    """Return layers of attention of patches with themselves, in windows with heads in one axis, merged where fewer."""
    import numpy as np

    op = Builder("tokens", opset=18)
    x = op.input("x", "float32", (1, 3, side, side))
    t = op.Reshape(x, op.constant([1, tokens[0], 3 * side * side // tokens[0]]))
    channels = 3 * side * side // tokens[0]
    for number in tokens:
        if number != op.shape(t)[1]:  # type: ignore[index]
            weight = op.weight(f"merge{number}", (number, op.shape(t)[1]), np.ones((number, 16), "f4").tobytes())  # type: ignore[index]
            t = op.MatMul(weight, t)
        inner = op.constant([windows, number // windows, heads, channels // heads])
        apart = op.constant([windows * heads, number // windows, channels // heads])
        q = op.Reshape(op.Transpose(op.Reshape(t, inner), perm=[0, 2, 1, 3]), apart)
        weights = op.Softmax(op.MatMul(q, op.Transpose(q, perm=[0, 2, 1])), axis=-1)
        back = op.constant([windows, heads, number // windows, channels // heads])
        y = op.Transpose(op.Reshape(op.MatMul(weights, q), back), perm=[0, 2, 1, 3])
        y = op.Reshape(y, op.constant([1, number, channels]))
        unit = op.weight(f"out{number}", (channels, channels), np.eye(channels, dtype="f4").tobytes())
        t = op.Add(t, op.MatMul(y, unit))
    y = op.ReduceMean(t, op.constant([1]), keepdims=0)
    head = op.weight("head", (channels, 2), np.arange(channels * 2, dtype="f4").tobytes())
    return Explainer(op.model([op.MatMul(y, head)]))


def test_windows_are_told_from_heads_in_one_axis(need: Need) -> None:
    np = need("numpy")
    need("onnxruntime")
    refused(attending((16,), windows=4, heads=2), "within windows of 4 tokens")
    found = attending((16,), windows=1, heads=4)
    assert rollout.attention(found).heads == (4,)
    maps = explain(found, np.random.default_rng(0).random((1, 3, 8, 8), "f4"), 0, "attention-rollout")
    assert maps.shape == (1, 8, 8) and np.ptp(maps) > 0


def test_merged_tokens_are_refused(need: Need) -> None:
    need("onnxruntime")
    refused(attending((16, 4)), "here 16 become 4")


def pooling(order: str) -> Explainer:
    """Return layers of attention of 16 patches: `s` to each other, `p` to 4 means of them, `r` of one token to all."""
    import numpy as np

    op = Builder("pooling", opset=18)
    t = op.Reshape(op.input("x", "float32", (1, 3, 8, 8)), op.constant([1, 16, 12]))
    for k, kind in enumerate(order):
        keys, asks = t, t
        if kind == "p":
            quarter = np.kron(np.eye(4), np.ones((1, 4)) / 4).astype("f4")
            keys = op.MatMul(op.weight(f"merge{k}", (4, 16), quarter.tobytes()), t)
        if kind == "r":
            asks = op.weight(f"probe{k}", (1, 1, 12), np.ones(12, "f4").tobytes())
        asks, keys = (op.Unsqueeze(one, op.constant([1])) for one in (asks, keys))
        seen = op.MatMul(op.Softmax(op.MatMul(asks, op.Transpose(keys, perm=[0, 1, 3, 2])), axis=-1), keys)
        seen = op.Squeeze(seen, op.constant([1]))
        t = seen if kind == "r" else op.Add(t, seen)
    y = op.ReduceMean(t, op.constant([1]), keepdims=0)
    head = op.weight("head", (12, 2), np.arange(24, dtype="f4").tobytes())
    return Explainer(op.model([op.MatMul(y, head)]))


def test_attention_to_merged_tokens_is_refused_but_not_behind_the_last_layer(need: Need) -> None:
    """As in PVT and Segformer; a probe that gathers the result, as in SigLIP, comes after all layers."""
    np = need("numpy")
    need("onnxruntime")
    refused(pooling("ps"), "16 look at 4 others")
    found = pooling("ssr")
    assert len(rollout.attention(found).names) == 2
    assert np.ptp(explain(found, np.random.default_rng(0).random((1, 3, 8, 8), "f4"), 0, "attention-rollout")) > 0


def test_where_only_some_patches_are_read_it_is_said(need: Need) -> None:
    torch = need("torch")
    net = of_ours(need, (14, 15), 0)
    x = torch.randn(1, 3, 32, 32)
    explainer = Explainer(exported(net.module, x, opset_version=18))
    maps = explain(explainer, x.numpy(), 0, "attention-rollout")
    assert maps.any() and any("only some of the patches are read" in note for note in explainer.notes)


def test_tokens_that_are_no_grid_are_refused(need: Need) -> None:
    need("onnxruntime")
    refused(attending((3,)), "3 tokens are no grid")


def test_nets_without_attention_are_refused(need: Need) -> None:
    np = need("numpy")
    need("onnxruntime")
    op = Builder("net", opset=18)
    y = op.Conv(op.input("x", "float32", (1, 1, 4, 4)), op.weight("w", (2, 1, 1, 1), np.ones(2, "f4").tobytes()))
    refused(Explainer(op.model([op.GlobalAveragePool(y)])), "the model has none")


def test_inputs_that_are_no_images_are_refused(need: Need) -> None:
    np = need("numpy")
    need("onnxruntime")
    op = Builder("net", opset=18)
    y = op.MatMul(op.input("x", "float32", (1, 4)), op.weight("w", (4, 2), np.ones(8, "f4").tobytes()))
    refused(Explainer(op.model([y])), "the input is none")


def test_wrong_options_are_said(nets: Any) -> None:
    _, explainer, x = nets["mean"]
    with pytest.raises(ConfigError, match="'median' is not known"):
        explain(explainer, x.numpy(), 0, "attention-rollout", heads="median")
    for share, said in ((1.0, "1.0 is no share"), (-0.1, "-0.1 is no value .a number from 0")):
        with pytest.raises(ConfigError, match=said):
            explain(explainer, x.numpy(), 0, "gradient-rollout", discard=share)
