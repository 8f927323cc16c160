"""PyTorch's files as bytes: zip archives (TorchScript, ``.pt2``, ``torch.save``) and the older stream of pickles."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphviz_nets.errors import ConvertError, LimitError, ParseError
from graphviz_nets.graph.ir import ITEM_BITS, Tensor

from .pytorch_pickle import Storage, Stored, walk

MEMBER = 256 << 20
"""Bytes of code, JSON or pickle in one archive member."""
MEMBERS = 200_000
"""Members of an archive."""


@dataclass(frozen=True)
class Archive:
    """A zip archive of PyTorch's, whose members all lie below one folder; nothing is unpacked to disk."""

    path: str
    data: bytes | None
    members: Mapping[str, zipfile.ZipInfo]

    @classmethod
    def of(cls, path: Path, data: bytes | None) -> Archive:
        """Open a file, or bytes called so.

        Raises
        ------
        ParseError
            When it is no whole archive, is encrypted or has two members of one name.
        """
        place = str(path)
        try:
            with zipfile.ZipFile(path if data is None else io.BytesIO(data)) as file:
                infos = file.infolist()
        except OSError as fault:
            raise ConvertError(f"cannot be read: {fault.strerror}", path=place) from None
        except (zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError) as fault:
            raise ParseError(f"the archive is truncated or broken: {fault}", path=place) from None
        if len(infos) > MEMBERS:
            raise LimitError("the members of an archive", MEMBERS)
        members: dict[str, zipfile.ZipInfo] = {}
        for info in infos:
            name = info.filename.partition("/")[2]
            if info.flag_bits & 1 or name in members:
                what = "is encrypted" if info.flag_bits & 1 else f"has two members {name!r}"
                raise ParseError(f"the archive {what}", path=place)
            if name:
                members[name] = info
        return cls(place, data, members)

    def read(self, name: str, most: int = MEMBER) -> bytes:
        """Return a member, which must not be larger than `most` bytes."""
        info = self.members.get(name)
        if info is None:
            raise ParseError(f"the archive has no member {name!r}", path=self.path)
        if info.file_size > most:
            raise LimitError(f"{self.path}: {name}", f"{most} bytes")
        try:
            source = self.path if self.data is None else io.BytesIO(self.data)
            with zipfile.ZipFile(source) as file, file.open(info) as member:
                found = member.read(most + 1)  # what a head says of its size may be a lie
        except OSError as fault:
            raise ConvertError(f"cannot be read: {fault.strerror}", path=self.path) from None
        except (zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError, EOFError) as fault:
            raise ParseError(f"the archive is broken at {name!r}: {fault}", path=self.path) from None
        except Exception as fault:  # zlib, lzma and bz2 have their own errors
            raise ParseError(f"the archive is broken at {name!r}: {fault}", path=self.path) from None
        if len(found) > most:
            raise LimitError(f"{self.path}: {name}", f"{most} bytes")
        return found

    def pickle(self, name: str) -> Any:
        """Return a pickle as data."""
        return walk(io.BytesIO(self.read(name)), self.path)

    def tensor(self, name: str, stored: Stored, role: str | None, folder: str = "data") -> Tensor:
        """Return a tensor that reads its member when asked."""
        member = f"{folder}/{stored.storage.key}"
        size = self.members[member].file_size if member in self.members else -1
        return tensor(name, stored, role, size, lambda: self.read(member, max(size, 0)), self.path)


