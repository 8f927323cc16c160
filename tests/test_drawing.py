"""Geometry, folding, depth, overlays and output formats."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphviz_nets import api
from graphviz_nets.config import RANKDIRS, Options
from graphviz_nets.drawing import engine, pieces, route
from graphviz_nets.drawing.captions import caption
from graphviz_nets.drawing.diagram import boxes, diagram
from graphviz_nets.drawing.scene import Scene, Text, scene
from graphviz_nets.drawing.text import font, visible
from graphviz_nets.drawing.theme import DARK, KINDS, LIGHT, rgb
from graphviz_nets.graph.builder import Builder
from graphviz_nets.graph.ir import Model
from graphviz_nets.renderers import draw
from tests.geometry import faults

MODELS = Path(__file__).resolve().parents[2] / "shared" / "models" / "caffe"
HOSTILE = [
    "<script>alert(1)</script>",
    "]]>&amp;\"'",
    "\\",
    "a\nb\x00\x1b",
    "\u202e\u2066",
    "层名",
    "x" * 10_000,
    "\\N\\l{|}<p>",
    "",
]


@st.composite
def models(draw: Any) -> Model:
    """A random acyclic net with nested scopes, several inputs per node and names of any kind."""
    op = Builder("random")
    values = [op.input(f"in{k}", "float32", (1, 2)) for k in range(draw(st.integers(1, 3)))]
    names = st.sampled_from(["a", "b", "a/c", "a/c/d", "e", "", "b/a"])
    for k in range(draw(st.integers(1, 14))):
        op.scope = tuple(part for part in draw(names).split("/") if part)
        uses = draw(st.lists(st.sampled_from(values), min_size=1, max_size=4))
        outputs = draw(st.integers(1, 2))
        values += op.node(draw(st.sampled_from(["Conv", "Relu", "Concat", "Odd"])), uses, outputs, name=f"n{k}",
                          domain="test", known=[("float32", (1, k + 1))] * outputs)  # fmt: skip
    return op.model(values[-1:])


@given(models(), st.sampled_from(RANKDIRS), st.sampled_from([0, 1, 2, "all", None]), st.booleans())
@settings(max_examples=80, deadline=None)
def test_no_drawing_has_a_fault(model: Model, rankdir: str, depth: int | str | None, labels: bool) -> None:
    options = Options(rankdir=rankdir, depth=depth, show=("shapes", "attrs") if labels else ())
    plan = diagram(model, options)
    assert list(faults(scene(plan, options))) == []


@pytest.fixture
def no_memory() -> Iterator[None]:
    """Layouts of other tests are not to be found again, nor those of this one by others."""
    engine._solved.clear()
    yield
    engine._solved.clear()
    engine._spent = 0.0


@given(models(), st.sampled_from(RANKDIRS))
@settings(max_examples=25, deadline=None)
def test_the_simple_placement_has_no_fault_either(model: Model, rankdir: str) -> None:
    before = engine.SMALL, engine._ask
    engine.SMALL, engine._ask = -1, lambda problem: None  # type: ignore[assignment]
    engine._solved.clear()
    try:
        options = Options(rankdir=rankdir, depth="all")
        assert list(faults(scene(diagram(model, options), options))) == []
    finally:
        engine.SMALL, engine._ask = before
        engine._solved.clear()


@given(models(), st.sampled_from(RANKDIRS), st.sampled_from([0.3, 1.0, 3.0]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_wrapped_and_cut_layouts_have_no_fault(model: Model, rankdir: str, aspect: float, cut: bool) -> None:
    before = pieces.LONG, pieces.WHOLE, pieces.PIECE
    pieces.LONG = 3
    if cut:
        pieces.WHOLE, pieces.PIECE = 4, 3
    try:
        options = Options(rankdir=rankdir, depth="all", aspect=(aspect, 1.0))
        assert list(faults(scene(diagram(model, options), options))) == []
    finally:
        pieces.LONG, pieces.WHOLE, pieces.PIECE = before


def test_the_child_process_lays_out_and_runs_nothing_from_the_folder_it_is_in(
    tmp_path: Path, no_memory: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model's folder may hold a ``json.py`` or a ``graphviz_nets`` of its own."""
    (tmp_path / "json.py").write_text("open('marker', 'w').close()")
    (tmp_path / "graphviz_nets").mkdir()
    (tmp_path / "graphviz_nets" / "__init__.py").write_text("open('marker', 'w').close()")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engine, "SMALL", -1)
    monkeypatch.setattr(engine, "_idle", [])
    solution = engine.solve(engine.Problem(((60, 20, (), ()), (60, 20, (), ())), 0, 0, ((0, -1, 1, -1, 0, 0),)))
    assert solution.engine == "dot" and not (tmp_path / "marker").exists()
    (child,) = engine._idle
    child.kill()
    child.wait()
    lost = engine.solve(engine.Problem(((61, 20, (), ()),), 0, 0, ()))
    assert lost.engine == "simple" and not engine._idle
    again = engine.solve(engine.Problem(((62, 20, (), ()),), 0, 0, ()))
    assert again.engine == "dot"  # a dead child is replaced


