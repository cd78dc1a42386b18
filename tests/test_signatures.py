"""The signatures that users may rely on: names, order and defaults, as the contract has them."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Callable
from typing import Any

import pytest
from test_arguments import public_calls

import yosort
from yosort.tasks import pipeline_class

REQUIRED = inspect.Parameter.empty

LOADING: dict[str, Any] = {
    "source": REQUIRED,
    "device": "auto",
    "dtype": "float32",
    "attention": None,
    "num_hash": None,
    "seed": 0,
    "padding": "masked",
    "num_threads": None,
    "revision": None,
    "local_files_only": False,
    "cache_dir": None,
    "token": None,
    "allow_random_head": False,
    "config": None,
    "fields": REQUIRED,
}
INPUTS = (
    "input_ids", "attention_mask", "token_type_ids", "position_ids", "head_mask", "inputs_embeds",
)  # fmt: skip
SWITCHES = ("output_attentions", "output_hidden_states", "return_dict", "seed", "num_hash")
LABELS = {
    "YosoModel": (),
    "YosoForMaskedLM": ("labels",),
    "YosoForSequenceClassification": ("labels",),
    "YosoForMultipleChoice": ("labels",),
    "YosoForTokenClassification": ("labels",),
    "YosoForQuestionAnswering": ("start_positions", "end_positions"),
}


def signature(function: Callable[..., Any]) -> dict[str, Any]:
    """Return a function's parameters in order, with their defaults."""
    parameters = inspect.signature(function).parameters
    return {name: p.default for name, p in parameters.items() if name != "self"}


@pytest.mark.parametrize("name", LABELS)
def test_loading(name: str) -> None:
    got = signature(getattr(yosort, name).from_pretrained)
    assert list(got.items()) == list(LOADING.items())


@pytest.mark.parametrize("name", LABELS)
def test_calling(name: str) -> None:
    # Ours alone, and last: the tokens to score.
    extra = ("positions",) if name in ("YosoForMaskedLM", "YosoForQuestionAnswering") else ()
    got = signature(getattr(yosort, name).__call__)
    assert list(got) == [*INPUTS, *LABELS[name], *SWITCHES, *extra]
    assert set(got.values()) == {None}


def test_a_model_is_made_from_a_config_and_a_seed() -> None:
    got = signature(yosort.YosoModel)
    assert list(got.items())[:2] == [("config", REQUIRED), ("seed", 0)]


@pytest.mark.parametrize(
    ("name", "arrays", "keywords"),
    [
        ("hash_signs", ["num_hash", "hash_code_len", "dim"],
         {"heads": REQUIRED, "seed": REQUIRED}),
        ("fast_hash", ["x", "signs"],
         {"num_hash": REQUIRED, "hash_code_len": REQUIRED, "mask": None}),
        ("gaussian_hash", ["x", "projection"],
         {"num_hash": REQUIRED, "hash_code_len": REQUIRED}),
        ("lsh_cumulation", ["query_codes", "key_codes", "value"],
         {"hash_code_len": REQUIRED, "query_mask": None, "key_mask": None}),
        ("expected_attention", ["query", "key", "value"],
         {"hash_code_len": REQUIRED, "query_mask": None, "key_mask": None}),
    ],
)  # fmt: skip
def test_functional_ops(name: str, arrays: list[str], keywords: dict[str, Any]) -> None:
    parameters = inspect.signature(getattr(yosort.ops, name)).parameters.values()
    positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    named = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    if name == "gaussian_hash":  # ours alone: a mask, as the fast hash has one
        assert named.pop("mask") is None
    assert positional == arrays
    assert list(named.items()) == list(keywords.items())


