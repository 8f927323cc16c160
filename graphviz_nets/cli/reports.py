"""Reports on standard output: tables for people, JSON and CSV for programs."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from shutil import which
from typing import IO, Any

from graphviz_nets import __version__, plugins
from graphviz_nets.drawing.captions import shape_text, short
from graphviz_nets.drawing.text import visible
from graphviz_nets.graph.cost import Row, Summary
from graphviz_nets.graph.ir import Model

COLUMNS = ("name", "type", "output", "parameters", "MACs", "memory")


def cells(row: Row) -> tuple[str, ...]:
    """Return a row as short text; a figure of zero is left out, an unknown one is ``?``."""
    return (
        visible(row.name),
        visible(row.type),
        shape_text(row.outputs[0][1]) if row.outputs else "",
        short(row.parameters) if row.parameters != 0 else "",
        short(row.macs) if row.macs != 0 else "",
        size(row.activation_bytes),
    )


def size(number: int | None) -> str:
    """Return a number of bytes as people read it.

    Examples
    --------
    >>> size(2_400_000), size(None)
    ('2.40 MB', '?')
    """
    return "?" if number is None else f"{short(number)}B" if number >= 1000 else f"{number} B"


def totals(summary: Summary) -> tuple[str, ...]:
    """Return the last line of a table."""
    number = f"{summary.layers} layers" if summary.layers is not None else f"{summary.nodes} nodes"
    return "total", number, "", short(summary.parameters), short(summary.macs), size(summary.activation_bytes)


def table(model: Model, summary: Summary, out: IO[str]) -> None:
    """Print a table as wide as the terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=out, highlight=False, width=None if out.isatty() else 120)
    title = Text(visible(model.name)) if model.name else None
    grid = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for k, column in enumerate(COLUMNS):
        grid.add_column(column, justify="right" if k > 2 else "left", no_wrap=k > 1, overflow="ellipsis")
    for row in summary.rows:
        grid.add_row(*map(Text, cells(row)))
    grid.add_section()
    grid.add_row(*(Text(cell, "bold") for cell in totals(summary)))
    console.print(grid)
    for name, value in (("parameters", summary.parameters), ("MACs", summary.macs)):
        console.print(Text(f"{name}: {'unknown' if value is None else f'{value:,}'}"))


