"""Methods that need no gradient, against Captum, their papers' formulas, and real detectors."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from math import factorial
from pathlib import Path
from typing import Any

import pytest

from graphviz_nets import api
from graphviz_nets.errors import ConfigError, MissingExtra, RunError
from graphviz_nets.explain import images, targets
from graphviz_nets.explain.explainer import Explainer
from graphviz_nets.explain.methods import MAPS, UNSIGNED, explain, method, perturb, seeds
from graphviz_nets.graph.builder import Builder
from graphviz_nets.graph.ir import Model, Value
from graphviz_nets.graph.preprocess import Preprocess

from .conftest import ALL
from .test_explain import exported, unet

Need = Callable[[str], Any]
SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "models"
needs_models = pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real models in ../shared/models")


@pytest.fixture(scope="module")
def net(need: Need) -> Any:
    """Return a small torch net with a softmax behind its scores, an input, and an explainer whose batch is three."""
    torch = need("torch")
    need("onnxruntime")
    nn = torch.nn
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.Tanh(), nn.Flatten(),
        nn.Linear(8 * 12, 5), nn.Softmax(1),
    ).eval()  # fmt: skip
    x = torch.randn(3, 3, 12, 10)
    return module, x, Explainer(exported(module, x))


def linear(shape: tuple[int, ...], weights: Any) -> Explainer:
    """Return an explainer of a model of two scores: a weighed sum of the input, and nothing."""
    import numpy as np

    op = Builder("linear")
    x = op.input("x", "float32", shape)
    flat = op.Reshape(x, op.constant([shape[0], -1]))
    both = np.stack([weights.ravel(), 0 * weights.ravel()], 1).astype("f4")
    return Explainer(op.model([op.MatMul(flat, op.weight("w", both.shape, both.tobytes()))]))


# Every method -----------------------------------------------------------------------------------------------------

FEW: dict[str, dict[str, Any]] = {
    "occlusion": {}, "rise": {"samples": 40}, "kernel-shap": {"samples": 50}, "lime": {"samples": 60},
}  # fmt: skip
"""Options that make each method quick; d-rise has tests of its own."""


def few(name: str) -> dict[str, Any]:
    """Return them, with stripes for superpixels: those of noise are one."""
    import numpy as np

    stripes = {"segments": np.arange(120).reshape(12, 10) // 20}
    return FEW[name] | (stripes if name in ("kernel-shap", "lime") else {})


def test_every_method_has_a_case() -> None:
    assert {*FEW, "d-rise"} == perturb.MAPS <= MAPS
    assert perturb.UNSIGNED <= UNSIGNED and set(method) >= perturb.MAPS


@pytest.mark.parametrize("name", FEW)
def test_an_image_is_explained_the_same_in_every_batch(name: str, net: Any, need: Need) -> None:
    np = need("numpy")
    module, x, whole = net
    alone = Explainer(exported(module, x[:1]))
    found = explain(whole, x.numpy(), 2, name, **few(name))
    assert found.shape == (3, 12, 10) and found.dtype == np.float32
    assert np.ptp(found[0]) > 0
    for k in range(3):
        assert np.allclose(explain(alone, x[k : k + 1].numpy(), 2, name, **few(name))[0], found[k], atol=1e-6)
    if name != "occlusion":
        assert not np.allclose(explain(whole, x.numpy(), 2, name, **few(name), random=1), found, atol=1e-4)


@pytest.mark.parametrize("name", FEW)
@pytest.mark.parametrize(("shape", "axis"), [((1, 9), 0), ((2, 2, 16), 1), ((1, 5, 6, 4, 3), 4), ((1, 6, 8, 3), 3)])
def test_features_signals_volumes_and_channels_last(name: str, shape: tuple[int, ...], axis: int, need: Need) -> None:
    """Of a weighed sum, covering a place takes away its part: that is the map of all methods, but for RISE's scale."""
    np = need("numpy")
    need("onnxruntime")
    rng = np.random.default_rng(0)
    weights = np.abs(rng.standard_normal(shape[1:]))
    e = linear(shape, weights)
    x = np.abs(rng.standard_normal(shape)).astype("f4")
    real = (x * weights).sum(axis) if axis else x * weights
    segments = np.arange(real[0].size).reshape(real[0].shape)
    found = explain(e, x, 0, name, **{
        "occlusion": {"window": 1, "stride": 1}, "kernel-shap": {"segments": segments, "samples": 600},
        "rise": {"samples": 4000, "cells": 16, "probability": False},
        "lime": {"segments": segments, "samples": 600, "ridge": 1e-9, "width": 9.0},
    }[name])  # fmt: skip
    assert found.shape == real.shape
    if name == "rise":
        assert all(np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.6 for a, b in zip(found, real, strict=True))
    else:
        assert np.allclose(found, real, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", FEW)
def test_what_is_held_at_a_time_does_not_matter(
    name: str, net: Any, monkeypatch: pytest.MonkeyPatch, need: Need
) -> None:
    np = need("numpy")
    _, x, e = net
    once = explain(e, x.numpy(), 2, name, **few(name))
    monkeypatch.setattr(perturb, "HELD", 1)
    held: list[int] = []
    over = perturb.over
    monkeypatch.setattr(perturb, "over", lambda e, masks: (held.append(len(masks)), over(e, masks))[1])
    assert np.allclose(explain(e, x.numpy(), 2, name, **few(name)), once, atol=1e-6)
    assert max(held) == 3  # the model's own batch


# Captum and formulas ----------------------------------------------------------------------------------------------


def close(a: Any, b: Any, limit: float = 1e-5) -> None:
    import numpy as np

    assert a.shape == b.shape and np.abs(a - b).max() <= limit * np.abs(b).max()


@pytest.mark.parametrize(
    ("window", "stride"), [((4, 3), (3, 2)), ((12, 10), (1, 1)), ((5, 5), (5, 5)), ((1, 1), (1, 1))]
)
def test_occlusion_agrees_with_captum(window: tuple[int, int], stride: tuple[int, int], net: Any, need: Need) -> None:
    np, captum = need("numpy"), need("captum.attr")
    module, x, e = net
    for base in (0.3, x.flip(2)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            peer = captum.Occlusion(module[:-1])
            theirs = peer.attribute(x, (3, *window), strides=(3, *stride), target=2, baselines=base)
        found = explain(e, x.numpy(), 2, "occlusion", window=window, stride=stride, baseline=np.asarray(base))
        close(found, theirs[:, 0].numpy())


def test_rise_is_its_formula(net: Any, need: Need) -> None:
    """Masks of the same draws, enlarged by torch and applied to the net by itself, in float64."""
    np, torch = need("numpy"), need("torch")
    module, x, e = net
    samples, cells, kept = 50, 4, 0.4
    rng = np.random.default_rng(7)
    sides = (3, 3)
    masks = []
    for _ in range(samples):
        grid = (rng.random((cells, cells)) < kept).astype("f8")
        down, right = (int(rng.integers(side)) for side in sides)
        size = [(cells + 1) * side for side in sides]
        large = torch.nn.functional.interpolate(torch.tensor(grid)[None, None], size, mode="bilinear")[0, 0]
        masks.append(large[down : down + 12, right : right + 10])
    mask = torch.stack(masks)
    wide = module.double()
    with torch.no_grad():
        probability = torch.stack([wide(one[None] * mask[:, None])[:, 1] for one in x.double()])
    module.float()
    real = torch.einsum("in,nhw->ihw", probability, mask) / (samples * kept)
    real -= probability.mean(1)[:, None, None] * mask.mean(0) / kept
    real -= real.amin((1, 2), keepdim=True)
    close(explain(e, x.numpy(), 1, "rise", samples=samples, cells=cells, kept=kept, random=7), real.numpy())


def shapley(value: Callable[[Any], float], number: int) -> list[float]:
    """Return Shapley values, by their definition: a mean over all coalitions of what a member adds."""
    import numpy as np

    shares = []
    for one in range(number):
        rest = [k for k in range(number) if k != one]
        total = 0.0
        for size in range(number):
            weight = factorial(size) * factorial(number - size - 1) / factorial(number)
            for group in combinations(rest, size):
                without = np.isin(np.arange(number), group)
                total += weight * (value(without | (np.arange(number) == one)) - value(without))
        shares.append(total)
    return shares


@pytest.mark.parametrize("raw", [False, True])
def test_kernel_shap_of_all_coalitions_is_shapleys_value(raw: bool, net: Any, need: Need) -> None:
    np, torch = need("numpy"), need("torch")
    module, x, e = net
    # Superpixels across the image, or groups that tell channels apart.
    labels = np.arange(120).reshape(12, 10) // 24 if not raw else np.arange(360).reshape(3, 12, 10) // 60
    number = int(labels.max()) + 1
    wide = module[:-1].double()
    real = []
    for one in x.double():

        def value(there: Any, one: Any = one) -> float:
            mask = torch.tensor(there[labels].astype("f8"))
            return float(wide((one * mask + 0.25 * (1 - mask))[None])[0, 3])

        with torch.no_grad():
            shares = np.array(shapley(value, number)) / np.bincount(labels.ravel())
        real.append(shares[labels].sum(0) if raw else shares[labels])
    module.float()
    found = explain(e, x.numpy(), 3, "kernel-shap", samples=2**number, segments=labels, baseline=0.25)
    close(found, np.stack(real), 2e-5)


def test_kernel_shap_adds_up_and_nears_shapleys_value_when_it_draws(net: Any, need: Need) -> None:
    np = need("numpy")
    _, x, e = net
    labels = np.arange(120).reshape(12, 10) // 12
    full = e.scores(x.numpy())[:, 3]
    empty = e.scores(0 * x.numpy())[:, 3]
    exact = explain(e, x.numpy(), 3, "kernel-shap", samples=2**10, segments=labels)
    for samples, limit in ((100, 0.4), (600, 0.12)):
        drawn = explain(e, x.numpy(), 3, "kernel-shap", samples=samples, segments=labels)
        assert np.allclose(drawn.sum((1, 2)), full - empty, atol=1e-5)
        assert 1e-6 < np.abs(drawn - exact).max() / np.abs(exact).max() < limit


def test_lime_agrees_with_captum_on_the_same_samples(net: Any, need: Need) -> None:
    np, torch, captum = need("numpy"), need("torch"), need("captum.attr")
    models = need("captum._utils.models.linear_model")
    need("sklearn")
    module, x, e = net
    labels = np.arange(120).reshape(12, 10) // 20
    there = np.random.default_rng(5).random((80, 6)) < 0.5
    there[0] = True
    mask = torch.tensor(labels)

    def draw(original: Any, **_: Any) -> Any:
        for row in there:
            yield torch.tensor(row[None].astype("f4"))

    def similarity(original: Any, perturbed: Any, row: Any, **_: Any) -> Any:
        cosine = torch.nn.functional.cosine_similarity(row, torch.ones_like(row))
        return torch.exp(-(((1 - cosine) / 0.3) ** 2) / 2)

    lime = captum.LimeBase(
        module[:-1], models.SkLearnRidge(alpha=2.0), similarity, draw, True,
        from_interp_rep_transform=lambda row, original, **_: original * row[0][mask],
        to_interp_rep_transform=None,
    )  # fmt: skip
    theirs = [lime.attribute(x[k : k + 1], target=2, n_samples=80) for k in range(3)]
    found = explain(e, x.numpy(), 2, "lime", samples=80, segments=labels, random=5, width=0.3, ridge=2.0)
    shares = np.stack([found.reshape(3, 6, 20).sum(2)[k] for k in range(3)])
    close(shares, torch.cat(theirs).numpy(), 5e-5)


def test_superpixels_follow_edges(need: Need) -> None:
    np = need("numpy")
    need("onnxruntime")
    need("skimage")
    x = np.zeros((1, 3, 32, 48), "f4")
    x[:, 0, :, 20:] = 200
    e = linear(x.shape, np.ones(x.shape[1:]))
    labels = perturb.superpixels(e, x, 6)
    assert labels.shape == (32, 48) and not set(labels[:, :20].ravel()) & set(labels[:, 20:].ravel())
    assert 3 <= len(np.unique(labels)) <= 12


def test_a_blurred_baseline_is_torchvisions(net: Any, need: Need) -> None:
    torch = need("torch")
    _, x, e = net
    kernel = torch.exp(-((torch.arange(11.0) - 5) ** 2) / 50)
    kernel /= kernel.sum()
    wide = torch.nn.functional.pad(x, (5, 5, 5, 5), "reflect")
    both = torch.outer(kernel, kernel).expand(3, 1, 11, 11)
    close(perturb.blurred(e, x.numpy()), torch.nn.functional.conv2d(wide, both, groups=3).numpy())


# Models without gradients -----------------------------------------------------------------------------------------


def test_models_that_have_no_gradient(need: Need) -> None:
    """Numbers of words through a table, and a Loop: what each word adds is exact."""
    np, onnx = need("numpy"), need("onnx")
    need("onnxruntime")
    from graphviz_nets.graph import proto

    source = """
        <ir_version: 10, opset_import: ["" : 18]>
        words (int64[1,4] ids) => (float[1,1] y) <float[6,1] table = {0, 1, 2, 4, 8, 16}> {
            three = Constant<value = int64 {3}>()
            go = Constant<value = bool {1}>()
            one = Constant<value_ints = [1]>()
            found = Gather(table, ids)
            start = ReduceSum<keepdims = 0>(found, one)
            doubled = Loop <body = body (int64 k, bool again, float[1,1] a) => (bool more, float[1,1] b) {
                more = Identity(again)
                b = Add(a, a)
            }> (three, go, start)
            shape = Constant<value_ints = [1, 1]>()
            y = Reshape(doubled, shape)
        }
    """
    e = Explainer(proto.from_proto(onnx.parser.parse_model(source)))
    assert any(node.op_type == "Loop" for node in e.model.graph.nodes)
    ids = np.array([[5, 1, 3, 2]])
    assert e.scores(ids).tolist() == [[8 * (16 + 1 + 4 + 2)]]
    expected = [[128.0, 8.0, 32.0, 16.0]]
    for name in ("occlusion", "kernel-shap"):
        assert np.allclose(explain(e, ids, 0, name), expected, atol=1e-3)
    assert explain(e, ids, 0, "rise", samples=2000, probability=False).argmax() == 0


def test_pixels_as_bytes(need: Need) -> None:
    np = need("numpy")
    need("onnxruntime")
    op = Builder("bytes")
    x = op.input("x", "uint8", (1, 1, 4, 4))
    e = Explainer(op.model([op.ReduceSum(op.Cast(x, to=1), op.constant([1, 2]), keepdims=0)]))
    pixels = np.arange(16, dtype="u1").reshape(1, 1, 4, 4)
    found = explain(e, pixels, 3, "occlusion", window=1, stride=1)
    assert found[0, :, 3].tolist() == [3, 7, 11, 15] and not found[0, :, :3].any()


def test_what_is_wrong_is_said(net: Any, need: Need, monkeypatch: pytest.MonkeyPatch) -> None:
    np = need("numpy")
    _, x, e = net
    data = x.numpy()
    for name, option, words in (
        ("occlusion", {"baseline": "snow"}, "blur"), ("occlusion", {"window": (1, 2, 3)}, "2 of them"),
        ("lime", {"segments": np.zeros((3, 4), int)}, r"\(3, 4\) do not fit"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=words):
            explain(e, data, 0, name, **option)
    monkeypatch.setitem(__import__("sys").modules, "skimage.segmentation", None)
    with pytest.raises(MissingExtra, match=r"graphviz-nets\[explain\]"):
        explain(e, data, 0, "lime")
    op = Builder("no rows")
    one = Explainer(op.model([op.ReduceSum(op.input("x", "float32", (2, 3)), op.constant([0]), keepdims=0)]))
    with pytest.raises(RunError, match="no row for each"):
        explain(one, np.ones((2, 3), "f4"), np.ones(3, "f4"), "occlusion")


def test_coalitions_are_drawn_as_the_shapley_kernel_weighs_them(need: Need) -> None:
    """All sets of s of n together weigh (n - 1) / (s (n - s)); within a size all members are as likely."""
    np = need("numpy")
    number, samples = 12, 4000
    there, weights = perturb._coalitions(number, samples, 0)
    assert there.shape == (samples, number) and (weights == 1).all()
    assert (there[::2] != there[1::2]).all()  # each with its complement
    sizes = np.bincount(there.sum(1), minlength=number)[1:]
    kernel = 1 / (np.arange(1, number) * np.arange(number - 1, 0, -1))
    expected = samples * kernel / kernel.sum()
    assert there.sum(1).min() >= 1 and there.sum(1).max() < number
    # Complements are drawn in pairs, so a count varies by up to twice as much as a binomial one.
    assert (np.abs(sizes - expected) < 4 * np.sqrt(2 * expected)).all()
    for size in (1, 5):
        members = there[there.sum(1) == size].sum(0)
        assert (np.abs(members - members.mean()) < 4 * np.sqrt(2 * members.mean())).all()


# Detectors --------------------------------------------------------------------------------------------------------

BOXES = [[8, 4, 24, 16], [40, 10, 60, 30], [2, 2, 6, 30]]
SCORES = [[0.1, 0.9], [0.3, 0.7], [0.8, 0.2]]  # the first class is none, where there is a background


def said(kind: str) -> list[Any]:
    """Return outputs of one image, 64 wide and 32 high, that hold BOXES and SCORES in the way of a kind."""
    import numpy as np

    boxes, scores = np.array(BOXES, "f4"), np.array(SCORES, "f4")
    shares = boxes / np.array([64, 32, 64, 32], "f4")
    middles = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], 1)
    if kind == "pairs":
        return [shares[None], scores[None]]
    if kind == "rows":
        rows = [[0, 1, score[1], *share] for share, score in zip(shares, scores, strict=True)]
        return [np.array(rows, "f4")[None, None]]
    if kind == "priors":
        priors = np.array([[0.1, 0.1, 0.3, 0.5], [0.5, 0.4, 1.0, 0.9], [0.0, 0.0, 0.2, 0.9]], "f4")
        spread = np.tile(np.array([0.1, 0.1, 0.2, 0.2], "f4"), (3, 1))
        side, at = priors[:, 2:] - priors[:, :2], (priors[:, :2] + priors[:, 2:]) / 2
        goal = middles / np.array([64, 32, 64, 32], "f4")
        loc = np.concatenate([(goal[:, :2] - at) / side, np.log(goal[:, 2:] / side)], 1) / spread
        return [loc.reshape(1, -1), scores.reshape(1, -1), np.stack([priors, spread]).reshape(1, 2, -1)]
    if kind == "yolo":
        rows = np.concatenate([middles, np.full((3, 1), 0.5, "f4"), scores], 1)
        return [np.concatenate([rows, np.zeros((9, 7), "f4")])[None]]
    rows = np.concatenate([middles, scores], 1)
    return [np.concatenate([rows, np.zeros((9, 6), "f4")]).T[None]]


def saying(kind: str) -> Explainer:
    """Return an explainer of a model that always says the same."""
    import numpy as np

    op = Builder(kind)
    x = op.input("image", "float32", (1, 3, 32, 64))
    zero = op.Mul(op.ReduceSum(x, keepdims=0), op.scalar(0.0))
    held = [op.weight(f"w{k}", a.shape, np.ascontiguousarray(a, "f4").tobytes()) for k, a in enumerate(said(kind))]
    return Explainer(op.model([op.Add(one, zero) for one in held]))


@pytest.mark.parametrize("kind", targets.KINDS)
def test_each_kind_of_detector_is_read(kind: str, need: Need) -> None:
    np = need("numpy")
    need("onnxruntime")
    e, x = saying(kind), np.zeros((2, 3, 32, 64), "f4")
    how = targets.detector(e)
    assert how.kind == kind
    found = targets.detections(e, x, how)
    assert len(found) == 2
    for one in found:
        assert np.allclose(one.boxes[:3], BOXES, atol=1e-3)
        face = one.scores[:3, 1]
        assert np.allclose(face, np.array(SCORES)[:, 1] * (0.5 if kind == "yolo" else 1), atol=1e-6)
        assert targets.nearest(one, label=1) == (0, 1)
        assert targets.nearest(one, (38, 8, 58, 28), 1) == (1, 1)
    if targets.KINDS[kind].factors is None:
        with pytest.raises(ConfigError, match="priors"):
            targets.score_of(e, x, how)
        return
    name, seed = targets.score_of(e, x, how, (38, 8, 58, 28), 1)
    other = Explainer(e.model, target=name)
    # Of YOLO objectness and class are weighed with each other: twice 0.5 * 0.7.
    assert np.allclose((other.scores(x) * seed).reshape(2, -1).sum(1), 0.7)
    assert (seed != 0).sum() == (4 if kind == "yolo" else 2)


@pytest.mark.parametrize("inside", [True, False], ids=["logits", "probabilities"])
def test_the_score_of_yolo_is_objectness_times_class(inside: bool, need: Need) -> None:
    """A head as YOLO v5's, against autograd: of logits before the sigmoid their sum, of probabilities their product."""
    np, torch = need("numpy"), need("torch")
    need("onnxruntime")
    torch.manual_seed(3)
    conv = torch.nn.Conv2d(3, 2 * 7, 3, stride=4, padding=1)

    class Head(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.conv = conv

        def raw(self, x: Any) -> Any:
            return self.conv(x).reshape(len(x), 2, 7, 4, 8).permute(0, 1, 3, 4, 2).reshape(len(x), 64, 7)

        def forward(self, x: Any) -> Any:
            y = self.raw(x).sigmoid()
            return y if inside else torch.cat([y[..., :4] * 32, y[..., 4:]], 2)

    head, x = Head().eval(), torch.randn(2, 3, 16, 32)
    e = Explainer(exported(head, x))
    how = targets.detector(e)
    name, seed = targets.score_of(e, x.numpy(), how)
    assert how.kind == "yolo" and (name == how.outputs[0]) is not inside
    with torch.no_grad():
        found = head(x)
        numbers, classes = np.divmod((found[..., 4:5] * found[..., 5:]).reshape(2, -1).argmax(1).numpy(), 2)
    wanted = torch.zeros_like(x)
    for k, (number, label) in enumerate(zip(numbers, classes, strict=True)):
        one = x[k : k + 1].clone().requires_grad_()
        rows = (head.raw(one) if inside else head(one))[0, number]
        score = rows[4] + rows[5 + label] if inside else rows[4] * rows[5 + label]
        (wanted[k],) = torch.autograd.grad(score, one)[0]
    assert (seed != 0).sum() == 4
    back = Explainer(e.model, target=name).gradient(x.numpy(), seed)
    assert np.abs(back - wanted.numpy()).max() <= 1e-6 * np.abs(wanted.numpy()).max()


def test_a_box_of_yolo_is_no_class_of_several(need: Need) -> None:
    """RISE weighs masks by the box's score itself: a softmax over boxes, or over their pixels, would mean nothing."""
    np = need("numpy")
    need("onnxruntime")
    e = saying("yolo8")
    name, seed = targets.score_of(e, np.zeros((1, 3, 32, 64), "f4"), targets.detector(e), (38, 8, 58, 28), 1)
    other = Explainer(e.model, target=name)
    other.exclusive = False
    for one in (other, other.of(e.model)):
        assert perturb.weighed(one, np.zeros((1, 3, 32, 64), "f4"), seed, probability=True) == pytest.approx(0.7)


def test_similarity_is_d_rises(need: Need) -> None:
    """Overlap 1/3, a cosine of 0.6, an objectness of 0.5; a second detection of the wrong class counts less."""
    np = need("numpy")
    found = targets.Detections(
        np.array([[1.0, 0, 3, 2], [0, 0, 2, 2]]), np.array([[0.6, 0.8], [0.0, 1.0]]), np.array([0.5, 1.0])
    )
    assert targets.similarity(np.array([0, 0, 2, 2]), np.array([1.0, 0.0]), found) == pytest.approx(0.6 * 0.5 / 3)
    none = targets.Detections(np.zeros((0, 4)), np.zeros((0, 2)), np.zeros(0))
    assert targets.similarity(np.array([0, 0, 2, 2]), np.array([1.0, 0.0]), none) == 0
    with pytest.raises(ConfigError, match="found nothing"):
        targets.nearest(none)


def test_a_detector_that_is_none(net: Any, need: Need) -> None:
    np = need("numpy")
    e = net[2]
    with pytest.raises(ConfigError, match="kinds are rows, priors"):
        targets.detector(e)
    with pytest.raises(ConfigError, match="one of rows"):
        targets.detector(e, "ssd")
    op = Builder("raw")
    x = op.input("x", "float32", (1, 3, 8, 8))
    held = [op.weight(f"w{k}", a.shape, a.tobytes()) for k, a in enumerate((
        np.random.default_rng(0).standard_normal((1, 50, 4)).astype("f4"), np.ones((1, 50, 2), "f4")))]  # fmt: skip
    zero = op.Mul(op.ReduceSum(x, keepdims=0), op.scalar(0.0))
    e = Explainer(op.model([op.Add(one, zero) for one in held]))
    with pytest.raises(ConfigError, match="priors"):
        targets.detections(e, np.zeros((1, 3, 8, 8), "f4"), targets.detector(e))


def ultraface() -> Any:
    """Return the priors of UltraFace at 320 x 240, as its authors lay them."""
    import numpy as np

    rows = [
        ((k + 0.5) * stride / 320 - side / 640, (j + 0.5) * stride / 240 - side / 480,
         (k + 0.5) * stride / 320 + side / 640, (j + 0.5) * stride / 240 + side / 480)
        for stride, sides in ((8, (10, 16, 24)), (16, (32, 48)), (32, (64, 96)), (64, (128, 192, 256)))
        for j in range(-(-240 // stride)) for k in range(320 // stride) for side in sides
    ]  # fmt: skip
    return np.stack([np.array(rows), np.tile([0.1, 0.1, 0.2, 0.2], (len(rows), 1))]).reshape(1, 2, -1)


FACES = [(62, 8, 113, 74), (210, 54, 262, 122)]
"""Both faces of mtcnn_test1.jpg at 320 x 240, by hand."""


@pytest.fixture(scope="module")
def faces(need: Need) -> tuple[Any, dict[str, Model]]:
    """Return a photograph of two faces, and RFB-320 from ONNX and from Caffe."""
    need("onnxruntime")
    need("PIL")
    record = Preprocess(resize=(240, 320), mean=(127.0,), scale=1 / 128)
    x = images.batch([SHARED / "images" / "faces" / "mtcnn_test1.jpg"], record, (1, 3, 240, 320))
    caffe = SHARED / "caffe" / "weights" / "ultraface" / "RFB-320.prototxt"
    onnx = SHARED / "onnx" / "ultraface" / "version-RFB-320_without_postprocessing.onnx"
    return x, {
        "onnx": api.load(onnx), "caffe": api.load(caffe, weights=caffe.with_suffix(".caffemodel"), deploy=True)
    }  # fmt: skip


@needs_models
def test_a_face_is_explained_by_its_face(faces: Any, need: Need) -> None:
    np = need("numpy")
    x, models = faces
    e = Explainer(models["onnx"])
    how = targets.detector(e, priors=ultraface())
    assert how.kind == "priors"
    (found,) = targets.detections(e, x, how)
    for box in FACES:
        number, label = targets.nearest(found, box)
        assert label == 1 and found.scores[number, 1] > 0.98
        assert targets.overlap(np.array(box), found.boxes[number : number + 1])[0] > 0.6
        quick: dict[str, Any] = {} if ALL else {"samples": 120, "cells": 8}
        heat = explain(e, x, "top1", "d-rise", box=box, how=how, **quick)[0]
        down, across = np.unravel_index(heat.argmax(), heat.shape)
        left, top, right, bottom = box
        assert left <= across <= right and top <= down <= bottom


@needs_models
def test_gradients_of_a_detection_are_the_same_in_two_frameworks(faces: Any, need: Need) -> None:
    np = need("numpy")
    x, models = faces
    for box in FACES:
        maps = []
        for model in models.values():
            e = Explainer(model)
            name, seed = targets.score_of(e, x, targets.detector(e, priors=ultraface()), box)
            maps.append(explain(Explainer(model, target=name), x, seed, "saliency")[0].max(0))
        assert np.abs(maps[0] - maps[1]).max() <= 1e-4 * maps[0].max()
        left, top, right, bottom = box
        inside = maps[0][top:bottom, left:right].sum() / maps[0].sum()
        assert inside > 5 * (right - left) * (bottom - top) / maps[0].size


@needs_models
def test_ssds_rows_come_from_its_priors(need: Need) -> None:
    np = need("numpy")
    need("onnxruntime")
    model = api.load(SHARED / "caffe" / "ssd" / "MobileNetSSD_deploy.prototxt", random_weights=1, deploy=True)
    x = np.random.default_rng(0).standard_normal((1, 3, 300, 300)).astype("f4")
    rows = Explainer(model)
    (found,) = targets.detections(rows, x, targets.detector(rows))
    outputs = ("mbox_loc", "mbox_conf_flatten", "mbox_priorbox")
    e = Explainer(model.with_graph(replace(model.graph, outputs=outputs)))
    how = targets.detector(e)
    assert how == targets.Detector("priors", outputs)
    (priors,) = targets.detections(e, x, how)
    assert len(found.boxes) > 3
    for box, row, score in zip(found.boxes, found.classes, found.objectness, strict=True):
        scores = priors.scores[:, int(row.argmax())]
        same = np.abs(priors.boxes - box).max(1) <= 1e-2
        assert same.any() and np.abs(scores[same] - score).min() <= 1e-5
    name, seed = targets.score_of(e, x, how)
    other = Explainer(e.model, target=name)
    assert name != "mbox_conf_flatten" and other.scores(x).shape == seed.shape
    assert other.gradient(x, seed).any()

    found_by_itself = Explainer(targets.proposals(model))
    how = targets.detector(found_by_itself)
    assert how.kind == "pairs"
    (same_boxes,) = targets.detections(found_by_itself, x, how)
    assert np.abs(same_boxes.boxes - priors.boxes).max() <= 1e-2 and np.array_equal(same_boxes.classes, priors.classes)
    again, weights = targets.score_of(found_by_itself, x, how)
    assert again == name and np.array_equal(weights, seed)


@pytest.mark.parametrize("share", ["true", "false"])
def test_proposals_of_a_detection_output(share: str, tmp_path: Path, need: Need) -> None:
    """Whatever its code, boxes are those of the rows; with boxes of each class's own, the model stays as it is."""
    np = need("numpy")
    need("onnxruntime")
    places = 4 if share == "true" else 12
    text = f"""
        input: "data" input_shape {{ dim: 1 dim: 3 dim: 16 dim: 16 }}
        layer {{ name: "c" type: "Convolution" bottom: "data" top: "c"
          convolution_param {{ num_output: {places} kernel_size: 4 stride: 4 }} }}
        layer {{ name: "loc" type: "Flatten" bottom: "c" top: "loc" }}
        layer {{ name: "d" type: "Convolution" bottom: "data" top: "d"
          convolution_param {{ num_output: 3 kernel_size: 4 stride: 4 }} }}
        layer {{ name: "p" type: "Permute" bottom: "d" top: "p"
          permute_param {{ order: 0 order: 2 order: 3 order: 1 }} }}
        layer {{ name: "r" type: "Reshape" bottom: "p" top: "r" reshape_param {{ shape {{ dim: 0 dim: -1 dim: 3 }} }} }}
        layer {{ name: "s" type: "Softmax" bottom: "r" top: "s" softmax_param {{ axis: 2 }} }}
        layer {{ name: "conf" type: "Flatten" bottom: "s" top: "conf" }}
        layer {{ name: "prior" type: "PriorBox" bottom: "c" bottom: "data" top: "prior"
          prior_box_param {{ min_size: 6 }} }}
        layer {{ name: "out" type: "DetectionOutput" bottom: "loc" bottom: "conf" bottom: "prior" top: "out"
          detection_output_param {{ num_classes: 3 share_location: {share} background_label_id: 0
            nms_param {{ nms_threshold: 0.9 }} code_type: CORNER_SIZE keep_top_k: 50 }} }}
    """
    (tmp_path / "ssd.prototxt").write_text(text)
    model = api.load(tmp_path / "ssd.prototxt", random_weights=0, deploy=True)
    opened = targets.proposals(model)
    if share == "false":
        assert opened is model
        return
    x = np.random.default_rng(0).standard_normal((2, 3, 16, 16)).astype("f4")
    rows, e = Explainer(model), Explainer(opened)
    best = [targets.detections(one, x, targets.detector(one)) for one in (rows, e)]
    for row, proposal in zip(*best, strict=True):
        (k, label), (number, other) = targets.nearest(row), targets.nearest(proposal)
        assert label == other and np.allclose(row.boxes[k], proposal.boxes[number], atol=1e-5)
        assert row.scores[k, label] == pytest.approx(proposal.scores[number, other], abs=1e-6)
    name, seed = targets.score_of(e, x, targets.detector(e))
    assert name == "r" and (seed.sum((1, 2)) == 1).all()
    assert targets.proposals(opened) is opened


def test_a_segmentation_where_it_is_predicted(need: Need) -> None:
    np, torch = need("numpy"), need("torch")
    need("onnxruntime")
    torch.manual_seed(0)
    module, x = unet(torch), torch.randn(1, 3, 32, 32)
    e = Explainer(exported(module, x))
    scores = e.scores(x.numpy())
    seed = targets.predicted(scores, seeds(scores, 2))
    wins = scores[0].argmax(0) == 2
    assert 0 < wins.sum() < wins.size
    assert seed.sum() == wins.sum() and (seed[0, 2] == wins).all() and not seed[0, [0, 1, 3]].any()
    value = x.clone().requires_grad_(True)
    module(value)[0, 2][torch.tensor(wins)].sum().backward()
    close(explain(e, x.numpy(), seed, "saliency"), value.grad.abs().numpy())
    assert explain(e, x.numpy(), seed, "occlusion").shape == (1, 32, 32)
    assert targets.predicted(np.array([[[-1.0, 2.0]]]), np.ones((1, 1, 2))).tolist() == [[[0, 1]]]


def test_a_result_of_unknown_rank_can_be_explained(need: Need) -> None:
    """A Loop's result has a shape that only running it tells."""
    np = need("numpy")
    need("onnxruntime")
    body = Builder("body", 18)
    body.input("i", "int64", ())
    go = body.Identity(body.input("go", "bool", ()))
    op = Builder("loop", 18)
    x = op.input("x", "float32", ("n", 3))
    twice = body.Mul(body.input("state", "float32", None), body.scalar(2.0))
    y = op.node("Loop", [op.constant([3], shape=()), "", x], attributes={"body": body.graph([go, twice])})[0]
    model = op.model([y])
    values = {**model.graph.values, y: Value(y)}
    e = Explainer(model.with_graph(replace(model.graph, values=values)))
    found = explain(e, np.array([[1, 2, 3]], "f4"), np.array([[0, 0, 1]], "f4"), "occlusion")
    assert found.reshape(-1).tolist() == [0, 0, 24]
