"""TensorFlow and Keras: graphs, SavedModels, checkpoints, event files and Keras models, to the IR."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from graphviz_nets.errors import ConfigError, ConvertError, GraphvizNetsError, MissingExtra, ParseError
from graphviz_nets.graph.ir import Model
from graphviz_nets.graph.scopes import Path as ScopePath

from .onnx import reshape
from .tensorflow_files import Signature, Source, graph_def, kind_of, parsed, read

# Every file is shown to every converter: what opens them is imported where one is opened.


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
            `signature`, `tag`, `input_shapes` and `deploy` matter: where the model is to run, TensorFlow and tf2onnx
            translate it; where they are not installed or cannot, it is the structure, and a problem says why.
        """
        kind, _ = kind_of(path, _head(path, data))
        if kind in ("keras", "hdf5"):
            from .tensorflow_keras import open_keras

            found = open_keras(path, data, options)
            asked = options.deploy and data is None
            return self._reopened(found, path, options) if asked and not found.runnable else found
        from .tensorflow_graph import to_model
        from .tensorflow_names import plain, renamed, variable_names

        source = read(path, data, kind or "graph", options.tag)
        signature = chosen(source, options.signature)
        drawn = to_model(source, path, options, signature)
        paths = plain(drawn, variable_names(drawn))
        if not options.deploy:
            return renamed(drawn, paths)
        from .tensorflow_run import runnable

        def made() -> Model:
            return runnable(drawn, path, data, kind, signature, options.tag or "serve")

        return _running(path.name, made, drawn, paths, options)

    def _reopened(self, drawn: Model, path: Path, options: Any) -> Model:
        """Return what Keras and tf2onnx make of a file that our own table cannot run, the drawing where they cannot."""
        from .tensorflow_reload import reloaded

        try:
            found = self._traced(reloaded(path), options)
        except (ConvertError, MissingExtra) as fault:
            return replace(drawn, problems=(*drawn.problems, f"{path.name}: {_why(fault)}"))
        return found if found.runnable else replace(drawn, problems=(*drawn.problems, found.problems[-1]))

    def takes(self, thing: object) -> bool:
        """Say whether an object in memory is TensorFlow's: a Keras model, a ``tf.function`` or a concrete function."""
        return any(base.__module__.partition(".")[0] in ("keras", "tensorflow") for base in type(thing).__mro__)

    def open_object(self, thing: object, args: Sequence[Any], kwargs: Mapping[str, Any], options: Any) -> Model:
        """Return the model of an object in memory, runnable where our table of Keras's layers or tf2onnx can.

        What it is called with is part of the object, so `args` and `kwargs` do not matter.
        """
        layers = _layered(thing, options) if hasattr(thing, "layers") else None
        return self._traced(thing, options) if layers is None else layers

    def _traced(self, thing: object, options: Any) -> Model:
        """Return the graph that an object in memory computes; its scopes are those of the graph."""
        from .tensorflow_graph import to_model
        from .tensorflow_names import joined, layer_names, plain
        from .tensorflow_run import constants, faults, graph_of, of_object, translated

        name = str(getattr(thing, "name", "model"))
        with faults(name):
            function = of_object(thing)

        try:
            with faults(name):
                frozen, reason = constants(function), None
        except ConvertError as fault:  # as where it writes to its variables
            frozen, reason = graph_of(function), fault
        ends = {f"output_{k}": tensor for k, tensor in enumerate(frozen.outputs)}
        source = Source(parsed(graph_def(), frozen.graph.SerializeToString(), Path("model")))
        drawn = to_model(source, Path(name), options, Signature(name, {}, ends))

        def made() -> Model:
            if reason is not None:
                raise reason
            with faults(name):
                return joined(translated(frozen, drawn), drawn)

        return _running(name, made, drawn, plain(drawn, layer_names(thing)), options)


def _layered(thing: Any, options: Any) -> Model | None:
    """Return what our table makes of the file that a Keras model is saved as, None where it does not run.

    A graph knows less of it: normalizations are products and sums there, of constants that several weights went into.
    """
    from .tensorflow_keras import open_keras
    from .tensorflow_run import faults

    name = str(getattr(thing, "name", "model"))
    with TemporaryDirectory(prefix="graphviz_nets-") as folder:
        file = Path(folder) / "model.keras"
        try:
            with faults(name):
                thing.save(file)
            found = open_keras(Path(name), file.read_bytes(), options)
        except (ConvertError, MissingExtra, ParseError):
            return None
    return found if found.runnable else None


def _running(
    name: str, make: Callable[[], Model], drawn: Model, paths: Mapping[ScopePath, ScopePath], options: Any
) -> Model:
    """Return the model that runs, or the structure with a problem that says why it does not."""
    from .tensorflow_names import renamed

    try:
        found = renamed(make(), paths)
    except (ConvertError, MissingExtra) as fault:
        problem = f"{name}: {_why(fault)}; it is the structure only"
        return replace(renamed(drawn, paths), problems=(*drawn.problems, problem))
    return reshape(found, options.input_shapes) if options.input_shapes else found


def _why(fault: GraphvizNetsError) -> str:
    return f"{fault.message} ({fault.hint})" if fault.hint else fault.message


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
