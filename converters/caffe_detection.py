"""Layers of detectors: SSD's prior boxes and the choice of what it has found."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import product as grid
from math import sqrt

from graphviz_nets.graph.builder import Builder
from graphviz_nets.graph.ir import float32
from graphviz_nets.graph.shapes import Impossible

from .caffe_call import Call, images, layer


@layer("PriorBox")
def prior_box(op: Builder, call: Call) -> tuple[str, ...]:
    """initializer, computed from both spatial sizes, through Identity"""
    call.need(2)
    message = call.param("prior_box_param")
    high, wide = images(call, 0)[2:]
    tall, broad = images(call, 1)[2:]
    image = call.whole(message, "img_size", 0)
    tall = call.whole(message, "img_h", image or tall, 1)
    broad = call.whole(message, "img_w", image or broad, 1)
    step = call.number(message, "step", 0.0)
    step_h = call.number(message, "step_h", step) or tall / high
    step_w = call.number(message, "step_w", step) or broad / wide
    smallest = [call.checked_float(message, value) for value in message.all("min_size")]
    largest = [call.checked_float(message, value) for value in message.all("max_size")]
    if not smallest:
        raise call.fail(message, "min_size", "min_size is missing")
    if not all(0 < value < float("inf") for value in (*smallest, *largest)):
        raise call.fail(message, "min_size", "min_size and max_size are positive")
    ratios = [1.0]
    for value in message.all("aspect_ratio"):
        ratio = call.checked_float(message, value)
        if not 1e-6 < ratio < 1e6:
            raise call.fail(message, "aspect_ratio", "aspect_ratio is a positive number")
        if all(abs(ratio - old) >= 1e-6 for old in ratios):
            ratios += [ratio, 1 / ratio] if call.flag(message, "flip", True) else [ratio]
    offset = call.number(message, "offset", 0.5)
    spread = [call.checked_float(message, value) for value in message.all("variance")] or [0.1]
    spread = spread * 4 if len(spread) == 1 else spread
    if len(spread) != 4:
        raise call.fail(message, "variance", "variance is given once or four times")
    sides: list[tuple[float, float]] = []
    for k, size in enumerate(smallest):
        sides.append((size, size))
        if k < len(largest):
            sides.append((sqrt(size * largest[k]),) * 2)
        sides += [(size * sqrt(ratio), size / sqrt(ratio)) for ratio in ratios if abs(ratio - 1) >= 1e-6]
    clipped = call.flag(message, "clip", False)
    total = high * wide * len(sides) * 4
    if total > 1 << 26:
        raise Impossible("there are too many boxes")

    def corners() -> Iterator[float]:
        for row, column in grid(range(high), range(wide)):
            x, y = (column + offset) * step_w, (row + offset) * step_h
            for width, height in sides:
                for value in (
                    (x - width / 2) / broad,
                    (y - height / 2) / tall,
                    (x + width / 2) / broad,
                    (y + height / 2) / tall,
                ):
                    yield min(max(value, 0.0), 1.0) if clipped else value

    def content() -> bytes:
        return struct.pack(f"<{total}f", *map(float32, corners())) + struct.pack("<4f", *spread) * (total // 4)

    name = op.weight(f"{call.layer.name}.priors", (1, 2, total), content, role="constant")
    return (op.Identity(name),)


@layer("DetectionOutput")
def detection_output(op: Builder, call: Call) -> tuple[str, ...]:
    """Mul, Add, Exp and the like for the boxes; NonMaxSuppression, GatherND, TopK, Concat

    `eta` must be 1, and the batch at most 64 images.
    """
    call.need(3)
    message = call.param("detection_output_param")
    classes, background = call.whole(message, "num_classes", None, 1), call.whole(message, "background_label_id", 0, -1)
    shared = call.flag(message, "share_location", True)
    nms = message.message("nms_param")
    if call.number(nms, "eta", 1.0) != 1:
        raise Impossible("an adaptive threshold (eta) has no ONNX form")
    batch, wide = call.known(1)
    priors = wide // classes
    if classes > 1 << 16 or batch > MOST_IMAGES:
        raise Impossible(f"{classes} classes in {batch} images are too many")
    labels = [label for label in range(classes) if label != background]
    if priors * classes != wide or not labels or (call.known(2)[-1:] != (4 * priors,)):
        raise Impossible(f"{wide} scores and {call.known(2)} priors do not fit {classes} classes")
    places = 1 if shared else classes
    if call.known(0) != (batch, priors * places * 4):
        raise Impossible(f"locations of the shape {call.known(0)} do not fit {priors} priors")

    boxes = _decoded(op, call, batch, priors, places)
    scores = op.Transpose(op.Reshape(call.inputs[1], op.constant([batch, priors, classes])), perm=(0, 2, 1))
    chosen = op.constant(labels)
    scores = op.Gather(scores, chosen, axis=1) if len(labels) < classes else scores
    if not shared:  # every class has boxes of its own: a class of an image is an image to the suppression
        boxes = op.Gather(boxes, chosen, axis=1) if len(labels) < classes else boxes
        boxes = op.Reshape(boxes, op.constant([batch * len(labels), priors, 4]))
        scores = op.Reshape(scores, op.constant([batch * len(labels), 1, priors]))
    scores = _foremost(op, call, scores, call.whole(nms, "top_k", -1, -1), priors)
    limit = max(call.number(message, "confidence_threshold", LOWEST), LOWEST)
    found = op.NonMaxSuppression(
        boxes, scores, op.constant([priors]), op.constant([call.number(nms, "nms_threshold", 0.3)], "float32"),
        op.constant([limit], "float32"),
    )  # fmt: skip
    first, second, which = (op.Gather(found, op.constant([k]), axis=1) for k in range(3))
    score = op.Unsqueeze(op.GatherND(scores, found), op.constant([1]))
    box = op.GatherND(boxes, op.Concat(first, which, axis=1))
    image, label = (first, second) if shared else (op.Div(first, op.constant([len(labels)])), op.Mod(
        first, op.constant([len(labels)])))  # fmt: skip
    named = op.Cast(op.Gather(chosen, label), to=1)
    rows = op.Concat(op.Cast(image, to=1), named, score, box, axis=1)
    keep = call.whole(message, "keep_top_k", -1, -1)
    if keep >= 0:
        rows = op.Gather(rows, _best(op, image, score, batch, keep), axis=0)
    return (op.Unsqueeze(_or_nothing(op, call, rows, batch), op.constant([0, 1])),)


LOWEST = -1e30
"""Below every score."""
MOST_IMAGES = 64
"""Of a batch: the best of each image are chosen by nodes of their own."""


def _decoded(op: Builder, call: Call, batch: int, priors: int, places: int) -> str:
    """Return the boxes' corners, (N, P, 4), or (N, classes, P, 4) where every class has its own."""
    message = call.param("detection_output_param")
    code = call.choice(message, "code_type", ("", "CORNER", "CENTER_SIZE", "CORNER_SIZE")) or "CORNER"
    shift = op.Reshape(call.inputs[0], op.constant([batch, priors, *(places,) * (places > 1), 4]))
    if places > 1:
        shift = op.Transpose(shift, perm=(0, 2, 1, 3))
    prior = op.Reshape(call.inputs[2], op.constant([2, priors, 4]))
    corners, spread = (op.Gather(prior, op.constant([k]), axis=0) for k in range(2))
    if not call.flag(message, "variance_encoded_in_target", False):
        shift = op.Mul(shift, spread)
    if code == "CORNER":
        return op.Add(corners, shift)
    low, high = op.node("Split", [corners], 2, attributes={"axis": -1, "num_outputs": 2})
    size = op.Sub(high, low)
    if code == "CORNER_SIZE":
        return op.Add(corners, op.Mul(shift, op.Concat(size, size, axis=-1)))
    move, grow = op.node("Split", [shift], 2, attributes={"axis": -1, "num_outputs": 2})
    half = op.scalar(0.5)
    centre = op.Add(op.Mul(move, size), op.Mul(op.Add(low, high), half))
    reach = op.Mul(op.Mul(op.Exp(grow), size), half)
    return op.Concat(op.Sub(centre, reach), op.Add(centre, reach), axis=-1)


