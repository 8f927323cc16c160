"""The command line as scripts type it: outputs, streams, exit codes."""

from __future__ import annotations

import csv
import io
import json
import lzma
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import graphviz_nets
from graphviz_nets import api, plugins
from graphviz_nets.cli import run
from graphviz_nets.config import Options, load_rules
from graphviz_nets.errors import ConfigError

ROOT = Path(__file__).resolve().parents[1]
LENET = str(ROOT / "fixtures" / "caffe" / "lenet.prototxt")
TINY = str(ROOT / "fixtures" / "caffe" / "tiny_train.prototxt")
MODELS = ROOT.parent / "shared" / "models" / "caffe"


def test_one_run_writes_every_format(tmp_path: Path, capsys: Any) -> None:
    outputs = [tmp_path / f"net.{suffix}" for suffix in ("dot", "svg", "png", "pdf", "html", "json")]
    assert run(["render", LENET, *[part for path in outputs for part in ("-o", str(path))], "--rankdir", "LR"]) == 0
    heads = [b"digraph", b"<?xml", b"\x89PNG", b"%PDF", b"<!DOCTYPE html>", b"{"]
    assert all(path.read_bytes().startswith(head) for path, head in zip(outputs, heads, strict=True))
    assert json.loads(outputs[-1].read_text())["rankdir"] == "LR"
    out, err = capsys.readouterr()
    assert out == "" and err.count("wrote ") == 6
    assert not list(tmp_path.glob(".*"))


def test_the_page_of_a_file_with_two_phases_has_both(tmp_path: Path, capsys: Any) -> None:
    for source, phases in ((LENET, 0), (TINY, 2)):
        assert run(["render", source, "-o", str(tmp_path / "net.html"), "-q"]) == 0
        assert (tmp_path / "net.html").read_text("utf-8").count(" data-phase=") == phases
    assert run(["render", TINY, "-o", str(tmp_path / "net.html"), "-q", "--phase", "train"]) == 0
    assert ' id="data" data-phase="train"' in (tmp_path / "net.html").read_text("utf-8")


