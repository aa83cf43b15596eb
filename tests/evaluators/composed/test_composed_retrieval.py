"""Composed retrieval against a plain reference, and its figures from the published layouts."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluators.composed.asking import composed
from evaluators.composed.encoders import COMPOSED, pic2word_contender
from evaluators.composed.figures import figures
from evaluators.composed.retrieval import answered
from evaluators.composed.sets import ComposedSet, find_composed
from evaluators.contenders import Contender
from evaluators.embed import EmbedConfig, Embedded
from evaluators.score import score
from evaluators.suites.open_sets import OpenSet, open_catalogue
from evaluators.zero_shot import Vectors
from models import weights
from models.clip import CLIPConfig, TextConfig
from models.pic2word import Pic2WordConfig
from models.tokenizers.clip import Tokenizer
from models.vision.vit import ViTConfig

Square = Callable[..., bytes]


class Given:
    """A model that composes what it was given."""

    logit_scale = 1.0

    def __init__(self, vectors: Vectors) -> None:
        self.vectors = vectors

    def encode_image(self, images: object) -> Vectors:
        return self.vectors

    def encode_text(self, texts: list[str]) -> Vectors:
        return self.vectors[: len(texts)]

    def compose(self, starred: list[str], images_QD: Vectors) -> Vectors:
        return images_QD[:, ::-1].copy()


@pytest.mark.parametrize("seed", range(6))
def test_recalls_are_those_of_the_published_formula(seed: int) -> None:
    """Pic2Word's get_metrics_imgnet: correct among the k nearest by right ones, from one-hots."""
    rng = np.random.default_rng(seed)
    n, q, d, classes = 120, 30, 6, 7
    gallery = rng.normal(size=(n, d)).astype(np.float32)
    asked = rng.normal(size=(q, d)).astype(np.float32)
    label = rng.integers(0, classes, n)
    wanted = rng.choice(label, q)
    names = [f"g{i:03d}" for i in range(n)] + [f"q{i:03d}" for i in range(q)]
    seen = Embedded(
        np.array(names), np.array(names), np.array(names),
        np.array(["gallery"] * n + ["query"] * q),
        np.concatenate([gallery, asked[:, ::-1]]), (),
    )  # fmt: skip
    queries = [
        {
            "image_id": f"q{i:03d}", "reference": f"q{i:03d}", "starred": "*", "words": "",
            "targets": [f"g{j:03d}" for j in np.flatnonzero(label == wanted[i])],
            "subset": [], "gallery": "gallery", "group": "",
        }
        for i in range(q)
    ]  # fmt: skip
    rows = list(answered(Given(gallery), COMPOSED, queries, seen, False))
    found = {metric: rate for _, metric, rate, _ in figures(rows)}

    unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)  # noqa: E731
    ranking = np.argsort(-(unit(asked) @ unit(gallery).T), axis=1, kind="stable")
    right = np.eye(classes)[wanted] @ np.eye(classes)[label].T
    for k in (1, 5, 10, 50):
        among = np.zeros_like(right)
        np.put_along_axis(among, ranking[:, :k], 1, axis=1)
        expected = ((among * right).sum(1) / right.sum(1)).mean()
        assert found[f"recall_{k}"].value == pytest.approx(expected, abs=1e-6)
        assert found[f"recall_{k}"].n == q


@pytest.fixture
def pic2word(tmp_path: Path) -> str:
    torch.manual_seed(0)
    tokenizer = Tokenizer.learn(["a photo of *", "is darker and redder", "an origami cartoon"], 600)
    vision = ViTConfig(image_size=(16, 16), patch_size=8, width=16, depth=1, heads=2)
    text = TextConfig(
        context_length=16, vocab_size=tokenizer.vocab_size, width=16, depth=1, heads=2
    )
    star = tokenizer.encode("*")[0]
    prompt = (tokenizer.start, *tokenizer.encode("a photo of *"), tokenizer.end)
    config = Pic2WordConfig(CLIPConfig(vision, text, 8), star, prompt, hidden=8)
    weights.save(weights.build(config), str(tmp_path / "pic2word"), tokenizer)
    return str(tmp_path / "pic2word")


@pytest.fixture
def cirr(tmp_path: Path, square: Square) -> tuple[OpenSet, Path]:
    """Eight pictures and three queries in CIRR's files; one picture is broken, one missing."""
    root = tmp_path / "root"
    for folder in ("captions", "image_splits", "dev"):
        (root / "CIRR" / folder).mkdir(parents=True)
    names = [f"dev-{i}" for i in range(8)]
    for i, name in enumerate(names[:6]):
        (root / f"CIRR/dev/{name}.png").write_bytes(square("red", 30 * i))
    (root / "CIRR/dev/dev-6.png").write_bytes(b"no picture")
    split = {name: f"./dev/{name}.png" for name in names}
    (root / "CIRR/image_splits/split.rc2.val.json").write_text(json.dumps(split))
    alike = {"id": 1, "members": names[:6]}
    rows = [
        {"pairid": i, "reference": names[a], "target_hard": names[b], "caption": "is darker",
         "img_set": alike}
        for i, (a, b) in enumerate([(0, 1), (6, 2), (3, 7)])
    ]  # fmt: skip
    (root / "CIRR/captions/cap.rc2.val.json").write_text(json.dumps(rows))
    return open_catalogue()["cirr"], root


HERE = EmbedConfig(batch_size=4)


