"""Converting a 240 MB AlexNet: seconds and memory of whole processes, and caffe2onnx in the same run.

    python benchmarks/convert.py NET.prototxt [--peer]

The net gets random weights first. Memory is the peak of anonymous pages (what a process allocates, not what it maps
from files) less that of a process that only imports the converter, over the size of the weight file.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median


def measured(arguments: list[str]) -> tuple[float, int]:
    """Run a Python process; return its seconds and its peak of anonymous memory in bytes."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        try:
            for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
                if line.startswith("RssAnon:"):
                    peak = max(peak, int(line.split()[1]) * 1024)
        except OSError:  # it has just ended
            break
        time.sleep(0.001)
    if process.wait():
        raise SystemExit(f"failed: {' '.join(arguments)}")
    return time.perf_counter() - start, peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("net", type=Path)
    parser.add_argument("--peer", action="store_true", help="time caffe2onnx as well (half a minute)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        weights, out = Path(folder) / "net.caffemodel", Path(folder) / "net.onnx"
        from graphviz_nets.api import load
        from graphviz_nets.converters.caffe import converter

        converter.save_weights(load(given.net, random_weights=1), weights)
        size = weights.stat().st_size
        _, base = measured(["-c", "import onnx, numpy, graphviz_nets.api, graphviz_nets.converters.caffe"])
        command = ["-m", "graphviz_nets", "convert", str(given.net), "-o", str(out)]
        print(f"{given.net.name}, weights of {size / 1e6:.0f} MB, {base / 1e6:.0f} MB to import")
        ours = 0.0
        for name, more in (("weight file", ["--weights", str(weights)]), ("random weights", ["--random-weights", "1"])):
            runs = [measured(command + more) for _ in range(5)]
            seconds, peak = median(run[0] for run in runs), max(run[1] for run in runs)
            ours = ours or seconds
            print(f"  {name}: {seconds:.2f} s (median of 5), {(peak - base) / size:.2f} x the file in memory")
        if given.peer:
            seconds, peak = measured(
                ["-m", "graphviz_nets.converters.caffe_engine", str(given.net), str(weights), str(out)]
            )
            print(f"  caffe2onnx: {seconds:.2f} s, {(peak - base) / size:.2f} x; {seconds / ours:.0f} x our time")


if __name__ == "__main__":
    main()
