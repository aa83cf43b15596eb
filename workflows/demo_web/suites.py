"""The demo's evaluation sets and the labels of its training drawings, as datasets.

    concepts   every concept: in distribution (twitter-held), in unseen hands (openmoji, fluent)
    styles     what photographs, clip art and emoji share: withheld photographs and clip art
    captions   withheld pictures and their captions, for retrieval

The supervised baseline learns from the corpus's own drawings of concepts; which concept a URL shows
is known from the galleries' layout.
"""

from __future__ import annotations

import functools
import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from evaluators.suites.kinds import Classification, Retrieval, Suite, by_group
from evaluators.suites.labelled import Picture, build_labelled
from evaluators.suites.prompts import EVERY_STYLE, NAME_ALONE
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

    suites: tuple[Suite, ...]
    """Concepts, styles, captions."""
    withheld: tuple[Dataset, ...]
    """The sets whose pictures must not be in the corpus, nor near-duplicates of them."""


def build_test_sets(web: DemoWeb, config: DemoWebConfig, out: str) -> TestSets:
    """The evaluation sets under `out`; rendered once. A hand that is not there is left out."""
    emoji = functools.cache(lambda: emoji_table(web))
    styles = functools.cache(lambda: style_table(web))

    def part(name: str, table: Callable[[], pa.Table], groups: Sequence[str]) -> Dataset:
        def rows() -> pa.Table:
            return table().filter(pc.is_in(table()["group"], pa.array(groups)))

        return _labelled(posixpath.join(out, name), rows, config, [])

    concepts = part("concepts", emoji, (IN_DISTRIBUTION, *UNSEEN_HANDS))
    served = part("concepts-served", emoji, ("google", "twitter-known"))
    pictures = part("styles", styles, ("photo", "clipart"))
    reference = part("styles-served", styles, ("emoji",))
    captions = build_labelled(
        posixpath.join(out, "captions"),
        lambda: _captioned(web),
        sorted({picture.class_name for picture in _captioned(web)}),
        config=config,
        seed=config.seed,
    )
    hands = by_group(concepts)
    known = IN_DISTRIBUTION if IN_DISTRIBUTION in hands else None
    shifts = tuple(hand for hand in UNSEEN_HANDS if hand in hands) if known else ()
    suites = (
        Classification("concepts", hands | by_group(served), NAME_ALONE, known, shifts),
        Classification("styles", by_group(pictures) | by_group(reference), EVERY_STYLE),
        Retrieval("captions", by_group(captions)),
    )
    return TestSets(suites, (concepts, pictures, captions))


def _labelled(
    path: str, rows: Callable[[], pa.Table], config: object, parents: list[Dataset]
) -> Dataset:
    def write(folder: str) -> dict[str, int]:
        datasets.write_shard(posixpath.join(folder, "00000.parquet"), rows())
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
    """The corpus's drawings of concepts with labels: what the supervised baseline learns from."""
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

    return _labelled(path, lambda: pa.Table.from_pylist(list(rows()), LABELLED), config, [samples])
