"""`tokenizer.pad`, which data collators call: what is filled up, with what, and what is refused."""

from __future__ import annotations

import operator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import yosort
from tasks.models import save_word_piece
from yosort import InputError


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> yosort.Tokenizer:
    """A WordPiece tokenizer with token types, whose padding is 0."""
    folder = tmp_path_factory.mktemp("tokenizer")
    save_word_piece(folder)
    return yosort.Tokenizer.from_pretrained(folder)


#: Two encoded texts as a data set's rows have them, labels among them.
ROWS: list[dict[str, Any]] = [
    {"input_ids": [2, 7, 8, 3], "token_type_ids": [0, 0, 1, 1], "labels": 1},
    {"input_ids": [2, 3], "token_type_ids": [0, 0], "labels": 0},
]


def test_rows_become_a_batch(tokenizer: yosort.Tokenizer) -> None:
    batch = tokenizer.pad(ROWS, return_tensors="np")
    assert batch.input_ids.tolist() == [[2, 7, 8, 3], [2, 3, 0, 0]]
    assert batch.token_type_ids.tolist() == [[0, 0, 1, 1], [0, 0, 0, 0]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert batch.labels.tolist() == [1, 0]
    assert {array.dtype for array in batch.values()} == {np.dtype(np.int64)}
    scores = tokenizer.pad(
        [{**row, "labels": row["labels"] / 2} for row in ROWS], return_tensors="np"
    )
    assert scores.labels.tolist() == [0.5, 0.0]
    assert ROWS[1]["input_ids"] == [2, 3]


def test_where_and_how_far(tokenizer: yosort.Tokenizer) -> None:
    left = tokenizer.pad(ROWS, pad_to_multiple_of=3, padding_side="left")
    assert left.input_ids == [[0, 0, 2, 7, 8, 3], [0, 0, 0, 0, 2, 3]]
    assert left.attention_mask == [[0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1]]
    masked = [{"input_ids": [2, 3], "special_tokens_mask": [1, 1]}]
    far = tokenizer.pad(masked, padding="max_length", max_length=3, return_attention_mask=False)
    assert dict(far) == {"input_ids": [[2, 3, 0]], "special_tokens_mask": [[1, 1, 1]]}
    # What is longer stays as it is.
    assert tokenizer.pad(ROWS, padding="max_length", max_length=3).input_ids == [
        [2, 7, 8, 3],
        [2, 3, 0],
    ]
    assert tokenizer.pad(ROWS, padding=False).input_ids == [[2, 7, 8, 3], [2, 3]]


def test_what_a_call_returns_may_be_padded(tokenizer: yosort.Tokenizer) -> None:
    one = tokenizer("the fox")
    assert tokenizer.pad(one, padding="max_length", max_length=6).input_ids == [
        *one.input_ids,
        0,
        0,
    ]
    several = tokenizer(["the fox", "the"])
    whole = tokenizer(["the fox", "the"], padding=True, return_tensors="np")
    for given in (several, [tokenizer("the fox"), tokenizer("the")]):
        batch = tokenizer.pad(given, return_tensors="np")
        assert {k: v.tolist() for k, v in batch.items()} == {
            k: v.tolist() for k, v in whole.items()
        }
    arrays = [{"input_ids": np.array(row["input_ids"])} for row in ROWS]
    assert isinstance(tokenizer.pad(arrays).input_ids, np.ndarray)


@pytest.mark.parametrize(
    ("encoded", "options", "message"),
    [
        ([], {}, r"encoded_inputs: wanted texts with input_ids, got \[\]"),
        (["a"], {}, r"encoded_inputs: wanted texts with input_ids, got \['a'\]"),
        ({"labels": [1]}, {}, r"encoded_inputs: wanted texts with input_ids, got \['labels'\]"),
        ([{"input_ids": [1]}, {"ids": [1]}], {}, r"encoded_inputs\[1\]: wanted input_ids, .* ids"),
        ([{"input_ids": ["a"]}], {}, r"input_ids\[0\]: wanted a list of token ids"),
        ({"input_ids": [[1], [2]], "labels": [1]}, {}, r"labels: wanted a list of 2, got \[1\]"),
        ({"input_ids": [[1], [2]], "labels": 1}, {}, "labels: wanted a list of 2, got 1"),
        (
            {"input_ids": [[1, 2], [3]], "attention_mask": [[1], [1]]}, {},
            r"attention_mask\[0\]: wanted a list of 2, got \[1\]",
        ),
        (
            [{**row, "labels": row["input_ids"]} for row in ROWS], {"return_tensors": "np"},
            "labels: wanted numbers of one length a text",
        ),
        (
            [{**row, "labels": "a"} for row in ROWS], {"return_tensors": "np"},
            "labels: wanted numbers of one length a text",
        ),
        (ROWS, {"padding": False, "return_tensors": "np"}, "padding=True fills the short ones up"),
        (ROWS, {"return_tensors": "pt"}, "torch.from_numpy"),
        (ROWS, {"padding": "long"}, "padding: wanted True, False or one of longest"),
        (ROWS, {"pad_side": "left"}, "pad_side: no such option; did you mean padding_side"),
    ],
)  # fmt: skip
def test_what_is_refused(
    tokenizer: yosort.Tokenizer, encoded: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        tokenizer.pad(encoded, **options)


@pytest.mark.parity
def test_as_transformers_does(tokenizer: yosort.Tokenizer, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer.save_pretrained(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(str(tmp_path))
    one = {"input_ids": [2, 7, 8, 3], "token_type_ids": [0, 0, 1, 1]}
    for encoded in (ROWS, one, {k: [row[k] for row in ROWS] for k in ROWS[0]}):
        for options in (
            {}, {"padding": "max_length", "max_length": 7}, {"pad_to_multiple_of": 8},
            {"padding_side": "left"}, {"return_attention_mask": False}, {"padding": False},
            {"padding": "max_length", "max_length": 2}, {"return_tensors": "np"},
        ):  # fmt: skip
            # Theirs changes what it is given.
            copied = [dict(row) for row in encoded] if isinstance(encoded, list) else dict(encoded)
            wanted, found = theirs.pad(copied, **options), tokenizer.pad(encoded, **options)
            assert wanted.keys() == found.keys()
            for name, values in wanted.items():
                same = np.array_equal if isinstance(values, np.ndarray) else operator.eq
                assert same(found[name], values), (name, options)
