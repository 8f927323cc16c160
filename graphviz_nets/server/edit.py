"""The editor's server: one page, one file, one secret.

Every request must carry the secret as the first part of its path, name this server as its host, and, where it computes
or changes anything, come from the editor's own page. The only file that is read or written is the one being edited.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphviz_nets.config import Options, options
from graphviz_nets.errors import ConfigError, ConvertError, GraphvizNetsError, LimitError, MissingExtra
from graphviz_nets.files import write
from graphviz_nets.server import live

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

HERE = Path(__file__).resolve().parent
HOST = "127.0.0.1"
LARGEST = 2 << 20
"""Bytes of a text; a request may have twice as many, for JSON writes a line's end with two."""

HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; connect-src 'self'; img-src data:; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"cache-control", b"no-store"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


@dataclass(frozen=True)
class Edited:
    """The file at hand, and whose turn it is to draw: Graphviz does not draw two things at once."""

    path: Path
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


def serve(path: Path, port: int, ready: Callable[[str], None]) -> None:
    """Serve the editor of a file until it is interrupted.

    Parameters
    ----------
    path : Path
        A prototxt, which need not exist yet.
    port : int
        On 127.0.0.1; 0 takes a free one.
    ready : callable
        Given the page's address once the port is taken.

    Raises
    ------
    MissingExtra
        Without starlette and uvicorn.
    ConvertError, LimitError
        When the file cannot be edited.
    ConfigError
        When the port is taken.
    """
    try:
        import starlette  # noqa: F401
        import uvicorn
    except ModuleNotFoundError as fault:
        raise MissingExtra(str(fault.name), extra="edit") from None
    place = path.resolve()
    if not place.parent.is_dir():
        raise ConvertError("there is no such folder", path=str(place.parent))
    decoded(place, read(place))
    try:
        door = socket.create_server((HOST, port))
    except OSError as fault:
        raise ConfigError(f"port {port} cannot be had: {fault.strerror}", key="--port") from None
    with door:
        port, secret = door.getsockname()[1], secrets.token_urlsafe(32)
        ready(f"http://{HOST}:{port}/{secret}/")
        # An access log would hold the secret.
        config = uvicorn.Config(
            app(place, secret, port), log_level="error", access_log=False, lifespan="off", ws="none",
            server_header=False, proxy_headers=False,
        )  # fmt: skip
        uvicorn.Server(config).run(sockets=[door])


def app(path: Path, secret: str, port: int) -> ASGIApp:
    """Return the editor of one file as an ASGI application."""
    from starlette.applications import Starlette
    from starlette.routing import Route

    edited = Edited(path)
    routes = [
        Route("/{secret}/file", partial(opened, edited)),
        Route("/{secret}/save", partial(saved, edited), methods=["POST"]),
        Route("/{secret}/draw", partial(drawn, edited), methods=["POST"]),
        Route("/{secret}/export", partial(exported, edited), methods=["POST"]),
        Route("/{secret}/{name:path}", asset),
    ]
    return guarded(Starlette(routes=routes, exception_handlers={GraphvizNetsError: refused}), secret, port)


# Who may ask ------------------------------------------------------------------------------------------------------


def guarded(inner: ASGIApp, secret: str, port: int) -> ASGIApp:
    """Let through what knows the secret and comes from our own page; add our headers to every answer."""
    hosts = [f"{name}:{port}".encode() for name in (HOST, "localhost")]

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.responses import PlainTextResponse

        async def sealed(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *HEADERS]
            await send(message)

        given = scope["path"].removeprefix("/").partition("/")[0]
        known = secrets.compare_digest(given.encode("utf-8", "replace"), secret.encode())
        allowed = known and ours(scope["method"], scope["headers"], hosts)
        await (inner if allowed else PlainTextResponse("not allowed", 403))(scope, receive, sealed)

    return guard


