"""What a model wants done to an image before it: size, crop, order of channels, mean and scale."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from graphviz_nets.config import LAYOUTS
from graphviz_nets.errors import ConfigError

CHANNELS = ("rgb", "bgr", "grey")


@dataclass(frozen=True)
class Preprocess:
    """A model's preprocessing; it stands in the model's metadata as ``gvn.preprocess``.

    An image of values 0 to 255 is resized, cropped in its middle, put in the order of `channels`, and becomes
    ``(image - mean) * scale / std``.

    Attributes
    ----------
    channels : {"rgb", "bgr", "grey"}
        Order of the channels.
    layout : {"nchw", "nhwc"}
        Order of the axes of the model's input.
    resize : tuple of int
        Height and width before the crop; one number is that of the shorter side (more where the crop needs it).
        Empty: straight to the input's size.
    crop : tuple of int
        Height and width of the middle that is kept; empty for the size of the model's input.
    mean, std : tuple of float
        One number, or one a channel in the order of `channels`; empty for none.
    mean_image : tuple of (shape, bytes) or None
        A mean for every pixel of the resized image: (C, H, W) and little-endian float32 bytes.
    scale : float
        Factor after the mean.

    Examples
    --------
    >>> Preprocess.from_json(Preprocess(channels="bgr", mean=(104.0, 117.0, 123.0)).to_json()).mean
    (104.0, 117.0, 123.0)
    """

    channels: str = "rgb"
    layout: str = "nchw"
    resize: tuple[int, ...] = ()
    crop: tuple[int, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    mean_image: tuple[tuple[int, ...], bytes] | None = None
    scale: float = 1.0

    def __post_init__(self) -> None:
        for key, allowed in (("channels", CHANNELS), ("layout", LAYOUTS)):
            if getattr(self, key) not in allowed:
                raise ConfigError(f"{getattr(self, key)!r} is not known", key=key, hint=f"one of {', '.join(allowed)}")

    def to_json(self) -> str:
        """Return the record as JSON, without what is as by default."""
        plain: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if value != item.default or item.name in ("channels", "layout"):
                plain[item.name] = value
        if self.mean_image is not None:
            shape, data = self.mean_image
            plain["mean_image"] = {"shape": shape, "data": base64.b64encode(data).decode()}
        return json.dumps(plain)

    @classmethod
    def from_json(cls, text: str, file: str = "") -> Preprocess:
        """Read a record.

        Raises
        ------
        ConfigError
            When it is none.
        """
        try:
            plain = json.loads(text)
        except (ValueError, RecursionError):
            raise ConfigError("no preprocessing record: not JSON", file=file) from None
        return cls.of(plain, file)

    @classmethod
    def of(cls, plain: Any, file: str = "") -> Preprocess:
        """Make a record of plain data, such as a YAML file holds.

        Raises
        ------
        ConfigError
            With the key at fault.

        Examples
        --------
        >>> Preprocess.of({"channels": "bgr", "mean": [104, 117, 123], "resize": 256}).resize
        (256,)
        """
        known = [item.name for item in fields(cls)]
        if not isinstance(plain, Mapping):
            raise ConfigError("a mapping is expected", file=file, hint=f"keys: {', '.join(known)}")
        given: dict[str, Any] = {}
        for key, value in plain.items():
            if key not in known:
                raise ConfigError("no such setting", file=file, key=str(key), hint=f"one of {', '.join(known)}")
            given[key] = _READERS[key](value, file, key)
        try:
            return cls(**given)
        except ConfigError as fault:
            raise ConfigError(fault.message, file=file, key=fault.key, hint=fault.hint) from None


def _text(value: Any, file: str, key: str) -> str:
    if not isinstance(value, str):
        raise ConfigError("a word is expected", file=file, key=key)
    return value.lower()


def _numbers(value: Any, file: str, key: str) -> tuple[float, ...]:
    values = value if isinstance(value, (list, tuple)) else [value]
    if not all(isinstance(one, (int, float)) and not isinstance(one, bool) and abs(one) < 1e9 for one in values):
        raise ConfigError("a number, or a list of numbers, is expected", file=file, key=key)
    if key == "std" and not all(values):
        raise ConfigError("a division by zero", file=file, key=key)
    return tuple(float(one) for one in values)


def _sizes(value: Any, file: str, key: str) -> tuple[int, ...]:
    values = value if isinstance(value, (list, tuple)) else [value]
    if not 1 <= len(values) <= 2 or not all(type(one) is int and 0 < one < 1 << 16 for one in values):
        raise ConfigError("a size, or height and width, is expected", file=file, key=key)
    return tuple(values)


def _number(value: Any, file: str, key: str) -> float:
    return _numbers([value], file, key)[0]


def _image(value: Any, file: str, key: str) -> tuple[tuple[int, ...], bytes]:
    fault = ConfigError("shape (C, H, W) and data in base64 are expected", file=file, key=key)
    if not isinstance(value, Mapping) or not isinstance(value.get("shape"), (list, tuple)):
        raise fault
    shape = tuple(value["shape"])
    if len(shape) != 3 or not all(type(dim) is int and 0 < dim < 1 << 16 for dim in shape):
        raise fault
    try:
        data = base64.b64decode(value.get("data", ""), validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise fault from None
    if len(data) != 4 * shape[0] * shape[1] * shape[2]:
        raise fault
    return shape, data


_READERS: Mapping[str, Any] = {
    "channels": _text, "layout": _text, "resize": _sizes, "crop": _sizes, "mean": _numbers, "std": _numbers,
    "mean_image": _image, "scale": _number,
}  # fmt: skip
