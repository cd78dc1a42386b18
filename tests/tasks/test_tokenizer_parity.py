"""Drawn texts and options through our tokenizer and transformers', over the same folders."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.models import save_unigram, save_word_piece
from yosort import InputError, Tokenizer
from yosort.tasks import bundled_model

transformers = pytest.importorskip("transformers")
pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

KINDS = ("byte_level", "word_piece", "unigram")
Pair = tuple[Tokenizer, Any]

WORDS = ["the", "quick", "brown", "fox", "Paris", "is", "capital", "(;!,)", "naïve", "😀", "a", "é"]
SPECIAL = ["<mask>", "[MASK]", "</s>", "[SEP]"]
word = st.sampled_from([*WORDS, *SPECIAL]) | st.text(max_size=4).filter(
    lambda s: not any("\ud800" <= c <= "\udfff" for c in s)
)
text = st.lists(word, max_size=12).map(" ".join) | st.lists(word, max_size=8).map("  ".join)
words = st.lists(word.filter(bool), min_size=1, max_size=10)


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    """Ours and transformers' of each kind."""
    root = tmp_path_factory.mktemp("tokenizers")
    byte_level = root / "byte_level"
    byte_level.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(bundled_model() / name, byte_level)
    save_word_piece(root / "word_piece")
    save_unigram(root / "unigram")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            kind: (
                Tokenizer.from_pretrained(root / kind),
                transformers.AutoTokenizer.from_pretrained(str(root / kind)),
            )
            for kind in KINDS
        }


