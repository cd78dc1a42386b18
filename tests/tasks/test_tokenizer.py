"""Tokenizers of other models: from vocab.json and merges.txt, BERT's and ALBERT's kinds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

import yosort
from yosort.tasks import bundled_model
from yosort.tokenizer import Tokenizer

TEXTS = ["Paris is the capital of France.", "A <mask> barks.", " naïve 😀 c\u0327ombining", ""]


@pytest.fixture
def byte_bpe(tmp_path: Path) -> Path:
    """The bundled tokenizer's vocabulary as vocab.json and merges.txt, as RoBERTa ships it."""
    stored = json.loads((bundled_model() / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    vocab = {**stored["vocab"]}
    (tmp_path / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    merges = [m if isinstance(m, str) else " ".join(m) for m in stored["merges"]]
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("text", TEXTS)
def test_vocab_and_merges_are_the_same_tokenizer(byte_bpe: Path, text: str) -> None:
    ours, wanted = Tokenizer.from_pretrained(byte_bpe), Tokenizer.from_pretrained(bundled_model())
    assert ours.encode(text).ids == wanted.encode(text).ids
    assert ours.id_of("mask_token") == wanted.id_of("mask_token")
    assert ours.decode(ours.encode(text).ids) == wanted.decode(wanted.encode(text).ids)


def test_a_broken_vocabulary_is_named(byte_bpe: Path) -> None:
    (byte_bpe / "vocab.json").write_text("{}", encoding="utf-8")
    with pytest.raises(yosort.CheckpointError, match=r"byte-level BPE|special tokens"):
        Tokenizer.from_pretrained(byte_bpe)
    (byte_bpe / "vocab.json").unlink()
    with pytest.raises(yosort.CheckpointError, match=r"vocab\.json and merges\.txt, found neither"):
        Tokenizer.from_pretrained(byte_bpe)


def bert(folder: Path) -> Path:
    """Write a small WordPiece tokenizer with stored padding and truncation, as BERT's has."""
    backend = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(special_tokens=special, show_progress=False)
    backend.train_from_iterator(["the quick brown fox jumps over the lazy dog"] * 3, trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    backend.enable_padding(length=32)
    backend.enable_truncation(8)
    backend.save(str(folder / "tokenizer.json"))
    names = {"mask_token": "[MASK]", "pad_token": "[PAD]", "unk_token": "[UNK]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(names), encoding="utf-8")
    return folder


def test_stored_padding_and_truncation_are_off(tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_pretrained(bert(tmp_path))
    encoding = tokenizer.encode("the quick brown fox jumps over the lazy dog")
    assert len(encoding.ids) > 8
    assert tokenizer.id_of("pad_token") not in encoding.ids
    both = tokenizer.encode("the fox", "the dog")
    assert sorted(set(both.type_ids)) == [0, 1]


def test_the_wrong_mask_token_is_named(tmp_path: Path) -> None:
    config = yosort.YosoConfig(
        vocab_size=100, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=32,
    )  # fmt: skip
    yosort.YosoForMaskedLM(config).save_pretrained(tmp_path)
    fill = yosort.pipeline("fill-mask", bert(tmp_path))
    assert len(fill("the [MASK] fox")) == 5
    with pytest.raises(yosort.InputError, match=r"mask token is \[MASK\], not <mask>"):
        fill("the <mask> fox")


def test_a_unigram_tokenizer_of_alberts_kind(tmp_path: Path) -> None:
    backend = tokenizers.Tokenizer(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=60, special_tokens=["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"],
        unk_token="<unk>", show_progress=False,
    )  # fmt: skip
    backend.train_from_iterator(["the quick brown fox jumps over the lazy dog"] * 5, trainer)
    backend.save(str(tmp_path / "tokenizer.json"))
    tokenizer = Tokenizer.from_pretrained(tmp_path)
    assert tokenizer.special_tokens["mask_token"] == "[MASK]"
    assert len(tokenizer.encode("the quick fox").ids) > 2
