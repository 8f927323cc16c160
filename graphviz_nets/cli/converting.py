"""What `convert` does besides: preprocessing records, verification, other engines."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from graphviz_nets import plugins
from graphviz_nets.errors import ConfigError
from graphviz_nets.verify import TOLERANCE, Verdict, compare, verify

if TYPE_CHECKING:
    from graphviz_nets.graph.ir import Model


def with_preprocess(model: Model, text: str) -> Model:
    """Return the model with a preprocessing record: a preset's name, a YAML file, or a mean image."""
    from graphviz_nets.api import preprocess_of

    return replace(model, metadata={**model.metadata, "gvn.preprocess": preprocess_of(text).to_json()})


def with_gradient(model: Model, method: str, quiet: bool) -> Model:
    """Return the model with a method's way back as nodes; its inputs and outputs are said."""
    from graphviz_nets.api import export_attribution
    from graphviz_nets.cli.commands import say

    found, seed, gradient = export_attribution(model, method)
    if not quiet:
        say(f"input {seed!r} weighs the target's elements; output {gradient!r} has the result")
    return found


def verified(model: Model, path: Path, weights: Path | None) -> bool:
    """Verify a model, print a line an output, and say whether all are equal."""
    judge, verdicts = verify(model, path, weights)
    for verdict in verdicts:
        print(f"{verdict.output}: {_figure(verdict)} from {judge}")
    return all(verdict.equal for verdict in verdicts)


def _figure(verdict: Verdict) -> str:
    if verdict.error is None:
        return "another shape"
    return f"{verdict.error:.1e} {'(within' if verdict.equal else '(OVER'} {TOLERANCE:g})"


def by_engine(engine: str, model: Model, path: Path, weights: Path | None, quiet: bool) -> tuple[Model, bool]:
    """Convert by another program; return its model and whether it computes what ours does, which is printed."""
    from graphviz_nets.cli.commands import say

    if model.framework != "caffe" or path.suffix.lower() != ".prototxt":
        raise ConfigError(f"{engine} takes a Caffe prototxt", key="--engine")
    if model.obstacles:
        raise ConfigError(f"{engine} needs weights", key="--engine", hint="--weights FILE or --random-weights SEED")
    converter = plugins.resolve("converters", "caffe")
    with tempfile.TemporaryDirectory(prefix="graphviz_nets-") as folder:
        if weights is None or weights.suffix != ".caffemodel":
            weights = Path(folder) / "net.caffemodel"
            converter.save_weights(model, weights)
        if not quiet:
            say(f"{engine} converts {path.name}; this can take a minute")
        other: Model = converter.engines()[engine](path, weights)
    other = replace(other, framework="caffe", metadata={**model.metadata, **other.metadata})
    verdicts = compare(model, other)
    for verdict in verdicts:
        print(f"{verdict.output}: {engine} differs by {_figure(verdict)} from the native engine", file=sys.stdout)
    return other, all(verdict.equal for verdict in verdicts)
