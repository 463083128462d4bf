"""The bytes of a file from the hub's Xet storage, which the library hf_xet fetches in many parts at once.

They come in order and from any byte on, so that a download is counted, bounded, checked and resumed as any other; the library's
own download of a file begins anew after each cut. Whatever goes wrong here, the plain download goes on from the same byte.
"""

from __future__ import annotations

import functools
import queue
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from huggingface_hub import HfApi, constants, get_session, hf_hub_url
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]  # its own front door

from loratui.engine.machine.hub import RemoteFile

LEAST_BYTES = 8_000_000
"""Of a smaller file; asking where it lies takes as long as fetching it."""
TIMEOUT_S = 30.0
_SETTINGS = {
    "telemetry.enabled": False,
    # The library's own buffers, up to 6 GB, are more than many a container has.
    "reconstruction.download_buffer_size": 256_000_000,
    "reconstruction.download_buffer_perfile_size": 64_000_000,
    "reconstruction.download_buffer_limit": 512_000_000,
    "reconstruction.min_prefetch_buffer": 64_000_000,
}
_AHEAD = 2
"""Pieces that wait to be written; one has 64 MB at most."""


@dataclass(frozen=True)
class XetFile:
    """A file in Xet storage."""

    group: Any
    """The library's connection to the storage."""
    info: Any

    def pieces(self, have: int, silence_s: float, stopped: threading.Event) -> Generator[bytes, None, None]:
        """The bytes from `have` on, until `stopped`. Raises `TimeoutError` after `silence_s` without any, and what the library raises."""
        stream = self.group.download_stream(self.info, start=have)
        arrived: queue.Queue[bytes | Exception] = queue.Queue(_AHEAD)
        threading.Thread(target=_fetch, args=(stream, arrived), daemon=True).start()
        last = time.monotonic()
        try:
            while not stopped.is_set():
                try:
                    piece = arrived.get(timeout=0.2)
                except queue.Empty:
                    if time.monotonic() - last > silence_s:
                        raise TimeoutError("nothing arrives from Xet storage") from None
                    continue
                if isinstance(piece, Exception):
                    raise piece
                if not piece:
                    return
                yield piece
                last = time.monotonic()
        finally:
            stream.cancel()


def _fetch(stream: Any, arrived: queue.Queue[bytes | Exception]) -> None:
    """Puts the pieces of a stream into a queue, and at its end nothing or what went wrong."""
    try:
        for piece in stream:
            arrived.put(bytes(piece))
        arrived.put(b"")
    except Exception as error:  # raised again where the pieces are taken
        arrived.put(error)


def look_up(repo: str, commit: str, file: RemoteFile) -> XetFile | None:
    """Where a file lies in Xet storage; None where the hub does not keep it there or the library is not installed."""
    if file.bytes < LEAST_BYTES or constants.HF_HUB_DISABLE_XET:
        return None
    try:
        url = hf_hub_url(repo, file.name, revision=commit)
        kept = HfApi().get_hf_file_metadata(url=url, timeout=TIMEOUT_S).xet_file_data
        return None if kept is None else _connected(repo, commit, kept.file_hash, file.bytes)
    except Exception:  # no such library, or no such answer; the plain download asks again, and says what is wrong
        return None


def _connected(repo: str, commit: str, file_hash: str, size: int) -> XetFile | None:
    from hf_xet import XetFileInfo

    # Made of names that were checked, not of where an answer says that tokens are given out.
    route = f"{constants.ENDPOINT}/api/models/{repo}/xet-read-token/{commit}"
    headers = build_hf_headers()
    answer = get_session().get(route, headers=headers, timeout=TIMEOUT_S)
    hf_raise_for_status(answer)
    storage = answer.headers[constants.HUGGINGFACE_HEADER_X_XET_ENDPOINT]
    if urlsplit(storage).scheme not in {"https", urlsplit(constants.ENDPOINT).scheme}:
        return None
    group = _session().new_download_stream_group(
        endpoint=storage,
        token=answer.headers[constants.HUGGINGFACE_HEADER_X_XET_ACCESS_TOKEN],
        token_expiry_unix_secs=int(answer.headers[constants.HUGGINGFACE_HEADER_X_XET_EXPIRATION]),
        token_refresh_url=route,
        token_refresh_headers=headers,
        custom_headers={name: value for name, value in headers.items() if name.lower() != "authorization"},
    )
    return XetFile(group, XetFileInfo(file_hash, size))


@functools.cache
def _session() -> Any:
    from hf_xet import XetConfig, XetSession

    return XetSession(XetConfig().with_config(_SETTINGS))
