"""The hierarchy: layers, modules and name scopes that hold nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

Path: TypeAlias = tuple[str, ...]
"""A scope's place in the hierarchy; shown joined by ``/``."""

KINDS = ("layer", "module", "name_scope", "function", "loop", "subgraph", "series", "inferred", "auxiliary")

_NOTHING: Mapping[str, Any] = MappingProxyType({})


def _nothing() -> Mapping[str, Any]:
    return _NOTHING


@dataclass(frozen=True)
class Scope:
    """A node of the hierarchy.

    Attributes
    ----------
    path : tuple of str
        Its own name last.
    kind : str
        One of `KINDS`. A ``layer`` holds the ONNX nodes that one layer of the source became; an ``auxiliary`` one what
        only serves training and storing, such as gradients.
    name : str
        What the source calls it, whole; the path joined by ``/`` where nothing else is known.
    type : str
        The source's type, ``Convolution`` or ``Bottleneck``.
    parameters : mapping
        The source's parameters, JSON-able, as nested as the source has them.
    inputs, outputs : tuple of str
        A layer's bottoms and tops as value names, in source order.
    weights : tuple of str
        A layer's own tensors (initializer names), in source order.
    file, line
        Where the source declares it; line 0 where unknown.
    """

    path: Path
    kind: str = "name_scope"
    name: str = ""
    type: str = ""
    parameters: Mapping[str, Any] = field(default_factory=_nothing)
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    file: str = ""
    line: int = 0

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", "/".join(self.path))
        if not isinstance(self.parameters, MappingProxyType):
            object.__setattr__(self, "parameters", MappingProxyType(dict(self.parameters)))

    @property
    def id(self) -> str:
        """The path as people type it."""
        return "/".join(self.path)


def layer_paths(names: Iterable[str], separator: str = "/") -> tuple[Path, ...]:
    """Give each source name a unique path, splitting at the separator.

    A name that is also a prefix of others becomes ``A/(A)``, as TensorBoard writes it; a repeated name gets ``#2``.

    Examples
    --------
    >>> layer_paths(["conv1", "conv1/bn", "fc", "fc"])
    (('conv1', '(conv1)'), ('conv1', 'bn'), ('fc',), ('fc#2',))
    """
    split = [tuple(part for part in name.split(separator) if part) or (name or "layer",) for name in names]
    prefixes = {path[:size] for path in split for size in range(1, len(path))}
    seen: dict[Path, int] = {}
    result = []
    for path in split:
        own = (*path, f"({path[-1]})") if path in prefixes else path
        seen[own] = seen.get(own, 0) + 1
        while seen[own] > 1:
            own = (*own[:-1], f"{own[-1]}#{seen[own]}")
            seen[own] = seen.get(own, 0) + 1
        result.append(own)
    return tuple(result)


def parents(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Return every proper prefix of the paths, shorter ones first where they begin, without the root.

    Examples
    --------
    >>> parents([("a", "b", "c"), ("a", "d")])
    (('a',), ('a', 'b'))
    """
    return tuple(dict.fromkeys(path[:size] for path in paths for size in range(1, len(path))))
