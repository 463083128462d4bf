"""The job that talks to the hub."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, get_token, hf_hub_url, set_client_factory
from huggingface_hub.errors import RepositoryNotFoundError
from huggingface_hub.utils._http import default_client_factory  # the only name for the library's own client

from loratui.engine.job_child import Answer, Parent
from loratui.engine.machine import hub_answers, hub_fetch, hub_upload
from loratui.engine.machine.hub import RemoteFile
from loratui.engine.machine.hub_choice import NotChosen, choose, named
from loratui.engine.machine.hub_fetch import blob_of, folder_name, partial_of, patiently, snapshot_of
from loratui.engine.machine.hub_words import Failure, explain

ASKING_S = 20.0
"""How long a question is tried again."""
_UNLIKE_THE_HUB = (AttributeError, IndexError, KeyError, TypeError, ValueError, RecursionError)
"""What the library raises for answers of another shape."""


def begin(parent: Parent) -> Answer:
    """Answers requests of `hub`."""
    set_client_factory(_client)
    return lambda request: _answer(request, parent)


def _answer(request: Mapping[str, Any], parent: Parent) -> Any:
    """Raises `Failure`, whatever the libraries raise."""
    repo = request.get("repo") or request.get("plan", {}).get("repo", "")
    fetching, uploading = request["command"] == "download", request["command"] == "upload"
    try:
        if request["command"] != "logout":
            _require_token(request.get("token") or _token())
        if fetching:
            return hub_fetch.download(request, parent.progress)
        return hub_upload.upload(request, parent.progress) if uploading else ANSWERS[request["command"]](request)
    except Exception as error:  # whatever the libraries raise becomes words
        token = request.get("token") or _token()
        if uploading:
            failure = hub_upload.explained(error, repo, constants.ENDPOINT, token=bool(token))
        else:
            failure = explain(error, repo, constants.ENDPOINT, token=bool(token), fetching=fetching)
        raise Failure(failure.code, failure.message.replace(token, "…") if token else failure.message, failure.remedy) from None


def _client() -> Any:
    client = hub_answers.bounded_client(default_client_factory)
    client.timeout = hub_fetch.TIMEOUT_S  # the library waits without end where it is given no time
    return client


def _asked(question: Callable[[], Any], patience_s: float) -> Any:
    """The answer to a question, tried for a while. Raises `Failure` for one of another shape than the hub's."""
    with _shaped():
        return patiently(question, patience_s, lambda _: None)


@contextlib.contextmanager
def _shaped() -> Iterator[None]:
    """Turns what is raised for an answer of another shape than the hub's into a `Failure`."""
    try:
        yield
    except (Failure, OSError):
        raise
    except _UNLIKE_THE_HUB as error:
        if hasattr(error, "response") or "proxy" in str(error).lower():  # a refusal by its status, or no answer at all
            raise
        raise hub_answers.strange() from error


def _require_token(token: str) -> None:
    """A token goes into a header, which takes no other characters."""
    if re.fullmatch(r"[!-~]*", token) is None:
        raise Failure(
            "login",
            "The token holds characters that no token has.",
            f"Copy it again from {constants.ENDPOINT}/settings/tokens, then: loratui login. One in HF_TOKEN comes first.",
        )


def look_up(request: Mapping[str, Any]) -> dict[str, Any]:
    """What `hub.DownloadPlan` holds."""
    repo = request["repo"]
    revision = request.get("revision") or None
    info = _asked(lambda: HfApi().model_info(repo, revision=revision, files_metadata=True, timeout=hub_fetch.TIMEOUT_S), 0.0)
    commit = hub_answers.commit_of(info.sha)
    with _shaped():
        siblings = {file.rfilename: file for file in info.siblings or []}
        known, licence = hub_answers.names_of(siblings), _licence(info)
    try:
        names = (named if request.get("known") else choose)(known, request["files"])
    except NotChosen as error:
        raise Failure("name", f"{repo}: {error.message}", error.remedy) from None
    files = [_remote(repo, commit, siblings[name]) for name in names]
    _knock(repo, commit, files)
    folder = Path(constants.HF_HUB_CACHE) / folder_name(repo)
    existing = next(p for p in (folder, *folder.parents) if os.path.lexists(p))
    if not all(file.cached for file in files):
        _require_place(existing)
    return {
        "repo": repo,
        "commit": commit,
        "files": [asdict(file) for file in files],
        "licence": licence,
        "gated": bool(info.gated),
        "folder": str(folder),
        "free_bytes": shutil.disk_usage(existing).free,
    }


