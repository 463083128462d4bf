"""One request over HTTP: bounded in time and size, never redirected, and its address in no message."""

from __future__ import annotations

import http.client
import ipaddress
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any, Protocol
from urllib.parse import urlsplit

from loratui.engine.cleaning import clean
from loratui.engine.limits import TINY_FILE_BYTES
from loratui.engine.machine.addresses import blotted
from loratui.engine.words import both_ends

TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    """Of HTTP; 0 where there was no answer."""
    words: str
    """The beginning of the body, or why there was no answer; without secrets."""
    body: bytes = b""
    """As much of it as was asked for."""
    whole: bool = True
    """Whether the body is no longer than that."""
    retry_after_s: float = 0.0
    """How long the server asks to wait before the next request; 0: it does not say."""

    @property
    def good(self) -> bool:
        """Whether the request was carried out."""
        return 200 <= self.status < 300

    @property
    def passing(self) -> bool:
        """Whether the same request may be carried out later."""
        return self.status in (0, 408, 429) or self.status >= 500

    @property
    def problem(self) -> str:
        """What went wrong, in words."""
        return f"HTTP {self.status}: {self.words}".rstrip(": ") if self.status else self.words


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A key must not be sent on to wherever an answer points."""

    def redirect_request(self, req: Any, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str) -> None:
        del req, fp, code, msg, headers, newurl


def request(
    method: str,
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    timeout_s: float = TIMEOUT_S,
    most: int = TINY_FILE_BYTES,
) -> Answer:
    """Sends a request and returns the answer, whatever goes wrong. `most` is how many bytes of it are read.

    What is asked of this machine itself goes through no proxy.
    """
    try:
        if not url.startswith(("https://", "http://")):
            return Answer(400, "the address does not begin with https://")
        proxies = (urllib.request.ProxyHandler({}),) if is_here(url) else ()
        asked = urllib.request.Request(url, body, dict(headers), method=method)  # noqa: S310 - the scheme was looked at
        until = time.monotonic() + timeout_s
        try:
            opened = urllib.request.build_opener(_NoRedirect, *proxies).open(asked, timeout=timeout_s)
        except urllib.error.HTTPError as error:
            opened = error
        with opened as answer:
            return _answer(answer, most, until)
    except (OSError, ssl.SSLError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        return Answer(0, f"no answer: {blotted(str(reason))}")
    except (ValueError, UnicodeError):
        return Answer(400, "the address cannot be used")


def is_here(url: str) -> bool:
    """Whether an address is this machine itself."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or (address := ipaddress.ip_address(host)).is_loopback or address.is_unspecified
    except ValueError:
        return False


class _Response(Protocol):
    """What urllib gives for an answer, also for one that says what went wrong."""

    status: int
    headers: Any

    def read1(self, amount: int, /) -> bytes:
        """What has arrived."""


def _answer(response: _Response, most: int, until: float) -> Answer:
    """Raises `TimeoutError` for a body that comes in drops and does not end in time."""
    parts: list[bytes] = []
    left = most + 1
    while left > 0 and (part := response.read1(left)):
        parts.append(part)
        left -= len(part)
        if time.monotonic() > until:
            raise TimeoutError("the answer does not end")
    body = b"".join(parts)[:most]
    after = str(response.headers.get("Retry-After", ""))
    return Answer(response.status, _shown(body[:TINY_FILE_BYTES]), body, left > 0, float(after) if after.isdecimal() else 0.0)


def _shown(body: bytes) -> str:
    return both_ends(clean(blotted(body.decode("utf-8", "replace"))).strip(), 300)
