"""A checkpoint's weights held against what the config describes: taken, shared, drawn, reported."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

from yosort import CheckpointError, YosoConfig
from yosort.model.architectures import ARCHITECTURES
from yosort.model.parameters import (
    OtherHeadError,
    base_shapes,
    head_shapes,
    random_parameters,
    select,
)
from yosort.widened import Widened

CONFIG = YosoConfig(
    vocab_size=7, hidden_size=4, num_hidden_layers=1, num_attention_heads=2, num_labels=3,
    intermediate_size=6, max_position_embeddings=5,
)  # fmt: skip
UNTIED = CONFIG.override(tie_word_embeddings=False)
WORDS = "yoso.embeddings.word_embeddings.weight"
LAST = "yoso.encoder.layer.0.output.LayerNorm.bias"
DECODER, DECODER_BIAS = "cls.predictions.decoder.weight", "cls.predictions.decoder.bias"
BIAS = "cls.predictions.bias"
BARE = "The checkpoint has no such head"
OTHER_SHAPE = "The head has another shape"


def state_of(head: str | None) -> dict[str, Any]:
    """Return every weight of a model with a head, none of them like another."""
    shapes = {**base_shapes(CONFIG), **head_shapes(CONFIG, head)}
    drawn = random_parameters(shapes, CONFIG, head, 0)
    return {name: array + i for i, (name, array) in enumerate(drawn.items())}


def changed(head: str | None, changes: dict[str, Any]) -> dict[str, Any]:
    """Return the weights with some of another shape, some more (both: zeros), and some less."""
    state = {**state_of(head)}
    for name, shape in changes.items():
        if shape is None:
            del state[name]
        else:
            state[name] = np.zeros(shape, np.float32)
    return state


def pick(
    state: dict[str, Any], head: str | None, *, allow: bool = False, config: Any = CONFIG
) -> Any:
    return select(state, config, head, where="here", allow_random_head=allow)


@pytest.mark.parametrize("allow", [False, True])
@pytest.mark.parametrize("head", [row.head for row in ARCHITECTURES.values()])
def test_all_that_is_wanted_is_taken_and_nothing_else(head: str | None, allow: bool) -> None:
    state = state_of(head)
    found, random = pick(state, head, allow=allow)
    assert (found, random) == (state, [])


def test_of_another_head_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    state = state_of("question_answering")
    for head in ("masked_lm", None):
        found, random = pick({**state_of(head), **state}, head, allow=True)
        assert (found.keys(), random) == (state_of(head).keys(), [])
    assert not caplog.records


OF_TEXTS = dict.fromkeys(head_shapes(CONFIG, "sequence_classification"))
OUT = "classifier.out_proj"


@pytest.mark.parametrize(
    ("head", "changes", "lines", "hint"),
    [
        (None, {WORDS: None}, [f"missing: {WORDS}"], ""),
        (None, {"yoso.pooler": (4,)}, ["unexpected: yoso.pooler"], ""),
        (None, {WORDS: (6, 4)}, [f"wrong shape: {WORDS}: wanted [7, 4], got [6, 4]"], ""),
        # What a head lacks, or has besides.
        ("sequence_classification", OF_TEXTS, [f"missing: {name}" for name in OF_TEXTS], BARE),
        ("sequence_classification", {f"{OUT}.bias": None}, [f"missing: {OUT}.bias"], ""),
        (
            "sequence_classification",
            {**OF_TEXTS, LAST: None},
            ["missing: " + name for name in (LAST, *OF_TEXTS)],
            "",
        ),
        ("sequence_classification", {"classifier.x": (4,)}, ["unexpected: classifier.x"], ""),
        ("masked_lm", {"cls.x.weight": (4,)}, ["unexpected: cls.x.weight"], ""),
        # A head of another shape; with anything else it is not the head alone that is wrong.
        (
            "sequence_classification",
            {f"{OUT}.weight": (2, 4), f"{OUT}.bias": (2,)},
            [
                f"wrong shape: {OUT}.weight: wanted [3, 4], got [2, 4]",
                f"wrong shape: {OUT}.bias: wanted [3], got [2]",
            ],
            OTHER_SHAPE,
        ),
        (
            "sequence_classification",
            {f"{OUT}.bias": (2,), LAST: (3,)},
            [
                f"wrong shape: {LAST}: wanted [4], got [3]",
                f"wrong shape: {OUT}.bias: wanted [3], got [2]",
            ],
            "",
        ),
        (
            "sequence_classification",
            {f"{OUT}.bias": (2,), LAST: None},
            [f"missing: {LAST}", f"wrong shape: {OUT}.bias: wanted [3], got [2]"],
            "",
        ),
        (
            "sequence_classification",
            {f"{OUT}.bias": (2,), "yoso.pooler": (4,)},
            ["unexpected: yoso.pooler", f"wrong shape: {OUT}.bias: wanted [3], got [2]"],
            "",
        ),
    ],
)
def test_what_does_not_fit_is_named_line_by_line(
    head: str | None, changes: dict[str, Any], lines: list[str], hint: str
) -> None:
    with pytest.raises(CheckpointError) as caught:
        pick(changed(head, changes), head)
    first, *rest = str(caught.value).split("\n")
    assert first.startswith(f"here: {len(lines)} weights do not fit")
    assert rest[: len(lines)] == [f"  {line}" for line in lines]
    assert [line.startswith(hint) for line in rest[len(lines) :]] == [True] * bool(hint)
    # Whether the encoder is right, which is then another class's.
    of_encoder = any("yoso." in line for line in lines)
    assert type(caught.value) is (CheckpointError if of_encoder else OtherHeadError)


def test_what_there_is_instead_of_what_is_missing() -> None:
    besides = {"classifier.weight": np.zeros(1), "foo": np.zeros(1), "bar": np.zeros(1)}
    wanted = r"\nThe checkpoint holds besides: 'foo', 'bar', 'classifier.weight'\.$"
    with pytest.raises(CheckpointError, match=wanted):
        pick({**changed("masked_lm", {BIAS: None, DECODER_BIAS: None}), **besides}, "masked_lm")
    with pytest.raises(CheckpointError, match=r"holds besides: .*\.\nThe checkpoint has no such"):
        pick({**state_of(None), **besides}, "masked_lm")
    with pytest.raises(CheckpointError) as caught:
        pick({**state_of(None), **besides, "yoso.pooler": np.zeros(1)}, None)
    assert str(caught.value).endswith("unexpected: yoso.pooler")  # nothing is missing


@pytest.mark.parametrize(
    ("count", "names"),
    [
        (0, "nothing"), (1, "'w0'"), (6, "'w0', 'w1', 'w2', 'w3', 'w4', 'w5'"),
        (7, r"'w0', 'w1', 'w2', 'w3', 'w4', 'w5' \.\.\. \(7 names\)"),
    ],
)  # fmt: skip
def test_no_weight_of_a_yoso_model(count: int, names: str) -> None:
    state = {f"w{i}": np.zeros(1) for i in range(count)}
    for head in (None, "masked_lm"):
        with pytest.raises(CheckpointError, match=f"here: wanted .*{WORDS}.* but {names}$"):
            pick(state, head, allow=True)


def test_names_of_no_model_are_left_aside_and_said(caplog: pytest.LogCaptureFixture) -> None:
    found, _ = pick({**state_of(None), "foo": np.zeros(1), "classifier.x": np.zeros(1)}, None)
    assert found.keys() == state_of(None).keys()
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("yosort", logging.WARNING)
    assert record.getMessage() == "here: left aside, for no YOSO model has them: 'foo'"


@pytest.mark.parametrize(
    ("changes", "drawn"),
    [
        (OF_TEXTS, list(OF_TEXTS)),
        ({f"{OUT}.weight": (2, 4), f"{OUT}.bias": (2,)}, [f"{OUT}.weight", f"{OUT}.bias"]),
        ({}, []),
    ],
)
def test_a_random_head_replaces_what_is_not_there_or_does_not_fit(
    changes: dict[str, Any], drawn: list[str]
) -> None:
    head = "sequence_classification"
    state = changed(head, changes)
    found, random = pick(state, head, allow=True)
    assert random == drawn
    assert found == {name: state[name] for name in state_of(head) if name not in drawn}


@pytest.mark.parametrize(
    "changes", [{f"{OUT}.bias": None}, {**OF_TEXTS, LAST: None}, {LAST: (3,)}, {"yoso.x": (1,)}]
)
def test_a_random_head_excuses_nothing_else(changes: dict[str, Any]) -> None:
    head = "sequence_classification"
    with pytest.raises(CheckpointError, match="here: 1 weights do not fit"):
        pick(changed(head, changes), head, allow=True)


@pytest.mark.parametrize(
    ("left", "source"), [(DECODER, WORDS), (DECODER_BIAS, BIAS), (BIAS, DECODER_BIAS)]
)
def test_a_tie_fills_in_what_is_left_out(left: str, source: str) -> None:
    state = changed("masked_lm", {left: None})
    assert pick(state, "masked_lm")[0][left] is state[source]
    with pytest.raises(CheckpointError, match=f"here: 1 weights .*\n  missing: {left}"):
        pick(state, "masked_lm", config=UNTIED)
    if left != DECODER:
        with pytest.raises(CheckpointError, match="here: 2 weights do not fit"):
            pick(changed("masked_lm", {left: None, source: None}), "masked_lm")


def bfloat16(values: Any) -> Widened:
    return Widened((np.asarray(values, np.float32).view(np.uint32) >> 16).astype(np.uint16))


@pytest.mark.parametrize("first", [np.asarray, bfloat16])
@pytest.mark.parametrize("second", [np.asarray, bfloat16])
def test_a_tie_shares_what_is_there_twice_and_leaves_what_differs(first: Any, second: Any) -> None:
    table = np.arange(28, dtype=np.float32).reshape(7, 4)
    state = {**state_of("masked_lm"), WORDS: first(table), DECODER: second(table)}
    assert pick(state, "masked_lm")[0][DECODER] is state[WORDS]
    assert pick(state, "masked_lm", config=UNTIED)[0][DECODER] is state[DECODER]
    state[DECODER] = second(table * 2)
    found = pick(state, "masked_lm")[0]
    assert found[DECODER] is state[DECODER]
    assert found[BIAS] is state[BIAS]


def test_weights_are_drawn_as_the_paper_s_each_by_its_own_name() -> None:
    config = YosoConfig(
        vocab_size=400, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, num_labels=3,
        intermediate_size=64, initializer_range=0.25,
    )  # fmt: skip
    names = [*base_shapes(config), *head_shapes(config, "masked_lm")]
    drawn = random_parameters(names, config, "masked_lm", 3)
    for name, array in drawn.items():
        assert array.dtype == np.float32
        if name.endswith("LayerNorm.weight"):
            assert (array == 1).all()
        elif name.endswith("bias"):
            assert not array.any()
        elif array.size > 1000:
            assert array.std() == pytest.approx(0.25, rel=0.1)
            assert abs(array.mean()) < 0.03
    alone = random_parameters(names[-2:-1], config, "masked_lm", 3)
    assert list(alone) == names[-2:-1]
    np.testing.assert_array_equal(alone[names[-2]], drawn[names[-2]])
    other = random_parameters([DECODER], config, "masked_lm", 4)
    assert not np.array_equal(other[DECODER], drawn[DECODER])
    assert not np.array_equal(drawn[DECODER], drawn[WORDS])


def test_a_head_of_another_name() -> None:
    with pytest.raises(ValueError, match="no such head: pooler"):
        head_shapes(CONFIG, "pooler")
