"""A tolerant reader of protobuf's text format: every field is kept, known or not, with its line and column."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

from graphviz_nets.errors import ParseError

DEEPEST = 100
"""Messages nested deeper than this are refused."""


class Enum(str):
    """A bare identifier: ``MAX``, ``TRAIN``."""

    __slots__ = ()


Scalar: TypeAlias = "str | int | float | bool | Enum"


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message; `line` and `column` count from 1 and point at its name."""

    name: str
    value: Any
    line: int
    column: int


@dataclass(frozen=True)
class Message:
    """Fields in file order, unknown ones too; it opens at `line` and `column` and closes in line `end` (0: unknown)."""

    fields: tuple[Field, ...] = ()
    line: int = 1
    column: int = 1
    end: int = 0

    @cached_property
    def _by_name(self) -> Mapping[str, list[Field]]:
        found: dict[str, list[Field]] = {}
        for field in self.fields:
            found.setdefault(field.name, []).append(field)
        return found

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[Field]:
        return iter(self.fields)

    def field(self, name: str) -> Field | None:
        """Return the last field of a name, which is the one that counts, or None."""
        found = self._by_name.get(name)
        return found[-1] if found else None

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a field, the last one where it is repeated."""
        found = self._by_name.get(name)
        return found[-1].value if found else default

    def all(self, name: str) -> list[Any]:
        """Return all values of a repeated field."""
        return [field.value for field in self._by_name.get(name, ())]

    def message(self, name: str) -> Message:
        """Return a sub-message, empty where it is absent; several of one name are merged, as protobuf does."""
        found = [value for value in self.all(name) if isinstance(value, Message)]
        if len(found) < 2:
            return found[0] if found else Message((), self.line, self.column)
        return Message(tuple(field for one in found for field in one.fields), found[0].line, found[0].column)

    def without(self, *names: str) -> Message:
        """Return the message without some fields."""
        return Message(tuple(field for field in self.fields if field.name not in names), self.line, self.column)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data; a name that occurs several times becomes a list.

        Examples
        --------
        >>> parse('pad: 1 pad: 2 filler { type: "xavier" }').to_dict()
        {'pad': [1, 2], 'filler': {'type': 'xavier'}}
        """
        result: dict[str, Any] = {}
        for name, fields in self._by_name.items():
            values = [_plain(field.value) for field in fields]
            result[name] = values if len(values) > 1 else values[0]
        return result


def _plain(value: Any) -> Any:
    if isinstance(value, Message):
        return value.to_dict()  # no deeper than DEEPEST
    return str(value) if isinstance(value, Enum) else value


# One alternative each, all linear: no alternative can match the beginning of another in two ways, and the possessive
# repeats in a string keep no places to go back to (which would take 250 bytes per character).
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\f\v]+|\#[^\n]*)
    |(?P<newline>\n)
    |(?P<name>[A-Za-z_][A-Za-z0-9_.\-]*)
    |(?P<number>[+-]?(?:0[xX][0-9a-fA-F]+|(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[fF]?))
    |(?P<string>"(?:[^"\\\n]++|\\.)*+"|'(?:[^'\\\n]++|\\.)*+')
    |(?P<sign>[{}<>\[\]:,;\-])""",
    re.VERBOSE,
)
_ESCAPE = re.compile(
    r"""((?:\\(?:[xX][0-9a-fA-F]{1,2}|[0-7]{1,3}))++)
    |((?:\\(?:u[0-9a-fA-F]{4}|U00(?:0[0-9a-fA-F]|10)[0-9a-fA-F]{4}))++)
    |\\(.)""",
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


def decode(data: bytes, path: str = "") -> str:
    """Return the text of a prototxt's bytes.

    UTF-8 and UTF-16 by their marks, else UTF-8, else Latin-1 where it looks like text.

    Raises
    ------
    ParseError
        For binary data.

    Examples
    --------
    >>> decode("name: 'é'".encode("utf-16")) == decode("name: 'é'".encode("latin-1"))
    True
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return data.decode("utf-16")
        except UnicodeDecodeError:
            raise ParseError("not a prototxt: broken UTF-16", path=path, line=1) from None
    control = sum(data[:4096].count(code) for code in range(32) if code not in b"\t\n\r\f\v\x1b")
    if b"\0" in data or control > len(data[:4096]) // 20:
        raise ParseError("not a prototxt: this is binary data", path=path, line=1, column=1,
                         hint="a .caffemodel goes with its net: net.prototxt --weights net.caffemodel")  # fmt: skip
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        if sum(byte > 127 for byte in data[:4096]) > len(data[:4096]) // 4:
            line = data[: fault.start].count(b"\n") + 1
            raise ParseError("not a prototxt: this is binary data", path=path, line=line) from None
        return data.decode("latin-1")


