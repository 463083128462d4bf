"""A LoRA on the hub: what its card says and never says, and what a local hub is sent."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hub_uploads
import pytest
from fake_run import FINAL, PROMPTS
from hub_server import TOKEN
from huggingface_hub import ModelCard
from judged_run import EARLIER, judged_run, judging
from PIL import Image

from loratui.engine import jobs
from loratui.engine.errors import LoratuiError, UsageError
from loratui.engine.handover import preview, publish
from loratui.engine.handover.card import Shown, model_card
from loratui.engine.handover.private import Private
from loratui.engine.planning.recipe import Recipe
from loratui.engine.runs.directory import RunDirectory
from loratui.presets.schema import Settings, replace
from loratui.tui.cli import main


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunDirectory]:
    with judging(run := judged_run(tmp_path_factory.mktemp("home of anna"))):
        yield run


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[hub_uploads.Uploads]:
    with hub_uploads.serve() as running:
        for name, value in {"HF_ENDPOINT": running.address, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        yield running


def card(changes: dict[str, Any], images: list[Shown] | None = None) -> ModelCard:
    """A card as the hub's own library reads it."""
    settings = replace(Settings(), {"dataset.trigger": "anafox", "dataset.class_word": "woman", **changes})
    return ModelCard(model_card("ana", "me/ana", settings, Recipe(settings, "demo"), 0.8, images or [], Private()))


def test_a_card_says_trigger_use_settings_and_licence() -> None:
    made = card(
        {"base.model": "black-forest-labs/FLUX.1-dev", "base.family": "flux", "adapter.rank": 24},
        [Shown("images/1.png", 'a "b": c\n- d')],
    )
    told = made.data.to_dict()
    assert told["base_model"] == "black-forest-labs/FLUX.1-dev"
    assert told["instance_prompt"] == "anafox woman"
    assert (told["license"], told["license_name"]) == ("other", "flux-1-dev-non-commercial-license")
    assert told["widget"] == [{"text": 'a "b": c\n- d', "output": {"url": "images/1.png"}}]
    assert {"lora", "text-to-image", "template:sd-lora"} <= set(told["tags"])
    text = made.text
    for words in (
        "Use `anafox woman` in the prompt",
        "strength 0.8",
        "weight_name='ana.safetensors'",
        "| adapter.rank | `24` |",
        "non-commercial use",
    ):
        assert words in text
    assert "<Gallery />" in text


@pytest.mark.parametrize(
    ("model", "family", "licence"),
    [
        ("stable-diffusion-v1-5/stable-diffusion-v1-5", "sd15", "creativeml-openrail-m"),
        ("stabilityai/stable-diffusion-xl-base-1.0", "sdxl", "openrail++"),
        ("some/finetune", "sdxl", "other"),
        ("embedded:sd15", "sd15", "apache-2.0"),
        ("/models/anna/pony.safetensors", "sdxl", None),
    ],
)
def test_a_licence_is_claimed_only_where_the_bases_is_known(model: str, family: str, licence: str | None) -> None:
    made = card({"base.model": model, "base.family": family})
    assert made.data.license == licence
    assert "anna" not in str(made)
    assert made.data.to_dict().get("base_model") == (model if "/" in model and not model.startswith("/") else None)


def test_a_file_that_was_trained_elsewhere_has_no_settings_in_its_card() -> None:
    made = ModelCard(model_card("ana", "me/ana", Settings(), None, 1.0, [], Private()))
    assert "trained" not in str(made)
    assert "| setting |" not in str(made)


def test_a_trigger_that_is_in_no_metadata_is_in_no_card() -> None:
    assert "anafox" not in str(card({"output.trigger_in_metadata": False}))


