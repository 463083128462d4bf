"""Captions in other encodings: told from all of them together, said once, and saved as UTF-8."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_images import clean_set

from loratui.engine.dataset import caption_store, encodings
from loratui.engine.dataset.captions import decode
from loratui.engine.dataset.inspect import inspect_folder
from loratui.engine.dataset.prepared_copy import copy_below
from loratui.engine.dataset.remedies import Remedy
from loratui.engine.dataset.scan import DatasetScan, scan
from loratui.engine.findings import Finding
from loratui.presets import load_preset, schema
from loratui.tui.dataset.edits import DatasetEdits
from loratui.tui.dataset.quick_fixes import fix_for

SETTINGS = schema.replace(load_preset("demo").settings, {"dataset.trigger": "anafox", "dataset.class_word": "woman"})
WORDS = {
    "gbk": ("红色的帽子", "在公园里微笑", "照片", "短发", "蓝天白云", "眼镜"),
    "cp932": ("赤い帽子の女性", "公園で笑っている", "写真", "眼鏡", "短い髪", "カメラ"),
    "cp1251": ("в красной шляпе", "улыбается", "в парке", "фото", "очки", "короткие волосы"),
    "latin-1": ("großer Hut", "lächelnd", "im Grünen", "schöner Garten", "Brille für Kinder", "Café"),
    "utf-16-le": ("红色的帽子", "smiling", "in a park", "photo", "glasses", "short hair"),
    "utf-16-be": ("в шляпе", "smiling", "in a park", "photo", "glasses", "short hair"),
    "utf-16": ("红色的帽子", "smiling", "in a park", "photo", "glasses", "short hair"),
}


def written(folder: Path, encoding: str) -> dict[str, str]:
    """Captions in an encoding, each too short to tell it alone."""
    texts = {}
    for at, path in enumerate(sorted(folder.glob("*.txt"))):
        texts[path.with_suffix(".png").name] = text = f"anafox woman, {WORDS[encoding][at % 6]}"
        path.write_bytes(text.encode(encoding))
    return texts


def of_encoding(folder: Path) -> tuple[DatasetScan, Finding]:
    inspected = inspect_folder(folder, SETTINGS)
    (finding,) = (f for f in inspected.findings if f.code in ("caption_encoding", "caption_mojibake"))
    return inspected.scan, finding


@pytest.mark.parametrize("encoding", WORDS)
def test_a_set_in_another_encoding_is_read_and_said_once(tmp_path: Path, encoding: str) -> None:
    folder = clean_set(tmp_path / "set")
    texts = written(folder, encoding)
    found, finding = of_encoding(folder)
    assert {image.relative: image.caption for image in found.images} == texts
    assert finding.severity == ("info" if encoding == "utf-16" else "warning")
    assert len(finding.files) == 12
    assert '"anafox woman, ' in finding.message
    assert "UTF-8" in finding.remedy


@pytest.mark.parametrize(
    ("codec", "words"),
    [("cp1251", "красный, шляпа"), ("cp1251", "улыбка"), ("gb18030", "红色"), ("gb18030", "红色的帽子"), ("cp932", "笑顔")],
)
def test_a_word_or_two_are_enough_in_most_cases(codec: str, words: str) -> None:
    assert encodings.likely(f"anafox woman, {words}".encode(codec))[0] == codec


@pytest.mark.parametrize(
    ("codec", "captions"),
    [
        ("cp1254", ["kırmızı şapka"]),
        ("cp1254", ["anafox kadının fotoğrafı, kırmızı elbise", "bankta oturan kadın, güneşli gün", "gülümseyen genç kız"]),
        ("cp1250", ["fénykép egy anafox nőről, piros ruha", "mosolygó nő, őszi fény", "közeli portré, lágy fény"]),
        ("cp1250", ["anafox femeie în rochie roşie", "femeie aşezată pe bancă, zi însorită"]),
        ("cp1250", ["zdjęcie anafox kobiety w żółtej sukience", "uśmiechnięta dziewczyna"]),
        ("cp1250", ["fotografie ženy v červených šatech", "slunečný den"]),
        ("cp1250", ["djevojka sa šeširom, smiješak", "žena na klupi, sunčan dan"]),
        ("cp1257", ["moters nuotrauka raudona suknelė", "besišypsanti mergina", "gražus vėjas"]),
        ("cp1257", ["sievietes fotogrāfija sarkanā kleitā", "smaidoša meitene, gaiša", "maiga gaisma, šķūnis"]),
        ("cp1252", ["ljósmynd af konu í rauðum kjól", "mjúkt ljós, þægilegt"]),
        ("cp1252", ["fotografia de uma mulher, mãos", "praia, coração", "limões"]),
        ("cp1252", ["photo d’une femme élégante", "à la plage, œuvre d’été", "fenêtre, où"]),
        ("cp1252", ["naine, õhtu", "öö, päike, südames"]),
    ],
)
def test_languages_in_latin_letters_are_told_by_their_alphabets(codec: str, captions: list[str]) -> None:
    sample = encodings.sampled([caption.encode(codec) for caption in captions])
    assert encodings.likely(sample)[0] == codec


@pytest.mark.parametrize("data", [bytes(range(256)) * 20, b"\xff\xd8\xff\xe0\x00\x10JFIF", b"\x80" + b"\x01" * 10])
def test_what_is_no_text_is_no_caption_and_says_nothing_of_the_others(tmp_path: Path, data: bytes) -> None:
    folder = clean_set(tmp_path / "set")
    texts = written(folder, "gbk")
    (folder / "00.txt").write_bytes(data)
    found, finding = of_encoding(folder)
    assert "GBK" in finding.message
    assert found.images[0].caption is None
    assert found.images[3].caption == texts["03.png"]
    [unread] = [f for f in inspect_folder(folder, SETTINGS).findings if f.code == "caption_unreadable"]
    assert unread.message.startswith("00.txt cannot be used as a caption: it is not text")


@pytest.mark.parametrize("caption", ["anafox \ufffd\ufffd, hat", "anafox, 锟斤拷锟斤拷", "anafox cafï¿½"])
def test_letters_that_were_lost_are_named(tmp_path: Path, caption: str) -> None:
    folder = clean_set(tmp_path / "set")
    (folder / "00.txt").write_text(caption, "utf-8")
    [finding] = [f for f in inspect_folder(folder, SETTINGS).findings if f.code == "caption_mojibake"]
    assert finding.files == ("00.png",)
    assert "lost" in finding.message


@pytest.mark.parametrize("shift", range(4))
@pytest.mark.parametrize(
    ("codec", "words"), [("gb18030", "红色的帽子, "), ("cp932", "赤い帽子をかぶった女性の写真, "), ("big5", "紅色的帽子, ")]
)
def test_a_long_caption_is_not_judged_by_half_a_character(codec: str, words: str, shift: int) -> None:
    data = ("a" * shift + words * 1000).encode(codec)
    assert decode(data).encoding == encodings.named(codec)
    assert encodings.likely(encodings.sampled([data * 10]))[0] == codec


def test_each_of_several_encodings_is_named_in_the_one_finding(tmp_path: Path) -> None:
    folder = clean_set(tmp_path / "set")
    written(folder, "gbk")
    (folder / "00.txt").write_bytes("anafox woman, smiling".encode("utf-16-le"))
    found, finding = of_encoding(folder)
    assert "11 GBK, 1 UTF-16 without a mark" in finding.message
    assert found.images[0].caption == "anafox woman, smiling"


@pytest.mark.parametrize("encoding", ["gbk", "cp1251", "utf-16-le"])
def test_the_remedy_writes_them_as_utf8_and_keeps_the_old_ones(tmp_path: Path, encoding: str) -> None:
    folder = clean_set(tmp_path / "set")
    texts = written(folder, encoding)
    before = (folder / "03.txt").read_bytes()
    found, finding = of_encoding(folder)
    prepared = DatasetEdits(str(folder), found)
    fix = fix_for(finding, prepared, SETTINGS)
    assert fix is not None
    assert fix.label == "save 12 captions as UTF-8"
    chosen = prepared.with_captions(fix.label, fix.captions)
    assert chosen.unsaved == 12
    assert chosen.with_json(chosen.to_json()).unsaved == 12
    assert all(image.caption_encoding == "utf-8" for image in chosen.edited.images)
    saved = caption_store.save(chosen.scan, chosen.chosen.captions)
    assert {path.with_suffix(".png").name: path.read_text("utf-8").strip() for path in folder.glob("*.txt")} == texts
    assert (saved.kept / "03.txt").read_bytes() == before
    assert chosen.saved_beside(scan(folder)).unsaved == 0
    assert not [f for f in inspect_folder(folder, SETTINGS).findings if f.code.startswith("caption")]


def test_a_prepared_copy_has_them_as_utf8(tmp_path: Path) -> None:
    folder = clean_set(tmp_path / "set")
    texts = written(folder, "cp932")
    copy = copy_below(tmp_path / "copies", scan(folder), [Remedy("leave_out", "00.png")])
    assert (copy / "03.txt").read_text("utf-8").strip() == texts["03.png"]


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("anafox in a cafÃ©", "anafox in a café"),
        ("anafox, â€œhatâ€\x9d", "anafox, “hat”"),
        ("anafox, Ð²\u00a0ÑˆÐ»ÑÐ¿Ðµ".replace("\u00a0", " "), None),
        ("anafox, Р¶РµРЅС‰РёРЅР°", "anafox, женщина"),
        ("anafox, 卸械薪褖懈薪邪", "anafox, женщина"),
        ("anafox, çº¢è‰²", "anafox, 红色"),
        ("anafox, café, naïve, Ünïcode", None),
        ("anafox, 红色的帽子, 照片", None),
        ("anafox, женщина в шляпе", None),
        ("anafox — “hat” … 5 € ½", None),
        ("anafox, 写真、眼鏡をかけた女性", None),
        ("anafox \N{SMILING FACE WITH SMILING EYES}", None),
    ],
)
def test_text_that_was_read_wrong_before_is_known_and_right_text_is_left_alone(wrong: str, right: str | None) -> None:
    if right is not None:
        assert encodings.unmixed(wrong) == right
    elif "Ð" not in wrong:
        assert encodings.unmixed(wrong) == wrong


def test_mojibake_is_one_finding_with_what_it_was_and_a_remedy(tmp_path: Path) -> None:
    folder = clean_set(tmp_path / "set")
    for at in (3, 5):
        (folder / f"{at:02d}.txt").write_text("a photo of anafox woman in a cafÃ©, Ã¼ber", "utf-8")
    found, finding = of_encoding(folder)
    assert (finding.code, finding.severity, finding.files) == ("caption_mojibake", "warning", ("03.png", "05.png"))
    assert "café, über" in finding.message
    fix = fix_for(finding, DatasetEdits(str(folder), found), SETTINGS)
    assert fix is not None
    assert set(fix.captions.values()) == {"a photo of anafox woman in a café, über"}


@given(st.binary(min_size=1, max_size=400))
@settings(max_examples=150, deadline=None)
def test_any_bytes_have_an_answer(data: bytes) -> None:
    assert isinstance(encodings.likely(data), tuple)
    encodings.utf16_without_mark(data)
    assert len(encodings.sampled([data] * 400)) <= encodings.SAMPLE_BYTES


@given(st.text(max_size=200))
@settings(max_examples=150, deadline=None)
def test_any_text_can_be_looked_at(text: str) -> None:
    assert isinstance(encodings.unmixed(text), str)
