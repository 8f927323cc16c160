"""PDF: the SVG converted by svg2pdf, text kept as text in our own font."""

from __future__ import annotations

import io

from graphviz_nets.config import Options
from graphviz_nets.drawing.scene import Scene
from graphviz_nets.errors import RenderError
from graphviz_nets.plugins import Renderer

from .svg import fonts, svg, warn_of_missing_glyphs


def write(scene: Scene, options: Options) -> bytes:
    """Write a one-page vector PDF of the drawing's size."""
    import svg2pdf_py

    database = svg2pdf_py.FontDatabase()
    for path in fonts(scene):
        database.load_font_file(path)
    warn_of_missing_glyphs(scene)
    if scene.text_lacks:
        database.load_system_fonts()
    try:
        made = svg2pdf_py.svg_to_pdf(svg(scene, styled=False), database, svg2pdf_py.ConversionOptions())
    except (ValueError, RuntimeError) as fault:
        raise RenderError(f"svg2pdf cannot draw the picture: {fault}") from None
    return settled(bytes(made))


renderer = Renderer("pdf", "Portable Document Format", (".pdf",), "scene", write)


def settled(content: bytes) -> bytes:
    """Return the same PDF with its objects in one order: svg2pdf numbers fonts as a hash table happens to hold them."""
    from pypdf import PdfReader, PdfWriter
    from pypdf.generic import DictionaryObject

    reader = PdfReader(io.BytesIO(content))
    resources = reader.pages[0].get("/Resources", DictionaryObject()).get_object()
    for table in map(resources.get, ("/Font", "/XObject", "/ExtGState", "/Pattern", "/ColorSpace")):
        if table is None:
            continue
        entries = table.get_object()
        order = sorted(entries)
        values = [entries.raw_get(name) for name in order]
        entries.clear()
        for name, value in zip(order, values, strict=True):
            entries[name] = value
    writer = PdfWriter()
    writer.append(reader)
    writer.metadata = None
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()
