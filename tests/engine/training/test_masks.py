"""Masks in training: what they leave out has no gradient, what they mark counts as much as ever, and all-white ones change no bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from random_bases import run_on
from small_runs import MakeRun, after_loading, after_step, events, every_step, losses, same, train, wait_for, weights
from torch import Tensor

from loratui.engine.dataset.ledger import read_ledger, read_table, trained_on
from loratui.engine.errors import DatasetError, ExitCode
from loratui.engine.planning.recipe import read_recipe
from loratui.engine.runs import control
from loratui.engine.runs.differences import accept, dataset_difference, differences
from loratui.engine.runs.launcher import launch
from loratui.engine.training.diffusion_loss import TrainingBatch
from loratui.engine.training.fixed_loss import FixedLoss
from loratui.engine.training.loss_masks import weights as weights_of
from loratui.engine.training.losses import per_sample_loss
from loratui.engine.training.trainer import Trainer

SMALL = ("adapter.targets=attention", "schedule.epochs=1", "schedule.repeats=1", "adapter.start_from=")
BY_FOLDER = ("dataset.masks=folder", "dataset.mask_outside=0")
LEFT = (0, 0, 32, 64)
"""What the masks mark of images that are 64 px wide."""


def add_masks(images: Path, area: tuple[int, int, int, int] | None = LEFT) -> None:
    """Masks for all images that mark this area; None: all of it."""
    (images / "masks").mkdir(exist_ok=True)
    for path in images.glob("*.png"):
        size = Image.open(path).size
        mask = Image.new("L", size, 255 if area is None else 0)
        if area is not None:
            mask.paste(255, area)
        mask.save(images / "masks" / path.name)


def test_white_masks_change_no_bit(make_run: MakeRun, images: Path) -> None:
    plain = make_run(*SMALL)
    add_masks(images, None)
    masked = make_run(*SMALL, *BY_FOLDER)
    assert train(plain, every_step) == train(masked, every_step) == ExitCode.DONE
    assert losses(plain) == losses(masked)
    assert same(weights(plain), weights(masked))
    assert len(list(masked.cache.glob("mask-*"))) == 2, "one for each of the two sizes, since the masks are alike"
    assert not list(plain.cache.glob("mask-*"))


@pytest.mark.parametrize(
    "sets", [(), ("training.loss=huber", "training.min_snr_gamma=5", "dataset.flip=true")], ids=["mse", "huber"]
)
def test_what_a_mask_leaves_out_has_no_gradient(make_run: MakeRun, images: Path, sets: tuple[str, ...]) -> None:
    """With the weight 0, bit for bit: whatever the target there is, and wherever it was mirrored to."""
    add_masks(images)
    found: list[tuple[list[Tensor], ...]] = []

    def gradients(trainer: Trainer, batch: TrainingBatch) -> list[Tensor]:
        trainer.steps.flat_parameters.zero_gradients()
        value = trainer.steps._computed(batch)
        return [value, *(one.clone() for one in trainer.steps.flat_parameters._gradients)]

    def look(trainer: Trainer) -> None:
        for micro_step in range(3):
            batch = trainer.steps.diffusion_loss.prepare((0, 1, 2), micro_step, 3)
            assert batch.masks is not None
            assert set(batch.masks.unique().tolist()) == {0.0, 2.0}
            apart = [trainer.steps.diffusion_loss.compute(part) for part in batch.split()]
            assert torch.allclose(torch.cat(apart), trainer.steps.diffusion_loss.compute(batch))
            target = batch.noisy.target
            outside = (batch.masks == 0)[:, None].expand_as(target)
            others = [torch.where(area, 100 * torch.randn_like(target), target) for area in (outside, ~outside)]
            found.append(
                tuple(gradients(trainer, replace(batch, noisy=replace(batch.noisy, target=one))) for one in (target, *others))
            )

    train(make_run(*SMALL, *BY_FOLDER, *sets), lambda trainer: after_loading(trainer, lambda: look(trainer)))
    assert len(found) == 3
    for plain, outside, inside in found:
        assert all(map(torch.equal, plain, outside))
        assert any(one.any() for one in plain[1:])
        assert not any(map(torch.equal, plain[:1], inside[:1]))


@pytest.mark.parametrize("shape", [(2, 4, 8, 6), (2, 16, 1, 8, 6)], ids=["an image", "with frames"])
def test_the_loss_is_the_weighted_mean_and_keeps_its_scale(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    prediction, target = torch.randn(shape, generator=generator).requires_grad_(), torch.randn(shape, generator=generator)
    marked = torch.zeros(2, *shape[-2:])
    marked[0, :2] = 1  # a quarter
    marked[1] = torch.rand(shape[-2:], generator=generator)
    made = torch.stack([weights_of(one, 0.1) for one in marked])
    assert made.mean((1, 2)).tolist() == pytest.approx([1, 1])
    found = per_sample_loss(prediction, target, masks=made)
    square = (prediction - target).square().mean(tuple(range(1, len(shape) - 2)))
    raw = 0.1 + 0.9 * marked
    assert found.tolist() == pytest.approx(((square * raw).sum((1, 2)) / raw.sum((1, 2))).tolist())
    assert per_sample_loss(target + 3, target, masks=made).tolist() == pytest.approx([9, 9], rel=1e-5)
    assert per_sample_loss(target + 3, target).tolist() == pytest.approx([9, 9], rel=1e-5)
    found.sum().backward()
    assert prediction.grad is not None
    expected = 2 * (prediction - target) * made.view(2, *(1,) * (len(shape) - 3), *shape[-2:]) / target[0].numel()
    assert torch.allclose(prediction.grad, expected)


def test_a_mask_that_marks_nothing_or_all_weights_nothing() -> None:
    for value in (0.0, 1.0, 0.3):
        for outside in (0.0, 0.1, 0.7, 1.0):
            assert torch.equal(weights_of(torch.full((9, 7), value), outside), torch.ones(9, 7))


@pytest.mark.long
@pytest.mark.parametrize("base", ["sdxl_folder", "flux_folder"])
def test_every_family_trains_with_masks(base: str, tmp_path: Path, images: Path, request: pytest.FixtureRequest) -> None:
    add_masks(images)
    family = base.partition("_")[0]
    sets = (
        f"base.family={family}",
        "training.min_snr_gamma=0",
        "schedule.epochs=1",
        "schedule.repeats=1",
        "adapter.targets=attention",
    )
    shapes: set[tuple[int, ...]] = set()

    def look(trainer: Trainer) -> None:
        batch = trainer.steps.diffusion_loss.prepare((0,), 0, 1)
        assert batch.masks is not None
        shapes.add(tuple(batch.masks.shape))
        assert batch.masks[..., :4].eq(2).all()
        assert batch.masks[..., 4:].eq(0).all()

    run = run_on(request.getfixturevalue(base), tmp_path, *sets, *BY_FOLDER, folder=images)
    assert train(run, lambda trainer: after_loading(trainer, lambda: look(trainer))) == ExitCode.DONE
    assert shapes == {(1, 8, 8)}


@pytest.mark.long
def test_a_masked_run_that_was_stopped_ends_like_one_that_was_not(make_run: MakeRun, images: Path) -> None:
    add_masks(images)
    sets = (*SMALL, "dataset.masks=folder", "dataset.flip=true", 'dataset.held_out=["1.png"]')
    run, undisturbed = make_run(*sets), make_run(*sets)

    def stop(trainer: Trainer) -> None:
        every_step(trainer)
        after_step(trainer, 1, lambda: control.send(run, "stop"))

    assert train(undisturbed, every_step) == ExitCode.DONE
    assert train(run, stop) == ExitCode.TERMINATED
    for path in (images / "masks").iterdir():
        path.unlink()
    accept(run, differences(run))
    assert train(run, every_step) == ExitCode.DONE, "the cache has them"
    assert losses(run) == losses(undisturbed)
    assert same(weights(run), weights(undisturbed))


@pytest.mark.long
def test_the_loss_on_held_out_images_has_their_masks(make_run: MakeRun, images: Path) -> None:
    add_masks(images)
    found: dict[str, list[float]] = {}

    def look(trainer: Trainer) -> None:
        held = [entry for entry in trainer.entries if entry.held_out]
        fixed = FixedLoss(trainer.loaded, trainer.steps.diffusion_loss.autocast, lambda *_: None)
        found["masked"] = fixed.of(held, 2, 0.0)
        trainer.loaded.latents._outside = None
        found["whole"] = fixed.of(held, 2, 0.0)

    run = make_run(*SMALL, *BY_FOLDER, 'dataset.held_out=["1.png"]')
    train(run, lambda trainer: after_loading(trainer, lambda: look(trainer)))
    assert found["masked"] != found["whole"]
    assert events(run, "held_out")[0].fields["base_loss"] != found["masked"][0], "without masks from then on"


def test_masks_belong_to_what_a_run_is(make_run: MakeRun, images: Path) -> None:
    plain = read_ledger(make_run(*SMALL).dataset)
    add_masks(images)
    Image.new("L", (64, 64), 200).save(images / "masks" / "3.png")
    with_unused = read_ledger(make_run(*SMALL).dataset)
    masked = make_run(*SMALL, *BY_FOLDER)
    again = make_run(*SMALL, *BY_FOLDER)
    assert {entry.relative: entry.mask for entry in plain.images} == {
        entry.relative: entry.mask for entry in with_unused.images
    }
    assert trained_on(read_table(masked.dataset)) == trained_on(read_table(again.dataset))
    settings = read_recipe(masked.effective).settings
    assert dataset_difference(masked, settings) == []
    Image.new("L", (64, 64), 255).save(images / "masks" / "3.png")
    (images / "masks" / "4.png").unlink()
    (difference,) = dataset_difference(masked, settings)
    assert [line.split()[:3] for line in difference.lines] == [["mask", "of", "3.png:"], ["mask", "of", "4.png:"]]
    assert trained_on(read_table(masked.dataset)) != trained_on(read_table(make_run(*SMALL, *BY_FOLDER).dataset))
    with pytest.raises(DatasetError, match=r"3\.png: changed since"):
        train(masked)


@pytest.mark.long
def test_an_empty_mask_is_told_and_counts_as_none(make_run: MakeRun, images: Path) -> None:
    add_masks(images)
    Image.new("L", (64, 64)).save(images / "masks" / "2.png")
    run = make_run(*SMALL, *BY_FOLDER)
    assert train(run, every_step) == ExitCode.DONE
    (warning,) = [event for event in events(run, "warning") if event.fields["code"] == "masks_empty"]
    assert "2.png" in warning.fields["message"]


@pytest.mark.long
def test_transparency_weights_the_loss(make_run: MakeRun, images: Path) -> None:
    for path in images.glob("*.png"):
        cut = Image.open(path).convert("RGBA")
        cut.paste((0, 0, 0, 0), (32, 0, cut.width, cut.height))
        cut.save(path)
    seen: list[Tensor] = []
    run = make_run(*SMALL, "dataset.masks=alpha", "dataset.mask_outside=0.5")
    train(
        run, lambda trainer: after_loading(trainer, lambda: seen.append(trainer.steps.diffusion_loss.prepare((0,), 0, 1).masks))
    )  # type: ignore[arg-type]  # with masks there are some
    assert sorted(set(seen[0].flatten().tolist())) == pytest.approx([0.5 / 0.75, 1 / 0.75])


@pytest.mark.long
@pytest.mark.parametrize("plan", ["partial", "checkpointing", "swapped"])
def test_masks_mean_the_same_in_every_memory_plan(make_run: MakeRun, images: Path, plan: str) -> None:
    add_masks(images)
    sets = (*SMALL, *BY_FOLDER, "training.precision=auto", "memory.quantise=off")
    kept, other = make_run(*sets), make_run(*sets, f"memory.plan={plan}")
    assert train(kept, every_step) == train(other, every_step) == ExitCode.DONE
    for step, loss in losses(kept).items():
        assert float.fromhex(losses(other)[step]) == pytest.approx(float.fromhex(loss), rel=1e-4)


@pytest.mark.long
def test_masks_mean_the_same_for_two_processes(make_run: MakeRun, images: Path) -> None:
    add_masks(images)
    whole = make_run(*SMALL, *BY_FOLDER, "training.batch_size=1", "training.accumulation=2")
    run = make_run(*SMALL, *BY_FOLDER, "training.batch_size=1", "training.processes=2", "memory.device=cpu")
    train(whole, every_step)
    launch(run)
    wait_for(run, "run_finished")
    found = losses(run)
    assert found
    for step, loss in found.items():
        assert float.fromhex(loss) == pytest.approx(float.fromhex(losses(whole)[step]), rel=1e-4)
