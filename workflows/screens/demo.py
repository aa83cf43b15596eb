"""The screens' side end to end: templates to screens to models to schemas to tasks to a report.

    sightmill screens-demo --out runs/screens

Pages of packaged interface templates are rendered with the DOM's truth, four templates held out. A
detector is trained on the other templates' screens and a classifier of icons on packaged icon
families; both, and an OCR engine, annotate the held-out screens, which neither has seen; a small
language model words tasks for some of them. What came out is laid beside the truth, and everything
is told on one page. Each stage is a dataset, so a killed run goes on where it stopped.

The settings (`workflows.screens.settings`) are for two CPU cores and 40 minutes; the recipes by
themselves (render-screens, train-detector, train-icons, screens, screen-tasks) take larger ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from annotators.screen.annotate import Running
from annotators.screen.detector_training import DetectorConfig
from annotators.screen.render import chromium
from annotators.screen.tasks.embedded import EmbeddedConfig
from annotators.screen.tasks.stage import TaskConfig
from annotators.screen.templates import Draw
from models.vision.resnet import ResNetConfig
from pipelines.datasets import Dataset
from pipelines.engines import Engines, ray_session
from pipelines.records import uniform
from workflows.demo_web import packages
from workflows.flags import EngineFlags
from workflows.job import Job
from workflows.screens import detector, icons, recipe, settings, tasks
from workflows.screens.compare import score_annotation
from workflows.screens.drawings import Crops
from workflows.screens.inputs import pictures_of
from workflows.screens.render import RenderScreensConfig, render_screens
from workflows.screens.templates import gather
from workflows.screens.times import Times
from workflows.train import Schedule

HELD_OUT = "held-out"


@dataclass(frozen=True)
class ScreensDemoConfig:
    """Interface templates to screens, models, schemas, tasks and a report."""

    out: str = "runs/screens"
    """Folder of everything that the demo makes."""
    draw: Draw = settings.DRAW
    """Which screens are rendered."""
    templates: tuple[str, ...] = ()
    """Names of the templates; none: all."""
    browsers: int = settings.BROWSERS
    """At a time."""
    detector: DetectorConfig = settings.DETECTOR
    """How the detector is trained."""
    crops: Crops = settings.CROPS
    """How drawings of icons become pieces of screens."""
    icon_network: ResNetConfig = icons.NETWORK
    """Size of the classifier of icons."""
    icon_schedule: Schedule = settings.ICON_SCHEDULE
    """How it is trained."""
    ocr_models: str = ""
    """Folder of EasyOCR's networks; empty: out of a Python package."""
    running: Running = settings.RUNNING
    """How the models run."""
    task_screens: int = settings.TASK_SCREENS
    """Annotated screens that get tasks."""
    writer: str = ""
    """URL of a chat server, or a GGUF file; empty: SmolLM2-135M-Instruct, fetched once."""
    tasks: TaskConfig = settings.TASKS
    """Which tasks are written and how they are checked."""
    embedded: EmbeddedConfig = settings.EMBEDDED
    """How a model in this process runs."""
    cache: str = str(packages.CACHE)
    """Folder of the unpacked packages."""
    engines: EngineFlags = field(default_factory=Engines)
    """Where the stages run."""

    def run(self) -> None:
        """Run the recipe."""
        demo(self)


@dataclass(frozen=True)
class Made:
    """The datasets of a run."""

    screens: Dataset
    """Rendered, with the DOM's truth; both splits."""
    detector: Dataset
    icons: Dataset
    schemas: Dataset
    """Of the held-out screens, as annotated."""
    tasks: Dataset
    mixture: Dataset
    scores: tuple[Dataset, ...]
    """Of detectors, icons and annotation."""
    left_out: tuple[str, ...] = ()
    """What could not be had, a sentence each."""


def demo(config: ScreensDemoConfig) -> str:
    """Run the recipe; returns the report's path."""
    from workflows.screens.demo_report import write_demo_report

    job = Job(config.out, config.engines)
    times = Times(job)
    made = make(job, config, times)
    with job.console.task("report"):
        report = write_demo_report(job, config, made, times.seconds())
    job.console.summary(f"Report: {report}")
    return report


