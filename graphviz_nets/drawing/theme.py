"""Colours: kinds of operations, and palettes for light and dark.

The hues follow Okabe and Ito's colour-blind-safe set. A box is filled with a light tint whose lightness is the same
for every kind, so text on it stays readable in grey; the kind shows in the tint, in the saturated edge at the box's
side and in the type's name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graphviz_nets.errors import ConfigError

# kind: the types of sources and of ONNX that belong to it, in lower case.
KINDS: Mapping[str, frozenset[str]] = {
    name: frozenset(types.lower().split())
    for name, types in {
        "convolution": "convolution deconvolution convolutiondepthwise depthwiseconvolution conv convtranspose im2col "
        "convinteger deformconv qlinearconv conv1d conv2d conv3d convolutionristretto "
        "depthwiseconv2d depthwiseconv2dnative separableconv2d separableconv1d conv2dtranspose conv1dtranspose "
        "conv3dtranspose conv2dbackpropinput conv3dbackpropinputv2",
        "linear": "innerproduct gemm matmul linear dense embed matmulinteger qlinearmatmul einsum gather "
        "embedding multiheadattention addmm mm bmm "
        "batchmatmul batchmatmulv2 batchmatmulv3 gatherv2 resourcegather biasadd",
        "pooling": "pooling maxpool averagepool globalaveragepool globalmaxpool lppool spp roipooling psroipooling "
        "maxroipool maxunpool upsample interp resize stochasticpool globallppool roialign avgpool "
        "adaptiveavgpool adaptivemaxpool "
        "maxpooling1d maxpooling2d maxpooling3d averagepooling1d averagepooling2d averagepooling3d avgpool3d "
        "globalaveragepooling1d globalaveragepooling2d globalmaxpooling1d globalmaxpooling2d maxpool3d upsampling2d "
        "upsampling1d resizebilinear resizenearestneighbor",
        "activation": "relu prelu elu sigmoid tanh leakyrelu relu6 bnll softplus swish clip absval abs selu gelu "
        "hardsigmoid hardswish softmax logsoftmax threshold thresholdedrelu celu mish softsign power exp log crelu "
        "silu glu logsigmoid activation rsqrt sqrt square",
        "normalization": "batchnorm batchnormalization bn scale bias lrn mvn normalize layernormalization "
        "groupnormalization instancenormalization lpnormalization dropout meanvariancenormalization "
        "layernorm groupnorm rmsnorm instancenorm nativebatchnorm nativelayernorm "
        "fusedbatchnorm fusedbatchnormv2 fusedbatchnormv3 spatialdropout2d rescaling normalization gaussiannoise",
        "merge": "eltwise concat add mul sub div max min sum mean axpy where "
        "concatenate multiply average maximum minimum subtract dot concatv2 addv2 realdiv addn squareddifference",
        "shape": "flatten reshape permute transpose slice split crop squeeze unsqueeze tile expand pad cast identity "
        "silence argmax topk reduction filter batchreindex shape shufflechannel reorg priorbox spacetodepth "
        "depthtospace reducemean reducesum compress constantofshape range nonzero view unflatten "
        "zeropadding2d zeropadding1d cropping2d cropping1d repeatvector stridedslice expanddims pack unpack",
        "recurrent": "lstm rnn gru lstmunit",
        "data": "input data imagedata memorydata hdf5data windowdata dummydata annotateddata videodata parameter "
        "constant output hdf5output "
        "inputlayer placeholder const iteratorgetnext",
        "loss": "softmaxwithloss euclideanloss hingeloss infogainloss multinomiallogisticloss sigmoidcrossentropyloss "
        "contrastiveloss accuracy multiboxloss smoothl1loss detectionevaluate detectionoutput "
        "softmaxcrossentropyloss",
    }.items()
}  # fmt: skip

_SPELLING = re.compile(r"_|[123]d$")
"""What PyTorch puts into names that others leave out: ``max_pool2d``."""
_KIND_OF = {type_: kind for kind, types in KINDS.items() for type_ in types}


def kind_of(type_: str) -> str:
    """Return the kind of a source type or ONNX operation; ``other`` where it is in no family.

    Examples
    --------
    >>> kind_of("Convolution"), kind_of("caffe::Axpy"), kind_of("FancyPooling9000"), kind_of("max_pool2d")
    ('convolution', 'merge', 'other', 'pooling')
    """
    name = type_.rpartition("::")[2].lower()
    plain = _SPELLING.sub("", name)
    return _KIND_OF.get(name) or _KIND_OF.get(plain) or ("loss" if name.endswith("loss") else "other")


@dataclass(frozen=True)
class Palette:
    """Concrete colours of one mode: what a style class is filled, stroked and written with."""

    background: str
    text: str
    muted: str
    wire: str
    group: str
    group_line: str
    fills: Mapping[str, str]
    accents: Mapping[str, str]


def _tints(hues: Mapping[str, str], toward: str, amount: float) -> dict[str, str]:
    return {kind: mix(colour, toward, amount) for kind, colour in hues.items()}


def mix(colour: str, other: str, amount: float) -> str:
    """Return `colour` moved by `amount` (0 to 1) towards `other`, both ``#rrggbb``.

    Examples
    --------
    >>> mix("#000000", "#ffffff", 0.5)
    '#808080'
    """
    one, two = rgb(colour), rgb(other)
    return "#" + "".join(f"{round(a + (b - a) * amount):02x}" for a, b in zip(one, two, strict=True))


def rgb(colour: str) -> tuple[int, int, int]:
    """Return the three channels (0 to 255) of ``#rrggbb``."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


