"""Images to a model's input, as its Preprocess record says."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from graphviz_nets.errors import ConfigError, ConvertError, LimitError, MissingExtra
from graphviz_nets.graph.channels import images, layout_of
from graphviz_nets.graph.ir import Model, Shape
from graphviz_nets.graph.preprocess import Preprocess

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

LARGEST = 100_000_000
"""Pixels of an image."""

PRESETS: Mapping[str, Preprocess] = {
    "caffe": Preprocess(channels="bgr", resize=(256,), mean=(104.0, 117.0, 123.0)),
    "imagenet": Preprocess(resize=(256,), mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)),
    "inception": Preprocess(mean=(127.5,), scale=1 / 127.5),
    "unit": Preprocess(scale=1 / 255),
    "raw": Preprocess(),
}
"""In wide use: BGR minus ImageNet's mean; RGB normalised as torchvision does; -1 to 1; 0 to 1; 0 to 255."""


def record_of(model: Model) -> Preprocess | None:
    """Return the preprocessing that a model was saved with, None where it has none.

    Raises
    ------
    ConfigError
        When its record is broken.
    """
    text = model.metadata.get("gvn.preprocess")
    return None if text is None else Preprocess.from_json(text, "gvn.preprocess")


def fitted(record: Preprocess, model: Model) -> Preprocess:
    """Return a preset as a model takes it: with channels where its own are, and grey where it has one.

    Examples
    --------
    >>> from graphviz_nets.graph.builder import Builder
    >>> op = Builder("net")
    >>> found = fitted(PRESETS["unit"], op.model([op.Relu(op.input("x", "float32", (1, 32, 32, 1)))]))
    >>> found.layout, found.channels
    ('nhwc', 'grey')
    """
    layout = layout_of(model)
    shapes = [model.graph.value(name).shape or () for name in images(model.graph)]
    one = bool(shapes) and all(shape[1 if layout == "nchw" else 3] == 1 for shape in shapes)
    grey = one and len(record.mean) < 2 and len(record.std) < 2
    return replace(record, layout=layout, channels="grey" if grey else record.channels)


def batch(paths: Iterable[Path], record: Preprocess, shape: Shape) -> Array:
    """Return images as a model's input.

    Parameters
    ----------
    paths : iterable of Path
        Image files that Pillow reads, and ``.npy`` arrays, which are taken as they are.
    record : Preprocess
        What is done to them.
    shape : tuple
        Of the model's input, (N, C, H, W) or (N, H, W, C); unknown heights and widths follow the record.

    Returns
    -------
    array
        float32, one sample an image.

    Raises
    ------
    ConvertError
        When a file is no image, or an array has another shape.
    """
    import numpy as np

    rows = [
        _array(path, shape) if path.suffix.lower() == ".npy" else image(path, record, shape)[None] for path in paths
    ]
    if not rows:
        raise ConfigError("no image is given")
    sizes = {row.shape[1:] for row in rows}
    if len(sizes) > 1:
        raise ConvertError(f"the images have different sizes: {', '.join(map(str, sorted(sizes)))}",
                           hint="give the preprocessing a size with crop")  # fmt: skip
    return np.concatenate(rows)


SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


