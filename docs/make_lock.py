"""Writes requirements.lock: every package that an install needs, with the hashes of its files: `python docs/make_lock.py`.

Versions are those of constraints.txt. Needs uv (`pip install uv`) and an index of PyPI; nothing but metadata is fetched.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
HEAD = """\
# Every package of an install with the hashes of its files, made by docs/make_lock.py from pyproject.toml and constraints.txt.
# torch is PyPI's build, which for Linux is that for CUDA 13.
"""


def main() -> None:
    """Resolves for Linux, macOS and Windows, from Python 3.11 on."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        "--quiet",
        "--no-config",
        "--universal",
        "--python-version",
        "3.11",
    ]
    command += ["--generate-hashes", "--no-annotate", "--no-header", "--constraints", "constraints.txt"]
    command += ["--default-index", os.environ.get("UV_DEFAULT_INDEX", "https://pypi.org/simple"), "pyproject.toml", "-"]
    # Hatchling too: loratui itself is built without fetching anything more.
    done = subprocess.run(command, cwd=ROOT, input="\n".join(build), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    LOCK.write_text(HEAD + done.stdout)


if __name__ == "__main__":
    main()
