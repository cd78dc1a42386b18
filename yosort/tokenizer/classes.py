"""The tokenizers that transformers builds itself, whatever a tokenizer.json says.

`RobertaTokenizer`, `BertTokenizer` and `AlbertTokenizer` take a vocabulary from the folder, and
make everything around it from tokenizer_config.json's options. Which folder means one of them:
`yosort.tokenizer.files`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

#: What a class takes its tokenizer from: the model with its vocabulary, tokenizer_config.json,
#: and its special tokens by role.
Build = Callable[[Any, dict[str, Any], dict[str, str]], Tokenizer]


@dataclass(frozen=True)
class TokenizerClass:
    """What transformers knows of a tokenizer that it builds itself.

    Attributes:
        files: what holds its vocabulary where there is no tokenizer.json; none if only
            SentencePiece could read it.
        model: the kind of vocabulary that tokenizer.json has to hold.
        special_tokens: content by role, where the folder's files name none.
        model_input_names: what the model is given, where tokenizer_config.json does not say.
        build: puts normalizer, pre-tokenizer and decoder around the vocabulary.
        finish: makes the post-processor, of the special tokens and their ids.
        keeps_post_processor: whether that of a tokenizer.json, if it has one, goes before.
    """

    files: tuple[str, ...]
    model: str
    special_tokens: dict[str, str]
    model_input_names: tuple[str, ...]
    build: Build
    finish: Callable[[Tokenizer, dict[str, Any], dict[str, str]], None]
    keeps_post_processor: bool = False


def _build_roberta(stored: Any, config: dict[str, Any], roles: dict[str, str]) -> Tokenizer:
    if isinstance(stored, dict):
        pairs = [m.split(" ") if isinstance(m, str) else m for m in stored["merges"]]
        merges = [(left, right) for left, right in pairs]
        model = models.BPE(vocab=stored["vocab"], merges=merges)
    else:
        model = models.BPE.from_file(*stored)
    backend = Tokenizer(model)
    prefix = bool(config.get("add_prefix_space", False))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    backend.decoder = decoders.ByteLevel()
    return backend


def _finish_roberta(backend: Tokenizer, config: dict[str, Any], roles: dict[str, str]) -> None:
    ids: Any = {role: backend.token_to_id(roles[role]) for role in ("sep_token", "cls_token")}
    backend.post_processor = processors.RobertaProcessing(
        (roles["sep_token"], ids["sep_token"]),
        (roles["cls_token"], ids["cls_token"]),
        trim_offsets=bool(config.get("trim_offsets", True)),
        add_prefix_space=bool(config.get("add_prefix_space", False)),
    )


def _build_bert(stored: Any, config: dict[str, Any], roles: dict[str, str]) -> Tokenizer:
    unknown = roles["unk_token"]
    if isinstance(stored, dict):
        model = models.WordPiece(vocab=stored["vocab"], unk_token=unknown)
    else:
        model = models.WordPiece.from_file(*stored, unk_token=unknown)
    backend = Tokenizer(model)
    backend.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=bool(config.get("tokenize_chinese_chars", True)),
        strip_accents=config.get("strip_accents"),
        lowercase=bool(config.get("do_lower_case", False)),
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(prefix="##")
    return backend


def _build_albert(stored: Any, config: dict[str, Any], roles: dict[str, str]) -> Tokenizer:
    vocabulary = [tuple(entry) for entry in stored["vocab"]]
    backend = Tokenizer(models.Unigram(vocabulary, unk_id=1, byte_fallback=False))
    spaces = normalizers.Replace(Regex(" {2,}"), " ")
    # transformers 5.2 strips accents and lowers case once, whatever these options say.
    again = [] if config.get("keep_accents") else [normalizers.NFKD(), normalizers.StripAccents()]
    if config.get("do_lower_case", True):
        again.append(normalizers.Lowercase())
    backend.normalizer = normalizers.Sequence(
        [
            normalizers.Replace("``", '"'),
            normalizers.Replace("''", '"'),
            normalizers.NFKD(),
            normalizers.StripAccents(),
            normalizers.Lowercase(),
            spaces,
            *again,
            spaces,
        ]
    )
    scheme = "always" if config.get("add_prefix_space", True) else "never"
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme=scheme)]
    )
    backend.decoder = decoders.Metaspace(prepend_scheme=scheme)
    return backend


def _finish_with_types(backend: Tokenizer, config: dict[str, Any], roles: dict[str, str]) -> None:
    begin, end = roles["cls_token"], roles["sep_token"]
    backend.post_processor = processors.TemplateProcessing(
        single=[begin, "$A", end],
        pair=[begin, "$A", end, "$B:1", f"{end}:1"],
        special_tokens=[
            (token, backend.token_to_id(token)) for token in dict.fromkeys((begin, end))
        ],
    )


_BRACKETS = {"cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}

#: By the name that tokenizer_config.json gives them, less "Fast".
CLASSES = {
    "RobertaTokenizer": TokenizerClass(
        files=("vocab.json", "merges.txt"),
        model="BPE",
        special_tokens={
            "bos_token": "<s>",
            "eos_token": "</s>",
            "unk_token": "<unk>",
            "sep_token": "</s>",
            "pad_token": "<pad>",
            "cls_token": "<s>",
            "mask_token": "<mask>",
        },
        model_input_names=("input_ids", "attention_mask"),
        build=_build_roberta,
        finish=_finish_roberta,
    ),
    "BertTokenizer": TokenizerClass(
        files=("vocab.txt",),
        model="WordPiece",
        special_tokens={"unk_token": "[UNK]", "pad_token": "[PAD]", **_BRACKETS},
        model_input_names=("input_ids", "token_type_ids", "attention_mask"),
        build=_build_bert,
        finish=_finish_with_types,
    ),
    "AlbertTokenizer": TokenizerClass(
        files=(),
        model="Unigram",
        special_tokens={
            "bos_token": "[CLS]",
            "eos_token": "[SEP]",
            "unk_token": "<unk>",
            "pad_token": "<pad>",
            **_BRACKETS,
        },
        model_input_names=("input_ids", "attention_mask"),
        build=_build_albert,
        finish=_finish_with_types,
        keeps_post_processor=True,
    ),
}
