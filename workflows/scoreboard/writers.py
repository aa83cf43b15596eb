"""Models that write as the open-ended suites take them: BLIP and BLIP-2, Flamingo, a chat server.

What each is asked: a BLIP describes; a BLIP-2 with a language model is also asked "Question: ...
Short answer:", as in its paper (arXiv 2301.12597); a server gets an instruction, the examples with
their pictures in turn, and the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from annotators.chat import Chat, ChatConfig, ask, picture
from evaluators.open_ended.answering import Answerer, Asked, Said, Writer
from workflows.scoreboard.abilities import CAPTIONING, FEW_SHOT, SERVER, VQA

if TYPE_CHECKING:
    from models.pixels import Fit

DESCRIBE = "Describe the picture in one short sentence. Answer with the sentence alone."
REPLY = "Answer the question about the picture in one or two words, without a sentence."
BLIP2_QUESTION = "Question: {} Short answer:"


@dataclass(frozen=True)
class Writing:
    """How models are made to write."""

    beams: int = 3
    """Of beam search; 1 reads greedily."""
    most: int = 20
    """Tokens of an answer."""
    output: str = "Output:"
    """What a Flamingo reads before a caption; empty for one that was trained on bare captions."""
    chat: ChatConfig = field(default_factory=ChatConfig)
    """Of a server: its model, tries and cache; the checkpoint is its address."""
    side: int = 512
    """Longer side of a picture that is sent to a server, at most, pixels."""


def writer(
    name: str, kind: str, checkpoint: str, beside: str, fit: Fit, writing: Writing
) -> Writer:
    """The model at `checkpoint`. Raises ValueError where it needs another beside it."""
    if kind == SERVER:
        asked = replace(writing, chat=replace(writing.chat, url=checkpoint))
        settings = [checkpoint, asked.chat.model, asked.side, DESCRIBE, REPLY]
        load = partial(ServerWriter, asked)
        return Writer(name, load, (), settings, (CAPTIONING, VQA, FEW_SHOT))
    from models.weights import content_hash

    if kind == "FlamingoConfig" and not beside:
        raise ValueError(f"{checkpoint} is a Flamingo; name its vision encoder by --open.beside")
    weights = [content_hash(path) for path in (checkpoint, beside) if path]
    settings = [*weights, fit, writing.beams, writing.most, writing.output]
    if kind == "FlamingoConfig":
        make = partial(_flamingo, checkpoint, beside, fit, writing)
        return Writer(name, make, (), settings, (CAPTIONING, VQA, FEW_SHOT))
    reads = (CAPTIONING, VQA) if kind == "BLIP2LanguageConfig" else (CAPTIONING,)
    return Writer(name, partial(BLIPWriter, checkpoint, beside, fit, writing), (), settings, reads)


def _flamingo(checkpoint: str, beside: str, fit: Fit, writing: Writing) -> Answerer:
    from evaluators.open_ended.flamingo import FlamingoAnswerer, FlamingoPrompts

    prompts = FlamingoPrompts(writing.output, generation=_generation(writing))
    return FlamingoAnswerer(checkpoint, beside, fit, prompts)


def _generation(writing: Writing) -> Any:
    from models.generation import GenerationConfig

    method: Literal["beam", "greedy"] = "beam" if writing.beams > 1 else "greedy"
    return GenerationConfig(method, most=writing.most, beams=writing.beams)


class BLIPWriter:
    """A BLIP or BLIP-2, ours or published; `beside` is the language model of one of ours."""

    def __init__(self, path: str, beside: str, fit: Fit, writing: Writing) -> None:
        from annotators.blip import BLIPCaptioner, Captioning

        self.captioner = BLIPCaptioner(path, fit, Captioning(_generation(writing)))
        if beside:
            from models.training.partners import frozen_language
            from models.weights import load

            device = self.captioner.device
            self.captioner.model.attach(frozen_language(load(beside).to(device)))

    def answer(self, asked: Sequence[Asked]) -> list[Said]:
        """Descriptions and answers, in order."""
        prepared = [self.captioner.prepare(one.image) for one in asked]
        said = [Said()] * len(asked)
        plain = [index for index, one in enumerate(asked) if not one.question]
        if plain:
            keys = [asked[index].key for index in plain]
            written = self.captioner.captions([prepared[index] for index in plain], keys)
            for index, one in zip(plain, written, strict=True):
                said[index] = _said(one.texts[0] if one.texts else "")
        open_rows = [index for index, one in enumerate(asked) if one.question]
        for index in open_rows:  # a row each: a language model's padding would need a mask
            said[index] = _said(self._reply(prepared[index], asked[index]))
        return said

    def _reply(self, image: bytes, one: Asked) -> str:
        """A decoder's text begins with the question; an encoder reads it behind the picture."""
        import torch

        from models.blip2.frozen_lm import FrozenT5

        captioner, config = self.captioner, self.captioner.model.config
        words = captioner.words.encode(BLIP2_QUESTION.format(one.question))
        given: dict[str, Any] = {"prompt": words}
        if isinstance(captioner.model.language, FrozenT5):
            read = torch.tensor([[*words, config.end]], device=captioner.device)
            given = {"prompt": [], "prefix_BP": read}
        states, generation = captioner.states([image]), captioner.config.generation
        (row,) = captioner.model.caption(states, generation, keys=[one.key], **given)
        marks = (config.start, config.end)
        return captioner.words.decode([word for word in row if word not in marks])


def _said(text: str) -> Said:
    text = text.strip()
    return Said(text) if text else Said(status="empty_answer")


class ServerWriter:
    """A server that speaks the OpenAI chat API with images."""

    def __init__(self, writing: Writing) -> None:
        from annotators.chat_captions import ShrinkToJPEG

        self.chat, self.shrink = Chat(writing.chat), ShrinkToJPEG(writing.side)

    def answer(self, asked: Sequence[Asked]) -> list[Said]:
        """The server's answers as one line each; what failed is a status."""
        replies = self.chat.answers([ask(*self._parts(one)) for one in asked])
        return [Said(" ".join(r.text.split()), r.status, r.detail) for r in replies]

    def _parts(self, one: Asked) -> list[str | dict[str, Any]]:
        parts: list[str | dict[str, Any]] = [REPLY if one.question else DESCRIBE]
        for example in one.examples:
            if example.image:
                parts.append(picture(self.shrink(example.image), "image/jpeg"))
            parts.append(f"{example.question}\n{example.answer}".strip())
        parts.append(picture(self.shrink(one.image), "image/jpeg"))
        return [*parts, one.question] if one.question else parts
