"""The original in NumPy against transformers, and the folder made against transformers' YOSO."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import yosort
from adoption import folders
from yosort.adoption import original
from yosort.adoption.heads import classify, score
from yosort.adoption.sources import read_source
from yosort.adoption.texts import Tokens
from yosort.model.encoder import prepare_encoder
from yosort.ops import get_ops

pytestmark = pytest.mark.parity
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SIZES = {"vocab_size": len(folders.VOCABULARY), "pad_token_id": 0}
USUAL = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
    "max_position_embeddings": 40, "initializer_range": 0.3,
}  # fmt: skip
DISTIL = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48,
          "max_position_embeddings": 40, "initializer_range": 0.3}  # fmt: skip
MODELS = {
    "Bert": (USUAL, "BertConfig"),
    "Roberta": ({**USUAL, "pad_token_id": 1, "type_vocab_size": 1}, "RobertaConfig"),
    "XLMRoberta": ({**USUAL, "pad_token_id": 1, "type_vocab_size": 1}, "XLMRobertaConfig"),
    "Camembert": ({**USUAL, "pad_token_id": 1, "type_vocab_size": 1}, "CamembertConfig"),
    "DistilBert": (DISTIL, "DistilBertConfig"),
}


def build(folder: Path, family: str, kind: str, **fields: Any) -> Any:
    """Save a random model of transformers' with a tokenizer; return it."""
    folders.write(folder)
    sizes, config = MODELS[family]
    torch.manual_seed(0)
    made = getattr(transformers, config)(**{**SIZES, **sizes, **fields})
    model = getattr(transformers, f"{family}{kind}")(made).eval()
    with torch.no_grad():  # biases and norms count, too
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += 0.2 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    return model


def rows() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.integers(5, len(folders.VOCABULARY), n) for n in (9, 3, 30, 9, 1)]


@pytest.mark.parametrize("device", ["reference", "cpu"])
@pytest.mark.parametrize("family", MODELS)
def test_the_original_equals_transformers(tmp_path: Path, family: str, device: str) -> None:
    model = build(tmp_path / "model", family, "Model")
    source = read_source(tmp_path / "model")
    assert source.architecture == "YosoModel"
    encoder = prepare_encoder(source.config, source.weights, get_ops(device))
    tokens = Tokens.of(rows())
    found = original.encode(encoder, tokens)
    for begin, end in zip(tokens.offsets[:-1], tokens.offsets[1:], strict=True):
        with torch.no_grad():
            wanted = model(torch.tensor(tokens.ids[None, begin:end])).last_hidden_state[0].numpy()
        assert np.abs(found[begin:end] - wanted).max() < 2e-5 * np.abs(wanted).max()


@pytest.mark.parametrize("family", ["Bert", "Roberta", "DistilBert"])
def test_the_original_classifier_equals_transformers(tmp_path: Path, family: str) -> None:
    fields = {"seq_classif_dropout": 0.0} if family == "DistilBert" else {}
    model = build(tmp_path / "model", family, "ForSequenceClassification", num_labels=3, **fields)
    source = read_source(tmp_path / "model")
    assert source.classifier is not None
    ops = get_ops("reference")
    encoder = prepare_encoder(source.config, source.weights, ops)
    tokens = Tokens.of(rows())
    first = original.encode(encoder, tokens)[tokens.offsets[:-1]]
    found = classify(ops, source.classifier, first)
    for i, (begin, end) in enumerate(zip(tokens.offsets[:-1], tokens.offsets[1:], strict=True)):
        with torch.no_grad():
            wanted = model(torch.tensor(tokens.ids[None, begin:end])).logits[0].numpy()
        np.testing.assert_allclose(found[i], wanted, atol=2e-5 * np.abs(wanted).max())


def test_old_names_in_a_file_of_torch(tmp_path: Path) -> None:
    """pytorch_model.bin as the first BERTs have it: gamma and beta, `bert.` before all."""
    model = build(tmp_path / "model", "Bert", "ForPreTraining")
    (tmp_path / "model" / "model.safetensors").unlink()
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): w
        for name, w in model.state_dict().items()
    }
    torch.save(old, tmp_path / "model" / "pytorch_model.bin")
    source = read_source(tmp_path / "model")
    assert source.architecture == "YosoForMaskedLM"
    encoder = prepare_encoder(source.config, source.weights, get_ops("reference"))
    ids = rows()[0]
    with torch.no_grad():
        wanted = model(torch.tensor(ids[None])).prediction_logits[0].numpy()
    hidden = original.encode(encoder, Tokens.of([ids]))
    found = score(encoder.ops, source.architecture, source.config, source.weights, hidden)
    assert np.abs(found - wanted).max() < 2e-5 * np.abs(wanted).max()


CASES = [
    ("Bert", "Model"), ("Bert", "ForMaskedLM"), ("Bert", "ForQuestionAnswering"),
    ("Bert", "ForSequenceClassification"), ("Roberta", "ForMaskedLM"),
    ("Roberta", "ForTokenClassification"), ("XLMRoberta", "ForSequenceClassification"),
    ("DistilBert", "ForMaskedLM"),
]  # fmt: skip


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_the_folder_made_loads_in_transformers(tmp_path: Path, family: str, kind: str) -> None:
    build(tmp_path / "model", family, kind)
    yosort.adopt(tmp_path / "model", tmp_path / "yoso", folders.texts(60), hash_code_len=9)
    theirs, loading = getattr(transformers, f"Yoso{kind}").from_pretrained(
        tmp_path / "yoso", output_loading_info=True
    )
    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]
    ours = yosort.load(tmp_path / "yoso")
    text = "the dog sees a red bird"
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "yoso")
    inputs = tokenizer(text, return_tensors="pt")
    assert ours.tokenizer is not None
    assert inputs["input_ids"].tolist() == [ours.tokenizer(text)["input_ids"]]
    with torch.no_grad():
        wanted = theirs.eval()(**inputs).to_tuple()
    found = ours(inputs["input_ids"].numpy()).to_tuple()
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b.numpy(), atol=3e-5 * float(b.abs().max()))
