"""The chat client against a server on loopback that fails in every way that servers fail."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from annotators.chat import Chat, ChatConfig, ask, picture

SEEN: list[dict[str, Any]] = []


def answer(request: dict[str, Any]) -> tuple[int, str]:
    """The question's text again, or what the question's first word says."""
    SEEN.append(request)
    text = request["messages"][0]["content"][0]["text"]
    word, *rest = text.split()
    times = sum(one["messages"] == request["messages"] for one in SEEN)
    if word == "slow":
        time.sleep(1.0)
    if word == "status" and times <= int(rest[1]):
        return int(rest[0]), "busy"
    if word == "rubbish":
        return 200, "<html>no</html>"
    said = " " if word == "empty" else f" re: {text} "
    return 200, json.dumps({"choices": [{"message": {"content": said}}]})


@pytest.fixture
def url(chat_server: Callable[..., str]) -> str:
    SEEN.clear()
    return chat_server(answer)


def settings(url: str, **more: Any) -> ChatConfig:
    return ChatConfig(url, "small", backoff_seconds=0.01, **more)


def test_answers_come_in_order_and_requests_are_whole(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    chat = Chat(settings(url))
    questions = [ask(f"question {n}", picture(b"\x89PNG", "image/png")) for n in range(40)]
    replies = chat.answers(questions, {"seed": 3})
    assert [reply.text for reply in replies] == [f"re: question {n}" for n in range(40)]
    request = SEEN[0]
    assert request["path"] == "/v1/chat/completions" and request["key"] == "Bearer secret"
    assert request["model"] == "small" and request["seed"] == 3
    assert (
        request["messages"][0]["content"][1]["image_url"]["url"] == "data:image/png;base64,iVBORw=="
    )


def test_failures_have_their_reason_and_the_rest_goes_on(url: str) -> None:
    chat = Chat(settings(url, attempts=3, timeout_seconds=0.5))
    replies = chat.answers(
        [
            ask(t)
            for t in (
                "status 503 2",
                "status 500 9",
                "status 400 9",
                "rubbish",
                "empty",
                "slow",
                "fine",
            )
        ]
    )
    assert [reply.status for reply in replies] == [
        "ok", "http_500", "http_400", "not_an_answer", "empty_answer", "timeout", "ok",
    ]  # fmt: skip
    tries = [p["messages"][0]["content"][0]["text"] for p in SEEN]
    assert [tries.count(t) for t in ("status 503 2", "status 500 9", "status 400 9")] == [3, 3, 1]
    nowhere = Chat(settings("http://127.0.0.1:1/v1", attempts=2))
    assert nowhere.answers([ask("hello")])[0].status == "unreachable"


def test_nothing_is_paid_twice(url: str, tmp_path: Path) -> None:
    cache = str(tmp_path / "deep" / "answers.sqlite")
    for _ in range(2):
        chat = Chat(settings(url, cache=cache))
        assert chat.answers([ask("a"), ask("status 500 9")])[0].text == "re: a"
        chat.close()
    texts = [p["messages"][0]["content"][0]["text"] for p in SEEN]
    assert texts.count("a") == 1 and texts.count("status 500 9") == 8  # a failure is asked again


def test_the_budget_is_kept_and_a_higher_one_goes_on(url: str, tmp_path: Path) -> None:
    cache = str(tmp_path / "answers.sqlite")
    questions = [ask(f"q {n}") for n in range(6)]
    first = Chat(settings(url, cache=cache, most_requests=4, at_once=1)).answers(questions)
    assert [reply.status for reply in first] == ["ok"] * 4 + ["over_budget"] * 2
    again = Chat(settings(url, cache=cache, most_requests=4)).answers(questions)
    assert all(reply.status == "ok" for reply in again) and len(SEEN) == 6
