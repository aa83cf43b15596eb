"""The BLIP authors' checkpoints as our BLIP (pickles: convert them to safetensors elsewhere).

The pre-trained file is the whole: it holds what encoder and decoder share under both names, and
momentum copies and queues beside them, so that pre-training goes on from it. Fine-tuned files are
a captioner, or a matcher with copies and queues. A file tells its own dimensions; heads are 64
wide, as in every published one.
"""

from __future__ import annotations

import re

import torch

from models.blip.blip import BLIPConfig
from models.blip.med import MEDConfig
from models.public.blip import BERT, HEAD, PLAIN, Sections, Tensors, from_sections
from models.public.layout import Layout
from models.vision.vit import ViTConfig
from models.weights import WeightsError

TIMM = Layout(
    prefixes=(
        ("patches.", "patch_embed.proj."),
        ("class_token_D", "cls_token"),
        ("positions.table_LD", "pos_embed"),
        ("transformer.blocks.", "blocks."),
        ("norm_after.", "norm."),
    ),
    parts=(
        (".norm_1.", ".norm1."),
        (".norm_2.", ".norm2."),
        (".attention.out.", ".attn.proj."),
        (".attention.qkv.", ".attn.qkv."),
        (".mlp.up.", ".mlp.fc1."),
        (".mlp.down.", ".mlp.fc2."),
    ),
    unsqueezed=(("class_token_D", 2), ("positions.table_LD", 1)),
)
SECTIONS: Sections = (
    ("image_tower.", "visual_encoder.", TIMM),
    ("image_projection.", "vision_proj.", PLAIN),
    ("text_projection.", "text_proj.", PLAIN),
    ("matching_head.", "itm_head.", PLAIN),
    ("word_head.", "text_decoder.cls.", HEAD),
    ("text_tower.", "text_encoder.", BERT),
    ("decoder.", "text_decoder.bert.", BERT),
    ("momentum.copies.image_tower.", "visual_encoder_m.", TIMM),
    ("momentum.copies.text_tower.", "text_encoder_m.", BERT),
    ("momentum.copies.image_projection.", "vision_proj_m.", PLAIN),
    ("momentum.copies.text_projection.", "text_proj_m.", PLAIN),
)
# The copies' cross-attention is never run; which image a queued feature is of is not kept here.
UNUSED = re.compile(r"^momentum\.copies\.text_tower\..*\.(cross|norm_cross)\.|^idx_queue$")
QUEUES = {"image_queue": "momentum.image_queue_QE", "text_queue": "momentum.text_queue_QE"}
PLACES = ("queue_ptr", "ptr_queue")  # in the pre-trained and in the fine-tuned files


def read(tensors: Tensors, image_size: tuple[int, int] | None = None) -> tuple[BLIPConfig, Tensors]:
    """Our config and state dict; images are square if no `image_size` is given.

    Raises WeightsError where what encoder and decoder share is not the same.
    """
    out = from_sections(tensors, SECTIONS)
    out = {name: tensor for name, tensor in out.items() if not UNUSED.search(name)}
    decoder = {n.removeprefix("decoder."): out.pop(n) for n in list(out) if n[:8] == "decoder."}
    whole = "text_tower.embedding.weight" in out
    for name, tensor in decoder.items():
        own = whole and re.search(r"\.(attention|norm_1)\.", name)
        ours = "text_tower." + (_decoders(name) if own else name)
        if ours in out and not torch.equal(out[ours], tensor):
            raise WeightsError(f"{ours} of encoder and decoder differ")
        out[ours] = tensor
    if "temp" in out:
        out["temperature"] = out.pop("temp")
    for theirs, ours in QUEUES.items():
        if theirs in out:
            out[ours] = out.pop(theirs).T.contiguous()
            out["momentum.steps"] = torch.zeros(1, dtype=torch.int64)
    for name in PLACES:
        if name in out:
            out["momentum.place"] = out.pop(name).view(1)
    return _config(out, bool(whole and decoder), image_size), out


def _decoders(name: str) -> str:
    return name.replace(".attention.", ".decoder_attention.").replace(".norm_1.", ".decoder_norm.")


def _config(ours: Tensors, whole: bool, image_size: tuple[int, int] | None) -> BLIPConfig:
    """The dimensions of a state dict in our layout."""
    patches, places = ours["image_tower.patches.weight"], ours["image_tower.positions.table_LD"]
    embedding, queue = ours["text_tower.embedding.weight"], ours.get("momentum.image_queue_QE")
    side = round((len(places) - 1) ** 0.5) * patches.shape[-1]
    vision = ViTConfig(
        image_size=image_size or (side, side),
        patch_size=patches.shape[-1],
        width=patches.shape[0],
        depth=count(ours, r"image_tower\.transformer\.blocks\.(\d+)\.norm_1\.bias"),
        heads=patches.shape[0] // 64,
        hidden=len(ours["image_tower.transformer.blocks.0.mlp.up.bias"]),
    )
    text = MEDConfig(
        vocab_size=len(embedding),
        context_length=len(ours["text_tower.positions.table_LD"]),
        width=embedding.shape[1],
        depth=count(ours, r"text_tower\.blocks\.(\d+)\.norm_1\.bias"),
        heads=embedding.shape[1] // 64,
        hidden=len(ours["text_tower.blocks.0.mlp.up.bias"]),
        separate=whole,
    )
    matches = ours.get("text_projection.bias")
    return BLIPConfig(
        vision,
        text,
        part="whole" if whole else "captioner" if matches is None else "matcher",
        embedding=256 if matches is None else len(matches),
        queue=0 if queue is None else len(queue),
    )


def count(tensors: Tensors, pattern: str) -> int:
    """How many names are the pattern and nothing else."""
    return sum(bool(re.fullmatch(pattern, name)) for name in tensors)