def make(job: Job, config: ScreensDemoConfig, times: Times) -> Made:
    """Every stage but the report."""
    screens = _screens(job, config)
    times.note()
    trained = detector.TrainDetectorConfig(screens.path, job.at("detector"), config.detector)
    elements = detector.train_detector(job, "detector", screens, trained)
    times.note()
    others, left_out = _others(job, config)
    detected = detector.score_detectors(job, "detector-scores", elements, screens, others)
    detector.show(job.console, detected)
    times.note()
    with ray_session(job.engines):
        names, named = _icons(job, config)
        times.note()
        schemas = _schemas(job, config, screens, elements, names)
    times.note()
    annotated = score_annotation(job, "annotation-scores", screens, schemas)
    written, mixture = _tasks(job, config, screens, schemas)
    times.note()
    scores = (detected, named, annotated)
    gone = screens.manifest.config["missing"]
    left_out += tuple(f"The package {name}: it could not be had." for name in gone)
    return Made(screens, elements, names, schemas, written, mixture, scores, left_out)


def _screens(job: Job, config: ScreensDemoConfig) -> Dataset:
    chromium()  # before anything is fetched
    with job.console.task("packages"):
        catalogue = gather(Path(config.cache), job.console.say)
    wanted = RenderScreensConfig(
        job.at("screens"), config.draw, config.templates, config.browsers, cache=config.cache
    )
    return render_screens(job, "screens", wanted, catalogue)


def _others(job: Job, config: ScreensDemoConfig) -> tuple[dict[str, str], tuple[str, ...]]:
    """The packaged detector to compare with, or why there is none."""
    try:
        return {"OmniParser": recipe.omniparser(Path(config.cache))}, ()
    except packages.MissingPackageError as error:
        job.console.say(f"without OmniParser: {error}")
        return {}, (f"OmniParser's icon detector: {error}.",)


def _icons(job: Job, config: ScreensDemoConfig) -> tuple[Dataset, Dataset]:
    """The classifier of icons and its scores."""
    inner = Job(job.at("icons"), job.engines, job.console)
    trained = icons.TrainIconsConfig(
        inner.out,
        config.crops,
        config.icon_network,
        config.icon_schedule,
        cache=config.cache,
    )
    names, scores = icons.train_icons(inner, trained, icons.gather(inner, Path(config.cache)))
    return names, scores


def _schemas(
    job: Job, config: ScreensDemoConfig, screens: Dataset, elements: Dataset, names: Dataset
) -> Dataset:
    """The held-out screens annotated by the two models and OCR."""
    wanted = recipe.ScreensConfig(
        screens.path,
        job.out,
        elements.path,
        icons=names.path,
        ocr_models=config.ocr_models,
        running=config.running,
        cache=config.cache,
    )
    models, identities = recipe.models_of(wanted)
    found = pictures_of(job, screens, HELD_OUT)
    return recipe.annotate(job, found, models, identities, config.running, [elements, names])


def _tasks(
    job: Job, config: ScreensDemoConfig, screens: Dataset, schemas: Dataset
) -> tuple[Dataset, Dataset]:
    """Tasks for some of the annotated English screens, and the mixture of them."""
    wanted = tasks.ScreenTasksConfig(
        schemas.path,
        job.out,
        writer=config.writer,
        embedded=config.embedded,
        tasks=config.tasks,
        cache=config.cache,
    )
    table = for_tasks(screens, schemas, config.task_screens, config.tasks.seed)
    load, identity = tasks.writer_at(wanted)
    written = tasks.write_tasks(job, wanted, table, load, identity, [schemas])
    return written, tasks.mix(job, wanted, written)


def for_tasks(screens: Dataset, schemas: Dataset, most: int, seed: int) -> pa.Table:
    """image_id and schema of up to `most` annotated English screens, drawn by their ids.

    Raises ValueError if there is none.
    """
    languages = {
        row["screen_id"]: row["language"]
        for row in screens.table(["screen_id", "language"]).to_pylist()
    }
    rows = [
        row
        for row in schemas.table(["image_id", "origin", "screen", "status"]).to_pylist()
        if row["status"] == "ok" and languages.get(row["origin"], "").split("-")[0] == "en"
    ]
    drawn = sorted(rows, key=lambda row: (uniform(seed, "tasks", row["image_id"]), row["image_id"]))
    if not drawn[:most]:
        raise ValueError(f"{schemas.path} has no annotated English screen to write tasks for")
    names = [(name, pa.string()) for name in ("image_id", "screen")]
    return pa.Table.from_pylist(
        [{n: row[n] for n, _ in names} for row in drawn[:most]], pa.schema(names)
    )