def markdown(model: Model, summary: Summary, out: IO[str]) -> None:
    """Print a Markdown table."""

    def line(values: Sequence[str]) -> str:
        safe = (value.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;") for value in values)
        return f"| {' | '.join(safe)} |\n"

    out.write(line(COLUMNS))
    out.write("| --- | --- | --- | ---: | ---: | ---: |\n")
    for row in summary.rows:
        out.write(line(cells(row)))
    out.write(line(totals(summary)))


def document(model: Model, summary: Summary) -> dict[str, Any]:
    """Return the summary as plain data, in the order of the contract."""
    return {
        "name": model.name,
        "framework": model.framework,
        "runnable": model.runnable,
        "problems": list(model.problems),
        "totals": summary.totals,
        "rows": [row.document() for row in summary.rows],
    }


def json_text(model: Model, summary: Summary, out: IO[str]) -> None:
    """Print the summary as one JSON object."""
    from graphviz_nets.renderers.plain import strict

    out.write(json.dumps(strict(document(model, summary)), indent=1, allow_nan=False) + "\n")


def csv_text(model: Model, summary: Summary, out: IO[str]) -> None:
    """Print one line a row, with exact numbers; an unknown figure is empty."""
    writer = csv.writer(out, lineterminator="\n")
    figures = ("parameters", "buffers", "macs", "flops", "weight_bytes", "activation_bytes")
    writer.writerow(("name", "scope", "type", "output", *figures, "source"))
    for row in summary.rows:
        shape = shape_text(row.outputs[0][1]).replace("×", "x") if row.outputs else ""
        numbers = ("" if (value := getattr(row, name)) is None else value for name in figures)
        writer.writerow((*map(guarded, (row.name, row.scope, row.type)), shape, *numbers, guarded(row.source)))


def guarded(text: str) -> str:
    """Return a cell that no spreadsheet takes for a formula.

    Examples
    --------
    >>> guarded("=1+1"), guarded("conv1")
    ("'=1+1", 'conv1')
    """
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


SUMMARY: Mapping[str, Callable[[Model, Summary, IO[str]], None]] = {
    "table": table,
    "json": json_text,
    "csv": csv_text,
    "markdown": markdown,
}


def formats(out: IO[str], as_json: bool) -> None:
    """Print what can be opened and written."""
    found = {group: [_about(group, name) for name in plugins.names(group)] for group in ("converters", "renderers")}
    if as_json:
        out.write(json.dumps(found, indent=1) + "\n")
        return
    for group, title in (("converters", "opens"), ("renderers", "writes")):
        out.write(f"{title}\n")
        for item in found[group]:
            out.write(f"  {item['name']:8} {item['title']} ({', '.join(item['suffixes'])})\n")


def _about(group: str, name: str) -> dict[str, Any]:
    try:
        plugin = plugins.resolve(group, name)
        return {"name": name, "title": str(plugin.title), "suffixes": list(plugin.suffixes)}
    except Exception as fault:  # a third party's plugin may fail in any way; the list goes on
        return {"name": name, "title": f"cannot be loaded: {fault}", "suffixes": []}


CORE = (
    "onnx", "numpy", "networkx", "pygraphviz", "graphviz", "pyyaml", "fonttools", "font-roboto", "click", "rich",
    "resvg-py", "svg2pdf-py", "pypdf",
)  # fmt: skip
OPTIONAL: Mapping[str, str] = {
    "onnxruntime": "run models: graphviz-nets[run]",
    "onnxruntime-gpu": "run models on CUDA: graphviz-nets[gpu]",
    "scikit-image": "superpixels: graphviz-nets[explain]",
    "scipy": "truth metrics: graphviz-nets[explain]",
    "starlette": "live editor: graphviz-nets[edit]",
    "uvicorn": "live editor: graphviz-nets[edit]",
    "torch": "graphviz-nets[torch]",
    "onnxscript": "graphviz-nets[torch]",
    "tensorflow": "graphviz-nets[tensorflow]",
    "tf2onnx": "graphviz-nets[tensorflow]",
    "tensorboard": "graphviz-nets[tensorboard]",
    "h5py": "weights in HDF5: graphviz-nets[hdf5]",
    "caffe2onnx": "a second Caffe engine: pip install --no-deps caffe2onnx==2.0.1",
}


def doctor(out: IO[str], as_json: bool) -> int:
    """Print what is installed; return 4 where something needed is missing or two runtimes clash."""
    versions = {name: _version(name) for name in (*CORE, *OPTIONAL)}
    versions["tensorflow"] = versions["tensorflow"] or _version("tensorflow-cpu")
    faults = [f"{name} is missing: pip install {name}" for name in CORE if versions[name] is None]
    if versions["onnxruntime"] and versions["onnxruntime-gpu"]:
        faults.append(
            "onnxruntime and onnxruntime-gpu share a folder: pip uninstall -y onnxruntime onnxruntime-gpu, "
            'then pip install "graphviz-nets[run]" or "graphviz-nets[gpu]"'
        )
    python = ".".join(map(str, sys.version_info[:3]))
    dot = which("dot") is not None
    if as_json:
        found = {"graphviz_nets": __version__, "python": python, "packages": versions, "dot": dot, "faults": faults}
        out.write(json.dumps(found, indent=1) + "\n")
        return 4 if faults else 0
    out.write(f"graphviz-nets {__version__}, Python {python}\n")
    for name, version in versions.items():
        out.write(f"  {name:16} {version or 'not installed':14} {OPTIONAL.get(name, 'needed')}\n")
    out.write(f"  {'dot':16} {'found' if dot else 'not found':14} only to have Graphviz itself draw DOT files\n")
    for fault in faults:
        out.write(f"fault: {fault}\n")
    if not faults:
        out.write("all that is needed is here\n")
    return 4 if faults else 0


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
