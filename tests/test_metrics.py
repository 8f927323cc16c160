"""Truth metrics against their formulas, Captum and pytorch-grad-cam, and what they say of real nets."""

from __future__ import annotations

import gzip
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from graphviz_nets import api
from graphviz_nets.errors import ConfigError, MissingExtra
from graphviz_nets.explain import evaluation, images, metrics
from graphviz_nets.explain.explainer import Explainer
from graphviz_nets.explain.methods import heat, method, seeds
from graphviz_nets.graph.builder import Builder

from . import real_nets
from .conftest import ALL
from .test_explain import exported, vision  # noqa: F401

Need = Callable[[str], Any]
SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "models"
PICTURE = SHARED / "images" / "both_dog_cat.png"


@pytest.fixture(scope="module")
def net(need: Need) -> Any:
    """Return a small torch net of scores, two images, an explainer, the seed of class 2, and maps without ties."""
    torch, np = need("torch"), need("numpy")
    need("onnxruntime")
    nn = torch.nn
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(8 * 30, 5),
    ).eval()  # fmt: skip
    x = torch.randn(2, 3, 16, 14)
    e = Explainer(exported(module, x))
    maps = np.random.default_rng(3).permutation(2 * 16 * 14).reshape(2, 16, 14).astype("f4") / 448
    return module, x, e, seeds(np.zeros((2, 5)), 2), maps


def close(a: Any, b: Any, limit: float = 1e-5) -> None:
    import numpy as np

    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape and np.abs(a - b).max() <= limit * max(np.abs(b).max(), 1e-9)


def probability(module: Any, images: Any) -> Any:
    import torch

    with torch.no_grad():
        return torch.softmax(module(images), 1)[:, 2]


def again(e: Explainer, x: Any) -> Any:
    import numpy as np

    return heat("saliency", method.rules["saliency"](e, x, seeds(np.zeros((len(x), 5)), 2)))


CASES: dict[str, dict[str, Any]] = {
    "insertion": {}, "deletion": {}, "road": {}, "average-drop": {}, "increase": {}, "infidelity": {},
    "max-sensitivity": {"again": again}, "pointing-game": {"boxes": [(0, 0, 5, 5)] * 2}, "sanity": {"again": again},
}  # fmt: skip


def test_every_metric_has_a_case() -> None:
    assert set(CASES) == set(metrics.metric) == set(metrics.BETTER)
    assert set(metrics.BETTER.values()) == {"more", "less"} == set(evaluation.ARROWS)


@pytest.mark.parametrize("name", CASES)
def test_a_metric_gives_a_number_for_each_image(name: str, net: Any, need: Need) -> None:
    np = need("numpy")
    if name in ("road", "sanity"):
        need("scipy")
    _, x, e, seed, maps = net
    found = metrics.metric.rules[name](e, x.numpy(), seed, maps, **CASES[name])
    assert found.values.shape == (2,) and np.isfinite(found.values).all() and found.values.dtype == np.float64
    assert (found.curves is None) == (found.at is None)
    if found.at is not None:
        assert found.curves.shape == (2, len(found.at)) and name in evaluation.ACROSS and name in evaluation.ALONG
    repeated = metrics.metric.rules[name](e, x.numpy(), seed, maps, **CASES[name])
    assert (repeated.values == found.values).all()


