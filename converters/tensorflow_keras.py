"""Keras files: the configuration as layers, the weights as tensors that are read when asked for.

Nothing of a file is executed: a Lambda, or a class of somebody's own, is drawn as a box with its weights.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from pathlib import Path
from types import MappingProxyType
from typing import Any

from graphviz_nets.errors import ConfigError, ConvertError, LimitError, ParseError
from graphviz_nets.graph import proto
from graphviz_nets.graph.builder import Builder
from graphviz_nets.graph.ir import ITEM_BITS, Model, Shape
from graphviz_nets.graph.scopes import Path as ScopePath
from graphviz_nets.graph.scopes import Scope, layer_paths
from graphviz_nets.graph.shapes import Impossible

from . import hdf5, tensorflow_layers
from .tensorflow_call import Blob, Call, layer
from .tensorflow_graph import BATCH

LONGEST = 64 << 20
"""Bytes of a configuration."""
RATIO = 200
"""Times that a zip's members may be larger than they are stored."""
MOST = 100_000
"""Arrays of a file."""
LAYERS = 10_000
"""Layers of a model."""
DEEPEST = 32
"""Models inside models."""
MODELS = frozenset({"Sequential", "Functional", "Model"})

Opened = Callable[[], AbstractContextManager[Any]]
Ref = tuple[str, int, int]
"""A result of a layer's call: the layer's name, the number of the call, the number of the result."""


@dataclass
class Store:
    """Where the weights of a model's layers are.

    `find` gives the arrays of a layer, and the store of what is inside it, by its name, its class and its place.
    """

    find: Callable[[str, str, int], Sequence[Blob]] = lambda name, type_, place: ()
    below: Callable[[str, str, int], Store] = lambda name, type_, place: Store()


def open_keras(path: Path, data: bytes | None, options: Any) -> Model:
    """Return the model of a ``.h5``, ``.hdf5`` or ``.keras`` file.

    Raises
    ------
    ParseError, ConvertError, LimitError
        When it holds no model, is broken, or takes its weights from elsewhere.
    MissingExtra
        Without h5py.
    """
    config, version, store = configuration(path, data)
    return to_model(config, path, options, store, version)


def configuration(path: Path, data: bytes | None) -> tuple[Any, int, Store]:
    """Return what a file says of its model, by which major version of Keras, and its weights."""
    content = data if data is not None else _start(path)
    try:
        return _zip(path, data) if content.startswith(b"PK") else _h5(path, data)
    except (OSError, zipfile.BadZipFile, RuntimeError, KeyError, ValueError, TypeError, NotImplementedError) as fault:
        raise ParseError(f"the file is broken: {str(fault)[:200]}", path=str(path)) from None


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(8)


def _json(text: str | bytes, path: Path, what: str) -> Any:
    if len(text) > LONGEST:
        raise LimitError(what, f"{LONGEST >> 20} MB")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as fault:
        raise ParseError(f"{what} is no JSON: {str(fault)[:100]}", path=str(path)) from None


def _major(version: object) -> int:
    text = str(version or "2").partition(".")[0]
    return int(text) if text.isdecimal() and len(text) < 4 else 2


# HDF5 of Keras 1 and 2 --------------------------------------------------------------------------------------------


def _h5(path: Path, data: bytes | None) -> tuple[Any, int, Store]:
    module = hdf5.h5py("tensorboard")

    def opened() -> AbstractContextManager[Any]:
        found: AbstractContextManager[Any] = module.File(path if data is None else io.BytesIO(data), "r")
        return found

    with opened() as file:
        text = file.attrs.get("model_config")
        if text is None:
            hint = "save the whole model, or give the model's own file"
            raise ConvertError("the HDF5 file holds no Keras model, only weights or nothing of Keras", path=str(path),
                               hint=hint)  # fmt: skip
        config = _json(text, path, "model_config")
        group = hdf5.inside(file, "model_weights", path)
        blobs: dict[str, list[Blob]] = {}
        for name in (*group,) if group is not None else ():
            own = hdf5.inside(group, name, path)
            blobs[name] = list(_named(opened, own, path)) if isinstance(own, module.Group) else []
        version = file.attrs.get("keras_version", "1" if text and group is None else "2")
    version = version.decode() if isinstance(version, bytes) else version
    return config, _major(version), _by_layer(blobs)


