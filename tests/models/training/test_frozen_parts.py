"""Models with frozen parts through the loop: what is frozen stays bit for bit, they learn, and a
killed run ends where an uninterrupted one does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.blip2.blip2 import BLIP2Config
from models.blip2.language import BLIP2LanguageConfig
from models.blip2.query_transformer import QueryTransformerConfig
from models.clip import CLIP, CLIPConfig, TextConfig
from models.dalle2.autoregressive_prior import ARPriorConfig
from models.dalle2.caption_encoder import CaptionConfig
from models.dalle2.dalle2 import DALLE2Config
from models.dalle2.diffusion_prior import DiffusionPriorConfig
from models.dalle2.pixel_decoder import DecoderConfig
from models.dalle2.sampling import Sampler
from models.dalle2.unet import UNetConfig
from models.dalle2.upsampler import UpsamplerConfig
from models.flamingo.flamingo import FlamingoConfig, gated_config
from models.flamingo.resampler import ResamplerConfig
from models.gpt import GPT, GPTConfig
from models.pic2word import Pic2WordConfig
from models.tokenizers.clip import Tokenizer
from models.tokenizers.gpt2 import ByteTokenizer
from models.training.augment import NONE
from models.training.curve import Line, read_curve
from models.training.loaders import LoaderConfig
from models.training.loop import TrainConfig, train
from models.training.optimizer import OptimizerConfig
from models.training.partners import image_id
from models.vision.vit import ViT, ViTConfig
from models.weights import ModelConfig, read_tensors, save

Maker = Callable[..., str]
WORDS, BYTES = Tokenizer([]), ByteTokenizer([])
VISION = ViTConfig((16, 16), patch_size=8, width=16, depth=2, heads=2, patch_dropout=0.5)
CLIP_TINY = CLIPConfig(VISION, TextConfig(40, WORDS.vocab_size, 24, 1, 2), embedding=12)
GPT_TINY = GPTConfig(BYTES.vocab_size, 48, width=24, depth=2, heads=2)
FORMER = QueryTransformerConfig(
    4, 24, 2, 2, vocab_size=515, context_length=40, dropout=0.0, end=513, decode=514
)
FORMER_MUTE = replace(FORMER, text=False)
UNET = UNetConfig(8, 1, (1, 2), attention=(), groups=4, dropout=0.0)
DECODER = DecoderConfig(
    (8, 8),
    embedding=12,
    captions=CaptionConfig(32, WORDS.vocab_size, 16, 1, 2),
    unet=replace(UNET, attention=(2,), head_channels=8),
)
DALLE2_TINY = DALLE2Config(
    CLIP_TINY,
    DiffusionPriorConfig(12, 24, 32, 16, 1, 2, sampler=Sampler(steps=(4,), guidance=1.0)),
    DECODER,
    (UpsamplerConfig(2, 0.5, unet=UNET, sampler=Sampler("ddim", (4,))),),
)
STAR = WORDS.encode("*")[0]
PROMPT = (WORDS.start, *WORDS.encode("a photo of *"), WORDS.end)
CONFIG = TrainConfig(
    steps=4,
    batch_size=6,
    optimizer=OptimizerConfig(rate=3e-3, warm_up=1, weight_decay=0.0),
    log_every=1,
    checkpoint_every=2,
)
LOADING = LoaderConfig(augment=NONE, threads=1)


@dataclass(frozen=True)
class Case:
    """A model, its checkpoints by name, and where its frozen weights lie: ours, theirs."""

    model: ModelConfig
    start: str
    frozen: tuple[str, str]
    beside: str = ""
    tokenizer: Tokenizer = WORDS


CASES = {
    "blip2 of a clip": Case(
        BLIP2Config(VISION, FORMER, embedding=12), "clip", ("image_tower.", "image_tower.")
    ),
    "blip2 of a vit, a block less": Case(
        BLIP2Config(replace(VISION, depth=1), FORMER, embedding=12), "vit", ("image_tower.", "")
    ),
    "second stage of a clip": Case(
        BLIP2LanguageConfig(VISION, FORMER_MUTE, 24, BYTES.end, BYTES.end),
        "clip",
        ("image_tower.", "image_tower."),
        "gpt",
        BYTES,
    ),
    "pic2word": Case(
        Pic2WordConfig(CLIP_TINY, STAR, PROMPT, hidden=16, dropout=0.1), "clip", ("clip.", "")
    ),
    "dalle2": Case(DALLE2_TINY, "clip", ("clip.", "")),
    "dalle2 by codes": Case(
        replace(DALLE2_TINY, prior=ARPriorConfig(12, 24, 32, 6, 8, 4, 16, 1, 2)),
        "clip",
        ("clip.", ""),
    ),
    "flamingo": Case(
        FlamingoConfig(
            ResamplerConfig(16, 1, 2, latents=4),
            gated_config(24, 2, 16),
            language=GPT_TINY,
            image=image_id(BYTES),
            end=BYTES.end,
        ),
        "gpt",
        ("host.model.", ""),
        "clip",
        BYTES,
    ),
}


class KilledError(Exception):
    pass


@pytest.fixture
def checkpoints(tmp_path: Path) -> dict[str, str]:
    """Small ones with weights drawn anew, so that no two are alike."""
    torch.manual_seed(7)
    made = {
        "clip": (CLIP(CLIP_TINY), WORDS),
        "vit": (ViT(VISION), None),
        "gpt": (GPT(GPT_TINY), BYTES),
    }
    for name, (model, tokenizer) in made.items():
        for parameter in model.parameters():
            parameter.data += (0.3 if name == "gpt" else 0.02) * torch.randn_like(parameter)
        save(model, str(tmp_path / name), tokenizer)
    return {name: str(tmp_path / name) for name in made}


def run(
    folder: Path,
    case: Case,
    checkpoints: dict[str, str],
    data: str,
    config: TrainConfig = CONFIG,
    report: Callable[[Line], None] | None = None,
) -> dict[str, Tensor]:
    path = train(
        str(folder),
        case.model,
        data,
        config=config,
        loading=LOADING,
        tokenizer=case.tokenizer,
        start=checkpoints[case.start],
        beside=checkpoints.get(case.beside, ""),
        report=report,
    )
    return read_tensors(f"{path}/model.safetensors")


@pytest.mark.parametrize("name", CASES)
def test_a_killed_run_ends_alike_and_what_is_frozen_stays(
    make_data: Maker, tmp_path: Path, checkpoints: dict[str, str], name: str
) -> None:
    case, data = CASES[name], make_data(14)

    def kill(line: Line) -> None:
        if line["step"] == 3:
            raise KilledError

    whole = run(tmp_path / "whole", case, checkpoints, data)
    with pytest.raises(KilledError):
        run(tmp_path / "killed", case, checkpoints, data, report=kill)
    killed = run(tmp_path / "killed", case, checkpoints, data)
    assert all(torch.equal(killed[key], tensor) for key, tensor in whole.items())
    start = read_tensors(f"{checkpoints[case.start]}/model.safetensors")
    ours, theirs = case.frozen
    kept = {key: value for key, value in whole.items() if key.startswith(ours)}
    assert kept and not any(key.startswith(("language.", "vision.")) for key in whole)
    for key, value in kept.items():
        assert torch.equal(value, start[theirs + key.removeprefix(ours)]), key
    assert all(line["loss"] == line["loss"] for line in read_curve(str(tmp_path / "whole")))


@pytest.mark.parametrize("name", ["blip2 of a clip", "second stage of a clip", "flamingo"])
def test_the_loss_falls(
    make_data: Maker, tmp_path: Path, checkpoints: dict[str, str], name: str
) -> None:
    config = replace(
        CONFIG, steps=30, optimizer=OptimizerConfig(rate=1e-2, warm_up=3, weight_decay=0.0)
    )
    run(tmp_path / "run", CASES[name], checkpoints, make_data(6), config)
    losses = [line["loss"] for line in read_curve(str(tmp_path / "run"))]
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])
