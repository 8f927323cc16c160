"""External data: the files beside an ``.onnx`` that hold its weights, read when asked for and only where allowed."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath

from graphviz_nets.errors import ConvertError


@dataclass(frozen=True)
class Stretch:
    """Reads a stretch of a file that must still be the one that was checked."""

    place: str
    offset: int
    length: int
    identity: tuple[int, ...]

    def __call__(self) -> bytes:
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        try:
            with open(os.open(self.place, flags), "rb") as file:
                if identity(os.fstat(file.fileno())) != self.identity:
                    raise ConvertError("the file has changed since the model was opened", path=self.place)
                file.seek(self.offset)
                data = file.read(self.length)
        except OSError as fault:
            raise ConvertError(f"cannot be read: {fault.strerror}", path=self.place) from None
        if len(data) != self.length:
            raise ConvertError("the file ends too early", path=self.place)
        return data


def identity(found: os.stat_result) -> tuple[int, ...]:
    """Return what tells a file from another, or from itself after a change."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, stat.S_IFMT(found.st_mode)


class Beside:
    """The files that a model may take external data from: those in its folder and below, links resolved.

    A model that is itself a link, as in a hub's cache, may also use the folder that it really lies in.
    """

    def __init__(self, path: str) -> None:
        self.folder = os.path.dirname(path) or os.curdir
        self.allowed = (os.path.realpath(self.folder), os.path.dirname(os.path.realpath(path)))
        self.known: dict[str, tuple[str, os.stat_result]] = {}

    def lazy(self, entries: Mapping[str, str], size: int) -> Stretch:
        location = entries.get("location", "")
        place, found = self.known.get(location) or self.known.setdefault(location, self.find(location))
        try:
            offset, length = int(entries.get("offset") or 0), int(entries.get("length") or size)
        except ValueError:
            raise ConvertError(f"external data {location!r}: offset and length should be numbers") from None
        if length != size:
            raise ConvertError(f"external data {location!r} does not fit the shape")
        if offset < 0 or offset + length > found.st_size:
            raise ConvertError(f"external data {location!r} ends too early")
        return Stretch(place, offset, length, identity(found))

    def find(self, location: str) -> tuple[str, os.stat_result]:
        windows = PureWindowsPath(location)
        parts = {*windows.parts, *PurePosixPath(location).parts}
        if not location or "\0" in location or ".." in parts or windows.drive or windows.root:
            raise ConvertError(f"external data {location!r} lies outside the model's folder and is not read")
        place = os.path.realpath(os.path.join(self.folder, location))
        if not any(os.path.commonpath((place, folder)) == folder for folder in self.allowed):
            raise ConvertError(f"external data {location!r} lies outside the model's folder and is not read")
        try:
            found = os.stat(place, follow_symlinks=False)
        except OSError:
            raise ConvertError(f"external data {location!r} is missing") from None
        if not stat.S_ISREG(found.st_mode):
            raise ConvertError(f"external data {location!r} is no regular file")
        return place, found
