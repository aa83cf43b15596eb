"""The demo's evaluation sets and the labels of its training drawings, as datasets.

    concepts   every emoji concept, in distribution (twitter-held) and in unseen hands (openmoji, fluent)
    styles     what photographs, clip art and emoji share: withheld photographs and clip art
    captions   withheld pictures and their captions, for retrieval

The supervised baseline learns from the corpus's own drawings of concepts; which concept a URL shows is known
from the galleries' layout.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from evaluators.suites.kinds import Classification, Retrieval
from evaluators.suites.labelled import Picture, build_labelled
from evaluators.suites.prompts import DRAWINGS, EVERY_STYLE
from pipelines import datasets
from pipelines.datasets import Dataset
from pipelines.records import LABELLED
from workflows.demo_web.galleries import drawing_paths
from workflows.demo_web.testsets import emoji_table, style_table
from workflows.demo_web.web import DemoWeb, DemoWebConfig, url_of

IN_DISTRIBUTION = "twitter-held"
UNSEEN_HANDS = ("openmoji", "fluent")


@dataclass(frozen=True)
class TestSets:
    """Every evaluation set of the demo."""

    __test__ = False

    concepts: Classification
    styles: Classification
    captions: Retrieval

    def withheld(self) -> list[Dataset]:
        """The sets whose pictures must not be in the corpus, nor near-duplicates of them."""
        concepts = [self.concepts.sets[name] for name in (IN_DISTRIBUTION, *UNSEEN_HANDS)]
        styles = [self.styles.sets[name] for name in ("photo", "clipart")]
        return [*concepts, *styles, *self.captions.sets.values()]


def build_test_sets(web: DemoWeb, config: DemoWebConfig, out: str) -> TestSets:
    """The evaluation sets under `out`; rendered once."""
    emoji = _by_group(emoji_table(web), posixpath.join(out, "concepts"), config)
    style = _by_group(style_table(web), posixpath.join(out, "styles"), config)
    captions = build_labelled(
        posixpath.join(out, "captions"),
        lambda: _captioned(web),
        sorted({picture.class_name for picture in _captioned(web)}),
        config=config,
        seed=config.seed,
    )
    return TestSets(
        Classification("concepts", emoji, DRAWINGS, IN_DISTRIBUTION),
        Classification("styles", style, EVERY_STYLE),
        Retrieval("retrieval", {"withheld": captions}),
    )


def _by_group(table: pa.Table, out: str, config: DemoWebConfig) -> dict[str, Dataset]:
    groups = pc.unique(table["group"]).to_pylist()
    return {
        group: _labelled(
            posixpath.join(out, group), table.filter(pc.equal(table["group"], group)), config, []
        )
        for group in groups
    }


def _labelled(path: str, rows: pa.Table, config: object, parents: list[Dataset]) -> Dataset:
    def write(folder: str) -> dict[str, int]:
        datasets.write_shard(posixpath.join(folder, "00000.parquet"), rows)
        return {}

    return datasets.build(
        path, name="labelled", config=config, seed=0, parents=parents, write=write
    )


def _captioned(web: DemoWeb) -> Iterator[Picture]:
    """Withheld pictures with the words that their site would have shown beside them."""
    for concept in web.concepts:
        if concept.key in web.held and "twitter" in concept.drawings:
            words = ", ".join((concept.name, *concept.keywords[:4]))
            drawing = concept.drawings["twitter"].read_bytes()
            yield Picture(f"twitter/{concept.key}", drawing, words, "twitter")
    for stamps in web.style_test.photographs.values():
        for stamp in stamps:
            yield Picture(stamp.path, stamp.file.read_bytes(), stamp.captions["en"], "stamps")
    for arts in web.style_test.clip_art.values():
        for art in arts:
            words = ", ".join((art.title or art.path.rpartition("/")[2], *art.keywords[:4]))
            yield Picture(art.path, art.file.read_bytes(), words, "clipart")


def build_training_labels(
    samples: Dataset, web: DemoWeb, config: DemoWebConfig, path: str
) -> Dataset:
    """The corpus's drawings of concepts with their labels: what the supervised baseline learns from."""
    label_of = {
        posixpath.join(url_of(site, config), inner.lstrip("/")): (label, concept.name, site)
        for label, concept in enumerate(web.concepts)
        for site, inner in drawing_paths(concept)
    }

    def rows() -> Iterable[dict[str, object]]:
        for batch in samples.batches(["image_id", "image_url", "image"]):
            for row in batch.to_pylist():
                if row["image_url"] in label_of:
                    label, name, site = label_of[row["image_url"]]
                    yield {
                        "image_id": row["image_id"],
                        "image": row["image"],
                        "label": label,
                        "class_name": name,
                        "group": site,
                    }

    table = pa.Table.from_pylist(list(rows()), LABELLED)
    return _labelled(path, table, config, [samples])
