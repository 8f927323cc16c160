"""PyTorch's pickles read as data: opcodes are walked, nothing is imported or called, objects come out inert.

Opcodes and the few functions that make tensors stand in tables; anything else that a file wants to call is refused.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple

from graphviz_nets.errors import LimitError, ParseError

OPCODES = 20_000_000
"""Steps of one pickle that are followed."""


class Global(NamedTuple):
    """The name of a class or function."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class Storage(NamedTuple):
    """A stretch of numbers beside the pickle."""

    key: str
    dtype: str


class Stored(NamedTuple):
    """A tensor in a storage."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    parameter: bool = False


@dataclass(eq=False)
class Inert:
    """An instance of some class, as its name and its state; the class itself is never looked for."""

    type: Global
    state: dict[str, Any] = field(default_factory=dict)


def _tensor(storage: Any, offset: int, size: Any, stride: Any, *rest: Any) -> Stored:
    if not isinstance(storage, Storage):
        raise TypeError("a tensor without a storage")
    sizes, strides = tuple(map(int, size)), tuple(map(int, stride))
    if len(sizes) != len(strides) or min((offset, *sizes, *strides)) < 0:
        raise ValueError("a tensor of impossible size")
    return Stored(storage, offset, sizes, strides)


def _parameter(data: Stored, *rest: Any) -> Stored:
    return data._replace(parameter=True)


def _same(first: Any = None, *rest: Any) -> Any:
    return first


def _mapping(items: Any = (), *rest: Any) -> dict[Any, Any]:
    return _keyed(items)


def _keyed(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    """Return a dict whose keys are plain: to hash a tuple in a tuple in a tuple ... would end the process."""
    found = {}
    for key, value in pairs:
        if not isinstance(key, (str, bytes, int, float, type(None))):
            raise TypeError(f"a {type(key).__name__} as a key")
        found[key] = value
    return found


def _empty(*rest: Any) -> dict[Any, Any]:
    return {}


def _several(*items: Any) -> tuple[Any, ...]:
    return tuple(items)


CALLS: Mapping[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch.jit._pickle.restore_type_tag": _same,
    "torch.jit._pickle.build_intlist": _same,
    "torch.jit._pickle.build_boollist": _same,
    "torch.jit._pickle.build_doublelist": _same,
    "torch.jit._pickle.build_tensorlist": _same,
    "torch.jit._pickle.build_tensor_from_id": _same,
    "collections.OrderedDict": _mapping,
    "collections.defaultdict": _empty,
    "builtins.set": _same,
    "__builtin__.set": _same,
    "torch.Size": _same,
    "torch.device": _several,
    "torch.serialization._get_layout": _same,
}
"""What a file may have called, by name: each gives data."""
STORAGES: Mapping[str, str] = {
    "Float": "float32", "Double": "float64", "Half": "float16", "BFloat16": "bfloat16", "Long": "int64", "Int": "int32",
    "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool", "ComplexFloat": "complex64",
    "ComplexDouble": "complex128", "Untyped": "uint8",
}  # fmt: skip


class _Machine:
    """The stack that a pickle's opcodes work on."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def popped(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def reduce(self) -> None:
        arguments = self.stack.pop()
        called = self.stack.pop()
        rule = CALLS.get(str(called)) if isinstance(called, Global) else None
        if rule is None:
            raise PermissionError(f"it asks to call {called if isinstance(called, Global) else 'what is no function'}")
        self.stack.append(rule(*arguments))

    def new(self, arguments: int = 1) -> None:
        del self.stack[len(self.stack) - arguments :]
        made = self.stack.pop()
        if not isinstance(made, Global):
            raise TypeError("an instance of what is no class")
        self.stack.append({} if str(made) == "collections.OrderedDict" else Inert(made))

    def build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(target, Inert) and isinstance(part, dict):
                target.state.update({str(key): value for key, value in part.items()})
            elif isinstance(target, Inert) and part is not None:
                target.state["state"] = part

    def items(self, pairs: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, dict):
            target.update(_keyed(zip(pairs[::2], pairs[1::2], strict=True)))

    def extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):
            target += items

    def persistent(self) -> None:
        about = self.stack.pop()
        if not isinstance(about, tuple) or len(about) < 3 or about[0] != "storage" or not isinstance(about[1], Global):
            raise TypeError("a reference to what is no storage")
        name = about[1].name.removesuffix("Storage")
        if name not in STORAGES:
            raise TypeError(f"a storage of unknown type {about[1].name}")
        self.stack.append(Storage(str(about[2]), STORAGES[name]))

    def tuple(self, size: int) -> None:
        items = tuple(self.stack[len(self.stack) - size :])
        del self.stack[len(self.stack) - size :]
        self.stack.append(items)


