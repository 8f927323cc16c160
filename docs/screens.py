"""Take the pictures of the page in `docs/pictures`: ``python docs/screens.py`` (needs playwright and chromium).

Models are read from ../shared/models, beside the checkout.
"""

from __future__ import annotations

import gzip
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from playwright.sync_api import Error, sync_playwright

from graphviz_nets import api
from graphviz_nets.config import Options

HERE = Path(__file__).resolve().parent
MODELS = HERE.parents[1] / "shared" / "models"
GOOGLENET = MODELS / "caffe" / "bvlc" / "bvlc_googlenet" / "deploy.prototxt"
LLAMA = MODELS / "onnx" / "scale" / "llama3_8b_shape_no_weights.onnx.gz"
SQUEEZENET = MODELS / "caffe" / "squeezenet" / "dc_squeezenet_v1.0_deploy.prototxt"
TINY = HERE.parent / "fixtures" / "caffe" / "tiny_train.prototxt"
WEIGHTS = {SQUEEZENET: SQUEEZENET.with_name("squeezenet_v1.0_dc.caffemodel.gz")}
CHROMIUM = "/usr/bin/chromium"


def sign(page: Any, name: str) -> None:
    """Open or close a group."""
    page.locator(f'[data-id="{name}"] .sign').first.click()


def press(page: Any, name: str, **more: Any) -> None:
    """Choose a box."""
    page.locator(f'[data-id="{name}"]').first.click(position={"x": 12, "y": 8}, **more)


def opened(page: Any) -> None:
    """An open group, a box of it chosen: where it is (below), what is known of it (right)."""
    sign(page, "inception_3a")
    press(page, "inception_3a/3x3")


def found(page: Any) -> None:
    """A search by a regular expression: hits, and closed groups that hold some."""
    sign(page, "inception_3b")
    page.get_by_role("searchbox").fill("/(3|5)x\\1$/")
    page.get_by_role("searchbox").press("Enter")
    page.get_by_role("searchbox").press("Enter")


def traced(page: Any) -> None:
    """All that leads to a box."""
    sign(page, "inception_3a")
    press(page, "inception_3a/5x5")
    page.keyboard.press("i")


def between(page: Any) -> None:
    """What lies between two boxes, from left to right."""
    page.locator("#rankdir").select_option("LR")
    sign(page, "inception_3a")
    press(page, "pool2/3x3_s2")
    press(page, "inception_3a/pool_proj", modifiers=["Shift"])
    page.get_by_role("button", name="Fit").click()


def table(page: Any) -> None:
    """The cost table, sorted by multiplications."""
    page.get_by_role("button", name="Table").click()
    page.get_by_role("columnheader", name="MACs").get_by_role("button").click()
    page.locator("#costs tbody button").nth(1).click()


def costs(page: Any) -> None:
    """Boxes coloured by their parameters."""
    sign(page, "inception_5b")
    page.locator("#colour").select_option(label="Colour: Parameters")
    page.evaluate("location.hash = 'inception_5b/1x1'")
    page.locator("#panel .close").click()


def attention(page: Any) -> None:
    """All that an attention reads, from left to right."""
    page.locator("#rankdir").select_option("LR")
    page.get_by_role("searchbox").fill("/Attention_node_20$/")
    page.get_by_role("searchbox").press("Enter")
    page.get_by_role("button", name="Inputs").click()


def weights(page: Any) -> None:
    """What the weights of a first convolution are like, with its filters."""
    press(page, "conv1")
    page.locator("#panel").evaluate("e => e.scrollTo(0, 380)")


def phase(page: Any) -> None:
    """The other phase of the file."""
    page.get_by_role("combobox", name="Phase").select_option("train")
    page.wait_for_url("**phase=train**")


# Name of the picture: model, what is done, size, colours.
STATES: dict[str, tuple[Path, Callable[[Any], None], tuple[int, int], str]] = {
    "page_open": (GOOGLENET, opened, (1200, 760), "light"),
    "page_search": (GOOGLENET, found, (1200, 760), "light"),
    "page_trace": (GOOGLENET, traced, (1200, 760), "light"),
    "page_paths": (GOOGLENET, between, (1200, 560), "light"),
    "page_table": (GOOGLENET, table, (1200, 760), "light"),
    "page_colour": (GOOGLENET, costs, (1200, 760), "light"),
    "page_weights": (SQUEEZENET, weights, (1200, 760), "light"),
    "page_phase": (TINY, phase, (1200, 760), "light"),
    "page_dark": (LLAMA, attention, (1200, 760), "dark"),
    "page_narrow": (GOOGLENET, opened, (375, 760), "light"),
}


def unpacked(path: Path | None, folder: Path) -> Path | None:
    """Return a file, or what a compressed one holds, in a folder."""
    if path is None or path.suffix != ".gz":
        return path
    found = folder / path.name.removesuffix(".gz").replace("_shape_no_weights", "")
    found.write_bytes(gzip.decompress(path.read_bytes()))
    return found


def main() -> None:
    """Draw each model once and take all pictures."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        pages = {}
        for model, *_ in STATES.values():
            if model in pages:
                continue
            source, weights_file = (unpacked(path, Path(folder)) for path in (model, WEIGHTS.get(model)))
            assert source is not None
            pages[model] = Path(folder, f"{len(pages)}.html")
            how, net = Options(weights=weights_file), api.load(source, weights=weights_file)
            api.render(net, pages[model], phases=api.other_phase(net, source, how))
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for name, (model, act, (width, height), scheme) in STATES.items():
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            page.goto(pages[model].as_uri())
            act(page)
            page.wait_for_timeout(400)  # the map steps aside when the view is at rest
            page.screenshot(path=HERE / "pictures" / f"{name}.png")
            page.close()
        if find_spec("tensorflow") is not None:
            tensorboard(browser, Path(folder, "three_layers"))
        browser.close()


def tensorboard(browser: Any, logs: Path) -> None:
    """TensorBoard's own picture of the three layers of `benchmarks/scoped.py`, as its graph tab opens."""
    subprocess.run([sys.executable, HERE.parent / "benchmarks" / "scoped.py", logs], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--load_fast=false", "--host", "127.0.0.1"]
    server = subprocess.Popen([*command, "--port", str(port), "--logdir", logs])
    try:
        page = browser.new_page(viewport={"width": 1200, "height": 640})
        for _ in range(60):  # until it listens
            with suppress(Error):
                page.goto(f"http://127.0.0.1:{port}/#graphs")
                break
            time.sleep(1)
        page.locator("g.node", has_text="layer3").first.wait_for()
        page.wait_for_timeout(2000)  # it draws, then fits the picture to the window
        page.screenshot(path=HERE / "pictures" / "tensorboard_scopes.png")
        page.close()
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
