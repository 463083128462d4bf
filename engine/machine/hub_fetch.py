"""Downloads the files of a plan: several at once, from where an earlier download ended, each checked by its hash."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from huggingface_hub import constants, get_session, hf_hub_url
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]  # its own front door

from loratui.engine import durable
from loratui.engine.limits import CHUNK_BYTES
from loratui.engine.machine import hub_xet
from loratui.engine.machine.hub import RemoteFile
from loratui.engine.machine.hub_answers import FILE, commit_of, etag_of, require_name, size_of
from loratui.engine.machine.hub_cache import parse_id
from loratui.engine.machine.hub_words import Failure, is_passing, wait_of
from loratui.engine.untrusted import open_regular
from loratui.engine.words import count, number

TIMEOUT_S = 30.0
CONNECTIONS = 4
"""Files that are fetched at once."""
LEAST_BYTES = 64_000
"""What has to come of a file while the patience lasts: less is a connection that only keeps one waiting."""
SLOW_S = 10.0
"""The least time in which that is expected."""
_MISMATCH = "Try again later; a proxy or mirror may be changing files."
_RECENT_S = 5.0
"""What a speed is measured over."""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 30.0


def download(request: Mapping[str, Any], progress: Callable[[Any], None]) -> dict[str, Any]:
    """Downloads a plan's files, several at once; returns the folder of the snapshot. `progress` is given the fields of `hub.Progress`."""
    plan = checked(request["plan"])
    files = [RemoteFile(**file) for file in plan["files"]]
    meter = Meter(files, progress)
    stopped = threading.Event()

    by_content: dict[str, list[RemoteFile]] = {}
    for file in files:
        by_content.setdefault(file.etag, []).append(file)

    def fetch(same: list[RemoteFile]) -> None:
        try:
            _fetch(plan["repo"], plan["commit"], same, meter, stopped, float(request["patience_s"]))
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
    _point_main(plan["repo"], plan["commit"])
    return {"folder": str(snapshot_of(plan["repo"], plan["commit"]))}


def checked(plan: Mapping[str, Any]) -> Mapping[str, Any]:
    """The plan, after a check of every name that becomes a path. Raises `Failure`."""
    commit_of(plan["commit"])
    if parse_id(plan["repo"]) is None:
        raise Failure("name", f"{plan['repo']}: not a name of a model on the hub.")
    for file in plan["files"]:
        require_name(file["name"])
        etag_of(file["etag"])
        size_of(file["bytes"])
    return plan


class Meter:
    """Counts what arrives, for the parent."""

    def __init__(self, files: list[RemoteFile], progress: Callable[[Any], None]) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        contents = {file.etag: file for file in files}.values()
        self._total = sum(file.bytes for file in contents)
        self._done = sum(file.bytes for file in contents if file.cached)
        self._recent: list[tuple[float, int]] = []
        self._file, self._note = "", ""
        self._stirred = time.monotonic()

    def stir(self) -> None:
        """Something was done: a server that sends a byte now and then resets every time limit of a socket, but not the parent's."""
        self._stirred = time.monotonic()

    def add(self, count: int, file: str) -> None:
        """`count` bytes of a file arrived; negative for what had to be thrown away."""
        with self._lock:
            self._done += count
            self._file = file
            if count > 0:
                self._note = ""
        self.stir()

    def wait(self, note: str) -> None:
        """Nothing arrives, for this reason."""
        with self._lock:
            self._note = note
        self.stir()

    def speak(self, stopped: threading.Event) -> None:
        """Says how far it is, five times a second, until the end; not where nothing has been done for a while."""
        while not stopped.wait(0.2):
            if time.monotonic() - self._stirred < 2 * _RECENT_S:
                self._say()
        self._say()

    def _say(self) -> None:
        now = time.monotonic()
        with self._lock:
            self._recent = [*(r for r in self._recent if now - r[0] < _RECENT_S), (now, self._done)]
            first, last = self._recent[0], self._recent[-1]
            rate = max(0.0, (last[1] - first[1]) / (last[0] - first[0])) if last[0] > first[0] else 0.0
            content = {
                "done_bytes": self._done,
                "total_bytes": self._total,
                "bytes_per_s": rate,
                "file": self._file,
                "note": self._note,
            }
        self._progress(content)


