"""The name table: three dialects, one set of canonical names."""

from __future__ import annotations

import numpy as np
import pytest
from checkpoint_builders import by_authors, weights

from yosort.checkpoint import canonical_names, to_canonical
from yosort.checkpoint.names import is_original, is_shared
from yosort.errors import CheckpointError

GENERATIONS = ["transformer_{}", "backbone.backbone.encoders.{}", "backbone.transformer_{}"]


def test_transformers_names_stay() -> None:
    names = list(weights())
    assert canonical_names(names) == {name: name for name in names}


def test_bare_model() -> None:
    names = list(weights(None))
    bare = {name.removeprefix("yoso."): name for name in names}
    assert canonical_names(bare) == bare


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("parallel", ["", "module."])
@pytest.mark.parametrize("head", ["masked_lm", "question_answering"])
def test_names_of_the_authors(generation: str, parallel: str, head: str) -> None:
    arrays = weights(head)
    theirs = {parallel + n: array for n, array in by_authors(arrays, generation).items()}
    assert is_original(theirs)
    assert not is_shared(theirs)
    ours = to_canonical(theirs)
    for name, array in arrays.items():
        renamed = name.replace("cls.predictions.bias", "cls.predictions.decoder.bias")
        np.testing.assert_array_equal(ours[renamed], array, err_msg=name)
    decoder = {"cls.predictions.decoder.weight"} if head == "masked_lm" else set()
    assert len(ours) == len(arrays) + len(decoder)


@pytest.mark.parametrize("generation", ["transformer", "backbone.backbone.encoder"])
def test_shared_layers(generation: str) -> None:
    theirs = by_authors(weights(), generation, shared=True)
    assert is_shared(theirs)
    assert "yoso.encoder.layer.0.attention.self.query.weight" in to_canonical(theirs)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("yoso.embeddings.position_ids", None),
        ("embeddings.token_type_ids", None),
        ("module.model.embeddings.position_ids", None),
        ("model.pooler.weight", None),
        ("sen_class.bias", None),
        ("yoso.embeddings.LayerNorm.gamma", "yoso.embeddings.LayerNorm.weight"),
        ("embeddings.LayerNorm.beta", "yoso.embeddings.LayerNorm.bias"),
        (
            "model.transformer_3.norm1.gamma",
            "yoso.encoder.layer.3.attention.output.LayerNorm.weight",
        ),
        ("module.module.embeddings.LayerNorm.bias", "yoso.embeddings.LayerNorm.bias"),
        # Of no dialect: kept as they are, for the loader to report.
        ("bert.pooler.dense.weight", "bert.pooler.dense.weight"),
        ("model.transformer_3.mha.W_x.weight", "model.transformer_3.mha.W_x.weight"),
        ("something.gamma", "something.gamma"),
        ("", ""),
    ],
)
def test_single_names(name: str, wanted: str | None) -> None:
    assert canonical_names([name]) == {name: wanted}


def test_two_names_of_one_weight() -> None:
    with pytest.raises(CheckpointError, match=r"wanted each weight once, got 'embeddings\.Lay"):
        canonical_names(["embeddings.LayerNorm.bias", "yoso.embeddings.LayerNorm.bias"])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("sen_classifer.dense.weight", "tanh"),
        ("module.sen_classifer.classifer.bias", "tanh"),
        ("model.embeddings.dense.weight", "projection"),
        ("model.encoders.0.mlpblock.0.weight", "Long Range Arena"),
    ],
)
def test_what_transformers_cannot_express(name: str, reason: str) -> None:
    with pytest.raises(CheckpointError, match=f"unsupported: .*{reason}"):
        canonical_names([name])


def test_bfloat16_survives_renaming() -> None:
    from yosort.checkpoint import State
    from yosort.checkpoint.stored import Tensor

    state = to_canonical(State({"embeddings.LayerNorm.bias": Tensor("BF16", np.ones(2, "<u2"))}))
    assert state.tensor("yoso.embeddings.LayerNorm.bias").dtype == "BF16"
