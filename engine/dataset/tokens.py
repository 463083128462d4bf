"""How long captions are for a text encoder: exactly by its tokenizer where that is at hand, else by estimate."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loratui.engine import families
from loratui.engine.dataset.caption_words import is_common
from loratui.engine.limits import MODEL_JSON_BYTES
from loratui.engine.untrusted import read_json
from loratui.presets.schema import Settings

if TYPE_CHECKING:
    from tokenizers import Tokenizer


_STEPS = frozenset(
    {
        *("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Strip", "Replace"),
        *("Split", "ByteLevel", "Metaspace", "WhitespaceSplit", "Whitespace"),
    }
)

_PIECES = re.compile(r"[^\W\d_]+|\d|[^\w\s]|_")


class Estimate:
    """Counts without a tokenizer: a common word is one token, others one for each begun 4 letters; a sign, a digit one.

    CLIP's vocabulary holds most English words; the made-up ones fall into pieces of 2 to 4 letters.
    """

    exact = False
    """Whether the base's own tokenizer counts."""

    def count(self, text: str) -> int:
        """Number of tokens, within about a fifth for English captions."""
        return sum(self._of(piece) for piece in _PIECES.findall(text))

    def lost(self, text: str, window: int) -> str:
        """The end of `text` behind the piece that fills the window."""
        used = 0
        for match in _PIECES.finditer(text):
            used += self._of(match.group())
            if used > window:
                return text[match.start() :]
        return ""

    def knows(self, word: str) -> bool:
        """Whether it is a common English word or first name."""
        return is_common(word)

    def _of(self, piece: str) -> int:
        if len(piece) <= 4 or is_common(piece):
            return 1
        # Longer plain words are mostly whole words of the vocabulary, up to about 9 letters.
        return (
            1 if piece.islower() and len(piece) <= 9 and re.search(r"(ing|ed|er|ly|s|ion|ful)$", piece) else -(-len(piece) // 4)
        )


ESTIMATE = Estimate()


class Exact:
    """Counts with a base's `tokenizer.json`."""

    exact = True

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def count(self, text: str) -> int:
        """Number of tokens."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def lost(self, text: str, window: int) -> str:
        """The end of `text` behind the last token that fits."""
        offsets = self._tokenizer.encode(text, add_special_tokens=False).offsets
        return text[offsets[window][0] :] if len(offsets) > window else ""

    def knows(self, word: str) -> bool:
        """Whether `word` is one token, or a common word of several."""
        return bool(word) and (self.count(word) == 1 or is_common(word))


TokenCounter = Estimate | Exact
"""Counts tokens of captions, without the marks of beginning and end."""


def counter_for(base: Path | None, tokenizer: str = "tokenizer") -> TokenCounter:
    """The counter of a base in a diffusers folder; the estimate where it has no `tokenizer.json` that can be read, or one whose
    rules are those of no family.

    `tokenizer` is the folder of the one that counts (`FamilySpec.caption_tokenizer`).
    """
    if base is None:
        return ESTIMATE
    path = base / tokenizer / "tokenizer.json"
    try:
        modified = path.stat().st_mtime_ns
    except OSError:
        return ESTIMATE
    return _read(path, modified)


def window(settings: Settings) -> int:
    """Tokens of a caption that the base's text encoder reads."""
    return families.family(settings.base.family).caption_tokens or settings.dataset.caption_tokens


@lru_cache(maxsize=4)
def _read(path: Path, modified_ns: int) -> TokenCounter:  # noqa: ARG001 - part of the cache's key
    try:
        from tokenizers import Tokenizer

        table = read_json(path, MODEL_JSON_BYTES)
        table |= {part: _bounded(table.get(part)) for part in ("normalizer", "pre_tokenizer")}
        tokenizer = Tokenizer.from_str(json.dumps(table))
        tokenizer.no_padding()
        tokenizer.no_truncation()
    except Exception:  # the package is not there, or says with a bare Exception that the file is damaged
        return ESTIMATE
    return Exact(tokenizer)


def _patterns() -> frozenset[str]:
    """What the tokenizers of the families cut texts by. Any other may take for ever, or make a letter into gigabytes."""
    return frozenset(pattern for spec in families.FAMILIES for part in spec.parts for pattern in part.patterns)


def _bounded(step: Any) -> Any:
    """A step on a text before it is cut into tokens, so that its time and memory are bounded by the text's. Raises `ValueError` for
    one that the families' tokenizers do not have; what is no step at all raises other errors."""
    if step is None:
        return None
    if step["type"] == "Sequence":
        return {
            **step,
            **{key: [_bounded(one) for one in step[key]] for key in ("normalizers", "pretokenizers") if key in step},
        }
    if step["type"] == "Precompiled":  # T5's: NFKC as a table, which could hold anything, and some spaces
        return {"type": "NFKC"}
    pattern = step.get("pattern")
    if step["type"] not in _STEPS or len(step.get("content", "")) > 1 or (pattern and pattern.get("Regex") not in _patterns()):
        raise ValueError(f"a tokenizer of another kind: {step['type']}")
    return step
