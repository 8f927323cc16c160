"""The command explain with what users give it: pictures of every kind, folders, labels, detectors."""

from __future__ import annotations

import io
import json
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graphviz_nets import api
from graphviz_nets.cli import explaining, run
from graphviz_nets.errors import ConvertError, LimitError, RunError, meant
from graphviz_nets.explain import images, targets
from graphviz_nets.explain.explainer import Explainer
from graphviz_nets.explain.methods import method, options_of
from graphviz_nets.explain.metrics import metric
from graphviz_nets.explain.runner import Runner
from graphviz_nets.graph.builder import Builder
from graphviz_nets.graph.preprocess import Preprocess

Need = Callable[[str], Any]


@pytest.fixture
def net(tmp_path: Path, need: Need) -> Path:
    """Return a small net of three classes on images of 8 x 8, with a pooling and a linear head."""
    np = need("numpy")
    need("onnxruntime")
    need("PIL")
    dice = np.random.default_rng(0)
    op = Builder("net", 18)
    x = op.input("x", "float32", (1, 3, 8, 8))
    y = op.Relu(op.Conv(x, op.weight("w", (4, 3, 3, 3), dice.standard_normal((4, 3, 3, 3), "f4").tobytes()),
                        kernel_shape=(3, 3)))  # fmt: skip
    flat = op.Flatten(op.GlobalAveragePool(y))
    op.Gemm(flat, op.weight("v", (4, 3), dice.standard_normal((4, 3), "f4").tobytes()))
    return api.save(op.model(["Gemm"]), tmp_path / "net.onnx")


@pytest.fixture
def picture(tmp_path: Path, need: Need) -> Path:
    np, image = need("numpy"), need("PIL.Image")
    pixels = np.random.default_rng(1).integers(0, 256, (8, 8, 3)).astype("u1")
    image.fromarray(pixels).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def explained(*arguments: str | Path) -> int:
    return run(["explain", *map(str, arguments)])


@pytest.mark.parametrize("mode", ["I;16", "I", "F", "F of 1"])
def test_pictures_of_more_than_bytes_keep_their_greys(mode: str, tmp_path: Path, need: Need) -> None:
    """Sixteen bits are scaled: Pillow's own conversion makes nearly all of them white."""
    np, image = need("numpy"), need("PIL.Image")
    grey = np.arange(256).reshape(16, 16)
    if mode[0] == "I":
        image.fromarray((grey * 257).astype("u2" if mode == "I;16" else "i4")).save(tmp_path / "a.tiff")
    else:
        image.fromarray((grey / (255 if mode == "F of 1" else 1)).astype("f4")).save(tmp_path / "a.tiff")
    with image.open(tmp_path / "a.tiff") as found:
        assert found.mode == mode[:1] if mode[0] == "F" else found.mode.startswith("I")
    assert (np.asarray(images.open_image(tmp_path / "a.tiff", grey=True)) == grey).all()
    (found,) = images.batch([tmp_path / "a.tiff"], Preprocess(), (1, 3, 16, 16))
    assert (found == grey).all()


@pytest.mark.parametrize("sides", [(10001, 10000), (20000, 20000)])
def test_large_pictures_are_refused_without_a_warning(sides: tuple[int, int], tmp_path: Path, need: Need) -> None:
    """Warnings are errors here: Pillow warns of half its limit, and fails beyond it."""
    image = need("PIL.Image")
    image.new("1", sides).save(tmp_path / "a.png")
    with pytest.raises(LimitError, match="100,000,000 pixels"):
        images.open_image(tmp_path / "a.png")


@pytest.mark.parametrize("turn", [3, 6, 8])
def test_a_photograph_is_upright(turn: int, tmp_path: Path, need: Need) -> None:
    np, image = need("numpy"), need("PIL.Image")
    pixels = np.random.default_rng(turn).integers(0, 256, (6, 9, 3)).astype("u1")
    exif = image.Exif()
    exif[0x0112] = turn
    way = {3: image.Transpose.ROTATE_180, 6: image.Transpose.ROTATE_90, 8: image.Transpose.ROTATE_270}[turn]
    image.fromarray(pixels).transpose(way).save(tmp_path / "a.png", exif=exif)
    assert (np.asarray(images.open_image(tmp_path / "a.png")) == pixels).all()


