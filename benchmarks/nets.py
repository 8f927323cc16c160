"""Networks made to measure with: transformers of any size as ONNX, ResNet-152 and Inception-v4 as flat prototxt.

Run as ``python benchmarks/nets.py transformer OUT.onnx 10000 [--mask] [--distinct] [--flat]``, or with ``resnet152`` or
``inception4`` and ``OUT.prototxt``. The same arguments give the same bytes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

OPS = 52
"""Operations of one decoder layer."""


def transformer(nodes: int, *, mask: bool = True, distinct: bool = False, scopes: bool = True) -> bytes:
    """Return a decoder-only language model of about so many operations as ONNX, without weights' data.

    Parameters
    ----------
    nodes : int
        Operations wanted; whole layers of `OPS` are made.
    mask : bool
        Wire one attention mask and the rotary cosines and sines to every layer; without it they are made in each.
    distinct : bool
        Give every layer an inner size and a set of operations of its own, so that no two layers are equal.
    scopes : bool
        Name nodes by module path; without it they are called ``MatMul_17``, as many exporters do.
    """
    import onnx

    model = onnx.ModelProto(ir_version=10, producer_name="graphviz_nets.benchmarks")
    model.opset_import.add(domain="", version=18)
    graph = model.graph
    graph.name = f"transformer_{nodes}"
    width, heads, length = 512, 8, 128
    made = 0

    def typed(info: onnx.ValueInfoProto, kind: int, shape: tuple[int, ...]) -> None:
        info.type.tensor_type.elem_type = kind
        for dim in shape:
            info.type.tensor_type.shape.dim.add(dim_value=dim)

    def weight(name: str, *shape: int) -> str:
        graph.initializer.add(name=name, data_type=1, dims=shape, data_location=1).external_data.add(
            key="location", value="weights.bin"
        )
        return name

    def numbers(name: str, *values: int) -> str:
        graph.initializer.add(name=name, data_type=7, dims=[len(values)], int64_data=values)
        return name

    def scalar(name: str, value: float) -> str:
        graph.initializer.add(name=name, data_type=1, dims=[], float_data=[value])
        return name

    def op(scope: str, kind: str, *inputs: str, outputs: int = 1, **attributes: object) -> str:
        nonlocal made
        name = f"{scope}/{kind}_{made}" if scopes and scope else f"{kind}_{made}"
        made += 1
        outs = [f"v{made}" if k == 0 else f"v{made}_{k}" for k in range(outputs)]
        graph.node.append(onnx.helper.make_node(kind, inputs, outs, name=name, **attributes))
        return outs[0]

    typed(graph.input.add(name="input_ids"), 7, (1, length))
    typed(graph.input.add(name="attention_mask"), 1, (1, 1, length, length))
    axes, split, merge = numbers("axes", -1), numbers("split", 1, length, heads, -1), numbers("merge", 1, length, width)
    eps, two, root = scalar("eps", 1e-5), scalar("two", 2.0), scalar("root", 8.0)
    half, full = numbers("half", width // heads // 2), numbers("full", width // heads)
    zero, last = numbers("zero", 0), numbers("last", -1)
    x = op("/embed_tokens", "Gather", weight("embed_tokens.weight", 32000, width), "input_ids")

    def rotary(scope: str) -> tuple[str, str]:
        ids = op(scope, "Cast", "input_ids", to=1)
        angle = op(scope, "Mul", op(scope, "Unsqueeze", ids, axes), weight(f"inv_freq{made}", width // heads))
        return op(scope, "Cos", angle), op(scope, "Sin", angle)

    def norm(scope: str, x: str, size: int) -> str:
        mean = op(scope, "ReduceMean", op(scope, "Pow", x, two), axes)
        scale = op(scope, "Sqrt", op(scope, "Add", mean, eps))
        return op(scope, "Mul", op(scope, "Div", x, scale), weight(f"{scope[1:].replace('/', '.')}.weight", size))

    shared = rotary("/rotary") if mask else ("", "")
    layers = max(1, round(nodes / OPS))
    for k in range(layers):
        here = f"/layers.{k}"
        name = here[1:]
        inner = width * 4 + (k if distinct else 0)
        y = norm(f"{here}/input_norm", x, width)
        attention = f"{here}/attention"
        cos, sin = shared if mask else rotary(attention)
        parts = {}
        for letter in "qkv":
            flat = op(f"{attention}/{letter}_proj", "MatMul", y, weight(f"{name}.{letter}.weight", width, width))
            heads_of = op(attention, "Transpose", op(attention, "Reshape", flat, split), perm=[0, 2, 1, 3])
            if letter != "v":
                one = op(attention, "Slice", heads_of, zero, half, last)
                other = op(attention, "Neg", op(attention, "Slice", heads_of, half, full, last))
                turned = op(attention, "Mul", op(attention, "Concat", other, one, axis=-1), sin)
                heads_of = op(attention, "Add", op(attention, "Mul", heads_of, cos), turned)
            parts[letter] = heads_of
        score = op(attention, "MatMul", parts["q"], op(attention, "Transpose", parts["k"], perm=[0, 1, 3, 2]))
        score = op(attention, "Div", score, root)
        if mask:
            score = op(attention, "Add", score, "attention_mask")
        mixed = op(attention, "MatMul", op(attention, "Softmax", score, axis=-1), parts["v"])
        if distinct:  # a chain of its own length tells the layers apart even where sizes are not looked at
            for bit in range(k.bit_length()):
                mixed = op(attention, "Abs" if k >> bit & 1 else "Neg", mixed)
        joined = op(attention, "Reshape", op(attention, "Transpose", mixed, perm=[0, 2, 1, 3]), merge)
        x = op(here, "Add", x, op(f"{attention}/o_proj", "MatMul", joined, weight(f"{name}.o.weight", width, width)))
        y = norm(f"{here}/post_norm", x, width)
        gate = op(f"{here}/mlp", "MatMul", y, weight(f"{name}.gate.weight", width, inner))
        up = op(f"{here}/mlp", "MatMul", y, weight(f"{name}.up.weight", width, inner))
        both = op(f"{here}/mlp", "Mul", op(f"{here}/mlp", "Mul", gate, op(f"{here}/mlp", "Sigmoid", gate)), up)
        x = op(here, "Add", x, op(f"{here}/mlp", "MatMul", both, weight(f"{name}.down.weight", inner, width)))
    logits = op("/lm_head", "MatMul", norm("/norm", x, width), weight("lm_head.weight", width, 32000))
    typed(graph.output.add(name=logits), 1, (1, length, 32000))
    return model.SerializeToString(deterministic=True)


class _Prototxt:
    """Collects flat Caffe layers."""

    def __init__(self, name: str, size: int) -> None:
        shape = f"dim: 1 dim: 3 dim: {size} dim: {size}"
        self.lines = [
            f'name: "{name}"',
            f'layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ {shape} }} }} }}',
        ]

    def layer(self, name: str, kind: str, bottoms: list[str], top: str, more: str = "") -> str:
        ends = " ".join(f'bottom: "{bottom}"' for bottom in bottoms)
        self.lines.append(f'layer {{ name: "{name}" type: "{kind}" {ends} top: "{top}" {more} }}')
        return top

    def conv(
        self, name: str, x: str, outputs: int, kernel: tuple[int, int] = (1, 1), stride: int = 1,
        pad: tuple[int, int] = (0, 0), *, relu: bool = True, bn: str = "bn_", scale: str = "scale_",
    ) -> str:  # fmt: skip
        settings = f"num_output: {outputs} kernel_h: {kernel[0]} kernel_w: {kernel[1]} bias_term: false"
        settings += f" stride: {stride} pad_h: {pad[0]} pad_w: {pad[1]}"
        y = self.layer(name, "Convolution", [x], name, f"convolution_param {{ {settings} }}")
        self.layer(f"{bn}{name.removeprefix('res')}", "BatchNorm", [y], y)
        self.layer(f"{scale}{name.removeprefix('res')}", "Scale", [y], y, "scale_param { bias_term: true }")
        if relu:
            self.layer(f"{name}_relu", "ReLU", [y], y)
        return y

    def pool(self, name: str, x: str, kernel: int, stride: int, kind: str = "MAX", pad: int = 0) -> str:
        settings = f"pool: {kind} kernel_size: {kernel} stride: {stride} pad: {pad}"
        return self.layer(name, "Pooling", [x], name, f"pooling_param {{ {settings} }}")

    def end(self, x: str, classes: int = 1000) -> str:
        x = self.layer("pool_last", "Pooling", [x], "pool_last", "pooling_param { pool: AVE global_pooling: true }")
        x = self.layer("fc", "InnerProduct", [x], "fc", f"inner_product_param {{ num_output: {classes} }}")
        self.layer("prob", "Softmax", [x], "prob")
        return "\n".join(self.lines) + "\n"


def resnet152() -> str:
    """Return ResNet-152 (He et al. 2015) as flat prototxt with the names that the published one has."""
    net = _Prototxt("ResNet-152", 224)
    x = net.pool("pool1", net.conv("conv1", "data", 64, (7, 7), 2, (3, 3)), 3, 2)
    for stage, (blocks, width) in enumerate(((3, 64), (8, 128), (36, 256), (3, 512)), 2):
        for k in range(blocks):
            letter = "abcdefgh"[k] if blocks <= 8 and stage in (2, 5) else "a" if k == 0 else f"b{k}"
            name = f"res{stage}{letter}"
            stride = 2 if k == 0 and stage > 2 else 1
            short = net.conv(f"{name}_branch1", x, width * 4, stride=stride, relu=False) if k == 0 else x
            y = net.conv(f"{name}_branch2a", x, width, stride=stride)
            y = net.conv(f"{name}_branch2b", y, width, (3, 3), pad=(1, 1))
            y = net.conv(f"{name}_branch2c", y, width * 4, relu=False)
            x = net.layer(name, "Eltwise", [short, y], name)
            net.layer(f"{name}_relu", "ReLU", [x], x)
    return net.end(x)


def inception4() -> str:
    """Return Inception-v4 (Szegedy et al. 2016) as flat prototxt."""
    net = _Prototxt("Inception-v4", 299)

    def join(name: str, *parts: str) -> str:
        return net.layer(f"{name}_concat", "Concat", list(parts), f"{name}_concat")

    def wide(name: str, x: str, outputs: int, size: int, across: bool) -> str:
        half = (size - 1) // 2
        kernel, pad = ((1, size), (0, half)) if across else ((size, 1), (half, 0))
        return net.conv(name, x, outputs, kernel, pad=pad)

    def same(name: str, x: str, outputs: int) -> str:
        return net.conv(name, x, outputs, (3, 3), pad=(1, 1))

    x = net.conv("stem_conv1", "data", 32, (3, 3), 2)
    x = same("stem_conv3", net.conv("stem_conv2", x, 32, (3, 3)), 64)
    x = join("stem_a", net.pool("stem_a_pool", x, 3, 2), net.conv("stem_a_conv", x, 96, (3, 3), 2))
    one = net.conv("stem_b1_3x3", net.conv("stem_b1_1x1", x, 64), 96, (3, 3))
    two = wide("stem_b2_7x1", wide("stem_b2_1x7", net.conv("stem_b2_1x1", x, 64), 64, 7, True), 64, 7, False)
    x = join("stem_b", one, net.conv("stem_b2_3x3", two, 96, (3, 3)))
    x = join("stem_c", net.conv("stem_c_conv", x, 192, (3, 3), 2), net.pool("stem_c_pool", x, 3, 2))
    for k in range(1, 5):
        name = f"inception_a{k}"
        average = net.pool(f"{name}_pool", x, 3, 1, "AVE", 1)
        double = same(f"{name}_3x3_2", net.conv(f"{name}_1x1_4", x, 64), 96)
        x = join(
            name, net.conv(f"{name}_1x1_1", average, 96), net.conv(f"{name}_1x1_2", x, 96),
            same(f"{name}_3x3_1", net.conv(f"{name}_1x1_3", x, 64), 96), same(f"{name}_3x3_3", double, 96),
        )  # fmt: skip
    name = "reduction_a"
    deep = net.conv(f"{name}_3x3_2", same(f"{name}_3x3_1", net.conv(f"{name}_1x1", x, 192), 224), 256, (3, 3), 2)
    x = join(name, net.pool(f"{name}_pool", x, 3, 2), net.conv(f"{name}_3x3_3", x, 384, (3, 3), 2), deep)
    for k in range(1, 8):
        name = f"inception_b{k}"
        average = net.pool(f"{name}_pool", x, 3, 1, "AVE", 1)
        middle = wide(f"{name}_1x7_1", net.conv(f"{name}_1x1_3", x, 192), 224, 7, True)
        long = wide(f"{name}_1x7_2", net.conv(f"{name}_1x1_4", x, 192), 192, 7, True)
        long = wide(f"{name}_1x7_3", wide(f"{name}_7x1_2", long, 224, 7, False), 224, 7, True)
        x = join(
            name, net.conv(f"{name}_1x1_1", average, 128), net.conv(f"{name}_1x1_2", x, 384),
            wide(f"{name}_7x1_1", middle, 256, 7, False), wide(f"{name}_7x1_3", long, 256, 7, False),
        )  # fmt: skip
    name = "reduction_b"
    small = net.conv(f"{name}_3x3_1", net.conv(f"{name}_1x1_1", x, 192), 192, (3, 3), 2)
    deep = wide(f"{name}_7x1", wide(f"{name}_1x7", net.conv(f"{name}_1x1_2", x, 256), 256, 7, True), 320, 7, False)
    x = join(name, net.pool(f"{name}_pool", x, 3, 2), small, net.conv(f"{name}_3x3_2", deep, 320, (3, 3), 2))
    for k in range(1, 4):
        name = f"inception_c{k}"
        average = net.pool(f"{name}_pool", x, 3, 1, "AVE", 1)
        fork = net.conv(f"{name}_1x1_3", x, 384)
        deep = wide(
            f"{name}_3x1_2", wide(f"{name}_1x3_2", net.conv(f"{name}_1x1_4", x, 384), 448, 3, True), 512, 3, False
        )
        x = join(
            name, net.conv(f"{name}_1x1_1", average, 256), net.conv(f"{name}_1x1_2", x, 256),
            wide(f"{name}_1x3_1", fork, 256, 3, True), wide(f"{name}_3x1_1", fork, 256, 3, False),
            wide(f"{name}_1x3_3", deep, 256, 3, True), wide(f"{name}_3x1_3", deep, 256, 3, False),
        )  # fmt: skip
    return net.end(x)


def main() -> None:
    """Write the net that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["transformer", "resnet152", "inception4"])
    parser.add_argument("out", type=Path)
    parser.add_argument("nodes", type=int, nargs="?", default=1000)
    parser.add_argument("--mask", action="store_true")
    parser.add_argument("--distinct", action="store_true")
    parser.add_argument("--flat", action="store_true")
    given = parser.parse_args()
    if given.kind == "transformer":
        made = transformer(given.nodes, mask=given.mask, distinct=given.distinct, scopes=not given.flat)
        given.out.write_bytes(made)
    else:
        given.out.write_text(resnet152() if given.kind == "resnet152" else inception4(), "utf-8")


if __name__ == "__main__":
    main()
