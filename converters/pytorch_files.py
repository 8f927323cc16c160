"""PyTorch's files as models: programs, TorchScript, tables of weights; and the module that a name stands for."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from graphviz_nets.errors import ConvertError, ParseError
from graphviz_nets.graph.cost import TABLES
from graphviz_nets.graph.ir import Graph, Model, Tensor
from graphviz_nets.graph.scopes import Path as ScopePath
from graphviz_nets.graph.scopes import Scope

from .pytorch import MAGIC
from .pytorch_archive import Archive, legacy, tensors
from .pytorch_pickle import Inert, Stored
from .pytorch_program import is_program, read_program
from .pytorch_script import is_script, read_script


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


def opened(path: Path, data: bytes | None) -> Model:
    """Return the model of an archive, or of an older file, whatever it holds."""
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
    given = opened(path, None).graph.initializers
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
