"""TensorFlow's files, read without TensorFlow: what kind a file is, and the graphs that it holds.

Messages are read with the compiled protos of the package tensorboard; nothing in a file is executed.
"""

from __future__ import annotations

import re
import struct
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from graphviz_nets.errors import ConfigError, ConvertError, LimitError, MissingExtra, ParseError

MOST_NODES = 1_000_000
MOST_FILES = 10_000
"""Entries of a log folder that are looked at."""
LEVELS = 3
"""Levels of folders below a log folder that are looked at: an experiment, a run, train and validation."""

HDF5, ZIP = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"
_NODE = re.compile(rb"^\s*(?:node|library|meta_info_def|graph_def)\s*:?\s*[{<]", re.MULTILINE)
_EVENTS = re.compile(rb"^.{4}\0{4}.{4}.{0,40}brain\.Event:", re.DOTALL)


@dataclass(frozen=True)
class Signature:
    """What a graph is called with: tensor names (``x:0``) by the names of its arguments and results.

    `shapes` are the TensorShapeProtos of the arguments, by tensor name.
    """

    name: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    shapes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """A GraphDef and what its file says about it.

    Attributes
    ----------
    graph : GraphDef
        Of ``tensorboard.compat.proto``.
    signatures : mapping of str to Signature
        Those of a MetaGraph.
    trainable : frozenset of str
        Names of the variables that are learnt; empty where the file does not say.
    problems : tuple of str
        What was noticed while reading.
    """

    graph: Any
    signatures: Mapping[str, Signature] = field(default_factory=dict)
    trainable: frozenset[str] = frozenset()
    problems: tuple[str, ...] = ()


def kind_of(path: Path, head: bytes) -> tuple[str, int]:
    """Return what a file or folder is and how sure that is, 0 to 100.

    Parameters
    ----------
    path : Path
        Its place.
    head : bytes
        Its first bytes; empty for a folder.

    Returns
    -------
    (kind, certainty)
        ``saved_model``, ``checkpoint``, ``logs``, ``events``, ``keras``, ``hdf5``, ``text``, ``meta``, ``graph``, or
        an empty string.

    Examples
    --------
    >>> kind_of(Path("graph.pbtxt"), b'node {\\n  name: "x"\\n  op: "Placeholder"\\n}')
    ('text', 85)
    >>> kind_of(Path("net.prototxt"), b'layer { name: "x" }')
    ('', 0)
    """
    if path.is_dir() and not head:
        if (path / "saved_model.pb").is_file():
            return "saved_model", 95
        if (path / "checkpoint").is_file() or any(path.glob("*.meta")):
            return "checkpoint", 90
        return ("logs", 60) if next(_event_files(path), None) is not None else ("", 0)
    suffix = path.suffix.lower()
    if head.startswith(ZIP):
        return ("keras", 90) if suffix == ".keras" else ("", 0)
    if head.startswith(HDF5):
        return ("hdf5", 80) if suffix in (".h5", ".hdf5", ".keras") else ("hdf5", 10)
    if _EVENTS.match(head):
        return "events", 95
    if "tfevents" in path.name:  # what else is written may keep the name and gain a suffix
        return "events", 95 if not head else 40
    if b"\0" not in head and _NODE.search(head) and (suffix == ".pbtxt" or b"op:" in head):
        return "text", 85
    if re.match(rb"\x08\x01\x12", head):
        return ("saved_model", 85) if suffix == ".pb" else ("", 0)
    if suffix == ".meta" and head:
        return "meta", 80
    # A NodeDef in field 1, which begins with a name and an operation.
    if head[:1] == b"\n" and re.match(rb"\n(?:[\x80-\xff]{0,4}[\0-\x7f])\n(.)", head, re.DOTALL):
        return "graph", 75 if suffix == ".pb" else 40
    return ("graph", 15) if suffix == ".pb" and head else ("", 0)


def read(path: Path, data: bytes | None, kind: str, tag: str | None = None) -> Source:
    """Return the graph of a file or folder.

    Raises
    ------
    ParseError, ConvertError, LimitError
        When there is none, or it is broken or too large.
    MissingExtra
        Without the package tensorboard.
    """
    source: Source = _READERS[kind](path, data, tag)
    nodes = len(source.graph.node) + sum(len(function.node_def) for function in source.graph.library.function)
    if nodes > MOST_NODES:
        raise LimitError("the number of nodes", MOST_NODES)
    return source


def protos() -> Any:
    """Return the module of MetaGraphDef, which brings GraphDef along."""
    try:
        from tensorboard.compat.proto import meta_graph_pb2
    except ImportError:
        raise MissingExtra("tensorboard, whose protos read TensorFlow's files,", extra="tensorboard") from None
    return meta_graph_pb2