def test_broken_exif_is_no_reason_to_warn(tmp_path: Path, need: Need) -> None:
    image = need("PIL.Image")
    broken = b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12\0\x03\0\0"
    image.new("RGB", (5, 4)).save(tmp_path / "a.jpg", exif=broken)
    assert images.open_image(tmp_path / "a.jpg").size == (5, 4)


def test_arrays_of_no_numbers_are_refused(net: Path, tmp_path: Path, capsys: Any) -> None:
    import numpy as np

    for value in (np.nan, np.inf):
        np.save(tmp_path / "x.npy", np.full((1, 3, 8, 8), value, "f4"))
        assert explained(net, tmp_path / "x.npy", "-o", tmp_path / "a.npy") == 3
        assert "x.npy: it holds NaN or infinite numbers" in capsys.readouterr().err
    assert not (tmp_path / "a.npy").exists()


def test_a_result_that_is_none_is_said(tmp_path: Path, picture: Path, need: Need, capsys: Any) -> None:
    need("onnxruntime")
    op = Builder("log", 18)
    y = op.Log(op.ReduceMean(op.input("x", "float32", (1, 3, 8, 8)), op.constant([2, 3]), keepdims=0))
    model = api.save(op.model([y]), tmp_path / "log.onnx")
    given = ["--preprocess", tmp_path / "low.yaml", "-o", tmp_path / "b.npy"]
    (tmp_path / "low.yaml").write_text("mean: [1000]\n")
    assert explained(model, picture, *given) == 3
    assert "result is NaN for a.png" in capsys.readouterr().err


def test_a_folder_is_its_images(net: Path, picture: Path, tmp_path: Path, capsys: Any) -> None:
    import numpy as np

    folder = tmp_path / "folder"
    folder.mkdir()
    common = [net, folder, "--preprocess", "unit", "-o", tmp_path / "a.npy"]
    assert explained(*common) == 3 and "holds no images" in capsys.readouterr().err
    for name in ("b.PNG", "a.png", "notes.txt"):
        (folder / name).write_bytes(picture.read_bytes())
    assert explained(*common, "-v") == 0
    assert np.load(tmp_path / "a.npy").shape == (2, 8, 8)
    err = capsys.readouterr().err
    assert err.index("a.png: class") < err.index("b.PNG: class")


def test_each_array_of_a_file_has_a_name(net: Path, picture: Path, tmp_path: Path) -> None:
    import numpy as np

    np.save(tmp_path / "two.npy", np.ones((2, 3, 8, 8), "f4"))
    given = [net, tmp_path / "two.npy", picture, "--preprocess", "unit", "-o", tmp_path / "a.html"]
    assert explained(*given) == 0
    page = (tmp_path / "a.html").read_text()
    places = [page.index(f"<h2>{name}, explained") for name in ("two.npy 0", "two.npy 1", "a.png")]
    assert places == sorted(places)


def test_labels_are_names(net: Path, picture: Path, tmp_path: Path, capsys: Any) -> None:
    """A name of a label wins over labels that only hold it; a file for other classes is said."""
    (tmp_path / "labels.txt").write_text("n00000001 oxcart, cart\nn00000002 ox\nn00000003 tiger cat\n")
    common = [net, picture, "--preprocess", "unit", "--labels", tmp_path / "labels.txt", "-o", tmp_path / "a.npy"]
    for target, code, words in (
        ("ox", 0, "a.png: n00000002 ox"), ("cart", 0, "a.png: n00000001 oxcart, cart"),
        ("N00000003", 0, "tiger cat"), ("cat", 0, "tiger cat"), ("n0", 2, "name one, or its number"),
        ("tigr cat", 2, "did you mean tiger cat"), ("²", 2, "a class's number, its label"),
    ):  # fmt: skip
        assert explained(*common, "-v", "--target", target) == code
        assert words in capsys.readouterr().err
    (tmp_path / "labels.txt").write_text("yes\nno\n")
    assert explained(*common) == 0
    assert "--labels has 2 lines, and the model 3 classes" in capsys.readouterr().err


def test_what_cannot_be_written_is_said_before_the_work(net: Path, tmp_path: Path, capsys: Any) -> None:
    assert explained(net, tmp_path / "none.png", "-o", tmp_path / "nowhere" / "a.png") == 3
    assert "nowhere/a.png: cannot be written: there is no such folder" in capsys.readouterr().err


