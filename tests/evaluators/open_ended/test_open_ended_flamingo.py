"""A Flamingo asked by examples: prompts as in the paper, the same answer in any batch."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from evaluators.open_ended.answering import Asked, Example
from evaluators.open_ended.flamingo import FlamingoAnswerer, FlamingoPrompts
from models import weights
from models.flamingo.flamingo import FlamingoConfig, gated_config
from models.flamingo.resampler import ResamplerConfig
from models.generation import GenerationConfig
from models.gpt import GPTConfig
from models.tokenizers.gpt2 import ByteTokenizer
from models.training.partners import image_id
from models.vision.vit import ViTConfig

Square = Callable[..., bytes]
GREEDY = GenerationConfig("greedy", most=5)


@pytest.fixture
def flamingo(tmp_path: Path) -> FlamingoAnswerer:
    torch.manual_seed(0)
    words = ByteTokenizer.learn(["Output: a red square", "Question: what? Answer: red"] * 3, 300)
    config = FlamingoConfig(
        ResamplerConfig(width=16, depth=1, heads=2, latents=3),
        gated_config(16, 2, 16),
        language=GPTConfig(words.vocab_size, 96, width=16, depth=2, heads=2),
        image=image_id(words),
        end=words.end,
    )
    model = weights.build(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "gate" in name and parameter.ndim < 2:
                parameter.fill_(1.0)  # closed gates would not look at a picture
    weights.save(model, str(tmp_path / "flamingo"), words)
    vision = ViTConfig(image_size=(16, 16), patch_size=8, width=16, depth=1, heads=2)
    weights.save(weights.build(vision), str(tmp_path / "vit"))
    prompts = FlamingoPrompts(generation=GREEDY)
    return FlamingoAnswerer(str(tmp_path / "flamingo"), str(tmp_path / "vit"), "pad", prompts)


def test_prompts_are_the_papers(flamingo: FlamingoAnswerer, square: Square) -> None:
    shown = Example(square("red"), "", "a red square")
    words = flamingo.tokenizer
    ids = flamingo.tokens(Asked("k", square("blue"), "", (shown,)))
    image, end = flamingo.model.config.image, flamingo.model.config.end
    first = words.encode("Output: a red square")
    assert ids == [words.start, image, *first, end, image, *words.encode("Output:")]
    bare = flamingo.tokens(Asked("k", b"", "what?", (Example(b"", "what?", "red"),)))
    assert bare.count(image) == 1  # an example without its picture
    assert words.decode(bare[1:-1]).startswith("Question: what? Answer: red")


def test_an_answer_does_not_hang_on_its_batch(flamingo: FlamingoAnswerer, square: Square) -> None:
    example = Example(square("green"), "", "a green square")
    asked = [
        Asked("a", square("red")),
        Asked("b", square("blue"), "what?"),
        Asked("c", square("yellow"), "", (example,)),
        Asked("d", square("grey"), "", (example,) * 9),
    ]
    together = flamingo.answer(asked)
    alone = [flamingo.answer([one])[0] for one in asked]
    assert together == alone
    assert together[3].status == "too_long" and "91 fit" in together[3].detail
