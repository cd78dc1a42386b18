"""Words and entities: where yosort goes by the tokenizer, and transformers guesses."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import yosort
from tasks.models import ENTITIES, make, save_unigram

LABELS = {"num_labels": 5, "id2label": ENTITIES, "label2id": {v: k for k, v in ENTITIES.items()}}
#: Punctuation is a word of its own to the tokenizer, though no space stands before it.
TEXT = "Moses, Aaron-and-Miriam; went up! (unfathomably) far"


@pytest.fixture(scope="module")
def tag(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A token-classification pipeline."""
    folder = make(tmp_path_factory.mktemp("t"), "YosoForTokenClassification", **LABELS)
    return yosort.pipeline("token-classification", folder)


def test_a_word_is_what_the_tokenizer_took_for_one(tag: Any) -> None:
    encoding = tag.tokenizer.encoding(TEXT)
    tokens = {t["index"]: t for t in tag(TEXT, ignore_labels=[])}
    words = [
        list(group)
        for word, group in groupby(range(len(encoding.ids)), key=lambda i: encoding.word_ids[i])
        if word is not None
    ]
    assert any(len(word) > 1 for word in words)
    # "first" gives a word the label of its first token; neighbours of a label are joined.
    wanted: list[dict[str, Any]] = []
    for word in words:
        label = tokens[word[0]]["entity"]
        kind = label.split("-")[-1]
        if wanted and wanted[-1]["entity_group"] == kind and not label.startswith("B-"):
            wanted[-1]["end"] = encoding.offsets[word[-1]][1]
            continue
        begin, end = encoding.offsets[word[0]][0], encoding.offsets[word[-1]][1]
        wanted.append({"entity_group": kind, "start": begin, "end": end})
    got = tag(TEXT, aggregation_strategy="first", ignore_labels=[])
    assert [{k: e[k] for k in ("entity_group", "start", "end")} for e in got] == wanted


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        (TEXT, {"aggregation_strategy": "mean"}, "aggregation_strategy: wanted one of none"),
        (TEXT, {"stride": 62, "aggregation_strategy": "simple"}, "stride: wanted an integer"),
        (TEXT, {"stride": 4}, "wanted one that joins tokens"),
        (3, {}, "wanted one input or an iterable"),
        ([3], {}, r"inputs\[0\]: wanted a text, got int"),
        (["a", 3], {"is_split_into_words": True}, r"wanted a list of words, got str"),
        ([{"tokens": ["a"]}], {"is_split_into_words": True}, r"of words, got \['tokens'\]"),
        (TEXT, {"ignore_labels": "O"}, "ignore_labels: wanted several labels"),
        (TEXT, {"ignore_labels": [0]}, "ignore_labels: wanted a list of labels"),
        (
            TEXT,
            {"ignore_labels": ["O", "per"]},
            "labels of this model, .*'PER', 'LOC'.*, got 'per'",
        ),
        ("word " * 99, {}, "wanted at most 64 tokens"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_named(
    tag: Any, inputs: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(yosort.InputError, match=message):
        tag(inputs, **options)


def test_a_cut_text_without_entities_is_said_so_too(
    tag: Any, caplog: pytest.LogCaptureFixture
) -> None:
    every = [*ENTITIES.values(), "PER", "LOC"]
    assert tag("word " * 99, overflow="truncate", ignore_labels=every) == []
    assert "cut to 64 tokens" in caplog.text


def test_options_as_transformers_and_numpy_have_them(tag: Any) -> None:
    words = {"is_split_into_words": True, "ignore_labels": []}
    assert tag(["a", "b"], **words, delimiter=None) == tag(["a", "b"], **words)
    assert tag(TEXT, ignore_labels=np.array(["O"])) == tag(TEXT)


def test_neighbours_join_where_their_labels_go_on(tmp_path: Path) -> None:
    found = yosort.pipeline(
        "ner", make(tmp_path / "m", "YosoForTokenClassification", id2label=ENTITIES)
    )
    names = ["B-PER", "I-PER", "I-LOC", "I-LOC", "B-LOC", "I-PER", "PER", "I-PER", "B-PER"]
    entities = [
        {"entity": name, "word": f" {i}", "start": 2 * i, "end": 2 * i + 1,
         "draws": np.array([i / 10])}
        for i, name in enumerate(names)
    ]  # fmt: skip
    groups = found._groups(entities)  # type: ignore[attr-defined]
    assert [(g["entity_group"], g["start"], g["end"]) for g in groups] == [
        ("PER", 0, 3), ("LOC", 4, 7), ("LOC", 8, 9), ("PER", 10, 15), ("PER", 16, 17)
    ]  # fmt: skip
    np.testing.assert_allclose([g["score"] for g in groups], [0.05, 0.25, 0.4, 0.6, 0.8])


@pytest.mark.parametrize("strategy", ["first", "max", "average"])
def test_a_words_label_and_score_by_hand(tag: Any, strategy: str) -> None:
    """Of its first token, of the surest one, or of the mean of all; entities are words' means."""
    encoding = tag.tokenizer.encoding(TEXT)
    powers = np.exp(tag.model([encoding.ids]).logits[0].astype(np.float64))
    likely = powers / powers.sum(axis=1, keepdims=True)
    wanted: list[tuple[str, list[float], int]] = []
    for word, group in groupby(range(len(encoding.ids)), key=lambda i: encoding.word_ids[i]):
        if word is None:
            continue
        of_word = likely[list(group)]
        row = {
            "first": of_word[0],
            "max": of_word[of_word.max(axis=1).argmax()],
            "average": of_word.mean(axis=0),
        }[strategy]
        label = ENTITIES[int(row.argmax())]
        kind = label.split("-")[-1]
        end = max(encoding.word_to_chars(word))
        if wanted and wanted[-1][0] == kind and not label.startswith("B-"):
            wanted[-1] = (kind, [*wanted[-1][1], row.max()], end)
        else:
            wanted.append((kind, [row.max()], end))
    got = tag(TEXT, aggregation_strategy=strategy, ignore_labels=[])
    assert [(e["entity_group"], e["end"]) for e in got] == [(kind, end) for kind, _, end in wanted]
    means = [np.mean(scores) for _, scores, _ in wanted]
    assert [e["score"] for e in got] == pytest.approx(means, rel=1e-4)


@pytest.fixture(scope="module")
def unigram(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose words are never joined, and whose tokenizer puts "▁" before unknown letters."""
    labels = {i: f"B-{i}" for i in range(5)}
    folder = make(tmp_path_factory.mktemp("u"), "YosoForTokenClassification", id2label=labels)
    (folder / "special_tokens_map.json").unlink()
    save_unigram(folder)
    return folder


#: Words of one letter that the tokenizer does not know.
UNKNOWN = "A 中 dog ж barks й"


@pytest.mark.parametrize("strategy", ["first", "average", "max"])
def test_a_space_alone_is_no_part_of_a_word(unigram: Path, strategy: str) -> None:
    tag: Any = yosort.pipeline("ner", unigram)
    assert "▁" in [t["word"] for t in tag(UNKNOWN)]
    letters = {t["start"]: t for t in tag(UNKNOWN) if UNKNOWN[t["start"] : t["end"]] in "中жй"}
    letters = {at: token for at, token in letters.items() if token["start"] < token["end"]}
    words = {w["start"]: w for w in tag(UNKNOWN, aggregation_strategy=strategy)}
    assert len(letters) == 3
    for start, token in letters.items():
        assert words[start]["entity_group"] == token["entity"].removeprefix("B-")
        assert words[start]["score"] == pytest.approx(token["score"])


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("strategy", ["first", "average", "max"])
def test_a_letter_behind_a_space_alone_has_transformers_label(unigram: Path, strategy: str) -> None:
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    theirs = transformers.pipeline("ner", str(unigram), aggregation_strategy=strategy)(UNKNOWN)
    ours: Any = yosort.pipeline("ner", unigram, aggregation_strategy=strategy)(UNKNOWN)
    for end in (UNKNOWN.index(letter) + 1 for letter in "中жй"):
        (own,), (other,) = ([w for w in found if w["end"] == end] for found in (ours, theirs))
        assert own["entity_group"] == other["entity_group"]
        assert own["score"] == pytest.approx(float(other["score"]), abs=1e-5)
