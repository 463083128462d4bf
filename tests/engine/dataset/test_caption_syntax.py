"""What other tools write into captions: found, never found where it is not, and taken out."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_images import clean_set

from loratui.engine.dataset.caption_syntax import SYNTAXES, filled_in, without_parameters
from loratui.engine.dataset.inspect import inspect_folder
from loratui.engine.dataset.scan import scan
from loratui.presets import load_preset, schema
from loratui.tui.dataset.bulk_edits import BULK_EDITS, Around, changed_captions
from loratui.tui.dataset.edits import DatasetEdits
from loratui.tui.dataset.quick_fixes import fix_for

SETTINGS = schema.replace(load_preset("demo").settings, {"dataset.trigger": "anafox", "dataset.class_word": "woman"})


@pytest.mark.parametrize(
    ("text", "id", "example", "stripped"),
    [
        ("anafox, (smile:1.3), hat", "caption_weights", "(smile:1.3)", "anafox, smile, hat"),
        ("anafox, (smile : 1.3)", "caption_weights", "(smile : 1.3)", "anafox, smile"),
        ("((smile)), hat", "caption_weights", "((smile))", "smile, hat"),
        ("(((smile:1.2))), a", "caption_weights", "(((smile:1.2)))", "smile, a"),
        ("[smile], hat", "caption_weights", "[smile]", "smile, hat"),
        ("{{smile}}, hat", "caption_weights", "{{smile}}", "smile, hat"),
        ("1girl, (smile), hat", "caption_weights", "(smile)", "1girl, smile, hat"),
        ("anafox, (hat (red):1.2)", "caption_weights", "(hat (red):1.2)", "anafox, hat (red)"),
        ("anafox, (hat \\(red\\):1.2)", "caption_weights", "(hat \\(red\\):1.2)", "anafox, hat \\(red\\)"),
        ("(red hat)++ on", "caption_weights", "(red hat)++", "red hat on"),
        ("anafox, 1.3::smile::", "caption_weights", "1.3::smile::", "anafox, smile"),
        ("(score_9:1.2), anafox", "caption_weights", "(score_9:1.2)", "score_9, anafox"),
        ("<lora:name:0.8> anafox", "caption_lora_tags", "<lora:name:0.8>", "anafox"),
        ("anafox, <LyCO:x:1>, hat", "caption_lora_tags", "<LyCO:x:1>", "anafox, hat"),
        ("embedding:easynegative, anafox", "caption_embeddings", "embedding:easynegative", "anafox"),
        ("a photo of <anna-v2> woman", "caption_embeddings", "<anna-v2>", "a photo of woman"),
        ("anafox BREAK hat", "caption_breaks", "BREAK", "anafox, hat"),
        ("a man AND a woman", "caption_breaks", "AND", "a man, a woman"),
        ("miku \\(vocaloid\\)", "caption_escapes", "\\(", "miku (vocaloid)"),
        ("a __colour__ hat", "caption_wildcard_files", "__colour__", None),
        ("a __wear/hats*__", "caption_wildcard_files", "__wear/hats*__", None),
        ("a {red|blue} hat", "caption_wildcards", "{red|blue}", None),
        ("a [red:blue:0.5] hat", "caption_editing", "[red:blue:0.5]", None),
        ("a [red|blue] hat", "caption_editing", "[red|blue]", None),
        ("[filewords], anafox", "caption_placeholders", "[filewords]", None),
    ],
)
def test_each_syntax_is_found_and_taken_out(text: str, id: str, example: str, stripped: str | None) -> None:
    assert {
        name: s.find(text) for name, s in SYNTAXES.items() if (s.find(text) and name != "caption_escapes") or name == id
    } == {id: example}
    strip = SYNTAXES[id].strip
    if stripped is None:
        assert strip is None
    else:
        assert strip is not None
        assert strip(text) == stripped
        assert SYNTAXES[id].find(stripped) == ""


@pytest.mark.parametrize(
    "text",
    [
        "a photo of anafox woman (smiling), in a park",
        "bow (weapon), hatsune miku (vocaloid), 1girl",
        "(o)_(o), ^_^, :), >:(, ;), <3, >_<, @_@, \\o/",
        "a (16:9) photo, taken (at 10:30), 3:4",
        "A MAN AND A WOMAN, BREAKFAST",
        "anafox woman, NASA AND ESA logos on her jacket",
        "anafox woman, steps: 12 steps lead to a door",
        "a sandbreak and android, c++ book, wall-e -- film",
        "foo__bar, snake_case_tag, a|b",
        "unbalanced (hat, coat), [, }, {",
    ],
)
def test_ordinary_captions_are_left_alone(text: str) -> None:
    assert {name: s.find(text) for name, s in SYNTAXES.items() if s.find(text)} == {}
    for syntax in SYNTAXES.values():
        if syntax.strip is not None and not syntax.find(text):
            assert " ".join(syntax.strip(text).split()).replace(" ", "") == text.replace(" ", "").rstrip(",")


def test_placeholders_get_the_persons_words() -> None:
    assert filled_in("[trigger] {class}, [name], [filewords]", "anafox", "woman") == "anafox woman, anafox, [filewords]"
    assert filled_in("[trigger]", "", "") == "[trigger]"


def test_a_generators_parameters_go_with_all_that_follows() -> None:
    text = "anafox, hat\nNegative prompt: bad hands,\nworse hands\nSteps: 20, Sampler: Euler a, Seed: 1"
    assert without_parameters(text) == "anafox, hat"
    assert without_parameters("anafox, Negative prompt: bad") == "anafox"
    assert without_parameters("anafox climbs steps") == "anafox climbs steps"


@given(st.text(alphabet="()[]{}<>|:,\\_+-. \n1aANDlora$", max_size=120))
@settings(max_examples=300, deadline=None)
def test_any_text_can_be_looked_at_and_what_is_taken_out_is_gone(text: str) -> None:
    for id, syntax in SYNTAXES.items():
        found = syntax.find(text)
        if syntax.strip is not None:
            stripped = syntax.strip(text)
            assert len(stripped) <= len(text) + 2 * text.count(",") + 4 * text.count("AND") + 1
            if not found and id != "caption_breaks":
                assert syntax.find(stripped) == "" or id in ("caption_weights", "caption_placeholders")


@pytest.mark.parametrize(
    "piece", ["(", "()", "((a))", "[a", "{a|", "{a|b}", "(a:1.", "\\(", "<lora:", "__a", "1::a::", "(a),", "AND "]
)
def test_hostile_captions_cost_no_time(piece: str) -> None:
    text = (piece * 65536)[:65536]
    began = time.process_time()
    for syntax in SYNTAXES.values():
        syntax.find(text)
        if syntax.strip is not None:
            syntax.strip(text)
    assert time.process_time() - began < 2.0


def test_each_is_one_finding_and_one_key_mends_it(tmp_path: Path) -> None:
    folder = clean_set(tmp_path / "set")
    for at in (2, 4, 6):
        path = folder / f"{at:02d}.txt"
        path.write_text(f"{path.read_text().strip()}, (smile:1.{at}) <lora:x:1>\nanafox woman BREAK ((hat)), <lora:y:1>")
    found = {f.code: f for f in inspect_folder(folder, SETTINGS).findings}
    ids = {"caption_weights", "caption_lora_tags", "caption_breaks", "caption_lines"}
    assert ids <= found.keys()
    assert all(found[id].files == ("02.png", "04.png", "06.png") for id in ids)
    assert '"(smile:1.2)"' in found["caption_weights"].message
    prepared = DatasetEdits(str(folder), scan(folder))
    for id in sorted(ids - {"caption_lines"}):
        fix = fix_for(found[id], prepared, SETTINGS)
        assert fix is not None
        prepared = prepared.with_captions(fix.label, fix.captions)
    first, second = prepared.caption("02.png").split("\n")
    assert first.endswith("smile")
    assert second == "anafox woman, hat"
    lines = fix_for(found["caption_lines"], prepared, SETTINGS)
    assert lines is not None
    assert lines.settings == {"dataset.caption_choice": "line"}


def test_token_and_trigger_checks_look_at_every_line(tmp_path: Path) -> None:
    folder = clean_set(tmp_path / "set")
    (folder / "03.txt").write_text("a photo of anafox woman in a park\na woman in a park")
    (folder / "04.txt").write_text(
        "a photo of anafox woman\na photo of anafox woman, " + "in a {very|quite} long street, " * 40
    )
    by_line = schema.replace(SETTINGS, {"dataset.caption_choice": "line+wildcards"})
    assert "trigger_missing" not in {f.code for f in inspect_folder(folder, SETTINGS).findings}
    found = {f.code: f for f in inspect_folder(folder, by_line).findings}
    assert found["trigger_missing"].files == ("03.png",)
    assert found["caption_cut"].files == ("04.png",)
    assert "{" not in found["caption_cut"].message


def test_lines_can_be_joined_and_the_choice_taken_back(tmp_path: Path) -> None:
    folder = clean_set(tmp_path / "set")
    (folder / "03.txt").write_text("a photo of anafox woman\nin a park")
    prepared = DatasetEdits(str(folder), scan(folder))
    join = next(edit for edit in BULK_EDITS if edit.id == "join")
    assert changed_captions(join, ("", ""), Around(SETTINGS, prepared.captions())) == {
        "03.png": "a photo of anafox woman in a park"
    }
    by_line = schema.replace(SETTINGS, {"dataset.caption_choice": "line"})
    (note,) = (f for f in inspect_folder(folder, by_line).findings if f.code == "caption_lines")
    back = fix_for(note, prepared, by_line)
    assert back is not None
    assert back.settings == {"dataset.caption_choice": "whole"}
