"""Keras files: every layer of our table against Keras itself, real files, nested models, hostile files."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from graphviz_nets.api import load, summary
from graphviz_nets.converters.tensorflow_call import layer
from graphviz_nets.converters.tensorflow_keras import Store, to_model
from graphviz_nets.errors import ConfigError, ConvertError, GraphvizNetsError, LimitError, ParseError
from graphviz_nets.explain.runner import Runner
from graphviz_nets.graph.ir import Model
from graphviz_nets.verify import difference

from .cases.keras import ALIASES, CASES, Case
from .conftest import ALL

TOLERANCE = 1e-4


@pytest.fixture
def keras(need: Any) -> ModuleType:
    """Return Keras on TensorFlow, with its random numbers settled."""
    need("tensorflow")
    need("onnxruntime")
    module: ModuleType = need("keras")
    module.utils.set_random_seed(7)
    module.backend.clear_session()
    return module


def filled(model: Any, seed: int = 3) -> Any:
    """Return the Keras model with weights that tell each element from the others; variances are positive."""
    import numpy as np

    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if "float" in str(weight.dtype):
            shape = tuple(weight.shape)
            positive = "variance" in weight.path
            weight.assign((rng.uniform(0.5, 1.5, shape) if positive else rng.normal(0, 0.4, shape)).astype("f4"))
    return model


def agrees(keras_model: Any, mine: Model, inputs: list[Any]) -> None:
    """Assert that both give the same numbers."""
    import numpy as np

    assert mine.runnable, mine.obstacles
    runner = Runner(mine, provider="cpu")
    theirs = keras_model.predict(inputs if len(inputs) > 1 else inputs[0], verbose=0)
    ours = runner(dict(zip(mine.graph.inputs, inputs, strict=True)))
    for one, other in zip(ours.values(), theirs if isinstance(theirs, list | tuple) else [theirs], strict=True):
        error = difference(one, np.asarray(other))
        assert error is not None and error <= TOLERANCE


def test_every_layer_has_a_case() -> None:
    tried = {case.type for case in CASES} | ALIASES.keys() | {"ThresholdedReLU"}
    assert set(layer) == tried


def test_every_layer_says_what_it_becomes() -> None:
    assert all((rule.__doc__ or "").strip() for rule in layer.rules.values())


@pytest.mark.parametrize("name", sorted(ALIASES))
def test_older_names_mean_the_same(name: str) -> None:
    assert layer.rules[name] is layer.rules[ALIASES[name]]


@pytest.mark.parametrize("form", ["keras", "h5"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.type}{'-' * bool(case.note)}{case.note}")
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_layer_gives_kerass_numbers(case: Case, form: str, keras: ModuleType, tmp_path: Path) -> None:
    import numpy as np

    inputs = [keras.Input(shape, dtype="int32" if case.below else "float32") for shape in case.shapes]
    made = case.make(keras.layers)
    if case.note == "adapted":
        made.build((None, *case.shapes[0]))
    call = case.call or (lambda layer, given: layer(given if len(given) > 1 else given[0]))
    model = filled(keras.Model(inputs, call(made, inputs)))
    if case.note == "adapted":
        made.finalize_state()
    file = tmp_path / f"model.{form}"
    model.save(file)
    mine = load(file)
    assert not mine.problems
    rng = np.random.default_rng(5)
    arrays = [
        (rng.integers(0, case.below, (2, *shape)) if case.below else rng.normal(0, 1, (2, *shape))).astype(
            "i4" if case.below else "f4"
        )
        for shape in case.shapes
    ]
    agrees(model, mine, arrays)
    scope = mine.layers[-1]
    assert scope.type == case.type
    shape = mine.graph.value(scope.outputs[0]).shape
    assert shape is not None and [dim if isinstance(dim, int) else None for dim in shape] == list(model.output_shape)
    row = next(row for row in summary(mine).rows if row.name == scope.name)
    assert row.parameters == sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def test_thresholded_relu_follows_its_formula(need: Any) -> None:
    np = need("numpy")
    need("onnxruntime")
    head = {"class_name": "InputLayer", "config": {"name": "x", "batch_input_shape": [None, 5]}}
    item = {"class_name": "ThresholdedReLU", "config": {"name": "y", "theta": 0.5}}
    model = to_model({"class_name": "Sequential", "config": [head, item]}, Path("m.h5"), None, Store())
    x = np.array([[-1, 0.2, 0.5, 0.6, 2]], "f4")
    assert Runner(model)(x)["y"].tolist() == np.where(x > 0.5, x, 0).tolist()


def network(keras: ModuleType) -> Any:
    """Return a functional model with a model inside, a shared layer, two inputs and two outputs."""
    layers = keras.layers
    inner = keras.Sequential([keras.Input((8, 8, 4)), layers.Conv2D(4, 3, padding="same", name="inner_conv"),
                              layers.BatchNormalization(name="inner_bn"), layers.ReLU()], name="block")  # fmt: skip
    a, b = keras.Input((8, 8, 4), name="a"), keras.Input((8, 8, 4), name="b")
    shared = layers.Conv2D(4, 1, name="shared")
    left, right = shared(inner(a)), shared(b)
    joined = layers.Add(name="join")([left, right])
    flat = layers.Flatten(name="flat")(joined)
    return keras.Model(
        [a, b], [layers.Dense(3, name="one")(flat), layers.Dense(2, activation="softmax", name="two")(flat)]
    )


@pytest.mark.parametrize("form", ["keras", "h5"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_models_inside_models_and_shared_layers(form: str, keras: ModuleType, tmp_path: Path) -> None:
    import numpy as np

    model = filled(network(keras))
    model.save(tmp_path / f"net.{form}")
    mine = load(tmp_path / f"net.{form}")
    rng = np.random.default_rng(1)
    agrees(model, mine, [rng.normal(0, 1, (2, 8, 8, 4)).astype("f4") for _ in range(2)])
    assert mine.scopes["block",].kind == "module" and mine.scopes["block", "inner_conv"].type == "Conv2D"
    assert summary(mine).parameters == sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    names = [scope.name for scope in mine.layers]
    assert names.count("shared") == 2  # one box a call, one set of weights
    ways = [scope.weights for scope in mine.layers if scope.name == "shared"]
    assert ways[0] == ways[1]


@pytest.mark.parametrize("form", ["keras", "h5"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_a_model_inside_that_is_called_twice_keeps_its_weights_and_results(
    form: str, keras: ModuleType, tmp_path: Path
) -> None:
    """Keras 3 counts the making of a model inside as a call where it lists results, and nowhere else."""
    import numpy as np

    layers = keras.layers
    x = keras.Input((8,), name="x")
    deep = layers.Dense(5, activation="tanh", name="deep")(x)
    base = keras.Model(x, [layers.Dense(3, name="wide")(deep), deep], name="base")
    head = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="out")], name="head")
    a, b = keras.Input((8,), name="a"), keras.Input((8,), name="b")
    (one, _), (two, last) = base(a), base(b)
    model = filled(keras.Model([a, b], [layers.Subtract()([one, two]), head(one), head(two), last]))
    model.save(tmp_path / f"net.{form}")
    mine = load(tmp_path / f"net.{form}")
    rng = np.random.default_rng(1)
    agrees(model, mine, [rng.normal(0, 1, (2, 8)).astype("f4") for _ in range(2)])
    assert summary(mine).parameters == model.count_params()


def keras_2(*, training: bool = False) -> dict[str, Any]:
    """Return the configuration of a net as Keras 2 writes it: the first call of a model inside has the number 1."""

    def item(name: str, type_: str, calls: list[Any], **config: Any) -> dict[str, Any]:
        return {"class_name": type_, "name": name, "config": {"name": name, **config}, "inbound_nodes": calls}

    def net(name: str, layers: list[Any], inputs: list[Any], outputs: list[Any]) -> dict[str, Any]:
        return {"name": name, "layers": layers, "input_layers": inputs, "output_layers": outputs}

    entry = item("x", "InputLayer", [], batch_input_shape=[None, 4])
    dense = item("d", "Dense", [[["x", 0, 0, {}]]], units=3)
    inner = net("base", [entry, dense], [["x", 0, 0]], [["d", 0, 0]])
    norm = item("bn", "BatchNormalization", [[["base", 1, 0, {"training": True} if training else {}]]])
    base = {**item("base", "Functional", [[["a", 0, 0, {}]], [["a", 0, 0, {}]]]), "config": inner}
    layers = [item("a", "InputLayer", [], batch_input_shape=[None, 4]), base, norm]
    return {"class_name": "Functional", "config": net("net", layers, [["a", 0, 0]], [["bn", 0, 0], ["base", 2, 0]])}


def test_keras_2_counts_the_making_of_a_model_as_a_call() -> None:
    model = to_model(keras_2(), Path("net.h5"), None, Store(), keras=2)
    assert not model.problems
    assert model.graph.outputs == ("bn", "base#2/d") and model.scopes["base", "d"].type == "Dense"
    assert summary(model).parameters == 4 * 3 + 3 + 2 * 3


def test_a_layer_that_keras_2_always_trains_is_drawn_only() -> None:
    """Keras 3 writes the argument too, but goes by how the whole model is called."""
    model = to_model(keras_2(training=True), Path("net.h5"), None, Store(), keras=2)
    assert not model.runnable and "'bn' (BatchNormalization): what it does in training" in model.problems[0]
    assert not to_model(keras_2(), Path("net.h5"), None, Store(), keras=2).problems


def test_layers_may_be_listed_backwards() -> None:
    names = [f"d{k}" for k in range(500)]
    layers: list[Any] = [
        {"class_name": "Activation", "name": name, "config": {"activation": "relu"},
         "inbound_nodes": [[[names[k - 1] if k else "x", 0, 0, {}]]]}
        for k, name in enumerate(names)
    ]  # fmt: skip
    entry = {"class_name": "InputLayer", "name": "x", "config": {"batch_input_shape": [None, 4]}, "inbound_nodes": []}
    config = {"layers": [*reversed(layers), entry], "input_layers": [["x", 0, 0]], "output_layers": [[names[-1], 0, 0]]}
    model = to_model({"class_name": "Functional", "config": config}, Path("net.h5"), None, Store(), keras=2)
    assert len(model.graph.nodes) == len(names) and model.graph.outputs == (names[-1],)


def test_layers_behind_an_unknown_one_have_their_shapes(need: Any) -> None:
    need("h5py")
    lost = {"class_name": "Lambda", "config": {"name": "lost"}}
    dense = {"class_name": "Dense", "config": {"name": "d", "units": 3}, "build_config": {"input_shape": [None, 7]}}
    model = load("net.keras", data=keras_zip(chain(lost, dense)))
    assert summary(model).parameters == 7 * 3 + 3 and model.graph.value("d").shape == ("batch", 3)
    assert len(model.problems) == 1


def test_a_class_of_the_authors_has_all_weights_of_an_hdf5_file(need: Any, tmp_path: Path) -> None:
    import numpy as np

    with need("h5py").File(tmp_path / "net.h5", "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Own", "config": {"name": "own"}})
        file.attrs["keras_version"] = "3.1.0"
        for name, shape in (("a", (4, 3)), ("b", (3, 2))):
            group = file.create_group(f"model_weights/{name}")
            group.attrs["weight_names"] = [b"kernel"]
            group["kernel"] = np.zeros(shape, "f4")
    assert summary(load(tmp_path / "net.h5")).parameters == 12 + 6


@pytest.mark.parametrize("form", ["keras", "h5"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_attention_that_is_given_a_mask_is_drawn_only(form: str, keras: ModuleType, tmp_path: Path) -> None:
    x, mask = keras.Input((4, 6), name="x"), keras.Input((4, 4), dtype="bool", name="mask")
    attend = keras.layers.MultiHeadAttention(2, 3, name="attend")
    keras.Model([x, mask], attend(x, x, attention_mask=mask)).save(tmp_path / f"net.{form}")
    model = load(tmp_path / f"net.{form}")
    assert not model.runnable and any("'attend' (MultiHeadAttention)" in text for text in model.problems)
    assert summary(model).parameters == 3 * (6 * 6 + 6) + 6 * 6 + 6


def test_an_embedding_that_masks_is_drawn_only(keras: ModuleType, tmp_path: Path) -> None:
    layers = keras.layers
    net = keras.Sequential([keras.Input((5,), dtype="int32"), layers.Embedding(9, 3, mask_zero=True), layers.LSTM(2)])
    net.save(tmp_path / "net.keras")
    model = load(tmp_path / "net.keras")
    assert not model.runnable and any("Embedding" in text and "mask" in text for text in model.problems)


def test_attention_gives_its_scores_too(keras: ModuleType, tmp_path: Path) -> None:
    import numpy as np

    x = keras.Input((4, 6), name="x")
    model = filled(keras.Model(x, keras.layers.MultiHeadAttention(2, 3)(x, x, return_attention_scores=True)))
    model.save(tmp_path / "net.keras")
    agrees(model, load(tmp_path / "net.keras"), [np.random.default_rng(1).normal(0, 1, (2, 4, 6)).astype("f4")])


def test_real_files_have_their_layers_and_weights(shared: Path, need: Any) -> None:
    need("h5py")
    for name, layers, weights in (
        ("fer2013_mini_XCEPTION.102-0.66.hdf5", 46, 58423),
        ("mlperftiny_cifar10_resnet8.h5", 30, 78666),
    ):
        model = load(shared / "tensorflow" / "keras" / name)
        total = summary(model)
        assert (len(model.layers), (total.parameters or 0) + (total.buffers or 0)) == (layers, weights)
        assert model.runnable and not model.problems and total.macs


def test_real_files_give_tensorflows_numbers(shared: Path, keras: ModuleType) -> None:
    import numpy as np

    folder = shared / "tensorflow" / "keras"
    for name, size in (
        ("fer2013_mini_XCEPTION.102-0.66.hdf5", (64, 64, 1)),
        ("mlperftiny_cifar10_resnet8.h5", (32, 32, 3)),
    ):
        model = keras.models.load_model(folder / name, compile=False)
        agrees(model, load(folder / name), [np.random.default_rng(2).uniform(0, 1, (3, *size)).astype("f4")])


def test_authors_own_classes_are_drawn_with_their_weights(shared: Path, need: Any) -> None:
    need("h5py")
    model = load(shared / "tensorflow" / "keras" / "keras3_nested_container.keras")
    assert [node.label for node in model.graph.nodes] == ["keras::NestedDenseModel"]
    assert len(model.graph.initializers) == 5 and model.problems


# Files that mean harm ---------------------------------------------------------------------------------------------


def keras_zip(config: object, extra: dict[str, bytes] | None = None) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", config if isinstance(config, bytes) else json.dumps(config))
        archive.writestr("metadata.json", '{"keras_version": "3.1.0"}')
        for name, content in (extra or {}).items():
            archive.writestr(name, content)
    return out.getvalue()


def chain(*items: dict[str, Any]) -> dict[str, Any]:
    head = {"class_name": "InputLayer", "config": {"name": "x", "batch_shape": [None, 4]}}
    return {"class_name": "Sequential", "config": {"name": "net", "layers": [head, *items]}}


def test_a_lambda_is_never_run(need: Any, tmp_path: Path) -> None:
    need("h5py")
    marker = tmp_path / "run"
    code = f"import pathlib; pathlib.Path({str(marker)!r}).touch()"
    item = {"class_name": "Lambda", "config": {"name": "evil", "function": code, "module": "os", "output_shape": [4]}}
    model = load("net.keras", data=keras_zip(chain(item)))
    assert [node.label for node in model.graph.nodes] == ["keras::Lambda"]
    assert any("evil" in text for text in model.problems) and not model.runnable and not marker.exists()


def test_a_model_in_memory_has_its_own_layers_and_parameters(keras: ModuleType) -> None:
    """New weights are equal, and biases 0, which a traced graph makes one and leaves out."""
    import numpy as np

    layers = keras.layers
    shared = keras.Sequential([layers.Conv2D(4, 3), layers.BatchNormalization(), layers.ReLU(), layers.Conv2D(4, 3)])
    x, y = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    both = layers.Flatten()(layers.Subtract()([shared(x), shared(y)]))
    model = keras.Model([x, y], layers.Dense(4)(layers.Dense(4)(both)))
    mine = load(model)
    assert summary(mine).parameters == sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    kinds = [node.op_type for node in mine.graph.nodes]
    assert kinds.count("BatchNormalization") == kinds.count("Relu") == 2
    rng = np.random.default_rng(0)
    agrees(filled(model), load(model), [rng.normal(0, 1, (2, 8, 8, 3)).astype("f4") for _ in range(2)])


@pytest.mark.skipif(not ALL, reason="scripts/test --all builds it")
def test_published_counts_in_memory(keras: ModuleType) -> None:
    make = keras.applications
    assert summary(load(make.MobileNetV2(weights=None))).parameters == 3_504_872
    assert summary(load(make.EfficientNetB0(weights=None))).parameters == 5_288_548


@pytest.mark.parametrize("form", ["keras", "h5"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_what_our_table_lacks_runs_by_way_of_keras(form: str, keras: ModuleType, need: Any, tmp_path: Path) -> None:
    import numpy as np

    need("tf2onnx")
    layers = keras.layers
    x = keras.Input((4, 6, 6, 2), name="x")
    y = layers.ConvLSTM2D(3, 3)(x)
    y = keras.ops.mean(y, axis=(1, 2)) if form == "keras" else layers.Flatten()(y)  # in HDF5 Keras loses where ops are
    model = filled(keras.Model(x, layers.Dense(2)(y)))
    file = tmp_path / f"net.{form}"
    model.save(file)
    drawn = load(file)
    assert not drawn.runnable and "conv_lstm2d" in {scope.name for scope in drawn.layers}
    agrees(model, load(file, deploy=True), [np.random.default_rng(1).normal(0, 1, (2, 4, 6, 6, 2)).astype("f4")])


@pytest.mark.parametrize(
    "item",
    [
        {"class_name": "Lambda", "config": {"name": "l", "function": "x"}},
        {"class_name": "system", "module": "os", "config": {"name": "l"}},
        {"class_name": "Own", "module": "net", "registered_name": "net>Own", "config": {"name": "l"}},
        {"class_name": "ReLU", "module": "keras.layers", "registered_name": "net>ReLU", "config": {"threshold": 1}},
        {"class_name": "get_file", "module": "keras.utils", "config": {"name": "l"}},
        {"class_name": "load_model", "module": "keras.src.ops.numpy", "config": {"name": "l"}},
        {"class_name": "StringLookup", "module": "keras.layers", "config": {"name": "l", "vocabulary": "/etc/passwd"}},
        {"class_name": "Wrapper", "module": "keras.layers", "config": {"name": "l", "layer": {
            "class_name": "function", "module": "builtins", "config": "exec", "registered_name": "function"}}},
        {"class_name": ["Dense"], "config": {"name": "l"}},
    ],
)  # fmt: skip
def test_keras_is_asked_for_its_own_classes_only(
    item: dict[str, Any], keras: ModuleType, need: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    need("tf2onnx")
    monkeypatch.setattr(keras.saving, "load_model", lambda *given, **named: pytest.fail("it was read"))
    (tmp_path / "net.keras").write_bytes(keras_zip(chain(item)))
    model = load(tmp_path / "net.keras", deploy=True)
    assert not model.runnable and "Keras is not asked to read it" in model.problems[-1]


def test_a_bomb_is_refused(need: Any) -> None:
    need("h5py")
    with pytest.raises(LimitError):
        load("net.keras", data=keras_zip(b'{"a":"' + b"0" * (80 << 20) + b'"}'))


@pytest.mark.parametrize(
    "config", [b"no json", b"[]", b'{"class_name": "Sequential", "config": {}}', b"[" * 100_000,
               b'{"class_name": "Functional", "config": {"layers": [{"class_name": "Dense"}]}}']
)  # fmt: skip
def test_broken_configurations_are_refused(config: bytes, need: Any) -> None:
    need("h5py")
    with pytest.raises((ParseError, LimitError)):
        load("net.keras", data=keras_zip(config))


@pytest.mark.parametrize(
    "item",
    [
        {"class_name": "Dense", "config": {"name": "d", "units": "many"}},
        {"class_name": "Dense", "config": {"name": "d", "units": -3}},
        {"class_name": "Conv2D", "config": {"name": "c", "filters": 2, "kernel_size": [1, 2, 3]}},
        {"class_name": "Reshape", "config": {"name": "r", "target_shape": ["a"]}},
        {"class_name": "ZeroPadding1D", "config": {"name": "z", "padding": "x"}},
        {"class_name": "Concatenate", "config": {"name": "c", "axis": "x"}},
        {"class_name": "Dot", "config": {"name": "c", "axes": None}},
        {"class_name": "BatchNormalization", "config": {"name": "c", "axis": [1, "x"]}},
    ],
    ids=lambda item: item["class_name"],
)
def test_settings_of_the_wrong_kind_are_our_errors_or_drawn(item: dict[str, Any], need: Any) -> None:
    need("h5py")
    try:
        model = load("net.keras", data=keras_zip(chain(item)))
    except GraphvizNetsError as fault:
        said = str(fault)
    else:
        said = "; ".join(model.problems)
        assert not model.runnable
    assert item["config"]["name"] in said


def test_links_and_outside_arrays_of_hdf5_are_refused(need: Any, tmp_path: Path) -> None:
    h5py, np = need("h5py"), need("numpy")
    item = {"class_name": "Dense", "config": {"name": "d", "units": 3}}
    for kind in ("external", "soft", "virtual", "storage"):
        file = tmp_path / f"{kind}.h5"
        with h5py.File(tmp_path / "other.h5", "w") as other:
            other["kernel"] = np.zeros((4, 3), "f4")
        with h5py.File(file, "w") as out:
            out.attrs["model_config"] = json.dumps(chain(item))
            group = out.create_group("model_weights/d")
            group.attrs["weight_names"] = [b"kernel"]
            if kind == "external":
                group["kernel"] = h5py.ExternalLink("other.h5", "kernel")
            elif kind == "soft":
                group["kernel"] = h5py.SoftLink("/elsewhere")
            elif kind == "virtual":
                layout = h5py.VirtualLayout((4, 3), "f4")
                layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "kernel", (4, 3))
                group.create_virtual_dataset("kernel", layout)
            else:
                group.create_dataset("kernel", (4, 3), "f4", external=[(str(tmp_path / "raw"), 0, 48)])
        with pytest.raises(ConvertError, match=r"not (followed|read)"):
            load(file)


def test_numbers_of_no_known_type_and_broken_pieces_are_our_errors(need: Any, tmp_path: Path) -> None:
    import numpy as np

    module, file = need("h5py"), tmp_path / "net.h5"
    odd = module.h5t.IEEE_F32LE.copy()
    odd.set_ebias(1 << 31)
    with module.File(file, "w") as out:
        config = chain({"class_name": "Dense", "config": {"name": "d", "units": 64}})
        out.attrs["model_config"], out.attrs["keras_version"] = json.dumps(config), "2.4.0"
        group = out.create_group("model_weights/d")
        group.attrs["weight_names"] = [b"kernel", b"bias"]
        group.create_dataset(
            "kernel", data=np.arange(256.0).reshape(4, 64).astype("f4"), chunks=(4, 64), compression="gzip"
        )
        space = module.h5s.create_simple((64,))
        module.h5d.create(group.id, b"bias", odd, space)
    with pytest.raises(ConvertError, match="no array of numbers"):
        load(file)
    with module.File(file, "a") as out:
        del out["model_weights/d/bias"]
        out["model_weights/d/bias"] = np.zeros(64, "f4")
        where = out["model_weights/d/kernel"].id.get_chunk_info(0)
    content = bytearray(file.read_bytes())
    content[where.byte_offset + 4 : where.byte_offset + 12] = b"\xff" * 8
    file.write_bytes(content)
    with pytest.raises(ConvertError, match="is broken"):
        load(file).graph.initializers["d/kernel"].bytes()


def test_weights_of_another_shape_name_the_layer(need: Any, tmp_path: Path) -> None:
    h5py, np = need("h5py"), need("numpy")
    with h5py.File(tmp_path / "net.h5", "w") as out:
        out.attrs["model_config"] = json.dumps(chain({"class_name": "Dense", "config": {"name": "d", "units": 3}}))
        group = out.create_group("model_weights/d")
        group.attrs["weight_names"] = [b"kernel", b"bias"]
        group["kernel"], group["bias"] = np.zeros((5, 3), "f4"), np.zeros(3, "f4")
    with pytest.raises(ConvertError, match=r"'d'.*kernel"):
        load(tmp_path / "net.h5")


def test_weights_alone_are_refused_with_a_reason(need: Any, tmp_path: Path) -> None:
    h5py = need("h5py")
    with h5py.File(tmp_path / "net.h5", "w") as out:
        out.create_group("dense")
    with pytest.raises(ConvertError, match="no Keras model"):
        load(tmp_path / "net.h5")


def test_input_shapes_can_be_given(need: Any) -> None:
    need("h5py")
    data = keras_zip(chain({"class_name": "Dense", "config": {"name": "d", "units": 3}}))
    assert load("n.keras", data=data, input_shapes={"x": (None, (2, 4))}).graph.value("d").shape == (2, 3)
    with pytest.raises(ConfigError, match="nothing"):
        load("n.keras", data=data, input_shapes={"nothing": (None, (2, 4))})
