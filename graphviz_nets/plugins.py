"""Converters, renderers and rule modules by name: ours from a table, others' from entry points.

A third party adds a format by declaring an entry point in the group ``graphviz_nets.converters`` or
``graphviz_nets.renderers``; the object it names follows :class:`Converter` or :class:`Renderer`. Nothing is imported
before it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

BUILTIN: Mapping[str, Mapping[str, str]] = {
    "converters": {
        "caffe": "graphviz_nets.converters.caffe:converter",
        "onnx": "graphviz_nets.converters.onnx:converter",
        "pytorch": "graphviz_nets.converters.pytorch:converter",
        "tensorflow": "graphviz_nets.converters.tensorflow:converter",
    },
    "renderers": {
        "dot": "graphviz_nets.renderers.dot:renderer",
        "svg": "graphviz_nets.renderers.svg:renderer",
        "png": "graphviz_nets.renderers.png:renderer",
        "pdf": "graphviz_nets.renderers.pdf:renderer",
        "html": "graphviz_nets.renderers.html:renderer",
        "json": "graphviz_nets.renderers.json:renderer",
    },
    # What a Model shows of itself in a notebook.
    "notebook": {"bundle": "graphviz_nets.renderers.notebook:bundle"},
    # Shape and cost rules of foreign domains, looked up by ONNX domain.
    "rules": {
        "caffe": "graphviz_nets.converters.caffe_rules",
        "aten": "graphviz_nets.converters.pytorch_rules",
        "tf": "graphviz_nets.converters.tensorflow_rules",
    },
}


class Converter(Protocol):
    """What reads one family of files.

    ``match`` is cheap (it sees the path and the first 4 KiB) and says how sure it is, 0 (not mine) to 100; ``open``
    returns a :class:`graphviz_nets.graph.ir.Model`. A converter may have more: ``judge`` runs a model's source by
    another program (see :func:`graphviz_nets.verify.verify`), ``engines`` convert it by other programs; ``takes`` says
    whether an object in memory is of its framework, and ``open_object`` returns its Model.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]

    def match(self, path: Path, head: bytes) -> int: ...

    def open(self, path: Path, data: bytes | None, options: Any) -> Any: ...


@dataclass(frozen=True)
class Renderer:
    """What writes one format; any object with these attributes will do.

    Attributes
    ----------
    name, title : str
        As ``--to`` names it, and as ``formats`` lists it.
    suffixes : tuple of str
        Of file names, with their dots.
    wants : {"diagram", "scene", "page"}
        What `write` is given: boxes and links without coordinates, or shapes with them.
    write : callable
        ``write(picture, options)`` returns the file's bytes.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    wants: str
    write: Callable[[Any, Any], bytes]


def names(group: str) -> tuple[str, ...]:
    """Return the names of all converters, renderers or rule modules, ours first, without importing any.

    Examples
    --------
    >>> "svg" in names("renderers")
    True
    """
    ours = BUILTIN[group]
    return (*ours, *sorted(_others(group).keys() - ours.keys()))


@cache
def _others(group: str) -> Mapping[str, Any]:
    """Return the entry points of a kind by name. To look for them takes milliseconds, and every node asks for rules."""
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=f"graphviz_nets.{group}")}


def resolve(group: str, name: str) -> Any:
    """Return the plugin called `name`, or None where there is none.

    Parameters
    ----------
    group : {"converters", "renderers", "rules", "notebook"}
        The kind of plugin.
    name : str
        Its name in our table or its entry point's name.

    Examples
    --------
    >>> resolve("renderers", "no-such-format") is None
    True
    """
    target = BUILTIN[group].get(name)
    if target is not None:
        module, _, attribute = target.partition(":")
        found = import_module(module)
        return getattr(found, attribute) if attribute else found
    point = _others(group).get(name)
    return None if point is None else point.load()