def _named(opened: Opened, group: Any, path: Path) -> Iterator[Blob]:
    """Yield a layer's arrays in the order that its attribute ``weight_names`` gives."""
    names = list(group.attrs.get("weight_names", ()))
    for k in range(1000):  # a long list is cut into numbered ones
        if f"weight_names{k}" not in group.attrs:
            break
        names += list(group.attrs[f"weight_names{k}"])
    for raw in names[:MOST]:
        name = raw.decode(errors="replace") if isinstance(raw, bytes) else str(raw)
        here = group
        for part in filter(None, name.split("/")):
            here = hdf5.inside(here, part, path) if here is not None and hasattr(here, "keys") else None
        if here is None or hasattr(here, "keys"):
            raise ConvertError(f"the HDF5 file has no array {name!r}, which it lists", path=str(path))
        yield Blob(name, *hdf5.array(opened, here, path))


def _by_layer(blobs: Mapping[str, Sequence[Blob]]) -> Store:
    """Return the store of an HDF5 file: a model inside has one list, in which arrays are called after their layers."""

    def below(name: str, type_: str, place: int) -> Store:
        inner: dict[str, list[Blob]] = {}
        for blob in blobs.get(name, ()):
            parts = blob.name.split("/")
            for part in parts[:-1]:
                inner.setdefault(part, []).append(blob)
        return _by_layer(inner)

    def find(name: str, type_: str, place: int) -> Sequence[Blob]:
        return blobs.get(name, ()) if type_ else [blob for own in blobs.values() for blob in own]

    return Store(find, below)


# .keras -----------------------------------------------------------------------------------------------------------


def _zip(path: Path, data: bytes | None) -> tuple[Any, int, Store]:
    module = hdf5.h5py("tensorboard")
    whole = proto.load(str(path)) if data is None else data
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        names = [item.filename for item in archive.infolist()]
        if len(names) != len(set(names)) or len(names) > MOST:
            raise ParseError("the archive has members of one name, or too many", path=str(path))
        config = _json(_member(archive, "config.json", LONGEST, path), path, "config.json")
        about = _json(_member(archive, "metadata.json", LONGEST, path), path, "metadata.json")
        weights = b""
        if "model.weights.h5" in names:
            weights = _member(archive, "model.weights.h5", proto.LARGEST, path)

    def opened() -> AbstractContextManager[Any]:
        found: AbstractContextManager[Any] = module.File(io.BytesIO(weights), "r")
        return found

    version = _major(about.get("keras_version", "3") if isinstance(about, dict) else "3")
    if not weights:
        return config, version, Store()
    blobs: dict[str, Blob] = {}
    with opened() as file:
        waiting = [("", file)]
        while waiting:
            above, group = waiting.pop()
            for key in group:
                item = hdf5.inside(group, key, path)
                name = f"{above}/{key}" if above else key
                if isinstance(item, module.Group):
                    if name != "optimizer" and name.count("/") < 2 * DEEPEST:
                        waiting.append((name, item))
                elif item is not None and hdf5.numeric(item):
                    blobs[name] = Blob(name, *hdf5.array(opened, item, path))
                if len(blobs) + len(waiting) > MOST:
                    raise LimitError("arrays in the file", MOST)
    return config, version, _by_place(blobs, "")


def _member(archive: zipfile.ZipFile, name: str, limit: int, path: Path) -> bytes:
    """Return a member of a zip, read to a bound: what its header says of its size may be a lie."""
    try:
        about = archive.getinfo(name)
    except KeyError:
        raise ParseError(f"the archive has no {name}, so it is no Keras model", path=str(path)) from None
    if about.flag_bits & 1:
        raise ParseError(f"{name} is encrypted", path=str(path))
    most = min(limit, RATIO * about.compress_size + (1 << 16))
    with archive.open(about) as file:
        found = file.read(most + 1)
    if len(found) > most:
        raise LimitError(f"{name}, unpacked,", f"{most} bytes")
    return found


