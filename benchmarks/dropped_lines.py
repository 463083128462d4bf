"""Drops the line of a person who watches a run over SSH, a hundred times, and compares the run with one that nobody watched.

    python benchmarks/dropped_lines.py [--drops 100] [--seed 1] [--out FILE.json]

A real sshd on 127.0.0.1, with keys made for it (openssh-server and tmux must be installed). The demo is trained on the CPU: one run is left alone, the others are
started in a session, and session after session is opened and dropped until they are done: the client is killed, the server's side is
killed, or the client's terminal closes; each fourth viewer is in tmux, whose server is killed once in two. After each drop the viewer must be gone within a
second, except in tmux, where it must still be there if its server is. At the end every loss and the LoRA file are those of the run that was left alone.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import pty
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from machine_facts import ROOT, command, facts
from product_run import LORATUI, events_of, inside

from loratui.engine.runs import lock
from loratui.engine.runs.directory import list_runs
from loratui.presets import SHIPPED

GONE_WITHIN_S = 1.0
HOW = ("client killed", "server's side killed", "terminal closed", "in tmux")
SETTINGS = ("schedule.epochs=4", "samples.every_image_steps=0", "samples.steps=2", "memory.threads=1", "memory.device=cpu")


class Server:
    """A real sshd for this account alone, and what is needed to log in."""

    def __init__(self, folder: Path) -> None:
        sshd = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        assert sshd, "openssh-server is not installed"
        for name in ("host", "person"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        lines = (
            *(f"Port {port}", "ListenAddress 127.0.0.1", f"HostKey {folder}/host", f"AuthorizedKeysFile {folder}/person.pub"),
            *("StrictModes no", "UsePAM no", "PermitRootLogin yes", f"PidFile {folder}/sshd.pid", "MaxStartups 100"),
        )
        (folder / "sshd_config").write_text("\n".join(lines) + "\n")
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        log = (folder / "sshd.log").open("wb")
        self._process = subprocess.Popen([sshd, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log)
        options = ("StrictHostKeyChecking=no", f"UserKnownHostsFile={folder}/known", "LogLevel=ERROR", "ConnectTimeout=10")
        self.login = ["ssh", "-tt", "-p", str(port), "-i", str(folder / "person")]
        self.login += [word for option in options for word in ("-o", option)] + ["127.0.0.1"]
        wait_until(lambda: subprocess.run([*self.login, "true"], capture_output=True, check=False).returncode == 0, 10)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()


def own_terminal() -> None:
    """Lets a client hear that its terminal closes, also where these processes were started with nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Session:
    """A command in a terminal over SSH."""

    def __init__(self, server: Server, folder: Path, number: int, environ: dict[str, str], command: list[str]) -> None:
        self._pid_file = folder / f"pid-{number}"
        given = [f"{name}={environ[name]}" for name in ("LORATUI_HOME", "HOME", "PATH", "PYTHONPATH", "EVERY_STEP", "TERM")]
        words = shlex.join(["env", *given, *command])
        self._master, slave = pty.openpty()
        line = f"echo $$ $PPID > {shlex.quote(str(self._pid_file))}; exec {words}"
        self._client = subprocess.Popen(
            [*server.login, line],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=own_terminal,
        )
        os.close(slave)
        os.set_blocking(self._master, False)
        wait_until(lambda: self._pid_file.exists() and len(self._pid_file.read_text().split()) == 2, 10)
        self.viewer, self._server_side = map(int, self._pid_file.read_text().split())

    def read(self) -> bytes:
        try:
            return os.read(self._master, 1 << 16)
        except OSError:
            return b""

    def drop(self, how: str) -> float | None:
        """Drops the line; seconds until the viewer was gone, None if it stayed."""
        began = time.monotonic()
        if how == "terminal closed":
            os.close(self._master)
        elif how == "server's side killed":
            os.kill(self._server_side, signal.SIGKILL)
        else:
            self._client.kill()
        try:
            wait_until(lambda: not is_alive(self.viewer), 5, often=0.005)
        except TimeoutError:
            return None
        finally:
            self._client.kill()
            self._client.wait()
            if how != "terminal closed":
                os.close(self._master)
        return time.monotonic() - began


