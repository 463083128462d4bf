"""The process that talks to the hub: one request on stdin, answers as JSON lines on stdout."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import hashlib
import json
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, get_session, get_token, hf_hub_download, hf_hub_url
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]  # its own front door

from loratui.engine.machine.hub import RemoteFile
from loratui.engine.machine.hub_choice import NotChosen, choose
from loratui.engine.machine.hub_words import Failure, explain, is_passing, wait_of
from loratui.engine.untrusted import open_regular, parse_json

CHUNK_BYTES = 1 << 20
TIMEOUT_S = 30.0
ASKING_S = 20.0
"""How long a question is tried again."""
CONNECTIONS = 4
"""Files that are fetched at once."""
_MISMATCH = "Try again later; a proxy or mirror may be changing files."
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 30.0


def main() -> int:
    """Answers one request; returns 0, or 1 if it failed."""
    os.umask(0o077)
    request = parse_json(sys.stdin.readline())
    repo = request.get("repo") or request.get("offer", {}).get("repo", "")
    try:
        if request["command"] != "logout":
            get_session().timeout = TIMEOUT_S  # the library waits without end where it is given no time
            _require_token(request.get("token") or _token())
        say("done", ANSWERS[request["command"]](request))
    except Exception as error:  # whatever the libraries raise becomes words
        token = request.get("token") or _token()
        failure = explain(error, repo, constants.ENDPOINT, token=bool(token), fetching=request["command"] == "download")
        message = failure.message.replace(token, "…") if token else failure.message
        say("failed", {"code": failure.code, "message": message, "remedy": failure.remedy})
        return 1
    return 0


def _require_token(token: str) -> None:
    """A token goes into a header, which takes no other characters."""
    if re.fullmatch(r"[!-~]*", token) is None:
        raise Failure(
            "login",
            "The token holds characters that no token has.",
            f"Copy it again from {constants.ENDPOINT}/settings/tokens, then: loratui login. One in HF_TOKEN comes first.",
        )


_speaking = threading.Lock()


def say(type: str, content: Any) -> None:
    """One line for the parent."""
    with _speaking:
        try:
            sys.stdout.write(json.dumps({"type": type, "is": content}) + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            os._exit(1)  # the parent is gone, from whichever thread it shows; what arrived is on the disk


def look_up(request: Mapping[str, Any]) -> dict[str, Any]:
    """What `hub.Offer` holds."""
    repo = request["repo"]
    info = HfApi().model_info(repo, files_metadata=True, timeout=TIMEOUT_S)
    _require_name(info.sha or "main")
    siblings = {file.rfilename: file for file in info.siblings or []}
    try:
        names = choose(list(siblings), request["files"])
    except NotChosen as error:
        raise Failure("name", f"{repo}: {error.message}", error.remedy) from None
    files = [_remote(repo, info.sha or "main", siblings[name]) for name in names]
    _knock(repo, info.sha or "main", files)
    folder = Path(constants.HF_HUB_CACHE) / _folder(repo)
    existing = next(p for p in (folder, *folder.parents) if os.path.lexists(p))
    if not all(file.cached for file in files):
        _require_place(existing)
    card = info.card_data.get("license") if info.card_data else None
    return {
        "repo": repo,
        "commit": info.sha or "",
        "files": [asdict(file) for file in files],
        "licence": str(card or next((t.removeprefix("license:") for t in info.tags or [] if t.startswith("license:")), "")),
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


def _require_inside(name: str) -> None:
    """Names of files become paths below the snapshot, and a server must not choose others."""
    if name.startswith("/") or "\\" in name or ".." in name.split("/"):
        raise Failure(
            "unavailable", f"{constants.ENDPOINT} does not answer as the hub does.", "Check HF_ENDPOINT and your proxy."
        )


def _remote(repo: str, commit: str, sibling: Any) -> RemoteFile:
    """What is known of one file; mirrors that list no sizes are asked for each file."""
    _require_inside(sibling.rfilename)
    etag, count = (sibling.lfs.sha256 if sibling.lfs else sibling.blob_id), sibling.size
    if not etag or count is None:
        head = _head(repo, commit, sibling.rfilename)
        etag, count = head.etag, head.size
    if not etag or count is None:
        message = f"{constants.ENDPOINT} does not say how large {repo}/{sibling.rfilename} is."
        raise Failure("unavailable", message, "Try again later, or without HF_ENDPOINT if it is set.")
    _require_name(etag)
    blob = _blob(repo, etag)
    here = blob.exists() or (Path(constants.HF_HUB_CACHE) / _folder(repo) / "snapshots" / commit / sibling.rfilename).exists()
    partial = _partial(blob)
    left = min(count, partial.stat().st_size) if partial.exists() else 0
    return RemoteFile(sibling.rfilename, count, etag, here, left)


def _require_name(text: str) -> None:
    """Commits and etags become names of files here, and a server must not choose where they lie."""
    if not re.fullmatch(r"\w[\w-]{0,127}", text):
        raise Failure(
            "unavailable", f"{constants.ENDPOINT} does not answer as the hub does.", "Check HF_ENDPOINT and your proxy."
        )


def _head(repo: str, commit: str, name: str) -> Any:
    url = hf_hub_url(repo, name, revision=commit)
    return _patiently(lambda: HfApi().get_hf_file_metadata(url=url, timeout=TIMEOUT_S), ASKING_S, lambda _: None)


def _knock(repo: str, commit: str, files: list[RemoteFile]) -> None:
    """Asks for the largest file's head, so that a gate is known of before anybody confirms a download."""
    if files and not all(file.cached for file in files):
        _head(repo, commit, max(files, key=lambda file: file.bytes).name)


