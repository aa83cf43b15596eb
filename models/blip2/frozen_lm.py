"""Frozen language models that take vectors in the place of words: where BLIP-2's queries go.

Vectors (soft prompts, and embedded words among them) stand before a text. A decoder-only model
reads them before the text; an encoder-decoder model encodes them, and its decoder writes the text.
Both come to the same four calls, `FrozenLM`. The weights get no gradient, and pass it on to the
vectors.

An adapter is no `nn.Module`, so that a model that holds one has no language model in its parameters
and checkpoints: those weights are a published file's own. Move `adapter.model` to the device.

Shapes: B batch, P vectors before the text, T tokens of text, S = P + T, W width of the language
model, V ids.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from models.flamingo.hosts import TheirCache, their_hidden
from models.gpt import GPT
from models.layers.cache import Cache
from models.t5 import T5


class FrozenLM(Protocol):
    """What BLIP-2 needs of a language model."""

    width: int  # of a vector

    def embed(self, tokens_BP: Tensor) -> Tensor:
        """Vectors (B, P, W) of words that stand among the soft prompts."""

    def logits(self, prefix_BPW: Tensor, valid_BP: Tensor | None, tokens_BT: Tensor) -> Tensor:
        """Logits (B, T, V) of what follows each token of a text, which may be padded on the right;
        `valid_BP` is false at vectors that are padding, on either side.
        """

    def open(self, prefix_BPW: Tensor, valid_BP: Tensor | None) -> Cache:
        """The vectors, read once, for `advance`."""

    def advance(self, tokens_BL: Tensor, cache: Cache) -> Tensor:
        """Logits (B, V) of what follows the last token, for `models.generation`."""


def _freeze(model: nn.Module) -> torch.dtype:
    model.requires_grad_(False).eval()
    return next(model.parameters()).dtype


class FrozenGPT:
    """Our GPT."""

    def __init__(self, model: GPT) -> None:
        self.model, self.dtype, self.width = model, _freeze(model), model.config.width

    def embed(self, tokens_BP: Tensor) -> Tensor:
        """As `FrozenLM.embed`."""
        return self.model.embed(tokens_BP)

    def logits(self, prefix_BPW: Tensor, valid_BP: Tensor | None, tokens_BT: Tensor) -> Tensor:
        """As `FrozenLM.logits`."""
        x_BSW = torch.cat([prefix_BPW.to(self.dtype), self.model.embed(tokens_BT)], dim=1)
        hidden_BSW = self.model.run(x_BSW, _with_text(valid_BP, tokens_BT))
        return self.model.score(hidden_BSW[:, prefix_BPW.shape[1] :])

    def open(self, prefix_BPW: Tensor, valid_BP: Tensor | None) -> Cache:
        """As `FrozenLM.open`."""
        cache = self.model.new_cache()
        self.model.run(prefix_BPW.to(self.dtype), valid_BP, cache)
        return cache

    def advance(self, tokens_BL: Tensor, cache: Cache) -> Tensor:
        """As `FrozenLM.advance`."""
        return self.model.advance(tokens_BL, cache)


class FrozenCausalLM:
    """A decoder of transformers, such as OPT, with an output layer over what its base gives.

    Logits are that layer's alone, so that families which change them afterwards (Gemma 2, Cohere)
    do not fit.
    """

    def __init__(self, model: Any) -> None:
        self.model, self.dtype = model, _freeze(model)
        self.width: int = model.get_input_embeddings().weight.shape[1]

    def embed(self, tokens_BP: Tensor) -> Tensor:
        """As `FrozenLM.embed`."""
        x_BPW: Tensor = self.model.get_input_embeddings()(tokens_BP)
        return x_BPW

    def _run(self, x_BLW: Tensor, valid_BL: Tensor | None, cache: TheirCache | None) -> Tensor:
        return their_hidden(self.model, {"inputs_embeds": x_BLW.to(self.dtype)}, valid_BL, cache)

    def _score(self, hidden_BLW: Tensor) -> Tensor:
        logits_BLV: Tensor = self.model.get_output_embeddings()(hidden_BLW)
        return logits_BLV

    def logits(self, prefix_BPW: Tensor, valid_BP: Tensor | None, tokens_BT: Tensor) -> Tensor:
        """As `FrozenLM.logits`."""
        x_BSW = torch.cat([prefix_BPW.to(self.dtype), self.embed(tokens_BT)], dim=1)
        hidden_BSW = self._run(x_BSW, _with_text(valid_BP, tokens_BT), None)
        return self._score(hidden_BSW[:, prefix_BPW.shape[1] :])

    def open(self, prefix_BPW: Tensor, valid_BP: Tensor | None) -> Cache:
        """As `FrozenLM.open`."""
        from transformers import DynamicCache

        cache = TheirCache(DynamicCache())
        self._run(prefix_BPW, valid_BP, cache)
        return cache

    def advance(self, tokens_BL: Tensor, cache: Cache) -> Tensor:
        """As `FrozenLM.advance`."""
        assert isinstance(cache, TheirCache), "open() makes the cache"
        return self._score(self._run(self.embed(tokens_BL), None, cache)[:, -1])


class FrozenT5:
    """Our T5: the vectors go through its encoder."""

    def __init__(self, model: T5) -> None:
        self.model, self.dtype, self.width = model, _freeze(model), model.config.width

    def embed(self, tokens_BP: Tensor) -> Tensor:
        """As `FrozenLM.embed`."""
        x_BPW: Tensor = self.model.embedding(tokens_BP)
        return x_BPW

    def logits(self, prefix_BPW: Tensor, valid_BP: Tensor | None, tokens_BT: Tensor) -> Tensor:
        """As `FrozenLM.logits`."""
        source_BPW = self.model.encode(prefix_BPW.to(self.dtype), valid_BP)
        return self.model.decode(tokens_BT, source_BPW, valid_BP)

    def open(self, prefix_BPW: Tensor, valid_BP: Tensor | None) -> Cache:
        """As `FrozenLM.open`."""
        return self.model.start(self.model.encode(prefix_BPW.to(self.dtype), valid_BP), valid_BP)

    def advance(self, tokens_BL: Tensor, cache: Cache) -> Tensor:
        """As `FrozenLM.advance`."""
        return self.model.advance(tokens_BL, cache)


def _with_text(valid_BP: Tensor | None, tokens_BT: Tensor) -> Tensor | None:
    """`valid_BP` and a text after it; its padding, on the right, is seen by nothing that counts."""
    if valid_BP is None:
        return None
    return torch.cat([valid_BP.bool(), torch.ones_like(tokens_BT, dtype=torch.bool)], dim=1)
