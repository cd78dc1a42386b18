"""Padded arrays and packed rows: which cell is which row, and which rows are computed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import yosort
from yosort import DeviceError, InputError, YosoConfig
from yosort.machine import SLACK, WORTH_ASKING
from yosort.model.answering import score_packed
from yosort.model.batch import pack_mask, read_mask
from yosort.model.inputs import Call, pack_texts, read_inputs

CONFIG = YosoConfig(
    vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, num_labels=3,
    intermediate_size=16, max_position_embeddings=12, initializer_range=0.5,
)  # fmt: skip
MASKS = [
    [[1, 1], [1, 1]], [[1, 1], [1, 1], [0, 0]], [[1, 0, 1], [0, 1, 0]], [[0, 0], [0, 0]],
    [[1, 0]], [[0, 1]], [[0], [1], [1]], [[1, 1, 0, 0]] * 2, np.ones((0, 3)), np.ones((2, 0)),
]  # fmt: skip


@pytest.mark.parametrize("mask", MASKS, ids=str)
def test_rows_are_the_cells_that_the_mask_keeps(mask: Any) -> None:
    held = np.array(mask, bool)
    texts, n = held.shape
    batch = pack_mask(held, attended=False)
    assert (batch.shape, batch.total, batch.keep) == ((texts, n), held.sum(), None)
    assert batch.is_dense == held.all()
    text, slot = np.nonzero(held)
    assert batch.cells.tolist() == (text * n + slot).tolist()
    assert batch.slots.tolist() == slot.tolist()
    assert np.diff(batch.offsets).tolist() == held.sum(axis=1).tolist()
    assert batch.offsets[0] == 0
    grid = np.random.default_rng(0).random((texts, n, 2))
    np.testing.assert_array_equal(batch.pack(grid), grid[held])
    wanted = np.where(held, np.cumsum(held).reshape(held.shape) - 1, -1)
    assert batch.rows_of(np.arange(texts * n)).tolist() == wanted.reshape(-1).tolist()
    odd = np.arange(batch.total)[1::2]
    counts = [np.isin(np.flatnonzero(text == t), odd).sum() for t in range(texts)]
    assert np.diff(batch.offsets_of(odd)).tolist() == counts


@pytest.mark.parametrize("mask", MASKS, ids=str)
def test_attended_padding_stays_in_the_batch_and_is_marked(mask: Any) -> None:
    held = np.array(mask, bool)
    batch = pack_mask(held, attended=True)
    assert batch.is_dense
    assert np.diff(batch.offsets).tolist() == [held.shape[1]] * len(held)
    if held.all():
        assert batch.keep is None
    else:
        assert batch.keep is not None
        assert batch.keep.tolist() == held.reshape(-1).tolist()


@pytest.mark.parametrize("padding", ["masked", "attended"])
@pytest.mark.parametrize("texts", [[], [[]], [[3], []], [[3, 4], [5]], [[3], [4]]], ids=str)
def test_texts_of_any_length_are_packed_as_their_grid(padding: str, texts: list[Any]) -> None:
    """Filled up, where padding counts, with the padding's id; without one, with the first."""
    shape = len(texts), max(map(len, texts), default=0)
    for pad in (None, 7):
        config = CONFIG.override(pad_token_id=pad)
        ids, mask = np.full(shape, pad or 0), np.zeros(shape, int)
        for row, text in enumerate(texts):
            ids[row, : len(text)], mask[row, : len(text)] = text, 1
        wanted = read_inputs(Call(ids, mask), config, padding=padding)
        found = pack_texts(texts, [[0] * len(t) for t in texts], config, padding=padding)
        assert found.batch.shape == wanted.batch.shape
        for name in ("words", "positions", "token_types"):
            assert getattr(found, name).tolist() == getattr(wanted, name).tolist()


def test_a_mask_is_of_any_type_of_numbers() -> None:
    wanted = [[True, False]]
    for dtype in (bool, np.int8, np.uint64, np.float16, np.float64):
        assert read_mask(np.array([[1, 0]], dtype), 1, 2).tolist() == wanted
    assert read_mask(None, 1, 2).tolist() == [[True, True]]
    for odd in (2, -1, 0.5):
        with pytest.raises(InputError, match=rf"and 1 \(token\), got {odd}"):
            read_mask([[1, 0, odd]], 1, 3)


