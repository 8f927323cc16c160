"""Caffe's weight files, and what is done with their blobs: matching, shapes, fillers, preprocessing."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphviz_nets.api import load
from graphviz_nets.config import Options
from graphviz_nets.converters.caffe import converter
from graphviz_nets.converters.caffe_fillers import filled, filler
from graphviz_nets.converters.caffe_schema import ENUMS, MESSAGES
from graphviz_nets.converters.caffe_weights import read_mean, read_structure, read_weights, write_weights
from graphviz_nets.converters.prototxt import parse
from graphviz_nets.errors import ConfigError, ConvertError, GraphvizNetsError, LimitError, ParseError
from graphviz_nets.graph.ir import Model
from graphviz_nets.graph.preprocess import Preprocess

MODELS = Path(__file__).resolve().parents[1].parent / "shared" / "models" / "caffe"
needs_models = pytest.mark.skipif(not MODELS.is_dir(), reason="needs the real models in ../shared/models")

NET = """
name: "small"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 4 dim: 4 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 2 kernel_size: 3 } }
layer { name: "bn" type: "BatchNorm" bottom: "c" top: "c" }
layer { name: "scale" type: "Scale" bottom: "c" top: "c" scale_param { bias_term: true } }
layer { name: "ip" type: "InnerProduct" bottom: "c" top: "out" inner_product_param { num_output: 5 } }
"""
SHAPES = {
    "conv": [(2, 3, 3, 3), (2,)], "bn": [(2,), (2,), (1,)], "scale": [(2,), (2,)], "ip": [(5, 8), (5,)],
}  # fmt: skip


# A writer of all syntaxes -----------------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes((value & 0x7F | 0x80,))
        value >>= 7
    return out + bytes((value,))


def record(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def numbers(shape: Sequence[int], start: float = 0) -> list[float]:
    return [start + k / 8 for k in range(prod(shape))]


def new_blob(shape: Sequence[int], values: Sequence[float]) -> bytes:
    return record(7, record(1, b"".join(map(varint, shape)))) + record(5, struct.pack(f"<{len(values)}f", *values))


def old_blob(shape: Sequence[int], values: Sequence[float]) -> bytes:
    """Four dimensions, as Caffe wrote them until 2014."""
    four = (*(1,) * (4 - len(shape)), *shape)
    head = b"".join(varint(k << 3) + varint(dim) for k, dim in enumerate(four, 1))
    return head + record(5, struct.pack(f"<{len(values)}f", *values))


def double_blob(shape: Sequence[int], values: Sequence[float]) -> bytes:
    return record(7, record(1, b"".join(map(varint, shape)))) + record(8, struct.pack(f"<{len(values)}d", *values))


def half_blob(shape: Sequence[int], values: Sequence[float]) -> bytes:
    """NVIDIA's: raw bytes with a type before them."""
    head = record(7, record(1, b"".join(map(varint, shape)))) + varint(10 << 3) + varint(2)
    return head + record(12, struct.pack(f"<{len(values)}e", *values))


def loose_blob(shape: Sequence[int], values: Sequence[float]) -> bytes:
    """One field a number, as a writer that does not pack makes it."""
    return old_blob(shape, []) + b"".join(varint(5 << 3 | 5) + struct.pack("<f", value) for value in values)


def v2(name: str, blobs: Sequence[bytes]) -> bytes:
    return record(100, record(1, name.encode()) + record(2, b"Any") + b"".join(record(7, one) for one in blobs))


def v1(name: str, blobs: Sequence[bytes]) -> bytes:
    return record(2, b"".join(record(6, one) for one in blobs) + record(4, name.encode()) + varint(5 << 3) + varint(4))


def v0(name: str, blobs: Sequence[bytes]) -> bytes:
    inner = record(1, name.encode()) + record(2, b"conv") + b"".join(record(50, one) for one in blobs)
    return record(2, record(1, inner) + record(2, b"data"))


BLOBS = {"new": new_blob, "old": old_blob, "double": double_blob, "half": half_blob, "loose": loose_blob}
LAYERS = {"V2": v2, "V1": v1, "V0": v0}


def read(text: str, weights: Path | None = None, **given: Any) -> Model:
    return converter.open(Path("net.prototxt"), text.encode(), Options(weights=weights, **given))


