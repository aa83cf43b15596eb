"""Published layouts: features must be those of open_clip and of transformers for the same weights.

Sizes are drawn by seed; every tensor of the other library is drawn anew, so that a weight mapped to
the wrong place, even a norm's gain, shows.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPConfig as TheirConfig
from transformers import CLIPModel

from models.vision.resnet import ResNetConfig
from models.weights import WeightsError, load, save_public


def randomise(model: nn.Module, seed: int) -> None:
    """Draws every parameter but the logit scale, and what batch norms have seen."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name != "logit_scale":
                parameter.normal_(0.0, 0.2, generator=generator)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.normal_(1.0, 0.3, generator=generator)
                module.running_mean.normal_(0.0, 0.3, generator=generator)
                module.running_var.uniform_(0.5, 2.0, generator=generator)
                module.num_batches_tracked.fill_(7)


def texts(vocabulary: int, length: int) -> Tensor:
    """Texts of several lengths, one of them as long as can be, with the last id at the end."""
    out = torch.zeros(5, length, dtype=torch.int64)
    for row, n in enumerate((1, 2, length // 2, length - 1, length)):
        out[row, :n] = torch.randint(1, vocabulary - 1, (n,))
        out[row, n - 1] = vocabulary - 1
    return out


def draw_open_clip(seed: int) -> dict[str, Any]:
    """A random small open_clip configuration, often of images that are not square."""
    draw = random.Random(seed)
    patch, heads = draw.choice([4, 8]), draw.choice([1, 2, 3])
    return {
        "embed_dim": draw.choice([12, 20]),
        "quick_gelu": draw.random() < 0.5,
        "vision_cfg": {
            "image_size": [patch * draw.randint(2, 4), patch * draw.randint(2, 4)],
            "layers": draw.randint(1, 3),
            "width": heads * 8,
            "head_width": 8,
            "patch_size": patch,
            "mlp_ratio": draw.choice([2.0, 4.0]),
        },
        "text_cfg": {
            "context_length": draw.choice([9, 16]),
            "vocab_size": draw.choice([50, 91]),
            "width": draw.choice([16, 24]),
            "heads": draw.choice([1, 2]),
            "layers": draw.randint(1, 3),
        },
    }


@pytest.mark.parametrize("seed", range(4))
def test_open_clip_folder(
    seed: int, tmp_path: Path, every_weight_shows: Callable[..., None]
) -> None:
    values = draw_open_clip(seed)
    theirs = open_clip.CLIP(**values).eval()
    randomise(theirs, seed)
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": values}))
    save_file(theirs.state_dict(), str(tmp_path / "open_clip_model.safetensors"))
    ours = load(str(tmp_path))
    pixels = torch.randn(1 + seed, 3, *values["vision_cfg"]["image_size"])
    tokens = texts(values["text_cfg"]["vocab_size"], values["text_cfg"]["context_length"])
    with torch.no_grad():
        assert (ours.encode_image(pixels) - theirs.encode_image(pixels)).abs().max() <= 1e-4
        assert (ours.encode_text(tokens) - theirs.encode_text(tokens)).abs().max() <= 1e-4
        assert torch.equal(ours.logit_scale, theirs.logit_scale)
    every_weight_shows(
        ours,
        lambda: torch.cat([ours.encode_image(pixels), ours.encode_text(tokens)]),
        unread=("logit_scale",),
    )


def draw_resnet(seed: int) -> dict[str, Any]:
    """The same with a ResNet, whose images open_clip wants square."""
    draw = random.Random(seed)
    values = draw_open_clip(seed)
    values["vision_cfg"] = {
        "image_size": 32 * draw.randint(1, 2),
        "layers": [draw.randint(1, 2) for _ in range(4)],
        "width": draw.choice([2, 4]),
        "head_width": draw.choice([16, 32]),
        "patch_size": None,
    }
    return values


@pytest.mark.parametrize("seed", range(3))
def test_open_clip_resnet_folder(seed: int, tmp_path: Path) -> None:
    values = draw_resnet(seed)
    theirs = open_clip.CLIP(**values).eval()
    randomise(theirs, seed)
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": values}))
    save_file(theirs.state_dict(), str(tmp_path / "open_clip_model.safetensors"))
    ours = load(str(tmp_path))
    side = values["vision_cfg"]["image_size"]
    pixels = torch.randn(3, 3, side, side)
    tokens = texts(values["text_cfg"]["vocab_size"], values["text_cfg"]["context_length"])
    with torch.no_grad():
        assert (ours.encode_image(pixels) - theirs.encode_image(pixels)).abs().max() <= 1e-4
        assert (ours.encode_text(tokens) - theirs.encode_text(tokens)).abs().max() <= 1e-4
    assert int(ours.image_tower.stem[1].num_batches_tracked) == 7


def draw_transformers(seed: int) -> TheirConfig:
    """A random small transformers configuration."""
    draw = random.Random(seed)
    patch, vocabulary = draw.choice([4, 8]), draw.choice([50, 91])
    return TheirConfig(
        text_config={
            "vocab_size": vocabulary,
            "hidden_size": draw.choice([16, 24]),
            "intermediate_size": draw.choice([20, 64]),
            "num_hidden_layers": draw.randint(1, 3),
            "num_attention_heads": draw.choice([1, 2, 4]),
            "max_position_embeddings": draw.choice([9, 16]),
            "hidden_act": draw.choice(["gelu", "quick_gelu"]),
            "eos_token_id": vocabulary - 1,
            "bos_token_id": 1,
        },
        vision_config={
            "hidden_size": draw.choice([16, 24]),
            "intermediate_size": draw.choice([20, 64]),
            "num_hidden_layers": draw.randint(1, 3),
            "num_attention_heads": draw.choice([1, 2, 4]),
            "image_size": patch * draw.randint(2, 4),
            "patch_size": patch,
            "hidden_act": draw.choice(["gelu", "quick_gelu"]),
        },
        projection_dim=draw.choice([12, 20]),
    )


@pytest.mark.parametrize("seed", range(4))
def test_hugging_face_folder(seed: int, tmp_path: Path) -> None:
    config = draw_transformers(seed)
    theirs = CLIPModel(config).eval()
    randomise(theirs, seed)
    theirs.save_pretrained(tmp_path)
    ours = load(str(tmp_path))
    side = config.vision_config.image_size
    pixels = torch.randn(3, 3, side, side)
    tokens = texts(config.text_config.vocab_size, config.text_config.max_position_embeddings)
    with torch.no_grad():
        out = theirs(input_ids=tokens, pixel_values=pixels)
        image = nn.functional.normalize(ours.encode_image(pixels), dim=1)
        text = nn.functional.normalize(ours.encode_text(tokens), dim=1)
        assert (image - out.image_embeds).abs().max() <= 1e-4
        assert (text - out.text_embeds).abs().max() <= 1e-4
        logits = ours.logit_scale.exp() * image @ text.T
        assert (logits - out.logits_per_image).abs().max() <= 1e-4


def test_hugging_face_index_of_several_files(tmp_path: Path) -> None:
    theirs = CLIPModel(draw_transformers(0)).eval()
    theirs.save_pretrained(tmp_path, max_shard_size="10KB")
    assert (tmp_path / "model.safetensors.index.json").exists()
    pixels = torch.randn(1, 3, *[theirs.config.vision_config.image_size] * 2)
    with torch.no_grad():
        image = load(str(tmp_path)).encode_image(pixels)
        wanted = theirs.visual_projection(theirs.vision_model(pixels).pooler_output)
        assert (image - wanted).abs().max() <= 1e-4


def test_a_lone_openai_state_dict_tells_its_own_size(tmp_path: Path) -> None:
    values = {
        "embed_dim": 32,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 24, "layers": 2, "width": 128, "patch_size": 8},
        "text_cfg": {"context_length": 9, "vocab_size": 50, "width": 64, "heads": 1, "layers": 3},
    }
    theirs = open_clip.CLIP(**values).eval()
    randomise(theirs, 0)
    extra = {"input_resolution": torch.tensor(24), "context_length": torch.tensor(9)}
    state = {name: tensor.half() for name, tensor in theirs.state_dict().items()}
    save_file({**state, **extra}, str(tmp_path / "model.safetensors"))
    theirs.load_state_dict(state)
    ours = load(str(tmp_path / "model.safetensors"))
    pixels, tokens = torch.randn(2, 3, 24, 24), texts(50, 9)
    with torch.no_grad():
        assert (ours.encode_image(pixels) - theirs.encode_image(pixels)).abs().max() <= 1e-4
        assert (ours.encode_text(tokens) - theirs.encode_text(tokens)).abs().max() <= 1e-4


def test_a_lone_openai_resnet_tells_its_own_size(tmp_path: Path) -> None:
    values = {
        "embed_dim": 32,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 64, "layers": [2, 1, 3, 1], "width": 4},
        "text_cfg": {"context_length": 9, "vocab_size": 50, "width": 64, "heads": 1, "layers": 3},
    }
    theirs = open_clip.CLIP(**values).eval()
    randomise(theirs, 0)
    whole = theirs.state_dict()
    state = {n: t.half() if t.is_floating_point() else t for n, t in whole.items()}
    theirs.load_state_dict(state)
    save_file({**state, "context_length": torch.tensor(9)}, str(tmp_path / "RN.safetensors"))
    ours = load(str(tmp_path / "RN.safetensors"))
    assert ours.config.vision == ResNetConfig((64, 64), (2, 1, 3, 1), width=4)
    pixels, tokens = torch.randn(2, 3, 64, 64), texts(50, 9)
    with torch.no_grad():
        assert (ours.encode_image(pixels) - theirs.encode_image(pixels)).abs().max() <= 1e-4
        assert (ours.encode_text(tokens) - theirs.encode_text(tokens)).abs().max() <= 1e-4


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    values = draw_open_clip(1)
    theirs = open_clip.CLIP(**values)
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": values}))
    state = theirs.state_dict()
    state["visual.new"] = state.pop("visual.ln_post.bias")
    state["text_projection"] = state["text_projection"][:, 1:].contiguous()
    save_file(state, str(tmp_path / "open_clip_model.safetensors"))
    with pytest.raises(WeightsError) as error:
        load(str(tmp_path))
    for part in (
        "missing image_tower.norm_after.bias",
        "unexpected visual.new",
        "text_projection.weight is (11,",
    ):
        assert part in str(error.value)