def test_images_are_not_overwritten(net: Path, picture: Path, tmp_path: Path, capsys: Any) -> None:
    before = picture.read_bytes()
    for image in (picture, f"x={picture}"):
        assert explained(net, image, "--preprocess", "unit", "-o", tmp_path / "." / "a.png") == 2
        assert "a.png: an output would overwrite the input" in capsys.readouterr().err
    assert picture.read_bytes() == before


@pytest.mark.parametrize(("option", "name", "near"), [
    ("--method", "gradcam", "grad-cam"), ("--metric", "deletions", "deletion"), ("--layer", "Rely", "Relu"),
])  # fmt: skip
def test_names_nearly_right_are_understood(
    option: str, name: str, near: str, net: Path, picture: Path, capsys: Any
) -> None:
    assert explained(net, picture, "--preprocess", "unit", option, name, "-o", "a.html") == 2
    assert f"did you mean {near}" in capsys.readouterr().err
    assert meant("magic", ["saliency"], "one of saliency") == "one of saliency"


def test_many_methods_are_rows_of_a_picture(net: Path, picture: Path, tmp_path: Path, need: Need) -> None:
    """Five methods: four in a row, and one below it, each with its name, the class above the image."""
    np, image = need("numpy"), need("PIL.Image")
    methods = ("saliency", "grad-cam", "layer-cam", "hirescam", "lrp")
    chosen = [part for name in methods for part in ("--method", name)]
    assert explained(net, picture, "--preprocess", "unit", *chosen, "--target", "1", "-o", tmp_path / "b.png") == 0
    with image.open(tmp_path / "b.png") as found:
        sheet = np.asarray(found)
    assert sheet.shape == (8 + 2 * (22 + 120), 8 + 9 * 120, 3)
    strips = [sheet[start : start + 20] for start in (8, 8 + 22 + 120)]
    dark = [[(strip[:, 8 + k * 120 : 120 + k * 120] < 128).any() for k in range(9)] for strip in strips]
    assert dark == [[True, True, False, True, False, True, False, True, False], [False, True, *[False] * 7]]


def test_a_picture_of_too_many_images_is_refused_before_the_work(
    net: Path, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    import numpy as np

    np.save(tmp_path / "x.npy", np.ones((6, 3, 8, 8), "f4"))
    monkeypatch.setattr(explaining, "PIXELS", 6 * 64 * 3)
    given = [net, tmp_path / "x.npy", "--method", "saliency"]
    assert explained(*given, "-o", tmp_path / "out.png") == 0
    assert explained(*given, "--method", "lrp", "-o", tmp_path / "more.png") == 5
    assert "OUT.html holds any number" in capsys.readouterr().err and not (tmp_path / "more.png").exists()


def test_long_titles_are_cut(need: Need) -> None:
    np = need("numpy")
    need("PIL")
    from graphviz_nets.explain.heatmap import sheet

    blank = np.full((112, 112, 3), 255, "u1")
    page = sheet([[blank, blank]], [["W" * 90, ""]])
    assert (page[:, :120] < 128).any() and (page[:, 121:] == 255).all()


def test_metrics_that_cannot_be_taken_are_left_out(tmp_path: Path, need: Need, capsys: Any) -> None:
    """Of a signal there is no ROAD; asked for by name, that is an error."""
    np = need("numpy")
    need("onnxruntime")
    need("scipy")
    op = Builder("signal", 18)
    weights = np.random.default_rng(0).standard_normal((2, 1, 3), "f4")
    y = op.Relu(op.Conv(op.input("x", "float32", (1, 1, 16)), op.weight("w", (2, 1, 3), weights.tobytes())))
    model = api.save(op.model([op.Flatten(op.GlobalAveragePool(y))]), tmp_path / "signal.onnx")
    np.save(tmp_path / "x.npy", np.random.default_rng(1).standard_normal((1, 1, 16), "f4"))
    assert explained(model, tmp_path / "x.npy", "--evaluate", "--json") == 0
    done = capsys.readouterr()
    report = json.loads(done.out)
    assert "road is left out: ROAD makes up pixels" in done.err and set(report["left_out"]) == {"road"}
    assert "deletion" in report["metrics"] and set(report["methods"]["saliency"]) == set(report["metrics"])
    assert explained(model, tmp_path / "x.npy", "--metric", "road") == 2
    assert explained(model, tmp_path / "x.npy", "--metric", "pointing-game") == 2
    assert "--box L,T,R,B" in capsys.readouterr().err


def test_a_net_from_standard_input_takes_another_batch(
    fixtures: Path, tmp_path: Path, monkeypatch: Any, need: Need, capsys: Any
) -> None:
    """A Caffe net is opened again for its batch: its text, and what else was said of it, must still be there."""
    np = need("numpy")
    need("onnxruntime")
    net = fixtures / "digits" / "digits.prototxt"
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((3, 1, 16, 12), "f4"))
    common = [tmp_path / "x.npy", "--weights", net.with_suffix(".caffemodel"), "--batch-size", "3", "-o"]
    assert explained(net, *common, tmp_path / "a.npy") == 0
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(net.read_bytes())))
    assert explained("-", "--from", "caffe", *common, tmp_path / "b.npy") == 0, capsys.readouterr().err
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()


