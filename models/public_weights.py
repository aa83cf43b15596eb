"""Published CLIP checkpoints into our CLIP: Hugging Face's layout, and OpenAI's, which open_clip
kept.

A folder holds `config.json` and `model.safetensors` (Hugging Face), or `open_clip_config.json` and
`open_clip_model.safetensors` (open_clip); a lone OpenAI state dict tells its own dimensions. The
layouts differ in names, in whether q, k and v lie in one matrix, and in which way round the
projections lie; that is all. Pickles are never opened: convert them to safetensors elsewhere.
"""

from __future__ import annotations

import json
import posixpath
import re

import torch
from torch import Tensor

from models.clip import CLIP
from models.public import clip_resnet
from models.public_configs import hugging_face_config, open_clip_config, openai_config
from models.weights import WEIGHTS, WeightsError, fit, read_bytes, read_tensors
from pipelines.datasets import filesystem

Rules = list[tuple[str, str]]
OPENAI_RULES: Rules = [
    (r"^visual\.conv1\.", "image_tower.patches."),
    (r"^visual\.class_embedding$", "image_tower.class_token_D"),
    (r"^visual\.positional_embedding$", "image_tower.positions.table_LD"),
    (r"^visual\.ln_pre\.", "image_tower.norm_before."),
    (r"^visual\.ln_post\.", "image_tower.norm_after."),
    (r"^visual\.proj$", "image_projection.weight"),
    (r"^visual\.transformer\.resblocks\.", "image_tower.transformer.blocks."),
    (r"^transformer\.resblocks\.", "text_tower.transformer.blocks."),
    (r"^token_embedding\.", "text_tower.embedding."),
    (r"^positional_embedding$", "text_tower.positions.table_LD"),
    (r"^ln_final\.", "text_tower.norm_after."),
    (r"^text_projection$", "text_projection.weight"),
    (r"\.ln_([12])\.", r".norm_\1."),
    (r"\.attn\.in_proj_", ".attention.qkv."),
    (r"\.attn\.out_proj\.", ".attention.out."),
    (r"\.c_fc\.", ".up."),
    (r"\.c_proj\.", ".down."),
]
HUGGING_FACE_RULES: Rules = [
    (r"^vision_model\.embeddings\.patch_embedding\.", "image_tower.patches."),
    (r"^vision_model\.embeddings\.class_embedding$", "image_tower.class_token_D"),
    (r"^vision_model\.embeddings\.position_embedding\.weight$", "image_tower.positions.table_LD"),
    (r"^vision_model\.pre_layrnorm\.", "image_tower.norm_before."),
    (r"^vision_model\.post_layernorm\.", "image_tower.norm_after."),
    (r"^vision_model\.encoder\.layers\.", "image_tower.transformer.blocks."),
    (r"^visual_projection\.", "image_projection."),
    (r"^text_model\.embeddings\.token_embedding\.", "text_tower.embedding."),
    (r"^text_model\.embeddings\.position_embedding\.weight$", "text_tower.positions.table_LD"),
    (r"^text_model\.final_layer_norm\.", "text_tower.norm_after."),
    (r"^text_model\.encoder\.layers\.", "text_tower.transformer.blocks."),
    (r"\.layer_norm([12])\.", r".norm_\1."),
    (r"\.self_attn\.out_proj\.", ".attention.out."),
    (r"\.self_attn\.", ".attention."),
    (r"\.fc1\.", ".up."),
    (r"\.fc2\.", ".down."),
]
# Constants and buffers that published files carry beside the weights.
NOT_WEIGHTS = re.compile(
    r"(^|\.)(input_resolution|context_length|vocab_size|position_ids|attn_mask)$"
)


def rename(tensors: dict[str, Tensor], rules: Rules) -> dict[str, Tensor]:
    """Applies every rule to every name, in order, and leaves out what is no weight."""
    out: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if NOT_WEIGHTS.search(name):
            continue
        ours = name
        for pattern, replacement in rules:
            ours = re.sub(pattern, replacement, ours)
        out[ours] = tensor
    return out


def from_openai(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """OpenAI's (and open_clip's) names and shapes to ours: both projections lie the other way
    round, but for the one that ends a ResNet's attention.
    """
    image, rest = clip_resnet.split(tensors)
    out = rename(rest, OPENAI_RULES)
    for name in ("image_projection.weight", "text_projection.weight"):
        if name in out:
            out[name] = out[name].T
    return image | out


def from_hugging_face(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Hugging Face's names to ours: q, k and v become one matrix."""
    out = rename(tensors, HUGGING_FACE_RULES)
    for name in [name for name in out if ".attention.q_proj." in name]:
        parts = [name.replace(".q_proj.", f".{letter}_proj.") for letter in "qkv"]
        if all(part in out for part in parts):
            joined = torch.cat([out.pop(part) for part in parts])
            out[name.replace(".q_proj.", ".qkv.")] = joined
    return out


def _exists(path: str) -> bool:
    fs, inner = filesystem(path)
    return bool(fs.get_file_info(inner).is_file)


def _sharded(path: str) -> dict[str, Tensor]:
    """The tensors of model.safetensors, or of the files that its index lists."""
    index = posixpath.join(path, WEIGHTS + ".index.json")
    if not _exists(index):
        return read_tensors(posixpath.join(path, WEIGHTS))
    files = sorted(set(json.loads(read_bytes(index))["weight_map"].values()))
    parts = [read_tensors(posixpath.join(path, file)) for file in files]
    return {name: tensor for part in parts for name, tensor in part.items()}


def load_public(path: str) -> CLIP:
    """The published CLIP at `path`, a folder or an OpenAI state dict as .safetensors, in evaluation
    mode.

    Raises WeightsError naming every tensor that is missing, unexpected or of another shape.
    """
    if path.endswith(".safetensors"):
        tensors = read_tensors(path)
        config, ours = openai_config(tensors), from_openai(tensors)
    elif _exists(posixpath.join(path, "open_clip_config.json")):
        values = json.loads(read_bytes(posixpath.join(path, "open_clip_config.json")))
        config = open_clip_config(values["model_cfg"])
        ours = from_openai(read_tensors(posixpath.join(path, "open_clip_model.safetensors")))
    elif _exists(posixpath.join(path, "config.json")):
        config = hugging_face_config(json.loads(read_bytes(posixpath.join(path, "config.json"))))
        ours = from_hugging_face(_sharded(path))
    else:
        raise WeightsError(
            f"{path} has neither config.json nor open_clip_config.json, and is no .safetensors file"
        )
    with torch.device("meta"):
        model = CLIP(config)
    model = model.to_empty(device="cpu")
    fit(model, {name: tensor.float() for name, tensor in ours.items()}, path)
    return model.eval()
