"""Bases found on a machine: by what they hold, wherever the usual programs keep them, with FLUX's parts around them."""

from __future__ import annotations

import json
import os
import struct
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import made_models as made
import pytest

from loratui.engine.formats import safetensors_file
from loratui.engine.formats.base_parts import BaseRefused
from loratui.engine.planning import base_search
from loratui.engine.planning.base_checks import check_base
from loratui.engine.planning.base_search import Memory
from loratui.engine.planning.bases import base_path, discover, find_base, pinned
from loratui.presets.schema import Base


def flux(path: Path) -> Base:
    return Base(family="flux", model=str(made.write(path, made.flux(), "BF16")))


def findings(base: Base) -> dict[str, str]:
    return {f.code: f"{f.severity}: {f.message} {f.remedy}" for f in check_base(base, ())}


def test_flux_is_put_together_from_comfyuis_folders(tmp_path: Path) -> None:
    models = tmp_path / "ComfyUI" / "models"
    base = flux(models / "diffusion_models" / "FLUX1" / "a.safetensors")
    made.write(models / "text_encoders" / "b.safetensors", made.t5(), "F8_E4M3")
    made.write(models / "clip" / "c.safetensors", made.t5())
    made.write(models / "clip" / "d.safetensors", made.clip())
    made.write(models / "vae" / "e.safetensors", made.ldm_vae(16))
    made.write(models / "vae" / "sdxl.safetensors", made.ldm_vae(4))
    made.t5_tokenizer(tmp_path / "ComfyUI" / "comfy" / "text_encoders" / "t5_tokenizer")
    found = find_base(base, ())
    assert found.complete
    where = {name: part.path.name for name, part in found.parts.items() if part.files}
    assert where == {
        "transformer": "a.safetensors",
        "text_encoder": "d.safetensors",
        "text_encoder_2": "c.safetensors",  # fp16 before fp8
        "vae": "e.safetensors",
    }
    assert found.parts["tokenizer_2"].path.name == "t5_tokenizer"
    told = findings(base)
    assert set(told) == {"base_parts_found"}
    assert "c.safetensors" in told["base_parts_found"]


@pytest.mark.parametrize(
    ("model", "encoder", "vae"),
    [
        ("webui/models/Stable-diffusion/x", "webui/models/text_encoder/y", "webui/models/VAE/z"),  # Forge
        ("models/flux/main/x", "models/any/t5_encoder/y", "models/flux/vae/z"),  # InvokeAI
        ("all/x", "all/y", "all/z"),
        ("kohya/unet/x", "kohya/clip/y", "kohya/vae/z"),
    ],
)
def test_other_programs_folders(tmp_path: Path, model: str, encoder: str, vae: str) -> None:
    base = flux(tmp_path / f"{model}.safetensors")
    made.write(tmp_path / f"{encoder}.safetensors", made.t5())
    made.write(tmp_path / f"{vae}.safetensors", made.ldm_vae(16))
    found = find_base(base, [tmp_path] if "any" in encoder else ())
    assert [m.part for m in found.missing] == ["text_encoder", "tokenizer_2"]


def test_what_is_missing_is_named_with_where_to_get_it(tmp_path: Path) -> None:
    base = flux(tmp_path / "models" / "unet" / "a.safetensors")
    listed = [f for f in check_base(base, ()) if f.code == "base_part_missing"]
    assert len(listed) == 4
    t5 = next(f for f in listed if "T5-XXL" in f.message)
    assert "9.8 GB, Apache-2.0" in t5.message
    assert "loratui download comfyanonymous/flux_text_encoders t5xxl_fp16.safetensors" in t5.remedy
    assert "t5xxl_fp8_e4m3fn.safetensors" in t5.remedy
    assert "--set base.text_encoder_2=FILE" in t5.remedy


def test_a_clip_that_was_trained_along_with_another_model_is_not_taken(tmp_path: Path) -> None:
    base = flux(tmp_path / "checkpoints" / "a.safetensors")
    made.write(tmp_path / "checkpoints" / "pony.safetensors", made.sdxl())
    made.write(tmp_path / "checkpoints" / "whole.safetensors", made.flux_all_in_one(), "F8_E4M3")
    assert find_base(base, ()).parts["text_encoder"].path.name == "whole.safetensors"
    (tmp_path / "checkpoints" / "whole.safetensors").unlink()
    assert "text_encoder" not in find_base(base, ()).parts