def _push(machine: _Machine, value: Any) -> None:
    machine.stack.append(value)


def _global(machine: _Machine, arg: Any) -> None:
    module, _, name = str(arg).partition(" ")
    _push(machine, Global(module, name))


def _stack_global(machine: _Machine, arg: Any) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    _push(machine, Global(str(module), str(name)))


_Step = Callable[[_Machine, Any], None]
_VALUES = (
    "BININT BININT1 BININT2 LONG LONG1 LONG4 INT BINUNICODE SHORT_BINUNICODE BINUNICODE8 UNICODE BINSTRING "
    "SHORT_BINSTRING STRING BINBYTES SHORT_BINBYTES BINBYTES8 BINFLOAT FLOAT"
).split()
_STEPS: Mapping[str, _Step] = {
    **dict.fromkeys(_VALUES, _push),
    "PROTO": lambda m, a: None,
    "FRAME": lambda m, a: None,
    "STOP": lambda m, a: None,
    "NONE": lambda m, a: _push(m, None),
    "NEWTRUE": lambda m, a: _push(m, True),
    "NEWFALSE": lambda m, a: _push(m, False),
    "EMPTY_DICT": lambda m, a: _push(m, {}),
    "EMPTY_LIST": lambda m, a: _push(m, []),
    "EMPTY_TUPLE": lambda m, a: _push(m, ()),
    "EMPTY_SET": lambda m, a: _push(m, []),
    "MARK": lambda m, a: m.marks.append(len(m.stack)),
    "POP": lambda m, a: m.stack.__delitem__(-1),
    "POP_MARK": lambda m, a: m.popped().clear(),
    "TUPLE": lambda m, a: _push(m, tuple(m.popped())),
    "TUPLE1": lambda m, a: m.tuple(1),
    "TUPLE2": lambda m, a: m.tuple(2),
    "TUPLE3": lambda m, a: m.tuple(3),
    "LIST": lambda m, a: _push(m, m.popped()),
    "APPEND": lambda m, a: m.extend([m.stack.pop()]),
    "APPENDS": lambda m, a: m.extend(m.popped()),
    "ADDITEMS": lambda m, a: m.extend(m.popped()),
    "SETITEM": lambda m, a: m.items([m.stack.pop(-2), m.stack.pop()]),
    "SETITEMS": lambda m, a: m.items(m.popped()),
    "BINPUT": lambda m, a: m.memo.__setitem__(a, m.stack[-1]),
    "LONG_BINPUT": lambda m, a: m.memo.__setitem__(a, m.stack[-1]),
    "PUT": lambda m, a: m.memo.__setitem__(a, m.stack[-1]),
    "MEMOIZE": lambda m, a: m.memo.__setitem__(len(m.memo), m.stack[-1]),
    "BINGET": lambda m, a: _push(m, m.memo[a]),
    "LONG_BINGET": lambda m, a: _push(m, m.memo[a]),
    "GET": lambda m, a: _push(m, m.memo[a]),
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "REDUCE": lambda m, a: m.reduce(),
    "NEWOBJ": lambda m, a: m.new(),
    "NEWOBJ_EX": lambda m, a: m.new(2),
    "BUILD": lambda m, a: m.build(),
    "BINPERSID": lambda m, a: m.persistent(),
}
"""What each opcode does; one that is not here is refused."""


def walk(file: IO[bytes], path: str = "") -> Any:
    """Read one pickle from where a file stands, and leave the file behind it.

    Parameters
    ----------
    file : binary file
        Bounded by whoever opened it.
    path : str
        For error messages.

    Returns
    -------
    Any
        Numbers, strings, tuples, lists, dicts, and :class:`Stored`, :class:`Inert` and :class:`Global` objects.

    Raises
    ------
    ParseError
        When it is no whole pickle, or asks for something that reading does not need.

    Examples
    --------
    >>> import io
    >>> import pickle
    >>> walk(io.BytesIO(pickle.dumps({"a": (1, [2.5, None])}, 2)))
    {'a': (1, [2.5, None])}
    """
    machine = _Machine()
    try:
        for count, (opcode, arg, _) in enumerate(pickletools.genops(file)):
            if count > OPCODES:
                raise LimitError("the steps of a pickle", OPCODES)
            step = _STEPS.get(opcode.name)
            if step is None:
                raise PermissionError(f"its opcode {opcode.name} is not known")
            step(machine, arg)
        return machine.stack.pop()
    except PermissionError as fault:
        hint = "it may do anything when PyTorch loads it; save a state_dict or a torch.export program instead"
        raise ParseError(f"the file is not read as data: {fault}", path=path, hint=hint) from None
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError) as fault:
        raise ParseError(f"the pickle is broken: {fault}", path=path) from None
