"""Write the tables in the documentation that follow from the registries: ``python docs/tables.py [--check]``."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))


def caffe_layers() -> str:
    """Return the table of Caffe's layers."""
    from graphviz_nets.converters.caffe_layers import deployed, support
    from tests.cases.judges import judges_of

    lines = ["| layer | ONNX | restriction | numbers judged by |", "| --- | --- | --- | --- |"]
    for type_, (form, restriction) in sorted(support().items(), key=lambda item: item[0].lower()):
        runs = deployed(type_)
        if runs != type_:
            form += f"; to run: {'left out' if runs is None else runs}"
        lines.append(f"| `{type_}` | {form} | {restriction} | {judges_of(type_)} |")
    return "\n".join(lines)


def keras_layers() -> str:
    """Return the table of Keras's layers."""
    from graphviz_nets.converters import tensorflow_layers  # noqa: F401  it enters its layers in the table
    from graphviz_nets.converters.tensorflow_call import layer

    lines = ["| layer | ONNX |", "| --- | --- |"]
    for type_, rule in sorted(layer.rules.items(), key=lambda item: item[0].lower()):
        lines.append(f"| `{type_}` | {(rule.__doc__ or '').strip().partition(chr(10))[0]} |")
    return "\n".join(lines)


TABLES = {"caffe.md": {"layers": caffe_layers}, "tensorflow.md": {"layers": keras_layers}}


def written(text: str, tables: dict[str, str]) -> str:
    """Return a page with the tables between their marks renewed."""
    for name, table in tables.items():
        begin, end = f"<!-- table: {name} -->", "<!-- end of table -->"
        head, _, rest = text.partition(begin)
        text = f"{head}{begin}\n{table}\n{end}{rest.partition(end)[2]}"
    return text


def main() -> int:
    stale = 0
    for page, tables in TABLES.items():
        path = HERE / page
        old = path.read_text("utf-8")
        new = written(old, {name: make() for name, make in tables.items()})
        if new != old and "--check" in sys.argv:
            print(f"docs/{page} is stale: run python docs/tables.py", file=sys.stderr)
            stale = 1
        elif new != old:
            path.write_text(new, "utf-8")
    return stale


if __name__ == "__main__":
    sys.exit(main())
