"""Task items: what a program picked as the answer, how it was worded, and whether it was kept.

A task starts from its answer (ScreenAI, Baechler et al. 2024, arXiv 2402.04615, section 4 and
appendix C, asks a model for both at once; a small model makes answers up, so here it never decides
one). A pick is the answer with a plain question for it; an item is a pick in somebody's words, with
its status.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from annotators.screen.schema import Box
from pipelines.records import record_id

Kind = Literal["read", "count", "compare", "sum", "navigate", "summary"]
KINDS: tuple[Kind, ...] = get_args(Kind)
ANSWERED: tuple[Kind, ...] = ("read", "count", "compare", "sum")
"""Kinds that are question answering."""
KEPT = "kept"
PROGRAM = "program"
"""Author of an item in the pick's own plain words."""

Test = Literal["text", "total", "more", "higher", "larger", "plus", "box", "summary"]
"""How an answer follows from the elements it rests on; `annotators.screen.tasks.ground` does it."""

NOUNS = {
    "BUTTON": "buttons",
    "CHECKBOX": "checkboxes",
    "RADIO_BUTTON": "radio buttons",
    "SWITCH": "switches",
    "TEXT_INPUT": "text fields",
    "LIST_ITEM": "list entries",
    "IMAGE": "pictures",
    "TAB": "tabs",
    "CARD": "cards",
    "SLIDER": "sliders",
    "LINK": "links",
    "DROPDOWN": "dropdown lists",
}
"""What is counted, by class."""
MANY = ("how many", "number of", "count of")
"""What a question for a count has one of."""


@dataclass(frozen=True)
class Pick:
    """An answer that a program took from a schema, and a plain question for it."""

    kind: Kind
    plain: str
    """The question, order or summary in the program's words."""
    answer: str
    """Short; for navigation what is tapped."""
    test: Test
    evidence: tuple[int, ...]
    """Places of the elements that the answer rests on."""
    anchors: tuple[str, ...] = ()
    """Names that any wording keeps letter by letter, in this order in `plain`."""
    keeps: tuple[tuple[str, ...], ...] = ()
    """Of each group any wording has one."""
    box: Box | None = None
    """Where the answer is, for navigation what to tap."""


@dataclass(frozen=True)
class Item:
    """A pick in somebody's words."""

    pick: Pick
    text: str
    """The question, order or summary; "" where the writer gave none."""
    author: str
    """The model that wrote it, or `PROGRAM`."""
    status: str = KEPT
    """`kept`, the validator that dropped it, or what became of the request."""
    detail: str = field(default="", compare=False)
    """What was seen, for a person."""
    said: str = ""
    """What the model answered to its own question; "" if it was not asked."""

    @property
    def kept(self) -> bool:
        """Whether it is part of the data."""
        return self.status == KEPT

    @property
    def target(self) -> str:
        """What a model should answer: the answer, a tap's box as x0 x1 y0 y1, or the summary."""
        if self.pick.kind == "navigate" and self.pick.box is not None:
            return "click " + " ".join(map(str, self.pick.box))
        return self.text if self.pick.kind == "summary" else self.pick.answer

    def row(self, image_id: str, prompts: str) -> dict[str, Any]:
        """As a struct of the dataset `screen_tasks`; `prompts` is the version of the prompts."""
        pick = self.pick
        return {
            "task_id": record_id(image_id, pick.kind, pick.plain, self.author),
            "kind": pick.kind,
            "text": self.text,
            "plain": pick.plain,
            "answer": pick.answer,
            "target": self.target,
            "box": None if pick.box is None else list(pick.box),
            "elements": list(pick.evidence),
            "author": self.author,
            "prompts": prompts,
            "status": self.status,
            "detail": self.detail,
            "said": self.said,
        }
