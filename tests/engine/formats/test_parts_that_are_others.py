"""Parts that look like those of a base and are others: told as what they are, before anything is loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import made_models as made
import pytest

from loratui.engine import families
from loratui.engine.families.spec import PartName
from loratui.engine.formats.base_files import identify, part_file
from loratui.engine.formats.base_parts import BaseRefused
from loratui.engine.formats.safetensors_file import may_hold_tensors
from loratui.engine.planning.base_checks import check_base
from loratui.engine.planning.bases import discover, find_base
from loratui.presets import SHIPPED
from loratui.presets.schema import Base, Family

Shapes = dict[str, tuple[int, ...]]


def long_clip(level: str = "text_model.", positions: int = 248) -> Shapes:
    return {**made.clip(level=level), f"{level}embeddings.position_embedding.weight": (positions, 768)}


def umt5() -> Shapes:
    return {**made.t5(), "shared.weight": (256_384, 4096)}


def whole_t5() -> Shapes:
    return {**made.t5(), "decoder.block.0.layer.0.SelfAttention.q.weight": (4096, 4096), "lm_head.weight": (32128, 4096)}


PARTS: list[tuple[Family, PartName, Shapes, str]] = [
    ("flux", "text_encoder", long_clip(), "a Long-CLIP-L text encoder (248 positions, and 77 are needed)"),
    ("sd15", "text_encoder", long_clip(""), "a Long-CLIP-L text encoder (248 positions, and 77 are needed)"),
    ("flux", "text_encoder", made.clip(1280, 32), "a CLIP-G text encoder (1280 wide, and 768 is needed)"),
    ("flux", "text_encoder", made.clip(1024, 24), "a CLIP-H text encoder (1024 wide, and 768 is needed)"),
    ("flux", "text_encoder", made.clip(layers=11), "a CLIP-L text encoder (11 layers, and 12 are needed)"),
    ("sdxl", "text_encoder", made.clip(1280, 32), "a CLIP-G text encoder (1280 wide, and 768 is needed)"),
    ("sdxl", "text_encoder_2", made.clip(), "a CLIP-L text encoder (768 wide, and 1280 is needed)"),
    ("sdxl", "text_encoder_2", made.t5(), "a T5-XXL text encoder"),
    ("flux", "text_encoder_2", made.clip(), "a CLIP-L text encoder"),
    ("flux", "text_encoder_2", made.t5(2048), "a T5-XL text encoder (2048 wide, and 4096 is needed)"),
    ("flux", "text_encoder_2", made.t5(768, 12), "a T5-base text encoder (768 wide, and 4096 is needed)"),
    ("flux", "text_encoder_2", umt5(), "a UMT5 text encoder (256,384 tokens, and 32,128 are needed)"),
    ("sd15", "vae", made.ldm_vae(16), "a VAE of 16 channels (as FLUX and SD3 have) (16 channels, and 4 are needed)"),
    ("flux", "vae", made.ldm_vae(4), "a VAE of 4 channels (as SD1.5 and SDXL have) (4 channels, and 16 are needed)"),
    ("sdxl", "vae", made.ldm_vae(8), "a VAE of 8 channels (8 channels, and 4 are needed)"),
    ("flux", "vae", made.ldm_vae(16, encoder=False), "(its encoder is missing, which training needs)"),
]


@pytest.mark.parametrize(("family", "part", "shapes", "words"), PARTS, ids=range(len(PARTS)))
def test_a_part_that_is_another_is_told_as_what_it_is(
    tmp_path: Path, family: Family, part: PartName, shapes: Shapes, words: str
) -> None:
    path = made.write(tmp_path / "part.safetensors", shapes)
    with pytest.raises(BaseRefused) as refused:
        part_file(path, family, part, families.family(family).bundled)
    assert words in refused.value.message
    assert refused.value.code == "base_part_wrong"


def test_a_whole_t5_is_taken_for_its_encoder(tmp_path: Path) -> None:
    path = made.write(tmp_path / "t5.safetensors", whole_t5())
    assert part_file(path, "flux", "text_encoder_2", families.family("flux").bundled).path == path


def test_such_a_part_is_never_taken_by_a_search(tmp_path: Path) -> None:
    base = made.write(tmp_path / "flux.safetensors", made.flux())
    made.t5_tokenizer(tmp_path)
    for name, shapes in (("a", long_clip()), ("b", umt5()), ("c", made.ldm_vae(4)), ("d", made.t5(2048))):
        made.write(tmp_path / f"{name}.safetensors", shapes)
    found = find_base(Base(family="flux", model=str(base)), [tmp_path])
    assert {missing.part for missing in found.missing} == {"text_encoder", "text_encoder_2", "vae"}
    listed = next(one for one in discover([tmp_path], memory_file=tmp_path / "memory")[0] if one.path == base)
    assert set(listed.missing) == {"text_encoder", "text_encoder_2", "vae"}
    for name, shapes in (("e", made.clip()), ("f", whole_t5()), ("g", made.ldm_vae(16))):
        made.write(tmp_path / f"{name}.sft", shapes)
    found = find_base(Base(family="flux", model=str(base)), [tmp_path])
    assert {part: found.parts[part].path.name for part in ("text_encoder", "text_encoder_2", "vae")} == {
        "text_encoder": "e.sft", "text_encoder_2": "f.sft", "vae": "g.sft",
    }  # fmt: skip


def test_a_checkpoint_says_why_its_own_part_is_not_taken(tmp_path: Path) -> None:
    shapes = {key: shape for key, shape in made.sd15().items() if "cond_stage_model" not in key}
    path = made.write(tmp_path / "x.safetensors", {**shapes, **made.prefixed("cond_stage_model.transformer.", long_clip())})
    found = identify(path)
    assert next(str(missing) for missing in found.missing).startswith(
        "CLIP-L text encoder is missing (the one inside is a Long-CLIP-L text encoder (248 positions, and 77 are needed))"
    )
    why = next(finding.why for finding in check_base(Base(model=str(path)), []) if finding.code == "base_part_missing")
    assert "Long-CLIP" in why


def test_a_flux_without_guidance_is_told_as_either_of_two(tmp_path: Path) -> None:
    with pytest.raises(BaseRefused, match=r"schnell.*or a de-distilled FLUX"):
        identify(made.write(tmp_path / "x.safetensors", made.flux(guided=False)))


def test_a_flux_of_fewer_blocks_says_so(tmp_path: Path) -> None:
    found = identify(made.write(tmp_path / "lite.safetensors", made.flux(double=8)))
    assert found.title.endswith("8 double blocks and 38 single blocks (FLUX.1-dev has 19 and 38)")
    assert found.denoiser.config_changes == {"num_layers": 8}
    assert "blocks" not in identify(made.write(tmp_path / "dev.safetensors", made.flux())).title


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"first": 384}, "384 channels at its beginning (not 320)"),
        ({"blocks": 20}, "20 transformer blocks (not 70)"),
        ({"context": 1536, "added": 2304}, "1536 channels of text (not 2048) and 2304 added channels (not 2816)"),
    ],
)
def test_an_sdxl_of_other_sizes_names_them(tmp_path: Path, changes: dict[str, int], words: str) -> None:
    with pytest.raises(BaseRefused) as refused:
        identify(made.write(tmp_path / "x.safetensors", made.sdxl(**changes)))
    assert words in refused.value.message
    assert ("SSD-1B" in refused.value.message) == ("blocks" in changes)
    assert refused.value.code == "base_other_shape"


def test_a_part_that_is_of_no_use_is_not_sent_to_a_setting(tmp_path: Path) -> None:
    for shapes in (long_clip(), umt5(), made.clip(1024, 24), made.ldm_vae(16, encoder=False)):
        with pytest.raises(BaseRefused, match="no family that can be trained here has such a part"):
            identify(made.write(tmp_path / "x.safetensors", shapes))
    for shapes in (made.clip(), whole_t5(), made.ldm_vae(16), made.open_clip()):
        with pytest.raises(BaseRefused, match="goes into its own setting"):
            identify(made.write(tmp_path / "x.safetensors", shapes))


# ---- diffusers folders


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The embedded SDXL, to be changed."""
    return Path(shutil.copytree(SHIPPED / "bases" / "sdxl", tmp_path / "sdxl"))