def download(request: Mapping[str, Any]) -> dict[str, Any]:
    """Fetches an offer's files, several at once; the folder of the snapshot."""
    offer = request["offer"]
    files = [RemoteFile(**file) for file in offer["files"]]
    meter = Meter(files)
    stopped = threading.Event()

    by_content: dict[str, list[RemoteFile]] = {}
    for file in files:
        by_content.setdefault(file.etag, []).append(file)

    def fetch(same: list[RemoteFile]) -> None:
        try:
            _fetch(offer["repo"], offer["commit"], same, meter, stopped, float(request["patience_s"]))
        except BaseException:
            stopped.set()
            raise

    speaker = threading.Thread(target=meter.speak, args=(stopped,), daemon=True)
    speaker.start()
    try:
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            for _ in pool.map(fetch, sorted(by_content.values(), key=lambda same: -same[0].bytes)):
                pass
    finally:
        stopped.set()
        speaker.join()
    _point_main(offer["repo"], offer["commit"])
    return {"folder": str(Path(constants.HF_HUB_CACHE) / _folder(offer["repo"]) / "snapshots" / offer["commit"])}


class Meter:
    """Counts what arrives, for the parent."""

    def __init__(self, files: list[RemoteFile]) -> None:
        self._lock = threading.Lock()
        contents = {file.etag: file for file in files}.values()
        self._total = sum(file.bytes for file in contents)
        self._done = sum(file.bytes for file in contents if file.cached)
        self._recent: list[tuple[float, int]] = []
        self._file, self._note = "", ""

    def add(self, count: int, file: str) -> None:
        """`count` bytes of a file arrived; negative for what had to be thrown away."""
        with self._lock:
            self._done += count
            self._file = file
            if count > 0:
                self._note = ""

    def wait(self, note: str) -> None:
        """Nothing arrives, for this reason."""
        with self._lock:
            self._note = note

    def speak(self, stopped: threading.Event) -> None:
        """Says how far it is, five times a second, until the end."""
        while not stopped.wait(0.2):
            self._say()
        self._say()

    def _say(self) -> None:
        now = time.monotonic()
        with self._lock:
            self._recent = [*(r for r in self._recent if now - r[0] < 5.0), (now, self._done)]
            first, last = self._recent[0], self._recent[-1]
            rate = max(0.0, (last[1] - first[1]) / (last[0] - first[0])) if last[0] > first[0] else 0.0
            content = {
                "done_bytes": self._done,
                "total_bytes": self._total,
                "bytes_per_s": rate,
                "file": self._file,
                "note": self._note,
            }
        say("progress", content)