def _fetch(repo: str, commit: str, same: list[RemoteFile], meter: Meter, stopped: threading.Event, patience_s: float) -> None:
    """Files of one content into the cache, as the library would lay them out: their places are made of checked names alone."""
    file = same[0]
    blob = blob_of(repo, file.etag)
    if not file.cached:
        durable.make_directory(blob.parent)
        with _alone(repo, file, meter, stopped):
            if blob.exists():  # another download has brought it meanwhile
                meter.add(file.bytes, file.name)
            else:
                _fetch_bytes(repo, commit, file, blob, meter, stopped, patience_s)
        if stopped.is_set():
            return
    for one in same:
        place(blob, snapshot_of(repo, commit) / one.name)


def place(blob: Path, pointer: Path) -> None:
    """Puts a content under a file's name in a snapshot: a relative link, as the library does, or a second name or a copy where
    there are no links."""
    if pointer.exists():
        return
    durable.make_directory(pointer.parent)
    temporary = durable.temporary_beside(pointer)
    try:
        if constants.HF_HUB_DISABLE_SYMLINKS:
            raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
        temporary.symlink_to(os.path.relpath(blob, pointer.parent))
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
            raise
        durable.keep_as(blob, temporary)
    temporary.replace(pointer)


def _fetch_bytes(
    repo: str, commit: str, file: RemoteFile, blob: Path, meter: Meter, stopped: threading.Event, patience_s: float
) -> None:
    """The content of a file, checked, into its place in the cache."""
    partial = partial_of(blob)
    begun_before, xet = partial.exists(), hub_xet.look_up(repo, commit, file)
    _fill(repo, commit, file, xet, partial, meter, stopped, patience_s)
    if (begun_before or xet) and not stopped.is_set() and not _matches(partial, file, meter):
        # What an earlier download left, or other storage has, may be of something else; once from the beginning tells.
        meter.add(-file.bytes, file.name)
        partial.unlink()
        _fill(repo, commit, file, None, partial, meter, stopped, patience_s)
    if stopped.is_set():
        return
    if not _matches(partial, file, meter):
        partial.unlink()
        message = f"{repo}/{file.name}: what arrived is not the file that the hub describes."
        raise Failure("mismatch", message, _MISMATCH)
    durable.move(partial, blob)


@contextlib.contextmanager
def _alone(repo: str, file: RemoteFile, meter: Meter, stopped: threading.Event) -> Iterator[None]:
    """Waits until no other download writes the same content; the lock ends with its process, however that ends."""
    path = Path(constants.HF_HUB_CACHE) / ".locks" / folder_name(repo) / f"{file.etag}.loratui.lock"
    durable.make_directory(path.parent)
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
    repo: str,
    commit: str,
    file: RemoteFile,
    xet: hub_xet.XetFile | None,
    partial: Path,
    meter: Meter,
    stopped: threading.Event,
    patience_s: float,
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
            if xet is None:
                have = _stream(url, file, partial, have, meter, stopped, patience_s)
            else:
                with contextlib.closing(xet.pieces(have, patience_s, stopped)) as pieces:
                    have = _take(pieces, file, partial, have, meter, stopped, patience_s)
            if have == before and not stopped.is_set() and have < file.bytes:
                raise ConnectionError("the answer ended without a byte")
            continue
        except Exception as error:
            have = partial.stat().st_size if partial.exists() else 0
            if xet is not None:
                xet = None
                continue
            if have - before >= min(LEAST_BYTES, file.bytes - before):
                wait_s, silent_since = _FIRST_WAIT_S, time.monotonic()
            pause_s = wait_of(error, wait_s)
            if not is_passing(error) or time.monotonic() + pause_s - silent_since > patience_s:
                raise
            meter.wait(
                f"the hub asks to wait {pause_s:.0f} s" if pause_s != wait_s else f"connection lost; again in {pause_s:.0f} s"
            )
            stopped.wait(pause_s)
            wait_s = min(_LONGEST_WAIT_S, wait_s * 2)


