"""CapFilt's scores and reports from small datasets, with a filter and captioner of plain rules."""

from __future__ import annotations

import csv
import io
import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score, precision_score, recall_score

from annotators.capfilt import Rule, write_decided
from annotators.captions import Judged, Written
from annotators.choose import Chosen
from pipelines import datasets
from pipelines.datasets import Dataset, open_dataset
from pipelines.records import CAPTIONED, SAMPLES, record_id
from pipelines.sorting import Shards
from pipelines.web.images import ImageConfig, Picture, process
from workflows.capfilt.answers import answer, read_answers, score_all
from workflows.capfilt.data import CapFiltData, Sets
from workflows.capfilt.examples import blocks, kept_shares, survey, text_funnel
from workflows.capfilt.recipe import CapFiltConfig
from workflows.capfilt.report import Outcome, write_ablation_report, write_capfilt_report
from workflows.capfilt.scores import pairs_of, swapped
from workflows.job import Job

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 60, 220)}


def picture(number: int) -> bytes:
    """A sheet of the number's colour, with noise of its own that no other picture is near to."""
    rng = np.random.default_rng(number)
    coarse = rng.integers(0, 2, (8, 8, 1)).repeat(8, axis=0).repeat(8, axis=1)
    base = np.array(list(COLOURS.values())[number % 3], np.float64)
    pixels = np.clip(base * (0.45 + 0.55 * coarse), 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "png")
    return out.getvalue()


def colour_of(image: bytes) -> str:
    with Image.open(io.BytesIO(image)) as opened:
        mean = np.asarray(opened.convert("RGB")).mean(axis=(0, 1))
    return list(COLOURS)[int(mean.argmax())]


class ColourMatcher:
    """Surest where the text names the picture's colour; wrong on every tenth picture."""

    prepare = staticmethod(bytes)

    def judge(self, images: list[bytes], texts: list[list[str]]) -> list[list[Judged]]:
        return [
            [
                Judged(status="empty_text") if not text else self._one(colour_of(image), text)
                for text in of_image
            ]
            for image, of_image in zip(images, texts, strict=True)
        ]

    def _one(self, colour: str, text: str) -> Judged:
        blur = int(record_id(text), 16) % 97 / 400
        right = (colour in text) != (int(record_id(text), 16) % 10 == 0)
        return Judged(0.1, (0.7 if right else 0.2) + blur)


class ColourCaptioner:
    """Says the colour and nothing else."""

    prepare = staticmethod(bytes)

    def captions(self, images: list[bytes], keys: list[str]) -> list[Written]:
        return [Written((f"a {colour_of(image)} sheet",)) for image in images]


def text_of(text: str, url: str, **more: Any) -> dict[str, Any]:
    base = {"pair_id": record_id(url, text), "text": text, "source": "alt", "page_url": url}
    return {**base, "language": "en", "queries": [], **more}


def rows(site: str, numbers: range, say: Any) -> list[dict[str, Any]]:
    found = []
    for number in numbers:
        made = process(picture(number), ImageConfig(image_size=64))
        assert isinstance(made, Picture)
        url = f"http://{site}.example/{number}.png"
        looks = {name: getattr(made, name, None) for name in SAMPLES.names}
        named = {"image_id": record_id(url), "image_url": url}
        found.append(looks | named | {"texts": [text_of(say(number), url)]})
    return found


def build(path: Path, name: str, table: list[dict[str, Any]], *parents: Dataset) -> Dataset:
    schema = {"samples": SAMPLES, "captioned": CAPTIONED}[name]

    def write(folder: str) -> dict[str, int]:
        datasets.write_shard(f"{folder}/0.parquet", pa.Table.from_pylist(table, schema))
        return {}

    return datasets.build(
        str(path), name=name, config={}, seed=0, parents=list(parents), write=write
    )


def clean_words(number: int) -> str:
    return f"a {list(COLOURS)[number % 3]} sheet with pattern number {number}"


def noisy_words(number: int) -> str:
    return f"img_{number}.png" if number % 2 else clean_words(number)


