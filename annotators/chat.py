"""Any server that speaks the OpenAI chat API, so vLLM, llama.cpp or a cloud: many requests at once,
tried again where that may help, never paid twice.

Answers are kept in a SQLite file under the hash of the request, so a rerun after a kill asks only
for what is missing. `most_requests` is a cap on cost: when it is reached, the rest is refused with
its reason, and a later run with a higher cap goes on. A request that failed is a status and a
reason, never an exception.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.records import uniform

TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
Message = dict[str, Any]


@dataclass(frozen=True)
class ChatConfig:
    """A server and how it is asked."""

    url: str = "http://127.0.0.1:8000/v1"  # up to /chat/completions
    model: str = ""  # the server's name for its model
    key_variable: str = "OPENAI_API_KEY"  # environment variable that holds the key, if one is set
    temperature: float = 0.0  # of sampling
    top_p: float = 1.0  # of sampling
    most_tokens: int = 64  # of an answer
    at_once: int = 16  # requests in flight
    attempts: int = 4  # tries of a request whose failure may pass
    backoff_seconds: float = 1.0  # before the second try; doubles with each further one
    timeout_seconds: float = 120.0  # of one try
    most_requests: int = 0  # asked of the server by one Chat in all; 0: no cap
    cache: str = ""  # SQLite file that keeps answers; empty: none


@dataclass(frozen=True)
class Reply:
    """What came back: `text` where status is ok, else the reason as status and a detail."""

    status: str
    text: str = ""
    detail: str = ""


def picture(image: bytes, media_type: str) -> Message:
    """An encoded image as a part of a message."""
    data = base64.b64encode(image).decode()
    return {"type": "image_url", "image_url": {"url": f"data:{media_type};base64,{data}"}}


def ask(*parts: str | Message) -> list[Message]:
    """A conversation of one user message: texts and pictures in order."""
    content = [{"type": "text", "text": p} if isinstance(p, str) else p for p in parts]
    return [{"role": "user", "content": content}]


class Chat:
    """Answers to conversations; `close` it when done."""

    def __init__(self, config: ChatConfig) -> None:
        self.config, self.asked = config, 0
        self.kept = Kept(config.cache) if config.cache else None

    def close(self) -> None:
        """Close the cache."""
        if self.kept is not None:
            self.kept.close()

    def answers(
        self,
        conversations: Sequence[list[Message]],
        extra: Message | Sequence[Message] | None = None,
    ) -> list[Reply]:
        """A reply to each conversation, in order; `extra` goes into each request, such as a
        response format, or is one for each, such as a seed.
        """
        every = extra if isinstance(extra, Sequence) else [extra] * len(conversations)
        payloads = [self._payload(m, e) for m, e in zip(conversations, every, strict=True)]
        return asyncio.run(self._all(payloads))

    def _payload(self, messages: list[Message], extra: Message | None) -> Message:
        config = self.config
        return {
            "model": config.model,
            "messages": messages,
            "temperature": config.temperature,
            "top_p": config.top_p,
            "max_tokens": config.most_tokens,
            **(extra or {}),
        }

    async def _all(self, payloads: list[Message]) -> list[Reply]:
        import aiohttp

        slots = asyncio.Semaphore(self.config.at_once)
        key = os.environ.get(self.config.key_variable, "")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        timeout = aiohttp.ClientTimeout(total=self.config.timeout_seconds)
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:

            async def one(payload: Message) -> Reply:
                async with slots:
                    return await self._answer(session, payload)

            return list(await asyncio.gather(*map(one, payloads)))

    async def _answer(self, session: Any, payload: Message) -> Reply:
        name = hashlib.blake2b(
            json.dumps([self.config.url, payload], sort_keys=True).encode(), digest_size=16
        ).hexdigest()
        held = self.kept.get(name) if self.kept is not None else None
        if held is not None:
            return Reply("ok", held)
        reply = Reply("not_asked")
        for attempt in range(self.config.attempts):
            if self.config.most_requests and self.asked >= self.config.most_requests:
                return Reply("over_budget", detail=f"most_requests={self.config.most_requests}")
            if attempt:
                jitter = 0.5 + uniform(attempt, name)
                await asyncio.sleep(self.config.backoff_seconds * 2 ** (attempt - 1) * jitter)
            self.asked += 1
            reply, passing = await self._request(session, payload)
            if not passing:
                break
        if reply.status == "ok" and self.kept is not None:
            self.kept.put(name, reply.text)
        return reply

    async def _request(self, session: Any, payload: Message) -> tuple[Reply, bool]:
        """One try: the reply, and whether another try may help."""
        import aiohttp

        url = f"{self.config.url.rstrip('/')}/chat/completions"
        try:
            async with session.post(url, json=payload) as response:
                body = await response.text()
                if response.status != 200:
                    status = f"http_{response.status}"
                    return Reply(status, detail=body[:200]), response.status in TRANSIENT
                text = json.loads(body)["choices"][0]["message"]["content"]
        except TimeoutError:
            return Reply("timeout", detail=f"{self.config.timeout_seconds:g} s"), True
        except aiohttp.ClientError as error:
            return Reply("unreachable", detail=f"{url}: {error}"[:200]), True
        except (ValueError, KeyError, IndexError, TypeError) as error:
            return Reply("not_an_answer", detail=f"{type(error).__name__}: {body[:200]}"), False
        if not isinstance(text, str) or not text.strip():
            return Reply("empty_answer"), False
        return Reply("ok", text.strip()), False


class Kept:
    """Answers by the hash of their request, in one SQLite file that several processes may share."""

    def __init__(self, path: str) -> None:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        self.database = sqlite3.connect(path, timeout=60.0, isolation_level=None)
        self.database.execute("PRAGMA journal_mode=WAL")
        self.database.execute(
            "CREATE TABLE IF NOT EXISTS answers (name TEXT PRIMARY KEY, text TEXT)"
        )

    def get(self, name: str) -> str | None:
        """The answer of that name, if there is one."""
        row = self.database.execute("SELECT text FROM answers WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def put(self, name: str, text: str) -> None:
        """Keeps an answer."""
        self.database.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (name, text))

    def close(self) -> None:
        """Close the file."""
        self.database.close()
