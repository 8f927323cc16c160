"""The live editor: what its server answers, whom it refuses, and how its page behaves in a real browser."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from graphviz_nets.cli import run
from graphviz_nets.config import Options
from graphviz_nets.server import edit, live

ROOT = Path(__file__).resolve().parents[1]
LENET = (ROOT / "fixtures" / "caffe" / "lenet.prototxt").read_text("utf-8")


def net(*layers: str) -> str:
    """Return a chain of layers of these types, three lines each; no two fully connected ones are equal."""
    lines = ['layer {\n name: "in" type: "Input" top: "in" input_param { shape { dim: 1 dim: 4 } }\n}']
    for k, type_ in enumerate(layers):
        more = f" inner_product_param {{ num_output: {k + 2} }}" if type_ == "InnerProduct" else ""
        before = f"l{k - 1}" if k else "in"
        lines.append(f'layer {{\n name: "l{k}" type: "{type_}" bottom: "{before}" top: "l{k}"{more}\n}}')
    return "\n".join(lines)


def grouped(name: str) -> str:
    """Return a chain whose second and third layers, lines 7 to 12, are a group."""
    text = net(*["InnerProduct"] * 4)
    return text.replace('name: "l1', f'name: "{name}/l1').replace('name: "l2', f'name: "{name}/l2')


# The drawing ------------------------------------------------------------------------------------------------------


def test_a_drawing_knows_the_lines_of_its_boxes_and_rows() -> None:
    found = live.draw(LENET, "lenet.prototxt", Options())
    lines = LENET.split("\n")
    assert set(found["lines"]) == {"data", "conv1", "pool1", "conv2", "pool2", "ip1", "relu1", "ip2", "prob"}
    for name, (first, last) in found["lines"].items():
        if name != "ip1":  # its box holds relu1
            part = "\n".join(lines[first - 1 : last])
            assert part.startswith("layer {") and f'name: "{name}"' in part and part.count("{") == part.count("}")
    assert found["lines"]["ip1"][1] == found["lines"]["relu1"][1]
    assert found["totals"] == "9 layers · 431 k parameters · 2.29 M MACs" and found["remarks"] == []
    assert found["boxes"]["conv1"]["attributes"]["num_output"] == 20


def test_groups_have_the_lines_of_all_that_they_hold_and_say_whether_they_are_open() -> None:
    found = live.draw(grouped("g"), "n.prototxt", Options())
    assert found["lines"]["g"] == [7, 12] and found["groups"] == {"g": True}
    assert live.draw(grouped("g"), "n.prototxt", Options(collapse=("g", "gone")))["groups"] == {"g": False}


def test_a_run_of_equal_groups_has_the_lines_of_all_its_members() -> None:
    lines = [net()]
    for k in range(4):
        for name, before, size in ((f"b{k}/up", f"b{k - 1}/down" if k else "in", 8), (f"b{k}/down", f"b{k}/up", 4)):
            given = f'name: "{name}" type: "InnerProduct" bottom: "{before}" top: "{name}"'
            lines.append(f"layer {{\n {given} inner_product_param {{ num_output: {size} }} }}")
    found = live.draw("\n".join(lines), "n.prototxt", Options(depth=0))
    assert found["lines"]["b0"] == [4, 19] and found["boxes"]["b0"]["times"] == 4


def test_old_syntax_and_inputs_of_the_net_have_lines_too() -> None:
    text = 'input: "x"\ninput_shape { dim: 1 }\nlayers\n{\n name: "r" type: RELU bottom: "x" top: "y"\n}'
    assert live.draw(text, "n.prototxt", Options())["lines"] == {"x": [1, 1], "r": [3, 6]}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "no layers"),
        ("layer {\n name: 'a'\n", 3, "ends inside"),
        ("layer {\n kernel_size 3\n}", 2, "expected after 'kernel_size'"),
        ("# a solver\nnet: 'lenet.prototxt'", 2, "solver"),
        ('layer {\n name: "a\n}', 2, "string is not closed"),
    ],
)
def test_what_is_wrong_has_its_line(text: str, line: int, words: str) -> None:
    error = live.draw(text, "n.prototxt", Options())["error"]
    assert error["line"] == line and words in error["text"]


def test_remarks_have_their_lines() -> None:
    text = net("ReLU", "NoSuchLayer") + '\nlayer {\n name: "odd"\n type: "ReLU"\n bottom: "nothing" top: "z"\n}'
    remarks = live.draw(text, "n: 3.prototxt", Options())["remarks"]
    assert {(one["line"], one["text"].partition(":")[0]) for one in remarks} == {(7, "l1"), (13, "odd")}


@pytest.mark.parametrize("file", sorted((edit.HERE / "templates").glob("*")), ids=lambda file: file.stem)
def test_templates_are_nets_without_fault_that_say_what_they_are(file: Path) -> None:
    text = file.read_text("utf-8")
    assert re.match(r"# [A-Z][^:\n]+: [^\n]+\.\nname: ", text)
    found = live.draw(text, file.name, Options())
    assert found["remarks"] == [] and len(found["boxes"]) > 4


def test_drawing_opens_no_file_that_a_net_names() -> None:
    script = """