class Made:
    """A run's folder with all its datasets and reports."""

    def __init__(self, out: Path) -> None:
        self.out = out / "run"
        self.source = build(out / "input", "samples", rows("web", range(90), noisy_words))
        web = build(self.out / "web", "samples", rows("web", range(60), noisy_words), self.source)
        clean = build(self.out / "clean", "samples", rows("clean", range(100, 112), clean_words))
        held = build(self.out / "held-out", "samples", rows("held", range(60, 120), clean_words))
        self.sets = Sets(web, clean, held)
        self.config = CapFiltConfig(CapFiltData(self.source.path), str(self.out))
        self.job = Job(str(self.out))
        self.captioned = self._captioned(web)
        self.samples = self.job.build(
            "decide",
            "samples",
            lambda f, _: write_decided(self.captioned, f, self.config.rule, Shards(), clean),
            config=self.config.rule,
            parents=[self.captioned, clean],
        )
        self.scores = self.score()
        self.page = write_capfilt_report(
            self.job, self.config, self.sets, self.captioned, self.samples, self.scores
        )

    def models(self) -> tuple[Chosen[Any], Chosen[Any]]:
        return Chosen(ColourCaptioner, bytes, "says"), Chosen(ColourMatcher, bytes, "judges")

    def score(self) -> Dataset:
        captioner, matcher = self.models()
        return score_all(
            self.job, self.config, self.sets, captioner, matcher, self.source, self.captioned
        )

    def _captioned(self, web: Dataset) -> Dataset:
        table = []
        for row in web.table().to_pylist():
            written = ColourCaptioner().captions([row["image"]], [""])[0].texts[0]
            kinds = [("web", row["texts"][0]["text"]), ("synthetic", written)]
            texts = []
            for kind, text in kinds:
                judged = ColourMatcher().judge([row["image"]], [[text]])[0][0]
                scores = {"similarity": judged.similarity, "probability": judged.probability}
                texts.append(
                    text_of(text, row["image_url"], kind=kind, status=judged.status, **scores)
                )
            table.append(row | {"texts": texts, "status": "ok", "detail": ""})
        return build(self.out / "captioned", "captioned", table, web)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    with pytest.MonkeyPatch.context() as patch:  # METEOR's tables take seconds to read
        patch.setattr("evaluators.captions.meteor_lexicon.installed", lambda: False)
        return Made(tmp_path_factory.mktemp("capfilt-report"))


def value(made: Made, metric: str, split: str, model: str = "filter") -> float:
    found = [
        row["value"]
        for row in made.scores.table().to_pylist()
        if (row["metric"], row["split"], row["model"]) == (metric, split, model)
    ]
    assert len(found) == 1, (metric, split, model)
    return float(found[0])


def test_swaps_are_counted_as_scikit_learn_counts_them(made: Made) -> None:
    pairs = pairs_of(made.sets.held_out)
    texts, wrong = swapped(pairs, 0)
    judged = ColourMatcher().judge(pairs.images, [[text] for text in texts])
    fits = np.array([one[0].probability for one in judged])
    dropped = fits < 0.5
    assert 0 < dropped.sum() < len(dropped)
    ours = {name: value(made, name, "swapped") for name in ("precision", "recall")}
    assert ours["precision"] == pytest.approx(precision_score(wrong, dropped))
    assert ours["recall"] == pytest.approx(recall_score(wrong, dropped))
    expected = average_precision_score(wrong, -fits)
    assert value(made, "average_precision", "swapped") == pytest.approx(expected)


def test_captions_stand_beside_the_webs_texts_of_the_same_pictures(made: Made) -> None:
    answers = read_answers(open_dataset(made.job.at("answers")))
    web = [text for text in answers.column("web").to_pylist() if text is not None]
    assert len(web) == 30  # pictures 60 to 89 are in the source and in the held-out set
    assert sum(text.startswith("img_") for text in web) == 15
    ours, webs = (value(made, "CIDEr", "twins", m) for m in ("captioner", "web texts"))
    less = value(made, "CIDEr", "twins", "captioner less web texts")
    assert less == pytest.approx(ours - webs) and less != 0
    n = {r["split"]: r["n"] for r in made.scores.table().to_pylist() if r["metric"] == "CIDEr"}
    assert n == {"all": 60, "twins": 30}


def test_shares_kept_follow_the_rule(made: Made) -> None:
    texts = [t for r in made.captioned.table(["texts"]).to_pylist() for t in r["texts"]]
    for kind in ("web", "synthetic"):
        kept = [text["probability"] >= 0.5 for text in texts if text["kind"] == kind]
        assert sum(kept) > 0 and value(made, "kept", kind) == pytest.approx(np.mean(kept))
    found = kept_shares(survey(made.captioned, made.sets.clean, made.config.rule))
    at = int(np.argmin(abs(found.thresholds - 0.5)))
    assert found.web[at] == pytest.approx(found.web_kept.value)
    assert found.web[0] == 1.0 and found.web[-1] == 0.0


