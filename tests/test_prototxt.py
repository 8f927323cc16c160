"""The text format reader: protobuf's own grammar, a printer of our own, real files, broken files and hostile ones."""

from __future__ import annotations

import json
import math
import random
import re
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphviz_nets.converters import prototxt
from graphviz_nets.converters.prototxt import Enum, Message, decode, parse, unescape
from graphviz_nets.errors import ParseError

MODELS = Path(__file__).resolve().parents[2] / "shared" / "models"
needs_models = pytest.mark.skipif(not MODELS.is_dir(), reason="needs the real models in ../shared/models")
TEXTS: list[Any] = sorted(
    path.relative_to(MODELS).as_posix()
    for path in (MODELS / "caffe").rglob("*")
    if path.suffix in (".prototxt", ".pt", ".solver") and path.parent.name not in ("malformed", "layer_cases")
) or [pytest.param("", marks=needs_models)]


def value(text: str) -> Any:
    """Read one value."""
    return parse(f"a: {text}").get("a")


def refusal(data: str | bytes, path: str = "") -> ParseError | None:
    """Return why a text is refused, or None where it is read."""
    try:
        parse(data if isinstance(data, str) else decode(data, path), path).to_dict()
    except ParseError as fault:
        return fault
    return None


# Values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "wanted"), [
    ("0", 0), ("7", 7), ("-3", -3), ("+3", 3), ("- 3", -3), ("0x1F", 31), ("0Xff", 255), ("-0x10", -16), ("010", 8),
    ("-017", -15), ("9223372036854775807", 2**63 - 1), ("18446744073709551615", 2**64 - 1),
    ("1.5", 1.5), (".5", 0.5), ("1.", 1.0), ("-1.", -1.0), ("1e-3", 1e-3), ("1E+3", 1e3), ("5f", 5.0), ("1.5F", 1.5),
    ("-.5e1f", -5.0), ("inf", math.inf), ("-inf", -math.inf), ("Infinity", math.inf), ("1e400", math.inf),
    ("true", True), ("false", False), ("MAX", Enum("MAX")), ("TRAIN", Enum("TRAIN")),
    ('"a"', "a"), ("'a'", "a"), ("'a\"b'", 'a"b'), ('"a\'b"', "a'b"), ('""', ""), ('"#;,{}<>[]:"', "#;,{}<>[]:"),
    ("\"a\" 'b'\n  \"c\"", "abc"), ('"a" # no\n "b"', "ab"),
])  # fmt: skip
def test_value(text: str, wanted: object) -> None:
    found = value(text)
    assert found == wanted and type(found) is type(wanted)


def test_nan_and_enums_are_told_from_strings() -> None:
    assert math.isnan(value("nan")) and math.isnan(value("-nan"))
    assert isinstance(value("MAX"), Enum) and not isinstance(value('"MAX"'), Enum)


@pytest.mark.parametrize(("text", "wanted"), [
    (r"\n\t\r\a\b\f\v", "\n\t\r\a\b\f\v"),
    (r"\\ \' \" \?", "\\ ' \" ?"), (r"\x41\x4a\X4A", "AJJ"), (r"\101\60\7", "A0\7"),
    (r"\u5c42", "层"), (r"\U0001F600", "😀"), (r"\ud83d\ude00", "😀"), (r"\345\261\202", "层"), (r"\xe5\xb1\x82", "层"),
    (r"\351", "é"), (r"\udc80", "\udc80"), (r"\\n", r"\n"), (r"\\\n", "\\\n"), (r"\U00110000", "U00110000"),
])  # fmt: skip
def test_escapes(text: str, wanted: str) -> None:
    assert unescape(text) == wanted == value(f'"{text}"')


