"""Open a neural network from any framework, see it, and turn it into ONNX.

>>> import graphviz_nets
>>> model = graphviz_nets.load("fixtures/caffe/lenet.prototxt")
>>> graphviz_nets.summary(model).parameters
431080
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphviz_nets.api import load, render, save, summary
    from graphviz_nets.config import Options
    from graphviz_nets.graph.ir import Model

__version__ = "0.1.0"

__all__ = ["Model", "Options", "__version__", "load", "render", "save", "summary"]

_HOMES = {
    "load": "graphviz_nets.api",
    "render": "graphviz_nets.api",
    "save": "graphviz_nets.api",
    "summary": "graphviz_nets.api",
    "Options": "graphviz_nets.config",
    "Model": "graphviz_nets.graph.ir",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
