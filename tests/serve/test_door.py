"""What a service does not take, and how it says so; keys; the end."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from serve.clients import INPUTS, ask, httpx, is_refusal, service_of, talk
from yosort.serve import openai
from yosort.serve.refusals import Refusal
from yosort.tasks.stream import Stream

PATHS = ("/v1/embeddings", "/embed", "/predict", "/fill-mask", "/tokenize")
JSON = {"content-type": "application/json"}


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


def test_too_many_inputs(pipelines: Any) -> None:
    async def run(client: Any) -> None:
        for path, body in (
            ("/embed", {"inputs": ["a"] * 4}),
            ("/v1/embeddings", {"input": [[5]] * 4}),
            ("/tokenize", {"inputs": ["a"] * 4}),
            ("/decode", {"ids": [[5]] * 4}),
            ("/multiple-choice", {"prompt": "a", "choices": ["b"] * 4}),
            ("/multiple-choice", {"inputs": [INPUTS["multiple-choice"]] * 2}),
            ("/feature-extraction", {"text": "a dog", "spans": [[0, 1]] * 4}),
        ):
            response = await client.post(path, json=body)
            assert response.status_code == 413, path
            assert "too many inputs: wanted at most 3, got " in response.text
            assert is_refusal(path, response)
        assert (await client.post("/embed", json={"inputs": ["a"] * 3})).status_code == 200

    talk(service_of(pipelines("multiple-choice"), max_client_batch_size=3), run)


def test_a_query_counts_as_often_as_it_is_read(pipelines: Any) -> None:
    body = {"query": "a " * 500, "texts": ["b"] * 100, "truncate": True}
    response = ask(service_of(pipelines("text-ranking"), max_waiting_tokens=2000), "/rerank", body)
    assert response.status_code == 413
    assert "100,100 characters" in response.json()["error"]


def test_a_prompt_counts_as_often_as_it_is_read(pipelines: Any) -> None:
    body = {"prompt": "a " * 500, "choices": ["b"] * 100, "truncation": True}
    response = ask(
        service_of(pipelines("multiple-choice"), max_waiting_tokens=2000), "/multiple-choice", body
    )
    assert response.status_code == 413
    assert "100,100 characters" in response.json()["error"]


@pytest.mark.parametrize(
    ("task", "options", "status", "message"),
    [
        ("fill-mask", {"batch_size": 2}, 422, "batch_size: the service decides this"),
        ("fill-mask", {"batch_tokens": 9}, 422, "batch_tokens: the service decides this"),
        ("fill-mask", {"progress": True}, 422, "progress: the service decides this"),
        ("fill-mask", {"on_error": "collect"}, 422, "on_error: the service decides this"),
        ("feature-extraction", {"return_tensors": True}, 422, "return_tensors: the service"),
        ("feature-extraction", {"tokenizer_kwargs": {"return_tensors": True}}, 422,
         "return_tensors: the service"),
        ("fill-mask", {"tokenizer_kwargs": {"tokenize_kwargs": {"batch_size": 2}}}, 422,
         "batch_size: the service"),
        ("token-classification", {"inputs": [["a"] * 9], "is_split_into_words": True,
         "delimiter": "x" * 17}, 422, "delimiter: wanted at most 16 in this service, got a length"),
        ("token-classification", {"ignore_labels": ["O"] * 1001}, 422, "ignore_labels: wanted at"),
        ("fill-mask", {"topk": 2}, 422, "topk: no such option; did you mean top_k"),
        ("fill-mask", {"top_k": 1001}, 422, "top_k: wanted at most 1000 in this service"),
        ("fill-mask", {"top_k": 0}, 422, "top_k: wanted an integer of at least 1"),
        ("fill-mask", {"targets": ["no such words"]}, 422, "targets: wanted words of one token"),
        ("fill-mask", {"parameters": 3}, 422, "parameters: wanted an object"),
        ("fill-mask", {"inputs": [[5, 6]]}, 422, "wanted a text, got list"),
        ("feature-extraction", {"inputs": [[5, 6]]}, 422, "wanted a text, got list"),
        ("fill-mask", {"text": "a"}, 422, "wanted inputs, or text, got both"),
        ("question-answering", {"doc_stride": 33}, 422, "stride: wanted at most 32"),
        ("question-answering", {"max_seq_len": 8}, 422, "max_length: wanted at least 64"),
        ("question-answering", {"max_answer_len": 513}, 422, "max_answer_len: wanted at most 512"),
        ("question-answering", {"parameters": {"context": "a"}}, 422, "context: no option"),
        (
            "question-answering",
            {"inputs": {"question": "who " * 30, "context": "a dog " * 200}},
            422,
            "question: wanted at most 16 tokens",
        ),
        ("token-classification", {"stride": 33, "aggregation_strategy": "simple"}, 422, "stride: "),
    ],
)  # fmt: skip
def test_options(
    task: str, options: dict[str, Any], status: int, message: str, pipelines: Any
) -> None:
    response = ask(service_of(pipelines(task)), f"/{task}", {"inputs": INPUTS[task], **options})
    assert (response.status_code, is_refusal("/", response)) == (status, True)
    assert message in response.json()["error"]


def test_an_answer_that_would_be_too_large(pipelines: Any) -> None:
    own = pipelines("fill-mask")
    many = {"inputs": "<mask> " * 30, "top_k": 20}
    for path, body in (("/fill-mask", many), ("/embed_all", {"inputs": ["a dog"] * 10})):
        response = ask(service_of(own, answer_limit=20_000), path, body)
        assert response.status_code == 413
        assert "too large an answer: wanted at most 20,000 bytes" in response.json()["error"]


@pytest.mark.parametrize(
    ("task", "path", "body"),
    [
        ("fill-mask", "/tokenize", {"inputs": "a dog " * 100}),
        ("text-classification", "/predict", {"inputs": [["a dog"]] * 70}),
        ("text-classification", "/text-classification", {"inputs": ["a"] * 70, "top_k": None}),
        ("token-classification", "/token-classification", {"inputs": ["a dog barks"] * 70}),
    ],
)
def test_answers_of_many_keys_count_by_their_number(
    pipelines: Any, task: str, path: str, body: dict[str, Any]
) -> None:
    """A label, an entity or a token with its place is about a hundred bytes."""
    for limit, status in ((100_000, 200), (10_000, 413)):
        response = ask(service_of(pipelines(task), answer_limit=limit), path, body)
        assert response.status_code == status
        assert status == 413 or len(response.content) < limit


def test_what_is_nested_too_deeply_to_be_read(pipelines: Any) -> None:
    """The parser may take what functions that call themselves cannot follow."""
    for depth in (300, 700, 900):
        deep = '{"a":' * depth + "1" + "}" * depth
        for key in ("inputs", "parameters"):
            body = f'{{"inputs": "a <mask>", "{key}": {deep}}}'.encode()
            content = {"content": body, "headers": JSON}

            async def run(client: Any, content: Any = content) -> None:
                response = await client.post("/fill-mask", **content)
                assert response.status_code in (400, 422)
                assert is_refusal("/", response)

            talk(service_of(pipelines("fill-mask")), run)


def test_memory_that_lacks_beside_the_kernels_is_503(
    pipelines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = pipelines("fill-mask")

    def lacking(*_: Any) -> Any:
        raise MemoryError("no room")

    for name in ("run", "finish"):
        with monkeypatch.context() as patch:
            patch.setattr(type(own["fill-mask"]), name, lacking)
            response = ask(service_of(own), "/fill-mask", {"inputs": "a <mask>"})
            assert response.status_code == 503
            assert "out of memory: no room" in response.json()["error"]


def test_what_changes_nothing_is_not_told_with_what_a_client_wrote(
    pipelines: Any, caplog: pytest.LogCaptureFixture
) -> None:
    body = {"inputs": "a <mask>", "framework": "secret", "tokenizer_kwargs": {"framework": "more"}}
    assert ask(service_of(pipelines("fill-mask")), "/fill-mask", body).status_code == 200
    assert caplog.messages == []


def test_options_may_be_as_large_as_their_bounds(pipelines: Any) -> None:
    service = service_of(pipelines("fill-mask"))
    assert ask(service, "/fill-mask", {"inputs": "a <mask>", "top_k": 1000}).status_code == 200
    entities = {"inputs": [["a"] * 9], "is_split_into_words": True, "delimiter": "x" * 16}
    response = ask(service_of(pipelines("token-classification")), "/token-classification", entities)
    assert response.status_code == 200


@pytest.mark.parametrize(("fewer", "status"), [(0, 200), (1, 413)])
def test_an_answer_may_be_as_large_as_the_limit(pipelines: Any, fewer: int, status: int) -> None:
    """Of ten vectors of 32 numbers, 20 bytes a number at most."""
    service = service_of(pipelines("fill-mask"), answer_limit=10 * 32 * 20 - fewer)
    assert ask(service, "/embed", {"inputs": ["a dog"] * 10}).status_code == status


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
            assert "retry-after" in response.headers
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
