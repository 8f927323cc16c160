"""Scopes for flat graphs, equal siblings, hubs: against networkx, and by properties that must hold of any graph."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import networkx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import nets
from graphviz_nets import api
from graphviz_nets.config import Options, load_rules
from graphviz_nets.drawing import pieces
from graphviz_nets.drawing.bodies import with_bodies
from graphviz_nets.drawing.diagram import Box, Diagram, boxes, diagram
from graphviz_nets.drawing.leaves import Leaf, edges, leaves
from graphviz_nets.drawing.scene import Curve, scene
from graphviz_nets.drawing.theme import thickness
from graphviz_nets.drawing.tree import Fold, Item, Place, Tree
from graphviz_nets.errors import ConfigError, GraphvizNetsError
from graphviz_nets.graph import proto, regions
from graphviz_nets.graph.builder import Builder
from graphviz_nets.graph.families import families, parts
from graphviz_nets.graph.ir import Graph, Model, Node, Value, sort
from tests.geometry import faults

SHARED = Path(__file__).resolve().parents[2] / "shared" / "models"


@st.composite
def graphs(draw: Any, most: int = 14) -> tuple[int, list[tuple[int, int]]]:
    """A random graph, mostly acyclic."""
    count = draw(st.integers(1, most))
    pair = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1))
    found = draw(st.lists(pair, max_size=3 * count, unique=True))
    if draw(st.booleans()):
        found = [(min(edge), max(edge)) for edge in found]
    return count, sorted({edge for edge in found if edge[0] != edge[1]})


def digraph(count: int, found: Sequence[tuple[int, int]]) -> Any:
    graph = networkx.DiGraph(found)
    graph.add_nodes_from(range(count))
    return graph


# The algorithms ---------------------------------------------------------------------------------------------------


@given(graphs())
@settings(deadline=None)
def test_the_order_is_topological_once_cycles_are_cut(graph: tuple[int, list[tuple[int, int]]]) -> None:
    count, found = graph
    order, forward = regions.topological(count, found)
    assert sorted(order) == list(range(count))
    place = {node: k for k, node in enumerate(order)}
    assert all(place[tail] < place[head] for tail, head in forward)
    if networkx.is_directed_acyclic_graph(digraph(count, found)):
        assert sorted(forward) == sorted(found)
        expected = {
            n: k for k, level in enumerate(networkx.topological_generations(digraph(count, found))) for n in level
        }
        assert regions.ranks(count, found) == [expected[node] for node in range(count)]


@given(graphs())
@settings(deadline=None, max_examples=200)
def test_cuts_are_the_dominators_of_the_end(graph: tuple[int, list[tuple[int, int]]]) -> None:
    count, found = graph
    found = [edge for edge in found if edge[0] < edge[1]]
    whole = digraph(count, found)
    for start, end in itertools.product(range(min(count, 3)), range(max(count - 3, 0), count)):
        if start == end or not networkx.has_path(whole, start, end):
            continue
        above = networkx.immediate_dominators(whole, start)
        chain = [end]
        while chain[-1] != start:
            chain.append(above[chain[-1]])
        assert regions.cuts(count, found, start, end) == chain[::-1]


@given(graphs())
@settings(deadline=None)
def test_segments_and_components_hold_every_node_once(graph: tuple[int, list[tuple[int, int]]]) -> None:
    count, found = graph
    pieces = regions.segments(count, found)
    assert sorted(node for piece in pieces for node in piece) == list(range(count))
    place = {node: k for k, piece in enumerate(pieces) for node in piece}
    _, forward = regions.topological(count, found)
    assert all(place[tail] <= place[head] for tail, head in forward)
    members = list(range(0, count, 2))
    inside = digraph(count, found).subgraph(members)
    expected = {frozenset(part) for part in networkx.weakly_connected_components(inside)}
    assert {frozenset(part) for part in regions.components(members, found)} == expected


@given(graphs(), st.sets(st.integers(0, 13), min_size=1))
@settings(deadline=None, max_examples=200)
def test_convex_is_connected_and_left_for_good(graph: tuple[int, list[tuple[int, int]]], chosen: set[int]) -> None:
    count, found = graph
    found = [edge for edge in found if edge[0] < edge[1]]
    members = sorted(k for k in chosen if k < count)
    if not members:
        return
    whole = digraph(count, found)
    connected = networkx.is_weakly_connected(whole.subgraph(members))
    outside = set(range(count)) - set(members)
    left = {o for m in members for o in whole.successors(m) if o in outside}
    reached = left.union(*(networkx.descendants(whole.subgraph(outside), o) for o in left)) if left else set()
    back = any(m in members for o in reached for m in whole.successors(o))
    assert regions.convex(found, count)(members) == (connected and not back)


@given(st.lists(st.sampled_from("abc"), max_size=30), st.integers(1, 4), st.integers(2, 5))
@settings(deadline=None)
def test_a_repeated_stretch_is_found(around: list[str], period: int, times: int) -> None:
    unit = [f"u{k}" for k in range(period)]
    keys = [*around[:10], *unit * times, *around[10:]]
    found = regions.tandem(keys, [1] * len(keys))
    assert found is not None
    start, length, repeats = found
    assert all(keys[k] == keys[k + length] for k in range(start, start + length * (repeats - 1)))
    assert length * repeats >= period * times


@given(graphs(60), st.integers(1, 3))
@settings(deadline=None, max_examples=60)
def test_a_plan_holds_every_node_once(graph: tuple[int, list[tuple[int, int]]], many: int) -> None:
    count, found = graph
    before = regions.MANY, regions.WIDE
    regions.MANY, regions.WIDE = many, 5
    try:
        order, forward = regions.topological(count, found)
        tree = regions.Planner().plan(order, forward, [k % 3 for k in range(count)])
    finally:
        regions.MANY, regions.WIDE = before

    def flat(part: regions.Tree) -> Iterator[int]:
        for item in part:
            if isinstance(item, list):
                assert item
                yield from flat(item)
            else:
                yield item

    assert sorted(flat(tree)) == list(range(count))


def test_hubs_are_tensorboards_outliers() -> None:
    chain = [(k, k + 1) for k in range(29)]
    far = [(30, k) for k in range(30)]
    assert regions.hubs(31, chain + far) == [30]
    assert regions.hubs(31, chain + far[:4]) == []  # no more than four users
    assert regions.hubs(14, [(k, k + 1) for k in range(12)] + [(13, k) for k in range(13)]) == []  # no crowd
    fan = [(0, k) for k in range(1, 20)] + [(k, 20) for k in range(1, 20)] + [(20, 21)]
    assert regions.hubs(22, fan) == []  # parallel branches stand close together


@given(st.lists(st.text("ab12_/.", max_size=8), max_size=20))
@settings(deadline=None)
def test_families_are_disjoint_and_begin_alike(names: list[str]) -> None:
    found = families(names, lambda members: len(members) < len(names), least=2)
    seen = [member for _, members in found for member in members]
    assert len(seen) == len(set(seen))
    for beginning, members in found:
        assert len(members) >= 2
        for member in members:
            words = [word for word, _ in parts(beginning)]
            assert words == [word for word, _ in parts(names[member])][: len(words)]


# Real networks ----------------------------------------------------------------------------------------------------


def tree_of(model: Model, options: Options) -> Tree:
    model = with_bodies(model).model
    found = leaves(model, options)
    return Tree(model, [leaf for leaf in found if leaf.into is None], list(edges(model, found)), options)


def corpus() -> list[Path]:
    """Every Caffe net and ONNX file of the shared models, one of each content."""
    seen: set[bytes] = set()
    found = []
    for path in sorted([*SHARED.rglob("*.prototxt"), *SHARED.rglob("*.onnx"), *SHARED.rglob("*.onnx.gz")]):
        content = path.read_bytes()
        if "malformed" not in path.parts and content not in seen:
            seen.add(content)
            found.append(path)
    return found


def opened(path: Path) -> Model | None:
    try:
        return api.load(path)
    except GraphvizNetsError:
        return None


def exact(model: Model) -> None:
    """With everything unfolded, a diagram holds every node of the model and every edge, and nothing else."""
    options = Options(depth="all", fold=False, repeats=False, hubs=False)
    plan = diagram(model, options)
    shown = {box.id: box for box in boxes(plan.root)}
    assert len(shown) == sum(1 for _ in boxes(plan.root))
    model = with_bodies(model).model
    found = leaves(model, options)
    assert {leaf.id for leaf in found} == {name for name, box in shown.items() if box.group is None}
    assert {node.id for leaf in found for node in leaf.nodes} == {node.id for node in model.graph.nodes}
    graph = model.graph
    of = {node.id: leaf.id for leaf in found for node in leaf.nodes}
    inputs = {name: leaf.id for leaf in found if not leaf.nodes for name in leaf.outputs}
    wanted = set()
    layered = {leaf.id for leaf in found if leaf.scope is not None}
    for node in graph.nodes:
        if of[node.id] in layered:
            continue  # a layer states its wires itself
        for name in node.inputs:
            source = graph.producers.get(name)
            if source is not None and of[source.id] not in layered:
                wanted.add((of[source.id], of[node.id]))
            elif name in inputs:
                wanted.add((inputs[name], of[node.id]))
    links = {(link.source, link.target) for link in plan.links if not link.control}
    assert wanted <= links
    if not layered:
        assert links == wanted


def complete(model: Model) -> None:
    """Whatever is folded and closed: each leaf is shown as itself, or by a group, or by its like in a run."""
    for depth in (0, None, "all"):
        options = Options(depth=depth)
        plan = diagram(model, options)
        shown = {box.id: box for box in boxes(plan.root)}
        tree = tree_of(model, options)
        for leaf in tree.leaves.values():
            item, like, member = tree.stands(leaf)
            assert item.id in shown
            assert like.look == leaf.look
            assert member is None or member.fold is not None
        for fold in tree.folds:
            assert len({member.look for member in fold.members}) == 1
            if fold not in tree.unfolded and fold.first.id in shown:
                assert shown[fold.first.id].times == len(fold.members)


@pytest.mark.parametrize("part", range(8))
def test_unfolding_gives_back_every_node_and_edge_of_every_file(part: int, shared: Path) -> None:
    checked = 0
    for path in corpus()[part::8]:
        model = opened(path)
        if model is not None:
            exact(model)
            complete(model)
            checked += 1
    assert checked > 5


def matched(one: dict[str, Any], two: dict[str, Any]) -> bool:
    a, b = one["node"], two["node"]
    return bool(a.op_type == b.op_type and a.domain == b.domain and dict(a.attributes) == dict(b.attributes))


def nodes_of(item: Item) -> list[Node]:
    waiting, found = [item], []
    while waiting:
        here = waiting.pop()
        if isinstance(here, Leaf):
            found += [node for part in (here, *here.rows) for node in part.nodes]
        else:
            waiting += here.children
    return found


def isomorphic(model: Model, folds: Sequence[Fold]) -> None:
    """Networkx finds the members of each run isomorphic, operations and attributes included."""
    whole = model.to_networkx()
    for fold in folds:
        first = whole.subgraph(node.id for node in nodes_of(fold.first))
        for member in (fold.members[1], fold.members[-1]):
            other = whole.subgraph(node.id for node in nodes_of(member))
            assert networkx.is_isomorphic(networkx.DiGraph(first), networkx.DiGraph(other), node_match=matched)


def transformer(nodes: int = 400, **more: Any) -> Model:
    return api.load("net.onnx", data=nets.transformer(nodes, **more))


@pytest.mark.parametrize("scopes", [True, False])
@pytest.mark.parametrize("mask", [True, False])
def test_a_transformers_layers_are_one_box(scopes: bool, mask: bool) -> None:
    model = transformer(600, scopes=scopes, mask=mask)
    layers = sum(node.op_type == "Softmax" for node in model.graph.nodes)
    tree = tree_of(model, Options())
    runs = [fold for fold in tree.folds if len(fold.members) == layers]
    assert layers > 8 and len(runs) == 1
    (run,) = runs
    assert run.chained and run.weights == "distinct"
    sizes = {len(nodes_of(member)) for member in run.members}
    assert len(sizes) == 1 and min(sizes) * layers > 0.9 * len(model.graph.nodes)
    isomorphic(model, list(tree.folds))
    plan = diagram(model)
    (shown,) = [box for box in boxes(plan.root) if box.times == layers]
    assert shown.shown_as == "fold" and shown.id == run.first.id and shown.details["weights"] == "distinct"
    assert shown.details["members"] == [member.id for member in run.members]
    assert list(faults(scene(plan))) == []


def test_layers_of_different_sizes_do_not_fold() -> None:
    model = transformer(600, distinct=True)
    assert not [fold for fold in tree_of(model, Options()).folds if isinstance(fold.first, Place) and fold.chained]


def test_a_flat_resnet_shows_stages_and_blocks() -> None:
    model = api.load("net.prototxt", data=nets.resnet152().encode())
    tree = tree_of(model, Options())
    stages = [child for child in tree.root.children if isinstance(child, Place)]
    assert [stage.title for stage in stages] == ["res2", "res3", "res4", "res5"]
    assert [len(stage.children) for stage in stages] == [3, 8, 36, 3]
    assert {len(list(tree.members(block))) for block in stages[2].children} == {4, 5}
    assert {(fold.first.id, len(fold.members)) for fold in tree.folds} == {
        ("res2b/", 2), ("res3b1/", 7), ("res4b1/", 35), ("res5b/", 2)
    }  # fmt: skip
    assert api.summary(model).parameters == 60_192_808  # as published
    isomorphic(model, list(tree.folds))
    flat = diagram(model, Options(group="none"))
    assert all(box.group is None and box.times == 1 for box in flat.root.boxes)


def test_inception_v4_is_grouped_by_its_blocks() -> None:
    model = api.load("net.prototxt", data=nets.inception4().encode())
    assert api.summary(model).parameters == 42_679_816  # as published
    tree = tree_of(model, Options())
    names = [child.title for child in tree.root.children if isinstance(child, Place)]
    assert names == ["stem", "inception_a", "reduction_a", "inception_b", "reduction_b", "inception_c"]
    assert {fold.first.id: len(fold.members) for fold in tree.folds} == {
        "inception_a1": 4, "inception_b1": 7, "inception_c1": 3
    }  # fmt: skip


def test_the_order_of_the_file_does_not_matter_for_what_is_equal() -> None:
    model = transformer(600, scopes=True)
    names = {fold.first.look: len(fold.members) for fold in tree_of(model, Options()).folds}
    content = proto.to_proto(model)
    nodes = list(content.graph.node)
    random.Random(7).shuffle(nodes)
    del content.graph.node[:]
    made = {value.name for value in [*content.graph.input, *content.graph.initializer]}
    while nodes:  # any other topological order
        ready = next(node for node in nodes if all(not name or name in made for name in node.input))
        nodes.remove(ready)
        content.graph.node.append(ready)
        made.update(ready.output)
    other = proto.from_proto(content)
    again = {fold.first.look: len(fold.members) for fold in tree_of(other, Options()).folds}
    assert sorted(names.values()) == sorted(again.values())


# Small ones -------------------------------------------------------------------------------------------------------


def twins(change: str = "") -> Model:
    """Three equal groups in a row, but for one change in the middle one."""
    op = Builder("twins")
    x = op.input("x", "float32", (1, 8, 4, 4))
    shared = op.weight("shared", (8, 8, 1, 1))
    for k in range(3):
        op.scope = (f"block{k}",)
        middle = k == 1
        size = 3 if middle and change == "kernel" else 1
        w = shared if change == "shared" else op.weight(f"w{k}", (8, 8, size, 1))
        pads = (1, 0, 1, 0) if middle and change == "kernel" else (0, 0, 0, 0)
        y = op.Conv(x, w, pads=pads)
        y = op.Sigmoid(op.LeakyRelu(y, alpha=0.2 if middle and change == "attribute" else 0.1))
        x = op.Add(y, y if middle and change == "wiring" else x)
    return op.model([x])


@pytest.mark.parametrize(
    ("change", "weights"),
    [("", "distinct"), ("shared", "shared"), ("attribute", None), ("kernel", None), ("wiring", None)],
)
def test_what_is_equal_folds_and_what_differs_does_not(change: str, weights: str | None) -> None:
    runs = list(tree_of(twins(change), Options()).folds)
    if weights is None:
        assert runs == []
    else:
        (run,) = runs
        assert len(run.members) == 3 and run.chained and run.weights == weights


def shown(plan: Diagram) -> dict[str, Box]:
    return {box.id: box for box in boxes(plan.root)}


def test_a_run_opens_to_its_first_member_or_to_all() -> None:
    model = twins()
    closed = shown(diagram(model, Options(depth=0)))
    assert closed["block0"].times == 3 and closed["block0"].group is None and closed["block0"].title == "block0–2"
    assert "block1" not in closed
    one = shown(diagram(model, Options(depth=1)))
    assert one["block0"].group is not None and one["block0"].times == 3 and "block1" not in one
    named = shown(diagram(model, Options(depth=0, expand=("block2",))))
    assert {"block0", "block1", "block2"} <= set(named) and named["block2"].group is not None
    for every in (Options(depth="all"), Options(depth=1, repeats=False)):
        everything = shown(diagram(model, every))
        assert {"block0", "block1", "block2"} <= set(everything) and everything["block1"].times == 1
    links = diagram(model, Options(depth=0)).links
    assert [(link.source, link.target) for link in links] == [("x", "block0")]


def masked(count: int = 20) -> Model:
    op = Builder("masked")
    x, mask = op.input("x", "float32", (1, 8)), op.input("mask", "float32", (1, 8))
    for _ in range(count):
        x = op.Add(op.Sin(x), mask)
    return op.model([x])


def test_hubs_become_stubs_unless_told_otherwise(tmp_path: Path) -> None:
    plan = diagram(masked(), Options(repeats=False, group="none"))
    stubs = [box for box in boxes(plan.root) if box.shown_as == "stub"]
    assert len(stubs) == 20 and {box.title for box in stubs} == {"mask"}
    assert {box.details["stub_of"] for box in stubs} == {"mask"}
    assert "used in 20 places" in shown(plan)["mask"].caption
    assert not [link for link in plan.links if link.source == "mask"]
    assert len({box.id for box in boxes(plan.root)}) == sum(1 for _ in boxes(plan.root))
    assert list(faults(scene(plan))) == []
    rules = tmp_path / "graphviz_nets.yaml"
    for text, expected in (
        ("hubs: false", 0), ("hubs: true", 20), ("hubs: {mask: wire}", 0), ('hubs: {"Sin*": stub}', 40)
    ):  # fmt: skip
        rules.write_text(f"{text}\nrepeats: false\ngroup: none\n")
        found = diagram(masked(), load_rules(rules))
        assert sum(box.shown_as == "stub" for box in boxes(found.root)) == expected, text
    for text in ("hubs: {mask: nonsense}", "hubs: {mask: [stub]}", "hubs: [mask]"):
        rules.write_text(text)
        with pytest.raises(ConfigError, match="stub or wire"):
            load_rules(rules)


def arithmetic() -> Model:
    """A reshape whose shape is computed, a weight that is transposed, a constant, an activation."""
    op = Builder("arithmetic")
    x = op.input("x", "float32", (2, 3, 4))
    w = op.Transpose(op.weight("w", (5, 4)), perm=(1, 0))
    y = op.Relu(op.MatMul(x, w))
    first = op.Gather(op.Shape(x), op.constant([0]), axis=0)
    flat = op.Reshape(y, op.Concat(first, op.constant([-1]), axis=0))
    return op.model([op.Mul(flat, op.node("Constant", [], attributes={"value_float": 2.0})[0])])


@pytest.mark.parametrize(
    ("keep", "drawn"),
    [
        ((), set()),
        (("constants",), {"Constant", "Transpose"}),
        (("shapes",), {"Shape", "Gather", "Concat"}),
        (("activations",), {"Relu"}),
        (("weights",), {"Weight", "Transpose"}),
    ],
)
def test_each_kind_of_folding_can_be_switched_off(keep: tuple[str, ...], drawn: set[str]) -> None:
    plan = diagram(arithmetic(), Options(keep=keep, group="none"))
    types = {box.type for box in boxes(plan.root)}
    assert types == {"Input", "MatMul", "Reshape", "Mul"} | drawn
    everything = {box.type for box in boxes(diagram(arithmetic(), Options(fold=False)).root)}
    assert {"Constant", "Transpose", "Shape", "Gather", "Concat", "Relu"} <= everything
    reshape = next(box for box in boxes(plan.root) if box.type == "Reshape")
    if not keep:
        assert sorted(reshape.details["folded"]) == ["Concat", "Gather", "Shape"]


def test_an_unknown_kind_of_folding_is_refused() -> None:
    with pytest.raises(ConfigError, match="one of in-place"):
        Options(keep=("nonsense",))


def test_wires_are_as_wide_as_their_tensors() -> None:
    op = Builder("wide")
    x = op.input("x", "float32", (1, 3, 64, 64))
    small = op.GlobalAveragePool(op.Identity(x))
    picture = scene(diagram(op.model([op.Identity(small)]), Options(group="none")))
    widths = [s.width for item in picture.items if item.kind == "wire" for s in item.shapes if isinstance(s, Curve)]
    assert sorted(widths, reverse=True)[:2] == [thickness(3 * 64 * 64)] * 2 and min(widths) == thickness(3)


def chain(count: int) -> Model:
    op = Builder("chain")
    x = op.input("x", "float32", (1, 8))
    for k in range(count):
        x = op.Sin(x) if k % 2 else op.Cos(x)
    return op.model([x])


@pytest.mark.parametrize("rankdir", ["TB", "LR", "BT", "RL"])
@pytest.mark.parametrize("aspect", [(16.0, 9.0), (1.0, 1.0), (3.0, 4.0)])
def test_a_long_chain_takes_the_aspect_that_is_wanted(rankdir: str, aspect: tuple[float, float]) -> None:
    options = Options(rankdir=rankdir, aspect=aspect, repeats=False, group="none")
    picture = scene(diagram(chain(60), options), options)
    ratio = picture.width / picture.height
    assert 0.6 < ratio / (aspect[0] / aspect[1]) < 1.7
    assert list(faults(picture)) == []
    assert Counter(item.kind for item in picture.items)["node"] == 61


def test_a_crowd_of_inputs_stands_where_each_is_used() -> None:
    op = Builder("cache")
    x = op.input("x", "float32", (1, 8))
    for k in range(16):
        op.scope = (f"layer{k}",)
        x = op.Add(op.Sin(x), op.input(f"past{k}", "float32", (1, 8)))
    tree = tree_of(op.model([x]), Options())
    assert {fold.first.id: len(fold.members) for fold in tree.folds} == {"layer0": 16}
    above = tree.leaves["past3"].parent
    assert above is not None and above.id == "layer3"


@pytest.mark.parametrize("wires", ["star", "ring", "skips", "dense"])
def test_any_graph_is_drawn_without_fault(wires: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs that no network has, cut into pieces as larger ones would be: none may break a rule of geometry."""
    monkeypatch.setattr(pieces, "WHOLE", 40)
    monkeypatch.setattr(pieces, "PIECE", 20)
    count = {"star": 130, "ring": 100, "skips": 100, "dense": 30}[wires]
    pairs = {
        "star": [(0, k) for k in range(1, count)],
        "ring": [(k, (k + 1) % count) for k in range(count)],
        "skips": [(k, k + step) for step in (1, 25) for k in range(count - step)],
        "dense": [(a, b) for a in range(count) for b in range(a + 1, count, 3)],
    }[wires]
    feeds: dict[int, list[str]] = {}
    for tail, head in pairs:
        feeds.setdefault(head, []).append(f"v{tail}")
    ordered, cut = sort(
        Node("Odd", tuple(feeds.get(k, ["x"])), (f"v{k}",), f"n{k}", f"n{k}", domain="t") for k in range(count)
    )
    model = Model(Graph("any", ordered, ("x",), (f"v{count - 1}",), {"x": Value("x", "float32", (1,))}, {}, cut))
    for options in (Options(depth="all", group="none", hubs=False), Options(aspect=(1.0, 1.0))):
        picture = scene(diagram(model, options), options)
        assert list(faults(picture)) == []
    exact(model)
