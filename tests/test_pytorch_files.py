"""PyTorch's files, read as data: nothing that they hold is executed, and what is broken is refused."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphviz_nets import api
from graphviz_nets.converters import pytorch_script
from graphviz_nets.converters.pytorch_pickle import Inert, walk
from graphviz_nets.errors import ConvertError, GraphvizNetsError, LimitError, ParseError
from graphviz_nets.graph import shapes
from graphviz_nets.graph.ir import Model

# From the files' own manifest and from PyTorch: parameters, and layers or nodes.
REAL = {
    "captum_cifar_exported.pt2": (62_006, 11), "captum_cifar_torchvision.pt": (62_006, 5),
    "captum_cifar_traced.pt": (62_006, 11), "facenet_pytorch/pnet.pt": (6_632, 8),
    "lpips/lpips_v0.1_alex.pth": (1_152, 5), "lpips/lpips_v0.1_squeeze.pth": (2_240, 7),
    "torchscript_small/l1000_100_10.script.dat": (101_110, 3),
    "torchscript_small/linrelu.script.dat": (66, 2), "torchscript_small/tuple_out.dat": (0, None),
}  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_real_files_open_and_draw(name: str, shared: Path, tmp_path: Path) -> None:
    model = api.load(shared / "pytorch" / name)
    table = api.summary(model)
    assert (table.parameters, table.layers) == REAL[name]
    assert model.problems
    api.render(model, tmp_path / "net.svg")
    api.render(model, tmp_path / "net.html")


def test_one_net_in_three_files_is_the_same(shared: Path) -> None:
    """The same CIFAR net as weights, as TorchScript and as a program: same weights, same layers in the same order."""
    folder = shared / "pytorch"
    models = [api.load(folder / f"captum_cifar_{kind}") for kind in ("torchvision.pt", "traced.pt", "exported.pt2")]
    first = models[0].graph.initializers
    for model in models[1:]:
        assert {n: t.bytes() for n, t in model.graph.initializers.items()} == {n: t.bytes() for n, t in first.items()}
    kinds = [[(scope.id, scope.type) for scope in model.layers] for model in models[1:]]
    assert kinds[0] == kinds[1]
    assert [type_ for _, type_ in kinds[0]][:3] == ["Conv2d", "ReLU", "MaxPool2d"]
    wires = [[(len(s.inputs), len(s.outputs)) for s in model.layers] for model in models[1:]]
    assert wires[0] == wires[1] == [(1, 1)] * 11


def test_the_program_counts_as_pytorch_does(shared: Path) -> None:
    program = api.load(shared / "pytorch" / "captum_cifar_exported.pt2", input_shapes={"x": (None, (1, 3, 32, 32))})
    assert program.graph.value("x").shape == (1, 3, 32, 32)
    conv = next(row for row in api.summary(program).rows if row.name == "conv1")
    assert conv.macs == 28 * 28 * 6 * 3 * 5 * 5


def test_ultraface_weights_match_the_onnx_file(shared: Path) -> None:
    saved = api.load(shared / "pytorch/ultraface/version-RFB-320.pth")
    other = api.load(shared / "onnx/ultraface/version-RFB-320_without_postprocessing.onnx")
    held = {tensor.bytes() for tensor in other.graph.initializers.values()}
    weights = [t for n, t in saved.graph.initializers.items() if n.endswith(".weight") and len(t.shape) == 4]
    assert len(weights) > 30 and all(tensor.bytes() in held for tensor in weights)


# Execution --------------------------------------------------------------------------------------------------------


class Evil:
    """Touches a file where it is unpickled."""

    def __init__(self, marker: Path, way: str) -> None:
        self.marker, self.way = marker, way

    def __reduce__(self) -> tuple[Any, ...]:
        command = f"touch {self.marker}"
        return {
            "system": (os.system, (command,)),
            "eval": (eval, (f"open({str(self.marker)!r}, 'w')",)),
            "getattr": (getattr, (str(self.marker), "upper")),
        }[self.way]


def archive(members: dict[str, bytes], **kwargs: Any) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **kwargs) as out:
        for name, data in members.items():
            out.writestr(f"net/{name}", data)
    return file.getvalue()


@pytest.mark.parametrize("way", ["system", "eval", "getattr"])
@pytest.mark.parametrize("protocol", range(6))
def test_pickles_are_never_executed(way: str, protocol: int, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    data = pickle.dumps({"weight": Evil(marker, way)}, protocol)
    path = tmp_path / "net.pt"
    path.write_bytes(archive({"data.pkl": data}))
    with pytest.raises(ParseError) as caught:
        api.load(path)
    assert caught.value.exit_code == 3 and not marker.exists()


def test_torchscript_code_is_never_executed(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    code = f"""open({str(marker)!r}, 'w')
class Net(Module):
  __parameters__ = []
  def forward(self, x: Tensor) -> Tensor:
    y = __import__('os').system('touch {marker}')
    return torch.relu(x)
