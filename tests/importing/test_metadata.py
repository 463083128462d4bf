"""The metadata of LoRA files: sd-scripts' and loratui's own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from loratui.engine.formats.metadata import LoraFacts, build_metadata
from loratui.engine.importing.result import Imported, import_settings
from loratui.engine.planning.recipe import build_recipe

SD_SCRIPTS = {
    "ss_session_id": "1", "ss_training_started_at": "1700000000.0", "ss_output_name": "anafox", "ss_learning_rate": "0.0004",
    "ss_text_encoder_lr": "4e-05", "ss_unet_lr": "0.0004", "ss_num_train_images": "320", "ss_num_reg_images": "0",
    "ss_num_batches_per_epoch": "160", "ss_num_epochs": "16", "ss_epoch": "16", "ss_steps": "2560", "ss_max_train_steps": "2560",
    "ss_gradient_checkpointing": "True", "ss_gradient_accumulation_steps": "1", "ss_lr_warmup_steps": "128", "ss_lr_scheduler": "cosine",
    "ss_network_module": "networks.lora", "ss_network_dim": "32", "ss_network_alpha": "16", "ss_network_dropout": "None",
    "ss_network_args": json.dumps({"conv_dim": "8", "conv_alpha": "4"}), "ss_mixed_precision": "bf16", "ss_full_fp16": "False", "ss_v2": "False",
    "ss_base_model_version": "sdxl_base_v1-0", "ss_clip_skip": "None", "ss_max_token_length": "225", "ss_cache_latents": "True",
    "ss_seed": "7", "ss_lowram": "False", "ss_noise_offset": "None", "ss_min_snr_gamma": "5.0", "ss_prior_loss_weight": "1.0",
    "ss_optimizer": "bitsandbytes.optim.adamw.AdamW8bit(weight_decay=0.1,betas=(0.9, 0.95))", "ss_max_grad_norm": "1.0",
    "ss_sd_model_name": "sd_xl_base_1.0.safetensors", "ss_sd_scripts_commit_hash": "48d368fa", "ss_caption_dropout_rate": "0.0",
    "ss_scale_weight_norms": "None", "ss_zero_terminal_snr": "False", "ss_debiased_estimation": "False", "ss_loss_type": "l2",
    "ss_datasets": json.dumps([{
        "resolution": [1024, 1024], "batch_size_per_device": 2, "enable_bucket": True, "bucket_no_upscale": True,
        "subsets": [{"num_repeats": 10, "class_tokens": "anafox woman", "flip_aug": False, "shuffle_caption": False, "keep_tokens": 0}],
    }]),
    "ss_tag_frequency": "{}", "sshs_model_hash": "0", "modelspec.title": "anafox", "format": "pt",
}  # fmt: skip


def of_file(tmp_path: Path, metadata: dict[str, str], images: int = 32) -> Imported:
    file = tmp_path / "x.safetensors"
    save_file({"lora_unet_x.lora_down.weight": np.zeros((4, 8), np.float16)}, file, metadata)
    return import_settings(file, images=images)


def test_a_file_of_sd_scripts_tells_how_it_was_made(tmp_path: Path) -> None:
    found = of_file(tmp_path, SD_SCRIPTS)
    assert found.recipe is not None
    settings = found.recipe.settings
    assert found.of("not_understood") == ()
    assert (found.steps.theirs, found.steps.ours) == (2560, 2560)
    assert (settings.base.family, settings.adapter.rank, settings.adapter.alpha) == ("sdxl", 32, 16)
    assert (settings.adapter.targets, settings.adapter.conv_rank, settings.adapter.conv_alpha) == ("sd-scripts+conv", 8, 4)
    assert (settings.optimizer.name, settings.optimizer.weight_decay, settings.optimizer.beta2) == ("adamw8bit", 0.1, 0.95)
    assert (settings.dataset.resolution, settings.training.batch_size, settings.schedule.repeats) == (1024, 2, 10)
    assert (settings.dataset.trigger, settings.dataset.class_word, settings.dataset.caption_tokens) == ("anafox", "woman", 225)
    assert settings.optimizer.warmup == 0.05


def test_a_file_of_loratui_gives_its_numbers_back(tmp_path: Path) -> None:
    before = build_recipe("sdxl-person", trigger="anafox").settings
    facts = LoraFacts(settings=before, title="anafox", layout="kohya", prediction="epsilon", step=256, epoch=16, epochs=16, images=20,
                      optimizer="adamw8bit", precision="bfloat16")  # fmt: skip
    found = of_file(tmp_path, build_metadata(facts))
    assert found.recipe is not None
    after = found.recipe.settings
    assert found.of("not_understood") == ()
    assert (after.adapter.rank, after.adapter.effective_alpha) == (before.adapter.rank, before.adapter.effective_alpha)
    assert (after.optimizer.learning_rate, after.optimizer.scheduler) == (
        before.optimizer.learning_rate,
        before.optimizer.scheduler,
    )
    assert (after.dataset.trigger, found.steps.theirs) == ("anafox", 256)


def test_a_file_for_another_kind_of_base_is_told(tmp_path: Path) -> None:
    found = of_file(tmp_path, {**SD_SCRIPTS, "ss_base_model_version": "chroma"})
    assert found.recipe is None
    assert "chroma" in found.problem


def test_a_file_without_metadata_says_little(tmp_path: Path) -> None:
    found = of_file(tmp_path, {"format": "pt"})
    assert any("tells little" in note for note in found.notes)


def test_rates_of_each_text_encoder_and_pairs_are_read(tmp_path: Path) -> None:
    optimizer = "bitsandbytes.optim.adamw.AdamW8bit(weight_decay=0.1,betas=(0.9, 0.98))"
    found = of_file(
        tmp_path, {"ss_network_dim": "8", "ss_text_encoder_lr": "[5e-05]", "ss_unet_lr": "0.0001", "ss_optimizer": optimizer}
    )
    assert found.recipe is not None
    rates = found.recipe.settings.optimizer
    assert (rates.text_encoder_learning_rate, rates.weight_decay, rates.beta2) == (5e-05, 0.1, 0.98)
    assert next(str(one.value) for one in found.said if "its arguments" in one.key).endswith("0.98)']")


def test_regularisation_images_that_stand_first_are_not_the_subject(tmp_path: Path) -> None:
    subsets = [
        {"is_reg": True, "num_repeats": 1, "class_tokens": "dog"},
        {"is_reg": False, "num_repeats": 9, "class_tokens": "sks dog"},
    ]
    found = of_file(tmp_path, {"ss_network_dim": "8", "ss_num_epochs": "2", "ss_datasets": json.dumps([{"subsets": subsets}])})
    assert found.recipe is not None
    assert (found.recipe.settings.dataset.trigger, found.recipe.settings.schedule.repeats) == ("sks", 9)


def test_no_steps_are_claimed_of_a_file_that_does_not_tell_them(tmp_path: Path) -> None:
    told = {"name": "a", "version": "1.0", "software": '{"name": "ai-toolkit"}', "training_info": '{"step": 2000}'}
    found = of_file(tmp_path, told)
    assert found.steps.theirs is None
    assert not found.of("not_understood")
    assert not [one for one in found.said if one.key == "max_train_steps"]
