"""The table of checks: a clean set gives no finding, and each fault is found by its check, with its files."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from made_images import StandInFaceDetector, caption, clean_set, drawn, photo_like, wide_grey
from PIL import Image, ImageCms, ImageDraw, ImageFilter, ImageOps, ImageStat

from loratui.engine.dataset import similar
from loratui.engine.dataset.checks import CHECKS, run_checks
from loratui.engine.dataset.checks.case import Case
from loratui.engine.dataset.facts import ImageFacts
from loratui.engine.dataset.measure import measure_image
from loratui.engine.dataset.scan import ImageEntry, read_folder, verify
from loratui.engine.findings import Finding
from loratui.presets import SHIPPED, load_preset, schema
from loratui.tui.dataset.edits import DatasetEdits
from loratui.tui.dataset.quick_fixes import fix_for


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clean_set(tmp_path_factory.mktemp("clean") / "set")


@pytest.fixture
def folder(clean: Path, tmp_path: Path) -> Path:
    """A clean set of its own for each test."""
    return Path(shutil.copytree(clean, tmp_path / "set"))


_MEASURED: dict[object, ImageFacts] = {}


def measured(image: ImageEntry, resolution: int, detector: StandInFaceDetector | None) -> ImageFacts:
    """Most images are the same in every test and need be measured once."""
    path, masks = image.path, {mask.kind: mask.path for mask in image.masks if not mask.problem}
    key = (path.read_bytes(), path.suffix, resolution, detector is None, *(mask.read_bytes() for mask in masks.values()))
    if key not in _MEASURED:
        _MEASURED[key] = measure_image(path, resolution, detector, masks)
    return _MEASURED[key]


def case_of(folder: Path, *, preset: str = "demo", deep: bool = True, faces: bool = False, **changes: object) -> Case:
    start = {"dataset.trigger": "anafox", "dataset.class_word": "woman"}
    named = {key.replace("__", "."): value for key, value in changes.items()}
    settings = schema.replace(load_preset(preset).settings, {**start, **named})
    found = read_folder(folder)
    detector = StandInFaceDetector() if faces else None
    facts = {i.relative: measured(i, settings.dataset.resolution, detector) for i in found.images}
    return Case(found, settings, preset, similar.copies(found.images), facts if deep else None)


def findings(folder: Path, **options: object) -> dict[str, Finding]:
    return {f.code: f for f in run_checks(case_of(folder, **options)).findings}  # type: ignore[arg-type]


def test_a_clean_set_gives_no_finding(folder: Path) -> None:
    assert findings(folder) == {}
    assert findings(folder, preset="sd15-dreambooth", dataset__resolution=128, dataset__bucket_step=64) == {}


def test_the_demo_set_gives_no_warning() -> None:
    found = findings(SHIPPED / "bases" / "anafox")
    assert [f for f in found.values() if f.severity != "info"] == []


def test_codes_are_unique() -> None:
    codes = [check.code for check in CHECKS]
    assert len(set(codes)) == len(codes)


def rotated(folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    drawn(3).save(folder / "03.png", exif=exif)


def transparent(folder: Path) -> None:
    image = drawn(3).convert("RGBA")
    image.paste((255, 0, 0, 0), (0, 0, 40, 40))
    image.save(folder / "03.png")


def masked(
    size: tuple[int, int] = (128, 128), area: tuple[int, int, int, int] = (32, 32, 96, 96), but: str = "03"
) -> Callable[[Path], None]:
    """White masks with this area for all images; that of `but` has another size or area, where one is given."""

    def write(folder: Path) -> None:
        (folder / "masks").mkdir()
        for at in range(12):
            odd = f"{at:02d}" == but
            mask = Image.new("L", size if odd else (128, 128))
            mask.paste(255, area if odd else (32, 32, 96, 96))
            mask.save(folder / "masks" / f"{at:02d}.png")

    return write


def one_mask(folder: Path) -> None:
    Image.new("L", (128, 128), 255).save(folder / "03-masklabel.png")


def broken_mask(folder: Path) -> None:
    masked()(folder)
    (folder / "masks" / "03.png").write_bytes(b"<html>")


def profile(folder: Path) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ"))
    drawn(3).save(folder / "03.png", icc_profile=lab.tobytes())


def compressed(folder: Path) -> None:
    (folder / "03.png").unlink()
    drawn(3).save(folder / "03.jpg", quality=15)


def compressed_before(folder: Path) -> None:
    photo_like(3).save(folder / "once.jpg", quality=5)
    Image.open(folder / "once.jpg").save(folder / "03.png")
    (folder / "once.jpg").unlink()


def place(folder: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8825)[1] = "N"
    (folder / "03.png").unlink()
    drawn(3).save(folder / "03.jpg", exif=exif, quality=95)


def selfie(folder: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA434] = "Phone front camera 2.7mm f/2.2"
    (folder / "03.png").unlink()
    drawn(3).save(folder / "03.jpg", exif=exif, quality=95)


def animated(folder: Path) -> None:
    drawn(3).save(folder / "03.png", save_all=True, append_images=[drawn(50), drawn(51)])


def barred(folder: Path) -> None:
    image = drawn(3)
    image.paste("black", (0, 0, 128, 18))
    image.paste("black", (0, 110, 128, 128))
    image.save(folder / "03.png")


def lonely(folder: Path) -> None:
    image = Image.new("RGB", (128, 128), (90, 120, 200))
    image.paste(drawn(3).resize((40, 50)), (44, 40))
    image.save(folder / "03.png")


def without_numbers(folder: Path) -> None:
    for at, path in enumerate(sorted(folder.iterdir())):
        part = folder / ("one" if at < 12 else "two")
        part.mkdir(exist_ok=True)
        path.rename(part / path.name)


def grid(folder: Path, make: Callable[[int], Image.Image]) -> None:
    for at in range(12):
        make(at).save(folder / f"{at:02d}.png")


def in_a_list(folder: Path) -> None:
    written = (folder / "03.txt").read_text()
    (folder / "03.txt").unlink()
    (folder / "metadata.csv").write_text(f'file_name,text\n03.png,"{written}"\n')


def before_one_wall(folder: Path) -> None:
    wall = drawn(99)

    def make(at: int) -> Image.Image:
        image = wall.copy()
        image.paste(drawn(at).resize((70, 90)), (29, 38))
        return image

    grid(folder, make)


def in_one_light(folder: Path) -> None:
    """Different images in greys of the same mean."""

    def make(at: int) -> Image.Image:
        grey = drawn(at).convert("L")
        shift = 120 - ImageStat.Stat(grey).mean[0]
        return grey.point(lambda v: v + shift).convert("RGB")

    grid(folder, make)


def on_white(folder: Path) -> None:
    def make(at: int) -> Image.Image:
        image = Image.new("RGB", (128, 128), "white")
        image.paste(drawn(at).resize((90 + at, 110)), (12, 18))
        return image

    for at in range(4):
        make(at).save(folder / f"{at:02d}.png")


def text(name: str, content: str | bytes) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return write


def image(name: str, make: Callable[[], Image.Image]) -> Callable[[Path], None]:
    return lambda folder: make().save(folder / name)


def all_captions(edit: Callable[[int], str]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for at in range(12):
            (folder / f"{at:02d}.txt").write_text(edit(at), encoding="utf-8")

    return write


TAGS = "anafox, woman, 1girl, red hair, smile, park, outdoors"
SENTENCE = "a photo of anafox woman, wearing a red coat, in the park"

BY_FOLDER: dict[str, object] = {"dataset__masks": "folder"}
UPSCALED: dict[str, object] = {"dataset__resolution": 512, "dataset__upscale": True}

FAULTS: list[tuple[str, str, Callable[[Path], object], dict[str, object], tuple[str, ...] | None]] = [
    # id, severity, the fault, settings, files that must be named
    ("left_out", "warning", text("03.png", b"<html>no image</html>"), {}, ("03.png",)),
    ("unnumbered", "info", without_numbers, {}, ("one", "two")),
    ("ignored", "info", text("notes.md", "x"), {}, ("notes.md",)),
    ("caption_orphan", "warning", text("99.txt", "anafox"), {}, ("99.txt",)),
    ("same_stem", "info", image("03.bmp", lambda: drawn(60)), {}, ("03.bmp", "03.png")),
    ("copies", "warning", lambda f: shutil.copy(f / "03.png", f / "04.png"), {}, ("03.png", "04.png")),
    ("too_few_images", "warning", lambda f: None, {"dataset__images_wanted": (20, 30)}, ()),
    ("too_many_images", "warning", lambda f: None, {"dataset__images_wanted": (2, 4)}, ()),
    ("rotated", "info", rotated, {}, ("03.png",)),
    ("transparent", "warning", transparent, {}, ("03.png",)),
    ("transparent", "info", transparent, {"deep": False}, ("03.png",)),
    ("masks_missing", "error", lambda f: None, BY_FOLDER, ()),
    ("masks_missing", "warning", one_mask, BY_FOLDER, None),
    ("masks_unused", "info", one_mask, {}, ("03.png",)),
    ("mask_unreadable", "warning", broken_mask, BY_FOLDER, ("03.png",)),
    ("mask_shape", "warning", masked((128, 96)), BY_FOLDER, ("03.png",)),
    ("mask_empty", "warning", masked(area=(0, 0, 0, 0)), BY_FOLDER, ("03.png",)),
    ("mask_small", "warning", masked(area=(60, 60, 70, 70)), BY_FOLDER, ("03.png",)),
    ("wide_bits", "info", image("03.png", lambda: wide_grey((128, 128))), {}, ("03.png",)),
    ("stored_colours", "info", image("03.png", lambda: drawn(3).convert("P")), {}, ("03.png",)),
    ("stored_colours", "info", image("04.tiff", lambda: drawn(70).convert("CMYK")), {}, ("04.tiff",)),
    ("profile", "info", profile, {}, ("03.png",)),
    ("animated", "info", animated, {}, ("03.png",)),
    ("compressed", "warning", compressed, {"deep": False}, ("03.jpg",)),
    ("compressed", "warning", compressed_before, {"dataset__resolution": 512}, ("03.png",)),
    ("place", "info", place, {}, ("03.jpg",)),
    ("enlarged", "warning", image("03.png", lambda: drawn(3, (400, 300))), UPSCALED, ("03.png",)),
    ("small", "warning", image("03.png", lambda: drawn(3, (362, 362))), {"dataset__resolution": 512}, ("03.png",)),
    ("tiny", "warning", image("03.png", lambda: drawn(3, (100, 128))), {}, ("03.png",)),
    ("huge", "info", image("03.png", lambda: drawn(3, (3100, 200))), {"deep": False}, ("03.png",)),
    ("long_shape", "warning", image("03.png", lambda: drawn(3, (128, 400))), {}, ("03.png",)),
    ("cut_square", "warning", image("03.png", lambda: drawn(3, (128, 180))), {"dataset__buckets": False}, ("03.png",)),
    ("bars", "warning", barred, {}, ("03.png",)),
    ("empty_border", "info", lonely, {}, ("03.png",)),
    ("blurred", "warning", image("03.png", lambda: drawn(3).filter(ImageFilter.GaussianBlur(4))), {}, ("03.png",)),
    ("noisy", "warning", image("03.png", lambda: Image.effect_noise((128, 128), 60).convert("RGB")), {}, ("03.png",)),
    ("dark", "warning", image("03.png", lambda: drawn(3).point(lambda v: v // 5)), {}, ("03.png",)),
    ("bright", "warning", image("03.png", lambda: drawn(3).point(lambda v: 180 + v // 4)), {}, ("03.png",)),
    ("flat", "warning", image("03.png", lambda: drawn(3).point(lambda v: 120 + v // 20)), {}, ("03.png",)),
    ("near_duplicates", "warning", image("03.jpg", lambda: drawn(4)), {}, ("03.jpg", "04.png")),
    ("near_duplicates", "warning", image("90.png", lambda: drawn(4).crop((1, 1, 126, 127))), {}, ("04.png", "90.png")),
    ("mirrored_copies", "warning", image("03.png", lambda: ImageOps.mirror(drawn(4))), {}, ("03.png", "04.png")),
    ("same_background", "warning", before_one_wall, {}, None),
    ("same_light", "info", in_one_light, {}, ()),
    ("several_people", "info", text("03.txt", f"{SENTENCE} with two women"), {}, ("03.png",)),
    ("selfies", "info", selfie, {}, ("03.jpg",)),
    ("flip_identity", "warning", lambda f: None, {"dataset__flip": True}, ()),
    ("caption_missing", "info", lambda f: (f / "03.txt").unlink(), {}, ("03.png",)),
    (
        "caption_missing",
        "warning",
        lambda f: (f / "03.txt").unlink(),
        {"dataset__trigger": "", "dataset__class_word": ""},
        None,
    ),
    ("caption_empty", "warning", text("03.txt", " \n"), {}, ("03.txt",)),
    ("two_captions", "warning", text("03.caption", SENTENCE), {}, None),
    ("caption_list", "info", in_a_list, {}, ("03.png",)),
    ("caption_list_differs", "warning", text("metadata.csv", "file_name,text\n03.png,another"), {}, ("03.png",)),
    ("caption_list_gone", "warning", text("metadata.csv", "file_name,text\n99.png,another"), {}, ("metadata.csv",)),
    ("caption_list_unreadable", "warning", text("metadata.json", "{"), {}, ("metadata.json",)),
    ("caption_encoding", "warning", text("03.txt", f"{SENTENCE} caf\u00e9".encode("cp1252")), {}, ("03.txt",)),
    ("caption_encoding", "warning", text("03.txt", SENTENCE.encode("utf-16-le")), {}, ("03.txt",)),
    ("caption_mojibake", "warning", text("03.txt", f"{SENTENCE}, caf\u00c3\u00a9".encode()), {}, ("03.png",)),
    ("caption_encoding", "info", text("03.txt", b"\xff\xfe" + SENTENCE.encode("utf-16-le")), {}, ("03.txt",)),
    ("caption_lines", "warning", text("03.txt", f"{SENTENCE}\nanafox woman laughing"), {}, ("03.png",)),
    (
        "caption_lines",
        "info",
        text("03.txt", f"{SENTENCE}\nanafox woman laughing"),
        {"dataset__caption_choice": "line"},
        ("03.png",),
    ),
    (
        "caption_lines",
        "info",
        text("03.txt", f"{SENTENCE}\nanafox woman laughing"),
        {"dataset__caption_choice": "first"},
        ("03.png",),
    ),
    ("caption_lines", "info", text("03.2.txt", "anafox woman laughing"), {}, ("03.png",)),
    ("caption_wildcards", "warning", text("03.txt", f"{SENTENCE}, a {{red|blue}} hat"), {}, ("03.png",)),
    (
        "caption_wildcards",
        "warning",
        text("03.txt", f"{SENTENCE}, {{2$$red|blue}} hat"),
        {"dataset__caption_choice": "line+wildcards"},
        ("03.png",),
    ),
    ("caption_wildcard_files", "warning", text("03.txt", f"{SENTENCE}, __colour__ hat"), {}, ("03.png",)),
    ("caption_weights", "warning", text("03.txt", f"{SENTENCE}, (smile:1.3)"), {}, ("03.png",)),
    ("caption_editing", "warning", text("03.txt", f"{SENTENCE}, [red:blue:0.5] hat"), {}, ("03.png",)),
    ("caption_lora_tags", "warning", text("03.txt", f"{SENTENCE} <lora:anna:0.8>"), {}, ("03.png",)),
    ("caption_embeddings", "warning", text("03.txt", f"{SENTENCE}, embedding:anna"), {}, ("03.png",)),
    ("caption_breaks", "warning", text("03.txt", f"{SENTENCE} BREAK a hat"), {}, ("03.png",)),
    ("caption_placeholders", "warning", text("03.txt", f"{SENTENCE}, [trigger]"), {}, ("03.png",)),
    ("caption_parameters", "warning", text("03.txt", f"{SENTENCE}\nNegative prompt: bad\nSteps: 20, Seed: 1"), {}, ("03.png",)),
    ("caption_escapes", "info", text("03.txt", f"{SENTENCE}, miku \\(vocaloid\\)"), {}, ("03.png",)),
    ("caption_too_long", "warning", text("03.txt", "anafox woman " + "x" * 1_000_000), {}, ("03.txt",)),
    ("caption_same", "info", all_captions(lambda at: SENTENCE), {}, None),
    ("caption_cut", "info", text("03.txt", SENTENCE + " and a tree" * 40), {}, ("03.png",)),
    ("trigger_absent", "warning", lambda f: None, {"dataset__trigger": ""}, ()),
    ("trigger_missing", "warning", text("03.txt", "a woman in a park"), {}, ("03.png",)),
    ("trigger_spelling", "warning", text("03.txt", SENTENCE.replace("anafox", "Anafox")), {}, ("03.png",)),
    ("trigger_spelling", "warning", text("03.txt", SENTENCE + ", annafox"), {}, ("03.png",)),
    ("trigger_not_first", "info", text("03.txt", "a woman in a park called anafox woman"), {}, ("03.png",)),
    ("trigger_not_first", "warning", all_captions(lambda at: f"1girl, tag {at}, smile, park, anafox, woman"), {}, None),
    ("class_not_second", "info", text("03.txt", "a photo of anafox in a red coat, sitting on a bench"), {}, ("03.png",)),
    ("trigger_form", "warning", lambda f: None, {"dataset__trigger": "my anna!!"}, ()),
    ("trigger_form", "warning", lambda f: None, {"dataset__trigger": "~/pi"}, ()),
    ("trigger_form", "warning", lambda f: None, {"dataset__trigger": "my anna"}, ()),
    ("trigger_known", "warning", all_captions(lambda at: caption(at, "sarah")), {"dataset__trigger": "sarah"}, ()),
    ("tag_style", "info", lambda f: None, {"preset": "pony-realism", "deep": False}, ()),
    ("tag_style", "info", all_captions(lambda at: f"{TAGS}, tag {at}"), {}, ()),
    ("many_tags", "warning", text("03.txt", SENTENCE + "".join(f", thing {n}" for n in range(25))), {}, ("03.png",)),
    ("few_tags", "info", text("03.txt", "anafox, woman, 1girl"), {}, ("03.png",)),
    ("score_tags", "warning", text("03.txt", f"score_9, score_8_up, {SENTENCE}"), {}, ("03.png",)),
    ("implied_tags", "info", text("03.txt", f"{SENTENCE}, german shepherd, dog"), {}, ("03.png",)),
    ("implied_tags", "info", text("03.txt", f"{SENTENCE}, red hair, hair"), {}, ("03.png",)),
    ("repeated_tags", "info", text("03.txt", f"{SENTENCE}, park, park"), {}, ("03.png",)),
    ("tag_everywhere", "info", all_captions(lambda at: f"{caption(at)}, red jacket"), {}, ()),
    ("white_background", "warning", on_white, {}, None),
    ("watermark", "warning", text("03.txt", f"{SENTENCE}, watermark"), {}, ("03.png",)),
]


@pytest.mark.parametrize(
    ("id", "severity", "spoil", "options", "files"), FAULTS, ids=[f"{f[0]}-{n}" for n, f in enumerate(FAULTS)]
)
def test_each_fault_is_found(
    folder: Path,
    id: str,
    severity: str,
    spoil: Callable[[Path], object],
    options: dict[str, object],
    files: tuple[str, ...] | None,
) -> None:
    spoil(folder)
    found = findings(folder, **options)
    assert id in found, sorted(found)
    assert found[id].severity == severity
    assert found[id].message.endswith(".")
    if files is not None:
        assert found[id].files == files


def test_every_check_has_a_fault_that_it_finds() -> None:
    """Missing images, faces, and what no file alone can bring about follow below."""
    elsewhere = {"no_pictures", "not_decoded", "caption_unreadable", "several_faces", "no_face", "small_face"}
    assert {check.code for check in CHECKS} - {fault[0] for fault in FAULTS} == elsewhere


def test_a_folder_without_images_is_an_error(tmp_path: Path) -> None:
    (finding,) = run_checks(case_of(tmp_path)).findings
    assert (finding.code, finding.severity) == ("no_pictures", "error")


def test_a_caption_that_is_a_link_to_a_folder_is_said(folder: Path) -> None:
    (folder / "03.txt").unlink()
    (folder / "inner").mkdir()
    (folder / "03.txt").symlink_to(folder / "inner")
    found = findings(folder)
    assert found["ignored"].files == ("03.txt",)


def test_an_unreadable_caption_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a file of another user; root may read everything, so the refusal is made."""
    opened = os.open

    def refusing(path: Path, *args: int, **named: int) -> int:
        if Path(path).name == "03.txt":
            raise PermissionError(13, "Permission denied")
        return opened(path, *args, **named)

    monkeypatch.setattr(os, "open", refusing)
    found = findings(folder)
    assert (found["caption_unreadable"].severity, found["caption_unreadable"].files) == ("warning", ("03.txt",))
    assert "it cannot be read: Permission denied" in found["caption_unreadable"].message
    assert found["caption_missing"].files == ("03.png",)


