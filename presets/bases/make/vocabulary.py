"""Learns the base's vocabulary: a byte-level BPE as CLIP's, so that a word that it does not know splits into pieces down to bytes."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

SIZE = 2560
"""Entries: 256 bytes, 256 bytes that end a word, what is learnt, and two marks."""

TOKENS = 77
"""Positions of a text, the marks included, as in Stable Diffusion 1.5."""

_START, _END = "<|startoftext|>", "<|endoftext|>"
_RARE = 20
_OF_THE_LAST_CALL = (
    "max_length",
    "pad_to_multiple_of",
    "pad_token_type_id",
    "padding_side",
    "stride",
    "truncation_side",
    "truncation_strategy",
)


def learn_vocabulary(captions: Iterable[str], folder: Path, size: int = SIZE) -> Any:
    """Learn from captions and from `words.txt`, write a `CLIPTokenizer` to `folder` and return it.

    Words that the captions hold fewer than 20 times are left out: those are the made-up names, and they must stay in pieces.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    counts = Counter(word for caption in captions for word in caption.replace(",", " ").split())
    said = [word for word, count in sorted(counts.items()) if count >= _RARE]
    listed = (Path(__file__).parent / "words.txt").read_text(encoding="utf-8").split()

    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.normalizer = normalizers.Lowercase()
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    # The captions' words weigh more, so that each of them is one entry before the list's words fill the rest.
    learner.train_from_iterator(
        [*said * 200, *listed],
        trainers.BpeTrainer(vocab_size=size, end_of_word_suffix="</w>", show_progress=False),
    )
    merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in json.loads(learner.to_str())["model"]["merges"]]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = dict.fromkeys([*letters, *(letter + "</w>" for letter in letters)])
    kept = []
    for merge in merges:
        if len(vocabulary) == size - 2:
            break
        vocabulary["".join(merge)] = None
        kept.append(merge)
    return _write({entry: k for k, entry in enumerate([*vocabulary, _START, _END])}, kept, folder)


def _write(vocabulary: dict[str, int], merges: list[tuple[str, ...]], folder: Path) -> Any:
    from transformers import CLIPTokenizer

    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": TOKENS,
        "bos_token": _START,
        "eos_token": _END,
        "unk_token": _END,
        "pad_token": _END,
    }
    with tempfile.TemporaryDirectory() as temporary:
        old_style = Path(temporary)
        (old_style / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
        lines = ["#version: 0.2", *(" ".join(merge) for merge in merges)]
        (old_style / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (old_style / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
        CLIPTokenizer.from_pretrained(old_style).save_pretrained(folder)
    compact_json(folder / "tokenizer.json")
    return CLIPTokenizer.from_pretrained(folder)


def compact_json(path: Path) -> None:
    """Rewrite a JSON file without spaces: the merges alone would otherwise take a line for each piece."""
    data = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(data, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")


def forget_padding(folder: Path) -> None:
    """Rewrite a saved tokenizer's files without the cutting and padding of its last call, and without spaces."""
    path = folder / "tokenizer_config.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    kept = {key: value for key, value in data.items() if key not in _OF_THE_LAST_CALL}
    path.write_text(json.dumps(kept, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    path = folder / "tokenizer.json"
    data = json.loads(path.read_text(encoding="utf-8")) | {"truncation": None, "padding": None}
    path.write_text(json.dumps(data, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