def _stream(
    url: str, file: RemoteFile, partial: Path, have: int, meter: Meter, stopped: threading.Event, patience_s: float
) -> int:
    """One request from byte `have` on; returns the partial file's size."""
    # The bytes as they are: a compressed answer could neither be resumed nor measured.
    headers = {**build_hf_headers(), "Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    marked = {FILE: True}
    with get_session().stream(
        "GET", url, headers=headers, timeout=TIMEOUT_S, follow_redirects=True, extensions=marked
    ) as response:
        if response.status_code == 416:  # the partial file is not of this one
            partial.unlink(missing_ok=True)
            meter.add(-have, file.name)
            return 0
        hf_raise_for_status(response)
        promised = _whole_size(response.headers, have if response.status_code == 206 else 0)
        if promised not in (None, file.bytes):
            message = f"{file.name}: the hub sends {count(promised, 'byte')}, and it had promised {number(file.bytes)}."
            raise Failure("mismatch", message, _MISMATCH)
        if have and response.status_code != 206:
            meter.add(-have, file.name)
            have = 0
        # As they come, so that a cut loses none.
        return _take(response.iter_bytes(), file, partial, have, meter, stopped, patience_s)


def _take(
    pieces: Iterator[bytes],
    file: RemoteFile,
    partial: Path,
    have: int,
    meter: Meter,
    stopped: threading.Event,
    patience_s: float,
) -> int:
    """Writes what arrives from byte `have` on; returns the partial file's size."""
    with partial.open("r+b" if have else "wb") as out:
        out.seek(have)
        since, at = time.monotonic(), have
        for piece in pieces:
            if have + len(piece) > file.bytes:
                raise Failure("mismatch", f"{file.name}: the hub sends more than it had promised.", _MISMATCH)
            out.write(piece)
            have += len(piece)
            meter.add(len(piece), file.name)
            if stopped.is_set():
                break
            if have - at >= LEAST_BYTES:
                since, at = time.monotonic(), have
            elif have < file.bytes and time.monotonic() - since > max(patience_s, SLOW_S):
                raise TimeoutError("next to nothing arrives")
    return have


def _whole_size(headers: Mapping[str, str], have: int) -> int | None:
    """The size of the whole file by an answer's headers; None where they do not say."""
    total = headers.get("content-range", "").rpartition("/")[2]
    if total.isdecimal():
        return int(total)
    length = headers.get("content-length", "")
    plain = headers.get("content-encoding", "identity") == "identity"
    return have + int(length) if length.isdecimal() and plain else None


def _matches(path: Path, file: RemoteFile, meter: Meter) -> bool:
    """Whether a file is the one that its etag names: a SHA-256, or git's blob id (a SHA-1 behind a short header)."""
    if path.stat().st_size != file.bytes:
        return False
    digest = hashlib.sha256() if len(file.etag) == 64 else hashlib.sha1(b"blob %d\0" % file.bytes, usedforsecurity=False)
    with open_regular(path) as data:
        while chunk := data.read(CHUNK_BYTES):
            digest.update(chunk)
            meter.stir()
    return digest.hexdigest() == file.etag


def patiently(action: Callable[[], Any], patience_s: float, tell: Callable[[str], None]) -> Any:
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
    refs = Path(constants.HF_HUB_CACHE) / folder_name(repo) / "refs"
    durable.make_directory(refs)
    durable.write_file(refs / "main", commit.encode("ascii"))


def folder_name(repo: str) -> str:
    """Of a repository in the cache."""
    return f"models--{repo.replace('/', '--')}"


def snapshot_of(repo: str, commit: str) -> Path:
    """The folder in which the files of a commit have their names."""
    return Path(constants.HF_HUB_CACHE) / folder_name(repo) / "snapshots" / commit


def blob_of(repo: str, etag: str) -> Path:
    """Where a content lies."""
    return Path(constants.HF_HUB_CACHE) / folder_name(repo) / "blobs" / etag


def partial_of(blob: Path) -> Path:
    """Where it lies until it is whole."""
    return blob.with_name(f"{blob.name}.loratui.incomplete")
