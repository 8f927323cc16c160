"""Options of one run: defaults, then a ``graphviz_nets.yaml``, then the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from graphviz_nets.errors import ConfigError

RANKDIRS = ("TB", "BT", "LR", "RL")
LAYOUTS = ("nchw", "nhwc")
SHOWN = ("shapes", "params", "macs", "attrs")
GROUPS = ("auto", "scopes", "none")
KEPT = ("in-place", "activations", "constants", "shapes", "weights", "identities", "layout")


@dataclass(frozen=True)
class Options:
    """Everything a user can choose; every field has a working default.

    Attributes
    ----------
    source : str or None
        Converter to use; None finds it by content.
    phase, stages, level, net
        Caffe's rules, and the net of a solver.
    input_shapes : mapping of str to (dtype, shape)
        Given shapes by input name; inputs given without a name stand under ``"0"``, ``"1"``, ...
    weights : Path or None
        A Caffe weight file.
    random_weights : int or None
        Seed of random numbers for weights that no file has; None leaves them without data.
    deploy : bool
        Leave out what only training needs: losses become what they compare, labels go.
    layout : {"nchw", "nhwc"} or None
        How the axes of the model's images are ordered, in and out; None leaves them as they are in the file.
    signature, tag : str or None
        Of a SavedModel: which of its functions, and which of its graphs.
    rankdir : {"TB", "BT", "LR", "RL"}
        Direction of the flow.
    depth : int, "all" or None
        How many levels of groups are open; None opens until about 60 boxes show.
    expand, collapse : tuple of str
        Globs over ids of groups to open and close, after `depth`.
    fold : bool
        Draw in-place layers and lone activations as rows of their producer's box, and neither constants nor what only
        computes shapes.
    fold_types : tuple of str
        Types that fold into their producer where they are its only consumer.
    keep : tuple of str
        What is drawn as boxes all the same, of `KEPT`.
    repeats : bool
        Draw a run of equal neighbours as one box.
    hubs : bool
        Draw a stub at each use of what is used far and wide, instead of wires.
    stubs, wires : tuple of str
        Globs over ids of boxes that are hubs whatever their number of users, and of those that never are.
    aspect : (float, float) or None
        Width and height that the picture should have as its ratio: long chains are wrapped towards it.
    group : {"auto", "scopes", "none"}
        Where groups come from.
    show : tuple of str
        What boxes and wires say, of `SHOWN`.
    overlay : mapping of str to float
        Values by id that colour the boxes.
    """

    source: str | None = None
    phase: str = "test"
    stages: tuple[str, ...] = ()
    level: int = 0
    net: Path | None = None
    input_shapes: Mapping[str, tuple[str | None, tuple[int | str | None, ...]]] = field(default_factory=dict)
    weights: Path | None = None
    random_weights: int | None = None
    deploy: bool = False
    layout: str | None = None
    signature: str | None = None
    tag: str | None = None
    rankdir: str = "TB"
    depth: int | str | None = None
    expand: tuple[str, ...] = ()
    collapse: tuple[str, ...] = ()
    fold: bool = True
    fold_types: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    repeats: bool = True
    hubs: bool = True
    stubs: tuple[str, ...] = ()
    wires: tuple[str, ...] = ()
    aspect: tuple[float, float] | None = None
    group: str = "auto"
    show: tuple[str, ...] = ("shapes", "attrs")
    theme: str = "default"
    themes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    title: str | None = None
    scale: float = 2.0
    background: str | None = None
    font: Path | None = None
    overlay: Mapping[str, float] = field(default_factory=dict)
    overlay_title: str = ""

    def __post_init__(self) -> None:
        for key in ("net", "weights", "font"):  # a path may be given as text
            if isinstance(getattr(self, key), str):
                object.__setattr__(self, key, Path(getattr(self, key)))
        _one_of("rankdir", self.rankdir, RANKDIRS)
        _one_of("group", self.group, GROUPS)
        _one_of("phase", self.phase, ("train", "test"))
        if self.layout is not None:
            _one_of("layout", self.layout, LAYOUTS)
        for name in self.show:
            _one_of("show", name, SHOWN)
        for name in self.keep:
            _one_of("keep", name, KEPT)
        if not (self.depth is None or self.depth == "all" or (isinstance(self.depth, int) and self.depth >= 0)):
            raise ConfigError(f"{self.depth!r} is no depth", key="depth", hint="a number from 0, or all")
        if not 0 < self.scale <= 100:
            raise ConfigError(f"{self.scale} is no scale", key="scale", hint="a number above 0, at most 100")
        if self.aspect is not None and not 0.01 <= self.aspect[0] / self.aspect[1] <= 100:
            raise ConfigError(f"{self.aspect} is no aspect ratio", key="aspect", hint="width:height, such as 16:9")


def _one_of(key: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{value!r} is not known", key=key, hint=f"one of {', '.join(allowed)}")


def options(**given: Any) -> Options:
    """Return Options from keyword arguments, naming unknown ones.

    Examples
    --------
    >>> options(rankdir="LR").rankdir
    'LR'
    >>> options(weights="net.caffemodel").weights.suffix
    '.caffemodel'
    """
    known = {item.name for item in fields(Options)}
    for key in given:
        if key not in known:
            raise ConfigError("no such option", key=key, hint=f"options are {', '.join(sorted(known))}")
    return Options(**given)


def load_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping that a YAML file of a user holds.

    Raises
    ------
    ConfigError
        When it holds none, is too large or cannot be read.
    """
    import yaml

    try:
        text = path.read_text("utf-8")
        if len(text) > 1_000_000 or text.count("*") > 10_000:
            raise ConfigError("the file is too large for a rules file", file=str(path))
        content = yaml.safe_load(text) or {}
    except OSError as fault:
        raise ConfigError(f"cannot be read: {fault.strerror}", file=str(path)) from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as fault:
        place = getattr(fault, "problem_mark", None)
        where = f":{place.line + 1}:{place.column + 1}" if place is not None else ""
        raise ConfigError(f"no valid YAML: {getattr(fault, 'problem', fault)}", file=f"{path}{where}") from None
    if not isinstance(content, dict):
        raise ConfigError("a mapping of options is expected", file=str(path))
    return content