import sys
from pathlib import Path
from graphviz_nets.config import Options
from graphviz_nets.server import live
texts = [Path("fixtures/caffe/lenet.prototxt").read_text(), 'net: "fixtures/caffe/lenet.prototxt"',
  'layer { name: "d" type: "Data" top: "d" data_param { source: "/etc/passwd" } include { phase: TEST } }',
  'layer { name: "d" type: "ImageData" top: "d" image_data_param { source: "fixtures/caffe/lenet.prototxt" } }']
for turn in range(2):  # the first turn loads modules and the font
    for text in texts:
        live.draw(text, "net.prototxt", Options())
    if not turn:
        sys.addaudithook(lambda event, given: print(event, given) if event in ("open", "socket.connect") else None)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == ""


# The server -------------------------------------------------------------------------------------------------------


class Running(NamedTuple):
    address: str
    port: int
    secret: str
    path: Path


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


@contextmanager
def started(path: Path) -> Iterator[Running]:
    """Run the command on a file; at the end Ctrl+C must be quiet."""
    command = [sys.executable, "-m", "graphviz_nets", "edit", str(path), "--no-browser"]
    # A shell's background jobs ignore Ctrl+C, and so would what they start.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        signal.signal(signal.SIGINT, before)
        assert process.stdout is not None and process.stderr is not None
        address = process.stdout.readline().strip()
        parts = urlsplit(address)
        assert parts.port is not None and parts.hostname == "127.0.0.1"
        yield Running(address, parts.port, parts.path.strip("/"), path)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr.read().split("\n") == [f"editing {path}; Ctrl+C ends", "", "interrupted", ""]


