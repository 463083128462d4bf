"""What the captioners of transformers share: files that are safe to load, weights as the memory plan has them, batches that shrink.

Classes are transformers' own, by name, so code that a folder brings is never run.
"""

from __future__ import annotations

import gc
import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loratui.engine.captioning.captioners import Captioner
from loratui.engine.captioning.memory import Way, decide, fp32_fits
from loratui.engine.captioning.protocol import Answer
from loratui.engine.errors import LoratuiError, OutOfMemoryError
from loratui.engine.limits import MODEL_JSON_BYTES
from loratui.engine.machine import hardware
from loratui.engine.machine.gpu_faults import is_out_of_memory
from loratui.engine.untrusted import Unreadable, open_regular, read_json
from loratui.engine.words import GIB

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

_JSON_BYTES = 2 * MODEL_JSON_BYTES
"""Llama's tokenizer has 17 MB."""
_FULL = "Close what holds memory, choose a smaller captioner, or one that runs on the CPU."


class Batches(ABC):
    """A captioner that takes several images at once, and fewer when memory runs out."""

    def __init__(self, captioner: Captioner, at_once: int, said: str) -> None:
        self.captioner, self.most_at_once, self.said = captioner, at_once, said

    def captions(self, images: Sequence[Image], instruction: str) -> list[Answer]:
        """One answer for each image. Raises `OutOfMemoryError` where even one image at once does not fit."""
        answers: list[Answer] = []
        while len(answers) < len(images):
            part = images[len(answers) : len(answers) + self.most_at_once]
            try:
                answers += self.answers(part, instruction)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                if len(part) == 1:
                    raise OutOfMemoryError(f"{self.captioner.title} ran out of memory at a single image.", _FULL) from error
                self.most_at_once = len(part) // 2
            else:
                continue
            let_go()  # not within the handler, whose error holds what did not fit
        return answers

    @abstractmethod
    def answers(self, images: Sequence[Image], instruction: str) -> list[Answer]:
        """The same for a batch that is tried whole."""


def let_go() -> None:
    """Gives back the GPU memory of what is out of use."""
    gc.collect()
    if (torch := sys.modules.get("torch")) and torch.cuda.is_available():
        torch.cuda.empty_cache()


