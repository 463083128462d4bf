"""Prints what reading and measuring datasets costs: `python benchmarks/dataset.py [IMAGES]` (10 000 without a number)."""

from __future__ import annotations

import os
import resource
import struct
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from PIL import Image, ImageDraw

from loratui.engine.dataset import similar
from loratui.engine.dataset.checks import run_checks
from loratui.engine.dataset.checks.case import Case
from loratui.engine.dataset.decoding import ImageError, load_rgb, read_header
from loratui.engine.dataset.deep import measure_all, usable_cores
from loratui.engine.dataset.scan import DatasetScan, scan
from loratui.presets import load_preset, schema

Result = TypeVar("Result")


def timed(what: str, goal: str, work: Callable[[], Result]) -> Result:
    """Runs `work` and prints how long it took, and the processor time of this process and of the workers that ended."""
    began, used = time.perf_counter(), _processor_s()
    result = work()
    seconds, processor = time.perf_counter() - began, _processor_s() - used
    print(f"{what:<52}{seconds:9.3f} s{processor:9.3f} s of processor   (goal {goal})", flush=True)
    return result


def _processor_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def made_set(folder: Path, count: int) -> None:
    """Small JPEG images of 512 × 512 px, each with a caption: 50 drawings, told apart by a patch."""
    for at in range(count):
        image = Image.effect_noise((512, 512), 3).convert("RGB") if at < 50 else Image.open(folder / f"{at % 50:05d}.jpg")
        draw = ImageDraw.Draw(image)
        for n in range(12):
            x, y = (at * 7919 + n * 104729) % 480, (at * 6151 + n * 15485863) % 480
            draw.rectangle((x, y, x + 60, y + 90), fill=(at * 37 % 256, n * 20, (at + n * 11) % 256))
        image.save(folder / f"{at:05d}.jpg", quality=85)
        (folder / f"{at:05d}.txt").write_text(f"a photo of anafox woman, image {at}, in a park")


def bomb(path: Path) -> None:
    """A PNG that claims 50 000 × 50 000 px."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    packed = zlib.compress(b"\0" * 50_000_000)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b""))


def decode_all(found: DatasetScan) -> None:
    """Decodes every image as it is trained, and forgets it."""
    for image in found.images:
        load_rgb(image.path)


def refused(path: Path) -> None:
    """Asks for the header of an image that must be refused."""
    try:
        read_header(path)
    except ImageError:
        return
    raise AssertionError("the bomb was not refused")


class Memory:
    """The most memory that this process and its children held together, sampled while the block runs."""

    def __enter__(self) -> Memory:
        self.most_mib = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.2):
            self.most_mib = max(self.most_mib, sum(_rss_mib(pid) for pid in (os.getpid(), *_children(os.getpid()))))


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


def _rss_mib(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
    except OSError:
        return 0.0


def main() -> None:
    """Makes the images in a temporary folder and prints the figures."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    settings = schema.replace(load_preset("sd15-portrait").settings, {"dataset.trigger": "anafox"})
    with tempfile.TemporaryDirectory() as name, Memory() as memory:
        folder = Path(name) / "set"
        folder.mkdir()
        print(f"making {count} images of 512 × 512 px …", flush=True)
        made_set(folder, count)
        found = timed(f"header scan of {count}", "3 s for 10 000", lambda: scan(folder))
        case = Case(found, settings)
        timed("checks without the deep pass", "none", lambda: run_checks(case))
        timed("copies", "none", lambda: similar.copies(found.images))
        timed("decoding alone, in one process", "none; the floor of the next", partial(decode_all, found))
        what = f"deep pass of {count} on {usable_cores()} cores"
        result = timed(what, "45 s for 10 000 on 2 cores", lambda: measure_all(found.images, 512))
        full = Case(found, settings, copies=(), facts=result.facts)
        timed("checks with the deep pass", "none", lambda: run_checks(full))
        print(f"{'memory of all processes, at most':<52}{memory.most_mib:9.0f} MiB (goal 500)", flush=True)

        large = Path(name) / "large"
        large.mkdir()
        Image.effect_noise((4000, 3000), 40).convert("RGB").save(large / "large.jpg", quality=90)
        bomb(large / "bomb.png")
        from loratui.engine.dataset.measure import measure_image

        measure_image(large / "large.jpg", 512)
        for resolution in (512, 1024):
            what = f"12-megapixel JPEG measured at {resolution}"
            timed(what, "0.3 s", partial(measure_image, large / "large.jpg", resolution))
        timed("bomb refused", "0.05 s", lambda: refused(large / "bomb.png"))


if __name__ == "__main__":
    main()
