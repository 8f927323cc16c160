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


def gradients() -> str:
    """Return the table of ONNX's operations: a rule of their own, an expansion that has rules, or none."""
    from onnx import defs

    from graphviz_nets.explain.prepare import LOOPS
    from graphviz_nets.explain.rules import VJP

    flat = ("Sign", "Floor", "Ceil", "Round")
    opset, names = defs.onnx_opset_version(), dict[str, list[str]]()
    for schema in defs.get_all_schemas():
        if schema.domain or schema.deprecated:
            continue
        expands = (schema.has_function or schema.has_context_dependent_function) and schema.name not in LOOPS
        outputs = {kind for output in schema.outputs for kind in output.types}
        kind = (
            "a rule" if schema.name in VJP and schema.name not in flat
            else "flat: nothing comes back" if schema.name in flat or not any("float" in one for one in outputs)
            else "its function body" if expands else "none: black-box methods remain"
        )  # fmt: skip
        names.setdefault(kind, []).append(schema.name)
    lines = [f"Of the operations of opset {opset}:", "", "| | | |", "| --- | --- | --- |"]
    order = ("a rule", "its function body", "flat: nothing comes back", "none: black-box methods remain")
    lines += [f"| {kind} | {len(names[kind])} | {', '.join(sorted(names[kind]))} |" for kind in order]
    return "\n".join(lines)


def keras_layers() -> str:
    """Return the table of Keras's layers."""
    from graphviz_nets.converters import tensorflow_layers  # noqa: F401  it enters its layers in the table
    from graphviz_nets.converters.tensorflow_call import layer

    lines = ["| layer | ONNX |", "| --- | --- |"]
    for type_, rule in sorted(layer.rules.items(), key=lambda item: item[0].lower()):
        lines.append(f"| `{type_}` | {(rule.__doc__ or '').strip().partition(chr(10))[0]} |")
    return "\n".join(lines)


TABLES = {
    "caffe.md": {"layers": caffe_layers},
    "tensorflow.md": {"layers": keras_layers},
    "explain.md": {"gradients": gradients},
}


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
        made = {name: make() for name, make in tables.items()}
        if "--check" in sys.argv:  # another release of onnx has other operations
            made = {name: table for name, table in made.items() if name != "gradients" or table.split("\n")[0] in old}
        new = written(old, made)
        if new != old and "--check" in sys.argv:
            print(f"docs/{page} is stale: run python docs/tables.py", file=sys.stderr)
            stale = 1
        elif new != old:
            path.write_text(new, "utf-8")
    return stale


if __name__ == "__main__":
    sys.exit(main())
