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
from models.training.partners import image_id, pairs_batch
from models.training.starting import starting_tensors
from models.vision.vit import ViT, ViTConfig
from models.weights import (
    ModelConfig,
    WeightsError,
    build,
    fit,
    read_tensors,
    save,
    write_tensors,
)

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
CODES_MANY = ARPriorConfig(12, 24, 32, 12, 8, 4, 16, 1, 2)
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


@pytest.mark.parametrize(
    ("model", "start", "message"),
    [
        (Pic2WordConfig(replace(CLIP_TINY, embedding=20), STAR, PROMPT), "clip", "clip.embedding"),
        (
            Pic2WordConfig(replace(CLIP_TINY, text=replace(CLIP_TINY.text, heads=4)), STAR, PROMPT),
            "clip",
            r"clip.text.heads: 4 here, 2 there",
        ),
        (BLIP2Config(replace(VISION, depth=3), FORMER), "vit", "vision.depth=3, there 2"),
        (BLIP2Config(replace(VISION, heads=4), FORMER), "clip", "vision.heads: 4 here, 2 there"),
        (
            BLIP2Config(replace(VISION, image_size=(24, 16)), FORMER),
            "vit",
            r"vision.image_size: \[24, 16\] here|vision.image_size: \(24, 16\) here",
        ),
        (BLIP2Config(VISION, FORMER), "gpt", "holds a GPTConfig, with which a BLIP2Config"),
        (DALLE2_TINY, "vit", "holds a ViTConfig, with which a DALLE2Config does not begin"),
    ],
)
def test_a_part_that_does_not_fit_is_named(
    checkpoints: dict[str, str], model: ModelConfig, start: str, message: str
) -> None:
    with pytest.raises(WeightsError, match=message):
        starting_tensors(build(model), checkpoints[start])


def test_a_checkpoint_with_a_tensor_less_is_refused(checkpoints: dict[str, str]) -> None:
    file = f"{checkpoints['clip']}/model.safetensors"
    tensors = read_tensors(file)
    del tensors["text_projection.weight"]
    write_tensors(file, tensors)
    model = build(CASES["pic2word"].model)
    with pytest.raises(WeightsError, match=r"missing clip\.text_projection\.weight"):
        fit(model, starting_tensors(model, checkpoints["clip"]), "here")


def test_norm_of_a_clip_becomes_the_one_that_trains(checkpoints: dict[str, str]) -> None:
    clip = read_tensors(f"{checkpoints['clip']}/model.safetensors")
    for depth in (2, 1):  # with a block less nothing fits there
        model = build(BLIP2Config(replace(VISION, depth=depth), FORMER, embedding=12))
        tensors = starting_tensors(model, checkpoints["clip"])
        fit(model, tensors, "clip")
        found = torch.equal(tensors["image_norm.weight"], clip["image_tower.norm_after.weight"])
        assert found == (depth == 2)


def test_the_second_stage_goes_on_from_the_first(
    make_data: Maker, tmp_path: Path, checkpoints: dict[str, str]
) -> None:
    data, first = make_data(14), CASES["blip2 of a clip"]
    trained = run(tmp_path / "first", first, checkpoints, data)
    still = replace(CONFIG, steps=1, optimizer=OptimizerConfig(rate=0.0, warm_up=0))
    case = replace(CASES["second stage of a clip"], start="first")
    stages = {**checkpoints, "first": str(tmp_path / "first")}
    second = run(tmp_path / "second", case, stages, data, still)
    shared = [name for name in second if not name.startswith("language_projection.")]
    assert shared and all(torch.equal(second[name], trained[name]) for name in shared)
    assert "former.embedding.weight" not in second
    narrow = replace(FORMER_MUTE, queries=3)
    with pytest.raises(WeightsError, match=r"former.queries: 3 here, 4 there"):
        starting_tensors(build(BLIP2LanguageConfig(VISION, narrow, 24)), stages["first"])


def test_codes_and_variance_come_from_the_data(
    make_data: Maker, tmp_path: Path, checkpoints: dict[str, str]
) -> None:
    data = make_data(14)
    for name, kept in (
        ("dalle2 by codes", "prior.codes.mean_E"),
        ("dalle2", "prior.noise_power_T"),
    ):
        drawn = build(CASES[name].model).state_dict()[kept]
        found = run(tmp_path / name, CASES[name], checkpoints, data)[kept]
        assert not torch.equal(found, drawn) and bool(found.isfinite().all())
    few = replace(CASES["dalle2 by codes"], model=replace(DALLE2_TINY, prior=CODES_MANY))
    with pytest.raises(ValueError, match="6 embeddings cannot give 12 axes"):
        run(tmp_path / "few", few, checkpoints, make_data(6, folder="few"))


@pytest.mark.parametrize("name", ["pic2word", "flamingo"])
def test_micro_batches_give_the_loss_of_the_batch(
    make_data: Maker, tmp_path: Path, checkpoints: dict[str, str], name: str
) -> None:
    data, losses, case = make_data(14), {}, CASES[name]
    if isinstance(case.model, Pic2WordConfig):
        case = replace(case, model=replace(case.model, dropout=0.0))
    for parts in (1, 3):
        run(tmp_path / str(parts), case, checkpoints, data, replace(CONFIG, micro_batches=parts))
        losses[parts] = [line["loss"] for line in read_curve(str(tmp_path / str(parts)))]
    assert losses[1] == pytest.approx(losses[3], abs=1e-3)


def test_an_average_is_kept_and_resumed(
    make_data: Maker, tmp_path: Path, checkpoints: dict[str, str]
) -> None:
    case, data, config = CASES["dalle2"], make_data(14), replace(CONFIG, average=0.9)

    def kill(line: Line) -> None:
        if line["step"] == 3:
            raise KilledError

    plain = run(tmp_path / "plain", case, checkpoints, data)
    whole = run(tmp_path / "whole", case, checkpoints, data, config)
    with pytest.raises(KilledError):
        run(tmp_path / "killed", case, checkpoints, data, config, kill)
    killed = run(tmp_path / "killed", case, checkpoints, data, config)
    assert all(torch.equal(killed[name], tensor) for name, tensor in whole.items())
    assert not torch.equal(whole["prior.out.weight"], plain["prior.out.weight"])


def test_an_image_is_a_token_after_the_start() -> None:
    config = CASES["flamingo"].model
    assert isinstance(config, FlamingoConfig)
    tokens_BL = BYTES(["ab", "a"], 40, cut=True)
    pixels = torch.zeros(2, 3, 16, 16)
    batch = pairs_batch({"pixels": pixels, "tokens": tokens_BL}, lambda x: x.flatten(2), config)
    end, image, (a, b) = BYTES.end, config.image, BYTES.encode("ab")
    assert batch["tokens"].tolist() == [[end, image, a, b, end], [end, image, a, end, end]]
    assert batch["valid"].tolist() == [[True] * 5, [True] * 4 + [False]]
    assert batch["media"].shape == (2, 1, 1, 3, 256)
