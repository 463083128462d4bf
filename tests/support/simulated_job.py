"""A job that answers, fails, floods, hangs, crashes or lies, as it is asked."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from loratui.engine.errors import ExitCode, UsageError
from loratui.engine.job_child import Answer, Content, Parent


def begin(parent: Parent, *, fails: str = "", deaf: bool = False) -> Answer:
    """`fails` is what it says instead of being ready; `deaf` lets it survive SIGTERM."""
    if fails:
        raise UsageError(fails, "Do not ask.")
    if deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def answer(request: Any) -> Any:
        match request["do"]:
            case "echo":
                print("a library prints this")
                for at in range(request.get("told", 0)):
                    parent.progress(at)
                return request["is"]
            case "slowly":
                for at in range(request["times"]):
                    time.sleep(request["pause_s"])
                    parent.progress(at)
                return request["times"]
            case "bytes":
                return Content("pixels", bytes(request["count"]))
            case "raise":
                raise {"known": UsageError("It is wrong.", "Mend it."), "other": RuntimeError("nobody expected this")}[
                    request["what"]
                ]
            case "kill":
                os.kill(os.getpid(), request["signal"])
            case "exit":
                print("the last line", file=sys.stderr, flush=True)
                os._exit(request["code"])
            case "raw":
                os.write(parent._out, request["line"].encode() * request.get("times", 1))
                time.sleep(60)
            case "flood":
                while True:
                    os.write(2, b"noise\n" * 1000)
            case "hang":
                parent.progress("began")
                time.sleep(60)
            case "surroundings":
                descriptors = sorted(int(path.name) for path in Path("/proc/self/fd").iterdir())
                return [str(Path.cwd()), sorted(os.environ), os.umask(0), descriptors]
        return ExitCode.DONE

    return answer
