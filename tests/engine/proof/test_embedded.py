"""Prompts followed and likeness of things: on made descriptions with a known answer, and by tiny models in the real layout, from a hub on this machine."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hub_server import COMMIT, Hub, serve
from PIL import Image
from safetensors.torch import save
from torch import nn
from transformers import CLIPConfig, CLIPModel, Dinov2Config, Dinov2Model

from loratui.engine.dataset import weights
from loratui.engine.dataset.weights import Weights
from loratui.engine.errors import LoratuiError
from loratui.engine.proof import embedding_weights
from loratui.engine.proof.embedded import FOLLOWED, NOT_FOR_FACES, RESEMBLANCE
from loratui.engine.proof.prompts import is_person, plain
from loratui.engine.proof.protocol import EmbeddingError, Faces, Photo, References, Shot, measured
from loratui.engine.training.validation import image_models

TINY_CLIP = {
    "projection_dim": 12,
    "text_config": {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1},
    "vision_config": {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1},
}
TINY_DINO = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1, "image_size": 518, "patch_size": 14}


def shot(seed: int, fits: float | None = None, *, base: bool = False, thing: tuple[float, ...] = ()) -> Shot:
    return Shot(f"{seed}{base}.png", "a dog in snow", seed, "" if base else "x", float(not base), fits=fits, thing=thing)


def against(*fits: float | None) -> References:
    shots = [shot(seed, score, base=True) for seed, score in enumerate(fits)]
    return References(base={one.key: one for one in shots})


# ---- prompt followed


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ((0.31, 0.30, 0.32), "as well as the base"),
        ((0.21, 0.20, 0.22), "less than by the base"),
        ((0.41, 0.40, 0.42), "better than by the base"),
        ((0.10, 0.45, 0.25), "as well as the base"),
    ],
)
def test_scores_are_held_against_the_bases_and_the_spread_of_the_seeds(own: tuple[float, ...], said: str) -> None:
    found = measured(FOLLOWED, [shot(seed, score) for seed, score in enumerate(own)], against(0.31, 0.30, 0.32))
    assert found.means == said
    assert found.value == pytest.approx(sum(own) / 3)
    assert found.base == pytest.approx(0.31)
    assert found.more["ratio"] == pytest.approx(sum(own) / 0.93, abs=1e-3)
    assert found.more["difference"] == pytest.approx(sum(own) / 3 - 0.31, abs=1e-3)


def test_what_is_lacking_is_said() -> None:
    lacking = References(no_texts=embedding_weights.NO_IMAGE_TEXT, no_things=embedding_weights.NO_THINGS)
    assert measured(FOLLOWED, [shot(1)], lacking).unknown == embedding_weights.NO_IMAGE_TEXT
    assert measured(RESEMBLANCE, [shot(1)], lacking).unknown == embedding_weights.NO_THINGS
    alone = measured(FOLLOWED, [shot(1, 0.3)], References())
    assert (alone.value, alone.base) == (0.3, None)
    assert "strength 0" in alone.unknown
    for measure in (FOLLOWED, RESEMBLANCE):
        assert measured(measure, [shot(1)], replace(against(None), photos=(Photo("a"),))).value is None


def test_a_prompt_is_asked_with_the_class_word_in_place_of_the_trigger() -> None:
    assert plain("a photo of zwx dog in snow", "zwx", "dog") == "a photo of dog in snow"
    assert plain("zwx in snow", "zwx", "dog") == "dog in snow"
    assert plain("zwx, in snow", "", "dog") == "zwx, in snow"


# ---- things and styles


def of_thing(middle: np.ndarray, rng: np.random.Generator) -> tuple[float, ...]:
    vector = middle + rng.normal(size=32) * 0.15
    return tuple((vector / np.linalg.norm(vector)).tolist())


def test_things_are_placed_among_the_photos_and_other_things_below() -> None:
    rng = np.random.default_rng(5)
    own, other = rng.normal(size=(2, 32))
    photos = tuple(Photo(f"{at}.png", thing=of_thing(own, rng)) for at in range(12))
    references = References(photos=photos, class_word="dog")
    like = measured(RESEMBLANCE, [shot(seed, thing=of_thing(own, rng)) for seed in range(8)], references)
    assert like.means.startswith("as like as the photos")
    unlike = measured(RESEMBLANCE, [shot(seed, thing=of_thing(other, rng)) for seed in range(8)], references)
    assert unlike.means == "less like than the photos are to each other"
    copies = measured(RESEMBLANCE, [shot(seed, thing=photos[seed].thing) for seed in range(8)], references)
    assert copies.means.startswith("copies of photos")
    few = measured(RESEMBLANCE, [shot(1, thing=photos[0].thing)], replace(references, photos=photos[:3]))
    assert few.unknown.startswith("3 photos that differ: too few")


@pytest.mark.parametrize(
    ("class_word", "faces", "person"),
    [("young woman", 0, True), ("dog", 1, False), ("", 1, True), ("", 0, False), ("", 2, False)],
)
def test_it_is_not_for_faces(class_word: str, faces: int, person: bool) -> None:
    photos = tuple(Photo(f"{at}.png", faces=Faces(faces), thing=(1.0, 0.0)) for at in range(4))
    found = measured(RESEMBLANCE, [shot(1, thing=(1.0, 0.0))], References(photos=photos, class_word=class_word))
    assert (found.unknown == NOT_FOR_FACES) is person


def test_a_class_word_is_looked_for_as_a_word() -> None:
    assert is_person("Woman")
    assert not is_person("mandolin")


# ---- the models


DINO_NAMES = {
    "attention.q_proj": "attention.attention.query",
    "attention.k_proj": "attention.attention.key",
    "attention.v_proj": "attention.attention.value",
    "attention.o_proj": "attention.output.dense",
}
"""Name in this release of transformers -> in the file on the hub, whose header is as long as these make it."""


def tiny(model: nn.Module) -> bytes:
    """The weights with the names of the files on the hub; CLIP's has two tables of positions besides."""
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    if isinstance(model, CLIPModel):
        tensors |= {f"{part}_model.embeddings.position_ids": torch.arange(5)[None] for part in ("text", "vision")}
    else:
        for own, published in DINO_NAMES.items():
            tensors = {name.replace(own, published): value for name, value in tensors.items()}
        assert any(".attention.attention.query." in name for name in tensors)
    return save(tensors)


