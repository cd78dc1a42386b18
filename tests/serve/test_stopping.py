"""The server on a socket of this process: how it starts, and the ways in which it stops."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any

import pytest

from serve.clients import JSON, build, service_of
from yosort.serve import server as module
from yosort.serve.server import Server, bind
from yosort.tasks.stream import Stream

#: Of a request whose body does not come.
HALF = (
    b"POST /embed HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
    b"content-length: 100\r\n\r\n{"
)


class Running:
    """A server in a thread, as `yosort serve` has it in its own process."""

    def __init__(
        self, app: Any, service: Any, bound: socket.socket, started: Callable[[], None]
    ) -> None:
        self.service, self.port = service, bound.getsockname()[1]
        self.server = Server(app, service, started)
        self.thread = threading.Thread(target=self.server.run, args=([bound],))

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any, dict[str, str]]:
        """Return the status, the body and the headers of an answer."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {**JSON, "connection": "close"}
        connection.request(method, path, json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, json.loads(text or "null"), dict(answer.getheaders())

    def half(self) -> socket.socket:
        """Return a connection with half a request, which is in hand as this returns."""
        made = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        made.sendall(HALF)
        while not self.server.server_state.tasks:
            time.sleep(0.001)
        return made

    def signal(self) -> None:
        self.server.handle_exit(signal.SIGTERM, None)

    def ends(self) -> bool:
        self.thread.join(60)
        return not self.thread.is_alive()


@contextmanager
def running(
    pipelines: Any, wrap: Callable[[Any], Any] = lambda app: app, **limits: int
) -> Iterator[Running]:
    """Yield a server that answers."""
    before, answers = {*threading.enumerate()}, threading.Event()
    service = service_of(pipelines, **limits)
    found = Running(wrap(build(service)), service, bind("127.0.0.1", 0), answers.set)
    found.thread.start()
    try:
        assert answers.wait(60)
        yield found
    finally:
        found.signal()
        found.signal()
        assert found.ends()
    assert {*threading.enumerate()} <= before  # those of the service, too


def test_it_says_so_when_it_answers_and_tells_nothing_of_itself(
    pipelines: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with running(pipelines("fill-mask")) as server:
        assert server.ask("GET", "/health")[0] == 200
        status, vectors, headers = server.ask("POST", "/embed", {"inputs": "a dog"})
        assert (status, len(vectors[0])) == (200, 32)
        assert "server" not in {name.lower() for name in headers}
        assert not [each for each in caplog.records if each.name == "uvicorn.access"]


def test_with_nothing_in_hand_a_signal_ends_it(pipelines: Any) -> None:
    with running(pipelines("fill-mask"), shutdown_timeout=3600) as server:
        server.signal()
        assert server.ends()
        assert not server.server.force_exit  # what it had has ended by itself
        with pytest.raises(ConnectionError):
            server.ask("GET", "/health")


def test_what_is_in_hand_is_finished_and_what_comes_is_refused(
    pipelines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, began, run = threading.Event(), threading.Event(), Stream.run

    def held(stream: Stream, places: Any) -> None:
        began.set()
        assert go.wait(60)
        run(stream, places)

    with (
        running(pipelines("fill-mask"), shutdown_timeout=3600) as server,
        ThreadPoolExecutor(1) as thread,
    ):
        monkeypatch.setattr(Stream, "run", held)
        body = {"inputs": "a dog"}
        first: Future[Any] = thread.submit(server.ask, "POST", "/embed", body)
        assert began.wait(60)
        server.signal()
        try:
            for method, path in (("GET", "/health"), ("POST", "/embed")):
                status, said, _ = server.ask(method, path, body)
                assert (status, said["error_type"]) == (503, "Unhealthy")
            assert server.thread.is_alive()
        finally:
            go.set()
        assert first.result(60)[0] == 200
        assert server.ends()


def test_a_second_signal_cuts_short_what_runs(pipelines: Any) -> None:
    bounds = {"body_timeout": 3600, "shutdown_timeout": 3600}
    with running(pipelines("fill-mask"), **bounds) as server, server.half() as hanging:
        server.signal()
        server.signal()
        assert hanging.recv(1000).split()[1] == b"503"
        assert server.ends()


def test_a_client_that_does_not_read_is_cut_short_too(pipelines: Any) -> None:
    """Its answer is written, so that nothing is in hand, but on its way."""

    def wrap(app: Any) -> Any:
        async def answer(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "lifespan":
                await app(scope, receive, send)
                return
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": bytes(30_000_000)})

        return answer

    with (
        running(pipelines("fill-mask"), wrap, shutdown_timeout=3600) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=60) as reader,
    ):
        reader.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        assert reader.recv(8) == b"HTTP/1.1"
        server.signal()
        while not server.server.should_exit:
            time.sleep(0.001)
        server.thread.join(0.2)
        assert server.thread.is_alive()  # the rest may still be read
        server.signal()
        assert server.ends()


def test_what_is_in_hand_has_its_time_and_no_more(
    pipelines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of `shutdown_timeout` seconds, by the clock; at least one of them to write answers in."""
    now = 1000.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    service = service_of(pipelines("fill-mask"), shutdown_timeout=30)
    server = Server(build(service), service, lambda: None)

    def ticks() -> tuple[bool, Any]:
        return asyncio.run(server.on_tick(1)), server.config.timeout_graceful_shutdown

    service.in_hand = 1
    assert ticks() == (False, None)
    server.handle_exit(signal.SIGTERM, None)
    assert ticks() == (False, 30)
    now = 1025.0
    assert ticks() == (False, 5)
    now = 1029.5
    assert ticks() == (False, 1)
    now = 1030.0
    assert ticks() == (True, 1)
    server.should_exit, service.in_hand, now = False, 0, 1010.0  # nothing is left to wait for
    assert ticks() == (True, 20)


@pytest.mark.parametrize(("places", "connections"), [(1, 64), (16, 64), (17, 68), (512, 2048)])
def test_connections_are_bounded_above_the_requests_in_hand(
    places: int, connections: int, pipelines: Any
) -> None:
    """As docs/serving.md says it."""
    service = service_of(pipelines("fill-mask"), max_concurrent_requests=places)
    assert Server(build(service), service, lambda: None).config.limit_concurrency == connections
