"""Wrong calls: each message says what was wanted and what came."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

import yosort
from yosort import ConfigError, DeviceError, InputError, YosoConfig, YosortError

CONFIG = YosoConfig(
    vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
    intermediate_size=16, max_position_embeddings=12, num_labels=3,
)  # fmt: skip
MODEL = yosort.YosoModel(CONFIG, device="cpu")
IDS = np.array([[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "wanted input_ids or inputs_embeds, got neither"),
        ({"input_ids": IDS, "inputs_embeds": IDS}, "got both"),
        ({"input_ids": [1, 2, 3]}, r"input_ids: wanted shape \[batch, n\], got \[3\]"),
        ({"input_ids": [[1, 2], [3]]}, "input_ids: wanted an array or nested lists of equal"),
        ({"input_ids": [["a", "b"]]}, "input_ids: wanted integers"),
        ({"input_ids": [[1.0, 2.0]]}, "input_ids: wanted integers, got dtype float64"),
        ({"input_ids": [[1, 30]]}, r"input_ids\[0, 1\]: wanted a token id from 0 to 29, got 30"),
        ({"input_ids": [[1], [-1]]}, r"input_ids\[1, 0\]: .* got -1"),
        ({"input_ids": np.ones((1, 13), int)}, "at most 12 tokens .* got 13"),
        (
            {"input_ids": IDS, "attention_mask": [[1, 1, 1]]},
            r"attention_mask: wanted shape \[2, 3\]",
        ),
        ({"input_ids": IDS, "attention_mask": IDS}, "attention_mask: wanted only 0"),
        ({"input_ids": IDS, "attention_mask": IDS * np.nan}, "attention_mask: wanted only 0"),
        (
            {"input_ids": IDS, "token_type_ids": IDS},
            r"token_type_ids\[0, 0\]: wanted 0 to 0, got 1",
        ),
        ({"input_ids": IDS, "token_type_ids": IDS[:1] * 0}, "token_type_ids: wanted shape"),
        ({"input_ids": IDS, "position_ids": [0, 1]}, r"position_ids: wanted shape \[3\]"),
        ({"input_ids": IDS, "position_ids": [0, 1, 14]}, r"position_ids\[2\]: wanted 0 to 13"),
        ({"inputs_embeds": np.zeros((1, 2, 15))}, r"inputs_embeds: wanted shape \[batch, n, 16\]"),
        ({"inputs_embeds": np.full((1, 2, 16), np.nan)}, r"inputs_embeds\[0, 0\]: .* NaN"),
        ({"inputs_embeds": np.full((1, 2, 16), 1j)}, "inputs_embeds: wanted numbers"),
        ({"input_ids": IDS, "head_mask": [1, 1, 1]}, r"head_mask: wanted numbers of shape \[2\]"),
        ({"input_ids": IDS, "head_mask": [1, np.inf]}, "head_mask: wanted finite"),
        ({"input_ids": IDS, "num_hash": 0}, "num_hash: wanted None or an integer of at least 1"),
        ({"input_ids": IDS, "seed": -1}, "seed: wanted a non-negative integer, got -1"),
    ],
)
def test_calls(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        MODEL(**arguments)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, YosortError)


def test_masked_tokens_may_hold_anything() -> None:
    got = MODEL([[1, 2, 999]], [[1, 1, 0]]).last_hidden_state
    np.testing.assert_array_equal(got[:, :2], MODEL([[1, 2]]).last_hidden_state)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "tpu"}, 'device: wanted "auto", "cpu"'),
        ({"device": 0}, "device: wanted"),
        ({"device": "cuda:x"}, "device: wanted"),
        ({"dtype": "float16"}, 'dtype: wanted "float32"'),
        ({"attention": "exact"}, 'attention: wanted None, "expectation" or "sampled"'),
        ({"padding": "none"}, 'padding: wanted "masked" or "attended"'),
        ({"num_hash": 0}, "num_hash: wanted"),
        ({"seed": 1.5}, "seed: wanted"),
        ({"num_threads": 0}, "num_threads: wanted"),
    ],
)
def test_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, InputError), match=message):
        yosort.YosoModel(CONFIG, **{"device": "cpu", **options})


def test_a_gpu_that_is_not_there_is_an_error_that_says_why() -> None:
    for device in ("cuda", "cuda:1"):
        with pytest.raises(DeviceError, match=f"device='{device}': ."):
            yosort.YosoModel(CONFIG, device=device)


def test_auto_says_what_it_chose(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "yosort"):
        model = yosort.YosoModel(CONFIG, device="auto")
    assert model.device == "cpu"
    assert "using the CPU" in caplog.text


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("YosoForMaskedLM", {"labels": [[1, 2, 3]]}, r"labels: wanted shape \[2, 3\]"),
        ("YosoForMaskedLM", {"labels": IDS + 25}, "labels: wanted -100 .* to 29, got 30"),
        ("YosoForMaskedLM", {"positions": [0, 1]}, r"positions: wanted shape \[k, 2\]"),
        ("YosoForMaskedLM", {"positions": [[0, 3]]}, r"within \[2, 3\], got \(0, 3\)"),
        (
            "YosoForMaskedLM",
            {"positions": [[1, 2]], "attention_mask": [[1, 1, 1], [1, 1, 0]]},
            "positions: wanted tokens that attention_mask keeps",
        ),
        ("YosoForSequenceClassification", {"labels": [1]}, r"labels: wanted shape \[2\]"),
        ("YosoForSequenceClassification", {"labels": [1, 3]}, "labels: wanted .* to 2, got 3"),
        ("YosoForSequenceClassification", {"labels": [[0.5], [1.0]]}, r"labels: wanted shape"),
        (
            "YosoForSequenceClassification",
            {"attention_mask": [[1, 1, 1], [0, 1, 1]]},
            r"attention_mask\[1, 0\]: .* pad on the right",
        ),
        ("YosoForTokenClassification", {"labels": IDS}, "labels: wanted .* to 2, got 3"),
        (
            "YosoForQuestionAnswering",
            {"start_positions": [0], "end_positions": [1]},
            r"start_positions: wanted shape \[2\]",
        ),
        (
            "YosoForQuestionAnswering",
            {
                "attention_mask": [[1, 1, 0], [1, 1, 1]],
                "start_positions": [2, 0],
                "end_positions": [1, 1],
            },
            r"start_positions\[0\]: wanted a token that attention_mask keeps",
        ),
        ("YosoForMultipleChoice", {}, r"input_ids: wanted shape \[batch, choices, n\]"),
    ],
)
def test_heads(name: str, arguments: dict[str, Any], message: str) -> None:
    model = getattr(yosort, name)(CONFIG, device="cpu")
    with pytest.raises(InputError, match=message):
        model(IDS, **arguments)
