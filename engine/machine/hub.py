"""The Hugging Face hub. Downloads only of what was chosen and confirmed: look up, ask, fetch, resume, cancel; uploads at a run's end.

The package huggingface_hub is used in a child process (`hub_worker`): it takes long to import, and a process can be ended
at any moment. What arrived stays, and the next download goes on from there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loratui.engine import jobs
from loratui.engine.errors import DiskError, ExitCode, LoratuiError
from loratui.engine.limits import DISK_SPARE_BYTES, TINY_FILE_BYTES
from loratui.engine.machine.hub_cache import cache_folder, parse_id
from loratui.engine.untrusted import read_text
from loratui.engine.words import size

DEFAULT_ENDPOINT = "https://huggingface.co"
PATIENCE_S = 60.0
"""How long a download goes on trying while nothing arrives."""


class HubError(LoratuiError):
    """The hub cannot be reached, or refuses; `code` is a stable name of the reason."""

    exit_code = ExitCode.UNAVAILABLE

    def __init__(self, code: str, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.code = code


class HubNameError(HubError):
    """There is no such repository or file."""

    exit_code = ExitCode.USAGE


@dataclass(frozen=True)
class RemoteFile:
    """One file of a repository."""

    name: str
    bytes: int
    etag: str
    """SHA-256 of a large file, git's blob id of a small one."""
    cached: bool
    """Whether it is here already, whole."""
    partial_bytes: int = 0
    """What an earlier download left of it."""


@dataclass(frozen=True)
class DownloadPlan:
    """What a download would fetch, before anything is fetched."""

    repo: str
    commit: str
    files: tuple[RemoteFile, ...]
    licence: str
    gated: bool
    folder: str
    """Where the files will lie."""
    free_bytes: int
    """On that volume."""

    @property
    def total_bytes(self) -> int:
        """Of all files that are needed; files of one content count once, as they are kept once."""
        return sum(file.bytes for file in self._contents())

    @property
    def fetch_bytes(self) -> int:
        """What has yet to come."""
        return sum(file.bytes - file.partial_bytes for file in self._contents() if not file.cached)

    def _contents(self) -> Iterable[RemoteFile]:
        return {file.etag: file for file in self.files}.values()


@dataclass(frozen=True)
class Progress:
    """How far a download is."""

    done_bytes: int
    total_bytes: int
    bytes_per_s: float
    file: str
    note: str = ""
    """What it waits for, if it waits."""


@dataclass(frozen=True)
class Account:
    """Who a token belongs to."""

    name: str
    role: str
    """Of the token: `read`, `write`, `fineGrained`, or empty where the hub does not say."""
    from_environment: bool
    """Whether the token comes from HF_TOKEN and not from the store."""


def look_up(
    target: str,
    files: Sequence[str] = (),
    *,
    known: bool = False,
    revision: str = "",
    environ: Mapping[str, str] | None = None,
) -> DownloadPlan:
    """What has to be fetched of `owner/name` (or `owner/name/file`) to train on it; asks the hub, fetches nothing.

    Without `files` it is what a base model needs: no second formats, no duplicates. `known`: loratui itself names the files, of a
    model that is not trained on (`hub_choice.named`). `revision` is a commit; empty: the newest. Raises `HubError`.
    """
    named = parse_id(target)
    if named is None:
        raise HubNameError("name", f"{target}: not a name of a model on the hub.", "Names look like owner/name.")
    wanted = [*([named.file] if named.file else []), *files]
    request = {"command": "look_up", "repo": named.repo, "files": wanted, "known": known, "revision": revision}
    answer = _ask(request, environ)
    return DownloadPlan(**{**answer, "files": tuple(RemoteFile(**file) for file in answer["files"])})