def test_results_of_different_shapes_are_no_batch(need: Need) -> None:
    np = need("numpy")
    need("onnxruntime")
    op = Builder("found", 18)
    runner = Runner(op.model([op.NonZero(op.input("x", "float32", (1, 4)))]))
    with pytest.raises(RunError, match="different shapes"):
        runner(np.array([[1, 0, 0, 0], [1, 1, 0, 0]], "f4"))


def test_an_ssd_explains_its_best_box(shared: Path, tmp_path: Path, need: Need, capsys: Any) -> None:
    """Rows of detections have no scores to go back from: what they are made of has, for several images as well."""
    np = need("numpy")
    need("onnxruntime")
    need("PIL")
    model = api.load(shared / "caffe" / "ssd" / "MobileNetSSD_deploy.prototxt", random_weights=1, deploy=True)
    net = api.save(model, tmp_path / "ssd.onnx")
    pictures = [shared / "images" / name for name in ("fish-bike.jpg", "cat.jpg")]
    common = [net, *pictures, "--preprocess", "inception", "--method", "grad-cam"]
    assert explained(*common, "-o", tmp_path / "a.npy") == 0
    assert explained(*common, "--box", "best", "-o", tmp_path / "b.npy") == 0
    maps = np.load(tmp_path / "a.npy")
    assert maps.shape == (2, 300, 300) and maps.any() and (maps == np.load(tmp_path / "b.npy")).all()
    # What is explained is said and drawn, and the pointing game knows where it is.
    given = ["--metric", "pointing-game", "--json", "--labels", shared / "labels" / "voc_classes.txt"]
    assert explained(*common, *given, "-o", tmp_path / "a.html") == 0
    report = json.loads(capsys.readouterr().out)
    assert len(report["methods"]["grad-cam"]["pointing-game"]["values"]) == 2
    found = re.search(
        r"fish-bike.jpg, explained: (\w+) at ([-\d]+), ([-\d]+), ([-\d]+), ([-\d]+)<", (tmp_path / "a.html").read_text()
    )
    assert found is not None
    e = Explainer(model)
    record = images.fitted(images.PRESETS["inception"], model)
    (rows,) = targets.detections(e, images.batch(pictures[:1], record, e.shape), targets.detector(e))
    number, label = targets.nearest(rows)
    assert [int(side) for side in found.groups()[1:]] == rows.boxes[number].round().astype(int).tolist()
    assert found[1] == (shared / "labels" / "voc_classes.txt").read_text().split()[label]
    assert explained(*common, "--target", "top2", "-o", tmp_path / "a.npy") == 2
    assert "no class of a box" in capsys.readouterr().err


def commands(name: str) -> list[list[str]]:
    """Return what follows graphviz-nets explain in a page of ours."""
    text = (Path(__file__).resolve().parents[1] / name).read_text("utf-8")
    return [
        shlex.split(line, comments=True) for line in re.findall(r"^graphviz-nets explain (.+)$", text, re.MULTILINE)
    ]


@pytest.mark.parametrize("page", ["README.md", "docs/explain.md"])
def test_commands_of_the_documentation_can_be_typed(page: str) -> None:
    """Their options and methods are there, and who names a label gives labels."""
    typed = commands(page)
    assert len(typed) > 2
    for words in typed:
        given = explaining.explain.make_context("explain", words).params
        assert given["images"] and (given["output"] or given["evaluate"] or given["metrics"])
        assert {*given["methods"]} <= {*method, "all"} and {*given["metrics"]} <= {*metric}
        assert given["labels"] or re.fullmatch(r"(top)?\d+", given["target"])
        for part in given["settings"]:
            assert any(part.partition("=")[0] in options_of(name) for name in given["methods"])