class Written(Batches):
    """A model of transformers that writes text."""

    kind: str
    """Its class in transformers."""
    model_type: str
    """What its configuration must say."""
    images: str
    """The class that prepares its images: one of those that need no torchvision."""
    tokens: int
    """The most that it writes, unless the option `tokens` says otherwise."""

    def __init__(self, captioner: Captioner, folder: Path | None, options: Mapping[str, Any]) -> None:
        assert folder is not None, captioner.id
        checked(captioner, folder, self.model_type)
        import torch
        import transformers

        transformers.utils.logging.disable_progress_bar()
        self._most_tokens = int(options.get("tokens", self.tokens))
        choice, failed = str(options.get("memory", "auto")), list[str]()
        while True:
            host_gib = hardware.ram().free_gib or math.inf
            way = decide(captioner, _free_gib(), host_gib, choice, failed)
            on_card = way.numbers != "cpu"
            self._device = torch.device("cuda:0" if on_card else "cpu")
            small = torch.bfloat16 if not on_card or torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
            self._dtype = small if on_card or not fp32_fits(captioner, host_gib) else torch.float32
            try:
                self._images = getattr(transformers, self.images).from_pretrained(folder, local_files_only=True)
                self._tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
                self._model = self._filled(getattr(transformers, self.kind), folder, way)
                break
            except Exception as error:
                if not (is_out_of_memory(error) and on_card and choice == "auto"):
                    raise _unloadable(captioner, folder, error) from error
                failed.append(way.numbers)
            let_go()
        super().__init__(captioner, way.at_once, way.said)

    def _filled(self, kind: Any, folder: Path, way: Way) -> Any:
        """The model with every one of its weights from the files."""
        model, told = kind.from_pretrained(
            folder,
            dtype=self._dtype,
            device_map={"": self._device},
            quantization_config=quantised(way, self._dtype),
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
        learnt = {name for name, _ in model.named_parameters()}  # tables that are computed may be missing
        if wrong := sorted({*(learnt & set(told["missing_keys"])), *map(str, told["mismatched_keys"])}):
            raise ValueError(f"the weights do not fit at {wrong[0]}")
        return model.eval()

    def _pixels(self, images: Sequence[Image]) -> Tensor:
        """As `images` prepares them, all of one size."""
        pixels: Tensor = self._images(images=list(images), return_tensors="pt")["pixel_values"]
        return pixels.to(self._device, self._dtype)

    def _said(self, inputs: Mapping[str, Any], skip: int = 0, **settings: Any) -> list[Answer]:
        """What the model writes after its inputs, without its first `skip` tokens: the likeliest words, the same each time."""
        import torch

        with torch.inference_mode():
            ids = self._model.generate(**inputs, do_sample=False, **settings)
        texts = self._tokenizer.batch_decode(ids[:, skip:], skip_special_tokens=True)
        return [Answer(text.strip()) for text in texts]


def checked(captioner: Captioner, folder: Path, model_type: str) -> None:
    """Raises `LoratuiError` unless the folder holds such a model, with JSON of bounded size and weights that can run no code."""
    try:
        config = read_json(folder / "config.json", MODEL_JSON_BYTES)
        for path in folder.glob("*.json"):
            with open_regular(path) as file:
                if file.seek(0, 2) > _JSON_BYTES:
                    raise LoratuiError(
                        f"{path}: larger than any file of {captioner.title}.", f"Get it again from {captioner.repo}."
                    )
    except Unreadable as error:
        raise LoratuiError(f"{error}.", f"Get it again from {captioner.repo}.") from error
    found = config.get("model_type") if isinstance(config, dict) else None
    if found != model_type:
        raise LoratuiError(f"{folder}: this is not {captioner.title}, but {found or 'no model'}.", f"Get {captioner.repo}.")


def _unloadable(captioner: Captioner, folder: Path, error: Exception) -> LoratuiError:
    """What a library raised while it loaded, in words."""
    if isinstance(error, LoratuiError):
        return error
    if is_out_of_memory(error):
        return OutOfMemoryError(f"There is too little memory to load {captioner.title}.", _FULL)
    reason = (str(error).splitlines() or [type(error).__name__])[0][:300]
    return LoratuiError(f"{captioner.title} in {folder} cannot be loaded: {reason}.", f"Get it again from {captioner.repo}.")


def _free_gib() -> float | None:
    import torch

    return torch.cuda.mem_get_info()[0] / GIB if torch.cuda.is_available() else None


def quantised(way: Way, dtype: Any) -> Any:
    """The configuration of bitsandbytes, or None. Images are seen by layers as they are: these are small, and details are lost first there."""
    if way.numbers not in ("int8", "nf4"):
        return None
    from transformers import BitsAndBytesConfig

    kept = [
        "lm_head",
        "model.visual",
        "model.vision_tower",
        "model.multi_modal_projector",
    ]  # whole names, from the model's root
    if way.numbers == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=kept)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=kept,
    )


class Chat(Written):
    """A language model that sees: the image's tokens stand within the instruction."""

    def answers(self, images: Sequence[Image], instruction: str) -> list[Answer]:
        """One answer for each image, all asked alike."""
        import torch

        seen = self._seen(images)
        prompt = self._prompt(instruction)
        image_token = int(self._model.config.image_token_id)
        at = prompt.index(image_token)
        rows = [[*prompt[:at], *[image_token] * length, *prompt[at + 1 :]] for length in seen.pop("lengths")]
        longest = max(map(len, rows))
        end = self._tokenizer.pad_token_id if self._tokenizer.pad_token_id is not None else self._tokenizer.eos_token_id
        ids = torch.tensor([[end] * (longest - len(row)) + row for row in rows], device=self._device)
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=self._device)
        inputs = {"input_ids": ids, "attention_mask": mask, **seen, **self._more(ids == image_token)}
        return self._said(inputs, skip=longest, max_new_tokens=self._most_tokens, pad_token_id=end)

    @abstractmethod
    def _prompt(self, instruction: str) -> list[int]:
        """The ids of the whole prompt, in which the image is one token."""

    @abstractmethod
    def _seen(self, images: Sequence[Image]) -> dict[str, Any]:
        """The images as the model takes them, and in `lengths` how many tokens each of them is."""

    def _more(self, of_image: Tensor) -> dict[str, Any]:
        """What else the model must be given; `of_image` marks the tokens of the images."""
        del of_image
        return {}
