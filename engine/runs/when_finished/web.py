"""One request over HTTP for an action: bounded in time and size, never redirected, and its address in no message."""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

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


def request(method: str, url: str, body: bytes, headers: Mapping[str, str], timeout_s: float = TIMEOUT_S) -> Answer:
    """Sends a request and returns the answer, whatever goes wrong."""
    try:
        if not url.startswith(("https://", "http://")):
            return Answer(400, "the address does not begin with https://")
        asked = urllib.request.Request(url, body, dict(headers), method=method)  # noqa: S310 - the scheme was looked at
        with urllib.request.build_opener(_NoRedirect).open(asked, timeout=timeout_s) as answer:
            return Answer(answer.status, _shown(answer.read(TINY_FILE_BYTES)))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, _shown(error.read(TINY_FILE_BYTES)))
    except (OSError, ssl.SSLError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        return Answer(0, f"no answer: {blotted(str(reason))}")
    except (ValueError, UnicodeError):
        return Answer(400, "the address cannot be used")


def _shown(body: bytes) -> str:
    return both_ends(clean(blotted(body.decode("utf-8", "replace"))).strip(), 300)
