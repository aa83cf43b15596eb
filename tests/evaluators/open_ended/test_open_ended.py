"""Questions from published files, examples in prompts, answers kept, figures counted from them."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from evaluators.contenders import Contender
from evaluators.embed import EmbedConfig, Embedded
from evaluators.open_ended.answering import Asked, Said, Writer
from evaluators.open_ended.asking import FewShot, few_shot, plainly
from evaluators.open_ended.questions import Amounts, QuestionSet, find_questions
from evaluators.open_ended.shots import asked_and_examples, nearest_shots, random_shots
from evaluators.score import score
from evaluators.suites.open_sets import open_catalogue
from pipelines.records import record_id

Square = Callable[..., bytes]
COLOURS = ("red", "green", "blue", "yellow", "violet", "grey")
HERE = EmbedConfig(batch_size=4)


@pytest.fixture
def root(tmp_path: Path, square: Square) -> Path:
    """NoCaps, OK-VQA with a train split, and GQA, of a few squares; one picture is broken."""
    root = tmp_path / "root"
    for folder in ("nocaps/val", "okvqa", "val2014", "train2014", "gqa/images"):
        (root / folder).mkdir(parents=True)
    images, notes = [], []
    for i, (name, domain) in enumerate(zip(COLOURS, ["in-domain", "near-domain"] * 3, strict=True)):
        (root / f"nocaps/val/{i}.png").write_bytes(square(name) if i else b"broken")
        images.append({"id": i, "file_name": f"{i}.png", "domain": domain})
        notes += [
            {"image_id": i, "caption": f"a {word} {name} square"} for word in ("small", "big")
        ]
    found = {"images": images, "annotations": notes}
    (root / "nocaps/nocaps_val_4500_captions.json").write_text(json.dumps(found))
    for split, count in (("val", 3), ("train", 4)):
        questions, answers = [], []
        for i in range(count):
            path = root / f"{split}2014/COCO_{split}2014_{i:012d}.jpg"
            path.write_bytes(square(COLOURS[i], 7 if split == "val" else 0))
            questions.append({"question_id": i, "image_id": i, "question": "what colour?"})
            said = [{"answer": "-", "raw_answer": COLOURS[i]}] * 9 + [{"answer": "x"}]
            answers.append({"question_id": i, "answers": said})
        path = root / f"okvqa/OpenEnded_mscoco_{split}2014_questions.json"
        path.write_text(json.dumps({"questions": questions}))
        path = root / f"okvqa/mscoco_{split}2014_annotations.json"
        path.write_text(json.dumps({"annotations": answers}))
    (root / "gqa/images/7.jpg").write_bytes(square("red"))
    row = {"q1": {"question": "red?", "imageId": "7", "answer": "yes"}}
    (root / "gqa/testdev_balanced_questions.json").write_text(json.dumps(row))
    return root


class Parrot:
    """Says the answer of the last example with a picture; else what it was made with."""

    asked = 0

    def answer(self, asked: Sequence[Asked]) -> list[Said]:
        Parrot.asked += len(asked)
        return [self._one(one) for one in asked]

    def _one(self, one: Asked) -> Said:
        if one.examples and one.examples[-1].image:
            return Said(one.examples[-1].answer)
        if one.examples:
            return Said(status="too_long", detail="999 tokens")
        return Said("Yes." if one.question else "a small blue square")


PARROT = Writer("parrot", Parrot, reads=("captioning", "vqa", "few-shot"))


EVERYTHING = Amounts()


def found(name: str, root: Path, tmp_path: Path, amounts: Amounts = EVERYTHING) -> QuestionSet:
    one, _ = find_questions(open_catalogue()[name], root, str(tmp_path / "sets"), amounts)
    assert one is not None
    return one


def test_captions_are_scored_whole_and_by_domain(root: Path, tmp_path: Path) -> None:
    one, audit = find_questions(open_catalogue()["nocaps"], root, str(tmp_path / "sets"), Amounts())
    assert one is not None and one.task == "captioning"
    assert {d.kind: d.count for d in audit.damage} == {"corrupt_image": 1, "wrong_size": 4494}
    extra = plainly("captioning", [PARROT], [one], str(tmp_path / "out"), HERE)
    (kept,) = extra.answers
    assert kept.manifest.dropped == {"undecodable": 1} and kept.manifest.rows == 6
    scores = score([], [], str(tmp_path / "out"), extras=[extra]).scores.table().to_pylist()
    rows = {(row["split"], row["metric"]): row for row in scores}
    assert {split for split, _ in rows} == {"all", "in-domain", "near-domain"}
    assert rows["all", "answered"]["value"] == pytest.approx(5 / 6)
    assert rows["in-domain", "cider"]["n"] == 2 and rows["near-domain", "cider"]["n"] == 3
    assert rows["all", "cider"]["standard_error"] > 0
    # the blue picture is in-domain: its caption is exactly one reference
    assert rows["in-domain", "bleu_4"]["value"] > rows["near-domain", "bleu_4"]["value"]

    before, content = Parrot.asked, kept.manifest.content_hash
    again = plainly("captioning", [PARROT], [one], str(tmp_path / "out"), HERE)
    assert Parrot.asked == before and again.answers[0].manifest.content_hash == content


def test_karpathys_split_has_its_captions_a_picture_or_a_row_each(
    root: Path, tmp_path: Path
) -> None:
    test = [
        {"image": f"val2014/COCO_val2014_{i:012d}.jpg", "caption": [f" a {COLOURS[i]} one", "it"]}
        for i in range(3)
    ]
    train = [
        {"image": f"train2014/COCO_train2014_{i:012d}.jpg", "caption": said, "image_id": f"c{i}"}
        for i in range(2)
        for said in ("one", "another")
    ]
    (root / "coco_karpathy_test.json").write_text(json.dumps(test))
    (root / "coco_karpathy_train.json").write_text(json.dumps(train))
    one = found("coco-captions", root, tmp_path)
    rows = one.dataset.table().to_pylist()
    assert sorted(row["group"] for row in rows) == ["test"] * 3 + ["train"] * 2
    (first,) = (row for row in rows if row["references"] == ["a red one", "it"])
    picture = root / "val2014/COCO_val2014_000000000000.jpg"
    assert first["image"] == picture.read_bytes() and first["question"] == ""
    assert [row["references"] for row in rows if row["group"] == "train"] == [
        ["one", "another"]
    ] * 2
    extra = plainly("captioning", [PARROT], [one], str(tmp_path / "out"), HERE)
    statuses = [row["status"] for row in extra.answers[0].table().to_pylist()]
    assert sorted(statuses) == ["not_asked"] * 2 + ["ok"] * 3


def test_a_killed_run_asks_only_what_is_missing(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evaluators.open_ended import answering

    monkeypatch.setattr(answering, "SHARD_ROWS", 2)
    one, small = found("nocaps", root, tmp_path), EmbedConfig(batch_size=2)
    whole = plainly("captioning", [PARROT], [one], str(tmp_path / "whole"), small).answers[0]

    calls = []

    class Dies(Parrot):
        def answer(self, asked: Sequence[Asked]) -> list[Said]:
            calls.append(len(asked))
            if len(calls) == 2:
                raise KeyboardInterrupt
            return super().answer(asked)

    dies = Writer("parrot", Dies, reads=PARROT.reads)
    with pytest.raises(KeyboardInterrupt):
        plainly("captioning", [dies], [one], str(tmp_path / "killed"), small)
    rest = plainly("captioning", [dies], [one], str(tmp_path / "killed"), small).answers[0]
    assert sum(calls) < 2 * 5 and rest.manifest.content_hash == whole.manifest.content_hash


def test_vqa_and_gqa_are_compared_as_their_papers_do(root: Path, tmp_path: Path) -> None:
    sets = [found("ok-vqa", root, tmp_path), found("gqa", root, tmp_path)]
    assert [one.task for one in sets] == ["vqa-stems", "exact"]
    extra = plainly("vqa", [PARROT], sets, str(tmp_path / "out"), HERE)
    rows = {(row["dataset"], row["metric"]): row["value"] for row in extra.rows()}
    assert rows["gqa", "exact_match"] == 1.0  # "Yes." is "yes"
    assert rows["ok-vqa", "vqa_accuracy"] == 0.0
    assert rows["ok-vqa", "answered"] == 1.0


def test_few_shot_takes_examples_of_train_and_the_nearest_last(
    root: Path, tmp_path: Path, colour_eye: Contender
) -> None:
    one = found("ok-vqa", root, tmp_path)
    cache = EmbedConfig(batch_size=4, cache=str(tmp_path / "cache"))
    few = FewShot(shots=(0, 2), seeds=2)
    extra = few_shot([PARROT], [one], str(tmp_path / "out"), cache, few, colour_eye)
    assert len(extra.answers) == 4  # 0-shot, two draws, RICES
    rows = {(row["split"], row["metric"]): row for row in extra.rows()}
    assert rows["0-shot", "answered"]["value"] == 0.0 and ("0-shot", "vqa_accuracy") not in rows
    assert rows["2-shot rices", "vqa_accuracy"]["value"] == 1.0  # the nearest has the same colour
    assert rows["2-shot random", "vqa_accuracy"]["value"] < 1.0
    train = {record_id(f"train/{i}") for i in range(4)}
    for answers in extra.answers:
        for row in answers.table().to_pylist():
            assert set(row["shots"]) <= train and len(row["shots"]) in (0, 2)


def test_shots_are_those_of_a_plain_search() -> None:
    rng = np.random.default_rng(0)
    keys = [f"k{i:02d}" for i in range(30)]
    vectors = rng.normal(size=(30, 5)).astype(np.float32)
    content = [hashlib.blake2b(bytes([i // 2])).hexdigest() for i in range(30)]  # pairs are equal
    rows = [(key, "test", one) for key, one in zip(keys, content, strict=True)]
    asked, examples = asked_and_examples(rows)
    names = np.array(keys)
    seen = Embedded(names, np.array(content), names, names, vectors, ())
    near = nearest_shots(asked, examples, 4, seen)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for i, key in enumerate(keys):
        order = sorted((-float(unit[i] @ unit[j]), j) for j in range(30) if j // 2 != i // 2)
        assert list(near[key]) == [keys[j] for _, j in reversed(order[:4])]
    drawn = random_shots(asked, examples, 4, 0)
    assert drawn == random_shots(asked, examples, 4, 0) != random_shots(asked, examples, 4, 1)
    for i, key in enumerate(keys):
        assert len(set(drawn[key])) == 4
        assert not {keys[i // 2 * 2], keys[i // 2 * 2 + 1]} & set(drawn[key])


def test_as_many_questions_as_wanted_are_kept(root: Path, tmp_path: Path) -> None:
    one = found("ok-vqa", root, tmp_path, Amounts(asked=2, examples=1))
    groups = one.dataset.table(["group"])["group"].to_pylist()
    assert sorted(groups) == ["test", "test", "train"]


def test_a_missing_or_half_set_is_told(root: Path, tmp_path: Path) -> None:
    one, audit = find_questions(open_catalogue()["vqav2"], tmp_path / "no", "s", Amounts())
    assert one is None and audit.status == "missing" and "v2_Questions" in audit.get
    (root / "gqa/testdev_balanced_questions.json").unlink()
    one, audit = find_questions(open_catalogue()["gqa"], root, "s", Amounts())
    assert one is None and audit.status == "damaged" and audit.damage[0].kind == "missing_file"