def test_files_of_pytorch_say_what_to_name(shared: Path, tmp_path: Path, need: Need, capsys: Any) -> None:
    need("onnxruntime")
    net = shared / "pytorch" / "captum_cifar_exported.pt2"
    assert explained(net, shared / "images" / "cat.jpg", "--preprocess", "unit", "-o", tmp_path / "a.png") == 3
    assert "package.module:attribute" in capsys.readouterr().err


def test_a_detector_is_told_of_boxes(picture: Path, tmp_path: Path, need: Need, capsys: Any) -> None:
    """A box of YOLO's is no class: the command says how to ask for it, and what is not there."""
    np = need("numpy")
    need("onnxruntime")
    op = Builder("yolo", 18)
    x = op.input("x", "float32", (1, 3, 8, 8))
    weights = np.random.default_rng(0).standard_normal((7, 3, 2, 2), "f4")
    y = op.Sigmoid(op.Conv(x, op.weight("w", weights.shape, weights.tobytes()), strides=(2, 2), kernel_shape=(2, 2)))
    rows = op.Transpose(op.Reshape(y, op.constant([1, 7, 16])), perm=[0, 2, 1])
    model = api.save(op.model([op.Mul(rows, op.scalar(1.0))]), tmp_path / "yolo.onnx")
    common = [model, picture, "--preprocess", "unit", "--method", "hirescam", "-o", tmp_path / "out.npy"]
    assert explained(*common) == 0
    assert "may be those of a detector (yolo): --box best" in capsys.readouterr().err
    assert explained(*common, "--box", "best", "-v") == 0
    err = capsys.readouterr().err
    assert re.search(r"a\.png: class [01] at ", err) and "may be" not in err
    assert explained(*common, "--box", "best", "--target", "5") == 2
    assert "found nothing of class 5" in capsys.readouterr().err


def test_empty_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="holds no images"):
        images.files([tmp_path])


def test_maps_of_an_image_beside_a_vector(picture: Path, tmp_path: Path, need: Need, capsys: Any) -> None:
    np, image = need("numpy"), need("PIL.Image")
    need("onnxruntime")
    dice = np.random.default_rng(0)
    op = Builder("two", 18)
    record, x = op.input("record", "float32", ("n", 4)), op.input("image", "float32", ("n", 3, 8, 8))
    y = op.Relu(op.Conv(x, op.weight("w", (4, 3, 3, 3), dice.standard_normal((4, 3, 3, 3), "f4").tobytes()),
                        kernel_shape=(3, 3)))  # fmt: skip
    y = op.Add(op.Flatten(op.GlobalAveragePool(y)), record)
    y = op.Gemm(y, op.weight("v", (4, 2), dice.standard_normal((4, 2), "f4").tobytes()))
    model = api.save(op.model([y]), tmp_path / "two.onnx")
    np.save(tmp_path / "r.npy", np.ones((1, 4), "f4"))
    given = [model, f"record={tmp_path / 'r.npy'}", f"image={picture}", "--preprocess", "unit", "--target", "1"]
    for suffix in ("npy", "png", "html", "npz"):
        assert explained(*given, "--method", "grad-cam", "-o", tmp_path / f"out.{suffix}") == 0, capsys.readouterr().err
    heat = np.load(tmp_path / "out.npy")
    assert heat.shape == (1, 8, 8) and (np.load(tmp_path / "out.npz")["image"] == heat).all()
    with image.open(tmp_path / "out.png") as found:
        pixels = np.asarray(found)[8 + 22 : 8 + 22 + 112, 8:120]
    with image.open(picture) as found:
        whole = np.asarray(found, "f4")
    low, high = whole.min(), whole.max()
    assert (pixels[::14, ::14] == ((whole - low) / (high - low) * 255).round()).all()  # the image, not both in a row
    both = ["--method", "saliency", "--method", "hirescam", "-o"]
    assert explained(*given, *both, tmp_path / "b.npz") == 0
    parts = np.load(tmp_path / "b.npz")
    assert sorted(parts) == ["hirescam/image", "saliency/image", "saliency/record"]
    assert parts["saliency/image"].shape == (1, 3, 8, 8) and parts["saliency/record"].shape == (1, 4)
    assert explained(*given, *both, tmp_path / "b.png") == 2
    assert "class activation maps are of the image alone" in capsys.readouterr().err
