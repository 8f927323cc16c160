"""The page: what it holds, and how it behaves in a real browser."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from graphviz_nets import api
from graphviz_nets.config import Options
from graphviz_nets.drawing.diagram import diagram
from graphviz_nets.drawing.scene import scene
from graphviz_nets.drawing.text import visible
from graphviz_nets.drawing.weights import measured, tiled
from graphviz_nets.graph.builder import Builder
from graphviz_nets.graph.ir import Model
from graphviz_nets.graph.scopes import Scope
from graphviz_nets.renderers import draw
from graphviz_nets.renderers.html import HERE, MODULES
from graphviz_nets.renderers.pixels import png_url
from tests.conftest import ALL, ROOT

FIXTURES = ROOT / "fixtures" / "caffe"


def page_of(model: Model, phases: dict[str, Model] | None = None, **given: Any) -> str:
    (content,) = draw(model, ["html"], Options(**given), phases)
    return content.decode()


def lenet() -> Model:
    return api.load(FIXTURES / "lenet.prototxt")


def data_of(page: str) -> Any:
    return json.loads(re.search(r'<script type="application/json" id="data"[^>]*>(.*?)</script>', page, re.S)[1])  # type: ignore[index]


def test_the_page_is_one_small_file_that_loads_nothing() -> None:
    page = page_of(lenet())
    assert page == page_of(lenet())
    assert len(page) < 150_000
    assert not re.search(r'(?:src|href)="(?!#|data:)', page) and "import " not in page.split("<script>")[1]
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]  # type: ignore[index]
    assert policy.startswith("default-src 'none'")
    for tag in ("style", "script"):
        content = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.S)[1]  # type: ignore[index]
        assert base64.b64encode(hashlib.sha256(content.encode()).digest()).decode() in policy


def test_boxes_rows_and_wires_carry_their_hooks() -> None:
    page = page_of(lenet())
    boxes = re.findall(r'data-id="([^"]*)" data-kind="([^"]*)"', page)
    assert boxes == [(name, "node") for name in "data conv1 pool1 conv2 pool2 ip1 ip2 prob".split()]
    assert 'data-id="relu1" data-row-of="ip1"' in page
    wires = re.findall(r'data-from="([^"]*)" data-to="([^"]*)"', page)
    assert wires == list(zip([name for name, _ in boxes], [name for name, _ in boxes][1:], strict=False))
    about = data_of(page)["boxes"]["conv1"]
    assert about["attributes"]["num_output"] == 20 and about["parameters"] == 520 and about["source"]


def test_modules_use_one_line_imports_and_named_exports_only() -> None:
    for name in MODULES:
        text = (HERE / name).read_text("utf-8")
        assert "export default" not in text and "innerHTML" not in text and "eval(" not in text
        assert text.count("import ") == sum(line.startswith("import {") for line in text.splitlines())


HOSTILE = ["<script>alert(1)</script>", "</script><img src=x onerror=alert(2)>", '"><svg onload=alert(3)>', "\u202ereversed", "\0nul",  # noqa: E501
           "x" * 10_000, "'; alert(4) //", "constructor", "层"]  # fmt: skip


def hostile() -> Model:
    op = Builder("<script>alert(0)</script>")
    value = op.input("in", "float32", (1,))
    scopes = []
    for k, name in enumerate(HOSTILE):
        path = (f"{k}{name}".replace("/", "∕"),)
        op.scope = path
        before, value = value, op.node("Odd", [value], domain="x")[0]
        scopes.append(
            Scope(path, "layer", name, name, {name: name, "nested": {name: [name, {name: 1}]}}, (before,), (value,))
        )
    return op.model([value], scopes, problems=tuple(HOSTILE), framework="test")


@pytest.fixture
def visit(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """Open a page; afterwards there must have been no message, no error, no dialog and no request but the file."""
    faults: list[str] = []
    pages: list[Any] = []

    def go(model: Model, address: str = "", width: int = 1200, scheme: str = "light", **given: Any) -> Any:
        path = tmp_path / "page.html"
        path.write_text(page_of(model, **given), "utf-8")
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        pages.append(page)
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
        page.on(
            "request", lambda request: None if request.url.startswith("file://") else faults.append(request.url[:200])
        )
        page.goto(path.as_uri() + address)
        return page

    yield go
    for page in pages:
        page.close()
    assert [fault for fault in faults if not fault.startswith(("data:font", "data:image/png"))] == []


def box(page: Any, name: str) -> Any:
    return page.locator(f'[data-id="{name}"]').first


def test_hover_shows_and_click_pins_the_parameters(visit: Any) -> None:
    page = visit(lenet())
    box(page, "conv1").hover()
    card = page.get_by_role("tooltip")
    assert "num_output" in card.inner_text() and "64×20×24×24" in card.inner_text()
    box(page, "conv1").click(position={"x": 12, "y": 12})
    panel = page.get_by_role("complementary")
    assert panel.get_attribute("data-id") == "conv1"
    text = panel.inner_text()
    assert "520" in text and "288,000" in text and "weight_filler" in text and "lenet.prototxt:" in text
    assert page.url.endswith("#conv1")
    assert page.locator("g.wire.near").count() == 2
    page.keyboard.press("Escape")
    assert panel.is_hidden() and "#" not in page.url
    box(page, "relu1").click()
    assert panel.get_attribute("data-id") == "relu1" and "ReLU" in panel.inner_text()


def test_search_deep_link_and_keyboard(visit: Any) -> None:
    page = visit(lenet(), "#ip2")
    panel = page.get_by_role("complementary")
    assert panel.get_attribute("data-id") == "ip2"
    search = page.get_by_role("searchbox")
    search.fill("POOL")
    assert page.locator("g.hit").count() == 2 and page.get_by_role("status").inner_text() == "2 found"
    search.press("Enter")
    search.press("Enter")
    assert panel.get_attribute("data-id") == "pool2"
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert panel.get_attribute("data-id") == "conv1"


def test_zoom_pan_and_fit(visit: Any) -> None:
    page = visit(lenet())
    start = box(page, "conv1").bounding_box()
    page.mouse.move(600, 400)
    page.mouse.wheel(0, -300)
    larger = box(page, "conv1").bounding_box()
    assert larger["width"] > start["width"] * 1.3
    page.mouse.down()
    page.mouse.move(650, 430, steps=4)
    page.mouse.up()
    moved = box(page, "conv1").bounding_box()
    assert abs(moved["x"] - larger["x"] - 50) < 8 and page.get_by_role("complementary").is_hidden()
    page.get_by_role("button", name="Fit").click()
    assert box(page, "conv1").bounding_box() == start


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1200])
def test_text_fits_its_box_as_the_browser_measures_it(visit: Any, scheme: str, width: int) -> None:
    page = visit(api.load(FIXTURES / "tiny_train.prototxt"), width=width, scheme=scheme, depth="all")
    outside = page.evaluate(
        """() => [...document.querySelectorAll('#drawing g.box, #drawing g.row')].flatMap(g => {
             const room = g.querySelector('rect').getBoundingClientRect();
             return [...g.querySelectorAll(':scope > text')].filter(t => {
               const r = t.getBoundingClientRect();
               return r.left < room.left - 1 || r.right > room.right + 1;
             }).map(t => t.textContent);
           })"""
    )
    assert outside == []
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_role("button", name="Theme").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != paper
    assert page.evaluate("document.fonts.check('bold 12px Roboto')")


def test_hostile_names_are_text(visit: Any) -> None:
    page = visit(hostile())
    assert page.locator("#drawing script, #drawing img, header img, aside img").count() == 0
    page.locator("#problems summary").click()
    assert page.locator("#problems li").count() == len(HOSTILE)
    for element in page.locator("g.box").all():
        element.dispatch_event("click")
        panel = page.get_by_role("complementary")
        assert panel.get_attribute("data-id") == element.get_attribute("data-id")
        page.keyboard.press("i")
        assert "\u202e" not in page.locator("footer").inner_text()
    page.get_by_role("button", name="Table").click()
    page.get_by_role("columnheader", name="Name").get_by_role("button").click()
    page.locator("#colour").select_option(label="Colour: Data type")
    page.get_by_role("searchbox").fill("<script>")
    assert page.get_by_role("status").inner_text() != "0 found"
    assert page.locator("#drawing script, #costs script, footer script, #costs img, aside svg").count() == 0
    assert "<script>alert(1)</script>" in page.locator("#problems").inner_text()
    assert visible("\0nul") in page.locator("#drawing").inner_html()


# Opening and closing groups ---------------------------------------------------------------------------------------


def grouped() -> Model:
    """Groups in groups, a run of equal ones, a long skip, several ports."""
    op = Builder("grouped")
    x = op.input("x", "float32", (1, 8))
    y = op.input("y", "float32", (1, 8))
    skip = x
    for outer in range(3):
        for inner in range(3):
            op.scope = (f"stage{outer}", f"block{inner}")
            a = op.Sin(op.Cos(x))
            b = op.Tanh(op.Abs(y)) if inner == outer else op.Neg(op.Exp(y))
            x, y = op.Add(a, b), op.Mul(a, b)
        op.scope = (f"stage{outer}",)
        x = op.Add(x, skip)
    op.scope = ()
    return op.model([op.Add(x, y)])


SCENE = """() => {
  const number = (text) => text.match(/-?[0-9.]+/g).map(Number);
  const boxes = [...document.querySelectorAll('#drawing g.box')].map((g) => {
    const [x, y] = number(g.getAttribute('transform'));
    const r = g.querySelector('rect');
    const room = g.querySelectorAll(':scope > rect');
    const at = (e, name) => +e.getAttribute(name);
    const sizes = [...room].map((e) => [at(e, 'x') + at(e, 'width'), at(e, 'y') + at(e, 'height')]);
    return {id: g.dataset.id, parent: g.dataset.parent || '', open: g.getAttribute('aria-expanded') === 'true',
            x, y, w: Math.max(...sizes.map((s) => s[0])), h: Math.max(...sizes.map((s) => s[1]))};
  });
  const wires = [...document.querySelectorAll('#drawing g.wire')].map((g) => {
    const path = g.querySelector('path');
    const length = path.getTotalLength();
    const points = [];
    for (let at = 0; at <= length; at += 4) { const p = path.getPointAtLength(at); points.push([p.x, p.y]); }
    return {from: g.dataset.from, to: g.dataset.to, points};
  });
  return {boxes, wires};
}"""


def scene_faults(found: Any) -> list[str]:
    """Return what is wrong with the boxes and wires that a browser shows."""
    wrong = []
    boxes = {box["id"]: box for box in found["boxes"]}
    for one in boxes.values():
        if one["parent"]:
            room = boxes[one["parent"]]
            inside = room["x"] <= one["x"] + 0.1 and room["y"] <= one["y"] + 0.1
            inside &= one["x"] + one["w"] <= room["x"] + room["w"] + 0.1
            if not inside or one["y"] + one["h"] > room["y"] + room["h"] + 0.1:
                wrong.append(f"{one['id']} is outside {one['parent']}")
        for two in boxes.values():
            if one["id"] < two["id"] and one["parent"] == two["parent"]:
                apart = one["x"] + one["w"] <= two["x"] + 0.1 or two["x"] + two["w"] <= one["x"] + 0.1
                if not apart and one["y"] + one["h"] > two["y"] + 0.1 and two["y"] + two["h"] > one["y"] + 0.1:
                    wrong.append(f"{one['id']} overlaps {two['id']}")
    for wire in found["wires"]:
        for box in boxes.values():
            if box["open"]:
                continue
            for x, y in wire["points"]:
                across = box["x"] + 1.5 < x < box["x"] + box["w"] - 1.5
                if across and box["y"] + 1.5 < y < box["y"] + box["h"] - 1.5:
                    wrong.append(f"{wire['from']} -> {wire['to']} passes through {box['id']}")
                    break
    return wrong


def test_a_group_opens_and_closes_by_sign_double_click_and_key(visit: Any) -> None:
    page = visit(grouped(), depth=0)
    stage = box(page, "stage1")
    assert stage.get_attribute("role") == "button" and stage.get_attribute("aria-expanded") == "false"
    assert box(page, "x").get_attribute("role") is None
    before = stage.bounding_box()
    stage.locator(".sign").click()
    assert box(page, "stage1").get_attribute("aria-expanded") == "true"
    assert page.locator('[data-parent="stage1"]').count() > 1
    after = box(page, "stage1").bounding_box()
    assert abs(before["x"] - after["x"]) < 2 and abs(before["y"] - after["y"]) < 2  # the corner stays
    box(page, "stage1").locator(".sign").first.click()
    assert box(page, "stage1").get_attribute("aria-expanded") == "false"
    box(page, "stage2").dblclick(position={"x": 12, "y": 12})
    assert box(page, "stage2").get_attribute("aria-expanded") == "true"
    box(page, "stage0").focus()
    page.keyboard.press("Enter")
    assert box(page, "stage0").get_attribute("aria-expanded") == "true"
    assert page.get_by_role("complementary").get_attribute("data-id") == "stage0"


@pytest.mark.parametrize("rankdir", ["TB", "LR", "BT", "RL"])
def test_whatever_is_open_boxes_stay_apart_and_wires_clear(visit: Any, rankdir: str) -> None:
    page = visit(grouped(), depth=0, rankdir=rankdir, repeats=False)
    assert scene_faults(page.evaluate(SCENE)) == []
    chance = random.Random(rankdir)
    for _ in range(8):
        ids = [b["id"] for b in page.evaluate(SCENE)["boxes"] if b["id"].startswith("stage")]
        can = [name for name in ids if box(page, name).get_attribute("role") == "button"]
        page.evaluate(
            'id => document.querySelector(`[data-id="${CSS.escape(id)}"] .sign`).dispatchEvent('
            "new MouseEvent('click', {bubbles: true}))",
            chance.choice(can),
        )
        assert scene_faults(page.evaluate(SCENE)) == []


def test_a_link_and_a_search_open_what_is_around_a_box(visit: Any) -> None:
    name = "stage1/block0/Sin"
    page = visit(grouped(), f"#{name}", depth=0, repeats=False)
    panel = page.get_by_role("complementary")
    assert panel.get_attribute("data-id") == name
    assert box(page, "stage1").get_attribute("aria-expanded") == "true" and box(page, name).is_visible()
    search = page.get_by_role("searchbox")
    search.fill("stage2/block1/Cos")
    search.press("Enter")
    assert panel.get_attribute("data-id") == "stage2/block1/Cos" and box(page, "stage2/block1/Cos").is_visible()


def test_the_panel_of_a_run_names_its_members(visit: Any) -> None:
    op = Builder("run")
    x = op.input("x", "float32", (1, 8))
    for k in range(3):
        op.scope = (f"block{k}",)
        x = op.Add(op.MatMul(x, op.weight(f"w{k}", (8, 8))), x)
    page = visit(op.model([x]), depth=0)
    assert box(page, "block0").get_attribute("data-kind") == "fold"
    box(page, "block0").click(position={"x": 12, "y": 12})
    text = page.get_by_role("complementary").inner_text()
    assert "3 equal ones (distinct weights)".upper() in text.upper() and "block2" in text


def test_levels_open_and_close(visit: Any) -> None:
    page = visit(grouped(), depth=0)
    start = page.locator("#drawing g.box").count()
    page.get_by_role("button", name="Open").and_(page.locator("#deeper")).click()
    more = page.locator("#drawing g.box").count()
    page.locator("#deeper").click()
    most = page.locator("#drawing g.box").count()
    assert start < more < most
    page.locator("#shallower").click()
    page.locator("#shallower").click()
    assert page.locator("#drawing g.box").count() == start
    assert visit(lenet()).locator("#deeper").is_hidden()


def test_the_page_begins_with_what_the_picture_shows(visit: Any) -> None:
    for depth in (0, 1, None):
        page = visit(grouped(), depth=depth)
        options = Options(depth=depth)
        shown = {
            item.id for item in scene(diagram(grouped(), options), options).items if item.id and item.kind != "row"
        }
        assert {b["id"] for b in page.evaluate(SCENE)["boxes"]} == shown
        assert scene_faults(page.evaluate(SCENE)) == []


def test_a_large_page_draws_what_is_in_view(visit: Any) -> None:
    op = Builder("large")
    x = op.input("x", "float32", (1, 8))
    for k in range(1500):
        op.scope = (f"g{k // 100}",)
        x = op.Sin(x) if k % 3 else op.Cos(x)
    large = op.model([x])
    page = visit(large, depth=1, repeats=False, group="scopes")
    alive = page.locator("#drawing g.box").count()
    assert 10 < alive < 600
    far = next(node.id for node in reversed(large.graph.nodes))
    page.evaluate("location.hash = '%'")  # no name; nothing happens
    page.evaluate("id => (location.hash = encodeURIComponent(id))", far)
    box(page, far).wait_for(state="visible", timeout=5000)
    assert page.get_by_role("complementary").get_attribute("data-id") == far
    assert page.locator("#drawing g.box").count() < 900


# Finding one's way ------------------------------------------------------------------------------------------------


def test_modules_import_what_there_is_and_use_it() -> None:
    texts = {name: (HERE / name).read_text("utf-8") for name in MODULES}
    for name, text in texts.items():
        for names, source in re.findall(r'^import \{(.*)\} from "\./(.*)";', text, re.MULTILINE):
            assert MODULES.index(source) < MODULES.index(name)
            for wanted in filter(None, map(str.strip, names.split(","))):
                assert re.search(rf"^export (?:function\*?|const|let) {wanted}\b", texts[source], re.MULTILINE), wanted
                assert len(re.findall(rf"\b{wanted}\b", text)) > 1, (name, wanted)


def test_top_level_names_are_unique_across_modules() -> None:
    names = [
        name
        for module in MODULES
        for name in re.findall(
            r"^(?:export )?(?:function\*?|const|let) (\w+)", (HERE / module).read_text("utf-8"), re.MULTILINE
        )
    ]
    assert sorted(set(names)) == sorted(names)


def test_breadcrumbs_name_the_groups_around_a_box_and_lead_there(visit: Any) -> None:
    page = visit(grouped(), "#stage1/block0/Sin", depth=0, repeats=False)
    crumbs = page.get_by_role("navigation")
    parts = [item.inner_text() for item in crumbs.get_by_role("listitem").all()]
    assert parts == ["grouped", "stage1", "block0", "Sin"]
    crumbs.get_by_role("button", name="stage1", exact=True).click()
    assert page.get_by_role("complementary").get_attribute("data-id") == "stage1"
    room = page.locator("#stage").bounding_box()
    frame = box(page, "stage1").bounding_box()
    assert room["y"] <= frame["y"] and frame["y"] + frame["height"] <= room["y"] + room["height"]
    crumbs.get_by_role("button", name="grouped").press("Enter")
    assert page.get_by_role("complementary").is_hidden() and len(crumbs.get_by_role("listitem").all()) == 1


def test_the_map_shows_and_moves_the_view(visit: Any) -> None:
    page = visit(grouped(), depth="all", repeats=False)
    chart = page.locator("#map")
    assert chart.is_visible() and chart.locator("path").count() < 20
    room = chart.bounding_box()
    before = box(page, "stage0").bounding_box()
    page.mouse.click(room["x"] + room["width"] / 2, room["y"] + room["height"] - 3)
    after = box(page, "stage0").bounding_box()
    assert after["y"] < before["y"] - 300
    lens = chart.locator(".lens").bounding_box()
    assert lens["y"] + lens["height"] > room["y"] + room["height"] - 6
    assert visit(lenet()).locator("#map").is_hidden()  # all of it is in view
    assert visit(grouped(), width=375, depth="all").locator("#map").is_hidden()


def test_search_reads_types_settings_shapes_and_regular_expressions(visit: Any) -> None:
    page = visit(lenet())
    search = page.get_by_role("searchbox")
    status = page.get_by_role("status")
    for text, found in [
        ("/^conv\\d$/", 2),
        ("innerproduct", 2),
        ("num_output: 50", 2),
        ("64x20x24x24", 2),
        ("64×20×24×24", 2),
        ("nothing", 0),
    ]:
        search.fill(text)
        assert status.inner_text() == f"{found} found", text
    search.fill("/(/")
    assert search.get_attribute("aria-invalid") == "true" and "expression" in status.inner_text()
    search.fill("/^(conv|pool)/")
    seen = []
    for key in ("Enter", "Enter", "Shift+Enter", "Shift+Enter"):
        search.press(key)
        seen.append((page.get_by_role("complementary").get_attribute("data-id"), status.inner_text()))
    assert seen == [("conv1", "1 of 4"), ("pool1", "2 of 4"), ("conv1", "1 of 4"), ("pool2", "4 of 4")]


def test_a_closed_group_shows_that_it_holds_a_hit(visit: Any) -> None:
    page = visit(grouped(), depth=0, repeats=False)
    page.get_by_role("searchbox").fill("/stage1.block1.Tanh/")
    assert page.locator("g.box.holds").evaluate_all("all => all.map((g) => g.dataset.id)") == ["stage1"]


def diamond() -> Model:
    op = Builder("diamond")
    a = op.Abs(op.input("x", "float32", (1, 8)))
    op.scope = ("arms",)
    left, right = op.Sin(a), op.Cos(a)
    op.scope = ()
    joined = op.Add(left, right)
    return op.model([op.Neg(joined), op.Exp(op.Tanh(a))])


ON = """all => all.filter((g) => g.classList.contains('on'))
             .map((g) => g.dataset.id || `${g.dataset.from}>${g.dataset.to}`)"""


@pytest.mark.parametrize("depth", [0, "all"])
def test_traces_follow_wires_through_open_and_closed_groups(visit: Any, depth: Any) -> None:
    page = visit(diamond(), depth=depth)
    inside = {"arms", "arms/Sin", "arms/Cos"} if depth == "all" else {"arms"}

    def on() -> set[str]:
        return set(page.locator("#drawing g.box").evaluate_all(ON))

    box(page, "Add").click(position={"x": 12, "y": 12})
    page.get_by_role("button", name="Inputs").click()
    assert on() == {"x", "Abs", "Add"} | inside
    assert page.get_by_role("button", name="Inputs").get_attribute("aria-pressed") == "true"
    wires = page.locator("g.wire.on")
    assert {"Add>Neg", "Abs>Tanh"}.isdisjoint(wires.evaluate_all(ON))
    width = "e => parseFloat(getComputedStyle(e.querySelector('path')).strokeWidth)"
    assert wires.first.evaluate(width) >= 3 > page.locator("g.wire:not(.on)").first.evaluate(width)
    page.keyboard.press("Escape")
    assert on() == set() and page.locator("#drawing.traced").count() == 0
    box(page, "Abs").focus()
    page.keyboard.press("o")
    assert on() == {"Abs", "Add", "Neg", "Tanh", "Exp"} | inside
    page.keyboard.press("o")
    assert on() == set()
    box(page, "Neg").click(position={"x": 12, "y": 12}, modifiers=["Shift"])
    assert on() == {"Abs", "Add", "Neg"} | inside
    assert page.locator("#traced span").inner_text() == f"Between Abs and Neg: {2 if depth == 0 else 3} boxes"
    page.get_by_role("button", name="End the trace").click()
    assert on() == set() and page.locator("#traced").is_hidden()


def test_a_trace_goes_on_where_a_group_is_opened(visit: Any) -> None:
    page = visit(diamond(), depth=0)
    box(page, "Abs").click(position={"x": 12, "y": 12})
    page.keyboard.press("o")
    box(page, "arms").locator(".sign").click()
    assert "arms/Sin" in page.locator("#drawing g.box").evaluate_all(ON)


# The cost table ---------------------------------------------------------------------------------------------------


def cells(page: Any, column: int) -> list[str]:
    found = page.locator(f"#costs tbody tr:not([aria-hidden]) td:nth-child({column})").all_text_contents()
    return [text.strip() for text in found]


def test_the_cost_table_sorts_and_is_linked_with_the_boxes(visit: Any) -> None:
    page = visit(lenet())
    opener = page.get_by_role("button", name="Table")
    assert opener.get_attribute("aria-expanded") == "false" and page.get_by_role("table").count() == 0
    page.locator("#stage").focus()
    page.keyboard.press("t")
    assert opener.get_attribute("aria-expanded") == "true"
    assert cells(page, 1) == ["data", "conv1", "pool1", "conv2", "pool2", "ip1", "relu1", "ip2", "prob"]
    head = page.get_by_role("columnheader", name="Parameters")
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert cells(page, 1)[:4] == ["ip1", "conv2", "ip2", "conv1"]
    assert cells(page, 3)[:2] == ["401 k", "25.1 k"]
    head.get_by_role("button").press("Enter")
    assert head.get_attribute("aria-sort") == "ascending" and cells(page, 1)[-1] == "ip1"
    head.get_by_role("button").press("Enter")
    assert head.get_attribute("aria-sort") == "none" and cells(page, 1)[1] == "conv1"
    page.get_by_role("cell", name="conv2").click()
    panel = page.get_by_role("complementary")
    assert panel.get_attribute("data-id") == "conv2"
    box(page, "ip1").click(position={"x": 12, "y": 12})
    assert page.locator("#costs tr[aria-current] td").first.text_content() == "ip1"
    page.locator("#costs tr[aria-current] button").press("ArrowDown")
    page.keyboard.press("Enter")
    assert panel.get_attribute("data-id") == "relu1"
    opener.click()
    assert page.locator("#costs").is_hidden() and opener.get_attribute("aria-expanded") == "false"


def test_a_line_in_a_closed_group_opens_it_and_runs_count_their_times(visit: Any) -> None:
    op = Builder("run")
    x = op.input("x", "float32", (1, 8))
    for k in range(3):
        op.scope = (f"block{k}",)
        x = op.Add(op.MatMul(x, op.weight(f"w{k}", (8, 8))), x)
    page = visit(op.model([x]), depth=0, width=375)
    page.get_by_role("button", name="Table").click()
    assert page.locator("#stage").bounding_box()["height"] > 150
    assert cells(page, 3) == ["", "×3", "×3"]
    page.get_by_role("cell", name="block0/MatMul").click()
    assert box(page, "block0").get_attribute("aria-expanded") == "true"


def test_ten_thousand_lines_are_few_elements(visit: Any) -> None:
    op = Builder("large")
    x = op.input("x", "float32", (1, 8))
    for k in range(10_000):
        op.scope = (f"g{k // 1000}", f"h{k // 50}")
        x = op.Sin(x) if k % 3 else op.Cos(x)
    page = visit(op.model([x]), depth=1, repeats=False, group="scopes")
    page.get_by_role("button", name="Table").click()
    table = page.get_by_role("table", name="Cost of each layer")
    rows = int(table.get_attribute("aria-rowcount"))
    assert page.locator("#costs tr").count() < 100
    page.get_by_role("columnheader", name="Activations").get_by_role("button").click()
    page.locator("#costs button").last.focus()
    page.keyboard.press("End")
    focused = "document.activeElement.closest('tr').getAttribute('aria-rowindex')"
    assert page.evaluate(focused) == str(rows)
    assert page.locator("body *").count() < 4000


def test_from_afar_boxes_are_outlines(visit: Any) -> None:
    op = Builder("wide")
    ends = []
    for chain in range(30):
        op.scope = (f"chain{chain}",)
        x = op.input(f"x{chain}", "float32", (1, chain + 1))
        for k in range(30):
            x = op.Sin(x) if k % 3 else op.Cos(x)
        ends.append(x)
    page = visit(op.model(ends), depth="all", repeats=False, group="scopes")
    page.evaluate("for (let k = 0; k < 12; k++) document.getElementById('out').click()")
    far = page.locator("#drawing .outlines path").count()
    assert far in range(1, 20)
    assert page.locator("#drawing g.box").count() == 30 and page.locator("body *").count() < 1000  # frames are left
    for event, outlines in (("beforeprint", 0), ("afterprint", far)):
        page.evaluate(f"dispatchEvent(new Event('{event}'))")
        assert page.locator("#drawing .outlines path").count() == outlines
    page.get_by_role("searchbox").fill("/^chain7.Cos/")
    page.get_by_role("searchbox").press("Enter")
    assert page.get_by_role("complementary").get_attribute("data-id") == "chain7/Cos"
    assert box(page, "chain7/Cos").bounding_box()["height"] > 20
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Fit").click()
    for _ in range(2):
        page.get_by_role("button", name="Zoom in").click()
    assert page.locator("#drawing .outlines path").count() == 0
    assert page.locator("body *").count() < 3100


# Colours ----------------------------------------------------------------------------------------------------------

FILLS = """all => Object.fromEntries(all.map((g) => [g.dataset.id, [
  getComputedStyle(g.querySelector('rect')).fill, g.querySelector('text + text')?.textContent || '',
  Number(g.querySelector('.bar')?.getAttribute('width') || 0)]]))"""


def contrast(one: str, two: str) -> float:
    """Return W3C's contrast of two CSS colours."""

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        return sum(
            share * (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4)
            for share, c in zip((0.2126, 0.7152, 0.0722), parts, strict=True)
        )

    low, high = sorted((luminance(one), luminance(two)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_boxes_are_coloured_by_a_number_that_also_stands_in_them(visit: Any, scheme: str) -> None:
    page = visit(lenet(), scheme=scheme)
    drawn = page.locator("#drawing g.box")
    kinds = drawn.evaluate_all(FILLS)
    page.locator("#colour").select_option(label="Colour: Parameters")
    found = drawn.evaluate_all(FILLS)
    assert found["ip1"][1:] == ["401 k", max(bar for _, _, bar in found.values())]
    assert found["pool1"][1:] == ["0", 0] and found["ip1"][0] != found["pool1"][0] != kinds["pool1"][0]
    legend = page.locator("#legend")
    assert legend.inner_text().split("\n")[0] == "Parameters" and "≤ 401 k" in legend.inner_text()
    for name in ("ip1", "conv2", "pool1"):
        pair = box(page, name).evaluate(
            "g => [getComputedStyle(g.querySelector('rect')).fill, getComputedStyle(g.querySelector('text')).fill]"
        )
        assert contrast(*pair) > 4.2, (name, pair)
    outside = drawn.evaluate_all(
        """all => all.filter((g) => {
             const room = g.querySelector('rect').getBoundingClientRect();
             return [...g.querySelectorAll('text, .bar')].some((t) => t.getBoundingClientRect().right > room.right + 1);
           }).map((g) => g.dataset.id)"""
    )
    assert outside == []
    page.locator("#colour").select_option(label="Colour: Kind")
    assert drawn.evaluate_all(FILLS) == kinds
    assert legend.inner_text().split() == ["Kind", "activation", "convolution", "data", "linear", "pooling"]


def test_an_overlay_and_data_types_colour_boxes(visit: Any) -> None:
    page = visit(lenet(), overlay={"conv1": 0.5, "conv2": 1.5, "ip1": 2.5}, overlay_title="latency")
    assert page.locator("#colour option:checked").inner_text() == "Colour: latency"
    found = page.locator("#drawing g.box").evaluate_all(FILLS)
    assert len({found[name][0] for name in ("conv1", "conv2", "ip1", "pool1")}) == 4
    assert "2.5" in box(page, "ip1").text_content() and "latency" in page.locator("#legend").inner_text()
    page.locator("#stage").focus()
    page.keyboard.press("c")
    page.locator("#colour").select_option(label="Colour: Data type")
    assert page.locator("#legend").inner_text().split() == ["Data", "type", "float32"]
    assert page.locator("#drawing g.box").evaluate_all(FILLS)["pool1"][1] == "float32"


def test_data_types_colour_closed_groups_and_name_several(visit: Any) -> None:
    op = Builder("types")
    x = op.input("x", "float32", (1, 8))
    for name, types in (("one", (1, 1)), ("both", (10, 1))):
        op.scope = (name,)
        for kind in types:
            x = op.Abs(op.Cast(x, to=kind))
    page = visit(op.model([x]), depth=0)
    page.locator("#colour").select_option(label="Colour: Data type")
    found = page.locator("#drawing g.box").evaluate_all(FILLS)
    assert found["one"][0] == found["x"][0] != found["both"][0]
    assert found["one"][1] == "float32" and found["both"][1] == "float16, float32"
    assert box(page, "both").evaluate("g => getComputedStyle(g.querySelector('rect')).strokeDasharray") != "none"
    assert page.locator("#legend").inner_text().split("\n")[1:] == ["float16", "float32", "several"]


def test_devices_and_equal_structures_colour_boxes(visit: Any) -> None:
    op = Builder("placed")
    x = op.input("x", "float32", (1, 8))
    for k, device in enumerate(("/gpu:0", "/gpu:1", "/gpu:0")):
        op.scope = (f"part{k}",)
        x = op.Softmax(op.MatMul(x, op.weight(f"w{k}", (8, 8))), axis=1)
        op.nodes[-2:] = [replace(node, metadata={"device": device}) for node in op.nodes[-2:]]
        op.scope = ()
        x = op.LogSoftmax(x, axis=1) if k == 1 else x
    op.nodes[0] = replace(op.nodes[0], metadata={"device": "/cpu:0"})
    page = visit(op.model([x]), depth=0, repeats=False)
    page.locator("#colour").select_option(label="Colour: Device")
    found = page.locator("#drawing g.box").evaluate_all(FILLS)
    assert page.locator("#legend").inner_text().split("\n")[1:] == ["/cpu:0", "/gpu:0", "/gpu:1", "several"]
    assert found["part0"][1] == "/cpu:0, /gpu:0" and found["part1"][0] != found["part2"][0] != found["part0"][0]
    box(page, "part1").click()
    assert "/gpu:1" in page.get_by_role("complementary").inner_text()
    page.locator("#colour").select_option(label="Colour: Structure")
    found = page.locator("#drawing g.box").evaluate_all(FILLS)
    assert found["part0"][0] == found["part1"][0] == found["part2"][0] != found["LogSoftmax"][0]
    assert page.locator("#legend").inner_text().split("\n") == ["Structure", "3 like part0"]


def test_the_map_steps_aside(visit: Any) -> None:
    page = visit(grouped(), depth="all", repeats=False)
    page.wait_for_timeout(300)
    chart = page.locator("#map")
    assert chart.evaluate("e => e.className") == ""
    room = chart.bounding_box()
    first = box(page, "stage0/block0/Cos").bounding_box()
    page.mouse.move(600, 300)
    page.mouse.down()
    dx, dy = room["x"] - first["x"] + 5, room["y"] - first["y"] + 5
    page.mouse.move(600 + dx, 300 + dy, steps=5)
    page.mouse.up()
    page.wait_for_timeout(400)
    assert chart.evaluate("e => e.className") != ""


def test_colours_follow_what_is_open(visit: Any) -> None:
    op = Builder("open")
    x = op.input("x", "float32", (1, 8))
    for k in (4, 40):
        op.scope = (f"block{k}",)
        x = op.MatMul(x, op.weight(f"w{k}", (8 if k == 4 else 4, k)))
        x = op.MatMul(x, op.weight(f"v{k}", (k, 4)))
    page = visit(op.model([x]), depth=0)
    page.locator("#colour").select_option(label="Colour: Parameters")
    assert "≤ 320" in page.locator("#legend").inner_text()
    box(page, "block40").locator(".sign").click()
    assert "≤ 160" in page.locator("#legend").inner_text()
    assert page.locator("#drawing g.valued[data-parent=block40]").count() == 2


@pytest.mark.parametrize("rankdir", ["TB", "RL"])
def test_the_drawing_turns_to_every_direction(visit: Any, rankdir: str) -> None:
    page = visit(grouped(), depth="all", rankdir=rankdir, repeats=False)
    chooser = page.get_by_role("combobox", name="Direction")
    assert chooser.input_value() == rankdir
    start = page.evaluate(SCENE)
    for way, axis, ahead in [("TB", "y", 1), ("BT", "y", -1), ("LR", "x", 1), ("RL", "x", -1)]:
        chooser.select_option(way)
        found = page.evaluate(SCENE)
        assert scene_faults(found) == []
        at = {one["id"]: one for one in found["boxes"]}
        assert (at["stage1"][axis] - at["stage0"][axis]) * ahead > 0
        if way == "LR":
            fresh = visit(grouped(), depth="all", rankdir=way, repeats=False).evaluate(SCENE)
            assert sorted(map(str, fresh["boxes"])) == sorted(map(str, found["boxes"]))
    page.locator("#stage").focus()
    while chooser.input_value() != rankdir:
        page.keyboard.press("r")
    assert page.evaluate(SCENE) == start


# Taking it away ---------------------------------------------------------------------------------------------------


def saved(page: Any, choice: str) -> bytes:
    with page.expect_download() as got:
        page.locator("#save summary").click()
        page.get_by_role("button", name=choice).click()
    content: bytes = Path(got.value.path()).read_bytes()
    return content


def test_a_saved_svg_stands_alone_and_shows_what_is_shown(visit: Any) -> None:
    page = visit(grouped(), depth=0, repeats=False)
    box(page, "stage1").locator(".sign").click()
    root = ElementTree.fromstring(saved(page, "Whole drawing, SVG"))
    ids = {element.get("data-id") for element in root.iter() if element.get("data-id")}
    assert ids == {one["id"] for one in page.evaluate(SCENE)["boxes"]} and "stage1/block1" in ids
    assert not [element.tag for element in root.iter() if element.get("class") or element.get("style")]
    rects = [element for element in root.iter() if element.tag.endswith("rect")]
    assert all(re.match(r"rgb|none", element.get("fill", "")) for element in rects)
    style = next(element for element in root.iter() if element.tag.endswith("style")).text or ""
    assert style.startswith("@font-face") and "http" not in style
    for _ in range(6):
        page.get_by_role("button", name="Zoom in").click()
    part = ElementTree.fromstring(saved(page, "What is in view, SVG"))
    assert float(part.get("width", 0)) < float(root.get("width", 0))


def test_hostile_names_are_saved_as_text(visit: Any) -> None:
    root = ElementTree.fromstring(saved(visit(hostile()), "Whole drawing, SVG"))
    assert {element.tag.rpartition("}")[2] for element in root.iter()} <= {
        *("svg", "style", "title", "desc", "g", "rect", "path", "polygon", "text")
    }


def test_a_png_has_the_colours_of_the_page(visit: Any, need: Any) -> None:
    image = need("PIL.Image")
    for scheme, paper in (("light", (255, 255, 255)), ("dark", (15, 19, 24))):
        content = saved(visit(lenet(), scheme=scheme), "Whole drawing, PNG")
        with image.open(io.BytesIO(content)) as picture:
            assert picture.getpixel((3, 3))[:3] == paper and picture.height > picture.width > 200
            assert len(picture.getcolors(100_000)) > 50


def test_the_page_tells_its_keys(visit: Any) -> None:
    page = visit(lenet(), "#conv1")
    page.keyboard.press("?")
    help_ = page.get_by_role("dialog")
    assert "Shift+click" in help_.inner_text()
    page.keyboard.press("Escape")
    assert help_.is_hidden() and page.get_by_role("complementary").get_attribute("data-id") == "conv1"
    page.get_by_role("button", name="Keys").press("Enter")
    help_.get_by_role("button", name="Close").click()
    assert help_.is_hidden()


def test_the_name_is_copied(visit: Any) -> None:
    page = visit(lenet())
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    box(page, "ip1").click(position={"x": 12, "y": 12})
    page.get_by_role("button", name="Copy name").click()
    page.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == "ip1"


def test_back_and_forward_walk_through_what_was_chosen(visit: Any) -> None:
    page = visit(lenet())
    panel = page.get_by_role("complementary")
    for name in ("conv1", "ip1"):
        box(page, name).click(position={"x": 12, "y": 12})
    page.go_back()
    assert panel.get_attribute("data-id") == "conv1" and page.url.endswith("#conv1")
    page.go_back()
    assert panel.is_hidden()
    page.go_forward()
    page.go_forward()
    assert panel.get_attribute("data-id") == "ip1"
    page.keyboard.press("Escape")
    page.go_back()
    assert panel.get_attribute("data-id") == "ip1"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_print_is_light_and_shows_the_drawing_alone(visit: Any, scheme: str) -> None:
    page = visit(lenet(), "#conv1", scheme=scheme)
    page.locator("#theme").click()
    page.locator("#theme").click()
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    fill = box(page, "conv1").evaluate("g => getComputedStyle(g.querySelector('text')).fill")
    assert fill == "rgb(27, 31, 36)"
    for name in ("#panel", "#search", ".tools", "#map"):
        assert page.locator(name).first.is_hidden()


# Weights ----------------------------------------------------------------------------------------------------------


def weighted(channels: int = 3) -> Model:
    """A first convolution, whose filters are pictures, a second one, a scalar, odd numbers and a hostile name."""
    chance = np.random.default_rng(7)

    def tensor(name: str, *shape: int, dtype: str = "float32") -> str:
        values = chance.normal(0, 0.1, shape).astype(dtype)
        values.reshape(-1)[: values.size // 4] = 0
        return op.weight(name, shape, values.tobytes(), dtype)

    op = Builder("weighted")
    x = op.Conv(op.input("x", "float32", (1, channels, 16, 16)), tensor("first", 10, channels, 5, 5))
    x = op.Conv(x, tensor("</script><img src=x>", 4, 10, 3, 3))
    x = op.Mul(x, op.weight("slope", (1,), np.float32(0.25).tobytes()))
    x = op.Mul(
        x, op.weight("odd", (4, 1, 1), np.array([0x3F800000, 0x7F800001, 0x7F800000, 0x40400000], "u4").tobytes())
    )
    return op.model([x])


def test_the_panel_tells_what_weights_are_like(visit: Any) -> None:
    page = visit(weighted(), "#Conv")
    panel = page.get_by_role("complementary")
    text = panel.inner_text()
    values = np.frombuffer(weighted().graph.initializers["first"].bytes(), "<f4")
    assert "10×3×5×5 float32" in text and "zeros 24.9 %" in text  # 187 of 750
    for word, number in (("min", values.min()), ("max", values.max()), ("std", values.std())):
        assert f"{word} {number:.4g}".replace("-", "−") in text
    graph = panel.get_by_role("img", name=re.compile("Histogram from"))
    assert graph.count() == 1 and graph.locator("path").first.bounding_box()["height"] > 20
    tiles = panel.get_by_role("img", name="10 filters as colour tiles")
    assert tiles.evaluate("e => e.complete && e.naturalWidth") == 4 * 6 - 1
    page.evaluate("location.hash = 'Conv:2'")
    assert "</script><img" in panel.inner_text() and panel.locator("img").count() == 0
    page.evaluate("location.hash = 'Mul:2'")
    assert "2 not finite" in panel.inner_text() and "max 3" in panel.inner_text()
    assert visit(weighted(1), "#Conv").get_by_role("img", name="10 filters as grey tiles").count() == 1


def test_a_page_without_weights_has_nothing_of_them() -> None:
    assert "weights" not in data_of(page_of(lenet()))


def test_weights_are_counted_exactly_and_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.default_rng(3)
    for values in (
        chance.normal(5, 2, 3_000_000).astype("f4"),
        chance.integers(-9, 9, 500).astype("i1"),
        np.array([1e38, -1e38], "f4"),
    ):
        figures, bars = measured(values)
        assert figures["mean"] == pytest.approx(values.mean(dtype="f8"), rel=1e-9)
        assert figures["std"] == pytest.approx(values.std(dtype="f8"), rel=1e-9)
        assert figures["zeros"] == (values == 0).mean() and figures["max"] == values.max() and len(bars) == 32
    numbers = chance.normal(0, 1, 4000)
    counts = np.histogram(numbers, 32)[0]
    assert [bar == "0" for bar in measured(numbers)[1]] == [count == 0 for count in counts]
    assert measured(numbers)[1].index("_") == counts.argmax()
    monkeypatch.setattr("graphviz_nets.drawing.weights.MOST", 3100)
    model = weighted()
    listed = data_of(page_of(model))["weights"]["list"]
    said = {name: figures for name, _, _, figures, *_ in listed}
    assert isinstance(said["first"], list) and "not counted" in said["</script><img src=x>"]
    assert isinstance(said["odd"], list)  # what is small still fits


def test_filters_are_shown_in_the_order_of_their_colours() -> None:
    filters = np.zeros((1, 3, 1, 2))
    filters[0, 0] = 1  # blue, where the order is Caffe's
    tiles = tiled(filters, "bgr")
    assert tiles is not None and tiles.pixels[:4] == bytes([0, 0, 255, 255])
    rgb = tiled(filters, "rgb")
    assert rgb is not None and rgb.pixels[:4] == bytes([255, 0, 0, 255])


def test_a_png_is_what_others_read(need: Any) -> None:
    image = need("PIL.Image")
    pixels = bytes(range(24))
    content = base64.b64decode(png_url(3, 2, 4, pixels).partition(",")[2])
    with image.open(io.BytesIO(content)) as picture:
        assert picture.size == (3, 2) and picture.convert("RGBA").tobytes() == pixels


# Phases -----------------------------------------------------------------------------------------------------------


def test_a_page_switches_between_the_phases_of_a_net(visit: Any) -> None:
    path = FIXTURES / "tiny_train.prototxt"
    train = api.other_phase(api.load(path), path, Options())
    page = visit(api.load(path), "#loss", phases=train)
    chooser = page.get_by_role("combobox", name="Phase")
    assert chooser.input_value() == "test" and chooser.locator("option").all_inner_texts() == ["train", "test"]
    assert box(page, "accuracy").count() == 1
    page.get_by_role("button", name="Theme").click()
    chooser.select_option("train")
    page.wait_for_url("**phase=train**")
    panel = page.get_by_role("complementary")
    assert page.url.endswith("#loss") and panel.get_attribute("data-id") == "loss"
    assert box(page, "accuracy").count() == 0 and chooser.input_value() == "train"
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.evaluate("location.hash = 'accuracy'")  # of the other phase
    assert panel.is_hidden()
    page.go_back()
    page.go_back()
    page.wait_for_url(lambda url: "phase" not in url)
    assert box(page, "accuracy").count() == 1 and chooser.input_value() == "test"


def test_phases_that_are_equal_or_too_large_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert api.other_phase(lenet(), FIXTURES / "lenet.prototxt", Options()) == {}
    path = FIXTURES / "tiny_train.prototxt"
    train = api.other_phase(api.load(path), path, Options())
    backward = api.other_phase(train["train"], path, Options(phase="train"))
    assert "test" in backward and page_of(train["train"], backward, phase="train").count('data-phase="test"') == 1
    monkeypatch.setattr("graphviz_nets.renderers.html.LARGEST", 1000)
    page = page_of(api.load(path), train)
    assert ' data-phase="' not in page and "the train phase; --phase train draws it" in data_of(page)["problems"][-1]


# For everyone -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def axe() -> str:
    """Return the script of axe-core, which finds what hinders people who use screen readers or little colour."""
    place = Path(os.environ.get("GRAPHVIZ_NETS_AXE", ROOT / ".venv" / "share" / "axe"))
    files = [place, *place.glob("**/axe.min.js")] if place.is_dir() else [place]
    found = next((file for file in files if file.is_file()), None)
    if found is None:
        if ALL:
            pytest.fail("axe-core is missing, though scripts/test --all installs it")
        pytest.skip("needs axe-core: scripts/test --all, or GRAPHVIZ_NETS_AXE=PATH/axe.min.js")
    return found.read_text("utf-8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1200])
def test_axe_finds_nothing_serious(visit: Any, axe: str, scheme: str, width: int) -> None:
    page = visit(grouped(), depth=1, repeats=False, scheme=scheme, width=width)
    page.evaluate(axe)

    def check(state: str) -> None:
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        grave = [
            (state, fault["id"], [node["html"][:160] for node in fault["nodes"][:3]])
            for fault in found
            if fault["impact"] in ("serious", "critical")
        ]
        assert grave == []

    check("at first")
    page.get_by_role("searchbox").fill("Sin")
    page.get_by_role("searchbox").press("Enter")
    page.get_by_role("button", name="Inputs").click()
    check("a box traced")
    page.get_by_role("combobox", name="Colour by").select_option(label="Colour: Activation memory")
    page.get_by_role("button", name="Table").click()
    page.get_by_role("columnheader", name="Activations").get_by_role("button").click()
    check("coloured, with the table")
    page.get_by_role("button", name="Keys").click()
    check("keys")
    page.keyboard.press("Escape")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_trace_passes_stubs_and_starts_from_the_keyboard(visit: Any) -> None:
    op = Builder("hub")
    mask = op.Abs(op.input("mask", "float32", (1, 8)))
    x = op.input("x", "float32", (1, 8))
    for k in range(20):
        op.scope = (f"block{k}",)
        x = op.Mul(op.Add(x, mask), mask)
    page = visit(op.model([x]), depth="all", repeats=False)
    stubs = page.locator('#drawing g.box[data-kind="stub"]')
    assert stubs.count() > 10
    last = page.locator("#drawing g.box").evaluate_all("all => all.map((g) => g.dataset.id)")[-1]
    box(page, last).focus()
    page.keyboard.press("i")
    assert {"mask", "Abs", "x"} <= set(page.locator("#drawing g.box").evaluate_all(ON))
    box(page, "Abs").focus()
    page.keyboard.press("Space")
    assert page.get_by_role("complementary").get_attribute("data-id") == "Abs"
    box(page, last).focus()
    page.keyboard.press("Shift+Enter")
    on = set(page.locator("#drawing g.box").evaluate_all(ON))
    assert {"Abs", last} <= on and "mask" not in on
