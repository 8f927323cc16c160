"""The package caffe2onnx as a second engine, in a process of its own with a time limit.

It was last released in 2021: its generated protobuf classes, a name that numpy has lost and the versions it writes are
mended on the way, without changing a file of it.
"""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from graphviz_nets.errors import ConvertError, LimitError, MissingExtra
from graphviz_nets.graph import proto
from graphviz_nets.graph.ir import Model

SECONDS = 600
OPSET = 18
INSTALL = "pip install --no-deps caffe2onnx==2.0.1"


def convert(net: Path, weights: Path, seconds: float = SECONDS) -> Model:
    """Convert a net with caffe2onnx.

    Parameters
    ----------
    net, weights : Path
        A deploy prototxt and its ``.caffemodel``.
    seconds : float
        How long it may take.

    Returns
    -------
    Model
        What it made, in opset 18 where onnx's version converter can.

    Raises
    ------
    MissingExtra
        When it is not installed.
    ConvertError
        When it gives up, with its last words.
    LimitError
        When it takes too long.
    """
    if _folder() is None:
        raise MissingExtra("caffe2onnx", hint=INSTALL)
    with tempfile.TemporaryDirectory(prefix="graphviz_nets-") as folder:
        out = Path(folder) / "model.onnx"
        command = [sys.executable, "-m", __spec__.name, str(net.resolve()), str(weights.resolve()), str(out)]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=seconds, check=False,
                                  stdin=subprocess.DEVNULL)  # fmt: skip
        except subprocess.TimeoutExpired:
            raise LimitError("caffe2onnx", f"{seconds:g} s") from None
        if done.returncode or not out.is_file():
            said = [line for line in (done.stdout + "\n" + done.stderr).splitlines() if line.strip()]
            raise ConvertError(f"caffe2onnx gives up: {said[-1].strip() if said else 'without a word'}", path=str(net),
                               hint="--engine native converts every layer of Caffe 1.0")  # fmt: skip
        model = proto.read(out)
        model.graph.initializers  # noqa: B018  all data is embedded, so nothing is read from the folder later
        return model


def _folder() -> Path | None:
    found = importlib.util.find_spec("caffe2onnx")
    places = found.submodule_search_locations if found is not None else None
    return Path(next(iter(places))) if places else None


def _child(net: str, weights: str, out: str) -> None:
    import numpy as np
    import onnx
    from onnx import version_converter

    for name in ("float", "int", "bool"):
        vars(np).setdefault(name, getattr(__import__("builtins"), name))
    folder = _folder()
    if folder is None:
        raise SystemExit("caffe2onnx is not installed")
    name = "caffe2onnx.proto.caffe_upsample_pb2"
    sys.modules[name] = _schema(name, folder / "proto" / "caffe_upsample_pb2.py")
    from caffe2onnx.src.caffe2onnx import Caffe2Onnx
    from caffe2onnx.src.load_save_model import loadcaffemodel

    model = Caffe2Onnx(*loadcaffemodel(net, weights), Path(net).stem).createOnnxModel()
    # It writes the operations of 2019 under the versions of today.
    del model.opset_import[:]
    model.opset_import.add(version=11)
    model.ir_version = 8
    try:
        model = version_converter.convert_version(model, OPSET)
    except Exception as fault:  # the C++ code raises RuntimeError and its own classes: the old version runs as well
        print(f"stays at opset 11: {fault}", file=sys.stderr)
    onnx.save_model(model, out)


def _schema(name: str, path: Path) -> ModuleType:
    """Return its protobuf classes, made from the description in the generated file, which today's protobuf refuses."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.keyword) and node.arg == "serialized_pb":
            text = node.value.args[0] if isinstance(node.value, ast.Call) else node.value
            data = ast.literal_eval(text)
            break
    else:
        raise SystemExit(f"no description in {path.name}")
    file = descriptor_pb2.FileDescriptorProto.FromString(data if isinstance(data, bytes) else data.encode("latin-1"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    module = ModuleType(name)
    for message in file.message_type:
        found: Any = pool.FindMessageTypeByName(f"{file.package}.{message.name}")
        setattr(module, message.name, message_factory.GetMessageClass(found))
    for enum in file.enum_type:
        for value in enum.value:
            setattr(module, value.name, value.number)
    return module


if __name__ == "__main__":
    _child(*sys.argv[1:])
