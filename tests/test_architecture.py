"""The house: who may import whom, and when. ``ARCHITECTURE.md`` draws it."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import pytest

import graphviz_nets
from graphviz_nets import plugins

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))

GROUND = {"errors", "plugins", "config", "files"}
ROOF = {"api", "cli", "hooks", "server", "verify", "__main__"}
MIDDLE = {"drawing", "explain", "training"}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "plugins": {"errors"},
    "config": {"errors"},
    "files": {"errors"},
    "graph": GROUND,
    **{part: GROUND | {"graph"} for part in MIDDLE},
    "converters": GROUND | {"graph"},
    "renderers": GROUND | {"graph", "drawing"},
}
OPEN_TO_SIBLINGS = {"converters": "onnx", "renderers": "svg"}  # what other formats in the same folder may end in
HEAVY = {
    *("IPython", "PIL", "caffe2onnx", "cv2", "fontTools", "google", "graphviz", "h5py", "keras", "networkx", "numpy"),
    *("onnx", "onnxruntime", "onnxscript", "pygraphviz", "resvg_py", "scipy", "skimage", "starlette", "svg2pdf_py"),
    *("tensorboard", "tensorflow", "tf2onnx", "torch", "uvicorn", "yaml"),
}


class Import(NamedTuple):
    line: int
    target: str  # a dotted module name, or that of a name in one
    level: int  # dots of a relative import
    late: bool  # inside a function
    typing: bool  # under ``if TYPE_CHECKING``


class Module(NamedTuple):
    name: str
    file: Path
    imports: tuple[Import, ...]

    @property
    def part(self) -> str:
        """The floor it stands on: the first name under graphviz_nets."""
        return part(self.name)

    @property
    def leaf(self) -> str:
        """Its file within converters/ or renderers/, "" for ``__init__``."""
        return self.name.split(".")[2] if self.name.count(".") > 1 else ""


def part(name: str) -> str:
    return name.split(".")[1] if "." in name else "__init__"


def sources() -> Iterator[tuple[str, Path]]:
    """Yield the name and file of every module, through the real folders: an unpacked sdist has no symlinks."""
    for package, folder in (
        ("graphviz_nets", ROOT / "graphviz_nets"),
        ("graphviz_nets.converters", ROOT / "converters"),
        ("graphviz_nets.renderers", ROOT / "renderers"),
    ):
        links = {folder / "converters", folder / "renderers"} if package == "graphviz_nets" else set()
        for file in sorted(folder.rglob("*.py")):
            if links.isdisjoint(file.parents):
                parts = file.relative_to(folder).with_suffix("").parts
                yield ".".join((package, *(name for name in parts if name != "__init__"))), file


def imports(tree: ast.AST, package: str) -> Iterator[Import]:
    """Yield the imports of a module, relative ones resolved, calls of ``import_module("...")`` included."""
    stack: list[tuple[ast.AST, bool, bool]] = [(tree, False, False)]
    while stack:
        node, late, typing = stack.pop()
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield Import(node.lineno, alias.name, 0, late, typing)
            case ast.ImportFrom(module=module, names=names, level=level):
                base = package.rsplit(".", level - 1)[0] if level else ""
                base = ".".join(filter(None, (base, module)))
                for alias in names:
                    yield Import(node.lineno, f"{base}.{alias.name}", level, late, typing)
            case ast.Call(
                func=ast.Name(id=name) | ast.Attribute(attr=name), args=[ast.Constant(value=str(target)), *_]
            ):
                if name in {"import_module", "__import__"}:
                    yield Import(node.lineno, target, 0, late, typing)
        if isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            stack += [(child, late, True) for child in node.body]
            stack += [(child, late, typing) for child in node.orelse]
        else:
            late = late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            stack += [(child, late, typing) for child in ast.iter_child_nodes(node)]


def read() -> Iterator[Module]:
    for name, file in sources():
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        tree = ast.parse(file.read_text("utf-8"), str(file))
        yield Module(name, file, tuple(sorted(imports(tree, package))))


MODULES = tuple(read())
NAMES = {module.name for module in MODULES}


def home(target: str) -> str:
    """Return the module of ours that `target` is or lies in; "" for others' modules."""
    if target.partition(".")[0] != "graphviz_nets":
        return ""
    name = target.removeprefix("graphviz_nets.")
    if name in graphviz_nets._HOMES:  # from graphviz_nets import load
        return graphviz_nets._HOMES[name]
    while target not in NAMES and "." in target:
        target = target.rpartition(".")[0]
    return target


def at(module: Module, found: Import) -> str:
    return f"{module.file.relative_to(ROOT)}:{found.line}: {found.target}"


def complain(faults: list[str], rule: str) -> None:
    if faults:
        pytest.fail("\n".join((rule, *faults)), pytrace=False)


def formats(group: str) -> set[str]:
    """Return the files in converters/ or renderers/ that are formats, as ``plugins`` lists them."""
    return {target.partition(":")[0].rpartition(".")[2] for target in plugins.BUILTIN[group].values()}


def family(leaf: str, group: str) -> str:
    """Return the format whose file or helper by prefix `leaf` is: ``caffe`` for ``caffe_layers``; "" if none."""
    return next((name for name in formats(group) if f"{leaf}_".startswith(f"{name}_")), "")


