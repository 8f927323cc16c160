"""Attribution beside Captum and our own forward pass: process CPU time, one thread, interleaved, median of 7.

    python benchmarks/attribution.py [NAME...]

Names are torchvision's (random weights) or efficientnet_lite0 (real ones); resnet50, efficientnet_lite0 and vit_b_32 by
default. What is compared runs in one process, so that a ratio means something on a busy machine; memory is the growth
of a child's resident set from before its sessions are built.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.real_nets import efficientnet_lite0
from tests.torchvision_shim import torchvision

os.environ["OMP_NUM_THREADS"] = "1"
NETS = ("resnet50", "efficientnet_lite0", "vit_b_32")
PEER = "Captum's"
INTEGRATED = "integrated-gradients"


def timed(runs: dict[str, Callable[[], Any]], rounds: int = 7) -> dict[str, float]:
    """Return the median CPU seconds of each, one after the other in every round."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for k in range(rounds + 1):
        for name, run in runs.items():
            start = time.process_time()
            run()
            if k:  # the first round warms up
                times[name].append(time.process_time() - start)
    return {name: median(found) for name, found in times.items()}


def main() -> None:
    import torch

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for name in sys.argv[1:] or NETS:
        if name == "efficientnet_lite0":
            module = efficientnet_lite0()
        else:
            module = getattr(torchvision().models, name)(weights=None).eval()
        for batch in (1, 8):
            compared(name, module, torch.randn(batch, 3, 224, 224))


def compared(name: str, module: Any, x: Any) -> None:
    """Print how one net's attributions compare."""
    import numpy as np
    import torch
    from captum.attr import IntegratedGradients, Saliency

    from graphviz_nets.explain.explainer import Explainer
    from graphviz_nets.explain.methods import explain, seeds
    from graphviz_nets.graph import proto

    program = torch.onnx.export(module, (x,), dynamo=True, optimize=False, verbose=False)
    model = proto.from_proto(program.model_proto)
    explainer = Explainer(model, threads=1)
    data, seed = x.numpy(), seeds(np.zeros((len(x), 1000)), 7)
    saliency, integrated = Saliency(module), IntegratedGradients(module)
    found = timed({
        "forward": lambda: explainer.scores(data),
        "saliency": lambda: explainer.gradient(data, seed),
        PEER: lambda: saliency.attribute(x.clone().requires_grad_(True), target=7),
    })  # fmt: skip
    ours = found["saliency"]
    cost = f"{ours / found[PEER]:.2f} x Captum's, {ours / found['forward']:.2f} x our forward pass"
    print(f"{name}, batch {len(x)}: saliency {ours:.3f} s, {cost}", flush=True)
    if len(x) > 1:
        return
    found = timed({
        "ours": lambda: explain(explainer, data, 7, INTEGRATED),
        PEER: lambda: integrated.attribute(x, target=7, internal_batch_size=1),
    }, 1)  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        proto.write(model, path)
        grown = {method: memory(path, method) for method in ("saliency", INTEGRATED)}
    print(
        f"  integrated gradients, 50 steps: {found['ours']:.1f} s, {found['ours'] / found[PEER]:.2f} x Captum's; "
        f"{grown[INTEGRATED]:.0f} MB, {grown[INTEGRATED] / grown['saliency']:.2f} x saliency's",
        flush=True,
    )


def memory(path: Path, method: str) -> float:
    """Return the MB by which a child's resident set grows at most while it explains an image."""
    line = [sys.executable, str(Path(__file__).resolve()), CHILD, str(path), method]
    return float(subprocess.run(line, check=True, capture_output=True, text=True).stdout)


CHILD = "--memory"


def child(path: Path, method: str) -> None:
    """Print what :func:`memory` returns."""
    import numpy as np

    from graphviz_nets.explain.explainer import Explainer
    from graphviz_nets.explain.methods import explain
    from graphviz_nets.graph import proto

    def resident(key: str) -> int:
        line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
        return int(line.split()[1])

    explainer = Explainer(proto.read(path), threads=1)
    data = np.random.default_rng(0).standard_normal(explainer.shape).astype("f4")
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    explain(explainer, data, 7, method)
    print((resident("VmHWM") - before) / 1000)


if __name__ == "__main__":
    if sys.argv[1:2] == [CHILD]:
        child(Path(sys.argv[2]), sys.argv[3])
    else:
        main()
