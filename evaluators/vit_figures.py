"""What a checkpoint's ViT has learnt, as one page of three figures and a file of their numbers.

Any model with a ViT inside will do (a CLIP, a classifier); the figures are
`models.vision.analysis`'s, over the first images of a dataset that decode. The ViT paper takes 128
of them.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluators.report import vit_charts
from evaluators.report.vit_charts import Floats
from pipelines.datasets import Dataset
from pipelines.storage import write_bytes, write_json

if TYPE_CHECKING:
    from torch import nn

    from models.pixels import Fit
    from models.vision.vit import ViT

PAGE, NUMBERS = "figures.html", "figures.json"


@dataclass(frozen=True)
class VitFigures:
    """The numbers behind the figures."""

    images: int  # averaged over
    grid: tuple[int, int]  # rows and columns of patches
    patch_size: int  # pixels
    distance: Floats  # (layers, heads), pixels
    uniform: float  # distance of a head that looks at all patches alike, pixels
    similarity: Floats | None  # (N, N) cosines; None where no position vectors are added
    components: Floats  # (C, 3, P, P)
    share: Floats  # (C,) of the variance that each component explains


def vit_of(model: nn.Module) -> ViT:
    """The first ViT in `model`. Raises ValueError where there is none."""
    from models.vision.vit import ViT

    found = next((module for module in model.modules() if isinstance(module, ViT)), None)
    if found is None:
        raise ValueError(f"{type(model).__name__} has no ViT inside")
    return found


def measure(vit: ViT, images: Iterable[bytes], fit: Fit = "crop") -> VitFigures:
    """Runs the encoded `images` through `vit`. Raises ValueError where none can be decoded."""
    import torch

    from evaluators.decoding import decodable
    from models.pixels import normalise
    from models.vision import analysis

    config = vit.config
    pixels, _ = decodable(list(images), config.image_size, fit)
    if not len(pixels):
        raise ValueError("none of the images can be decoded")
    ready = normalise(torch.from_numpy(pixels))
    distance = analysis.attention_distances(vit.eval(), ready)
    added = config.positions in ("1d", "2d")
    similarity = analysis.position_similarity(vit).numpy() if added else None
    components, share = analysis.filter_components(vit)
    return VitFigures(
        images=len(pixels),
        grid=config.grid,
        patch_size=config.patch_size,
        distance=distance.numpy(),
        uniform=analysis.uniform_distance(config.grid, config.patch_size),
        similarity=similarity,
        components=components.numpy(),
        share=share.numpy(),
    )


def first_images(dataset: Dataset, most: int) -> Iterator[bytes]:
    """The encoded images of a dataset's first rows, at most `most`; rows without one are passed
    over.
    """
    found = (
        image
        for batch in dataset.batches(["image"], min(most, 256))
        for image in batch.column("image").to_pylist()
        if image is not None
    )
    yield from islice(found, most)


def write_figures(figures: VitFigures, out: str, title: str) -> str:
    """Writes figures.html and figures.json into the folder `out`; returns the page's path."""
    write_json(posixpath.join(out, NUMBERS), numbers(figures))
    page = posixpath.join(out, PAGE)
    write_bytes(page, render(figures, title).encode())
    return page


def numbers(figures: VitFigures) -> dict[str, Any]:
    """What the figures show, as JSON values."""
    return {
        "images": figures.images,
        "grid": list(figures.grid),
        "patch_size": figures.patch_size,
        "attention_distance_px": figures.distance.round(4).tolist(),
        "uniform_distance_px": round(figures.uniform, 4),
        "explained_variance": np.asarray(figures.share).round(6).tolist(),
    }


def render(figures: VitFigures, title: str) -> str:
    """The page."""
    import jinja2
    from markupsafe import Markup

    templates = Path(vit_charts.__file__).parent / "templates"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["svg"] = Markup
    layers, heads = figures.distance.shape
    rows, columns = figures.grid
    about = (
        f"{layers} layers of {heads} heads, {rows} by {columns} patches of {figures.patch_size} "
        f"pixels; {figures.images} images."
    )
    shown = list(_figures(figures))
    page = environment.get_template("vit_figures.html")
    return page.render(title=title, about=about, figures=shown)


def _figures(figures: VitFigures) -> Iterator[tuple[str, str, str]]:
    """(heading, SVG, what it shows) of each figure."""
    yield (
        "How far each head looks",
        vit_charts.distance_chart(figures.distance, figures.uniform),
        "Mean distance between a patch and what it attends to, weighted by the attention, over "
        "all patches and images. The class token is left out.",
    )
    if figures.similarity is not None:
        yield (
            "Which positions are alike",
            vit_charts.similarity_chart(figures.similarity, figures.grid),
            "Each tile stands where its patch stands in the image, and shows the cosine of that "
            "patch's position vector and each other's.",
        )
    yield (
        "What patches are projected on",
        vit_charts.filter_chart(figures.components, figures.share),
        f"The first {len(figures.share)} principal components of the patch filters, row by row; "
        f"they explain {figures.share.sum():.0%} of the variance. Grey is zero.",
    )