def _by_place(blobs: Mapping[str, Blob], prefix: str) -> Store:
    """Return the store of a ``.keras`` file, where layers are called after their class and their place in the model."""

    def home(type_: str, place: int) -> str:
        name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", type_))
        name = re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
        return f"{prefix}layers/{name}" + (f"_{place}" if place else "") + "/"

    def find(name: str, type_: str, place: int) -> Sequence[Blob]:
        own = home(type_, place) if type_ else prefix
        found = [key for key in blobs if key.startswith(own) and "seed_generator/" not in key]

        def key(text: str) -> tuple[object, ...]:
            return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in text.split("/"))

        return [blobs[name] for name in sorted(found, key=key)]

    return Store(find, lambda name, type_, place: _by_place(blobs, home(type_, place)))


# From the configuration to nodes ----------------------------------------------------------------------------------


@dataclass
class Plan:
    """A model while it is translated."""

    op: Builder
    path: Path
    keras: int
    given: Mapping[str, tuple[str | None, Shape]]
    scopes: list[Scope] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    shared: dict[int, dict[str, str]] = field(default_factory=dict)  # weights, by the layer's settings

    def problem(self, text: str) -> None:
        """Note what the drawing shows and a run would miss."""
        self.problems.append(f"{self.path.name}: {text}")


def to_model(config: Any, path: Path, options: Any, store: Store, keras: int = 3) -> Model:
    """Return the model that a configuration describes, each layer a scope.

    Parameters
    ----------
    config : mapping
        ``class_name`` and ``config``, as Keras writes them.
    path : Path
        Its file.
    options : Options
        `input_shapes` matter.
    store : Store
        Its weights.
    keras : int
        Keras's major version.

    Examples
    --------
    >>> dense = {"class_name": "Dense", "config": {"name": "d", "units": 3, "activation": "relu"}}
    >>> inside = {"name": "net", "layers": [{"class_name": "InputLayer", "config": {"batch_shape": [None, 4]}}, dense]}
    >>> model = to_model({"class_name": "Sequential", "config": inside}, Path("n.keras"), None, Store())
    >>> [node.op_type for node in model.graph.nodes], model.graph.value("d").shape
    (['Gemm', 'Relu'], ('batch', 3))
    """
    if not isinstance(config, Mapping) or not isinstance(config.get("config"), (Mapping, list)):
        raise ParseError("the configuration is no Keras model", path=str(path))
    inner = config["config"]
    name = str(inner.get("name", path.stem)) if isinstance(inner, Mapping) else path.stem
    given = getattr(options, "input_shapes", None) or {}
    plan = Plan(Builder(name), path, keras, given)
    if str(config.get("class_name")) in MODELS:
        outputs = _model(plan, config, (), None, store, 0)
    else:
        build = config.get("build_config")
        shape = _shape_of({"batch_shape": build.get("input_shape")} if isinstance(build, Mapping) else {})
        x = _input(plan, "input", shape, "float32")
        settings = inner if isinstance(inner, Mapping) else {}
        call = Call(plan.op, name, str(config.get("class_name")), settings, (x,), store.find(name, "", 0), str(path))
        outputs = _foreign(plan, call)
        plan.problem(f"the class {config.get('class_name')} is the author's own; only its weights are known")
    inputs = plan.op.inputs
    for key in given:
        if key not in inputs and not (key.isdecimal() and int(key) < len(inputs)):
            hint = f"its inputs: {', '.join(inputs) or 'none'}"
            raise ConfigError(f"the model has no input {key!r}", key="--input-shape", hint=hint)
    plan.op.scope = ()
    named = [text if text.startswith(plan.path.name) else f"{plan.path.name}: {text}" for text in plan.op.problems]
    return plan.op.model(
        list(dict.fromkeys(outputs)), plan.scopes, framework="tensorflow",
        problems=tuple(dict.fromkeys((*plan.problems, *named))),
    )  # fmt: skip


def _items(config: Mapping[str, Any], path: Path) -> list[Mapping[str, Any]]:
    inner = config.get("config")
    found = inner.get("layers") if isinstance(inner, Mapping) else inner
    if not isinstance(found, list):
        raise ParseError("the configuration lists no layers", path=str(path))
    if len(found) > LAYERS:
        raise LimitError("layers of a model", LAYERS)
    if not all(isinstance(item, Mapping) and isinstance(item.get("config"), (Mapping, list)) for item in found):
        raise ParseError("a layer of the configuration has no settings", path=str(path))
    return found


