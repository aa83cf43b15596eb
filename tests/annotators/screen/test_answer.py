"""What can be read of a ScreenAI's answers, and the stage that writes them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from PIL import Image

from annotators.screen import released
from annotators.screen.answer import Answering, AnswerScreens, annotated, answered, clicked
from models.clip import CLIP, CLIPConfig, TextConfig
from models.layers.block import BlockConfig
from models.screenai import ScreenAI, ScreenAIConfig
from models.t5 import T5Config
from models.tokenizers.gpt2 import ByteTokenizer
from models.vision.patching import PatchingConfig
from models.vision.vit import ViTConfig
from models.weights import save
from pipelines.records import SCREEN_EXAMPLES

WHOLE = (
    "TOOLBAR 0 999 0 90 (TEXT Title 10 300 10 80, PICTOGRAM star 900 990 10 80)"
    ", TEXT a, b 1 9 100 120"
)
BYTES = ByteTokenizer([])
TINY = ScreenAIConfig(
    PatchingConfig(4, 12),
    BlockConfig(16, 2, 24, epsilon=1e-6),
    vision_depth=1,
    places=13,
    language=T5Config(
        BYTES.vocab_size, 20, 1, heads=2, head_width=8, hidden=24, pad=BYTES.end, end=BYTES.end
    ),
)


def example(task: str, prompt: str = "Describe.", target: str = "") -> dict[str, Any]:
    asked = {"example_id": f"{task} {prompt}", "task": task, "prompt": prompt, "target": target}
    return {**asked, "weight": 1.0}


@pytest.mark.parametrize(
    ("said", "ended", "status", "elements"),
    [
        (WHOLE, True, "ok", 4),
        ("", True, "empty", 0),
        (WHOLE[:-20], False, "cut", 2),  # an element with a torn joint is not read
        (WHOLE[:-20], True, "unparsable", 0),
        (WHOLE + ", TEXT", False, "cut", 3),
        ("TEXT a 9 1 0 5, TEXT b 0 1 0 1", False, "unparsable", 0),
        ("TEXT a 0 1 0 1, WINDOW b 0 1 0 1, TEXT c 0 1 0 1, TEXT d 0 1 0 1", False, "ok", 3),
        ("TEXT a 0 1 0 1, TEXT b 5 1 0 1, TEXT c 0 1 0 1, TEXT d 0 1 0 1", False, "unparsable", 0),
        ("a screen with a title", True, "unparsable", 0),
        ("TEXT a 0 1 0 1 (TEXT b 0 1 0 1", False, "cut", 2),
    ],
)
def test_annotations_are_read_as_far_as_they_go_only_where_they_are_cut(
    said: str, ended: bool, status: str, elements: int
) -> None:
    made = answered(example("annotation"), said, ended)
    if status == "ok" and not ended:
        status = "cut"  # it reads to the end, though the model had not ended
    assert (made["status"], len(annotated(made))) == (status, elements)
    assert bool(made["detail"]) == (status == "unparsable")


def test_the_start_of_a_text_is_what_read_gives() -> None:
    elements, wrong, tailless = released.read_start(WHOLE)
    assert (tuple(elements), wrong, tailless) == (released.read(WHOLE).elements, "", False)
    assert released.read_start("nothing")[0] == []


@pytest.mark.parametrize(
    ("said", "box"),
    [
        ("click 1 20 3 40", (1, 20, 3, 40)),
        (" click 1 20 3 40 ", (1, 20, 3, 40)),
        ("click 20 1 3 40", None),
        ("click 1 20 3", None),
        ("click 1 20 3 4000", None),
        ("tap 1 20 3 40", None),
    ],
)
def test_an_order_is_four_numbers(said: str, box: tuple[int, ...] | None) -> None:
    made = answered(example("navigation"), said, True)
    assert clicked(said)[0] == box
    assert made["status"] == ("ok" if box else "unparsable") and bool(made["detail"]) != bool(box)


def test_any_text_answers_a_question() -> None:
    said = [answered(example("question"), text, end) for text, end in (("4", True), ("4", False))]
    assert [one["status"] for one in said] == ["ok", "cut"]


def picture(width: int, height: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), (width, height, 9)).save(out, "PNG")
    return out.getvalue()


def test_every_example_has_an_answer_in_its_place(tmp_path: Path) -> None:
    torch.manual_seed(1)
    save(ScreenAI(TINY).eval(), str(tmp_path / "model"), BYTES)
    rows = [
        {
            "image_id": str(number),
            "template": "",
            "screen": "TEXT 0 9 0 9",
            "image": b"no picture" if number == 1 else picture(20 + number, 30),
            "examples": [
                example("annotation"),
                example("question", f"What is {number}?"),
                example("navigation", "Open it"),
            ][: 3 - number],
        }
        for number in range(3)
    ]
    stage = AnswerScreens(
        str(tmp_path / "model"), Answering(annotation_tokens=7, answer_tokens=5, together=2)
    )
    out = stage(pa.Table.from_pylist(rows, SCREEN_EXAMPLES)).to_pylist()
    assert [set(row) for row in out] == [{"image_id", "template", "screen", "answers"}] * 3
    for row, asked in zip(out, rows, strict=True):
        names = [one["example_id"] for one in row["answers"]]
        assert names == [one["example_id"] for one in asked["examples"]]
    assert {one["status"] for one in out[1]["answers"]} == {"undecodable"}
    assert out[0]["answers"][0]["said"] == out[0]["answers"][0]["said"].strip()
    alone = stage(pa.Table.from_pylist(rows[2:], SCREEN_EXAMPLES)).to_pylist()
    assert alone[0]["answers"] == out[2]["answers"]


def test_another_model_is_refused(tmp_path: Path) -> None:
    vision = ViTConfig((16, 16), patch_size=8, width=16, depth=1, heads=2)
    save(CLIP(CLIPConfig(vision, TextConfig(8, 512, 16, 1, 2), 8)), str(tmp_path / "clip"))
    with pytest.raises(ValueError, match="holds a CLIP; legal: a ScreenAI"):
        AnswerScreens(str(tmp_path / "clip"), Answering())
