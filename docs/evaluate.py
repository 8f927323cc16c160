"""Make the pictures of detectors and of truth metrics: ``PYTHONPATH=. python docs/evaluate.py``, with ../shared/models.

The table of docs/explain.md goes to stdout.
"""

from __future__ import annotations

import gzip
import sys
import tempfile
from pathlib import Path

import numpy as np

from graphviz_nets import api
from graphviz_nets.explain import evaluation, images, targets
from graphviz_nets.explain.explainer import Explainer
from graphviz_nets.explain.heatmap import coloured, overlaid, png, sheet, shown
from graphviz_nets.explain.methods import explain, heat, method, seeds
from graphviz_nets.files import write
from graphviz_nets.graph.preprocess import Preprocess
from tests.test_perturb import FACES, ultraface

ROOT = Path(__file__).resolve().parents[1]
MODELS = ROOT.parent / "shared" / "models"
METHODS = ("saliency", "integrated-gradients", "guided-backprop", "grad-cam", "occlusion")
HEAD = (60, 0, 140, 120)
"""The dog's head in both_dog_cat.png at 227 x 227."""


def truth() -> None:
    """Compare methods on SqueezeNet; the table goes to stdout."""
    net = MODELS / "caffe" / "squeezenet"
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "squeezenet.caffemodel"
        weights.write_bytes(gzip.decompress((net / "squeezenet_v1.0_dc.caffemodel.gz").read_bytes()))
        model = api.load(net / "dc_squeezenet_v1.0_deploy.prototxt", weights=weights, deploy=True,
                         input_shapes={"data": (None, (1, 3, 227, 227))})  # fmt: skip
        e = Explainer(model)
    x = images.batch([MODELS / "images" / "both_dog_cat.png"], images.PRESETS["caffe"], e.shape)
    seed = seeds(e.scores(x), 243)

    def rerun(name: str, other: Explainer, pictures: np.ndarray) -> np.ndarray:
        return heat(name, method.rules[name](other, pictures, seed))

    report = evaluation.evaluate(e, x, seed, {name: rerun(name, e, x) for name in METHODS}, rerun, [HEAD])
    write(ROOT / "docs" / "pictures" / "explain_truth.svg", evaluation.picture(report).encode())
    sys.stdout.write(evaluation.table(report) + "\n")


def faces() -> None:
    """Explain both faces that RFB-320 finds: D-RISE, and the gradient of the face's score."""
    model = api.load(MODELS / "onnx" / "ultraface" / "version-RFB-320_without_postprocessing.onnx")
    record = Preprocess(resize=(240, 320), mean=(127.0,), scale=1 / 128)
    e = Explainer(model)
    x = images.batch([MODELS / "images" / "faces" / "mtcnn_test1.jpg"], record, e.shape)
    (picture,) = shown(x)
    how, rows = targets.detector(e, priors=ultraface()), []
    for box in FACES:
        (found,) = explain(e, x, "top1", "d-rise", box=box, how=how)
        name, seed = targets.score_of(e, x, how, box)
        (smooth,) = heat("smoothgrad", np.abs(explain(Explainer(model, target=name), x, seed, "smoothgrad")))
        rows.append(
            [picture, coloured(found, False), overlaid(picture, found, False), overlaid(picture, smooth, False)]
        )
    write(ROOT / "docs" / "pictures" / "explain_faces.png", png(sheet(rows)))


if __name__ == "__main__":
    faces()
    truth()
