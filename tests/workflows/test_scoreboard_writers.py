"""Models behind the open-ended suites: a BLIP-2 that is asked, a server with examples, DALL-E 2."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from annotators.chat import ChatConfig
from evaluators.generation.dalle2 import DALLE2Drawer
from evaluators.open_ended.answering import Asked, Example
from models import weights
from models.blip2.language import BLIP2Language, BLIP2LanguageConfig
from models.blip2.query_transformer import QueryTransformerConfig
from models.clip import CLIPConfig, TextConfig
from models.dalle2.caption_encoder import CaptionConfig
from models.dalle2.dalle2 import DALLE2Config
from models.dalle2.diffusion import DiffusionConfig
from models.dalle2.diffusion_prior import DiffusionPriorConfig
from models.dalle2.pixel_decoder import DecoderConfig
from models.dalle2.sampling import Sampler
from models.dalle2.unet import UNetConfig
from models.gpt import GPTConfig
from models.tokenizers.clip import Tokenizer
from models.tokenizers.gpt2 import ByteTokenizer
from models.training.partners import frozen_language
from models.vision.vit import ViTConfig
from workflows.scoreboard.writers import BLIP2_QUESTION, BLIPWriter, ServerWriter, Writing, writer

GREEDY = Writing(beams=1, most=4)


def square(colour: tuple[int, int, int]) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (20, 20), colour).save(out, "png")
    return out.getvalue()


RED, BLUE = square((230, 20, 20)), square((20, 40, 220))


@pytest.fixture
def folders(tmp_path: Path) -> tuple[str, str]:
    """A BLIP-2 of the second stage and its GPT, with weights that say different things."""
    torch.manual_seed(0)
    words = ByteTokenizer.learn(["Question: what colour? Short answer: red"] * 3, 290)
    gpt = weights.build(GPTConfig(words.vocab_size, 64, width=16, depth=2, heads=2))
    config = BLIP2LanguageConfig(
        ViTConfig((16, 16), 8, 16, 1, 2),
        QueryTransformerConfig(3, 16, 2, 2, text=False, dropout=0.0, attention_dropout=0.0),
        language=16,
        start=words.start,
        end=words.end,
    )
    blip = weights.build(config)
    for parameter in (*gpt.parameters(), *blip.parameters()):
        torch.nn.init.normal_(parameter, std=0.7)
    weights.save(gpt, str(tmp_path / "gpt"), words)
    weights.save(blip, str(tmp_path / "blip2"), words)
    return str(tmp_path / "blip2"), str(tmp_path / "gpt")


def plain(folders: tuple[str, str], model: BLIPWriter, image: bytes, question: str) -> str:
    """Greedy, the whole row read anew for each token."""
    blip = weights.load(folders[0])
    assert isinstance(blip, BLIP2Language)
    language = frozen_language(weights.load(folders[1]))
    words = model.captioner.words
    begun = [blip.config.start, *words.encode(BLIP2_QUESTION.format(question))]
    row = list(begun)
    with torch.inference_mode():
        states = model.captioner.states([model.captioner.prepare(image)])
        soft = blip.language_projection(blip.queries(states))
        for _ in range(4):
            cache = language.open(soft, None)
            best = int(language.advance(torch.tensor([row]), cache).argmax())
            if best == blip.config.end:
                break
            row.append(best)
    marks = (blip.config.start, blip.config.end)
    return words.decode([w for w in row[len(begun) :] if w not in marks]).strip()


def test_a_blip2_answers_what_its_language_model_says(folders: tuple[str, str]) -> None:
    model = BLIPWriter(*folders, "pad", GREEDY)
    asked = [
        Asked("a", RED, "what colour?"),
        Asked("b", BLUE, "what?"),
        Asked("c", RED),
        Asked("d", BLUE),
    ]
    together = model.answer(asked)
    assert together == [model.answer([one])[0] for one in asked]
    for one, said in zip(asked[:2], together, strict=False):
        assert said.text == plain(folders, model, one.image, one.question)


def test_a_flamingo_without_its_vision_encoder_is_refused() -> None:
    with pytest.raises(ValueError, match=r"--open\.beside"):
        writer("Flamingo", "FlamingoConfig", "somewhere", "", "pad", GREEDY)


def test_a_server_sees_examples_in_turn_and_its_failure_is_a_status(
    chat_server: Callable[..., str],
) -> None:
    seen: list[Any] = []

    def answer(request: dict[str, Any]) -> tuple[int, str]:
        seen.append(request["messages"][0]["content"])
        if "fail" in seen[-1][-1].get("text", ""):
            return 400, "no"
        return 200, json.dumps({"choices": [{"message": {"content": " two\nlines "}}]})

    chat = ChatConfig(url=chat_server(answer), attempts=1, at_once=1)
    model = ServerWriter(Writing(chat=chat))
    example = Example(BLUE, "which?", "blue")
    said = model.answer([Asked("a", RED, "which?", (example,)), Asked("b", RED, "fail")])
    assert said[0].text == "two lines" and said[1].status == "http_400"
    kinds = [part.get("text", part["type"]) for part in seen[0]]
    assert kinds[1:] == ["image_url", "which?\nblue", "image_url", "which?"]


def test_a_dalle2_draws_the_same_by_its_seed(tiny_dalle2: str) -> None:
    drawer = DALLE2Drawer(tiny_dalle2)
    images = drawer.draw(["red", "blue"], 3)
    assert images == drawer.draw(["red", "blue"], 3) != drawer.draw(["red", "blue"], 4)
    shapes = {np.asarray(Image.open(io.BytesIO(image))).shape for image in images}
    assert len(shapes) == 1 and shapes.pop()[2] == 3


@pytest.fixture
def tiny_dalle2(tmp_path: Path) -> str:
    torch.manual_seed(0)
    words = Tokenizer.learn(["red blue square"] * 3, 530)
    clip = CLIPConfig(
        ViTConfig((8, 8), 4, width=16, depth=1, heads=2),
        TextConfig(context_length=6, vocab_size=words.vocab_size, width=12, depth=1, heads=2),
        embedding=8,
    )
    prior = DiffusionPriorConfig(
        embedding=8, text_width=12, text_length=6, width=32, depth=1, heads=2,
        diffusion=DiffusionConfig(50, predicts="clean", variance="analytic", limit=None),
        sampler=Sampler(steps=(4,)),
    )  # fmt: skip
    decoder = DecoderConfig(
        image_size=(8, 8), embedding=8, captions=CaptionConfig(4, words.vocab_size, 16, 1, 2),
        unet=UNetConfig(16, 1, (1, 2), (2,), 16, groups=4, dropout=0.0),
        diffusion=DiffusionConfig(100, variance="learned", predicts="clean"),
        sampler=Sampler("ddim", (4,)),
    )  # fmt: skip
    path = str(tmp_path / "dalle2")
    model = weights.build(DALLE2Config(clip, prior, decoder, ()))
    for parameter in model.parameters():  # as it is initialised it draws the same grey for all
        torch.nn.init.normal_(parameter, std=0.2)
    weights.save(model, path, words)
    return path
