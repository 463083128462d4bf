"""How a captioner is held in the memory that is free, and what a batch does when it runs out all the same."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from PIL import Image

from loratui.engine.captioning.captioners import CAPTIONERS
from loratui.engine.captioning.loading import Batches
from loratui.engine.captioning.memory import SPARE_GIB, decide, gib, needs
from loratui.engine.captioning.protocol import Answer
from loratui.engine.errors import OutOfMemoryError, UsageError


@pytest.mark.parametrize(
    ("captioner", "free_gib", "numbers"),
    [
        ("qwen3-vl-4b", 23.5, "bf16"),
        ("qwen3-vl-4b", 7.4, "int8"),
        ("qwen3-vl-4b", 5.0, "nf4"),
        ("qwen3-vl-8b", 23.5, "bf16"),
        ("qwen3-vl-8b", 11.4, "int8"),
        ("qwen3-vl-8b", 7.9, "nf4"),
        ("joycaption", 7.4, "nf4"),
        ("florence-2-large", 5.6, "bf16"),
        ("blip", 3.6, "bf16"),
    ],
)
def test_cards_take_the_most_exact_weights_that_fit(captioner: str, free_gib: float, numbers: str) -> None:
    row = CAPTIONERS[captioner]
    way = decide(row, free_gib)
    assert way.numbers == numbers
    assert 1 <= way.at_once <= row.at_once
    assert way.gib + SPARE_GIB + way.at_once * row.image_gib <= free_gib


def test_more_memory_takes_more_images_at_once_up_to_the_captioners_own_number() -> None:
    row = CAPTIONERS["florence-2-large"]
    assert [decide(row, free).at_once for free in (2.5, 4.0, 80.0)] == [1, 4, row.at_once]
    assert decide(CAPTIONERS["blip"], 80.0).at_once == 4, "as the guide says"


def test_without_a_gpu_the_cpu_writes_in_fp32_where_that_fits_else_in_bf16() -> None:
    row = CAPTIONERS["qwen3-vl-4b"]
    assert decide(row, None, 64.0).gib == 2 * row.gib
    assert decide(row, None, 12.0).gib == row.gib
    assert decide(row, 80.0, 64.0, "cpu").numbers == "cpu"
    with pytest.raises(OutOfMemoryError, match=r"Qwen3-VL 4B needs 8\.8 GiB of main memory, and 6\.0 GiB are free"):
        decide(row, None, 6.0)


def test_what_does_not_fit_is_refused_with_the_figures() -> None:
    with pytest.raises(OutOfMemoryError, match=r"needs 7\.9 GiB of GPU memory in bf16, 8 bit or 4 bit, and 5\.6 GiB are free"):
        decide(CAPTIONERS["qwen3-vl-8b"], 5.6, 8.0)
    with pytest.raises(OutOfMemoryError, match="in bf16, and"):
        decide(CAPTIONERS["qwen3-vl-8b"], 10.0, choice="bf16")
    with pytest.raises(UsageError, match="needs a GPU"):
        decide(CAPTIONERS["blip"], None, choice="bf16")
    with pytest.raises(UsageError, match="Choose one of: auto, bf16, int8, nf4, cpu"):
        decide(CAPTIONERS["blip"], 8.0, choice="fp4")


def test_a_way_that_failed_is_followed_by_the_next_and_the_cpu_is_the_last() -> None:
    row, failed, ways = CAPTIONERS["joycaption"], list[str](), list[str]()
    while "cpu" not in ways:
        ways.append(decide(row, 40.0, 64.0, failed=failed).numbers)
        failed.append(ways[-1])
    assert ways == ["bf16", "int8", "nf4", "cpu"]
    assert decide(CAPTIONERS["florence-2-base"], 0.4, 16.0).numbers == "cpu", "a card that trains meanwhile"


def test_quantised_weights_keep_what_is_not_quantised() -> None:
    row = CAPTIONERS["joycaption"]
    assert row.gib - row.linear_gib < gib(row, "nf4") < gib(row, "int8") < gib(row, "bf16") == row.gib


def test_how_it_runs_fits_beside_a_count_of_images() -> None:
    assert decide(CAPTIONERS["qwen3-vl-8b"], 11.4).said == "8 bit on the GPU, 1 at once, weights 10.0 of 11.4 GiB"
    assert decide(CAPTIONERS["blip"], None).said == "on the CPU, slowly, 1 at once, weights 1.7 GiB"


def test_a_person_reads_what_each_way_needs_before_choosing() -> None:
    assert needs(CAPTIONERS["qwen3-vl-4b"]) == "GPU memory: 9.3 GiB, 6.0 in 8 bit, 4.3 in 4 bit or the CPU"
    assert needs(CAPTIONERS["blip"]) == "GPU memory: 1.6 GiB or the CPU"


class _Full(Batches):
    """A captioner that fits so many images."""

    def __init__(self, fits: int, error: str = "CUDA out of memory. Tried to allocate 2 GiB") -> None:
        super().__init__(CAPTIONERS["blip"], 8, "")
        self.fits, self.error, self.tried = fits, error, list[int]()

    def answers(self, images: Sequence[Image.Image], instruction: str) -> list[Answer]:
        self.tried.append(len(images))
        if len(images) > self.fits:
            raise RuntimeError(self.error)
        return [Answer(f"{image.width} {instruction}") for image in images]


def test_a_batch_that_does_not_fit_is_halved_and_stays_so() -> None:
    model = _Full(fits=2)
    images = [Image.new("RGB", (at, 1)) for at in range(1, 10)]
    assert [one.text for one in model.captions(images, "x")] == [f"{at} x" for at in range(1, 10)]
    assert model.tried == [8, 4, 2, 2, 2, 2, 1]
    assert model.most_at_once == 2


def test_one_image_that_does_not_fit_ends_it_and_other_errors_are_not_taken_for_memory() -> None:
    with pytest.raises(OutOfMemoryError, match="BLIP ran out of memory at a single image"):
        _Full(fits=0).captions([Image.new("RGB", (1, 1))], "")
    with pytest.raises(RuntimeError, match="shapes"):
        _Full(fits=0, error="shapes do not fit").captions([Image.new("RGB", (1, 1))], "")
