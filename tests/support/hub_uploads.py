"""A server on this machine that takes uploads as the Hugging Face hub does: with LFS for large files, the rest within the commit."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from hub_server import COMMIT, TOKEN, git_id


@dataclass
class Uploads:
    """What the server holds, and how it behaves."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    """As committed."""
    objects: dict[str, bytes] = field(default_factory=dict)
    """Large contents by their SHA-256."""
    damages: bool = False
    """A stored object gets other bytes, and the hub tells their hash."""
    made_private: bool | None = None
    holds: str = ""
    """The repository that exists before: `private` or `public`; empty for none."""


@contextmanager
def serve() -> Iterator[Uploads]:
    hub = Uploads()
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    http.daemon_threads = True
    hub.address = f"http://127.0.0.1:{http.server_address[1]}"
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield hub
    finally:
        http.shutdown()
        http.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Uploads
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Keeps the tests' output clean."""

    def do_GET(self) -> None:
        if self.hub.holds:
            self._json({"id": "owner/name", "private": self.hub.holds == "private", "sha": COMMIT, "siblings": []})
        else:
            self._json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})

    def do_PUT(self) -> None:
        data = self._body()
        oid = urlsplit(self.path).path.rpartition("/")[2]
        self.hub.objects[oid] = bytes(len(data)) if self.hub.damages else data
        self._json({})

    def do_POST(self) -> None:
        path, body = urlsplit(self.path).path, self._body()
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._json({"error": "no"}, 403)
        elif path == "/api/repos/create":
            asked = json.loads(body)
            self.hub.made_private = asked.get("private") is True or asked.get("visibility") == "private"
            self._json({"url": f"{self.hub.address}/owner/name"})
        elif path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif "/preupload/" in path:
            asked = json.loads(body)["files"]
            modes = [{"path": one["path"], "uploadMode": _mode(one["path"]), "shouldIgnore": False} for one in asked]
            self._json({"files": modes})
        elif path.endswith("/info/lfs/objects/batch"):
            objects = [
                {**one, "actions": {"upload": {"href": f"{self.hub.address}/lfs/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]
            self._json({"transfer": "basic", "objects": objects})
        elif "/commit/" in path:
            self._commit(body)
        elif "/paths-info/" in path:
            names = parse_qs(body.decode())["paths"]
            self._json([self._listed(name) for name in names if name in self.hub.files])
        else:
            self._json({"error": path}, 404)

    def _commit(self, body: bytes) -> None:
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                self.hub.files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                self.hub.files[value["path"]] = self.hub.objects[value["oid"]]
        self._json({"commitUrl": f"{self.hub.address}/owner/name/commit/{COMMIT}", "commitOid": COMMIT})

    def _listed(self, name: str) -> dict[str, object]:
        data = self.hub.files[name]
        row: dict[str, object] = {"type": "file", "path": name, "size": len(data), "oid": git_id(data)}
        if _mode(name) == "lfs":
            row["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
        return row

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _json(self, value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        raw = json.dumps(value).encode()
        self.send_response(status)
        for name, told in {"X-Repo-Commit": COMMIT, **(headers or {})}.items():
            self.send_header(name, told)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


def _mode(name: str) -> str:
    return "lfs" if name.endswith(".safetensors") else "regular"