# Messages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [
    "a { b: 1 b: 2 }", "a: { b: 1 b: 2 }", "a < b: 1 b: 2 >", "a:<b:1,b:2>", "a { b: [1, 2] }", "a{b:[1,2];};",
    ";;a {,;b: 1;,;b: 2,};,", "a [ { b: 1 b: 2 } ]", "a: [ < b: 1 b: [2] > ]",
    "# one\r\na { # two {\r\n b: 1\r\n b: 2 }", "\ufeffa { b: 1 b: 2 }", "a {\rb: 1\rb: 2\r}",
])  # fmt: skip
def test_ways_to_write_one_message(text: str) -> None:
    assert parse(text).to_dict() == {"a": {"b": [1, 2]}}


def test_lists_of_messages_and_empty_lists() -> None:
    assert parse("a [ { b: 1 }, <b: 2>, {} ] c: [] d: 1").to_dict() == {"a": [{"b": 1}, {"b": 2}, {}], "d": 1}
    assert parse("a [ { b [ { c: [1, 2] }, { c: 3 } ] } ]").to_dict() == {"a": {"b": [{"c": [1, 2]}, {"c": 3}]}}


def test_extension_and_any_names_are_kept() -> None:
    message = parse("[a.b.c]: 3 [type.googleapis.com/x.Y] { d: 1 }")
    assert [field.name for field in message] == ["[a.b.c]", "[type.googleapis.com/x.Y]"]


def test_access() -> None:
    message = parse('pad: 1\n\n  pad: 2 name: "n"\nf { x: 1 } f { y: 2 }')
    assert message.get("pad") == 2 and message.all("pad") == [1, 2]
    assert message.get("nothing") is None and message.get("nothing", 5) == 5 and message.all("nothing") == []
    assert "pad" in message and "nothing" not in message and message.field("nothing") is None
    field = message.field("pad")
    assert field is not None and (field.value, field.line, field.column) == (2, 3, 3)
    assert [(item.name, item.line) for item in message] == [("pad", 1), ("pad", 3), ("name", 3), ("f", 4), ("f", 4)]
    assert message.message("f").to_dict() == {"x": 1, "y": 2} and message.message("nothing") == Message()
    assert message.without("pad", "f").to_dict() == {"name": "n"}
    assert [(one.line, one.column) for one in message.all("f")] == [(4, 3), (4, 14)]
    assert parse("\n\na {\n\n b: 1 }").message("a").line == 3


def test_plain_data_goes_to_json() -> None:
    data = parse("pool: MAX x: -inf ok: true f { v: 1.5 }").to_dict()
    assert json.loads(json.dumps(data)) == data == {"pool": "MAX", "x": -math.inf, "ok": True, "f": {"v": 1.5}}
    assert type(data["pool"]) is str


# A printer, and back ----------------------------------------------------------------------------------------------

Plain = list[tuple[str, Any]]
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
WORDS = {"true", "false", "inf", "infinity", "nan"}
SCALARS = st.one_of(
    st.integers(-(2**63), 2**64), st.floats(), st.booleans(),
    st.text(st.characters(exclude_characters="\0")), st.text(st.sampled_from("\\'\"\n\r#{}<>[]:;,层\ud800\ufeff ")),
    NAMES.filter(lambda name: name.lower() not in WORDS).map(Enum),
)  # fmt: skip
MESSAGES = st.recursive(
    st.lists(st.tuples(NAMES, SCALARS), max_size=4),
    lambda inner: st.lists(st.tuples(NAMES, SCALARS | inner), max_size=4),
    max_leaves=25,
)


def printed(fields: Plain, chance: random.Random) -> str:
    """Write a message in one of the many ways the grammar allows."""
    text = ""
    for name, value in fields:
        text += gap(chance) + name
        if isinstance(value, list):
            text += chance.choice(["", ":", " ", " : "]) + body(value, chance)
        else:
            text += of(value, chance) + chance.choice([" ", "\n", ",", ";", " ;, "])
    return text


def gap(chance: random.Random) -> str:
    return chance.choice(["", "", " ", "\n", "\r\n", "\t", " # { 'x \" \n"])


def body(fields: Plain, chance: random.Random) -> str:
    left, right = chance.choice([("{", "}"), ("<", ">")])
    return f"{left}{printed(fields, chance)}{gap(chance)}{right}"


