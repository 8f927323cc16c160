"""Caffe's recurrent layers as a Scan over time steps, which knows ``cont`` as Caffe does.

ONNX's own LSTM and RNN cannot begin a sequence anew in the middle of a batch, where `cont` is 0.
"""

from __future__ import annotations

from collections.abc import Callable

from graphviz_nets.graph.builder import Builder
from graphviz_nets.graph.ir import Graph, Shape, Value, count
from graphviz_nets.graph.shapes import Impossible

from .caffe_call import Call, layer

Step = Callable[[Builder, list[str], str, str], list[str]]


def _flat(op: Builder, call: Call, k: int, kept: int) -> tuple[str, int | None]:
    """Return a bottom with all axes behind the first `kept` joined, and the size of the joined one."""
    shape = call.shape(k)
    if shape is None:
        return op.Reshape(call.inputs[k], op.constant([*(0,) * kept, -1])), None
    if len(shape) < kept:
        raise Impossible("steps and batch are needed")
    x = call.inputs[k]
    if len(shape) != kept + 1:
        size = 1 if len(shape) == kept else -1
        x = op.Reshape(x, op.constant([*(0,) * kept, size]))
    return x, count(shape[kept:])


def _recurrent(op: Builder, call: Call, gates: int, states: int, step: Step) -> tuple[str, list[str]]:
    """Append the layer up to its hidden states.

    Returns
    -------
    (sequence, last)
        The hidden state of every step, (T, N, D), and each state's last value, (1, N, D), in Caffe's order.
    """
    call.need(2)
    settings = call.param("recurrent_param")
    hidden = call.whole(settings, "num_output", None, 1)
    exposed = call.flag(settings, "expose_hidden", False)
    wide = gates * hidden
    x, size = _flat(op, call, 0, 2)
    w, b = call.weight("weight_x", (wide, size)), call.weight("bias", (wide,))
    x = op.Add(op.MatMul(x, op.Transpose(w, perm=(1, 0))), b)
    first = op.constant([0])
    if len(call.inputs) - 2 - (states if exposed else 0) > 0:
        static, size = _flat(op, call, 2, 1)
        y = op.Gemm(static, call.weight("weight_static", (wide, size)), transB=1)
        x = op.Add(x, op.Unsqueeze(y, first))
    r = call.weight("weight_h", (wide, hidden))
    steps, batch = call.known()[:2]
    if exposed:
        if len(call.inputs) < 2 + states:
            raise Impossible(f"expose_hidden asks for {states} more bottoms")
        shape = op.constant([batch, hidden])
        start = [op.Reshape(name, shape) for name in call.inputs[-states:]]
    else:
        zeros = op.weight(f"{call.layer.name}.zeros", (batch, hidden), lambda: bytes(4 * batch * hidden),
                          role="constant")  # fmt: skip
        start = [zeros] * states
    body = _body(call.layer.name, batch, hidden, wide, r, states, step)
    cont = op.Unsqueeze(call.inputs[1], op.constant([2])) if len(call.shape(1) or (0, 0)) == 2 else call.inputs[1]
    state: Shape = (batch, hidden)
    *last, sequence = op.node(
        "Scan", [*start, x, cont], states + 1, attributes={"body": body, "num_scan_inputs": 2},
        known=[("float32", state)] * states + [("float32", (steps, batch, hidden))],
    )  # fmt: skip
    return sequence, [op.Unsqueeze(name, first) for name in last] if exposed else []


def _body(name: str, batch: int, hidden: int, wide: int, r: str, states: int, step: Step) -> Graph:
    """Return one time step: the states, the input's part of the gates and `cont` to the next states."""
    body = Builder(f"{name} step")
    before = [body.input(f"{name}/{'hc'[k]}_before", "float32", (batch, hidden)) for k in range(states)]
    x, cont = body.input(f"{name}/x_t", "float32", (batch, wide)), body.input(f"{name}/cont_t", "float32", (batch, 1))
    body.scope = (f"{name} step",)
    body.values[r] = Value(r, "float32", (wide, hidden))  # found in the graph around
    before = [body.Mul(one, cont) for one in before]
    gates = body.Add(body.Gemm(before[0], r, transB=1), x)
    after = step(body, before, gates, cont)
    del body.values[r]
    return body.graph([*after, body.Identity(after[0])])


@layer("LSTM")
def lstm(op: Builder, call: Call) -> tuple[str, ...]:
    """MatMul, Add, Scan

    The number of steps and the batch must be known.
    """

    def step(body: Builder, before: list[str], gates: str, cont: str) -> list[str]:
        # Caffe's gates are input, forget, output and candidate.
        i, f, o, g = body.node("Split", [gates], 4, attributes={"axis": 1, "num_outputs": 4})
        kept, new = body.Mul(body.Sigmoid(f), before[1]), body.Mul(body.Sigmoid(i), body.Tanh(g))
        c = body.Add(kept, new)
        return [body.Mul(body.Sigmoid(o), body.Tanh(c)), c]

    sequence, last = _recurrent(op, call, 4, 2, step)
    return (sequence, *last)


@layer("RNN")
def rnn(op: Builder, call: Call) -> tuple[str, ...]:
    """MatMul, Add, Scan, Transpose, MatMul, Add, Tanh

    The number of steps and the batch must be known.
    """

    def step(body: Builder, before: list[str], gates: str, cont: str) -> list[str]:
        return [body.Tanh(gates)]

    hidden = call.whole(call.param("recurrent_param"), "num_output", None, 1)
    sequence, last = _recurrent(op, call, 1, 1, step)
    w, b = call.weight("weight_out", (hidden, hidden)), call.weight("bias_out", (hidden,))
    y = op.Tanh(op.Add(op.MatMul(sequence, op.Transpose(w, perm=(1, 0))), b))
    return (y, *last)