def tensor(name: str, stored: Stored, role: str | None, size: int, read: Callable[[], bytes], path: str) -> Tensor:
    """Return a tensor whose storage has `size` bytes; one that does not lie in it has no data.

    Raises
    ------
    ParseError
        When it reaches beyond its storage.
    """
    dtype = stored.storage.dtype
    width = ITEM_BITS[dtype] // 8
    last = stored.offset + sum((dim - 1) * step for dim, step in zip(stored.size, stored.stride, strict=True))
    empty = 0 in stored.size
    if size >= 0 and not empty and (last + 1) * width > size:
        raise ParseError(f"the tensor {name!r} reaches beyond its storage", path=path)
    count = 1
    contiguous = True
    for dim, step in zip(reversed(stored.size), reversed(stored.stride), strict=True):
        contiguous = contiguous and (dim == 1 or step == count)
        count *= dim
    if not contiguous and count * width > max(size, 0) * 1000:
        raise LimitError(f"the tensor {name!r}", "a thousand times its storage")

    def content() -> bytes:
        if empty:
            return b""
        if contiguous:
            return read()[stored.offset * width : (stored.offset + count) * width]
        import numpy

        cells = numpy.frombuffer(read(), f"V{width}")[stored.offset :]
        view = numpy.lib.stride_tricks.as_strided(cells, stored.size, [step * width for step in stored.stride])
        return bytes(view.tobytes())

    return Tensor(name, dtype, stored.size, content if size >= 0 else None, role)


def legacy(path: Path, data: bytes | None) -> tuple[Any, Callable[[str, Stored, str | None], Tensor]]:
    """Read the older format: pickles one after the other, then the storages.

    Returns
    -------
    (object, tensor)
        What was saved, and how to make one of its tensors under a name.

    Raises
    ------
    ParseError
        When it is truncated or broken.
    """
    place = str(path)
    try:
        with path.open("rb") if data is None else io.BytesIO(data) as file:
            whole = file.seek(0, io.SEEK_END)
            file.seek(0)
            walk(file, place)
            walk(file, place)
            walk(file, place)
            found = walk(file, place)
            keys = walk(file, place)
            if not isinstance(keys, list):
                raise ParseError("the list of storages is missing", path=place)
            widths = {storage.key: ITEM_BITS[storage.dtype] // 8 for storage in storages(found)}
            spans: dict[str, tuple[int, int]] = {}
            for key in map(str, keys):
                count = int.from_bytes(file.read(8), "little")
                size = count * widths.get(key, 0)
                start = file.tell()
                if key not in widths or start + size > whole:
                    raise ParseError(f"the storage {key!r} is missing or cut short", path=place)
                spans[key] = start, size
                file.seek(size, io.SEEK_CUR)
    except OSError as fault:
        raise ConvertError(f"cannot be read: {fault.strerror}", path=place) from None

    def make(name: str, stored: Stored, role: str | None) -> Tensor:
        start, size = spans.get(stored.storage.key, (0, -1))

        def read() -> bytes:
            if data is not None:
                return data[start : start + size]
            with path.open("rb") as again:
                again.seek(start)
                return again.read(size)

        return tensor(name, stored, role, size, read, place)

    return found, make


def storages(tree: Any) -> list[Storage]:
    """Return every storage in what a pickle held, each once."""
    return list(dict.fromkeys(stored.storage for _, stored in tensors(tree)))


DEPTH = 100
"""Containers inside each other that are searched for tensors."""
FOUND = 1_000_000
"""Entries of all containers that are searched."""


def tensors(tree: Any) -> list[tuple[str, Stored]]:
    """Return every tensor in dicts, lists and objects with its dotted name, in order; modules' own lists leave no name.

    Examples
    --------
    >>> one = Stored(Storage("0", "float32"), 0, (2,), (1,))
    >>> [name for name, _ in tensors({"net": {"fc.weight": one}, "epoch": 3})]
    ['net.fc.weight']
    """
    found: list[tuple[str, Stored]] = []
    waiting: list[tuple[tuple[str, ...], Any]] = [((), tree)]
    count = 0
    while waiting:
        path, item = waiting.pop()
        count += 1
        if count > FOUND or len(path) > DEPTH:
            raise LimitError("the entries of the file", FOUND)
        if isinstance(item, Stored):
            found.append((".".join(path), item))
            continue
        inside = getattr(item, "state", item)
        pairs = (
            list(inside.items()) if isinstance(inside, dict)
            else list(enumerate(inside)) if isinstance(inside, (list, tuple))
            else []
        )  # fmt: skip
        for key, value in reversed(pairs):
            hidden = key in ("_parameters", "_buffers", "_modules")
            waiting.append((path if hidden else (*path, str(key)), value))
    return found
