"""The command line: `sightmill RECIPE --field value`.

Each recipe is a function of one config dataclass, and its flags are that dataclass. Only the recipe
that is asked for is imported, so that `sightmill --help` answers at once.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

RECIPES: dict[str, tuple[str, str, str]] = {
    "demo": (
        "workflows.demo",
        "DemoConfig",
        "web pages to corpus to CLIP to report, on real input",
    ),
    "wit": (
        "workflows.wit",
        "WitConfig",
        "WARC files and a query list to a balanced image-text corpus",
    ),
    "crawl": ("workflows.crawl", "CrawlRecipe", "seed URLs to WARC files"),
    "queries": ("workflows.query_list", "QueryListConfig", "a text corpus to CLIP's query list"),
    "train-clip": (
        "workflows.train_clip",
        "TrainClipConfig",
        "a samples dataset to a CLIP checkpoint",
    ),
    "train": (
        "workflows.train_any",
        "TrainRecipe",
        "a samples dataset to any model's checkpoint, from those of its frozen parts",
    ),
    "train-gpt": ("workflows.train_gpt", "TrainGPTConfig", "texts to a GPT checkpoint"),
    "capfilt": (
        "workflows.capfilt.recipe",
        "CapFiltConfig",
        "a samples dataset to one that is captioned and filtered by BLIP",
    ),
    "capfilt-ablation": (
        "workflows.capfilt.ablation",
        "AblationConfig",
        "does it pay: filter, captioner, both or neither, over seeds",
    ),
    "screens": (
        "workflows.screens.recipe",
        "ScreensConfig",
        "screenshots to screen schemas, with a report of overlays",
    ),
    "screens-demo": (
        "workflows.screens.demo",
        "ScreensDemoConfig",
        "interface templates to screens, models, schemas, tasks and a report",
    ),
    "render-screens": (
        "workflows.screens.render",
        "RenderScreensConfig",
        "interface templates to screens with the DOM's truth",
    ),
    "screen-tasks": (
        "workflows.screens.tasks",
        "ScreenTasksConfig",
        "screen schemas to question, navigation and summary tasks, each one checked",
    ),
    "public-screens": (
        "workflows.screens.public",
        "PublicScreensConfig",
        "a public set over screens or documents in a local folder to questions and answers",
    ),
    "train-detector": (
        "workflows.screens.detector",
        "TrainDetectorConfig",
        "rendered screens to a detector of interface elements, scored on unseen templates",
    ),
    "train-icons": (
        "workflows.screens.icons",
        "TrainIconsConfig",
        "packaged icon families to a classifier of icons, scored on unseen families",
    ),
    "screen-examples": (
        "workflows.screenai.examples",
        "ScreenExamplesConfig",
        "screens and their tasks to what a ScreenAI trains on and is scored on",
    ),
    "score-screens": (
        "workflows.screenai.score",
        "ScoreScreensConfig",
        "a ScreenAI checkpoint to answers about held-out screens, and scores by task",
    ),
    "screenai-ablation": (
        "workflows.screenai.ablation",
        "ScreenAIAblationConfig",
        "do written tasks and flexible patches pay, over seeds, on held-out templates",
    ),
    "score": ("workflows.score", "ScoreRecipe", "a checkpoint to scores on labelled datasets"),
    "compare": (
        "workflows.compare",
        "CompareRecipe",
        "score runs over time, with regressions told from luck",
    ),
    "card": ("workflows.card", "Card", "a dataset's or a checkpoint's card, from its manifests"),
    "show": ("workflows.inspect", "Show", "a dataset's manifest and first rows"),
    "verify": ("workflows.inspect", "Verify", "datasets against their manifests, shard by shard"),
    "trace": ("workflows.inspect", "Trace", "any dataset or scorecard back to queries and URLs"),
    "export": (
        "workflows.inspect",
        "Export",
        "samples to WebDataset tars or a Hugging Face folder",
    ),
    "figures": ("workflows.inspect", "Figures", "what a checkpoint's ViT has learnt, drawn"),
}
"""Name on the command line: module, its config dataclass with a `run` method, one line of help."""


def main() -> None:
    """Run the recipe that the arguments name; a mistake of the user's is one line, not a
    traceback.
    """
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help"):
        print(usage())
        return
    if name not in RECIPES:
        sys.exit(f"sightmill: no recipe {name!r}; there are {', '.join(RECIPES)}")
    module, config, _ = RECIPES[name]
    sys.exit(
        run(f"sightmill {name}", getattr(importlib.import_module(module), config), sys.argv[2:])
    )


def usage() -> str:
    """The recipes, a line each."""
    width = max(map(len, RECIPES)) + 2
    lines = [f"  {name:<{width}}{about}" for name, (_, _, about) in RECIPES.items()]
    return "\n".join(
        ["usage: sightmill RECIPE [--field value ...]", "", *lines, "", "sightmill RECIPE --help"]
    )


def run(program: str, config: Any, arguments: list[str]) -> int:
    """Parse `arguments` into the `config` class and run it; returns the exit status."""
    import tyro

    from pipelines.datasets import DatasetError
    from pipelines.quality import QualityError

    recipe = tyro.cli(config, args=arguments, prog=program)
    try:
        return int(recipe.run() or 0)
    except (DatasetError, QualityError, OSError, ValueError) as error:
        print(f"{program}: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
