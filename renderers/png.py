"""PNG: the SVG drawn by resvg, with our own font."""

from __future__ import annotations

import warnings

from graphviz_nets.config import Options
from graphviz_nets.drawing.scene import Scene
from graphviz_nets.errors import PictureWarning, RenderError
from graphviz_nets.plugins import Renderer

from .svg import family_of, fonts, svg, warn_of_missing_glyphs

PIXELS = 64_000_000
"""Largest picture; the scale is lowered beyond it."""


def write(scene: Scene, options: Options) -> bytes:
    """Write PNG at `Options.scale` pixels to a pixel of the drawing."""
    import resvg_py

    warn_of_missing_glyphs(scene)
    scale = fit(scene, options.scale)
    if scale < options.scale:
        text = f"the picture is larger than 64 Mpx, so the scale is {scale:.3g}"
        warnings.warn(text, PictureWarning, stacklevel=2)
    try:
        return bytes(
            resvg_py.svg_to_bytes(
                svg_string=svg(scene, styled=False),
                zoom=scale,
                font_files=fonts(scene),
                font_family=family_of(scene),
                # Fonts of the system help out only where ours lacks a glyph: the same file anywhere else.
                skip_system_fonts=not scene.text_lacks,
            )
        )
    except ValueError as fault:
        raise RenderError(f"resvg cannot draw the picture: {fault}") from None


renderer = Renderer("png", "Portable Network Graphics", (".png",), "scene", write)


def fit(scene: Scene, scale: float) -> float:
    """Return the scale, lowered where the picture would have more than `PIXELS`."""
    area = scene.width * scene.height
    return scale if area * scale**2 <= PIXELS else (PIXELS / area) ** 0.5 * 0.999
