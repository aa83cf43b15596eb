"""Captioners and filters by where they are: folders of several models, and a chat server that sees
the picture; what cannot write or judge is refused by name.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from annotators.blip import Captioning
from annotators.captions import Written
from annotators.chat import ChatConfig
from annotators.chat_captions import ChatCaptioning, ShrinkToJPEG
from annotators.choose import captioner_at, matcher_at
from models.blip2.blip2 import BLIP2, BLIP2Config
from models.blip2.query_transformer import QueryTransformerConfig
from models.classifier import ClassifierConfig
from models.clip import CLIP, CLIPConfig, TextConfig
from models.generation import GenerationConfig
from models.tokenizers.clip import Tokenizer
from models.vision.vit import ViTConfig
from models.weights import build, save

TOKENIZER = Tokenizer.learn(["a cat and a dog on a mat"] * 9, 530)
VISION = ViTConfig(image_size=(16, 16), patch_size=8, width=16, depth=1, heads=2)
GREEDY = Captioning(GenerationConfig(most=6))


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def clip(path: Path) -> CLIP:
    torch.manual_seed(0)
    text = TextConfig(
        vocab_size=TOKENIZER.vocab_size, context_length=12, width=16, depth=1, heads=2
    )
    model = CLIP(CLIPConfig(VISION, text, 8)).eval()
    save(model, str(path), TOKENIZER)
    return model


def test_a_clip_judges_by_cosine(tmp_path: Path) -> None:
    model = clip(tmp_path / "clip")
    chosen = matcher_at(str(tmp_path / "clip"), "stretch")
    matcher = chosen.make()
    images = [chosen.prepare(picture(n)) for n in range(3)]
    texts = [["a cat", "", "dog"], [], ["mat " * 500]]
    found = matcher.judge(images, texts)
    assert [[j.status for j in row] for row in found] == [
        ["ok", "empty_text", "ok"],
        [],
        ["too_long"],
    ]
    with torch.no_grad():
        image = model.encode_image(chosen.prepare.tensor(images))[0]
        text = model.encode_text(TOKENIZER(["dog"], 12))[0]
    wanted = torch.nn.functional.cosine_similarity(image, text, dim=0)
    assert found[0][2].similarity == pytest.approx(float(wanted), abs=1e-5)
    assert np.isnan(found[0][2].probability)


def test_a_blip2_writes_and_judges(tmp_path: Path) -> None:
    torch.manual_seed(1)
    former = QueryTransformerConfig(
        3,
        16,
        2,
        2,
        vocab_size=TOKENIZER.vocab_size + 1,
        context_length=12,
        end=TOKENIZER.vocab_size - 1,
        decode=TOKENIZER.vocab_size,
    )
    model = BLIP2(BLIP2Config(VISION, former, embedding=8)).eval()
    save(model, str(tmp_path), TOKENIZER)
    writes = captioner_at(str(tmp_path), "pad", GREEDY, ChatCaptioning())
    judges = matcher_at(str(tmp_path), "pad")
    assert writes.identity == judges.identity
    images = [writes.prepare(picture(n)) for n in range(4)]
    written = writes.make().captions(images, list("abcd"))
    rows = model.caption(writes.prepare.tensor(images), GREEDY.generation)
    marks = {TOKENIZER.vocab_size}
    spelt = [TOKENIZER.decode([i for i in row if i not in marks]).strip() for row in rows]
    assert [w.texts for w in written] == [(text,) for text in spelt]
    judged = judges.make().judge(images, [["a cat"]] * 4)
    with torch.no_grad():
        logits = model.itm_logits(judges.prepare.tensor(images), TOKENIZER(["a cat"] * 4, 12))
    assert [row[0].probability for row in judged] == pytest.approx(
        logits.softmax(1)[:, 1].tolist(), abs=1e-5
    )


def test_what_cannot_is_refused_by_name(tmp_path: Path) -> None:
    clip(tmp_path / "clip")
    classifier = build(ClassifierConfig(VISION, 3))
    save(classifier, str(tmp_path / "classifier"))
    with pytest.raises(ValueError, match="holds a CLIPConfig; legal: a BLIP or a BLIP-2"):
        captioner_at(str(tmp_path / "clip"), "pad", GREEDY, ChatCaptioning())
    with pytest.raises(ValueError, match="holds a ClassifierConfig; legal"):
        matcher_at(str(tmp_path / "classifier"), "pad")


SEEDS: list[Any] = []


def answer(request: dict[str, Any]) -> tuple[int, str]:
    """How large the picture is that was sent; red ones are refused."""
    SEEDS.append(request.get("seed"))
    url = request["messages"][0]["content"][1]["image_url"]["url"]
    sent = Image.open(io.BytesIO(base64.b64decode(url.split(",", 1)[1])))
    red = sent.resize((1, 1)).getpixel((0, 0))[0] > 200
    text = f'"A picture of\n{sent.width} by {sent.height}, {sent.format}."'
    return 400 if red else 200, json.dumps({"choices": [{"message": {"content": text}}]})


@pytest.fixture
def url(chat_server: Callable[..., str]) -> str:
    SEEDS.clear()
    return chat_server(answer)


def flat(size: tuple[int, int], colour: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGBA", size, colour).save(out, "PNG")
    return out.getvalue()


def test_a_server_writes_captions(url: str, tmp_path: Path) -> None:
    chat = ChatConfig(model="eyes", attempts=1, cache=str(tmp_path / "answers.sqlite"))
    asked = ChatCaptioning(chat=chat, side=64, each=2)
    chosen = captioner_at(url, "pad", GREEDY, asked)
    assert chosen.identity == f"{url} eyes"
    captioner = chosen.make()
    images = [
        chosen.prepare(flat(size, colour))
        for size, colour in (((200, 100), "blue"), ((8, 8), "red"))
    ]
    found = captioner.captions(images, ["a", "b"])
    assert found[0] == Written(("A picture of 64 by 32, JPEG.",))
    assert found[1].texts == () and found[1].status == "http_400"
    asked_before = len(SEEDS)
    assert len(set(SEEDS)) == 4
    assert captioner.captions(images[:1], ["a"]) == found[:1]
    assert len(SEEDS) == asked_before, "the cache holds both captions"


def test_transparency_is_laid_on_white() -> None:
    shrunk = Image.open(io.BytesIO(ShrinkToJPEG(32)(flat((64, 64), "#00000000"))))
    assert shrunk.size == (32, 32)
    assert min(shrunk.getpixel((5, 5))) > 250
    with pytest.raises(OSError):
        ShrinkToJPEG(32)(b"no picture")
