"""Runner: a model on onnxruntime, with any of its values as results."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

from graphviz_nets.errors import ConfigError, GraphvizNetsError, MissingExtra, RunError
from graphviz_nets.graph import proto
from graphviz_nets.graph.ir import Model, Node, Shape, Tensor, Value

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

PROVIDERS = ("auto", "cpu", "cuda")
DTYPES = {"float32": "f4", "float64": "f8", "float16": "f2", "int64": "i8", "int32": "i4", "bool": "?", "uint8": "u1"}


def must_run(model: Model) -> None:
    """Raise a RunError that says why, and what to do, where a model cannot run."""
    if not model.obstacles:
        return
    more = f" (and {len(model.obstacles) - 1} more)" if len(model.obstacles) > 1 else ""
    empty = "no data" in model.obstacles[0]
    hint = "give its weights with --weights FILE" if empty else ""
    if model.framework == "pytorch" and not empty:
        hint = "files of PyTorch are read, not run: name the module itself, as package.module:attribute"
    raise RunError(f"the model cannot run: {model.obstacles[0]}{more}", hint=hint)


class Runner:
    """A model that runs on onnxruntime.

    Parameters
    ----------
    model : Model
        A runnable one.
    wanted : sequence of str, optional
        Values to return, any of the main graph's; the model's outputs by default.
    provider : {"auto", "cpu", "cuda"}
        Where it runs: ``auto`` takes CUDA where onnxruntime has it. `Runner.provider` says what it got.
    threads : int
        For each operation; 0 leaves it to onnxruntime.

    Raises
    ------
    RunError
        When the model cannot run (the message says why), or onnxruntime refuses it.
    MissingExtra
        Without onnxruntime, or when CUDA is asked for and not there.

    Examples
    --------
    >>> import numpy as np
    >>> from graphviz_nets.graph.builder import Builder
    >>> op = Builder("net")
    >>> y = op.Relu(op.Neg(op.input("x", "float32", (1, 2))))
    >>> runner = Runner(op.model([y]))
    >>> runner({"x": np.array([[1, -2]], "f4")})[y].tolist(), runner.provider
    ([[0.0, 2.0]], 'cpu')
    """

    def __init__(self, model: Model, wanted: Sequence[str] = (), provider: str = "auto", threads: int = 0) -> None:
        if provider not in PROVIDERS:
            raise ConfigError(f"{provider!r} is not known", key="provider", hint=f"one of {', '.join(PROVIDERS)}")
        must_run(model)
        graph = model.graph
        known = {*graph.producers, *graph.inputs, *graph.initializers}
        for name in wanted:
            if name not in known:
                raise ConfigError(f"the model has no value {name!r}", hint="graphviz-nets summary lists its values")
        self.inputs: tuple[Value, ...] = tuple(graph.value(name) for name in graph.inputs)
        self.wanted: tuple[str, ...] = tuple(dict.fromkeys(wanted or graph.outputs))
        self.model = model.with_graph(replace(graph, outputs=self.wanted))
        self.threads = threads
        self.session, self.provider = _session(self.model, provider, threads)

    def __call__(self, inputs: Mapping[str, Array] | Array) -> dict[str, Array]:
        """Return the wanted values.

        Parameters
        ----------
        inputs : mapping of str to array, or array
            By input name; of a model with one input, the array alone. Where the model's batch is fixed, more or fewer
            samples than that are run in as many goes as it takes.

        Returns
        -------
        dict of str to array
            By value name.

        Raises
        ------
        RunError
            When an input is missing or has another shape, or onnxruntime fails.
        """
        given = self._checked(inputs)
        fixed, total = self._batches(given)
        if fixed is None:
            return self._run(given)
        parts = []
        for start in range(0, total, fixed):
            chunk = {name: array[start : start + fixed] for name, array in given.items()}
            size = min(fixed, total - start)
            found = self._run({name: _padded(array, fixed) for name, array in chunk.items()})
            parts.append({name: a[:size] if a.ndim and a.shape[0] == fixed else a for name, a in found.items()})
        return {name: _joined([part[name] for part in parts]) for name in self.wanted}

    def profile(self, inputs: Mapping[str, Array] | Array, rounds: int = 3) -> dict[str, float]:
        """Return the milliseconds that each node takes, on average, by the model's node ids.

        What onnxruntime has fused stands under the first node of it; what it has added (reorders) under its own name.
        """
        given = self._checked(inputs)
        with tempfile.TemporaryDirectory(prefix="graphviz_nets-") as folder:
            session, _ = _session(self.model, self.provider, self.threads, str(Path(folder) / "profile"))
            for _ in range(rounds + 1):
                session.run(list(self.wanted), given)
            events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
        times: dict[str, list[float]] = {}
        for event in events:
            name = event.get("name", "")
            if event.get("cat") == "Node" and name.endswith("_kernel_time"):
                node = name.removesuffix("_kernel_time").removeprefix("fused ").removesuffix("_nchwc")
                maker = self.model.graph.producers.get(node)  # what is moved to another layout is called by its output
                node = maker.id if maker is not None and node not in self.model.graph.by_id else node
                times.setdefault(node, []).append(event["dur"] / 1000)
        return {name: sum(found[1:]) / max(len(found) - 1, 1) for name, found in times.items()}

    def _checked(self, inputs: Mapping[str, Array] | Array) -> dict[str, Array]:
        import numpy as np

        if not isinstance(inputs, Mapping):
            if len(self.inputs) != 1:
                raise RunError(f"the model has {len(self.inputs)} inputs: {', '.join(v.name for v in self.inputs)}")
            inputs = {self.inputs[0].name: inputs}
        given = {}
        for value in self.inputs:
            if value.name not in inputs:
                raise RunError(
                    "this input is not given", node=value.name, hint="explain takes NAME=FILE for each input"
                )
            array = np.asarray(inputs[value.name], DTYPES.get(value.dtype or ""), order="C")
            if value.shape is not None and not _fits(array.shape, value.shape):
                raise RunError(f"the input has the shape {array.shape}, not {value.shape}", node=value.name)
            given[value.name] = array
        return given

    def _batches(self, given: Mapping[str, Array]) -> tuple[int | None, int]:
        """Return the model's fixed batch and the number of samples, where these differ."""
        wanted = {value.shape[0] if value.shape else None for value in self.inputs}
        sizes = {array.shape[0] if array.ndim else None for array in given.values()}
        if len(wanted) == len(sizes) == 1:
            (fixed,), (total,) = wanted, sizes
            if isinstance(fixed, int) and isinstance(total, int) and fixed != total:
                return fixed, total
        for value in self.inputs:
            shape = given[value.name].shape
            if value.shape is not None and any(
                isinstance(dim, int) and dim != real for dim, real in zip(value.shape, shape, strict=True)
            ):
                raise RunError(f"the input has the shape {shape}, not {value.shape}", node=value.name)
        return None, 0

    def _run(self, given: Mapping[str, Array]) -> dict[str, Array]:
        try:
            found = self.session.run(list(self.wanted), dict(given))
        except Exception as fault:  # onnxruntime raises its own classes, which share no base but this one
            raise RunError(said(fault)) from None
        return dict(zip(self.wanted, found, strict=True))


