"""What a notebook shows of a model: SVG, and the same in HTML."""

from __future__ import annotations

import hashlib

from graphviz_nets.config import Options
from graphviz_nets.drawing.diagram import diagram
from graphviz_nets.drawing.scene import scene
from graphviz_nets.graph.ir import Model
from graphviz_nets.graph.shapes import infer

from .svg import svg


def bundle(model: Model) -> dict[str, str]:
    """Return a MIME bundle; the styles are scoped by a hash of the drawing, so that outputs do not mix.

    Parameters
    ----------
    model : Model
        Any model.
    """
    picture = scene(diagram(infer(model)), Options())
    plain = svg(picture)
    own = hashlib.sha256(plain.encode()).hexdigest()[:8]
    scoped = svg(picture, ids=own)
    return {
        "image/svg+xml": scoped,
        "text/html": f'<div style="max-width:100%;overflow:auto">{scoped}</div>',
        "text/plain": f"<{model.framework} model {model.name!r}: {len(model.graph.nodes)} nodes>",
    }