def _name(item: Mapping[str, Any], k: int) -> str:
    inner = item["config"]
    own = inner.get("name") if isinstance(inner, Mapping) else None
    return str(item.get("name") or own or f"{str(item.get('class_name', 'layer')).lower()}_{k}")


@dataclass(frozen=True)
class Entry:
    """A layer as a configuration lists it: its settings, its scope, and where its weights are.

    `home` is its number among the layers of its class, by which a .keras file calls it.
    """

    item: Mapping[str, Any]
    name: str
    place: ScopePath
    store: Store
    home: int

    @property
    def type(self) -> str:
        """Its class."""
        return str(self.item.get("class_name", ""))

    @property
    def calls(self) -> list[Any]:
        """What it is called with, a call at a time."""
        found = self.item.get("inbound_nodes")
        return found if isinstance(found, list) else []


def _entries(plan: Plan, config: Mapping[str, Any], above: ScopePath, store: Store) -> list[Entry]:
    items = _items(config, plan.path)
    names = [_name(item, k) for k, item in enumerate(items)]
    counts: dict[str, int] = {}
    found = []
    for item, name, own in zip(items, names, layer_paths(names), strict=True):
        type_ = str(item.get("class_name", ""))
        found.append(Entry(item, name, (*above, *own), store, counts.get(type_, 0)))
        counts[type_] = found[-1].home + 1
    return found


def _model(
    plan: Plan, config: Mapping[str, Any], above: ScopePath, inputs: tuple[str, ...] | None, store: Store, depth: int
) -> tuple[str, ...]:
    """Append the layers of a model below a scope; return its outputs. Without inputs it makes its own."""
    if depth > DEEPEST:
        raise LimitError("models inside models", DEEPEST)
    entries = _entries(plan, config, above, store)
    if str(config.get("class_name")) == "Sequential":
        return _chain(plan, config, entries, inputs, depth)
    return _wired(plan, config["config"], entries, inputs, depth)


def _chain(
    plan: Plan, config: Mapping[str, Any], entries: Sequence[Entry], inputs: tuple[str, ...] | None, depth: int
) -> tuple[str, ...]:
    """Append layers one after the other."""
    for entry in entries:
        if entry.type == "InputLayer" and inputs is not None:
            continue
        if entry.type != "InputLayer" and inputs is None:
            settings = entry.item["config"]
            shape = _shape_of(settings) or _built(config)
            inputs = (_input(plan, f"{entry.name}_input", shape, _dtype(settings)),)
        inputs = _one(plan, entry, inputs or (), 0, depth)
    return inputs or ()


def _wired(
    plan: Plan, config: Mapping[str, Any], entries: Sequence[Entry], inputs: tuple[str, ...] | None, depth: int
) -> tuple[str, ...]:
    """Append layers as their calls name each other's results."""
    # A model is called once when it is made: Keras 2 counts that, Keras 3 counts it among the model's results only.
    models = {
        entry.name for entry in entries if entry.type in MODELS and (plan.keras < 3 or entry.type != "Sequential")
    }
    first = dict.fromkeys(models if plan.keras < 3 else (), 1)
    heads = {name: k for k, (name, _, _) in enumerate(_ends(config.get("input_layers")))}
    if inputs is None:  # a model makes its inputs in its own order
        entries = sorted(entries, key=lambda entry: heads.get(entry.name, len(heads)))
    made = {(name, 0, 0): value for name, value in zip(heads, inputs or (), strict=False)}
    calls: list[tuple[Entry, int, list[Ref]]] = []
    for entry in entries:
        if not entry.calls and entry.type != "InputLayer":
            plan.problem(f"layer {entry.name!r} is called nowhere")
        if (entry.name, 0, 0) not in made:
            calls += [(entry, number, list(_refs(call))) for number, call in enumerate(entry.calls or [[]])]
    missing = [set(refs) - made.keys() for _, _, refs in calls]
    readers: dict[Ref, list[int]] = {}
    for k, lacking in enumerate(missing):
        for ref in lacking:
            readers.setdefault(ref, []).append(k)
    ready = [k for k, lacking in enumerate(missing) if not lacking]  # a heap: calls come in the order of the file
    while ready:
        entry, number, refs = calls[heappop(ready)]
        results = _one(plan, entry, tuple(made[ref] for ref in refs), number, depth, _given(entry, number))
        for place, value in enumerate(results):
            ref = entry.name, number + first.get(entry.name, 0), place
            made[ref] = value
            for k in readers.pop(ref, ()):
                missing[k].discard(ref)
                if not missing[k]:
                    heappush(ready, k)
    lost = [entry.name for (entry, _, _), lacking in zip(calls, missing, strict=True) if lacking]
    if lost:
        plan.problem(f"layers {', '.join(lost[:3])} read what no layer makes; they are left out")
    shift = dict.fromkeys(models if plan.keras >= 3 else (), 1)
    ends = ((name, number - shift.get(name, 0), k) for name, number, k in _ends(config.get("output_layers")))
    found = [made[ref] for ref in ends if ref in made]
    return tuple(found or list(made.values())[-1:])


