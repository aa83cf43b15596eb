"""Gaussian diffusion: noise added by a schedule, and what a network learns from it.

At step t of T a clean example x_0 has become sqrt(a_t) x_0 + sqrt(1 - a_t) noise, where a_t falls
from near 1 to near 0: by a cosine (Nichol & Dhariwal 2021) or by linear betas (Ho et al. 2020). A
network reads the noisy example and answers with the noise, with the clean example (unCLIP's prior),
or with the velocity sqrt(a_t) noise - sqrt(1 - a_t) x_0; `read` turns any of them into both.

The loss is the answer's mean square error. Where the variance of the way back is learned (Nichol &
Dhariwal 2021), the network has twice the channels, the second half says how far its log-variance is
from the smaller to the larger bound of Ho et al., and the variational bound with a weight of 0.001
trains that half alone. `models.dalle2.sampling` goes the way back.

Coefficients are float64, as 1 - a_t loses half of its digits in float32, and live outside of any
module, so that a model built on the meta device needs none of them.

Shapes: B batch, X the axes of one example (an embedding has one, an image three), T steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

Denoise = Callable[[Tensor, Tensor], Tensor]  # (noisy_BX, t_B) to the network's answer
PIXEL = 2.0 / 255.0  # between two levels of an 8-bit pixel in [-1, 1]


@dataclass(frozen=True)
class DiffusionConfig:
    """The process and what the network predicts."""

    steps: int = 1000  # T
    schedule: Literal["cosine", "linear"] = "cosine"  # of a_t
    predicts: Literal["noise", "clean", "velocity"] = "noise"  # the network's answer
    variance: Literal["small", "large", "learned", "analytic"] = "small"  # of DDPM's way back
    limit: float | None = 1.0  # predicted clean examples are clamped to [-limit, limit]; None: not
    bound_weight: float = 0.001  # of T times the variational bound, where the variance is learned


class Reading(NamedTuple):
    """A network's answer, understood."""

    clean_BX: Tensor
    noise_BX: Tensor
    fraction_BX: Tensor | None  # of the way from the small to the large log-variance


@lru_cache(maxsize=64)
def signal_shares(schedule: str, steps: int, device: torch.device) -> Tensor:
    """a_t, float64, with the clean example's 1 in front: (T + 1,), entry t + 1 is step t's."""
    with torch.inference_mode(False):  # what is cached must also serve a later training step
        if schedule == "linear":
            beta = torch.linspace(1e-4, 0.02, steps, dtype=torch.float64, device=device)
            beta = (1000 / steps * beta).clamp(max=0.999)
        elif schedule == "cosine":
            u = torch.linspace(0, 1, steps + 1, dtype=torch.float64, device=device)
            height = ((u + 0.008) / 1.008 * math.pi / 2).cos().square()
            beta = (1 - height[1:] / height[:-1]).clamp(max=0.999)
        else:
            raise ValueError(f"schedule={schedule!r} must be one of cosine, linear")
        one = torch.ones(1, dtype=torch.float64, device=device)
        return torch.cat([one, (1 - beta).cumprod(0)])


def per_example(x_BX: Tensor) -> Tensor:
    """(B,): the mean over all axes but the first."""
    return x_BX.flatten(1).mean(dim=1)


