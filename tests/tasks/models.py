"""Small models of random weights with the bundled model's tokenizer, for every task."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yosort
from yosort.tasks import bundled_model

TEXTS = [
    "Paris is the capital and largest city of France and international center of culture",
    "A dog barks",
    "In the beginning God created the heaven and the earth and the earth was without form",
    "Café naïve 😀 emoji and c\u0327ombining marks stay whole",
]
ENTITIES = {0: "O", 1: "B-PER", 2: "I-PER", 3: "B-LOC", 4: "I-LOC"}


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
