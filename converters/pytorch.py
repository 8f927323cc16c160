"""PyTorch: live modules, ``.pt2`` programs, TorchScript archives, files of weights. Nothing in a file is executed."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphviz_nets.errors import ConfigError, MissingExtra
from graphviz_nets.graph.ir import Model

# Every file is shown to every converter: what opens them is imported where one is opened.

MAGIC = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")
"""A pickled number that the older files begin with."""
SUFFIXES = (".pt", ".pth", ".pt2", ".ptl", ".ptc")
_OBJECT = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_SIGNS = re.compile(
    rb"/(?:data\.pkl|constants\.pkl|\.data/|archive_format|byteorder|data/(?:\d+|weights/)|code/|models/)"
)


@dataclass(frozen=True)
class Converter:
    """Opens PyTorch's modules and files."""

    name: str = "pytorch"
    title: str = "PyTorch modules (package.module:attribute), .pt2, TorchScript, state_dict files"
    suffixes: tuple[str, ...] = SUFFIXES

    def match(self, path: Path, head: bytes) -> int:
        """Return how sure it is that the file is PyTorch's."""
        named = path.suffix.lower() in self.suffixes
        if head.startswith(MAGIC):
            return 95
        if head.startswith(b"PK\x03\x04"):
            return 90 if named or _SIGNS.search(head) else 0
        return 70 if named and head.startswith(b"\x80") else 0

    def open(self, path: Path, data: bytes | None, options: Any) -> Model:
        """Return the model of a file.

        Parameters
        ----------
        path : Path
            The file, or only its name where `data` is given.
        data : bytes, optional
            Its content.
        options : Options
            ``input_shapes`` replaces types and shapes of inputs, ``weights`` names a file of weights.

        Raises
        ------
        ParseError
            When the file is broken, or wants something executed.
        """
        from .onnx import reshape
        from .pytorch_files import opened, with_weights

        model = opened(path, data)
        if options.input_shapes:
            model = reshape(model, options.input_shapes)
        return model if options.weights is None else with_weights(model, options.weights)

    def names_object(self, text: str) -> bool:
        """Say whether a text is ``package.module:attribute`` and no file.

        Examples
        --------
        >>> converter.names_object("torchvision.models:resnet18"), converter.names_object("net.pt2")
        (True, False)
        """
        return _OBJECT.fullmatch(text) is not None and not os.path.exists(text)

    def takes(self, thing: object) -> bool:
        """Say whether an object in memory is a ``torch.nn.Module``, without importing torch."""
        return any(
            (base.__module__, base.__name__) == ("torch.nn.modules.module", "Module") for base in type(thing).__mro__
        )

    def open_object(self, thing: object, args: Sequence[Any], kwargs: Mapping[str, Any], options: Any) -> Model:
        """Return a live module as a model; see :meth:`of_module`."""
        return self.of_module(thing, args, kwargs, options)

    def of_module(self, module: Any, args: Sequence[Any], kwargs: Mapping[str, Any], options: Any) -> Model:
        """Return a live module, or what ``package.module:attribute`` names, as a model.

        Parameters
        ----------
        module : torch.nn.Module or str
            The module, or where it is: a module, a class or a factory that is called without arguments. The current
            folder is searched too.
        args, kwargs
            What its ``forward`` is called with; else ``options.input_shapes`` says what to make.
        """
        try:
            import torch
        except ImportError:
            raise MissingExtra("torch", extra="torch") from None
        from .pytorch_files import imported, with_weights
        from .pytorch_module import from_module

        found = imported(module) if isinstance(module, str) else module
        if not isinstance(found, torch.nn.Module):
            raise ConfigError(f"{module!r} is no torch.nn.Module but a {type(found).__name__}")
        model = from_module(found, args, kwargs, options.input_shapes)
        return model if options.weights is None else with_weights(model, options.weights)


converter = Converter()