def _require_place(folder: Path) -> None:
    """Raises `OSError` for a place in which nothing can be kept, before anybody confirms a download."""
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "", str(folder))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "", str(folder))


def _licence(info: Any) -> str:
    """What the card says, else a tag."""
    card = hub_answers.words_of(info.card_data.get("license") if info.card_data else None)
    tags = (hub_answers.words_of(tag) for tag in (info.tags or [])[:1000])
    return card or next((tag.removeprefix("license:") for tag in tags if tag.startswith("license:")), "")


def _remote(repo: str, commit: str, sibling: Any) -> RemoteFile:
    """What is known of one file; mirrors that list no sizes are asked for each file."""
    name = hub_answers.require_name(sibling.rfilename)
    etag, count = (sibling.lfs.sha256 if sibling.lfs else sibling.blob_id), sibling.size
    if not etag or count is None:
        head = _head(repo, commit, name)
        etag, count = head.etag, head.size
    if not etag or count is None:
        message = f"{constants.ENDPOINT} does not say how large {repo}/{name} is."
        raise Failure("unavailable", message, "Try again later, or without HF_ENDPOINT if it is set.")
    etag, count = hub_answers.etag_of(etag), hub_answers.size_of(count)
    blob = blob_of(repo, etag)
    here = blob.exists() or (snapshot_of(repo, commit) / name).exists()
    partial = partial_of(blob)
    left = min(count, partial.stat().st_size) if partial.exists() else 0
    return RemoteFile(name, count, etag, here, left)


def _head(repo: str, commit: str, name: str) -> Any:
    url = hf_hub_url(repo, name, revision=commit)
    return _asked(lambda: HfApi().get_hf_file_metadata(url=url, timeout=hub_fetch.TIMEOUT_S), ASKING_S)


def _knock(repo: str, commit: str, files: list[RemoteFile]) -> None:
    """Asks for the largest file's head, so that a gate is known of before anybody confirms a download."""
    if files and not all(file.cached for file in files):
        _head(repo, commit, max(files, key=lambda file: file.bytes).name)


def _token() -> str:
    try:
        return get_token() or ""
    except OSError:  # a store that cannot be read is none
        return ""


def account(request: Mapping[str, Any]) -> dict[str, Any] | None:
    """What `hub.Account` holds; None without a token."""
    del request
    token = _token()
    return _who(token, from_environment=token in _environment_tokens()) if token else None


def login(request: Mapping[str, Any]) -> dict[str, Any]:
    """Checks a token and keeps it, by the library's own hand, which asks once more."""
    from huggingface_hub import login as keep

    found = _who(request["token"], from_environment=False)
    _asked(lambda: keep(request["token"], add_to_git_credential=False), ASKING_S)
    return {**found, "from_environment": bool(_environment_tokens())}


def visibility(request: Mapping[str, Any]) -> str:
    """What `hub.visibility` gives."""
    try:
        info = _asked(lambda: HfApi().model_info(request["repo"], timeout=hub_fetch.TIMEOUT_S), ASKING_S)
    except RepositoryNotFoundError:
        return "missing"
    return "private" if info.private else "public"


def logout(request: Mapping[str, Any]) -> dict[str, Any]:
    """Deletes the stored tokens."""
    from huggingface_hub import logout as forget

    del request
    if not _environment_tokens():
        forget()
        return {"out": True}
    for path in (constants.HF_TOKEN_PATH, constants.HF_STORED_TOKENS_PATH):
        Path(path).unlink(missing_ok=True)
    return {"out": False}


def _who(token: str, *, from_environment: bool) -> dict[str, Any]:
    found = _asked(lambda: HfApi().whoami(token), ASKING_S)
    try:
        name, role = found.get("name"), ((found.get("auth") or {}).get("accessToken") or {}).get("role")
    except AttributeError:
        raise hub_answers.strange() from None
    return {"name": hub_answers.words_of(name), "role": hub_answers.words_of(role), "from_environment": from_environment}


def _environment_tokens() -> list[str]:
    return [os.environ[name] for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN") if os.environ.get(name)]


ANSWERS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "look_up": look_up,
    "account": account,
    "login": login,
    "logout": logout,
    "visibility": visibility,
}
