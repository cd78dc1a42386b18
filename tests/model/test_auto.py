"""attention="auto": each text of a batch in the form of its length, as if it were alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_batching import CONFIG, pad, texts_lists

import yosort
from yosort.tuning.costs import Costs

FROM = 12
AUTO = yosort.YosoModel(CONFIG, device="cpu", attention=f"auto:{FROM}", num_threads=2)
EXACT = yosort.YosoModel(CONFIG, device="cpu", attention="expectation", num_threads=2)
SAMPLED = yosort.YosoModel(CONFIG, device="cpu", attention="sampled", num_threads=2)


@given(texts=texts_lists, extra=st.integers(0, 5))
@example(texts=[list(range(n)) for n in (FROM - 1, FROM, FROM + 1)], extra=0)
@settings(deadline=None, max_examples=40)
def test_each_text_has_the_form_of_its_length(texts: list[list[int]], extra: int) -> None:
    ids, mask = pad(texts, max(map(len, texts)) + extra)
    together = AUTO(ids, mask).last_hidden_state
    for row, text in zip(together, texts, strict=True):
        form = SAMPLED if len(text) >= FROM else EXACT
        alone = form([text]).last_hidden_state[0]
        np.testing.assert_array_equal(row[: len(text)], alone)


def test_the_last_layers_picked_rows_are_those_of_the_whole() -> None:
    model: Any = yosort.YosoForMaskedLM(CONFIG, device="cpu", attention=f"auto:{FROM}")
    ids, mask = pad([[1, 2, 3, 4], list(range(30)), [5, 6], list(range(12))], 30)
    whole = model(ids, mask).logits
    places = ([1, 0, 3, 2, 1], [29, 3, 0, 1, 0])
    picked = model(ids, mask, positions=list(zip(*places, strict=True))).logits
    np.testing.assert_array_equal(picked, whole[places])


def test_a_call_draws_its_own_functions_for_the_sampled_texts_only() -> None:
    ids, mask = pad([[1, 2, 3], list(range(20))], 20)
    first, second = AUTO(ids, mask).last_hidden_state, AUTO(ids, mask, seed=5).last_hidden_state
    np.testing.assert_array_equal(first[0], second[0])
    assert not np.array_equal(first[1], second[1])


def test_threads_change_no_bit() -> None:
    ids, mask = pad([list(range(40)), [1, 2], list(range(13)), [7] * 11], 40)
    wanted = AUTO(ids, mask).last_hidden_state
    for threads in (1, 3):
        model = yosort.YosoModel(
            CONFIG, device="cpu", attention=f"auto:{FROM}", num_threads=threads
        )
        np.testing.assert_array_equal(model(ids, mask).last_hidden_state, wanted)


@given(
    pair=st.floats(0.001, 10),
    token=st.floats(0.001, 10),
    bucket=st.floats(0.001, 10),
    num_hash=st.integers(1, 300),
)
def test_sampling_is_cheaper_from_the_crossover_on(
    pair: float, token: float, bucket: float, num_hash: int
) -> None:
    n = Costs(pair, token, bucket).sampled_from(CONFIG, num_hash)

    def saved(length: int) -> float:
        return pair * length**2 - num_hash * (token * length + bucket * 2**CONFIG.hash_code_len)

    slack = 1e-9 * pair * n**2
    assert saved(n) >= -slack
    assert saved(n - 1) <= slack


def test_auto_follows_the_shipped_costs() -> None:
    config = yosort.YosoConfig()  # YOSO-base: 32 hash functions of 9 bits
    lengths = [
        yosort.YosoModel(CONFIG, attention="auto", num_hash=m)._attention.sampled_from
        for m in (1, 10, 100)
    ]
    assert lengths == sorted(lengths)
    assert 128 < Costs(0.0213, 0.158, 0.038).sampled_from(config, 32) < 512


@pytest.mark.parametrize("wrong", ["auto:", "auto:-1", "auto:x", "automatic", "sampled:3", 7])
def test_another_word_is_refused(wrong: Any) -> None:
    with pytest.raises(yosort.ConfigError, match='"auto:N"'):
        yosort.YosoModel(CONFIG, attention=wrong)