def refusal(folder: Path) -> BaseRefused:
    with pytest.raises(BaseRefused) as refused:
        identify(folder)
    return refused.value


def test_text_encoders_that_were_exchanged_are_told(folder: Path) -> None:
    (folder / "text_encoder").rename(folder / "x")
    (folder / "text_encoder_2").rename(folder / "text_encoder")
    (folder / "x").rename(folder / "text_encoder_2")
    refused = refusal(folder)
    assert refused.code == "base_part_wrong"
    assert "96 wide" in refused.message or "64 wide" in refused.message


@pytest.mark.parametrize(
    ("part", "key", "value", "words"),
    [
        ("text_encoder", "num_hidden_layers", 10**9, "3 layers, and its config.json has 1,000,000,000"),
        ("text_encoder_2", "max_position_embeddings", 248, "77 positions, and its config.json has 248"),
        ("unet", "cross_attention_dim", 2048, "160 channels of text, and its config.json has 2048"),
        ("vae", "latent_channels", 16, "4 channels, and its config.json has 16"),
    ],
)
def test_weights_that_their_configuration_does_not_fit(folder: Path, part: str, key: str, value: int, words: str) -> None:
    path = folder / part / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    refused = refusal(folder)
    assert words in refused.message
    assert refused.code == "base_other_shape"


