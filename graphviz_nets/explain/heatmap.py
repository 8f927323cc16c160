"""Heat maps as pictures: one colour scale for amounts, one for signs, and both over the image."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

LEAST = 112
"""Pixels of a picture's shorter side on a sheet; smaller ones are enlarged."""
TITLE = 22
"""Pixels above the columns of a sheet."""

# From dark to light with even steps of lightness, so that it reads in grey as well.
AMOUNTS = ((0, 0, 4), (66, 10, 104), (147, 38, 103), (221, 81, 58), (252, 165, 10), (252, 255, 164))
# Blue against, red for, nearly white where there is nothing: told apart by all kinds of colour vision.
SIGNS = ((5, 48, 97), (67, 147, 195), (247, 247, 247), (214, 96, 77), (103, 0, 31))


def scaled(values: Array, signed: bool, percentile: float = 99.5) -> Array:
    """Return a map between 0 and 1, or between -1 and 1 with signs; the largest half percent is cut.

    Examples
    --------
    >>> import numpy as np
    >>> scaled(np.array([[0.0, 1.0], [2.0, 4.0]]), False, 100).tolist()
    [[0.0, 0.25], [0.5, 1.0]]
    """
    import numpy as np

    values = np.nan_to_num(np.asarray(values, "f8"), nan=0.0, posinf=0.0, neginf=0.0)
    if not signed:
        values = np.maximum(values, 0)
    top = float(np.percentile(np.abs(values), percentile)) or float(np.abs(values).max()) or 1.0
    found: Array = np.clip(values / top, -1 if signed else 0, 1)
    return found


def coloured(values: Array, signed: bool) -> Array:
    """Return a map in colours, (H, W, 3) of uint8."""
    import numpy as np

    places = scaled(values, signed)
    places = (places + 1) / 2 if signed else places
    table = np.array(SIGNS if signed else AMOUNTS, "f8")
    at = np.linspace(0, 1, len(table))
    return np.stack([np.interp(places, at, table[:, k]) for k in range(3)], -1).round().astype("u1")


def overlaid(image: Array, values: Array, signed: bool, opacity: float = 0.6) -> Array:
    """Return a map over a grey image: where the map is strong, it covers the image."""
    import numpy as np

    grey = image.astype("f8").mean(-1, keepdims=True).repeat(3, -1)
    strength = np.abs(scaled(values, signed))[..., None] ** 0.5 * opacity
    found: Array = (grey * (1 - strength) + coloured(values, signed) * strength).round().astype("u1")
    return found


def shown(x: Array, axis: int = 1, channels: str = "rgb") -> Array:
    """Return preprocessed images as pictures again, (images, H, W, 3) of uint8, each from its least to its largest.

    `axis` is that of their channels.
    """
    import numpy as np

    x = np.moveaxis(x, axis, -1)
    x = x[..., ::-1] if channels == "bgr" else x
    x = x[..., :3] if x.shape[-1] >= 3 else x[..., :1].repeat(3, -1)
    low, high = x.min((1, 2, 3), keepdims=True), x.max((1, 2, 3), keepdims=True)
    found: Array = ((x - low) / np.maximum(high - low, 1e-12) * 255).round().astype("u1")
    return found


def framed(picture: Array, box: Sequence[float]) -> Array:
    """Return a picture (H, W, 3) with a box (left, top, right, bottom): white beside black, for any ground.

    Examples
    --------
    >>> import numpy as np
    >>> framed(np.full((6, 6, 3), 99, "u1"), (0, 1, 5, 4))[..., 0].tolist()[1:3]
    [[255, 255, 255, 255, 255, 255], [255, 0, 0, 0, 0, 255]]
    """
    import numpy as np
    from PIL import Image, ImageDraw

    image = Image.fromarray(picture)
    pen = ImageDraw.Draw(image)
    thick = max(1, min(image.size) // 100)
    most = (image.width - 1, image.height - 1) * 2
    left, top, right, bottom = (round(min(max(side, 0), end)) for side, end in zip(box, most, strict=True))
    pen.rectangle((left, top, right, bottom), outline="white", width=thick)
    if right - left > 2 * thick and bottom - top > 2 * thick:
        pen.rectangle((left + thick, top + thick, right - thick, bottom - thick), outline="black", width=thick)
    return np.asarray(image)


def sheet(rows: Sequence[Sequence[Array]], titles: Sequence[Sequence[str]] = (), gap: int = 8) -> Array:
    """Return pictures of one size in rows and columns on white, small ones enlarged, each with a title above it."""
    import numpy as np

    factor = max(1, -(-LEAST // min(rows[0][0].shape[:2])))
    high, wide = (side * factor for side in rows[0][0].shape[:2])
    tops = [TITLE if any(texts) else 0 for texts in titles] or [0] * len(rows)
    columns = max(map(len, rows))
    page = np.full((sum(tops) + len(rows) * (high + gap) + gap, columns * (wide + gap) + gap, 3), 255, "u1")
    places, down = [], gap
    for j, row in enumerate(rows):
        down += tops[j]
        for k, picture in enumerate(row):
            right = gap + k * (wide + gap)
            page[down : down + high, right : right + wide] = picture.repeat(factor, 0).repeat(factor, 1)
            places.append((right + wide / 2, down - tops[j] / 2 - 1))
        down += high + gap
    texts = [text for row in titles for text in row]
    return _titled(page, texts, places, wide) if any(tops) else page


def _titled(page: Array, titles: Sequence[str], places: Sequence[tuple[float, float]], wide: int) -> Array:
    """Write titles around these places; what is wider than a picture is written smaller, or cut."""
    import numpy as np
    from font_roboto import Roboto
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.fromarray(page)
    pen = ImageDraw.Draw(picture)
    fonts = [ImageFont.truetype(Roboto, size) for size in range(15, 9, -1)]
    for title, place in zip(titles, places, strict=True):
        font = next((one for one in fonts if pen.textlength(title, one) <= wide), fonts[-1])
        while pen.textlength(title, font) > wide:
            title = title[:-2] + "…"
        pen.text(place, title, (27, 31, 36), font, "mm")
    return np.asarray(picture)


def png(picture: Array) -> bytes:
    """Return a picture as a PNG file."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG", optimize=True)
    return out.getvalue()


def data_uri(picture: Array) -> str:
    """Return a picture as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(png(picture)).decode()}"
