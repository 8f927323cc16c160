"""Every error the package raises on purpose.

::

    GraphvizNetsError(message, hint)          exit code 3
    +- ConvertError(path)                     UnknownFormat, ParseError(line, column), UnsupportedOp(op_type, node)
    +- GraphError(node)                       dangling value, cycle, duplicate name
    +- NoRule(op_type, table)                 no gradient, cost or shape rule
    +- RunError(node)                         onnxruntime's message with our node's name
    +- RenderError                            unknown renderer, layout engine failed
    +- ConfigError(file, key)                 exit code 2
    +- MissingExtra(extra)                    exit code 4, also an ImportError
    +- LimitError(what, limit)                exit code 5
"""

from __future__ import annotations

from collections.abc import Iterable


class GraphvizNetsError(Exception):
    """Base of all errors: one line that says what is wrong, where, and what to do.

    Parameters
    ----------
    message : str
        What is wrong.
    hint : str
        What to do about it; shown in parentheses.
    """

    exit_code = 3

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def where(self) -> str:
        """Return the place of the fault, as a prefix of the message; empty when there is none."""
        return ""

    def __str__(self) -> str:
        where = f"{self.where()}: " if self.where() else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{where}{self.message}{hint}"


class ConvertError(GraphvizNetsError):
    """A model file cannot be turned into the IR."""

    def __init__(self, message: str, *, path: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.path = path

    def where(self) -> str:
        return self.path


class UnknownFormat(ConvertError):
    """No converter recognises the file."""


class ParseError(ConvertError):
    """A text or binary file breaks its own grammar at a known place (line and column count from 1)."""

    def __init__(
        self, message: str, *, path: str = "", line: int | None = None, column: int | None = None, hint: str = ""
    ) -> None:
        super().__init__(message, path=path, hint=hint)
        self.line = line
        self.column = column

    def where(self) -> str:
        return ":".join(str(part) for part in (self.path or "input", self.line, self.column) if part is not None)


class UnsupportedOp(ConvertError):
    """An operation has no ONNX form, so the model can be drawn but not run."""

    def __init__(self, op_type: str, node: str, framework: str, *, path: str = "", hint: str = "") -> None:
        super().__init__(f"{framework} operation {op_type!r} of {node!r} has no ONNX form", path=path, hint=hint)
        self.op_type = op_type
        self.node = node
        self.framework = framework


class GraphError(GraphvizNetsError):
    """The graph itself is at fault at a node or value."""

    def __init__(self, message: str, *, node: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.node = node

    def where(self) -> str:
        return self.node


class NoRule(GraphvizNetsError):
    """A rule table has no entry for an operation."""

    def __init__(self, op_type: str, table: str, *, hint: str = "") -> None:
        super().__init__(f"no {table} rule for {op_type}", hint=hint or f"add one with @{table}({op_type!r})")
        self.op_type = op_type
        self.table = table


class RunError(GraphError):
    """A model failed while it ran."""


class RenderError(GraphvizNetsError):
    """A picture cannot be made."""


class PictureWarning(UserWarning):
    """A picture is made, but not quite as it was asked for."""


class ConfigError(GraphvizNetsError):
    """A configuration file or an option is wrong."""

    exit_code = 2

    def __init__(self, message: str, *, file: str = "", key: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.file = file
        self.key = key

    def where(self) -> str:
        return ": ".join(part for part in (self.file, self.key) if part)


class MissingExtra(GraphvizNetsError, ImportError):
    """A package that is not installed is needed."""

    exit_code = 4

    def __init__(self, what: str, *, extra: str = "", hint: str = "") -> None:
        super().__init__(f"{what} is not installed", hint=hint or f'pip install "graphviz-nets[{extra}]"')
        self.extra = extra


class LimitError(GraphvizNetsError):
    """A bound on size, time or count was hit."""

    exit_code = 5

    def __init__(self, what: str, limit: object, *, hint: str = "") -> None:
        super().__init__(f"{what} is over the limit of {limit}", hint=hint)
        self.what = what
        self.limit = limit


def meant(name: str, known: Iterable[str], otherwise: str) -> str:
    """Return a hint for a name that is not known: what is called nearly so, or something else to do.

    Examples
    --------
    >>> meant("gradcam", ["saliency", "grad-cam"], "--list-methods lists them")
    'did you mean grad-cam?'
    """
    import difflib

    near = difflib.get_close_matches(name, list(known), 3)
    return f"did you mean {', '.join(near)}?" if near else otherwise
