"""The process against diffusers' schedulers and against torch's own distributions."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers import DDPMScheduler
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from models.dalle2.diffusion import Diffusion, DiffusionConfig, pixel_log_likelihood, signal_shares

CPU = torch.device("cpu")
THEIR_NAMES = {
    "cosine": "squaredcos_cap_v2",
    "linear": "linear",
    "noise": "epsilon",
    "clean": "sample",
    "velocity": "v_prediction",
}


def draw(seed: int) -> tuple[int, str, str]:
    """Steps, schedule and what is predicted."""
    steps = int(torch.randint(30, 1001, (), generator=torch.Generator().manual_seed(seed)))
    return steps, ("cosine", "linear")[seed % 2], ("noise", "clean", "velocity")[seed % 3]


def theirs(steps: int, schedule: str, predicts: str, **settings: object) -> DDPMScheduler:
    return DDPMScheduler(
        num_train_timesteps=steps,
        beta_schedule=THEIR_NAMES[schedule],
        beta_start=1000 / steps * 1e-4,
        beta_end=min(0.999, 1000 / steps * 0.02),
        prediction_type=THEIR_NAMES[predicts],
        **settings,
    )


@pytest.mark.parametrize("seed", range(6))
def test_noised_examples_and_targets_are_those_of_diffusers(seed: int) -> None:
    """To 1e-5, at random steps and at both ends."""
    torch.manual_seed(seed)
    steps, schedule, predicts = draw(seed)
    process = Diffusion(DiffusionConfig(steps, schedule, predicts))  # type: ignore[arg-type]
    scheduler = theirs(steps, schedule, predicts)
    clean, noise = torch.randn(2, 9, 3, 4, 6)
    t = torch.cat([torch.tensor([0, steps - 1]), torch.randint(steps, (7,))])
    noisy = process.noised(clean, noise, t)
    torch.testing.assert_close(noisy, scheduler.add_noise(clean, noise, t), atol=1e-5, rtol=0)
    wanted = {"noise": noise, "clean": clean}.get(predicts)
    if wanted is None:
        wanted = scheduler.get_velocity(clean, noise, t)
    target = process.target(clean, noise, t)
    torch.testing.assert_close(target, wanted, atol=1e-5, rtol=0)
    read = process.read(target, noisy, t, clamp=False)
    share = signal_shares(schedule, steps, CPU)[t + 1].float().view(-1, 1, 1, 1)
    atol = 1e-5  # of the part that each makes of the noisy example
    torch.testing.assert_close(
        share.sqrt() * read.clean_BX, share.sqrt() * clean, atol=atol, rtol=0
    )
    rest = (1 - share).sqrt()
    torch.testing.assert_close(rest * read.noise_BX, rest * noise, atol=atol, rtol=0)


def test_the_signal_fades_from_all_to_nothing() -> None:
    for schedule in ("cosine", "linear"):
        share = signal_shares(schedule, 1000, CPU)
        assert share.shape == (1001,) and float(share[0]) == 1.0
        assert bool((share[1:] < share[:-1]).all())
        assert float(share[-1]) < 1e-4
    with pytest.raises(ValueError, match="schedule='sqrt' must be one of cosine, linear"):
        signal_shares("sqrt", 10, CPU)


def test_a_schedule_first_used_in_inference_serves_training() -> None:
    signal_shares.cache_clear()
    process = Diffusion(DiffusionConfig(37))
    x, t = torch.randn(2, 3), torch.tensor([0, 36])
    with torch.inference_mode():
        process.noised(x, x, t)
    weight = torch.ones(3, requires_grad=True)
    process.noised(x * weight, x, t).sum().backward()
    assert weight.grad is not None and bool((weight.grad != 0).all())


def test_predictions_are_clamped_and_the_noise_follows() -> None:
    process = Diffusion(DiffusionConfig(100, limit=0.5))
    noisy, t = 3 * torch.randn(4, 5), torch.tensor([99, 60, 30, 1])
    read = process.read(torch.randn(4, 5), noisy, t)
    assert float(read.clean_BX.abs().max()) <= 0.5
    torch.testing.assert_close(process.noised(read.clean_BX, read.noise_BX, t), noisy)


def plain_bound(process: Diffusion, out: Tensor, clean: Tensor, noisy: Tensor, t: int) -> Tensor:
    """Bits of the bound's term, from the definition, in float64."""
    share = signal_shares(process.config.schedule, process.config.steps, CPU)
    a_t, a_s = share[t + 1], share[t]
    beta = 1 - a_t / a_s
    eps, v = out.double().chunk(2)

    def mean(x: Tensor) -> Tensor:
        of_clean = a_s.sqrt() * beta / (1 - a_t) * x
        return of_clean + (1 - beta).sqrt() * (1 - a_s) / (1 - a_t) * noisy.double()

    u, s = (t, t - 1) if t else (1, 0)  # step 0 borrows the small bound of step 1
    small = (1 - share[s + 1]) / (1 - share[u + 1]) * (1 - share[u + 1] / share[s + 1])
    deviation = (0.5 * ((v + 1) / 2 * beta.log() + (1 - v) / 2 * small.log())).exp()
    model = Normal(mean((noisy.double() - (1 - a_t).sqrt() * eps) / a_t.sqrt()), deviation)
    if t:
        terms = kl_divergence(Normal(mean(clean.double()), small.sqrt()), model)
    else:
        upper, lower = model.cdf(clean.double() + 1 / 255), model.cdf(clean.double() - 1 / 255)
        upper = torch.where(clean > 0.999, 1.0, upper)
        lower = torch.where(clean < -0.999, 0.0, lower)
        terms = -(upper - lower).clamp(min=1e-12).log()
    return terms.mean() / math.log(2)