def ours(method: str, headers: list[tuple[bytes, bytes]], hosts: list[bytes]) -> bool:
    """Say whether a request names this server, and whether a page that sends it is this server's.

    The first keeps out names that lead to 127.0.0.1 (DNS rebinding), the second the pages of other servers; only a
    visit (GET) may come from nowhere.

    Examples
    --------
    >>> ours("GET", [(b"host", b"127.0.0.1:80")], [b"127.0.0.1:80"])
    True
    >>> ours("POST", [(b"host", b"127.0.0.1:80"), (b"origin", b"http://evil.example")], [b"127.0.0.1:80"])
    False
    """
    host = [value for name, value in headers if name == b"host"]
    origin = [value for name, value in headers if name == b"origin"]
    if len(host) != 1 or host[0] not in hosts:
        return False
    return origin == [b"http://" + host[0]] or (method in ("GET", "HEAD") and not origin)


# Answers ----------------------------------------------------------------------------------------------------------


async def asset(request: Request) -> Response:
    """Answer with a part of the page, of a fixed list."""
    from starlette.responses import Response

    found = ASSETS.get(request.path_params["name"])
    if found is None:
        return Response("not found", 404, media_type="text/plain")
    kind, make = found
    return Response(make(), media_type=kind)


async def opened(edited: Edited, request: Request) -> Response:
    """Answer with the file's text and version, and what to start from."""
    data = read(edited.path)
    about = {"name": edited.path.name, "text": decoded(edited.path, data), "version": version(data)}
    return answer(about | {"templates": templates(), "exports": list(live.EXPORTS)})


async def saved(edited: Edited, request: Request) -> Response:
    """Write the text, unless the file is no longer what the page has seen; answer with the version that it has now."""
    body = await asked(request)
    text, seen = body.get("text"), body.get("version")
    data = read(edited.path)
    if seen != version(data):
        return answer({"saved": False, "version": version(data)})
    line_end = b"\r\n" if b"\r\n" in (data or b"") else b"\n"
    new = checked(text).replace(b"\n", line_end)
    write(edited.path, new)
    return answer({"saved": True, "version": version(new)})


async def drawn(edited: Edited, request: Request) -> Response:
    """Answer with the drawing of a text."""

    def make(text: str, wishes: Options) -> Response:
        return answer(live.draw(text, edited.path.name, wishes))

    return await in_turn(edited, request, await asked(request), make)


async def exported(edited: Edited, request: Request) -> Response:
    """Answer with a drawing as a file."""
    from starlette.responses import Response

    body = await asked(request)
    form = str(body.get("format"))
    if form not in live.EXPORTS:
        raise ConfigError(f"no export to {form!r}", key="format", hint=f"one of {', '.join(live.EXPORTS)}")

    def make(text: str, wishes: Options) -> Response:
        return Response(live.export(text, edited.path.name, wishes, form), media_type=live.EXPORTS[form])

    return await in_turn(edited, request, body, make)


async def in_turn(
    edited: Edited, request: Request, body: Mapping[str, Any], make: Callable[[str, Options], Response]
) -> Response:
    """Make an answer in a thread, one after the other; who has hung up while waiting, for a newer text, is skipped."""
    from starlette.responses import Response

    text, wishes = wished(body)
    # After its body a request has only its end to tell, which is seen only while somebody listens for it.
    gone = asyncio.ensure_future(request.receive())
    try:
        async with edited.turn:
            if gone.done():
                return Response(status_code=204)
            return await asyncio.to_thread(make, text, wishes)
    finally:
        gone.cancel()


async def refused(request: Request, fault: Exception) -> Response:
    """Answer with what is wrong."""
    assert isinstance(fault, GraphvizNetsError)
    return answer({"error": live.told(fault)}, 413 if isinstance(fault, LimitError) else 400)


def answer(content: Any, status: int = 200) -> Response:
    """Return an answer in JSON, in ASCII."""
    from starlette.responses import Response

    from graphviz_nets.renderers.html import data_text

    return Response(data_text(content), status, media_type="application/json")


# Questions --------------------------------------------------------------------------------------------------------


async def asked(request: Request) -> dict[str, Any]:
    """Return a request's JSON object, at most `2 * LARGEST` bytes of it."""
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > 2 * LARGEST:
            raise LimitError("the request", f"{2 * LARGEST >> 20} MB")
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ConfigError("a request is one JSON object")
    return found


