"""Verification: a converted model runs on onnxruntime as it does elsewhere, output by output."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from graphviz_nets import plugins
from graphviz_nets.errors import RunError
from graphviz_nets.graph import proto
from graphviz_nets.graph.ir import Model, Value

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]

TOLERANCE = 1e-4
"""Of max|a - b| / max|b|, for each output."""


@dataclass(frozen=True)
class Verdict:
    """How one output compares: `error` is max|a - b| / max|b|, None where shapes differ."""

    output: str
    error: float | None

    @property
    def equal(self) -> bool:
        """Whether the error is a number within `TOLERANCE`."""
        return self.error is not None and self.error <= TOLERANCE


def verify(model: Model, path: Path, weights: Path | None = None, seed: int = 0) -> tuple[str, list[Verdict]]:
    """Run a model on onnxruntime and elsewhere, on the same random inputs.

    Parameters
    ----------
    model : Model
        As :func:`graphviz_nets.load` gave it, runnable.
    path, weights : Path
        The files it was made from; without weights the model's own are handed to the judge.
    seed : int
        Of the inputs, which are normal with the deviation 1 (integers and flags: zeros).

    Returns
    -------
    (judge, verdicts)
        The name of what it was compared with: the source's own judge (OpenCV for Caffe) where that is installed and
        can, else ONNX's reference evaluator.

    Raises
    ------
    RunError
        When the model is not valid ONNX or does not run.
    """
    import onnx

    from graphviz_nets.explain.runner import Runner, reference

    runner = Runner(model, provider="cpu")
    with tempfile.TemporaryDirectory(prefix="graphviz_nets-") as folder:
        file = Path(folder) / "model.onnx"
        proto.write(model, file)
        try:
            onnx.checker.check_model(str(file))
        except onnx.checker.ValidationError as fault:
            raise RunError(f"onnx.checker refuses the model: {fault}"[:500]) from None
    inputs = _inputs(runner.inputs, seed)
    mine = runner(inputs)
    judge = getattr(plugins.resolve("converters", model.framework), "judge", None)
    found: tuple[str, Mapping[str, Array]] | None = judge(model, path, weights, inputs) if judge is not None else None
    name, theirs = found if found is not None else ("ONNX's reference evaluator", reference(model, inputs))
    return name, [Verdict(output, difference(mine[output], theirs[output])) for output in mine if output in theirs]


def compare(model: Model, other: Model, seed: int = 0) -> list[Verdict]:
    """Run two models on the same random inputs; their inputs and outputs are matched by order.

    Parameters
    ----------
    model, other : Model
        Both runnable; the verdicts have the first one's names.
    seed : int
        As in :func:`verify`.

    Raises
    ------
    RunError
        When one does not run, or they have different numbers of inputs.
    """
    from graphviz_nets.explain.runner import Runner

    mine, theirs = Runner(model, provider="cpu"), Runner(other, provider="cpu")
    if len(mine.inputs) != len(theirs.inputs):
        raise RunError(f"one model has {len(mine.inputs)} inputs, the other {len(theirs.inputs)}")
    inputs = _inputs(mine.inputs, seed)
    ours = mine(inputs)
    others = list(theirs({value.name: one for value, one in zip(theirs.inputs, inputs.values(), strict=True)}).values())
    return [
        Verdict(name, difference(others[k], array) if k < len(others) else None)
        for k, (name, array) in enumerate(ours.items())
    ]


def _inputs(values: Sequence[Value], seed: int) -> dict[str, Array]:
    import numpy as np

    rng = np.random.default_rng(seed)
    inputs = {}
    for value in values:
        if value.shape is None:
            raise RunError("its shape is not known", node=value.name, hint="give it with --input-shape")
        shape = [dim if isinstance(dim, int) else 1 for dim in value.shape]
        floating = (value.dtype or "float32").startswith("float")
        inputs[value.name] = rng.standard_normal(shape).astype("f4") if floating else np.zeros(shape)
    return inputs


def difference(a: Array, b: Array) -> float | None:
    """Return max|a - b| / max|b|, None where the shapes differ; values that are not finite must be alike.

    Examples
    --------
    >>> import numpy as np
    >>> difference(np.array([1.0, 2.5]), np.array([1.0, 2.0])), difference(np.zeros(2), np.zeros(3)) is None
    (0.25, True)
    """
    import numpy as np

    if a.shape != b.shape:
        return None
    if not a.size:
        return 0.0
    a, b = a.astype("f8"), b.astype("f8")
    if not np.array_equal(np.isnan(a), np.isnan(b)) or not np.array_equal(a[np.isinf(a)], b[np.isinf(b)]):
        return float("inf")
    whole = np.isfinite(a) & np.isfinite(b)
    if not whole.any():
        return 0.0
    return float(np.abs(a[whole] - b[whole]).max() / max(np.abs(b[whole]).max(), 1e-30))
