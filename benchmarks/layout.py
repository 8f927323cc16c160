"""Time and memory of drawing large networks, beside dot, dagre and ELK on the same graphs, in one run.

Run as ``python benchmarks/layout.py [--quick] [--peers FOLDER] [NAME...]``. For each net: the whole process from the
file to the finished HTML (median of five, three for the largest), with the peak of its memory, and fully expanded to
SVG up to 12,000 nodes; then the same boxes and edges without groups given to system ``dot`` (bounded at `BOUND`
seconds) and, where ``node`` is installed and FOLDER holds ``node_modules`` with ``@dagrejs/dagre`` and ``elkjs``, to
those (``--no-peers`` leaves out all three). Last, how the cost grows: CPU time per node at 100,000 nodes over that at
10,000.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import which

import nets

HERE = Path(__file__).resolve().parent
MODELS = HERE.parents[1] / "shared" / "models"
BOUND = 120.0
FLAT = 20_000
"""Boxes up to which the peers are asked at all."""


def cases() -> dict[str, Callable[[], bytes]]:
    """Return how to make each file, by its name."""
    scale = MODELS / "onnx" / "scale"

    def packed(name: str) -> Callable[[], bytes]:
        return lambda: gzip.decompress((scale / name).read_bytes())

    found: dict[str, Callable[[], bytes]] = {
        "resnet152.prototxt": lambda: nets.resnet152().encode(),
        "inception4.prototxt": lambda: nets.inception4().encode(),
    }
    if MODELS.is_dir():
        found["googlenet.prototxt"] = (MODELS / "caffe/bvlc/bvlc_googlenet/deploy.prototxt").read_bytes
        found["llama3_8b.onnx"] = packed("llama3_8b_shape_no_weights.onnx.gz")
        found["mixtral_8x7b.onnx"] = packed("mixtral_8x7b_shape_no_weights.onnx.gz")

    def transformer(nodes: int, mask: bool, distinct: bool, scopes: bool) -> Callable[[], bytes]:
        return lambda: nets.transformer(nodes, mask=mask, distinct=distinct, scopes=scopes)

    for nodes in (1_000, 10_000, 50_000, 100_000):
        for distinct in (False, True):
            for scopes in (True, False):
                for mask in (True, False) if nodes <= 10_000 else (True,):
                    words = [
                        *(["distinct"] if distinct else []),
                        *([] if scopes else ["flat"]),
                        *([] if mask else ["nomask"]),
                    ]
                    name = "-".join([f"transformer{nodes // 1000}k", *words]) + ".onnx"
                    found[name] = transformer(nodes, mask, distinct, scopes)
    return found


def run(command: list[str], limit: float = 600.0, stdin: bytes = b"") -> tuple[float, float, int, bytes]:
    """Return (seconds, CPU seconds, peak bytes, output) of a process; seconds is infinite where it failed."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as given:
        given.write(stdin)
        given.seek(0)
        start = time.perf_counter()
        child = subprocess.Popen(command, stdin=given, stdout=out, stderr=subprocess.DEVNULL)
        deadline = start + limit
        while True:
            done, status, usage = os.wait4(child.pid, os.WNOHANG)
            if done or time.perf_counter() > deadline:
                break
            time.sleep(0.002)
        seconds = time.perf_counter() - start
        if not done:
            child.kill()
            _, status, usage = os.wait4(child.pid, 0)
            seconds = float("inf")
        child.returncode = 0
        out.seek(0)
        failed = status != 0
        return (
            (float("inf") if failed else seconds),
            usage.ru_utime + usage.ru_stime,
            usage.ru_maxrss * 1024,
            out.read(),
        )


def flat(path: Path) -> tuple[int, list[tuple[float, float]], list[tuple[int, int]]]:
    """Return the number of a file's nodes, the boxes and the edges of its picture without groups."""
    from graphviz_nets import api
    from graphviz_nets.config import Options
    from graphviz_nets.drawing.diagram import diagram
    from graphviz_nets.drawing.scene import Pen

    model = api.load(path)
    if len(model.graph.nodes) > FLAT:
        return len(model.graph.nodes), [], []
    options = Options(group="none", hubs=False, show=("attrs",))
    plan = diagram(model, options)
    pen = Pen(plan, options)
    index = {box.id: k for k, box in enumerate(plan.root.boxes)}
    sizes = [pen.box(box).size for box in plan.root.boxes]
    return len(model.graph.nodes), sizes, [(index[link.source], index[link.target]) for link in plan.links]


