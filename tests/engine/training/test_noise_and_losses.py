"""The numbers that training is made of: schedule, noise, weights."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import torch

from loratui.engine.families.sd15.model import Sd15
from loratui.engine.training import losses, noise
from loratui.presets.schema import Training


def at(family: Sd15, t: int) -> torch.Tensor:
    """SNR of one timestep as the family gives it."""
    one = torch.ones(1, 4, 2, 2)
    noisy = family.add_noise(one, one, torch.tensor([(t + 0.5) / 1000]))
    assert noisy.timesteps.item() == t
    assert noisy.snr is not None
    return noisy.snr


@pytest.mark.parametrize(("t", "snr"), [(0, 1175.44), (100, 8.4539), (500, 0.38185), (999, 0.00468191)])
def test_signal_to_noise_of_the_schedule(family: Sd15, t: int, snr: float) -> None:
    assert at(family, t).item() == pytest.approx(snr, rel=1e-4)


@pytest.mark.parametrize(
    ("t", "epsilon", "v"), [(0, 0.00425, 0.00425), (100, 0.59145, 0.52888), (500, 1.0, 0.27633), (999, 1.0, 0.00466)]
)
def test_min_snr_weights(family: Sd15, t: int, epsilon: float, v: float) -> None:
    snr = at(family, t)
    assert losses.min_snr_weight(snr, 5.0, "epsilon").item() == pytest.approx(epsilon, abs=1e-5)
    assert losses.min_snr_weight(snr, 5.0, "v").item() == pytest.approx(v, abs=1e-5)


def test_debiased_estimation_is_like_three_times_the_rate(family: Sd15) -> None:
    uniform = (torch.arange(1000) + 0.5) / 1000
    blank = torch.zeros(1000, 1, 1, 1)
    snr = family.add_noise(blank, blank, uniform).snr
    assert snr is not None
    assert losses.debiased_weight(snr, "epsilon").mean().item() == pytest.approx(3.02, abs=0.02)
    assert losses.min_snr_weight(snr, 5.0, "epsilon").mean().item() == pytest.approx(0.917, abs=0.003)


def test_noising_equals_the_librarys(base_folder, family: Sd15) -> None:
    from diffusers import DDPMScheduler

    reference = DDPMScheduler.from_pretrained(base_folder, subfolder="scheduler")
    latents, eps, t = torch.randn(5, 4, 8, 8), torch.randn(5, 4, 8, 8), torch.tensor([0, 1, 400, 998, 999])
    noisy = family.add_noise(latents, eps, (t + 0.5) / 1000)
    assert torch.allclose(noisy.noisy_model_input, reference.add_noise(latents, eps, t), atol=1e-6)
    assert noisy.target is eps
    family._diffusion.prediction = "v"
    assert torch.allclose(
        family.add_noise(latents, eps, (t + 0.5) / 1000).target, reference.get_velocity(latents, eps, t), atol=1e-6
    )


def test_the_last_representable_uniform_stays_in_the_table(family: Sd15) -> None:
    blank = torch.zeros(1, 4, 2, 2)
    assert family.add_noise(blank, blank, torch.nextafter(torch.ones(1), torch.zeros(1))).timesteps.item() == 999


def test_a_draw_is_a_function_of_seed_and_batch_number_alone() -> None:
    shape = (3, 4, 8, 8)
    first = noise.draw(shape, seed=7, micro_step=5)
    noise.draw(shape, seed=7, micro_step=6)
    torch.manual_seed(1)
    again = noise.draw(shape, seed=7, micro_step=5)
    for part in ("noise", "uniform", "latent_noise"):
        assert torch.equal(getattr(first, part), getattr(again, part))
        assert not torch.equal(getattr(first, part), getattr(noise.draw(shape, seed=7, micro_step=6), part))
        assert not torch.equal(getattr(first, part), getattr(noise.draw(shape, seed=8, micro_step=5), part))
    assert not torch.equal(first.noise[0], first.noise[1]), "images of a batch must not share their noise"
    assert len(set(first.uniform.tolist())) == 3, "nor their timestep"


def test_offset_noise_has_the_right_spread() -> None:
    drawn = noise.draw((400, 4, 32, 32), seed=1, micro_step=0, settings=Training(noise_offset=0.1)).noise
    assert drawn.var().item() == pytest.approx(1.01, abs=0.01)
    assert drawn.mean((2, 3)).std().item() == pytest.approx((0.1**2 + 1 / 1024) ** 0.5, abs=0.01)
    shifts = drawn.mean((2, 3))
    assert shifts.std(dim=1).mean().item() > 0.05, "each channel of an image has its own offset"


def test_high_noise_bias_raises_the_share_of_noisy_steps() -> None:
    uniform = torch.rand(200_000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(noise.high_noise_uniform(uniform, 0.0), uniform)
    bent = noise.high_noise_uniform(uniform, 1.0)
    assert (bent > 0.5).float().mean().item() == pytest.approx(0.75, abs=0.01)
    assert bent.max() < 1
    assert bent.min() >= 0


def test_huber_is_quadratic_near_and_linear_far() -> None:
    target = torch.zeros(2, 1, 1, 1)
    prediction = torch.tensor([1e-3, 100.0]).view(2, 1, 1, 1)
    near, far = losses.per_sample_loss(prediction, target, kind="huber", huber_c=0.1)
    assert near.item() == pytest.approx(1e-6, rel=1e-3)
    assert far.item() == pytest.approx(0.2 * 100, rel=1e-2)


def test_loss_is_computed_in_fp32() -> None:
    value = losses.per_sample_loss(
        torch.full((1, 1, 2, 2), 300.0, dtype=torch.float16), torch.zeros(1, 1, 2, 2, dtype=torch.float16)
    )
    assert value.dtype == torch.float32
    assert value.item() == 90000.0


def test_multi_resolution_noise_keeps_its_spread_and_has_more_of_it_in_large_patches() -> None:
    """Each coarser layer adds what an average over patches keeps; independent noise would have nearly none of it."""
    plain = noise.draw((100, 4, 32, 32), seed=1, micro_step=0).noise
    settings = Training(multires_noise_iterations=8, multires_noise_discount=0.8)
    layered = noise.draw((100, 4, 32, 32), seed=1, micro_step=0, settings=settings).noise
    assert layered.std(dim=(1, 2, 3)).tolist() == pytest.approx([1.0] * 100, abs=1e-4)

    def patches(one: torch.Tensor) -> float:
        return torch.nn.functional.avg_pool2d(one, 16).std().item()

    assert patches(plain) == pytest.approx(1 / 16, rel=0.1)
    assert patches(layered) > 2 * patches(plain)
    assert torch.equal(layered, noise.draw((100, 4, 32, 32), seed=1, micro_step=0, settings=settings).noise)


def test_every_layer_of_multi_resolution_noise_is_shrunk_from_the_full_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layer i is 1/rⁱ of the image, r from 2 to 4; shrunk from the layer before, the pyramid would end two layers sooner."""
    sizes: list[tuple[int, ...]] = []
    interpolate = torch.nn.functional.interpolate

    def spy(coarse: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        sizes.append(tuple(coarse.shape[-2:]))
        return interpolate(coarse, *args, **kwargs)

    monkeypatch.setattr(torch.nn.functional, "interpolate", spy)
    for micro_step in range(20):
        sizes.clear()
        settings = Training(multires_noise_iterations=4)
        noise.draw((1, 4, 256, 512), seed=1, micro_step=micro_step, settings=settings)
        assert sizes[0] == (256, 512)
        for layer, (height, width) in enumerate(sizes[1:], 1):
            assert 256 // 4**layer <= height <= 256 // 2**layer
            assert width == pytest.approx(2 * height, abs=1)


def test_multi_resolution_noise_of_an_image_does_not_depend_on_its_batch_being_scaled() -> None:
    drawn = noise.draw((3, 4, 16, 24), seed=2, micro_step=0, settings=Training(multires_noise_iterations=10)).noise
    assert drawn.std(dim=(1, 2, 3)).tolist() == pytest.approx([1.0] * 3, abs=1e-5)


def test_latents_with_an_axis_of_frames_get_the_noise_of_those_without() -> None:
    settings = Training(multires_noise_iterations=4, noise_offset=0.1, input_perturbation=0.1)
    flat = noise.draw((2, 4, 16, 24), seed=3, micro_step=1, settings=settings)
    framed = noise.draw((2, 4, 1, 16, 24), seed=3, micro_step=1, settings=settings)
    for part in ("noise", "latent_noise", "input_noise"):
        assert torch.equal(getattr(framed, part)[:, :, 0], getattr(flat, part))


def test_input_perturbation_changes_the_input_and_not_the_target() -> None:
    plain = noise.draw((50, 4, 16, 16), seed=1, micro_step=0)
    drawn = noise.draw((50, 4, 16, 16), seed=1, micro_step=0, settings=Training(input_perturbation=0.1))
    assert torch.equal(plain.noise, drawn.noise)
    assert torch.equal(plain.input_noise, plain.noise)
    assert (drawn.input_noise - drawn.noise).std().item() == pytest.approx(0.1, rel=0.02)


@pytest.mark.parametrize(
    ("schedule", "clean", "noisy"), [("constant", 0.1, 0.1), ("exponential", 1.0, 0.1), ("snr", 0.95, 0.1038)]
)
def test_the_width_of_the_huber_loss_at_both_ends(
    schedule: Literal["constant", "exponential", "snr"], clean: float, noisy: float
) -> None:
    """The ends of SD's schedule: SNR 1175.44 and 0.00468191."""
    training = Training(loss="huber", huber_c=0.1, huber_schedule=schedule)
    found = losses.huber_width(training, torch.tensor([0.0, 1.0]), torch.tensor([1175.44, 0.00468191]))
    assert found.tolist() == pytest.approx([clean, noisy], abs=2e-3)


def test_the_weights_are_multiplied_and_only_v_is_scaled_like_epsilon() -> None:
    prediction, target = torch.ones(2, 1, 1, 1), torch.zeros(2, 1, 1, 1)
    share, snr = torch.tensor([0.1, 0.9]), torch.tensor([8.4539, 0.38185])

    def loss(predicts: losses.Prediction, **settings: Any) -> list[float]:
        return losses.weighted_loss(prediction, target, share, snr, Training(**settings), predicts).tolist()

    assert loss("epsilon") == [1.0, 1.0]
    assert loss("epsilon", min_snr_gamma=5.0, debiased_estimation=True) == pytest.approx(
        [0.59145 * 8.4539**-0.5, 0.38185**-0.5], rel=1e-4
    )
    assert loss("epsilon", scale_v_loss=True) == [1.0, 1.0]
    assert loss("v", scale_v_loss=True) == pytest.approx([8.4539 / 9.4539, 0.38185 / 1.38185], rel=1e-4)


@pytest.mark.parametrize(
    ("weighting", "weights"),
    [("none", [1, 1, 1]), ("sigma_sqrt", [1e4, 4, 1]), ("cosmap", [2 / 3.14159, 4 / 3.14159, 2 / 3.14159])],
)
def test_the_weightings_of_flow_matching(weighting: Literal["none", "sigma_sqrt", "cosmap"], weights: list[float]) -> None:
    found = losses.flow_weight(torch.tensor([0.001, 0.5, 1.0]), Training(weighting=weighting))
    assert found.tolist() == pytest.approx(weights, rel=3e-3)
