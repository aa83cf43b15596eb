"""Linear layers of a frozen model on CPU, above all for few rows, as generation has them: one token
of each of a few texts.

Such a product reads every weight once and computes little, so what counts is how the weights lie.
MKL's kernel, which PyTorch takes for float32, copies them into its own order at each call; oneDNN
takes them packed beforehand, 1.7 times as fast at 8 rows of BERT-base, 2.7 times for its 30,524
words, a few per cent at 800 rows (an Intel Xeon). `pack` lays out a frozen model once, for twice
its memory, and changes no number but by rounding. On other devices, in other types, for more rows,
with gradients, or where weights have changed since, the plain product runs.

Shapes: N rows, I inputs, O outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MOST_ROWS = 1024  # above it the plain product is as fast
ROWS = 8  # that the layout is made for


class PackedLinear(nn.Linear):
    """An nn.Linear that uses its packed weight where it can; made by `pack` alone."""

    def forward(self, input: Tensor) -> Tensor:
        """(..., I) to (..., O)."""
        return linear(input, self.weight, self.bias)


def pack(model: nn.Module) -> None:
    """Packs every linear layer of a frozen model on CPU, and lets each use it. The state dict stays
    as it is.
    """
    for layer in model.modules():
        if type(layer) is nn.Linear:
            layer.__class__ = PackedLinear
        if isinstance(layer, PackedLinear):
            pack_weight(layer.weight)


def pack_weight(weight_OI: Tensor) -> None:
    """Packs one matrix, kept beside it, for `linear`; nothing happens off CPU or off float32."""
    if weight_OI.device.type == "cpu" and weight_OI.dtype == torch.float32:
        with torch.no_grad():
            packed = torch.ops.mkldnn._reorder_linear_weight(weight_OI.detach(), ROWS)
        weight_OI.packed = (weight_OI._version, packed)  # type: ignore[attr-defined]


def linear(x: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    """`F.linear` of x (..., I), by the packed weight if there is one and it serves: (..., O)."""
    version, packed = getattr(weight_OI, "packed", (None, None))
    few = x.numel() <= MOST_ROWS * x.shape[-1] and x.dtype == torch.float32
    if packed is None or version != weight_OI._version or not few or torch.is_grad_enabled():
        return F.linear(x, weight_OI, bias_O)
    bias_O = None if bias_O is None else bias_O.detach()
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x, packed, bias_O, "none", [], "")
    return out