@st.composite
def calls(draw: st.DrawFn) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Draw the arguments of a call: texts, then options, each given or not."""
    split = draw(st.booleans())
    one = words if split else text
    several = draw(st.booleans())
    first = draw(st.lists(one, min_size=1, max_size=3) if several else one)
    inputs: tuple[Any, ...] = (first,)
    if draw(st.booleans()):
        size = len(first)
        inputs += (draw(st.lists(one, min_size=size, max_size=size) if several else one),)
    options: dict[str, Any] = {"is_split_into_words": True} if split else {}
    choices: dict[str, st.SearchStrategy[Any]] = {
        "add_special_tokens": st.booleans(),
        "padding": st.sampled_from([True, False, "longest", "max_length", "do_not_pad"]),
        "truncation": st.sampled_from(
            [True, False, "longest_first", "only_first", "only_second", "do_not_truncate"]
        ),
        "max_length": st.integers(5, 14),
        "stride": st.integers(0, 2),
        "pad_to_multiple_of": st.sampled_from([1, 4]),
        "padding_side": st.sampled_from(["left", "right"]),
        "return_token_type_ids": st.booleans(),
        "return_attention_mask": st.booleans(),
        "return_overflowing_tokens": st.booleans(),
        "return_special_tokens_mask": st.booleans(),
        "return_offsets_mapping": st.booleans(),
        "return_length": st.booleans(),
        "split_special_tokens": st.booleans(),
        "return_tensors": st.just("np"),
    }
    for name, values in choices.items():
        if draw(st.booleans()):
            options[name] = draw(values)
    return inputs, options


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=250, suppress_health_check=list(HealthCheck))
@given(call=calls())
def test_calls(tokenizers: dict[str, Pair], kind: str, call: tuple[Any, dict[str, Any]]) -> None:
    ours, theirs = tokenizers[kind]
    inputs, options = call
    try:
        wanted = theirs(*inputs, **options)
    except BaseException as error:  # tokenizers panics where a stride is too large
        if isinstance(error, KeyboardInterrupt):
            raise
        with pytest.raises(InputError):
            ours(*inputs, **options)
        return
    if "return_tensors" in options and len({len(row) for row in wanted["input_ids"]}) > 1:
        # Where transformers makes an array of objects, which no model takes.
        with pytest.raises(InputError, match="padding=True fills the short ones up"):
            ours(*inputs, **options)
        return
    found = ours(*inputs, **options)
    assert list(found.keys()) == list(wanted.keys())
    for name in wanted:
        if "return_tensors" in options:
            assert found[name].dtype == np.int64
            np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)
        else:
            assert found[name] == wanted[name], name
    for i in range(len(found.encodings or ())):
        assert found.tokens(i) == wanted.tokens(i)
        assert found.word_ids(i) == wanted.word_ids(i)
        assert found.sequence_ids(i) == wanted.sequence_ids(i)
        for token in range(len(found.tokens(i))):
            assert found.token_to_chars(i, token) == wanted.token_to_chars(i, token)
            assert found.token_to_word(i, token) == wanted.token_to_word(i, token)
        for char in range(6):
            assert found.char_to_token(i, char) == wanted.char_to_token(i, char)
    ids = found["input_ids"]
    for skip in (True, False):
        assert ours.decode(ids, skip_special_tokens=skip) == theirs.decode(
            ids, skip_special_tokens=skip
        )


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(inputs=st.tuples(text) | st.tuples(text, text), length=st.integers(4, 12))
def test_sides_of_the_tokenizer(
    tokenizers: dict[str, Pair], kind: str, side: str, inputs: Any, length: int
) -> None:
    ours, theirs = tokenizers[kind]
    for tokenizer in (ours, theirs):
        tokenizer.padding_side = tokenizer.truncation_side = side
    options = {"truncation": True, "padding": "max_length", "max_length": length}
    try:
        assert ours(*inputs, **options).data == theirs(*inputs, **options).data
    finally:
        for tokenizer in (ours, theirs):
            tokenizer.padding_side = tokenizer.truncation_side = "right"


@pytest.mark.parametrize("kind", KINDS)
def test_names_and_numbers(tokenizers: dict[str, Pair], kind: str) -> None:
    ours, theirs = tokenizers[kind]
    for role in ("bos", "eos", "pad", "unk", "cls", "sep", "mask"):
        for name in (f"{role}_token", f"{role}_token_id"):
            assert getattr(ours, name) == getattr(theirs, name), name
    for name in ("vocab_size", "model_max_length", "padding_side", "truncation_side", "is_fast"):
        if hasattr(ours, name):
            assert getattr(ours, name) == getattr(theirs, name), name
    assert len(ours) == len(theirs)
    assert ours.get_vocab() == theirs.get_vocab()
    assert ours.all_special_ids == theirs.all_special_ids
    assert ours.all_special_tokens == theirs.all_special_tokens
    assert ours.special_tokens_map == dict(theirs.special_tokens_map)
    ids = [0, 3, 7, 2]
    assert ours.convert_ids_to_tokens(ids) == theirs.convert_ids_to_tokens(ids)
    assert ours.convert_ids_to_tokens(7) == theirs.convert_ids_to_tokens(7)
    tokens = ours.convert_ids_to_tokens(ids)
    assert ours.convert_tokens_to_ids(tokens) == theirs.convert_tokens_to_ids(tokens)
    assert ours.convert_tokens_to_ids("no such token") == theirs.convert_tokens_to_ids(
        "no such token"
    )
    assert ours.tokenize("the quick fox") == theirs.tokenize("the quick fox")
    assert ours.encode("the fox", "the dog") == theirs.encode("the fox", "the dog")
    assert ours.num_special_tokens_to_add(pair=True) == theirs.num_special_tokens_to_add(pair=True)
    batch = [[0, 5, 6], [7, 8]]
    assert ours.batch_decode(batch) == theirs.batch_decode(batch)


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_tokenizer_is_read_by_transformers(
    tokenizers: dict[str, Pair], kind: str, tmp_path: Path
) -> None:
    ours, _ = tokenizers[kind]
    ours.save_pretrained(tmp_path)
    options = {"padding": "max_length", "max_length": 16}
    wanted = ours("the fox", "a dog", **options).data
    for reader in (Tokenizer, transformers.AutoTokenizer):
        tokenizer = reader.from_pretrained(tmp_path)
        assert dict(tokenizer("the fox", "a dog", **options)) == wanted
        assert tokenizer.special_tokens_map == ours.special_tokens_map
        assert tokenizer.model_max_length == ours.model_max_length


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("clean", [None, True, False])
def test_spaces_are_cleaned_up(tokenizers: dict[str, Pair], kind: str, clean: bool | None) -> None:
    ours, theirs = tokenizers[kind]
    ids = theirs("the fox is n't , the dog 's .")["input_ids"]
    options = {"clean_up_tokenization_spaces": clean}
    assert ours.decode(ids, **options) == theirs.decode(ids, **options)
    assert ours.decode([ids, ids], **options) == theirs.decode([ids, ids], **options)
    assert ours.batch_decode([ids], **options) == theirs.batch_decode([ids], **options)
