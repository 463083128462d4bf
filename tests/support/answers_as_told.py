"""A job that does what a piece of Python in the variable ANSWER says; what that leaves in `answer` is its answer."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import Any

from loratui.engine.errors import ExitCode, LoratuiError
from loratui.engine.job_child import Answer, Parent


def begin(parent: Parent, **_: Any) -> Answer:
    """Whatever is asked."""

    def answer(request: Any) -> Any:
        names: dict[str, Any] = {"json": json, "os": os, "signal": signal, "sys": sys, "time": time, "request": request}
        names |= {"parent": parent, "ExitCode": ExitCode, "LoratuiError": LoratuiError}
        exec(os.environ["ANSWER"], names)
        return names.get("answer")

    return answer
