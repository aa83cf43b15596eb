"""The diffusion prior against diffusers' PriorTransformer; cached steps; what its sampler does."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from diffusers import PriorTransformer
from torch import Tensor, nn

from models.dalle2.diffusion import DiffusionConfig
from models.dalle2.diffusion_prior import (
    DIFFUSION_PRIOR_1B,
    DiffusionPrior,
    DiffusionPriorConfig,
    nearest,
)
from models.dalle2.sampling import Sampler, strided
from models.dalle2.text_prefix import Text
from tests.models.drawing import randomise


def draw(seed: int) -> DiffusionPriorConfig:
    g = torch.Generator().manual_seed(seed)

    def among(*choices: int) -> int:
        return choices[int(torch.randint(len(choices), (), generator=g))]

    embedding, heads = among(6, 10, 16), among(1, 2, 4)
    return DiffusionPriorConfig(
        embedding=embedding,
        text_width=embedding,  # theirs has one width for both
        text_length=among(1, 5, 9),
        width=heads * among(4, 8),
        depth=among(1, 2, 3),
        heads=heads,
        diffusion=DiffusionConfig(60, predicts="clean", variance="analytic", limit=None),
        sampler=Sampler(steps=(6,)),
    )


def captions(config: DiffusionPriorConfig, lengths: list[int], longest: int | None = None) -> Text:
    """Random captions of these lengths; padding is random, too."""
    longest = longest or max(lengths)
    real = torch.arange(longest) < torch.tensor(lengths)[:, None]
    features = torch.randn(len(lengths), longest, config.text_width)
    return Text(features, real, torch.randn(len(lengths), config.embedding))


def to_diffusers(model: DiffusionPrior) -> dict[str, Tensor]:
    """diffusers' names for our weights."""
    names = {
        "prefix.features.": "encoder_hidden_states_proj.",
        "prefix.embedding.": "embedding_proj.",
        "time.up.": "time_embedding.linear_1.",
        "time.down.": "time_embedding.linear_2.",
        "noisy.": "proj_in.",
        "norm_after.": "norm_out.",
        "out.": "proj_to_clip_embeddings.",
        "transformer.blocks.": "transformer_blocks.",
    }
    inside = {
        "norm_1.": "norm1.",
        "norm_2.": "norm3.",
        "attention.out.": "attn1.to_out.0.",
        "mlp.up.": "ff.net.0.proj.",
        "mlp.down.": "ff.net.2.",
    }
    out = {}
    for name, tensor in model.state_dict().items():
        for ours, theirs in names.items():
            if not name.startswith(ours):
                continue
            key = theirs + name[len(ours) :]
            for part, other in inside.items():
                key = key.replace(part, other)
            if ".attention.qkv." in key:
                for letter, part_of in zip("qkv", tensor.chunk(3), strict=True):
                    out[key.replace(".attention.qkv.", f".attn1.to_{letter}.")] = part_of
            else:
                out[key] = tensor
    places = [model.prefix.positions.table_LD, model.positions.table_LD]
    out["positional_embedding"] = torch.cat(places)[None]
    out["prd_embedding"] = model.query_D.view(1, 1, -1)
    none = torch.zeros(1, model.config.embedding)  # not part of the network
    return {**out, "clip_mean": none, "clip_std": none}


@pytest.mark.parametrize("seed", range(5))
def test_answers_are_those_of_diffusers(seed: int, every_weight_shows: Callable[..., None]) -> None:
    """To 1e-4. Theirs takes captions padded to the context with a mask (without one it forgets that
    it is causal); ours takes them trimmed to the longest.
    """
    torch.manual_seed(seed)
    config = draw(seed)
    ours = DiffusionPrior(config).eval()
    randomise(ours)
    theirs = PriorTransformer(
        num_attention_heads=config.heads,
        attention_head_dim=config.width // config.heads,
        num_layers=config.depth,
        embedding_dim=config.embedding,
        num_embeddings=config.text_length,
        additional_embeddings=4,
    ).eval()
    theirs.load_state_dict(to_diffusers(ours))
    most = config.text_length
    lengths = [max(1, most - 2), 1, most][: 1 + seed % 3]
    text = captions(config, lengths, most)
    noisy, t = torch.randn(len(lengths), config.embedding), torch.randint(60, (len(lengths),))
    wanted = theirs(
        noisy,
        t,
        proj_embedding=text.embedding_BE,
        encoder_hidden_states=text.features_BTC,
        attention_mask=text.real_BT.float(),
    ).predicted_image_embedding
    longest = max(lengths)
    trimmed = Text(text.features_BTC[:, :longest], text.real_BT[:, :longest], text.embedding_BE)
    torch.testing.assert_close(ours.answer(noisy, t, trimmed), wanted, atol=1e-4, rtol=0)
    torch.testing.assert_close(ours.answer(noisy, t, text), wanted, atol=1e-4, rtol=0)
    other = ("noise_power_T", "prefix.no_embedding_D")
    every_weight_shows(ours, lambda: ours.answer(noisy, t, text), unread=other)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_cached_steps_are_the_whole_sequences(seed: int, guidance: float) -> None:
    """To 1e-5, one after another from the same cache, with padding and dropped captions."""
    torch.manual_seed(seed)
    config = draw(seed)
    model = DiffusionPrior(config).eval()
    randomise(model)
    text = captions(config, [config.text_length, 1, max(1, config.text_length - 1)])
    denoise = model.denoiser(text, guidance)
    for step in (59, 30, 0):
        noisy, t = torch.randn(3, config.embedding), torch.full((3,), step)
        wanted = model.answer(noisy, t, text)
        if guidance != 1.0:
            without = model.answer(noisy, t, text, torch.zeros(3, dtype=torch.bool))
            wanted = without + guidance * (wanted - without)
        torch.testing.assert_close(denoise(noisy, t), wanted, atol=1e-5, rtol=1e-4)


