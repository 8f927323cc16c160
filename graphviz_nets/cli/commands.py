"""The commands, their options and how they report."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from graphviz_nets import __version__
from graphviz_nets.config import GROUPS, KEPT, LAYOUTS, RANKDIRS, SHOWN, Options, aspect_of, load_rules
from graphviz_nets.errors import ConfigError, ConvertError, PictureWarning

if TYPE_CHECKING:
    from graphviz_nets.graph.ir import Model

F = TypeVar("F", bound=Callable[..., Any])

FILE = click.Path(path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, message="graphviz-nets %(version)s")
def program() -> None:
    """See neural networks: open Caffe, TensorFlow, Keras, PyTorch and ONNX models, draw, count, convert, explain."""


def input_options(command: F) -> F:
    """Add the argument and options of every command that opens a model."""
    shapes = "Shape of an input (repeatable); one without a name goes to the next input."
    decorators = [
        click.argument("source", metavar="INPUT"),
        click.option("--from", "format_", metavar="FORMAT", help="Format of INPUT; found by its content by default."),
        click.option("--weights", type=FILE, help="Caffe: a .caffemodel or .caffemodel.h5; PyTorch: a state_dict."),
        click.option("--phase", type=click.Choice(["train", "test"]), default="test", help="Caffe: the phase; test."),
        click.option("--stage", "stages", multiple=True, metavar="NAME", help="Caffe: a stage that is on."),
        click.option("--level", type=int, default=0, help="Caffe: the level; 0."),
        click.option("--net", type=FILE, help="Caffe: the net of a solver."),
        click.option("--input-shape", "shapes", multiple=True, metavar="[NAME[:DTYPE]=]1,3,224,224", help=shapes),
        click.option("--signature", metavar="NAME", help="SavedModel: which of its functions; serving_default."),
        click.option("--tag", metavar="TAG", help="SavedModel: which of its graphs; serve."),
        click.option("--layout", type=click.Choice(LAYOUTS), help="Axes of images, in and out; those of the file."),
        click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors."),
        click.option("-v", "--verbose", is_flag=True, help="Explain what is done."),
        click.option("--debug", is_flag=True, help="Show where an error comes from."),
    ]
    for decorator in reversed(decorators):
        command = decorator(command)
    return command


def shapes_of(given: tuple[str, ...]) -> dict[str, tuple[str | None, tuple[int | str | None, ...]]]:
    """Read ``--input-shape`` values.

    Examples
    --------
    >>> shapes_of(("data:float32=1,3,8,8", "1,?"))
    {'data': ('float32', (1, 3, 8, 8)), '0': (None, (1, None))}
    """
    result: dict[str, tuple[str | None, tuple[int | str | None, ...]]] = {}
    unnamed = 0
    for text in given:
        head, found, tail = text.rpartition("=")
        name, _, dtype = head.partition(":")
        dims: list[int | str | None] = []
        for part in (piece.strip() for piece in tail.split(",") if tail.strip()):
            if part.isdigit() and len(part) < 19:
                dims.append(int(part))
            elif part in ("?", "-1"):
                dims.append(None)
            elif part.isidentifier():
                dims.append(part)
            else:
                raise ConfigError(f"{part!r} is no dimension", key="--input-shape", hint="[NAME[:DTYPE]=]1,3,224,224")
        if not found:
            name, unnamed = str(unnamed), unnamed + 1
        result[name] = (dtype or None, tuple(dims))
    return result


class Input(NamedTuple):
    """INPUT as it is to be opened: its path, how, and its content where it came from standard input."""

    path: str
    options: Options
    data: bytes | None
    quiet: bool
    verbose: bool


def read_input(
    source: str,
    format_: str | None,
    weights: Path | None,
    phase: str,
    stages: tuple[str, ...],
    level: int,
    net: Path | None,
    shapes: tuple[str, ...],
    signature: str | None,
    tag: str | None,
    layout: str | None,
    quiet: bool,
    verbose: bool,
    **more: Any,
) -> Input:
    """Return INPUT with its options; standard input is read."""
    from graphviz_nets import api

    options = Options(source=format_, phase=phase, stages=stages, level=level, net=net, weights=weights,
                      input_shapes=shapes_of(shapes), signature=signature, tag=tag, layout=layout, **more)  # fmt: skip
    if source != "-":
        return Input(source, options, None, quiet, verbose)
    if format_ is None:
        raise ConfigError("standard input needs a format", key="--from", hint="--from caffe")
    data = sys.stdin.buffer.read(api.LARGEST_TEXT + 1)
    if len(data) > api.LARGEST_TEXT:
        raise ConvertError("more than 64 MB", path="standard input")
    return Input("stdin", options, data, quiet, verbose)


def open_input(given: Input) -> Model:
    """Open INPUT; its problems go to standard error."""
    from graphviz_nets import api

    model = api.load(given.path, given.options, data=given.data)
    shown = len(model.problems) if given.verbose else 0 if given.quiet else 10
    for problem in model.problems[:shown]:
        say(f"warning: {problem}")
    if not given.quiet and len(model.problems) > shown:
        say(f"warning: {len(model.problems) - shown} more; -v shows them all")
    if given.verbose:
        say(f"{given.path}: {model.framework}, {len(model.layers)} layers, {len(model.graph.nodes)} nodes")
    return model


def open_model(**source: Any) -> Model:
    """Open INPUT as the command line gives it."""
    return open_input(read_input(**source))


def say(text: str) -> None:
    """Print a line to standard error, free of control characters."""
    from graphviz_nets.cli import one_line

    print(one_line(text), file=sys.stderr)


@program.command()
@input_options
@click.option("-o", "--output", "outputs", multiple=True, metavar="OUT", help="File to write (repeatable), or -.")
@click.option("--to", metavar="FORMAT", help="Format for standard output.")
@click.option("--rankdir", type=click.Choice(RANKDIRS), help="Direction of the flow; TB.")
@click.option("--depth", metavar="N|all", help="Levels of groups that are open; until about 60 boxes show.")
@click.option("--expand", multiple=True, metavar="GLOB", help="Open these groups (repeatable).")
@click.option("--collapse", multiple=True, metavar="GLOB", help="Close these groups (repeatable).")
@click.option("--no-fold", is_flag=True, help="Draw everything that folds into others as boxes of their own.")
@click.option("--keep", multiple=True, type=click.Choice(KEPT), help="Draw these as boxes (repeatable).")
@click.option("--no-repeats", is_flag=True, help="Draw every member of a run of equal groups.")
@click.option("--no-hubs", is_flag=True, help="Draw wires even to what is used far and wide.")
@click.option("--hub", "stubs", multiple=True, metavar="GLOB", help="Draw stubs in place of these boxes' wires.")
@click.option("--wire", "wires", multiple=True, metavar="GLOB", help="Draw wires from these boxes, hubs or not.")
@click.option("--aspect", metavar="W:H", help="Wrap long chains towards this ratio of width to height.")
@click.option("--group", type=click.Choice(GROUPS), help="Where groups come from; auto.")
@click.option("--show", metavar=",".join(SHOWN), help="What boxes and wires say; shapes,attrs.")
@click.option("--theme", metavar="NAME|FILE.yaml", help="default, light, dark, grey, or your own.")
@click.option("--title", help="Title; the network's name.")
@click.option("--scale", type=float, help="PNG: pixels for one of the drawing's; 2.")
@click.option("--background", metavar="COLOR|transparent", help="Background colour, as #rrggbb.")
@click.option("--font", type=FILE, help="Font file to measure and draw text with.")
@click.option("--rules", type=FILE, help="A graphviz_nets.yaml with options, folding rules and themes.")
@click.option("--overlay", type=FILE, metavar="FILE.csv", help="id,value lines that colour the boxes.")
@click.option("--check", is_flag=True, help="Write nothing; exit 1 where an output is not what would be written.")
@click.option("--open", "show_it", is_flag=True, help="Open the first output when it is written.")
def render(
    outputs: tuple[str, ...],
    to: str | None,
    rules: Path | None,
    overlay: Path | None,
    check: bool,
    show_it: bool,
    debug: bool,
    **given: Any,
) -> int:
    """Draw INPUT into OUT.{dot,svg,png,pdf,html,json}."""
    from graphviz_nets import api
    from graphviz_nets.files import write
    from graphviz_nets.renderers import by_suffix, draw, find

    if not outputs:
        raise click.UsageError("name at least one output with -o")
    source = {key: given.pop(key) for key in SOURCE}
    options = drawing_options(load_rules(rules) if rules is not None else Options(), **given)
    names = [to_format(to) if output == "-" else by_suffix(Path(output)) for output in outputs]
    for name, output in zip(names, outputs, strict=True):
        find(name)
        if output != "-" and Path(output).resolve() == Path(source["source"]).resolve():
            raise ConfigError("an output would overwrite the input", file=output)
    given_input = read_input(**source)
    model = open_input(given_input)
    pages = any(find(name).wants == "page" for name in names)
    phases = api.other_phase(model, given_input.path, given_input.options, data=given_input.data) if pages else {}
    options = replace(options, phase=source["phase"])
    if overlay is not None:
        heading, values = api.read_overlay(overlay)
        unknown = sorted(values.keys() - api.known_ids(model))
        if unknown:
            say(f"warning: {overlay} names {len(unknown)} ids that are not in the model, such as {unknown[0]!r}")
        options = replace(options, overlay=values, overlay_title=heading)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PictureWarning)
        contents = dict(zip(outputs, draw(model, names, options, phases), strict=True))
    if not source["quiet"]:
        for text in dict.fromkeys(str(item.message) for item in caught if item.category is PictureWarning):
            say(f"warning: {text}")
    if check:
        files = {Path(output): content for output, content in contents.items() if output != "-"}
        stale = [path for path, content in files.items() if not path.is_file() or path.read_bytes() != content]
        for path in stale:
            say(f"stale: {path}")
        return 1 if stale else 0
    for output, content in contents.items():
        if output == "-":
            if sys.stdout.isatty() and b"\0" in content[:1024]:
                raise ConfigError("binary output does not go to a terminal", key="-o -")
            sys.stdout.buffer.write(content)
            sys.stdout.buffer.flush()
            continue
        write(Path(output), content)
        if not source["quiet"]:
            say(f"wrote {output}")
    if show_it:
        click.launch(outputs[0])
    return 0


SOURCE = ("source", "format_", "weights", "phase", "stages", "level", "net", "shapes", "signature", "tag", "layout",
          "quiet", "verbose")  # fmt: skip


def drawing_options(base: Options, **given: Any) -> Options:
    """Return the options of a picture: what is given over `base`, the theme's direction under both."""
    from graphviz_nets.drawing.theme import colour_of, theme

    for switch in ("fold", "repeats", "hubs"):
        if given.pop(f"no_{switch}"):
            given[switch] = False
    if given["aspect"] is not None:
        given["aspect"] = aspect_of(given["aspect"])
    if given["show"] is not None:
        given["show"] = tuple(part.strip() for part in given["show"].split(",") if part.strip())
    if given["background"] not in (None, "transparent"):
        given["background"] = colour_of(given["background"], "--background")
    given["depth"] = depth_of(given["depth"])
    options = replace(base, **{key: value for key, value in given.items() if value not in (None, ())})
    look = theme(options.theme, options.themes)
    if look.rankdir is not None and given["rankdir"] is None and options.rankdir == Options().rankdir:
        options = replace(options, rankdir=look.rankdir)
    return options


