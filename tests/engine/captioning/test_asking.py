"""A captioner in its own process, asked through a server on this machine: second questions, failures, kills, the whole set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from loratui.engine.captioning.accepting import accept
from loratui.engine.captioning.asking import Asking, Progress
from loratui.engine.captioning.captioners import CAPTIONERS
from loratui.engine.captioning.proposals import Proposals
from loratui.engine.captioning.wish import Wish
from loratui.engine.dataset.scan import scan
from loratui.engine.dataset.tokens import ESTIMATE
from loratui.engine.errors import ExitCode
from tests.support.chat_server import Chat, Reply, broken, chat_server, said
from tests.support.made_images import drawn

PLACES = ("beach", "kitchen", "garden", "office", "museum", "forest", "station")


def folder_of(tmp_path: Path, count: int) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(count):
        drawn(number, (64, 64)).save(folder / f"{number:02d}.png")
    return folder


def asking(tmp_path: Path, chat: Chat, **more: object) -> Asking:
    wish = Wish(subject="person", trigger="anafox", class_word="woman", family="flux", tokens=512, **more)  # type: ignore[arg-type]  # passed on
    options = {"url": chat.url, "model": "m", "tries": 1}
    kept = Proposals(tmp_path / "home", tmp_path / "photos")
    return Asking(captioner=CAPTIONERS["endpoint"], wish=wish, kept=kept, counter=ESTIMATE, options=options)


def at_place(number: int) -> Reply:
    return said(f"A woman in a {PLACES[number % len(PLACES)]}, number {number}.")


def test_no_image_is_asked_for_twice_after_it_was_stopped(tmp_path: Path) -> None:
    found = scan(folder_of(tmp_path, 18))
    seen: list[int] = []
    with chat_server(at_place) as chat:
        stopped = asking(tmp_path, chat).ask(
            found.images, progress=lambda now: seen.append(now.done), cancelled=lambda: bool(seen) and seen[-1] >= 7
        )
        assert stopped.cancelled
        assert len(stopped.proposals) == 7
        outcome = asking(tmp_path, chat).ask(found.images)
        once_more = asking(tmp_path, chat).ask(found.images)
        assert len(set(chat.images())) == len(chat.requests) == 18
    assert (outcome.asked, once_more.asked, once_more.proposals) == (11, 0, outcome.proposals)
    assert not list(found.root.glob("*.txt"))


def test_bad_answers_are_asked_for_once_more_and_then_told(tmp_path: Path) -> None:
    replies = [
        said("I'm sorry, I can't."),
        said("A woman in a park."),
        said("Eine Frau steht in einem Park und lacht"),
        said(""),
    ]
    found = scan(folder_of(tmp_path, 2))
    with chat_server(lambda number: replies[number]) as chat:
        outcome = asking(tmp_path, chat).ask(found.images)
        assert [told.partition("could not be used: ")[2].partition(".")[0] for told in chat.instructions()] == [
            "",
            "The captioner refused",
            "",
            "Not English",
        ]
    first, second = outcome.proposals.values()
    assert (first.text, first.flags) == ("anafox woman in a park", ())
    assert [flag.id for flag in second.flags] == ["empty"]
    written = accept(found, outcome.proposals, Proposals(tmp_path / "home", found.root))
    assert written.files == ("00.png",)
    assert (found.root / "00.txt").read_text() == "anafox woman in a park\n"


def test_an_image_that_has_no_answer_is_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    found = scan(folder_of(tmp_path, 3))
    (found.root / "01.png").write_bytes(b"no image")
    with chat_server(lambda number: broken(400, b"not this one") if number == 0 else at_place(number)) as chat:
        outcome = asking(tmp_path, chat).ask(found.images)
    assert [one.file for one in outcome.failed] == ["00.png", "01.png"]
    assert "not this one" in outcome.failed[0].message
    assert list(outcome.proposals) == ["02.png"]


@pytest.mark.parametrize(("reply", "requests"), [(broken(401), 1), (broken(400), 5)])
def test_a_server_without_answers_is_not_asked_for_all(tmp_path: Path, reply: Reply, requests: int) -> None:
    found = scan(folder_of(tmp_path, 8))
    with chat_server(lambda _: reply) as chat:
        outcome = asking(tmp_path, chat).ask(found.images)
        assert len(chat.requests) == requests
    assert outcome.error is not None
    assert outcome.error.remedy
    assert (outcome.error.exit_code is ExitCode.UNAVAILABLE) == (requests == 1)


def test_the_whole_set_is_looked_over_at_its_end(tmp_path: Path) -> None:
    def answer(number: int) -> Reply:
        more = ", holding a remote control" if number < 3 else ""
        return said(f"A\x1b[1m woman with long hair at\x07the {PLACES[number]}{more}.")

    found = scan(folder_of(tmp_path, 6))
    with chat_server(answer) as chat:
        outcome = asking(tmp_path, chat).ask(found.images)
    assert [one.text for one in outcome.proposals.values()][3:] == [f"anafox woman at the {place}" for place in PLACES[3:6]]
    flagged = [[flag.words for flag in one.flags if flag.id == "invented"] for one in outcome.proposals.values()]
    assert flagged == [[("holding a remote control",)]] * 3 + [[]] * 3


def test_variants_are_captions_of_their_own_beside_the_image(tmp_path: Path) -> None:
    texts = {
        "15 words": "A woman in a park.",
        "45 words": "A woman in a park at noon.",
        "110 words": "A woman in a park at noon under trees.",
    }
    found = scan(folder_of(tmp_path, 1))

    def by_length(chat: list[Chat]) -> Callable[[int], Reply]:
        return lambda number: said(
            next(text for words, text in texts.items() if f"most {words}" in chat[0].instructions()[number])
        )

    this: list[Chat] = []
    with chat_server(by_length(this)) as chat:
        this.append(chat)
        wanted = asking(tmp_path, chat, variants=3)
        outcome = wanted.ask(found.images)
    (one,) = outcome.proposals.values()
    assert (one.text, one.variants) == (
        "anafox woman in a park at noon",
        ("anafox woman in a park", "anafox woman in a park at noon under trees"),
    )
    accept(found, outcome.proposals, wanted.kept)
    assert sorted(path.name for path in found.root.glob("*.txt")) == ["00.2.txt", "00.3.txt", "00.txt"]
    (image,) = scan(found.root).images
    assert image.apart
    assert [proposal.state for proposal in Proposals(tmp_path / "home", found.root)] == ["accepted"]


def test_a_caption_from_before_stays_unless_it_is_to_be_replaced(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 1)
    (folder / "00.txt").write_text("mine")
    with chat_server(at_place) as chat:
        wanted = asking(tmp_path, chat)
        outcome = wanted.ask(scan(folder).images)
    told = accept(scan(folder), outcome.proposals, wanted.kept)
    assert (told.files, told.captioned, (folder / "00.txt").read_text()) == ((), 1, "mine")
    told = accept(scan(folder), outcome.proposals, wanted.kept, replace=True)
    assert told.kept is not None
    assert (told.kept / "00.txt").read_text() == "mine"
    assert (folder / "00.txt").read_text() == "anafox woman in a beach, number 0\n"


def test_progress_says_how_it_runs(tmp_path: Path) -> None:
    found = scan(folder_of(tmp_path, 2))
    told: list[Progress] = []
    with chat_server(at_place) as chat:
        asking(tmp_path, chat).ask(found.images, progress=told.append)
    assert told[0] == Progress(0, 2)
    assert told[-1] == Progress(2, 2, "m on 127.0.0.1")


def test_an_image_that_is_a_link_is_asked_for_and_captioned_beside_the_link(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 0)
    drawn(0, (64, 64)).save(tmp_path / "elsewhere.png")
    (folder / "link.png").symlink_to(tmp_path / "elsewhere.png")
    found = scan(folder)
    with chat_server(at_place) as chat:
        outcome = asking(tmp_path, chat).ask(found.images)
    assert not outcome.failed
    assert accept(found, outcome.proposals, Proposals(tmp_path / "home", folder)).files == ("link.png",)
    assert (folder / "link.txt").is_file()
    assert not (tmp_path / "elsewhere.txt").exists()