@pytest.mark.parametrize("seed", range(3))
def test_the_bound_is_that_of_torch_distributions(seed: int) -> None:
    """To 1e-4 relatively, step 0 and images at the ends of the pixel range among them."""
    torch.manual_seed(seed)
    steps, schedule, _ = draw(seed)
    process = Diffusion(DiffusionConfig(steps, schedule, variance="learned"))  # type: ignore[arg-type]
    clean = (torch.randint(0, 256, (5, 3, 4, 2)) / 127.5 - 1).clamp(-1, 1)
    clean[:, :, 0], clean[:, :, 1] = 1.0, -1.0
    t = torch.cat([torch.tensor([0, 1, steps - 1]), torch.randint(steps, (2,))])
    noise = torch.randn_like(clean)
    noisy = process.noised(clean, noise, t)
    out = torch.cat([noise + 0.1 * torch.randn_like(clean), torch.randn_like(clean)], dim=1)
    found = process.bound(out, clean, noisy, t)
    for row in range(5):
        wanted = plain_bound(process, out[row], clean[row], noisy[row], int(t[row]))
        torch.testing.assert_close(found[row].double(), wanted, rtol=1e-4, atol=1e-4)


def test_the_mass_of_all_pixel_levels_is_one() -> None:
    levels = torch.arange(256) / 127.5 - 1
    for mean, deviation in ((0.0, 0.3), (0.9, 0.2), (-1.2, 0.05)):
        log = pixel_log_likelihood(levels, torch.tensor(mean), torch.tensor(math.log(deviation)))
        assert float(log.exp().sum()) == pytest.approx(1.0, abs=1e-4)


def test_the_bound_trains_the_variance_and_not_the_mean() -> None:
    torch.manual_seed(0)
    clean = torch.rand(64, 3, 2, 2) * 2 - 1
    for weight in (0.001, 0.0):
        torch.manual_seed(1)
        process = Diffusion(DiffusionConfig(4, variance="learned", bound_weight=weight))
        answer = torch.zeros(1, 6, 2, 2, requires_grad=True)
        losses = process.losses(lambda noisy, t, a=answer: a.expand(len(t), -1, -1, -1), clean)
        losses["loss"].backward()
        assert answer.grad is not None and bool(answer.grad.isfinite().all())
        if weight:
            mean_gradient = answer.grad[:, :3]
            assert bool((answer.grad[:, 3:] != 0).all())
            expected = losses["square"] + weight * 4 * losses["bound"]
            torch.testing.assert_close(losses["loss"].detach(), expected)
        else:
            assert bool((answer.grad[:, 3:] == 0).all())
            torch.testing.assert_close(answer.grad[:, :3], mean_gradient)


def test_the_loss_is_the_square_error_of_the_target() -> None:
    for predicts in ("noise", "clean", "velocity"):
        process = Diffusion(DiffusionConfig(50, predicts=predicts))  # type: ignore[arg-type]
        clean, seen = torch.randn(8, 5), []

        def denoise(noisy: Tensor, t: Tensor, seen: list[tuple[Tensor, Tensor]] = seen) -> Tensor:
            seen.append((noisy, t))
            return torch.zeros_like(noisy)

        loss = process.losses(denoise, clean)["loss"]
        noisy, t = seen[0]
        share = signal_shares("cosine", 50, CPU)[t + 1].float()[:, None]
        noise = (noisy - share.sqrt() * clean) / (1 - share).sqrt()
        torch.testing.assert_close(loss, process.target(clean, noise, t).square().mean())
