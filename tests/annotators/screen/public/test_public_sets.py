"""Public sets in their published layouts, each a few hand-made rows, good and bad ones."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image

from annotators.screen.public.layouts import LAYOUTS, at
from annotators.screen.public.read import questions
from annotators.screen.public.sets import Flaws, public_set, public_sets
from pipelines.records import QUESTIONS

Put = Callable[[str, Any], None]
Read = Callable[..., list[dict[str, Any]]]


def png(shade: int = 0) -> bytes:
    out = io.BytesIO()
    Image.new("L", (8, 16), shade).save(out, "png")
    return out.getvalue()


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """Writes a file of the set: JSON, text, or for a picture its shade."""

    def write(name: str, content: Any) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, int):
            content = png(content)
        elif not isinstance(content, str | bytes):
            content = json.dumps(content)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return write


@pytest.fixture
def flaws() -> Flaws:
    return Flaws()


@pytest.fixture
def read(tmp_path: Path, flaws: Flaws) -> Read:
    def of(name: str, split: str) -> list[dict[str, Any]]:
        rows = list(questions(public_set(name), tmp_path, split, flaws))
        assert pa.Table.from_pylist(rows, QUESTIONS).num_rows == len(rows)
        assert len({row["image_id"] for row in rows}) == len(rows)
        assert all(row["class_name"] == row["references"][0] for row in rows)
        return rows

    return of


def told(rows: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    return [(row["question"], row["references"]) for row in rows]


def test_every_set_has_a_layout_and_every_layout_a_set() -> None:
    assert {spec.layout for spec in public_sets().values()} == set(LAYOUTS)
    names = "screen-annotation screenqa complex-screenqa widget-captioning screen2words websrc"
    names += " motif chartqa docvqa infographicvqa mpdocvqa ocr-vqa"
    assert set(names.split()) <= set(public_sets())


def test_a_wrong_name_is_answered_with_the_legal_ones() -> None:
    with pytest.raises(ValueError, match="docvqa"):
        public_set("doc")


@pytest.mark.parametrize("head", ["screen_id,screen_annotation", "image_id,label"])
def test_screen_annotation(head: str, put: Put, read: Read, flaws: Flaws) -> None:
    put("valid.csv", f'{head}\n7,"TEXT a 0 9 1 8, BUTTON b 0 9 1 8"\n8,TEXT c 0 9 1 8\n9,\n')
    put("rico/combined/7.jpg", 7)
    rows = read("screen-annotation", "valid")
    (row,) = rows
    assert row["references"] == ["TEXT a 0 9 1 8, BUTTON b 0 9 1 8"]
    assert row["image"] == png(7) and row["group"] == "valid/screen-annotation"
    assert flaws.counted == {"missing_image": 1, "no_answer": 1}
    assert "valid.csv, 8" in flaws.examples["missing_image"][0]


def test_the_columns_of_a_table_are_named_where_they_are_missing(
    put: Put, read: Read, flaws: Flaws
) -> None:
    put("valid.csv", "id,label\n7,TEXT a 0 9 1 8\n")
    assert read("screen-annotation", "valid") == []
    assert "row 2" in flaws.examples["malformed"][0]
    assert "screen_id or image_id" in flaws.examples["malformed"][0]


def test_screenqa_short_and_complex_and_sentences(put: Put, read: Read, flaws: Flaws) -> None:
    short = [
        {"image_id": 5, "question": "How many?", "ground_truth": ["12", "12 exercises", "12"]},
        {"image_id": 6, "question": "Where?", "ground_truth": ["<no answer>"]},
        {"image_id": 5, "question": "And?"},
        {"question": "Of what?", "ground_truth": ["x"]},
        "no row",
    ]
    put("short_answers/validation.json", short)
    put("complex_qa/data.json", short[:1] * 2)
    elements = [{"text": "12", "bounds": [1, 2, 3, 4], "vh_index": -1}]
    answers = [{"full_answer": f"There are {n}.", "ui_elements": elements} for n in (12, 13)]
    put("answers_and_bboxes/test.json", [short[0] | {"ground_truth": answers}])
    put("rico/combined/5.jpg", 5)
    assert told(read("screenqa", "validation")) == [("How many?", ["12", "12 exercises"])]
    assert flaws.counted == {"missing_image": 1, "no_answer": 1, "malformed": 2}
    assert any("validation#3" in place for place in flaws.examples["malformed"])
    assert len(read("complex-screenqa", "test")) == 2
    assert told(read("screenqa-sentences", "test")) == [
        ("How many?", ["There are 12.", "There are 13."])
    ]


def test_widget_captions_are_of_a_nodes_box(put: Put, read: Read, flaws: Flaws) -> None:
    put(
        "widget_captions.csv",
        "screenId,nodeId,captions\n3,0.1.0,go back|back button\n3,0.4,x\n4,0.0,y\n5,0.0,z\n",
    )
    put("split/dev.txt", "3\n4\n")
    child = {"bounds": [0, 0, 720, 1280], "children": [{"bounds": [720, 1280, 1440, 2560]}]}
    root = {"bounds": [0, 0, 1440, 2560], "children": [child, child]}
    put("rico/combined/3.json", {"activity": {"root": root}})
    put("rico/combined/3.jpg", 3)
    assert told(read("widget-captioning", "dev")) == [
        ("Describe the element at 500 999 500 999.", ["go back", "back button"])
    ]
    assert flaws.counted == {"malformed": 1, "missing_hierarchy": 1}
    assert "node 0.4" in flaws.examples["malformed"][0]


def test_screen2words_gathers_the_summaries_of_a_screen(put: Put, read: Read, flaws: Flaws) -> None:
    put("screen_summaries.csv", "screenId,summary\n3,a page\n4,other\n3,login page\n5,none\n")
    put("split/test_screens.txt", "3\n4\n6\n")
    for screen in (3, 4, 5):
        put(f"rico/combined/{screen}.jpg", screen)
    assert told(read("screen2words", "test")) == [
        ("Summarize the screen.", ["a page", "login page"]),
        ("Summarize the screen.", ["other"]),
    ]
    assert flaws.counted == {"missing_row": 1}


def test_websrc_holds_whole_sites_out(put: Put, read: Read, flaws: Flaws) -> None:
    head = "question,id,element_id,answer_start,answer\n"
    put("dataset_split.json", {"dev": ["au08"], "test": ["bo01"]})
    put("auto/08/dataset.csv", f"{head}How far?,au080000100000,11,0,20 MPG\n")
    put(
        "auto/03/dataset.csv",
        f"{head}Is it?,au030054200000,-1,1,yes\nWhere?,au030009900000,1,0,a\n",
    )
    put("book/01/dataset.csv", "question,id\nWho?,bo010000100000\n")
    for page in ("auto/08/processed_data/0800001", "auto/03/processed_data/0300542"):
        put(f"{page}.png", 1)
    put("book/01/processed_data/0100001.png", 1)
    assert told(read("websrc", "dev")) == [("How far?", ["20 MPG"])]
    assert told(read("websrc", "train")) == [("Is it?", ["yes"])]
    assert read("websrc", "test") == []  # its answers are kept back
    assert flaws.counted == {"missing_image": 1, "no_answer": 1}


def test_motif_clicks(put: Put, read: Read, flaws: Flaws) -> None:
    put("eccv_motif_app_unseen_task_seen.json", {"train": [], "test": ["t-1", "t-2", "t-3"]})
    trace = {
        "app": "com.a",
        "goal": "go home",
        "instr": ["click home", "swipe up", "click ok"],
        "actions": ["click", "swipe", "click"],
        "screen_w": 100,
        "screen_h": 200,
        "screen_bboxes": [[0.0, 50.0, 50.0, 100.0], [0, 0, 1, 1], [9.0, 9.0, 1.0, 1.0]],
        "images": ["s0", "s1", "s2", "s3"],
    }
    put("processed_motif_deduped/t-1.json", trace)
    put("processed_motif_deduped/t-3.json", "{")
    put("raw_data/com.a/t-1/screens/s0.jpg", 0)
    assert told(read("motif", "test")) == [("click home", ["click 0 500 250 500"])]
    assert flaws.counted == {"not_a_click": 1, "malformed": 2, "missing_trace": 1}
    assert "t-2" in flaws.examples["missing_trace"][0]


def test_chartqa_has_two_files_a_split(put: Put, read: Read, flaws: Flaws) -> None:
    put("test/test_human.json", [{"imgname": "1.png", "query": "Sum?", "label": "14"}])
    put("test/test_augmented.json", [{"imgname": "1.png", "query": "Most?", "label": "0.57"}])
    put("test/png/1.png", 1)
    assert told(read("chartqa", "test")) == [("Sum?", ["14"]), ("Most?", ["0.57"])]


@pytest.mark.parametrize("file", ["val_v1.0.json", "val_v1.0_withQT.json"])
def test_docvqa(file: str, put: Put, read: Read, flaws: Flaws) -> None:
    row = {"questionId": 3, "question": "Who?", "image": "documents/a_1.png", "answers": ["A", "a"]}
    put(file, {"dataset_name": "docvqa", "data": [row, row | {"questionId": 4, "image": "b.png"}]})
    put("documents/a_1.png", 1)
    put("b.png", b"\x89PNG torn")
    assert told(read("docvqa", "val")) == [("Who?", ["A", "a"])]
    assert flaws.counted == {"corrupt_image": 1}
    assert f"{file}, 4" in flaws.examples["corrupt_image"][0]


def test_docvqa_keeps_the_answers_of_its_test_back(put: Put, read: Read, flaws: Flaws) -> None:
    put("test_v1.0.json", {"data": [{"questionId": 3, "question": "Who?", "image": "a.png"}]})
    assert read("docvqa", "test") == []
    assert flaws.counted == {"no_answer": 1}


def test_infographicvqa(put: Put, read: Read) -> None:
    row = {"questionId": 1, "question": "?", "image_local_name": "3.jpeg", "answers": ["4%"]}
    put("infographicsVQA_val_v1.0_withQT.json", {"data": [row]})
    put("infographicsvqa_images/3.jpeg", 3)
    assert told(read("infographicvqa", "val")) == [("?", ["4%"])]


def test_mpdocvqa_takes_the_page_that_answers(put: Put, read: Read, flaws: Flaws) -> None:
    row = {"questionId": 1, "question": "?", "page_ids": ["d_p0", "d_p1"], "answers": ["x"]}
    rows = [row | {"questionId": n, "answer_page_idx": n} for n in (1, 2, -1)]
    put("val.json", {"data": rows})
    put("images/d_p1.jpg", 1)
    (found,) = read("mpdocvqa", "val")
    assert found["image"] == png(1)
    assert flaws.counted == {"malformed": 2}


def test_ocr_vqa(put: Put, read: Read, flaws: Flaws) -> None:
    book = {"questions": ["Who?", "Title?"], "answers": ["Ann", "It"], "split": 3}
    books = {"1": book, "2": book | {"split": 1}, "3": book | {"answers": []}, "4": {"split": 9}}
    put("dataset.json", books)
    put("images/1.jpg", 1)
    put("images/2.gif", 2)
    assert told(read("ocr-vqa", "test")) == [("Who?", ["Ann"]), ("Title?", ["It"])]
    assert len(read("ocr-vqa", "train")) == 2
    assert flaws.counted == {"malformed": 2}


def test_missing_and_torn_files_are_named(put: Put, read: Read) -> None:
    with pytest.raises(FileNotFoundError, match=r"val_v1\.0\.json.*withQT"):
        read("docvqa", "val")
    put("val_v1.0.json", "{")
    with pytest.raises(ValueError, match=r"val_v1\.0\.json"):
        read("docvqa", "val")
    with pytest.raises(ValueError, match="legal: train, val, test"):
        read("docvqa", "dev")


def test_ways_into_a_row() -> None:
    row = {"a": [{"b": 1}, {"b": 2}], "pages": ["p", "q"], "n": 1}
    assert at(row, ["a", "*", "b"]) == [1, 2]
    assert at(row, ["pages", "@n"]) == "q"
    with pytest.raises(IndexError, match="legal: 0 or more"):
        at(row | {"n": -1}, ["pages", "@n"])
