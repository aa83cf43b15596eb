"""The resampler against flamingo-pytorch's and IDEFICS's; times of frames; padding of videos."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import IdeficsConfig
from transformers.models.idefics.perceiver import IdeficsPerceiverResampler

from models.flamingo.flamingo import FLAMINGO_3B
from models.flamingo.resampler import Resampler, ResamplerConfig
from models.layers.block import squared_relu
from tests.models.drawing import randomise

NAMES = {
    "latents_RC": "latents",
    "norm_after.": "norm.",
    ".norm_media.": ".0.norm_media.",
    ".norm_1.": ".0.norm_latents.",
    ".attention.q.": ".0.to_q.",
    ".attention.kv.": ".0.to_kv.",
    ".attention.out.": ".0.to_out.",
    ".norm_2.": ".1.0.",
    ".mlp.up.": ".1.1.",
    ".mlp.down.": ".1.3.",
}
IDEFICS = {
    "latents_RC": "latents",
    "norm_after.": "layer_norm.",
    "layers.": "blocks.",
    ".norm_media.": ".0.context_layer_norm.",
    ".norm_1.": ".0.latents_layer_norm.",
    ".attention.q.": ".0.q_proj.",
    ".attention.out.": ".0.output_proj.",
    ".norm_2.": ".1.ln.",
    ".mlp.up.": ".1.fc.",
    ".mlp.down.": ".1.c_proj.",
}


class SquaredReLU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return squared_relu(x)


def renamed(model: nn.Module, names: dict[str, str]) -> dict[str, Tensor]:
    """Another's names for our weights."""
    out = {}
    for name, tensor in model.state_dict().items():
        key = name
        for ours, theirs in names.items():
            key = key.replace(ours, theirs)
        out[key] = tensor
    return out


def drawn(seed: int, **settings: Any) -> ResamplerConfig:
    dice = random.Random(seed)
    return ResamplerConfig(
        width=dice.choice([12, 20, 24]),
        depth=dice.choice([1, 2, 3]),
        heads=dice.choice([2, 3]),
        head_width=dice.choice([4, 6]),
        latents=dice.choice([1, 3, 5]),
        times=dice.choice([2, 4]),
        **settings,
    )


@pytest.mark.parametrize("activation", ["gelu", "squared_relu"])
@pytest.mark.parametrize("seed", range(4))
def test_is_that_of_flamingo_pytorch(
    seed: int, activation: str, every_weight_shows: Callable[..., None]
) -> None:
    flamingo_pytorch = pytest.importorskip("flamingo_pytorch")
    torch.manual_seed(seed)
    ours = Resampler(drawn(seed, activation=activation)).eval()
    randomise(ours)
    config = ours.config
    theirs = flamingo_pytorch.PerceiverResampler(
        dim=config.width,
        depth=config.depth,
        dim_head=config.head_width,
        heads=config.heads,
        num_latents=config.latents,
        num_media_embeds=3,
    ).eval()
    if activation == "squared_relu":
        for layer in theirs.layers:
            layer[1][2] = SquaredReLU()
    state = renamed(ours, NAMES)
    # theirs numbers the images of a row and has no frames: all are given the first time here
    state["media_pos_emb"] = state.pop("times_TC")[:1].expand(3, 1, -1)
    theirs.load_state_dict(state)
    media = torch.randn(2, 3, 7, config.width)
    found = ours(media.flatten(0, 1)[:, None]).unflatten(0, (2, 3))
    torch.testing.assert_close(found, theirs(media), atol=1e-4, rtol=0)
    # a video is its frames side by side, each with its time
    frames = config.times
    video = torch.randn(2, frames, 5, config.width)
    timed = video + ours.times_TC[:, None]
    theirs.media_pos_emb.data.zero_()
    wanted = theirs(timed.flatten(1, 2)[:, None])[:, 0]
    torch.testing.assert_close(ours(video), wanted, atol=1e-4, rtol=0)
    every_weight_shows(ours, lambda: ours(video))


@pytest.mark.parametrize("seed", range(3))
def test_is_that_of_idefics(seed: int) -> None:
    torch.manual_seed(seed)
    ours = Resampler(replace(drawn(seed, activation="relu"), times=0)).eval()
    randomise(ours)
    config = ours.config
    theirs = IdeficsPerceiverResampler(
        IdeficsConfig(vision_config={"embed_dim": config.width}),
        config.width,
        config.depth,
        config.heads,
        config.head_width,
        config.latents,
    ).eval()
    state = renamed(ours, IDEFICS)
    for name in [name for name in state if ".attention.kv." in name]:
        k, v = state.pop(name).chunk(2)
        state[name.replace(".attention.kv.", ".0.k_proj.")] = k
        state[name.replace(".attention.kv.", ".0.v_proj.")] = v
    theirs.load_state_dict(state)
    media = torch.randn(2, 6, config.width)
    torch.testing.assert_close(ours(media[:, None]), theirs(media), atol=1e-4, rtol=0)


@pytest.mark.parametrize("frames", [1, 2, 5, 8, 9, 16, 30])
def test_times_are_learned_up_to_eight_and_interpolated_beyond(frames: int) -> None:
    model = Resampler(ResamplerConfig(12, 1, 2))
    assert model.times_TC is not None
    found = model.times(frames, torch.tensor([frames]))[0]
    if frames <= 8:
        assert torch.equal(found, model.times_TC[:frames])
    else:
        wanted = nn.functional.interpolate(
            model.times_TC.T[None], size=frames, mode="linear", align_corners=True
        )[0].T
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
    assert torch.equal(found[0], model.times_TC[0])


def test_images_and_videos_of_any_length_stand_together() -> None:
    torch.manual_seed(0)
    model = Resampler(ResamplerConfig(12, 2, 2, latents=3, times=4)).eval()
    randomise(model)
    media, frames = torch.randn(4, 7, 5, 12), torch.tensor([1, 3, 7, 4])
    together = model(media, frames)
    for row, count in enumerate(frames.tolist()):
        alone = model(media[row : row + 1, :count])
        torch.testing.assert_close(together[row], alone[0], atol=1e-5, rtol=0)
    swapped = model(media[2:3].flip(1))
    assert float((swapped - together[2]).detach().abs().max()) > 1e-2  # order matters
    assert torch.equal(model(media), model(media, torch.full((4,), 7)))


def test_gradients_reach_every_weight_and_bfloat16_is_near() -> None:
    torch.manual_seed(1)
    model = Resampler(ResamplerConfig(16, 2, 2, latents=3, times=4))
    media = torch.randn(2, 6, 5, 16)
    exact = model(media, torch.tensor([6, 2]))
    exact.square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
    with torch.autocast("cpu", torch.bfloat16):
        mixed = model(media, torch.tensor([6, 2]))
    torch.testing.assert_close(mixed.float(), exact, atol=0.1, rtol=0)
    half = model.to(torch.bfloat16)(media.bfloat16(), torch.tensor([6, 2]))
    torch.testing.assert_close(half.float(), exact, atol=0.1, rtol=0)


def test_the_papers_size() -> None:
    with torch.device("meta"):
        model = Resampler(FLAMINGO_3B.resampler)
    assert sum(parameter.numel() for parameter in model.parameters()) == 170_038_272
