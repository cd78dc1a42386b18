"""What a service does not take, and how it says so; keys; the end."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from serve.clients import JSON, httpx, is_refusal, service_of, talk
from yosort.serve import openai
from yosort.serve.refusals import Refusal
from yosort.tasks.stream import Stream

PATHS = ("/v1/embeddings", "/embed", "/predict", "/fill-mask", "/tokenize")


@pytest.mark.parametrize("path", PATHS)
def test_bodies_that_are_none(path: str, pipelines: Any) -> None:
    service = service_of(pipelines("fill-mask"), payload_limit=1000)
    deep = b"[" * 400
    cases: list[tuple[int, bytes, dict[str, str]]] = [
        (400, b"", JSON),
        (400, b"{", JSON),
        (400, b"[1]", JSON),
        (400, b"\xff\xfe{}", JSON),
        (400, '{"inputs": "a"}'.encode("utf-16"), JSON),
        (400, b'{"inputs": NaN}', JSON),
        (400, b'{"inputs": -Infinity}', JSON),
        (400, b'{"a": ' + deep + b"]" * 400 + b"}x", JSON),
        (413, b'{"inputs": "%s"}' % (b"a" * 1000), JSON),
        (413, b'{"inputs": "%s"}' % (b"a" * 10_000), JSON),
        (415, b'{"inputs": "a"}', {}),
        (415, b'{"inputs": "a"}', {**JSON, "content-encoding": "gzip"}),
        (415, b"inputs=a", {"content-type": "application/x-www-form-urlencoded"}),
    ]

    async def run(client: Any) -> None:
        for status, body, headers in cases:
            response = await client.post(path, content=body, headers=headers)
            assert response.status_code == status, body
            assert is_refusal(path, response)
            assert response.headers.get("connection") == ("close" if status > 400 else None)

    talk(service, run)


def test_fields_that_are_no_texts(pipelines: Any) -> None:
    async def run(client: Any) -> None:
        for path, body, message in (
            ("/tokenize", {"inputs": ["a", 3]}, "inputs[1]: wanted a text, got 3"),
            ("/tokenize", {"inputs": []}, "inputs: wanted a list of texts, not empty, got []"),
            ("/fill-mask", {"inputs": []}, "inputs: wanted at least one, got an empty list"),
        ):
            response = await client.post(path, json=body)
            assert 400 <= response.status_code < 500
            assert message in response.json()["error"]
            assert is_refusal(path, response)

    talk(service_of(pipelines("fill-mask")), run)


def test_the_kind_of_a_refusal_is_its_status() -> None:
    kinds = {400: "invalid_request_error", 413: "invalid_request_error", 429: "rate_limit_error"}
    for status, kind in {**kinds, 500: "server_error", 503: "server_error"}.items():
        assert openai.refuse(Refusal(status, "x"))["error"]["type"] == kind


def test_very_deep_bodies_and_very_long_numbers(pipelines: Any) -> None:
    async def run(client: Any) -> None:
        for body in (b'{"a":' + b"[" * 900_000, b'{"inputs": [%s]}' % (b"9" * 100_000)):
            response = await client.post("/embed", content=body, headers=JSON)
            assert response.status_code == 400
            assert len(response.json()["error"]) < 300

    talk(service_of(pipelines("fill-mask")), run)


def test_a_body_is_bounded_while_it_is_read(pipelines: Any) -> None:
    """Nothing is said of its length, and it never ends."""
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1000
            yield b" " * 1000

    async def run(client: Any) -> None:
        response = await client.post("/embed", content=endless(), headers=JSON)
        assert response.status_code == 413
        assert "at most 5,000 bytes" in response.json()["error"]

    talk(service_of(pipelines("fill-mask"), payload_limit=5000), run)
    assert 5000 < sent < 100_000


def test_a_body_that_does_not_come(pipelines: Any) -> None:
    async def half() -> AsyncIterator[bytes]:
        yield b'{"inputs": '
        await asyncio.sleep(3600)

    async def run(client: Any) -> None:
        response = await client.post("/embed", content=half(), headers=JSON)
        assert response.status_code == 408
        assert is_refusal("/embed", response)

    talk(service_of(pipelines("fill-mask"), body_timeout=1), run)


class Held:
    """Holds every batch until `go`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go, self.began = threading.Event(), threading.Semaphore(0)
        run = Stream.run

        def held(stream: Stream, places: Any) -> None:
            self.began.release()
            assert self.go.wait(60)
            run(stream, places)

        monkeypatch.setattr(Stream, "run", held)


