"""Caffe's net-level rules: V0 and V1 files upgraded to V2, layers filtered by phase, stage and level, solvers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from graphviz_nets.errors import ConvertError, LimitError, ParseError

from .prototxt import Enum, Field, Message, decode, parse

LARGEST = 256 << 20
"""Bytes of a text file that are read."""


@dataclass(frozen=True)
class Layer:
    """A layer in V2 form; `message` keeps every field of the source."""

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    message: Message
    line: int

    def own_param(self, name: str) -> Message:
        """Return the layer's own message, such as ``convolution_param``; empty where it is absent."""
        return self.message.message(name)


@dataclass(frozen=True)
class Net:
    """A net after upgrade and filter.

    Attributes
    ----------
    inputs : tuple of (blob, shape or None)
        Net-level ``input:`` fields.
    version : {"V0", "V1", "V2"}
        Which syntax the file is written in.
    problems : tuple of (line, text)
        What is odd, but can be drawn.
    """

    name: str
    inputs: tuple[tuple[str, tuple[int, ...] | None], ...]
    layers: tuple[Layer, ...]
    version: str
    problems: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True)
class State:
    """What a net is built for: Caffe's NetState."""

    phase: str = "TEST"
    stages: frozenset[str] = field(default_factory=frozenset)
    level: int = 0


def read_text(path: Path) -> Message:
    """Read and parse a prototxt file, at most `LARGEST` bytes of it."""
    try:
        if path.stat().st_size > LARGEST:
            raise LimitError(str(path), f"{LARGEST >> 20} MB")
        data = path.read_bytes()
    except OSError as fault:
        raise ConvertError(f"cannot be read: {fault.strerror}", path=str(path)) from None
    return parse(decode(data, str(path)), str(path))


def is_net(message: Message) -> bool:
    """Say whether a message holds layers or inputs.

    Examples
    --------
    >>> is_net(parse('layer { name: "a" }')), is_net(parse("base_lr: 0.1"))
    (True, False)
    """
    return any(name in message for name in ("layer", "layers", "input"))


_SOLVER = frozenset(
    "net train_net test_net net_param train_net_param test_net_param base_lr max_iter lr_policy test_iter "
    "solver_mode snapshot_prefix solver_type".split()
)


def is_solver(message: Message) -> bool:
    """Say whether a message is a solver's."""
    return not is_net(message) and any(item.name in _SOLVER for item in message)


def solver_net(message: Message, path: Path, phase: str, override: Path | None = None) -> tuple[Message, Path]:
    """Return the net that a solver names for a phase, and the file it stands in.

    Parameters
    ----------
    message : Message
        The solver.
    path : Path
        The solver's file.
    phase : {"TRAIN", "TEST"}
        Which of its nets.
    override : Path, optional
        A file to take in place of the one it names.

    Raises
    ------
    ConvertError
        When the net's file is not there, naming every place that was tried.
    """
    if override is not None:
        return read_text(override), override
    order = ("train_net", "net", "test_net") if phase == "TRAIN" else ("test_net", "net", "train_net")
    for key in order:
        inline = message.get(f"{key}_param")
        if isinstance(inline, Message):
            return inline, path
    named = next((str(message.get(key)) for key in order if key in message), None)
    if named is None:
        raise ConvertError("the solver names no net", path=str(path), hint="give it with --net FILE")
    tried = list(dict.fromkeys([Path(named), path.parent / named, path.parent / Path(named).name]))
    for place in tried:
        if place.is_file():
            return read_text(place), place
    places = ", ".join(str(place) for place in tried)
    raise ConvertError(f"the solver's net {named!r} is not there; tried {places}", path=str(path), hint="--net FILE")