def test_parts_that_a_recipe_names_win_and_must_be_what_they_should(tmp_path: Path) -> None:
    vae = made.write(tmp_path / "v.safetensors", made.prefixed("vae.", made.ldm_vae()))
    model = made.write(tmp_path / "m.safetensors", made.sd15())
    found = find_base(Base(model=str(model), vae=str(vae)), ())
    assert (found.parts["vae"].path, found.parts["vae"].prefix) == (vae, "vae.")
    clip = made.write(tmp_path / "c.safetensors", made.clip())
    with pytest.raises(BaseRefused, match=r"this is not the SD1\.5 VAE"):
        find_base(Base(model=str(model), vae=str(clip)), ())
    with pytest.raises(BaseRefused, match=r"Check base\.vae"):
        find_base(Base(model=str(model), vae="/nowhere"), ())
    with pytest.raises(BaseRefused, match="has no such part"):
        find_base(Base(model=str(model), text_encoder_2=str(vae)), ())


def test_a_start_writes_down_which_files_it_took(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = flux(tmp_path / "models" / "unet" / "a.safetensors")
    made.write(tmp_path / "models" / "vae" / "b.safetensors", made.ldm_vae(16))
    made.write(tmp_path / "models" / "clip" / "c.safetensors", made.clip())
    parts = {
        "base.vae": str(tmp_path / "models/vae/b.safetensors"),
        "base.text_encoder": str(tmp_path / "models/clip/c.safetensors"),
    }
    assert pinned(base) == {"base.model": base.model, **parts}
    monkeypatch.chdir(tmp_path / "models")
    assert pinned(Base(family="flux", model="unet/a.safetensors", vae="vae/b.safetensors")) == {
        "base.model": base.model,
        **parts,
    }
    whole = made.write(tmp_path / "s.safetensors", made.sdxl())
    assert pinned(Base(family="sdxl", model=str(whole))) == {"base.model": str(whole)}
    assert pinned(Base(model="embedded:sd15")) == {}


def test_a_vae_of_sd15_is_never_guessed(tmp_path: Path) -> None:
    shapes = {key: shape for key, shape in made.sd15().items() if not key.startswith("first_stage")}
    made.write(tmp_path / "vae.safetensors", made.ldm_vae())
    found = find_base(Base(model=str(made.write(tmp_path / "m.safetensors", shapes))), ())
    assert [m.setting for m in found.missing] == ["base.vae"]


def test_findings_on_family_and_prediction(tmp_path: Path) -> None:
    pony = str(made.write(tmp_path / "pony.safetensors", made.sdxl()))
    assert findings(Base(model=pony, family="sdxl")) == {}
    assert "a preset for SDXL such as sdxl-person" in findings(Base(model=pony))["base_family"]
    assert findings(Base(model=pony, family="sdxl", zero_terminal_snr="on"))["base_prediction"].startswith("error")
    v_model = str(made.write(tmp_path / "v.safetensors", {**made.sdxl(), "v_pred": (0,), "ztsnr": (0,)}))
    assert findings(Base(model=v_model, family="sdxl")) == {}
    assert "zero terminal SNR" in findings(Base(model=v_model, family="sdxl", prediction="epsilon"))["base_prediction"]
    only_v = str(made.write(tmp_path / "w.safetensors", {**made.sdxl(), "v_pred": (0,)}))
    assert findings(Base(model=only_v, family="sdxl", prediction="epsilon"))["base_prediction"].startswith("warning")
    whole = str(made.write(tmp_path / "f.safetensors", made.flux_all_in_one()))
    made.t5_tokenizer(tmp_path)
    assert findings(Base(model=whole, family="flux")) == {}
    assert "no such choice" in findings(Base(model=whole, family="flux", prediction="v"))["base_prediction"]


def test_a_hub_name_that_is_not_here_says_how_to_fetch_it() -> None:
    assert "loratui download owner/name" in findings(Base(model="owner/name"))["base_not_found"]
    assert "loratui download" not in findings(Base(model="./owner/name"))["base_not_found"]
    assert "base_missing" in findings(Base(model=""))


def downloaded(cache: Path, repo: str) -> Path:
    folder = cache / f"models--{repo.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc")
    return folder / "snapshots" / "abc"


def test_downloads_of_the_hubs_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    made.write(downloaded(tmp_path, "o/flux") / "flux.safetensors", made.flux())
    many = downloaded(tmp_path, "o/many")
    made.write(many / "a.safetensors", made.sd15())
    made.write(many / "b.safetensors", made.sd15())
    encoders = downloaded(tmp_path, "comfyanonymous/flux_text_encoders")
    made.write(encoders / "clip_l.safetensors", made.clip())
    found = {base.model: base for base in discover(memory_file=tmp_path / "memory.json")[0] if base.where == "hub"}
    assert set(found) == {"o/flux", "o/many/a.safetensors", "o/many/b.safetensors"}
    assert found["o/flux"].missing == ("vae", "text_encoder_2", "tokenizer_2")
    assert base_path("o/many/b.safetensors") == many / "b.safetensors"
    assert find_base(Base(model="o/many/b.safetensors"), ()).family == "sd15"
    assert find_base(Base(model="o/flux", family="flux"), ()).parts["text_encoder"].path == encoders / "clip_l.safetensors"
    assert base_path("o/none") is None


