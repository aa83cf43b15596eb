"""The configs that the other libraries ship must come out as our named ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from transformers import CLIPConfig as TheirConfig

from models.clip import (
    CLIP,
    CLIP_B_16,
    CLIP_B_32,
    CLIP_L_14,
    CLIP_L_14_336,
    CLIP_RN50,
    CLIP_RN50X4,
    CLIP_RN50X16,
    CLIP_RN50X64,
    CLIP_RN101,
    CLIPConfig,
)
from models.public.clip_configs import hugging_face_config, open_clip_config
from models.vision.vit import ViTConfig
from models.weights import WeightsError


def shipped(name: str) -> dict[str, Any]:
    path = Path(open_clip.__file__).parent / "model_configs" / f"{name}.json"
    values: dict[str, Any] = json.loads(path.read_text())
    return values


def implicit(config: CLIPConfig) -> CLIPConfig:
    """The same with the MLP's width written out."""
    vision, text = config.vision, config.text
    if isinstance(vision, ViTConfig):
        vision = replace(vision, hidden=vision.hidden or 4 * vision.width)
    return replace(
        config,
        vision=vision,
        text=replace(text, hidden=text.hidden or 4 * text.width),
    )


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("ViT-B-32-quickgelu", CLIP_B_32),
        ("ViT-B-16-quickgelu", CLIP_B_16),
        ("ViT-L-14-quickgelu", CLIP_L_14),
        ("ViT-L-14-336-quickgelu", CLIP_L_14_336),
        ("RN50-quickgelu", CLIP_RN50),
        ("RN101-quickgelu", CLIP_RN101),
        ("RN50x4-quickgelu", CLIP_RN50X4),
        ("RN50x16-quickgelu", CLIP_RN50X16),
        ("RN50x64-quickgelu", CLIP_RN50X64),
    ],
)
def test_open_clips_configs_are_the_papers(name: str, config: CLIPConfig) -> None:
    assert open_clip_config(shipped(name)) == implicit(config)


def test_a_large_open_clip_model_has_its_size() -> None:
    with torch.device("meta"):
        model = CLIP(open_clip_config(shipped("ViT-H-14")))
    assert sum(p.numel() for p in model.parameters()) == 986_109_441


def test_transformers_default_is_base_32() -> None:
    theirs = TheirConfig()
    assert hugging_face_config(theirs.to_dict()) == implicit(CLIP_B_32)
    assert hugging_face_config(theirs.to_diff_dict()) == implicit(CLIP_B_32)
    assert hugging_face_config({}) == implicit(CLIP_B_32)


def test_what_we_do_not_have_is_refused() -> None:
    for name in ("coca_ViT-B-32", "convnext_base"):
        with pytest.raises(WeightsError, match="not a plain CLIP"):
            open_clip_config(shipped(name))
    with pytest.raises(WeightsError, match="eos_token_id=7 must be the last id, 49407"):
        hugging_face_config({"text_config": {"eos_token_id": 7}})
    with pytest.raises(WeightsError, match="hidden_act='relu' must be gelu or quick_gelu"):
        hugging_face_config({"vision_config": {"hidden_act": "relu"}})