def graph_def() -> Any:
    """Return an empty GraphDef."""
    return protos().MetaGraphDef().graph_def.__class__()


def parsed(message: Any, data: bytes, path: Path) -> Any:
    """Return the message with its bytes read in."""
    from google.protobuf.message import DecodeError

    try:
        message.ParseFromString(data)
    except (DecodeError, RuntimeError) as fault:
        what = "is nested too deeply" if "Exceeded" in str(fault) else "is truncated, broken or something else"
        name = message.DESCRIPTOR.name
        raise ParseError(f"the file {what}: it is no whole {name}", path=str(path)) from None
    return message


def _content(path: Path, data: bytes | None) -> bytes:
    from graphviz_nets.graph import proto

    return proto.load(str(path)) if data is None else data


def _graph(path: Path, data: bytes | None, tag: str | None) -> Source:
    content = _content(path, data)
    try:
        found = parsed(graph_def(), content, path)
    except ParseError:
        # A MetaGraph goes by any name; where it is neither, what is wrong with the graph is said.
        meta = protos().MetaGraphDef()
        try:
            return of_meta(parsed(meta, content, path))
        except ParseError:
            pass
        raise
    if not found.node and not found.library.function:
        raise ParseError("the file is no GraphDef: it has no nodes", path=str(path))
    return Source(found)


def _meta(path: Path, data: bytes | None, tag: str | None) -> Source:
    return of_meta(parsed(protos().MetaGraphDef(), _content(path, data), path))


def _text(path: Path, data: bytes | None, tag: str | None) -> Source:
    from google.protobuf import text_format

    from .prototxt import decode

    text = decode(_content(path, data), str(path))
    whole = re.search(r"^(?:meta_info_def|graph_def)\s*[:{<]", text, re.MULTILINE) is not None
    message = protos().MetaGraphDef() if whole else graph_def()
    try:
        text_format.Parse(text, message, allow_unknown_extension=True, allow_unknown_field=True)
    except text_format.ParseError as fault:
        words = re.sub(r"^\d+:\d+ : ", "", str(fault).replace("\n", " "))[:200]
        raise ParseError(words, path=str(path), line=fault.GetLine(), column=fault.GetColumn()) from None
    except RecursionError:
        raise LimitError("nested messages", "protobuf's own") from None
    return of_meta(message) if whole else Source(message)


def _saved_model(path: Path, data: bytes | None, tag: str | None) -> Source:
    """Read a SavedModel, for which tensorboard has no proto: a version, then MetaGraphs in field 2."""
    from google.protobuf.empty_pb2 import Empty
    from google.protobuf.unknown_fields import UnknownFieldSet

    file = path / "saved_model.pb" if path.is_dir() else path
    fields = UnknownFieldSet(parsed(Empty(), _content(file, data), file))
    metas = [parsed(protos().MetaGraphDef(), item.data, file) for item in fields if item.field_number == 2]
    if not metas:
        raise ParseError("the file is no SavedModel: it has no MetaGraph", path=str(file))
    tags = [list(meta.meta_info_def.tags) for meta in metas]
    wanted = next((k for k, found in enumerate(tags) if (tag or "serve") in found), None)
    if wanted is None and tag is not None:
        known = ", ".join(sorted({name for found in tags for name in found})) or "none"
        raise ConfigError(f"the SavedModel has no graph tagged {tag!r}", key="--tag", hint=f"its tags: {known}")
    return of_meta(metas[wanted or 0])


def of_meta(meta: Any) -> Source:
    """Return the graph of a MetaGraphDef with its signatures."""
    signatures = {}
    for name in sorted(meta.signature_def):
        one = meta.signature_def[name]
        inputs = {key: one.inputs[key].name for key in sorted(one.inputs)}
        outputs = {key: one.outputs[key].name for key in sorted(one.outputs)}
        if outputs and name != "__saved_model_init_op":
            shapes = {item.name: item.tensor_shape for item in one.inputs.values() if item.HasField("tensor_shape")}
            signatures[name] = Signature(name, inputs, outputs, shapes)
    trainable = set()
    for item in meta.collection_def["trainable_variables"].bytes_list.value:
        found = re.match(rb"\n(.)", item, re.DOTALL)  # VariableDef: its name in field 1
        if found is not None:
            trainable.add(item[2 : 2 + found.group(1)[0]].decode(errors="replace").removesuffix(":0"))
    return Source(meta.graph_def, signatures, frozenset(trainable))


def _checkpoint(path: Path, data: bytes | None, tag: str | None) -> Source:
    return _meta(meta_of(path), None, tag)


