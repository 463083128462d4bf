"""From the preset to the start: every step, back and forth, and what is wrong in words."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image
from screen_text import hides, paste, rests, screen_text, shows, type_text, waits

from loratui.engine.dataset.scan import scan
from loratui.engine.families import known_base
from loratui.engine.machine.accelerator import Accelerator, Card
from loratui.engine.machine.hub import HubError
from loratui.engine.runs.probe import Probed
from loratui.presets import list_presets, load_preset
from loratui.presets.bases import demo_dataset
from loratui.tui.app import LoratuiApp
from loratui.tui.widgets.field import Field, FieldInput
from loratui.tui.wizard.demo import demo_draft
from loratui.tui.wizard.draft import Draft
from loratui.tui.wizard.preset_screen import memory_words


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(18):
        Image.new("RGB", (128, 128), (number, 0, 0)).save(folder / f"{number:02d}.png")
        (folder / f"{number:02d}.txt").write_text(f"a photo of zorblax man, number {number}")
    return folder


async def test_the_whole_way_by_keys_alone(home: Path, images: Path) -> None:
    async with LoratuiApp(home).run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "No runs yet")
        await pilot.press("n")
        await shows(pilot, "[1 preset]", "6 preflight", "sd15-portrait", "Its values, with reasons and sources")
        await pilot.press("end", "enter")
        await shows(pilot, "[2 base]", "toy for the demo")
        await pilot.press("enter")
        await shows(pilot, "[3 dataset]", "Type the path of the folder")
        await paste(pilot, str(images))
        await shows(pilot, "18 images, 18 with a caption", "18 of 128 × 128 px")
        await pilot.press("enter")
        await type_text(pilot, "zorblax")
        await pilot.press("down")
        await type_text(pilot, "man")
        await pilot.press("enter")
        text = await shows(pilot, "[4 plan]", "= 180 image-steps an epoch", "optimizer steps")
        assert "× 10 epochs = 1 800 image-steps" in text
        assert "÷ batch 2 = 900 optimizer steps" in text
        await pilot.press("enter")
        await shows(pilot, "[5 samples]", "→ ", "zorblax man")
        await pilot.press("enter")
        await shows(pilot, "[6 preflight]", "All 18 images can be read", "enter runs one real step")
        await pilot.press("escape", "escape", "escape", "escape", "escape")
        await shows(pilot, "[1 preset]")
        draft = pilot.app.draft  # type: ignore[attr-defined]
        assert draft.value("dataset.trigger") == "zorblax"
        assert draft.value("dataset.class_word") == "man"


async def test_another_preset_keeps_the_subject(home: Path) -> None:
    draft = demo_draft().with_preset("sd15-portrait")
    assert draft.value("dataset.trigger") == "anafox"
    assert draft.value("adapter.rank") == 128
    assert draft.scan is not None


@pytest.mark.parametrize(
    ("preset", "vram_gib", "sign", "words"),
    [
        ("demo", None, "✔", "it also trains on the CPU"),
        ("sd15-portrait", None, "!", "no GPU here"),
        ("sd15-portrait", 80.0, "✔", "has 80"),
        ("sd15-portrait", 1.0, "✖", "too little"),
        ("flux-identity-18img", 40.0, "✔", "fits with savings"),
    ],
)
def test_a_preset_says_whether_this_gpu_holds_it(preset: str, vram_gib: float | None, sign: str, words: str) -> None:
    machine = Accelerator(Card("Some card", vram_gib, (8, 9)) if vram_gib else None)
    shown = memory_words(load_preset(preset).settings, machine)
    assert shown[0] == sign
    assert words in shown[1]


async def test_a_preset_says_what_it_needs(home: Path) -> None:
    async with LoratuiApp(home, "preset").run_test(notifications=True, size=(120, 40)) as pilot:
        await pilot.press("end")
        await shows(pilot, "images", "10 to 20, best 18", "embedded:sd15", "✔ on this machine", "✔ needs little memory")


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda folder: folder / "nothing-here", "nothing-here"),
        (lambda folder: folder / "empty", "empty"),
        (lambda folder: folder / "file.txt", "file.txt"),
    ],
)
async def test_a_folder_that_cannot_be_used_gives_the_next_step(home: Path, tmp_path: Path, make: object, problem: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "photos-of-anna").mkdir()
    (tmp_path / "file.txt").write_text("x")
    draft = Draft().with_preset("demo").with_values({"dataset.path": str(make(tmp_path))})  # type: ignore[operator]
    async with LoratuiApp(home, "dataset", draft=draft).run_test(notifications=True, size=(120, 40)) as pilot:
        text = await shows(pilot, "✖", problem)
        if problem != "empty":
            assert "photos-of-anna" in text
        for _ in range(4):
            await pilot.press("enter")
        await rests(pilot)
        assert "[3 dataset]" in screen_text(pilot.app)


async def test_a_broken_image_is_named_and_the_rest_goes_on(home: Path, images: Path) -> None:
    (images / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    draft = Draft().with_preset("demo").with_values({"dataset.path": str(images), "dataset.trigger": "zorblax"})
    async with LoratuiApp(home, "dataset", draft=draft).run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, "18 images", "broken.png")


async def test_the_folder_completes_with_the_right_arrow(home: Path, images: Path) -> None:
    draft = Draft().with_preset("demo")
    async with LoratuiApp(home, "dataset", draft=draft).run_test(notifications=True, size=(120, 40)) as pilot:
        await paste(pilot, str(images)[:-3])
        await waits(pilot, lambda: pilot.app.screen.query(FieldInput).first()._suggestion == str(images))
        await pilot.press("right")
        await shows(pilot, "18 images")
        assert pilot.app.screen.query(Field).first().text == str(images)


async def test_a_plan_without_a_trigger_is_not_said_to_have_no_warnings(home: Path) -> None:
    draft = demo_draft().with_values({"dataset.trigger": ""})
    async with LoratuiApp(home, "plan", draft=draft).run_test(notifications=True, size=(120, 50)) as pilot:
        text = await shows(pilot, "1 800 image-steps", "No trigger word is set")
        assert "no warnings" not in text
        assert "--trigger" not in text


async def test_tab_takes_the_completion_and_moves_on_where_there_is_none(home: Path, images: Path) -> None:
    draft = Draft().with_preset("demo")
    async with LoratuiApp(home, "dataset", draft=draft).run_test(notifications=True, size=(120, 40)) as pilot:
        field = pilot.app.screen.query(Field).first()
        await paste(pilot, str(images)[:-3])
        await pilot.press("tab")  # without a pause, as a slow line brings it
        await shows(pilot, "18 images")
        assert field.text == str(images)
        assert field.entered
        await pilot.press("backspace", "down", "up")
        await waits(pilot, lambda: field.query_one(FieldInput)._suggestion == str(images))  # it comes back with the person
        await pilot.press("tab", "tab")
        assert field.text == str(images)
        assert not field.entered


async def test_the_base_completes_folders_and_files(home: Path, tmp_path: Path) -> None:
    (tmp_path / "large.safetensors").write_bytes(b"")
    draft = Draft().with_preset("demo")
    async with LoratuiApp(home, "base", draft=draft).run_test(notifications=True, size=(120, 40)) as pilot:
        field = pilot.app.screen.query_one(Field)
        field.set(f"{tmp_path}/lar")
        await pilot.press("end", "tab")
        assert field.text == f"{tmp_path}/large.safetensors"


async def test_the_plan_follows_every_key_and_reset_takes_it_back(home: Path) -> None:
    async with LoratuiApp(home, "plan", draft=demo_draft()).run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, "× 10 epochs = 1 800 image-steps")
        await pilot.press("down", "5")
        text = await shows(pilot, "× 5 epochs = 900 image-steps", "÷ batch 2 = 450 optimizer steps")
        assert "◆ preset: by the rule" in text
        assert "Changed from the preset" in text
        assert "Each image is shown 50 times" in text
        await pilot.press("down", "backspace", "1")
        await shows(pilot, "÷ batch 1 = 900 optimizer steps")
        await pilot.press("r", "up", "r")
        await shows(pilot, "× 10 epochs = 1 800 image-steps", "÷ batch 2 = 900 optimizer steps")
        await hides(pilot, "Changed from the preset")


async def test_a_key_holds_images_out_and_takes_it_back(home: Path) -> None:
    async with LoratuiApp(home, "plan", draft=demo_draft()).run_test(notifications=True, size=(120, 50)) as pilot:
        await shows(pilot, "18 images × 10 repeats", "Held out: none; overtraining is not measured  (h)")
        await pilot.press("h")
        await shows(
            pilot, "16 images × 10 repeats", "Held out: 2 images: anafox_", "not learnt from", "◆ dataset.held_out anafox_"
        )
        held = pilot.app.draft.value("dataset.held_out")  # type: ignore[attr-defined]  # the app of this test
        assert len(held) == 2
        await pilot.press("h")
        await shows(pilot, "18 images × 10 repeats", "Held out: none")


async def test_of_few_images_none_is_held_out_and_that_is_said(home: Path, images: Path) -> None:
    for file in [*images.glob("*.png")][:10]:
        file.unlink()
    draft = demo_draft().with_values({"dataset.path": str(images)}).with_scan(scan(images))
    async with LoratuiApp(home, "plan", draft=draft).run_test(notifications=True, size=(120, 50)) as pilot:
        await shows(pilot, "8 images × 10 repeats", "Held out: none")
        await pilot.press("h")
        await shows(pilot, "Fewer than 12 images: none can be spared.")


def test_what_another_folder_holds_out_is_forgotten(images: Path) -> None:
    draft = demo_draft().with_values({"dataset.held_out": ["anafox_02.png"]})
    assert draft.with_scan(scan(demo_dataset())).value("dataset.held_out") == ("anafox_02.png",)
    assert draft.with_values({"dataset.path": str(images)}).with_scan(scan(images)).value("dataset.held_out") == ()


async def test_a_batch_that_processes_share_is_shown_as_one(home: Path) -> None:
    changes = {"training.batch_size": 1, "training.processes": 2, "memory.device": "cpu"}
    async with LoratuiApp(home, "plan", draft=demo_draft(changes=changes)).run_test(size=(80, 24)) as pilot:
        text = await shows(pilot, "÷ batch 2 (1 in each of 2 processes) = 900 optimizer steps")
        assert "◆ in each of 2 processes, preset: 2" in text


async def test_what_cannot_be_trained_is_told_on_the_plan(home: Path) -> None:
    draft = demo_draft().with_values({"dataset.bucket_step": 9, "training.precision": "fp16"})
    async with LoratuiApp(home, "plan", draft=draft).run_test(notifications=True, size=(160, 50)) as pilot:
        text = await shows(pilot, "✖ dataset.bucket_step 9", "Set dataset.bucket_step=8.", "✖ training.precision fp16")
        assert "no warnings" not in text


async def test_a_number_out_of_range_is_told_and_keeps_one_on_the_step(home: Path) -> None:
    async with LoratuiApp(home, "plan", draft=demo_draft()).run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, "1 800 image-steps")
        await pilot.press("down", "down", "9", "9", "9")
        await shows(pilot, "too large", "Not in these numbers, because invalid: Batch.")
        await pilot.press("enter")
        await rests(pilot)
        assert "[4 plan]" in screen_text(pilot.app)
        await pilot.press("r")
        await hides(pilot, "too large")
        assert "Not counted" not in screen_text(pilot.app)


async def test_a_number_that_is_emptied_is_left_to_the_rule_and_said_so(home: Path) -> None:
    async with LoratuiApp(home, "plan", draft=demo_draft()).run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, "1 800 image-steps")
        await pilot.press("backspace", "backspace")
        text = await shows(pilot, "◆ rule, preset: 10", "◆ schedule.repeats by the rule  (preset: 10)")
        assert pilot.app.screen.query(Field).first().text == ""
        assert "Repeats         10" in text  # in grey: what the rule gives
        assert "image-steps" in text


async def test_letters_are_keys_in_a_number_field(home: Path) -> None:
    async with LoratuiApp(home, "plan", draft=demo_draft()).run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, "1 800 image-steps", "q leave", "? help")
        await pilot.press("question_mark")
        await shows(pilot, "reset this field to the preset's value")
        await pilot.press("escape")
        await pilot.press("q")
        await waits(pilot, lambda: pilot.app.return_code == 0)


async def test_letters_are_letters_in_a_text_field_and_f1_still_helps(home: Path) -> None:
    async with LoratuiApp(home, "dataset", draft=Draft().with_preset("demo")).run_test(
        notifications=True, size=(120, 40)
    ) as pilot:
        text = await shows(pilot, "f1 help")
        assert "q leave" not in text
        await type_text(pilot, "q?")
        assert pilot.app.screen.query(Field).first().text == "q?"
        await pilot.press("f1")
        await shows(pilot, "Your images and their trigger word")


async def test_the_costs_on_this_machine_are_told(home: Path) -> None:
    async with LoratuiApp(home, "plan", draft=demo_draft()).run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, "on this machine", "LoRA file", "disk")


async def test_a_gpu_that_cannot_be_used_is_not_said_to_lack_a_time(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unusable = Accelerator(problem="This torch is a build for CPUs.")
    monkeypatch.setattr("loratui.engine.machine.accelerator.accelerator", lambda: unusable)
    async with LoratuiApp(home, "plan", draft=demo_draft()).run_test(notifications=True, size=(120, 40)) as pilot:
        text = await shows(pilot, "time unknown so far on this machine", "LoRA file", "is a build for CPUs")
        assert "does not have" not in text


async def test_a_base_that_is_not_here_stops_the_start(home: Path) -> None:
    draft = demo_draft().with_values({"base.model": "/nowhere/model.safetensors"})
    async with LoratuiApp(home, "preflight", draft=draft).run_test(notifications=True, size=(120, 40)) as pilot:
        text = await shows(pilot, "✖", "/nowhere/model.safetensors", "1 error")
        assert "enter start" not in text
        await pilot.press("enter")
        await rests(pilot)
        assert "[6 preflight]" in screen_text(pilot.app)
    assert not (home / "runs").exists()


async def test_images_that_go_between_plan_and_start_are_noticed(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "anafox"
    shutil.copytree(demo_dataset(), folder)
    draft = demo_draft()
    assert draft.scan is not None
    draft = draft.with_values({"dataset.path": str(folder)}).with_scan(draft.scan)
    shutil.rmtree(folder)
    async with LoratuiApp(home, "preflight", draft=draft).run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, "The run cannot start", "anafox")


async def test_the_start_makes_a_run_and_opens_its_training(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launched: list[str] = []
    monkeypatch.setattr("loratui.engine.runs.launcher.launch", lambda run, job="train": launched.append(run.name))
    async with LoratuiApp(home, "preflight", draft=demo_draft()).run_test(notifications=True, size=(100, 30)) as pilot:
        await shows(pilot, "s starts without it")
        await pilot.press("s")
        await shows(pilot, "waiting for the trainer")
        assert [path.name for path in (home / "runs").iterdir() if not path.name.startswith(".")] == launched
        assert pilot.app.draft == Draft()  # type: ignore[attr-defined]


async def test_enter_makes_one_real_step_and_starts_only_when_asked_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launched: list[str] = []
    monkeypatch.setattr("loratui.engine.runs.launcher.launch", lambda run, job="train": launched.append(run.name))
    measured = Probed(device="cpu", step_s=0.5, image_step_s=0.25, peak_vram_gib=None, peak_ram_gib=0.6, load_s=3.0)
    monkeypatch.setattr("loratui.engine.runs.probe.probe", lambda *_, **__: measured)
    async with LoratuiApp(home, "preflight", draft=demo_draft()).run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "enter runs one real step, the last check", "enter one real step", "s start without it")
        await pilot.press("enter")
        await shows(pilot, "One real step took 0.50 s", "Start the training?", "enter start training")
        assert not launched
        await pilot.press("enter")
        await shows(pilot, "waiting for the trainer")
        assert len(launched) == 1


async def test_a_start_that_fails_is_told_and_can_be_tried_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from loratui.engine.errors import UsageError

    def fail(run: object, job: str = "train") -> None:
        raise UsageError("The supervisor could not be started.", "Check that Python is intact.")

    monkeypatch.setattr("loratui.engine.runs.launcher.launch", fail)
    async with LoratuiApp(home, "preflight", draft=demo_draft()).run_test(notifications=True, size=(100, 30)) as pilot:
        await shows(pilot, "s starts without it")
        await pilot.press("s")
        await shows(pilot, "could not be started", "s start without it")


async def test_who_only_looks_at_the_presets_leaves_no_draft(home: Path) -> None:
    async with LoratuiApp(home).run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "No runs yet")
        await pilot.press("n")
        await shows(pilot, "[1 preset]")
        await pilot.press("down", "escape")
        text = await shows(pilot, "No runs yet")
        assert "Draft: " not in text


async def test_a_base_that_was_found_is_taken_with_down_and_enter(home: Path) -> None:
    draft = Draft().with_preset("demo:sdxl")
    app = LoratuiApp(home, "base", draft=draft.with_values({"base.model": "nothing"}))
    async with app.run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "↓ and enter choose one", "✔ embedded:sdxl  toy for the demo")
        await pilot.press("down", "enter")
        await shows(pilot, "✔ toy for the demo, SDXL's shape")
        assert app.draft.value("base.model") == "embedded:sdxl"


def test_every_card_preset_has_a_base_whose_source_is_known() -> None:
    presets = [one for preset in list_presets() for one in (preset, *preset.variants.values())]
    models = {preset.settings.base.model for preset in presets}
    cards = {model for model in models if not model.startswith("embedded:")}
    assert len(cards) >= 6
    for model in cards:
        source = known_base(model)
        assert source is not None, model
        assert source.licence
        assert source.bytes > 1e9
    assert {model for model in cards if known_base(model).gated} == {"black-forest-labs/FLUX.1-dev"}  # type: ignore[union-attr]


@pytest.mark.parametrize("preset", ["sd15-portrait", "flux-identity-18img"])
async def test_a_preset_names_its_base_with_source_licence_size_and_one_key(home: Path, preset: str) -> None:
    app = LoratuiApp(home, "base", draft=Draft().with_preset(preset))
    async with app.run_test(notifications=True, size=(80, 24)) as pilot:
        text = await shows(
            pilot, "is not on this machine yet", "huggingface.co/", "licence   ", "GB", "f6 downloads it", "Here:"
        )
        assert str(app.draft.value("base.model")) in text
        assert "embedded" not in text  # a toy is proposed for the demo alone
        assert ("f7" in text.partition("gate")[2]) == (preset == "flux-identity-18img")


async def test_the_toys_are_marked_wherever_a_base_is_named(home: Path) -> None:
    app = LoratuiApp(home, "preset")
    async with app.run_test(notifications=True, size=(120, 40)) as pilot:
        await shows(pilot, "[1 preset]")
        await pilot.press("end")
        await shows(pilot, "embedded:sd15 (toy)")


async def test_a_view_only_wizard_names_its_step_whole_at_80_columns(home: Path) -> None:
    app = LoratuiApp(home, "plan", draft=demo_draft(), view_only=True)
    async with app.run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "view only", "[4 plan] of 6 steps")


async def test_what_the_hub_said_of_one_base_does_not_stand_beside_another(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(target: str) -> None:
        raise HubError("offline", "HF_HUB_OFFLINE is set, so nothing is fetched.", "Unset it to download.")

    monkeypatch.setattr("loratui.engine.machine.hub.look_up", offline)
    draft = demo_draft().with_values({"base.model": "owner/name"})
    async with LoratuiApp(home, "base", draft=draft).run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "f6 downloads it", "✔ embedded:sd15")
        await pilot.press("f6")
        await shows(pilot, "✖ HF_HUB_OFFLINE is set")
        await pilot.press("down", "enter")
        await shows(pilot, "✔ toy for the demo")
        await hides(pilot, "HF_HUB_OFFLINE")


async def test_an_empty_list_of_bases_does_not_keep_enter_from_going_on(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loratui.engine.planning.bases.discover", lambda: ([], False))
    draft = demo_draft().with_values({"base.model": "owner/name"})
    async with LoratuiApp(home, "base", draft=draft).run_test(notifications=True, size=(80, 24)) as pilot:
        text = await shows(pilot, "f6 downloads it", "no base for this preset")
        assert "The list below" not in text
        await pilot.press("down", "enter")
        await shows(pilot, "[3 dataset]")
