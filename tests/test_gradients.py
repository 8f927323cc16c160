"""Reverse mode: every rule against central differences in float64 and against torch; whole nets against torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from graphviz_nets.errors import GraphError
from graphviz_nets.explain import rules  # noqa: F401  fills the table
from graphviz_nets.explain.backward import grad, vjp
from graphviz_nets.explain.runner import Runner, doubled, reference
from graphviz_nets.graph import shapes
from graphviz_nets.graph.builder import Builder
from graphviz_nets.graph.ir import Graph, Model

from .cases.gradients import CASES, Case

Need = Callable[[str], Any]
Judge = Callable[[Case, Graph, Any, Any, Need], Any]


def build(op_type: str, case: Case) -> tuple[Graph, str, list[str], dict[str, Any]]:
    """Return a graph of one operation, its target, the inputs that are differentiated by, and feeds."""
    import numpy as np

    op = Builder("case", opset=case.opset)
    names, wrt, feeds = [], [], {}
    rng = np.random.default_rng(len(op_type))
    low, high = case.span
    for k, given in enumerate(case.inputs):
        if given is None:
            names.append("")
        elif isinstance(given, list):
            values = np.array(given)
            code, dtype = ("i8", "int64") if values.dtype.kind == "i" else ("f4", "float32")
            names.append(op.weight(f"c{k}", values.shape, values.astype(code).tobytes(), dtype, role="constant"))
        elif isinstance(given[0], str):
            names.append(special(op, f"c{k}", given, rng, feeds))
        else:
            # Distinct numbers with a margin to each other and to the kinks that the cases have.
            total = int(np.prod(given))
            spread = low + (rng.permutation(total) + 0.5) / total * (high - low)
            names.append(op.input(f"x{k}", "float32", given))
            wrt.append(f"x{k}")
            feeds[f"x{k}"] = spread.reshape(given)
    outputs = op.node(op_type, names, case.outputs, attributes=case.attributes)
    model = shapes.infer(model_of(op.graph(list(outputs)), case.opset))
    return model.graph, outputs[case.target], wrt, feeds


def special(op: Builder, name: str, given: tuple[Any, ...], rng: Any, feeds: dict[str, Any]) -> str:
    import numpy as np

    kind, what = given[0], given[1]
    if kind == "scalar":
        return op.scalar(what)
    if kind == "int64 scalar":
        return op.weight(name, (), np.int64(what).tobytes(), "int64", role="constant")
    if kind == "bool":
        values = np.array(what, bool) if isinstance(what, list) else rng.random(what) > 0.5
        return op.weight(name, values.shape, values.tobytes(), "bool", role="constant")
    values = rng.standard_normal(what) if kind == "weight" else rng.random(what) + 0.5
    return op.weight(name, what, values.astype("f4").tobytes())


def model_of(graph: Graph, opset: int) -> Model:
    return Model(graph, opset_imports={"": opset})


# Judges where the reference evaluator is wrong, knows no such operation, or is less exact -----------------------


def naive_max_pool(case: Case, graph: Graph, x: Any, seed: Any, need: Need) -> Any:
    """Give each output's gradient to the first of the largest elements of its window."""
    np = need("numpy")
    a, rank = case.attributes, x.ndim - 2
    kernel, strides = a["kernel_shape"], a.get("strides", (1,) * rank)
    dilations, pads = a.get("dilations", (1,) * rank), list(a.get("pads", (0,) * 2 * rank))
    if "auto_pad" in a:
        for k in range(rank):
            total = max(0, (seed.shape[2 + k] - 1) * strides[k] + kernel[k] - x.shape[2 + k])
            pads[k] = total // 2 if a["auto_pad"] == "SAME_UPPER" else total - total // 2
    out = np.zeros_like(x)
    for place in np.ndindex(*seed.shape):
        best, where = -np.inf, None
        for cell in np.ndindex(*kernel):
            at = [place[2 + k] * strides[k] - pads[k] + cell[k] * dilations[k] for k in range(rank)]
            if all(0 <= at[k] < x.shape[2 + k] for k in range(rank)) and x[(*place[:2], *at)] > best:
                best, where = x[(*place[:2], *at)], (*place[:2], *at)
        out[where] += seed[place]
    return out


def by_torch(forward: Callable[..., Any]) -> Judge:
    """Return a judge that differentiates by torch in float64."""

    def judge(case: Case, graph: Graph, x: Any, seed: Any, need: Need) -> Any:
        np, torch = need("numpy"), need("torch")
        weights = [
            torch.tensor(np.frombuffer(t.bytes(), "<f4").astype("f8").reshape(t.shape))
            for t in graph.initializers.values() if t.dtype == "float32"
        ]  # fmt: skip
        value = torch.tensor(x, requires_grad=True)
        (forward(torch, value, case, *weights) * torch.tensor(seed)).sum().backward()
        return value.grad.numpy()

    return judge


def _mean_variance(torch: Any, x: Any, case: Case) -> Any:
    axes = case.attributes.get("axes", (0, 2, 3))
    centred = x - x.mean(axes, keepdim=True)
    return centred / (centred**2).mean(axes, keepdim=True).sqrt()