"""
    # protocol 2: a class by name, an instance without arguments
    data = b"\x80\x02c__torch__\nNet\n)\x81}b."
    path = tmp_path / "net.pt"
    path.write_bytes(archive({"data.pkl": data, "constants.pkl": b"\x80\x02).", "code/__torch__.py": code.encode()}))
    model = api.load(path)
    assert "relu" in [node.op_type for node in model.graph.nodes] and not marker.exists()


def script(body: str, extra: str = "") -> Model:
    code = f"class Net(Module):\n  __parameters__ = []\n  def forward(self, x: Tensor) -> Tensor:\n{body}\n{extra}"
    members = {"data.pkl": b"\x80\x02c__torch__\nNet\n)\x81}b.", "code/__torch__.py": code.encode()}
    return api.load("net.pt", data=archive(members))


def test_branches_on_data_are_both_drawn_and_known_ones_chosen() -> None:
    both = script("""
    if bool(torch.gt(torch.sum(x), 0)):
      y = torch.relu(x)
    else:
      y = torch.neg(x)
    return y""")
    types = [node.op_type for node in both.graph.nodes]
    assert {"relu", "neg", "If"} <= set(types)
    one = script("""
    if False:
      y = torch.relu(x)
    else:
      y = torch.neg(x)
    return y""")
    assert [node.op_type for node in one.graph.nodes] == ["neg"]


def test_a_loop_is_followed_once_in_a_scope() -> None:
    model = script("""
    y = x
    for i in range(10):
      y = torch.mul(y, 2)
    return y""")
    inside = [node.op_type for node in model.graph.nodes if node.scope == ("loop",)]
    assert inside == ["range", "mul"] and model.graph.nodes[-1].op_type == "Loop"
    model.graph.check()


def test_code_that_doubles_at_each_call_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["def f0(x: Tensor) -> Tensor:\n  return torch.relu(x)"]
    lines += [
        f"def f{k}(x: Tensor) -> Tensor:\n  return __torch__.f{k - 1}(__torch__.f{k - 1}(x))" for k in range(1, 40)
    ]
    monkeypatch.setattr(pytorch_script, "NODES", 20_000)
    with pytest.raises(LimitError):
        script("    return __torch__.f39(x)", "\n".join(lines))


# Broken files -----------------------------------------------------------------------------------------------------


def test_archives_with_tricks_are_refused() -> None:
    twice = archive({"data.pkl": b"\x80\x02}.", "data.pkk": b"\x80\x02}."}).replace(b"data.pkk", b"data.pkl")
    with pytest.raises(ParseError, match="two members"):
        api.load("net.pt", data=twice)
    with pytest.raises(ParseError, match="no tensors"):
        api.load("net.pt", data=archive({"data.pkl": b"\x80\x02}."}))
    with pytest.raises(ParseError, match=r"no data\.pkl"):
        api.load("net.pt", data=archive({"byteorder": b"little"}))
    with pytest.raises(ParseError, match="truncated"):
        api.load("net.pt", data=archive({"data.pkl": b"\x80\x02}."})[:-30])


def test_a_bomb_is_not_blown_up() -> None:
    data = archive({"data.pkl": b"\0" * (300 << 20)}, compression=zipfile.ZIP_DEFLATED)
    assert len(data) < 1_000_000
    with pytest.raises(LimitError):
        api.load("net.pt", data=data)


def test_tensors_stay_within_their_storage() -> None:
    bad = STATE.replace(b"K\x02K\x03\x86", b"K\x02K\x7f\x86")
    assert bad != STATE
    with pytest.raises(ParseError, match="reaches beyond"):
        api.load("net.pt", data=archive({"data.pkl": bad, "data/0": b"\0" * 24}))


STATE = (
    b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
    b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06tQK\x00K\x02K\x03\x86K\x03K\x01\x86\x89ccollections\nOrderedDict\n"
    b")RtRs."
)
"""What ``torch.save({"w": ...})`` writes, made by hand: six numbers, two by three."""


@pytest.fixture(scope="session")
def torch_file() -> bytes:
    return archive({"data.pkl": STATE, "data/0": np.arange(6, dtype="<f4").tobytes()})


def test_a_state_dict_made_by_hand(torch_file: bytes) -> None:
    model = api.load("net.pt", data=torch_file)
    tensor = model.graph.initializers["w"]
    assert tensor.shape == (2, 3) and np.frombuffer(tensor.bytes(), "f4").tolist() == [0, 1, 2, 3, 4, 5]


def test_every_cut_of_a_file_is_refused_with_words(torch_file: bytes, shared: Path) -> None:
    old = (shared / "pytorch/lpips/lpips_v0.1_alex.pth").read_bytes()
    for whole, step in ((torch_file, 7), (old, 101)):
        for size in range(1, len(whole) - 1, step):
            with pytest.raises(GraphvizNetsError):
                api.load("net.pt", data=whole[:size])


@given(st.data())
def test_flipped_bytes_raise_our_errors_only(data: st.DataObject) -> None:
    body = bytearray(
        b"\x80\x02}(X\x01\x00\x00\x00aK\x01X\x01\x00\x00\x00b(lK\x02aX\x01\x00\x00\x00cc__main__\nNet\n)\x81}X\x01\x00\x00\x00"
        b"dNsbu."
    )
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        walk(io.BytesIO(bytes(body)))
    except GraphvizNetsError:
        return


def test_deep_keys_do_not_end_the_process() -> None:
    deep = b"\x80\x02}" + b")" + b"\x85" * 1_000_000 + b"K\x01s."
    with pytest.raises(ParseError, match="as a key"):
        walk(io.BytesIO(deep))


def test_classes_stay_names() -> None:
    found = walk(io.BytesIO(b"\x80\x02cos\nsystem\n)\x81}X\x01\x00\x00\x00aK\x05sb."))
    assert isinstance(found, Inert) and str(found.type) == "os.system" and found.state == {"a": 5}


def test_a_pickled_module_gives_its_tree(need: Callable[[str], ModuleType], tmp_path: Path) -> None:
    torch = need("torch")
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Sequential(torch.nn.BatchNorm2d(2)))
    torch.save(module, tmp_path / "net.pt")
    model = api.load(tmp_path / "net.pt")
    assert [(scope.id, scope.type) for scope in model.layers] == [("0", "Conv2d"), ("1/0", "BatchNorm2d")]
    table = api.summary(model)
    assert table.parameters == sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("old", [False, True])
def test_what_torch_saves_is_read_as_it_is(old: bool, need: Callable[[str], ModuleType], tmp_path: Path) -> None:
    torch = need("torch")
    torch.manual_seed(0)
    base = torch.randn(4, 6)
    saved = {"a": base, "b": base.t(), "c": base[1:3, ::2], "d": torch.arange(5), "e": torch.randn(3).half(),
             "f": torch.zeros(0, 3), "g": torch.tensor(2.5).bfloat16()}  # fmt: skip
    torch.save(saved, tmp_path / "net.pt", _use_new_zipfile_serialization=not old)
    tensors = api.load(tmp_path / "net.pt").graph.initializers
    for name, tensor in saved.items():
        want = tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
        assert (tensors[name].shape, tensors[name].bytes()) == (tuple(tensor.shape), want), name


def test_programs_of_today_are_read(need: Callable[[str], ModuleType], tmp_path: Path) -> None:
    torch = need("torch")
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.GELU()).eval()
    torch.export.save(torch.export.export(module, (torch.randn(1, 3, 8, 8),)), tmp_path / "net.pt2")
    model = shapes.infer(api.load(tmp_path / "net.pt2"))
    assert [scope.type for scope in model.layers] == ["Conv2d", "BatchNorm2d", "GELU"]
    assert api.summary(model).parameters == sum(p.numel() for p in module.parameters())
    assert api.summary(model).rows[0].macs == 4 * 6 * 6 * 27
    weight = model.graph.initializers["0.weight"]
    assert np.array_equal(np.frombuffer(weight.bytes(), "f4"), module[0].weight.detach().numpy().ravel())


def test_a_file_that_is_none_of_pytorchs_says_so(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    path.write_bytes(pickle.dumps({"a": 1}, 2))
    with pytest.raises(ConvertError, match="none of PyTorch's"):
        api.load(path)