def values(model: Model, name: str) -> list[float]:
    data = model.graph.initializers[name].bytes()
    return list(struct.unpack(f"<{len(data) // 4}f", data))


# Reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("blob", BLOBS)
def test_every_syntax_and_every_kind_of_blob_is_read(layer: str, blob: str, tmp_path: Path) -> None:
    path = tmp_path / "w.caffemodel"
    make = {
        name: [BLOBS[blob](shape, numbers(shape, k + 1)) for k, shape in enumerate(shapes)]
        for name, shapes in SHAPES.items()
    }
    path.write_bytes(record(1, b"trained") + b"".join(LAYERS[layer](name, blobs) for name, blobs in make.items()))
    model = read(NET, path)
    assert not model.problems and model.runnable
    assert values(model, "conv.weight") == numbers((2, 3, 3, 3), 1) and values(model, "ip.bias") == numbers((5,), 2)
    assert values(model, "scale.weight") == numbers((2,), 1)
    # BatchNorm's sums are divided by the third blob, which is then gone.
    assert values(model, "bn.mean") == pytest.approx([v / 3 for v in numbers((2,), 1)])
    assert "bn.factor" not in model.graph.initializers and model.scopes[("bn",)].weights == ("bn.mean", "bn.variance")


def test_nothing_is_read_before_it_is_asked_for_and_a_changed_file_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "w.caffemodel"
    path.write_bytes(b"".join(v2(name, [new_blob(s, numbers(s)) for s in shapes]) for name, shapes in SHAPES.items()))
    model = read(NET, path)
    tensor = model.graph.initializers["conv.weight"]
    assert callable(tensor.data)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ConvertError, match="changed"):
        tensor.bytes()


def test_layers_match_by_name_and_what_is_left_over_is_said(tmp_path: Path) -> None:
    path = tmp_path / "w.caffemodel"
    parts = [v2("loss_classifier", [new_blob((9,), numbers((9,)))]), v2("data", [])]
    parts += [v2(n, [new_blob(s, numbers(s)) for s in shapes]) for n, shapes in SHAPES.items() if n != "ip"]
    path.write_bytes(b"".join(parts))
    model = read(NET, path)
    assert not model.runnable and values(model, "conv.bias") == numbers((2,))
    assert [text for text in model.problems if "w.caffemodel has weights for layers" in text and "loss_class" in text]
    assert [text for text in model.problems if text.startswith("net.prototxt:7: ip: w.caffemodel has no weights")]