def test_floors_import_downwards_only() -> None:
    faults = [
        at(module, found)
        for module in MODULES
        if module.part in MAY_IMPORT
        for found in module.imports
        if (target := home(found.target)) not in {"", "graphviz_nets"}
        and part(target) not in MAY_IMPORT[module.part] | {module.part}
    ]
    complain(faults, f"each part may import only: {MAY_IMPORT}")


def test_every_part_has_a_floor() -> None:
    assert {module.part for module in MODULES} <= {"__init__", *ROOF, *MAY_IMPORT}, "a new part: give it a floor above"


def test_core_finds_converters_and_renderers_when_called() -> None:
    faults = [
        at(module, found)
        for module in MODULES
        if module.part not in {"converters", "renderers"}
        for found in module.imports
        if part(home(found.target)) in {"converters", "renderers"} and not (found.late and module.part in ROOF)
    ]
    complain(faults, "only the roof imports a converter or renderer, inside a function; others ask plugins.resolve")


@pytest.mark.parametrize("group", sorted(OPEN_TO_SIBLINGS))
def test_formats_are_strangers(group: str) -> None:
    faults = [
        at(module, found)
        for module in MODULES
        if module.part == group
        for found in module.imports
        if part(home(found.target)) == group
        and (other := family(home(found.target).rpartition(".")[2], group))
        and other not in {OPEN_TO_SIBLINGS[group], family(module.leaf, group)}
    ]
    complain(faults, f"formats in {group}/ may share helpers and {group}/{OPEN_TO_SIBLINGS[group]}.py, not each other")


def test_siblings_relative_everything_else_absolute() -> None:
    faults = [
        at(module, found)
        for module in MODULES
        for found in module.imports
        if (sibling := module.part in OPEN_TO_SIBLINGS and part(home(found.target)) == module.part) != bool(found.level)
        or found.level > (1 if sibling else 0)
    ]
    complain(faults, "relative imports are for siblings in converters/ and renderers/, and only for them")


def test_heavy_modules_are_imported_in_functions() -> None:
    faults = [
        at(module, found)
        for module in MODULES
        for found in module.imports
        if found.target.partition(".")[0] in HEAVY and not (found.level or found.late or found.typing)
    ]
    complain(faults, "import these inside the functions that need them")


def test_package_root_imports_the_standard_library_only() -> None:
    root = next(module for module in MODULES if module.name == "graphviz_nets")
    faults = [
        at(root, found)
        for found in root.imports
        if not (found.late or found.typing) and found.target.partition(".")[0] not in sys.stdlib_module_names
    ]
    complain(faults, "graphviz_nets/__init__.py is lazy")


def loaded_by(code: str) -> set[str]:
    """Return the modules that `code` loads in a fresh interpreter."""
    script = (
        f"import sys, json; before = set(sys.modules)\n{code}\nprint(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def test_import_loads_the_standard_library_only() -> None:
    loaded = {name.partition(".")[0] for name in loaded_by("import graphviz_nets")}
    assert "graphviz_nets" in loaded
    assert loaded <= {"graphviz_nets", *sys.stdlib_module_names}


def test_a_file_is_matched_without_what_opens_other_frameworks() -> None:
    loaded = loaded_by("from graphviz_nets.api import load; load('fixtures/caffe/lenet.prototxt')")
    ours = {name.rpartition(".")[2] for name in loaded if name.startswith("graphviz_nets.converters.")}
    others = {name for name in ours if not name.startswith("caffe") and name not in ("hdf5", "prototxt")}
    assert others == {"onnx", "pytorch", "tensorflow", "tensorflow_files"}
    assert "graphviz_nets.graph.proto" not in loaded


def test_no_module_loads_a_heavy_one() -> None:
    """What the rule over ``ast`` cannot see: a heavy module behind a light one."""
    names = sorted(NAMES - {"graphviz_nets.__main__"})
    code = f"import importlib\nfor name in {names!r}: importlib.import_module(name)"
    assert {name.partition(".")[0] for name in loaded_by(code)} & HEAVY == set()


def test_root_folders_are_not_top_level_modules() -> None:
    assert not {"converters", "renderers"} & set(sys.modules)


@pytest.mark.parametrize("name", ["converters", "renderers"])
def test_symlinks_lead_to_the_root_folders(name: str) -> None:
    link = ROOT / "graphviz_nets" / name
    if not link.is_symlink():
        pytest.skip("a checkout or sdist without symlinks")
    assert link.readlink() == Path("..") / name


def test_packages_are_listed() -> None:
    packages = {name if file.name == "__init__.py" else name.rpartition(".")[0] for name, file in sources()}
    assert packages <= NAMES, "a folder with modules lacks an __init__.py"
    assert PROJECT["tool"]["setuptools"]["packages"] == sorted(packages)


def test_package_data_is_listed() -> None:
    listed = PROJECT["tool"]["setuptools"]["package-data"]
    folders = {name: file.parent for name, file in sources() if file.name == "__init__.py"}
    faults = [
        str(file.relative_to(ROOT))
        for package, folder in folders.items()
        for file in sorted(folder.iterdir())
        if file.is_file() and file.suffix not in {".py", ".pyc"}
        if not any(fnmatch(file.name, pattern) for pattern in listed.get(package, ()))
    ]
    complain(faults, "not in the wheel: name them in pyproject.toml, [tool.setuptools.package-data]")


def test_versions_agree() -> None:
    assert PROJECT["project"]["version"] == graphviz_nets.__version__
