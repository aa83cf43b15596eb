"""Interface templates to a dataset of screens with the DOM's truth.

    sightmill render-screens --out screens --draw.screens 360

Pages of 15 templates out of npm packages are rendered by headless Chromium on phones, tablets and
desktops, light and dark, in nine languages; whole templates are held out. A shard is written when
its screens are done, and a rerun goes on with the next one. With one browser, 30 screens took 56 s
once the packages were there; of 440 screens eight got no picture.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyarrow as pa

from annotators.screen.render import OK, Sources, browser, chromium, screen
from annotators.screen.templates import Draw, Shot, pages, shots
from pipelines.datasets import Dataset, write_shard
from pipelines.hashing import hash_json
from pipelines.records import SCREENS
from pipelines.storage import filesystem as filesystem_of
from workflows.console import Update
from workflows.demo_web import packages
from workflows.job import Job
from workflows.screens.templates import DRESSES, Catalogue, gather

SHARD_ROWS = 24


@dataclass(frozen=True)
class RenderScreensConfig:
    """Render screens of interface templates."""

    out: str
    """Folder of the dataset."""
    draw: Draw = field(default_factory=Draw)
    """Which screens."""
    templates: tuple[str, ...] = ()
    """Names of the templates; none: all."""
    workers: int = 1
    """Browsers at a time; a core each."""
    seconds: float = 30.0
    """Most that a step of a page may take."""
    cache: str = str(packages.CACHE)
    """Folder of the unpacked packages."""

    def run(self) -> None:
        """Run the recipe."""
        out, folder = posixpath.split(self.out.rstrip("/"))
        job = Job(out)
        chromium()  # before anything is fetched
        with job.console.task("packages"):
            catalogue = gather(Path(self.cache), job.console.say)
        render_screens(job, folder, self, catalogue)
        job.console.summary(self.out)


def render_screens(
    job: Job, folder: str, config: RenderScreensConfig, catalogue: Catalogue
) -> Dataset:
    """The dataset `screens` in the job's `folder`.

    Raises ValueError for the name of a template that there is not, or if none could be had.
    """
    wanted = planned(config, catalogue)
    return job.build(
        "render screens",
        "screens",
        lambda path, update: _write(path, wanted, catalogue.sources, config, update),
        folder=folder,
        config={
            "draw": config.draw,
            "screens": hash_json([shot.screen_id for shot in wanted]),
            "rules": rules_hash(),
            "missing": sorted(catalogue.missing),
        },
        seed=config.draw.seed,
    )


def planned(config: RenderScreensConfig, catalogue: Catalogue) -> list[Shot]:
    """The screens to take of what could be had."""
    names = {template.name for template in catalogue.templates}
    if unknown := sorted(set(config.templates) - names):
        raise ValueError(f"templates {unknown}; legal: {', '.join(sorted(names))}")
    of = [
        (template, pages(template, catalogue.sources.folders[template.name]))
        for template in catalogue.templates
        if not config.templates or template.name in config.templates
    ]
    if not any(found for _, found in of):
        raise ValueError(f"no template could be had: {dict(catalogue.missing)}")
    fonts = [family for family in DRESSES if family in catalogue.sources.fonts]
    return shots(of, sorted(catalogue.sources.languages), fonts, config.draw)


def rules_hash() -> str:
    """Of the scripts that decide what is on a screen."""
    folder = files("annotators.screen")
    return hash_json([(folder / name).read_text("utf-8") for name in ("dom.js", "dress.js")])


def _write(
    folder: str,
    wanted: Sequence[Shot],
    sources: Sources,
    config: RenderScreensConfig,
    update: Update,
) -> Mapping[str, int]:
    """Every shard that is not there yet; several browsers work on a shard each."""
    parts = [wanted[at : at + SHARD_ROWS] for at in range(0, len(wanted), SHARD_ROWS)]
    paths = [posixpath.join(folder, f"{number:05d}.parquet") for number in range(len(parts))]
    todo = [(path, part) for path, part in zip(paths, parts, strict=True) if not _exists(path)]
    done = len(wanted) - sum(len(part) for _, part in todo)
    failed: Counter[str] = Counter()

    def one(path: str, part: Sequence[Shot]) -> Sequence[Shot]:
        nonlocal done
        rows = []
        with browser() as running:
            for shot in part:
                rows.append(screen(running, shot, sources, config.seconds))
                done += 1
                failed.update([] if rows[-1]["status"] == OK else [rows[-1]["status"]])
                update(done, len(wanted), f"{sum(failed.values())} without a picture")
        write_shard(path, pa.Table.from_pylist(rows, SCREENS))
        return part

    with ThreadPoolExecutor(max(1, config.workers)) as pool:
        for finished in as_completed([pool.submit(one, *task) for task in todo]):
            finished.result()
    return {}


def _exists(path: str) -> bool:
    fs, inner = filesystem_of(path)
    info: Any = fs.get_file_info(inner)
    return bool(info.is_file)
