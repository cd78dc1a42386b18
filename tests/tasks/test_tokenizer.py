"""Tokenizers of other models: from vocab.json and merges.txt, BERT's and ALBERT's kinds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tokenizers
from tokenizers import models, pre_tokenizers, processors, trainers

import yosort
from tasks.models import make, make_word_piece, save_word_piece
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
    assert ours.encode(text) == wanted.encode(text)
    assert ours.id_of("mask_token") == wanted.id_of("mask_token")
    assert ours.decode(ours.encode(text)) == wanted.decode(wanted.encode(text))


def test_a_broken_vocabulary_is_named(byte_bpe: Path) -> None:
    (byte_bpe / "vocab.json").write_text("{}", encoding="utf-8")
    with pytest.raises(yosort.CheckpointError, match=r"not a byte-level BPE|special tokens"):
        Tokenizer.from_pretrained(byte_bpe)
    (byte_bpe / "vocab.json").unlink()
    with pytest.raises(yosort.CheckpointError, match=r"or vocab\.txt, found none"):
        Tokenizer.from_pretrained(byte_bpe)


def test_stored_padding_and_truncation_are_off(tmp_path: Path) -> None:
    save_word_piece(tmp_path)
    tokenizer = Tokenizer.from_pretrained(tmp_path)
    encoding = tokenizer.encoding("the quick brown fox jumps over the lazy dog")
    assert len(encoding.ids) > 8
    assert tokenizer.id_of("pad_token") not in encoding.ids
    both = tokenizer.encoding("the fox", "the dog")
    assert sorted(set(both.type_ids)) == [0, 1]


def test_the_wrong_mask_token_is_named(tmp_path: Path) -> None:
    fill = yosort.pipeline("fill-mask", make_word_piece(tmp_path, "YosoForMaskedLM"))
    assert len(fill("the [MASK] fox")) == 5
    with pytest.raises(yosort.InputError, match=r"mask token is \[MASK\], not <mask>"):
        fill("the <mask> fox")


def test_special_tokens_are_those_of_the_files(tmp_path: Path) -> None:
    """Roles come from the config files, whatever the tokens are called."""
    save_word_piece(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    # An AddedToken's form, and a role for a token of another name.
    config["mask_token"] = {"content": "fox", "lstrip": False}
    path.write_text(json.dumps(config), encoding="utf-8")
    tokenizer = Tokenizer.from_pretrained(tmp_path)
    assert tokenizer.special_tokens["mask_token"] == "fox"
    assert tokenizer.id_of("mask_token") == tokenizer.token_id("fox")
    # One that the vocabulary lacks is added to it, as transformers does: no model has a row for it.
    config["mask_token"] = "[NOT THERE]"
    path.write_text(json.dumps(config), encoding="utf-8")
    assert Tokenizer.from_pretrained(tmp_path).id_of("mask_token") == len(tokenizer)
    del config["mask_token"], config["unk_token"]
    path.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(yosort.InputError, match="no 'unk_token'"):
        Tokenizer.from_pretrained(tmp_path).id_of("unk_token")


def test_texts_that_are_no_unicode_are_refused() -> None:
    tokenizer = Tokenizer.from_pretrained(bundled_model())
    with pytest.raises(yosort.InputError, match="lone surrogates"):
        tokenizer.encoding("caf\udce9")


def test_offsets_count_characters() -> None:
    """Also where a character is several bytes, code points, or tokens."""
    tokenizer = Tokenizer.from_pretrained(bundled_model())
    text = "a 😀 c\u0327a 👩\u200d👧 dog"
    encoding = tokenizer.encoding(text, add_special_tokens=False)
    begin, end = encoding.offsets[-1]
    assert text[begin:end].strip() == "dog"
    spans = {text[a:b] for a, b in encoding.offsets}
    assert "😀" in spans
    assert max(end for _, end in encoding.offsets) == len(text)


def test_a_unigram_tokenizer_of_alberts_kind(tmp_path: Path) -> None:
    backend = tokenizers.Tokenizer(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=60, special_tokens=["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"],
        unk_token="<unk>", show_progress=False,
    )  # fmt: skip
    backend.train_from_iterator(["the quick brown fox jumps over the lazy dog"] * 5, trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    make(tmp_path, "YosoForMaskedLM", vocab_size=60, pad_token_id=0, type_vocab_size=2)
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        (tmp_path / name).unlink()
    backend.save(str(tmp_path / "tokenizer.json"))
    tokenizer = Tokenizer.from_pretrained(tmp_path)
    assert tokenizer.special_tokens["mask_token"] == "[MASK]"
    assert tokenizer.encoding("the quick fox").ids[0] == tokenizer.token_id("[CLS]")
    fill = yosort.pipeline("fill-mask", tmp_path)
    answers = fill("the [MASK] fox", targets=["e", "q"])
    assert {answer["token_str"] for answer in answers} == {"e", "q"}
    with pytest.raises(yosort.InputError, match=r"mask token is \[MASK\], not <mask>"):
        fill("the <mask> fox")


def test_the_name_is_a_text() -> None:
    backend = Tokenizer.from_pretrained(bundled_model()).backend
    copy = type(backend).from_str(backend.to_str())
    named = Tokenizer(copy, {"mask_token": "<mask>"}, name_or_path="mine")
    assert (named.name_or_path, named.mask_token_id) == ("mine", backend.token_to_id("<mask>"))
    assert named.model_input_names == ["input_ids", "token_type_ids", "attention_mask"]
    assert named.token_types is True
    assert Tokenizer(copy, {}, token_types=False).token_types is False
    assert Tokenizer(copy, {}, token_types=False).model_input_names == [
        "input_ids",
        "attention_mask",
    ]
    with pytest.raises(yosort.InputError, match="name_or_path: wanted a text, got 3"):
        Tokenizer(copy, {}, name_or_path=3)  # type: ignore[arg-type]
