"""Draw the sheets of maps with words in `docs/pictures`: ``python docs/sheets.py`` (needs torch and scikit-learn)."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

HERE = Path(__file__).resolve().parent
FIXTURES = HERE.parent / "fixtures"
sys.path.insert(0, str(HERE.parent))

from fixtures.digits.make import digits  # noqa: E402
from fixtures.vit.make import pictures  # noqa: E402
from graphviz_nets import load  # noqa: E402
from graphviz_nets.drawing.text import roboto  # noqa: E402
from graphviz_nets.explain.explainer import Explainer  # noqa: E402
from graphviz_nets.explain.heatmap import coloured  # noqa: E402
from graphviz_nets.explain.methods import MAPS, UNSIGNED, explain, heat  # noqa: E402
from tests.test_four_frameworks import opened  # noqa: E402

GAP, EDGE, LINE = 12, 150, 20
"""Pixels between cells, left of them for words, and for each line of words."""
NAMES = {"onnx": "ONNX", "caffe": "Caffe", "keras": "Keras", "pytorch": "PyTorch"}


def sheet(path: Path, heads: Sequence[str], rows: Mapping[str, Sequence[Any]], zoom: int) -> None:
    """Write rows of small pictures (H, W, 3), enlarged, with words above and before them; a line each."""
    font = ImageFont.truetype(str(roboto()), 15)
    high, wide = (side * zoom for side in next(iter(rows.values()))[0].shape[:2])
    across = max([wide, *(int(font.getlength(line)) for head in heads for line in head.split("\n"))])
    top = GAP + LINE * max(head.count("\n") + 1 for head in heads)
    page = Image.new("RGB", (EDGE + len(heads) * (across + GAP), top + len(rows) * (high + GAP)), "white")
    pen = ImageDraw.Draw(page)
    for k, head in enumerate(heads):
        at = EDGE + k * (across + GAP) + across // 2, top // 2
        pen.multiline_text(at, head, "#1b1f24", font, anchor="mm", align="center")
    for j, (words, cells) in enumerate(rows.items()):
        y = top + j * (high + GAP)
        pen.multiline_text((GAP, y + high // 2), words, "#1b1f24", font, anchor="lm")
        for k, cell in enumerate(cells):
            shown = Image.fromarray(cell).resize((wide, high), Image.Resampling.NEAREST)
            page.paste(shown, (EDGE + k * (across + GAP) + (across - wide) // 2, y))
    page.save(path, optimize=True)


def grey(image: Any) -> Any:
    """Return an image (1, H, W) from 0 to 1 as a picture."""
    return (255 * image.clip(0, 1)).round().astype("u1")[0, ..., None].repeat(3, -1)


def four_frameworks() -> None:
    """One net's maps of one digit, by framework and method; how far they are off, as a share of the largest amount."""
    methods = ("smoothgrad", "integrated-gradients", "lrp", "grad-cam", "layer-cam", "score-cam")
    _, _, images, labels = digits()
    x = images[np.flatnonzero(labels == 6)[:1]]
    found = {}
    for framework in NAMES:
        e = Explainer(opened(framework), provider="cpu")
        assert e.image is not None
        maps = [explain(e, np.moveaxis(x, 1, e.image.axis), 6, name) for name in methods]
        found[framework] = [
            heat(n, m if n in MAPS else e.image.first(m))[0] for n, m in zip(methods, maps, strict=True)
        ]
    rows = {}
    for framework, maps in found.items():
        off = max(np.abs(a - b).max() / np.abs(b).max() for a, b in zip(maps, found["onnx"], strict=True))
        words = f"{NAMES[framework]}\n" + (
            "" if framework == "onnx" else f"off by {off:.0e}" if off else "off by nothing"
        )
        rows[words] = [grey(x[0]), *(coloured(m, n not in UNSIGNED) for n, m in zip(methods, maps, strict=True))]
    heads = ["image", *(name.replace("-", "-\n", 1) if len(name) > 12 else name for name in methods)]
    sheet(HERE / "pictures" / "explain_four_frameworks.png", heads, rows, 7)


def rollout() -> None:
    """Where a vision transformer finds the stripes that it was trained to find in noise."""
    x, ways, _ = pictures(40, 7)
    first = [int(np.flatnonzero(ways == way)[0]) for way in range(4)]
    x, ways = x[first], ways[first]
    e = Explainer(load(FIXTURES / "vit" / "stripes.onnx"), provider="cpu")
    columns: Mapping[str, tuple[str, dict[str, Any]]] = {
        "attention-\nrollout": ("attention-rollout", {}),
        "attention-rollout\ndiscard=0.9": ("attention-rollout", {"discard": 0.9}),
        "gradient-\nrollout": ("gradient-rollout", {}),
        "gradient-rollout\nchefer=true": ("gradient-rollout", {"chefer": True}),
        "grad-cam": ("grad-cam", {}),
    }  # fmt: skip
    maps = [explain(e, x, list(ways), name, **options) for name, options in columns.values()]
    kinds = ("horizontal", "vertical", "rising", "falling")
    rows = {kind: [grey(x[k]), *(coloured(one[k], False) for one in maps)] for k, kind in enumerate(kinds)}
    sheet(HERE / "pictures" / "explain_rollout.png", ["image", *columns], rows, 4)


if __name__ == "__main__":
    four_frameworks()
    rollout()
