"""DDPM and DDIM step by step against diffusers' schedulers; Gaussian data, where all is known."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from diffusers import DDIMInverseScheduler, DDIMScheduler, DDPMScheduler, UnCLIPScheduler
from torch import Tensor

from models.dalle2.diffusion import Denoise, Diffusion, DiffusionConfig, signal_shares
from models.dalle2.sampling import (
    Sampler,
    analytic,
    guide,
    invert,
    normal,
    reverse,
    sample,
    strided,
)

CPU = torch.device("cpu")
NAMES = {
    "cosine": "squaredcos_cap_v2",
    "linear": "linear",
    "noise": "epsilon",
    "clean": "sample",
    "velocity": "v_prediction",
    "small": "fixed_small",
    "large": "fixed_large",
    "learned": "learned_range",
}


def settings(steps: int, schedule: str, predicts: str) -> dict[str, object]:
    return {
        "num_train_timesteps": steps,
        "beta_schedule": NAMES[schedule],
        "beta_start": 1000 / steps * 1e-4,
        "beta_end": min(0.999, 1000 / steps * 0.02),
        "prediction_type": NAMES[predicts],
        "clip_sample": True,
    }


def step(
    process: Diffusion, sampler: Sampler, out: Tensor, x: Tensor, t: int, s: int, seed: int
) -> Tensor:
    """Our step, with noise of `seed`."""
    places = torch.full((len(x),), t)
    mean, deviation = reverse(process, out, x, places, torch.full_like(places, s), sampler)
    if s < 0 or (sampler.method == "ddim" and not sampler.eta):
        return mean
    return mean + deviation * normal(mean, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("variance", ["small", "large", "learned"])
def test_ddpm_steps_are_those_of_diffusers(seed: int, variance: str) -> None:
    """To 1e-5, each step from the same example, with any steps left out."""
    torch.manual_seed(seed)
    steps = int(torch.randint(40, 300, ()))
    schedule, predicts = ("cosine", "linear")[seed % 2], ("noise", "clean", "velocity")[seed % 3]
    config = DiffusionConfig(steps, schedule, predicts, variance)  # type: ignore[arg-type]
    process, sampler = Diffusion(config), Sampler(steps=(7, 3))
    taken = strided(steps, sampler.steps)
    scheduler = DDPMScheduler(
        variance_type=NAMES[variance],
        **settings(steps, schedule, predicts),  # type: ignore[arg-type]
    )
    scheduler.set_timesteps(timesteps=taken)
    x = torch.randn(2, 3, 4, 6)
    for place, (t, s) in enumerate(pairwise([*taken, -1])):
        out = torch.randn(2, 6 if variance == "learned" else 3, 4, 6)
        if variance == "learned":
            out[:, 3:].clamp_(-1, 1)
        generator = torch.Generator().manual_seed(place)
        wanted = scheduler.step(out, t, x, generator=generator).prev_sample
        found = step(process, sampler, out, x, t, s, place)
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
        x = found


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_ddim_steps_are_those_of_diffusers(seed: int, eta: float) -> None:
    """To 1e-5; diffusers' noise recomputed from the clamped example, as OpenAI's code does."""
    torch.manual_seed(seed)
    count = int(torch.randint(5, 12, ()))
    steps = count * int(torch.randint(4, 12, ()))
    schedule, predicts = ("cosine", "linear")[seed % 2], ("noise", "clean", "velocity")[seed % 3]
    process = Diffusion(DiffusionConfig(steps, schedule, predicts))  # type: ignore[arg-type]
    sampler = Sampler("ddim", eta=eta)
    scheduler = DDIMScheduler(set_alpha_to_one=True, **settings(steps, schedule, predicts))  # type: ignore[arg-type]
    scheduler.set_timesteps(count)
    x = torch.randn(2, 3, 4, 6)
    for place, (t, s) in enumerate(pairwise([*scheduler.timesteps.tolist(), -1])):
        out = torch.randn(2, 3, 4, 6)
        wanted = scheduler.step(
            out,
            t,
            x,
            eta=eta,
            use_clipped_model_output=True,
            generator=torch.Generator().manual_seed(place),
        ).prev_sample
        found = step(process, sampler, out, x, t, s, place)
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
        x = found


@pytest.mark.parametrize("seed", range(4))
def test_a_whole_chain_is_that_of_diffusers_unclip(seed: int) -> None:
    """UnCLIPScheduler, which counts its steps as `strided` does: learned variance for images (to
    1e-4 over the chain), the small bound for embeddings.
    """
    torch.manual_seed(seed)
    steps, count = int(torch.randint(60, 200, ())), int(torch.randint(5, 25, ()))
    learned = seed % 2 == 0
    config = DiffusionConfig(
        steps, predicts="noise" if learned else "clean", variance="learned" if learned else "small"
    )
    process, shape = Diffusion(config), (2, 3, 4, 4) if learned else (2, 10)
    scheduler = UnCLIPScheduler(
        num_train_timesteps=steps,
        variance_type="learned_range" if learned else "fixed_small_log",
        prediction_type="epsilon" if learned else "sample",
        clip_sample_range=1.0,
    )
    scheduler.set_timesteps(count)
    assert scheduler.timesteps.tolist() == strided(steps, (count,))
    mixing = 0.5 * torch.randn(shape[1], shape[1] * (2 if learned else 1))

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        wave = (0.01 * t.float()).cos().view(-1, *(1,) * (x.ndim - 1))
        return torch.tanh((x.movedim(1, -1) @ mixing).movedim(-1, 1) + wave)

    start = torch.randn(shape)
    x, generator = start, torch.Generator().manual_seed(9)
    for t, s in pairwise([*scheduler.timesteps.tolist(), None]):
        out = denoise(x, torch.full((2,), t))
        x = scheduler.step(out, t, x, prev_timestep=s, generator=generator).prev_sample
    found = sample(
        process, denoise, start, Sampler(steps=(count,)), torch.Generator().manual_seed(9)
    )
    torch.testing.assert_close(found, x, atol=1e-4, rtol=0)


def test_inversion_steps_are_those_of_diffusers() -> None:
    """To 1e-5, one pass a step, nothing clamped. Of a network that predicts the clean example
    diffusers divides by zero at the first step, so only the noise's is compared.
    """
    torch.manual_seed(0)
    process = Diffusion(DiffusionConfig(60, limit=None))
    scheduler = DDIMInverseScheduler(
        num_train_timesteps=60,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="epsilon",
        clip_sample=False,
        timestep_spacing="leading",
    )
    scheduler.set_timesteps(60)
    answers = torch.randn(60, 2, 3, 4, 4)
    x = clean = torch.randn(2, 3, 4, 4)
    for t in scheduler.timesteps.tolist():
        x = scheduler.step(answers[t], t, x).prev_sample
        if t == 40:
            break
    steps: list[int] = []

    def denoise(noisy: Tensor, t: Tensor) -> Tensor:
        steps.append(int(t[0]))
        if int(t[0]) == 41:
            seen.append(noisy)
        return answers[int(t[0])]

    seen: list[Tensor] = []
    invert(process, denoise, clean, Sampler("ddim", (60,)))
    assert steps == list(range(60))
    torch.testing.assert_close(seen[0], x, atol=1e-5, rtol=1e-5)


def gaussian(variance: float, config: DiffusionConfig) -> Denoise:
    """The best predictor where the data are N(0, variance)."""
    table = signal_shares(config.schedule, config.steps, CPU)

    def denoise(noisy: Tensor, t: Tensor) -> Tensor:
        a = table[t + 1].view(-1, *(1,) * (noisy.ndim - 1))
        total = a * variance + 1 - a
        noise, clean = (1 - a).sqrt() / total, a.sqrt() * variance / total
        velocity = a.sqrt() * noise - (1 - a).sqrt() * clean
        factor = {"noise": noise, "clean": clean, "velocity": velocity}[config.predicts]
        return (factor * noisy.double()).float()

    return denoise


def test_samples_have_the_variance_of_the_data() -> None:
    """DDPM in 100 steps, DDIM in 100 and the analytic variance in as few as 8, to 3 %."""
    torch.manual_seed(0)
    config = DiffusionConfig(100, limit=None, variance="analytic")
    process, share = Diffusion(config), signal_shares("cosine", 100, CPU)[1:]
    start, denoise = torch.randn(20_000, 2), gaussian(0.25, config)
    power = (1 - share) / (share * 0.25 + 1 - share)
    for sampler in (Sampler(steps=(100,)), Sampler("ddim", (100,)), Sampler(steps=(8,))):
        found = sample(process, denoise, start, sampler, power_T=power)
        assert float(found.var()) == pytest.approx(0.25, rel=0.03), sampler
    without = sample(process, denoise, start, Sampler(steps=(8,)))
    assert float(without.var()) < 0.2  # the small bound is too small for long steps


def test_the_analytic_variance_is_the_true_posteriors() -> None:
    """Of N(0, v) data the example at s given the one at t is a normal of known variance."""
    config = DiffusionConfig(50)
    process, share = Diffusion(config), signal_shares("cosine", 50, CPU)
    t, s = torch.tensor([49, 30, 11, 3]), torch.tensor([40, 10, 10, 0])
    for v in (0.1, 1.0, 2.0):
        power = (1 - share[1:]) / (share[1:] * v + 1 - share[1:])
        at_t, at_s = (share[place + 1] * v + 1 - share[place + 1] for place in (t, s))
        alpha = share[t + 1] / share[s + 1]
        wanted = at_s - alpha * at_s**2 / at_t
        found = analytic(process, torch.empty(4, 7), t, s, power)[:, 0]
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("predicts", ["noise", "clean", "velocity"])
def test_inversion_leads_back_to_the_image(predicts: str) -> None:
    torch.manual_seed(1)
    config = DiffusionConfig(200, limit=None, predicts=predicts)  # type: ignore[arg-type]
    process, denoise = Diffusion(config), gaussian(0.3, config)
    clean, sampler = torch.randn(4, 3, 4, 4), Sampler("ddim", (50,))
    errors = []
    for passes in (1, 4):
        start = invert(process, denoise, clean, sampler, passes)
        errors.append(float((sample(process, denoise, start, sampler) - clean).abs().max()))
    assert errors[0] < 0.6 and errors[1] < 0.02 * errors[0]


def test_strided_steps() -> None:
    assert strided(1000, (1000,)) == list(range(999, -1, -1))
    fast = strided(1000, (10, 10, 3, 2, 2))
    assert len(fast) == 27 and fast[:2] == [999, 800] and fast[-3:] == [44, 22, 0]
    assert strided(10, (1,)) == [0] and strided(7, (2, 2, 1)) == [5, 4, 3, 2, 0]
    for counts in ((250,), (64,), (15,)):
        taken = strided(1000, counts)
        assert taken[0] == 999 and taken[-1] == 0 and len(set(taken)) == counts[0]
    with pytest.raises(ValueError, match=r"4 steps cannot be taken of 3 \(part 1 of \(2, 4\)\)"):
        strided(7, (2, 4))


def test_guidance() -> None:
    a, b = torch.randn(2, 4, 6, 3)
    torch.testing.assert_close(guide(a, b, 1.0, 3), a)
    guided = guide(a, b, 0.0, 3)
    torch.testing.assert_close(guided[:, :3], b[:, :3])
    assert torch.equal(guided[:, 3:], a[:, 3:])
    torch.testing.assert_close(guide(a, b, 3.0, 6), a + 2 * (a - b))


def test_a_generator_decides_all_noise() -> None:
    config = DiffusionConfig(20, limit=None)
    process, denoise, start = Diffusion(config), gaussian(1.0, config), torch.randn(3, 4)

    def drawn(sampler: Sampler, seed: int) -> Tensor:
        return sample(process, denoise, start, sampler, torch.Generator().manual_seed(seed))

    noisy = Sampler("ddim", (10,), eta=1.0)
    assert torch.equal(drawn(noisy, 1), drawn(noisy, 1))
    assert not torch.allclose(drawn(noisy, 1), drawn(noisy, 2))
    quiet = replace(noisy, eta=0.0)
    assert torch.equal(drawn(quiet, 1), drawn(quiet, 2))
