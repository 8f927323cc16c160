"""The command `explain`: images in, maps of what decided out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from graphviz_nets.cli.commands import input_options, read_input, say
from graphviz_nets.cli.work import Work
from graphviz_nets.errors import ConfigError, ConvertError, LimitError, meant

if TYPE_CHECKING:
    import numpy as np

    from graphviz_nets.graph.rules import Table

    Array: TypeAlias = np.ndarray[Any, Any]


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

    source = context.params.get("source") or next(iter(context.args), "")  # what is unfinished is not parsed
    if not Path(source).exists():  # nor is the code run that package.module:attribute names
        return []
    try:
        return [name for name in names(api.load(source)) if name.startswith(begun)][:200]
    except GraphvizNetsError:
        return []  # a shell has nowhere to show why


@click.command()
@input_options
@click.argument("images", nargs=-1, type=click.Path(path_type=Path), metavar="IMAGE|NAME=FILE...")
@click.option(
    "--method", "methods", multiple=True, metavar="NAME", help="What to compute (repeatable), or all; saliency."
)
@click.option(
    "--target", default="top1", metavar="N|LABEL|top1", help="The class that is explained; each image's best."
)
@click.option("--against", metavar="N|LABEL", help="A class that the target is set against: what tells the two apart.")
@click.option(
    "--box", metavar="L,T,R,B|best", help="Of a detector: the box whose score is explained, in pixels of the input."
)
@click.option("--detector", metavar="KIND", help="How a detector's outputs are read; found by their shapes.")
@click.option(
    "--priors",
    type=click.Path(path_type=Path),
    metavar="FILE.npy",
    help="An SSD's priors, (1, 2, 4 n), where the model does not hold them.",
)
@click.option("--predicted", is_flag=True, help="Of a segmentation: the class only where it is predicted.")
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
    metavar="OUT.{png,npy,npz,html,csv}",
    help="File to write; .csv has the relevance of each layer, for render --overlay.",
)
@click.option(
    "--raw", is_flag=True, help="Write .npy in the method's own shape: with channels, or at the layer's size."
)
@click.option("--evaluate", is_flag=True, help="Measure how true the maps are: a table, and curves in .html.")
@click.option(
    "--metric", "metrics", multiple=True, metavar="NAME", help="What is measured (repeatable); all that can be."
)
@click.option("--json", "as_json", is_flag=True, help="Print what is measured as one JSON object.")
@click.option("--batch-size", type=click.IntRange(1, 4096), default=1, help="Images at a time; 1.")
@click.option("--provider", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", help="Where it runs; auto.")
@click.option("--list-methods", is_flag=True, is_eager=True, expose_value=False, callback=_list_methods,
              help="List the methods and end.")  # fmt: skip
def explain(
    images: tuple[Path, ...],
    methods: tuple[str, ...],
    settings: tuple[str, ...],
    output: str | None,
    raw: bool,
    evaluate: bool,
    metrics: tuple[str, ...],
    as_json: bool,
    debug: bool,
    **asked: Any,
) -> None:
    """Say which pixels of each IMAGE made INPUT decide as it does; a folder stands for the images in it.

    NAME=FILE gives the files of each input of a model that has several; what is said of each goes into an .npz file.
    """
    from graphviz_nets.explain.methods import method
    from graphviz_nets.explain.metrics import metric

    chosen = tuple(method) if "all" in methods else methods or ("saliency",)
    _known(chosen, method, "all")
    _known(metrics, metric)
    evaluate = evaluate or bool(metrics)
    kind = Path(output or "").suffix.lower()
    asked["relevant"] = kind == ".csv"
    _usable(kind, chosen, output, raw, evaluate, as_json, asked)
    if not images:
        raise click.UsageError("name at least one IMAGE")
    given = [Path(str(path).rpartition("=")[2]) if not path.exists() else path for path in images]
    if output is not None and Path(output).resolve() in {path.resolve() for path in given}:
        raise ConfigError("an output would overwrite the input", file=output)
    if output is not None and not Path(output).parent.is_dir():  # said before the work, not after it
        raise ConvertError("cannot be written: there is no such folder", path=output)
    options = _options(settings, chosen, raw)
    source = {name: asked[name] for name in signature(read_input).parameters if name in asked}
    work = Work(read_input(**source, deploy=asked["phase"] == "test"), images, asked)
    _fitting(kind, chosen, evaluate, work)
    if kind == ".csv":
        _csv(Path(str(output)), work, chosen[0])
    else:
        work.all(chosen, options, skip="all" in methods)
        report = work.evaluate(metrics) if evaluate else None
        if report is not None:
            _report(report, as_json)
        if output is not None:
            WRITERS[kind](Path(output), work, raw, report)
    if asked["verbose"]:
        for k, name in enumerate(work.names):
            say(f"{name}: {work.explained(k)}")
    if not asked["quiet"]:
        for note in dict.fromkeys(work.notes):
            say(f"note: {note}")
        if output is not None:
            say(f"wrote {output}")


def _known(names: Sequence[str], table: Table[Any], *others: str) -> None:
    """Raise a ConfigError unless a table of methods or metrics has these."""
    for name in names:
        if name not in table.rules:
            hint = meant(name, table, f"one of {', '.join([*table, *others])}")
            raise ConfigError(f"no {table.name} {name!r}", key=f"--{table.name}", hint=hint)


def _usable(
    kind: str, chosen: Sequence[str], output: str | None, raw: bool, evaluate: bool, as_json: bool,
    asked: Mapping[str, Any],
) -> None:  # fmt: skip
    """Raise a UsageError for options that do not go together, whatever the model is."""
    if kind not in (*WRITERS, ".csv") and (output is not None or not evaluate):
        raise click.UsageError(f"name an output with -o: OUT{', OUT'.join([*WRITERS, '.csv'])}")
    if raw and kind != ".npy":
        raise click.UsageError("--raw is for .npy")
    if kind in (".npy", ".csv") and len(chosen) > 1:
        raise click.UsageError(f"a {kind} file holds one method")
    if as_json and not evaluate:
        raise click.UsageError("--json prints what --evaluate measures")
    if evaluate and kind == ".csv":
        raise click.UsageError("--evaluate measures maps; a .csv file holds none")
    if asked["box"] is None and (asked["detector"] or asked["priors"]):
        raise click.UsageError("--detector and --priors say how --box is found: name it, or --box best")
    if asked["box"] is not None and (asked["against"] or asked["predicted"] or asked["value"]):
        raise click.UsageError("--box says what is explained: without --against, --predicted and --of")


def _fitting(kind: str, chosen: Sequence[str], evaluate: bool, work: Work) -> None:
    """Raise a UsageError where the output is none for the inputs of the model, a ConfigError where they are no images.

    Of several inputs all methods say something, but class activation maps are of the image alone.
    """
    from graphviz_nets.explain.methods import LAYERED

    mapped = work.seen is not None and set(chosen) <= LAYERED and kind != ".csv"
    if work.together is None and kind == ".npz":
        raise click.UsageError("an .npz file is for a model with several inputs, NAME=FILE for each")
    if work.together is not None and (evaluate or not (kind == ".npz" or mapped)):
        raise click.UsageError("of several inputs, an .npz file holds what is said of each; class activation maps are "
                               "of the image alone: .png, .npy and .html hold them, too")  # fmt: skip
    if kind in (".png", ".html"):
        work.check_pictures()
    wide = 1 + 2 * min(len(chosen), ACROSS)
    if kind == ".png" and work.places * len(work.names) * ceil(len(chosen) / ACROSS) * wide > PIXELS:
        raise LimitError(f"a picture of {len(work.names)} images", f"{PIXELS:,} pixels",
                         hint="OUT.html holds any number of them, OUT.npy their maps")  # fmt: skip


def _options(settings: Sequence[str], chosen: Sequence[str], raw: bool) -> dict[str, dict[str, Any]]:
    """Return the options of each method, read from OPTION=VALUE; maps are raw at the size of their layer."""
    import yaml

    from graphviz_nets.explain.methods import options_of

    found: dict[str, dict[str, Any]] = {
        name: {"enlarge": False} if raw and "enlarge" in options_of(name) else {} for name in chosen
    }
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


def _signed(name: str, values: Array) -> bool:
    from graphviz_nets.explain.methods import UNSIGNED

    return name not in UNSIGNED or bool(values.min() < 0)


def _report(report: dict[str, Any], as_json: bool) -> None:
    import json

    from graphviz_nets.explain.evaluation import table

    print(json.dumps(report, indent=1) if as_json else table(report))


def _csv(path: Path, work: Work, name: str) -> None:
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


def _npy(path: Path, work: Work, raw: bool, report: dict[str, Any] | None) -> None:
    import io

    import numpy as np

    from graphviz_nets.files import write

    ((name, attribution),) = work.found.items()
    out = io.BytesIO()
    np.save(out, np.asarray(attribution if raw else work.maps(name, attribution), "f4"), allow_pickle=False)
    write(path, out.getvalue())


def _npz(path: Path, work: Work, raw: bool, report: dict[str, Any] | None) -> None:
    """Write an array for each input, in the input's shape, or the map of the image; of several methods METHOD/INPUT."""
    import io
    import zipfile

    import numpy as np

    from graphviz_nets.files import write

    parts = {
        f"{name}/{part}" if len(work.found) > 1 else part: values
        for name, attribution in work.found.items() for part, values in work.parts(name, attribution).items()
    }  # fmt: skip
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:  # numpy's own savez cannot have an array called file
        for name, values in parts.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w") as member:
                np.lib.format.write_array(member, np.asarray(values, "f4"), allow_pickle=False)
    write(path, out.getvalue())


