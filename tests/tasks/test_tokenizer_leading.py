"""What is cut off a long text is not tokenized, and changes nothing of what is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

import yosort
from tasks.models import save_unigram, save_word_piece
from yosort.tasks import bundled_model
from yosort.tokenizer import Tokenizer
from yosort.tokenizer import leading as module
from yosort.tokenizer.leading import leading

#: Words, blanks, marks and special tokens, as many as a drawn text has letters and more.
PARTS = st.sampled_from(
    [
        *("fox", "a", "don't", "naïve", "x", "好", "的人", "🙂", "c\u0327", "42", "...", "B", "▁"),
        *("<mask>", "</s>", "[MASK]", "\n", "\t", "'s", "'", "\u3164", "\u0e01\u0e33", "ｶﾞ"),
        *("\u00a0", "  "),
    ]
)
SPACES = st.sampled_from([" ", " ", " ", "", "  ", "\n"])


@st.composite
def texts(draw: st.DrawFn) -> str:
    parts = draw(st.lists(st.tuples(PARTS, SPACES), min_size=1, max_size=60))
    return "".join(a + b for a, b in parts) * draw(st.integers(1, 3))


@pytest.fixture(scope="module", params=["byte-bpe", "word-piece", "unigram"])
def tokenizer(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Tokenizer:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "byte-bpe":
        return Tokenizer.from_pretrained(bundled_model())
    {"word-piece": save_word_piece, "unigram": save_unigram}[request.param](folder)
    return Tokenizer.from_pretrained(folder, truncation_side="right")


def cut_or_error(tokenizer: Tokenizer, text: Any, pair: Any, most: int, strategy: str) -> Any:
    try:
        return tokenizer.encoding(text, pair, max_tokens=most, strategy=strategy)
    except yosort.InputError as error:
        return str(error)


@settings(max_examples=300)
@given(
    text=texts(),
    pair=st.one_of(st.none(), texts()),
    most=st.integers(2, 30),
    words=st.booleans(),
    strategy=st.sampled_from(["longest_first", "only_first", "only_second"]),
)
def test_what_is_kept_is_that_of_the_whole(
    tokenizer: Tokenizer, text: str, pair: str | None, most: int, words: bool, strategy: str
) -> None:
    """Ids, offsets and words, with the text cut as early as it may be."""
    given_, second = (text.split(" "), pair and pair.split(" ")) if words else (text, pair)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_LETTERS", 1)
        patch.setattr(module, "_MORE", 1)
        short = tokenizer.leading(given_, second, max_tokens=most, strategy=strategy)
    whole, kept = (
        cut_or_error(tokenizer, *both, most, strategy) for both in ((given_, second), short)
    )
    if isinstance(whole, str) or isinstance(kept, str):
        assert whole == kept
        return
    for column in ("ids", "type_ids", "offsets", "word_ids", "sequence_ids", "special_tokens_mask"):
        assert getattr(kept, column) == getattr(whole, column), column
    assert bool(kept.overflowing) == bool(whole.overflowing)


def test_a_long_text_is_not_tokenized_to_its_end(tokenizer: Tokenizer) -> None:
    text = "the quick brown fox " * 20_000
    short, none = tokenizer.leading(text, max_tokens=64)
    assert none is None
    assert text.startswith(short)
    assert 64 < len(tokenizer.encoding(short)) < 5_000
    words, _ = tokenizer.leading(text.split(), max_tokens=64)
    assert words == text.split()[: len(words)]
    assert 64 < len(tokenizer.encoding(words)) < 5_000
    assert tokenizer("a fox " * 9, max_length=8)["input_ids"] == tokenizer.encode(
        "a fox " * 900_000, max_length=8
    )


def test_a_text_with_spaces_in_its_tokens_is_taken_whole(tokenizer: Tokenizer) -> None:
    """Where words may hold spaces, nothing says where one ends."""
    backend = tokenizer.backend
    copy = type(backend).from_str(backend.to_str())
    text = "the fox " * 2_000
    assert len(leading(copy, text, 8)) < 1_000
    copy.add_tokens(["fox the"])
    assert leading(copy, text, 8) == text
    other = type(backend).from_str(backend.to_str())
    other.pre_tokenizer = pre_tokenizers.Metaspace(split=False)
    assert leading(other, text, 8) == text


def test_the_left_is_cut_with_all_before_it(tmp_path: Path) -> None:
    """Words and letters count from the beginning."""
    save_word_piece(tmp_path)
    tokenizer = Tokenizer.from_pretrained(tmp_path, truncation_side="left")
    text = "the fox " * 4_000 + "the dog"
    assert tokenizer.leading(text, max_tokens=8) == (text, None)
    kept = tokenizer.encoding(text, max_tokens=6)
    assert kept.tokens[-3:] == ["the", "dog", "[SEP]"]
    assert text[slice(*kept.offsets[-2])] == "dog"
