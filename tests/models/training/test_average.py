"""The moving average of weights: against a plain loop, and resumed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from models.training.average import Average, decay_at


def test_it_is_the_average_that_a_loop_gives() -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    average, begun = Average(model, 0.6), model.bias.clone()
    wanted, after = model.weight.detach().clone(), model.weight.detach().clone()
    for step in range(12):
        after = torch.randn(2, 3)
        model.weight.data.copy_(after)
        average.take(step)
        share = min(0.6, (1 + step) / (10 + step))
        wanted = share * wanted + (1 - share) * after
    assert list(average.tensors) == ["weight"]
    torch.testing.assert_close(average.tensors["weight"], wanted)
    again = Average(model, 0.6)
    again.restore({"weight": average.tensors["weight"]})
    assert torch.equal(model.weight, after)
    again.leave()
    assert torch.equal(model.weight, average.tensors["weight"])
    assert torch.equal(model.bias, begun)


def test_the_decay_grows_to_its_value() -> None:
    assert [decay_at(step, 0.5) for step in (0, 8, 100)] == [0.1, 0.5, 0.5]
    with pytest.raises(ValueError, match=r"average=1\.0 must lie between 0 and 1"):
        Average(nn.Linear(1, 1), 1.0)