def depth_of(text: str | None) -> int | str | None:
    """Return ``--depth`` as a number, ``"all"`` or None."""
    if text is None or text == "all":
        return text
    if text.isdigit() and len(text) < 10:
        return int(text)
    raise click.BadParameter(f"{text!r} is neither a number nor all", param_hint="--depth")


def to_format(name: str | None) -> str:
    """Return the format for standard output."""
    from graphviz_nets.renderers import formats

    if name not in formats():
        raise click.UsageError(f"-o - needs --to FORMAT, one of {', '.join(formats())}")
    return str(name)


@program.command()
@input_options
@click.option("-o", "--output", required=True, metavar="OUT.onnx", help="File to write.")
@click.option("--random-weights", type=int, metavar="SEED", help="Caffe: fill weights as its fillers say.")
@click.option("--preprocess", metavar="NAME|FILE", help="Record this preprocessing: a name, YAML or a mean image.")
@click.option("--verify", is_flag=True, help="Run it here and elsewhere; exit 1 where an output differs.")
@click.option("--with-gradient", metavar="METHOD", help="Add the nodes of an attribution, as ONNX runs them anywhere.")
@click.option("--engine", type=click.Choice(["native", "caffe2onnx"]), default="native", help="Caffe: the converter.")
def convert(
    output: str,
    random_weights: int | None,
    preprocess: str | None,
    verify: bool,
    with_gradient: str | None,
    engine: str,
    debug: bool,
    **source: Any,
) -> int:
    """Turn INPUT into OUT.onnx; without weights it holds the structure alone."""
    from graphviz_nets import api
    from graphviz_nets.cli import converting

    target = Path(output)
    if target.suffix.lower() != ".onnx":
        raise ConfigError("the output is to be an .onnx file", file=output)
    has_weights = source["weights"] is not None or random_weights is not None
    has_weights |= source["source"].lower().endswith(".caffemodel")
    if Path(source["source"]).exists():  # TensorFlow's files hold their weights
        has_weights |= api.converter_of(Path(source["source"]), source["format_"]).name == "tensorflow"
    layout = source.pop("layout")  # what is verified has the layout of the file
    model = open_model(
        **source, layout=None, random_weights=random_weights, deploy=has_weights and source["phase"] == "test"
    )
    if preprocess is not None:
        model = converting.with_preprocess(model, preprocess)
    good = True
    if engine != "native":
        model, good = converting.by_engine(engine, model, Path(source["source"]), source["weights"], source["quiet"])
    if verify:
        good = converting.verified(model, Path(source["source"]), source["weights"]) and good
    if layout is not None:
        model = api.with_layout(model, layout)
    if with_gradient is not None:
        model = converting.with_gradient(model, with_gradient, source["quiet"])
    api.save(model, target)
    if not source["quiet"]:
        if model.obstacles:
            say(f"warning: {output} holds the structure only and cannot run: {model.obstacles[0]}")
        say(f"wrote {output}")
    return 0 if good or not verify else 1


@program.command()
@input_options
@click.option(
    "--format", "form", type=click.Choice(["table", "json", "csv", "markdown"]), default="table", help="table."
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--by", type=click.Choice(["layer", "scope", "node"]), default="layer", help="What a row is; layer.")
@click.option("--depth", metavar="N", type=click.IntRange(min=1), help="Only rows at most this many levels deep.")
def summary(form: str, as_json: bool, by: str, depth: int | None, debug: bool, **source: Any) -> None:
    """Count parameters, multiply-accumulates and bytes of INPUT, layer by layer."""
    from graphviz_nets import api
    from graphviz_nets.cli import reports

    model = open_model(**source)
    table = api.summary(model, by)
    if depth is not None:
        table = replace(table, rows=tuple(row for row in table.rows if row.level < depth))
    reports.SUMMARY["json" if as_json else form](model, table, sys.stdout)


@program.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def formats(as_json: bool) -> None:
    """List what can be opened and written."""
    from graphviz_nets.cli import reports

    reports.formats(sys.stdout, as_json)


@program.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(as_json: bool) -> int:
    """Say what is installed, what is missing, and what to do about it."""
    from graphviz_nets.cli import reports

    return reports.doctor(sys.stdout, as_json)
