"""Cards: their figures against pandas over the rows and safetensors' own headers."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
import statistics
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
import torch
import yaml

from evaluators.report.cards.dataset import dataset_card, median, tally
from evaluators.report.cards.given import card_of, cards_of
from evaluators.report.cards.model import model_card
from evaluators.report.cards.page import CardPage, Section
from models import weights
from models.clip import CLIPConfig, TextConfig
from models.vision.vit import ViTConfig
from pipelines import datasets
from pipelines.datasets import Dataset
from pipelines.records import SAMPLES, record_id

LANGUAGES = ("en", "en", "de", "und", "", "fr")


def row(i: int) -> dict[str, Any]:
    url = f"http://host{i % 3}.test/{i}.jpg"
    texts = [
        {
            "pair_id": record_id(url, str(t)),
            "text": f"a | picture {t}",
            "source": ("alt", "title")[t],
            "page_url": "http://page.test/",
            "language": LANGUAGES[i % len(LANGUAGES)],
            "queries": ["picture"],
        }
        for t in range(1 + i % 2)
    ]
    size = 64 + i
    digest = hashlib.sha256(str(i).encode()).hexdigest()
    return dict.fromkeys(SAMPLES.names) | {
        "image_id": record_id(url),
        "image_url": url,
        "texts": texts,
        "image": b"x",
        "format": ("jpeg", "png")[i % 2],
        "width": size,
        "height": 200,
        "original_width": size,
        "original_height": 200,
        "sha256": digest,
        "phash": "0" * 16,
        "thumbnail": bytes(768),
    }


def build(path: str, name: str, parents: list[Dataset], dropped: dict[str, int]) -> Dataset:
    def write(folder: str) -> dict[str, int]:
        if name != "samples":
            return dropped
        for part in range(2):
            table = pa.Table.from_pylist([row(i) for i in range(part, 30, 2)], SAMPLES)
            datasets.write_shard(posixpath.join(folder, f"{part}.parquet"), table)
        return dropped

    return datasets.build(
        path,
        name=name,
        config={"size": {"least": 64}},
        seed=5,
        parents=parents,
        write=write,
        content_hash=None if name == "samples" else lambda _: record_id(path),
    )


@pytest.fixture
def samples(tmp_path: Path) -> Dataset:
    crawl = build(str(tmp_path / "crawl"), "crawl", [], {"robots": 7, "http_404": 12})
    fetched = build(str(tmp_path / "fetch"), "fetching", [crawl], {"too_small": 1234})
    dropped = {"near_duplicate": 3, "too_small": 1234}
    return build(str(tmp_path / "samples"), "samples", [fetched], dropped)


def section(card: CardPage, title: str) -> Section:
    return next(one for one in card.sections if one.title == title)


def test_a_dataset_cards_counts_are_those_of_its_rows(samples: Dataset) -> None:
    frame = pd.concat([pd.read_parquet(shard) for shard in samples.shards])
    texts = pd.DataFrame([text for some in frame["texts"] for text in some])
    card = dataset_card(samples)
    languages = texts["language"].replace("", "unknown").value_counts()
    assert {k: int(n) for k, n, _ in section(card, "Languages").rows} == languages.to_dict()
    hosts = frame["image_url"].str.split("/").str[2].value_counts()
    assert {h: int(n) for h, n, _ in section(card, "Sources").rows} == hosts.to_dict()
    told = dict(section(card, "Contents").rows)
    assert told["rows"] == "30" and told["texts"] == str(len(texts)) == "45"
    sides = frame[["width", "height"]].min(axis=1)
    assert told["shorter side, pixels"] == (
        f"{sides.min()} to {sides.max()}, median {statistics.median_low(sides)}"
    )
    assert sum(tally(samples).formats.values()) == 30


def test_drops_are_told_once_and_in_the_order_of_the_flow(samples: Dataset) -> None:
    rows = section(dataset_card(samples), "Dropped on the way").rows
    assert [tuple(r) for r in rows] == [
        ("crawl", "http_404", "12"),
        ("crawl", "robots", "7"),
        ("fetching", "too_small", "1,234"),
        ("samples", "near_duplicate", "3"),
    ]


def test_markdown_is_whole_and_its_head_is_yaml(samples: Dataset) -> None:
    text = dataset_card(samples, "Corpus").markdown()
    _, head, body = text.split("---\n", 2)
    assert yaml.safe_load(head) == {"language": ["de", "en", "fr"], "size_categories": ["n<1K"]}
    assert samples.manifest.content_hash in body and "| size.least | 64 |" in body
    assert "No licence is recorded" in body and "robots.txt forbids" in body
    tables = re.findall(r"((?:^\|.*\n)+)", body, re.M)
    for table in tables:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1
    assert "a \\| b" in CardPage("t", "a", [Section("s", [], ("x",), [("a | b",)])]).markdown()


def test_a_lost_ancestor_is_a_limit(samples: Dataset, tmp_path: Path) -> None:
    (tmp_path / "crawl/manifest.json").unlink()
    card = dataset_card(samples)
    assert any("lineage is broken at crawl" in s for s in section(card, "Limits").sentences)


def test_medians() -> None:
    values = [3, 9, 1, 1, 4, 4, 8]
    for cut in (1, 2, 5, 7):
        assert median(Counter(values[:cut])) == statistics.median_low(values[:cut])
    with pytest.raises(ValueError, match="one value or more"):
        median(Counter())


@pytest.fixture
def clip(tmp_path: Path, samples: Dataset) -> str:
    path = str(tmp_path / "clip")
    vision = ViTConfig(image_size=(16, 16), patch_size=8, width=16, depth=1, heads=2)
    text = TextConfig(context_length=8, vocab_size=300, width=16, depth=1, heads=2)

    def write(folder: str) -> dict[str, int]:
        torch.manual_seed(0)
        weights.save(weights.build(CLIPConfig(vision, text, 8)), folder)
        plan = {"training": {"steps": 20, "batch_size": 6, "seed": 1}}
        whole = {"step": 20, "plan": plan}
        Path(folder, "training.json").write_text(json.dumps(whole))
        Path(folder, "metrics.jsonl").write_text('{"step": 20, "loss": 1.5, "seconds": 75.0}\n')
        return {}

    datasets.build(
        path,
        name="checkpoint",
        config={},
        seed=1,
        parents=[samples],
        write=write,
        content_hash=weights.content_hash,
    )
    return path


def test_a_model_card_counts_parameters_as_the_file_does(clip: str) -> None:
    data = Path(clip, "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    sizes = [torch.Size(t["shape"]).numel() for k, t in header.items() if k != "__metadata__"]
    told = {k: int(n.replace(",", "")) for k, n in section(model_card(clip), "Parameters").rows}
    assert told.pop("all") == sum(sizes) == sum(told.values())


def test_a_model_card_tells_budget_data_scores_and_misuse(clip: str, samples: Dataset) -> None:
    figure = {"suite": "zero-shot", "dataset": "pets", "split": "all", "metric": "top1"}
    score = figure | {"model": "CLIP", "value": 0.5, "n": 1200, "standard_error": None}
    card, data = cards_of(clip, [score])
    told = dict(section(card, "Training").rows)
    assert told["examples seen"] == "120" and told["epochs"] == "4"
    assert told["time"] == "1 min 15 s" and told["plan.seed"] == "1"
    assert tuple(section(card, "Training data").rows[0]) == (
        "samples",
        "30",
        samples.manifest.content_hash,
    )
    assert section(card, "Scores").rows[0][4:] == ("50.0\u202f%", "unknown", "1,200")
    assert "surveillance" in card.markdown() and "privacy" in card.markdown()
    assert data.title == "Dataset card of samples"


def test_a_folder_without_manifest_says_what_is_unknown(clip: str, samples: Dataset) -> None:
    for name in ("manifest.json", "training.json"):
        Path(clip, name).unlink()
    (card,) = cards_of(clip)
    assert "no manifest" in section(card, "Training data").sentences[0]
    assert section(card, "Training").rows == ()
    assert card_of(clip).title == "Model card of clip"
    assert card_of(samples.path).title == "Dataset card of samples"