def of(value: Any, chance: random.Random) -> str:
    if isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, str) and not isinstance(value, Enum):
        cut = chance.randint(0, len(value))
        text = f"{quoted(value[:cut], chance)}{gap(chance)}{quoted(value[cut:], chance)}"
    else:
        text = hex(value) if isinstance(value, int) and chance.random() < 0.3 else str(value)
    return f":{gap(chance)}{text}"


def quoted(text: str, chance: random.Random) -> str:
    quote = chance.choice("'\"")
    if chance.random() < 0.3 and not re.search("[\ud800-\udfff]", text):  # protobuf's own way
        return quote + "".join(f"\\{byte:03o}" for byte in text.encode()) + quote
    for raw, escaped in (("\\", "\\\\"), (quote, "\\" + quote), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(raw, escaped)
    return quote + text + quote


def plain(message: Message) -> Plain:
    return [(item.name, plain(item.value) if isinstance(item.value, Message) else item.value) for item in message]


def exact(fields: Plain) -> str:
    """Types and all: 1 is not 1.0 nor True, nan is nan."""
    return repr([(name, exact(value) if isinstance(value, list) else (type(value).__name__, repr(value)))
                 for name, value in fields])  # fmt: skip


@given(MESSAGES, st.randoms(use_true_random=False))
def test_what_is_printed_is_read_back(fields: Plain, chance: random.Random) -> None:
    text = printed(fields, chance)
    message = parse(text)
    assert exact(plain(message)) == exact(fields)
    lines = text.replace("\r\n", "\n").split("\n")
    stack = [message]
    while stack:
        for item in stack.pop():
            assert lines[item.line - 1].startswith(item.name, item.column - 1)
            stack += [item.value] if isinstance(item.value, Message) else []


# Errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "place", "says"), [
    ("a: 1\nb", (2, 2), "expected after 'b'"),
    ("a: 1\n  b 2", (2, 5), "expected after 'b'"),
    ("a:", (1, 3), "value expected for 'a'"),
    ("a: }", (1, 4), "value expected for 'a'"),
    ("a:: 1", (1, 3), "value expected for 'a'"),
    ("a: -MAX", (1, 5), "value expected for 'a'"),
    ("}", (1, 1), "unexpected '}'"),
    ("a { b: 1 }\n}", (2, 1), "unexpected '}'"),
    ("a { b: 1 >", (1, 10), "unexpected '>'"),
    ("a { b: 1 ]", (1, 10), "name expected"),
    ("a: [1 2]", (1, 7), "in a list"),
    ("a: [1, {}] }", (1, 12), "unexpected '}'"),
    ("a: [{} 1]", (1, 8), "in a list"),
    ("[a.b", (1, 1), "']' expected"),
    ("a: 12abc", (1, 4), "no number"),
    ("a: 1.5.5", (1, 4), "no number"),
    ("a: 0x", (1, 4), "no number"),
    ('a: "b\nc"', (1, 4), "not closed"),
    ('a: "b\\', (1, 4), "not closed"),
    ("a: 1\n b: ä", (2, 5), "unexpected character 'ä'"),
    ("a: 1\nb: '\0'", (2, 5), "not a prototxt"),
    ("a: 1\0", (1, 5), "not a prototxt"),
])  # fmt: skip
def test_error_has_its_place(text: str, place: tuple[int, int], says: str) -> None:
    with pytest.raises(ParseError) as fault:
        parse(text, "net.prototxt")
    assert (fault.value.line, fault.value.column) == place and says in fault.value.message
    assert str(fault.value).startswith(f"net.prototxt:{place[0]}:{place[1]}: ")


@pytest.mark.parametrize(("text", "name", "line"), [
    ("a {", "a", 1),
    ("x: 1\na {\n b {\n  c: 1\n", "b", 3),
    # One brace too few in the first: the second ends inside it.
    ("\nlayer {\n p { q: 1\n}\nlayer {\n}\n", "layer", 2),
    ("a: [\n {", "a", 2),
])  # fmt: skip
def test_unclosed_brace_is_named(text: str, name: str, line: int) -> None:
    with pytest.raises(ParseError) as fault:
        parse(text)
    assert repr(name) in fault.value.message and f"line {line} is never closed" in fault.value.hint


