"""Late pooling: the vectors of parts are those of their tokens, from one reading of the whole."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, pairwise
from typing import Any

import numpy as np
import pytest
from comparing import relative_error

import yosort
from tasks.models import TEXTS, make, make_word_piece, save_unigram
from yosort import InputError
from yosort.tasks import Pipeline
from yosort.tasks.stream import Failure

TEXT = "A dog barks at the moon.  Antidisestablishmentarianism, \U0001f600 is a word"


@pytest.fixture(scope="module")
def embed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A pipeline over a byte-level tokenizer that leaves blanks out of its tokens' places."""
    folder = make(tmp_path_factory.mktemp("e"), "YosoModel", max_position_embeddings=128)
    return yosort.pipeline("feature-extraction", folder, device="cpu", return_tensors=True)


@pytest.fixture(scope="module", params=["byte-level", "wordpiece", "unigram"])
def each(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A pipeline over each kind of tokenizer; Unigram's places hold the blanks before words."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "wordpiece":
        make_word_piece(folder, "YosoModel")
    else:
        make(folder, "YosoModel")
    if request.param == "unigram":
        (folder / "special_tokens_map.json").unlink()
        save_unigram(folder)
    return yosort.pipeline("feature-extraction", folder, device="cpu", return_tensors=True)


def by_hand(embed: Pipeline, text: str, start: int, end: int) -> Any:
    """Return the mean from the first to the last token that has a character of the span."""
    tokens = tokens_in(embed, text, start, end)
    whole = embed(text)[0][tokens[0] : tokens[-1] + 1]
    return whole.mean(axis=0, dtype=np.float64).astype(np.float32)


def tokens_in(embed: Pipeline, text: str, start: int, end: int) -> list[int]:
    """Return the tokens that have a character of a span which is no blank."""
    return [
        token
        for token, (begin, stop) in enumerate(embed.tokenizer.encoding(text).offsets)
        if any(start <= at < end for at in range(begin, stop) if text[at] != " ")
    ]


@pytest.mark.parametrize("text", TEXTS)
def test_spans_are_pooled_from_the_whole_text_s_tokens(each: Any, text: str) -> None:
    ends = [0, *(at for at, letter in enumerate(text) if letter == " "), len(text)]
    spans = [*pairwise(ends), (0, len(text)), (2, 4), (1, 9)]  # overlapping, and within words
    parts = each(text, spans=spans)
    assert [(part["start"], part["end"]) for part in parts] == spans
    for part in parts:
        assert part["vector"].dtype == np.float32
        assert (part["vector"] == by_hand(each, text, part["start"], part["end"])).all()
    # What is beside a part counts: the vector of its text alone is another.
    (alone,) = each(text[slice(*spans[1])].strip(), spans=[(0, spans[1][1] - spans[1][0] - 1)])
    assert relative_error(alone["vector"], parts[1]["vector"]) > 1e-3


@pytest.mark.parametrize("most", [2, 5, 40])
def test_windows_leave_nothing_out_and_end_between_words(each: Any, most: int) -> None:
    text = "In the beginning God created: incomprehensibilities and the earth was without form"
    words = each.tokenizer.encoding(text).word_ids
    parts = each(text, chunks=most)
    between = [text[a["end"] : b["start"]] for a, b in pairwise(parts)]
    assert (parts[0]["start"], parts[-1]["end"], {*between}) == (
        0,
        len(text),
        {*between} & {"", " "},
    )
    inside = [tokens_in(each, text, part["start"], part["end"]) for part in parts]
    assert all(tokens[-1] - tokens[0] < most for tokens in inside)
    for before, after in pairwise(inside):
        if words[before[-1]] == words[after[0]]:  # a word that no window takes
            assert words.count(words[after[0]]) > most
        else:  # the next word would not have fitted
            assert after[0] + words[after[0] :].count(words[after[0]]) - before[0] > most
    again = each(text, spans=parts)
    for part, other in zip(parts, again, strict=True):
        assert (part["vector"] == other["vector"]).all()


def test_windows_of_a_text(embed: Any) -> None:
    def texts(most: int, text: str = TEXT) -> list[str]:
        return [text[part["start"] : part["end"]] for part in embed(text, chunks=most)]

    assert texts(4) == [
        "A dog barks", "at the moon.", "Antidisest", "ablishmentarian", "ism,", "\U0001f600",
        "is a word",
    ]  # fmt: skip
    assert texts(1000) == [TEXT]
    assert texts(1, "\U0001f600") == ["\U0001f600"] * 4  # a token is a byte of it
    assert texts(3, " a  b ") == ["a  b"]


def test_the_tokens_around_a_text_are_of_no_part(each: Any) -> None:
    (part,) = each(TEXTS[1], chunks=60)
    states = each(TEXTS[1])[0]
    assert (part["start"], part["end"]) == (0, len(TEXTS[1]))
    assert relative_error(part["vector"], states[1:-1].mean(axis=0)) < 1e-6
    assert relative_error(part["vector"], states.mean(axis=0)) > 1e-3


@pytest.mark.parametrize("way", ["spans", "chunks"])
def test_batch_mates_change_no_bit(embed: Any, way: str) -> None:
    texts = [" ".join(TEXTS[i % 4].split()[: 1 + i % 9]) for i in range(30)]
    if way == "spans":
        inputs: list[Any] = [{"text": text, "spans": [(0, 1), (0, len(text))]} for text in texts]
        options: dict[str, Any] = {}
    else:
        inputs, options = texts, {"chunks": 3}
    alone = [embed(value, **options) for value in inputs]
    for batch_tokens in (16384, 60):
        together = embed(iter(inputs), batch_tokens=batch_tokens, **options)
        for one, other in zip(alone, together, strict=True):
            assert [(p["start"], p["end"]) for p in one] == [(p["start"], p["end"]) for p in other]
            assert all((a["vector"] == b["vector"]).all() for a, b in zip(one, other, strict=True))


def test_forms_of_spans(embed: Any) -> None:
    wanted = embed(TEXT, spans=[(0, 5), (6, 11)])
    entities = [{"start": 0, "end": 5, "word": "A dog", "score": 0.5}, {"end": 11, "start": 6}]
    for spans in (
        [[0, 5], (6, 11)],
        np.array([[0, 5], [6, 11]]),
        iter([(0, 5), [6, 11]]),
        entities,
    ):
        got = embed(TEXT, spans=spans)
        assert str(got) == str(wanted)
    assert str(embed([TEXT, "A dog"], spans=[entities, [(0, 1)]])[0]) == str(wanted)
    assert str(embed({"text": TEXT, "spans": entities, "id": 3})) == str(wanted)
    mixed = embed(["A dog", {"text": TEXT, "spans": entities}], pooling="mean")
    assert mixed[0].shape == (32,)
    assert str(mixed[1]) == str(wanted)
    assert embed(TEXT, spans=[]) == []
    (listed,) = embed("A dog", spans=[(0, 5)], return_tensors=False)
    assert listed["vector"] == embed("A dog", spans=[(0, 5)])[0]["vector"].tolist()


def test_parts_are_normalised_and_never_of_one_token(embed: Any) -> None:
    for options in ({"spans": [(0, 5), (2, 9)]}, {"chunks": 3}):
        plain, unit = embed(TEXT, **options), embed(TEXT, normalize=True, **options)
        for one, other in zip(plain, unit, strict=True):
            length = np.linalg.norm(one["vector"].astype(np.float64))
            np.testing.assert_allclose(other["vector"], one["vector"] / length, rtol=1e-6)
        for pooling in ("none", "mean"):
            assert str(embed(TEXT, pooling=pooling, **options)) == str(plain)
        with pytest.raises(InputError, match="pooling: wanted 'mean' for the vectors of parts"):
            embed(TEXT, pooling="cls", **options)


def test_inputs_are_read_lazily(embed: Any) -> None:
    def endless() -> Iterator[Any]:
        while True:
            yield {"text": "A dog barks", "spans": [(2, 5)]}

    found = list(islice(embed(endless(), batch_tokens=20), 3))
    assert [len(parts) for parts in found] == [1, 1, 1]


def test_a_text_that_is_cut_says_so_and_keeps_no_part_beyond(embed: Any) -> None:
    text = " ".join(["word"] * 200)
    with pytest.raises(InputError, match="text too long: wanted at most 128 tokens"):
        embed(text, chunks=50)
    with pytest.raises(InputError, match="overflow: wanted 'error' or 'truncate'"):
        embed(text, chunks=50, overflow="stride")
    parts = embed(text, chunks=50, overflow="truncate")
    assert [part["truncated"] for part in parts] == [True] * 3
    assert parts[-1]["end"] == embed.tokenizer.encoding(text, max_tokens=128).offsets[-2][1]
    spans = [(0, 4), (900, 904)]
    with pytest.raises(InputError, match=r"spans\[1\]: wanted .* no token is left of 'word'"):
        embed(text, spans=spans, overflow="truncate")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([(0, 99)], r"spans\[0\]: wanted 0 <= start < end <= 5, the text's length, got \(0, 99\)"),
        ([(0, 1), (3, 2)], r"spans\[1\]: wanted 0 <= start < end"),
        ([(-1, 2)], r"spans\[0\]: wanted 0 <= start"),
        ([(1, 1)], r"spans\[0\]: wanted 0 <= start < end"),
        ([(1, 2)], r"spans\[0\]: wanted one with something to read, .* no token is left of ' '"),
        ([(0, 1.5)], r"spans\[0\]: wanted a pair \(start, end\) of integers"),
        ([(0, True)], r"spans\[0\]: wanted a pair"),
        ([(0, 1, 2)], r"spans\[0\]: wanted a pair"),
        ([{"start": 0}], r"spans\[0\]: wanted a pair"),
        (["ab"], r"spans\[0\]: wanted a pair"),
        ((0, 1), r"spans\[0\]: wanted a pair"),
        ("ab", r"spans: wanted several pairs \(start, end\)"),
        (3, r"spans: wanted several pairs \(start, end\)"),
    ],
)  # fmt: skip
def test_what_is_no_span_is_the_error_of_its_text(embed: Any, value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        embed("A dog", spans=value)
    good, bad, last = embed(
        ["A dog", "A dog", "A cat"], spans=[[(0, 1)], value, [(2, 5)]], on_error="collect"
    )
    assert len(good) == len(last) == 1
    assert isinstance(bad, Failure)
    assert bad.index == 1


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        ("A dog", {"spans": [(0, 1)], "chunks": 3}, "chunks: wanted none beside spans, got 3"),
        ("A dog", {"chunks": 0}, "chunks: wanted an integer of at least 1, got 0"),
        ("", {"chunks": 3}, "wanted a text with something to read"),
        (" ", {"chunks": 3}, "wanted a text with something to read"),
        (["A dog"], {"spans": [(0, 1), (2, 3)]},
         "spans: wanted a list of them for each of 1 texts, got 2"),
        (["A dog"], {"spans": 3}, "spans: wanted a list of them for each of 1 texts, got 3"),
        (iter(["A dog"]), {"spans": [[(0, 1)]]}, "spans: wanted a text beside them, or a list of"),
        ({"text": "A dog", "spans": [(0, 1)]}, {"spans": [(0, 1)]}, "spans: wanted a text beside"),
        ({"text": "A dog"}, {}, "wanted a text, got dict"),
        ({"text": "A dog", "span": [(0, 1)]}, {}, "wanted a text, got dict"),
        ({"text": 3, "spans": [(0, 1)]}, {}, "wanted a text, got int"),
        ({"text": "A dog", "spans": None}, {}, "spans: wanted several pairs"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together(
    embed: Any, inputs: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        embed(inputs, **options)