@pytest.mark.parametrize("steps", [7, 224])
def test_insertion_and_deletion_are_rises(steps: int, net: Any, need: Need) -> None:
    torch = need("torch")
    module, x, e, seed, maps = net
    kernel = torch.exp(-((torch.arange(11.0) - 5) ** 2) / 50)
    both = torch.outer(kernel, kernel).expand(3, 1, 11, 11) / kernel.sum() ** 2
    blurred = torch.nn.functional.conv2d(torch.nn.functional.pad(x, (5, 5, 5, 5), "reflect"), both, groups=3)
    for name, start, finish in (("insertion", blurred, x), ("deletion", x, torch.zeros_like(x))):
        curves = []
        for k in range(2):
            order = torch.tensor(maps[k].ravel()).argsort(descending=True)
            step = -(-224 // steps)
            image = start[k].reshape(3, -1).clone()
            curve = [float(probability(module, image.reshape(1, 3, 16, 14)))]
            for place in range(0, 224, step):
                image[:, order[place : place + step]] = finish[k].reshape(3, -1)[:, order[place : place + step]]
                curve.append(float(probability(module, image.reshape(1, 3, 16, 14))))
            curves.append(curve)
        found = metrics.metric.rules[name](e, x.numpy(), seed, maps, steps=steps)
        close(found.curves, curves)
        close(found.values, [(sum(c) - c[0] / 2 - c[-1] / 2) / (len(c) - 1) for c in curves])


def test_imputation_and_road_are_pytorch_grad_cams(net: Any, vision: Any, need: Need) -> None:  # noqa: F811
    np, torch = need("numpy"), need("torch")
    need("scipy")
    theirs = need("pytorch_grad_cam.metrics.road")
    confidence = need("pytorch_grad_cam.metrics.perturbation_confidence")
    module, x, e, seed, maps = net
    rng = np.random.default_rng(0)
    imputer = theirs.NoisyLinearImputer(noise=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for share in (0.05, 0.5, 0.95):
            gone = rng.random((16, 14)) < share
            real = imputer(x[0], torch.tensor((~gone).astype("f4"))).numpy()
            close(metrics.imputed(e, x[:1].numpy(), gone, 0.0, rng)[0], real)
        percentiles = range(10, 100, 10)
        curves = []
        for p in percentiles:
            left = []
            for order in (confidence.RemoveLeastRelevantFirst, confidence.RemoveMostRelevantFirst):
                removed = [order(p, imputer)(x[k], torch.tensor(maps[k].astype("f8"))) for k in range(2)]
                left.append(probability(module, torch.stack(removed)))
            curves.append(((left[0] - left[1]) / 2).numpy())
    found = metrics.road(e, x.numpy(), seed, maps, noise=0)
    close(found.curves, np.stack(curves, 1))
    close(found.values, np.mean(curves, 0))
    nothing, everything = np.zeros((16, 14), bool), np.ones((16, 14), bool)
    nothing[3, 4] = True
    noisy = [metrics.imputed(e, x[:1].numpy(), nothing, 0.5, np.random.default_rng(k))[0, 0, 3, 4] for k in range(400)]
    assert 0.4 < np.std(noisy) < 0.6
    assert not nothing[3, 5] and everything.all()


def test_a_map_that_is_flat_or_empty_is_no_fault(net: Any, need: Need) -> None:
    """ReLU leaves many zeros: which of them go first is decided by their place, and never all go."""
    np = need("numpy")
    need("scipy")
    _, x, e, seed, maps = net
    for flat in (np.zeros_like(maps), np.maximum(maps - 0.9, 0)):
        for name in ("insertion", "deletion", "road", "average-drop", "infidelity", "sanity"):
            found = metrics.metric.rules[name](e, x.numpy(), seed, flat, **CASES[name])
            assert np.isfinite(found.values).all()


def test_average_drop_and_increase(net: Any, need: Need) -> None:
    np, torch = need("numpy"), need("torch")
    module, x, e, seed, maps = net
    whole = probability(module, x)
    scaled = [(one - one.min()) / (one.max() - one.min()) for one in maps]
    left = probability(module, x * torch.tensor(np.stack(scaled))[:, None])
    close(metrics.average_drop(e, x.numpy(), seed, maps).values, ((whole - left).clamp(min=0) / whole).numpy())
    assert metrics.increase(e, x.numpy(), seed, maps).values.tolist() == (left > whole).double().tolist()


@pytest.mark.parametrize("scaled", [False, True])
def test_infidelity_is_captums(scaled: bool, net: Any, need: Need) -> None:
    np, torch, captum = need("numpy"), need("torch"), need("captum.metrics")
    module, x, e, seed, maps = net
    covered = [1 - mask for mask in metrics.windows((16, 14), 20, 4)]
    gone = torch.tensor(np.stack(covered))[:, None]

    def perturb(images: Any) -> tuple[Any, Any]:
        mask = gone.repeat(len(images) // len(gone), 1, 1, 1)  # each image's copies lie together
        return mask.expand_as(images) / 3, images * (1 - mask)

    attribution = torch.tensor(maps)[:, None].expand(-1, 3, -1, -1).contiguous()
    real = captum.infidelity(module, perturb, x, attribution, target=2, n_perturb_samples=20, normalize=scaled)
    found = metrics.infidelity(e, x.numpy(), seed, maps, samples=20, random=4, scaled=scaled)
    close(found.values, real.detach().numpy(), 1e-4)


def test_sensitivity_is_captums(net: Any, need: Need) -> None:
    np, torch, captum = need("numpy"), need("torch"), need("captum.metrics")
    saliency = need("captum.attr").Saliency
    module, x, e, seed, _ = net
    data = x.numpy()
    rng = np.random.default_rng(2)
    noise = torch.tensor(np.stack([rng.uniform(-1, 1, data.shape[1:]).astype("f4") for _ in range(6)]))
    reach = 0.1 * (x.amax((1, 2, 3)) - x.amin((1, 2, 3)))

    def perturb(images: Any) -> Any:
        copies = len(images) // 2
        assert copies == 6
        return images + reach.repeat_interleave(copies)[:, None, None, None] * noise.repeat(2, 1, 1, 1)

    def explained(images: Any) -> Any:
        images = images[0] if isinstance(images, tuple) else images
        with warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")
            return (saliency(module).attribute(images.clone(), target=2).amax(1),)

    real = captum.sensitivity_max(explained, x, perturb_func=perturb, n_perturb_samples=6)
    found = metrics.max_sensitivity(e, data, seed, again(e, data), again, samples=6, radius=0.1, random=2)
    close(found.values, real.detach().numpy(), 1e-4)


@pytest.mark.parametrize(("box", "tolerance", "hit"), [
    ((8, 3, 11, 6), 0, 1.0), ((10, 3, 11, 6), 0, 0.0), ((11, 3, 13, 6), 2, 1.0), ((8, 8, 11, 9), 3, 1.0),
    ((8, 8, 11, 9), 2, 0.0),
])  # fmt: skip
def test_pointing(box: Any, tolerance: float, hit: float, net: Any, need: Need) -> None:
    np = need("numpy")
    _, x, e, seed, _ = net
    maps = np.zeros((2, 16, 14))
    maps[:, 5, 9] = 1
    found = metrics.pointing_game(e, x.numpy(), seed, maps, [box, box], tolerance)
    assert found.values.tolist() == [hit, hit]


def test_an_empty_map_points_at_nothing(net: Any, need: Need) -> None:
    """The first of equal places is a corner, which is in this box."""
    np = need("numpy")
    _, x, e, seed, _ = net
    maps = np.zeros((2, 16, 14))
    maps[1, 1, 2] = 1
    assert metrics.pointing_game(e, x.numpy(), seed, maps, [(0, 0, 5, 5)] * 2).values.tolist() == [0, 1]


# Spoiled models ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("factor", "value"), [(1, 1.0), (-1, 1.0), (0, 0.0)])
def test_sanity_is_the_mean_amount_of_what_is_left(factor: int, value: float, net: Any, need: Need) -> None:
    """A map that stays the same, one turned around, and one that is gone; the map itself is no stage."""
    np = need("numpy")
    _, x, e, seed, _ = net
    maps = np.random.default_rng(0).standard_normal((2, 16, 14))
    found = metrics.sanity(e, x.numpy(), seed, maps, lambda other, images: factor * maps, stages=3)
    assert np.allclose(found.values, value, atol=1e-9)
    assert found.curves is not None and np.allclose(found.curves, [[1, factor, factor, factor]] * 2)


def test_layers_are_spoiled_from_the_last_one_down(net: Any, need: Need) -> None:
    np = need("numpy")
    _, x, e, _, _ = net
    before = e.model.graph.initializers
    stages = list(metrics.cascade(e, 3, 0))
    assert [share for share, _ in stages] == pytest.approx([1 / 3, 2 / 3, 1])
    weights = [name for node in e.model.graph.nodes for name in node.inputs
               if name in before and before[name].dtype == "float32" and len(before[name].shape) > 1]  # fmt: skip
    assert len(weights) == 3
    for number, (_, spoiled) in enumerate(stages, 1):
        after = spoiled.model.graph.initializers
        for k, name in enumerate(weights):
            old, new = before[name].bytes(), after[name].bytes()
            assert (old == new) == (k < 3 - number)
            assert np.array_equal(np.sort(np.frombuffer(old, "<f4")), np.sort(np.frombuffer(new, "<f4")))
    twice = [spoiled.scores(x.numpy()) for _, spoiled in metrics.cascade(e, 3, 0)]
    assert all(np.array_equal(a, b.scores(x.numpy())) for a, (_, b) in zip(twice, stages, strict=True))
    assert len({one.tobytes() for one in twice}) == 3


@pytest.mark.parametrize(("dtype", "kind"), [("float16", "f2"), ("float64", "f8"), ("int8", "i1")])
def test_weights_of_other_types_are_spoiled(dtype: str, kind: str, need: Need) -> None:
    np = need("numpy")
    need("onnxruntime")
    rng = np.random.default_rng(0)
    op = Builder(dtype)
    x = op.input("x", "float32", (1, 6))
    held = op.weight("w", (6, 4), (rng.standard_normal((6, 4)) * 20).astype(kind).tobytes(), dtype)
    if dtype == "int8":
        scale = op.weight("scale", (), np.float32(0.1).tobytes())
        y = op.MatMul(x, op.DequantizeLinear(held, scale))
    else:
        y = op.Cast(op.MatMul(op.Cast(x, to=10 if dtype == "float16" else 11), held), to=1)
    e = Explainer(op.model([y]))
    ((share, spoiled),) = metrics.cascade(e, 1, 0)
    data = np.ones((1, 6), "f4")
    assert share == 1 and not np.allclose(spoiled.scores(data), e.scores(data), rtol=1e-2)
    assert spoiled.scores(data).sum() == pytest.approx(e.scores(data).sum(), rel=1e-2)  # the values are the same
    op = Builder("none")
    with pytest.raises(ConfigError, match="no weights"):
        next(metrics.cascade(Explainer(op.model([op.Relu(op.input("x", "float32", (1, 2)))])), 1, 0))


def test_rank_correlation(net: Any, need: Need) -> None:
    np = need("numpy")
    need("scipy")
    a = np.random.default_rng(0).standard_normal((4, 5))
    assert metrics._rank_correlation(a, np.exp(a)) == pytest.approx(1)
    assert metrics._rank_correlation(a, -a) == pytest.approx(-1)
    assert metrics._rank_correlation(a, 0 * a) == 0
    # By its formula for ranks without ties.
    b = np.random.default_rng(1).standard_normal((4, 5))
    ranks = [one.ravel().argsort().argsort() for one in (a, b)]
    assert metrics._rank_correlation(a, b) == pytest.approx(1 - 6 * ((ranks[0] - ranks[1]) ** 2).sum() / (20 * 399))


def test_without_scipy(net: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, x, e, seed, maps = net
    monkeypatch.setattr(metrics, "import_module", lambda name: __import__("no_such_module"))
    with pytest.raises(MissingExtra, match=r"graphviz-nets\[explain\]"):
        metrics.road(e, x.numpy(), seed, maps)


def squeezenet(folder: Path) -> tuple[Explainer, Any]:
    """Return the Caffe net with its real weights, and a picture of a dog and a cat."""
    weights = folder / "squeezenet.caffemodel"
    with gzip.open(SHARED / "caffe" / "squeezenet" / "squeezenet_v1.0_dc.caffemodel.gz") as packed:
        weights.write_bytes(packed.read())
    net = SHARED / "caffe" / "squeezenet" / "dc_squeezenet_v1.0_deploy.prototxt"
    model = api.load(net, weights=weights, deploy=True, input_shapes={"data": (None, (1, 3, 227, 227))})
    return Explainer(model), images.batch([PICTURE], images.PRESETS["caffe"], (1, 3, 227, 227))


def efficientnet(folder: Path) -> tuple[Explainer, Any]:
    """Return EfficientNet-Lite0 with its real weights, and the picture."""
    import torch

    x = images.batch([PICTURE], images.PRESETS["imagenet"], (1, 3, 224, 224))
    return Explainer(exported(real_nets.efficientnet_lite0(), torch.tensor(x))), x


@pytest.mark.parametrize("net", [squeezenet, efficientnet])
def test_what_real_nets_show(net: Callable[[Path], Any], shared: Path, tmp_path: Path, need: Need) -> None:
    """Guided backprop hardly sees what the net has learned, saliency does; what occlusion finds is what decides."""
    if not ALL:
        pytest.skip("takes a minute: scripts/test --all")
    need("scipy")
    need("torch")
    e, x = net(tmp_path)
    seed = seeds(e.scores(x), 243)

    def rerun(name: str, other: Explainer, pictures: Any) -> Any:
        return heat(name, method.rules[name](other, pictures, seed))

    maps = {name: rerun(name, e, x) for name in ("saliency", "guided-backprop", "occlusion")}
    both = {name: maps[name] for name in ("saliency", "guided-backprop")}
    report = evaluation.evaluate(e, x, seed, both, rerun, metrics=("sanity",), stages=4)
    passed, failed = (report["methods"][name]["sanity"]["mean"] for name in both)
    assert passed < 0.35 and failed > 0.3 and failed > 2 * passed
    report = evaluation.evaluate(e, x, seed, maps, metrics=("insertion", "deletion"), steps=56)
    occlusion, guided = report["methods"]["occlusion"], report["methods"]["guided-backprop"]
    assert occlusion["insertion"]["mean"] > guided["insertion"]["mean"] + 0.2
    assert occlusion["deletion"]["mean"] < guided["deletion"]["mean"]


# The report -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def report(net: Any, need: Need) -> Any:
    need("scipy")
    _, x, e, seed, maps = net

    def rerun(name: str, other: Explainer, pictures: Any) -> Any:
        return again(other, pictures) if name == "saliency" else maps

    given = {"saliency": again(e, x.numpy()), "<b>": maps}
    return evaluation.evaluate(e, x.numpy(), seed, given, rerun, [(0, 0, 9, 9)] * 2, stages=2, samples=5, steps=20)


def test_a_report_is_plain_data(report: Any, net: Any) -> None:
    assert json.loads(json.dumps(report)) == report and report["images"] == 2
    assert list(report["metrics"]) == list(metrics.metric)
    one = report["methods"]["saliency"]
    assert len(one["insertion"]["at"]) == len(one["insertion"]["curve"]) == 20  # 19 steps of 12 places
    assert len(one["sanity"]["at"]) == 3 and len(one["sanity"]["values"]) == 2
    # A map that is always the same is what the sanity check finds.
    assert report["methods"]["<b>"]["sanity"]["mean"] == pytest.approx(1)
    _, x, e, seed, maps = net
    few = evaluation.evaluate(e, x.numpy(), seed, {"saliency": maps})
    assert set(metrics.metric) - set(few["metrics"]) == {"max-sensitivity", "pointing-game", "sanity"}
    for wanted, words in (("beauty", "one of insertion"), ("sanity", "runs the method again")):
        with pytest.raises(ConfigError, match=words):
            evaluation.evaluate(e, x.numpy(), seed, {"saliency": maps}, metrics=[wanted])


def test_its_table_is_aligned(report: Any) -> None:
    head, *rows = evaluation.table(report).splitlines()
    assert head.split()[:2] == ["insertion", "↑"]
    assert [row.split()[0] for row in rows] == ["saliency", "<b>"]
    assert all(len(row) <= len(head) for row in rows)
    assert rows[0].split()[-1].endswith("*") and not rows[1].split()[-1].endswith("*")


def test_its_pictures_are_whole(report: Any) -> None:
    section = evaluation.page_section(report)
    assert "<b>" not in section and "&lt;b&gt;" in section and "over 2 images" in section and "style=" not in section
    assert section == evaluation.page_section(report)
    assert set(evaluation.plots(report)) == {"insertion", "deletion", "road", "sanity"}
    ElementTree.fromstring(section)
    ElementTree.fromstring(evaluation.picture(report))
    many = {f"a method called {k}": ([0, 0.5, 1], [-0.5 + k / 30, 0.2, 3.0]) for k in range(30)}
    root = ElementTree.fromstring(evaluation.chart("many", "across", "along", many))
    _, _, wide, tall = map(float, root.attrib["viewBox"].split())
    lines = set()
    for path in root.iter("{http://www.w3.org/2000/svg}path"):
        if path.get("stroke-width"):
            lines.add((path.get("stroke"), path.get("stroke-dasharray")))
        places = path.attrib["d"].replace("M", " ").replace("L", " ").split()
        if "L" in path.attrib["d"]:
            numbers = [float(one) for one in places]
            assert all(0 <= one <= wide for one in numbers[::2]) and all(0 <= one <= tall for one in numbers[1::2])
    assert len(lines) == 30
    for text in root.iter("{http://www.w3.org/2000/svg}text"):
        assert float(text.get("y") or 0) <= tall
