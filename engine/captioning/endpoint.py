"""Captions by a server with OpenAI's interface (Ollama, LM Studio, vLLM, a hosted model): the image goes there as a JPEG, and nothing else of it.

The key comes from the environment only. What is sent has no metadata: it is made of the pixels.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from loratui.engine.captioning.captioners import Captioner
from loratui.engine.captioning.cleaned import LONGEST
from loratui.engine.captioning.protocol import Answer
from loratui.engine.errors import ExitCode, LoratuiError, UsageError
from loratui.engine.machine import web
from loratui.engine.untrusted import Unreadable, parse_json

if TYPE_CHECKING:
    from PIL.Image import Image

KEY = "LORATUI_CAPTION_KEY"
"""The variable with the server's key."""
_OPENAI = ("OPENAI_API_KEY", "api.openai.com")
"""A key that is sent to its own host alone."""
_SIDE_PX = 1024
_QUALITY = 90
_TIMEOUT_S = 180.0
"""A large model on a CPU takes a minute and more for one image."""
_TRIES = 4
_LONGEST_WAIT_S = 60.0
_ANSWER_BYTES = 1 << 20
_MOST_TOKENS = 2048
"""A caption has 150; models that think first need the rest."""


def checked_url(url: str) -> str:
    """The address for chat completions, from the base address that servers name: `http://localhost:11434/v1`. Raises `UsageError`."""
    try:
        parts = urlsplit(url.strip())
        host, named = parts.hostname, parts.username or parts.password
    except ValueError:
        host, named = None, None
    if not host or parts.scheme not in ("http", "https"):
        raise UsageError(f"{url}: this is no address of a server.", "Give one such as --url http://localhost:11434/v1")
    if named or parts.query or parts.fragment:
        raise UsageError(
            "The server's address must hold no name, key or question mark.", f"Put the key into the variable {KEY}."
        )
    base = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/') or '/v1'}"
    return base if base.endswith("/chat/completions") else f"{base}/chat/completions"


def checked(url: str, model: str) -> tuple[str, str]:
    """The address for chat completions and the model's name. Raises `UsageError`."""
    if not model.strip():
        raise UsageError("Which model is the server to use?", "Add --model NAME, as the server calls it.")
    return checked_url(url), model.strip()


def where(url: str) -> str:
    """Who sees the images, for people."""
    host = urlsplit(url).hostname or ""
    return (
        f"{host} is this machine: the images stay here"
        if web.is_here(url)
        else f"your images leave this machine and go to {host}"
    )


def key_for(url: str, environ: Mapping[str, str]) -> str:
    """The key for a server; empty if there is none. OpenAI's own is sent to OpenAI alone."""
    variable, host = _OPENAI
    return environ.get(KEY, "") or (environ.get(variable, "") if urlsplit(url).hostname == host else "")


def load(captioner: Captioner, folder: Path | None, options: Mapping[str, Any]) -> Endpoint:
    """See `protocol.Load`; options: `url model`, and `timeout_s tries` where the usual ones do not fit."""
    del captioner, folder
    url, model = checked(str(options.get("url", "")), str(options.get("model", "")))
    return Endpoint(
        url,
        model,
        timeout_s=float(options.get("timeout_s", _TIMEOUT_S)),
        tries=int(options.get("tries", _TRIES)),
    )


class Endpoint:
    """A server that is asked for one image at a time."""

    most_at_once = 1

    def __init__(
        self, url: str, model: str, *, timeout_s: float, tries: int, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._url, self._model, self._timeout_s, self._tries, self._sleep = url, model, timeout_s, tries, sleep
        self._key = key_for(url, os.environ)
        self._limit = "max_tokens"

    @property
    def said(self) -> str:
        """See `protocol.Model`."""
        return f"{self._model} on {urlsplit(self._url).hostname}"

    def captions(self, images: Sequence[Image], instruction: str) -> list[Answer]:
        """See `protocol.Model`. Raises `LoratuiError`, as `UNAVAILABLE` if the server has no answer for other images either."""
        return [self._caption(image, instruction) for image in images]

    def _caption(self, image: Image, instruction: str) -> Answer:
        content = [
            {"type": "text", "text": instruction},
            {"type": "image_url", "image_url": {"url": data_url(image)}},
        ]
        request = {"model": self._model, "messages": [{"role": "user", "content": content}], "temperature": 0.2}
        for _ in range(2):
            answer = self._asked(request)
            if not answer.whole:
                raise LoratuiError(f"{self.said}: the answer is larger than any caption.", "Choose another model.")
            with contextlib.suppress(Unreadable, KeyError, IndexError, TypeError, AttributeError):
                return Answer(_text(parse_json(answer.body, most=_ANSWER_BYTES)))
        raise LoratuiError(f"{self.said}: this is no answer of a chat: {answer.words[:120]}", "Check --url and --model.")

    def _asked(self, request: dict[str, Any]) -> web.Answer:
        """The answer, asked for again where that may help: at 429 and 5xx, and where none came. Raises `LoratuiError`."""
        headers = {"Content-Type": "application/json", "User-Agent": "loratui"}
        headers |= {"Authorization": f"Bearer {self._key}"} if self._key else {}
        for tried in range(1, self._tries + 1):
            body = json.dumps({**request, self._limit: _MOST_TOKENS}).encode("ascii")
            answer = web.request("POST", self._url, body, headers, self._timeout_s, _ANSWER_BYTES)
            if answer.status == 400 and "max_completion_tokens" in answer.words and self._limit == "max_tokens":
                self._limit = "max_completion_tokens"  # OpenAI's newer models take no other
                continue
            if answer.good:
                return answer
            if not answer.passing or tried == self._tries:
                break
            self._sleep(min(_LONGEST_WAIT_S, max(answer.retry_after_s, 2.0**tried)))
        of_all = answer.passing or answer.status in (401, 403, 404)
        code = (
            ExitCode.UNAVAILABLE if of_all else None
        )  # the worker goes on with the next image unless it is unavailable to all
        raise LoratuiError(f"{self.said}: {answer.problem}", _remedy(answer), exit_code=code)


def data_url(image: Image) -> str:
    """An image (RGB) as a JPEG within an address, no larger than a captioner looks at."""
    from PIL import Image as Pillow

    small = image.copy()
    small.thumbnail((_SIDE_PX, _SIDE_PX), Pillow.Resampling.LANCZOS)
    small.info.clear()  # nothing but its pixels
    file = io.BytesIO()
    small.save(file, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def _text(told: Any) -> str:
    """What the model wrote; a refusal is told as such. Raises the errors of a wrong index or attribute for what is no such answer."""
    choice = told["choices"][0]
    message = choice["message"]
    content = message.get("content")
    if isinstance(content, list):  # some servers answer in parts
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    if not content and isinstance(message.get("refusal"), str):
        return f"I'm sorry: {message['refusal']}"[:LONGEST]
    if not isinstance(content, str):
        return ""
    if choice.get("finish_reason") == "length":  # its last sentence has no end
        content = content[: content.rfind(". ") + 1] or content
    return content.rpartition("</think>")[2][:LONGEST]


def _remedy(answer: web.Answer) -> str:
    if answer.status in (401, 403):
        return f"Put the server's key into the variable {KEY}."
    if not answer.passing:
        return "Check --url and --model."
    return "Start the server, or check --url; the same command goes on where it ended."