def test_a_message_knows_the_line_of_the_bracket_that_closes_it() -> None:
    net = parse('layer {\n  name: "a"\n  p < x: 1 >\n}\nlayers\n{ }\nblobs: [\n{\n}, {}\n]')
    assert [field.value.end for field in net] == [4, 6, 9, 9]
    assert net.get("layer").get("p").end == 3 and net.end == 0


def test_depth_is_capped() -> None:
    deep = parse("a {" * 100 + "}" * 100)
    for _ in range(100):
        deep = deep.get("a")
    assert deep == Message((), 1, 300, 1)
    with pytest.raises(ParseError, match="100 deep") as fault:
        parse("a {" * 101 + "}" * 101)
    assert (fault.value.line, fault.value.column) == (1, 303)
    for text in ("a{" * 200_000, "a[{" * 200_000, "a<" * 200_000, "{" * 200_000, "[" * 200_000):
        with pytest.raises(ParseError):
            parse(text)


@given(st.text(st.sampled_from("ab1-.eE\"'\\{}<>[]:,;# \n\0层\ud800")) | st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    fault = refusal(text)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").count("\n") + 1
    assert fault is None or 1 <= (fault.line or 0) <= lines


@given(st.binary() | st.tuples(st.sampled_from([b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf"]), st.binary()).map(b"".join))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    fault = refusal(data, "x")
    assert fault is None or (fault.path == "x" and fault.line)


# Bounds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "unit", ["a: 1 ", "a{b:1}", "a: [1, 2, {}]", "a: 'x' 'y'\n", "[a]: 1;", "# c\n", ",;", "a:[{}]"]
)
def test_steps_grow_with_the_text(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice the text, twice the tokens and twice the matches: nothing is looked at again."""
    steps = 0
    real = prototxt._TOKEN

    class Counting:
        def match(self, text: str, place: int) -> re.Match[str] | None:
            nonlocal steps
            steps += 1
            return real.match(text, place)

    def count(times: int) -> int:
        nonlocal steps
        steps = 0
        text = unit.replace("[1, 2, {}]", "[1, 2]") * times
        parse(text)
        assert steps <= len(text)
        return steps

    monkeypatch.setattr(prototxt, "_TOKEN", Counting())
    assert count(2000) == 2 * count(1000)


@pytest.mark.parametrize("inside", ["x", "\\n", "\\\\", "'", "层"])
def test_one_long_line_takes_no_more_than_its_size(inside: str) -> None:
    """A regex that keeps a place to go back to for each character takes 250 bytes for each."""
    text = f'a: "{inside * (2_000_000 // len(inside))}"'
    assert len(parse(text).get("a")) * len(inside) >= 1_000_000
    tracemalloc.start()
    try:
        assert prototxt._TOKEN.match(text, 3)
        assert tracemalloc.get_traced_memory()[1] < 12_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "text", ['"' * 200_001, "'" + "\\'" * 500_000, "1" * 500_000 + "x", "1e" * 300_000, "[" + "a" * 10**6]
)
def test_long_nonsense_is_refused(text: str) -> None:
    with pytest.raises(ParseError) as fault:
        parse(text if text.startswith("[") else f"a: {text}")
    assert len(str(fault.value)) < 300


def test_numbers_of_thousands_of_digits_are_bounded() -> None:
    assert isinstance(value("9" * 100_000), int) and isinstance(value("0x" + "f" * 100_000), int)
    assert value("9" * 100_000 + ".5") == math.inf


# Bytes ------------------------------------------------------------------------------------------------------------

TEXT = "name: '层 é' # ü\n"


@pytest.mark.parametrize("data", [
    TEXT.encode(), TEXT.encode("utf-8-sig"), TEXT.encode("utf-16"), b"\xfe\xff" + TEXT.encode("utf-16-be"),
    b"\xff\xfe" + TEXT.encode("utf-16-le"),
])  # fmt: skip
def test_unicode_is_decoded(data: bytes) -> None:
    assert parse(decode(data)).get("name") == "层 é"


def test_latin_1_is_decoded_where_it_is_text() -> None:
    assert decode("name: 'café'".encode("latin-1")) == "name: 'café'" and decode(b"") == ""
    assert parse(decode(b"name: 'x\xed\xa0\x80' # a surrogate in UTF-8")).get("name").startswith("x")


@pytest.mark.parametrize("data", [
    b"\x89PNG\r\n\x1a\n\0\0", b"\n\x05LeNet\x92\x06\x0f\n\x05conv1", b"a: 1\0", bytes(range(128, 256)) * 8,
    b"\xff\xfea", b"\xff\xfe\x00\xd8", random.Random(0).randbytes(2000),
])  # fmt: skip
def test_binary_data_is_refused(data: bytes) -> None:
    with pytest.raises(ParseError, match="not a prototxt") as fault:
        decode(data, "net.prototxt")
    assert str(fault.value).startswith("net.prototxt:1")


def test_utf_32_is_refused() -> None:
    with pytest.raises(ParseError, match="not a prototxt"):
        parse(decode("name: 'a'".encode("utf-32")))


# Real files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TEXTS)
def test_real_file_is_read_in_full(name: str) -> None:
    """As many fields as the text, bare of comments and strings, has names before ``:`` or ``{``."""
    text = decode((MODELS / name).read_bytes(), name)
    bare = re.sub(r'"[^"\n]*"|\'[^\'\n]*\'|#[^\n]*', " 0 ", text)
    wanted = re.findall(r"[A-Za-z_]\w*(?=\s*[:{])", bare)
    found, stack = 0, [parse(text, name)]
    while stack:
        message = stack.pop()
        found += len(message.fields)
        stack += [item.value for item in message if isinstance(item.value, Message)]
    lists = sum(part.count(",") for part in re.findall(r"\[[^]]*\]", bare))
    assert found == len(wanted) + lists > 0


@needs_models
@pytest.mark.parametrize("cut", range(0, 1738, 61))
def test_every_cut_of_a_file_is_read_or_refused(cut: int) -> None:
    text = (MODELS / "caffe/bvlc/mnist/lenet.prototxt").read_text()[:cut]
    fault = refusal(text)
    if text.count("{") != text.count("}"):
        assert fault is not None
    assert fault is None or 1 <= (fault.line or 0) <= text.count("\n") + 1


@needs_models
def test_malformed_files() -> None:
    folder = MODELS / "caffe" / "malformed"

    def read(name: str) -> Message:
        return parse(decode((folder / f"{name}.prototxt").read_bytes(), name), name)

    for name in ("crlf_bom", "comments_commas_semicolons"):
        assert len(read(name).all("layer")) == 9
    assert read("comments_commas_semicolons").get("name") == "LeNet"
    assert read("crlf_bom").to_dict() == read("../../caffe/bvlc/mnist/lenet").to_dict()
    assert read("empty") == read("only_comments") == Message()
    assert any("squish_factor" in layer.message("convolution_param") for layer in read("unknown_field").all("layer"))
    with pytest.raises(ParseError, match="not a prototxt"):
        read("binary_garbage")
    # The `}` of line 41 is missing, so the layer that it closes stays open: the last one that begins before it.
    lines = (folder / "missing_closing_brace.prototxt").read_text().split("\n")
    begins = max(k for k, line in enumerate(lines[:41], 1) if line.startswith("layer"))
    with pytest.raises(ParseError) as fault:
        read("missing_closing_brace")
    assert f"line {begins} is never closed" in str(fault.value) and fault.value.line == len(lines)
    # Said to be refused, but its 19 braces are all closed: it is cut between two layers, and is a shorter net.
    assert len(read("truncated_lenet").all("layer")) == 5