@pytest.mark.parametrize(("name", "shapes", "words"), [
    ("ip", [(5, 9), (5,)], ["'ip'", "blob 0 (weight)", "(5, 9)", "(5, 8)", "net.prototxt:7"]),
    ("conv", [(2, 3, 3, 3)], ["'conv'", "1 blobs", "2 in the net", "net.prototxt:4"]),
    ("conv", [(3, 2, 3, 3), (2,)], ["(3, 2, 3, 3)", "(2, 3, 3, 3)"]),
    ("scale", [(2,), (2,), (2,)], ["3 blobs", "2 in the net"]),
])  # fmt: skip
def test_a_mismatch_names_layer_blob_and_shapes(
    name: str, shapes: list[tuple[int, ...]], words: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "w.caffemodel"
    wanted = {**SHAPES, name: shapes}
    path.write_bytes(b"".join(v2(n, [new_blob(s, numbers(s)) for s in all_]) for n, all_ in wanted.items()))
    with pytest.raises(ConvertError) as fault:
        read(NET, path)
    assert all(word in str(fault.value) for word in words) and fault.value.exit_code == 3


def test_shared_weights_are_taken_from_whoever_has_them(tmp_path: Path) -> None:
    text = 'layer { name: "x" type: "Input" top: "x" top: "z" input_param { shape { dim: 2 dim: 3 } } }\n'
    for name, bottom in (("a", "x"), ("b", "z")):
        text += f'layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{name}" param {{ name: "w" }} '
        text += "inner_product_param { num_output: 4 bias_term: false } }\n"
    path = tmp_path / "w.caffemodel"
    for owner in ("a", "b"):
        path.write_bytes(v2(owner, [new_blob((4, 3), numbers((4, 3)))]))
        model = read(text, path)
        assert model.runnable and values(model, "w") == numbers((4, 3)) and list(model.graph.initializers) == ["w"]


def test_unknown_sizes_are_taken_from_the_file(tmp_path: Path) -> None:
    text = NET.replace('type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 4 dim: 4 } }',
                       'type: "HDF5Data" top: "data"')  # fmt: skip
    path = tmp_path / "w.caffemodel"
    path.write_bytes(b"".join(v2(name, [old_blob(s, numbers(s)) for s in shapes]) for name, shapes in SHAPES.items()))
    model = read(text, path)
    assert model.graph.initializers["conv.weight"].shape == (2, 3, 3, 3)
    assert model.graph.initializers["ip.weight"].shape == (5, 8)
    sized = DATA % "crop_size: 4" + text.partition('top: "data" }')[2]
    assert read(sized, path).graph.value("data").shape == (2, 3, 4, 4)


def test_blobs_of_an_unknown_layer_are_kept(tmp_path: Path) -> None:
    text = NET + 'layer { name: "odd" type: "Odd" bottom: "out" top: "odd" }'
    path = tmp_path / "w.caffemodel"
    path.write_bytes(b"".join(v2(n, [new_blob(s, numbers(s)) for s in shapes]) for n, shapes in
                              {**SHAPES, "odd": [(3, 4), (7,)]}.items()))  # fmt: skip
    model = read(text, path)
    assert model.scopes[("odd",)].weights == ("odd.blob_0", "odd.blob_1") and values(model, "odd.blob_1") == numbers(
        (7,)
    )


@given(st.lists(st.tuples(st.text(min_size=1, max_size=8), st.lists(st.integers(0, 4), max_size=3)), max_size=4))
def test_what_is_written_is_read(layers: list[tuple[str, list[int]]]) -> None:
    import tempfile

    wanted = {name: tuple(shape) for name, shape in layers}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "w.caffemodel"
        write_weights(path, [("", "", [])])  # never empty
        blobs = [
            (name, "T", [(shape, struct.pack(f"<{prod(shape)}f", *numbers(shape)))]) for name, shape in wanted.items()
        ]
        write_weights(path, [("first", "T", []), *blobs])
        found = read_weights(path).layers
        assert {name: one[0].shape for name, one in found.items()} == wanted
        for name, shape in wanted.items():
            assert found[name][0].read() == struct.pack(f"<{prod(shape)}f", *numbers(shape))


def test_broken_files_give_our_errors_only(tmp_path: Path) -> None:
    """Cut at every byte, and one bit flipped at every byte."""
    path = tmp_path / "w.caffemodel"
    whole = v2("ip", [new_blob((5, 8), numbers((5, 8))), old_blob((5,), numbers((5,)))]) + v1("a", []) + v0("b", [])
    refused = 0
    for k in range(len(whole)):
        for data in (whole[:k], whole[:k] + bytes((whole[k] ^ (1 << k % 8),)) + whole[k + 1 :]):
            path.write_bytes(data)
            try:
                read_weights(path)
                read_structure(path)
            except GraphvizNetsError:
                refused += 1
    assert refused > len(whole)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "w.caffemodel"
        path.write_bytes(record(100, data) + data)
        for reader in (read_weights, read_structure, read_mean):
            with suppress(GraphvizNetsError):  # refused in words; anything else fails the test
                reader(path)


def test_other_files_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "x.caffemodel"
    path.write_bytes(varint(1 << 3) + varint(500) + record(2, b"/home/me/net_iter_500.caffemodel") + record(3, b""))
    with pytest.raises(ConvertError, match=r"solver's state.*net_iter_500\.caffemodel") as fault:
        load(path.rename(tmp_path / "net.solverstate"))
    assert "/home" not in str(fault.value)
    path.write_bytes(old_blob((3, 2, 2), numbers((3, 2, 2))))
    with pytest.raises(ConvertError, match="a mean image"):
        read_weights(path)
    path.write_bytes(v2("a", []))
    with pytest.raises(ConvertError, match="a net with its weights"):
        read_mean(path)
    path.write_bytes(b"name: 'net'\nlayer { name: 'a' }\n")
    with pytest.raises(ConvertError):
        read_weights(path)
    path.write_bytes(b"")
    with pytest.raises(ConvertError, match="empty"):
        read_weights(path)
    with pytest.raises(ConvertError, match="No such file"):
        read_weights(tmp_path / "absent")
    with pytest.raises(ConfigError, match="Caffe"):
        load(Path(__file__).parents[1] / "fixtures" / "caffe" / "lenet.prototxt", source="onnx", weights=path)


def test_weights_in_hdf5_and_links_that_lead_out(tmp_path: Path, need: Callable[[str], Any]) -> None:
    h5py, np = need("h5py"), need("numpy")
    path = tmp_path / "w.caffemodel.h5"
    with h5py.File(path, "w") as file:
        for name, shapes in SHAPES.items():
            for k, shape in enumerate(shapes):
                file[f"data/{name}/{k}"] = np.array(numbers(shape, k + 1), "f4").reshape(shape)
    model = read(NET, path)
    assert model.runnable and values(model, "conv.weight") == numbers((2, 3, 3, 3), 1) and not model.problems
    with pytest.raises(ConvertError, match="prototxt"):
        load(path)
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["x"] = np.zeros(5, "f4")
    outside = h5py.VirtualLayout(shape=(5,), dtype="f4")
    outside[:] = h5py.VirtualSource(str(secret), "x", shape=(5,))
    ways: list[Callable[[Any], Any]] = [
        lambda data: data.__setitem__("ip", h5py.ExternalLink(str(secret), "/")),
        lambda data: data.__setitem__("ip/0", h5py.SoftLink("/data")),
        lambda data: data.create_virtual_dataset("ip/0", outside),
        lambda data: data.create_dataset("ip/0", (5,), "f4", external=[(str(secret), 0, 20)]),
        lambda data: data.create_dataset("ip/0", (1 << 20, 1 << 20), "f4", chunks=(1, 64)),
    ]
    for make in ways:
        with h5py.File(path, "w") as file:
            make(file.create_group("data"))
        with pytest.raises(ConvertError):
            read_weights(path)
    with h5py.File(path, "w") as file:
        file["history/0"] = np.zeros(3, "f4")
    with pytest.raises(ConvertError, match="solver's state"):
        read_weights(path)


# The net in a caffemodel ------------------------------------------------------------------------------------------


def test_schema_names_kinds_that_exist() -> None:
    plain = {"int", "bool", "float", "double", "string", "bytes"}
    for name, text in MESSAGES.items():
        words = text.split()
        assert len(words) % 3 == 0, name
        assert {*words[2::3]} <= plain | MESSAGES.keys() | ENUMS.keys(), name
        assert all(number.isdigit() for number in words[::3]) and len({*words[::3]}) == len(words) // 3, name


@needs_models
def test_a_caffemodel_alone_is_drawn_and_runs(tmp_path: Path) -> None:
    path = MODELS / "weights" / "lenet" / "lenet_iter_10000.caffemodel"
    model = load(path, deploy=True)
    assert [scope.type for scope in model.layers] == [
        "Data", "Convolution", "Pooling", "Convolution", "Pooling", "InnerProduct", "ReLU", "InnerProduct", "Softmax",
    ]  # fmt: skip
    assert model.runnable and model.graph.inputs == ("data",) and model.graph.outputs == ("prob",)
    twin = load(path.with_name("lenet.prototxt"), weights=path)
    for name in twin.graph.initializers:
        if twin.graph.initializers[name].role == "parameter":
            assert model.graph.initializers[name] == twin.graph.initializers[name]


@needs_models
def test_structure_of_a_caffemodel_equals_its_prototxt() -> None:
    """RFB-320's weights were saved in the TEST phase, so they hold the prototxt's own net."""
    folder = MODELS / "weights" / "ultraface"
    text, binary = load(folder / "RFB-320.prototxt"), load(folder / "RFB-320.caffemodel")
    assert [(s.name, s.type) for s in text.layers] == [(s.name, s.type) for s in binary.layers if s.type != "Split"]
    assert [text.graph.value(n).shape for n in text.graph.outputs] == [
        binary.graph.value(n).shape for n in binary.graph.outputs
    ]


def test_splits_that_caffe_puts_in_are_taken_out(tmp_path: Path) -> None:
    def layer(name: str, type_: str, bottoms: list[str], tops: list[str]) -> bytes:
        fields = [(1, name), (2, type_), *((3, one) for one in bottoms), *((4, one) for one in tops)]
        return record(100, b"".join(record(number, text.encode()) for number, text in fields))

    path = tmp_path / "net.caffemodel"
    path.write_bytes(record(1, b"net") + record(3, b"x") + record(8, record(1, varint(2) + varint(3)))
                     + layer("x_input_0_split", "Split", ["x"], ["x_0", "x_1"])
                     + layer("a", "ReLU", ["x_0"], ["a"]) + layer("b", "TanH", ["x_1"], ["b"]))  # fmt: skip
    model = load(path)
    assert [(s.name, s.inputs) for s in model.layers] == [("a", ("x",)), ("b", ("x",))] and not model.problems
    assert model.graph.value("b").shape == (2, 3)


# Fillers ----------------------------------------------------------------------------------------------------------


def fill(text: str, shape: tuple[int, ...], seed: int = 3) -> Any:
    import numpy as np

    return np.frombuffer(filled(parse(text), 0.0, shape, seed, "layer.weight")(), "<f4").reshape(shape)


def near(value: float, wanted: float, spread: float = 0.05) -> bool:
    return abs(value - wanted) <= spread * max(abs(wanted), 1)


FILLED: dict[str, Callable[[], bool]] = {
    "constant": lambda: bool((fill('type: "constant" value: 2.5', (3, 4)) == 2.5).all()),
    "uniform": lambda: _bounds('type: "uniform" min: -2 max: 4', (40, 1000), -2, 4),
    "gaussian": lambda: _moments('type: "gaussian" mean: 1 std: 0.5', (40, 1000), 1, 0.5),
    "positive_unitball": lambda: _sums(fill('type: "positive_unitball"', (4, 5, 6))),
    "xavier": lambda: _bounds('type: "xavier"', (40, 10, 5, 5), -((3 / 250) ** 0.5), (3 / 250) ** 0.5),
    "msra": lambda: _moments('type: "msra" variance_norm: FAN_OUT', (40, 10, 5, 5), 0, (2 / 1000) ** 0.5),
    "bilinear": lambda: _bilinear((2, 1, 5, 5)) and _bilinear((1, 3, 4, 4)) and _bilinear((1, 1, 16, 16)),
}


def _bounds(text: str, shape: tuple[int, ...], low: float, high: float) -> bool:
    found = fill(text, shape)
    near_ends = found.min() < low + 0.01 * (high - low) and found.max() > high - 0.01 * (high - low)
    return bool(found.min() >= low and found.max() <= high and near_ends and near(found.mean(), (low + high) / 2))


def _moments(text: str, shape: tuple[int, ...], mean: float, std: float) -> bool:
    found = fill(text, shape)
    return near(float(found.mean()), mean) and abs(float(found.std()) / std - 1) < 0.03


def _sums(found: Any) -> bool:
    return bool((found >= 0).all()) and bool(abs(found.reshape(4, -1).sum(1) - 1).max() < 1e-6)


def _bilinear(shape: tuple[int, ...]) -> bool:
    """BilinearFiller::Fill of filler.hpp, element by element."""
    import numpy as np

    found, real = fill('type: "bilinear"', shape).ravel(), np.zeros(prod(shape), "f4")
    width, height = shape[3], shape[2]
    f = -(-width // 2)
    c = np.float32((2 * f - 1 - f % 2) / (2.0 * f))
    for i in range(len(real)):
        x, y = np.float32(i % width), np.float32((i // width) % height)
        real[i] = (1 - abs(x / np.float32(f) - c)) * (1 - abs(y / np.float32(f) - c))
    return bool((found == real).all())


def test_every_filler_has_a_case() -> None:
    assert set(FILLED) == set(filler)


@pytest.mark.parametrize("name", FILLED)
def test_fillers_are_as_caffe_defines_them(name: str) -> None:
    assert FILLED[name]()


def test_variance_norms_and_sparse_gaussians() -> None:
    assert _moments('type: "msra" variance_norm: AVERAGE', (40, 10, 5, 5), 0, (2 / 625) ** 0.5)
    assert _moments('type: "msra"', (40, 10, 5, 5), 0, (2 / 250) ** 0.5)
    assert near(float((fill('type: "gaussian" sparse: 10', (100, 900)) != 0).mean()), 0.1, 0.005)


def test_random_weights_follow_seed_and_name_alone() -> None:
    one, same, other = (read(NET, random_weights=seed) for seed in (7, 7, 8))
    more = 'layer { name: "r" type: "ReLU" bottom: "c" top: "c" }\n'
    again = read(NET.replace('layer { name: "bn"', more + 'layer { name: "bn"'), random_weights=7)
    assert one.runnable and values(one, "conv.weight") == values(same, "conv.weight") == values(again, "conv.weight")
    assert values(one, "conv.weight") != values(other, "conv.weight")
    # Without fillers: what trained nets have, not Caffe's zeros, which would stop every signal.
    assert values(one, "bn.variance") == [1, 1] and values(one, "scale.weight") == [1, 1] == values(one, "scale.weight")
    with pytest.raises(ParseError, match="'odd' is not one of constant"):
        read(NET.replace("kernel_size: 3", 'kernel_size: 3 weight_filler { type: "odd" }'), random_weights=1)


# Preprocessing ----------------------------------------------------------------------------------------------------

DATA = (
    'layer { name: "data" type: "Data" top: "data" top: "label" data_param { batch_size: 2 } transform_param { %s } }\n'
)


def test_preprocessing_follows_transform_param_and_the_mean_file(tmp_path: Path) -> None:
    net = tmp_path / "net.prototxt"

    def record_of(settings: str) -> Preprocess:
        net.write_text(DATA % settings + 'layer { name: "r" type: "ReLU" bottom: "data" top: "r" }')
        model = load(net)
        return Preprocess.from_json(model.metadata["gvn.preprocess"])

    assert record_of("scale: 0.5 crop_size: 8 mean_value: 1 mean_value: 2 mean_value: 3") == Preprocess(
        channels="bgr", crop=(8, 8), mean=(1, 2, 3), scale=0.5
    )
    assert record_of("force_gray: true scale: 2").channels == "grey"
    (tmp_path / "mean.binaryproto").write_bytes(old_blob((3, 2, 2), numbers((3, 2, 2))))
    found = record_of('mean_file: "/data/of/someone/mean.binaryproto" crop_size: 1')
    assert found.mean_image == ((3, 2, 2), struct.pack("<12f", *numbers((3, 2, 2)))) and found.resize == (2, 2)
    (tmp_path / "mean.binaryproto").write_bytes(old_blob((3, 1, 1), [1, 2, 3]))
    assert record_of('mean_file: "mean.binaryproto"').mean == (1, 2, 3)
    (tmp_path / "mean.binaryproto").unlink()
    assert record_of('mean_file: "../mean.binaryproto" scale: 3') == Preprocess(channels="bgr", scale=3)
    assert any("mean.binaryproto" in text for text in load(net).problems)


@needs_models
def test_the_net_that_weights_were_trained_in_says_how() -> None:
    folder = MODELS / "weights" / "lenet"
    model = load(folder / "lenet.prototxt", weights=folder / "lenet_iter_10000.caffemodel")
    assert Preprocess.from_json(model.metadata["gvn.preprocess"]) == Preprocess(channels="grey", scale=1 / 256)
    assert "gvn.preprocess" not in load(folder / "lenet.prototxt").metadata


@needs_models
def test_real_means() -> None:
    mean = read_mean(MODELS / "weights" / "ilsvrc12_mean" / "imagenet_mean.binaryproto")
    assert mean.shape == (1, 3, 256, 256)
    import numpy as np

    # The well-known means of ImageNet in BGR.
    means = np.frombuffer(mean.read(), "<f4").reshape(3, -1).mean(1, "f8")
    assert means == pytest.approx([104.01, 116.67, 122.68], abs=0.01)


@needs_models
def test_a_truncated_real_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="truncated"):
        load(MODELS / "malformed" / "truncated_det1.caffemodel")
    packed = MODELS / "squeezenet" / "squeezenet_v1.0_dc.caffemodel.gz"
    path = tmp_path / "weights.caffemodel"
    with gzip.open(packed) as file:
        path.write_bytes(file.read(20000))
    with pytest.raises(ConvertError, match="truncated"):
        read_weights(path)


def test_limits_hold(tmp_path: Path) -> None:
    path = tmp_path / "deep.caffemodel"
    inner = b""
    for _ in range(200):
        inner = record(7, inner)  # a message within itself: NetState has none, so the schema stops it
    path.write_bytes(record(100, record(1, b"x" * (2 << 20))))
    with pytest.raises(LimitError):
        read_weights(path)
    path.write_bytes(record(100, record(7, record(7, record(1, b"\x01" * 100) + inner))))
    with pytest.raises(LimitError):
        read_weights(path)
