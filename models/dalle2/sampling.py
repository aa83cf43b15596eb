"""The way back from noise, by a network's answers: DDPM and DDIM, in as many steps as one likes.

From step t to an earlier s, with s = -1 the clean example. DDPM (Ho et al. 2020) draws from the
posterior; its variance is the smaller or the larger bound of that paper, interpolated between their
logarithms by the network (Nichol & Dhariwal 2021), or Analytic-DPM's (Bao et al. 2022), which needs
the mean square of the predicted noise at each step. DDIM (Song et al. 2021) has eta times the
deviation of the smaller bound; with eta 0 nothing is drawn, and the way can be gone backwards.

Shapes: B batch, X the axes of one example (an embedding has one, an image three), T steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from models.dalle2.diffusion import Denoise, Diffusion


@dataclass(frozen=True)
class Sampler:
    """How to go back from noise."""

    method: Literal["ddpm", "ddim"] = "ddpm"
    steps: tuple[int, ...] = (250,)  # steps taken in each of as many equal parts of the process
    eta: float = 0.0  # DDIM's noise: 0 none, 1 as much as DDPM's
    guidance: float = 1.0  # scale of the difference that the condition makes


def strided(steps: int, counts: Sequence[int]) -> list[int]:
    """The steps that a sampler takes, descending: the process in `len(counts)` equal parts, and in
    each part that many steps, evenly, its first and last among them.

    (10, 10, 3, 2, 2) of 1000 is GLIDE's "fast27". Raises ValueError for more steps than there are.
    """
    size, left = divmod(steps, len(counts))
    taken: list[int] = []
    first = 0
    for part, count in enumerate(counts):
        length = size + (part < left)
        if not 1 <= count <= length:
            raise ValueError(f"{count} steps cannot be taken of {length} (part {part} of {counts})")
        gap = (length - 1) / max(1, count - 1)
        taken += [first + round(gap * place) for place in range(count)]
        first += length
    return taken[::-1]


def guide(with_BX: Tensor, without_BX: Tensor, scale: float, channels: int) -> Tensor:
    """Classifier-free guidance (Ho & Salimans 2022): without + scale (with - without) in the first
    `channels` of axis 1; the rest, a learned variance, is the conditional model's.
    """
    a_BX, b_BX = with_BX[:, :channels], without_BX[:, :channels]
    return torch.cat([b_BX + scale * (a_BX - b_BX), with_BX[:, channels:]], dim=1)


def normal(like_BX: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Standard normal noise of the shape and on the device of `like_BX`, float32."""
    return torch.randn(like_BX.shape, generator=generator, device=like_BX.device)


def analytic(
    process: Diffusion, like_BX: Tensor, t_B: Tensor, s_B: Tensor, power_T: Tensor
) -> Tensor:
    """Analytic-DPM's variance: the small bound, and what the noise left unpredicted adds.

    `power_T` is the mean square of the predicted noise at each step; 1, its greatest value,
    gives the small bound.
    """
    a_t, a_s = process.share(t_B, like_BX), process.share(s_B, like_BX)
    beta = 1 - a_t / a_s
    unknown = 1 - power_T.to(a_t)[t_B].view_as(a_t).clamp(0, 1)
    more = beta.square() / ((1 - beta) * (1 - a_t)) * unknown
    return (1 - a_s) / (1 - a_t) * beta + more


def reverse(
    process: Diffusion,
    out_BX: Tensor,
    noisy_BX: Tensor,
    t_B: Tensor,
    s_B: Tensor,
    sampler: Sampler,
    power_T: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Mean and deviation, float32, of the example at s, by the network's answer at t."""
    read = process.read(out_BX, noisy_BX, t_B)
    a_t, a_s = process.share(t_B, noisy_BX), process.share(s_B, noisy_BX)
    mean_BX, small = process.posterior(read.clean_BX, noisy_BX.float(), t_B, s_B)
    if sampler.method == "ddim":
        variance = sampler.eta**2 * small
        mean_BX = a_s.sqrt().float() * read.clean_BX
        mean_BX = mean_BX + (1 - a_s - variance).clamp(min=0).sqrt().float() * read.noise_BX
    elif read.fraction_BX is not None:
        log_variance_BX = process.log_variance(noisy_BX, t_B, s_B, read.fraction_BX)
        return mean_BX, (0.5 * log_variance_BX).exp()
    elif process.config.variance == "large":
        variance = 1 - a_t / a_s
    elif process.config.variance == "analytic" and power_T is not None:
        variance = analytic(process, noisy_BX, t_B, s_B, power_T)
    else:
        variance = small
    return mean_BX, variance.sqrt().float().expand_as(mean_BX)


@torch.no_grad()
def sample(
    process: Diffusion,
    denoise: Denoise,
    start_BX: Tensor,
    sampler: Sampler,
    generator: torch.Generator | None = None,
    power_T: Tensor | None = None,
) -> Tensor:
    """Clean examples from `start_BX`, which is noise (or an example of the last step taken)."""
    taken = [*strided(process.config.steps, sampler.steps), -1]
    x_BX = start_BX.float()
    for t, s in pairwise(taken):
        t_B = torch.full((len(x_BX),), t, device=x_BX.device)
        s_B = torch.full_like(t_B, s)
        out_BX = denoise(x_BX, t_B)
        x_BX, deviation_BX = reverse(process, out_BX, x_BX, t_B, s_B, sampler, power_T)
        if s >= 0 and (sampler.method == "ddpm" or sampler.eta):
            x_BX = x_BX + deviation_BX * normal(x_BX, generator)
    return x_BX


@torch.no_grad()
def invert(
    process: Diffusion, denoise: Denoise, clean_BX: Tensor, sampler: Sampler, passes: int = 1
) -> Tensor:
    """The start from which DDIM with eta 0 comes back to `clean_BX`, step by step.

    Each step needs the noise that is predicted where it ends; it is taken from where it begins,
    and with more `passes` improved from where the last pass ended.
    """
    taken = [*strided(process.config.steps, sampler.steps), -1][::-1]
    x_BX = clean_BX.float()
    for s, t in pairwise(taken):
        t_B = torch.full((len(x_BX),), t, device=x_BX.device)
        a_s, a_t = process.share(torch.full_like(t_B, s), x_BX), process.share(t_B, x_BX)
        there_BX = x_BX
        for _ in range(passes):
            noise_BX = _noise_at(process, denoise(there_BX, t_B), there_BX, t_B)
            bare_BX = (x_BX - (1 - a_s).sqrt().float() * noise_BX) * (a_t / a_s).sqrt().float()
            there_BX = bare_BX + (1 - a_t).sqrt().float() * noise_BX
        x_BX = there_BX
    return x_BX


def _noise_at(process: Diffusion, out_BX: Tensor, noisy_BX: Tensor, t_B: Tensor) -> Tensor:
    """The predicted noise; directly where the network predicts it, which is more exact."""
    if process.config.predicts == "noise":
        return out_BX.float()[:, : noisy_BX.shape[1]]
    return process.read(out_BX, noisy_BX, t_B, clamp=False).noise_BX
