"""Folders of the families that are adopted: one encoder under each family's names and settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import yosort
from adoption import folders
from yosort.adoption import original
from yosort.adoption.families import FAMILIES, REFUSED, refusal
from yosort.adoption.heads import classify, score
from yosort.adoption.sources import Source, read_source
from yosort.adoption.texts import Tokens
from yosort.model.encoder import prepare_encoder
from yosort.ops import get_ops

HIDDEN, WORDS = folders.CONFIG["hidden_size"], folders.CONFIG["vocab_size"]
POSITIONS, TYPES = "embeddings.position_embeddings.weight", "embeddings.token_type_embeddings"
#: DistilBERT's names of a BERT's parts.
DISTIL = {
    "encoder.layer.": "transformer.layer.",
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    ".output.dense": ".ffn.lin2",
    ".output.LayerNorm": ".output_layer_norm",
}
#: Names of config.json's fields, DistilBERT's by BERT's.
DISTIL_FIELDS = {
    "hidden_size": "dim", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads",
    "intermediate_size": "hidden_dim", "hidden_act": "activation",
}  # fmt: skip


def distil_name(name: str) -> str:
    for ours, theirs in DISTIL.items():
        name = name.replace(ours, theirs)
    return name


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32) / 5


def save(folder: Path, tensors: dict[str, np.ndarray], fields: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(fields), encoding="utf-8")
    save_file(tensors, folder / "model.safetensors")
    return folder


def write(
    folder: Path,
    family: str,
    kind: str,
    head: dict[str, np.ndarray],
    prefix: str | None = None,
    **more: Any,
) -> Path:
    """Write the encoder of `folders.weights` as a family has it, its prefix before all."""
    tensors = {name: w for name, w in folders.weights().items() if not name.startswith("pooler")}
    fields = {**folders.CONFIG, **more, "model_type": family, "architectures": [kind]}
    if family == "distilbert":
        del tensors[f"{TYPES}.weight"]
        tensors = {distil_name(name): w for name, w in tensors.items()}
        fields = {DISTIL_FIELDS.get(name, name): value for name, value in fields.items()}
    elif family != "bert":
        # RoBERTa's positions count from the row after the padding's, here 4.
        fields |= {"pad_token_id": 3, "max_position_embeddings": 44}
        tensors[POSITIONS] = np.concatenate([draw(4, HIDDEN), tensors[POSITIONS]])
    if prefix is None:
        prefix = {"distilbert": "distilbert.", "bert": "bert."}.get(family, "roberta.")
    return save(folder, {**{prefix + n: w for n, w in tensors.items()}, **head}, fields)


@pytest.mark.parametrize(
    ("family", "prefix"),
    [*((family, prefix) for family in FAMILIES for prefix in (None, "")),
     ("xlm-roberta", "xlm_roberta."), ("camembert", "camembert.")],
)  # fmt: skip
def test_one_encoder_under_each_family_s_names_is_one_encoder(
    tmp_path: Path, family: str, prefix: str | None
) -> None:
    classes = {"bert": "Bert", "distilbert": "DistilBert", "roberta": "Roberta",
               "xlm-roberta": "XLMRoberta", "camembert": "Camembert"}  # fmt: skip
    source = read_source(write(tmp_path / "f", family, f"{classes[family]}Model", {}, prefix))
    assert (source.architecture, source.classifier) == ("YosoModel", None)
    assert source.config.max_position_embeddings == 40
    assert source.config.num_attention_heads == 4
    wanted = {f"yoso.{name}": w for name, w in folders.weights().items() if "pooler" not in name}
    table = wanted[f"yoso.{POSITIONS}"]
    # YOSO's table has two rows that no text reads.
    wanted[f"yoso.{POSITIONS}"] = np.concatenate([np.zeros((2, HIDDEN), np.float32), table])
    if family == "distilbert":
        wanted[f"yoso.{TYPES}.weight"] = np.zeros((1, HIDDEN), np.float32)
    assert source.weights.keys() == wanted.keys()
    for name, weight in wanted.items():
        np.testing.assert_array_equal(source.weights[name], weight, err_msg=name)
        assert source.weights[name].dtype == np.float32


#: What no other test has but as YOSO's config or transformers' BERT has it anyway.
SAME = {
    "layer_norm_eps": 1e-3, "initializer_range": 0.5, "bos_token_id": 5, "eos_token_id": 6,
    "problem_type": "regression", "hidden_dropout_prob": 0.3, "attention_probs_dropout_prob": 0.4,
    "hidden_act": "relu", "label2id": {"bad": 0, "fine": 1},
}  # fmt: skip


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
def test_a_setting_that_means_the_same_is_taken_over(tmp_path: Path, family: str) -> None:
    fields = {**SAME, "id2label": {"0": "bad", "1": "good"}}
    config = read_source(write(tmp_path / "f", family, "BertModel", {}, **fields)).config
    assert {name: getattr(config, name) for name in SAME} == SAME


MASKED = {
    "bert": ("BertForMaskedLM", "cls.predictions.transform.dense", "cls.predictions.transform."
             "LayerNorm", "cls.predictions.decoder", "cls.predictions.bias"),
    "xlm-roberta": ("XLMRobertaForMaskedLM", "lm_head.dense", "lm_head.layer_norm",
                    "lm_head.decoder", "lm_head.bias"),
    "distilbert": ("DistilBertForMaskedLM", "vocab_transform", "vocab_layer_norm",
                   "vocab_projector", "vocab_projector.bias"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("family", "tied"), [*((family, False) for family in MASKED), ("distilbert", True)]
)
def test_a_masked_language_model_s_head_under_each_family_s_names(
    tmp_path: Path, family: str, tied: bool
) -> None:
    kind, dense, norm, decoder, bias = MASKED[family]
    words = folders.weights()["embeddings.word_embeddings.weight"] if tied else draw(WORDS, HIDDEN)
    head = {
        f"{dense}.weight": draw(HIDDEN, HIDDEN), f"{dense}.bias": draw(HIDDEN),
        f"{norm}.weight": 1 + draw(HIDDEN), f"{norm}.bias": draw(HIDDEN) - 1,
        f"{decoder}.weight": words, bias: draw(WORDS),
    }  # fmt: skip
    if tied:  # else its other name may be left out, as files have shared weights once
        head[f"{decoder}.bias"] = head[bias]
    else:
        rest = {name: weight for name, weight in head.items() if name != bias}
        folder = write(tmp_path / "less", family, kind, rest, tie_word_embeddings=tied)
        with pytest.raises(yosort.CheckpointError, match=r"missing: cls\.predictions\.bias"):
            read_source(folder)
    source = read_source(write(tmp_path / "f", family, kind, head, tie_word_embeddings=tied))
    assert source.architecture == "YosoForMaskedLM"
    x = draw(7, HIDDEN)
    ops = get_ops("reference")
    found = score(ops, source.architecture, source.config, source.weights, x)
    hidden = gelu(x @ head[f"{dense}.weight"].T + head[f"{dense}.bias"])
    hidden = (hidden - hidden.mean(1, keepdims=True)) / hidden.std(1, keepdims=True)
    hidden = hidden * head[f"{norm}.weight"] + head[f"{norm}.bias"]
    wanted = hidden @ head[f"{decoder}.weight"].T + head[bias]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def gelu(x: np.ndarray) -> np.ndarray:
    from math import erf

    return x * (1 + np.vectorize(erf)(x / np.sqrt(2))) / 2


def test_a_roberta_s_head_of_another_activation_is_refused_by_name(tmp_path: Path) -> None:
    folder = write(tmp_path / "f", "roberta", "RobertaForMaskedLM", {}, hidden_act="relu")
    with pytest.raises(yosort.CheckpointError, match=r"head computes gelu, its layers relu.*enco"):
        read_source(folder)
    assert read_source(folder, encoder_only=True).architecture == "YosoModel"
    # Other heads have no activation of their own, and a BERT's is its layers'.
    head = {"classifier.weight": draw(2, HIDDEN), "classifier.bias": draw(2)}
    other = write(tmp_path / "g", "roberta", "RobertaForTokenClassification", head,
                  hidden_act="relu")  # fmt: skip
    assert read_source(other).config.hidden_act == "relu"


@pytest.mark.parametrize(
    ("family", "kind", "dense", "out", "activation"),
    [
        ("bert", "Bert", "bert.pooler.dense", "classifier", np.tanh),
        ("bert", "Bert", "pooler.dense", "classifier", np.tanh),
        ("camembert", "Camembert", "classifier.dense", "classifier.out_proj", np.tanh),
        ("distilbert", "DistilBert", "pre_classifier", "classifier", lambda x: np.maximum(x, 0)),
    ],
)
def test_a_classification_head_under_each_family_s_names(
    tmp_path: Path, family: str, kind: str, dense: str, out: str, activation: Any
) -> None:
    head = {
        f"{dense}.weight": draw(HIDDEN, HIDDEN), f"{dense}.bias": draw(HIDDEN),
        f"{out}.weight": draw(3, HIDDEN), f"{out}.bias": draw(3),
    }  # fmt: skip
    kind = f"{kind}ForSequenceClassification"
    labels = {"id2label": {"0": "bad", "1": "so-so", "2": "good"}}
    folder = write(tmp_path / "f", family, kind, head, **labels)
    source = read_source(folder)
    assert source.config.label_names == ["bad", "so-so", "good"]
    assert source.classifier is not None
    assert not [name for name in source.weights if not name.startswith("yoso.")]
    x = draw(5, HIDDEN)
    wanted = activation(x @ head[f"{dense}.weight"].T + head[f"{dense}.bias"])
    wanted = wanted @ head[f"{out}.weight"].T + head[f"{out}.bias"]
    found = classify(get_ops("reference"), source.classifier, x)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    for name in head:
        shape = list(head[name].shape)
        odd = {**head, name: np.zeros([size + 1 for size in shape], np.float32)}
        folder = write(tmp_path / "f", family, kind, odd, **labels)
        with pytest.raises(yosort.CheckpointError) as caught:
            read_source(folder)
        assert f": wanted shape {shape}, got {[size + 1 for size in shape]}" in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        (None, "YosoModel"), ([], "YosoModel"), (["BertModel"], "YosoModel"),
        (["BertForMaskedLM", "BertModel"], "YosoForMaskedLM"), ("BertModel", None), ([3], None),
        (["BertModelling"], None), (["BertForNextSentencePrediction"], None),
    ],
)  # fmt: skip
def test_the_class_is_what_the_folder_names(tmp_path: Path, kind: Any, wanted: str | None) -> None:
    head = "mlm" if wanted == "YosoForMaskedLM" else None
    folder = folders.write(tmp_path / "f", folders.weights(head), architectures=kind)
    if wanted is None:
        with pytest.raises(yosort.CheckpointError, match="architectures: wanted a class that ends"):
            read_source(folder)
        assert read_source(folder, encoder_only=True).architecture == "YosoModel"
    else:
        assert read_source(folder).architecture == wanted


def test_a_bert_s_config_that_says_little_is_transformers_bert(tmp_path: Path) -> None:
    said = {name: folders.CONFIG[name] for name in folders.CONFIG if "token" not in name}
    del said["vocab_size"], said["type_vocab_size"]
    said["max_position_embeddings"] = 512
    tensors = folders.weights(vocab_size=30522, max_position_embeddings=512)
    config = read_source(save(tmp_path / "f", tensors, said)).config
    assert (config.vocab_size, config.type_vocab_size) == (30522, 2)
    assert (config.pad_token_id, config.bos_token_id, config.eos_token_id) == (0, None, None)
    del said["max_position_embeddings"]
    assert read_source(save(tmp_path / "f", tensors, said)).config.max_position_embeddings == 512


def test_a_roberta_s_positions_begin_after_its_padding_s(tmp_path: Path) -> None:
    tensors = folders.weights()
    fields = {**folders.CONFIG, "model_type": "roberta", "type_vocab_size": 2}

    def first_row(**more: Any) -> np.ndarray:
        source: Source = read_source(save(tmp_path / "f", tensors, {**fields, **more}))
        table = source.weights[f"yoso.{POSITIONS}"]
        assert len(table) == source.config.max_position_embeddings + 2
        return table[2]

    table = tensors[POSITIONS]
    np.testing.assert_array_equal(first_row(pad_token_id=0), table[1])
    np.testing.assert_array_equal(first_row(pad_token_id=5), table[6])
    np.testing.assert_array_equal(first_row(pad_token_id=None), table[1])
    del fields["pad_token_id"]
    np.testing.assert_array_equal(first_row(), table[2])
    for odd in (6, 0, -1, None, "40"):
        with pytest.raises(
            yosort.CheckpointError, match="max_position_embeddings: wanted an integer above 6"
        ):
            first_row(pad_token_id=5, max_position_embeddings=odd)


def test_what_no_model_of_yoso_s_has_is_left_aside(tmp_path: Path) -> None:
    extra = {
        "pooler.dense.weight": draw(3, 3), "cls.seq_relationship.weight": draw(2, HIDDEN),
        "embeddings.position_ids": np.arange(40)[None],
        "embeddings.token_type_ids": np.zeros((1, 40), np.int64),
    }  # fmt: skip
    folder = folders.write(tmp_path / "f", {**folders.weights(), **extra})
    wanted = read_source(folders.write(tmp_path / "g"))
    assert read_source(folder).weights.keys() == wanted.weights.keys()
    extra = {"encoder.layer.1.adapter.weight": draw(3, 3)}
    folder = folders.write(tmp_path / "f", {**folders.weights(), **extra})
    with pytest.raises(yosort.CheckpointError, match=r"unexpected:.*1\.adapter\.weight"):
        read_source(folder)


def test_weights_that_are_there_twice_are_said_so(tmp_path: Path) -> None:
    extra = {"embeddings.LayerNorm.gamma": draw(HIDDEN)}
    folder = folders.write(tmp_path / "f", {**folders.weights(), **extra})
    with pytest.raises(yosort.CheckpointError, match=rf"^{folder}: wanted each weight once"):
        read_source(folder)


def test_weights_of_float16_are_read_as_float32(tmp_path: Path) -> None:
    tensors = {name: w.astype(np.float16) for name, w in folders.weights().items()}
    source = read_source(folders.write(tmp_path / "f", tensors))
    for name, weight in source.weights.items():
        assert weight.dtype == np.float32
        plain = name.removeprefix("yoso.")
        np.testing.assert_array_equal(weight[2:], tensors[plain].astype(np.float32)[
            0 if "position" in name else 2 :])  # fmt: skip


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    tensors = folders.weights()
    tensors["encoder.layer.1.output.dense.bias"][3] = np.nan
    folder = folders.write(tmp_path / "f", tensors)
    with pytest.raises(
        yosort.CheckpointError, match=r"layer\.1\.output\.dense\.bias: wanted finite numbers"
    ):
        read_source(folder)


#: As their config.json has it.
KINDS = (
    "deberta", "deberta-v2", "mpnet", "t5", "mt5", "xlnet", "modernbert", "nomic_bert", "new",
    "gte", "roformer", "eurobert", "neobert", "jina_bert_v3", "jina_bert",
    "roberta-prelayernorm", "xlm-roberta-xl", "vit", "nystromformer", "megatron-bert", "albert",
    "electra", "gpt2", "llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "bart", "opt",
    "phi", "yoso",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_that_is_refused_says_why(kind: str) -> None:
    why = refusal({"model_type": kind})
    assert why is not None
    assert why.startswith(REFUSED[kind])
    assert kind not in FAMILIES
    assert len(REFUSED) == len(KINDS)
    assert why.endswith("(bert, roberta, xlm-roberta, camembert, distilbert are)")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, None),
        ({"position_embedding_type": "absolute"}, None),
        ({"position_embedding_type": "relative_key_query"}, "relative positions"),
        ({"is_decoder": True}, "a decoder"),
        ({"is_decoder": False, "add_cross_attention": False}, None),
        ({"add_cross_attention": True}, "a decoder"),
        ({"embedding_size": 8, "hidden_size": 32}, "narrower"),
        ({"embedding_size": 32, "hidden_size": 32}, None),
        ({"hidden_size": 32}, None),
    ],
)
def test_a_bert_that_computes_something_else_is_refused(
    fields: dict[str, Any], why: str | None
) -> None:
    found = refusal({"model_type": "bert", **fields})
    assert (found is None) if why is None else (why in str(found))


def test_a_refused_folder_s_kind_is_named(tmp_path: Path) -> None:
    folder = folders.write(tmp_path / "f", model_type="mpnet")
    with pytest.raises(yosort.CheckpointError, match=rf"^{folder}: a model of type 'mpnet' cannot"):
        read_source(folder)


def test_the_original_adds_the_first_token_type_s_row_and_counts_each_text_from_its_start(
    tmp_path: Path,
) -> None:
    tensors = folders.weights()
    source = read_source(folders.write(tmp_path / "f", tensors))
    encoder = prepare_encoder(source.config, source.weights, get_ops("reference"))
    found = original.embed(encoder, Tokens.of([np.array([7, 8]), np.array([9, 10, 11])]))
    names = ("embeddings.word_embeddings.weight", POSITIONS, f"{TYPES}.weight")
    words, positions, types = (tensors[name] for name in names)
    sums = words[[7, 8, 9, 10, 11]] + positions[[0, 1, 0, 1, 2]] + types[0]
    sums = (sums - sums.mean(1, keepdims=True)) / sums.std(1, keepdims=True)
    wanted = sums * tensors["embeddings.LayerNorm.weight"] + tensors["embeddings.LayerNorm.bias"]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pad", ["none", [1], 1.5, True])
def test_padding_s_id_is_an_id(tmp_path: Path, pad: Any) -> None:
    folder = write(tmp_path, "roberta", "RobertaModel", {}, pad_token_id=0)
    fields = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**fields, "pad_token_id": pad}))
    with pytest.raises(
        yosort.CheckpointError, match="pad_token_id: wanted an integer or null, got"
    ):
        read_source(folder)
