"""Captioners of every kind with random weights, saved as the hub has them: tiny ones for tests, and those of true size for benchmarks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

WORDS = [
    "a",
    "picture",
    "of",
    "fox",
    "in",
    "snow",
    "red",
    "hat",
    "woman",
    "beach",
    "smiling",
    "what",
    "does",
    "the",
    "image",
    "describe",
    "in",
    "detail",
    "is",
    "shown",
    "with",
    "paragraph",
    ".",
    "?",
]
SPECIAL = (
    *("[PAD]", "[UNK]", "[BOS]", "[SEP]", "[CLS]", "<s>", "</s>", "<image>", "<|im_start|>", "<|im_end|>"),
    *("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|begin_of_text|>", "<|eot_id|>"),
)
IDS = {word: number for number, word in enumerate((*SPECIAL, *dict.fromkeys(WORDS)))}
SEE = "{% for m in messages %}{{ m.role }} {{ '<image>' if m.role == 'user' else '' }}{{ m.content }} <|eot_id|>{% endfor %}"

_QWEN_ROPE = {"rope_type": "default", "rope_theta": 5_000_000, "mrope_interleaved": True}
TINY: dict[str, dict[str, Any]] = {
    "florence": {
        "vision_config": {
            "embed_dim": [16, 16, 32, 32],
            "num_heads": [2, 2, 2, 2],
            "num_groups": [2, 2, 2, 2],
            "depths": [1, 1, 1, 1],
            "projection_dim": 32,
            "window_size": 4,
        },
        "text_config": {
            "model_type": "bart",
            "d_model": 32,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_ffn_dim": 32,
            "decoder_ffn_dim": 32,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "vocab_size": len(IDS),
        },
    },
    "blip": {
        "vision_config": {
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "image_size": 32,
            "patch_size": 16,
            "initializer_range": 0.02,
        },
        "text_config": {
            "hidden_size": 32,
            "encoder_hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "vocab_size": len(IDS),
        },
    },
    "qwen3_vl": {
        "vision_config": {
            "depth": 2,
            "hidden_size": 32,
            "num_heads": 2,
            "intermediate_size": 32,
            "out_hidden_size": 32,
            "deepstack_visual_indexes": [0],
            "num_position_embeddings": 16,
        },
        "text_config": {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 16,
            "intermediate_size": 32,
            "vocab_size": len(IDS),
            "rope_parameters": {**_QWEN_ROPE, "mrope_section": [4, 2, 2]},
        },
    },
    "joycaption": {
        "vision_config": {
            "model_type": "siglip_vision_model",
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "image_size": 28,
            "patch_size": 14,
        },
        "text_config": {
            "model_type": "llama",
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "intermediate_size": 32,
            "vocab_size": len(IDS),
        },
    },
}
_KINDS = {
    "florence": ("Florence2Config", "Florence2ForConditionalGeneration"),
    "blip": ("BlipConfig", "BlipForConditionalGeneration"),
    "qwen3_vl": ("Qwen3VLConfig", "Qwen3VLForConditionalGeneration"),
    "joycaption": ("LlavaConfig", "LlavaForConditionalGeneration"),
}
_TAGS = (
    ("999999", "general", "9"),
    ("999998", "explicit", "9"),
    ("1", "1girl", "0"),
    ("2", "long_hair", "0"),
    ("3", "o_o", "0"),
    ("4", "fox_(animal)", "0"),
    ("5", "someone_(series)", "4"),
)


def make(module: str, folder: Path, config: Mapping[str, Any] | None = None, *, half_on: str = "") -> Path:
    """The files of a captioner of a module of `engine/captioning`, tiny unless another configuration is given; in bf16 if a device is
    named on which its weights are drawn."""
    folder.mkdir(parents=True, exist_ok=True)
    if module == "taggers":
        return make_tagger(folder)
    import torch
    import transformers

    torch.manual_seed(0)
    parts = dict(config or TINY[module])
    _tokenizer(module, folder, image_side(module, parts))
    tokens = {"bos_token_id": IDS["<s>"], "eos_token_id": IDS["</s>"], "pad_token_id": IDS["[PAD]"]}
    text = {**parts.pop("text_config"), **tokens}
    if module == "blip":
        text |= {"bos_token_id": IDS["[BOS]"], "eos_token_id": IDS["[UNK]"], "sep_token_id": IDS["[SEP]"]}
    if module == "florence":
        text |= {"decoder_start_token_id": IDS["</s>"], "forced_eos_token_id": None, "max_position_embeddings": 1024}
        parts |= {"image_token_id": IDS["<image>"]}
    if module == "qwen3_vl":
        parts |= {"image_token_id": IDS["<|image_pad|>"], "vision_start_token_id": IDS["<|vision_start|>"]}
        parts |= {"vision_end_token_id": IDS["<|vision_end|>"], "video_token_id": 0}
    if module == "joycaption":
        parts |= {"image_token_index": IDS["<image>"], "vision_feature_select_strategy": "full"}
    settings, kind = (getattr(transformers, name) for name in _KINDS[module])
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16 if half_on else torch.float32)
    try:
        with torch.device(half_on or "cpu"):
            model = kind(settings(text_config=text, **parts))
    finally:
        torch.set_default_dtype(before)
    model.generation_config.update(**({} if module == "blip" else tokens))
    if module == "florence":
        silent = [IDS[name] for name in SPECIAL]  # else it says nothing but these
        model.generation_config.update(decoder_start_token_id=IDS["</s>"], no_repeat_ngram_size=3, suppress_tokens=silent)
    model.save_pretrained(folder)
    return folder


def image_side(module: str, config: Mapping[str, Any]) -> int:
    """Of a square that the model sees, px."""
    if module == "florence":
        return 768 if config["text_config"]["d_model"] > 32 else 64
    return int(config["vision_config"].get("image_size", 384))


def _tokenizer(module: str, folder: Path, side: int) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel(IDS, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]", "bos_token": "<s>", "eos_token": "</s>"}
    fast = PreTrainedTokenizerFast(tokenizer_object=words, extra_special_tokens=list(SPECIAL), **names)
    if module == "joycaption":
        fast.chat_template = SEE
    if module == "blip":  # as BERT's, which begins and ends each text
        from tokenizers import processors

        ends = [(name, IDS[name]) for name in ("[CLS]", "[SEP]")]
        fast.backend_tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    fast.save_pretrained(folder)
    square = {"height": side, "width": side}
    settings: dict[str, Any] = {"size": square}
    if module == "florence":
        settings |= {"crop_size": square, "do_center_crop": False}
    if module == "qwen3_vl":
        settings = {
            "patch_size": 16,
            "merge_size": 2,
            "temporal_patch_size": 2,
            "size": {"shortest_edge": 65536, "longest_edge": 16777216},
        }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))


def make_tagger(folder: Path, side: int = 8, tags: tuple[tuple[str, str, str], ...] = _TAGS) -> Path:
    """A tagger that is as sure of the tag number n as the image's mean is near to n (of so many tags): white is the last of them."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "selected_tags.csv").write_text(
        "tag_id,name,category,count\n" + "".join(f"{number},{name},{category},1\n" for number, name, category in tags)
    )
    places = np.linspace(0, 255, len(tags), dtype=np.float32)[None]
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "one"], ["column"]),
        helper.make_node("Sub", ["column", "places"], ["off"]),
        helper.make_node("Abs", ["off"], ["far"]),
        helper.make_node("Mul", ["far", "minus"], ["logit"]),
        helper.make_node("Exp", ["logit"], ["tags"]),
    ]
    constants = {"places": places, "minus": np.array(-0.02, np.float32), "one": np.array([1], np.int64)}
    graph = helper.make_graph(
        nodes,
        "tagger",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", side, side, 3])],
        [helper.make_tensor_value_info("tags", TensorProto.FLOAT, ["N", len(tags)])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9)
    onnx.save(model, folder / "model.onnx")
    return folder


def make_vision_tagger(folder: Path, *, width: int, layers: int, heads: int, patch: int, side: int, tags: int) -> Path:
    """A tagger whose network is a vision transformer of such a size with random weights, for its speed."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    folder.mkdir(parents=True, exist_ok=True)
    rows = "".join(f"{number},tag_{number},{0 if number else 9},1\n" for number in range(tags))
    (folder / "selected_tags.csv").write_text(f"tag_id,name,category,count\n{rows}")
    random, nodes, held = np.random.default_rng(0), [], {}

    def node(kind: str, *inputs: str, **settings: Any) -> str:
        nodes.append(helper.make_node(kind, list(inputs), [f"n{len(nodes)}"], **settings))
        return str(nodes[-1].output[0])

    def constant(value: Any) -> str:
        held[f"c{len(held)}"] = np.asarray(value)
        return f"c{len(held) - 1}"

    def weights(*shape: int) -> str:
        return constant(random.standard_normal(shape, dtype=np.float32) * 0.02)

    def norm(of: str) -> str:
        return node(
            "LayerNormalization", of, constant(np.ones(width, np.float32)), constant(np.zeros(width, np.float32)), axis=-1
        )

    def by_head(of: str, order: list[int]) -> str:
        split = node("Reshape", of, constant(np.array([0, 0, heads, width // heads], np.int64)))
        return node("Transpose", split, perm=order)

    scaled = node("Mul", "image", constant(np.float32(1 / 255)))
    small = node("Transpose", scaled, perm=[0, 3, 1, 2])
    seen = node("Conv", small, weights(width, 3, patch, patch), strides=[patch, patch])
    at = node("Transpose", node("Reshape", seen, constant(np.array([0, width, -1], np.int64))), perm=[0, 2, 1])
    for _ in range(layers):
        read = norm(at)
        query, key, value = (
            by_head(node("MatMul", read, weights(width, width)), order) for order in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])
        )
        looked = node(
            "Softmax", node("Mul", node("MatMul", query, key), constant(np.float32((width // heads) ** -0.5))), axis=-1
        )
        joined = node("Transpose", node("MatMul", looked, value), perm=[0, 2, 1, 3])
        flat = node("Reshape", joined, constant(np.array([0, 0, width], np.int64)))
        at = node("Add", at, node("MatMul", flat, weights(width, width)))
        inner = node("Relu", node("MatMul", norm(at), weights(width, 4 * width)))
        at = node("Add", at, node("MatMul", inner, weights(4 * width, width)))
    mean = node("ReduceMean", at, axes=[1], keepdims=0)
    nodes.append(helper.make_node("Sigmoid", [node("MatMul", mean, weights(width, tags))], ["tags"]))
    graph = helper.make_graph(
        nodes,
        "tagger",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", side, side, 3])],
        [helper.make_tensor_value_info("tags", TensorProto.FLOAT, ["N", tags])],
        [numpy_helper.from_array(value, name) for name, value in held.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "model.onnx")
    return folder
