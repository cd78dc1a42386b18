"""The encoder of a model with a head, on its own."""

from __future__ import annotations

import numpy as np
import pytest

import yosort
from yosort.model.architectures import ARCHITECTURES
from yosort.model.heads import encoder_of

CONFIG = yosort.YosoConfig(
    vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
    intermediate_size=16, max_position_embeddings=12, num_labels=3, initializer_range=0.5,
)  # fmt: skip
IDS = [[1, 2, 3, 4]]


@pytest.mark.parametrize("name", [n for n in ARCHITECTURES if n != "YosoForMultipleChoice"])
def test_it_answers_as_the_model_does_below_its_head(name: str) -> None:
    model = getattr(yosort, name)(CONFIG, seed=1, device="cpu")
    encoder = encoder_of(model)
    assert type(encoder) is yosort.YosoModel
    wanted = model(IDS, output_hidden_states=True).hidden_states[-1]
    np.testing.assert_array_equal(encoder(IDS).last_hidden_state, wanted)
    assert encoder._encoder is model._encoder  # nothing is held twice
    assert type(model).__name__ == name