def test_a_walk_remembers_and_notices_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made.write(tmp_path / "m" / "a.safetensors", made.sd15())
    memory = tmp_path / "memory" / "bases.json"
    assert discover([tmp_path], memory_file=memory)[0][0].family == "sd15"
    monkeypatch.setattr(base_search, "look_at", lambda _: pytest.fail("it was read again"))
    assert discover([tmp_path], memory_file=memory)[0][0].family == "sd15"
    monkeypatch.undo()
    made.write(path, made.sdxl())
    assert discover([tmp_path], memory_file=memory)[0][0].family == "sdxl"
    now = base_search.judged_by()
    damages = [{"judged_by": now, "seen": 3}, {"judged_by": now, "seen": {str(path): {"stamp": 1}}}]
    for damage in ("{", "[]", *map(json.dumps, damages)):
        memory.write_text(damage)
        assert discover([tmp_path], memory_file=memory)[0][0].family == "sdxl"
    assert oct(memory.stat().st_mode & 0o077) == "0o0"


def test_a_walk_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made.write(tmp_path / "a" / "b" / "m.safetensors", made.sd15())
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    made.write(tmp_path / "site-packages" / "m.safetensors", made.sd15())
    made.write(tmp_path / ".hidden" / "m.safetensors", made.sd15())
    found, cut = discover([tmp_path, tmp_path / "a"], memory_file=tmp_path / "x.json")
    assert (len(found), cut) == (1, False)
    monkeypatch.setattr(base_search, "MOST_ENTRIES", 2)
    assert discover([tmp_path], memory_file=tmp_path / "y.json") == ([], True)


def test_what_other_code_judged_is_judged_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made.write(tmp_path / "m" / "a.safetensors", made.sd15())
    memory = tmp_path / "bases.json"
    monkeypatch.setattr(base_search, "look_at", lambda path: base_search.Seen(str(path), code="base_other_family"))
    assert discover([tmp_path], memory_file=memory)[0][0].family is None
    monkeypatch.undo()
    assert discover([tmp_path], memory_file=memory)[0][0].family is None  # remembered
    monkeypatch.setattr(base_search, "judged_by", lambda: "a later version")
    assert discover([tmp_path], memory_file=memory)[0][0].family == "sd15"


def test_a_thousand_files_are_looked_through_in_time(tmp_path: Path) -> None:
    lora = {f"lora_unet_{n}.lora_down.weight": (4, 320) for n in range(200)}
    first = made.write(tmp_path / "loras" / "0.safetensors", lora)
    for n in range(1, 1000):
        os.link(first, tmp_path / "loras" / f"{n}.safetensors")
    made.write(tmp_path / "m.safetensors", made.sdxl())
    started = time.process_time()
    assert len(discover([tmp_path], memory_file=tmp_path / "x.json")[0]) == 1
    first_s = time.process_time() - started
    assert len(Memory.load(tmp_path / "x.json")._table) == 1001
    started = time.process_time()
    assert len(discover([tmp_path], memory_file=tmp_path / "x.json")[0]) == 1
    assert time.process_time() - started < max(1.0, first_s)
    assert first_s < 20