def meta_of(folder: Path) -> Path:
    """Return the ``.meta`` file of a checkpoint folder: the one that its ``checkpoint`` file names, else the last."""
    names = sorted(found.name for found in folder.glob("*.meta"))
    if not names:
        raise ConvertError("the checkpoint folder has no .meta file, so no graph", path=str(folder))
    note = folder / "checkpoint"
    if note.is_file():
        text = _content(note, None)[: 1 << 20].decode(errors="replace")
        found = re.search(r'^model_checkpoint_path: "([^"\n]{1,400})"', text, re.MULTILINE)
        named = f"{found.group(1).rpartition('/')[2]}.meta" if found is not None else ""
        if named in names:  # a name in this folder, wherever the checkpoint was when it was written
            return folder / named
    return folder / names[-1]


# Event files ------------------------------------------------------------------------------------------------------


def _event_files(folder: Path) -> Iterator[Path]:
    """Yield the event files of a log folder: of itself, and of folders up to `LEVELS` levels below it."""
    waiting, seen = deque([(folder, 0)]), 0
    while waiting:
        here, depth = waiting.popleft()
        for item in _entries(here, MOST_FILES - seen):
            seen += 1
            if "tfevents" in item.name and item.is_file():
                yield item
            elif depth < LEVELS and item.is_dir() and not item.is_symlink():
                waiting.append((item, depth + 1))


def _entries(folder: Path, most: int) -> list[Path]:
    """Return what is in a folder, sorted, at most so much; nothing where it may not be read."""
    try:
        return sorted(islice(folder.iterdir(), most))
    except OSError:
        return []


def records(data: bytes) -> Iterator[tuple[int, bytes | None]]:
    """Yield (place, content) of the whole records of an event file, and (place, None) where one is cut off.

    A record is its length in eight bytes, a checksum of four, the content, and a checksum of four.

    Examples
    --------
    >>> whole = (3).to_bytes(8, "little") + b"----abc----"
    >>> list(records(whole + whole[:9]))
    [(0, b'abc'), (19, None)]
    """
    place = 0
    while place < len(data):
        size = struct.unpack_from("<Q", data, place)[0] if place + 12 <= len(data) else len(data)
        if size > len(data) - place - 16:
            yield place, None
            return
        yield place, data[place + 12 : place + 12 + size]
        place += 16 + size


def _events(path: Path, data: bytes | None, tag: str | None) -> Source:
    found, problems = _in_events(path, data)
    if found is None:
        hint = "; ".join(problems) or "it may hold scalars or images, which are no graph"
        raise ConvertError("the event file holds no whole graph", path=str(path), hint=hint)
    return found


def _in_events(path: Path, data: bytes | None) -> tuple[Source | None, list[str]]:
    """Return the last graph of an event file and what was noticed; a MetaGraph, which says more, wins."""
    protos()
    from google.protobuf.message import DecodeError
    from tensorboard.compat.proto import event_pb2

    graph = meta = b""
    problems = []
    for place, content in records(_content(path, data)):
        if content is None:
            problems.append(f"{path.name}: the record at byte {place} is cut off; what is before it was read")
            break
        event = event_pb2.Event()
        try:
            event.ParseFromString(content)
        except DecodeError:
            problems.append(f"{path.name}: the record at byte {place} is broken and left out")
            continue
        graph, meta = event.graph_def or graph, event.meta_graph_def or meta
    if not graph and not meta:
        return None, problems
    if not meta:
        return Source(parsed(graph_def(), graph, path), problems=tuple(problems)), problems
    source = of_meta(parsed(protos().MetaGraphDef(), meta, path))
    whole = parsed(graph_def(), graph, path) if graph else source.graph  # it has shapes, too
    return Source(whole, source.signatures, source.trainable, tuple(problems)), problems


def _logs(path: Path, data: bytes | None, tag: str | None) -> Source:
    holding, noticed = [], []
    for file in _event_files(path):
        found, problems = _in_events(file, None)
        noticed += problems
        if found is not None:
            holding.append((file, found))
    if not holding:
        hint = "; ".join(noticed[:3]) or "they may hold scalars or images, which are no graph"
        raise ConvertError("no event file in the folder holds a graph", path=str(path), hint=hint)
    file, first = holding[0]
    others = f"{len(holding) - 1} more event files hold graphs; name one to see it"
    more = (f"{file.relative_to(path)}: {others}",) if len(holding) > 1 else ()
    return Source(first.graph, first.signatures, first.trainable, (*first.problems, *more))


_READERS = {
    "graph": _graph, "meta": _meta, "text": _text, "saved_model": _saved_model, "checkpoint": _checkpoint,
    "events": _events, "logs": _logs,
}  # fmt: skip
