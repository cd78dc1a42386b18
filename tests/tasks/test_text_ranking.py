"""Documents ranked for a query: by the scores that text-classification gives each pair."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tolerances import PARITY

import yosort
from tasks.models import TEXTS, make
from yosort import ConfigError, InputError
from yosort.tasks.stream import Failure

QUERY = "which city is the capital"
DOCUMENTS = [*TEXTS, "", "a dog", "A dog barks at the capital of the moon"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of one label."""
    return make(tmp_path_factory.mktemp("r"), "YosoForSequenceClassification", num_labels=1)


@pytest.fixture(scope="module")
def rank(folder: Path) -> Any:
    """Its pipeline."""
    return yosort.pipeline("rerank", folder, device="cpu")


def pair(text: str, other: str) -> dict[str, str]:
    """Return an input of text-classification."""
    return {"text": text, "text_pair": other}


def test_a_score_is_that_of_the_pair_s_label_best_first(folder: Path, rank: Any) -> None:
    ranked = rank(QUERY, DOCUMENTS)
    classify: Any = yosort.pipeline("text-classification", folder, device="cpu")
    scores = [classify(pair(QUERY, text))["score"] for text in DOCUMENTS]
    assert ranked == sorted(
        [{"index": i, "score": s, "text": DOCUMENTS[i]} for i, s in enumerate(scores)],
        key=lambda found: -found["score"],
    )
    assert len({*scores}) == len(scores)
    ids = rank.tokenizer.encoding(QUERY, DOCUMENTS[0]).ids
    (logit,) = rank.model([ids]).logits[0].astype(np.float64)
    assert scores[0] == pytest.approx(1 / (1 + np.exp(-logit)), rel=1e-6)
    raw = rank(QUERY, DOCUMENTS, function_to_apply="none")
    assert [found["index"] for found in raw] == [found["index"] for found in ranked]
    assert {found["index"]: found["score"] for found in raw}[0] == pytest.approx(logit, rel=1e-5)


def test_order_and_batch_mates_change_no_bit_and_equals_keep_their_order(rank: Any) -> None:
    documents = [*DOCUMENTS, *DOCUMENTS]
    ranked = rank(query=QUERY, documents=documents)
    scores = {found["index"]: found["score"] for found in ranked}
    for number, text in enumerate(documents):
        assert rank(QUERY, [text])[0]["score"] == scores[number]
    count = len(DOCUMENTS)
    order = [found["index"] for found in ranked]
    assert all(b == a + count for a, b in zip(order[::2], order[1::2], strict=True))
    turned = rank(QUERY, documents[::-1], batch_tokens=40)
    assert [found["score"] for found in turned] == [found["score"] for found in ranked]
    assert rank(QUERY, documents, top_k=3) == ranked[:3]
    assert rank(QUERY, documents, top_k=99) == ranked


def test_forms_of_input(rank: Any) -> None:
    one = {"query": QUERY, "documents": TEXTS, "id": 7}
    wanted = rank(QUERY, TEXTS)
    assert rank(one) == rank(query=QUERY, documents=iter(TEXTS)) == wanted
    assert rank({"query": QUERY, "documents": np.array(TEXTS)}) == wanted
    assert rank([one, {"query": "dog", "documents": []}]) == [wanted, []]

    def endless() -> Iterator[Any]:
        while True:
            yield one

    assert list(islice(rank(endless(), batch_tokens=50), 2)) == [wanted, wanted]


def test_a_model_of_several_labels_ranks_by_the_one_that_is_named(tmp_path: Path) -> None:
    names = {0: "contradiction", 1: "entailment", 2: "neutral"}
    folder = make(
        tmp_path, "YosoForSequenceClassification", num_labels=3, id2label=names,
        label2id={name: i for i, name in names.items()},
    )  # fmt: skip
    with pytest.raises(
        ConfigError, match=r"label: wanted one of this model's, .* whose score ranks, got none"
    ):
        yosort.pipeline("text-ranking", folder)
    with pytest.raises(ConfigError, match=r"'entailment', 'neutral'.* got 'Entailment'"):
        yosort.pipeline("text-ranking", folder, label="Entailment")
    rank: Any = yosort.pipeline("text-ranking", folder, device="cpu", label="entailment")
    classify: Any = yosort.pipeline("text-classification", folder, device="cpu", top_k=None)
    for options in ({}, {"label": "neutral"}, {"label": "neutral", "function_to_apply": "none"}):
        label = options.get("label", "entailment")
        function = options.get("function_to_apply")
        for found in rank(QUERY, TEXTS, **options):
            labels = classify(pair(QUERY, found["text"]), function_to_apply=function)
            assert found["score"] == {one["label"]: one["score"] for one in labels}[label]


def test_a_regression_s_number_is_the_score(tmp_path: Path) -> None:
    folder = make(
        tmp_path, "YosoForSequenceClassification", num_labels=1, problem_type="regression"
    )
    rank: Any = yosort.pipeline("text-ranking", folder, device="cpu")
    assert rank(QUERY, TEXTS) == rank(QUERY, TEXTS, function_to_apply="none")
    assert rank(QUERY, TEXTS) != rank(QUERY, TEXTS, function_to_apply="sigmoid")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"query": QUERY}, r"wanted a dictionary of query and documents, got \['query'\]"),
        ("text", "wanted a dictionary of query and documents, got str"),
        ({"query": None, "documents": TEXTS}, "query: wanted a text, got None"),
        ({"query": QUERY, "documents": "text"}, "documents: wanted several texts"),
        ({"query": QUERY, "documents": ["a", None]}, r"documents\[1\]: wanted a text, got None"),
        ({"query": QUERY, "documents": [{"text": "a"}]}, r"documents\[0\]: wanted a text, got \{"),
        ({"query": QUERY, "documents": ["a", "word " * 90]}, r"documents\[1\]: text too long: "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_the_error_of_its_query(rank: Any, value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        rank(value)
    good = {"query": QUERY, "documents": TEXTS}
    first, bad, last = rank([good, value, good], on_error="collect")
    assert first == last == rank(good)
    assert isinstance(bad, Failure)


def test_inputs_are_given_once(rank: Any) -> None:
    for given in ({"query": QUERY}, {"documents": TEXTS}):
        with pytest.raises(InputError, match="wanted query and documents, or inputs"):
            rank(**given)
        with pytest.raises(InputError, match="wanted inputs, or query and documents, got both"):
            rank([], **given)


def test_documents_that_are_cut_are_said_so(rank: Any) -> None:
    ranked = rank(QUERY, ["word " * 90], overflow="truncate")
    assert ranked[0]["truncated"]
    kept = rank.tokenizer.encoding(QUERY, "word " * 90, max_tokens=64, strategy="only_second").ids
    (logit,) = rank.model([kept]).logits[0].astype(np.float64)
    (second,) = rank(QUERY, ["word " * 90], truncation="only_second", function_to_apply="none")
    assert second["score"] == pytest.approx(logit, rel=1e-6)


@pytest.mark.parity
def test_scores_are_transformers(folder: Path, rank: Any) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for found in rank(QUERY, TEXTS):
        with torch.no_grad():
            logit = model(**tokenizer(QUERY, found["text"], return_tensors="pt")).logits
        assert found["score"] == pytest.approx(torch.sigmoid(logit).item(), abs=PARITY)
