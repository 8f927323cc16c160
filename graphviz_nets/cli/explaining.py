"""The command `explain`: images in, maps of what decided out."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from graphviz_nets.cli.commands import input_options, open_model, say
from graphviz_nets.errors import ConfigError, ConvertError

if TYPE_CHECKING:
    import numpy as np

    from graphviz_nets.explain.explainer import Explainer
    from graphviz_nets.graph.ir import Model
    from graphviz_nets.graph.preprocess import Preprocess

    Array: TypeAlias = np.ndarray[Any, Any]

LONGEST = 1 << 24
"""Bytes of a file of labels."""


def _list_methods(context: click.Context, option: click.Parameter, wanted: bool) -> None:
    if wanted:
        from graphviz_nets.explain.methods import DOCS

        for name, words in DOCS.items():
            print(f"{name:22} {words}")
        context.exit()


def _complete_layer(context: click.Context, option: click.Parameter, begun: str) -> list[str]:
    """Complete the name of a layer from INPUT, for shells."""
    from graphviz_nets import api
    from graphviz_nets.errors import GraphvizNetsError
    from graphviz_nets.explain.layers import names

    source = context.params.get("source") or next(iter(context.args), None)  # what is unfinished is not parsed
    try:
        return [] if source is None else [name for name in names(api.load(source)) if name.startswith(begun)][:200]
    except GraphvizNetsError:
        return []  # a shell has nowhere to show why


@click.command()
@input_options
@click.argument("images", nargs=-1, type=click.Path(path_type=Path), metavar="IMAGE...")
@click.option(
    "--method", "methods", multiple=True, metavar="NAME", help="What to compute (repeatable), or all; saliency."
)
@click.option(
    "--target", default="top1", metavar="N|LABEL|top1", help="The class that is explained; each image's best."
)
@click.option("--against", metavar="N|LABEL", help="A class that the target is set against: what tells the two apart.")
@click.option("--of", "value", metavar="NAME", help="The value that is explained; the first output before its softmax.")
@click.option(
    "--layer",
    "layers",
    multiple=True,
    metavar="NAME",
    shell_complete=_complete_layer,
    help="Layer, module or value that maps are made of (repeatable); the last one before the pooling.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="OPTION=VALUE",
    help="An option of the methods (repeatable), such as samples=50 or signed=true.",
)
@click.option("--preprocess", metavar="NAME|FILE", help="What is done to images; the model's own record by default.")
@click.option("--labels", type=click.Path(path_type=Path), help="A file with a line for each class.")
@click.option(
    "-o",
    "--output",
    metavar="OUT.{png,npy,html,csv}",
    help="File to write; .csv has the relevance of each layer, for render --overlay.",
)
@click.option(
    "--raw", is_flag=True, help="Write .npy in the method's own shape: with channels, or at the layer's size."
)
@click.option("--batch-size", type=click.IntRange(1, 4096), default=1, help="Images at a time; 1.")
@click.option("--provider", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", help="Where it runs; auto.")
@click.option("--list-methods", is_flag=True, is_eager=True, expose_value=False, callback=_list_methods,
              help="List the methods and end.")  # fmt: skip
def explain(
    images: tuple[Path, ...],
    methods: tuple[str, ...],
    target: str,
    against: str | None,
    value: str | None,
    layers: tuple[str, ...],
    settings: tuple[str, ...],
    preprocess: str | None,
    labels: Path | None,
    output: str | None,
    raw: bool,
    batch_size: int,
    provider: str,
    debug: bool,
    **source: Any,
) -> None:
    """Say which pixels of each IMAGE made INPUT decide as it does."""
    from graphviz_nets.explain.methods import method, options_of

    chosen = tuple(method) if "all" in methods else methods or ("saliency",)
    for name in chosen:
        if method.find("", name) is None:
            raise ConfigError(f"no method {name!r}", key="--method", hint=f"one of {', '.join(method)}, all")
    kind = Path(output or "").suffix.lower()
    relevant = kind == ".csv"
    if kind not in WRITERS and not relevant:
        raise click.UsageError(f"name an output with -o: OUT{', OUT'.join([*WRITERS, '.csv'])}")
    if raw and kind != ".npy":
        raise click.UsageError("--raw is for .npy")
    if kind in (".npy", ".csv") and len(chosen) > 1:
        raise click.UsageError(f"a {kind} file holds one method")
    if not images:
        raise click.UsageError("name at least one IMAGE")
    options = _options(settings, chosen)
    if raw:
        for name, given in options.items():
            given |= {"enlarge": False} if "enlarge" in options_of(name) else {}
    model = open_model(**source, deploy=source["phase"] == "test")
    work = _Work(model, images, preprocess, labels, batch_size, provider, source, layers, relevant, value)
    work.target = work.classes(target)
    work.against = None if against is None else work.classes(against)
    if relevant:
        _csv(Path(str(output)), work, chosen[0])
    else:
        found = work.all(chosen, options, skip="all" in methods)
        WRITERS[kind](Path(str(output)), work, found, raw)
    if not source["quiet"]:
        for note in dict.fromkeys(work.notes):
            say(f"note: {note}")
        say(f"wrote {output}")


def _options(settings: Sequence[str], chosen: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the options of each method, read from OPTION=VALUE."""
    import yaml

    from graphviz_nets.explain.methods import options_of

    found: dict[str, dict[str, Any]] = {name: {} for name in chosen}
    for text in settings:
        key, equals, value = text.partition("=")
        takers = [name for name in chosen if key in options_of(name)]
        if not equals or not takers:
            known = dict.fromkeys(option for name in chosen for option in options_of(name))
            raise ConfigError(f"{text!r} sets no option of {', '.join(chosen)}", key="--set",
                              hint=f"OPTION=VALUE; there are {', '.join(known) or 'none'}")  # fmt: skip
        try:
            scalar = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ConfigError(f"{value!r} is no value", key="--set") from None
        for name in takers:
            found[name][key] = scalar
    return found