def _given(entry: Entry, number: int) -> dict[str, Any]:
    """Return what a layer's call gives by name: Keras 3 writes it beside the inputs, Keras 2 behind the first one."""
    call = entry.calls[number] if number < len(entry.calls) else None
    if isinstance(call, list) and call and isinstance(call[0], list) and len(call[0]) > 3:
        call = {"kwargs": call[0][3]}
    found = call.get("kwargs") if isinstance(call, Mapping) else None
    return {key: value for key, value in found.items() if value is not None} if isinstance(found, Mapping) else {}


def _refs(call: Any) -> Iterator[Ref]:
    """Yield the results that a call is given, as Keras 2 lists them and as Keras 3 nests them."""
    waiting = [call]
    while waiting:
        here = waiting.pop()
        if isinstance(here, Mapping):
            history = here.get("config", {}).get("keras_history") if isinstance(here.get("config"), Mapping) else None
            if here.get("class_name") != "__keras_tensor__" or history is None:
                waiting += reversed(list(here.values()))
                continue
            here = history
        if isinstance(here, list):
            ref = _ref(here)
            if ref is None:
                waiting += reversed(here)
            else:
                yield ref
                waiting += [part for part in here[3:] if isinstance(part, Mapping)]


def _ref(given: list[Any]) -> Ref | None:
    if 3 <= len(given) <= 4 and isinstance(given[0], str) and all(type(part) is int for part in given[1:3]):
        return given[0], given[1], given[2]
    return None


def _ends(given: Any) -> list[Ref]:
    return list(_refs(given)) if given is not None else []


def _shape_of(config: Any) -> Shape | None:
    """Return the input shape that a layer's settings state, with a name for the batch."""
    if not isinstance(config, Mapping):
        return None
    shape = next((config[key] for key in ("batch_shape", "batch_input_shape") if config.get(key)), None)
    if shape is None and config.get("input_shape"):
        shape = [None, *config["input_shape"]]
    if not isinstance(shape, list) or not all(dim is None or isinstance(dim, int) for dim in shape):
        return None
    dims = [dim if dim is None or 0 <= dim < 1 << 40 else None for dim in shape]
    return (BATCH if dims[0] is None else dims[0], *dims[1:]) if dims else ()


def _built(config: Mapping[str, Any]) -> Shape | None:
    inner = config.get("config")
    build = (config.get("build_config"), inner if isinstance(inner, Mapping) else {})
    for item in build:
        if isinstance(item, Mapping):
            for key in ("input_shape", "build_input_shape"):
                found = _shape_of({"batch_shape": item.get(key)})
                if found is not None:
                    return found
    return None


def _dtype(config: Any) -> str:
    found = config.get("dtype") if isinstance(config, Mapping) else None
    if isinstance(found, Mapping):
        inner = found.get("config")
        found = inner.get("name") if isinstance(inner, Mapping) else None
    return found if isinstance(found, str) and found in ITEM_BITS and found != "float16" else "float32"


def _input(plan: Plan, name: str, shape: Shape | None, dtype: str) -> str:
    kind, dims = plan.given.get(name) or plan.given.get(str(len(plan.op.inputs))) or (None, None)
    return plan.op.input(name, kind or dtype, dims if dims is not None else shape)