def read_net(message: Message, path: str = "", state: State | None = None) -> Net:
    """Return a net with its layers in V2 form, for one state.

    Parameters
    ----------
    message : Message
        A NetParameter.
    path : str
        Its file, for errors.
    state : State, optional
        Phase, stages and level; ``TEST`` by default.

    Raises
    ------
    ParseError
        When there are no layers, or a layer has both ``include`` and ``exclude``.

    Examples
    --------
    >>> net = read_net(parse('layers { name: "ip" type: INNER_PRODUCT bottom: "x" top: "y" }'))
    >>> net.version, net.layers[0].type
    ('V1', 'InnerProduct')
    """
    problems: list[tuple[int, str]] = []
    entries = [item for item in message if item.name in ("layer", "layers") and isinstance(item.value, Message)]
    if not entries and "input" not in message:
        raise ParseError("the file holds no layers", path=path, line=1, hint="a net has layer { ... } entries")
    old = [item.value for item in entries if item.name == "layers"]
    version = "V0" if any("layer" in item for item in old) else "V1" if old else "V2"
    found = [item.value if item.name == "layer" else _upgraded(item.value, version, path, problems) for item in entries]
    found = _without_padding(found, problems) if version == "V0" else found
    state, own = state or State(), message.message("state")
    level = own.get("level", 0)
    state = State(
        state.phase,
        state.stages | {str(stage) for stage in own.all("stage")},
        state.level or (level if isinstance(level, int) else 0),
    )
    layers = [_layer(_transform_fields(item)) for item in found if _kept(item, state, path)]
    if not layers and found:
        problems.append((1, f"no layer is left for phase {state.phase}"))
    first: dict[str, int] = {}
    for layer in layers:
        if layer.name in first:
            problems.append(
                (layer.line, f"a second layer is called {layer.name!r}; the first stands in line {first[layer.name]}")
            )
        first.setdefault(layer.name, layer.line)
    return Net(str(message.get("name", "")), _inputs(message, problems), tuple(layers), version, tuple(problems))


def _upgraded(message: Message, version: str, path: str, problems: list[tuple[int, str]]) -> Message:
    return _from_v0(message, path, problems) if version == "V0" else _from_v1(message, problems)


def _layer(message: Message) -> Layer:
    name = str(message.get("name", ""))
    type_ = str(message.get("type", ""))
    bottoms = tuple(str(value) for value in message.all("bottom"))
    tops = tuple(str(value) for value in message.all("top"))
    return Layer(name or (tops[0] if tops else type_), type_, bottoms, tops, message, message.line)


def _inputs(message: Message, problems: list[tuple[int, str]]) -> tuple[tuple[str, tuple[int, ...] | None], ...]:
    """Return net-level inputs: one ``input_shape`` each, or four ``input_dim`` each (Caffe's UpgradeNetInput)."""
    names = [str(name) for name in message.all("input")]
    shapes: list[tuple[int, ...]] = [dims(item) for item in message.all("input_shape") if isinstance(item, Message)]
    sizes = [value for value in message.all("input_dim") if isinstance(value, int)]
    if not shapes and sizes:
        if len(sizes) != 4 * len(names):
            line = next(item.line for item in message if item.name == "input_dim")
            problems.append((line, f"input_dim stands {len(sizes)} times, not 4 for each of {len(names)} inputs"))
        size = 4 if len(names) > 1 else min(4, len(sizes))
        shapes = [tuple(sizes[k : k + size]) for k in range(0, len(sizes) - size + 1, size)]
    return tuple((name, shapes[k] if k < len(shapes) else None) for k, name in enumerate(names))


def dims(shape: Message) -> tuple[int, ...]:
    """Return the dimensions of a BlobShape."""
    return tuple(value for value in shape.all("dim") if isinstance(value, int) and not isinstance(value, bool))


# Phase, stage and level -------------------------------------------------------------------------------------------


def _kept(message: Message, state: State, path: str) -> bool:
    """Caffe's FilterNet: any matching ``include`` keeps a layer, any matching ``exclude`` drops it."""
    include = [rule for rule in message.all("include") if isinstance(rule, Message)]
    exclude = [rule for rule in message.all("exclude") if isinstance(rule, Message)]
    if include and exclude:
        raise ParseError(
            f"layer {message.get('name', '')!r} has both include and exclude rules", path=path, line=exclude[0].line,
            hint="Caffe allows one kind only",
        )  # fmt: skip
    if include:
        return any(_meets(rule, state) for rule in include)
    return not any(_meets(rule, state) for rule in exclude)


def _meets(rule: Message, state: State) -> bool:
    phase = rule.get("phase")
    if phase is not None and {0: "TRAIN", 1: "TEST"}.get(phase, str(phase)) != state.phase:
        return False
    low, high = rule.get("min_level"), rule.get("max_level")
    if (isinstance(low, int) and state.level < low) or (isinstance(high, int) and state.level > high):
        return False
    wanted = {str(stage) for stage in rule.all("stage")}
    barred = {str(stage) for stage in rule.all("not_stage")}
    return wanted <= state.stages and not barred & state.stages


# Upgrades ---------------------------------------------------------------------------------------------------------

