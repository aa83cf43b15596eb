"""Looking at datasets and checkpoints: show, verify, trace, export, figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console as Terminal
from rich.table import Table
from rich.tree import Tree

from pipelines import datasets, export, lineage
from pipelines.datasets import Dataset

Path = Annotated[str, tyro.conf.Positional]


@dataclass(frozen=True)
class Show:
    """A dataset's manifest and its first rows."""

    path: Path
    """Folder of the dataset."""
    rows: int = 5
    """Rows to show."""

    def run(self) -> None:
        """Print both."""
        dataset, terminal = datasets.open_dataset(self.path), Terminal()
        terminal.print(_about(dataset))
        if dataset.manifest.schema and self.rows:
            batch = next(dataset.batches(batch_size=self.rows), None)
            for row in batch.to_pylist() if batch is not None else []:
                terminal.print({key: _short(value) for key, value in row.items()})


def _short(value: Any) -> Any:
    return f"<{len(value):,} bytes>" if isinstance(value, bytes) else value


def _about(dataset: Dataset) -> Table:
    manifest = dataset.manifest
    table = Table(title=dataset.path, show_header=False, title_justify="left")
    facts = {
        "name": manifest.name,
        "rows": f"{manifest.rows:,} in {len(manifest.shards)} shards",
        "columns": ", ".join(f"{c['name']} {c['type']}" for c in manifest.schema),
        "content hash": manifest.content_hash,
        "config hash": f"{manifest.config_hash}, seed {manifest.seed}",
        "code": manifest.code_version,
        "parents": ", ".join(f"{p.name} {p.content_hash[:12]}" for p in manifest.parents),
        "dropped": ", ".join(f"{k} {v:,}" for k, v in manifest.dropped.items()),
        "quality": _quality(manifest.quality),
    }
    for name, value in facts.items():
        table.add_row(name, value)
    return table


def _quality(report: dict[str, Any]) -> str:
    results = report.get("expectations", [])
    met = sum(result["success"] for result in results)
    return f"{met} of {len(results)} expectations met" if results else ""


@dataclass(frozen=True)
class Verify:
    """Compare datasets with their manifests: every shard's sha256, every row in the content
    hash.
    """

    paths: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Folders."""

    def run(self) -> int:
        """Print what is wrong; returns the number of damaged datasets."""
        damaged = 0
        for path in self.paths:
            problems = datasets.verify(path)
            damaged += bool(problems)
            print("\n".join(problems) or f"{path}: as its manifest says")
        return min(damaged, 1)


@dataclass(frozen=True)
class Trace:
    """Walk from a scorecard, or any dataset, back to the queries and the URLs that it came from."""

    path: Path
    """Folder of the dataset."""
    sample: str = ""
    """Image id, its first digits or its URL: say where this one image came from."""
    most: int = 10
    """Queries and hosts to list."""

    def run(self) -> None:
        """Print the tree of ancestors, then the origins of every corpus in it."""
        terminal = Terminal()
        nodes = list(lineage.ancestors(self.path))
        terminal.print(_tree(nodes))
        for corpus in _corpora(nodes):
            if self.sample:
                terminal.print(lineage.find_sample(corpus, self.sample))
                continue
            for kind, found in lineage.origins(corpus, self.most).items():
                table = Table(title=f"{corpus.path}: its commonest {kind}", title_justify="left")
                table.add_column(kind)
                table.add_column("texts", justify="right")
                for name, count in found:
                    table.add_row(name, f"{count:,}")
                terminal.print(table)


def _corpora(nodes: list[lineage.Node]) -> Iterator[Dataset]:
    found = {node.path: node.dataset for node in nodes if node.dataset and node.name == "samples"}
    yield from found.values()


def _tree(nodes: list[lineage.Node]) -> Tree:
    branches: list[Tree] = []
    for node in nodes:
        label = f"[bold]{node.name}[/bold] {node.path}"
        if node.dataset is not None:
            manifest = node.dataset.manifest
            rows = f", {manifest.rows:,} rows" if manifest.schema else ""
            label += f" {manifest.content_hash[:12]}{rows}"
        if node.problem:
            label += f" [red]{node.problem}[/red]"
        del branches[node.depth :]
        branches.append(branches[-1].add(label) if branches else Tree(label))
    return branches[0]


@dataclass(frozen=True)
class Export:
    """Write samples out in a form that other tools load."""

    path: Path
    """Folder of a samples dataset."""
    out: str
    """Folder to write."""
    form: Literal["webdataset", "huggingface"] = "webdataset"
    """Tars of jpg, txt and json; or Parquet that Hugging Face datasets loads."""
    pairs_a_tar: int = 10_000
    """Entries of one tar."""

    def run(self) -> None:
        """Write it and say what was written."""
        samples = datasets.open_dataset(self.path)
        if self.form == "webdataset":
            count = export.to_webdataset(samples, self.out, self.pairs_a_tar)
            print(f"{self.out}: {count:,} pairs")
        else:
            print(f"{self.out}: {export.to_huggingface(samples, self.out):,} images")


@dataclass(frozen=True)
class Figures:
    """Draw what a checkpoint's ViT has learnt: how far its heads look, which positions are alike,
    what its patches are projected on.
    """

    checkpoint: Path
    """Folder of a model with a ViT inside."""
    images: str
    """Folder of a dataset with images."""
    out: str
    """Folder to write figures.html and figures.json into."""
    most: int = 128
    """Images to average over."""

    def run(self) -> None:
        """Draw them and say where."""
        from evaluators import vit_figures
        from models import weights

        images = vit_figures.first_images(datasets.open_dataset(self.images), self.most)
        found = vit_figures.measure(vit_figures.vit_of(weights.load(self.checkpoint)), images)
        print(vit_figures.write_figures(found, self.out, f"The ViT of {self.checkpoint}"))