def _fetch(repo: str, commit: str, same: list[RemoteFile], meter: Meter, stopped: threading.Event, patience_s: float) -> None:
    """Files of one content into the cache: the bytes by us, since the library keeps no partial files; their places by the library."""
    file = same[0]
    blob = _blob(repo, file.etag)
    if not file.cached:
        blob.parent.mkdir(parents=True, exist_ok=True)
        with _alone(repo, file, meter, stopped):
            if blob.exists():  # another download has brought it meanwhile
                meter.add(file.bytes, file.name)
            else:
                _fetch_bytes(repo, commit, file, blob, meter, stopped, patience_s)
        if stopped.is_set():
            return
    for one in same:
        _patiently(functools.partial(hf_hub_download, repo, one.name, revision=commit), patience_s, meter.wait)


def _fetch_bytes(
    repo: str, commit: str, file: RemoteFile, blob: Path, meter: Meter, stopped: threading.Event, patience_s: float
) -> None:
    """The content of a file, checked, into its place in the cache."""
    partial = _partial(blob)
    begun_before = partial.exists()
    _fill(repo, commit, file, partial, meter, stopped, patience_s)
    if begun_before and not stopped.is_set() and not _matches(partial, file):
        # What an earlier download left may be of something else; once from the beginning tells.
        meter.add(-file.bytes, file.name)
        partial.unlink()
        _fill(repo, commit, file, partial, meter, stopped, patience_s)
    if stopped.is_set():
        return
    if not _matches(partial, file):
        partial.unlink()
        message = f"{repo}/{file.name}: what arrived is not the file that the hub describes."
        raise Failure("mismatch", message, _MISMATCH)
    partial.replace(blob)


@contextlib.contextmanager
def _alone(repo: str, file: RemoteFile, meter: Meter, stopped: threading.Event) -> Iterator[None]:
    """Waits until no other download writes the same content; the lock ends with its process, however that ends."""
    path = Path(constants.HF_HUB_CACHE) / ".locks" / _folder(repo) / f"{file.etag}.loratui.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as lock:
        while not stopped.is_set() and not _locks(lock.fileno()):
            meter.wait(f"another download is fetching {file.name}")
            stopped.wait(0.5)
        yield


