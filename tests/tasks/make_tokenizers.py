"""Save small tokenizers of the classes that a YOSO folder may name, as the transformers here does.

    python tests/tasks/make_tokenizers.py tests/tasks/golden/transformers-4.34.1

in an environment with transformers 4.34.1 wrote what lies there; tests/tasks/
test_tokenizer_files_parity.py saves the same with the transformers of its own environment.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

LINES = [
    "the quick brown fox jumps over the lazy dog",
    "Paris is the capital of France",
    "(;!,) naïve a b",
] * 3
ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ALBERT = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]
ROLES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")


def byte_bpe() -> Tokenizer:
    """Return a byte-level BPE of 300 tokens, RoBERTa's special ones first."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend.train_from_iterator(
        LINES,
        trainers.BpeTrainer(
            vocab_size=300, special_tokens=ROBERTA, initial_alphabet=alphabet, show_progress=False
        ),
    )
    return backend


def word_piece() -> Tokenizer:
    """Return a WordPiece of at most 100 tokens, BERT's special ones first."""
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=100, special_tokens=BERT, show_progress=False)
    backend.train_from_iterator(LINES, trainer)
    return backend


def unigram() -> Tokenizer:
    """Return a Unigram of at most 80 tokens, ALBERT's special ones first."""
    backend = Tokenizer(models.Unigram())
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=80, special_tokens=ALBERT, unk_token="<unk>", show_progress=False
    )
    backend.train_from_iterator(LINES, trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return backend


def save_all(out: Path) -> list[str]:
    """Save every kind under `out`; return their names."""
    import transformers

    new = transformers.__version__.startswith("5")
    out.mkdir(parents=True, exist_ok=True)
    files = [Path(name) for name in byte_bpe().model.save(str(out))]
    files += [Path(name) for name in word_piece().model.save(str(out))]
    vocab, merges, lines = files
    made: dict[str, Any] = {}
    if new:
        pairs = [tuple(line.split()) for line in merges.read_text("utf-8").splitlines()[1:]]
        bpe: dict[str, Any] = {"vocab": json.loads(vocab.read_text("utf-8")), "merges": pairs}
        words = {token: i for i, token in enumerate(lines.read_text("utf-8").splitlines())}
        made["bert"] = transformers.BertTokenizer(vocab=words, do_lower_case=True)
        scored = [tuple(entry) for entry in json.loads(unigram().to_str())["model"]["vocab"]]
        made["albert"] = transformers.AlbertTokenizer(vocab=scored)
        roberta = transformers.RobertaTokenizer
    else:
        bpe = {"vocab_file": str(vocab), "merges_file": str(merges)}
        made["bert"] = transformers.BertTokenizerFast(vocab_file=str(lines))
        made["albert"] = transformers.AlbertTokenizerFast(tokenizer_object=unigram())
        roberta = transformers.RobertaTokenizerFast
        made["bert-slow"] = transformers.BertTokenizer(str(lines))
        made["roberta-slow"] = transformers.RobertaTokenizer(str(vocab), str(merges))
        wide = transformers.AddedToken("<wide>", lstrip=True, rstrip=True)
        made["roberta-slow"].add_tokens(["<new>", wide])
        named = dict(zip(ROLES, ALBERT, strict=True))
        for name, kind in (("xlmr", "XLMRoberta"), ("debertav2", "DebertaV2")):
            kind = getattr(transformers, f"{kind}TokenizerFast")
            made[name] = kind(tokenizer_object=unigram(), **named)
    made["roberta"] = roberta(**bpe, model_max_length=512, truncation_side="left")
    made["roberta-added"] = roberta(**bpe, add_prefix_space=True, additional_special_tokens=["<x>"])
    made["roberta-added"].add_tokens(["<new>"])
    made["unigram"] = transformers.PreTrainedTokenizerFast(
        tokenizer_object=unigram(), **dict(zip(ROLES, ALBERT, strict=True))
    )
    for name, tokenizer in made.items():
        tokenizer.save_pretrained(str(out / name))
        (out / name / "config.json").write_text('{"model_type": "yoso"}\n', encoding="utf-8")
    for file in files:
        file.unlink()
    return list(made)


if __name__ == "__main__":
    save_all(Path(sys.argv[1]))
