"""Every option of every pipeline against transformers live: keys, types, order, spans, scores.

Models have random weights, large enough for answers that differ clearly, and real tokenizers: the
bundled byte-level BPE, and a WordPiece, whose subwords transformers knows from their "##".
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tolerances import SCORE

import yosort
from tasks.models import ENTITIES, TEXTS, make, make_word_piece

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore"),
]
LABELS = {"num_labels": 5, "id2label": ENTITIES, "label2id": {v: k for k, v in ENTITIES.items()}}
Pair = tuple[Any, Any]


def pair(task: str, folder: Path) -> Pair:
    """Return our pipeline and transformers' over the same folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = transformers.pipeline(task, str(folder), device="cpu")
    return yosort.pipeline(task, folder, attention="expectation"), theirs


def assert_same(ours: Any, theirs: Any) -> None:
    """Compare nested results: types, keys and their order exactly, numbers within SCORE."""
    if isinstance(theirs, dict):
        assert isinstance(ours, dict)
        assert list(ours) == list(theirs)
        for key in theirs:
            assert_same(ours[key], theirs[key])
    elif isinstance(theirs, (list, tuple)):
        assert isinstance(ours, list)
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            assert_same(a, b)
    elif isinstance(theirs, (float, np.floating)):
        assert isinstance(ours, float)
        assert ours == pytest.approx(float(theirs), rel=SCORE, abs=1e-6)
    else:
        assert type(ours) is type(theirs)
        assert ours == theirs


# --- fill-mask


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Both fill-mask pipelines."""
    return pair("fill-mask", make(tmp_path_factory.mktemp("m"), "YosoForMaskedLM"))


@pytest.mark.parametrize("options", [{}, {"top_k": 1}, {"top_k": 3}, {"top_k": 100}], ids=str)
@pytest.mark.parametrize(
    "text", ["Paris is the <mask> of France.", "<mask>", "Café 😀 c\u0327 <mask>", "a<mask>b"]
)
def test_fill_mask_top_k(masked: Pair, text: str, options: dict[str, Any]) -> None:
    ours, theirs = masked
    assert_same(ours(text, **options), theirs(text, **options))


def test_fill_mask_several_masks(masked: Pair) -> None:
    ours, theirs = masked
    text = "A <mask> barks at the <mask> of <mask>."
    assert_same(ours(text, top_k=2), theirs(text, top_k=2))


def test_fill_mask_several_texts(masked: Pair) -> None:
    ours, theirs = masked
    texts = ["A <mask> barks.", "Go to <mask> and <mask>.", "<mask>"]
    assert_same(ours(texts), theirs(texts))
    assert_same(ours(texts[:1]), theirs(texts[:1]))


@pytest.mark.parametrize("top_k", [2, 9])
@pytest.mark.parametrize("targets", ["city", ["dog", "city", "France"]], ids=str)
def test_fill_mask_targets(masked: Pair, targets: Any, top_k: int) -> None:
    ours, theirs = masked
    # Spelled as tokens for transformers, which does not try the leading space.
    words = [targets] if isinstance(targets, str) else targets
    spelled = [f"Ġ{word}" for word in words]
    for text in ("A <mask> barks.", "A <mask> barks at the <mask>."):
        wanted = theirs(text, targets=spelled, top_k=top_k)
        assert_same(ours(text, targets=targets, top_k=top_k), wanted)
        assert_same(ours(text, targets=spelled, top_k=top_k), wanted)


# --- text-classification


PROBLEMS: dict[str, dict[str, Any]] = {
    "three": {"num_labels": 3},
    "one": {"num_labels": 1},
    "regression": {"num_labels": 1, "problem_type": "regression"},
    "regressions": {"num_labels": 3, "problem_type": "regression"},
    "multi-label": {"num_labels": 4, "problem_type": "multi_label_classification"},
    "named": {"num_labels": 2, "id2label": {0: "NO", 1: "YES"}, "label2id": {"NO": 0, "YES": 1}},
}


@pytest.fixture(scope="module", params=list(PROBLEMS))
def classifying(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Both text-classification pipelines, a kind of problem each."""
    folder = tmp_path_factory.mktemp("c")
    make(folder, "YosoForSequenceClassification", **PROBLEMS[request.param])
    return pair("text-classification", folder)


@pytest.mark.parametrize("options", [{}, *({"top_k": k} for k in (1, 2, 99, None))], ids=str)
def test_text_classification_top_k(classifying: Pair, options: dict[str, Any]) -> None:
    ours, theirs = classifying
    assert_same(ours(TEXTS[0], **options), theirs(TEXTS[0], **options))
    assert_same(ours(TEXTS, **options), theirs(TEXTS, **options))
    assert_same(ours(TEXTS[:1], **options), theirs(TEXTS[:1], **options))


@pytest.mark.parametrize("function", ["softmax", "sigmoid", "none"])
def test_text_classification_function_to_apply(classifying: Pair, function: str) -> None:
    ours, theirs = classifying
    options = {"function_to_apply": function, "top_k": None}
    assert_same(ours(TEXTS[0], **options), theirs(TEXTS[0], **options))