def _png(path: Path, work: Work, raw: bool, report: dict[str, Any] | None) -> None:
    """Write for each image rows of itself, then of a few methods each map alone and over it."""
    from graphviz_nets.explain.heatmap import coloured, overlaid, png, sheet
    from graphviz_nets.files import write

    maps = {name: work.maps(name, attribution) for name, attribution in work.found.items()}
    names, rows, titles = list(maps), [], []
    for k, picture in enumerate(work.pictures()):
        for start in range(0, len(names), ACROSS):
            some = names[start : start + ACROSS]
            looks = [(maps[name][k], _signed(name, maps[name][k])) for name in some]
            rows.append([picture, *(one for look in looks for one in (coloured(*look), overlaid(picture, *look)))])
            titles.append([work.explained(k) if start == 0 else "", *(text for name in some for text in (name, ""))])
    write(path, png(sheet(rows, titles)))


def _html(path: Path, work: Work, raw: bool, report: dict[str, Any] | None) -> None:
    from graphviz_nets.explain.evaluation import STYLE, page_section
    from graphviz_nets.explain.gallery import Explained, Map, page
    from graphviz_nets.explain.methods import DOCS
    from graphviz_nets.files import write

    maps = {name: work.maps(name, attribution) for name, attribution in work.found.items()}
    shown = []
    for k, picture in enumerate(work.pictures()):
        of_image = [Map(name, values[k], _signed(name, values[k]), DOCS[name]) for name, values in maps.items()]
        shown.append(Explained(work.names[k], picture, work.best(k), of_image, work.explained(k)))
    about = "Scores before the softmax; each map on a scale of its own."
    more, style = ("", "") if report is None else (page_section(report), STYLE)
    write(path, page(work.title, about, shown, more, style).encode())


ACROSS = 4
"""Methods in a row of a picture."""
PIXELS = 64_000_000
"""Of a picture, at most."""
WRITERS = {".png": _png, ".npy": _npy, ".npz": _npz, ".html": _html}