def test_a_dropped_caption_leaves_nothing_behind() -> None:
    torch.manual_seed(2)
    config = replace(draw(2), text_length=6)
    model = DiffusionPrior(config).eval()
    randomise(model)
    noisy, t = torch.randn(1, config.embedding).expand(4, -1), torch.full((4,), 7)
    text, kept = captions(config, [6, 4, 1, 3]), torch.tensor([True, False, False, False])
    found = model.answer(noisy, t, text, kept)
    assert bool(found.isfinite().all())
    torch.testing.assert_close(found[1:], found[1:2].expand(3, -1), atol=1e-5, rtol=0)
    assert not torch.allclose(found[0], found[1], atol=1e-2)


def test_guidance_one_is_the_conditional_model() -> None:
    torch.manual_seed(3)
    config = draw(3)
    model = DiffusionPrior(config).eval()
    randomise(model)
    text = captions(config, [config.text_length] * 2)
    noisy, t = torch.randn(2, config.embedding), torch.tensor([4, 4])
    near_one = model.denoiser(text, 1.0 + 1e-6)(noisy, t)
    torch.testing.assert_close(model.denoiser(text)(noisy, t), near_one, atol=1e-4, rtol=1e-4)


def test_the_candidate_nearest_to_the_caption_is_kept() -> None:
    torch.manual_seed(4)
    config = replace(draw(4), candidates=5)
    model = DiffusionPrior(config).eval()
    randomise(model)
    text = captions(config, [1, config.text_length])
    generator = torch.Generator().manual_seed(1)
    found = model.sample(text, generator=generator)
    norm = math.sqrt(config.embedding)
    torch.testing.assert_close(found.norm(dim=1), torch.full((2,), norm))
    many = text.repeat(5)
    alone = DiffusionPrior(replace(config, candidates=1)).eval()
    alone.load_state_dict(model.state_dict())
    every = alone.sample(many, generator=torch.Generator().manual_seed(1)).view(2, 5, -1)
    dots = (every * text.embedding_BE[:, None]).sum(dim=-1)
    for row in range(2):
        torch.testing.assert_close(found[row], every[row, dots[row].argmax()])
    assert torch.equal(nearest(every, text.embedding_BE), found)


def test_it_learns_what_belongs_to_a_caption() -> None:
    """Two captions, an embedding each: samples go where they should; noise power is measured."""
    torch.manual_seed(5)
    config = DiffusionPriorConfig(
        embedding=8,
        text_width=8,
        text_length=3,
        width=32,
        depth=1,
        heads=2,
        diffusion=DiffusionConfig(50, predicts="clean", variance="analytic", limit=None),
        sampler=Sampler(steps=(10,)),
    )
    model = DiffusionPrior(config)
    wanted = math.sqrt(8) * nn.functional.normalize(torch.randn(2, 8), dim=1)
    text = captions(config, [3, 2])
    batch = {
        "image_embedding": wanted.repeat(16, 1),
        "text_features": text.features_BTC.repeat(16, 1, 1),
        "text_real": text.real_BT.repeat(16, 1),
        "text_embedding": text.embedding_BE.repeat(16, 1),
    }
    before = model(batch)["loss"].item()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(120):
        optimizer.zero_grad()
        model(batch)["loss"].backward()
        optimizer.step()
    model.eval()
    assert before > 0.5
    model.measure(batch)
    measured = model.noise_power_T[strided(50, (10,))]
    assert bool((measured > 0.8).all()) and bool((model.noise_power_T[1:4] == 1).all())
    found = model.sample(text)
    cosine = nn.functional.normalize(found, dim=1) @ nn.functional.normalize(wanted, dim=1).T
    assert float(cosine.diagonal().min()) > 0.95
    assert float(cosine[0, 1]) < 0.9


def test_every_weight_gets_a_gradient() -> None:
    torch.manual_seed(6)
    config = replace(draw(6), drop_text=0.5)
    model = DiffusionPrior(config)
    randomise(model)
    text = captions(config, [config.text_length] * 16)
    batch = {
        "image_embedding": torch.randn(16, config.embedding),
        "text_features": text.features_BTC,
        "text_real": text.real_BT,
        "text_embedding": text.embedding_BE,
    }
    model(batch)["loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and bool((parameter.grad != 0).any()), name


def test_bfloat16_is_near_float32() -> None:
    torch.manual_seed(7)
    config = draw(7)
    model = DiffusionPrior(config).eval()
    text = captions(config, [config.text_length, 1])
    noisy, t = torch.randn(2, config.embedding), torch.tensor([10, 50])
    wanted = model.denoiser(text)(noisy, t)
    found = model.bfloat16().denoiser(text)(noisy, t)
    assert found.dtype == torch.float32
    assert float((found - wanted).detach().abs().max()) < 0.05 * float(wanted.detach().abs().max())


def test_the_size_is_the_papers() -> None:
    with torch.device("meta"):
        model = DiffusionPrior(DIFFUSION_PRIOR_1B)
    assert sum(p.numel() for p in model.parameters()) == 1_225_927_680
