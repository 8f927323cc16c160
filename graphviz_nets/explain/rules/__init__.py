"""The rules of reverse mode, a family of operations on a page; importing this fills the table."""

from __future__ import annotations

from . import elementwise, linear, movement, normalization, pooling, reductions  # noqa: F401
