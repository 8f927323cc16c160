"""Live PyTorch modules: their trees, parameters and numbers against PyTorch itself."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from graphviz_nets import api
from graphviz_nets.config import Options
from graphviz_nets.drawing.diagram import boxes, diagram
from graphviz_nets.errors import ConfigError, ConvertError
from graphviz_nets.explain.runner import Runner
from graphviz_nets.graph import proto
from graphviz_nets.graph.ir import Model
from graphviz_nets.verify import difference

from .real_nets import MOBILENET, efficientnet_lite0, mobilenet_v2, packaged

COMMON = ("resnet", "vit", "unet", "tagger", "siamese", "densenet", "experts")


@pytest.fixture(scope="session")
def torch(need: Callable[[str], ModuleType]) -> ModuleType:
    need("onnxscript")
    return need("torch")


@pytest.fixture(scope="session")
def cases(torch: ModuleType) -> ModuleType:
    from tests.cases import torch_modules

    return torch_modules


@pytest.fixture(scope="session")
def common(cases: ModuleType) -> dict[str, tuple[Any, tuple[Any, ...], Model]]:
    """Return each common module with its arguments and what `load` makes of it."""
    return {name: (module, args, api.load(module, args=args)) for name, (module, args) in cases.common().items()}


def called(module: Any, args: tuple[Any, ...]) -> list[tuple[str, str]]:
    """Return (name, class) of every call of a part of a module, by hooks on each."""
    found: list[tuple[str, str]] = []
    handles = [
        part.register_forward_pre_hook(lambda part, args, name=name: found.append((name, type(part).__name__)))
        for name, part in module.named_modules()
        if name
    ]
    try:
        module(*args)
    finally:
        for handle in handles:
            handle.remove()
    return found


def plain(path: tuple[str, ...]) -> str:
    """Return a scope's path as the module's dotted name."""
    return ".".join(part.partition("@")[0] for part in path)


def modules(model: Model) -> list[tuple[str, str]]:
    return [(plain(scope.path), scope.type) for scope in model.scopes.values()]


@pytest.mark.parametrize("name", COMMON)
def test_every_call_of_a_module_is_one_scope(name: str, common: dict[str, Any]) -> None:
    module, args, model = common[name]
    import torch

    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        assert sorted(modules(model)) == sorted(called(module, args))
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    assert model.problems == ()


@pytest.mark.parametrize("name", COMMON)
def test_parameters_are_the_modules(name: str, common: dict[str, Any]) -> None:
    module, _, model = common[name]
    total = sum(p.numel() for p in module.parameters())
    assert api.summary(model).parameters == total
    own = {n: tuple(p.shape) for n, p in module.named_parameters()}
    assert {n: t.shape for n, t in model.graph.initializers.items() if t.role == "parameter"} == own
    parts = dict(module.named_modules())
    for row in api.summary(model).rows:
        scope = next((s for s in model.layers if s.id == row.id), None)
        if scope is not None:
            assert row.parameters == sum(p.numel() for p in parts[plain(scope.path)].parameters())


@pytest.mark.parametrize("name", COMMON)
def test_numbers_are_pytorchs(name: str, common: dict[str, Any]) -> None:
    module, args, model = common[name]
    given = {value: arg.numpy() for value, arg in zip(model.graph.inputs, args, strict=True)}
    (mine,) = Runner(model, provider="cpu")(given).values()
    error = difference(mine, module(*args).detach().numpy())
    assert error is not None and error <= 1e-5


@pytest.mark.parametrize("name", COMMON)
def test_files_tell_nothing_of_the_machine_and_come_back_equal(name: str, common: dict[str, Any]) -> None:
    model = common[name][2]
    data = proto.to_proto(model).SerializeToString()
    assert str(Path(__file__).parent).encode() not in data and b"site-packages" not in data
    assert proto.from_proto(proto.parse(data)) == model


def test_a_weight_tensor_holds_the_modules_numbers(common: dict[str, Any]) -> None:
    module, _, model = common["resnet"]
    tensor = model.graph.initializers["layer1.0.conv2.weight"]
    wanted = module.layer1[0].conv2.weight.detach().numpy()
    assert np.array_equal(np.frombuffer(tensor.bytes(), "f4").reshape(wanted.shape), wanted)


def test_repeated_calls_stand_apart(common: dict[str, Any]) -> None:
    model = common["siamese"][2]
    assert ("encoder", "0") in model.scopes and ("encoder@1", "0") in model.scopes
    assert model.scopes["encoder@1", "0"].weights == ("encoder.0.weight", "encoder.0.bias")
    assert api.summary(model).parameters == 212  # each counts once


def test_a_leaf_module_is_one_box_that_opens(common: dict[str, Any]) -> None:
    model = common["vit"][2]
    id_ = "encoder/layers.0/self_attn"
    closed = {box.id: box for box in boxes(diagram(model, Options(depth="all", repeats=False)).root)}
    attention = closed[id_]
    assert (attention.type, attention.shown_as, attention.group) == ("MultiheadAttention", "node", None)
    assert attention.members > 1
    assert attention.details["parameters"] == 4 * 32 * 32 + 4 * 32
    opened = {box.id: box for box in boxes(diagram(model, Options(expand=(id_,))).root)}
    inside = opened[id_].group
    assert inside is not None and {"Transpose", "MatMul", "Gemm"} <= {box.type for box in inside.boxes}


def test_layers_know_what_they_were_made_with(common: dict[str, Any]) -> None:
    row = next(row for row in api.summary(common["resnet"][2]).rows if row.name == "stem/0")
    assert row.type == "Conv2d" and row.attributes["kernel_size"] == [7, 7] and row.attributes["stride"] == [2, 2]
    assert row.macs == 16 * 16 * 16 * 3 * 7 * 7


FALLS = {
    "DataDependentIf": "a recorded run", "DataDependentWhile": "a recorded run", "Numpy": "torch.export",
    "CustomOp": "torch.export",
}  # fmt: skip


@pytest.mark.parametrize(
    "name",
    ["DataDependentIf", "DataDependentWhile", "Item", "Numpy", "CustomOp", "BooleanMask", "AutogradFunction",
     "DictOutput", "Recurrent", "InPlace"],
)  # fmt: skip
def test_awkward_modules_draw(name: str, cases: ModuleType, torch: ModuleType, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = getattr(cases, name)().eval()
    args = (torch.ones(4, 4),)
    model = api.load(module, args=args)
    api.render(model, tmp_path / "net.svg")
    assert (tmp_path / "net.svg").stat().st_size > 1000
    assert sorted(modules(model)) == sorted(called(module, args))
    assert api.summary(model).parameters == sum(p.numel() for p in module.parameters())
    said = "\n".join(model.problems)
    assert ("cannot take this module" in said) == (name in FALLS)
    assert ("those of one run" in said) == (FALLS.get(name) == "a recorded run")
    assert model.runnable == (name not in FALLS)
    model.graph.check()


@pytest.mark.parametrize("name", ["Item", "BooleanMask", "AutogradFunction", "Recurrent", "InPlace"])
def test_awkward_modules_that_export_compute_the_same(name: str, cases: ModuleType, torch: ModuleType) -> None:
    torch.manual_seed(0)
    module = getattr(cases, name)().eval()
    x = torch.randn(4, 4)
    model = api.load(module, args=(torch.ones(4, 4),))
    (mine,) = Runner(model, provider="cpu")(x.numpy()).values()
    error = difference(mine, module(x).detach().numpy())
    assert error is not None and error <= 1e-5


def test_a_recorded_run_keeps_the_order_of_writes(cases: ModuleType, torch: ModuleType) -> None:
    from graphviz_nets.converters.pytorch_record import record

    module = cases.InPlace().eval()
    with torch.no_grad():
        model = record(module, (torch.ones(4, 4),), {}, {})
    graph = model.graph
    write = next(node for node in graph.nodes if node.op_type == "add_")
    later = next(node for node in graph.nodes if node.op_type == "relu_")
    assert write.id in later.control_inputs or set(write.outputs) & set(later.inputs)


def test_state_is_restored_and_no_hook_left(cases: ModuleType, torch: ModuleType) -> None:
    from torch.nn.modules import module as hooks

    module = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4), torch.nn.Dropout(0.5))
    module.train()
    module[2].eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    held = [id(value) for value in module.parameters()]
    fast, disabled = torch.backends.mha.get_fastpath_enabled(), logging.root.manager.disable
    model = api.load(module, args=(torch.randn(3, 4),))
    assert [part.training for part in module] == [True, True, False] and module.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert [id(value) for value in module.parameters()] == held
    assert not hooks._global_forward_pre_hooks and not hooks._global_forward_hooks
    assert not any(part._forward_pre_hooks or part._forward_hooks for part in module.modules())
    assert (torch.backends.mha.get_fastpath_enabled(), logging.root.manager.disable) == (fast, disabled)
    assert [scope.type for scope in model.scopes.values()] == ["Linear", "BatchNorm1d", "Dropout"]


def test_meta_modules_are_structure(torch: ModuleType, tmp_path: Path) -> None:
    with torch.device("meta"):
        layer = torch.nn.TransformerEncoderLayer(1024, 16, 4096, batch_first=True)
        module = torch.nn.TransformerEncoder(layer, 24, enable_nested_tensor=False).eval()
    model = api.load(module, input_shapes={"src": (None, (1, 16, 1024))})
    assert api.summary(model).parameters == sum(p.numel() for p in module.parameters()) == 302_309_376
    assert not model.runnable and "no data" in model.obstacles[0]
    api.save(model, tmp_path / "net.onnx")
    assert (tmp_path / "net.onnx").stat().st_size < 3_000_000
    folds = [box for box in boxes(diagram(model, Options()).root) if box.times > 1]
    assert any(box.times == 24 for box in folds)


def test_an_open_batch_stays_open_or_is_said(torch: ModuleType) -> None:
    class Fixed(torch.nn.Module):  # type: ignore[name-defined,misc]
        def forward(self, x: Any) -> Any:
            return x.reshape(2, 8) * 2

    free = api.load(torch.nn.Linear(4, 3), input_shapes={"input": (None, ("N", 4))})
    assert free.graph.value(free.graph.inputs[0]).shape == ("N", 4) and free.problems == ()
    for rows in (1, 5):
        (out,) = Runner(free, provider="cpu")(np.ones((rows, 4), "f4")).values()
        assert out.shape == (rows, 3)
    fixed = api.load(Fixed(), input_shapes={"x": (None, ("N", 8))})
    assert any("'N'" in line for line in fixed.problems)


def test_inputs_are_asked_for_by_name(torch: ModuleType) -> None:
    with pytest.raises(ConfigError, match=r"input-shape input=1,3,224,224"):
        api.load(torch.nn.Linear(4, 3))
    with pytest.raises(ConfigError, match="no parameter 'y'"):
        api.load(torch.nn.Linear(4, 3), input_shapes={"y": (None, (1, 4))})
    with pytest.raises(ConvertError, match="does not run"):
        api.load(torch.nn.Linear(4, 3), input_shapes={"0": (None, (1, 5))})


def test_the_command_line_imports_what_is_named(torch: ModuleType, tmp_path: Path) -> None:
    source = "from torch import nn\ndef small():\n    return nn.Sequential(nn.Linear(4, 2), nn.ReLU()).eval()\n"
    (tmp_path / "mine.py").write_text(source)

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "graphviz_nets", *args]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    done = run("render", "mine:small", "--input-shape", "input=1,4", "-o", "net.svg", "-o", "net.html")
    assert done.returncode == 0, done.stderr
    assert "Linear" in (tmp_path / "net.svg").read_text()
    assert run("render", "mine:small", "-o", "net.svg").returncode == 2
    missing = run("render", "mine:absent", "-o", "net.svg")
    assert missing.returncode == 3 and "absent" in missing.stderr and "Traceback" not in missing.stderr
    converted = run("convert", "mine:small", "--input-shape", "1,4", "-o", "net.onnx", "--verify")
    assert converted.returncode == 0, converted.stderr


def test_weights_come_from_a_state_dict(torch: ModuleType, tmp_path: Path) -> None:
    one, two = torch.nn.Linear(4, 3), torch.nn.Linear(4, 3)
    torch.save(two.state_dict(), tmp_path / "two.pth")
    model = api.load(one, input_shapes={"0": (None, (1, 4))}, weights=tmp_path / "two.pth")
    x = np.ones((1, 4), "f4")
    (mine,) = Runner(model, provider="cpu")(x).values()
    assert np.allclose(mine, two(torch.from_numpy(x)).detach().numpy(), atol=1e-6)
    torch.save(torch.nn.Linear(5, 3).state_dict(), tmp_path / "other.pth")
    with pytest.raises(ConvertError, match="has the shape"):
        api.load(one, input_shapes={"0": (None, (1, 4))}, weights=tmp_path / "other.pth")


TINY: dict[str, tuple[str, dict[str, Any], dict[str, tuple[int, ...]]]] = {
    "bert": ("BertModel", {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
             "intermediate_size": 64, "vocab_size": 99}, {"input_ids": (1, 8)}),
    "gpt2": ("GPT2Model", {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 99}, {"input_ids": (1, 8)}),
    "llama": ("LlamaModel", {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
              "num_key_value_heads": 2, "intermediate_size": 64, "vocab_size": 99}, {"input_ids": (1, 8)}),
    "swin": ("SwinModel", {"image_size": 32, "patch_size": 4, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4],
             "window_size": 4}, {"pixel_values": (1, 3, 32, 32)}),
    "t5": ("T5EncoderModel", {"d_model": 32, "d_ff": 64, "num_layers": 2, "num_heads": 4, "d_kv": 8,
           "vocab_size": 99}, {"input_ids": (1, 8)}),
}  # fmt: skip


@pytest.mark.parametrize("name", TINY)
def test_transformers_built_from_config(name: str, torch: ModuleType, need: Callable[[str], ModuleType]) -> None:
    transformers = need("transformers")
    if find_spec("torchvision") is not None:  # which transformers would import
        from tests.torchvision_shim import torchvision

        torchvision()
    class_, settings, shapes = TINY[name]
    kind = getattr(transformers, class_)
    torch.manual_seed(0)
    module = kind(kind.config_class(**settings)).eval()
    kwargs = {
        key: torch.arange(8)[None] if key == "input_ids" else torch.randn(*shape) for key, shape in shapes.items()
    }
    extra = {"use_cache": False} if name in ("gpt2", "llama") else {}
    model = api.load(module, kwargs={**kwargs, **extra})
    assert model.runnable, (model.problems, model.obstacles[:1])
    assert api.summary(model).parameters == sum(p.numel() for p in module.parameters())
    given = {key: value.numpy() for key, value in kwargs.items()}
    mine = Runner(model, provider="cpu")(given)
    with torch.no_grad():
        wanted = module(**kwargs, **extra)[0].numpy()
    error = difference(next(iter(mine.values())), wanted)
    assert error is not None and error <= 1e-5
    types = {scope.type for scope in model.scopes.values()}
    assert {type(part).__name__ for part in module.modules() if type(part).__name__.endswith("Layer")} <= types


def classes(model: Model, picture: Path, shared: Path, size: int = 224) -> list[tuple[float, str]]:
    """Return the likeliest ImageNet classes of a picture, by the preprocessing of torchvision."""
    from graphviz_nets.explain.images import batch

    scores = Runner(model, provider="cpu")(batch([picture], api.preprocess_of("imagenet"), (1, 3, size, size)))
    logits = next(iter(scores.values()))[0].astype("f8")
    odds = np.exp(logits - logits.max())
    odds /= odds.sum()
    lines = (shared / "labels/imagenet1000_clsidx_to_labels.txt").read_text().splitlines()
    return [(float(odds[k]), lines[k]) for k in np.argsort(odds)[::-1][:5]]


@pytest.mark.parametrize("way", ["module", "file"])
def test_mobilenet_v2_with_real_weights_classifies(way: str, torch: ModuleType, shared: Path) -> None:
    shapes = {"x": (None, (1, 3, 224, 224))}
    if way == "module":
        model = api.load(mobilenet_v2(), input_shapes=shapes)
    else:  # our own reading of the file
        model = api.load(mobilenet_v2(weights=False), input_shapes=shapes, weights=packaged(MOBILENET))
    odds, label = classes(model, shared / "images/goldfish.jpg", shared)[0]
    assert "goldfish" in label and odds > 0.99
    first, second = classes(model, shared / "images/both_dog_cat.png", shared)[:2]
    assert "bull mastiff" in first[1] and "tiger cat" in second[1]
    assert first[0] == pytest.approx(0.39, abs=0.03) and second[0] == pytest.approx(0.23, abs=0.03)


def test_efficientnet_lite0_with_real_weights_classifies(torch: ModuleType, shared: Path) -> None:
    model = api.load(efficientnet_lite0(), input_shapes={"0": (None, (1, 3, 224, 224))})
    assert model.runnable
    odds, label = classes(model, shared / "images/goldfish.jpg", shared)[0]
    assert "goldfish" in label and odds > 0.5
    top = " ".join(label for _, label in classes(model, shared / "images/both_dog_cat.png", shared))
    assert "mastiff" in top or "boxer" in top