def test_a_layout_that_takes_too_long_is_given_up(no_memory: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "SMALL", -1)
    monkeypatch.setattr(engine, "SECONDS", 0.0)
    monkeypatch.setattr(engine, "_idle", [])
    boxes_ = tuple((60.0, 20.0, (), ()) for _ in range(300))
    edges = tuple((k, -1, k + 1, -1, 0.0, 0.0) for k in range(299))
    assert engine.solve(engine.Problem(boxes_, 0, 0, edges)).engine == "simple"


def test_child_processes_answer_as_this_process_does(no_memory: None, monkeypatch: pytest.MonkeyPatch) -> None:
    problems = [
        engine.Problem(tuple((60.0 + k, 20.0, (), ()) for _ in range(k)), 0, 0, ((0, -1, k - 1, -1, 30.0, 14.0),))
        for k in range(2, 9)
    ]
    here = engine.solve_all(problems)
    engine._solved.clear()
    monkeypatch.setattr(engine, "PARALLEL", 0)
    monkeypatch.setattr(engine, "SMALL", 5)
    assert engine.solve_all(problems) == here


@given(models(), st.sampled_from([0, 1, "all"]))
@settings(max_examples=40, deadline=None)
def test_every_node_and_edge_is_shown_once_open(model: Model, depth: int | str) -> None:
    plan = diagram(model, Options(depth=depth, fold=False))
    shown = [box.id for box in boxes(plan.root)]
    assert len(shown) == len(set(shown))
    if depth != "all":
        return
    assert {node.id for node in model.graph.nodes} <= {box.details.get("id", box.id) for box in boxes(plan.root)}
    graph = model.graph
    edges = {
        (graph.producers[name].id if name in graph.producers else name, node.id)
        for node in graph.nodes
        for name in node.inputs
    }
    ids = {node.id: box for box, node in zip_nodes(plan, model)}
    assert {(ids.get(a, a), ids.get(b, b)) for a, b in edges} == {(link.source, link.target) for link in plan.links}


def zip_nodes(plan: Any, model: Model) -> list[tuple[str, Any]]:
    """Return (box id, node) pairs: a box that shows a node has the node's id in its details."""
    by_id = model.graph.by_id
    return [(box.id, by_id[box.details["id"]]) for box in boxes(plan.root) if box.details.get("id") in by_id]


@pytest.mark.parametrize("rankdir", RANKDIRS)
@pytest.mark.parametrize(
    "name",
    ["bvlc/mnist/lenet.prototxt", "bvlc/bvlc_googlenet/deploy.prototxt", "resnet/ResNet-50-deploy.prototxt",
     "netscope/SSD300.prototxt", "weights/ultraface/RFB-320.prototxt", "senet/SE-ResNet-50.prototxt"],
)  # fmt: skip
def test_real_nets_are_drawn_without_fault(name: str, rankdir: str) -> None:
    if not MODELS.is_dir():
        pytest.skip("../shared/models is not here")
    options = Options(rankdir=rankdir, depth="all")
    assert list(faults(scene(diagram(api.load(MODELS / name), options), options))) == []


