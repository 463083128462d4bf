"""Uploads files to a repository of the hub, by the library's own client, and asks what the hub holds then."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.hf_api import RepoFile

from loratui.engine.machine.hub_words import Failure, explain, status_of

_TELL_EVERY_S = 5.0
"""A large file takes long, and whoever waits must hear that it goes on."""


def upload(request: Mapping[str, Any], tell: Callable[[Any], object]) -> dict[str, str]:
    """Path in the repository -> SHA-256 of a large file, git's name of the content of a small one, as the hub says after the upload.

    A missing repository is made, `private` or not. Raises what the library raises.
    """
    done = threading.Event()

    def beat() -> None:
        while not done.wait(_TELL_EVERY_S):
            tell({"uploading": request["repo"]})

    threading.Thread(target=beat, name="tell that it goes on", daemon=True).start()
    try:
        return _upload(request)
    finally:
        done.set()


def _upload(request: Mapping[str, Any]) -> dict[str, str]:
    api, repo, paths = HfApi(), request["repo"], request["paths"]
    api.create_repo(repo, private=request["private"], exist_ok=True)
    operations = [CommitOperationAdd(name, path) for name, path in paths.items()]
    api.create_commit(repo, operations, commit_message=request["message"])
    found = [one for one in api.get_paths_info(repo, list(paths)) if isinstance(one, RepoFile)]
    return {one.path: one.lfs.sha256 if one.lfs else one.blob_id for one in found}


def explained(error: BaseException, repo: str, endpoint: str, *, token: bool) -> Failure:
    """The failure of an upload that a person should read."""
    if status_of(error) in (401, 403):
        code, message = "login", f"{repo}: your token may not write there." if token else "There is no token of the hub."
        return Failure(code, message, f"Make one with the right to write at {endpoint}/settings/tokens, then: loratui login.")
    found = explain(error, repo, endpoint, token=token, fetching=False)
    if found.code == "crashed":
        return Failure("crashed", f"The upload failed: {type(error).__name__}: {error}", "Try again.")
    return found