def load_rules(path: Path, base: Options | None = None) -> Options:
    """Return the options of a ``graphviz_nets.yaml`` over `base`.

    The file may hold ``rankdir``, ``depth``, ``expand``, ``collapse``, ``group``, ``show``, ``theme``, ``title``,
    ``scale``, ``background``, ``aspect`` (``"16:9"``), ``fold`` (true, false, or a list of types that fold into their
    producer), ``keep``, ``repeats``, ``hubs`` (true, false, or a mapping of globs over ids to ``stub`` or ``wire``)
    and ``themes`` (name to a mapping of kind to colour, see :mod:`graphviz_nets.drawing.theme`).

    Raises
    ------
    ConfigError
        For a file that is no YAML mapping, an unknown key (naming it) or a bad value.
    """
    content = load_yaml(path)
    changes: dict[str, Any] = {}
    for key, value in content.items():
        if key not in _RULES:
            raise ConfigError("no such option", file=str(path), key=str(key), hint=f"one of {', '.join(_RULES)}")
        changes.update(_RULES[key](str(path), key, value))
    try:
        return replace(base or Options(), **changes)
    except ConfigError as fault:
        raise ConfigError(fault.message, file=str(path), key=fault.key, hint=fault.hint) from None


def _of(*types: type) -> Any:
    def check(file: str, key: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            names = " or ".join(kind.__name__ for kind in types)
            raise ConfigError(f"{value!r} is no {names}", file=file, key=key)
        return {key: value}

    return check


def _list(file: str, key: str, value: Any) -> dict[str, Any]:
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ConfigError("a list of names is expected", file=file, key=key)
    return {key: tuple(items)}


def _fold(file: str, key: str, value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"fold": value}
    return {"fold": True, "fold_types": _list(file, key, value)[key]}


def _hubs(file: str, key: str, value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"hubs": value}
    if not isinstance(value, dict) or not all(way in ("stub", "wire") for way in value.values()):
        raise ConfigError("true, false, or globs with stub or wire are expected", file=file, key=key)
    globs = {way: tuple(str(name) for name, chosen in value.items() if chosen == way) for way in ("stub", "wire")}
    return {"hubs": True, "stubs": globs["stub"], "wires": globs["wire"]}


def aspect_of(text: str) -> tuple[float, float]:
    """Read a ratio of width and height.

    Examples
    --------
    >>> aspect_of("16:9"), aspect_of("1.5")
    ((16.0, 9.0), (1.5, 1.0))
    """
    width, _, height = text.partition(":")
    try:
        found = float(width), float(height or 1)
    except ValueError:
        found = 0.0, 0.0
    if not (0 < found[0] < 1e6 and 0 < found[1] < 1e6):
        raise ConfigError(f"{text!r} is no aspect ratio", key="aspect", hint="width:height, such as 16:9")
    return found


def _aspect(file: str, key: str, value: Any) -> dict[str, Any]:
    # YAML 1.1 reads 16:9 without quotes as a number of base 60.
    if isinstance(value, bool) or not isinstance(value, (str, float)):
        raise ConfigError('a ratio in quotes is expected, such as "16:9"', file=file, key=key)
    return {key: aspect_of(str(value))}


_RULES: Mapping[str, Any] = {
    "aspect": _aspect,
    "hubs": _hubs,
    "keep": _list,
    "repeats": _of(bool),
    "rankdir": _of(str),
    "depth": _of(int, str),
    "expand": _list,
    "collapse": _list,
    "group": _of(str),
    "show": _list,
    "theme": _of(str),
    "themes": _of(dict),
    "title": _of(str),
    "scale": _of(int, float),
    "background": _of(str),
    "fold": _fold,
}