def lenet() -> Model:
    return api.load(Path(__file__).resolve().parents[1] / "fixtures" / "caffe" / "lenet.prototxt")


def test_in_place_layers_and_lone_activations_are_rows() -> None:
    shown = {box.id: [row.id for row in box.rows] for box in boxes(diagram(lenet()).root)}
    assert shown["ip1"] == ["relu1"] and "relu1" not in shown
    unfolded = [box.id for box in boxes(diagram(lenet(), Options(fold=False)).root)]
    assert "relu1" in unfolded and len(unfolded) == 9


def branching(scopes: tuple[str, ...]) -> Model:
    op = Builder("b")
    x = op.input("x", "float32", (1, 4))
    for name in scopes:
        op.scope = tuple(name.split("/"))
        x = op.Sigmoid(op.node("Odd", [x], domain="t", known=[("float32", (1, 4))])[0])
        x = op.node("Odd", [x], domain="t", known=[("float32", (1, 4))])[0]
    return op.model([x])


def test_depth_expand_and_collapse() -> None:
    model = branching(("a/b", "a/c", "d/e"))
    ids = lambda **given: [  # noqa: E731
        box.id for box in boxes(diagram(model, Options(repeats=False, **given)).root) if box.shown_as == "scope"
    ]
    assert ids(depth=0) == ["a", "d/e"]
    assert ids(depth=1) == ["a", "a/b", "a/c", "d/e"]
    assert ids(depth=0, expand=("a",)) == ["a", "a/b", "a/c", "d/e"]
    assert ids(depth="all", collapse=("a",)) == ["a", "d/e"]
    assert ids(depth="all", group="none") == []
    closed = [box for box in boxes(diagram(model, Options(depth=0, repeats=False)).root) if box.id == "a"]
    assert closed[0].group is None and closed[0].members == 2


def test_default_depth_opens_until_sixty_boxes() -> None:
    few, many = branching(tuple(f"s{k}" for k in range(10))), branching(tuple(f"s{k}" for k in range(40)))
    options = Options(repeats=False)
    assert all(box.group is not None for box in boxes(diagram(few, options).root) if box.shown_as == "scope")
    assert all(box.group is None for box in boxes(diagram(many, options).root))


def test_overlay_colours_boxes_and_sums_over_closed_groups() -> None:
    model = branching(("a", "d"))
    nodes = [node.id for node in model.graph.nodes if node.scope == ("a",)]
    options = Options(depth=0, overlay=dict.fromkeys(nodes, 2.0), overlay_title="ms")
    plan = diagram(model, options)
    found = {box.id: box.value for box in boxes(plan.root)}
    assert found["a"] == 6.0 and found["d"] is None and plan.overlay == ("ms", 6.0, 6.0)
    picture = scene(plan, options)
    assert [item for item in picture.items if item.kind == "legend"]
    assert list(faults(picture)) == []


def texts(picture: Scene) -> list[str]:
    return [shape.whole or shape.text for item in picture.items for shape in item.shapes if isinstance(shape, Text)]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_text_in_every_format(name: str) -> None:
    op = Builder(name)
    x = op.input("x", "float32", (1,))
    op.scope = (name or "s", "inner")
    y = op.node("Odd", [x], name=name or "n", domain="t")[0]
    op.scope = (name or "s", "other")
    model = op.model([op.node(name or "Op", [y], name=name + "2", domain="t")[0]])
    options = Options(depth="all", title=name)
    picture = scene(diagram(model, options), options)
    assert list(faults(picture)) == []
    dot, svg, png, pdf, data = draw(model, ["dot", "svg", "png", "pdf", "json"], options)
    tree = ElementTree.fromstring(svg)
    assert not [node for node in tree.iter() if node.tag.endswith(("script", "image", "foreignObject", "a"))]
    assert visible(name) in "".join(tree.itertext())
    assert visible(name) in "".join(texts(picture))
    assert png.startswith(b"\x89PNG") and pdf.startswith(b"%PDF")
    assert json.loads(data)["schema_version"] == 1
    if shutil.which("dot"):
        subprocess.run(["dot", "-Tcanon"], input=dot, check=True, capture_output=True)


