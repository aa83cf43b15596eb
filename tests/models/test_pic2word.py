"""Pic2Word: its size, what its word does in a sentence, what it learns and what it leaves alone."""

from __future__ import annotations

import random

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from models.clip import CLIPConfig, TextConfig
from models.pic2word import (
    PIC2WORD_L_14,
    Pic2Word,
    Pic2WordConfig,
    domain_prompt,
    edit_prompt,
    objects_prompt,
)
from models.vision.vit import ViTConfig

STAR, END = 5, 39


def draw(seed: int) -> Pic2WordConfig:
    """A random small configuration."""
    pick = random.Random(seed)
    clip = CLIPConfig(
        ViTConfig((16, 8 * pick.randint(2, 3)), patch_size=8, width=16, depth=1, heads=2),
        TextConfig(pick.choice([9, 12]), 40, pick.choice([16, 24]), pick.randint(1, 2), 2),
        embedding=pick.choice([12, 20]),
    )
    prompt = (1, 7, 8, STAR, END)
    return Pic2WordConfig(
        clip, STAR, prompt, hidden=pick.choice([8, 14]), layers=pick.randint(1, 3)
    )


def build(seed: int) -> Pic2Word:
    torch.manual_seed(seed)
    model = Pic2Word(draw(seed)).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def plain(model: Pic2Word, tokens: list[int], image_E: torch.Tensor) -> torch.Tensor:
    """One text, cut at its end, a step at a time."""
    tower, x = model.clip.text_tower, image_E
    for layer in model.mapper.layers:
        x = torch.relu(layer.weight @ x + layer.bias)
    word = model.mapper.last.weight @ x + model.mapper.last.bias
    tokens = tokens[: tokens.index(END) + 1]
    rows = [word if token == STAR else tower.embedding.weight[token] for token in tokens]
    hidden = torch.stack(rows)[None] + tower.positions.table_LD[: len(rows)]
    for block in tower.transformer.blocks:
        hidden = block(hidden, causal=True)
    return model.clip.text_projection(tower.norm_after(hidden)[0, -1])


@pytest.mark.parametrize("seed", range(3))
def test_a_sentence_with_a_pseudo_word_is_read_as_a_plain_reference_reads_it(seed: int) -> None:
    model = build(seed)
    image = torch.randn(4, model.config.clip.embedding)
    texts = [
        [1, STAR, END, 0, 0, 0, 0, 0, 0],
        [1, 9, 8, STAR, 12, STAR, 3, 4, END],
        [1, STAR, 9, END, STAR, 7, END, 0, 0],
        [STAR, END, 0, 0, 0, 0, 0, 0, 0],
    ]
    found = model.encode_text(torch.tensor(texts), image)
    for row, text in enumerate(texts):
        wanted = plain(model, text, image[row])
        torch.testing.assert_close(found[row], wanted, atol=1e-4, rtol=0)


def test_the_word_of_a_real_token_is_that_token() -> None:
    model = build(0)
    mapper = model.mapper
    nn.init.zeros_(mapper.last.weight)
    with torch.no_grad():
        mapper.last.bias.copy_(model.clip.text_tower.embedding.weight[11])
    image = torch.randn(2, model.config.clip.embedding)
    starred, real = (torch.tensor([[1, 7, t, END], [1, t, 8, END]]) for t in (STAR, 11))
    torch.testing.assert_close(model.encode_text(starred, image), model.encode_text(real))


def test_only_the_mapper_learns_and_the_loss_is_clips() -> None:
    model = build(1).train()
    assert not model.clip.training and model.mapper.training
    model.eval()
    batch = {"pixels": torch.randn(5, 3, *model.config.clip.vision.image_size)}
    losses = model(batch)
    losses["loss"].backward()
    moved = {name for name, p in model.named_parameters() if p.grad is not None}
    assert moved == {name for name, _ in model.named_parameters() if name.startswith("mapper.")}
    assert all(p.grad.abs().sum() > 0 for p in model.parameters() if p.grad is not None)
    image = F.normalize(model.encode_image(batch["pixels"]), dim=1)
    prompt = torch.tensor([model.config.prompt] * 5)
    text = F.normalize(model.encode_text(prompt, model.encode_image(batch["pixels"])), dim=1)
    logits = model.clip.logit_scale.exp() * image @ text.T
    both = F.cross_entropy(logits, torch.arange(5)) + F.cross_entropy(logits.T, torch.arange(5))
    torch.testing.assert_close(losses["loss"], both / 2)


def test_it_learns_words_that_tell_images_apart() -> None:
    torch.manual_seed(2)
    model = Pic2Word(draw(2)).train()
    nn.init.constant_(model.clip.logit_scale, 3.0)
    pixels = torch.randn(6, 3, *model.config.clip.vision.image_size)
    optimizer = torch.optim.AdamW(model.mapper.parameters(), lr=1e-2)
    first = float(model({"pixels": pixels})["loss"].detach())
    for _ in range(100):
        optimizer.zero_grad()
        model({"pixels": pixels})["loss"].backward()
        optimizer.step()
    assert float(model.eval()({"pixels": pixels})["loss"].detach()) < 0.5 * first


def test_the_published_mapper_has_its_size() -> None:
    with torch.device("meta"):
        model = Pic2Word(PIC2WORD_L_14)
    assert sum(p.numel() for p in model.mapper.parameters()) == 1_050_368


def test_prompts() -> None:
    assert domain_prompt("origami") == "a origami of *"
    assert objects_prompt(["dog", "cat"]) == "a photo of * and dog and cat"
    assert edit_prompt("is red") == "a photo of * , is red"
    assert edit_prompt("is red", "has sleeves") == "a photo of * , is red and has sleeves"


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match=r"prompt=\(1, 2\) must hold star=5"):
        Pic2Word(Pic2WordConfig(draw(0).clip, STAR, (1, 2)))
    model = build(0)
    with pytest.raises(ValueError, match=r"text 1 has no \* \(id 5\)"):
        model.encode_text(
            torch.tensor([[STAR, END], [1, END]]), torch.randn(2, model.config.clip.embedding)
        )
