"""What a service tells: of itself, of its work, and the objects that clients know by name."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import pytest

import yosort
from serve.clients import ask, service_of, talk
from yosort.serve import app, tei
from yosort.serve.metrics import Metrics
from yosort.serve.refusals import Refusal

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_metrics_are_those_of_the_page() -> None:
    page = (ROOT / "docs/serving.md").read_text(encoding="utf-8")
    section = re.split(r"^## ", page.partition("## Metrics\n")[2], maxsplit=1, flags=re.M)[0]
    cells = " ".join(re.findall(r"^\| (`.+?) \|", section, re.M))
    told = {*re.findall(r"`(\w+)`", cells)}
    text = Metrics().text().decode()
    found = set(re.findall(r"^# TYPE (\w+) ", text, re.M))
    assert {name for name in found if not re.search("^process_|_created$", name)} == told
    assert "process_resident_memory_bytes" in found
    assert f'yosort_info{{version="{yosort.__version__}"}} 1.0' in text


def test_what_is_counted(pipelines: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    service = service_of(pipelines("fill-mask"))
    value = service.metrics.registry.get_sample_value

    async def run(client: Any) -> None:
        # A first answer for itself: one token between the two that each text has.
        assert value("yosort_tokens_total") == 3
        for _ in range(2):
            assert (await client.post("/embed", json={"inputs": ["a", "a a a"]})).status_code == 200
        assert (await client.post("/embed", json={"inputs": 3})).status_code == 422
        assert value("yosort_requests_total", {"route": "/embed", "status": "200"}) == 2
        assert value("yosort_requests_total", {"route": "/embed", "status": "422"}) == 1
        assert value("yosort_request_seconds_count", {"route": "/embed"}) == 3
        assert value("yosort_queue_seconds_count") == 3
        tokens = 3 + 2 * (3 + 5)
        assert value("yosort_tokens_total") == value("yosort_batch_tokens_sum") == tokens
        assert value("yosort_batch_rows_sum") == 1 + 2 * 2
        for of_batches in ("tokens", "rows", "seconds"):
            assert value(f"yosort_batch_{of_batches}_count") == 3
        clock = iter(range(7, 1000))
        monkeypatch.setattr(app.time, "perf_counter", lambda: next(clock))
        for path, route in (("/info", "/info"), ("/metrics", "/metrics")):
            assert (await client.get(path)).status_code == 200
            assert value("yosort_request_seconds_sum", {"route": route}) == 1
        monkeypatch.undo()

    talk(service, run)


def test_all_that_is_said_of_the_service(pipelines: Any) -> None:
    limits = {
        "max_batch_tokens": 300,
        "max_concurrent_requests": 5,
        "max_waiting_tokens": 400,
        "max_client_batch_size": 6,
    }

    async def run(client: Any) -> Any:
        return (await client.get("/info")).json()

    service = service_of(pipelines("text-classification"), **limits)
    found = talk(service, run)
    workers = found.pop("tokenization_workers")
    assert workers == service.workers
    assert 2 <= workers <= 4
    labels = {"LABEL_0": 0, "LABEL_1": 1}
    assert found == {
        **limits,
        "model_id": "small",
        "model_sha": None,
        "model_dtype": "float32",
        "model_type": {
            "classifier": {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}, "label2id": labels}
        },
        "tasks": ["text-classification", "feature-extraction"],
        "attention": "expectation",
        "device": "cpu",
        "max_input_length": 64,
        "max_batch_requests": None,
        "auto_truncate": False,
        "version": yosort.__version__,
    }


def test_objects_of_openai_s_api(pipelines: Any) -> None:
    """Its reference of embeddings and of models gives each field."""

    async def run(client: Any) -> None:
        answer = (await client.post("/v1/embeddings", json={"input": ["a", [5]]})).json()
        (first, second), usage = answer.pop("data"), answer.pop("usage")
        assert answer == {"object": "list", "model": "small"}
        assert usage == {"prompt_tokens": 4, "total_tokens": 4}
        for index, each in enumerate((first, second)):
            assert each.keys() == {"object", "index", "embedding"}
            assert (each["object"], each["index"]) == ("embedding", index)
        models = (await client.get("/v1/models")).json()
        row = {"object": "model", "created": 0, "owned_by": "yosort"}
        assert models == {
            "object": "list",
            "data": [{"id": "small", **row}, {"id": "other-name", **row}],
        }
        assert (await client.get("/v1/models/other-name")).json() == models["data"][1]
        missing = (await client.get("/v1/models/a/b")).json()["error"]
        assert (missing["param"], missing["code"]) == ("model", "model_not_found")
        assert "'a/b'" in missing["message"]
        assert "small and other-name" in missing["message"]

    talk(service_of(pipelines("fill-mask")), run)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "Validation"),
        (401, "Unauthorized"),
        (404, "Validation"),
        (413, "Validation"),
        (422, "Validation"),
        (424, "Backend"),
        (429, "Overloaded"),
        (500, "Backend"),
        (503, "Unhealthy"),
    ],
)
def test_the_type_of_an_error_is_its_status(status: int, kind: str) -> None:
    """In text-embeddings-inference's words, where it has one."""
    assert tei.refuse(Refusal(status, "x")) == {"error": "x", "error_type": kind}


@pytest.mark.parametrize(
    ("status", "retry_after", "headers"),
    [
        (400, None, {}),
        (401, None, {"www-authenticate": "Bearer"}),
        (408, None, {"connection": "close"}),
        (413, None, {"connection": "close"}),
        (415, None, {"connection": "close"}),
        (422, None, {}),
        (429, 7, {"retry-after": "7"}),
        (503, 1, {"retry-after": "1"}),
    ],
)
def test_a_refusal_s_headers(status: int, retry_after: int | None, headers: dict[str, str]) -> None:
    """Of a body that is not read to its end the connection cannot be used again."""
    assert Refusal(status, "x", retry_after=retry_after).headers == headers


def test_answers_and_refusals_say_that_they_are_json(pipelines: Any) -> None:
    async def run(client: Any) -> None:
        for path, body in (("/embed", {"inputs": "a"}), ("/embed", {}), ("/v1/embeddings", {})):
            answer = await client.post(path, json=body)
            assert answer.headers["content-type"] == "application/json"
        metrics = await client.get("/metrics")
        assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")

    talk(service_of(pipelines("fill-mask")), run)


@pytest.mark.parametrize(("path", "allowed"), [("/embed", "POST"), ("/info", "GET, HEAD")])
def test_another_method_is_told_those_that_are_there(
    path: str, allowed: str, pipelines: Any
) -> None:
    async def run(client: Any) -> Any:
        return await client.delete(path)

    response = talk(service_of(pipelines("fill-mask")), run)
    assert response.status_code == 405
    assert sorted(response.headers["allow"].split(", ")) == allowed.split(", ")
    assert f"DELETE {path}" in response.json()["error"]


def test_its_threads_end_with_it(pipelines: Any) -> None:
    before = {*threading.enumerate()}
    assert ask(service_of(pipelines("fill-mask")), "/embed", {"inputs": "a"}).status_code == 200
    assert {*threading.enumerate()} <= before