def test_images_that_there_was_no_time_to_decode_are_said(folder: Path) -> None:
    case = case_of(folder, deep=False)
    in_no_time = dataclasses.replace(case, scan=verify(case.scan, budget_s=-1.0))
    (found,) = (f for f in run_checks(in_no_time).findings if f.code == "not_decoded")
    assert (found.severity, found.message) == ("info", "12 of 12 images were checked by their header only.")


def magenta(folder: Path, name: str, *boxes: tuple[int, int, int, int]) -> None:
    made = drawn(3)
    for box in boxes:
        ImageDraw.Draw(made).rectangle(box, fill=(255, 0, 255))
    made.save(folder / name)


def test_faces_are_counted_where_a_detector_is(folder: Path) -> None:
    for at in range(12):
        magenta(folder, f"{at:02d}.png", (40, 30, 80, 80))
    magenta(folder, "03.png", (10, 20, 40, 60), (80, 20, 110, 60))
    magenta(folder, "04.png", (60, 60, 66, 66))
    drawn(5).save(folder / "05.png")
    checked = run_checks(case_of(folder, faces=True))
    found = {f.code: f.files for f in checked.findings}
    assert found["several_faces"] == ("03.png",)
    assert found["small_face"] == ("04.png",)
    assert found["no_face"] == ("05.png",)
    assert checked.not_checked == ()


