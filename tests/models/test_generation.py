"""Greedy and beam search against transformers' generate; nucleus sampling by its definition."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache, GPT2Config, GPT2LMHeadModel

from models.generation import GenerationConfig, generate, nucleus
from models.layers.cache import Cache

END = 7


class Held(Cache):
    """transformers' cache behind ours."""

    def __init__(self) -> None:
        super().__init__()
        self.theirs = DynamicCache()

    def select(self, rows_B: Tensor) -> None:
        self.theirs.reorder_cache(rows_B)


@pytest.fixture(scope="module")
def theirs() -> GPT2LMHeadModel:
    """A GPT-2 whose logits are far apart, so that ends come early and late."""
    torch.manual_seed(0)
    config = GPT2Config(
        n_layer=2, n_embd=32, n_head=2, vocab_size=24, n_positions=40, initializer_range=0.6
    )
    return GPT2LMHeadModel(config).eval()


def advance(model: GPT2LMHeadModel) -> object:
    def step(tokens_BL: Tensor, cache: Cache) -> Tensor:
        assert isinstance(cache, Held)
        return model(tokens_BL, past_key_values=cache.theirs, use_cache=True).logits[:, -1]

    return step


def wanted(model: GPT2LMHeadModel, prompt: Tensor, **settings: object) -> list[list[int]]:
    """transformers' new tokens up to the end."""
    made = model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        eos_token_id=END,
        pad_token_id=0,
        do_sample=False,
        **settings,
    )
    rows = made[:, prompt.shape[1] :].tolist()
    return [row[: row.index(END)] if END in row else row for row in rows]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "config",
    [
        GenerationConfig(most=12),
        GenerationConfig(most=12, least=5, repetition_penalty=1.3),
        GenerationConfig("beam", most=12, beams=3),
        GenerationConfig("beam", most=9, beams=4, length_penalty=0.5, least=4),
        GenerationConfig("beam", most=1, beams=2),
        GenerationConfig("beam", most=15, beams=2, length_penalty=2.0, repetition_penalty=1.2),
    ],
)
def test_chooses_what_transformers_chooses(
    theirs: GPT2LMHeadModel, config: GenerationConfig, seed: int
) -> None:
    torch.manual_seed(seed)
    prompt = torch.randint(8, 24, (5, 3))
    settings: dict[str, object] = {
        "max_new_tokens": config.most,
        "min_new_tokens": config.least,
        "repetition_penalty": config.repetition_penalty,
    }
    if config.method == "beam":
        settings |= {"num_beams": config.beams, "length_penalty": config.length_penalty}
    found = generate(advance(theirs), prompt, Held(), end=END, config=config)  # type: ignore[arg-type]
    assert found == wanted(theirs, prompt, **settings)


def test_nucleus_is_the_shortest_run_that_reaches_p() -> None:
    logits = torch.tensor([[0.1, 0.4, 0.3, 0.2]]).log()
    for uniform, token in ((0.0, 1), (0.44, 1), (0.445, 2), (0.77, 2), (0.78, 3), (0.9999999, 3)):
        assert int(nucleus(logits, 0.9, torch.tensor([uniform]))) == token
    assert int(nucleus(logits, 0.05, torch.tensor([0.999]))) == 1
    assert int(nucleus(logits, 1.0, torch.tensor([0.95]))) == 0


def test_samples_have_the_models_distribution() -> None:
    logits = torch.randn(1, 6, generator=torch.Generator().manual_seed(0))
    quantiles = (torch.arange(20000) + 0.5) / 20000
    drawn = nucleus(logits.expand(20000, -1), 1.0, quantiles)
    shares = torch.bincount(drawn, minlength=6) / 20000
    torch.testing.assert_close(shares, logits.softmax(-1)[0], atol=1e-4, rtol=0)


def test_a_sample_depends_on_its_own_name_alone(theirs: GPT2LMHeadModel) -> None:
    config = GenerationConfig("nucleus", most=10, seed=3)
    prompt = torch.randint(8, 24, (4, 3), generator=torch.Generator().manual_seed(1))
    names = ["a", "b", "c", "d"]

    def draw(order: list[int], config: GenerationConfig = config) -> list[list[int]]:
        keys = [names[row] for row in order]
        return generate(advance(theirs), prompt[order], Held(), end=END, config=config, keys=keys)  # type: ignore[arg-type]

    together = draw([0, 1, 2, 3])
    assert draw([3, 1]) == [together[3], together[1]]
    assert draw([0, 1, 2, 3], GenerationConfig("nucleus", most=10, seed=4)) != together


def test_settings_that_cannot_be_are_named(theirs: GPT2LMHeadModel) -> None:
    prompt = torch.zeros(1, 1, dtype=torch.int64)
    for config, words in (
        (GenerationConfig(most=0), "most=0 must be at least 1"),
        (GenerationConfig(most=3, least=4), "least=4"),
        (GenerationConfig("nucleus", top_p=0.0), r"top_p=0.0 must be in \(0, 1]"),
    ):
        with pytest.raises(ValueError, match=words):
            generate(advance(theirs), prompt, Held(), end=END, config=config)  # type: ignore[arg-type]
