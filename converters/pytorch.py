"""PyTorch: live modules, ``.pt2`` programs, TorchScript archives, files of weights. Nothing in a file is executed."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from graphviz_nets.errors import ConfigError, ConvertError, MissingExtra, ParseError
from graphviz_nets.graph.cost import TABLES
from graphviz_nets.graph.ir import Graph, Model, Tensor
from graphviz_nets.graph.scopes import Path as ScopePath
from graphviz_nets.graph.scopes import Scope

from .onnx import reshape
from .pytorch_archive import MAGIC, Archive, legacy, tensors
from .pytorch_pickle import Inert, Stored
from .pytorch_program import is_program, read_program
from .pytorch_script import is_script, read_script

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
        model = _open(path, data)
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
        from .pytorch_module import from_module

        found = imported(module) if isinstance(module, str) else module
        if not isinstance(found, torch.nn.Module):
            raise ConfigError(f"{module!r} is no torch.nn.Module but a {type(found).__name__}")
        model = from_module(found, args, kwargs, options.input_shapes)
        return model if options.weights is None else with_weights(model, options.weights)


def imported(text: str) -> Any:
    """Import what ``package.module:attribute`` names; a class or factory is called.

    Raises
    ------
    ConvertError
        When there is no such thing, or making it fails.
    """
    import torch

    place, _, attribute = text.partition(":")
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        found: Any = import_module(place)
        for part in attribute.split("."):
            found = getattr(found, part)
        return found if isinstance(found, torch.nn.Module) or not callable(found) else found()
    except Exception as fault:  # a user's code may raise anything
        raise ConvertError(f"{text}: {type(fault).__name__}: {fault}", hint="package.module:attribute") from None
    finally:
        sys.path.remove(folder)


def _open(path: Path, data: bytes | None) -> Model:
    with_head = data[: len(MAGIC)] if data is not None else _head(path)
    if with_head.startswith(b"PK"):
        archive = Archive.of(path, data)
        if is_program(archive):
            return read_program(archive)
        if is_script(archive):
            return read_script(archive)
        if "data.pkl" not in archive.members:
            raise ParseError("the archive is none of PyTorch's: it has no data.pkl", path=str(path))
        saved = archive.pickle("data.pkl")
        return table(
            path, saved, [archive.tensor(name, stored, _role(name, stored)) for name, stored in tensors(saved)]
        )
    if not with_head.startswith(MAGIC):
        hint = "save it again with torch.save or torch.export.save"
        raise ParseError("the file is none of PyTorch's", path=str(path), hint=hint)
    saved, make = legacy(path, data)
    return table(path, saved, [make(name, stored, _role(name, stored)) for name, stored in tensors(saved)])


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC))
    except OSError as fault:
        raise ConvertError(f"cannot be read: {fault.strerror}", path=str(path)) from None


def _role(name: str, stored: Stored) -> str:
    """Say what a saved tensor is for, by what PyTorch calls the buffers of its own layers."""
    return "buffer" if name.rpartition(".")[2] in {*TABLES, "num_batches_tracked"} else "parameter"


def table(path: Path, saved: Any, found: Sequence[Tensor]) -> Model:
    """Return a file of weights as a model: a layer for each module that holds some, no graph.

    Classes are known where a whole module was pickled.
    """
    if not found:
        raise ParseError("the file holds no tensors", path=str(path))
    types = dict(_classes(saved))
    held: dict[str, list[str]] = {}
    for tensor in found:
        held.setdefault(tensor.name.rpartition(".")[0], []).append(tensor.name)
    scopes: dict[ScopePath, Scope] = {}
    for name, weights in held.items():
        parts = tuple(name.split(".")) if name else (path.stem,)
        own = (*parts, "(own)") if any(other.startswith(f"{name}.") for other in held) and name else parts
        for size in range(1, len(own)):
            above = ".".join(own[:size])
            scopes.setdefault(own[:size], Scope(own[:size], "module", type=types.get(above, "")))
        scopes[own] = Scope(own, "layer", name or path.stem, types.get(name, "Parameters"), weights=tuple(weights))
    text = "the file holds weights and no graph: what follows is the table of its parameters"
    graph = Graph(path.stem, initializers={tensor.name: tensor for tensor in found})
    return Model(graph, "pytorch", scopes, problems=(text,))


def _classes(saved: Any) -> list[tuple[str, str]]:
    """Return (dotted name, class) of the modules in a pickled module."""
    found: list[tuple[str, str]] = []
    waiting: list[tuple[str, Any]] = [("", saved)]
    seen: set[int] = set()
    while waiting:
        name, item = waiting.pop()
        if not isinstance(item, Inert) or id(item) in seen:
            continue
        seen.add(id(item))
        found.append((name, item.type.name))
        inside = item.state.get("_modules")
        for key, part in inside.items() if isinstance(inside, dict) else ():
            waiting.append((f"{name}.{key}" if name else str(key), part))
    return found


def with_weights(model: Model, path: Path) -> Model:
    """Return a model with the data of a file of weights, matched by name.

    Raises
    ------
    ConvertError
        When a tensor has another shape, or no name agrees.
    """
    given = _open(path, None).graph.initializers
    names = given.keys() & model.graph.initializers.keys()
    if not names:
        raise ConvertError(f"none of its {len(given)} tensors is in the model", path=str(path))
    tensors_ = dict(model.graph.initializers)
    for name in names:
        old, new = tensors_[name], given[name]
        if old.shape != new.shape:
            raise ConvertError(f"{name!r} has the shape {new.shape}, in the model {old.shape}", path=str(path))
        tensors_[name] = replace(old, dtype=new.dtype, data=new.data)
    missing = sum(1 for name, tensor in tensors_.items() if tensor.role == "parameter" and name not in names)
    extra = len(given.keys() - names)
    said = [f"{missing} parameters of the model are not in {path.name}"] if missing else []
    said += [f"{extra} tensors of {path.name} are not in the model"] if extra else []
    graph = replace(model.graph, initializers=tensors_)
    return replace(model.with_graph(graph), problems=(*model.problems, *said))


converter = Converter()
