"""Frozen language models that let another network change their tokens before each block.

`run` calls `before(number, x_BLD)` ahead of the block of that number and goes on with what it
returns. `GPTHost` does so with our GPT, `TransformersHost` with any decoder of transformers, such
as OPT or Llama, whose blocks are in one list.

Shapes: B batch, L tokens, S tokens with the cached ones, D width, N tokens in a row, V ids.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.gpt import GPT
from models.layers.cache import Cache

Before = Callable[[int, Tensor], Tensor]


class Host(Protocol):
    """What a language model has to bring."""

    width: int  # of a token
    depth: int  # blocks

    def new_cache(self) -> Cache:
        """For the keys and values of tokens that have run."""

    def run(
        self, tokens_BL: Tensor, valid_BL: Tensor | None, cache: Cache | None, before: Before
    ) -> Tensor:
        """Hidden vectors (B, L, D) of token ids (B, L) that follow those in `cache`; `valid_BL` is
        false at padding.
        """

    def score(self, hidden_BLD: Tensor) -> Tensor:
        """Logits (..., V) of hidden vectors (..., D)."""

    def nll(self, hidden_ND: Tensor, ids_N: Tensor) -> Tensor:
        """-log p (N,) float32 of the ids that follow hidden vectors (N, D)."""


class GPTHost(nn.Module):
    """Our GPT."""

    def __init__(self, model: GPT) -> None:
        super().__init__()
        self.model = model
        self.width, self.depth = model.config.width, model.config.depth

    def new_cache(self) -> Cache:
        """As `Host.new_cache`."""
        return self.model.new_cache()

    def run(
        self, tokens_BL: Tensor, valid_BL: Tensor | None, cache: Cache | None, before: Before
    ) -> Tensor:
        """As `Host.run`."""
        x_BLD, mask = self.model.enter(self.model.embed(tokens_BL), valid_BL, cache)
        for number, block in enumerate(self.model.transformer.blocks):
            caches = None if cache is None else (cache.own[number], cache.cross[number])
            x_BLD = block(before(number, x_BLD), mask=mask, causal=True, caches=caches)
        return self.model.leave(x_BLD)

    def score(self, hidden_BLD: Tensor) -> Tensor:
        """As `Host.score`."""
        return self.model.score(hidden_BLD)

    def nll(self, hidden_ND: Tensor, ids_N: Tensor) -> Tensor:
        """As `Host.nll`."""
        return self.model.nll(hidden_ND, ids_N)


class TheirCache(Cache):
    """transformers' cache behind ours."""

    def __init__(self, theirs: Any) -> None:
        super().__init__()
        self.theirs = theirs

    @property
    def length(self) -> int:
        """Tokens that have run."""
        return int(self.theirs.get_seq_length())

    def select(self, rows_B: Tensor) -> None:
        """Keeps these rows of the batch, in this order; a row may come more than once."""
        super().select(rows_B)
        self.theirs.reorder_cache(rows_B)

    def fork(self) -> TheirCache:
        """A copy that grows by itself; what is held so far is shared, not copied."""
        theirs = copy.copy(self.theirs)
        theirs.layers = [copy.copy(layer) for layer in theirs.layers]
        out = TheirCache(theirs)
        out.real_BS = self.real_BS
        return out


@functools.cache
def takes_places(forward: Callable[..., Any]) -> bool:
    """Whether a model of transformers is told the places of its tokens."""
    return "position_ids" in inspect.signature(forward).parameters


def their_hidden(
    model: Any, given: dict[str, Tensor], valid_BL: Tensor | None, cache: TheirCache | None
) -> Tensor:
    """Hidden vectors (B, L, D) of transformers' decoder; `given` is its `input_ids` (B, L) or its
    `inputs_embeds` (B, L, D). A row's places count its real tokens, `valid_BL` and the cache's.
    """
    (tokens,) = given.values()
    (B, L), past = tokens.shape[:2], 0 if cache is None else cache.length
    real_BS = valid_BL if cache is None else cache.admit(valid_BL, B, L)
    if real_BS is None:
        real_BS = torch.ones(B, past + L, dtype=torch.bool, device=tokens.device)
    if takes_places(type(model.base_model).forward):
        places = (real_BS.long().cumsum(dim=1) - 1).clamp(min=0)[:, past:]
        given = {**given, "position_ids": places}
    hidden_BLD: Tensor = model.base_model(
        **given,
        attention_mask=real_BS.long(),
        past_key_values=None if cache is None else cache.theirs,
        use_cache=cache is not None,
    ).last_hidden_state
    return hidden_BLD


class TransformersHost(nn.Module):
    """A causal language model of transformers; `blocks` is its list of them, in order.

    Logits are its output layer's alone, so that families which change them afterwards (Gemma 2,
    Cohere) do not fit.
    """

    def __init__(self, model: Any, blocks: nn.ModuleList) -> None:
        super().__init__()
        self.model, self.depth = model, len(blocks)
        self.width: int = model.get_input_embeddings().weight.shape[1]
        names = {id(module): name for name, module in model.named_modules()}
        self.path = names[id(blocks)]  # a path and not the list, so that no weight has two names

    def new_cache(self) -> Cache:
        """As `Host.new_cache`."""
        from transformers import DynamicCache

        return TheirCache(DynamicCache())

    @contextmanager
    def _hooked(self, before: Before) -> Iterator[None]:
        def hook(number: int) -> Any:
            def change(_: nn.Module, args: Any, kwargs: Any) -> Any:
                if args:
                    return (before(number, args[0]), *args[1:]), kwargs
                return args, {**kwargs, "hidden_states": before(number, kwargs["hidden_states"])}

            return change

        blocks = self.model.get_submodule(self.path)
        handles = [
            block.register_forward_pre_hook(hook(number), with_kwargs=True)
            for number, block in enumerate(blocks)
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def run(
        self, tokens_BL: Tensor, valid_BL: Tensor | None, cache: Cache | None, before: Before
    ) -> Tensor:
        """As `Host.run`."""
        assert cache is None or isinstance(cache, TheirCache), "new_cache() makes the cache"
        with self._hooked(before):
            return their_hidden(self.model, {"input_ids": tokens_BL}, valid_BL, cache)

    def score(self, hidden_BLD: Tensor) -> Tensor:
        """As `Host.score`."""
        logits_BLV: Tensor = self.model.get_output_embeddings()(hidden_BLD)
        return logits_BLV

    def nll(self, hidden_ND: Tensor, ids_N: Tensor) -> Tensor:
        """As `Host.nll`."""
        return F.cross_entropy(self.score(hidden_ND).float(), ids_N, reduction="none")