@pytest.mark.parametrize("options", [{}, {"top_k": 2}], ids=str)
def test_text_classification_of_pairs(classifying: Pair, options: dict[str, Any]) -> None:
    ours, theirs = classifying
    both = {"text": TEXTS[1], "text_pair": TEXTS[2]}
    assert_same(ours(both, **options), theirs(both, **options))
    assert_same(ours([both, both], **options), theirs([both, both], **options))


@pytest.mark.parametrize("token_types", [True, False])
def test_text_classification_of_pairs_with_token_types(tmp_path: Path, token_types: bool) -> None:
    ours, theirs = pair(
        "text-classification",
        make_word_piece(tmp_path, "YosoForSequenceClassification", token_types=token_types),
    )
    both = {"text": "the quick brown fox", "text_pair": "jumps over the lazy dog"}
    assert_same(ours(both, top_k=None), theirs(both, top_k=None))
    swapped = {"text": both["text_pair"], "text_pair": both["text"]}
    assert ours(both) != ours(swapped)


# --- token-classification


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Both token-classification pipelines, with the byte-level BPE."""
    folder = make(tmp_path_factory.mktemp("t"), "YosoForTokenClassification", **LABELS)
    return pair("token-classification", folder)


@pytest.fixture(scope="module")
def tagged_pieces(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Both token-classification pipelines, with a WordPiece."""
    folder = tmp_path_factory.mktemp("w")
    make_word_piece(folder, "YosoForTokenClassification", **LABELS)
    return pair("token-classification", folder)