def in_two_shards(folder: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]], Path, Path]:
    """FLUX's tensors in two halves with their index, and the two files, of which none is there yet."""
    shapes = made.flux()
    keys = list(shapes)
    first = {key: shapes[key] for key in keys[: len(keys) // 2]}
    second = {key: shapes[key] for key in keys[len(keys) // 2 :]}
    files = (folder / "m-00001-of-00002.safetensors", folder / "m-00002-of-00002.safetensors")
    listed = {**dict.fromkeys(first, files[0].name), **dict.fromkeys(second, files[1].name)}
    folder.mkdir(parents=True)
    (folder / "m.safetensors.index.json").write_text(json.dumps({"weight_map": listed}))
    return first, second, *files


def test_shards_that_arrive_or_break_later_are_noticed(tmp_path: Path) -> None:
    first, second, one, two = in_two_shards(tmp_path / "m")
    memory = tmp_path / "memory.json"

    def told() -> list[tuple[str, str]]:
        return [(base.title, base.problem) for base in discover([tmp_path / "m"], memory_file=memory)[0]]

    made.write(one, first, "BF16")
    assert ["1 of its 2 files is missing" in problem for _, problem in told()] == [True]
    made.write(two, second, "BF16")
    assert told() == [("FLUX.1-dev transformer, bf16", "")]
    os.truncate(two, 2_000)
    assert all("cut off" in problem for _, problem in told())


def test_a_file_changed_in_place_is_read_again_though_its_size_and_time_stay(tmp_path: Path) -> None:
    path = made.write(tmp_path / "m" / "a.safetensors", made.sd15())
    memory = tmp_path / "memory.json"
    assert discover([tmp_path / "m"], memory_file=memory)[0][0].usable
    before = path.stat()
    with path.open("r+b") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        header = file.read(length).replace(b"[320, 4, 3, 3]", b"[320, 3, 4, 3]")
        file.seek(8)
        file.write(header)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "takes 3 channels" in discover([tmp_path / "m"], memory_file=memory)[0][0].problem


def test_what_could_not_be_read_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made.write(tmp_path / "m" / "a.safetensors", made.sd15())
    memory = tmp_path / "memory.json"

    def refuse(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(safetensors_file, "_raw_header", refuse)
        assert "Input/output error" in discover([tmp_path / "m"], memory_file=memory)[0][0].problem
    assert discover([tmp_path / "m"], memory_file=memory)[0][0].usable


def test_a_broken_index_does_not_spoil_the_files_beside_it(tmp_path: Path) -> None:
    model = made.write(tmp_path / "good.safetensors", made.sd15())
    for damage in ('{"weight', "[]", '{"weight_map": 3}'):
        (tmp_path / "other.safetensors.index.json").write_text(damage)
        assert find_base(Base(model=str(model)), ()).family == "sd15"


@pytest.mark.parametrize("name", ["~nobody-of-this-name/x", "a" * 5_000, "b\0c", "/dev/null/x"])
def test_names_that_can_be_no_path_are_not_found(name: str) -> None:
    assert base_path(name) is None
    assert "base_not_found" in findings(Base(model=name))
    assert "base_part_not_found" in findings(Base(family="flux", model="embedded:flux", vae=name))


def test_a_pipe_with_a_models_name_stops_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.safetensors")
    (found,), _ = discover([tmp_path], memory_file=tmp_path / "x.json")
    assert "no file" in found.problem
    assert "base_unreadable" in findings(Base(model=str(tmp_path / "pipe.safetensors")))


def test_a_slow_folder_does_not_hold_up_a_walk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(50):
        made.write(tmp_path / "m" / f"{n:02}.safetensors", made.sd15())
    looked: list[Path] = []

    def slow(path: Path) -> base_search.Seen:
        looked.append(path)
        return base_search.Seen(str(path), "sd15", "single_file")

    monkeypatch.setattr(base_search, "look_at", slow)
    monkeypatch.setattr(base_search.time, "monotonic", lambda: 4.0 * len(looked))  # four seconds for each file
    found, cut = discover([tmp_path], memory_file=tmp_path / "x.json")
    assert cut
    assert len(found) == len(looked) <= base_search.MOST_SECONDS / 4 + 1


@pytest.fixture
def without_rights() -> Iterator[None]:
    """Takes the administrator's rights away, for whom no file is closed."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    yield
    os.seteuid(before)


def test_closed_files_and_folders_are_named(tmp_path: Path, without_rights: None) -> None:
    del without_rights
    with tempfile.TemporaryDirectory() as name:
        file = made.write(Path(name) / "m" / "a.safetensors", made.sd15())
        memory = Path(name) / "x.json"
        assert discover([file.parent], memory_file=memory)[0][0].usable
        file.chmod(0)
        assert "Permission denied" in discover([file.parent], memory_file=memory)[0][0].problem
        assert "Permission denied" in findings(Base(model=str(file)))["base_unreadable"]
        file.chmod(0o600)
        assert discover([file.parent], memory_file=memory)[0][0].usable
        file.parent.chmod(0)
        with pytest.raises(BaseRefused, match="m: it cannot be looked into: Permission denied"):
            discover([file.parent], memory_file=memory)
        assert "folders may be read" in findings(Base(model=str(file)))["base_not_found"]
        file.parent.chmod(0o700)


def test_models_are_looked_for_where_the_guide_for_flux_puts_them() -> None:
    """/content/fluxgym-Colab/models, after everything else: a Drive may be mounted beside it."""
    roots = base_search.usual_roots({"HOME": "/root"})
    assert roots[-2:] == (Path("/root"), Path("/content"))
