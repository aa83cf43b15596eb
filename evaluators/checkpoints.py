"""Our checkpoints as contenders; torch is imported only where they are loaded."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from evaluators.contenders import Contender, Model, Precision
from pipelines.datasets import Dataset

if TYPE_CHECKING:
    from models.pixels import Fit


def clip_contender(
    name: str, path: str, checkpoint: Dataset, fit: Fit = "crop", precision: Precision = "float32"
) -> Contender:
    """Our CLIP: its folder of weights, and the dataset that stands for it in the lineage."""
    settings = _settings(fit, precision)
    return Contender(name, partial(_load_clip, path, fit, precision), (checkpoint,), settings)


def directory_contender(
    name: str, path: str, fit: Fit = "crop", precision: Precision = "float32"
) -> Contender:
    """A CLIP in any folder that `models.weights` reads: ours, Hugging Face's, open_clip's.

    A folder without a manifest has no lineage; its content hash stands in for it.
    """
    from models.weights import content_hash
    from pipelines.datasets import DatasetError, open_dataset

    try:
        return clip_contender(name, path, open_dataset(path), fit, precision)
    except DatasetError:
        settings = {"images": _settings(fit, precision), "weights": content_hash(path)}
        return Contender(name, partial(_load_clip, path, fit, precision), (), settings)


def supervised_contender(
    name: str, path: str, checkpoint: Dataset, classes: Sequence[str], fit: Fit = "crop"
) -> Contender:
    """A supervised baseline: a standard model, one that effective robustness is measured from."""
    load = partial(_load_classifier, path, tuple(classes), fit)
    return Contender(name, load, (checkpoint,), [fit, *classes], standard=True)


def _settings(fit: Fit, precision: Precision) -> object:
    """What the answers depend on besides the weights."""
    return fit if precision == "float32" else {"fit": fit, "precision": precision}


def _load_clip(path: str, fit: Fit, precision: Precision) -> Model:
    from evaluators.networks import CLIPEncoder

    return CLIPEncoder(path, fit, precision)


def _load_classifier(path: str, classes: Sequence[str], fit: Fit) -> Model:
    from evaluators.networks import SupervisedClassifier

    return SupervisedClassifier(path, classes, fit)
