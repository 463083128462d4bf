"""Writes the vocabulary of the FLUX base's T5 encoder: whole words, and the characters that every other word splits into."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from loratui.presets.bases.make.vocabulary import compact_json

SIZE = 1600
"""Entries, T5's three marks included."""

TOKENS = 64
"""Positions of a text, the end mark included: 512 in FLUX, most of them padding that a CPU would work through for nothing."""

_RARE = 20
_WORD, _CHARACTER = -8.0, -12.0
"""Logarithms of likelihood: one word always beats the characters that make it, and a longer word a shorter one."""


def learn_t5_vocabulary(captions: Iterable[str], folder: Path) -> Any:
    """Take words from captions and from `words.txt`, write a `T5Tokenizer` (pad 0, end 1, unknown 2) to `folder`, return it.

    Words that the captions hold fewer than 20 times are left out: those are the made-up names, and they must stay in pieces.
    """
    from transformers import T5Tokenizer

    counts = Counter(word for caption in captions for word in caption.replace(",", " ").split())
    said = [word for word, count in sorted(counts.items()) if count >= _RARE]
    listed = (Path(__file__).parent / "words.txt").read_text(encoding="utf-8").split()
    characters = ["▁", *string.ascii_letters, *string.digits, *string.punctuation]
    words = dict.fromkeys(f"▁{word}" for word in [*said, *listed])
    marks = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    vocabulary = [*marks, *((c, _CHARACTER) for c in characters), *((w, _WORD) for w in words)][:SIZE]
    tokenizer = T5Tokenizer(vocab=vocabulary, extra_ids=0, model_max_length=TOKENS)
    tokenizer.save_pretrained(folder)
    compact_json(folder / "tokenizer.json")
    return T5Tokenizer.from_pretrained(folder, local_files_only=True)