_ACCENTS = {
    "convolution": "#0072b2",
    "linear": "#8a4fbf",
    "pooling": "#d55e00",
    "activation": "#009e73",
    "normalization": "#b08c00",
    "merge": "#c2477f",
    "shape": "#7a7a7a",
    "recurrent": "#3f6ad8",
    "data": "#4f5d75",
    "loss": "#c0392b",
    "other": "#909090",
}

LIGHT = Palette(
    background="#ffffff",
    text="#1b1f24",
    muted="#57606a",
    wire="#6b7580",
    group="#f6f8fa",
    group_line="#c4ccd4",
    fills=_tints(_ACCENTS, "#ffffff", 0.86),
    accents=_ACCENTS,
)
DARK = Palette(
    background="#0f1318",
    text="#e8ecf0",
    muted="#a3adb8",
    wire="#8b96a3",
    group="#171c23",
    group_line="#3a434e",
    fills=_tints(_ACCENTS, "#141a20", 0.72),
    accents=_tints(_ACCENTS, "#ffffff", 0.25),
)


@dataclass(frozen=True)
class Theme:
    """A pair of palettes and the sizes of text, in pixels."""

    name: str = "default"
    light: Palette = field(default=LIGHT)
    dark: Palette = field(default=DARK)
    rankdir: str | None = None
    size: float = 12.0
    small: float = 10.5


_GREY = dict.fromkeys(_ACCENTS, "#4a4a4a")

THEMES: Mapping[str, Theme] = {
    "default": Theme(),
    "light": Theme("light", dark=LIGHT),
    "dark": Theme("dark", light=DARK),
    "grey": Theme(
        "grey",
        light=Palette(
            **{**LIGHT.__dict__, "fills": _tints(_GREY, "#ffffff", 0.9), "accents": _GREY, "wire": "#555555"}
        ),
    ),
}


def theme(name: str, custom: Mapping[str, Mapping[str, Any]] | None = None) -> Theme:
    """Return a theme by name: ours, one of `custom` (a mapping as in ``graphviz_nets.yaml``), or a YAML file's.

    A custom theme names a ``base`` (ours) and overrides ``background``, ``text``, ``muted``, ``wire``, ``group``,
    ``group_line``, ``rankdir``, and under ``kinds`` the accent colour of a kind; tints follow from accents.

    Raises
    ------
    ConfigError
        For an unknown theme, key, kind or a colour that is not ``#rrggbb``.
    """
    if custom and name in custom:
        return _custom(name, custom[name])
    if name in THEMES:
        return THEMES[name]
    if name.endswith((".yaml", ".yml")):
        import yaml

        try:
            with open(name, encoding="utf-8") as file:
                content = yaml.safe_load(file.read(1_000_000))
        except (OSError, yaml.YAMLError, UnicodeDecodeError) as fault:
            raise ConfigError(f"the theme cannot be read: {fault}", file=name) from None
        return _custom(name, content)
    known = ", ".join([*THEMES, *(custom or ())])
    raise ConfigError(f"no theme {name!r}", key="theme", hint=f"one of {known}, or a YAML file")


