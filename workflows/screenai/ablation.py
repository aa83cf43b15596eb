"""Two of ScreenAI's ablations (Baechler et al. 2024, section 5) at the size of one's own screens.

    sightmill screenai-ablation --data.screens run/screens --out run/ablation

Does it pay to train on the tasks that are written for a screen, or is screen annotation enough? Do
patches that keep the aspect ratio pay, or may every screen be squeezed into a square? A fresh model
is trained for each answer and seed, the same number of steps on the same training screens with the
same vocabulary, and scored on the screens of templates that were held out. The paper answers at
670M parameters: 4.6 points are lost without the tasks that an LLM wrote, after fine-tuning; here
nothing is fine-tuned, so a model that saw annotations alone was never shown a question.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from annotators.screen.answer import Answering
from evaluators.report.ablation import Outcome, Wording
from models.screenai import SCREENAI_SMALL, ScreenAIConfig
from models.tokenizers.clip import Tokenizer
from models.tokenizers.gpt2 import ByteTokenizer
from models.training.loop import TrainConfig
from models.training.optimizer import OptimizerConfig
from models.training.screens import ScreenLoaderConfig
from models.weights import ModelConfig
from pipelines.datasets import Dataset, open_dataset
from pipelines.engines import Engines, ray_session
from workflows.ablation import chosen, slug, write_ablation
from workflows.fitted import fitted
from workflows.flags import EngineFlags
from workflows.job import Job
from workflows.screenai.examples import ExamplesConfig, examples, tasks_of
from workflows.screenai.score import ScoreScreensConfig, answer, read_figures
from workflows.train import Schedule, example_texts, seeded, train_network


@dataclass(frozen=True)
class Condition:
    """One way to train."""

    name: str
    tasks: Literal["mixture", "annotation"] = "mixture"
    """What is asked of the training screens: all tasks, or annotation alone."""
    patches: Literal["flexible", "fixed"] = "flexible"
    """Grids of the screen's shape, or square ones."""


CONDITIONS = (
    Condition("mixture, flexible"),
    Condition("annotation alone, flexible", tasks="annotation"),
    Condition("mixture, fixed", patches="fixed"),
)
WORDS = Wording(
    {
        "annotation_f1_iou_0.1": "annotation, F1 at IoU 0.1",
        "annotation_f1_iou_0.5": "annotation, F1 at IoU 0.5",
        "annotation_f1_iou_0.1_any_class": "annotation, F1 at IoU 0.1, any class",
        "question_squad_f1": "questions, SQuAD F1",
        "question_exact_match": "questions, exact match",
        "question_anls": "questions, ANLS",
        "navigation_centre_in_box": "navigation, centre in the box",
        "navigation_iou_0.1": "navigation, IoU 0.1",
        "summary_CIDEr": "summaries, CIDEr",
    },
    (
        "annotation_f1_iou_0.1",
        "question_squad_f1",
        "navigation_centre_in_box",
        "summary_CIDEr",
    ),
    row="training",
    held_out="screens",
)
INTRODUCTION = (
    "Each row is a way to train a ScreenAI: on all tasks or on screen annotation alone, on patches "
    "that keep the aspect ratio or on square grids. Every model takes the same number of steps on "
    "the same training screens, and is scored on screens of templates that none was trained on."
)
SCHEDULE = Schedule(
    train=TrainConfig(
        steps=400,
        batch_size=8,
        optimizer=OptimizerConfig(rate=1e-3, warm_up=40, weight_decay=0.05),
        log_every=20,
        checkpoint_every=100,
    )
)
"""Sized for one CPU core."""


@dataclass(frozen=True)
class ScreenAIAblationConfig:
    """Do written tasks pay, and do flexible patches?"""

    data: ExamplesConfig
    """Screens and tasks."""
    out: str = "screenai-ablation"
    """Folder of everything that is made."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of the models that are trained each way."""
    conditions: tuple[str, ...] = tuple(condition.name for condition in CONDITIONS)
    """Which ways are compared."""
    model: ScreenAIConfig = SCREENAI_SMALL
    """Size of every model; the number of words follows the texts."""
    schedule: Schedule = SCHEDULE
    """How every model is trained."""
    screens: ScreenLoaderConfig = field(default_factory=ScreenLoaderConfig)
    """How screens become batches."""
    answering: Answering = field(default_factory=Answering)
    """How held-out examples are answered."""
    batch_rows: int = 16
    """Screens that are answered together."""
    engines: EngineFlags = field(default_factory=Engines)
    """Where it runs."""

    def run(self) -> None:
        """Run the recipe."""
        job = Job(self.out, self.engines)
        conditions = chosen(self.conditions, CONDITIONS)
        screens = open_dataset(self.data.screens)
        tasks = tasks_of(job, self.data, screens)
        corpora: dict[str, Dataset] = {
            name: corpus(job, self, screens, tasks, name) for name in ("mixture", "annotation")
        }
        held_out = examples(job, "held-out", screens, tasks, self.data, "held-out")
        with ray_session(job.engines):
            outcomes = [
                outcome(job, self, corpora, held_out, condition, seed)
                for condition in conditions
                for seed in self.seeds
            ]
        page = write_ablation(
            job,
            self,
            outcomes,
            held_out,
            suite="screenai-ablation",
            title="Do written tasks and flexible patches pay? ScreenAI's ablation",
            introduction=INTRODUCTION,
            words=WORDS,
        )
        job.console.say(f"report: {page}")
        job.console.summary(self.out)


def corpus(
    job: Job, config: ScreenAIAblationConfig, screens: Dataset, tasks: Dataset, kind: str
) -> Dataset:
    """The training examples, of all tasks or of annotation alone."""
    mix = config.data.mixture
    if kind == "annotation":
        mix = replace(mix, annotation=1.0, question=0.0, navigation=0.0, summary=0.0)
    data = replace(config.data, mixture=mix)
    return examples(job, f"train-{kind}", screens, tasks, data, "train")


def outcome(
    job: Job,
    config: ScreenAIAblationConfig,
    corpora: dict[str, Dataset],
    held_out: Dataset,
    condition: Condition,
    seed: int,
) -> Outcome:
    """The scores of a fresh model trained in one way."""
    data, shared = corpora[condition.tasks], corpora["mixture"]
    patching = replace(config.model.patching, kind=condition.patches)
    sized = replace(config.model, patching=patching)

    def network() -> tuple[ModelConfig, Tokenizer]:
        words = ByteTokenizer.learn(example_texts(shared), sized.language.vocab_size)
        return fitted(sized, words), words

    name = f"{slug(condition)}-{seed}"
    model = train_network(
        job,
        f"screenai-{name}",
        network,
        data,
        seeded(config.schedule, seed),
        config={"model": sized},
        parents=[data] if condition.tasks == "mixture" else [data, shared],
        loading=config.screens,
    )
    scoring = ScoreScreensConfig(
        model.path, held_out.path, job.out, config.answering, config.batch_rows, seed=seed
    )
    answers = answer(job, f"answers-{name}", model.path, held_out, scoring)
    metrics = {f"{f.task}_{f.metric}": f.interval.value for f in read_figures(answers, seed)}
    metrics["corpus_images"] = data.manifest.rows
    metrics["corpus_texts"] = sum(1 for _ in example_texts(data)) // 2
    return Outcome(condition.name, seed, metrics, model.path)
