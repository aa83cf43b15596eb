"""ScreenAI against transformers: the ViT as Pix2StructVisionModel, encoder and decoder as mT5 with
the image's embeddings before the text's; padding; stages of training; sizes.
"""

from __future__ import annotations

import importlib.util
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import Pix2StructVisionConfig, Pix2StructVisionModel

from models.generation import GenerationConfig
from models.layers.block import BlockConfig
from models.screenai import (
    SCREENAI_2B,
    SCREENAI_5B,
    SCREENAI_670M,
    SCREENAI_SMALL,
    PatchEncoder,
    ScreenAI,
    ScreenAIConfig,
)
from models.t5 import IGNORED, T5Config
from models.vision.patching import PatchingConfig, batch_patches

PATCHING = PatchingConfig(4, 12)
TINY = ScreenAIConfig(
    PATCHING,
    BlockConfig(16, 2, 24, epsilon=1e-6),
    vision_depth=2,
    places=13,
    language=T5Config(40, 20, 2, heads=2, head_width=8, hidden=24),
)
RULES = [
    (r"^embeddings\.patch_projection\.", "patches."),
    (r"^embeddings\.row_embedder\.", "rows."),
    (r"^embeddings\.column_embedder\.", "columns."),
    (r"^encoder\.layer\.", "transformer.blocks."),
    (r"^layernorm\.", "norm_after."),
    (r"\.pre_attention_layer_norm\.", ".norm_1."),
    (r"\.pre_mlp_layer_norm\.", ".norm_2."),
    (r"\.attention\.output\.", ".attention.out."),
    (r"\.mlp\.wi_0\.", ".mlp.gate."),
    (r"\.mlp\.wi_1\.", ".mlp.up."),
    (r"\.mlp\.wo\.", ".mlp.down."),
]


