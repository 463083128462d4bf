"""What went wrong with the hub, in words that say what to do: gates, tokens, names, limits, networks, disks."""

from __future__ import annotations

import errno
import json
import os
import re
from typing import Any

from huggingface_hub import errors as hub

from loratui.engine.errors import ExitCode, LoratuiError
from loratui.engine.secrecy import hidden

# The hub's library has this name without listing it.
NETWORK_ERRORS: tuple[type[BaseException], ...] = (hub.HTTPError, ConnectionError, TimeoutError)  # type: ignore[attr-defined]
"""What a connection raises; the hub's own refusals are among them and have a status."""


DISK_ERRORS = frozenset(
    {
        errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.EISDIR,
        errno.ELOOP, errno.ENAMETOOLONG, errno.EIO,
    }
)  # fmt: skip
"""What a place says in which nothing can be kept."""


class Failure(LoratuiError):
    """A reason by its stable name, in words, with what to do."""

    exit_code = ExitCode.UNAVAILABLE

    def __init__(self, code: str, message: str, remedy: str = "") -> None:
        super().__init__(hidden(message), hidden(remedy))
        self.code = code


def status_of(error: BaseException) -> int | None:
    """The HTTP status of a refusal; None for anything else."""
    code = getattr(getattr(error, "response", None), "status_code", None)
    return code if isinstance(code, int) else None


def wait_of(error: BaseException, otherwise_s: float) -> float:
    """Seconds that a refusal asks to wait."""
    headers: Any = getattr(getattr(error, "response", None), "headers", {})
    limit = re.search(r"\bt=(\d+)", headers.get("ratelimit", "") or "")
    said = headers.get("retry-after", "") or (limit[1] if limit else "")
    return min(600.0, float(said)) if re.fullmatch(r"\d+(\.\d+)?", said) else otherwise_s


def is_passing(error: BaseException) -> bool:
    """Whether trying again may help: a lost connection, a busy hub."""
    status = status_of(error)
    if status is not None:
        return status in (408, 429) or status >= 500
    return isinstance(error, NETWORK_ERRORS)


def explain(error: BaseException, repo: str, endpoint: str, *, token: bool, fetching: bool = True) -> Failure:
    """The failure that a person should read; `token` says whether one was sent, `fetching` whether files may have arrived."""
    if isinstance(error, Failure):
        return error
    cause = error.__cause__ if isinstance(error, LoratuiError) else error  # a lasting write tells what the system said
    if isinstance(cause, OSError) and (cause is not error or cause.errno in DISK_ERRORS):
        where = f" to {cause.filename}" if cause.filename else ""
        return Failure("disk", f"The download cannot be written{where}: {cause.strerror}.",
                       "Free some space, or set HF_HOME to a folder on another volume; what arrived is kept.")  # fmt: skip
    if isinstance(error, hub.OfflineModeIsEnabled):
        return Failure("offline", "HF_HUB_OFFLINE is set, so nothing is fetched.", "Unset it to download.")
    page, kept = f"{endpoint}/{repo}" if repo else endpoint, "; what arrived is kept" if fetching else ""
    status = status_of(error)
    if isinstance(error, hub.GatedRepoError) or (status == 403 and repo):
        return _gate(repo, page, endpoint, token=token)
    if isinstance(error, (hub.RemoteEntryNotFoundError, hub.RevisionNotFoundError)):
        return Failure(
            "not_found", f"{repo}: the hub no longer has this file.", "Run the download again: it asks the hub again."
        )
    if isinstance(error, hub.RepositoryNotFoundError):
        hint = "" if token else " If it is private, sign in first: loratui login."
        return Failure("not_found", f"{repo}: the hub has no model of this name.", f"Check the spelling on {endpoint}.{hint}")
    if isinstance(error, hub.DisabledRepoError):
        return Failure("refused", f"{repo}: the hub has disabled this model.", "Choose another base.")
    if status == 401:
        return Failure("login", "The hub does not accept your token: it was revoked, has expired or was cut.",
                       f"Make a new one with the right to read at {endpoint}/settings/tokens, then: loratui login.")  # fmt: skip
    if status == 403:
        return Failure("login", "Your token may not do this.", f"Give it the right to read at {endpoint}/settings/tokens.")
    if status == 404:
        return Failure("not_found", f"{page}: there is nothing.", "Check the name, and HF_ENDPOINT if it is set.")
    if status == 429:
        more = "" if token else " Signed-in users may ask more: loratui login."
        return Failure("limit", "The hub has had too many requests from this address.", f"Try again in some minutes.{more}")
    if status is not None:
        return Failure("unavailable", f"{endpoint} has trouble (HTTP {status}).", f"Try again later{kept}.")
    if isinstance(error, (ValueError, ImportError)) and "proxy" in str(error).lower():
        return Failure("network", f"The proxy that is set cannot be used: {str(error).rstrip('.')}.",
                       "Set HTTPS_PROXY to http://HOST:PORT, or unset it and ALL_PROXY.")  # fmt: skip
    if isinstance(error, (hub.FileMetadataError, json.JSONDecodeError)):
        return Failure("unavailable", f"{endpoint} does not answer as the hub does.", "Check HF_ENDPOINT and your proxy.")
    if isinstance(error, NETWORK_ERRORS):
        return _network(endpoint, fetching=fetching)
    return Failure("crashed", f"The download failed: {type(error).__name__}: {error}", f"Try again{kept}.")


def _gate(repo: str, page: str, endpoint: str, *, token: bool) -> Failure:
    if not token:
        message = f"{repo} has terms that must be accepted by a signed-in account."
        remedy = (
            f"Accept them at {page}, make a token with the right to read at {endpoint}/settings/tokens, then: loratui login."
        )
    else:
        message = (
            f"{repo} does not let your account in: its terms are not accepted yet, or your token may not read gated models."
        )
        remedy = f"Accept the terms at {page} (some are granted by hand), and check your token at {endpoint}/settings/tokens."
    return Failure("gated", message, remedy)


def _network(endpoint: str, *, fetching: bool) -> Failure:
    proxy = next(
        (os.environ[n] for n in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HTTP_PROXY", "http_proxy") if os.environ.get(n)),
        "",
    )
    through = f" through the proxy {proxy}" if proxy else ""
    remedy = "Check the network of this machine" + (" and the proxy." if proxy else ".")
    remedy += " What arrived is kept; the same command goes on." if fetching else ""
    return Failure("network", f"{endpoint} cannot be reached{through}.", remedy)
