"""The same steps as questions and answers, by lines alone."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest
from fake_run import FakeTrainer, finished_run, make_run, write_grid
from hypothesis import given
from hypothesis import strategies as st

from loratui.engine.errors import UsageError
from loratui.engine.runs.directory import RunDirectory, list_runs
from loratui.engine.runs.probe import Probed
from loratui.presets import list_presets
from loratui.presets.bases import demo_dataset
from loratui.tui import plain
from loratui.tui.plain import Wizard
from loratui.tui.plain.asking import Asker
from loratui.tui.wizard.drafts import list_drafts

_KEEP = ("", "", "n")
"""Both lists of prompts stay as they are, and no real step is made."""


def _wizard(home: Path, *answers: str) -> Wizard:
    return Wizard(Asker(io.StringIO("".join(f"{answer}\n" for answer in answers)), io.StringIO()), home)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Jobs that would have been started; each ends well at once."""
    jobs: list[tuple[str, str]] = []

    def launch(run: RunDirectory, job: str = "train") -> None:
        jobs.append((run.name, job))
        with FakeTrainer(run, job) as trainer:
            trainer.start()
            if job == "train":
                trainer.steps(90)
                trainer.output(final=True)
            trainer.finish()

    monkeypatch.setattr("loratui.engine.runs.launcher.launch", launch)
    monkeypatch.setattr(plain, "launch", launch)
    return jobs