def test_too_many_requests(pipelines: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    service = service_of(pipelines("fill-mask"), max_concurrent_requests=2)

    async def run(client: Any) -> None:
        held = Held(monkeypatch)
        first = [asyncio.ensure_future(client.post("/embed", json={"inputs": "a"}))]
        await asyncio.to_thread(held.began.acquire)
        first.append(asyncio.ensure_future(client.post("/embed", json={"inputs": "a"})))
        while service.in_hand < 2:
            await asyncio.sleep(0.001)
        assert service.metrics.registry.get_sample_value("yosort_requests_in_hand") == 2
        for path, body in (("/embed", {"inputs": "a"}), ("/v1/embeddings", {"input": "a"})):
            response = await client.post(path, json=body)
            assert response.status_code == 429
            assert int(response.headers["retry-after"]) >= 1
            assert is_refusal(path, response)
        error = (await client.post("/v1/embeddings", json={})).json()["error"]
        assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
        assert (await client.get("/health")).status_code == 200
        held.go.set()
        assert [r.status_code for r in await asyncio.gather(*first)] == [200, 200]
        assert (await client.post("/embed", json={"inputs": "a"})).status_code == 200
        assert service.in_hand == 0

    talk(service, run)


def test_a_stop_finishes_what_runs_and_takes_nothing_new(
    pipelines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = service_of(pipelines("fill-mask"))

    async def run(client: Any) -> None:
        held = Held(monkeypatch)
        running = asyncio.ensure_future(client.post("/embed", json={"inputs": "a"}))
        await asyncio.to_thread(held.began.acquire)
        service.stopping = True
        for path, body in (("/embed", {"inputs": "a"}), ("/v1/embeddings", {"input": "a"})):
            response = await client.post(path, json=body)
            assert response.status_code == 503
            assert response.headers["retry-after"] == "1"
            assert is_refusal(path, response)
        health = await client.get("/health")
        assert (health.status_code, health.json()["error_type"]) == (503, "Unhealthy")
        held.go.set()
        assert (await running).status_code == 200

    talk(service, run)


def test_keys(pipelines: Any) -> None:
    async def run(client: Any) -> None:
        for path in ("/embed", "/v1/embeddings", "/fill-mask"):
            for given in (
                None,
                "",
                "Bearer",
                "Bearer ",
                "Bearer wrong",
                "Basic new",
                "new",
                "Bearer né",
            ):
                headers = {} if given is None else {"authorization": given.encode()}
                response = await client.post(path, json={"inputs": "a"}, headers=headers)
                assert response.status_code == 401, given
                assert response.headers["www-authenticate"] == "Bearer"
                assert is_refusal(path, response)
        for path in ("/metrics", "/info", "/v1/models"):
            assert (await client.get(path)).status_code == 401
        assert (await client.get("/health")).status_code == 200
        for key in ("old", "new", "naïve"):
            headers = {"authorization": f"Bearer {key}".encode()}
            response = await client.post("/embed", json={"inputs": "a"}, headers=headers)
            assert response.status_code == 200
        error = (await client.get("/v1/models")).json()["error"]
        assert error["code"] == "invalid_api_key"

    talk(service_of(pipelines("fill-mask")), run, ("old", "new", "naïve"))


def test_keys_are_compared_in_constant_time(
    pipelines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hmac

    compared: list[tuple[Any, Any]] = []
    compare = hmac.compare_digest

    def noted(a: Any, b: Any) -> bool:
        compared.append((a, b))
        return compare(a, b)

    monkeypatch.setattr(hmac, "compare_digest", noted)
    headers = {"authorization": "Bearer old"}

    async def run(client: Any) -> Any:
        return await client.get("/info", headers=headers)

    assert talk(service_of(pipelines("fill-mask")), run, ("old", "new")).status_code == 200
    assert compared == [(b"old", b"old"), (b"old", b"new")]


def test_who_goes_away_frees_the_place(pipelines: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    service = service_of(pipelines("fill-mask"), max_concurrent_requests=2)

    async def run(client: Any) -> None:
        held = Held(monkeypatch)
        body = json.dumps({"inputs": ["a dog"] * 50}).encode()
        left = asyncio.Event()
        messages: list[dict[str, Any]] = [{"type": "http.request", "body": body}]

        async def receive() -> dict[str, Any]:
            if messages:
                return messages.pop()
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            pass

        first = asyncio.ensure_future(client.post("/embed", json={"inputs": "a"}))
        await asyncio.to_thread(held.began.acquire)
        scope = {
            "type": "http", "method": "POST", "path": "/embed", "raw_path": b"/embed",
            "query_string": b"", "headers": [(b"content-type", b"application/json")],
            "http_version": "1.1", "scheme": "http", "root_path": "",
        }  # fmt: skip
        gone = asyncio.ensure_future(client._transport.app(scope, receive, send))
        waiting = service.metrics.registry.get_sample_value
        while not waiting("yosort_waiting_tokens"):
            await asyncio.sleep(0.001)
        assert service.in_hand == 2
        left.set()
        await gone
        assert service.in_hand == 1
        await asyncio.sleep(0)
        assert waiting("yosort_waiting_tokens") == 0
        assert waiting("yosort_clients_gone_total") == 1
        answered = {"route": "/embed", "status": "499"}
        assert waiting("yosort_requests_total", answered) == 1
        held.go.set()
        assert (await first).status_code == 200

    talk(service, run)


def test_what_nobody_foresaw_is_the_protocol_s_error(
    pipelines: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    service = service_of(pipelines("fill-mask"))

    async def run(client: Any) -> None:
        def broken(self: Stream, places: Any) -> None:
            raise MemoryError("all gone")

        monkeypatch.setattr(Stream, "run", broken)
        for path, body in (("/embed", {"inputs": "a"}), ("/v1/embeddings", {"input": "a"})):
            response: httpx.Response = await client.post(path, json=body)
            assert response.status_code == 500
            assert is_refusal(path, response)
            assert "all gone" not in response.text
        monkeypatch.undo()
        assert (await client.post("/embed", json={"inputs": "a"})).status_code == 200

    talk(service, run)
    assert "/embed failed" in caplog.text
    assert {record.name for record in caplog.records if record.exc_info} == {"yosort"}


def test_a_device_that_is_full_is_no_fault_of_the_client(
    pipelines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from yosort.errors import DeviceError
    from yosort.tasks.base import Pipeline

    async def run(client: Any) -> None:
        def full(self: Pipeline, *rest: Any) -> Any:
            raise DeviceError("cpu: the call needs at least 9 GB")

        monkeypatch.setattr(Pipeline, "ask", full)
        response = await client.post("/embed", json={"inputs": "a"})
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        assert "9 GB" in response.json()["error"]

    talk(service_of(pipelines("fill-mask")), run)