def test_what_was_not_checked_is_said(folder: Path) -> None:
    case = case_of(folder, deep=False)
    checked = run_checks(dataclasses.replace(case, copies=None))
    reasons = dict(checked.not_checked)
    assert reasons["copies"] == "the files were not compared"
    assert reasons["blurred"] == "needs the deep pass"
    assert dict(run_checks(case_of(folder)).not_checked)["no_face"] == "no face detector is installed"


def test_the_proposed_trigger_is_unknown(folder: Path) -> None:
    found = findings(folder, dataset__trigger="burger")
    assert "such as burg3r, brgr or brgrlora" in found["trigger_known"].remedy


def test_concept_folders_need_no_trigger(folder: Path) -> None:
    (folder / "5_bobcat man").mkdir()
    for path in list(folder.glob("*.*")):
        path.rename(folder / "5_bobcat man" / path.name)
    assert "trigger_absent" not in findings(folder, dataset__trigger="")


@pytest.mark.parametrize("size", [(40, 60), (1, 1), (100, 20), (20, 400)])
@pytest.mark.parametrize("upscale", [False, True])
@pytest.mark.parametrize("buckets", [False, True])
def test_one_tiny_image_gives_one_warning(folder: Path, size: tuple[int, int], upscale: bool, buckets: bool) -> None:
    Image.new("RGB", size, (9, 90, 200)).save(folder / "03.png")
    found = findings(folder, deep=True, dataset__upscale=upscale, dataset__buckets=buckets)
    assert [id for id, finding in found.items() if finding.severity != "info"] == ["tiny"]
    assert found["tiny"].message.startswith("1 image is less than 128 px along a side: 03.png. The smallest, ")


