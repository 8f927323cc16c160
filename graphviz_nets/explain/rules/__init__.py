"""The rules of reverse mode, a family of operations on a page; importing this fills the table."""

from __future__ import annotations

from graphviz_nets.explain.backward import vjp
from graphviz_nets.explain.rules import (  # noqa: F401
    elementwise,
    linear,
    movement,
    normalization,
    pooling,
    reductions,
)

VJP = vjp.rules
"""The exact rules, by operation."""
