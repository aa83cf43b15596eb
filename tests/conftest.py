"""Fixtures shared by all tests: our names resolve to this checkout, and one Ray for the session."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(  # how long an example takes says how busy the machine is
    "busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("busy machine")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The folder of this checkout."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """An embedded Ray, started once."""
    from pipelines import engines

    with engines.ray_session(engines.Engines()):
        yield


Answer = Callable[[dict[str, Any]], tuple[int, str]]
"""A request to a chat server, with its `key` and `path`, to status and body."""


@pytest.fixture
def chat_server() -> Iterator[Callable[[Answer], str]]:
    """Starts a chat server on loopback that answers as it is told; gives its URL."""
    servers: list[ThreadingHTTPServer] = []

    def start(answer: Answer) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                heads = {"key": self.headers.get("Authorization"), "path": self.path}
                status, body = answer({**request, **heads})
                with contextlib.suppress(BrokenPipeError):  # the client may have given up
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(body.encode())))
                    self.end_headers()
                    self.wfile.write(body.encode())

            def log_message(self, *args: object) -> None:
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}/v1"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