class Drops:
    """The runs of one call."""

    def __init__(self, server: Server, folder: Path, seed: int) -> None:
        self.server, self.folder = server, folder
        self.dice = random.Random(seed)
        self.home = folder / "home"
        self.environ = {**inside(EVERY_STEP="1"), "LORATUI_HOME": str(self.home), "HOME": str(folder), "TERM": "xterm-256color"}
        names = os.pathsep.join([self.environ["PYTHONPATH"], str(ROOT / ".namespace")])
        self.environ |= {"PYTHONPATH": names, "OMP_NUM_THREADS": "1"}
        self.kinds: Counter[str] = Counter()
        self.gone_s: list[float] = []
        self.failures: list[str] = []

    def train(self, *, watched: bool) -> Path:
        """Starts a run, in a session that is dropped at once if `watched`; its folder."""
        sets = [word for setting in SETTINGS for word in ("--set", setting)]
        command = [*LORATUI, "train", str(SHIPPED / "bases" / "anafox"), "--preset", "demo", "--trigger", "anafox"]
        command += ["--class", "woman", "--device", "cpu", "--yes", *sets]
        before = list_runs(self.home)
        if watched:
            session = self._session(command)
            wait_until(lambda: list_runs(self.home) != before and bool(events_of(newest(self.home))), 60, session.read)
            session.drop("client killed")
        else:
            done = subprocess.run([*command, "--json"], capture_output=True, text=True, env=self.environ, check=False)
            assert list_runs(self.home) != before, done.stderr
        return newest(self.home)

    def _session(self, command: list[str]) -> Session:
        number = sum(self.kinds.values())
        return Session(self.server, self.folder, 1000 * len(list_runs(self.home)) + number, self.environ, command)

    def watch_and_drop(self, run: Path, most: int) -> None:
        """Comes back to the run and drops the line until the run is done, or so often."""
        for number in range(most):
            if is_done(run):
                return
            how = HOW[number % len(HOW)]
            attach = [*LORATUI, "attach", run.name]
            tmux = ["tmux", "-L", f"loratui-{os.getpid()}", "new-session", "-A", "-s", "run", shlex.join(attach)]
            session = self._session(tmux if how == "in tmux" else attach)
            wait_until(lambda session=session: b"loratui" in session.read() or is_done(run), 30)  # it paints
            time.sleep(self.dice.uniform(0.0, 0.8))
            took = session.drop("client killed" if how == "in tmux" else how)
            self.kinds[how] += 1
            if took is None or took > GONE_WITHIN_S:
                self.failures.append(f"{how}: the viewer was there {took} s later")
            else:
                self.gone_s.append(took)
            if how == "in tmux":
                inside_tmux = subprocess.run([*tmux[:3], "list-panes", "-a"], capture_output=True, text=True, check=False)
                if inside_tmux.returncode and not is_done(run):
                    self.failures.append("tmux lost its window with the line")
                if number % 8 == 7:
                    subprocess.run([*tmux[:3], "kill-server"], capture_output=True, check=False)

    def compare(self, run: Path, alone: Path) -> None:
        wait_until(lambda: is_done(run), 600)
        mine, other = (
            {event.get("step"): float(event.get("loss")).hex() for event in events_of(each) if event.type == "step"}
            for each in (run, alone)
        )
        if mine != other:
            self.failures.append(f"{run.name}: losses differ at steps {sorted(set(mine.items()) ^ set(other.items()))[:9]}")
        if tensors(run) != tensors(alone):
            self.failures.append(f"{run.name}: the LoRA file is another")


def tensors(run: Path) -> str:
    data = (run / "output" / "anafox.safetensors").read_bytes()
    return hashlib.sha256(data[8 + int.from_bytes(data[:8], "little") :]).hexdigest()


def newest(home: Path) -> Path:
    return list_runs(home)[0].path


def is_done(run: Path) -> bool:
    last = events_of(run)[-1:]
    assert not last or last[0].type != "run_finished" or last[0].get("status") == "done", last
    return bool(last) and last[0].type == "run_finished"


def end_all(home: Path) -> None:
    """Ends runs that an error has left."""
    for run in list_runs(home):
        while lock.is_held(run.lock) and (owner := lock.read_owner(run.lock)):
            for process in (owner.supervisor, owner.trainer):
                process.send_signal(signal.SIGKILL)
            time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_until(condition: Callable[[], object], limit_s: float, do: Callable[[], object] = bool, often: float = 0.02) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError
        do()
        time.sleep(often)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drops", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="loratui-lines-") as folder:
        server = Server(Path(folder))
        try:
            drops = Drops(server, Path(folder), args.seed)
            alone = drops.train(watched=False)
            wait_until(lambda: is_done(alone), 600)
            runs = 0
            while (left := args.drops - sum(drops.kinds.values())) > 0:
                run = drops.train(watched=True)
                runs += 1
                drops.watch_and_drop(run, left)
                drops.compare(run, alone)
        finally:
            server.close()
            end_all(Path(folder) / "home")
    figures = {
        "drops": sum(drops.kinds.values()),
        "by": dict(drops.kinds),
        "runs": runs,
        "longest_until_gone_s": round(max(drops.gone_s), 3),
        "failures": drops.failures,
        "seconds": round(time.monotonic() - began, 1),
    }
    report = {"format": 1, "benchmark": "dropped_lines", "name": "demo", **facts(), "commands": [command()], **figures}
    if args.out:
        args.out.write_text(json.dumps(report, indent=1) + "\n")
    print(
        f"{figures['drops']} drops of {runs} runs in {figures['seconds']} s: {len(drops.failures)} failures; {dict(drops.kinds)}"
    )
    print(f"the viewer was gone after {figures['longest_until_gone_s']} s at the latest")
    print(*drops.failures[:50], sep="\n")
    return 1 if drops.failures else 0


if __name__ == "__main__":
    sys.exit(main())