def test_half_of_a_set_at_a_quarter_of_the_pixels_is_said_with_what_it_means(tmp_path: Path) -> None:
    for at in range(12):
        drawn(at, (512, 512) if at % 2 else (1024, 1024)).save(tmp_path / f"{at:02d}.png")
    found = findings(tmp_path, preset="sdxl-person", deep=False)["small"]
    assert found.files == tuple(f"{at:02d}.png" for at in range(1, 12, 2))
    assert found.message == (
        "6 of 12 images have at most half the pixels of 1024×1024. "
        "The smallest, 512×512, is trained at 512×512 and has 25 % of the pixels."
    )
    assert found.remedy == "Train at dataset.resolution=512, or find larger originals."
    fix = fix_for(found, DatasetEdits(str(tmp_path), read_folder(tmp_path)), load_preset("sdxl-person").settings)
    assert fix is not None
    assert fix.settings == {"dataset.resolution": 512}


@pytest.mark.parametrize(
    ("id", "silent", "heard"),
    [
        ("watermark", ("technologos", "a logogram", "logorrhea", "copyrighter"), ("logos", "company_logo", "a Signature")),
        ("score_tags", ("operating_room", "decorating_table", "resource_pack"), ("source_anime", "rating_safe")),
    ],
)
def test_words_are_never_found_within_other_words(
    folder: Path, id: str, silent: tuple[str, ...], heard: tuple[str, ...]
) -> None:
    for word in silent:
        (folder / "03.txt").write_text(f"{SENTENCE}, {word}")
        assert id not in findings(folder, deep=False), word
    for word in heard:
        (folder / "03.txt").write_text(f"{SENTENCE}, {word}")
        assert id in findings(folder, deep=False), word