def from_pix2struct(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our names for the weights of a Pix2StructVisionModel."""
    out = {}
    for name, tensor in tensors.items():
        ours, value = name, tensor
        if ".attention.query." in name:
            parts = [name.replace("query", part) for part in ("query", "key", "value")]
            value, ours = torch.cat([tensors[part] for part in parts]), name.replace("query", "qkv")
        for pattern, replacement in RULES:
            ours = re.sub(pattern, replacement, ours)
        if not ours.endswith((".attention.key.weight", ".attention.value.weight")):
            out[ours] = value
    return out


def images(*shapes: tuple[int, int]) -> list[Tensor]:
    return [torch.randint(0, 256, (3, *shape), dtype=torch.uint8) for shape in shapes]


def randomise(model: nn.Module) -> None:
    """Draws every parameter, gains and biases too."""
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("seed", range(4))
def test_the_vit_is_pix2structs(seed: int, side: str) -> None:
    dice = random.Random(seed)
    heads, width, head_width = dice.choice([1, 2, 3]), dice.choice([12, 20, 32]), 6
    depth, hidden = dice.choice([1, 2, 3]), dice.choice([10, 40])
    torch.manual_seed(seed)
    config = Pix2StructVisionConfig(
        hidden_size=width,
        patch_embed_hidden_size=PATCHING.numbers,
        d_ff=hidden,
        d_kv=head_width,
        num_hidden_layers=depth,
        num_attention_heads=heads,
        seq_len=14,
        dropout_rate=0.0,
    )
    theirs = Pix2StructVisionModel(config).eval()
    randomise(theirs)
    block = BlockConfig(
        width,
        heads,
        hidden,
        activation="gelu_tanh",
        gated=True,
        norm="rms",
        epsilon=1e-6,
        bias=False,
        head_width=head_width,
        scale=1.0,
    )
    ours = PatchEncoder(PATCHING.numbers, block, depth, 14).eval()
    ours.load_state_dict(from_pix2struct(theirs.state_dict()))
    batch = batch_patches(images((9, 30), (40, 11), (1, 70), (16, 16)), PATCHING)
    cut, places = batch["patches"], batch["places"]
    if side == "right":
        cut, places = cut.flip(1), places.flip(1)
    real = places[..., 0] > 0
    flattened = torch.cat([places.float(), cut], dim=-1)
    wanted = theirs(flattened, attention_mask=real.float()).last_hidden_state
    found = ours(cut, places)
    torch.testing.assert_close(found[real], wanted[real], atol=1e-4, rtol=0)


@pytest.fixture(scope="module")
def t5_pair() -> Any:
    """`pair` of the T5's own tests."""
    path = Path(__file__).with_name("test_t5.py")
    spec = importlib.util.spec_from_file_location("t5_oracle", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.pair


def whole(t5_pair: Any, seed: int, version: str = "mt5") -> tuple[ScreenAI, Any]:
    """Our model and their language model, with the same weights."""
    language, theirs = t5_pair(seed, version)
    model = ScreenAI(replace(TINY, language=language.config)).eval()
    randomise(model)
    model.language.load_state_dict(language.state_dict())
    return model, theirs


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("seed", range(3))
def test_image_and_text_are_one_source(t5_pair: Any, seed: int, side: str) -> None:
    model, theirs = whole(t5_pair, seed)
    vocab = model.config.language.vocab_size
    batch = batch_patches(images((9, 30), (40, 11), (5, 5)), PATCHING)
    batch["tokens"] = torch.randint(2, vocab, (3, 7))
    place, count = torch.arange(7), torch.tensor([[7], [3], [1]])
    batch["valid"] = place < count if side == "right" else place >= 7 - count
    labels = torch.randint(1, vocab, (3, 5))
    labels[1, 3:] = IGNORED
    image = model.encode_image(batch["patches"], batch["places"])
    joined = torch.cat([image, theirs.shared(batch["tokens"])], dim=1)
    real = torch.cat([batch["places"][..., 0] > 0, batch["valid"]], dim=1)
    wanted = theirs(inputs_embeds=joined, attention_mask=real.long(), labels=labels)
    found = model({**batch, "labels": labels})
    torch.testing.assert_close(found["loss"], wanted.loss, atol=1e-4, rtol=0)
    for config in (GenerationConfig(most=8), GenerationConfig("beam", most=8, beams=3)):
        settings = {"num_beams": config.beams} if config.method == "beam" else {}
        made = theirs.generate(
            inputs_embeds=joined,
            attention_mask=real.long(),
            max_new_tokens=8,
            do_sample=False,
            use_cache=False,
            **settings,
        )
        rows = [row[1:] for row in made.tolist()]
        written = [row[: row.index(1)] if 1 in row else row for row in rows]
        ours = model.generate(batch, config)
        assert [row + [0] * (8 - len(row)) for row in ours] == [
            row + [0] * (8 - len(row)) for row in written
        ]


def test_a_row_does_not_depend_on_the_others() -> None:
    torch.manual_seed(0)
    model = ScreenAI(TINY).eval()
    randomise(model)
    shapes = [(9, 30), (40, 11), (1, 70)]
    given = images(*shapes)
    together = batch_patches(given, PATCHING)
    together["tokens"] = torch.randint(2, 40, (3, 4))
    together["valid"] = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0]])
    labels = torch.randint(1, 40, (3, 5))

    def logits(batch: dict[str, Tensor], labels: Tensor) -> Tensor:
        x, valid = model.joined(batch)
        language = model.language
        return language.decode(language.shifted(labels), language.encode(x, valid), valid)

    both = logits(together, labels)
    for row in range(3):
        alone = batch_patches(given[row : row + 1], PATCHING)
        alone["tokens"] = together["tokens"][row : row + 1, : int(together["valid"][row].sum())]
        torch.testing.assert_close(
            logits(alone, labels[row : row + 1])[0], both[row], atol=1e-4, rtol=0
        )


