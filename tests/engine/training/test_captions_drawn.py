"""Several captions an image: what a run is given of them is what its ledger counts, to the last one."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from small_runs import MakeRun, after_loading, train

from loratui.engine.errors import ExitCode
from loratui.engine.training.trainer import Trainer

SETS = (
    *("adapter.targets=attention", "adapter.rank=2", "samples.steps=1", "schedule.repeats=2", "schedule.epochs=2"),
    *("dataset.caption_choice=line+wildcards", "dataset.caption_variants=4", "training.batch_size=2"),
)


def test_every_caption_comes_as_often_as_the_ledger_says(make_run: MakeRun, images: Path) -> None:
    for path in images.glob("*.png"):
        path.with_suffix(".txt").write_text(f"qxz {path.stem}, {{red|blue}} hat\nqxz {path.stem}, laughing\nqxz {path.stem}\n")
    seen: Counter[str] = Counter()

    def spy(trainer: Trainer) -> None:
        def look() -> None:
            prepared, batch = trainer.steps.diffusion_loss._prepared, trainer.loaded.texts.batch

            def counting(*asked: Any) -> Any:
                def counted(captions: Any) -> Any:
                    seen.update(captions)
                    return batch(captions)

                trainer.loaded.texts.batch = counted  # type: ignore[method-assign]  # what this test replaces
                try:
                    return prepared(*asked)
                finally:
                    trainer.loaded.texts.batch = batch  # type: ignore[method-assign]  # what this test replaces

            trainer.steps.diffusion_loss._prepared = counting  # type: ignore[method-assign]  # what this test replaces

        after_loading(trainer, look)

    run = make_run(*SETS)
    assert train(run, spy) == ExitCode.DONE
    rows = json.loads(run.dataset.read_text())["images"]
    told = {
        caption["text"]: count for row in rows for caption, count in zip(row["captions"], row["captions_seen"], strict=True)
    }
    assert {text: count for text, count in told.items() if count} == seen
    assert all(caption["planned"] == told[caption["text"]] for row in rows for caption in row["captions"])
    assert all(sum(row["captions_seen"]) == row["seen"] == 4 for row in rows)
    by_line = Counter("laughing" in text for text in seen.elements())
    assert len(rows) <= by_line[True] <= 2 * len(rows)