def test_dot_of_every_direction_is_accepted() -> None:
    if not shutil.which("dot"):
        pytest.skip("Graphviz's dot is not installed")
    for rankdir in RANKDIRS:
        (content,) = draw(branching(("a/b", "a/c", "d")), ["dot"], Options(rankdir=rankdir, depth="all"))
        run = subprocess.run(["dot", "-Tplain"], input=content, check=True, capture_output=True)
        assert run.stdout.count(b"\nnode ") == 7 and not run.stderr


def test_output_is_deterministic_and_direction_counts() -> None:
    first, second = (draw(lenet(), ["svg", "dot", "json", "png", "pdf"], Options()) for _ in range(2))
    assert first == second
    sizes = {}
    for rankdir in RANKDIRS:
        picture = scene(diagram(lenet(), Options(rankdir=rankdir)), Options(rankdir=rankdir))
        sizes[rankdir] = picture.height > picture.width
        place = {item.id: (item.x, item.y) for item in picture.items if item.kind == "node"}
        axis, sign = {"TB": (1, 1), "BT": (1, -1), "LR": (0, 1), "RL": (0, -1)}[rankdir]
        assert sign * place["prob"][axis] > sign * place["data"][axis]
    assert sizes == {"TB": True, "BT": True, "LR": False, "RL": False}


def test_text_is_measured_by_the_fonts_own_metrics() -> None:
    from fontTools.pens.boundsPen import BoundsPen
    from fontTools.ttLib import TTFont

    with TTFont(font().path) as source:
        glyphs, pen, cursor = source.getGlyphSet(), None, 0.0
        for char in "Convolution 5×5":
            glyph = glyphs[source.getBestCmap()[ord(char)]]
            pen = BoundsPen(glyphs)
            glyph.draw(pen)
            cursor += glyph.width
        assert pen is not None
        assert font().width("Convolution 5×5", 10) == pytest.approx(cursor * 10 / source["head"].unitsPerEm)
    assert font().width("层", 10) == 10 and font().lacks("层") and not font().lacks("α±×")


@given(st.text(max_size=60), st.floats(5, 200))
def test_a_cut_text_fits(text: str, width: float) -> None:
    short = font().cut(text, 10, width)
    assert font().width(short, 10) <= max(width, font().width("…", 10)) + 1e-9
    assert short == text or "…" in short


@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=8, unique=True),
    st.integers(0, 8), st.integers(0, 8),
)  # fmt: skip
def test_a_way_around_boxes_is_found(cells: list[tuple[int, int]], a: int, b: int) -> None:
    rectangles = [(60.0 * i, 60.0 * j + 40, 60.0 * i + 40, 60.0 * j + 70) for i, j in cells]
    start, end = (60.0 * a + 20, 0.0), (60.0 * b + 20, 640.0)
    way = route.around(start, end, rectangles, (-20.0, 0.0, 580.0, 640.0))
    assert way is not None and way[0] == start and way[-1] == end
    assert not route.through(way, rectangles)


def test_captions_read_every_way_caffe_writes_a_window() -> None:
    assert caption("Convolution", {"kernel_h": 1, "kernel_w": 7, "pad_h": 0, "pad_w": 3}) == ("1×7", "pad 0×3")
    assert caption("Pooling", {"pool": "AVE", "global_pooling": True}) == ("global AVE",)
    assert caption("Convolution", {"kernel_size": [3, 5], "stride": [2, 1]}) == ("3×5", "stride 2×1")
    assert caption("Eltwise", {}) == ("SUM",)


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_text_contrast_is_readable(palette: Any) -> None:
    """W3C's contrast of text on every fill is at least 4.5, and so it is in grey, where lightness is all there is."""

    def luminance(colour: str) -> float:
        parts = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb(colour)]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    assert set(KINDS) | {"other"} == set(palette.fills) == set(palette.accents)
    for fill in [*palette.fills.values(), palette.background, palette.group]:
        for ink in (palette.text, palette.muted):
            light, dark = sorted((luminance(fill), luminance(ink)), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (fill, ink)
