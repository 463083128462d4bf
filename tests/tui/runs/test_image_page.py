"""The page for a browser: known images behind a token on loopback, and nothing else."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from loratui.tui.runs.image_page import ImagePage, Shown, render


@pytest.fixture
def page(tmp_path: Path) -> Iterator[ImagePage]:
    Image.new("RGB", (8, 8), "red").save(tmp_path / "a.png")
    (tmp_path / "secret.txt").write_text("secret")
    images = [
        Shown(tmp_path / "a.png", "<script>alert(1)</script>", "step 90"),
        Shown(tmp_path / "secret.txt", "b", "step 90"),
        Shown(tmp_path / "gone.png", "b", "step 180"),
    ]
    with ImagePage("anafox & co", images) as served:
        yield served


def _ask(page: ImagePage, path: str, method: str = "GET", host: str = "") -> tuple[int, str, bytes]:
    link = http.client.HTTPConnection("127.0.0.1", page.port, timeout=5)
    link.request(method, path, headers={"Host": host} if host else {})
    answer = link.getresponse()
    body = answer.read()
    link.close()
    return answer.status, answer.getheader("Content-Type") or "", body


def _raw(page: ImagePage, request: str) -> tuple[str, bytes]:
    """Head and body of the answer to these very bytes."""
    with socket.create_connection(("127.0.0.1", page.port), timeout=5) as link:
        link.sendall(request.encode("ascii"))
        answer = b"".join(iter(lambda: link.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.decode("ascii"), body


def _is_guarded(headers: str) -> None:
    for name in ("Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy", "Cache-Control"):
        assert f"\r\n{name}: " in headers


def _token(page: ImagePage) -> str:
    return page.url.rstrip("/").rsplit("/", 1)[1]


def test_the_page_and_its_images_are_served(page: ImagePage) -> None:
    status, kind, body = _ask(page, f"/{_token(page)}/")
    assert (status, kind) == (200, "text/html; charset=utf-8")
    assert b"anafox &amp; co" in body
    assert b"<script>" not in body
    status, kind, body = _ask(page, f"/{_token(page)}/p/0")
    assert (status, kind) == (200, "image/png")
    assert body.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/wrong/",
        "/{token}x/",
        "/{token}/p/1",
        "/{token}/p/2",
        "/{token}/p/3",
        "/{token}/p/-1",
        "/{token}/p/0/",
        "/{token}/p/../../etc/passwd",
        "/{token}/../../../../etc/passwd",
        "/{token}/p/%2e%2e/secret.txt",
        "/{token}/secret.txt",
        "/{token}/p/99999999999999999999",
        "/{token}/p/٣",
    ],
)
def test_nothing_else_is_there(page: ImagePage, path: str) -> None:
    wanted = path.format(token=_token(page)).encode("utf-8").decode("latin-1")
    with socket.create_connection(("127.0.0.1", page.port), timeout=5) as link:
        link.sendall(f"GET {wanted} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode("latin-1"))
        answer = b"".join(iter(lambda: link.recv(65536), b""))
    assert not answer.startswith(b"HTTP/1.1 200"), answer[:200]
    assert b"secret" not in answer
    assert b"root:" not in answer


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "NONSENSE"])
def test_other_methods_are_refused_in_plain_words(page: ImagePage, method: str) -> None:
    headers, body = _raw(page, f"{method} /{_token(page)}/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc")
    assert headers.startswith("HTTP/1.1 405 ")
    assert headers.count("HTTP/1.1") == 1
    assert "Allow: GET, HEAD" in headers
    assert body == b"only GET and HEAD\n"
    _is_guarded(headers)


def test_head_is_get_without_a_body(page: ImagePage) -> None:
    for path in (f"/{_token(page)}/", f"/{_token(page)}/p/0", "/wrong/"):
        status, kind, body = _ask(page, path, "HEAD")
        assert (status, kind) == _ask(page, path)[:2]
        assert body == b""


def test_without_the_last_slash_it_leads_to_the_page(page: ImagePage) -> None:
    headers, _ = _raw(page, f"GET /{_token(page)} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert headers.startswith("HTTP/1.1 308 ")
    assert f"\r\nLocation: /{_token(page)}/\r\n" in headers


@pytest.mark.parametrize(
    "request_line", ["POST /wrong/ HTTP/1.1", "HEAD /wrong HTTP/1.1", "GET / x y HTTP/1.1", "GET /" + "a" * 70_000]
)
def test_without_the_token_nothing_is_said(page: ImagePage, request_line: str) -> None:
    headers, body = _raw(page, f"{request_line}\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert headers.startswith("HTTP/1.1 404 ")
    assert b"<" not in body
    assert "Python" not in headers
    _is_guarded(headers)


def test_another_host_name_is_refused_so_that_no_foreign_page_can_reach_it(page: ImagePage) -> None:
    assert _ask(page, f"/{_token(page)}/", host="evil.example:80")[0] == 404
    assert _ask(page, f"/{_token(page)}/", host="localhost:8765")[0] == 200


def test_it_listens_on_loopback_alone_and_not_after_it_is_closed(page: ImagePage) -> None:
    assert page._server.server_address[0] == "127.0.0.1"
    page.close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", page.port), timeout=2)


def test_a_browser_that_sends_rubbish_or_nothing_is_no_fault(page: ImagePage, capfd: pytest.CaptureFixture[str]) -> None:
    for rubbish in (b"", b"\x00\xff\xfe\r\n\r\n", b"GET " + b"/" * 70_000 + b" HTTP/1.1\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", page.port), timeout=5) as link:
            link.sendall(rubbish)
    assert _ask(page, f"/{_token(page)}/")[0] == 200
    assert capfd.readouterr() == ("", "")


def test_tokens_differ(tmp_path: Path) -> None:
    with ImagePage("a", []) as one, ImagePage("a", []) as other:
        assert _token(one) != _token(other)
        assert len(_token(one)) >= 32


def test_an_image_missing_in_the_table_leaves_a_blank() -> None:
    images = [Shown(Path("a"), "p", "1"), Shown(Path("b"), "q", "2")]
    assert render("t", images).count("<img") == 2
