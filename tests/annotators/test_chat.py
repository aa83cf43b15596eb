"""The chat client against a server on loopback that fails in every way that servers fail."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from annotators.chat import Chat, ChatConfig, ask, picture


class Server(BaseHTTPRequestHandler):
    """Answers with the question's text, or as the question's first word says."""

    seen: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append({**payload, "key": self.headers.get("Authorization"), "path": self.path})
        text = payload["messages"][0]["content"][0]["text"]
        word, *rest = text.split()
        times = sum(p["messages"] == payload["messages"] for p in self.seen)
        if word == "slow":
            time.sleep(1.0)
        if word == "status" and times <= int(rest[1]):
            self.reply(int(rest[0]), "busy")
        elif word == "rubbish":
            self.reply(200, "<html>no</html>")
        elif word == "empty":
            self.reply(200, json.dumps({"choices": [{"message": {"content": " "}}]}))
        else:
            self.reply(200, json.dumps({"choices": [{"message": {"content": f" re: {text} "}}]}))

    def reply(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    Server.seen.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


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
    request = Server.seen[0]
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
    tries = [p["messages"][0]["content"][0]["text"] for p in Server.seen]
    assert [tries.count(t) for t in ("status 503 2", "status 500 9", "status 400 9")] == [3, 3, 1]
    nowhere = Chat(settings("http://127.0.0.1:1/v1", attempts=2))
    assert nowhere.answers([ask("hello")])[0].status == "unreachable"


def test_nothing_is_paid_twice(url: str, tmp_path: Path) -> None:
    cache = str(tmp_path / "deep" / "answers.sqlite")
    for _ in range(2):
        chat = Chat(settings(url, cache=cache))
        assert chat.answers([ask("a"), ask("status 500 9")])[0].text == "re: a"
        chat.close()
    texts = [p["messages"][0]["content"][0]["text"] for p in Server.seen]
    assert texts.count("a") == 1 and texts.count("status 500 9") == 8  # a failure is asked again


def test_the_budget_is_kept_and_a_higher_one_goes_on(url: str, tmp_path: Path) -> None:
    cache = str(tmp_path / "answers.sqlite")
    questions = [ask(f"q {n}") for n in range(6)]
    first = Chat(settings(url, cache=cache, most_requests=4, at_once=1)).answers(questions)
    assert [reply.status for reply in first] == ["ok"] * 4 + ["over_budget"] * 2
    again = Chat(settings(url, cache=cache, most_requests=4)).answers(questions)
    assert all(reply.status == "ok" for reply in again) and len(Server.seen) == 6
