"""What Caffe does to an image before a net: ``transform_param`` and the mean file it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from graphviz_nets.errors import GraphvizNetsError
from graphviz_nets.graph.preprocess import Preprocess

from .caffe_net import Layer, Net
from .caffe_weights import read_mean
from .prototxt import Message

LARGEST_MEAN = 4 << 20
"""Bytes of a mean image that is kept pixel by pixel; of a larger one the channels' means are."""


def preprocess(
    net: Net, beside: list[Path], channels: int | None, problems: list[tuple[int, str]]
) -> Preprocess | None:
    """Return what the first data layer that transforms images says, None where there is none.

    Parameters
    ----------
    net : Net
        With its data layers.
    beside : list of Path
        Files in whose folders the mean file is looked for, under its last name: the path it has is of the machine
        that the net was trained on.
    channels : int, optional
        Of the net's input.
    problems : list
        Gets a line where the mean file is missing or broken.
    """
    for item in net.layers:
        message = item.message.message("transform_param")
        if item.bottoms or not message.fields:
            continue
        record: dict[str, Any] = {"channels": _order(message, channels), "layout": "nchw"}
        scale, crop = message.get("scale", 1.0), message.get("crop_size", 0)
        if isinstance(scale, (int, float)) and scale != 1:
            record["scale"] = float(scale)
        if isinstance(crop, int) and 0 < crop < 1 << 16:
            record["crop"] = (crop, crop)
        if size := _resized(item, message):
            record["resize"] = size
        values = [value for value in message.all("mean_value") if isinstance(value, (int, float))]
        if values:
            record["mean"] = tuple(float(value) for value in values)
        elif "mean_file" in message:
            record |= _mean(item, str(message.get("mean_file")), beside, problems)
        return Preprocess(**record)
    return None


def _order(message: Message, channels: int | None) -> str:
    if channels == 1 or message.get("force_gray", False) is True:
        return "grey"
    return "bgr"  # the order in which OpenCV reads, and Caffe's tools store


def _resized(item: Layer, message: Message) -> tuple[int, ...]:
    own = item.own_param("image_data_param")
    resize = message.message("resize_param")
    for size in ((own.get("new_height"), own.get("new_width")), (resize.get("height"), resize.get("width"))):
        if all(isinstance(side, int) and 0 < side < 1 << 16 for side in size):
            return size
    return ()


def _mean(item: Layer, named: str, beside: list[Path], problems: list[tuple[int, str]]) -> dict[str, Any]:
    """Return what the mean file says, nothing where it is not there."""
    base = named.replace("\\", "/").rpartition("/")[2]
    places = [path.parent / base for path in beside]
    place = next((one for one in places if base and one.is_file()), None)
    if place is None:
        problems.append((item.line, f"{item.name}: the mean file {base!r} is not beside the net; no mean is recorded"))
        return {}
    try:
        return mean_of(place)
    except GraphvizNetsError as fault:
        problems.append((item.line, f"{item.name}: {fault}"))
        return {}


def mean_of(path: Path) -> dict[str, Any]:
    """Return what a mean image says: the image itself, or its channels' means where it is large or has one pixel."""
    blob = read_mean(path)
    shape = blob.shape[-3:] if len(blob.shape) >= 3 else (*blob.shape, 1, 1)[:3]
    data = bytes(blob.read())
    if shape[1:] == (1, 1) or len(data) > LARGEST_MEAN:
        import numpy as np

        return {"mean": tuple(float(v) for v in np.frombuffer(data, "<f4").reshape(shape).mean((1, 2), "f8"))}
    return {"mean_image": (shape, data), "resize": shape[1:]}
