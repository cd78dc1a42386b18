"""Small encoders of other families, as their folders are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

WORDS = "the a dog cat bird fish man woman child runs eats sees finds loves old new big small red"
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS.split()]
CONFIG: dict[str, Any] = {
    "model_type": "bert", "architectures": ["BertModel"], "vocab_size": len(VOCABULARY),
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
    "hidden_act": "gelu", "max_position_embeddings": 40, "type_vocab_size": 2,
    "layer_norm_eps": 1e-12, "pad_token_id": 0,
}  # fmt: skip


def texts(count: int, seed: int = 0) -> list[str]:
    """Return sentences of the words."""
    rng = np.random.default_rng(seed)
    words = WORDS.split()
    return [" ".join(rng.choice(words, int(rng.integers(3, 12)))) for _ in range(count)]


def weights(head: str | None = None, seed: int = 0, **sizes: Any) -> dict[str, np.ndarray]:
    """Return a BERT's weights under its own names, large enough for attention to matter."""
    c = {**CONFIG, **sizes}
    hidden, inner = c["hidden_size"], c["intermediate_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (c["vocab_size"], hidden),
        "embeddings.position_embeddings.weight": (c["max_position_embeddings"], hidden),
        "embeddings.token_type_embeddings.weight": (c["type_vocab_size"], hidden),
        "embeddings.LayerNorm.weight": (hidden,),
        "embeddings.LayerNorm.bias": (hidden,),
        "pooler.dense.weight": (hidden, hidden),
        "pooler.dense.bias": (hidden,),
    }
    for i in range(c["num_hidden_layers"]):
        maps = {
            "attention.self.query": (hidden, hidden), "attention.self.key": (hidden, hidden),
            "attention.self.value": (hidden, hidden), "attention.output.dense": (hidden, hidden),
            "intermediate.dense": (inner, hidden), "output.dense": (hidden, inner),
        }  # fmt: skip
        for name, shape in maps.items():
            shapes[f"encoder.layer.{i}.{name}.weight"] = shape
            shapes[f"encoder.layer.{i}.{name}.bias"] = shape[:1]
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes[f"encoder.layer.{i}.{name}.weight"] = (hidden,)
            shapes[f"encoder.layer.{i}.{name}.bias"] = (hidden,)
    if head is not None:
        shapes = {f"bert.{name}": shape for name, shape in shapes.items()}
    if head == "mlm":
        shapes |= {
            "cls.predictions.transform.dense.weight": (hidden, hidden),
            "cls.predictions.transform.dense.bias": (hidden,),
            "cls.predictions.transform.LayerNorm.weight": (hidden,),
            "cls.predictions.transform.LayerNorm.bias": (hidden,),
            "cls.predictions.bias": (c["vocab_size"],),
            "cls.seq_relationship.weight": (2, hidden),
            "cls.seq_relationship.bias": (2,),
        }
    if head == "classifier":
        shapes |= {"classifier.weight": (3, hidden), "classifier.bias": (3,)}
    if head == "answers":
        shapes |= {"qa_outputs.weight": (2, hidden), "qa_outputs.bias": (2,)}
    rng = np.random.default_rng(seed)
    made = {}
    for name, shape in shapes.items():
        array = rng.standard_normal(shape).astype(np.float32)
        if name.endswith("LayerNorm.weight"):
            made[name] = 1 + array / 10
        else:
            made[name] = array * np.float32(0.25 if len(shape) > 1 else 0.1)
    return made


def write(folder: Path, tensors: dict[str, np.ndarray] | None = None, **fields: Any) -> Path:
    """Write a folder with a WordPiece tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**CONFIG, **fields}), encoding="utf-8")
    save_file(weights() if tensors is None else tensors, folder / "model.safetensors")
    tokenizer = Tokenizer(
        models.WordPiece({word: i for i, word in enumerate(VOCABULARY)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer.add_special_tokens(VOCABULARY[:5])
    tokenizer.save(str(folder / "tokenizer.json"))
    facts = {
        "tokenizer_class": "BertTokenizer", "model_max_length": 40, "unk_token": "[UNK]",
        "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]",
        "do_lower_case": True,
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(facts), encoding="utf-8")
    return folder