def files(paths: Iterable[Path]) -> list[Path]:
    """Return paths with the images of each folder, by name, in its place.

    Raises
    ------
    ConvertError
        When a folder holds none.
    """
    found = []
    for path in paths:
        inside = sorted(one for one in path.iterdir() if one.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
        if not inside:
            raise ConvertError("the folder holds no images", path=str(path), hint=", ".join(sorted(SUFFIXES)))
        found += inside
    return found


def image(path: Path, record: Preprocess, shape: Shape) -> Array:
    """Return one image, without a batch axis; see :func:`batch`."""
    import numpy as np

    if len(shape) != 4:
        raise ConfigError(f"an image does not fit an input of {len(shape)} axes", hint="give a .npy array")
    sides = shape[2:] if record.layout == "nchw" else shape[1:3]
    height, width = (side if isinstance(side, int) else None for side in sides)
    crop = record.crop * (2 if len(record.crop) == 1 else 1)
    size = (height or (crop[0] if crop else None), width or (crop[1] if crop else None))
    pixels = _resized(open_image(path, grey=record.channels == "grey"), record, size)
    if record.channels == "bgr":
        pixels = pixels[..., ::-1]
    if record.mean_image is not None:
        dims, data = record.mean_image
        mean = np.frombuffer(data, "<f4").reshape(dims).transpose(1, 2, 0)
        if mean.shape != pixels.shape:
            raise ConfigError(f"the mean image is {dims}, the image {pixels.shape}", key="mean_image")
        pixels = pixels - mean
    pixels = _cropped(pixels, size)
    wanted = shape[1] if record.layout == "nchw" else shape[3]
    if isinstance(wanted, int) and wanted != pixels.shape[2]:
        raise ConfigError(f"the image has {pixels.shape[2]}, the model takes {wanted}", key="channels",
                          hint="channels: grey, rgb or bgr in the preprocessing")  # fmt: skip
    for key in ("mean", "std"):
        if len(getattr(record, key)) not in (0, 1, pixels.shape[2]):
            raise ConfigError(f"{len(getattr(record, key))} numbers for {pixels.shape[2]} channels", key=key)
    if record.mean:
        pixels = pixels - np.asarray(record.mean, "f4")
    pixels = pixels * np.float32(record.scale)
    if record.std:
        pixels = pixels / np.asarray(record.std, "f4")
    return np.ascontiguousarray(pixels.transpose(2, 0, 1) if record.layout == "nchw" else pixels, "f4")


def open_image(path: Path, grey: bool = False) -> Any:
    """Open an image file, upright, in RGB or grey; what is transparent is white.

    Raises
    ------
    ConvertError
        When the file is no image or cannot be read.
    LimitError
        For more than `LARGEST` pixels.
    """
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError:
        raise MissingExtra("pillow", extra="run") from None
    too_large = LimitError(f"the image {path}", f"{LARGEST:,} pixels")
    try:
        # Of broken EXIF data or the number of pixels a user need not hear: what matters is raised here.
        with warnings.catch_warnings(action="ignore"), Image.open(path) as found:
            if found.width * found.height > LARGEST:
                raise too_large
            upright = ImageOps.exif_transpose(found)
            if upright.mode[0] in "IF":  # of 16 bits, or of numbers; Pillow would cut them off at 255
                upright = _in_bytes(upright)
            if "A" in upright.getbands() or "transparency" in upright.info:
                upright = upright.convert("RGBA")
                white = Image.new("RGBA", upright.size, "white")
                upright = Image.alpha_composite(white, upright)
            return upright.convert("L" if grey else "RGB")
    except Image.DecompressionBombError:
        raise too_large from None
    except (UnidentifiedImageError, SyntaxError, ValueError, EOFError) as fault:
        raise ConvertError(f"this is no image: {fault}"[:200], path=str(path)) from None
    except OSError as fault:
        raise ConvertError(f"cannot be read: {fault.strerror or fault}", path=str(path)) from None


def _in_bytes(picture: Any) -> Any:
    """Return a picture of 16 bits, or of fractions or whole numbers, in grey of 8 bits."""
    import numpy as np
    from PIL import Image

    pixels = np.asarray(picture, "f8")
    most = pixels.max(initial=0)
    bytes_, words = (255, 65535) if picture.mode[0] == "I" else (1, 255)
    top = words if ";16" in picture.mode or most > bytes_ else bytes_
    return Image.fromarray(np.clip(np.nan_to_num(pixels) / top * 255, 0, 255).round().astype("u1"))


def _resized(picture: Any, record: Preprocess, size: tuple[int | None, int | None]) -> Array:
    """Return (H, W, C) pixels at the size before the crop."""
    import numpy as np
    from PIL import Image

    width, height = picture.size
    if len(record.resize) == 2:
        height, width = record.resize
    elif record.resize:
        factor = max(record.resize[0], size[0] or 0, size[1] or 0) / min(width, height)
        width, height = round(width * factor), round(height * factor)
    elif size[0] and size[1]:
        height, width = size[0], size[1]
    if width * height > LARGEST:
        raise LimitError("the resized image", f"{LARGEST:,} pixels")
    if (width, height) != picture.size:
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(picture, "f4")
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _cropped(pixels: Array, size: tuple[int | None, int | None]) -> Array:
    height, width = size[0] or pixels.shape[0], size[1] or pixels.shape[1]
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    if top < 0 or left < 0:
        raise ConfigError(f"an image of {pixels.shape[:2]} cannot be cropped to {(height, width)}", key="resize")
    return pixels[top : top + height, left : left + width]


def _array(path: Path, shape: Shape) -> Array:
    import numpy as np

    found = load_array(path)
    if found.ndim != len(shape) or any(
        isinstance(dim, int) and dim != real for dim, real in zip(shape[1:], found.shape[1:], strict=True)
    ):
        raise ConvertError(f"an array of {found.shape} does not fit the input {shape}", path=str(path))
    numbers = np.asarray(found, "f4")
    if not np.isfinite(numbers).all():
        raise ConvertError("it holds NaN or infinite numbers", path=str(path))
    return numbers


def load_array(path: Path) -> Array:
    """Return the numbers of an ``.npy`` file.

    Raises
    ------
    ConvertError
        When it holds none.
    """
    import numpy as np

    try:
        found: Array = np.load(path, allow_pickle=False, mmap_mode="r")
    except OSError as fault:
        raise ConvertError(f"cannot be read: {fault.strerror or fault}", path=str(path)) from None
    except (ValueError, EOFError):  # numpy advises to load what it cannot read as a pickle
        raise ConvertError("this is no .npy file of numbers", path=str(path)) from None
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiu":
        raise ConvertError("this is no .npy file of numbers", path=str(path))
    return found
