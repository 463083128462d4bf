"""What is believed of the hub's answers: so many bytes in so much time, from where it was asked, and names that are only names.

A mirror, a proxy or whoever stands between may answer in the hub's place. Where a file lies here is made of names that were
checked here, never of what an answer says.
"""

from __future__ import annotations

import re
import time
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from huggingface_hub import constants

from loratui.engine.cleaning import clean
from loratui.engine.limits import FOLDER_FILES
from loratui.engine.machine.hub_words import Failure
from loratui.engine.untrusted import leads_out
from loratui.engine.words import count

MOST_BYTES = 8_000_000
"""Of an answer that is no file: a list of 20 000 files has that many."""
MOST_SECONDS = 60.0
"""For the whole of such an answer."""
MOST_FILE_BYTES = 1 << 42
MOST_REDIRECTS = 5
FILE = "loratui_file"
"""Marks a request for the bytes of a file, which are counted and hashed as they come."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_ETAG = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_DEVICE = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")
_MOST_PARTS, _LONGEST_PART, _LONGEST_NAME = 8, 200, 400


def strange(what: str = "") -> Failure:
    """The failure for an answer that the hub would not give."""
    more = f" ({what})" if what else ""
    return Failure(
        "unavailable", f"{constants.ENDPOINT} does not answer as the hub does{more}.", "Check HF_ENDPOINT and your proxy."
    )


# ---- sizes, times and places


def bounded_client(make: Any) -> Any:
    """An HTTP client of the library's (`make()`), whose answers are held to the limits above."""
    client = make()
    hooks = client.event_hooks
    client.event_hooks = {"request": hooks.get("request", []), "response": [*hooks.get("response", []), _hold]}
    client.headers["accept-encoding"] = "identity"  # a small answer could unpack into a large one
    client.max_redirects = MOST_REDIRECTS
    return client


def _hold(response: Any) -> None:
    """Called with the head of every answer, before its body is read and before a redirect is followed."""
    is_file = FILE in response.request.extensions
    if response.has_redirect_location:
        # The head of a file says by a redirect that its bytes lie elsewhere; the library goes there only within the hub.
        _require_target(response, is_file=is_file or response.request.method == "HEAD")
    if response.headers.get("content-encoding", "identity").lower() not in ("identity", ""):
        raise strange("it compresses what was asked for as it is")
    if is_file and response.status_code < 300:
        return
    length = response.headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > MOST_BYTES and response.request.method != "HEAD":
        raise strange("its answer is too large")
    response.stream = _held(response.stream)


def _require_target(response: Any, *, is_file: bool) -> None:
    """Files come from other hosts, all else from where it was asked; never from a less private connection."""
    here = response.request.url
    there = here.join(response.headers["location"])
    to = urlsplit(str(there))
    if to.scheme not in ("http", "https") or (here.scheme == "https" and to.scheme != "https"):
        raise strange(f"it redirects to {clean(to.scheme, 20)}:")
    if not is_file and (there.scheme, there.host, there.port) != (here.scheme, here.host, here.port):
        raise strange(f"it redirects to {clean(to.hostname or '', 80)}")


def _held(stream: Any) -> Any:
    """`stream` with an end; the class is that of whichever HTTP library huggingface_hub uses."""
    base = next(kind for kind in type(stream).__mro__ if kind.__name__ == "SyncByteStream")
    until = time.monotonic() + MOST_SECONDS

    def parts(_: object) -> Iterator[bytes]:
        count = 0
        for part in stream:
            count += len(part)
            if count > MOST_BYTES:
                raise strange("its answer is too large")
            if time.monotonic() > until:
                raise strange("its answer does not end")
            yield part

    return type("Held", (base,), {"__iter__": parts, "close": lambda _: stream.close()})()


# ---- names and numbers


def commit_of(value: object) -> str:
    """The commit that an answer names. Raises `Failure`."""
    if not isinstance(value, str) or not _COMMIT.fullmatch(value):
        raise strange("it names no commit")
    return value


def etag_of(value: object) -> str:
    """What names a content: a SHA-256, or git's SHA-1. Raises `Failure`."""
    if not isinstance(value, str) or not _ETAG.fullmatch(value):
        raise strange("it names no content by its hash")
    return value


def size_of(value: object) -> int:
    """A file's bytes. Raises `Failure`."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST_FILE_BYTES:
        raise strange("it gives a file a size that none has")
    return value


def names_of(siblings: Mapping[str, Any]) -> list[str]:
    """Names of files that can be kept here. Raises `Failure` for one that leads elsewhere, and for too many."""
    if len(siblings) > FOLDER_FILES:
        raise strange(f"it lists {count(len(siblings), 'file')}")
    for name in siblings:
        if not isinstance(name, str) or leads_out(name) or "\\" in name:
            raise strange("a file's name leads elsewhere")
    return [name for name in siblings if is_name(name)]


def is_name(name: str) -> bool:
    """Whether a file can have this path below a snapshot: plain parts, none of them hidden to the eye or a device elsewhere."""
    parts = name.split("/")
    if len(name) > _LONGEST_NAME or len(parts) > _MOST_PARTS:
        return False
    return all(
        part not in ("", ".", "..")
        and len(part.encode("utf-8", "replace")) <= _LONGEST_PART
        and not _DEVICE.fullmatch(part)
        and not any(unicodedata.category(letter).startswith("C") for letter in part)
        and "\\" not in part
        for part in parts
    )


def require_name(name: object) -> str:
    """`name` if a file here can have it. Raises `Failure`."""
    if not isinstance(name, str) or not is_name(name):
        raise strange("a file's name leads elsewhere")
    return name


def words_of(value: object, most: int = 100) -> str:
    """A short text of an answer; empty for anything else."""
    return clean(value, most) if isinstance(value, str) else ""