def test_a_background_is_named_by_a_word_of_its_own(folder: Path) -> None:
    on_white(folder)
    named = findings(folder)["white_background"].files
    for name in named:
        text = (folder / name).with_suffix(".txt")
        text.write_text(f"{text.read_text().strip()}, with a wallet, whisky and a snowboard")
    assert findings(folder)["white_background"].files == named
    for name in named:
        text = (folder / name).with_suffix(".txt")
        text.write_text(f"{text.read_text().strip()}, white_background")
    assert "white_background" not in findings(folder)


@pytest.mark.parametrize(
    ("model", "known"),
    [
        ("/models/ponyRealism_v22.safetensors", True),
        ("/models/waiNSFWIllustrious_v140.safetensors", True),
        ("cagliostrolab/animagine-xl-3.1", True),
        ("/home/pony/hawaiiMix_v2.safetensors", False),
        ("/models/anime/polyponymous.safetensors", False),
        ("/models/companyPhoto.safetensors", False),
    ],
)
def test_what_a_base_knows_is_never_claimed_from_its_name(folder: Path, model: str, known: bool) -> None:
    found = findings(folder, deep=False, base__model=model).get("tag_style")
    assert (found is not None) == known
    if found is not None:
        assert "was trained on" not in found.message
        assert "mostly know" in found.message


