"""How quick the page is in a browser, beside Netron's page of the same models in the same run.

Run as ``python benchmarks/page.py [--quick] [--netron FOLDER]`` (needs playwright and chromium). For each net: the
page's size, the time from the start of loading to the first frame with a box (median), and the elements alive then;
the same for Netron, which is served on loopback from FOLDER (``pip install --target FOLDER netron``) or from where it
is installed. Then: opening a group of 200 boxes, until the frame is there, and panning over 50,000 open boxes, near
and from afar: the 95th percentile of the times between frames, and the most elements that were ever alive.

Every wait is bounded by `BOUND` seconds; exits 1 where one of the `GOALS` is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nets
from playwright.sync_api import Error, sync_playwright

from graphviz_nets import api
from graphviz_nets.graph.builder import Builder
from graphviz_nets.graph.ir import Model

CHROMIUM = "/usr/bin/chromium"
LENET = Path(__file__).resolve().parents[1] / "fixtures" / "caffe" / "lenet.prototxt"
BOUND = 60.0
GOALS = {"lenet": 150, "10k": 500, "100k": 2000, "open": 50, "frame": 33, "alive": 3000}
"""Milliseconds, and elements."""

FIRST = """(selector) => {
  const look = () => {
    if (!document.querySelector(selector)) return requestAnimationFrame(look);
    // The frame that shows it is there when the task after it runs. Netron takes away eval, so an attribute tells.
    requestAnimationFrame(() => setTimeout(() => {
      const found = document.documentElement.dataset;
      found.alive = document.querySelectorAll("body *").length;
      found.firstBox = performance.now();
    }, 0));
  };
  requestAnimationFrame(look);
}"""
OPEN = """() => new Promise((done) => {
  const sign = document.querySelector('[data-id="crowd"] .sign');
  const began = performance.now();
  sign.dispatchEvent(new MouseEvent("click", { bubbles: true }));
  requestAnimationFrame(() => setTimeout(() => done(performance.now() - began), 0));
})"""
SCALE = "Number(/scale.([0-9.]+)/.exec(document.getElementById('drawing').style.transform)[1])"
PAN = """([selector, frames]) => new Promise((done) => {
  const stage = document.querySelector(selector);
  const room = stage.getBoundingClientRect();
  const times = [];
  let most = 0;
  const [x, y] = [room.left + room.width / 2, room.top + room.height / 2];
  const send = (kind, k) => stage.dispatchEvent(new PointerEvent(kind,
    { bubbles: true, pointerId: 1, buttons: 1, clientX: x - k * 9, clientY: y - k * 25 }));
  stage.setPointerCapture = () => undefined;
  send("pointerdown", 0);
  const step = (now) => {
    times.push(now);
    most = Math.max(most, document.querySelectorAll("body *").length);
    if (times.length > frames) {
      send("pointerup", frames);
      done([times.slice(1).map((time, k) => time - times[k]), most]);
    } else {
      send("pointermove", times.length);
      requestAnimationFrame(step);
    }
  };
  requestAnimationFrame(step);
})"""


def cases(folder: Path, quick: bool) -> Iterator[tuple[str, Path, int]]:
    """Yield (name, file, milliseconds wanted) of each net; 0 where nothing is wanted."""
    yield "lenet", LENET, GOALS["lenet"]
    for size in (10_000,) if quick else (10_000, 100_000):
        for distinct in (False, True):
            name = f"{size // 1000}k"
            path = folder / f"transformer{name}{'-distinct' if distinct else ''}.onnx"
            path.write_bytes(nets.transformer(size, distinct=distinct))
            yield path.stem, path, GOALS[name]


def crowd(boxes: int, groups: int) -> Model:
    """Return boxes in groups, so many chains of groups that the picture is about as wide as high; no two are equal."""
    op = Builder("crowd")
    columns = max(1, round(groups**0.5 / 3))
    ends: list[str] = []
    for number in range(groups):
        op.scope = ("crowd",) if groups == 1 else (f"crowd{number}",)
        parts = [ends[-columns] if len(ends) >= columns else op.input(f"x{number}", "float32", (1, number + 1))]
        for k in range(boxes // groups):
            kind = ("Sin", "Cos", "Tanh")[(k * (number + 1)) % 3]
            parts.append(op.node(kind, [parts[k - k % 4 if k > 3 else 0]])[0])
        ends.append(parts[-1])
    op.scope = ()
    return op.model(ends[-columns:])


def first_box(browser: Any, address: str, selector: str, press: str | None = None) -> tuple[float, int]:
    """Return milliseconds until a box is drawn, infinite where none comes within `BOUND`, and the elements alive.

    `press` is a button that a page asks to press before it draws what is large.
    """
    page = browser.new_page(viewport={"width": 1200, "height": 800})
    page.add_init_script(f"({FIRST})({selector!r})")
    page.route(lambda url: url.startswith("http") and "//127.0.0.1:" not in url, lambda route: route.abort())
    if press is not None:  # Netron asks about cookies first
        page.context.add_cookies([{"name": "consent", "value": "1", "url": address}])
    try:
        page.goto(address, timeout=BOUND * 1000, wait_until="commit")
        end, told = time.monotonic() + BOUND, page.locator("html[data-first-box]")
        while time.monotonic() < end:
            if press is not None and page.locator(press).is_visible():
                page.locator(press).click(timeout=1000)
            if told.count():
                found = [told.get_attribute(f"data-{name}", timeout=1000) for name in ("first-box", "alive")]
                return float(found[0]), int(found[1])
            time.sleep(0.05)
    except Error:
        pass
    finally:
        page.close()
    return float("inf"), 0


@contextlib.contextmanager
def netron(folder: str, model: Path) -> Iterator[str | None]:
    """Serve a model by Netron on a free port; None where there is no Netron."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = f"import netron, time; netron.start({str(model)!r}, ('127.0.0.1', {port}), browse=False); time.sleep(600)"
    path = os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH"))))
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            yield f"http://127.0.0.1:{port}" if answers(server, port) else None
        finally:
            server.kill()