class Diffusion:
    """A process; it holds no weights. `t_B` and `s_B` are int64 steps, s < t, and -1 is clean."""

    def __init__(self, config: DiffusionConfig) -> None:
        self.config = config

    def share(self, t_B: Tensor, like_BX: Tensor) -> Tensor:
        """a_t, float64, with an axis of size 1 for each of an example's."""
        config = self.config
        table_T = signal_shares(config.schedule, config.steps, t_B.device)
        return table_T[t_B + 1].view(-1, *(1,) * (like_BX.ndim - 1))

    def noised(self, clean_BX: Tensor, noise_BX: Tensor, t_B: Tensor) -> Tensor:
        """The example at step t."""
        a = self.share(t_B, clean_BX)
        return a.sqrt().float() * clean_BX + (1 - a).sqrt().float() * noise_BX

    def target(self, clean_BX: Tensor, noise_BX: Tensor, t_B: Tensor) -> Tensor:
        """What the network should answer."""
        if self.config.predicts == "noise":
            return noise_BX
        if self.config.predicts == "clean":
            return clean_BX
        a = self.share(t_B, clean_BX)
        return a.sqrt().float() * noise_BX - (1 - a).sqrt().float() * clean_BX

    def read(self, out_BX: Tensor, noisy_BX: Tensor, t_B: Tensor, clamp: bool = True) -> Reading:
        """The answer `out_BX` of a network that saw `noisy_BX` at step t, in float32."""
        out_BX, noisy_BX = out_BX.float(), noisy_BX.float()
        fraction_BX = None
        if self.config.variance == "learned":
            out_BX, fraction_BX = out_BX.chunk(2, dim=1)
            fraction_BX = (fraction_BX + 1) / 2
        a = self.share(t_B, noisy_BX)
        signal, sigma = a.sqrt().float(), (1 - a).sqrt().float()
        if self.config.predicts == "noise":
            clean_BX = (noisy_BX - sigma * out_BX) / signal
        elif self.config.predicts == "clean":
            clean_BX = out_BX
        else:
            clean_BX = signal * noisy_BX - sigma * out_BX
        if clamp and self.config.limit is not None:
            clean_BX = clean_BX.clamp(-self.config.limit, self.config.limit)
        return Reading(clean_BX, (noisy_BX - signal * clean_BX) / sigma, fraction_BX)

    def posterior(
        self, clean_BX: Tensor, noisy_BX: Tensor, t_B: Tensor, s_B: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Mean (B, X) of the example at s where both ends are known, and its variance, float64."""
        a_t, a_s = self.share(t_B, clean_BX), self.share(s_B, clean_BX)
        beta = 1 - a_t / a_s
        mean_BX = (a_s.sqrt() * beta / (1 - a_t)).float() * clean_BX
        mean_BX = mean_BX + ((1 - beta).sqrt() * (1 - a_s) / (1 - a_t)).float() * noisy_BX
        return mean_BX, (1 - a_s) / (1 - a_t) * beta

    def log_variance(
        self, like_BX: Tensor, t_B: Tensor, s_B: Tensor, fraction_BX: Tensor | None = None
    ) -> Tensor:
        """Of the way back from t to s, float32: between the bounds where `fraction_BX` is given,
        else the small bound.

        The small bound is 0 where s is clean; the one of step 1 stands in, as in Nichol &
        Dhariwal's code (its logarithm, -inf, makes the gradient NaN).
        """
        a_t, a_s = self.share(t_B, like_BX), self.share(s_B, like_BX)
        first = torch.zeros_like(t_B)
        a_0, a_1 = self.share(first, like_BX), self.share(first + 1, like_BX)
        beta = 1 - a_t / a_s
        last = (s_B < 0).view_as(a_t)
        one = (1 - a_0) / (1 - a_1) * (1 - a_1 / a_0)
        small = torch.where(last, one, (1 - a_s) / (1 - a_t) * beta).log().float()
        if fraction_BX is None:
            return small
        return fraction_BX * beta.log().float() + (1 - fraction_BX) * small

    def losses(self, denoise: Denoise, clean_BX: Tensor) -> dict[str, Tensor]:
        """The mean square error at a random step, noise and step by torch's global generator.

        With a learned variance `loss` has `bound_weight` T times the variational bound on top
        (bits a number, over the step drawn), in which the mean is held fixed. Keys: `loss`,
        `square`, and then `bound`.
        """
        t_B = torch.randint(self.config.steps, (len(clean_BX),), device=clean_BX.device)
        noise_BX = torch.randn_like(clean_BX)
        noisy_BX = self.noised(clean_BX, noise_BX, t_B)
        out_BX = denoise(noisy_BX, t_B).float()
        answer_BX = out_BX[:, : clean_BX.shape[1]]
        square = F.mse_loss(answer_BX, self.target(clean_BX, noise_BX, t_B))
        if self.config.variance != "learned":
            return {"loss": square, "square": square.detach()}
        fraction_BX = out_BX[:, clean_BX.shape[1] :]
        fixed_BX = torch.cat([answer_BX.detach(), fraction_BX], dim=1)
        bound = self.bound(fixed_BX, clean_BX, noisy_BX, t_B).mean()
        loss = square + self.config.bound_weight * self.config.steps * bound
        return {"loss": loss, "square": square.detach(), "bound": bound.detach()}

    def bound(self, out_BX: Tensor, clean_BX: Tensor, noisy_BX: Tensor, t_B: Tensor) -> Tensor:
        """(B,), the variational bound's term of step t, bits a number, with a learned variance.

        At step 0 it is the negative log-likelihood of the 8-bit pixel, before it the divergence
        from the posterior.
        """
        read = self.read(out_BX, noisy_BX, t_B, clamp=False)
        true_BX, _ = self.posterior(clean_BX, noisy_BX, t_B, t_B - 1)
        mean_BX, _ = self.posterior(read.clean_BX, noisy_BX, t_B, t_B - 1)
        true_log = self.log_variance(clean_BX, t_B, t_B - 1)
        log_BX = self.log_variance(clean_BX, t_B, t_B - 1, read.fraction_BX)
        square_BX = (true_BX - mean_BX).square()
        gap_BX = true_log - log_BX
        divergence_BX = 0.5 * (-1 - gap_BX + gap_BX.exp() + square_BX * (-log_BX).exp())
        surprise_BX = -pixel_log_likelihood(clean_BX, mean_BX, 0.5 * log_BX)
        bits_BX = torch.where((t_B == 0).view_as(true_log), surprise_BX, divergence_BX)
        return per_example(bits_BX) / math.log(2)


def pixel_log_likelihood(clean_BX: Tensor, mean_BX: Tensor, log_deviation_BX: Tensor) -> Tensor:
    """Natural log of the normal's mass within half a pixel level of `clean_BX`; the lowest and the
    highest level have the whole tail.
    """
    scale_BX = (-log_deviation_BX).exp()
    upper_BX = torch.special.ndtr((clean_BX - mean_BX + PIXEL / 2) * scale_BX)
    lower_BX = torch.special.ndtr((clean_BX - mean_BX - PIXEL / 2) * scale_BX)
    upper_BX = torch.where(clean_BX > 0.999, torch.ones_like(upper_BX), upper_BX)
    lower_BX = torch.where(clean_BX < -0.999, torch.zeros_like(lower_BX), lower_BX)
    return (upper_BX - lower_BX).clamp(min=1e-12).log()
