"""Renderers: each writes one format from a Diagram or a Scene."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphviz_nets import plugins
from graphviz_nets.config import Options
from graphviz_nets.errors import ConfigError, RenderError
from graphviz_nets.graph.ir import Model

if TYPE_CHECKING:
    from graphviz_nets.drawing.diagram import Plan
    from graphviz_nets.drawing.scene import Scene


def draw(
    model: Model,
    formats: Iterable[str],
    options: Options | None = None,
    phases: Mapping[str, Model] | None = None,
) -> list[bytes]:
    """Return the model drawn in each of the formats; the layout is made once for all of them.

    Parameters
    ----------
    model : Model
        With shapes.
    formats : iterable of str
        Renderer names: ``dot``, ``svg``, ``png``, ``pdf``, ``html``, ``json`` or a plugin's.
    options : Options, optional
        What and how to draw.
    phases : mapping of str to Model, optional
        The same net in other phases, for a page to switch to.

    Raises
    ------
    RenderError
        For an unknown format, naming the known ones.

    Examples
    --------
    >>> from graphviz_nets.graph.builder import Builder
    >>> op = Builder("net")
    >>> (dot,) = draw(op.model([op.Relu(op.input("x"))]), ["dot"])
    >>> dot.startswith(b"digraph")
    True
    """
    from graphviz_nets.drawing.diagram import Plan
    from graphviz_nets.drawing.scene import scene

    options = options or Options()
    renderers = [find(name) for name in formats]
    wanted = {renderer.wants for renderer in renderers}
    plan = Plan(model, options)
    shown = plan.diagram()
    pictures: dict[str, Any] = {"diagram": shown}
    if wanted != {"diagram"}:
        pictures["scene"] = scene(shown, options)
    if "page" in wanted:
        others = {name: _page(Plan(other, options), options) for name, other in (phases or {}).items()}
        pictures["page"] = replace(_page(plan, options, pictures["scene"]), phases=others)
    return [renderer.write(pictures[renderer.wants], options) for renderer in renderers]


def _page(plan: Plan, options: Options, shown: Scene | None = None) -> Scene:
    """Return a scene with all that a page may come to show."""
    from graphviz_nets.drawing.scene import scene
    from graphviz_nets.drawing.sheets import with_sheets

    page = with_sheets(shown or scene(plan.diagram(), options), plan.whole(), options)
    return replace(page, weights=plan.weights(page.details))


def find(name: str) -> Any:
    """Return a renderer by name, or raise RenderError with the names there are."""
    found = plugins.resolve("renderers", name)
    if found is None:
        raise RenderError(f"no renderer for {name!r}", hint=f"one of {', '.join(formats())}")
    return found


def formats() -> tuple[str, ...]:
    """Return the names of all renderers."""
    return plugins.names("renderers")


def by_suffix(path: Path) -> str:
    """Return the name of the renderer for a file's suffix.

    Examples
    --------
    >>> by_suffix(Path("net.svg"))
    'svg'
    """
    suffix = path.suffix.lower()
    ours = suffix[1:]
    if ours in plugins.BUILTIN["renderers"]:
        return ours
    for name in formats():
        if suffix and suffix in find(name).suffixes:
            return name
    raise ConfigError(f"the suffix {suffix!r} names no format", file=str(path), hint=f"one of {', '.join(formats())}")