def test_a_trigger_with_an_underscore_makes_no_tags_of_sentences(folder: Path) -> None:
    for at in range(12):
        (folder / f"{at:02d}.txt").write_text(caption(at, "ana_fox"))
    assert "tag_style" not in findings(folder, deep=False, dataset__trigger="ana_fox", base__model="/m/photo.safetensors")


def test_another_spelling_of_the_trigger_is_one_finding(folder: Path) -> None:
    (folder / "03.txt").write_text(SENTENCE.replace("anafox", "Anafox"))
    assert [id for id in findings(folder, deep=False) if id.startswith("trigger")] == ["trigger_spelling"]


def test_each_of_several_concepts_has_a_trigger_of_its_own(tmp_path: Path) -> None:
    clean_set(tmp_path / "10_anafox woman", 6)
    other = clean_set(tmp_path / "10_bobcat man", 6)
    for at in range(6):
        drawn(50 + at).save(other / f"{at:02d}.png")
        (other / f"{at:02d}.txt").write_text(caption(at + 6, "bobcat", "man"))
    assert not {id for id in findings(tmp_path, dataset__trigger="anafox") if id.startswith(("trigger", "class"))}
    (other / "00.txt").write_text("a photo of anafox woman in a park")
    found = findings(tmp_path, dataset__trigger="")
    assert found["trigger_missing"].files == ("10_bobcat man/00.png",)
    assert 'captions without "bobcat"' in found["trigger_missing"].message


def test_only_some_checks_can_be_made(folder: Path) -> None:
    (folder / "03.txt").unlink()
    (folder / "notes.md").write_text("x")
    assert [f.code for f in run_checks(case_of(folder), only={"ignored"}).findings] == ["ignored"]


def test_one_image_is_spoken_of_as_one(tmp_path: Path) -> None:
    drawn(1).save(tmp_path / "00.png")
    assert findings(tmp_path)["too_few_images"].message.startswith("1 image is fewer than")
