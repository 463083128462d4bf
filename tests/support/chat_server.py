"""A server with OpenAI's chat completions on this machine, which answers as a test tells it to."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image

Reply = tuple[int, bytes, Mapping[str, str]]


def said(text: object, status: int = 200) -> Reply:
    """A completion with this text."""
    return status, json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]}).encode(), {}


def broken(status: int, body: bytes = b"{}", **headers: str) -> Reply:
    """Any other answer; `Retry_After` is a header."""
    return status, body, {name.replace("_", "-"): value for name, value in headers.items()}


@dataclass
class Chat:
    """What it was asked, and what it answers to the request of this number, from 0 on."""

    answer: Callable[[int], Reply]
    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def images(self) -> list[bytes]:
        """The bytes of the images that it was sent."""
        return [base64.b64decode(_content(one, "image_url")["url"].partition(",")[2]) for one in self.requests]

    def sizes(self) -> list[tuple[int, int]]:
        """Their sizes in px."""
        return [Image.open(io.BytesIO(image)).size for image in self.images()]

    def instructions(self) -> list[str]:
        """The texts beside the images."""
        return [str(_content(one, "text")) for one in self.requests]


def _content(request: Mapping[str, Any], kind: str) -> Any:
    return next(part[kind] for part in request["messages"][0]["content"] if part["type"] == kind)


@contextmanager
def chat_server(answer: Callable[[int], Reply]) -> Iterator[Chat]:
    """The server, for as long as the block lasts."""
    chat = Chat(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with chat.lock:
                number = len(chat.requests)
                chat.requests.append(request)
                chat.headers.append(dict(self.headers))
            status, body, headers = chat.answer(number)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    chat.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield chat
    finally:
        server.shutdown()
        server.server_close()
