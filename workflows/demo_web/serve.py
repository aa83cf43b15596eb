"""The demo's web on loopback: one port a site, in a process of its own that dies with its parent.

    with serve(DemoWebConfig()) as sites:
        crawl(sites.seeds)

`python -m workflows.demo_web.serve` serves in the foreground, for a person to look at. The server
is one asyncio loop with keep-alive connections and answers from the page cache, so that crawl and
fetch keep the cores. It looks twice a second whether its parent is still its parent: so it goes
away even after kill -9.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workflows.demo_web.packages import CACHE, cached, fetch_all
from workflows.demo_web.sites import PAGE, Resource, Site
from workflows.demo_web.web import DemoWebConfig, build, url_of

if TYPE_CHECKING:
    from aiohttp import web

Handler = Callable[["web.BaseRequest"], Awaitable["web.StreamResponse"]]

_CHECKOUT = Path(__file__).resolve().parents[2]
_PORT_SECONDS = 5.0  # that a killed run's server may still hold its ports
_NOT_FOUND = Resource(b"<!doctype html><title>Not found</title><h1>Not found</h1>", PAGE, 404)


class ServeError(Exception):
    """The demo's web cannot be served; the message says why and what to change."""


@dataclass(frozen=True)
class Served:
    """The running sites."""

    seeds: list[str]  # front page of each site, in the order of their ports
    sites: Mapping[str, str]  # front page by name
    counts: Mapping[str, Mapping[str, int]]  # by name: pages and images that answer 200
    pid: int


@contextlib.contextmanager
def serve(
    config: DemoWebConfig, cache: Path = CACHE, start_seconds: float = 120.0
) -> Iterator[Served]:
    """Serve what the cache has in the background until the block ends; ServeError if it cannot."""
    wanted = json.dumps({"config": dataclasses.asdict(config), "cache": str(cache.resolve())})
    command = [sys.executable, "-m", "workflows.demo_web.serve", "--child", wanted]
    process = subprocess.Popen(
        command, cwd=_CHECKOUT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    try:
        yield _await_ready(process, start_seconds)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_ready(process: subprocess.Popen[str], seconds: float) -> Served:
    """The server's first line: where its sites are, or what is wrong."""
    import select

    assert process.stdout is not None
    if not select.select([process.stdout], [], [], seconds)[0]:
        raise ServeError(f"the demo's web was not ready within {seconds:.0f} s")
    line = process.stdout.readline()
    if not line:
        raise ServeError(f"the demo's web ended with status {process.wait()} before it was ready")
    said: dict[str, Any] = json.loads(line)
    if "error" in said:
        raise ServeError(said["error"])
    return Served(list(said["sites"].values()), said["sites"], said["counts"], process.pid)


def _child(wanted: str) -> None:
    """The background process: serve, tell the parent, stop when it stops."""
    parent = os.getppid()
    given = json.loads(wanted)
    lists = {key: tuple(value) for key, value in given["config"].items() if type(value) is list}
    config = DemoWebConfig(**{**given["config"], **lists})
    sites = build(cached(Path(given["cache"])).paths, config).sites
    asyncio.run(_run(sites, config, lambda line: print(line, flush=True), parent))


async def _run(
    sites: tuple[Site, ...], config: DemoWebConfig, say: Callable[[str], None], parent: int | None
) -> None:
    """Serve until told to stop, or until this process is no longer `parent`'s child."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with contextlib.AsyncExitStack() as stack:
        try:
            for site in sites:
                await _listen(site, config, stack)
        except ServeError as error:
            say(json.dumps({"error": str(error)}))
            return
        urls = {site.name: url_of(site.name, config) for site in sites}
        counts = {
            site.name: {"pages": len(site.paths("text/html")), "images": len(site.paths("image/"))}
            for site in sites
        }
        say(json.dumps({"sites": urls, "counts": counts}))
        while not stopped.is_set() and (parent is None or os.getppid() == parent):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopped.wait(), 0.5)


async def _listen(site: Site, config: DemoWebConfig, stack: contextlib.AsyncExitStack) -> None:
    """Start one site; waits a little for a port that a killed run has not let go yet."""
    from aiohttp import web

    port = int(url_of(site.name, config).rpartition(":")[2].strip("/"))
    runner = web.ServerRunner(web.Server(handler(site), access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    for left in range(round(_PORT_SECONDS * 5), -1, -1):
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
            return
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not left:
                raise ServeError(
                    f"site {site.name!r} cannot listen on 127.0.0.1:{port} ({error.strerror}); "
                    f"end what holds the port, or choose another first_port than "
                    f"{config.first_port} (1024 to 65000; other URLs give other ids and hashes)"
                ) from error
        await asyncio.sleep(0.2)


def handler(site: Site) -> Handler:
    """What answers a site's requests: GET and HEAD of its paths, any query string ignored."""
    from aiohttp import web

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, headers={"Allow": "GET, HEAD"})
        resource = site.resources.get(request.path, _NOT_FOUND)
        headers = {"Content-Type": resource.content_type, **resource.headers}
        if resource.drip_seconds:
            return await _drip(request, resource, headers)
        return web.Response(body=resource.read(), status=resource.status, headers=headers)

    return answer


async def _drip(
    request: web.BaseRequest, resource: Resource, headers: Mapping[str, str]
) -> web.StreamResponse:
    """The body in pieces, ten a second or one byte at a time, over the resource's time."""
    from aiohttp import web

    body = resource.read()
    pieces = max(1, round(resource.drip_seconds * 10))
    size = max(1, -(-len(body) // pieces))
    response = web.StreamResponse(headers={**headers, "Content-Length": str(len(body))})
    await response.prepare(request)
    with contextlib.suppress(ConnectionResetError):  # the reader lost patience, as it should
        for start in range(0, len(body), size):
            await response.write(body[start : start + size])
            await asyncio.sleep(resource.drip_seconds / pieces)
    return response


def main() -> None:
    """Fetch the packages and serve in the foreground."""
    import tyro

    config = tyro.cli(DemoWebConfig, description="Serve the demo's web on loopback.")
    packages = fetch_all(say=print)
    for line in packages.left_out():
        print(line)
    sites = build(packages.paths, config).sites
    for site in sites:
        print(f"{url_of(site.name, config):24} {site.title}")
    asyncio.run(
        _run(sites, config, lambda line: print(json.loads(line).get("error", "ready")), None)
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        _child(sys.argv[2])
    else:
        main()
