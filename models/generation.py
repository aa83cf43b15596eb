"""Token after token out of any autoregressive model: greedy, nucleus and beam search.

A model brings `advance(tokens_BL, cache) -> logits_BV`: it runs the tokens that the cache does not
hold yet and gives the logits of what follows them. Sampling draws each row's token from a number of
that row's own, a hash of (seed, record id, place), so that a caption does not depend on what else
is in its batch. Rows that have ended leave the batch.

Greedy and beam search choose token for token what transformers' `generate` chooses with the same
settings; nucleus sampling is Holtzman et al. 2020 (arXiv 1904.09751).

Shapes: B rows, L tokens so far, V ids, N beams of a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from models.layers.cache import Cache
from pipelines.records import uniform

Advance = Callable[[Tensor, Cache], Tensor]


@dataclass(frozen=True)
class GenerationConfig:
    """How tokens are chosen."""

    method: Literal["greedy", "nucleus", "beam"] = "greedy"
    most: int = 20  # new tokens of a row, its end included
    least: int = 0  # new tokens before which a row cannot end
    top_p: float = 0.9  # nucleus: the smallest set of tokens of at least this probability
    temperature: float = 1.0  # nucleus: logits are divided by it
    beams: int = 3  # beam search: hypotheses of a row
    length_penalty: float = 1.0  # beam search: scores are divided by length ** this
    repetition_penalty: float = 1.0  # logits of tokens that a row holds already are weakened by it
    seed: int = 0  # nucleus


def generate(
    advance: Advance,
    prompt_BL: Tensor,
    cache: Cache,
    *,
    end: int,
    config: GenerationConfig,
    keys: Sequence[str] | None = None,
) -> list[list[int]]:
    """New token ids of each row of `prompt_BL` (B, L) int64, without the prompt and the end.

    Args:
        cache: what `advance` has seen before the prompt: empty, or an encoded image.
        end: id that ends a row.
        keys: a name for each row, such as its record id, that its random numbers come from; the row
            numbers if None.

    Raises ValueError for settings that cannot be.
    """
    if config.most < 1 or config.least > config.most:
        raise ValueError(f"most={config.most} must be at least 1 and least={config.least}")
    if not 0.0 < config.top_p <= 1.0:
        raise ValueError(f"top_p={config.top_p} must be in (0, 1]")
    with torch.inference_mode():
        if config.method == "beam":
            return _beam(advance, prompt_BL, cache, end, config)
        names = [str(row) for row in range(len(prompt_BL))] if keys is None else list(keys)
        return _one_by_one(advance, prompt_BL, cache, end, config, names)


def nucleus(logits_BV: Tensor, top_p: float, uniform_B: Tensor) -> Tensor:
    """The ids (B,) at the quantiles `uniform_B` in [0, 1) of the nucleus of each row.

    The nucleus is the shortest run of the most probable tokens whose probabilities reach `top_p`.
    """
    p_BV, order_BV = logits_BV.float().softmax(dim=-1).sort(dim=-1, descending=True, stable=True)
    before_BV = p_BV.cumsum(dim=-1) - p_BV
    p_BV = p_BV.masked_fill(before_BV >= top_p, 0.0)
    total_BV = p_BV.cumsum(dim=-1)
    wanted_B1 = uniform_B[:, None].to(total_BV) * total_BV[:, -1:]
    place_B1 = (total_BV <= wanted_B1).sum(dim=-1, keepdim=True)
    last_B1 = (p_BV > 0).sum(dim=-1, keepdim=True) - 1
    return order_BV.gather(1, torch.minimum(place_B1, last_B1))[:, 0]


def adjusted(
    logits_BV: Tensor, held_BL: Tensor, new: int, end: int, config: GenerationConfig
) -> Tensor:
    """Logits, or log-probabilities, after the repetition penalty and the least length."""
    if config.repetition_penalty != 1.0:
        seen_BL = logits_BV.gather(1, held_BL)
        factor = config.repetition_penalty
        weakened_BL = torch.where(seen_BL < 0, seen_BL * factor, seen_BL / factor)
        logits_BV = logits_BV.scatter(1, held_BL, weakened_BL)
    if new < config.least:
        logits_BV = logits_BV.index_fill(
            1, torch.tensor([end], device=logits_BV.device), -torch.inf
        )
    return logits_BV


def _one_by_one(
    advance: Advance,
    prompt_BL: Tensor,
    cache: Cache,
    end: int,
    config: GenerationConfig,
    names: list[str],
) -> list[list[int]]:
    """Greedy search and nucleus sampling."""
    rows = torch.arange(len(prompt_BL), device=prompt_BL.device)
    out: list[list[int]] = [[] for _ in names]
    held_BL, fed_BL = prompt_BL, prompt_BL
    for place in range(config.most):
        logits_BV = adjusted(advance(fed_BL, cache), held_BL, place, end, config)
        if config.method == "greedy":
            token_B = logits_BV.argmax(dim=-1)
        else:
            drawn = [uniform(config.seed, "token", str(place), names[row]) for row in rows.tolist()]
            drawn_B = torch.tensor(drawn, device=logits_BV.device)
            token_B = nucleus(logits_BV / config.temperature, config.top_p, drawn_B)
        going_B = token_B != end
        for row, token, going in zip(
            rows.tolist(), token_B.tolist(), going_B.tolist(), strict=True
        ):
            if going:
                out[row].append(token)
        if not bool(going_B.all()):
            kept = going_B.nonzero()[:, 0]
            if not len(kept):
                break
            rows, token_B, held_BL = rows[kept], token_B[kept], held_BL[kept]
            cache.select(kept)
        fed_BL = token_B[:, None]
        held_BL = torch.cat([held_BL, fed_BL], dim=1)
    return out


class _Row:
    """The finished hypotheses of one row of a beam search, the best `beams` of them."""

    def __init__(self, config: GenerationConfig) -> None:
        self.config = config
        self.done: list[tuple[float, list[int]]] = []

    def add(self, score: float, tokens: list[int], length: int) -> None:
        """Puts in a hypothesis whose log-probability is `score`."""
        self.done.append((score / length**self.config.length_penalty, tokens))
        self.done.sort(key=lambda found: -found[0])
        del self.done[self.config.beams :]

    def settled(self, best: float, length: int) -> bool:
        """Whether nothing that is still open, `best` at most, can get in."""
        full = len(self.done) == self.config.beams
        return full and self.done[-1][0] >= best / length**self.config.length_penalty


def _beam(
    advance: Advance, prompt_BL: Tensor, cache: Cache, end: int, config: GenerationConfig
) -> list[list[int]]:
    """Beam search as transformers' with `early_stopping=False`: of 2 N candidates a row, ends among
    the first N are put aside and the best N others go on.
    """
    B, N, prompt = len(prompt_BL), config.beams, prompt_BL.shape[1]
    rows = [_Row(config) for _ in range(B)]
    first = advance(prompt_BL, cache)
    every = torch.arange(B, device=prompt_BL.device).repeat_interleave(N)
    cache.select(every)
    held = prompt_BL[every]
    score_BN = torch.full((B, N), -1e9, device=prompt_BL.device)
    score_BN[:, 0] = 0.0
    logits = first[every]
    open_rows = [True] * B
    for place in range(config.most):
        log_p = adjusted(F.log_softmax(logits.float(), dim=-1), held, place, end, config)
        V = log_p.shape[-1]
        total = (score_BN.view(B * N, 1) + log_p).view(B, N * V)
        best_BM, where_BM = total.topk(2 * N, dim=1)
        last = place + 1 == config.most
        beam_BN, token_BN, score_BN = _survivors(
            rows, open_rows, best_BM, where_BM % V, where_BM // V, held, (prompt, place, end, last)
        )
        if last or not any(open_rows):
            break
        chosen = (beam_BN + torch.arange(B, device=held.device)[:, None] * N).flatten()
        held = torch.cat([held[chosen], token_BN.view(B * N, 1)], dim=1)
        cache.select(chosen)
        logits = advance(held[:, -1:], cache)
    return [max(row.done, key=lambda found: found[0])[1] for row in rows]


def _survivors(
    rows: list[_Row],
    open_rows: list[bool],
    best_BM: Tensor,
    token_BM: Tensor,
    beam_BM: Tensor,
    held: Tensor,
    state: tuple[int, int, int, bool],
) -> tuple[Tensor, Tensor, Tensor]:
    """Puts ended candidates aside; the best N open ones: beams, tokens, scores, each (B, N)."""
    prompt, place, end, last = state
    N = best_BM.shape[1] // 2
    kept: list[list[int]] = []
    for row, (score_M, token_M, beam_M) in enumerate(
        zip(best_BM.tolist(), token_BM.tolist(), beam_BM.tolist(), strict=True)
    ):
        open_places = [m for m in range(2 * N) if token_M[m] != end]
        kept.append(open_places[:N])
        if not open_rows[row]:
            continue
        for m in range(N):
            if token_M[m] == end or last:
                before = held[row * N + beam_M[m], prompt:].tolist()
                tokens = before if token_M[m] == end else [*before, token_M[m]]
                rows[row].add(score_M[m], tokens, place + 1)
        open_rows[row] = not (last or rows[row].settled(score_M[open_places[0]], place + 1))
    places_BN = torch.tensor(kept, device=best_BM.device)
    return (
        beam_BM.gather(1, places_BN),
        token_BM.gather(1, places_BN),
        best_BM.gather(1, places_BN),
    )
