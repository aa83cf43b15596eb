"""The card of a checkpoint: which network, how large, trained on what and for how long, with which
scores, and what it is not for.

Folders that others published have no manifest: their config and parameters are told, the rest is
said to be unknown.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evaluators.figures import CHANCE
from evaluators.report.cards.page import CardPage, Section, flat, identity, made_from
from evaluators.report.tables import RATES
from evaluators.report.wording import duration, percent
from pipelines.datasets import MANIFEST, Dataset, DatasetError, open_dataset
from pipelines.lineage import ancestors
from pipelines.storage import filesystem, read_json

if TYPE_CHECKING:
    from torch import nn

TRAINING, METRICS = "training.json", "metrics.jsonl"
INTENDED = (
    "For research on how such models learn from web texts, and for tasks whose classes, texts and "
    "pictures were evaluated for that very task before use.",
)
MISUSE = (
    "Not for surveillance: not for recognising, identifying, finding or following persons in "
    "pictures, nor for guessing their emotions, health, origin, belief or leanings. Nothing here "
    "was evaluated for that, and it works on people who were never asked.",
    "Not for decisions about people, such as on work, credit, housing, schools, borders or police.",
    "A class list is a choice: asked with classes that demean, the model will give some people "
    "those labels, and not everyone alike (arXiv 2103.00020, section 7.1). `sightmill score` "
    "counts such labels by group where FairFace is given.",
    "A picture that went into training may be recognised in what comes out; whoever deploys the "
    "model answers for the privacy of those shown.",
)
LIMITS = (
    "Scores say how it did on those pictures alone; other hands, cameras and countries are shifts.",
    "It repeats the languages, views and prejudices of its training texts.",
)


def parameters(network: nn.Module) -> dict[str, int]:
    """Learnt numbers of each part, by the first name in its path, and "all"."""
    counts: Counter[str] = Counter()
    for name, tensor in network.named_parameters():
        counts[name.split(".")[0]] += tensor.numel()
    return {**counts, "all": counts.total()}


def model_card(path: str, title: str = "", scores: Sequence[Mapping[str, Any]] = ()) -> CardPage:
    """The card of the checkpoint at `path`; `scores`: rows of `scores` of this model.

    Raises:
        WeightsError: the folder holds no model that `models.weights` reads.
    """
    from models import weights

    network, checkpoint = weights.load(path), _dataset(path)
    counts, kind = parameters(network), type(network).__name__
    config = weights.describe(network.config)  # type: ignore[arg-type]
    about = f"A {kind} of {counts['all']:,} parameters."
    nodes = list(ancestors(path))[1:] if checkpoint is not None else []
    lineage = made_from([(n.name, n.dataset, n.problem) for n in nodes])
    sections = [
        Section("Intended use", INTENDED),
        Section("Not for", MISUSE),
        Section(
            "Parameters", [], ("part", "parameters"), [(k, f"{n:,}") for k, n in counts.items()]
        ),
        Section("Config", [], ("field", "value"), flat(config)),
        _training_data(checkpoint),
        _budget(path, checkpoint),
        _scores(scores),
        Section("Limits", LIMITS),
        *([lineage, identity(checkpoint.manifest)] if checkpoint is not None else []),
        Section("Loading", [f"`models.weights.load({path!r})`, from safetensors, never a pickle."]),
    ]
    return CardPage(title or posixpath.basename(posixpath.normpath(path)), about, sections)


def _dataset(path: str) -> Dataset | None:
    fs, inner = filesystem(posixpath.join(path, MANIFEST))
    return open_dataset(path) if fs.get_file_info(inner).is_file else None


def _training_data(checkpoint: Dataset | None) -> Section:
    if checkpoint is None:
        return Section("Training data", ["Unknown: the folder has no manifest."])
    rows = []
    for parent in checkpoint.manifest.parents:
        where = posixpath.join(checkpoint.path, parent.path)
        try:
            found = open_dataset(where if "://" in where else posixpath.normpath(where))
            size = f"{found.manifest.rows:,}" if found.manifest.schema else ""
        except DatasetError:
            size = "gone"
        rows.append((parent.name, size, parent.content_hash))
    told = "`sightmill card` on these folders says what is in them."
    return Section("Training data", [told], ("dataset", "rows", "content hash"), rows)


def _budget(path: str, checkpoint: Dataset | None) -> Section:
    """Steps, batch, examples, time: from what the run left in its folder."""
    found = read_json(posixpath.join(path, TRAINING))
    if found is None:
        return Section("Training", ["Unknown: the folder holds no record of a run."])
    plan = found["plan"]["training"]
    examples = found["step"] * plan["batch_size"]
    rows = [
        ("steps", f"{found['step']:,}"),
        ("examples a step", f"{plan['batch_size']:,}"),
        ("examples seen", f"{examples:,}"),
        *_epochs(examples, checkpoint),
        *_ended(path),
        *flat({"plan": plan}),
    ]
    return Section("Training", [], ("", "value"), rows)


def _epochs(examples: int, checkpoint: Dataset | None) -> Iterator[tuple[str, str]]:
    for parent in checkpoint.manifest.parents[:1] if checkpoint is not None else ():
        assert checkpoint is not None
        try:
            data = open_dataset(posixpath.normpath(posixpath.join(checkpoint.path, parent.path)))
        except DatasetError:
            return
        if data.manifest.rows:
            yield "epochs", f"{examples / data.manifest.rows:.3g}"


def _ended(path: str) -> Iterator[tuple[str, str]]:
    """What the last line of the curve says."""
    from models.training.curve import read_curve

    lines = read_curve(path)
    if lines:
        yield "loss at the end", f"{lines[-1]['loss']:.4g}"
        yield "time", duration(lines[-1]["seconds"])


def _scores(rows: Sequence[Mapping[str, Any]]) -> Section:
    shown = [row for row in rows if row["metric"] in RATES and row["model"] != CHANCE]
    if not shown:
        return Section("Scores", ["None were given; `sightmill score` makes them."])
    told = [
        (
            row["suite"],
            row["dataset"],
            row["split"],
            RATES[row["metric"]],
            percent(row["value"]),
            percent(row["standard_error"]) if row["standard_error"] is not None else "unknown",
            f"{row['n']:,}",
        )
        for row in shown
    ]
    columns = ("suite", "set", "split", "metric", "value", "standard error", "n")
    return Section("Scores", [], columns, told)
