"""Logistic regression on embeddings, the linear probe of CLIP (arXiv 2103.00020, appendix A.3).

    minimise  C * sum_n crossentropy(y_n, W x_n + b) + ||W||^2 / 2        (b is not penalised)

by L-BFGS with a strong Wolfe line search, in float64 where it fits. C is the inverse of the
paper's lambda and scikit-learn's C: both minimise the same convex function, so they agree up to
where they stop. The sweep is the paper's: seven values from 1e-6 to 1e6, then halvings of the step
around the best down to 8 values a decade; each fit starts from the one before.

Letters: N images, D width, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluators.zero_shot import Vectors, normalise

Labels = npt.NDArray[np.int64]
COARSE = (-6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0)
"""Exponents of 10 that the sweep begins with."""
FINE = 1 / 8
"""Smallest step of the exponent."""
DOUBLE = 50_000_000
"""Most features * images that are kept in float64."""


@dataclass(frozen=True)
class Linear:
    """A linear classifier over unit vectors; classes that it was not shown have logit -inf."""

    weight_CD: npt.NDArray[np.float64]
    bias_C: npt.NDArray[np.float64]

    def logits(self, vectors_ND: Vectors) -> Vectors:
        """(N, C) float32."""
        x = normalise(vectors_ND).astype(np.float64)
        return np.asarray(x @ self.weight_CD.T + self.bias_C, dtype=np.float32)


def fit(
    vectors_ND: Vectors,
    labels_N: Labels,
    n_classes: int,
    c: float,
    start: Linear | None = None,
    steps: int = 1000,
) -> Linear:
    """The minimum for images `vectors_ND` (brought to length 1) of classes `labels_N`.

    A class without an image gets no weight and bias -inf: it is never answered.

    Raises:
        ValueError: no image, C that is not positive, or a label outside the classes.
    """
    if c <= 0 or not len(labels_N) or labels_N.min() < 0 or labels_N.max() >= n_classes:
        raise ValueError(
            f"c={c}, {len(labels_N)} images, labels to {labels_N.max(initial=-1)}; legal: c > 0, "
            f"one image or more, labels from 0 to {n_classes - 1}"
        )
    shown, dense = np.unique(labels_N, return_inverse=True)
    first = None if start is None else (start.weight_CD[shown], start.bias_C[shown])
    weight, bias = _minimise(normalise(vectors_ND), dense, len(shown), c, first, steps)
    whole = Linear(np.zeros((n_classes, weight.shape[1])), np.full(n_classes, -np.inf))
    whole.weight_CD[shown], whole.bias_C[shown] = weight, bias
    return whole


def _minimise(
    x_ND: Vectors,
    labels_N: Labels,
    n_classes: int,
    c: float,
    start: tuple[npt.NDArray, npt.NDArray] | None,
    steps: int,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    import torch

    n, width = x_ND.shape
    kind = torch.float64 if n * width <= DOUBLE else torch.float32
    x, y = torch.from_numpy(x_ND).to(kind), torch.from_numpy(labels_N.astype(np.int64))
    weight, bias = torch.zeros(n_classes, width, dtype=kind), torch.zeros(n_classes, dtype=kind)
    if start is not None and np.isfinite(start[1]).all():
        weight, bias = (torch.from_numpy(one).to(kind).clone() for one in start)
    parameters = [weight.requires_grad_(), bias.requires_grad_()]
    optimiser = torch.optim.LBFGS(
        parameters,
        max_iter=steps,
        tolerance_grad=1e-7,
        tolerance_change=1e-12,
        history_size=10,
        line_search_fn="strong_wolfe",
    )

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        found: torch.Tensor = torch.nn.functional.cross_entropy(x @ weight.T + bias, y)
        found = found + (weight * weight).sum() / (2 * c * n)
        found.backward()  # type: ignore[no-untyped-call]
        return found

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    return weight.detach().double().numpy(), bias.detach().double().numpy()


def sweep(accuracy: Callable[[float], float]) -> float:
    """The C of the highest validation accuracy, by the paper's search; ties go to the smaller C."""
    seen: dict[float, float] = {}

    def at(exponent: float) -> float:
        if exponent not in seen:
            seen[exponent] = accuracy(10.0**exponent)
        return seen[exponent]

    for exponent in COARSE:
        at(exponent)
    step = 1.0
    while step >= FINE:
        best = max(sorted(seen), key=at)
        for exponent in (best - step, best + step):
            if COARSE[0] <= exponent <= COARSE[-1]:
                at(exponent)
        step /= 2
    return float(10.0 ** max(sorted(seen), key=at))


def search(
    train_ND: Vectors, labels_N: Labels, val_MD: Vectors, val_labels_M: Labels, n_classes: int
) -> float:
    """C for a probe: fits on train, accuracy on validation."""
    last: Linear | None = None

    def accuracy(c: float) -> float:
        nonlocal last
        last = fit(train_ND, labels_N, n_classes, c, last, steps=100)
        return float((last.logits(val_MD).argmax(axis=1) == val_labels_M).mean())

    return sweep(accuracy)