def reference(model: Model, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return the outputs as ONNX's reference evaluator computes them.

    Raises
    ------
    RunError
        When it cannot.
    """
    from onnx.reference import ReferenceEvaluator

    try:
        found = ReferenceEvaluator(proto.to_proto(model), new_ops=[_lrn()]).run(None, dict(inputs))
    except GraphvizNetsError:
        raise
    except Exception as fault:  # every operation has its own way to fail there
        raise RunError(f"ONNX's reference evaluator cannot run it: {fault}"[:500]) from None
    return dict(zip(model.graph.outputs, found, strict=True))


def _lrn() -> Any:
    """Return LRN as ONNX specifies it: the reference evaluator's own leaves out the last channel of its window."""
    import numpy as np
    from onnx.reference.op_run import OpRun

    class LRN(OpRun):
        op_domain = ""

        def _run(self, x: Array, alpha: float, beta: float, bias: float, size: int) -> tuple[Array]:
            before, after = (size - 1) // 2, size // 2
            square = np.pad(x.astype("f8") ** 2, [(0, 0), (before, after), *[(0, 0)] * (x.ndim - 2)])
            total = sum(square[:, k : k + x.shape[1]] for k in range(size))
            return ((x / (bias + alpha / size * total) ** beta).astype(x.dtype),)

    return LRN


def doubled(model: Model) -> Model:
    """Return the model in float64, for the reference evaluator: onnxruntime has no float64 convolutions.

    Examples
    --------
    >>> from graphviz_nets.graph.builder import Builder
    >>> op = Builder("net")
    >>> model = doubled(op.model([op.Mul(op.input("x", "float32", (2,)), op.scalar(0.5))]))
    >>> model.graph.value("x").dtype
    'float64'
    """
    import numpy as np

    def tensor(one: Tensor) -> Tensor:
        if one.dtype != "float32" or one.data is None:
            return one
        return replace(one, dtype="float64", data=np.frombuffer(one.bytes(), "<f4").astype("<f8").tobytes())

    def node(one: Node) -> Node:
        attributes = {
            key: tensor(value) if isinstance(value, Tensor) else 11 if (one.op_type, key, value) == ("Cast", "to", 1)
            else value for key, value in one.attributes.items()
        }  # fmt: skip
        return replace(one, attributes=attributes)

    graph = model.graph
    values = {k: replace(v, dtype="float64") if v.dtype == "float32" else v for k, v in graph.values.items()}
    initializers = {key: tensor(one) for key, one in graph.initializers.items()}
    return model.with_graph(
        replace(graph, nodes=tuple(map(node, graph.nodes)), values=values, initializers=initializers)
    )


def _fits(shape: tuple[int, ...], wanted: Shape) -> bool:
    """Say whether an array can be run: every known dimension agrees, but for the first, the batch."""
    if len(shape) != len(wanted):
        return False
    return all(not isinstance(dim, int) or dim == real for real, dim in zip(shape[1:], wanted[1:], strict=True))


def _padded(array: Array, size: int) -> Array:
    import numpy as np

    missing = size - array.shape[0]
    return array if not missing else np.concatenate([array, np.repeat(array[-1:], missing, 0)])


def _joined(parts: Sequence[Array]) -> Array:
    import numpy as np

    if len(parts) == 1 or not parts[0].ndim:
        return parts[0]
    if len({part.shape[1:] for part in parts}) > 1:
        shapes = ", ".join(map(str, sorted({part.shape for part in parts})))
        raise RunError(f"the samples give results of different shapes: {shapes}", hint="run them one at a time")
    return np.concatenate(parts)


def _session(model: Model, provider: str, threads: int, profile: str = "") -> tuple[Any, str]:
    """Return a session and the provider that it really runs on."""
    ort = onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = 4  # what fails is raised, and said once
    options.intra_op_num_threads = threads
    options.enable_mem_pattern = False  # its block comes on top of the first run's memory, and saves no time
    if profile:
        options.enable_profiling, options.profile_file_prefix = True, profile
    has_cuda = "CUDAExecutionProvider" in ort.get_available_providers()
    if has_cuda and provider != "cpu" and hasattr(ort, "preload_dlls"):
        ort.preload_dlls()
    asked = ["CUDAExecutionProvider"] * (has_cuda and provider != "cpu") + ["CPUExecutionProvider"]
    with tempfile.TemporaryDirectory(prefix="graphviz_nets-") as folder:
        path = Path(folder) / "model.onnx"
        proto.write(model, path, strict=False)  # outputs of unknown rank run as well
        try:
            session = ort.InferenceSession(str(path), options, providers=asked)
        except Exception as fault:  # as above
            raise RunError(said(fault)) from None
    got = "cuda" if "CUDAExecutionProvider" in session.get_providers() else "cpu"
    if provider == "cuda" and got != "cuda":
        raise MissingExtra("CUDA for onnxruntime", extra="gpu")
    return session, got


def onnxruntime() -> ModuleType:
    """Return the module, or say how to install it."""
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtra("onnxruntime", extra="run") from None
    module: ModuleType = onnxruntime
    return module


def said(fault: Exception) -> str:
    """Return onnxruntime's message without its codes and paths."""
    text = str(fault).replace("\n", " ")
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : (Load model from \S+ failed: ?)?", "", text)
    return f"onnxruntime: {text.rpartition('.cc:')[2] or text}"[:500]
