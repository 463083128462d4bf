"""Lists of captions as other tools write them: read for the images that they name, never beyond, and said where they lose."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_images import drawn

from loratui.engine.dataset import archives, caption_lists, caption_store, file_kinds, listed_captions
from loratui.engine.dataset.inspect import inspect_folder
from loratui.engine.dataset.scan import DatasetScan, read_folder, scan
from loratui.engine.untrusted import Unreadable
from loratui.presets import load_preset

WORDS = "anafox woman in a park"


def images(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        drawn(len(name), (96, 64)).save(folder / name)
    return folder


def captions(found: DatasetScan) -> dict[str, str | None]:
    return {image.relative: image.caption for image in found.images}


def messages(folder: Path) -> dict[str, str]:
    found = inspect_folder(folder, load_preset("demo").settings).findings
    return {finding.code: finding.message for finding in found if finding.code.startswith("caption_list")}


LISTS = {
    # Hugging Face's imagefolder: docs of `datasets`, "Create an image dataset"
    "metadata.jsonl": '{"file_name": "a.png", "text": "WORDS"}\n\n{"file_name": "b.png", "text": "other"}\n',
    "metadata.csv": "file_name,text\r\na.png,WORDS\r\nb.png,other\r\n",
    "captions.tsv": "image\tcaption\na.png\tWORDS\nb.png\tother\n",
    "bare.csv": 'a.png,"WORDS"\nb.png,other\n',
    "Export.csv": '\ufefffile_name;caption\n"a.png";"WORDS"\nb.png;other\n',
    # sd-scripts: library/train_util.py, FineTuningDataset
    "meta_cap.json": '{"/home/me/img/a.png": {"caption": "WORDS", "train_resolution": [512, 512]}, "b": {"caption": "other"}}',
    "meta.jsonl": '{"image_path": "C:\\\\img\\\\a.png", "caption": "WORDS"}\n{"image_path": "b.png", "caption": "other"}',
    "metadata.json": '{"a": {"tags": "WORDS"}, "b.png": {"tags": ["other"]}}',
    # diffusion-pipe: utils/dataset.py
    "captions.json": '{"a.png": ["WORDS"], "b.png": ["other"]}',
    # SimpleTuner: documentation/DATALOADER.md, the parquet strategy over JSON lines
    "photos.jsonl": '{"id": "a", "caption": "WORDS"}\n{"id": "b", "caption": "other"}',
    "list.json": '[{"filename": "./a.png", "prompt": "WORDS"}, {"filename": "b.png", "prompt": "other"}]',
}


@pytest.mark.parametrize("name", LISTS)
def test_lists_of_other_tools(tmp_path: Path, name: str) -> None:
    images(tmp_path, "a.png", "b.png")
    (tmp_path / name).write_text(LISTS[name].replace("WORDS", WORDS), encoding="utf-8", newline="")
    found = scan(tmp_path)
    assert captions(found) == {"a.png": WORDS, "b.png": "other"}
    assert {image.caption_list for image in found.images} == {name}
    assert found.left_out == ()
    assert messages(tmp_path) == {"caption_list": f"2 captions from {name}."}


def test_several_captions_of_an_image_are_apart(tmp_path: Path) -> None:
    images(tmp_path, "a.png", "b.png", "c.png")
    table = {"a.png": ["long\nand wide", "short"], "b.png": [["no"], None, "one"], "c.png": []}
    (tmp_path / "captions.json").write_text(json.dumps(table))
    found = scan(tmp_path)
    assert [(i.caption, i.apart) for i in found.images] == [("long and wide\nshort", True), ("one", False), (None, False)]


def test_tags_stand_behind_each_line_of_the_caption_as_in_sd_scripts(tmp_path: Path) -> None:
    images(tmp_path, "a.png")
    (tmp_path / "meta_clean.json").write_text(json.dumps({"a": {"caption": "a woman\na person", "tags": "1girl, smile"}}))
    assert captions(scan(tmp_path)) == {"a.png": "a woman, 1girl, smile\na person, 1girl, smile"}


def test_what_a_list_says_beside_the_captions_is_named(tmp_path: Path) -> None:
    images(tmp_path, "a.png")
    row = {"file_name": "a.png", "caption": WORDS, "caption_short": "a woman", "width": 96}
    (tmp_path / "metadata.jsonl").write_text(json.dumps(row))
    assert messages(tmp_path) == {"caption_list": "1 caption from metadata.jsonl; not used of it: caption_short."}


def test_a_caption_file_counts_before_a_list_and_a_list_before_another(tmp_path: Path) -> None:
    images(tmp_path, "a.png", "b.png", "c.png")
    (tmp_path / "a.txt").write_text("its own")
    (tmp_path / "b.txt").write_text("")
    (tmp_path / "metadata.jsonl").write_text(
        "\n".join(json.dumps({"file_name": f"{n}.png", "text": f"list {n}"}) for n in "ab")
    )
    (tmp_path / "captions.csv").write_text("file_name,text\na.png,its own\nb.png,table b\nc.png,table c\n")
    assert captions(scan(tmp_path)) == {"a.png": "its own", "b.png": "list b", "c.png": "table c"}
    found = [f for f in inspect_folder(tmp_path, load_preset("demo").settings).findings if f.code == "caption_list_differs"]
    assert {f.parameters["list"]: f.files for f in found} == {"metadata.jsonl": ("a.png",), "captions.csv": ("b.png",)}


def test_names_lead_to_images_in_folders_below(tmp_path: Path) -> None:
    images(tmp_path, "10_anafox woman/a.png", "10_anafox woman/b.png", "5_hat/b.png", "5_hat/c.png")
    rows = [("/data/10_anafox woman/a.png", "1"), ("5_hat/b.png", "2"), ("b.png", "3"), ("../../c.png", "4"), ("gone.png", "5")]
    (tmp_path / "metadata.csv").write_text("file_name,text\n" + "".join(f"{name},{text}\n" for name, text in rows))
    found = scan(tmp_path)
    assert captions(found) == {
        "10_anafox woman/a.png": "1",
        "10_anafox woman/b.png": None,
        "5_hat/b.png": "2",
        "5_hat/c.png": "4",
    }
    assert messages(tmp_path)["caption_list_gone"] == (
        "metadata.csv: 2 names of no image here, or of more than one, such as b.png."
    )


def test_the_folder_of_an_imagefolder_is_read_with_its_list_beside_it(tmp_path: Path) -> None:
    images(tmp_path, "train/a.png")
    (tmp_path / "metadata.jsonl").write_text(json.dumps({"file_name": "train/a.png", "text": WORDS}))
    assert captions(scan(tmp_path)) == {"train/a.png": WORDS}
    images(tmp_path, "train/more/b.png")
    (tmp_path / "train" / "metadata.jsonl").write_text(json.dumps({"file_name": "a.png", "text": "nearer"}))
    assert captions(scan(tmp_path))["train/a.png"] == WORDS


def test_commas_without_quotes_belong_to_the_last_column(tmp_path: Path) -> None:
    images(tmp_path, "a.png", "b.png")
    for head in ("", "file_name,text\n"):
        (tmp_path / "captions.csv").write_text(f'{head}a.png,anafox woman, in a park, by night\nb.png,"a, b"\n')
        assert captions(scan(tmp_path)) == {"a.png": "anafox woman, in a park, by night", "b.png": "a, b"}


def test_the_json_of_each_image_is_no_list(tmp_path: Path) -> None:
    names = [f"{at}.png" for at in range(listed_captions.MOST_LISTS + 2)]
    images(tmp_path, *names)
    for name in names:
        (tmp_path / f"{name}.json").write_text(json.dumps({"tags": "1girl", "0.png": "x"}))
    for at in range(listed_captions.MOST_LISTS):
        (tmp_path / f"aside-{at:02d}.json").write_text("{}")
    (tmp_path / "captions.json").write_text(json.dumps({"1.png": WORDS}))
    found = scan(tmp_path)
    assert {name: caption for name, caption in captions(found).items() if caption} == {"1.png": WORDS}
    assert [item.relative for item in found.left_out if item.reason == file_kinds.OF_ONE] == sorted(f"{n}.json" for n in names)


def test_a_list_that_cannot_be_read_is_a_warning(tmp_path: Path) -> None:
    images(tmp_path, "a.png")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png", "text": "x"}\n{"file_name": ')
    found = scan(tmp_path)
    assert captions(found) == {"a.png": None}
    assert "has a line 2 that is not valid JSON" in found.left_out[0].reason
    assert "line 2" in messages(tmp_path)["caption_list_unreadable"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("aspect_ratio_bucket_metadata_x.json", '{"/d/a.png": {"original_size": [96, 64], "crop_coordinates": [0, 0]}}'),
        ("package.json", '{"name": "a", "caption": {"x": 1}}'),
        ("recipe.json", "{"),
        ("dataset.json", '{"format": 1, "images": [{"relative": "a.png", "caption": "x"}]}'),
        ("a.json", '{"a.png": "the JSON of one image, as booru downloaders leave it"}'),
    ],
)
def test_json_without_captions_is_left_out_as_before(tmp_path: Path, name: str, content: str) -> None:
    images(tmp_path, "a.png")
    (tmp_path / name).write_text(content)
    found = scan(tmp_path)
    assert [item.relative for item in found.left_out] == [name]
    assert (captions(found), found.notes) == ({"a.png": None}, ())


def test_a_saved_caption_takes_the_place_of_the_list(tmp_path: Path) -> None:
    images(tmp_path, "a.png", "b.png")
    (tmp_path / "captions.json").write_text(json.dumps({"a.png": ["one", "two"], "b.png": ["b"]}))
    before = (tmp_path / "captions.json").read_bytes()
    caption_store.save(scan(tmp_path), {"a.png": "1\n2"})
    assert {path.name: path.read_text() for path in tmp_path.glob("a*.txt")} == {"a.txt": "1\n", "a.2.txt": "2\n"}
    assert captions(scan(tmp_path)) == {"a.png": "1\n2", "b.png": "b"}
    assert (tmp_path / "captions.json").read_bytes() == before


def test_a_list_in_a_zip_is_unpacked(tmp_path: Path) -> None:
    folder = images(tmp_path / "set", "a.png")
    (folder / "metadata.csv").write_text(f"file_name,text\na.png,{WORDS}\n")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as packed:
        for path in folder.iterdir():
            packed.write(path, path.name)
    assert captions(scan(archives.unpack(tmp_path / "set.zip", tmp_path / "out"))) == {"a.png": WORDS}


def test_a_table_saved_by_a_spreadsheet_in_its_own_encoding(tmp_path: Path) -> None:
    images(tmp_path, "a.png")
    table = "file_name;caption\na.png;Frau mit Hut, schönes Gemälde in einem Café für Gäste\n"
    for data in (table.encode("cp1252"), table.encode("utf-16")):
        (tmp_path / "captions.csv").write_bytes(data)
        assert captions(scan(tmp_path)) == {"a.png": "Frau mit Hut, schönes Gemälde in einem Café für Gäste"}


def test_lists_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images(tmp_path, "a.png")
    path = tmp_path / "metadata.json"
    path.write_text('{"a.png": "' + "x" * 300_000 + '"}')
    assert len(captions(scan(tmp_path))["a.png"] or "") == 64 * 1024
    path.write_text('{"a.png": ' + "[" * 5000)
    with pytest.raises(Unreadable):
        caption_lists.read(path)
    monkeypatch.setattr(caption_lists, "MOST_NAMES", 1)
    path.write_text('{"a.png": "x", "b.png": "y"}')
    with pytest.raises(Unreadable, match="names more than 1 image"):
        caption_lists.read(path)
    monkeypatch.setattr(listed_captions, "MOST_LISTS", 1)
    (tmp_path / "other.json").write_text('{"a.png": "x"}')
    assert captions(scan(tmp_path)) == {"a.png": None}


def test_a_link_to_another_kind_of_file_is_no_list(tmp_path: Path) -> None:
    images(tmp_path / "set", "a.png")
    (tmp_path / "secret").write_text('{"a.png": "secret"}')
    (tmp_path / "set" / "metadata.json").symlink_to(tmp_path / "secret")
    assert captions(scan(tmp_path / "set")) == {"a.png": None}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(sorted(LISTS)),
    st.integers(0, 120),
    st.integers(0, 4),
    st.one_of(
        st.binary(max_size=4), st.sampled_from([b'"', b"{", b"]", b"\0", b"null", b'":', b"\xff\xfe", b"\n", b'"a.png"'])
    ),
)
def test_mangled_lists_never_crash(tmp_path: Path, name: str, at: int, gone: int, new: bytes) -> None:
    images(tmp_path, "a.png")
    data = LISTS[name].encode("utf-8")
    path = tmp_path / name
    path.write_bytes(data[:at] + new + data[at + gone :])
    found = read_folder(tmp_path)
    path.unlink()
    assert [image.relative for image in found.images] == ["a.png"]
    assert "\0" not in (found.images[0].caption or "")
