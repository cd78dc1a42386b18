"""Every route answers what its pipeline answers, to the bit, in its protocol's words."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tasks.models import make, make_word_piece

import yosort
from serve.clients import INPUTS, ask, is_refusal, service_of, talk
from yosort.model.architectures import TASKS
from yosort.serve import tasks

TEXTS = ["A dog barks.", "Moses went up into Sinai.", "x"]
OPTIONS: dict[str, dict[str, Any]] = {
    "fill-mask": {"top_k": 2, "targets": ["dog", "cat", "bird"]},
    "text-classification": {"top_k": None},
    "text-ranking": {"top_k": 2, "function_to_apply": "none"},
    "token-classification": {"aggregation_strategy": "simple"},
    "question-answering": {"top_k": 2, "max_answer_len": 4},
    "multiple-choice": {"top_k": 2},
    "feature-extraction": {"pooling": "cls", "normalize": True},
}


def test_there_is_a_route_for_each_task_by_all_its_names() -> None:
    assert set(tasks.PATHS.values()) == TASKS.keys()
    for path in ("/fill-mask", "/classify", "/sentiment-analysis", "/ner", "/qa"):
        assert path in tasks.PATHS
    assert not {"/embed", "/rerank"} & tasks.PATHS.keys()


@pytest.mark.parametrize("path", tasks.PATHS)
def test_a_pipeline_s_route_answers_as_the_pipeline(path: str, pipelines: Any) -> None:
    task = tasks.PATHS[path]
    own, value = pipelines(task), INPUTS[task]
    given = {k: v for k, v in OPTIONS[task].items() if v is not None}

    async def run(client: Any) -> None:
        answer = await client.post(path, json={"inputs": value})
        assert (answer.status_code, answer.json()) == (200, own[task](value))
        answer = await client.post(path, json={"inputs": [value, value], **given})
        assert answer.json() == own[task]([value, value], **given)
        answer = await client.post(path, json={"inputs": value, "parameters": given})
        assert answer.json() == own[task](value, **given)
        keys = value if isinstance(value, dict) else {"text": value}
        answer = await client.post(path, json={**keys, **given})
        assert answer.json() == own[task](value, **given)
        answer = await client.post(path, json={"inputs": [value]})
        assert len(answer.json()) == 1

    talk(service_of(own), run)


def test_words_are_one_text(pipelines: Any) -> None:
    own, words = pipelines("token-classification"), ["Paris", "is", "it"]
    wanted = own["token-classification"](words, is_split_into_words=True)
    for body in ({"inputs": words}, {"words": words}):
        answer = ask(service_of(own), "/ner", {**body, "is_split_into_words": True})
        assert answer.json() == wanted


def test_embed(pipelines: Any) -> None:
    own = pipelines("fill-mask")
    embed = own["feature-extraction"]

    async def run(client: Any) -> None:
        answer = await client.post("/embed", json={"inputs": TEXTS})
        assert answer.json() == embed(TEXTS, pooling="mean", normalize=True)
        answer = await client.post("/embed", json={"inputs": TEXTS[0], "normalize": False})
        assert answer.json() == [embed(TEXTS[0], pooling="mean")]
        answer = await client.post("/embed_all", json={"inputs": TEXTS[:2]})
        assert answer.json() == [embed(text)[0] for text in TEXTS[:2]]
        ids = embed.tokenizer(TEXTS[0])["input_ids"]
        answer = await client.post("/embed", json={"inputs": ids})
        assert answer.json() == [embed(TEXTS[0], pooling="mean", normalize=True)]
        answer = await client.post("/embed", json={"inputs": "A dog " * 100, "truncate": True})
        assert answer.json() == [
            embed("A dog " * 100, pooling="mean", normalize=True, truncation=True)
        ]
        answer = await client.post("/embed", json={"inputs": "A dog " * 100})
        assert answer.status_code == 422
        assert "text too long: wanted at most 64 tokens" in answer.json()["error"]
        for field, value in (("dimensions", 32), ("truncation_direction", "Right")):
            body = {"inputs": "a", field: value, "prompt_name": None}
            assert (await client.post("/embed", json=body)).status_code == 200
        for field, value in (
            ("dimensions", 8), ("truncation_direction", "Left"), ("prompt_name", "query"),
            ("truncate", "yes"), ("normalise", True), ("inputs", []), ("inputs", [1, "a"]),
            ("inputs", [-1]), ("inputs", [8192]), ("inputs", [5] * 65), ("inputs", None),
        ):  # fmt: skip
            answer = await client.post("/embed", json={"inputs": "a", field: value})
            assert answer.status_code == 422
            assert is_refusal("/embed", answer)

    talk(service_of(own), run)


def test_token_ids_are_a_first_text_where_there_may_be_a_second(tmp_path: Path) -> None:
    folder = make_word_piece(tmp_path / "m", "YosoModel")
    embed = yosort.pipeline("feature-extraction", folder, device="cpu", num_threads=1)
    text = "the quick brown fox"
    answer = ask(
        service_of({"feature-extraction": embed}),
        "/embed",
        {"inputs": [embed.tokenizer(text)["input_ids"]], "normalize": False},
    )
    assert answer.json() == [embed(text, pooling="mean")]


def test_pooling_and_truncation_of_the_service(pipelines: Any) -> None:
    own = pipelines("fill-mask")
    embed, long = own["feature-extraction"], "A dog " * 100
    wanted = embed(long, pooling="cls", normalize=True, truncation=True)

    async def run(client: Any) -> None:
        answer = await client.post("/embed", json={"inputs": long})
        assert answer.json() == [wanted]
        answer = await client.post("/embed", json={"inputs": long, "truncate": False})
        assert answer.status_code == 422
        answer = await client.post("/v1/embeddings", json={"input": long})
        assert answer.json()["data"][0]["embedding"] == wanted
        answer = await client.post("/feature-extraction", json={"inputs": long, "pooling": "mean"})
        assert answer.json() == embed(long, pooling="mean", truncation=True)
        assert (await client.get("/info")).json()["auto_truncate"] is True

    talk(service_of(own, pooling="cls", auto_truncate=True), run)


def test_what_sentence_transformers_files_say(tmp_path: Path) -> None:
    folder = make(tmp_path, "YosoModel")
    (folder / "1_Pooling").mkdir()
    for name, said in (
        ("modules.json", [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling",
             "type": "sentence_transformers.models.Pooling"},
        ]),
        ("1_Pooling/config.json", {"pooling_mode_cls_token": True}),
        ("sentence_bert_config.json", {"max_seq_length": 12, "do_lower_case": True}),
    ):  # fmt: skip
        (folder / name).write_text(json.dumps(said), encoding="utf-8")
    embed = yosort.pipeline("feature-extraction", folder, device="cpu", num_threads=1)
    upper = "A DOG BARKS."
    wanted = embed(upper, pooling="cls", normalize=True)
    assert wanted == embed(upper.lower(), normalize=True)

    async def run(client: Any) -> None:
        answer = await client.post("/embed", json={"inputs": upper})
        assert answer.json() == [wanted]
        assert (await client.post("/feature-extraction", json={"inputs": upper})).json() == embed(
            upper
        )
        assert (await client.get("/info")).json()["max_input_length"] == 12
        for value in ("a dog " * 10, [5] * 13):
            answer = await client.post("/embed", json={"inputs": value})
            assert answer.status_code == 422
            assert "wanted at most 12 tokens" in answer.json()["error"]

    talk(service_of({"feature-extraction": embed}), run)


def test_predict(pipelines: Any) -> None:
    own = pipelines("text-classification")
    classify = own["text-classification"]
    pair = {"text": TEXTS[0], "text_pair": TEXTS[1]}

    async def run(client: Any) -> None:
        answer = await client.post("/predict", json={"inputs": TEXTS[0]})
        assert answer.json() == classify(TEXTS[0], top_k=None)
        answer = await client.post("/predict", json={"inputs": [TEXTS[0], TEXTS[1]]})
        assert answer.json() == classify(pair, top_k=None)
        body = {"inputs": [[TEXTS[2]], [TEXTS[0], TEXTS[1]]], "raw_scores": True}
        answer = await client.post("/predict", json=body)
        assert answer.json() == classify([TEXTS[2], pair], top_k=None, function_to_apply="none")
        for value in ([], [[]], [["a", "b", "c"]], ["a", "b", "c"], [["a"], "b"], 3, {"text": "a"}):
            answer = await client.post("/predict", json={"inputs": value})
            assert answer.status_code == 422
            assert is_refusal("/predict", answer)
        kind = (await client.get("/info")).json()["model_type"]
        assert kind["classifier"]["id2label"] == {"0": "LABEL_0", "1": "LABEL_1"}

    talk(service_of(own), run)


def test_rerank(pipelines: Any) -> None:
    own = pipelines("text-ranking")
    rank, texts = own["text-ranking"], ["A dog.", "Moses went up.", "A dog barks."]

    async def run(client: Any) -> None:
        body: dict[str, Any] = {"query": "Who barks?", "texts": texts}
        wanted = rank("Who barks?", texts)
        answer = (await client.post("/rerank", json=body)).json()
        assert answer == [{"index": w["index"], "score": w["score"]} for w in wanted]
        answer = (await client.post("/rerank", json={**body, "return_text": True})).json()
        assert answer == wanted
        answer = (await client.post("/rerank", json={**body, "raw_scores": True})).json()
        raw = rank("Who barks?", texts, function_to_apply="none")
        assert answer == [{"index": w["index"], "score": w["score"]} for w in raw]
        for change in ({"texts": []}, {"texts": "a"}, {"query": None}, {"query": ["a"]}):
            answer = await client.post("/rerank", json={**body, **change})
            assert answer.status_code == 422
            assert is_refusal("/rerank", answer)
        long = {**body, "texts": ["a", "a dog " * 100]}
        answer = await client.post("/rerank", json=long)
        assert answer.status_code == 422
        assert "documents[1]: text too long" in answer.json()["error"]
        answer = await client.post("/rerank", json={**long, "truncate": True})
        assert answer.status_code == 200
        assert "reranker" in (await client.get("/info")).json()["model_type"]

    talk(service_of(own), run)
    response = ask(service_of(pipelines("text-classification")), "/rerank", {})
    assert response.status_code == 424


def test_parts_of_a_text(pipelines: Any) -> None:
    own, text = pipelines("feature-extraction"), "A dog barks. Moses went up into Sinai."
    embed, spans = own["feature-extraction"], [[0, 12], [13, 38]]

    async def run(client: Any) -> None:
        path = "/feature-extraction"
        answer = await client.post(path, json={"inputs": text, "chunks": 4, "normalize": True})
        assert answer.json() == embed(text, chunks=4, normalize=True)
        wanted = embed(text, spans=spans)
        answer = await client.post(path, json={"text": text, "spans": spans})
        assert answer.json() == wanted
        answer = await client.post(path, json={"inputs": [{"text": text, "spans": spans}] * 2})
        assert answer.json() == [wanted, wanted]
        for wrong in ([[0, 99]], [[5]], [3], 4, [[0, 1]] * 2049):
            answer = await client.post(path, json={"text": text, "spans": wrong})
            assert answer.status_code in (413, 422)
            assert is_refusal(path, answer)

    talk(service_of(own), run)


def test_tokens(pipelines: Any) -> None:
    own = pipelines("fill-mask")
    tokenizer = own["fill-mask"].tokenizer

    async def run(client: Any) -> None:
        answer = await client.post("/tokenize", json={"inputs": ["A naïve dog", "x"]})
        first, second = answer.json()
        assert [t["id"] for t in first] == tokenizer("A naïve dog")["input_ids"]
        assert [t["special"] for t in second] == [True, False, True]
        assert first[0] == {"id": 0, "text": "<s>", "special": True, "start": None, "stop": None}
        assert all(t["text"] == "A naïve dog"[t["start"] : t["stop"]] for t in first[1:-1])
        assert first[-2]["stop"] == len("A naïve dog")
        body = {"inputs": "x", "add_special_tokens": False}
        assert len((await client.post("/tokenize", json=body)).json()[0]) == 1
        ids = [t["id"] for t in first]
        answer = await client.post("/decode", json={"ids": ids})
        assert answer.json() == [tokenizer.decode(ids, skip_special_tokens=True)]
        body = {"ids": [ids, [0]], "skip_special_tokens": False}
        assert (await client.post("/decode", json=body)).json()[1] == "<s>"
        for value in ([-1], [10**9], ["a"], [[]], "a", None):
            assert (await client.post("/decode", json={"ids": value})).status_code == 422

    talk(service_of(own), run)


def test_ids_are_many_and_the_vocabulary_is_counted_once(
    pipelines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = pipelines("fill-mask")
    counted = []
    plain = yosort.Tokenizer.__len__
    monkeypatch.setattr(yosort.Tokenizer, "__len__", lambda t: counted.append(1) or plain(t))
    response = ask(service_of(own), "/decode", {"ids": [5] * 2000})
    assert response.json() == [own["fill-mask"].tokenizer.decode([5] * 2000)]
    assert len(counted) == 1


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        (
            "/v1/embeddings",
            {"input": "a " * 99},
            "; the service's --auto-truncate cuts it",
        ),
        ("/embed", {"inputs": "a " * 99}, '; "truncate": true cuts it'),
        ("/embed_all", {"inputs": "a " * 99}, '; "truncate": true cuts it'),
        ("/feature-extraction", {"inputs": "a " * 99}, "; overflow='truncate' cuts it"),
        (
            "/v1/embeddings",
            {"input": [1, 2.5]},
            "input[1]: wanted a token id, as before it, got 2.",
        ),
        ("/v1/embeddings", {"input": ["a", 5]}, "input[1]: wanted a text or token ids, not empty"),
        ("/v1/embeddings", {"input": "a", "user": 3}, "user: wanted a text, got 3"),
        ("/decode", {"ids": 5}, "ids: wanted token ids, or lists of them, not empty, got 5"),
        ("/decode", {"ids": [[5], [10**9]]}, "ids[1]: wanted ids from 0 to "),
        (
            "/fill-mask",
            {"inputs": "<mask>", "top_k": 2, "parameters": {"top_k": 1}},
            "top_k: wante",
        ),
        ("/rerank", {"query": "a", "texts": ["b"]}, "needs a YosoForSequenceClassification of 1 l"),
    ],
)
def test_what_is_wrong_is_said_in_the_protocol_s_words(
    path: str, body: dict[str, Any], message: str, pipelines: Any
) -> None:
    response = ask(service_of(pipelines("fill-mask")), path, body)
    assert response.status_code in (400, 422, 424)
    assert is_refusal(path, response)
    assert message in str(response.json()["error"])


def test_openai_s_embeddings(pipelines: Any) -> None:
    own = pipelines("fill-mask")
    embed = own["feature-extraction"]
    wanted = embed(TEXTS, pooling="mean", normalize=True, return_tensors=True)
    ids = embed.tokenizer(TEXTS)["input_ids"]

    async def run(client: Any) -> None:
        body: dict[str, Any] = {"model": "other-name", "input": TEXTS, "user": "somebody"}
        answer = (await client.post("/v1/embeddings", json=body)).json()
        assert answer.keys() == {"object", "data", "model", "usage"}
        assert answer["model"] == "other-name"
        count = sum(map(len, ids))
        assert answer["usage"] == {"prompt_tokens": count, "total_tokens": count}
        assert [each["index"] for each in answer["data"]] == [0, 1, 2]
        assert [each["embedding"] for each in answer["data"]] == [v.tolist() for v in wanted]
        same = {"input": ids, "model": "small", "encoding_format": "base64", "dimensions": 32}
        answer = (await client.post("/v1/embeddings", json=same)).json()
        for each, vector in zip(answer["data"], wanted, strict=True):
            found = np.frombuffer(base64.b64decode(each["embedding"]), "<f4")
            assert np.array_equal(found, vector)
        one = (await client.post("/v1/embeddings", json={"input": ids[0]})).json()
        assert one["data"][0]["embedding"] == wanted[0].tolist()
        for change, status, param, code in (
            ({"model": "gpt"}, 404, "model", "model_not_found"),
            ({"model": 3}, 404, "model", "model_not_found"),
            ({"input": None}, 400, "input", None),
            ({"input": []}, 400, "input", None),
            ({"input": [1.5]}, 400, "input", None),
            ({"input": [True]}, 400, "input", None),
            ({"input": ["a", ""]}, 400, "input", None),
            ({"input": ""}, 400, "input", None),
            ({"input": "A dog " * 100}, 422, "input", None),
            ({"dimensions": 16}, 400, "dimensions", None),
            ({"dimensions": True}, 400, "dimensions", None),
            ({"encoding_format": "int8"}, 400, "encoding_format", None),
            ({"inputs": "a"}, 400, "inputs", None),
        ):
            response = await client.post("/v1/embeddings", json={**body, **change})
            assert response.status_code == status, change
            assert is_refusal("/v1/embeddings", response)
            error = response.json()["error"]
            assert error["type"] == "invalid_request_error"
            assert (error["param"], error["code"]) == (param, code)

    talk(service_of(own), run)


def test_what_is_told(pipelines: Any) -> None:
    async def run(client: Any) -> None:
        models = (await client.get("/v1/models")).json()
        assert [each["id"] for each in models["data"]] == ["small", "other-name"]
        assert (await client.get("/v1/models/small")).json() == models["data"][0]
        missing = await client.get("/v1/models/a/b")
        assert missing.status_code == 404
        assert is_refusal("/v1/models", missing)
        info = (await client.get("/info")).json()
        assert info["model_id"] == "small"
        assert info["model_type"] == {"embedding": {"pooling": "mean"}}
        assert info["max_input_length"] == 64
        assert (await client.get("/health")).status_code == 200
        await client.post("/embed", json={"inputs": "a"})
        metrics = (await client.get("/metrics")).text
        assert 'yosort_requests_total{route="/embed",status="200"} 1.0' in metrics
        assert "yosort_requests_in_hand 0.0" in metrics
        assert "yosort_waiting_tokens 0.0" in metrics
        # What a dashboard's queries are written over.
        edges: dict[str, dict[str, None]] = {}
        for name, edge in re.findall(r'^(\w+)_bucket{le="(.+?)"', metrics, re.M):
            edges.setdefault(name, {})[edge] = None
        seconds = "0.005 0.01 0.025 0.05 0.1 0.25 0.5 1.0 2.5 5.0 10.0 30.0 60.0 +Inf"
        counts = "1.0 4.0 16.0 64.0 256.0 1024.0 4096.0 16384.0 65536.0 +Inf"
        assert {name: " ".join(found) for name, found in edges.items()} == {
            "yosort_request_seconds": seconds,
            "yosort_queue_seconds": seconds,
            "yosort_batch_tokens": counts,
            "yosort_batch_rows": counts,
            "yosort_batch_seconds": seconds,
        }
        for path in ("/nothing", "/v1/nothing", "/v1/embeddings", "/embed"):
            response = await client.get(path)
            assert response.status_code == (405 if "embed" in path else 404)
            assert is_refusal(path, response)

    talk(service_of(pipelines("fill-mask")), run)


@pytest.mark.parametrize("path", ["/predict", "/classify", "/ner", "/qa", "/multiple-choice"])
def test_another_task_s_route_says_what_this_model_is(path: str, pipelines: Any) -> None:
    response = ask(service_of(pipelines("fill-mask")), path, {"inputs": "a"})
    assert response.status_code == 424
    assert response.json()["error_type"] == "Backend"
    assert "small is a YosoForMaskedLM, for fill-mask and feature-ex" in response.json()["error"]
