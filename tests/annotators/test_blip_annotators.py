"""BLIP directories in Hugging Face's layout as captioner and matcher: transformers' own captions,
token for token, and its scores; what is too long, empty or in an unknown script has its status.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from transformers import (
    BertTokenizerFast,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipForImageTextRetrieval,
)

from annotators.blip import BLIPCaptioner, BLIPMatcher, Captioning
from annotators.frame import Frame
from models.blip.blip import BLIP
from models.generation import GenerationConfig
from models.tokenizers.clip import Tokenizer
from models.weights import load, save, save_public

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{c}" for c in LETTERS)]
WORDS += ["picture", "of", "cat", "dog", ".", "[DEC]", "[ENC]"]
CONTEXT = 16


def config() -> BlipConfig:
    return BlipConfig(
        text_config={
            "vocab_size": len(WORDS),
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "max_position_embeddings": CONTEXT,
            "bos_token_id": len(WORDS) - 2,
            "sep_token_id": 3,
            "eos_token_id": 3,
            "pad_token_id": 0,
        },
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 16,
            "patch_size": 8,
        },
        image_text_hidden_size=8,
    )


def directory(path: Path, kind: type, seed: int) -> nn.Module:
    """A public checkpoint's folder, its weights drawn by `seed`; the model itself."""
    torch.manual_seed(seed)
    model = kind(config()).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.8)
    if kind is BlipForConditionalGeneration:
        nn.init.zeros_(model.text_decoder.cls.predictions.bias)  # captions of more than one word
        nn.init.normal_(model.text_decoder.cls.predictions.transform.LayerNorm.weight, 1.0, 0.5)
    model.tie_weights()
    model.save_pretrained(path)
    (path / "vocab.txt").write_text("\n".join(WORDS))
    return model


def pictures(count: int) -> list[bytes]:
    out = []
    for seed in range(count):
        chance = np.random.default_rng(seed)
        colour = chance.integers(0, 256, (1, 1, 3))
        pixels = (0.7 * colour + 0.3 * chance.integers(0, 256, (20, 24, 3))).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        out.append(file.getvalue())
    return out


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("prompt", ["", "picture of"])
def test_captions_are_transformers_token_for_token(seed: int, prompt: str, tmp_path: Path) -> None:
    theirs = directory(tmp_path, BlipForConditionalGeneration, seed)
    settings = Captioning(GenerationConfig(most=9), prompt=prompt)
    ours = BLIPCaptioner(str(tmp_path), "stretch", settings)
    images = [ours.prepare(image) for image in pictures(6)]
    found = ours.captions(images, [str(n) for n in range(6)])
    words = BertTokenizerFast.from_pretrained(str(tmp_path))
    begun = [len(WORDS) - 2, *ours.words.encode(prompt)]
    made = theirs.generate(
        ours.prepare.tensor(images),
        input_ids=torch.tensor([[*begun, 3]] * 6),
        max_new_tokens=9,
        do_sample=False,
    )
    wanted = [words.decode(row[1:], skip_special_tokens=True).replace("[DEC]", "") for row in made]
    assert [written.texts for written in found] == [(text.strip(),) for text in wanted]
    assert len(set(found)) > 1


@pytest.mark.parametrize("seed", range(3))
def test_scores_are_transformers_and_what_cannot_be_read_is_named(
    seed: int, tmp_path: Path
) -> None:
    theirs = directory(tmp_path, BlipForImageTextRetrieval, seed)
    ours = BLIPMatcher(str(tmp_path), "stretch")
    images = [ours.prepare(image) for image in pictures(3)]
    texts = [["a cat", "", "dog . cat of dog"], [], ["picture", "cat " * 5000, "猫"]]
    found = ours.judge(images, texts)
    statuses = [[judged.status for judged in of_image] for of_image in found]
    assert statuses == [["ok", "empty_text", "ok"], [], ["ok", "too_long", "unknown_script"]]
    pixels = ours.prepare.tensor(images)
    for place, of_image in enumerate(texts):
        for number, text in enumerate(of_image):
            if not text:
                continue
            tokens = ours.words([text], CONTEXT, cut=True)
            read = tokens.clone()
            read[:, 0] = len(WORDS) - 1  # the authors' [ENC], where transformers leaves [CLS]
            picture = pixels[place : place + 1]
            with torch.no_grad():
                fits = theirs(read, picture, use_itm_head=True).itm_score.softmax(1)[0, 1]
                cosine = theirs(tokens, picture, use_itm_head=False).itm_score[0, 0]
            assert abs(found[place][number].probability - float(fits)) <= 1e-4
            assert abs(found[place][number].similarity - float(cosine)) <= 1e-4


def test_our_own_checkpoint_and_the_way_back_to_transformers(tmp_path: Path) -> None:
    directory(tmp_path / "theirs", BlipForConditionalGeneration, 0)
    model = load(str(tmp_path / "theirs"))
    assert isinstance(model, BLIP)
    tokenizer = Tokenizer.learn(["a cat and a dog"] * 9, 520)
    save(model, str(tmp_path / "ours"), tokenizer)
    ours = BLIPCaptioner(str(tmp_path / "ours"), "stretch", Captioning(GenerationConfig(most=4)))
    assert isinstance(ours.words, Tokenizer)
    save_public(model, str(tmp_path / "back"))
    read, report = BlipForConditionalGeneration.from_pretrained(
        tmp_path / "back", output_loading_info=True
    )
    assert not report["missing_keys"] and not report["unexpected_keys"]
    pixels = torch.randn(2, 3, 16, 16)
    tokens = torch.tensor([[len(WORDS) - 2, 7, 8, 9]] * 2)
    with torch.no_grad():
        cache = model.text_tower.look(model.image_states(pixels))
        wanted = read(pixel_values=pixels, input_ids=tokens).logits
        assert (model.word_logits(tokens, cache) - wanted).abs().max() <= 1e-4


def test_the_wrong_half_is_refused(tmp_path: Path) -> None:
    directory(tmp_path / "c", BlipForConditionalGeneration, 0)
    directory(tmp_path / "m", BlipForImageTextRetrieval, 0)
    with pytest.raises(ValueError, match="is a captioner; legal: a matcher"):
        BLIPMatcher(str(tmp_path / "c"))
    with pytest.raises(ValueError, match="is a matcher; legal: a captioner"):
        BLIPCaptioner(str(tmp_path / "m"))


def test_a_frame_is_a_value_and_refuses_what_is_no_picture() -> None:
    assert Frame((8, 8)) == Frame((8, 8)) and hash(Frame((8, 8))) == hash(Frame((8, 8)))
    assert len(Frame((8, 12), "pad")(pictures(1)[0])) == 3 * 8 * 12
    with pytest.raises(OSError):
        Frame((8, 8))(b"\x89PNG torn")