V1_TYPES: Mapping[str, str] = {
    "NONE": "", "ABSVAL": "AbsVal", "ACCURACY": "Accuracy", "ARGMAX": "ArgMax", "BNLL": "BNLL", "CONCAT": "Concat",
    "CONTRASTIVE_LOSS": "ContrastiveLoss", "CONVOLUTION": "Convolution", "CROP": "Crop", "DATA": "Data",
    "DECONVOLUTION": "Deconvolution", "DROPOUT": "Dropout", "DUMMY_DATA": "DummyData", "ELTWISE": "Eltwise",
    "EUCLIDEAN_LOSS": "EuclideanLoss", "EXP": "Exp", "FLATTEN": "Flatten", "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output", "HINGE_LOSS": "HingeLoss", "IM2COL": "Im2col", "IMAGE_DATA": "ImageData",
    "INFOGAIN_LOSS": "InfogainLoss", "INNER_PRODUCT": "InnerProduct", "LRN": "LRN", "MEMORY_DATA": "MemoryData",
    "MULTINOMIAL_LOGISTIC_LOSS": "MultinomialLogisticLoss", "MVN": "MVN", "POOLING": "Pooling", "POWER": "Power",
    "RELU": "ReLU", "SIGMOID": "Sigmoid", "SIGMOID_CROSS_ENTROPY_LOSS": "SigmoidCrossEntropyLoss",
    "SILENCE": "Silence", "SLICE": "Slice", "SOFTMAX": "Softmax", "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "SPLIT": "Split", "TANH": "TanH", "THRESHOLD": "Threshold", "WINDOW_DATA": "WindowData",
    "RESHAPE": "Reshape", "PRELU": "PReLU", "BATCH_NORM": "BatchNorm", "BN": "BN", "SCALE": "Scale", "TILE": "Tile",
    "UPSAMPLE": "Upsample", "ROI_POOLING": "ROIPooling",
}  # fmt: skip
"""V1's enum names (and a few that forks added) with their V2 types."""

# V1's enum numbers, where a file writes them: caffe.proto, V1LayerParameter.LayerType.
V1_NUMBERS: Mapping[int, str] = {
    0: "NONE", 35: "ABSVAL", 1: "ACCURACY", 30: "ARGMAX", 2: "BNLL", 3: "CONCAT", 37: "CONTRASTIVE_LOSS",
    4: "CONVOLUTION", 5: "DATA", 39: "DECONVOLUTION", 6: "DROPOUT", 32: "DUMMY_DATA", 7: "EUCLIDEAN_LOSS",
    25: "ELTWISE", 38: "EXP", 8: "FLATTEN", 9: "HDF5_DATA", 10: "HDF5_OUTPUT", 28: "HINGE_LOSS", 11: "IM2COL",
    12: "IMAGE_DATA", 13: "INFOGAIN_LOSS", 14: "INNER_PRODUCT", 15: "LRN", 29: "MEMORY_DATA",
    16: "MULTINOMIAL_LOGISTIC_LOSS", 34: "MVN", 17: "POOLING", 26: "POWER", 18: "RELU", 19: "SIGMOID",
    27: "SIGMOID_CROSS_ENTROPY_LOSS", 36: "SILENCE", 20: "SOFTMAX", 21: "SOFTMAX_LOSS", 22: "SPLIT", 33: "SLICE",
    23: "TANH", 24: "WINDOW_DATA", 31: "THRESHOLD",
}  # fmt: skip


def _from_v1(message: Message, problems: list[tuple[int, str]]) -> Message:
    """Return a V1 layer in V2 form."""
    fields: list[Field] = []
    for item in message:
        if item.name == "type":
            fields.append(Field("type", _v1_type(item, problems), item.line, item.column))
        elif isinstance(item.value, Message) or item.name not in _BLOBS:
            fields.append(item)
    return Message((*fields, *_params(message)), message.line, message.column)


def _v1_type(item: Field, problems: list[tuple[int, str]]) -> str:
    named = V1_NUMBERS.get(item.value, str(item.value)) if isinstance(item.value, int) else str(item.value)
    known = V1_TYPES.get(named)
    if known is not None or (isinstance(item.value, str) and not isinstance(item.value, Enum)):
        return named if known is None else known
    problems.append((item.line, f"type {named} is not one of Caffe's V1 types; taken as {_camel(named)!r}"))
    return _camel(named)


