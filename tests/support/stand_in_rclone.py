"""A stand-in for rclone, which copies within this machine: `copyto` and `hashsum` alone, remotes are folders below STAND_IN_REMOTE.

STAND_IN_HARM: `damages` changes what arrives; `no hashes` keeps none, so that they must be read back; `refuses` fails.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path


def place(word: str) -> Path:
    name, colon, path = word.partition(":")
    return Path(os.environ["STAND_IN_REMOTE"]) / name / path if colon else Path(word)


def main() -> int:
    harm = os.environ.get("STAND_IN_HARM", "")
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    if harm == "refuses":
        print("Failed to copy: AccessDenied")
        return 1
    if words[0] == "copyto":
        target = place(words[2])
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(words[1], target)
        if harm == "damages":
            target.write_bytes(bytes(target.stat().st_size))
        return 0
    target = place(words[2])
    if harm == "no hashes" and "--download" not in sys.argv:
        print(f"ERROR : {target.name}: hash unsupported: hash type not supported")
        return 1
    print(f"{hashlib.sha256(target.read_bytes()).hexdigest()}  {target.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