def _locks(descriptor: int) -> bool:
    """Whether the lock is ours now, or there can be none: network volumes may have no locks, and hashes are compared anyway."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _fill(
    repo: str, commit: str, file: RemoteFile, partial: Path, meter: Meter, stopped: threading.Event, patience_s: float
) -> None:
    """Appends to a partial file until it has its size; goes on after cuts as long as now and then something arrives."""
    url = hf_hub_url(repo, file.name, revision=commit)
    have = partial.stat().st_size if partial.exists() else 0
    if have > file.bytes:
        partial.unlink()
        have = 0
    meter.add(have, file.name)
    wait_s, silent_since = _FIRST_WAIT_S, time.monotonic()
    while not stopped.is_set() and (have < file.bytes or not partial.exists()):
        before = have
        try:
            have = _stream(url, file, partial, have, meter, stopped)
            if have == before and not stopped.is_set() and have < file.bytes:
                raise ConnectionError("the answer ended without a byte")
            continue
        except Exception as error:
            have = partial.stat().st_size if partial.exists() else 0
            if have > before:
                wait_s, silent_since = _FIRST_WAIT_S, time.monotonic()
            pause_s = wait_of(error, wait_s)
            if not is_passing(error) or time.monotonic() + pause_s - silent_since > patience_s:
                raise
            meter.wait(
                f"the hub asks to wait {pause_s:.0f} s" if pause_s != wait_s else f"connection lost; again in {pause_s:.0f} s"
            )
            stopped.wait(pause_s)
            wait_s = min(_LONGEST_WAIT_S, wait_s * 2)


def _stream(url: str, file: RemoteFile, partial: Path, have: int, meter: Meter, stopped: threading.Event) -> int:
    """One request from byte `have` on; returns the partial file's size."""
    # The bytes as they are: a compressed answer could neither be resumed nor measured.
    headers = {**build_hf_headers(), "Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    with get_session().stream("GET", url, headers=headers, timeout=TIMEOUT_S, follow_redirects=True) as response:
        if response.status_code == 416:  # the partial file is not of this one
            partial.unlink(missing_ok=True)
            meter.add(-have, file.name)
            return 0
        hf_raise_for_status(response)
        promised = _whole_size(response.headers, have if response.status_code == 206 else 0)
        if promised not in (None, file.bytes):
            message = f"{file.name}: the hub sends {promised} bytes, and it had promised {file.bytes}."
            raise Failure("mismatch", message, _MISMATCH)
        if have and response.status_code != 206:
            meter.add(-have, file.name)
            have = 0
        with partial.open("r+b" if have else "wb") as out:
            out.seek(have)
            for chunk in response.iter_bytes():  # as they come, so that a cut loses none
                if have + len(chunk) > file.bytes:
                    raise Failure("mismatch", f"{file.name}: the hub sends more than it had promised.", _MISMATCH)
                out.write(chunk)
                have += len(chunk)
                meter.add(len(chunk), file.name)
                if stopped.is_set():
                    break
    return have


def _whole_size(headers: Mapping[str, str], have: int) -> int | None:
    """The size of the whole file by an answer's headers; None where they do not say."""
    total = headers.get("content-range", "").rpartition("/")[2]
    if total.isdecimal():
        return int(total)
    length = headers.get("content-length", "")
    plain = headers.get("content-encoding", "identity") == "identity"
    return have + int(length) if length.isdecimal() and plain else None


def _matches(path: Path, file: RemoteFile) -> bool:
    """Whether a file is the one that its etag names: a SHA-256, or git's blob id (a SHA-1 behind a short header)."""
    if path.stat().st_size != file.bytes:
        return False
    if len(file.etag) not in (40, 64):
        return True
    digest = hashlib.sha256() if len(file.etag) == 64 else hashlib.sha1(b"blob %d\0" % file.bytes, usedforsecurity=False)
    with open_regular(path) as data:
        while chunk := data.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest() == file.etag


def _patiently(action: Callable[[], Any], patience_s: float, tell: Callable[[str], None]) -> Any:
    """Does something that may fail in passing, again and again until the patience is spent."""
    wait_s, started = _FIRST_WAIT_S, time.monotonic()
    while True:
        try:
            return action()
        except Exception as error:
            pause_s = wait_of(error, wait_s)
            if not is_passing(error) or time.monotonic() + pause_s - started > patience_s:
                raise
            tell(f"the hub cannot be reached; again in {pause_s:.0f} s")
            time.sleep(pause_s)
            wait_s = min(_LONGEST_WAIT_S, wait_s * 2)


def _point_main(repo: str, commit: str) -> None:
    """Tells other programs which commit `main` was, as the library does."""
    refs = Path(constants.HF_HUB_CACHE) / _folder(repo) / "refs"
    refs.mkdir(parents=True, exist_ok=True)
    temporary = refs / f".main.{os.getpid()}"
    temporary.write_text(commit, encoding="utf-8")
    temporary.replace(refs / "main")


def _folder(repo: str) -> str:
    return f"models--{repo.replace('/', '--')}"


def _blob(repo: str, etag: str) -> Path:
    return Path(constants.HF_HUB_CACHE) / _folder(repo) / "blobs" / etag


def _partial(blob: Path) -> Path:
    return blob.with_name(f"{blob.name}.loratui.incomplete")


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
    """Checks a token and keeps it, by the library's own hand."""
    from huggingface_hub import login as keep

    found = _who(request["token"], from_environment=False)
    keep(request["token"], add_to_git_credential=False)
    return {**found, "from_environment": bool(_environment_tokens())}


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
    found = _patiently(lambda: HfApi().whoami(token), ASKING_S, lambda _: None)
    role = ((found.get("auth") or {}).get("accessToken") or {}).get("role", "")
    return {"name": str(found.get("name", "")), "role": str(role), "from_environment": from_environment}


def _environment_tokens() -> list[str]:
    return [os.environ[name] for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN") if os.environ.get(name)]


ANSWERS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "look_up": look_up,
    "download": download,
    "account": account,
    "login": login,
    "logout": logout,
}

if __name__ == "__main__":
    sys.exit(main())
