"""What an option changes, against values worked out here in plain NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import yosort
from yosort import YosoConfig
from yosort.checkpoint import read_state
from yosort.ops.hashing import gaussian_projection

SIZES = {
    "vocab_size": 30, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 16, "max_position_embeddings": 40, "num_hash": 6, "hash_code_len": 3,
    "initializer_range": 0.5,
}  # fmt: skip
IDS = np.arange(3, 25)[None]


@pytest.mark.parametrize("device", ["cpu", "reference"])
def test_the_slow_hash_is_a_gaussian_projection(device: str) -> None:
    config = YosoConfig(**SIZES, use_fast_hash=False)
    model = yosort.YosoModel(config, device=device, attention="sampled", seed=4)
    output = model(IDS, output_hidden_states=True, output_attentions=True)
    x = output.hidden_states[0][0].astype(np.float64)  # the embeddings [n, hidden]
    weights = {name: np.asarray(w, np.float64) for name, w in model._parameters.items()}

    def heads_of(part: str) -> np.ndarray:
        prefix = f"yoso.encoder.layer.0.attention.self.{part}"
        y = x @ weights[f"{prefix}.weight"].T + weights[f"{prefix}.bias"]
        return y.reshape(len(x), 2, 16).transpose(1, 0, 2)

    query, key, value = map(heads_of, ("query", "key", "value"))
    projection = gaussian_projection(6, 3, 16, heads=2, seed=(4, 0)).astype(np.float64)
    bits = [(rows @ projection > 0).reshape(2, len(x), 6, 3) for rows in (query, key)]
    # A query meets a key in a hash where all bits agree; the value is added once a meeting.
    meetings = (bits[0][:, :, None] == bits[1][:, None]).all(axis=-1).sum(axis=-1)
    sums = meetings @ value
    norms = np.linalg.norm(sums, axis=-1, keepdims=True)
    wanted = (sums / np.maximum(norms, 1e-12)).transpose(1, 0, 2).reshape(len(x), 32)
    np.testing.assert_allclose(output.attentions[0][0], wanted, atol=1e-5)
    fast = yosort.YosoModel(YosoConfig(**SIZES), device=device, attention="sampled", seed=4)
    assert abs(fast(IDS, output_attentions=True).attentions[0][0] - wanted).max() > 0.1


def cross_entropy(logits: np.ndarray, labels: list[int]) -> float:
    """Return the mean of -log softmax(logits)[label], in float64."""
    scores = np.asarray(logits, np.float64)
    log_total = np.log(np.exp(scores).sum(axis=-1))
    return float((log_total - scores[np.arange(len(labels)), labels]).mean())


def test_a_span_may_begin_and_end_at_token_0() -> None:
    model = yosort.YosoForQuestionAnswering(YosoConfig(**SIZES), device="cpu")
    ids = np.array([IDS[0, :8], IDS[0, 8:16]])
    output = model(ids, start_positions=[0, 3], end_positions=[0, 5])
    wanted = (
        cross_entropy(output.start_logits, [0, 3]) + cross_entropy(output.end_logits, [0, 5])
    ) / 2
    assert float(output.loss) == pytest.approx(wanted, rel=1e-5)
    # A position past the text counts for nothing.
    output = model(ids, start_positions=[0, 99], end_positions=[0, 99])
    wanted = (
        cross_entropy(output.start_logits[:1], [0]) + cross_entropy(output.end_logits[:1], [0])
    ) / 2
    assert float(output.loss) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("name", ["YosoForMaskedLM", "YosoForTokenClassification"])
def test_labels_of_which_none_counts(name: str) -> None:
    model = getattr(yosort, name)(YosoConfig(**SIZES, num_labels=3), device="cpu")
    labels = np.full(IDS.shape, -100)
    assert np.isnan(float(model(IDS, labels=labels).loss))
    labels[0, 4] = 2
    output = model(IDS, labels=labels)
    assert float(output.loss) == pytest.approx(cross_entropy(output.logits[0, 4:5], [2]), rel=1e-5)


def test_padding_alone_is_drawn_as_zeros(tmp_path: Path) -> None:
    """As torch's embedding has it; no other table and no bias knows of padding."""
    yosort.YosoForMaskedLM(YosoConfig(**SIZES, pad_token_id=3), seed=5).save_pretrained(tmp_path)
    for name, weight in read_state(tmp_path).items():
        rows = np.asarray(weight).any(axis=-1)
        if name.endswith("bias"):
            assert not rows.any(), name
        elif name == "yoso.embeddings.word_embeddings.weight":
            assert np.flatnonzero(~rows).tolist() == [3]
        else:
            assert rows.all(), name


@pytest.mark.parametrize("device", ["cpu", "reference"])
@pytest.mark.parametrize("rows", [4, 300])
def test_a_layer_more_changes_nothing_below_it(device: str, rows: int) -> None:
    """Each weight is drawn for its name: models of one seed have their first layers in common."""
    ids = np.random.default_rng(0).integers(0, 30, (rows // 4, 4))
    states = []
    for layers in (2, 3, 5):
        config = YosoConfig(**{**SIZES, "num_hidden_layers": layers})
        output = yosort.YosoModel(config, device=device)(ids, output_hidden_states=True)
        assert len(output.hidden_states) == layers + 1
        np.testing.assert_array_equal(output.hidden_states[-1], output.last_hidden_state)
        states.append(output.hidden_states)
    for deep in states[1:]:
        for below, above in zip(states[0], deep, strict=False):
            np.testing.assert_array_equal(below, above)
    assert not np.allclose(states[2][3], states[2][5])