@pytest.fixture
def lengths(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that returns how many rows left the encoder of a model, in each run of a call."""

    def watch(model: Any) -> list[int]:
        seen: list[int] = []
        encoder = model._encoder

        def watched(*arguments: Any, **options: Any) -> Iterator[Any]:
            for encoded in encoder(*arguments, **options):
                seen.append(len(encoded.last))
                yield encoded

        watched.tables = encoder.tables  # type: ignore[attr-defined]
        monkeypatch.setattr(model, "_encoder", watched)
        return seen

    return watch


IDS, MASK = np.arange(3, 13).reshape(2, 5), [[1, 1, 1, 1, 0], [1, 1, 1, 0, 0]]


@pytest.mark.parametrize(
    ("name", "given", "rows"),
    [
        ("YosoModel", {}, 7),
        ("YosoForMaskedLM", {}, 7),
        ("YosoForMaskedLM", {"positions": [[1, 2], [0, 1], [1, 2]]}, 2),
        ("YosoForQuestionAnswering", {"positions": [[1, 2], [0, 1], [1, 2]]}, 2),
        ("YosoForSequenceClassification", {}, 2),
        ("YosoForSequenceClassification", {"output_hidden_states": True}, 7),
        ("YosoForSequenceClassification", {"output_attentions": True}, 7),
        ("YosoForSequenceClassification", {"seed": [1, 2, 3]}, 2),
    ],
)
def test_the_last_layer_answers_for_the_rows_that_are_read(
    name: str, given: dict[str, Any], rows: int, lengths: Any
) -> None:
    """For all only where all are returned."""
    model = getattr(yosort, name)(CONFIG, device="cpu", attention="sampled")
    seen = lengths(model)
    model(IDS, MASK, **given)
    assert seen == [rows] * len(given.get("seed", [0]))


def test_packed_texts_are_scored_where_asked(lengths: Any) -> None:
    model = yosort.YosoForTokenClassification(CONFIG, device="cpu", attention="sampled")
    wanted = model(IDS, MASK).logits[np.array(MASK) == 1]
    other = model(IDS, MASK, seed=5).logits[np.array(MASK) == 1]
    inputs = pack_texts([IDS[0, :4], IDS[1, :3]], [[0] * 4, [0] * 3], CONFIG, padding="masked")
    seen = lengths(model)
    (found,) = score_packed(model, inputs)
    np.testing.assert_array_equal(found, wanted)
    picked = score_packed(model, inputs, np.array([1, 6]), [0, 5])
    for scores, whole in zip(picked, (wanted, other), strict=True):
        np.testing.assert_array_equal(scores, whole[[1, 6]])
    assert seen == [7, 2, 2]


def test_packed_texts_that_do_not_fit_are_refused_before_they_are_encoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The scores of the vocabulary count, of as many tokens as are asked for."""
    vocabulary = 1 << 15
    model = yosort.YosoForMaskedLM(CONFIG.override(vocab_size=vocabulary), device="cpu")
    length = WORTH_ASKING // (4 * vocabulary)
    config = CONFIG.override(vocab_size=vocabulary, max_position_embeddings=length)
    inputs = pack_texts([[3] * length], [[0] * length], config, padding="masked")
    needed = 4 * vocabulary * length
    assert needed == WORTH_ASKING  # the least that is asked for

    def run(*_: Any, **__: Any) -> Any:
        raise AssertionError("it was started")

    monkeypatch.setattr(model, "_encoder", run)
    monkeypatch.setattr(model._ops, "available_memory", lambda: needed - SLACK)
    with pytest.raises(AssertionError, match="it was started"):
        score_packed(model, inputs)
    monkeypatch.setattr(model._ops, "available_memory", lambda: needed - SLACK - 1)
    with pytest.raises(DeviceError, match=rf"the call needs at least {needed / 1e9:.2f} GB"):
        score_packed(model, inputs)
    for rows in (np.arange(length - 1), np.array([0])):  # less than is worth asking
        with pytest.raises(AssertionError, match="it was started"):
            score_packed(model, inputs, rows)