# What old layers say of their blobs, and the field of V2's ``param`` that says it.
_BLOBS: Mapping[str, str] = {
    "param": "name", "blob_share_mode": "share_mode", "blobs_lr": "lr_mult", "weight_decay": "decay_mult",
}  # fmt: skip


def _params(message: Message) -> list[Field]:
    """Return a ``param { ... }`` for every blob of an old layer, each part with its line."""
    parts: dict[str, list[Field]] = {}
    for item in message:
        if item.name in _BLOBS and not isinstance(item.value, Message):
            parts.setdefault(_BLOBS[item.name], []).append(item)
    result: list[Field] = []
    for k in range(max(map(len, parts.values()), default=0)):
        inner = [Field(key, items[k].value, items[k].line, items[k].column)
                 for key in _BLOBS.values() if k < len(items := parts.get(key, []))]  # fmt: skip
        result.append(_submessage("param", inner))
    return result


def _submessage(name: str, fields: Sequence[Field]) -> Field:
    """Return a field that holds fields gathered from elsewhere; it stands where the first of them does."""
    line, column = fields[0].line, fields[0].column
    return Field(name, Message(tuple(fields), line, column), line, column)


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


V0_TYPES: Mapping[str, str] = {
    "accuracy": "Accuracy", "bnll": "BNLL", "concat": "Concat", "conv": "Convolution", "data": "Data",
    "dropout": "Dropout", "euclidean_loss": "EuclideanLoss", "flatten": "Flatten", "hdf5_data": "HDF5Data",
    "hdf5_output": "HDF5Output", "hinge_loss": "HingeLoss", "im2col": "Im2col", "images": "ImageData",
    "infogain_loss": "InfogainLoss", "innerproduct": "InnerProduct", "lrn": "LRN",
    "multinomial_logistic_loss": "MultinomialLogisticLoss", "pool": "Pooling", "power": "Power", "relu": "ReLU",
    "sigmoid": "Sigmoid", "softmax": "Softmax", "softmax_loss": "SoftmaxWithLoss", "split": "Split", "tanh": "TanH",
    "window_data": "WindowData", "padding": "padding", "eltwise": "Eltwise", "argmax": "ArgMax",
}  # fmt: skip

_CONV, _POOL, _IP = "convolution_param", "pooling_param", "inner_product_param"
# V0 field: {layer type or "" for any: (V2 message, V2 field)}.
_V0_FIELDS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "num_output": {"conv": (_CONV, "num_output"), "innerproduct": (_IP, "num_output")},
    "biasterm": {"conv": (_CONV, "bias_term"), "innerproduct": (_IP, "bias_term")},
    "weight_filler": {"conv": (_CONV, "weight_filler"), "innerproduct": (_IP, "weight_filler")},
    "bias_filler": {"conv": (_CONV, "bias_filler"), "innerproduct": (_IP, "bias_filler")},
    "pad": {"conv": (_CONV, "pad"), "pool": (_POOL, "pad"), "im2col": (_CONV, "pad")},
    "kernelsize": {
        "conv": (_CONV, "kernel_size"), "pool": (_POOL, "kernel_size"), "im2col": (_CONV, "kernel_size"),
    },
    "group": {"conv": (_CONV, "group")},
    "stride": {"conv": (_CONV, "stride"), "pool": (_POOL, "stride"), "im2col": (_CONV, "stride")},
    "pool": {"pool": (_POOL, "pool")},
    "dropout_ratio": {"dropout": ("dropout_param", "dropout_ratio")},
    "local_size": {"lrn": ("lrn_param", "local_size")},
    "alpha": {"lrn": ("lrn_param", "alpha")},
    "beta": {"lrn": ("lrn_param", "beta")},
    "k": {"lrn": ("lrn_param", "k")},
    "concat_dim": {"concat": ("concat_param", "concat_dim")},
    "source": {
        "data": ("data_param", "source"), "hdf5_data": ("hdf5_data_param", "source"),
        "images": ("image_data_param", "source"), "window_data": ("window_data_param", "source"),
        "infogain_loss": ("infogain_loss_param", "source"), "hdf5_output": ("hdf5_output_param", "file_name"),
    },
    "scale": {"": ("transform_param", "scale"), "power": ("power_param", "scale")},
    "power": {"power": ("power_param", "power")},
    "shift": {"power": ("power_param", "shift")},
    "meanfile": {"": ("transform_param", "mean_file")},
    "batchsize": {
        "data": ("data_param", "batch_size"), "hdf5_data": ("hdf5_data_param", "batch_size"),
        "images": ("image_data_param", "batch_size"), "window_data": ("window_data_param", "batch_size"),
    },
    "cropsize": {"": ("transform_param", "crop_size")},
    "mirror": {"": ("transform_param", "mirror")},
    "rand_skip": {"data": ("data_param", "rand_skip"), "images": ("image_data_param", "rand_skip")},
    "shuffle_images": {"images": ("image_data_param", "shuffle")},
    "new_height": {"images": ("image_data_param", "new_height")},
    "new_width": {"images": ("image_data_param", "new_width")},
    **{
        f"det_{key}": {"window_data": ("window_data_param", key)}
        for key in ("fg_threshold", "bg_threshold", "fg_fraction", "context_pad", "crop_mode")
    },
    "hdf5_output_param": {"": ("", "hdf5_output_param")},
}  # fmt: skip