def peers(sizes: list[tuple[float, float]], edges: list[tuple[int, int]], folder: str) -> Iterator[tuple[str, float]]:
    """Yield (name, seconds) of each peer that is there."""
    if which("dot"):
        lines = ["digraph {", 'node [shape=box fixedsize=true label=""]', "graph [nodesep=0.3056 ranksep=0.3333]"]
        lines += [f"n{k} [width={w / 72:.4f} height={h / 72:.4f}]" for k, (w, h) in enumerate(sizes)]
        lines += [f"n{a} -> n{b}" for a, b in edges]
        yield "dot", run(["dot", "-Tsvg"], BOUND, "\n".join([*lines, "}"]).encode())[0]
    if which("node") and folder:
        given = json.dumps({"boxes": sizes, "edges": edges}).encode()
        for name in ("dagre", "elk"):
            took, _, _, out = run(["node", "--stack-size=4000", str(HERE / "peers.mjs"), name, folder], BOUND, given)
            yield name, took if not out else json.loads(out)["seconds"]


def ours(path: Path, out: Path, *more: str, times: int) -> tuple[float, float, int]:
    """Return the median (seconds, CPU seconds) and the largest peak of bytes of whole processes."""
    command = [sys.executable, "-m", "graphviz_nets", "render", "-q", str(path), "-o", str(out), *more]
    found = [run(command)[:3] for _ in range(times)]
    return statistics.median(f[0] for f in found), statistics.median(f[1] for f in found), max(f[2] for f in found)


def main() -> None:
    """Print a line a net, then how the cost grows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--quick", action="store_true", help="run each case once, and leave out the largest")
    parser.add_argument("--peers", default="", metavar="FOLDER", help="folder with node_modules of dagre and elkjs")
    parser.add_argument("--no-peers", action="store_true", help="measure only ourselves")
    given = parser.parse_args()
    per_node: dict[str, float] = {}
    head = f"{'net':38} {'nodes':>6} | {'HTML s':>7} {'CPU s':>6} {'MiB':>5} {'kB':>6} | {'open SVG s':>10} | "
    print(head + "peers on the flat graph")
    with tempfile.TemporaryDirectory() as folder:
        for name, make in cases().items():
            if (given.names and not any(part in name for part in given.names)) or (given.quick and "00k" in name):
                continue
            path, out = Path(folder) / name, Path(folder) / "out.html"
            path.write_bytes(make())
            count, sizes, edges = flat(path)
            times = 1 if given.quick else 3 if count > 60_000 else 5
            took, cpu, peak = ours(path, out, times=times)
            per_node[name] = cpu / count
            line = f"{name:38} {count:6} | {took:7.2f} {cpu:6.2f} {peak >> 20:5} {out.stat().st_size / 1000:6.0f} | "
            if count <= 12_500:
                opened = ours(path, Path(folder) / "out.svg", "--depth", "all", times=1 if given.quick else 3)[0]
                line += f"{opened:10.2f} | "
            else:
                line += f"{'':10} | "
            words = []
            for peer, seconds in peers(sizes, edges, given.peers) if sizes and not given.no_peers else ():
                limit = f"> {BOUND / took:.0f}x" if seconds == float("inf") else f"{seconds / took:.1f}x"
                words.append(f"{peer} {seconds:.2f} s ({limit})" if seconds < BOUND else f"{peer} no answer ({limit})")
            print(line + ", ".join(words), flush=True)
    for kind in ("", "-distinct", "-flat", "-distinct-flat"):
        small, large = (per_node.get(f"transformer{size}k{kind}.onnx") for size in (10, 100))
        if small and large:
            print(f"CPU time per node at 100k over 10k, transformer{kind}: {large / small:.2f}")


if __name__ == "__main__":
    main()