STRATEGIES = ["none", "simple", "first", "average", "max"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_token_classification_aggregation(tagged: Pair, strategy: str) -> None:
    ours, theirs = tagged
    options = {"aggregation_strategy": strategy}
    for text in TEXTS[:3]:
        assert_same(ours(text, **options), theirs(text, **options))
    assert_same(ours(TEXTS[:3], **options), theirs(TEXTS[:3], **options))
    assert_same(ours(TEXTS[:1], **options), theirs(TEXTS[:1], **options))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_token_classification_aggregation_of_word_pieces(
    tagged_pieces: Pair, strategy: str
) -> None:
    ours, theirs = tagged_pieces
    options = {"aggregation_strategy": strategy, "ignore_labels": []}
    texts = ["Foxes, jumping over dogs; quickly!", "A lazy foxhole (brown)", "the"]
    assert any("##" in token for token in ours.tokenizer.encoding(texts[0]).tokens)
    for text in texts:
        assert_same(ours(text, **options), theirs(text, **options))


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("ignore", [[], ["O", "B-PER"], ["LOC"], ["I-LOC", "PER"]], ids=str)
def test_token_classification_ignore_labels(tagged: Pair, strategy: str, ignore: Any) -> None:
    ours, theirs = tagged
    options = {"aggregation_strategy": strategy, "ignore_labels": ignore}
    for text in TEXTS[:3]:
        assert_same(ours(text, **options), theirs(text, **options))


@pytest.mark.parametrize("strategy", ["none", "simple"])
def test_token_classification_spans_count_characters(tagged: Pair, strategy: str) -> None:
    ours, theirs = tagged
    options = {"aggregation_strategy": strategy, "ignore_labels": []}
    assert_same(ours(TEXTS[3], **options), theirs(TEXTS[3], **options))


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("delimiter", [" ", " / "])
def test_token_classification_is_split_into_words(
    tagged: Pair, tagged_pieces: Pair, strategy: str, delimiter: str
) -> None:
    options = {
        "aggregation_strategy": strategy,
        "is_split_into_words": True,
        "delimiter": delimiter,
        "ignore_labels": [],
    }
    words = ["Paris", "is", "beautifully", "lovely"]
    for ours, theirs in (tagged, tagged_pieces):
        wanted = theirs(words, **options)
        assert_same(ours(words, **options), wanted[0] if isinstance(wanted[0], list) else wanted)
        several = [words, words[:2]]
        assert_same(ours(several, **options), theirs(several, **options))


def text_of_full_windows(tokenizer: Any, size: int, stride: int) -> str:
    """Return a text that fills its windows of `size` tokens to the last one.

    transformers pads the last window and attends to the padding, as its model does; a full one
    has none, so that scores can agree.
    """
    words = " ".join(TEXTS[:3] * 8).split()
    inside = size - 2
    for end in range(len(words), 0, -1):
        text = " ".join(words[:end])
        count = len(tokenizer.encoding(text, add_special_tokens=False).ids)
        if count > 2 * inside and (count - inside) % (inside - stride) == 0:
            return text
    raise AssertionError("no such text")


@pytest.mark.parametrize("strategy", STRATEGIES[1:])
@pytest.mark.parametrize("stride", [0, 7, 30])
def test_token_classification_stride(tagged: Pair, stride: int, strategy: str) -> None:
    ours, theirs = tagged
    text = text_of_full_windows(ours.tokenizer, 64, stride)
    options = {"aggregation_strategy": strategy, "ignore_labels": [], "stride": stride}
    before = theirs.tokenizer.model_max_length
    theirs.tokenizer.model_max_length = 64
    try:
        wanted = theirs(text, **options)
    finally:
        theirs.tokenizer.model_max_length = before
    assert_same(ours(text, **options), wanted)


# --- question-answering


@pytest.fixture(scope="module")
def answering(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Both question-answering pipelines."""
    folder = make(tmp_path_factory.mktemp("q"), "YosoForQuestionAnswering")
    return pair("question-answering", folder)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"top_k": 1},
        {"top_k": 3},
        {"top_k": 60},
        {"max_answer_len": 1},
        {"max_answer_len": 2, "top_k": 4},
        {"max_answer_len": 50, "top_k": 4},
        {"align_to_words": False},
        {"align_to_words": False, "top_k": 3},
        {"handle_impossible_answer": True},
        {"handle_impossible_answer": True, "top_k": 5},
        {"max_question_len": 30, "top_k": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("context", [TEXTS[0], TEXTS[2], TEXTS[3]])
def test_question_answering(answering: Pair, options: dict[str, Any], context: str) -> None:
    ours, theirs = answering
    arguments = {"question": "What is it?", "context": context, **options}
    assert_same(ours(**arguments), theirs(**arguments))


@pytest.mark.parametrize("stride", [0, 5, 12, None])
@pytest.mark.parametrize("length", [24, 40, 64])
@pytest.mark.parametrize("more", [{}, {"handle_impossible_answer": True, "top_k": 4}], ids=str)
def test_question_answering_max_seq_len_and_doc_stride(
    answering: Pair, stride: int | None, length: int, more: dict[str, Any]
) -> None:
    ours, theirs = answering
    arguments = {
        "question": "Who?",
        "context": " ".join(TEXTS[:3] * 3),
        "max_seq_len": length,
        **more,
    }
    if stride is not None:
        arguments["doc_stride"] = stride
    assert_same(ours(**arguments), theirs(**arguments))


def test_question_answering_of_several_contexts(answering: Pair) -> None:
    ours, theirs = answering
    questions, contexts = ["Who?", "Where is it?"], [TEXTS[0], TEXTS[2]]
    for arguments in (
        {"question": questions, "context": contexts},
        {"question": questions, "context": TEXTS[0]},
        {"question": questions[:1], "context": contexts[:1]},
        {"question": questions, "context": contexts, "top_k": 2},
    ):
        assert_same(ours(**arguments), theirs(**arguments))
    # One question put to several contexts is ours alone; transformers takes it spelled out.
    wanted = theirs(question=["Who?", "Who?"], context=contexts)
    assert_same(ours(question="Who?", context=contexts), wanted)


@pytest.mark.parametrize("align", [True, False])
def test_question_answering_from_word_pieces(tmp_path: Path, align: bool) -> None:
    ours, theirs = pair("question-answering", make_word_piece(tmp_path, "YosoForQuestionAnswering"))
    arguments = {
        "question": "who jumps?",
        "context": "The quick brown fox jumps over the lazy dogs; Paris is the capital.",
        "max_seq_len": 16,
        "doc_stride": 4,
        "align_to_words": align,
        "top_k": 3,
    }
    assert len(ours.tokenizer.encoding(arguments["context"]).ids) > 16
    assert_same(ours(**arguments), theirs(**arguments))


# --- feature-extraction


@pytest.fixture(scope="module")
def embedding(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Both feature-extraction pipelines."""
    return pair("feature-extraction", make(tmp_path_factory.mktemp("e"), "YosoModel"))


def close(got: Any, wanted: Any) -> None:
    """Compare vectors: components near 0 have no relative precision, so the largest counts."""
    got, wanted = np.asarray(got), np.asarray(wanted)
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=0, atol=SCORE * float(np.abs(wanted).max()) / 10)


@pytest.mark.parametrize("text", [*TEXTS, ""])
def test_feature_extraction(embedding: Pair, text: str) -> None:
    ours, theirs = embedding
    got, wanted = ours(text), theirs(text)
    assert [type(x) for x in (got, got[0], got[0][0], got[0][0][0])] == [list, list, list, float]
    close(got, wanted)


def test_feature_extraction_of_several_texts(embedding: Pair) -> None:
    ours, theirs = embedding
    got, wanted = ours(TEXTS), theirs(TEXTS)
    assert len(got) == len(wanted)
    for a, b in zip(got, wanted, strict=True):
        close(a, b)


def test_feature_extraction_return_tensors(embedding: Pair) -> None:
    ours, theirs = embedding
    got = ours(TEXTS[0], return_tensors=True)
    assert isinstance(got, np.ndarray)
    close(got, theirs(TEXTS[0], return_tensors=True).numpy())


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("pooling", ["none", "cls", "mean"])
def test_feature_extraction_pooling_and_normalize(
    embedding: Pair, pooling: str, normalize: bool
) -> None:
    ours, theirs = embedding
    for text in TEXTS:
        states = np.array(theirs(text))
        wanted = {"none": states, "cls": states[0, 0], "mean": states[0].mean(axis=0)}[pooling]
        if normalize:
            wanted = wanted / np.linalg.norm(wanted, axis=-1, keepdims=True)
        close(ours(text, pooling=pooling, normalize=normalize), wanted)
