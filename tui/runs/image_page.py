"""A page with a run's images for a browser, on loopback and behind a random token; the only listener, off by default."""

from __future__ import annotations

import hmac
import html
import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any

from loratui.engine.untrusted import read_small

_LARGEST_BYTES = 64 << 20
_TYPES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp"}
"""First bytes of a file -> its type; other files are not served."""
_LOCAL_HOSTS = ("127.0.0.1", "localhost", "[::1]")
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """An image in a table of images."""

    path: Path
    row: str
    """What its row shows, such as the prompt."""
    column: str
    """What its column shows, such as the step."""
    words: str = ""
    """Anything else about it."""
    sha256: str = ""
    """Of the file as it was made; empty where that is unknown."""


class ImagePage:
    """Serves only the given images, from a thread, until it is closed. A context manager."""

    def __init__(self, title: str, images: Sequence[Shown]) -> None:
        self._token = secrets.token_urlsafe(24)
        page = render(title, images).encode("utf-8")
        self._server = _Server(self._token, page, tuple(image.path for image in images))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="image-page", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """The page's address, here and, with the port forwarded, on the person's own machine."""
        return f"http://127.0.0.1:{self.port}/{self._token}/"

    def close(self) -> None:
        """Stops listening; a second call does nothing."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(2.0)

    def __enter__(self) -> ImagePage:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 16

    def __init__(self, token: str, page: bytes, paths: tuple[Path, ...]) -> None:
        self.token, self.page, self.paths = token, page, paths
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a browser that leaves is no fault, and the terminal belongs to the app."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "loratui", ""

    def do_GET(self) -> None:
        """The page at /TOKEN/, image N at /TOKEN/p/N; anything else is not found."""
        rest = self._behind_the_token()
        if rest is None:
            self._say(HTTPStatus.NOT_FOUND, "not here")
        elif rest == "":
            # The links of the page are relative: without the slash they would lead nowhere.
            self._say(HTTPStatus.PERMANENT_REDIRECT, "with a slash", {"Location": f"/{self.server.token}/"})
        elif rest == "/":
            self._answer(HTTPStatus.OK, "text/html; charset=utf-8", self.server.page)
        else:
            self._image(rest.removeprefix("/"))

    do_HEAD = do_GET

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answers other methods, and input that is no request, in place of Python's own page."""
        del message, explain
        # The rest of this request would be read as the next one.
        self.close_connection = True
        if code == HTTPStatus.NOT_IMPLEMENTED and self._behind_the_token() is not None:
            self._say(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD", {"Allow": "GET, HEAD", "Connection": "close"})
        else:
            self._say(HTTPStatus.NOT_FOUND, "not here", {"Connection": "close"})

    def _behind_the_token(self) -> str | None:
        """What follows the token in the address; None without the token, or with a foreign host name."""
        host = self.headers.get("Host", "").rsplit(":", 1)[0]
        token, slash, rest = self.path.removeprefix("/").partition("/")
        known = host in _LOCAL_HOSTS and hmac.compare_digest(token.encode(), self.server.token.encode())
        return slash + rest if known else None

    def _image(self, rest: str) -> None:
        folder, _, number = rest.partition("/")
        # A number into our own list: no name from outside ever becomes a path.
        known = folder == "p" and number.isascii() and number.isdecimal() and len(number) < 7
        path = self.server.paths[int(number)] if known and int(number) < len(self.server.paths) else None
        data = _read(path) if path is not None else None
        kind = next((kind for start, kind in _TYPES.items() if data is not None and data.startswith(start)), "")
        if data is None or not kind:
            self._say(HTTPStatus.NOT_FOUND, "not here")
        else:
            self._answer(HTTPStatus.OK, kind, data)

    def _say(self, status: HTTPStatus, words: str, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        self._answer(status, "text/plain", f"{words}\n".encode(), headers)

    def _answer(self, status: HTTPStatus, kind: str, body: bytes, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers, **_HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the terminal belongs to the app."""


def _read(path: Path) -> bytes | None:
    try:
        data = read_small(path, _LARGEST_BYTES + 1)
    except OSError:
        return None
    return data if len(data) <= _LARGEST_BYTES else None


def render(title: str, images: Sequence[Shown]) -> str:
    """The page: a table of rows and columns, each image a link to itself in full size."""
    columns = list(dict.fromkeys(image.column for image in images))
    rows = list(dict.fromkeys(image.row for image in images))
    places = {(image.row, image.column): number for number, image in enumerate(images)}
    body = []
    for row in rows:
        cells = []
        for column in columns:
            number = places.get((row, column))
            link = f'<a href="p/{number}"><img loading="lazy" src="p/{number}" alt=""></a>' if number is not None else ""
            cells.append(f"<td>{link}<small>{html.escape(column)}</small></td>")
        body.append(f'<tr><th colspan="{len(columns)}">{html.escape(row)}</th></tr><tr>{"".join(cells)}</tr>')
    style = (
        "body{background:#121212;color:#d7d7d7;font:15px system-ui,sans-serif;margin:1.5em}h1{font-size:1.2em}"
        "th{text-align:left;font-weight:normal;color:#ffaf5f;padding:.8em 0 .2em}td{padding:0 .5em .5em 0;vertical-align:top}"
        "img{width:256px;display:block}small{color:#949494}"
    )
    heading = html.escape(title)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{heading}</title><style>{style}</style>'
        f"<h1>{heading}</h1><table>{''.join(body)}</table></html>"
    )
