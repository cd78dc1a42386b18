"""Whatever a client writes gets an answer or the protocol's own error: nothing is a fault here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve.clients import INPUTS, JSON, client_of, httpx, is_refusal, service_of

FIELDS = [
    "inputs", "input", "ids", "model", "dimensions", "encoding_format", "user", "normalize",
    "truncate", "truncation_direction", "prompt_name", "raw_scores", "add_special_tokens",
    "skip_special_tokens", "parameters", "text", "text_pair", "question", "context", "prompt",
    "choices", "words", "top_k", "targets", "stride", "doc_stride", "max_length", "max_seq_len",
    "max_answer_len", "max_question_len", "overflow", "truncation", "padding", "pooling",
    "aggregation_strategy", "ignore_labels", "function_to_apply", "delimiter", "tokenizer_kwargs",
    "is_split_into_words", "query", "texts", "documents", "return_text", "spans", "chunks", "label",
]  # fmt: skip
LEAVES = (
    st.none() | st.booleans() | st.integers(-3, 70) | st.integers() | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["a <mask> dog", "cls", "float", "base64", "simple", "\ud800", "a " * 90])
)  # fmt: skip
NAMES = st.sampled_from(FIELDS) | st.text(max_size=3)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
BODIES = st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=5)
PATHS = ["/v1/embeddings", "/embed", "/embed_all", "/predict", "/rerank", "/tokenize", "/decode"]


class Talk:
    """A service that stays, and a client of it."""

    def __init__(self, service: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self.context = client_of(service, ())
        self.client = self.loop.run_until_complete(self.context.__aenter__())

    def post(self, path: str, content: bytes) -> httpx.Response:
        response: httpx.Response = self.loop.run_until_complete(
            self.client.post(path, content=content, headers=JSON)
        )
        return response

    def close(self) -> None:
        self.loop.run_until_complete(self.context.__aexit__(None, None, None))
        self.loop.close()


@pytest.fixture(scope="module", params=list(INPUTS))
def talk(request: pytest.FixtureRequest, pipelines: Any) -> Iterator[Any]:
    talk = Talk(service_of(pipelines(request.param)))
    yield request.param, talk
    talk.close()


def check(path: str, response: httpx.Response) -> None:
    assert response.status_code < 500
    if response.status_code != 200:
        assert is_refusal(path, response)
        assert len(response.text) < 2000
    else:
        assert "NaN" not in response.text


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_junk(talk: Any, data: st.DataObject) -> None:
    task, service = talk
    path = data.draw(st.sampled_from([*PATHS, f"/{task}"]))
    body = data.draw(BODIES)
    if data.draw(st.booleans()):  # one field is right
        body = {**body, "inputs": INPUTS[task], "input": "a dog"}
        for name in ("text", "question", "context", "prompt", "choices", "words", "query"):
            body.pop(name, None)
    check(path, service.post(path, json.dumps(body).encode()))


ALMOST = st.text(alphabet='{}[]":,0123456789.e-ntf \\u', max_size=40).map(str.encode)


@settings(max_examples=10, suppress_health_check=list(HealthCheck))
@given(content=st.binary(max_size=40) | ALMOST)
def test_bytes(talk: Any, content: bytes) -> None:
    for path in ("/v1/embeddings", "/embed"):
        check(path, talk[1].post(path, content))


def test_text_that_is_no_unicode(talk: Any) -> None:
    task, service = talk
    for path in (*PATHS, f"/{task}"):
        name = {"/v1/embeddings": "input", "/decode": "ids"}.get(path, "inputs")
        for text in ("\ud800", "a \udfff <mask>"):
            # Escaped, so that the JSON itself is right.
            response = service.post(path, json.dumps({name: text}).encode())
            assert response.status_code in (422, 424)
            check(path, response)