class _Work:
    """A model and images, ready to be explained in batches."""

    def __init__(
        self, model: Model, paths: Sequence[Path], preprocess: str | None, labels: Path | None, batch: int,
        provider: str, source: dict[str, Any], layers: Sequence[str] = (), relevant: bool = False,
        value: str | None = None,
    ) -> None:  # fmt: skip
        from graphviz_nets import api
        from graphviz_nets.explain import images as pictures
        from graphviz_nets.explain.explainer import Explainer
        from graphviz_nets.explain.layers import find
        from graphviz_nets.explain.relevance import values_by_id
        from graphviz_nets.graph.preprocess import Preprocess

        arrays = all(path.suffix.lower() == ".npy" for path in paths)
        record = api.preprocess_of(preprocess) if preprocess is not None else pictures.record_of(model)
        if record is None and not arrays:
            raise ConfigError("the model does not say what is done to its images", key="--preprocess",
                              hint=f"one of {', '.join(pictures.PRESETS)}, or a YAML file")  # fmt: skip
        self.record: Preprocess = record or Preprocess()
        name = next((n for n in model.graph.inputs if len(model.graph.value(n).shape or ()) > 1), None)
        if name is None:
            raise ConfigError("the model has no input for images")
        shape = model.graph.value(name).shape or ()
        self.x = pictures.batch(paths, self.record, shape)
        wanted = min(batch, len(self.x))
        if model.framework == "caffe" and shape[0] != wanted:  # its batch is a setting of the file, not of the net
            shapes = {name: (None, (wanted, *self.x.shape[1:]))}
            model = _reopened(source, shapes)
        fixed = model.graph.value(name).shape or ()
        first = fixed[0] if isinstance(fixed[0], int) else wanted
        self.values = values_by_id(model) if relevant else {}
        kept = list(self.values.values()) or [find(model, layer) for layer in layers]
        sizes = {name: (first, *self.x.shape[1:])}
        about = None if value is None else find(model, value)
        self.explainer: Explainer = Explainer(model, about, sizes, provider, layers=kept)
        self.names = [path.name for path in paths] if not arrays else [f"{k}" for k in range(len(self.x))]
        self.title = model.name or Path(source["source"]).name
        self.labels = _labels(labels)
        self.notes: list[str] = []
        self.quiet = bool(source["quiet"])
        self.scores = self.explainer.scores(self.x)
        self.target: Any = 0
        self.against: Any = None

    def classes(self, target: str) -> Any:
        """Return the target as a class number, or as one for each image."""
        from graphviz_nets.explain.methods.table import ranked

        if target.isdigit():
            return int(target)
        if target.removeprefix("top").isdigit():
            return ranked(self.scores, target) if self.scores.ndim > 1 else 0
        low = target.lower()
        exact = [k for k, label in enumerate(self.labels) if label.lower() == low]
        found = exact or [k for k, label in enumerate(self.labels) if low in label.lower()]
        if len(found) == 1:
            return found[0]
        if not self.labels:
            raise ConfigError(f"{target!r} is a label, and there are no labels", key="--target", hint="--labels FILE")
        near = ", ".join(self.labels[k] for k in found[:5])
        what = f"{target!r} may be {near}" if found else f"no label holds {target!r}"
        raise ConfigError(what, key="--target")

    def seed(self, some: slice) -> Array:
        """Return what weighs the target's elements for some of the images."""
        from graphviz_nets.explain.methods import seeds

        blank = self.explainer.blank(self.x[some])
        parts = [seeds(blank, one if isinstance(one, int) else one[some])
                 for one in (self.target, self.against) if one is not None]  # fmt: skip
        return parts[0] if len(parts) == 1 else parts[0] - parts[1]

    def all(self, chosen: Sequence[str], options: Mapping[str, dict[str, Any]], skip: bool) -> dict[str, Array]:
        """Return each method's attribution; where all are asked for, leave out those that the model has no use for."""
        from graphviz_nets.errors import GraphvizNetsError
        from graphviz_nets.explain.methods import QUICK

        found = {}
        for name in chosen:
            given = ({**QUICK.get(name, {}), **options[name]}) if skip else options[name]
            if skip and given:
                self.notes.append(f"{name} with {', '.join(f'{key}={value}' for key, value in given.items())}")
            try:
                found[name] = self.run(name, given)
            except GraphvizNetsError as fault:
                if not skip:
                    raise
                self.notes.append(f"{name} is left out: {fault}")
        return found

    def run(self, name: str, options: Mapping[str, Any]) -> Array:
        """Return a method's attribution of all images, with a bar on the terminal."""
        import numpy as np

        from graphviz_nets.explain.methods import explain

        parts = []
        size = self.explainer.shape[0]
        steps = range(0, len(self.x), size)
        self.explainer.track = (lambda inner, label: inner) if len(steps) > 1 else self._bar
        for start in self._bar(steps, name):
            some = slice(start, start + size)
            parts.append(explain(self.explainer, self.x[some], self.seed(some), name, **options))
            self.notes += self.explainer.notes
        return np.concatenate(parts)

    def _bar(self, steps: Sequence[Any], label: str) -> Iterator[Any]:
        if self.quiet or len(steps) < 2 or not sys.stderr.isatty():
            yield from steps
            return
        with click.progressbar(steps, label=label, file=sys.stderr) as bar:
            yield from bar

    def best(self, k: int) -> list[tuple[str, float]]:
        """Return an image's five best classes and their scores."""
        flat = self.scores[k].reshape(len(self.scores[k]), -1).mean(1)
        return [(self.label(c), float(flat[c])) for c in (-flat).argsort(kind="stable")[:5]]

    def label(self, number: int) -> str:
        """Return a class's name."""
        return self.labels[number] if number < len(self.labels) else f"class {number}"

    def explained(self, k: int) -> str:
        """Return the name of the class that an image's maps explain."""
        both = [self.label(one if isinstance(one, int) else int(one[k]))
                for one in (self.target, self.against) if one is not None]  # fmt: skip
        return " against ".join(both)

    def pictures(self) -> Array:
        """Return the images as the model sees them."""
        from graphviz_nets.explain.heatmap import shown

        return shown(self.x, self.record.layout, self.record.channels)

    def maps(self, name: str, attribution: Array) -> Array:
        """Return (images, H, W) maps."""
        from graphviz_nets.explain.methods import heat

        return heat(name, attribution, self.record.layout)


