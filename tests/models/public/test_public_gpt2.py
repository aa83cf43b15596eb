"""Hugging Face's GPT-2 layout: logits must be transformers' for the same files."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from models.gpt import GPT, GPT2
from models.public.gpt2 import gpt2_config
from models.weights import WeightsError, load


@pytest.mark.parametrize("seed", range(4))
def test_logits_are_transformers(seed: int, tmp_path: Path) -> None:
    torch.manual_seed(seed)
    pick = random.Random(seed)
    heads = pick.choice([1, 2, 3])
    sizes = GPT2Config(
        vocab_size=pick.choice([24, 40]),
        n_positions=pick.choice([8, 12]),
        n_embd=8 * heads,
        n_layer=pick.randint(1, 3),
        n_head=heads,
        n_inner=pick.choice([None, 20]),
        activation_function=pick.choice(["gelu_new", "gelu", "relu"]),
        bos_token_id=0,
        eos_token_id=1,
    )
    theirs = GPT2LMHeadModel(sizes).eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.3)
    (theirs if seed % 2 else theirs.transformer).save_pretrained(tmp_path)
    ours = load(str(tmp_path))
    assert isinstance(ours, GPT)
    tokens = torch.randint(0, sizes.vocab_size, (3, sizes.n_positions))
    with torch.no_grad():
        assert (ours.logits(tokens) - theirs(tokens).logits).abs().max() <= 1e-4


def test_defaults_are_transformers_and_variants_are_named() -> None:
    config, theirs = gpt2_config({}), GPT2Config()
    assert config == GPT2 and (config.width, config.depth) == (theirs.n_embd, theirs.n_layer)
    with pytest.raises(WeightsError, match="scale_attn_by_inverse_layer_idx=True must be False"):
        gpt2_config({"scale_attn_by_inverse_layer_idx": True})