def test_other_architectures_are_refused(tmp_path: Path) -> None:
    other = {**draw_open_clip(0), "vision_cfg": {"timm_model_name": "convnext_base"}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": other}))
    with pytest.raises(WeightsError, match=r"not a plain CLIP: \['timm_model_name'\]"):
        load(str(tmp_path))
    with pytest.raises(WeightsError, match=r"neither config.json nor open_clip_config.json"):
        load(str(tmp_path / "nowhere"))


def test_pickles_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(draw_transformers(0).to_json_string())
    (tmp_path / "model.safetensors").write_bytes(b"\x80\x04\x95 a pickle under another name")
    with pytest.raises(WeightsError, match="not a readable safetensors file"):
        load(str(tmp_path))


@pytest.mark.parametrize("seed", range(3))
def test_what_we_write_transformers_reads(seed: int, tmp_path: Path) -> None:
    torch.manual_seed(seed)
    theirs = CLIPModel(draw_transformers(seed))
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load(str(tmp_path / "theirs"))
    randomise(ours, seed)
    save_public(ours, str(tmp_path / "ours"))
    read, report = CLIPModel.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    pixels = torch.randn(2, 3, *[theirs.config.vision_config.image_size] * 2)
    tokens = texts(
        theirs.config.text_config.vocab_size, theirs.config.text_config.max_position_embeddings
    )
    with torch.no_grad():
        image = read.visual_projection(read.vision_model(pixels).pooler_output)
        assert (ours.encode_image(pixels) - image).abs().max() <= 1e-4
        text = read.text_projection(read.text_model(tokens).pooler_output)
        assert (ours.encode_text(tokens) - text).abs().max() <= 1e-4
    again = load(str(tmp_path / "ours"))
    for name, tensor in ours.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)
