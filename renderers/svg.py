"""SVG: a walk over the Scene. PNG, PDF and HTML are made from its shapes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

from graphviz_nets.config import Options
from graphviz_nets.drawing.scene import Curve, Item, Polygon, Rect, Scene, Text
from graphviz_nets.drawing.text import FAMILY, font, roboto, visible
from graphviz_nets.drawing.theme import Palette
from graphviz_nets.errors import PictureWarning
from graphviz_nets.plugins import Renderer

STACK = "'Helvetica Neue', Arial, 'Noto Sans', 'Noto Sans CJK SC', sans-serif"


def write(scene: Scene, options: Options) -> bytes:
    """Write SVG 1.1 with a stylesheet for light, dark and print."""
    return ('<?xml version="1.0" encoding="UTF-8"?>\n' + svg(scene)).encode()


renderer = Renderer("svg", "Scalable Vector Graphics", (".svg",), "scene", write)


def escape(text: str) -> str:
    """Return text for XML content or a double-quoted attribute: the one place where that is done.

    Examples
    --------
    >>> escape('<a href="x">&')
    '&lt;a href=&quot;x&quot;&gt;&amp;'
    """
    clean = visible(text)
    return clean.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def num(value: float) -> str:
    """Return a coordinate with at most two decimals.

    Examples
    --------
    >>> num(1.0), num(0.126), num(-0.001)
    ('1', '0.13', '0')
    """
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def family_of(scene: Scene) -> str:
    """Return the name of the font that the text was measured with, free of quotes."""
    name = FAMILY if scene.font is None else font(scene.font).family
    return "".join(char for char in name if char.isalnum() or char in " -_") or FAMILY


def warn_of_missing_glyphs(scene: Scene) -> None:
    """Say that some characters cannot be drawn, where our font lacks them and the system has no fonts."""
    import svg2pdf_py

    if scene.text_lacks and svg2pdf_py.FontDatabase.system().len() == 0:
        text = "some characters need a font that is not installed, such as Noto Sans CJK"
        warnings.warn(text, PictureWarning, stacklevel=3)


def svg(scene: Scene, *, styled: bool = True, ids: str = "", root: str = "") -> str:
    """Return the scene as one ``<svg>`` element.

    Parameters
    ----------
    scene : Scene
        What to draw.
    styled : bool
        Add the stylesheet; without it the light theme's concrete colours are all there is (PNG and PDF).
    ids : str
        Makes the stylesheet's class unique, where several drawings share a page.
    root : str
        More attributes of the root element, already escaped.
    """
    width, height = num(scene.width), num(scene.height)
    scope = f"gvn{ids}"
    stack = f"'{family_of(scene)}', {STACK}"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{scope}" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" font-family="{stack}"{root}>',
        f"<title>{escape(scene.title or 'network')}</title>",
        f"<desc>{escape(scene.description)}</desc>",
    ]
    if styled:
        lines.append(f"<style>{stylesheet(scene, scope)}</style>")
    background = scene.background or scene.theme.light.background
    if background != "transparent":
        style = "" if scene.background else ' class="background"'
        lines.append(f'<rect{style} width="{width}" height="{height}" fill="{escape(background)}"/>')
    for item in scene.items:
        lines += _item(item, scene.theme.light)
    lines.append("</svg>")
    return "\n".join(lines) + "\n"


def _item(item: Item, palette: Palette) -> Iterator[str]:
    place = f' transform="translate({num(item.x)} {num(item.y)})"' if item.x or item.y else ""
    if item.kind in ("wire", "label"):
        control = ' data-control="true"' if item.control else ""
        ends = f' data-from="{escape(item.source)}" data-to="{escape(item.target)}"' if item.kind == "wire" else ""
        yield f'<g class="{item.kind}"{ends}{control}{place}>'
    elif item.kind in ("title", "legend"):
        yield f'<g class="{item.kind}"{place}>'
    elif item.kind == "row":
        yield (
            f'<g class="row" data-id="{escape(item.id)}" data-row-of="{escape(item.parent)}" '
            f'aria-label="{escape(item.label)}"{place}>'
        )
    else:
        parent = f' data-parent="{escape(item.parent)}"' if item.parent else ""
        yield (
            f'<g class="box" data-id="{escape(item.id)}" data-kind="{item.kind}"{parent} '
            f'aria-label="{escape(item.label)}"{place}>'
        )
    whole = item.kind == "wire" and item.label
    if whole:
        yield f"<title>{escape(item.label)}</title>"
    for shape in item.shapes:
        if isinstance(shape, Rect):
            yield _rect(shape, palette)
        elif isinstance(shape, Text):
            yield _text(shape, palette)
        elif isinstance(shape, Curve):
            yield _curve(shape, palette)
        else:
            yield _polygon(shape, palette)
    yield "</g>"


def _rect(shape: Rect, palette: Palette) -> str:
    fill, line = paint(shape.style, palette)
    fill = shape.fill or fill
    radius = f' rx="{num(shape.radius)}"' if shape.radius else ""
    stroke = f' stroke="{line}"' if line else ""
    dash = ' stroke-dasharray="3 2"' if shape.style == "stub" else ""
    style = "" if shape.fill else f' class="{shape.style}"'
    return (
        f'<rect{style} x="{num(shape.x)}" y="{num(shape.y)}" width="{num(shape.width)}" '
        f'height="{num(shape.height)}"{radius} fill="{fill}"{stroke}{dash}/>'
    )


def _text(shape: Text, palette: Palette) -> str:
    fill = shape.fill or paint(shape.style, palette)[0]
    style = "" if shape.fill else f' class="{shape.style}"'
    weight = ' font-weight="bold"' if shape.bold else ""
    anchor = f' text-anchor="{shape.anchor}"' if shape.anchor != "start" else ""
    title = f"<title>{escape(shape.whole)}</title>" if shape.whole else ""
    # The text takes the width it was measured with, whatever font the reader has.
    fit = f' textLength="{num(shape.width)}" lengthAdjust="spacingAndGlyphs"' if shape.text else ""
    return (
        f'<text{style} x="{num(shape.x)}" y="{num(shape.y)}" font-size="{num(shape.size)}"{weight}{anchor}{fit} '
        f'fill="{fill}">{title}{escape(shape.text)}</text>'
    )


def _curve(shape: Curve, palette: Palette) -> str:
    (x, y), *rest = shape.points
    parts = [f"M{num(x)} {num(y)}"]
    for k in range(0, len(rest), 3):
        parts.append("C" + " ".join(f"{num(a)} {num(b)}" for a, b in rest[k : k + 3]))
    dash = ' stroke-dasharray="4 3"' if shape.dashed else ""
    line = f'fill="none" stroke="{palette.wire}" stroke-width="{num(shape.width)}"{dash}'
    return f'<path class="{shape.style}" d="{"".join(parts)}" {line}/>'


def _polygon(shape: Polygon, palette: Palette) -> str:
    points = " ".join(f"{num(x)},{num(y)}" for x, y in shape.points)
    return f'<polygon class="{shape.style}" points="{points}" fill="{palette.wire}"/>'


def paint(style: str, palette: Palette) -> tuple[str, str]:
    """Return the fill and the stroke (or an empty string) of a style class."""
    if style.startswith("box-"):
        kind = style[4:]
        return palette.fills[kind], palette.accents[kind]
    if style.startswith("accent-"):
        return palette.accents[style[7:] or "other"], ""
    return _plain(palette)[style]


def _plain(palette: Palette) -> dict[str, tuple[str, str]]:
    """Return the fill and the stroke of each class that belongs to no kind of operations."""
    return {
        "text": (palette.text, ""),
        "muted": (palette.muted, ""),
        "group": (palette.group, palette.group_line),
        "stub": (palette.background, palette.muted),
        "halo": (palette.background, ""),
        "halo-group": (palette.group, ""),
        "hit": ("none", ""),
        "rule": (palette.group_line, ""),
        "ramp": (palette.group, ""),
        "background": (palette.background, ""),
        "wire": ("none", palette.wire),
        "arrow": (palette.wire, ""),
    }


def classes(palette: Palette) -> dict[str, None]:
    """Return every style class that a drawing may use.

    Examples
    --------
    >>> from graphviz_nets.drawing.theme import DARK
    >>> {"wire", "box-pooling", "accent-other"} <= classes(DARK).keys()
    True
    """
    kinds = [
        f"{part}-{kind}" for part, kinds in (("box", palette.fills), ("accent", palette.accents)) for kind in kinds
    ]
    return dict.fromkeys([*_plain(palette), *kinds])


def stylesheet(scene: Scene, scope: str) -> str:
    """Return rules that swap in the dark palette where the reader's system asks for it; print stays light."""
    if scene.theme.dark == scene.theme.light:
        return ""
    styles = dict.fromkeys(
        shape.style
        for item in scene.items
        for shape in item.shapes
        if not (isinstance(shape, (Rect, Text)) and shape.fill)
    )
    return f"@media screen and (prefers-color-scheme:dark){{{rules(styles, scene.theme.dark, f'.{scope} ')}}}"


def rules(styles: dict[str, None], palette: Palette, prefix: str) -> str:
    """Return one CSS rule a style class."""
    found = []
    for style in ["background", *styles]:
        fill, stroke = paint(style, palette)
        found.append(f"{prefix}.{style}{{fill:{fill}" + (f";stroke:{stroke}" if stroke else "") + "}")
    return "".join(found)


def fonts(scene: Scene) -> list[str]:
    """Return the font files that the text was measured with."""
    files = [roboto(), roboto(bold=True)] if scene.font is None else [scene.font]
    return [str(path) for path in files]
