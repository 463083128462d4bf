"""Every captioner whole: a tiny model of its class with random weights, through the real job in a process of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from made_captioners import make, make_tagger
from made_images import drawn
from PIL import Image

from loratui.engine.captioning.captioners import CAPTIONERS, ENDPOINT
from loratui.engine.captioning.memory import Numbers, Way
from loratui.engine.captioning.protocol import Answer
from loratui.engine.jobs import Cancelled, JobFailed, Process

LOCAL = [row.id for row in CAPTIONERS.values() if row.id not in (ENDPOINT, "florence-2-large", "qwen3-vl-8b", "wd-eva02")]
"""One captioner of each module."""


@contextmanager
def job(captioner: str, folder: Path, **options: Any) -> Iterator[Process]:
    process = Process("caption", {"captioner": captioner, "folder": str(folder), "options": options})
    process.begin()
    try:
        yield process
    finally:
        process.end()


def asked(process: Process, images: list[Path], instruction: str = "describe the image") -> tuple[list[Any], list[Any]]:
    """The answers, and what was told on the way."""
    told: list[Any] = []
    process.ask({"images": [str(path) for path in images], "instruction": instruction})
    return process.answer(told.append).value, told


def images(folder: Path) -> list[Path]:
    """Three images of three shapes, one of them lying, and a file that is none."""
    paths = [folder / f"{name}.png" for name in ("square", "wide", "broken", "tall")]
    drawn(1, (96, 96)).save(paths[0])
    drawn(2, (160, 64)).save(paths[1])
    paths[2].write_bytes(b"no image")
    turned = Image.Exif()
    turned[0x0112] = 6
    drawn(3, (128, 64)).save(paths[3], exif=turned)
    return paths


def test_a_tagger_answers_through_its_job_and_an_image_that_is_none_costs_no_other(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the extra taggers is not installed")
    with job("wd14", make_tagger(tmp_path / "model")) as process:
        answers, told = asked(process, images(tmp_path))
    assert [list(answer) for answer in answers] == [["answer"], ["answer"], ["failed"], ["answer"]]
    assert answers[2]["failed"]["message"].startswith("broken.png: ")
    assert all(Answer.from_json(answers[at]["answer"]).tags for at in (0, 1, 3))
    assert told == [{"done": 0, "said": "onnxruntime on the CPU, 8 at once", "at_once": 8}]


@pytest.mark.long
@pytest.mark.parametrize("captioner", LOCAL)
def test_each_captioner_answers_in_batches_as_it_does_alone_and_again(tmp_path: Path, captioner: str) -> None:
    row, paths = CAPTIONERS[captioner], images(tmp_path)
    folder = make(row.module, tmp_path / "model")
    good = [paths[at] for at in (0, 1, 3)]
    with job(captioner, folder, tokens=24) as process:
        together, told = asked(process, paths)
        alone = [asked(process, [path])[0][0] for path in good]
    assert [list(answer) for answer in together] == [["answer"], ["answer"], ["failed"], ["answer"]]
    assert [together[at] for at in (0, 1, 3)] == alone
    texts = [Answer.from_json(answer["answer"]).text for answer in alone]
    assert all(texts)
    assert not any(mark in text for text in texts for mark in ("<", "[", "|")), texts
    assert [far["done"] for far in told] == list(range(0, len(paths), told[0]["at_once"]))
    assert "CPU" in told[-1]["said"]


@pytest.mark.long
@pytest.mark.parametrize("captioner", ["qwen3-vl-4b", "joycaption", "florence-2-base"])
def test_images_of_several_shapes_in_one_batch_are_each_as_alone(tmp_path: Path, captioner: str) -> None:
    import importlib

    row = CAPTIONERS[captioner]
    model = importlib.import_module(f"loratui.engine.captioning.{row.module}").load(
        row, make(row.module, tmp_path), {"tokens": 24}
    )
    shown = [drawn(at, size) for at, size in enumerate(((320, 320), (96, 400), (512, 256)))]
    model.most_at_once = 3
    assert model.captions(shown, "describe the image") == [model.captions([one], "describe the image")[0] for one in shown]


@pytest.mark.long
def test_prompts_are_those_of_the_models_own_processors(tmp_path: Path) -> None:
    from transformers import AutoTokenizer, CLIPImageProcessorPil, Florence2Processor, LlavaProcessor, SiglipImageProcessorPil

    from loratui.engine.captioning import florence, joycaption

    given: list[dict[str, Any]] = []
    shown = drawn(1, (100, 60))
    for module, row in ((florence, CAPTIONERS["florence-2-base"]), (joycaption, CAPTIONERS["joycaption"])):
        folder = make(row.module, tmp_path / row.module)
        model = module.load(row, folder, {"tokens": 4})
        generate = model._model.generate
        model._model.generate = lambda _said=generate, **inputs: given.append(inputs) or _said(**inputs)
        model.captions([shown], "long" if row.module == "florence" else "describe the fox")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "florence")
    tokenizer.image_token, tokenizer.image_token_id = "<image>", tokenizer.convert_tokens_to_ids("<image>")
    processor = CLIPImageProcessorPil.from_pretrained(tmp_path / "florence")
    processor.image_seq_length = (64 // 32) ** 2 + 1
    theirs = Florence2Processor(processor, tokenizer)(images=shown, text="<MORE_DETAILED_CAPTION>", return_tensors="pt")
    assert given[0]["input_ids"].equal(theirs["input_ids"])
    assert given[0]["pixel_values"].equal(theirs["pixel_values"])
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "joycaption")
    processor = SiglipImageProcessorPil.from_pretrained(tmp_path / "joycaption")
    llava = LlavaProcessor(processor, tokenizer, patch_size=14, vision_feature_select_strategy="full")
    turns = [{"role": "system", "content": joycaption.SYSTEM}, {"role": "user", "content": "describe the fox"}]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    theirs = llava(images=shown, text=text, return_tensors="pt", add_special_tokens=False)
    assert given[1]["input_ids"].equal(theirs["input_ids"])
    assert given[1]["pixel_values"].equal(theirs["pixel_values"].to(given[1]["pixel_values"].dtype))


@pytest.mark.long
def test_files_of_another_model_and_cut_weights_are_refused_in_words(tmp_path: Path) -> None:
    folder = make("blip", tmp_path)
    with pytest.raises(JobFailed, match="this is not Florence-2 base, but blip"), job("florence-2-base", folder):
        pass
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(JobFailed, match="cannot be loaded"), job("blip", folder):
        pass
    weights.rename(folder / "pytorch_model.bin")
    with pytest.raises(JobFailed, match="cannot be loaded"), job("blip", folder):
        pass


def _joycaption(tensors: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """SigLIP in a part of its own, without its head."""
    config["vision_config"]["vision_use_head"] = False
    left = {name: tensor for name, tensor in tensors.items() if not name.startswith("vision_tower.head")}
    return {name.replace("vision_tower.", "vision_tower.vision_model."): tensor for name, tensor in left.items()}


def _blip(tensors: dict[str, Any], _: dict[str, Any]) -> dict[str, Any]:
    """A table that the model makes itself, and the words a second time."""
    words = tensors["text_decoder.bert.embeddings.word_embeddings.weight"]
    parts = {"bert.embeddings.position_ids": words[0][None].long(), "cls.predictions.decoder.weight": words}
    return {**tensors, **{f"text_decoder.{name}": tensor.clone() for name, tensor in parts.items()}}


def _florence(tensors: dict[str, Any], _: dict[str, Any]) -> dict[str, Any]:
    """The words by another name, and without a table that the model makes itself."""
    words = tensors.pop("model.language_model.shared.weight")
    return {**{name: tensor for name, tensor in tensors.items() if "pos_idx" not in name}, "lm_head.weight": words}


def _qwen3_vl(tensors: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """The 4B's head has the weights of its words."""
    config["tie_word_embeddings"] = True
    return {name: tensor for name, tensor in tensors.items() if name != "lm_head.weight"}


