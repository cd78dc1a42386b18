"""Small models of random weights with the bundled model's tokenizer, for every task."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

import yosort
from yosort.tasks import bundled_model

TEXTS = [
    "Paris is the capital and largest city of France and international center of culture",
    "A dog barks",
    "In the beginning God created the heaven and the earth and the earth was without form",
    "Café naïve 😀 emoji and c\u0327ombining marks stay whole",
]
ENTITIES = {0: "O", 1: "B-PER", 2: "I-PER", 3: "B-LOC", 4: "I-LOC"}


def save_word_piece(folder: Path, *, token_types: bool = True) -> None:
    """Write a small WordPiece tokenizer with stored padding and truncation, as BERT's has."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=120, special_tokens=special, show_progress=False)
    lines = [
        "the quick brown fox jumps over the lazy dog",
        "Paris is the capital of France",
        "(;!,)",
    ]
    backend.train_from_iterator(lines * 3, trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    backend.enable_padding(length=32)
    backend.enable_truncation(8)
    folder.mkdir(exist_ok=True)
    backend.save(str(folder / "tokenizer.json"))
    roles = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    config = {
        **dict(zip(roles, special, strict=True)),
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 64,
        "model_input_names": [
            "input_ids",
            *(["token_type_ids"] if token_types else []),
            "attention_mask",
        ],
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def save_unigram(folder: Path) -> None:
    """Write a small Unigram tokenizer with "<s>" and "</s>" around a text, as XLM-R's has them."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    backend = Tokenizer(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=100, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    backend.train_from_iterator(
        [*TEXTS, "the quick brown fox jumps over the lazy dog"] * 5, trainer
    )
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    folder.mkdir(exist_ok=True)
    backend.save(str(folder / "tokenizer.json"))
    config = {
        "bos_token": "<s>",
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "cls_token": "<s>",
        "sep_token": "</s>",
        "mask_token": "<mask>",
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 64,
        "model_input_names": ["input_ids", "attention_mask"],
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def make_word_piece(folder: Path, name: str, *, token_types: bool = True, **fields: Any) -> Path:
    """Save a model like `make`, with two token types and a WordPiece tokenizer."""
    make(folder, name, **{"vocab_size": 120, "pad_token_id": 0, "type_vocab_size": 2, **fields})
    (folder / "special_tokens_map.json").unlink()
    save_word_piece(folder, token_types=token_types)
    return folder


def make(folder: Path, name: str, **fields: Any) -> Path:
    """Save a model of a class with large random weights, so that its answers differ clearly."""
    sizes: dict[str, Any] = {
        "vocab_size": 8192,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "max_position_embeddings": 64,
        "hash_code_len": 4,
        "initializer_range": 0.5,
        "pad_token_id": 1,
        "bos_token_id": 0,
        "eos_token_id": 2,
    }
    config = yosort.YosoConfig(**{**sizes, **fields})
    getattr(yosort, name)(config, seed=3).save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(bundled_model() / file, folder)
    return folder


#: The class of each task, and what of its config differs from the usual one.
OF_TASKS: dict[str, tuple[str, dict[str, Any]]] = {
    "text-classification": ("YosoForSequenceClassification", {"num_labels": 3}),
    "text-ranking": ("YosoForSequenceClassification", {"num_labels": 1}),
    "token-classification": ("YosoForTokenClassification", {"id2label": ENTITIES}),
    "fill-mask": ("YosoForMaskedLM", {}),
    "feature-extraction": ("YosoModel", {}),
    "question-answering": ("YosoForQuestionAnswering", {}),
    "multiple-choice": ("YosoForMultipleChoice", {}),
}


def make_each(root: Path) -> dict[str, Path]:
    """Write a model for each task, and return their folders."""
    return {task: make(root / task, name, **fields) for task, (name, fields) in OF_TASKS.items()}
