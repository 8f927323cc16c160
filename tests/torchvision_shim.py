"""torchvision, whose own operations cannot be registered beside this PyTorch: its models do without them."""

from __future__ import annotations

from types import ModuleType


def torchvision() -> ModuleType:
    """Import torchvision's models; what it registers of its own operations is left out."""
    import torch

    register = torch.library.register_fake

    def skipping(op: object, *args: object, **kwargs: object) -> object:
        if isinstance(op, str) and op.startswith("torchvision::"):
            return lambda function: function
        return register(op, *args, **kwargs)  # type: ignore[arg-type]

    torch.library.register_fake = skipping  # type: ignore[assignment]
    try:
        import torchvision.models
    finally:
        torch.library.register_fake = register
    found: ModuleType = torchvision
    return found
