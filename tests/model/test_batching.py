"""No bit of a text's answer depends on its batch mates, their order, the padding or the threads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comparing import relative_error
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import OP

import yosort

CONFIG = yosort.YosoConfig(
    vocab_size=50,
    hidden_size=48,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=64,
    max_position_embeddings=64,
    conv_window=3,
    num_hash=10,
    hash_code_len=4,
    initializer_range=0.3,
)
MODES = ["expectation", "sampled"]
MODELS = {
    mode: yosort.YosoModel(CONFIG, device="cpu", attention=mode, num_threads=2) for mode in MODES
}

texts_lists = st.lists(
    st.lists(st.integers(0, 49), min_size=1, max_size=40), min_size=1, max_size=6
)


def pad(texts: list[list[int]], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and mask [texts, n]; padding holds an id that would matter if it counted."""
    ids = np.full((len(texts), n), 7)
    mask = np.zeros((len(texts), n), np.int64)
    for i, text in enumerate(texts):
        ids[i, : len(text)] = text
        mask[i, : len(text)] = 1
    return ids, mask


@pytest.mark.parametrize("mode", MODES)
@given(texts=texts_lists, extra=st.integers(0, 9))
@settings(deadline=None, max_examples=40)
def test_alone_or_in_any_batch(mode: str, texts: list[list[int]], extra: int) -> None:
    model = MODELS[mode]
    ids, mask = pad(texts, max(map(len, texts)) + extra)
    together = model(ids, mask).last_hidden_state
    backwards = model(ids[::-1], mask[::-1]).last_hidden_state[::-1]
    np.testing.assert_array_equal(backwards, together)
    for i, text in enumerate(texts):
        alone = model([text]).last_hidden_state[0]
        np.testing.assert_array_equal(together[i, : len(text)], alone)
        assert not together[i, len(text) :].any()


@pytest.mark.parametrize("mode", MODES)
def test_same_bits_every_time_for_any_number_of_threads(mode: str) -> None:
    rng = np.random.default_rng(0)
    ids, mask = pad([rng.integers(0, 50, n).tolist() for n in (64, 1, 17, 40)], 64)
    wanted = MODELS[mode](ids, mask).last_hidden_state
    for threads in (1, 2, 3, 4):
        model = yosort.YosoModel(CONFIG, device="cpu", attention=mode, num_threads=threads)
        for _ in range(3):
            np.testing.assert_array_equal(model(ids, mask).last_hidden_state, wanted)


@pytest.mark.parametrize("mode", MODES)
def test_a_mask_with_holes_leaves_positions_in_place(mode: str) -> None:
    """Masked tokens vanish, the others keep their positions and their places in the window."""
    model = MODELS[mode]
    rng = np.random.default_rng(1)
    ids = rng.integers(0, 50, (1, 30))
    mask = rng.integers(0, 2, (1, 30))
    changed = np.where(mask == 1, ids, (ids + 3) % 50)
    got = model(ids, mask).last_hidden_state
    np.testing.assert_array_equal(model(changed, mask).last_hidden_state, got)
    assert not got[mask == 0].any()
    plain = yosort.YosoModel(CONFIG, device="reference", attention=mode)
    assert relative_error(got, plain(ids, mask).last_hidden_state) < OP


def test_an_empty_batch_and_empty_texts_have_empty_answers() -> None:
    model = MODELS["expectation"]
    assert model(np.zeros((0, 5), np.int64)).last_hidden_state.shape == (0, 5, 48)
    assert model(np.zeros((2, 0), np.int64)).last_hidden_state.shape == (2, 0, 48)
    nothing = model(np.ones((2, 3), np.int64), np.zeros((2, 3))).last_hidden_state
    assert nothing.shape == (2, 3, 48)
    assert not nothing.any()


def test_head_mask_scales_each_heads_context() -> None:
    model = MODELS["expectation"]
    ids = np.arange(10)[None]
    whole = model(ids, output_attentions=True)
    factors = np.array([[1.0, 0.0, 2.0], [0.5, 1.0, 0.0]])
    masked = model(ids, head_mask=factors, output_attentions=True)
    first = whole.attentions[0].reshape(1, 10, 3, 16) * factors[0][:, None]
    assert relative_error(masked.attentions[0], first.reshape(1, 10, 48)) < OP
    assert not masked.attentions[1][..., 32:].any()
    ones = model(ids, head_mask=np.ones(3)).last_hidden_state
    np.testing.assert_array_equal(ones, whole.last_hidden_state)


@pytest.mark.parametrize("mode", MODES)
def test_picked_positions_give_the_same_scores(mode: str) -> None:
    config = yosort.YosoConfig.from_dict({**CONFIG.to_dict(), "hidden_act": "mish"})
    model: Any = yosort.YosoForMaskedLM(config, device="cpu", attention=mode)
    ids, mask = pad([[1, 2, 3, 4], [5, 6], list(range(30))], 30)
    whole = model(ids, mask).logits
    picked = model(ids, mask, positions=[(2, 29), (0, 1), (2, 29), (1, 0)]).logits
    wanted = whole[[2, 0, 2, 1], [29, 1, 29, 0]]
    np.testing.assert_array_equal(picked, wanted)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("hidden", [False, True])
def test_answer_spans_are_scored_where_asked_and_zero_elsewhere(mode: str, hidden: bool) -> None:
    model: Any = yosort.YosoForQuestionAnswering(CONFIG, device="cpu", attention=mode)
    ids, mask = pad([[1, 2, 3, 4], [5, 6], list(range(30))], 30)
    whole = model(ids, mask)
    places = [(2, 29), (0, 1), (1, 0), (2, 0)]
    picked = model(ids, mask, positions=places, output_hidden_states=hidden)
    asked = np.zeros(ids.shape, bool)
    asked[tuple(np.transpose(places))] = True
    for name in ("start_logits", "end_logits"):
        got, wanted = picked[name], whole[name]
        assert got.shape == wanted.shape
        np.testing.assert_array_equal(got[asked], wanted[asked])
        assert not got[~asked].any()
        assert wanted[~asked & (mask == 1)].all()


def test_a_saved_model_answers_alike(tmp_path: Path) -> None:
    model = MODELS["sampled"]
    model.save_pretrained(tmp_path / "m")
    again = yosort.load(tmp_path / "m", attention="sampled", device="cpu")
    ids = np.arange(20)[None]
    wanted = model(ids).last_hidden_state
    np.testing.assert_array_equal(again(ids).last_hidden_state, wanted)
    other = again(ids, seed=1).last_hidden_state
    assert not np.array_equal(other, wanted)
    more = again(ids, num_hash=40).last_hidden_state
    assert not np.array_equal(more, wanted)
    np.testing.assert_array_equal(again(ids, seed=0, num_hash=10).last_hidden_state, wanted)
