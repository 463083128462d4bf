"""The numbers that training is made of: schedule, noise, weights."""

from __future__ import annotations

import pytest
import torch

from loratui.engine.training import losses, noise
from loratui.engine.training.families.sd15 import Sd15


def at(family: Sd15, t: int) -> torch.Tensor:
    """SNR of one timestep as the family gives it."""
    one = torch.ones(1, 4, 2, 2)
    noised = family.add_noise(one, one, torch.tensor([(t + 0.5) / 1000]))
    assert noised.timesteps.item() == t
    assert noised.snr is not None
    return noised.snr


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
    noised = family.add_noise(latents, eps, (t + 0.5) / 1000)
    assert torch.allclose(noised.model_input, reference.add_noise(latents, eps, t), atol=1e-6)
    assert noised.target is eps
    family.prediction = "v"
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
    assert not torch.equal(first.noise[0], first.noise[1]), "pictures of a batch must not share their noise"


def test_offset_noise_has_the_right_spread() -> None:
    drawn = noise.draw((400, 4, 32, 32), seed=1, micro_step=0, offset=0.1).noise
    assert drawn.var().item() == pytest.approx(1.01, abs=0.01)
    assert drawn.mean((2, 3)).std().item() == pytest.approx((0.1**2 + 1 / 1024) ** 0.5, abs=0.01)


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