def _one(
    plan: Plan, entry: Entry, inputs: tuple[str, ...], number: int, depth: int,
    given: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[str, ...]:  # fmt: skip
    """Append one call of a layer; return its results."""
    op, name, type_, place, config = plan.op, entry.name, entry.type, entry.place, entry.item["config"]
    if number:  # a layer that is called again has a box a call
        place = (*place[:-1], f"{place[-1]}#{number + 1}")
    if type_ in MODELS:
        plan.scopes.append(Scope(place, "module", name, type_))
        return _model(plan, entry.item, place, inputs, entry.store.below(name, type_, entry.home), depth + 1)
    if type_ == "InputLayer":
        value = _input(plan, name, _shape_of(config), _dtype(config))
        plan.scopes.append(Scope(place, "layer", name, type_, _settings(config), (), (value,), file=plan.path.name))
        return (value,)
    op.scope = place
    if len(inputs) == 1 and op.shape(inputs[0]) is None:  # behind a layer that is not known
        op.values[inputs[0]] = replace(op.values[inputs[0]], shape=_built(entry.item))
    call = Call(op, name, type_, config if isinstance(config, Mapping) else {}, inputs,
                entry.store.find(name, type_, entry.home), str(plan.path), plan.keras,
                shared=plan.shared.setdefault(id(entry.item), {}), given=given)  # fmt: skip
    first = len(op.nodes)
    results = _translated(plan, call, first)
    named = []
    for k, value in enumerate(results):
        if value in op.inputs or value in inputs or value in op.initializers or value in named:
            value = op.Identity(value)
        wanted = "/".join(place) + (f":{k}" if k else "")
        named.append(op.rename(value, op.fresh(wanted), first))
    plan.scopes.append(
        Scope(place, "layer", name, type_, _settings(config), inputs, tuple(named), tuple(call.weights), plan.path.name)
    )
    op.scope = ()
    return tuple(named)


def _translated(plan: Plan, call: Call, first: int) -> tuple[str, ...]:
    rule = layer.find("", call.type)
    before = len(plan.op.problems)
    if rule is None:
        plan.problem(f"layer {call.name!r}: {call.type} has no ONNX form here; it is drawn and cannot run")
        return _foreign(plan, call)
    try:
        found = rule(plan.op, call)
    except (Impossible, LookupError, ArithmeticError, TypeError, AttributeError, ValueError) as fault:
        # A file may give a setting as another type, or leave it out.
        why = str(fault) if isinstance(fault, Impossible) else "its settings do not suit it"
        del plan.op.nodes[first:], plan.op.problems[before:]
        call.weights.clear()
        call.taken = 0
        plan.problem(f"layer {call.name!r} ({call.type}): {why}")
        return _foreign(plan, call)
    return (found,) if isinstance(found, str) else tuple(found)


def _foreign(plan: Plan, call: Call) -> tuple[str, ...]:
    """Append a node of the domain ``keras`` with the layer's simple settings and its weights as inputs."""
    simple = {
        key: value for key, value in sorted(call.config.items())
        if isinstance(value, (int, float, str)) and key != "name" and len(str(value)) < 1024
        and (not isinstance(value, int) or abs(value) < 1 << 63)
    }  # fmt: skip
    for k, blob in enumerate(call.blobs):
        call.weight(blob.name.rpartition("/")[2].partition(":")[0] or f"weight_{k}", blob.shape)
    type_ = re.sub(r"\W+", "_", call.type.rpartition(">")[2]) or "Layer"
    return plan.op.node(type_, (*call.inputs, *call.weights), 1, domain="keras", attributes=simple)


_DULL = frozenset({"name", "trainable", "dtype", "batch_input_shape", "batch_shape", "sparse", "ragged", "seed",
                   "noise_shape", "renorm", "data_format"})  # fmt: skip


def _settings(config: Any) -> dict[str, Any]:
    """Return what is worth showing of a layer's settings: no initializers, regularizers and what is off."""
    if not isinstance(config, Mapping):
        return {}
    found: dict[str, Any] = {}
    for key, value in config.items():
        if key in _DULL or key.endswith(("_initializer", "_regularizer", "_constraint")) or value in (None, False, []):
            continue
        if key.endswith("activation"):
            name = tensorflow_layers.activation_name(value)
            if name != "linear":
                found[key] = name
        elif isinstance(value, (int, float, str, bool, list)) and len(str(value)) < 200:
            found[key] = value
    return found
