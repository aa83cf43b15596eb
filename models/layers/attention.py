"""Multi-head self-attention (Vaswani et al. 2017, section 3.2), the one kernel that every
transformer here uses.

Queries, keys and values come from one fused projection, and the softmax runs inside PyTorch's
`scaled_dot_product_attention`, which picks the flash kernel on CPU and on GPU alike; there is no
loop over heads and no L x L matrix in memory on that path.

Shapes: B batch, L tokens, D width, H heads, K width of a head (D = H K).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def attention_mask(length: int, causal: bool, valid_BL: Tensor) -> Tensor:
    """(B, 1, L, L), true where a query may look: at valid keys, and not ahead if `causal`."""
    mask_B11L = valid_BL[:, None, None, :]
    if not causal:
        return mask_B11L.expand(-1, 1, length, length)
    past_LL = torch.ones(length, length, dtype=valid_BL.dtype, device=valid_BL.device).tril()
    return mask_B11L & past_LL


class Attention(nn.Module):
    """Self-attention: (B, L, D) to (B, L, D).

    `causal` hides later tokens. `valid_BL` (bool, true for real tokens) hides padding as a key;
    each query must be left at least one key. Raises ValueError where `heads` does not divide
    `width`.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"heads={heads} must divide width={width}")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self, x_BLD: Tensor, causal: bool = False, valid_BL: Tensor | None = None
    ) -> Tensor:
        """Every token's answer, (B, L, D)."""
        B, L, D = x_BLD.shape
        qkv_BL3HK = self.qkv(x_BLD).view(B, L, 3, self.heads, D // self.heads)
        q_BHLK, k_BHLK, v_BHLK = qkv_BL3HK.permute(2, 0, 3, 1, 4).unbind(0)
        mask = None if valid_BL is None else attention_mask(L, causal, valid_BL)
        y_BHLK = F.scaled_dot_product_attention(
            q_BHLK, k_BHLK, v_BHLK, attn_mask=mask, is_causal=causal and mask is None
        )
        y_BLD = y_BHLK.transpose(1, 2).reshape(B, L, D)
        out_BLD: Tensor = self.out(y_BLD)
        return out_BLD

    def at(self, x_BLD: Tensor, place_B: Tensor, causal: bool = False) -> Tensor:
        """Row `place_B` of `forward` alone, (B, D): one query a sequence, keys and values of all
        tokens.
        """
        B, L, D = x_BLD.shape
        query_BD = x_BLD[torch.arange(B, device=x_BLD.device), place_B]
        weight_q, weight_kv = self.qkv.weight[:D], self.qkv.weight[D:]
        bias_q, bias_kv = self.qkv.bias[:D], self.qkv.bias[D:]
        q_BH1K = F.linear(query_BD, weight_q, bias_q).view(B, self.heads, 1, -1)
        kv_BL2HK = F.linear(x_BLD, weight_kv, bias_kv).view(B, L, 2, self.heads, -1)
        k_BHLK, v_BHLK = kv_BL2HK.permute(2, 0, 3, 1, 4).unbind(0)
        mask = None
        if causal:
            past_BL = torch.arange(L, device=x_BLD.device) <= place_B[:, None]
            mask = past_BL[:, None, None, :]
        y_BH1K = F.scaled_dot_product_attention(q_BH1K, k_BHLK, v_BHLK, attn_mask=mask)
        out_BD: Tensor = self.out(y_BH1K.reshape(B, D))
        return out_BD
