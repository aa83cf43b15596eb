"""Multi-head attention (Vaswani et al. 2017, section 3.2), the one kernel that every transformer
here uses.

Keys and values come from the queries' own sequence, in one fused projection, or from a `source`
(an image, a memory, an encoder's output). The softmax runs inside PyTorch's
`scaled_dot_product_attention`, which picks the flash kernel on CPU and on GPU alike; there is no
loop over heads and no L x S matrix in memory on that path. In three steps, so that other attention
patterns can put theirs in the middle: `project`, `mix`, `merge`.

Shapes: B batch, L queries, S keys, D width, H heads, K width of a head, C width of the source.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.layers import masks
from models.layers.cache import KeyValues


class Attention(nn.Module):
    """Attention of (B, L, D) to itself, or with `source_width` to a source (B, S, C).

    Args:
        head_width: K; D / heads if None.
        bias: of the four projections.
        scale: of the logits; 1/sqrt(K) if None (T5 has 1).
        relative: a module that makes a bias on the logits (.., H, L, S) of the queries
            (B, H, L, K).
        dropout: of the attention weights, in training.
        out: the last projection; without it the answer is the heads side by side, (B, L, H K).

    Raises ValueError where `heads` does not divide `width` and no `head_width` is given.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        head_width: int | None = None,
        source_width: int | None = None,
        bias: bool = True,
        scale: float | None = None,
        relative: nn.Module | None = None,
        dropout: float = 0.0,
        out: bool = True,
    ) -> None:
        super().__init__()
        if head_width is None and width % heads:
            raise ValueError(f"heads={heads} must divide width={width}")
        self.heads, self.scale, self.relative, self.dropout = heads, scale, relative, dropout
        inner = heads * (head_width or width // heads)
        self.crossed = source_width is not None
        if source_width is None:
            self.qkv = nn.Linear(width, 3 * inner, bias=bias)
        else:
            self.q = nn.Linear(width, inner, bias=bias)
            self.kv = nn.Linear(source_width, 2 * inner, bias=bias)
        self.out = nn.Linear(inner, width, bias=bias) if out else nn.Identity()

    def project(self, x_BLD: Tensor, source_BSC: Tensor | None = None) -> tuple[Tensor, ...]:
        """Queries (B, H, L, K), keys and values (B, H, S, K)."""
        if not self.crossed:
            return self._heads(self.qkv(x_BLD), 3)
        assert source_BSC is not None, "attention to a source needs one"
        return *self._heads(self.q(x_BLD), 1), *self.look(source_BSC)

    def look(self, source_BSC: Tensor) -> tuple[Tensor, ...]:
        """Keys and values (B, H, S, K) of a source, for many uses of it."""
        return self._heads(self.kv(source_BSC), 2)

    def _heads(self, x_BLX: Tensor, parts: int) -> tuple[Tensor, ...]:
        B, L, _ = x_BLX.shape
        return tuple(x_BLX.view(B, L, parts, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0))

    def mix(
        self,
        q_BHLK: Tensor,
        k_BHSK: Tensor,
        v_BHSK: Tensor,
        mask: Tensor | None = None,
        causal: bool = False,
    ) -> Tensor:
        """softmax(q k / scale + mask) v, (B, H, L, K); the last query stands at the last key."""
        length, keys = q_BHLK.shape[2], k_BHSK.shape[2]
        if length == 1:
            causal = False
        bias = None if self.relative is None else self.relative(q_BHLK)
        if causal and (mask is not None or bias is not None or keys > length):
            mask = masks.combined(masks.causal(length, keys, q_BHLK.device), mask)
            causal = False
        mask = masks.combined(mask, bias)
        return F.scaled_dot_product_attention(
            q_BHLK,
            k_BHSK,
            v_BHSK,
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=causal,
            scale=self.scale,
        )

    def merge(self, y_BHLK: Tensor) -> Tensor:
        """The heads side by side through the last projection, (B, L, D)."""
        out_BLD: Tensor = self.out(y_BHLK.transpose(1, 2).flatten(2))
        return out_BLD

    def forward(
        self,
        x_BLD: Tensor,
        source_BSC: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        causal: bool = False,
        cache: KeyValues | None = None,
    ) -> Tensor:
        """Every token's answer, (B, L, D).

        `mask` broadcasts to (B, H, L, S): bool, true where a query may look (at one key at least),
        or float, added to the logits. With a `cache`, self-attention sees what the cache holds
        before its own tokens, and adds them to it; attention to a source projects it only once.
        """
        if cache is None or not self.crossed:
            q_BHLK, k_BHSK, v_BHSK = self.project(x_BLD, source_BSC)
            if cache is not None:
                k_BHSK, v_BHSK = cache.append(k_BHSK, v_BHSK)
        else:
            if not cache.length:
                assert source_BSC is not None, "attention to a source needs one"
                cache.append(*self.look(source_BSC))
            (q_BHLK,) = self._heads(self.q(x_BLD), 1)
            assert cache.k_BHSK is not None and cache.v_BHSK is not None
            k_BHSK, v_BHSK = cache.k_BHSK, cache.v_BHSK
        return self.merge(self.mix(q_BHLK, k_BHSK, v_BHSK, mask, causal))

    def at(self, x_BLD: Tensor, place_B: Tensor, causal: bool = False) -> Tensor:
        """Row `place_B` of self-attention alone, (B, D): one query a sequence, keys and values of
        all tokens. Relative positions need all queries, so that with them nothing is saved.
        """
        B, L, _ = x_BLD.shape
        if self.relative is not None:
            all_BLD: Tensor = self(x_BLD, causal=causal)
            return all_BLD[torch.arange(B, device=x_BLD.device), place_B]
        inner = self.qkv.out_features // 3
        query_B1D = x_BLD[torch.arange(B, device=x_BLD.device), place_B, None]
        bias = self.qkv.bias
        bias_q, bias_kv = (None, None) if bias is None else (bias[:inner], bias[inner:])
        (q_BH1K,) = self._heads(F.linear(query_B1D, self.qkv.weight[:inner], bias_q), 1)
        k_BHLK, v_BHLK = self._heads(F.linear(x_BLD, self.qkv.weight[inner:], bias_kv), 2)
        mask = None
        if causal:
            mask = masks.padding(torch.arange(L, device=x_BLD.device) <= place_B[:, None])
        return self.merge(self.mix(q_BH1K, k_BHLK, v_BHLK, mask))[:, 0]

    def maps(self, x_BLD: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        """The weights of self-attention themselves, (B, H, L, L); for looking at, not for speed."""
        q_BHLK, k_BHLK, _ = self.project(x_BLD)
        one_LK = torch.eye(k_BHLK.shape[2], dtype=x_BLD.dtype, device=x_BLD.device)
        return self.mix(q_BHLK, k_BHLK, one_LK.expand(*k_BHLK.shape[:2], -1, -1), mask, causal)
