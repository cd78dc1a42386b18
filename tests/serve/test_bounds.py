"""What a service does not take on: inputs, options and answers beyond their bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tasks.models import make

import yosort
from serve.clients import INPUTS, JSON, ask, is_refusal, service_of, talk
from yosort.model.heads import encoder_of


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
        ("fill-mask", {"topk": {"batch_size": 2}}, 422, "topk: no such option; did you mean top_k"),
        ("fill-mask", {"tokenizer_kwargs": 3}, 422, "tokenizer_kwargs: wanted a dictionary"),
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
        (
            "question-answering",
            {"inputs": {"question": "who " * 9, "context": "a"}, "max_question_len": 8},
            422,
            "question: wanted at most 8 tokens",
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


@pytest.mark.parametrize(
    ("task", "options"),
    [
        ("fill-mask", {"top_k": 1000}),
        ("question-answering", {"doc_stride": 32}),
        ("question-answering", {"max_seq_len": 64, "max_answer_len": 512, "top_k": 1000}),
        ("token-classification", {"ignore_labels": ["O"] * 1000}),
        ("token-classification", {"stride": 32, "aggregation_strategy": "simple"}),
        ("token-classification", {"inputs": [["a"] * 9], "is_split_into_words": True,
         "delimiter": "x" * 16}),
    ],
)  # fmt: skip
def test_options_may_be_as_large_as_their_bounds(
    task: str, options: dict[str, Any], pipelines: Any
) -> None:
    body = {"inputs": INPUTS[task], **options}
    assert ask(service_of(pipelines(task)), f"/{task}", body).status_code == 200


def test_a_window_is_of_64_tokens_at_least_where_the_model_takes_more(tmp_path: Path) -> None:
    folder = make(tmp_path / "m", "YosoForQuestionAnswering", max_position_embeddings=128)
    pipeline = yosort.pipeline("question-answering", folder, device="cpu", num_threads=1)
    own = {"question-answering": pipeline}
    own["feature-extraction"] = yosort.pipeline("feature-extraction", encoder_of(pipeline.model))
    body = INPUTS["question-answering"]
    for length, status in ((64, 200), (63, 422)):
        response = ask(service_of(own), "/qa", {**body, "max_seq_len": length, "doc_stride": 9})
        assert response.status_code == status
    assert "max_length: wanted at least 64" in response.json()["error"]


#: Inputs and options, and about how many bytes an answer to them has: of a vector 20 a number (of
#: 32 here), of a word for a mask 6 for each token of its text, of a label, an entity or a token
#: with its place 100, of an answer for each token of what is read 20.
SIZES: list[tuple[str, str, dict[str, Any], int]] = [
    ("fill-mask", "/embed", {"inputs": ["a dog"] * 10}, 10 * 32 * 20),
    ("fill-mask", "/embed", {"inputs": [[5] * 9] * 3}, 3 * 32 * 20),
    ("fill-mask", "/embed_all", {"inputs": ["a", "a"]}, 2 * 3 * 32 * 20),
    ("fill-mask", "/feature-extraction", {"text": "a a", "spans": [[0, 1], [2, 3]]}, 2 * 32 * 20),
    ("fill-mask", "/feature-extraction", {"inputs": "a", "pooling": "cls"}, 32 * 20),
    ("fill-mask", "/fill-mask", {"inputs": "<mask><mask>", "top_k": 9}, 2 * 9 * 4 * 6),
    ("fill-mask", "/tokenize", {"inputs": ["a", "a a"]}, (3 + 4) * 100),
    ("text-classification", "/predict", {"inputs": [["a"], ["a", "b"]]}, 2 * 2 * 100),
    ("text-classification", "/classify", {"inputs": ["a", "b"]}, 2 * 100),
    ("text-classification", "/classify", {"inputs": ["a", "b"], "top_k": 1}, 2 * 100),
    ("text-classification", "/classify", {"inputs": ["a", "b"], "top_k": 9}, 2 * 2 * 100),
    ("token-classification", "/ner", {"inputs": ["a a", "a"]}, (4 + 3) * 100),
    ("text-ranking", "/rerank", {"query": "a", "texts": ["a", "a a"]}, (6 + 7) * 20),
    ("multiple-choice", "/multiple-choice", {"prompt": "a", "choices": ["a", "a a"]}, 13 * 20),
]


@pytest.mark.parametrize(("task", "path", "body", "size"), SIZES)
def test_an_answer_may_be_as_large_as_the_limit(
    task: str, path: str, body: dict[str, Any], size: int, pipelines: Any
) -> None:
    for limit, status in ((size, 200), (size - 1, 413)):
        response = ask(service_of(pipelines(task), answer_limit=limit), path, body)
        assert response.status_code == status


@pytest.mark.parametrize(
    ("task", "path", "body", "count"),
    [
        ("fill-mask", "/embed", {"inputs": ["a"] * 3}, 3),
        ("fill-mask", "/tokenize", {"inputs": ["a"] * 3}, 3),
        ("fill-mask", "/decode", {"ids": [[5]] * 3}, 3),
        ("feature-extraction", "/feature-extraction", {"text": "a a", "spans": [[0, 1]] * 3}, 3),
        ("text-classification", "/classify", {"text": "a", "text_pair": "b"}, 1),
        ("question-answering", "/qa", {"question": "a", "context": "b " * 99}, 1),
        ("text-ranking", "/rerank", {"query": "a", "texts": ["b"] * 3}, 3),
        ("multiple-choice", "/multiple-choice", {"inputs": [INPUTS["multiple-choice"]] * 2}, 6),
    ],
)
def test_what_counts_as_an_input(
    task: str, path: str, body: dict[str, Any], count: int, pipelines: Any
) -> None:
    for most in {count, max(1, count - 1)}:
        response = ask(service_of(pipelines(task), max_client_batch_size=most), path, body)
        assert response.status_code == (200 if most == count else 413)
        assert most == count or f"at most {most}, got {count}" in response.json()["error"]


@pytest.mark.parametrize(("more", "status"), [(0, 200), (1, 413)])
def test_eight_characters_of_a_token_are_read_at_most(
    more: int, status: int, pipelines: Any
) -> None:
    body = {"inputs": "a" * (8 * 100 + more), "truncate": True}
    service = service_of(pipelines("fill-mask"), max_waiting_tokens=100)
    response = ask(service, "/embed", body)
    assert response.status_code == status
    assert status == 200 or "too much to read: 801 characters" in response.json()["error"]


@pytest.mark.parametrize(("texts", "status"), [(1, 200), (2, 200), (3, 413), (9, 413)])
def test_a_request_may_have_as_many_tokens_as_the_queue(
    texts: int, status: int, pipelines: Any
) -> None:
    """All of it is answered, or none: of three tokens a text."""
    service = service_of(pipelines("fill-mask"), max_waiting_tokens=6)
    response = ask(service, "/embed", {"inputs": ["a"] * texts})
    assert response.status_code == status
    assert status == 413 or len(response.json()) == texts


@pytest.mark.parametrize(
    "said",
    [{}, {"overflow": "error"}, {"truncation": False}, {"max_length": 9}, {"max_length": 9,
     "truncation": True}, {"overflow": "truncate"}, {"tokenizer_kwargs": {"truncation": False}}],
)  # fmt: skip
def test_a_service_that_cuts_leaves_to_a_request_what_it_says_of_length(
    said: dict[str, Any], pipelines: Any
) -> None:
    own, body = pipelines("fill-mask"), {"inputs": "a " * 99, "pooling": "mean", **said}
    cutting, plain = (
        ask(service_of(own, auto_truncate=cuts), "/feature-extraction", body)
        for cuts in (True, False)
    )
    if said:
        assert (cutting.status_code, cutting.json()) == (plain.status_code, plain.json())
    else:
        assert (cutting.status_code, plain.status_code) == (200, 422)


@pytest.mark.parametrize(
    "said",
    [{"stride": 9, "aggregation_strategy": "simple"}, {"max_length": 9}, {"overflow": "error"}],
)
def test_a_service_that_cuts_leaves_windows_to_a_request(
    said: dict[str, Any], pipelines: Any
) -> None:
    body = {"inputs": "Paris is the capital of France. " * 30, **said}
    cutting, plain = (
        ask(service_of(pipelines("token-classification"), auto_truncate=cuts), "/ner", body)
        for cuts in (True, False)
    )
    assert (cutting.status_code, cutting.json()) == (plain.status_code, plain.json())


def test_a_service_that_cuts_cuts_no_context_that_has_windows(pipelines: Any) -> None:
    own, value = pipelines("question-answering"), {"question": "who", "context": "a dog " * 99}
    response = ask(service_of(own, auto_truncate=True), "/qa", value)
    assert response.json() == own["question-answering"](value)


@pytest.mark.parametrize(
    ("path", "field"), [("/embed", "inputs"), ("/v1/embeddings", "input"), ("/fill-mask", "inputs")]
)
def test_which_of_several_is_wrong_is_said_and_of_one_nothing(
    path: str, field: str, pipelines: Any
) -> None:
    long = "a <mask> " * 99

    def said(value: Any) -> Any:
        error = ask(service_of(pipelines("fill-mask")), path, {field: value}).json()["error"]
        return error["message"] if isinstance(error, dict) else error

    assert said(long).startswith("text too long")
    assert said(["a <mask>", "a <mask>", long]).startswith(f"{field}[2]: text too long")