def _foremost(op: Builder, call: Call, scores: str, top: int, priors: int) -> str:
    """Leave the best `top` scores of every class: Caffe looks at no more."""
    if not 0 <= top < priors:
        return scores
    best, places = op.node("TopK", [scores, op.constant([top])], 2, attributes={"axis": 2})
    shape = op.shape(scores) or ()
    total = 1
    for dim in shape:
        total *= int(dim or 0)
    lowest = op.weight(f"{call.layer.name}.lowest", shape, lambda: struct.pack("<f", LOWEST) * total, role="constant")
    return op.ScatterElements(lowest, places, best, axis=2)


def _best(op: Builder, image: str, score: str, batch: int, keep: int) -> str:
    """Return the rows of the best `keep` of every image, in the order they are in: by image, label and score."""
    flat, whole = op.constant([-1]), op.constant([keep])
    image, score = op.Reshape(image, flat), op.Reshape(score, flat)
    found = []
    for k in range(batch):
        mine = op.Equal(image, op.constant([k]))
        size = op.Min(whole, op.ReduceSum(op.Cast(mine, to=7), op.constant([0])))
        masked = op.Where(mine, score, op.scalar(LOWEST))
        found.append(op.node("TopK", [masked, size], 2, attributes={"axis": 0})[1])
    rows = op.Concat(*found, axis=0) if batch > 1 else found[0]
    order = op.node("TopK", [rows, op.Shape(rows)], 2, attributes={"axis": 0, "largest": 0})
    return order[0]


def _or_nothing(op: Builder, call: Call, rows: str, batch: int) -> str:
    """Return the rows, or Caffe's way to say that there are none: one row of -1 for each image."""
    nothing = [number for k in range(batch) for number in (float(k), *(-1.0,) * 6)]
    total = op.Gather(op.Shape(rows), op.constant([0]))
    end = op.Where(op.Equal(total, op.constant([0])), op.constant([batch]), total)
    both = op.Concat(rows, op.constant(nothing, "float32", (batch, 7)), axis=0)
    inputs = [both, op.constant([0]), end, op.constant([0])]
    return op.node("Slice", inputs, known=[("float32", (None, 7))])[0]