@pytest.fixture(scope="module")
def running(need: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run the command on a file that does not exist yet."""
    need("starlette")
    need("uvicorn")
    with started(tmp_path_factory.mktemp("edit") / "net.prototxt") as found:
        yield found


@pytest.fixture
def editor(running: Running) -> Running:
    """Return the server with LeNet in its file."""
    running.path.write_text(LENET, "utf-8")
    return running


def ask(at: Running, path: str, body: object = None, **headers: str | None) -> Answer:
    """Ask as our page does; a header of None is left out, `target` replaces the whole path."""
    raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    host = f"127.0.0.1:{at.port}"
    given = {"host": host, "origin": None if raw is None else f"http://{host}"} | headers
    target = given.pop("target", None) or f"/{at.secret}/{path}"
    connection = http.client.HTTPConnection("127.0.0.1", at.port, timeout=30)
    connection.putrequest("GET" if raw is None else "POST", target, skip_host=True, skip_accept_encoding=True)
    for name, value in given.items():
        if value is not None:
            connection.putheader(name, value)
    if raw is not None:
        connection.putheader("content-length", str(len(raw)))
    connection.endheaders(raw)
    response = connection.getresponse()
    answer = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    connection.close()
    return answer


def test_the_page_and_all_its_parts_are_there_and_sealed(editor: Running) -> None:
    for name, (kind, _) in edit.ASSETS.items():
        answer = ask(editor, name)
        assert answer.status == 200 and answer.headers["content-type"].startswith(kind)
        assert answer.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; ")
        assert "unsafe" not in answer.headers["content-security-policy"] and "server" not in answer.headers
        assert answer.headers["cache-control"] == "no-store" and answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-content-type-options"] == "nosniff"
    page = ask(editor, "").content.decode()
    parts = re.findall(r'(?:href|src)="([^"]+)"', page)
    assert set(parts) <= {*edit.ASSETS, "data:,"} and not re.search(r"<style|<script>|style=| on\w+=", page)


def test_scripts_never_make_markup_of_text() -> None:
    for file in edit.HERE.glob("*.js"):
        text = file.read_text("utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text)
        assert all(line.count(' from "./') for line in text.splitlines() if line.startswith("import "))


@pytest.mark.parametrize("path", ["", "file", "save", "draw", "export", "page.css"])
def test_without_the_secret_nothing_is_there(editor: Running, path: str) -> None:
    for secret in ("", "x", editor.secret[:-1], editor.secret + "x", editor.secret.upper(), "%00", "ü"):
        if secret.isascii():
            assert ask(editor, "", target=f"/{secret}/{path}").status == 403
            assert ask(editor, "", {}, target=f"/{secret}/{path}").status == 403
    for target in (f"/{path}", f"//{editor.secret}/{path}", "*", "/"):
        assert ask(editor, "", target=target).status == 403


def test_only_our_own_host_is_answered(editor: Running) -> None:
    for host in (f"localhost:{editor.port}", f"127.0.0.1:{editor.port}"):
        assert ask(editor, "file", host=host).status == 200
    for bad in (f"evil.example:{editor.port}", "127.0.0.1", "localhost", f"127.0.0.1:{editor.port + 1}",
                f"127.0.0.1.evil.example:{editor.port}", f"[::1]:{editor.port}", f"0.0.0.0:{editor.port}"):  # fmt: skip
        assert ask(editor, "file", host=bad).status == 403
        assert ask(editor, "draw", {"text": ""}, host=bad, origin=f"http://{bad}").status == 403
    assert ask(editor, "file", host=None).status in (400, 403)


def test_only_our_own_page_may_ask_for_work(editor: Running) -> None:
    body = {"text": LENET, "version": edit.version(editor.path.read_bytes())}
    port = editor.port
    for origin in (
        None,
        "null",
        "http://evil.example",
        f"http://127.0.0.1:{port + 1}",
        f"https://127.0.0.1:{port}",
        f"http://localhost:{port}",
    ):
        for path in ("draw", "save", "export"):
            assert ask(editor, path, body, origin=origin).status == 403
    assert ask(editor, "draw", body, host=f"localhost:{port}", origin=f"http://localhost:{port}").status == 200
    assert ask(editor, "file", origin="http://evil.example").status == 403


def test_no_other_file_is_within_reach(editor: Running) -> None:
    beside = editor.path.with_name("beside.prototxt")
    beside.write_text("name: 'hidden'")
    for path in (
        *("../../etc/passwd", "..%2f..%2fetc/passwd", "%2e%2e/edit.py", "/etc/passwd", "file/etc/passwd", "edit.py"),
        *("editor.html", "beside.prototxt", "net.prototxt", "templates/lenet.prototxt", "page.js"),
    ):
        answer = ask(editor, path)
        assert answer.status in (403, 404) and b"hidden" not in answer.content and b"root:" not in answer.content
    solver = ask(editor, "draw", {"text": f'net: "{beside}"'}).json
    assert "solver" in solver["error"]["text"] and "hidden" not in json.dumps(solver)
    assert (
        ask(
            editor,
            "save",
            {"text": "x", "version": edit.version(editor.path.read_bytes()), "path": str(beside), "name": str(beside)},
        ).status
        == 200
    )
    assert beside.read_text() == "name: 'hidden'" and editor.path.read_text() == "x"


def test_only_the_loopback_address_listens(editor: Running) -> None:
    for address in (
        "127.0.0.2",
        *{found[4][0] for found in socket.getaddrinfo(socket.gethostname(), None)} - {"127.0.0.1"},
    ):
        with pytest.raises(ConnectionRefusedError), socket.create_connection((str(address), editor.port), timeout=2):
            pass


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400), (b"[]", 400), (b"{", 400), (b"[" * 100_000, 400), (b"\xff\xfe", 400), (b"{}", 400),
        ({"text": 1}, 400), ({"text": "\ud800"}, 400), ({"text": "", "rankdir": "XY"}, 400),
        ({"text": "", "rankdir": {}}, 400), ({"text": "", "phase": ["test"]}, 400), ({"text": "", "expand": "a"}, 400),
        ({"text": "", "expand": [1]}, 400), ({"text": "", "collapse": ["a"] * 1001}, 400),
        ({"text": "x" * (edit.LARGEST + 1)}, 413), (b'"' + b"x" * (2 * edit.LARGEST) + b'"', 413),
    ],
)  # fmt: skip
def test_what_is_no_proper_request_is_refused(editor: Running, body: object, status: int) -> None:
    answer = ask(editor, "draw", body)
    assert answer.status == status and answer.json["error"]["text"]


def test_methods_are_kept_apart(editor: Running) -> None:
    assert {ask(editor, name).status for name in ("save", "draw", "export")} <= {404, 405}
    assert ask(editor, "file", {}).status == ask(editor, "", {}).status == 405


def test_ids_are_names_and_not_patterns(editor: Running) -> None:
    def opened(*collapse: str) -> Any:
        return ask(editor, "draw", {"text": grouped("[g]*"), "collapse": collapse}).json["groups"]

    assert opened("[g]*") == {"[g]*": False}
    assert opened("*", "g", "gone") == {"[g]*": True}


def test_save_writes_the_file_whole_and_only_over_what_was_seen(editor: Running) -> None:
    seen = ask(editor, "file").json
    assert seen["text"] == LENET and seen["name"] == "net.prototxt" and seen["version"] == edit.version(LENET.encode())
    editor.path.chmod(0o640)
    first = ask(editor, "save", {"text": "# é\n", "version": seen["version"]})
    assert first.status == 200 and editor.path.read_text("utf-8") == "# é\n"
    assert editor.path.stat().st_mode & 0o777 == 0o640
    editor.path.write_text("other")
    stale = ask(editor, "save", {"text": "mine", "version": first.json["version"]})
    assert stale.json["saved"] is False and editor.path.read_text() == "other"
    assert ask(editor, "save", {"text": "mine", "version": stale.json["version"]}).json["saved"] is True
    assert editor.path.read_text() == "mine"
    editor.path.unlink()
    gone = ask(editor, "save", {"text": "mine", "version": edit.version(b"mine")})
    assert gone.json == {"saved": False, "version": ""} and not editor.path.exists()
    assert ask(editor, "save", {"text": "new", "version": ""}).json["saved"] and editor.path.read_text() == "new"
    assert [file.name for file in editor.path.parent.glob(".*")] == []


def test_line_ends_stay_as_the_file_has_them(editor: Running) -> None:
    editor.path.write_bytes(b"a: 1\r\nb: 2\r\n")
    seen = ask(editor, "file").json
    assert seen["text"] == "a: 1\nb: 2\n"
    assert ask(editor, "save", {"text": "a: 1\nc: 3\n", "version": seen["version"]}).status == 200
    assert editor.path.read_bytes() == b"a: 1\r\nc: 3\r\n"


def test_a_file_that_has_become_unreadable_is_told(editor: Running) -> None:
    editor.path.write_bytes(b"\0\1\2" * 99)
    answer = ask(editor, "file")
    assert answer.status == 400 and "binary" in answer.json["error"]["text"]


def test_a_link_stays_a_link(need: Any, tmp_path: Path) -> None:
    need("starlette")
    target = tmp_path / "target.prototxt"
    target.write_text("a")
    link = tmp_path / "link.prototxt"
    link.symlink_to(target)
    edit.write(link.resolve(), b"b")
    assert link.is_symlink() and target.read_text() == "b"


def test_exports_are_whole_files(editor: Running) -> None:
    heads = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF", "dot": b"digraph", "html": b"<!DOCTYPE html>"}
    assert list(heads) == list(live.EXPORTS) == ask(editor, "file").json["exports"]
    for form, head in heads.items():
        answer = ask(editor, "export", {"text": LENET, "format": form, "rankdir": "LR"})
        assert answer.status == 200 and answer.content.startswith(head)
    for form in ("json", "", None, "../svg", ["svg"]):
        assert ask(editor, "export", {"text": LENET, "format": form}).status == 400
    assert ask(editor, "export", {"text": "layer {", "format": "svg"}).status == 400


def test_the_server_answers_while_it_draws(editor: Running) -> None:
    large = net(*["ReLU", "Sigmoid", "TanH", "AbsVal"] * 700)
    order: list[str] = []

    def draw() -> None:
        assert "svg" in ask(editor, "draw", {"text": large, "phase": "test"}).json
        order.append("drawn")

    thread = threading.Thread(target=draw)
    thread.start()
    for _ in range(3):
        assert ask(editor, "file").status == 200
        order.append("file")
    thread.join()
    assert order == ["file", "file", "file", "drawn"]


def test_who_has_hung_up_while_waiting_is_skipped(need: Any, monkeypatch: Any, tmp_path: Path) -> None:
    need("starlette")
    uvicorn = need("uvicorn")
    started, finish, made = threading.Event(), threading.Event(), []

    def draw(text: str, name: str, options: Options) -> dict[str, Any]:
        made.append(text.strip())
        started.set()
        finish.wait(20)
        return {}

    monkeypatch.setattr(live, "draw", draw)
    door = socket.create_server(("127.0.0.1", 0))
    at = Running("", door.getsockname()[1], "secret", tmp_path / "n")
    server = uvicorn.Server(uvicorn.Config(edit.app(at.path, at.secret, at.port), log_level="error", lifespan="off"))
    threads = [threading.Thread(target=server.run, args=([door],))]
    threads += [threading.Thread(target=ask, args=(at, "draw", {"text": text})) for text in ("first", "newest")]
    threads[0].start()
    threads[1].start()
    assert started.wait(20)
    for size in (0, 300_000):  # in one piece, and in more than the server buffers
        body = json.dumps({"text": "stale" + " " * size}).encode()
        host = f"127.0.0.1:{at.port}"
        head = f"POST /secret/draw HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n"
        head += f"Content-Length: {len(body)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", at.port)) as connection:
            connection.sendall(head.encode() + body)
            time.sleep(0.3)
    threads[2].start()
    time.sleep(0.3)
    finish.set()
    for thread in threads[1:]:
        thread.join(20)
    server.should_exit = True
    threads[0].join(20)
    assert made == ["first", "newest"]


def test_ctrl_c_while_it_draws_is_quiet_too(running: Running, tmp_path: Path) -> None:
    with started(tmp_path / "n.prototxt") as at:
        large = {"text": net(*["ReLU", "Sigmoid", "TanH", "AbsVal"] * 1500)}
        drawing = threading.Thread(target=ask, args=(at, "draw", large))
        drawing.start()
        time.sleep(0.5)
    drawing.join()


# The command ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["starlette", "uvicorn"])
def test_without_the_extra_its_install_is_named(
    need: Any, monkeypatch: Any, tmp_path: Path, capsys: Any, name: str
) -> None:
    if name == "uvicorn":
        need("starlette")  # which is asked for first
    monkeypatch.setitem(sys.modules, name, None)
    assert run(["edit", str(tmp_path / "n.prototxt"), "--no-browser"]) == 4
    assert capsys.readouterr().err == f'error: {name} is not installed (pip install "graphviz-nets[edit]")\n'


def test_what_cannot_be_edited_is_said_at_once(need: Any, tmp_path: Path, capsys: Any) -> None:
    need("starlette")
    need("uvicorn")
    (tmp_path / "binary").write_bytes(b"\0" * 100)
    (tmp_path / "large").write_bytes(b" " * (edit.LARGEST + 1))
    for name, code, words in (("", 3, "no regular file"), ("binary", 3, "binary data"), ("no/n", 3, "no such folder"),
                              ("large", 5, "limit")):  # fmt: skip
        assert run(["edit", str(tmp_path / name), "--no-browser"]) == code
        assert words in capsys.readouterr().err
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert run(["edit", str(tmp_path / "n.prototxt"), "--no-browser", "--port", port]) == 2
    assert port in capsys.readouterr().err


# The page ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def visit(browser: Any, editor: Running) -> Iterator[Any]:
    """Open the editor; afterwards there must have been no message, no error and no request but to its own server."""
    faults: list[str] = []
    pages: list[Any] = []

    def go(text: str | None = LENET, width: int = 1200, scheme: str = "light") -> Any:
        editor.path.unlink()
        if text is not None:
            editor.path.write_text(text, "utf-8")
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        pages.append(page)
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: (faults.append(f"dialog {dialog.type}"), dialog.accept()))
        page.on(
            "request",
            lambda request: request.url.startswith((editor.address, "blob:", "data:")) or faults.append(request.url),
        )
        page.goto(editor.address)
        page.wait_for_selector("html[data-state]")
        return page

    go.faults = faults  # type: ignore[attr-defined]
    yield go
    for page in pages:
        page.close()
    assert faults == []


def box(page: Any, name: str) -> Any:
    return page.locator(f'[data-id="{name}"]').first


def caret(page: Any, needle: str) -> None:
    """Put the caret before the first place of a text."""
    page.locator("#text").focus()
    page.evaluate(
        "n => { const t = document.querySelector('#text'); const k = t.value.indexOf(n); t.setSelectionRange(k, k); }",
        needle,
    )


def selected(page: Any) -> str:
    return str(
        page.evaluate(
            """() => { const t = document.querySelector('#text');
                       return t.value.slice(t.selectionStart, t.selectionEnd); }"""
        )
    )


def chosen(page: Any, name: str) -> None:
    page.wait_for_function(
        "n => [...document.querySelectorAll('.chosen')].map(e => e.dataset.id).join() === n", arg=name
    )


def test_typing_changes_the_graph(visit: Any) -> None:
    page = visit()
    assert page.locator("#drawing g.box").count() == 8
    assert page.locator("#totals").inner_text() == "9 layers · 431 k parameters · 2.29 M MACs"
    page.locator("#text").press("Control+End")
    page.keyboard.type('layer { name: "extra" type: "LRN" bottom: "prob" top: "t" }')
    box(page, "extra").wait_for()
    assert page.locator("#drawing g.wire[data-from=prob][data-to=extra]").count() == 1
    chosen(page, "extra")
    page.keyboard.press("Shift+Home")
    page.keyboard.press("Backspace")
    box(page, "extra").wait_for(state="detached")


def test_broken_text_keeps_the_last_graph_and_shows_the_line(visit: Any) -> None:
    page = visit()
    caret(page, "num_output: 20")
    page.keyboard.type("oops ")
    bad = page.locator(".line.bad")
    bad.wait_for()
    assert bad.locator(".number").inner_text() == "24" and bad.locator(".fault").inner_text() == "num_output"
    assert page.locator("#drawing g.box").count() == 8 and page.locator("#graph.stale").count() == 1
    assert page.locator("#stale").is_visible()
    remark = page.locator("#remarks li.bad")
    assert remark.inner_text().startswith("Line 24") and "expected after 'oops'" in remark.inner_text()
    page.locator("#text").press("Control+Home")
    remark.locator("button").click()
    page.locator(".line.here .number", has_text="24").wait_for()
    for _ in range(5):
        page.keyboard.press("Backspace")
    bad.wait_for(state="detached")
    assert page.locator("#stale").is_hidden() and page.locator("#remarks").is_hidden()


def test_remarks_are_listed_and_their_lines_marked(visit: Any) -> None:
    page = visit(net("ReLU", "NoSuchLayer"))
    assert page.locator(".line.odd .number").inner_text() == "7"
    assert "NoSuchLayer" in page.locator("#remarks li.odd").inner_text()
    assert page.locator("#drawing g.box").count() == 3


def test_a_click_on_a_box_selects_its_lines(visit: Any) -> None:
    page = visit()
    box(page, "conv2").click(position={"x": 12, "y": 12})
    text = selected(page)
    assert text.startswith("layer {") and text.endswith("}") and 'name: "conv2"' in text and text.count("layer {") == 1
    chosen(page, "conv2")
    assert "num_output" in page.locator("#facts").inner_text()
    box(page, "pool1").hover(position={"x": 12, "y": 12})
    assert "num_output" not in page.locator("#facts").inner_text()
    assert page.locator("g.wire.near").count() == 2
    box(page, "relu1").click()
    assert 'name: "relu1"' in selected(page)
    chosen(page, "relu1")


def test_the_caret_marks_the_box_of_its_layer(visit: Any) -> None:
    page = visit()
    for name in ("conv1", "pool2", "relu1", "prob"):
        caret(page, f'name: "{name}"')
        chosen(page, name)
    page.keyboard.press("Control+Home")
    chosen(page, "")


def test_groups_open_and_close_by_double_click(visit: Any) -> None:
    page = visit(grouped("g"))
    assert box(page, "g").get_attribute("aria-expanded") == "true"
    box(page, "g").dblclick(position={"x": 8, "y": 8})
    page.locator('[data-id="g"][aria-expanded=false]').wait_for()
    assert box(page, "g/l1").count() == 0
    caret(page, 'name: "g/l2"')
    chosen(page, "g")
    box(page, "g").click(position={"x": 8, "y": 8})
    assert selected(page).count("layer {") == 2
    box(page, "g").dblclick(position={"x": 8, "y": 8})
    box(page, "g/l1").wait_for()


def test_the_view_stays_where_it_is_when_the_text_changes(visit: Any) -> None:
    page = visit()
    page.mouse.move(850, 400)
    page.mouse.wheel(0, -400)
    caret(page, "layer {")
    chosen(page, "data")
    before = box(page, "pool2").bounding_box()
    page.keyboard.type('layer { name: "more" type: "Input" top: "more" input_param { shape { dim: 1 } } } ')
    box(page, "more").wait_for(state="attached")
    after = box(page, "pool2").bounding_box()
    assert all(abs(before[key] - after[key]) < 1 for key in ("x", "y", "width"))


def test_ctrl_s_saves_and_unsaved_changes_are_shown_and_guarded(visit: Any, editor: Running) -> None:
    page = visit()
    assert page.locator("#save").is_disabled() and page.title() == "net.prototxt"
    page.locator("#text").press("Control+End")
    page.keyboard.type("# more")
    assert page.locator("#save").is_enabled() and page.title() == "• net.prototxt"
    assert page.locator("h1.unsaved").count() == 1 and editor.path.read_text() == LENET
    page.reload()
    assert visit.faults.pop() == "dialog beforeunload"
    page.wait_for_selector("html[data-state]")
    page.locator("#text").press("Control+End")
    page.keyboard.type("# more")
    page.keyboard.press("Control+s")
    page.locator("h1:not(.unsaved)").wait_for()
    assert editor.path.read_text() == LENET + "# more" and page.title() == "net.prototxt"
    page.keyboard.type("!")
    page.get_by_role("button", name="Save", exact=True).click()
    page.locator("h1:not(.unsaved)").wait_for()
    assert editor.path.read_text() == LENET + "# more!"
    page.reload()


def test_a_file_that_changed_on_disk_is_not_lost(visit: Any, editor: Running) -> None:
    page = visit()
    notice = page.get_by_role("alert")
    page.locator("#text").press("Control+End")
    page.keyboard.type("# mine")
    editor.path.write_text(LENET + "# theirs")
    page.keyboard.press("Control+s")
    notice.wait_for()
    assert "net.prototxt has changed on disk" in notice.inner_text() and editor.path.read_text() == LENET + "# theirs"
    notice.get_by_role("button", name="Overwrite").click()
    notice.wait_for(state="hidden")
    assert editor.path.read_text() == LENET + "# mine" and page.locator("h1.unsaved").count() == 0
    page.keyboard.press("Control+End")
    page.locator("#text").press("Control+End")
    page.keyboard.type("!")
    editor.path.write_text("# all new")
    page.evaluate("dispatchEvent(new Event('focus'))")  # the reader comes back to the window
    notice.get_by_role("button", name="Reload").click()
    notice.wait_for(state="hidden")
    assert page.locator("#text").input_value() == "# all new" and page.locator("h1.unsaved").count() == 0


def test_without_changes_of_ours_the_newest_file_is_shown(visit: Any, editor: Running) -> None:
    page = visit()
    editor.path.write_text(net("TanH"))
    page.evaluate("dispatchEvent(new Event('focus'))")
    box(page, "l0").wait_for()
    assert page.locator("#text").input_value() == net("TanH") and page.get_by_role("alert").is_hidden()


def test_a_file_that_is_gone_does_not_take_the_text_with_it(visit: Any, editor: Running) -> None:
    page = visit()
    editor.path.unlink()
    page.evaluate("dispatchEvent(new Event('focus'))")
    notice = page.get_by_role("alert")
    notice.wait_for()
    assert "is no longer on disk" in notice.inner_text() and page.locator("#text").input_value() == LENET
    notice.get_by_role("button", name="Overwrite").click()
    notice.wait_for(state="hidden")
    assert editor.path.read_text() == LENET


def test_the_border_between_text_and_graph_moves(visit: Any) -> None:
    page = visit()
    before = page.locator("#source").bounding_box()["width"]
    split = page.get_by_role("separator")
    split.press("ArrowRight")
    assert page.locator("#source").bounding_box()["width"] > before + 10
    place = split.bounding_box()
    page.mouse.move(place["x"] + 3, 300)
    page.mouse.down()
    page.mouse.move(300, 300, steps=3)
    page.mouse.up()
    assert abs(page.locator("#source").bounding_box()["width"] - 300) < 5


@pytest.mark.parametrize(
    ("form", "head"),
    [("SVG", b"<?xml"), ("PNG", b"\x89PNG"), ("PDF", b"%PDF"), ("DOT", b"digraph"), ("HTML", b"<!DOC")],
)
def test_the_current_drawing_is_downloaded(visit: Any, form: str, head: bytes) -> None:
    page = visit()
    page.locator("#rankdir").select_option("LR")
    page.wait_for_function("() => document.querySelector('#drawing').dataset.rankdir === 'LR'")
    with page.expect_download() as found:
        page.get_by_role("button", name=form, exact=True).click()
    assert found.value.suggested_filename == f"net.{form.lower()}"
    content = Path(found.value.path()).read_bytes()
    assert content.startswith(head) and (form != "DOT" or b"LR" in content)


def test_the_direction_is_chosen(visit: Any) -> None:
    page = visit()
    for flow, axis, sign in (("LR", "x", 1), ("BT", "y", -1), ("RL", "x", -1), ("TB", "y", 1)):
        page.locator("#rankdir").select_option(flow)
        page.wait_for_function("flow => document.querySelector('#drawing').dataset.rankdir === flow", arg=flow)
        first, last = box(page, "data").bounding_box(), box(page, "prob").bounding_box()
        assert (last[axis] - first[axis]) * sign > 100


def test_an_empty_editor_offers_templates(visit: Any, editor: Running) -> None:
    page = visit(None)
    start = page.locator("#start")
    start.wait_for()
    assert start.get_by_role("button").count() == 5 and page.locator(".line.bad").count() == 0
    start.get_by_role("button", name="Residual block").click()
    box(page, "sum").wait_for()
    assert start.is_hidden() and page.locator("h1.unsaved").count() == 1
    page.locator("#template").select_option("LeNet")
    box(page, "conv2").wait_for()
    page.keyboard.press("Control+z")
    box(page, "sum").wait_for()
    page.keyboard.press("Control+s")
    page.locator("h1:not(.unsaved)").wait_for()
    assert "residual" in editor.path.read_text()


def test_enter_and_tab_indent(visit: Any) -> None:
    page = visit("")
    page.locator("#text").focus()
    page.keyboard.type("layer {\nname:")
    page.keyboard.press("Tab")
    page.keyboard.type("x")
    assert page.locator("#text").input_value() == "layer {\n  name:  x"
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") != "text"
    page.evaluate(
        "document.querySelector('#text').value = ''; document.querySelector('#text').dispatchEvent(new Event('input'))"
    )


def test_the_coloured_lines_lie_on_the_text(visit: Any) -> None:
    """What the textarea holds and what is drawn over it agree, line by line and in size."""
    page = visit(LENET + "\n\tx: 'é層' # \"a\" -3 .5 1e-3 [w] <y> \\\n" + "z" * 3000)
    lines = page.locator(".line").evaluate_all(
        "all => all.map(e => [e.firstChild.textContent, e.textContent.slice(e.firstChild.textContent.length)])"
    )
    text = page.locator("#text").input_value().split("\n")
    assert len(lines) > 40 and all(text[int(number) - 1] == content for number, content in lines)
    sizes = page.evaluate(
        """() => { const t = document.querySelector('#text');
                   return [t.scrollWidth - t.clientWidth, t.scrollHeight - t.clientHeight]; }"""
    )
    assert sizes == [0, 0]
    page.evaluate("document.querySelector('#scroll').scrollTo(0, 1e6)")
    page.wait_for_function("() => [...document.querySelectorAll('.line')].some(e => e.textContent.endsWith('zzz'))")


def test_hostile_names_are_text(visit: Any) -> None:
    names = [
        "<script>alert(1)</script>",
        "</svg><img src=x onerror=alert(2)>",
        "constructor",
        "__proto__",
        "\\u202e",
        "a]]>&amp;",
        "'\\\"><svg onload=alert(3)>",
    ]
    layers = [f'layer {{ name: "{name}" type: "{name}" bottom: "in" top: "t{k}" }}' for k, name in enumerate(names)]
    page = visit("\n".join([net(), *layers]).replace("/", "_"))
    assert page.locator("#drawing script, #drawing img, #drawing [onload], #drawing [style], header img").count() == 0
    assert page.locator("#drawing g.box").count() == len(names) + 1
    for element in page.locator("#drawing g.box").all():
        element.dispatch_event("click")
        assert selected(page).startswith("layer {")
    assert "<script>alert(1)<_script>" in page.locator("#remarks").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1200])
def test_it_is_usable_in_both_themes_and_on_a_small_screen(visit: Any, scheme: str, width: int) -> None:
    page = visit(width=width, scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    fill = "getComputedStyle(document.querySelector('[data-id=conv1] > rect')).fill"
    light = page.evaluate(fill)
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    for name in ("scroll", "stage"):
        room = page.locator(f"#{name}").bounding_box()
        assert room["width"] > 300 and room["height"] > 200
    covered = page.evaluate(
        """() => { const all = [...document.querySelectorAll('header > *, header .tools > *')].filter((e) => !e.children.length && !e.hidden);
        const at = all.map((e) => e.getBoundingClientRect());
        return at.filter((a, k) => at.some((b, j) => j < k && a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1)).length; }"""  # noqa: E501
    )
    assert covered == 0
    page.get_by_role("button", name="Theme").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != paper and page.evaluate(fill) != light
    assert page.evaluate("document.fonts.check('bold 12px Roboto')")
