"""The guides' own settings, imported: Civitai's JSON of Skullkid's guide, and alpha 0 of ZyloO's."""

from __future__ import annotations

import json
from pathlib import Path

from loratui.engine.importing.result import import_settings

SKULLKID = {
    "unetLR": 0.0004, "clipSkip": 1, "loraType": "lora", "keepTokens": 0, "networkDim": 32, "numRepeats": 12, "resolution": 1024,
    "lrScheduler": "cosine", "minSnrGamma": 5, "targetSteps": 3072, "enableBucket": True, "networkAlpha": 16,
    "optimizerArgs": "weight_decay=0.1", "optimizerType": "AdamW8Bit", "textEncoderLR": 0.00004, "maxTrainEpochs": 16,
    "shuffleCaption": False, "trainBatchSize": 2, "flipAugmentation": False, "lrSchedulerNumCycles": 3,
}  # fmt: skip


def test_the_settings_of_the_on_site_trainer_come_to_the_steps_of_the_guide(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text(json.dumps(SKULLKID))
    found = import_settings(file, images=32)
    assert found.recipe is not None
    settings = found.recipe.settings
    assert (found.steps.theirs, found.steps.ours) == (3072, 3072)
    assert (settings.base.family, settings.adapter.rank, settings.adapter.effective_alpha) == ("sdxl", 32, 16)
    assert (settings.optimizer.learning_rate, settings.optimizer.text_encoder_learning_rate) == (4e-4, 4e-5)
    assert (settings.optimizer.name, settings.optimizer.weight_decay) == ("adamw8bit", 0.1)
    assert settings.optimizer.scheduler == "cosine"
    assert settings.training.train_text_encoder
    assert found.of("not_understood") == ()
    assert {one.key for one in found.said if one.given} == set(SKULLKID)


def test_an_alpha_of_zero_is_the_rank(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({**SKULLKID, "networkAlpha": 0}))
    found = import_settings(file, images=32)
    assert found.recipe is not None
    assert found.recipe.settings.adapter.effective_alpha == 32