def _from_v0(message: Message, path: str, problems: list[tuple[int, str]]) -> Message:
    """Return a V0 connection (``layers { layer { ... } bottom top }``) in V2 form."""
    inner = message.get("layer")
    if not isinstance(inner, Message):
        raise ParseError("a V0 file mixes layers with and without an inner layer", path=path, line=message.line)
    type_ = str(inner.get("type", ""))
    fields: list[Field] = []
    grouped: dict[str, list[Field]] = {}
    for item in inner:
        places = _V0_FIELDS.get(item.name, {})
        group, name = places.get(type_) or places.get("") or ("", item.name)
        if item.name == "type":
            fields.append(Field("type", V0_TYPES.get(type_, type_), item.line, item.column))
        elif group:
            grouped.setdefault(group, []).append(Field(name, item.value, item.line, item.column))
        elif isinstance(item.value, Message) or item.name not in _BLOBS:
            if places and "" not in places and type_ in V0_TYPES and type_ != "padding":
                problems.append((item.line, f"{item.name} means nothing to a V0 layer of type {type_!r}"))
            fields.append(item)
    fields += _params(inner)
    fields += [_submessage(name, items) for name, items in grouped.items()]
    fields += [item for item in message if item.name != "layer"]
    return Message(tuple(fields), message.line, message.column)


def _without_padding(layers: Sequence[Message], problems: list[tuple[int, str]]) -> list[Message]:
    """Fold V0 padding layers into the convolutions and poolings that read them (Caffe's UpgradeV0PaddingLayers)."""
    pads: dict[str, tuple[str, Field]] = {}  # blob that a padding layer made last: the blob it read, its pad
    result: list[Message] = []
    for message in layers:
        pad = message.field("pad")
        if message.get("type") == "padding" and pad is not None:
            pads[str(message.get("top"))] = (str(message.get("bottom")), pad)
            continue
        group = {"Convolution": _CONV, "Pooling": _POOL}.get(str(message.get("type")))
        for item in message.fields:
            if item.name != "bottom" or str(item.value) not in pads:
                continue
            source, pad = pads[str(item.value)]
            read = Field("bottom", source, item.line, item.column)
            fields = [read if one is item else one for one in message if one.name != group]
            if group:
                fields.append(_submessage(group, [*message.message(group).without("pad"), pad]))
            else:
                problems.append((message.line, f"padding before a {message.get('type')} layer is not possible"))
            message = Message(tuple(fields), message.line, message.column)
        for top in message.all("top"):
            pads.pop(str(top), None)
        result.append(message)
    return result


_OLD_TRANSFORM = frozenset(("scale", "mean_file", "crop_size", "mirror"))


def _transform_fields(message: Message) -> Message:
    """Move data transformations out of a data layer's own message into ``transform_param``, where V2 has them."""
    moved: list[Field] = []
    fields: list[Field] = []
    for item in message:
        if item.name in ("data_param", "image_data_param", "window_data_param") and isinstance(item.value, Message):
            moved += [part for part in item.value if part.name in _OLD_TRANSFORM]
            fields.append(Field(item.name, item.value.without(*_OLD_TRANSFORM), item.line, item.column))
        else:
            fields.append(item)
    if not moved:
        return message
    old = message.message("transform_param")
    fields = [item for item in fields if item.name != "transform_param"]
    merged = Message((*moved, *old.fields), moved[0].line, moved[0].column)
    fields.append(Field("transform_param", merged, merged.line, merged.column))
    return Message(tuple(fields), message.line, message.column)