@pytest.mark.long
@pytest.mark.parametrize("as_published", [_joycaption, _blip, _florence, _qwen3_vl])
def test_weights_under_the_names_of_earlier_releases_are_all_found(
    tmp_path: Path, as_published: Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]
) -> None:
    import importlib

    from safetensors.torch import load_file, save_file

    row = next(row for row in CAPTIONERS.values() if row.module == as_published.__name__[1:])
    folder = make(row.module, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    tensors = as_published(load_file(folder / "model.safetensors"), config)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    model = importlib.import_module(f"loratui.engine.captioning.{row.module}").load(row, folder, {"tokens": 20})
    assert len(model.captions([drawn(1)], "describe the image")) == 1


@pytest.mark.long
def test_weights_that_lack_a_tensor_are_not_filled_with_noise(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = make("qwen3_vl", tmp_path)
    tensors = load_file(folder / "model.safetensors")
    lost = next(name for name in tensors if "mlp" in name)
    del tensors[lost]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(JobFailed, match="the weights do not fit at"), job("qwen3-vl-4b", folder):
        pass


@pytest.mark.long
def test_code_that_lies_beside_the_weights_is_not_run(tmp_path: Path) -> None:
    folder = make("qwen3_vl", tmp_path / "model")
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    for name, keys in (
        ("config.json", ("AutoConfig", "AutoModel", "Qwen3VLForConditionalGeneration")),
        ("tokenizer_config.json", ("AutoTokenizer",)),
        ("preprocessor_config.json", ("AutoImageProcessor", "AutoProcessor")),
    ):
        told = json.loads((folder / name).read_text())
        told["auto_map"] = {key: ["evil.Evil", None] if key == "AutoTokenizer" else "evil.Evil" for key in keys}
        (folder / name).write_text(json.dumps(told))
    with job("qwen3-vl-4b", folder, tokens=2) as process:
        assert asked(process, images(tmp_path)[:1])[0][0]["answer"]
    assert not (tmp_path / "ran").exists()


@pytest.mark.long
@pytest.mark.parametrize("numbers", ["int8", "nf4"])
@pytest.mark.parametrize("captioner", ["qwen3-vl-4b", "joycaption"])
def test_quantised_weights_are_those_of_the_language_model_alone(tmp_path: Path, captioner: str, numbers: Numbers) -> None:
    import torch
    import transformers

    from loratui.engine.captioning import joycaption, qwen3_vl
    from loratui.engine.captioning.loading import quantised

    row = CAPTIONERS[captioner]
    kind = {"qwen3_vl": qwen3_vl.Qwen3VL, "joycaption": joycaption.JoyCaption}[row.module].kind
    model = getattr(transformers, kind).from_pretrained(
        make(row.module, tmp_path),
        quantization_config=quantised(Way(numbers, 1, 0.0, 8.0), torch.bfloat16),
        dtype=torch.bfloat16,
        device_map={"": "cpu"},
    )
    small = {name for name, module in model.named_modules() if type(module).__name__ in ("Linear4bit", "Linear8bitLt")}
    assert small
    assert small == {
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and name.startswith("model.language_model.")
    }


@pytest.mark.long
def test_a_captioner_that_is_cancelled_while_it_writes_ends_at_once(tmp_path: Path) -> None:
    folder, written = make("joycaption", tmp_path / "model"), list[Any]()
    begun = {"captioner": "joycaption", "folder": str(folder), "options": {"tokens": 100_000}}
    process = Process("caption", begun, cancelled=lambda: bool(written))
    process.begin()
    process.ask({"images": [str(images(tmp_path)[0])], "instruction": "describe the image"})
    with pytest.raises(Cancelled):
        process.answer(written.append)
    process.cancel()
    running = process._process
    assert running is not None
    assert running.wait(5) is not None
    process.end()