def test_image_alone_text_alone_and_neither() -> None:
    torch.manual_seed(1)
    model = ScreenAI(TINY)
    batch = batch_patches(images((9, 30)), PATCHING)
    labels = torch.tensor([[5, 1]])
    assert torch.isfinite(model({**batch, "labels": labels})["loss"])
    assert torch.isfinite(model({"tokens": torch.tensor([[3]]), "labels": labels})["loss"])
    with pytest.raises(ValueError, match=r"\['labels'\] has neither patches nor tokens"):
        model({"labels": labels})
    with pytest.raises(ValueError, match="places=12 must exceed the budget of 12"):
        ScreenAI(replace(TINY, places=12))


@pytest.mark.parametrize("frozen", [False, True])
def test_the_second_stage_trains_all_but_the_vit(frozen: bool) -> None:
    torch.manual_seed(2)
    model = ScreenAI(replace(TINY, frozen_vision=frozen)).train()
    assert model.vision.training != frozen
    assert model.language.training
    batch = batch_patches(images((9, 30), (40, 11)), PATCHING)
    batch["tokens"] = torch.randint(2, 40, (2, 4))
    batch["labels"] = torch.randint(1, 40, (2, 5))
    model(batch)["loss"].backward()
    for name, parameter in model.named_parameters():
        if frozen and name.startswith("vision."):
            assert parameter.grad is None
        else:
            assert parameter.grad is not None, name
            assert float(parameter.grad.abs().max()) > 0, name


def test_learns_to_tell_images_apart_and_writes_it() -> None:
    torch.manual_seed(3)
    model = ScreenAI(TINY)
    batch = batch_patches(images((9, 30), (40, 11), (5, 5), (8, 8)), PATCHING)
    batch["tokens"] = torch.full((4, 2), 9)
    answers = torch.tensor([[11, 12, 1], [13, 1, IGNORED], [14, 15, 1], [15, 11, 1]])
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(60):
        optimiser.zero_grad()
        found = model({**batch, "labels": answers})
        found["loss"].backward()
        optimiser.step()
    assert float(found["loss"].detach()) < 0.1
    assert float(found["accuracy"]) == 1.0
    assert model.eval().generate(batch) == [[11, 12], [13], [14, 15], [15, 11]]


def test_bfloat16_is_near() -> None:
    torch.manual_seed(4)
    model = ScreenAI(TINY)
    batch = batch_patches(images((9, 30), (40, 11)), PATCHING)
    batch["tokens"], batch["labels"] = torch.randint(2, 40, (2, 4)), torch.randint(1, 40, (2, 5))
    exact = model(batch)["loss"]
    with torch.autocast("cpu", torch.bfloat16):
        mixed = model(batch)["loss"]
    torch.testing.assert_close(mixed, exact, atol=0.05, rtol=0.05)
    batch["patches"] = batch["patches"].bfloat16()
    half = model.to(torch.bfloat16)(batch)["loss"]
    torch.testing.assert_close(half, exact, atol=0.05, rtol=0.05)


@pytest.mark.parametrize(
    ("config", "vision", "language", "total", "paper"),
    [
        (SCREENAI_670M, 91_938_048, 582_401_280, 674_929_920, 675e6),
        (SCREENAI_2B, 640_920_320, 1_229_581_312, 1_871_813_376, 1.88e9),
        (SCREENAI_5B, 1_855_977_856, 2_849_757_184, 4_709_144_960, 4.62e9),
        (SCREENAI_SMALL, 2_026_176, 7_278_912, 9_342_144, 9.3e6),
    ],
)
def test_parameter_counts(
    config: ScreenAIConfig, vision: int, language: int, total: int, paper: float
) -> None:
    with torch.device("meta"):
        model = ScreenAI(config)
    assert sum(p.numel() for p in model.vision.parameters()) == vision
    assert sum(p.numel() for p in model.language.parameters()) == language
    assert sum(p.numel() for p in model.parameters()) == total
    assert abs(total / paper - 1) < 0.02
