"""The BLIP-2 authors' checkpoints (LAVIS) as ours, of either stage (pickles: convert them to
safetensors elsewhere).

Only here is the first stage whole, with the head that writes. LAVIS leaves what is frozen out of
its files: put the tensors of EVA ViT-g's own file among theirs, each name after `visual_encoder.`;
language models are read where they are published. EVA stores no bias of its keys, which is zero.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.blip2.blip2 import BLIP2Config
from models.blip2.language import BLIP2LanguageConfig
from models.blip2.query_transformer import QueryTransformerConfig
from models.public.blip import HEAD, PLAIN, Sections, Tensors, from_sections
from models.public.blip2 import QUERIES, former_layout
from models.public.blip_authors import TIMM, count
from models.vision.vit import ViTConfig
from models.weights import WeightsError

SECTIONS: Sections = (
    ("image_norm.", "ln_vision.", PLAIN),
    ("image_tower.", "visual_encoder.", TIMM),
    ("former.queries_QD", "query_tokens", QUERIES),
    ("former.embedding.", "Qformer.bert.embeddings.word_embeddings.", PLAIN),
    ("former.positions.table_LD", "Qformer.bert.embeddings.position_embeddings.weight", PLAIN),
    ("former.", "Qformer.bert.", former_layout("self", "embeddings.LayerNorm.")),
    ("word_head.", "Qformer.cls.", HEAD),
    ("image_projection.", "vision_proj.", PLAIN),
    ("text_projection.", "text_proj.", PLAIN),
    ("matching_head.", "itm_head.", PLAIN),
    ("temperature", "temp", PLAIN),
    ("language_projection.", "opt_proj.", PLAIN),
    ("language_projection.", "t5_proj.", PLAIN),
)
LANGUAGE = ("opt_model.", "t5_model.")


def _with_key_bias(tensors: Tensors) -> Tensors:
    """EVA's biases of queries and values as one with the keys', which is zero."""
    out = dict(tensors)
    for name in [name for name in tensors if name.endswith(".attn.q_bias")]:
        q, v = out.pop(name), out.pop(name.replace(".q_bias", ".v_bias"))
        out[name.replace(".q_bias", ".qkv.bias")] = torch.cat([q, torch.zeros_like(q), v])
    return out


def read(
    tensors: Tensors, image_size: tuple[int, int] | None = None
) -> tuple[BLIP2Config | BLIP2LanguageConfig, Tensors]:
    """Our config and state dict; images are square if no `image_size` is given.

    Raises WeightsError without the tensors of the image encoder.
    """
    own = {name: tensor for name, tensor in tensors.items() if not name.startswith(LANGUAGE)}
    if "visual_encoder.pos_embed" not in own:
        raise WeightsError("no visual_encoder.*: put EVA ViT-g's tensors among these")
    out = from_sections(_with_key_bias(own), SECTIONS)
    vision, former = _vision(out, image_size), _former(out)
    if "language_projection.bias" not in out:
        return BLIP2Config(vision, former, embedding=len(out["text_projection.bias"])), out
    encodes = "t5_proj.bias" in own
    config = BLIP2LanguageConfig(
        vision,
        former,
        language=len(out["language_projection.bias"]),
        start=0 if encodes else 2,
        end=1 if encodes else 50118,
    )
    return config, out


def _vision(ours: Tensors, image_size: tuple[int, int] | None) -> ViTConfig:
    patches, places = ours["image_tower.patches.weight"], ours["image_tower.positions.table_LD"]
    side, width = round((len(places) - 1) ** 0.5) * patches.shape[-1], len(patches)
    return ViTConfig(
        image_size=image_size or (side, side),
        patch_size=patches.shape[-1],
        width=width,
        depth=count(ours, r"image_tower\.transformer\.blocks\.\d+\.norm_1\.bias"),
        heads=16 if width == 1408 else width // 64,
        hidden=len(ours["image_tower.transformer.blocks.0.mlp.up.bias"]),
    )


def _former(ours: Tensors) -> QueryTransformerConfig:
    queries_QD = ours["former.queries_QD"]
    words: Tensor | None = ours.get("former.embedding.weight")
    looks = [n for n in range(3) if f"former.blocks.{n}.norm_cross.bias" in ours]
    depth = count(ours, r"former\.blocks\.\d+\.norm_1\.bias")
    return QueryTransformerConfig(
        queries=len(queries_QD),
        width=queries_QD.shape[1],
        depth=depth,
        heads=queries_QD.shape[1] // 64,
        hidden=len(ours["former.blocks.0.mlp.up.bias"]),
        cross_every=looks[1] if len(looks) > 1 else depth,
        text=words is not None,
        vocab_size=30523 if words is None else len(words),
        context_length=512 if words is None else len(ours["former.positions.table_LD"]),
    )
