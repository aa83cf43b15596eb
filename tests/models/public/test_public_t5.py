"""Hugging Face's T5 layouts: logits must be transformers' for the same weights and files."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import (
    MT5Config,
    MT5ForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
)

from models.public.t5 import read, t5_config
from models.t5 import MT5_SMALL, T5
from models.weights import fit


def draw(seed: int) -> dict[str, Any]:
    """Random small sizes."""
    pick = random.Random(seed)
    return {
        "vocab_size": pick.choice([24, 40]),
        "d_model": pick.choice([16, 24]),
        "d_kv": pick.choice([4, 6]),
        "d_ff": pick.choice([12, 40]),
        "num_layers": pick.randint(1, 3),
        "num_decoder_layers": pick.randint(1, 3),
        "num_heads": pick.choice([2, 3]),
        "relative_attention_num_buckets": pick.choice([8, 32]),
        "relative_attention_max_distance": pick.choice([20, 128]),
    }


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("version", ["t5", "t5 1.1", "mt5"])
def test_logits_are_transformers(seed: int, version: str, tmp_path: Path) -> None:
    torch.manual_seed(seed)
    theirs: Any
    if version == "mt5":
        theirs = MT5ForConditionalGeneration(MT5Config(**draw(seed)))
    elif version == "t5":
        theirs = T5ForConditionalGeneration(T5Config(**draw(seed), feed_forward_proj="relu"))
    else:
        newer = T5Config(**draw(seed), feed_forward_proj="gated-gelu", tie_word_embeddings=False)
        theirs = T5ForConditionalGeneration(newer)
    if version != "t5":  # transformers 5 ties even where the published weights are not
        theirs.lm_head.weight = nn.Parameter(torch.empty_like(theirs.shared.weight))
    for parameter in theirs.eval().parameters():
        nn.init.normal_(parameter, std=0.3)
    theirs.save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    config, tensors = read(values, load_file(tmp_path / "model.safetensors"))
    ours = T5(config).eval()
    fit(ours, tensors, version)
    tokens, written = torch.randint(2, 24, (3, 7)), torch.randint(2, 24, (3, 5))
    with torch.no_grad():
        wanted = theirs(input_ids=tokens, decoder_input_ids=written).logits
        found = ours.decode(written, ours.encode(tokens))
    assert (found - wanted).abs().max() <= 1e-4


def test_defaults_are_those_of_transformers() -> None:
    assert t5_config({"model_type": "mt5"}) == MT5_SMALL
    config, theirs = t5_config({"model_type": "t5"}), T5Config()
    assert (config.vocab_size, config.width, config.depth) == (32128, theirs.d_model, 6)
    assert (config.heads, config.hidden, config.tied, config.gated) == (8, theirs.d_ff, True, False)
    assert config.activation == "relu"


def test_a_file_without_an_output_layer_has_the_embedding_for_one(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = MT5ForConditionalGeneration(MT5Config(**draw(0))).eval()
    theirs.save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    config, tensors = read(values, load_file(tmp_path / "model.safetensors"))
    ours = T5(config).eval()
    fit(ours, tensors, "mt5")
    tokens = torch.randint(2, 24, (2, 5))
    with torch.no_grad():
        wanted = theirs(input_ids=tokens, decoder_input_ids=tokens).logits
        assert (ours.decode(tokens, ours.encode(tokens)) - wanted).abs().max() <= 1e-4