def wished(body: Mapping[str, Any]) -> tuple[str, Options]:
    """Return the text and the drawing options of a request.

    Examples
    --------
    >>> wished({"text": "", "rankdir": "LR", "expand": ["a*"]})[1].expand
    ('a[*]',)
    """
    checked(body.get("text"))
    chosen = {key: body[key] for key in ("rankdir", "phase") if key in body}
    names = {key: body.get(key, []) for key in ("expand", "collapse")}
    for key, ids in names.items():
        if not isinstance(ids, list) or len(ids) > 1000 or not all(isinstance(one, str) for one in ids):
            raise ConfigError("a list of ids is expected", key=key)
        chosen[key] = tuple(map(escape, ids))
    return body["text"], options(**chosen)


def checked(text: object) -> bytes:
    """Return a text as bytes, or raise ConfigError or LimitError."""
    try:
        found = text.encode() if isinstance(text, str) else None
    except UnicodeEncodeError:
        found = None
    if found is None:
        raise ConfigError("a text is expected", key="text")
    if len(found) > LARGEST:
        raise LimitError("the text", f"{LARGEST >> 20} MB")
    return found


# The file ---------------------------------------------------------------------------------------------------------


def read(path: Path) -> bytes | None:
    """Return a file's bytes, or None where there is no file."""
    try:
        if not path.exists():
            return None
        if not path.is_file():
            raise ConvertError("this is no regular file", path=str(path))
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as fault:
        raise ConvertError(f"cannot be read: {fault.strerror}", path=str(path)) from None
    if len(data) > LARGEST:
        raise LimitError(str(path), f"{LARGEST >> 20} MB")
    return data


def decoded(path: Path, data: bytes | None) -> str:
    """Return a file's text with the line ends that a browser keeps; empty where there is no file."""
    from graphviz_nets.converters.prototxt import decode

    return decode(data or b"", str(path)).replace("\r\n", "\n").replace("\r", "\n")


def version(data: bytes | None) -> str:
    """Return what tells one content of a file from another; empty where there is no file."""
    return "" if data is None else hashlib.sha256(data).hexdigest()


def templates() -> dict[str, str]:
    """Return the nets to start from, by what their first line calls them."""
    texts = [file.read_text("utf-8") for file in sorted((HERE / "templates").glob("*.prototxt"))]
    return {text.partition("\n")[0].lstrip("# ").partition(":")[0]: text for text in texts}


def palette() -> bytes:
    """Return the colours of drawings as a stylesheet: the dark ones, for each drawing carries the light ones itself."""
    from graphviz_nets.drawing.theme import DARK
    from graphviz_nets.renderers.svg import classes, rules

    dark, follow = (rules(classes(DARK), DARK, way) for way in ("[data-theme=dark] ", ":root:not([data-theme=light]) "))
    return f"{dark}@media screen and (prefers-color-scheme:dark){{{follow}}}".encode()


def font(bold: bool) -> bytes:
    """Return the font that drawings are measured with."""
    from graphviz_nets.drawing.text import roboto

    return roboto(bold).read_bytes()


def page_part(name: str) -> bytes:
    """Return a part of the page that ``render -o OUT.html`` writes, which the editor has in common with it."""
    from graphviz_nets.renderers.html import HERE as there

    return (there / name).read_bytes()


JAVASCRIPT, CSS, TTF = "text/javascript", "text/css", "font/ttf"
ASSETS: Mapping[str, tuple[str, Callable[[], bytes]]] = {
    "": ("text/html", (HERE / "editor.html").read_bytes),
    "editor.css": (CSS, (HERE / "editor.css").read_bytes),
    **{name: (JAVASCRIPT, (HERE / name).read_bytes) for name in ("editor.js", "editor_text.js", "editor_graph.js")},
    "page.css": (CSS, partial(page_part, "page.css")),
    **{name: (JAVASCRIPT, partial(page_part, name)) for name in ("page_view.js", "page_panel.js")},
    "palette.css": (CSS, palette),
    "regular.ttf": (TTF, partial(font, False)),
    "bold.ttf": (TTF, partial(font, True)),
}
"""All that a page may load, by name: its type, and what makes it."""
