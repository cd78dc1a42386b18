"""What each field of a config may hold: the last value it takes, the first it does not."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from yosort import ConfigError, YosoConfig
from yosort.fields import agree_labels

#: A model whose sizes do not stand in each other's way.
BASE: dict[str, Any] = {"hidden_size": 1, "num_attention_heads": 1, "pad_token_id": None}
MANY = 2**48
NUMBERS = ("hidden_dropout_prob", "attention_probs_dropout_prob")
FLAGS = ("use_expectation", "use_fast_hash", "lsh_backward", "tie_word_embeddings",
         "output_attentions", "output_hidden_states", "return_dict")  # fmt: skip
TAKEN: list[tuple[str, Any]] = [
    *((name, count) for name in ("vocab_size", "hidden_size", "intermediate_size", "num_hash",
                                 "max_position_embeddings", "type_vocab_size")
      for count in (1, MANY)),
    ("num_hidden_layers", 1024), ("num_attention_heads", 1), ("hash_code_len", 1),
    ("hash_code_len", 16), ("conv_window", None), ("conv_window", 1), ("conv_window", 63),
    *((name, value) for name in NUMBERS for value in (0, 0.0, 1, 1.0)),
    *((name, value) for name in ("initializer_range", "layer_norm_eps")
      for value in (0, 0.0, 3, sys.float_info.max)),
    *((name, value) for name in ("bos_token_id", "eos_token_id") for value in (None, 0, MANY)),
    ("pad_token_id", 0), ("pad_token_id", 50264), ("num_labels", 1), ("num_labels", 1000),
    ("problem_type", "regression"), ("problem_type", "single_label_classification"),
    ("problem_type", "multi_label_classification"), ("architectures", ()),
    ("architectures", ("A", "B")), ("architectures", None),
    *((name, value) for name in FLAGS for value in (True, False)),
]  # fmt: skip
REFUSED: list[tuple[str, Any, str]] = [
    *((name, value, "an integer of at least 1, at most 2 ** 48")
      for name in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
                   "intermediate_size", "max_position_embeddings", "type_vocab_size", "num_hash")
      for value in (0, MANY + 1, 1.0, True, None, "1")),
    *((name, value, "true or false") for name in FLAGS for value in (0, 1, None, "true")),
    *((name, value, "a number from 0 to 1") for name in NUMBERS
      for value in (-1e-9, 1.0001, True, None, "0.1", float("nan"))),
    *((name, value, "a number of at least 0") for name in ("initializer_range", "layer_norm_eps")
      for value in (-1e-30, float("inf"), True, None, float("nan"))),
    *((name, value, "null or a token id") for name in ("bos_token_id", "eos_token_id")
      for value in (-1, MANY + 1, 0.0, False, "0")),
    *(("pad_token_id", value, "null or a token id below vocab_size (50265)")
      for value in (-1, 50265, 1.0, True)),
    ("num_hidden_layers", 1025, "at most 1024 layers"),
    ("hidden_act", ["gelu"], "one of gelu, "), ("position_embedding_type", None, '"absolute"'),
    *(("hash_code_len", value, "an integer from 1 to 16") for value in (0, 17, 9.0, True)),
    *(("conv_window", value, "null or an odd integer of at least 1")
      for value in (0, 2, -1, 3.0, True)),
    ("problem_type", ["regression"], "null or one of regression, "),
    ("extra", [], "an object of fields"), ("extra", {1: 2}, "an object of fields"),
    ("name_or_path", None, "a text"), ("architectures", [1], "null or a list of class names"),
    *(("num_labels", value, "an integer of at least 1 and at most 100000")
      for value in (0, 100_001, 2.0, True)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), TAKEN)
def test_what_a_field_takes_it_keeps(name: str, value: Any) -> None:
    assert getattr(YosoConfig(**{**BASE, name: value}), name) == value


@pytest.mark.parametrize(("name", "value", "wanted"), REFUSED)
def test_what_a_field_does_not_take_is_refused_by_its_name(
    name: str, value: Any, wanted: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        YosoConfig(**{**BASE, name: value})
    assert str(caught.value).startswith(f"{name}: wanted {wanted}")


def test_hidden_units_go_evenly_into_heads() -> None:
    assert YosoConfig(hidden_size=12, num_attention_heads=12).head_dim == 1
    with pytest.raises(ConfigError, match=r"hidden_size: wanted a multiple of num_att\w+ \(8\)"):
        YosoConfig(hidden_size=12, num_attention_heads=8)


LABELS = {0: "LABEL_0", 1: "LABEL_1"}
AB = {0: "a", 1: "b"}


@pytest.mark.parametrize(
    ("count", "names", "numbers", "id2label", "label2id"),
    [
        (None, None, None, LABELS, {"LABEL_0": 0, "LABEL_1": 1}),
        (1, None, None, {0: "LABEL_0"}, {"LABEL_0": 0}),
        (None, AB, None, AB, {"a": 0, "b": 1}),
        (2, AB, None, AB, {"a": 0, "b": 1}),
        (2, {"1": "b", "0": "a"}, None, AB, {"a": 0, "b": 1}),
        (1, LABELS, None, {0: "LABEL_0"}, {"LABEL_0": 0}),
        # Numbers of as many names stay, whatever they are; others are made anew.
        (None, AB, {"x": "1", "y": 0}, AB, {"x": 1, "y": 0}),
        (None, AB, {"a": 0}, AB, {"a": 0, "b": 1}),
        (3, None, {"a": 0, "b": 1}, {**LABELS, 2: "LABEL_2"},
         {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}),
        (None, {0: None, 1: 2.5}, None, {0: "None", 1: "2.5"}, {"None": 0, "2.5": 1}),
        (None, {np.int32(0): np.float32(2), 1.0: np.int64(3)}, {5: np.float64(1), "b": True},
         {0: "2.0", 1: "3"}, {"5": 1, "b": 1}),
    ],
)  # fmt: skip
def test_names_win_and_numbers_follow(
    count: Any, names: Any, numbers: Any, id2label: Any, label2id: Any
) -> None:
    assert agree_labels(count, names, numbers) == (id2label, label2id)


@pytest.mark.parametrize(
    ("count", "names", "numbers", "message"),
    [
        (3, AB, None, "num_labels: wanted 2, the number of names in id2label, got 3"),
        (1, AB, None, "num_labels: wanted 2"),
        (1, {0: "LABEL_0", 1: "b"}, None, "num_labels: wanted 2"),
        (3, {0: "LABEL_1", 1: "LABEL_0"}, None, "num_labels: wanted 2"),
        (None, {0: "a", 2: "b"}, None, r"id2label: wanted the keys 0 to 1, got \[0, 2\]"),
        (None, {-1: "a", 0: "b"}, None, "id2label: wanted the keys 0 to 1"),
        (None, {"zero": "a"}, None, "id2label: wanted an object of names by label number"),
        (None, {0.5: "a"}, None, "id2label: wanted an object of names"),
        (None, {None: "a"}, None, "id2label: wanted an object of names"),
        (None, AB, {"a": 0.5, "b": 1}, "label2id: wanted an object of label numbers by name"),
        (None, AB, {"a": None, "b": 1}, "label2id: wanted an object of label numbers"),
        (None, AB, {("a",): 0, "b": 1}, "label2id: wanted an object of label numbers"),
    ],
)
def test_labels_that_do_not_agree_are_refused(
    count: Any, names: Any, numbers: Any, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        agree_labels(count, names, numbers)