@pytest.mark.parametrize("value", [None, "x", [], {}, -1, True, 10**40, [[[]]]])
@pytest.mark.parametrize("name", ["sd15", "sdxl", "flux"])
def test_configurations_with_anything_in_them(tmp_path: Path, name: str, value: object) -> None:
    folder = Path(shutil.copytree(SHIPPED / "bases" / name, tmp_path / name))
    for path in folder.rglob("*.json"):
        whole = path.read_text()
        table = json.loads(whole)
        if path.name.startswith("tokenizer") or not isinstance(table, dict):
            continue
        path.write_text(json.dumps(dict.fromkeys(table, value)))
        try:
            identify(folder)
        except BaseRefused as error:
            assert len(str(error)) < 1000  # noqa: PT017 - some values are no fault
        path.write_text(whole)


def test_the_embedded_bases_fit() -> None:
    for name in ("sd15", "sdxl", "flux"):
        assert identify(SHIPPED / "bases" / name).complete


# ---- what files are called


@pytest.mark.parametrize("name", ["x.sft", "x.SAFETENSORS", "x.Safetensors", "x", "x.bin", "x.pt", "x.ckpt", "x.model.part"])
def test_content_decides_whatever_a_file_is_called(tmp_path: Path, name: str) -> None:
    path = made.write(tmp_path / "models" / name, made.sd15())
    assert identify(path).family == "sd15"
    assert identify(path.parent).family == "sd15"
    found, _ = discover([tmp_path], memory_file=tmp_path / "memory")
    assert [(one.path, one.usable) for one in found] == [(path, True)]
    assert not list(check_base(Base(model=str(path)), []))


@pytest.mark.parametrize("name", ["x.bin", "x", "x.png", "x.safetensors.json"])
def test_other_files_are_not_looked_into(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"\x80\x02}" + bytes(2_000_000))
    assert not may_hold_tensors(path)
    path.write_bytes(b"PK\x03\x04" + bytes(2_000_000))
    assert not may_hold_tensors(path)
    assert discover([tmp_path], memory_file=tmp_path / "memory")[0] == []


def test_a_folder_of_blobs_is_no_second_copy(tmp_path: Path) -> None:
    blob = made.write(tmp_path / "models--a--b" / "blobs" / "0f0f", made.sd15())
    link = tmp_path / "models--a--b" / "snapshots" / "main" / "x.safetensors"
    link.parent.mkdir(parents=True)
    link.symlink_to(blob)
    assert [one.path for one in discover([tmp_path], memory_file=tmp_path / "memory")[0]] == [link]


def test_safetensors_under_another_name_in_a_folder_are_told(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(folder / "unet" / "pytorch_model.bin")
    refused = refusal(folder)
    assert refused.code == "base_format"
    assert "mv pytorch_model.bin pytorch_model.safetensors" in refused.remedy
