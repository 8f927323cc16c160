"""HDF5 files of strangers: members and arrays that lie in the file itself, of sizes that it can hold."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from math import prod
from pathlib import Path
from typing import Any

from graphviz_nets.errors import ConvertError, MissingExtra

LARGEST = 1 << 40
SMALL = 1 << 20


def h5py(extra: str = "hdf5") -> Any:
    """Return the module h5py.

    Raises
    ------
    MissingExtra
        Where it is not installed.
    """
    try:
        import h5py as module
    except ImportError:
        raise MissingExtra("h5py", extra=extra) from None
    return module


def inside(group: Any, key: str, path: Path) -> Any:
    """Return a member of a group that lies in this very file, None where there is none."""
    module = h5py()
    link = group.get(key, getlink=True)
    if link is None:
        return None
    if not isinstance(link, module.HardLink):
        raise ConvertError(f"the HDF5 file has a link at {key!r}, which is not followed", path=str(path))
    item = group[key]
    if isinstance(item, module.Dataset) and (item.external or item.is_virtual):
        raise ConvertError(f"the HDF5 file takes {key!r} from another file, which is not read", path=str(path))
    return item


def numeric(item: Any) -> bool:
    """Say whether a dataset holds numbers, of a type that there is."""
    try:
        return item.dtype.kind in "fiu"
    except (ValueError, TypeError):
        return False


def array(
    opened: Callable[[], AbstractContextManager[Any]], item: Any, path: Path
) -> tuple[tuple[int, ...], Callable[[], bytes]]:
    """Return a dataset's shape and what reads it, as little-endian float32, when it is asked for.

    Parameters
    ----------
    opened : callable
        Opens the file again.
    item : h5py.Dataset
        The array.
    path : Path
        The file, for errors.
    """
    shape, where = tuple(int(dim) for dim in item.shape), item.name
    size, stored = prod(shape) * 4, item.id.get_storage_size()
    # Compressed numbers hardly shrink a thousandfold: a file that says so would fill the memory.
    if size > LARGEST or size > 1000 * stored + SMALL or not numeric(item):
        raise ConvertError(f"the HDF5 file's {where!r} is no array of numbers that can be read", path=str(path))

    def read() -> bytes:
        with opened() as file:
            found = inside(file[os.path.dirname(where)], os.path.basename(where), path)
            try:
                return bytes(found[...].astype("<f4").tobytes())
            except (OSError, ValueError, TypeError) as fault:  # a piece that does not unpack
                raise ConvertError(f"the HDF5 file's {where!r} is broken: {str(fault)[:100]}", path=str(path)) from None

    return shape, read