@pytest.mark.parametrize(
    ("task", "own"),
    [
        ("fill-mask", {"top_k": 5, "targets": None}),
        ("text-classification", {"top_k": "", "function_to_apply": None}),
        (
            "token-classification",
            {"aggregation_strategy": "none", "ignore_labels": None, "stride": None,
             "is_split_into_words": False, "delimiter": " "},
        ),
        (
            "question-answering",
            {"top_k": 1, "doc_stride": None, "max_answer_len": 15, "max_seq_len": None,
             "max_question_len": None, "handle_impossible_answer": False, "align_to_words": True},
        ),
        ("text-ranking", {"top_k": None, "function_to_apply": None, "label": None}),
        ("multiple-choice", {"top_k": None}),
        (
            "feature-extraction",
            {"pooling": "none", "normalize": False, "return_tensors": False, "chunks": None},
        ),
    ],
)  # fmt: skip
def test_pipelines(task: str, own: dict[str, Any]) -> None:
    """A call's signature, its options and what a checker sees of them name the same."""
    cls = pipeline_class(task)
    inputs = {
        "question-answering": {"inputs": None, "question": None, "context": None},
        "text-ranking": {"inputs": None, "query": None, "documents": None},
        "multiple-choice": {"inputs": None, "prompt": None, "choices": None},
        "feature-extraction": {"inputs": REQUIRED, "spans": None},
    }.get(task, {"inputs": REQUIRED})
    got = signature(cls.__call__)
    assert list(got.items()) == [
        *{**inputs, **own, "on_error": "raise", "options": REQUIRED}.items()
    ]
    shared = {
        "batch_tokens": 16384, "batch_size": None, "progress": False, "overflow": None,
        "truncation": None, "max_length": None, "on_error": "raise",
    }  # fmt: skip
    fields = {field.name: field.default for field in dataclasses.fields(cls.options)}
    assert fields == {**shared, **own}
    seen = set(sys.modules[cls.__module__].Keywords.__annotations__)
    overloads = {
        "text-classification": {"top_k"}, "question-answering": {"top_k"},
        "feature-extraction": {"pooling", "return_tensors", "chunks"},
        "token-classification": {"is_split_into_words"},
    }  # fmt: skip
    assert seen | overloads.get(task, set()) == set(own) | set(shared) - {"on_error"}


TENSORS = {
    "max_length": None, "pad_to_multiple_of": None, "padding_side": None,
    "return_attention_mask": None, "return_tensors": None, "verbose": True,
}  # fmt: skip
SPECIAL = {"skip_special_tokens": False}
HUB = {"revision": None, "local_files_only": False, "cache_dir": None, "token": None}
#: By call: what each parameter means that may be left out.
DEFAULTS: dict[str, dict[str, Any]] = {
    "Tokenizer.__call__": {
        **TENSORS, "text_pair": None, "add_special_tokens": True, "padding": False,
        "truncation": None, "stride": 0, "is_split_into_words": False, "truncation_side": None,
        "return_token_type_ids": None, "return_overflowing_tokens": False,
        "return_special_tokens_mask": False, "return_offsets_mapping": False,
        "return_length": False, "split_special_tokens": None,
    },
    "Tokenizer.pad": {**TENSORS, "padding": True},
    "Tokenizer.encode": {"text_pair": None},
    "Tokenizer.encoding": {
        "pair": None, "add_special_tokens": True, "max_tokens": None, "stride": 0,
        "strategy": "longest_first",
    },
    "Tokenizer.tokenize": {"pair": None, "add_special_tokens": False},
    "Tokenizer.decode": {**SPECIAL, "clean_up_tokenization_spaces": None},
    "Tokenizer.batch_decode": {**SPECIAL, "clean_up_tokenization_spaces": None},
    "Tokenizer.convert_ids_to_tokens": SPECIAL,
    "Tokenizer.leading": {"pair": None, "strategy": "longest_first"},
    "Tokenizer.num_special_tokens_to_add": {"pair": False},
    "Tokenizer.get_special_tokens_mask": {
        "token_ids_1": None, "already_has_special_tokens": False,
    },
    "Tokenizer.from_pretrained": {**HUB, "use_fast": True},
    "pipeline": {"task": None, "model": None, "tokenizer": None, "samples": 1},
    "calibrate": {
        "num_hashes": (8, 16, 32, 64, 128, 256), "seeds": 5, "within": 0.01, "limit": 64,
        "batch_tokens": 16384, "overflow": "error",
    },
    "convert": {
        "config": None, "dtype": None, "max_shard_size": None, "overwrite": False,
        "num_attention_heads": None, "hash_code_len": None, "num_hash": None, **HUB,
    },
    "adopt": {
        "texts": None, "positions": 4096, "hash_code_len": None, "max_tokens": 65_536,
        "encoder_only": False, "progress": False, "num_threads": None, **HUB,
    },
    "resolve": {**HUB, "weights": True},
    "YosoModel.save_pretrained": {"max_shard_size": None},
}  # fmt: skip


@pytest.mark.parametrize("name", DEFAULTS)
def test_what_is_left_out(name: str) -> None:
    got = {k: v for k, v in signature(public_calls()[name]).items() if v is not REQUIRED}
    assert got == DEFAULTS[name]