def test_funnel_adds_up(made: Made) -> None:
    found = survey(made.captioned, made.sets.clean, made.config.rule)
    web, written, kept, corpus = text_funnel(found, made.samples, made.sets.clean)
    assert (web.count, written.count) == (60, 120)
    assert kept.count + sum(kept.dropped.values()) == written.count
    assert corpus.count == kept.count + 12
    assert set(kept.dropped) == {"web_unmatched", "synthetic_unmatched"} or kept.dropped


def test_blocks_hold_what_their_titles_say(made: Made) -> None:
    found = survey(made.captioned, made.sets.clean, made.config.rule)
    images = {r["image_id"]: r["image"] for r in made.captioned.table().to_pylist()}
    shown = list(blocks(made.captioned, found))
    assert len(shown) == 4 and sum(block.count for block in shown) == 120
    for block in shown:
        kind = "web" if block.title.startswith("Web") else "synthetic"
        for one in (*block.blind, *block.surest):
            assert one.shown.kind == kind and one.image in images.values()
            assert (one.shown.verdict == "kept") == block.title.endswith("kept")
            assert one.other is not None and one.other.kind != kind
        values = [one.shown.probability for one in block.surest]
        assert values == sorted(values, reverse=block.title.endswith("kept"))
    again = list(blocks(made.captioned, survey(made.captioned, made.sets.clean, Rule())))
    assert again == shown
    other = list(blocks(made.captioned, survey(made.captioned, made.sets.clean, Rule(), seed=1)))
    assert [b.blind for b in other] != [b.blind for b in shown]


def test_the_page_and_its_files_show_the_scores(made: Made) -> None:
    page = Path(made.page).read_text(encoding="utf-8")
    average = value(made, "average_precision", "swapped")
    assert f"{average:.3f}" in page and "http://" not in page.split("<main>")[0]
    for folder in ("web", "held-out", "captioned", "answers", "scores"):
        assert f'<th scope="row">{folder}</th>' in page
    found = json.loads((made.out / "report" / "scores.json").read_text())
    assert len(found) == made.scores.manifest.rows
    lines = list(csv.DictReader((made.out / "report" / "scores.csv").open()))
    assert [line["metric"] for line in lines] == [row["metric"] for row in found]


def test_a_rerun_makes_nothing_again_and_another_filter_does(made: Made) -> None:
    assert made.score().manifest.content_hash == made.scores.manifest.content_hash
    out = Job(str(made.out / "other"))
    captioner, _ = made.models()
    build_of = partial(answer, out, made.config, made.sets, captioner, source=made.source, seed=0)
    first = build_of(judges=Chosen(ColourMatcher, bytes, "judges"))
    second = build_of(judges=Chosen(ColourMatcher, bytes, "judges otherwise"))
    assert first.manifest.config_hash != second.manifest.config_hash
    assert first.manifest.content_hash == open_dataset(made.job.at("answers")).manifest.content_hash


def test_a_text_that_is_not_judged_counts_as_dropped(made: Made) -> None:
    from workflows.capfilt.figures import swap_score, values

    table = read_answers(open_dataset(made.job.at("answers")))
    nothing = pa.array([math.nan] * len(table))
    blank = table.set_column(table.schema.get_field_index("probability"), "probability", nothing)
    assert (values(blank, Rule()) == 0).all()
    assert swap_score(blank, Rule(), 0).recall.value == 1.0


def test_the_ablation_goes_through_scores(made: Made) -> None:
    outcomes = [
        Outcome(name, seed, {"CIDEr": 0.2 + 0.1 * place + 0.01 * seed, "corpus_texts": 90.0})
        for place, name in enumerate(("none", "both"))
        for seed in range(3)
    ]
    page = Path(write_ablation_report(made.job, made.config, outcomes)).read_text(encoding="utf-8")
    assert "1 of 1 comparisons" in page and "60 held-out pictures" in page
    scores = open_dataset(made.job.at("ablation-scores"))
    assert scores.manifest.rows == 12 and scores.manifest.parents[0].name == "samples"
    found = json.loads((made.out / "report" / "ablation.json").read_text())
    assert found["conditions"]["both"]["CIDEr"]["value"] == pytest.approx(0.31)
    assert (made.out / "report" / "ablation.csv").exists()
