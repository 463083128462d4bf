"""A server on this machine that speaks the Hugging Face hub's protocol, and can be as unpleasant as a real network."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_goodTokenForTheTest"
_CHUNK, _CHUNKS = 65_536, 64
"""Bytes in a chunk of the storage, and chunks in one of its objects."""


@dataclass
class Hub:
    """What the server holds, and how it behaves."""

    files: dict[str, bytes] = field(default_factory=dict)
    repo: str = "owner/name"
    gated: bool = False
    needs_token: bool = False
    admitted: bool = True
    """Whether the owner of the good token has accepted the terms."""
    cut_after: int = 0
    """Bytes of a body after which a connection is cut; 0: never."""
    cuts: int = 1_000_000
    """How often that happens."""
    no_ranges: bool = False
    statuses: list[int] = field(default_factory=list)
    """Answers for the next downloads, before the real ones."""
    retry_after: str = ""
    slow_s: float = 0.0
    """Seconds between chunks."""
    corrupt: bool = False
    longer: bool = False
    shorter: bool = False
    blob_id: str = ""
    """In place of the true one."""
    lists_sizes: bool = True
    api_status: int = 0
    licence: str = "openrail"
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path and Range of what was asked."""
    address: str = ""
    bytes_from: str = ""
    """Address of another server that large files are redirected to, as the hub does."""
    tokens: list[str] = field(default_factory=list)
    """What came as Authorization, one for each request."""
    hangs_at: str = ""
    """Requests for paths that begin so are never answered."""
    instead: bytes = b""
    """What every request is answered with, as a hotel's login page does."""
    every_status: int = 0
    """In place of every file."""
    said: dict[str, Any] = field(default_factory=dict)
    """In place of what the list of a repository says."""
    api_body: bytes = b""
    """In place of every answer of the API."""
    api_encoding: str = ""
    api_endless: bool = False
    """That body comes again and again."""
    api_to: str = ""
    """Where the API redirects to."""
    xet: bool = False
    """Large files lie in Xet storage too, which this server is as well."""
    xet_at: str = ""
    """In place of this server's address as that storage."""
    xet_cuts_after: int = 1_000_000
    """Requests for stored bytes that are answered; then the storage fails."""
    xet_corrupt: bool = False
    late_etag: str = ""
    """In place of the true one, from the second time that a file is asked for."""

    def blob(self, name: str) -> dict[str, Any]:
        data = self.files[name]
        if not self.lists_sizes:
            return {"rfilename": name}
        listed: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": self.blob_id or git_id(data)}
        if name.endswith(".safetensors"):
            listed["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
        return listed

    def etag(self, name: str) -> str:
        data = self.files[name]
        return hashlib.sha256(data).hexdigest() if name.endswith(".safetensors") else git_id(data)

    def xorbs(self, name: str) -> list[bytes]:
        """A file as the storage keeps it: chunks of 64 KiB behind 8 bytes of lengths, uncompressed, 64 to an object."""
        data = bytes(len(self.files[name])) if self.xet_corrupt else self.files[name]
        chunks = [data[at : at + _CHUNK] for at in range(0, len(data), _CHUNK)]
        lengths = [len(chunk).to_bytes(3, "little") for chunk in chunks]
        stored = [b"\0" + n + b"\0" + n + chunk for n, chunk in zip(lengths, chunks, strict=True)]
        return [b"".join(stored[at : at + _CHUNKS]) for at in range(0, len(stored), _CHUNKS)]

    def bodies(self) -> list[tuple[str, str, str]]:
        return [request for request in self.requests if request[0] == "GET" and "/resolve/" in request[1]]


def git_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """Runs the server while the block lasts; `hub.address` is what HF_ENDPOINT is set to."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Keeps the tests' output clean."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub, path = self.hub, unquote(urlsplit(self.path).path)
        hub.requests.append((self.command, path, self.headers.get("Range", "")))
        hub.tokens.append(self.headers.get("Authorization", ""))
        if hub.hangs_at and path.startswith(hub.hangs_at):
            self.rfile.read(1)  # until whoever asked has gone
            self.close_connection = True
            return
        if hub.instead:
            self._page(hub.instead)
            return
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if path.startswith("/xet/"):
            self._xet(path.removeprefix("/xet/"))
        elif path == "/api/whoami-v2":
            self._whoami(token)
        elif path.startswith("/moved/"):
            self._json(self._listing())
        elif path.startswith("/api/models/"):
            self._model(path.removeprefix("/api/models/"))
        else:
            self._resolve(path, token)

    def _whoami(self, token: str) -> None:
        auth = {"accessToken": {"displayName": "box", "role": "read"}}
        if token == TOKEN:
            self._json({"name": "person", "type": "user", "auth": auth})
        else:
            self._refuse(401, message="Invalid user token.")

    def _resolve(self, path: str, token: str) -> None:
        hub = self.hub
        repo, _, rest = path.lstrip("/").partition("/resolve/")
        name = rest.partition("/")[2]
        if repo != hub.repo:
            self._refuse(401 if not token else 404, code="RepoNotFound")
        elif hub.needs_token and token != TOKEN:
            self._refuse(401, code="GatedRepo", message="Access to this model is restricted.")
        elif hub.needs_token and not hub.admitted:
            self._refuse(403, code="GatedRepo", message="Your request is awaiting review.")
        elif name not in hub.files:
            self._refuse(404, code="EntryNotFound")
        elif self.command == "GET" and hub.statuses:
            self._refuse(hub.statuses.pop(0))
        elif self.command == "GET" and hub.every_status:
            self._refuse(hub.every_status)
        elif hub.bytes_from and name.endswith(".safetensors"):
            self._redirect(name)
        else:
            self._file(name)

    def _model(self, rest: str) -> None:
        hub, repo = self.hub, rest.partition("/revision/")[0]
        if "/xet-read-token/" in rest:
            self._xet_token()
            return
        if hub.api_status:
            self._refuse(hub.api_status)
        elif hub.api_to:
            self._to(hub.api_to)
        elif hub.api_body:
            self._api_body()
        elif repo != hub.repo:
            self._refuse(401, code="RepoNotFound", message="Repository not found")
        else:
            self._json(self._listing())

    def _listing(self) -> dict[str, object]:
        hub = self.hub
        return {
            "id": hub.repo,
            "modelId": hub.repo,
            "sha": COMMIT,
            "private": False,
            "gated": "auto" if hub.gated else False,
            "tags": [f"license:{hub.licence}"],
            "cardData": {"license": hub.licence},
            "siblings": [hub.blob(name) for name in hub.files],
            **hub.said,
        }

    def _to(self, address: str) -> None:
        self.send_response(302)
        self.send_header("Location", address)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _api_body(self) -> None:
        hub = self.hub
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        if hub.api_encoding:
            self.send_header("Content-Encoding", hub.api_encoding)
        if not hub.api_endless:
            self.send_header("Content-Length", str(len(hub.api_body)))
        self.end_headers()
        self.close_connection = True
        with suppress(OSError):  # whoever asked has gone
            self.wfile.write(hub.api_body)
            while hub.api_endless:
                time.sleep(hub.slow_s)
                self.wfile.write(hub.api_body)

    def _file(self, name: str) -> None:
        hub, data = self.hub, self.hub.files[name]
        begin = 0
        asked = self.headers.get("Range", "")
        if asked.startswith("bytes=") and not hub.no_ranges:
            begin = int(asked.removeprefix("bytes=").partition("-")[0])
            if begin >= len(data):
                self._refuse(416)
                return
        body = data[begin:]
        if hub.corrupt:
            body = bytes(len(body))
        if hub.longer:
            body += b"more"
        if hub.shorter:
            body = body[:-10]
        self.send_response(206 if begin else 200)
        self._common()
        asked_before = sum(1 for _, path, _ in hub.requests if path.endswith(f"/{name}")) > 1
        etag = hub.late_etag if hub.late_etag and asked_before else hub.etag(name)
        self.send_header("ETag", f'"{etag}"')
        self.send_header("X-Linked-ETag", f'"{etag}"')
        self.send_header("X-Linked-Size", str(len(data)))
        if hub.xet and len(etag) == 64:
            self.send_header("X-Xet-Hash", etag)
            self.send_header("X-Xet-Refresh-Route", "http://127.0.0.1:9/elsewhere")
        self.send_header("Accept-Ranges", "bytes")
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{begin + len(body) - 1}/{begin + len(body)}")
        self.send_header("Content-Length", str(len(data) if self.command == "HEAD" else len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        cut = bool(hub.cut_after) and hub.cuts > 0 and len(body) > hub.cut_after
        if cut:
            hub.cuts -= 1
            body = body[: hub.cut_after]
        for at in range(0, len(body), 65536):
            try:
                self.wfile.write(body[at : at + 65536])
                self.wfile.flush()
            except OSError:  # whoever asked has gone
                self.close_connection = True
                return
            time.sleep(hub.slow_s)
        if cut:
            self.wfile.flush()
            self.close_connection = True

    def _xet_token(self) -> None:
        self.send_response(200)
        self.send_header("X-Xet-Cas-Url", self.hub.xet_at or f"{self.hub.address}/xet")
        self.send_header("X-Xet-Access-Token", "of-the-storage")
        self.send_header("X-Xet-Token-Expiration", str(int(time.time()) + 3600))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _xet(self, rest: str) -> None:
        """Where the chunks of a range lie, and the bytes of one stored object."""
        hub, asked = self.hub, self.headers.get("Range", "").removeprefix("bytes=").partition("-")
        kind, _, what = rest.partition("/")
        if kind == "v1":
            name = next(name for name in hub.files if hub.etag(name) == what.removeprefix("reconstructions/"))
            begin, end = int(asked[0]), min(int(asked[2]) + 1, len(hub.files[name]))
            first, last = begin // _CHUNK, -(-end // _CHUNK)
            terms, places = [], {}
            for at, xorb in enumerate(hub.xorbs(name)):
                begins, ends = (min(max(n - at * _CHUNKS, 0), _CHUNKS) for n in (first, last))
                if begins == ends:
                    continue
                key, chunks = f"{at:064x}", {"start": begins, "end": ends}
                size = min(ends * _CHUNK, len(hub.files[name]) - at * _CHUNK * _CHUNKS) - begins * _CHUNK
                terms.append({"hash": key, "unpacked_length": size, "range": chunks})
                span = {"start": begins * (_CHUNK + 8), "end": min(ends * (_CHUNK + 8), len(xorb)) - 1}
                places[key] = [{"range": chunks, "url": f"{hub.address}/xet/xorb/{at}/{name}", "url_range": span}]
            self._json({"offset_into_first_range": begin - first * _CHUNK, "terms": terms, "fetch_info": places})
        elif kind == "xorb" and hub.xet_cuts_after > 0:
            hub.xet_cuts_after -= 1
            time.sleep(hub.slow_s)
            at, _, name = what.partition("/")
            body = hub.xorbs(name)[int(at)][int(asked[0]) : int(asked[2]) + 1]
            self.send_response(206)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        else:
            self._refuse(404)

    def _redirect(self, name: str) -> None:
        hub = self.hub
        self.send_response(302)
        self._common()
        self.send_header("Location", f"{hub.bytes_from}/{hub.repo}/resolve/{COMMIT}/{name}")
        self.send_header("X-Linked-ETag", f'"{hub.etag(name)}"')
        self.send_header("X-Linked-Size", str(len(hub.files[name])))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _page(self, raw: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(raw)

    def _refuse(self, status: int, *, code: str = "", message: str = "") -> None:
        self.send_response(status)
        self._common()
        if code:
            self.send_header("X-Error-Code", code)
        if message:
            self.send_header("X-Error-Message", message)
        if self.hub.retry_after and status == 429:
            self.send_header("Retry-After", self.hub.retry_after)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _json(self, value: object) -> None:
        raw = json.dumps(value).encode()
        self.send_response(200)
        self._common()
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(raw)

    def _common(self) -> None:
        self.send_header("X-Repo-Commit", COMMIT)
