"""What a tokenizer makes of its arguments: lengths, samples, padding, ids and their texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import yosort
from yosort import InputError
from yosort.tasks import bundled_model
from yosort.tokenizer.arguments import (
    LARGE,
    LONGEST,
    UNLIMITED,
    Cut,
    Pad,
    Sample,
    check_tensors,
    read_lengths,
    read_samples,
)

LENGTHS: dict[str, Any] = {
    "padding": False, "truncation": None, "max_length": None, "stride": 0,
    "pad_to_multiple_of": None, "padding_side": "right", "truncation_side": "left",
    "model_max_length": 50,
}  # fmt: skip
CUT = Cut(9, 0, "longest_first", "left")


@pytest.mark.parametrize(
    ("given", "pad", "cut", "limit"),
    [
        ({}, None, None, None),
        ({"max_length": 9}, None, CUT, 9),
        ({"max_length": 9, "truncation": False}, None, None, 9),
        ({"max_length": 9, "truncation": "do_not_truncate"}, None, None, 9),
        ({"max_length": 9, "padding": True}, Pad(None, None, "right"), None, 9),
        ({"max_length": 9, "padding": "max_length"}, Pad(9, None, "right"), None, 9),
        ({"max_length": 9, "padding": "do_not_pad"}, None, None, 9),
        ({"truncation": True}, None, Cut(50, 0, "longest_first", "left"), 50),
        ({"truncation": "only_second", "max_length": 9, "stride": 2}, None,
         Cut(9, 2, "only_second", "left"), 9),
        ({"truncation": "only_first", "max_length": 0}, None, Cut(0, 0, "only_first", "left"), 0),
        ({"padding": "longest"}, Pad(None, None, "right"), None, None),
        ({"padding": "max_length"}, Pad(50, None, "right"), None, 50),
        # Where the model has no limit of its own there is none to cut or to fill up to.
        ({"padding": "max_length", "model_max_length": UNLIMITED}, None, None, None),
        ({"padding": True, "truncation": True, "model_max_length": UNLIMITED},
         Pad(None, None, "right"), None, None),
        ({"truncation": True, "model_max_length": LARGE}, None,
         Cut(LARGE, 0, "longest_first", "left"), LARGE),
        ({"truncation": True, "model_max_length": LARGE + 1}, None, None, None),
        ({"padding": True, "pad_to_multiple_of": 8, "padding_side": "left"},
         Pad(None, 8, "left"), None, None),
        ({"padding": True, "truncation": True, "pad_to_multiple_of": 3, "max_length": 9},
         Pad(None, 3, "right"), CUT, 9),
        ({"max_length": 9, "truncation": True, "pad_to_multiple_of": 2}, None, CUT, 9),
        ({"max_length": 9, "padding": True, "pad_to_multiple_of": 2}, Pad(None, 2, "right"),
         None, 9),
    ],
)  # fmt: skip
def test_how_long_texts_become(given: dict[str, Any], pad: Any, cut: Any, limit: Any) -> None:
    assert read_lengths(**{**LENGTHS, **given}) == (pad, cut, limit)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"max_length": -1}, "max_length: wanted"), ({"stride": -1}, "stride: wanted"),
        ({"pad_to_multiple_of": 0}, "pad_to_multiple_of: wanted"),
        ({"padding": "most"}, "padding: wanted True, False or one of longest, max_length, do_not_"),
        ({"padding": 1}, "padding: wanted"), ({"truncation": 0}, "truncation: wanted"),
        ({"truncation": "longest"}, "truncation: wanted True, False or one of longest_first, only"),
        ({"padding_side": "up"}, "padding_side: wanted"),
        ({"truncation_side": "up"}, "truncation_side: wanted"),
        ({"max_length": 9, "padding": True, "truncation": True, "pad_to_multiple_of": 2},
         r"max_length: wanted a multiple of pad_to_multiple_of \(2\) .* got 9"),
    ],
)  # fmt: skip
def test_lengths_that_cannot_be(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_lengths(**{**LENGTHS, **given})


def test_the_length_that_is_filled_up_to() -> None:
    assert [Pad(None, None, "right").target(n) for n in (0, 7)] == [0, 7]
    assert [Pad(None, 4, "right").target(n) for n in (0, 1, 4, 5)] == [0, 4, 4, 8]
    assert [Pad(5, None, "right").target(7), Pad(5, 4, "right").target(7)] == [5, 8]
    assert Pad(LONGEST, None, "right").target(1) == LONGEST == 1 << 22
    with pytest.raises(InputError, match="at most 4,194,304 tokens to pad to, got 4,194,305"):
        Pad(LONGEST + 1, None, "right").target(1)


@pytest.mark.parametrize(
    ("text", "pair", "words", "wanted", "several"),
    [
        ("a", None, False, [("a", None)], False), ("a", "b", False, [("a", "b")], False),
        ("a", "", False, [("a", None)], False), ("a", [], False, [("a", None)], False),
        ("", None, False, [("", None)], False),
        (["a", "b"], None, False, [("a", None), ("b", None)], True),
        (["a", "b"], ["c", ""], False, [("a", "c"), ("b", "")], True),
        ([("a", "b"), ["c", "d"]], None, False, [("a", "b"), ("c", "d")], True),
        (["a", "b"], None, True, [(["a", "b"], None)], False),
        (("a",), ("b", "c"), True, [(["a"], ["b", "c"])], False),
        ([], None, True, [([], None)], False),
        ([["a"], ["b", "c"]], None, True, [(["a"], None), (["b", "c"], None)], True),
        ([["a"]], [["b"]], True, [(["a"], ["b"])], True),
        ([(["a"], ["b"])], None, True, [(["a"], ["b"])], True),
    ],
)  # fmt: skip
def test_texts_pairs_and_words(
    text: Any, pair: Any, words: bool, wanted: list[Any], several: bool
) -> None:
    assert read_samples(text, pair, words=words) == ([Sample(*one) for one in wanted], several)


@pytest.mark.parametrize(
    ("text", "pair", "words", "message"),
    [
        (b"a", None, False, "text: wanted a text or a list of texts, got b'a': was it read as byt"),
        (iter("a"), None, False, r"text: wanted .*; list\(...\) makes a list"),
        ({"a": 1}, None, False, r"^text: wanted a text or a list of texts, got (?!.*list\()"),
        (3, None, False, r"^text: wanted a text or a list of texts, got 3$"),
        ([], None, False, "text: wanted at least one text, got an empty list"),
        (["a", 3], None, False, r"text\[1\]: wanted a text, got 3"),
        (["a", ["b"]], None, False, r"text\[1\]: wanted a text.*is_split_into_words=True takes"),
        (["a", ("b", 3)], None, False, r"text\[1\]\[1\]: wanted a text, got 3"),
        (["a", (3, "b")], None, False, r"text\[1\]\[0\]: wanted a text, got 3"),
        (["a", ("b", "c", "d")], None, False, r"text\[1\]: wanted a text"),
        (["a", "b"], ["c"], False, "text_pair: wanted a list of 2 texts"),
        (["a", "b"], "c", False, "text_pair: wanted a list of 2 texts"),
        (["a", "b"], ["c", None], False, r"text_pair\[1\]: wanted a text, got None"),
        (["a", "b"], ["c", 3], False, r"text_pair\[1\]: wanted a text, got 3"),
        (["a", 3], ["c", "d"], False, r"text\[1\]: wanted a text, got 3"),
        ("a", 3, False, "text_pair: wanted a text, got 3"),
        ("a", None, True, r"text: wanted a list of words \(is_split_into_words=True\), got 'a'"),
        (["a", 3], None, True, "text: wanted a list of words"),
        ([["a"], "b"], None, True, r"text\[1\]: wanted a list of words"),
    ],
)  # fmt: skip
def test_what_is_no_text(text: Any, pair: Any, words: bool, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_samples(text, pair, words=words)


def test_arrays_of_other_frameworks_are_refused_with_what_to_do() -> None:
    assert [check_tensors(kind) for kind in (None, "np", "cp")] == [None, "np", "cp"]
    for kind, hint in (("pt", "torch.from_numpy"), ("tf", "TensorFlow"), ("jax", "JAX"),
                       ("mlx", "mlx.core.array")):  # fmt: skip
        with pytest.raises(InputError, match=f"return_tensors: wanted None.*{kind}.*{hint}"):
            check_tensors(kind)
    for odd in ("numpy", 1, True, ["np"]):
        with pytest.raises(InputError, match="return_tensors: wanted None, 'np' or 'cp', got"):
            check_tensors(odd)


@pytest.fixture(scope="module")
def tokenizer() -> yosort.Tokenizer:
    return yosort.Tokenizer.from_pretrained(bundled_model())


def test_encoded_texts_are_filled_up_by_their_kind(tokenizer: yosort.Tokenizer) -> None:
    rows = {
        "input_ids": [[5, 6, 7], [8]], "token_type_ids": [[0, 1, 1], [0]],
        "special_tokens_mask": [[1, 0, 1], [0]], "labels": [3, 4],
    }  # fmt: skip
    pad = tokenizer.pad_token_id
    found = tokenizer.pad(rows)
    assert dict(found) == {
        "input_ids": [[5, 6, 7], [8, pad, pad]], "token_type_ids": [[0, 1, 1], [0, 0, 0]],
        "special_tokens_mask": [[1, 0, 1], [0, 1, 1]], "labels": [3, 4],
        "attention_mask": [[1, 1, 1], [1, 0, 0]],
    }  # fmt: skip
    found = tokenizer.pad(rows, pad_to_multiple_of=4, padding_side="left")
    assert found["input_ids"] == [[pad, 5, 6, 7], [pad, pad, pad, 8]]
    assert found["attention_mask"] == [[0, 1, 1, 1], [0, 0, 0, 1]]
    one = tokenizer.pad({"input_ids": [5, 6]}, padding="max_length", max_length=4)
    assert dict(one) == {"input_ids": [5, 6, pad, pad], "attention_mask": [1, 1, 0, 0]}
    assert dict(tokenizer.pad({"input_ids": [5]}, return_attention_mask=False)) == {
        "input_ids": [5]
    }
    assert tokenizer.pad(rows, padding=False)["input_ids"] == rows["input_ids"]
    listed = [{"input_ids": [5, 6, 7], "label": 1}, {"input_ids": [8], "label": 2}]
    assert tokenizer.pad(listed)["label"] == [1, 2]
    for arrays in (
        tokenizer.pad(listed, return_tensors="np"),
        tokenizer.pad([{"input_ids": np.array(row["input_ids"])} for row in listed]),
    ):
        assert isinstance(arrays["input_ids"], np.ndarray)
        assert arrays["input_ids"].tolist() == [[5, 6, 7], [8, pad, pad]]
        assert arrays["input_ids"].dtype == np.int64
    assert tokenizer.pad({"input_ids": np.array([5, 6])})["attention_mask"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        ({}, "encoded_inputs: wanted texts with input_ids"),
        ([], "encoded_inputs: wanted texts with input_ids"),
        ({"input_ids": []}, "encoded_inputs: wanted texts with input_ids"),
        ({"input_ids": 3}, "encoded_inputs: wanted texts with input_ids"), ("a", "encoded_inputs"),
        ([{"input_ids": [1]}, {"ids": [1]}], r"encoded_inputs\[1\]: wanted input_ids, as the"),
        ({"input_ids": [[1], 3]}, r"input_ids\[1\]: wanted a list of token ids"),
        ({"input_ids": [[1], ["a"]]}, r"input_ids\[1\]: wanted a list of token ids"),
        ({"input_ids": [[1], [2]], "labels": [1]}, "labels: wanted a list of 2"),
        ({"input_ids": [[1], [2]], "attention_mask": [[1], [1, 1]]}, r"mask\[1\]: wanted a list"),
        ({"input_ids": [1, 2], "token_type_ids": [0]}, r"token_type_ids\[0\]: wanted a list of 2"),
    ],
)  # fmt: skip
def test_what_cannot_be_filled_up(encoded: Any, message: str, tokenizer: yosort.Tokenizer) -> None:
    with pytest.raises(InputError, match=message):
        tokenizer.pad(encoded)


def test_ids_and_tokens_and_their_text(tokenizer: yosort.Tokenizer) -> None:
    text = "the dog , it 's here !"
    ids = tokenizer.encode(text)
    begin, end, unknown = tokenizer.cls_token, tokenizer.sep_token, tokenizer.unk_token_id
    tokens = tokenizer.convert_ids_to_tokens(ids)
    assert (tokens[0], tokens[-1]) == (begin, end)
    assert tokenizer.convert_ids_to_tokens(ids, True) == tokens[1:-1] == tokenizer.tokenize(text)
    assert tokenizer.convert_ids_to_tokens(np.array(ids)) == tokens
    assert tokenizer.convert_ids_to_tokens(ids[0]) == begin
    assert tokenizer.convert_ids_to_tokens([10**6]) == [None]
    assert tokenizer.convert_tokens_to_ids(tokens) == ids
    assert tokenizer.convert_tokens_to_ids(begin) == ids[0]
    assert tokenizer.convert_tokens_to_ids(["no such token"]) == [unknown]
    assert tokenizer.token_id("no such token") is None
    assert tokenizer.get_special_tokens_mask(ids, already_has_special_tokens=True) == [
        1, *[0] * (len(ids) - 2), 1,
    ]  # fmt: skip
    skip: dict[str, Any] = {"skip_special_tokens": True}
    plain, clean = tokenizer.decode(ids, **skip), text.replace(" ,", ",").replace(" 's", "'s")
    assert plain.strip() == text
    cleaned = tokenizer.decode(ids, **skip, clean_up_tokenization_spaces=True)
    assert cleaned.strip() == clean.replace(" !", "!")
    assert tokenizer.decode([ids, ids[:3]], **skip) == tokenizer.batch_decode(
        [ids, ids[:3]], **skip
    )
    assert tokenizer.decode(np.array([ids, ids]), **skip) == [plain, plain]
    assert tokenizer.decode(ids[0]) == begin
    assert tokenizer.batch_decode(ids, **skip) == [plain]
    assert tokenizer.join(tokens[1:-1]) == tokenizer.convert_tokens_to_string(tokens[1:-1]) == plain
    for bad in (-1, 1 << 32, 1.0, "a", None, [1, "a"], True):
        with pytest.raises(InputError, match="token_ids: wanted a list of token ids"):
            tokenizer.decode(bad)


def test_the_tokens_by_role(tokenizer: yosort.Tokenizer) -> None:
    roles = tokenizer.special_tokens_map
    assert roles["mask_token"] == "<mask>"
    assert list(roles) == [name for name in (
        "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
    ) if name in roles]  # fmt: skip
    assert tokenizer.all_special_ids == [
        tokenizer.token_id(t) for t in tokenizer.all_special_tokens
    ]
    assert len(set(tokenizer.all_special_tokens)) == len(tokenizer.all_special_tokens)
    for role, token in roles.items():
        assert getattr(tokenizer, role) == token
        assert getattr(tokenizer, f"{role}_id") == tokenizer.id_of(role) == tokenizer.vocab[token]
    assert len(tokenizer) == len(tokenizer.get_vocab()) >= tokenizer.vocab_size
    assert bool(tokenizer)
    added = tokenizer.added_tokens_decoder
    assert list(added) == sorted(added)
    assert tokenizer.get_added_vocab() == tokenizer.added_tokens_encoder == {
        token.content: place for place, token in added.items()
    }  # fmt: skip
    with pytest.raises(InputError, match="this model's tokenizer has no 'no_token'"):
        tokenizer.id_of("no_token")
    with pytest.raises(InputError, match="mask_token_id: wanted the id of a token, got -1"):
        tokenizer.mask_token_id = -1