def test_what_is_shown_is_what_is_uploaded(run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: dict[str, Any] = {}

    def upload(repo: str, paths: dict[str, Path], **more: Any) -> dict[str, str]:
        sent.update(repo=repo, names=sorted(paths), **more)
        return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in paths.items()}

    monkeypatch.setattr(jobs, "run", lambda job, request: preview.begin(None)(request))  # type: ignore[arg-type]  # it tells nobody anything
    monkeypatch.setattr("loratui.engine.machine.hub.has_token", lambda: True)
    monkeypatch.setattr("loratui.engine.machine.hub.visibility", lambda repo: "missing")
    monkeypatch.setattr("loratui.engine.machine.hub.upload", upload)
    prepared = publish.prepare(run, FINAL, "ana", "me/ana", tmp_path)
    assert prepared.becomes == "a new private repository"
    assert sorted(prepared.files) == ["README.md", "ana.safetensors", "images/ana-1.png", "images/ana-2.png"]
    assert publish.upload(prepared)
    assert (sent["repo"], sent["names"], sent["private"]) == ("me/ana", sorted(prepared.files), True)
    (tmp_path / "README.md").write_text("another card")
    monkeypatch.setattr("loratui.engine.machine.hub.upload", lambda *_, **__: dict.fromkeys(prepared.files, "0"))
    with pytest.raises(LoratuiError, match="holds other bytes"):
        publish.upload(prepared)


@pytest.mark.long
def test_the_file_its_card_and_its_images_reach_a_private_repository(
    run: RunDirectory, hub: hub_uploads.Uploads, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--home", str(run.path.parents[1]), "upload", run.name, "owner/name", "--as", "ana", "--yes", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["uploaded"], told["visibility"]) == (True, "missing")
    assert hub.made_private is True
    assert hub.files["ana.safetensors"] == (run.path / FINAL).read_bytes()
    assert hub.files["README.md"].decode() == told["card"]
    assert sorted(hub.files) == ["README.md", "ana.safetensors", "images/ana-1.png", "images/ana-2.png"]
    data = ModelCard(told["card"]).data.to_dict()
    assert [one["output"]["url"] for one in data["widget"]] == ["images/ana-1.png", "images/ana-2.png"]
    assert [one["text"] for one in data["widget"]] == list(PROMPTS)
    (tmp_path / "sent.png").write_bytes(hub.files["images/ana-1.png"])
    with Image.open(tmp_path / "sent.png") as sent:
        assert (sent.format, sent.info) == ("PNG", {})
    for secret in (b"home of anna", b"private folder", b"Jane", str(Path.home()).encode()):
        assert not any(secret in data for name, data in hub.files.items() if name == "README.md"), secret


def test_a_wrong_name_a_missing_token_and_a_changed_file_are_refused_before_the_hub_is_asked(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for repo in ("ana", "a/b/c", "/etc/x", "a/b/x.safetensors"):
        with pytest.raises(UsageError, match="not a name of a repository"):
            publish.prepare(run, FINAL, "ana", repo, tmp_path)
    with pytest.raises(UsageError, match="no token"):
        publish.prepare(run, FINAL, "ana", "me/ana", tmp_path)
    with pytest.raises(UsageError):
        publish.prepare(run, "output/gone.safetensors", "ana", "me/ana", tmp_path)


@pytest.mark.long
def test_a_public_repository_takes_nothing_unless_that_is_said(
    run: RunDirectory, hub: hub_uploads.Uploads, tmp_path: Path
) -> None:
    hub.holds = "public"
    with pytest.raises(UsageError, match="is public"):
        publish.prepare(run, FINAL, "ana", "owner/name", tmp_path)
    prepared = publish.prepare(run, EARLIER, "", "owner/name", tmp_path, public=True)
    assert prepared.becomes == "your public repository"
    assert publish.upload(prepared)
    assert hub.files["anafox-000090.safetensors"] == (run.path / EARLIER).read_bytes()


@pytest.mark.long
def test_a_preview_and_a_no_send_nothing_and_other_bytes_are_found_out(
    run: RunDirectory, hub: hub_uploads.Uploads, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = str(run.path.parents[1])
    assert main(["--home", home, "upload", run.name, "owner/name", "--preview"]) == 0
    printed = capsys.readouterr().out
    assert "a new private repository" in printed
    assert "Use `anafox woman` in the prompt" in printed
    assert main(["--home", home, "upload", run.name, "owner/name"]) == 2
    assert hub.files == {}
    hub.damages = True
    with pytest.raises(LoratuiError, match=r"holds other bytes of ana\.safetensors"):
        publish.upload(publish.prepare(run, FINAL, "ana", "owner/name", tmp_path))
