"""Halves of a whole BLIP write and judge exactly as the whole does."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from models.blip.blip import BLIP, BLIPConfig
from models.blip.halves import Half, half, part_config
from models.blip.med import MEDConfig, with_words
from models.generation import GenerationConfig
from models.vision.vit import ViTConfig
from models.weights import fit

TEXT = replace(with_words(MEDConfig(40, 12, 32, 2, 4), 40), dropout=0.0, attention_dropout=0.0)
CONFIG = BLIPConfig(
    ViTConfig((16, 16), patch_size=8, width=24, depth=2, heads=3), TEXT, embedding=8, queue=10
)


@pytest.mark.parametrize("separate", [True, False])
@pytest.mark.parametrize("part", ["captioner", "matcher"])
def test_a_half_does_what_the_whole_does(separate: bool, part: Half) -> None:
    torch.manual_seed(0)
    config = replace(CONFIG, text=replace(CONFIG.text, separate=separate))
    whole = BLIP(config).eval()
    for parameter in whole.parameters():
        nn.init.normal_(parameter, std=0.3)
    ours = BLIP(part_config(config, part)).eval()
    fit(ours, half(config, whole.state_dict(), part), "whole")
    pixels = torch.randn(3, 3, 16, 16)
    tokens = torch.tensor([[38, 5, 6, 39], [38, 7, 39, 0], [38, 8, 9, 39]])
    with torch.no_grad():
        if part == "captioner":
            settings = GenerationConfig(most=6)
            assert ours.caption(pixels, settings) == whole.caption(pixels, settings)
            caches = [m.text_tower.look(m.image_states(pixels)) for m in (ours, whole)]
            logits = [
                m.word_logits(tokens, cache) for m, cache in zip((ours, whole), caches, strict=True)
            ]
            assert torch.equal(*logits)
        else:
            assert torch.equal(ours.itm_logits(pixels, tokens), whole.itm_logits(pixels, tokens))
            assert torch.equal(ours.encode_text(tokens), whole.encode_text(tokens))
            assert torch.equal(ours.encode_image(pixels), whole.encode_image(pixels))


def test_a_half_cannot_be_halved() -> None:
    config = part_config(CONFIG, "matcher")
    with pytest.raises(ValueError, match="part='matcher' cannot be halved"):
        half(config, BLIP(config).state_dict(), "captioner")
