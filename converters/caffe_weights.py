"""Caffe's weight files, read by walking over them: what a blob holds is left in the file until somebody asks.

``.caffemodel`` in V0, V1 and V2 form, ``.caffemodel.h5`` and ``.binaryproto``; a ``.solverstate`` is told apart. The
numbers of fields are caffe.proto's.
"""

from __future__ import annotations

import mmap
import os
import stat
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

from graphviz_nets.errors import ConvertError, LimitError
from graphviz_nets.graph.external import Stretch, identity

from . import hdf5
from .caffe_schema import ENUMS, MESSAGES
from .prototxt import DEEPEST, Enum, Field, Message

HDF5 = b"\x89HDF\r\n\x1a\n"
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
LONGEST = 1 << 20
"""Bytes of a name or other text in a binary file."""
MOST = 1_000_000
"""Layers, blobs and other fields of one file."""
BIGGEST = 1 << 40
"""Elements of a blob."""

Buffer: TypeAlias = "bytes | mmap.mmap"


@dataclass(frozen=True)
class Blob:
    """An array of a weight file.

    Attributes
    ----------
    shape : tuple of int
        As the file states it; old files state four numbers always.
    read : callable
        Returns the elements as little-endian float32 bytes.
    """

    shape: tuple[int, ...]
    read: Callable[[], bytes]


@dataclass(frozen=True)
class Weights:
    """A weight file: the blobs of each layer that has any, by the layer's name."""

    path: str
    layers: Mapping[str, tuple[Blob, ...]] = field(default_factory=dict)


def read_weights(path: Path) -> Weights:
    """Open a weight file; the data of its blobs is read when somebody asks for it.

    Parameters
    ----------
    path : Path
        A ``.caffemodel`` or ``.caffemodel.h5``, told apart by content.

    Raises
    ------
    ConvertError
        When it is neither, is cut short, or cannot be read.
    MissingExtra
        For HDF5 without h5py.
    """
    if _head(path) == HDF5:
        return Weights(str(path), _from_hdf5(path))
    with _mapped(path) as source:
        if source.kind != "net":
            raise source.refused("weights")
        layers: dict[str, tuple[Blob, ...]] = {}
        for number, kind, start, end in source.fields(0, len(source.data)):
            if kind == BYTES and number in (2, 100):
                name, blobs = _layer(source, number, start, end)
                if blobs:
                    layers[name] = blobs  # of two layers with one name the last counts, as in Caffe
    return Weights(str(path), layers)


def read_mean(path: Path) -> Blob:
    """Open a mean image, a ``.binaryproto``.

    Raises
    ------
    ConvertError
        When it is none, is cut short, or cannot be read.
    """
    with _mapped(path) as source:
        if source.kind != "blob":
            raise source.refused("a mean image")
        return _blob(source, 0, len(source.data))


def read_structure(path: Path) -> tuple[Message, str]:
    """Return the net that a ``.caffemodel`` was saved from, without its blobs, and the phase it was built for.

    Raises
    ------
    ConvertError
        When the file holds no net, is cut short, or cannot be read.
    """
    if _head(path) == HDF5:
        raise ConvertError("an HDF5 file holds weights alone", path=str(path), hint="give the net: net.prototxt")
    with _mapped(path) as source:
        if source.kind != "net":
            raise source.refused("a net")
        net = _message(source, "Net", 0, len(source.data), 0)
    if "layer" not in net and "layers" not in net:
        raise ConvertError("the caffemodel holds no layers", path=str(path))
    phases = [item.value.get("phase") for item in net if item.name == "layer"]
    return _unsplit(net), "TEST" if "TEST" in phases else "TRAIN"


