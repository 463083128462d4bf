"""LoRA files: written in the names that other programs read, checked, and read back, whoever made them."""

from __future__ import annotations

from loratui.engine.training.lora_file.init_from import Started, init_from, read_lora_file
from loratui.engine.training.lora_file.layouts import DTYPES, file_tensors
from loratui.engine.training.lora_file.read import FoundLora, read_lora
from loratui.engine.training.lora_file.write import Written, write_lora_file

__all__ = [
    "DTYPES",
    "FoundLora",
    "Started",
    "Written",
    "file_tensors",
    "init_from",
    "read_lora",
    "read_lora_file",
    "write_lora_file",
]
