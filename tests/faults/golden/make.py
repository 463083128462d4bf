"""Makes the stored runs of earlier versions: `make.py [COMMIT...]` trains a small run with the code of each commit and pauses it.

Each archive has what a run of that version leaves behind, without logs and all but the newest checkpoint, LoRA file and sample. The images
are not in it, so a resume lives on the run's own cache.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[3]
COMMITS = ("345cf9b", "f20d433", "8a1ce50", "46b208d")
PHOTOS = Path(tempfile.gettempdir()) / "photos"
TRAIN = [
    *("train", str(PHOTOS), "--preset", "demo", "--trigger", "anafox", "--class", "woman", "--name", "golden", "--batch", "1"),
    *(
        "--set",
        "schedule.repeats=8",
        "--set",
        "schedule.epochs=40",
        "--set",
        "dataset.resolution=64",
        "--set",
        "samples.steps=1",
    ),
    *("--set", "adapter.rank=1", "--set", "adapter.targets=attention", "--yes", "--wait"),
]


def make(commit: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tree, home = Path(folder, "tree"), Path(folder, "home")
        subprocess.run(["git", "-C", str(ROOT), "worktree", "add", "-q", "--detach", str(tree), commit], check=True)
        try:
            pack(train(tree, home), commit)
        finally:
            subprocess.run(["git", "-C", str(ROOT), "worktree", "remove", "--force", str(tree)], check=True)


def train(tree: Path, home: Path) -> Path:
    environment = {**os.environ, "PYTHONPATH": f"{tree}/.namespace", "LORATUI_HOME": str(home), "OMP_NUM_THREADS": "1"}
    cli = [sys.executable, "-m", "loratui.tui.cli"]
    training = subprocess.Popen([*cli, *TRAIN], env=environment, cwd=home.parent)
    while not (logs := list(home.glob("runs/*/events.jsonl"))) or b'"type":"step"' not in logs[0].read_bytes():
        assert training.poll() is None
        time.sleep(0.1)
    subprocess.run([*cli, "pause", logs[0].parent.name], env=environment, cwd=home.parent, check=True)
    training.wait()
    return logs[0].parent


def pack(run: Path, commit: str) -> None:
    for folder in ("log", "control", "validation"):
        shutil.rmtree(run / folder, ignore_errors=True)
    for folder in ("checkpoints", "output", "samples"):
        for older in sorted((run / folder).iterdir())[:-1]:
            shutil.rmtree(older) if older.is_dir() else older.unlink()
    for sample in sorted(run.glob("samples/*/*.png"))[1:]:
        sample.unlink()
    owner = json.loads((run / "run.lock").read_text())
    for process in ("supervisor", "trainer"):
        owner[process] |= {"host": "box", "boot_id": "earlier"}
    (run / "run.lock").write_text(json.dumps(owner))
    with tarfile.open(Path(__file__).with_name(f"{commit}.tar.xz"), "w:xz") as archive:
        archive.add(run, "golden")


if __name__ == "__main__":
    PHOTOS.mkdir(exist_ok=True)
    Image.linear_gradient("L").resize((64, 64)).convert("RGB").save(PHOTOS / "a.png")
    for chosen in sys.argv[1:] or COMMITS:
        make(chosen)