def _custom(name: str, content: Any) -> Theme:
    if not isinstance(content, Mapping):
        raise ConfigError("a theme is a mapping", key=f"themes.{name}")
    base = THEMES.get(content.get("base", "default"))
    if base is None:
        raise ConfigError(f"no theme {content['base']!r}", key=f"themes.{name}.base", hint=", ".join(THEMES))
    colours = dict(base.light.__dict__)
    accents = dict(base.light.accents)
    rankdir = base.rankdir
    for key, value in content.items():
        place = f"themes.{name}.{key}"
        if key == "kinds" and isinstance(value, Mapping):
            for kind, colour in value.items():
                if kind not in accents:
                    raise ConfigError("no such kind", key=f"{place}.{kind}", hint=", ".join(accents))
                accents[kind] = colour_of(colour, f"{place}.{kind}")
        elif key == "rankdir":
            rankdir = str(value)
        elif key in colours and key not in ("fills", "accents"):
            colours[key] = colour_of(value, place)
        elif key != "base":
            raise ConfigError("no such key in a theme", key=place)
    colours |= {"accents": accents, "fills": _tints(accents, colours["background"], 0.86)}
    palette = Palette(**colours)
    return Theme(name, palette, palette, rankdir)


def colour_of(value: Any, key: str) -> str:
    """Return ``#rrggbb`` in lower case, or raise ConfigError at `key`."""
    text = str(value).lower()
    if len(text) == 4 and text[0] == "#":
        text = "#" + "".join(char * 2 for char in text[1:])
    if len(text) == 7 and text[0] == "#" and all(char in "0123456789abcdef" for char in text[1:]):
        return text
    raise ConfigError(f"{value!r} is no colour", key=key, hint="write #rrggbb")


# Values to colours: five stops of a light-to-dark ramp that prints well in grey.
RAMP = ("#f3f0e4", "#bcd9c6", "#6fb3b8", "#36809e", "#20486f")


def ramp(fraction: float) -> str:
    """Return the colour of a value between 0 and 1.

    Examples
    --------
    >>> ramp(0.0), ramp(1.0)
    ('#f3f0e4', '#20486f')
    """
    place = min(max(fraction, 0.0), 1.0) * (len(RAMP) - 1)
    step = min(int(place), len(RAMP) - 2)
    return mix(RAMP[step], RAMP[step + 1], place - step)


def ink(colour: str) -> str:
    """Return our black or white, whichever has the larger contrast with a colour (W3C relative luminance).

    Examples
    --------
    >>> ink("#6fb3b8"), ink("#36809e")
    ('#1b1f24', '#ffffff')
    """
    channels = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb(colour)]
    luminance = 0.2126 * channels[0] + 0.7152 * channels[1] + 0.0722 * channels[2]
    return "#1b1f24" if luminance > 0.209 else "#ffffff"


PLAIN = 1.25
"""Width of a wire whose tensor's size is unknown, in pixels."""
_THIN, _THICK, _LARGEST, _POWER = 0.9, 3.4, 5e6, 0.3


def thickness(elements: int) -> float:
    """Return a wire's width in pixels: a power of 0.3 of the number of elements, as TensorBoard draws it.

    Examples
    --------
    >>> thickness(0), thickness(1), thickness(10**9)
    (1.25, 0.9, 3.4)
    """
    if elements <= 0:
        return PLAIN
    share: float = (min(elements, _LARGEST) ** _POWER - 1) / (_LARGEST**_POWER - 1)
    return round(_THIN + (_THICK - _THIN) * share, 2)
