"""TorchScript archives: the structure that their code describes, found by reading the code, never by running it.

An archive holds Python-like source and a pickle of the module tree. The source is parsed, and ``forward`` is followed
with names in place of tensors: each call of an operation becomes a node, each call of a module a scope. Where a branch
depends on a tensor both sides are followed; the body of a loop is followed once.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from graphviz_nets.errors import LimitError, ParseError
from graphviz_nets.graph.builder import Builder
from graphviz_nets.graph.decode import NODES
from graphviz_nets.graph.ir import Model
from graphviz_nets.graph.scopes import Path as ScopePath

from .pytorch_archive import Archive
from .pytorch_pickle import Global, Inert, Stored
from .pytorch_scopes import Calls, with_modules

CODE = 16 << 20
"""Bytes of one source file."""
DEEP = 150
"""Calls inside calls."""
STRUCTURE = "its operations are TorchScript's (aten), not ONNX's: it can be drawn, not run"


class Sym(NamedTuple):
    """A value that only a run would know."""

    name: str


class Dotted(NamedTuple):
    """The name of an operation, function or class: ``torch.relu``."""

    name: str


@dataclass(frozen=True, eq=False)
class Part:
    """A module of the archive."""

    name: str
    inert: Inert


class Method(NamedTuple):
    """A method of a module."""

    part: Part
    name: str


SIGNATURES: Mapping[str, Sequence[str]] = {
    "_convolution": "input weight bias stride padding dilation transposed output_padding groups".split(),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), "input weight bias stride padding dilation groups".split()),
    **dict.fromkeys(("max_pool1d", "max_pool2d", "max_pool3d"),
                    "input kernel_size stride padding dilation ceil_mode".split()),
    "avg_pool2d": "input kernel_size stride padding ceil_mode count_include_pad".split(),
    "adaptive_avg_pool2d": ("input", "output_size"),
    "batch_norm": "input weight bias running_mean running_var training momentum eps".split(),
    "layer_norm": "input normalized_shape weight bias eps".split(),
    "dropout": ("input", "p", "train"),
    "linear": ("input", "weight", "bias"),
    "view": ("input", "size"),
    "reshape": ("input", "shape"),
    "flatten": ("input", "start_dim", "end_dim"),
    "transpose": ("input", "dim0", "dim1"),
    "permute": ("input", "dims"),
    "softmax": ("input", "dim"),
    "cat": ("tensors", "dim"),
    "unsqueeze": ("input", "dim"),
    "squeeze": ("input", "dim"),
}  # fmt: skip
"""Names of the arguments of common operations, which the code gives by position."""

FOLDED: Mapping[str, Callable[..., Any]] = {
    "__is__": lambda a, b: a is b,
    "__isnot__": lambda a, b: a is not b,
    "__not__": lambda a: not a,
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "len": len,
}
"""Operations on what is known without a run, which decide branches."""


def is_script(archive: Archive) -> bool:
    """Say whether an archive holds TorchScript."""
    return "data.pkl" in archive.members and any(name.startswith("code/") for name in archive.members)


def read_script(archive: Archive) -> Model:
    """Return the structure of a TorchScript archive: nodes in the domain ``aten``, weights read when asked.

    Raises
    ------
    ParseError
        When code or pickles are broken.
    LimitError
        When following the code takes too long.
    """
    root = archive.pickle("data.pkl")
    if not isinstance(root, Inert):
        raise ParseError("the archive holds no module", path=archive.path)
    script = _Script(archive, root)
    try:
        return script.model()
    except RecursionError:
        raise LimitError("the depth of the archive's code", DEEP) from None
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as fault:
        text = f"the code cannot be followed: {type(fault).__name__} {fault}"
        raise ParseError(text, path=archive.path) from None


class _Script:
    """Follows the code of one archive."""

    def __init__(self, archive: Archive, root: Inert) -> None:
        self.archive = archive
        self.op = Builder(root.type.name)
        self.calls = Calls()
        self.files: dict[str, ast.Module] = {}
        self.parts: dict[int, Part] = {}
        self.weights: dict[int, str] = {}
        self.below: dict[str, list[str]] = {}
        self.problems: dict[str, None] = {STRUCTURE: None}
        self.steps = 0
        self.deep = 0
        self.root = Part("", root)
        self.collect()
        self.constants: list[Any] = []
        if "constants.pkl" in archive.members:
            found = archive.pickle("constants.pkl")
            self.constants = list(found) if isinstance(found, (list, tuple)) else []

    def collect(self) -> None:
        """Name every module and weight by the attributes that lead to it."""
        waiting = [self.root]
        while waiting:
            part = waiting.pop()
            if id(part.inert) in self.parts:
                continue
            self.parts[id(part.inert)] = part
            names = self.declared(part.inert.type, "__parameters__")
            inner = []
            for key, value in part.inert.state.items():
                name = f"{part.name}.{key}" if part.name else key
                if isinstance(value, Stored) and id(value) not in self.weights:
                    self.weights[id(value)] = name
                    role = "parameter" if key in names else "buffer"
                    self.op.initializers[name] = self.archive.tensor(name, value, role)
                    pieces = name.split(".")
                    for size in range(len(pieces)):
                        self.below.setdefault(".".join(pieces[:size]), []).append(name)
                elif isinstance(value, Inert):
                    inner.append(Part(name, value))
            waiting += reversed(inner)

    # Code ---------------------------------------------------------------------------------------------------------

    def file(self, module: str) -> ast.Module:
        member = f"code/{module.replace('.', '/')}.py"
        if member not in self.files:
            try:
                self.files[member] = ast.parse(self.archive.read(member, CODE).decode())
            except (SyntaxError, ValueError, MemoryError) as fault:
                raise ParseError(f"{member} is broken: {fault}", path=self.archive.path) from None
        return self.files[member]

    def definition(self, module: str, name: str) -> ast.stmt | None:
        if f"code/{module.replace('.', '/')}.py" not in self.archive.members:
            return None
        return next((d for d in self.file(module).body if getattr(d, "name", None) == name), None)

    def declared(self, type_: Global, field: str) -> list[Any]:
        """Return a list that a class states of itself, ``__parameters__``."""
        found = self.definition(type_.module, type_.name)
        for line in found.body if isinstance(found, ast.ClassDef) else ():
            if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name) and line.targets[0].id == field:
                return list(ast.literal_eval(line.value))
        return []

    # Following ----------------------------------------------------------------------------------------------------

    def model(self) -> Model:
        found = self.method(self.root, "forward")
        if found is None:
            raise ParseError("the module has no forward", path=self.archive.path)
        given: list[Any] = []
        for argument in found.args.args[1:]:
            if "Tensor" in ast.unparse(argument.annotation or ast.Name("Tensor")):
                given.append(Sym(self.op.input(argument.arg, None, None)))
            else:
                self.op.input(argument.arg, "int64" if ast.unparse(argument.annotation) == "int" else None, None)  # type: ignore[arg-type]
                given.append(Sym(self.op.inputs[-1]))
        result = self.call(found, [self.root, *given], {})
        outputs = [name for name in dict.fromkeys(_syms(result)) if name not in self.op.inputs]
        made = self.op.model(outputs or list(dict.fromkeys(_syms(result))))
        made = replace(made, framework="pytorch", problems=tuple(self.problems))
        return with_modules(made, self.calls, self.below)

    def method(self, part: Part, name: str) -> ast.FunctionDef | None:
        found = self.definition(part.inert.type.module, part.inert.type.name)
        lines = found.body if isinstance(found, ast.ClassDef) else []
        return next((line for line in lines if isinstance(line, ast.FunctionDef) and line.name == name), None)

    def call(self, function: ast.FunctionDef, given: Sequence[Any], named: Mapping[str, Any]) -> Any:
        """Follow a function with these arguments; return what it returns."""
        self.deep += 1
        if self.deep > DEEP:
            raise LimitError("the depth of calls in the archive's code", DEEP)
        names = [argument.arg for argument in function.args.args]
        defaults = function.args.defaults
        env: dict[str, Any] = {
            name: self.value(default, {})
            for name, default in zip(names[len(names) - len(defaults) :], defaults, strict=True)
        }
        env |= dict(zip(names, given, strict=False)) | dict(named)
        try:
            return self.block(function.body, env)
        finally:
            self.deep -= 1

    def enter(self, part: Part, name: str, given: Sequence[Any], named: Mapping[str, Any]) -> Any:
        """Follow a method of a module, in the module's scope."""
        found = self.method(part, name)
        if found is None:
            self.problems[f"{part.inert.type.name}.{name} has no code that can be followed"] = None
            return self.emit("torchscript", name, [*given], named)[0]
        before, self.op.scope = self.op.scope, self.scope(part, name)
        try:
            return self.call(found, [part, *given], named)
        finally:
            self.op.scope = before

    def scope(self, part: Part, method: str) -> ScopePath:
        if method != "forward" or not part.name:
            return self.op.scope
        outer = self.calls.modules.get(self.op.scope, ("", ""))[0]
        return self.calls.enter(self.op.scope, outer, part.name, f".{part.inert.type.name}")

    def block(self, lines: Sequence[ast.stmt], env: dict[str, Any]) -> Any:
        """Follow statements; return what they return, None where they do not."""
        for line in lines:
            self.steps += 1
            if self.steps > NODES:
                raise LimitError("the steps of the archive's code", NODES)
            if isinstance(line, ast.Return):
                return None if line.value is None else self.value(line.value, env)
            if isinstance(line, (ast.Assign, ast.AnnAssign)) and line.value is not None:
                target = line.targets[0] if isinstance(line, ast.Assign) else line.target
                wanted = len(target.elts) if isinstance(target, (ast.Tuple, ast.List)) else 1
                self.assign(target, self.value(line.value, env, wanted), env)
            elif isinstance(line, ast.Expr):
                self.value(line.value, env)
            elif isinstance(line, ast.If):
                found = self.branch(line, env)
                if found is not None:
                    return found
            elif isinstance(line, (ast.For, ast.While)):
                self.loop(line, env)
            elif isinstance(line, ast.With):
                found = self.block(line.body, env)
                if found is not None:
                    return found
        return None

    def assign(self, target: ast.expr, value: Any, env: dict[str, Any]) -> None:
        if isinstance(target, ast.Name):
            env[target.id] = value
        elif isinstance(target, (ast.Tuple, ast.List)):
            items = value if isinstance(value, (list, tuple)) and not isinstance(value, (Sym, Dotted)) else None
            for k, part in enumerate(target.elts):
                item = items[k] if items is not None and k < len(items) else value
                self.assign(part, item, env)

    def branch(self, line: ast.If, env: dict[str, Any]) -> Any:
        test = self.value(line.test, env)
        if not isinstance(test, Sym):
            return self.block(line.body if test else line.orelse, env)
        one, two = dict(env), dict(env)
        first, second = self.block(line.body, one), self.block(line.orelse, two)
        for name in dict.fromkeys((*one, *two)):
            a, b = one.get(name), two.get(name)
            same = a is b or (isinstance(a, (Sym, str, int, float)) and a == b)
            env[name] = a if same else self.merged("If", [test], a, b)
        return None if first is None and second is None else self.merged("If", [test], first, second)

    def merged(self, op_type: str, given: list[Any], a: Any, b: Any) -> Any:
        """Return a value that is one of two."""
        if not _syms((a, b)):
            return a if a is not None else b
        return self.emit("prim", op_type, [*given, a, b], {})[0]

    def loop(self, line: ast.For | ast.While, env: dict[str, Any]) -> None:
        """Follow a loop's body once, in a scope of its own."""
        before = dict(env)
        given = [self.value(line.iter if isinstance(line, ast.For) else line.test, env)]
        outer, self.op.scope = self.op.scope, self.calls.enter(self.op.scope, "", "loop", ".Loop")
        try:
            if isinstance(line, ast.For):
                self.assign(line.target, self.emit("prim", "range", given, {})[0], env)
            self.block(line.body, env)
        finally:
            self.op.scope = outer
        for name, old in before.items():
            if env[name] is not old:
                env[name] = self.merged("Loop", given, old, env[name])

    # Values -------------------------------------------------------------------------------------------------------

    def value(self, node: ast.expr, env: Mapping[str, Any], wanted: int = 1) -> Any:
        """Return an expression's value: a constant, a list, a module, or a Sym."""
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return env[node.id] if node.id in env else NAMES.get(node.id, Dotted(node.id))
        if isinstance(node, (ast.Tuple, ast.List)):
            items = [self.value(item, env) for item in node.elts]
            return tuple(items) if isinstance(node, ast.Tuple) else items
        if isinstance(node, ast.Dict):
            items = [self.value(item, env) for item in node.values]
            return {str(k): v for k, v in zip([ast.unparse(key) for key in node.keys if key], items, strict=False)}
        if isinstance(node, ast.Attribute):
            return self.attribute(self.value(node.value, env), node.attr)
        if isinstance(node, ast.Subscript):
            return self.item(self.value(node.value, env), self.value(node.slice, env))
        if isinstance(node, ast.Call):
            return self.called(node, env, wanted)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            inner = self.value(node.operand, env)
            return -inner if isinstance(inner, (int, float)) else self.emit("aten", "neg", [inner], {})[0]
        if isinstance(node, ast.IfExp):
            test = self.value(node.test, env)
            if not isinstance(test, Sym):
                return self.value(node.body if test else node.orelse, env)
            return self.merged("If", [test], self.value(node.body, env), self.value(node.orelse, env))
        inner = [self.value(child, env) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
        return self.emit("prim", type(node).__name__, inner, {})[0]

    def attribute(self, base: Any, name: str) -> Any:
        if isinstance(base, Dotted) and base.name == "CONSTANTS" and name[1:].isdecimal():
            return self.state(self.constants[int(name[1:])], name)
        if isinstance(base, Part):
            if name in base.inert.state:
                return self.state(base.inert.state[name], name)
            return Method(base, name)
        if isinstance(base, Dotted):
            return Dotted(f"{base.name}.{name}")
        return self.emit("prim", name, [base], {})[0]

    def state(self, value: Any, name: str) -> Any:
        """Return what a module holds: a part, a weight's name, a number."""
        if isinstance(value, Inert):
            return self.parts.get(id(value), Part(name, value))
        if isinstance(value, Stored):
            if id(value) not in self.weights:
                label = self.weights[id(value)] = self.op.fresh(f"constants.{name}")
                self.op.initializers[label] = self.archive.tensor(label, value, "constant", "constants")
            return Sym(self.weights[id(value)])
        return value

    def item(self, base: Any, key: Any) -> Any:
        if isinstance(base, (list, tuple)) and not isinstance(base, (Sym, Dotted)) and isinstance(key, int):
            return base[key]
        return self.emit("aten", "__getitem__", [base, key], {})[0]

    def called(self, node: ast.Call, env: Mapping[str, Any], wanted: int) -> Any:
        function = self.value(node.func, env)
        given = [self.value(argument, env) for argument in node.args]
        named = {item.arg: self.value(item.value, env) for item in node.keywords if item.arg}
        if isinstance(function, Method):
            return self.enter(function.part, function.name, given, named)
        if not isinstance(function, Dotted):
            return self.emit("prim", "CallFunction", [function, *given], named)[0]
        name = function.name
        if name == "getattr":
            return self.attribute(given[0], str(given[1]))
        if name in ("annotate", "unchecked_cast"):
            return given[1]
        if name == "uninitialized":
            return None
        if name.startswith("__torch__."):
            module, _, last = name.rpartition(".")
            found = self.definition(module, last)
            if isinstance(found, ast.FunctionDef):
                return self.call(found, given, named)
        parts = name.split(".")
        domain = "aten" if parts[0] == "torch" else parts[1] if parts[0] == "ops" and len(parts) > 2 else "prim"
        known = not _syms((given, named))
        if known and parts[-1] in FOLDED and not any(isinstance(item, (Part, Dotted)) for item in given):
            return FOLDED[parts[-1]](*given)
        if parts[-1] in ("__is__", "__isnot__") and None in given:  # a tensor is never None where it was followed
            return parts[-1] == "__isnot__"
        if parts[-1] in ("int", "float", "bool", "str") and known and isinstance(given[0], (int, float)):
            return given[0]
        if parts[-1] in ("RaiseException", "warn", "format"):
            return ""
        results = self.emit(domain, parts[-1], given, named, wanted)
        return results[0] if wanted == 1 else tuple(results)

    def emit(
        self, domain: str, op_type: str, given: Sequence[Any], named: Mapping[str, Any], wanted: int = 1
    ) -> list[Sym]:
        """Append a node: values are its inputs, what is known its attributes."""
        self.steps += 1
        if self.steps > NODES:
            raise LimitError("the steps of the archive's code", NODES)
        names = SIGNATURES.get(op_type, ())
        inputs: list[str] = []
        attributes: dict[str, Any] = {}
        pairs = [(names[k] if k < len(names) else f"arg{k}", value) for k, value in enumerate(given)]
        for key, value in (*pairs, *named.items()):
            found = _syms(value)
            inputs += found
            if not found and _numbers(value):
                attributes[key] = value
        return [Sym(name) for name in self.op.node(op_type, inputs, wanted, domain=domain, attributes=attributes)]


NAMES: Mapping[str, Any] = {"inf": float("inf"), "nan": float("nan"), "None": None, "True": True, "False": False}


def _syms(value: Any) -> list[str]:
    """Return the names of the values in a constant, list, tuple or dict, in order."""
    found: list[str] = []
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Sym):
            found.append(item.name)
        elif isinstance(item, (list, tuple)) and not isinstance(item, (Dotted, Method)):
            waiting += reversed(item)
        elif isinstance(item, dict):
            waiting += reversed(list(item.values()))
    return found


def _numbers(value: Any) -> bool:
    """Say whether something can be an attribute: a number or text, or a list of one kind of these."""
    items = value if isinstance(value, (list, tuple)) else (value,)
    kinds = {type(item) for item in items}
    if len(kinds) != 1 or not kinds <= {bool, int, float, str}:
        return False
    return all(not isinstance(item, int) or not abs(item) >> 63 for item in items)
