"""TensorFlow and Keras: graphs, SavedModels, checkpoints, event files and Keras models, to the IR."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphviz_nets.errors import ConfigError
from graphviz_nets.graph.ir import Model

from .tensorflow_files import Signature, Source, kind_of, read
from .tensorflow_graph import to_model
from .tensorflow_keras import open_keras


@dataclass(frozen=True)
class Converter:
    """Opens TensorFlow's and Keras's files, without TensorFlow."""

    name: str = "tensorflow"
    title: str = "TensorFlow GraphDef, MetaGraph, SavedModel, checkpoints and event files; Keras HDF5 and .keras"
    suffixes: tuple[str, ...] = (".pb", ".pbtxt", ".meta", ".h5", ".hdf5", ".keras")

    def match(self, path: Path, head: bytes) -> int:
        """Say how sure it is that the file or folder is TensorFlow's."""
        return kind_of(path, head)[1]

    def open(self, path: Path, data: bytes | None, options: Any) -> Model:
        """Return the model of a file or folder.

        Parameters
        ----------
        path : Path
            The file or folder.
        data : bytes or None
            A file's content, where there is no file.
        options : Options
            `signature`, `tag` and `input_shapes` matter.
        """
        kind, _ = kind_of(path, _head(path, data))
        if kind in ("keras", "hdf5"):
            return open_keras(path, data, options)
        source = read(path, data, kind or "graph", options.tag)
        return to_model(source, path, options, chosen(source, options.signature))


def _head(path: Path, data: bytes | None) -> bytes:
    if data is not None:
        return data[:4096]
    if path.is_dir():
        return b""
    with path.open("rb") as file:
        return file.read(4096)


def chosen(source: Source, name: str | None) -> Signature | None:
    """Return the signature that is asked for, else TensorFlow's default one, else the first; None without any.

    Raises
    ------
    ConfigError
        When there is none of that name; the hint lists those that there are.
    """
    known = source.signatures
    if name is not None and name not in known:
        hint = f"its signatures: {', '.join(known) or 'none'}"
        raise ConfigError(f"the model has no signature {name!r}", key="--signature", hint=hint)
    if name is not None:
        return known[name]
    return known.get("serving_default") or next(iter(known.values()), None)


converter = Converter()
