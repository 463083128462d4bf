"""Captions by a server: what is sent, what is believed of its answers, and how often it is asked."""

from __future__ import annotations

import io
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from PIL import Image

from loratui.engine.captioning.captioners import CAPTIONERS
from loratui.engine.captioning.endpoint import KEY, Endpoint, checked_url, key_for, load, where
from loratui.engine.errors import ExitCode, LoratuiError, UsageError
from tests.support.chat_server import Reply, broken, chat_server, said

OPTIONS = {"model": "qwen3-vl", "timeout_s": 20.0}


def image(size: tuple[int, int] = (64, 48)) -> Image.Image:
    made = Image.new("RGB", size, (200, 30, 30))
    made.info["exif"] = b"Exif\0\0GPS where I live"
    return made


def asked(url: str, waits: list[float] | None = None, **options: object) -> Endpoint:
    model = load(CAPTIONERS["endpoint"], None, {**OPTIONS, "url": url, **options})
    model._sleep = (waits if waits is not None else []).append
    return model


def test_an_image_is_sent_small_and_without_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "abc-secret-key")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # nobody listens there
    with chat_server(lambda _: said("A cat.")) as chat:
        (answer,) = asked(chat.url).captions([image((4000, 2000))], "Write a caption.")
    assert answer.text == "A cat."
    assert chat.sizes() == [(1024, 512)]
    assert b"GPS" not in chat.images()[0]
    assert Image.open(io.BytesIO(chat.images()[0])).format == "JPEG"
    assert chat.instructions() == ["Write a caption."]
    assert chat.requests[0]["model"] == "qwen3-vl"
    assert chat.headers[0]["Authorization"] == "Bearer abc-secret-key"


def test_errors_that_pass_are_waited_for() -> None:
    replies = [broken(429, Retry_After="7"), broken(503), broken(500), said("A cat.")]
    waits: list[float] = []
    with chat_server(lambda number: replies[number]) as chat:
        (answer,) = asked(chat.url, waits).captions([image()], "")
    assert (answer.text, waits) == ("A cat.", [7.0, 4.0, 8.0])


@pytest.mark.parametrize(
    ("reply", "times", "of_all"),
    [
        (broken(503), 4, True),
        (broken(429, Retry_After="100000"), 4, True),
        (broken(401), 1, True),
        (broken(404), 1, True),
        (broken(307, Location="http://127.0.0.1:9/"), 1, False),
        (broken(400, b'{"error": "this image is not allowed"}'), 1, False),
        (broken(200, b"<html>nonsense"), 2, False),
        (broken(200, b'{"choices": []}'), 2, False),
        (broken(200, b'{"choices": [3]}'), 2, False),
        (broken(200, b"[" * 5000), 2, False),
        (broken(200, b'{"choices": "' + b"x" * (2 << 20) + b'"}'), 1, False),
    ],
)
def test_what_is_no_answer_is_told(reply: Reply, times: int, of_all: bool) -> None:
    waits: list[float] = []
    with chat_server(lambda _: reply) as chat, pytest.raises(LoratuiError) as told:
        asked(chat.url, waits).captions([image()], "")
    assert len(chat.requests) == times
    assert (told.value.exit_code is ExitCode.UNAVAILABLE) == of_all
    assert told.value.remedy
    assert max(waits, default=0) <= 60


def test_a_server_that_is_not_there_or_never_ends_is_told() -> None:
    waits: list[float] = []
    with pytest.raises(LoratuiError, match="no answer") as told:
        asked("http://127.0.0.1:9/v1", waits).captions([image()], "")
    assert (told.value.exit_code, waits) == (ExitCode.UNAVAILABLE, [2.0, 4.0, 8.0])
    over = threading.Event()

    def slow(_: int) -> Reply:
        over.wait(20)
        return said("late")

    with chat_server(slow) as chat:
        with pytest.raises(LoratuiError, match="timed out"):
            asked(chat.url, timeout_s=0.05, tries=1).captions([image()], "")
        over.set()


def test_newer_models_take_another_name_for_the_limit() -> None:
    replies = [broken(400, b'{"error": {"message": "Use max_completion_tokens instead of max_tokens"}}'), said("A"), said("B")]
    with chat_server(lambda number: replies[number]) as chat:
        answers = asked(chat.url).captions([image(), image()], "")
    assert [answer.text for answer in answers] == ["A", "B"]
    assert ["max_tokens" in one for one in chat.requests] == [True, False, False]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": "A "}, {"type": "text", "text": "cat"}], "A cat"),
        (None, ""),
        (7, ""),
        ("x" * 20_000, "x" * 8000),
    ],
)
def test_text_comes_in_several_forms(content: object, text: str) -> None:
    with chat_server(lambda _: said(content)) as chat:
        assert asked(chat.url).captions([image()], "")[0].text == text


def test_a_sentence_that_was_broken_off_is_left_out() -> None:
    body = b'{"choices": [{"finish_reason": "length", "message": {"content": "A cat. It sits on a"}}]}'
    with chat_server(lambda _: broken(200, body)) as chat:
        assert asked(chat.url).captions([image()], "")[0].text == "A cat."


def test_a_key_goes_only_where_it_belongs() -> None:
    openai = {"OPENAI_API_KEY": "sk-openai"}
    assert key_for("https://api.openai.com/v1/chat/completions", openai) == "sk-openai"
    assert key_for("https://elsewhere.example/v1/chat/completions", openai) == ""
    assert key_for("https://elsewhere.example/v1", {KEY: "mine", **openai}) == "mine"


def test_an_address_is_checked_and_who_sees_the_images_is_said() -> None:
    assert checked_url("http://localhost:11434/v1/") == "http://localhost:11434/v1/chat/completions"
    assert checked_url("https://a.example/v1/chat/completions") == "https://a.example/v1/chat/completions"
    for wrong in (
        "",
        "localhost:11434",
        "ftp://a.example",
        "https://me:key@a.example/v1",
        "https://a.example/v1?key=1",
        "http://[::1",
    ):
        with pytest.raises(UsageError):
            checked_url(wrong)
    assert "stay here" in where("http://127.0.0.1:1234/v1")
    assert "stay here" in where("http://[::1]:1234/v1")
    assert "leave this machine and go to a.example" in where("https://a.example/v1")
    with pytest.raises(UsageError, match="Which model"):
        load(CAPTIONERS["endpoint"], None, {"url": "http://localhost/v1"})


def test_an_answer_in_drops_and_one_that_breaks_off_are_told() -> None:
    ended = threading.Event()

    def drops(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not ended.wait(0.01):
            connection.sendall(b" ")

    with served(drops) as url, pytest.raises(LoratuiError, match="does not end") as told:
        asked(url, timeout_s=0.1, tries=1).captions([image()], "")
    assert told.value.exit_code is ExitCode.UNAVAILABLE
    ended.set()
    with (
        served(lambda connection: connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"choices"')) as url,
        pytest.raises(LoratuiError, match="no answer of a chat"),
    ):
        asked(url, tries=1).captions([image()], "")


@contextmanager
def served(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that answers with bytes as they are."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1 << 16)
            with suppress(OSError):  # the other side has left
                answer(self.request)

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()


def test_a_redirect_is_not_followed_and_the_address_is_to_be_checked() -> None:
    with chat_server(lambda _: broken(302, Location="http://127.0.0.1:9/v1")) as chat:
        with pytest.raises(LoratuiError) as error:
            asked(chat.url).captions([image()], "")
        assert len(chat.requests) == 1
    assert error.value.remedy == "Check --url and --model."