def test_a_base_that_is_not_here_is_told_with_its_source_in_lines_that_nothing_cuts(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("loratui.engine.planning.bases.discover", lambda: ([], False))
    number = [preset.name for preset in list_presets()].index("flux-identity-18img") + 1
    out = io.StringIO()
    with pytest.raises(UsageError):
        Wizard(Asker(io.StringIO(f"1\n{number}\n"), out), home).menu()
    told = "loratui download black-forest-labs/FLUX.1-dev fetches the preset's base (about 33.7 GB, licence FLUX.1 [dev]"
    assert told in capsys.readouterr().out
    choices = out.getvalue().split("Which base model?")[1].splitlines()
    assert choices[1].strip() == "1  black-forest-labs/FLUX.1-dev: not on this machine yet"
    assert all(len(line) <= 80 for line in choices)


def test_from_nothing_to_a_file(
    home: Path, tmp_path: Path, started: list[tuple[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(demo_dataset(), folder)
    number = [preset.name for preset in list_presets()].index("demo") + 1
    answers = ["1", str(number), "", str(tmp_path / "gone"), str(folder), "anafox", "woman", "1", *_KEEP, "y", "n"]
    assert _wizard(home, *answers).menu() == 0
    printed = capsys.readouterr().out
    assert "18 images × 10 repeats = 180 image-steps an epoch" in printed
    assert "÷ batch 2 = 900 optimizer steps" in printed
    [run] = list_runs(home)
    assert started == [(run.name, "train")]
    assert str(run.output / "anafox.safetensors") in printed


def test_the_demo_with_other_numbers_and_the_grid(
    home: Path, started: list[tuple[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    answers = ["2", "3", "nonsense", "4", "1", *_KEEP, "y", "y", "y", *["y", ""] * 6, *[""] * 7, "", "y"]
    assert _wizard(home, *answers).menu() == 0
    printed = capsys.readouterr().out
    assert "× 4 epochs = 720 image-steps" in printed
    assert [job for _, job in started] == ["train", "validate"]
    [run] = list_runs(home)
    assert len(json.loads((run.validation / "checklist.json").read_text())["ticked"]) == 7


def test_saying_no_writes_nothing(home: Path, started: list[tuple[str, str]]) -> None:
    assert _wizard(home, "2", "1", *_KEEP, "n").menu() == 0
    assert started == []
    assert list_runs(home) == []


def test_an_error_before_the_start_is_an_exit_code(
    home: Path, started: list[tuple[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    wizard = _wizard(home, "1", "", "")
    wizard._draft = wizard._draft.with_preset("demo").with_values(
        {"dataset.path": str(demo_dataset()), "base.model": "/gone.safetensors"}
    )
    from loratui.engine.dataset.scan import scan

    wizard._draft = wizard._draft.with_scan(scan(demo_dataset()))
    assert wizard._plan_and_start() == 2
    assert "/gone.safetensors" in capsys.readouterr().out
    assert list_runs(home) == []


def test_a_draft_is_kept_at_each_answer_and_offered_again(
    home: Path, tmp_path: Path, started: list[tuple[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(demo_dataset(), folder)
    number = [preset.name for preset in list_presets()].index("demo") + 1
    with pytest.raises(UsageError, match="Nobody can answer"):
        _wizard(home, "1", str(number), "", str(folder), "zorblax", "man").menu()
    (draft,) = list_drafts(home)
    assert draft.title == "zorblax"
    answers = ["1", "2", "1", "y", "{subject} in the rain", "", "", "", "y", "n"]
    assert _wizard(home, *answers).menu() == 0
    assert "Go on with a draft?" not in capsys.readouterr().out  # the asker has a stream of its own
    [run] = list_runs(home)
    assert started == [(run.name, "train")]
    assert "{subject} in the rain" in run.recipe.read_text()
    assert list_drafts(home) == []


def test_one_real_step_is_told_in_a_line(
    home: Path, started: list[tuple[str, str]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = Probed(device="cpu", step_s=0.5, image_step_s=0.25, peak_vram_gib=None, peak_ram_gib=0.6, load_s=3.0)
    monkeypatch.setattr("loratui.engine.runs.probe.probe", lambda prepared, home, tell: measured)
    assert _wizard(home, "2", "1", "", "", "y", "n").menu() == 0
    assert "One real step took 0.50 s and 0.6 GiB of main memory." in capsys.readouterr().out


def test_old_runs_can_be_gone_on_with(home: Path, started: list[tuple[str, str]]) -> None:
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        trainer.steps(9)
        trainer.finish("paused", 10, "Paused; a checkpoint was saved.")
    assert _wizard(home, "3", "2", "n").menu() == 0
    assert started == [(run.name, "train")]


def test_a_done_run_offers_grid_and_checklist(home: Path, started: list[tuple[str, str]]) -> None:
    run = finished_run(home)
    assert _wizard(home, "3", "3", "y", "fine", *[""] * 10, "y", *[""] * 6, "", "n").menu() == 0
    kept = json.loads((run.validation / "checklist.json").read_text())
    assert (list(kept["ticked"]), kept["notes"], kept["seen"]) == (["likeness"], {"likeness": "fine"}, ["weak"])
    assert _wizard(home, "3", "2", "n").menu() == 0
    assert started == [(run.name, "validate")]


def test_the_check_in_lines_chooses_rates_and_exports_a_file(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = finished_run(home)
    write_grid(run, epochs=True)
    answers = [*[""] * 12, *[""] * 7, "3", "5", "y", "mine", "", ""]
    assert _wizard(home, "3", "3", *answers).menu() == 0
    printed = capsys.readouterr().out
    assert "5. Strength" in printed
    assert f"{run.validation}/00-anafox-1.50-1000.png: anafox.safetensors, strength 1.5" in printed
    assert "nearly the same anafox_03.png" in printed
    assert "and 14 more" in printed
    kept = json.loads((run.validation / "checklist.json").read_text())
    assert kept["chosen"] == "output/anafox-000180.safetensors"
    assert kept["files"] == {"output/anafox-000180.safetensors": {"rating": 4, "note": ""}}
    assert (run.path / "export" / "mine.recipe.toml").read_bytes() == run.recipe.read_bytes()
    assert f"Written: {run.path}/export/mine.safetensors, and mine.recipe.toml, mine.effective.toml, mine.json" in printed
    assert "ComfyUI: models/loras" in printed


def test_an_advice_leads_to_the_plan_of_the_next_run(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = finished_run(home)
    write_grid(run)
    look = {"id": "hands", "change": "Look at the hands.", "why": "", "do": {"look": "Compare them in part 4."}}
    fewer = {"id": "fewer", "change": "Fewer epochs.", "why": "It was right.", "do": {"settings": {"schedule.epochs": 6}}}
    verdict = {"kind": "overtrained", "confidence": 0.8, "reasons": ["Images vary less."]}
    (run.validation / "measures.json").write_text(json.dumps({"verdict": verdict, "best": None, "advice": [look, fewer]}))
    answers = [*[""] * 12, *[""] * 7, "", "", "2", "1", *_KEEP, "n"]
    assert _wizard(home, "3", "3", *answers).menu() == 0
    printed = capsys.readouterr().out
    assert "Verdict: Overtrained, 80 % sure. It learnt too much: freedom or quality is lost.\n  Images vary less." in printed
    assert "Advice: Look at the hands.\n  You can do it: Compare them in part 4." in printed
    assert f"Advice: Fewer epochs. It was right.\n  loratui continue {run.name} --advice fewer" in printed
    assert f"Planned from {run.name}.\n  ◆ schedule.epochs 6  ({run.name}: 10)" in printed
    (draft,) = list_drafts(home)
    assert draft.changes["output.planned_from"] == str(run.path)


def test_leaving_at_once(home: Path) -> None:
    assert _wizard(home, "3").menu() == 0


def test_an_end_of_answers_is_an_error_with_a_remedy(home: Path) -> None:
    with pytest.raises(UsageError, match="Nobody can answer"):
        _wizard(home).menu()


@given(st.lists(st.text(st.characters(exclude_characters="\n\r"), max_size=10), max_size=6), st.integers(1, 5))
def test_whatever_is_typed_a_choice_is_one_of_the_list(answers: list[str], options: int) -> None:
    source = io.StringIO("".join(f"{answer}\n" for answer in [*answers, "1"]))
    chosen = Asker(source, io.StringIO()).choose("Which?", [str(n) for n in range(options)])
    assert 0 <= chosen < options


def test_yes_and_no_in_all_their_forms() -> None:
    def asked(text: str, default: bool) -> bool:
        return Asker(io.StringIO(text), io.StringIO()).confirm("Sure?", default)

    assert asked("y\n", False)
    assert asked("YES\n", False)
    assert not asked("n\n", True)
    assert asked("\n", True)
    assert not asked("\n", False)
    assert asked("what\ny\n", False)


def test_questions_fit_any_encoding() -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    Asker(io.StringIO("1\n"), out).choose("18 × 10 – which?", ["a…"])
    out.flush()
    assert b"18 ? 10" in out.buffer.getvalue()  # type: ignore[attr-defined]
