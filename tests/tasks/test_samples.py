"""pipeline(..., samples=k): means and standard errors over k draws of hash functions."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import yosort
from tasks.models import ENTITIES, TEXTS, make

K, SEED = 4, 7
#: task -> class, config fields, inputs, options that let every possible answer through.
CASES: dict[str, tuple[str, dict[str, Any], Any, dict[str, Any]]] = {
    "text-classification": (
        "YosoForSequenceClassification",
        {"num_labels": 3},
        TEXTS,
        {"top_k": None},
    ),
    "text-ranking": (
        "YosoForSequenceClassification",
        {"num_labels": 1},
        [{"query": TEXTS[1], "documents": [TEXTS[0], TEXTS[2], "no"]}],
        {},
    ),
    "multiple-choice": (
        "YosoForMultipleChoice",
        {},
        [{"prompt": TEXTS[1], "choices": [TEXTS[0], TEXTS[2], "no"]}],
        {},
    ),
    "fill-mask": (
        "YosoForMaskedLM",
        {"initializer_range": 0.1},
        ["Paris is the <mask> of France", "A <mask> barks at a <mask>"],
        {"targets": ["capital", "dog", "city"], "top_k": 3},
    ),
    "token-classification": (
        "YosoForTokenClassification",
        {"id2label": {0: "A"}, "label2id": {"A": 0}},
        TEXTS,
        {"aggregation_strategy": "simple", "ignore_labels": []},
    ),
    "question-answering": (
        "YosoForQuestionAnswering",
        {},
        [{"question": "Who barks?", "context": "A dog barks"}],
        {"top_k": 50, "align_to_words": False, "handle_impossible_answer": True},
    ),
}


def flat(result: Any) -> dict[str, dict[str, Any]]:
    """Return the dictionaries of a result by what they say, without their scores."""
    if isinstance(result, dict):
        rest = {k: v for k, v in result.items() if k not in ("score", "standard_error")}
        return {repr(rest): result}
    return {
        f"{i if isinstance(part, list) else ''}{key}": value
        for i, part in enumerate(result)
        for key, value in flat(part).items()
    }


@pytest.mark.parametrize("task", CASES)
def test_score_is_the_mean_of_the_draws_and_its_error_is_s_over_root_k(
    task: str, tmp_path: Path
) -> None:
    name, fields, inputs, options = CASES[task]
    folder = make(tmp_path / "m", name, num_hash=3, **fields)
    several = yosort.pipeline(task, folder, attention="sampled", seed=SEED, samples=K)
    got = flat([several(value, **options) for value in inputs])
    draws = []
    for seed in range(SEED, SEED + K):
        one = yosort.pipeline(task, folder, attention="sampled", seed=seed)
        draws.append(flat([one(value, **options) for value in inputs]))
    assert got
    varied = False
    for key, answer in got.items():
        scores = np.array([draw[key]["score"] for draw in draws])
        assert "standard_error" not in draws[0][key]
        assert answer["score"] == pytest.approx(scores.mean(), rel=1e-9)
        error = scores.std(ddof=1) / np.sqrt(K)
        # Of one label alone the draws agree: 1, without an error.
        assert answer.get("standard_error", 0.0) == pytest.approx(error, rel=1e-6, abs=1e-12)
        varied = varied or error > 0
    # One label gives every token the score 1; all else depends on the draw.
    assert varied or task == "token-classification"


def test_token_scores_and_their_errors(tmp_path: Path) -> None:
    fields = {"id2label": ENTITIES, "label2id": {v: k for k, v in ENTITIES.items()}}
    folder = make(tmp_path / "m", "YosoForTokenClassification", num_hash=3, **fields)
    model = yosort.load(folder, attention="sampled")
    several = yosort.pipeline("token-classification", model, samples=K)
    ids = several.tokenizer.encoding(TEXTS[0]).ids
    logits = np.stack([model([ids], seed=s).logits[0] for s in range(K)]).astype(np.float64)
    scores = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    best = scores.mean(0).argmax(-1)
    answers = several(TEXTS[0], aggregation_strategy="none", ignore_labels=[])
    assert len(answers) == len(ids) - 2
    for answer in answers:
        draws = scores[:, answer["index"], best[answer["index"]]]
        assert answer["entity"] == ENTITIES[best[answer["index"]]]
        assert answer["score"] == pytest.approx(draws.mean(), rel=1e-6)
        error = draws.std(ddof=1) / np.sqrt(K)
        assert answer["standard_error"] == pytest.approx(error, rel=1e-5)


def test_a_call_with_several_seeds_gives_each_ones_output(tmp_path: Path) -> None:
    folder = make(tmp_path / "m", "YosoForSequenceClassification", num_hash=3)
    model = yosort.load(folder, attention="sampled")
    ids = [[0, 50, 60, 70, 2], [0, 9, 8, 2, 1]]
    mask = [[1] * 5, [1, 1, 1, 1, 0]]
    outputs = model(ids, mask, seed=[3, 0], output_hidden_states=True)
    assert isinstance(outputs, list)
    for seed, output in zip([3, 0], outputs, strict=True):
        alone = model(ids, mask, seed=seed, output_hidden_states=True)
        np.testing.assert_array_equal(output.logits, alone.logits)
        for state, wanted in zip(output.hidden_states, alone.hidden_states, strict=True):
            np.testing.assert_array_equal(state, wanted)
    with pytest.raises(yosort.InputError, match="at least one"):
        model(ids, mask, seed=[])


def test_one_draw_keeps_nothing_for_others() -> None:
    """The embeddings and the first q, k, v live on only while another draw needs them."""
    n, hidden = 2000, 64
    config = yosort.YosoConfig(vocab_size=9, hidden_size=hidden, num_attention_heads=2)
    model = yosort.YosoModel(config, attention="sampled", device="cpu", num_hash=2)
    peaks = []
    for seed in (0, [0, 1]):
        tracemalloc.start()
        model(np.ones((1, n), np.int64), seed=seed)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] > 0.8 * n * 4 * hidden * 4


def test_exact_texts_have_no_error_under_auto(tmp_path: Path) -> None:
    folder = make(tmp_path / "m", "YosoForSequenceClassification", num_hash=3)
    classify = yosort.pipeline("text-classification", folder, attention="auto:9", samples=K)
    short, long = classify([TEXTS[1], TEXTS[0]])
    assert short["standard_error"] == pytest.approx(0, abs=1e-12)
    assert long["standard_error"] > 1e-6


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("fill-mask", {"samples": 2, "attention": "expectation"}, "draws nothing"),
        ("feature-extraction", {"samples": 2, "attention": "sampled"}, "without scores"),
        ("fill-mask", {"samples": 0}, "at least 1"),
        ("fill-mask", {"samples": 1.5}, "at least 1"),
    ],
)
def test_what_has_no_error_is_refused(task: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(yosort.ConfigError, match=message):
        yosort.pipeline(task, **options)


@pytest.mark.parametrize("samples", [3, 8])
def test_draws_that_never_meet_know_no_error(samples: int, tmp_path: Path) -> None:
    """Long codes, two hashes: no key shares a bucket, and all draws agree on what is wrong."""
    folder = make(tmp_path / "m", "YosoForSequenceClassification", hash_code_len=16, num_labels=3)
    options = {"num_hash": 2, "device": "cpu", "top_k": None}
    sampled = yosort.pipeline(
        "text-classification", folder, attention="sampled", samples=samples, **options
    )
    exact = yosort.pipeline("text-classification", folder, attention="expectation", **options)
    for text in ("A", "A dog barks"):
        wrong = {answer["label"]: answer["score"] for answer in sampled([text])[0]}
        right = {answer["label"]: answer["score"] for answer in exact([text])[0]}
        assert max(abs(wrong[label] - right[label]) for label in right) > 0.1
        assert all("standard_error" not in answer for answer in sampled([text])[0])
    many = yosort.pipeline("text-classification", folder, hash_code_len=2, attention="sampled",
                           samples=samples, **options)  # fmt: skip
    assert all(answer["standard_error"] > 0 for answer in many(["A dog barks"])[0])