def _reopened(source: dict[str, Any], shapes: dict[str, Any]) -> Model:
    from graphviz_nets import api
    from graphviz_nets.config import Options

    options = Options(source=source["format_"], phase=source["phase"], stages=source["stages"], level=source["level"],
                      net=source["net"], weights=source["weights"], input_shapes=shapes, deploy=True)  # fmt: skip
    return api.load(source["source"], options)


def _labels(path: Path | None) -> list[str]:
    if path is None:
        return []
    try:
        if path.stat().st_size > LONGEST:
            raise ConvertError("a file of labels is not that large", path=str(path))
        text = path.read_text("utf-8")
    except OSError as fault:
        raise ConvertError(f"cannot be read: {fault.strerror}", path=str(path)) from None
    except UnicodeDecodeError:
        raise ConvertError("the labels are not text in UTF-8", path=str(path)) from None
    numbered = re.findall(r"""^\W*(\d+)\s*:\s*(['"])(.*)\2,?\s*\}?$""", text, re.MULTILINE)
    if numbered and [int(number) for number, *_ in numbered] == list(range(len(numbered))):
        return [label for *_, label in numbered]  # a dictionary, as lists of ImageNet's classes often are
    return [line.strip() for line in text.splitlines() if line.strip()]


def _signed(name: str, values: Array) -> bool:
    from graphviz_nets.explain.methods import UNSIGNED

    return name not in UNSIGNED or bool(values.min() < 0)