def _transposed(torch: Any, x: Any, case: Case, w: Any, b: Any) -> Any:
    """Crop the whole transposed convolution by the pads, and append what the output padding adds."""
    whole = torch.nn.functional.conv_transpose2d(x, w, None, stride=2, groups=2)
    top, left, bottom, right = case.attributes["pads"]
    high, wide = case.attributes["output_padding"]
    return torch.nn.functional.pad(whole, (-left, wide - right, -top, high - bottom)) + b[:, None, None]


def _convolved(torch: Any, x: Any, case: Case, w: Any, b: Any) -> Any:
    a = case.attributes
    top, left, bottom, right = a["pads"]
    wide = torch.nn.functional.pad(x, (left, right, top, bottom))
    return torch.nn.functional.conv2d(wide, w, b, a["strides"], 0, a["dilations"], a["group"])


JUDGES: dict[Any, Judge] = {
    ("Conv", 0): by_torch(_convolved),
    ("ConvTranspose", 0): by_torch(_transposed),
    "MaxPool": naive_max_pool,
    "Erf": by_torch(lambda torch, x, case: torch.erf(x)),
    ("Gelu", 0): by_torch(lambda torch, x, case: torch.nn.functional.gelu(x)),
    "GlobalLpPool": by_torch(lambda torch, x, case: (x.abs() ** 3).sum((2, 3), keepdim=True) ** (1 / 3)),
    "MeanVarianceNormalization": by_torch(_mean_variance),
    ("Pad", 4): by_torch(lambda torch, x, case: torch.nn.functional.pad(x, (1, 0, -1, 2))),
    ("Resize", 3): by_torch(lambda torch, x, case, scales: _cubic(torch, x)),
    ("GroupNormalization", 0): by_torch(lambda torch, x, case, w, b: torch.nn.functional.group_norm(x, 2, w, b)),
}


def _cubic(torch: Any, x: Any) -> Any:
    return torch.nn.functional.interpolate(x, scale_factor=(1.5, 2.0), mode="bicubic", align_corners=False)


# Rules ---------------------------------------------------------------------------------------------------------------

FLAT = ("Sign", "Floor", "Ceil", "Round")
ALL = [(name, k) for name, cases in CASES.items() for k in range(len(cases)) if name not in FLAT]


def test_every_rule_has_a_case() -> None:
    assert set(CASES) == set(vjp)


@pytest.mark.parametrize("name", FLAT)
def test_no_gradient_passes_steps(name: str) -> None:
    graph, y, wrt, _ = build(name, CASES[name][0])
    with pytest.raises(GraphError, match="no gradient reaches 'x0'"):
        grad(graph, y, wrt)


def _judged(name: str, k: int) -> bool:
    return name in JUDGES or (name, k) in JUDGES


@pytest.mark.parametrize(("name", "k"), [(name, k) for name, k in ALL if not _judged(name, k)])
def test_rules_are_the_derivative(name: str, k: int) -> None:
    """The gradient along a random direction equals the central difference, in float64."""
    import numpy as np

    case = CASES[name][k]
    graph, y, wrt, feeds = build(name, case)
    found = grad(graph, y, wrt, opset=case.opset)
    forward, backward = doubled(model_of(graph, case.opset)), doubled(model_of(found.graph, case.opset))
    rng = np.random.default_rng(1)
    seed = rng.standard_normal(reference(forward, feeds)[y].shape)
    gradients = reference(backward, {**feeds, found.seed: seed})
    for value in wrt:
        direction = rng.standard_normal(feeds[value].shape)

        def along(step: float, value: str = value, direction: Any = direction) -> float:
            moved = {**feeds, value: feeds[value] + step * direction}
            return float((reference(forward, moved)[y] * seed).sum())

        real = (along(1e-5) - along(-1e-5)) / 2e-5
        mine = gradients[found.gradients[value]]
        assert mine.shape == feeds[value].shape
        # Of the size that a difference of such sums can tell.
        assert abs((mine * direction).sum() - real) <= 1e-6 * max(1.0, abs(real), np.abs(mine * direction).sum()), value


@pytest.mark.parametrize(("name", "k"), ALL)
def test_rules_run_on_onnxruntime(name: str, k: int, need: Need) -> None:
    """In float32 there, what the reference evaluator, a naive formula or torch gives in float64."""
    np = need("numpy")
    need("onnxruntime")
    case = CASES[name][k]
    graph, y, wrt, feeds = build(name, case)
    found = grad(graph, y, wrt, opset=case.opset)
    small = {key: value.astype("f4") for key, value in feeds.items()}
    seed = np.random.default_rng(1).standard_normal(Runner(model_of(graph, case.opset), [y])(small)[y].shape)
    model = model_of(found.graph, case.opset)
    mine = Runner(model, list(found.gradients.values()), provider="cpu")({**small, found.seed: seed})
    if _judged(name, k):
        judge = JUDGES.get(name) or JUDGES[name, k]
        real = {found.gradients["x0"]: judge(case, graph, feeds["x0"], seed, need)}
    else:
        real = reference(doubled(model), {**feeds, found.seed: seed})
    for value in found.gradients.values():
        assert mine[value].shape == real[value].shape
        assert np.abs(mine[value] - real[value]).max() <= 2e-5 * max(1, np.abs(real[value]).max())
