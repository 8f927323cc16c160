"""Data as strict JSON can hold it."""

from __future__ import annotations

import math
from typing import Any


def strict(value: Any) -> Any:
    """Return data that strict JSON can hold."""
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        return round(value, 3) if abs(value) >= 0.01 else value
    if isinstance(value, dict) or hasattr(value, "items"):
        return {str(key): strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [strict(item) for item in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return value
