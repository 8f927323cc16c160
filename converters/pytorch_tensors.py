"""Tensors of live modules: their names, whose they are, and how the IR holds them."""

from __future__ import annotations

from typing import Any

from graphviz_nets.graph import notes
from graphviz_nets.graph.ir import Tensor


def aliases(module: Any) -> dict[str, str]:
    """Return the first name of each parameter and buffer by all the names that it has."""
    found: dict[str, str] = {}
    for listed in (module.named_parameters, module.named_buffers):
        first: dict[int, str] = {}
        for name, tensor in listed(remove_duplicate=False):
            found[name] = first.setdefault(id(tensor), name)
    return found


def weights_of(module: Any) -> dict[str, list[str]]:
    """Return the first names of the parameters and buffers of each module by its name."""
    first = aliases(module)
    found: dict[str, list[str]] = {}
    for name, part in module.named_modules(remove_duplicate=False):
        own = [n for n, _ in (*part.named_parameters(), *part.named_buffers())]
        found[name] = list(dict.fromkeys(first[f"{name}.{n}" if name else n] for n in own))
    return found


def settings_of(module: Any) -> dict[str, dict[str, Any]]:
    """Return the plain values that each module keeps as attributes (``kernel_size``), by the module's name."""

    def plain(value: Any) -> bool:
        items = value if isinstance(value, tuple) else (value,)
        return bool(items) and all(isinstance(item, (bool, int, float, str)) for item in items)

    return {
        name: {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in vars(part).items()
            if plain(value) and key not in UNTOLD and not key.startswith("_")
        }
        for name, part in module.named_modules()
    }


UNTOLD = frozenset({"training", "layer_idx", "layer_id"})
"""Attributes that say where a module stands, not what it is."""


def torch_tensor(name: str, tensor: Any, role: str) -> Tensor:
    """Return a tensor of torch's as one of ours; it has data unless it is on the meta device."""
    import torch

    if not isinstance(tensor, torch.Tensor):  # the exporter's own constant
        return Tensor(name, notes.DTYPES[int(tensor.dtype)], tuple(tensor.shape), tensor.tobytes(), role)
    dtype = dtype_name(tensor.dtype)
    absent = tensor.is_meta or type(tensor).__name__ == "FakeTensor"

    def read() -> bytes:
        whole = tensor.detach().cpu().contiguous()
        return bytes(whole.flatten().view(torch.uint8).numpy().tobytes()) if whole.numel() else b""

    return Tensor(name, dtype, tuple(map(int, tensor.shape)), None if absent else read, role)


def dtype_name(dtype: Any) -> str:
    """Return ONNX's name of a dtype of torch's.

    Examples
    --------
    >>> dtype_name("torch.float8_e4m3fn"), dtype_name("torch.bfloat16")
    ('float8e4m3fn', 'bfloat16')
    """
    return str(dtype).removeprefix("torch.").replace("float8_", "float8")
