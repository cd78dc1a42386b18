"""Bodies: which are read, how much of them, and what becomes of their fields."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from serve.clients import JSON, ask, service_of, talk
from yosort.serve.bodies import Answer, characters


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "application/json; charset=utf-8"}, 200),
        ({"content-type": "Application/JSON"}, 200),
        ({"content-type": "application/vnd.api+json"}, 200),
        ({**JSON, "content-encoding": "identity"}, 200),
        ({**JSON, "content-encoding": " Identity "}, 200),
        ({"content-type": "text/json; application/json"}, 415),
        ({"content-type": "application/jsonl"}, 415),
        ({**JSON, "content-encoding": "br"}, 415),
        ({**JSON, "content-length": "many"}, 413),
        ({**JSON, "content-length": "-1"}, 413),
    ],
)
def test_what_a_body_is_said_to_be(headers: dict[str, str], status: int, pipelines: Any) -> None:
    async def run(client: Any) -> Any:
        return await client.post("/embed", content=b'{"inputs": "a dog"}', headers=headers)

    assert talk(service_of(pipelines("fill-mask")), run).status_code == status


@pytest.mark.parametrize("said", [True, False])
@pytest.mark.parametrize(
    ("size", "status", "read"), [(1000, 200, 10), (1001, 413, 11), (3000, 413, 30)]
)
def test_a_body_that_is_too_large_is_read_for_a_client_that_writes_it_first(
    size: int, status: int, read: int, said: bool, pipelines: Any
) -> None:
    body = json.dumps({"inputs": "a dog"}).encode().ljust(size)
    parts: list[bytes] = []

    async def content() -> AsyncIterator[bytes]:
        for begin in range(0, size, 100):
            parts.append(body[begin : begin + 100])
            yield parts[-1]

    async def run(client: Any) -> Any:
        headers = {**JSON, **({"content-length": str(size)} if said else {})}
        return await client.post("/embed", content=content(), headers=headers)

    response = talk(service_of(pipelines("fill-mask"), payload_limit=1000), run)
    assert (response.status_code, len(parts)) == (status, read)


def test_a_body_that_is_said_to_be_endless_is_not_begun(pipelines: Any) -> None:
    async def content() -> AsyncIterator[bytes]:
        raise AssertionError("it was read")
        yield b""

    async def run(client: Any) -> Any:
        headers = {**JSON, "content-length": str(10**15)}
        return await client.post("/embed", content=content(), headers=headers)

    response = talk(service_of(pipelines("fill-mask")), run)
    assert (response.status_code, response.headers["connection"]) == (413, "close")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "Expecting property name"),
        (b'{"inputs": NaN}', "NaN is no number"),
        (b"\xff{}", "can't decode byte 0xff"),
        (b'{"inputs": %s}' % (b"9" * 5000), "limit"),
        (b"[1]", "wanted a JSON object, got [1]"),
    ],
)
def test_why_a_body_is_no_json_is_said(body: bytes, reason: str, pipelines: Any) -> None:
    async def run(client: Any) -> Any:
        return await client.post("/embed", content=body, headers=JSON)

    response = talk(service_of(pipelines("fill-mask")), run)
    assert response.status_code == 400
    assert reason in response.json()["error"]
    assert "sys." not in response.json()["error"]  # advice to who wrote the service


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/embed", {"inputs": "a", "normalize": None, "truncate": None, "dimensions": None}, 200),
        ("/embed", {"inputs": [8191]}, 200),
        ("/embed", {"inputs": [8192]}, 422),
        ("/embed", {"inputs": [0] * 64}, 200),
        ("/embed", {"inputs": [0] * 65}, 422),
        ("/embed", {"inputs": "a", "normalize": 1}, 422),
        ("/v1/embeddings", {"input": "a", "user": None, "model": None}, 200),
        ("/v1/embeddings", {"input": [[5], "a"]}, 200),
        ("/v1/embeddings", {"input": [[5], []]}, 400),
        ("/fill-mask", {"inputs": "a <mask>", "text": None, "top_k": None}, 200),
        ("/fill-mask", {"text": "a <mask>", "inputs": None, "parameters": None}, 200),
        ("/fill-mask", {"text": "a <mask>", "parameters": {}}, 200),
        ("/fill-mask", {"inputs": "a <mask>", "batch_size": None}, 200),
        ("/fill-mask", {"inputs": "a <mask>", "top_k": None, "parameters": {"top_k": 2}}, 200),
        ("/decode", {"ids": [8191, 0]}, 200),
        ("/decode", {"ids": [8192]}, 422),
    ],
)
def test_null_is_a_field_that_is_not_there_and_the_last_id_is_one(
    path: str, body: dict[str, Any], status: int, pipelines: Any
) -> None:
    assert ask(service_of(pipelines("fill-mask")), path, body).status_code == status


def test_a_field_that_nobody_knows_is_told_the_one_that_is_near(pipelines: Any) -> None:
    response = ask(service_of(pipelines("fill-mask")), "/embed", {"inputs": "a", "normalise": True})
    assert "did you mean normalize" in response.json()["error"]


@pytest.mark.parametrize(
    ("value", "count"),
    [
        ("abc", 3),
        ("", 0),
        (["ab", "c"], 3),
        ([5, 6, 7], 3),
        ({"text": "ab", "text_pair": "c"}, 3),
        ({"words": ["ab", "c"]}, 3),
        ({"prompt": "ab", "choices": ["c", "dd"]}, 2 * 2 + 3),
        ({"query": "abc", "documents": ["c", "dd", ""]}, 3 * 3 + 3),
        ({"query": "abc", "documents": []}, 3),
        ({"query": "abc", "documents": "de"}, 5),
        ({"choices": ["c", "dd"]}, 3),
        ({"prompt": "ab", "documents": ["c", "dd"]}, 2 + 3),
        ([{"text": "ab"}, {"prompt": "a", "choices": ["b", "b"]}], 2 + 4),
    ],
)
def test_how_much_is_read_of_an_input(value: Any, count: int) -> None:
    """What stands once for several is read once for each."""
    assert characters(value) == count


def test_an_answer_holds_no_number_that_json_has_not() -> None:
    assert Answer({"a": [0.1, 2]}).body == b'{"a":[0.1,2]}'
    with pytest.raises(ValueError, match="JSON"):
        Answer({"a": [float("nan")]})
