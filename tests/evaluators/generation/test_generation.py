"""FID and CLIP score against second implementations; drawn pictures, folders, what is broken."""

import json
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch

from evaluators.contenders import Contender
from evaluators.embed import EmbedConfig
from evaluators.generation.asking import REAL, generation
from evaluators.generation.clip_score import clip_scores
from evaluators.generation.drawing import Painter, from_folder
from evaluators.generation.frechet import distance, frechet, moments
from evaluators.score import score
from evaluators.suites.kinds import Source
from evaluators.suites.labelled import Picture
from pipelines.datasets import Dataset

Square = Callable[..., bytes]
LabelledMaker = Callable[[str, Iterable[Picture]], Dataset]


@pytest.mark.parametrize(("n", "m", "d"), [(40, 60, 5), (200, 150, 16), (6, 7, 12)])
def test_the_distance_is_that_of_matrix_roots(n: int, m: int, d: int) -> None:
    """scipy's matrix root, and torchmetrics' formula with general eigenvalues."""
    rng = np.random.default_rng(n)
    a = (rng.normal(size=(n, d)) @ rng.normal(size=(d, d))).astype(np.float32)
    b = (rng.normal(size=(m, d)) @ rng.normal(size=(d, d)) + 0.5).astype(np.float32)
    (mean1, cov1), (mean2, cov2) = moments(a), moments(b)
    np.testing.assert_allclose(cov1, np.cov(a.astype(float).T), rtol=1e-9)
    ours = distance(mean1, cov1, mean2, cov2)
    root = scipy.linalg.sqrtm(cov1 @ cov2)
    plain = ((mean1 - mean2) ** 2).sum() + np.trace(cov1 + cov2) - 2 * np.trace(root).real
    assert ours == pytest.approx(plain, rel=1e-4 if n < d else 1e-7)
    eigen = torch.linalg.eigvals(torch.from_numpy(cov1 @ cov2)).sqrt().real.sum(dim=-1)
    theirs = ((mean1 - mean2) ** 2).sum() + np.trace(cov1) + np.trace(cov2) - 2 * float(eigen)
    assert ours == pytest.approx(theirs, rel=1e-4 if n < d else 1e-7)
    assert frechet(a, a, resamples=2).value == pytest.approx(0, abs=1e-4 * np.trace(cov1))


def test_the_distance_knows_shift_and_spread() -> None:
    one = np.eye(3)
    assert distance(np.zeros(3), one, np.full(3, 2.0), one) == pytest.approx(12.0)
    assert distance(np.zeros(3), one, np.zeros(3), 4 * one) == pytest.approx(3.0)


def test_clip_scores_are_cosines_of_pairs() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(50, 7)).astype(np.float32) for _ in range(2))
    cosine = torch.nn.functional.cosine_similarity(torch.from_numpy(a), torch.from_numpy(b))
    expected = (100 * cosine).clamp(min=0).numpy()
    np.testing.assert_allclose(clip_scores(a, b), expected, atol=1e-4)


class Squares:
    """Draws the colour that the prompt names, the last one of a batch broken."""

    drawn = 0

    def __init__(self, square: Square, broken: bool) -> None:
        self.square, self.broken = square, broken

    def draw(self, prompts: Sequence[str], seed: int) -> list[bytes]:
        Squares.drawn += len(prompts)
        images = [self.square(text.split()[-1], seed) for text in prompts]
        return [*images[:-1], b""] if self.broken else images


COLOURS = ("red", "green", "blue", "yellow", "violet", "grey")


@pytest.fixture
def real(make_labelled: LabelledMaker, square: Square) -> Dataset:
    pictures = [Picture(f"{c}/{i}", square(c, 5 * i), f"a square of {c}", "test")
                for c in COLOURS for i in range(3)]  # fmt: skip
    return make_labelled("real", pictures)


def test_a_painter_is_scored_against_real_pictures(
    real: Dataset, square: Square, colour_eye: Contender, tmp_path: Path
) -> None:
    painters = [
        Painter("right", partial(Squares, square, False)),
        Painter("broken", partial(Squares, square, True)),
    ]
    cache = EmbedConfig(batch_size=8, cache=str(tmp_path / "cache"))
    out = str(tmp_path / "out")
    source = {"squares": Source(real, "test")}

    def run() -> list[dict[str, object]]:
        extra = generation(painters, {}, source, colour_eye, out, cache, most=12)
        return score([], [], out, extras=[extra]).scores.table().to_pylist()

    rows = {(row["model"], row["metric"]): row for row in run()}
    assert rows["right", "drawn"]["value"] == 1.0 and rows["right", "drawn"]["n"] == 12
    assert rows["broken", "drawn"]["value"] == pytest.approx(11 / 12)
    assert rows["broken", "clip_score"]["n"] == 11
    assert rows["right", "clip_score"]["value"] > 90
    assert rows[REAL, "clip_score"]["n"] == 18
    assert rows["right", "fid"]["value"] >= 0
    before = Squares.drawn
    assert len(run()) == len(rows) and Squares.drawn == before  # what stands is not drawn again


def test_a_folder_of_pictures_is_scored_as_it_is(
    real: Dataset, square: Square, colour_eye: Contender, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    lines = []
    for name in ("red", "blue", "green"):
        (folder / f"{name}.png").write_bytes(square(name))
        lines.append({"file_name": f"{name}.png", "text": f"a square of {name}"})
    lines.append({"file_name": "gone.png", "text": "a square of grey"})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    made = from_folder(folder, str(tmp_path / "made"))
    cache = EmbedConfig(batch_size=8, cache=str(tmp_path / "cache"))
    source = {"squares": Source(real, "test")}
    extra = generation([], {"theirs": made}, source, colour_eye, str(tmp_path / "o"), cache, 0)
    rows = {(row["model"], row["metric"]): row["value"] for row in extra.rows()}
    assert rows["theirs", "drawn"] == 0.75 and rows["theirs", "clip_score"] > 90

    (folder / "metadata.jsonl").write_text('{"file_name": "red.png"}\n')
    with pytest.raises(ValueError, match="line 1"):
        from_folder(folder, str(tmp_path / "m2"))
    with pytest.raises(ValueError, match="no picture with a prompt"):
        from_folder(tmp_path / "nothing", str(tmp_path / "m3"))