def test_summary_as_json_follows_the_contract(capsys: Any) -> None:
    assert run(["summary", LENET, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["name", "framework", "runnable", "problems", "totals", "rows"]
    assert found["framework"] == "caffe" and found["runnable"] is False and found["problems"] == []
    assert found["totals"]["layers"] == 9 and found["totals"]["parameters"] == 431080
    assert found["totals"]["macs"] == 2293000
    rows = {row["name"]: row for row in found["rows"]}
    conv = rows["conv1"]
    assert conv["inputs"] == [["data", [64, 1, 28, 28]]] and conv["outputs"] == [["conv1", [64, 20, 24, 24]]]
    assert (conv["parameters"], conv["buffers"], conv["macs"]) == (520, 0, 288000)
    assert conv["attributes"]["num_output"] == 20 and "stride" not in conv["attributes"]
    assert conv["source"].startswith("lenet.prototxt:")
    assert rows["relu1"]["inputs"] == [["ip1", [64, 500]]] == rows["relu1"]["outputs"]


def test_summary_in_the_other_forms(capsys: Any) -> None:
    assert run(["summary", LENET]) == 0
    assert "431,080" in capsys.readouterr().out
    assert run(["summary", LENET, "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == 9 and rows[1]["parameters"] == "520" and rows[1]["output"] == "64x20x24x24"
    assert run(["summary", LENET, "--format", "markdown"]) == 0
    assert capsys.readouterr().out.count("\n| ") == 11
    assert run(["summary", LENET, "--by", "node", "--json"]) == 0
    assert {"Conv", "Gemm"} <= {row["type"] for row in json.loads(capsys.readouterr().out)["rows"]}
    assert run(["summary", TINY, "--by", "scope", "--depth", "1", "--json"]) == 0
    assert all("/" not in row["id"] for row in json.loads(capsys.readouterr().out)["rows"])


def test_a_compressed_file_says_how_to_unpack_it(tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "net.pbtxt.xz"
    file.write_bytes(lzma.compress(b"node {}"))
    assert run(["summary", str(file)]) == 3
    assert "the file is compressed (unpack it first: unxz)" in capsys.readouterr().err


def test_unknown_figures_are_null(tmp_path: Path, capsys: Any) -> None:
    net = tmp_path / "net.prototxt"
    net.write_text(
        'layer { name: "d" type: "HDF5Data" top: "x" } layer { name: "f" type: "Fancy" bottom: "x" top: "y" }'
    )
    assert run(["summary", str(net), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["totals"]["activation_bytes"] is None and found["rows"][1]["outputs"] == [["y", None]]
    assert found["problems"] and found["rows"][1]["type"] == "Fancy"


def test_convert_writes_a_structure_with_a_warning(tmp_path: Path, capsys: Any) -> None:
    import onnx

    target = tmp_path / "lenet.onnx"
    assert run(["convert", LENET, "-o", str(target)]) == 0
    assert "structure only" in capsys.readouterr().err
    onnx.checker.check_model(str(target))
    again, first = api.load(target), api.load(LENET)
    assert again.graph == first.graph and again.scopes == first.scopes and again.framework == "caffe"
    assert run(["render", str(target), "-o", str(tmp_path / "net.svg")]) == 0
    assert run(["render", LENET, "-o", str(tmp_path / "ref.svg")]) == 0
    assert (tmp_path / "net.svg").read_bytes() == (tmp_path / "ref.svg").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["render", LENET], 2, "-o"),
        (["render", LENET, "-o", "x.unknown"], 2, "names no format"),
        (["render", LENET, "-o", "x.svg", "--rankdir", "XX"], 2, "rankdir"),
        (["render", LENET, "-o", "x.svg", "--depth", "many"], 2, "depth"),
        (["render", LENET, "-o", "x.svg", "--theme", "none"], 2, "theme"),
        (["render", LENET, "-o", "x.svg", "--background", "red"], 2, "colour"),
        (["render", LENET, "-o", "x.svg", "--show", "everything"], 2, "show"),
        (["render", LENET, "-o", LENET], 2, "names no format"),
        (["render", "missing.prototxt", "-o", "x.svg"], 3, "missing.prototxt"),
        (["render", "-", "-o", "x.svg"], 2, "--from"),
        (["render", LENET, "-o", "-"], 2, "--to"),
        (["render", LENET, "-o", "x.svg", "--input-shape", "a,b-c"], 2, "dimension"),
        (["convert", LENET, "-o", "x.txt"], 2, ".onnx"),
        (["render", LENET, "-o", "no/such/folder/x.svg"], 3, "cannot be written"),
        (["nonsense"], 2, "nonsense"),
    ],
)
def test_wrong_usage_is_one_line_and_its_code(
    arguments: list[str], code: int, said: str, capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == code
    out, err = capsys.readouterr()
    assert out == "" and said in err and "Traceback" not in err
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not MODELS.is_dir(), reason="../shared/models is not here")
@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("bad_enum.prototxt", 3, ":37:"),
        ("binary_garbage.prototxt", 3, "binary"),
        ("comments_commas_semicolons.prototxt", 0, ""),
        ("crlf_bom.prototxt", 0, ""),
        ("duplicate_layer_names.prototxt", 0, "conv1"),
        ("empty.prototxt", 3, "empty"),
        ("kernel_larger_than_input.prototxt", 0, "conv1: kernel 50"),
        ("missing_closing_brace.prototxt", 3, "never closed"),
        ("only_comments.prototxt", 3, "no layers"),
        ("truncated_det1.caffemodel", 3, "truncated"),
        ("truncated_lenet.prototxt", 0, ""),  # cut between two layers: five whole layers, nothing to see
        ("undefined_bottom.prototxt", 0, "conv2_typo"),
        ("unknown_field.prototxt", 0, ""),
        ("unknown_layer_type.prototxt", 0, "FancyPooling9000"),
    ],
)
def test_malformed_files_end_as_the_manifest_says(name: str, code: int, said: str, tmp_path: Path, capsys: Any) -> None:
    target = tmp_path / "net.svg"
    assert run(["render", str(MODELS / "malformed" / name), "-o", str(target)]) == code
    err = capsys.readouterr().err
    assert said in err and "Traceback" not in err and target.exists() == (code == 0)
    if name == "unknown_field.prototxt":
        assert run(["summary", str(MODELS / "malformed" / name), "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)["rows"]
        assert rows[1]["attributes"]["squish_factor"] == 0.5


def test_a_failed_run_leaves_the_old_file_and_check_compares(tmp_path: Path, capsys: Any) -> None:
    target = tmp_path / "net.svg"
    assert run(["render", LENET, "-o", str(target), "--check"]) == 1 and not target.exists()
    assert run(["render", LENET, "-o", str(target), "-q"]) == 0 and capsys.readouterr().err == f"stale: {target}\n"
    before = target.read_bytes()
    assert run(["render", LENET, "-o", str(target), "--check"]) == 0
    assert run(["render", LENET, "-o", str(target), "--rankdir", "LR", "--check"]) == 1
    broken = tmp_path / "broken.prototxt"
    broken.write_text("layer {")
    assert run(["render", str(broken), "-o", str(target)]) == 3 and target.read_bytes() == before


def test_standard_streams_and_version(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "graphviz_nets"]
    text = Path(LENET).read_bytes()
    done = subprocess.run(
        [*program, "render", "-", "--from", "caffe", "-o", "-", "--to", "svg"], input=text, capture_output=True, cwd=ROOT, check=True  # noqa: E501
    )  # fmt: skip
    assert done.stdout.startswith(b"<?xml") and b"conv1" in done.stdout
    version = subprocess.run([*program, "--version"], capture_output=True, text=True, cwd=ROOT, check=True)
    assert version.stdout == f"graphviz-nets {graphviz_nets.__version__}\n"
    head = subprocess.run(
        f"{sys.executable} -m graphviz_nets summary {LENET} --format csv | head -c 1",
        shell=True, capture_output=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert head.stderr == b""


def test_a_picture_too_large_is_scaled_down_with_a_word(tmp_path: Path, capsys: Any) -> None:
    target = tmp_path / "net.png"
    assert run(["render", LENET, "-o", str(target), "--scale", "40"]) == 0
    assert "64 Mpx" in capsys.readouterr().err
    header = target.read_bytes()[16:24]
    assert int.from_bytes(header[:4]) * int.from_bytes(header[4:]) <= 64_000_000
    assert run(["render", LENET, "-o", str(target), "--scale", "40", "-q"]) == 0 and capsys.readouterr().err == ""


def test_overlay_file(tmp_path: Path, capsys: Any) -> None:
    values, target = tmp_path / "v.csv", tmp_path / "net.svg"
    values.write_text("id,time [ms]\nconv1,1.5\nip1,2\nnothing,3\n")
    assert run(["render", LENET, "-o", str(target), "--overlay", str(values)]) == 0
    assert "nothing" in capsys.readouterr().err
    assert "time [ms]" in target.read_text() and 'class="legend"' in target.read_text()
    assert run(["render", LENET, "-o", str(target), "--overlay", str(tmp_path / "none.csv")]) == 3
    assert "none.csv: cannot be read" in capsys.readouterr().err
    values.write_text("id,t\nconv1,fast\n")
    assert run(["render", LENET, "-o", str(target), "--overlay", str(values)]) == 3
    assert "v.csv:2" in capsys.readouterr().err


def test_rules_file(tmp_path: Path, capsys: Any) -> None:
    rules, target = tmp_path / "graphviz_nets.yaml", tmp_path / "net.svg"
    rules.write_text(
        "rankdir: LR\nfold: [pooling]\ntheme: mine\nthemes:\n  mine: {base: grey, kinds: {convolution: '#123456'}}\n"
    )
    options = load_rules(rules)
    assert options.rankdir == "LR" and options.fold_types == ("pooling",)
    assert run(["render", LENET, "-o", str(target), "--rules", str(rules)]) == 0
    svg = target.read_text()
    assert "#123456" in svg and svg.count('data-kind="node"') == 6
    for text, said in [("nonsense: 1", "nonsense"), ("rankdir: 5", "rankdir"), ("themes: {a: {kinds: {x: '#fff'}}}\ntheme: a", "x"),  # noqa: E501
                       ("a: [", "yaml:"), ("- 1", "mapping"), ("show: [all]", "show"), ("depth: true", "depth")]:  # fmt: skip  # noqa: E501
        rules.write_text(text)
        capsys.readouterr()
        assert run(["render", LENET, "-o", str(target), "--rules", str(rules)]) == 2
        assert said in capsys.readouterr().err
    rules.write_text("a: &a [1]\nb: !!python/object/apply:os.system ['true']")
    with pytest.raises(ConfigError):
        load_rules(rules)


def test_formats_and_doctor(capsys: Any) -> None:
    assert run(["formats", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"caffe", "onnx"} <= {item["name"] for item in found["converters"]}
    assert {"dot", "svg", "png", "pdf", "html", "json"} == {item["name"] for item in found["renderers"]}
    assert run(["doctor", "--json"]) in (0, 4)
    assert json.loads(capsys.readouterr().out)["packages"]["onnx"]


PLUGIN = """
from graphviz_nets.graph.builder import Builder

class Words:
    name, title, suffixes = "words", "A chain of words", (".words",)
    def match(self, path, head):
        return 80 if path.suffix == ".words" else 0
    def open(self, path, data, options):
        op = Builder(path.stem)
        value = op.input("start", "float32", (1,))
        for word in path.read_text().split():
            value = op.node(word, [value], domain="words")[0]
        return op.model([value], framework="words")

class Names:
    name, title, suffixes, wants = "names", "Names of the boxes", (".names",), "diagram"
    def write(self, diagram, options):
        return " ".join(box.title for box in diagram.root.boxes).encode()

converter, renderer = Words(), Names()
"""


def test_a_third_partys_converter_and_renderer(tmp_path: Path) -> None:
    """A distribution of its own, found by its entry points, reads a format and writes another."""
    (tmp_path / "words_plugin.py").write_text(PLUGIN)
    info = tmp_path / "words_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: words-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[graphviz_nets.converters]\nwords = words_plugin:converter\n[graphviz_nets.renderers]\nnames = words_plugin:renderer\n"  # noqa: E501
    )
    (tmp_path / "a.words").write_text("one two three")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-m", "graphviz_nets", "render", "a.words", "-o", "a.names", "-o", "a.svg"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert (tmp_path / "a.names").read_text() == "start one two three"
    assert b"words::two" in (tmp_path / "a.svg").read_bytes()
    assert plugins.resolve("converters", "words") is None  # not here, where it is not installed


def test_api_and_notebook() -> None:
    model = graphviz_nets.load(LENET, phase="test")
    bundle = model._repr_mimebundle_()
    assert set(bundle) == {"image/svg+xml", "text/html", "text/plain"} and "conv1" in bundle["text/html"]
    other = graphviz_nets.load(TINY)._repr_mimebundle_()["image/svg+xml"]
    scope = bundle["image/svg+xml"].split('class="')[1].split('"')[0]
    assert scope not in other and f".{scope} " in bundle["image/svg+xml"]
    with pytest.raises(ConfigError, match="colour"):
        graphviz_nets.render(model, "x.svg", colour="red")
    assert Options().rankdir == "TB"
    graph = model.to_networkx()
    assert graph.has_edge("conv1", "pool1") or any("conv1" in str(node) for node in graph)


def test_phases_of_a_train_net(capsys: Any) -> None:
    counts = {}
    for phase in ("train", "test"):
        assert run(["summary", TINY, "--phase", phase, "--json", "-q"]) == 0
        counts[phase] = {row["type"] for row in json.loads(capsys.readouterr().out)["rows"]}
    assert "Accuracy" in counts["test"] - counts["train"]
