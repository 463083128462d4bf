"""A run with everything that a report shows: photos, both grids, measures and a note; all made up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fake_run import FINAL, FakeTrainer, make_run, write_grid, write_portrait

from loratui.engine import sealed
from loratui.engine.handover import gathered, keep
from loratui.engine.proof.judgement import Advice, Best, Do, Judgement, read_judgement
from loratui.engine.proof.notes import update
from loratui.engine.runs.directory import RunDirectory
from loratui.presets.schema import Settings

PHOTOS = ("Jane Doe 1.png", "holiday/jane_2.png")
EARLIER = "output/anafox-000090.safetensors"


def row(id: str, title: str, **more: Any) -> dict[str, Any]:
    """A measure as `measures.json` has it."""
    texts = {"unit": "cosine", "figure": "0.82", "means": "as like as the photos", "unknown": "", "about": "A.", "limits": "L."}
    return {"id": id, "title": title, "value": 0.82, "spread": 0.02, "base": 0.3, "range": [0.7, 0.9], **texts, **more}


def judged_run(home: Path) -> RunDirectory:
    """The photos lie beside the run, below a folder whose name must not be told."""
    run = make_run(home)
    with FakeTrainer(run) as trainer:
        trainer.start()
        for _ in range(2):
            trainer.steps(90)
            trainer.sample()
        trainer.output(final=True)
        trainer.finish()
    folder = home / "private folder"
    images = []
    for at, name in enumerate(PHOTOS):
        write_portrait(folder / name, 1.0, at)
        size = {"sha256": f"{at:064d}", "width": 128, "height": 128, "bucket": [128, 128]}
        fit = {"fit": {"resized": [128, 128], "left": 0, "top": 0}, "caption": "a secret caption", "concept": ""}
        images.append({"path": str(folder / name), "relative": name, "repeats": 1, "regularisation": False, **size, **fit})
    sealed.write(run.dataset, {"format": 1, "root": str(folder), "images": images, "left_out": []}, run.path)
    write_grid(run, epochs=True)
    image = "validation/00-anafox-1.00-1000.png"
    curve = [
        {"file": EARLIER, "step": step, "strength": 1.0, "value": 0.5 + step / 2000, "base": 0.3} for step in (90, 450, 900)
    ]
    parts = [
        {"id": "likeness", "status": "measured", "measures": [row("likeness", "Likeness")], "images": []},
        {
            "id": "generalises",
            "status": "measured",
            "measures": [
                row(
                    "copy_layout",
                    "Nearest by layout",
                    figure=f"0.82 to {PHOTOS[0]}",
                    nearest=[{"path": image, "photo": PHOTOS[0], "value": 0.82}],
                )
            ],
            "images": [],
        },
        {"id": "strength", "status": "measured", "measures": [row("likeness", "Likeness", curve=curve)], "images": []},
        {"id": "checkpoints", "status": "measured", "measures": [row("likeness", "Likeness", curve=curve)], "images": []},
        {"id": "next", "status": "none", "measures": [], "images": []},
    ]
    report = {"format": 1, "file": FINAL, "strength": 1.0, "photos": {}, "face_model": None, "parts": parts}
    update(
        run.validation / "checklist.json", lambda kept: kept.rate(EARLIER, 4).note("quality", "soft hands").toggle("likeness")
    )
    sealed.write(run.validation / "measures.json", report, run.path)
    return run


@contextmanager
def judging(run: RunDirectory) -> Iterator[None]:
    """What the measures of this run add up to for reports and kept files, whatever the rules of the judge are; other runs are judged."""
    folder = run.path.parents[1] / "private folder"
    out = Advice("leave", f"Leave {PHOTOS[1]} out.", "It comes back.", Do(leave_out=(PHOTOS[1],)))
    best = Best(FINAL, 900, 0.5, "It is the likest <that> is no copy.")
    told = Judgement("memorised", 0.83, (f"One image is {PHOTOS[1]} again.", f"See {folder}/x."), best, (out,))

    def read(of: RunDirectory, settings: Settings) -> Judgement | None:
        return told if of == run else read_judgement(of, settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gathered, "read_judgement", read)
        patch.setattr(keep, "read_judgement", read)
        yield