def answers(server: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until a server takes connections; say whether it does."""
    end = time.monotonic() + BOUND
    while server.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        time.sleep(0.1)
    return False


def percentile(times: list[float], share: float = 0.95) -> float:
    """Return the value that so large a share of the times does not pass."""
    return sorted(times)[min(len(times) - 1, int(len(times) * share))]


def loading(browser: Any, folder: Path, given: argparse.Namespace) -> Iterator[tuple[str, float, float]]:
    """Print a line a net; yield what was measured and what was wanted."""
    print(f"{'net':26} {'page kB':>8} {'first box ms':>12} {'wanted':>7} {'alive':>6} | Netron")
    for name, source, wanted in cases(folder, given.quick):
        out = folder / f"{name}.html"
        api.render(api.load(source), out)
        found = [first_box(browser, out.as_uri(), "#drawing g.box") for _ in range(given.times)]
        took, alive = statistics.median(ms for ms, _ in found), max(count for _, count in found)
        line = f"{name:26} {out.stat().st_size / 1000:8.0f} {took:12.0f} {wanted:7} {alive:6} | "
        with netron(given.netron, source) as address:
            if address is None:
                print(line + "not installed", flush=True)
            else:
                press = "#message-button"
                theirs, count = first_box(browser, address, "body.default #canvas .node", press)
                said = f"{theirs:.0f} ms" if theirs < float("inf") else f"nothing in {BOUND:.0f} s"
                more = f"{min(theirs, BOUND * 1000) / took:.1f}x our time"
                ratio = more if theirs < float("inf") else f"> {more}"
                print(f"{line}{said} ({ratio}), {count} alive", flush=True)
        yield f"first box of {name}", took, wanted
        yield f"alive in {name}", alive, GOALS["alive"]


def opening(browser: Any, folder: Path, given: argparse.Namespace) -> Iterator[tuple[str, float, float]]:
    """Open a group of 200 boxes; yield the median time."""
    out = folder / "open.html"
    api.render(crowd(200, 1), out, depth=0, repeats=False, group="scopes")
    found = []
    for _ in range(2 * given.times + 1):
        page = browser.new_page(viewport={"width": 1200, "height": 800})
        page.goto(out.as_uri())
        page.wait_for_timeout(200)
        found.append(page.evaluate(OPEN))
        page.close()
    yield "opening a group of 200", statistics.median(found), GOALS["open"]


def panning(browser: Any, folder: Path, given: argparse.Namespace) -> Iterator[tuple[str, float, float]]:
    """Pan over 50,000 open boxes at several scales; yield the 95th percentile of a frame and the elements alive."""
    out = folder / "pan.html"
    api.render(crowd(50_000, 500), out, depth="all", repeats=False, group="scopes")
    page = browser.new_page(viewport={"width": 1200, "height": 800})
    page.goto(out.as_uri(), timeout=BOUND * 1000)
    page.locator("#drawing g.box").first.wait_for(state="attached", timeout=BOUND * 1000)
    print(f"50,000 open boxes: {out.stat().st_size / 1e6:.1f} MB")
    for steps in (0, 3, 6, 10, 14):
        page.evaluate("document.getElementById('fit').click()")
        page.evaluate(f"for (let k = 0; k < {steps}; k++) document.getElementById('in').click()")
        page.wait_for_timeout(300)
        times, alive = page.evaluate(PAN, ["#stage", 40 if given.quick else 120])
        where = f"at a scale of {page.evaluate(SCALE):.2f}"
        yield f"frame, {where}", percentile(times), GOALS["frame"]
        yield f"alive, {where}", alive, GOALS["alive"]
    page.close()


def main() -> int:
    """Measure everything; return 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="leave out the largest, and measure once")
    parser.add_argument("--netron", default="", metavar="FOLDER", help="where Netron is installed")
    given = parser.parse_args()
    given.times = 1 if given.quick else 3
    parts: tuple[Callable[..., Iterator[tuple[str, float, float]]], ...] = (loading, opening, panning)
    missed = 0
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        first_box(browser, "data:text/html,<p>", "p")  # the browser's own start is not the page's
        for part in parts:
            for name, found, wanted in part(browser, Path(folder), given):
                missed += found > wanted
                print(f"  {'MISSED' if found > wanted else 'ok':6} {name}: {found:.0f} ({wanted} wanted)", flush=True)
        browser.close()
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