@pytest.fixture(scope="module")
def networks() -> tuple[CLIPModel, Dinov2Model]:
    torch.manual_seed(3)
    return CLIPModel(CLIPConfig(**TINY_CLIP)).eval(), Dinov2Model(Dinov2Config(**TINY_DINO)).eval()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, networks: tuple[CLIPModel, Dinov2Model]) -> Iterator[Hub]:
    """A hub that has the small weights of both models, which count as genuine."""
    with serve(Hub()) as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.address)
        template = hub.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr(image_models, "CLIP_CONFIG", TINY_CLIP)
        monkeypatch.setattr(image_models, "DINO_CONFIG", TINY_DINO)
        for name, model in zip(("IMAGE_TEXT", "THINGS"), networks, strict=True):
            known: Weights = getattr(embedding_weights, name)
            data = tiny(model)
            hub.files[f"{name}.safetensors"] = data
            stand_in = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), "file": f"{name}.safetensors"}
            changed = replace(known, repository=hub.repo, revision=COMMIT, **stand_in)
            monkeypatch.setattr(embedding_weights, name, changed)
        yield hub


def picture(size: tuple[int, int] = (300, 200)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 255, (size[1], size[0], 3), np.uint8))


def test_both_come_from_the_hub_and_say_what_the_networks_say(
    here: Hub, tmp_path: Path, networks: tuple[CLIPModel, Dinov2Model]
) -> None:
    home = tmp_path / "home"
    assert image_models.find(home) == (None, None)
    assert not here.requests, "nothing is asked before a yes"
    embedding_weights.fetch(home)
    asked = len(here.requests)
    embedding_weights.fetch(home)
    assert len(here.requests) == asked, "they are fetched once"
    texts, things = image_models.find(home)
    assert texts is not None
    assert things is not None
    clip, dino = networks
    with torch.inference_mode():
        pixels = image_models.square(picture(), 224, image_models._CLIP_COLOURS)
        assert pixels.shape == (1, 3, 224, 224)
        ids = texts._tokenizer("a dog in snow", return_tensors="pt").input_ids
        scores = clip(input_ids=ids, pixel_values=pixels).logits_per_image / clip.logit_scale.exp()
        seen = dino(image_models.square(picture(), 256, image_models._DINO_COLOURS)).last_hidden_state[0, 0]
    own = np.dot(texts.read(picture()), texts.text("a dog in snow"))
    assert own == pytest.approx(float(scores), abs=1e-5)
    assert np.allclose(things.read(picture()), (seen / seen.norm()).numpy(), atol=1e-5)
    assert len(texts.text("snow " * 500)) == 12, "a long text is cut"


@pytest.mark.parametrize("size", [(1, 1), (3, 900), (224, 224), (1000, 60)])
def test_images_of_every_shape_are_read(size: tuple[int, int]) -> None:
    assert image_models.square(picture(size), 224, image_models._CLIP_COLOURS).isfinite().all()


def without_one(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.mark.parametrize("spoil", [without_one, lambda data: b"", lambda data: save({"other": torch.zeros(2)})])
def test_weights_that_are_none_are_an_error_and_not_a_crash(here: Hub, tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(spoil(here.files["THINGS.safetensors"]))
    with pytest.raises(EmbeddingError, match="the model failed"):
        image_models.Things(path).read(picture())


def test_other_weights_under_the_name_are_refused(here: Hub, tmp_path: Path) -> None:
    here.files["THINGS.safetensors"] += b" "
    with pytest.raises(LoratuiError, match="not the weights that loratui knows"):
        embedding_weights.fetch(tmp_path)


def test_a_hub_that_is_away_is_said_with_the_way_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "in_hub_cache", lambda *_: ())

    def away(repository: str, name: str) -> Path:
        raise ConnectionError("no network")

    with pytest.raises(LoratuiError) as caught:
        embedding_weights.fetch(tmp_path, away)
    assert "could not be downloaded: no network" in str(caught.value)
    assert "as dinov2-small.safetensors" in str(caught.value)


def test_the_offer_names_sizes_and_licences() -> None:
    assert "MIT" in embedding_weights.offer()
    assert "Apache-2.0" in embedding_weights.offer()


@pytest.mark.parametrize(
    ("kind", "config", "known"),
    [
        (CLIPModel, CLIPConfig(**image_models.CLIP_CONFIG), embedding_weights.IMAGE_TEXT),
        (Dinov2Model, Dinov2Config(**image_models.DINO_CONFIG), embedding_weights.THINGS),
    ],
)
def test_the_networks_have_the_size_of_the_published_files(kind: type[nn.Module], config: object, known: Weights) -> None:
    with torch.device("meta"):
        bytes = sum(4 * value.numel() for value in kind(config).state_dict().values())
    assert 0 < known.bytes - bytes < 1 << 16, "the rest is the file's header"
