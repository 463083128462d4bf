"""Proposals beside the captions: what is to be looked at, what is taken with others, and a captioner asked from the app."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from chat_server import Reply, broken, chat_server, said
from made_images import clean_set
from screen_text import hides, shows, waits
from textual.pilot import Pilot
from textual.widgets import OptionList

from loratui.engine.captioning.captioners import CAPTIONERS
from loratui.engine.captioning.cleaned import Flag
from loratui.engine.captioning.proposals import Proposal, Proposals
from loratui.engine.dataset.scan import scan
from loratui.engine.untrusted import sha256_of
from loratui.presets.schema import Settings
from loratui.tui.app import LoratuiApp
from loratui.tui.dataset.captioner_screen import CaptionerScreen
from loratui.tui.dataset.captioning import CaptionerEnded, CaptionerWent, Captioning, Order, ProposalsRead
from loratui.tui.dataset.edits import DatasetEdits
from loratui.tui.dataset.overview_screen import DatasetScreen
from loratui.tui.dataset.proposals import candidates, is_open, is_taken, names_of, to_take
from loratui.tui.dataset.proposals_screen import ProposalsScreen
from loratui.tui.widgets.field import Field
from loratui.tui.wizard.draft import Draft


def proposal(text: str, captioner: str = "blip", image: str = "i", **more: Any) -> Proposal:
    return Proposal(image=image, file="a.png", captioner=captioner, wish="w", text=text, raw=(text,), **more)


def test_each_caption_that_can_be_taken_is_a_candidate_once() -> None:
    two = (proposal("new", variants=("n", "newer")), proposal("other", "endpoint model=llava"), proposal("new"))
    assert [(one.text, one.variant) for one in candidates(two)] == [
        ("new", False),
        ("n", True),
        ("newer", True),
        ("new\nn\nnewer", True),
        ("other", False),
    ]
    assert candidates(two)[2].title == "BLIP, another length"
    assert candidates(two)[3].title == "BLIP, all lengths in turn"
    assert candidates(two)[4].title == "llava"
    every = candidates(two)[3].reworded("a\nb").proposal
    assert (every.text, every.variants) == ("a", ("b",))
    reworded = candidates(two)[1].reworded("mine").proposal
    assert (reworded.text, reworded.variants, reworded.state) == ("new", ("mine", "newer"), "accepted")


def test_what_is_taken_or_put_aside_is_not_looked_at_again() -> None:
    one = (proposal("new", variants=("long new",)),)
    assert is_open("", one)
    assert is_open("old", one)
    assert is_taken("long new", one)
    assert is_taken("new\nlong new", one)
    assert not is_open("new", one)
    assert not is_open("old", (proposal("new", state="dismissed"),))
    # An undo brings the old caption back, and with it the question.
    assert is_open("old", (proposal("new", state="accepted"),))
    assert not is_open("", ())


def test_filters_and_what_is_taken_unseen() -> None:
    captions = {"a": "old", "b": "", "c": "new", "d": ""}
    by = {
        "a": (proposal("from blip"), proposal("from florence", "florence-2-base")),
        "b": (proposal("odd", flags=(Flag("common", ("odd",)),)),),
        "c": (proposal("new"),),
        "d": (proposal("Sorry", flags=(Flag("refused"),)), proposal("", "wd14")),
    }
    assert names_of("all", list(captions), captions.__getitem__, by) == list(captions)
    assert names_of("to look at", list(captions), captions.__getitem__, by) == ["a", "b", "d"]
    assert names_of("flagged", list(captions), captions.__getitem__, by) == ["b", "d"]
    assert {name: one.text for name, one in to_take(["a", "b", "d"], by, "").items()} == {"a": "from blip", "b": "odd"}
    assert to_take(["a"], by, "florence-2-base")["a"].text == "from florence"


def test_proposals_are_those_of_the_folder_that_is_open(tmp_path: Path) -> None:
    started: list[str] = []
    known = Captioning(lambda: tmp_path, lambda group, what, job: started.append(group))
    edits = DatasetEdits("a", scan(clean_set(tmp_path / "a", 2)))
    known.read(edits)
    known.taken(ProposalsRead(edits.root, {"00.png": (proposal("new"),)}))
    known.begin(Order(CAPTIONERS["blip"], ("00.png",)), edits, Settings(), lambda message: None)
    assert known.works
    known.become({"00.png": proposal("mine", state="accepted")})
    # What the captioner knows is older than what the person did; it is written once the captioner writes no more.
    known.went(CaptionerWent(edits.root, "1 of 1", {"00.png": (proposal("new"),)}))
    assert known.by["00.png"][0].text == "mine"
    assert started == ["proposals", "captioner"]
    known.folder(tmp_path / "b")
    assert not known.works
    assert known.by == {}
    assert started[-1] == "mark proposals"
    known.went(CaptionerWent(edits.root, "1 of 1", {"00.png": (proposal("new"),)}))
    known.ended(CaptionerEnded(edits.root, {"00.png": (proposal("new"),)}, "done"))
    assert known.by == {}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = clean_set(tmp_path / "photos", 3, (128, 128))
    (folder / "02.txt").unlink()
    return folder


def draft_of(folder: Path) -> Draft:
    typed = {"dataset.path": str(folder), "dataset.trigger": "anafox", "dataset.class_word": "woman"}
    return Draft().with_preset("sd15-portrait").with_values({**typed, "base.model": "embedded:sd15"})


async def in_the_review(pilot: Pilot[Any]) -> DatasetScreen:
    step = pilot.app.screen
    assert isinstance(step, DatasetScreen)
    await waits(pilot, lambda: step.model.judgement is not None)
    step._tiles.focus()
    await pilot.pause()
    await pilot.press("p")
    await waits(pilot, lambda: isinstance(pilot.app.screen, ProposalsScreen))
    return step


async def order(pilot: Pilot[Any], url: str, hint: str = "", variants: str = "1") -> None:
    """Fills the dialog that is open and goes on."""
    await waits(pilot, lambda: isinstance(pilot.app.screen, CaptionerScreen))
    dialog = pilot.app.screen
    dialog.query_one(OptionList).highlighted = list(CAPTIONERS).index("endpoint")
    for field in dialog.query(Field):
        field.set({"url": url, "model": "llava", "hint": hint, "variants": variants}[field.key])
    await pilot.pause()
    dialog.query_one(OptionList).focus()
    await pilot.press("enter")


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.glob("*.txt"))}


async def test_a_captioner_is_asked_reviewed_undone_and_saved(home: Path, photos: Path) -> None:
    before = texts(photos)
    app = LoratuiApp(home, "dataset", draft=draft_of(photos))
    with chat_server(lambda at: said(f"A woman in a red coat number {at}, in a park, smiling at a dog.")) as chat:
        async with app.run_test(notifications=True, size=(80, 24)) as pilot:
            step = await in_the_review(pilot)
            await shows(pilot, "No captioner has proposed anything", "to look at: 0")
            await pilot.press("g")
            await shows(pilot, "Captions for 3 images", "Florence-2 base", "sentences")
            await order(pilot, chat.url)
            await shows(pilot, "3 captions proposed by", "? proposed", "1 of 3  00.png", timeout_s=60)
            assert texts(photos) == before
            await pilot.press("enter")
            await shows(pilot, "2 of 3  01.png")
            assert step.model.edits is not None
            first = step.model.edits.caption("00.png")
            assert first.startswith("anafox woman")
            assert texts(photos) == before
            await pilot.press("x")
            await shows(pilot, "– dismissed")
            await pilot.press("u")
            await pilot.press("left")
            await shows(pilot, "? proposed", before["00.txt"].split()[3])
            await pilot.press("a")
            await shows(pilot, "2 captions taken here", "✔ accepted")
            assert step.model.edits.caption("01.png") == before["01.txt"].strip()
            await pilot.press("s")
            await shows(pilot, "2 captions saved in")
        assert texts(photos)["00.txt"].strip() == first
        assert texts(photos)["01.txt"] == before["01.txt"]
        assert (photos / ".captions-before" / "0001" / "00.txt").read_text() == before["00.txt"]
        states = {one.file: one.state for one in Proposals(home, photos)}
        assert states == {"00.png": "accepted", "01.png": "dismissed", "02.png": "accepted"}
        assert len(chat.requests) == 3


@pytest.mark.long
async def test_one_image_is_asked_again_with_a_hint_and_both_can_be_compared(home: Path, photos: Path) -> None:
    app = LoratuiApp(home, "dataset", draft=draft_of(photos))
    Proposals(home, photos).put([proposal("anafox woman, by blip, in a field", image=sha256_of(photos / "00.png"))])
    with chat_server(lambda at: said("A woman with an umbrella in the rain, walking fast.")) as chat:
        async with app.run_test(notifications=True, size=(80, 24)) as pilot:
            step = await in_the_review(pilot)
            await shows(pilot, "BLIP", "by blip, in a field", "1 of 1  00.png")
            await pilot.press("h")
            await shows(pilot, "Captions for 1 image")
            await order(pilot, chat.url, "it rains")
            await shows(pilot, "umbrella", "by blip", timeout_s=60)
            assert "it rains" in chat.instructions()[0]
            await pilot.press("e")
            await pilot.press(*"soaked ", "enter")
            await shows(pilot, "✔ accepted")
            assert step.model.edits is not None
            assert "soaked" in step.model.edits.caption("00.png") or "by blip" in step.model.edits.caption("00.png")
            assert step.model.edits.unsaved == 1


@pytest.mark.long
async def test_a_server_that_fails_is_told_and_one_elsewhere_is_asked_for_first(home: Path, photos: Path) -> None:
    app = LoratuiApp(home, "dataset", draft=draft_of(photos))
    with chat_server(lambda at: broken(401)) as chat:
        async with app.run_test(notifications=True, size=(80, 24)) as pilot:
            step = await in_the_review(pilot)
            await pilot.press("g")
            await order(pilot, "https://captions.example/v1")
            await shows(pilot, "Send 3 images?", "leave this machine and go to captions.example")
            await pilot.press("n")
            await hides(pilot, "Send 3 images?")
            assert not step.model.captioning.works
            await order(pilot, chat.url, variants="9")
            await shows(pilot, "an image has 1 to 3 captions")
            await order(pilot, "no address")
            await shows(pilot, "this is no address of a server")
            await order(pilot, chat.url)
            await waits(pilot, lambda: not step.model.captioning.works and len(chat.requests) > 0, timeout_s=60)
            await shows(pilot, "into the variable LORATUI_CAPTION_KEY")


@pytest.mark.long
async def test_a_captioner_that_is_not_here_is_downloaded_after_a_yes_only(home: Path, photos: Path) -> None:
    app = LoratuiApp(home, "dataset", draft=draft_of(photos))
    async with app.run_test(notifications=True, size=(80, 24)) as pilot:
        await in_the_review(pilot)
        await pilot.press("g")
        await waits(pilot, lambda: isinstance(app.screen, CaptionerScreen))
        await pilot.press("enter")
        await shows(pilot, "Download Florence-2 base?", "MIT", "download it")
        await pilot.press("n", "escape")
        await shows(pilot, "captions by machine")


@pytest.mark.long
async def test_a_captioner_on_this_machine_proposes_in_its_job(home: Path, photos: Path) -> None:
    from made_captioners import make  # with torch

    make("florence", home / "models" / "florence-2-base")
    before = texts(photos)
    app = LoratuiApp(home, "dataset", draft=draft_of(photos))
    async with app.run_test(notifications=True, size=(80, 24)) as pilot:
        step = await in_the_review(pilot)
        await pilot.press("g")
        await shows(pilot, "Florence-2 base       sentences  on this machine")
        await pilot.press("enter")
        await waits(pilot, lambda: step.model.captioning.works)
        await waits(pilot, lambda: not step.model.captioning.works, timeout_s=120)
        await shows(pilot, "3 captions proposed by Florence-2 base")
        assert {one.captioner for one in Proposals(home, photos)} == {"florence-2-base"}
        assert texts(photos) == before


@pytest.mark.long
async def test_a_captioner_is_stopped_and_goes_on_where_it_was(home: Path, photos: Path) -> None:
    go_on = threading.Event()

    def answer(at: int) -> Reply:
        if at == 1:
            assert go_on.wait(60)
        return said(f"A woman in a red coat number {at}, in a park.")

    app = LoratuiApp(home, "dataset", draft=draft_of(photos))
    with chat_server(answer) as chat:
        async with app.run_test(notifications=True, size=(80, 24)) as pilot:
            step = await in_the_review(pilot)
            await pilot.press("g")
            await order(pilot, chat.url)
            await waits(pilot, lambda: len(chat.requests) == 2, timeout_s=60)
            await pilot.press("t")
            await shows(pilot, "Stopped.", timeout_s=20)
            go_on.set()
            assert [one.file for one in Proposals(home, photos)] == ["00.png"]
            await pilot.press("g")
            await order(pilot, chat.url)
            await waits(pilot, lambda: len(step.model.captioning.by) == 3, timeout_s=60)
            assert len(set(chat.images())) == 3
            assert len(chat.requests) == 4  # the one that was under way is asked again, the first is not
