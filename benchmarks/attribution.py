"""Attribution beside Captum and our own forward pass: process CPU time, one thread, interleaved, median of 7.

    python benchmarks/attribution.py [NAME...]

Names are torchvision's; resnet50, vit_b_32 and mobilenet_v2 by default, with random weights. Everything runs in one
process, so that a ratio means something on a busy machine.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.torchvision_shim import torchvision

os.environ["OMP_NUM_THREADS"] = "1"
PEER = "Captum's"


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
    models = torchvision().models
    for name in sys.argv[1:] or ["resnet50", "vit_b_32", "mobilenet_v2"]:
        module = getattr(models, name)(weights=None).eval()
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
    explainer = Explainer(proto.from_proto(program.model_proto), threads=1)
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
        "ours": lambda: explain(explainer, data, 7, "integrated-gradients"),
        PEER: lambda: integrated.attribute(x, target=7, internal_batch_size=1),
    }, 1)  # fmt: skip
    print(
        f"  integrated gradients, 50 steps: {found['ours']:.1f} s, {found['ours'] / found[PEER]:.2f} x Captum's",
        flush=True,
    )


if __name__ == "__main__":
    main()
