"""A ScreenAI's answers to the examples of screens, and what can be read in them.

An answer is text, and a model may write anything. An annotation is read as the released set's form;
an order to tap as `click x0 x1 y0 y1` in thousandths; questions and summaries are answered by any
text. What is not of that form is `unparsable`, no text at all is `empty`, and what came to the most
tokens without an end is `cut`: of an annotation that is cut, the elements before the cut are read.
A screenshot that cannot be decoded has its answers `undecodable`.

Screens of a table are answered together, those of a task in order of their prompts' length, so that
little padding is computed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from annotators.screen import released
from annotators.screen.schema import LAST, Box, Element
from models.generation import GenerationConfig
from pipelines.records import SCREEN_ANSWERS
from pipelines.stages import Step

OK, EMPTY, UNPARSABLE, CUT, UNDECODABLE = "ok", "empty", "unparsable", "cut", "undecodable"
READS, WRITES = ("image", "examples"), ("answers",)
_CLICK = re.compile(r"click (\d{1,3}) (\d{1,3}) (\d{1,3}) (\d{1,3})")


@dataclass(frozen=True)
class Answering:
    """How a ScreenAI answers."""

    prompt_tokens: int = 512
    """Most of a prompt; what is longer loses its tail."""
    annotation_tokens: int = 512
    """Most of an annotation, its end included."""
    answer_tokens: int = 96
    """Most of any other answer, its end included."""
    together: int = 32
    """Prompts that the model answers at a time."""


class AnswerScreens:
    """A table of `screen_examples` to one with `answers` in place of image and examples."""

    def __init__(self, checkpoint: str, config: Answering) -> None:
        """Raises ValueError for a checkpoint of another model."""
        import torch

        from models.screenai import ScreenAI
        from models.weights import load, load_tokenizer

        model = load(checkpoint)
        if not isinstance(model, ScreenAI):
            raise ValueError(f"{checkpoint} holds a {type(model).__name__}; legal: a ScreenAI")
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model, self.config = model.to(self.device), config
        self.words = load_tokenizer(checkpoint)

    def __call__(self, table: pa.Table) -> pa.Table:
        """One row for each that comes in, in order."""
        of_screen = table.column("examples").to_pylist()
        cut = [self._cut(image) for image in table.column("image").to_pylist()]
        said: dict[tuple[int, int], tuple[str, bool]] = {}
        for annotation in (True, False):
            asked = [
                (screen, place)
                for screen, examples in enumerate(of_screen)
                for place, one in enumerate(examples)
                if not isinstance(cut[screen], str) and (one["task"] == "annotation") == annotation
            ]
            asked.sort(key=lambda at: (len(of_screen[at[0]][at[1]]["prompt"]), at))
            most = self.config.annotation_tokens if annotation else self.config.answer_tokens
            for start in range(0, len(asked), self.config.together):
                part = asked[start : start + self.config.together]
                texts = [of_screen[screen][place]["prompt"] for screen, place in part]
                found = self._written([cut[screen] for screen, _ in part], texts, most)
                said |= dict(zip(part, found, strict=True))
        answers = [
            [
                answered(one, *said[screen, place])
                if (screen, place) in said
                else _answer(one, "", UNDECODABLE, str(cut[screen]))
                for place, one in enumerate(examples)
            ]
            for screen, examples in enumerate(of_screen)
        ]
        column = pa.array(answers, SCREEN_ANSWERS.field("answers").type)
        return table.drop_columns(list(READS)).append_column("answers", column)

    def _cut(self, image: bytes) -> Any:
        """Patches and places, or why the image cannot be decoded."""
        import torch

        from models.pixels import whole
        from models.vision.patching import patches

        try:
            pixels = whole(image)
        except Exception as error:  # whatever a decoder makes of broken bytes
            return type(error).__name__  # its words may hold an address, new in every run
        return patches(torch.from_numpy(pixels), self.model.config.patching)

    def _written(
        self, cut: Sequence[Any], texts: Sequence[str], most: int
    ) -> list[tuple[str, bool]]:
        """The likeliest text for each prompt, and whether it has an end."""
        from models.training.screens import prompts
        from models.vision.patching import stacked

        batch = stacked(list(cut)) | prompts(texts, self.words, self.config.prompt_tokens)
        batch = {key: value.to(self.device) for key, value in batch.items()}
        rows = self.model.generate(batch, GenerationConfig(most=most))
        return [(self.words.decode(row).strip(), len(row) < most) for row in rows]


def answered(example: Mapping[str, Any], said: str, ended: bool) -> dict[str, Any]:
    """An answer as a struct of `screen_answers`: what was said and whether it can be read."""
    if not said:
        return _answer(example, said, EMPTY, "" if ended else "no end")
    if example["task"] == "navigation":
        _, wrong = clicked(said)
    elif example["task"] == "annotation":
        found, wrong, tailless = released.read_start(said)
        if found and tailless and not ended:
            wrong = ""
    else:
        wrong = ""
    if wrong:
        return _answer(example, said, UNPARSABLE, wrong)
    return _answer(example, said, OK if ended else CUT, "")


def _answer(example: Mapping[str, Any], said: str, status: str, detail: str) -> dict[str, Any]:
    kept = {name: example[name] for name in ("example_id", "task", "prompt", "target")}
    return {**kept, "said": said, "status": status, "detail": detail[:200]}


def clicked(text: str) -> tuple[Box | None, str]:
    """The box of an order to tap, or None and what is wrong."""
    found = _CLICK.fullmatch(text.strip())
    if found is None:
        return None, f"{text[:60]!r} is not click x0 x1 y0 y1"
    box = Box(*map(int, found.groups()))
    if box.x0 > box.x1 or box.y0 > box.y1:
        return None, f"{tuple(box)}: x0 <= x1 and y0 <= y1 in 0-{LAST}"
    return box, ""


def annotated(answer: Mapping[str, Any]) -> list[Element]:
    """The elements that an answered annotation counts with; none if it is unparsable."""
    if answer["status"] not in (OK, CUT):
        return []
    return released.read_start(answer["said"])[0]


def answers_step(checkpoint: str, config: Answering, batch_rows: int, workers: int) -> Step:
    """The step of a chain that answers the examples of screens."""
    return Step(
        AnswerScreens,
        reads=READS,
        writes=WRITES,
        drops=READS,
        arguments=(checkpoint, config),
        batch_rows=batch_rows,
        workers=workers,
    )
