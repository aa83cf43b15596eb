"""What the tests of the networks share.

One thread a test: several suites may share the machine, and tiny products gain nothing from more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from models.layers.block import Transformer

Answer = Callable[[], Tensor]
"""What a parity compares, of a model in the state that it is in."""


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def torch_blocks() -> Callable[..., Tensor]:
    """Runs torch's TransformerEncoderLayers with the weights of our pre-norm blocks."""
    names = {"self_attn.in_proj_weight": "attention.qkv.weight"}
    names["self_attn.in_proj_bias"] = "attention.qkv.bias"
    for kind in ("weight", "bias"):
        names |= {
            f"self_attn.out_proj.{kind}": f"attention.out.{kind}",
            f"linear1.{kind}": f"mlp.up.{kind}",
            f"linear2.{kind}": f"mlp.down.{kind}",
            f"norm1.{kind}": f"norm_1.{kind}",
            f"norm2.{kind}": f"norm_2.{kind}",
        }

    def run(ours: Transformer, x_BLD: Tensor, mask: Tensor | None = None) -> Tensor:
        width, heads = ours.config.width, ours.config.heads
        for block in ours.blocks:
            layer = nn.TransformerEncoderLayer(
                width, heads, 4 * width, 0.0, "gelu", 1e-5, True, True
            ).eval()
            state = block.state_dict()
            layer.load_state_dict({theirs: state[name] for theirs, name in names.items()})
            x_BLD = layer(x_BLD, src_mask=mask)
        return x_BLD

    return run


@pytest.fixture(scope="session")
def every_weight_shows() -> Callable[..., None]:
    """Fails unless a parity would notice any one wrong tensor.

    Each tensor of a state dict in turn has its numbers in other places (a single one: another
    number), and the compared answer must move by more than `least`, ten times what parities allow.
    Equal numbers, such as biases that start at zero, would hide behind each other and fail here,
    too. `unread` holds parts of the names of tensors that the answer is not made of.
    """

    @torch.no_grad()
    def check(
        model: nn.Module, answer: Answer, unread: tuple[str, ...] = (), least: float = 1e-3
    ) -> None:
        wanted, missed = answer(), []
        for name, tensor in model.state_dict().items():
            if not tensor.is_floating_point():
                continue
            kept = tensor.clone()
            tensor.copy_(kept.flatten().roll(1).view_as(kept) if kept.numel() > 1 else kept + 0.5)
            if not (answer() - wanted).abs().max() > least:
                missed.append(name)
            tensor.copy_(kept)
        assert torch.equal(answer(), wanted)
        assert [name for name in missed if not any(part in name for part in unread)] == []

    return check