def _csv(path: Path, work: _Work, name: str) -> None:
    """Write id,relevance of each layer."""
    import csv
    import io

    from graphviz_nets.explain.relevance import relevance
    from graphviz_nets.files import write

    found = relevance(work.explainer, work.x, work.seed(slice(None)), work.values, name)
    out = io.StringIO()
    lines = csv.writer(out, lineterminator="\n")
    lines.writerow(["id", f"relevance ({name})"])
    lines.writerows((id_, f"{value:.6g}") for id_, value in found.items())
    write(path, out.getvalue().encode())


def _npy(path: Path, work: _Work, found: dict[str, Array], raw: bool) -> None:
    import io

    import numpy as np

    from graphviz_nets.files import write

    ((name, attribution),) = found.items()
    out = io.BytesIO()
    np.save(out, np.asarray(attribution if raw else work.maps(name, attribution), "f4"), allow_pickle=False)
    write(path, out.getvalue())


def _png(path: Path, work: _Work, found: dict[str, Array], raw: bool) -> None:
    """Write a row an image: the image, then each method's map alone and over it."""
    from graphviz_nets.explain.heatmap import coloured, overlaid, png, sheet
    from graphviz_nets.files import write

    maps = {name: work.maps(name, attribution) for name, attribution in found.items()}
    rows = []
    for k, picture in enumerate(work.pictures()):
        row = [picture]
        for name, values in maps.items():
            signed = _signed(name, values[k])
            row += [coloured(values[k], signed), overlaid(picture, values[k], signed)]
        rows.append(row)
    titles = ["", *(title for name in maps for title in (name, ""))] if len(maps) > 1 else []
    write(path, png(sheet(rows, titles)))


def _html(path: Path, work: _Work, found: dict[str, Array], raw: bool) -> None:
    from graphviz_nets.explain.gallery import Explained, Map, page
    from graphviz_nets.explain.methods import DOCS
    from graphviz_nets.files import write

    maps = {name: work.maps(name, attribution) for name, attribution in found.items()}
    shown = []
    for k, picture in enumerate(work.pictures()):
        of_image = [Map(name, values[k], _signed(name, values[k]), DOCS[name]) for name, values in maps.items()]
        shown.append(Explained(work.names[k], picture, work.best(k), of_image, work.explained(k)))
    write(path, page(work.title, "Scores before the softmax; each map on a scale of its own.", shown).encode())


WRITERS = {".png": _png, ".npy": _npy, ".html": _html}