def test_cirr_hides_the_reference_and_counts_what_cannot_be_asked(
    cirr: tuple[OpenSet, Path], pic2word: str, tmp_path: Path
) -> None:
    spec, root = cirr
    found, audit = find_composed(spec, root, str(tmp_path / "sets"))
    assert found is not None
    kinds = {damage.kind: damage.count for damage in audit.damage}
    assert kinds == {"corrupt_image": 1, "missing_image": 1, "wrong_size": 4178}
    out = str(tmp_path / "out")
    extra = composed([pic2word_contender("Pic2Word", pic2word)], [found], out, HERE)
    assert len(extra.answers) == 4  # the model, and three ways without its mapper
    for answers in extra.answers:
        rows = {row["image_id"]: row for row in answers.table().to_pylist()}
        assert [rows[k]["status"] for k in "012"] == ["ok", "undecodable", "no_target"]
        assert answers.manifest.dropped == {"undecodable": 1, "no_target": 1}
        assert rows["0"]["candidates"] == 5 and rows["0"]["subset"] == 5
        assert "dev-0" not in rows["0"]["top"] and len(rows["0"]["places"]) == 1
    scored = score([], [], out, extras=[extra]).scores.table().to_pylist()
    by_model = {row["model"] for row in scored}
    ways = {f"Pic2Word: {way}" for way in ("image only", "text only", "image + text")}
    assert by_model == {"Pic2Word", "chance"} | ways
    chance = {r["metric"]: r["value"] for r in scored if r["model"] == "chance"}
    assert chance["recall_1"] == pytest.approx(0.2) and chance["subset_recall_3"] == 0.6


def test_the_mapper_decides_what_composing_finds(
    cirr: tuple[OpenSet, Path], pic2word: str, tmp_path: Path
) -> None:
    found, _ = find_composed(*cirr, str(tmp_path / "sets"))
    assert isinstance(found, ComposedSet)

    def scores() -> list[float]:
        extra = composed([pic2word_contender("P", pic2word)], [found], str(tmp_path / "o"), HERE)
        row = next(r for r in extra.answers[0].table().to_pylist() if r["status"] == "ok")
        return list(row["top_scores"])

    before = scores()
    model = weights.load(pic2word)
    with torch.no_grad():
        model.get_parameter("mapper.last.weight").mul_(-30)
        model.get_parameter("mapper.last.bias").add_(3)
    weights.save(model, pic2word, weights.load_tokenizer(pic2word))
    assert scores() != before  # other weights are another plan, and other answers


def test_fashion_iq_coco_and_domains_are_read_as_published(tmp_path: Path, square: Square) -> None:
    root, out = tmp_path / "root", str(tmp_path / "sets")
    for group in ("dress", "shirt", "toptee"):
        for folder in ("json", "image_splits", "images"):
            (root / "fashion-iq" / folder).mkdir(parents=True, exist_ok=True)
        (root / f"fashion-iq/image_splits/split.{group}.val.json").write_text('["B1", "B2"]')
        row = {"candidate": "B1", "target": "B2", "captions": ["is red", "is long"]}
        (root / f"fashion-iq/json/cap.{group}.val.json").write_text(json.dumps([row]))
    for name in ("B1", "B2"):
        (root / f"fashion-iq/images/{name}.png").write_bytes(square("blue"))
    found, _ = find_composed(open_catalogue()["fashion-iq"], root, out)
    assert found is not None and found.queries.manifest.rows == 3
    query = found.queries.table().to_pylist()[0]
    assert query["starred"] == "a photo of * , is long and is red"
    assert query["gallery"] == "dress" and query["targets"] == ["dress/B2"]

    for folder in ("val2017", "val2017_masked"):
        (root / "coco" / folder).mkdir(parents=True)
        (root / "coco" / folder / "1.jpg").write_bytes(square("green"))
    text = "id,query_regions,query_class,classes\n1.jpg,0;0;10.0;8.5,dog,cat;car\n"
    (root / "coco/coco_eval.csv").write_text(text)
    found, _ = find_composed(open_catalogue()["coco-objects"], root, out)
    assert found is not None
    query = found.queries.table().to_pylist()[0]
    assert query["starred"] == "a photo of * and dog and cat and car"
    assert query["words"] == "a photo of dog and cat and car" and query["targets"] == ["1.jpg"]

    (root / "imgnet").mkdir()
    (root / "imgnet/imgnet_real_query.txt").write_text("imgnet/real/a.jpg 7\n")
    targets = "imgnet/r/x.jpg 7\nimgnet/r/y.jpg 1007\nimgnet/r/z.jpg 1008\nimgnet/r/w.jpg 4007\n"
    (root / "imgnet/imgnet_targets.txt").write_text(targets)
    found, _ = find_composed(open_catalogue()["imagenet-domains"], root, out)
    assert found is not None
    queries = {row["group"]: row for row in found.queries.table().to_pylist()}
    assert set(queries) == {"cartoon", "origami"}  # no toy and no sculpture of the class
    assert queries["origami"]["targets"] == ["imgnet/r/y.jpg"]
    assert queries["origami"]["starred"] == "a origami of *"


def test_a_missing_set_says_how_to_get_it(tmp_path: Path) -> None:
    found, audit = find_composed(open_catalogue()["cirr"], tmp_path, str(tmp_path / "s"))
    assert found is None and audit.status == "missing"
    assert str(tmp_path) in audit.get and "CIRR" in audit.get


def test_a_model_without_texts_asks_nothing(cirr: tuple[OpenSet, Path], tmp_path: Path) -> None:
    from evaluators.baselines import pixel_probe

    found, _ = find_composed(*cirr, str(tmp_path / "sets"))
    assert found is not None
    contenders: list[Contender] = [pixel_probe("pixels")]
    assert composed(contenders, [found], str(tmp_path / "o"), HERE).answers == ()