def download(
    plan: DownloadPlan,
    *,
    progress: Callable[[Progress], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
    patience_s: float = PATIENCE_S,
    environ: Mapping[str, str] | None = None,
) -> Path | None:
    """Downloads the files of a plan and returns the folder; None if it was cancelled. Call it only when a person said yes.

    `progress` is called about five times a second. Raises `HubError`, and `DiskError` before the first byte if the
    volume is too small.
    """
    check_space(plan)
    request = {"command": "download", "plan": asdict(plan), "patience_s": patience_s}
    done = _ask(request, environ, progress=lambda told: progress(Progress(**told)), cancelled=cancelled)
    return Path(done["folder"]) if done else None


def upload(
    repo: str,
    paths: Mapping[str, Path],
    *,
    private: bool = True,
    message: str = "Add LoRA files (loratui)",
    cancelled: Callable[[], bool] = lambda: False,
    environ: Mapping[str, str] | None = None,
) -> dict[str, str] | None:
    """Uploads files, by their names in the repository, and returns the hash of each that the hub tells then: SHA-256 of a large file,
    git's name of the content of a small one; None if it was cancelled. A missing repository is made, `private` or not. Raises `HubError`."""
    request = {
        "command": "upload",
        "repo": repo,
        "paths": {name: str(path) for name, path in paths.items()},
        "private": private,
        "message": message,
    }
    told = _ask(request, environ, cancelled=cancelled)
    return None if told is None else {str(name): str(value) for name, value in told.items()}


def visibility(repo: str, *, environ: Mapping[str, str] | None = None) -> str:
    """What the hub says of a repository: `private`, `public`, or `missing`, which it also says of one that the token may not see."""
    return str(_ask({"command": "visibility", "repo": repo}, environ))


def check_space(plan: DownloadPlan) -> None:
    """Raises `DiskError` if the volume cannot hold what has yet to come."""
    needed = plan.fetch_bytes
    if needed and needed + DISK_SPARE_BYTES > plan.free_bytes:
        message = f"{plan.folder}: {size(plan.free_bytes)} are free, but the download needs {size(needed)}, and {size(DISK_SPARE_BYTES)} must stay free."
        raise DiskError(message, "Free some space, or set HF_HOME to a folder on a larger volume.")


def account(environ: Mapping[str, str] | None = None) -> Account | None:
    """Whose token is in use, as the hub says; None without a token. Raises `HubError` for one that the hub refuses."""
    answer = _ask({"command": "account"}, environ)
    return Account(**answer) if answer else None


def login(token: str, environ: Mapping[str, str] | None = None) -> Account:
    """Has the hub confirm a token and keeps it in huggingface_hub's own store. Raises `HubError` if it is refused."""
    return Account(**_ask({"command": "login", "token": token}, environ))


def logout(environ: Mapping[str, str] | None = None) -> bool:
    """Deletes the stored tokens; asks nobody. False if one from the environment is still in use."""
    return bool(_ask({"command": "logout"}, environ)["out"])


def has_token(environ: Mapping[str, str] | None = None) -> bool:
    """Whether there is a token, without asking the hub or importing its package."""
    env = os.environ if environ is None else environ
    if env.get("HF_TOKEN") or env.get("HUGGING_FACE_HUB_TOKEN"):
        return True
    path = Path(env["HF_TOKEN_PATH"]) if env.get("HF_TOKEN_PATH") else cache_folder(env).parent / "token"
    if env.get("HF_HUB_CACHE") and not env.get("HF_TOKEN_PATH"):
        path = cache_folder({**env, "HF_HUB_CACHE": ""}).parent / "token"
    try:
        return bool(read_text(path, TINY_FILE_BYTES).strip())
    except OSError:
        return False


def endpoint(environ: Mapping[str, str] | None = None) -> str:
    """The hub's address: HF_ENDPOINT, else huggingface.co."""
    env = os.environ if environ is None else environ
    return (env.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")


def _ask(
    request: Mapping[str, Any],
    environ: Mapping[str, str] | None,
    *,
    progress: Callable[[Any], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Any:
    """The answer to a request; None if it was cancelled.

    The request goes through a pipe, since a command line can be read by everybody on the machine.
    """
    try:
        return jobs.run("hub", request, progress=progress, cancelled=cancelled, environ=environ)
    except jobs.JobFailed as error:
        if error.code == "disk":
            raise DiskError(error.message, error.remedy) from None
        kind = HubNameError if error.code in ("name", "not_found") else HubError
        raise kind(error.code or "crashed", error.message, error.remedy) from None
    except jobs.JobDied as error:
        if error.late_s:
            message = f"{endpoint(environ)} does not answer: no data for {error.late_s:.0f} s."
            raise HubError(
                "network", message, "Check the network; what arrived is kept, and the same command goes on."
            ) from None
        raise HubError("crashed", error.message, "Try again; what arrived is kept.") from None
