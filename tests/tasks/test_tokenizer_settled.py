"""Tokens that are said to be settled are those of every word that begins so: on drawn models."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import examples
from tokenizers import Tokenizer, models

from yosort.tokenizer.settled import Pieces

LETTERS = "abc"
#: "?" is known to no model.
WORDS = st.one_of(
    st.text("abc", max_size=40),
    st.text("ab?", max_size=40),
    st.builds(lambda part, times: part * times, st.text("abc", min_size=1, max_size=4), st.just(9)),
)


@st.composite
def byte_pairs(draw: st.DrawFn) -> models.BPE:
    """A model of drawn merges, in any order, whether training would find them or not."""
    tokens, merges = draw(st.sampled_from([[*LETTERS], [*LETTERS], [*LETTERS, "<unk>"]])), []
    for _ in range(draw(st.integers(0, 8))):
        pair = draw(st.tuples(st.sampled_from(tokens), st.sampled_from(tokens)))
        if len("".join(pair)) <= 6 and pair not in merges:
            merges.append(pair)
            tokens.append("".join(pair))
    merges = draw(st.permutations(merges))
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys([*tokens, "<unk>"]))}
    how = {name: draw(st.booleans()) for name in ("fuse_unk", "byte_fallback", "ignore_merges")}
    unknown = draw(st.sampled_from(["<unk>", None]))
    return models.BPE(vocabulary, merges, unk_token=unknown, **how)


@st.composite
def unigrams(draw: st.DrawFn) -> models.Unigram:
    tokens = draw(st.lists(st.text("abc", min_size=1, max_size=5), max_size=12, unique=True))
    scores = st.integers(-9, -1).map(float)
    return models.Unigram([("<unk>", 0.0), *((token, draw(scores)) for token in tokens)], 0, False)


#: Each pair of neighbours is a token, and the later in the alphabet the sooner it is merged.
CHAIN = models.BPE(
    {token: i for i, token in enumerate([*"tuvwxyz", "yz", "xy", "wx", "vw", "uv"])},
    [("y", "z"), ("x", "y"), ("w", "x"), ("v", "w"), ("u", "v")],
)


@pytest.mark.parametrize(
    ("start", "rest", "settled"),
    [
        ("ttuvwxyz", "", 2),  # "tt" and no more: "uvwxy" would be u vw xy, and "uvwxyz" is uv wx yz
        ("ttuvwxyztt", "", 5),
        ("ttuvwxyt", "", 4),
        ("ttuvwxy", "z", 2),
        ("ttuvwxyttt", "", 6),
        ("ttuvwxy?????", "z", 0),  # what it does not know this model drops
        ("ttuvwxy?z", "", 0),
        ("t", "", 0),
    ],
)
def test_what_a_letter_changes_far_before_it(start: str, rest: str, settled: int) -> None:
    backend = Tokenizer(CHAIN)
    pieces = Pieces.of(backend)
    assert pieces is not None
    assert pieces.count_settled(backend, start, 99) == settled
    assert spelt(CHAIN, start + rest)[:settled] == spelt(CHAIN, start)[:settled]


@pytest.mark.parametrize("unknown", ["<unk>", "<0x3F>"])
def test_what_is_not_known_may_be_merged(unknown: str) -> None:
    """Then a token's letters are not those of the text."""
    tokens = [*"tuvwxy", unknown, f"y{unknown}", "xy", "wx", "vw", "uv"]
    merges = [("y", unknown), ("x", "y"), ("w", "x"), ("v", "w"), ("u", "v")]
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys([*tokens, "<unk>"]))}
    model = models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=unknown != "<unk>")
    backend = Tokenizer(model)
    pieces = Pieces.of(backend)
    assert pieces is not None
    start = "t" * 20 + "uvwxy"
    after = "?" + "t" * (len(unknown) - 1)
    assert spelt(model, start)[20] != spelt(model, start + after)[20]
    assert pieces.count_settled(backend, start + after, 99) == 0


def spelt(model: Any, word: str) -> list[Any]:
    return [(token.id, token.offsets) for token in model.tokenize(word)]


@examples(250, 1500)
def test_settled_tokens_are_those_of_the_whole_word(examples: int) -> None:
    @settings(max_examples=examples)
    @given(st.one_of(byte_pairs(), unigrams()), WORDS, WORDS, st.integers(0, 40))
    def holds(model: Any, start: str, rest: str, enough: int) -> None:
        backend = Tokenizer(model)
        pieces = Pieces.of(backend)
        assert pieces is not None
        count = pieces.count_settled(backend, start, enough)
        assert count <= enough
        assert spelt(model, start + rest)[:count] == spelt(model, start)[:count]
        assert count < len(spelt(model, start)) or not count

    holds()


TOKENS = ["a", "b", "c", "aa", "aaaa", "ab", "abab", "cab"]
BYTE_PAIRS = models.BPE(
    {token: i for i, token in enumerate(TOKENS)},
    [("a", "a"), ("aa", "aa"), ("a", "b"), ("ab", "ab"), ("c", "ab")],
)
UNIGRAM = models.Unigram([("<unk>", 0.0), *((token, -1.0) for token in TOKENS)], 0, False)


@pytest.mark.parametrize(
    ("model", "word"),
    [
        *((BYTE_PAIRS, part * 100) for part in ("a", "ab", "abc", "caab", "aab")),
        *((UNIGRAM, part * 100) for part in ("abc", "caab", "aab")),
    ],
)
def test_most_of_a_long_word_is_settled(model: Any, word: str) -> None:
    """Also where a token of the vocabulary reaches across any place."""
    backend = Tokenizer(model)
    pieces = Pieces.of(backend)
    assert pieces is not None
    assert pieces.count_settled(backend, word, 1_000) >= len(spelt(model, word)) - 8


def test_a_letter_without_end_settles_nothing_of_a_unigram() -> None:
    """Of paths of one weight it takes the first: one more letter changes the first token."""
    assert spelt(UNIGRAM, "a" * 400)[0] != spelt(UNIGRAM, "a" * 401)[0]
    backend = Tokenizer(UNIGRAM)
    pieces = Pieces.of(backend)
    assert pieces is not None
    assert pieces.count_settled(backend, "a" * 400, 9) == 0


@pytest.mark.parametrize(
    "how",
    [{"dropout": 0.1}, {"end_of_word_suffix": "</w>"}, {"continuing_subword_prefix": "##"}],
    ids=str,
)
def test_models_of_which_nothing_is_settled(how: dict[str, Any]) -> None:
    vocabulary = {f"{a}{b}": i for i, (a, b) in enumerate(itertools.product(("", "##"), "ab"))}
    assert Pieces.of(Tokenizer(models.BPE(vocabulary, [], **how))) is None
    unigram = models.Unigram([("<unk>", 0.0), ("a", -1.0)], 0, True)
    assert Pieces.of(Tokenizer(unigram)) is None
    assert Pieces.of(Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1}))) is None