def parse(text: str, path: str = "") -> Message:
    """Parse protobuf text format, in time linear in its length.

    Parameters
    ----------
    text : str
        The file's content.
    path : str
        Its name, for errors.

    Returns
    -------
    Message
        All fields, with their positions.

    Raises
    ------
    ParseError
        With line and column, for text that is no prototxt.

    Examples
    --------
    >>> net = parse('layer { name: "conv" pad: 1, pad: 2 }  # two pads')
    >>> net.get("layer").all("pad"), net.get("layer").field("name").column
    ([1, 2], 9)
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if "\0" in text:
        before = text.partition("\0")[0]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise ParseError("not a prototxt: a NUL stands in it", path=path, line=line, column=column)
    return _Reader(text, path).read()


class _Reader:
    """Holds the place in the text while it is read."""

    def __init__(self, text: str, path: str) -> None:
        self.text = text
        self.path = path
        self.place = 0
        self.line = 1
        self.line_start = 0
        # The current token: its kind, text, line and column.
        self.kind = ""
        self.token = ""
        self.at = (1, 1)
        self.advance()

    def fail(self, message: str, at: tuple[int, int] | None = None, hint: str = "") -> ParseError:
        line, column = at or self.at
        return ParseError(message, path=self.path, line=line, column=column, hint=hint)

    def advance(self) -> None:
        """Move to the next token; the end of the text is a token of kind ``end``."""
        text, place = self.text, self.place
        while place < len(text):
            match = _TOKEN.match(text, place)
            if match is None:
                self.at = (self.line, place - self.line_start + 1)
                char = text[place]
                if char in "\"'":
                    raise self.fail("the string is not closed on its line")
                raise self.fail(f"unexpected character {char!r}")
            kind = match.lastgroup
            if kind == "newline":
                self.line += 1
                self.line_start = place + 1
            elif kind != "space":
                self.kind, self.token = str(kind), match.group()
                self.at = (self.line, place - self.line_start + 1)
                self.place = match.end()
                return
            place = match.end()
        self.place = place
        self.kind, self.token, self.at = "end", "", (self.line, place - self.line_start + 1)

    def read(self) -> Message:
        # Open messages: their fields, the sign that closes them, and where they began.
        stack: list[tuple[list[Field], str, tuple[int, int]]] = [([], "end", (1, 1))]
        # What to do with a finished message: the name and place of its field.
        owners: list[tuple[str, tuple[int, int], bool]] = []
        while True:
            fields, close, began = stack[-1]
            if self.kind == "end" and close == "end":
                return Message(tuple(fields))
            if self.kind == "end":
                name = owners[-1][0]
                raise self.fail(
                    f"the file ends inside {name!r}", hint=f"the bracket of line {began[0]} is never closed"
                )
            if self.token in (",", ";") and self.kind == "sign":
                self.advance()
                continue
            if self.kind == "sign" and self.token == close:
                stack.pop()
                name, at, listed = owners.pop()
                stack[-1][0].append(Field(name, Message(tuple(fields), *began, self.at[0]), *at))
                self.advance()
                if listed and not self.more():
                    continue
                if listed:
                    self.open(stack, owners, name, at, True)
                continue
            if self.kind == "sign" and self.token in "}>":
                raise self.fail(f"unexpected {self.token!r}", hint="a bracket too many, or one missing before")
            name, at = self.name(), self.at_name
            if self.token == ":" and self.kind == "sign":
                self.advance()
            elif self.kind != "sign" or self.token not in "{<[":
                raise self.fail(f"':' or '{{' expected after {name!r}")
            self.value(stack, owners, fields, name, at)

    def name(self) -> str:
        self.at_name = self.at
        if self.kind == "name":
            name = self.token
            self.advance()
            return name
        if self.kind == "sign" and self.token == "[":
            # An extension or an Any type: [package.name] or [host/package.name].
            end = self.text.find("]", self.place)
            line_end = self.text.find("\n", self.place)
            if end < 0 or 0 <= line_end < end:
                raise self.fail("']' expected after an extension's name")
            name = self.text[self.place - 1 : end + 1]
            self.place = end + 1
            self.advance()
            return name
        raise self.fail(
            f"a field's name expected, not {self.token[:40]!r}" if self.token else "a field's name expected"
        )

    def value(
        self,
        stack: list[tuple[list[Field], str, tuple[int, int]]],
        owners: list[tuple[str, tuple[int, int], bool]],
        fields: list[Field],
        name: str,
        at: tuple[int, int],
    ) -> None:
        if self.kind == "sign" and self.token in "{<":
            self.open(stack, owners, name, at, False)
            return
        if self.kind == "sign" and self.token == "[":
            self.advance()
            if self.kind == "sign" and self.token == "]":
                self.advance()
                return
            while True:
                if self.kind == "sign" and self.token in "{<":
                    self.open(stack, owners, name, at, True)
                    return
                fields.append(Field(name, self.scalar(name), *at))
                if not self.more():
                    return
        fields.append(Field(name, self.scalar(name), *at))

    def more(self) -> bool:
        """Step over what stands between the items of a list, or over its end."""
        if self.kind == "sign" and self.token == ",":
            self.advance()
            return True
        if self.kind == "sign" and self.token == "]":
            self.advance()
            return False
        raise self.fail("',' or ']' expected in a list")

    def open(
        self,
        stack: list[tuple[list[Field], str, tuple[int, int]]],
        owners: list[tuple[str, tuple[int, int], bool]],
        name: str,
        at: tuple[int, int],
        listed: bool,
    ) -> None:
        if self.kind != "sign" or self.token not in "{<":
            raise self.fail("'{' expected")
        if len(stack) > DEEPEST:
            raise self.fail(f"messages are nested more than {DEEPEST} deep")
        stack.append(([], "}" if self.token == "{" else ">", self.at))
        owners.append((name, at, listed))
        self.advance()

    def scalar(self, name: str) -> Scalar:
        sign = ""
        if self.kind == "sign" and self.token == "-":
            sign = "-"
            self.advance()
        kind, token = self.kind, self.token
        if kind == "string" and not sign:
            parts = []
            while self.kind == "string":
                parts.append(unescape(self.token[1:-1]))
                self.advance()
            return "".join(parts)
        if kind == "number":
            after = self.text[self.place : self.place + 1]
            if after.isalnum() or after in ("_", "."):
                raise self.fail(f"{token[:40] + after!r}... is no number")
            value = number(sign + token)
            self.advance()
            return value
        if kind == "name" and token.lower() in ("inf", "infinity", "nan"):
            self.advance()
            return float(sign + token)
        if kind == "name" and not sign:
            self.advance()
            return {"true": True, "True": True, "false": False, "False": False}.get(token, Enum(token))
        raise self.fail(f"a value expected for {name!r}" + (f", not {token[:40]!r}" if token else ""))


def number(text: str) -> int | float:
    """Return the number that a token stands for.

    Examples
    --------
    >>> number("0x10"), number("-3"), number("1e-3"), number(".5f")
    (16, -3, 0.001, 0.5)
    """
    digits = text.lstrip("+-")
    sign = -1 if text.startswith("-") else 1
    if digits[:2] in ("0x", "0X"):
        return sign * int(digits[:4000], 16)
    if digits.isdigit():
        if len(digits) > 1 and digits[0] == "0" and all(char in "01234567" for char in digits):
            return sign * int(digits[:4000], 8)
        # Python refuses to read integers of thousands of digits; none is meant.
        return sign * int(digits[:4000])
    return sign * float(digits.rstrip("fF"))


def unescape(text: str) -> str:
    r"""Resolve C escapes; bytes that are UTF-8 are read as such, for so protobuf prints what is not ASCII.

    Examples
    --------
    >>> unescape(r"a\tb\x41\101 \345\261\202 \u00e9")
    'a\tbAA 层 é'
    """
    return _ESCAPE.sub(_unescaped, text) if "\\" in text else text


def _unescaped(match: re.Match[str]) -> str:
    octets, codes, char = match.groups()
    if octets:
        data = bytes(int(one[1:], 16) if one[0] in "xX" else int(one, 8) & 0xFF for one in octets[1:].split("\\"))
        try:
            return data.decode()
        except UnicodeDecodeError:
            return data.decode("latin-1")
    if codes:
        # Two halves of a surrogate pair become one character; a lone half stays.
        found = "".join(chr(int(one[1:], 16)) for one in codes[1:].split("\\"))
        return found.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    return _ESCAPES.get(char, char)
