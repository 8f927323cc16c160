"""Words for shapes, numbers and the settings of a layer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

TIMES = "×"
NUMBER = re.compile(r"[0-9]+")


def shape_text(shape: Sequence[int | str | None] | None) -> str:
    """Return a shape as people read it.

    Examples
    --------
    >>> shape_text((10, 3, None, "width")), shape_text(()), shape_text(None)
    ('10×3×?×width', 'scalar', '')
    """
    if shape is None:
        return ""
    return TIMES.join("?" if dim is None else str(dim) for dim in shape) or "scalar"


def short(number: int | None) -> str:
    """Return a count with three digits and a suffix.

    Examples
    --------
    >>> short(431080), short(999), short(None)
    ('431 k', '999', '?')
    """
    if number is None:
        return "?"
    size = float(number)
    for suffix in ("", " k", " M", " G", " T"):
        if abs(size) < 999.5 or suffix == " T":
            digits = 0 if not suffix or size >= 100 else 1 if size >= 10 else 2
            return f"{size:.{digits}f}{suffix}"
        size /= 1000
    raise AssertionError


def number_text(value: Any) -> str:
    """Return a setting's value as text, floats at single precision.

    Examples
    --------
    >>> number_text(0.10000000149011612), number_text([3, 3]), number_text(True)
    ('0.1', '3×3', 'yes')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.7g}"
    if isinstance(value, (list, tuple)):
        return TIMES.join(map(number_text, value))
    return str(value)


# The names that frameworks give to the settings of a window, first found wins.
_KERNEL = ("kernel_size", "kernel_shape", "pool_size", "kernelsize")
_OUTPUTS = ("num_output", "filters", "units", "out_channels", "out_features")
_WINDOW = (
    ("stride", ("stride", "strides"), ("stride_h", "stride_w"), 1),
    ("pad", ("pad", "pads", "padding"), ("pad_h", "pad_w"), 0),
    ("dilation", ("dilation", "dilations", "dilation_rate"), (), 1),
    ("group", ("group", "groups"), (), 1),
)
_LINEAR = frozenset(("innerproduct", "gemm", "linear", "dense", "lstm", "rnn", "gru", "embed"))
# Settings worth a word, by type.
_WORTH: Mapping[str, tuple[str, ...]] = {
    "eltwise": ("operation", "coeff"),
    "concat": ("axis", "concat_dim"),
    "slice": ("axis", "slice_dim", "slice_point"),
    "softmax": ("axis",),
    "dropout": ("dropout_ratio", "ratio"),
    "lrn": ("local_size", "norm_region"),
    "relu": ("negative_slope",),
    "leakyrelu": ("alpha",),
    "elu": ("alpha",),
    "prelu": ("channel_shared",),
    "power": ("power", "scale", "shift"),
    "exp": ("base", "scale", "shift"),
    "log": ("base", "scale", "shift"),
    "clip": ("min", "max"),
    "threshold": ("threshold",),
    "reshape": ("shape",),
    "permute": ("order",),
    "transpose": ("perm",),
    "crop": ("axis", "offset"),
    "flatten": ("axis", "end_axis"),
    "argmax": ("top_k", "axis"),
    "reduction": ("operation", "axis"),
    "tile": ("axis", "tiles"),
    "python": ("module", "layer"),
    "accuracy": ("top_k",),
    "priorbox": ("min_size", "max_size", "aspect_ratio"),
    "detectionoutput": ("num_classes", "keep_top_k"),
    "roipooling": ("pooled_h", "pooled_w"),
    "spp": ("pyramid_height", "pool"),
    "shufflechannel": ("group",),
    "interp": ("height", "width", "zoom_factor", "shrink_factor"),
    "upsample": ("scale",),
    "data": ("batch_size",),
    "imagedata": ("batch_size",),
    "hdf5data": ("batch_size",),
    "memorydata": ("batch_size",),
    "windowdata": ("batch_size",),
}


def caption(type_: str, attributes: Mapping[str, Any], rank: int = 2) -> tuple[str, ...]:
    """Return the words that describe a layer's settings; those at their default are left out.

    Parameters
    ----------
    type_ : str
        The source's type.
    attributes : mapping
        The source's settings, by any framework's names.
    rank : int
        Number of spatial dimensions, by which one number stands for several.

    Examples
    --------
    >>> caption("Convolution", {"num_output": 20, "kernel_size": 5, "stride": 2})
    ('5×5', '20 ch', 'stride 2')
    >>> caption("Pooling", {"pool": "MAX", "kernel_h": 3, "kernel_w": 2})
    ('MAX', '3×2')
    """
    name = type_.rpartition("::")[2].lower()
    words: list[str] = []
    pool = attributes.get("pool")
    if name == "pooling":
        words.append(str(pool or "MAX"))
        if attributes.get("global_pooling"):
            return (f"global {words[0]}",)
    kernel = _first(attributes, _KERNEL)
    sides = [attributes[key] for key in ("kernel_h", "kernel_w") if key in attributes]
    if len(sides) == 2:
        words.append(number_text(sides))
    elif kernel is not None and name != "lrn":
        whole = kernel if isinstance(kernel, (list, tuple)) and len(kernel) > 1 else [_single(kernel)] * rank
        words.append(number_text(list(whole)))
    if name == "eltwise":
        attributes = {"operation": "SUM", **attributes}
    outputs = _first(attributes, _OUTPUTS)
    if outputs is not None:
        words.append(f"{number_text(outputs)} {'units' if name in _LINEAR else 'ch'}")
    if kernel is not None or sides:
        for word, keys, axes, default in _WINDOW:
            value = _first(attributes, keys)
            parts = [attributes.get(key, default) for key in axes] if any(key in attributes for key in axes) else None
            value = parts if parts is not None else _single(value)
            flat = value if isinstance(value, (list, tuple)) else [value]
            if value is not None and any(part not in (default, None) for part in flat):
                words.append(f"{word} {number_text(_single(value))}")
    for key in _WORTH.get(name, ()):
        if key in attributes and attributes[key] not in ("", None):
            words.append(_setting(key, attributes[key]))
    return tuple(words)


def _setting(key: str, value: Any) -> str:
    if isinstance(value, Mapping):
        value = value.get("dim", list(value.values()))
    if isinstance(value, (list, tuple)):
        text = " ".join(map(number_text, value[:6])) + (" …" if len(value) > 6 else "")
    else:
        text = number_text(value)
    return text if key in ("operation", "module", "layer", "norm_region") else f"{key.replace('_', ' ')} {text}"


def _first(attributes: Mapping[str, Any], keys: Sequence[str]) -> Any:
    return next((attributes[key] for key in keys if key in attributes), None)


def _single(value: Any) -> Any:
    """Return the one number that a list of equal numbers stands for."""
    if isinstance(value, (list, tuple)) and value and all(part == value[0] for part in value):
        return value[0]
    return value


def between(first: str, last: str) -> str:
    """Return a short name for everything from one name to another.

    Examples
    --------
    >>> between("layers.0", "layers.31"), between("conv1", "pool1"), between("MatMul_3", "MatMul_3")
    ('layers.0–31', 'conv1 … pool1', 'MatMul_3')
    """
    if first == last:
        return first
    one, two = list(NUMBER.finditer(first)), list(NUMBER.finditer(last))
    if NUMBER.sub("#", first) == NUMBER.sub("#", last):
        differ = [(a, b) for a, b in zip(one, two, strict=True) if a.group() != b.group()]
        if len(differ) == 1:
            a, b = differ[0]
            return f"{first[: a.start()]}{a.group()}–{b.group()}{first[a.end() :]}"
    return f"{first} … {last}"