# The wire format --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Source:
    """A binary file that is walked over."""

    path: str
    data: Buffer
    found: os.stat_result

    def fail(self, text: str) -> ConvertError:
        return ConvertError(text, path=self.path)

    def fields(self, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        """Yield the number, wire type, first byte and end of every field; of a varint the value in place of both."""
        data, place = self.data, start
        while place < end:
            key, place = self.varint(place, end)
            number, kind = key >> 3, key & 7
            if kind == VARINT:
                value, place = self.varint(place, end)
                yield number, kind, value, value
                continue
            if kind not in (FIXED64, BYTES, FIXED32) or not number:
                raise self.fail(f"this is no binary file of Caffe's: bad field before byte {place}")
            size, place = self.varint(place, end) if kind == BYTES else (8 if kind == FIXED64 else 4, place)
            if place + size > end:
                missing = place + size - end
                what = "the file is truncated" if end == len(data) else f"a field before byte {place} is too long"
                raise self.fail(f"{what}: {missing} bytes are missing")
            yield number, kind, place, place + size
            place += size

    def varint(self, place: int, end: int) -> tuple[int, int]:
        value = shift = 0
        while place < end and shift < 70:
            byte = self.data[place]
            value |= (byte & 0x7F) << shift
            place, shift = place + 1, shift + 7
            if not byte & 0x80:
                return value, place
        raise self.fail("the file is truncated: it ends within a number")

    def text(self, start: int, end: int) -> str:
        if end - start > LONGEST:
            raise LimitError("a text in the file", f"{LONGEST >> 20} MB")
        return self.data[start:end].decode("utf-8", "replace")

    @property
    def kind(self) -> str:
        """What the file is, by the fields at its top: ``net``, ``blob``, ``state`` or nothing."""
        seen = {(number, kind) for number, kind, _, _ in self.fields(0, len(self.data))}
        if (1, VARINT) in seen and seen & {(2, BYTES), (3, BYTES)}:
            return "state"
        if seen & {(100, BYTES), (1, BYTES), (2, BYTES)}:
            return "net"
        return "blob" if seen & {(5, BYTES), (8, BYTES), (12, BYTES)} else ""

    def refused(self, wanted: str) -> ConvertError:
        """Return why the file is not what was wanted, and what to give instead."""
        if self.kind == "state":
            parts = self.fields(0, len(self.data))
            names = [Path(self.text(a, b)).name for number, kind, a, b in parts if (number, kind) == (2, BYTES)]
            return ConvertError(
                "this is a solver's state, which holds the history of weights, not weights", path=self.path,
                hint=f"the weights are in {', '.join(names) or 'the .caffemodel of the same snapshot'}",
            )  # fmt: skip
        what = {"net": "a net with its weights", "blob": "a mean image"}.get(self.kind, "no binary file of Caffe's")
        return ConvertError(f"this is {what}, where {wanted} should be", path=self.path)


def _head(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ConvertError("this is no regular file", path=str(path))
        with path.open("rb") as file:
            return file.read(len(HDF5))
    except OSError as fault:
        raise ConvertError(f"cannot be read: {fault.strerror}", path=str(path)) from None


@contextmanager
def _mapped(path: Path) -> Iterator[_Source]:
    """Map a file, of which only the heads of fields are touched."""
    if not _head(path):
        raise ConvertError("the file is empty", path=str(path))
    place = os.path.realpath(path)
    try:
        with open(place, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            yield _Source(str(path), content, os.fstat(file.fileno()))
    except (OSError, ValueError) as fault:
        raise ConvertError(f"cannot be read: {getattr(fault, 'strerror', fault)}", path=str(path)) from None


# Blobs ------------------------------------------------------------------------------------------------------------

# Where a layer's name and blobs stand: V2's LayerParameter, V1's, and V0's inside that.
_PLACES = {100: (1, 7), 2: (4, 6), 1: (1, 50)}


def _layer(source: _Source, place: int, start: int, end: int) -> tuple[str, tuple[Blob, ...]]:
    """Return the name and blobs of a layer; `place` is the field it stands in."""
    name, blobs = "", []
    named, held = _PLACES[place]
    for number, kind, first, last in source.fields(start, end):
        if kind != BYTES:
            continue
        if place == 2 and number == 1:
            return _layer(source, 1, first, last)
        if number == named:
            name = source.text(first, last)
        elif number == held:
            blobs.append(_blob(source, first, last))
    return name, tuple(blobs)


def _blob(source: _Source, start: int, end: int) -> Blob:
    """Return a BlobProto; numbers may be packed or not, in single, double or (NVIDIA's) half precision."""
    old, shape = [0, 0, 0, 0], None
    parts: list[tuple[str, int, int]] = []  # element type, first byte, end
    raw = ""
    loose: list[tuple[int, int]] = []
    for number, kind, first, last in source.fields(start, end):
        if kind == VARINT and 1 <= number <= 4:
            old[number - 1] = first
        elif kind == VARINT and number == 10:
            raw = {0: "d", 1: "f", 2: "e"}.get(first, "")
        elif number == 7 and kind == BYTES:
            shape = _dims(source, first, last)
        elif (number, kind) == (5, BYTES):
            parts.append(("f", first, last))
        elif (number, kind) == (8, BYTES):
            parts.append(("d", first, last))
        elif (number, kind) == (12, BYTES):
            parts.append((raw or "f", first, last))
        elif (number, kind) == (5, FIXED32):
            loose.append((first, last))
    if loose:
        if len(loose) > MOST:
            raise LimitError("unpacked numbers in a blob", MOST)
        data = b"".join(source.data[first:last] for first, last in loose)
        shape = tuple(old) if shape is None else shape
        return Blob(_fitting(source, shape, len(data) // 4), lambda: data)
    shape = tuple(old) if shape is None else shape
    count = sum((last - first) // struct.calcsize(code) for code, first, last in parts)
    return Blob(_fitting(source, shape, count), _reader(source, parts))


def _fitting(source: _Source, shape: tuple[int, ...], count: int) -> tuple[int, ...]:
    """Return the shape if it has so many elements; one that is not stated at all is that of a vector."""
    if shape == (0, 0, 0, 0):
        return (count,)
    if any(not 0 <= dim < BIGGEST for dim in shape) or prod(shape) != count:
        raise source.fail(f"a blob of the shape {str(shape)[:80]} holds {count} numbers")
    return shape


def _dims(source: _Source, start: int, end: int) -> tuple[int, ...]:
    dims: list[int] = []
    for number, kind, first, last in source.fields(start, end):
        if number == 1 and kind == VARINT:
            dims.append(first)
        elif number == 1 and kind == BYTES:
            while first < last:
                dim, first = source.varint(first, last)
                dims.append(dim)
        if len(dims) > 64:
            raise LimitError("the dimensions of a blob", 64)
    return tuple(dims)


def _reader(source: _Source, parts: Sequence[tuple[str, int, int]]) -> Callable[[], bytes]:
    place, seen = os.path.realpath(source.path), identity(source.found)
    stretches = [(code, Stretch(place, first, last - first, seen)) for code, first, last in parts]
    if len(stretches) == 1 and stretches[0][0] == "f":
        return stretches[0][1]

    def read() -> bytes:
        import numpy as np

        return b"".join(np.frombuffer(one(), f"<{code}").astype("<f4").tobytes() for code, one in stretches)

    return read


# HDF5 -------------------------------------------------------------------------------------------------------------


def _from_hdf5(path: Path) -> dict[str, tuple[Blob, ...]]:
    """Return the blobs under ``/data/LAYER/0``, ``/data/LAYER/1``...; links out of the file are refused."""
    h5py = hdf5.h5py()

    def opened() -> Any:
        return h5py.File(path, "r")

    layers: dict[str, dict[int, Blob]] = {}
    try:
        with opened() as file:
            data = hdf5.inside(file, "data", path)
            if not isinstance(data, h5py.Group):
                if "history" in file:
                    raise ConvertError(
                        "this is a solver's state, which holds the history of weights, not weights", path=str(path),
                        hint="the weights are in the .caffemodel.h5 of the same snapshot",
                    )  # fmt: skip
                raise ConvertError("the HDF5 file has no group 'data', so it holds no weights", path=str(path))
            waiting = [("", data)]
            seen = 0
            while waiting:
                name, group = waiting.pop()
                for key in group:
                    seen += 1
                    if seen > MOST:
                        raise LimitError("objects in the HDF5 file", MOST)
                    item = hdf5.inside(group, key, path)
                    if isinstance(item, h5py.Group):
                        waiting.append((f"{name}/{key}" if name else key, item))
                    elif isinstance(item, h5py.Dataset) and key.isdigit() and len(key) < 6:
                        layers.setdefault(name, {})[int(key)] = Blob(*hdf5.array(opened, item, path))
    except OSError as fault:
        raise ConvertError(f"the HDF5 file is broken: {str(fault)[:200]}", path=str(path)) from None
    return {name: tuple(blobs[k] for k in sorted(blobs)) for name, blobs in layers.items()}


# The net in a caffemodel ------------------------------------------------------------------------------------------


def _message(source: _Source, name: str, start: int, end: int, depth: int) -> Message:
    """Return a binary message as the text form has it; fields without a name in the table are left out."""
    if depth > DEEPEST:
        raise LimitError("nested messages", DEEPEST)
    table = _table(name)
    fields: list[Field] = []
    for number, kind, first, last in source.fields(start, end):
        key, what = table.get(number, ("", ""))
        if not key or (kind != BYTES and (what in MESSAGES or what in ("string", "bytes"))):
            continue
        if kind == BYTES and what in ("int", "bool", "float", "double"):
            values = _packed(source, what, first, last)
        elif kind == BYTES:
            values = [_message(source, what, first, last, depth + 1) if what in MESSAGES else source.text(first, last)]
        else:
            raw = first if kind == VARINT else int.from_bytes(source.data[first:last], "little")
            values = [_number(what, kind, raw)]
        fields += [Field(key, value, 0, 0) for value in values]
        if len(fields) > MOST:
            raise LimitError("fields of a message", MOST)
    return Message(tuple(fields), 0, 0)


def _table(name: str) -> dict[int, tuple[str, str]]:
    if name not in _TABLES:
        words = MESSAGES[name].split()
        _TABLES[name] = {int(n): (key, what) for n, key, what in zip(words[::3], words[1::3], words[2::3], strict=True)}
    return _TABLES[name]


_TABLES: dict[str, dict[int, tuple[str, str]]] = {}


def _number(what: str, kind: int, raw: int) -> Any:
    """Return a scalar in the text form's type."""
    if kind == FIXED32:
        return struct.unpack("<f", raw.to_bytes(4, "little"))[0]
    if kind == FIXED64:
        return struct.unpack("<d", raw.to_bytes(8, "little"))[0]
    value = raw - (1 << 64) if raw >= 1 << 63 else raw
    if what == "bool":
        return bool(value)
    return Enum(ENUMS[what][value]) if what in ENUMS and value in ENUMS[what] else value


def _packed(source: _Source, what: str, start: int, end: int) -> list[Any]:
    if end - start > LONGEST:
        raise LimitError("numbers in a field", LONGEST)
    if what in ("float", "double"):
        code = "f" if what == "float" else "d"
        whole = (end - start) // struct.calcsize(code)
        return list(struct.unpack(f"<{whole}{code}", source.data[start : start + whole * struct.calcsize(code)]))
    values = []
    while start < end:
        value, start = source.varint(start, end)
        values.append(_number(what, VARINT, value))
    return values


def _unsplit(net: Message) -> Message:
    """Take out the Split layers that Caffe puts in when a net is built, one for every blob that is read twice."""
    same: dict[str, str] = {}
    fields: list[Field] = []
    for item in net:
        layer = item.value
        if item.name not in ("layer", "layers"):
            fields.append(item)
        elif layer.get("type") in ("Split", 22) and str(layer.get("name", "")).endswith("_split"):
            origin = str(layer.get("bottom", ""))
            same.update((str(top), same.get(origin, origin)) for top in layer.all("top"))
        else:
            inner = tuple(
                Field(part.name, same.get(str(part.value), part.value), 0, 0) if part.name == "bottom" else part
                for part in layer
            )
            fields.append(Field(item.name, Message(inner, 0, 0), 0, 0))
    return Message(tuple(fields), 0, 0)


# Writing ----------------------------------------------------------------------------------------------------------


def write_weights(path: Path, layers: Iterable[tuple[str, str, Sequence[tuple[tuple[int, ...], bytes]]]]) -> None:
    """Write a V2 ``.caffemodel``.

    Parameters
    ----------
    path : Path
        The file.
    layers : iterable of (name, type, blobs)
        Each blob a shape and its little-endian float32 bytes.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_weights(Path(folder) / "a.caffemodel", [("ip", "InnerProduct", [((1, 2), struct.pack("<2f", 3, 4))])])
    ...     blob = read_weights(Path(folder) / "a.caffemodel").layers["ip"][0]
    ...     blob.shape, struct.unpack("<2f", blob.read())
    ((1, 2), (3.0, 4.0))
    """
    with path.open("wb") as file:
        for name, type_, blobs in layers:
            heads = [
                _record(7, _record(1, b"".join(map(_varint, shape)))) + _record(5, b"", len(data))
                for shape, data in blobs
            ]
            inner = _record(1, name.encode()) + _record(2, type_.encode())
            sizes = [len(head) + len(data) for head, (_, data) in zip(heads, blobs, strict=True)]
            file.write(_record(100, b"", len(inner) + sum(len(_record(7, b"", size)) + size for size in sizes)))
            file.write(inner)
            for head, size, (_, data) in zip(heads, sizes, blobs, strict=True):
                file.write(_record(7, b"", size))
                file.write(head)
                file.write(data)


def _record(number: int, content: bytes, size: int | None = None) -> bytes:
    """Return a field with a length before it; with `size`, its beginning alone."""
    return _varint(number << 3 | BYTES) + _varint(len(content) if size is None else size) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))
