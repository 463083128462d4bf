"""`app.toml` and `keys.toml`: what is read, what is refused in words, and that a conflict keeps both keys working."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from screen_text import shows

from loratui.tui import settings, themes
from loratui.tui.app import LoratuiApp
from loratui.tui.bindings import KEYS, written
from loratui.tui.keymap import keys_of, remapped


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "own config"
    folder.mkdir()
    monkeypatch.setenv("LORATUI_CONFIG", str(folder))
    return folder


def test_without_files_everything_has_its_default(config: Path) -> None:
    loaded = settings.load()
    assert loaded.settings == settings.AppSettings()
    assert loaded.keys == KEYS
    assert loaded.problems == ()


def test_what_is_saved_is_read_again_and_a_comment_stays(config: Path) -> None:
    (config / "app.toml").write_text("# mine\nbell = true\n")
    settings.save(settings.AppSettings(theme="light", bell=False, price_per_hour=0.44))
    assert settings.load().settings == settings.AppSettings(theme="light", bell=False, price_per_hour=0.44)
    assert "# mine" in (config / "app.toml").read_text()
    assert (config / "app.toml").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("bell = true\nthme = 'light'\n", ("line 2", "thme", "did you mean theme")),
        ("theme = 'lihgt'\n", ("line 1", "no such theme", "did you mean light")),
        ("price_per_hour = -1\n", ("line 1", "not below 0")),
        ("price_per_hour = nan\n", ("not below 0",)),
        ("bell = 1\n", ("true or false",)),
        ("bell = = 1\n", ("not valid TOML",)),
        ("format = 99\n", ("format 99", "up to 1")),
    ],
)
def test_what_cannot_be_used_is_told_and_keeps_its_default(config: Path, text: str, words: tuple[str, ...]) -> None:
    (config / "app.toml").write_text(text)
    loaded = settings.load()
    assert len(loaded.problems) == 1
    assert all(word in loaded.problems[0] for word in ("app.toml", *words)), loaded.problems
    assert loaded.settings == settings.AppSettings()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("\npuase = 'P'\n", ("line 2", "puase", "did you mean pause")),
        ("pause = 5\n", ("line 1", "expected a key in quotes")),
        ("pause = ''\n", ("not a key",)),
        ("pause = 'ctrl+m'\n", ("taken by terminals",)),
        ("pause = 'no such key!'\n", ("not a key",)),
        ("repaint = 'L'\n", ("line 1", "L is typed in fields", "it keeps ctrl+l")),
        ("pause = 's'\n", ("line 1", "s is the key of sample", "it keeps p")),
    ],
)
def test_keys_that_cannot_be_used_are_told(config: Path, text: str, words: tuple[str, ...]) -> None:
    (config / "keys.toml").write_text(text)
    loaded = settings.load()
    assert len(loaded.problems) == 1
    assert all(word in loaded.problems[0] for word in ("keys.toml", *words)), loaded.problems
    assert loaded.keys == KEYS


def test_two_keys_may_change_places(config: Path) -> None:
    (config / "keys.toml").write_text("pause = 's'\nsample = 'p'\nhelp = ['?', 'f1', 'H']\n")
    loaded = settings.load()
    assert loaded.problems == ()
    now = {key.id: key.shown for key in keys_of("training", loaded.keys)}
    assert (now["pause"], now["sample"], now["help"]) == ("s", "p", "?")
    assert loaded.keymap == {"pause": "s", "sample": "p", "help": "question_mark,f1,H"}


@hypothesis_settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(max_size=120))
def test_any_text_in_the_files_is_survived(config: Path, text: str) -> None:
    for name in ("app.toml", "keys.toml"):
        (config / name).write_text(text, encoding="utf-8", errors="replace")
    loaded = settings.load()
    assert isinstance(loaded.settings, settings.AppSettings)
    assert len(loaded.keys) == len(KEYS)


@given(st.dictionaries(st.sampled_from([key.id for key in KEYS]), st.sampled_from(["p", "s", "x", "f1", "enter", "z", "p,z"])))
def test_after_any_remapping_no_key_of_the_person_stands_on_another(wanted: dict[str, str]) -> None:
    table, problems = remapped(wanted)
    changed = [key for key in table if key.id in wanted and key.id not in problems]
    for key in changed:
        for other in table:
            if other.id != key.id and set(other.contexts) & set(key.contexts):
                assert not set(other.keys.split(",")) & set(key.keys.split(",")), (key.id, other.id)


def test_keys_are_written_as_people_know_them() -> None:
    assert [written(name) for name in ("escape", "question_mark", "f1", "space", "p", "ctrl+p")] == [
        "esc", "?", "f1", "space", "p", "ctrl+p",
    ]  # fmt: skip


async def test_an_own_key_works_and_is_shown_everywhere(home: Path, config: Path) -> None:
    (config / "keys.toml").write_text("demo = 'z'\n")
    async with LoratuiApp(home).run_test(notifications=True, size=(80, 24)) as pilot:
        await shows(pilot, "z try the demo")
        await pilot.press("question_mark")
        await shows(pilot, "z  ")
        await pilot.press("escape", "t")
        await shows(pilot, "No runs yet")
        await pilot.press("z")
        await shows(pilot, "[4 plan]")


async def test_a_bad_file_is_told_at_the_start(home: Path, config: Path) -> None:
    (config / "keys.toml").write_text("hlep = 'z'\n")
    async with LoratuiApp(home).run_test(notifications=True, size=(120, 40)) as pilot:
        text = await shows(pilot, "hlep")
        assert "no such command; did you mean help?" in " ".join(text.replace("▌", " ").split())


async def test_a_theme_is_chosen_and_remembered(home: Path, config: Path) -> None:
    async with LoratuiApp(home).run_test(notifications=True, size=(100, 30)) as pilot:
        assert pilot.app.theme == themes.DEFAULT
        await pilot.press("f2")
        await shows(pilot, "Preferences", "(●) theme: dark", "colour-blind")
        await pilot.press("down", "down", "down", "enter")
        await shows(pilot, "(●) theme: colour-blind")
        assert pilot.app.theme == "loratui-colour-blind"
        await pilot.press("down", "enter")
        await shows(pilot, "[ ] ring the bell")
        await pilot.press("tab", "0", ".", "4", "4", "escape")
    again = LoratuiApp(home)
    assert again.theme == "loratui-colour-blind"
    assert (again.settings.bell, again.settings.price_per_hour) == (False, 0.44)


async def test_a_folder_that_takes_no_settings_is_told(home: Path, config: Path) -> None:
    (config / "app.toml").mkdir()
    async with LoratuiApp(home).run_test(notifications=True, size=(100, 30)) as pilot:
        await pilot.press("f2", "down", "enter")
        await shows(pilot, "Not kept for next time")
        assert pilot.app.theme == "loratui-light"
