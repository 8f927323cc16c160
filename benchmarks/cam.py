"""Class activation maps beside pytorch-grad-cam and Captum: process CPU time, one thread, interleaved.

    python benchmarks/cam.py [NAME] [--quick]

NAME is torchvision's; resnet50 by default, with random weights. Score-CAM and Ablation-CAM run over all channels of the
last layer, once; `--quick` leaves them out. Everything runs in one process, so that a ratio means something on a busy
machine.
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

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.torchvision_shim import torchvision

LIMITS = {"grad-cam": 0.35, "score-cam": 0.75, "ablation-cam": 0.05}


def timed(runs: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Return the median CPU seconds of each, one after the other in every round."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.process_time()
            run()
            times[name].append(time.process_time() - start)
    return {name: median(found) for name, found in times.items()}


def main() -> None:
    import torch

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    names = [one for one in sys.argv[1:] if not one.startswith("-")] or ["resnet50"]
    module = getattr(torchvision().models, names[0])(weights=None).eval()
    compared(module, torch.randn(1, 3, 224, 224), "--quick" in sys.argv)


def compared(module: Any, x: Any, quick: bool) -> None:
    """Print how one net's maps compare."""
    import pytorch_grad_cam as peers
    import torch
    from captum.attr import LayerGradCam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    from graphviz_nets.explain.explainer import Explainer
    from graphviz_nets.explain.methods import explain
    from graphviz_nets.graph import proto

    program = torch.onnx.export(module, (x,), dynamo=True, optimize=False, verbose=False)
    explainer = Explainer(proto.from_proto(program.model_proto), threads=1)
    data, target, layer = x.numpy(), [ClassifierOutputTarget(7)], module.layer4
    captum = LayerGradCam(module, layer)
    classes = {"grad-cam": peers.GradCAM, "score-cam": peers.ScoreCAM, "ablation-cam": peers.AblationCAM}

    def ours(name: str) -> Callable[[], Any]:
        return lambda: explain(explainer, data, 7, name)

    for name, peer in classes.items():
        if quick and name != "grad-cam":
            continue
        theirs = peer(module, [layer])
        runs = {"ours": ours(name), "pytorch-grad-cam": lambda theirs=theirs: theirs(x, target)}
        if name == "grad-cam":
            runs["Captum"] = lambda: captum.attribute(x, target=7)
            timed(runs, 1)
        found = timed(runs, 7 if name == "grad-cam" else 1)
        ratios = ", ".join(f"{found['ours'] / found[one]:.3f} x {one}'s {found[one]:.2f} s" for one in list(found)[1:])
        print(f"{name}: {found['ours']:.2f} s, {ratios} (goal {LIMITS[name]} x pytorch-grad-cam's)", flush=True)
        theirs.activations_and_grads.release()


if __name__ == "__main__":
    main()
